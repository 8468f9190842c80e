"""Blocks of a stream in the making: frames are put in their place, whole blocks are given out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hairtrigger.detectors.wib import FrameFormat, decode, link_of
from hairtrigger.detectors.wib_faults import Faults
from hairtrigger.detectors.wib_scan import Batch


@dataclass(frozen=True)
class Block:
    """Consecutive ticks: ``samples`` uint16 (ticks, channels), the first at ``first_timestamp``.

    ``missing``: bool (ticks, channels) where no sample came, None if none is missing. ``faults``:
    what was wrong since the block before. Blocks without any sample are left out, so a later
    ``first_timestamp`` than expected is a gap. ``record`` names the record of an HDF5 file.
    """

    first_timestamp: int
    samples: np.ndarray
    missing: np.ndarray | None
    faults: Faults
    record: str = ""


@dataclass
class _Open:
    """A block that is being filled: samples (ticks, channels), and which ticks of links are."""

    samples: np.ndarray
    filled: np.ndarray


class Blocks:
    """The open blocks of links ``numbers`` (as in HEADER_DTYPE), whose tick 0 is at ``zero``.

    Faults are counted in ``recent``, which `finished` empties into the blocks.
    """

    def __init__(
        self,
        format: FrameFormat,
        numbers: np.ndarray,
        block_ticks: int,
        channels: np.ndarray | None,
        fill: int | Literal["hold"],
        recent: Faults,
    ) -> None:
        self.format = format
        self.numbers = numbers
        self.block_ticks = block_ticks
        self.zero = 0
        self._fill = fill
        self._recent = recent
        self._open: dict[int, _Open] = {}
        self._next = 0  # the block that comes next
        columns = np.arange(len(numbers) * format.channels) if channels is None else channels
        self._link_of = columns // format.channels  # of each column
        self._held = np.zeros(len(columns), np.uint16)
        self._own: list[Any] = []  # which channels of each link are kept
        self._at: list[Any] = []  # and in which columns
        for link in range(len(numbers)):
            at = np.flatnonzero(self._link_of == link)
            self._own.append(as_slice(columns[at] % format.channels))
            self._at.append(as_slice(at))
        self.begin(0)

    def begin(self, zero: int) -> None:
        """Begin anew at a timestamp; all blocks must have been given out."""
        self.zero = zero
        self._next = 0
        self._present = np.ones(len(self.numbers), bool)  # in the tick before
        self._reach = np.full(len(self.numbers), -1, np.int64)  # latest tick

    @property
    def first_open(self) -> int:
        """The first tick that is not given out yet."""
        return self._next * self.block_ticks

    def put(self, batch: Batch, ticks: np.ndarray, source: str) -> None:
        """Put frames, the first samples of which are at ``ticks``, at or after `first_open`."""
        if not len(batch):
            return
        links = batch.headers["link"]
        for column, number in enumerate(self.numbers):
            own = np.flatnonzero(links == number)
            if len(own):
                every = as_slice(own)  # a view where links take turns
                self._put_link(column, batch.take(every), ticks[every], source)

    def _put_link(self, column: int, batch: Batch, ticks: np.ndarray, source: str) -> None:
        reached = np.maximum.accumulate(np.concatenate([self._reach[column : column + 1], ticks]))
        self._reach[column] = reached[-1]
        behind = ticks < reached[:-1]
        if behind.any():
            self._recent.add_at("out of order", batch.offsets[behind], source)
            order = np.argsort(ticks, kind="stable")
            batch, ticks = batch.take(order), ticks[order]
        size = self.format.ticks
        free = np.concatenate([[True], np.diff(ticks) >= size])
        alone = np.flatnonzero(free)
        for block, at, inside in self._pieces(ticks[free]):
            taken = np.flatnonzero(block.filled[inside, column])
            free[alone[np.unique((at.start + taken) // size)]] = False
        samples = decode(self.format, batch.frames)
        flat = samples if free.all() else samples[free]
        flat = flat.reshape(-1, self.format.channels)[:, self._own[column]]
        for block, at, inside in self._pieces(ticks[free]):
            block.samples[_both(inside, self._at[column])] = flat[at]
            block.filled[inside, column] = True
        for n in np.flatnonzero(~free).tolist():
            own = samples[n][:, self._own[column]]
            self._compare(column, ticks[n : n + 1], own, batch.offsets[n : n + 1], source)

    def _compare(
        self, column: int, tick: np.ndarray, samples: np.ndarray, offset: np.ndarray, source: str
    ) -> None:
        """A frame in whose place another is: a duplicate, or one of the two is wrong."""
        pieces = self._pieces(tick)
        same = all(
            block.filled[inside, column].all()
            and np.array_equal(block.samples[_both(inside, self._at[column])], samples[at])
            for block, at, inside in pieces
        )
        self._recent.add_at("duplicate" if same else "conflict", offset, source)
        if not same:
            for block, _, inside in pieces:
                block.filled[inside, column] = False

    def _pieces(self, ticks: np.ndarray) -> list[tuple[_Open, slice, Any]]:
        """Of frames in order, one behind the other: each block that they reach, which of their
        ticks it holds, and where in it."""
        size, length = self.format.ticks, self.block_ticks
        pieces: list[tuple[_Open, slice, Any]] = []
        if not len(ticks):
            return pieces
        first, stop = int(ticks[0]), int(ticks[-1]) + size
        if stop - first == len(ticks) * size:  # without a gap
            for number in range(first // length, (stop - 1) // length + 1):
                start, end = max(first, number * length), min(stop, (number + 1) * length)
                inside = slice(start - number * length, end - number * length)
                pieces.append((self._block(number), slice(start - first, end - first), inside))
            return pieces
        rows = (ticks[:, None] + np.arange(size)).ravel()
        ends = np.flatnonzero(np.diff(rows // length)) + 1
        for start, end in zip([0, *ends.tolist()], [*ends.tolist(), len(rows)], strict=True):
            number = int(rows[start]) // length
            inside = as_slice(rows[start:end] - number * length)
            pieces.append((self._block(number), slice(start, end), inside))
        return pieces

    def _block(self, number: int) -> _Open:
        if number not in self._open:
            self._open[number] = _Open(
                np.zeros((self.block_ticks, len(self._held)), np.uint16),
                np.zeros((self.block_ticks, len(self.numbers)), bool),
            )
        return self._open[number]

    def finished(self, boundary: int | None) -> Iterator[Block]:
        """The blocks that end before a tick, or all. The last one ends with its last sample."""
        for number in sorted(self._open):
            last = boundary is None and number == max(self._open)
            if boundary is not None and (number + 1) * self.block_ticks > boundary:
                break
            block = self._open.pop(number)
            ticks = self.block_ticks
            if last:
                some = np.flatnonzero(block.filled.any(axis=1))
                ticks = int(some[-1]) + 1 if len(some) else 0
            self._count_gaps(number, block.filled[:ticks])
            self._next = number + 1
            if ticks:
                yield self._given(number, block.samples[:ticks], block.filled[:ticks])

    def _count_gaps(self, number: int, filled: np.ndarray) -> None:
        left_out = (number - self._next) * self.block_ticks
        start = self.zero + (number * self.block_ticks - left_out) * self.format.step
        if left_out:
            self._gaps(np.zeros((1, filled.shape[1]), bool), start, left_out)
        if not filled.all() or not self._present.all():
            self._gaps(filled, self.zero + number * self.block_ticks * self.format.step, 1)

    def _gaps(self, filled: np.ndarray, timestamp: int, each: int) -> None:
        before = np.concatenate([self._present[None], filled[:-1]])
        tick, column = np.nonzero(before & ~filled)
        places = [
            f"timestamp {timestamp + int(t) * self.format.step}, {link_of(int(self.numbers[c]))}"
            for t, c in zip(tick[:8], column[:8], strict=True)
        ]
        self._recent.add("gap", len(tick), places)
        self._recent.add("missing ticks", int((~filled).sum()) * each)
        if len(filled):
            self._present = filled[-1].copy()

    def _given(self, number: int, samples: np.ndarray, filled: np.ndarray) -> Block:
        missing = None
        if not filled.all():
            missing = (~filled)[:, self._link_of]
            if self._fill == "hold":
                ticks = np.arange(len(filled))[:, None]
                latest = np.maximum.accumulate(np.where(filled, ticks, -1), axis=0)
                for column in np.flatnonzero(~filled.all(axis=0)).tolist():
                    at = self._at[column]
                    held = np.concatenate([self._held[None, at], samples[:, at]])
                    samples[:, at] = held[latest[:, column] + 1]
            else:
                samples[missing] = self._fill
            missing = missing if missing.any() else None
        self._held = samples[-1].copy()
        timestamp = self.zero + number * self.block_ticks * self.format.step
        return Block(timestamp, samples, missing, self._recent.taken())


def as_slice(numbers: np.ndarray) -> Any:
    """A slice for numbers that rise by one step, else the numbers themselves."""
    if len(numbers) < 2:
        return slice(int(numbers[0]), int(numbers[0]) + 1) if len(numbers) else slice(0, 0)
    step = int(numbers[1]) - int(numbers[0])
    if step > 0 and (np.diff(numbers) == step).all():
        return slice(int(numbers[0]), int(numbers[-1]) + 1, step)
    return numbers


def _both(ticks: Any, columns: Any) -> Any:
    """The index of these ticks in these columns, either of them a slice or numbers."""
    if isinstance(ticks, slice) or isinstance(columns, slice):
        return ticks, columns
    return np.ix_(ticks, columns)
