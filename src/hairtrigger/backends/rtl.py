"""Backend ``rtl``: a Graph as Verilog, simulated by Verilator and counted by Yosys."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hairtrigger.errors import HairtriggerError, UnsupportedError
from hairtrigger.fixed import IntArray
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.stimulus import extreme_codes
from hairtrigger.rtl.bits import bus_bits, pack, unpack
from hairtrigger.rtl.design import Design, compile_graph
from hairtrigger.rtl.project import write_project
from hairtrigger.tools import verilator, yosys
from hairtrigger.tools.activity import Activity, count_toggles
from hairtrigger.tools.simulator import MAX_LATENCY, Simulator


@dataclass(frozen=True)
class Target:
    """What to compile for: a part's name, a clock such as ``"320 MHz"``, the interval between
    events in clocks or as a time (``"25 ns"``), and the image axis along which they enter."""

    part: str = "xcvu13p"
    clock: str = "320 MHz"
    interval: int | str = 1
    axis: int | None = None

    def design(self, graph: Graph) -> Design:
        """A Graph compiled for it."""
        return compile_graph(graph, self.part, self.clock, interval=self.interval, axis=self.axis)


@dataclass(frozen=True)
class Simulated:
    """What the simulated Verilog gave: output codes, and the latency in clocks that was counted."""

    codes: tuple[IntArray, ...]
    latency: int
    clocks: int


@dataclass(frozen=True)
class RtlArtifact:
    """A project folder: Verilog, testbench, vendor script."""

    design: Design
    files: tuple[Path, ...]
    backend: str = "rtl"

    def build(self) -> None:
        """Lint and compile for simulation. Raises `ToolError`."""
        build_simulator(self.design)

    def run_codes(self, codes: Sequence[IntArray]) -> tuple[IntArray, ...]:
        """Output codes from the simulated Verilog."""
        return simulate(self.design, codes).codes

    def resources(self) -> yosys.Resources:
        """What synthesis counts."""
        return synthesise(self.design)


def unsupported(graph: Graph, target: Target | None = None) -> list[str]:
    """Every reason why the Graph cannot become Verilog for the target; empty if it can."""
    target = target or Target()
    try:
        target.design(graph)
    except HairtriggerError as error:
        return [error.problem]
    return []


def emit(graph: Graph, target: Target | None = None, folder: Path | str = ".") -> RtlArtifact:
    """Write the project; see `hairtrigger.rtl.project.write_project`.

    Raises `UnsupportedError`, `InputError` for an unknown part or clock, `StorageError`.
    """
    problems = unsupported(graph, target)
    if problems:
        raise UnsupportedError(f"Graph {graph.name!r} cannot become Verilog: {problems[0]}")
    target = target or Target()
    design = target.design(graph)
    return RtlArtifact(design, write_project(design, Path(folder), extreme_codes(graph)))


def simulate(
    design: Design,
    codes: Sequence[IntArray],
    *,
    gaps_seed: int | None = None,
    cache: Path | None = None,
) -> Simulated:
    """Run events through the simulated Verilog.

    ``codes``: an array (events, *shape) for each Input. With ``gaps_seed`` events come with random
    gaps between them, which must change nothing. ``cache``: where compiled simulations are kept.
    Raises `ToolError` where a tool is missing or the design breaks its convention.
    """
    simulator = build_simulator(design, cache=cache)
    packed = pack(design.in_types, design.in_words(tuple(codes)))
    if packed.shape[1] == 0:  # a bus of no bits is one unread bit wide
        packed = np.zeros((len(packed), 1), dtype=np.uint8)
    result = simulator.run(
        packed,
        interval=design.interval,
        words=design.words,
        gaps_seed=gaps_seed,
        max_latency=max(MAX_LATENCY, 2 * design.latency),
    )
    out_bytes = (bus_bits(design.out_types) + 7) // 8
    outputs = unpack(design.out_types, result.outputs[:, :out_bytes])
    return Simulated(outputs, result.latency, result.clocks)


def activity(design: Design, codes: Sequence[IntArray], *, cache: Path | None = None) -> Activity:
    """Bits that change in the Verilog while these events run at the design's interval.

    ``codes``: as for `simulate`; at least one event. Raises `ToolError`.
    """
    packed = pack(design.in_types, design.in_words(tuple(codes)))
    with tempfile.TemporaryDirectory(prefix="hairtrigger-rtl-") as folder:
        return count_toggles(
            _write(design, Path(folder)),
            design.name,
            design.in_bits,
            design.out_bits,
            packed,
            interval=design.interval,
            per_event=design.words,
            flush=design.latency + design.interval + 2,
            folder=cache,
        )


def build_simulator(design: Design, *, cache: Path | None = None) -> Simulator:
    """Lint the Verilog (any warning is an error) and compile it; done once for equal text."""
    with tempfile.TemporaryDirectory(prefix="hairtrigger-rtl-") as folder:
        files = _write(design, Path(folder))
        verilator.lint(files, design.name)
        return verilator.build(files, design.name, design.in_bits, design.out_bits, cache)


def synthesise(
    design: Design, *, flatten: bool = False, cache: Path | None = None
) -> yosys.Resources:
    """LUTs, flip-flops and the rest from Yosys; see `hairtrigger.tools.yosys.synthesise`."""
    with tempfile.TemporaryDirectory(prefix="hairtrigger-rtl-") as folder:
        files = _write(design, Path(folder))
        family = design.part.yosys_family
        return yosys.synthesise(files, design.name, cache, family=family, flatten=flatten)


def _write(design: Design, folder: Path) -> list[Path]:
    texts = {"kernels.v": design.kernels_verilog, f"{design.name}.v": design.top_verilog}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name, text in texts.items() if text.strip()]
