"""Latency against clock and interval: what one network can be made into.

Latency in clocks and register bits are facts of the design. That a clock is reached is the delay
model's word: an estimate, to be confirmed by the vendor's timing report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hairtrigger.errors import UnsupportedError
from hairtrigger.graph.graph import Graph
from hairtrigger.rtl.lower import Lowered, lower
from hairtrigger.rtl.pipeline import place_registers
from hairtrigger.targets import Part, delay_model

CLOCKS_MHZ = (100, 160, 200, 240, 280, 320, 360, 400, 440, 480, 520, 560, 600, 650, 700)
"""Clocks that a curve covers by default."""


@dataclass(frozen=True)
class Point:
    """A design that could be made.

    ``latency`` in clocks and nanoseconds, the ``interval`` between events in both,
    ``register_bits`` without the valid chain; where the clock is not reached these are None and
    ``limit`` says why.
    """

    clock_mhz: float
    interval: int
    interval_ns: float
    latency: int | None
    latency_ns: float | None
    register_bits: int | None
    limit: str


def curve(
    graph: Graph,
    part: Part,
    clocks_mhz: Sequence[float] = CLOCKS_MHZ,
    intervals: Sequence[int] = (1,),
    axis: int | None = None,
) -> list[Point]:
    """A point for each interval (in clocks) and clock, in this order. Raises `UnsupportedError`
    for an op without lowering."""
    points: list[Point] = []
    for interval in intervals:
        lowered = lower(graph, interval, axis)
        points += [_point(lowered, part, interval, mhz) for mhz in sorted(clocks_mhz)]
    return points


def _point(lowered: Lowered, part: Part, interval: int, mhz: float) -> Point:
    period = 1e3 / mhz
    model = delay_model(part)
    try:
        timed = place_registers(lowered.module, model, period - model.register_overhead)
    except UnsupportedError as error:
        return Point(mhz, interval, interval * period, None, None, None, error.problem)
    latency = lowered.time + timed.latency
    bits = timed.register_bits()
    return Point(mhz, interval, interval * period, latency, latency * period, bits, "")


def fastest_clock(lowered: Lowered, part: Part, precision_mhz: float = 1.0) -> float:
    """The fastest clock in MHz that the delay model grants a lowered Graph: an estimate.

    Raises `UnsupportedError` where not even 1 MHz is reached.
    """
    model = delay_model(part)
    slow, fast = 1.0, 1e3 / (model.register_overhead * 1.001)

    def reached(mhz: float) -> bool:
        try:
            place_registers(lowered.module, model, 1e3 / mhz - model.register_overhead)
        except UnsupportedError:
            return False
        return True

    if not reached(slow):
        raise UnsupportedError(
            f"No clock from {slow:g} MHz on is slow enough for {lowered.module.name!r}.",
            "Quantize to fewer bits.",
        )
    while fast - slow > precision_mhz:
        middle = (slow + fast) / 2
        slow, fast = (middle, fast) if reached(middle) else (slow, middle)
    return slow


def efficient(points: Sequence[Point]) -> list[Point]:
    """Points that no other beats in latency, interval and register bits at once."""
    reached = [p for p in points if p.latency_ns is not None]

    def beats(a: Point, b: Point) -> bool:
        mine, other = ((p.latency_ns or 0.0, p.interval_ns, p.register_bits or 0) for p in (a, b))
        return mine != other and all(x <= y for x, y in zip(mine, other, strict=True))

    return [p for p in reached if not any(beats(q, p) for q in reached)]
