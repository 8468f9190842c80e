"""Intervals, means, turn-on curves and confusion matrices, against known values and properties."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hairtrigger import metrics
from hairtrigger.errors import InputError


def test_wilson_known_values():
    # Newcombe, Stat. Med. 17 (1998) 857, table I, method 3, at 95 %.
    for passed, total, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        got = metrics.fraction(passed, total)
        assert got.low == pytest.approx(low, abs=5e-5)
        assert got.high == pytest.approx(high, abs=5e-5)


@given(st.integers(0, 10_000), st.integers(1, 10_000), st.floats(0.05, 0.999))
def test_wilson_properties(passed, extra, level):
    got = metrics.fraction(passed, passed + extra, level)
    assert 0 <= got.low <= got.value <= got.high <= 1
    assert got.low < got.high
    mirrored = metrics.fraction(extra, passed + extra, level)
    assert mirrored.low == pytest.approx(1 - got.high, abs=1e-12)


def test_wilson_covers():
    rng = np.random.default_rng(0)
    drawn = rng.binomial(2000, 0.003, size=2000)
    kept = [metrics.fraction(k, 2000) for k in drawn]
    covered = np.mean([f.low <= 0.003 <= f.high for f in kept])
    assert 0.93 < covered < 0.975


def test_nothing_seen_is_not_zero():
    none = metrics.fraction(0, 200_000)
    assert none.value == 0
    assert none.high == pytest.approx(1.96**2 / 200_000, rel=1e-3)
    empty = metrics.fraction(0, 0)
    assert math.isnan(empty.value)
    assert (empty.low, empty.high) == (0, 1)


def test_mean_error():
    got = metrics.mean([1.0, 2.0, 3.0, 4.0])
    assert got.value == 2.5
    assert got.error == pytest.approx(math.sqrt(5 / 3) / 2)
    assert got.entries == 4
    assert math.isnan(metrics.mean([]).value)
    assert math.isnan(metrics.mean([3.0]).error)


def test_turn_on_bins_are_half_open():
    curve = metrics.turn_on([5, 9.99, 10, 15, 20], [10, 9, 10, 20, 20], 10, [5, 10, 20])
    assert [p.total for p in curve.points] == [2, 2]
    assert [p.passed for p in curve.points] == [1, 2]
    assert curve.centres == (7.5, 15.0)


def test_confusion_counts():
    matrix = metrics.confusion([0, 0, 1, 3], [0, 1, 1, 2], 4)
    assert matrix.sum() == 4
    assert matrix[0].tolist() == [1, 1, 0, 0]
    assert matrix[3, 2] == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.fraction(3, 2),
        lambda: metrics.fraction(-1, 2),
        lambda: metrics.fraction(1, 2, level=1.0),
        lambda: metrics.fraction_of([0.1, 0.9]),
        lambda: metrics.mean([1.0, float("nan")]),
        lambda: metrics.turn_on([1.0], [1.0, 2.0], 10, [0, 1]),
        lambda: metrics.turn_on([1.0], [float("inf")], 10, [0, 1]),
        lambda: metrics.turn_on([1.0], [1.0], 10, [1, 0]),
        lambda: metrics.confusion([0, 4], [0, 1], 4),
        lambda: metrics.confusion([0.5], [0], 4),
    ],
)
def test_bad_input(call):
    with pytest.raises(InputError, match="Way out"):
        call()
