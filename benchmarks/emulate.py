"""How fast is the bit-exact emulation of a network on one thread, and how soon is it built?

Us: the C++ of the Graph, compiled. Peers: the C++ interpreters of alkaid and da4ml, the C
simulation of hls4ml, and ONNX Runtime on the same network in plain float32 (no quantizers: it
answers another question, and is there as a mark of speed). All get the same file and the same
events, whole multiples of each input's LSB; peers that should be exact are compared with us number
by number.

"codes": integers in, integers out, as the trigger has them; "numbers": float64 in and out through
`graph.run`, which checks for NaN and shapes, as peers get them (they check nothing). On a machine
that others use too, the processor time of a build says more than its seconds.

Where one event is not ten times faster than ONNX Runtime: of the 0.53 us of jsc half is the call
(an empty one takes 0.28 us). tgc, muon and particles take 10,813, 221,058 and 22,240 integer steps
an event and we do 7, 23 and 6 of them a nanosecond, so there it is arithmetic that is left; ONNX
Runtime does the same products in vectors of 16 floats with a shorter program. "fails" is the
peer's own message.

    python benchmarks/emulate.py [--out docs/benchmarks/emulate] [--only NAME] [--peers PYTHON]

The published networks are read from the folder of HAIRTRIGGER_DATA. Peers run in an environment of
their own, whose Python is --peers; a peer that takes longer than --limit seconds is cut off.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from written import ROOT, stamp, write_tables

from hairtrigger.cpp.library import Library, build, load
from hairtrigger.cpp.source import write_source
from hairtrigger.engines import CPP, run
from hairtrigger.frontends.hgq import from_hgq
from hairtrigger.frontends.keras_file import import_keras, load_model
from hairtrigger.graph import Graph, emulate_codes, linear, moves, ops
from hairtrigger.graph.passes import optimise
from hairtrigger.graph.stimulus import random_codes

SEED = 1
EVENTS = 16_384
EXACT = ("alkaid", "da4ml", "hls4ml")
SECONDS = 1.0
GOALS = {"alkaid": 10, "hls4ml": 2500, "float32": 3}
"""How many times as fast we want to be, on many events."""
ONE_GOAL = 10
"""How many times lower than ONNX Runtime's the latency of one event is to be."""


@dataclass(frozen=True)
class Network:
    """A file, and what it is."""

    name: str
    file: str
    about: str
    build_goal_s: float = 5.0


NETWORKS = (
    Network("jsc", "jsc_cernbox_epoch=24246", "16-64-32-32-5, published, trained"),
    Network("jsc-25957", "models_jsc_cernbox_epoch=25957", "16-64-32-32-5, published, trained"),
    Network("tgc", "models_tgc", "350 bits of muon chambers, published, trained"),
    Network("muon", "", "9x384 images, our student as it is before training"),
    Network("particles", "models_jsc_plf", "32 particles of 3 features, published", 60.0),
)


def find(network: Network, folder: Path) -> Path:
    """The .keras file; the muon student is made."""
    if network.file:
        data = Path(os.environ.get("HAIRTRIGGER_DATA", ROOT.parent / "shared" / "data"))
        (path,) = (data / "models" / "hgq").glob(f"{network.file}*.keras")
        return path
    from hairtrigger.detectors.rpc_config import RpcConfig
    from hairtrigger.studies.muon_networks import build_student

    import_keras().utils.set_random_seed(SEED)
    path = folder / "muon.keras"
    build_student(RpcConfig(), 5).save(path)
    return path


def seconds(call: Callable[[], object]) -> float:
    """Median of calls for a while."""
    call()
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(times) < 5 or (time.perf_counter() < end and len(times) < 20_000):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def cpu_seconds() -> float:
    """Processor time of this process and of the compilers that it ran."""
    return sum(os.times()[:4])


# --- ONNX Runtime, not quantised -----------------------------------------------------------------


def float_model(graph: Graph) -> bytes:
    """The network without its quantizers, in float32."""
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants: list[Any] = []
    names: dict[int, str] = {}

    def constant(values: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(constants)}"
        constants.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def put(kind: str, *reads: str, **attributes: Any) -> str:
        name = f"v{len(nodes)}"
        nodes.append(helper.make_node(kind, list(reads), [name], **attributes))
        return name

    for place, node in enumerate(graph.nodes):
        x = [names[n] for n in node.operands]
        op = node.op
        rank = len(node.type.shape)
        match op:
            case ops.Input():
                names[place] = f"in{graph.inputs.index(place)}"
            case ops.Constant():
                names[place] = constant(op.value.values[None])
            case ops.Quantize():
                names[place] = x[0]
            case ops.Add() | ops.Sub() | ops.Mul() | ops.Relu():
                names[place] = put(type(op).__name__, *x)
            case linear.Dense():
                names[place] = put("MatMul", x[0], constant(op.kernel.values))
                if op.bias is not None:
                    names[place] = put("Add", names[place], constant(op.bias.values))
            case linear.Conv():
                order = [0, rank, *range(1, rank)]
                first = put("Transpose", x[0], perm=order)
                image = len(op.window)
                kernel = np.moveaxis(op.kernel.values, (-1, -2), (0, 1))
                pads = [p[0] for p in op.padding] + [p[1] for p in op.padding]
                bias = [] if op.bias is None else [constant(op.bias.values)]
                made = put(
                    "Conv",
                    first,
                    constant(kernel),
                    *bias,
                    strides=list(op.strides),
                    pads=pads,
                    group=op.groups,
                )
                names[place] = put("Transpose", made, perm=[0, *range(2, 2 + image), 1])
            case linear.MaxPool():
                first = put("Transpose", x[0], perm=[0, rank, *range(1, rank)])
                pads = [p[0] for p in op.padding] + [p[1] for p in op.padding]
                made = put(
                    "MaxPool",
                    first,
                    kernel_shape=list(op.window),
                    strides=list(op.strides),
                    pads=pads,
                )
                names[place] = put("Transpose", made, perm=[0, *range(2, 1 + rank), 1])
            case linear.GlobalSum():
                axes = constant([n + 1 for n in op.axes], np.int64)
                names[place] = put("ReduceSum", x[0], axes, keepdims=0)
            case moves.Reshape():
                names[place] = put("Reshape", x[0], constant([-1, *op.shape], np.int64))
            case moves.Transpose():
                names[place] = put("Transpose", x[0], perm=[0, *(n + 1 for n in op.order)])
            case moves.Pad():
                pads = [0, *(a for a, _ in op.padding), 0, *(b for _, b in op.padding)]
                names[place] = put("Pad", x[0], constant(pads, np.int64))
            case moves.Crop():
                shape = graph.nodes[node.operands[0]].type.shape
                starts = constant([a for a, _ in op.cropping], np.int64)
                ends = [n - b for n, (_, b) in zip(shape, op.cropping, strict=True)]
                axes = constant(range(1, rank + 1), np.int64)
                names[place] = put("Slice", x[0], starts, constant(ends, np.int64), axes)
            case moves.Concat():
                names[place] = put("Concat", *x, axis=op.axis + 1)
            case _:
                raise NotImplementedError(type(op).__name__)
    f32 = TensorProto.FLOAT
    ins = [
        helper.make_tensor_value_info(f"in{n}", f32, ["events", *op.type.shape])
        for n, op in enumerate(graph.input_ops)
    ]
    outs = [
        helper.make_tensor_value_info(names[n], f32, ["events", *graph.nodes[n].type.shape])
        for n in graph.outputs
    ]
    made = helper.make_graph(nodes, "float32", ins, outs, constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString()


def float_times(graph: Graph, numbers: list[NDArray[Any]]) -> dict[str, float]:
    import onnxruntime

    start = time.perf_counter()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(float_model(graph), options)
    built = time.perf_counter() - start
    feeds = {f"in{n}": np.asarray(x, dtype=np.float32) for n, x in enumerate(numbers)}
    one = {name: x[:1].copy() for name, x in feeds.items()}
    return {
        "build_s": built,
        "one_s": seconds(lambda: session.run(None, one)),
        "many_s": seconds(lambda: session.run(None, feeds)),
    }


# --- us, and the peers ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Ours:
    """The loaded network, its events, and how long it took to build."""

    graph: Graph
    library: Library
    codes: list[NDArray[Any]]
    numbers: list[NDArray[np.float64]]
    outputs: tuple[NDArray[Any], ...]
    build_s: float
    build_cpu_s: float

    def times(self) -> dict[str, float]:
        """Median seconds: many events and one, as codes and as numbers."""
        ones = [x[:1].copy() for x in self.codes]
        out_one = [x[:1].copy() for x in self.outputs]
        reals = tuple(self.numbers)
        real_one = tuple(x[:1].copy() for x in self.numbers)
        one = self.library.bind(ones, out_one)
        many = self.library.bind(self.codes, [x.copy() for x in self.outputs])
        return {
            "many_s": seconds(many),
            "numbers_s": seconds(lambda: run(self.graph, reals, engine=CPP, threads=1)),
            "one_s": seconds(one),
            "one_call_s": seconds(lambda: self.library(*ones)),
            "one_numbers_s": seconds(lambda: run(self.graph, real_one, engine=CPP, threads=1)),
        }


def ours(path: Path, folder: Path, events: int) -> Ours:
    """Convert, compile without a cache, and check against the emulator."""
    graph = optimise(from_hgq(load_model(path)))
    start, cpu = time.perf_counter(), cpu_seconds()
    source = write_source(graph)
    library = load(graph, source, build([source], folder=folder / "cache"))
    built, built_cpu = time.perf_counter() - start, cpu_seconds() - cpu
    codes = random_codes(graph, events, SEED)
    small = [x.astype(d) for x, d in zip(codes, library.in_dtypes, strict=True)]
    outputs = library(*small)
    checked = min(events, 1024)
    for got, want in zip(outputs, emulate_codes(graph, [x[:checked] for x in codes]), strict=True):
        if not np.array_equal(got[:checked], want):
            raise SystemExit(f"{path.name}: our C++ differs from the emulator")
    numbers = [x * 2.0**-op.type.lsb for x, op in zip(codes, graph.input_ops, strict=True)]
    return Ours(graph, library, small, numbers, outputs, built, built_cpu)


def peer_times(
    peer: str, python: Path, path: Path, mine: Ours, folder: Path, limit: float
) -> dict[str, Any]:
    """Times of a peer, and in how many numbers it differs from us."""
    inputs, outputs = folder / "inputs.npz", folder / "outputs.npy"
    np.savez(inputs, *mine.numbers)
    script = Path(__file__).with_name("emulate_peers.py")
    command = ["timeout", str(limit), str(python), str(script), peer, path, inputs, outputs]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, cwd=folder, check=False
    )
    if done.returncode == 124:
        return {"problem": f"not done in {limit:.0f} s"}
    marked = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not marked:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"problem": f"fails: {last[:90]}"}
    found = json.loads(marked[0].removeprefix("RESULT "))
    theirs = np.load(outputs).reshape(len(mine.numbers[0]), -1)
    types = mine.graph.output_types
    values = [y.reshape(len(y), -1) * 2.0**-t.lsb for y, t in zip(mine.outputs, types, strict=True)]
    wrong = int((np.concatenate(values, axis=1) != theirs).sum())
    return {**found, "wrong": wrong}


def rate(events: int, s: float) -> str:
    """Events a second, with its unit."""
    value = events / s
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def measure(network: Network, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one network."""
    events = options.events
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = find(network, folder)
        mine = ours(path, folder, events)
        rounds = [mine.times()]
        peers: dict[str, dict[str, Any]] = {}
        for peer in EXACT:
            if options.peers.exists():
                peers[peer] = peer_times(peer, options.peers, path, mine, folder, options.limit)
                rounds.append(mine.times())  # in turn: the machine is not always equally fast
            else:
                peers[peer] = {"problem": "not installed"}
        peers["float32"] = float_times(mine.graph, mine.numbers)
        rounds.append(mine.times())
    us = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
    print(f"{network.name}: us {us}, peers {peers}", flush=True)
    rows: list[dict[str, Any]] = []
    base = {"network": network.name}
    for title, many, one in (
        ("us, codes", us["many_s"], us["one_s"]),
        ("us, numbers", us["numbers_s"], us["one_numbers_s"]),
    ):
        rows.append(
            {
                **base,
                "engine": title,
                "events_a_second": rate(events, many),
                "one_event_us": f"{one * 1e6:.3g}",
                "build_s": f"{mine.build_s:.3g}",
                "build_cpu_s": f"{mine.build_cpu_s:.3g}",
                "we_are_times_as_fast": "",
                "goal": f"build {network.build_goal_s:g} s",
                "met by codes": "yes" if mine.build_s <= network.build_goal_s else "no",
                "wrong": 0,
            }
        )
    for peer, found in peers.items():
        row: dict[str, Any] = {**base, "engine": peer}
        if "problem" in found:
            rows.append({**row, "events_a_second": found["problem"]})
            continue
        ratio, numbers = found["many_s"] / us["many_s"], found["many_s"] / us["numbers_s"]
        ratio_one = found["one_s"] / us["one_s"]
        goal = GOALS.get(peer)
        wanted = [ratio >= goal] if goal else []
        if peer == "float32":
            wanted.append(ratio_one >= ONE_GOAL)
        rows.append(
            {
                **row,
                "events_a_second": rate(events, found["many_s"]),
                "one_event_us": f"{found['one_s'] * 1e6:.3g}",
                "build_s": f"{found['build_s']:.3g}",
                "build_cpu_s": f"{found['build_cpu_s']:.3g}" if "build_cpu_s" in found else "",
                "we_are_times_as_fast": (
                    f"{ratio:.3g} (numbers {numbers:.3g}; one event {ratio_one:.3g})"
                ),
                "goal": ""
                if not goal
                else f"{goal}" + (f"; one event {ONE_GOAL}" if peer == "float32" else ""),
                "met by codes": "" if not goal else "yes" if all(wanted) else "no",
                "wrong": found.get("wrong", "another network"),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", action="append", choices=[n.name for n in NETWORKS])
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers" / "bin" / "python")
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--limit", type=float, default=200.0)
    options = parser.parse_args()
    chosen = [n for n in NETWORKS if not options.only or n.name in options.only]
    rows: list[dict[str, Any]] = []
    stamped = {**stamp(), "seed": SEED, "events": options.events, "threads": 1}
    for network in chosen:
        rows += measure(network, options)
        if options.out:  # after each network, so that a run that was cut leaves what it had
            about = __doc__.split("\n", 2)[2].split("    python", 1)[0]
            about_networks = [{"network": n.name, "what": n.about} for n in chosen]
            tables = {"Networks": about_networks, "Speed": level(rows)}
            write_tables(options.out, "Bit-exact emulation on one thread", about, stamped, tables)
    for row in rows:
        print(row)


def level(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same columns in every row."""
    columns = {key: None for row in rows for key in row}
    return [{**columns, **row} for row in rows]


if __name__ == "__main__":
    main()
