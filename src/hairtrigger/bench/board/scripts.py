"""Texts for the vendor's tools: Tcl for Vivado, sources and a Makefile for Vitis, a README."""

from __future__ import annotations

from hairtrigger.bench.board.boards import ALVEO, ZYNQ7, Board
from hairtrigger.rtl.design import Design
from hairtrigger.rtl.packets import Packets, packet_name
from hairtrigger.rtl.verilog import span

_PS7 = """\
set ps [create_bd_cell -type ip -vlnv xilinx.com:ip:processing_system7 ps]
apply_bd_automation -rule xilinx.com:bd_rule:processing_system7 \\
    -config {{make_external "FIXED_IO, DDR"}} $ps
set_property -dict [list CONFIG.PCW_USE_S_AXI_HP0 1 \\
    CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ {mhz:g}] $ps
set master /ps/M_AXI_GP0
set memory /ps/S_AXI_HP0
"""
_PSU = """\
set ps [create_bd_cell -type ip -vlnv xilinx.com:ip:zynq_ultra_ps_e ps]
apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e -config {{apply_board_preset 1}} $ps
set_property -dict [list CONFIG.PSU__USE__S_AXI_GP2 1 CONFIG.PSU__USE__M_AXI_GP0 1 \\
    CONFIG.PSU__USE__M_AXI_GP1 0 CONFIG.PSU__USE__M_AXI_GP2 0 \\
    CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ {mhz:g}] $ps
set master /ps/M_AXI_HPM0_FPD
set memory /ps/S_AXI_HP0_FPD
"""


def zynq(design: Design, board: Board, layout: Packets) -> dict[str, str]:
    """build.tcl: a block design of the processor, an AXI DMA, the network and a GPIO."""
    top, dma = design.name, packet_name(design)
    processor = (_PS7 if board.kind == ZYNQ7 else _PSU).format(mhz=design.clock.mhz)
    wide = max(32, 8 * layout.in_beat), max(32, 8 * layout.out_beat)
    return {
        "build.tcl": f"""# vivado -mode batch -source build.tcl
# Makes {top}.bit and {top}.hwh for {board.title}. Written for Vivado 2022.1 and later.
# With the board's files installed in Vivado, set BOARD_PART to its name for its memory presets.
set here [file dirname [file normalize [info script]]]
create_project -force {top} $here/vivado -part {design.part.vivado_name}
if {{[info exists ::env(BOARD_PART)]}} {{
    set_property board_part $::env(BOARD_PART) [current_project]
}}
add_files [glob $here/src/*.v]
update_compile_order -fileset sources_1

create_bd_design system
{processor}
# One DMA in simple mode: what PYNQ's driver knows. Beats are as wide as the network's.
set dma [create_bd_cell -type ip -vlnv xilinx.com:ip:axi_dma axi_dma_0]
set_property -dict [list CONFIG.c_include_sg 0 CONFIG.c_sg_length_width 26 \\
    CONFIG.c_m_axi_mm2s_data_width {wide[0]} \\
    CONFIG.c_m_axis_mm2s_tdata_width {8 * layout.in_beat} \\
    CONFIG.c_m_axi_s2mm_data_width {wide[1]} \\
    CONFIG.c_s_axis_s2mm_tdata_width {8 * layout.out_beat} \\
    CONFIG.c_mm2s_burst_size 64 CONFIG.c_s2mm_burst_size 64] $dma
create_bd_cell -type module -reference {dma} network
connect_bd_intf_net [get_bd_intf_pins axi_dma_0/M_AXIS_MM2S] [get_bd_intf_pins network/s_axis]
connect_bd_intf_net [get_bd_intf_pins network/m_axis] [get_bd_intf_pins axi_dma_0/S_AXIS_S2MM]

# What the network says of itself: clocks of the last packet, and broken frames.
set gpio [create_bd_cell -type ip -vlnv xilinx.com:ip:axi_gpio axi_gpio_0]
set_property -dict [list CONFIG.C_ALL_INPUTS 1 CONFIG.C_GPIO_WIDTH 32 CONFIG.C_IS_DUAL 1 \\
    CONFIG.C_ALL_INPUTS_2 1 CONFIG.C_GPIO2_WIDTH 1] $gpio
connect_bd_net [get_bd_pins network/packet_clocks] [get_bd_pins axi_gpio_0/gpio_io_i]
connect_bd_net [get_bd_pins network/frame_error] [get_bd_pins axi_gpio_0/gpio2_io_i]

foreach slave {{axi_dma_0/S_AXI_LITE axi_gpio_0/S_AXI}} {{
    apply_bd_automation -rule xilinx.com:bd_rule:axi4 -config \\
        [list Master $master Slave /$slave Clk Auto] [get_bd_intf_pins $slave]
}}
apply_bd_automation -rule xilinx.com:bd_rule:axi4 -config \\
    [list Master /axi_dma_0/M_AXI_MM2S Slave $memory Clk Auto] \\
    [get_bd_intf_pins [string range $memory 1 end]]
apply_bd_automation -rule xilinx.com:bd_rule:axi4 -config \\
    [list Master /axi_dma_0/M_AXI_S2MM Slave $memory Clk Auto] \\
    [get_bd_intf_pins axi_dma_0/M_AXI_S2MM]
set clock [get_bd_nets -of_objects [get_bd_pins axi_dma_0/s_axi_lite_aclk]]
set reset [get_bd_nets -of_objects [get_bd_pins axi_dma_0/axi_resetn]]
connect_bd_net -net $clock [get_bd_pins network/aclk]
connect_bd_net -net $reset [get_bd_pins network/aresetn]
assign_bd_address
validate_bd_design
save_bd_design

make_wrapper -files [get_files system.bd] -top -import
set_property top system_wrapper [current_fileset]
update_compile_order -fileset sources_1
launch_runs impl_1 -to_step write_bitstream -jobs 4
wait_on_run impl_1
if {{[get_property PROGRESS [get_runs impl_1]] ne "100%"}} {{ error "implementation failed" }}
open_run impl_1
report_timing_summary -file $here/timing.rpt
report_utilization -hierarchical -file $here/utilization.rpt
set slack [get_property SLACK [get_timing_paths]]
puts "worst slack in ns: $slack"
if {{$slack < 0}} {{ error "the clock of {design.clock} is not reached: compile for a slower one" }}
file copy -force $here/vivado/{top}.runs/impl_1/system_wrapper.bit $here/{top}.bit
set handoff $here/vivado/{top}.gen/sources_1/bd/system/hw_handoff
file copy -force $handoff/system.hwh $here/{top}.hwh
"""
    }


def alveo(design: Design, board: Board, layout: Packets) -> dict[str, str]:
    """A free-running RTL kernel, two movers in HLS C++, and the Makefile that links them."""
    top, dma = design.name, packet_name(design)
    ins, outs = 8 * layout.in_beat, 8 * layout.out_beat
    kernel = f"{top}_kernel"
    return {
        f"src/{kernel}.v": f"""// {dma} with the names of ports that Vitis expects of a kernel.
module {kernel} (
    input  wire ap_clk,
    input  wire ap_rst_n,
    input  wire {span(ins)}s_axis_tdata,
    input  wire {span(layout.in_beat)}s_axis_tkeep,
    input  wire s_axis_tvalid,
    output wire s_axis_tready,
    input  wire s_axis_tlast,
    output wire {span(outs)}m_axis_tdata,
    output wire {span(layout.out_beat)}m_axis_tkeep,
    output wire m_axis_tvalid,
    input  wire m_axis_tready,
    output wire m_axis_tlast
);
    wire [31:0] packet_clocks;
    wire frame_error;
    wire unused = &{{1'b0, packet_clocks, frame_error}};
    {dma} network (
        .aclk(ap_clk), .aresetn(ap_rst_n), .s_axis_tdata(s_axis_tdata),
        .s_axis_tkeep(s_axis_tkeep), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .s_axis_tlast(s_axis_tlast), .m_axis_tdata(m_axis_tdata), .m_axis_tkeep(m_axis_tkeep),
        .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready), .m_axis_tlast(m_axis_tlast),
        .packet_clocks(packet_clocks), .frame_error(frame_error)
    );
endmodule
""",
        "package.tcl": f"""# vivado -mode batch -source package.tcl
# Packages {kernel} as a free-running kernel (no control port) into {kernel}.xo.
set here [file dirname [file normalize [info script]]]
create_project -force package $here/package_project -part {design.part.vivado_name}
add_files [glob $here/src/*.v]
set_property top {kernel} [current_fileset]
update_compile_order -fileset sources_1
ipx::package_project -root_dir $here/packaged -vendor user -library user -taxonomy /UserIP \\
    -import_files -set_current true
ipx::associate_bus_interfaces -busif s_axis -clock ap_clk [ipx::current_core]
ipx::associate_bus_interfaces -busif m_axis -clock ap_clk [ipx::current_core]
set_property sdx_kernel true [ipx::current_core]
set_property sdx_kernel_type rtl [ipx::current_core]
set_property vitis_drc {{ctrl_protocol ap_ctrl_none}} [ipx::current_core]
set_property ipi_drc {{ignore_freq_hz true}} [ipx::current_core]
ipx::create_xgui_files [ipx::current_core]
ipx::update_checksums [ipx::current_core]
ipx::save_core [ipx::current_core]
package_xo -force -ctrl_protocol ap_ctrl_none -kernel_name {kernel} \\
    -ip_directory $here/packaged -xo_path $here/{kernel}.xo
""",
        "movers.cpp": f"""// Movers between memory and the streams; ``bytes`` are whole beats.
#include <ap_axi_sdata.h>
#include <ap_int.h>
#include <hls_stream.h>

using In = ap_axiu<{ins}, 0, 0, 0>;
using Out = ap_axiu<{outs}, 0, 0, 0>;

extern "C" void mm2s(const ap_uint<{ins}>* memory, unsigned bytes, hls::stream<In>& s) {{
#pragma HLS INTERFACE m_axi port = memory offset = slave bundle = gmem
#pragma HLS INTERFACE axis port = s
    const unsigned beats = bytes / {layout.in_beat};
    for (unsigned n = 0; n < beats; ++n) {{
#pragma HLS PIPELINE II = 1
        In beat;
        beat.data = memory[n];
        beat.keep = -1;
        beat.last = n + 1 == beats;
        s.write(beat);
    }}
}}

extern "C" void s2mm(ap_uint<{outs}>* memory, unsigned bytes, hls::stream<Out>& s) {{
#pragma HLS INTERFACE m_axi port = memory offset = slave bundle = gmem
#pragma HLS INTERFACE axis port = s
    const unsigned beats = bytes / {layout.out_beat};
    for (unsigned n = 0; n < beats; ++n) {{
#pragma HLS PIPELINE II = 1
        memory[n] = s.read().data;
    }}
}}
""",
        "link.cfg": f"""[connectivity]
nk={kernel}:1:network
nk=mm2s:1:mm2s
nk=s2mm:1:s2mm
stream_connect=mm2s.s:network.s_axis
stream_connect=network.m_axis:s2mm.s
""",
        "Makefile": f"""# make: {top}.xclbin, with Vitis and the card's platform installed (hours)
PLATFORM ?= {board.platform}
FREQUENCY ?= {round(1e6 * design.clock.mhz)}
FLAGS := --target hw --platform $(PLATFORM)

{top}.xclbin: {kernel}.xo mm2s.xo s2mm.xo link.cfg
\tv++ $(FLAGS) --link --config link.cfg --kernel_frequency $$(($(FREQUENCY) / 1000000)) \\
\t\t--optimize 2 -o $@ $(filter %.xo,$^)

{kernel}.xo: package.tcl $(wildcard src/*.v)
\tvivado -mode batch -source package.tcl

mm2s.xo s2mm.xo: %.xo: movers.cpp
\tv++ $(FLAGS) --compile -k $* -o $@ $<

clean:
\trm -rf *.xo *.xclbin package_project packaged _x .Xil *.log *.jou

.PHONY: clean
""",
    }


def readme(design: Design, board: Board, layout: Packets) -> str:
    """What to do with the folder."""
    top = design.name
    if board.kind == ALVEO:
        build = f"""\
    make                            # {top}.xclbin: Vitis, and the platform of the card
    python3 driver.py --seconds 5   # beside the card, with XRT's Python (source xrt/setup.sh)"""
        inside = (
            "mm2s and s2mm move beats between the card's memory and the kernel, which runs freely. "
            "Times are from the host's memory to the host's memory, over PCIe; clocks inside the "
            "card are not read."
        )
    else:
        build = f"""\
    vivado -mode batch -source build.tcl    # {top}.bit and {top}.hwh
    # copy this folder to the board, then there, as root:
    python3 driver.py --seconds 5"""
        inside = (
            "An AXI DMA in simple mode moves beats between memory and the network; a GPIO shows "
            "the clocks of the last packet (channel 1) and whether one was cut short (channel 2). "
            "Times are from memory to memory, by the processor's clock, with PYNQ's calls."
        )
    return f"""# {top} on {board.title}

{build}

Then, where hairtrigger is: `hairtrigger bench MODEL --board-results results.json`, with the same
model, events, part and clock: results of other inputs are refused.

These files were written without the board and without the vendor's tools. The Verilog was linted,
and `hairtrigger bench` has simulated it with these events and pauses on both sides. The scripts and
the driver have not run on hardware.

- Part {design.part.vivado_name}, clock {design.clock}; a packet's first answer comes after
  {design.latency} clocks and those that the wrappers add.
- An event is {layout.words} word(s) of {layout.in_beats} beat(s) of {layout.in_beat} bytes,
  {layout.in_bytes} bytes in memory; an answer {layout.out_beats} beat(s) of {layout.out_beat}
  bytes, {layout.out_bytes} bytes. Bits are those of `in_data` and `out_data`, zeros behind them.
- A packet is any number of whole events, TLAST with its last beat; the last answer has TLAST.
- {inside}
- `events.bin` and `expected.bin`: the events of the bench and the emulator's answers; `board.json`
  has their hashes.
"""
