"""The verifier: checks a Graph against its contract and trusts nothing that is written in it."""

from __future__ import annotations

from collections.abc import Sequence

from hairtrigger.errors import GraphError
from hairtrigger.graph.graph import Graph, Node, check_operands, check_update
from hairtrigger.graph.ops import Input, State


def verify(graph: Graph) -> None:
    """Raise `GraphError`, naming the first node that breaks a rule.

    Rules: operands come first and are as many as the op takes; every type is what the op infers
    from its operands' types; inputs, outputs and registers have distinct names; there is an
    output; each register takes one next value, which has its type.
    """
    for place in range(len(graph.nodes)):
        verify_node(graph.nodes, place)
    verify_border(graph)


def verify_node(nodes: Sequence[Node], place: int) -> None:
    """The rules for one node, given those before it."""
    node = nodes[place]
    check_operands(node.op, node.operands, place)
    where = f"%{place} {type(node.op).__name__} {node.label!r}"
    try:
        inferred = node.op.infer([nodes[n].type for n in node.operands])
    except GraphError as error:
        raise GraphError(f"{where}: {error.problem}", error.fix) from None
    if inferred != node.type:
        raise GraphError(
            f"{where} claims a type that its operands do not give it.",
            "Build Graphs with Builder, which infers every type.",
        )


def verify_border(graph: Graph) -> None:
    """The rules for inputs, outputs and registers."""
    names = [node.op.name for node in graph.nodes if isinstance(node.op, Input)]
    _distinct("Input", names)
    _distinct("Output", list(graph.output_names))
    if not graph.outputs or len(graph.outputs) != len(graph.output_names):
        raise GraphError(
            f"A Graph with {len(graph.outputs)} outputs and {len(graph.output_names)} names.",
            "Give at least one output, each with a name.",
        )
    for place in graph.outputs:
        if not 0 <= place < len(graph.nodes):
            raise GraphError(f"Output %{place} does not exist: there are {len(graph.nodes)} nodes.")
    _verify_updates(graph)


def _verify_updates(graph: Graph) -> None:
    """Exactly one update for each State, in their order, with a value of its type."""
    states = {n: node.op for n, node in enumerate(graph.nodes) if isinstance(node.op, State)}
    _distinct("State", [op.name for op in states.values()])
    for state, place in graph.updates:
        check_update(graph.nodes, state, place)
    given = [state for state, _ in graph.updates]
    for n, op in states.items():
        if given.count(n) != 1:
            raise GraphError(
                f"State {op.name!r} at %{n} has {given.count(n)} updates.",
                "Give each State exactly one next value.",
            )
    if given != sorted(given):
        raise GraphError(
            f"Updates of the States {given} are out of order.", "Put them in the States' order."
        )


def _distinct(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise GraphError(f"{what} name {name!r} is used twice.", "Rename one of them.")
