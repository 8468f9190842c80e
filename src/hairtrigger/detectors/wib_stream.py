"""Streams of frames as blocks: the links of a file, a folder or a socket, merged by timestamp.

    with FrameStream([("run.bin", open("run.bin", "rb"))], WIBETH) as stream:
        for block in stream:
            block.samples              # uint16 (ticks, channels)
            block.missing              # None, or bool (ticks, channels)
    print(stream.faults.in_words())

`dune_files.open_stream` makes one of whatever it is given. Memory holds the blocks of ``window``
ticks, one more, and a chunk of each source.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

import numpy as np

from hairtrigger.detectors.wib import FrameFormat, Link, decode, link_number, link_of
from hairtrigger.detectors.wib_clock import Clock, counters_run
from hairtrigger.detectors.wib_faults import Faults
from hairtrigger.detectors.wib_scan import Batch, Scanner, join
from hairtrigger.errors import InputError, StorageError

BLOCK_TICKS = 2048
WINDOW_TICKS = 2048
CHUNK_BYTES = 4 << 20


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
class _Source:
    name: str
    file: BinaryIO
    scanner: Scanner
    clock: Clock
    first: list[Batch] = field(default_factory=list)  # read to learn the links
    ended: bool = False
    reach: int | None = None  # its latest tick
    restart: list[Batch] = field(default_factory=list)  # after the clock went back

    def read(self, size: int) -> Batch:
        """The next frames; `ended` once there are none to come."""
        read = getattr(self.file, "read1", self.file.read)
        try:
            data = read(size)
        except OSError as error:
            raise StorageError(f"{self.name} cannot be read: {error}", "check it") from error
        if data is None:
            raise StorageError(f"{self.name} does not block", "give a stream that waits for data")
        if data:
            return self.scanner.feed(data)
        self.ended = True
        return self.scanner.finish()


@dataclass
class _Open:
    """A block that is being filled: samples (ticks, channels), and which ticks of links are."""

    samples: np.ndarray
    filled: np.ndarray


class FrameStream:
    """An iterator over the blocks of one or more sources of frames of one format.

    ``sources``: names and binary files; several are read side by side and merged by timestamp.
    ``links`` fixes which links the stream has and the order of their channels; else those of the
    first ``window`` ticks, sorted. ``channels`` picks columns of all links' channels, in the order
    given. ``window``: ticks by which a frame may come late. ``fill``: what stands where a sample is
    missing, a number or the channel's last sample ("hold"; 0 before the first). ``skip_flagged``
    leaves out frames in which the electronics report an error. ``counters``: whether frames whose
    counter disagrees with their timestamp are left out; by default, if counters count at all.

    Raises InputError for no sources, block_ticks, window or chunk_bytes that hold nothing, links
    named twice; when reading begins, StorageError for sources without frames, InputError for
    channels that the stream does not have.
    """

    def __init__(
        self,
        sources: Sequence[tuple[str, BinaryIO]],
        format: FrameFormat,
        *,
        block_ticks: int = BLOCK_TICKS,
        channels: Sequence[int] | np.ndarray | None = None,
        links: Sequence[Link] | None = None,
        window: int = WINDOW_TICKS,
        fill: int | Literal["hold"] = "hold",
        skip_flagged: bool = False,
        counters: bool | None = None,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        if not sources or block_ticks < 1 or window < 0 or chunk_bytes < 1:
            raise InputError(
                f"{len(sources)} sources, block_ticks = {block_ticks}, window = {window}, "
                f"chunk_bytes = {chunk_bytes} make no stream",
                "give a source, a block and a chunk of at least 1, and a window of at least 0",
            )
        if fill != "hold" and not 0 <= fill < 1 << 16:
            raise InputError(f"fill = {fill!r} is no sample", 'give "hold" or 0 to 65535')
        self.format = format
        self.block_ticks = block_ticks
        self.window = window
        self.fill = fill
        self.skip_flagged = skip_flagged
        self._wanted = None if channels is None else np.asarray(channels)
        self._counters = counters
        self._chunk = max(chunk_bytes // len(sources), 2 * format.frame_bytes)
        self._recent = Faults()
        self._total = Faults()
        self._sources = [
            _Source(
                name,
                file,
                Scanner(format, name, self._recent),
                Clock(format, name, self._recent, bool(counters)),
            )
            for name, file in sources
        ]
        self._numbers = None if links is None else np.array([link_number(x) for x in links], "<u4")
        if self._numbers is not None and len(np.unique(self._numbers)) != len(self._numbers):
            raise InputError(f"links = {links!r} names a link twice", "give each link once")
        self._ready: list[tuple[_Source, list[Batch]]] | None = None
        self._zero = 0  # timestamp of tick 0
        self._blocks: dict[int, _Open] = {}
        self._next = 0  # the block that comes next
        self._held = np.zeros(0, np.uint16)
        self._present = np.zeros(0, bool)
        self._reach = np.zeros(0, np.int64)  # latest tick of each link

    @property
    def links(self) -> tuple[Link, ...]:
        """The links of the stream, in the order of their channels. Reads the first frames."""
        self._learn()
        return tuple(link_of(int(number)) for number in self._numbers)

    @property
    def channels(self) -> int:
        """How many channels a block has. Reads the first frames."""
        self._learn()
        if self._wanted is not None:
            return len(self._wanted)
        return len(self._numbers) * self.format.channels

    @property
    def bits(self) -> int:
        """Bits of a sample."""
        return self.format.bits

    @property
    def counts_per_tick(self) -> int:
        """Counts of the timestamp in a tick."""
        return self.format.step

    @property
    def faults(self) -> Faults:
        """All faults so far."""
        total = Faults()
        total.update(self._total)
        total.update(self._recent)
        return total

    def __enter__(self) -> "FrameStream":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the sources."""
        for source in self._sources:
            source.file.close()

    def __iter__(self) -> Iterator[Block]:
        self._learn()
        for source, parts in self._ready or []:
            self._put(source, parts)
        self._ready = []
        while True:
            yield from self._finished(self._boundary())
            reading = [s for s in self._sources if not s.ended and not s.restart]
            if reading:
                source = min(reading, key=lambda s: -1 if s.reach is None else s.reach)
                self._put(source, self._believed(source, source.read(self._chunk)))
                continue
            yield from self._finished(None)
            if not self._restart():
                break

    def _learn(self) -> None:
        """Read the first frames of all sources: the links, whether counters count, tick 0."""
        if self._ready is not None:
            return
        for source in self._sources:
            while not source.ended and not self._learned(source):
                source.first.append(source.read(self._chunk))
        first = join([part for s in self._sources for part in s.first], self.format).headers
        if not len(first):
            raise StorageError(
                f"no {self.format.name} frames in {', '.join(s.name for s in self._sources)}",
                "check what the stream holds",
            )
        if self._numbers is None:
            numbers, seen = np.unique(first["link"], return_counts=True)
            # A header with a wrong bit is no link.
            self._numbers = numbers[(seen > 1) | (seen.max() == 1)]
        self._prepare_channels()
        self._ready = []
        for source in self._sources:
            batch = join(source.first, self.format)
            source.first = []
            if self._counters is None:
                source.clock.counters = counters_run(self.format, batch.headers)
            self._ready.append((source, self._believed(source, batch)))
        self._begin([parts[0] for _, parts in self._ready])

    def _learned(self, source: _Source) -> bool:
        stamps = [part.headers["timestamp"] for part in source.first if len(part)]
        frames = sum(len(part) for part in stamps)
        if frames < 2:
            return False
        stamps = np.concatenate(stamps)
        reached = np.median(stamps) - stamps[0] > self.window * self.format.step
        return bool(reached) or frames * self.format.frame_bytes >= 4 * self._chunk

    def _prepare_channels(self) -> None:
        columns = len(self._numbers) * self.format.channels
        wanted = self._wanted
        if wanted is not None and (
            wanted.ndim != 1
            or wanted.dtype.kind not in "ui"
            or (len(wanted) and not 0 <= wanted.min() <= wanted.max() < columns)
        ):
            raise InputError(
                f"channels of shape {wanted.shape} and type {wanted.dtype} are not among the "
                f"{columns} of the {len(self._numbers)} links",
                f"give whole numbers from 0 to {columns - 1}",
            )
        self._held = np.zeros(columns, np.uint16)

    def _begin(self, parts: list[Batch]) -> None:
        """Tick 0 is the first of these."""
        stamps = np.concatenate([part.headers["timestamp"] for part in parts])
        self._zero = int(stamps.min()) if len(stamps) else 0
        self._next = 0
        self._present = np.ones(len(self._numbers), bool)
        self._reach = np.full(len(self._numbers), -1, np.int64)

    def _believed(self, source: _Source, batch: Batch) -> list[Batch]:
        known = np.isin(batch.headers["link"], self._numbers)
        if not known.all():
            self._recent.add_at("unknown link", batch.offsets[~known], source.name)
            batch = batch.take(known)
        parts = source.clock.believed(batch)
        if source.ended:
            parts[-1] = join([parts[-1], source.clock.finish()], self.format)
        return parts

    def _boundary(self) -> int:
        """The tick before which nothing more is put."""
        active = [s for s in self._sources if not s.ended and not s.restart]
        if not active:
            return 0
        return min(-1 if s.reach is None else s.reach for s in active) - self.window

    def _restart(self) -> bool:
        """Go on after the clock went back, once it has in all sources that are not at their end."""
        waiting = [s for s in self._sources if s.restart]
        if not waiting:
            return False
        self._begin([s.restart[0] for s in waiting])
        for source in self._sources:
            source.reach = None
        for source in waiting:
            parts, source.restart = source.restart, []
            self._put(source, parts)
        return True

    def _put(self, source: _Source, parts: list[Batch]) -> None:
        """Put the frames of a source in their blocks; what comes after a restart waits."""
        batch, source.restart = parts[0], parts[1:]
        flagged = batch.headers["flags"] != 0
        if flagged.any():
            kind = "flagged out" if self.skip_flagged else "flagged"
            self._recent.add_at(kind, batch.offsets[flagged], source.name)
            if self.skip_flagged:
                batch = batch.take(~flagged)
        if not len(batch):
            return
        ticks = (batch.headers["timestamp"] - self._zero) // self.format.step
        reach = -1 if source.reach is None else source.reach
        reached = np.maximum.accumulate(np.concatenate([[reach], ticks]))
        source.reach = int(reached[-1])
        late = (ticks < reached[:-1] - self.window) | (ticks < self._next * self.block_ticks)
        if late.any():
            self._recent.add_at("late", batch.offsets[late], source.name)
            batch, ticks = batch.take(~late), ticks[~late]
        links = batch.headers["link"]
        for column, number in enumerate(self._numbers):
            own = np.flatnonzero(links == number)
            if len(own):
                if len(own) == len(batch):
                    self._put_link(column, batch, ticks, source)
                else:
                    self._put_link(column, batch.take(own), ticks[own], source)

    def _put_link(self, column: int, batch: Batch, ticks: np.ndarray, source: _Source) -> None:
        reached = np.maximum.accumulate(np.concatenate([self._reach[column : column + 1], ticks]))
        self._reach[column] = reached[-1]
        behind = ticks < reached[:-1]
        if behind.any():
            self._recent.add_at("out of order", batch.offsets[behind], source.name)
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
        source: _Source,
    ) -> None:
        """A frame in whose place another is: a duplicate, or one of the two is wrong."""
        pieces = self._pieces(rows)
        same = all(
            block.filled[inside, column].all()
            and np.array_equal(block.samples[inside, wide], samples[at])
            for block, at, inside in pieces
        )
        self._recent.add_at("duplicate" if same else "conflict", offset, source.name)
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
        if number not in self._blocks:
            links = len(self._numbers)
            shape = (self.block_ticks, links * self.format.channels)
            self._blocks[number] = _Open(
                np.zeros(shape, np.uint16), np.zeros((self.block_ticks, links), bool)
            )
        return self._blocks[number]

    def _finished(self, boundary: int | None) -> Iterator[Block]:
        """The blocks that end before a tick, or all. The last one ends with its last sample."""
        for number in sorted(self._blocks):
            last = boundary is None and number == max(self._blocks)
            if boundary is not None and (number + 1) * self.block_ticks > boundary:
                break
            block = self._blocks.pop(number)
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
        start = self._zero + (number * self.block_ticks - left_out) * self.format.step
        if left_out:
            self._gaps(np.zeros((1, filled.shape[1]), bool), start, left_out)
        if not filled.all() or not self._present.all():
            self._gaps(filled, self._zero + number * self.block_ticks * self.format.step, 1)

    def _gaps(self, filled: np.ndarray, timestamp: int, each: int) -> None:
        before = np.concatenate([self._present[None], filled[:-1]])
        tick, column = np.nonzero(before & ~filled)
        places = [
            f"timestamp {timestamp + int(t) * self.format.step}, {link_of(int(self._numbers[c]))}"
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
            if self.fill == "hold":
                ticks = np.arange(len(filled))[:, None]
                latest = np.maximum.accumulate(np.where(filled, ticks, -1), axis=0)
                for column in np.flatnonzero(~filled.all(axis=0)).tolist():
                    width = self.format.channels
                    wide = slice(column * width, (column + 1) * width)
                    held = np.concatenate([self._held[None, wide], samples[:, wide]])
                    samples[:, wide] = held[latest[:, column] + 1]
            else:
                samples[missing] = self.fill
        self._held = samples[-1].copy()
        if self._wanted is not None:
            samples = samples[:, self._wanted]
            missing = None if missing is None else missing[:, self._wanted]
            missing = missing if missing is not None and missing.any() else None
        recent = self._recent.taken()
        self._total.update(recent)
        timestamp = self._zero + number * self.block_ticks * self.format.step
        return Block(timestamp, samples, missing, recent)
