"""What is asked of the networks of the muon study: heads, targets, and what outputs mean."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors.rpc_config import MAX_MUONS, RpcConfig
from hairtrigger.errors import InputError
from hairtrigger.studies.base import as_outputs
from hairtrigger.studies.muon_calibration import HIGHEST_PT_GEV, LOWEST_PT_GEV, calibrated
from hairtrigger.studies.muon_metrics import MuonPrediction
from hairtrigger.train import Head, Heads, Kind, output_size, output_slices

FOCUS_GEV = (6.0, 17.0)
FOCUS = 2.0
"""Muons from 6 to 17 GeV, where thresholds stand, count twice in what pT is taught by."""
ETA_RANGE = (0.0, 1.05)
SEEN_LAYERS = 4
"""A muon that fired fewer layers than that is not asked for in training; the figures keep it."""
LAYERS, STATIONS = 9, 4


@dataclass(frozen=True)
class MuonTask:
    """``rows`` of an image: 9, one for each layer, or 4, one for each station; of how many leading
    ``muons`` (1 to 3) pT, eta and charge are asked. Raises `InputError` for other numbers."""

    rows: int = LAYERS
    muons: int = 1

    def __post_init__(self) -> None:
        if self.rows not in (LAYERS, STATIONS):
            raise InputError(f"rows = {self.rows!r}.", f"Give {LAYERS} or {STATIONS} rows.")
        if not 1 <= self.muons <= MAX_MUONS:
            raise InputError(f"muons = {self.muons!r}.", f"Give 1 to {MAX_MUONS} muons.")

    def config(self, **changes: Any) -> RpcConfig:
        """The detector, with other parameters where given."""
        return RpcConfig(rows=self.rows, **changes)

    @cached_property
    def heads(self) -> Heads:
        """What the outputs are; those of the second and third muon stand at the end.

        ``pt``: log2(pT / 3 GeV), 0 without muon, so that doubt lowers it: a step is the same
        relative step everywhere, and a threshold is a comparison of integers. ``eta``: -1 to 1 from
        end to end of the sector.
        """
        low, high = (float(encode_pt(pt)) for pt in FOCUS_GEV)
        focus = (low, high, FOCUS)
        heads: list[Head] = []
        for number in range(self.muons):
            name = "" if number == 0 else str(number + 1)
            heads += [
                Head(f"pt{name}", Kind.VALUE, weight=10.0, elbow=0.05, focus=focus),
                Head(f"eta{name}", Kind.VALUE, weight=5.0, elbow=0.02),
                Head(f"charge{name}", Kind.BINARY, weight=3.0),
            ]
        heads.insert(3, Head("count", Kind.CLASSES, size=MAX_MUONS + 1, weight=1.0))
        return tuple(heads)


TASK = MuonTask()


def targets(truth: NDArray[np.void], task: MuonTask = TASK) -> NDArray[np.float32]:
    """Targets (events, heads) of the heads; NaN where there is no muon to have an eta or a charge.

    Muons that fired fewer than `SEEN_LAYERS` layers do not count; the leading one is the first of
    those that do, the second the next. Where there are only such muons, any pT will do for the
    leading one.
    """
    seen = truth["layers_hit"] >= SEEN_LAYERS
    count = np.count_nonzero(seen, axis=1)
    order = np.argsort(~seen, axis=1, kind="stable")
    columns: list[NDArray[np.float64]] = []
    for number in range(task.muons):
        which = (np.arange(len(truth)), order[:, number])
        there = count > number
        # Where muons are in the image but none is seen, it would teach that tracks are nothing.
        without = np.where(truth["n_muons"] == 0, 0.0, np.nan) if number == 0 else 0.0
        columns += [
            np.where(there, encode_pt(truth["pt"][which]), without),
            np.where(there, encode_eta(truth["eta"][which]), np.nan),
            np.where(there, truth["charge"][which] > 0, np.nan),
        ]
    columns.insert(3, count)
    return np.stack(columns, axis=1).astype(np.float32)


def encode_pt(pt: Any) -> NDArray[np.float64]:
    """log2(pT / 3 GeV), 0 for less than 3 GeV: what the head ``pt`` says."""
    return np.log2(np.maximum(np.asarray(pt, dtype=np.float64), LOWEST_PT_GEV) / LOWEST_PT_GEV)


def encode_eta(eta: Any) -> NDArray[np.float64]:
    """-1 at one end of the sector to 1 at the other: what the head ``eta`` says."""
    low, high = ETA_RANGE
    return (np.asarray(eta, dtype=np.float64) - low) * (2 / (high - low)) - 1


def decode(outputs: Any, task: MuonTask = TASK) -> MuonPrediction:
    """What raw outputs (events, outputs of the heads) mean; they may come from any engine.

    pT is 3 to 40 GeV, calibrated; an image without muons has a low one.
    Raises `InputError` for another shape, NaN or infinity.
    """
    values = as_outputs(outputs, output_size(task.heads))
    where = output_slices(task.heads)
    count = values[:, where["count"]].argmax(axis=1).astype(np.int64)
    top = float(encode_pt(HIGHEST_PT_GEV))
    low, high = ETA_RANGE

    def muon(name: str, others: tuple[MuonPrediction, ...] = ()) -> MuonPrediction:
        pt, eta, charge = (
            values[:, where[f"{key}{name}"]][:, 0] for key in ("pt", "eta", "charge")
        )
        said = LOWEST_PT_GEV * np.exp2(np.clip(pt, 0, top))
        return MuonPrediction(
            pt=calibrated(said),
            eta=low + (eta + 1) * (high - low) / 2,
            charge=np.where(charge >= 0, 1, -1),
            n_muons=count,
            others=others,
        )

    return muon("", tuple(muon(str(number)) for number in range(2, task.muons + 1)))
