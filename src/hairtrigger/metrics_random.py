"""Are bits random: tests of NIST SP 800-22 (revision 1a, 2010), each giving a P-value.

A P-value is the chance that a perfect generator looks as bad or worse; below 0.01 the test is
failed by NIST's reading, and one perfect sequence in a hundred fails it. Each function takes a row
of bits (zeros and ones) and names the section that defines it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hairtrigger.errors import InputError

RANK_SIZE = 32
"""Rows and columns of the matrices of the rank test."""


def frequency(bits: ArrayLike) -> float:
    """As many ones as zeros (2.1)."""
    x = _bits(bits, 1)
    return math.erfc(abs(2 * int(x.sum()) - len(x)) / math.sqrt(2 * len(x)))


def block_frequency(bits: ArrayLike, block: int = 128) -> float:
    """As many ones as zeros in each block (2.2)."""
    x = _bits(bits, block)
    share = _blocks(x, block).mean(axis=1)
    return chi_squared(4 * block * float(((share - 0.5) ** 2).sum()), len(share))


def runs(bits: ArrayLike) -> float:
    """As many changes between neighbours as there should be (2.3); 0 where the ones are so many or
    few that the frequency test has failed."""
    x = _bits(bits, 2)
    n, share = len(x), float(x.mean())
    if abs(share - 0.5) >= 2 / math.sqrt(n):
        return 0.0
    changes = int(np.count_nonzero(np.diff(x))) + 1
    variance = share * (1 - share)
    return math.erfc(abs(changes - 2 * n * variance) / (2 * math.sqrt(2 * n) * variance))


_LONGEST = (
    (750_000, 10_000, 10, (0.0882, 0.2092, 0.2483, 0.1933, 0.1208, 0.0675, 0.0727)),
    (6272, 128, 4, (0.1174, 0.2430, 0.2493, 0.1752, 0.1027, 0.1124)),
    (128, 8, 1, (0.2148, 0.3672, 0.2305, 0.1875)),
)
"""From so many bits on: length of a block, the shortest class of longest runs, their chances."""


def longest_run(bits: ArrayLike) -> float:
    """The longest run of ones in each block (2.4)."""
    x = _bits(bits, 128)
    _, block, least, chances = next(row for row in _LONGEST if len(x) >= row[0])
    best = np.zeros(len(x) // block, dtype=np.int64)
    run = best.copy()
    for column in _blocks(x, block).T:
        run = (run + 1) * column
        best = np.maximum(best, run)
    classes = np.clip(best - least, 0, len(chances) - 1)
    seen = np.bincount(classes, minlength=len(chances))
    expected = len(best) * np.array(chances)
    return chi_squared(float(((seen - expected) ** 2 / expected).sum()), len(chances) - 1)


def matrix_rank(bits: ArrayLike) -> float:
    """Ranks of 32 x 32 matrices of successive bits (2.5): what is linear, as shift registers are,
    fails it once the matrix is larger than the register."""
    from hairtrigger.graph.gf2 import rank

    size = RANK_SIZE
    x = _bits(bits, 38 * size * size)
    matrices = _blocks(x, size * size).reshape(-1, size, size)
    ranks = np.array([rank(m) for m in matrices])
    full, less = _rank_chance(size), _rank_chance(size - 1)
    expected = len(ranks) * np.array([full, less, 1 - full - less])
    top, second = np.count_nonzero(ranks == size), np.count_nonzero(ranks == size - 1)
    seen = np.array([top, second, len(ranks) - top - second])
    return chi_squared(float(((seen - expected) ** 2 / expected).sum()), 2)


def _rank_chance(rank: int) -> float:
    """Chance that a random square matrix of `RANK_SIZE` has this rank over GF(2)."""
    size = RANK_SIZE
    chance = 2.0 ** (rank * (2 * size - rank) - size * size)
    for i in range(rank):
        chance *= (1 - 2.0 ** (i - size)) ** 2 / (1 - 2.0 ** (i - rank))
    return chance


def spectrum(bits: ArrayLike) -> float:
    """As many high peaks in the Fourier spectrum as there should be (2.6)."""
    x = 2.0 * _bits(bits, 10) - 1
    n = len(x)
    height = np.abs(np.fft.rfft(x))[: n // 2]
    low = int(np.count_nonzero(height < math.sqrt(n * math.log(1 / 0.05))))
    distance = (low - 0.95 * n / 2) / math.sqrt(n * 0.95 * 0.05 / 4)
    return math.erfc(abs(distance) / math.sqrt(2))


def serial(bits: ArrayLike, length: int = 5) -> float:
    """All patterns of ``length`` bits equally often, cyclically (2.11); the first P-value."""
    x = _bits(bits, length)
    psi = [_psi(x, length - n) for n in range(2)]
    return chi_squared(psi[0] - psi[1], 1 << (length - 1))


def approximate_entropy(bits: ArrayLike, length: int = 5) -> float:
    """Patterns of ``length`` bits against those one bit longer (2.12)."""
    x = _bits(bits, length)
    phi = []
    for m in (length, length + 1):
        share = _patterns(x, m) / len(x)
        phi.append(float((share[share > 0] * np.log(share[share > 0])).sum()))
    return chi_squared(2 * len(x) * (math.log(2) - (phi[0] - phi[1])), 1 << length)


def cumulative_sums(bits: ArrayLike) -> float:
    """The largest excursion of the walk that the bits make (2.13), forwards."""
    x = 2 * _bits(bits, 2) - 1
    n = len(x)
    z = int(np.abs(np.cumsum(x)).max())

    def phi(value: float) -> float:
        return 0.5 * math.erfc(-value / math.sqrt(2))

    root = math.sqrt(n)
    first = sum(
        phi((4 * k + 1) * z / root) - phi((4 * k - 1) * z / root)
        for k in range(math.ceil((-n / z + 1) / 4), math.floor((n / z - 1) / 4) + 1)
    )
    second = sum(
        phi((4 * k + 3) * z / root) - phi((4 * k + 1) * z / root)
        for k in range(math.ceil((-n / z - 3) / 4), math.floor((n / z - 1) / 4) + 1)
    )
    return min(1.0, max(0.0, 1 - first + second))


TESTS: Mapping[str, Callable[[ArrayLike], float]] = {
    "frequency": frequency,
    "block frequency": block_frequency,
    "runs": runs,
    "longest run": longest_run,
    "matrix rank": matrix_rank,
    "spectrum": spectrum,
    "serial": serial,
    "approximate entropy": approximate_entropy,
    "cumulative sums": cumulative_sums,
}
"""The tests by name; all take 100,000 bits and more."""


def chi_squared(value: float, freedom: int) -> float:
    """Chance of a chi-squared of ``value`` or more: Q(freedom / 2, value / 2), by recurrence."""
    x = max(0.0, value / 2)
    if x == 0:
        return 1.0
    order = 0.5 if freedom % 2 else 1.0
    total = math.erfc(math.sqrt(x)) if freedom % 2 else math.exp(-x)
    while order < freedom / 2:
        total += math.exp(order * math.log(x) - x - math.lgamma(order + 1))
        order += 1
    return min(1.0, total)


def _psi(x: NDArray[np.int64], length: int) -> float:
    if length == 0:
        return 0.0
    counts = _patterns(x, length).astype(np.float64)
    return float((counts**2).sum() * (1 << length) / len(x) - len(x))


def _patterns(x: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """How often each pattern of so many bits comes, around the end."""
    code = np.zeros(len(x), dtype=np.int64)
    for n in range(length):
        code = 2 * code + np.roll(x, -n)
    return np.bincount(code, minlength=1 << length)


def _blocks(x: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    return x[: len(x) // size * size].reshape(-1, size)


def _bits(bits: ArrayLike, least: int) -> NDArray[np.int64]:
    x = np.asarray(bits).astype(np.int64)
    if x.ndim != 1 or len(x) < least or ((x != 0) & (x != 1)).any():
        raise InputError(
            f"Bits of shape {x.shape}; the test needs a row of at least {least} zeros and ones.",
            "Give more bits, one after the other.",
        )
    return x
