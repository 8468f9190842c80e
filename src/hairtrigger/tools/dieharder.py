"""dieharder (R. G. Brown, D. Eddelbuettel, D. Bauer), where it is installed: tests of random bits.

It is looked for on PATH and called for one test at a time, on bits in a file. A file that is too
short is read again from its start, which makes good generators fail; that is an error here.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from hairtrigger.errors import InputError, ToolError
from hairtrigger.tools import process

TESTS = (0, 1, 3, 4, 8, 10, 11, 12, 15, 100, 101, 102)
"""Numbers of the tests that read no more than `BITS` for one P-value: of Marsaglia's Diehard, and
monobit, runs and serial of SP 800-22. `dieharder -l` names them."""
BITS = 67_000_000
LIMIT_S = 300.0
"""Time for one test; a healthy machine takes a second."""
PASSED, WEAK, FAILED = "PASSED", "WEAK", "FAILED"
_RAW_FILE = "201"
"""dieharder's number of the generator that reads a file of raw bits."""
_ROW = re.compile(
    r"^\s*(\w+)\|\s*(\d+)\|\s*\d+\|\s*\d+\|\s*([0-9.eE+-]+)\|\s*(PASSED|WEAK|FAILED)\s*$"
)


@dataclass(frozen=True)
class Verdict:
    """A line of dieharder's table: a test, the size of its patterns, P, and dieharder's reading."""

    test: str
    size: int
    p: float
    verdict: str


def find() -> Path | None:
    """The program, or None where it is not installed."""
    found = shutil.which("dieharder")
    return None if found is None else Path(found)


def version(program: Path) -> str:
    """Its version. Raises `ToolError` where it cannot be run or names none."""
    done = process.run([program, "-l"], tool="dieharder", timeout_s=LIMIT_S)
    found = re.search(r"dieharder version (\S+)", done.output)
    if found is None:
        raise ToolError(
            "dieharder names no version" + process.quote(process.last_lines(done.output))
        )
    return found[1]


def judge(
    program: Path,
    bits: ArrayLike,
    tests: Sequence[int] = TESTS,
    *,
    timeout_s: float = LIMIT_S,
) -> tuple[Verdict, ...]:
    """What dieharder says of a row of bits (zeros and ones), one P-value a test and size.

    Eight bits make a byte, the first the highest. Raises `InputError` for what is no row of bits,
    or one too short for a test; `ToolError` where dieharder cannot be run, fails, takes longer than
    ``timeout_s`` for a test, or prints no table.
    """
    x = np.asarray(bits)
    if x.ndim != 1 or x.dtype.kind not in "biu" or not np.isin(x, (0, 1)).all() or len(x) % 32:
        raise InputError(
            f"Bits of shape {x.shape} and dtype {x.dtype}.",
            "Give zeros and ones in a row, 32 times as many as there are words.",
        )
    found: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="hairtrigger-") as folder:
        file = Path(folder) / "bits.raw"
        file.write_bytes(np.packbits(x.astype(np.uint8)).tobytes())
        for test in tests:
            command = [program, "-g", _RAW_FILE, "-f", file, "-d", str(test), "-p", "1"]
            done = process.run(command, tool="dieharder", timeout_s=timeout_s)
            if done.status:
                raise ToolError(
                    f"dieharder's test {test} failed, {process.describe_status(done.status)}"
                    + process.quote(process.last_lines(done.output)),
                    "try it by hand: dieharder -d " + str(test),
                )
            if "rewound" in done.output:
                raise InputError(
                    f"{len(x):,} bits are too few for dieharder's test {test}: it began anew.",
                    f"Give {BITS:,} bits or more, or leave the test out.",
                )
            found += parse(done.output)
    return tuple(found)


def parse(text: str) -> tuple[Verdict, ...]:
    """The lines of dieharder's table. Raises `ToolError` where there is none."""
    rows = (_ROW.match(line) for line in text.splitlines())
    found = tuple(
        Verdict(row[1], int(row[2]), float(row[3]), row[4]) for row in rows if row is not None
    )
    if not found:
        raise ToolError(
            "dieharder printed no table of results" + process.quote(process.last_lines(text)),
            "try it by hand; hairtrigger knows the table of version 3.31",
        )
    return found
