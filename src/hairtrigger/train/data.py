"""Training data: stored inputs (packed bits, say), targets, and how a batch becomes a tensor."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError

Prepare = Callable[[NDArray[Any]], NDArray[Any]]
"""Stored inputs (batch, ...) to the network's input (batch, *shape), any real or integer type."""

PREDICT_BATCH = 4096


def as_they_are(inputs: NDArray[Any]) -> NDArray[Any]:
    """The `Prepare` of inputs that are stored as the network takes them."""
    return inputs


@dataclass(frozen=True)
class Data:
    """``inputs`` (events, ...) as stored, ``targets`` (events, columns) float32, one event a row.

    Only the batch in hand is unpacked by ``prepare``, so memory stays bounded by the stored form.
    NaN in a target says "does not apply". Raises `InputError` where the two do not fit.
    """

    inputs: NDArray[Any]
    targets: NDArray[np.float32]
    prepare: Prepare = as_they_are

    def __post_init__(self) -> None:
        if self.targets.ndim != 2 or len(self.targets) != len(self.inputs):
            raise InputError(
                f"{len(self.inputs)} inputs and targets of shape {self.targets.shape} do not fit.",
                "Give targets of shape (events, columns), one row for each input.",
            )
        if not len(self.inputs):
            raise InputError("There are no events to train on.", "Give at least one.")
        if np.isinf(self.targets).any():
            raise InputError(
                "A target is infinite.", "Give finite targets, NaN where one does not apply."
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def checksum(self) -> str:
        """Eight hex digits that change with the data; tells a checkpoint of other data apart."""
        crc = zlib.crc32(np.ascontiguousarray(self.inputs))
        return f"{zlib.crc32(np.ascontiguousarray(self.targets), crc):08x}"


def predict(
    model: Any,
    inputs: NDArray[Any],
    prepare: Prepare = as_they_are,
    batch: int = PREDICT_BATCH,
) -> NDArray[np.float32]:
    """Outputs float32 (events, outputs) of a Keras model, in batches, so that memory is bounded."""
    parts = []
    for start in range(0, len(inputs), batch):
        piece = prepare(inputs[start : start + batch])
        count = len(piece)
        if count < batch and start:
            # One shape, one compilation: the last batch is filled up and cut again.
            filling = [(0, batch - count)] + [(0, 0)] * (piece.ndim - 1)
            piece = np.pad(piece, filling)
        parts.append(np.asarray(model.predict_on_batch(piece), dtype=np.float32)[:count])
    if not parts:
        return np.zeros((0, *model.output_shape[1:]), dtype=np.float32)
    return np.concatenate(parts)
