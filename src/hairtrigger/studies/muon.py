"""The muon trigger on RPC images: pT, eta, charge and number of muons (docs/studies/muon.md).

The decision of the trigger: an image passes a threshold where the predicted pT is not below it. The
pT is taught to be lowest where there is no muon, so the number of muons, which is predicted as
well, has no part in the decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors import rpc
from hairtrigger.detectors.rpc_config import RpcConfig
from hairtrigger.errors import InputError
from hairtrigger.metrics import Fraction
from hairtrigger.studies import muon_networks as networks
from hairtrigger.studies import muon_sweep
from hairtrigger.studies.base import Outputs, Samples, Study, Trained, Way, as_outputs
from hairtrigger.studies.muon_metrics import (
    MuonMetrics,
    MuonPrediction,
    fake_rate,
    muon_metrics,
)
from hairtrigger.train import (
    Data,
    Distillation,
    FitSettings,
    Head,
    History,
    Kind,
    Tell,
    distill,
    ebops_of,
    fit,
    output_size,
    output_slices,
    prune,
    quantise_after_training,
    truth_loss,
)

LOWEST_PT_GEV = 3.0
HIGHEST_PT_GEV = 40.0
CALIBRATION = ((11.0, 14.0), (1.0, 1.05))
"""pT that the network says [GeV], and what it is multiplied by. It is taught the median, so half of
the muons at a threshold would fail it: from 14 GeV on, below the trigger's threshold of 15, pT is
raised so that most of them pass; up to 11 GeV it is as taught."""
ETA_RANGE = (0.0, 1.05)
TRAIN_RATES = (75.0, 150.0, 225.0, 300.0)
"""Background rates [Hz/cm2] to train and validate on, in equal parts."""
TEST_RATE = 150.0
NOISE_RATES = (150.0, 300.0)
MUON_WEIGHTS = (0.6, 2.4, 0.6, 0.4)
"""Of images with 0, 1, 2 and 3 muons, in training and test: single muons are what matters most."""
PTQ_EVENTS = 8192
"""Events that the ranges of activations are taken from in quantisation after training."""
SEEN_LAYERS = 4
"""A muon that fired fewer layers than that is not asked for in training; the figures keep it."""

HEADS = (
    Head("pt", Kind.VALUE, weight=10.0, elbow=0.05),
    Head("eta", Kind.VALUE, weight=5.0, elbow=0.02),
    Head("charge", Kind.BINARY, weight=3.0),
    Head("count", Kind.CLASSES, size=4, weight=1.0),
)
"""``pt``: log2(pT / 3 GeV), 0 without muon, so that doubt lowers it: a step is the same relative
step everywhere, and a threshold is a comparison of integers. ``eta``: -1 to 1 from end to end of
the sector."""


@dataclass(frozen=True)
class MuonPreset:
    """How large a run is, and how its student is made.

    Events of each sample (noise: at each rate), epochs, learning rates; for the quantised student
    the price of bits (``beta``) and their budget (``ebops``). ``teacher_share``, ``temperature``
    and ``hint`` say what students learn from the teacher (`Distillation`); a share of 0 is none.
    ``pruned``: the share of weights that the quantised student starts without. ``post_bits``: no
    training of the quantised student at all, but that many bits for each number of the float one.
    """

    name: str
    train_events: int
    validation_events: int
    test_events: int
    noise_events: int
    teacher_epochs: int
    float_epochs: int
    student_epochs: int
    batch: int = 256
    teacher_rate: float = 3e-3
    float_rate: float = 5e-3
    student_rate: float = 3e-3
    beta: tuple[float, float] = (1e-7, 1.5e-6)
    ebops: float | None = 450_000.0
    temperature: float = 2.0
    teacher_share: float = 0.3
    hint: float = 0.0
    pruned: float = 0.0
    post_bits: int | None = None


SMOKE = MuonPreset("smoke", 2048, 1024, 2048, 2048, 1, 1, 1)
DEMO = MuonPreset("demo", 300_000, 10_000, 40_000, 100_000, 2, 5, 3)
COMPARE = MuonPreset("compare", 1_000_000, 20_000, 200_000, 200_000, 2, 2, 2)
"""For the comparison of ways to make a student, and for sweeps: many trainings."""
PAPER = MuonPreset("paper", 2_000_000, 50_000, 400_000, 3_000_000, 2, 4, 3)
"""An hour or two on two cores."""

COMPARED = (
    Way("float_truth", "float, from the truth", {"teacher_share": 0.0}),
    Way("float_soft", "float, soft outputs of the teacher", {}),
    Way("float_hint", "float, soft outputs and hint", {"hint": 0.3}),
    Way("truth", "quantised in training, from the truth", {"teacher_share": 0.0}, "float_truth"),
    Way("soft", "quantised in training, soft outputs", {}, "float_soft"),
    Way("hint", "quantised in training, soft outputs and hint", {"hint": 0.3}, "float_hint"),
    Way(
        "pruned",
        "half of the weights pruned, then quantised in training, from the truth",
        {"teacher_share": 0.0, "pruned": 0.5},
        "float_truth",
    ),
    *(
        Way(
            f"post_{bits}",
            f"quantised after training, {bits} bits",
            {"post_bits": bits},
            "float_truth",
        )
        for bits in (8, 6, 4)
    ),
)
"""The same student made in different ways, each with a figure of its own: `hairtrigger compare`."""


@dataclass(frozen=True)
class Fakes:
    """The share of noise-only images at a background rate that pass 15 GeV."""

    rate_hz_cm2: float
    share: Fraction


@dataclass(frozen=True)
class MuonFigures:
    """All that the study measures of one network."""

    muons: MuonMetrics
    fakes: tuple[Fakes, ...]


# --- data ----------------------------------------------------------------------------------------


def simulate(
    preset: MuonPreset, seed: int, folder: Path | None = None, progress: Tell | None = None
) -> Samples:
    """All samples of a run, each from a seed of its own.

    ``folder`` keeps them between calls and lets an interrupted simulation go on. Training and
    validation are tuples of `RpcEvents`, one a background rate. Test samples are ``muons`` (as in
    training, at 150 Hz/cm2) and ``noise_<rate>`` (no muons).
    """
    seeds = iter(range(100 * seed, 100 * seed + 100))

    def make(name: str, events: int, rate: float, muons: Any) -> rpc.RpcEvents:
        config = RpcConfig(noise_rate_hz_cm2=rate)
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


def prepare(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Packed images (events, rows, strips / 8) as the network's input (events, rows, strips, 1)."""
    return rpc.unpack(packed)[..., None]


def data(events: rpc.RpcEvents | tuple[rpc.RpcEvents, ...]) -> Data:
    """Images and targets of simulated events, for training."""
    parts = events if isinstance(events, tuple) else (events,)
    images = np.concatenate([part.images for part in parts])
    return Data(images, targets(np.concatenate([part.truth for part in parts])), prepare)


def targets(truth: NDArray[np.void]) -> NDArray[np.float32]:
    """Targets (events, 4) of the heads; NaN where there is no muon to have an eta or a charge.

    Muons that fired fewer than `SEEN_LAYERS` layers do not count; the leading one is the first of
    those that do. Where there are only such muons, any pT will do.
    """
    seen = truth["layers_hit"] >= SEEN_LAYERS
    count = np.count_nonzero(seen, axis=1)
    first = (np.arange(len(truth)), np.argmax(seen, axis=1))
    some = count > 0
    without = np.where(truth["n_muons"] == 0, 0.0, np.nan)
    return np.stack(
        [
            np.where(some, encode_pt(truth["pt"][first]), without),
            np.where(some, encode_eta(truth["eta"][first]), np.nan),
            np.where(some, truth["charge"][first] > 0, np.nan),
            count,
        ],
        axis=1,
    ).astype(np.float32)


def encode_pt(pt: Any) -> NDArray[np.float64]:
    """log2(pT / 3 GeV), 0 for less than 3 GeV: what the head ``pt`` says."""
    return np.log2(np.maximum(np.asarray(pt, dtype=np.float64), LOWEST_PT_GEV) / LOWEST_PT_GEV)


def encode_eta(eta: Any) -> NDArray[np.float64]:
    """-1 at one end of the sector to 1 at the other: what the head ``eta`` says."""
    low, high = ETA_RANGE
    return (np.asarray(eta, dtype=np.float64) - low) * (2 / (high - low)) - 1


def decode(outputs: Any) -> MuonPrediction:
    """What raw outputs (events, 7) mean; they may come from any engine.

    pT is 3 to 40 GeV after `CALIBRATION`; an image without muons has a low one.
    Raises `InputError` for another shape, NaN or infinity.
    """
    values = as_outputs(outputs, output_size(HEADS))
    where = output_slices(HEADS)
    count = values[:, where["count"]].argmax(axis=1)
    top = float(encode_pt(HIGHEST_PT_GEV))
    said = LOWEST_PT_GEV * np.exp2(np.clip(values[:, where["pt"]][:, 0], 0, top))
    pt = np.minimum(said * np.interp(said, *CALIBRATION), HIGHEST_PT_GEV)
    low, high = ETA_RANGE
    return MuonPrediction(
        pt=pt,
        eta=low + (values[:, where["eta"]][:, 0] + 1) * (high - low) / 2,
        charge=np.where(values[:, where["charge"]][:, 0] >= 0, 1, -1),
        n_muons=count.astype(np.int64),
    )


# --- networks ------------------------------------------------------------------------------------


def teacher() -> Any:
    """The untrained float teacher, on its starting roads."""
    model = networks.build_teacher(RpcConfig(), output_size(HEADS))
    networks.start_on_roads(model, RpcConfig(), networks.TEACHER)
    return model


def float_student() -> Any:
    """The untrained student in float, on its starting roads."""
    return _on_roads(networks.build_float_student(RpcConfig(), output_size(HEADS)))


def student() -> Any:
    """The untrained student with HGQ2 layers, on its starting roads."""
    return _on_roads(networks.build_student(RpcConfig(), output_size(HEADS)))


def _on_roads(model: Any) -> Any:
    networks.start_on_roads(model, RpcConfig())
    return model


def train_teacher(
    preset: MuonPreset,
    samples: Samples,
    seed: int,
    *,
    checkpoint: Path | None = None,
    progress: Tell | None = None,
) -> Trained:
    """Train the teacher on the truth."""
    model = _seeded(teacher, seed)
    settings = FitSettings(preset.teacher_epochs, preset.batch, preset.teacher_rate, seed)
    history = fit(
        model,
        data(samples.train),
        data(samples.validation),
        truth_loss(HEADS),
        settings,
        checkpoint=checkpoint,
        progress=progress,
        what="train teacher",
    )
    return Trained(model, history)


def train_float_student(
    preset: MuonPreset,
    samples: Samples,
    seed: int,
    teacher: Any | None,
    *,
    checkpoint: Path | None = None,
    progress: Tell | None = None,
) -> Trained:
    """Train the student in float, on the truth and the ``teacher``'s outputs (None: truth only)."""
    model = _seeded(float_student, seed)
    settings = FitSettings(preset.float_epochs, preset.batch, preset.float_rate, seed)
    how = {"checkpoint": checkpoint, "progress": progress, "what": "train float student"}
    return _train(model, preset, samples, settings, teacher, how)


def train_student(
    preset: MuonPreset,
    samples: Samples,
    seed: int,
    teacher: Any | None,
    *,
    start: Any | None = None,
    checkpoint: Path | None = None,
    progress: Tell | None = None,
) -> Trained:
    """Train the student for the chip, from the weights of the float student ``start`` if given.

    Raises `InputError` where the preset asks for quantisation after training and there is no
    ``start``.
    """
    model = _seeded(student, seed)
    if start is not None:
        networks.start_from_float(start, model)
    if preset.post_bits is not None:
        return _quantised(model, start, samples, preset.post_bits)
    if preset.pruned:
        prune(model, preset.pruned, networks.PRUNED)
    settings = FitSettings(
        preset.student_epochs, preset.batch, preset.student_rate, seed, preset.beta, preset.ebops
    )
    how = {"checkpoint": checkpoint, "progress": progress, "what": "train student"}
    return _train(model, preset, samples, settings, teacher, how)


def _quantised(model: Any, start: Any | None, samples: Samples, bits: int) -> Trained:
    """The float student in so many bits a number, without any training."""
    if start is None:
        raise InputError(
            "Quantisation after training has no trained network.",
            "Give the float student as start, or set post_bits to None.",
        )
    validation = data(samples.validation)
    some = validation.prepare(validation.inputs[:PTQ_EVENTS])
    quantise_after_training(
        model, start, some, bits, keep=tuple(networks.station_rows(RpcConfig()))
    )
    model(some[:1].astype(np.float32), training=True)  # counts the EBOPs
    return Trained(model, History(ebops=(ebops_of(model),), best_epoch=0))


def _train(
    model: Any,
    preset: MuonPreset,
    samples: Samples,
    settings: FitSettings,
    teacher: Any | None,
    how: dict[str, Any],
) -> Trained:
    train, validation = data(samples.train), data(samples.validation)
    if teacher is None or not (preset.teacher_share or preset.hint):
        return Trained(model, fit(model, train, validation, truth_loss(HEADS), settings, **how))
    learned = Distillation(preset.temperature, preset.teacher_share, preset.hint)
    history = distill(teacher, model, train, validation, HEADS, learned, settings, **how)
    return Trained(model, history)


def _seeded(build: Any, seed: int) -> Any:
    from hairtrigger.frontends.keras_file import import_keras

    import_keras().utils.set_random_seed(seed)
    return build()


# --- figures -------------------------------------------------------------------------------------


def evaluate(outputs: Outputs, samples: Samples) -> MuonFigures:
    """All figures of one network from its raw outputs on each test sample, by name.

    Raises `InputError` for a sample without outputs, or outputs of another length.
    """
    predictions = {name: _decoded(name, outputs, events) for name, events in samples.test.items()}
    fakes = tuple(Fakes(rate, fake_rate(predictions[noise_name(rate)].pt)) for rate in NOISE_RATES)
    return MuonFigures(muon_metrics(predictions["muons"], samples.test["muons"].truth), fakes)


def _decoded(name: str, outputs: Outputs, events: rpc.RpcEvents) -> MuonPrediction:
    if name not in outputs:
        raise InputError(
            f"There are no outputs for the test sample {name!r}.",
            f"Run the network on all of: {', '.join(outputs) or 'none given'} and {name}.",
        )
    predicted = decode(outputs[name])
    if len(predicted) != len(events):
        raise InputError(
            f"{len(predicted)} outputs for the {len(events)} events of {name!r}.",
            "Give one row of outputs for each event, in order.",
        )
    return predicted


def test_inputs(samples: Samples) -> Mapping[str, NDArray[np.uint8]]:
    """Packed images of each test sample, by name; `prepare` makes a network's input of them."""
    return {name: events.images for name, events in samples.test.items()}


STUDY = Study(
    name="muon",
    title="Muon trigger on RPC images",
    presets=(SMOKE, DEMO, COMPARE, PAPER),
    heads=HEADS,
    simulate=simulate,
    data=data,
    teacher=teacher,
    float_student=float_student,
    student=student,
    train_teacher=train_teacher,
    train_float_student=train_float_student,
    train_student=train_student,
    decode=decode,
    evaluate=evaluate,
    scores=muon_sweep.scores,
    vary=muon_sweep.vary,
    compared=COMPARED,
)
