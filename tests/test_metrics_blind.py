"""Figures of blindness against loops over events, closed forms and values worked out by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.errors import InputError
from hairtrigger.metrics_blind import (
    auc,
    entropy,
    flatness,
    input_information,
    joint_information,
    mass_cvm,
    neuron_information,
    roc,
    sum_information,
    truncated_auc,
    untied,
    weighted_ks,
)

small_scores = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=30)


@settings(deadline=None)
@given(small_scores)
def test_auc_is_the_share_of_pairs_in_order(events) -> None:
    signal = np.array([s for s, _ in events])
    scores = np.array([x for _, x in events])
    if signal.all() or not signal.any():
        with pytest.raises(InputError, match="are signal"):
            auc(signal, scores)
        return
    pairs = [(a > b) + (a == b) / 2 for a, b in itertools.product(scores[signal], scores[~signal])]
    assert auc(signal, scores) == pytest.approx(np.mean(pairs), abs=1e-12)


def test_truncated_auc_by_hand() -> None:
    """One background event among five signal ones, above the last two: TPR 0.6 at FPR 0 and 1.

    The area below TPR 0.6 is whole, the rest is a triangle of the parts 0.6 to 0.8 and 0.8 to 1:
    the first weighs 0.5, the second 0. Clipped at 0.8, the curve rises straight from (0, 0.6) to
    (1, 0.6), then the last step lies at FPR 1. So 0.2 (2 + 1.5 + 1) over 0.2 (2 + 1.5 + 1 + 0.5).
    """
    signal = np.array([True, True, True, False, True, True])
    scores = np.array([6, 5, 4, 3, 2, 1])
    false, true = roc(signal, scores)
    assert true.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.6, 0.8, 1])
    assert false.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert truncated_auc(signal, scores) == pytest.approx(0.9)
    assert auc(signal, scores) == pytest.approx(0.6)
    # A constant score is the diagonal: the parts are clipped at its two ends, as the challenge did.
    assert truncated_auc(signal, np.zeros(6)) == pytest.approx(
        (0.1 * 2 + 0.1 * 1.5 + 0.1 * 1 + 0.1 * 0.5) / 1.0
    )


@settings(deadline=None)
@given(st.integers(0, 2**31))
def test_ks_by_looking_at_every_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 8, 20), rng.integers(0, 9, 15)
    w, v = rng.normal(1, 0.5, 20), rng.uniform(0, 1, 15)
    v[0] += 0.1
    if w.sum() <= 0:
        return
    slow = max(abs(w[a <= t].sum() / w.sum() - v[b <= t].sum() / v.sum()) for t in range(-1, 10))
    assert weighted_ks(a, b, w, v) == pytest.approx(slow)
    assert weighted_ks(a, a) == pytest.approx(0)
    assert weighted_ks([0, 0], [1, 1]) == 1


def test_ks_of_shifted_gaussians() -> None:
    """sup |Phi(x) - Phi(x - d)| = 2 Phi(d / 2) - 1."""
    rng = np.random.default_rng(0)
    expected = math.erf(0.25 / math.sqrt(2))
    assert weighted_ks(rng.normal(size=200_000), rng.normal(0.5, 1, 200_000)) == pytest.approx(
        expected, abs=0.005
    )


@pytest.mark.parametrize(("levels", "by_order"), [(1, 0.156), (4, 0.0105)])
def test_ties_by_order_would_look_like_knowing_the_mass(levels: int, by_order: float) -> None:
    """5514 events, the challenge's number; ties in the order of the mass against random ones."""
    events = 5514
    mass = np.sort(np.random.default_rng(0).uniform(1600, 1950, events))
    score = np.random.default_rng(1).integers(0, levels, events)
    ordered = score + np.arange(events) / (2 * events)
    assert mass_cvm(ordered, mass, 0) == pytest.approx(by_order, rel=0.1)
    broken = mass_cvm(score, mass, 0)
    # Of w of N events without correlation (1 - w / N) / (6 w), to a fifth with so few windows.
    assert broken == pytest.approx((1 - 200 / events) / 1200, rel=0.5)
    assert mass_cvm(score, mass, 0) == broken != mass_cvm(score, mass, 1)


def test_cvm_by_hand() -> None:
    """Four events in windows of two: ranks 0, 1 | 2, 3 and between them 1, 2."""
    whole = np.array([0.25, 0.5, 0.75, 1])
    parts = [np.array(c) for c in ([0.5, 1, 1, 1], [0, 0.5, 1, 1], [0, 0, 0.5, 1])]
    expected = np.mean([np.mean((whole - part) ** 2) for part in parts])
    assert mass_cvm([1, 2, 3, 4], [1, 2, 3, 4], 0, window=2, step=1) == pytest.approx(expected)


def test_flatness_by_hand() -> None:
    scores = np.array([9, 8, 7, 6, 5, 4, 3, 2, 1, 0.0])
    signal = np.array([1, 0, 1, 1, 0, 1, 0, 0, 1, 0], dtype=bool)
    pile_up = np.array([0, 0, 0, 1, 1, 1, 0, 1, 1, 0])
    found = flatness(scores, signal, pile_up, [0, 1, 2], 0.2)
    # One of five background events may pass: the one at 8, so everything above 5 does.
    assert (found.background.passed, found.background.total) == (1, 5)
    assert [(p.passed, p.total) for p in found.points] == [(2, 2), (1, 3)]
    assert found.dependence == pytest.approx((1 - 1 / 3) / (3 / 5))
    # Equal scores pass together or not at all.
    tied = flatness(np.ones(10), signal, pile_up, [0, 1, 2], 0.2)
    assert tied.background.passed == 0


def test_information_worked_out_by_hand() -> None:
    """0.2 in one class and 0.8 in the other: 1 - H(0.2) = 0.278 bit."""
    p, s = [[0.2]] * 50 + [[0.8]] * 50, [0] * 50 + [1] * 50
    assert neuron_information(p, s).tolist() == pytest.approx([0.2780719])
    assert joint_information(p, s) == pytest.approx(0.2780719)
    assert entropy([0, 0.5, 1]).tolist() == [0, 1, 0]


def test_neurons_may_know_together_what_none_knows_alone() -> None:
    """T2 = T1 xor S: the sum is 0, the joint information 1 bit."""
    s = np.array([0, 0, 1, 1])
    first = np.array([0, 1, 0, 1])
    p = np.stack([first, first ^ s], axis=1)
    assert sum_information(p, s) == pytest.approx(0)
    assert joint_information(p, s) == pytest.approx(1)
    # The same bit twice: the sum counts it twice.
    assert sum_information(np.stack([s, s], axis=1), s) == pytest.approx(2)
    assert joint_information(np.stack([s, s], axis=1), s) == pytest.approx(1)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31))
def test_joint_information_by_writing_out_every_pattern(seed: int) -> None:
    rng = np.random.default_rng(seed)
    events, neurons, classes = 7, 3, 3
    p, s = rng.random((events, neurons)), rng.integers(0, classes, events)
    table = np.zeros((2**neurons, classes))
    for row, c in zip(p, s, strict=True):
        for n, bits in enumerate(itertools.product([0, 1], repeat=neurons)):
            table[n, c] += np.prod([q if b else 1 - q for q, b in zip(row, bits, strict=True)])
    table /= events
    product = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True)
    seen = table > 0
    expected = (table[seen] * np.log2(table[seen] / product[seen])).sum()
    assert joint_information(p, s) == pytest.approx(expected)
    if neurons == 1:
        assert sum_information(p, s) == pytest.approx(expected)


def test_bits_are_biased_and_probabilities_are_not() -> None:
    """From N bits of fair coins, independent of S: 1 / (2 N ln 2) on average."""
    rng = np.random.default_rng(2)
    events = 400
    s = np.arange(events) % 2
    bits = rng.integers(0, 2, (events, 4000))
    found = neuron_information(bits, s).mean()
    assert found == pytest.approx(1 / (2 * events * math.log(2)), rel=0.1)
    assert sum_information(np.full((events, 10), 0.5), s) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda: auc([1, 0], [1.0, 2.0]),
        lambda: auc([True, False], [1.0, math.nan]),
        lambda: weighted_ks([1, 2], [1], [1, -1]),
        lambda: weighted_ks([], [1]),
        lambda: mass_cvm([1, 2], [1, 2], 0),
        lambda: mass_cvm([1, 2], [1], 0, window=1),
        lambda: flatness([1, 2], [True, False], [0, 0], [0, 1], 0),
        lambda: flatness([1, 2], [True, True], [0, 0], [0, 1], 0.1),
        lambda: neuron_information([[2.0]], [0]),
        lambda: neuron_information([0.5], [0]),
        lambda: joint_information(np.full((2, 13), 0.5), [0, 1]),
    ],
)
def test_what_makes_no_sense_is_refused(call) -> None:
    with pytest.raises(InputError):
        call()


def test_what_coins_know_of_their_input_by_hand() -> None:
    # Always the same coin: nothing. Never a toss, 1 for half: a bit. 1/4 or 3/4: 1 - H(1/4).
    p = np.array([[0.3, 0.0, 0.25], [0.3, 1.0, 0.75]])
    assert input_information(p[:, :1]) == pytest.approx(0, abs=1e-12)
    assert input_information(p[:, 1:2]) == pytest.approx(1)
    assert input_information(p) == pytest.approx(2 - 0.8112781)
    with pytest.raises(InputError):
        input_information(p + 1)


def test_ties_are_broken_at_random_and_nothing_else_changes() -> None:
    x = np.array([0.5, 0.1, 0.5, 0.9, 0.5])
    ranks = untied(x, 1)
    assert sorted(ranks) == [0, 1, 2, 3, 4]
    assert (ranks[1], ranks[3]) == (0, 4)
    assert len({tuple(untied(x, seed)) for seed in range(20)}) > 3
    constant = untied(np.zeros(20_000), 2)
    flat = flatness(
        constant, np.arange(20_000) % 2 == 1, np.arange(20_000), [0, 10_000, 20_000], 0.1
    )
    assert flat.background.value == pytest.approx(0.1, abs=0.001)
    assert flat.dependence < 0.2
