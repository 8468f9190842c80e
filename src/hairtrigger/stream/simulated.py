"""A simulated plane as a source, with events in it whose truth is known.

``simulate:images=10000,seed=1,kind=nue_cc,rate=300,loop=0,pace=0,block=2048``:

- ``images`` of the stream, 0 for no end; ``seed``;
- ``kind`` and ``rate``: events put in, and how many a second of the stream; a rate of 0 is noise;
- ``loop``: simulate so many images at the start and repeat them. It is fast, but what is repeated
  is not independent: rates and efficiencies are those of the images of the loop;
- ``pace``: seconds of the stream in a second: 1 is real time, 0 as fast as can be. A paced source
  does not wait;
- ``block``: ticks of a block.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from hairtrigger.detectors.lartpc_config import TICKS, LartpcConfig
from hairtrigger.detectors.lartpc_stream import stream
from hairtrigger.errors import InputError
from hairtrigger.stream.block import SourceBlock
from hairtrigger.studies.supernova_front import FrontConfig

PREFIX = "simulate:"
PLANE_SEEDS = 1_000_003
"""Seeds of planes lie so far apart."""
MOST = 1 << 40
"""Images of a stream without end: 400 days."""


@dataclass(frozen=True)
class Simulation:
    """What `read_options` reads, see above."""

    images: int = 10_000
    seed: int = 1
    kind: str = "nue_cc"
    rate: float = 300.0
    loop: int = 0
    pace: float = 0.0
    block: int = 2048


def read_options(text: str) -> Simulation:
    """The options of ``simulate:...``. Raises `InputError` for what is unknown or out of range."""
    given: dict[str, Any] = {}
    kinds = {field.name: type(field.default) for field in fields(Simulation)}
    for item in filter(None, text.removeprefix(PREFIX).split(",")):
        name, equals, value = item.partition("=")
        if name not in kinds or not equals:
            raise InputError(
                f"{item!r} is no option of {PREFIX}", f"Give {', '.join(kinds)} as NAME=VALUE."
            )
        try:
            given[name] = kinds[name](value)
        except ValueError:
            raise InputError(f"{item!r} is no {kinds[name].__name__}.", "Give one.") from None
    made = Simulation(**given)
    numbers = {name: getattr(made, name) for name in ("images", "seed", "rate", "loop", "pace")}
    for name, value in numbers.items():
        if not 0 <= value < float("inf"):
            raise InputError(f"{name} = {value} in {text!r}.", "Give 0 or more.")
    if made.block < 1:
        raise InputError(f"block = {made.block} in {text!r}.", "Give 1 or more.")
    return made


class SimulatedSource:
    """Plane ``plane`` of a simulated detector, as a `source.Source`; each has a seed of its own."""

    replayable = True
    counts_per_tick = 32
    origin = 0

    def __init__(self, simulation: Simulation, front: FrontConfig, plane: int = 0) -> None:
        self._simulation = simulation
        self._config = LartpcConfig(
            wires=front.wires, board_wires=front.board, adc_bits=front.bits, plane_seed=plane
        )
        self._seed = simulation.seed + PLANE_SEEDS * plane
        # How much and how fast may change when a run is gone on with.
        same = ("seed", "kind", "rate", "loop")
        self.name = PREFIX + ",".join(f"{n}={getattr(simulation, n)}" for n in same)
        self.tick_s = self._config.tick_ns * 1e-9
        self.live = simulation.pace > 0
        self._loop: list[Any] = []
        self._parts(0, 0)  # wrong kinds are told at once
        if simulation.loop:
            self._loop = list(self._parts(0, simulation.loop * TICKS))

    def blocks(self, skip: int) -> Iterator[SourceBlock]:
        """See `source.Source`."""
        simulation = self._simulation
        ticks = (simulation.images or MOST) * TICKS
        begin = time.perf_counter()
        for start, counts, events in self._all(skip, ticks):
            if simulation.pace:
                # A block is there when its last tick is.
                due = begin + (start - skip + len(counts)) * self.tick_s / simulation.pace
                time.sleep(max(0.0, due - time.perf_counter()))
            yield SourceBlock(start * self.counts_per_tick, counts, None, events)

    def _parts(self, start: int, ticks: int) -> Iterator[Any]:
        simulation = self._simulation
        rates = {simulation.kind: simulation.rate} if simulation.rate else {}
        return stream(
            ticks,
            seed=self._seed,
            config=self._config,
            rates=rates,
            block=simulation.block,
            start=start,
        )

    def _all(self, skip: int, ticks: int) -> Iterator[tuple[int, Any, Any]]:
        if not self._loop:
            for part in self._parts(skip, ticks - skip):
                yield part.start, part.counts, part.truth
            return
        length = self._simulation.loop * TICKS
        at = skip
        while at < ticks:
            turn = at // length * length
            part = next(p for p in self._loop if turn + p.start + len(p.counts) > at)
            first = at - turn - part.start
            counts = part.counts[first : first + ticks - at]
            # An event that the end of the loop cuts is none.
            whole = part.truth[part.truth["last_tick"] < length].copy()
            for name in ("tick", "first_tick", "last_tick"):
                whole[name] += turn
            yield at, counts, whole[(whole["tick"] >= at) & (whole["tick"] < at + len(counts))]
            at += len(counts)

    def faults(self) -> dict[str, int]:
        return {}

    def stop(self) -> None: ...

    def close(self) -> None: ...
