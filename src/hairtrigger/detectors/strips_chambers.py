"""Chambers of eight planes of strips, with a straight muon through them and background in each.

made = simulate_chambers(1000, seed=1)
made.charge, made.time        # (1000, 8, 64)
made.truth["x_mm"], made.truth["hit"]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hairtrigger.detectors.checks import processors, whole
from hairtrigger.detectors.strips_blocks import (
    BLOCK_PLANES,
    MUONS,
    make_planes,
    rng_of,
    room,
    run_blocks,
)
from hairtrigger.detectors.strips_config import PLANES, ChamberConfig
from hairtrigger.detectors.strips_ionisation import Lines
from hairtrigger.errors import InputError

BLOCK_CHAMBERS = BLOCK_PLANES // PLANES
"""Chambers made at once. Part of what a seed means."""

CHAMBER_TRUTH_DTYPE = np.dtype(
    [
        ("muons", "u1"),
        ("x_mm", "<f4"),
        ("slope_x", "<f4"),
        ("y_mm", "<f4"),
        ("slope_y", "<f4"),
        ("hit", "?", (PLANES,)),
        ("plane_x_mm", "<f4", (PLANES,)),
    ]
)
"""One row a chamber, 0 where there is no muon. ``x_mm``, ``y_mm`` at ChamberConfig.middle_z_mm,
x across the strips of the planes without stereo angle, y along them; ``slope_x``, ``slope_y``: by z;
``hit``: planes where at least half of a hit's charge is the muon's; ``plane_x_mm``: where it crosses
the middle of each gap, in the plane's own coordinate and from the centre of its image (no strip is
there where it is beyond the image)."""

_LONGEST_TANGENT = 3.7
"""75 degrees."""


@dataclass(frozen=True)
class Chambers:
    """Images of chambers: ``charge`` uint16, ``time`` and ``muon_share`` uint8, (n, 8, strips) each,
    as those of strips.Planes, and ``truth`` (n,) of CHAMBER_TRUTH_DTYPE."""

    charge: np.ndarray
    time: np.ndarray
    muon_share: np.ndarray
    truth: np.ndarray
    config: ChamberConfig
    seed: int

    def __len__(self) -> int:
        return len(self.charge)


def simulate_chambers(
    events: int,
    *,
    seed: int,
    config: ChamberConfig | None = None,
    muons: float = 1,
    start: int = 0,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Chambers:
    """Simulate ``events`` chambers, from number ``start`` of the endless series of ``seed``.

    ``muons`` is the chance that a chamber has a muon: 1 all, 0 none. The rest is as in
    `strips.simulate_planes`. Raises InputError for arguments that cannot be.
    """
    events, start = whole("events", events, 0), whole("start", start, 0)
    seed = whole("seed", seed, 0)
    threads = processors() if threads is None else whole("threads", threads, 1)
    config = ChamberConfig() if config is None else config
    if not isinstance(config, ChamberConfig):
        raise InputError(f"config is a {type(config).__name__}, not a ChamberConfig", "give one")
    if isinstance(muons, bool) or not isinstance(muons, int | float) or not 0 <= muons <= 1:
        raise InputError(f"muons = {muons!r}", "give the chance of a muon, 0 to 1")
    _check_slopes(config)
    pixels = (events, PLANES, config.strips)
    out = room(
        {
            "charge": (pixels, np.dtype(np.uint16)),
            "time": (pixels, np.dtype(np.uint8)),
            "muon_share": (pixels, np.dtype(np.uint8)),
            "truth": ((events,), CHAMBER_TRUTH_DTYPE),
        }
    )

    def fill(block: int, cut: slice, to: slice) -> None:
        truth, lines = _muons(rng_of(seed, block, MUONS), muons, config)
        strips = config.strips
        hits, _, _ = make_planes(seed, block, BLOCK_PLANES, strips, lines, config.plane)
        seen = (hits.muon_share >= 128).any(axis=1).reshape(BLOCK_CHAMBERS, PLANES)
        truth["hit"] = seen & (truth["muons"] > 0)[:, None]
        for name in ("charge", "time", "muon_share"):
            out[name][to] = getattr(hits, name).reshape(BLOCK_CHAMBERS, PLANES, strips)[cut]
        out["truth"][to] = truth[cut]

    run_blocks(fill, start, events, BLOCK_CHAMBERS, threads, progress)
    return Chambers(**out, config=config, seed=seed)


def _muons(
    rng: np.random.Generator, chance: float, config: ChamberConfig
) -> tuple[np.ndarray, Lines]:
    """The truth of a block (but its hits), and its muons' lines in planes."""
    n = BLOCK_CHAMBERS
    truth = np.zeros(n, CHAMBER_TRUTH_DTYPE)
    there = rng.random(n) < chance
    spread = rng.uniform(-1, 1, (4, n))
    middles = (0.0, config.slope_x, 0.0, 0.0)
    widths = (config.x_mm, config.slope_x_spread, config.y_mm, config.slope_y_spread)
    values = np.array(middles)[:, None] + np.array(widths)[:, None] * spread
    time = config.plane.t0_spread_ns * rng.standard_normal(n)
    truth["muons"] = there
    for name, value in zip(("x_mm", "slope_x", "y_mm", "slope_y"), values, strict=True):
        truth[name] = np.where(there, value, 0)
    x, slope_x, y, slope_y = values
    away = np.array(config.z_mm)[None] - config.middle_z_mm
    turn = np.radians(config.stereo_deg)[None]
    across = np.cos(turn) * (x[:, None] + slope_x[:, None] * away)
    across += np.sin(turn) * (y[:, None] + slope_y[:, None] * away)
    across -= np.array(config.offsets_mm)
    by_z = np.cos(turn) * slope_x[:, None] + np.sin(turn) * slope_y[:, None]
    tan = by_z * np.array(config.drift)
    path = np.sqrt(1 + slope_x**2 + slope_y**2) * config.plane.gap_mm
    truth["plane_x_mm"] = np.where(there[:, None], across, 0)
    which = np.repeat(there, PLANES)
    lines = Lines(
        np.flatnonzero(which),
        across.reshape(-1)[which].astype(np.float32),
        tan.reshape(-1)[which].astype(np.float32),
        np.repeat(path, PLANES)[which].astype(np.float32),
        np.repeat(time, PLANES)[which].astype(np.float32),
    )
    return truth, lines


def _check_slopes(config: ChamberConfig) -> None:
    steepest = abs(config.slope_x) + config.slope_x_spread + config.slope_y_spread
    if steepest > _LONGEST_TANGENT:
        raise InputError(
            f"slopes reach {steepest:.2f}, more than {_LONGEST_TANGENT} (75 degrees)",
            "lower slope_x, slope_x_spread or slope_y_spread",
        )
