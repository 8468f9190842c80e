"""Layers of coins: what they draw, what flows back, and the price of what they know."""

import numpy as np
import pytest

from hairtrigger import metrics_blind
from hairtrigger.errors import InputError
from hairtrigger.train import Data, FitSettings, Head, Kind, fit, predict
from hairtrigger.train.bernoulli import (
    LIKELIER,
    TOSS,
    Probability,
    Source,
    Toss,
    bernoulli_conv,
    bernoulli_dense,
    blind_loss,
    keras,
    neuron_information,
    toss_how,
)
from hairtrigger.train.probe import probe_auc

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HEADS = (Head("signal", Kind.BINARY),)


def network(seed=3, units=6):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,))
    coins = bernoulli_dense(inputs, units, slope=2.0, name="coins", seed=seed)
    logit = keras.layers.Dense(1, name="logit")(coins.bits)
    return keras.Model(inputs, keras.layers.Concatenate()([logit, coins.p]))


def test_bits_come_up_as_often_as_they_should() -> None:
    p = np.tile(np.float32([0, 1 / 256, 0.3, 0.5, 0.9, 1]), (40_000, 1))
    bits = np.asarray(Toss(seed=1)(p))
    assert set(np.unique(bits)) == {0.0, 1.0}
    assert bits[:, 0].sum() == 0
    assert bits[:, -1].min() == 1
    error = np.sqrt(p[0] * (1 - p[0]) / len(p))
    assert (np.abs(bits.mean(axis=0) - p[0]) <= 4 * error).all()
    assert abs(np.corrcoef(bits[:, 2], bits[:, 3])[0, 1]) < 0.02
    mean = np.asarray(Toss(draws=4, seed=1)(p))
    assert set(np.unique(mean[:, 3])) == {0, 0.25, 0.5, 0.75, 1}


def test_it_tosses_anew_at_inference_and_thresholds_on_request() -> None:
    x = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    model = network()
    a, b = (np.asarray(model(x, training=False)) for _ in range(2))
    assert (a[:, 0] != b[:, 0]).any()
    np.testing.assert_array_equal(a[:, 1:], b[:, 1:])
    still = toss_how(model, LIKELIER)
    c, d = (np.asarray(still(x, training=False)) for _ in range(2))
    np.testing.assert_array_equal(c, d)
    np.testing.assert_allclose(c[:, 1:], a[:, 1:], rtol=1e-6)
    kernel, bias = model.get_layer("logit").get_weights()
    expected = (a[:, 1:] >= 0.5) @ kernel + bias
    np.testing.assert_allclose(c[:, :1], expected, rtol=1e-4, atol=1e-5)
    many = np.asarray(toss_how(model, TOSS, 4096)(x[:5]))[:, :1]
    np.testing.assert_allclose(many, a[:5, 1:] @ kernel + bias, atol=0.1)


def test_backwards_a_bit_counts_as_its_probability() -> None:
    import jax

    layer, slope = Toss(seed=2), Probability(3.0)
    x = np.float32([-1.0, 0.2, 2.0])
    got = jax.grad(lambda z: (layer(slope(z[None]))[0] * np.float32([1, 2, 3])).sum())(x)
    p = 1 / (1 + np.exp(-3 * x))
    np.testing.assert_allclose(got, 3 * p * (1 - p) * [1, 2, 3], rtol=1e-5)


def test_information_of_a_batch_is_that_of_the_metrics() -> None:
    rng = np.random.default_rng(4)
    p = rng.random((200, 5)).astype(np.float32)
    s = rng.integers(0, 3, 200).astype(np.float32)
    expected = metrics_blind.neuron_information(p, s)
    np.testing.assert_allclose(neuron_information(p, s, 3), expected, atol=2e-6)
    s[50:] = np.nan  # of these nothing is known
    expected = metrics_blind.neuron_information(p[:50], s[:50])
    np.testing.assert_allclose(neuron_information(p, s, 3), expected, atol=2e-6)
    assert np.isfinite(np.asarray(neuron_information(p, np.full(200, np.nan, np.float32), 3))).all()
    hand = np.repeat(np.float32([[0.2], [0.8]]), 10, axis=0)
    found = neuron_information(hand, np.repeat(np.float32([0, 1]), 10), 2)
    assert float(found[0]) == pytest.approx(0.27807, abs=1e-4)


def sample(events: int, seed: int) -> Data:
    """Signal shows in x0 and x1; x1 also in the source, x2 in a second source of three classes."""
    rng = np.random.default_rng(seed)
    signal, source = rng.integers(0, 2, events), rng.integers(0, 2, events)
    bins = rng.integers(0, 3, events)
    x = rng.normal(size=(events, 4))
    x[:, 0] += signal
    x[:, 1] += 1.5 * signal + 1.5 * source
    x[:, 2] += signal + bins
    targets = np.stack([signal, source, bins], axis=1).astype(np.float32)
    targets[: events // 3, 0] = np.nan
    return Data(x.astype(np.float32), targets)


@pytest.fixture(scope="module")
def trained():
    data, validation, test = sample(6000, 0), sample(1000, 1), sample(4000, 2)
    found = {}
    for gamma in (0.0, 3.0):
        model = network()
        sources = (Source("domain", 2, gamma), Source("pile-up", 3, gamma))
        fit(model, data, validation, blind_loss(HEADS, sources, 6), FitSettings(8, 200, 0.02))
        found[gamma] = predict(model, test.inputs)
    return test, found


def test_what_is_priced_is_forgotten_and_the_signal_is_not(trained) -> None:
    test, found = trained
    for column in (1, 2):
        s = test.targets[:, column]
        known = [metrics_blind.sum_information(found[g][:, 1:], s) for g in (0.0, 3.0)]
        assert known[1] < known[0] / 4
        assert metrics_blind.joint_information(found[3.0][:, 1:], s) < 0.1
    labelled = ~np.isnan(test.targets[:, 0])
    signal = test.targets[labelled, 0] == 1
    scores = {g: metrics_blind.auc(signal, out[labelled, 0]) for g, out in found.items()}
    assert scores[0.0] > scores[3.0] > 0.6


def test_a_probe_finds_what_is_there(trained) -> None:
    test, found = trained
    source = test.targets[:, 1]
    blind, seeing = (probe_auc(found[g][:, 1:], source, 0) for g in (3.0, 0.0))
    assert seeing > blind + 0.05
    rng = np.random.default_rng(5)
    assert abs(probe_auc(rng.normal(size=(4000, 3)), source, 0) - 0.5) < 0.04
    # Only together do these two bits say anything: a line through them would find nothing.
    first = rng.integers(0, 2, len(source))
    assert probe_auc(np.stack([first, first ^ (source == 1)], axis=1), source, 0) > 0.99


def test_convolutions_and_saved_networks(tmp_path) -> None:
    inputs = keras.Input((5, 4, 2))
    coins = bernoulli_conv(inputs, 3, (2, 2), name="conv", seed=1, strides=2)
    model = keras.Model(inputs, [coins.bits, coins.p])
    x = np.random.default_rng(0).normal(size=(50, 5, 4, 2)).astype(np.float32)
    bits, p = model(x)
    assert bits.shape == p.shape == (50, 2, 2, 3)
    assert set(np.unique(np.asarray(bits)).round(6)) == {0.0, 1.0}
    one = bernoulli_conv(keras.Input((5, 2)), 3, (2,), name="line")
    assert one.p.shape == (None, 4, 3)
    model.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    np.testing.assert_allclose(np.asarray(again(x)[1]), np.asarray(p), rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Probability(0),
        lambda: Toss("maybe"),
        lambda: Toss(draws=0),
        lambda: Source("s", 1, 1.0),
        lambda: Source("s", 2, -1.0),
        lambda: blind_loss(HEADS, (), 0),
        lambda: bernoulli_conv(keras.Input((2, 2, 2, 1)), 1, (1, 1, 1), name="c"),
        lambda: probe_auc(np.zeros((4, 1)), [0, 1, 2, 0], 0),
    ],
)
def test_what_makes_no_sense_is_refused(make) -> None:
    with pytest.raises(InputError):
        make()
