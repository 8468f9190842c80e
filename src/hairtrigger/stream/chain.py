"""The supernova trigger over a stream of one plane: blocks of ticks in, decisions of images out.

    chain = Chain(read_trigger(folder))
    for block in stream:
        images = chain.feed(block.first_timestamp, block.samples)
        images.keep, images.timestamps

Front and network run as compiled C++; the integers are those of `Trigger.decision` in the emulator
on the pixels of `supernova_front.step`. Images lie back to back from the first tick on. An image
whose pixels stay below the trigger's gate is not looked at any further.

A gap in time ends the images: the next one starts at the first tick behind it, with an empty
filter and the pedestals that were there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.cpp.library import Library, compile_graph
from hairtrigger.errors import InputError
from hairtrigger.stream.front_library import FrontLibrary, compile_front
from hairtrigger.studies.supernova_front import FrontState
from hairtrigger.studies.supernova_trigger import KEEP, LOGITS, Trigger

START_TICKS = 256
"""Ticks whose medians are the first pedestals. They are held back until all have come."""


@dataclass(frozen=True)
class Images:
    """Images that were decided at once, (n,) each.

    ``ticks``: their first ticks, counted from the start of the stream without its gaps;
    ``timestamps`` of these; ``sums`` of their pixels; ``gated``: whether the sum reached the gate;
    ``keep``: the decision. ``logits`` and ``pixels`` (passed, ...) are of those that are ``gated``.
    """

    ticks: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    sums: NDArray[np.uint32]
    gated: NDArray[np.bool_]
    keep: NDArray[np.bool_]
    logits: NDArray[Any]
    pixels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.ticks)


@dataclass(frozen=True)
class ChainState:
    """What a chain holds between two blocks, behind its start.

    ``rows`` uint8 (rows, columns) of the image at hand; ``tick``: ticks that have come;
    ``timestamp``: of the tick that comes next; ``lost``: ticks of images that gaps cut short;
    ``segment``: the first tick behind the latest gap.
    """

    front: FrontState
    rows: NDArray[np.uint8]
    tick: int
    timestamp: int
    lost: int
    segment: int


class Chain:
    """The trigger as an engine. ``counts_per_tick`` of the timestamp; ``pedestal``: known ones in
    counts, a number or one a wire (None: medians of the first START_TICKS); ``state``: go on from
    there. Compiles front and network, or takes them from the cache: raises `ToolError`.
    """

    def __init__(
        self,
        trigger: Trigger,
        *,
        counts_per_tick: int = 1,
        pedestal: Any = None,
        state: ChainState | None = None,
        libraries: tuple[FrontLibrary, Library] | None = None,
    ) -> None:
        self.trigger = trigger
        self.counts_per_tick = counts_per_tick
        self._front, self._network = libraries or compile_trigger(trigger)
        graph = self._network.graph
        self._logits = graph.output_names.index(LOGITS)
        self._keep = graph.output_names.index(KEEP)
        self._none = (
            np.zeros((0, trigger.rows, trigger.front.columns), dtype=np.uint8),
            np.zeros(
                (0, *graph.output_types[self._logits].shape), self._network.out_dtypes[self._logits]
            ),
        )
        self._early: list[NDArray[np.uint16]] = []
        self._held: NDArray[Any] | None = None
        config = trigger.front
        self._rows = np.zeros((0, config.columns), dtype=np.uint8)
        self._sums = np.zeros(0, dtype=np.uint32)
        self._tick = 0  # behind all that the front has seen
        self._time = 0  # of that tick
        self._next = 0  # first tick of the image at hand
        self.lost = 0
        """Ticks that belong to no image, as a gap came before it was whole."""
        self.segment = 0
        """The first tick behind the latest gap."""
        if state is not None:
            self._held = self._front.pack(state.front)
            self._rows, self._tick, self._time = state.rows, state.tick, state.timestamp
            self._sums = state.rows.sum(axis=1, dtype=np.uint32)
            self.lost, self.segment = state.lost, state.segment
            open_rows = len(state.rows) * config.block[0]
            self._next = self._tick - open_rows - state.front.phase
        elif pedestal is not None:
            self._held = self._front.pack(FrontState.start(config, pedestal))

    @property
    def next_image(self) -> int:
        """First tick of the first image that is not decided yet."""
        return self._next

    @property
    def tick(self) -> int:
        """Ticks that have come, those that are held back at the start too."""
        return self._tick + sum(map(len, self._early))

    @property
    def timestamp(self) -> int:
        """Of the tick that comes next."""
        return self._time + (self.tick - self._tick) * self.counts_per_tick

    @property
    def next_timestamp(self) -> int:
        """Of tick `next_image`."""
        return self._time - (self._tick - self._next) * self.counts_per_tick

    def state(self) -> ChainState | None:
        """What it takes to go on; None while the first ticks are held back."""
        if self._held is None:
            return None
        front = self._front.unpack(self._held)
        return ChainState(front, self._rows.copy(), self._tick, self._time, self.lost, self.segment)

    def feed(self, timestamp: int, samples: NDArray[np.uint16]) -> Images:
        """The images that a block uint16 (ticks, wires) completes; ``timestamp`` of its first tick.

        Raises `InputError` for another shape or dtype, or samples that no ADC of the trigger gives;
        nothing is taken in then.
        """
        wires = self.trigger.front.wires
        if samples.dtype != np.uint16 or samples.ndim != 2 or samples.shape[1] != wires:
            raise InputError(
                f"A block of dtype {samples.dtype} and shape {samples.shape}.",
                f"The trigger reads uint16 (ticks, {wires}): choose those channels of the stream.",
            )
        if not len(samples):
            return self._decide()
        self._check(samples)
        before = None
        if timestamp != self.timestamp:
            before = self.finish()
            self._break(timestamp)
        if self._held is not None:
            self._run(samples)
        else:
            if not self.tick:
                self._break(timestamp)
            self._early.append(samples)
            if self.tick >= START_TICKS:
                self._begin()
        return _joined(before, self._decide())

    def finish(self) -> Images:
        """The images of what was held back, when the stream ends."""
        if self._early:
            self._begin()
        return self._decide()

    def _check(self, samples: NDArray[np.uint16]) -> None:
        if self._held is not None:
            return  # the front looks at them itself
        bits = self.trigger.front.bits
        if int(samples.max()) >> bits:
            raise InputError(
                f"Samples up to {samples.max()} from an ADC of {bits} bits.",
                "Give counts, or the trigger of their ADC.",
            )

    def _begin(self) -> None:
        """Run what was held back, from its medians."""
        first = np.concatenate(self._early)
        known = np.median(first[:START_TICKS], axis=0)
        self._held = self._front.pack(FrontState.start(self.trigger.front, known))
        self._early = []
        self._run(first)

    def _run(self, samples: NDArray[np.uint16]) -> None:
        assert self._held is not None
        rows, sums = self._front.run(self._held, samples)
        if len(self._rows):
            rows, sums = np.concatenate([self._rows, rows]), np.concatenate([self._sums, sums])
        self._rows, self._sums = rows, sums
        self._tick += len(samples)
        self._time += len(samples) * self.counts_per_tick

    def _break(self, timestamp: int) -> None:
        """A gap, or the first tick: the image at hand is given up."""
        self.lost += self._tick - self._next
        if self._held is not None:
            state = self._front.unpack(self._held)
            fresh = FrontState.start(self.trigger.front)
            self._held = self._front.pack(replace(fresh, pedestal=state.pedestal))
        self._rows, self._sums = self._rows[:0], self._sums[:0]
        self._time = timestamp
        self.segment = self._next = self._tick

    def _decide(self) -> Images:
        trigger = self.trigger
        count = len(self._rows) // trigger.rows
        whole = count * trigger.rows
        ticks = self._next + trigger.ticks * np.arange(count, dtype=np.int64)
        timestamps = self._time + (ticks - self._tick) * self.counts_per_tick
        sums = self._sums[:whole].reshape(count, trigger.rows).sum(axis=1, dtype=np.uint32)
        gated = sums >= trigger.gate
        keep = np.zeros(count, dtype=bool)
        pixels, logits = self._none
        if gated.any():
            pixels = self._rows[:whole].reshape(count, trigger.rows, trigger.front.columns)[gated]
            outputs = self._network(pixels[..., None])
            keep[gated] = outputs[self._keep][:, 0] != 0
            logits = outputs[self._logits]
        self._rows, self._sums = self._rows[whole:], self._sums[whole:]
        self._next += count * trigger.ticks
        return Images(ticks, timestamps, sums, gated, keep, logits, pixels)


def compile_trigger(trigger: Trigger) -> tuple[FrontLibrary, Library]:
    """Front and decision as C++, built or taken from the cache. Raises `ToolError`."""
    return compile_front(trigger.front), compile_graph(trigger.decision())


def _joined(first: Images | None, second: Images) -> Images:
    if first is None or not len(first):
        return second
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return Images(*(np.concatenate(pair) for pair in pairs))
