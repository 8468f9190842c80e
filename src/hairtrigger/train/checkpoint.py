"""One file that holds a training as it stands after an epoch; written whole or not at all."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import StorageError

FORMAT = "hairtrigger-training/1"

Arrays = list[NDArray[Any]]


@dataclass(frozen=True)
class Progress:
    """How far a training has come: one entry an epoch, and which epoch was best (-1: none yet).

    ``seconds`` is the wall time of all its parts. ``ebops`` is 0 for a network without HGQ layers.
    """

    loss: tuple[float, ...] = ()
    validation_loss: tuple[float, ...] = ()
    ebops: tuple[float, ...] = ()
    best_epoch: int = -1
    seconds: float = 0.0

    @property
    def epochs(self) -> int:
        return len(self.loss)


@dataclass(frozen=True)
class Checkpoint:
    """``best``: the model's variables at the best epoch; ``model`` and ``optimizer``: now."""

    progress: Progress
    model: Arrays
    optimizer: Arrays
    best: Arrays


def write(path: Path, checkpoint: Checkpoint, fingerprint: str) -> None:
    """Write to ``path`` in one step. Raises `StorageError` where that fails; the old file stays."""
    meta = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "progress": asdict(checkpoint.progress),
    }
    groups = {"model": checkpoint.model, "optimizer": checkpoint.optimizer, "best": checkpoint.best}
    arrays = {f"{name}_{n}": a for name, group in groups.items() for n, a in enumerate(group)}
    draft = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("wb") as file:
                np.savez(file, meta=np.array(json.dumps(meta)), **arrays)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"The checkpoint {path} cannot be written: {error.strerror}.",
            "Make room or give a folder that can be written; the training can go on from the "
            "epoch before.",
        ) from error


def read(path: Path, fingerprint: str) -> Checkpoint | None:
    """The checkpoint at ``path``, None where there is none.

    Raises `StorageError` for a file that is damaged or that belongs to another training (other
    model, data or settings).
    """
    if not path.exists():
        return None
    try:
        # NumPy leaves the file open where it is no archive, so it is opened here.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            meta = json.loads(str(stored["meta"]))
            if meta["format"] != FORMAT:
                raise ValueError(f"its format is {meta['format']!r}")
            found = meta["fingerprint"]
            fields = {
                k: tuple(v) if isinstance(v, list) else v for k, v in meta["progress"].items()
            }
            progress = Progress(**fields)
            model, optimizer, best = (_group(stored, n) for n in ("model", "optimizer", "best"))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise StorageError(
            f"{path} is no checkpoint or is damaged: {error}.",
            "Delete it to start the training over.",
        ) from error
    if found != fingerprint:
        raise StorageError(
            f"{path} belongs to another training: its model, data or settings differ.",
            "Delete it to start over, or give another checkpoint file.",
        )
    return Checkpoint(progress, model, optimizer, best)


def _group(stored: Any, name: str) -> Arrays:
    count = sum(key.startswith(f"{name}_") for key in stored.files)
    return [stored[f"{name}_{n}"] for n in range(count)]


def values_of(variables: Sequence[Any]) -> Arrays:
    """Copies of Keras variables as NumPy arrays."""
    return [to_array(variable) for variable in variables]


def to_array(variable: Any) -> NDArray[Any]:
    """A copy of a Keras variable; training on JAX frees the array that it holds now."""
    return np.array(variable.value)


def restore(variables: Sequence[Any], values: Arrays, path: Path) -> None:
    """Set Keras variables. Raises `StorageError` where number or shapes differ."""
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in values]:
        raise StorageError(
            f"{path} holds variables of other shapes than the model has.",
            "Delete it to start the training over.",
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
