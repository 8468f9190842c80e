"""Passes keep every value and the interface, are idempotent, never widen, and do their job."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparing import assert_same_values, events_for, ops_of
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import (
    Builder,
    Graph,
    Literal,
    TensorType,
    linear,
    moves,
    ops,
    verify,
)
from hairtrigger.graph.passes import (
    PASSES,
    fold_constants,
    fuse_affine,
    optimise,
    remove_dead,
    share_common,
)
from strategies import graphs

ALL = [*PASSES, optimise]
KINDS = st.sampled_from(["mlp", "cnn", "any", "any", "stateful", "stateful"])


# --- what holds for every pass -------------------------------------------------------------------


@pytest.mark.parametrize("run", ALL, ids=lambda p: p.__name__)
@settings(max_examples=60)
@given(data=st.data())
def test_a_pass_keeps_values_and_interface(run: Callable[[Graph], Graph], data) -> None:
    graph = data.draw(KINDS.flatmap(graphs))
    after = run(graph)
    verify(after)
    assert after.input_ops == graph.input_ops
    assert after.output_names == graph.output_names
    assert_same_values(graph, after, events_for(graph))
    assert run(after) == after, f"not idempotent on\n{graph}"
    # What a register takes next may need a Quantize back to the register's type.
    assert len(after.nodes) <= len(graph.nodes) + len(graph.updates)


@settings(max_examples=60)
@given(KINDS.flatmap(graphs))
def test_no_pass_widens_a_graph(graph: Graph) -> None:
    for run in ALL:
        after = run(graph)
        for before_type, after_type in zip(graph.output_types, after.output_types, strict=True):
            assert after_type.bits <= before_type.bits, f"{run.__name__} on\n{graph}"
        back = sum(graph.nodes[n].type.bits for n, _ in graph.updates)
        assert total_bits(after) <= total_bits(graph) + back, f"{run.__name__} on\n{graph}"


def total_bits(graph: Graph) -> int:
    return sum(node.type.bits for node in graph.nodes)


def test_two_relus_on_one_wire_stay_two_values() -> None:
    """Quantised to 2 and 6 fraction bits; a peer's optimiser merges them."""
    builder = Builder()
    x = builder.add(ops.Input("x", TensorType.uniform((4,), Fixed(True, 3, 7))))
    values = []
    for fraction in (2, 6):
        relu = builder.add(ops.Relu(), x, label=f"relu{fraction}")
        fixed = Fixed(False, 3, fraction)
        t = TensorType.uniform((4,), fixed)
        values.append(builder.add(ops.Quantize(t, Rounding.RND, Overflow.SAT), relu))
    graph = builder.build({"coarse": values[0], "fine": values[1]})
    codes = events_for(graph)
    for run in ALL:
        after = run(graph)
        assert after.outputs[0] != after.outputs[1]
        assert [t.lsb for t in after.output_types] == [2, 6]
        assert_same_values(graph, after, codes)
    assert ops_of(optimise(graph)) == ["Input", "Relu", "Quantize", "Quantize"]


# --- remove_dead ---------------------------------------------------------------------------------

VECTOR = TensorType.uniform((4,), Fixed(True, 3, 4))


def test_dead_nodes_go_and_inputs_stay() -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", VECTOR), label="kept")
    builder.add(ops.Input("unused", VECTOR))
    dead = builder.add(ops.Relu(), x)
    builder.add(ops.Add(), dead, dead)
    y = builder.add(ops.Sub(), x, x, label="y")
    after = remove_dead(builder.build({"y": y, "x": x}))
    assert ops_of(after) == ["Input", "Input", "Sub"]
    assert [node.label for node in after.nodes] == ["kept", "", "y"]
    assert (after.outputs, after.output_names) == ((2, 0), ("y", "x"))


# --- share_common --------------------------------------------------------------------------------


def test_equal_nodes_are_shared_with_all_that_follows() -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", VECTOR))
    heads = []
    for label in ("", "named"):
        c = builder.add(ops.Constant(Literal([1, 2, 3, 4], 0)))
        heads.append(builder.add(ops.Relu(), builder.add(ops.Add(), x, c), label=label))
    other = builder.add(ops.Add(), x, builder.add(ops.Constant(Literal([1, 2, 3, 4], 1))))
    after = share_common(builder.build([*heads, other]))
    assert ops_of(after) == ["Input", "Constant", "Add", "Relu", "Constant", "Add"]
    assert after.outputs[0] == after.outputs[1] != after.outputs[2]
    assert after.nodes[after.outputs[0]].label == "named"


def test_what_differs_in_one_attribute_is_not_shared() -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", VECTOR))
    narrow = TensorType.uniform((4,), Fixed(True, 2, 2))
    places = [
        builder.add(ops.Quantize(narrow, Rounding.TRN, Overflow.SAT), x),
        builder.add(ops.Quantize(narrow, Rounding.RND, Overflow.SAT), x),
        builder.add(ops.Quantize(narrow, Rounding.TRN, Overflow.WRAP), x),
        builder.add(ops.Compare(ops.Relation.GT), x, x),
        builder.add(ops.Compare(ops.Relation.GE), x, x),
    ]
    graph = builder.build(places)
    assert share_common(graph) == graph


# --- fold_constants ------------------------------------------------------------------------------


def test_constants_fold_through_every_op() -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", VECTOR))
    c = builder.add(ops.Constant(Literal([3, -5, 0, 7], 2)))
    q = builder.add(ops.Quantize(TensorType.uniform((4,), Fixed(True, 1, 1)), Rounding.RND), c)
    d = builder.add(linear.Dense(Literal([[1], [2], [3], [4]], 0)), q, label="dense")
    total = builder.add(ops.Add(), x, builder.add(ops.Relu(), d))
    graph = builder.build([total])
    after = fold_constants(graph)
    assert ops_of(after) == ["Input", "Constant", "Add"]
    assert_same_values(graph, after, events_for(graph))


def test_elements_of_no_bits_and_decided_comparisons_are_constants() -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", TensorType.uniform((2,), Fixed(False, 3, 0))))
    zero = builder.add(linear.Dense(Literal([[0], [0]], 0)), x)
    minus = builder.add(ops.Constant(Literal([-1, -2], 0)))
    always = builder.add(ops.Compare(ops.Relation.GT), x, minus)
    never = builder.add(ops.Compare(ops.Relation.EQ), x, minus)
    maybe = builder.add(ops.Compare(ops.Relation.GE), x, x)
    partly = builder.add(ops.Constant(Literal([-1, 3], 0)))
    half = builder.add(ops.Compare(ops.Relation.GT), x, partly)  # the second element is open
    graph = builder.build([zero, always, never, maybe, half])
    after = fold_constants(graph)
    kinds = [type(after.nodes[n].op).__name__ for n in after.outputs]
    assert kinds == ["Constant", "Constant", "Constant", "Compare", "Compare"]
    assert_same_values(graph, after, events_for(graph))


# --- fuse_affine ---------------------------------------------------------------------------------

SCALE, SHIFT = Literal([3, -1, 5], 2), Literal([7, 0, -2], 3)
CHANNELS = {
    2: (Literal([3, -2], 1), Literal([1, -7], 2)),
    3: (SCALE, SHIFT),
    4: (Literal([3, -2, 1, 5], 1), Literal([1, -7, 2, 4], 2)),
}


def normalised(op, shape, before: bool, after: bool, mode: str = "mul add") -> Graph:
    """A linear op between two affine functions of each channel."""
    builder = Builder()
    x = builder.add(ops.Input("x", TensorType.uniform(shape, Fixed(True, 2, 1))))

    def affine(x: int) -> int:
        scale, shift = CHANNELS[builder.type(x).shape[-1]]
        ones = (1,) * (len(builder.type(x).shape) - 1)
        scale, shift = (Literal(v.codes.reshape(*ones, -1), v.fraction) for v in (scale, shift))
        if "mul" in mode:
            x = builder.add(ops.Mul(), builder.add(ops.Constant(scale)), x, label="bn")
        c = builder.add(ops.Constant(shift))
        if "add" in mode:
            return builder.add(ops.Add(), x, c, label="bn")
        if "sub" in mode:
            return builder.add(ops.Sub(), x, c)
        if "minus" in mode:
            return builder.add(ops.Sub(), c, x)
        return x

    if before:
        x = affine(x)
    x = builder.add(op, x, label="layer")
    if after:
        x = affine(x)
    return builder.build([x])


RNG = np.random.default_rng(0)
DENSE = linear.Dense(Literal(RNG.integers(-8, 8, (2, 3)), 2), Literal([1, -3, 0], 1))
CONV = linear.Conv(Literal(RNG.integers(-8, 8, (2, 3, 2, 3)), 2), None, (1, 2), ((0, 0), (0, 0)))
PADDED = linear.Conv(CONV.kernel, None, (1, 1), ((1, 0), (1, 1)))
GROUPED = linear.Conv(
    Literal(RNG.integers(-8, 8, (2, 2, 4)), 0), Literal([1, 2, 3, 4], 0), (1,), ((0, 0),), 2
)


@pytest.mark.parametrize("mode", ["mul add", "mul", "add", "sub", "minus", "mul minus"])
@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize(("op", "shape"), [(DENSE, (2,)), (DENSE, (4, 2)), (CONV, (3, 5, 2))])
def test_affine_functions_go_into_the_layer(op, shape, before, after, mode) -> None:
    graph = normalised(op, shape, before, after, mode)
    fused = fuse_affine(graph)
    assert ops_of(fused) == ["Input", type(op).__name__]
    assert fused.nodes[1].label == "layer"
    assert_same_values(graph, fused, events_for(graph, 200))


def test_padded_zeros_are_scaled_but_not_shifted() -> None:
    graph = normalised(PADDED, (3, 5, 2), before=True, after=True)
    fused = fuse_affine(graph)
    assert ops_of(fused) == ["Input", "Constant", "Mul", "Constant", "Add", "Conv"]
    assert_same_values(graph, fused, events_for(graph, 200))
    graph = normalised(PADDED, (3, 5, 2), before=True, after=True, mode="mul")
    assert ops_of(fuse_affine(graph)) == ["Input", "Conv"]
    assert_same_values(graph, fuse_affine(graph), events_for(graph, 200))


def test_groups_have_their_own_channels() -> None:
    graph = normalised(GROUPED, (5, 4), before=True, after=True)
    fused = fuse_affine(graph)
    assert ops_of(fused) == ["Input", "Conv"]
    assert_same_values(graph, fused, events_for(graph, 200))


def test_two_layers_share_what_lies_between() -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", TensorType.uniform((2,), Fixed(True, 2, 1))))
    x = builder.add(DENSE, x)
    x = builder.add(ops.Mul(), x, builder.add(ops.Constant(SCALE)))
    x = builder.add(ops.Sub(), builder.add(ops.Constant(SHIFT)), x)
    x = builder.add(linear.Dense(Literal(RNG.integers(-4, 4, (3, 2)), 0)), x)
    graph = builder.build([x])
    fused = fuse_affine(graph)
    assert ops_of(fused) == ["Input", "Dense", "Dense"]
    assert_same_values(graph, fused, events_for(graph, 200))


@pytest.mark.parametrize(
    ("scale", "shape", "outputs"),
    [
        ([[3]], (2, 2), "both"),  # something else reads the layer
        ([[1, 2, 3], [1, 2, 4]], (2, 2), "last"),  # not the same at each position
        ([[1, 2, 3], [1, 2, 3]], (1, 2), "last"),  # the scale makes the tensor larger
    ],
)
def test_what_cannot_be_fused_stays(scale, shape, outputs) -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", TensorType.uniform(shape, Fixed(True, 2, 1))))
    y = builder.add(DENSE, x)
    z = builder.add(ops.Mul(), y, builder.add(ops.Constant(Literal(scale, 0))))
    graph = builder.build([z, y] if outputs == "both" else [z])
    assert fuse_affine(graph) == graph


def test_a_fused_layer_that_would_be_too_wide_stays_two() -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", TensorType((2,), [True, False], [24, 27], 4)))
    y = builder.add(linear.Dense(Literal([[2**27 + 1], [0]], 0)), x)
    z = builder.add(ops.Mul(), y, builder.add(ops.Constant(Literal([7], 0))))
    graph = builder.build([z])
    assert fuse_affine(graph) == graph


# --- all together --------------------------------------------------------------------------------


def test_optimise_leaves_only_the_network() -> None:
    """Batch normalisation, twice quantised activations and a dead branch."""
    builder = Builder("net")
    x = builder.add(ops.Input("x", TensorType.uniform((4, 6, 1), Fixed(False, 1, 0))))
    x = builder.add(q_like(builder, x, Fixed(True, 3, 3)), x)  # changes nothing
    kernel = Literal(np.arange(-4, 5).reshape(3, 3, 1, 1), 1)
    x = builder.add(linear.Conv(kernel, None, (1, 1), ((1, 1), (1, 1))), x, label="conv")
    x = builder.add(ops.Mul(), x, builder.add(ops.Constant(Literal([[[3]]], 1))), label="bn")
    x = builder.add(ops.Add(), x, builder.add(ops.Constant(Literal([[[-5]]], 2))), label="bn")
    builder.add(ops.Relu(), x)
    x = builder.add(ops.Relu(), x)
    x = builder.add(q_like(builder, x, Fixed(False, 9, 1)), x)
    x = builder.add(q_like(builder, x, Fixed(False, 4, 0)), x, label="act")
    graph = builder.build({"out": x})
    after = optimise(graph)
    assert ops_of(after) == ["Input", "Conv", "Relu", "Quantize"]
    assert [node.label for node in after.nodes] == ["", "conv", "", "act"]
    assert_same_values(graph, after, events_for(graph))


def q_like(builder: Builder, x: int, fixed: Fixed) -> ops.Quantize:
    return ops.Quantize(TensorType.uniform(builder.type(x).shape, fixed))


def test_large_graphs_are_optimised_in_seconds() -> None:
    builder = Builder()
    image = TensorType.uniform((9, 384, 8), Fixed(False, 1, 2))
    x = builder.add(ops.Input("x", image))
    rng = np.random.default_rng(0)
    for n in range(15):
        kernel = Literal(rng.integers(-3, 4, (3, 3, 8, 8)), 2)
        x = builder.add(linear.Conv(kernel, None, (1, 1), ((1, 1), (1, 1))), x, label=f"conv{n}")
        scale = ops.Constant(Literal(rng.integers(1, 4, (1, 1, 8)), 1))
        x = builder.add(ops.Mul(), x, builder.add(scale))
        x = builder.add(ops.Add(), x, builder.add(scale))
        x = builder.add(ops.Relu(), x)
        x = builder.add(ops.Quantize(image, Rounding.RND, Overflow.SAT), x)
    x = builder.add(moves.Reshape((9 * 384 * 8,)), x)
    graph = builder.build([x])
    start = time.perf_counter()
    after = optimise(graph)
    took = time.perf_counter() - start
    assert len(after.nodes) == 1 + 15 * 3 + 1
    assert took < 30, f"{took:.1f} s"
