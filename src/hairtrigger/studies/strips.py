"""Clusters in a gaseous strip detector: is it a muon's, where did the muon cross, at what angle.

A dense network answers all three from charges and times of 16 strips and the angle that the place
in the detector suggests; the classical ways, centroid and cluster time projection, get the same.

    strips_samples.py    clusters of simulated planes
    strips_front.py      what the networks are given of them
    strips_networks.py   the network, in float and for the chip
    strips_metrics.py    resolutions, efficiencies, fakes
    strips_tracks.py     the other half of the study: tracks in chambers of eight planes
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.studies import strips_front as front
from hairtrigger.studies import strips_networks as networks
from hairtrigger.studies.base import Trained
from hairtrigger.studies.strips_samples import (
    BACKGROUND,
    MUON,
    PIECE,
    Candidates,
    Source,
)
from hairtrigger.train import Data, FitSettings, Head, Heads, Kind, fit, truth_loss
from hairtrigger.train.fit import Tell

HEADS: Heads = (
    Head("muon", Kind.BINARY, weight=0.1),
    Head("x", Kind.VALUE, weight=2.0, elbow=0.1),
    Head("tan_theta", Kind.VALUE, weight=0.5, elbow=0.02),
)
"""Is it a muon's; where it crosses the middle of the gap, in strips from the middle of the window;
the tangent of its angle."""
OUTPUTS = len(HEADS)
ANGLES_DEG = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0)
"""Angles of the test samples."""
INCLINED_DEG = (10.0, 40.0)
"""Where the goal asks for more than the time projection has."""
TRAINED_DEG = (-3.0, 43.0)
"""Angles to learn from: somewhat further than those of the test, so that none lies at an edge."""
RATE_KHZ_CM2 = 15.0
"""Background of the test samples that have one."""
TRAIN_RATES = (0.0, 7.5, 15.0)
MUON_SHARE = 0.98
"""Share of muons' clusters that are to be taken for one."""
BITS = (8, 6, 4)
"""Of the networks with as many bits for everything."""


@dataclass(frozen=True)
class StripsPreset:
    """How large a run is.

    ``train``, ``validation``: planes at each of `TRAIN_RATES`; ``test``: at each angle, with
    background and without; ``background``: planes without a muon, to train, to validate and to
    test, each. ``hidden``: units of the hidden layers. ``proof``: events that all engines are
    compared on, ``c_simulation``: those of them that go through the C simulation of the HLS project
    as well.
    """

    name: str
    train: int
    validation: int
    test: int
    background: int
    float_epochs: int
    quantised_epochs: int
    student_epochs: int
    proof: int
    c_simulation: int
    batch: int = 512
    float_rate: float = 4e-3
    student_rate: float = 2e-3
    beta: tuple[float, float] = (1e-8, 4e-7)
    hidden: tuple[int, int, int] = (96, 48, 32)


SMOKE = StripsPreset("smoke", 4096, 1024, 512, 2048, 2, 1, 2, 512, 512, hidden=(8, 8, 8))
DEMO = StripsPreset("demo", 100_000, 8192, 8192, 32_768, 20, 10, 16, 20_000, 20_000)
PAPER = StripsPreset("paper", 400_000, 20_000, 40_000, 200_000, 30, 30, 40, 100_000, 100_000)
PRESETS = (SMOKE, DEMO, PAPER)


def preset_named(name: str) -> StripsPreset:
    """Raises `InputError` naming those there are."""
    for preset in PRESETS:
        if preset.name == name:
            return preset
    known = ", ".join(preset.name for preset in PRESETS)
    raise InputError(f"strips has no preset {name!r}.", f"Choose one of: {known}.")


def sources(preset: StripsPreset, seed: int) -> dict[str, Source]:
    """What each sample is made of, by its name."""
    first = 1000 * seed
    found: dict[str, Source] = {}
    for part, count in (("train", preset.train), ("validation", preset.validation)):
        for rate in TRAIN_RATES:
            place = first + len(found)
            found[f"{part}_{rate:g}"] = Source(count, place, TRAINED_DEG, rate)
        place = first + len(found)
        planes = preset.background if part == "train" else preset.background // 8
        found[f"{part}_background"] = Source(planes, place, TRAINED_DEG, RATE_KHZ_CM2, False)
    for rate in (0.0, RATE_KHZ_CM2):
        for angle in ANGLES_DEG:
            name = test_name(angle, rate)
            found[name] = Source(preset.test, first + len(found), (angle, angle), rate)
    at = first + len(found)
    found["test_background"] = Source(preset.background, at, (0, 40), RATE_KHZ_CM2, False)
    return found


def test_name(angle_deg: float, rate_khz_cm2: float) -> str:
    """The name of a test sample."""
    return f"test_{angle_deg:g}_{rate_khz_cm2:g}"


def targets(found: Candidates) -> NDArray[np.float32]:
    """What a network learns (n, heads): of pieces of a muon nothing, of background only that."""
    truth = found.truth
    wanted = np.full((len(found), OUTPUTS), np.nan, dtype=np.float32)
    muon = truth["kind"] == MUON
    wanted[truth["kind"] == BACKGROUND, 0] = 0
    wanted[muon, 0] = 1
    wanted[muon, 1] = truth["x"][muon]
    wanted[muon, 2] = truth["tan_theta"][muon]
    return wanted


def inputs(found: Candidates) -> NDArray[np.float32]:
    """What a network is given of candidates, (n, `FEATURES`)."""
    return front.detector_input(found.charge, found.time, found.truth["nominal"])


def data(found: Candidates) -> Data:
    """Inputs behind the front and targets of candidates, for training."""
    kept = found.select(found.truth["kind"] != PIECE)
    return Data(front.network_input(inputs(kept)), targets(kept))


def train_float(
    preset: StripsPreset,
    train: Candidates,
    validation: Candidates,
    seed: int,
    *,
    checkpoint: Path | None = None,
    progress: Tell | None = None,
) -> Trained:
    """The network in float."""
    model = _seeded(networks.build_float, preset, seed)
    settings = FitSettings(preset.float_epochs, preset.batch, preset.float_rate, seed)
    return _fitted(model, train, validation, settings, "train float", checkpoint, progress)


def train_fixed(
    preset: StripsPreset,
    bits: int,
    start: Any,
    train: Candidates,
    validation: Candidates,
    seed: int,
    *,
    by_tensor: bool = False,
    checkpoint: Path | None = None,
    progress: Tell | None = None,
) -> Trained:
    """The network with ``bits`` bits for every weight and value, from a float one, retrained;
    ``by_tensor``: with one binary point a tensor, as GPUs and DPUs want it."""
    model = _seeded(networks.build_int8 if by_tensor else networks.build_fixed, preset, seed)
    networks.start_from_float(start, model, _read_first(train), bits)
    settings = FitSettings(preset.quantised_epochs, preset.batch, preset.student_rate, seed)
    what = f"train with {bits} bits"
    return _fitted(model, train, validation, settings, what, checkpoint, progress)


def train_student(
    preset: StripsPreset,
    start: Any,
    train: Candidates,
    validation: Candidates,
    seed: int,
    *,
    checkpoint: Path | None = None,
    progress: Tell | None = None,
) -> Trained:
    """The network for the chip, whose widths are learned, from a float one."""
    model = _seeded(networks.build_student, preset, seed)
    networks.start_from_float(start, model, _read_first(train))
    settings = FitSettings(
        preset.student_epochs, preset.batch, preset.student_rate, seed, preset.beta
    )
    return _fitted(model, train, validation, settings, "train student", checkpoint, progress)


def _read_first(train: Candidates) -> NDArray[np.float32]:
    """What the first layer reads of some candidates."""
    return front.network_input(inputs(train.select(slice(0, 20_000))))


def _seeded(build: Any, preset: StripsPreset, seed: int) -> Any:
    from hairtrigger.frontends.keras_file import import_keras

    import_keras().utils.set_random_seed(seed)
    return build(front.SEEN, OUTPUTS, preset.hidden)


def _fitted(
    model: Any,
    train: Candidates,
    validation: Candidates,
    settings: FitSettings,
    what: str,
    checkpoint: Path | None,
    progress: Tell | None,
) -> Trained:
    history = fit(
        model,
        data(train),
        data(validation),
        truth_loss(HEADS),
        settings,
        checkpoint=checkpoint,
        progress=progress,
        what=what,
    )
    return Trained(front.with_front(model), history)
