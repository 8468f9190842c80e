"""Noise of a plane: an endless stream with the measured spectrum, part of it common to a board.

The stream is cut in blocks of BLOCK_TICKS. Each is the Fourier transform of Gaussian numbers under
the spectrum, faded out at both ends, and the gap at each border is filled by a shorter piece that
fades in and out the other way (sine and cosine, so the variance is the same everywhere). So any
block can be made alone, and blocks join without a seam.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hairtrigger.detectors.lartpc_config import LartpcConfig

BLOCK_TICKS = 4096
"""Ticks made at once. Part of what a seed means: not a tuning knob."""

FADE = 128
"""Ticks in which a block fades in and out."""


def spectrum(frequency_mhz: np.ndarray) -> np.ndarray:
    """Amplitude of the noise over frequency in MHz, relative: rises to 0.11 MHz, falls, then white."""
    f = np.asarray(frequency_mhz, float)
    return (0.6 + (f / 0.11)) * np.exp(-((f / 0.17) ** 1.25)) + 0.04


@lru_cache(maxsize=16)
def _amplitudes(ticks: int, config: LartpcConfig) -> tuple[np.ndarray, np.ndarray]:
    """What unit Gaussians (real, imaginary) of each frequency are multiplied with."""
    shape = spectrum(np.fft.rfftfreq(ticks, config.tick_ns * 1e-3))
    shape[0] = 0
    shape *= ticks / 2 / np.sqrt(np.sum(shape[1:-1] ** 2))
    alone = np.sqrt(max(config.noise_rms**2 - config.coherent_rms**2, 0))
    scale = config.counts
    return (shape * alone * scale).astype(np.float32), (shape * config.coherent_rms * scale).astype(
        np.float32
    )


def piece(rng: np.random.Generator, ticks: int, config: LartpcConfig) -> np.ndarray:
    """Noise without end fades, float32 (wires, ticks), in counts of the configured ADC."""
    alone, common = _amplitudes(ticks, config)
    drawn = rng.standard_normal((config.wires + config.boards, ticks + 2), dtype=np.float32)
    waves = drawn.view(np.complex64)
    waves[:, -1].imag = 0
    wires = waves[: config.wires].reshape(config.boards, config.board_wires, -1)
    wires *= alone
    wires += (waves[config.wires :] * common)[:, None]
    return np.fft.irfft(waves[: config.wires], n=ticks, axis=1)


def block(index: int, seed: int, config: LartpcConfig) -> np.ndarray:
    """Block ``index`` of the noise of ``seed``, float32 (BLOCK_TICKS, wires)."""
    angle = (np.arange(FADE, dtype=np.float32) + np.float32(0.5)) * np.float32(np.pi / 2 / FADE)
    rise, fall = np.sin(angle), np.cos(angle)
    made = piece(_rng(seed, index, 0), BLOCK_TICKS, config)
    before = piece(_rng(seed, index, 1), 2 * FADE, config)
    after = piece(_rng(seed, index + 1, 1), 2 * FADE, config)
    made[:, :FADE] *= rise
    made[:, :FADE] += before[:, FADE:] * fall
    made[:, -FADE:] *= fall
    made[:, -FADE:] += after[:, :FADE] * rise
    return np.ascontiguousarray(made.T)


def _rng(seed: int, index: int, part: int) -> np.random.Generator:
    return np.random.Generator(
        np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(index, part)))
    )
