"""The supernova chain on chips and on a processor: raw ticks of 480 wires in, decisions out.

Chips: the front (pedestals, boards' means, matched filter, threshold, downsize to 16 x 120 pixels
of 4 bits) and a small convolutional network with fixed random weights (what is measured is the
chain, not physics) in one top module. Each is simulated in Verilator on raw ticks against the
emulator, and synthesised by Yosys. A row says what was chosen (part, clock, time from tick to tick)
and what came out: clocks in which a tick and an image enter, LUTs (logic and memory), flip-flops,
the share of the part's LUTs, and the latency from the last sample of an image to its decision, in
clocks as counted in simulation and in microseconds at that clock. That the clock is reached is an
estimate of the delay model until the vendor's tool has seen it. An image comes every 64 ticks.

Software: the same front, one process on one core, best of several runs. "a tick alone" is 64 calls
with one tick each; "front and network" adds the network of the chips on every image.

    python benchmarks/supernova_chain.py [--out docs/benchmarks/supernova_chain] [--images 200]
        [--part chips|software] [--rows 0,1]

Syntheses and simulators are kept in the tool cache. With --keep, rows that are left out stay as the
page has them; each names the commit that it was measured at.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fold import Network
from written import stamp, write_tables

from hairtrigger.backends.rtl import synthesise
from hairtrigger.backends.rtl_chain import simulate_chain, synthesise_chain
from hairtrigger.cpp.library import Library, compile_graph
from hairtrigger.graph import Graph, emulate_codes
from hairtrigger.graph.linear import GlobalSum
from hairtrigger.graph.passes import optimise
from hairtrigger.rtl.chain import compile_chain, emulate_chain
from hairtrigger.studies.supernova_front import FrontConfig, FrontState, front, step
from hairtrigger.studies.supernova_front_fast import front_fast
from hairtrigger.studies.supernova_front_graph import front_graph, front_interval
from hairtrigger.targets import find_part, parse_clock, parse_interval

SEED = 1
PEDESTAL = 3660
SIGMA = 10.7
"""Noise of a wire, ADC counts of 14 bits."""
PULSE = 2.6
"""Sigma of a pulse of FWHM 6, ticks."""


def network(config: FrontConfig) -> Graph:
    """Two convolutions with a pooling between them, a sum over the image, five classes."""
    net = Network("cnn", (16, config.columns, 1), config.pixel_bits)
    net.conv(4)
    net.pool(2, 2)
    net.conv(6)
    net.x = net.builder.add(GlobalSum((0, 1)), net.x)
    net.dense(5, 1.0)
    return net.builder.build([net.x])


def stream(images: int, config: FrontConfig) -> np.ndarray:
    """Gaussian noise, half of it common to a board; pulses in every other image; some extremes."""
    rng = np.random.default_rng(SEED)
    ticks = np.arange(images * 64)
    half = SIGMA / np.sqrt(2)
    x = np.empty((len(ticks), config.wires), dtype=np.uint16)
    for first in range(0, len(ticks), 64):
        part = rng.normal(PEDESTAL, half, (64, config.wires))
        part += np.repeat(rng.normal(0, half, (64, config.boards)), config.board, axis=1)
        if first // 64 % 2:
            for _ in range(12):
                pulse = np.exp(-0.5 * ((np.arange(64) - rng.uniform(0, 64)) / PULSE) ** 2)
                part[:, rng.integers(config.wires)] += rng.uniform(30, 2000) * pulse
        x[first : first + 64] = np.clip(np.rint(part), 0, (1 << config.bits) - 1)
    x[64 * 3 + 10] = (1 << config.bits) - 1
    x[64 * 5 + 10] = 0
    return x


@dataclass(frozen=True)
class Row:
    """What a chain is compiled for; ``axis``: along which the image enters the network."""

    part: str
    clock: str
    tick: str
    axis: int = 0


ROWS = (
    Row("xcvu13p", "200 MHz", "512 ns"),
    Row("xcvu13p", "320 MHz", "512 ns"),
    Row("xcvu13p", "320 MHz", "128 ns"),
    Row("xcu250", "200 MHz", "512 ns"),
    Row("xcu250", "320 MHz", "128 ns"),
    Row("xcku115", "200 MHz", "512 ns"),
    Row("xcku115", "200 MHz", "128 ns"),
    Row("xcvu13p", "200 MHz", "512 ns", 1),
)


def chip(row: Row, images: int) -> dict[str, object]:
    """Compile, simulate, synthesise; a row of the table."""
    config = FrontConfig()
    clock = parse_clock(row.clock)
    first, second = optimise(front_graph(config, PEDESTAL)), optimise(network(config))
    started = time.perf_counter()
    chain = compile_chain(
        first,
        second,
        row.part,
        row.clock,
        tick=row.tick,
        front_interval=front_interval(config, parse_interval(row.tick, clock)),
        axis=row.axis,
    )
    seconds = time.perf_counter() - started
    ticks = stream(images, config).astype(np.int64)
    expected = emulate_chain(first, second, ticks)
    result = simulate_chain(chain, ticks)
    wrong = int((result.codes[0] != expected[0]).any(axis=1).sum())
    alone, used = synthesise(chain.front), synthesise_chain(chain)
    late = result.latency - (chain.front.words - 1)
    return {
        "part": row.part,
        "clock": row.clock,
        "tick": row.tick,
        "axis": row.axis,
        "tick_clocks": chain.tick,
        "image_us": round(chain.image_ns / 1e3, 2),
        "words_a_tick": chain.front.words,
        "words_an_image": chain.network.words,
        "front_lut": alone.lut_logic,
        "front_lut_memory": alone.lut_memory,
        "front_ff": alone.ff,
        "lut": used.lut_logic,
        "lut_memory": used.lut_memory,
        "ff": used.ff,
        "dsp": used.dsp,
        "bram18": used.bram18 + 2 * used.bram36,
        "lut_percent": round(100 * used.lut / find_part(row.part).lut, 2),
        "latency_clocks": late,
        "latency_us": round(late * clock.period_ns / 1e3, 2),
        "images": images,
        "decisions": len(np.unique(expected[0], axis=0)),
        "wrong": wrong,
        "compile_s": round(seconds, 1),
        "commit": stamp()["commit"],
    }


def best(run: Callable[[], object], times: int) -> float:
    """Seconds of the fastest of several runs."""
    found: list[float] = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        found.append(time.perf_counter() - started)
    return min(found)


def apart(x: np.ndarray) -> np.ndarray:
    """A stream as images."""
    return x.reshape(-1, 64, x.shape[1])


def software(images: int) -> list[dict[str, object]]:
    """Microseconds an image of the front in NumPy, the emulator and C++."""
    rows: list[dict[str, object]] = []
    for bits in (14, 12):
        config = FrontConfig.of(bits)
        graph = optimise(front_graph(config, PEDESTAL >> (14 - bits)))
        x = stream(images, FrontConfig()) >> (14 - bits)
        library = compile_graph(graph)
        state = FrontState.start(config, PEDESTAL >> (14 - bits))
        rows_numpy = step(config, state, x)[0]
        pixels, ready = library(x)
        wrong = int((pixels[ready[:, 0] == 1] != rows_numpy).any(axis=1).sum())
        few = x[: 64 * 20].astype(np.int64)
        codes, outs = x[:1].copy(), [o[:1].copy() for o in (pixels, ready)]
        call = library.bind([codes], outs)
        behind = compile_graph(optimise(network(config)))

        def chain(first: Library = library, then: Library = behind, x: np.ndarray = x) -> object:
            rows = first(x)[0][3::4]
            return then(rows.reshape(-1, 16, rows.shape[1], 1))

        timed: list[tuple[str, Callable[[], object], float, int]] = [
            ("C++, a stream", lambda library=library, x=x: library(x), images, 25),
            ("C++, front and network", chain, images, 25),
            ("C++, a tick alone", lambda call=call: [call() for _ in range(640)], 10, 7),
            ("C++, images alone", lambda x=x, c=config: front_fast(apart(x), c), images, 5),
            (
                "NumPy, images alone",
                lambda x=x, c=config: front(x.reshape(-1, 64, 480), c),
                images,
                2,
            ),
            ("NumPy, a stream", lambda c=config, s=state, x=x: step(c, s, x), images, 2),
            ("emulator", lambda graph=graph, few=few: emulate_codes(graph, [few]), 20, 2),
        ]
        for name, run, count, times in timed:
            seconds = best(run, times)
            rows.append(
                {
                    "engine": name,
                    "adc_bits": bits,
                    "us_an_image": round(seconds / count * 1e6, 2),
                    "images_a_second": round(count / seconds),
                    "rows_compared": len(rows_numpy),
                    "wrong": wrong,
                    "commit": stamp()["commit"],
                }
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--part", choices=("chips", "software"), action="append")
    parser.add_argument("--rows", help="numbers of the chips' rows, with commas; all")
    parser.add_argument(
        "--keep", action="store_true", help="rows left out stay as the page has them"
    )
    chosen = parser.parse_args()
    kept = json.loads(chosen.out.with_suffix(".json").read_text())["tables"] if chosen.keep else {}
    wanted = {int(n) for n in chosen.rows.split(",")} if chosen.rows else set(range(len(ROWS)))
    tables: dict[str, list[dict[str, object]]] = {"chips": [], "software": kept.get("software", [])}
    before = {(r["part"], r["clock"], r["tick"], r["axis"]): r for r in kept.get("chips", [])}

    def write() -> None:
        if chosen.out:
            about = {"seed": SEED, "noise": f"{SIGMA} ADC counts of 14 bits", **stamp()}
            full = {title: rows for title, rows in tables.items() if rows}
            write_tables(chosen.out, "The supernova chain", __doc__, about, full)

    for n, row in enumerate(ROWS):
        if n in wanted and "chips" in (chosen.part or ("chips",)):
            tables["chips"].append(chip(row, chosen.images))
            print(tables["chips"][-1], flush=True)
            write()
        elif (row.part, row.clock, row.tick, row.axis) in before:
            tables["chips"].append(before[row.part, row.clock, row.tick, row.axis])
    if "software" in (chosen.part or ("software",)):
        tables["software"] = software(chosen.images)
    write()


if __name__ == "__main__":
    main()
