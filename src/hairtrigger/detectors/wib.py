"""Frames of the DUNE front end: WIB1 (ProtoDUNE-SP) and WIBEth, their bits and their headers.

    frames = encode_wibeth(samples, first_timestamp=0, links=(Link(3, 1, 0, 0),))
    frames.tofile("run.bin")
    decode_wibeth(frames)                    # uint16 (frames, 64, 64)
    read_headers(WIBETH, frames)             # link, timestamp, counter, flags of each

The bits are those of WIBFrame.hpp, WIBEthFrame.hpp and DAQEthHeader.hpp in DUNE-DAQ's
fddetdataformats and detdataformats. `wib_stream` reads streams of frames.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hairtrigger.errors import InputError


class Link(NamedTuple):
    """What a frame says about its origin. ``stream`` is the fibre in WIB1, whose frames name no
    detector (0 here); in WIBEth ``detector`` is DUNE's identifier (3: horizontal drift)."""

    detector: int
    crate: int
    slot: int
    stream: int


@dataclass(frozen=True)
class FrameFormat:
    """Sizes of a format: bytes of a frame, channels, ticks in a frame, counts of the timestamp in a
    tick, its clock [MHz], bits of a sample, and where the frame's own counter wraps."""

    name: str
    frame_bytes: int
    channels: int
    ticks: int
    step: int
    clock_mhz: float
    bits: int
    counter: int

    @property
    def counts(self) -> int:
        """Counts of the timestamp from one frame of a link to its next."""
        return self.step * self.ticks


WIB1 = FrameFormat("WIB1", 464, 256, 1, 25, 50.0, 12, 1 << 16)
WIBETH = FrameFormat("WIBEth", 7200, 64, 64, 32, 62.5, 14, 1 << 12)
FORMATS = (WIB1, WIBETH)

COLLECTION = {
    "WIB1": tuple(start + n for start in range(10, 256, 32) for n in range(12)),
    "WIBEth": (*range(10, 22), *range(32, 38), *range(58, 64)),
}
"""Collection wires among the channels of a frame: 48 of each of the two boards of a WIB1 frame, 24
of the half board of a WIBEth frame. From the channel maps protoDUNETPCChannelMap_FELIX_v4 and
PD2HDChannelMap_v6 of DUNE-DAQ's detchannelmaps, where they are the same for all boards."""

HEADER_DTYPE = np.dtype(
    [
        ("link", "<u4"),
        ("timestamp", "<i8"),
        ("counter", "<u4"),
        ("flags", "<u4"),
        ("signature", "<u8"),
    ]
)
"""``link``: see `link_of`. ``counter``: of COLDATA's conversions (WIB1), the sequence number
(WIBEth). ``flags``: not 0 if the electronics report an error. ``signature``: what does not change
in a stream (start of frame, versions, lengths, reserved bits)."""

_WIB1_BLOCK = 112
_WIB1_HEADER = 16
_ETH_HEADER = 32
_ETH_ROW = 112
_ETH_WORDS_AFTER_HEADER = 0x382
_TILE_BYTES = 1 << 18
"""Bytes unpacked at once: they and what comes of them stay in the processor's cache."""


def link_of(number: int) -> Link:
    """The link that the number in HEADER_DTYPE stands for; numbers sort as links do."""
    return Link(number >> 22, (number >> 12) & 0x3FF, (number >> 8) & 0xF, number & 0xFF)


def link_number(link: Link) -> int:
    """The number of a link, as in HEADER_DTYPE. Raises InputError for what no header can hold."""
    for name, value, bits in zip(Link._fields, link, (6, 10, 4, 8), strict=True):
        if not 0 <= value < 1 << bits:
            raise InputError(
                f"{name} = {value!r} does not fit in {bits} bits",
                f"give 0 to {(1 << bits) - 1}",
            )
    return link.detector << 22 | link.crate << 12 | link.slot << 8 | link.stream


def read_headers(
    format: FrameFormat, frames: np.ndarray, positions: np.ndarray | None = None
) -> np.ndarray:
    """Headers of HEADER_DTYPE of frames, uint8 (frames, bytes), or of frames anywhere in bytes.

    With ``positions`` (frames,), ``frames`` is uint8 (bytes,) and a whole frame begins at each.
    """
    if positions is None:
        positions = np.arange(len(frames), dtype=np.int64) * format.frame_bytes
        frames = frames.reshape(-1)
    headers = np.zeros(len(positions), HEADER_DTYPE)
    if len(positions):
        (_wib1_headers if format is WIB1 else _wibeth_headers)(frames, positions, headers)
    return headers


def _words(data: np.ndarray, dtype: str, positions: np.ndarray, offset: int) -> np.ndarray:
    size = np.dtype(dtype).itemsize
    data = np.ascontiguousarray(data)
    every = np.ndarray((len(data) - size + 1,), dtype, data.data, 0, (1,))
    return every[positions + offset]


def _wib1_headers(data: np.ndarray, positions: np.ndarray, headers: np.ndarray) -> None:
    first, second, low, high = (_words(data, "<u4", positions, 4 * n) for n in range(4))
    crate, slot, fiber = first >> 16 & 31, first >> 21 & 7, first >> 13 & 7
    headers["link"] = crate << 12 | slot << 8 | fiber
    # With z set, the upper 15 bits count something else.
    plain = high >> 31 == 0
    top = np.where(plain, high & 0x7FFFFFFF, high & 0xFFFF).astype(np.int64)
    headers["timestamp"] = low.astype(np.int64) | top << 32
    headers["signature"] = (first & 0xFF001FFF).astype(np.uint64) << np.uint64(32) | (
        (second & 0xFFFC) << 16 | high >> 31
    ).astype(np.uint64)
    headers["flags"] = (second >> 16) | (second & 3) << 16
    for block in range(4):
        at = _WIB1_HEADER + _WIB1_BLOCK * block
        headers["flags"] |= (_words(data, "<u4", positions, at) & 0xFF) << 18
        headers["flags"] |= (_words(data, "<u4", positions, at + 8) & 0xFFFF) << 8
    headers["counter"] = _words(data, "<u2", positions, _WIB1_HEADER + 6)


def _wibeth_headers(data: np.ndarray, positions: np.ndarray, headers: np.ndarray) -> None:
    first, stamp, second = (_words(data, "<u8", positions, 8 * n) for n in range(3))
    detector, crate, slot, stream = (
        first >> np.uint64(shift) & np.uint64((1 << bits) - 1)
        for shift, bits in ((6, 6), (12, 10), (22, 4), (26, 8))
    )
    headers["link"] = (
        detector << np.uint64(22) | crate << np.uint64(12) | slot << np.uint64(8) | stream
    )
    headers["timestamp"] = stamp.view(np.int64)
    headers["counter"] = first >> np.uint64(40) & np.uint64(0xFFF)
    headers["flags"] = second >> np.uint64(33) & np.uint64(0b10011)  # CRC errors, loss of lock
    # Version, detector, reserved bits and block length; then version and padding of the second.
    fixed = first & np.uint64(0xFFF000FC00000FFF)
    headers["signature"] = (
        fixed
        | (second >> np.uint64(52) & np.uint64(0xF)) << np.uint64(40)
        | (second >> np.uint64(15) & np.uint64(0x10001)) << np.uint64(12)
    )


def decode_wib1(frames: np.ndarray) -> np.ndarray:
    """Samples uint16 (frames, 256) of WIB1 frames, uint8 (frames, 464): 12 bits each.

    Channel 64 b + 8 a + c is channel c of ADC a in COLDATA block b; channels 0 to 127 are one
    front-end board, 128 to 255 the other.
    """
    frames = check_frames(WIB1, frames)
    out = np.empty((len(frames), WIB1.channels), np.uint16)
    tile = max(1, _TILE_BYTES // WIB1.frame_bytes)
    for start in range(0, len(frames), tile):
        part = np.ascontiguousarray(frames[start : start + tile])
        words = part.view("<u2").reshape(len(part), WIB1.frame_bytes // 2)[:, 8:]
        # Blocks, pairs of ADCs, halves of their channels, halves again, three words of 2 bytes:
        # the low bytes hold two samples of the first ADC, the high bytes two of the second.
        words = words.reshape(-1, 4, 56)[:, :, 8:].reshape(-1, 4, 4, 2, 2, 3)
        a, b, c = words[..., 0], words[..., 1], words[..., 2]
        # Blocks, pairs, ADC of the pair, halves, halves again, channel.
        put = out[start : start + tile].reshape(-1, 4, 4, 2, 2, 2, 2)
        put[:, :, :, 0, :, :, 0] = (a & 0xFF) | (b & 0x0F) << 8
        put[:, :, :, 0, :, :, 1] = (b >> 4 & 0x0F) | (c & 0xFF) << 4
        put[:, :, :, 1, :, :, 0] = (a >> 8) | (b & 0x0F00)
        put[:, :, :, 1, :, :, 1] = (b >> 12) | (c >> 4 & 0x0FF0)
    return out


def decode_wibeth(frames: np.ndarray) -> np.ndarray:
    """Samples uint16 (frames, 64 ticks, 64 channels) of WIBEth frames, uint8 (frames, 7200).

    A tick is 112 bytes; channel c holds the bits 14 c to 14 c + 13 of them.
    """
    frames = check_frames(WIBETH, frames)
    out = np.empty((len(frames), WIBETH.ticks, WIBETH.channels), np.uint16)
    groups = WIBETH.ticks * _ETH_ROW // 7
    lanes = out.reshape(len(frames), groups * 4).view("<u8")
    tile = max(1, _TILE_BYTES // WIBETH.frame_bytes)
    for start in range(0, len(frames), tile):
        part = np.ascontiguousarray(frames[start : start + tile])
        # Four samples are 7 bytes. Eight are read, from the byte before, so none lies outside.
        read = np.ndarray(
            (len(part), groups), "<u8", part.data, _ETH_HEADER - 1, (WIBETH.frame_bytes, 7)
        )
        word = read >> np.uint64(8)
        word = word & np.uint64(0x0FFFFFFF) | (word & np.uint64(0xFFFFFFF0000000)) << np.uint64(4)
        low = word & np.uint64(0x00003FFF00003FFF)
        word &= np.uint64(0x0FFFC0000FFFC000)
        word <<= np.uint64(2)
        np.bitwise_or(low, word, out=lanes[start : start + tile])
    return out


def decode(format: FrameFormat, frames: np.ndarray) -> np.ndarray:
    """Samples uint16 (frames, ticks of a frame, channels) of frames of either format."""
    return decode_wib1(frames)[:, None, :] if format is WIB1 else decode_wibeth(frames)


def check_frames(format: FrameFormat, frames: np.ndarray) -> np.ndarray:
    """The frames, if they are uint8 (frames, bytes) of the format; else raises InputError."""
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 2 or frames.shape[1] != format.frame_bytes:
        raise InputError(
            f"{frames.dtype} {frames.shape} are no {format.name} frames",
            f"give uint8 (frames, {format.frame_bytes})",
        )
    return frames


def encode_wib1(
    samples: np.ndarray, *, first_timestamp: int, links: tuple[Link, ...] = (Link(0, 1, 0, 1),)
) -> np.ndarray:
    """WIB1 frames uint8 (ticks x links, 464) of samples uint16 (ticks, 256 x links) of 12 bits.

    Tick by tick, within a tick link by link; 25 counts from tick to tick. Raises InputError for
    other shapes, samples above 4095, and links or timestamps that do not fit in the header.
    """
    samples = _checked_samples(WIB1, samples, links, first_timestamp)
    ticks = len(samples)
    frames = np.zeros((ticks, len(links), WIB1.frame_bytes), np.uint8)
    words = frames.view("<u4")
    for n, link in enumerate(links):
        if link.detector or link.crate > 31 or link.slot > 7 or link.stream > 7:
            raise InputError(
                f"{link} does not fit in a WIB1 header",
                "give detector 0, crate 0 to 31, slot and stream 0 to 7",
            )
        words[:, n, 0] = 1 << 8 | link.stream << 13 | link.crate << 16 | link.slot << 21
    stamps = first_timestamp + WIB1.step * np.arange(ticks, dtype=np.int64)
    words[:, :, 2] = (stamps & 0xFFFFFFFF)[:, None]
    words[:, :, 3] = (stamps >> 32)[:, None]
    count = (stamps // WIB1.step % WIB1.counter).astype(np.uint32)
    for block in range(4):
        words[:, :, 4 + 28 * block + 1] = count[:, None] << 16
    body = frames[:, :, _WIB1_HEADER:].reshape(ticks, len(links), 4, _WIB1_BLOCK)[..., 16:]
    put = body.reshape(ticks, len(links), 4, 4, 2, 2, 6)
    got = samples.reshape(ticks, len(links), 4, 4, 2, 2, 2, 2)
    for adc in range(2):
        even, odd = got[:, :, :, :, adc, :, :, 0], got[:, :, :, :, adc, :, :, 1]
        put[..., adc] = even & 0xFF
        put[..., 2 + adc] = even >> 8 | (odd & 0x0F) << 4
        put[..., 4 + adc] = odd >> 4
    return frames.reshape(-1, WIB1.frame_bytes)


def encode_wibeth(
    samples: np.ndarray, *, first_timestamp: int, links: tuple[Link, ...] = (Link(3, 1, 0, 0),)
) -> np.ndarray:
    """WIBEth frames uint8 (ticks / 64 x links, 7200) of samples uint16 (ticks, 64 x links).

    64 ticks at a time, within them link by link; 2048 counts from frame to frame. Raises InputError
    for other shapes, ticks that are no multiple of 64, samples above 16383, and links or timestamps
    that do not fit in the header.
    """
    samples = _checked_samples(WIBETH, samples, links, first_timestamp)
    count = len(samples) // WIBETH.ticks
    frames = np.zeros((count, len(links), WIBETH.frame_bytes), np.uint8)
    words = frames.view("<u8")
    stamps = first_timestamp + WIBETH.counts * np.arange(count, dtype=np.int64)
    sequence = (stamps // WIBETH.counts % WIBETH.counter).astype(np.uint64)
    for n, link in enumerate(links):
        fixed = 1 | link.detector << 6 | link.crate << 12 | link.slot << 22 | link.stream << 26
        fixed |= _ETH_WORDS_AFTER_HEADER << 52
        words[:, n, 0] = np.uint64(fixed) | sequence << np.uint64(40)
        words[:, n, 2] = (
            (stamps & 0x7FFF).astype(np.uint64)
            | (stamps & 0x7FFF).astype(np.uint64) << np.uint64(16)
            | np.uint64(0b11 << 35 | 1 << 43 | 1 << 52 | link.stream << 56)
        )
    words[:, :, 1] = stamps.view(np.uint64)[:, None]
    got = samples.reshape(count, WIBETH.ticks, len(links), WIBETH.channels).swapaxes(1, 2)
    lanes = np.ascontiguousarray(got).view("<u8")
    mask = np.uint64(0x3FFF)
    word = lanes & mask
    for n in range(1, 4):
        word |= (lanes >> np.uint64(16 * n) & mask) << np.uint64(14 * n)
    packed = word.reshape(-1, 1).view(np.uint8)[:, :7]
    frames[:, :, _ETH_HEADER:] = packed.reshape(count, len(links), _ETH_ROW * WIBETH.ticks)
    return frames.reshape(-1, WIBETH.frame_bytes)


def _checked_samples(
    format: FrameFormat, samples: np.ndarray, links: tuple[Link, ...], first_timestamp: int
) -> np.ndarray:
    samples = np.asarray(samples)
    columns = format.channels * len(links)
    if not links or samples.ndim != 2 or samples.shape[1] != columns:
        raise InputError(
            f"samples of shape {samples.shape} are no {len(links)} links of {format.name}",
            f"give (ticks, {format.channels} x links)",
        )
    if len({link_number(link) for link in links}) != len(links):
        raise InputError(f"{links!r} name a link twice", "give each link once")
    if samples.dtype.kind not in "ui" or len(samples) % format.ticks:
        raise InputError(
            f"{len(samples)} ticks of {samples.dtype} make no {format.name} frames",
            f"give whole numbers, and a multiple of {format.ticks} ticks",
        )
    if samples.size and not 0 <= samples.min() <= samples.max() < 1 << format.bits:
        raise InputError(
            f"samples from {samples.min()} to {samples.max()} do not fit in {format.bits} bits",
            f"give 0 to {(1 << format.bits) - 1}",
        )
    last = first_timestamp + format.step * len(samples)
    if not 0 <= first_timestamp <= last < 1 << 63:
        raise InputError(
            f"timestamps from {first_timestamp} to {last} do not fit in a header",
            "give 0 to 2^63 - 1",
        )
    return samples.astype("<u2", copy=False)
