"""Shows a stream while it runs: a table on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from hairtrigger.progress import LINE_EVERY_S

Figures = Mapping[str, Any]


def rows(figures: Figures) -> list[tuple[str, str]]:
    """Figures of `run.run_stream` in words: (what, value)."""
    session = figures["session"]
    latency = session["latency_s"]
    made = [
        ("images", f"{figures['images']:,}, {_rate(session['images_per_second'])} a second"),
        ("data", f"{_number(session['megabytes_per_second'])} MB/s"),
        ("real time", f"{_number(session['real_time_factor'])} times"),
        ("an image takes", f"{_number(session['microseconds_an_image'])} us"),
        ("past the gate", _share(figures["gated"], figures["images"])),
        ("kept", _share(figures["kept"], figures["images"])),
        ("data reduced", f"{_number(figures['reduction'])} times"),
    ]
    made += _efficiencies(figures)
    times = [f"{name} {_time(value)}" for name, value in latency.items()]
    made.append(("block to decision", ", ".join(times)))
    made.append(("queue", f"{session['queue']} of {session['queue_depth']} blocks"))
    if figures["dropped_blocks"]:
        ticks = figures["dropped_ticks"]
        made.append(("dropped", f"{figures['dropped_blocks']:,} blocks, {ticks:,} ticks"))
    if figures["lost_ticks"]:
        made.append(("cut by gaps", f"{figures['lost_ticks']:,} ticks"))
    faults = ", ".join(f"{count:,} {kind}" for kind, count in figures["faults"].items())
    made.append(("faults", faults or "none"))
    return made


def plane_rows(figures: Figures) -> list[tuple[str, str]]:
    """Figures of `planes.run_planes` in words: (what, value)."""
    session = figures["session"]
    return [
        ("planes", f"{figures['planes']:,}"),
        ("images", f"{figures['images']:,}, {_rate(session['images_per_second'])} a second"),
        ("an image takes", f"{_number(session['microseconds_an_image'])} us"),
        ("past the gate", _share(figures["gated"], figures["images"])),
        ("kept", _share(figures["kept"], figures["images"])),
        ("data reduced", f"{_number(figures['reduction'])} times"),
        *_efficiencies(figures),
        ("dropped", f"{figures['dropped_blocks']:,} blocks"),
        ("faults", f"{sum(figures['faults'].values()):,}"),
    ]


def _efficiencies(figures: Figures) -> list[tuple[str, str]]:
    made = []
    for name, found in figures["efficiency"].items():
        label = "above 10 MeV visible" if name == "visible" else name
        value = f"{found['value']:.4f} ({found['low']:.4f} to {found['high']:.4f})"
        made.append((f"found, {label}", f"{value} of {found['total']:,}"))
    return made


def line(figures: Figures) -> str:
    """The most important figures in one line."""
    session = figures["session"]
    parts = [
        f"{figures['images']:,} images",
        f"{_rate(session['images_per_second'])}/s",
        f"{_number(session['real_time_factor'])} x real time",
        f"{figures['kept']:,} kept",
    ]
    if "visible" in figures["efficiency"]:
        found = figures["efficiency"]["visible"]
        parts.append(f"found {found['passed']:,} of {found['total']:,} above 10 MeV")
    parts.append(f"p99 {_time(session['latency_s']['p99'])}")
    if figures["dropped_blocks"]:
        parts.append(f"{figures['dropped_blocks']:,} blocks dropped")
    faults = sum(figures["faults"].values())
    if faults:
        parts.append(f"{faults:,} faults")
    return ", ".join(parts)


@contextmanager
def shown(stream: TextIO | None = None) -> Iterator[Callable[[Figures], None]]:
    """A function that shows figures, on the terminal or as lines on ``stream`` (standard error)."""
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream or sys.stderr)
    if not console.is_terminal:
        last = time.monotonic()

        def tell(figures: Figures) -> None:
            nonlocal last
            if time.monotonic() - last >= LINE_EVERY_S:
                last = time.monotonic()
                print(line(figures), file=console.file, flush=True)

        yield tell
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda figures: live.update(table(figures), refresh=True)


def table(figures: Figures) -> Any:
    """The table of the live view."""
    from rich.table import Table

    made = Table("stream", figures["source"], box=None)
    for what, value in rows(figures):
        made.add_row(what, value)
    return made


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}"


def _share(part: int, whole: int) -> str:
    return f"{part:,}" + (f" ({part / whole:.2g})" if whole else "")


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
