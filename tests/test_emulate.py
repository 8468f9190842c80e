"""The border (real numbers to codes and back), chunks, and the adversarial events."""

from __future__ import annotations

from fractions import Fraction
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from hairtrigger.errors import InputError
from hairtrigger.fixed import Fixed, IntArray, Overflow, Rounding
from hairtrigger.graph import (
    Builder,
    Graph,
    Literal,
    TensorType,
    decode,
    emulate,
    emulate_codes,
    encode,
    linear,
    moves,
    ops,
)
from hairtrigger.graph.emulate import check_codes, emulate_nodes
from hairtrigger.graph.stimulus import ONE_HOT, extreme_codes, join_events, random_codes
from strategies import codes_for, fixeds, graphs

# The package's `emulate` is the function, which hides the module of that name.
emulate_module = import_module("hairtrigger.graph.emulate")


def border(t: TensorType, rounding=Rounding.RND, overflow=Overflow.SAT) -> Graph:
    builder = Builder()
    return builder.build([builder.add(ops.Input("x", t, rounding, overflow))])


PAIR = border(TensorType.uniform((2,), Fixed(True, 3, 2)))


def two_inputs() -> Graph:
    builder = Builder()
    a = builder.add(ops.Input("a", TensorType.uniform((2,), Fixed(True, 3, 2))))
    b = builder.add(ops.Input("b", TensorType.uniform((2,), Fixed(True, 3, 0))))
    return builder.build({"sum": builder.add(ops.Add(), a, b)})


# --- real numbers to codes -----------------------------------------------------------------------


@settings(max_examples=200)
@given(
    st.lists(st.floats(-(2.0**30), 2.0**30), min_size=1, max_size=8),
    fixeds(),
    st.sampled_from(list(Rounding)),
    st.sampled_from(list(Overflow)),
)
def test_any_float_is_rounded_exactly(values, fixed, rounding, overflow) -> None:
    if overflow is Overflow.WRAP_SM and not fixed.signed:
        overflow = Overflow.WRAP
    graph = border(TensorType.uniform((), fixed), rounding, overflow)
    (codes,) = encode(graph, np.array(values))
    expected = [reference.quantized(Fraction(x), fixed, rounding, overflow) for x in values]
    found = [Fraction(int(c)) / Fraction(2) ** graph.output_types[0].lsb for c in codes]
    assert found == expected


@pytest.mark.parametrize("tiny", [5e-324, -5e-324, 1e-310, -1e-310])
@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("fraction", [-20, 0, 20])
def test_the_smallest_floats_round_as_numbers(tiny, rounding, fraction) -> None:
    fixed = Fixed(True, 5 - fraction, fraction)
    graph = border(TensorType.uniform((), fixed), rounding)
    expected = reference.in_steps(Fraction(tiny), fixed, rounding, Overflow.SAT)
    assert encode(graph, np.array([tiny]))[0].tolist() == [expected]


def test_formats_of_each_element() -> None:
    graph = border(TensorType((3,), [True, False, False], [2, 1, 0], [3, 0, 0]))
    (codes,) = encode(graph, np.array([[1.3, 1.3, 1.3], [-9.0, -1.0, 5.0]]))
    assert codes.tolist() == [[10, 8, 0], [-32, 0, 0]]
    check_codes(graph.output_types[0], codes)


VALUES = [[1.25, -3.0], [0.0, 7.75], [-8.0, 0.5]]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.longdouble])
@pytest.mark.parametrize("order", ["C", "F"])
def test_float_types_and_memory_orders(dtype, order) -> None:
    array = np.array(VALUES, dtype=dtype, order=order)
    assert (encode(PAIR, array)[0] == np.array(VALUES) * 4).all()
    assert (encode(PAIR, VALUES)[0] == np.array(VALUES) * 4).all()
    assert (encode(PAIR, np.repeat(array, 2, axis=0)[::2])[0] == np.array(VALUES) * 4).all()
    assert (encode(PAIR, array.astype(array.dtype.newbyteorder()))[0] == array * 4).all()


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_integers_are_numbers_not_codes(dtype) -> None:
    assert encode(PAIR, np.array([[1, -3], [100, -100]], dtype))[0].tolist() == [
        [4, -12],
        [31, -32],
    ]


def test_booleans_and_unsigned_integers() -> None:
    assert encode(PAIR, np.array([[True, False]]))[0].tolist() == [[4, 0]]
    assert encode(PAIR, np.array([[1, 200]], np.uint8))[0].tolist() == [[4, 31]]
    assert encode(PAIR, np.array([[1, 2**50]], np.uint64))[0].tolist() == [[4, 31]]


def test_no_events() -> None:
    (codes,) = encode(PAIR, np.zeros((0, 2)))
    assert codes.shape == (0, 2)
    assert emulate_codes(PAIR, [codes])[0].shape == (0, 2)


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        (np.array([[0.0, 0.0], [np.nan, 0.0]]), "NaN or infinity, first in event 1"),
        (np.array([[np.inf, 0.0]], np.float32), "NaN or infinity, first in event 0"),
        (np.array([[0.0, -np.inf]], np.float16), "NaN or infinity"),
        (np.zeros((3, 3)), "shape (3, 3); the Graph takes (events, 2)"),
        (np.zeros(2), "shape (2,)"),
        (np.zeros((1, 3, 2)), "shape (1, 3, 2)"),
        (np.float64(1.0), "shape ()"),
        (7, "shape ()"),
        ([[1.0, 2.0], [3.0]], "is no array"),
        (np.array([[1, "a"]], dtype=object), "dtype object"),
        (np.array([["1", "2"]]), "dtype <U1"),
        (np.array([[1j, 0]]), "dtype complex128"),
        (np.array([["2026-01-01"] * 2], "datetime64[D]"), "dtype datetime64"),
        (None, "dtype object"),
        (np.array([[1e30, 0.0]]), "Scale the data"),
        (np.array([[1e308, 0.0]]), "Scale the data"),
        (np.array([[0, 2**62]]), "Scale the data"),
        (np.array([[0, np.iinfo(np.int64).min]]), "Scale the data"),
        (np.array([[0, 2**64 - 1]], np.uint64), "Scale the data"),
        ({"y": np.zeros((1, 2))}, "named ['y']; the Graph has ['x']"),
        ({}, "named []"),
        ((np.zeros((1, 2)), np.zeros((1, 2))), "2 input arrays for a Graph with 1"),
    ],
)
def test_what_is_no_input_is_refused(inputs, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        emulate(PAIR, inputs)
    assert problem in str(caught.value)
    assert "Way out" in str(caught.value)


def test_huge_numbers_saturate_as_far_as_they_are_taken() -> None:
    graph = border(TensorType.uniform((), Fixed(False, 1, 0)))
    assert encode(graph, np.array([2.0**55, -(2.0**55), 2.0**54 + 1]))[0].tolist() == [1, 0, 1]


def test_two_inputs_by_order_and_by_name() -> None:
    graph = two_inputs()
    a, b = np.array([[1.25, 2.0]]), np.array([[1.0, -3.0]])
    expected = [[2.25, -1.0]]
    for inputs in ((a, b), [a, b], {"a": a, "b": b}, {"b": b, "a": a}):
        assert emulate(graph, inputs)[0].tolist() == expected


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ((np.zeros((1, 2)),), "1 input arrays for a Graph with 2 inputs ['a', 'b']"),
        (np.zeros((1, 2)), "1 input arrays"),
        (5, "1 input arrays"),
        ({"a": np.zeros((1, 2))}, "named ['a']; the Graph has ['a', 'b']"),
        ({"a": 0, "b": 0, "c": 0}, "named ['a', 'b', 'c']"),
        ({1: 0, "b": 0}, "named [1, 'b']"),
        ((np.zeros((2, 2)), np.zeros((3, 2))), "different numbers of events: [2, 3]"),
        ((np.zeros((2, 2)), np.zeros((2, 3))), "Input 'b' has shape (2, 3)"),
    ],
)
def test_inputs_that_do_not_fit_each_other_are_refused(inputs, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        encode(two_inputs(), inputs)
    assert problem in str(caught.value)


def test_inputs_are_left_as_they_were() -> None:
    x = np.array(VALUES)
    x.flags.writeable = False
    emulate(PAIR, x)
    assert x.tolist() == VALUES


# --- codes in, codes out -------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.data())
def test_chunks_change_nothing(data: st.DataObject) -> None:
    graph = data.draw(graphs(max_ops=6))
    codes = data.draw(codes_for(graph, 20))
    whole = emulate_codes(graph, codes)
    before = emulate_module.CHUNK_BYTES
    emulate_module.CHUNK_BYTES = 8 * data.draw(st.integers(1, 400))
    try:
        parts = emulate_codes(graph, codes)
    finally:
        emulate_module.CHUNK_BYTES = before
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_chunk_counts_the_windows_of_a_convolution() -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", TensorType.uniform((9, 384, 1), Fixed(False, 1, 0))))
    kernel = Literal(np.ones((3, 9, 1, 4), int), 0)
    x = builder.add(linear.Conv(kernel, None, (1, 1), ((1, 1), (4, 4))), x)
    step = emulate_module.chunk_size(builder.build([x]))
    windows = 9 * 384 * 27 * 8
    assert step == emulate_module.CHUNK_BYTES // windows


def test_constants_reach_every_event() -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", TensorType.uniform((2,), Fixed(True, 3, 0))))
    c = builder.add(ops.Constant(Literal([3, -1], 1)))
    both = builder.add(moves.Concat(0), c, x)
    graph = builder.build({"constant": c, "both": both})
    constant, joined = emulate(graph, np.array([[1, 2], [3, 4], [5, 6]]))
    assert constant.tolist() == [[1.5, -0.5]] * 3
    assert joined.tolist() == [[1.5, -0.5, 1, 2], [1.5, -0.5, 3, 4], [1.5, -0.5, 5, 6]]
    assert emulate_nodes(graph, [np.zeros((0, 2), np.int64)])[both].shape == (0, 4)


def test_a_graph_of_constants_alone_gives_one_event() -> None:
    builder = Builder()
    graph = builder.build([builder.add(ops.Constant(Literal([3], 1)))])
    assert emulate(graph, ())[0].tolist() == [[1.5]]


def test_decode_gives_real_numbers() -> None:
    (values,) = decode(PAIR, [np.array([[5, -12]])])
    assert values.dtype == np.float64
    assert values.tolist() == [[1.25, -3.0]]


@pytest.mark.parametrize(
    ("codes", "problem"),
    [
        ([[32, 0]], "Code 32 at (0, 0)"),
        ([[0, 0], [0, -33]], "Code -33 at (1, 1)"),
        ([[0, 0, 0]], "shape (1, 3)"),
    ],
)
def test_codes_out_of_range_are_seen(codes, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        check_codes(PAIR.output_types[0], np.array(codes))
    assert problem in str(caught.value)


def test_codes_between_steps_are_seen() -> None:
    t = TensorType((2,), True, [2, 2], [2, 0])
    check_codes(t, np.array([[1, 4]]))
    with pytest.raises(InputError, match="Code 1 at"):
        check_codes(t, np.array([[1, 1]]))


# --- events to try a Graph on --------------------------------------------------------------------


def assert_in_range(graph: Graph, codes: tuple[IntArray, ...], events: int) -> None:
    assert len(codes) == len(graph.inputs)
    for op, x in zip(graph.input_ops, codes, strict=True):
        assert x.shape == (events, *op.type.shape)
        check_codes(op.type, x)


@given(st.sampled_from(["mlp", "cnn", "any"]).flatmap(graphs), st.integers(0, 40))
def test_events_are_in_range(graph: Graph, events: int) -> None:
    assert_in_range(graph, random_codes(graph, events, seed=3), events)
    extreme = extreme_codes(graph)
    size = sum(op.type.size for op in graph.input_ops)
    assert_in_range(graph, extreme, 7 + 2 * min(size, ONE_HOT))


def test_the_same_seed_gives_the_same_events() -> None:
    graph = two_inputs()
    first, again, other = (random_codes(graph, 50, seed) for seed in (1, 1, 2))
    for x, y, z in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(x, y)
        assert (x != z).any()


def test_random_events_reach_every_code_and_are_sparse_at_times() -> None:
    (codes,) = random_codes(PAIR, 5000, seed=0)
    assert set(np.unique(codes)) == set(range(-32, 32))
    assert 0.3 < (codes == 0).mean() < 0.5


def test_extreme_events() -> None:
    builder = Builder()
    a = builder.add(ops.Input("a", TensorType((2,), [True, False], [1, 2], [1, 0])))
    b = builder.add(ops.Input("b", TensorType.uniform((1,), Fixed(False, 1, 0))))
    found = extreme_codes(builder.build([a, b]))
    joined = [tuple(event) for event in np.concatenate(found, axis=1).tolist()]
    zero, lowest, highest, plus, minus, *turns = joined[:7]
    assert (zero, lowest, highest) == ((0, 0, 0), (-4, 0, 0), (3, 6, 1))
    assert (plus, minus) == ((1, 2, 1), (-1, 0, 0))
    assert turns == [(-4, 6, 0), (3, 0, 1)]
    assert joined[7:] == [(-4, 0, 0), (0, 0, 0), (0, 0, 0), (3, 0, 0), (0, 6, 0), (0, 0, 1)]


def test_large_inputs_get_few_one_hot_events() -> None:
    graph = border(TensorType.uniform((9, 384), Fixed(False, 1, 0)))
    (codes,) = extreme_codes(graph)
    assert len(codes) == 7 + 2 * ONE_HOT
    assert codes[7 + ONE_HOT :].sum(axis=(1, 2)).tolist() == [1] * ONE_HOT


def test_events_of_several_kinds_join() -> None:
    graph = two_inputs()
    parts = [extreme_codes(graph), random_codes(graph, 5, seed=0)]
    assert_in_range(graph, join_events(parts), len(parts[0][0]) + 5)
