"""The figures and the page of a bench."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hairtrigger.bench.engines import OWN
from hairtrigger.bench.gpu_engines import WITH
from hairtrigger.bench.records import CLOCKS, LOOP, SINGLE, STREAMING, SWEEP, Bench, Row
from hairtrigger.errors import StorageError
from hairtrigger.report.figures import COLOURS, MARKERS, Paint, _style, draw

TEMPLATE = "bench.html.j2"
SIZE = (5.6, 3.8)
PERCENTILES = (("p50_ns", "50 %"), ("p90_ns", "90 %"), ("p99_ns", "99 %"), ("p999_ns", "99.9 %"))


def _lines(bench: Bench, value: str) -> dict[tuple[str, int | None, str], list[Row]]:
    """Rows of the sweep that have a value, by engine, threads and what distinguishes them."""
    found: dict[tuple[str, int | None, str], list[Row]] = {}
    for row in bench.rows:
        if row.scenario == SWEEP and getattr(row, value) is not None:
            key = (row.engine, row.threads, row.transfers or row.way)
            found.setdefault(key, []).append(row)
    return found


def _sweep(bench: Bench, value: str, scale: float, label: str) -> Paint:
    def paint(axes: Any) -> None:
        engines = list(dict.fromkeys(row.engine for row in bench.rows))
        for (engine, threads, more), rows in _lines(bench, value).items():
            several = threads is not None and threads > 1
            name, style = _said(rows[0]), _style_of(rows[0], engines.index(engine))
            if not rows[0].transfers:
                style["linestyle"] = (":" if more == OWN else "--") if several else "-"
                name += f", {threads} threads ({more})" if several else ""
            axes.plot(
                [row.batch for row in rows],
                [getattr(row, value) * scale for row in rows],
                label=name,
                **style,
            )
        for row in bench.rows:
            if row.scenario == STREAMING and getattr(row, value) is not None:
                axes.axhline(
                    getattr(row, value) * scale,
                    color=COLOURS[engines.index(row.engine) % len(COLOURS)],
                    linestyle="-.",
                    label=f"{row.engine} ({row.label}), no batches",
                )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        batches = sorted({row.batch for row in bench.rows if row.scenario == SWEEP})
        axes.minorticks_off()
        axes.set_xticks(batches, [f"{batch:,}" for batch in batches], rotation=30)
        axes.set_xlabel("events in a call")
        axes.set_ylabel(label)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))

    return paint


def _said(row: Row) -> str:
    """An engine in a legend; on a device with or without transfers, not with threads."""
    name = row.engine if row.same_answer else f"{row.engine} (other answers)"
    return f"{name}, {row.transfers} transfers" if row.transfers else name


def _style_of(row: Row, place: int) -> dict[str, Any]:
    """Colour and marker of the engine at a place; hollow on a device, dotted with transfers."""
    style: dict[str, Any] = {
        "color": COLOURS[place % len(COLOURS)],
        "marker": MARKERS[place % len(MARKERS)],
    }
    if row.scenario in (LOOP, STREAMING):
        style["linestyle"] = "--" if row.scenario == LOOP else "-."
    if row.transfers:
        style |= {"markerfacecolor": "white", "linestyle": ":" if row.transfers == WITH else "-."}
    return style


def _percentiles(bench: Bench) -> Paint:
    rows = [r for r in bench.rows if r.scenario in (SINGLE, LOOP, STREAMING) and r.p50_ns]
    engines = list(dict.fromkeys(row.engine for row in bench.rows))

    def paint(axes: Any) -> None:
        for row in rows:
            found = [(getattr(row, key), text) for key, text in PERCENTILES]
            points = [(value, n) for n, (value, _) in enumerate(found) if value is not None]
            if not points:
                continue
            x = [n for _, n in points]
            y = [value / 1e3 for value, _ in points]
            name = {LOOP: f"{row.engine}, from C++", STREAMING: f"{row.engine} ({CLOCKS})"}
            axes.plot(
                x,
                y,
                label=name.get(row.scenario, _said(row)),
                **_style_of(row, engines.index(row.engine)),
            )
        axes.minorticks_off()
        axes.set_xticks(range(len(PERCENTILES)), [text for _, text in PERCENTILES])
        axes.set_yscale("log")
        axes.set_xlabel("share of the queries")
        axes.set_ylabel("single-stream latency, not exceeded [us]")
        if rows:
            axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))

    return paint


def _paints(bench: Bench) -> dict[str, tuple[str, Paint]]:
    return {
        "latency": (
            "Median time of a call against the events in it",
            _sweep(bench, "p50_ns", 1e-3, "median time of a call [us]"),
        ),
        "throughput": (
            "Events a second against the events in a call",
            _sweep(bench, "per_second", 1.0, "events a second"),
        ),
        "percentiles": ("Single-stream latency, percentiles", _percentiles(bench)),
    }


def draw_all(bench: Bench) -> dict[str, str]:
    """The figures as SVG, by name."""
    width, height = SIZE
    return {
        name: draw(name, alt, width + 2.4, height, paint)
        for name, (alt, paint) in _paints(bench).items()
    }


def save_pictures(bench: Bench, folder: Path) -> tuple[Path, ...]:
    """The same as PNG. Raises `StorageError`."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made: list[Path] = []
    for name, (_, paint) in _paints(bench).items():
        with matplotlib.rc_context(_style()):
            figure = Figure(figsize=(SIZE[0] + 2.4, SIZE[1]))
            FigureCanvasAgg(figure)
            paint(figure.subplots())
            path = folder / f"{name}.png"
            try:
                figure.savefig(path, dpi=110)
            except OSError as error:
                raise StorageError(
                    f"{path} cannot be written: {error.strerror}", "free space and run again"
                ) from error
        made.append(path)
    return tuple(made)


def render(bench: Bench, drawn: Mapping[str, str]) -> str:
    """The page as HTML text."""
    import jinja2

    from hairtrigger.report import bench as tables
    from hairtrigger.report.page import number, share, whole

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(number=number, whole=whole, share=share)
    sweep = [row for row in bench.rows if row.scenario == SWEEP]
    return environment.get_template(TEMPLATE).render(
        b=bench,
        answers=tables.answer_lines(bench.answers),
        headings=tables.HEADINGS,
        rows=[tables.row_cells(row) for row in tables.shown_rows(bench)],
        sweep=[tables.row_cells(row) for row in sweep],
        conclusions=tables.conclusions(bench),
        others=any(a.ran and not a.equal for a in bench.answers),
        figures=[(alt, drawn[name]) for name, (alt, _) in _paints(bench).items()],
    )
