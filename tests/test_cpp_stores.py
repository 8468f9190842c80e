"""Stores that a compiler must not lose: GCC 12 takes some for stores to address 0.

Its loop optimiser may turn ``base[i] = x`` into a store at 0 + base + i. What comes after it takes
the literal 0 for the object that is written, finds that nothing that lives is written, calls the
function pure and drops the call. ``HT_WRITTEN`` at the end of whatever writes keeps it.
"""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hairtrigger.cpp import stages
from hairtrigger.cpp.library import build, load
from hairtrigger.cpp.source import PREAMBLE, write_source
from hairtrigger.fixed import Fixed
from hairtrigger.graph import Builder, TensorType, emulate_codes, linear, ops
from hairtrigger.graph.stimulus import random_codes
from hairtrigger.tools.compiler import find_compiler

LOADS = 60
"""So many loads beside a store are enough; with 50 GCC 12.2 does what it should."""


def small_case(last: str) -> str:
    """Sums of many 16-bit numbers, written as 32-bit ones into the same memory."""
    loads = "".join(f"const int16_t x{n} = p[i + {2 * n}];\n" for n in range(LOADS))
    total = " + ".join(f"x{n}" for n in range(LOADS))
    end = 4 * LOADS + 8
    return (
        f"{PREAMBLE}static __attribute__((noinline)) void sums(char *memory) {{\n"
        "const int16_t *p = (const int16_t *)memory;\n"
        f"int32_t *q = (int32_t *)(memory + {end});\n"
        f"HT_LANES\nfor (ptrdiff_t i = 0; i < 2; ++i) {{\n{loads}q[i] = {total};\n}}\n{last}}}\n"
        f"alignas(64) static char memory[{end + 64}];\n"
        'extern "C" int sum() {\n'
        f"for (int n = 0; n < {end // 2}; ++n) ((int16_t *)memory)[n] = 1;\n"
        f"sums(memory);\nreturn ((int32_t *)(memory + {end}))[1];\n}}\n"
    )


@pytest.mark.parametrize("level", ["-O1", "-O2", "-O3"])
def test_a_function_that_says_that_it_has_written_is_called(tmp_path: Path, level: str) -> None:
    (tmp_path / "case.cpp").write_text(small_case("HT_WRITTEN(memory);\n"))
    library = tmp_path / "case.so"
    flags = ["-std=c++17", level, "-fPIC", "-shared"]
    command = [*find_compiler().command, *flags, tmp_path / "case.cpp", "-o", library]
    subprocess.run(list(map(str, command)), check=True)
    assert ctypes.CDLL(str(library)).sum() == LOADS


def test_long_straight_lines_keep_their_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It showed first in a body of 10,000 lines; the sum is not split into parts here."""
    monkeypatch.setattr(stages, "SUM_PART", 1 << 20)
    b = Builder("long_sum")
    x = b.add(ops.Input("x", TensorType.uniform((5120, 2), Fixed(False, 1, 2))))
    graph = b.build([b.add(linear.GlobalSum((0,)), x)])
    source = write_source(graph)
    assert source.steps > 20_000  # of two lanes
    codes = random_codes(graph, 3, seed=1)
    built = build([source], folder=tmp_path, flags=["-std=c++17", "-O1", "-fPIC", "-w"])
    (found,) = load(graph, source, built)(*codes)
    np.testing.assert_array_equal(found, emulate_codes(graph, codes)[0])


def test_everything_that_writes_says_so() -> None:
    b = Builder("says")
    x = b.add(ops.Input("x", TensorType.uniform((3,), Fixed(True, 2, 1))))
    graph = b.build([b.add(ops.Relu(), x)])
    text = "".join(write_source(graph).files.values())
    body = text[text.index("namespace {") :]
    writers = ("kernel0(", "load0_1(", "load0_32(", "store0(", "encode0(", "turn_int8_")
    for writer in writers:
        if writer in body:
            start = next(n for n in range(len(body)) if body.startswith(writer, n))
            assert "HT_WRITTEN(" in body[start : body.index("\n}\n", start)], writer
