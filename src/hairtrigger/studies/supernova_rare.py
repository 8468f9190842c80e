"""Noise of enriched argon, and what each image of it stands for in ordinary argon.

What passes a trigger once in a million images is a rare decay of much energy. Argon that has more
of them (`hairtrigger.studies.supernova.enriched`) shows in 500,000 images what takes 200 million of
ordinary ones, if every image is weighed by how much rarer it is in those: importance sampling.

Decays of a source come as a Poisson process, and so do those of them that are hard (`HARD_MEV`) and
reach an image. With ``m`` times as many of them as in ordinary argon, an image with
``k`` of them is ``m**-k exp((1 - 1 / m) mean)`` times as frequent in ordinary argon, where ``mean``
is that of the enriched one; sources multiply. Softer decays stay as the enriched argon has them:
there are more than there should be, so that rates are rather too high.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hairtrigger.detectors import lartpc, lartpc_blocks
from hairtrigger.detectors.lartpc_config import TICKS, LartpcConfig
from hairtrigger.detectors.lartpc_deposits import Arrivals
from hairtrigger.detectors.lartpc_sources import SOURCES
from hairtrigger.errors import InputError
from hairtrigger.metrics import LEVEL, Fraction, finite, fraction, same_length

HARD_MEV = 0.7
"""A decay is hard in an image if it leaves more charge there than an electron of this energy: no
Ar39 (0.565 MeV), no Kr85 (0.687 MeV) and no alpha does."""
ENRICHABLE = ("rn222", "ar42")
"""Sources with harder decays; the others must be as in ordinary argon."""
MARGIN_TICKS = 10
"""A pulse and the filter behind it reach so far: a decay that arrives so near an image counts."""
LEAST_FAKES = 10
"""A cut is refused that fewer images pass than these: their weights say too little."""


def hard_decays(
    images: int, seed: int, config: LartpcConfig, *, start: int = 0
) -> NDArray[np.uint8]:
    """How many hard decays reach each noise image of a series, by source: (images,
    ``ENRICHABLE``).

    They are those of ``lartpc.simulate(images, seed=seed, config=config, start=start)``, which are
    the same whoever asks for them.
    """
    per_block = lartpc.BLOCK_IMAGES
    least = HARD_MEV * 1e6 / config.work_function_ev * config.recombination
    found = np.zeros((images, len(ENRICHABLE)), np.int64)
    first, last = start // per_block - 1, (start + images - 1) // per_block + 1
    for block in range(max(first, 0), last + 1):
        made = lartpc_blocks.radiologicals(block, seed, config)
        decay, image, electrons = _reaching(made.arrivals)
        hard = electrons > least
        image = image + block * per_block - start
        inside = hard & (image >= 0) & (image < images)
        for column, name in enumerate(ENRICHABLE):
            mine = inside & (made.decays.source[decay] == SOURCES.index(name))
            found[:, column] += np.bincount(image[mine], minlength=images)
    return np.minimum(found, 255).astype(np.uint8)


def _reaching(
    arrivals: Arrivals,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Decay, image and electrons of each pair of a decay and an image of a block that it reaches;
    the image may lie outside the block."""
    first, last = (
        np.floor((arrivals.tick + shift) / TICKS).astype(np.int64)
        for shift in (-MARGIN_TICKS, MARGIN_TICKS)
    )
    both = last > first
    event = np.concatenate([arrivals.event, arrivals.event[both]])
    image = np.concatenate([first, last[both]])
    electrons = np.concatenate([arrivals.electrons, arrivals.electrons[both]])
    pairs, where = np.unique(np.stack([event, image], axis=1), axis=0, return_inverse=True)
    return pairs[:, 0], pairs[:, 1], np.bincount(where.ravel(), electrons, len(pairs))


def image_weights(
    counts: NDArray[np.uint8], config: LartpcConfig, ordinary: LartpcConfig
) -> NDArray[np.float64]:
    """How many images of ordinary argon each image of ``config`` stands for, (images,).

    ``counts``: of `hard_decays`. Means are those of the counts. Raises `InputError`
    where the two differ in more than `ENRICHABLE`.
    """
    times = _times(config, ordinary)
    logarithm = (1 - 1 / times) * counts.mean(axis=0) - counts * np.log(times)
    return np.exp(logarithm.sum(axis=1))


def worth_learning(
    counts: NDArray[np.uint8], config: LartpcConfig, ordinary: LartpcConfig, seed: int
) -> NDArray[np.int64]:
    """Indices of images with hard decays, each kind of them as often as in ordinary argon, if that
    had as many images with one decay of the source that is enriched most.

    Those that are more frequent in ordinary argon count once. Two hard decays in one image look
    like an interaction; enriched argon, where they are often, would teach otherwise.
    """
    times = _times(config, ordinary)
    worth = times.max() * np.exp(-(counts @ np.log(times)))
    chance = np.random.default_rng(seed).random(len(counts))
    return np.flatnonzero(counts.any(axis=1) & (chance < worth))


def weighted_rate(passed: ArrayLike, weights: ArrayLike, level: float = LEVEL) -> Fraction:
    """The share of ordinary images that passes, from ``passed`` (images,) of enriched ones.

    The variance is that of the sum of the weights that passed, and the interval that of `fraction`
    for as many images as would have it. None that passed: for as many as there are.
    """
    weight = finite("weights", weights)
    same_length(passed=np.asarray(passed), weights=weight)
    mine = weight[np.asarray(passed, bool)]
    if not len(mine):
        return fraction(0, len(weight), level)
    equivalent = mine.sum() ** 2 / np.square(mine).sum()
    share = mine.sum() / len(weight)
    count = max(1, round(equivalent))
    return fraction(count, max(count, round(count / share)), level)


def weighted_cut(scores: ArrayLike, weights: ArrayLike, fake_rate: float) -> float:
    """The lowest cut that no more than ``fake_rate`` of ordinary images pass, from the ``scores``
    and ``weights`` (images,) of enriched ones.

    It is the score of one of them; images of equal scores all pass or none. Raises `InputError` for
    a rate that fewer than `LEAST_FAKES` of the images show.
    """
    if not 0 < fake_rate < 1:
        raise InputError(f"fake_rate = {fake_rate!r} is no rate.", "Give one between 0 and 1.")
    values, weight = finite("scores", scores), finite("weights", weights)
    same_length(scores=values, weights=weight)
    order = np.argsort(-values, kind="stable")
    falling = values[order]
    share = np.cumsum(weight[order]) / len(weight)
    ends = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)  # last of equal scores
    allowed = ends[share[ends] <= fake_rate * (1 + 1e-12)]
    passing = int(allowed[-1]) + 1 if len(allowed) else 0
    if passing < LEAST_FAKES:
        raise InputError(
            f"With a fake rate of {fake_rate:g}, {passing} of {len(values)} images of enriched "
            f"argon pass; {LEAST_FAKES} are needed.",
            "Give more images, or a higher rate.",
        )
    return float(falling[passing - 1])


def key(source: str) -> str:
    """The field of `LartpcConfig` that says how much of a source there is."""
    return f"{source}_bq_cm3"


def _times(config: LartpcConfig, ordinary: LartpcConfig) -> NDArray[np.float64]:
    """How many times as much there is of each of `ENRICHABLE`."""
    back = {key(name): getattr(ordinary, key(name)) for name in ENRICHABLE}
    times = np.array(
        [
            getattr(config, key(name)) / value
            for name, value in zip(ENRICHABLE, back.values(), strict=True)
        ]
    )
    if dataclasses.replace(config, **back) != ordinary or times.min() < 1:
        raise InputError(
            f"{config} is not {ordinary} with more of {', '.join(ENRICHABLE)}.",
            "Change nothing else, and these upwards.",
        )
    return times
