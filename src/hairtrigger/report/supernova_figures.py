"""The figures of the low-energy trigger: ROC curves, turn-on, bursts and the confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hairtrigger.metrics import LEVEL, Fraction
from hairtrigger.report.figures import COLOURS, GRID, MARKERS, NOISE, Paint, draw, draw_panels
from hairtrigger.studies.supernova_burst import GOAL, PUBLISHED, BurstCurve
from hairtrigger.studies.supernova_metrics import (
    IMAGES_PER_SECOND,
    VISIBLE_MEV,
    Judged,
    Roc,
)

PUBLISHED_MARKS = ("*", "P", "X", "h")
NAMES = {
    "noise": "noise",
    "nue_cc": r"$\nu_e$ CC",
    "es": r"$\nu e$ scattering",
    "solar": r"solar $\nu_e$",
    "other": "other",
}
"""The classes as a figure names them."""


def draw_performance(
    curves: Mapping[str, Roc],
    judged: Sequence[Judged],
    bursts: Sequence[BurstCurve],
    rows: Sequence[Sequence[Fraction]],
    classes: Sequence[str],
) -> str:
    """All four figures as panels of one; ``curves`` are of nu_e CC of all energies."""
    share = r"efficiency, $\nu_e$ CC of all energies"
    panels = [
        [_roc_panel(curves, (), True, share), _turn_on_panel(judged)],
        [_burst_panel(bursts), _confusion_panel(rows, classes)],
    ]
    alt = f"Efficiency, fakes and bursts of {', '.join(curves)}"
    return draw_panels("supernova-performance", alt, 11.4, 8.6, panels)


def draw_roc(
    curves: Mapping[str, Roc], *, goals: Sequence[tuple[float, float]] = (), published: bool = True
) -> str:
    """Efficiency against the share of noise images that pass, of each method.

    Bands are both intervals at once. The left end of a curve is an arrow: none passed, and the
    point is the upper limit. ``goals``: (fake rate, efficiency) to mark. ``published``: the points
    of others, on other samples.
    """
    alt = f"Efficiency against fake rate of {', '.join(curves)}"
    return draw("supernova-roc", alt, 5.6, 4.2, _roc_panel(curves, goals, published))


def _roc_panel(
    curves: Mapping[str, Roc],
    goals: Sequence[tuple[float, float]],
    published: bool,
    share: str = "efficiency",
) -> Paint:
    def paint(axes: Any) -> None:
        for number, (name, curve) in enumerate(curves.items()):
            _roc(axes, name, curve, number)
        if published:
            names = list(dict.fromkeys(point.name for point in PUBLISHED))
            for mark, name in zip(PUBLISHED_MARKS, names, strict=False):
                mine = [point for point in PUBLISHED if point.name == name]
                x, y = [p.fake_rate for p in mine], [p.efficiency for p in mine]
                axes.plot(x, y, mark, color=NOISE, markersize=6, label=f"published: {name}")
        for fake_rate, wanted in goals:
            axes.plot([fake_rate], [wanted], "+", color=COLOURS[0], markersize=10)
        axes.set_xscale("log")
        axes.set_xlim(right=1)
        axes.set_ylim(0, 1.05)
        axes.set_xlabel("share of noise images that pass")
        axes.set_ylabel(share)
        axes.legend(loc="lower right", fontsize=7)
        hertz = axes.secondary_xaxis(
            "top", functions=(lambda x: x * IMAGES_PER_SECOND, lambda x: x / IMAGES_PER_SECOND)
        )
        hertz.set_xlabel("fakes of a module [Hz]")

    return paint


def _roc(axes: Any, name: str, curve: Roc, number: int) -> None:
    colour = COLOURS[number % len(COLOURS)]
    seen = [k for k, fake in enumerate(curve.fakes) if fake.passed]
    x = np.array([curve.fakes[k].value for k in seen])
    y = np.array([curve.efficiencies[k].value for k in seen])
    axes.plot(x, y, color=colour, label=name, zorder=2 + number)
    # The worse and the better corner of both intervals bound the band.
    worse = [(curve.fakes[k].high, curve.efficiencies[k].low) for k in seen]
    better = [(curve.fakes[k].low, curve.efficiencies[k].high) for k in seen]
    ring = np.array([*worse, *better[::-1]])
    axes.fill(ring[:, 0], ring[:, 1], color=colour, alpha=0.18, linewidth=0)
    for fake, share in zip(curve.fakes, curve.efficiencies, strict=True):
        if not fake.passed:
            error = [[share.value - share.low], [share.high - share.value]]
            limit = {"xerr": [[fake.high / 2], [0]], "xuplims": True, "capsize": 2}
            axes.errorbar(fake.high, share.value, yerr=error, color=colour, elinewidth=0.8, **limit)


def draw_turn_on(judged: Sequence[Judged]) -> str:
    """Efficiency for nu_e CC against visible energy, of each method at its cut."""
    names = ", ".join(method.name for method in judged)
    alt = f"Efficiency against energy of {names}"
    return draw("supernova-turn-on", alt, 5.6, 3.8, _turn_on_panel(judged))


def _turn_on_panel(judged: Sequence[Judged]) -> Paint:
    def paint(axes: Any) -> None:
        for number, method in enumerate(judged):
            _turn_on(axes, method, number, len(judged))
        axes.axvline(VISIBLE_MEV, color=NOISE, linestyle=":", linewidth=1)
        axes.axhline(1, color=GRID, linewidth=0.8, zorder=0)
        axes.set_xlim(judged[0].turn_on.edges[0], judged[0].turn_on.edges[-1])
        axes.set_ylim(0, 1.5)
        axes.set_xlabel("visible energy [MeV]")
        axes.set_ylabel("efficiency", labelpad=4)
        axes.legend(loc="upper left", fontsize=7, title=r"$\nu_e$ CC, simulation")

    return paint


def _turn_on(axes: Any, method: Judged, number: int, of: int) -> None:
    curve = method.turn_on
    full = [k for k, point in enumerate(curve.points) if point.total]
    edges = np.asarray(curve.edges)
    low, high = edges[:-1][full], edges[1:][full]
    points = [curve.points[k] for k in full]
    y = np.array([p.value for p in points])
    error = np.array([[p.value - p.low, p.high - p.value] for p in points]).reshape(-1, 2).T
    x = (low + high) / 2 + (high - low) * 0.2 * (number - (of - 1) / 2)
    kept = f"{method.fakes.passed:,} of {method.fakes.total:,} noise images"
    axes.errorbar(
        x,
        y,
        error.clip(0),
        fmt=MARKERS[number % len(MARKERS)],
        color=COLOURS[number % len(COLOURS)],
        elinewidth=1.0,
        label=f"{method.name}: {kept}",
        zorder=2 + number,
    )


def draw_burst(curves: Sequence[BurstCurve]) -> str:
    """Efficiency of the burst trigger against the interactions in a module, with bands.

    Dashed where no fake was seen: then the curve is that of the upper limit.
    """
    names = ", ".join(curve.name for curve in curves)
    alt = f"Burst efficiency of {names}"
    return draw("supernova-burst", alt, 5.6, 3.8, _burst_panel(curves))


def _burst_panel(curves: Sequence[BurstCurve]) -> Paint:
    def paint(axes: Any) -> None:
        for number, curve in enumerate(curves):
            colour = COLOURS[number % len(COLOURS)]
            line, sign = ("--", "<") if curve.limit else ("-", "=")
            n, goal = np.asarray(curve.interactions), curve.for_goal
            label = f"{curve.name} (fakes {sign} {curve.fake_rate:.1e}): {goal.value:g}"
            axes.plot(n, curve.efficiency, line, color=colour, label=label, zorder=3)
            axes.fill_between(n, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
        axes.axhline(GOAL, color=NOISE, linestyle=":", linewidth=1)
        axes.set_xscale("log")
        axes.set_ylim(0, 1.6)
        axes.set_xlabel("interactions in a module")
        axes.set_ylabel("efficiency for bursts", labelpad=4)
        title = f"interactions for {100 * GOAL:g} %, one fake a month"
        axes.legend(loc="upper left", fontsize=7, title=title)

    return paint


def draw_confusion(rows: Sequence[Sequence[Fraction]], classes: Sequence[str]) -> str:
    """The share of each true class (rows) that is called each class, with the interval's ends."""
    level = rows[0][0].level if rows else LEVEL
    alt = f"Confusion matrix with {100 * level:g} % intervals"
    return draw("supernova-confusion", alt, 6.0, 4.2, _confusion_panel(rows, classes))


def _confusion_panel(rows: Sequence[Sequence[Fraction]], classes: Sequence[str]) -> Paint:
    def paint(axes: Any) -> None:
        shares = np.array([[cell.value for cell in row] for row in rows])
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for y, row in enumerate(rows):
            for x, cell in enumerate(row):
                dark = cell.value > 0.5
                text = f"{cell.value:.3f}\n{cell.low:.3f} to {cell.high:.3f}"
                if not cell.total:
                    text = "no image"
                style = {"color": "white" if dark else COLOURS[0], "fontsize": 7}
                axes.text(x, y, text, ha="center", va="center", **style)
        axes.minorticks_off()
        shown = [NAMES.get(name, name) for name in classes]
        axes.set_xticks(range(len(classes)), shown)
        axes.set_yticks(range(len(classes)), shown)
        axes.tick_params(which="both", length=0)
        axes.set_xlabel("called")
        axes.set_ylabel("true")

    return paint
