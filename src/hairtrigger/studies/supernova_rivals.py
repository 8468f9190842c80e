"""The conventional triggers that a run of the supernova study compares with, tuned on its images.

Of each family, the hits of a finder in clusters or as a sum, the best member counts: tuned on noise
and supernova images of their own, at a fake rate that these can show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors import lartpc
from hairtrigger.detectors.lartpc_config import LartpcConfig
from hairtrigger.studies.supernova_baseline import (
    Clusters,
    States,
    Trigger,
    describe,
    ladder,
    scores_of,
    tune_scores,
)
from hairtrigger.studies.supernova_hits import AbsRunningSum, settle
from hairtrigger.studies.supernova_samples import CHUNK

SETTLING_TICKS = 8192
LEAST_FAKES = 5
"""Noise images that must pass the cut that families are tuned at."""


@dataclass(frozen=True)
class Rival:
    """A tuned trigger: ``place`` in `ladder`, what it is, and its efficiency in the tuning."""

    name: str
    place: int
    title: str
    efficiency: float


@dataclass(frozen=True)
class Rivals:
    """The best of each family, tuned at ``fake_rate`` on so many noise images."""

    rivals: tuple[Rival, ...]
    fake_rate: float
    noise: int
    signal: int


def family(trigger: Trigger) -> str:
    """Which family a trigger is of."""
    finder = "absrs" if isinstance(trigger.finder, AbsRunningSum) else "threshold"
    return f"{finder}_{'clusters' if isinstance(trigger, Clusters) else 'sum'}"


def states(config: LartpcConfig, seed: int, triggers: Sequence[Trigger]) -> States:
    """What each finder remembers of the plane before an image, from noise of its own."""
    noise = lartpc.simulate(SETTLING_TICKS // lartpc.TICKS, seed=seed, config=config).images
    ticks = noise.reshape(-1, config.wires)
    return {t.finder: settle(t.finder, ticks).rest() for t in triggers}


def tune_rivals(
    config: LartpcConfig,
    noise: int,
    signal: int,
    fake_rate: float,
    seeds: tuple[int, int, int],
    progress: Callable[[int, int], None] | None = None,
) -> Rivals:
    """Tune every family on ``noise`` and ``signal`` images, at ``fake_rate`` or the lowest rate
    that ``noise`` images can show. ``seeds``: of noise, signal and settling.

    Signal are nu_e CC of all energies: above 10 MeV triggers hardly differ.
    """
    triggers = ladder()
    state = states(config, seeds[2], triggers)
    total, done = noise + signal, 0
    found: dict[str, list[NDArray[np.int64]]] = {"noise": [], "nue_cc": []}
    for kind, count, seed in (("noise", noise, seeds[0]), ("nue_cc", signal, seeds[1])):
        for start in range(0, count, CHUNK):
            size = min(CHUNK, count - start)
            made = lartpc.simulate(size, seed=seed, config=config, kind=kind, start=start)
            scores = scores_of(triggers, made.images, state)
            found[kind].append(scores)
            done += size
            if progress:
                progress(done, total)
    off, on = (np.concatenate(found[kind], axis=1) for kind in ("noise", "nue_cc"))
    rate = max(fake_rate, LEAST_FAKES / noise)
    rivals: list[Rival] = []
    for name in dict.fromkeys(map(family, triggers)):
        mine = [n for n, trigger in enumerate(triggers) if family(trigger) == name]
        best = tune_scores([triggers[n] for n in mine], off[mine], on[mine], rate)
        place = triggers.index(best.trigger)
        rivals.append(Rival(name, place, describe(best.trigger), best.efficiency.value))
    return Rivals(tuple(rivals), rate, noise, on.shape[1])


def judge_of(
    rivals: Rivals, config: LartpcConfig, seed: int
) -> Callable[[NDArray[Any], NDArray[Any]], Mapping[str, NDArray[Any]]]:
    """The tuned triggers as `hairtrigger.studies.supernova_samples.Judge`."""
    triggers = ladder()
    chosen = [triggers[rival.place] for rival in rivals.rivals]
    state = states(config, seed, chosen)

    def judge(images: NDArray[Any], pedestals: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        scores = scores_of(chosen, images, state)
        return {rival.name: row for rival, row in zip(rivals.rivals, scores, strict=True)}

    return judge
