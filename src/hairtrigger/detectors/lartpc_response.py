"""From drifting electrons to counts: the current on collection wires, and the electronics.

The current is an analytic form of our own, fitted to a Garfield calculation of the wire planes
(WireCell/wire-cell-data, dune-garfield); docs/detectors/lartpc.md shows both.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hairtrigger.detectors.lartpc_config import LartpcConfig

ELECTRON_FC = 1.602176634e-4
"""Charge of one electron in fC."""

SUBTICKS, IMPACTS, SIDE = 2, 10, 1
"""Steps of the kernel table within a tick and within a pitch, and neighbours on each side."""

BEFORE, KERNEL_TICKS = 16, 36
"""A kernel starts so many ticks before the electrons reach the wire, and is so long."""

FINE = 16
"""Steps of a tick in which current and electronics are folded."""

# Poles of the cold shaper in units of -_POLE_SCALE / peaking time: one real, two complex pairs
_POLES = (1.477 + 0j, 1.417 + 0.598j, 1.204 + 1.299j)
_POLE_SCALE = 1.996

# Of the current, fitted: time constants in us, shares, and growth with u = 2 |distance|
_FAST_US, _SLOW_US, _FAST_SHARE, _FAST_LOSS = 0.316, 1.602, 0.650, 0.226
_LATE_US, _EDGE_US, _EDGE_POWER = 0.758, 1.738, 8.77
_NEIGHBOUR, _NEIGHBOUR_FALL = 0.89, 2.36
_NEIGHBOUR_SLOW_US, _NEIGHBOUR_FAST_US = 1.477, 0.790


def _poles() -> np.ndarray:
    return np.array([-p for p in _POLES] + [-p.conjugate() for p in _POLES[1:]])


def _impulse(u: np.ndarray) -> np.ndarray:
    """The inverse Laplace transform of the poles, by partial fractions; ``u`` of at least 0."""
    poles = _poles()
    residues = [1 / np.prod(pole - np.delete(poles, k)) for k, pole in enumerate(poles)]
    return sum((r * np.exp(p * u)).real for r, p in zip(residues, poles, strict=True))


def electronics(time_us: np.ndarray, shaping_us: float) -> np.ndarray:
    """Response of the cold preamplifier and shaper to a charge at time 0, any shape of times.

    Its peak is 1, at 1.17 times the setting ``shaping_us``; it is 0 before time 0. A filter of five
    poles, the public design of the ASIC.
    """
    time_us = np.asarray(time_us, float)
    peak = _impulse(np.linspace(0, 6, 6001)).max()
    shape = _impulse(np.maximum(time_us, 0) * _POLE_SCALE / shaping_us) / peak
    return np.where(time_us >= 0, shape, 0.0)


def gain(frequency_mhz: np.ndarray, shaping_us: float) -> np.ndarray:
    """Magnitude of the electronics over frequency, 1 at 0."""
    s = 2j * np.pi * np.asarray(frequency_mhz, float)[:, None] * shaping_us / _POLE_SCALE
    return np.abs(np.prod(_poles() / (_poles() - s), axis=1))


def _rise(left_us: np.ndarray, step_us: float, tau_us: float) -> np.ndarray:
    """The share of an exponential rise that ends at 0 in the step that ends ``left_us`` before."""
    left = np.exp(-np.maximum(left_us, 0) / tau_us)
    return left - np.exp(-np.maximum(left_us + step_us, 0) / tau_us)


def current(time_us: np.ndarray, distance: float, neighbour: int = 0) -> np.ndarray:
    """Charge induced in each step of an even grid of times, per charge that arrives.

    ``time_us`` (n,) are the ends of the steps; electrons at ``distance`` 0 end at time 0.
    ``distance`` in pitches from the wire that collects them, -0.5 to 0.5; ``neighbour`` n asks for
    the wire n pitches further on. Over all times it adds to 1 on the collecting wire, 0 on others.
    """
    step = float(time_us[1] - time_us[0])
    u = 2 * abs(distance)
    left = _LATE_US * u**2 + _EDGE_US * u**_EDGE_POWER - np.asarray(time_us, float)
    if neighbour == 0:
        fast = _FAST_SHARE - _FAST_LOSS * u**0.5
        return fast * _rise(left, step, _FAST_US) + (1 - fast) * _rise(left, step, _SLOW_US)
    size = _NEIGHBOUR * np.exp(-_NEIGHBOUR_FALL * (abs(neighbour - distance) - 0.5))
    return size * (_rise(left, step, _NEIGHBOUR_SLOW_US) - _rise(left, step, _NEIGHBOUR_FAST_US))


def full_scale(config: LartpcConfig) -> float:
    """Counts at the peak per electron that arrives at once."""
    return ELECTRON_FC * config.gain_mv_fc * 2.0**config.adc_bits / config.adc_range_mv


def pulse(config: LartpcConfig, distance: float, neighbour: int = 0) -> np.ndarray:
    """Counts per electron in FINE steps a tick, (KERNEL_TICKS * FINE,), from BEFORE ticks before
    the arrival."""
    step = config.tick_ns * 1e-3 / FINE
    ends = (np.arange(-BEFORE * FINE, (KERNEL_TICKS - BEFORE) * FINE) + 1) * step
    shaped = electronics(np.arange(KERNEL_TICKS * FINE) * step, config.shaping_us)
    induced = current(ends, distance, neighbour)
    return full_scale(config) * np.convolve(induced, shaped)[: len(ends)]


@lru_cache(maxsize=8)
def kernels(config: LartpcConfig) -> np.ndarray:
    """Counts per electron, float32 (IMPACTS, SUBTICKS, 2 SIDE + 1 wires, KERNEL_TICKS).

    Entry (i, s): electrons (i + 0.5) / IMPACTS - 0.5 pitches from the middle wire, that arrive
    (s + 0.5) / SUBTICKS of a tick after the start of tick BEFORE; sampled at starts of ticks.
    """
    table = np.zeros((IMPACTS, SUBTICKS, 2 * SIDE + 1, KERNEL_TICKS), np.float32)
    for i in range(IMPACTS):
        for n in range(-SIDE, SIDE + 1):
            fine = pulse(config, (i + 0.5) / IMPACTS - 0.5, n)
            for s in range(SUBTICKS):
                late = round((s + 0.5) / SUBTICKS * FINE)
                table[i, s, n + SIDE] = np.concatenate([np.zeros(late), fine])[: len(fine) : FINE]
    table.setflags(write=False)
    return table
