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
from hairtrigger.errors import UnsupportedError
from hairtrigger.fixed import IntArray
from hairtrigger.fuzz.batch import Batch
from hairtrigger.fuzz.case import Case, Codes, Difference, compare
from hairtrigger.graph import Graph, emulate_codes, emulate_steps, parse, verify
from hairtrigger.graph.emulate import check_codes, emulate_nodes
from hairtrigger.graph.exact import intervals
from hairtrigger.graph.passes import PASSES, optimise
from hairtrigger.graph.steps import Registers
from hairtrigger.rtl.design import Design, compile_graph

Outcome = Exception | None
Run = Callable[[Sequence[Case], Path], list[Outcome]]


@dataclass(frozen=True)
class Check:
    """``run`` takes cases and a folder for what is compiled; ``slow``: it calls a compiler;
    ``refuses``: it may raise `UnsupportedError`."""

    name: str
    run: Run
    slow: bool = False
    refuses: bool = False


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
    rng = np.random.default_rng(case.seed)
    cuts = [0, *sorted(rng.integers(0, case.events, 3, endpoint=True).tolist()), case.events]
    held: Registers | None = None
    parts: list[Codes] = []
    for start, stop in pairwise(cuts):
        outs, held = emulate_steps(graph, [x[start:stop] for x in case.codes], held)
        parts.append(outs)
    whole = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    compare("the emulator in parts", case.expected, whole)


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
    """The C++ of all cases in one library: all events at once, and one alone."""
    found: list[Outcome] = [None] * len(cases)
    sources: dict[int, tuple[Graph, Source]] = {}
    for n, case in enumerate(cases):
        if not case.graph.inputs or not case.graph.pure:
            found[n] = UnsupportedError("Only pure Graphs with inputs are compiled here.")
            continue
        named = dataclasses.replace(case.graph, name=f"g{n}")
        try:
            sources[n] = named, write_source(named)
        except UnsupportedError as error:
            found[n] = error
    if not sources:
        return found
    path = cpp.build([source for _, source in sources.values()], folder=folder, flags=CPP_FLAGS)
    for n, (graph, source) in sources.items():
        found[n] = attempt(_run_cpp, cases[n], cpp.load(graph, source, path))
    return found


def _run_cpp(case: Case, library: cpp.Library) -> None:
    codes = [x.astype(d) for x, d in zip(case.codes, library.in_dtypes, strict=True)]
    compare("C++", case.expected, [x.astype(np.int64) for x in library(*codes)])
    alone = [x.astype(np.int64) for x in library(*(x[-1:] for x in codes))]
    compare("C++ of the last event alone", [x[-1:] for x in case.expected], alone)


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


def _design(case: Case, name: str) -> Design:
    graph = dataclasses.replace(case.graph, name=name)
    return compile_graph(graph, "xcvu13p", case.clock, interval=case.interval)


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


CHECKS = (
    Check("text", one_by_one(check_text)),
    Check("emulator", one_by_one(check_emulator)),
    Check("passes", one_by_one(check_passes)),
    Check("fp32", check_engine(engines.FP32), refuses=True),
    Check("fp64", check_engine(engines.FP64), refuses=True),
    Check("run", one_by_one(check_run)),
    Check("cpp", check_cpp, slow=True, refuses=True),
    Check("verilog", check_verilog, slow=True, refuses=True),
)
"""In the order in which they run."""
