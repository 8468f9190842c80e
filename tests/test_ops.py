"""Every op against plain Python on fractions; types and intervals against what values do."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from hairtrigger.errors import GraphError
from hairtrigger.fixed import Fixed, IntArray, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, linear, moves, ops
from hairtrigger.graph.emulate import check_codes, emulate_nodes
from hairtrigger.graph.text import OPS
from hairtrigger.graph.types import Range
from strategies import codes_for, fixeds, graphs

KINDS = st.sampled_from(["mlp", "cnn", "any"])


@settings(max_examples=100)
@given(st.data())
def test_every_node_agrees_with_the_reference(data: st.DataObject) -> None:
    graph = data.draw(graphs(data.draw(KINDS), max_ops=6))
    values = emulate_nodes(graph, data.draw(codes_for(graph, 3)))
    for place, node in enumerate(graph.nodes):
        if isinstance(node.op, ops.Input):
            continue
        for event in range(len(values[place])):
            xs = [event_of(values[n], event, graph.nodes[n].type) for n in node.operands]
            expected = reference.result(node.op, xs)
            found = event_of(values[place], event, node.type)
            assert found.shape == expected.shape == node.type.shape, f"%{place} of\n{graph}"
            assert (found == expected).all(), f"%{place}, event {event} of\n{graph}"


def event_of(codes: IntArray, event: int, t: TensorType) -> np.ndarray:
    return reference.to_fractions(codes[event if len(codes) > 1 else 0], t.lsb)


def test_random_graphs_reach_every_op_and_mode() -> None:
    """The tests above are worth as much as what they draw."""
    seen: set[object] = set()

    @settings(max_examples=400, database=None)
    @given(st.sampled_from(["mlp", "cnn", "any", "any"]).flatmap(graphs))
    def draw(graph: Graph) -> None:
        for place, node in enumerate(graph.nodes):
            seen.add(type(node.op).__name__)
            if isinstance(node.op, ops.Quantize):
                seen.update([node.op.rounding, node.op.overflow])
            if isinstance(node.op, linear.Conv):
                seen.add(f"{len(node.op.window)}D, groups: {node.op.groups > 1}")
                seen.add(f"strides: {max(node.op.strides) > 1}")
                seen.add(f"padding: {np.max(node.op.padding) > 0}")
            if isinstance(node.op, linear.MaxPool):
                seen.add(f"MaxPool, padding: {np.max(node.op.padding) > 0}")
            if isinstance(node.op, linear.Dense):
                seen.add(f"Dense of rank {min(3, len(node.type.shape))}")
            if isinstance(node.op, ops.Table):
                seen.add(f"Table of {min(2, node.op.values.shape[0])} rows")
            seen.add("mixed type" if node.type.single is None else "single type")
            seen.add("no bits" if not node.type.width.all() else "all alive")
            seen.add("1 bit" if (node.type.width == 1).any() else "")
            seen.add("24 bits" if (node.type.width == 24).any() else "")
            seen.add(f"readers: {min(2, len(graph.users[place]))}")
            if not graph.users[place] and place not in graph.outputs:
                seen.add("dead")
        seen.add(f"inputs: {min(2, len(graph.inputs))}")
        seen.add(f"outputs: {min(2, len(graph.outputs))}")

    draw()
    expected = {*OPS, *Rounding, *Overflow, "mixed type", "single type", "no bits", "1 bit", "dead"}
    expected |= {f"{n}D, groups: {g}" for n in (1, 2) for g in (True, False)}
    expected |= {"strides: True", "padding: True", "MaxPool, padding: True", "24 bits"}
    expected |= {f"Dense of rank {n}" for n in (1, 2, 3)} | {f"Table of {n} rows" for n in (1, 2)}
    expected |= {"readers: 2", "inputs: 2", "outputs: 2"}
    missing = expected - seen - {"State"}  # test_emulate_state.py has those
    assert not missing


@settings(max_examples=120)
@given(st.data())
def test_values_lie_in_their_types(data: st.DataObject) -> None:
    graph = data.draw(graphs(data.draw(KINDS)))
    values = emulate_nodes(graph, data.draw(codes_for(graph, 40)))
    for place, node in enumerate(graph.nodes):
        check_codes(node.type, values[place])


@settings(max_examples=100)
@given(st.data())
def test_values_lie_in_the_bounds_of_narrower_inputs(data: st.DataObject) -> None:
    graph = data.draw(graphs(data.draw(KINDS)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    codes: list[IntArray] = []
    ranges: list[Range] = []
    for node in graph.nodes:
        if not isinstance(node.op, ops.Input):
            ranges.append(node.op.bounds([ranges[n] for n in node.operands]))
            continue
        full = node.type.range()
        ends = rng.integers(full.low, full.high, size=(2, *full.shape), endpoint=True)
        narrow = Range(ends.min(axis=0), ends.max(axis=0), full.fraction)
        low, high = narrow.low, narrow.high
        own = rng.integers(low, high, size=(30, *narrow.shape), endpoint=True)
        own = np.concatenate([low[None], high[None], own])
        codes.append(own << np.where(node.type.width > 0, node.type.lsb - node.type.fraction, 0))
        ranges.append(narrow)
    values = emulate_nodes(graph, codes)
    for place, node in enumerate(graph.nodes):
        assert_within(values[place], node.type, ranges[place], f"%{place} of\n{graph}")


def assert_within(codes: IntArray, t: TensorType, bounds: Range, where: str) -> None:
    lsb = max(t.lsb, bounds.lsb)
    fine = codes << (lsb - t.lsb)
    low, high = bounds.at(lsb)
    assert ((fine >= low) & (fine <= high)).all(), where
    step = 1 << np.where(bounds.alive, lsb - bounds.fraction, 0)
    assert (fine % step == 0).all(), where


# --- all values of small types -------------------------------------------------------------------


def every_code(t: TensorType) -> IntArray:
    """Every combination of codes that a small tensor can hold: (events, *shape)."""
    full = t.range()
    up = np.where(t.width > 0, t.lsb - t.fraction, 0).ravel()
    choices = [
        [code << int(s) for code in range(int(a), int(b) + 1)]
        for a, b, s in zip(full.low.flat, full.high.flat, up, strict=True)
    ]
    return np.array(list(product(*choices)), dtype=np.int64).reshape(-1, *t.shape)


MIXED = TensorType((2, 2), [[1, 0], [1, 0]], [[1, 2], [0, 0]], [[1, -1], [1, 0]])
"""3, 1, 2 and 0 bits, with steps of 1/2, 2 and 1/2."""

SMALL_OPS = [
    ops.Relu(),
    linear.Dense(Literal([[3, -1, 0], [-2, 0, 0]], 1), Literal([1, 0, 0], 2)),
    linear.Conv(Literal([[[1, -3]], [[2, 1]]], 0), None, (1,), ((1, 0),), 2),
    linear.SumPool((2,), (1,), ((0, 1),)),
    linear.MaxPool((2,), (1,), ((0, 1),)),
    linear.GlobalSum((0,)),
    linear.GlobalSum((0, 1)),
    linear.ArgMax(),
    moves.Reshape((4,)),
    moves.Transpose((1, 0)),
    moves.Pad(((0, 1), (1, 0))),
    moves.Crop(((0, 1), (1, 0))),
    ops.Table(Literal([list(range(-8, 8)), [5] * 16], 2), -8, 1, Literal([[0, 1], [0, 0]], 0)),
    *(
        ops.Quantize(TensorType((2, 2), [[1, 0], [0, 1]], 1, [[0, 1], [1, 1]]), rounding, overflow)
        for rounding in Rounding
        for overflow in (Overflow.WRAP, Overflow.SAT, Overflow.SAT_SYM)
    ),
]


@pytest.mark.parametrize("op", SMALL_OPS, ids=lambda op: type(op).__name__)
def test_types_are_sound_and_bounds_are_reached(op: ops.Op) -> None:
    codes = every_code(MIXED)
    inferred = op.infer([MIXED])
    found = op.evaluate([codes], [MIXED], inferred)
    check_codes(inferred, found)
    bounds = op.bounds([MIXED.range()])
    assert_within(found, inferred, bounds, str(op))
    wraps = isinstance(op, ops.Quantize) and op.overflow is Overflow.WRAP
    if not wraps and not isinstance(op, linear.ArgMax):
        low, high = bounds.at(inferred.lsb)
        np.testing.assert_array_equal(found.min(axis=0), low)
        np.testing.assert_array_equal(found.max(axis=0), high)


@pytest.mark.parametrize("op", [ops.Add(), ops.Sub(), ops.Mul(), *map(ops.Compare, ops.Relation)])
def test_two_operands_are_sound_and_bounds_are_reached(op: ops.Op) -> None:
    a = TensorType((2, 1), [[1], [0]], [[1], [0]], [[1], [2]])
    b = TensorType((1, 2), [[1, 0]], [[0, 2]], [[2, -1]])
    codes_a, codes_b = every_code(a), every_code(b)
    left = np.repeat(codes_a, len(codes_b), axis=0)
    right = np.tile(codes_b, (len(codes_a), 1, 1))
    inferred = op.infer([a, b])
    found = op.evaluate([left, right], [a, b], inferred)
    check_codes(inferred, found)
    low, high = op.bounds([a.range(), b.range()]).at(inferred.lsb)
    np.testing.assert_array_equal(found.min(axis=0), low)
    np.testing.assert_array_equal(found.max(axis=0), high)


@pytest.mark.parametrize("rounding", Rounding)
def test_quantize_bounds_hold_wherever_wrap_sm_folds(rounding: Rounding) -> None:
    """Half an LSB before its end, WRAP_SM already folds: the interval must not say otherwise."""
    t = TensorType((1,), True, 2, 0)
    operand = TensorType((1,), True, 4, 2)
    op = ops.Quantize(t, rounding, Overflow.WRAP_SM)
    codes = np.arange(-64, 64)
    values = op.evaluate([codes[:, None]], [operand], t)[:, 0]
    for low in range(-40, 40):
        for high in range(low, min(low + 24, 40)):
            bounds = op.bounds([Range(np.array([low]), np.array([high]), np.array([2]))])
            seen = values[(codes >= low) & (codes <= high)]
            assert bounds.low[0] <= seen.min()
            assert bounds.high[0] >= seen.max()


def test_elements_of_no_bits_stay_zero() -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", TensorType((3,), False, [0, 2, 0], [0, 0, 0])))
    y = builder.add(linear.Dense(Literal([[7], [0], [7]], 0)), x)
    assert builder.type(y).bits == 0
    graph = builder.build([y])
    assert emulate_nodes(graph, [np.array([[0, 3, 0]])])[y].tolist() == [[0]]


# --- refusals ------------------------------------------------------------------------------------


def kernel(*shape: int) -> Literal:
    return Literal(np.ones(shape, int), 0)


def conv(weights: Literal, strides: tuple[int, ...] = (1, 1)) -> linear.Conv:
    return linear.Conv(weights, None, strides, ((0, 0),) * len(strides))


def table(*select: int, fraction: int = 0) -> ops.Table:
    return ops.Table(Literal([[1] * 256], 0), -128, 4, Literal(select, fraction))


VECTOR = TensorType.uniform((4,), Fixed(True, 3, 4))
IMAGE = TensorType.uniform((5, 5, 2), Fixed(False, 1, 0))
LINE = TensorType.uniform((4, 1), Fixed(True, 3, 4))
WIDE = TensorType.uniform((4,), Fixed(True, 39, 0))
FINE = TensorType.uniform((4,), Fixed(True, -20, 60))


@pytest.mark.parametrize(
    ("op", "operands", "problem"),
    [
        (ops.Quantize(IMAGE), [VECTOR], "cannot take shape"),
        (ops.Quantize(VECTOR, Rounding.RND, Overflow.WRAP_SM), [VECTOR], None),
        (ops.Quantize(IMAGE, Rounding.RND, Overflow.WRAP_SM), [IMAGE], "WRAP_SM"),
        (ops.Quantize(TensorType.uniform((4,), Fixed(True, 0, 40))), [WIDE], "80 bits"),
        (ops.Add(), [VECTOR, IMAGE], "do not fit each other"),
        (ops.Sub(), [VECTOR, TensorType.uniform((3,), Fixed(True, 3, 4))], "do not fit each other"),
        (ops.Add(), [WIDE, FINE], "bits in units"),
        (ops.Compare(ops.Relation.GT), [WIDE, FINE], "bits in units"),
        (ops.Mul(), [WIDE, WIDE], "product of 80 bits"),
        (linear.Dense(kernel(3, 2)), [VECTOR], "cannot take shape"),
        (linear.Dense(kernel(4)), [VECTOR], "rank 2"),
        (linear.Dense(kernel(4, 2), Literal([1], 0)), [VECTOR], "bias"),
        (linear.Dense(Literal(np.full((4, 2), 2**30), 0)), [WIDE], "limit is 60"),
        (linear.Dense(Literal([[1]] * 4, 0), Literal([2**40], 0)), [FINE], "limit is 60"),
        (conv(kernel(3, 3, 2, 4)), [IMAGE], None),
        (conv(kernel(3, 3, 1, 4)), [IMAGE], "groups"),
        (conv(kernel(6, 3, 2, 4)), [IMAGE], "does not fit image"),
        (conv(kernel(3, 3, 2, 4), (0, 1)), [IMAGE], "must be positive"),
        (conv(kernel(3, 2, 4), (1,)), [IMAGE], "rank"),
        (linear.MaxPool((2, 2), (1, 1), ((0, 0), (2, 0))), [IMAGE], "wholly in the padding"),
        (linear.MaxPool((), (), ()), [VECTOR], "do not fit image"),
        (linear.SumPool((2, 2), (1,), ((0, 0), (0, 0))), [IMAGE], "do not fit image"),
        (linear.GlobalSum(()), [VECTOR], "GlobalSum"),
        (linear.GlobalSum((0, 0)), [IMAGE], "GlobalSum"),
        (linear.GlobalSum((3,)), [IMAGE], "GlobalSum"),
        (linear.ArgMax(), [TensorType.uniform((), Fixed(True, 3, 4))], "ArgMax"),
        (ops.Table(Literal([[1, 2]], 0), 0, 0), [VECTOR], "cannot take codes as fine"),
        (ops.Table(Literal([[1, 2]], 0), 0, 4), [VECTOR], "reaches -128 to 127"),
        (ops.Table(Literal([1, 2], 0), 0, 4), [VECTOR], "rows, entries"),
        (table(0, 0, 0, 1), [VECTOR], "select"),
        (table(0, 0, 0, -1), [VECTOR], "select"),
        (table(0, 0, 0, 0, fraction=1), [VECTOR], "select"),
        (moves.Reshape((5,)), [VECTOR], "Reshape"),
        (moves.Transpose((0, 0, 1)), [IMAGE], "Transpose"),
        (moves.Pad(((-1, 0),)), [VECTOR], "Pad"),
        (moves.Pad(((0, 99999999),)), [VECTOR], "elements"),
        (linear.MaxPool((1,), (1,), ((0, 99999999),)), [LINE], "pixels"),
        (moves.Crop(((3, 2),)), [VECTOR], "Crop"),
        (moves.Crop(((2, 2),)), [VECTOR], "no elements"),
        (moves.Concat(0), [VECTOR, IMAGE], "Concat"),
        (moves.Concat(1), [VECTOR, VECTOR], "Concat"),
        (moves.Concat(0), [WIDE, FINE], "100 bits"),
    ],
)
def test_operands_that_do_not_fit_are_refused(op, operands, problem) -> None:
    if problem is None:
        op.infer(operands)
        return
    with pytest.raises(GraphError, match=problem):
        op.infer(operands)


def test_sums_that_would_overflow_are_refused() -> None:
    # Element 0 is coarse and high, element 1 is fine: codes share the finer LSB.
    spread = TensorType((64, 2), True, [[50, 0]], [[-48, 5]])
    for op in (linear.GlobalSum((0,)), linear.SumPool((64,), (1,), ((0, 0),))):
        with pytest.raises(GraphError, match="bits"):
            op.infer([spread])


@settings(max_examples=60)
@given(fixeds(), fixeds(), st.sampled_from(list(Rounding)), st.sampled_from([Overflow.SAT]))
def test_quantize_into_a_wider_format_changes_nothing(fixed, more, rounding, overflow) -> None:
    wider = Fixed(
        True,
        max(fixed.integer, more.integer) if fixed.width else 3,
        max(fixed.fraction, more.fraction) if fixed.width else 3,
    )
    t, out = (TensorType.uniform((1,), f) for f in (fixed, wider))
    ends = np.array([[fixed.lowest], [0], [fixed.highest]])
    found = ops.Quantize(out, rounding, overflow).evaluate([ends], [t], out)
    np.testing.assert_array_equal(found, ends << (out.lsb - t.lsb) if t.bits else ends * 0)
