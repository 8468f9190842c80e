"""The burst trigger: published figures, the scan statistic against simulation, properties."""

import math
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.errors import InputError
from hairtrigger.metrics import fraction
from hairtrigger.studies import supernova_burst as bursts
from hairtrigger.studies.supernova_burst import Burst, Profile
from hairtrigger.studies.supernova_metrics import roc

PUBLISHED_WAY = Burst(rule="each", profile=None)


@pytest.mark.parametrize(("fake_rate", "interactions"), bursts.REFERENCES)
def test_the_published_figures(fake_rate, interactions):
    # 692, 73 and 28 for 95 %: every image trigger a new trial, 90 % of a Poisson number seen, all
    # in the window.
    assert bursts.interactions_for(fake_rate, 0.9, PUBLISHED_WAY) == interactions


def test_published_points():
    rates = [point.fake_rate for point in bursts.PUBLISHED]
    assert rates == pytest.approx([3.1e-6, 1.58e-8, 2.9e-7], rel=0.02)


def poisson(mean, k):
    return math.exp(k * math.log(mean) - mean - math.lgamma(k + 1))


def test_alarms_by_hand():
    # 0.3 Hz and 10 s: a mean of 3.
    for rule in bursts.RULES:
        burst = Burst(rule=rule)
        assert all(math.isinf(bursts.alarms_hz(0.3, burst, k)) for k in (1, 2, 3))
        for k in (4, 12):
            tail = 1 - sum(poisson(3, j) for j in range(k))
            expected = {
                "scan": 0.3 * (1 - 3 / k) * poisson(3, k - 1),
                "each": 0.3 * tail,
                "separate": tail / 10,
            }
            assert bursts.alarms_hz(0.3, burst, k) == pytest.approx(expected[rule], rel=1e-9)


def test_tails_far_out_keep_their_digits():
    # P(N >= 60) for a mean of 6.25, from its own terms.
    expected = math.fsum(poisson(6.25, k) for k in range(60, 200))
    got = bursts.alarms_hz(0.625, Burst(rule="separate"), 60) * 10
    assert got == pytest.approx(expected, rel=1e-9)
    assert got < 1e-35


@given(st.floats(0, 5000), st.integers(0, 4000), st.integers(0, 300))
def test_tails_are_sums(mean, first, more):
    tail = bursts._tail(mean, first, first + more)
    terms = [poisson(mean, k) if mean else float(k == 0) for k in range(first + more)]
    below = np.concatenate([[0.0], np.cumsum(terms)])
    assert tail == pytest.approx(1 - below[first : first + more + 1], abs=1e-9)


@given(st.integers(1, 3000), st.floats(0.001, 1.0))
def test_binomials_are_binomials(n, chance):
    first, chances = bursts._binomial(n, chance)
    k = first + np.arange(len(chances))
    assert chances.sum() == pytest.approx(1, abs=1e-9)
    assert k @ chances == pytest.approx(n * chance)
    assert (k - n * chance) ** 2 @ chances == pytest.approx(n * chance * (1 - chance), abs=1e-6)


def test_large_numbers_are_quick_and_gaussian():
    # 62.5 million background triggers in a window.
    burst = Burst(rule="separate", profile=None)
    k = bursts.needed(1.0, burst)
    z = NormalDist().inv_cdf(1 - 10 / bursts.MONTH_S)
    assert (k - 62_500_000) / math.sqrt(62_500_000) == pytest.approx(z, abs=0.01)


@pytest.mark.parametrize(
    ("rate_hz", "triggers", "period_s"), [(0.3, 10, 600), (0.1, 6, 1000), (5.0, 76, 300)]
)
def test_the_scan_rule_is_that_of_simulated_windows(rate_hz, triggers, period_s):
    found = bursts.simulated_alarms(rate_hz, 10.0, triggers, period_s, periods=3000, seed=7)
    # The chance of an alarm in a period, from the rate of alarms (they come independently).
    hz = bursts.alarms_hz(rate_hz, Burst(), triggers)
    chance = 1 - math.exp(-hz * (period_s - 10))
    assert 0.05 < found.value < 0.6
    assert found.value == pytest.approx(chance, rel=0.12)
    # The other rules are off, on the sides that the module says.
    for rule, sign in (("each", 1 if rate_hz == 5 else -1), ("separate", -1)):
        other = bursts.alarms_hz(rate_hz, Burst(rule=rule), triggers)
        away = (1 - math.exp(-other * (period_s - 10))) - found.value
        assert sign * away > 0.3 * found.value


@pytest.mark.slow
@pytest.mark.parametrize("rate_hz", [0.625, 6.25])
def test_the_scan_rule_over_a_hundred_days(rate_hz):
    # Once in a day and a half, on average, with more than a hundred days of background.
    triggers = bursts.needed(rate_hz / 6.25e6, Burst(period_s=1.5 * 86_400))
    found = bursts.simulated_alarms(rate_hz, 10.0, triggers, 86_400, periods=300, seed=1)
    hz = bursts.alarms_hz(rate_hz, Burst(), triggers)
    chance = 1 - math.exp(-hz * 86_390)
    assert found.low < chance < found.high


def test_the_threshold_is_the_fewest_that_is_rare_enough():
    for rule in bursts.RULES:
        burst = Burst(rule=rule)
        for fake_rate in (1e-10, 1e-8, 1e-7, 1e-5, 1e-4):
            k = bursts.needed(fake_rate, burst)
            assert bursts.alarms_hz(fake_rate * 6.25e6, burst, k) <= 1 / bursts.MONTH_S
            assert k == 1 or bursts.alarms_hz(fake_rate * 6.25e6, burst, k - 1) > 1 / bursts.MONTH_S
    assert bursts.needed(0.0) == 1
    assert bursts.needed(0.0, Burst(other_hz=6.25)) == bursts.needed(1e-6)


def test_the_profile():
    profile = Profile()
    assert profile.within(0) == pytest.approx(0)
    assert profile.within(1) == pytest.approx(0.5, abs=1e-3)
    assert profile.within(math.inf) == 1
    times = profile.draw(np.random.default_rng(1), 100_000)
    for seconds in (0.2, 1.0, 4.0, 10.0):
        assert (times < seconds).mean() == pytest.approx(profile.within(seconds), abs=0.006)
    assert Burst().seen == profile.within(10)
    assert PUBLISHED_WAY.seen == 1


def test_efficiency_by_hand():
    # No background, 3 interactions exactly, each seen with 0.8: two or more.
    burst = Burst(profile=None, exact=True)
    assert bursts.efficiency(3, 0.8, 2, 0.0, burst) == pytest.approx(3 * 0.64 * 0.2 + 0.512)
    # One of the background helps: P(0) needs two, P(1) one, else none.
    none, one = math.exp(-1), math.exp(-1)
    expected = none * (3 * 0.64 * 0.2 + 0.512) + one * (1 - 0.2**3) + 1 - none - one
    assert bursts.efficiency(3, 0.8, 2, 0.1, burst) == pytest.approx(expected)
    # A Poisson number: a Poisson process of the sum.
    poissonian = bursts.efficiency(3, 0.8, 2, 0.1, Burst(profile=None))
    assert poissonian == pytest.approx(1 - math.exp(-3.4) * (1 + 3.4))
    assert bursts.efficiency(0, 0.8, 0, 0.0, burst) == 1
    assert bursts.efficiency(5, 1.0, 5, 0.0, burst) == 1
    assert bursts.efficiency(5, 1.0, 6, 0.0, burst) == 0


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("rate_hz", [0.625, 6.25])
def test_efficiency_against_simulated_bursts(exact, rate_hz):
    burst = Burst(exact=exact)
    triggers = bursts.needed(rate_hz / 6.25e6, burst)
    n = bursts.interactions_for(rate_hz / 6.25e6, 0.9, burst, goal=0.7)
    formula = bursts.efficiency(n, 0.9, triggers, rate_hz, burst)
    found = bursts.simulated_efficiency(n, 0.9, triggers, rate_hz, burst, bursts=2000, seed=3)
    # The window that slides finds more than the one that begins with the burst, but not much more.
    assert formula < found.high
    assert found.low < formula + 0.2


def test_the_first_window_alone_is_the_formula():
    # Counting only the window that begins with the burst, the formula is exact.
    burst, rng = Burst(), np.random.default_rng(5)
    seen = np.zeros(4000, int)
    for k in range(seen.size):
        times = burst.profile.draw(rng, rng.binomial(rng.poisson(30), 0.9))
        seen[k] = np.count_nonzero(times < 10) + rng.poisson(6.25)
    found = fraction(int(np.count_nonzero(seen >= 30)), seen.size, 0.999)
    assert found.low < bursts.efficiency(30, 0.9, 30, 0.625, burst) < found.high


@settings(max_examples=40, deadline=None)
@given(
    st.floats(1e-9, 1e-4),
    st.floats(0.05, 1.0),
    st.floats(0.1, 0.99),
    st.booleans(),
    st.sampled_from(bursts.RULES),
)
def test_the_number_is_the_fewest(fake_rate, share, goal, exact, rule):
    burst = Burst(exact=exact, rule=rule)
    n = bursts.interactions_for(fake_rate, share, burst, goal)
    k, rate = bursts.needed(fake_rate, burst), fake_rate * 6.25e6
    assert bursts.efficiency(n, share, k, rate, burst) >= goal
    assert n == 1 or bursts.efficiency(n - 1, share, k, rate, burst) < goal


def test_more_fakes_or_less_efficiency_take_more_interactions():
    rates = (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
    numbers = [bursts.interactions_for(rate, 0.9) for rate in rates]
    assert all(a < b for a, b in pairwise(numbers))
    shares = [bursts.interactions_for(1e-6, share) for share in (0.3, 0.5, 0.9, 1.0)]
    assert all(a > b for a, b in pairwise(shares))
    # In the Gaussian limit: k is z above the mean, and the burst must make up z and its own spread.
    n = bursts.interactions_for(1e-2, 1.0, Burst(rule="separate", profile=None))
    z = NormalDist().inv_cdf(1 - 10 / bursts.MONTH_S) + NormalDist().inv_cdf(0.95)
    assert n == pytest.approx(z * math.sqrt(625_000), rel=0.02)


def test_a_curve_has_its_band():
    n = np.geomspace(5, 500, 25)
    fakes, share = fraction(30, 3_000_000), fraction(900, 1000)
    curve = bursts.burst_curve("m", fakes, share, n)
    assert not curve.limit
    assert curve.fake_rate == 1e-5
    assert curve.needed == bursts.needed(1e-5)
    for low, value, high in zip(curve.low, curve.efficiency, curve.high, strict=True):
        assert low - 1e-9 <= value <= high + 1e-9
    assert all(a <= b + 1e-9 for a, b in pairwise(curve.efficiency))
    assert curve.for_goal.value == bursts.interactions_for(1e-5, 0.9)
    assert curve.for_goal.low == bursts.interactions_for(fakes.low, share.high)
    assert curve.for_goal.high == bursts.interactions_for(fakes.high, share.low)
    assert curve.for_goal.low < curve.for_goal.value < curve.for_goal.high


def test_none_seen_is_the_upper_limit():
    fakes = fraction(0, 3_000_000)
    curve = bursts.burst_curve("m", fakes, fraction(900, 1000), [10, 100])
    assert curve.limit
    assert curve.fake_rate == fakes.high
    assert curve.for_goal.value == bursts.interactions_for(fakes.high, 0.9)
    # A trigger that hardly sees anything: its bad end finds no burst.
    hopeless = bursts.burst_curve("m", fakes, fraction(1, 100_000), [10])
    assert math.isinf(hopeless.for_goal.high)


def test_the_best_cut_is_the_best_of_all():
    rng = np.random.default_rng(6)
    curve = roc(rng.exponential(1, 200_000), rng.exponential(8, 2000), points=20)
    for least in (0, 1, 10):
        cut, interactions = bursts.best_cut(curve, fewest_fakes=least)
        numbers = {
            c: bursts.interactions_for(f.value if f.passed else f.high, e.value)
            for c, f, e in zip(curve.cuts, curve.fakes, curve.efficiencies, strict=True)
            if f.passed >= least and f.value < 0.1
        }
        assert interactions == min(numbers.values()) == numbers[cut]
    with pytest.raises(InputError, match="No point of the ROC curve"):
        bursts.best_cut(roc([0.0, 1.0], [0.5, 2.0]), fewest_fakes=3)


def test_most_in_a_window():
    assert bursts.most_in_window(np.zeros(0), 10) == 0
    # (t - window, t]: exactly a window apart is outside.
    assert bursts.most_in_window(np.array([0.0, 10.0]), 10) == 1
    assert bursts.most_in_window(np.array([0.0, 9.99, 10.0]), 10) == 2
    assert bursts.most_in_window(np.array([1.0, 1.0, 1.0]), 10) == 3


def test_bad_input():
    with pytest.raises(InputError, match="rule"):
        Burst(rule="sliding")
    with pytest.raises(InputError, match="finite positive"):
        Burst(window_s=0)
    with pytest.raises(InputError, match="finite positive"):
        Burst(other_hz=math.nan)
    with pytest.raises(InputError, match="no profile"):
        Profile(early=1.5)
    with pytest.raises(InputError, match="no share of images"):
        bursts.needed(math.nan)
    for share in (0.0, 1.1, math.nan):
        with pytest.raises(InputError, match="no efficiency of an image trigger"):
            bursts.interactions_for(1e-6, share)
    with pytest.raises(InputError, match="goal"):
        bursts.interactions_for(1e-6, 0.9, goal=1.0)
    with pytest.raises(InputError, match="are no burst"):
        bursts.efficiency(-1, 0.9, 5, 0.1, Burst())
    with pytest.raises(InputError, match="finds no burst"):
        bursts.interactions_for(1e-4, 1e-7)
    with pytest.raises(InputError, match="no measured fake rate"):
        bursts.burst_curve("m", fraction(0, 0), fraction(1, 2), [10])
