"""The builder, the Graph's own facts, and a verifier that sees every broken rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hairtrigger.errors import GraphError
from hairtrigger.fixed import Fixed
from hairtrigger.graph import Builder, Graph, Literal, Node, TensorType, linear, ops, verify
from hairtrigger.graph.graph import rewrite
from strategies import graphs

BITS = Fixed(True, 3, 2)
VECTOR = TensorType.uniform((4,), BITS)


def small() -> Graph:
    builder = Builder("small")
    x = builder.add(ops.Input("x", VECTOR), label="images")
    y = builder.add(ops.Input("y", VECTOR))
    total = builder.add(ops.Add(), x, y, label="total")
    active = builder.add(ops.Relu(), total)
    return builder.build({"out": active, "raw": total})


def with_node(graph: Graph, place: int, **changes) -> Graph:
    nodes = list(graph.nodes)
    nodes[place] = replace(nodes[place], **changes)
    return replace(graph, nodes=tuple(nodes))


def test_the_facts_of_a_graph() -> None:
    graph = small()
    assert graph.inputs == (0, 1)
    assert [op.name for op in graph.input_ops] == ["x", "y"]
    assert graph.users == ((2,), (2,), (3,), ())
    assert graph.output_names == ("out", "raw")
    assert graph.output_types == (graph.nodes[3].type, graph.nodes[2].type)
    assert [node.label for node in graph.nodes] == ["images", "", "total", ""]
    verify(graph)


def test_a_node_read_twice_by_one_reader_counts_twice() -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", VECTOR))
    square = builder.add(ops.Mul(), x, x)
    assert builder.build([square]).users[x] == (square, square)


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (lambda g: with_node(g, 2, operands=(0, 3)), "%2 reads %3, which does not come before"),
        (lambda g: with_node(g, 2, operands=(0, 2)), "does not come before"),
        (lambda g: with_node(g, 2, operands=(0, -1)), "%2 reads %-1"),
        (lambda g: with_node(g, 2, operands=(0,)), "Add takes 2 operands, not 1"),
        (lambda g: with_node(g, 3, operands=(1, 2)), "Relu takes 1 operands, not 2"),
        (lambda g: with_node(g, 0, operands=(1,)), "Input takes 0 operands"),
        (lambda g: with_node(g, 2, type=VECTOR), "%2 Add 'total' claims a type"),
        (
            lambda g: with_node(g, 3, type=TensorType.uniform((5,), BITS)),
            "%3 Relu '' claims a type",
        ),
        (
            lambda g: with_node(g, 3, type=TensorType((4,), False, [4, 4, 4, 5], 2)),
            "%3 Relu '' claims a type",
        ),
        (lambda g: with_node(g, 3, op=linear.Dense(Literal([[1]], 0))), "%3 Dense ''.*cannot take"),
        (lambda g: with_node(g, 1, op=ops.Input("x", VECTOR)), "Input name 'x' is used twice"),
        (lambda g: replace(g, output_names=("out", "out")), "Output name 'out' is used twice"),
        (lambda g: replace(g, outputs=(), output_names=()), "0 outputs"),
        (lambda g: replace(g, output_names=("out",)), "2 outputs and 1 names"),
        (lambda g: replace(g, outputs=(3, 4)), "Output %4 does not exist"),
        (lambda g: replace(g, outputs=(3, -1)), "Output %-1 does not exist"),
    ],
)
def test_every_broken_rule_is_named(broken, problem: str) -> None:
    with pytest.raises(GraphError, match=problem):
        verify(broken(small()))


@given(st.data())
def test_a_type_that_is_off_by_one_bit_is_seen(data: st.DataObject) -> None:
    graph = data.draw(graphs(max_ops=6))
    place = data.draw(st.integers(0, len(graph.nodes) - 1))
    t = graph.nodes[place].type
    at = tuple(data.draw(st.integers(0, n - 1)) for n in t.shape)
    change = np.zeros(t.shape, np.int64)
    change[at] = 1
    field = data.draw(st.sampled_from(["integer", "fraction"]))
    wrong = TensorType(
        t.shape,
        t.signed,
        t.integer + (change if field == "integer" else 0),
        t.fraction + (change if field == "fraction" else 0),
    )
    with pytest.raises(GraphError, match=f"%{place} .* claims a type"):
        verify(with_node(graph, place, type=wrong))


def test_the_builder_names_the_op_that_does_not_fit() -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", VECTOR))
    with pytest.raises(GraphError, match=r"Dense 'head': .*cannot take shape"):
        builder.add(linear.Dense(Literal([[1]], 0)), x, label="head")
    with pytest.raises(GraphError, match=r"Dense: .*cannot take shape"):
        builder.add(linear.Dense(Literal([[1]], 0)), x)
    with pytest.raises(GraphError, match="takes 2 operands"):
        builder.add(ops.Add(), x)
    with pytest.raises(GraphError, match="does not come before"):
        builder.add(ops.Relu(), 1)
    assert len(builder.nodes) == 1  # what failed left nothing behind


def test_a_graph_needs_an_output() -> None:
    builder = Builder()
    builder.add(ops.Input("x", VECTOR))
    with pytest.raises(GraphError, match="0 outputs"):
        builder.build([])


def test_ops_are_compared_with_all_their_attributes() -> None:
    a, b = (ops.Quantize(TensorType.uniform((4,), Fixed(False, 4, f))) for f in (2, 6))
    assert a != b
    assert linear.MaxPool((2,), (1,), ((0, 0),)) != linear.SumPool((2,), (1,), ((0, 0),))
    assert linear.Dense(Literal([[1]], 0)) == linear.Dense(Literal(np.array([[1]]), 0))
    assert Node(a, (0,), a.type) == Node(a, (0,), a.type)


def test_rewrite_infers_all_types_again() -> None:
    graph = small()
    narrow = TensorType.uniform((4,), Fixed(True, 1, 0))
    found = rewrite(graph, {0: ops.Input("x", narrow), 1: ops.Input("y", narrow)})
    assert found.nodes[2].type == TensorType.uniform((4,), Fixed(True, 2, 0))
    assert (found.output_names, found.outputs) == (graph.output_names, graph.outputs)
    assert rewrite(graph, {}) == graph
