"""Time, as scenarios need it: what it is now, and waiting until then."""

from __future__ import annotations

import gc
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

SPIN_NS = 2_000_000
"""Sleeping wakes up late by up to so much, so the rest is waited for in a loop."""


class Clock(Protocol):
    """Nanoseconds from any beginning."""

    def now(self) -> int:
        """What time it is."""
        ...

    def wait(self, until: int) -> None:
        """Come back at ``until``, at once where that is past."""
        ...


class WallClock:
    """The machine's monotonic clock."""

    now = staticmethod(time.perf_counter_ns)

    def wait(self, until: int) -> None:
        """Sleep, and for the last two milliseconds spin."""
        left = until - time.perf_counter_ns()
        if left > SPIN_NS:
            time.sleep((left - SPIN_NS) / 1e9)
        while time.perf_counter_ns() < until:
            pass


@contextmanager
def undisturbed() -> Generator[None]:
    """Without Python's collection of garbage, which would fall into single queries."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
