"""Noise of a plane: an endless stream with the measured spectra, part of it common to a board.

The stream is cut in blocks of BLOCK_TICKS. Each is the Fourier transform of Gaussian numbers under
the spectrum, faded out at both ends, and the gap at each border is filled by a shorter piece that
fades the other way (sine and cosine: the variance is the same everywhere). So any block can be made
alone, and blocks join without a seam.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hairtrigger.detectors.lartpc_config import LartpcConfig
from hairtrigger.detectors.lartpc_response import gain

BLOCK_TICKS = 4096
"""Ticks made at once. Part of what a seed means: not a tuning knob."""

FADE = 128
"""Ticks in which a block fades in and out."""

# A wire: white current and voltage noise that are equal at CORNER_MHZ, through the shaper. A board:
# a bump in log frequency with its widths below and above, and a little of the same. Fitted to
# spectra that docs/detectors/lartpc.md names
CORNER_MHZ = 0.066
BUMP_MHZ, BUMP_WIDTHS, BUMP_SHARE = 0.030, (0.8, 0.5), 30.0


def wire_spectrum(frequency_mhz: np.ndarray, config: LartpcConfig) -> np.ndarray:
    """Relative amplitude of the noise of a wire: sqrt(1 + (f / corner)^2) |shaper|, then white."""
    f = np.asarray(frequency_mhz, float)
    shaped = (1 + (f / CORNER_MHZ) ** 2) * gain(f, config.shaping_us) ** 2
    return np.sqrt(shaped + config.noise_white**2)


def board_spectrum(frequency_mhz: np.ndarray, config: LartpcConfig) -> np.ndarray:
    """Relative amplitude of the noise that the wires of a board share: most of it near 30 kHz."""
    f = np.maximum(np.asarray(frequency_mhz, float), 1e-6)
    width = np.where(f < BUMP_MHZ, *BUMP_WIDTHS)
    bump = BUMP_SHARE * np.exp(-((np.log(f / BUMP_MHZ) / width) ** 2) / 2)
    return np.sqrt(bump**2 + wire_spectrum(f, config) ** 2)


@lru_cache(maxsize=16)
def _amplitudes(ticks: int, config: LartpcConfig) -> tuple[np.ndarray, np.ndarray]:
    """What unit Gaussians (real, imaginary) of each frequency are multiplied with, float32.

    Scaled to the rms over all frequencies but 0, which is the pedestal.
    """
    f = np.fft.rfftfreq(ticks, config.tick_ns * 1e-3)
    alone = np.sqrt(config.noise_rms**2 - config.coherent_rms**2)
    made = []
    for shape, rms in ((wire_spectrum, alone), (board_spectrum, config.coherent_rms)):
        amplitude = shape(f, config)
        amplitude[0] = 0
        amplitude *= rms * config.counts * ticks / 2 / np.sqrt(np.sum(amplitude[1:-1] ** 2))
        made.append(amplitude.astype(np.float32))
    return made[0], made[1]


def piece(rng: np.random.Generator, ticks: int, config: LartpcConfig) -> np.ndarray:
    """Noise of one board without faded ends, float32 (board_wires, ticks), in counts of the ADC."""
    alone, common = _amplitudes(ticks, config)
    drawn = rng.standard_normal((config.board_wires + 1, ticks + 2), dtype=np.float32)
    waves = drawn.view(np.complex64)
    wires = waves[:-1]
    wires *= alone
    wires += waves[-1] * common
    return np.fft.irfft(wires, n=ticks, axis=1)


def block(index: int, seed: int, config: LartpcConfig) -> np.ndarray:
    """Block ``index`` of the noise of ``seed``, float32 (BLOCK_TICKS, wires).

    Made board by board, so that what is worked on stays in the processor's cache.
    """
    angle = (np.arange(FADE, dtype=np.float32) + np.float32(0.5)) * np.float32(np.pi / 2 / FADE)
    rise, fall = np.sin(angle), np.cos(angle)
    whole, before, after = _rng(seed, index, 0), _rng(seed, index, 1), _rng(seed, index + 1, 1)
    canvas = np.empty((BLOCK_TICKS, config.wires), np.float32)
    for board in range(config.boards):
        made = piece(whole, BLOCK_TICKS, config)
        made[:, :FADE] *= rise
        made[:, :FADE] += piece(before, 2 * FADE, config)[:, FADE:] * fall
        made[:, -FADE:] *= fall
        made[:, -FADE:] += piece(after, 2 * FADE, config)[:, :FADE] * rise
        canvas[:, board * config.board_wires : (board + 1) * config.board_wires] = made.T
    return canvas


def pedestals(config: LartpcConfig) -> np.ndarray:
    """Pedestal of each wire in counts, float32 (wires,): of the plane, the same for every seed."""
    drawn = np.random.default_rng([config.plane_seed, 0]).normal(size=config.wires)
    level = config.pedestal + config.pedestal_spread * drawn
    return (level * config.counts).astype(np.float32)


def pedestal_drift(first_tick: int, ticks: int, config: LartpcConfig) -> np.ndarray:
    """What the pedestals have moved by, float32 (ticks, wires): a sine of its own phase a wire."""
    phase = np.random.default_rng([config.plane_seed, 1]).uniform(0, 2 * np.pi, config.wires)
    turn = 2 * np.pi * config.tick_ns * 1e-9 / config.pedestal_drift_s
    at = turn * np.arange(first_tick, first_tick + ticks)[:, None] + phase
    return (np.sqrt(2) * config.pedestal_drift * config.counts * np.sin(at)).astype(np.float32)


def _rng(seed: int, index: int, part: int) -> np.random.Generator:
    return np.random.Generator(
        np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(index, part)))
    )
