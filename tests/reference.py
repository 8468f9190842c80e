"""What each op means, written a second time: plain Python on fractions, one element at a time.

Used by the tests of the ops only. Tensors are object arrays of `Fraction`, without events.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import ceil, floor

import numpy as np

from hairtrigger.fixed import Fixed, IntArray, Overflow, Rounding
from hairtrigger.graph import Literal, TensorType, linear, moves, ops

ZERO = Fraction(0)


def rounded(x: Fraction, rounding: Rounding) -> int:
    """``x`` as an integer, by the definition of each mode."""
    down, up = floor(x), ceil(x)
    if rounding is Rounding.TRN:
        return down
    if rounding is Rounding.TRN_ZERO:
        return down if x >= 0 else up
    if x - down != Fraction(1, 2):
        return down if x - down < Fraction(1, 2) else up
    match rounding:
        case Rounding.RND:
            return up
        case Rounding.RND_MIN_INF:
            return down
        case Rounding.RND_ZERO:
            return down if x > 0 else up
        case Rounding.RND_INF:
            return up if x > 0 else down
        case _:
            return down if down % 2 == 0 else up


def overflowed(code: int, fixed: Fixed, overflow: Overflow) -> int:
    """``code`` brought into the range of ``fixed``, by the definition of each mode but WRAP_SM."""
    if fixed.width == 0:
        return 0
    match overflow:
        case Overflow.WRAP:
            return (code - fixed.lowest) % (1 << fixed.width) + fixed.lowest
        case Overflow.SAT:
            return min(max(code, fixed.lowest), fixed.highest)
        case _:
            return min(max(code, -fixed.highest if fixed.signed else 0), fixed.highest)


def wrap_sm(x: Fraction, fixed: Fixed, rounding: Rounding) -> int:
    """A triangle wave through the range, ``x`` in units of the LSB.

    For the two roundings that HGQ admits it counts, as HGQ does, before it rounds.
    """
    period = 1 << fixed.width
    if rounding not in (Rounding.RND, Rounding.RND_CONV):
        up = (rounded(x, rounding) - fixed.lowest) % (2 * period)
        return min(up, 2 * period - 1 - up) + fixed.lowest
    odd = (x / period) % 2 >= 1 and abs(x) > Fraction(1, 2)
    odd_half = ((x + Fraction(1, 2)) / Fraction(period, 2)) % 2 >= 1
    code = overflowed(rounded(x, rounding), fixed, Overflow.WRAP)
    return -code - 1 if odd != odd_half else code


def quantized(x: Fraction, fixed: Fixed, rounding: Rounding, overflow: Overflow) -> Fraction:
    """One number brought into one format."""
    lsb = Fraction(2) ** -fixed.fraction
    return in_steps(x / lsb, fixed, rounding, overflow) * lsb


def in_steps(x: Fraction, fixed: Fixed, rounding: Rounding, overflow: Overflow) -> int:
    """As `quantized`, in units of the LSB of ``fixed``."""
    if fixed.width == 0:
        return 0
    if overflow is Overflow.WRAP_SM:
        return wrap_sm(x, fixed, rounding)
    return overflowed(rounded(x, rounding), fixed, overflow)


def to_fractions(codes: IntArray, lsb: int) -> np.ndarray:
    """Codes of one event as fractions."""
    found = np.empty(codes.shape, dtype=object)
    for at in np.ndindex(codes.shape):
        found[at] = Fraction(int(codes[at])) / Fraction(2) ** lsb
    return found


def numbers(literal: Literal) -> np.ndarray:
    return to_fractions(literal.codes, literal.fraction)


def fixed_at(t: TensorType, at: tuple[int, ...]) -> Fixed:
    return Fixed(bool(t.signed[at]), int(t.integer[at]), int(t.fraction[at]))


def result(op: ops.Op, xs: list[np.ndarray]) -> np.ndarray:
    """The result of ``op`` on one event."""
    x = xs[0] if xs else np.empty(())
    match op:
        case ops.Constant(value):
            return numbers(value)
        case ops.Quantize(t, rounding, overflow):
            return each(x.shape, lambda at: quantized(x[at], fixed_at(t, at), rounding, overflow))
        case ops.Add():
            return pairs(xs, lambda a, b: a + b)
        case ops.Sub():
            return pairs(xs, lambda a, b: a - b)
        case ops.Mul():
            return pairs(xs, lambda a, b: a * b)
        case ops.Relu():
            return each(x.shape, lambda at: max(x[at], ZERO))
        case ops.Compare(relation):
            holds = {
                ops.Relation.GT: lambda a, b: a > b,
                ops.Relation.GE: lambda a, b: a >= b,
                ops.Relation.EQ: lambda a, b: a == b,
            }[relation]
            return pairs(xs, lambda a, b: Fraction(int(holds(a, b))))
        case ops.Table():
            return each(x.shape, lambda at: looked_up(op, x[at], at))
        case linear.Dense(kernel, bias):
            return dense(x, kernel, bias)
        case linear.Conv():
            return conv(op, x)
        case linear.SumPool(window, strides, padding):
            return pool(x, window, strides, padding, sum)
        case linear.MaxPool(window, strides, padding):
            return pool(x, window, strides, padding, max)
        case linear.GlobalSum(axes):
            total = x
            for axis in sorted(axes, reverse=True):
                total = np.add.reduce(total, axis=axis)
            return np.asarray(total, dtype=object)
        case linear.ArgMax():
            return each(x.shape[:-1], lambda at: Fraction(list(x[at]).index(max(x[at]))))
        case moves.Reshape(shape):
            return np.array(list(x.flat), dtype=object).reshape(shape)
        case moves.Transpose(order):
            shape = tuple(x.shape[axis] for axis in order)
            return each(shape, lambda at: x[tuple(at[order.index(n)] for n in range(x.ndim))])
        case moves.Pad(padding):
            shape = tuple(n + sum(p) for n, p in zip(x.shape, padding, strict=True))
            return each(shape, lambda at: inside(x, at, padding))
        case moves.Crop(cropping):
            shape = tuple(n - sum(c) for n, c in zip(x.shape, cropping, strict=True))
            return each(
                shape, lambda at: x[tuple(n + c[0] for n, c in zip(at, cropping, strict=True))]
            )
        case moves.Concat(axis):
            parts = [part for x in xs for part in np.moveaxis(x, axis, 0)]
            return np.moveaxis(np.array(parts, dtype=object), 0, axis)
        case _:
            raise AssertionError(f"The reference has no {type(op).__name__}; write it.")


def each(shape, make) -> np.ndarray:
    found = np.empty(shape, dtype=object)
    for at in np.ndindex(*shape):
        found[at] = make(at)
    return found


def pairs(xs: list[np.ndarray], make) -> np.ndarray:
    a, b = np.broadcast_arrays(*xs)
    return each(a.shape, lambda at: make(a[at], b[at]))


def inside(x: np.ndarray, at, padding) -> Fraction:
    at = tuple(n - p[0] for n, p in zip(at, padding, strict=True))
    if any(n < 0 or n >= length for n, length in zip(at, x.shape, strict=True)):
        return ZERO
    return x[at]


def looked_up(op: ops.Table, x: Fraction, at) -> Fraction:
    row = int(op.select.codes[at]) if op.select is not None else 0
    place = x * Fraction(2) ** op.fraction - op.first
    assert place.denominator == 1
    assert place >= 0
    return numbers(op.values)[row, int(place)]


def dense(x: np.ndarray, kernel: Literal, bias: Literal | None) -> np.ndarray:
    w = numbers(kernel)
    b = numbers(bias) if bias is not None else np.full(w.shape[-1], ZERO)
    return each(
        (*x.shape[:-1], w.shape[1]),
        lambda at: sum((x[(*at[:-1], i)] * w[i, at[-1]] for i in range(w.shape[0])), b[at[-1]]),
    )


def positions(image, window, strides, padding):
    """Places of the image under each window, None in the padding: dict of position to list."""
    counts = [
        (n + sum(p) - w) // s + 1
        for n, w, s, p in zip(image, window, strides, padding, strict=True)
    ]
    found = {}
    for position in product(*map(range, counts)):
        seen = []
        for offset in product(*map(range, window)):
            at = tuple(
                n * s + o - p[0]
                for n, s, o, p in zip(position, strides, offset, padding, strict=True)
            )
            ok = all(0 <= n < length for n, length in zip(at, image, strict=True))
            seen.append((offset, at if ok else None))
        found[position] = seen
    return counts, found


def conv(op: linear.Conv, x: np.ndarray) -> np.ndarray:
    w = numbers(op.kernel)
    channels_in, channels_out = w.shape[-2:]
    counts, seen = positions(x.shape[:-1], w.shape[:-2], op.strides, op.padding)

    def one(at) -> Fraction:
        out = at[-1]
        group = out // (channels_out // op.groups)
        total = numbers(op.bias)[out] if op.bias is not None else ZERO
        for offset, pixel in seen[at[:-1]]:
            if pixel is not None:
                for c in range(channels_in):
                    total += w[(*offset, c, out)] * x[(*pixel, group * channels_in + c)]
        return total

    return each((*counts, channels_out), one)


def pool(x: np.ndarray, window, strides, padding, take) -> np.ndarray:
    counts, seen = positions(x.shape[:-1], window, strides, padding)
    return each(
        (*counts, x.shape[-1]),
        lambda at: take(x[(*pixel, at[-1])] for _, pixel in seen[at[:-1]] if pixel is not None),
    )
