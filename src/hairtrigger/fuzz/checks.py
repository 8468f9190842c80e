"""What must hold for every Graph. `CHECKS` is the list; to add one, write a function and a line.

A check takes cases and gives for each what went wrong: None, or the exception. `UnsupportedError`
from a check that may refuse a Graph counts as refused, anything else is a finding.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hairtrigger import engines
from hairtrigger.backends.rtl import simulate
from hairtrigger.cpp import library as cpp
from hairtrigger.cpp.source import Source, write_source
from hairtrigger.fixed import IntArray
from hairtrigger.fuzz.batch import Batch
from hairtrigger.fuzz.case import Case, Codes, Difference, compare
from hairtrigger.graph import Graph, emulate_codes, emulate_steps, parse, verify
from hairtrigger.graph.emulate import check_codes, emulate_nodes
from hairtrigger.graph.exact import intervals
from hairtrigger.graph.passes import PASSES, optimise
from hairtrigger.graph.steps import Registers
from hairtrigger.rtl.bits import pack, unpack
from hairtrigger.rtl.design import Design, compile_graph
from hairtrigger.rtl.stream import stream_bytes, stream_name, stream_verilog
from hairtrigger.tools import verilator
from hairtrigger.tools.axis import build_stream

Outcome = Exception | None
Run = Callable[[Sequence[Case], Path], list[Outcome]]


@dataclass(frozen=True)
class Check:
    """``run`` takes cases and a folder for what is compiled; ``slow``: it calls a compiler;
    ``refuses``: it may raise `UnsupportedError`; ``every``: it takes every so many-th case."""

    name: str
    run: Run
    slow: bool = False
    refuses: bool = False
    every: int = 1


def one_by_one(check: Callable[[Case], None]) -> Run:
    """A check of one case as a check of several."""

    def run(cases: Sequence[Case], folder: Path) -> list[Outcome]:
        return [attempt(check, case) for case in cases]

    return run


def attempt(check: Callable[..., None], *arguments: Any) -> Outcome:
    """What a check raises."""
    try:
        check(*arguments)
    except Exception as error:  # whatever it is, it is what the fuzzer looks for
        return error
    return None


def outcomes(check: Check, cases: Sequence[Case], folder: Path) -> list[Outcome]:
    """Run a check. Where several at once fail together, each runs alone to find the guilty."""
    try:
        return check.run(cases, folder)
    except Exception as error:
        if len(cases) == 1:
            return [error]
    return [outcome for case in cases for outcome in outcomes(check, [case], folder)]


# --- Graph and emulator --------------------------------------------------------------------------


def check_text(case: Case) -> None:
    """The readable form gives back the Graph."""
    text = str(case.graph)
    again = parse(text)
    if again != case.graph or str(again) != text:
        raise Difference("The readable form gives back another Graph.")


def check_emulator(case: Case) -> None:
    """Values lie in their types and intervals; parts of the events give the same as all."""
    graph = case.graph
    values = emulate_nodes(graph, case.codes)
    for place, (node, reach) in enumerate(zip(graph.nodes, intervals(graph), strict=True)):
        check_codes(node.type, values[place])
        low, high = reach.at(node.type.lsb)
        if (values[place] < low).any() or (values[place] > high).any():
            raise Difference(f"%{place} leaves the interval that was worked out for it.")
    held: Registers | None = None
    parts: list[Codes] = []
    for part in _parts(case):
        outs, held = emulate_steps(graph, part, held)
        parts.append(outs)
    compare("the emulator in parts", case.expected, _joined(parts))


def _parts(case: Case) -> list[Codes]:
    """The events in four parts, some of which may be empty."""
    rng = np.random.default_rng(case.seed)
    cuts = [0, *sorted(rng.integers(0, case.events, 3, endpoint=True).tolist()), case.events]
    return [tuple(x[a:b] for x in case.codes) for a, b in pairwise(cuts)]


def _joined(parts: Sequence[Codes]) -> Codes:
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def check_passes(case: Case) -> None:
    """Each pass keeps values and interface, makes a Graph that verifies, and is idempotent."""
    for run in (*PASSES, optimise):
        name, graph = run.__name__, case.graph
        after = run(graph)
        verify(after)
        if (after.input_ops, after.output_names) != (graph.input_ops, graph.output_names):
            raise Difference(f"{name} changes the interface.")
        found = emulate_codes(after, case.codes)
        pairs = zip(graph.output_types, after.output_types, strict=True)
        lsbs = [(a.lsb, b.lsb, max(a.lsb, b.lsb)) for a, b in pairs]
        compare(
            name,
            [x << (fine - a) for x, (a, _, fine) in zip(case.expected, lsbs, strict=True)],
            [x << (fine - b) for x, (_, b, fine) in zip(found, lsbs, strict=True)],
        )
        if run(after) != after:
            raise Difference(f"{name} changes its own result.")


# --- engines -------------------------------------------------------------------------------------


def check_run(case: Case) -> None:
    """`Graph.run` with whatever engine it takes, in chunks of any size, by any threads."""
    rng = np.random.default_rng(case.seed)
    chunk, threads = int(rng.integers(1, case.events + 2)), int(rng.integers(1, 4))
    ran = engines.run_codes(case.graph, case.codes, chunk=chunk, threads=threads)
    who = f"{ran.engine} (chunks of {chunk}, {threads} threads)"
    compare(who, case.expected, ran.codes)
    _, registers = emulate_steps(case.graph, case.codes)
    compare(f"registers after {who}", registers, ran.state)


def check_engine(engine: str) -> Run:
    """An engine that says it is exact."""

    def check(case: Case) -> None:
        compare(
            engine, case.expected, engines.run_codes(case.graph, case.codes, engine=engine).codes
        )

    return one_by_one(check)


CPP_FLAGS = ("-std=c++17", "-O1", "-fPIC", "-fno-exceptions", "-fno-rtti", "-w")
"""They compile quickly; `check_run` takes those of the engine."""


def check_cpp(cases: Sequence[Case], folder: Path) -> list[Outcome]:
    """The C++ of all cases in one library, in parts of any size."""
    found: list[Outcome] = [None] * len(cases)
    sources: dict[int, tuple[Graph, Source]] = {}
    for n, case in enumerate(cases):
        named = dataclasses.replace(case.graph, name=f"g{n}")
        wide = (None, 1, 4, 8, 16, 32, 64)[case.seed % 7]
        try:
            sources[n] = named, write_source(named, wide=wide)
        except Exception as error:
            found[n] = error
    if not sources:
        return found
    path = cpp.build([source for _, source in sources.values()], folder=folder, flags=CPP_FLAGS)
    for n, (graph, source) in sources.items():
        found[n] = attempt(_run_cpp, cases[n], cpp.load(graph, source, path))
    return found


def _run_cpp(case: Case, library: cpp.Library) -> None:
    held: Registers | None = None
    parts: list[Codes] = []
    for part in _parts(case):
        outs, held = library.steps_from(part, held)
        parts.append(tuple(x.astype(np.int64) for x in outs))
    compare("C++", case.expected, _joined(parts))
    compare("registers after C++", emulate_steps(case.graph, case.codes)[1], held or ())


# --- Verilog -------------------------------------------------------------------------------------


def check_verilog(cases: Sequence[Case], folder: Path) -> list[Outcome]:
    """The simulated Verilog at the cases' interval, side by side in one build."""
    found: list[Outcome] = [None] * len(cases)
    designs: dict[int, Design] = {}
    for n, case in enumerate(cases):
        try:
            designs[n] = _design(case, f"g{n}")
        except Exception as error:
            found[n] = error
    if not designs:
        return found
    some = cases[0]
    if len(designs) == 1:
        ((n, design),) = designs.items()
        found[n] = attempt(_simulate, cases[n], design, folder)
        return found
    # All get equally many events; those of a Graph with registers must not start again.
    events = max(cases[n].events for n in designs)
    codes = {n: _lengthened(cases[n].codes, events) for n in designs}
    batch = Batch.of_designs(list(designs.values()))
    with tempfile.TemporaryDirectory(dir=folder) as own:
        results = batch.run(list(codes.values()), Path(own), some.gaps_seed)
    for n, result in zip(designs, results, strict=True):
        wanted = [x[: cases[n].events] for x in result]
        found[n] = attempt(compare, _where(cases[n]), cases[n].expected, wanted)
    return found


def _design(case: Case, name: str, stall: bool = False) -> Design:
    graph = dataclasses.replace(case.graph, name=name)
    return compile_graph(graph, "xcvu13p", case.clock, interval=case.interval, stall=stall)


def _simulate(case: Case, design: Design, folder: Path) -> None:
    result = simulate(design, case.codes, gaps_seed=case.gaps_seed, cache=folder)
    if result.latency != design.latency:
        raise Difference(f"{_where(case)}: latency {result.latency}, promised {design.latency}.")
    compare(_where(case), case.expected, result.codes)


def _where(case: Case) -> str:
    return f"Verilog at an interval of {case.interval}"


def _lengthened(codes: Sequence[IntArray], events: int) -> tuple[IntArray, ...]:
    """The same codes, with zeros (which every type holds) behind them."""
    return tuple(
        np.concatenate([x, np.zeros((events - len(x), *x.shape[1:]), dtype=np.int64)])
        for x in codes
    )


PATTERNS = ((100, 100), (100, 30), (30, 100), (60, 60), (10, 90))
"""Percent of the clocks in which a word is offered, and an answer taken."""


def check_stream(cases: Sequence[Case], folder: Path) -> list[Outcome]:
    """The AXI4-Stream wrapper under gaps and back-pressure: every answer once, in order."""
    return [attempt(_run_stream, case, folder) for case in cases]


def _run_stream(case: Case, folder: Path) -> None:
    design = _design(case, "g", stall=True)
    name = stream_name(design)
    texts = (design.kernels_verilog, design.top_verilog, stream_verilog(design))
    with tempfile.TemporaryDirectory(dir=folder) as own:
        source = Path(own) / "stream.v"
        source.write_text("\n".join(texts), encoding="utf-8")
        verilator.lint([source], name)
        sizes = (stream_bytes(design.in_bits), stream_bytes(design.out_bits))
        simulator = build_stream([source], name, *sizes, folder)
    words = pack(design.in_types, design.in_words(case.codes))
    if words.shape[1] == 0:  # a bus of no bits is one unread byte wide
        words = np.zeros((len(words), 1), dtype=np.uint8)
    last = np.arange(len(words)) % design.words == design.words - 1
    for valid, ready in PATTERNS:
        found = simulator.run(
            words,
            last,
            case.events,
            seed=case.seed % 1000,
            valid_percent=valid,
            ready_percent=ready,
        )
        who = f"the stream at an interval of {case.interval}, {valid} % valid, {ready} % ready"
        if found.frame_error:
            raise Difference(f"{who}: a whole frame counts as broken.")
        bits = sum(t.bits for t in design.out_types)
        answers = found.answers[:, : (bits + 7) // 8]
        compare(who, case.expected, unpack(design.out_types, answers))


CHECKS = (
    Check("text", one_by_one(check_text)),
    Check("emulator", one_by_one(check_emulator)),
    Check("passes", one_by_one(check_passes)),
    Check("fp32", check_engine(engines.FP32), refuses=True),
    Check("fp64", check_engine(engines.FP64), refuses=True),
    Check("run", one_by_one(check_run)),
    Check("cpp", check_cpp, slow=True, refuses=True),
    Check("verilog", check_verilog, slow=True, refuses=True),
    Check("stream", check_stream, slow=True, refuses=True, every=5),
)
"""In the order in which they run."""
