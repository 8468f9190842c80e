"""Shares on the truth, and readable surrogates as answers: by hand and on planted rules."""

from __future__ import annotations

import numpy as np
import pytest

from hairtrigger.errors import InputError
from hairtrigger.explain.features import strips_features
from hairtrigger.explain.readable import sum_answer, tree_answer
from hairtrigger.explain.surrogate import fit_sum, fit_tree
from hairtrigger.explain.truth import in_words, on_truth
from hairtrigger.studies.strips_front import detector_input
from hairtrigger.studies.strips_samples import BACKGROUND, FEATURES, MUON, WIDTH

RNG = np.random.default_rng(6)


def test_the_share_on_the_truth_by_hand() -> None:
    values = np.array([[3.0, 1.0, -5.0], [0.0, 2.0, 0.0], [-1.0, 0.0, 0.0], [1.0, 3.0, 0.0]])
    signal = np.array([[1, 0, 0], [0, 1, 1], [1, 1, 1], [1, 0, 0]])
    lit = values != 0
    found = on_truth(values, signal, lit)
    shares = np.array([0.75, 1.0, 0.25])  # the third event has no positive attribution
    assert found.value == pytest.approx(shares.mean())
    assert found.events == 3
    half = 1.959964 * shares.std(ddof=1) / np.sqrt(3)
    assert found.low == pytest.approx(max(0, shares.mean() - half))
    assert found.high == min(1.0, shares.mean() + half)
    assert found.chance == pytest.approx(4 / 7)
    assert f"{found.value:.3f}" in in_words(found)
    assert found.figures("on")["on_chance"] == found.chance
    alone = on_truth(values[:1], signal[:1], lit[:1])
    assert (alone.low, alone.high) == (0.0, 1.0)


def test_the_share_of_nothing_is_refused() -> None:
    ones = np.ones((2, 3))
    with pytest.raises(InputError, match="same events"):
        on_truth(ones, ones[:1], ones)
    with pytest.raises(InputError, match="No event has positive"):
        on_truth(-ones, ones, ones)


def test_a_planted_sum_is_found_term_by_term() -> None:
    x = RNG.normal(size=(500, 6))
    y = 0.5 + 2 * x[:, 4] - 0.25 * x[:, 1]
    found = fit_sum(x, list("abcdef"), y, terms=2)
    assert found.used == ("e", "b")
    assert found.text == "0.5 + 2 e - 0.25 b"
    np.testing.assert_allclose(found.predict(x), y, atol=1e-9)
    one = fit_sum(x, list("abcdef"), y, terms=1)
    assert one.used == ("e",)
    constant = fit_sum(x, list("abcdef"), np.full(500, 3.0), terms=3)
    np.testing.assert_allclose(constant.predict(x), 3.0)
    for bad in (lambda: fit_sum(x, list("abc"), y), lambda: fit_sum(x, list("abcdef"), y, terms=0)):
        with pytest.raises(InputError):
            bad()


def test_the_rules_of_a_tree_are_the_tree() -> None:
    pytest.importorskip("sklearn")
    x = RNG.random((3000, 2))
    y = np.where(
        x[:, 0] <= 0.3, 1.0, np.where(x[:, 0] <= 0.6, 5.0, np.where(x[:, 1] > 0.5, 20, 12))
    )
    made = fit_tree(x, ("a", "b"), y, leaves=4)
    assert len(made.rules) == made.size == 4
    assert sum(rule.share for rule in made.rules) == pytest.approx(1)
    by_value = {round(rule.value): rule.when for rule in made.rules}
    assert set(by_value) == {1, 5, 20, 12}
    assert float(by_value[1].removeprefix("a <= ").split()[0]) == pytest.approx(0.3, abs=0.005)
    assert by_value[1].count("a <=") == 1  # of two cuts on the way the sharper
    _, border = by_value[20].split("b > ")
    assert float(border.split()[0]) == pytest.approx(0.5, abs=0.005)
    answer = tree_answer(x, ("a", "b"), y, what="y", events="points", cut=4.0, leaves=4)
    assert len(answer.rows) == 4
    assert answer.rows[0][1] == pytest.approx(20, abs=0.1)
    agreement = answer.figures["tree_agreement"]
    assert agreement is not None
    assert agreement > 0.99
    coarse = tree_answer(x, ("a", "b"), y, what="y", events="points", cut=4.0, leaves=2)
    assert coarse.figures["tree_agreement"] < agreement


def test_a_sum_is_judged_beside_the_network() -> None:
    x = RNG.normal(size=(400, 3))
    said = x[:, 0] + 0.1 * x[:, 2]
    answer = sum_answer(x, list("abc"), said, x[:, 0], what="x", events="points", terms=2)
    assert [row[0] for row in answer.rows] == [1, 2]
    assert answer.figures["explained_by_2"] == pytest.approx(1)
    assert answer.rows[1][3] == pytest.approx(answer.rows[1][4])
    assert answer.rows[0][3] < answer.rows[0][4]


def test_features_of_a_cluster_by_hand() -> None:
    charge, time = np.zeros((2, WIDTH)), np.zeros((2, WIDTH))
    charge[0, 6:9], time[0, 6:9] = (256, 512, 256), (64, 128, 192)
    given = detector_input(charge, time, np.array([0.5, 0.25]))
    assert given.shape == (2, FEATURES)
    values, names = strips_features(given)
    found = dict(zip(names, values[0], strict=True))
    assert found["first"] == -1.5
    assert found["last"] == 0.5
    assert found["centroid"] == pytest.approx(-0.5)
    assert found["width"] == pytest.approx(np.sqrt(0.5))
    assert found["strips"] == 3
    assert found["charge"] == pytest.approx(16)
    assert (found["earliest"], found["time"], found["latest"]) == (0.25, 0.5, 0.75)
    assert found["slope"] == pytest.approx(0.25)
    assert found["nominal"] == pytest.approx(0.5)
    assert found["drift"] == pytest.approx(0.125)
    empty = dict(zip(names, values[1], strict=True))
    assert empty["strips"] == 0
    assert np.isfinite(values).all()
    with pytest.raises(InputError, match="detector_input"):
        strips_features(given[:, :-1])


def test_strips_of_the_muon_are_those_that_the_simulation_gives_it() -> None:
    from hairtrigger.explain.questions_strips import of_the_muon

    made, own = of_the_muon(400, 3)
    assert own.shape == made.charge.shape
    assert not own[made.charge == 0].any()
    muon = made.truth["kind"] == MUON
    assert muon.any()
    mine = (made.charge * own).sum(axis=1) / np.maximum(made.charge.sum(axis=1), 1)
    assert mine[muon].mean() > 0.9
    # A window of another cluster may hold strips of a muon beside it, but not in its middle.
    middle = slice(WIDTH // 2 - 1, WIDTH // 2 + 1)
    hit = made.charge[:, middle] > 0
    other = made.truth["kind"] == BACKGROUND
    assert own[:, middle][hit & muon[:, None]].mean() > 0.9
    assert own[:, middle][hit & other[:, None]].mean() < 0.1
