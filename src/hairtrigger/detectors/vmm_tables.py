"""Hits of VMM3a chips in tables that others wrote: CSV, HDF5 of the ESS pipeline, ROOT of vmm-sdat.

ROOT files also hold vmm-sdat's own clusters: `read_root` gives all three trees. They need uproot
(pip install 'hairtrigger[root]'), HDF5 files h5py (pip install 'hairtrigger[hdf5]').
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hairtrigger.detectors.cms_dt import Jagged
from hairtrigger.detectors.vmm_hits import (
    ADC_MAX,
    BCID_MAX,
    BCIDS,
    CHANNELS,
    FECS,
    HIT_DTYPE,
    TDC_MAX,
    VMMS,
    Calibration,
    Clock,
    fill_times,
)
from hairtrigger.detectors.wib_faults import Faults
from hairtrigger.errors import StorageError, ToolError

CSV_COLUMNS = (
    "fec",
    "vmm",
    "ch",
    "adc",
    "bcid",
    "tdc",
    "overthr",
    "offset",
    "marker_timestamp",
)
"""Columns that a CSV of hits must have, in any order, beside others (packet)."""

CSV_ROWS = 1 << 18

ROOT_TREES = ("hits", "clusters_plane", "clusters_detector")

HDF5_FIELDS = (
    "fec",
    "chip_id",
    "srs_timestamp",
    "channel",
    "bcid",
    "tdc",
    "adc",
    "over_threshold",
    "chiptime",
)


def read_csv_hits(
    path: str | Path, clock: Clock | None, calibration: Calibration | None, faults: Faults
) -> Iterator[np.ndarray]:
    """Hits of a CSV (or csv.gz) with the columns `CSV_COLUMNS`, a piece at a time.

    ``fec`` is the card, or the byte of the SRS header that holds it in its upper half (80 for
    card 5). ``offset`` is as in the SRS word: 0 to 15, 31 for -1; a hit with 16 is skipped.
    ``marker_timestamp`` is the marker's first word, its upper 32 bits of 42 (the lower ten are 0 in
    all captures at hand); 0 is none. Raises StorageError for a file without these columns, or with
    a line that is no row of whole numbers, or a number out of range.
    """
    clock = clock or Clock()
    opener = gzip.open if _is_gzip(path) else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            names = file.readline().strip().split(",")
            missing = [name for name in CSV_COLUMNS if name not in names]
            if missing:
                raise StorageError(
                    f"{path} lacks the columns {', '.join(missing)}",
                    f"give a CSV with the columns {', '.join(CSV_COLUMNS)}",
                )
            at = 2
            while lines := list(islice(file, CSV_ROWS)):
                yield _csv_hits(
                    _numbers(lines, len(names), path, at),
                    names,
                    path,
                    at,
                    clock,
                    calibration,
                    faults,
                )
                at += len(lines)
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise StorageError(f"{path} is damaged or truncated: {error}", "copy it again") from error
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{path} cannot be read: {error}", "check the path") from error


def _is_gzip(path: str | Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _numbers(lines: list[str], columns: int, path: str | Path, at: int) -> np.ndarray:
    """The numbers of some lines of CSV, int64 (lines, columns)."""
    try:
        rows = np.loadtxt(lines, np.int64, delimiter=",", ndmin=2, comments=None)
        if rows.shape == (len(lines), columns):
            return rows
    except (ValueError, OverflowError):
        pass
    for number, line in enumerate(lines, at):
        parts = line.rstrip("\r\n").split(",")
        if len(parts) != columns or not all(part.strip().isdigit() for part in parts):
            raise StorageError(
                f"{path}, line {number} is no row of {columns} whole numbers: {line[:60]!r}",
                "the file may be truncated: copy it again",
            )
    raise StorageError(f"{path}, line {at} or later: a number of more than 63 bits", "mend it")


def _csv_hits(
    rows: np.ndarray,
    names: list[str],
    path: str | Path,
    at: int,
    clock: Clock,
    calibration: Calibration | None,
    faults: Faults,
) -> np.ndarray:
    column = {name: rows[:, names.index(name)] for name in CSV_COLUMNS}
    if (column["fec"] >= VMMS).any() and not (column["fec"] % VMMS).any():
        column["fec"] = column["fec"] // VMMS
    limits = {
        "fec": VMMS - 1,
        "vmm": VMMS - 1,
        "ch": CHANNELS - 1,
        "adc": ADC_MAX,
        "bcid": BCID_MAX,
        "tdc": TDC_MAX,
        "overthr": 1,
        "offset": 31,
        "marker_timestamp": (1 << 32) - 1,
    }
    for name, limit in limits.items():
        wrong = (column[name] < 0) | (column[name] > limit)
        if wrong.any():
            row = int(wrong.argmax())
            raise StorageError(
                f"{path}, line {at + row}: {name} is {column[name][row]}, not 0 to {limit}",
                "give hits as the chip sends them",
            )
    offset = column["offset"]
    late, bad = offset == 16, (offset > 16) & (offset < 31)
    for kind, which in (("latency", late), ("bad hit", bad)):
        places = [f"line {at + n} of {path}" for n in np.flatnonzero(which)[:5].tolist()]
        faults.add(kind, int(which.sum()), places)
    kept = ~late & ~bad
    column = {name: values[kept] for name, values in column.items()}
    hits = _empty(int(kept.sum()))
    for name, source in (
        ("fec", "fec"),
        ("vmm", "vmm"),
        ("channel", "ch"),
        ("adc", "adc"),
        ("bcid", "bcid"),
        ("tdc", "tdc"),
        ("over_threshold", "overthr"),
        ("marker", "marker_timestamp"),
    ):
        hits[name] = column[source]
    hits["offset"] = np.where(column["offset"] == 31, -1, column["offset"])
    hits["marker"] <<= np.uint64(10)
    unknown = hits["marker"] == 0
    faults.add("no marker", int(unknown.sum()), [f"{path}"])
    counted = hits["marker"].astype(np.float64) + hits["offset"] * float(BCIDS)
    coarse = np.where(unknown, np.nan, counted * clock.period_ns)
    fill_times(hits, coarse, clock, calibration, bcid=True)
    return hits


def read_hdf5_hits(path: str | Path, faults: Faults) -> Iterator[np.ndarray]:
    """Hits of the dataset ``srs_hits`` that the ESS pipeline (event formation unit) writes.

    Times are the file's own: srs_timestamp + chiptime, both in ns, calibrated where the pipeline
    did so. Raises ToolError without h5py, StorageError for a file without such a dataset.
    """
    try:
        import h5py
    except ImportError as error:
        raise ToolError(
            f"h5py cannot be imported: {error}", "pip install 'hairtrigger[hdf5]'"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            table = file.get("srs_hits")
            names = getattr(getattr(table, "dtype", None), "names", None) or ()
            missing = [name for name in HDF5_FIELDS if name not in names]
            if missing:
                raise StorageError(
                    f"{path} has no dataset srs_hits with the fields {', '.join(missing)}",
                    "give a file of hits of the ESS pipeline",
                )
            for start in range(0, table.shape[0], CSV_ROWS):
                yield _hdf5_hits(table[start : start + CSV_ROWS], start, str(path), faults)
    except StorageError:
        raise
    except Exception as error:  # h5py raises whatever the bytes lead it to
        raise StorageError(
            f"{path} is no HDF5 file, or is damaged: {error}", "copy it again"
        ) from error


def _hdf5_hits(rows: np.ndarray, start: int, path: str, faults: Faults) -> np.ndarray:
    good = (rows["fec"] < FECS) & (rows["chip_id"] < VMMS) & (rows["channel"] < CHANNELS)
    good &= (rows["adc"] <= ADC_MAX) & (rows["bcid"] <= BCID_MAX) & (rows["tdc"] <= TDC_MAX)
    good &= (rows["over_threshold"] <= 1) & np.isfinite(rows["chiptime"])
    places = [f"row {start + n} of {path}" for n in np.flatnonzero(~good)[:5].tolist()]
    faults.add("bad hit", int((~good).sum()), places)
    rows = rows[good]
    hits = _empty(len(rows))
    for name in ("fec", "channel", "adc", "bcid", "tdc", "over_threshold"):
        hits[name] = rows[name]
    hits["vmm"] = rows["chip_id"]
    hits["coarse_ns"] = rows["srs_timestamp"]
    hits["time_ns"] = hits["coarse_ns"] + rows["chiptime"]
    return hits


def _empty(size: int) -> np.ndarray:
    hits = np.zeros(size, HIT_DTYPE)
    for name in ("detector", "plane", "strip"):
        hits[name] = -1
    return hits


@dataclass(frozen=True)
class RootTrees:
    """The trees of a ROOT file of vmm-sdat, those that it has.

    ``hits``: HIT_DTYPE. ``planes`` and ``detectors``: columns of clusters_plane and
    clusters_detector under vmm-sdat's names (times in ns, positions in strips), of which strips,
    times and adcs are `Jagged`.
    """

    hits: np.ndarray
    planes: dict[str, Any] | None
    detectors: dict[str, Any] | None


def read_root(path: str | Path) -> RootTrees:
    """All of a ROOT file of vmm-sdat. Raises ToolError without uproot, StorageError for a file that
    is missing, truncated, not of ROOT, or has neither hits nor clusters."""
    try:
        import uproot
    except ImportError as error:
        raise ToolError(
            f"uproot cannot be imported: {error}", "pip install 'hairtrigger[root]'"
        ) from error
    # uproot raises whatever the bytes lead it to, down to an AssertionError or a MemoryError.
    try:
        with uproot.open(path) as file:
            found = {
                name: _columns(file[name])
                for name, kind in file.classnames(cycle=False).items()
                if name in ROOT_TREES and kind == "TTree"
            }
    except Exception as error:
        raise StorageError(
            f"{path} is no ROOT file, or is truncated: {type(error).__name__}: "
            f"{str(error).strip().partition(chr(10))[0]}",
            "copy it again, or give a file of vmm-sdat",
        ) from error
    if not found:
        raise StorageError(
            f"{path} has none of the trees {', '.join(ROOT_TREES)}", "give a file of vmm-sdat"
        )
    hits = _root_hits(found["hits"], path) if "hits" in found else _empty(0)
    return RootTrees(hits, found.get("clusters_plane"), found.get("clusters_detector"))


def _columns(tree: Any) -> dict[str, Any]:
    import awkward

    branches = tree.branches[0].branches or tree.branches
    columns: dict[str, Any] = {}
    for branch in branches:
        array = branch.array()
        name = branch.name.rpartition(".")[2]
        if array.ndim == 1:
            columns[name] = awkward.to_numpy(array)
        else:
            counts = awkward.to_numpy(awkward.num(array, axis=1))
            offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
            columns[name] = Jagged(awkward.to_numpy(awkward.flatten(array)), offsets)
    return columns


_ROOT_HITS = {
    "fec": "fec",
    "vmm": "vmm",
    "channel": "ch",
    "adc": "adc",
    "bcid": "bcid",
    "tdc": "tdc",
    "over_threshold": "over_threshold",
    "detector": "det",
    "plane": "plane",
    "strip": "pos",
    "coarse_ns": "readout_time",
    "time_ns": "time",
}


def _root_hits(columns: dict[str, Any], path: str | Path) -> np.ndarray:
    missing = [name for name in _ROOT_HITS.values() if name not in columns]
    if missing:
        raise StorageError(
            f"the tree hits in {path} lacks the branches {', '.join(missing)}",
            "give a file of vmm-sdat",
        )
    hits = _empty(len(columns["fec"]))
    for name, branch in _ROOT_HITS.items():
        hits[name] = columns[branch]
    return hits
