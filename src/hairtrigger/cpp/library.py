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
from hairtrigger.cpp.encode import encodes
from hairtrigger.cpp.source import ABI, Source, write_source
from hairtrigger.errors import InputError, ToolError
from hairtrigger.graph.emulate import check_codes, check_state
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.steps import Registers
from hairtrigger.tools import cache
from hairtrigger.tools.compiler import JOBS, Unit, compile_objects, find_compiler, link

FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-fPIC", "-fno-exceptions", "-fno-rtti", "-w"),
    "-fno-trapping-math",
)
"""None changes a result: -fno-trapping-math only says that nobody waits for a trap."""

KIND = "cpp"
TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Library:
    """A loaded library. Any number of threads may call it at once.

    ``in_dtypes``, ``out_dtypes``: what the codes of each tensor are handed over in;
    ``state_dtype``: the registers, as a structure; ``wide``: events that it works on at once;
    ``steps``: steps of arithmetic for one event.
    """

    graph: Graph
    path: Path
    wide: int
    steps: int
    in_dtypes: tuple[np.dtype[Any], ...]
    out_dtypes: tuple[np.dtype[Any], ...]
    state_dtype: np.dtype[Any]
    _run: Any
    _encoders: tuple[Any, ...]

    def __call__(self, *codes: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Outputs' codes (events, *shape) from inputs' codes, in the small dtypes of `Library`.

        Arrays of other dtypes are converted. A Graph with registers starts from reset. Codes out
        of range raise `InputError`.
        """
        return self.steps_from(codes, None)[0]

    def steps_from(
        self, codes: Sequence[NDArray[Any]], state: Registers | None, events: int | None = None
    ) -> tuple[tuple[NDArray[Any], ...], Registers]:
        """As a call, from what the registers hold on; with what they hold then.

        ``events``: how many, for a Graph without inputs (None: one).
        """
        graph = self.graph
        arrays = [
            np.ascontiguousarray(x, dtype=dtype)
            for x, dtype in zip(codes, self.in_dtypes, strict=True)
        ]
        count = len(arrays[0]) if arrays else 1 if events is None else events
        for x, op in zip(arrays, graph.input_ops, strict=True):
            if x.shape != (count, *op.type.shape):
                raise InputError(
                    f"Codes of input {op.name!r} have shape {x.shape}, not "
                    f"{(count, *op.type.shape)}.",
                    "Give every input the same events.",
                )
        outs = tuple(
            np.empty((count, *t.shape), dtype=dtype)
            for t, dtype in zip(graph.output_types, self.out_dtypes, strict=True)
        )
        held = () if graph.pure else (self._pack(check_state(graph, state)),)
        if self._run(*map(_address, (*held, *arrays, *outs)), count):
            self._explain(arrays)
        return outs, self._unpack(held[0]) if held else ()

    def streams_from(
        self, codes: Sequence[NDArray[Any]], state: Registers | None, *, ends: bool = True
    ) -> tuple[tuple[NDArray[Any], ...], Registers]:
        """Many streams of as many steps, each from registers of its own.

        ``codes``: for each input an array (streams, steps, *shape); ``state``: for each register an
        array (streams, *shape), or (*shape) for all; None for the reset values. Gives the outputs
        (streams, steps, *shape) and, with ``ends``, what the registers hold then. Raises
        `InputError` as a call does, and for a Graph without inputs or registers.
        """
        graph = self.graph
        if graph.pure or not codes:
            raise InputError(
                f"Graph {graph.name!r} has no registers, or no inputs.", "Call the library."
            )
        arrays = [
            np.ascontiguousarray(x, dtype=dtype)
            for x, dtype in zip(codes, self.in_dtypes, strict=True)
        ]
        streams, steps = arrays[0].shape[:2]
        for x, op in zip(arrays, graph.input_ops, strict=True):
            if x.shape != (streams, steps, *op.type.shape):
                raise InputError(
                    f"Codes of input {op.name!r} have shape {x.shape}, not "
                    f"{(streams, steps, *op.type.shape)}.",
                    "Give every input the same streams and steps.",
                )
        held = np.zeros(streams, dtype=self.state_dtype)
        first = check_state(graph, None) if state is None else state
        for n, ((place, _), x) in enumerate(zip(graph.updates, first, strict=True)):
            t = graph.nodes[place].type
            each = np.asarray(x)
            check_codes(t, each.astype(np.int64) if each.ndim > len(t.shape) else each[None])
            held[f"state{n}"] = each
        outs = tuple(
            np.empty((streams, steps, *t.shape), dtype=dtype)
            for t, dtype in zip(graph.output_types, self.out_dtypes, strict=True)
        )
        moved = (held, *arrays, *outs)
        where = [(_address(x), x.strides[0]) for x in moved]
        wrong = 0
        for n in range(streams):
            wrong |= self._run(*(start + n * stride for start, stride in where), steps)
        if wrong:
            self._explain([x.reshape(-1, *x.shape[2:]) for x in arrays])
        names = (self.state_dtype.names or ()) if ends else ()
        return outs, tuple(held[name].astype(np.int64) for name in names)

    def encode(self, number: int, x: NDArray[Any]) -> NDArray[Any] | None:
        """Codes of input ``number`` for float32 or float64 numbers; None where it takes `encode`
        of the Graph to say what they are, or what is wrong with them."""
        encoder = self._encoders[number]
        if encoder is None or x.dtype not in (np.float32, np.float64):
            return None
        real = np.ascontiguousarray(x)
        codes = np.empty(x.shape, dtype=self.in_dtypes[number])
        run = encoder[0 if x.dtype == np.float32 else 1]
        return None if run(_address(real), _address(codes), len(x)) else codes

    def bind(
        self, codes: Sequence[NDArray[Any]], outs: Sequence[NDArray[Any]]
    ) -> Callable[[], int]:
        """A call on fixed arrays, for the least overhead: each call reads ``codes`` and writes
        ``outs`` as they are then, and gives 1 where a code was out of range, else 0. Registers
        start from reset and go on from call to call.

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
        held = () if self.graph.pure else (self._pack(check_state(self.graph, None)),)
        kept = (*held, *codes, *outs)  # as long as the call lives
        arguments = [ctypes.c_void_p(_address(x)) for x in kept]
        call = functools.partial(self._run, *arguments, ctypes.c_size_t(events))
        call.kept = kept  # type: ignore[attr-defined]
        return call

    def _pack(self, state: Registers) -> NDArray[Any]:
        packed = np.zeros(1, dtype=self.state_dtype)
        for n, codes in enumerate(state):
            packed[f"state{n}"][0] = codes
        return packed

    def _unpack(self, packed: NDArray[Any]) -> Registers:
        names = self.state_dtype.names or ()
        return tuple(packed[name][0].astype(np.int64) for name in names)

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
    held = [graph.nodes[place].type for place, _ in graph.updates]
    fields = [(f"state{n}", code_dtype(t), t.shape) for n, t in enumerate(held)]
    state = np.dtype(fields, align=True)
    if fields:
        size = library[f"{source.name}_state_size"]
        size.restype = ctypes.c_size_t
        if size() != state.itemsize:
            raise ToolError(
                f"A state of Graph {graph.name!r} takes {size()} bytes, not {state.itemsize}.",
                "Please report the Graph to hairtrigger; engine='emulator' runs it.",
            )
    pointers = len(ins) + len(outs) + bool(fields)
    run.argtypes = [ctypes.c_void_p] * pointers + [ctypes.c_size_t]
    run.restype = ctypes.c_int
    found: list[Any] = []
    for n, op in enumerate(graph.input_ops):
        pair = None
        if encodes(op):
            pair = [library[f"{source.name}_encode{n}_{kind}"] for kind in ("f32", "f64")]
            for function in pair:
                function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
                function.restype = ctypes.c_int
        found.append(pair)
    return Library(graph, path, source.wide, source.steps, ins, outs, state, run, tuple(found))
