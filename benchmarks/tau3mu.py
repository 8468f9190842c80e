"""The tau3mu study on generated candidates: ways to be blind, and the network of coins as a chip.

Part "methods" trains every method at every strength and seed and writes what `judge` measures.
Part "chip" trains a sparse network of coins, compiles it with its generators, compares the
simulated Verilog with the emulator bit by bit, and measures AUC and mutual information on the bits
that came out of the Verilog, beside those of the network in software.

    python benchmarks/tau3mu.py methods|chip [--preset demo] [--out docs/studies/tau3mu-methods]
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
from written import stamp, write_tables

from hairtrigger import metrics_blind
from hairtrigger.backends.rtl import simulate, synthesise
from hairtrigger.detectors import lhcb_toy
from hairtrigger.errors import MismatchError
from hairtrigger.graph import Graph, emulate_codes
from hairtrigger.graph.emulate import encode
from hairtrigger.rtl.design import compile_graph
from hairtrigger.studies import tau3mu
from hairtrigger.studies.tau3mu_chip import ChipConfig, score_codes, to_graph, train_sparse
from hairtrigger.train import predict
from hairtrigger.train.bernoulli import LIKELIER, TOSS, toss_how

CLOCK = "200 MHz"
STRENGTH = 0.3
SEED = 1


def methods(preset: tau3mu.Tau3muPreset) -> dict[str, list[dict[str, Any]]]:
    """Mean and standard deviation over seeds of each figure, for each method and strength."""
    samples = tau3mu.simulate(preset, SEED)
    rows = []
    for method in tau3mu.METHODS:
        for strength in (0.0,) if method == "plain" else preset.strengths:
            found = []
            for seed in range(preset.seeds):
                model, _ = tau3mu.train(method, strength, samples, preset, SEED + seed)
                found.append(dataclasses.asdict(tau3mu.judge(model, samples, SEED + seed)))
            row: dict[str, Any] = {"method": method, "strength": strength}
            for name in found[0]:
                values = [figures[name] for figures in found]
                row[name] = None if None in values else _spread(values)
            rows.append(row)
            print(row, flush=True)
    return {"Methods": rows, "What can be reached": [dataclasses.asdict(_truth())]}


def _truth() -> lhcb_toy.Truth:
    return lhcb_toy.truth(lhcb_toy.LhcbConfig())


def _spread(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.4f}"
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"


def chip(preset: tau3mu.Tau3muPreset) -> dict[str, list[dict[str, Any]]]:
    samples, config = tau3mu.simulate(preset, SEED), ChipConfig()
    model, _ = train_sparse(STRENGTH, samples, preset, SEED, config)
    rows = []
    for how, variant in (("1 draw", model), ("16 draws", toss_how(model, TOSS, 16))):
        rows.append({"what": f"network, {how}", **_network(variant, samples)})
    rows.append({"what": "network, p >= 1/2", **_network(toss_how(model, LIKELIER), samples)})
    graph = to_graph(model, config, debug=True)
    rows.append({"what": "Verilog, 1 draw", **_verilog(graph, samples)})
    still = to_graph(model, dataclasses.replace(config, tossed=False), debug=True)
    rows.append({"what": "Verilog, p >= 1/2", **_verilog(still, samples)})
    sizes = []
    for name, tossed in (("coins", True), ("p >= 1/2", False)):
        bare = to_graph(model, dataclasses.replace(config, tossed=tossed))
        started = time.monotonic()
        design = compile_graph(bare, clock=CLOCK)
        found = synthesise(design)
        sizes.append(
            {
                "design": name,
                "LUT": found.lut_logic + found.lut_memory,
                "of them memory": found.lut_memory,
                "FF": found.ff,
                "DSP": found.dsp,
                "clocks": design.latency,
                "ns": round(design.latency_ns, 1),
                "interval [clocks]": design.interval,
                "seconds to compile": round(time.monotonic() - started),
            }
        )
    return {"Bits out of the Verilog": rows, "Size (Yosys)": sizes}


def _network(model: Any, samples: tau3mu.Samples) -> dict[str, Any]:
    control = samples.agreement
    outputs = predict(model, samples.scaler(samples.test))
    bits = predict(tau3mu.representation(model), samples.scaler(control))
    return _figures(
        tau3mu.score(outputs),
        tau3mu.score(predict(model, samples.scaler(control))),
        np.rint(bits) if set(np.unique(bits.round(4))) <= {0.0, 1.0} else None,
        samples,
    )


def _verilog(graph: Graph, samples: tau3mu.Samples) -> dict[str, Any]:
    """Test sample and control channel through the simulated Verilog, one after the other."""
    x = np.concatenate([samples.scaler(samples.test), samples.scaler(samples.agreement)])
    codes = encode(graph, x)
    found = simulate(compile_graph(graph, clock=CLOCK), codes).codes
    for a, b in zip(found, emulate_codes(graph, codes), strict=True):
        if not np.array_equal(a, b):
            raise MismatchError("The Verilog gives other bits than the emulator.")
    score, cut = score_codes(found[0], graph.output_types[0].lsb), len(samples.test)
    return _figures(score[:cut], score[cut:], found[1][cut:], samples)


def _figures(
    test: np.ndarray, control: np.ndarray, bits: np.ndarray | None, samples: tau3mu.Samples
) -> dict[str, Any]:
    """Figures from scores; the information of single neurons is that of bits, less its bias."""
    signal = samples.test.extra["signal"] == 1
    origin = samples.agreement.extra["signal"]
    known = None
    if bits is not None:
        bias = bits.shape[1] / (2 * len(bits) * np.log(2))
        known = round(metrics_blind.sum_information(bits, origin) - bias, 4)
    return {
        "AUC": round(metrics_blind.auc(signal, test), 4),
        "KS": round(tau3mu.ks(control, samples.agreement), 4),
        "sum MI of bits [bit]": known,
        "candidates": len(test) + len(control),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", choices=("methods", "chip"))
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--train-events", type=int, help="instead of the preset's")
    parser.add_argument("--epochs", type=int, help="instead of the preset's")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    preset = tau3mu.preset_named(options.preset)
    changed = {"train_events": options.train_events, "epochs": options.epochs}
    preset = dataclasses.replace(preset, **{k: v for k, v in changed.items() if v is not None})
    tables = methods(preset) if options.part == "methods" else chip(preset)
    size = {name: str(value) for name, value in dataclasses.asdict(preset).items()}
    write_tables(
        options.out or Path(f"docs/studies/tau3mu-{options.part}"),
        f"tau3mu on generated candidates: {options.part}",
        (__doc__ or "").split("\n    python")[0],
        {**stamp(), "preset": size, "seed": SEED, "clock": CLOCK},
        tables,
    )


if __name__ == "__main__":
    main()
