"""A supernova burst trigger on top of image triggers: how many of a module pass in ten seconds.

Image triggers are counted in a window that slides with each of them. The alarm is ``needed``
triggers, the fewest for which background gives no more than one alarm a month. Background is a
Poisson process of rate (image fake rate) x (images a second); the interactions of a burst come with
the time profile below and pass with the trigger's efficiency.

A window that slides is not one trial in ten seconds. Of the rules for background's alarms [1/s],
with mu = rate x window and N Poisson of mean mu:

- "scan" (ours): rate (1 - mu / k) P(N = k - 1). A trigger makes the count k with rate P(N = k - 1);
  the bracket takes off those of the same alarm (S. E. Alm, Probab. Math. Stat. 3 (1983) 13; J. I.
  Naus, J. Am. Stat. Assoc. 77 (1982) 177). The tests compare it with simulated processes.
- "each": rate P(N >= k), every trigger a trial of its own. Where the window holds many triggers it
  counts an alarm many times; where it holds few it is too low, since a window that ends with a
  trigger is not one at random. It gives the figures that are published: `REFERENCES`.
- "separate": P(N >= k) / window, as if windows did not slide. It is too low.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.metrics import LEVEL, Fraction, fraction
from hairtrigger.studies.supernova_metrics import IMAGES_PER_SECOND, Roc, Scaled

MONTH_S = 365.25 / 12 * 86_400
RULES = ("scan", "each", "separate")
GOAL = 0.95
MOST_INTERACTIONS = 10**7
FAR = 15.0
"""Standard deviations after which nothing is left that a double can hold beside 1."""
REFERENCES = ((1e-4, 692), (1e-6, 73), (1e-7, 28))
"""Published: interactions for 95 % at an image fake rate. `interactions_for` gives the same with
the rule "each", all interactions in the window and 90 % of them seen."""


@dataclass(frozen=True)
class Published:
    """A trigger of others: efficiency for interactions, and its fakes of a module [Hz]."""

    name: str
    efficiency: float
    hz: float

    @property
    def fake_rate(self) -> float:
        """Fakes an image, of `IMAGES_PER_SECOND`."""
        return self.hz / IMAGES_PER_SECOND


PUBLISHED = (
    Published("clusters of primitives", 0.913, 19.1),
    Published("clusters of primitives", 0.582, 0.0985),
    Published("YOLOv3 on primitives", 0.762, 1.8),
)
"""On samples of others, with other energies: to compare with by eye, not to rank by."""


@dataclass(frozen=True)
class Profile:
    """When the interactions of a burst come: two exponentials, of accretion and of cooling [s].

    The share ``early`` decays with ``accretion_s``, the rest with ``cooling_s``. It is a
    parametrisation of ours, not a fit: scales of half a second and some seconds are those found in
    SN1987A (T. J. Loredo and D. Q. Lamb, Phys. Rev. D 65 (2002) 063002; G. Pagliaroli et al.,
    Astropart. Phys. 31 (2009) 163), and ``early`` makes it half in the first second.
    """

    early: float = 0.452
    accretion_s: float = 0.5
    cooling_s: float = 4.5

    def __post_init__(self) -> None:
        if not (0 <= self.early <= 1 and self.accretion_s > 0 and self.cooling_s > 0):
            raise InputError(f"{self} is no profile.", "Give a share and two positive times.")

    def within(self, seconds: float) -> float:
        """The share of the interactions in the first ``seconds``."""
        late = self.early * math.exp(-seconds / self.accretion_s)
        return 1 - late - (1 - self.early) * math.exp(-seconds / self.cooling_s)

    def draw(self, rng: np.random.Generator, interactions: int) -> NDArray[np.float64]:
        """Times [s] of interactions, from the first moment on."""
        scale = np.where(rng.random(interactions) < self.early, self.accretion_s, self.cooling_s)
        return rng.exponential(scale)


@dataclass(frozen=True)
class Burst:
    """A burst trigger: its window and how rare its fakes are [s], and the bursts it is for.

    ``profile`` None: all interactions are in the window. ``exact``: bursts have a given number of
    interactions; else the number is Poisson, and what is given is its mean. ``other_hz``: true
    triggers of no burst (solar neutrinos, muons), in addition to the fakes.
    """

    window_s: float = 10.0
    period_s: float = MONTH_S
    images_per_second: float = IMAGES_PER_SECOND
    profile: Profile | None = Profile()
    rule: str = "scan"
    exact: bool = False
    other_hz: float = 0.0

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise InputError(f"rule = {self.rule!r} is unknown.", f"Give one of {RULES}.")
        times = (self.window_s, self.period_s, self.images_per_second)
        if not all(0 < x < math.inf for x in times) or not 0 <= self.other_hz < math.inf:
            raise InputError(f"{self} has no finite positive times.", "Give seconds and hertz.")

    @property
    def seen(self) -> float:
        """The share of a burst's interactions that come in the window that begins with it."""
        return 1.0 if self.profile is None else self.profile.within(self.window_s)


@dataclass(frozen=True)
class BurstCurve:
    """Efficiency against the number of ``interactions``, and the number for `GOAL`.

    ``needed``: triggers for an alarm. The band's ends take the fake rate and the efficiency at the
    ends of their intervals, both good or both bad, so it covers more than their level. ``limit``:
    no fake was seen, and the curve and ``needed`` are those of the upper limit of the fake rate.
    """

    name: str
    fake_rate: float
    limit: bool
    needed: int
    interactions: tuple[float, ...]
    efficiency: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    for_goal: Scaled


# --- background ----------------------------------------------------------------------------------


def alarms_hz(rate_hz: float, burst: Burst, triggers: int) -> float:
    """Background's alarms [1/s] if an alarm takes so many triggers, by the burst's rule.

    Up to the mean count in the window the alarm is on most of the time: there it is infinite.
    """
    return float(_alarms(rate_hz, burst, triggers, triggers)[0])


def _alarms(rate_hz: float, burst: Burst, first: int, last: int) -> NDArray[np.float64]:
    """`alarms_hz` of ``first`` to ``last`` triggers."""
    mean = rate_hz * burst.window_s
    k = np.arange(first, last + 1)
    if burst.rule == "scan":
        found = rate_hz * (1 - mean / k) * _poisson(mean, first - 1, last - 1)
    else:
        tail = _tail(mean, first, last)
        found = tail * rate_hz if burst.rule == "each" else tail / burst.window_s
    return np.where(k > mean, found, np.inf)


def needed(fake_rate: float, burst: Burst = Burst()) -> int:
    """The fewest triggers in the window for which background gives an alarm in ``period_s`` or
    fewer.

    ``fake_rate``: share of noise images that pass. Raises `InputError` for another number.
    """
    if not 0 <= fake_rate <= 1:
        raise InputError(f"fake_rate = {fake_rate!r} is no share of images.", "Give 0 to 1.")
    rate = _background_hz(fake_rate, burst)
    mean = rate * burst.window_s
    first, size = int(mean) + 1, int(12 * math.sqrt(mean)) + 60
    while True:
        rare = np.flatnonzero(_alarms(rate, burst, first, first + size) <= 1 / burst.period_s)
        if rare.size:
            return first + int(rare[0])
        size *= 2


def _background_hz(fake_rate: float, burst: Burst) -> float:
    return fake_rate * burst.images_per_second + burst.other_hz


# --- bursts --------------------------------------------------------------------------------------


def efficiency(
    interactions: float, share: float, triggers: int, rate_hz: float, burst: Burst
) -> float:
    """The chance that a burst of ``interactions``, each passing with chance ``share``, with
    background of ``rate_hz``, makes ``triggers`` in the window that begins with the burst.

    A window elsewhere can hold more, so the chance of an alarm is a little higher:
    `simulated_efficiency` measures it.
    """
    _check_share(share)
    if not 0 <= interactions <= MOST_INTERACTIONS:
        raise InputError(
            f"{interactions!r} interactions are no burst.", f"Give 0 to {MOST_INTERACTIONS}."
        )
    chance, mean = share * burst.seen, rate_hz * burst.window_s
    if not burst.exact:
        return float(_tail(mean + interactions * chance, triggers, triggers)[0])
    first, of_signal = _binomial(int(interactions), chance)
    # P(background >= triggers - j) for each number j from the burst.
    left = np.maximum(triggers - first - np.arange(len(of_signal)), 0)
    tail = _tail(mean, int(left[-1]), int(left[0]))
    return float(min(1.0, of_signal @ tail[left - left[-1]]))


def interactions_for(
    fake_rate: float, share: float, burst: Burst = Burst(), goal: float = GOAL
) -> int:
    """The fewest interactions for which the burst trigger has the efficiency ``goal``.

    Raises `InputError` for shares that are none, and where it takes more than `MOST_INTERACTIONS`.
    """
    _check_share(share)
    if not 0 < goal < 1:
        raise InputError(f"goal = {goal!r} is no efficiency.", "Give one between 0 and 1.")
    triggers, rate = needed(fake_rate, burst), _background_hz(fake_rate, burst)

    def enough(n: int) -> bool:
        return efficiency(n, share, triggers, rate, burst) >= goal

    high = 1
    while not enough(high):
        high *= 2
        if high > MOST_INTERACTIONS:
            raise InputError(
                f"An efficiency of {share:g} finds no burst of {MOST_INTERACTIONS} interactions.",
                "Give a trigger that keeps more signal or less noise.",
            )
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def best_cut(
    curve: Roc, burst: Burst = Burst(), goal: float = GOAL, fewest_fakes: int = 1
) -> tuple[float, int]:
    """The cut of a ROC curve with which the fewest interactions reach ``goal``, and that number.

    The curve must be of images that nothing is quoted on. Points with fewer than ``fewest_fakes``
    fakes are left out; with 0 the one without any counts too, at the upper limit of its rate.
    Raises `InputError` where no point is left that finds a burst.
    """
    best: tuple[int, float] | None = None
    for cut, fakes, share in zip(curve.cuts, curve.fakes, curve.efficiencies, strict=True):
        rate = fakes.value if fakes.passed else fakes.high
        if fakes.passed < fewest_fakes or not share.passed:
            continue
        try:
            found = (interactions_for(rate, share.value, burst, goal), cut)
        except InputError:  # so many fakes, or so little signal, that no burst is found
            continue
        if best is None or found[0] < best[0]:
            best = found
    if best is None:
        raise InputError(
            f"No point of the ROC curve has {fewest_fakes} fakes or more and finds bursts.",
            "Give more noise images.",
        )
    return best[1], best[0]


def burst_curve(
    name: str,
    fakes: Fraction,
    share: Fraction | Scaled,
    interactions: Sequence[float],
    burst: Burst = Burst(),
    goal: float = GOAL,
) -> BurstCurve:
    """The curve of an image trigger with ``fakes`` (of noise images) and the efficiency ``share``
    for a burst's interactions, each with its interval.

    Where no fake was seen, the rate is the upper limit of its interval: more images would show
    less. Raises `InputError` where a number is missing, or no burst can be found.
    """
    if not fakes.total or math.isnan(share.value):
        raise InputError(
            f"{name!r} has no measured fake rate or efficiency.", "Judge it on more images."
        )
    rate = fakes.value if fakes.passed else fakes.high
    ends = {
        "value": (rate, share.value),
        "low": (fakes.high, share.low),
        "high": (fakes.low, share.high),
    }
    found: dict[str, tuple[float, ...]] = {}
    count: dict[str, float] = {}
    for end, (fake_rate, of) in ends.items():
        triggers, hz = needed(fake_rate, burst), _background_hz(fake_rate, burst)
        found[end] = tuple(efficiency(n, of, triggers, hz, burst) for n in interactions)
        try:
            count[end] = interactions_for(fake_rate, of, burst, goal)
        except InputError:
            if end != "low":
                raise
            count[end] = math.inf  # the bad end may be of no use; the interval says so
    return BurstCurve(
        name=name,
        fake_rate=rate,
        limit=not fakes.passed,
        needed=needed(rate, burst),
        interactions=tuple(float(n) for n in interactions),
        efficiency=found["value"],
        low=found["low"],
        high=found["high"],
        for_goal=Scaled(count["value"], count["high"], count["low"], fakes.level),
    )


# --- simulation, to check the formulas by --------------------------------------------------------


def most_in_window(times: NDArray[np.float64], window_s: float) -> int:
    """The most of sorted ``times`` [s] in any window (t - window, t]."""
    if not len(times):
        return 0
    first = np.searchsorted(times, times - window_s, side="right")
    return int((np.arange(1, len(times) + 1) - first).max())


def simulated_efficiency(
    interactions: int,
    share: float,
    triggers: int,
    rate_hz: float,
    burst: Burst,
    *,
    bursts: int,
    seed: int,
    level: float = LEVEL,
) -> Fraction:
    """The share of simulated bursts that make ``triggers`` in any position of the sliding window.

    Background runs from a window before the burst to two after its beginning. All interactions at
    once where the burst has no profile.
    """
    _check_share(share)
    rng = np.random.default_rng(seed)
    found = 0
    for _ in range(bursts):
        n = interactions if burst.exact else int(rng.poisson(interactions))
        n = int(rng.binomial(n, share))
        signal = np.zeros(n) if burst.profile is None else burst.profile.draw(rng, n)
        span = 3 * burst.window_s
        noise = rng.random(rng.poisson(rate_hz * span)) * span - burst.window_s
        found += (
            most_in_window(np.sort(np.concatenate([signal, noise])), burst.window_s) >= triggers
        )
    return fraction(found, bursts, level)


def simulated_alarms(
    rate_hz: float, window_s: float, triggers: int, period_s: float, *, periods: int, seed: int
) -> Fraction:
    """The share of simulated ``periods`` of background with an alarm of ``triggers`` in them."""
    rng = np.random.default_rng(seed)
    found = 0
    for _ in range(periods):
        times = np.sort(rng.random(rng.poisson(rate_hz * period_s)) * period_s)
        found += most_in_window(times, window_s) >= triggers
    return fraction(found, periods)


# --- distributions -------------------------------------------------------------------------------


def _poisson(mean: float, first: int, last: int) -> NDArray[np.float64]:
    """The chances of ``first`` to ``last``: the first, then ratios."""
    k = np.arange(first, last + 1)
    if mean == 0:
        return (k == 0).astype(np.float64)
    begin = first * math.log(mean) - mean - math.lgamma(first + 1)
    return np.exp(begin + np.concatenate([[0.0], np.cumsum(math.log(mean) - np.log(k[1:]))]))


def _tail(mean: float, first: int, last: int) -> NDArray[np.float64]:
    """The chances of k or more, for k from ``first`` to ``last``; summed from the small end up."""
    # `FAR` deviations below the mean it is 1, as near as a double can say; above, nothing is left.
    begin = min(max(first, int(mean - FAR * math.sqrt(mean)) - 50), last)
    end = max(last, int(mean)) + int(FAR * math.sqrt(mean + last)) + 60
    found = np.cumsum(_poisson(mean, begin, end)[::-1])[::-1][: last - begin + 1]
    return np.concatenate([np.ones(begin - first), np.minimum(found, 1.0)])


def _binomial(n: int, chance: float) -> tuple[int, NDArray[np.float64]]:
    """The chances of a first number and those after it, all of those that can be seen."""
    if chance == 1.0:
        return n, np.ones(1)
    mean, deviation = n * chance, math.sqrt(n * chance * (1 - chance))
    first = max(0, int(mean - FAR * deviation) - 50)
    k = np.arange(first, min(n, int(mean + FAR * deviation) + 50) + 1)
    ways = math.lgamma(n + 1) - math.lgamma(first + 1) - math.lgamma(n - first + 1)
    begin = ways + first * math.log(chance) + (n - first) * math.log1p(-chance)
    ratios = np.log((n - k[1:] + 1) / k[1:]) + math.log(chance) - math.log1p(-chance)
    return first, np.exp(begin + np.concatenate([[0.0], np.cumsum(ratios)]))


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise InputError(
            f"share = {share!r} is no efficiency of an image trigger.", "Give one above 0, up to 1."
        )
