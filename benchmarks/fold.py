"""One network at many intervals: does its size fall as the interval grows, and is it still exact?

Two convolutional networks with fixed random weights (what is measured is folding, not physics): one
for a 9 x 384 image of bits, one for a 480 x 64 image of 6-bit samples. Each is compiled for every
interval of a list, simulated with Verilator against the emulator, and synthesised with Yosys.

"Ideal" halves the LUTs where the interval doubles, counted from the first interval of the table.
The list ends where a layer is down to one instance, which cannot be halved; one step beyond that
shows what happens then.

    python benchmarks/fold.py [--out docs/benchmarks/fold] [--network muon|supernova] [--images 12]

Syntheses and simulators are kept in the tool cache, so a run that was cut goes on where it was.
With --keep, rows that are left out stay as the page has them: each row names the commit that it was
measured at, the page that of the last call.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from written import stamp, write_tables

from hairtrigger.backends.rtl import simulate, synthesise
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, emulate_codes
from hairtrigger.graph.linear import Conv, Dense, GlobalSum, MaxPool
from hairtrigger.graph.moves import Reshape
from hairtrigger.graph.ops import Input, Quantize, Relu
from hairtrigger.graph.stimulus import extreme_codes, join_events, random_codes
from hairtrigger.rtl.design import Design, compile_graph
from hairtrigger.rtl.netlist import Instance

REASONS = """Why rows miss the goal is in the last table: LUTs of the netlist by kind of circuit,
for the last row within the goal and those beyond it, beside the LUTs that "ideal" leaves. What does
not halve:

- A convolution comes in whole instances, each unrolled over its channels. Where the positions of a
  layer do not divide evenly among the clocks, an instance idles in a part of them, and one is the
  least. Folding over channels, which would go on from there, is not built.
- The Dense behind the sum is there once however long the interval is, and so is the sum's adder.
- Line buffers hold the same pixels whatever the interval (in flip-flops, then in shift-register
  LUTs); selects before shared instances and their counters grow as instances get fewer.

"that do not fold" adds up the last two: sum, dense, line buffers, selects."""

SEED = 1
GOAL = 1.5
"""LUT times interval may be so much above the ideal."""


class Network:
    """Adds layers with random weights to a Builder."""

    def __init__(self, name: str, shape: tuple[int, ...], bits: int) -> None:
        self.rng = np.random.default_rng(SEED)
        self.builder = Builder(name)
        fixed = Fixed(False, bits, 0)
        self.x = self.builder.add(Input("image", TensorType.uniform(shape, fixed)))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.builder.type(self.x).shape

    def weights(self, shape: tuple[int, ...], density: float) -> Literal:
        kept = self.rng.random(shape) < density
        return Literal(self.rng.integers(-4, 5, shape) * kept, 2)

    def conv(self, channels: int, strides: tuple[int, int] = (1, 1), density: float = 0.6) -> None:
        kernel = self.weights((3, 3, self.shape[-1], channels), density)
        bias = self.weights((channels,), 1.0)
        op = Conv(kernel, bias, strides, ((1, 1), (1, 1)))
        self.x = self.builder.add(op, self.x, label="conv")
        self.quantize(1, 2)

    def quantize(self, integer: int, fraction: int) -> None:
        t = TensorType.uniform(self.shape, Fixed(False, integer, fraction))
        self.x = self.builder.add(Relu(), self.x)
        self.x = self.builder.add(Quantize(t, Rounding.TRN, Overflow.SAT), self.x)

    def pool(self, *window: int) -> None:
        op = MaxPool(window, window, ((0, 0), (0, 0)))
        self.x = self.builder.add(op, self.x, label="pool")

    def dense(self, size: int, density: float) -> None:
        kernel = self.weights((self.shape[-1], size), density)
        self.x = self.builder.add(Dense(kernel, self.weights((size,), 1.0)), self.x, label="dense")


def muon() -> Graph:
    """9 x 384 bits: two convolutions, pooling by (3, 2), a sum along the strips, a Dense."""
    net = Network("muon", (9, 384, 1), 1)
    net.conv(6)
    net.pool(3, 2)
    net.conv(8)
    net.x = net.builder.add(GlobalSum((1,)), net.x)
    net.x = net.builder.add(Reshape((24,)), net.x)
    net.dense(4, 0.5)
    return net.builder.build([net.x])


def supernova() -> Graph:
    """480 x 64 samples of 6 bits: two convolutions, pooling by (2, 2), a sum over all, a Dense."""
    net = Network("supernova", (480, 64, 1), 6)
    net.conv(4)
    net.pool(2, 2)
    net.conv(6)
    net.x = net.builder.add(GlobalSum((0, 1)), net.x)
    net.dense(3, 1.0)
    return net.builder.build([net.x])


@dataclass(frozen=True)
class Case:
    """A network and the intervals at which it is compiled."""

    make: Callable[[], Graph]
    intervals: tuple[int, ...]
    axis: int


CASES = {
    "muon": Case(muon, (1, 2, 4, 8, 16, 32, 64, 96, 192, 384, 1152), 1),
    "supernova": Case(supernova, (64, 128, 192, 320, 640, 960, 1920, 3840, 7680, 15360), 1),
}


def instances(design: Design) -> dict[str, int]:
    """Instances of the convolutions, the Dense and so on."""
    parts = design.top.module.body
    return dict(Counter(p.label.split("_")[0] for p in parts if isinstance(p, Instance)))


def measure(case: Case, interval: int, images: int) -> dict[str, object]:
    """Compile, simulate, synthesise; a row of the table."""
    graph = case.make()
    started = time.perf_counter()
    design = compile_graph(graph, "xcvu13p", "320 MHz", interval=interval, axis=case.axis)
    seconds = time.perf_counter() - started
    extremes = tuple(x[:2] for x in extreme_codes(graph))
    codes = join_events([extremes, random_codes(graph, images - 2, seed=SEED)])
    result = simulate(design, codes)
    wrong = sum(
        int((a != b).reshape(images, -1).any(axis=1).sum())
        for a, b in zip(result.codes, emulate_codes(graph, codes), strict=True)
    )
    started = time.perf_counter()
    used = synthesise(design)
    return {
        "interval": interval,
        "words": design.words,
        "instances": instances(design),
        "lut": used.lut,
        "ff": used.ff,
        "dsp": used.dsp,
        "latency": result.latency,
        "images": images,
        "wrong": wrong,
        "compile_s": round(seconds, 2),
        "synthesis_s": round(time.perf_counter() - started, 1),
        "commit": stamp()["commit"],
    }


def finished(rows: list[dict[str, object]]) -> None:
    """Add what compares a row with the first."""
    first = rows[0]
    for row in rows:
        product = int(row["lut"]) * int(row["interval"])
        row["lut_x_interval"] = product
        row["of_ideal"] = round(product / (int(first["lut"]) * int(first["interval"])), 2)
        halved = all(n > 1 for n in dict(row["instances"]).values() if n)
        convs = dict(row["instances"]).get("conv", 0)
        row["limit"] = "" if halved or convs > 2 else "one instance of each convolution"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--network", choices=sorted(CASES), action="append")
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--from-interval", type=int, default=1, help="leave out shorter ones")
    parser.add_argument("--to-interval", type=int, default=1 << 30, help="leave out longer ones")
    parser.add_argument(
        "--keep", action="store_true", help="rows left out stay as the page has them"
    )
    chosen = parser.parse_args()
    kept = json.loads(chosen.out.with_suffix(".json").read_text())["tables"] if chosen.keep else {}
    tables: dict[str, list[dict[str, object]]] = {}
    for name in list(CASES):
        rows = tables.setdefault(name, [])
        before = {row["interval"]: row for row in kept.get(name, [])}
        for interval in CASES[name].intervals:
            wanted = chosen.from_interval <= interval <= chosen.to_interval
            if not wanted or name not in (chosen.network or CASES):
                if interval in before:
                    rows.append(before[interval])
                continue
            rows.append(measure(CASES[name], interval, chosen.images))
            finished(rows)
            print(name, rows[-1], flush=True)
            about = {"seed": SEED, "goal": f"LUT x interval within {GOAL} of ideal", **stamp()}
            if chosen.out:
                full = {title: rows for title, rows in {**kept, **tables}.items() if rows}
                write_tables(chosen.out, "Folding", __doc__, about, full)


if __name__ == "__main__":
    main()
