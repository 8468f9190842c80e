"""Which pixels serve the supernova trigger best: their size, and whether they are maxima or sums?

The same raw images go through fronts of different pixels; on each a float network of the study's
shape is trained alike and cut at some fake rates. Noise is of enriched argon; each image is weighed
by how rare it is in ordinary argon (hairtrigger.studies.supernova_rare), so that some ten thousand
of them show what would take millions of ordinary ones. Conventional triggers on the same images
stand below.

"bits": of a pixel; "bits an image": what the network reads; "filled": share of the pixels of
ordinary noise that are not zero. Efficiencies are of nu_e CC images of all energies, and by visible
energy in MeV at the lowest rate.

    python benchmarks/supernova_pixels.py [--out docs/benchmarks/supernova_pixels] [--scale 1.0]

``--scale`` makes all samples so much smaller or larger.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from written import stamp, write_tables

from hairtrigger.detectors import lartpc
from hairtrigger.detectors.lartpc_config import LartpcConfig
from hairtrigger.detectors.lartpc_noise import pedestals
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.metrics import fraction_of
from hairtrigger.studies import supernova, supernova_networks
from hairtrigger.studies.supernova_baseline import Clusters, Sums, describe, scores_of
from hairtrigger.studies.supernova_clusters import Adjacent
from hairtrigger.studies.supernova_front import FrontConfig
from hairtrigger.studies.supernova_front_fast import front_fast
from hairtrigger.studies.supernova_hits import Threshold
from hairtrigger.studies.supernova_rare import (
    hard_decays,
    image_weights,
    weighted_cut,
    worth_learning,
)
from hairtrigger.studies.supernova_rivals import states
from hairtrigger.train import Data, FitSettings, Head, Kind, fit, predict, truth_loss
from hairtrigger.train.data import Prepare

SEED, EPOCHS, CHUNK = 1, 6, 1024
LOG = ((7, 2), (9, 2), (11, 2), (13, 2))
ROOT = supernova.FRONT.scale


def sums(shift: int = 0, **changes: Any) -> FrontConfig:
    """The study's front with a scale of so many times two, and other changes."""
    scale = tuple((step + shift, bits) for step, bits in ROOT)
    return replace(supernova.FRONT, scale=scale, **changes)


FRONTS = {
    "4 x 4, sum, near a square root (the study's)": sums(),
    "4 x 4, sum, nearly logarithmic": replace(sums(), scale=LOG),
    "4 x 4, sum, 8 bits": replace(sums(), scale=((5, 8),)),
    "4 x 4, maximum, linear in two pieces": FrontConfig(threshold=30),
    "8 x 4, sum": sums(1, block=(8, 4)),
    "4 x 8, sum": sums(1, block=(4, 8)),
    "4 x 2, sum": sums(-1, block=(4, 2)),
    "4 x 4, sum, no coherent-noise removal": sums(coherent=False),
    "4 x 4, sum, no filter": sums(taps=(1,), taps_shift=0),
}
"""Ticks x wires of a pixel."""
TRIGGERS = (Clusters(Threshold(40), Adjacent(4, 16), 1), Sums(Threshold(40), 40, None))
"""The best two of the paper run."""
SAMPLES = {
    "cc": ("nue_cc", False, 12_288),
    "es": ("es", False, 4096),
    "rich": ("noise", True, 65_536),
    "plain": ("noise", False, 8192),
    "test_cc": ("nue_cc", False, 8192),
    "test_rich": ("noise", True, 65_536),
}
"""Kind, enriched or not, images."""
ENERGIES = ((2, 4), (4, 6), (6, 10), (10, 100))
RATES = (1e-4, 1e-5, 1e-6)
CLEAR_MEV = 1.5
HEADS = (Head("signal", Kind.BINARY),)


def simulate(scale: float) -> dict[str, dict[str, np.ndarray]]:
    """Pixels of each front, visible energies, scores of the triggers and hard decays of enriched
    argon, sample by sample."""
    config = LartpcConfig()
    level, found = pedestals(config).astype(np.float64), {}
    state = states(config, 100 * SEED + 92, TRIGGERS)
    for n, (name, (kind, rich, images)) in enumerate(SAMPLES.items()):
        of = supernova.enriched(config) if rich else config
        parts: dict[str, list[np.ndarray]] = {}
        count = max(CHUNK, int(images * scale))
        for start in range(0, count, CHUNK):
            size = min(CHUNK, count - start)
            made = lartpc.simulate(size, seed=SEED + n, config=of, kind=kind, start=start)
            parts.setdefault("mev", []).append(made.truth["visible_mev"])
            parts.setdefault("scores", []).append(scores_of(TRIGGERS, made.images, state).T)
            for front, config_of in FRONTS.items():
                parts.setdefault(front, []).append(front_fast(made.images, config_of, level))
        found[name] = {key: np.concatenate(values) for key, values in parts.items()}
        if rich:
            found[name]["hard"] = hard_decays(count, SEED + n, of)
    return found


def with_channel(pixels: np.ndarray) -> np.ndarray:
    """As a network takes them."""
    return pixels[..., None]


def root(pixels: np.ndarray) -> np.ndarray:
    """As a network takes pixels of more than four bits: their square root, for a like scale."""
    return np.sqrt(pixels[..., None].astype(np.float32))


def prepare(front: str) -> Prepare:
    """How a network takes the pixels of a front."""
    return root if FRONTS[front].pixel_bits > 4 else with_channel


def train(front: str, found: dict[str, dict[str, np.ndarray]]) -> tuple[Any, float]:
    """A network on the pixels of a front, and the seconds that it took."""
    names, ordinary = ("cc", "es", "rich", "plain"), LartpcConfig()
    counts = found["rich"]["hard"]
    worth = worth_learning(counts, supernova.enriched(ordinary), ordinary, SEED)
    chosen = {name: found[name][front] for name in names} | {"rich": found["rich"][front][worth]}
    pixels = np.concatenate([chosen[name] for name in names])
    energies = [found[name]["mev"] for name in names if name != "rich"]
    mev = np.concatenate([*energies[:2], np.zeros(len(worth)), energies[2]])
    signal = np.repeat([1, 1, 0, 0], [len(chosen[name]) for name in names])
    clear = (signal == 0) | (mev > CLEAR_MEV)
    targets = signal[clear, None].astype(np.float32)
    data = Data(pixels[clear], targets, prepare(front))
    import_keras().utils.set_random_seed(SEED)
    model = supernova_networks.build_float(pixels.shape[1:], 1)
    started = time.perf_counter()
    few = Data(pixels[clear][:1024], targets[:1024], prepare(front))
    settings = FitSettings(EPOCHS, 256, 4e-3, SEED)
    fit(model, data, few, truth_loss(HEADS), settings, keep_last=True)
    return model, time.perf_counter() - started


def row(
    name: str, signal: np.ndarray, noise: np.ndarray, weights: np.ndarray, mev: np.ndarray
) -> dict[str, object]:
    """Efficiencies at the fake rates."""
    said: dict[str, object] = {"way": name}

    def share(passed: np.ndarray) -> str:
        found = fraction_of(passed)
        return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"

    for rate in RATES:
        cut = weighted_cut(noise, weights, rate)
        said[f"at {rate:g}"] = share(signal >= cut)
    for low, high in ENERGIES:
        label = f"{low} to {high}" if high < 100 else f"above {low}"
        said[label] = share(signal[(mev > low) & (mev <= high)] >= cut)
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    arguments = parser.parse_args()
    found = simulate(arguments.scale)
    mev, ways, triggers = found["test_cc"]["mev"], [], []
    ordinary = LartpcConfig()
    weights = image_weights(found["test_rich"]["hard"], supernova.enriched(ordinary), ordinary)
    for front, config in FRONTS.items():
        model, seconds = train(front, found)
        said = {
            name: predict(model, found[name][front], prepare(front))[:, 0]
            for name in ("test_cc", "test_rich")
        }
        pixels = found["plain"][front]
        made = row(front, said["test_cc"], said["test_rich"], weights, mev)
        made["bits"] = config.pixel_bits
        made["bits an image"] = config.pixel_bits * pixels[0].size
        made["filled"] = f"{np.mean(pixels > 0):.4f}"
        made["training s"] = round(seconds, 1)
        ways.append(made)
        print(made, flush=True)
    for n, trigger in enumerate(TRIGGERS):
        signal, noise = (found[name]["scores"][:, n] for name in ("test_cc", "test_rich"))
        triggers.append(row(describe(trigger), signal, noise, weights, mev))
        print(triggers[-1], flush=True)
    facts = {
        "seed": SEED,
        "epochs": EPOCHS,
        "images": {name: len(parts["mev"]) for name, parts in found.items()},
        "enriched": supernova.ENRICHED,
        **stamp(),
    }
    if arguments.out:
        tables = {"pixels": ways, "conventional triggers": triggers}
        write_tables(arguments.out, "Pixels of the supernova trigger", __doc__, facts, tables)


if __name__ == "__main__":
    main()
