"""Many designs side by side in one Verilator build: what random tests of Verilog can afford."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hairtrigger.errors import MismatchError
from hairtrigger.fixed import IntArray
from hairtrigger.graph import Graph
from hairtrigger.rtl.bits import pack, unpack
from hairtrigger.rtl.design import Design, compile_graph
from hairtrigger.rtl.verilog import span
from hairtrigger.tools import verilator


@dataclass(frozen=True)
class Batch:
    """Designs next to each other between two buses, answers aligned to the slowest."""

    designs: tuple[Design, ...]
    latency: int
    text: str

    @classmethod
    def of(cls, graphs: Sequence[Graph], clock: str = "200 MHz", interval: int = 1) -> Batch:
        """Compile Graphs for one clock and one interval."""
        named = [dataclasses.replace(g, name=f"g{n}") for n, g in enumerate(graphs)]
        return cls.of_designs(
            [compile_graph(g, "xcvu13p", clock, interval=interval) for g in named]
        )

    @classmethod
    def of_designs(cls, designs: Sequence[Design]) -> Batch:
        """Put designs of one interval and of different names side by side."""
        latency = max(d.latency for d in designs)
        lines = [t for d in designs for t in (d.kernels_verilog, d.top_verilog)]
        return cls(tuple(designs), latency, "\n".join([*lines, _wrapper(designs, latency)]))

    def run(
        self,
        codes: Sequence[Sequence[IntArray]],
        folder: Path,
        gaps_seed: int | None = None,
    ) -> list[tuple[IntArray, ...]]:
        """Output codes of each Graph for its own input codes (equally many events).

        ``folder``: for the source and the compiled simulation. Raises `ToolError` where Verilator
        refuses the Verilog or a design breaks its convention, `MismatchError` where the latency
        counted is not the one that was promised.
        """
        folder.mkdir(parents=True, exist_ok=True)
        source = folder / "batch.v"
        source.write_text(self.text)
        verilator.lint([source], "batch")
        in_bits, out_bits = (sum(_bits(d)[n] for d in self.designs) for n in (0, 1))
        simulator = verilator.build([source], "batch", in_bits, out_bits, folder / "build")
        words = max(d.words for d in self.designs)
        events = max(len(x) for given in codes for x in given)
        bits = [
            _as_words(d, pack(d.in_types, d.in_words(tuple(x))), events, words)
            for d, x in zip(self.designs, codes, strict=True)
        ]
        packed = np.packbits(np.concatenate(bits, axis=1), axis=1, bitorder="little")
        interval = self.designs[0].interval
        result = simulator.run(packed, interval=interval, words=words, gaps_seed=gaps_seed)
        if result.latency != self.latency:
            raise MismatchError(
                f"The simulation counts {result.latency} clocks of latency; "
                f"the designs promise {self.latency}."
            )
        outputs = np.unpackbits(result.outputs, axis=1, bitorder="little")
        found: list[tuple[IntArray, ...]] = []
        start = 0
        for d in self.designs:
            own = outputs[:, start : start + d.out_bits]
            start += d.out_bits
            if any(t.bits for t in d.out_types):
                found.append(unpack(d.out_types, np.packbits(own, axis=1, bitorder="little")))
            else:
                zeros = (np.zeros((len(own), *t.shape), dtype=np.int64) for t in d.out_types)
                found.append(tuple(zeros))
        return found


def _as_bits(packed: np.ndarray, bits: int) -> np.ndarray:
    unpacked = np.unpackbits(packed, axis=1, bitorder="little")
    missing = max(0, bits - unpacked.shape[1])
    return np.pad(unpacked, ((0, 0), (0, missing)))[:, :bits]


def _as_words(design: Design, packed: np.ndarray, events: int, words: int) -> np.ndarray:
    """Bits of an event's words, zeros behind those of a design that takes fewer than others."""
    bits = _as_bits(packed, design.in_bits).reshape(events, design.words, design.in_bits)
    missing = words - design.words
    return np.pad(bits, ((0, 0), (0, missing), (0, 0))).reshape(events * words, design.in_bits)


def _bits(design: Design) -> tuple[int, int]:
    return design.in_bits, design.out_bits


def _wrapper(designs: Sequence[Design], latency: int) -> str:
    """The module ``batch``: every design, its answer delayed to the latency of the slowest."""
    ins, outs = (sum(_bits(d)[n] for d in designs) for n in (0, 1))
    lines = [
        "module batch (input wire clk, input wire rst, input wire in_valid,",
        f"    input wire {span(ins)}in_data, output wire out_valid,",
        f"    output wire {span(outs)}out_data);",
    ]
    words = max(d.words for d in designs)
    lines += [
        "reg [31:0] word;",
        f"always @(posedge clk) word <= (rst || word == {words - 1} && in_valid) ? 0 : "
        "in_valid ? word + 1 : word;",
    ]
    at_in = at_out = 0
    valids: list[str] = []
    for n, d in enumerate(designs):
        here = f"in_data[{at_in + d.in_bits - 1}:{at_in}]" if ins > 1 else "in_data"
        given = "in_valid" if d.words == words else f"in_valid & (word < {d.words})"
        lines.append(f"wire v{n}; wire {span(d.out_bits)}d{n}_0;")
        lines.append(
            f"{d.name} u{n} (.clk(clk), .rst(rst), .in_valid({given}), .in_data({here}), "
            f".out_valid(v{n}), .out_data(d{n}_0));"
        )
        late = latency - d.latency
        for step in range(late):
            lines.append(f"reg {span(d.out_bits)}d{n}_{step + 1};")
            lines.append(f"always @(posedge clk) d{n}_{step + 1} <= d{n}_{step};")
        there = f"out_data[{at_out + d.out_bits - 1}:{at_out}]" if outs > 1 else "out_data"
        lines.append(f"assign {there} = d{n}_{late};")
        valids.append(f"v{n}")
        at_in, at_out = at_in + d.in_bits, at_out + d.out_bits
    slowest = max(range(len(designs)), key=lambda n: designs[n].latency)
    lines.append(f"assign out_valid = v{slowest};")
    lines.append(f"wire unused = &{{1'b0, {', '.join(valids)}}};")
    lines.append("endmodule")
    return "\n".join(lines) + "\n"
