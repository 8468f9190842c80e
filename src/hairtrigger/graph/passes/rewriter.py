"""What the passes share: making a Graph anew, node by node, without inferring what is known."""

from __future__ import annotations

from dataclasses import replace

from hairtrigger.graph.graph import Graph, Node
from hairtrigger.graph.ops import Op, Quantize
from hairtrigger.graph.types import TensorType


class Rewriter:
    """Walk the nodes of ``graph`` in order and call `keep`, `add` or `stand_for` for each.

    ``nodes``: the new nodes so far; ``place``: for each old place visited, the new one. ``pinned``:
    old places of the values that registers take next; where one gets another type, `finish` puts a
    Quantize behind it, so a pass should not change the type of one that is a Quantize already.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.place: list[int] = []
        self.pinned = frozenset(after for _, after in graph.updates)

    def operands(self, node: Node) -> tuple[int, ...]:
        """New places of the operands of an old node."""
        return tuple(self.place[n] for n in node.operands)

    def types(self, places: tuple[int, ...]) -> list[TensorType]:
        """Types of new nodes."""
        return [self.nodes[n].type for n in places]

    def infer(self, node: Node) -> TensorType:
        """Type of an old node with its new operands; worked out only if their types changed."""
        types = self.types(self.operands(node))
        if all(a == self.graph.nodes[n].type for a, n in zip(types, node.operands, strict=True)):
            return node.type
        return node.op.infer(types)

    def keep(self, node: Node) -> int:
        """The old node with its new operands."""
        operands, inferred = self.operands(node), self.infer(node)
        same = operands == node.operands and inferred is node.type
        return self._append(node if same else replace(node, operands=operands, type=inferred))

    def add(self, op: Op, operands: tuple[int, ...], label: str) -> int:
        """Another op, with new operands, in the place of an old node. Raises `GraphError`."""
        return self._append(Node(op, operands, op.infer(self.types(operands)), label))

    def stand_for(self, node: Node, place: int) -> int:
        """The new node at ``place`` stands for ``node`` too, and takes its label if it has none."""
        if node.label and not self.nodes[place].label:
            self.nodes[place] = replace(self.nodes[place], label=node.label)
        self.place.append(place)
        return place

    def finish(self) -> Graph:
        """The new Graph; values of registers have their types again."""
        outputs = tuple(self.place[n] for n in self.graph.outputs)
        updates = tuple((self.place[a], self._typed_as(b, a)) for a, b in self.graph.updates)
        return replace(self.graph, nodes=tuple(self.nodes), outputs=outputs, updates=updates)

    def _typed_as(self, old: int, state: int) -> int:
        """The new place of an old node's value in the type of the register at an old place."""
        place, t = self.place[old], self.graph.nodes[state].type
        if self.nodes[place].type == t:
            return place
        found = Node(Quantize(t), (place,), t)  # every value fits, so nothing is rounded or wraps
        if found not in self.nodes:
            self.nodes.append(found)
        return self.nodes.index(found)

    def _append(self, node: Node) -> int:
        self.nodes.append(node)
        self.place.append(len(self.nodes) - 1)
        return self.place[-1]


def has_one_reader(graph: Graph, place: int) -> bool:
    """Is the node at ``place`` read by one other node, once, and by no output or register?"""
    return len(graph.users[place]) == 1 and place not in graph.roots
