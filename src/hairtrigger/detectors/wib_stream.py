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

from hairtrigger.detectors.wib import FrameFormat, Link, link_number, link_of
from hairtrigger.detectors.wib_blocks import Block, Blocks
from hairtrigger.detectors.wib_clock import Clock, counters_run
from hairtrigger.detectors.wib_faults import Faults
from hairtrigger.detectors.wib_scan import Batch, Scanner, join
from hairtrigger.errors import InputError, StorageError

BLOCK_TICKS = 2048
WINDOW_TICKS = 2048
CHUNK_BYTES = 4 << 20
LEARN_FRAMES = 16
LEARN_BYTES = 32 << 20
"""How much is read of each source to learn the links, at least and at most."""


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


class FrameStream:
    """An iterator over the blocks of one or more sources of frames of one format.

    ``sources``: names and binary files; several are read side by side and merged by timestamp.
    ``links`` fixes which links the stream has and the order of their channels; else those of the
    first 2 ``window`` ticks, sorted. ``channels`` picks columns among all links' channels, in this
    order. ``window``: ticks by which a frame may come late. ``fill``: what stands where a sample is
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
        self._ready: list[tuple[_Source, list[Batch]]] = []
        self._blocks: Blocks | None = None

    @property
    def links(self) -> tuple[Link, ...]:
        """The links of the stream, in the order of their channels. Reads the first frames."""
        return tuple(link_of(int(number)) for number in self._learned_blocks().numbers)

    @property
    def channels(self) -> int:
        """How many channels a block has. Reads the first frames."""
        columns = len(self._learned_blocks().numbers) * self.format.channels
        return columns if self._wanted is None else len(self._wanted)

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

    def since_last(self) -> Faults:
        """What was wrong since the last block: at the end, after it."""
        recent = self._recent.taken()
        self._total.update(recent)
        return recent

    def __iter__(self) -> Iterator[Block]:
        blocks = self._learned_blocks()
        while self._ready:
            self._put(blocks, *self._ready.pop(0))
        while True:
            yield from self._finished(blocks, self._boundary())
            reading = [s for s in self._sources if not s.ended and not s.restart]
            if reading:
                source = min(reading, key=lambda s: -1 if s.reach is None else s.reach)
                batch = source.read(self._chunk)
                self._put(blocks, source, self._believed(blocks, source, batch))
                continue
            yield from self._finished(blocks, None)
            if not self._restart(blocks):
                break

    def _finished(self, blocks: Blocks, boundary: int | None) -> Iterator[Block]:
        for block in blocks.finished(boundary):
            self._total.update(block.faults)
            yield block

    def _learned_blocks(self) -> Blocks:
        """Read the first frames of all sources: the links, whether counters count, tick 0."""
        if self._blocks is not None:
            return self._blocks
        for source in self._sources:
            while not source.ended and not self._learned(source):
                source.first.append(source.read(self._chunk))
        first = join([part for s in self._sources for part in s.first], self.format).headers
        if not len(first):
            raise StorageError(
                f"no {self.format.name} frames in {', '.join(s.name for s in self._sources)}",
                "check what the stream holds",
            )
        numbers = self._numbers
        if numbers is None:
            numbers, seen = np.unique(first["link"], return_counts=True)
            # A header with a wrong bit is no link.
            numbers = numbers[(seen > 1) | (seen.max() == 1)]
        check_columns(self._wanted, len(numbers) * self.format.channels)
        blocks = Blocks(
            self.format, numbers, self.block_ticks, self._wanted, self.fill, self._recent
        )
        for source in self._sources:
            batch = join(source.first, self.format)
            source.first = []
            if self._counters is None:
                source.clock.counters = counters_run(self.format, batch.headers)
            self._ready.append((source, self._believed(blocks, source, batch)))
        _begin(blocks, [parts[0] for _, parts in self._ready])
        self._blocks = blocks
        return blocks

    def _learned(self, source: _Source) -> bool:
        """Whether enough was read, for which a few wrong or late timestamps do not count."""
        frames = sum(len(part) for part in source.first)
        if frames < LEARN_FRAMES:
            return False
        stamps = np.concatenate([part.headers["timestamp"] for part in source.first])
        early, late = np.percentile(stamps, [25, 75])
        size = frames * self.format.frame_bytes * len(self._sources)
        return late - early > self.window * self.format.step or size >= LEARN_BYTES

    def _believed(self, blocks: Blocks, source: _Source, batch: Batch) -> list[Batch]:
        known = np.isin(batch.headers["link"], blocks.numbers)
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

    def _restart(self, blocks: Blocks) -> bool:
        """Go on after the clock went back, once it has in all sources that are not at their end."""
        waiting = [s for s in self._sources if s.restart]
        if not waiting:
            return False
        _begin(blocks, [s.restart[0] for s in waiting])
        for source in self._sources:
            source.reach = None
        for source in waiting:
            parts, source.restart = source.restart, []
            self._put(blocks, source, parts)
        return True

    def _put(self, blocks: Blocks, source: _Source, parts: list[Batch]) -> None:
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
        ticks = (batch.headers["timestamp"] - blocks.zero) // self.format.step
        reach = -1 if source.reach is None else source.reach
        reached = np.maximum.accumulate(np.concatenate([[reach], ticks]))
        source.reach = int(reached[-1])
        late = (ticks < reached[:-1] - self.window) | (ticks < blocks.first_open)
        if late.any():
            self._recent.add_at("late", batch.offsets[late], source.name)
            batch, ticks = batch.take(~late), ticks[~late]
        blocks.put(batch, ticks, source.name)


def _begin(blocks: Blocks, parts: list[Batch]) -> None:
    """Tick 0 is the first of these."""
    stamps = np.concatenate([part.headers["timestamp"] for part in parts])
    blocks.begin(int(stamps.min()) if len(stamps) else 0)


def check_columns(channels: np.ndarray | None, columns: int) -> None:
    """Raise InputError unless ``channels`` are None or whole numbers below ``columns``."""
    if channels is None:
        return
    whole = channels.ndim == 1 and channels.dtype.kind in "ui" and len(channels)
    if not whole or not 0 <= channels.min() <= channels.max() < columns:
        raise InputError(
            f"channels of shape {channels.shape} and type {channels.dtype} are not among the "
            f"{columns} of the stream",
            f"give whole numbers from 0 to {columns - 1}",
        )
