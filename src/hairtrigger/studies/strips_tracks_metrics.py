"""The figures of a track finder: efficiency, fakes, and how well a track is measured.

Every method gives a score a chamber, larger for a muon, and a line: position and slope in the
middle of the chamber. A track is found where the score is at least the cut, which is chosen on
chambers of background alone; what is quoted is measured on others.
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

RIGHT_MM = 1.0
RIGHT_SLOPE = 0.015
"""A track is at the right place where position and slope are not farther off than this."""
CORE = 0.68
"""The share of tracks whose error is below what is called the resolution."""


@dataclass(frozen=True)
class Said:
    """What a method says of chambers: a score (n,), and lines (n, 2) of position [mm] and slope.

    Raises `InputError` for another shape, NaN or infinity.
    """

    score: NDArray[np.float64]
    lines: NDArray[np.float64]

    def __post_init__(self) -> None:
        score, lines = finite("score", self.score), finite("lines", self.lines)
        if score.ndim != 1 or lines.shape != (len(score), 2):
            raise InputError(
                f"Scores of shape {score.shape} and lines of shape {lines.shape} do not fit.",
                "Give (n,) and (n, 2): position and slope.",
            )


@dataclass(frozen=True)
class Quantile:
    """A quantile of ``n`` values and its interval, of ``level`` at least; None without values, and
    an end that the values do not reach."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    level: float


@dataclass(frozen=True)
class Judged:
    """A method at a cut and a rate of background.

    ``fakes``: of chambers without a muon, those over the cut; ``efficiency``: of those with one;
    ``right``: with the track at the right place as well (`RIGHT_MM`, `RIGHT_SLOPE`). ``x_mm``,
    ``slope``: the size of the error that a share `CORE` of the tracks found stays below.
    """

    rate_khz_cm2: float
    fakes: Fraction
    efficiency: Fraction
    right: Fraction
    x_mm: Quantile
    slope: Quantile


def quantile(values: ArrayLike, share: float = CORE, level: float = LEVEL) -> Quantile:
    """The value that a ``share`` of ``values`` (n,) does not exceed, with its interval.

    The interval lies between two of the sorted values, whose ranks n p -+ z sqrt(n p (1 - p)) are
    those of the normal approximation to the binomial distribution: it assumes no shape. Raises
    `InputError` for NaN, infinity, or a share that is none.
    """
    x = np.sort(finite("values", values).ravel())
    if not 0 < share < 1 or not 0 < level < 1:
        raise InputError(f"share = {share!r}, level = {level!r}", "give both between 0 and 1")
    n = len(x)
    if not n:
        return Quantile(None, None, None, 0, level)
    reach = NormalDist().inv_cdf(0.5 + level / 2) * math.sqrt(n * share * (1 - share))

    def at(rank: float) -> float | None:
        place = math.ceil(rank) - 1
        return float(x[place]) if 0 <= place < n else None

    return Quantile(at(n * share), at(n * share - reach), at(n * share + reach + 1), n, level)


def is_right(lines: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.bool_]:
    """Which lines (n, 2) lie where the muon of ``truth`` (n,) is: not beyond `RIGHT_MM` and
    `RIGHT_SLOPE`."""
    near = np.abs(lines[:, 0] - truth["x_mm"]) <= RIGHT_MM
    return near & (np.abs(lines[:, 1] - truth["slope_x"]) <= RIGHT_SLOPE)


def judge(rate_khz_cm2: float, noise: Said, muons: Said, truth: NDArray[Any], cut: float) -> Judged:
    """A method at ``cut``, on chambers without muon and on others with one, of ``truth``.

    Raises `InputError` where muons and truth are not as many, or there are no chambers of a kind.
    """
    same_length(muons=muons.score, truth=truth)
    if not len(noise.score) or not len(muons.score):
        raise InputError(
            f"{len(noise.score)} chambers without and {len(muons.score)} with a muon.",
            "Give some of both.",
        )
    found = muons.score >= cut
    error_x = np.abs(muons.lines[:, 0] - truth["x_mm"])[found]
    error_slope = np.abs(muons.lines[:, 1] - truth["slope_x"])[found]
    return Judged(
        rate_khz_cm2=rate_khz_cm2,
        fakes=fraction_of(noise.score >= cut),
        efficiency=fraction_of(found),
        right=fraction_of(found & is_right(muons.lines, truth)),
        x_mm=quantile(error_x),
        slope=quantile(error_slope),
    )
