"""The tau3mu study: its samples, networks of equal size, and figures against the known truth."""

import numpy as np
import pytest

from hairtrigger.detectors import lhcb_toy
from hairtrigger.detectors.lhcb import FEATURES
from hairtrigger.errors import InputError
from hairtrigger.studies import tau3mu, tau3mu_figures
from hairtrigger.studies.tau3mu_recipe import Recipe
from hairtrigger.train import predict

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def samples() -> tau3mu.Samples:
    return tau3mu.simulate(tau3mu.SMOKE, 3)


def test_samples_know_what_they_should_and_no_more(samples) -> None:
    targets = samples.train.targets
    assert len(samples.train) == 2 * 2048
    assert len(samples.validation) == 2 * 2048
    labelled, control = ~np.isnan(targets[:, 0]), ~np.isnan(targets[:, 1])
    assert (labelled ^ control).all()
    assert labelled.sum() == control.sum() == 2048
    bins = np.bincount(targets[:, 2].astype(int))
    assert len(bins) == tau3mu.PILE_UP_BINS
    assert bins.min() > 0.8 * len(targets) / len(bins)
    assert "SPDhits" not in tau3mu.INPUTS
    assert set(tau3mu.INPUTS) | {"SPDhits"} == set(FEATURES)


def test_inputs_are_gaussians_whatever_the_features_are(samples) -> None:
    made = lhcb_toy.training(4000, 77)
    scaled = samples.scaler(made)
    assert scaled.shape == (4000, 45)
    assert np.abs(scaled).max() <= tau3mu.REACH
    # One in 130 lies beyond the outermost quantile on each side, and is cut there.
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=0.08)
    order = np.argsort(made.column("pt"))
    assert (np.diff(scaled[order, tau3mu.INPUTS.index("pt")]) >= 0).all()


@pytest.mark.parametrize("method", tau3mu.METHODS)
def test_every_method_has_the_same_network_at_inference(method: str) -> None:
    model, _ = tau3mu.build(method, 1.0, 0)
    names = ("hidden0", "hidden1", "logits")
    weights = sum(model.get_layer(name).count_params() for name in names)
    one = 45 * 64 + 64 + 64 * 32 + 32 + 32 * 2 + 2
    assert weights == (one if "twice" not in method else 45 * 128 + 128 + 128 * 64 + 64 + 130)


def test_a_network_of_coins_from_training_to_figures(samples) -> None:
    model, history = tau3mu.train("coins", 0.3, samples, 1, 1)
    assert history.epochs == 1
    found = tau3mu_figures.judge(model, samples, 1)
    assert 0.5 < found.auc <= 1
    assert 0.5 < found.true_auc < lhcb_toy.truth(lhcb_toy.LhcbConfig()).auc + 0.02
    assert 0 <= found.ks < 0.5
    assert 0 < found.sum_information < 32
    assert 0 < found.joint_information < 1
    bits = predict(tau3mu.representation(model), samples.scaler(samples.test))
    assert set(np.unique(bits.round(5))) == {0.0, 1.0}


@pytest.mark.parametrize("method", ["disco", "mmd"])
def test_the_score_that_is_looked_at_is_that_of_the_network(samples, method: str) -> None:
    model, _ = tau3mu.train(method, 1.0, samples, 1, 1, Recipe(looks_at="score"))
    outputs = predict(model, samples.scaler(samples.test))
    np.testing.assert_allclose(outputs[:, 2], tau3mu.score(outputs), atol=1e-4)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="Choose one of: plain"):
        tau3mu.build("magic", 1.0, 0)
    with pytest.raises(InputError, match="smoke, demo, paper"):
        tau3mu.preset_named("huge")
