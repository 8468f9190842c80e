"""What makes the fakes of the muon trigger."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors import rpc
from hairtrigger.explain.case import Answer
from hairtrigger.explain.explained import Explained
from hairtrigger.explain.questions_muon_events import GROUPS, SCALAR, predictions
from hairtrigger.explain.removal import light_up
from hairtrigger.explain.shapley import shapley
from hairtrigger.metrics import Fraction, fraction_of
from hairtrigger.studies.muon import TASK
from hairtrigger.studies.muon_metrics import TRIGGER_GEV

NOISE_RATE = 300.0
"""Background [Hz/cm2] of the images whose fakes are looked at: the hottest place."""
FAKE_IMAGES = 100_000


def fakes(network: Any, seed: int, count: int = FAKE_IMAGES, orders: int = 8) -> Answer:
    """Noise-only images that pass 15 GeV: which stations' noise makes them, and how many hits."""
    config = TASK.config(noise_rate_hz_cm2=NOISE_RATE)
    found: list[NDArray[np.uint8]] = []
    ordinary = np.zeros(len(GROUPS))
    step = 8192
    for start in range(0, count, step):
        size = min(step, count - start)
        events = rpc.simulate(size, seed=seed, config=config, muons=0, start=start)
        images = events.unpacked()
        passed = predictions(network, images).pt > TRIGGER_GEV
        found.append(images[passed])
        ordinary += _by_station(images).sum(axis=0)
    images = np.concatenate(found)
    rate: Fraction = fraction_of(np.arange(count) < len(images))
    figures: dict[str, float | None] = {"fakes": float(len(images)), "images": float(count)}
    figures |= {"share": rate.value, "share_low": rate.low, "share_high": rate.high}
    rows: list[tuple[str | float | None, ...]] = []
    if len(images):
        inputs = images[..., None]
        worth = shapley(network, inputs, GROUPS, SCALAR)
        map_ = light_up(network, inputs, SCALAR, orders=orders, seed=seed)
        alone, needed = _needed(network, images, map_)
        hits = _by_station(images).mean(axis=0)
        clustered = _by_station(_in_clusters(images)).mean(axis=0)
        for n, name in enumerate(GROUPS.names):
            rows.append(
                (
                    *(name, float(hits[n]), float(ordinary[n] / count), float(clustered[n])),
                    float(worth.values[:, n].mean()),
                    float(_by_station(needed)[:, n].mean()),
                    float((_by_station(needed)[:, n] > 0).mean()),
                )
            )
        figures["hits_needed"] = float(alone.mean())
        figures["all_four_stations"] = float((_by_station(needed) > 0).all(axis=1).mean())
        figures["three_stations"] = float(((_by_station(needed) > 0).sum(axis=1) == 3).mean())
    return Answer(
        "fakes",
        "What makes the fakes?",
        f"{len(images)} of {count:,} noise-only images at {NOISE_RATE:.0f} Hz/cm2 are predicted "
        "over 15 GeV. Needed: the fewest hits, most important first by the map, that alone on a "
        "dark image pass as well. Share: exact Shapley value of the station's hits, in log2(pT).",
        (
            *(
                "station",
                "hits in a fake",
                "hits in any noise image",
                "with a neighbour, in a fake",
            ),
            *("share of log2(pT)", "needed hits", "fakes that need it"),
        ),
        tuple(rows),
        figures,
    )


def _by_station(images: NDArray[Any]) -> NDArray[np.int64]:
    """Hits in each station: images (events, rows, strips) to (events, stations)."""
    rows = images.sum(axis=2, dtype=np.int64)
    labels = GROUPS.labels[:, 0, 0]
    return np.stack([rows[:, labels == n].sum(axis=1) for n in range(len(GROUPS))], axis=1)


def _in_clusters(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The hits that have a hit beside them in the same row."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1)))
    return images & (padded[..., :-2] | padded[..., 2:])


def _needed(
    network: Any, images: NDArray[np.uint8], found: Explained
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """How many hits, most important first, pass alone, and these hits as images."""
    flat = images.reshape(len(images), -1)
    worth = np.where(flat == 1, found.values.reshape(len(flat), -1), -np.inf)
    order = np.argsort(-worth, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(flat.shape[1])[None], axis=1)
    least = np.full(len(flat), int(flat.sum(axis=1).max()))
    kept = flat.copy()
    waiting = np.arange(len(flat))
    for number in range(1, int(flat.sum(axis=1).max()) + 1):
        shown = np.where(rank[waiting] < number, flat[waiting], 0).astype(np.uint8)
        passed = predictions(network, shown.reshape(len(shown), *images.shape[1:])).pt > TRIGGER_GEV
        least[waiting[passed]] = number
        kept[waiting[passed]] = shown[passed]
        waiting = waiting[~passed]
        if not len(waiting):
            break
    return least, kept.reshape(images.shape)
