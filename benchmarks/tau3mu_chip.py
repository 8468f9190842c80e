"""What coins cost on the chip: the network of tau3mu with its generators, and without tossing.

A sparse network of coins is trained on generated candidates and compiled twice: as it is, with its
generators, and with every neuron on its likelier side. Test sample and control channel go through
the simulated Verilog of each, which is compared with the emulator bit by bit; AUC, KS and mutual
information are measured on the bits that came out, beside those of the network in software.

    python benchmarks/tau3mu_chip.py [--preset demo] [--out docs/benchmarks/tau3mu_chip]
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
from hairtrigger.errors import MismatchError
from hairtrigger.graph import Graph, emulate_codes
from hairtrigger.graph.emulate import encode
from hairtrigger.rtl.design import compile_graph
from hairtrigger.studies import tau3mu
from hairtrigger.studies.tau3mu_chip import ChipConfig, score_codes, to_graph, train_sparse
from hairtrigger.studies.tau3mu_figures import ks
from hairtrigger.train import predict
from hairtrigger.train.bernoulli import LIKELIER, TOSS, toss_how

CLOCK = "200 MHz"
STRENGTH = 0.3
SEED = 1


def chip(preset: tau3mu.Tau3muPreset) -> dict[str, list[dict[str, Any]]]:
    samples, config = tau3mu.simulate(preset, SEED), ChipConfig()
    model, _ = train_sparse(STRENGTH, samples, preset.epochs, SEED, config=config)
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
        "KS": round(ks(control, samples.agreement), 4),
        "sum MI of bits [bit]": known,
        "candidates": len(test) + len(control),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/tau3mu_chip"))
    options = parser.parse_args()
    preset = tau3mu.preset_named(options.preset)
    size = {name: str(value) for name, value in dataclasses.asdict(preset).items()}
    write_tables(
        options.out,
        "What coins cost on the chip",
        __doc__,
        {**stamp(), "preset": size, "seed": SEED, "clock": CLOCK},
        chip(preset),
    )


if __name__ == "__main__":
    main()
