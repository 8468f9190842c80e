"""Trains a Keras model: reproducible, resumable after every epoch, best weights kept.

    history = fit(model, data, validation, truth_loss(heads), FitSettings(epochs=5))

A compiled step does the work, three times as fast as Keras's own ``fit`` where networks are small.
Around it are the batches, the checkpoint, the choice of the best epoch and, for HGQ2 networks, the
price of a bit (beta) as a function of the epoch.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hairtrigger.errors import HairtriggerError, InputError
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.train import checkpoint as files
from hairtrigger.train.data import Data, predict
from hairtrigger.train.heads import Loss
from hairtrigger.train.pools import quick_max_pools

Tell = Callable[[str, int, int], None]
"""Told what is done: (what, done, total)."""

History = files.Progress

CHUNK = 8192
"""Events of which the validation loss is computed at a time, where events do not interact."""
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
    keep_last: bool = False,
    each: Callable[[int], None] | None = None,
) -> History:
    """Train ``model`` in place; it ends with the weights of the best epoch.

    Best is the lowest loss on ``validation`` plus the EBOPs at their last price (the first epochs,
    in which bits are cheap, have a low loss for many of them) among the epochs within the EBOPs
    budget, or the epoch nearest to the budget where none is within; with ``keep_last`` it
    is the last, as it must be where a low loss is no good sign (an adversary's). ``each`` is called
    after every epoch of this call, with its number from 1 on and the model as it then is. The state
    after each epoch goes to ``checkpoint``; where that file is there already, training goes on from
    it and ends with the weights that an uninterrupted one has. An interrupted model is not usable:
    build a new one and call again.

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
    steps = len(data) // settings.batch
    schedule = keras.optimizers.schedules.CosineDecay(
        settings.learning_rate, settings.epochs * steps
    )
    # Only so that a saved model knows its optimizer; the step below is ours.
    model.compile(optimizer=keras.optimizers.Adam(schedule), loss=loss)
    model.optimizer.build(model.trainable_variables)

    fingerprint = _fingerprint(model, data, validation, settings)
    state = files.read(checkpoint, fingerprint) if checkpoint else None
    if state is None:
        state = files.Checkpoint(History(), [], [], [])
    else:
        files.restore(model.variables, state.model, checkpoint)
        files.restore(model.optimizer.variables, state.optimizer, checkpoint)
    tell = progress or (lambda what, done, total: None)
    step = _compiled_step(model, loss)
    for epoch in range(state.progress.epochs, settings.epochs):
        started = time.monotonic()
        for layer in model._flatten_layers():
            if _priced(layer):
                layer._beta.assign(settings.beta_at(epoch))
        trained = _train_epoch(model, step, data, settings, epoch, tell, what)
        # A loss of pairs of events means what it does in training, and takes as much memory.
        size = settings.batch if keep_last else CHUNK
        validated = _validation_loss(model, validation, loss, size)
        if each:
            each(epoch + 1)
        if not (math.isfinite(trained) and math.isfinite(validated)):
            raise HairtriggerError(
                f"The loss of {what} became {trained} ({validated} in validation) in epoch "
                f"{epoch + 1}.",
                "Lower the learning rate; the checkpoint holds the epoch before.",
            )
        state = _after(state, model, trained, validated, settings, started, keep_last)
        if checkpoint:
            files.write(checkpoint, state, fingerprint)
    files.restore(model.variables, state.best, checkpoint or Path("memory"))
    return state.progress


def ebops_of(model: Any) -> float:
    """Effective bit operations of an HGQ2 network as of its last training step; 0 without HGQ2."""
    layers = model._flatten_layers()
    return sum((float(files.to_array(layer._ebops)) for layer in layers if _priced(layer)), 0.0)


def _priced(layer: Any) -> bool:
    return getattr(layer, "_beta", None) is not None


def _compiled_step(model: Any, loss: Loss) -> Any:
    """(trainable, other, optimizer's values, inputs, targets) to the same after a batch, and loss.

    The arrays that go in are used up: their memory holds what comes out.
    """
    import jax

    def cost(trainable: Any, other: Any, inputs: Any, targets: Any) -> Any:
        with quick_max_pools():
            outputs, other, prices = model.stateless_call(
                trainable, other, inputs.astype("float32"), training=True, return_losses=True
            )
        return loss(targets, outputs).mean() + sum(prices), other

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def step(trainable: Any, other: Any, optimizer: Any, inputs: Any, targets: Any) -> Any:
        slope = jax.value_and_grad(cost, has_aux=True)
        (value, other), gradients = slope(trainable, other, inputs, targets)
        trainable, optimizer = model.optimizer.stateless_apply(optimizer, gradients, trainable)
        return trainable, other, optimizer, value

    return step


def _train_epoch(
    model: Any, step: Any, data: Data, settings: FitSettings, epoch: int, tell: Tell, what: str
) -> float:
    """Train one epoch; the mean loss. The order of events depends on seed and epoch alone."""
    variables = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
    )
    # Copies, since the step uses up what it is given, and an interrupt must leave the model whole.
    values = [[np.array(variable.value) for variable in group] for group in variables]
    order = np.random.default_rng((settings.seed, epoch)).permutation(len(data))
    steps = len(data) // settings.batch
    losses = []
    for number in range(steps):
        chosen = np.sort(order[number * settings.batch : (number + 1) * settings.batch])
        *values, value = step(*values, data.prepare(data.inputs[chosen]), data.targets[chosen])
        losses.append(value)
        tell(what, epoch * steps + number + 1, steps * settings.epochs)
    for group, found in zip(variables, values, strict=True):
        for variable, array in zip(group, found, strict=True):
            variable.assign(array)
    return float(np.mean(np.array(losses)))


def _after(
    old: files.Checkpoint,
    model: Any,
    trained: float,
    validated: float,
    settings: FitSettings,
    started: float,
    keep_last: bool = False,
) -> files.Checkpoint:
    """The state after one more epoch."""
    before = old.progress
    losses = (*before.validation_loss, validated)
    ebops = (*before.ebops, ebops_of(model))
    best = before.epochs if keep_last else _best(losses, ebops, settings)
    values = files.values_of(model.variables)
    return files.Checkpoint(
        History(
            (*before.loss, trained),
            losses,
            ebops,
            best,
            before.seconds + time.monotonic() - started,
        ),
        values,
        files.values_of(model.optimizer.variables),
        values if best == before.epochs else old.best,
    )


def _best(losses: tuple[float, ...], ebops: tuple[float, ...], settings: FitSettings) -> int:
    """The epoch of the lowest loss, EBOPs at their last price, within the budget; that of fewest
    EBOPs where none is within."""
    limit = math.inf if settings.ebops is None else settings.ebops
    within = [n for n, cost in enumerate(ebops) if cost <= limit]
    if not within:
        return int(np.argmin(ebops))
    price = settings.beta[1]
    return min(within, key=lambda n: losses[n] + price * ebops[n])


def _validation_loss(model: Any, validation: Data, loss: Loss, size: int) -> float:
    """Mean loss over all events of ``validation``, ``size`` at a time, without regularisation."""
    outputs = predict(model, validation.inputs, validation.prepare)
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
