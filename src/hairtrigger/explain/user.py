"""A user's own model as a case: events from a file, an output by number, groups along its input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.explain.case import Answer, Asked, Case, Events
from hairtrigger.explain.groups import Groups, by_axis, by_windows
from hairtrigger.explain.shapley import EXACT_GROUPS, shapley
from hairtrigger.explain.subject import Scalar, as_subject


def read_events(path: Path) -> NDArray[Any]:
    """Events of a .npy file. Raises `InputError` for a file that is none or holds no numbers."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{path} cannot be read as events: {error}.",
            "Give a .npy file: numpy.save(path, events), events an array (events, *shape).",
        ) from error
    if not isinstance(found, np.ndarray):
        raise InputError(f"{path} holds several arrays.", "Give a .npy file with one array.")
    return found


def user_case(
    path: Path, model: Any, data: NDArray[Any], output: int = 0, names: tuple[str, ...] = ()
) -> Case:
    """The case of one model and events of the user's. Raises `InputError` for events that the
    model was not made for, and names that do not fit."""
    scalar = Scalar.output(output)
    subject = as_subject(model, scalar)
    events = subject.check(data)
    subject.values(events[:1])  # says now where there is no such output
    binary = bool(np.isin(np.unique(events[:4096]), (0, 1)).all())
    baseline: Any = 0.0 if binary else events.astype(np.float64).mean(axis=0).astype(np.float32)
    groups = _groups(subject.shape, names)

    def chosen(network: Any, count: int, seed: int, run: Path | None) -> Events:
        del network, run
        order = np.sort(np.random.default_rng(seed).permutation(len(events))[:count])
        return Events(
            events[order],
            f"of the {len(events):,} events given, {len(order):,} drawn at random",
            captions=tuple(f"event {n}" for n in order),
        )

    def questions(asked: Asked) -> tuple[Answer, ...]:
        return (group_shares(asked, scalar, groups, baseline),)

    return Case(
        path.stem,
        path.name,
        scalar,
        groups,
        tuple(f"row {n}" for n in range(subject.shape[0])) if len(subject.shape) > 1 else (),
        lambda run: {"model": path},
        chosen,
        questions,
        baseline,
        binary,
    )


def group_shares(asked: Asked, scalar: Scalar, groups: Groups, baseline: Any) -> Answer:
    """The Shapley value of each group of inputs, over all events."""
    sampled = len(groups) > EXACT_GROUPS
    inputs = asked.events.inputs
    found = shapley(
        asked.deployed,
        inputs,
        groups,
        scalar,
        baseline=baseline,
        orders=32 if sampled else None,
        seed=asked.seed,
    )
    size = np.abs(found.values).mean(axis=0)
    order = np.argsort(-size, kind="stable")
    rows = tuple(
        (
            groups.names[n],
            float(found.values[:, n].mean()),
            float(size[n]),
            float(size[n] / max(size.sum(), 1e-30)),
        )
        for n in order
    )
    against = "0" if np.ndim(baseline) == 0 else "the mean of each input over the events"
    return Answer(
        "groups",
        f"Which inputs carry {scalar.name}?",
        f"Shapley values ({found.method}) on {len(inputs):,} events: {asked.events.note}; an input "
        f"that is taken away has {against}.",
        ("inputs", "mean share", "mean absolute share", "part of all"),
        rows,
        {f"part_{groups.names[n]}": rows[at][3] for at, n in enumerate(order)},  # type: ignore[misc]
    )


def _groups(shape: tuple[int, ...], names: tuple[str, ...]) -> Groups:
    """Features by name or number, or windows along the longest axis."""
    if names:
        return by_axis(shape, 0, names)
    if len(shape) == 1 and shape[0] <= 64:
        return by_axis(shape, 0, [f"input {n}" for n in range(shape[0])])
    axis = int(np.argmax(shape))
    return by_windows(shape, axis, -(-shape[axis] // EXACT_GROUPS), f"axis {axis}:")
