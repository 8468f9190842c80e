"""Runs a Graph with the fastest engine that is exact for it, and says which one ran and why."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.backends.onnx import Border, content_key, shape_problems, to_onnx
from hairtrigger.backends.onnx_session import Session
from hairtrigger.errors import InputError, ToolError, UnsupportedError
from hairtrigger.fixed import IntArray
from hairtrigger.graph.emulate import (
    Inputs,
    as_codes,
    check_codes,
    check_inputs,
    check_state,
    chunk_size,
    decode,
    emulate_steps,
    encode_checked,
)
from hairtrigger.graph.exact import FLOAT32, FLOAT64, float_exact
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.ops import Input
from hairtrigger.graph.steps import Registers

if TYPE_CHECKING:
    from hairtrigger.cpp.library import Library

CPP = "cpp"
FP32 = "onnxruntime-fp32"
FP64 = "onnxruntime-fp64"
EMULATOR = "emulator"
ENGINES = (CPP, FP32, FP64, EMULATOR)
"""Fastest first. C++ has to be built, which takes seconds: without ``engine`` it runs where there
are events enough to pay for that, or where it is built already; `Run.why` says which."""

_CARRIERS = {FP32: FLOAT32, FP64: FLOAT64}

CHUNK_BYTES = 4 << 20
CHUNK_EVENTS = 4096
"""The largest tensor of a chunk takes at most so much in ONNX Runtime: chunks stay in caches."""
CPP_CHUNK_EVENTS = 1 << 14
"""C++ works on few events at once within a chunk; only inputs and outputs grow with it."""

Prepare = Callable[[Input, NDArray[Any]], NDArray[np.integer[Any]]]
"""Codes of some events of an Input, in any integer dtype."""


@dataclass(frozen=True)
class Run:
    """What a Graph gave.

    ``codes`` and real ``values`` of each output, arrays (events, *shape); the ``engine`` that ran
    and ``why`` it was chosen; ``state``: what the Graph's registers hold after the last event.
    """

    codes: tuple[IntArray, ...]
    values: tuple[NDArray[np.float64], ...]
    engine: str
    why: str
    state: Registers = ()


@dataclass(frozen=True)
class Plan:
    """How a Graph is run: the engine, the reason for it, its loaded model or library, and events in
    a chunk that keep memory small."""

    engine: str
    why: str
    session: Session | None
    chunk: int
    library: Library | None = None


def run(
    graph: Graph,
    inputs: Inputs,
    *,
    engine: str | None = None,
    threads: int | None = None,
    chunk: int | None = None,
    state: Registers | None = None,
) -> Run:
    """Run on real numbers; see `hairtrigger.graph.encode` for what is taken.

    ``engine``: one of `ENGINES`, or None for the fastest that is exact. ``threads``: chunks worked
    on at once, None for the processors at hand; ``chunk``: events in one, None for as many as
    keep memory small. Neither changes a result. Events of a Graph with registers are its steps in
    turn, from ``state`` on (None: reset). Raises `InputError` for inputs and arguments that
    cannot be used, `UnsupportedError` with all reasons for an engine that is not exact.
    """
    arrays = check_inputs(graph, inputs)
    plan = prepare(graph, engine, len(arrays[0]) if arrays else 1)
    return _in_chunks(graph, plan, arrays, _encode, threads, chunk, state)


def run_codes(
    graph: Graph,
    codes: Sequence[IntArray],
    *,
    engine: str | None = None,
    threads: int | None = None,
    chunk: int | None = None,
    state: Registers | None = None,
) -> Run:
    """As `run`, on codes: one integer array (events, *shape) for each Input, in units of its LSB.

    Codes that their type does not hold raise `InputError`.
    """
    arrays = check_inputs(graph, tuple(codes))
    plan = prepare(graph, engine, len(arrays[0]) if arrays else 1)
    for op, x in zip(graph.input_ops, arrays, strict=True):
        if x.dtype.kind not in "iub":
            raise InputError(
                f"Codes of input {op.name!r} have dtype {x.dtype}.",
                "Give integers, or real numbers to run().",
            )
    return _in_chunks(graph, plan, arrays, _check, threads, chunk, state)


def prepare(graph: Graph, engine: str | None = None, events: int = 1) -> Plan:
    """Choose the engine for so many events and load it; equal Graphs share the last few.

    Raises `UnsupportedError`, `InputError`; see `run`.
    """
    if engine is not None:
        choose_engine(graph, engine)
        return _plan(graph, engine)
    chosen, why = choose_engine(graph, None, events)
    try:
        return replace(_plan(graph, chosen), why=why)
    except UnsupportedError as error:
        if chosen != CPP:
            raise
        chosen, why = _without_building(graph)
        return replace(_plan(graph, chosen), why=f"{error.problem}; {why}")


_built: OrderedDict[Graph, None] = OrderedDict()
"""Graphs whose C++ this process has loaded."""


@lru_cache(maxsize=8)
def _plan(graph: Graph, engine: str) -> Plan:
    why = "it was asked for"
    if engine == EMULATOR:
        return Plan(engine, why, None, chunk_size(graph))
    if engine == CPP:
        from hairtrigger.cpp.library import compile_graph

        library = compile_graph(graph)
        _built[graph] = None
        while len(_built) > 8:
            _built.popitem(last=False)
        tensors = [graph.nodes[n] for n in (*graph.inputs, *graph.outputs)]
        largest = max(node.type.size for node in tensors)
        chunk = min(CPP_CHUNK_EVENTS, max(1, CHUNK_BYTES // (8 * largest)))
        return Plan(engine, why, None, chunk, library)
    model = to_onnx(graph, carrier=_CARRIERS[engine], border=Border.CODES)
    name = f"the model of Graph {graph.name!r}"
    session = Session(graph, model.SerializeToString(), content_key(graph), name)
    largest = max(node.type.size for node in graph.nodes)
    chunk = min(CHUNK_EVENTS, max(1, CHUNK_BYTES // (8 * largest)))
    return Plan(engine, why, session, chunk)


def choose_engine(graph: Graph, engine: str | None = None, events: int = 1) -> tuple[str, str]:
    """The engine that runs so many events of a Graph, and why. Raises `UnsupportedError`,
    `InputError`; see `run`."""
    if engine is not None:
        if engine not in ENGINES:
            raise InputError(
                f"There is no engine {engine!r}.", f"Use one of {', '.join(ENGINES)}, or None."
            )
        reasons = _reasons(graph, engine)
        if reasons:
            raise UnsupportedError(
                f"{engine} is not exact for Graph {graph.name!r}:"
                + "".join(f"\n  - {reason}" for reason in reasons),
                "Leave engine=None to have the fastest exact one, or quantize to fewer bits.",
            )
        return engine, "it was asked for"
    if graph in _built:
        return CPP, "cpp is built already"
    other, why = _without_building(graph)
    from hairtrigger.cpp.cost import build_seconds, events_to_pay

    least = events_to_pay(graph, {FP32: 32, FP64: 64}.get(other))
    if events < least:
        return other, f"{why}; cpp would pay from about {least:.2g} events on"
    try:
        from hairtrigger.tools.compiler import find_compiler

        find_compiler()
    except ToolError as error:
        return other, f"{why}; cpp would pay, but {error.problem}"
    seconds = build_seconds(graph)
    return CPP, (
        f"cpp pays: building it takes about {seconds:.2g} s, less than it saves on {events} events "
        f"({why})"
    )


def _without_building(graph: Graph) -> tuple[str, str]:
    """The fastest exact engine of those that need no compiler, and why."""
    refused: list[str] = []
    for name in (FP32, FP64):
        reasons = _reasons(graph, name)
        if not reasons:
            return name, "; ".join([*refused, f"{name} is exact"])
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        refused.append(f"{name} is not exact: {reasons[0]}{more}")
    return EMULATOR, "; ".join(refused)


def _reasons(graph: Graph, engine: str) -> list[str]:
    """Why an engine cannot run a Graph exactly; empty if it can."""
    if engine in (EMULATOR, CPP):
        return []
    return shape_problems(graph) or list(float_exact(graph, _CARRIERS[engine]).reasons)


def _encode(op: Input, part: NDArray[Any]) -> NDArray[np.integer[Any]]:
    ready = as_codes(op, part)  # small integers stay small
    return encode_checked(op, part) if ready is None else ready


def _check(op: Input, part: NDArray[Any]) -> NDArray[np.integer[Any]]:
    codes = part.astype(np.int64, copy=False)
    check_codes(op.type, codes)
    return codes


def _for_library(
    library: Library, number: int, op: Input, part: NDArray[Any], prepare_part: Prepare
) -> NDArray[np.integer[Any]]:
    """Codes in the dtype that compiled C++ takes. It checks codes and encodes floats by itself."""
    if prepare_part is _check and part.dtype == library.in_dtypes[number]:
        return part
    codes = library.encode(number, part) if prepare_part is _encode else None
    return prepare_part(op, part) if codes is None else codes


def _in_chunks(
    graph: Graph,
    plan: Plan,
    arrays: tuple[NDArray[Any], ...],
    prepare_part: Prepare,
    threads: int | None,
    chunk: int | None,
    state: Registers | None,
) -> Run:
    """All events through an engine, a chunk at a time: only results are kept for all of them."""
    threads = _positive("threads", threads, _processors())
    threads = threads if graph.pure else 1  # registers go from one chunk to the next
    events = len(arrays[0]) if arrays else 1
    outs = tuple(np.empty((events, *t.shape), dtype=np.int64) for t in graph.output_types)
    # No chunk is so large that a thread is left without one.
    step = min(_positive("chunk", chunk, plan.chunk), max(1, -(-events // threads)))
    held = check_state(graph, state)

    def work(start: int) -> None:
        nonlocal held
        part = slice(start, start + step)
        pieces = [x[part] for x in arrays]
        if plan.library is not None:
            ready = [
                _for_library(plan.library, n, op, x, prepare_part)
                for n, (op, x) in enumerate(zip(graph.input_ops, pieces, strict=True))
            ]
            results, after = plan.library.steps_from(ready, held)
            held = after if not graph.pure else held
            for out, result in zip(outs, results, strict=True):
                out[part] = result
            return
        codes = [prepare_part(op, x) for op, x in zip(graph.input_ops, pieces, strict=True)]
        if plan.session is None:
            whole = [x.astype(np.int64, copy=False) for x in codes]
            results, held = emulate_steps(graph, whole, held)
        else:
            results = plan.session.run_codes(codes)
        for out, result in zip(outs, results, strict=True):
            out[part] = result

    starts = range(0, events, step)
    if threads == 1 or len(starts) == 1:
        for start in starts:
            work(start)
    else:
        _in_threads(work, starts, threads)
    return Run(outs, decode(graph, outs), plan.engine, plan.why, held)


def _in_threads(work: Callable[[int], None], starts: range, threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        tasks = [pool.submit(work, start) for start in starts]
        try:
            for task in tasks:
                task.result()
        finally:  # after a failure or Ctrl-C no other chunk starts
            for task in tasks:
                task.cancel()


def _processors() -> int:
    """Processors that this process may use."""
    known = getattr(os, "sched_getaffinity", None)
    return len(known(0)) if known else os.cpu_count() or 1


def _positive(name: str, number: int | None, default: int) -> int:
    if number is None:
        return default
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
        raise InputError(f"{name}={number!r} is no whole number from 1 on.", f"Leave out {name}.")
    return int(number)
