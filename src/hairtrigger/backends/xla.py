"""Backend ``xla``: a Graph as a JAX function in integers, compiled by XLA for JAX's device.

The artifact is StableHLO text for people and tools, and JAX's serialised form of the same module,
which is what runs. docs/backends/xla.md describes both. JAX is in the extra ``[train]``.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hairtrigger.backends.onnx import content_key, file_stem, shape_problems
from hairtrigger.backends.xla_ops import Word, needed_bits, trace
from hairtrigger.errors import StorageError, ToolError, UnsupportedError
from hairtrigger.fixed import IntArray
from hairtrigger.graph.emulate import chunk_size
from hairtrigger.graph.exact import intervals, live
from hairtrigger.graph.graph import Graph

PLATFORMS = ("cpu", "cuda")
"""What the module is lowered for, whatever this machine has."""

TEXT, MODULE = ".stablehlo.mlir", ".jax"


@dataclass(frozen=True)
class XlaFunction:
    """A Graph as a function of codes. ``word``: int32 where every intermediate result fits, else
    int64; ``jitted``: takes and gives JAX or NumPy arrays (events, *shape) of that word, and is
    called under `wide`. Each new number of events is compiled once."""

    graph: Graph
    word: Word
    jitted: Callable[..., tuple[Any, ...]]

    def __call__(self, codes: Sequence[IntArray]) -> tuple[IntArray, ...]:
        """Output codes, in chunks of events that keep memory small."""
        return run_in_chunks(self.graph, self.word, self.jitted, codes)


@dataclass(frozen=True)
class XlaArtifact:
    """``<name>.stablehlo.mlir`` and ``<name>.jax`` on disk."""

    graph: Graph
    word: Word
    files: tuple[Path, ...]
    backend: str = "xla"

    def build(self) -> None:
        """Read and check the module. Raises `StorageError`, `ToolError`."""
        self._load()

    def run_codes(self, codes: Sequence[IntArray]) -> tuple[IntArray, ...]:
        """Through XLA on JAX's default device, from the file as it is on disk."""
        return run_in_chunks(self.graph, self.word, self._load(), codes)

    def _load(self) -> Callable[..., tuple[Any, ...]]:
        path = self.files[1]
        jax = import_jax()
        from jax import export

        try:
            data = path.read_bytes()
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
        key, _, module = data.partition(b"\n")
        if key != _header(self.graph):
            raise StorageError(
                f"{path} is no module of Graph {self.graph.name!r}.", "Export the Graph again."
            )
        try:
            exported = export.deserialize(bytearray(module))
        except Exception as error:  # flatbuffers and JAX have many ways to fail
            raise StorageError(
                f"{path} is no module that JAX {jax.__version__} can read: {error}.",
                "Export the Graph again.",
            ) from error
        return jax.jit(exported.call)


def import_jax() -> Any:
    """JAX. Raises `ToolError` where it is missing."""
    # Else JAX takes most of a GPU's memory at once, and other engines beside it find none.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        import jax
    except ImportError as error:
        raise ToolError(
            f"not run: JAX cannot be imported: {error}.",
            "Install hairtrigger[train], and jax[cuda12] or jax[cuda13] for a GPU.",
        ) from error
    return jax


def wide(word: Word) -> Any:
    """The context in which JAX has this word: without it, int64 is int32 there."""
    return import_jax().enable_x64(word.bits == 64)


def unsupported(graph: Graph, target: Any = None) -> list[str]:
    """Every reason why the Graph cannot become a JAX function; empty if it can."""
    problems = [p.replace("an ONNX model", "the function") for p in shape_problems(graph)]
    if problems:
        return problems
    ranges = intervals(graph)
    for place in sorted(live(graph)):
        bits = needed_bits(graph, place, ranges)
        if bits > 64:
            name = type(graph.nodes[place].op).__name__
            problems.append(f"%{place} {name}: an intermediate result may need {bits} bits.")
    return problems


@lru_cache(maxsize=16)
def to_jax(graph: Graph) -> XlaFunction:
    """The Graph as a compiled JAX function that gives exactly the emulator's codes.

    Raises `UnsupportedError` with every reason, `ToolError` without JAX.
    """
    problems = unsupported(graph)
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise UnsupportedError(
            f"Graph {graph.name!r} has no JAX function:{listed}", "Use the emulator."
        )
    jax = import_jax()
    ranges, needed = intervals(graph), live(graph)
    bits = max(needed_bits(graph, place, ranges) for place in needed)
    word = Word(32 if bits <= 32 else 64)

    def function(*codes: Any) -> tuple[Any, ...]:
        return tuple(trace(graph, needed, ranges, word, codes))

    return XlaFunction(graph, word, jax.jit(function))


def emit(graph: Graph, target: Any = None, folder: Path | str = ".") -> XlaArtifact:
    """Write ``<name>.stablehlo.mlir`` and ``<name>.jax`` into ``folder``, for any number of events.

    Raises `UnsupportedError`, `ToolError`, `StorageError`.
    """
    function = to_jax(graph)
    jax = import_jax()
    from jax import export

    with wide(function.word):
        (events,) = export.symbolic_shape("events")
        shapes = [
            jax.ShapeDtypeStruct((events, *op.type.shape), function.word.dtype)
            for op in graph.input_ops
        ]
        exported = export.export(function.jitted, platforms=PLATFORMS)(*shapes)
    key = _header(graph)
    texts = {
        TEXT: b"// " + key + b"\n" + exported.mlir_module().encode(),
        MODULE: key + b"\n" + bytes(exported.serialize()),
    }
    folder, stem = Path(folder), file_stem(graph)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder) as unfinished:
            for suffix, data in texts.items():
                (Path(unfinished) / f"{stem}{suffix}").write_bytes(data)
            for suffix in texts:
                (Path(unfinished) / f"{stem}{suffix}").replace(folder / f"{stem}{suffix}")
    except OSError as error:
        raise StorageError(
            f"StableHLO cannot be written to {folder}: {error.strerror or error}.",
            "Give a folder that can be written, with space left.",
        ) from error
    files = tuple(folder / f"{stem}{suffix}" for suffix in texts)
    return XlaArtifact(graph, function.word, files)


def run_in_chunks(
    graph: Graph,
    word: Word,
    call: Callable[..., tuple[Any, ...]],
    codes: Sequence[IntArray],
) -> tuple[IntArray, ...]:
    """Codes of the outputs; the last chunk is filled up with zeros, so that one size is compiled
    where there are many events."""
    events = len(codes[0])
    step = min(max(events, 1), chunk_size(graph))
    outs = tuple(np.empty((events, *t.shape), dtype=np.int64) for t in graph.output_types)
    for start in range(0, events, step):
        stop = min(start + step, events)
        part = [np.zeros((step, *x.shape[1:]), dtype=word.dtype) for x in codes]
        for whole, x in zip(part, codes, strict=True):
            whole[: stop - start] = x[start:stop]
        with wide(word):
            results = call(*part)
        for out, y in zip(outs, results, strict=True):
            out[start:stop] = np.asarray(y)[: stop - start]
    return outs


def _header(graph: Graph) -> bytes:
    return f"hairtrigger graph {content_key(graph)}".encode()
