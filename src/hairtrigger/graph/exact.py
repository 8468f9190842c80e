"""Does floating point carry a Graph exactly? Every sum is bounded, in units of its own LSB.

A float with ``p`` bits of mantissa holds every whole multiple of an LSB up to ``2**p`` of them
(float32: 24, float64: 53). Scaling by a power of two changes nothing in that, so it does not
matter whether an engine works on real values or on codes; the bounds here hold for both. They
hold for any order of a sum and for the rewritings that inference engines do: biases, rounding
constants and chains of additions and constant factors folded into the sum before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hairtrigger.fixed import IntArray, Overflow, Rounding
from hairtrigger.graph.graph import Graph, Node
from hairtrigger.graph.linear import Conv, Dense, GlobalSum, SumPool, window_index
from hairtrigger.graph.moves import Concat, Move
from hairtrigger.graph.ops import Add, Constant, Input, Mul, Quantize, Relu, Sub
from hairtrigger.graph.types import Literal, Range

FloatArray = NDArray[np.float64]

_COARSEST = -(1 << 20)
"""Stands for the LSB of something that is always zero."""


@dataclass(frozen=True)
class FloatFormat:
    """What a binary floating-point format can carry.

    ``most``: whole numbers up to this are exact; ``exponent``: LSBs from ``2**-exponent`` and
    values to ``2**exponent`` leave room for every scaled product on the way.
    """

    name: str
    most: int
    exponent: int


# Bounds are computed in float64 themselves: below 2**53, not at it, they are exact.
FLOAT32 = FloatFormat("float32", 1 << 24, 40)
FLOAT64 = FloatFormat("float64", (1 << 53) - 1, 300)


@dataclass(frozen=True)
class Exactness:
    """Whether ``format`` carries a Graph exactly, and why not.

    ``reasons`` names each node that it does not carry and that an output needs; ``sums`` holds for
    each node the largest intermediate result, partial sums in any order included, in units of its
    LSB.
    """

    exact: bool
    reasons: tuple[str, ...]
    sums: tuple[float, ...]
    format: FloatFormat

    @property
    def worst(self) -> float:
        """The largest of ``sums``."""
        return max(self.sums, default=0.0)


def fp32_exact(graph: Graph) -> Exactness:
    """The 2**24 rule: is every intermediate float32 of the Graph exact?"""
    return float_exact(graph, FLOAT32)


def fp64_exact(graph: Graph) -> Exactness:
    """The same for float64 and 2**53."""
    return float_exact(graph, FLOAT64)


@lru_cache(maxsize=16)
def float_exact(graph: Graph, carrier: FloatFormat) -> Exactness:
    """Whether ``carrier`` holds every intermediate result of the Graph exactly; see `Exactness`."""
    reasons: list[str] = []
    sums: list[float] = []
    sizes: list[_Size] = []
    ranges = intervals(graph)
    needed = live(graph)
    for place, node in enumerate(graph.nodes):
        seen = [ranges[n] for n in node.operands]
        size = _measure(node, seen, [sizes[n] for n in node.operands], ranges[place])
        sizes.append(size)
        inside = _inside_quantize(graph, node, sizes, seen)
        worst = max(size.worst, inside.worst)
        sums.append(worst)
        if place not in needed:
            continue
        label = f" {node.label!r}" if node.label else ""
        where = f"%{place} {type(node.op).__name__}{label}"
        if worst > carrier.most:
            reasons.append(
                f"{where}: an intermediate result may reach {worst:,.0f} LSB; "
                f"{carrier.name} is exact to {carrier.most:,}."
            )
        if not _fits(node, (size, inside), carrier.exponent):
            reasons.append(
                f"{where}: values or LSBs lie outside 2**-{carrier.exponent} to "
                f"2**{carrier.exponent}, which {carrier.name} needs to scale without overflow."
            )
    return Exactness(not reasons, tuple(reasons), tuple(sums), carrier)


def live(graph: Graph) -> frozenset[int]:
    """Places of the nodes that an output depends on, in this step or in a later one."""
    found = set(graph.outputs)
    waiting = list(found)
    after = dict(graph.updates)
    while waiting:
        place = waiting.pop()
        read = {*graph.nodes[place].operands, *({after[place]} if place in after else ())}
        waiting += read - found
        found |= read
    return frozenset(found)


def intervals(graph: Graph) -> tuple[Range, ...]:
    """The codes that each node can reach, followed through the Graph: tighter than its types."""
    ranges: list[Range] = []
    for node in graph.nodes:
        if isinstance(node.op, Input):
            ranges.append(node.type.range())
        else:
            ranges.append(node.op.bounds([ranges[n] for n in node.operands]))
    return tuple(ranges)


@dataclass(frozen=True)
class _Size:
    """For each element: the sum of the sizes of its terms, and the finest LSB of a term.

    ``total``: a real number; ``fraction``: the LSB is ``2**-fraction``.
    """

    total: FloatArray
    fraction: IntArray

    @property
    def worst(self) -> float:
        """The largest total in units of its LSB."""
        units = np.where(self.total > 0, self.fraction, 0)
        return float(np.ldexp(self.total, units).max(initial=0.0))


def _largest(x: Range) -> _Size:
    """Each element as one term: its largest magnitude."""
    code = np.maximum(np.abs(x.low), np.abs(x.high)).astype(np.float64)
    fraction = np.where(x.alive, x.fraction, _COARSEST)
    return _Size(np.ldexp(code, np.where(x.alive, -x.fraction, 0)), fraction)


def _literal(value: Literal) -> _Size:
    fraction = np.where(value.codes != 0, value.fractions, _COARSEST)
    size = np.ldexp(np.abs(value.codes).astype(np.float64), -value.fraction)
    return _Size(size, fraction)


def _measure(node: Node, seen: Sequence[Range], operands: Sequence[_Size], result: Range) -> _Size:
    """Terms of a node's result. Additions and constant factors keep those of their operands,
    because an engine may fold them into the sum that comes before."""
    match node.op:
        case Dense(kernel, bias):
            return _product(_largest(seen[0]), kernel, bias)
        case Conv():
            return _convolution(node.op, _largest(seen[0]), result.shape)
        case SumPool():
            x = _windows(node.op, _largest(seen[0]))
            return _Size(x.total.sum(axis=-2), x.fraction.max(axis=-2))
        case GlobalSum(axes):
            x = _largest(seen[0])
            return _Size(x.total.sum(axis=axes), x.fraction.max(axis=axes, initial=_COARSEST))
        case Add() | Sub():
            a, b = operands
            return _Size(a.total + b.total, np.maximum(a.fraction, b.fraction))
        case Mul():
            # An engine can fold a factor only where it is constant.
            constant = any(bool((x.low == x.high).all()) for x in seen)
            a, b = operands if constant else (_largest(x) for x in seen)
            return _Size(a.total * b.total, np.maximum(a.fraction + b.fraction, _COARSEST))
        case Move():
            (x,) = operands
            shape = x.total.shape
            total = node.op.move(x.total[None], shape)[0]
            return _Size(total, node.op.move(x.fraction[None], shape)[0])
        case Concat(axis):
            total = np.concatenate([x.total for x in operands], axis=axis)
            return _Size(total, np.concatenate([x.fraction for x in operands], axis=axis))
        case _:
            return _largest(result)


def _product(x: _Size, kernel: Literal, bias: Literal | None) -> _Size:
    """Terms of ``x @ kernel + bias`` over the last axis."""
    w = _literal(kernel)
    total = x.total @ w.total
    finest = [
        (x.fraction + w.fraction[:, j]).max(axis=-1, initial=2 * _COARSEST)
        for j in range(kernel.shape[-1])
    ]
    fraction = np.stack(finest, axis=-1).reshape(total.shape)
    if bias is not None:
        b = _literal(bias)
        total, fraction = total + b.total, np.maximum(fraction, b.fraction)
    return _Size(total, np.maximum(fraction, _COARSEST))


def _convolution(op: Conv, x: _Size, shape: tuple[int, ...]) -> _Size:
    windows = _windows(op, x)
    channels = x.total.shape[-1] // op.groups
    parts: list[_Size] = []
    for group in range(op.groups):
        own = slice(group * channels, (group + 1) * channels)
        total, fraction = windows.total[..., own], windows.fraction[..., own]
        flat = (*total.shape[:-2], -1)
        part = _Size(total.reshape(flat), fraction.reshape(flat))
        parts.append(_product(part, *op.group_weights(group)))
    return _Size(
        np.concatenate([p.total for p in parts], axis=-1).reshape(shape),
        np.concatenate([p.fraction for p in parts], axis=-1).reshape(shape),
    )


def _windows(op: Conv | SumPool, x: _Size) -> _Size:
    """What each window sees: (*positions, window, channels), nothing in the padding."""
    index = window_index(x.total.shape[:-1], op.window, op.strides, op.padding)
    channels = x.total.shape[-1]
    total = np.concatenate([x.total.reshape(-1, channels), np.zeros((1, channels))])
    nothing = np.full((1, channels), _COARSEST)
    fraction = np.concatenate([x.fraction.reshape(-1, channels), nothing])
    return _Size(total[index], fraction[index])


def adds_half(rounding: Rounding) -> bool:
    """Whether a rounding adds or takes half an LSB before it drops bits."""
    # RND_CONV is an operator of its own in every engine, but it may be made by adding half too.
    return rounding not in (Rounding.TRN, Rounding.TRN_ZERO)


def _inside_quantize(
    graph: Graph, node: Node, sizes: Sequence[_Size], seen: Sequence[Range]
) -> _Size:
    """Terms inside a Quantize: ``x + LSB/2`` before rounding, ``r + period/2`` before wrapping."""
    op = node.op
    if not isinstance(op, Quantize):
        return _Size(np.zeros(()), np.zeros((), dtype=np.int64))
    t, operand = op.type, graph.nodes[node.operands[0]].type
    source = node.operands[0]
    while isinstance(graph.nodes[source].op, Relu):  # half an LSB may be added before the ReLU
        (source,) = graph.nodes[source].operands
    x = sizes[source]
    alive = t.width > 0
    rounds = alive & (operand.fraction > t.fraction)
    total, fraction = x.total, x.fraction
    # Folding (WRAP_SM) looks at the value rounded to nearest, whatever the rounding.
    if adds_half(op.rounding) or op.overflow is Overflow.WRAP_SM:
        half = np.where(rounds, np.ldexp(1.0, -t.fraction - 1), 0.0)
        total = total + half
        fraction = np.maximum(fraction, np.where(rounds, t.fraction + 1, _COARSEST))
    if op.overflow not in (Overflow.WRAP, Overflow.WRAP_SM):
        return _Size(total, fraction)
    # The rounded value, one LSB further out at most, and up to a whole period.
    rounded = _largest(seen[0]).total + np.where(rounds, np.ldexp(1.0, -t.fraction), 0.0)
    period = np.where(alive, np.ldexp(1.0, t.signed + t.integer), 0.0)
    unit = np.where(rounds, t.fraction, x.fraction)
    unit = np.maximum(unit, np.where(alive, -t.integer, _COARSEST))
    # Inverting a folded code (WRAP_SM) takes one LSB more.
    if op.overflow is Overflow.WRAP_SM:
        unit = np.maximum(unit, np.where(alive, t.fraction, _COARSEST))
    wrapping = rounded + period
    wider = np.ldexp(wrapping, np.where(wrapping > 0, unit, 0)) > np.ldexp(
        total, np.where(total > 0, fraction, 0)
    )
    return _Size(np.where(wider, wrapping, total), np.where(wider, unit, fraction))


def _fits(node: Node, sizes: Sequence[_Size], exponent: int) -> bool:
    """Whether every LSB and value of a node lies within ``2**-exponent`` to ``2**exponent``."""
    literals = [value for value in vars(node.op).values() if isinstance(value, Literal)]
    every = [*sizes, *map(_literal, literals)]
    if isinstance(node.op, (Input, Quantize)):
        every.append(_Size(np.zeros(node.type.shape), node.type.fraction))
    if isinstance(node.op, Constant):
        every.append(_literal(node.op.value))
    return all(
        bool((s.total <= 2.0**exponent).all())
        and bool((np.where(s.fraction > _COARSEST // 2, np.abs(s.fraction), 0) <= exponent).all())
        for s in every
    )
