"""Frames written as DUNE's data acquisition writes them, in HDF5: for tests and simulated runs.

write_records("run.hdf5", [[frames_of_link_0, frames_of_link_1]], WIBETH)
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hairtrigger.detectors.dune_hdf5 import (
    FRAGMENT_HEADERS,
    FRAGMENT_MARKER,
    SLICE_HEADER,
    SLICE_MARKER,
    SOURCE,
    TRIGGER_HEADER,
    TRIGGER_MARKER,
    WIB1_TYPE,
    WIBETH_TYPE,
    import_h5py,
)
from hairtrigger.detectors.wib import WIB1, FrameFormat, check_frames, read_headers
from hairtrigger.errors import InputError, StorageError


def write_records(
    path: str | Path,
    records: Sequence[Sequence[np.ndarray]],
    format: FrameFormat,
    *,
    layout: int = 5,
    kind: str = "TriggerRecord",
    run: int = 1,
) -> None:
    """Write frames as DUNE's data acquisition does: for each record, fragments uint8 (frames,
    bytes) of one link each, numbered from 0.

    ``layout`` 3 to 5, or 2 with the older paths and headers (trigger records only). Raises
    InputError for other layouts, kinds and fragments that are no frames, StorageError if the file
    is there already or cannot be written.
    """
    if layout not in (2, 3, 4, 5) or kind not in ("TriggerRecord", "TimeSlice"):
        raise InputError(
            f"layout = {layout!r}, kind = {kind!r} are not known", "give layout 2 to 5"
        )
    if layout == 2 and kind != "TriggerRecord":
        raise InputError("layout 2 is written for trigger records only", "give layout 3 to 5")
    h5py = import_h5py()
    try:
        with h5py.File(path, "x") as file:
            _attributes(file, layout, kind, run)
            for number, fragments in enumerate(records, 1):
                _write_record(file, number, fragments, format, layout, kind, run)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}", "choose another path") from error


def _attributes(file: Any, layout: int, kind: str, run: int) -> None:
    digits = {"digits_for_record_number": 6, "digits_for_sequence_number": 4}
    if kind == "TimeSlice":
        digits["digits_for_sequence_number"] = 0
    names = {"record_name_prefix": kind, "record_header_dataset_name": f"{kind}Header"}
    file.attrs["filelayout_params"] = json.dumps(
        {**names, **digits, "raw_data_group_name": "RawData", "path_param_list": []}
    )
    file.attrs["filelayout_version"] = np.uint32(layout)
    file.attrs["record_type"] = kind
    file.attrs["run_number"] = np.uint32(run)
    file.attrs["file_index"] = np.uint64(0)
    file.attrs["application_name"] = "hairtrigger"


def _write_record(
    file: Any,
    number: int,
    fragments: Sequence[np.ndarray],
    format: FrameFormat,
    layout: int,
    kind: str,
    run: int,
) -> None:
    name = f"{kind}{number:06d}" + (".0000" if kind == "TriggerRecord" else "")
    dtype = FRAGMENT_HEADERS[3 if layout == 2 else 5]
    begins = []
    for n, frames in enumerate(fragments):
        if not len(frames):
            raise InputError(f"fragment {n} of record {number} has no frames", "leave it out")
        stamps = read_headers(format, check_frames(format, frames))["timestamp"]
        header = np.zeros(1, dtype)
        header["marker"], header["version"] = FRAGMENT_MARKER, 3 if layout == 2 else 5
        header["size"] = dtype.itemsize + frames.nbytes
        header["trigger_number"], header["run"] = number, run
        header["window_begin"] = stamps.min()
        header["window_end"] = stamps.max() + format.counts
        header["type"] = WIB1_TYPE if format is WIB1 else WIBETH_TYPE
        begins.append(int(stamps.min()))
        if layout == 2:
            header["geo"] = (1, 1 | 1 << 16, n, 0xFFFFFFFF)
            path = f"{name}/TPC/APA001/Link{n:02d}"
        else:
            header["source_version"], header["subsystem"], header["source_id"] = 2, 1, n
            header["detector"] = 3
            kind_of = "ProtoWIB" if format is WIB1 else "WIBEth"
            path = f"{name}/RawData/Detector_Readout_0x{n:08x}_{kind_of}"
        header["trigger_timestamp"] = begins[0]
        _write_bytes(file, path, header.tobytes() + frames.tobytes())
    if kind == "TimeSlice":
        head = np.zeros(1, [*SLICE_HEADER.descr, *SOURCE])
        head["marker"], head["version"], head["unused"] = SLICE_MARKER, 2, 0xFFFFFFFF
    else:
        tail = [("error_bits", "<u4"), ("type", "<u8"), ("sequence", "<u2"), ("last", "<u2")]
        head = np.zeros(1, [*TRIGGER_HEADER.descr, *tail, ("unused", "<u4"), *SOURCE])
        head["marker"], head["version"] = TRIGGER_MARKER, 4
        head["timestamp"] = begins[0] if begins else 0
    head["number"], head["run"] = number, run
    head["source_version"], head["subsystem"] = 2, 4
    old = f"{name}/TriggerRecordHeader"
    path = old if layout == 2 else f"{name}/RawData/TR_Builder_0x00000000_{kind}Header"
    _write_bytes(file, path, head.tobytes())


def _write_bytes(file: Any, path: str, data: bytes) -> None:
    file.create_dataset(path, data=np.frombuffer(data, np.int8)[:, None])
