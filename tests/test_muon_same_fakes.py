"""The muon trigger at the threshold where it has no more fakes than another."""

from __future__ import annotations

import numpy as np
import pytest

from hairtrigger.detectors.rpc import TRUTH_DTYPE
from hairtrigger.errors import InputError
from hairtrigger.studies.muon_metrics import at_same_fakes


def truth(pt: list[float], counts: list[int]) -> np.ndarray:
    made = np.zeros(len(pt), TRUTH_DTYPE)
    made["n_muons"] = counts
    made["pt"][:, 0] = pt
    return made


def test_the_lowest_threshold_with_no_more_fakes() -> None:
    noise = np.array([3.0, 20.0, 12.0, 16.0, 16.0, 3.0])
    muons = np.array([18.0, 15.5, 25.0, 17.0, 40.0, 30.0])
    of = truth([20.0, 20.0, 20.0, 5.0, 5.0, 30.0], [1, 1, 1, 1, 2, 0])
    # One fake: 16 may not pass, since two images have it.
    found = at_same_fakes(muons, of, noise, 1)
    assert 16 < found.cut < 16.001
    assert (found.efficiency.passed, found.efficiency.total) == (2, 3)
    assert (found.soft.passed, found.soft.total) == (1, 1)
    # Three: the threshold falls to just above 12, below the 15 GeV of the trigger.
    found = at_same_fakes(muons, of, noise, 3)
    assert 12 < found.cut < 12.001
    assert found.efficiency.passed == 3
    assert at_same_fakes(muons, of, noise, 6).cut == -np.inf
    assert at_same_fakes(muons, of, noise, 0).cut > 20


def test_no_more_soft_muons_may_need_a_higher_threshold() -> None:
    noise = np.array([3.0, 20.0, 12.0, 16.0, 16.0, 3.0])
    muons = np.array([18.0, 15.5, 25.0, 17.0, 14.0, 40.0, 30.0])
    of = truth([20.0, 20.0, 20.0, 5.0, 9.0, 5.0, 30.0], [1, 1, 1, 1, 1, 2, 0])
    assert at_same_fakes(muons, of, noise, 3, soft_allowed=2) == at_same_fakes(muons, of, noise, 3)
    found = at_same_fakes(muons, of, noise, 3, soft_allowed=1)
    assert 14 < found.cut < 14.001
    assert (found.efficiency.passed, found.soft.passed) == (3, 1)
    found = at_same_fakes(muons, of, noise, 3, soft_allowed=0)
    assert 17 < found.cut < 17.001
    assert (found.efficiency.passed, found.soft.passed) == (2, 0)
    assert at_same_fakes(muons, of, noise, 0, soft_allowed=0).cut > 20  # fakes ask for more


def test_bad_input_is_refused() -> None:
    of = truth([20.0], [1])
    one = np.ones(1)
    for call in (
        lambda: at_same_fakes(np.array([np.nan]), of, one, 1),
        lambda: at_same_fakes(one, of, np.array([np.inf]), 1),
        lambda: at_same_fakes(np.ones(2), of, one, 1),
        lambda: at_same_fakes(one, truth([20.0], [0]), one, 1),
        lambda: at_same_fakes(one, of, np.empty(0), 1),
        lambda: at_same_fakes(one, of, one, -1),
        lambda: at_same_fakes(one, of, one, 1, soft_allowed=-1),
    ):
        with pytest.raises(InputError):
            call()
