"""Writes an HLS project: hls4ml's, with the injections in it and a simulation beside it."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from hairtrigger.errors import InputError, StorageError
from hairtrigger.fixed import Overflow, Rounding
from hairtrigger.hls import convert
from hairtrigger.hls.harness import harness_text
from hairtrigger.hls.injection import IO_TYPES, Injection, Port
from hairtrigger.hls.insert import Placed, place_all, port_of
from hairtrigger.hls.patch import wrap_top

MARK = "hairtrigger.json"
"""Beside the project: what it was made of. A folder without it is not overwritten."""
SIMULATION = "simulate.cpp"


@dataclass(frozen=True)
class Tensor:
    """A variable of the top function: the ``layer`` that writes it, the kind of that layer, its
    name and type in C++, shape and format, and what a number that is put into it is rounded by."""

    layer: str
    kind: str
    name: str
    type_name: str
    port: Port
    rounding: Rounding
    overflow: Overflow

    @property
    def size(self) -> int:
        return prod(self.port.shape)


@dataclass(frozen=True)
class Project:
    """A written project. ``layers``: what can be traced, in the order of the top function."""

    folder: Path
    name: str
    backend: str
    io_type: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    layers: tuple[Tensor, ...]
    placed: tuple[Placed, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file, in order of its path."""
        return tuple(sorted(x for x in self.folder.rglob("*") if x.is_file()))

    def layer(self, name: str) -> Tensor:
        """The traced layer of this name."""
        return next(x for x in self.layers if x.layer == name)

    def placed_by(self, name: str) -> Placed | None:
        """The injection of this name in the project, if it is one."""
        return next((x for x in self.placed if x.name == name), None)


def write_project(
    model: Any,
    folder: Path,
    *,
    name: str,
    backend: str = "Vitis",
    io_type: str = "io_parallel",
    part: str,
    clock_ns: float,
    hls_config: Mapping[str, Any] | None = None,
    injections: tuple[Injection, ...] = (),
) -> Project:
    """Write the project of a Keras model into ``folder``, which must be new, empty or an earlier
    one. It appears there whole or not at all.

    Raises `ConversionError` where hls4ml refuses the model, `InputError` for an injection that
    does not fit, `ToolError` where hls4ml is missing, `StorageError`.
    """
    if backend not in convert.BACKENDS or io_type not in IO_TYPES:
        raise InputError(
            f"backend={backend!r}, io_type={io_type!r}.",
            f"There are {convert.BACKENDS} and {IO_TYPES}.",
        )
    folder = folder.absolute()  # the compiler runs in it
    _check_folder(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder.parent) as unfinished:
            work = Path(unfinished) / "project"
            made = convert.model_graph(
                model,
                work,
                name=name,
                backend=backend,
                io_type=io_type,
                part=part,
                clock_ns=clock_ns,
                hls_config=hls_config,
            )
            placed = place_all(made, injections, io_type)
            convert.write(made)
            project = _described(made, folder, name, backend, io_type, placed)
            _finish(project, work)
            if folder.exists():
                shutil.rmtree(folder)
            work.rename(folder)
    except OSError as error:
        raise StorageError(
            f"The HLS project cannot be written to {folder}: {error.strerror or error}.",
            "Give a folder that can be written, with space left.",
        ) from error
    return project


def _described(
    made: Any, folder: Path, name: str, backend: str, io_type: str, placed: tuple[Placed, ...]
) -> Project:
    layers = [x for x in made.get_layers() if x.get_attr("function_cpp")]
    by_output = {x.outputs[0]: x for x in made.get_layers()}
    return Project(
        folder=folder,
        name=name,
        backend=backend,
        io_type=io_type,
        inputs=tuple(_tensor(made.graph[x], made.output_vars[x]) for x in made.inputs),
        outputs=tuple(_tensor(by_output[x], made.output_vars[x]) for x in made.outputs),
        layers=tuple(_tensor(x, x.get_output_variable()) for x in layers if len(x.outputs) == 1),
        placed=placed,
    )


def _tensor(layer: Any, variable: Any) -> Tensor:
    precision = variable.type.precision
    return Tensor(
        layer.name,
        layer.class_name,
        variable.name,
        variable.type.name,
        port_of(variable),
        Rounding(str(getattr(precision, "rounding_mode", "TRN"))),
        Overflow(str(getattr(precision, "saturation_mode", "WRAP"))),
    )


def _finish(project: Project, work: Path) -> None:
    """The files that hls4ml does not write, and those of its files that are changed."""
    first: dict[str, Placed] = {}
    for placed in project.placed:
        # The same source at two places is there once.
        source = placed.injection.source
        same = first.setdefault(source, placed)
        source = source if same is placed else f'#include "{same.name}.h"'
        text = f"// {placed.injection.where}: {placed.takes} -> {placed.gives}\n"
        text += f"#ifndef {placed.name.upper()}_H\n#define {placed.name.upper()}_H\n\n"
        text += f"{source}\n#endif\n"
        (work / "firmware" / placed.header).write_text(text, encoding="utf-8")
    for placed in project.placed:
        if placed.injection.where.kind == "around":
            top = work / "firmware" / f"{project.name}.cpp"
            words = project.inputs[0].size // project.inputs[0].port.shape[-1]
            text = top.read_text(encoding="utf-8")
            top.write_text(wrap_top(text, project.name, placed, project.io_type, words), "utf-8")
    # hls4ml notes where it was told to write, which is not where the project ends up.
    config = work / "hls4ml_config.yml"
    config.write_text(config.read_text("utf-8").replace(str(work), "."), encoding="utf-8")
    (work / SIMULATION).write_text(harness_text(project), encoding="utf-8")
    record = {
        "hls4ml": convert.version(),
        "backend": project.backend,
        "io_type": project.io_type,
        "inputs": {x.name: str(x.port) for x in project.inputs},
        "outputs": {x.name: str(x.port) for x in project.outputs},
        "injections": {x.name: str(x.injection.where) for x in project.placed},
    }
    (work / MARK).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARK).is_file()):
        raise StorageError(
            f"{folder} is there and is no earlier project ({MARK} is missing).",
            "Give a new or an empty folder.",
        )


def identifier(text: str) -> str:
    """A name as a C++ identifier, for the top function."""
    name = re.sub(r"\W", "_", text, flags=re.ASCII).strip("_")
    return f"n_{name}" if not name or name[0].isdigit() or name in ("input", "main") else name
