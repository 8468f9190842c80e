"""The Graph: a tuple of frozen nodes, operands first, and the builder that makes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hairtrigger.errors import GraphError
from hairtrigger.graph.ops import Input, Op
from hairtrigger.graph.types import TensorType

if TYPE_CHECKING:
    from hairtrigger.engines import Run


@dataclass(frozen=True)
class Node:
    """One op, the places of its operands, and the type of its result.

    ``label`` says where the node came from (a layer's name); it carries no meaning.
    """

    op: Op
    operands: tuple[int, ...]
    type: TensorType
    label: str = ""


@dataclass(frozen=True)
class Graph:
    """A tensor-level fixed-point program without backend, device or schedule.

    ``outputs``: places of the nodes whose values leave, named by ``output_names``.
    Build one with `Builder`; `hairtrigger.graph.verify` checks the contract.
    """

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    output_names: tuple[str, ...]

    @cached_property
    def inputs(self) -> tuple[int, ...]:
        """Places of the `Input` nodes, in order."""
        return tuple(n for n, node in enumerate(self.nodes) if isinstance(node.op, Input))

    @property
    def input_ops(self) -> tuple[Input, ...]:
        """The `Input` ops, in order."""
        return tuple(node.op for node in self.nodes if isinstance(node.op, Input))

    @property
    def output_types(self) -> tuple[TensorType, ...]:
        """Types of the outputs, in order."""
        return tuple(self.nodes[n].type for n in self.outputs)

    @cached_property
    def users(self) -> tuple[tuple[int, ...], ...]:
        """For each node the places of those that read it, once for each time they do."""
        found: list[list[int]] = [[] for _ in self.nodes]
        for place, node in enumerate(self.nodes):
            for operand in node.operands:
                found[operand].append(place)
        return tuple(tuple(places) for places in found)

    def __str__(self) -> str:
        from hairtrigger.graph.text import print_graph

        return print_graph(self)

    def run(self, inputs: Any, **options: Any) -> Run:
        """Run on real numbers with the fastest exact engine; see `hairtrigger.engines.run`."""
        # The one upward import: users look for run() on the Graph.
        from hairtrigger.engines import run

        return run(self, inputs, **options)


@dataclass
class Builder:
    """Makes a Graph node by node; types are inferred, so a built Graph is well typed.

    ``add`` returns the place of the new node, to be used as operand of later ones.
    """

    name: str = "graph"
    nodes: list[Node] = field(default_factory=list[Node])

    def add(self, op: Op, *operands: int, label: str = "") -> int:
        """Append a node. Raises `GraphError`, naming the op, where the operands do not fit."""
        check_operands(op, operands, len(self.nodes))
        try:
            inferred = op.infer([self.nodes[n].type for n in operands])
        except GraphError as error:
            where = f"{type(op).__name__} {label!r}" if label else type(op).__name__
            raise GraphError(f"{where}: {error.problem}", error.fix) from None
        self.nodes.append(Node(op, tuple(operands), inferred, label))
        return len(self.nodes) - 1

    def type(self, place: int) -> TensorType:
        """Type of a node made before."""
        return self.nodes[place].type

    def build(self, outputs: Mapping[str, int] | Sequence[int]) -> Graph:
        """The finished Graph. ``outputs``: places by name, or places named out0, out1, ..."""
        named = (
            dict(outputs)
            if isinstance(outputs, Mapping)
            else {f"out{n}": place for n, place in enumerate(outputs)}
        )
        graph = Graph(self.name, tuple(self.nodes), tuple(named.values()), tuple(named))
        from hairtrigger.graph.verify import verify

        verify(graph)
        return graph


def check_operands(op: Op, operands: Sequence[int], place: int) -> None:
    """Number and order of operands. Raises `GraphError`."""
    name = type(op).__name__
    if op.arity is None and not operands:
        raise GraphError(f"{name} needs at least one operand.")
    if op.arity is not None and len(operands) != op.arity:
        raise GraphError(f"{name} takes {op.arity} operands, not {len(operands)}.")
    for operand in operands:
        if not 0 <= operand < place:
            raise GraphError(
                f"{name} at %{place} reads %{operand}, which does not come before it.",
                "Order the nodes so that operands come first.",
            )


def rewrite(graph: Graph, replace: Mapping[int, Op]) -> Graph:
    """The same Graph with other ops at some places; all types are inferred again."""
    builder = Builder(graph.name)
    for place, node in enumerate(graph.nodes):
        builder.add(replace.get(place, node.op), *node.operands, label=node.label)
    return builder.build(dict(zip(graph.output_names, graph.outputs, strict=True)))
