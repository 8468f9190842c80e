"""The figures of a report as inline SVG: self-contained, the same bytes for the same numbers."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hairtrigger.report.summary import Curve, Display, Estimate, Evaluation, Profile, Training

Paint = Callable[[Any], None]
"""Draws into a matplotlib Axes."""

COLOURS = ("#1b1f24", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
"""Of the models in order; told apart by colour-blind people too (Okabe and Ito)."""
MARKERS = ("s", "o", "^", "D", "v", "P")
SIGNAL, NOISE, GRID = "#d55e00", "#8a9099", "#e3e6ea"
STATIONS = {9: ("BI", "BI", "BI", "BM1", "BM1", "BM2", "BM2", "BO", "BO")}
STATIONS[4] = ("BI", "BM1", "BM2", "BO")
SHOWN_STRIPS = 96
"""Fewest strips of an event display: a quarter of the image, so that single ones can be seen."""


@cache
def _style() -> dict[str, Any]:
    """mplhep's ATLAS style at the size of a page, in a font that comes with matplotlib."""
    import mplhep

    return {
        **mplhep.style.ATLAS,
        "font.family": ["DejaVu Sans"],
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9,
        "axes.labelsize": 10,
        "axes.titlesize": 10,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "legend.fontsize": 8.5,
        "lines.markersize": 3.6,
        "lines.linewidth": 1.2,
        "axes.linewidth": 0.8,
        "axes.labelpad": 1.0,
        "xtick.major.size": 5,
        "xtick.minor.size": 2.5,
        "ytick.major.size": 5,
        "ytick.minor.size": 2.5,
        "figure.constrained_layout.use": True,
        "figure.autolayout": False,
        "axes.formatter.use_mathtext": False,  # it takes ten times as long
        "svg.fonttype": "path",
        "mathtext.fontset": "dejavusans",
    }


def draw(name: str, alt: str, width: float, height: float, paint: Paint) -> str:
    """One figure of ``width`` x ``height`` inches as an <svg> element that scales with the page."""
    return draw_panels(name, alt, width, height, [[paint]])


def draw_panels(
    name: str, alt: str, width: float, height: float, rows: Sequence[Sequence[Paint]]
) -> str:
    """As `draw`, with ``rows`` of panels side by side, as many in each; each paints its axes."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_style(), "svg.hashsalt": name}):
        figure = Figure(figsize=(width, height))
        FigureCanvasSVG(figure)
        axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
        for row, paints in zip(axes, rows, strict=True):
            for panel, paint in zip(row, paints, strict=True):
                paint(panel)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    label = alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return re.sub(
        r'<svg [^>]*?width="[^"]*"[^>]*?viewBox="([^"]*)"[^>]*>|'
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>',
        lambda m: (
            f'<svg role="img" aria-label="{label}" viewBox="{m[1] or m[2]}" '
            'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        ),
        svg,
        count=1,
    )


def _points(edges: Sequence[float], estimates: Sequence[Estimate]) -> tuple[np.ndarray, ...]:
    """Middles, half widths, values and both errors of the bins that had events."""
    full = [n for n, e in enumerate(estimates) if e.value is not None]
    low, high = np.asarray(edges[:-1])[full], np.asarray(edges[1:])[full]
    values = np.array([estimates[n].value for n in full], float)
    down = values - np.array([estimates[n].low for n in full], float)
    up = np.array([estimates[n].high for n in full], float) - values
    return (low + high) / 2, (high - low) / 2, values, np.stack([down, up]).clip(0)


def _bars(axes: Any, number: int, of: int, label: str, edges: Any, estimates: Any) -> None:
    """Points with both errors; those of several models stand side by side in their bin."""
    x, half, y, error = _points(edges, estimates)
    axes.errorbar(
        x + half * 0.4 * (number - (of - 1) / 2),
        y,
        error,
        fmt=MARKERS[number % len(MARKERS)],
        color=COLOURS[number % len(COLOURS)],
        elinewidth=1.0,
        label=label,
        zorder=2 + number,
    )


def turn_on(curves: Sequence[Curve]) -> str:
    """Efficiency against true pT of every model, for one threshold."""
    threshold = curves[0].threshold_gev
    names = ", ".join(curve.model for curve in curves)
    alt = f"Turn-on curve at {threshold:g} GeV of {names}"
    return draw(f"turn-on-{threshold:g}", alt, 4.4, 3.6, lambda axes: _turn_on(axes, curves))


def _turn_on(axes: Any, curves: Sequence[Curve]) -> None:
    threshold = curves[0].threshold_gev
    for number, curve in enumerate(curves):
        _bars(axes, number, len(curves), curve.model, curve.edges_gev, curve.efficiency)
    axes.axvline(threshold, color=NOISE, linestyle=":", linewidth=1)
    axes.axhline(1, color=GRID, linewidth=0.8, zorder=0)
    axes.set_xlim(curves[0].edges_gev[0], curves[0].edges_gev[-1])
    axes.set_ylim(0, 1.42)
    axes.set_xlabel(r"true $p_\mathrm{T}$ [GeV]")
    axes.set_ylabel("efficiency", labelpad=4)
    title = rf"predicted $p_\mathrm{{T}}$ > {threshold:g} GeV, simulation"
    axes.legend(loc="upper left", title=title)


def resolution(profiles: Sequence[Profile]) -> str:
    """Mean relative error of the predicted pT against the true one."""
    alt = "Resolution in transverse momentum"
    return draw("resolution", alt, 4.4, 3.6, lambda axes: _resolution(axes, profiles))


def _resolution(axes: Any, profiles: Sequence[Profile]) -> None:
    for number, profile in enumerate(profiles):
        _bars(axes, number, len(profiles), profile.model, profile.edges_gev, profile.values)
    axes.set_xlim(profiles[0].edges_gev[0], profiles[0].edges_gev[-1])
    axes.set_ylim(0, 1.3 * axes.get_ylim()[1])
    axes.set_xlabel(r"true $p_\mathrm{T}$ [GeV]")
    axes.set_ylabel(r"mean |predicted / true $p_\mathrm{T}$ $-$ 1|", labelpad=4)
    axes.legend(loc="upper left", title="one muon, simulation")


def training(trainings: Sequence[Training]) -> str:
    """Loss against epoch: training dashed, validation solid."""
    from matplotlib.ticker import LogFormatter, NullLocator

    def paint(axes: Any) -> None:
        for number, run in enumerate(trainings):
            colour = COLOURS[number % len(COLOURS)]
            epochs = np.arange(1, len(run.loss) + 1)
            marker = MARKERS[number % len(MARKERS)]
            axes.plot(epochs, run.loss, color=colour, linestyle="--", linewidth=0.9)
            axes.plot(epochs, run.validation_loss, color=colour, marker=marker, label=run.model)
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss", labelpad=4)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.xaxis.set_minor_locator(NullLocator())
        losses = [value for run in trainings for value in (*run.loss, *run.validation_loss)]
        low, high = min(losses), max(losses)
        if low > 0:  # with room for the legend above
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(LogFormatter())
            axes.yaxis.set_minor_formatter(LogFormatter())
            axes.set_ylim(0.8 * low, high * max(2.0, (high / low) ** 0.6))
        axes.legend(loc="upper right", title="solid: validation, dashed: training")

    return draw("training", "Loss against epoch", 4.4, 3.6, paint)


def event_display(number: int, image: np.ndarray, signal: np.ndarray, display: Display) -> str:
    """One event: ``image`` and ``signal`` (rows, strips) of 0 and 1, cut to the muons.

    Strips that a muon fired are coloured, those of noise alone grey.
    """

    def paint(axes: Any) -> None:
        _event(axes, image, signal)

    return draw(f"display-{number}", display.caption, 4.4, 2.3, paint)


def _event(axes: Any, image: np.ndarray, signal: np.ndarray) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    first, end = _window(signal if signal.any() else image)
    rows = len(image)
    for wanted, colour in ((signal == 0, NOISE), (signal == 1, SIGNAL)):
        fired = np.argwhere((image == 1) & wanted)
        boxes = [Rectangle((strip - 0.5, row - 0.4), 1, 0.8) for row, strip in fired]
        axes.add_collection(PatchCollection(boxes, facecolor=colour, linewidth=0))
    for row in range(rows):
        axes.axhline(row, color=GRID, linewidth=0.6, zorder=0)
    names = STATIONS.get(rows, tuple(map(str, range(rows))))
    starts = [row for row in range(rows) if row == 0 or names[row] != names[row - 1]]
    middles = [(a + b - 1) / 2 for a, b in zip(starts, [*starts[1:], rows], strict=True)]
    axes.minorticks_off()
    axes.set_yticks(middles, [names[row] for row in starts])
    axes.tick_params(axis="y", which="both", length=0)
    axes.set_xlim(first - 0.5, end - 0.5)
    axes.set_ylim(-0.6, rows - 0.4)
    axes.set_xlabel("strip")


def save_overview(
    path: Path, image: np.ndarray, signal: np.ndarray, display: Display, curves: Sequence[Curve]
) -> None:
    """One picture of a study, an event beside a turn-on curve, as .png or .svg by the suffix."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_style(), "svg.hashsalt": "overview"}):
        figure = Figure(figsize=(9.6, 3.5))
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
        _event(left, image, signal)
        true = ", ".join(f"{muon.pt_gev:.1f} GeV" for muon in display.muons) or "none"
        said = display.predicted.pt_gev if display.predicted_muons else 0
        left.set_title(
            f"{display.caption}: true pT {true}, predicted in the chip {said:.1f} GeV", fontsize=9
        )
        _turn_on(right, curves)
        figure.savefig(path, dpi=130)


def save_study(path: Path, evaluation: Evaluation) -> None:
    """The turn-on curves of every threshold and the resolution, as .png or .svg by the suffix."""
    import matplotlib
    from matplotlib.figure import Figure

    thresholds = sorted({curve.threshold_gev for curve in evaluation.turn_on})
    panels = len(thresholds) + bool(evaluation.resolution)
    rows = -(-panels // 2)
    with matplotlib.rc_context({**_style(), "svg.hashsalt": "study"}):
        figure = Figure(figsize=(9.6, 3.5 * rows))
        axes = figure.subplots(rows, 2, squeeze=False).ravel()
        for panel, threshold in zip(axes, thresholds, strict=False):
            _turn_on(panel, [c for c in evaluation.turn_on if c.threshold_gev == threshold])
        if evaluation.resolution:
            _resolution(axes[len(thresholds)], evaluation.resolution)
        for panel in axes[panels:]:
            panel.set_axis_off()
        figure.savefig(path, dpi=110)


def _window(image: np.ndarray) -> tuple[int, int]:
    """First strip and one after the last of a window around all hits, SHOWN_STRIPS or wider."""
    strips = np.flatnonzero(image.any(axis=0))
    if not len(strips):
        strips = np.array([image.shape[1] // 2])
    middle = int(strips.min() + strips.max()) // 2
    size = min(max(SHOWN_STRIPS, int(np.ptp(strips)) + 32), image.shape[1])
    first = min(max(middle - size // 2, 0), image.shape[1] - size)
    return first, first + size


def draw_latency(
    lines: Mapping[str, Sequence[tuple[float, float]]], best: Sequence[tuple[float, float]]
) -> str:
    """Latency in ns against clock in MHz; ``best`` are ringed. That a clock is reached is an
    estimate, and the axis says so."""

    def paint(axes: Any) -> None:
        for number, (label, points) in enumerate(lines.items()):
            if points:
                x, y = zip(*points, strict=True)
                style = {"color": COLOURS[(number + 1) % len(COLOURS)], "label": label}
                axes.plot(x, y, marker=MARKERS[number % len(MARKERS)], **style)
        if best:
            x, y = zip(*best, strict=True)
            ring = {"s": 60, "facecolors": "none", "edgecolors": COLOURS[0], "linewidths": 0.8}
            axes.scatter(x, y, label="beaten by none", zorder=3, **ring)
        axes.set_xlabel("clock [MHz] (that it is reached is an estimate)")
        axes.set_ylabel("latency [ns]")
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper right")

    return draw("latency", "Latency against clock", 5.2, 3.6, paint)


def draw_sweep(points: Sequence[tuple[float, Estimate, float, bool]], score: str) -> str:
    """Score against LUT: (LUT, score, latency in ns, is it beaten by none) of each trial."""

    def paint(axes: Any) -> None:
        import matplotlib

        times = [p[2] for p in points]
        shade = matplotlib.colors.Normalize(min(times), max(max(times), min(times) + 1))
        for lut, found, ns, best in points:
            if found.value is None or found.low is None or found.high is None:
                continue
            error = [[found.value - found.low], [found.high - found.value]]
            colour = matplotlib.colormaps["viridis_r"](shade(ns))
            axes.errorbar(lut, found.value, error, fmt="o" if best else "x", color=colour)
        colours = matplotlib.cm.ScalarMappable(shade, "viridis_r")
        axes.figure.colorbar(colours, ax=axes, label="latency [ns]")
        axes.set_xscale("log")
        axes.set_xlabel("LUT (synthesised)")
        axes.set_ylabel(score)

    return draw("sweep", f"{score} against LUT; round: beaten by none", 5.6, 3.8, paint)


def draw_comparison(labels: Sequence[str], points: Sequence[Sequence[float]], score: str) -> str:
    """A score of each way to make a student: every seed a dot, their mean a bar."""

    def paint(axes: Any) -> None:
        for row, values in enumerate(points):
            axes.plot(values, [row] * len(values), "o", color=COLOURS[1], markersize=4)
            mean = sum(values) / len(values)
            axes.plot([mean], [row], "|", color=COLOURS[0], markersize=14)
        axes.set_yticks(range(len(labels)), labels)
        axes.invert_yaxis()
        axes.set_xlabel(score)

    height = 0.8 + 0.32 * len(labels)
    return draw("compare", f"{score}; dots: seeds, bars: their mean", 7.2, height, paint)
