"""A wrapper for a DMA: packets of many events in, one packet of their answers out.

A DMA moves whole beats of 1, 2, 4, ... bytes, and ends a transfer at TLAST. Around the AXI4-Stream
wrapper of `hairtrigger.rtl.stream` this one puts beats together to words, counts the words of each
event, and marks the last answer of a packet with TLAST, whatever the length of the packet. It
counts the clocks of each packet too, so that a board can tell them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hairtrigger.errors import InputError
from hairtrigger.fixed import IntArray
from hairtrigger.rtl.bits import Packed, bus_bits, pack, unpack
from hairtrigger.rtl.design import Design
from hairtrigger.rtl.stream import stream_bytes, stream_name
from hairtrigger.rtl.verilog import span


@dataclass(frozen=True)
class Packets:
    """How events and answers lie in beats. ``in_beat`` and ``out_beat``: bytes of a beat; a word
    of ``in_word`` bytes, and an answer of ``out_word``, takes whole beats, zeros behind it."""

    words: int
    in_word: int
    out_word: int
    in_beat: int
    out_beat: int

    @property
    def in_beats(self) -> int:
        """Beats of a word."""
        return -(-self.in_word // self.in_beat)

    @property
    def out_beats(self) -> int:
        """Beats of an answer."""
        return -(-self.out_word // self.out_beat)

    @property
    def in_bytes(self) -> int:
        """Bytes of an event in memory."""
        return self.words * self.in_beats * self.in_beat

    @property
    def out_bytes(self) -> int:
        """Bytes of an answer in memory."""
        return self.out_beats * self.out_beat


def packets_of(design: Design, widest: int = 64) -> Packets:
    """The narrowest beats that take a word at once, up to ``widest`` bytes.

    Raises `InputError` where ``widest`` is no power of two from 1 to 128.
    """
    if widest not in (1, 2, 4, 8, 16, 32, 64, 128):
        raise InputError(
            f"a beat of {widest} bytes", "give a power of two from 1 to 128, as AXI4-Stream has"
        )
    ins, outs = stream_bytes(design.in_bits), stream_bytes(design.out_bits)
    beats = [min(widest, 1 << (n - 1).bit_length()) for n in (ins, outs)]
    return Packets(design.words, ins, outs, *beats)


def packet_name(design: Design) -> str:
    """Name of the wrapper's module."""
    return f"{design.name}_dma"


def to_memory(design: Design, layout: Packets, codes: tuple[IntArray, ...]) -> Packed:
    """Input codes (events, *shape) as they lie in memory: uint8 (events, `Packets.in_bytes`)."""
    words = pack(design.in_types, design.in_words(codes))
    whole = np.zeros((len(words), layout.in_beats * layout.in_beat), dtype=np.uint8)
    whole[:, : words.shape[1]] = words
    return whole.reshape(-1, layout.in_bytes)


def from_memory(design: Design, layout: Packets, memory: Packed) -> tuple[IntArray, ...]:
    """Output codes (events, *shape) of uint8 (events, `Packets.out_bytes`)."""
    rows = memory.reshape(-1, layout.out_bytes)
    return unpack(design.out_types, rows[:, : stream_bytes(bus_bits(design.out_types))])


def packet_verilog(design: Design, layout: Packets) -> str:
    """The wrapper module; needs that of `stream_verilog` of the same design."""
    in_bits, out_bits = 8 * layout.in_beat, 8 * layout.out_beat
    held, answer = in_bits * layout.in_beats, out_bits * layout.out_beats
    core_in, core_out = 8 * layout.in_word, 8 * layout.out_word
    beat = max(1, (layout.in_beats - 1).bit_length())
    out_beat = max(1, (layout.out_beats - 1).bit_length())
    word = max(1, (layout.words - 1).bit_length())
    # Events inside: in the pipeline, and those that wait at both of its ends.
    due = (design.latency // design.interval + 8).bit_length()
    shifted_in = f"{{given, held[{held - 1}:{in_bits}]}}" if layout.in_beats > 1 else "given"
    shifted_out = (
        f"{{{out_bits}'d0, out[{answer - 1}:{out_bits}]}}" if layout.out_beats > 1 else "out"
    )
    fill = f"{{{answer - core_out}'d0, core_data}}" if answer > core_out else "core_data"
    spare = f", held[{held - 1}:{core_in}]" if held > core_in else ""
    return f"""// Packets of events for a DMA around {stream_name(design)}.
// An event is {layout.words} words of {layout.in_beats} beats of {layout.in_beat} bytes;
// an answer is {layout.out_beats} beats of {layout.out_beat} bytes.
// A packet that ends inside an event is filled up with zeros, so that every transfer ends; then
// frame_error stays 1 until the reset. The next packet enters when the last answer has left.
// packet_clocks: clocks from the first beat of a packet to the last of its answers, both included.
module {packet_name(design)} (
    (* X_INTERFACE_INFO = "xilinx.com:signal:clock:1.0 aclk CLK" *)
    (* X_INTERFACE_PARAMETER = "ASSOCIATED_BUSIF s_axis:m_axis, ASSOCIATED_RESET aresetn" *)
    input  wire aclk,
    input  wire aresetn,
    input  wire {span(in_bits)}s_axis_tdata,
    input  wire {span(layout.in_beat)}s_axis_tkeep,
    input  wire s_axis_tvalid,
    output wire s_axis_tready,
    input  wire s_axis_tlast,
    output wire {span(out_bits)}m_axis_tdata,
    output wire {span(layout.out_beat)}m_axis_tkeep,
    output wire m_axis_tvalid,
    input  wire m_axis_tready,
    output wire m_axis_tlast,
    output reg  [31:0] packet_clocks,
    output wire frame_error
);
    // Beats to words. The first beat ends up in the lowest bits.
    reg {span(held)}held;
    reg full;
    reg last;
    reg {span(beat)}beat;
    reg {span(word)}word;
    reg ended;
    reg filling;
    reg cut_short;
    wire core_ready;
    wire room = ~full | core_ready;
    assign s_axis_tready = ~ended & room;
    wire taken = s_axis_tvalid & s_axis_tready;
    wire push = taken | (filling & room);
    wire {span(in_bits)}given = filling ? {in_bits}'d0 : s_axis_tdata;
    wire word_ends = beat == {beat}'d{layout.in_beats - 1};
    wire event_ends = word_ends & (word == {word}'d{layout.words - 1});
    wire done;
    always @(posedge aclk) begin
        if (!aresetn) begin
            full <= 1'b0;
            last <= 1'b0;
            beat <= {beat}'d0;
            word <= {word}'d0;
            ended <= 1'b0;
            filling <= 1'b0;
            cut_short <= 1'b0;
        end else begin
            if (full && core_ready) full <= 1'b0;
            if (push) begin
                held <= {shifted_in};
                beat <= word_ends ? {beat}'d0 : beat + {beat}'d1;
                if (word_ends) begin
                    full <= 1'b1;
                    last <= event_ends;
                    word <= event_ends ? {word}'d0 : word + {word}'d1;
                end
                if (event_ends) filling <= 1'b0;
            end
            if (taken && s_axis_tlast) begin
                ended <= 1'b1;
                if (!event_ends) begin
                    filling <= 1'b1;
                    cut_short <= 1'b1;
                end
            end
            if (done) ended <= 1'b0;
        end
    end

    wire {span(core_out)}core_data;
    wire core_valid;
    wire core_taken;
    wire core_last;
    wire core_error;
    {stream_name(design)} core (
        .aclk(aclk), .aresetn(aresetn), .s_axis_tdata(held[{core_in - 1}:0]), .s_axis_tvalid(full),
        .s_axis_tready(core_ready), .s_axis_tlast(last), .m_axis_tdata(core_data),
        .m_axis_tvalid(core_valid), .m_axis_tready(core_taken), .m_axis_tlast(core_last),
        .frame_error(core_error)
    );
    assign frame_error = core_error | cut_short;
    wire unused = &{{1'b0, s_axis_tkeep, core_last{spare}}};

    // Answers to beats. An answer is the packet's last if no other event is inside or to come.
    reg {span(answer)}out;
    reg out_full;
    reg out_last;
    reg {span(out_beat)}out_beat;
    reg {span(due)}due;
    wire out_ends = out_beat == {out_beat}'d{layout.out_beats - 1};
    wire moved = out_full & m_axis_tready;
    assign core_taken = ~out_full | (moved & out_ends);
    wire load = core_valid & core_taken;
    assign done = moved & out_ends & out_last;
    assign m_axis_tdata = out[{out_bits - 1}:0];
    assign m_axis_tkeep = {{{layout.out_beat}{{1'b1}}}};
    assign m_axis_tvalid = out_full;
    assign m_axis_tlast = out_last & out_ends;
    wire enters = push & event_ends;
    always @(posedge aclk) begin
        if (!aresetn) begin
            out_full <= 1'b0;
            out_last <= 1'b0;
            out_beat <= {out_beat}'d0;
            due <= {due}'d0;
        end else begin
            if (moved) begin
                out <= {shifted_out};
                out_beat <= out_ends ? {out_beat}'d0 : out_beat + {out_beat}'d1;
                if (out_ends) out_full <= 1'b0;
            end
            if (load) begin
                out <= {fill};
                out_full <= 1'b1;
                out_last <= ended & ~filling & (due == {due}'d1);
            end
            if (enters && !load) due <= due + {due}'d1;
            else if (load && !enters) due <= due - {due}'d1;
        end
    end

    // Clocks of a packet.
    reg running;
    reg [31:0] clocks;
    always @(posedge aclk) begin
        if (!aresetn) begin
            running <= 1'b0;
            clocks <= 32'd0;
            packet_clocks <= 32'd0;
        end else if (done) begin
            running <= 1'b0;
            clocks <= 32'd0;
            packet_clocks <= clocks + 32'd1;
        end else if (running || taken) begin
            running <= 1'b1;
            clocks <= clocks + 32'd1;
        end
    end
endmodule
"""
