"""The Graph: a tuple of frozen nodes, operands first, and the builder that makes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hairtrigger.errors import GraphError
from hairtrigger.graph.ops import Input, Op, State
from hairtrigger.graph.types import Literal, TensorType

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

    ``outputs``: places of the nodes whose values leave, named by ``output_names``. ``updates``: for
    each `State`, in order, its place and that of the node whose value it takes for the next step.
    Build one with `Builder`; `hairtrigger.graph.verify` checks the contract.
    """

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    output_names: tuple[str, ...]
    updates: tuple[tuple[int, int], ...] = ()

    @cached_property
    def inputs(self) -> tuple[int, ...]:
        """Places of the `Input` nodes, in order."""
        return tuple(n for n, node in enumerate(self.nodes) if isinstance(node.op, Input))

    @property
    def input_ops(self) -> tuple[Input, ...]:
        """The `Input` ops, in order."""
        return tuple(node.op for node in self.nodes if isinstance(node.op, Input))

    @property
    def pure(self) -> bool:
        """Has it no registers? Then events do not depend on each other."""
        return not self.updates

    @cached_property
    def roots(self) -> frozenset[int]:
        """Places whose values leave a step: outputs, and what registers take for the next."""
        return frozenset([*self.outputs, *(after for _, after in self.updates)])

    @property
    def output_types(self) -> tuple[TensorType, ...]:
        """Types of the outputs, in order."""
        return tuple(self.nodes[n].type for n in self.outputs)

    @cached_property
    def users(self) -> tuple[tuple[int, ...], ...]:
        """For each node the places of those that read it, once for each time they do.

        Outputs and registers that take its value for the next step (`roots`) are not among them.
        """
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
    updates: dict[int, int] = field(default_factory=dict[int, int])

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

    def state(
        self, name: str, type: TensorType, reset: Literal | None = None, label: str = ""
    ) -> int:
        """A register that holds ``reset`` (None: zeros) in the first step; see `update`."""
        zeros = Literal(np.zeros(type.shape, dtype=np.int64), 0)
        return self.add(State(name, type, zeros if reset is None else reset), label=label)

    def update(self, state: int, place: int) -> None:
        """In the next step ``state`` holds the value that the node at ``place`` has in this one.

        Both must have the same type; put a `Quantize` in front where they differ. Raises
        `GraphError` where they do, where ``state`` is no State, or has its next value already.
        """
        if state in self.updates:
            raise GraphError(
                f"State %{state} takes its next value from %{self.updates[state]} already."
            )
        check_update(self.nodes, state, place)
        self.updates[state] = place

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
        updates = tuple(sorted(self.updates.items()))
        graph = Graph(self.name, tuple(self.nodes), tuple(named.values()), tuple(named), updates)
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


def check_update(nodes: Sequence[Node], state: int, place: int) -> None:
    """May the node at ``place`` be the next value of the one at ``state``? Raises `GraphError`."""
    for n in (state, place):
        if not 0 <= n < len(nodes):
            raise GraphError(f"Update %{state} = %{place}: there is no node %{n}.")
    op, after = nodes[state].op, nodes[place]
    if not isinstance(op, State):
        raise GraphError(
            f"Update %{state} = %{place}: %{state} is a {type(op).__name__}, not a State."
        )
    if after.type != op.type:
        raise GraphError(
            f"State {op.name!r} at %{state} cannot take the value of %{place}, which has "
            "another type.",
            "Quantize that value to the type of the State.",
        )


def rewrite(graph: Graph, replace: Mapping[int, Op]) -> Graph:
    """The same Graph with other ops at some places; all types are inferred again."""
    builder = Builder(graph.name)
    for place, node in enumerate(graph.nodes):
        builder.add(replace.get(place, node.op), *node.operands, label=node.label)
    for state, place in graph.updates:
        builder.update(state, place)
    return builder.build(dict(zip(graph.output_names, graph.outputs, strict=True)))
