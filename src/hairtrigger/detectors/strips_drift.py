"""Electrons' way to the strips: drift, diffusion, avalanche."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hairtrigger.detectors.strips_config import StripsConfig
from hairtrigger.detectors.strips_ionisation import Electrons


@dataclass(frozen=True)
class Arrivals:
    """Charges (n,) that arrive at strips: ``plane``, ``strip`` (may be beyond the image),
    ``time_ns`` and ``charge_e``, electrons after the avalanche."""

    plane: np.ndarray
    strip: np.ndarray
    time_ns: np.ndarray
    charge_e: np.ndarray


def widths_mm(d_mm: np.ndarray, config: StripsConfig) -> tuple[np.ndarray, np.ndarray]:
    """Width of a cloud across and along the drift after distances in mm (n,)."""
    if config.diffusion_law == "root":
        scale = np.sqrt(d_mm * np.float32(0.1))
    else:
        scale = d_mm * np.float32(0.1)
    across, along = config.diffusion_t_mm_sqrt_cm, config.diffusion_l_mm_sqrt_cm
    return scale * np.float32(across), scale * np.float32(along)


def drift(
    rng: np.random.Generator, parts: list[Electrons], strips: int, config: StripsConfig
) -> Arrivals:
    """Arrivals of those electrons that are in the gap, at strips of an image of ``strips``."""
    return join([_drift(rng, part, strips, config) for part in parts])


def join(parts: list[Arrivals]) -> Arrivals:
    """All arrivals of some parts."""
    if not parts:
        none = np.zeros(0, np.float32)
        return Arrivals(none.astype(np.int64), none.astype(np.int64), none, none)
    names = Arrivals.__dataclass_fields__
    return Arrivals(*(np.concatenate([getattr(a, name) for a in parts]) for name in names))


def _drift(
    rng: np.random.Generator, part: Electrons, strips: int, config: StripsConfig
) -> Arrivals:
    inside = (part.d_mm >= 0) & (part.d_mm <= config.gap_mm)
    if not inside.all():
        size = None if part.size is None else part.size[inside]
        plane, x, d, time = part.plane, part.x_mm, part.d_mm, part.time_ns
        part = Electrons(plane[inside], x[inside], d[inside], time[inside], size)
    n, d = len(part), part.d_mm
    across, along = widths_mm(d, config)
    x = part.x_mm + np.float32(config.tan_lorentz) * d
    x += across * rng.standard_normal(n, dtype=np.float32)
    reached = d + along * rng.standard_normal(n, dtype=np.float32)
    time = reached / np.float32(config.drift_velocity_mm_ns) + part.time_ns
    charge = avalanche(rng, n, part.size, config)
    strip = np.floor(x / np.float32(config.pitch_mm) + np.float32(strips / 2)).astype(np.int64)
    return Arrivals(part.plane, strip, time, charge)


def avalanche(
    rng: np.random.Generator, n: int, size: np.ndarray | None, config: StripsConfig
) -> np.ndarray:
    """Charges of ``n`` avalanches, electrons: Polya's law, of ``size`` electrons each (None: 1).

    One electron has a gamma distribution of shape 1 + theta; the sum of m of them one of m times
    that shape.
    """
    shape = 1 + config.polya_theta
    if size is None:
        drawn = rng.standard_gamma(shape, n, dtype=np.float32)
    else:
        drawn = rng.standard_gamma(np.maximum(shape * size, 1e-3)).astype(np.float32)
    return drawn * np.float32(config.gain / shape)
