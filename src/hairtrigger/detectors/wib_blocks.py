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
        self._channels = channels
        self._fill = fill
        self._recent = recent
        self._open: dict[int, _Open] = {}
        self._next = 0  # the block that comes next
        self._held = np.zeros(len(numbers) * format.channels, np.uint16)
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
        links = batch.headers["link"]
        for column, number in enumerate(self.numbers):
            own = np.flatnonzero(links == number)
            if len(own) == len(batch):
                self._put_link(column, batch, ticks, source)
            elif len(own):
                self._put_link(column, batch.take(own), ticks[own], source)

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
        rows = ticks[:, None] + np.arange(size)
        for block, at, inside in self._pieces(rows[free].ravel()):
            taken = block.filled[inside, column]
            if taken.any():
                free[np.flatnonzero(free)[np.unique(at[taken] // size)]] = False
        samples = decode(self.format, batch.frames)
        wide = slice(column * self.format.channels, (column + 1) * self.format.channels)
        flat = samples if free.all() else samples[free]
        flat = flat.reshape(-1, self.format.channels)
        for block, at, inside in self._pieces(rows[free].ravel()):
            block.samples[inside, wide] = flat[at[0] : at[-1] + 1]
            block.filled[inside, column] = True
        for n in np.flatnonzero(~free).tolist():
            self._compare(column, wide, rows[n], samples[n], batch.offsets[n : n + 1], source)

    def _compare(
        self,
        column: int,
        wide: slice,
        rows: np.ndarray,
        samples: np.ndarray,
        offset: np.ndarray,
        source: str,
    ) -> None:
        """A frame in whose place another is: a duplicate, or one of the two is wrong."""
        pieces = self._pieces(rows)
        same = all(
            block.filled[inside, column].all()
            and np.array_equal(block.samples[inside, wide], samples[at])
            for block, at, inside in pieces
        )
        self._recent.add_at("duplicate" if same else "conflict", offset, source)
        if not same:
            for block, _, inside in pieces:
                block.filled[inside, column] = False

    def _pieces(self, rows: np.ndarray) -> list[tuple[_Open, np.ndarray, Any]]:
        """For rising ticks: each block that they reach, which of them it holds, and where in it."""
        numbers = rows // self.block_ticks
        ends = np.flatnonzero(np.diff(numbers)) + 1
        pieces = []
        for at in np.split(np.arange(len(rows)), ends) if len(rows) else []:
            number = int(numbers[at[0]])
            inside = rows[at] - number * self.block_ticks
            if inside[-1] - inside[0] == len(inside) - 1:
                inside = slice(int(inside[0]), int(inside[-1]) + 1)
            pieces.append((self._block(number), at, inside))
        return pieces

    def _block(self, number: int) -> _Open:
        if number not in self._open:
            links = len(self.numbers)
            shape = (self.block_ticks, links * self.format.channels)
            self._open[number] = _Open(
                np.zeros(shape, np.uint16), np.zeros((self.block_ticks, links), bool)
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
            missing = np.repeat(~filled, self.format.channels, axis=1)
            if self._fill == "hold":
                ticks = np.arange(len(filled))[:, None]
                latest = np.maximum.accumulate(np.where(filled, ticks, -1), axis=0)
                for column in np.flatnonzero(~filled.all(axis=0)).tolist():
                    width = self.format.channels
                    wide = slice(column * width, (column + 1) * width)
                    held = np.concatenate([self._held[None, wide], samples[:, wide]])
                    samples[:, wide] = held[latest[:, column] + 1]
            else:
                samples[missing] = self._fill
        self._held = samples[-1].copy()
        if self._channels is not None:
            samples = samples[:, self._channels]
            missing = None if missing is None else missing[:, self._channels]
            missing = missing if missing is not None and missing.any() else None
        timestamp = self.zero + number * self.block_ticks * self.format.step
        return Block(timestamp, samples, missing, self._recent.taken())
