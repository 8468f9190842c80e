"""One block of the stream of a plane: noise, pedestals and radiologicals, and what arrives there.

Blocks are what a seed means: block b of a seed is always the same, whoever asks for it and for
however much of it. Each part of it has random numbers of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from hairtrigger.detectors import lartpc_noise as noise
from hairtrigger.detectors.lartpc_config import LartpcConfig
from hairtrigger.detectors.lartpc_deposits import Arrivals, add_signal, drift
from hairtrigger.detectors.lartpc_sources import Decays, draw_decays

BLOCK_TICKS = noise.BLOCK_TICKS

_RADIOLOGICAL, _EVENTS = 2, 3
"""Parts of a block's random numbers; the noise has 0 and 1."""


def rng_of(seed: int, block: int, part: int) -> np.random.Generator:
    """The random numbers of one part of a block."""
    key = np.random.SeedSequence(seed, spawn_key=(block, part))
    return np.random.Generator(np.random.SFC64(key))


def events_rng(seed: int, block: int, kind: int = 0) -> np.random.Generator:
    """The random numbers of events of a kind that start in a block."""
    return rng_of(seed, block, _EVENTS + kind)


@dataclass(frozen=True)
class Radiologicals:
    """Decays of one block and their arrivals, with ticks from the start of the block."""

    decays: Decays
    arrivals: Arrivals


@lru_cache(maxsize=16)
def radiologicals(block: int, seed: int, config: LartpcConfig) -> Radiologicals:
    """Decays whose vertices arrive within a block."""
    decays = draw_decays(rng_of(seed, block, _RADIOLOGICAL), BLOCK_TICKS, config)
    return Radiologicals(decays, drift(decays.deposits, decays.vertices, config))


def background(block: int, seed: int, config: LartpcConfig) -> tuple[np.ndarray, Radiologicals]:
    """Noise and radiologicals of a block without pedestals, float32 (BLOCK_TICKS, wires), and the
    decays in it. Those of the blocks beside it reach into it."""
    canvas = noise.block(block, seed, config)
    own = radiologicals(block, seed, config)
    for other in (block - 1, block, block + 1):
        if other < 0:
            continue
        found = own if other == block else radiologicals(other, seed, config)
        add_arrivals(canvas, found.arrivals, (other - block) * BLOCK_TICKS, config)
    return canvas, own


def add_arrivals(canvas: np.ndarray, arrivals: Arrivals, later: int, config: LartpcConfig) -> None:
    """Add arrivals whose ticks count from ``later`` ticks after the start of the canvas."""
    moved = replace(arrivals, tick=arrivals.tick + later)
    add_signal(canvas, np.zeros(len(moved.tick), np.int64), moved, len(canvas), config)


def digitise(canvas: np.ndarray, first_tick: int, config: LartpcConfig) -> np.ndarray:
    """Counts, uint16 (ticks, wires): pedestals put in, rounded, cut to the range of the ADC.

    ``first_tick`` is the tick of the stream of the first row. The canvas is used up.
    """
    canvas += noise.pedestals(config) + np.float32(0.5)
    if config.pedestal_drift:
        canvas += noise.pedestal_drift(first_tick, len(canvas), config)
    np.clip(canvas, 0, 2**config.adc_bits - 1, out=canvas)
    return canvas.astype(np.uint16)
