"""The training of the muon study: what networks see, teacher, float student, quantised student."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors import rpc
from hairtrigger.errors import InputError
from hairtrigger.studies import muon_networks as networks
from hairtrigger.studies.base import Samples, Trained
from hairtrigger.studies.muon_presets import MuonPreset
from hairtrigger.studies.muon_task import TASK, MuonTask, targets
from hairtrigger.train import (
    Data,
    Distillation,
    FitSettings,
    History,
    Tell,
    distill,
    ebops_of,
    fit,
    output_size,
    prune,
    quantise_after_training,
    truth_loss,
)

PTQ_EVENTS = 8192
"""Events that the ranges of activations are taken from in quantisation after training."""


def prepare(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Packed images (events, rows, strips / 8) as the network's input (events, rows, strips, 1)."""
    return rpc.unpack(packed)[..., None]


def data(events: rpc.RpcEvents | tuple[rpc.RpcEvents, ...], task: MuonTask = TASK) -> Data:
    """Images and targets of simulated events, for training."""
    parts = events if isinstance(events, tuple) else (events,)
    images = np.concatenate([part.images for part in parts])
    return Data(images, targets(np.concatenate([part.truth for part in parts]), task), prepare)


def teacher(task: MuonTask = TASK) -> Any:
    """The untrained float teacher, on its starting roads."""
    model = networks.build_teacher(task.config(), output_size(task.heads))
    networks.start_on_roads(model, task.config(), networks.TEACHER)
    return model


def float_student(task: MuonTask = TASK) -> Any:
    """The untrained student in float, on its starting roads."""
    model = networks.build_float_student(task.config(), output_size(task.heads))
    networks.start_on_roads(model, task.config())
    return model


def student(task: MuonTask = TASK) -> Any:
    """The untrained student with HGQ2 layers, on its starting roads."""
    model = networks.build_student(task.config(), output_size(task.heads))
    networks.start_on_roads(model, task.config())
    return model


def train_teacher(
    preset: MuonPreset,
    samples: Samples,
    seed: int,
    *,
    checkpoint: Path | None = None,
    progress: Tell | None = None,
    task: MuonTask = TASK,
) -> Trained:
    """Train the teacher on the truth."""
    model = _seeded(partial(teacher, task), seed)
    settings = FitSettings(preset.teacher_epochs, preset.batch, preset.teacher_rate, seed)
    history = fit(
        model,
        data(samples.train, task),
        data(samples.validation, task),
        truth_loss(task.heads),
        settings,
        checkpoint=checkpoint,
        progress=progress,
        what="train teacher",
    )
    return Trained(model, history)


def train_float_student(
    preset: MuonPreset,
    samples: Samples,
    seed: int,
    teacher: Any | None,
    *,
    checkpoint: Path | None = None,
    progress: Tell | None = None,
    task: MuonTask = TASK,
) -> Trained:
    """Train the student in float, on the truth and the ``teacher``'s outputs (None: truth only)."""
    model = _seeded(partial(float_student, task), seed)
    settings = FitSettings(preset.float_epochs, preset.batch, preset.float_rate, seed)
    how = {"checkpoint": checkpoint, "progress": progress, "what": "train float student"}
    return _train(model, task, preset, samples, settings, teacher, how)


def train_student(
    preset: MuonPreset,
    samples: Samples,
    seed: int,
    teacher: Any | None,
    *,
    start: Any | None = None,
    checkpoint: Path | None = None,
    progress: Tell | None = None,
    task: MuonTask = TASK,
) -> Trained:
    """Train the student for the chip, from the weights of the float student ``start`` if given.

    Raises `InputError` where the preset asks for quantisation after training and there is no
    ``start``.
    """
    model = _seeded(partial(student, task), seed)
    if start is not None:
        networks.start_from_float(start, model)
    if preset.post_bits is not None:
        return _quantised(model, start, data(samples.validation, task), preset.post_bits, task)
    if preset.pruned:
        prune(model, preset.pruned, networks.PRUNED)
    settings = FitSettings(
        preset.student_epochs, preset.batch, preset.student_rate, seed, preset.beta, preset.ebops
    )
    how = {"checkpoint": checkpoint, "progress": progress, "what": "train student"}
    return _train(model, task, preset, samples, settings, teacher, how)


def _quantised(
    model: Any, start: Any | None, validation: Data, bits: int, task: MuonTask
) -> Trained:
    """The float student in so many bits a number, without any training."""
    if start is None:
        raise InputError(
            "Quantisation after training has no trained network.",
            "Give the float student as start, or set post_bits to None.",
        )
    some = validation.prepare(validation.inputs[:PTQ_EVENTS])
    # What a station says stays a bit, as in float, where it is cut at 1.
    keep = (*networks.station_rows(task.config()), "hits")
    quantise_after_training(model, start, some, bits, keep=keep)
    model(some[:1].astype(np.float32), training=True)  # counts the EBOPs
    return Trained(model, History(ebops=(ebops_of(model),), best_epoch=0))


def _train(
    model: Any,
    task: MuonTask,
    preset: MuonPreset,
    samples: Samples,
    settings: FitSettings,
    teacher: Any | None,
    how: dict[str, Any],
) -> Trained:
    train, validation = data(samples.train, task), data(samples.validation, task)
    if teacher is None or not (preset.teacher_share or preset.hint):
        return Trained(
            model, fit(model, train, validation, truth_loss(task.heads), settings, **how)
        )
    learned = Distillation(preset.temperature, preset.teacher_share, preset.hint)
    history = distill(teacher, model, train, validation, task.heads, learned, settings, **how)
    return Trained(model, history)


def _seeded(build: Any, seed: int) -> Any:
    from hairtrigger.frontends.keras_file import import_keras

    import_keras().utils.set_random_seed(seed)
    return build()
