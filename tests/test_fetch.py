"""Shift registers with an address: `Fetch` alone, at depths of every kind, and what they take."""

from __future__ import annotations

from pathlib import Path

import pytest

from hairtrigger.rtl.clocked import Fetch
from hairtrigger.rtl.netlist import Wire
from hairtrigger.tools import verilator, yosys


def module(width: int, depth: int) -> str:
    """A module that holds one `Fetch` and nothing else."""
    places = depth.bit_length()
    a, place = Wire(0, 0, (1 << width) - 1, 0), Wire(1, 0, depth, 0)
    cell = Fetch(a, place, depth, Wire(2, a.low, a.high, 0))
    body = "\n    ".join(cell.lines(lambda wire: "a" if wire.net == 0 else "place", "y", ""))
    return (
        f"module fetch(input wire clk, input wire [{width - 1}:0] a,\n"
        f"    input wire [{places - 1}:0] place, output wire [{width - 1}:0] out);\n"
        f"    {body}\n    assign out = y;\nendmodule\n"
    )


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 7, 8, 9, 16, 59])
@pytest.mark.parametrize("width", [1, 3])
def test_lint_clean(tmp_path: Path, width: int, depth: int) -> None:
    file = tmp_path / "fetch.v"
    file.write_text(module(width, depth))
    verilator.lint([file], "fetch")


def test_its_places_become_shift_register_luts(tmp_path: Path) -> None:
    file = tmp_path / "fetch.v"
    file.write_text(module(3, 60))
    used = yosys.synthesise([file], "fetch", tmp_path)
    assert (used.ff, used.lut_memory) == (0, 6)
    assert used.lut <= 12
