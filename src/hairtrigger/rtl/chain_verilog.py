"""Verilog of a `hairtrigger.rtl.chain.Chain`: its top module, with what is between both designs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hairtrigger.rtl.verilog import span

if TYPE_CHECKING:
    from hairtrigger.rtl.chain import Chain


def chain_text(chain: Chain) -> str:
    """The top module."""
    glue = _buffered(chain) if chain.buffered else _streamed(chain)
    front, network = chain.front, chain.network
    ready = front.graph.output_types[0].bits
    unused = ", ".join(["1'b0", *_unread(chain)])
    return f"""// {chain.name}: a tick every {chain.tick} clocks, an image of {chain.image_ticks}.
// The decision comes {chain.latency} clocks after the first word of an image's last tick.
module {chain.name} (
    input  wire clk,
    input  wire rst,
    input  wire in_valid,
    input  wire {span(front.in_bits)}in_data,
    output wire out_valid,
    output wire {span(network.out_bits)}out_data
);
    wire front_valid;
    wire {span(front.out_bits)}front_data;
    {front.name} u_front (
        .clk(clk), .rst(rst), .in_valid(in_valid), .in_data(in_data),
        .out_valid(front_valid), .out_data(front_data)
    );
    wire {span(ready)}pixels = front_data[{ready - 1}:0];
    wire ready = front_valid{f" & front_data[{ready}]" if front.out_bits > ready else ""};
{glue}
    wire unused = &{{{unused}}};
endmodule
"""


def _unread(chain: Chain) -> list[str]:
    """Names of which bits may go unread."""
    return ["row"] if not chain.buffered else ["row", "read"]


def _counter(most: int) -> tuple[str, str]:
    """The range of a register that counts to ``most``, and the width of its constants."""
    width = max(1, most.bit_length())
    return span(width), f"{width}'d"


def _streamed(chain: Chain) -> str:
    """Words of rows as they come; the network is held while it waits for the next row."""
    rows, _ = chain.shape
    network, words = chain.network, chain.row_words
    total = chain.front.graph.output_types[0].bits
    part = network.in_bits
    left, one_left = _counter(words)
    at, one_at = _counter(rows * words - 1)
    moved = f"{{{part}'d0, row[{total - 1}:{part}]}}" if total > part else "row"
    return f"""
    // The row at hand, its first word in the lowest bits, and the words that are left of it.
    reg {span(total)}row;
    reg {left}left;
    reg {at}word;
    wire here = left != {one_left}0;
    always @(posedge clk) begin
        if (ready) row <= pixels;
        else if (here) row <= {moved};
        if (rst) left <= {one_left}0;
        else if (ready) left <= {one_left}{words};
        else if (here) left <= left - {one_left}1;
        if (rst) word <= {one_at}0;
        else if (here) word <= (word == {one_at}{rows * words - 1}) ? {one_at}0 : word + {one_at}1;
    end

    // Inside an image the network moves with its words only; between images it runs on.
    reg {span(part)}data;
    reg valid;
    reg ce;
    wire answered;
    always @(posedge clk) begin
        data <= row[{part - 1}:0];
        valid <= here & ~rst;
        ce <= here | (word == {one_at}0) | rst;
    end
    {network.name} u_network (
        .clk(clk), .rst(rst), .ce(ce), .in_valid(valid), .in_data(data),
        .out_valid(answered), .out_data(out_data)
    );
    assign out_valid = answered & ce;"""


def _buffered(chain: Chain) -> str:
    """Rows into memories, an image and the next; words are parts of columns."""
    rows, pixels = chain.shape
    network = chain.network
    bits = chain.front.graph.output_types[0].bits // pixels
    total, part = bits * pixels, network.in_bits
    parts = rows * bits // part
    depth = 1 << (pixels - 1).bit_length()
    wide = (pixels - 1).bit_length()
    left, one_left = _counter(pixels)
    at, one_at = _counter(rows - 1)
    sub, one_sub = _counter(max(parts - 1, 1))
    memories = "".join(
        f"""
    reg {span(bits)}memory{n} [0:{2 * depth - 1}];
    always @(posedge clk)
        if (here & (number == {one_at}{n})) memory{n}[{{bank, column}}] <= pixel;"""
        for n in range(rows)
    )
    read = ", ".join(f"memory{n}[{{from, place}}]" for n in reversed(range(rows)))
    chosen = f"read[{part - 1}:0]" if parts == 1 else f"read[turn * {part} +: {part}]"
    return f"""
    // The row at hand goes pixel by pixel into the memory of its number.
    reg {span(total)}row;
    reg {left}left;
    reg {at}number;
    reg {span(wide)}column;
    reg bank;
    wire here = left != {one_left}0;
    wire last = left == {one_left}1;
    wire whole = number == {one_at}{rows - 1};
    wire {span(bits)}pixel = row[{bits - 1}:0];
    always @(posedge clk) begin
        if (ready) row <= pixels;
        else if (here) row <= {{{bits}'d0, row[{total - 1}:{bits}]}};
        if (ready) column <= {wide}'d0;
        else if (here) column <= column + {wide}'d1;
        if (rst) left <= {one_left}0;
        else if (ready) left <= {one_left}{pixels};
        else if (here) left <= left - {one_left}1;
        if (rst) number <= {one_at}0;
        else if (last) number <= whole ? {one_at}0 : number + {one_at}1;
        if (rst) bank <= 1'b0;
        else if (last & whole) bank <= ~bank;
    end{memories}

    // Columns are read as soon as the last row has begun to come, no faster than it does.
    reg reading;
    reg from;
    reg {span(wide)}place;
    reg {sub}turn;
    wire begins = here & whole & (column == {wide}'d0);
    wire turned = turn == {one_sub}{parts - 1};
    always @(posedge clk) begin
        if (rst) reading <= 1'b0;
        else if (begins) reading <= 1'b1;
        else if (turned & (place == {wide}'d{pixels - 1})) reading <= 1'b0;
        if (begins) begin
            from <= bank;
            place <= {wide}'d0;
            turn <= {one_sub}0;
        end else begin
            turn <= turned ? {one_sub}0 : turn + {one_sub}1;
            if (turned) place <= place + {wide}'d1;
        end
    end
    wire {span(rows * bits)}read = {{{read}}};
    reg {span(part)}data;
    reg valid;
    always @(posedge clk) begin
        data <= {chosen};
        valid <= reading & ~rst;
    end
    {network.name} u_network (
        .clk(clk), .rst(rst), .in_valid(valid), .in_data(data),
        .out_valid(out_valid), .out_data(out_data)
    );"""
