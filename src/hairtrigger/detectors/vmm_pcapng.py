"""Captures of network traffic: the UDP datagrams in a pcapng or pcap file, read a piece at a time.

    with open("run.pcapng", "rb") as file:
        for datagram in datagrams(file, "run.pcapng", faults):
            datagram.payload, datagram.port

pcapng as in the IETF's draft-ietf-opsawg-pcapng: a chain of blocks, each with its length at both
ends, in the byte order that the section's first block tells; pcap as in draft-ietf-opsawg-pcap.
Packets may be Ethernet (with VLAN tags), raw IP, or Linux "cooked". Only IPv4 is looked into.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from hairtrigger.detectors.wib_faults import Faults

SECTION, INTERFACE, SIMPLE_PACKET, PACKET = 0x0A0D0D0A, 1, 3, 6
ORDER_MAGIC = 0x1A2B3C4D
PCAP_MAGICS = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}
"""Magic numbers of pcap, and nanoseconds in its fraction of a second."""

ETHERNET, RAW_IP, COOKED = 1, (12, 14, 101, 228), 113
IPV4, VLAN_TAGS, UDP = 0x0800, (0x8100, 0x88A8), 17
MAX_PACKET = 1 << 18
"""The longest packet that is believed; that of tcpdump and Wireshark."""

MAX_BLOCK = 1 << 20
"""The longest block that is believed."""

CHUNK = 1 << 20


class Packet(NamedTuple):
    """One packet: its place in the file, its bytes, how long it was on the wire, what it begins
    with (LINKTYPE), and when it was seen (Unix time in ns, 0 where the block does not tell)."""

    offset: int
    data: bytes
    wire_bytes: int
    link_type: int
    time_ns: int


class Datagram(NamedTuple):
    """The payload of one UDP datagram, the port that it was sent to, and where it lies."""

    offset: int
    payload: bytes
    port: int
    time_ns: int


class _Bytes:
    """The bytes of a file from a place on, of which as many are held as are asked for."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.data = b""
        self.at = 0
        self._base = 0
        self._ended = False

    @property
    def offset(self) -> int:
        return self._base + self.at

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def have(self, size: int) -> bool:
        """Whether so many bytes follow; they are then at ``data[at:]``."""
        while self.left < size and not self._ended:
            more = self._file.read(max(CHUNK, size))
            self._ended = not more
            self._base += self.at
            self.data = self.data[self.at :] + more
            self.at = 0
        return self.left >= size


class Gunzip:
    """A gzipped file read as what was in it, up to where it is cut short or damaged.

    The standard library's reader raises there, and loses what it had unpacked already.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._unpacker = zlib.decompressobj(wbits=31)
        self._packed = b""

    def read(self, size: int) -> bytes:
        """At least one byte and at most ``size``, or none at the end."""
        while True:
            if self._unpacker.eof:  # another member may follow
                self._packed = self._unpacker.unused_data + self._packed
                self._unpacker = zlib.decompressobj(wbits=31)
            packed = self._packed or self._file.read(CHUNK)
            if not packed:
                return b""
            try:
                data = self._unpacker.decompress(packed, size)
            except zlib.error:
                return b""
            self._packed = self._unpacker.unconsumed_tail
            if data:
                return data


def is_capture(head: bytes) -> bool:
    """Whether a file that begins with these bytes (at least 12) is a pcapng or pcap capture."""
    if head[:4] == b"\x0a\x0d\x0d\x0a":
        return _section_order(head) is not None
    return _pcap_order(head) is not None


def packets(file: Any, source: str, faults: Faults) -> Iterator[Packet]:
    """The packets of an open binary file that `is_capture`. What is broken is counted in
    ``faults`` (broken block, truncated) and skipped; nothing is raised for what the file holds."""
    held = _Bytes(file)
    held.have(12)
    if _pcap_order(held.data) is not None:
        yield from _pcap_packets(held, source, faults)
    else:
        yield from _pcapng_packets(held, source, faults)


def datagrams(file: Any, source: str, faults: Faults) -> Iterator[Datagram]:
    """The UDP datagrams of a capture. Fragments of IP, packets cut short in the capture and other
    traffic are counted in ``faults`` and skipped."""
    for packet in packets(file, source, faults):
        if len(packet.data) < packet.wire_bytes:
            faults.add("truncated", 1, [f"byte {packet.offset} of {source}"])
            continue
        found = _udp(packet)
        if isinstance(found, str):
            faults.add(found, 1, [f"byte {packet.offset} of {source}"])
        else:
            yield Datagram(packet.offset, *found, packet.time_ns)


def _section_order(head: bytes) -> str | None:
    for order in "<>":
        if len(head) >= 12 and struct.unpack_from(order + "I", head, 8)[0] == ORDER_MAGIC:
            return order
    return None


def _pcap_order(head: bytes) -> str | None:
    for order in "<>":
        if len(head) >= 4 and struct.unpack_from(order + "I", head)[0] in PCAP_MAGICS:
            return order
    return None


def _pcapng_packets(held: _Bytes, source: str, faults: Faults) -> Iterator[Packet]:
    order = "<"
    interfaces: list[tuple[int, Callable[[int], int]]] = []  # link type, ticks to ns
    while held.have(1):
        length = _block_length(held, order)
        if length is None:
            _search(held, order, source, faults)
            continue
        at, data, offset = held.at, held.data, held.offset
        held.at += length
        (kind,) = struct.unpack_from(order + "I", data, at)
        if kind == SECTION:
            order = _section_order(data[at : at + 12]) or order
            interfaces = []
        elif kind == INTERFACE and length >= 20:
            interfaces.append(_interface(data[at : at + length], order))
        elif kind == PACKET and length >= 32:
            number, high, low, kept, wire = struct.unpack_from(order + "5I", data, at + 8)
            if number >= len(interfaces) or kept > length - 32 or kept > wire:
                faults.add("broken block", 1, [f"byte {offset} of {source}"])
                continue
            link_type, to_ns = interfaces[number]
            body = data[at + 28 : at + 28 + kept]
            yield Packet(offset, body, wire, link_type, to_ns(high << 32 | low))
        elif kind == SIMPLE_PACKET and length >= 16 and interfaces:
            (wire,) = struct.unpack_from(order + "I", data, at + 8)
            body = data[at + 12 : at + 12 + min(wire, length - 16)]
            yield Packet(offset, body, wire, interfaces[0][0], 0)


def _block_length(held: _Bytes, order: str) -> int | None:
    """The length of the block that begins here, where it is whole and says it at both ends."""
    if not held.have(12):
        return None
    kind, length = struct.unpack_from(order + "2I", held.data, held.at)
    if kind == SECTION:  # may be in the other order
        order = _section_order(held.data[held.at : held.at + 12]) or order
        (length,) = struct.unpack_from(order + "I", held.data, held.at + 4)
    if length < 12 or length % 4 or length > MAX_BLOCK or not held.have(length):
        return None
    (again,) = struct.unpack_from(order + "I", held.data, held.at + length - 4)
    return length if again == length else None


def _search(held: _Bytes, order: str, source: str, faults: Faults) -> None:
    """Go on to the next packet block, or to the end of the file; count what is skipped."""
    start = held.offset
    begin = struct.pack(order + "I", PACKET)
    held.at += 1
    while held.have(12):
        place = held.data.find(begin, held.at)
        if place < 0:
            held.at = len(held.data) - 3
            if not held.have(12):
                break
            continue
        held.at = place
        if _block_length(held, order) is not None:
            faults.add("broken block", 1, [f"byte {start} of {source}"])
            return
        held.at += 1
    held.at = len(held.data)
    faults.add("truncated", 1, [f"byte {start} of {source}"])


def _interface(block: bytes, order: str) -> tuple[int, Callable[[int], int]]:
    """Link type, and the function from ticks of its clock to ns (option if_tsresol, or us)."""
    (link_type,) = struct.unpack_from(order + "H", block, 8)
    at, resolution = 16, 6
    while at + 4 <= len(block) - 4:
        code, size = struct.unpack_from(order + "2H", block, at)
        if code == 0:
            break
        if code == 9 and size == 1 and at + 5 <= len(block) - 4:
            resolution = block[at + 4]
        at += 4 + (size + 3) // 4 * 4
    per_second = 1 << (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    return link_type, lambda ticks: ticks * 1_000_000_000 // per_second


def _pcap_packets(held: _Bytes, source: str, faults: Faults) -> Iterator[Packet]:
    order = _pcap_order(held.data) or "<"
    if not held.have(24):
        faults.add("truncated", 1, [f"byte 0 of {source}"])
        return
    fraction = PCAP_MAGICS[struct.unpack_from(order + "I", held.data)[0]]
    link_type = struct.unpack_from(order + "I", held.data, 20)[0] & 0xFFFF
    held.at += 24
    while held.have(1):
        offset = held.offset
        whole = held.have(16)
        if whole:
            second, part, kept, wire = struct.unpack_from(order + "4I", held.data, held.at)
            if kept > MAX_PACKET or kept > wire:  # nothing tells where the next begins
                faults.add("broken block", 1, [f"byte {offset} of {source}"])
                return
            whole = held.have(16 + kept)
        if not whole:
            faults.add("truncated", 1, [f"byte {offset} of {source}"])
            return
        body = held.data[held.at + 16 : held.at + 16 + kept]
        held.at += 16 + kept
        yield Packet(offset, body, wire, link_type, second * 1_000_000_000 + part * fraction)


def _udp(packet: Packet) -> tuple[bytes, int] | str:
    """Payload and port of a packet's datagram, or the kind of fault."""
    data = packet.data
    at = _network_layer(data, packet.link_type)
    if at is None or len(data) < at + 20 or data[at] >> 4 != 4:
        return "other traffic"
    header = (data[at] & 15) * 4
    (total,) = struct.unpack_from(">H", data, at + 2)
    if data[at + 9] != UDP:
        return "other traffic"
    if header < 20 or total < header + 8 or at + total > len(data):
        return "corrupt"
    if struct.unpack_from(">H", data, at + 6)[0] & 0x3FFF:  # more fragments, or an offset
        return "fragment"
    port, length = struct.unpack_from(">2H", data, at + header + 2)
    if length < 8 or length > total - header:
        return "corrupt"
    return data[at + header + 8 : at + header + length], port


def _network_layer(data: bytes, link_type: int) -> int | None:
    """Where the IPv4 header begins; None for anything else."""
    if link_type in RAW_IP:
        return 0
    if link_type == COOKED:
        return 16 if data[14:16] == b"\x08\x00" else None
    if link_type != ETHERNET:
        return None
    at = 12
    while len(data) >= at + 2:
        kind = data[at] << 8 | data[at + 1]
        if kind not in VLAN_TAGS:
            return at + 2 if kind == IPV4 else None
        at += 4
    return None
