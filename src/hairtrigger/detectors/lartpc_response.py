"""From drifting electrons to counts: the current on collection wires, and the electronics.

The analytic current is checked against a Garfield calculation (docs/detectors/lartpc.md).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hairtrigger.detectors.lartpc_config import LartpcConfig

ELECTRON_FC = 1.602176634e-4
"""Charge of one electron in fC."""

SUBTICKS, IMPACTS, SIDE = 4, 10, 1
"""Steps of the kernel table within a tick and within a pitch, and neighbours on each side."""

BEFORE, KERNEL_TICKS = 12, 34
"""A kernel starts so many ticks before the electrons reach the wire, and so long it is."""

FINE = 16
"""Steps a tick in which current and electronics are folded."""

_POLES = (1.477 + 0j, 1.417 + 0.598j, 1.204 + 1.299j)
_POLE_SCALE = 1.996


def electronics(time_us: np.ndarray, shaping_us: float) -> np.ndarray:
    """Response of the cold preamplifier and shaper to a charge at time 0; its peak is about 1.

    A filter of five poles, the public design of the ASIC: one real, two complex pairs, in units of
    ``_POLE_SCALE / shaping_us``. The partial fractions are computed here. 0 before time 0.
    """
    poles = np.array([-p for p in _POLES] + [-p.conjugate() for p in _POLES[1:]])
    u = np.maximum(np.asarray(time_us, float), 0) * _POLE_SCALE / shaping_us
    value = np.zeros_like(u)
    for k, pole in enumerate(poles):
        residue = 1 / np.prod(pole - np.delete(poles, k))
        value += (residue * np.exp(pole * u)).real
    grid = np.linspace(0, 6, 6001)
    peak = np.max(
        sum((np.exp(p * grid) / np.prod(p - np.delete(poles, k))).real for k, p in enumerate(poles))
    )
    return np.where(np.asarray(time_us) >= 0, value / peak, 0.0)


def current(time_us: np.ndarray, distance: float, neighbour: int = 0) -> np.ndarray:
    """Induced current per microsecond and collected charge, on a wire and on its neighbours.

    ``distance`` of the electrons from the collecting wire in pitches, -0.5 to 0.5; ``neighbour`` n
    is the wire n pitches further on. ``time_us`` counts from the arrival of electrons that head
    straight for the wire. The sum over time is 1 on the collecting wire, 0 on others.
    """
    late = 1.3 * (2 * abs(distance)) ** 4
    before = late - np.asarray(time_us, float)
    fast, slow = (np.where(before >= 0, np.exp(-before / t) / t, 0.0) for t in (0.35, 1.6))
    if neighbour == 0:
        return 0.55 * fast + 0.45 * slow
    away = abs(neighbour - distance)
    return 0.28 * np.exp(-1.9 * (away - 0.5)) * (fast - slow)


@lru_cache(maxsize=8)
def kernels(config: LartpcConfig) -> np.ndarray:
    """Counts per electron, float32 (impacts, subticks, 2 SIDE + 1 wires, KERNEL_TICKS).

    Entry (i, s): electrons (i + 0.5) / IMPACTS - 0.5 pitches from the middle wire, that reach it
    (s + 0.5) / SUBTICKS of a tick after a sampling; tick 0 is BEFORE ticks before that sampling.
    """
    tick = config.tick_ns * 1e-3
    step = tick / FINE
    time = (np.arange(-BEFORE * FINE, KERNEL_TICKS * FINE) + 0.5) * step
    shaped = electronics(np.arange(KERNEL_TICKS * FINE) * step, config.shaping_us)
    volt = ELECTRON_FC * config.gain_mv_fc * 2.0**config.adc_bits / config.adc_range_mv
    table = np.zeros((IMPACTS, SUBTICKS, 2 * SIDE + 1, KERNEL_TICKS))
    for i in range(IMPACTS):
        distance = (i + 0.5) / IMPACTS - 0.5
        for n in range(-SIDE, SIDE + 1):
            induced = current(time, distance, n) * step
            induced *= (1.0 / induced.sum()) if n == 0 else 1.0
            signal = volt * np.convolve(induced, shaped)
            for s in range(SUBTICKS):
                late = round((s + 0.5) / SUBTICKS * FINE)
                # sampling at the starts of ticks: electrons that come ``late`` steps into a tick
                shifted = np.concatenate([np.zeros(late), signal])
                table[i, s, n + SIDE] = shifted[: KERNEL_TICKS * FINE : FINE]
    table = table.astype(np.float32)
    table.setflags(write=False)
    return table
