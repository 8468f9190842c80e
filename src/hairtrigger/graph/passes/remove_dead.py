"""Dead nodes go."""

from __future__ import annotations

from dataclasses import replace

from hairtrigger.graph.exact import live
from hairtrigger.graph.graph import Graph, Node
from hairtrigger.graph.ops import Input


def remove_dead(graph: Graph) -> Graph:
    """Leave out nodes that no output depends on, in this step or in a later one.

    Inputs stay: they are the interface.
    """
    alive = live(graph)
    new: dict[int, int] = {}
    nodes: list[Node] = []
    for place, node in enumerate(graph.nodes):
        if place in alive or isinstance(node.op, Input):
            new[place] = len(nodes)
            operands = tuple(new[n] for n in node.operands)
            nodes.append(node if operands == node.operands else replace(node, operands=operands))
    return replace(
        graph,
        nodes=tuple(nodes),
        outputs=tuple(new[n] for n in graph.outputs),
        updates=tuple((new[a], new[b]) for a, b in graph.updates if a in new),
    )
