"""Types and constants of the Graph: what each element of a tensor can hold.

`TensorType` gives every element its own fixed-point format. `Range` is the interval of codes that
an element can reach; types are inferred through it. `Literal` is a constant tensor of integers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hairtrigger.errors import GraphError
from hairtrigger.fixed import MAX_WIDTH, BoolArray, Fixed, IntArray, shift_codes

Shape = tuple[int, ...]

MAX_FRACTION = 256
"""Finest and (negative) coarsest LSB, as a power of two, so that every number fits a float64."""

MAX_SIZE = 1 << 26
"""Most elements of a tensor, so that a slip in a shape is an error and not a full memory."""


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(array, order="C")  # ascontiguousarray would make a scalar one-dimensional
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class TensorType:
    """The format of every element of a tensor of ``shape`` (the event axis is not part of it).

    ``signed``, ``integer``, ``fraction``: arrays of ``shape``, or anything that broadcasts to it;
    see `Fixed` for their meaning. Elements of no bits are always zero and are stored as
    ``(False, 0, 0)``, so equal types are equal arrays. Codes of a tensor are integers in units of
    ``2**-lsb``, where ``lsb`` is the finest fraction of any element.
    Raises `GraphError` for an empty shape, one of more than `MAX_SIZE` elements, formats that do
    not broadcast to it, and where codes would have more than `MAX_WIDTH` bits.
    """

    shape: Shape
    signed: BoolArray
    integer: IntArray
    fraction: IntArray

    def __init__(
        self, shape: Shape, signed: ArrayLike, integer: ArrayLike, fraction: ArrayLike
    ) -> None:
        shape = tuple(int(n) for n in shape)
        if any(n < 1 for n in shape):
            raise GraphError(f"A tensor of shape {shape} has no elements.", "Leave it out.")
        if prod(shape) > MAX_SIZE:
            raise GraphError(
                f"A tensor of shape {shape} has over {MAX_SIZE} elements.", "Split it."
            )
        try:
            k = np.broadcast_to(np.asarray(signed, dtype=np.bool_), shape)
            i = np.broadcast_to(np.asarray(integer, dtype=np.int64), shape)
            f = np.broadcast_to(np.asarray(fraction, dtype=np.int64), shape)
        except ValueError:
            shapes = [np.shape(a) for a in (signed, integer, fraction)]
            raise GraphError(
                f"Formats of shapes {shapes} do not broadcast to a tensor of shape {shape}."
            ) from None
        alive = k + i + f > 0
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "signed", _frozen(k & alive))
        object.__setattr__(self, "integer", _frozen(np.where(alive, i, 0)))
        object.__setattr__(self, "fraction", _frozen(np.where(alive, f, 0)))
        if self.span > MAX_WIDTH:
            raise GraphError(
                f"A tensor of shape {shape} needs {self.span} bits from its highest bit to its "
                f"LSB of 2**{-self.lsb}; the limit is {MAX_WIDTH}.",
                "Quantize its operands to fewer bits.",
            )
        if np.abs(self.fraction).max() > MAX_FRACTION:
            raise GraphError(
                f"A tensor has fractions of {int(self.fraction.min())} to "
                f"{int(self.fraction.max())} bits; the limits are +-{MAX_FRACTION}.",
                "Scale the numbers.",
            )

    @classmethod
    def uniform(cls, shape: Shape, fixed: Fixed) -> TensorType:
        """Every element in the same format."""
        return cls(shape, fixed.signed, fixed.integer, fixed.fraction)

    @cached_property
    def width(self) -> IntArray:
        """Bits of each element."""
        return _frozen(self.signed + self.integer + self.fraction)

    @cached_property
    def lsb(self) -> int:
        """Codes of this tensor count ``2**-lsb``."""
        alive = self.width > 0
        return int(self.fraction[alive].max()) if alive.any() else 0

    @cached_property
    def span(self) -> int:
        """Bits that codes of this tensor need: from the highest bit of any element to the LSB."""
        alive = self.width > 0
        return int((self.signed + self.integer)[alive].max()) + self.lsb if alive.any() else 0

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def bits(self) -> int:
        """Bits of the whole tensor."""
        return int(self.width.sum())

    @cached_property
    def single(self) -> Fixed | None:
        """The one format of all elements, or None where they differ."""
        k, i, f = self.signed.flat[0], self.integer.flat[0], self.fraction.flat[0]
        if (self.signed == k).all() and (self.integer == i).all() and (self.fraction == f).all():
            return Fixed(bool(k), int(i), int(f))
        return None

    def range(self) -> Range:
        """Every code that the formats can hold."""
        magnitude = np.left_shift(np.int64(1), np.maximum(self.integer + self.fraction, 0))
        alive = self.width > 0
        low = np.where(alive & self.signed, -magnitude, 0)
        high = np.where(alive, magnitude - 1, 0)
        return Range(low, high, self.fraction)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TensorType):
            return NotImplemented
        return self.shape == other.shape and self._key == other._key

    def __hash__(self) -> int:
        return hash((self.shape, self._key))

    @cached_property
    def _key(self) -> bytes:
        return self.signed.tobytes() + self.integer.tobytes() + self.fraction.tobytes()


@dataclass(frozen=True, eq=False)
class Range:
    """For each element the lowest and highest code it can reach, in units of its own LSB.

    ``low``, ``high``, ``fraction``: integer arrays of one shape; the value of a code is
    ``code * 2**-fraction``.
    """

    low: IntArray
    high: IntArray
    fraction: IntArray

    @property
    def shape(self) -> Shape:
        return self.low.shape

    @property
    def alive(self) -> BoolArray:
        """Elements that are not always zero."""
        return (self.low != 0) | (self.high != 0)

    @property
    def lsb(self) -> int:
        """Finest fraction of an element that is not always zero."""
        alive = self.alive
        return int(self.fraction[alive].max()) if alive.any() else 0

    def at(self, lsb: int) -> tuple[IntArray, IntArray]:
        """``(low, high)`` in units of ``2**-lsb``, which no element may be finer than.

        Raises `GraphError` where they would not fit ``int64`` with room to add two of them.
        """
        up = np.where(self.alive, lsb - self.fraction, 0)
        most = max(abs(int(self.low.min())), abs(int(self.high.max())))
        if most.bit_length() + int(up.max()) > 61:  # each element by itself may yet fit
            bits = int((_bit_length(np.maximum(-self.low, self.high)) + up)[self.alive].max())
            if bits > 61:
                raise GraphError(
                    f"Codes of an operand need {bits} bits in units of 2**{-lsb}; the limit is 61.",
                    "Quantize the operands to fewer bits.",
                )
        return shift_codes(self.low, up), shift_codes(self.high, up)

    def map(self, move: Callable[[IntArray], IntArray]) -> Range:
        """The same for elements moved by ``move`` (a reshape, a transpose, an index)."""
        return Range(move(self.low), move(self.high), move(self.fraction))

    def cover(self) -> TensorType:
        """The smallest type that holds every code of the range."""
        need = np.maximum(_bit_length(self.high), _bit_length(-1 - self.low))
        return TensorType(self.shape, self.low < 0, need - self.fraction, self.fraction)


def _bit_length(codes: IntArray) -> IntArray:
    """Bits of each code without its sign; 0 for codes that are not positive."""
    positive = np.maximum(codes, 0)
    # frexp is exact below 2**53; above it, rounding up could add a bit, so split.
    high = np.right_shift(positive, 31)
    low = positive & 0x7FFFFFFF
    high_bits = np.frexp(high.astype(np.float64))[1].astype(np.int64)
    low_bits = np.frexp(low.astype(np.float64))[1].astype(np.int64)
    return np.where(high > 0, high_bits + 31, low_bits)


@dataclass(frozen=True, eq=False)
class Literal:
    """A constant tensor: integer ``codes`` times ``2**-fraction``."""

    codes: IntArray
    fraction: int

    def __init__(self, codes: ArrayLike, fraction: int) -> None:
        array = np.asarray(codes)
        if not np.issubdtype(array.dtype, np.integer):
            raise GraphError(
                f"A Literal holds integers, not {array.dtype}.",
                "Use Literal.exact(values) for real numbers that are whole multiples of an LSB.",
            )
        if array.size == 0:
            raise GraphError(f"A Literal of shape {array.shape} has no elements.", "Leave it out.")
        reach = max(abs(int(array.min())), abs(int(array.max())))
        if reach >> MAX_WIDTH or abs(fraction) > MAX_FRACTION:
            raise GraphError(
                f"A Literal with codes up to {reach} and {fraction} fraction bits is out of range: "
                f"codes have {MAX_WIDTH} bits, fractions up to +-{MAX_FRACTION}.",
                "Quantize or scale the constants.",
            )
        object.__setattr__(self, "codes", _frozen(array.astype(np.int64)))
        object.__setattr__(self, "fraction", int(fraction))

    @classmethod
    def exact(cls, values: ArrayLike) -> Literal:
        """Real numbers as integers with the coarsest LSB that holds them all exactly.

        Raises `GraphError` for NaN, infinity, and numbers that need more than 60 bits.
        """
        real = np.asarray(values, dtype=np.float64)
        if not np.isfinite(real).all():
            raise GraphError("A constant holds NaN or infinity.", "Mend the trained weights.")
        mantissa, exponent = np.frexp(real)
        whole = np.round(mantissa * 2.0**53).astype(np.int64)
        fractions = 53 - exponent.astype(np.int64) - _trailing_zeros(whole)
        fraction = int(fractions[whole != 0].max()) if whole.any() else 0
        if (
            abs(fraction) > MAX_FRACTION
            or np.abs(real).max(initial=0.0) * 2.0**fraction >= 2.0**MAX_WIDTH
        ):
            raise GraphError(
                f"Constants from {real.min():g} to {real.max():g} need an LSB of 2**{-fraction}: "
                f"more than {MAX_WIDTH} bits.",
                "Quantize the weights.",
            )
        return cls((real * 2.0**fraction).astype(np.int64), fraction)

    @property
    def shape(self) -> Shape:
        return self.codes.shape

    @property
    def values(self) -> NDArray[np.float64]:
        """The real numbers, exact below 2**53 LSB."""
        return np.asarray(self.codes * 2.0**-self.fraction, dtype=np.float64)

    @cached_property
    def fractions(self) -> IntArray:
        """Fraction bits that each element really uses (0 for zeros)."""
        used = self.fraction - _trailing_zeros(self.codes)
        return _frozen(np.where(self.codes != 0, used, 0))

    def range(self) -> Range:
        """Each element's own code and fraction, without trailing zeros."""
        drop = np.where(self.codes != 0, self.fraction - self.fractions, 0)
        own = shift_codes(self.codes, -drop)
        return Range(own, own, self.fractions)

    def at(self, lsb: int) -> IntArray:
        """Codes in units of ``2**-lsb``, which must hold every element exactly."""
        return shift_codes(self.codes, lsb - self.fraction)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Literal):
            return NotImplemented
        return self.fraction == other.fraction and bool(np.array_equal(self.codes, other.codes))

    def __hash__(self) -> int:
        return hash((self.fraction, self.codes.shape, self.codes.tobytes()))


def _trailing_zeros(codes: IntArray) -> IntArray:
    """Trailing zero bits of each code (63 for zero)."""
    lowest = codes & -codes
    bits = np.frexp(lowest.astype(np.float64))[1].astype(np.int64) - 1
    return np.where(codes == 0, 63, bits)
