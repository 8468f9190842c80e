"""The straight path of integrated gradients, refined where the gradient changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.explain.explained import Baseline, Explained, as_baseline
from hairtrigger.explain.subject import Scalar, Subject, as_subject

FIRST = 32
"""Equal intervals of the path to begin with."""
ROUNDS = 24
"""Intervals are halved at most so often: where an answer jumps, no halving helps."""
NEAR = 0.25
"""In a round, intervals are halved that miss at least this share of what the worst one misses."""
EVENTS = 64
"""Events whose paths are refined at once."""

Floats = NDArray[np.float64]


def refined_gradients(
    model: Any,
    inputs: Any,
    output: int | Scalar | None = None,
    *,
    baseline: Baseline = 0.0,
    within: float = 0.005,
    most: int = 512,
) -> Explained:
    """Integrated gradients (arXiv:1703.01365) on the straight path, complete to ``within``.

    A network of ReLU, maxima and matrices is piecewise linear along the path: between two kinks one
    gradient is the whole integral, and equal steps waste all but those that hold a kink. Each
    interval shows what it misses: what the answer does from end to end, less the gradient at its
    middle times its length. The worst are halved until of an event both the sum of what is missed
    and the root of the sum of its squares (so that chance alone cannot end it) are at most
    ``within`` of the answer less that of the baseline (of the mean over events, where that is
    more), or it has ``most`` intervals. An answer that jumps, as that of a quantised network does,
    never gets there: `faithfulness.completeness` says what is left.

    Raises `InputError` for numbers out of range and `UnsupportedError` for a Graph.
    """
    if not 0 < within < 1 or most < FIRST:
        raise InputError(
            f"within = {within!r}, most = {most!r}.",
            f"Give within between 0 and 1, and most from {FIRST} on.",
        )
    subject = as_subject(model, output)
    events = subject.check(inputs)
    base, events = as_baseline(baseline, events)
    start = base.astype(np.float32)
    answers = subject.values(events)
    without = np.repeat(subject.values(start[None]), len(events))
    rise = np.abs(answers - without)
    allowed = within * np.maximum(rise, rise.mean())
    values = np.empty(events.shape, np.float32)
    steps = 0
    for at in range(0, len(events), EVENTS):
        part = slice(at, at + EVENTS)
        path = _Path(subject, start, events[part].astype(np.float32) - start)
        mesh = _refine(path, without[part], answers[part], allowed[part], most)
        values[part] = path.integral(mesh) * path.away
        steps += len(mesh.event)
    return Explained(
        values,
        subject.scalar.name,
        f"integrated_gradients, {steps / len(events):.0f} steps at kinks",
        baseline,
        answers,
        without,
    )


@dataclass(frozen=True)
class _Mesh:
    """Intervals of all events: whose, where they begin (of 0 to 1), how long they are, the answers
    at both ends, and what is missed (NaN: not yet known)."""

    event: NDArray[np.intp]
    low: Floats
    width: Floats
    f_low: Floats
    f_high: Floats
    off: Floats

    def take(self, where: NDArray[Any]) -> _Mesh:
        parts = (self.event, self.low, self.width, self.f_low, self.f_high, self.off)
        return _Mesh(*(part[where] for part in parts))


@dataclass(frozen=True)
class _Path:
    """The straight paths of some events: from ``start``, by ``away`` (events, *shape)."""

    subject: Subject
    start: NDArray[np.float32]
    away: NDArray[np.float32]

    def at(self, event: NDArray[np.intp], place: Floats) -> NDArray[np.float32]:
        step = place.astype(np.float32).reshape(-1, *[1] * (self.away.ndim - 1))
        return self.start + step * self.away[event]

    def answers(self, event: NDArray[np.intp], place: Floats) -> Floats:
        parts = [self.subject.values(self.at(event[s], place[s])) for s in self._slices(event)]
        return np.concatenate([np.empty(0), *parts])

    def told(self, mesh: _Mesh) -> Floats:
        """What the gradients at the middles say that the answer does along each interval."""
        found = np.empty(len(mesh.event))
        for s in self._slices(mesh.event):
            gradient = self._middle(mesh, s) * self.away[mesh.event[s]]
            found[s] = gradient.reshape(len(gradient), -1).sum(axis=1, dtype=np.float64)
        return found * mesh.width

    def integral(self, mesh: _Mesh) -> Floats:
        """The mean gradient along each event's path, (events, *shape)."""
        total = np.zeros(self.away.shape, np.float64)
        for s in self._slices(mesh.event):
            width = mesh.width[s].reshape(-1, *[1] * (self.away.ndim - 1))
            np.add.at(total, mesh.event[s], width * self._middle(mesh, s))
        return total

    def _middle(self, mesh: _Mesh, s: slice) -> NDArray[np.float32]:
        return self.subject.gradients(self.at(mesh.event[s], mesh.low[s] + mesh.width[s] / 2))

    def _slices(self, event: NDArray[Any]) -> list[slice]:
        size = self.subject.batch
        return [slice(begin, begin + size) for begin in range(0, len(event), size)]


def _refine(path: _Path, first: Floats, last: Floats, allowed: Floats, most: int) -> _Mesh:
    """Halve the worst intervals of each event until it misses no more than is ``allowed``."""
    count = len(first)
    event = np.repeat(np.arange(count), FIRST)
    low = np.tile(np.arange(FIRST) / FIRST, count)
    ends = np.empty((count, FIRST + 1))
    ends[:, 0], ends[:, -1] = first, last
    inside = np.tile(np.arange(1, FIRST) / FIRST, count)
    ends[:, 1:-1] = path.answers(np.repeat(np.arange(count), FIRST - 1), inside).reshape(count, -1)
    f_low, f_high = ends[:, :-1].reshape(-1), ends[:, 1:].reshape(-1)
    mesh = _Mesh(event, low, np.full(len(low), 1 / FIRST), f_low, f_high, np.full(len(low), np.nan))
    for _ in range(ROUNDS + 1):
        new = np.flatnonzero(np.isnan(mesh.off))
        if not len(new):
            break
        part = mesh.take(new)
        mesh.off[new] = part.f_high - part.f_low - path.told(part)
        mesh = _halved(path, mesh, _worst(mesh, allowed, most))
    # The last round may have halved what nobody looked at: it is finer, and no less right.
    return mesh


def _worst(mesh: _Mesh, allowed: Floats, most: int) -> NDArray[np.bool_]:
    """The intervals to halve: those that miss most, of events that are not good yet."""
    count = len(allowed)
    missed = np.abs(np.bincount(mesh.event, mesh.off, count))
    spread = np.sqrt(np.bincount(mesh.event, mesh.off**2, count))
    many = np.bincount(mesh.event, minlength=count)
    again = ((missed > allowed) | (spread > allowed)) & (many < most)
    size = np.abs(mesh.off)
    largest = np.zeros(count)
    np.maximum.at(largest, mesh.event, size)
    return again[mesh.event] & (size > 0) & (size >= NEAR * largest[mesh.event])


def _halved(path: _Path, mesh: _Mesh, which: NDArray[np.bool_]) -> _Mesh:
    old, kept = mesh.take(which), mesh.take(~which)
    half = old.width / 2
    middle = path.answers(old.event, old.low + half)
    unknown = np.full(len(half), np.nan)
    left = _Mesh(old.event, old.low, half, old.f_low, middle, unknown)
    right = _Mesh(old.event, old.low + half, half, middle, old.f_high, unknown)
    names = ("event", "low", "width", "f_low", "f_high", "off")
    return _Mesh(*(np.concatenate([getattr(m, n) for m in (kept, left, right)]) for n in names))
