"""Streams of DUNE's front end from whatever holds them: one function that looks at the content.

    with open_stream("run.hdf5") as stream:       # or .bin, .npy, .npz, a folder, a socket's file
        for block in stream:
            block.first_timestamp, block.samples, block.missing
    print(stream.faults.in_words())

All streams have ``channels``, ``bits``, ``counts_per_tick``, ``links``, ``faults`` and ``close``.
"""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hairtrigger.detectors.array_stream import ArrayStream, open_npz
from hairtrigger.detectors.dune_hdf5 import RecordStream
from hairtrigger.detectors.wib import FORMATS, FrameFormat, Link
from hairtrigger.detectors.wib_scan import first_timestamp, recognise_frames
from hairtrigger.detectors.wib_stream import BLOCK_TICKS, FrameStream
from hairtrigger.errors import InputError, StorageError

Stream = FrameStream | RecordStream | ArrayStream

LOOK_BYTES = 1 << 18
"""How much of a stream is looked at to tell what it is."""

_MAGIC = (
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"\x93NUMPY", "npy"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
)
_FOREIGN = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "gzip-compressed"),
    (b"BZh", "bzip2-compressed"),
    (b"\xfd7zXZ\x00", "xz-compressed"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed"),
    (b"root", "a ROOT file"),
    (b"\x7fELF", "a program"),
    (b"\x0a\x0d\x0d\x0a", "a pcapng capture"),
    (b"\xd4\xc3\xb2\xa1", "a pcap capture"),
)
_COMPRESSED = ("gzip", "bzip2", "xz", "zstd")


def open_stream(
    source: str | Path | BinaryIO | socket.socket,
    *,
    format: FrameFormat | str | None = None,
    block_ticks: int = BLOCK_TICKS,
    channels: Sequence[int] | np.ndarray | None = None,
    pattern: str = "*",
    bits: int = 14,
    **options: Any,
) -> Stream:
    """The stream in a file, a folder of frame files, a binary file object or a connected socket.

    What it is shows in its content: frames of WIB1 or WIBEth, HDF5 with trigger records or time
    slices, ``.npy``, ``.npz``. ``format`` (a FrameFormat or its name) says that frames are of that
    format, looked at or not. In a folder, files that match ``pattern`` are read: those that share a
    link one after the other, by their first timestamps, others side by side. ``bits`` of a sample
    is for arrays alone, ``options`` (see `FrameStream`) for frames alone. A socket's file object is
    read as data arrive, and closed with the stream.

    Raises StorageError for what is missing, empty or cannot be read, InputError for anything that
    is none of these, naming what it is.
    """
    wanted = _format(format)
    common = {"block_ticks": block_ticks, "channels": channels}
    if isinstance(source, str | Path):
        path = Path(source)
        if path.is_dir():
            return _open_folder(path, pattern, wanted, {**common, **options})
        file: Any = _Chain([path])
        name = str(path)
    else:
        file = source.makefile("rb") if isinstance(source, socket.socket) else source
        name = str(getattr(file, "name", "the stream"))
    try:
        head, file = _look(file, wanted is not None)
        kind = "frames" if wanted is not None else identify(head, name)
        if kind == "HDF5":
            if isinstance(source, str | Path):
                file.close()
            opened = source if isinstance(source, str | Path) else _rewound(source, name)
            return RecordStream(opened, **common, **options)
        if kind == "npy":
            return ArrayStream(file, name, bits=bits, **common)
        if kind == "zip":
            if isinstance(source, str | Path):
                file.close()
            opened = source if isinstance(source, str | Path) else _rewound(source, name)
            return open_npz(opened, name, bits=bits, **common)
        if wanted is None:
            wanted = _frames(head, name)[0]
        return FrameStream([(name, file)], wanted, **common, **options)
    except BaseException:
        if isinstance(source, str | Path):
            file.close()
        raise


def identify(head: bytes, name: str) -> str:
    """What begins like this: "HDF5", "npy", "zip" or "frames". Raises as `open_stream`."""
    if not head:
        raise StorageError(f"{name} is empty", "check what writes it")
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if any(head[at:].startswith(_MAGIC[0][0]) for at in (512, 1024, 2048, 4096, 8192)):
        return "HDF5"
    if recognise_frames(head) is not None:
        return "frames"
    found = next((what for magic, what in _FOREIGN if head.startswith(magic)), "")
    if not found:
        try:
            text = head[:4096].decode("utf-8", "strict")
            printable = all(c.isprintable() or c in "\r\n\t" for c in text)
        except UnicodeDecodeError:
            printable = False
        found = "text" if printable else "nothing that is known"
    compressed = found.startswith(_COMPRESSED)
    raise InputError(
        f"{name} is {found}, no frames of WIB1 or WIBEth, HDF5, .npy or .npz",
        "uncompress it first" if compressed else "give a file of the front end's data",
    )


def _format(format: FrameFormat | str | None) -> FrameFormat | None:
    if format is None or isinstance(format, FrameFormat):
        return format
    for known in FORMATS:
        if known.name.lower() == format.lower():
            return known
    raise InputError(
        f"format = {format!r} is not known",
        f"give one of {', '.join(known.name for known in FORMATS)}",
    )


def _frames(head: bytes, name: str) -> tuple[FrameFormat, tuple[Link, ...]]:
    found = recognise_frames(head)
    if found is None:
        identify(head, name)
        raise InputError(f"{name} holds no frames", "give a file of frames")
    return found


class _Head:
    """A file whose first bytes were read already."""

    def __init__(self, head: bytes, file: Any, name: str) -> None:
        self._head = memoryview(head)
        self._file = file
        self._read = getattr(file, "read1", file.read)
        self.name = name

    def read(self, size: int) -> bytes:
        if len(self._head):
            part, self._head = bytes(self._head[:size]), self._head[size:]
            return part
        return self._read(size)

    def close(self) -> None:
        self._file.close()


def _look(file: Any, known: bool) -> tuple[bytes, Any]:
    """The first bytes, and the file with them still to be read.

    Reads no further than it must: a live source may send little.
    """
    name = str(getattr(file, "name", "the stream"))
    if not hasattr(file, "read"):
        raise InputError(f"{file!r} cannot be read from", "give a path or a binary file object")
    if known:
        return b"", file
    read = getattr(file, "read1", file.read)
    head = b""
    while len(head) < LOOK_BYTES:
        try:
            part = read(LOOK_BYTES - len(head))
        except OSError as error:
            raise StorageError(f"{name} cannot be read: {error}", "check it") from error
        if isinstance(part, str):
            raise InputError(f"{name} is open as text", 'open it with mode "rb"')
        if not part:
            break
        head += part
        if any(head.startswith(magic) for magic, _ in _MAGIC):
            break
        if len(head) >= 4 * FORMATS[1].frame_bytes and recognise_frames(head) is not None:
            break
    return head, _Head(head, file, name)


def _rewound(file: Any, name: str) -> Any:
    try:
        file.seek(0)
    except (OSError, AttributeError) as error:
        raise InputError(
            f"{name} holds HDF5 or .npz, which cannot be read from a stream without seek",
            "write it to a file first",
        ) from error
    return file


class _Chain:
    """Files read one after the other, as one."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = list(paths)
        self._file: Any = None
        more = f" to {paths[-1]}" if len(paths) > 1 else ""
        self.name = f"{paths[0]}{more}"

    def read(self, size: int) -> bytes:
        while self._file is not None or self._paths:
            if self._file is None:
                path = self._paths.pop(0)
                try:
                    self._file = open(path, "rb")  # noqa: SIM115
                except OSError as error:
                    raise StorageError(f"{path} cannot be read: {error}", "check it") from error
            data = self._file.read1(size)  # a pipe gives what it has
            if data:
                return data
            self._file.close()
            self._file = None
        return b""

    def close(self) -> None:
        self._paths = []
        if self._file is not None:
            self._file.close()


def _open_folder(
    path: Path, pattern: str, wanted: FrameFormat | None, options: dict[str, Any]
) -> FrameStream:
    """The frame files of a folder, those that share a link one after the other."""
    paths = sorted(p for p in path.glob(pattern) if p.is_file() and not p.name.startswith("."))
    if not paths:
        raise StorageError(f"{path} has no files that match {pattern!r}", "check the folder")
    found: list[tuple[int, Path, FrameFormat, set[Link]]] = []
    for file in paths:
        with open(file, "rb") as opened:
            head = opened.read(LOOK_BYTES)
        kind = identify(head, str(file))
        if kind != "frames":
            raise InputError(
                f"{file} is {kind}, but a folder is read only where its files hold frames",
                f"give the file itself, or a pattern that leaves it out (now {pattern!r})",
            )
        format, links = _frames(head, str(file))
        found.append((first_timestamp(head, format), file, format, set(links)))
    formats = {entry[2].name for entry in found}
    if len(formats) > 1 or (wanted is not None and wanted.name not in formats):
        raise InputError(
            f"{path} holds frames of {' and '.join(sorted(formats))}",
            "give a pattern that takes the files of one format",
        )
    found.sort(key=lambda entry: entry[:2])
    chains: list[tuple[set[Link], list[int]]] = []
    for n, (*_, links) in enumerate(found):
        shared = [chain for chain in chains if chain[0] & links]
        chains = [chain for chain in chains if not chain[0] & links]
        numbers = sorted([n, *(m for _, chain in shared for m in chain)])
        chains.append((links.union(*(own for own, _ in shared)), numbers))
    sources = [_Chain([found[n][1] for n in numbers]) for _, numbers in chains]
    return FrameStream([(chain.name, chain) for chain in sources], found[0][2], **options)
