"""What is kept of a stream: the raw samples of a kept image, of the one before and the one after.

The image before and the one after are raw ticks, kept whatever the trigger says of them. A part
that a gap or an end of the stream cuts off is zero; ``first`` and ``stop`` say where samples lie.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.stream.chain import Images
from hairtrigger.studies.supernova_trigger import Trigger


def window_dtype(trigger: Trigger) -> np.dtype[Any]:
    """One kept window. ``timestamp`` of the kept image's first tick; ``tick``: the same, counted
    from the start of the stream without gaps; ``sum`` of its pixels; ``first`` and ``stop``: where
    in ``samples`` (3 images' ticks, wires) the samples lie, the kept image in the middle;
    ``missing``: samples in it that no frame brought; ``logits``: codes in units of their LSB."""
    outputs = trigger.network.output_types[0].shape[0]
    front = trigger.front
    return np.dtype(
        [
            ("timestamp", "<i8"),
            ("tick", "<i8"),
            ("plane", "<i4"),
            ("sum", "<u4"),
            ("missing", "<u4"),
            ("first", "<u4"),
            ("stop", "<u4"),
            ("logits", "<i8", (outputs,)),
            ("pixels", "u1", (trigger.rows, front.columns)),
            ("samples", "<u2", (3 * trigger.ticks, front.wires)),
        ]
    )


@dataclass(frozen=True)
class RecentState:
    """What is held of the latest ticks: ``samples`` uint16 (ticks, wires) from tick ``first`` on,
    ``segment``: the first tick behind the latest gap; ``pending``: windows that wait for the image
    after theirs, of `window_dtype`."""

    first: int
    samples: NDArray[np.uint16]
    segment: int
    pending: NDArray[Any]


class Windows:
    """Cuts kept windows out of a stream. Blocks are held, not copied, as long as they may be
    needed: they must not be changed any more."""

    def __init__(self, trigger: Trigger, plane: int = 0, state: RecentState | None = None) -> None:
        self._ticks, self._plane = trigger.ticks, plane
        self.dtype = window_dtype(trigger)
        self._blocks: deque[tuple[int, NDArray[np.uint16], NDArray[np.bool_] | None]] = deque()
        self._pending: list[NDArray[Any]] = []
        self._segment = 0
        if state is not None:
            self._blocks.append((state.first, state.samples, None))
            self._segment = state.segment
            self._pending = [state.pending[n : n + 1] for n in range(len(state.pending))]

    @property
    def tick(self) -> int:
        """Ticks that have come."""
        if not self._blocks:
            return 0
        first, samples, _ = self._blocks[-1]
        return first + len(samples)

    def state(self, next_image: int) -> RecentState:
        """What it takes to go on, where image ``next_image`` (its first tick) is decided next."""
        first = self._needed(next_image)
        samples, _ = self._cut(first, self.tick)
        empty = np.zeros(0, dtype=self.dtype)
        pending = np.concatenate(self._pending) if self._pending else empty
        return RecentState(first, samples, self._segment, pending)

    def feed(
        self,
        samples: NDArray[np.uint16],
        missing: NDArray[np.bool_] | None,
        segment: int,
        images: Images,
        next_image: int,
    ) -> list[NDArray[Any]]:
        """The windows, (1,) of ``dtype``, that a block completes. ``images``: those it decided,
        ``segment`` and ``next_image`` of the chain behind it. A gap is one before the block."""
        done: list[NDArray[Any]] = []
        at = self.tick
        broken = segment > self._segment
        if broken:
            # What was decided before the gap was; what waits gets no image after it.
            early = images.ticks < segment
            self._open(images, early, at)
            done = self._complete(at, last=True)
            self._segment = segment
        if len(samples):
            self._blocks.append((at, samples, missing))
        late = images.ticks >= self._segment if broken else np.ones(len(images), bool)
        self._open(images, late, self.tick)
        done += self._complete(self.tick, last=False)
        while self._blocks and len(self._blocks) > 1:
            first, block, _ = self._blocks[0]
            if first + len(block) > self._needed(next_image):
                break
            self._blocks.popleft()
        return done

    def finish(self, images: Images) -> list[NDArray[Any]]:
        """The windows that still wait, when the stream ends; ``images``: the last ones decided."""
        self._open(images, np.ones(len(images), bool), self.tick)
        return self._complete(self.tick, last=True)

    def _needed(self, next_image: int) -> int:
        """The first tick that may still be asked for."""
        ticks = [int(window["tick"][0]) for window in self._pending]
        held = self._blocks[0][0] if self._blocks else 0
        return max(min([next_image, *ticks]) - self._ticks, held, 0)

    def _open(self, images: Images, which: NDArray[np.bool_], stop: int) -> None:
        places = np.cumsum(images.gated) - 1
        for n in np.flatnonzero(images.keep & which).tolist():
            window = np.zeros(1, dtype=self.dtype)
            window["timestamp"], window["tick"] = images.timestamps[n], images.ticks[n]
            window["plane"], window["sum"] = self._plane, images.sums[n]
            window["logits"] = images.logits[places[n]]
            window["pixels"] = images.pixels[places[n]]
            self._pending.append(window)

    def _complete(self, stop: int, last: bool) -> list[NDArray[Any]]:
        done = []
        while self._pending:
            window = self._pending[0]
            tick = int(window["tick"][0])
            if not last and tick + 2 * self._ticks > stop:
                break
            low = max(tick - self._ticks, self._segment)
            high = min(tick + 2 * self._ticks, stop)
            samples, missing = self._cut(low, high)
            first = low - (tick - self._ticks)
            window["first"], window["stop"] = first, first + high - low
            window["samples"][0, first : first + high - low] = samples
            window["missing"] = missing
            done.append(self._pending.pop(0))
        return done

    def _cut(self, low: int, high: int) -> tuple[NDArray[np.uint16], int]:
        """Samples of some ticks that are held, and how many of them are missing."""
        parts, gone = [], 0
        for first, samples, missing in self._blocks:
            inside = slice(max(low - first, 0), max(high - first, 0))
            part = samples[inside]
            if len(part):
                parts.append(part)
                gone += 0 if missing is None else int(missing[inside].sum())
        wires = self.dtype["samples"].shape[1]
        return np.concatenate(parts) if parts else np.zeros((0, wires), np.uint16), gone
