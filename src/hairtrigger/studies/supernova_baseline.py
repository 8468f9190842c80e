"""What a network must beat: DUNE's trigger primitives with clusters or sums, one score an image.

    candidates = ladder()
    best = tune(candidates, noise, signal, state, fake_rate=1e-4)
    values = scores(best.trigger, images, state)    # int64, larger = more like a signal
    passed = values >= best.cut.value

    judge = scorer({"clusters": best.trigger}, settled.sum_pedestal)
    named = judge(images, pedestals)                # of samples while they are made

The images to tune on must not be those to judge by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hairtrigger.errors import InputError
from hairtrigger.metrics import Fraction
from hairtrigger.studies.supernova_clusters import (
    Adjacent,
    Clustering,
    Dbscan,
    clusters,
    label,
    largest_in_window,
)
from hairtrigger.studies.supernova_hits import (
    CHUNK,
    AbsRunningSum,
    Finder,
    State,
    Threshold,
    find_hits,
)
from hairtrigger.studies.supernova_metrics import Cut, cut_at, pass_rate

States = State | Mapping[Finder, State]
"""One state, or one for each finder: `hairtrigger.studies.supernova_hits.settle` makes them."""
THRESHOLD, ABSRS, LOW = Threshold(), AbsRunningSum(), Threshold(40)
ADJACENT = Adjacent()
AT_A_TIME = 16 * CHUNK
"""Images whose hits are clustered together."""


@dataclass(frozen=True)
class Clusters:
    """Score: the largest ADC sum of a cluster that has ``min_hits`` hits or more."""

    finder: Finder = THRESHOLD
    clustering: Clustering = ADJACENT
    min_hits: int = 1

    def __post_init__(self) -> None:
        if self.min_hits < 1:
            raise InputError(f"min_hits = {self.min_hits!r} is no cut.", "Give 1 or more.")


@dataclass(frozen=True)
class Sums:
    """Score: the largest ADC sum of all hits in a sliding window of ``wires`` x ``ticks``; None is
    as large as the image."""

    finder: Finder = THRESHOLD
    wires: int | None = None
    ticks: int | None = None


Trigger = Clusters | Sums


@dataclass(frozen=True)
class Tuned:
    """The trigger that kept most signal at the wanted fake rate, and its cut.

    ``efficiency``: share of the signal images that it was tuned on.
    """

    trigger: Trigger
    cut: Cut
    efficiency: Fraction


def describe(trigger: Trigger) -> str:
    """A trigger in a few words, for tables and legends."""
    finder = trigger.finder
    found = "AbsRS" if isinstance(finder, AbsRunningSum) else "threshold"
    found = f"{found} {finder.threshold}"
    if isinstance(trigger, Sums):
        sizes = [
            f"{size} {unit}"
            for size, unit in ((trigger.wires, "wires"), (trigger.ticks, "ticks"))
            if size is not None
        ]
        return f"{found}, sum of {' x '.join(sizes) if sizes else 'the image'}"
    how = trigger.clustering
    if isinstance(how, Adjacent):
        linked = f"adjacent {how.wires} x {how.ticks}"
    else:
        linked = f"DBSCAN {how.eps:g}, {how.minimum}"
    return f"{found}, {linked}, hits >= {trigger.min_hits}"


def ladder(
    finders: Sequence[Finder] = (THRESHOLD, ABSRS, LOW),
    gaps: Sequence[tuple[int, int]] = ((1, 4), (2, 8), (4, 16)),
    most_hits: int = 6,
    windows: Sequence[tuple[int | None, int | None]] = ((None, None), (40, None), (20, 32)),
) -> tuple[Trigger, ...]:
    """The triggers that a study tunes over: clusters of 1 to ``most_hits`` hits, adjacent with the
    ``gaps`` (wires, ticks) or of DBSCAN, and sums in ``windows`` (wires, ticks).

    The published thresholds come first, and the first of equals is taken; a lower one is there so
    that a network is not compared with a threshold that simply was too high.
    """
    ways: list[Clustering] = [*(Adjacent(*gap) for gap in gaps), Dbscan()]
    found: list[Trigger] = []
    for finder in finders:
        found += [Clusters(finder, way, n) for way in ways for n in range(1, most_hits + 1)]
        found += [Sums(finder, *window) for window in windows]
    return tuple(found)


def scores(trigger: Trigger, images: ArrayLike, state: States) -> NDArray[np.int64]:
    """The score of each image, (images,), 0 where there is nothing over threshold.

    ``images`` uint16 (images, ticks, wires); ``state`` as in `find_hits`. Raises `InputError` as
    that does, and for a missing state.
    """
    return scores_of([trigger], images, state)[0]


def scores_of(
    triggers: Sequence[Trigger],
    images: ArrayLike,
    state: States,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.int64]:
    """The scores of many triggers, (triggers, images); each finder and clustering runs once.

    ``images`` may be mapped from a file: they are read in parts. ``progress(done, total)`` is told
    of the images.
    """
    states = {trigger.finder: _state_of(trigger.finder, state) for trigger in triggers}
    # asanyarray keeps a mapped file mapped.
    images = np.asanyarray(images)
    found = np.zeros((len(triggers), len(images)), np.int64)
    for first in range(0, len(images), AT_A_TIME):
        part = np.asarray(images[first : first + AT_A_TIME])
        end = first + len(part)
        for finder, start in states.items():
            hits = find_hits(part, finder, _part(start, first, end))
            mine = [n for n, trigger in enumerate(triggers) if trigger.finder == finder]
            for n, values in zip(
                mine, scores_of_hits([triggers[n] for n in mine], hits, len(part)), strict=True
            ):
                found[n, first:end] = values
        if progress is not None:
            progress(end, len(images))
    return found


def scorer(
    triggers: Mapping[str, Trigger], sum_pedestal: ArrayLike = 0
) -> Callable[[ArrayLike, ArrayLike], dict[str, NDArray[np.int64]]]:
    """A function of images and their pedestals [ADC] that gives the scores of named triggers.

    Pedestals (wires,) or (images, wires), at which each image begins. ``sum_pedestal``: those of
    the running sum, (wires,) or one number, which `hairtrigger.studies.supernova_hits.settle` finds
    in noise. From 0, which is refused, the threshold of `AbsRunningSum` would be lower than asked.
    """
    needs = [t for t in triggers.values() if isinstance(t.finder, AbsRunningSum)]
    if needs and not np.all(np.asarray(sum_pedestal) > 0):
        raise InputError(
            f"{needs[0].finder} has no pedestal of its sum to begin at.",
            "Give settle(finder, noise).sum_pedestal.",
        )

    def judge(images: ArrayLike, pedestals: ArrayLike) -> dict[str, NDArray[np.int64]]:
        found = scores_of(list(triggers.values()), images, State.at(pedestals, sum_pedestal))
        return dict(zip(triggers, found, strict=True))

    return judge


def scores_of_hits(
    triggers: Sequence[Trigger], hits: NDArray[np.void], images: int
) -> list[NDArray[np.int64]]:
    """The scores (images,) of triggers from the hits of their finder in so many images.

    With `hairtrigger.studies.supernova_hits.into_images` it scores a stream.
    """
    made: dict[Clustering, NDArray[np.void]] = {}
    found: list[NDArray[np.int64]] = []
    for trigger in triggers:
        if isinstance(trigger, Sums):
            found.append(largest_in_window(hits, images, trigger.wires, trigger.ticks))
            continue
        how = trigger.clustering
        if how not in made:
            made[how] = clusters(hits, label(hits, how))
        large = made[how][made[how]["hits"] >= trigger.min_hits]
        best = np.zeros(images, np.int64)
        np.maximum.at(best, large["image"], large["sum"])
        found.append(best)
    return found


def tune(
    triggers: Sequence[Trigger],
    noise: ArrayLike,
    signal: ArrayLike,
    state: States,
    *,
    fake_rate: float,
    signal_state: States | None = None,
) -> Tuned:
    """The best of ``triggers`` on these noise and signal images, with its cut.

    Best is the highest efficiency at ``fake_rate`` or below, the first of equals.
    ``signal_state``: where it is another than that of the noise images. Raises `InputError` for
    too few noise images, no signal or no trigger.
    """
    of_noise = scores_of(triggers, noise, state)
    of_signal = scores_of(triggers, signal, state if signal_state is None else signal_state)
    return tune_scores(triggers, of_noise, of_signal, fake_rate)


def tune_scores(
    triggers: Sequence[Trigger], noise: NDArray[np.int64], signal: NDArray[np.int64], rate: float
) -> Tuned:
    """As `tune`, of scores (triggers, images) that `scores_of` made."""
    if not len(triggers) or not signal.shape[-1]:
        raise InputError(
            f"{len(triggers)} triggers and {signal.shape[-1]} signal images are nothing to tune.",
            "Give some of both.",
        )
    found: list[Tuned] = []
    for trigger, off, on in zip(triggers, noise, signal, strict=True):
        cut = cut_at(off, rate)
        found.append(Tuned(trigger, cut, pass_rate(on, cut.value)))
    return max(found, key=lambda tuned: tuned.efficiency.value)  # the first of equals


def _state_of(finder: Finder, state: States) -> State:
    if isinstance(state, State):
        return state
    if finder not in state:
        raise InputError(f"There is no state for {finder}.", "Settle one on noise, with settle().")
    return state[finder]


def _part(state: State, first: int, end: int) -> State:
    if state.pedestal.ndim == 1:
        return state
    return State(*(getattr(state, name)[first:end] for name in State.__dataclass_fields__))
