"""The muon trigger as it is explained: its networks, its events, its stations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors import rpc
from hairtrigger.engines import run
from hairtrigger.errors import InputError
from hairtrigger.explain.case import Events
from hairtrigger.explain.groups import Groups, by_axis
from hairtrigger.explain.load import CHIP
from hairtrigger.explain.subject import Scalar
from hairtrigger.graph import Graph
from hairtrigger.studies.muon import STUDY, TASK, TEST_RATE
from hairtrigger.studies.muon_metrics import TRIGGER_GEV, MuonPrediction
from hairtrigger.studies.muon_task import decode
from hairtrigger.train import predict

ROWS = ("BI 1", "BI 2", "BI 3", "BM1 1", "BM1 2", "BM2 1", "BM2 2", "BO 1", "BO 2")
STATIONS = ("BI", "BI", "BI", "BM1", "BM1", "BM2", "BM2", "BO", "BO")
SHAPE = (TASK.rows, TASK.config().strips, 1)
GROUPS: Groups = by_axis(SHAPE, 0, STATIONS)
SCALAR = Scalar.head(STUDY.heads, "pt")


def files(folder: Path | None) -> dict[str, Path]:
    """The networks of a run folder, or the trained student that comes with the study."""
    if folder is None:
        return {"quantised student": Path(rpc.__file__).parents[1] / "studies/trained/muon.keras"}
    stages = folder / "stages"
    found = {
        "teacher": stages / "teacher/model.keras",
        "float student": stages / "float_student/model.keras",
        "quantised student": stages / "student/model.keras",
        CHIP: stages / "convert/graph.txt",
    }
    return {name: path for name, path in found.items() if path.exists()}


def predictions(network: Any, images: NDArray[np.uint8]) -> MuonPrediction:
    """What a network or Graph says of images (events, rows, strips) or (events, *SHAPE)."""
    inputs = images.reshape(len(images), *SHAPE)
    if isinstance(network, Graph):
        outputs = run(network, inputs).values[0].reshape(len(inputs), -1)
    else:
        outputs = predict(network, inputs)
    return decode(outputs)


def single_muons(count: int, seed: int, rate: float = TEST_RATE, **changes: Any) -> rpc.RpcEvents:
    """Images of one muon each, with the truth of which hits are its."""
    config = TASK.config(noise_rate_hz_cm2=rate, **changes)
    return rpc.simulate(count, seed=seed, config=config, muons=1, with_signal=True)


def accepted(network: Any, count: int, seed: int, folder: Path | None = None) -> Events:
    """``count`` images of one muon of at least 15 GeV that the network puts at 15 GeV or more.

    Raises `InputError` where so few are accepted that they would not come together.
    """
    del folder
    images: list[NDArray[np.uint8]] = []
    signals: list[NDArray[np.uint8]] = []
    captions: list[str] = []
    tried = 0
    for block in range(64):
        # Half of all single muons are above 15 GeV; nearly all of them are accepted.
        events = single_muons(max(256, 2 * count), seed + 1000 * block)
        tried += len(events)
        hard = np.flatnonzero(events.truth["pt"][:, 0] >= TRIGGER_GEV)
        said = predictions(network, events.unpacked(hard))
        chosen = hard[said.pt >= TRIGGER_GEV]
        images.append(events.unpacked(chosen))
        signals.append(rpc.unpack(events.signal[chosen]))
        for event, pt in zip(chosen, said.pt[said.pt >= TRIGGER_GEV], strict=True):
            true = events.truth[event]
            captions.append(
                f"true pT {true['pt'][0]:.1f} GeV, predicted {pt:.1f} GeV, "
                f"eta {true['eta'][0]:.2f}, charge {true['charge'][0]:+d}"
            )
        if len(captions) >= count:
            break
    else:
        raise InputError(
            f"Only {len(captions)} of {tried} muons were accepted.",
            "Explain a trained network, or ask for fewer events.",
        )
    return Events(
        np.concatenate(images)[:count, ..., None],
        "images of one muon of 15 GeV or more at "
        f"{TEST_RATE:.0f} Hz/cm2 that the network puts at 15 GeV or more",
        np.concatenate(signals)[:count, ..., None],
        tuple(captions[:count]),
    )


def station(name: str) -> NDArray[np.bool_]:
    """Where a station is in an event."""
    return np.asarray(GROUPS.labels == GROUPS.names.index(name))
