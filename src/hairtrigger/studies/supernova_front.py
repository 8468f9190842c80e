"""The front of the supernova chain: raw ticks of a collection plane in, small images of pixels out.

Integers only, tick by tick, as they arrive from 480 wires read every 512 ns:

1. **Pedestal** of each wire, a running median: every tick moves it by one LSB towards the sample
   (the frugal estimate that trigger primitives use too). Rounded to a count, it is taken off.
2. **Coherent noise.** For each front-end board the mean of what is left, each wire clipped to about
   3 sigma so that signals do not count, is taken off its wires.
3. **Matched filter** along ticks: a symmetric FIR with small integer taps, near the pulse's shape.
4. **Threshold**: what lies below is zero.
5. **Downsize**: the maximum or the sum over a block of ticks and wires.
6. **Quantise** to few bits on a piecewise linear scale.

This module is what they mean, in NumPy, vectorised over images; `supernova_front_graph` says the
same as a Graph, for C++ and Verilog. All give the same integers.

    config = FrontConfig()
    pixels = front(images, config)                     # uint8 (images, 16, 120)
    state = FrontState.start(config, pedestal=3660)
    pixels, state = step(config, state, block)         # (ticks // 4, 120), and what comes next
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hairtrigger.errors import InputError

POOLS = ("max", "sum")
CHUNK_SAMPLES = 1 << 22
"""Samples that are worked on at once: arrays stay below some 20 MB each."""
FIRST_TICKS = 16
"""Ticks whose median starts an image of unknown pedestals."""

Ints = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class FrontConfig:
    """What the front does; every step can be left out. Counts are those of the ADC.

    ``wires``, ``board``: wires of a plane, and of a front-end board; ``bits``: of the ADC.
    ``pedestal_fraction``: the pedestal's LSB is ``2**-pedestal_fraction`` counts. With noise sigma
    and steps s the running median settles in about ``sigma / (0.8 s)`` ticks and scatters by about
    ``sqrt(s sigma / 1.6)`` (a random walk pulled back by the noise's density at its median). With 6
    bits that is 850 ticks (0.4 ms) and 0.3 counts for a sigma of 10.7; a signal that covers a wire
    for all 64 ticks moves it by one count, and drifts of up to 30,000 counts a second are followed.
    ``coherent``: take off boards' means; ``clip_bits``: wires count in them up to
    ``2**clip_bits - 1`` (31 is 2.9 sigma). ``residual_bits``: what is left saturates at so many
    bits, sign included, so that sums of the filter fit 16 bits.
    ``taps``: of the FIR, (1,) for none; it is divided by ``2**taps_shift``, rounded half up. The
    default triangle has a FWHM of 4 ticks, and 7 together with a pulse of 6.
    ``threshold``: smallest filtered count that is kept, 0 for all that are not negative.
    ``block``: ticks (a power of two) and wires of a pixel; ``pool``: "max" or "sum".
    ``scale``: pixel = sum over pairs (shift, bits) of ``min(value >> shift, 2**bits - 1)``. The
    default goes in steps of 16 counts to 7, which is reached at 112, then of 128 to 14.
    Raises `InputError` for what fits no plane.
    """

    wires: int = 480
    board: int = 48
    bits: int = 14
    pedestal_fraction: int = 6
    coherent: bool = True
    clip_bits: int = 5
    residual_bits: int = 12
    taps: tuple[int, ...] = (1, 2, 3, 4, 3, 2, 1)
    taps_shift: int = 4
    threshold: int = 20
    block: tuple[int, int] = (4, 4)
    pool: str = "max"
    scale: tuple[tuple[int, int], ...] = ((4, 3), (7, 3))

    def __post_init__(self) -> None:
        ticks, wires = self.block
        pairs = self.scale
        rules = (
            (self.wires > 0 and self.board > 0, "wires and board must be positive"),
            (self.wires % self.board == 0, f"{self.wires} wires are no whole boards of board"),
            (self.board % wires == 0 if wires > 0 else False, "wires of a block must divide board"),
            (ticks > 0 and ticks & (ticks - 1) == 0, "ticks of a block must be a power of two"),
            (2 <= self.bits <= 16, "bits must be 2 to 16"),
            (0 <= self.pedestal_fraction <= 12, "pedestal_fraction must be 0 to 12"),
            (1 <= self.clip_bits < self.residual_bits, "clip_bits must be 1 to residual_bits - 1"),
            (self.residual_bits <= self.bits + 1, "residual_bits must be at most bits + 1"),
            (bool(self.taps) and min(self.taps) >= 0 < max(self.taps), "taps must be 0 or more"),
            (0 <= self.taps_shift <= 12, "taps_shift must be 0 to 12"),
            (self.threshold >= 0, "threshold must not be negative"),
            (self.pool in POOLS, f"pool must be one of {POOLS}"),
            (
                bool(pairs) and all(s >= 0 < b for s, b in pairs),
                "scale must be (shift, bits) pairs",
            ),
        )
        for right, rule in rules:
            if not right:
                raise InputError(f"FrontConfig: {rule}.", f"It was {self}.")
        if max(self.most_filtered >> 15, self.most_value >> 30, self.most_pixel >> 8):
            raise InputError(
                f"FrontConfig: filtered counts may reach {self.most_filtered}, their blocks "
                f"{self.most_value}, pixels {self.most_pixel}.",
                "The limits are 2**15, 2**30 and 2**8: shift more, or use fewer bits.",
            )

    @classmethod
    def of(cls, bits: int = 14, **changes: Any) -> FrontConfig:
        """The default for an ADC of 14 bits, or the same in counts four times as coarse for 12."""
        if bits not in (12, 14):
            raise InputError(f"An ADC of {bits} bits.", "Give 12 or 14, or a FrontConfig.")
        coarse = {
            "bits": 12,
            "clip_bits": 3,
            "residual_bits": 10,
            "threshold": 5,
            "scale": ((2, 3), (5, 3)),
        }
        return cls(**{**(coarse if bits == 12 else {}), **changes})

    @property
    def boards(self) -> int:
        """Front-end boards of the plane."""
        return self.wires // self.board

    @property
    def columns(self) -> int:
        """Pixels of a row."""
        return self.wires // self.block[1]

    @property
    def most_filtered(self) -> int:
        """The largest filtered count."""
        top = sum(self.taps) * ((1 << (self.residual_bits - 1)) - 1)
        return (top + self._half) >> self.taps_shift

    @property
    def most_value(self) -> int:
        """The largest value of a block."""
        return self.most_filtered * (1 if self.pool == "max" else self.block[0] * self.block[1])

    @property
    def most_pixel(self) -> int:
        """The largest pixel."""
        return sum(min(self.most_value >> s, (1 << b) - 1) for s, b in self.scale)

    @property
    def pixel_bits(self) -> int:
        """Bits of a pixel."""
        return max(1, self.most_pixel.bit_length())

    @property
    def _half(self) -> int:
        return (1 << self.taps_shift) >> 1


@dataclass(frozen=True)
class FrontState:
    """What the front holds between two ticks.

    ``pedestal`` int32 (wires,) in its LSB; ``history`` int16 (taps - 1, wires), what the filter
    has read, the latest last; ``sums`` int32 (columns,), the value so far of the blocks at hand;
    ``phase``: ticks of them that have come.
    """

    pedestal: NDArray[np.int32]
    history: NDArray[np.int16]
    sums: NDArray[np.int32]
    phase: int = 0

    @classmethod
    def start(cls, config: FrontConfig, pedestal: ArrayLike = 0) -> FrontState:
        """Before the first tick: known pedestals in counts (a number, or one a wire; rounded to
        their LSB), and nothing read."""
        return cls(
            pedestal_codes(config, pedestal, (config.wires,)),
            np.zeros((len(config.taps) - 1, config.wires), dtype=np.int16),
            np.zeros(config.columns, dtype=np.int32),
        )


def pedestal_codes(
    config: FrontConfig, counts: ArrayLike, shape: tuple[int, ...]
) -> NDArray[np.int32]:
    """Pedestals in counts as codes in units of their LSB, of a shape they broadcast to.

    Raises `InputError` where they are not finite or lie outside the ADC.
    """
    real = np.asarray(counts, dtype=np.float64)
    top = 1 << config.bits
    if not np.isfinite(real).all() or (real < 0).any() or (real >= top).any():
        raise InputError(f"A pedestal outside 0 to {top - 1}.", "Give counts of the ADC.")
    codes = np.rint(real * (1 << config.pedestal_fraction)).astype(np.int32)
    most = (top << config.pedestal_fraction) - 1
    try:
        return np.broadcast_to(np.minimum(codes, most), shape).copy()
    except ValueError:
        raise InputError(f"Pedestals of shape {real.shape} for {shape}.", "One a wire.") from None


def first_pedestals(images: Ints, ticks: int = FIRST_TICKS) -> NDArray[np.float64]:
    """Pedestals of isolated images in counts, (images, wires): medians of their first ticks."""
    # Sorted along the last axis, in small integers: five times as fast as np.median.
    ordered = np.sort(np.ascontiguousarray(images[:, :ticks].swapaxes(1, 2)), axis=-1)
    count = ordered.shape[-1]
    return ordered[..., (count - 1) // 2 : count // 2 + 1].mean(axis=-1)


def front(
    images: Ints, config: FrontConfig | None = None, pedestal: ArrayLike | None = None
) -> NDArray[np.uint8]:
    """Pixels (images, ticks // block, columns) of isolated images (images, ticks, wires).

    Each image starts from ``pedestal`` (counts: a number, (wires,) or (images, wires); None: the
    median of its own first ticks) and from an empty filter. Raises `InputError` for other shapes,
    dtypes and counts out of range.
    """
    config = config or FrontConfig()
    pixels = pixels_for(images, config)
    for part, samples, pedestals in image_parts(images, config, pedestal):
        empty = np.zeros((len(samples), len(config.taps) - 1, config.wires), dtype=np.int16)
        values = _filtered(config, samples, pedestals, empty)[0]
        pixels[part] = _quantised(config, _pooled_ticks(config, _pooled_wires(config, values)))
    return pixels


def step(
    config: FrontConfig, state: FrontState, block: Ints
) -> tuple[NDArray[np.uint8], FrontState]:
    """Rows of pixels that a block (ticks, wires) of the stream completes, and the state behind it.

    Blocks may have any number of ticks; the same ticks in other blocks give the same rows.
    Raises `InputError` as `front` does.
    """
    x = _checked(config, block, 2)
    if not len(x):
        return np.empty((0, config.columns), dtype=np.uint8), state
    values, pedestal, history = _filtered(
        config, x[None], state.pedestal[None].copy(), state.history[None]
    )
    pooled = _pooled_wires(config, values)[0]
    length = config.block[0]
    # Ticks of the block at hand that came before: their value stands in the place of one.
    before = np.zeros((state.phase, config.columns), dtype=np.int32)
    before[:1] = state.sums
    pooled = np.concatenate([before, pooled])
    whole = len(pooled) // length * length
    rest = pooled[whole:]
    sums = _combine(config, rest[None, :, :], axis=1)[0] if len(rest) else np.zeros_like(state.sums)
    rows = _quantised(config, _pooled_ticks(config, pooled[None, :whole]))[0]
    return rows, FrontState(pedestal[0], history[0].copy(), sums.astype(np.int32), len(rest))


# --- steps ----------------------------------------------------------------------------------------


def _filtered(
    config: FrontConfig, x: Ints, pedestal: NDArray[np.int32], history: NDArray[np.int16]
) -> tuple[NDArray[np.int16], NDArray[np.int32], NDArray[np.int16]]:
    """Filtered counts (images, ticks, wires), not below zero, without threshold; the pedestals
    behind the last tick, and what the filter read last. ``pedestal`` is overwritten."""
    images, ticks, wires = x.shape
    fraction, reach = config.pedestal_fraction, 1 << (config.residual_bits - 1)
    top, most = (1 << config.bits) - 1, (1 << (config.bits + fraction)) - 1
    read = np.empty((images, len(config.taps) - 1 + ticks, wires), dtype=np.int16)
    kept = len(config.taps) - 1
    read[:, :kept] = history
    for tick in range(ticks):
        now = x[:, tick].astype(np.int32)
        level = np.minimum((pedestal + ((1 << fraction) >> 1)) >> fraction, top)
        left = now - level
        if config.coherent:
            left -= _board_means(config, left)
        read[:, kept + tick] = np.clip(left, -reach, reach - 1)
        now <<= fraction
        pedestal += (now > pedestal).astype(np.int32) - (now < pedestal)
        np.clip(pedestal, 0, most, out=pedestal)
    if config.taps == (1,) and config.taps_shift == 0:
        found = read
    else:
        half = (1 << config.taps_shift) >> 1
        total = np.full((images, ticks, wires), half, dtype=np.int32)
        for n, tap in enumerate(reversed(config.taps)):
            total += tap * read[:, n : n + ticks].astype(np.int32)
        found = total >> config.taps_shift
    return np.maximum(found, 0).astype(np.int16), pedestal, read[:, read.shape[1] - kept :]


def _board_means(config: FrontConfig, left: NDArray[np.int32]) -> NDArray[np.int32]:
    """For each wire the mean of its board's clipped counts, rounded, halves towards zero."""
    most = (1 << config.clip_bits) - 1
    boards = np.clip(left, -most, most).reshape(len(left), config.boards, config.board)
    total = boards.sum(axis=-1, dtype=np.int32)
    code, fraction = reciprocal(config.board, config.board * most)
    means = (total * code + ((1 << fraction) >> 1)) >> fraction
    return np.repeat(means, config.board, axis=-1)


@lru_cache
def reciprocal(divisor: int, reach: int) -> tuple[int, int]:
    """The coarsest number ``code * 2**-fraction`` by which a product, rounded half up, is the
    quotient by ``divisor`` rounded to the nearest, halves towards zero, for all integers from
    ``-reach`` to ``reach``. Tried for each of them, not argued.
    """
    numbers = np.arange(-reach, reach + 1, dtype=np.int64)
    exact = np.sign(numbers) * ((2 * abs(numbers) + divisor - 1) // (2 * divisor))
    for fraction in range(41):
        code = ((1 << fraction) - 1) // divisor  # a little too small: halves go to zero
        half = (1 << fraction) >> 1
        if code and np.array_equal((numbers * code + half) >> fraction, exact):
            return code, fraction
    raise InputError(f"No reciprocal of {divisor} is exact up to {reach}.", "Use smaller boards.")


def _pooled_wires(config: FrontConfig, values: NDArray[np.int16]) -> Ints:
    """Thresholded, then combined over the wires of each block: (images, ticks, columns)."""
    kept = np.where(values >= config.threshold, values, np.int16(0))
    return _combine(config, kept.reshape(*values.shape[:2], config.columns, -1), axis=-1)


def _pooled_ticks(config: FrontConfig, values: Ints) -> Ints:
    images, ticks, columns = values.shape
    length = config.block[0]
    return _combine(config, values.reshape(images, ticks // length, length, columns), axis=2)


def _combine(config: FrontConfig, values: Ints, axis: int) -> Ints:
    if config.pool == "max":
        return values.max(axis=axis)
    return values.sum(axis=axis, dtype=np.int32)


def _quantised(config: FrontConfig, values: Ints) -> NDArray[np.uint8]:
    pixels = np.zeros(values.shape, dtype=np.int16)
    for shift, bits in config.scale:
        pixels += np.minimum(values >> shift, (1 << bits) - 1).astype(np.int16)
    return pixels.astype(np.uint8)


# --- input ----------------------------------------------------------------------------------------


def pixels_for(images: Ints, config: FrontConfig) -> NDArray[np.uint8]:
    """Room for the pixels of images. Raises `InputError` where `front` takes no such images."""
    ticks = _checked(config, images, 3).shape[1]
    if ticks % config.block[0]:
        raise InputError(f"Images of {ticks} ticks.", f"Give whole blocks of {config.block[0]}.")
    return np.empty((len(images), ticks // config.block[0], config.columns), dtype=np.uint8)


def image_parts(
    images: Ints, config: FrontConfig, pedestal: ArrayLike | None
) -> Iterator[tuple[slice, Ints, NDArray[np.int32]]]:
    """Images in chunks: where they are, their samples, and the pedestals that they start from, as
    codes (images, wires); ``pedestal`` as in `front`."""
    size = max(1, CHUNK_SAMPLES // max(1, images[:1].size))
    known = None if pedestal is None else np.asarray(pedestal)
    for first in range(0, len(images), size):
        part = slice(first, first + size)
        samples = np.asarray(images[part])
        here = first_pedestals(samples) if known is None else known
        here = here[part] if known is not None and known.ndim == 2 else here
        yield part, samples, pedestal_codes(config, here, (len(samples), config.wires))


def _checked(config: FrontConfig, x: Ints, rank: int) -> Ints:
    """Samples of the right shape, whole numbers within the ADC's range."""
    shape = ("images, " if rank == 3 else "") + f"ticks, {config.wires}"
    array = np.asarray(x)
    if array.ndim != rank or array.shape[-1] != config.wires:
        raise InputError(f"Samples of shape {array.shape}.", f"Give ({shape}).")
    if array.dtype.kind not in "iu":
        raise InputError(f"Samples of dtype {array.dtype}.", "Give counts of the ADC, uint16.")
    if array.size and (int(array.min()) < 0 or int(array.max()) >= 1 << config.bits):
        raise InputError(
            f"Samples from {array.min()} to {array.max()} from an ADC of {config.bits} bits.",
            "Give counts, or the FrontConfig of their ADC.",
        )
    return array
