"""Large designs are synthesised in parts: the cells of one run, errors on the right lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from hairtrigger.errors import ToolError
from hairtrigger.tools import verilog_parts, yosys
from hairtrigger.tools.verilog_parts import HOLDER, divide

KERNELS = """\
// A module that adds.
module adds (
    input  wire clk,
    input  wire [3:0] x0,
    output wire [4:0] y0
);
    reg [4:0] n0;
    always @(posedge clk) n0 <= x0 + 5'd3;
    assign y0 = n0;
endmodule

module parity (
    input  wire [3:0] x0,
    output wire y0
);
    assign y0 = ^x0;
endmodule
"""
TOP = """\
module top (
    input  wire clk,
    input  wire [7:0] in_data,
    output wire [6:0] out_data
);
    adds a (.clk(clk), .x0(in_data[3:0]), .y0(out_data[4:0]));
    parity b (.x0(in_data[3:0]), .y0(out_data[5]));
    parity c (.x0(in_data[7:4]), .y0(out_data[6]));
endmodule
"""


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of hardly more than one module."""
    monkeypatch.setattr(verilog_parts, "LIMIT", 300)


def test_a_small_design_stays_whole():
    (part,) = divide([KERNELS, TOP], "top")
    assert (part.texts, part.top, part.modules) == ((KERNELS, TOP), "top", ())


@pytest.mark.usefixtures("small_parts")
def test_every_module_is_in_one_part_and_no_line_moves():
    parts = divide([KERNELS, TOP], "top")
    assert sorted(name for part in parts for name in part.modules) == ["adds", "parity", "top"]
    assert parts[0].top == "top"
    for part in parts:
        for text, cut in zip((KERNELS, TOP), part.texts, strict=False):
            lines = cut.splitlines()
            assert len(lines) == text.count("\n")
            kept = [n for n, line in enumerate(text.splitlines()) if lines[n] == line]
            for name in part.modules:
                if f"module {name} (" in text:
                    assert text.splitlines().index(f"module {name} (") in kept
        assert sum(text.count("(* blackbox *)") for text in part.texts) == 3 - len(part.modules)


def test_a_part_of_many_modules_holds_each_once(monkeypatch):
    monkeypatch.setattr(verilog_parts, "LIMIT", 800)
    parts = divide([KERNELS, TOP], "top")
    assert [part.top for part in parts] == ["top", HOLDER]
    assert parts[1].texts[-1].count("(* keep *)") == 2


@pytest.mark.usefixtures("small_parts")
def test_a_design_whose_modules_are_not_all_seen_stays_whole():
    indented = KERNELS.replace("module parity (", "  module parity (")
    assert len(divide([indented, TOP], "top")) == 1


@pytest.mark.parametrize("limit", [300, 800])
def test_the_cells_are_those_of_one_run(tmp_path: Path, monkeypatch, limit: int):
    files = [tmp_path / "kernels.v", tmp_path / "top.v"]
    for file, text in zip(files, (KERNELS, TOP), strict=True):
        file.write_text(text)
    whole = yosys.synthesise(files, "top", tmp_path / "whole")
    monkeypatch.setattr(verilog_parts, "LIMIT", limit)
    parts = yosys.synthesise(files, "top", tmp_path / "parts")
    assert parts == whole
    assert dict(whole.cells)["FDRE"] == 5
    assert whole.lut >= 2


@pytest.mark.usefixtures("small_parts")
def test_an_error_names_the_line_of_the_file(tmp_path: Path):
    files = [tmp_path / "kernels.v", tmp_path / "top.v"]
    files[1].write_text(TOP)
    files[0].write_text(KERNELS.replace("assign y0 = ^x0;", "assign y0 = ^x0"))
    with pytest.raises(ToolError, match=r"kernels\.v:17"):
        yosys.synthesise(files, "top", tmp_path / "cache")
