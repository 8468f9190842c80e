"""What is always the same becomes a Constant."""

from __future__ import annotations

from hairtrigger.graph.graph import Graph, Node
from hairtrigger.graph.ops import Compare, Constant, Input, State
from hairtrigger.graph.passes.remove_dead import remove_dead
from hairtrigger.graph.passes.rewriter import Rewriter
from hairtrigger.graph.types import Literal, Range


def fold_constants(graph: Graph) -> Graph:
    """Nodes that no input can change become Constants.

    Those are nodes whose operands are all Constants, elements of no bits, and comparisons that
    the operands' types (and the values of Constants) decide. What a register takes next stays, as
    its type is the register's.
    """
    before, graph = None, remove_dead(graph)
    while graph != before:  # a register that goes leaves what it would have taken to be folded
        before, graph = graph, remove_dead(_one_round(graph))
    return graph


def _one_round(graph: Graph) -> Graph:
    new = Rewriter(graph)
    for place, node in enumerate(graph.nodes):
        stays = place in new.pinned or isinstance(node.op, Input | State | Constant)
        value = None if stays else _value(new, node)
        if value is None:
            new.keep(node)
        else:
            new.add(Constant(value), (), node.label)
    return new.finish()


def _value(new: Rewriter, node: Node) -> Literal | None:
    """The one value of an old node with its new operands, or None where it has several."""
    operands = [new.nodes[n] for n in new.operands(node)]
    literals = [x.op.value for x in operands if isinstance(x.op, Constant)]
    out = new.infer(node)
    if len(literals) == len(operands):
        types = [x.type for x in operands]
        codes = [value.at(t.lsb)[None] for value, t in zip(literals, types, strict=True)]
        return Literal(node.op.evaluate(codes, types, out)[0], out.lsb)
    if out.bits == 0:
        return Literal(out.width, 0)
    if isinstance(node.op, Compare):
        reach = node.op.bounds([_range(x) for x in operands])
        if (reach.low == reach.high).all():
            return Literal(reach.low, 0)
    return None


def _range(node: Node) -> Range:
    return node.op.value.range() if isinstance(node.op, Constant) else node.type.range()
