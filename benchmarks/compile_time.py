"""How long compiling takes: lowering, Verilator with its C++, synthesis; processor time, memory.

Particle networks (64 particles of 16 features, random weights) have the shape of an MLP-mixer: a
Dense over the features of each particle, one over the particles of each feature, both once more, a
sum over the particles and a Dense to 5. "alike" has one format for each activation tensor, so that
particles share their kernels; "own" draws a format for every element, as training by HGQ2 leaves
them, so that nearly nothing is shared. Operations are the additions of all instances together.

The muon network is the student of the study for images of 9 x 384 as it is before training, so no
file is needed: at an interval of one clock, where it is largest, and of 8 (25 ns at 320 MHz).

    python benchmarks/compile_time.py [--out docs/benchmarks/compile_time] [--only NAME]

Each network is compiled in a process of its own, with an empty tool cache. "cpu" counts that one
and the tools it starts, "memory" is the largest of them at its peak. Seconds are those of a machine
that others use too: the processor time says more. Half of the lowering of "own" is da4ml's solver,
called once for each of the 98 kernels that differ; the rest is our netlist, pipeline and retiming.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from written import stamp, write_tables

from hairtrigger.backends.rtl import build_simulator, synthesise
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType
from hairtrigger.graph.linear import Dense, GlobalSum
from hairtrigger.graph.moves import Transpose
from hairtrigger.graph.ops import Input, Quantize, Relu
from hairtrigger.graph.passes import optimise
from hairtrigger.rtl.cells import Sum
from hairtrigger.rtl.design import compile_graph
from hairtrigger.rtl.netlist import Instance, Module

SEED = 1
PARTICLES, FEATURES = 64, 16
GOALS = {
    "particles alike": "lowering 15 s",
    "particles own": "lowering 15 s",
    "muon": "lowering, Verilator and C++ 120 s and 4 GB; synthesis 300 s",
    "muon 25 ns": "lowering, Verilator and C++ 120 s and 4 GB; synthesis 300 s",
}


def particles(own: bool, dense: float, mixing: float) -> Graph:
    """The particle network; ``dense`` and ``mixing``: parts of the weights that are not zero."""
    rng = np.random.default_rng(SEED)
    b = Builder("particles")
    x = b.add(Input("x", TensorType.uniform((PARTICLES, FEATURES), Fixed(True, 2, 4))))

    def weights(shape: tuple[int, int], kept: float) -> Literal:
        return Literal(rng.integers(-15, 16, shape) * (rng.random(shape) < kept), 3)

    def quantized(x: int) -> int:
        shape = b.type(x).shape
        integer = rng.integers(2, 5, shape) if own else np.full(shape, 3)
        fraction = rng.integers(0, 3, shape) if own else np.full(shape, 1)
        t = TensorType(shape, np.zeros(shape, bool), integer, fraction)
        return b.add(Quantize(t, Rounding.TRN, Overflow.SAT), b.add(Relu(), x))

    for _ in range(2):
        x = quantized(b.add(Dense(weights((FEATURES, FEATURES), dense)), x, label="features"))
        x = b.add(Transpose((1, 0)), x)
        x = quantized(b.add(Dense(weights((PARTICLES, PARTICLES), mixing)), x, label="particles"))
        x = b.add(Transpose((1, 0)), x)
    x = b.add(GlobalSum((0,)), x)
    return b.build([b.add(Dense(weights((FEATURES, 5), 1.0)), x, label="head")])


def muon() -> Graph:
    """The study's student before training."""
    from hairtrigger.detectors.rpc_config import RpcConfig
    from hairtrigger.frontends.hgq import from_hgq
    from hairtrigger.frontends.keras_file import import_keras
    from hairtrigger.studies.muon_networks import build_student

    import_keras().utils.set_random_seed(SEED)
    return optimise(from_hgq(build_student(RpcConfig(), 5), name="muon"))


NETWORKS: dict[str, tuple[Callable[[], Graph], int | str, bool]] = {
    "particles alike": (lambda: particles(False, 0.5, 0.15), 1, False),
    "particles own": (lambda: particles(True, 0.5, 0.15), 1, False),
    "muon": (muon, 1, True),
    "muon 25 ns": (muon, "25 ns", True),
}
"""What makes a network, its interval, and whether it is simulated and synthesised."""


def additions(module: Module, done: dict[int, int]) -> int:
    """Adders below a module, each instance counted."""
    if id(module) not in done:
        done[id(module)] = sum(
            additions(part.module, done) if isinstance(part, Instance) else isinstance(part, Sum)
            for part in module.body
        )
    return done[id(module)]


def clock() -> tuple[float, float]:
    """Seconds, and processor seconds of this process and those that it has waited for."""
    t = os.times()
    return time.perf_counter(), t.user + t.system + t.children_user + t.children_system


def measure(name: str, folder: Path) -> dict[str, Any]:
    """One network, in this process."""
    make, interval, tools = NETWORKS[name]
    graph = make()
    row: dict[str, Any] = {"network": name, "interval": interval}

    def step(what: str, run: Callable[[], Any]) -> Any:
        before = clock()
        made = run()
        row[f"{what}_s"], row[f"{what}_cpu_s"] = (
            round(b - a, 1) for a, b in zip(before, clock(), strict=True)
        )
        return made

    design = step("lowering", lambda: compile_graph(graph, "xcvu13p", "320 MHz", interval=interval))
    row["operations"] = additions(design.top.module, {})
    parts = [p for p in design.top.module.body if isinstance(p, Instance)]
    row["instances"] = len(parts)
    row["modules"] = len(Counter(p.module.name for p in parts))
    row["verilog_lines"] = (design.kernels_verilog + design.top_verilog).count("\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if tools:
        step("verilator_and_c++", lambda: build_simulator(design, cache=folder))
        row["simulator_gb"] = round(
            max(peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1e6, 2
        )
        used = step("synthesis", lambda: synthesise(design, cache=folder))
        row["lut"] = used.lut
        peak = max(peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    row["memory_gb"] = round(peak / 1e6, 2)
    row["goal"] = GOALS[name]
    row["met_by_seconds"], row["met_by_cpu"] = met(row, "s"), met(row, "cpu_s")
    return row


def met(row: dict[str, Any], unit: str) -> str:
    """Is the goal reached, by seconds or by processor seconds."""
    if "synthesis_s" not in row:
        return "yes" if row[f"lowering_{unit}"] < 15 else "no"
    built = row[f"lowering_{unit}"] + row[f"verilator_and_c++_{unit}"]
    fine = built < 120 and row["simulator_gb"] < 4 and row[f"synthesis_{unit}"] < 300
    return "yes" if fine else "no"


def in_own_process(name: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--one", name], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="", help="networks whose name has this in it")
    parser.add_argument("--one", choices=NETWORKS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(chosen.one, Path(folder))))
        return
    rows: list[dict[str, Any]] = []
    for name in NETWORKS:
        if chosen.only in name:
            rows.append(in_own_process(name))
            print(rows[-1], flush=True)
    tables = {}
    for title, start in (("particles", "particles"), ("muon", "muon")):
        if found := [row for row in rows if str(row["network"]).startswith(start)]:
            tables[title] = found
    if chosen.out:
        write_tables(chosen.out, "Compile time", __doc__, {"seed": SEED, **stamp()}, tables)


if __name__ == "__main__":
    main()
