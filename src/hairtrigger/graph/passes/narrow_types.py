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
    of two.
    """
    new = Rewriter(graph)
    reach: list[Range] = []
    for node in graph.nodes:
        operands = [reach[n] for n in node.operands]
        op = node.op
        if isinstance(op, Quantize):
            op = narrowed(op, operands[0])
        if op is node.op:
            new.keep(node)
        else:
            new.add(op, new.operands(node), node.label)
        reach.append(op.type.range() if isinstance(op, Input) else op.bounds(operands))
    return new.finish()


def narrowed(op: Quantize, x: Range) -> Quantize:
    """The narrowest Quantize that gives the same values for an operand in ``x``."""
    t = op.type
    rounds, overflows = op.rounds(x), op.overflows(x)
    if op.overflow is Overflow.WRAP_SM and overflows.any():
        return op  # it needs signed formats and counts periods of their width
    overflow = op.overflow if overflows.any() else Overflow.WRAP
    rounding = op.rounding if rounds.any() else Rounding.TRN
    # Steps finer than the operand's carry nothing, unless an end of the range lies between them.
    keep_steps = ~x.alive | (overflows & (overflow is not Overflow.WRAP))
    fraction = np.where(keep_steps, t.fraction, np.minimum(t.fraction, x.fraction))
    bounds = op.bounds([x])
    low, high = (np.right_shift(code, t.fraction - fraction) for code in (bounds.low, bounds.high))
    if overflow is Overflow.SAT_SYM:
        high = np.maximum(high, -low)  # its lowest code must stay inside
    cover = Range(low, high, fraction).cover()
    wraps = overflows & (overflow is Overflow.WRAP)
    found = TensorType(
        t.shape,
        np.where(wraps, t.signed, cover.signed),
        np.where(wraps, t.integer, cover.integer),
        np.where(wraps, fraction, cover.fraction),
    )
    if (found, rounding, overflow) == (op.type, op.rounding, op.overflow):
        return op
    return Quantize(found, rounding, overflow)
