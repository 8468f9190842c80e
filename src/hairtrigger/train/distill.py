"""Knowledge distillation: a student learns from the truth and from a teacher's outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hairtrigger.errors import InputError
from hairtrigger.train.data import Data, predict
from hairtrigger.train.fit import FitSettings, History, Tell, fit
from hairtrigger.train.heads import Heads, check_targets, distillation_loss, output_size


@dataclass(frozen=True)
class Distillation:
    """``temperature`` softens logits; ``weight`` (0 to 1) is the teacher's share of the loss."""

    temperature: float = 2.0
    weight: float = 0.5


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
    """Train ``student`` in place as `fit` does, on the truth and on the ``teacher``'s outputs.

    The teacher runs once over the data, not once an epoch: its outputs become targets beside the
    truth. Raises what `fit` raises, and `InputError` where heads, targets and teacher do not fit.
    """
    loss = distillation_loss(heads, distillation.temperature, distillation.weight)
    return fit(
        student,
        with_teacher(teacher, data, heads),
        with_teacher(teacher, validation, heads),
        loss,
        settings,
        checkpoint=checkpoint,
        progress=progress,
        what=what,
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
    return replace(data, targets=np.concatenate([data.targets, outputs], axis=1))
