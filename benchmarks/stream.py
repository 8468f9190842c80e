"""How fast does the supernova trigger run over a stream on one core?

A plane gives an image of 480 x 64 samples every 32.8 us, so a core keeps up where one takes less.
All blocks are simulated before, repeat, and lie in memory; processes are bound to one processor.
"cpu us" is the processor time of the process: on a machine that others use too it says more than
the seconds, which are medians over calls. "p50", "p99" and "p99.9" are seconds too, and contain
whatever else the machine did.

- The front: C++ for its configuration (what runs), the C++ of its Graph, and NumPy.
- The network: the C++ of the decision's Graph, on images of noise that pass the gate, one by one
  and many at once.
- The chain: raw ticks to decisions. "gate closed": no image passes; "noise": what passes of noise;
  "signal": with 2,000 nu_e CC a second in the plane, a supernova nearby; "gate open": each image
  goes through the network, the most that any stream can ask for.
- Latencies: from a block being there to its decisions, by the size of blocks. To them comes the
  time that a block takes to fill.
- A run: with a reader thread, injected events, windows and journal, as `hairtrigger stream` does
  it; several planes are as many processes, side by side on all processors.
- Sources: how fast they bring blocks of 480 wires.

    python benchmarks/stream.py --trigger FOLDER [--out docs/benchmarks/stream]
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from written import stamp, write_tables

from hairtrigger.cpp.library import compile_graph
from hairtrigger.detectors.lartpc_config import TICKS
from hairtrigger.detectors.lartpc_stream import stream
from hairtrigger.detectors.wib import COLLECTION, WIBETH, Link, encode_wibeth
from hairtrigger.graph.passes import optimise
from hairtrigger.graph.steps import reset_registers
from hairtrigger.stream.block import SourceBlock
from hairtrigger.stream.chain import Chain, compile_trigger
from hairtrigger.stream.run import digest, run_stream
from hairtrigger.stream.source import open_source
from hairtrigger.studies.supernova_front import FrontState, step
from hairtrigger.studies.supernova_front_graph import front_graph
from hairtrigger.studies.supernova_trigger import Trigger, read_trigger

SEED = 7
IMAGES = 512
BLOCK = 2048
SECONDS = 3.0
BURST_HZ = 2000.0
QUANTILES = {"p50": 50, "p99": 99, "p99.9": 99.9}


def simulated(rate: float, events: int = 0) -> NDArray[np.uint16]:
    """IMAGES images of a stream, (ticks, wires), with ``events`` nu_e CC besides random ones."""
    rates = {"nue_cc": rate} if rate else {}
    ticks = IMAGES * TICKS
    placed = [("nue_cc", ticks * (n + 1) // (events + 1)) for n in range(events)]
    parts = stream(ticks, seed=SEED, rates=rates, events=placed, block=BLOCK)
    return np.concatenate([part.counts for part in parts])


def timed(call: Callable[[], object], images: int, seconds: float = SECONDS) -> dict[str, float]:
    """Calls for a while: times of an image in us."""
    call()
    times: list[float] = []
    cpu = time.process_time()
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    cpu = time.process_time() - cpu
    return {
        "us_an_image": round(1e6 * statistics.median(times) / images, 2),
        "best_us": round(1e6 * min(times) / images, 2),
        "cpu_us": round(1e6 * cpu / images / len(times), 2),
    }


def blocks_of(samples: NDArray[np.uint16], size: int = BLOCK) -> Iterator[NDArray[np.uint16]]:
    """Blocks of the samples over and over."""
    parts = [samples[n : n + size] for n in range(0, len(samples), size)]
    return itertools.cycle(parts)


# --- parts --------------------------------------------------------------------------------------


def fronts(trigger: Trigger, noise: NDArray[np.uint16]) -> list[dict[str, Any]]:
    config = trigger.front
    pedestal = np.median(noise[:256], axis=0)
    images = BLOCK // TICKS
    fast, _ = compile_trigger(trigger)
    held = fast.pack(FrontState.start(config, pedestal))
    blocks = blocks_of(noise)
    rows = [
        {"front": "C++ of its configuration", **timed(lambda: fast.run(held, next(blocks)), images)}
    ]

    library = compile_graph(optimise(front_graph(config, pedestal)))
    state = [reset_registers(library.graph)]

    def by_graph() -> None:
        state[0] = library.steps_from([next(blocks)], state[0])[1]

    rows.append({"front": "C++ of its Graph", **timed(by_graph, images)})
    numpy_state = [FrontState.start(config, pedestal)]

    def by_numpy() -> None:
        numpy_state[0] = step(config, numpy_state[0], next(blocks))[1]

    rows.append({"front": "NumPy", **timed(by_numpy, images)})
    return rows


def networks(trigger: Trigger, noise: NDArray[np.uint16]) -> list[dict[str, Any]]:
    libraries = compile_trigger(trigger)
    chain = Chain(trigger, libraries=libraries)
    found = [chain.feed(n, noise[n : n + BLOCK]).pixels for n in range(0, len(noise), BLOCK)]
    pixels = np.concatenate(found)[..., None]
    if not len(pixels):
        return []
    many = np.ascontiguousarray(np.resize(pixels, (256, *pixels.shape[1:])))
    rows = []
    for count in (1, 8, 256):
        parts = itertools.cycle([many[n : n + count] for n in range(0, 256, count)])

        def decide(parts: Any = parts) -> None:
            libraries[1](next(parts))

        rows.append({"images_at_once": count, **timed(decide, count)})
    return rows


def chains(
    trigger: Trigger, noise: NDArray[np.uint16], signal: NDArray[np.uint16]
) -> list[dict[str, Any]]:
    rows = []
    cases = (
        ("gate closed", replace(trigger, gate=1 << 20), noise),
        ("noise", trigger, noise),
        ("signal", trigger, signal),
        ("gate open", replace(trigger, gate=0), noise),
    )
    for name, changed, samples in cases:
        chain = Chain(changed, counts_per_tick=1)
        blocks = blocks_of(samples)
        counts = np.zeros(2, np.int64)

        def feed(chain: Chain = chain, blocks: Any = blocks, counts: Any = counts) -> None:
            images = chain.feed(chain.timestamp, next(blocks))
            counts[:] += len(images), images.gated.sum()

        feed()
        found = timed(feed, BLOCK // TICKS)
        rows.append(
            {
                "stream": name,
                "past_the_gate": round(float(counts[1] / counts[0]), 4),
                **found,
                "real_time": round(TICKS * 0.512 / found["us_an_image"], 2),
                "real_time_by_cpu": round(TICKS * 0.512 / found["cpu_us"], 2),
            }
        )
    return rows


def latencies(trigger: Trigger, noise: NDArray[np.uint16]) -> list[dict[str, Any]]:
    rows = []
    for size in (64, 256, 1024, 2048):
        chain = Chain(trigger, counts_per_tick=1)
        blocks = blocks_of(noise, size)
        chain.feed(0, noise[:BLOCK])
        times = []
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            block = next(blocks)
            start = time.perf_counter()
            chain.feed(chain.timestamp, block)
            times.append(time.perf_counter() - start)
        found = {n: f"{1e6 * np.percentile(times, q):.3g} us" for n, q in QUANTILES.items()}
        rows.append({"ticks_of_a_block": size, "blocks": len(times), **found})
    return rows


# --- runs ---------------------------------------------------------------------------------------


class Memory:
    """Blocks in memory as a source, as often as asked for."""

    name, counts_per_tick, tick_s = "memory", 32, 512e-9
    replayable, live, origin = True, False, 0

    def __init__(self, samples: NDArray[np.uint16], images: int) -> None:
        self._parts, self._ticks = blocks_of(samples), images * TICKS

    def blocks(self, skip: int) -> Iterator[SourceBlock]:
        for tick in range(skip, self._ticks, BLOCK):
            yield SourceBlock(32 * tick, next(self._parts))

    def faults(self) -> dict[str, int]:
        return {}

    def stop(self) -> None: ...

    def close(self) -> None: ...


def one_run(folder: str, path: str, images: int, out: str, processor: int) -> dict[str, Any]:
    os.sched_setaffinity(0, {processor})
    cpu = time.process_time()
    source = Memory(np.load(path), images)
    done = run_stream(source, read_trigger(Path(folder)), Path(out))
    return {**done.summary, "cpu": time.process_time() - cpu}


def runs(folder: Path, samples: dict[str, NDArray[np.uint16]], images: int) -> list[dict[str, Any]]:
    processors = sorted(os.sched_getaffinity(0))
    rows = []
    for (name, raw), planes in itertools.product(samples.items(), (1, 2, 4)):
        with tempfile.TemporaryDirectory() as kept:
            np.save(f"{kept}/raw.npy", raw)
            tasks = [
                (
                    str(folder),
                    f"{kept}/raw.npy",
                    images,
                    f"{kept}/{n}",
                    processors[n % len(processors)],
                )
                for n in range(planes)
            ]
            with multiprocessing.get_context("spawn").Pool(planes) as pool:
                found = pool.starmap(one_run, tasks, chunksize=1)
        seconds = max(one["session"]["seconds"] for one in found)
        total = sum(one["images"] for one in found)
        rows.append(
            {
                "stream": name,
                "planes": planes,
                "processors": min(planes, len(processors)),
                "images_a_second": round(total / seconds),
                "cpu_us": round(1e6 * sum(one["cpu"] for one in found) / total, 2),
                "kept": round(sum(one["kept"] for one in found) / total, 6),
                **_worst(found),
            }
        )
    return rows


def _worst(found: list[dict[str, Any]]) -> dict[str, str]:
    """Quantiles of the latency in the plane where each is largest."""
    each = [one["session"]["latency_s"] for one in found]
    return {name: f"{1e3 * max(one[name] for one in each):.3g} ms" for name in QUANTILES}


def sources(trigger: Trigger, noise: NDArray[np.uint16]) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/run.npy", noise)
        links = tuple(Link(3, 1, n // 4, n % 4) for n in range(20))
        whole = np.full((len(noise), 20, WIBETH.channels), 2000, np.uint16)
        whole[:, :, COLLECTION["WIBEth"]] = noise.reshape(len(noise), 20, 24)
        frames = encode_wibeth(whole.reshape(len(noise), -1), first_timestamp=0, links=links)
        frames.tofile(f"{folder}/run.bin")
        for name, what in (("run.npy", ".npy of the plane"), ("run.bin", "WIBEth, 20 links")):
            path = Path(folder, name)

            def read(path: Path = path) -> None:
                source = open_source(str(path), trigger.front)
                for _ in source.blocks(0):
                    pass
                source.close()

            found = timed(read, IMAGES)
            size = path.stat().st_size / IMAGES
            speed = {"MB_a_second": round(size / found["us_an_image"])}
            rows.append({"source": what, **found, **speed})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trigger", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--images", type=int, default=100_000, help="of a run")
    chosen = parser.parse_args()
    trigger = read_trigger(chosen.trigger)
    compile_trigger(trigger)
    processors = os.sched_getaffinity(0)
    noise, signal = simulated(0), simulated(BURST_HZ)
    before = os.getloadavg()[0]
    os.sched_setaffinity(0, {min(processors)})
    tables = {
        "Front, one image": fronts(trigger, noise),
        "Network, one image": networks(trigger, noise),
        "Chain, one plane, one core": chains(trigger, noise, signal),
        "Latency of a block at noise": latencies(trigger, noise),
        "Sources": sources(trigger, noise),
    }
    os.sched_setaffinity(0, processors)
    streams = {"noise": noise, "60 nu_e CC a second": simulated(0, events=1)}
    tables["Runs"] = runs(chosen.trigger, streams, chosen.images)
    for name, found in tables.items():
        print(name, *map(json.dumps, found), sep="\n  ", flush=True)
    if chosen.out:
        about = {
            "trigger": digest(trigger),
            "gate": trigger.gate,
            "seed": SEED,
            "goal": "32 us an image at full noise, aim 10 us",
            "load of the machine before": round(before, 1),
            "load of the machine after": round(os.getloadavg()[0], 1),
            **stamp(),
        }
        write_tables(chosen.out, "The trigger over a stream", __doc__, about, tables)


if __name__ == "__main__":
    main()
