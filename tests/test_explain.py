"""Attributions against what can be computed by hand: linear networks, games, conservation."""

from __future__ import annotations

from itertools import permutations
from math import factorial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.errors import InputError, UnsupportedError
from hairtrigger.explain.attribution import (
    Groups,
    Scalar,
    as_subject,
    by_axis,
    by_windows,
    grad_cam,
    gradient_times_input,
    group_occlusion,
    integrated_gradients,
    light_up,
    occlusion,
    relevance,
    saliency,
    shapley,
    smooth_grad,
)
from hairtrigger.explain.faithfulness import completeness
from hairtrigger.graph import Graph
from hgq_models import prepare

RNG = np.random.default_rng(4)


@pytest.fixture(scope="module")
def linear() -> tuple[Any, np.ndarray]:
    """A network that is a matrix, and the matrix (5, 2)."""
    keras = prepare()
    given = keras.Input((5,))
    model = keras.Model(given, keras.layers.Dense(2, use_bias=True, name="out")(given))
    weights = RNG.normal(size=(5, 2)).astype(np.float32)
    model.set_weights([weights, np.array([0.5, -0.25], np.float32)])
    return model, weights


@pytest.fixture(scope="module")
def convolution() -> Any:
    """Convolution, pools and moves of numbers, without biases: relevance is conserved."""
    keras = prepare()
    layers = keras.layers
    keras.utils.set_random_seed(2)
    given = keras.Input((4, 6, 1))
    x = layers.Conv2D(3, (3, 2), padding="same", activation="relu", use_bias=False)(given)
    x = layers.MaxPooling2D((2, 1))(x)
    x = layers.Permute((2, 1, 3))(x)
    both = layers.Concatenate()(
        [layers.GlobalMaxPooling2D()(x), layers.AveragePooling2D((6, 1))(x)[:, 0, 0]]
    )
    x = layers.Dense(4, activation="relu", use_bias=False, kernel_initializer="ones")(both)
    return keras.Model(given, layers.Dense(2, use_bias=False, name="out")(x))


@pytest.fixture(scope="module")
def quantised() -> tuple[Any, Graph]:
    """A small network of HGQ2 layers on images of bits, and its Graph."""
    keras = prepare()
    import hgq.layers as q
    from hgq.config import QuantizerConfigScope

    from hairtrigger.frontends.hgq import from_hgq

    keras.utils.set_random_seed(3)
    with QuantizerConfigScope(place="all", overflow_mode="SAT", i0=4, f0=4):
        given = keras.Input((3, 8, 1))
        x = q.QConv2D(4, (3, 3), padding="same", activation="relu", name="conv")(given)
        x = keras.layers.Flatten()(x)
        x = q.QDense(6, activation="relu", name="hidden")(x)
        model = keras.Model(given, q.QDense(2, name="out")(x), name="bits")
    return model, from_hgq(model)


def images(events: int, seed: int = 0, shape: tuple[int, ...] = (3, 8, 1)) -> np.ndarray:
    return (np.random.default_rng(seed).random((events, *shape)) < 0.3).astype(np.uint8)


def game(of: Any, players: int) -> tuple[Any, Groups]:
    """A subject whose answer is a function of which inputs are 1, through a Graph that copies."""
    from hairtrigger.fixed import Fixed
    from hairtrigger.graph import Builder, TensorType
    from hairtrigger.graph.ops import Input

    b = Builder("copy")
    x = b.add(Input("x", TensorType.uniform((players,), Fixed(False, 1, 0))))
    graph = b.build({"y": x})
    return as_subject(graph, Scalar("game", of)), by_axis((players,), 0, list("abcdefgh"[:players]))


def brute(of: Any, players: int) -> np.ndarray:
    """Shapley values of all players present, over all orders."""
    values = np.zeros(players)
    for order in permutations(range(players)):
        there = np.zeros((1, players))
        before = of(there)[0]
        for player in order:
            there[0, player] = 1
            after = of(there)[0]
            values[player] += after - before
            before = after
    return values / factorial(players)


# --- closed forms --------------------------------------------------------------------------------


def test_linear_network_owes_weight_times_distance_by_every_complete_method(linear: Any) -> None:
    model, weights = linear
    x = RNG.normal(size=(4, 5)).astype(np.float32)
    base = RNG.normal(size=5).astype(np.float32)
    wanted = weights[:, 1] * (x - base)
    options: dict[str, Any] = {"baseline": base}
    for found in (
        integrated_gradients(model, x, 1, steps=1, **options),
        gradient_times_input(model, x, 1, **options),
        occlusion(model, x, 1, **options),
        light_up(model, x, 1, orders=2, **options),
    ):
        np.testing.assert_allclose(found.values, wanted, atol=2e-6, err_msg=found.method)
        assert found.values.dtype == np.float32
    exact = shapley(model, x, by_axis((5,), 0, list("abcde")), 1, baseline=base)
    np.testing.assert_allclose(exact.values, wanted, atol=2e-6)
    np.testing.assert_allclose(saliency(model, x, 1).values, np.abs(weights[:, 1]) + 0 * x)
    smooth = smooth_grad(model, x, 1, samples=3).values
    np.testing.assert_allclose(smooth, weights[:, 1] + 0 * x, atol=1e-6)


def test_scalar_of_several_outputs(linear: Any) -> None:
    model, weights = linear
    x = RNG.normal(size=(3, 5)).astype(np.float32)
    both = Scalar("difference", lambda y: y[:, 1] - 2 * y[:, 0])
    found = integrated_gradients(model, x, both, steps=1)
    np.testing.assert_allclose(found.values, (weights[:, 1] - 2 * weights[:, 0]) * x, atol=2e-6)
    assert found.output == "difference"


def test_shapley_of_and_or_and_additive_games() -> None:
    everyone = np.ones((1, 3))
    for of, wanted in (
        (lambda y: y[:, 0] * y[:, 1], [0.5, 0.5, 0]),
        (lambda y: 1 - (1 - y[:, 0]) * (1 - y[:, 1]) * (1 - y[:, 2]), [1 / 3] * 3),
        (lambda y: 3 * y[:, 0] - 2 * y[:, 1] + 7, [3, -2, 0]),
        (lambda y: y[:, 0] * (y[:, 1] + y[:, 2]), [1, 0.5, 0.5]),
    ):
        subject, groups = game(of, 3)
        found = shapley(subject, everyone, groups)
        np.testing.assert_allclose(found.values[0], wanted, atol=1e-12)
        assert found.answers[0] == of(everyone)[0]


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_exact_shapley_is_that_of_all_orders(players: int, seed: int) -> None:
    table = np.random.default_rng(seed).normal(size=1 << players)
    powers = 1 << np.arange(players)

    def of(y: np.ndarray) -> np.ndarray:
        return table[(np.asarray(y) @ powers).astype(int)]

    subject, groups = game(of, players)
    found = shapley(subject, np.ones((1, players)), groups)
    np.testing.assert_allclose(found.values[0], brute(of, players), atol=1e-12)
    assert completeness(found).worst < 1e-12
    # A player that changes places with another changes values with it.
    flipped = shapley(
        as_subject(subject.model, Scalar("flipped", lambda y: of(y[:, ::-1]))),
        np.ones((1, players)),
        groups,
    )
    np.testing.assert_allclose(flipped.values[0], found.values[0, ::-1], atol=1e-12)


def test_group_at_the_baseline_has_no_part_and_sampled_agrees_within_errors() -> None:
    table = np.random.default_rng(7).normal(size=64)
    powers = 1 << np.arange(6)
    subject, groups = game(lambda y: table[(np.asarray(y) @ powers).astype(int)], 6)
    event = np.array([[1, 0, 1, 1, 1, 1]])
    exact = shapley(subject, event, groups)
    sampled = shapley(subject, event, groups, orders=400, seed=1)
    assert exact.values[0, 1] == 0
    assert sampled.values[0, 1] == 0
    off = np.abs(sampled.values - exact.values)[0, [0, 2, 3, 4, 5]]
    assert sampled.error is not None
    error = sampled.error[0, [0, 2, 3, 4, 5]]
    assert (error > 0).all()
    assert (off < 4.5 * error).all()
    assert completeness(sampled).worst < 1e-12


def test_relevance_is_conserved_and_equals_gradient_times_input(convolution: Any) -> None:
    x = RNG.random((6, 4, 6, 1)).astype(np.float32)
    found = relevance(convolution, x, 0, epsilon=1e-9)
    answer = as_subject(convolution, 0).values(x)
    np.testing.assert_allclose(found.values.sum(axis=(1, 2, 3)), answer, rtol=1e-3, atol=1e-5)
    # Of a network of ReLU without bias the epsilon rule is the gradient times the input.
    wanted = gradient_times_input(convolution, x, 0).values
    np.testing.assert_allclose(found.values, wanted, rtol=2e-3, atol=2e-5)


def test_positive_rule_by_hand() -> None:
    keras = prepare()
    given = keras.Input((3,))
    hidden = keras.layers.Dense(2, activation="relu", name="h")
    model = keras.Model(given, keras.layers.Dense(1, name="y")(hidden(given)))
    model.set_weights(
        [
            np.array([[1, 0], [2, 1], [-1, 3]], np.float32),
            np.zeros(2, np.float32),
            np.array([[1], [2]], np.float32),
            np.zeros(1, np.float32),
        ]
    )
    found = relevance(model, np.array([[1, 1, 1]]), rule="z+").values[0]
    # h = (2, 4), y = 10: 2 and 8; shared 1:2 in the first unit and 1:3 in the second.
    np.testing.assert_allclose(found, [2 / 3, 4 / 3 + 2, 6], rtol=1e-4)
    with pytest.raises(InputError, match="not negative"):
        relevance(model, np.array([[-1.0, 1, 1]]), rule="z+")


@pytest.fixture(scope="module")
def all_layers() -> Any:
    """HGQ2 layers that have a rule, each, with biases that are not 0 and coarse formats."""
    keras = prepare()
    import hgq.layers as q
    from hgq.config import QuantizerConfigScope

    keras.utils.set_random_seed(5)
    with QuantizerConfigScope(place="all", overflow_mode="SAT", i0=2, f0=2):
        given = keras.Input((6, 4, 2))
        x = q.QConv2D(3, (3, 3), padding="same", activation="relu", name="conv")(given)
        x = q.QMaxPooling2D((2, 2), name="pool")(x)
        line = q.QConv1D(3, 2, padding="same", activation="relu", name="line")(x[:, :, 0])
        both = q.QAdd(name="add")([line, q.QAveragePooling2D((1, 2), name="mean")(x)[:, :, 0]])
        total = q.QSum(axes=(1,), scale=0.5, name="sum")(both)
        part = q.QMeanPow2(axes=(1,), name="half")(line)
        x = q.QAveragePow2(name="middle")([total, part])
        x = q.QDense(5, activation="relu", name="hidden")(x)
        model = keras.Model(given, q.QDense(2, name="out")(x))
    rng = np.random.default_rng(8)
    for layer in model.layers:
        if getattr(layer, "bias", None) is not None:
            layer.bias.assign(rng.normal(0, 0.5, layer.bias.shape))
    return model


def test_rounded_sums_are_what_quantised_layers_say(all_layers: Any) -> None:
    from hairtrigger.explain.relevance import linear_part, rounded
    from hairtrigger.frontends.hgq_support import functional, walk

    x = np.random.default_rng(1).normal(0, 3, (7, 6, 4, 2)).astype(np.float32)
    values: dict[int, Any] = {id(all_layers.inputs[0]): x}
    seen: list[str] = []
    for node in walk(functional(all_layers)):
        args, kwargs = node.arguments.fill_in(values)
        values[id(node.outputs[0])] = said = node.operation(*args, **kwargs)
        op = node.operation
        if not type(op).__name__.startswith("Q") or "MaxPool" in type(op).__name__:
            continue
        tensors = list({id(t): t for t in node.arguments.keras_tensors}.values())
        linear, offset = linear_part(node, tensors)
        found = linear(*rounded(op, [values[id(t)] for t in tensors])) + offset
        found = op.activation(found) if getattr(op, "activation", None) else found
        np.testing.assert_array_equal(np.asarray(found), np.asarray(said), err_msg=op.name)
        seen.append(type(op).__name__)
    assert len(set(seen)) == 8, seen


def test_relevance_of_quantised_layers_is_conserved_but_for_biases(all_layers: Any) -> None:
    from hairtrigger.train.checkpoint import to_array

    x = np.random.default_rng(2).uniform(0.5, 3, (7, 6, 4, 2)).astype(np.float32)
    weighted = [v for v in all_layers.layers if getattr(v, "bias", None) is not None]
    kept = [to_array(layer.bias) for layer in weighted]
    try:
        for layer in weighted:
            layer.bias.assign(np.zeros(layer.bias.shape))
        answer = as_subject(all_layers, 1).values(x)
        found = relevance(all_layers, x, 1, epsilon=1e-9)
    finally:
        for layer, bias in zip(weighted, kept, strict=True):
            layer.bias.assign(bias)
    assert np.abs(answer).max() > 0.1
    np.testing.assert_allclose(found.values.sum(axis=(1, 2, 3)), answer, rtol=1e-4, atol=1e-5)
    taken = relevance(all_layers, x, 1, epsilon=1e-9).values.sum(axis=(1, 2, 3))
    assert not np.allclose(taken, as_subject(all_layers, 1).values(x), rtol=1e-3)


def test_the_straight_path_is_refined_where_it_has_kinks(convolution: Any, quantised: Any) -> None:
    from hairtrigger.explain.refine import refined_gradients

    keras = prepare()
    given = keras.Input((2,))
    hidden = keras.layers.Dense(2, activation="relu", name="h")(given)
    model = keras.Model(given, keras.layers.Dense(1, use_bias=False, name="y")(hidden))
    model.set_weights(
        [
            np.array([[1, 0], [1, 1]], np.float32),
            np.array([-0.37, -0.811], np.float32),
            np.array([[1], [-5]], np.float32),
        ]
    )
    # Unit 1 opens at t = 0.185 (x = y = t), unit 2 at 0.811: shares by hand.
    found = refined_gradients(model, np.ones((1, 2), np.float32), within=1e-4)
    wanted = [1 - 0.185, 1 - 0.185 - 5 * (1 - 0.811)]
    np.testing.assert_allclose(found.values[0], wanted, atol=2e-4)
    coarse = integrated_gradients(model, np.ones((1, 2), np.float32), steps=32)
    assert completeness(found).share < 1e-3 < completeness(coarse).share

    x = RNG.normal(0, 1, (70, 4, 6, 1)).astype(np.float32)
    found = refined_gradients(convolution, x, 0, within=1e-3)
    assert completeness(found).within > 0.95
    fine = integrated_gradients(convolution, x, 0, steps=2000)
    np.testing.assert_allclose(found.values, fine.values, atol=0.01 * np.abs(fine.values).max())

    # A rounded answer jumps: it ends all the same, and says how much it misses.
    jumping, graph = quantised
    assert np.isfinite(refined_gradients(jumping, images(3), 1).values).all()
    with pytest.raises(UnsupportedError, match="no gradient"):
        refined_gradients(graph, images(3), 1)
    for bad in ({"within": 0.0}, {"within": 1.0}, {"most": 8}):
        with pytest.raises(InputError, match="within ="):
            refined_gradients(jumping, images(3), 1, **bad)


def test_lighting_is_complete_to_rounding_and_a_dark_event_has_no_map(quantised: Any) -> None:
    model, graph = quantised
    x = images(6)
    x[0] = 0
    for network in (model, graph):
        found = light_up(network, x, 1, orders=4, seed=2)
        assert completeness(found).worst < 1e-5
        assert not found.values[0].any()
        assert not found.values[x == 0].any()
        assert found.error is not None
        assert found.error.shape == x.shape
    again = light_up(graph, x, 1, orders=4, seed=2)
    assert np.array_equal(found.values, again.values)


def test_student_and_chip_are_explained_alike_to_the_bit(quantised: Any) -> None:
    model, graph = quantised
    x = images(8, 1)
    for explain in (occlusion, light_up):
        a, b = explain(model, x, 1), explain(graph, x, 1)
        assert np.array_equal(a.values, b.values)
        assert np.array_equal(a.answers, b.answers)
    rows = by_axis((3, 8, 1), 0, ["low", "high", "high"])
    for share in (shapley, group_occlusion):
        a, b = share(model, x, rows), share(graph, x, rows)
        assert np.array_equal(a.values, b.values)


def test_gradients_pass_straight_through_the_rounding(quantised: Any) -> None:
    found = gradient_times_input(quantised[0], images(4), 0)
    assert np.isfinite(found.values).all()
    assert found.values.any()


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_integrated_gradients_are_complete_on_random_networks(seed: int) -> None:
    model, x = small_network(seed)
    found = integrated_gradients(model, x, 0, steps=512)
    assert completeness(found).share < 0.01
    found = light_up(model, x, 0, orders=2, seed=seed % 1000)
    assert completeness(found).share < 1e-4


_small: list[Any] = []


def small_network(seed: int) -> tuple[Any, np.ndarray]:
    keras = prepare()
    if not _small:
        given = keras.Input((6,))
        x = keras.layers.Dense(7, activation="relu")(given)
        _small.append(keras.Model(given, keras.layers.Dense(1)(x)))
    rng = np.random.default_rng(seed)
    _small[0].set_weights([rng.normal(size=tuple(w.shape)) for w in _small[0].weights])
    return _small[0], rng.normal(size=(16, 6)).astype(np.float32)


def test_other_weights_need_no_other_subject() -> None:
    model, x = small_network(1)
    subject = as_subject(model)
    before = subject.values(x)
    small_network(2)
    assert not np.allclose(subject.values(x), before)


def test_activation_map_is_where_the_channel_fires() -> None:
    keras = prepare()
    given = keras.Input((2, 8, 1))
    conv = keras.layers.Conv2D(1, (1, 1), use_bias=False, name="conv")
    x = keras.layers.GlobalAveragePooling2D()(conv(given))
    model = keras.Model(given, keras.layers.Dense(1, use_bias=False)(x))
    model.set_weights([np.full((1, 1, 1, 1), 2.0), np.array([[-3.0]])])
    event = np.zeros((1, 2, 8, 1))
    event[0, 1, 5] = 1
    found = grad_cam(model, event)
    # Gradient -3 / 16 of each place, activation 2 in one.
    assert found.values[0, 1, 5, 0] == pytest.approx(-6 / 16)
    assert np.count_nonzero(found.values) == 1
    assert not grad_cam(model, event, positive=True).values.any()
    assert found.method == "grad_cam of conv"


def test_chunks_change_nothing(quantised: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = images(5, 3)
    rows = by_axis((3, 8, 1), 0, ["a", "b", "c"])
    whole = light_up(quantised[1], x), occlusion(quantised[1], x), shapley(quantised[1], x, rows)
    monkeypatch.setattr("hairtrigger.explain.removal.CHUNK_BYTES", 100)
    monkeypatch.setattr("hairtrigger.explain.shapley.CHUNK_BYTES", 100)
    parts = light_up(quantised[1], x), occlusion(quantised[1], x), shapley(quantised[1], x, rows)
    for a, b in zip(whole, parts, strict=True):
        assert np.array_equal(a.values, b.values)


# --- refusals ------------------------------------------------------------------------------------


def test_events_of_another_model_are_refused(linear: Any) -> None:
    model, _ = linear
    for bad, said in (
        (np.zeros((3, 4)), r"\(3, 4\).*not made for this model"),
        (np.zeros(5), "not made"),
        (np.zeros((0, 5)), "no events"),
        (np.full((2, 5), np.nan), "10 of 10"),
        (np.array([["a"] * 5]), "dtype"),
    ):
        with pytest.raises(InputError, match=said):
            occlusion(model, bad)
    with pytest.raises(InputError, match="no output 2 of 2"):
        occlusion(model, np.ones((1, 5)), 2)
    with pytest.raises(InputError, match="baseline"):
        occlusion(model, np.ones((1, 5)), baseline=np.zeros(4))
    with pytest.raises(InputError, match="neither a Keras model nor a Graph"):
        occlusion("model", np.ones((1, 5)))


def test_methods_refuse_what_they_cannot_and_name_what_works(quantised: Any, linear: Any) -> None:
    model, graph = quantised
    x = images(2)
    for explain in (saliency, gradient_times_input, integrated_gradients, smooth_grad):
        with pytest.raises(
            UnsupportedError, match=r"no gradient.*\n.*occlusion, shapley, light_up"
        ):
            explain(graph, x)
    for explain in (grad_cam, relevance):
        with pytest.raises(UnsupportedError, match="occlusion"):
            explain(graph, x)
    keras = prepare()
    given = keras.Input((3, 8, 1))
    other = keras.layers.Conv2DTranspose(1, 3, padding="same", name="up")(given)
    other = keras.layers.Dense(1, activation="tanh", name="curve")(other)
    with pytest.raises(
        UnsupportedError,
        match=r"up \(Conv2DTranspose\), curve \(activation tanh\).*\n.*integrated_gradients",
    ):
        relevance(keras.Model(given, other), x)
    with pytest.raises(UnsupportedError, match="no convolution"):
        grad_cam(linear[0], np.ones((1, 5)))
    with pytest.raises(InputError, match="no layer 'other'"):
        grad_cam(model, x, layer="other")


def test_arguments_out_of_range(linear: Any) -> None:
    model, _ = linear
    x = np.ones((1, 5))
    for call in (
        lambda: light_up(model, x, orders=3),
        lambda: integrated_gradients(model, x, steps=0),
        lambda: smooth_grad(model, x, noise=0),
        lambda: relevance(model, x, rule="gamma"),
        lambda: relevance(model, x, epsilon=0),
        lambda: by_axis((5,), 0, ["a"]),
        lambda: by_windows((5,), 1, 2),
        lambda: Groups(np.zeros(5), ("a",)),
        lambda: Groups(np.ones(5, int), ("a",)),
        lambda: shapley(model, x, by_axis((4,), 0, list("abcd"))),
        lambda: as_subject(model, batch=0),
    ):
        with pytest.raises(InputError):
            call()
    many = by_windows((1, 40), 1, 2)
    keras = prepare()
    wide = keras.Sequential([keras.Input((1, 40)), keras.layers.Flatten(), keras.layers.Dense(1)])
    with pytest.raises(InputError, match=r"1,048,576 coalitions.*\n.*orders"):
        shapley(wide, np.ones((1, 1, 40)), many)
    assert many.names[:2] == ("strips 0 to 1", "strips 2 to 3")


def test_graph_with_registers_and_models_of_two_inputs_are_refused() -> None:
    from hairtrigger.fixed import Fixed
    from hairtrigger.graph import Builder, TensorType
    from hairtrigger.graph.ops import Input

    keras = prepare()
    a, b = keras.Input((2,)), keras.Input((2,))
    with pytest.raises(UnsupportedError, match="2 inputs"):
        as_subject(keras.Model([a, b], keras.layers.Add()([a, b])))
    build = Builder("register")
    kind = TensorType.uniform((2,), Fixed(False, 1, 0))
    x = build.add(Input("x", kind))
    state = build.state("held", kind)
    build.update(state, x)
    with pytest.raises(UnsupportedError, match="registers"):
        as_subject(build.build({"y": state}))
