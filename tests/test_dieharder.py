"""dieharder through a small program that stands for it: what it prints, and what goes wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from hairtrigger.errors import InputError, ToolError
from hairtrigger.tools import dieharder
from hairtrigger.tools.dieharder import Verdict

BITS = np.tile([1, 0, 0, 0, 0, 0, 1, 1], 8)  # "\x83" eight times
PRINTED = """\
#=============================================================================#
#            dieharder version 3.31.1 Copyright 2003 Robert G. Brown          #
#=============================================================================#
   rng_name    |           filename             |rands/second|
 file_input_raw|                        bits.raw|  2.80e+06  |
#=============================================================================#
        test_name   |ntup| tsamples |psamples|  p-value |Assessment
#=============================================================================#
         sts_monobit|   1|    100000|       1|0.00025720|   WEAK
          sts_serial|  16|    100000|       1|1.00000000|  FAILED
    diehard_rank_6x8|   0|    100000|       1|1.2e-05|  PASSED
"""


def stand_in(folder: Path, body: str) -> Path:
    """A program in Python that gets dieharder's arguments."""
    path = folder / "dieharder"
    path.write_text(f"#!{sys.executable}\nimport sys\nargs = sys.argv[1:]\n{body}\n")
    path.chmod(0o755)
    return path


def test_its_table_is_read() -> None:
    assert dieharder.parse(PRINTED) == (
        Verdict("sts_monobit", 1, 0.0002572, "WEAK"),
        Verdict("sts_serial", 16, 1.0, "FAILED"),
        Verdict("diehard_rank_6x8", 0, 1.2e-05, "PASSED"),
    )
    for text in ("", "Segmentation fault", PRINTED.replace("|   WEAK", "").split("sts_serial")[0]):
        with pytest.raises(ToolError, match="no table"):
            dieharder.parse(text)


def test_it_gets_the_bits_and_is_asked_test_by_test(tmp_path: Path) -> None:
    body = """
data = open(args[args.index("-f") + 1], "rb").read()
assert args[:2] == ["-g", "201"] and args[-2:] == ["-p", "1"]
print(f"  test_{args[args.index('-d') + 1]}| {data[0]}| {len(data)}| 1|0.5|  PASSED  ")
"""
    found = dieharder.judge(stand_in(tmp_path, body), BITS, (3, 100))
    assert found == (
        Verdict("test_3", 0x83, 0.5, "PASSED"),
        Verdict("test_100", 0x83, 0.5, "PASSED"),
    )


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        ("print('no licence'); sys.exit(3)", ToolError, "exit status 3:\n +no licence"),
        ("print('bye')", ToolError, "no table"),
        ("import time; time.sleep(60)", ToolError, "longer than its limit of 0.5 s"),
        ("print('# The file file_input_raw was rewound 2 times')", InputError, "64 bits are too"),
    ],
)
def test_what_goes_wrong_is_said(tmp_path: Path, body: str, error, words: str) -> None:
    limit = 0.5 if "sleep" in body else 60
    with pytest.raises(error, match=words):
        dieharder.judge(stand_in(tmp_path, body), BITS, (0,), timeout_s=limit)


@pytest.mark.parametrize("bits", [BITS[:40], BITS[None], BITS * 2, BITS / 1.0])
def test_what_is_no_row_of_bits_is_refused(bits) -> None:
    with pytest.raises(InputError, match="in a row"):
        dieharder.judge(Path("unused"), bits)


def test_it_is_found_on_the_path_or_not_at_all(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert dieharder.find() is None
    made = stand_in(tmp_path, "print('')")
    assert dieharder.find() == made
    with pytest.raises(ToolError, match="could not be started"):
        dieharder.judge(tmp_path / "gone", BITS, (0,))


def test_its_version_is_read(tmp_path: Path) -> None:
    made = stand_in(tmp_path, f"print({PRINTED!r})")
    assert dieharder.version(made) == "3.31.1"
    with pytest.raises(ToolError, match="no version"):
        dieharder.version(stand_in(tmp_path, "print('hello')"))


@pytest.mark.slow
@pytest.mark.skipif(dieharder.find() is None, reason="dieharder is not installed")
def test_the_real_one_tells_good_bits_from_bad() -> None:
    program = dieharder.find()
    assert program is not None
    good = np.random.default_rng(1).integers(0, 2, 67_108_864, dtype=np.uint8)
    assert [v.verdict for v in dieharder.judge(program, good, (100,))] == [dieharder.PASSED]
    good[::3] = 1
    assert [v.verdict for v in dieharder.judge(program, good, (100,))] == [dieharder.FAILED]
