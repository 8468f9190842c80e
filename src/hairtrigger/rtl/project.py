"""Writes a design as a project: Verilog, testbench, Vivado script and clock constraint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hairtrigger.errors import StorageError
from hairtrigger.fixed import IntArray
from hairtrigger.graph.emulate import emulate_codes
from hairtrigger.rtl.bits import Packed, pack
from hairtrigger.rtl.design import Design
from hairtrigger.rtl.stream import stream_name, stream_verilog
from hairtrigger.rtl.verilog import span


def write_project(
    design: Design, folder: Path, vectors: Sequence[IntArray], *, stream: bool = False
) -> tuple[Path, ...]:
    """Write all files of a project into ``folder`` and return their paths.

    ``vectors``: input codes, one array (events, *shape) for each Input, for the testbench; the
    emulator's outputs stand beside them. ``stream``: in a folder of that name the design once more,
    with a clock enable and an AXI4-Stream wrapper. Raises `StorageError` where the folder cannot be
    written, `UnsupportedError` for a design that cannot be a stream.
    """
    stimulus = pack(design.in_types, design.in_words(tuple(vectors)))
    answers = pack(design.out_types, emulate_codes(design.graph, vectors))
    texts = {
        "kernels.v": design.kernels_verilog,
        f"{design.name}.v": design.top_verilog,
        f"{design.name}_tb.v": testbench(design, len(answers)),
        "stimulus.hex": _hex(stimulus),
        "expected.hex": _hex(answers),
        "clock.xdc": clock_constraint(design),
        "build.tcl": vivado_script(design),
        "graph.txt": str(design.graph),
    }
    if stream:
        held = replace(design, stall=True)
        texts["stream/kernels.v"] = held.kernels_verilog
        texts[f"stream/{design.name}.v"] = held.top_verilog
        texts[f"stream/{stream_name(design)}.v"] = stream_verilog(held)
    try:
        (folder / "stream" if stream else folder).mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"The project cannot be written to {folder}: {error.strerror}.",
            "Choose a folder that can be written and has room.",
        ) from None
    return tuple(folder / name for name in texts)


def design_files(folder: Path, design: Design) -> list[Path]:
    """The Verilog files of the design itself, in the order to compile them."""
    return [folder / "kernels.v", folder / f"{design.name}.v"]


def _hex(packed: Packed) -> str:
    rows = packed if packed.shape[1] else np.zeros((len(packed), 1), dtype=np.uint8)
    return "".join(row[::-1].tobytes().hex() + "\n" for row in rows)


def clock_constraint(design: Design) -> str:
    """The clock in Xilinx design constraints."""
    return f"create_clock -name clk -period {design.clock.period_ns:.3f} [get_ports clk]\n"


def vivado_script(design: Design) -> str:
    """A Tcl script: ``vivado -mode batch -source build.tcl`` synthesises, places and routes.

    Out of context, because the buses are wider than any package has pins.
    """
    top, part = design.name, design.part.vivado_name
    return f"""# vivado -mode batch -source build.tcl
set here [file dirname [file normalize [info script]]]
create_project -force {top} $here/vivado -part {part}
add_files [list $here/kernels.v $here/{top}.v]
add_files -fileset sim_1 [list $here/{top}_tb.v $here/stimulus.hex $here/expected.hex]
add_files -fileset constrs_1 $here/clock.xdc
set_property top {top} [current_fileset]
set_property top {top}_tb [get_filesets sim_1]
synth_design -top {top} -part {part} -mode out_of_context
opt_design
place_design
phys_opt_design
route_design
report_utilization -hierarchical -file $here/utilization.rpt
report_timing_summary -file $here/timing.rpt
puts "worst slack in ns: [get_property SLACK [get_timing_paths]]"
"""


def testbench(design: Design, events: int) -> str:
    """A self-checking testbench in Verilog-2005: drives every vector, with gaps, and compares."""
    top, ins, outs, words = design.name, design.in_bits, design.out_bits, design.words
    return f"""// Drives stimulus.hex into {top}, compares with expected.hex, prints PASS or FAIL.
`timescale 1ns / 1ps
module {top}_tb;
    reg clk = 1'b0;
    reg rst = 1'b1;
    reg in_valid = 1'b0;
    reg {span(ins)}in_data = {ins}'d0;
    wire out_valid;
    wire {span(outs)}out_data;

    reg {span(ins)}stimulus [0:{events * words - 1}];
    reg {span(outs)}expected [0:{events - 1}];
    integer sent = 0;
    integer seen = 0;
    integer wrong = 0;
    integer clocks = 0;
    integer word = 0;
    integer wait_for = 0;

    {top} dut (
        .clk(clk), .rst(rst), .in_valid(in_valid), .in_data(in_data),
        .out_valid(out_valid), .out_data(out_data)
    );

    always #{design.clock.period_ns / 2:.4f} clk = ~clk;

    initial begin
        $readmemh("stimulus.hex", stimulus);
        $readmemh("expected.hex", expected);
        repeat (4) @(negedge clk);
        rst = 1'b0;
    end

    // Inputs change at the falling edge. The words of an event follow each other without a gap;
    // every fifth event waits a clock longer than the interval.
    always @(negedge clk) begin
        if (!rst) begin
            clocks = clocks + 1;
            wait_for = wait_for - 1;
            if (word != 0 || (sent < {events} && wait_for <= 0)) begin
                if (word == 0) wait_for = {design.interval} + (sent % 5 == 4);
                in_valid = 1'b1;
                in_data = stimulus[{words} * sent + word];
                word = word + 1;
                if (word == {words}) begin
                    word = 0;
                    sent = sent + 1;
                end
            end else begin
                in_valid = 1'b0;
            end
            if (out_valid) begin
                if (out_data !== expected[seen]) begin
                    wrong = wrong + 1;
                    $display("event %0d: %h, expected %h", seen, out_data, expected[seen]);
                end
                seen = seen + 1;
            end
            if (seen == {events}) begin
                if (wrong == 0) $display("PASS: {events} events");
                else $display("FAIL: %0d of {events} events differ", wrong);
                $finish;
            end
            if (clocks > {2 * events * design.interval + design.latency + 100}) begin
                $display("FAIL: only %0d of {events} events came out", seen);
                $finish;
            end
        end
    end
endmodule
"""
