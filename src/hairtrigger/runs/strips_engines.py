"""The strips study's network beyond Verilog: HLS, the processor, and models for GPUs and DPUs.

Stages ``c_simulation`` (the HLS project, compiled and run), ``timing`` (single clusters on the
processor) and ``accelerators`` (TensorRT's and the DPU's files, checked and compared).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hairtrigger.errors import MismatchError, ToolError
from hairtrigger.pipeline import Stage, Workplace
from hairtrigger.records import to_text
from hairtrigger.runs.chip import read_graph
from hairtrigger.runs.learn import model_of
from hairtrigger.runs.strips import INT8, STUDY, test_inputs

if TYPE_CHECKING:
    from hairtrigger.studies.strips import StripsPreset

C_SIMULATION, TIMING, ACCELERATORS = "c_simulation.json", "timing.json", "accelerators.json"
TIMED = ("cpp", "onnxruntime-fp32")
"""Engines whose time for a single cluster is measured."""
TIMING_SECONDS, TIMED_EVENTS = 3.0, 1024
DPU = "DPUCZDX8G_ISA1_B4096"
"""The DPU of the boards ZCU102 and ZCU104."""


@dataclass(frozen=True)
class CSimulation:
    """The HLS project of the chip's network, its layers behind the front, built and run: ``events``
    whose ``values`` were compared with what the emulator says of the whole chip, and how many
    ``differ``."""

    tool: str
    version: str
    backend: str
    io_type: str
    events: int
    values: int
    differ: int


@dataclass(frozen=True)
class Timing:
    """What one cluster takes on a processor: an engine called from Python in one thread, ns, and
    what a call takes that computes nothing."""

    engine: str
    words: str
    p50_ns: float
    p99_ns: float
    floor_ns: float
    calls: int


@dataclass(frozen=True)
class Timings:
    """All engines, on the same ``events``, one after the other; ``busy``: the machine's load over
    its processors at the end."""

    engines: tuple[Timing, ...]
    events: int
    busy: float


@dataclass(frozen=True)
class Accelerator:
    """A file for a GPU or DPU. ``broken``: documented rules that it breaks; ``notes``: where it may
    differ from the Graph; ``beside``: nodes that run on the processor beside it. Run in ONNX
    Runtime on the CPU, ``differ`` of ``numbers`` are not the emulator's. ``here``: "ran", with as
    many differences, or why it was not run on the device itself."""

    name: str
    file: str
    broken: tuple[str, ...]
    notes: tuple[str, ...]
    beside: tuple[str, ...]
    events: int
    numbers: int
    differ: int
    here: str


@dataclass(frozen=True)
class Accelerators:
    """All of them; of the network with 8 bits and one format a tensor but where named."""

    found: tuple[Accelerator, ...]


FILES = {"c_simulation": C_SIMULATION, "timing": TIMING, "accelerators": ACCELERATORS}
"""What each stage leaves."""


def engines_text(simulated: CSimulation, timed: Timings, made: Accelerators) -> str:
    """All three in Markdown."""
    from hairtrigger.report.document import table

    clock = [
        (one.engine, f"{one.p50_ns / 1000:.3g}", f"{one.p99_ns / 1000:.3g}", f"{one.floor_ns:.0f}")
        for one in timed.engines
    ]
    files = [
        (
            one.name,
            one.file,
            "; ".join(one.broken) or "none",
            "; ".join((*one.notes, *(f"on the CPU: {node}" for node in one.beside))) or "none",
            f"{one.differ:,} of {one.numbers:,}",
            one.here,
        )
        for one in made.found
    ]
    return (
        f"The HLS project by {simulated.tool} {simulated.version} ({simulated.backend}, "
        f"{simulated.io_type}) was compiled and run on {simulated.events:,} clusters: "
        f"{simulated.differ} of {simulated.values:,} numbers differ from the emulator's. It holds "
        "the network's layers and is given what the front makes of a cluster.\n\n"
        "One cluster on one thread of the processor, called from Python; the last column is a call "
        f"that computes nothing. The machine's load was {timed.busy:.1f} a processor.\n\n"
        + table(("engine", "median [us]", "p99 [us]", "empty call [ns]"), clock)
        + "\n\nFiles for GPUs and DPUs, of the network with 8 bits and one format a tensor where "
        "not of the chip's, whose front is left to the processor there; compared with the emulator "
        "in ONNX Runtime on the CPU:\n\n"
        + table(
            ("for", "file", "rules broken", "may differ", "numbers that differ", "on the device"),
            files,
        )
    )


def engine_stages(preset: StripsPreset, seed: int) -> list[Stage]:
    """All three stages."""
    return [_c_simulation(preset), _timing(seed), _accelerators(preset)]


def _c_simulation(preset: StripsPreset) -> Stage:
    def work(at: Workplace) -> None:
        from hairtrigger.backends import hls
        from hairtrigger.graph import emulate_codes, encode
        from hairtrigger.hls.convert import version
        from hairtrigger.studies.strips_front import network_input, without_front

        target = hls.Target(name=STUDY)
        made = hls.emit(without_front(model_of(at.inputs["student"])), target, at.folder)
        made.build()
        at.progress(1, 3)
        given = test_inputs(at.inputs, preset.c_simulation)
        simulated = made.run_codes(encode(made.graph, network_input(given)))
        at.progress(2, 3)
        graph = read_graph(at.inputs["convert"])
        emulated = emulate_codes(graph, encode(graph, given))
        differ = values = 0
        for ours, theirs, to, of in zip(
            emulated, simulated, graph.output_types, made.graph.output_types, strict=True
        ):
            finest = max(to.lsb, of.lsb)
            values += ours.size
            differ += int(((ours << (finest - to.lsb)) != (theirs << (finest - of.lsb))).sum())
        record = CSimulation(
            "hls4ml", version(), target.backend, target.io_type, len(given), values, differ
        )
        (at.folder / C_SIMULATION).write_text(to_text(record), encoding="utf-8")

    return Stage(
        "c_simulation",
        "Compile and run the HLS project",
        work,
        {"events": preset.c_simulation},
        ("student", "convert", "exam"),
        (
            *("fixed.py", "graph", "frontends", "hls", "backends/hls.py"),
            *("runs/strips_engines.py", "studies/strips_front.py"),
        ),
        ("hls4ml", "hgq2", "keras"),
    )


def _timing(seed: int) -> Stage:
    def work(at: Workplace) -> None:
        import os

        from hairtrigger.bench.clock import WallClock
        from hairtrigger.bench.engines import CPU_ENGINES
        from hairtrigger.bench.measure import Bench, Setting
        from hairtrigger.graph import emulate_codes, encode

        graph = read_graph(at.inputs["convert"])
        codes = encode(graph, test_inputs(at.inputs, TIMED_EVENTS))
        expected = emulate_codes(graph, codes)
        setting = Setting((1,), (1,), TIMING_SECONDS, 1, None, 1e6, 1, seed)
        found: list[Timing] = []
        for number, name in enumerate(TIMED):
            at.progress(number, len(TIMED))
            engine = CPU_ENGINES[name](graph)
            try:
                for ours, theirs in zip(engine.run(codes), expected, strict=True):
                    if not (ours == theirs).all():
                        raise MismatchError(f"{name} differs from the emulator", "see verify")
                (row,) = Bench(graph, engine, codes, True, setting, WallClock()).single()
            finally:
                engine.close()
            if row.p50_ns is None or row.p99_ns is None or row.floor_ns is None:
                raise ToolError(
                    f"{name} made only {row.calls} calls in {TIMING_SECONDS:g} s, too few to time",
                    "run again on a machine that is less busy",
                )
            numbers = (row.p50_ns, row.p99_ns, row.floor_ns)
            found.append(Timing(name, engine.words, *numbers, row.calls))
        busy = os.getloadavg()[0] / (os.cpu_count() or 1)
        record = Timings(tuple(found), TIMED_EVENTS, busy)
        (at.folder / TIMING).write_text(to_text(record), encoding="utf-8")

    return Stage(
        "timing",
        "Time single clusters on the processor",
        work,
        {"engines": list(TIMED), "seconds": TIMING_SECONDS},
        ("convert", "exam"),
        ("fixed.py", "graph", "cpp", "bench", "backends/onnx.py", "runs/strips_engines.py"),
        ("onnxruntime", "numpy"),
    )


def _accelerators(preset: StripsPreset) -> Stage:
    def work(at: Workplace) -> None:
        from hairtrigger.backends import tensorrt, vitis_ai
        from hairtrigger.frontends.hgq import from_hgq
        from hairtrigger.graph import emulate_codes, encode
        from hairtrigger.graph.passes import optimise
        from hairtrigger.studies.strips_front import network_input, without_front

        layers = without_front(model_of(at.inputs[INT8]))
        int8 = optimise(from_hgq(layers, name=f"{STUDY}_int8"))
        chip = read_graph(at.inputs["convert"])
        sent = test_inputs(at.inputs, preset.c_simulation)
        seen = network_input(sent)
        made = [
            ("TensorRT, int8", tensorrt.emit(int8, tensorrt.Target("int8"), at.folder), seen),
            (
                "TensorRT, float32: the chip",
                tensorrt.emit(chip, tensorrt.Target("fp32"), at.folder),
                sent,
            ),
            (f"Vitis AI, {DPU}", vitis_ai.emit(int8, vitis_ai.Target(DPU), at.folder), seen),
        ]
        found: list[Accelerator] = []
        for number, (name, artifact, given) in enumerate(made):
            at.progress(number, len(made))
            codes = encode(artifact.graph, given)
            offs = artifact.differences(codes)
            try:
                here = "not run: no DPU"
                if not isinstance(artifact, vitis_ai.VitisAiArtifact):
                    pairs = zip(
                        emulate_codes(artifact.graph, codes), artifact.run_codes(codes), strict=True
                    )
                    here = f"ran, {sum(int((a != b).sum()) for a, b in pairs)} differ"
            except ToolError as error:
                here = error.problem
            found.append(
                Accelerator(
                    name=name,
                    file=artifact.files[0].name,
                    broken=tuple(artifact.check()),
                    notes=tuple(artifact.notes),
                    beside=tuple(getattr(artifact, "on_cpu", ())),
                    events=len(given),
                    numbers=sum(off.numbers for off in offs),
                    differ=sum(off.differ for off in offs),
                    here=here,
                )
            )
        record = to_text(Accelerators(tuple(found)))
        (at.folder / ACCELERATORS).write_text(record, encoding="utf-8")

    return Stage(
        "accelerators",
        "Write models for GPUs and DPUs, and compare them",
        work,
        {"events": preset.c_simulation, "dpu": DPU},
        (INT8, "convert", "exam"),
        (
            *("fixed.py", "graph", "frontends", "backends"),
            *("runs/strips_engines.py", "studies/strips_front.py"),
        ),
        ("onnxruntime", "onnx", "hgq2", "keras"),
    )
