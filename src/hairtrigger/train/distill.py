"""Knowledge distillation: a student learns from the truth and from a teacher.

From the teacher's outputs, softened by a temperature (arXiv:1503.02531), and, as a hint, from the
results of one of its inner layers (arXiv:1412.6550): a matrix that is learned along, and dropped
afterwards, turns the student's inner layer into the teacher's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.train.data import Data, predict
from hairtrigger.train.fit import FitSettings, History, Tell, fit
from hairtrigger.train.heads import Heads, Loss, check_targets, distillation_loss, output_size


@dataclass(frozen=True)
class Distillation:
    """``temperature`` softens logits; ``weight`` (0 to 1) is the teacher's share of the loss.

    ``hint``: weight of the mean squared distance from the teacher's inner ``layer``, in units of
    the spread of its results; 0 leaves it away.
    """

    temperature: float = 2.0
    weight: float = 0.5
    hint: float = 0.0
    layer: str = "hidden"

    def __post_init__(self) -> None:
        if self.hint < 0:
            raise InputError(f"hint = {self.hint!r}.", "Give a weight of 0 (no hint) or more.")


def distill(
    teacher: Any,
    student: Any,
    data: Data,
    validation: Data,
    heads: Heads,
    distillation: Distillation,
    settings: FitSettings,
    *,
    checkpoint: Path | None = None,
    progress: Tell | None = None,
    what: str = "distillation",
) -> History:
    """Train ``student`` in place as `fit` does, on the truth and on the ``teacher``.

    The teacher runs once over the data, not once an epoch: what it says becomes targets beside the
    truth. Raises what `fit` raises, and `InputError` where heads, targets and teacher do not fit.
    """
    loss = distillation_loss(heads, distillation.temperature, distillation.weight)
    taught = [with_teacher(teacher, part, heads) for part in (data, validation)]
    trained = student
    if distillation.hint:
        layer = distillation.layer
        inner = [_inner(teacher, layer, part) for part in (data, validation)]
        spread = inner[0].std(axis=0)
        spread[spread == 0] = 1  # a unit that never speaks
        taught = [
            _beside(part, values / spread) for part, values in zip(taught, inner, strict=True)
        ]
        trained = _with_hint(student, layer, len(spread))
        loss = _hinted(loss, len(heads) + output_size(heads), len(spread), distillation.hint)
    return fit(
        trained, *taught, loss, settings, checkpoint=checkpoint, progress=progress, what=what
    )


def with_teacher(teacher: Any, data: Data, heads: Heads) -> Data:
    """``data`` with targets (events, heads + outputs): the truth, then the teacher's outputs."""
    check_targets(heads, data.targets.shape[1])
    outputs = predict(teacher, data.inputs, data.prepare)
    if outputs.shape[1:] != (output_size(heads),):
        raise InputError(
            f"The teacher gives outputs of shape {outputs.shape[1:]}; the heads have "
            f"{output_size(heads)}.",
            "Give a teacher with the outputs that the heads name.",
        )
    return _beside(data, outputs)


def _beside(data: Data, more: NDArray[np.float32]) -> Data:
    return replace(data, targets=np.concatenate([data.targets, more], axis=1))


def _layer(model: Any, name: str) -> Any:
    """A layer with results (events, units)."""
    found = {layer.name: layer for layer in model.layers}.get(name)
    if found is None or len(found.output.shape) != 2:
        raise InputError(
            f"The network {model.name!r} has no layer {name!r} with results (events, units).",
            "Name an inner layer that teacher and student both have.",
        )
    return found


def _inner(teacher: Any, layer: str, data: Data) -> NDArray[np.float32]:
    probe = import_keras().Model(teacher.input, _layer(teacher, layer).output)
    return predict(probe, data.inputs, data.prepare)


def _with_hint(student: Any, layer: str, units: int) -> Any:
    """The student (its own layers, not a copy) with the learned hint behind its outputs."""
    keras = import_keras()
    hint = keras.layers.Dense(units, name="hint")(_layer(student, layer).output)
    both = keras.layers.Concatenate(name="and_hint")([student.output, hint])
    return keras.Model(student.input, both, name=student.name)


def _hinted(loss: Loss, columns: int, units: int, weight: float) -> Loss:
    def hinted(targets: Any, outputs: Any) -> Any:
        from keras import ops

        away = ops.mean(ops.square(targets[:, columns:] - outputs[:, -units:]), axis=1)
        return loss(targets[:, :columns], outputs[:, :-units]) + weight * away

    return hinted
