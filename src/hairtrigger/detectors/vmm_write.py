"""Writing recorded hits as the readouts send them: frames of the SRS or the ESS, in a capture.

    frames = encode_srs(hits)
    write_pcapng("run.pcapng", frames)

What is read back is what was written: fec, vmm, channel, adc, bcid, tdc, over_threshold, and of the
time offset and marker. Simulated hits become a capture that other people's tools can read.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hairtrigger.detectors.vmm_frames import (
    ESS_CLOCK_HZ,
    ESS_FENS,
    ESS_HEADERS,
    ESS_READOUT,
    ESS_RINGS,
    MARKER_BITS,
    SRS_WORD,
)
from hairtrigger.detectors.vmm_hits import ADC_MAX, BCID_MAX, CHANNELS, HIT_DTYPE, VMMS
from hairtrigger.detectors.vmm_pcapng import (
    ETHERNET,
    INTERFACE,
    IPV4,
    ORDER_MAGIC,
    PACKET,
    SECTION,
    UDP,
)
from hairtrigger.errors import InputError, StorageError

SRS_PORT, ESS_PORT = 6006, 9000
MAX_WORDS, MAX_READOUTS = 1493, 446
"""Words and readouts that fit a frame of 8972 bytes, the payload of a jumbo packet."""


def encode_srs(
    hits: np.ndarray,
    *,
    words: int = MAX_WORDS,
    first_counter: int = 0,
    old_offsets: bool = False,
) -> list[bytes]:
    """SRS frames of hits (HIT_DTYPE), in their order, a new frame where the card changes.

    A time marker goes before the first hit of a chip and where its marker changes; a hit with a
    marker of 0 must come before all markers of its chip. Each card counts its frames from
    ``first_counter``; a frame holds at most ``words``. ``offset`` is -1 to 15, or with
    ``old_offsets`` 0 to 31, as old firmware counts. Raises InputError for numbers out of range.
    """
    offsets = (0, 31) if old_offsets else (-1, 15)
    marks = (0, (1 << MARKER_BITS) - 1)
    _check(hits, {"fec": (1, VMMS - 1), "offset": offsets, "marker": marks})
    key = hits["fec"] * np.uint16(VMMS) + hits["vmm"]
    order = np.argsort(key, kind="stable")
    changed = np.ones(len(hits), bool)
    changed[1:] = (np.diff(key[order].astype(int)) != 0) | (
        hits["marker"][order][1:] != hits["marker"][order][:-1]
    )
    needs = np.zeros(len(hits), bool)
    needs[order] = changed & (hits["marker"][order] > 0)

    at = np.arange(len(hits)) + np.cumsum(needs)
    out = np.zeros(len(hits) + int(needs.sum()), SRS_WORD)
    offset = hits["offset"].astype(np.int64) & 0x1F
    gray = hits["bcid"].astype(np.int64) ^ (hits["bcid"].astype(np.int64) >> 1)
    vmm = hits["vmm"].astype(np.int64)
    out["high"][at] = offset << 27 | vmm << 22 | hits["adc"].astype(np.int64) << 12 | gray
    flag = hits["over_threshold"].astype(np.int64) << 14
    out["low"][at] = 1 << 15 | flag | hits["channel"].astype(np.int64) << 8 | hits["tdc"]
    marker = hits["marker"][needs].astype(np.int64)
    out["high"][at[needs] - 1] = marker >> 10
    out["low"][at[needs] - 1] = vmm[needs] << 10 | marker & 0x3FF

    fec = np.zeros(len(out), np.int64)
    fec[at] = hits["fec"]
    fec[at[needs] - 1] = hits["fec"][needs]
    frames, counters = [], dict.fromkeys(range(VMMS), first_counter)
    for start, stop in _pieces(fec, words):
        card = int(fec[start])
        head = struct.pack(">I3sBII", counters[card] & 0xFFFFFFFF, b"VM3", card << 4, 0, 0)
        counters[card] += 1
        frames.append(head + out[start:stop].tobytes())
    return frames


def encode_ess(
    hits: np.ndarray, *, readouts: int = MAX_READOUTS, version: int = 0, first_counter: int = 0
) -> list[bytes]:
    """ESS frames of hits (HIT_DTYPE), in their order, of output queue 0.

    ``fec`` is 32 (ring // 2) + fen, ``marker`` the time in counts of 88.0525 MHz, and
    ``first_counter`` the first sequence number. Raises InputError for numbers out of range.
    """
    _check(hits, {"marker": (0, ((1 << 32) * ESS_CLOCK_HZ) - 1)})
    ring, fen = hits["fec"] // 32 * 2, hits["fec"] % 32
    if version not in ESS_HEADERS or (
        len(hits) and (ring.max() >= ESS_RINGS or fen.max() >= ESS_FENS)
    ):
        raise InputError(
            f"version {version!r}, or a fec beyond {ESS_RINGS} rings of {ESS_FENS} nodes",
            "give version 0 or 1, and fec = 32 (ring // 2) + fen",
        )
    out = np.zeros(len(hits), ESS_READOUT)
    out["ring"], out["fen"], out["length"] = ring, fen, ESS_READOUT.itemsize
    out["seconds"], out["counts"] = np.divmod(hits["marker"], np.uint64(ESS_CLOCK_HZ))
    for name in ("bcid", "tdc", "vmm", "channel"):
        out[name] = hits[name]
    out["adc"] = hits["adc"] | hits["over_threshold"].astype(np.uint16) << 15
    frames = []
    for start, stop in _pieces(np.zeros(len(out)), readouts):
        body = out[start:stop].tobytes()
        length = ESS_HEADERS[version] + len(body)
        second = int(out["seconds"][start])
        head = struct.pack("<BB3sBHBB", 0, version, b"ESS", 0x44, length, 0, 0)
        counter = (first_counter + len(frames)) & 0xFFFFFFFF
        head += struct.pack("<5I", second, 0, second, 0, counter)
        frames.append(head.ljust(ESS_HEADERS[version], b"\0") + body)
    return frames


def _check(hits: np.ndarray, more: dict[str, tuple[int, int]]) -> None:
    if not isinstance(hits, np.ndarray) or hits.dtype != HIT_DTYPE:
        raise InputError("hits are no table of HIT_DTYPE", "make one with np.zeros(n, HIT_DTYPE)")
    limits = {
        "vmm": (0, VMMS - 1),
        "channel": (0, CHANNELS - 1),
        "adc": (0, ADC_MAX),
        "bcid": (0, BCID_MAX),
        **more,
    }
    for name, (low, high) in limits.items():
        wrong = (hits[name] < low) | (hits[name] > high)
        if wrong.any():
            row = int(wrong.argmax())
            raise InputError(
                f"{name} of hit {row} is {hits[name][row]}, not {low} to {high}",
                "a VMM and its readout cannot send it",
            )


def _pieces(source: np.ndarray, size: int) -> list[tuple[int, int]]:
    """Where frames start and end: at most ``size`` words, all of one source."""
    if size < 1:
        raise InputError(f"{size} words a frame", "give at least 1")
    ends = np.append(np.flatnonzero(np.diff(source) != 0) + 1, len(source))
    pieces, start = [], 0
    for end in ends.tolist():
        pieces += [(at, min(at + size, end)) for at in range(start, end, size)]
        start = end
    return pieces


def write_pcapng(
    path: str | Path,
    payloads: Sequence[bytes],
    *,
    port: int = SRS_PORT,
    start_ns: int = 0,
    step_ns: int = 1000,
    big_endian: bool = False,
) -> None:
    """A pcapng capture of one Ethernet interface with a UDP datagram for each payload.

    Packet ``n`` is stamped ``start_ns + n * step_ns`` (Unix time in ns). Raises StorageError where
    the file cannot be written, InputError for a payload that no packet can hold.
    """
    order = ">" if big_endian else "<"
    blocks = [
        _block(order, SECTION, struct.pack(order + "IHHq", ORDER_MAGIC, 1, 0, -1)),
        _block(order, INTERFACE, struct.pack(order + "HHIHHB3xHH", ETHERNET, 0, 0, 9, 1, 9, 0, 0)),
    ]
    for number, payload in enumerate(payloads):
        packet = udp_packet(payload, port)
        stamp = start_ns + number * step_ns
        head = struct.pack(
            order + "5I", 0, stamp >> 32, stamp & 0xFFFFFFFF, len(packet), len(packet)
        )
        blocks.append(_block(order, PACKET, head + packet))
    try:
        Path(path).write_bytes(b"".join(blocks))
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}", "check the folder") from error


def udp_packet(payload: bytes, port: int) -> bytes:
    """An Ethernet packet of one UDP datagram from 10.0.0.2 to 10.0.0.3, without checksums."""
    total = 28 + len(payload)
    if total > 0xFFFF:
        raise InputError(f"a payload of {len(payload)} bytes", "no IP packet holds over 65,507")
    ethernet = b"\x02\x00\x00\x00\x00\x03\x02\x00\x00\x00\x00\x02" + struct.pack(">H", IPV4)
    hosts = bytes([10, 0, 0, 2, 10, 0, 0, 3])
    network = struct.pack(">BBHHHBBH", 0x45, 0, total, 0, 0, 64, UDP, 0) + hosts
    return ethernet + network + struct.pack(">4H", port, port, 8 + len(payload), 0) + payload


def _block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length
