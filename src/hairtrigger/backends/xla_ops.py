"""Each op of the Graph in jax.numpy, on integer codes: the emulator's arithmetic, traced once.

Everything is a whole number in int32 or int64, so no compiler can round. Products of matrices go
through float32 or float64 where a bound says that every partial sum is a whole number that the
format holds; at precision HIGHEST no device takes TF32 or bfloat16 for them. Convolutions are
products over gathered windows: nothing can turn them into Winograd or FFT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hairtrigger.fixed import HGQ2_FOLDS, IntArray, Overflow, Rounding
from hairtrigger.graph import linear, moves, ops
from hairtrigger.graph.exact import FLOAT32, FLOAT64
from hairtrigger.graph.graph import Graph, Node
from hairtrigger.graph.linear import window_index
from hairtrigger.graph.ops import Relation
from hairtrigger.graph.types import Literal, Range, TensorType

Traced = Any
"""A JAX array: codes (events, *shape), or (1, *shape) for what no input changes."""


@dataclass(frozen=True)
class Word:
    """The integers that codes are held in, and the float that products may go through."""

    bits: int

    @property
    def dtype(self) -> Any:
        return np.int32 if self.bits == 32 else np.int64

    def lay(self, codes: Any) -> Any:
        """Whole numbers of this word as a constant."""
        return np.asarray(codes).astype(self.dtype)


def needed_bits(graph: Graph, place: int, ranges: Sequence[Range]) -> int:
    """Bits of a word, sign included, in which no intermediate result of a node overflows."""
    node = graph.nodes[place]
    types = [graph.nodes[n].type for n in node.operands]
    largest = [_largest(ranges[n], t) for n, t in zip(node.operands, types, strict=True)]
    most = [2.0 ** max(0, node.type.span)]
    match node.op:
        case ops.Quantize(type=t):
            (x,) = types
            drop = x.lsb - np.where(t.width > 0, t.fraction, x.lsb)
            up = max(0, int(-drop.min(initial=0)))
            # One bit for a rounding carry and one for twice the code, which folding looks at.
            most += [2.0 ** (x.span + up + 2), 2.0 ** (int(drop.max(initial=0)) + 1)]
            most.append(2.0 ** (int(t.width.max(initial=0)) + 1))
        case ops.Add() | ops.Sub() | ops.Compare():
            lsb = max(t.lsb for t in types)
            most.append(sum(n * 2.0 ** (lsb - t.lsb) for n, t in zip(largest, types, strict=True)))
        case ops.Mul():
            most.append(largest[0] * largest[1])
        case ops.Table(values=values, first=first, fraction=fraction):
            most += [largest[0] * 2.0 ** max(0, fraction - types[0].lsb), float(abs(first))]
            most += [float(values.codes.size), float(np.abs(values.codes).max(initial=0))]
            most.append(most[-1] * 2.0 ** max(0, node.type.lsb - values.fraction))
        case linear.Dense(kernel, bias) | linear.Conv(kernel, bias):
            most.append(_product_reach(largest[0], kernel, bias, types[0]))
        case linear.SumPool(window=window):
            most.append(largest[0] * float(np.prod(window)))
        case linear.GlobalSum(axes=axes):
            most.append(largest[0] * float(np.prod([types[0].shape[a] for a in axes])))
        case ops.Constant(value=value):
            most.append(float(np.abs(value.at(node.type.lsb)).max(initial=0)))
        case _:
            pass
    return int(np.floor(np.log2(max(most)))) + 2


def _largest(x: Range, t: TensorType) -> float:
    """The largest code of an operand, in units of its type's LSB."""
    low, high = x.at(t.lsb)
    return float(max(abs(int(low.min(initial=0))), abs(int(high.max(initial=0)))))


def _column_reach(largest: float, kernel: Literal) -> float:
    """The largest partial sum of products, in any order."""
    columns = np.abs(kernel.codes.astype(np.float64)).reshape(-1, kernel.shape[-1])
    return largest * float(columns.sum(axis=0).max(initial=0))


def _product_reach(
    largest: float, kernel: Literal, bias: Literal | None, operand: TensorType
) -> float:
    lsb = operand.lsb + kernel.fraction
    fine = lsb if bias is None else max(lsb, bias.fraction)
    reach = _column_reach(largest, kernel) * 2.0 ** (fine - lsb)
    if bias is not None:
        reach += float(np.abs(bias.codes).max(initial=0)) * 2.0 ** (fine - bias.fraction)
    return reach


def trace(
    graph: Graph, needed: frozenset[int], ranges: Sequence[Range], word: Word, codes: Sequence[Any]
) -> list[Traced]:
    """The outputs' codes for the inputs', as JAX traces them."""
    import jax.numpy as jnp

    events = codes[0].shape[0]
    given = dict(zip(graph.inputs, codes, strict=True))
    values: dict[int, Traced] = {}
    for place, node in enumerate(graph.nodes):
        if place not in needed:
            continue
        if place in given:
            values[place] = given[place]
            continue
        types = [graph.nodes[n].type for n in node.operands]
        operands = [values[n] for n in node.operands]
        largest = [_largest(ranges[n], t) for n, t in zip(node.operands, types, strict=True)]
        values[place] = _node(word, node, operands, types, largest)
    outs = (values[n] for n in graph.outputs)
    return [jnp.broadcast_to(y, (events, *y.shape[1:])) for y in outs]


def _node(
    word: Word, node: Node, x: list[Traced], types: list[TensorType], largest: list[float]
) -> Traced:
    import jax.numpy as jnp

    out = node.type
    match node.op:
        case ops.Constant(value=value):
            return jnp.asarray(word.lay(value.at(out.lsb)[None]))
        case ops.Quantize():
            return quantize(word, node.op, x[0], types[0])
        case ops.Add() | ops.Sub() | ops.Compare():
            lsb = max(t.lsb for t in types)
            a, b = (shift(word, v, lsb - t.lsb) for v, t in zip(x, types, strict=True))
            if isinstance(node.op, ops.Compare):
                compare = {Relation.GT: a > b, Relation.GE: a >= b, Relation.EQ: a == b}
                return compare[node.op.relation].astype(word.dtype)
            total = a + b if isinstance(node.op, ops.Add) else a - b
            return shift(word, total, out.lsb - lsb)
        case ops.Mul():
            return shift(word, x[0] * x[1], out.lsb - types[0].lsb - types[1].lsb)
        case ops.Relu():
            return shift(word, jnp.maximum(x[0], 0), out.lsb - types[0].lsb)
        case ops.Table():
            return _table(word, node.op, x[0], types[0], out)
        case linear.Dense(kernel, bias):
            return _multiply(word, x[0], types[0], kernel, bias, out, largest[0])
        case linear.Conv():
            return _conv(word, node.op, x[0], types[0], out, largest[0])
        case linear.SumPool():
            seen = _windows(x[0], types[0], node.op, 0)
            total = seen.sum(axis=-2, dtype=word.dtype)
            return shift(word, total, out.lsb - types[0].lsb)
        case linear.MaxPool():
            seen = _windows(x[0], types[0], node.op, int(np.iinfo(word.dtype).min))
            return shift(word, seen.max(axis=-2), out.lsb - types[0].lsb)
        case linear.GlobalSum(axes):
            total = x[0].sum(axis=tuple(a + 1 for a in axes), dtype=word.dtype)
            return shift(word, total, out.lsb - types[0].lsb)
        case linear.ArgMax():
            return jnp.argmax(x[0], axis=-1).astype(word.dtype)
        case moves.Concat(axis):
            parts = [shift(word, v, out.lsb - t.lsb) for v, t in zip(x, types, strict=True)]
            events = next((v.shape[0] for v in parts if _varies(v)), 1)
            parts = [jnp.broadcast_to(v, (events, *v.shape[1:])) for v in parts]
            return jnp.concatenate(parts, axis=axis + 1)
        case moves.Move():
            return shift(word, _moved(node.op, x[0], types[0]), out.lsb - types[0].lsb)
        case _:
            raise AssertionError(f"{type(node.op).__name__} is refused by unsupported().")


def _moved(op: moves.Move, x: Traced, operand: TensorType) -> Traced:
    import jax.numpy as jnp

    match op:
        case moves.Reshape(shape):
            return x.reshape(x.shape[0], *shape)
        case moves.Transpose(order):
            return jnp.transpose(x, (0, *(a + 1 for a in order)))
        case moves.Pad(padding):
            return jnp.pad(x, ((0, 0), *padding))
        case moves.Crop(cropping):
            ends = zip(cropping, operand.shape, strict=True)
            return x[(slice(None), *(slice(a, n - b) for (a, b), n in ends))]
        case _:
            raise AssertionError(f"{type(op).__name__} is refused by unsupported().")


def _varies(x: Traced) -> bool:
    """Whether the number of events is not 1; it may be a symbol."""
    return not (isinstance(x.shape[0], int) and x.shape[0] == 1)


# --- shifts and rounding, as hairtrigger.fixed defines them --------------------------------------


def shift(word: Word, codes: Traced, left: Any) -> Traced:
    """``codes * 2**left``; right shifts drop bits (floor)."""
    import jax.numpy as jnp

    amount = np.asarray(left, dtype=np.int64)
    up, down = np.clip(amount, 0, word.bits - 1), np.clip(-amount, 0, word.bits - 1)
    if up.any():
        codes = jnp.left_shift(codes, word.lay(up))
    return jnp.right_shift(codes, word.lay(down)) if down.any() else codes


def _round(word: Word, codes: Traced, drop: IntArray, rounding: Rounding) -> Traced:
    import jax.numpy as jnp

    down = np.clip(drop, 0, word.bits - 2)
    half = word.lay(np.where(drop > 0, np.int64(1) << np.maximum(down - 1, 0), 0))
    less = np.maximum(half - 1, 0)
    negative = codes < 0
    match rounding:
        case Rounding.TRN:
            biased = codes
        case Rounding.TRN_ZERO:
            biased = codes + jnp.where(negative, word.lay((np.int64(1) << down) - 1), 0)
        case Rounding.RND:
            biased = codes + half
        case Rounding.RND_MIN_INF:
            biased = codes + less
        case Rounding.RND_INF:
            biased = codes + jnp.where(negative, less, half)
        case Rounding.RND_ZERO:
            biased = codes + jnp.where(negative, half, less)
        case Rounding.RND_CONV:
            odd = jnp.right_shift(codes, word.lay(down)) & 1
            biased = codes + less + jnp.where(half > 0, odd, 0)
    return shift(word, biased, -drop)


def _wrap(word: Word, codes: Traced, t: TensorType) -> Traced:
    import jax.numpy as jnp

    up = word.lay(np.clip(word.bits - t.width, 0, word.bits - 1))
    signed = jnp.right_shift(jnp.left_shift(codes, up), up)
    mask = word.lay((np.int64(1) << np.clip(t.width, 0, word.bits - 2)) - 1)
    return jnp.where(t.signed, signed, codes & mask)


def quantize(word: Word, op: ops.Quantize, codes: Traced, operand: TensorType) -> Traced:
    """Codes of ``operand`` brought into the formats of a Quantize."""
    import jax.numpy as jnp

    t = op.type
    alive = t.width > 0
    drop = np.where(alive, operand.lsb - t.fraction, 0)
    rounded = _round(word, codes, drop, op.rounding)
    high = (np.int64(1) << np.clip(t.integer + t.fraction, 0, 62)) - 1
    match op.overflow:
        case Overflow.WRAP:
            result = _wrap(word, rounded, t)
        case Overflow.SAT:
            low = np.where(t.signed, -high - 1, 0)
            result = jnp.clip(rounded, word.lay(low), word.lay(high))
        case Overflow.SAT_SYM:
            low = np.where(t.signed, -high, 0)
            result = jnp.clip(rounded, word.lay(low), word.lay(high))
        case Overflow.WRAP_SM:
            result = _fold(word, codes, drop, rounded, op)
    result = jnp.where(alive, result, 0) if not alive.all() else result
    return shift(word, result, np.where(alive, t.lsb - t.fraction, 0))


def _fold(word: Word, codes: Traced, drop: IntArray, rounded: Traced, op: ops.Quantize) -> Traced:
    """WRAP_SM; see `hairtrigger.fixed`."""
    import jax.numpy as jnp

    bits = np.clip(op.type.width, 1, word.bits - 2)
    wrapped = _wrap(word, rounded, op.type)

    def bit(x: Traced, place: IntArray) -> Traced:
        return jnp.right_shift(x, word.lay(place)) & 1

    if op.rounding not in HGQ2_FOLDS:
        odd = bit(rounded, bits) ^ bit(rounded, bits - 1)
        return jnp.where(odd == 1, -wrapped - 1, wrapped)
    nearest = _round(word, codes, drop, Rounding.RND)
    lsb = word.lay(np.int64(1) << np.clip(drop, 0, word.bits - 2))
    beyond = jnp.where(drop < 0, codes != 0, jnp.abs(codes) * 2 > lsb)
    first = bit(shift(word, codes, -drop), bits) * beyond
    return jnp.where(first != bit(nearest, bits - 1), -wrapped - 1, wrapped)


# --- tables, products, windows -------------------------------------------------------------------


def _table(word: Word, op: ops.Table, x: Traced, operand: TensorType, out: TensorType) -> Traced:
    import jax.numpy as jnp

    start = np.asarray(-op.first)
    if op.select is not None:
        start = op.select.codes * op.values.shape[1] - op.first
    index = shift(word, x, op.fraction - operand.lsb) + word.lay(start)
    entries = np.left_shift(op.values.codes, max(0, out.lsb - op.values.fraction))
    entries = np.right_shift(entries, max(0, op.values.fraction - out.lsb))
    return jnp.take(jnp.asarray(word.lay(entries.ravel())), index, mode="clip")


def _multiply(
    word: Word,
    x: Traced,
    operand: TensorType,
    kernel: Literal,
    bias: Literal | None,
    out: TensorType,
    largest: float,
) -> Traced:
    """``x @ kernel + bias`` over the last axis."""
    import jax
    import jax.numpy as jnp

    reach = _column_reach(largest, kernel)
    carrier: Any = word.dtype
    if reach < FLOAT32.most:
        carrier = np.float32
    elif word.bits == 64 and reach < FLOAT64.most:
        carrier = np.float64
    w = jnp.asarray(kernel.codes.astype(carrier))
    total = jnp.matmul(
        x.astype(carrier),
        w,
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=carrier,
    ).astype(word.dtype)
    lsb = operand.lsb + kernel.fraction
    if bias is not None:
        fine = max(lsb, bias.fraction)
        total = shift(word, total, fine - lsb) + word.lay(bias.at(fine))
        lsb = fine
    return shift(word, total, out.lsb - lsb)


def _windows(
    x: Traced, t: TensorType, op: linear.Conv | linear.SumPool | linear.MaxPool, outside: int
) -> Traced:
    """What each window sees: (events, *positions, window, channels)."""
    import jax.numpy as jnp

    *image, channels = t.shape
    index = window_index(tuple(image), op.window, op.strides, op.padding)
    pixels = int(np.prod(image))
    flat = x.reshape(x.shape[0], pixels, channels)
    if (index < 0).any():
        flat = jnp.pad(flat, ((0, 0), (0, 1), (0, 0)), constant_values=outside)
    index = np.where(index < 0, pixels, index).astype(np.int32)
    return jnp.take(flat, index, axis=1, mode="clip")


def _conv(
    word: Word, op: linear.Conv, x: Traced, operand: TensorType, out: TensorType, largest: float
) -> Traced:
    import jax.numpy as jnp

    seen = _windows(x, operand, op, 0)
    channels = operand.shape[-1] // op.groups
    parts: list[Traced] = []
    for group in range(op.groups):
        own = seen[..., group * channels : (group + 1) * channels]
        flat = own.reshape(*own.shape[:-2], own.shape[-2] * channels)
        weights = op.group_weights(group)
        parts.append(_multiply(word, flat, operand, *weights, out, largest))
    return jnp.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
