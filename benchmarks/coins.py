"""How good are the coins: bits captured from the simulated Verilog, for several generators.

Eight neurons compare their words with a threshold that runs through 1/256 to 255/256. What they
toss, and the words themselves, come out of Verilator, are compared with the emulator bit by bit,
and are judged:

- frequency, serial, across: the mean of z^2 over all thresholds and neurons (or pairs), which is 1
  for independent coins; z is the deviation of the number of ones, of the correlation with the event
  before, and of the correlation between two neurons, each over its error;
- word lag 1: the correlation of a word with the one before; word across: the largest one between
  two neurons, in units of its error;
- dependent pairs: pairs of neurons whose words are not independent over the period, by rank (a
  register of 16 bits is refused: it has no eight such words);
- NIST: tests of SP 800-22 passed (P >= 0.01) by the million bits of each neuron's words, of all
  tests but the matrix rank; rank: that test, which a linear register of fewer than 32 bits must
  fail; rank, all: the same for the words of all neurons behind each other;
- dieharder: of its tests on the words of all neurons behind each other, those that are PASSED, WEAK
  and FAILED by its own reading (perfect bits are weak once in a hundred tests, failed once in half
  a million), and the failed by name. All words of an event are linear in the state of one
  register: of 64 bits no more are free than the register has, which tests that look across so many
  can see. Pairs of neurons are independent all the same.

    python benchmarks/coins.py [--out docs/benchmarks/coins] [--events 4112]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from written import stamp, write_tables

from hairtrigger import metrics_random as nist
from hairtrigger.backends.rtl import simulate, synthesise
from hairtrigger.errors import MismatchError
from hairtrigger.fixed import Fixed
from hairtrigger.graph import Builder, Graph, TensorType, coins, emulate_codes, ops
from hairtrigger.graph.coins import PRIMITIVE, Generator
from hairtrigger.rtl.design import compile_graph
from hairtrigger.tools import dieharder

NEURONS, BITS = 8, 8
LEVELS = np.arange(1, 1 << BITS)
GENERATORS = (
    Generator(PRIMITIVE[32], BITS, 8, 12345),
    Generator(PRIMITIVE[32], BITS, 1, 12345),
    Generator(PRIMITIVE[32], BITS, 8, 12345, shared=True),
    *(Generator(PRIMITIVE[length], BITS, 8, 12345) for length in (20, 24, 63, 64, 31)),
    Generator(PRIMITIVE[32], BITS, 4, 12345),
    Generator(PRIMITIVE[32], BITS, 16, 12345),
)
CLOCK = "200 MHz"
STREAM = 1_000_000
"""Bits of each neuron for the tests of randomness."""


def bench_graph(generator: Generator, words: bool) -> Graph:
    builder = Builder("coins")
    t = TensorType.uniform((NEURONS,), Fixed(False, BITS, 0))
    level = builder.add(ops.Input("level", t))
    word = coins.words(builder, generator, (NEURONS,))
    tossed = builder.add(ops.Compare(ops.Relation.GT), level, word)
    return builder.build({"coin": tossed, **({"word": word} if words else {})})


def captured(generator: Generator, events: int) -> tuple[np.ndarray, np.ndarray]:
    """Coins (levels, events, neurons) and words (all events, neurons) of the simulated Verilog."""
    graph = bench_graph(generator, words=True)
    levels = np.repeat(LEVELS, events)[:, None] * np.ones((1, NEURONS), dtype=np.int64)
    design = compile_graph(graph, clock=CLOCK)
    tossed, word = simulate(design, [levels]).codes
    for found, expected in zip((tossed, word), emulate_codes(graph, [levels]), strict=True):
        if not np.array_equal(found, expected):
            raise MismatchError("The Verilog tosses other coins than the emulator.")
    word = np.broadcast_to(word, (len(word), NEURONS))
    return tossed.reshape(len(LEVELS), events, NEURONS), word


def judge(generator: Generator, events: int) -> dict[str, object]:
    tossed, word = captured(generator, events)
    p = (LEVELS / (1 << BITS))[:, None]
    spread = np.sqrt(p * (1 - p))
    ones = (tossed.mean(axis=1) - p) / spread * np.sqrt(events)
    x = (tossed - p[:, None]) / spread[:, None]
    lag = (x[:, 1:] * x[:, :-1]).mean(axis=1) * np.sqrt(events - 1)
    pairs = np.triu_indices(NEURONS, 1)
    across = np.einsum("lei,lej->lij", x, x)[:, *pairs] / np.sqrt(events)
    centred = word - word.mean(axis=0)
    centred = centred / centred.std(axis=0)
    word_lag = (centred[1:] * centred[:-1]).mean(axis=0)
    correlation = (centred.T @ centred / len(word))[pairs]
    bits = (word[:, :, None] >> np.arange(BITS)[::-1]) & 1
    streams = bits.transpose(1, 0, 2).reshape(NEURONS, -1)[:, :STREAM]
    streams = streams[:1] if generator.shared else streams
    plain = [test for name, test in nist.TESTS.items() if name != "matrix rank"]
    passed = sum(test(row) >= 0.01 for row in streams for test in plain)
    ranks = sum(nist.matrix_rank(row) >= 0.01 for row in streams)
    whole = nist.matrix_rank(bits.reshape(-1)[:STREAM])
    program = dieharder.find()
    if program is None:
        hard = "not run: dieharder is not installed"
    elif bits.size < dieharder.BITS:
        hard = f"not run: {bits.size:,} bits are too few"
    else:
        hard = _read(dieharder.judge(program, bits.reshape(-1).astype(np.uint8)))
    if generator.shared:
        dependent = len(pairs[0])
    else:
        dependent = len(coins.dependent_pairs(generator, NEURONS))
    return {
        "register": generator.length,
        "leap": generator.leap,
        "shared": "yes" if generator.shared else "no",
        "frequency": round(float((ones**2).mean()), 3),
        "serial": round(float((lag**2).mean()), 3),
        "across": round(float((across**2).mean()), 3),
        "word lag 1": round(float(word_lag.mean()), 4),
        "word across": round(float(np.abs(correlation).max() * np.sqrt(len(word))), 1),
        "dependent pairs": f"{dependent} of {len(pairs[0])}",
        "NIST": f"{passed} of {len(streams) * len(plain)}",
        "rank": f"{ranks} of {len(streams)}",
        "rank, all": "passed" if whole >= 0.01 else "failed",
        "dieharder": hard,
    }


def _read(verdicts: Sequence[dieharder.Verdict]) -> str:
    """Counts of the verdicts, and the failed ones by name."""
    counts = [
        f"{sum(v.verdict == verdict for v in verdicts)} {verdict}"
        for verdict in (dieharder.PASSED, dieharder.WEAK, dieharder.FAILED)
    ]
    names = dict.fromkeys(v.test for v in verdicts if v.verdict == dieharder.FAILED)
    return ", ".join(counts) + (f" ({', '.join(names)})" if names else "")


def size(generator: Generator) -> dict[str, object]:
    design = compile_graph(bench_graph(generator, words=False), clock=CLOCK)
    found = synthesise(design, flatten=True)
    return {
        "register": generator.length,
        "leap": generator.leap,
        "shared": "yes" if generator.shared else "no",
        "LUT": found.lut_logic + found.lut_memory,
        "LUT a neuron": round((found.lut_logic + found.lut_memory) / NEURONS, 1),
        "FF": found.ff,
        "latency [clocks]": design.latency,
        "seeds": " ".join(f"{s:x}" for s in generator.seeds(1 if generator.shared else NEURONS)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/coins"))
    parser.add_argument("--events", type=int, default=4112, help="of each threshold")
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    sizes: list[dict[str, object]] = []
    events = {"events": options.events * len(LEVELS), "neurons": NEURONS, "clock": CLOCK}
    program = dieharder.find()
    events["dieharder"] = dieharder.version(program) if program else "not installed"
    for generator in GENERATORS:
        rows.append(judge(generator, options.events))
        sizes.append(size(generator))
        print(rows[-1], sizes[-1], flush=True)
        # After each, so that a run that was cut leaves what it has.
        write_tables(
            options.out,
            "The quality of the coins",
            (__doc__ or "").split("\n    python")[0],
            {**stamp(), **events, "generators": f"{len(rows)} of {len(GENERATORS)}"},
            {"Judged": rows, "Size (Yosys), thresholds compared, eight neurons": sizes},
        )


if __name__ == "__main__":
    main()
