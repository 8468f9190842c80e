"""Surrogates: a tree that was planted is found again, and comparisons are those of the numbers."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from hairtrigger.detectors import rpc
from hairtrigger.errors import InputError, ToolError
from hairtrigger.explain.features import BENDS, muon_features
from hairtrigger.explain.surrogate import at_same_fakes, fidelity, fit_formula, fit_tree
from hairtrigger.studies.muon_networks import bend_shape

NAMES = ("a", "b", "c")


def planted(x: np.ndarray) -> np.ndarray:
    return np.where(x[:, 0] < 0.3, 1.0, np.where(x[:, 2] < 0.6, 5.0, 9.0))


def test_a_planted_tree_is_found():
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(1)
    x, fresh = rng.random((4000, 3)), rng.random((2000, 3))
    # No event so near a border that the two sides cannot be told apart.
    x, fresh = (v[(np.abs(v[:, [0, 2]] - (0.3, 0.6)) > 0.005).all(axis=1)] for v in (x, fresh))
    tree = fit_tree(x, NAMES, planted(x), leaves=3)
    assert tree.size == 3
    assert tree.used == ("a", "c")
    assert "a <= 0.3" in tree.text
    found = fidelity(planted(fresh), tree.predict(fresh), 4.0)
    assert found.agreement.value == 1
    assert found.explained == pytest.approx(1)
    smaller = fit_tree(x, NAMES, planted(x), leaves=2)
    worse = fidelity(planted(fresh), smaller.predict(fresh), 6.0)
    assert worse.agreement.value < 1


def test_a_planted_formula_is_found():
    pytest.importorskip("gplearn")
    x = np.random.default_rng(1).random((300, 3))
    try:
        found = fit_formula(x, NAMES, x[:, 0] + x[:, 1], generations=8, population=300)
    except ToolError as error:
        pytest.skip(str(error))
    assert fidelity(x[:, 0] + x[:, 1], found.predict(x), 1.0).agreement.value == 1
    assert set(found.used) == {"a", "b"}


@pytest.mark.parametrize(
    ("module", "fit"), [("sklearn.tree", fit_tree), ("gplearn.genetic", fit_formula)]
)
def test_without_its_package_it_says_so(monkeypatch, module, fit):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ToolError, match="pip install"):
        fit(np.zeros((5, 3)), NAMES, np.zeros(5))


def test_what_does_not_fit_is_refused():
    x, y = np.zeros((5, 3)), np.zeros(5)
    for features, names, said in (
        (x, NAMES[:2], y),
        (x[0], NAMES, y),
        (x, NAMES, y[:4]),
        (x + np.nan, NAMES, y),
    ):
        with pytest.raises(InputError):
            fit_tree(features, names, said)
    with pytest.raises(InputError, match="leaves = 1"):
        fit_tree(x, NAMES, y, leaves=1)
    with pytest.raises(InputError, match="no events"):
        at_same_fakes((y, y[:0]), (y, y), 1.0)


def test_fidelity_and_fakes_are_counted():
    said, other = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 2.0, 1.0, 3.0])
    found = fidelity(said, other, 1.5)
    assert (found.agreement.passed, found.agreement.total) == (2, 4)
    assert found.explained == pytest.approx(1 - 0.5 / 1.25)
    assert fidelity(said * 0, other, 1.5).explained is None
    noise = np.arange(10.0)
    result = at_same_fakes((noise + 5, noise), (noise + 4, noise * 2), 8.0)
    assert result.network_fakes.passed == 2
    assert result.fakes.passed == 2
    assert result.network_efficiency.passed == 7
    assert result.efficiency.passed == int((noise + 4 > 14).sum()) == 0
    # Equal values pass together or not at all: never more fakes than the network has.
    coarse = np.repeat([0.0, 1.0], [5, 5])
    assert at_same_fakes((noise, noise), (coarse, coarse), 8.0).fakes.passed == 0
    every = at_same_fakes((noise, noise), (coarse, coarse), -1.0)
    assert every.fakes.passed == every.efficiency.passed == 10


def test_a_drawn_path_is_found():
    config = rpc.RpcConfig()
    path = bend_shape(config)
    images = np.zeros((3, config.rows, config.strips), dtype=np.uint8)
    rows = [(0, 3), (3, 2), (5, 2), (7, 2)]
    for event, (strip, bend) in enumerate([(100, 12), (200, -8)]):
        for n, (first, count) in enumerate(rows):
            images[event, first : first + count, strip + round(bend * path[n])] = 1
    features, names = muon_features(images, config)
    found = {name: features[:, n] for n, name in enumerate(names)}
    assert found["layers"].tolist() == [9, 9, 0]
    assert found["hits"].tolist() == [9, 9, 0]
    # Within the width of a path and the step between bends.
    for event, bend in enumerate((12, -8)):
        assert found["x3"][event] == pytest.approx(bend, abs=0.5)
        assert abs(found["bend"][event] - bend) <= 8
        assert found["bend"][event] in BENDS
        assert np.sign(found["sagitta"][event]) == np.sign(bend * (path[3] - 2 * path[2] + path[1]))
    assert [found[f"n{n}"][0] for n in range(4)] == [3, 2, 2, 2]
    with pytest.raises(InputError, match="are not"):
        muon_features(images[:, :4], config)


def test_the_path_follows_the_momentum():
    events = rpc.simulate(3000, seed=4, muons=1)
    features, names = muon_features(events.unpacked(), events.config)
    bend = features[:, names.index("x3")]
    truth = events.truth
    seen = features[:, names.index("layers")] >= 7
    pt, charge = truth["pt"][seen, 0], truth["charge"][seen, 0]
    agree = np.sign(bend[seen]) == np.sign(charge)
    slow = pt < 8
    # One sign of the bend is one charge.
    assert abs(agree[slow].mean() - 0.5) > 0.4
    assert np.abs(bend[seen][slow]).mean() > 1.5 * np.abs(bend[seen][pt > 20]).mean()
