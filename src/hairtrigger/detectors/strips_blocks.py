"""Blocks of planes: what a seed means. A block of a seed is the same, whoever asks for it.

The muons, the background and the electronics have random numbers of their own, so the background
of a seed is the same with muons and without.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from hairtrigger.detectors.strips_background import background
from hairtrigger.detectors.strips_config import StripsConfig
from hairtrigger.detectors.strips_drift import drift
from hairtrigger.detectors.strips_electronics import Hits, particles_from_ns, read_out
from hairtrigger.detectors.strips_ionisation import Lines, ionise
from hairtrigger.errors import InputError

BLOCK_PLANES = 2048
"""Planes made at once. Part of what a seed means: not a tuning knob."""

MUONS, _MUON_PHYSICS, _BACKGROUND, _ELECTRONICS = range(4)
"""Parts of a block's random numbers."""


def rng_of(seed: int, block: int, part: int) -> np.random.Generator:
    """The random numbers of one part of a block."""
    key = np.random.SeedSequence(seed, spawn_key=(block, part))
    return np.random.Generator(np.random.SFC64(key))


def make_planes(
    seed: int, block: int, planes: int, strips: int, lines: Lines, config: StripsConfig
) -> tuple[Hits, np.ndarray, np.ndarray]:
    """Hits of ``planes`` images with muons along ``lines``, and each line's interactions and the
    range of its longest delta ray in mm."""
    made, primaries, longest = [], np.zeros(0, np.int64), np.zeros(0, np.float32)
    physics = rng_of(seed, block, _MUON_PHYSICS)
    if len(lines.plane):
        made, primaries, longest = ionise(physics, lines, config)
    muon = drift(physics, made, strips, config)
    cavern = rng_of(seed, block, _BACKGROUND)
    from_ns, to_ns = particles_from_ns(config), config.window_ns[1]
    others = background(cavern, planes, strips, from_ns, to_ns, config)
    other = drift(cavern, others, strips, config)
    electronics = rng_of(seed, block, _ELECTRONICS)
    hits = read_out(electronics, muon, other, planes, strips, config)
    return hits, primaries, longest


def run_blocks(
    fill: Callable[[int, slice, slice], None],
    start: int,
    count: int,
    size: int,
    threads: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Call ``fill(block, part of the block, part of the result)`` for all that is asked for.

    In threads (NumPy lets them run side by side). An interrupt stops at once. ``progress(done,
    count)`` is called from the calling thread.
    """

    def work(block: int) -> int:
        first = block * size
        cut = slice(max(start - first, 0), min(start + count - first, size))
        fill(block, cut, slice(first + cut.start - start, first + cut.stop - start))
        return cut.stop - cut.start

    if progress is not None:
        progress(0, count)
    if not count:
        return
    blocks = range(start // size, (start + count - 1) // size + 1)
    done = 0
    if threads == 1 or len(blocks) == 1:
        for block in blocks:
            done += work(block)
            if progress is not None:
                progress(done, count)
        return
    pool = ThreadPoolExecutor(min(threads, len(blocks)), thread_name_prefix="strips")
    try:
        for made in pool.map(work, blocks):
            done += made
            if progress is not None:
                progress(done, count)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def room(shapes: dict[str, tuple[tuple[int, ...], np.dtype]]) -> dict[str, np.ndarray]:
    """Arrays for a result. Raises InputError where memory is not enough."""
    try:
        return {name: np.zeros(shape, dtype) for name, (shape, dtype) in shapes.items()}
    except (MemoryError, ValueError) as error:
        raise InputError(
            f"{next(iter(shapes.values()))[0]} hits do not fit in memory",
            "simulate fewer at a time, with start",
        ) from error
