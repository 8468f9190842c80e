"""Compiled C++ of a Graph: built with the machine's compiler, kept by content, called by ctypes."""

from __future__ import annotations

import ctypes
import functools
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.cpp.border import code_dtype
from hairtrigger.cpp.source import ABI, Source, write_source
from hairtrigger.errors import InputError, ToolError
from hairtrigger.graph.emulate import check_codes
from hairtrigger.graph.graph import Graph
from hairtrigger.tools import cache
from hairtrigger.tools.compiler import JOBS, Unit, compile_objects, find_compiler, link

FLAGS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-fno-exceptions", "-fno-rtti", "-w")
KIND = "cpp"
TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Library:
    """A loaded library. Any number of threads may call it at once.

    ``in_dtypes``, ``out_dtypes``: what the codes of each tensor are handed over in; ``wide``:
    events that it works on at once.
    """

    graph: Graph
    path: Path
    wide: int
    steps: int
    in_dtypes: tuple[np.dtype[Any], ...]
    out_dtypes: tuple[np.dtype[Any], ...]
    _run: Any

    def __call__(self, *codes: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Outputs' codes (events, *shape) from inputs' codes, in the small dtypes of `Library`.

        Arrays of other dtypes are converted. Codes out of range raise `InputError`.
        """
        arrays = [
            np.ascontiguousarray(x, dtype=dtype)
            for x, dtype in zip(codes, self.in_dtypes, strict=True)
        ]
        events = len(arrays[0]) if arrays else 1
        for x, op in zip(arrays, self.graph.input_ops, strict=True):
            if x.shape != (events, *op.type.shape):
                raise InputError(
                    f"Codes of input {op.name!r} have shape {x.shape}, not "
                    f"{(events, *op.type.shape)}.",
                    "Give every input the same events.",
                )
        outs = tuple(
            np.empty((events, *t.shape), dtype=dtype)
            for t, dtype in zip(self.graph.output_types, self.out_dtypes, strict=True)
        )
        if self._run(*map(_address, arrays), *map(_address, outs), events):
            self._explain(arrays)
        return outs

    def bind(
        self, codes: Sequence[NDArray[Any]], outs: Sequence[NDArray[Any]]
    ) -> Callable[[], int]:
        """A call on fixed arrays, for the least overhead: each call reads ``codes`` and writes
        ``outs`` as they are then, and gives 1 where a code was out of range, else 0.

        Raises `InputError` for arrays of other dtypes or shapes, or that are not contiguous.
        """
        events = len(codes[0]) if len(codes) else 1
        types = [op.type for op in self.graph.input_ops] + list(self.graph.output_types)
        dtypes = (*self.in_dtypes, *self.out_dtypes)
        for x, t, dtype in zip((*codes, *outs), types, dtypes, strict=True):
            if x.dtype != dtype or x.shape != (events, *t.shape) or not x.flags.c_contiguous:
                raise InputError(
                    f"An array of dtype {x.dtype} and shape {x.shape} cannot be bound.",
                    f"Give a contiguous one of dtype {dtype} and shape {(events, *t.shape)}.",
                )
        kept = (*codes, *outs)  # as long as the call lives
        arguments = [ctypes.c_void_p(x.ctypes.data) for x in kept]
        call = functools.partial(self._run, *arguments, ctypes.c_size_t(events))
        call.kept = kept  # type: ignore[attr-defined]
        return call

    def _explain(self, arrays: Sequence[NDArray[Any]]) -> None:
        for op, x in zip(self.graph.input_ops, arrays, strict=True):
            check_codes(op.type, x.astype(np.int64))
        raise ToolError(
            f"The C++ of Graph {self.graph.name!r} refused codes that are in range.",
            "Please report the Graph to hairtrigger; engine='emulator' runs it.",
        )


def _address(array: NDArray[Any]) -> int:
    return array.__array_interface__["data"][0]  # a tenth of the time of .ctypes.data


def compile_graph(graph: Graph, *, folder: Path | None = None, jobs: int = JOBS) -> Library:
    """Write, compile and load a Graph; equal ones are compiled once for a machine.

    ``folder``: where compiled libraries are kept, by default the user's cache. Raises
    `UnsupportedError` for a Graph that is too large, `ToolError` without a compiler or where it
    fails, `StorageError` for the folder.
    """
    source = write_source(graph)
    return load(graph, source, build([source], folder=folder, jobs=jobs))


def build(
    sources: Sequence[Source],
    *,
    folder: Path | None = None,
    jobs: int = JOBS,
    flags: Sequence[str] | None = None,
) -> Path:
    """Compile Graphs of different names, their units side by side, into one shared library.

    ``flags``: instead of those for this machine. Raises `ToolError`, `StorageError`.
    """
    compiler = find_compiler()
    chosen = compiler_flags() if flags is None else tuple(flags)
    texts = {name: text for source in sources for name, text in source.files.items()}
    units = [name for source in sources for name in source.units]
    parts = [part for item in sorted(texts.items()) for part in item]
    key = cache.content_key([*parts, *compiler.command, compiler.version, *chosen, processor()])

    def fill(entry: Path) -> None:
        for name, text in texts.items():
            (entry / name).write_text(text, encoding="utf-8")
        made = [Unit(entry / name, entry / f"{name}.o") for name in units]
        compile_objects(compiler, made, chosen, folder=entry, jobs=jobs, timeout_s=TIMEOUT_S)
        link(compiler, [u.object for u in made], entry / LIBRARY, shared=True, folder=entry)
        for unit in made:
            unit.object.unlink()

    return cache.obtain(folder or cache.cache_folder(), KIND, key, fill) / LIBRARY


LIBRARY = "graph.so"


def compiler_flags() -> tuple[str, ...]:
    """Flags for the machine that compiles: all of its instructions, and its widest vectors."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return (*FLAGS, "-mprefer-vector-width=512") if x86 else FLAGS


@functools.cache
def processor() -> str:
    """What ``-march=native`` depends on, so that a library never runs on another processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    kept = ("flags", "Features", "model", "cpu family", "CPU part", "stepping")
    return "\n".join(sorted({line for line in lines if line.startswith(kept)}))


def load(graph: Graph, source: Source, path: Path) -> Library:
    """Load a Graph of a compiled library. Raises `ToolError` where the system cannot."""
    try:
        library = ctypes.CDLL(str(path))
        run, abi = library[f"{source.name}_run"], library[f"{source.name}_abi"]
    except (OSError, AttributeError) as error:
        raise ToolError(
            f"The compiled C++ of Graph {graph.name!r} cannot be loaded: {error}.",
            "Remove the cache folder (HAIRTRIGGER_CACHE) and run again.",
        ) from error
    if abi() != ABI:
        raise ToolError(f"The compiled C++ of Graph {graph.name!r} has interface {abi()}.")
    ins = tuple(code_dtype(op.type) for op in graph.input_ops)
    outs = tuple(code_dtype(t) for t in graph.output_types)
    run.argtypes = [ctypes.c_void_p] * (len(ins) + len(outs)) + [ctypes.c_size_t]
    run.restype = ctypes.c_int
    return Library(graph, path, source.wide, source.steps, ins, outs, run)
