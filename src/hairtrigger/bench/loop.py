"""Latency of the generated C++ without Python: a small program calls it in a loop of its own."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hairtrigger.bench.inputs import Codes
from hairtrigger.bench.scenarios import MOST_CALLS, Timed
from hairtrigger.errors import ToolError
from hairtrigger.graph.graph import Graph
from hairtrigger.tools import cache, process
from hairtrigger.tools.compiler import Unit, compile_objects, find_compiler, link

_SOURCE = Path(__file__).with_name("loop.cpp")
_FLAGS = ("-std=c++17", "-O2")
_HEAD = 3


@dataclass(frozen=True)
class Loop:
    """What the program gave: output ``codes``, the time of each call, and per call the ns of a
    block of calls without a clock between them (``block_ns``); ``clock_ns`` is the least that two
    readings of the clock take, and is part of each time."""

    codes: Codes
    timed: Timed
    block_ns: float
    clock_ns: float


def run_loop(graph: Graph, codes: Codes, seconds: float) -> Loop:
    """Call the generated C++ with one event after the other for ``seconds``.

    Raises `ToolError` without a compiler, or where the program fails.
    """
    from hairtrigger.cpp.library import compile_graph
    from hairtrigger.cpp.source import write_source

    library = compile_graph(graph)
    name = f"{write_source(graph).name}_run"
    types = graph.output_types
    events = len(codes[0])
    ins = [
        np.ascontiguousarray(x, dtype=dtype)
        for x, dtype in zip(codes, library.in_dtypes, strict=True)
    ]
    sizes = [t.size * d.itemsize for t, d in zip(types, library.out_dtypes, strict=True)]
    words = [
        *(_program(len(ins) + len(types)), library.path, name),
        *(str(events), f"{seconds:.6f}", str(MOST_CALLS)),
        ",".join(str(x[0].nbytes) for x in ins),
        ",".join(map(str, sizes)),
    ]
    said = _run([str(word) for word in words], b"".join(x.tobytes() for x in ins), seconds)
    outs: list[NDArray[np.int64]] = []
    start = 0
    for size, t, dtype in zip(sizes, types, library.out_dtypes, strict=True):
        part = np.frombuffer(said, dtype, events * t.size, start)
        outs.append(part.reshape(events, *t.shape).astype(np.int64))
        start += events * size
    numbers = np.frombuffer(said[start:], dtype=np.int64)
    if len(numbers) <= _HEAD:
        raise ToolError("the timing loop gave no times", "give more seconds")
    calls, spent, clock = (int(n) for n in numbers[:_HEAD])
    times = numbers[_HEAD:]
    return Loop(tuple(outs), Timed(times, float(times.sum()) / 1e9), spent / calls, float(clock))


def _run(words: list[str], given: bytes, seconds: float) -> bytes:
    limit = 60 + 10 * seconds
    try:
        done = subprocess.run(words, input=given, capture_output=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise ToolError(
            f"the timing loop ran longer than its limit of {limit:g} s", "give fewer events"
        ) from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace")
        raise ToolError(
            f"the timing loop failed ({process.describe_status(done.returncode)})"
            + process.quote(process.last_lines(said)),
            "delete the tool cache and start again",
        )
    return done.stdout


def _program(ports: int) -> Path:
    """The compiled program for Graphs of so many inputs and outputs together."""
    compiler = find_compiler()
    flags = (*_FLAGS, f"-DHT_PORTS={ports}")
    text = _SOURCE.read_text(encoding="utf-8")
    key = cache.content_key([text, *compiler.command, compiler.version, *flags])

    def fill(entry: Path) -> None:
        unit = Unit(_SOURCE, entry / "loop.o", flags)
        compile_objects(compiler, [unit], folder=entry)
        link(compiler, [unit.object], entry / "loop", ("-ldl",), folder=entry)
        unit.object.unlink()

    return cache.obtain(cache.cache_folder(), "loop", key, fill) / "loop"
