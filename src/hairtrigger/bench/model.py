"""From what a user names - a model, a Graph, a folder of a run - to the Graph that is measured."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from hairtrigger.errors import InputError, StorageError, ToolError, UnsupportedError
from hairtrigger.fixed import Fixed
from hairtrigger.graph.graph import Graph

IN_FOLDER = ("graph.txt", "project/graph.txt", "stages/convert/graph.txt")
"""Where `hairtrigger compile` and `run` leave a Graph."""


def load_graph(path: Path, input_format: Fixed | None = None) -> Graph:
    """The Graph of a ``.keras`` model, a printed Graph (``.txt``), a run folder, or an ``.onnx``
    model of ours that has its printed Graph beside it (``NAME.txt`` or ``graph.txt``).

    Raises `StorageError` for what cannot be read, `InputError` for another kind of file or a model
    without its Graph, `UnsupportedError` for a Graph with registers or without inputs, and what the
    front-end raises.
    """
    if path.is_dir():
        graph = _parse(graph_file(path))
    elif path.suffix == ".keras":
        graph = _from_keras_apart(path, input_format)
    elif path.suffix == ".onnx":
        graph = _beside_onnx(path)
    elif path.suffix == ".txt":
        graph = _parse(path)
    else:
        raise InputError(
            f"{path.name!r} is none of the models that can be measured",
            "give a .keras model, a printed Graph (.txt), an .onnx model with its Graph beside it, "
            "or the folder of a run",
        )
    if not graph.pure:
        raise UnsupportedError(
            f"Graph {graph.name!r} has {len(graph.updates)} registers: its events are steps of one "
            "stream, so batches of them cannot be compared.",
            "Measure the stream with `hairtrigger stream`, or give the network without registers.",
        )
    if not graph.inputs:
        raise UnsupportedError(
            f"Graph {graph.name!r} has no inputs, so there is nothing to send.", "Give a network."
        )
    return graph


def graph_file(path: Path) -> Path:
    """The file that a model is read from: in a folder, the Graph that a run left there.

    Raises `InputError` for a folder without one.
    """
    if not path.is_dir():
        return path
    for name in IN_FOLDER:
        if (path / name).is_file():
            return path / name
    raise InputError(
        f"folder {path} holds no Graph: looked for {', '.join(IN_FOLDER)}",
        "give a folder that `hairtrigger compile` or `hairtrigger run` made, or a model",
    )


def _parse(path: Path) -> Graph:
    from hairtrigger.graph.text import parse

    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", "check the path") from error
    except UnicodeDecodeError as error:
        raise StorageError(f"{path} is no text: {error}", "give a printed Graph") from error


def _from_keras_apart(path: Path, input_format: Fixed | None) -> Graph:
    """In a process of its own: Keras holds JAX on the CPU and keeps threads and memory, which would
    change what is measured."""
    from hairtrigger.graph.text import parse

    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        try:
            return parse(pool.submit(_from_keras, path, input_format).result())
        except BrokenProcessPool as error:
            raise ToolError(
                f"the process that reads {path.name} has ended: {error}",
                "free memory and start again",
            ) from error


def _from_keras(path: Path, input_format: Fixed | None) -> str:
    """The printed Graph of a ``.keras`` model."""
    from hairtrigger.frontends.hgq import from_hgq
    from hairtrigger.frontends.keras_file import load_model
    from hairtrigger.graph.passes import optimise

    return str(optimise(from_hgq(load_model(path), input_format=input_format, name=path.stem)))


def _beside_onnx(path: Path) -> Graph:
    """The Graph beside a model, which must be the one that the model says it was made from."""
    from hairtrigger.backends.onnx import content_key
    from hairtrigger.backends.onnx_session import KEY

    wanted = _onnx_key(path, KEY)
    for other in (path.with_suffix(".txt"), path.with_name("graph.txt")):
        if other.is_file():
            graph = _parse(other)
            if content_key(graph) == wanted:
                return graph
    raise InputError(
        f"{path.name} has no Graph beside it: neither {path.stem}.txt nor graph.txt is the one "
        "that it was made from",
        "write the Graph there with Path(...).write_text(str(graph)), or give the .keras model",
    )


def _onnx_key(path: Path, key: str) -> str:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", "check the path") from error
    except DecodeError as error:
        raise StorageError(f"{path} is no ONNX model: {error}", "export it again") from error
    found = {p.key: p.value for p in model.metadata_props}.get(key)
    if found is None:
        raise InputError(
            f"{path.name} was not written by hairtrigger, so it has no exact Graph",
            "give the .keras model, or the Graph",
        )
    return found
