"""Figures of the strips study: how well a position is told, and a muon's cluster from another's.

A resolution is half the width that holds 68 % of the residuals about their median: tails count
where they reach, and a constant shift, which calibration takes away, does not. Its interval, and
that of a ratio of two resolutions, comes from the events drawn anew; a ratio draws the same events
for both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hairtrigger.errors import InputError
from hairtrigger.metrics import LEVEL, Fraction, finite, fraction_of, same_length

CONTENT = 0.68
DRAWS = 200
"""Samples drawn anew for an interval."""


@dataclass(frozen=True)
class Measured:
    """A number with the interval of coverage `LEVEL`, from ``n`` events."""

    value: float
    low: float
    high: float
    n: int


def half_width(residuals: ArrayLike) -> float:
    """Half the width about the median that holds 68 % of ``residuals`` (n,), in their unit; NaN of
    none. Raises `InputError` for NaN or infinity."""
    values = finite("residuals", residuals)
    if not len(values):
        return math.nan
    return float(np.quantile(np.abs(values - np.median(values)), CONTENT))


def resolution(residuals: ArrayLike, seed: int = 0) -> Measured:
    """The half width of ``residuals`` (n,) with its interval. Raises `InputError`."""
    values = finite("residuals", residuals)
    drawn = [half_width(values[rows]) for rows in _rows(len(values), seed)]
    return _measured(half_width(values), drawn, len(values))


def gain(residuals: ArrayLike, others: ArrayLike, seed: int = 0) -> Measured:
    """By how much the half width of ``residuals`` is below that of ``others`` on the same events
    (n,): 1 - ratio. Raises `InputError` for different lengths, NaN or infinity."""
    ours, theirs = finite("residuals", residuals), finite("others", others)
    same_length(residuals=ours, others=theirs)

    def one(rows: Any) -> float:
        return 1 - half_width(ours[rows]) / half_width(theirs[rows])

    if not len(ours):
        return Measured(math.nan, math.nan, math.nan, 0)
    return _measured(one(slice(None)), [one(rows) for rows in _rows(len(ours), seed)], len(ours))


def _rows(count: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return (rng.integers(0, count, count) for _ in range(DRAWS)) if count else ()


def _measured(value: float, drawn: list[float], n: int) -> Measured:
    """The interval from the spread of what was drawn, as of a normal distribution: that of 200
    draws is known to 5 %, their 2.5th percentile is not."""
    if n < 2:
        return Measured(value, math.nan, math.nan, n)
    wide = NormalDist().inv_cdf(0.5 + LEVEL / 2) * float(np.std(drawn, ddof=1))
    return Measured(value, value - wide, value + wide, n)


@dataclass(frozen=True)
class Point:
    """A cut on the score: share of background clusters, and of muons, that pass."""

    fakes: Fraction
    muons: Fraction


def cut_for(scores: NDArray[np.float64], share: float) -> float:
    """The cut (passed where score >= cut) that ``share`` of these muons pass. Raises `InputError`
    for no scores or a share outside 0 to 1."""
    if not len(scores) or not 0 < share <= 1:
        raise InputError(
            f"{len(scores)} scores and a share of {share!r} make no cut.",
            "Give scores of muons, and a share above 0, at most 1.",
        )
    place = min(len(scores) - 1, math.floor((1 - share) * len(scores)))
    return float(np.sort(scores)[place])


def working_curve(
    background: NDArray[np.float64], muons: NDArray[np.float64], points: int = 40
) -> tuple[Point, ...]:
    """Fakes and efficiency at cuts between the scores of ``muons``, from the loosest on."""
    shares = 1 - np.geomspace(2e-4, 0.5, points)
    cuts = np.unique([cut_for(muons, float(share)) for share in shares])
    return tuple(Point(fraction_of(background >= cut), fraction_of(muons >= cut)) for cut in cuts)
