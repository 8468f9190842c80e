"""Units, their importance, the estimate of LUTs, cuts of bits: what is dead goes for nothing."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.errors import InputError
from hairtrigger.explain.bits import Cut, Probe, cut, cuts_of, greedy_path, without_bits, worths
from hairtrigger.explain.cost import calibration, digits, lut_estimate
from hairtrigger.explain.importance import eliminate, importances
from hairtrigger.explain.simplify import candidates, choose_channels, choose_inputs, without
from hairtrigger.explain.units import (
    INPUT,
    Dropped,
    Unit,
    channel_units,
    input_units,
    mask_of,
    without_channels,
    without_inputs,
)
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.frontends.hgq import from_hgq
from hairtrigger.graph import Builder, Graph, TensorType, emulate_codes, encode, verify
from hairtrigger.graph.emulate import emulate
from hairtrigger.graph.linear import Dense
from hairtrigger.graph.ops import Input, Quantize, Relu
from hairtrigger.graph.passes import optimise
from hairtrigger.graph.types import Literal
from hgq_models import model_of, prepare, random_codes

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def network(kernels: list[np.ndarray]) -> Graph:
    """Products with Relu and a Quantize between them, labelled layer0, layer1, ..."""
    builder = Builder("net")
    shape = (len(kernels[0]),)
    place = builder.add(Input("x", TensorType.uniform(shape, Fixed(True, 3, 2))))
    for n, kernel in enumerate(kernels):
        label = f"layer{n} (QDense)"
        if n:
            place = builder.add(Relu(), place, label=label)
            t = TensorType.uniform((kernel.shape[0],), Fixed(False, 4, 3))
            place = builder.add(Quantize(t, Rounding.RND, Overflow.SAT), place, label=label)
        bias = Literal(np.arange(kernel.shape[1]) - 1, 2)
        place = builder.add(Dense(Literal(kernel, 2), bias), place, label=label)
    return builder.build({"y": place})


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    sizes = draw(st.lists(st.integers(2, 5), min_size=3, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    return network([rng.integers(-20, 21, pair) for pair in pairwise(sizes)])


def codes_of(graph: Graph, seed: int = 1) -> tuple[np.ndarray, ...]:
    return tuple(random_codes(op.type, seed) for op in graph.input_ops)


def real(graph: Graph, codes: tuple[np.ndarray, ...]) -> np.ndarray:
    (t,) = graph.output_types
    return emulate_codes(graph, codes)[0] * 2.0**-t.lsb


@settings(max_examples=30, deadline=None)
@given(networks(), st.data())
def test_inputs_that_go_are_inputs_that_are_zero(graph: Graph, data: st.DataObject):
    count = graph.input_ops[0].type.shape[0]
    gone = data.draw(st.sets(st.integers(0, count - 1), max_size=count - 1))
    dropped = Dropped(0, tuple(sorted(gone)))
    simpler = without_inputs(graph, dropped)
    verify(simpler)
    values = codes_of(graph)[0] * 2.0**-2
    mask = mask_of((count,), dropped)
    (there,) = emulate(simpler, values)
    assert np.array_equal(there, emulate(graph, values * mask)[0])
    assert simpler.input_ops[0].type.bits == 6 * (count - len(gone))
    assert sum(lut_estimate(simpler)) <= sum(lut_estimate(optimise(graph)))


@settings(max_examples=30, deadline=None)
@given(networks(), st.data())
def test_a_dead_channel_goes_for_nothing(graph: Graph, data: st.DataObject):
    """A channel that nothing reads changes no number when it goes; bit for bit."""
    dense = [n for n, node in enumerate(graph.nodes) if isinstance(node.op, Dense)]
    first, second = (graph.nodes[n].op for n in dense[:2])
    assert isinstance(first, Dense)
    assert isinstance(second, Dense)
    channel = data.draw(st.integers(0, first.kernel.shape[1] - 1))
    kernels = [graph.nodes[n].op.kernel.codes.copy() for n in dense]
    kernels[1][channel] = 0
    dead = network(kernels)
    simpler = without(dead, [Unit("layer0", channel)])
    verify(simpler)
    codes = codes_of(graph)
    assert np.array_equal(real(dead, codes), real(simpler, codes))


def planted() -> Any:
    """A network that reads inputs 1 and 3 alone, through channel 2 of its first layer."""
    keras = prepare()
    x = keras.Input((4,))
    hidden = keras.layers.Dense(3, activation="relu", name="hidden")(x)
    model = keras.Model(x, keras.layers.Dense(2, name="out")(hidden))
    kernel = np.zeros((4, 3), np.float32)
    kernel[1, 2], kernel[3, 2], kernel[0, 0] = 1.0, 0.25, 5.0
    model.get_layer("hidden").kernel.assign(kernel)
    model.get_layer("out").kernel.assign(np.array([[0, 1], [0, 0], [2, 0]], np.float32))
    return model


@pytest.mark.parametrize("method", ["occlusion", "gradient", "shapley"])
def test_what_matters_is_found(method: str):
    model = planted()
    events = np.random.default_rng(1).uniform(0.5, 1.5, (200, 4)).astype(np.float32)
    found = importances(model, events, input_units(model), method=method, orders=4)
    order = sorted(found, key=lambda unit: -found[unit])
    assert [unit.index for unit in order[:2]] == [1, 3]
    # Linear where it is alive, so every method gives the share itself.
    assert found[Unit(INPUT, 1)] == pytest.approx(2 * events[:, 1].mean(), rel=1e-4)
    assert found[Unit(INPUT, 0)] == pytest.approx(0, abs=1e-5)
    other = importances(model, events, input_units(model), method=method, output=1)
    assert max(other, key=lambda unit: other[unit]) == Unit(INPUT, 0)


def test_of_two_that_say_the_same_one_stays():
    """Inputs 0 and 1 are copies of which the larger counts; input 2 matters a little."""
    keras = prepare()
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Dense(1)(keras.layers.Dense(2, activation="relu")(x)))
    # max(a, b) + c / 4 = relu(a - b) + b + c / 4, for inputs that are not negative.
    first, last = model.layers[1:]
    first.kernel.assign(np.array([[1, 0], [-1, 1], [0, 0.25]], np.float32))
    last.kernel.assign(np.ones((2, 1), np.float32))
    one = np.random.default_rng(2).uniform(0.5, 1.5, (100, 1))
    events = np.concatenate([one, one, one], axis=1).astype(np.float32)
    alone = importances(model, events, input_units(model))
    assert max(alone, key=lambda unit: alone[unit]) == Unit(INPUT, 2)
    gone = eliminate(model, events, input_units(model), 2)
    assert [unit.index for unit, _ in gone] in ([0], [1])
    gone = eliminate(model, events, input_units(model), 1)
    assert [unit.index for unit, _ in gone][1] == 2
    changes = [change for _, change in gone]
    assert changes[0] == pytest.approx(0, abs=1e-6)
    assert changes[1] == pytest.approx(one.mean() / 4, rel=1e-4)


def test_channels_are_found_and_held():
    model = planted()
    events = np.ones((8, 4), np.float32)
    units = channel_units(model)
    assert units == tuple(Unit("hidden", n) for n in range(3))
    before = [np.asarray(v) for v in model.get_weights()]
    found = importances(model, events, units)
    assert max(found, key=lambda unit: found[unit]) == Unit("hidden", 2)
    assert found[Unit("hidden", 0)] == found[Unit("hidden", 1)] == 0
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.array_equal(old, new)
    without_channels(model, {"hidden": [2]})
    without_channels(model, {"hidden": [0]})
    kernel = np.ones((4, 3), np.float32)
    held = np.asarray(model.get_layer("hidden").kernel.constraint(kernel))
    assert held.sum(axis=0).tolist() == [0, 4, 0]


def test_a_converted_network_without_channels_is_its_graph_without_them():
    import hgq.layers as q

    model = model_of(
        lambda x: q.QDense(2, name="last")(q.QDense(5, activation="relu", name="a")(x)), (6,)
    )
    graph = optimise(from_hgq(model))
    gone = [Unit("a", 1), Unit("a", 4)]
    simpler = without(graph, gone)
    without_channels(model, {"a": [1, 4]})
    codes = codes_of(graph)
    assert np.array_equal(real(simpler, codes), real(optimise(from_hgq(model)), codes))


def test_dropped_adds_up():
    one = Dropped(1).plus([Unit(INPUT, 3), Unit("a", 2)]).plus([Unit("a", 0), Unit(INPUT, 1)])
    assert one == Dropped(1, (1, 3), {"a": (0, 2)})
    assert set(one.units) == {Unit(INPUT, 1), Unit(INPUT, 3), Unit("a", 0), Unit("a", 2)}
    mask = mask_of((2, 4), one)
    assert mask.tolist() == [[1, 0, 1, 0]] * 2


def test_the_least_for_a_lut_goes_first():
    rng = np.random.default_rng(5)
    graph = network([rng.integers(-90, 91, (4, 4)), rng.integers(-90, 91, (4, 1))])
    units = [Unit("layer0", n) for n in range(4)]
    ranked = candidates(graph, dict(zip(units, (0.5, 0.0, 2.0, 0.1), strict=True)))
    assert ranked[0].unit == Unit("layer0", 1)
    assert all(one.lut > 0 for one in ranked)
    gone = choose_channels(graph, ranked, 0.6)
    assert gone == tuple(one.unit for one in ranked[: len(gone)])
    left = sum(lut_estimate(without(graph, gone))) / sum(lut_estimate(graph))
    assert left <= 0.6
    with pytest.raises(InputError, match="Channels can go down to"):
        choose_channels(graph, ranked, 0.001)
    inputs = candidates(graph, {Unit(INPUT, n): float(n) for n in range(4)})
    assert choose_inputs(inputs, 2) == (Unit(INPUT, 0), Unit(INPUT, 1))
    for keep in (4, 9):
        with pytest.raises(InputError, match="reads 4 slices"):
            choose_inputs(inputs, keep)


@settings(max_examples=200)
@given(st.integers(-(2**40), 2**40))
def test_digits_are_those_of_the_canonical_form(code: int):
    count, rest = 0, abs(code)
    while rest:
        if rest & 1:
            digit = 2 - (rest & 3)
            rest -= digit
            count += 1
        rest >>= 1
    assert int(digits(np.array([code]))[0]) == count


def test_the_estimate_is_calibrated_and_refuses():
    graph = network([np.full((4, 3), 7), np.full((3, 1), 5)])
    assert calibration(graph, 1, 300) * sum(lut_estimate(graph)) == pytest.approx(300)
    with pytest.raises(InputError, match="interval = 0"):
        lut_estimate(graph, 0)


# --- bits ----------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(networks(), st.data())
def test_a_cut_graph_keeps_the_contract_and_the_probe_its_numbers(
    graph: Graph, data: st.DataObject
):
    offered = cuts_of(graph, ("low", "high"))
    chosen = data.draw(st.lists(st.sampled_from(offered), min_size=1, max_size=6))
    changed = cut(graph, chosen)
    verify(changed)
    codes = codes_of(graph)
    probe = Probe(graph, codes)
    assert np.array_equal(probe.outputs(graph)[0], real(graph, codes))
    assert np.array_equal(probe.outputs(changed)[0], real(changed, codes))
    deployed = without_bits(graph, chosen)
    assert np.array_equal(real(deployed, codes), real(changed, codes))


def test_bits_that_say_nothing_are_free():
    """Weights and inputs are whole numbers, so no value has a fraction: its bits are slack."""
    builder = Builder("slack")
    x = builder.add(Input("x", TensorType.uniform((3,), Fixed(True, 3, 0))))
    h = builder.add(Dense(Literal(np.array([[1, 2], [3, 1], [1, 1]]), 0)), x)
    t = TensorType.uniform((2,), Fixed(True, 8, 3))
    h = builder.add(Quantize(t, Rounding.RND, Overflow.SAT), h, label="out (QDense)")
    graph = builder.build({"y": builder.add(Dense(Literal(np.array([[1], [5]]), 0)), h)})
    codes = codes_of(graph)
    probe = Probe(graph, codes)
    (one,) = cuts_of(graph)
    assert one == Cut(2, None, "low")
    for times in (1, 2, 3):
        assert np.array_equal(probe.outputs(cut(graph, [one] * times))[0], real(graph, codes))
    assert not np.array_equal(probe.outputs(cut(graph, [one] * 4))[0], real(graph, codes))
    (worth,) = worths(probe, [one])
    assert worth.harm == 0
    assert worth.lut > 0
    assert worth.label == "out (QDense)"


def test_the_path_goes_as_far_as_it_was_asked_to():
    rng = np.random.default_rng(3)
    graph = network(
        [rng.integers(-90, 91, (5, 6)), rng.integers(-90, 91, (6, 4)), rng.integers(-9, 10, (4, 1))]
    )
    probe = Probe(graph, codes_of(graph))
    table = worths(probe, cuts_of(graph))
    path = greedy_path(probe, table, 0.8)
    assert path.points[-1].left <= 0.8
    assert all(point.left > 0.8 for point in path.points[:-1])
    made = path.until(0.9)
    assert sum(lut_estimate(cut(graph, made))) <= 0.9 * sum(lut_estimate(graph))
    assert len(made) < len(path.cuts)
    with pytest.raises(InputError, match="Bits can go down to"):
        path.until(0.1)
    with pytest.raises(InputError, match="share = 1"):
        greedy_path(probe, table, 1)
    harm = [point.harm for point in path.points]
    assert harm[-1] >= harm[0]


def test_a_bit_that_is_free_is_not_taken_for_all_of_its_value():
    """Codes are multiples of 8: three bits are free, the fourth is not, whatever the first cost."""
    builder = Builder("slack")
    x = builder.add(Input("x", TensorType.uniform((2,), Fixed(False, 4, 0))))
    t = TensorType.uniform((2,), Fixed(False, 4, 3))
    h = builder.add(Quantize(t, Rounding.RND, Overflow.SAT), x, label="a (QDense)")
    h = builder.add(Dense(Literal(np.array([[51, 45], [83, 21]]), 0)), h, label="a (QDense)")
    wide = TensorType.uniform((2,), Fixed(False, 11, 4))
    h = builder.add(Quantize(wide, Rounding.RND, Overflow.SAT), h, label="b (QDense)")
    graph = builder.build({"y": builder.add(Dense(Literal(np.array([[51], [45]]), 0)), h)})
    probe = Probe(graph, codes_of(graph))
    table = worths(probe, cuts_of(graph))
    path = greedy_path(probe, table, 0.5)
    free = [point for point in path.points if point.harm == 0]
    assert len(free) == 7  # three bits of the first, four of the second
    assert path.points[: len(free)] == tuple(free)


def test_cuts_of_another_graph_are_refused():
    graph = network([np.full((3, 2), 3), np.full((2, 1), 3)])
    (one,) = cuts_of(graph)
    for wrong in (Cut(0, None), Cut(99, None), Cut(one.place, None, "middle"), Cut(one.place, 7)):
        with pytest.raises(InputError, match=r"is no cut|the node has shape"):
            cut(graph, [wrong])
    with pytest.raises(InputError, match="no end"):
        cuts_of(graph, ("middle",))


def test_what_cannot_be_dropped_is_refused():
    model = planted()
    events = np.ones((4, 4), np.float32)
    with pytest.raises(InputError, match="no method 'guess'"):
        importances(model, events, input_units(model), method="guess")
    with pytest.raises(InputError, match="no events"):
        importances(model, events[:0], input_units(model))
    with pytest.raises(InputError, match="Output 2 of 2"):
        importances(model, events, input_units(model), output=2)
    with pytest.raises(InputError, match="not channels"):
        importances(model, events, channel_units(model), method="shapley")
    with pytest.raises(InputError, match="no inner layer 'out'"):
        without_channels(model, {"out": [0]})
    with pytest.raises(InputError, match="channels 0 to 2"):
        without_channels(model, {"hidden": [3]})
    with pytest.raises(InputError, match=r"no slices \[4\]"):
        mask_of((4,), Dropped(0, (4,)))
    with pytest.raises(InputError, match="Axis 1"):
        input_units(model, 1)
    graph = network([np.full((3, 2), 3), np.full((2, 1), 3)])
    with pytest.raises(InputError, match="no products of layers"):
        without(graph, [Unit("layer7", 0)])
    assert encode(graph, np.zeros((1, 3)))[0].shape == (1, 3)
