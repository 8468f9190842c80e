"""Keras itself, and trained models in ``.keras`` files."""

from __future__ import annotations

import json
import os
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

from hairtrigger.errors import ConversionError, StorageError, ToolError

HGQ2_SERIES = "0.2"
"""Series of HGQ2 whose layers the frontend knows."""

RENAMED = {"hgq2>QDenseT": "hgq>QDenseT"}
"""Layers that HGQ2 before 0.2 stored under another name and that compute the same today: of QDenseT
only an option of its size estimate has changed since. Other layers are not taken for each other."""

_EXECUTABLE = ("Lambda", "__lambda__")
"""Class names of a stored model that carry Python code."""


def import_keras() -> Any:
    """The module ``keras`` with HGQ2's layers registered.

    Where nothing else is chosen yet, the backend is JAX and JAX stays on the CPU: bit-exact
    comparison needs full float32, which accelerators trade for speed by default.
    Raises `ToolError` where Keras or HGQ2 is missing or HGQ2 is of another series.
    """
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    try:
        import hgq  # noqa: F401  (registers its layers with Keras)
        import keras
    except ImportError as error:
        raise ToolError(
            f"Keras and HGQ2 cannot be imported: {error}.",
            "Install the training extra: pip install 'hairtrigger[train]'.",
        ) from error
    found = metadata.version("hgq2")
    if not found.startswith(HGQ2_SERIES + "."):
        raise ToolError(
            f"HGQ2 {found} is installed; the frontend knows series {HGQ2_SERIES}.",
            f"pip install 'hgq2=={HGQ2_SERIES}.*'",
        )
    return keras


def load_model(path: str | os.PathLike[str]) -> Any:
    """The trained model in a ``.keras`` file, without optimizer, loss and metrics.

    Code stored in a file is never run. Raises `StorageError` where the file is missing,
    unreadable, truncated or no ``.keras`` file, and `ConversionError` where it holds layers that
    are not installed here or that carry Python code.
    """
    path = Path(path)
    config = _read_config(path)
    classes = _classes(config)
    code = sorted(name for name, kind in classes if kind in _EXECUTABLE)
    if code:
        raise ConversionError(
            f"{path.name} holds Python code (Lambda layers or functions: {code}), which is not "
            "run from a file.",
            "Replace it by a layer; for a unary function use hgq.layers.QUnaryFunctionLUT with "
            "the name of a Keras activation.",
        )
    keras = import_keras()
    known = {
        old: keras.saving.get_registered_object(new)
        for old, new in RENAMED.items()
        if any(name == old for name, _ in classes)
    }
    try:
        # Stale options and ill-fitting weights raise here: nothing is skipped.
        return keras.saving.load_model(path, custom_objects=known, compile=False, safe_mode=True)
    except (OSError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise StorageError(
            f"{path} is damaged: {_first_line(error)}.", "Save or copy the model again."
        ) from error
    except Exception as error:
        missing = _missing(keras, classes, known)
        saved = _saved_with(path)
        if missing:
            raise ConversionError(
                f"{path.name} ({saved}) holds layers that this HGQ2 "
                f"{metadata.version('hgq2')} and Keras {keras.__version__} do not have: {missing}.",
                "Load it with the versions that saved it and save it again with HGQ2 "
                f"{HGQ2_SERIES}, or import the package that registers these classes first.",
            ) from error
        hint = f" It names layers of HGQ2 before {HGQ2_SERIES}: {sorted(known)}." if known else ""
        raise ConversionError(
            f"{path.name} ({saved}) cannot be rebuilt with HGQ2 {metadata.version('hgq2')} and "
            f"Keras {keras.__version__}: {_last_line(error)}.{hint}",
            "Load it with the versions that saved it and save it again, or save the model whole "
            "(model.save) instead of its weights.",
        ) from error


def _read_config(path: Path) -> Any:
    """The stored configuration. Raises `StorageError` unless the file is a sound ``.keras``."""
    if not path.exists():
        raise StorageError(f"There is no file {path}.", "Check the path.")
    if path.is_dir():
        raise StorageError(f"{path} is a folder.", "Give the .keras file itself.")
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
    if start.startswith(b"\x89HDF"):
        raise StorageError(
            f"{path} is an HDF5 file, not a .keras file.",
            "Load it with Keras and save it with model.save('name.keras').",
        )
    if not start.startswith(b"PK"):
        raise StorageError(
            f"{path} is not a .keras file: it starts with {start!r}.",
            "Give a model saved with model.save('name.keras').",
        )
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged is not None:
                raise StorageError(f"{path} is damaged: {damaged} fails its checksum.")
            missing = {"config.json", "metadata.json", "model.weights.h5"} - set(archive.namelist())
            if missing:
                raise StorageError(
                    f"{path} is a zip file but no Keras model: it lacks {sorted(missing)}.",
                    "Give a model saved with model.save('name.keras').",
                )
            return json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(
            f"{path} is truncated or damaged: {_first_line(error)}.", "Save or copy it again."
        ) from error


def _saved_with(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        stored = json.loads(archive.read("metadata.json"))
    return f"saved with Keras {stored.get('keras_version', '?')} on {stored.get('date_saved', '?')}"


def _classes(config: Any) -> set[tuple[str, str]]:
    """(registered name or class name, class name) of every object in a stored configuration."""
    found: set[tuple[str, str]] = set()
    stack = [config]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if isinstance(item.get("class_name"), str):
                kind = item["class_name"]
                found.add((item.get("registered_name") or kind, kind))
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return found


def _missing(keras: Any, classes: set[tuple[str, str]], known: dict[str, Any]) -> list[str]:
    """Registered names (``package>name``) that nothing here answers to."""
    return sorted(
        name
        for name, _ in classes
        if ">" in name and name not in known and keras.saving.get_registered_object(name) is None
    )


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def _last_line(error: BaseException) -> str:
    """Keras wraps the cause behind the whole configuration; the cause comes last."""
    text = str(error)
    _, _, cause = text.rpartition("Exception encountered: ")
    return cause.strip().splitlines()[0].rstrip(".") if cause.strip() else type(error).__name__
