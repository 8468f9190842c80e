"""The network of coins as a circuit: what the Graph computes, and the same bits from Verilog."""

from dataclasses import replace

import numpy as np
import pytest

from hairtrigger.backends.rtl import simulate
from hairtrigger.errors import GraphError, InputError
from hairtrigger.fixed import Fixed
from hairtrigger.graph import Graph, emulate, emulate_codes
from hairtrigger.graph.coins import thresholds
from hairtrigger.graph.emulate import encode
from hairtrigger.metrics_blind import auc
from hairtrigger.rtl.design import compile_graph
from hairtrigger.studies import tau3mu
from hairtrigger.studies.tau3mu_chip import (
    ChipConfig,
    coin_headers,
    differences,
    score_codes,
    to_graph,
    train_sparse,
)
from hairtrigger.studies.tau3mu_recipe import Recipe
from hairtrigger.train import predict
from hairtrigger.train.bernoulli import LIKELIER, TOSS, toss_how


@pytest.fixture(scope="module")
def trained():
    samples = tau3mu.simulate(tau3mu.SMOKE, 4)
    config = ChipConfig()
    model, _ = train_sparse(0.3, samples, 1, 1, Recipe(slope=1.5), config)
    return model, samples, config


def test_pruned_weights_stay_pruned(trained) -> None:
    model, _, config = trained
    for name, keep in zip(("hidden0", "hidden1"), config.keep, strict=True):
        kernel = np.array(model.get_layer(name).kernel.value)
        assert np.count_nonzero(kernel) == pytest.approx(keep * kernel.size, abs=1)


def test_in_many_bits_the_graph_is_a_network_of_floats(trained) -> None:
    """With fine formats and without tossing, all outputs agree but where a p is next to 1/2."""
    from hairtrigger.train.bernoulli import keras

    _, samples, _ = trained
    model, _ = tau3mu.build("coins", 0.3, 2, Recipe(slope=1.5))
    fine = ChipConfig(
        inputs=Fixed(True, 2, 16),
        logits=Fixed(True, 4, 16),
        weight_fraction=18,
        output_fraction=18,
        tossed=False,
    )
    x = samples.scaler(samples.test)[:500]
    (logits,) = emulate(to_graph(model, fine), x)
    still = toss_how(model, LIKELIER)
    p = [still.get_layer(f"hidden{n}_p").output for n in (0, 1)]
    expected, *p = keras.Model(still.input, [still.output, *p]).predict(x, verbose=0)
    clear = np.abs(np.concatenate(p, axis=1) - 0.5).min(axis=1) > 1e-4
    assert clear.mean() > 0.8
    np.testing.assert_allclose(logits[clear], expected[clear, :2], atol=1e-3)


def emulated(graph: Graph, x: np.ndarray) -> dict[str, np.ndarray]:
    found = emulate_codes(graph, encode(graph, x))
    outputs = zip(graph.output_names, found, graph.output_types, strict=True)
    return {name: codes * 2.0**-t.lsb for name, codes, t in outputs}


@pytest.mark.parametrize("draws", [1, 4])
def test_the_trained_network_is_the_chips_to_the_last_bit(trained, draws: int) -> None:
    """But for what the coins toss: each layer, given what the chip gave to it, and each p."""
    model, samples, config = trained
    x = samples.scaler(samples.test)
    graph = to_graph(model, replace(config, draws=draws), debug=True)
    found = emulated(graph, x)
    assert set(np.unique(found["bits"])) == {n / draws for n in range(draws + 1)}
    assert differences(model, x, found) == 0
    found["logits1"][7, 3] += 0.5
    assert differences(model, x, found) == 1
    p = predict(representation(model, "hidden0_p"), x)
    levels = thresholds(
        np.rint(found["logits0"] * 2**config.logits.fraction).astype(np.int64),
        config.logits.fraction,
        config.generator.bits,
    )
    np.testing.assert_array_equal(p, levels / 2**config.generator.bits)


def representation(model, layer: str):
    from hairtrigger.train.bernoulli import keras

    return keras.Model(model.input, model.get_layer(layer).output)


@pytest.mark.parametrize("draws", [1, 4])
def test_software_and_chip_know_the_same(trained, draws: int) -> None:
    """AUC of two series of tosses of the same network on the same candidates."""
    model, samples, config = trained
    x, signal = samples.scaler(samples.test), samples.test.extra["signal"] == 1
    software = tau3mu.score(predict(toss_how(model, TOSS, draws), x))
    chip = tau3mu.score(emulate(to_graph(model, replace(config, draws=draws)), x)[0])
    a, b = auc(signal, software), auc(signal, chip)
    # Standard error of an AUC of 2,048 candidates of which the most part is common: below 0.012.
    assert a > 0.55
    assert abs(a - b) < 3 * 0.012
    assert not np.array_equal(software, chip)


def test_draws_that_cannot_be_made_are_refused(trained) -> None:
    model, _, config = trained
    with pytest.raises(GraphError, match="power of two"):
        to_graph(model, replace(config, draws=3))
    assert set(coin_headers(config)) == {"coin0.h", "coin1.h"}
    with pytest.raises(InputError, match="draws = 2"):
        coin_headers(replace(config, draws=2))


@pytest.mark.slow
def test_the_chip_tosses_as_the_graph_does(trained) -> None:
    model, samples, config = trained
    graph = to_graph(model, config, debug=True)
    codes = encode(graph, samples.scaler(samples.test))
    expected = emulate_codes(graph, codes)
    design = compile_graph(graph, clock="200 MHz")
    found = simulate(design, codes)
    for a, b in zip(found.codes, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert design.latency_ns < 100
    # On average over many tosses of one candidate the output is the network's probability's.
    same = np.repeat(codes[0][:1], 4000, axis=0)
    bits = emulate_codes(graph, [same])[1]
    assert 0.05 < bits.mean() < 0.95
    assert score_codes(np.array([[1, 5]]), 2).tolist() == [1.0]


def test_another_network_is_refused(trained) -> None:
    from hairtrigger.train.bernoulli import keras

    given = keras.Input((45,))
    with pytest.raises(InputError, match="no layers"):
        to_graph(keras.Model(given, keras.layers.Dense(2, name="logits")(given)))
