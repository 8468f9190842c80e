"""Hits of VMM3a chips: the table, the map from channels to strips, the calibration, the time.

    geometry = read_geometry("detector.json")           # vmm-sdat's format
    hits = geometry.placed(hits)                        # detector, plane and strip filled in

A VMM gives 6 bits of channel, 10 of charge (adc), 12 of bunch crossing (bcid) and 8 of time within
it (tdc). The tdc counts from the peak to the next edge of the clock, so it is subtracted:
time = coarse + (bcid + 1.5) T - tdc S / 255, with the period T of the clock and the TAC's slope S.
vmm-sdat divides by 255 (its README says 256); coarse is the readout's time before bcid is added.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hairtrigger.errors import InputError, StorageError

CHANNELS, VMMS, FECS = 64, 16, 384
ADC_MAX, BCID_MAX, TDC_MAX = 1023, 4095, 255
BCIDS = 4096
"""Crossings after which bcid begins anew: one offset period of the SRS."""

HIT_DTYPE = np.dtype(
    [
        ("fec", "u2"),
        ("vmm", "u1"),
        ("channel", "u1"),
        ("adc", "u2"),
        ("bcid", "u2"),
        ("tdc", "u1"),
        ("over_threshold", "?"),
        ("offset", "i1"),
        ("detector", "i2"),
        ("plane", "i1"),
        ("strip", "i4"),
        ("marker", "u8"),
        ("coarse_ns", "f8"),
        ("time_ns", "f8"),
    ]
)
"""A hit. ``fec``: number of the SRS front-end card (1 to 15), or 32 (ring // 2) + fen of the ESS
readout; ``vmm`` 0 to 15, ``channel`` 0 to 63; ``adc`` 0 to 1023, calibrated where a calibration was
given; ``bcid`` Gray code undone; ``over_threshold``: its own threshold, not the neighbour's.
``marker``: the count of the readout's clock that ``offset`` (periods of 4096 crossings) and bcid
are relative to, 0 where the file does not hold it; ``coarse_ns`` the same in ns, with the offset;
``time_ns`` the time of the hit, NaN where its marker is not known. ``detector``, ``plane`` and
``strip`` are -1 where no geometry places the channel."""

KINDS = {
    "broken block": ("places in the capture that are no block or packet", "skipped"),
    "truncated": ("packets or files cut short", "skipped"),
    "fragment": ("fragments of IP packets", "skipped"),
    "other traffic": ("packets that are not of this readout", "skipped"),
    "corrupt": ("frames with a broken header or length", "skipped"),
    "duplicate": ("frames that were there already", "skipped"),
    "late": ("frames too far behind a later one of their source", "skipped"),
    "out of order": ("frames behind a later one of their source", "put in their place"),
    "wrong counter": ("frames whose counter fits none of their source", "skipped"),
    "gap": ("frames that are missing", "what follows waits for a marker"),
    "restart": ("sources whose frame counter began anew", "followed"),
    "bad hit": ("hits with a value out of range", "skipped"),
    "latency": ("hits that the chip marks as too late to be placed in time", "skipped"),
    "no marker": ("hits before the first time marker of their chip", "kept, time NaN"),
    "clock back": ("time markers that are earlier than the one before", "followed"),
    "unmapped": ("hits on channels that the geometry leaves out", "kept, strip -1"),
}
"""Kinds of faults in recorded VMM data, in words, and what is done about each."""


@dataclass(frozen=True)
class Clock:
    """Clock of the crossings and slope of the time-to-amplitude converter.

    ``period_ns``: of one crossing, 22.5 at 44.444 MHz, 25 at 40 MHz; ``tac_ns``: the time that 255
    counts of tdc stand for.
    """

    period_ns: float = 22.5
    tac_ns: float = 60.0

    def __post_init__(self) -> None:
        for name in ("period_ns", "tac_ns"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 < value < 1e6):
                raise InputError(f"{name} = {value!r} is no time in ns", "give a number above 0")


@dataclass(frozen=True)
class Geometry:
    """Where each channel lies: ``detector``, ``plane``, ``strip``, (fecs, 16, 64); -1: nowhere."""

    detector: np.ndarray
    plane: np.ndarray
    strip: np.ndarray

    def placed(self, hits: np.ndarray) -> np.ndarray:
        """The hits with detector, plane and strip filled in; a copy."""
        hits = hits.copy()
        at = np.minimum(hits["fec"], len(self.strip) - 1), hits["vmm"], hits["channel"]
        known = hits["fec"] < len(self.strip)
        for name in ("detector", "plane", "strip"):
            hits[name] = np.where(known, getattr(self, name)[at], -1)
        return hits

    def planes(self) -> list[tuple[int, int]]:
        """All pairs of detector and plane, sorted."""
        used = self.strip >= 0
        pairs = np.stack([self.detector[used], self.plane[used]], axis=1)
        return [(int(d), int(p)) for d, p in np.unique(pairs, axis=0)]


def read_geometry(*paths: str | Path) -> Geometry:
    """The geometry in JSON files of vmm-sdat's format, all together.

    Each entry of "vmm_geometry" names detector, plane, fec and vmm, and in "id0" the strip of each
    of the 64 channels, -1 for none. Raises StorageError for a file that is missing or no such JSON,
    InputError for numbers out of range, for a channel on two strips, and for pads (with "id1").
    """
    if not paths:
        raise InputError("no geometry file is named", "give the path of one or more JSON files")
    tables = [np.full((FECS, VMMS, CHANNELS), -1, np.int32) for _ in range(3)]
    for path in paths:
        for number, entry in enumerate(_entries(path, "vmm_geometry")):
            where = f"{path}, entry {number} of vmm_geometry"
            _place(tables, entry, where)
    return Geometry(tables[0].astype(np.int16), tables[1].astype(np.int8), tables[2])


def _place(tables: list[np.ndarray], entry: dict[str, Any], where: str) -> None:
    limits = {"detector": 256, "plane": 8, "fec": FECS, "vmm": VMMS}
    for name, limit in limits.items():
        value = entry.get(name)
        if type(value) is not int or not 0 <= value < limit:
            raise InputError(
                f"{where}: {name} is {value!r}, not 0 to {limit - 1}",
                "name detector, plane, fec and vmm by whole numbers",
            )
    if entry.get("id1"):
        raise InputError(f"{where} maps pads (id1)", "give a detector with strips: id0 alone")
    strips = entry.get("id0")
    good = isinstance(strips, list) and len(strips) == CHANNELS
    if not good or not all(type(s) is int and -1 <= s < 1 << 16 for s in strips):
        raise InputError(
            f"{where}: id0 is not a list of {CHANNELS} strips",
            "give a whole number for each channel, -1 for one that is not connected",
        )
    row = np.array(strips)
    used = row >= 0
    values = (entry["detector"], entry["plane"], row)
    at = entry["fec"], entry["vmm"]
    taken = used & (tables[2][at] >= 0)
    for table, value in zip(tables, values, strict=True):
        clash = taken & (table[at] != value)
        if clash.any():
            channel = int(clash.argmax())
            raise InputError(
                f"{where}: channel {channel} of fec {at[0]}, vmm {at[1]} has another place already",
                "leave one of the two entries out",
            )
    for table, value in zip(tables, values, strict=True):
        table[at] = np.where(used, value, table[at])


@dataclass(frozen=True)
class Calibration:
    """Corrections of each channel, float64 (fecs, 16, 64) each; those of vmm-sdat's JSON files.

    adc' = (adc - adc_offset) adc_slope; the part of the time after bcid, t = 1.5 T - tdc S / 255,
    becomes (t - time_offset) time_slope - w, with the time walk
    w = d + (a - d) / (1 + (adc' / c)^b).
    """

    adc_offset: np.ndarray
    adc_slope: np.ndarray
    time_offset: np.ndarray
    time_slope: np.ndarray
    walk: np.ndarray
    """a, b, c, d: (4, fecs, 16, 64)."""


_CALIBRATION = {
    "adc_offsets": 0.0,
    "adc_slopes": 1.0,
    "time_offsets": 0.0,
    "time_slopes": 1.0,
    "timewalk_a": 0.0,
    "timewalk_b": 1.0,
    "timewalk_c": 1.0,
    "timewalk_d": 0.0,
}


def read_calibration(path: str | Path) -> Calibration:
    """The calibration in a JSON file of vmm-sdat's format; channels left out are not corrected.

    Raises StorageError for a file that is missing or no such JSON, InputError for lists of other
    lengths, numbers that are not finite, and a slope of 0.
    """
    shape = (FECS, VMMS, CHANNELS)
    tables = {name: np.full(shape, value) for name, value in _CALIBRATION.items()}
    for number, entry in enumerate(_entries(path, "vmm_calibration")):
        where = f"{path}, entry {number} of vmm_calibration"
        fec, vmm = entry.get("fecID"), entry.get("vmmID")
        if (
            type(fec) is not int
            or type(vmm) is not int
            or not (0 <= fec < FECS and 0 <= vmm < VMMS)
        ):
            raise InputError(f"{where}: fecID {fec!r}, vmmID {vmm!r}", "name a card and its chip")
        for name, table in tables.items():
            values = entry.get(name) or []
            if not values:
                continue
            try:
                row = np.array(values, np.float64)
            except (TypeError, ValueError):
                row = np.zeros(0)
            if row.shape != (CHANNELS,) or not np.isfinite(row).all():
                raise InputError(
                    f"{where}: {name} is not a list of {CHANNELS} finite numbers",
                    "give one for each channel, or an empty list",
                )
            if name in ("adc_slopes", "time_slopes", "timewalk_c") and not row.all():
                raise InputError(f"{where}: {name} holds a 0", "a channel without correction has 1")
            table[fec, vmm] = row
    walk = np.stack([tables[f"timewalk_{letter}"] for letter in "abcd"])
    return Calibration(*(tables[name] for name in list(_CALIBRATION)[:4]), walk)


def _entries(path: str | Path, key: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StorageError(f"{path} does not exist", "check the path") from error
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} is no JSON: {error}", "give a JSON file of vmm-sdat") from error
    entries = found.get(key) if isinstance(found, dict) else None
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise StorageError(
            f"{path} has no list {key!r}", f"give a JSON file of vmm-sdat with {key!r}"
        )
    return entries


def fill_times(
    hits: np.ndarray,
    coarse_ns: np.ndarray,
    clock: Clock,
    calibration: Calibration | None,
    bcid: bool,
) -> None:
    """Set ``coarse_ns``, ``time_ns`` and, with a calibration, ``adc`` of the hits, in place.

    ``bcid``: whether the coarse time lacks it (SRS), or holds it already (ESS).
    """
    fine = 1.5 * clock.period_ns - hits["tdc"] * (clock.tac_ns / TDC_MAX)
    if calibration is not None:
        at = hits["fec"], hits["vmm"], hits["channel"]
        adc = (hits["adc"] - calibration.adc_offset[at]) * calibration.adc_slope[at]
        hits["adc"] = np.clip(adc, 0, ADC_MAX).astype(np.uint16)
        a, b, c, d = (values[at] for values in calibration.walk)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            walk = d + (a - d) / (1 + (hits["adc"] / c) ** b)
        fine = (fine - calibration.time_offset[at]) * calibration.time_slope[at] - walk
    if bcid:
        fine = fine + hits["bcid"] * clock.period_ns
    hits["coarse_ns"] = coarse_ns
    hits["time_ns"] = coarse_ns + fine
