"""The checks of maps: they pass for maps that are right and fail for maps that are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from hairtrigger.errors import InputError, UnsupportedError
from hairtrigger.explain.attribution import Explained, gradient_times_input, light_up, occlusion
from hairtrigger.explain.faithfulness import (
    agreement,
    completeness,
    curves,
    mean_ranks,
    sanity,
)
from hairtrigger.train.checkpoint import to_array, values_of
from hgq_models import prepare

RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def network() -> Any:
    """Adds up two of twelve bits, and the rest hardly."""
    keras = prepare()
    given = keras.Input((12,))
    x = keras.layers.Dense(6, activation="relu", name="hidden")(given)
    model = keras.Model(given, keras.layers.Dense(1, name="out")(x))
    kernel = RNG.normal(0, 0.05, (12, 6))
    kernel[2:4] += 1
    model.set_weights([kernel, np.zeros(6), np.ones((6, 1)), np.zeros(1)])
    return model


def bits(events: int) -> np.ndarray:
    found = (np.random.default_rng(1).random((events, 12)) < 0.6).astype(np.uint8)
    found[:, 2:4] = 1
    return found


def test_curves_of_a_good_a_random_and_a_wrong_map(network: Any) -> None:
    x = bits(40)
    good = curves(network, x, light_up(network, x))
    assert good.insertion_area > 0.8 > 0.6 > good.random_insertion_area
    assert good.deletion_area < 0.25 < good.random_deletion_area
    assert good.insertion_gain[0] > 5 * good.insertion_gain[1] > 0
    assert good.deletion_gain[0] > 5 * good.deletion_gain[1] > 0
    assert good.deletion[0] == good.insertion[-1]
    assert good.deletion[-1] == good.insertion[0]
    wrong = Explained(-light_up(network, x).values, "", "wrong", 0.0)
    bad = curves(network, x, wrong)
    assert bad.insertion_gain[0] < 0
    assert bad.deletion_gain[0] < 0


def test_curves_refuse_other_events_and_answers_that_do_not_change(network: Any) -> None:
    x = bits(4)
    with pytest.raises(InputError, match="not one of events"):
        curves(network, x, light_up(network, bits(5)))
    with pytest.raises(InputError, match="points"):
        curves(network, x, light_up(network, x), points=1)
    dark = np.zeros((2, 12))
    with pytest.raises(InputError, match="nothing to explain"):
        curves(network, dark, light_up(network, dark))


def test_sanity_sees_shuffled_weights_and_gives_them_back(network: Any) -> None:
    x = bits(20)
    before = [to_array(w) for w in network.weights]

    def explain(model: Any, inputs: Any, output: Any) -> Explained:
        return light_up(model, inputs, output, orders=4)

    steps = sanity(network, x, explain, top=3)
    assert [step.layer for step in steps] == ["out", "hidden"]
    assert steps[-1].agreement is None or steps[-1].agreement.rank[0] < 0.5
    for kept, now in zip(before, values_of(network.weights), strict=True):
        assert np.array_equal(kept, now)
    # A map that does not look at the weights stays, and that is what the check is for.
    fixed = Explained(RNG.normal(size=x.shape).astype(np.float32), "", "edges")
    steps = sanity(network, x, lambda *_: fixed, top=3)
    assert all(s.agreement and s.agreement.rank[0] == pytest.approx(1) for s in steps)


def test_sanity_gives_weights_back_after_a_failure(network: Any) -> None:
    before = [to_array(w) for w in network.weights]
    calls: list[int] = []

    def failing(model: Any, inputs: Any, output: Any) -> Explained:
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return gradient_times_input(model, inputs, output)

    with pytest.raises(KeyboardInterrupt):
        sanity(network, bits(3), failing)
    for kept, now in zip(before, values_of(network.weights), strict=True):
        assert np.array_equal(kept, now)


def test_agreement_is_spearmans_with_ties() -> None:
    a = RNG.integers(0, 4, (30, 10)).astype(np.float32)
    b = (a + RNG.integers(0, 3, a.shape)).astype(np.float32)
    everything = np.ones(a.shape, bool)
    found = agreement(Explained(a, "", ""), Explained(b, "", ""), everything, top=3)
    wanted = [spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]
    assert found.rank[0] == pytest.approx(np.mean(wanted))
    assert found.events == 30
    assert 0 < found.overlap[0] <= 1
    same = agreement(Explained(a, "", ""), Explained(a, "", ""), everything, top=3)
    assert same.rank[0] == pytest.approx(1)
    assert same.overlap[0] == 1
    assert mean_ranks(np.array([5, 1, 5, 0])).tolist() == [2.5, 1, 2.5, 0]


def test_agreement_refuses_what_cannot_be_compared() -> None:
    a = Explained(np.ones((2, 4), np.float32), "", "")
    with pytest.raises(InputError, match="No event has more than 5"):
        agreement(a, a)
    with pytest.raises(InputError, match="shapes"):
        agreement(a, Explained(np.ones((2, 5), np.float32), "", ""))
    with pytest.raises(InputError, match="top"):
        agreement(a, a, top=0)


def test_completeness_says_how_much_is_missing(network: Any) -> None:
    x = bits(10)
    found = light_up(network, x)
    assert completeness(found).share < 1e-5
    assert completeness(found).within == 1
    half = Explained(found.values / 2, "", "", 0.0, found.answers, found.without)
    assert completeness(half).share == pytest.approx(0.5, abs=1e-4)
    assert completeness(half).within == 0
    with pytest.raises(InputError, match="does not know the answers"):
        completeness(gradient_times_input(network, x))


def test_a_graph_has_no_weights_to_shuffle() -> None:
    from test_explain import game

    subject, _ = game(lambda y: y[:, 0], 2)
    with pytest.raises(UnsupportedError, match="Keras model"):
        sanity(subject, np.ones((1, 2)), occlusion)
