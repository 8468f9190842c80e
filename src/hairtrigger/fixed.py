"""Fixed-point numbers: formats, rounding, overflow, and the one `quantize_codes` of the toolkit.

A number is an integer *code* times ``2**-fraction``. A format ``Fixed(signed, integer, fraction)``
has ``signed + integer + fraction`` bits; ``integer`` does not count the sign, and ``integer`` or
``fraction`` may be negative. Everything works on ``int64`` codes, so it is exact by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MAX_WIDTH = 60
"""Widest format, in bits: two guard bits and the sign keep every sum inside ``int64``."""


class Rounding(Enum):
    """What happens to bits below the LSB; named as in ``ap_fixed`` and HGQ."""

    TRN = "TRN"
    """Towards minus infinity: the bits are dropped."""
    TRN_ZERO = "TRN_ZERO"
    """Towards zero."""
    RND = "RND"
    """To nearest, halves towards plus infinity."""
    RND_CONV = "RND_CONV"
    """To nearest, halves to the even code."""
    RND_ZERO = "RND_ZERO"
    """To nearest, halves towards zero."""
    RND_INF = "RND_INF"
    """To nearest, halves away from zero."""
    RND_MIN_INF = "RND_MIN_INF"
    """To nearest, halves towards minus infinity."""


class Overflow(Enum):
    """What happens to values out of range; named as in ``ap_fixed`` and HGQ."""

    WRAP = "WRAP"
    """Bits above the format are dropped."""
    SAT = "SAT"
    """The nearest end of the range."""
    SAT_SYM = "SAT_SYM"
    """As SAT, but the range of a signed format is symmetric: the lowest code is left out."""
    WRAP_SM = "WRAP_SM"
    """Signed formats only: the range is run through back and forth, like a triangle wave."""


@dataclass(frozen=True)
class Fixed:
    """One fixed-point format.

    ``signed``: is there a sign bit; ``integer``: bits left of the point without the sign;
    ``fraction``: bits right of the point. The LSB is ``2**-fraction``.
    Raises `InputError` where the width is not between 0 and `MAX_WIDTH` bits.
    """

    signed: bool
    integer: int
    fraction: int

    def __post_init__(self) -> None:
        if not 0 <= self.width <= MAX_WIDTH:
            raise InputError(
                f"Fixed({self.signed}, {self.integer}, {self.fraction}) has {self.width} bits; "
                f"a format has 0 to {MAX_WIDTH}.",
                "Choose integer and fraction so that signed + integer + fraction is in that range.",
            )

    @property
    def width(self) -> int:
        """Bits in all."""
        return int(self.signed) + self.integer + self.fraction

    @property
    def lowest(self) -> int:
        """Lowest code."""
        return -(1 << (self.integer + self.fraction)) if self.signed and self.width else 0

    @property
    def highest(self) -> int:
        """Highest code."""
        return (1 << (self.width - int(self.signed))) - 1 if self.width else 0


def shift_codes(codes: IntArray, left: IntArray | int) -> IntArray:
    """``codes * 2**left``, for ``left`` of either sign; right shifts drop bits (floor).

    Shapes broadcast. The caller sees to it that left shifts stay inside ``int64``.
    """
    amount = np.asarray(left, dtype=np.int64)
    if (amount >= 0).all():
        return np.left_shift(codes, np.minimum(amount, 63))
    # NumPy leaves shifts by 64 and more undefined; by then every bit is the sign.
    up = np.left_shift(codes, np.clip(amount, 0, 63))
    return np.right_shift(up, np.clip(-amount, 0, 63))


def round_codes(codes: IntArray, drop: IntArray | int, rounding: Rounding) -> IntArray:
    """Divide by ``2**drop`` and round to an integer; ``drop < 0`` multiplies and is exact."""
    drop = np.asarray(drop, dtype=np.int64)
    down = np.clip(drop, 0, 62)
    one = np.int64(1)
    half = np.where(drop > 0, np.left_shift(one, np.maximum(down - 1, 0)), 0)
    negative = codes < 0
    match rounding:
        case Rounding.TRN:
            biased = codes
        case Rounding.TRN_ZERO:
            biased = codes + np.where(negative, np.left_shift(one, down) - 1, 0)
        case Rounding.RND:
            biased = codes + half
        case Rounding.RND_MIN_INF:
            biased = codes + np.maximum(half - 1, 0)
        case Rounding.RND_INF:
            biased = codes + np.where(negative, np.maximum(half - 1, 0), half)
        case Rounding.RND_ZERO:
            biased = codes + np.where(negative, half, np.maximum(half - 1, 0))
        case Rounding.RND_CONV:
            odd = np.right_shift(codes, down) & 1
            biased = codes + np.maximum(half - 1, 0) + np.where(half > 0, odd, 0)
    return shift_codes(biased, -drop)


def wrap_codes(codes: IntArray, signed: BoolArray | bool, width: IntArray | int) -> IntArray:
    """Keep the lowest ``width`` bits and read them as signed or unsigned; 0 bits give 0."""
    bits = np.asarray(width, dtype=np.int64)
    up = np.clip(64 - bits, 0, 63)
    left = np.left_shift(codes, up)
    as_signed = np.right_shift(left, up)
    mask = np.left_shift(np.int64(1), np.clip(bits, 0, 62)) - 1
    return np.where(bits > 0, np.where(signed, as_signed, codes & mask), 0)


def quantize_codes(
    codes: IntArray,
    fraction_in: IntArray | int,
    signed: BoolArray | bool,
    integer: IntArray | int,
    fraction: IntArray | int,
    rounding: Rounding,
    overflow: Overflow,
) -> IntArray:
    """Bring codes with LSB ``2**-fraction_in`` into a format; returns codes of that format.

    All arguments broadcast, so every element may have its own format. Formats of no bits give 0.
    The meaning is that of HGQ2's ``quantizers`` package in inference, on exact arithmetic.
    """
    codes = np.asarray(codes, dtype=np.int64)
    signed = np.asarray(signed, dtype=np.bool_)
    magnitude = np.asarray(integer, dtype=np.int64) + np.asarray(fraction, dtype=np.int64)
    width = signed + magnitude
    alive = width > 0
    drop = np.asarray(fraction_in, dtype=np.int64) - np.asarray(fraction, dtype=np.int64)
    rounded = round_codes(codes, drop, rounding)
    high = np.left_shift(np.int64(1), np.clip(magnitude, 0, 62)) - 1
    match overflow:
        case Overflow.WRAP:
            result = wrap_codes(rounded, signed, width)
        case Overflow.SAT:
            result = np.clip(rounded, np.where(signed, -high - 1, 0), high)
        case Overflow.SAT_SYM:
            result = np.clip(rounded, np.where(signed, -high, 0), high)
        case Overflow.WRAP_SM:
            result = _fold(codes, drop, rounded, signed, width, rounding)
    return np.where(alive, result, 0)


HGQ2_FOLDS = (Rounding.RND, Rounding.RND_CONV)
"""Rounding modes for which HGQ2 defines WRAP_SM."""


def _fold(
    codes: IntArray,
    drop: IntArray,
    rounded: IntArray,
    signed: BoolArray,
    width: IntArray,
    rounding: Rounding,
) -> IntArray:
    """WRAP_SM: the wrapped code, inverted once for each odd half-period and period that was left.

    HGQ2 counts them before rounding, which differs by one just below a whole period. That is kept
    for the rounding modes that it admits; for the others they are counted on the rounded code.
    """
    if not np.all(signed | (width <= 0)):
        raise InputError(
            "Overflow WRAP_SM on an unsigned format has no meaning in range.",
            "Use a signed format, or WRAP, SAT or SAT_SYM.",
        )
    bits = np.clip(width, 1, 62)
    wrapped = wrap_codes(rounded, signed, width)
    if rounding not in HGQ2_FOLDS:
        odd = (np.right_shift(rounded, bits) ^ np.right_shift(rounded, bits - 1)) & 1
        return np.where(odd == 1, -wrapped - 1, wrapped)
    nearest = round_codes(codes, drop, Rounding.RND)
    # |x| > LSB/2, exactly: twice the code against the LSB in units of the input's LSB.
    beyond_half = np.abs(codes) * 2 > np.left_shift(np.int64(1), np.clip(drop, 0, 62))
    beyond_half = np.where(drop < 0, codes != 0, beyond_half)
    first = (np.right_shift(shift_codes(codes, -drop), bits) & 1).astype(np.bool_) & beyond_half
    second = (np.right_shift(nearest, bits - 1) & 1).astype(np.bool_)
    return np.where(first ^ second, -wrapped - 1, wrapped)
