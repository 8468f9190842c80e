"""What a study is: data, networks, the meaning of their outputs, and the figures that judge them.

A study is one file with plain functions and one `Study` that names them. The pipeline asks for
nothing else, so a user's own study runs as ours do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.train import Data, Heads, History, Tell

if TYPE_CHECKING:
    from hairtrigger.graph import Graph

Outputs = Mapping[str, NDArray[Any]]
"""Raw outputs of a network (events, outputs) by the name of the test sample."""


@dataclass(frozen=True)
class Goal:
    """What a study wants to reach: ``must`` at least, ``aim`` at best, None where there is none.

    ``key`` names a row of the report's table of models, or a number of the chip: "latency_ns",
    "interval_ns", "lut", "dsp". ``better`` is "high" or "low".
    """

    key: str
    label: str
    unit: str
    better: str
    must: float | None
    aim: float | None = None


class Preset(Protocol):
    """How large a run is. A study's own frozen dataclass adds its numbers."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class Samples:
    """Simulated events: to train on, to choose the best epoch by, and the test samples by name.

    The test samples are never trained on. What an event is, is the detector's affair.
    """

    train: Any
    validation: Any
    test: Mapping[str, Any]


@dataclass(frozen=True)
class Trained:
    """A Keras model with the weights of its best epoch, and how it came there."""

    model: Any
    history: History


class Train(Protocol):
    """Trains one network. ``checkpoint`` is a file that lets an interrupted training go on."""

    def __call__(
        self,
        preset: Any,
        samples: Samples,
        seed: int,
        *,
        checkpoint: Path | None = None,
        progress: Tell | None = None,
    ) -> Trained: ...


class TrainFloatStudent(Protocol):
    """Trains the student in float; ``teacher`` is a trained model, None to train without one."""

    def __call__(
        self,
        preset: Any,
        samples: Samples,
        seed: int,
        teacher: Any | None,
        *,
        checkpoint: Path | None = None,
        progress: Tell | None = None,
    ) -> Trained: ...


class TrainStudent(Protocol):
    """Trains the student for the chip, from the weights of the float student ``start`` if given."""

    def __call__(
        self,
        preset: Any,
        samples: Samples,
        seed: int,
        teacher: Any | None,
        *,
        start: Any | None = None,
        checkpoint: Path | None = None,
        progress: Tell | None = None,
    ) -> Trained: ...


@dataclass(frozen=True)
class Way:
    """One way to make a student, to compare with others.

    ``changes`` to the preset; ``start``: the name of the way whose float student the quantised one
    starts from, None where this is itself a float student.
    """

    name: str
    label: str
    changes: Mapping[str, Any]
    start: str | None = None


@dataclass(frozen=True)
class Baseline:
    """A trigger without a network: its ``graph``; ``judge(outputs, samples)`` gives the figures
    that the study's own ``evaluate`` gives of a network."""

    title: str
    graph: Graph
    judge: Callable[[Outputs, Samples], Any]


@dataclass(frozen=True)
class Study:
    """The functions of a study.

    ``simulate(preset, seed, folder, progress)`` -> `Samples`; ``folder`` holds what is kept between
    calls, None keeps nothing. ``data(events)`` -> `Data`, what a network sees and learns of events.
    ``evaluate(outputs, samples)`` -> a frozen dataclass of figures with intervals; ``outputs`` may
    come from any engine. ``scores(figures)`` -> the figures that networks are compared by, as
    Fraction or Mean by name; ``vary(trial, preset)`` -> the preset with what an Optuna trial
    suggests; ``compared``: ways to make a student, the float ones first; ``baseline(preset, seed)``
    -> what networks must beat; ``interval``: how often an event comes, in clocks or as a time.
    ``reads``: the fields of a preset that a stage reads, by its name ("simulate", "teacher",
    "float_student", "student"): the stage sees no other, and where others change it is not done
    again. A stage without an entry sees all.
    """

    name: str
    title: str
    presets: tuple[Any, ...]
    heads: Heads
    simulate: Callable[..., Samples]
    data: Callable[[Any], Data]
    teacher: Callable[[], Any]
    float_student: Callable[[], Any]
    student: Callable[[], Any]
    train_teacher: Train
    train_float_student: TrainFloatStudent
    train_student: TrainStudent
    decode: Callable[[NDArray[Any]], Any]
    evaluate: Callable[[Outputs, Samples], Any]
    scores: Callable[[Any], Mapping[str, Any]] = lambda figures: {}
    vary: Callable[[Any, Any], Any] | None = None
    compared: tuple[Way, ...] = ()
    baseline: Callable[[Any, int], Baseline] | None = None
    interval: str = "1"
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def preset(self, name: str) -> Any:
        """The preset of that name. Raises `InputError` naming those there are."""
        for preset in self.presets:
            if preset.name == name:
                return preset
        known = ", ".join(preset.name for preset in self.presets)
        raise InputError(
            f"The study {self.name!r} has no preset {name!r}.", f"Choose one of: {known}."
        )

    def seen_by(self, stage: str, preset: Any) -> tuple[Any, dict[str, Any]]:
        """The preset as a stage sees it, and the same as a dictionary (the stage's settings)."""
        settings = asdict(preset)
        if stage not in self.reads:
            return preset, settings
        settings = {name: settings[name] for name in self.reads[stage]}
        return SimpleNamespace(**settings), settings


def as_outputs(values: Any, size: int) -> NDArray[np.float64]:
    """Checked raw outputs (events, ``size``) as float64.

    Raises `InputError` for another shape, NaN or infinity.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != size:
        raise InputError(
            f"Outputs of shape {array.shape} are not (events, {size}).",
            "Give the raw outputs of the network, one row an event.",
        )
    bad = int(array.size - np.count_nonzero(np.isfinite(array)))
    if bad:
        raise InputError(
            f"{bad} of {array.size} outputs are NaN or infinite.",
            "Look for the engine or the training that made them.",
        )
    return array
