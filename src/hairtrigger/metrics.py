"""Figures of merit of a trigger, each with its interval: fractions, means, turn-on curves.

Fractions carry the Wilson score interval (E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209; for
its coverage L. D. Brown, T. T. Cai and A. DasGupta, Stat. Sci. 16 (2001) 101). It is never empty
and never leaves [0, 1]: no fake seen among n images gives 0 to z^2 / (n + z^2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hairtrigger.errors import InputError

LEVEL = 0.95
"""Coverage of an interval unless another is asked for."""


@dataclass(frozen=True)
class Fraction:
    """``passed`` of ``total`` with the interval ``low`` to ``high`` of coverage ``level``.

    Of nothing (``total`` 0) the ``value`` is NaN and the interval 0 to 1.
    """

    passed: int
    total: int
    low: float
    high: float
    level: float

    @property
    def value(self) -> float:
        return self.passed / self.total if self.total else math.nan


@dataclass(frozen=True)
class Mean:
    """A mean, its standard error (sample deviation / sqrt(entries)) and how many entries it has.

    ``value`` is NaN without entries, ``error`` with fewer than two.
    """

    value: float
    error: float
    entries: int


@dataclass(frozen=True)
class TurnOn:
    """Efficiency in bins of the true quantity: bin ``k`` is ``edges[k] <= true < edges[k + 1]``."""

    threshold: float
    edges: tuple[float, ...]
    points: tuple[Fraction, ...]

    @property
    def centres(self) -> tuple[float, ...]:
        return tuple((a + b) / 2 for a, b in zip(self.edges[:-1], self.edges[1:], strict=True))


def fraction(passed: int, total: int, level: float = LEVEL) -> Fraction:
    """``passed`` of ``total`` with its Wilson score interval.

    With p = passed / total and z the two-sided quantile of the normal distribution, the interval is
    (p + z^2/2n -+ z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n). Raises `InputError` for counts or
    a level that cannot be.
    """
    passed, total = int(passed), int(total)
    if not 0 <= passed <= total:
        raise InputError(
            f"{passed} of {total} is no fraction: passed must lie between 0 and total.",
            "Give counts of the same events.",
        )
    if not 0 < level < 1:
        raise InputError(f"level = {level!r} is no coverage.", "Give one between 0 and 1.")
    if total == 0:
        return Fraction(0, 0, 0.0, 1.0, level)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, weight = passed / total, z * z / total
    centre = (share + weight / 2) / (1 + weight)
    half = math.sqrt(share * (1 - share) * weight + weight * weight / 4) / (1 + weight)
    # The ends are exact where nothing or everything passed; rounding must not spoil that.
    low = 0.0 if passed == 0 else max(0.0, centre - half)
    high = 1.0 if passed == total else min(1.0, centre + half)
    return Fraction(passed, total, low, high, level)


def fraction_of(passed: ArrayLike, level: float = LEVEL) -> Fraction:
    """The share of True in a boolean array (events,). Raises `InputError` for another type."""
    mask = np.asarray(passed)
    if mask.dtype != np.bool_:
        raise InputError(
            f"passed holds {mask.dtype}, not True and False.", "Compare with the threshold first."
        )
    return fraction(int(np.count_nonzero(mask)), mask.size, level)


def mean(values: ArrayLike) -> Mean:
    """Mean and standard error of ``values`` (any shape). Raises `InputError` for NaN or inf."""
    x = finite("values", values).ravel()
    if x.size == 0:
        return Mean(math.nan, math.nan, 0)
    error = float(x.std(ddof=1) / math.sqrt(x.size)) if x.size > 1 else math.nan
    return Mean(float(x.mean()), error, int(x.size))


def turn_on(
    true: ArrayLike,
    predicted: ArrayLike,
    threshold: float,
    edges: ArrayLike,
    level: float = LEVEL,
) -> TurnOn:
    """How often ``predicted >= threshold``, in bins of ``true`` (both (events,), same unit).

    Raises `InputError` for NaN or inf, different lengths, or edges that do not increase.
    """
    true, predicted = finite("true", true), finite("predicted", predicted)
    same_length(true=true, predicted=predicted)
    edges = finite("edges", edges)
    if edges.ndim != 1 or edges.size < 2 or not (np.diff(edges) > 0).all():
        raise InputError(
            f"edges = {edges.tolist()} do not increase.", "Give two or more increasing bin edges."
        )
    total = np.histogram(true, _half_open(edges))[0]
    passed = np.histogram(true[predicted >= threshold], _half_open(edges))[0]
    points = tuple(fraction(p, n, level) for p, n in zip(passed, total, strict=True))
    return TurnOn(float(threshold), tuple(edges.tolist()), points)


def _half_open(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """NumPy closes the last bin on the right; an edge a hair lower opens it."""
    return np.append(edges[:-1], np.nextafter(edges[-1], -np.inf))


def confusion(true: ArrayLike, predicted: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Counts (classes, classes): row = true class, column = predicted class.

    Raises `InputError` for values that are no class number from 0 to ``classes - 1``.
    """
    rows, columns = _classes("true", true, classes), _classes("predicted", predicted, classes)
    same_length(true=rows, predicted=columns)
    flat = np.bincount(rows * classes + columns, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def _classes(name: str, values: ArrayLike, classes: int) -> NDArray[np.int64]:
    array = finite(name, values)
    whole = array.astype(np.int64)
    if (whole != array).any() or (array < 0).any() or (array >= classes).any():
        raise InputError(
            f"{name} holds values other than the classes 0 to {classes - 1}.",
            "Give class numbers, not probabilities.",
        )
    return whole


def finite(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """``values`` as float64. Raises `InputError` naming how many are NaN or infinite."""
    array = np.asarray(values, dtype=np.float64)
    bad = int(array.size - np.count_nonzero(np.isfinite(array)))
    if bad:
        raise InputError(
            f"{name} holds {bad} of {array.size} values that are NaN or infinite.",
            "Look for the step that made them; a figure of merit would hide them.",
        )
    return array


def same_length(**arrays: NDArray) -> None:
    """Raise `InputError` unless all arrays have one entry per event."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InputError(f"Arrays of different lengths: {said}.", "Give one entry per event.")
