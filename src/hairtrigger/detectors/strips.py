"""Simulated images of Micromegas planes: a muon's hits and background's, and the truth.

    made = simulate_planes(10_000, seed=1, angle_deg=(10.0, 40.0))
    made.charge, made.time          # uint16 and uint8 (10000, 64), 0 where a strip has no hit
    made.truth["x_mm"]              # where the muon crosses the middle of the gap

The physics is in strips_config.py and the modules beside it, and told in docs/detectors/strips.md.
`simulate_chambers` (strips_chambers.py) makes chambers of eight planes.
"""

from __future__ import annotations

import math
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
from hairtrigger.detectors.strips_chambers import (
    CHAMBER_TRUTH_DTYPE,
    Chambers,
    simulate_chambers,
)
from hairtrigger.detectors.strips_config import StripsConfig
from hairtrigger.detectors.strips_ionisation import Lines
from hairtrigger.errors import InputError

__all__ = [
    "CHAMBER_TRUTH_DTYPE",
    "SIMULATION_VERSION",
    "TRUTH_DTYPE",
    "Chambers",
    "Planes",
    "simulate_chambers",
    "simulate_planes",
]

SIMULATION_VERSION = 1
"""Counts up whenever the same seed and configuration give other images."""

LEAST_STRIPS = 8

TRUTH_DTYPE = np.dtype(
    [
        ("muon", "?"),
        ("x_mm", "<f4"),
        ("tan_theta", "<f4"),
        ("t0_ns", "<f4"),
        ("delta_ray", "?"),
        ("delta_range_mm", "<f4"),
        ("primaries", "<u2"),
    ]
)
"""One row a plane, 0 where there is no muon. ``x_mm``: where the muon crosses the middle of the
drift gap, from the centre of the image (between strips strips/2 - 1 and strips/2); ``tan_theta``:
x grows with the distance d from the strips where it is positive, x(d) = x_mm + tan_theta (d -
gap/2); ``t0_ns``: its crossing, times of hits being counted from 0; ``delta_ray``: one of its delta
rays has a range of more than one pitch; ``delta_range_mm``: the range of the longest (0: none of
20 electrons or more); ``primaries``: its interactions in the gap."""


@dataclass(frozen=True)
class Planes:
    """Images of planes and what made them.

    ``charge`` uint16 (n, strips): ADC counts above pedestal, 0: no hit. ``time`` uint8 (n, strips):
    code in units of config.time_lsb_ns from the start of the window, at least 1 in a hit, 0: no
    hit. ``muon_share`` uint8 (n, strips): share of the pulse's height that is the muon's (delta rays
    included), 255: all. ``truth`` (n,) of TRUTH_DTYPE.
    """

    charge: np.ndarray
    time: np.ndarray
    muon_share: np.ndarray
    truth: np.ndarray
    config: StripsConfig
    seed: int

    def __len__(self) -> int:
        return len(self.charge)


def simulate_planes(
    planes: int,
    *,
    seed: int,
    config: StripsConfig | None = None,
    angle_deg: tuple[float, float] = (0.0, 40.0),
    muon: bool = True,
    strips: int = 64,
    start: int = 0,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Planes:
    """Simulate ``planes`` images, from number ``start`` of the endless series of ``seed``.

    Each has one muon (none with ``muon=False``: then only background), uniform over the middle half
    of the ``strips``, at an angle that is uniform between the ends of ``angle_deg`` (degrees, signed
    as tan_theta). The same seed and arguments give the same series, however it is cut into calls
    and whatever the number of ``threads`` (by default one a processor). The background is the same
    with and without muon. ``progress(done, planes)`` is called as blocks are ready.

    Raises InputError for arguments that cannot be.
    """
    planes, start = whole("planes", planes, 0), whole("start", start, 0)
    seed, strips = whole("seed", seed, 0), whole("strips", strips, LEAST_STRIPS)
    threads = processors() if threads is None else whole("threads", threads, 1)
    config = StripsConfig() if config is None else config
    if not isinstance(config, StripsConfig):
        raise InputError(f"config is a {type(config).__name__}, not a StripsConfig", "give one")
    angles = _angles(angle_deg)
    pixels = (planes, strips)
    out = room(
        {
            "charge": (pixels, np.dtype(np.uint16)),
            "time": (pixels, np.dtype(np.uint8)),
            "muon_share": (pixels, np.dtype(np.uint8)),
            "truth": ((planes,), TRUTH_DTYPE),
        }
    )

    def fill(block: int, cut: slice, to: slice) -> None:
        truth = np.zeros(BLOCK_PLANES, TRUTH_DTYPE)
        lines = _muons(rng_of(seed, block, MUONS), angles, strips, config, muon)
        hits, primaries, longest = make_planes(seed, block, BLOCK_PLANES, strips, lines, config)
        if muon:
            truth["muon"] = True
            truth["x_mm"], truth["tan_theta"] = lines.x_mm, lines.tan_theta
            truth["t0_ns"], truth["primaries"] = lines.time_ns, primaries
            truth["delta_range_mm"], truth["delta_ray"] = longest, longest > config.pitch_mm
        for name in ("charge", "time", "muon_share"):
            out[name][to] = getattr(hits, name)[cut]
        out["truth"][to] = truth[cut]

    run_blocks(fill, start, planes, BLOCK_PLANES, threads, progress)
    return Planes(**out, config=config, seed=seed)


def _muons(
    rng: np.random.Generator,
    angles: tuple[float, float],
    strips: int,
    config: StripsConfig,
    muon: bool,
) -> Lines:
    """A block's muons, one a plane."""
    n = BLOCK_PLANES if muon else 0
    quarter = strips * config.pitch_mm / 4
    tan = np.tan(rng.uniform(*angles, n)).astype(np.float32)
    return Lines(
        np.arange(n),
        rng.uniform(-quarter, quarter, n).astype(np.float32),
        tan,
        np.float32(config.gap_mm) * np.sqrt(1 + tan**2),
        (config.t0_spread_ns * rng.standard_normal(n)).astype(np.float32),
    )


def _angles(angle_deg: object) -> tuple[float, float]:
    """Two angles in radians. Raises InputError."""
    try:
        low, high = (float(angle) for angle in angle_deg)  # type: ignore[union-attr]
    except (TypeError, ValueError) as error:
        raise InputError(f"angle_deg = {angle_deg!r}", "give two angles in degrees") from error
    if not (-75 <= low <= high <= 75):
        raise InputError(
            f"angle_deg = {(low, high)}", "give two angles, the lower first, within 75 degrees"
        )
    return math.radians(low), math.radians(high)
