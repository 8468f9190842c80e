"""The trade-off of the tau3mu study: what its trainings say together, and their picture."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors import lhcb_toy
from hairtrigger.metrics import LEVEL
from hairtrigger.report.figures import COLOURS, GRID, NOISE, draw_panels
from hairtrigger.report.summary import Estimate
from hairtrigger.studies.tau3mu_figures import BACKGROUND, DRAWS, Figures, Point

COINS, RIVAL, PLAIN = "coins", "adversary, twice the neurons", "plain"
DRAWN = f"coins, {DRAWS} draws"
LOST = 0.02
"""Share of the plain network's AUC that may be lost where pile-up dependence is compared."""
STYLES = {
    PLAIN: (COLOURS[0], "s", ""),
    COINS: (COLOURS[2], "o", "-"),
    DRAWN: (COLOURS[2], "^", "--"),
    "coins, likelier side": (COLOURS[2], "x", ":"),
    "adversary": (COLOURS[1], "v", "-"),
    RIVAL: (COLOURS[1], "D", "--"),
    "disco": (COLOURS[3], "P", "-"),
    "mmd": (COLOURS[4], "*", "-"),
}
"""Colour, marker and line of each method."""


def honest(figures: Figures) -> float:
    """AUC of signal and background of one origin; with recorded data, where there is no such
    sample, the AUC as in training."""
    return figures.auc if figures.true_auc is None else figures.true_auc


def findings(points: Sequence[Point]) -> dict[str, Estimate]:
    """What `hairtrigger.studies.tau3mu_goals.BLIND_GOALS` speak of: mean over seeds, with the
    interval of the mean where there are seeds enough.

    ``lead``: at the adversary's lowest KS, the best AUC of coins (one toss an event) of that KS or
    lower, less the adversary's. ``worst``: the lowest AUC of coins. ``rise``: of the mean KS of
    coins. ``flatter``: the plain network's pile-up dependence over that of coins, at the strength
    that loses less than `LOST` of the plain network's AUC and is flattest. ``_drawn``: the same of
    the mean of 16 tosses. AUC is `honest`.
    """
    seeds = sorted({point.seed for point in points})

    def of(method: str, seed: int) -> list[Figures]:
        return [p.figures for p in points if (p.method, p.seed) == (method, seed)]

    def lead(way: str, seed: int) -> float | None:
        rivals = of(RIVAL, seed)
        if not rivals:
            return None
        rival = min(rivals, key=lambda f: f.ks)
        ours = [honest(f) for f in of(way, seed) if f.ks <= rival.ks]
        return max(ours) - honest(rival) if ours else None

    def flatter(way: str, seed: int) -> float | None:
        (plain,) = of(PLAIN, seed)
        flat = [f.pile_up for f in of(way, seed) if honest(f) > (1 - LOST) * honest(plain)]
        return plain.pile_up / min(flat) if flat else None

    coins = [point for point in points if point.method == COINS]
    strengths = sorted({point.strength for point in coins})
    means = [statistics.fmean(p.figures.ks for p in coins if p.strength == s) for s in strengths]
    worst = min((honest(point.figures) for point in coins), default=None)
    rise = max((b - a for a, b in pairwise(means)), default=None)
    return {
        "lead": _over_seeds([lead(COINS, seed) for seed in seeds]),
        "lead_drawn": _over_seeds([lead(DRAWN, seed) for seed in seeds]),
        "worst": Estimate(worst, worst, worst, len(coins)),
        "rise": Estimate(rise, rise, rise, len(coins)),
        "flatter": _over_seeds([flatter(COINS, seed) for seed in seeds]),
        "flatter_drawn": _over_seeds([flatter(DRAWN, seed) for seed in seeds]),
    }


def _over_seeds(values: Sequence[float | None]) -> Estimate:
    """Their mean; no value where a seed has none."""
    found = [value for value in values if value is not None]
    if not found or len(found) < len(values):
        return Estimate(None, None, None, len(found))
    mean = statistics.fmean(found)
    if len(found) == 1:
        return Estimate(mean, mean, mean, 1)
    z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
    half = z * statistics.stdev(found) / len(found) ** 0.5
    return Estimate(mean, mean - half, mean + half, len(found))


def bound(steps: int = 60) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """KS and AUC of the best linear scores of generated candidates, from blind to not blind at all,
    for a known pile-up: no network can be above it."""
    signal, shift = lhcb_toy.SIGNAL, lhcb_toy.SHIFT
    share = np.linspace(1, 0, steps)[:, None]
    scores = signal - share * shift * (signal @ shift) / (shift @ shift)
    scores /= np.linalg.norm(scores, axis=1, keepdims=True)
    normal = np.vectorize(NormalDist().cdf)
    return 2 * normal(np.abs(scores @ shift) / 2) - 1, normal(scores @ signal / 2**0.5)


def draw_tradeoff(points: Sequence[Point]) -> str:
    """Six panels as SVG: AUC against blindness three ways, stability, what coins know while they
    learn, and the efficiency against pile-up. Bars and bands are over seeds. Two panels begin below
    the lowest AUC of the plain network and of coins."""
    one_origin = all(point.figures.true_auc is not None for point in points)
    # A method that has given in would leave no room for the others.
    floor = min(honest(p.figures) for p in points if p.method in (PLAIN, COINS)) - 0.02

    def against(x: Callable[[Figures], float], label: str, *, limit: bool) -> Any:
        def paint(axes: Any) -> None:
            for method in _methods(points):
                _line(axes, points, method, x, honest)
            if limit and one_origin:
                ks, auc = bound()
                axes.plot(1 - ks, auc, color=NOISE, linewidth=0.9, label="no score is above")
            axes.set_xlabel(label)
            axes.set_ylabel("AUC, one origin" if one_origin else "AUC")
            axes.set_ylim(bottom=floor)

        return paint

    def as_trained(axes: Any) -> None:
        for method in _methods(points):
            _line(axes, points, method, lambda f: 1 - f.ks, lambda f: f.auc)
        axes.set_xlabel("1 - KS of the control channel")
        axes.set_ylabel("AUC, simulated signal, recorded background")
        axes.legend(fontsize=7, loc="lower left")

    rows = (
        (as_trained, against(lambda f: 1 - f.ks, "1 - KS of the control channel", limit=True)),
        (
            against(lambda f: f.probe_auc, "AUC of a probe for the origin", limit=False),
            lambda axes: _stability(axes, points),
        ),
        (lambda axes: _plane(axes, points), lambda axes: _pile_up(axes, points)),
    )
    alt = "AUC against blindness, stability over strengths, information plane, pile-up"
    return draw_panels("tradeoff", alt, 9.6, 10.5, rows)


def _methods(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(point.method for point in points))


def _of(points: Sequence[Point], method: str) -> dict[float, list[Figures]]:
    """The figures of all seeds by strength."""
    found: dict[float, list[Figures]] = {}
    for point in sorted(points, key=lambda p: p.strength):
        if point.method == method:
            found.setdefault(point.strength, []).append(point.figures)
    return found


def _line(
    axes: Any,
    points: Sequence[Point],
    method: str,
    x: Callable[[Figures], float],
    y: Callable[[Figures], float],
) -> None:
    across = [[x(f) for f in figures] for figures in _of(points, method).values()]
    up = [[y(f) for f in figures] for figures in _of(points, method).values()]
    colour, marker, line = STYLES[method]
    axes.errorbar(
        [np.mean(v) for v in across],
        [np.mean(v) for v in up],
        xerr=[_error(v) for v in across],
        yerr=[_error(v) for v in up],
        label=method,
        color=colour,
        marker=marker,
        linestyle=line,
        elinewidth=0.8,
    )


def _error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0


def _stability(axes: Any, points: Sequence[Point]) -> None:
    """AUC (solid) and KS (dashed) against the strength; bands from the lowest to the highest
    seed."""
    for method in (COINS, RIVAL):
        found, (colour, marker, _) = _of(points, method), STYLES[method]
        for value, style, what in ((honest, "-", "AUC"), (lambda f: f.ks, "--", "KS")):
            each = [[value(f) for f in figures] for figures in found.values()]
            middle = [np.mean(v) for v in each]
            label = f"{method}: {what}"
            axes.plot(
                list(found), middle, style, marker=marker, color=colour, label=label, zorder=3
            )
            low, high = [min(v) for v in each], [max(v) for v in each]
            axes.fill_between(list(found), low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set_xscale("log")
    axes.set_xlabel("strength")
    axes.set_ylabel("AUC, KS")
    axes.set_ylim(0, 1.25)
    axes.legend(fontsize=7, ncols=2, loc="upper center")


def _plane(axes: Any, points: Sequence[Point]) -> None:
    """What coins know of their input and of the origin, epoch by epoch, mean over seeds; the end is
    marked."""
    strengths = sorted({p.strength for p in points if p.plane})
    for number, strength in enumerate(strengths):
        runs = [p.plane for p in points if p.plane and p.strength == strength]
        x, y = (
            np.mean([[getattr(known, name) for known in run] for run in runs], axis=0)
            for name in ("input", "domain")
        )
        colour = COLOURS[number % len(COLOURS)]
        line = "-" if number < len(COLOURS) else ":"
        axes.plot(x, y, line, color=colour, linewidth=0.9, label=f"strength {strength:g}")
        axes.plot(x[-1:], y[-1:], "o", color=colour)
    axes.set_yscale("log")
    axes.set_xlabel("I(T; input), sum over neurons [bit]")
    axes.set_ylabel("I(T; origin), sum over neurons [bit]")
    if strengths:
        axes.legend(fontsize=7)


def _pile_up(axes: Any, points: Sequence[Point]) -> None:
    """Efficiency in the bins of SPDhits over their mean: plain, and coins of each strength."""
    shown = [(PLAIN, 0.0), *((COINS, strength) for strength in _of(points, COINS))]
    for number, (method, strength) in enumerate(shown):
        each = np.array([f.efficiencies for f in _of(points, method).get(strength, [])])
        if not len(each):
            continue
        relative = each / each.mean(axis=1, keepdims=True)
        bins = np.arange(1, each.shape[1] + 1)
        error = [_error(column) for column in relative.T]
        label = PLAIN if method == PLAIN else f"coins, strength {strength:g}"
        colour = COLOURS[number % len(COLOURS)]
        style = "-" if number < len(COLOURS) else ":"
        axes.errorbar(
            bins, relative.mean(axis=0), error, color=colour, linestyle=style, label=label
        )
    axes.axhline(1, color=GRID, linewidth=0.8, zorder=0)
    axes.set_xticks(bins)
    axes.set_xlabel("quarter of candidates by SPDhits")
    axes.set_ylabel(f"efficiency at {100 * BACKGROUND:g} % background / mean")
    axes.legend(fontsize=7)
