"""Photons and neutrons of the cavern that ionise the gap, at any time. The mix is assumed.

A photon sets an electron free: a fast one crosses the gap like a muon, but at any angle; a slow one
stops in the gas, on a crooked path. A neutron knocks a nucleus: a short track, heavily ionising.
"""

from __future__ import annotations

import numpy as np

from hairtrigger.detectors.strips_config import StripsConfig
from hairtrigger.detectors.strips_ionisation import Electrons, Lines, ionise, isotropic, slow

MARGIN_MM = 3.0
"""Particles are drawn so far beyond the image's borders: they reach into it."""

BUNDLES = 32
"""A recoil's electrons drift in at most so many groups."""

_LEAST_COSINE2 = 0.12
"""Fast electrons at more than 70 degrees are left out."""


def particles_per_plane(
    strips: int, before_ns: float, after_ns: float, config: StripsConfig
) -> float:
    """Mean number of particles of a plane's image between two times, its margins included."""
    area_cm2 = (strips * config.pitch_mm + 2 * MARGIN_MM) * config.strip_length_mm * 1e-2
    return config.background_khz_cm2 * 1e3 * area_cm2 * (after_ns + before_ns) * 1e-9


def background(
    rng: np.random.Generator,
    planes: int,
    strips: int,
    from_ns: float,
    to_ns: float,
    config: StripsConfig,
) -> list[Electrons]:
    """Electrons of all background between two times in ``planes`` planes."""
    mean = particles_per_plane(strips, -from_ns, to_ns, config)
    plane = np.repeat(np.arange(planes), rng.poisson(mean, planes))
    n = len(plane)
    half = strips * config.pitch_mm / 2 + MARGIN_MM
    x = rng.uniform(-half, half, n).astype(np.float32)
    time = rng.uniform(from_ns, to_ns, n).astype(np.float32)
    kind = rng.random(n)
    neutron = kind < config.neutron_share
    fast = ~neutron & (
        kind < config.neutron_share + (1 - config.neutron_share) * config.photon_fast_share
    )
    still = ~neutron & ~fast
    parts = []
    if fast.any():
        parts += _fast(rng, plane[fast], x[fast], time[fast], config)
    if still.any():
        parts.append(_stopping(rng, plane[still], x[still], time[still], config))
    if neutron.any():
        parts.append(_recoils(rng, plane[neutron], x[neutron], time[neutron], config))
    return parts


def _fast(
    rng: np.random.Generator,
    plane: np.ndarray,
    x: np.ndarray,
    time: np.ndarray,
    config: StripsConfig,
) -> list[Electrons]:
    """Electrons out of a wall that cross the gap: directions by the cosine law."""
    n = len(plane)
    cosine = np.sqrt(rng.uniform(_LEAST_COSINE2, 1, n))
    tangent = np.sqrt(1 - cosine**2) / cosine
    tan_x = tangent * np.cos(rng.uniform(0, 2 * np.pi, n))
    path = config.gap_mm / cosine
    lines = Lines(plane, x, tan_x.astype(np.float32), path.astype(np.float32), time)
    return ionise(rng, lines, config)[0]


def _stopping(
    rng: np.random.Generator,
    plane: np.ndarray,
    x: np.ndarray,
    time: np.ndarray,
    config: StripsConfig,
) -> Electrons:
    """Electrons that stop in the gas or leave it slowly; they start anywhere in the gap."""
    n = len(plane)
    kev = _log_uniform(rng, *config.photon_kev, n)
    number = rng.poisson(kev * 1e3 / config.work_ev)
    d = (config.gap_mm * rng.random(n)).astype(np.float32)
    return slow(rng, plane, x, d, time, isotropic(rng, n), kev, number, config)


def _recoils(
    rng: np.random.Generator,
    plane: np.ndarray,
    x: np.ndarray,
    time: np.ndarray,
    config: StripsConfig,
) -> Electrons:
    """Electrons of nuclei's recoils, in bundles along a short straight track."""
    n = len(plane)
    number = rng.poisson(_log_uniform(rng, *config.neutron_kev, n) * 1e3 / config.work_ev)
    bundles = np.clip(number, 1, BUNDLES)
    which = np.repeat(np.arange(n), bundles)
    step = isotropic(rng, n) * (config.neutron_length_mm * rng.standard_exponential(n))[:, None]
    at = rng.random(len(which))[:, None] * step[which]
    d = (config.gap_mm * rng.random(n))[which] + at[:, 2]
    size = (number / bundles)[which]
    return Electrons(
        plane[which],
        (x[which] + at[:, 0]).astype(np.float32),
        d.astype(np.float32),
        time[which],
        size.astype(np.float32),
    )


def _log_uniform(rng: np.random.Generator, low: float, high: float, n: int) -> np.ndarray:
    return low * (high / low) ** rng.random(n)
