"""Trains a Keras model: reproducible, resumable after every epoch, best weights kept.

    history = fit(model, data, validation, truth_loss(heads), FitSettings(epochs=5))

Keras's own ``fit`` does the work; here are the batches, the checkpoint, the choice of the best
epoch and, for HGQ2 networks, the price of a bit (beta) as a function of the epoch.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hairtrigger.errors import HairtriggerError, InputError
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.train import checkpoint as files
from hairtrigger.train.data import Data
from hairtrigger.train.heads import Loss

Tell = Callable[[str, int, int], None]
"""Told what is done: (what, done, total)."""

History = files.Progress

RISE = 0.4
"""The part of the epochs in which the price of bits rises; the rest lets the network settle."""


@dataclass(frozen=True)
class FitSettings:
    """How to train.

    Adam with a learning rate that falls to 0 along a cosine. ``seed`` orders the events of each
    epoch. For networks with HGQ2 layers: ``beta`` is the price of one EBOP (effective bit
    operation) in the loss, risen geometrically from the first value to the second over the first
    `RISE` of the epochs and constant from there; ``ebops`` is the budget within which the best
    epoch is sought (None: no budget).
    """

    epochs: int
    batch: int = 256
    learning_rate: float = 3e-3
    seed: int = 0
    beta: tuple[float, float] = (1e-7, 1e-7)
    ebops: float | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)!r}.", f"Give {name} 1 or more.")
        if not self.learning_rate > 0 or not all(b > 0 for b in self.beta):
            raise InputError(
                f"learning_rate = {self.learning_rate!r}, beta = {self.beta!r}.",
                "Both must be positive.",
            )

    def beta_at(self, epoch: int) -> float:
        """The price of an EBOP in an epoch, counted from 0."""
        rise = max(1, int(RISE * self.epochs))
        share = min(1.0, epoch / rise)
        low, high = self.beta
        return low ** (1 - share) * high**share


def fit(
    model: Any,
    data: Data,
    validation: Data,
    loss: Loss,
    settings: FitSettings,
    *,
    checkpoint: Path | None = None,
    progress: Tell | None = None,
    what: str = "training",
) -> History:
    """Train ``model`` in place; it ends with the weights of the best epoch.

    Best is the lowest loss on ``validation`` (without the price of bits) among the epochs within
    the EBOPs budget, or the epoch nearest to the budget where none is within. The state after each
    epoch goes to ``checkpoint``; where that file is there already, training goes on from it and
    ends with the weights that an uninterrupted one has. An interrupted model is not usable: build
    a new one and call again.

    Raises `InputError` for data that fit neither each other nor one batch, `StorageError` for a
    checkpoint that is damaged, of another training or cannot be written, and `HairtriggerError`
    where the loss becomes NaN.
    """
    keras = import_keras()
    if len(data) < settings.batch:
        raise InputError(
            f"{len(data)} events are less than one batch of {settings.batch}.",
            "Give more events or a smaller batch.",
        )
    batches = _batches(keras, data, settings)
    schedule = keras.optimizers.schedules.CosineDecay(
        settings.learning_rate, settings.epochs * len(batches)
    )
    model.compile(optimizer=keras.optimizers.Adam(schedule), loss=loss, jit_compile=True)
    model.optimizer.build(model.trainable_variables)

    fingerprint = _fingerprint(model, data, validation, settings)
    state = files.read(checkpoint, fingerprint) if checkpoint else None
    if state is None:
        state = files.Checkpoint(History(), [], [], [])
    else:
        files.restore(model.variables, state.model, checkpoint)
        files.restore(model.optimizer.variables, state.optimizer, checkpoint)
    watch = _watch(
        keras, state, batches, validation, loss, settings, checkpoint, fingerprint, progress, what
    )
    if state.progress.epochs < settings.epochs:
        model.fit(
            batches,
            epochs=settings.epochs,
            initial_epoch=state.progress.epochs,
            callbacks=[watch],
            verbose=0,
            shuffle=False,
        )
    files.restore(model.variables, watch.state.best, checkpoint or Path("memory"))
    return watch.state.progress


def ebops_of(model: Any) -> float:
    """Effective bit operations of an HGQ2 network as of its last training step; 0 without HGQ2."""
    layers = model._flatten_layers()
    return sum((float(files.to_array(layer._ebops)) for layer in layers if _priced(layer)), 0.0)


def _priced(layer: Any) -> bool:
    return getattr(layer, "_beta", None) is not None


def _batches(keras: Any, data: Data, settings: FitSettings) -> Any:
    """The batches of an epoch as a Keras dataset; their order depends on seed and epoch alone."""

    class Batches(keras.utils.PyDataset):
        def __init__(self) -> None:
            super().__init__()
            self.begin(0)

        def begin(self, epoch: int) -> None:
            self.order = np.random.default_rng((settings.seed, epoch)).permutation(len(data))

        def __len__(self) -> int:
            return len(data) // settings.batch

        def __getitem__(self, number: int) -> tuple[Any, Any]:
            start = number * settings.batch
            chosen = np.sort(self.order[start : start + settings.batch])
            return data.prepare(data.inputs[chosen]), data.targets[chosen]

    return Batches()


def _watch(
    keras: Any,
    state: files.Checkpoint,
    batches: Any,
    validation: Data,
    loss: Loss,
    settings: FitSettings,
    checkpoint: Path | None,
    fingerprint: str,
    progress: Tell | None,
    what: str,
) -> Any:
    """The Keras callback that orders batches, sets beta, validates, keeps the best and saves."""
    steps = len(batches)
    tell = progress or (lambda what, done, total: None)

    class Watch(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.state = state
            self.started = time.monotonic()

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.done = epoch * steps
            batches.begin(epoch)
            beta = settings.beta_at(epoch)
            for layer in self.model._flatten_layers():
                if _priced(layer):
                    layer._beta.assign(beta)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.done += 1
            tell(what, self.done, steps * settings.epochs)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            trained = float((logs or {})["loss"])
            validated = _validation_loss(self.model, validation, loss, settings.batch)
            if not (math.isfinite(trained) and math.isfinite(validated)):
                raise HairtriggerError(
                    f"The loss of {what} became {trained} ({validated} in validation) in epoch "
                    f"{epoch + 1}.",
                    "Lower the learning rate; the checkpoint holds the epoch before.",
                )
            self.keep(trained, validated)
            if checkpoint:
                files.write(checkpoint, self.state, fingerprint)

        def keep(self, trained: float, validated: float) -> None:
            old, now = self.state.progress, time.monotonic()
            seconds, self.started = now - self.started, now
            losses = (*old.validation_loss, validated)
            ebops = (*old.ebops, ebops_of(self.model))
            best = _best(losses, ebops, settings.ebops)
            values = files.values_of(self.model.variables)
            self.state = files.Checkpoint(
                History((*old.loss, trained), losses, ebops, best, old.seconds + seconds),
                values,
                files.values_of(self.model.optimizer.variables),
                values if best == old.epochs else self.state.best,
            )

    return Watch()


def _best(losses: tuple[float, ...], ebops: tuple[float, ...], budget: float | None) -> int:
    """The epoch of lowest loss within the budget, or that of fewest EBOPs where none is within."""
    limit = math.inf if budget is None else budget
    within = [n for n, cost in enumerate(ebops) if cost <= limit]
    if not within:
        return int(np.argmin(ebops))
    return min(within, key=lambda n: losses[n])


def _validation_loss(model: Any, validation: Data, loss: Loss, batch: int) -> float:
    """Mean loss over all events of ``validation``, without regularisation."""
    from hairtrigger.train.data import predict

    outputs = predict(model, validation.inputs, validation.prepare)
    size = 8192
    parts = [
        np.asarray(loss(validation.targets[n : n + size], outputs[n : n + size]))
        for n in range(0, len(outputs), size)
    ]
    return float(np.concatenate(parts).mean())


def _fingerprint(model: Any, data: Data, validation: Data, settings: FitSettings) -> str:
    """Tells one training from another: architecture, settings, data."""
    shapes = [(v.name, tuple(v.shape)) for v in model.variables]
    text = repr((shapes, settings, data.checksum(), validation.checksum()))
    return hashlib.sha256(text.encode()).hexdigest()[:24]
