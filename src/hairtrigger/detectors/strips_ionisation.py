"""Where charged particles free electrons in the gap: muons, their delta rays, slow electrons.

Coordinates: x across the strips from the middle of the image, d the distance from the strips,
both in mm; a track has x = x_middle + tan_theta (d - gap / 2), so x grows with d where tan_theta
is positive.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hairtrigger.detectors.strips_config import StripsConfig

TABLE = (
    *(65.6, 15.0, 6.4, 3.5, 2.25, 1.55, 1.05, 0.81, 0.61, 0.49, 0.39, 0.30),
    *(0.25, 0.20, 0.16, 0.12, 0.095, 0.075, 0.063, 0.054, 0.049, 0.045, 0.044),
)
"""Per cent of interactions that free 1, 2, ... 23 electrons; n beyond: 21.6 / n^2 (Athena)."""

DELTA_ELECTRONS = 20
"""Interactions of so many electrons (0.5 keV) or more are tracks, not points."""

DENSITIES_MM = (0.0, 10.0)
"""Athena draws the density of interactions again until it is in this range."""

_ELECTRON_KEV = 511.0
_SEGMENTS = 12
_TURN = 0.35
"""Turn of a slow electron between segments, radians in each of three axes (assumed)."""


@dataclass(frozen=True)
class Electrons:
    """Free electrons (n,): number of their plane, ``x_mm``, ``d_mm``, ``time_ns`` of birth, and
    ``size``, how many one entry stands for (None: one each). Float32, plane int64."""

    plane: np.ndarray
    x_mm: np.ndarray
    d_mm: np.ndarray
    time_ns: np.ndarray
    size: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.plane)


@dataclass(frozen=True)
class Lines:
    """Straight tracks through the whole gap, (n,) each; they may be many in a plane."""

    plane: np.ndarray
    x_mm: np.ndarray
    tan_theta: np.ndarray
    path_mm: np.ndarray
    time_ns: np.ndarray


@lru_cache(maxsize=8)
def electron_cdf(most: int) -> np.ndarray:
    """Chance of at most 1, 2, ... ``most`` electrons in an interaction, float64 (most,)."""
    n = np.arange(1, most + 1)
    weight = 21.6 / n**2.0
    listed = min(most, len(TABLE))
    weight[:listed] = TABLE[:listed]
    return np.cumsum(weight) / weight.sum()


def range_mm(kev: np.ndarray, config: StripsConfig) -> np.ndarray:
    """Range of electrons of an energy: Kobetich and Katz, Phys. Rev. 170 (1968) 391."""
    kev = np.asarray(kev)
    g_cm2 = 5.37e-4 * kev * (1 - 0.9815 / (1 + 3.123e-3 * kev))
    return 10 * g_cm2 / config.density_g_cm3


def ionise(
    rng: np.random.Generator, lines: Lines, config: StripsConfig
) -> tuple[list[Electrons], np.ndarray, np.ndarray]:
    """Electrons along lines; interactions of each (n,), and the longest delta ray's range (n,).

    Steps are exponential with a density that is drawn anew for each (Athena).
    """
    row, along = _interactions(rng, lines.path_mm, config)
    cdf = electron_cdf(config.electrons_max)
    number = 1 + np.searchsorted(cdf, rng.random(len(row)))
    number = np.minimum(number, config.electrons_max)
    counts = np.bincount(row, minlength=len(lines.plane))
    d = (config.gap_mm * along).astype(np.float32)
    x = lines.x_mm[row] + lines.tan_theta[row] * (d - np.float32(config.gap_mm / 2))
    point = number < DELTA_ELECTRONS
    at = np.repeat(np.flatnonzero(point), number[point])
    spot = row[at]
    parts = [Electrons(lines.plane[spot], x[at], d[at], lines.time_ns[spot])]
    longest = np.zeros(len(lines.plane), np.float32)
    delta = np.flatnonzero(~point)
    if len(delta):
        line = row[delta]
        kev = number[delta] * (config.work_ev * 1e-3)
        np.maximum.at(longest, line, range_mm(kev, config).astype(np.float32))
        way = _knocked(rng, lines.tan_theta[line], lines.path_mm[line], kev, config)
        start = (lines.plane[line], x[delta], d[delta], lines.time_ns[line])
        parts.append(slow(rng, *start, way, kev, number[delta], config))
    return parts, counts, longest


def _interactions(
    rng: np.random.Generator, path: np.ndarray, config: StripsConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Row and place (0 to 1 of the path) of every interaction of paths (n,) in mm."""
    rows = np.arange(len(path))
    gone = np.zeros(len(path), np.float32)
    row, place = [], []
    while len(rows):
        mean = config.interactions_mm * float(path[rows].max())
        steps = int(mean + 4 * np.sqrt(mean) + 4)
        density = rng.standard_normal((len(rows), steps), dtype=np.float32)
        density *= np.float32(config.interactions_spread_mm)
        density += np.float32(config.interactions_mm)
        low, high = DENSITIES_MM
        while (bad := (density <= low) | (density > high)).any():
            again = rng.standard_normal(int(bad.sum()), dtype=np.float32)
            density[bad] = config.interactions_mm + config.interactions_spread_mm * again
        step = rng.standard_exponential((len(rows), steps), dtype=np.float32) / density
        step[:, 0] += gone[rows]
        reached = np.cumsum(step, axis=1)
        inside = reached < path[rows, None]
        where, _ = np.nonzero(inside)
        row.append(rows[where])
        place.append(reached[inside] / path[rows[where]])
        gone[rows] = reached[:, -1]
        rows = rows[inside[:, -1]]
    return np.concatenate(row), np.concatenate(place)


def _knocked(
    rng: np.random.Generator,
    tan_theta: np.ndarray,
    path: np.ndarray,
    kev: np.ndarray,
    config: StripsConfig,
) -> np.ndarray:
    """Directions (n, 3) as x, y, d of electrons knocked out by a fast particle.

    cos^2 = E / (E + 2 m): two bodies, the first much faster and heavier.
    """
    unit = config.gap_mm / path
    along = np.stack([tan_theta * unit, np.zeros_like(unit), unit], axis=1)
    along[:, 1] = np.sqrt(np.maximum(1 - along[:, 0] ** 2 - along[:, 2] ** 2, 0))
    cosine = np.sqrt(kev / (kev + 2 * _ELECTRON_KEV))[:, None]
    side = isotropic(rng, len(kev))
    side -= (side * along).sum(axis=1, keepdims=True) * along
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-6)
    return cosine * along + np.sqrt(1 - cosine**2) * side


def isotropic(rng: np.random.Generator, n: int) -> np.ndarray:
    """Unit vectors (n, 3), every direction alike."""
    way = rng.standard_normal((n, 3))
    return way / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9)


def slow(
    rng: np.random.Generator,
    plane: np.ndarray,
    x: np.ndarray,
    d: np.ndarray,
    time: np.ndarray,
    way: np.ndarray,
    kev: np.ndarray,
    number: np.ndarray,
    config: StripsConfig,
) -> Electrons:
    """Electrons along slow electrons' crooked tracks, ``number`` each; parts of a track that lie
    outside the gap are left out.

    The path is as long as the range. It is cut where the energy has fallen by equal parts, so the
    freed electrons are spread evenly over the parts, and are densest at its end.
    """
    n = len(plane)
    left = np.linspace(1, 0, _SEGMENTS + 1) * kev[:, None]
    length = -np.diff(range_mm(left, config), axis=1)
    turns = np.float32(_TURN) * rng.standard_normal((n, _SEGMENTS, 3), dtype=np.float32)
    turns[:, 0] = 0
    ways = way[:, None, :] + np.cumsum(turns, axis=1)
    ways /= np.maximum(np.linalg.norm(ways, axis=2, keepdims=True), 1e-6)
    nodes = np.empty((2, n, _SEGMENTS + 1), np.float32)
    nodes[:, :, 0] = x, d
    for axis, begin in ((0, x), (1, d)):
        steps = ways[:, :, 2 * axis] * length
        nodes[axis, :, 1:] = begin[:, None] + np.cumsum(steps, axis=1)
    # The whole number is kept: a part gets what the rounded running sum grows by
    part = np.arange(_SEGMENTS + 1) * (number / _SEGMENTS)[:, None] + rng.random((n, 1))
    part[:, 0], part[:, -1] = 0, number
    counts = np.diff(np.floor(part).astype(np.int64), axis=1)
    low = np.minimum(nodes[1, :, :-1], nodes[1, :, 1:])
    high = np.maximum(nodes[1, :, :-1], nodes[1, :, 1:])
    counts[(high < 0) | (low > config.gap_mm)] = 0
    track, segment = np.nonzero(counts)
    which = np.repeat(np.arange(len(track)), counts[track, segment])
    share = rng.random(len(which), dtype=np.float32)
    moved = []
    for node in nodes:
        begin = node[track, segment]
        step = node[track, segment + 1] - begin
        moved.append(begin[which] + step[which] * share)
    return Electrons(plane[track][which], moved[0], moved[1], time[track][which])
