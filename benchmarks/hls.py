"""Implementations of one network beside each other: hls4ml with and without injected functions, and
hairtrigger's own Verilog.

The network has the shape of the supernova trigger's: an image of 16 x 120 pixels of 4 bits (the
collection plane, 64 ticks x 480 wires, downsized by 4 x 4), two convolutions, two pools and a Dense
of five classes. Without --model its weights are random (fixed seed): the page is about circuits.

Each project of hls4ml is written, its C simulation is compiled with g++ and compared with the
emulator, integer by integer, on adversarial and random images; so is the Verilog in Verilator. What
HLS makes of a project, only Vitis can say: clocks, interval and resources of those rows are "not
known" unless a report of it is given (--reports FOLDER, files ROW.xml or ROW.json). Nothing in this
table is a guess.

"Toggles" are bits of named signals that change in the simulated Verilog from clock to clock, clock
and reset left out, for one image: an empty one, one with a track of 60 pixels, and one whose pixels
are all random. They stand in for dynamic power; glitches and wires are not in them.

    python benchmarks/hls.py [--out docs/benchmarks/hls] [--model net.keras] [--reports FOLDER]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from written import PACKAGES, stamp, write_tables

from hairtrigger.backends.hls import Target, emit
from hairtrigger.backends.rtl import activity, simulate, synthesise
from hairtrigger.errors import MismatchError
from hairtrigger.fixed import Fixed
from hairtrigger.frontends.hgq import from_hgq
from hairtrigger.frontends.keras_file import import_keras, load_model
from hairtrigger.graph import Graph, emulate_codes
from hairtrigger.graph.passes import optimise
from hairtrigger.graph.stimulus import extreme_codes, join_events, random_codes
from hairtrigger.hls import shipped
from hairtrigger.hls.injection import IO_TYPES, Injection
from hairtrigger.hls.report import Report, read_report
from hairtrigger.rtl.design import compile_graph

SEED = 1
SHAPE = (16, 120, 1)
RAW = (64, 480)
ADC = Fixed(False, 10, 4)
"""14-bit samples above the pedestal, in 1/16: what the sum of 16 of them is divided by."""
THRESHOLD = 40
PART, CLOCK = "xcvu13p", "320 MHz"
INTERVALS = (16, 128)
UNKNOWN = "not known"
IMAGES = 24
"""Images of each kind whose toggles are counted."""


def random_network() -> Any:
    """The default network: weights of 4 bits, drawn once."""
    keras = import_keras()
    from hgq.config import LayerConfigScope, QuantizerConfig, QuantizerConfigScope
    from hgq.layers import QConv2D, QDense, QMaxPooling2D

    keras.utils.set_random_seed(SEED)
    tensor = {"homogeneous_axis": None, "heterogeneous_axis": ()}
    safe = {"overflow_mode": "SAT", "round_mode": "RND"}
    pixels = {"k0": False, "i0": 4, "f0": 0, "trainable": False}
    with (
        QuantizerConfigScope(place="datalane", i0=4, f0=0, **tensor, **safe),
        QuantizerConfigScope(place="weight", i0=0, f0=3, overflow_mode="SAT_SYM"),
        LayerConfigScope(enable_ebops=False),
    ):
        first = QuantizerConfig("kif", place="datalane", **pixels, **tensor, **safe)
        options = {"padding": "same", "activation": "relu"}
        x = inputs = keras.Input(SHAPE, name="image")
        x = QConv2D(4, 3, iq_conf=first, name="conv1", **options)(x)
        x = QMaxPooling2D((2, 4), name="pool1")(x)
        x = QConv2D(4, 3, name="conv2", **options)(x)
        x = QMaxPooling2D((2, 3), name="pool2")(x)
        x = QDense(5, name="classes")(keras.layers.Flatten(name="flat")(x))
    return keras.Model(inputs, x, name="supernova_shaped")


def hls_rows(model: Any, graph: Graph, reports: Path | None, events: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    # A row of the detector, 480 wires, is one word of a stream.
    front = shipped.front(graph, RAW, ADC, threshold=THRESHOLD, channels=True)
    packed = shipped.packed_conv(graph)
    ways: dict[str, tuple[Injection, ...]] = {
        "plain": (),
        "front": (front,),
        "packed": (packed,),
        "early exit": (shipped.early_exit(graph),),
        "all three": (front, packed, shipped.early_exit(graph, [front], threshold=THRESHOLD)),
    }
    for io_type in IO_TYPES:
        for name, injections in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                target = Target(
                    io_type=io_type, part=PART, clock=CLOCK, injections=injections, name="net"
                )
                artifact = emit(model, target, folder)
                found = artifact.verify(random_events=events, seed=SEED)
            given = found_report(reports, f"{name} {io_type}".replace(" ", "_"))
            rows.append(
                {
                    "implementation": f"hls4ml {io_type}, {name}",
                    "equal numbers": found.values + sum(found.injections.values()),
                    "of images": found.events,
                    **figures(given),
                    "how known": "estimate by HLS report" if given else "not known: needs Vitis",
                }
            )
            print(rows[-1], flush=True)
    return rows


def found_report(folder: Path | None, name: str) -> Report | None:
    for end in (".xml", ".json"):
        if folder is not None and (folder / f"{name}{end}").is_file():
            return read_report(folder / f"{name}{end}")
    return None


def figures(given: Report | None) -> dict[str, Any]:
    """Columns of a row of HLS: a report's, or that nobody knows."""
    said = {"clocks": given.latency, "interval": given.interval} if given else {}
    named = given.resources if given else {}
    return {
        "clocks": said.get("clocks") or UNKNOWN,
        "interval": said.get("interval") or UNKNOWN,
        **{x: named.get(x, UNKNOWN) for x in ("LUT", "FF", "DSP")},
        **dict.fromkeys(("toggles empty", "toggles track", "toggles full"), UNKNOWN),
    }


def rtl_rows(graph: Graph, name: str, intervals: tuple[int, ...]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    images = kinds(graph)
    for interval in intervals:
        design = compile_graph(graph, PART, CLOCK, interval=interval, axis=0)
        codes = join_events([extreme_codes(graph), random_codes(graph, 60, SEED)])
        simulated = simulate(design, codes)
        expected = emulate_codes(graph, codes)
        for a, b in zip(simulated.codes, expected, strict=True):
            if not np.array_equal(a, b):
                raise MismatchError(f"The Verilog of {name} differs from the emulator.")
        size = synthesise(design)
        toggles = {kind: activity(design, [x]) for kind, x in images.items()}
        rows.append(
            {
                "implementation": f"hairtrigger RTL, {name}",
                "equal numbers": sum(x.size for x in expected),
                "of images": len(codes[0]),
                "clocks": simulated.latency,
                "interval": interval,
                "LUT": size.lut_logic + size.lut_memory,
                "FF": size.ff,
                "DSP": size.dsp,
                **{f"toggles {kind}": round(x.per_event) for kind, x in toggles.items()},
                "how known": "simulated RTL; LUT, FF, DSP synthesised by Yosys",
            }
        )
        print(rows[-1], flush=True)
    return rows


def kinds(graph: Graph) -> dict[str, np.ndarray]:
    """Images of each kind whose toggles are counted."""
    t = graph.input_ops[0].type
    rng = np.random.default_rng(SEED)
    highest = int(t.range().high.max())
    track = np.zeros((IMAGES, *t.shape), dtype=np.int64)
    scale = t.shape[0] // SHAPE[0]
    for image in track:
        start, slope = rng.integers(20, 100), rng.choice([-1, 1])
        for n in range(60):
            row, column = n // 6 * scale + 2, (start + slope * (n // 2)) % SHAPE[1] * scale
            image[row, column] = rng.integers(highest // 2, highest + 1)
    return {
        "empty": np.zeros_like(track),
        "track": track,
        "full": rng.integers(0, highest + 1, track.shape),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/hls"))
    parser.add_argument("--model", type=Path, help="a .keras file with one image of one channel")
    parser.add_argument("--reports", type=Path, help="folder of reports of Vitis HLS")
    parser.add_argument("--events", type=int, default=200, help="random images of each project")
    options = parser.parse_args()
    model = load_model(options.model) if options.model else random_network()
    graph = from_hgq(model)
    front = shipped.front(graph, RAW, ADC, threshold=THRESHOLD, channels=True)
    assert front.meaning is not None
    rtl = rtl_rows(optimise(graph), "network", INTERVALS)
    rtl += rtl_rows(optimise(front.meaning), "front alone", (64,))
    hls = hls_rows(model, graph, options.reports, options.events)
    facts: Mapping[str, Any] = {
        "network": f"{model.name}, {model.count_params():,} parameters, input {SHAPE}",
        "weights": options.model.name if options.model else f"random, seed {SEED}",
        "part and clock": f"{PART}, {CLOCK} (estimate by the delay model)",
        "threshold of the front": f"{THRESHOLD} of 14 bits",
        "cpus": f"{os.cpu_count()}, shared with other work",
    }
    write_tables(
        options.out,
        "Implementations of one network",
        (__doc__ or "").split("\n    python")[0],
        {**stamp(), **facts},
        {"Implementations": [*rtl, *hls]},
    )


if __name__ == "__main__":
    # This page rests on hls4ml too.
    import written

    written.PACKAGES = (*PACKAGES, "hls4ml", "hgq2", "keras")
    main()
