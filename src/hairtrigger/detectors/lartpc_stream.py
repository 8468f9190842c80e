"""A plane's data as an endless stream: noise, radiologicals, and events at random times.

    for part in stream(1_000_000, seed=1, rates={"nue_cc": 10.0}):
        part.counts                     # uint16 (ticks, 480)
        part.truth                      # the events that start in it

Events cross borders of blocks and images. Without events it is the series of lartpc.simulate.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hairtrigger.detectors import lartpc_events
from hairtrigger.detectors.checks import whole
from hairtrigger.detectors.lartpc import KINDS, checked
from hairtrigger.detectors.lartpc_blocks import (
    BLOCK_TICKS,
    add_arrivals,
    background,
    digitise,
    events_rng,
    rng_of,
)
from hairtrigger.detectors.lartpc_config import CLASSES, LartpcConfig
from hairtrigger.detectors.lartpc_deposits import Arrivals, draw_vertices, drift
from hairtrigger.errors import InputError

EVENT_DTYPE = np.dtype(
    [
        ("kind", "u1"),
        ("tick", "<i8"),
        ("first_tick", "<i8"),
        ("last_tick", "<i8"),
        ("wire", "<f4"),
        ("visible_mev", "<f4"),
        ("neutrino_mev", "<f4"),
        ("electron_mev", "<f4"),
        ("direction", "<f4", (3,)),
        ("neutrino_direction", "<f4", (3,)),
    ]
)
"""One row an event, with ticks counted from the start of the stream: ``tick`` at which the vertex
arrives, ``first_tick`` and ``last_tick`` of what is visible, ``wire`` of the vertex; the rest as in
lartpc.TRUTH_DTYPE, with ``visible_mev`` of the whole event."""

_INJECTED = 64
"""Random numbers of events at given ticks: this part, of the number of the event in the list."""


@dataclass(frozen=True)
class StreamPart:
    """Some ticks of a stream: the ``start``, ``counts`` uint16 (ticks, wires), and ``truth`` of the
    events whose vertices arrive in it, EVENT_DTYPE."""

    start: int
    counts: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True)
class _Started:
    """Events that start in one block, and their arrivals in ticks of the stream."""

    truth: np.ndarray
    arrivals: Arrivals


def stream(
    ticks: int,
    *,
    seed: int,
    config: LartpcConfig | None = None,
    rates: Mapping[str, float] | None = None,
    events: Sequence[tuple[str, int]] = (),
    block: int = BLOCK_TICKS,
    start: int = 0,
) -> Iterator[StreamPart]:
    """``ticks`` ticks of the stream of ``seed``, from tick ``start``, ``block`` ticks at a time.

    ``rates``: events per second in this plane, by kind (a class but "noise", "muon" or "michel").
    ``events``: (kind, tick) of events to put in, each at a place of its own. The same seed,
    configuration, rates and events give the same stream, whatever ``block`` and ``start`` are. One
    block of BLOCK_TICKS and a few blocks' events are held in memory.

    Raises InputError at once for an unknown kind, a rate or tick that cannot be.
    """
    ticks, start = whole("ticks", ticks, 0), whole("start", start, 0)
    seed, block = whole("seed", seed, 0), whole("block", block, 1)
    config = checked(config)
    wanted = dict(rates or {})
    for kind, rate in wanted.items():
        _check_kind(kind)
        if not (isinstance(rate, int | float) and math.isfinite(rate) and rate >= 0):
            raise InputError(f"rate {rate!r} of {kind}", "give events per second, 0 or more")
    placed = [(_check_kind(kind), whole("tick of an event", tick, 0)) for kind, tick in events]
    return _parts(ticks, seed, config, wanted, placed, block, start)


def _check_kind(kind: str) -> str:
    if kind not in KINDS or kind == "noise":
        raise InputError(
            f"kind = {kind!r} is no kind of event", f"give one of {', '.join(KINDS[1:])}"
        )
    return kind


def _parts(
    ticks: int,
    seed: int,
    config: LartpcConfig,
    rates: dict[str, float],
    placed: list[tuple[str, int]],
    size: int,
    start: int,
) -> Iterator[StreamPart]:
    maker = _Maker(seed, config, rates, placed)
    at, stop = start, start + ticks
    while at < stop:
        end = min(at + size, stop)
        counts = np.empty((end - at, config.wires), np.uint16)
        truths = []
        for index in range(at // BLOCK_TICKS, (end - 1) // BLOCK_TICKS + 1):
            first = index * BLOCK_TICKS
            low, high = max(at, first), min(end, first + BLOCK_TICKS)
            counts[low - at : high - at] = maker.counts(index)[low - first : high - first]
            truth = maker.started(index).truth
            truths.append(truth[(truth["tick"] >= low) & (truth["tick"] < high)])
        yield StreamPart(at, counts, np.concatenate(truths))
        at = end


class _Maker:
    """Blocks of one stream; the last one, and the events of those near it, are kept."""

    def __init__(
        self,
        seed: int,
        config: LartpcConfig,
        rates: dict[str, float],
        placed: list[tuple[str, int]],
    ) -> None:
        self.seed, self.config, self.rates, self.placed = seed, config, rates, placed
        # an event reaches as far as a whole drift either way
        self.reach = math.ceil((config.drift_ticks + BLOCK_TICKS // 8) / BLOCK_TICKS)
        self._events: OrderedDict[int, _Started] = OrderedDict()
        self._last: tuple[int, np.ndarray] | None = None

    def counts(self, index: int) -> np.ndarray:
        """Counts of a block, uint16 (BLOCK_TICKS, wires)."""
        if self._last is None or self._last[0] != index:
            canvas, _ = background(index, self.seed, self.config)
            for other in range(max(index - self.reach, 0), index + self.reach + 1):
                found = self.started(other)
                add_arrivals(canvas, found.arrivals, -index * BLOCK_TICKS, self.config)
            self._last = index, digitise(canvas, index * BLOCK_TICKS, self.config)
        return self._last[1]

    def started(self, index: int) -> _Started:
        """Events whose vertices arrive in a block."""
        if index not in self._events:
            self._events[index] = self._start(index)
            while len(self._events) > 2 * self.reach + 2:
                self._events.popitem(last=False)
        return self._events[index]

    def _start(self, index: int) -> _Started:
        first, config = index * BLOCK_TICKS, self.config
        made = []
        for kind, rate in self.rates.items():
            rng = events_rng(self.seed, index, KINDS.index(kind))
            seconds = BLOCK_TICKS * config.tick_ns * 1e-9
            n = int(rng.poisson(rate * seconds))
            if n:
                tick = first + np.sort(rng.integers(0, BLOCK_TICKS, n))
                made.append(_make(kind, rng, tick, config))
        for number, (kind, tick) in enumerate(self.placed):
            if first <= tick < first + BLOCK_TICKS:
                rng = rng_of(self.seed, number, _INJECTED)
                made.append(_make(kind, rng, np.array([tick]), config))
        if not made:
            none = np.zeros(0)
            empty = Arrivals(np.zeros(0, np.int64), none, none, none, none, none)
            return _Started(np.zeros(0, EVENT_DTYPE), empty)
        truth = np.concatenate([part.truth for part in made])
        fields = Arrivals.__dataclass_fields__
        joined = (np.concatenate([getattr(p.arrivals, f) for p in made]) for f in fields)
        return _Started(truth[np.argsort(truth["tick"], kind="stable")], Arrivals(*joined))


def _make(kind: str, rng: np.random.Generator, tick: np.ndarray, config: LartpcConfig) -> _Started:
    """Events of a kind whose vertices arrive at given ticks of the stream, (n,)."""
    n = len(tick)
    drawn = lartpc_events.draw(kind, rng, n, config)
    vertices = draw_vertices(rng, n, 1.0, config)
    vertices.tick[:] += tick
    arrivals = drift(drawn.deposits, vertices, config)
    truth = np.zeros(n, EVENT_DTYPE)
    truth["kind"] = CLASSES.index("other" if kind in ("muon", "michel") else kind)
    truth["tick"], truth["wire"] = tick, vertices.wire
    truth["visible_mev"] = np.bincount(arrivals.event, arrivals.mev, n)
    floor = np.floor(arrivals.tick).astype(np.int64)
    first, last = tick.copy(), tick.copy()
    np.minimum.at(first, arrivals.event, floor)
    np.maximum.at(last, arrivals.event, floor)
    truth["first_tick"], truth["last_tick"] = first, last
    for field in ("neutrino_mev", "electron_mev", "direction", "neutrino_direction"):
        truth[field] = getattr(drawn, field)
    return _Started(truth, arrivals)
