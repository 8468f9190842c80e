"""An AXI4-Stream wrapper around a design: valid and ready on both sides, frames marked by TLAST.

A frame is the words of one event; its answer is one word. Inside a frame a missing word holds the
whole pipeline; between frames it runs on, so that no answer waits for a later frame. An answer that
is not taken holds the pipeline too. Needs a design compiled with ``stall=True``.
"""

from __future__ import annotations

from hairtrigger.errors import UnsupportedError
from hairtrigger.rtl.design import Design
from hairtrigger.rtl.verilog import span


def stream_name(design: Design) -> str:
    """Name of the wrapper's module."""
    return f"{design.name}_axis"


def stream_bytes(bits: int) -> int:
    """Bytes of a stream's word for so many bits."""
    return (bits + 7) // 8


def stream_verilog(design: Design) -> str:
    """The wrapper module. Raises `UnsupportedError` for a design without a clock enable, and for
    one whose answer comes before the last word of its frame is known."""
    if not design.stall:
        raise UnsupportedError(
            f"Design {design.name!r} cannot be held, as a stream needs.",
            "Compile it with stall=True.",
        )
    late = design.latency - design.words + 1
    if late < 1:
        raise UnsupportedError(
            f"The answer of {design.name!r} comes {1 - late} clocks before its frame ends, so a "
            "broken frame could not be dropped.",
            "Leave out the part of the input that is not read.",
        )
    ins, outs = (8 * stream_bytes(n) for n in (design.in_bits, design.out_bits))
    words, interval = design.words, design.interval
    count, wait = max(1, (words - 1).bit_length()), max(1, interval.bit_length())
    spare = [f"data[{ins - 1}:{design.in_bits}]"] if ins > design.in_bits else []
    unused = f"\n    wire unused = &{{1'b0, {', '.join(spare)}}};" if spare else ""
    fill = f"{{{outs - design.out_bits}'d0, out_data}}" if outs > design.out_bits else "out_data"
    line = f"{{bad_line[{late - 2}:0], ends_badly}}" if late > 1 else "ends_badly"
    following = (
        f"if (at_end) word <= {count}'d0;\n                else word <= word + {count}'d1;"
        if words > 1
        else f"word <= {count}'d0;"
    )
    cooling = f"{wait}'d{interval - 1}"
    return f"""// AXI4-Stream around {design.name}: frames of {words} words in, a word out for each.
// A frame whose TLAST comes early or late is dropped, and frame_error stays 1 until the reset.
module {stream_name(design)} (
    input  wire aclk,
    input  wire aresetn,
    input  wire {span(ins)}s_axis_tdata,
    input  wire s_axis_tvalid,
    output wire s_axis_tready,
    input  wire s_axis_tlast,
    output wire {span(outs)}m_axis_tdata,
    output wire m_axis_tvalid,
    input  wire m_axis_tready,
    output wire m_axis_tlast,
    output reg  frame_error
);
    // Input: a word at hand and one behind it, so that tready is a register.
    reg {span(ins)}data;
    reg last;
    reg here;
    reg {span(ins)}next_data;
    reg next_last;
    reg next_here;
    assign s_axis_tready = ~next_here;
    always @(posedge aclk) begin
        if (!aresetn) begin
            here <= 1'b0;
            next_here <= 1'b0;
        end else if (!here || used) begin
            data <= next_here ? next_data : s_axis_tdata;
            last <= next_here ? next_last : s_axis_tlast;
            here <= next_here | s_axis_tvalid;
            next_here <= 1'b0;
        end else if (s_axis_tvalid && !next_here) begin
            next_data <= s_axis_tdata;
            next_last <= s_axis_tlast;
            next_here <= 1'b1;
        end
    end

    // Frames: padding fills up one that ended early, skipping drops the rest of one too long.
    reg {span(count)}word;
    reg {span(wait)}pause;
    reg padding;
    reg skipping;
    wire inside = word != {count}'d0;
    wire at_end = word == {count}'d{words - 1};
    wire may_begin = pause == {wait}'d0;
    wire in_valid = padding | (here & ~skipping & (inside | may_begin));
    wire gap = inside & ~padding & ~here;
    wire out_valid;
    wire {span(design.out_bits)}out_data;
    reg {span(outs)}answer;
    reg answered;
    wire full = out_valid & answered & ~m_axis_tready;
    wire ce = ~gap & ~full;
    wire step = in_valid & ce;
    wire used = (step & ~padding) | (here & skipping);
    wire ends_badly = step & at_end & (padding | ~last);
    always @(posedge aclk) begin
        if (!aresetn) begin
            word <= {count}'d0;
            pause <= {wait}'d0;
            padding <= 1'b0;
            skipping <= 1'b0;
            frame_error <= 1'b0;
        end else begin
            if (step) begin
                {following}
                if (padding) padding <= ~at_end;
                else if (last != at_end) begin
                    frame_error <= 1'b1;
                    if (last) padding <= 1'b1;
                    else if (at_end) skipping <= 1'b1;
                end
            end
            if (skipping && here && last) skipping <= 1'b0;
            if (step && !inside) pause <= {cooling};
            else if (ce && !may_begin) pause <= pause - {wait}'d1;
        end
    end

    {design.name} core (
        .clk(aclk), .rst(~aresetn), .ce(ce), .in_valid(in_valid),
        .in_data(data[{design.in_bits - 1}:0]), .out_valid(out_valid), .out_data(out_data)
    );{unused}

    // Output: the answers of whole frames, held until they are taken.
    reg {span(late)}bad_line;
    always @(posedge aclk) if (ce) bad_line <= {line};
    wire bad = bad_line{f"[{late - 1}]" if late > 1 else ""};
    assign m_axis_tdata = answer;
    assign m_axis_tvalid = answered;
    assign m_axis_tlast = 1'b1;
    always @(posedge aclk) begin
        if (!aresetn) answered <= 1'b0;
        else if (ce && out_valid && !bad) begin
            answered <= 1'b1;
            answer <= {fill};
        end else if (m_axis_tready) answered <= 1'b0;
    end
endmodule
"""
