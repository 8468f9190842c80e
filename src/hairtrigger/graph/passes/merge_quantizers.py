"""Quantize nodes that change nothing go; two in a row become one where that gives the same."""

from __future__ import annotations

import numpy as np

from hairtrigger.errors import GraphError
from hairtrigger.fixed import IntArray, Overflow, Rounding
from hairtrigger.graph.graph import Graph, Node
from hairtrigger.graph.ops import Quantize
from hairtrigger.graph.passes.remove_dead import remove_dead
from hairtrigger.graph.passes.rewriter import Rewriter, has_one_reader
from hairtrigger.graph.types import Range

_SATURATES = (Overflow.SAT, Overflow.SAT_SYM)
_BLIND_TO_SIGN = (Rounding.TRN, Rounding.RND, Rounding.RND_MIN_INF, Rounding.RND_CONV)
"""Roundings that commute with adding an even number of LSBs, and so with wrapping."""


def merge_quantizers(graph: Graph) -> Graph:
    """Remove and merge Quantize nodes where the operand's type proves that every value stays.

    Two are merged only if nothing else reads the first, so there are never more than before.
    """
    before, graph = None, remove_dead(graph)
    while graph != before:  # each round that changes anything leaves fewer nodes
        before, graph = graph, remove_dead(_one_round(graph))
    return graph


def _one_round(graph: Graph) -> Graph:
    new = Rewriter(graph)
    for place, node in enumerate(graph.nodes):
        if isinstance(node.op, Quantize):
            (operand,) = new.operands(node)
            before = new.nodes[operand].type
            # What a register takes next keeps the register's type.
            stays = place in new.pinned and before != node.type
            if not stays and changes_nothing(node.op, before.range()):
                new.stand_for(node, operand)
                continue
            if _merge_into(new, node):
                continue
        new.keep(node)
    return new.finish()


def _merge_into(new: Rewriter, node: Node) -> bool:
    """Put one Quantize in the place of ``node`` and of the one that it reads, if that is right."""
    (old,) = node.operands
    first = new.graph.nodes[old]
    if new.nodes[new.place[old]].op is not first.op or not has_one_reader(new.graph, old):
        return False
    if not isinstance(first.op, Quantize) or not isinstance(node.op, Quantize):
        return False
    operands = new.operands(first)
    merged = merged_quantize(new.nodes[operands[0]].type.range(), first.op, node.op)
    if merged is None:
        return False
    try:
        new.add(merged, operands, node.label or first.label)
    except GraphError:  # the intermediate value of the one would be too wide
        return False
    return True


def changes_nothing(op: Quantize, x: Range) -> bool:
    """Does every value of an operand in ``x`` pass ``op`` as it is?"""
    return not op.rounds(x).any() and not op.overflows(x).any()


def merged_quantize(x: Range, first: Quantize, then: Quantize) -> Quantize | None:
    """One Quantize that does to an operand in ``x`` what ``first`` and ``then`` do, or None."""
    # Elements that come in as zero or leave without bits are zero whatever happens.
    care = x.alive & (then.type.width > 0)
    between = first.bounds([x])
    first_rounds, then_rounds = care & first.rounds(x), care & then.rounds(between)
    first_clips, then_clips = care & first.overflows(x), care & then.overflows(between)
    one_clips = then if then_clips.any() or not first_clips.any() else first
    one_rounds = first if first_rounds.any() else then
    merged = Quantize(then.type, one_rounds.rounding, one_clips.overflow)

    if first_rounds.any() and then_rounds.any():
        drops = first.rounding is then.rounding is Rounding.TRN
        if not drops or (care & (then.type.fraction > first.type.fraction)).any():
            return None
    elif (first_rounds & (then.type.fraction != first.type.fraction)).any():
        return None  # the finer steps of ``then`` would keep more bits
    if merged.overflow is Overflow.WRAP_SM and (first_rounds.any() or first_clips.any()):
        return None  # it looks at values before rounding
    if (care & merged.overflows(x) & ~first_clips & ~then_clips).any():
        return None
    if not first_clips.any():
        return merged
    if first.overflow is merged.overflow is Overflow.WRAP:
        # The second must keep no bit above those that the first keeps, nor look at the sign.
        kept, left = (op.type.signed + op.type.integer for op in (first, then))
        blind = not then_rounds.any() or merged.rounding in _BLIND_TO_SIGN
        same = (left <= kept) & blind
    elif first.overflow in _SATURATES and merged.overflow in _SATURATES:
        # Where the first saturates, so must the one that stands for both.
        low, high = _ends(first)
        reached = then.bounds([Range(low, high, first.type.fraction)])
        lowest, highest = _ends(merged)
        same = (reached.low == lowest) & (reached.high == highest)
    else:
        return None
    return merged if same[first_clips].all() else None


def _ends(op: Quantize) -> tuple[IntArray, IntArray]:
    """Codes at which each element saturates."""
    full = op.type.range()
    symmetric = op.type.signed & (op.overflow is Overflow.SAT_SYM)
    return np.where(symmetric, -full.high, full.low), full.high
