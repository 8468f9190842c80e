"""The low-energy trigger of a liquid-argon detector: 480 wires, 64 ticks, every 32 us a decision.

The decision: does an image hold a neutrino interaction, rather than noise and radioactive decays?
The first output of the network is its logit; an image is kept where that is not below a cut, which
is chosen on noise images of their own for a wanted rate of fakes. Other outputs say of what type
the interaction is, and where the electron goes.

    supernova_front.py     from raw ticks to pixels (supernova_front_graph.py: as a circuit)
    supernova_samples.py   images, and what conventional triggers say of them
    supernova_rare.py      noise of enriched argon, and what it stands for
    supernova_networks.py  the networks
    supernova_baseline.py  the conventional triggers
    supernova_metrics.py   figures; supernova_burst.py: of a trigger on bursts
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors.lartpc_config import CLASSES, TICKS, LartpcConfig
from hairtrigger.errors import InputError
from hairtrigger.studies import supernova_networks as networks
from hairtrigger.studies.base import Trained
from hairtrigger.studies.supernova_front import FrontConfig
from hairtrigger.studies.supernova_samples import Sample, joined, network_input
from hairtrigger.train import Data, FitSettings, Head, Heads, Kind, fit, truth_loss
from hairtrigger.train.fit import Tell

FRONT = FrontConfig(threshold=30, pool="sum", scale=((7, 2), (9, 2), (10, 3), (12, 1), (13, 1)))
"""Pixels of 4 ticks and 4 wires: sums, which keep the energy of a track that crosses several wires,
on a scale near a square root's, whose steps are still fine where the hardest decays end. What other
pixels give is in docs/benchmarks/supernova_pixels.md."""
ENRICHED = {"rn222_bq_cm3": 50.0, "ar42_bq_cm3": 1000.0}
"""Noise to learn from, and to choose cuts on, has so many times as many of the decays that look
most like interactions: of ordinary noise one image in a thousand has one."""
RARE = ("pool_enriched", "cut_enriched", "test_enriched")
"""Samples of enriched argon whose images are weighed or chosen by their decays."""
IMAGE = (TICKS // FRONT.block[0], FRONT.columns)
"""Rows and columns of pixels."""
SIGNALS = CLASSES[1:]
HEADS: Heads = (
    Head("signal", Kind.BINARY),
    Head("type", Kind.CLASSES, size=len(SIGNALS), weight=0.3),
    Head("drift", Kind.VALUE, weight=0.1, elbow=0.5),
    Head("wires", Kind.VALUE, weight=0.1, elbow=0.5),
)
"""Interaction or noise; which of `SIGNALS`; direction cosines of the electron along the drift and
across the wires."""
OUTPUTS = 1 + len(SIGNALS) + 2
CLEAR_MEV = 2.0
"""Images with less of an interaction are neither signal nor noise to the training."""
POINTING_MEV = 5.0
"""A direction is asked for from here on."""


@dataclass(frozen=True)
class SupernovaPreset:
    """How large a run is: images of each kind of signal, and of noise.

    ``pool_noise``, ``pool_enriched``: that train the network; ``cut_enriched``: that choose its
    cut; ``test_enriched``: that say how many fakes there are; ``test_noise``: that count them;
    ``tune_...``: that tune the conventional triggers. ``fake_rate``: images of ordinary noise that
    may pass, as a share; ``burst_rate``: the same for images that count for a burst.
    ``chain_images``: that go through the whole chain in simulated Verilog; ``proof_images``: that
    all engines are compared on.
    """

    name: str
    train_signal: int
    validation_signal: int
    test_signal: int
    pool_noise: int
    pool_enriched: int
    validation_noise: int
    cut_enriched: int
    test_enriched: int
    test_noise: int
    tune_noise: int
    tune_signal: int
    fake_rate: float
    burst_rate: float
    float_epochs: int
    student_epochs: int
    chain_images: int
    proof_images: int
    batch: int = 256
    float_rate: float = 4e-3
    student_rate: float = 3e-3
    beta: tuple[float, float] = (2e-8, 1.5e-7)


SMOKE = SupernovaPreset(
    *("smoke", 1024, 512, 512, 2048, 4096, 1024, 4096, 4096, 2048, 2048, 512),
    *(1e-2, 1e-3, 1, 1, 4, 64),
    batch=32,  # many steps at a high price, or one epoch leaves the widest bits to synthesise
    student_rate=3e-2,
    beta=(1e-5, 1e-4),
)
DEMO = SupernovaPreset(
    *("demo", 4096, 512, 2048, 8192, 32_768, 2048, 32_768, 32_768, 65_536, 8192, 1024),
    *(1e-4, 1e-6, 6, 6, 32, 512),
)
PAPER = SupernovaPreset(
    *("paper", 20_480, 2048, 10_240, 32_768, 262_144, 8192, 524_288, 524_288, 3_072_000),
    *(40_960, 4096, 1e-6, 1e-7, 8, 12, 512, 8192),
)
PRESETS = (SMOKE, DEMO, PAPER)


def preset_named(name: str) -> SupernovaPreset:
    """Raises `InputError` naming those there are."""
    for preset in PRESETS:
        if preset.name == name:
            return preset
    known = ", ".join(preset.name for preset in PRESETS)
    raise InputError(f"supernova has no preset {name!r}.", f"Choose one of: {known}.")


def sizes(preset: SupernovaPreset) -> dict[str, tuple[str, int]]:
    """Kind and number of images of each sample of a run, by its name; those whose name ends in
    "enriched" are noise of `enriched` argon."""
    found: dict[str, tuple[str, int]] = {}
    for part in ("train", "validation", "test"):
        count = getattr(preset, f"{part}_signal")
        found |= {f"{part}_{kind}": (kind, count) for kind in SIGNALS}
    for part in ("pool", "validation", "test"):
        found[f"{part}_noise"] = ("noise", getattr(preset, f"{part}_noise"))
    found["validation_enriched"] = ("noise", preset.validation_noise)
    for name in RARE:
        found[name] = ("noise", getattr(preset, name))
    return found


def enriched(config: LartpcConfig) -> LartpcConfig:
    """The same detector with argon that is `ENRICHED` in what decays with much energy."""
    more = {name: factor * getattr(config, name) for name, factor in ENRICHED.items()}
    return replace(config, **more)


def targets(truth: NDArray[Any]) -> NDArray[np.float32]:
    """What a network learns (n, heads): of images of little energy only that they are no matter."""
    kind, visible = truth["kind"], truth["visible_mev"]
    signal = kind > 0
    found = np.full((len(truth), len(HEADS)), np.nan, dtype=np.float32)
    found[~signal, 0] = 0
    clear = signal & (visible >= CLEAR_MEV)
    found[clear, 0] = 1
    found[clear, 1] = kind[clear] - 1
    points = clear & (visible >= POINTING_MEV) & (kind < len(SIGNALS))  # the last kind has none
    found[points, 2] = truth["direction"][points, 0]
    found[points, 3] = truth["direction"][points, 2]
    return found


def data(sample: Sample) -> Data:
    """Pixels and targets of a sample, for training."""
    return Data(sample.packed, targets(sample.truth), network_input)


def train_float(
    preset: SupernovaPreset,
    signal: Sample,
    noise: Sample,
    validation: Sample,
    seed: int,
    *,
    checkpoint: Path | None = None,
    progress: Tell | None = None,
) -> Trained:
    """The float network."""
    model = _seeded(networks.build_float, seed)
    settings = FitSettings(preset.float_epochs, preset.batch, preset.float_rate, seed)
    train = data(joined([signal, noise])), data(validation)
    how: dict[str, Any] = {"checkpoint": checkpoint, "progress": progress}
    return Trained(
        model, fit(model, *train, truth_loss(HEADS), settings, what="train float", **how)
    )


def train_student(
    preset: SupernovaPreset,
    start: Any,
    signal: Sample,
    noise: Sample,
    validation: Sample,
    seed: int,
    *,
    checkpoint: Path | None = None,
    progress: Tell | None = None,
) -> Trained:
    """The network for the chip, from the weights of a float one."""
    model = _seeded(networks.build_student, seed)
    networks.start_from_float(start, model)
    settings = FitSettings(
        preset.student_epochs, preset.batch, preset.student_rate, seed, preset.beta
    )
    train = data(joined([signal, noise])), data(validation)
    how: dict[str, Any] = {"checkpoint": checkpoint, "progress": progress}
    return Trained(
        model, fit(model, *train, truth_loss(HEADS), settings, what="train student", **how)
    )


def _seeded(build: Callable[..., Any], seed: int) -> Any:
    from hairtrigger.frontends.keras_file import import_keras

    import_keras().utils.set_random_seed(seed)
    return build(IMAGE, OUTPUTS)
