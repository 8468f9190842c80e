"""Coins for high-level synthesis: the header draws the bits that the Graph draws."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from hairtrigger.cpp.coins import coins_header
from hairtrigger.errors import InputError
from hairtrigger.fixed import Fixed
from hairtrigger.graph import Builder, TensorType, coins, emulate_codes, ops
from hairtrigger.graph.coins import PRIMITIVE, Generator
from hairtrigger.tools import compiler

MAIN = """
#include "coins.h"
#include <cstdio>
int main() {
    static Coins coins;
    int logit[Coins::neurons];
    bool bit[Coins::neurons];
    while (std::fread(logit, sizeof logit, 1, stdin) == 1) {
        coins.toss(logit, bit);
        std::fwrite(bit, sizeof bit, 1, stdout);
    }
}
"""


@pytest.mark.parametrize(
    ("generator", "logits", "events"),
    [
        (Generator(PRIMITIVE[32], 6, 8), Fixed(True, 2, 1), 100_000),
        (Generator(PRIMITIVE[31], 8, 8, 77), Fixed(True, 3, 5), 20_000),
        (Generator(PRIMITIVE[63], 7, 9, 5), Fixed(False, 2, 3), 20_000),
        (Generator(PRIMITIVE[20], 8, 8, 3, shared=True), Fixed(True, 1, 6), 20_000),
    ],
)
def test_the_header_tosses_as_the_graph(
    tmp_path: Path, generator: Generator, logits: Fixed, events: int
) -> None:
    neurons = 5
    builder = Builder("coins")
    x = builder.add(ops.Input("logit", TensorType.uniform((neurons,), logits)))
    graph = builder.build({"coin": coins.bernoulli(builder, x, generator)})
    rng = np.random.default_rng(1)
    codes = rng.integers(logits.lowest, logits.highest + 1, (events, neurons))
    (expected,) = emulate_codes(graph, [codes])

    (tmp_path / "coins.h").write_text(coins_header("Coins", generator, neurons, logits))
    (tmp_path / "main.cpp").write_text(MAIN)
    cxx = compiler.find_compiler()
    flags = ("-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas")
    unit = compiler.Unit(tmp_path / "main.cpp", tmp_path / "main.o", flags)
    compiler.compile_objects(cxx, [unit], [], folder=tmp_path)
    compiler.link(cxx, [unit.object], tmp_path / "main", [])
    done = subprocess.run(
        [tmp_path / "main"], input=codes.astype(np.int32).tobytes(), capture_output=True, check=True
    )
    found = np.frombuffer(done.stdout, dtype=np.uint8).reshape(events, neurons)
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.mean() < 1


def test_headers_that_cannot_be_are_refused() -> None:
    generator = Generator(PRIMITIVE[32], 6, 8)
    for name, neurons, logits in (
        ("two words", 4, Fixed(True, 2, 1)),
        ("coins", 0, Fixed(True, 2, 1)),
        ("coins", 4, Fixed(True, 9, 9)),
    ):
        with pytest.raises(InputError, match="neuron"):
            coins_header(name, generator, neurons, logits)
