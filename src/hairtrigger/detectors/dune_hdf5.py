"""DUNE's HDF5 files: trigger records and time slices, their fragments, and the frames in them.

    for record in read_records("run.hdf5"):
        record.number, record.trigger_timestamp, [f.name for f in record.fragments]
    for block in RecordStream("run.hdf5"):          # or dune_files.open_stream
        block.record, block.samples

Layouts are those of DUNE-DAQ's hdf5libs, headers those of its daqdataformats. From version 3 of the
layout on, ``TriggerRecord00001.0000/RawData/Detector_Readout_0x00000000_WIBEth``; before that
``TriggerRecord000001.0000/TPC/APA001/Link00``, first without the sequence number. A fragment is a
dataset of bytes: a header (68, 80 or 72 bytes, by its version), then frames. Needs h5py.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hairtrigger.detectors.wib import FrameFormat, Link
from hairtrigger.detectors.wib_blocks import Block
from hairtrigger.detectors.wib_faults import Faults
from hairtrigger.detectors.wib_scan import recognise_frames
from hairtrigger.detectors.wib_stream import FrameStream
from hairtrigger.errors import InputError, StorageError, ToolError

RECORD_NAME = re.compile(r"(TriggerRecord|TimeSlice)(\d+)(?:\.(\d+))?")

FRAGMENT_MARKER = 0x11112222
TRIGGER_MARKER = 0x33334444
SLICE_MARKER = 0x55556666
WIB1_TYPE, WIBETH_TYPE = 1, 12
"""Types of fragments; before headers of version 4, type 1 was any data of a TPC."""

_START = [
    ("marker", "<u4"),
    ("version", "<u4"),
    ("size", "<u8"),
    ("trigger_number", "<u8"),
    ("trigger_timestamp", "<u8"),
    ("window_begin", "<u8"),
    ("window_end", "<u8"),
    ("run", "<u4"),
]
SOURCE = [("source_version", "<u2"), ("subsystem", "<u2"), ("source_id", "<u4")]
_FRAGMENT = {
    1: [*_START, ("geo", "<u8"), ("error_bits", "<u4"), ("type", "<u4")],
    3: [
        *_START,
        ("error_bits", "<u4"),
        ("type", "<u4"),
        ("sequence", "<u2"),
        ("unused", "<u2"),
        ("geo", "<u4", (4,)),
    ],
    5: [
        *_START,
        ("error_bits", "<u4"),
        ("type", "<u4"),
        ("sequence", "<u2"),
        ("detector", "<u2"),
        *SOURCE,
    ],
}
"""Fragment headers by version; 2 is like 3 but for names, 4 and 6 are like 5."""
FRAGMENT_HEADERS = {
    version: np.dtype(_FRAGMENT[like])
    for version, like in ((1, 1), (2, 3), (3, 3), (4, 5), (5, 5), (6, 5))
}

TRIGGER_HEADER = np.dtype(
    [
        ("marker", "<u4"),
        ("version", "<u4"),
        ("number", "<u8"),
        ("timestamp", "<u8"),
        ("components", "<u8"),
        ("run", "<u4"),
    ]
)
SLICE_HEADER = np.dtype(
    [("marker", "<u4"), ("version", "<u4"), ("number", "<u8"), ("run", "<u4"), ("unused", "<u4")]
)
_INCOMPLETE = 0b111
"""Bits of a fragment's status: data not found, incomplete, window invalid."""

_LOOK_BYTES = 1 << 16


@dataclass(frozen=True)
class Fragment:
    """A fragment of frames: its dataset, what its header says, and where the frames begin."""

    name: str
    format: FrameFormat
    links: tuple[Link, ...]
    window_begin: int
    window_end: int
    error_bits: int
    start: int
    stop: int


@dataclass(frozen=True)
class Record:
    """A trigger record or a time slice. ``trigger_timestamp`` and ``run`` are None if it has no
    header that can be read. ``fragments`` holds those with frames; ``others`` counts the rest."""

    name: str
    kind: str
    number: int
    sequence: int
    trigger_timestamp: int | None
    run: int | None
    fragments: tuple[Fragment, ...]
    others: int


def import_h5py() -> Any:
    """h5py, or ToolError saying how to install it."""
    try:
        import h5py
    except ImportError as error:
        raise ToolError(f"h5py cannot be imported: {error}", "pip install h5py") from error
    return h5py


def read_records(source: Any, faults: Faults | None = None) -> list[Record]:
    """All records of a file (a path, a seekable binary file, or an open h5py.File), in order.

    Only headers and the first frames are read. Fragments that are cut short or have no header are
    counted in ``faults`` and left out. Raises ToolError without h5py; StorageError for a file that
    is missing, damaged or no HDF5; InputError for HDF5 without records of DUNE.
    """
    h5py = import_h5py()
    faults = Faults() if faults is None else faults
    if isinstance(source, h5py.File):
        return _records(source, h5py, faults)
    with _opened(source, h5py) as file:
        return _records(file, h5py, faults)


def _opened(source: Any, h5py: Any) -> Any:
    if isinstance(source, str | Path) and not Path(source).is_file():
        raise StorageError(f"{source} is no file", "check the path")
    try:
        return h5py.File(source, "r")
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise StorageError(
            f"{_name(source)} is no HDF5 file, or is damaged: {error}", "copy it again"
        ) from error


def _name(source: Any) -> str:
    return str(source if isinstance(source, str | Path) else getattr(source, "name", "the stream"))


def _records(file: Any, h5py: Any, faults: Faults) -> list[Record]:
    matches = [(RECORD_NAME.fullmatch(name), name) for name in file]
    named = [(match, name) for match, name in matches if match]
    if not named:
        held = ", ".join(sorted(file)[:8]) or "nothing"
        raise InputError(
            f"{file.filename} is HDF5, but has no TriggerRecord or TimeSlice, only {held}",
            "give a file of DUNE's data acquisition",
        )
    records = []
    for match, name in named:
        try:
            datasets = _datasets(file[name], h5py)
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            faults.add("fragment", 1, [f"{name}: {error}"])
            continue
        records.append(_record(match, name, datasets, faults))
    return sorted(records, key=lambda record: (record.number, record.sequence))


def _datasets(group: Any, h5py: Any) -> list[Any]:
    if not isinstance(group, h5py.Group):
        raise ValueError("it is no group")
    found: list[Any] = []
    group.visititems(lambda _, item: found.append(item))
    return [item for item in found if isinstance(item, h5py.Dataset)]


def _record(match: re.Match, name: str, datasets: list[Any], faults: Faults) -> Record:
    fragments, others = [], 0
    timestamp = run = None
    for dataset in sorted(datasets, key=lambda dataset: dataset.name):
        try:
            head = read_bytes(dataset, 0, _LOOK_BYTES)
        except (OSError, ValueError, RuntimeError) as error:
            faults.add("fragment", 1, [f"{dataset.name}: {error}"])
            continue
        marker = int.from_bytes(head[:4], "little")
        if marker == TRIGGER_MARKER and len(head) >= TRIGGER_HEADER.itemsize:
            header = np.frombuffer(head[: TRIGGER_HEADER.itemsize], TRIGGER_HEADER)[0]
            timestamp, run = int(header["timestamp"]), int(header["run"])
        elif marker == SLICE_MARKER and len(head) >= SLICE_HEADER.itemsize:
            run = int(np.frombuffer(head[: SLICE_HEADER.itemsize], SLICE_HEADER)[0]["run"])
        else:
            fragment = _fragment(dataset, head, faults)
            if fragment is not None:
                fragments.append(fragment)
            else:
                others += 1
    kind, number, sequence = match.groups()
    return Record(
        name, kind, int(number), int(sequence or 0), timestamp, run, tuple(fragments), others
    )


def _fragment(dataset: Any, head: bytes, faults: Faults) -> Fragment | None:
    """The fragment of frames in a dataset, or None; a fault if it ought to be one."""
    dtype = FRAGMENT_HEADERS.get(int.from_bytes(head[4:8], "little"))
    problem = ""
    if int.from_bytes(head[:4], "little") != FRAGMENT_MARKER:
        problem = "it does not begin with a fragment's marker"
    elif dtype is None:
        problem = f"version {int.from_bytes(head[4:8], 'little')} of the header is not known"
    elif len(head) < dtype.itemsize:
        problem = f"{len(head)} bytes hold no header"
    if problem or dtype is None:
        faults.add("fragment", 1, [f"{dataset.name}: {problem}"])
        return None
    header = np.frombuffer(head[: dtype.itemsize], dtype)[0]
    size = dataset.size
    if header["size"] != size:
        faults.add(
            "fragment", 1, [f"{dataset.name}: {size} bytes, but its header says {header['size']}"]
        )
        return None
    if int(header["error_bits"]) & _INCOMPLETE:
        faults.add("incomplete", 1, [dataset.name])
    found = recognise_frames(head[dtype.itemsize :])
    if found is None:
        if header["type"] == WIBETH_TYPE:
            faults.add("fragment", 1, [f"{dataset.name}: no frames, though its type says so"])
        return None
    format, links = found
    return Fragment(
        dataset.name,
        format,
        links,
        int(header["window_begin"]),
        int(header["window_end"]),
        int(header["error_bits"]),
        dtype.itemsize,
        size,
    )


def read_bytes(dataset: Any, start: int, stop: int) -> bytes:
    """Bytes ``start`` to ``stop`` of a dataset of bytes, (bytes,) or (bytes, 1), or fewer."""
    if dataset.dtype.itemsize != 1 or dataset.dtype.kind not in "iu":
        raise ValueError(f"it holds {dataset.dtype}, no bytes")
    if dataset.ndim not in (1, 2) or (dataset.ndim == 2 and dataset.shape[1] != 1):
        raise ValueError(f"it has the shape {dataset.shape}")
    return dataset[start : min(stop, dataset.shape[0])].tobytes()


class _Bytes:
    """The bytes of a fragment, as a binary file; it ends early where the file is damaged."""

    def __init__(self, file: Any, fragment: Fragment, faults: Faults) -> None:
        self._file, self._fragment, self._faults = file, fragment, faults
        self._at = fragment.start

    def read(self, size: int) -> bytes:
        stop = min(self._at + size, self._fragment.stop)
        try:
            data = read_bytes(self._file[self._fragment.name], self._at, stop)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            self._faults.add("fragment", 1, [f"{self._fragment.name}, byte {self._at}: {error}"])
            return b""
        self._at += len(data)
        return data

    def close(self) -> None:
        """Nothing to close: the file is closed by the stream."""


class RecordStream:
    """Blocks of all records of an HDF5 file, one record after the other, all with the same links.

    ``options`` are those of `FrameStream`; a record's blocks begin at its first sample. Raises as
    `read_records`, and InputError for a file whose fragments hold no frames, or frames of both
    formats.
    """

    def __init__(self, source: Any, **options: Any) -> None:
        self._file = _opened(source, import_h5py())
        self.faults = Faults()
        self._options = dict(options)
        try:
            self.records = read_records(self._file, self.faults)
            fragments = [f for record in self.records for f in record.fragments]
            formats = {fragment.format.name for fragment in fragments}
            if len(formats) != 1:
                raise InputError(
                    f"{_name(source)} holds {' and '.join(sorted(formats)) or 'no'} frames",
                    "give a file with frames of one format",
                )
        except BaseException:
            self.close()
            raise
        self.format = fragments[0].format
        if self._options.get("links") is None:
            links = {link for fragment in fragments for link in fragment.links}
            self._options["links"] = sorted(links)
        self.links = tuple(self._options["links"])
        wanted = self._options.get("channels")
        columns = len(self.links) * self.format.channels
        self.channels = columns if wanted is None else len(wanted)
        self.bits, self.counts_per_tick = self.format.bits, self.format.step

    def __enter__(self) -> "RecordStream":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __iter__(self) -> Iterator[Block]:
        for record in self.records:
            sources = [(f.name, _Bytes(self._file, f, self.faults)) for f in record.fragments]
            if not sources:
                continue
            stream = FrameStream(sources, self.format, **self._options)
            for block in stream:
                self.faults.update(block.faults)
                yield replace(block, record=record.name)
            self.faults.update(stream.since_last())
