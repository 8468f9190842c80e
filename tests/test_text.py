"""The readable form: a round trip for every Graph, golden files, and errors that name the line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.errors import GraphError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import (
    Builder,
    Graph,
    Literal,
    TensorType,
    linear,
    machines,
    moves,
    ops,
    parse,
)
from hairtrigger.graph.text import OPS
from strategies import graphs


@settings(max_examples=200)
@given(st.sampled_from(["mlp", "cnn", "any", "stateful"]).flatmap(graphs))
def test_a_text_gives_back_its_graph(graph: Graph) -> None:
    again = parse(str(graph))
    assert again == graph
    assert str(again) == str(graph)


@pytest.mark.parametrize(
    "name", ["x", "", 'say "hi"', "back\\slash", "two\nlines", "\\n", "π → %0", "\r\t\x00"]
)
def test_any_name_survives(name: str) -> None:
    builder = Builder(name)
    x = builder.add(ops.Input(name, TensorType.uniform((), Fixed(True, 3, 0))), label=name)
    graph = builder.build({name: x})
    assert parse(str(graph)) == graph


def mlp() -> Graph:
    """Two layers with bias, activation, mixed widths and an ArgMax."""
    builder = Builder("mlp")
    x = builder.add(
        ops.Input("x", TensorType.uniform((3,), Fixed(True, 2, 3)), Rounding.RND, Overflow.SAT)
    )
    kernel = Literal([[3, -2], [0, 4], [1, 1]], 1)
    x = builder.add(linear.Dense(kernel, Literal([5, -1], 2)), x, label="hidden")
    x = builder.add(ops.Relu(), x, label="hidden")
    mixed = TensorType((2,), False, [3, 2], [1, 0])
    x = builder.add(ops.Quantize(mixed, Rounding.RND_CONV, Overflow.SAT_SYM), x, label="hidden")
    logits = builder.add(linear.Dense(Literal([[1, -1, 2], [2, 0, -3]], 0)), x, label="logits")
    best = builder.add(linear.ArgMax(), logits)
    return builder.build({"logits": logits, "class": best})


def cnn() -> Graph:
    """One of each of the ops that work on images."""
    builder = Builder("cnn")
    x = builder.add(ops.Input("image", TensorType.uniform((4, 6, 2), Fixed(False, 1, 0))))
    kernel = Literal(np.arange(-8, 10).reshape(3, 3, 1, 2), 3)
    x = builder.add(linear.Conv(kernel, None, (1, 2), ((1, 1), (0, 1)), 2), x, label="conv")
    x = builder.add(linear.MaxPool((2, 2), (2, 1), ((0, 0), (1, 0))), x)
    pooled = builder.add(linear.SumPool((2, 1), (1, 1), ((1, 0), (0, 0))), x)
    x = builder.add(moves.Pad(((0, 1), (0, 0), (1, 0))), pooled)
    x = builder.add(moves.Crop(((0, 1), (0, 0), (1, 0))), x)
    x = builder.add(moves.Transpose((2, 0, 1)), x)
    total = builder.add(linear.GlobalSum((1, 2)), x)
    flat = builder.add(moves.Reshape((12,)), pooled)
    both = builder.add(moves.Concat(0), total, flat)
    return builder.build([both])


def table() -> Graph:
    """Element by element: arithmetic with constants, comparison and a look-up of two rows."""
    builder = Builder("table")
    x = builder.add(ops.Input("x", TensorType.uniform((2,), Fixed(True, 1, 1))))
    squares = [[n * n for n in range(-4, 4)], [7] * 8]
    y = builder.add(ops.Table(Literal(squares, 2), -4, 1, Literal([0, 1], 0)), x)
    scale = builder.add(ops.Constant(Literal([3], 1)))
    scaled = builder.add(ops.Mul(), y, scale)
    shifted = builder.add(ops.Sub(), builder.add(ops.Add(), scaled, x), y)
    high = builder.add(ops.Compare(ops.Relation.GE), shifted, scale)
    return builder.build({"shifted": shifted, "high": high})


def pedestal() -> Graph:
    """Samples less a pedestal that follows them, and the sum of the last three."""
    builder = Builder("pedestal")
    adc = TensorType.uniform((2,), Fixed(False, 8, 0))
    samples = builder.add(ops.Input("adc", adc))
    level = machines.frugal_pedestal(builder, samples, adc, Literal([100, 96], 0))
    signal = builder.add(ops.Sub(), samples, level, label="signal")
    return builder.build({"sum": machines.moving_sum(builder, signal, 3)})


EXAMPLES = (mlp, cnn, table, pedestal)


@pytest.mark.parametrize("make", EXAMPLES)
def test_golden(make, golden) -> None:
    graph = make()
    golden(f"{graph.name}.txt", str(graph))
    assert parse(str(graph)) == graph


def test_golden_files_show_every_op() -> None:
    text = "".join(str(make()) for make in EXAMPLES)
    assert [name for name in OPS if f" = {name}(" not in text] == []


GOOD = str(mlp())


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ('graph "mlp"', "mlp", 1, "expected graph"),
        ("%0 = Input", "%1 = Input", 2, "expected %0"),
        ("Dense(%0", "Denze(%0", 3, "expected one of Input, Constant"),
        ("Dense(%0", "Dense(%7", 3, "reads %7"),
        ("lit.1[3,2]", "lit.1[3,3]", 3, "9 numbers for shape"),
        ("lit.1[3,2]", "lit.1[3,0]", 3, "0 numbers for shape"),
        ("lit.1[3,2]", "lit.999[3,2]", 3, "out of range"),
        ("lit.1[3,2]{3", "lit.1[3,2]{99999999999999999999", 3, "at most 62 bits"),
        ("lit.1[3,2]{3", "lit.1[3,2]{3*99999999999", 3, "6 numbers"),
        ("kernel=lit.1[3,2]{3 -2 0 4 1*2}", "kernel=none", 3, "attribute kernel of Dense"),
        (", bias=lit.2[2]{5 -1}", "", 3, r"attributes .*kernel.*bias.* of Dense"),
        (", bias=lit", ", bais=lit", 3, "attribute bais of Dense"),
        (") : ", ") ! ", 2, "cannot read '!"),
        ("Relu(%1) : ", "Relu(%1) : 3", 4, "expected a type"),
        ("Relu(%1)", "Relu()", 4, "Relu takes 1 operands, not 0"),
        ("RND_CONV", "RND_NONE", 5, "expected a value"),
        ("RND_CONV", "SAT", 5, "attribute rounding of Quantize"),
        ("(%0, kernel", "(%0 %0, kernel", 3, "takes 1 operands, not 2"),
        ("u4.4[2] @", "u4.5[2] @", 4, r"%2 Relu .* claims a type"),
        ("u4.4[2] @", "u4.-5[2] @", 4, "has -1 bits"),
        ('return "logits"', 'rerun "logits"', 8, "expected return"),
        ('"class"=%5', '"class"', 8, "'the end', expected ="),
        ('"class"=%5', '"class"=%9', 0, "Output %9 does not exist"),
        ('"class"=%5', '"logits"=%5', 0, "Output name 'logits' is used twice"),
        ('"class"=%5', '"class"=%5 extra', 8, "expected the end"),
    ],
)
def test_an_error_names_its_line(old: str, new: str, line: int, problem: str) -> None:
    assert old in GOOD
    with pytest.raises(GraphError, match=problem) as caught:
        parse(GOOD.replace(old, new, 1))
    if line:
        assert f"Line {line} " in str(caught.value)


STATEFUL = str(pedestal())


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("update %1=%6\n", "", "State 'pedestal' at %1 has 0 updates"),
        ("update %1=%6\n", "update %1=%6\nupdate %1=%6\n", "has 2 updates"),
        ("update %1=%6", "update %1=%2", "another type"),
        ("update %1=%6", "update %0=%6", "%0 is a Input, not a State"),
        ("update %1=%6", "update %1=%99", "no node %99"),
        ("update %1=%6", "update %1", "Line 18 .* expected ="),
        ("lit.0[2]{100 96}", "lit.0[2]{100 256}", "Line 3 .*does not hold"),
        ("lit.0[2]{100 96}", "lit.1[2]{100 97}", "Line 3 .*does not hold"),
        ("reset=lit.0[2]{100 96}", "reset=none", "attribute reset of State"),
    ],
)
def test_registers_are_checked_when_they_are_read(old: str, new: str, problem: str) -> None:
    assert old in STATEFUL
    with pytest.raises(GraphError, match=problem):
        parse(STATEFUL.replace(old, new, 1))


PIECES = ["", "%", "(", ")", "-", "0", "9", "-1", "99", "none", "SAT", '"', "s1.1[2]"]


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_text_is_refused_or_is_another_graph(data: st.DataObject) -> None:
    """Whatever is done to a text, there is a Graph that verifies, or a GraphError."""
    text = data.draw(st.sampled_from([str(make()) for make in EXAMPLES]))
    start = data.draw(st.integers(0, len(text) - 1))
    stop = min(len(text), start + data.draw(st.integers(0, 12)))
    piece = data.draw(
        st.sampled_from(PIECES)
        | st.text(max_size=3)
        | st.integers(0, len(text) - 1).map(lambda n: text[n : n + 10])
    )
    damaged = text[:start] + piece + text[stop:]
    try:
        found = parse(damaged)
    except GraphError:
        return
    assert parse(str(found)) == found


@pytest.mark.parametrize("text", ["", "\n", "graph", 'graph "x"', 'graph "x" return', "%0", "\x00"])
def test_a_text_that_is_no_graph(text: str) -> None:
    with pytest.raises(GraphError, match=r"Line 1 |Line 2 "):
        parse(text)
