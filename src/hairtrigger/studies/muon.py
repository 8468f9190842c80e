"""The muon trigger on RPC images: pT, eta, charge and number of muons (docs/studies/muon.md).

The decision of the trigger: an image passes a threshold where the predicted pT is not below it. The
pT is taught to be lowest where there is no muon, so the number of muons, which is predicted as
well, has no part in the decision.

    muon_task.py      what is asked of a network, and what its outputs mean
    muon_presets.py   how large a run is
    muon_calibration.py  from the pT that a network says to the one a threshold is compared with
    muon_networks.py  the networks, muon_train.py their training
    muon_metrics.py   the figures, muon_goals.py what they are to reach
    muon_windows.py   today's trigger on the same images
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors import rpc
from hairtrigger.errors import InputError
from hairtrigger.metrics import Fraction
from hairtrigger.studies import muon_sweep, muon_train, muon_windows
from hairtrigger.studies.base import Baseline, Outputs, Samples, Study
from hairtrigger.studies.muon_metrics import (
    MuonMetrics,
    MuonPrediction,
    OtherMuon,
    fake_rate,
    muon_metrics,
    other_muons,
)
from hairtrigger.studies.muon_presets import (
    COMPARE,
    COMPARED,
    DEMO,
    PAPER,
    READS,
    SMOKE,
    MuonPreset,
)
from hairtrigger.studies.muon_task import TASK, MuonTask, decode
from hairtrigger.studies.muon_windows_graph import windows_graph
from hairtrigger.train import Tell

TRAIN_RATES = (75.0, 150.0, 225.0, 300.0)
"""Background rates [Hz/cm2] to train and validate on, in equal parts."""
TEST_RATE = 150.0
NOISE_RATES = (150.0, 300.0)
MUON_WEIGHTS = (0.6, 2.4, 0.6, 0.4)
"""Of images with 0, 1, 2 and 3 muons, in training and test: single muons are what matters most."""


TUNING_EVENTS = 400_000
"""Single muons that the thresholds of the classical trigger are chosen by."""


@dataclass(frozen=True)
class Fakes:
    """The share of noise-only images at a background rate that pass 15 GeV."""

    rate_hz_cm2: float
    share: Fraction


@dataclass(frozen=True)
class MuonFigures:
    """All that the study measures of one network. ``others``: of the second and third muon, where
    they are asked for."""

    muons: MuonMetrics
    fakes: tuple[Fakes, ...]
    others: tuple[OtherMuon, ...] = ()


def simulate(
    preset: MuonPreset,
    seed: int,
    folder: Path | None = None,
    progress: Tell | None = None,
    task: MuonTask = TASK,
) -> Samples:
    """All samples of a run, each from a seed of its own.

    ``folder`` keeps them between calls and lets an interrupted simulation go on. Training and
    validation are tuples of `RpcEvents`, one a background rate. Test samples are ``muons`` (as in
    training, at 150 Hz/cm2) and ``noise_<rate>`` (no muons).
    """
    seeds = iter(range(100 * seed, 100 * seed + 100))

    def make(name: str, events: int, rate: float, muons: Any) -> rpc.RpcEvents:
        config = task.config(noise_rate_hz_cm2=rate)
        own = next(seeds)
        if folder is None:
            made = rpc.simulate(events, seed=own, config=config, muons=muons)
            if progress:
                progress(f"simulate {name}", events, events)
            return made

        def tell(done: int, total: int) -> None:
            if progress:
                progress(f"simulate {name}", done, total)

        store = rpc.simulate_to_store(
            folder / name, events, seed=own, config=config, muons=muons, progress=tell
        )
        return rpc.read_events(store)

    def mixed(name: str, events: int) -> tuple[rpc.RpcEvents, ...]:
        share = -(-events // len(TRAIN_RATES))
        return tuple(make(f"{name}_{rate:.0f}", share, rate, MUON_WEIGHTS) for rate in TRAIN_RATES)

    train = mixed("train", preset.train_events)
    validation = mixed("validation", preset.validation_events)
    test = {"muons": make("muons", preset.test_events, TEST_RATE, MUON_WEIGHTS)}
    for rate in NOISE_RATES:
        test[noise_name(rate)] = make(noise_name(rate), preset.noise_events, rate, 0)
    return Samples(train, validation, test)


def noise_name(rate: float) -> str:
    """Name of the noise-only test sample at a rate in Hz/cm2."""
    return f"noise_{rate:.0f}"


def evaluate(outputs: Outputs, samples: Samples, task: MuonTask = TASK) -> MuonFigures:
    """All figures of one network from its raw outputs on each test sample, by name.

    Raises `InputError` for a sample without outputs, or outputs of another length.
    """
    return _figures(
        {name: _decoded(name, outputs, events, task) for name, events in samples.test.items()},
        samples,
    )


def _figures(predictions: Mapping[str, MuonPrediction], samples: Samples) -> MuonFigures:
    fakes = tuple(Fakes(rate, fake_rate(predictions[noise_name(rate)].pt)) for rate in NOISE_RATES)
    muons, truth = predictions["muons"], samples.test["muons"].truth
    return MuonFigures(muon_metrics(muons, truth), fakes, other_muons(muons, truth))


def _decoded(name: str, outputs: Outputs, events: rpc.RpcEvents, task: MuonTask) -> MuonPrediction:
    if name not in outputs:
        raise InputError(
            f"There are no outputs for the test sample {name!r}.",
            f"Run the network on all of: {', '.join(outputs) or 'none given'} and {name}.",
        )
    predicted = decode(outputs[name], task)
    if len(predicted) != len(events):
        raise InputError(
            f"{len(predicted)} outputs for the {len(events)} events of {name!r}.",
            "Give one row of outputs for each event, in order.",
        )
    return predicted


def test_inputs(samples: Samples) -> Mapping[str, NDArray[np.uint8]]:
    """Packed images of each test sample, by name; `prepare` makes a network's input of them."""
    return {name: events.images for name, events in samples.test.items()}


def baseline(preset: MuonPreset, seed: int, task: MuonTask = TASK) -> Baseline:
    """Coincidence windows, as today's trigger has them, tuned on single muons of their own seed."""
    config = task.config(noise_rate_hz_cm2=TEST_RATE)
    tuning = rpc.simulate(TUNING_EVENTS, seed=100 * seed + 99, config=config, muons=1)
    windows = muon_windows.tune(tuning)

    def judge(outputs: Outputs, samples: Samples) -> MuonFigures:
        said = {name: muon_windows.decode(windows, values) for name, values in outputs.items()}
        return _figures(said, samples)

    graph = windows_graph(windows)
    return Baseline("Coincidence windows between stations", graph, judge)


def study(task: MuonTask = TASK, name: str = "muon") -> Study:
    """The study for a task. Its name begins with "muon", after which its source files are named."""
    asked = ", ".join(
        text
        for text, other in (
            (f"{task.rows} rows", task.rows != TASK.rows),
            (f"{task.muons} muons", task.muons != TASK.muons),
        )
        if other
    )
    return Study(
        name=name,
        title="Muon trigger on RPC images" + (f" ({asked})" if asked else ""),
        presets=(SMOKE, DEMO, COMPARE, PAPER),
        heads=task.heads,
        simulate=partial(simulate, task=task),
        data=partial(muon_train.data, task=task),
        teacher=partial(muon_train.teacher, task),
        float_student=partial(muon_train.float_student, task),
        student=partial(muon_train.student, task),
        train_teacher=partial(muon_train.train_teacher, task=task),
        train_float_student=partial(muon_train.train_float_student, task=task),
        train_student=partial(muon_train.train_student, task=task),
        decode=partial(decode, task=task),
        evaluate=partial(evaluate, task=task),
        scores=muon_sweep.scores,
        vary=muon_sweep.vary,
        compared=COMPARED,
        baseline=partial(baseline, task=task),
        interval="25ns",
        reads=READS,
    )


STUDY = study()
STUDIES = {
    "muon": STUDY,
    "muon_4_rows": study(MuonTask(rows=4), "muon_4_rows"),
    "muon_3_muons": study(MuonTask(muons=3), "muon_3_muons"),
}
"""The study as it is, on images of one row a station, and for all of up to three muons."""
