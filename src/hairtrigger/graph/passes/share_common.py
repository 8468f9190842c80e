"""Common subexpressions are worked out once."""

from __future__ import annotations

from hairtrigger.graph.graph import Graph
from hairtrigger.graph.ops import Op
from hairtrigger.graph.passes.rewriter import Rewriter


def share_common(graph: Graph) -> Graph:
    """One node for all that have equal op, equal attributes and the same operands in order.

    Only Quantize loses information and its format is an attribute, so equal means equal value;
    two ReLUs on one wire that are quantised differently stay two values.
    """
    new = Rewriter(graph)
    seen: dict[tuple[Op, tuple[int, ...]], int] = {}
    for node in graph.nodes:
        key = (node.op, new.operands(node))
        if key in seen:
            new.stand_for(node, seen[key])
        else:
            seen[key] = new.keep(node)
    return new.finish()
