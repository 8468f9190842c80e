"""Noise of enriched argon weighed to stand for ordinary argon."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.detectors import lartpc
from hairtrigger.detectors.lartpc_config import LartpcConfig
from hairtrigger.errors import InputError
from hairtrigger.studies import supernova_rare as rare

ORDINARY = LartpcConfig()
RICH = replace(
    ORDINARY,
    rn222_bq_cm3=50 * ORDINARY.rn222_bq_cm3,
    ar42_bq_cm3=500 * ORDINARY.ar42_bq_cm3,
)
SEED = 11


@pytest.fixture(scope="module")
def counts():
    """Of 20,000 images of enriched argon."""
    return rare.hard_decays(20_000, SEED, RICH)


def test_decays_are_counted_as_often_as_they_are_put_in(counts):
    # 0.106 decays of K42 an image, four fifths of which are hard, in its 64 ticks and 10 around.
    ordinary = rare.hard_decays(20_000, SEED + 1, ORDINARY)
    assert 0.08 < counts[:, 1].mean() < 0.15
    ratio = counts.mean(axis=0)[0] / ordinary.mean(axis=0)[0]
    assert 30 < ratio < 75  # of about 30 in the ordinary ones
    assert ordinary[:, 1].sum() < 20


def test_images_whose_charge_says_so_have_a_hard_decay(counts):
    made = lartpc.simulate(512, seed=SEED, config=RICH).images.astype(np.float64)
    level = np.median(made, axis=1, keepdims=True)
    clipped = np.where(made - level > 60, made - level, 0)  # no noise is so far out
    charge = clipped.sum(axis=(1, 2))
    order = np.argsort(-charge)
    has = counts[:512].any(axis=1)
    assert has[order[:10]].all()  # Ar39 cannot do that
    assert has[order[256:]].mean() < 0.2


def test_a_series_may_be_cut(counts):
    start = 1000
    part = rare.hard_decays(500, SEED, RICH, start=start)
    assert np.array_equal(part, counts[start : start + 500])


def test_weights_turn_enriched_into_ordinary_argon(counts):
    weights = rare.image_weights(counts, RICH, ORDINARY)
    assert weights.mean() == pytest.approx(1, abs=0.02)
    assert np.array_equal(rare.image_weights(counts, ORDINARY, ORDINARY), np.ones(len(counts)))
    # K42 of ordinary argon: 500 times fewer, known better than from as many ordinary images.
    found = rare.weighted_rate(counts[:, 1] > 0, weights)
    expected = 1 - np.exp(-counts[:, 1].mean() / 500)
    assert found.low < expected < found.high
    assert found.high / found.low < 1.2


def test_other_argon_is_refused(counts):
    for other in (replace(RICH, noise_rms=12.0), replace(ORDINARY, ar42_bq_cm3=0.0)):
        with pytest.raises(InputError, match="ar42"):
            rare.image_weights(counts, other, ORDINARY)


def test_what_is_worth_learning_is_as_rare_as_it_is():
    pairs = np.array([[0, 0], [1, 0], [0, 1], [2, 0], [1, 1], [0, 2]], np.uint8)
    counts = np.repeat(pairs, 20_000, axis=0)
    chosen = rare.worth_learning(counts, RICH, ORDINARY, seed=3)
    share = np.bincount(chosen // 20_000, minlength=6) / 20_000
    assert share[0] == 0  # no hard decay
    assert (share[1], share[2]) == (1, 1)
    np.testing.assert_allclose(share[3:], [0.2, 0.02, 0.002], rtol=0.3)
    again = rare.worth_learning(counts, RICH, ORDINARY, seed=3)
    assert np.array_equal(chosen, again)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10_000), st.integers(20, 300), st.sampled_from([0.05, 0.2, 0.5]))
def test_a_cut_is_the_lowest_with_the_wanted_rate(seed, count, rate):
    rng = np.random.default_rng(seed)
    scores, weights = rng.integers(0, 40, count), rng.uniform(0.001, 0.5, count)
    shares = {cut: weights[scores >= cut].sum() / count for cut in sorted(set(scores.tolist()))}
    right = [cut for cut, share in shares.items() if share <= rate]
    passing = np.count_nonzero(scores >= right[0]) if right else 0
    if passing < rare.LEAST_FAKES:
        with pytest.raises(InputError, match="are needed"):
            rare.weighted_cut(scores, weights, rate)
        return
    assert rare.weighted_cut(scores, weights, rate) == right[0]


def test_equal_weights_are_counts():
    passed = np.arange(1000) < 30
    found = rare.weighted_rate(passed, np.ones(1000))
    assert (found.passed, found.total) == (30, 1000)
    none = rare.weighted_rate(np.zeros(1000, bool), np.ones(1000))
    assert (none.passed, none.total) == (0, 1000)


def test_the_interval_covers_the_true_rate():
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(400):
        heavy = rng.random(2000) < 0.05  # one image in 20 stands for many
        weights = np.where(heavy, 1.0, 0.01)
        passed = rng.random(2000) < np.where(heavy, 0.2, 0.5)
        true = 0.05 * 0.2 * 1.0 + 0.95 * 0.5 * 0.01
        found = rare.weighted_rate(passed, weights)
        covered += found.low <= true <= found.high
    assert covered > 0.92 * 400


@pytest.mark.parametrize("rate", [0.0, 1.0, -1.0])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(InputError, match="no rate"):
        rare.weighted_cut(np.arange(100), np.ones(100), rate)


def test_missing_scores_are_refused():
    scores = np.arange(100.0)
    scores[3] = np.nan
    with pytest.raises(InputError, match="scores"):
        rare.weighted_cut(scores, np.ones(100), 0.5)
    with pytest.raises(InputError, match="passed"):
        rare.weighted_rate(np.ones(3, bool), np.ones(4))
