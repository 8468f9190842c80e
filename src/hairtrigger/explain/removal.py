"""Attributions from answers alone: take inputs away, or light them one by one.

They need no gradient, so they explain the chip's own integers as well. An input that is at the
baseline already has no part in the answer: only the others are touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.explain.explained import Baseline, Explained, Shares, as_baseline
from hairtrigger.explain.groups import Groups
from hairtrigger.explain.subject import Scalar, Subject, as_subject

CHUNK_BYTES = 64 << 20
"""The changed copies of events that are answered at once take at most so much."""


def occlusion(
    model: Any, inputs: Any, output: int | Scalar | None = None, *, baseline: Baseline = 0.0
) -> Explained:
    """What the output loses when one input number alone is put to the baseline.

    M. D. Zeiler and R. Fergus, arXiv:1311.2901, with a patch of one number. Shares do not add up
    to the output where numbers stand in for each other.
    """
    subject = as_subject(model, output)
    events = subject.check(inputs)
    base, events = as_baseline(baseline, events)
    values = np.zeros(events.shape, np.float32).reshape(len(events), -1)
    answers = subject.values(events)
    players = [np.flatnonzero(event) for event in (events != base).reshape(len(events), -1)]
    flat = base.reshape(-1)

    def copies(event: int) -> NDArray[Any]:
        lit = players[event]
        made = np.repeat(events[event].reshape(1, -1), len(lit), axis=0)
        made[np.arange(len(lit)), lit] = flat[lit]
        return made

    for event, found in _answered(subject, copies, [len(lit) for lit in players], events.dtype):
        values[event, players[event]] = answers[event] - found
    without = subject.values(base[None].astype(events.dtype))
    return Explained(
        values.reshape(events.shape),
        subject.scalar.name,
        "occlusion",
        baseline,
        answers,
        np.repeat(without, len(events)),
    )


def light_up(
    model: Any,
    inputs: Any,
    output: int | Scalar | None = None,
    *,
    baseline: Baseline = 0.0,
    orders: int = 4,
    seed: int = 0,
) -> Explained:
    """Integrated gradients along paths that light one input number after the other.

    A path from the baseline to the event that changes one number at a time stays on images of
    bits, where a straight one would cross images that cannot be. Along each step the integral of
    the gradient is the difference of the two answers, so none has to be computed, and the shares
    add up to the output less that of the baseline. Averaged over ``orders``, an even number: half
    are drawn, the others are these backwards (antithetic), which cuts the scatter; the more, the
    nearer to the Shapley value of each number (L. S. Shapley, 1953; M. Sundararajan, A. Taly and
    Q. Yan, arXiv:1703.01365, for the integral). ``error`` is the standard error over pairs of
    orders, None where there is one pair only. Raises `InputError` for an odd number of orders.
    """
    subject = as_subject(model, output)
    events = subject.check(inputs)
    base, events = as_baseline(baseline, events)
    size = int(np.prod(events.shape[1:]))
    found = walk(subject, events, base, np.arange(size), size, orders, seed)
    values, error, answers, without = found
    shape = events.shape
    return Explained(
        values.astype(np.float32).reshape(shape),
        subject.scalar.name,
        "light_up",
        baseline,
        answers,
        without,
        None if error is None else error.astype(np.float32).reshape(shape),
    )


def group_occlusion(
    model: Any,
    inputs: Any,
    groups: Groups,
    output: int | Scalar | None = None,
    *,
    baseline: Baseline = 0.0,
) -> Shares:
    """What the output loses when one group of inputs alone is put to the baseline."""
    subject = as_subject(model, output)
    events = subject.check(inputs)
    groups.check(subject.shape)
    base, events = as_baseline(baseline, events)
    answers = subject.values(events)
    values = np.zeros((len(events), len(groups)))
    for group in range(len(groups)):
        mine = groups.labels == group
        touched = np.flatnonzero((events != base)[:, mine].any(axis=1))
        for start in range(0, len(touched), step := _fitting(events)):
            part = touched[start : start + step]
            changed = np.where(mine, base, events[part]).astype(events.dtype)
            values[part, group] = answers[part] - subject.values(changed)
    without = subject.values(base[None].astype(events.dtype))
    return Shares(
        values,
        groups.names,
        subject.scalar.name,
        "group_occlusion",
        baseline,
        answers,
        np.repeat(without, len(events)),
    )


def walk(
    subject: Subject,
    events: NDArray[Any],
    base: NDArray[Any],
    labels: NDArray[np.integer[Any]],
    count: int,
    orders: int,
    seed: int,
) -> tuple[
    NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.float64], NDArray[np.float64]
]:
    """Mean and error of what each of ``count`` players adds along drawn orders, and both ends.

    ``labels``: the player of each input number. Order number n of event number m is the same
    however the events are cut into batches.
    """
    if orders < 2 or orders % 2:
        raise InputError(f"orders = {orders!r}.", "Give an even number: each is run backwards too.")
    pairs = orders // 2
    labels = labels.reshape(-1)
    flat = events.reshape(len(events), -1)
    start = base.reshape(-1)
    sums = np.zeros((len(events), count))
    squares = np.zeros((len(events), count)) if pairs > 1 else None
    answers, without = np.empty(len(events)), np.empty(len(events))
    changed = [np.flatnonzero(event != start) for event in flat]
    players = [np.unique(labels[lit]) for lit in changed]

    def order(event: int) -> list[NDArray[np.intp]]:
        rng = np.random.default_rng((seed, event))
        drawn = [rng.permutation(len(players[event])) for _ in range(pairs)]
        return [way for one in drawn for way in (one, one[::-1])]

    def copies(event: int) -> NDArray[Any]:
        lit, mine = changed[event], players[event]
        place = np.searchsorted(mine, labels[lit])
        made: list[NDArray[Any]] = []
        for way in order(event):
            rank = np.empty(len(mine), np.intp)
            rank[way] = np.arange(len(mine))
            shown = rank[place] < np.arange(len(mine) + 1)[:, None]
            steps = np.repeat(start[None].astype(flat.dtype), len(mine) + 1, axis=0)
            steps[:, lit] = np.where(shown, flat[event, lit], start[lit])
            # Both ends are the same in all orders: each is answered once.
            made.append(steps if not made else steps[1:-1])
        return np.concatenate(made)

    def needed(event: int) -> int:
        steps = len(players[event]) + 1
        return steps + (orders - 1) * max(0, steps - 2)

    counts = [needed(event) for event in range(len(flat))]
    for event, found in _answered(subject, copies, counts, flat.dtype):
        mine = players[event]
        steps = len(mine) + 1
        without[event], answers[event] = found[0], found[steps - 1]
        if not len(mine):
            continue
        ends = found[[0]], found[[steps - 1]]
        inner = [found[1 : steps - 1], *np.split(found[steps:], orders - 1)]
        each = np.zeros((orders, len(mine)))
        for number, (way, middle) in enumerate(zip(order(event), inner, strict=True)):
            each[number, way] = np.diff(np.concatenate([ends[0], middle, ends[1]]))
        means = each.reshape(pairs, 2, -1).mean(axis=1)
        sums[event, mine] = means.mean(axis=0)
        if squares is not None:
            squares[event, mine] = means.std(axis=0, ddof=1) / np.sqrt(pairs)
    return sums, squares, answers, without


def _answered(
    subject: Subject, copies: Any, counts: list[int], dtype: Any
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Events and the answers of their changed copies, many events in one call."""
    room = max(1, CHUNK_BYTES // (dtype.itemsize * max(1, int(np.prod(subject.shape)))))
    waiting: list[int] = []
    for event, count in enumerate(counts):
        if waiting and sum(counts[n] for n in waiting) + count > room:
            yield from _batch(subject, copies, waiting, counts, room)
            waiting = []
        waiting.append(event)
    yield from _batch(subject, copies, waiting, counts, room)


def _batch(
    subject: Subject, copies: Any, waiting: list[int], counts: list[int], room: int
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    made = np.concatenate([copies(event) for event in waiting]).reshape(-1, *subject.shape)
    # One event alone may have more copies than there is room for.
    found = [subject.values(made[at : at + room]) for at in range(0, len(made), room)]
    together = np.concatenate(found) if found else np.empty(0)
    ends = np.cumsum([counts[event] for event in waiting])[:-1]
    yield from zip(waiting, np.split(together, ends), strict=True)


def _fitting(events: NDArray[Any]) -> int:
    return max(1, CHUNK_BYTES // max(1, events[0].nbytes))
