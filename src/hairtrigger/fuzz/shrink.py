"""Makes a failing case as small as it can, while the same check fails in the same way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hairtrigger.errors import HairtriggerError
from hairtrigger.fuzz.case import Case, Difference
from hairtrigger.fuzz.checks import Check, outcomes
from hairtrigger.fuzz.smaller import STEPS, opened, showing_only, size


@dataclass
class Shrinker:
    """``best`` is the smallest case so far for which ``check`` raises what it raised at first.

    ``error``: what it raises for that; ``tried``: cases that were run. `work` may be interrupted at
    any time; ``best`` is then what it came to.
    """

    check: Check
    best: Case
    error: Exception
    folder: Path
    tried: int = 0

    def work(self, seconds: float, say: Callable[[str], None] = lambda _: None) -> None:
        """Shrink for at most so long."""
        until = time.monotonic() + seconds
        self._to_the_first_node()
        before = None
        while size(self.best) != before:
            before = size(self.best)
            for step in STEPS:
                improved = True
                while improved:
                    improved = False
                    for make in step(self.best):
                        if time.monotonic() > until:
                            return
                        if self._take(make):
                            improved = True
                            say(f"{self.check.name}: shrunk to {describe(self.best)}")
                            break

    def _to_the_first_node(self) -> None:
        """Every node as an output shows which is the first to differ: cut all below it."""
        if not isinstance(self.error, Difference):
            return
        whole = opened(self.best)
        error = self._run(whole)
        if isinstance(error, Difference) and error.output is not None:
            output = error.output
            self._take(lambda: showing_only(whole, output))

    def _take(self, make: Callable[[], Case]) -> bool:
        """Try a case; keep it if it is smaller and fails too."""
        try:
            case = make()
        except HairtriggerError:
            return False
        if size(case) >= size(self.best):
            return False
        error = self._run(case)
        if error is None or type(error) is not type(self.error):
            return False
        self.best, self.error = case, error
        return True

    def _run(self, case: Case) -> Exception | None:
        self.tried += 1
        (error,) = outcomes(self.check, [case], self.folder)
        return error


def describe(case: Case) -> str:
    """How large a case is, in words."""
    nodes, elements = len(case.graph.nodes), sum(n.type.size for n in case.graph.nodes)
    return f"{nodes} nodes with {elements} elements, {case.events} events"
