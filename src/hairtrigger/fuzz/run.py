"""The fuzzer: random Graphs through every check until the time is up; findings are saved small.

    found = fuzz(minutes=5, seed=1, folder=Path("reproducers"))

`hairtrigger fuzz` is this on the command line.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hairtrigger.errors import InputError, UnsupportedError
from hairtrigger.fuzz.case import Case, load, save
from hairtrigger.fuzz.checks import CHECKS, Check, Outcome, outcomes
from hairtrigger.fuzz.generate import KINDS, Seeded, random_events, random_graph
from hairtrigger.fuzz.shrink import Shrinker, describe

Say = Callable[[str], None]

GRAPHS = 10
"""Graphs of a round: they share a build of Verilog and one of C++."""

EVENTS = 60
WIDTHS = (4, 8, 12, 24, 45)
CLOCKS = ("100 MHz", "200 MHz", "320 MHz")
SHRINK_S = 240.0
"""Longest time for making one finding small."""
MOST_FINDINGS = 20
"""Findings after which the fuzzer stops: one fault mostly shows in many Graphs."""


@dataclass(frozen=True)
class Finding:
    """A check that failed: what it said of the smallest case, and where that is saved."""

    check: str
    problem: str
    folder: Path


@dataclass
class Fuzzed:
    """What a run of the fuzzer did: Graphs tried, how often checks ran and refused, findings."""

    seed: int
    rounds: int = 0
    graphs: int = 0
    ran: Counter[str] = field(default_factory=Counter[str])
    refused: Counter[str] = field(default_factory=Counter[str])
    findings: list[Finding] = field(default_factory=list[Finding])
    again: int = 0
    interrupted: bool = False

    def summary(self) -> list[str]:
        """Lines for a person."""
        checks = ", ".join(
            f"{name} {n}" + (f" (refused {self.refused[name]})" if self.refused[name] else "")
            for name, n in self.ran.items()
        )
        lines = [f"{self.graphs} Graphs in {self.rounds} rounds from seed {self.seed}: {checks}"]
        lines += [f"{f.check}: {f.problem}\n  saved in {f.folder}" for f in self.findings]
        if self.again:
            lines.append(f"{self.again} more cases looked like one of these and were left out.")
        return lines


def fuzz(
    minutes: float,
    seed: int,
    folder: Path,
    *,
    say: Say = lambda _: None,
    checks: Sequence[Check] = CHECKS,
    shrink_s: float = SHRINK_S,
    rounds: int | None = None,
) -> Fuzzed:
    """Draw Graphs and check them for so many minutes, or ``rounds``; what fails is saved.

    The same seed draws the same Graphs in the same order. Ctrl-C ends it early, with what was
    found. Raises `InputError`, `StorageError` where a reproducer cannot be written.
    """
    if not minutes > 0:
        raise InputError(f"minutes={minutes} is no time.", "Give a number above zero.")
    done = Fuzzed(seed)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hairtrigger-fuzz-") as work:
        found = _Keeper(done, folder, Path(work), say, shrink_s)
        try:
            while time.monotonic() - start < 60 * minutes and done.rounds != rounds:
                cases = draw(seed, done.rounds)
                for check in checks:
                    mine = cases[done.rounds % check.every :: check.every]
                    for case, error in zip(mine, outcomes(check, mine, Path(work)), strict=True):
                        if _counts(done, check, error) and error is not None:
                            found.keep(check, case, error)
                done.rounds += 1
                done.graphs += len(cases)
                minutes_gone = (time.monotonic() - start) / 60
                say(
                    f"{minutes_gone:.1f} of {minutes:g} minutes: {done.graphs} Graphs, "
                    f"{len(done.findings)} findings"
                )
                if len(done.findings) >= MOST_FINDINGS:
                    break
        except KeyboardInterrupt:
            done.interrupted = True
    return done


def new_seed() -> int:
    """A seed that nobody had before, small enough to type."""
    return secrets.randbelow(1_000_000)


def draw(seed: int, number: int) -> list[Case]:
    """The cases of a round: Graphs of all kinds, with one interval and one clock."""
    whole = Seeded([seed, number])
    interval = whole.pick([1, 1, 1, whole.number(2, 8), whole.number(2, 8), whole.number(9, 100)])
    clock = whole.pick(CLOCKS)
    gaps_seed = whole.pick([None, whole.number(0, 999)])
    found: list[Case] = []
    for n in range(GRAPHS):
        choices = Seeded([seed, number, n])
        kind = KINDS[n] if n < len(KINDS) else choices.pick(("any", "image", "stateful"))
        graph = random_graph(choices, kind, max_bits=choices.pick(WIDTHS))
        own = choices.number(0, 2**31)
        codes = random_events(graph, EVENTS, own)
        found.append(Case(graph, codes, interval, clock, gaps_seed, own))
    return found


def replay(folder: Path, checks: Sequence[Check] = CHECKS) -> Outcome:
    """Run the check of a saved case again; what it raises. Raises `StorageError`, `InputError`."""
    name, case = load(folder)
    check = next((check for check in checks if check.name == name), None)
    if check is None:
        raise InputError(
            f"{folder} is of a check {name!r}, which is not known.",
            f"Known are {', '.join(check.name for check in checks)}.",
        )
    with tempfile.TemporaryDirectory(prefix="hairtrigger-fuzz-") as work:
        (error,) = outcomes(check, [case], Path(work))
    return error


def _counts(done: Fuzzed, check: Check, error: Outcome) -> bool:
    """Count that a check ran; is what it raised a finding?"""
    done.ran[check.name] += 1
    if check.refuses and isinstance(error, UnsupportedError):
        done.refused[check.name] += 1
        return False
    return error is not None


@dataclass
class _Keeper:
    """Shrinks findings and saves them, one of each kind."""

    done: Fuzzed
    folder: Path
    work: Path
    say: Say
    shrink_s: float
    seen: set[tuple[object, ...]] = field(default_factory=set[tuple[object, ...]])

    def keep(self, check: Check, case: Case, error: Exception) -> None:
        self.say(f"{check.name} fails on {describe(case)}: {error}")
        (alone,) = outcomes(check, [case], self.work)
        problem, best = f"Only beside other Graphs of its round: {error}", case
        if alone is not None:
            shrinker = Shrinker(check, case, alone, self.work)
            try:
                shrinker.work(self.shrink_s, self.say)
            except KeyboardInterrupt:  # what it came to is saved
                self.done.interrupted = True
            error, best = shrinker.error, shrinker.best
            problem = str(error) or type(error).__name__
        # One fault mostly shows in many Graphs; shrunk, they have the same ops.
        ops = sorted(type(node.op).__name__ for node in best.graph.nodes)
        key = (check.name, type(error), *ops)
        if key in self.seen:
            self.done.again += 1
        else:
            self.seen.add(key)
            where = _free(self.folder, check.name)
            save(where, check.name, problem, best, case)
            self.done.findings.append(Finding(check.name, problem, where))
            self.say(f"{check.name}: {problem}\n  {describe(best)}, saved in {where}")
        if self.done.interrupted:
            raise KeyboardInterrupt


def _free(folder: Path, name: str) -> Path:
    """A folder of this name that is not there yet."""
    number = 1
    while (folder / f"{name}-{number}").exists():
        number += 1
    return folder / f"{name}-{number}"
