"""Recorded hits of VMM3a strip detectors, whatever file holds them.

data = read_vmm("run.pcapng", geometry="detector.json")
data.hits["strip"], data.hits["time_ns"]
print(data.faults.in_words())

for hits in iter_vmm("run.pcapng"):       # a piece at a time, for what does not fit in memory
    ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from hairtrigger.detectors.vmm_frames import DECODERS, Decoder, Frame, FrameOrder, parse_frame
from hairtrigger.detectors.vmm_hits import (
    HIT_DTYPE,
    KINDS,
    Calibration,
    Clock,
    Geometry,
    read_calibration,
    read_geometry,
)
from hairtrigger.detectors.vmm_pcapng import Gunzip, datagrams, is_capture
from hairtrigger.detectors.vmm_tables import (
    CSV_COLUMNS,
    RootTrees,
    read_csv_hits,
    read_hdf5_hits,
    read_root,
)
from hairtrigger.detectors.wib_faults import Faults
from hairtrigger.errors import InputError, StorageError

CHUNK_BYTES = 1 << 18
"""Bytes of frames that are decoded at once: what fits the processor's cache is quickest."""

Places = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class VmmData:
    """What a file holds: ``hits`` (HIT_DTYPE, in the order of the file), what was wrong with it,
    and the ``kind`` of file ("capture", "CSV", "HDF5", "ROOT"); ``trees`` of a ROOT file alone."""

    hits: np.ndarray
    faults: Faults
    kind: str
    trees: RootTrees | None = None


def new_faults() -> Faults:
    """Faults of VMM data, none yet; for `iter_vmm`."""
    return Faults(kinds=KINDS)


def read_vmm(
    path: str | Path,
    *,
    geometry: Geometry | Places | None = None,
    calibration: Calibration | str | Path | None = None,
    clock: Clock | None = None,
    progress: Callable[[int], None] | None = None,
) -> VmmData:
    """All hits of a file, and what was wrong in it; arguments and errors are those of `iter_vmm`.

    A ROOT file also gives its trees: vmm-sdat's own clusters.
    """
    faults = new_faults()
    kind = identify_vmm(path)
    if kind == "ROOT":
        _refuse_times(kind, clock, calibration)
        trees = read_root(path)
        placed = _placed(trees.hits, _geometry(geometry), faults)
        return VmmData(placed, faults, kind, trees)
    parts = list(
        iter_vmm(
            path,
            geometry=geometry,
            calibration=calibration,
            clock=clock,
            faults=faults,
            progress=progress,
        )
    )
    hits = np.concatenate(parts) if parts else np.zeros(0, HIT_DTYPE)
    return VmmData(hits, faults, kind)


def iter_vmm(
    path: str | Path,
    *,
    geometry: Geometry | Places | None = None,
    calibration: Calibration | str | Path | None = None,
    clock: Clock | None = None,
    faults: Faults | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[np.ndarray]:
    """Hits of a file, HIT_DTYPE, a piece at a time; memory holds one piece.

    What the file is shows in its content: a capture (pcapng or pcap, also gzipped) of the SRS's or
    the ESS's readout, CSV (also gzipped), HDF5 of the ESS pipeline, ROOT of vmm-sdat. ``geometry``
    and ``calibration`` are read from JSON files of vmm-sdat, or were; ``clock`` is by default that
    of 44.444 MHz (SRS) or 88.0525 MHz (ESS), with 60 ns of TAC slope. HDF5 and ROOT hold times:
    they take neither clock nor calibration. Faults are counted in ``faults`` (see `new_faults`),
    and reading goes on; ``progress`` is told the hits so far.

    Raises StorageError for a file that is missing, or none of these; InputError for options that do
    not fit; StorageError for a CSV or a ROOT file that is damaged.
    """
    kind = identify_vmm(path)
    placing = _geometry(geometry)
    corrections = calibration
    if isinstance(calibration, str | Path):
        corrections = read_calibration(calibration)
    assert corrections is None or isinstance(corrections, Calibration)
    faults = new_faults() if faults is None else faults
    if kind in ("HDF5", "ROOT"):
        _refuse_times(kind, clock, corrections)
    if kind == "capture":
        parts = _capture_hits(path, clock, corrections, faults)
    elif kind == "CSV":
        parts = read_csv_hits(path, clock, corrections, faults)
    elif kind == "HDF5":
        parts = read_hdf5_hits(path, faults)
    else:
        parts = iter([read_root(path).hits])
    done = 0
    for hits in parts:
        done += len(hits)
        if progress is not None:
            progress(done)
        yield _placed(hits, placing, faults)


def identify_vmm(path: str | Path) -> str:
    """The kind of file: "capture", "CSV", "HDF5" or "ROOT". Raises StorageError for others."""
    head = _head(path)
    if is_capture(head):
        return "capture"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "HDF5"
    if head.startswith(b"root"):
        return "ROOT"
    line = head.partition(b"\n")[0].strip().split(b",")
    if b"fec" in line and b"vmm" in line:
        return "CSV"
    what = "is empty" if not head else "is no capture, CSV, HDF5 or ROOT file of VMM hits"
    raise StorageError(
        f"{path} {what}",
        f"give pcapng or pcap, a CSV with the columns {', '.join(CSV_COLUMNS)}, "
        "HDF5 with srs_hits, or a ROOT file of vmm-sdat",
    )


def _head(path: str | Path) -> bytes:
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
        if head.startswith(b"\x1f\x8b"):
            head = Gunzip(BytesIO(head)).read(512)
            if not head:
                raise StorageError(f"{path} is a damaged gzip file", "copy it again")
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error}", "check the path") from error
    return head


def _refuse_times(kind: str, clock: Clock | None, calibration: Any) -> None:
    for name, value in (("clock", clock), ("calibration", calibration)):
        if value is not None:
            raise InputError(
                f"{name} was given, but {kind} files hold times that are worked out already",
                f"leave {name} out, or read the capture",
            )


def _geometry(geometry: Geometry | Places | None) -> Geometry | None:
    if geometry is None or isinstance(geometry, Geometry):
        return geometry
    return read_geometry(*([geometry] if isinstance(geometry, str | Path) else geometry))


def _placed(hits: np.ndarray, geometry: Geometry | None, faults: Faults) -> np.ndarray:
    if geometry is None:
        return hits
    hits = geometry.placed(hits)
    nowhere = hits["strip"] < 0
    faults.add("unmapped", int(nowhere.sum()), _channels(hits[nowhere][:1]))
    return hits


def _channels(hits: np.ndarray) -> list[str]:
    return [f"fec {h['fec']}, vmm {h['vmm']}, channel {h['channel']}" for h in hits]


def _capture_hits(
    path: str | Path, clock: Clock | None, calibration: Calibration | None, faults: Faults
) -> Iterator[np.ndarray]:
    orders: dict[tuple[str, int], FrameOrder] = {}
    decoder: Decoder | None = None
    due: list[Frame] = []
    held = 0

    def take(frames: list[tuple[Frame, bool]]) -> Iterator[np.ndarray]:
        nonlocal held, decoder, due
        for frame, broken in frames:
            if decoder is None:
                decoder = DECODERS[frame.format](clock, calibration, faults)
            if broken or held > CHUNK_BYTES:
                if due:
                    yield decoder.decode(due)
                due, held = [], 0
            if broken:
                decoder.forget(frame.source)
            due.append(frame)
            held += len(frame.body)

    with open(path, "rb") as opened:
        packed = opened.read(2) == b"\x1f\x8b"
        opened.seek(0)
        file = Gunzip(opened) if packed else opened
        for frame in _frames(file, str(path), faults):
            if decoder is not None and frame.format != decoder.format:
                faults.add("other traffic", 1, [frame.place])
                continue
            order = orders.get((frame.format, frame.source))
            if order is None:
                order = orders[frame.format, frame.source] = FrameOrder(faults)
            yield from take(order.add(frame))
    for order in orders.values():
        yield from take(order.finish())
    if decoder is None:
        raise StorageError(
            f"{path} is a capture without frames of the SRS or of the ESS readout: "
            f"{faults.in_words()}",
            "capture the UDP traffic of the front-end cards",
        )
    if due:
        yield decoder.decode(due)


def _frames(file: Any, source: str, faults: Faults) -> Iterator[Frame]:
    """Frames with a good header. What comes to a port of frames, and is none, is corrupt."""
    ports: set[int] = set()
    for datagram in datagrams(file, source, faults):
        place = f"byte {datagram.offset} of {source}"
        frame = parse_frame(datagram.payload, place)
        if isinstance(frame, Frame):
            ports.add(datagram.port)
            yield frame
        else:
            faults.add("corrupt" if datagram.port in ports else frame, 1, [place])
