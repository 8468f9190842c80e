"""The network of coins as a circuit: what the Graph computes, and the same bits from Verilog."""

import numpy as np
import pytest

from hairtrigger.backends.rtl import simulate
from hairtrigger.errors import InputError
from hairtrigger.fixed import Fixed
from hairtrigger.graph import emulate, emulate_codes
from hairtrigger.graph.emulate import encode
from hairtrigger.rtl.design import compile_graph
from hairtrigger.studies import tau3mu
from hairtrigger.studies.tau3mu_chip import ChipConfig, score_codes, to_graph, train_sparse
from hairtrigger.studies.tau3mu_recipe import Recipe
from hairtrigger.train.bernoulli import LIKELIER, toss_how


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


def test_in_many_bits_the_graph_is_the_network(trained) -> None:
    """With fine formats and without tossing, all outputs agree but where a p is next to 1/2."""
    from hairtrigger.train.bernoulli import keras

    model, samples, _ = trained
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
