"""What physicists ask of the strips study: charge or time, at which angle, on which strip."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors import strips as detector
from hairtrigger.detectors import strips_clusters as clusters
from hairtrigger.detectors.strips_config import StripsConfig
from hairtrigger.engines import run
from hairtrigger.errors import InputError
from hairtrigger.explain.case import Answer, Asked, Case, Events
from hairtrigger.explain.features import strips_features
from hairtrigger.explain.groups import Groups, by_axis
from hairtrigger.explain.load import CHIP
from hairtrigger.explain.readable import sum_answer, tree_answer
from hairtrigger.explain.shapley import shapley
from hairtrigger.explain.subject import Scalar
from hairtrigger.explain.truth import in_words, on_truth
from hairtrigger.graph import Graph
from hairtrigger.studies.strips import HEADS, RATE_KHZ_CM2, TRAINED_DEG, inputs
from hairtrigger.studies.strips_front import require_front, tangent_code
from hairtrigger.studies.strips_metrics import resolution
from hairtrigger.studies.strips_samples import (
    FEATURES,
    MUON,
    WIDTH,
    Candidates,
    Source,
    candidates,
    simulate,
)
from hairtrigger.studies.strips_samples import STRIPS as STRIPS_OF_A_PLANE
from hairtrigger.train import output_slices, predict

NAMES = (
    *(f"charge {n}" for n in range(WIDTH)),
    *(f"time {n}" for n in range(WIDTH)),
    "nominal angle",
)
SCALAR = Scalar.head(HEADS, "x")
KINDS = by_axis((FEATURES,), 0, ["charges"] * WIDTH + ["times"] * WIDTH + ["nominal angle"])
EACH: Groups = by_axis((FEATURES,), 0, NAMES)
STRIPS: Groups = by_axis(
    (FEATURES,), 0, [*(f"strip {n % WIDTH}" for n in range(2 * WIDTH)), "nominal angle"]
)
MUON_LOGIT = Scalar.head(HEADS, "muon")
HALF = 128
"""Of 255: a strip whose pulse is the muon's by half or more is the muon's."""
NO_HITS_DEG = 20.0
"""The nominal angle of the baseline, a window without hits."""
BINS_DEG = ((0.0, 10.0), (10.0, 20.0), (20.0, 30.0), (30.0, 40.0))
PLANES = 8000
MIXED_PLANES, MIXED = 40_000, 1000
"""Planes with background, and the most clusters with foreign hits in them that are explained."""


def baseline() -> NDArray[np.float32]:
    """A window without hits, at `NO_HITS_DEG`."""
    empty = np.zeros(FEATURES, np.float32)
    empty[-1] = tangent_code(np.tan(np.radians(NO_HITS_DEG)))
    return empty


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


@cache
def _muons(planes: int, seed: int) -> Candidates:
    """Clusters of muons without background, angles from 0 to 40 degrees."""
    made = simulate(Source(planes, seed, (0.0, 40.0)))
    return made.select(made.truth["kind"] == MUON)


def outputs(network: Any, given: NDArray[np.float32]) -> NDArray[np.float64]:
    """Raw outputs (n, heads) of a network or Graph. Raises `InputError` for one of an older run."""
    require_front(network)
    if isinstance(network, Graph):
        return run(network, given).values[0].reshape(len(given), -1)
    return np.asarray(predict(network, given), np.float64)


def accepted(network: Any, count: int, seed: int, folder: Path | None = None) -> Events:
    """``count`` clusters of muons that the network takes for muons'."""
    del folder
    made = _muons(2 * count + 256, seed)
    given = inputs(made)
    muon = outputs(network, given)[:, output_slices(HEADS)["muon"]][:, 0] > 0
    chosen = np.flatnonzero(muon)[:count]
    if len(chosen) < count:
        raise InputError(
            f"Only {len(chosen)} of {len(made)} clusters of muons were accepted.",
            "Explain a trained network, or ask for fewer events.",
        )
    truth = made.truth[chosen]
    captions = tuple(
        f"{np.degrees(np.arctan(row['tan_theta'])):.0f} degrees, {row['strips']} strips, "
        f"x {row['x']:+.2f} strips from the middle"
        for row in truth
    )
    return Events(given[chosen], "clusters of muons at 0 to 40 degrees", None, captions)


def charge_or_time(network: Any, seed: int, planes: int = PLANES) -> Answer:
    """Exact Shapley values of charges, times and nominal angle for the position, by angle; and the
    resolution where they are exchanged between clusters."""
    made = _muons(planes, seed)
    given = inputs(made)
    rng = np.random.default_rng(seed)
    angle = np.degrees(np.arctan(np.abs(made.truth["tan_theta"])))
    rows: list[tuple[str | float | None, ...]] = []
    figures: dict[str, float | None] = {}
    where = output_slices(HEADS)["x"].start
    for low, high in BINS_DEG:
        mine = np.flatnonzero((angle >= low) & (angle < high))
        if len(mine) < 50:
            continue
        part, true = given[mine], made.truth["x"][mine]
        worth = shapley(network, part, KINDS, SCALAR, baseline=baseline())
        size = np.abs(worth.values).mean(axis=0)
        cells: list[float] = []
        for group in (None, 0, 1, 2):
            mixed = part.copy()
            if group is not None:
                columns = np.flatnonzero(KINDS.labels == group)
                mixed[:, columns] = part[rng.permutation(len(part))][:, columns]
            off = (outputs(network, mixed)[:, where] - true) * made.pitch_mm * 1000
            cells.append(resolution(off).value)
        rows.append((f"{low:g} to {high:g}", len(mine), *(size / size.sum()).tolist(), *cells))
        for name, value in zip(KINDS.names, size / size.sum(), strict=True):
            figures[f"{name.replace(' ', '_')}_{low:g}_{high:g}"] = float(value)
    return Answer(
        "charge_time",
        "Is the position found from charge or from time?",
        "Shapley values (exact) of all charges, all times and the nominal angle for the position, "
        f"against a window without hits at {NO_HITS_DEG:g} degrees: mean absolute values as parts "
        "of their sum. Resolution [um]: half the width of the middle 68 % of the residuals, as "
        "they are and with one kind of input exchanged between clusters of the same angles. "
        f"Angles trained on: {TRAINED_DEG[0]:g} to {TRAINED_DEG[1]:g} degrees.",
        (
            *("angle [deg]", "clusters", *KINDS.names, "resolution"),
            *(f"{name} exchanged" for name in KINDS.names),
        ),
        tuple(rows),
        figures,
    )


def of_the_muon(planes: int, seed: int) -> tuple[Candidates, NDArray[np.uint8]]:
    """Clusters with background of `RATE_KHZ_CM2`, and of each strip of their windows whether its
    pulse is the muon's: (n, `WIDTH`) of 0 and 1."""
    config = StripsConfig(background_khz_cm2=RATE_KHZ_CM2)
    angles = (0.0, 40.0)
    made = detector.simulate_planes(
        planes, seed=seed, config=config, angle_deg=angles, strips=STRIPS_OF_A_PLANE
    )
    found = candidates(made, config, angles, np.random.default_rng((seed, 0)))
    which = clusters.find_clusters(made.charge, made.time)
    mine = made.muon_share >= HALF
    own = (np.where(mine, part, 0).astype(part.dtype) for part in (made.charge, made.time))
    cut = clusters.windows(which, *own, WIDTH, config=config)
    return found, (cut.charge > 0).astype(np.uint8)


def muon_strips(network: Any, seed: int, planes: int = MIXED_PLANES) -> Answer:
    """Does the network take a cluster for a muon's because of the muon's strips?

    Where there is no foreign hit in a window, all attribution is the muon's: what counts is the
    windows that hold other hits as well. Sampled Shapley values of strips, charge and time
    together, for the logit of a muon.
    """
    made, own = of_the_muon(planes, seed)
    foreign = ((made.charge > 0) & (own == 0)).any(axis=1)
    given = inputs(made)
    accepted_ = outputs(network, given)[:, output_slices(HEADS)["muon"]][:, 0] > 0
    mine = np.flatnonzero((made.truth["kind"] == MUON) & accepted_)
    mixed = mine[foreign[mine]][:MIXED]
    if len(mixed) < 2:
        raise InputError(
            f"Only {len(mixed)} accepted clusters of {planes} planes hold other hits.",
            "Explain a trained network.",
        )
    found = shapley(
        network, given[mixed], STRIPS, MUON_LOGIT, baseline=baseline(), orders=8, seed=seed
    )
    worth = found.values[:, :WIDTH]
    mean = on_truth(worth, own[mixed], made.charge[mixed] > 0)
    row = (len(mixed), mean.value, mean.low, mean.high, mean.chance)
    return Answer(
        "hits",
        "Is a cluster taken for a muon's because of the muon's strips?",
        f"Clusters at 0 to 40 degrees with {RATE_KHZ_CM2:g} kHz/cm2 of background, of {planes:,} "
        f"planes: {len(mine):,} of muons are accepted, of which {int(foreign[mine].sum()):,} hold "
        "hits that are not the muon's; in the others all attribution is the muon's. Shapley "
        "values of strips (8 orders) for the logit of a muon, the nominal angle left out: mean "
        f"over events {in_words(mean)}.",
        (
            *("clusters with other hits", "positive share on the muon's strips", "low", "high"),
            "strips with a hit that are the muon's (chance)",
        ),
        (row,),
        {
            **mean.figures("on_true_strips"),
            "clusters_without_other_hits": float((~foreign[mine]).mean()),
        },
        ("on_true_strips", 0.8),
    )


def by_strip(asked: Asked, orders: int = 32) -> Answer:
    """Sampled Shapley values of each strip's charge and time for the position."""
    found = shapley(
        asked.deployed,
        asked.events.inputs,
        EACH,
        SCALAR,
        baseline=baseline(),
        orders=orders,
        seed=asked.seed,
    )
    size, mean = np.abs(found.values).mean(axis=0), found.values.mean(axis=0)
    error = np.zeros(FEATURES) if found.error is None else found.error.mean(axis=0)
    rows = tuple(
        (
            *(n, float(mean[n]), float(size[n]), float(error[n])),
            *(float(mean[n + WIDTH]), float(size[n + WIDTH]), float(error[n + WIDTH])),
        )
        for n in range(WIDTH)
    )
    return Answer(
        "strips",
        "What does each strip of the window say?",
        f"Shapley values of each number for the position, {orders} orders, on "
        f"{len(found)} {asked.events.note}; strip {WIDTH // 2} begins at the middle. Errors: mean "
        "standard error of one event's value.",
        (
            *("strip", "charge: mean", "mean absolute", "error"),
            *("time: mean", "mean absolute", "error"),
        ),
        rows,
    )


def as_sum(network: Any, seed: int, planes: int = PLANES) -> Answer:
    """The position as a sum of what a physicist reads off a cluster."""
    made = _muons(planes, seed)
    given = inputs(made)
    features, names = strips_features(given)
    said = outputs(network, given)[:, output_slices(HEADS)["x"].start]
    return sum_answer(
        features,
        names,
        said,
        made.truth["x"].astype(np.float64),
        what="position x [strips]",
        events="clusters of muons at 0 to 40 degrees",
    )


def as_tree(network: Any, seed: int, planes: int = PLANES) -> Answer:
    """The logit of a muon as a tree: clusters of muons and of the background alone."""
    muons = simulate(Source(planes, seed, (0.0, 40.0), RATE_KHZ_CM2))
    others = simulate(Source(8 * planes, seed + 1, (0.0, 40.0), RATE_KHZ_CM2, False))
    kept = muons.select(muons.truth["kind"] == MUON), others
    given = np.concatenate([inputs(part) for part in kept])
    given = given[np.random.default_rng(seed).permutation(len(given))]
    features, names = strips_features(given)
    said = outputs(network, given)[:, output_slices(HEADS)["muon"]][:, 0]
    return tree_answer(
        features,
        names,
        said,
        what="logit of a muon",
        events=f"clusters, {len(kept[0]):,} of muons and {len(others):,} of background",
        seed=seed,
    )


def questions(asked: Asked) -> tuple[Answer, ...]:
    network, seed = asked.deployed, asked.seed
    found: list[Answer] = []
    for number, ask in enumerate((charge_or_time, muon_strips, as_sum, as_tree), 1):
        found.append(ask(network, seed + number))
        asked.tell(number, 5)
    return (*found, by_strip(asked))


CASE = Case(
    "strips",
    "Clusters of strips",
    Scalar("position x [strips]", SCALAR.of),
    EACH,
    (),
    files,
    accepted,
    questions,
    baseline(),
    binary=False,
)
