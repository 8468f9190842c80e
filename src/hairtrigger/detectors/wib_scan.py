"""Finding frames in bytes: a scanner that holds to the frames' grid, and finds it again when lost.

    scanner = Scanner(WIBETH, "run.bin", faults)
    batch = scanner.feed(data)        # whole frames so far, their headers, where they began
    batch = scanner.finish()          # what was held back until the end was known

Neither format has a magic number: a frame is recognised by the bits that never change in a stream
(``signature`` of HEADER_DTYPE), and counts only if another frame, or the end, follows it. The frame
before a place where the grid is lost is skipped, as its end cannot be told.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hairtrigger.detectors.wib import (
    FORMATS,
    WIB1,
    FrameFormat,
    Link,
    link_of,
    read_headers,
)
from hairtrigger.detectors.wib_faults import Faults

JUMP_SECONDS = 4e-3
"""A timestamp further than this from the one before is a jump of the clock, or wrong, but no gap.
In WIBEth it must stay below 4096 frames (134 ms), where the sequence number comes round."""

_STAMP_BYTES = 16
"""Bytes of a frame up to and with its timestamp, in both formats."""

_SLAB = 1 << 16
"""Places tried at once in the search for the grid."""


def jump_counts(format: FrameFormat) -> int:
    """`JUMP_SECONDS` in counts of the timestamp."""
    return int(JUMP_SECONDS * format.clock_mhz * 1e6)


@dataclass(frozen=True)
class Batch:
    """Frames found: uint8 (frames, bytes), headers (frames,), first bytes int64 (frames,)."""

    frames: np.ndarray
    headers: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.headers)

    def take(self, which: np.ndarray) -> "Batch":
        """The frames of a mask or of indices."""
        return Batch(self.frames[which], self.headers[which], self.offsets[which])


def join(parts: list[Batch], format: FrameFormat) -> Batch:
    """The frames of all parts, one after the other."""
    parts = [part for part in parts if len(part)]
    if len(parts) == 1:
        return parts[0]
    if not parts:
        empty = np.zeros((0, format.frame_bytes), np.uint8)
        return Batch(empty, read_headers(format, empty), np.zeros(0, np.int64))
    return Batch(
        np.concatenate([part.frames for part in parts]),
        np.concatenate([part.headers for part in parts]),
        np.concatenate([part.offsets for part in parts]),
    )


class Scanner:
    """Cuts the bytes of one source into frames. ``signature`` is that of its frames, None until it
    has seen two; faults are counted in ``faults``."""

    def __init__(self, format: FrameFormat, source: str, faults: Faults) -> None:
        self.format = format
        self.source = source
        self.faults = faults
        self.signature: int | None = None
        self._data = np.zeros(0, np.uint8)
        self._start = 0  # of self._data in the source
        self._lost: int | None = 0  # since where the grid is unknown; None while it is known
        self._seen = False  # whether it ever was

    def feed(self, data: bytes) -> Batch:
        """The frames that are whole and confirmed with these bytes added."""
        new = np.frombuffer(data, np.uint8)
        self._data = np.concatenate([self._data, new]) if len(self._data) else new
        return self._scan(end=False)

    def finish(self) -> Batch:
        """The frames that are left; what is behind them is counted as a fault."""
        return self._scan(end=True)

    def _scan(self, end: bool) -> Batch:
        found: list[Batch] = []
        at = 0
        while True:
            if self._lost is not None:
                at, on_grid = self._search(at, end)
                if not on_grid:
                    break
            at, more = self._follow(at, end, found)
            if not more:
                break
        batch = join(found, self.format)
        self._data = self._data[at:].copy()
        self._start += at
        return batch

    def _follow(self, at: int, end: bool, found: list[Batch]) -> tuple[int, bool]:
        """Take frames from a place on the grid; where it ends, and whether there is more to do."""
        data, size = self._data, self.format.frame_bytes
        count = (len(data) - at) // size
        if not count:
            if end and at < len(data):
                self._count("truncated", at)
                at = len(data)
            return at, False
        headers = read_headers(self.format, data, at + size * np.arange(count, dtype=np.int64))
        good = headers["signature"] == np.uint64(self.signature or 0)
        run = self._confirmed(good, headers["timestamp"])
        tail = len(data) - at - count * size
        rest = at + count * size
        # The frame after the run is on the grid, but what follows it must show that it is whole.
        corrupt = run + 1 < count and not bool(good[run + 1])  # is only the next header broken?
        if corrupt and run + 2 < count:
            take = bool(good[run + 2]) and self._near(headers["timestamp"][[run, run + 2]])
        else:
            take = end and (corrupt or run + 1 == count)
            take = take and self._begins(rest, tail, headers["timestamp"][run])
        kept = run + 1 if take else run
        frames = data[at : at + kept * size].reshape(kept, size)
        offsets = self._start + at + size * np.arange(kept, dtype=np.int64)
        found.append(Batch(frames, headers[:kept], offsets))
        at += kept * size
        if take:
            if corrupt:
                self._count("corrupt", at)
                at += size
            return at, True
        if not end and run + 2 >= count:
            return at, False  # what comes next decides
        self._lost = self._start + at
        return at + 1, True

    def _confirmed(self, good: np.ndarray, stamps: np.ndarray) -> int:
        """How many frames have a frame behind them, with a timestamp near theirs or one that the
        frame behind that speaks for."""
        count = len(good)
        if count < 2:
            return 0
        near = self._near(stamps[:-1], stamps[1:])
        over = np.zeros(count - 1, bool)  # the next two agree, or the second of them with this
        over[:-1] = good[2:] & (near[1:] | self._near(stamps[:-2], stamps[2:]))
        confirmed = good[:-1] & good[1:] & (near | over)
        return count - 1 if confirmed.all() else int(np.argmin(confirmed))

    def _near(self, stamps: np.ndarray, others: np.ndarray | None = None) -> Any:
        """Whether timestamps are no jump apart: two of them, or each of one and of the other."""
        step = stamps[1] - stamps[0] if others is None else others - stamps
        limit = jump_counts(self.format)
        return (step <= limit) & (step >= -limit)

    def _begins(self, at: int, length: int, stamp: np.int64) -> bool:
        """Whether the last bytes of the source, less than a frame, are none or the begin of one
        after a frame with this timestamp."""
        if not length:
            return True
        dtype = "<u4" if self.format is WIB1 else "<u8"
        word = self._data[at : at + np.dtype(dtype).itemsize]
        if len(word) < np.dtype(dtype).itemsize:
            return False  # too little to tell
        if length >= _STAMP_BYTES:
            whole = np.zeros(self.format.frame_bytes, np.uint8)
            whole[:length] = self._data[at : at + length]
            own = read_headers(self.format, whole[None])["timestamp"][0]
            if not self._near(np.array([stamp, own])):
                return False
        return bool(_first_word_fits(self.format, word.view(dtype), self.signature)[0])

    def _search(self, at: int, end: bool) -> tuple[int, bool]:
        """Find the grid again from ``at`` on: where, and whether it was found."""
        data, size = self._data, self.format.frame_bytes
        last = len(data) - (size if end else 3 * size)
        for start in range(at, last + 1, _SLAB):
            places = np.arange(start, min(start + _SLAB, last + 1), dtype=np.int64)
            place = self._first_good(places)
            if place is not None:
                self._report_lost(self._start + place)
                return place, True
        if end:
            self._report_lost(self._start + len(data))
            return len(data), False
        return max(at, last + 1), False

    def _first_good(self, places: np.ndarray) -> int | None:
        data, size = self._data, self.format.frame_bytes
        # Most places fail on the first word, which is quick to look at.
        dtype = "<u4" if self.format is WIB1 else "<u8"
        words = np.ndarray((places[-1] - places[0] + 1,), dtype, data.data, int(places[0]), (1,))
        places = places[_first_word_fits(self.format, words, self.signature)]
        headers = read_headers(self.format, data, places)
        good = looks_like_frames(self.format, headers)
        if self.signature is not None:
            good &= headers["signature"] == np.uint64(self.signature)
        last = places + size == len(data)
        if self.signature is None:
            last &= self._start + places == 0  # alone
        good &= (places + 2 * size <= len(data)) | last
        places, headers, moved = places[good], headers[good], last[good]
        good = np.ones(len(places), bool)
        limit = jump_counts(self.format)
        for n in range(2):  # the frame behind, and the one behind it
            follows = places + (n + 2) * size <= len(data)
            before = headers[follows]
            after = read_headers(self.format, data, places[follows] + (n + 1) * size)
            same = after["signature"] == before["signature"]
            step = after["timestamp"] - before["timestamp"]
            moved[follows] |= same & ((step != 0) | (after["link"] != before["link"]))
            if n == 0:
                good[follows] = same & (step <= limit) & (step >= -limit)
        # What comes again and again unchanged is a pattern in the samples.
        good &= moved
        if not good.any():
            return None
        first = int(np.argmax(good))
        if self.signature is None:
            self.signature = int(headers["signature"][first])
        return int(places[first])

    def _report_lost(self, place: int) -> None:
        """Count what lies between where the grid was lost and where it is known again."""
        lost, size = self._lost or 0, self.format.frame_bytes
        if not self._seen:
            self._garbage(lost, place)
        elif place < lost + size:
            self._count("truncated", lost - self._start)
        else:
            self._count("unconfirmed", lost - self._start)
            self._garbage(lost + size, place)
        self._lost, self._seen = None, True

    def _garbage(self, start: int, stop: int) -> None:
        if stop > start:
            self.faults.add("garbage", stop - start, [f"byte {start} of {self.source}"])

    def _count(self, kind: str, at: int) -> None:
        self.faults.add_at(kind, np.array([self._start + at]), self.source)


def _first_word_fits(format: FrameFormat, words: np.ndarray, signature: int | None) -> np.ndarray:
    """Whether frames may begin with these words; with a signature, whether those of it do."""
    if format is WIB1:
        wanted = 0x100 if signature is None else signature >> 32
        return words & np.uint32(0xFF001FFF) == np.uint32(wanted)
    if signature is None:
        return words & np.uint64(0x3F << 34) == 0
    mask = 0xFFF000FC00000FFF
    return words & np.uint64(mask) == np.uint64(signature & mask)


def looks_like_frames(format: FrameFormat, headers: np.ndarray) -> np.ndarray:
    """Whether each header may be one of this format: bool (headers,). A few bits only."""
    signature = headers["signature"]
    if format is WIB1:  # start of frame 0, version 1, reserved bits 0
        return signature & np.uint64(0xFFFFFFFFFFFFFFFE) == np.uint64(0x100 << 32)
    clear = np.uint64(0x3F << 34 | 1 << 28 | 1 << 12)  # reserved bits and padding
    named = (signature & np.uint64(0x3F << 6) != 0) & (signature >> np.uint64(52) != 0)
    return named & (signature & clear == 0)


def recognise_frames(head: bytes) -> tuple[FrameFormat, tuple[Link, ...]] | None:
    """The format of frames at the begin of these bytes, and their links; None if there are none.

    Two frames in a row are needed, or one that is all there is; garbage before them may fill half.
    """
    best = None
    for format in FORMATS:
        scanner = Scanner(format, "", Faults())
        batches = [scanner.feed(head), scanner.finish()]
        frames = sum(len(batch) for batch in batches)
        if not frames or 2 * (frames + 2) * format.frame_bytes < len(head):
            continue
        if best is None or frames * format.frame_bytes > best[0]:
            headers = np.concatenate([batch.headers for batch in batches])
            numbers, seen = np.unique(headers["link"], return_counts=True)
            numbers = numbers[(seen > 1) | (seen.max(initial=0) == 1)]
            best = (
                frames * format.frame_bytes,
                format,
                tuple(link_of(int(number)) for number in numbers),
            )
    return None if best is None else best[1:]


def first_timestamp(head: bytes, format: FrameFormat) -> int:
    """The median timestamp of the first three frames in these bytes: one of them may be wrong."""
    scanner = Scanner(format, "", Faults())
    stamps = np.concatenate(
        [batch.headers["timestamp"] for batch in (scanner.feed(head), scanner.finish())]
    )[:3]
    return int(np.sort(stamps)[len(stamps) // 2]) if len(stamps) else 0
