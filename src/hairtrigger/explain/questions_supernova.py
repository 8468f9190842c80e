"""What physicists ask of the supernova trigger: signal or noise, track or blips, which decays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors.lartpc_config import LartpcConfig
from hairtrigger.engines import run
from hairtrigger.errors import InputError, StorageError
from hairtrigger.explain.case import Answer, Asked, Case, Events
from hairtrigger.explain.explained import Explained
from hairtrigger.explain.groups import Groups, by_windows
from hairtrigger.explain.load import CHIP
from hairtrigger.explain.removal import light_up
from hairtrigger.explain.subject import Scalar
from hairtrigger.explain.truth import in_words, on_truth
from hairtrigger.graph import Graph
from hairtrigger.metrics import fraction_of
from hairtrigger.studies.supernova import FRONT, HEADS, IMAGE, enriched
from hairtrigger.studies.supernova_rare import ENRICHABLE, HARD_MEV, image_weights
from hairtrigger.studies.supernova_samples import Sample, network_input, read
from hairtrigger.studies.supernova_trigger import KEEP, read_trigger
from hairtrigger.train import predict

SHAPE = (*IMAGE, 1)
GROUPS: Groups = by_windows(SHAPE, 1, IMAGE[1] // 12, "columns")
SCALAR = Scalar.head(HEADS, "signal")
PITCH_CM, TICK_CM = 0.479, 0.16 * 0.512
"""Of a wire, and the drift in a tick of 512 ns at 0.16 cm/us."""
DISTANCES_CM = ((0.0, 5.0), (5.0, 15.0), (15.0, 30.0), (30.0, np.inf))
ENERGIES_MEV = ((0.0, 8.0), (8.0, 15.0), (15.0, 30.0), (30.0, 70.0))
SIGNAL_CM = 30.0
"""What an electron of some ten MeV and its blips deposit lies within that distance of the centre;
an image is 230 cm wide."""
NOISE, LOUDEST = 200_000, 200
"""Noise images that are judged, and those with the highest answers, that are looked at."""


def files(folder: Path | None) -> dict[str, Path]:
    """The networks of a run folder; none comes with the study."""
    if folder is None:
        return {}
    stages = folder / "stages"
    found = {
        "float network": stages / "float/model.keras",
        "quantised network": stages / "student/model.keras",
        CHIP: stages / "convert/graph.txt",
    }
    return {name: path for name, path in found.items() if path.exists()}


def sample(folder: Path | None, stage: str, name: str) -> Sample:
    """A sample of a run. Raises `StorageError` without one."""
    if folder is None:
        raise StorageError("No run of supernova is given.", "Give --run.")
    return read(folder / "stages" / stage / name)


def enriched_noise(folder: Path | None) -> tuple[Sample, NDArray[np.uint8]]:
    """Noise of enriched argon, `NOISE` images at most, and the hard decays in each."""
    name = "cut_enriched"
    found = sample(folder, "enriched", name)
    assert folder is not None
    place = folder / "stages" / "enriched" / f"{name}.hard.npy"
    try:
        hard = np.load(place, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StorageError(f"{place} cannot be read: {error}", "Make the run again.") from error
    return found.select(slice(0, NOISE)), hard[:NOISE]


def logits(network: Any, packed: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The logit of an interaction of packed images, (n,)."""
    parts: list[NDArray[np.float64]] = []
    for start in range(0, len(packed), 8192):
        given = network_input(packed[start : start + 8192])
        if isinstance(network, Graph):
            made = run(network, given).values[0].reshape(len(given), -1)
        else:
            made = np.asarray(predict(network, given), np.float64)
        parts.append(made[:, 0])
    return np.concatenate(parts)


def kept(folder: Path | None, packed: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which packed images the trigger of a run keeps: its network, cut and gate, (n,)."""
    if folder is None:
        raise StorageError("No run of supernova is given.", "Give --run.")
    decision = read_trigger(folder / "trigger").decision()
    parts: list[NDArray[np.bool_]] = []
    for start in range(0, len(packed), 8192):
        made = run(decision, network_input(packed[start : start + 8192])).values
        parts.append(made[decision.output_names.index(KEEP)].reshape(-1) > 0)
    return np.concatenate(parts)


def accepted(network: Any, count: int, seed: int, folder: Path | None = None) -> Events:
    """``count`` images of nu_e CC interactions that the trigger of the run keeps, their centre
    inside."""
    found = sample(folder, "exam", "test_nue_cc")
    chosen = np.random.default_rng(seed).permutation(len(found))[: 3 * count + 100]
    found = found.select(np.sort(chosen))
    mine = np.flatnonzero(kept(folder, found.packed) & (found.truth["wire"] > 0))[:count]
    if len(mine) < count:
        raise InputError(
            f"Only {len(mine)} of {len(found)} images of interactions were accepted.",
            "Explain a trained network, or ask for fewer events.",
        )
    found = found.select(mine)
    captions = tuple(
        f"neutrino {row['neutrino_mev']:.1f} MeV, electron {row['electron_mev']:.1f} MeV, "
        f"visible {row['visible_mev']:.1f} MeV, centre at wire {row['wire']:.0f}"
        for row in found.truth
    )
    near = distances(found.truth) < SIGNAL_CM
    return Events(
        network_input(found.packed),
        "images of nu_e CC interactions that the trigger keeps",
        near[..., None].astype(np.uint8),
        captions,
    )


def distances(truth: NDArray[Any]) -> NDArray[np.float64]:
    """Distance [cm] of each pixel from the centre of the deposited energy, (n, rows, columns)."""
    ticks, wires = FRONT.block
    row = (np.arange(IMAGE[0]) + 0.5) * ticks
    column = (np.arange(IMAGE[1]) + 0.5) * wires
    along = (row[None] - truth["tick"][:, None]) * TICK_CM
    across = (column[None] - truth["wire"][:, None]) * PITCH_CM
    return np.hypot(along[:, :, None], across[:, None])


def on_signal(asked: Asked) -> Answer:
    """How much of the positive attribution lies around the true centre, pixels lighted one by one.

    The truth of a single pixel is not kept, so the region stands for it: noise inside counts as
    signal. Chance, the share of lit pixels that lie there, says how much that may be.
    """
    events = asked.events
    if events.signal is None:
        raise InputError("The region of the signal is not known.", "Take events of accepted().")
    lit = np.asarray(events.inputs) > 0
    found = light_up(asked.deployed, events.inputs, SCALAR, orders=4, seed=asked.seed)
    mean = on_truth(found.values, events.signal, lit)
    row = (len(found), mean.value, mean.low, mean.high, mean.chance)
    return Answer(
        "hits",
        "Does the network decide by the interaction or by the noise?",
        f"Positive attribution within {SIGNAL_CM:g} cm of the centre of the deposited energy, on "
        f"{events.note}: mean over events {in_words(mean)}.",
        (
            *("images", f"share within {SIGNAL_CM:g} cm", "low", "high"),
            "lit pixels that lie there (chance)",
        ),
        (row,),
        mean.figures("on_true_region"),
        ("on_true_region", 0.8),
    )


def track_or_blips(network: Any, folder: Path | None, seed: int, count: int = 400) -> Answer:
    """How far from the deposited energy's centre the answer comes from, by energy of the electron.

    A track of some MeV is a few cm long and its blips lie some ten cm around it.
    """
    found = sample(folder, "exam", "test_nue_cc")
    rng = np.random.default_rng(seed)
    found = found.select(np.sort(rng.permutation(len(found))[: 3 * count]))
    inside = kept(folder, found.packed) & (found.truth["wire"] > 0)
    found = found.select(np.flatnonzero(inside)[:count])
    images = network_input(found.packed)
    map_ = light_up(network, images, SCALAR, orders=4, seed=seed)
    away = distances(found.truth)
    positive = np.maximum(map_.values[..., 0], 0).astype(np.float64)
    lit = images[..., 0] > 0
    rows: list[tuple[str | float | None, ...]] = []
    figures: dict[str, float | None] = {}
    for low, high in ENERGIES_MEV:
        energy = found.truth["electron_mev"]
        mine = (energy >= low) & (energy < high)
        if mine.sum() < 10:
            continue
        total = positive[mine].sum()
        cells: list[float | None] = []
        for near, far in DISTANCES_CM:
            here = (away[mine] >= near) & (away[mine] < far)
            cells.append(float((positive[mine] * here).sum() / total))
            cells.append(float((lit[mine] & here).sum() / lit[mine].sum()))
        rows.append((f"{low:g} to {high:g}", int(mine.sum()), *cells))
        figures[f"beyond_15_cm_{low:g}_{high:g}"] = float(
            (positive[mine] * (away[mine] >= DISTANCES_CM[2][0])).sum() / total
        )
    names = [
        f"{near:g} to {far:g} cm" if np.isfinite(far) else f"over {near:g} cm"
        for near, far in DISTANCES_CM
    ]
    return Answer(
        "track_blips",
        "Does the network see the track or the blips around it?",
        f"Share of positive attribution (pixels lighted one by one) by the distance from the "
        f"centre of the deposited energy, on {len(found)} images that the trigger keeps; beside it "
        "the share of the lit pixels that lie there.",
        (
            *("electron [MeV]", "images"),
            *(text for name in names for text in (name, f"lit pixels, {name}")),
        ),
        tuple(rows),
        figures,
    )


def argon(network: Any, folder: Path | None, seed: int) -> Answer:
    """Noise images of enriched argon: which decays raise the answer, and by how many pixels."""
    noise, hard = enriched_noise(folder)
    said = logits(network, noise.packed)
    ordinary = LartpcConfig()
    weights = image_weights(hard, enriched(ordinary), ordinary)
    order = np.argsort(-said, kind="stable")[:LOUDEST]
    loud = np.zeros(len(noise), bool)
    loud[order] = True
    total, radon = hard.sum(axis=1), hard[:, ENRICHABLE.index("rn222")]
    groups = {
        "none": total == 0,
        "one of the radon chain": (total == 1) & (radon == 1),
        "one of Ar42 and K42": (total == 1) & (radon == 0),
        "two or more": total > 1,
    }
    rows: list[tuple[str | float | None, ...]] = []
    for name, mine in groups.items():
        if not mine.any():
            continue
        share = fraction_of(loud[mine])
        of_loud = float(weights[loud & mine].sum() / weights[loud].sum())
        rows.append(
            (
                *(name, int(mine.sum()), float(weights[mine].mean() * mine.mean()), of_loud),
                *(share.value, share.low, share.high, float(said[mine].mean())),
            )
        )
    images = network_input(noise.packed[order])
    map_ = light_up(network, images, SCALAR, orders=4, seed=seed)
    brightest, spread, lit = _concentration(map_, images)
    return Answer(
        "argon",
        "Which decays fire?",
        f"{len(noise):,} noise images of enriched argon, by the decays in them that leave more "
        f"than {HARD_MEV:g} MeV (argon-39 leaves less), each weighed by how rare it is in "
        f"ordinary argon; and the {LOUDEST} with the highest answers. Below: in those, the share "
        "of positive attribution in the 3 x 3 pixels around the one that raises the answer most, "
        "and how many pixels carry 90 % of it.",
        (
            *("hard decays", "images", "share of ordinary images", "share of the loudest, weighed"),
            *("chance to be one of them", "low", "high", "mean logit"),
        ),
        tuple(rows),
        {
            "in_one_blip": brightest,
            "pixels_for_90_percent": spread,
            "lit_pixels": lit,
            "hard_decays_loudest": float(total[order].mean()),
        },
    )


def _concentration(found: Explained, images: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Mean share of positive attribution around its largest pixel, pixels with 90 % of it, lit."""
    positive = np.maximum(found.values[..., 0], 0).astype(np.float64)
    flat = positive.reshape(len(positive), -1)
    some = flat.sum(axis=1) > 0
    padded = np.pad(positive, ((0, 0), (1, 1), (1, 1)))
    near = sum(
        padded[:, a : a + positive.shape[1], b : b + positive.shape[2]]
        for a in range(3)
        for b in range(3)
    )
    near = np.asarray(near).reshape(len(flat), -1)
    best = near[np.arange(len(flat)), flat.argmax(axis=1)]
    down = -np.sort(-flat[some], axis=1)
    needed = (np.cumsum(down, axis=1) < 0.9 * down.sum(axis=1, keepdims=True)).sum(axis=1) + 1
    return (
        float((best[some] / flat[some].sum(axis=1)).mean()),
        float(needed.mean()),
        float((images > 0).reshape(len(flat), -1).sum(axis=1).mean()),
    )


def questions(asked: Asked) -> tuple[Answer, ...]:
    first = on_signal(asked)
    asked.tell(1, 3)
    second = track_or_blips(asked.deployed, asked.run, asked.seed + 1)
    asked.tell(2, 3)
    return first, second, argon(asked.deployed, asked.run, asked.seed + 2)


CASE = Case(
    "supernova",
    "Supernova neutrinos in liquid argon",
    Scalar("logit of an interaction", SCALAR.of),
    GROUPS,
    tuple(f"tick {FRONT.block[0] * n}" for n in range(IMAGE[0])),
    files,
    accepted,
    questions,
    binary=False,
)
