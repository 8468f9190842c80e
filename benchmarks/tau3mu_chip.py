"""What coins cost on the chip: the network of tau3mu with its generators, drawing once or more.

A sparse network of coins is trained on generated candidates in the chip's formats. Of that of
strength 0.3 are made: a chip that tosses once an event, chips whose neurons give the mean of 2 and
4 tosses (of registers of their own), and one with every neuron on its likelier side. Test sample,
control channel and the sample of one origin go through the simulated Verilog of each; every number
must be the emulator's, and every logit that of the network in software. What is measured on the
bits that came out stands beside the network in software; other strengths and more draws, which
compute the same, are in software only. "SE" is the standard deviation of samples drawn anew.

- AUC: simulated signal against recorded background; true AUC: both of one origin; KS: scores of the
  control channel; MI: sum over 32 neurons of the information of a bit on the origin, less its bias,
  where neurons give bits; pile-up: largest less smallest efficiency in four bins of SPDhits over
  that of all, 10 % of background accepted.
- lead: the best true AUC of a KS no larger than that of the adversary with twice the neurons, less
  the adversary's; flatter: the plain network's pile-up over the smallest of those that lose less
  than 2 % of its true AUC. Each network is of one seed, trained by the recipe that the study found.

    python benchmarks/tau3mu_chip.py [--preset paper] [--out docs/benchmarks/tau3mu_chip]
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from written import stamp, write_tables

from hairtrigger import metrics_blind
from hairtrigger.backends.rtl import simulate, synthesise
from hairtrigger.errors import MismatchError
from hairtrigger.graph import emulate_codes
from hairtrigger.graph.emulate import encode
from hairtrigger.rtl.design import compile_graph
from hairtrigger.studies import tau3mu
from hairtrigger.studies.tau3mu_chip import ChipConfig, differences, to_graph, train_sparse
from hairtrigger.studies.tau3mu_figures import BACKGROUND
from hairtrigger.studies.tau3mu_recipe import DEFAULT, Recipe
from hairtrigger.train import predict
from hairtrigger.train.bernoulli import LIKELIER, TOSS, keras, toss_how

CLOCK = "200 MHz"
SEED = 1
STRENGTH = 0.3
"""Of the network that is simulated and synthesised: the study's."""
OTHERS = (0.1, 1.0, 3.0, 10.0)
RIVAL, RIVALS_STRENGTH = "adversary, twice the neurons", 10.0
RECIPE = Recipe(learning_rate=2.957e-3, batch=1024, slope=1.961)
RECIPES = {"plain": DEFAULT, RIVAL: Recipe(learning_rate=2.957e-3, batch=1024, reader=62)}
"""As the study's tuning found them."""
LIKELIER_SIDE = "likelier side"
LOST = 0.02
WAYS = {
    **{f"{n} draw{'s' if n > 1 else ''}": ChipConfig(draws=n) for n in (1, 2, 4, 8, 16)},
    LIKELIER_SIDE: ChipConfig(tossed=False),
}
SIMULATED = ("1 draw", "2 draws", "4 draws", LIKELIER_SIDE)
RESAMPLED = 50

Row = dict[str, Any]


def chips(preset: tau3mu.Tau3muPreset, tell: Callable[[dict[str, list[Row]]], None]) -> None:
    """Train, measure, synthesise and simulate; ``tell`` gets the tables whenever one has grown."""
    samples = tau3mu.simulate(preset, SEED)
    rows: list[Row] = []
    sizes: list[Row] = []

    def add(strength: float, how: str, by: str, said: tuple[np.ndarray, np.ndarray | None]) -> None:
        rows.append({"strength": strength, "how": how, "by": by, **_figures(*said, samples)})
        tell(
            {"Measured": rows, "Size (Yosys)": sizes, "The goals that one draw misses": goals(rows)}
        )

    for method, strength in (("plain", 0.0), (RIVAL, RIVALS_STRENGTH)):
        other, _ = tau3mu.train(method, strength, samples, preset.epochs, SEED, RECIPES[method])
        add(strength, method, "Keras", (_network(other, samples)[0], None))
    for strength in (STRENGTH, *OTHERS):
        model, _ = train_sparse(strength, samples, preset.epochs, SEED, RECIPE)
        for how, config in WAYS.items():
            tossing = (TOSS, config.draws) if config.tossed else (LIKELIER, 1)
            add(strength, how, "Keras", _network(toss_how(model, *tossing), samples))
            if strength == STRENGTH:
                sizes.append({"strength": strength, "how": how, **_size(model, config)})
                if how in SIMULATED:
                    add(strength, how, "Verilog", _verilog(model, config, samples))


def goals(rows: list[Row]) -> list[Row]:
    """Lead and flatness of each way, over the strengths measured in software."""
    named = {row["how"]: row for row in rows if row["how"] in ("plain", RIVAL)}
    found: list[Row] = []
    for way in WAYS if len(named) == 2 else ():
        own = [row for row in rows if (row["how"], row["by"]) == (way, "Keras")]
        rival, plain = named[RIVAL], named["plain"]
        blind = [row for row in own if row["KS"] <= rival["KS"]]
        good = [row for row in own if row["true AUC"] > (1 - LOST) * plain["true AUC"]]
        best = max(blind, key=lambda row: row["true AUC"], default=None)
        flat = min(good, key=lambda row: row["pile-up"], default=None)
        found.append(
            {
                "how": way,
                "lead": best and round(best["true AUC"] - rival["true AUC"], 4),
                "at strength": best and best["strength"],
                "flatter [times]": flat and round(plain["pile-up"] / flat["pile-up"], 1),
                "at the strength": flat and flat["strength"],
            }
        )
    return found


def _network(model: Any, samples: tau3mu.Samples) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a network in software, and what its last hidden layer gave, of one toss."""
    last = model.get_layer("logits").input
    both = keras.Model(model.input, keras.layers.Concatenate()([model.output, last]))
    outputs = predict(both, samples.judged[0])
    return tau3mu.score(outputs), outputs[:, -last.shape[-1] :]


def _verilog(
    model: Any, config: ChipConfig, samples: tau3mu.Samples
) -> tuple[np.ndarray, np.ndarray]:
    """The same of the simulated Verilog."""
    graph, inputs = to_graph(model, config, debug=True), samples.judged[0]
    codes = encode(graph, inputs)
    found = simulate(compile_graph(graph, clock=CLOCK), codes).codes
    for a, b in zip(found, emulate_codes(graph, codes), strict=True):
        if not np.array_equal(a, b):
            raise MismatchError("The Verilog gives other bits than the emulator.")
    outputs = zip(graph.output_names, found, graph.output_types, strict=True)
    values = {name: got * 2.0**-t.lsb for name, got, t in outputs}
    if other := differences(model, inputs, values):
        raise MismatchError(f"{other} numbers of the Verilog are not those of Keras.")
    return tau3mu.score(values["logits"]), values["bits"]


def _figures(
    scores: np.ndarray, bits: np.ndarray | None, samples: tau3mu.Samples
) -> dict[str, Any]:
    places = samples.judged[1]
    test, control, one = (scores[places[n]] for n in ("test", "agreement", "same_origin"))
    signal = samples.test.extra["signal"] == 1
    origin, weight = (samples.agreement.extra[name] for name in ("signal", "weight"))
    flat = samples.same_origin
    flat_signal, hits = flat.extra["signal"] == 1, flat.column("SPDhits")
    ranks = metrics_blind.untied(one, SEED)

    def apart(n: np.ndarray) -> float:
        a, b = n[origin[n] == 1], n[origin[n] != 1]
        return metrics_blind.weighted_ks(control[a], control[b], weight[a], weight[b])

    def uneven(n: np.ndarray) -> float:
        edges = samples.pile_up_edges
        return metrics_blind.flatness(
            ranks[n], flat_signal[n], hits[n], edges, BACKGROUND
        ).dependence

    found: dict[str, Any] = {}
    for name, figure, size in (
        ("AUC", lambda n: metrics_blind.auc(signal[n], test[n]), len(test)),
        ("true AUC", lambda n: metrics_blind.auc(flat_signal[n], one[n]), len(one)),
        ("KS", apart, len(control)),
        ("pile-up", uneven, len(one)),
    ):
        rng = np.random.default_rng((SEED, size))
        drawn = [figure(rng.integers(0, size, size)) for _ in range(RESAMPLED)]
        found[name] = round(float(figure(np.arange(size))), 4)
        found[f"{name} SE"] = round(float(np.std(drawn, ddof=1)), 4)
    found["MI [bit]"] = None
    if bits is not None and set(np.unique(bits.round(4))) <= {0.0, 1.0}:
        b = np.rint(bits[places["agreement"]])
        bias = b.shape[1] / (2 * len(b) * np.log(2))
        found["MI [bit]"] = round(metrics_blind.sum_information(b, origin) - bias, 4)
    return found


def _size(model: Any, config: ChipConfig) -> dict[str, Any]:
    started = time.monotonic()
    design = compile_graph(to_graph(model, config), clock=CLOCK)
    found = synthesise(design)
    return {
        "LUT": found.lut_logic + found.lut_memory,
        "of them memory": found.lut_memory,
        "FF": found.ff,
        "DSP": found.dsp,
        "clocks": design.latency,
        "ns": round(design.latency_ns, 1),
        "interval [clocks]": design.interval,
        "seconds to compile": round(time.monotonic() - started),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/tau3mu_chip"))
    options = parser.parse_args()
    preset = tau3mu.preset_named(options.preset)
    size = {name: str(value) for name, value in dataclasses.asdict(preset).items()}
    made = {**stamp(), "preset": size, "seed": SEED, "clock": CLOCK}

    def tell(tables: dict[str, list[dict[str, Any]]]) -> None:
        print(tables["Measured"][-1], flush=True)
        if all(tables.values()):  # each time, so that a run that was cut leaves what it has
            write_tables(
                options.out,
                "What coins cost on the chip",
                __doc__.split("\n    python")[0],
                made,
                tables,
            )

    chips(preset, tell)


if __name__ == "__main__":
    main()
