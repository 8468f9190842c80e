"""Scales and shifts by constants go into the Dense or Conv before or after them.

That is what is left of batch normalisation and of scale layers: ``(x @ kernel + bias) * scale +
shift`` is ``x @ (kernel * scale) + (bias * scale + shift)``, exactly, since codes are integers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import GraphError
from hairtrigger.fixed import MAX_WIDTH
from hairtrigger.graph.graph import Graph, Node
from hairtrigger.graph.linear import Conv, Dense
from hairtrigger.graph.ops import Add, Constant, Mul, Sub
from hairtrigger.graph.passes.remove_dead import remove_dead
from hairtrigger.graph.passes.rewriter import Rewriter, has_one_reader
from hairtrigger.graph.types import Literal


def fuse_affine(graph: Graph) -> Graph:
    """Mul, Add and Sub with a Constant for each channel go into a Dense or Conv next to them.

    Only where nothing else reads what lies between. Before a Conv with padding only Mul, because
    the padded zeros are not shifted. What would need over 60 bits stays as it is.
    """
    before, graph = None, remove_dead(graph)
    while graph != before:  # each round that changes anything leaves fewer nodes
        before, graph = graph, remove_dead(_one_round(graph))
    return graph


def _one_round(graph: Graph) -> Graph:
    new = Rewriter(graph)
    for node in graph.nodes:
        if not (_fuse_after(new, node) or _fuse_before(new, node)):
            new.keep(node)
    return new.finish()


def _fuse_after(new: Rewriter, node: Node) -> bool:
    """Put ``affine(linear(x))`` into one linear op in the place of ``node``."""
    affine = _affine(new, node)
    if affine is None or not _untouched(new, affine.operand):
        return False
    linear = new.graph.nodes[affine.operand]
    if not isinstance(linear.op, Dense | Conv):
        return False
    try:
        op = replace(
            linear.op,
            kernel=_times(linear.op.kernel, affine.scale),
            bias=_plus(linear.op.bias and _times(linear.op.bias, affine.scale), affine.shift),
        )
        new.add(op, new.operands(linear), linear.label or node.label)
    except GraphError:
        return False
    return True


def _fuse_before(new: Rewriter, node: Node) -> bool:
    """Put ``linear(affine(x))`` into one linear op in the place of ``node``."""
    if not isinstance(node.op, Dense | Conv) or not _untouched(new, node.operands[0]):
        return False
    affine = _affine(new, new.graph.nodes[node.operands[0]])
    padded = isinstance(node.op, Conv) and any(map(any, node.op.padding))
    if affine is None or (padded and affine.shift is not None):
        return False
    try:
        shift = affine.shift and _times(node.op.kernel, _for_each_weight(node.op, affine.shift))
        op = replace(
            node.op,
            kernel=_times(node.op.kernel, _for_each_weight(node.op, affine.scale)),
            bias=_plus(node.op.bias, shift and _total(shift)),
        )
        label = node.label or new.graph.nodes[node.operands[0]].label
        new.add(op, (new.place[affine.operand],), label)
    except GraphError:
        return False
    return True


def _untouched(new: Rewriter, old: int) -> bool:
    """Is the node at an old place as it was, and read by one other alone?"""
    same = new.nodes[new.place[old]].op is new.graph.nodes[old].op
    return same and has_one_reader(new.graph, old)


@dataclass(frozen=True)
class _Affine:
    """``x * scale + shift`` for each channel, where ``x`` is the old node at ``operand``."""

    operand: int
    scale: Literal
    shift: Literal | None


def _affine(new: Rewriter, node: Node) -> _Affine | None:
    """An old node as an affine function, channel by channel; None where it is none."""
    if not isinstance(node.op, Mul | Add | Sub):
        return None
    a, b = (new.nodes[n] for n in new.operands(node))
    constant, x, operand = (b, a, 0) if isinstance(b.op, Constant) else (a, b, 1)
    if not isinstance(constant.op, Constant) or x.type.shape != node.type.shape or not x.type.shape:
        return None
    c = _for_each_channel(constant.op.value, x.type.shape[-1])
    if c is None:
        return None
    place, one = node.operands[operand], Literal(np.ones_like(c.codes), 0)
    match node.op:
        case Mul():
            return _Affine(place, c, None)
        case Add():
            return _Affine(place, one, c)
        case Sub():
            minus = Literal(-one.codes, 0)
            return (
                _Affine(place, one, Literal(-c.codes, c.fraction))
                if operand == 0
                else _Affine(place, minus, c)
            )


def _for_each_channel(value: Literal, channels: int) -> Literal | None:
    """One number for each channel, if ``value`` is the same at every position."""
    rows = value.codes.reshape(-1, value.shape[-1])
    if (rows != rows[0]).any():
        return None
    return Literal(np.broadcast_to(rows[0], (channels,)), value.fraction)


def _for_each_weight(op: Dense | Conv, value: Literal) -> Literal:
    """A number for each input channel as one for each (channel in, channel out) of the kernel."""
    groups = op.groups if isinstance(op, Conv) else 1
    by_group = value.codes.reshape(groups, -1).T
    return Literal(by_group.repeat(op.kernel.shape[-1] // groups, axis=1), value.fraction)


# --- exact arithmetic of constants, on Python integers, which do not overflow ---------------------


def _times(a: Literal, b: Literal) -> Literal:
    return _literal(a.codes.astype(object) * b.codes.astype(object), a.fraction + b.fraction)


def _plus(a: Literal | None, b: Literal | None) -> Literal | None:
    if a is None or b is None:
        return a or b
    lsb = max(a.fraction, b.fraction)
    left, right = (x.codes.astype(object) * (1 << (lsb - x.fraction)) for x in (a, b))
    return _literal(left + right, lsb)


def _total(a: Literal) -> Literal:
    """Sum over all axes but the last."""
    return _literal(a.codes.astype(object).reshape(-1, a.shape[-1]).sum(axis=0), a.fraction)


def _literal(codes: NDArray[Any], fraction: int) -> Literal:
    """Python integers as a Literal with the coarsest LSB. Raises `GraphError` over 60 bits."""
    used = int(np.bitwise_or.reduce(codes, axis=None))
    spare = (used & -used).bit_length() - 1 if used else 0
    codes = codes >> spare
    if max(abs(int(codes.min())), abs(int(codes.max()))) >> MAX_WIDTH:
        raise GraphError(f"A fused constant needs over {MAX_WIDTH} bits.")
    return Literal(codes.astype(np.int64), fraction - spare if used else 0)
