"""Frames of VMM3a readouts: their headers, their order, and the hits in them.

SRS (RD51's Scalable Readout System), big endian: frame counter (4 bytes), "VM3" and a byte with the
number of the card in its upper half, time stamp, overflow (16 bytes in all), then words of 6 bytes,
each a hit or a time marker of a chip. ESS readout, little endian: a zero, version (0 or 1), "ESS",
type, length, output queue, ..., sequence number (30 bytes, 32 in version 1), then readouts of 20
bytes. Both as in the parsers of ess-dmsc/vmm-sdat and ess-dmsc/event-formation-unit.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from hairtrigger.detectors.vmm_hits import (
    ADC_MAX,
    BCID_MAX,
    BCIDS,
    CHANNELS,
    HIT_DTYPE,
    VMMS,
    Calibration,
    Clock,
    fill_times,
)
from hairtrigger.detectors.wib_faults import Faults

SRS_HEADER = 16
SRS_WORD = np.dtype([("high", ">u4"), ("low", ">u2")])
MARKER_BITS = 42

ESS_CLOCK_HZ = 88_052_500
"""Counts of the ESS clock in a second; a crossing is two of them."""

ESS_PERIOD_NS = 2e9 / ESS_CLOCK_HZ
ESS_HEADERS = {0: 30, 1: 32}
ESS_QUEUES, ESS_RINGS, ESS_FENS = 24, 24, 24
ESS_READOUT = np.dtype(
    [
        ("ring", "u1"),
        ("fen", "u1"),
        ("length", "<u2"),
        ("seconds", "<u4"),
        ("counts", "<u4"),
        ("bcid", "<u2"),
        ("adc", "<u2"),
        ("geo", "u1"),
        ("tdc", "u1"),
        ("vmm", "u1"),
        ("channel", "u1"),
    ]
)

FAR = 1 << 12
"""A frame counter further than this from the expected is wrong, or a jump if the next fits it."""

WINDOW = 64
"""By how many frames of its source a frame may be late."""


class Frame(NamedTuple):
    """A frame with a good header: its format, its source (card or queue), its counter, its hits'
    bytes, and its place in the file."""

    format: str
    source: int
    counter: int
    body: bytes
    place: str


def parse_frame(payload: bytes, place: str) -> Frame | str:
    """The frame in a datagram, or what is wrong with it: "corrupt", or "other traffic"."""
    if payload[4:7] == b"VM3":
        fec = payload[7] >> 4 if len(payload) > 7 else 0
        words = len(payload) - SRS_HEADER
        if not fec or words <= 0 or words % SRS_WORD.itemsize:
            return "corrupt"
        (counter,) = struct.unpack_from(">I", payload)
        return Frame("SRS", fec, counter, payload[SRS_HEADER:], place)
    if payload[2:5] == b"ESS":
        header = ESS_HEADERS.get(payload[1])
        if header is None or payload[0] or len(payload) < header:
            return "corrupt"
        length, queue = struct.unpack_from("<HB", payload, 6)
        _, low, _, before, counter = struct.unpack_from("<5I", payload, 10)
        good = length == len(payload) and queue < ESS_QUEUES
        good &= low < ESS_CLOCK_HZ and before < ESS_CLOCK_HZ
        if not good or (length - header) % ESS_READOUT.itemsize:
            return "corrupt"
        return Frame("ESS", queue, counter, payload[header:], place)
    return "other traffic"


@dataclass
class FrameOrder:
    """Puts the frames of one source in the order of their counters (32 bits, +1 each).

    `add` and `finish` return the frames that are due, and whether frames are missing before each.
    """

    faults: Faults
    expected: int | None = None
    _waiting: dict[int, Frame] = field(default_factory=dict)
    _recent: dict[int, None] = field(default_factory=dict)
    _strange: Frame | None = None
    _broken: bool = False

    def add(self, frame: Frame) -> list[tuple[Frame, bool]]:
        """Take a frame; those that are due now."""
        if self.expected is None:
            self.expected = frame.counter
        due: list[tuple[Frame, bool]] = []
        if self._strange is not None:
            due += self._judge(self._strange, frame)
        ahead = _signed(frame.counter - self.expected)
        if abs(ahead) > FAR:
            self._strange = frame
            return due
        if frame.counter in self._waiting or frame.counter in self._recent:
            self.faults.add("duplicate", 1, [frame.place])
            return due
        if ahead < 0:
            self.faults.add("late", 1, [frame.place])
            return due
        if any(_signed(frame.counter - other) < 0 for other in self._waiting):
            self.faults.add("out of order", 1, [frame.place])
        self._waiting[frame.counter] = frame
        due += self._run()
        while len(self._waiting) > WINDOW:
            due += self._skip()
        return due

    def finish(self) -> list[tuple[Frame, bool]]:
        """The frames that are left."""
        due = self._all()
        if self._strange is not None:
            self.faults.add("wrong counter", 1, [self._strange.place])
            self._strange = None
        return due

    def _judge(self, strange: Frame, frame: Frame) -> list[tuple[Frame, bool]]:
        self._strange = None
        if _signed(frame.counter - strange.counter) != 1:
            self.faults.add("wrong counter", 1, [strange.place])
            return []
        due = self._all()
        ahead = _signed(strange.counter - (self.expected or 0))
        if ahead > 0:
            self.faults.add("gap", ahead, [f"before {strange.place}"])
        else:
            self.faults.add("restart", 1, [strange.place])
        self._recent.clear()
        self._broken = True
        self._waiting[strange.counter] = strange
        self.expected = strange.counter
        return due + self._run()

    def _run(self) -> list[tuple[Frame, bool]]:
        due = []
        assert self.expected is not None
        while self.expected in self._waiting:
            due.append((self._waiting.pop(self.expected), self._broken))
            self._broken = False
            self._recent[self.expected] = None
            if len(self._recent) > FAR:
                self._recent.pop(next(iter(self._recent)))
            self.expected = (self.expected + 1) & 0xFFFFFFFF
        return due

    def _skip(self) -> list[tuple[Frame, bool]]:
        start = self.expected or 0
        following = min(self._waiting, key=lambda counter: _signed(counter - start))
        place = self._waiting[following].place
        self.faults.add("gap", _signed(following - start), [f"before {place}"])
        self._broken = True
        self.expected = following
        return self._run()

    def _all(self) -> list[tuple[Frame, bool]]:
        due = []
        while self._waiting:
            due += self._skip()
        return due


def _signed(difference: int) -> int:
    """A difference of 32-bit counters, from -2^31 to 2^31 - 1."""
    return ((difference + 0x80000000) & 0xFFFFFFFF) - 0x80000000


OLD_SHARE, ENOUGH_HITS = 0.1, 64
"""Of the offsets of old firmware 14 in 32 (44 %) are none of new firmware; so many hits tell."""


class SrsDecoder:
    """Hits in SRS frames, given in order. It holds the last time marker of each chip.

    Offsets of new firmware are 0 to 15, and 31 for -1; markers come every 16 periods. Old firmware
    has 0 to 31, and markers every 32. Which it is shows in the first frames with `ENOUGH_HITS`.
    """

    format = "SRS"

    def __init__(
        self, clock: Clock | None, calibration: Calibration | None, faults: Faults
    ) -> None:
        self.clock = clock or Clock()
        self._calibration = calibration
        self._faults = faults
        self._marker = np.zeros(VMMS * VMMS, np.uint64)
        self._known = np.zeros(VMMS * VMMS, bool)
        self._old: bool | None = None

    def forget(self, source: int) -> None:
        """Frames of a card are missing: its markers may be too old for what follows."""
        self._known[source * VMMS : (source + 1) * VMMS] = False

    def decode(self, frames: list[Frame]) -> np.ndarray:
        """HIT_DTYPE (hits,) in the order of the frames."""
        words = np.frombuffer(b"".join(frame.body for frame in frames), SRS_WORD)
        counts = [len(frame.body) // SRS_WORD.itemsize for frame in frames]
        fec = np.repeat(np.array([frame.source for frame in frames], np.uint8), counts)
        high, low = words["high"].astype(np.uint32), words["low"].astype(np.uint16)
        is_hit = low >> 15 != 0
        vmm = np.where(is_hit, high >> 22 & 0x1F, low >> 10 & 0x1F).astype(np.uint8)
        # Markers of chips 16 and above are of the trigger, not of a chip.
        is_marker = ~is_hit & (vmm < VMMS)
        offset = (high >> 27).astype(np.int8)
        foreign = is_hit & (offset > 16) & (offset < 31)
        old = bool(foreign.sum() > OLD_SHARE * is_hit.sum())
        if self._old is None and is_hit.sum() >= ENOUGH_HITS:
            self._old = old
        old = old if self._old is None else self._old
        late = is_hit & (offset == 16) & (not old)
        bad = is_hit & ~late & ((vmm >= VMMS) | foreign & (not old))
        self._count("latency", late, counts, frames)
        self._count("bad hit", bad, counts, frames)
        marker, known = self._markers(fec, vmm, high, low, is_marker, counts, frames)
        kept = is_hit & ~late & ~bad
        self._count("no marker", kept & ~known, counts, frames)
        hits = np.zeros(int(kept.sum()), HIT_DTYPE)
        high, low = high[kept], low[kept]
        hits["fec"], hits["vmm"] = fec[kept], vmm[kept]
        hits["channel"] = low >> 8 & 0x3F
        hits["adc"] = high >> 12 & 0x3FF
        hits["bcid"] = gray_to_binary(high & 0xFFF)
        hits["tdc"] = low & 0xFF
        hits["over_threshold"] = low >> 14 & 1
        hits["offset"] = np.where((offset[kept] == 31) & (not old), -1, offset[kept])
        hits["marker"] = marker[kept]
        for name in ("detector", "plane", "strip"):
            hits[name] = -1
        counted = hits["marker"].astype(np.float64) + hits["offset"] * float(BCIDS)
        coarse = np.where(known[kept], counted * self.clock.period_ns, np.nan)
        fill_times(hits, coarse, self.clock, self._calibration, bcid=True)
        return hits

    def _markers(
        self,
        fec: np.ndarray,
        vmm: np.ndarray,
        high: np.ndarray,
        low: np.ndarray,
        is_marker: np.ndarray,
        counts: list[int],
        frames: list[Frame],
    ) -> tuple[np.ndarray, np.ndarray]:
        """The last marker of each word's chip, and whether there was one."""
        key = fec * np.uint8(VMMS) + (vmm & np.uint8(VMMS - 1))
        order = np.argsort(key, kind="stable")
        key, marks = key[order], is_marker[order]
        stamp = high[order].astype(np.uint64) << np.uint64(10) | low[order] & np.uint64(0x3FF)
        at = np.arange(len(key))
        first = np.searchsorted(key, np.arange(VMMS * VMMS))[key]
        last = np.maximum.accumulate(np.where(marks, at, -1))
        inside = last >= first
        value = np.where(inside, stamp[last], self._marker[key])
        known = inside | self._known[key]
        before, had = np.roll(value, 1), np.roll(known, 1)
        begins = at == first
        before[begins], had[begins] = self._marker[key[begins]], self._known[key[begins]]
        back = np.zeros(len(key), bool)
        back[order] = marks & had & (stamp < before)
        self._count("clock back", back, counts, frames)
        ends = np.flatnonzero(np.append(key[1:] != key[:-1], True)) if len(key) else at
        self._marker[key[ends]], self._known[key[ends]] = value[ends], known[ends]
        out, seen = np.empty_like(value), np.empty_like(known)
        out[order], seen[order] = value, known
        return np.where(seen, out, 0), seen

    def _count(self, kind: str, which: np.ndarray, counts: list[int], frames: list[Frame]) -> None:
        places = _places(which, counts, frames)
        self._faults.add(kind, int(which.sum()), places)


class EssDecoder:
    """Hits in ESS frames. Times count from the first readout's whole second."""

    format = "ESS"

    def __init__(
        self, clock: Clock | None, calibration: Calibration | None, faults: Faults
    ) -> None:
        self.clock = clock or Clock(period_ns=ESS_PERIOD_NS)
        self._calibration = calibration
        self._faults = faults
        self._origin: int | None = None

    def forget(self, source: int) -> None:
        """Each readout has its own time: nothing is lost with a frame but its hits."""

    def decode(self, frames: list[Frame]) -> np.ndarray:
        """HIT_DTYPE (hits,) in the order of the frames."""
        found = np.frombuffer(b"".join(frame.body for frame in frames), ESS_READOUT)
        counts = [len(frame.body) // ESS_READOUT.itemsize for frame in frames]
        bad = (found["ring"] >= ESS_RINGS) | (found["fen"] >= ESS_FENS)
        bad |= found["length"] != ESS_READOUT.itemsize
        bad |= (found["counts"] >= ESS_CLOCK_HZ) | (found["bcid"] > BCID_MAX)
        bad |= (found["adc"] & 0x7FFF > ADC_MAX) | (found["vmm"] >= VMMS)
        bad |= found["channel"] >= CHANNELS
        self._faults.add("bad hit", int(bad.sum()), _places(bad, counts, frames))
        found = found[~bad]
        hits = np.zeros(len(found), HIT_DTYPE)
        hits["fec"] = found["ring"].astype(np.uint16) // 2 * 32 + found["fen"]
        for name in ("vmm", "channel", "bcid", "tdc"):
            hits[name] = found[name]
        hits["adc"] = found["adc"] & ADC_MAX
        hits["over_threshold"] = found["adc"] >> 15
        for name in ("detector", "plane", "strip"):
            hits[name] = -1
        seconds = found["seconds"].astype(np.int64)
        hits["marker"] = seconds * ESS_CLOCK_HZ + found["counts"]
        if self._origin is None and len(seconds):
            self._origin = int(seconds[0])
        coarse = found["counts"] * (self.clock.period_ns / 2)
        coarse += (seconds - (self._origin or 0)) * 1e9
        fill_times(hits, coarse, self.clock, self._calibration, bcid=False)
        return hits


Decoder = SrsDecoder | EssDecoder
DECODERS: dict[str, Callable[..., Decoder]] = {"SRS": SrsDecoder, "ESS": EssDecoder}


def gray_to_binary(code: np.ndarray) -> np.ndarray:
    """The numbers (up to 16 bits) behind Gray codes."""
    number = code.copy()
    for shift in (1, 2, 4, 8):
        number ^= number >> shift
    return number


def _places(which: np.ndarray, counts: list[int], frames: list[Frame]) -> list[str]:
    """The frames that the first of the marked words lie in."""
    at = np.flatnonzero(which)[:5]
    frame = np.searchsorted(np.cumsum(counts), at, side="right")
    return [frames[n].place for n in frame.tolist()]
