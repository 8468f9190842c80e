"""Scenarios in the style of MLPerf Inference: how queries come, and what is timed.

Single stream: the next query comes when the last is answered. Multi-stream: the same with several
samples a query. Server: queries come at random (Poisson), wait in line, and their time counts from
when they came. Offline: all samples are there at once. They take the names and rules of MLPerf
Inference (Reddi et al., ISCA 2020, arXiv:1911.02549), with durations of one's own and without its
load generator: results are no submissions.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from hairtrigger.bench.clock import Clock, undisturbed
from hairtrigger.errors import InputError

Call = Callable[[], object]
"""Works on fixed inputs, which lie ready in the form that the engine takes."""

MOST_CALLS = 2_000_000
"""A scenario ends after so many calls, whatever its duration."""
WARM_UP = 0.1
"""This share of the duration goes before, and is not counted."""
LATE = 0.01
"""This share of the queries may exceed the bound of the server scenario."""
FAIL_FACTOR = 100
"""A server that makes a query wait so many times the bound is given up: it is overloaded."""
TRIALS = 8
"""Rates that the search of `find_rate` tries."""
STEPS, STEP = 12, 0.95
"""A rate that was found by short runs is lowered so often, and by this factor, until it holds."""


@dataclass(frozen=True)
class Timed:
    """Times of queries in ns (queries,), the seconds from the first query to the last answer, and
    the samples of a query."""

    ns: NDArray[np.int64]
    seconds: float
    samples: int = 1

    @property
    def per_second(self) -> float:
        """Samples answered in a second."""
        return self.samples * len(self.ns) / self.seconds

    def percentile(self, percent: float) -> float | None:
        """See `percentile`."""
        return percentile(self.ns, percent)


def percentile(ns: NDArray[np.int64], percent: float) -> float | None:
    """The time that so many percent of the queries did not exceed (nearest rank); None where less
    than one query lies beyond, so that it would only be the maximum under another name."""
    count = len(ns)
    rank = math.ceil(round(count * percent / 100, 9))
    if not count or rank >= count:
        return None if percent > 50 or not count else float(np.max(ns))
    return float(np.partition(ns, rank - 1)[rank - 1])


def back_to_back(
    calls: Sequence[Call], clock: Clock, seconds: float, samples: int = 1, least: int = 3
) -> Timed:
    """One call after the other, ``calls`` in turn, for ``seconds`` and ``least`` calls.

    With one sample a query this is the single-stream scenario, with several multi-stream; with
    large batches, `Timed.per_second` is offline throughput. Raises `InputError` for no time.
    """
    _check_seconds(seconds)
    with undisturbed():
        _run(calls, clock, WARM_UP * seconds, 1)
        return _run(calls, clock, seconds, least, samples)


def _run(
    calls: Sequence[Call], clock: Clock, seconds: float, least: int, samples: int = 1
) -> Timed:
    now = clock.now
    times = array("q")
    add = times.append
    begin = now()
    end = begin + int(1e9 * seconds)
    after = begin
    for count, call in enumerate(cycle(calls), 1):
        before = now()
        call()
        after = now()
        add(after - before)
        if (after >= end and count >= least) or count >= MOST_CALLS:
            break
    return Timed(np.frombuffer(times, dtype=np.int64), max(after - begin, 1) / 1e9, samples)


def poisson_arrivals(rate: float, seconds: float, seed: int) -> list[int]:
    """When queries come, in ns from the beginning: ``rate`` a second on average, independent of
    each other, so that gaps are exponential. At least 10, at most `MOST_CALLS`.

    Raises `InputError` for a rate that is no positive number.
    """
    if not (math.isfinite(rate) and rate > 0):
        raise InputError(f"a rate of {rate:g} queries a second", "give a positive number")
    count = int(min(max(rate * seconds, 10), MOST_CALLS))
    gaps = np.random.default_rng(seed).exponential(1e9 / rate, count)
    return np.cumsum(gaps).astype(np.int64).tolist()


def serve(
    calls: Mapping[int, Sequence[Call]],
    arrivals: Sequence[int],
    clock: Clock,
    bound_ns: float = math.inf,
    *,
    patient: bool = True,
) -> Timed:
    """One server, first come, first served; times count from when a query came.

    ``calls``: calls for each number of queries that can be answered at once, 1 among them; as many
    as wait are taken together, up to the largest. Ends early where a query waits `FAIL_FACTOR`
    times the bound; where it is not ``patient``, as soon as more than `LATE` of all queries have
    exceeded the bound, so that it cannot hold any more.
    """
    allowed = len(arrivals) if patient else int(LATE * len(arrivals))
    sizes = sorted(calls)
    turns = {size: cycle(calls[size]) for size in sizes}
    now, wait = clock.now, clock.wait
    times = array("q")
    count, place, late = len(arrivals), 0, 0
    with undisturbed():
        begin = done = now()
        while place < count:
            came = begin + arrivals[place]
            if done < came:
                wait(came)
            size = 1
            if len(sizes) > 1:
                waiting = bisect_right(arrivals, now() - begin, place) - place
                size = sizes[max(0, bisect_right(sizes, waiting) - 1)]
            next(turns[size])()
            done = now()
            for n in range(place, place + size):
                times.append(done - begin - arrivals[n])
            place += size
            if done - came > bound_ns:
                late += size
                if late > allowed or done - came > FAIL_FACTOR * bound_ns:
                    break
    return Timed(np.frombuffer(times, dtype=np.int64), max(done - begin, 1) / 1e9)


def holds(found: Timed, queries: int, bound_ns: float) -> bool:
    """Were all queries answered, and 99 % of them within the bound?"""
    last = found.percentile(99)
    slowest = float(found.ns.max()) if last is None else last
    return len(found.ns) == queries and slowest <= bound_ns


@dataclass(frozen=True)
class Served:
    """A server run: the ``rate`` asked for (0: none held), and whether p99 stayed in the bound."""

    rate: float
    timed: Timed
    held: bool


def serve_at(
    calls: Mapping[int, Sequence[Call]],
    clock: Clock,
    rate: float,
    bound_ns: float,
    seconds: float,
    seed: int,
    *,
    patient: bool = True,
) -> Served:
    """The server scenario at a given rate. Raises `InputError` for a rate or time of 0."""
    _check_seconds(seconds)
    arrivals = poisson_arrivals(rate, seconds, seed)
    found = serve(calls, arrivals, clock, bound_ns, patient=patient)
    return Served(rate, found, holds(found, len(arrivals), bound_ns))


def find_rate(
    calls: Mapping[int, Sequence[Call]],
    clock: Clock,
    most: float,
    bound_ns: float,
    seconds: float,
    seed: int,
) -> Served:
    """The highest rate at which p99 stays within the bound, by halving the range from 0 to
    ``most`` a second with short runs; then measured for ``seconds``, with other arrivals, and
    lower in `STEPS` as long as it does not hold there."""
    _check_seconds(seconds)
    low, high = 0.0, most
    for trial in range(TRIALS):
        middle = (low + high) / 2
        short = seconds / TRIALS
        if serve_at(calls, clock, middle, bound_ns, short, seed + trial, patient=False).held:
            low = middle
        else:
            high = middle
    rate = low or high
    for _ in range(STEPS):
        found = serve_at(calls, clock, rate, bound_ns, seconds, seed + TRIALS, patient=False)
        if found.held:
            return found
        rate *= STEP
    return found


def _check_seconds(seconds: float) -> None:
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"a duration of {seconds:g} s", "give a positive number of seconds")
