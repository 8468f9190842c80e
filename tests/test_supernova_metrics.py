"""The figures of a low-energy trigger: cuts, ROC, rates, reduction, by hand and as properties."""

import math
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hairtrigger import metrics as base
from hairtrigger.errors import InputError
from hairtrigger.studies import supernova_metrics as metrics

SCORES = st.lists(st.integers(0, 30), min_size=1, max_size=80)


def test_a_cut_by_hand():
    noise = [0, 0, 0, 0, 0, 3, 5, 5, 8, 9]
    cut = metrics.cut_at(noise, 0.2)
    assert (cut.value, cut.fakes.passed, cut.fakes.total) == (8, 2, 10)
    # Of the two 5s all or none: three of ten would be too many for 0.39 and 0.3 alike.
    for rate in (0.3, 0.39):
        assert metrics.cut_at(noise, rate).value == 8
    assert metrics.cut_at(noise, 0.4).value == 5
    assert metrics.cut_at(noise, 0.1).value == 9
    assert metrics.cut_at(noise, 0.999).value == 3
    assert metrics.cut_at([1, 2, 3], 0.9999999999999).value == 1


def test_a_rate_that_cannot_be_shown_is_refused():
    with pytest.raises(InputError, match=r"less than one of 1000 .*\n.*10000 or more.*0\.0038"):
        metrics.cut_at(np.arange(1000), 1e-4)


def test_more_equal_scores_at_the_top_than_wanted():
    tied = metrics.cut_at([0] * 7 + [7] * 3, 0.2)
    assert tied.value == np.nextafter(7, 8)
    assert (tied.fakes.passed, tied.fakes.total) == (0, 10)
    assert tied.fakes.high > 0.2
    assert metrics.cut_at([0] * 7 + [7] * 3, 0.3).value == 7
    # Nothing seen in any: whatever is seen passes.
    assert 0 < metrics.cut_at(np.zeros(1000, int), 0.01).value < 1


@given(SCORES, st.floats(0.001, 0.999))
def test_a_cut_is_the_lowest_that_keeps_the_rate(noise, rate):
    noise = np.array(noise)
    n = noise.size
    if rate * n < 1:
        with pytest.raises(InputError, match="less than one of"):
            metrics.cut_at(noise, rate)
        return
    cut = metrics.cut_at(noise, rate)
    passed = np.count_nonzero(noise >= cut.value)
    assert passed <= rate * n
    assert (cut.fakes.passed, cut.fakes.total) == (passed, n)
    lower = noise[noise < cut.value]
    assert not lower.size or np.count_nonzero(noise >= lower.max()) > rate * n
    assert passed or cut.value == np.nextafter(noise.max(), np.inf)


def test_the_rate_elsewhere_is_not_above_what_was_asked():
    rng = np.random.default_rng(1)
    true = [
        1 - NormalDist().cdf(metrics.cut_at(rng.normal(size=2000), 0.01).value) for _ in range(400)
    ]
    # The expectation of the k-th highest of n is k / (n + 1).
    assert np.mean(true) == pytest.approx(20 / 2001, abs=4 * np.std(true) / 20)


def test_roc_by_hand():
    curve = metrics.roc([1, 2, 2, 4], [0, 2, 3, 4, 5], points=50)
    assert curve.cuts[1:] == (4, 2, 1)
    assert curve.cuts[0] == np.nextafter(4, 5)
    assert [f.passed for f in curve.fakes] == [0, 1, 3, 4]
    assert [f.passed for f in curve.efficiencies] == [1, 2, 4, 4]
    assert curve.fakes[0].high == base.fraction(0, 4).high > 0


@given(SCORES, SCORES, st.integers(2, 40))
def test_roc_is_of_counts(noise, signal, points):
    curve = metrics.roc(noise, signal, points=points)
    noise, signal = np.array(noise), np.array(signal)
    for cut, fake, share in zip(curve.cuts, curve.fakes, curve.efficiencies, strict=True):
        assert (fake.passed, fake.total) == (np.count_nonzero(noise >= cut), noise.size)
        assert (share.passed, share.total) == (np.count_nonzero(signal >= cut), signal.size)
        assert fake.low <= fake.value <= fake.high
    assert curve.fakes[0].passed == 0
    assert curve.fakes[-1].value == 1
    assert all(a > b for a, b in pairwise(curve.cuts))


def test_roc_to_one_in_a_million():
    noise = np.arange(3_000_000) % 1_500_000
    curve = metrics.roc(noise, [1_499_998, 1_500_000])
    assert [f.passed for f in curve.fakes[:2]] == [0, 2]
    assert curve.fakes[0].high < 1.3e-6
    assert [f.passed for f in curve.efficiencies[:3]] == [1, 1, 2]


def sample():
    rng = np.random.default_rng(2)
    kinds = np.repeat(np.arange(5), [50_000, 4000, 300, 300, 0])
    energy = np.where(kinds == 1, rng.uniform(0, 40, kinds.size), 0)
    return kinds, energy, rng.normal(0, 1, kinds.size) + energy / 4


def test_a_method_is_judged():
    kinds, energy, scores = sample()
    cut = 3.0
    got = metrics.judge("m", scores, kinds, energy, cut, window=3)
    passed = scores >= cut
    assert got.fakes == base.fraction_of(passed[kinds == 0])
    assert got.efficiency == base.fraction_of(passed[(kinds == 1) & (energy > 10)])
    assert got.hz.value == pytest.approx(6.25e6 * passed[kinds == 0].mean())
    assert got.hz.low < got.hz.value < got.hz.high
    assert got.reduction.value == pytest.approx(50_000 / (3 * passed[kinds == 0].sum()))
    assert [f.total for f in got.by_class] == [50_000, 4000, 300, 300, 0]
    assert math.isnan(got.by_class[4].value)
    assert sum(point.total for point in got.turn_on.points) == 4000
    assert got.turn_on.points[0].value < 0.1 < 0.95 < got.turn_on.points[-2].value


def test_rates_and_reduction():
    none = metrics.reduction(base.fraction(0, 3_000_000))
    assert none.value == none.high == math.inf
    assert none.low == pytest.approx((3_000_000 + 1.96**2) / 1.96**2, rel=1e-4)
    all_ = metrics.reduction(base.fraction(10, 10))
    assert (all_.value, all_.low) == (1, 1)
    assert math.isinf(metrics.reduction(base.fraction(0, 0)).high)
    rate = metrics.rate_hz(base.fraction(0, 3_000_000))
    assert (rate.value, rate.low) == (0, 0)
    assert rate.high == pytest.approx(8.0, rel=1e-2)
    assert metrics.rate_hz(base.fraction(1, 10_000)).value == pytest.approx(625)


def test_confusion_shares():
    rows = metrics.confusion_shares([0, 0, 0, 1], [0, 0, 1, 1], 3)
    assert [[(c.passed, c.total) for c in row] for row in rows] == [
        [(2, 3), (1, 3), (0, 3)],
        [(0, 1), (1, 1), (0, 1)],
        [(0, 0), (0, 0), (0, 0)],
    ]


def test_mean_efficiency_of_a_spectrum():
    curve = base.turn_on(
        np.repeat([1.0, 3.0], 1000), np.r_[np.arange(1000), [999] * 1000], 500, [0, 2, 4]
    )
    assert [point.value for point in curve.points] == [0.5, 1.0]
    spectrum = [1.0, 1.0, 1.0, 3.0]
    got = metrics.mean_efficiency(curve, spectrum)
    assert got.value == pytest.approx(0.75 * 0.5 + 0.25)
    sigma = 0.75 * math.sqrt(0.25 / 1000)
    assert got.high - got.low == pytest.approx(2 * 1.96 * sigma, rel=0.05)
    # Beyond the bins nothing is seen.
    assert metrics.mean_efficiency(curve, [*spectrum, 4.0]).value == pytest.approx(0.8 * 0.625)
    # The same events in the same proportions are the plain fraction.
    same = metrics.mean_efficiency(curve, [1.0, 3.0])
    plain = base.fraction(1500, 2000)
    assert same.value == plain.value
    assert same.high - same.low < plain.high - plain.low


def test_mean_efficiency_covers():
    rng = np.random.default_rng(4)
    edges = [0.0, 10.0, 20.0, 30.0]
    centres, true = np.array([5.0, 15.0, 25.0]), np.array([0.1, 0.6, 0.97])
    spectrum = np.repeat(centres, [5, 3, 2])
    expected = float(np.repeat(true, [5, 3, 2]).mean())
    covered = 0
    for _ in range(500):
        energy = np.repeat(centres, [60, 40, 30])
        passed = rng.random(energy.size) < np.repeat(true, [60, 40, 30])
        curve = base.turn_on(energy, passed.astype(float), 0.5, edges)
        got = metrics.mean_efficiency(curve, spectrum)
        covered += got.low <= expected <= got.high
    assert 0.92 < covered / 500 < 0.99


def test_bad_input():
    kinds, energy, scores = sample()
    with pytest.raises(InputError, match="no rate"):
        metrics.cut_at([1, 2], 1.0)
    with pytest.raises(InputError, match="NaN or infinite"):
        metrics.cut_at([1, math.nan], 0.5)
    with pytest.raises(InputError, match="NaN or infinite"):
        metrics.pass_rate([math.inf], 0.5)
    with pytest.raises(InputError, match="make no ROC curve"):
        metrics.roc([], [1])
    with pytest.raises(InputError, match="make no curve"):
        metrics.roc([1], [1], points=1)
    with pytest.raises(InputError, match="no nu_e CC image"):
        metrics.judge("m", scores[kinds != 1], kinds[kinds != 1], energy[kinds != 1], 1.0)
    with pytest.raises(InputError, match="no noise image"):
        metrics.judge("m", scores[kinds != 0], kinds[kinds != 0], energy[kinds != 0], 1.0)
    with pytest.raises(InputError, match="different lengths"):
        metrics.judge("m", scores[:-1], kinds, energy, 1.0)
    with pytest.raises(InputError, match="stores nothing"):
        metrics.reduction(base.fraction(1, 2), 0)
    with pytest.raises(InputError, match="is no rate"):
        metrics.rate_hz(base.fraction(1, 2), 0)
    empty = base.turn_on([1.0], [1.0], 0.5, [0, 2, 4])
    with pytest.raises(InputError, match="between 2 and 4 MeV"):
        metrics.mean_efficiency(empty, [3.0])
    with pytest.raises(InputError, match="No energy of the spectrum"):
        metrics.mean_efficiency(empty, [5.0])
    with pytest.raises(InputError, match="no energies"):
        metrics.mean_efficiency(empty, [])
