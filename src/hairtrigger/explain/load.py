"""The networks of a case from their files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hairtrigger.errors import ConversionError, StorageError
from hairtrigger.frontends.keras_file import import_keras, load_model
from hairtrigger.graph import Graph, parse

CHIP = "chip"
"""Name of the Graph among the networks of a case."""


def load(files: Mapping[str, Path]) -> tuple[dict[str, Any], str]:
    """Networks by name from .keras files and printed Graphs (.txt), and a note on the chip.

    Where there is one Keras model alone, its Graph joins it as the chip, or the note says why it
    has none. Raises `StorageError`, `GraphError`, `ConversionError` for what cannot be read.
    """
    import_keras()
    found: dict[str, Any] = {}
    for name, path in files.items():
        if path.suffix != ".txt":
            found[name] = load_model(path)
            continue
        try:
            found[name] = parse(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise StorageError(f"{path} cannot be read: {error}.", "Check the path.") from error
    if len(found) > 1 or any(isinstance(model, Graph) for model in found.values()):
        return found, ""
    from hairtrigger.frontends.hgq import from_hgq

    try:
        found[CHIP] = from_hgq(next(iter(found.values())))
    except ConversionError as error:
        return found, f"The model has no Graph, so no chip is explained: {error.problem}"
    return found, ""
