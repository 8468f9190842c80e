"""The straight path of integrated gradients, refined where the gradient changes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.explain.explained import Baseline, Explained, as_baseline
from hairtrigger.explain.subject import Scalar, Subject, as_subject

KINKS = 64
"""An interval of the path is good where what it misses is below the event's allowance over this."""
DEPTH = 16
"""Intervals are halved at most so often: where an answer jumps, no halving helps."""


def refined_gradients(
    model: Any,
    inputs: Any,
    output: int | Scalar | None = None,
    *,
    baseline: Baseline = 0.0,
    within: float = 0.01,
    first: int = 16,
    most: int = 4096,
) -> Explained:
    """Integrated gradients (arXiv:1703.01365) on the straight path, complete to ``within``.

    A network of ReLU, maxima and matrices is piecewise linear along the path: between two kinks one
    gradient is the whole integral, and equal steps waste all but those that hold a kink. Here the
    path has ``first`` equal intervals, and each is halved until the gradient at its middle times
    its length says what the answer does from end to end, up to ``within`` / `KINKS` of the event's
    answer less that of the baseline (of the mean over events, where that is more). An answer that
    jumps, as a quantised network's does, never gets there: an event has ``most`` intervals, and an
    interval is halved `DEPTH` times at most; `faithfulness.completeness` says what is left.

    Raises `InputError` for numbers out of range and `UnsupportedError` for a Graph.
    """
    if not 0 < within < 1 or first < 1 or most < first:
        raise InputError(
            f"within = {within!r}, first = {first!r}, most = {most!r}.",
            "Give within between 0 and 1, first from 1 on, and most not below first.",
        )
    subject = as_subject(model, output)
    events = subject.check(inputs)
    base, events = as_baseline(baseline, events)
    start = base.astype(np.float32)
    answers = subject.values(events)
    without = np.repeat(subject.values(start[None]), len(events))
    rise = np.abs(answers - without)
    allowed = within * np.maximum(rise, rise.mean()) / KINKS
    total = np.zeros(events.shape, np.float64)
    spent = 0
    size = max(1, subject.batch // first)
    for at in range(0, len(events), size):
        part = slice(at, at + size)
        away = events[part].astype(np.float32) - start
        ends = without[part], answers[part]
        spent += _integrate(subject, start, away, ends, allowed[part], first, most, total[part])
    return Explained(
        (total * (events.astype(np.float64) - start)).astype(np.float32),
        subject.scalar.name,
        f"integrated_gradients, {spent / len(events):.0f} steps refined at kinks",
        baseline,
        answers,
        without,
    )


def _integrate(
    subject: Subject,
    start: NDArray[np.float32],
    away: NDArray[np.float32],
    ends: tuple[NDArray[np.float64], NDArray[np.float64]],
    allowed: NDArray[np.float64],
    first: int,
    most: int,
    total: NDArray[np.float64],
) -> int:
    """Add each event's mean gradient to ``total``; the number of gradients that it took."""
    count = len(away)
    shape = (-1, *[1] * (away.ndim - 1))

    def at(event: NDArray[np.intp], place: NDArray[np.float64]) -> NDArray[np.float32]:
        return start + place.astype(np.float32).reshape(shape) * away[event]

    # Answers at the ends of the equal intervals, the outermost of which are known.
    event = np.repeat(np.arange(count), first)
    low = np.tile(np.arange(first) / first, count)
    inner = np.concatenate([ends[0][:, None], np.zeros((count, first - 1)), ends[1][:, None]], 1)
    if first > 1:
        places = np.tile(np.arange(1, first) / first, count)
        found = subject.values(at(np.repeat(np.arange(count), first - 1), places))
        inner[:, 1:-1] = found.reshape(count, first - 1)
    f_low, f_high = inner[:, :-1].reshape(-1), inner[:, 1:].reshape(-1)
    made = np.zeros(count, np.int64)
    width, spent = 1 / first, 0
    for depth in range(DEPTH + 1):
        made += np.bincount(event, minlength=count)
        kept: list[NDArray[np.bool_]] = []
        for begin in range(0, len(event), subject.batch):
            here = slice(begin, begin + subject.batch)
            gradient = subject.gradients(at(event[here], low[here] + width / 2))
            flat = gradient.reshape(len(gradient), -1).astype(np.float64)
            told = width * (flat * away[event[here]].reshape(len(flat), -1)).sum(axis=1)
            off = np.abs(f_high[here] - f_low[here] - told)
            good = (off <= allowed[event[here]]) | (depth == DEPTH) | (made[event[here]] >= most)
            np.add.at(total, event[here][good], width * gradient[good])
            kept.append(~good)
        spent += len(event)
        again = np.concatenate(kept)
        if not again.any():
            break
        event, low = event[again], low[again]
        middle = subject.values(at(event, low + width / 2))
        width /= 2
        f_low = np.stack([f_low[again], middle], axis=1).reshape(-1)
        f_high = np.stack([middle, f_high[again]], axis=1).reshape(-1)
        event = np.repeat(event, 2)
        low = np.stack([low, low + width], axis=1).reshape(-1)
    return spent
