"""An adversary, DisCo and MMD: by their definitions, and that they do what they are for."""

import numpy as np
import pytest

from hairtrigger.errors import InputError
from hairtrigger.metrics_blind import auc
from hairtrigger.train import Data, FitSettings, Head, Kind, fit, predict
from hairtrigger.train.adversary import (
    BANDWIDTHS,
    Reverse,
    adversary,
    adversary_loss,
    disco,
    mmd,
    priced_loss,
)
from hairtrigger.train.bernoulli import Source, keras

HEADS = (Head("signal", Kind.BINARY),)


def test_reverse_passes_on_and_turns_round() -> None:
    import jax

    x = np.float32([1.5, -2.0])
    layer = Reverse(3.0)
    np.testing.assert_allclose(layer(x), x, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(lambda v: (layer(v) * x).sum())(x), -3 * x, rtol=1e-6)
    assert Reverse.from_config(layer.get_config()).strength == 3
    with pytest.raises(InputError):
        Reverse(-1)


def test_distance_correlation_by_its_definition() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 1)).astype(np.float32)
    s = rng.integers(0, 3, 30).astype(np.float32)
    x[:, 0] += s
    a, b = np.abs(x - x.T), np.abs(s[:, None] - s[None])
    a, b = (m - m.mean(0) - m.mean(1)[:, None] + m.mean() for m in (a, b))
    expected = (a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean())
    source = Source("s", 3, 1.0)
    assert float(disco(x, s, source)) == pytest.approx(expected, rel=1e-4)
    more = np.concatenate([x, 9 + x]), np.concatenate([s, np.full(30, np.nan, np.float32)])
    assert float(disco(*more, source)) == pytest.approx(expected, rel=1e-4)
    assert float(disco(s[:, None], s, source)) == pytest.approx(1, rel=1e-4)


def test_mean_discrepancy_by_its_definition() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20, 3)).astype(np.float32)
    s = np.repeat(np.float32([0, 1]), 10)
    square = ((x[:, None] - x[None]) ** 2).sum(-1)
    scale = square.mean()
    kernel = sum(np.exp(-square / (2 * w * w * scale)) for w in BANDWIDTHS) / len(BANDWIDTHS)
    means = []
    for value in (0, 1):
        here = s == value
        means.append(kernel[here][:, here].mean() - 2 * kernel[here].mean() + kernel.mean())
    source = Source("s", 2, 1.0)
    assert float(mmd(x, s, source)) == pytest.approx(np.mean(means), rel=1e-3)
    assert float(mmd(x + 5 * s[:, None], s, source)) > 5 * np.mean(means)


def sample(events: int, seed: int) -> Data:
    """Signal shows in both inputs, the source in the second one only."""
    rng = np.random.default_rng(seed)
    signal, source = rng.integers(0, 2, events), rng.integers(0, 2, events)
    x = rng.normal(size=(events, 2))
    x[:, 0] += 1.5 * signal
    x[:, 1] += 1.5 * signal + 2 * source
    targets = np.stack([signal, source], axis=1).astype(np.float32)
    targets[::3, 0] = np.nan
    return Data(x.astype(np.float32), targets)


@pytest.mark.parametrize(
    # Gradient reversal is the least stable of them: stronger, it may learn the source instead.
    ("method", "strength", "left"),
    [("adversary", 1.0, 0.75), ("disco", 3.0, 0.5), ("mmd", 30.0, 0.5)],
)
def test_each_forgets_the_source_and_keeps_the_signal(
    method: str, strength: float, left: float
) -> None:
    test = sample(4000, 2)
    knows, finds = [], []
    for price in (0.0, strength):
        keras.utils.set_random_seed(0)
        sources = (Source("domain", 2, price),)
        given = keras.Input((2,))
        x = keras.layers.Dense(8, activation="relu")(given)
        logit = keras.layers.Dense(1)(x)
        if method == "adversary":
            looked_at = adversary(x, sources, 16, price)
            loss = adversary_loss(HEADS, sources)
        else:
            looked_at = [logit]
            loss = priced_loss(HEADS, sources, disco if method == "disco" else mmd)
        model = keras.Model(given, keras.layers.Concatenate()([logit, *looked_at]))
        settings = FitSettings(15, 200, 0.01)
        fit(model, sample(5000, 0), sample(1000, 1), loss, settings, keep_last=True)
        score = predict(model, test.inputs)[:, 0]
        labelled = ~np.isnan(test.targets[:, 0])
        background = test.targets[:, 0] == 0
        finds.append(auc(test.targets[labelled, 0] == 1, score[labelled]))
        knows.append(auc(test.targets[background, 1] == 1, score[background]))
    assert abs(knows[0] - 0.5) > 0.1
    assert abs(knows[1] - 0.5) < left * abs(knows[0] - 0.5)
    assert finds[1] > 0.75
