"""What a study gives to be explained: its networks, its events and its own questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.explain.explained import Baseline
from hairtrigger.explain.groups import Groups
from hairtrigger.explain.load import CHIP, load
from hairtrigger.explain.subject import Scalar


@dataclass(frozen=True)
class Answer:
    """The answer to a question: a table, and its main numbers by name for a machine.

    ``question`` as a physicist asks it; ``note`` says how it was measured; ``aim``: what is hoped
    for, with the name of the figure and the least it should be.
    """

    key: str
    question: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[str | float | None, ...], ...]
    figures: Mapping[str, float | None] = field(default_factory=dict[str, float | None])
    aim: tuple[str, float] | None = None


@dataclass(frozen=True)
class Events:
    """Events to be explained (events, *shape); ``signal``: of the same shape, 1 where an input is
    a true signal's, None where it is not known; ``captions``: of each, ``note``: what they are."""

    inputs: NDArray[Any]
    note: str
    signal: NDArray[np.uint8] | None = None
    captions: tuple[str, ...] = ()


Networks = Mapping[str, Any]
"""Keras models by what people call them, the most accurate first; the Graph under `CHIP`."""

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Asked:
    """What a case's questions get: the networks, events and their map, how many, and a seed."""

    networks: Networks
    events: Events
    seed: int
    run: Path | None
    tell: Tell = lambda done, total: None

    @property
    def deployed(self) -> Any:
        """The chip's Graph, or the last network where there is none."""
        return self.networks.get(CHIP, list(self.networks.values())[-1])


@dataclass(frozen=True)
class Case:
    """A study as this package sees it.

    ``files(run)``: paths of the networks by name, of a run folder, or of what comes with the
    study where ``run`` is None; ``events(network, count, seed, run)``: events that the network
    accepts rightly; ``scalar``: what is explained; ``rows``: names of an event's rows on a display;
    ``questions(asked)``: its answers. ``binary``: inputs are bits, or numbers.
    ``layer``, ``to_image``: of its activation map, see `gradients.grad_cam`. ``load(files)``: the
    networks, and a note on the chip.
    """

    study: str
    title: str
    scalar: Scalar
    groups: Groups
    rows: tuple[str, ...]
    files: Callable[[Path | None], Mapping[str, Path]]
    events: Callable[[Any, int, int, Path | None], Events]
    questions: Callable[[Asked], tuple[Answer, ...]]
    baseline: Baseline = 0.0
    binary: bool = True
    layer: str | None = None
    to_image: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    load: Callable[[Mapping[str, Path]], tuple[dict[str, Any], str]] = load
