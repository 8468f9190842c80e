"""Tracks in chambers of strips: is there a muon in eight planes full of background, and where?

    strips_tracks_samples.py   chambers, with a muon and without
    strips_tracks_networks.py  the networks: a convolutional and a recurrent one
    strips_roads.py            what is done without a network: roads, Hough transform
    strips_tracks_metrics.py   figures

The first output of a network is the logit of a muon: a track is found where it is not below a cut,
chosen on chambers of background for a wanted rate of fakes. The cut is a part of the Graph, so
that the chip decides. The others are position and slope in the middle of the chamber.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors.strips_config import PLANES, ChamberConfig
from hairtrigger.errors import InputError
from hairtrigger.graph import Builder, Graph, Literal, moves, ops
from hairtrigger.studies import strips_tracks_networks as networks
from hairtrigger.studies.base import Trained, as_outputs
from hairtrigger.studies.strips_tracks_metrics import Said
from hairtrigger.studies.strips_tracks_networks import CNN, RNN, CnnShape, RnnShape
from hairtrigger.studies.strips_tracks_samples import Sample, joined, strips_first, unpack
from hairtrigger.train import Data, FitSettings, Head, Heads, Kind, fit, truth_loss
from hairtrigger.train.data import Prepare
from hairtrigger.train.fit import Tell

CONFIG = ChamberConfig()
IMAGE = (PLANES, CONFIG.strips)
RATES = (1.0, 5.0, 10.0, 15.0, 20.0)
"""Background that the methods are judged at [kHz/cm2]; they learn from what lies between the first
and the last."""
CUT_RATE = 15.0
"""Background that cuts are chosen at."""
HEADS: Heads = (
    Head("track", Kind.BINARY),
    Head("x", Kind.VALUE, elbow=0.1),
    Head("slope", Kind.VALUE, elbow=0.1),
)
X_UNIT_MM, SLOPE_UNIT = 4.0, 0.03
"""What 1 stands for in the outputs of position and slope; the slope counts from that of the nominal
track."""
PREPARE: dict[str, Prepare] = {CNN: strips_first, RNN: unpack}
"""How each network takes a chamber."""
KEEP, OUTPUTS = "keep", "outputs"


@dataclass(frozen=True)
class TracksPreset:
    """How large a run is, in chambers.

    ``train``, ``validation``, ``tune``: as many with a muon and without; ``cut``: without, that
    choose the cut; ``test_muons``, ``test_noise``: at each rate of `RATES`. ``fake_rate``: chambers
    without a muon that may pass, as a share. ``proof``: chambers that all engines are compared on.
    """

    name: str
    train: int
    validation: int
    tune: int
    cut: int
    test_muons: int
    test_noise: int
    fake_rate: float
    float_epochs: int
    chip_epochs: int
    proof: int
    batch: int = 256
    float_rate: float = 4e-3
    chip_rate: float = 3e-3
    cnn_beta: tuple[float, float] = (2e-7, 1e-6)
    rnn_beta: tuple[float, float] = (1e-6, 1e-5)
    cnn: CnnShape = networks.CNN_SHAPE
    rnn: RnnShape = networks.RNN_SHAPE

    def shape(self, kind: str) -> CnnShape | RnnShape:
        """That of a network, `CNN` or `RNN`."""
        return self.cnn if kind == CNN else self.rnn

    def beta(self, kind: str) -> tuple[float, float]:
        """The price of an EBOP to a network, at first and at last; see `FitSettings`. The steps of
        a GRU count as one, so its price is higher."""
        return self.cnn_beta if kind == CNN else self.rnn_beta


SMOKE = TracksPreset(
    *("smoke", 1024, 512, 256, 1024, 256, 512, 1e-2, 1, 1, 64),
    cnn=CnnShape((4, 3), hidden=6),
    rnn=RnnShape(2, 3),
)
DEMO = TracksPreset("demo", 24_576, 2048, 2048, 8192, 1024, 2048, 1e-3, 8, 10, 512)
PAPER = TracksPreset("paper", 98_304, 8192, 8192, 102_400, 10_240, 40_960, 1e-3, 12, 16, 8192)
PRESETS = (SMOKE, DEMO, PAPER)


def preset_named(name: str) -> TracksPreset:
    """Raises `InputError` naming those there are."""
    for preset in PRESETS:
        if preset.name == name:
            return preset
    known = ", ".join(preset.name for preset in PRESETS)
    raise InputError(f"The tracks have no preset {name!r}.", f"Choose one of: {known}.")


def sizes(preset: TracksPreset) -> dict[str, tuple[bool, int, tuple[float, float]]]:
    """Of each sample of a run, by its name: are there muons, how many chambers, and the range of
    background [kHz/cm2]."""
    spread, middle = (RATES[0], RATES[-1]), (CUT_RATE, CUT_RATE)
    found: dict[str, tuple[bool, int, tuple[float, float]]] = {}
    for part, rates in (("train", spread), ("validation", spread), ("tune", middle)):
        count = getattr(preset, part)
        found |= {f"{part}_muons": (True, count, rates), f"{part}_noise": (False, count, rates)}
    found["cut_noise"] = (False, preset.cut, middle)
    for rate in RATES:
        found[test_name(True, rate)] = (True, preset.test_muons, (rate, rate))
        found[test_name(False, rate)] = (False, preset.test_noise, (rate, rate))
    return found


def test_name(muons: bool, rate: float) -> str:
    """The name of a test sample at a rate."""
    return f"test_{'muons' if muons else 'noise'}_{rate:g}"


def targets(truth: NDArray[Any], config: ChamberConfig = CONFIG) -> NDArray[np.float32]:
    """What a network learns (n, heads): without a muon only that there is none."""
    found = np.full((len(truth), len(HEADS)), np.nan, dtype=np.float32)
    muon = truth["muons"] > 0
    found[:, 0] = muon
    found[muon, 1] = truth["x_mm"][muon] / X_UNIT_MM
    found[muon, 2] = (truth["slope_x"][muon] - config.slope_x) / SLOPE_UNIT
    return found


def said(outputs: NDArray[Any], config: ChamberConfig = CONFIG) -> Said:
    """Outputs of a network (n, 3), as real numbers, as a score and a line. Raises `InputError` for
    another shape, NaN or infinity."""
    values = as_outputs(outputs, len(HEADS))
    x, slope = X_UNIT_MM * values[:, 1], config.slope_x + SLOPE_UNIT * values[:, 2]
    return Said(values[:, 0], np.stack([x, slope], axis=-1))


def data(kind: str, muons: Sample, noise: Sample) -> Data:
    """Chambers and targets, for training."""
    sample = joined([muons, noise])
    return Data(sample.packed, targets(sample.truth), PREPARE[kind])


def train(
    kind: str,
    preset: TracksPreset,
    lessons: tuple[Sample, Sample],
    validation: tuple[Sample, Sample],
    seed: int,
    *,
    start: Any | None = None,
    checkpoint: Path | None = None,
    progress: Tell | None = None,
) -> Trained:
    """The network `CNN` or `RNN`: in float, or for the chip from the weights of the float network
    ``start``. Samples are with muons and without."""
    from hairtrigger.frontends.keras_file import import_keras

    import_keras().utils.set_random_seed(seed)
    if start is None:
        model = networks.build_float(kind, IMAGE, preset.shape(kind))
        settings = FitSettings(preset.float_epochs, preset.batch, preset.float_rate, seed)
    else:
        model = networks.build_chip(kind, IMAGE, preset.shape(kind))
        networks.start_from_float(start, model)
        settings = FitSettings(
            preset.chip_epochs, preset.batch, preset.chip_rate, seed, preset.beta(kind)
        )
    history = fit(
        model,
        data(kind, *lessons),
        data(kind, *validation),
        truth_loss(HEADS),
        settings,
        what=f"train {model.name}",
        checkpoint=checkpoint,
        progress=progress,
    )
    return Trained(model, history)


def decision(network: Graph, cut: int) -> Graph:
    """A network with its cut: outputs ``outputs`` (3,) and ``keep`` (1,), one bit.

    ``cut``: in units of the finest LSB of the outputs; a track is found where the logit is not
    below it. Raises `InputError` for a Graph of other outputs.
    """
    shapes = [t.shape for t in network.output_types]
    if shapes != [(len(HEADS),)]:
        raise InputError(
            f"The network gives {shapes}, not one vector of {len(HEADS)} numbers.",
            "Give the Graph of a network for tracks.",
        )
    builder = Builder(network.name)
    places: list[int] = []
    for node in network.nodes:
        operands = [places[n] for n in node.operands]
        places.append(builder.add(node.op, *operands, label=node.label))
    outputs = places[network.outputs[0]]
    logit = builder.add(moves.Crop(((0, len(HEADS) - 1),)), outputs, label="logit")
    code = Literal(np.array([cut], dtype=np.int64), builder.type(outputs).lsb)
    limit = builder.add(ops.Constant(code), label="cut")
    keep = builder.add(ops.Compare(ops.Relation.GE), logit, limit, label=KEEP)
    return builder.build({OUTPUTS: outputs, KEEP: keep})


def deciding_model(model: Any, cut: float) -> Any:
    """The Keras model with the same two outputs as `decision` has; ``cut`` as a real number."""
    from hairtrigger.frontends.keras_file import import_keras

    keras = import_keras()
    outputs = model.outputs[0]
    keep = keras.ops.cast(keras.ops.greater_equal(outputs[:, :1], cut), "float32")
    return keras.Model(model.inputs, [outputs, keep], name=model.name)
