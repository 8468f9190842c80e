"""Quantize nodes get the smallest format, and the cheapest modes, that the interval allows."""

from __future__ import annotations

import numpy as np

from hairtrigger.fixed import Overflow, Rounding
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.ops import Input, Quantize
from hairtrigger.graph.passes.rewriter import Rewriter
from hairtrigger.graph.types import Range, TensorType


def narrow_types(graph: Graph) -> Graph:
    """Narrow each Quantize to what its operand can reach, and use TRN and WRAP where nothing is
    rounded or overflows. The types of what follows are inferred again, and so get narrower too.

    Intervals go from the inputs forwards, so they are tighter than the types, which end at powers
    of two. A register may hold whatever its type does, and what it takes next keeps that type.
    """
    new = Rewriter(graph)
    reach: list[Range] = []
    for place, node in enumerate(graph.nodes):
        operands = [reach[n] for n in node.operands]
        op = node.op
        if isinstance(op, Quantize) and place not in new.pinned:
            op = narrowed(op, operands[0])
        if op is node.op:
            new.keep(node)
        else:
            new.add(op, new.operands(node), node.label)
        reach.append(op.type.range() if isinstance(op, Input) else op.bounds(operands))
    return new.finish()


def narrowed(op: Quantize, x: Range) -> Quantize:
    """The narrowest Quantize that gives the same values for an operand in ``x``."""
    t, bounds = op.type, op.bounds([x])
    # Steps finer than the operand's carry nothing, unless an end of the range lies between them.
    coarse = np.where(x.alive, np.minimum(t.fraction, x.fraction), t.fraction)
    lost = (op.overflow is Overflow.WRAP) & (t.signed + t.integer + coarse <= 0)
    zero = lost | ~bounds.alive
    rounds, overflows = op.rounds(x) & ~zero, op.overflows(x) & ~zero
    if op.overflow is Overflow.WRAP_SM and overflows.any():
        return op  # it needs signed formats and counts periods of their width
    overflow = op.overflow if overflows.any() else Overflow.WRAP
    rounding = op.rounding if rounds.any() else Rounding.TRN
    wraps = overflows & (overflow is Overflow.WRAP)
    fraction = np.where(overflows & ~wraps, t.fraction, coarse)
    low, high = (np.right_shift(code, t.fraction - fraction) for code in (bounds.low, bounds.high))
    if overflow is Overflow.SAT_SYM:
        high = np.maximum(high, -low)  # its lowest code must stay inside
    cover = Range(low, high, fraction).cover()
    found = TensorType(
        t.shape,
        np.where(wraps, t.signed, cover.signed) & ~zero,
        np.where(zero, 0, np.where(wraps, t.integer, cover.integer)),
        np.where(zero, 0, np.where(wraps, fraction, cover.fraction)),
    )
    if (found, rounding, overflow) == (op.type, op.rounding, op.overflow):
        return op
    return Quantize(found, rounding, overflow)
