"""The classical muon trigger, to compare networks with: coincidence windows between stations.

As in today's RPC trigger, each fired strip of a pivot station opens a window in every other one.
It passes where enough layers, and enough stations, have a hit in theirs. Windows come as a ladder
of rungs from wide to narrow, for each charge on the side that it bends to. A momentum threshold is
a rung, chosen for each charge and region of eta so that muons at the threshold pass with a given
efficiency. Here it is NumPy; in muon_windows_graph.py it is a Graph of bits with the same answers.

    windows = tune(rpc.simulate(200_000, seed=1, muons=1))
    predicted = predict(windows, events.images)         # a MuonPrediction
    graph = windows_graph(windows)                      # muon_windows_graph.py: for the chip
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors import rpc
from hairtrigger.detectors.rpc_config import RpcConfig
from hairtrigger.errors import InputError
from hairtrigger.studies.base import as_outputs
from hairtrigger.studies.muon_metrics import MuonPrediction
from hairtrigger.studies.muon_networks import bend_shape, station_rows

THRESHOLDS_GEV = (5.0, 8.0, 10.0, 12.0, 15.0, 20.0)
BENDS = (48.0, 36.0, 28.0, 22.0, 18.0, 15.0, 12.0, 9.5, 7.0, 5.0, 3.0, 1.0)
"""Bends [strips], first station to last, that the rungs are opened for."""
CHARGES = (1, -1)
PIVOT_WINDOW = (-1, 1)
"""The layers of the pivot station are looked at in neighbouring strips too."""
AT_THRESHOLD = 1.1
"""Muons at a threshold have from 1 to that many times its pT."""
ENOUGH_MUONS = 50
MARGIN = 1.25
"""A window reaches beyond the straight line by that many standard deviations of a stiff muon."""
TRACK_STRIPS = 16
"""A stiff muon's hits lie that near to the strip it was aimed at."""
CHUNK_EVENTS = 4096

Window = tuple[int, int]
Bits = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Windows:
    """A tuned trigger.

    ``rungs``: widest first; of each a window (first, last) for each station, in strips from the
    pivot strip, for positive charge; negative charge has the mirrored one. Each holds 0 and lies
    inside the one before. ``layers``, ``stations``: how many at least must have a hit in their
    windows. ``cell``: strips of the pivot station that share one answer. ``needed``: for each
    charge (positive first), cell and threshold the rungs that must pass, 1 to all; one more is
    never. ``pt``: what is predicted [GeV] where that many thresholds are passed, from 0 on.

    Raises `InputError` for what contradicts itself.
    """

    config: RpcConfig
    pivot: int
    rungs: tuple[tuple[Window, ...], ...]
    layers: int
    stations: int
    thresholds: tuple[float, ...]
    needed: tuple[tuple[tuple[int, ...], ...], ...]
    pt: tuple[float, ...]
    cell: int = 8

    def __post_init__(self) -> None:
        rows, stations = self.config.rows, len(station_rows(self.config))
        _require(self.config.strips % self.cell == 0, "cell", self.cell, "a divisor of the strips")
        _require(0 <= self.pivot < stations, "pivot", self.pivot, f"0 to {stations - 1}")
        _require(1 <= self.layers <= rows, "layers", self.layers, f"1 to {rows}")
        _require(1 <= self.stations <= stations, "stations", self.stations, f"1 to {stations}")
        for rung in self.rungs:
            fine = len(rung) == stations and all(low <= 0 <= high for low, high in rung)
            _require(fine, "a rung", rung, f"{stations} windows that hold 0")
        for outer, inner in pairwise(self.rungs):
            inside = all(a[0] <= b[0] and b[1] <= a[1] for a, b in zip(outer, inner, strict=True))
            _require(inside, "a rung", inner, f"inside the one before, {outer}")
        limits = self.thresholds
        rising = all(a < b for a, b in pairwise((0.0, *limits)))
        _require(bool(limits) and rising, "thresholds", limits, "positive and rising")
        shape = (len(CHARGES), self.config.strips // self.cell, len(limits))
        needed = np.array(self.needed)
        fine = needed.shape == shape and needed.min() >= 1 and needed.max() <= len(self.rungs) + 1
        _require(fine, "needed", needed.shape, f"{shape} numbers of 1 to {len(self.rungs) + 1}")
        _require(bool((np.diff(needed, axis=2) >= 0).all()), "needed", "a row", "not falling")
        fine = len(self.pt) == len(limits) + 1 and self.pt[0] == 0
        _require(fine, "pt", self.pt, "0 and one value for each threshold")
        edges = (*limits, np.inf)
        fine = all(a < v < b for v, (a, b) in zip(self.pt[1:], pairwise(edges), strict=True))
        _require(fine, "pt", self.pt, "between its threshold and the next")


def _require(fine: bool, name: str, value: object, rule: str) -> None:
    if not fine:
        raise InputError(f"Windows: {name} = {value!r} is not {rule}.", f"Make {name} {rule}.")


# --- predictions ---------------------------------------------------------------------------------


def passed_rungs(windows: Windows, images: Bits) -> Bits:
    """How many rungs pass: packed images (events, rows, strips / 8) to (events, cells, 2).

    As `probe_graph`, but quicker: it only looks at strips that fired in the pivot station. A rung
    passes where enough layers have a hit in its window, so the rungs of a strip are as many as of
    the layer that is the last one needed when layers are sorted by how narrow their hit lies.
    """
    config = windows.config
    if images.shape[1:] != (config.rows, config.strips // 8):
        raise InputError(
            f"Packed images of shape {images.shape} are not those of {config.rows} rows and "
            f"{config.strips} strips.",
            "Give the images of RpcEvents with the configuration that the windows are for.",
        )
    worth, reach = _worth(windows)
    places = list(station_rows(config).values())
    firsts = [first for first, _ in places]
    first, rows = places[windows.pivot]
    found = np.zeros((len(images), config.strips // windows.cell, len(CHARGES)), np.int64)
    for start in range(0, len(images), CHUNK_EVENTS):
        bits = rpc.unpack(images[start : start + CHUNK_EVENTS])
        event, strip = np.nonzero(bits[:, first : first + rows].any(axis=1))
        padded = np.pad(bits, ((0, 0), (0, 0), (reach, reach)))
        near = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=2)
        near = near[event, :, strip]
        for side in range(len(CHARGES)):
            layer = (near * worth[side]).max(axis=2)
            station = np.maximum.reduceat(layer, firsts, axis=1)
            passed = np.minimum(
                np.sort(layer, axis=1)[:, -windows.layers],
                np.sort(station, axis=1)[:, -windows.stations],
            )
            place: Any = (start + event, strip // windows.cell, side)
            np.maximum.at(found, place, passed)
    return found


def _worth(windows: Windows) -> tuple[NDArray[np.uint8], int]:
    """How many rungs hold each distance from the pivot strip, (2, rows, distances); the reach."""
    reach = max(abs(end) for rung in windows.rungs for window in rung for end in window)
    distance = np.arange(-reach, reach + 1)
    counts = [rows for _, rows in station_rows(windows.config).values()]
    worth = np.zeros((len(CHARGES), sum(counts), distance.size), np.uint8)
    for rung in windows.rungs:
        for side, charge in enumerate(CHARGES):
            held = [(charge * distance >= a) & (charge * distance <= b) for a, b in rung]
            worth[side] += np.repeat(np.array(held), counts, axis=0)
    return worth, reach


def outputs(windows: Windows, images: Bits) -> NDArray[np.int64]:
    """What `windows_graph` says of packed images (events, rows, strips / 8): (events, 5)."""
    return _answers(windows, passed_rungs(windows, images))


def _answers(windows: Windows, passed: Bits) -> NDArray[np.int64]:
    needed = np.array(windows.needed).transpose(1, 0, 2)
    level = (passed[..., None] >= needed).sum(axis=3)
    either = level.max(axis=2)
    some = np.pad(either > 0, ((0, 0), (1, 0)))
    runs = (some[:, 1:] & ~some[:, :-1]).sum(axis=1)
    where = either.argmax(axis=1)
    return np.column_stack([level.max(axis=1), where, runs, runs > 0]).astype(np.int64)


def decode(windows: Windows, outputs: Any) -> MuonPrediction:
    """What outputs (events, 5) of `windows_graph` mean; they may come from any engine.

    pT is `Windows.pt` of the highest threshold that any muon passes; eta is that of the middle of
    its cell in the pivot station. The charge is the one that passes more thresholds; where both
    pass as many it is unknown, and given as positive.

    Raises `InputError` for another shape, NaN or infinity.
    """
    values = as_outputs(outputs, 5)
    level = values[:, :2].max(axis=1).astype(np.int64)
    low, high = windows.config.strip_eta
    cells = windows.config.strips // windows.cell
    return MuonPrediction(
        pt=np.array(windows.pt)[level],
        eta=low + (values[:, 2] + 0.5) * (high - low) / cells,
        charge=np.where(values[:, 0] >= values[:, 1], 1, -1),
        n_muons=np.minimum(values[:, 3], rpc.MAX_MUONS).astype(np.int64),
    )


def predict(windows: Windows, images: Bits) -> MuonPrediction:
    """What the trigger says of packed images (events, rows, strips / 8)."""
    return decode(windows, outputs(windows, images))


# --- tuning --------------------------------------------------------------------------------------


def tune(
    events: rpc.RpcEvents,
    thresholds: Sequence[float] = THRESHOLDS_GEV,
    efficiency: float = 0.9,
    *,
    pivot: int = 2,
    layers: int | None = None,
    stations: int | None = None,
    regions: int = 16,
    bends: Sequence[float] = BENDS,
) -> Windows:
    """Windows whose thresholds let muons at them pass with ``efficiency``.

    ``events``: single muons. The efficiency is that among muons that pass the widest rung: the
    others are lost to the chambers, or bend out of the image. Where fewer than 50 of them do (soft
    muons at the rim), the widest rung is the threshold. By default ``layers`` are all rows but two
    (of four rows all but one) and ``stations`` all: where one may be missing, muons that bend out
    of its window still pass. ``regions``: equal parts of the strips with thresholds of their own.

    Raises `InputError` for events with other numbers of muons, and for fewer than 50 muons at a
    threshold in a region.
    """
    config = events.config
    if not (events.truth["n_muons"] == 1).all():
        raise InputError(
            "The events to tune with hold other images than those of single muons.",
            "Simulate them with muons=1.",
        )
    if not 0 < efficiency < 1:
        raise InputError(f"efficiency = {efficiency!r} is no share.", "Give one between 0 and 1.")
    cell = Windows.cell
    cells = config.strips // cell
    if not (1 <= regions <= cells and cells % regions == 0):
        raise InputError(
            f"regions = {regions!r} do not divide the {cells} cells of {cell} strips.",
            f"Give a divisor of {cells}.",
        )
    places = len(station_rows(config))
    if pivot not in range(places):
        raise InputError(f"pivot = {pivot!r} is no station.", f"Give one from 0 to {places - 1}.")
    if not bends or min(bends) < 0:
        raise InputError(f"bends = {bends!r} are none or negative.", "Give bends from 0 strips up.")
    limits = tuple(float(limit) for limit in thresholds)
    if not limits or min(limits) <= 0 or any(a >= b for a, b in pairwise(limits)):
        raise InputError(f"thresholds = {limits} do not rise from 0.", "Give rising ones, in GeV.")
    at = _at_thresholds(events, limits, regions)
    never = ((len(bends) + 1,) * len(limits),) * cells
    edges = (*limits, 1.5 * limits[-1])
    draft = Windows(
        config,
        pivot,
        _ladder(events, pivot, bends),
        max(1, config.rows - (2 if config.rows > 4 else 1)) if layers is None else layers,
        places if stations is None else stations,
        limits,
        (never, never),
        (0.0, *((low + high) / 2 for low, high in pairwise(edges))),
        cell,
    )
    passed = passed_rungs(draft, events.images)
    needed = np.zeros((len(CHARGES), regions, len(limits)), int)
    for place, there in at.items():
        rungs = passed[there, :, place[0]].max(axis=1)
        rungs = np.sort(rungs[rungs > 0])
        # The most rungs that still so many of them pass.
        rank = int((1 - efficiency) * rungs.size)
        needed[place] = rungs[rank] if rungs.size >= ENOUGH_MUONS else 1
    # A threshold asks for no more than the next one.
    needed = np.minimum.accumulate(needed[..., ::-1], axis=2)[..., ::-1]
    needed = np.repeat(needed, cells // regions, axis=1)
    rows = tuple(tuple(tuple(row) for row in side) for side in needed.tolist())
    tuned = replace(draft, needed=rows)
    return replace(tuned, pt=_typical_pt(tuned, events, passed))


def _at_thresholds(
    events: rpc.RpcEvents, limits: tuple[float, ...], regions: int
) -> dict[tuple[int, int, int], NDArray[np.intp]]:
    """Which muons are at a threshold: indices of events by charge, region, threshold."""
    low, high = events.config.strip_eta
    pt, eta, charge = (np.asarray(events.truth[name][:, 0]) for name in ("pt", "eta", "charge"))
    region = np.clip(((eta - low) / (high - low) * regions).astype(int), 0, regions - 1)
    found: dict[tuple[int, int, int], NDArray[np.intp]] = {}
    for side, part, n in product(range(len(CHARGES)), range(regions), range(len(limits))):
        mine = (region == part) & (charge == CHARGES[side])
        there = np.flatnonzero(mine & (pt >= limits[n]) & (pt < AT_THRESHOLD * limits[n]))
        if there.size < ENOUGH_MUONS:
            raise InputError(
                f"{there.size} muons of charge {CHARGES[side]:+d} at {limits[n]:g} GeV in region "
                f"{part} are fewer than {ENOUGH_MUONS}.",
                "Simulate more events, from below the lowest threshold to 1.1 times the highest, "
                "or ask for fewer regions.",
            )
        found[side, part, n] = there
    return found


def _ladder(
    events: rpc.RpcEvents, pivot: int, bends: Sequence[float]
) -> tuple[tuple[Window, ...], ...]:
    """Windows for muons of positive charge that bend by up to ``bends``, widest first.

    They reach from a straight line, smeared as the stiffest tenth of the muons is, to the bend.
    """
    config = events.config
    stiff = events.select(events.truth["pt"][:, 0] >= np.quantile(events.truth["pt"][:, 0], 0.9))
    images = rpc.unpack(stiff.images if stiff.signal is None else stiff.signal)
    strips = np.arange(config.strips)
    low, high = config.strip_eta
    at = (stiff.truth["eta"][:, :1] - low) / (high - low) * config.strips
    near = np.abs(strips - at) <= TRACK_STRIPS
    centres: list[NDArray[np.float64]] = []
    for first, rows in station_rows(config).values():
        hits = images[:, first : first + rows].sum(axis=1, dtype=np.float64) * near
        with np.errstate(invalid="ignore"):
            centres.append(np.asarray(hits @ strips / hits.sum(axis=1), np.float64))
    away = (np.array(centres) - centres[pivot]) * stiff.truth["charge"][:, 0]
    # The median does not see the few images with noise beside the track.
    spread = np.abs(away - np.nanmedian(away, axis=1, keepdims=True))
    margins = np.ceil(MARGIN * 1.4826 * np.nanmedian(spread, axis=1)).astype(int)
    shape = bend_shape(config)
    shape = shape - shape[pivot]
    rungs: list[tuple[Window, ...]] = []
    for bend in sorted(bends, reverse=True):
        windows: list[Window] = []
        for station, margin in enumerate(margins.tolist()):
            far = round(float(abs(shape[station]) * bend)) + margin
            up = shape[station] > 0
            window = (-margin, far) if up else (-far, margin)
            windows.append(PIVOT_WINDOW if station == pivot else window)
        rungs.append(tuple(windows))
    return tuple(rungs)


def _typical_pt(windows: Windows, events: rpc.RpcEvents, passed: Bits) -> tuple[float, ...]:
    """The median true pT of muons that pass so many thresholds, kept off both thresholds."""
    predicted = decode(windows, _answers(windows, passed)).pt
    values = [0.0]
    for value, (low, high) in zip(
        windows.pt[1:], pairwise((*windows.thresholds, 1.5 * windows.thresholds[-1])), strict=True
    ):
        mine = predicted == value
        if mine.any():
            edge = 0.05 * (high - low)
            value = float(np.clip(np.median(events.truth["pt"][mine, 0]), low + edge, high - edge))
        values.append(value)
    return tuple(values)
