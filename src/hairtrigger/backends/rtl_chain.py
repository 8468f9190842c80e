"""A chain of two designs (`hairtrigger.rtl.chain`), simulated by Verilator, counted by Yosys."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from hairtrigger.backends.rtl import Simulated
from hairtrigger.errors import InputError
from hairtrigger.fixed import IntArray
from hairtrigger.rtl.bits import bus_bits, pack, unpack
from hairtrigger.rtl.chain import Chain
from hairtrigger.rtl.verilog import span
from hairtrigger.tools import verilator, yosys
from hairtrigger.tools.simulator import MAX_LATENCY


def simulate_chain(
    chain: Chain,
    ticks: IntArray,
    *,
    tick: int | None = None,
    gaps_seed: int | None = None,
    cache: Path | None = None,
) -> Simulated:
    """Run a stream (ticks, wires) of whole images through the simulated Verilog.

    A tick enters every ``tick`` clocks (None: as often as the chain is made for). The latency
    counts from the first word of an image's last tick to its decision; all images have the same, or
    the simulation fails. ``gaps_seed``: random pauses between images, which must change nothing.
    Raises `InputError` for parts of images and ticks too close, `ToolError`.
    """
    front, pace = chain.front, chain.tick if tick is None else tick
    if pace < chain.tick:
        raise InputError(f"A tick every {pace} clocks.", f"The chain takes {chain.tick} or more.")
    images = len(ticks) // chain.image_ticks
    if not images or len(ticks) % chain.image_ticks:
        raise InputError(f"{len(ticks)} ticks.", f"Give whole images of {chain.image_ticks}.")
    words = pack(front.in_types, front.in_words((ticks,)))
    # The words of a tick, then clocks whose words the wrapper does not pass on.
    padded = np.zeros((len(ticks), pace, words.shape[1]), dtype=np.uint8)
    padded[:, : front.words] = words.reshape(len(ticks), front.words, -1)
    top = f"{chain.name}_paced"
    with tempfile.TemporaryDirectory(prefix="hairtrigger-chain-") as folder:
        files = write_chain(chain, Path(folder))
        verilator.lint(files, chain.name)
        paced = Path(folder) / f"{top}.v"
        paced.write_text(_paced(chain, top, pace), encoding="utf-8")
        program = verilator.build(
            [*files, paced], top, front.in_bits, chain.network.out_bits, cache
        )
    clocks = chain.image_ticks * pace
    result = program.run(
        padded.reshape(len(ticks) * pace, -1),
        interval=clocks,
        words=clocks,
        gaps_seed=gaps_seed,
        max_latency=max(MAX_LATENCY, 2 * (clocks + chain.latency)),
    )
    out_bytes = (bus_bits(chain.network.out_types) + 7) // 8
    outputs = unpack(chain.network.out_types, result.outputs[:, :out_bytes])
    last = (chain.image_ticks - 1) * pace
    return Simulated(outputs, result.latency - last, result.clocks)


def synthesise_chain(chain: Chain, *, cache: Path | None = None) -> yosys.Resources:
    """What Yosys counts for the whole chain."""
    with tempfile.TemporaryDirectory(prefix="hairtrigger-chain-") as folder:
        files = write_chain(chain, Path(folder))
        family = chain.front.part.yosys_family
        return yosys.synthesise(files, chain.name, cache, family=family)


def write_chain(chain: Chain, folder: Path) -> list[Path]:
    """Write the Verilog files into an existing folder; their paths in the order to compile them."""
    for name, text in chain.verilog.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in chain.verilog]


def _paced(chain: Chain, top: str, pace: int) -> str:
    """For simulation: of ``pace`` words of a tick the first are the front's, the others pauses."""
    front = chain.front
    width = max(1, (pace - 1).bit_length())
    return f"""module {top} (
    input  wire clk,
    input  wire rst,
    input  wire in_valid,
    input  wire {span(front.in_bits)}in_data,
    output wire out_valid,
    output wire {span(chain.network.out_bits)}out_data
);
    reg {span(width)}at;
    always @(posedge clk) begin
        if (rst) at <= {width}'d0;
        else if (in_valid) at <= (at == {width}'d{pace - 1}) ? {width}'d0 : at + {width}'d1;
    end
    {chain.name} u_chain (
        .clk(clk), .rst(rst), .in_valid(in_valid & (at <= {width}'d{front.words - 1})),
        .in_data(in_data), .out_valid(out_valid), .out_data(out_data)
    );
endmodule
"""
