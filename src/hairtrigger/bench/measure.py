"""An engine's answers and its rows: the batch sweep and the scenarios."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hairtrigger.bench import scenarios
from hairtrigger.bench.clock import Clock
from hairtrigger.bench.energy import Meter, NoMeter
from hairtrigger.bench.engines import OWN, SLICES, Engine
from hairtrigger.bench.inputs import Codes, codes_hash, take
from hairtrigger.bench.records import (
    MEASURED,
    MULTI,
    OFFLINE,
    SERVER,
    SINGLE,
    SWEEP,
    Answers,
    Row,
)
from hairtrigger.bench.scenarios import Call, Timed
from hairtrigger.errors import HairtriggerError
from hairtrigger.graph.graph import Graph

READY = 64
"""Different events or batches that lie ready, and are taken in turn."""
READY_BYTES = 64 << 20
"""Batches that lie ready take at most so much as int64."""
CALL_BYTES = 1 << 30
"""A batch is not tried where the largest tensor of the Graph would take more for all its events."""
SLOW = 4.0
"""A batch is not tried where one call would take so many times the time of its point."""
SWEEP_SHARE = 0.1
"""A point of the sweep lasts so much of the duration of a scenario."""


@dataclass(frozen=True)
class Setting:
    """What is measured and how long. ``threads``: of the sweep, ascending; ``samples``: of a query
    in multi-stream; ``rate``: of the server's queries, or None to search for it; ``bound_ns``: on
    its p99; ``together``: most queries that it may answer at once."""

    batches: tuple[int, ...]
    threads: tuple[int, ...]
    seconds: float
    samples: int
    rate: float | None
    bound_ns: float
    together: int
    seed: int


def compare(engine: str, device: str, words: str, expected: Codes, found: Codes) -> Answers:
    """An engine's output codes beside the emulator's, of the same events."""
    wrong = [a != b for a, b in zip(found, expected, strict=True)]
    largest = [np.abs(a - b).max(initial=0) for a, b in zip(found, expected, strict=True)]
    events = np.flatnonzero(np.any([x.reshape(len(x), -1).any(axis=1) for x in wrong], axis=0))
    return Answers(
        engine=engine,
        device=device,
        words=words,
        events=len(expected[0]),
        sha256=codes_hash(found),
        values=sum(x.size for x in expected),
        differences=sum(int(x.sum()) for x in wrong),
        largest_lsb=float(max(largest)),
        first_event=int(events[0]) if len(events) else None,
    )


def answers(engine: Engine, codes: Codes, expected: Codes) -> Answers:
    """Run all inputs through an engine once, and compare."""
    return compare(engine.name, engine.device, engine.words, expected, engine.run(codes))


@dataclass(frozen=True)
class Bench:
    """One engine with its inputs: makes the rows of each scenario.

    ``same``: does it give the emulator's integers; ``meter``: of the device that it runs on;
    ``progress(done, total)`` may be called at any time.
    """

    graph: Graph
    engine: Engine
    codes: Codes
    same: bool
    setting: Setting
    clock: Clock
    meter: Meter | NoMeter = field(default_factory=lambda: NoMeter("not asked for"))
    progress: Callable[[int, int], None] = lambda done, total: None

    def _row(self, scenario: str, batch: int) -> Row:
        return Row(self.engine.name, scenario, MEASURED, batch, self.same)

    def calls(
        self, batch: int, threads: int = 1, way: str = SLICES, transfers: str | None = None
    ) -> list[Call]:
        """Calls on different events, or on different batches as far as memory allows."""
        mode = self.engine.transfers[0] if transfers is None else transfers
        size = 8 * batch * sum(op.type.size for op in self.graph.input_ops)
        kinds = max(1, -(-len(self.codes[0]) // batch))
        count = max(1, min(READY, kinds, READY_BYTES // size))
        return [
            self.engine.bind(take(self.codes, n * batch, batch), threads, way, mode)
            for n in range(count)
        ]

    def sweep(self) -> tuple[Row, ...]:
        """Every batch with every number of threads, each for a share of the duration."""
        found: list[Row] = []
        engine, batches = self.engine, self.setting.batches
        plan = [
            (threads, way, transfers)
            for threads in self.setting.threads
            for way in engine.ways(threads)
            for transfers in engine.transfers
        ]
        seconds = SWEEP_SHARE * self.setting.seconds
        for number, (threads, way, transfers) in enumerate(plan):
            before: Row | None = None
            for place, batch in enumerate(batches):
                self.progress(number * len(batches) + place, len(plan) * len(batches))
                if way == SLICES and batch < threads > 1:
                    continue  # fewer slices than threads: the row of fewer threads says it
                row = replace(
                    self._row(SWEEP, batch), threads=threads, way=way, transfers=transfers
                )
                why = self._refused(batch) or self._too_much(batch, before, seconds)
                if why:
                    found.append(replace(row, note=f"not run: {why}"))
                    continue
                calls = self.calls(batch, threads, way, transfers)
                before = _filled(row, scenarios.back_to_back(calls, self.clock, seconds, batch))
                found.append(before)
        return tuple(found)

    def _refused(self, batch: int) -> str:
        allowed = self.engine.batches
        if allowed is None or batch in allowed:
            return ""
        return f"the engine takes batches of {', '.join(map(str, allowed))} only"

    def _too_much(self, batch: int, before: Row | None, seconds: float) -> str:
        largest = max(node.type.size for node in self.graph.nodes)
        if 4 * largest * batch > CALL_BYTES:
            return f"the largest tensor of {batch:,} events would take more than 1 GiB"
        if before is not None and before.mean_ns is not None:
            guess = before.mean_ns / 1e9 * batch / before.batch
            if guess > SLOW * seconds:
                return f"a call would take about {guess:.2g} s"
        return ""

    def _one_thread(self) -> tuple[int | None, str]:
        """One thread, where the engine can; else as it likes, of which the number is not known."""
        ways = self.engine.ways(1)
        return (1, ways[0]) if ways else (None, OWN)

    def single(self) -> tuple[Row, ...]:
        """Single stream: one event a query, in one thread."""
        threads, way = self._one_thread()
        row = replace(self._row(SINGLE, 1), threads=threads, way=way)
        if self._refused(1):
            return (replace(row, note=f"not run: {self._refused(1)}"),)
        floor = self.engine.floor()
        if floor is not None:
            least = scenarios.back_to_back([floor], self.clock, SWEEP_SHARE * self.setting.seconds)
            row = replace(row, floor_ns=least.percentile(50))
        found: list[Row] = []
        for transfers in self.engine.transfers:
            calls = self.calls(1, threads or 1, way, transfers)
            timed = scenarios.back_to_back(calls, self.clock, self.setting.seconds)
            found.append(replace(_filled(row, timed), transfers=transfers))
        return tuple(found)

    def multi(self) -> tuple[Row, ...]:
        """Multi-stream: several events a query, with each number of threads."""
        samples = self.setting.samples
        found: list[Row] = []
        for threads in self.setting.threads:
            for way in self.engine.ways(threads):
                row = replace(self._row(MULTI, samples), threads=threads, way=way)
                if self._refused(samples):
                    found.append(replace(row, note=f"not run: {self._refused(samples)}"))
                    continue
                for transfers in self.engine.transfers:
                    calls = self.calls(samples, threads, way, transfers)
                    timed = scenarios.back_to_back(calls, self.clock, self.setting.seconds, samples)
                    found.append(replace(_filled(row, timed), transfers=transfers))
        return tuple(found)

    def server(self) -> tuple[Row, ...]:
        """Server: one event a query, Poisson arrivals; several are answered at once if allowed."""
        s = self.setting
        sizes = [n for n in (1 << k for k in range(17)) if n <= s.together and not self._refused(n)]
        if 1 not in sizes:
            return (replace(self._row(SERVER, 1), note=f"not run: {self._refused(1)}"),)
        threads, way = self._one_thread()
        calls = {size: self.calls(size, threads or 1, way) for size in sizes}
        row = replace(self._row(SERVER, sizes[-1]), threads=threads, way=way, bound_ns=s.bound_ns)
        row = replace(row, transfers=self.engine.transfers[0])
        if s.rate is not None:
            found = scenarios.serve_at(calls, self.clock, s.rate, s.bound_ns, s.seconds, s.seed)
        else:
            most = 1.0
            for size in sizes:
                timed = scenarios.back_to_back(
                    calls[size], self.clock, SWEEP_SHARE * s.seconds, size
                )
                most = max(most, timed.per_second)
            found = scenarios.find_rate(calls, self.clock, most, s.bound_ns, s.seconds, s.seed)
        row = replace(_filled(row, found.timed), rate_per_s=found.rate)
        if found.held:
            return (row,)
        asked = "at this rate" if s.rate is not None else "at any rate that was tried"
        return (replace(row, note=f"p99 does not stay within the bound {asked}"),)

    def offline(self, sweep: Sequence[Row]) -> tuple[Row, ...]:
        """Offline: the batch, threads and way that were fastest in the sweep; with energy."""
        found: list[Row] = []
        for transfers in self.engine.transfers:
            ran = [r for r in sweep if r.per_second is not None and r.transfers == transfers]
            if not ran:
                row = replace(self._row(OFFLINE, 0), transfers=transfers)
                found.append(replace(row, note="not run: no batch of the sweep ran"))
                continue
            found.append(self._offline(max(ran, key=lambda row: row.per_second or 0.0)))
        return tuple(found)

    def _offline(self, best: Row) -> Row:
        calls = self.calls(best.batch, best.threads or 1, best.way, best.transfers)
        before = self.meter.read() if isinstance(self.meter, Meter) else ()
        begin = self.clock.now()
        timed = scenarios.back_to_back(calls, self.clock, self.setting.seconds, best.batch)
        row = replace(
            _filled(self._row(OFFLINE, best.batch), timed),
            threads=best.threads,
            way=best.way,
            transfers=best.transfers,
        )
        if isinstance(self.meter, NoMeter):
            return replace(row, energy=self.meter.why)
        # Warm-up and count alike: the counter also ran while the calls were warmed up.
        joules, whole = self.meter.since(before), (self.clock.now() - begin) / 1e9
        each = joules / whole / timed.per_second
        return replace(row, energy=self.meter.words, joules_per_event=each)


def _filled(row: Row, timed: Timed) -> Row:
    return replace(
        row,
        calls=len(timed.ns),
        seconds=timed.seconds,
        mean_ns=float(timed.ns.mean()),
        p50_ns=timed.percentile(50),
        p90_ns=timed.percentile(90),
        p99_ns=timed.percentile(99),
        p999_ns=timed.percentile(99.9),
        per_second=timed.per_second,
    )


def failed(engine: str, device: str, error: HairtriggerError) -> Answers:
    """The record of an engine that cannot run here, with the first of its reasons."""
    head, *reasons = error.problem.split("\n  - ")
    why = f"{head} {reasons[0]}" if reasons else head
    if len(reasons) > 1:
        why += f" (and {len(reasons) - 1} more)"
    return Answers(engine, device, "", why=why if why.startswith("not run") else f"not run: {why}")


def loop_rows(graph: Graph, codes: Codes, expected: Codes, seconds: float) -> tuple[Row, ...]:
    """Single stream of the generated C++ without Python, and its block without a clock inside.

    Raises `ToolError`; its answers count as the same only if they are.
    """
    from hairtrigger.bench.loop import run_loop
    from hairtrigger.bench.records import LOOP
    from hairtrigger.engines import CPP

    found = run_loop(graph, codes, seconds)
    same = compare(CPP, "CPU", "", expected, found.codes).equal
    row = _filled(Row(CPP, LOOP, MEASURED, 1, same, threads=1, way="called from C++"), found.timed)
    note = f"{found.block_ns:.1f} ns a call in a block without a clock inside"
    return (replace(row, floor_ns=found.clock_ns, note=note),)
