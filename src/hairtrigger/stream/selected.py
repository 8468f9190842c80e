"""Kept windows as HDF5: one dataset for each field of `windows.window_dtype`, and what made them.

    with h5py.File("selected-0000.h5") as file:
        file["samples"][0]              # uint16 (3 x 64, 480): the image kept is in the middle
        file["timestamp"][:], file["logits"][:], file.attrs["trigger"]

Needs h5py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors.dune_hdf5 import import_h5py
from hairtrigger.errors import StorageError

PART = "selected-{:04d}.h5"
CHUNK = 4
"""Windows that are written at once: other threads may have to wait for each."""


def write_part(path: Path, windows: NDArray[Any], about: Mapping[str, Any]) -> None:
    """Write windows (n,) of `window_dtype`, and ``about`` as attributes; all or nothing.

    Values of ``about`` are text, numbers, or JSON. Raises OSError where the disk is full.
    """
    h5py = import_h5py()
    draft = path.with_name(f".{path.name}.draft")
    try:
        with h5py.File(draft, "w") as file:
            for name in windows.dtype.names or ():
                field = windows.dtype[name]
                large = name == "samples" and len(windows) > 0
                file.create_dataset(
                    name,
                    shape=(len(windows), *field.shape),
                    dtype=field.base,
                    chunks=(1, *field.shape) if large else None,
                    compression="lzf" if large else None,
                    shuffle=large or None,
                )
                for first in range(0, len(windows), CHUNK):
                    part = slice(first, first + CHUNK)
                    file[name][part] = np.asarray(windows[name][part])
            for name, value in about.items():
                plain = isinstance(value, str | int | float)
                file.attrs[name] = value if plain else json.dumps(value)
        with open(draft, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(draft, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (RuntimeError, OSError) as error:
        # HDF5 reports a full disk as either.
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise
        raise OSError(f"HDF5: {error}") from error


def count_windows(path: Path) -> int:
    """Windows of a file. Raises `StorageError` for one that is damaged."""
    h5py = import_h5py()
    try:
        with h5py.File(path, "r") as file:
            return len(file["timestamp"])
    except (OSError, RuntimeError, KeyError) as error:
        raise StorageError(f"{path} is damaged: {error}", "check the disk") from error


def read_selected(folder: Path) -> dict[str, NDArray[Any]]:
    """All windows of a finished run, field by field, in the order of their timestamps.

    Raises `StorageError` for a folder without, or a file that is damaged.
    """
    h5py = import_h5py()
    paths = sorted(folder.glob(PART.format(0).replace("0000", "*")))
    if not paths:
        raise StorageError(f"{folder} has no selected windows", "give the folder of a finished run")
    parts: list[dict[str, NDArray[Any]]] = []
    for path in paths:
        try:
            with h5py.File(path, "r") as file:
                parts.append({name: file[name][:] for name in file})
        except (OSError, RuntimeError, KeyError) as error:
            raise StorageError(f"{path} is damaged: {error}", "check the disk") from error
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(whole["timestamp"], kind="stable")
    return {name: values[order] for name, values in whole.items()}
