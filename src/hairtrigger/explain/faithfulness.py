"""Do the maps say what the network does? Completeness, deletion and insertion, sanity, agreement.

A map that looks right proves nothing. These are the checks that it can fail:

    completeness      its shares add up to the answer
    curves            taking away what it calls important changes the answer fast
    sanity            with random weights it becomes another map
    agreement         teacher, students and chip are explained alike
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError, UnsupportedError
from hairtrigger.explain.explained import Explained, Shares, as_baseline
from hairtrigger.explain.removal import CHUNK_BYTES
from hairtrigger.explain.subject import Scalar, Subject, as_subject
from hairtrigger.train.checkpoint import to_array

Estimate = tuple[float, float | None]
"""A mean over events and its standard error, None of a single event."""


@dataclass(frozen=True)
class Completeness:
    """How far shares are from adding up to the output less that of the baseline.

    ``worst`` and ``mean``: of the absolute difference over events; ``scale``: the mean absolute
    output less baseline; ``share``: sum of the differences over sum of what is explained, that is
    mean / scale; ``within``: the share of events within 1 % of their own output (or of ``scale``
    where that is more).
    """

    events: int
    worst: float
    mean: float
    scale: float
    share: float
    within: float


def completeness(found: Explained | Shares) -> Completeness:
    """Compare the sum of shares with what they explain. Raises `InputError` for a method that does
    not know the answers, since its shares have nothing to add up to."""
    if found.answers is None or found.without is None:
        raise InputError(
            f"{found.method} does not know the answers it explains.",
            "Check light_up, shapley, integrated_gradients or relevance.",
        )
    total = found.values.reshape(len(found.values), -1).sum(axis=1, dtype=np.float64)
    wanted = found.answers - found.without
    off = np.abs(total - wanted)
    scale = float(np.abs(wanted).mean())
    allowed = 0.01 * np.maximum(np.abs(wanted), scale)
    return Completeness(
        len(off),
        float(off.max()),
        float(off.mean()),
        scale,
        float(off.mean() / scale) if scale else float(off.mean() > 0),
        float((off <= allowed).mean()),
    )


@dataclass(frozen=True)
class Curves:
    """The output while inputs go away or come back, most important first.

    ``shares`` (points,): of the inputs that are not at the baseline. ``deletion`` and
    ``insertion`` (points,): the mean output after that share was put to the baseline, or was
    lighted on the baseline, by the map; ``random_deletion``, ``random_insertion``: in random
    order. Areas are those under the curves with the output scaled to 0 at the baseline and 1 at
    the event, of the mean curve. ``deletion_gain`` and ``insertion_gain``: how much better than
    random order the map is, positive is better, with standard errors over the events.
    """

    shares: NDArray[np.float64]
    deletion: NDArray[np.float64]
    insertion: NDArray[np.float64]
    random_deletion: NDArray[np.float64]
    random_insertion: NDArray[np.float64]
    deletion_area: float
    insertion_area: float
    random_deletion_area: float
    random_insertion_area: float
    deletion_gain: Estimate
    insertion_gain: Estimate


def curves(
    model: Any,
    inputs: Any,
    found: Explained,
    output: int | Scalar | None = None,
    *,
    points: int = 11,
    seed: int = 0,
) -> Curves:
    """Deletion and insertion curves (V. Petsiuk, A. Das and K. Saenko, arXiv:1806.07421).

    What raises the output most goes first. Of an event whose output is below the baseline's, what
    lowers it most does, and its output is mirrored at the baseline, so that all curves go the same
    way. Raises `InputError` for a map of other events, fewer than 2 points, or outputs that are all
    the baseline's.
    """
    subject = as_subject(model, output)
    events = subject.check(inputs)
    if found.values.shape != events.shape:
        raise InputError(
            f"A map of shape {found.values.shape} is not one of events {events.shape}.",
            "Give the events that were explained.",
        )
    if points < 2:
        raise InputError(f"points = {points!r}.", "Give 2 or more.")
    base, events = as_baseline(0.0 if found.baseline is None else found.baseline, events)
    steps = np.linspace(0, 1, points)
    rng = np.random.default_rng(seed)
    drawn = rng.random(events.shape, np.float32)
    dark = float(subject.values(base[None].astype(events.dtype))[0])
    side = np.where(subject.values(events) >= dark, 1.0, -1.0)
    worth_of_map = found.values * side.reshape(-1, *[1] * (events.ndim - 1))
    all_values = [
        dark + side[:, None] * (_ordered(subject, events, base, worth, steps, insert) - dark)
        for worth in (worth_of_map, drawn)
        for insert in (False, True)
    ]
    mean = [each.mean(axis=0) for each in all_values]
    first, last = float(mean[1][0]), float(mean[0][0])
    height = last - first
    if height == 0:
        raise InputError(
            "All outputs are that of the baseline: there is nothing to explain.",
            "Give events that raise or lower the output.",
        )
    areas = [float(np.trapezoid((curve - first) / height, steps)) for curve in mean]
    each = [np.trapezoid(one / height, steps, axis=1) for one in all_values]
    return Curves(
        steps,
        *mean,
        *areas,
        _estimate(each[2] - each[0]),
        _estimate(each[1] - each[3]),
    )


def _estimate(values: NDArray[np.float64]) -> Estimate:
    if len(values) < 2:
        return float(values.mean()), None
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def _ordered(
    subject: Subject,
    events: NDArray[Any],
    base: NDArray[Any],
    worth: NDArray[Any],
    steps: NDArray[np.float64],
    insert: bool,
) -> NDArray[np.float64]:
    """Outputs (events, points) while inputs are changed in order of falling ``worth``."""
    flat = events.reshape(len(events), -1)
    start = base.reshape(-1)
    lit = flat != start
    rank = _ranks_down(np.where(lit, worth.reshape(len(events), -1), -np.inf))
    count = lit.sum(axis=1)
    room = max(1, CHUNK_BYTES // max(1, events[0].nbytes))
    answers = np.empty((len(events), len(steps)))
    for number, step in enumerate(steps):
        taken = rank < np.rint(step * count)[:, None]
        shown = taken if insert else ~taken
        for at in range(0, len(events), room):
            part = slice(at, at + room)
            made = np.where(shown[part], flat[part], start).astype(events.dtype)
            answers[part, number] = subject.values(made.reshape(-1, *subject.shape))
    return answers


def _ranks_down(values: NDArray[Any]) -> NDArray[np.intp]:
    """0 for the largest of a row, and so on; equal ones in the order they stand in."""
    order = np.argsort(-values, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(values.shape[1])[None], axis=1)
    return ranks


@dataclass(frozen=True)
class Agreement:
    """How alike two maps are: mean and standard error over events of the rank correlation and of
    the overlap of the ``top`` highest, on the inputs that are not at the baseline; ``events`` that
    have enough of those."""

    rank: Estimate
    overlap: Estimate
    top: int
    events: int


def agreement(
    first: Explained,
    second: Explained,
    among: NDArray[np.bool_] | None = None,
    top: int = 5,
) -> Agreement:
    """Spearman's rank correlation (ties share their mean rank) and the share that the ``top``
    highest have in common.

    ``among``: (events, *shape), which numbers are compared; None: those where either map is not 0.
    Events with fewer than ``top`` + 1 of them, or where all of a map's are equal, are left out.
    Raises `InputError` for maps of different shapes or where no event is left.
    """
    if first.values.shape != second.values.shape:
        raise InputError(
            f"Maps of shapes {first.values.shape} and {second.values.shape}.",
            "Compare maps of the same events.",
        )
    if top < 1:
        raise InputError(f"top = {top!r}.", "Give 1 or more.")
    a = first.values.reshape(len(first.values), -1)
    b = second.values.reshape(len(a), -1)
    where = (a != 0) | (b != 0) if among is None else among.reshape(len(a), -1)
    ranks: list[float] = []
    overlaps: list[float] = []
    for x, y, mine in zip(a, b, where, strict=True):
        x, y = x[mine], y[mine]
        if len(x) <= top or np.ptp(x) == 0 or np.ptp(y) == 0:
            continue
        ranks.append(float(np.corrcoef(mean_ranks(x), mean_ranks(y))[0, 1]))
        best = set(np.argsort(-x, kind="stable")[:top].tolist())
        overlaps.append(len(best & set(np.argsort(-y, kind="stable")[:top].tolist())) / top)
    if not ranks:
        raise InputError(f"No event has more than {top} numbers to compare.", "Give a smaller top.")
    return Agreement(_estimate(np.array(ranks)), _estimate(np.array(overlaps)), top, len(ranks))


def mean_ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Ranks from 0 on, lowest first; equal values share the mean of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[which.reshape(-1)]


@dataclass(frozen=True)
class Layer:
    """One step of a sanity check: all layers from the top down to ``layer`` have random weights."""

    layer: str
    agreement: Agreement | None
    """None where the randomised network gives no event a map: destroyed altogether."""


Method = Callable[[Any, Any, Any], Explained]
"""A method of attribution with its options set: (model, inputs, output) -> Explained."""


def sanity(
    model: Any,
    inputs: Any,
    method: Method,
    output: int | Scalar | None = None,
    *,
    seed: int = 0,
    top: int = 5,
    layers: Sequence[str] | None = None,
) -> tuple[Layer, ...]:
    """Randomise the weights layer by layer from the top, and compare the maps with the first one.

    J. Adebayo et al., arXiv:1810.03292: a map that stays as it was does not depend on what the
    network has learned. The numbers of each kernel and bias are shuffled among themselves: their
    distribution stays, what they say goes. ``layers``: names to stop at, None for all. The model
    has its weights back at the end. Raises `UnsupportedError` for a Graph.
    """
    subject = as_subject(model, output)
    if subject.compiled is None:
        raise UnsupportedError(
            "A Graph's constants are not shuffled.", "Check the Keras model that it was made of."
        )
    keras_model = subject.model
    events = subject.check(inputs)
    first = method(keras_model, events, subject.scalar)
    weighted = [layer for layer in keras_model.layers if _weights(layer)]
    rng = np.random.default_rng(seed)
    kept = {id(v): to_array(v) for layer in weighted for v in _weights(layer)}
    steps: list[Layer] = []
    try:
        for layer in reversed(weighted):
            for weight in _weights(layer):
                weight.assign(rng.permutation(to_array(weight).reshape(-1)).reshape(weight.shape))
            if layers is not None and layer.name not in layers:
                continue
            try:
                found = agreement(first, method(keras_model, events, subject.scalar), top=top)
            except InputError:
                found = None
            steps.append(Layer(layer.name, found))
    finally:
        for layer in weighted:
            for weight in _weights(layer):
                weight.assign(kept[id(weight)])
    return tuple(steps)


def _weights(layer: Any) -> list[Any]:
    """Kernels and biases of a layer, not the widths of its quantizers."""
    return [v for v in layer.weights if v.path.split("/")[-1] in ("kernel", "bias")]
