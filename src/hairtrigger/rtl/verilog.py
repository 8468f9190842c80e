"""Prints modules as Verilog-2005: one module of logic for each kernel, and the top around them.

Nets are named ``n5``; ``n5_d2`` is the same net two clocks later. Ports are ``x0, x1, ...`` in and
``y0, y1, ...`` out. Data registers have no reset: only the valid chain of the top needs one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from hairtrigger.rtl import cells
from hairtrigger.rtl.netlist import Cell, Instance, Module, Show, Wire
from hairtrigger.rtl.pipeline import Timed, last_needed, net_widths


@dataclass
class Printer:
    """Lines of text with an indent."""

    lines: list[str] = field(default_factory=list[str])
    depth: int = 0

    def __call__(self, line: str = "") -> None:
        self.lines.append("    " * self.depth + line if line else "")

    @contextmanager
    def indent(self) -> Generator[None]:
        """Lines inside stand one step further right."""
        self.depth += 1
        yield
        self.depth -= 1

    def text(self) -> str:
        """All lines, with a line break at the end."""
        return "\n".join(self.lines) + "\n"


@dataclass(frozen=True)
class Lane:
    """Where an element lies in a bus: ``width`` bits from ``offset`` up."""

    offset: int
    width: int


def kernel_text(timed: Timed) -> str:
    """A kernel's module."""
    out, module = Printer(), timed.module
    ports = [f"input  wire {span(w.width)}x{n}" for n, w in enumerate(module.inputs)]
    ports += [f"output wire {span(w.width)}y{n}" for n, w in enumerate(port_wires(module))]
    if timed.latency:
        ports.insert(0, "input  wire clk")
    clocks = "no registers" if not timed.latency else f"latency {timed.latency} clocks"
    out(f"// {_comment(module.about)} {clocks}.")
    _header(out, module.name, ports)
    with out.indent():
        for n, wire in enumerate(module.inputs):
            out(f"wire {span(wire.width)}{_name(wire.net)} = x{n};")
        read = _body(out, timed)
        for n, wire in enumerate(port_wires(module)):
            out(f"assign y{n} = {_delayed(wire, timed.latency, timed)};")
        _mark_unused(out, timed, read)
    out("endmodule")
    return out.text()


def top_text(timed: Timed, inputs: Sequence[Lane], outputs: Sequence[Lane]) -> str:
    """The top module: buses ``in_data`` and ``out_data``, ``in_valid`` and ``out_valid``, reset.

    ``inputs``: the lane of each input port; ``outputs``: of each output (width 0: none). An output
    is extended to its lane's width.
    """
    out, module = Printer(), timed.module
    in_bits = max((lane.offset + lane.width for lane in inputs), default=0)
    out_bits = max((lane.offset + lane.width for lane in outputs), default=0)
    out(f"// {_comment(module.about)} Latency {timed.latency} clocks, initiation interval 1.")
    out("// rst is synchronous; it clears the valid chain only, the data need no reset.")
    ports = [
        "input  wire clk",
        "input  wire rst",
        "input  wire in_valid",
        f"input  wire {span(max(in_bits, 1))}in_data",
        "output wire out_valid",
        f"output wire {span(max(out_bits, 1))}out_data",
    ]
    _header(out, module.name, ports)
    with out.indent():
        for wire, lane in zip(module.inputs, inputs, strict=True):
            place = bus_slice("in_data", lane, max(in_bits, 1))
            out(f"wire {span(wire.width)}{_name(wire.net)} = {place};")
        read = _body(out, timed)
        for wire, lane in zip(module.outputs, outputs, strict=True):
            if lane.width:
                value = cells.extended(
                    wire, lane.width, 0, lambda w: _delayed(w, timed.latency, timed)
                )
                out(f"assign {bus_slice('out_data', lane, max(out_bits, 1))} = {value};")
        if not out_bits:
            out("assign out_data = 1'b0;")
        _valid_chain(out, timed.latency)
        _mark_unused(out, timed, read, () if in_bits and inputs else ("in_data",))
    out("endmodule")
    return out.text()


def bus_slice(bus: str, lane: Lane, bits: int) -> str:
    """The part of a bus that a lane takes."""
    if lane.width == bits:
        return bus
    high = lane.offset + lane.width - 1
    return f"{bus}[{high}:{lane.offset}]" if lane.width > 1 else f"{bus}[{high}]"


def span(width: int) -> str:
    """The range of a declaration, with a space behind it; nothing for one bit."""
    return f"[{width - 1}:0] " if width > 1 else ""


def port_wires(module: Module) -> list[Wire]:
    """The output ports of a kernel: each driven net once."""
    found: dict[int, Wire] = {}
    for wire in module.outputs:
        if not wire.constant:
            found.setdefault(wire.net, wire)
    return list(found.values())


def _header(out: Printer, name: str, ports: Sequence[str]) -> None:
    out(f"module {name} (")
    with out.indent():
        for port in ports[:-1]:
            out(port + ",")
        out(ports[-1])
    out(");")


def _name(net: int) -> str:
    return f"n{net}"


def _comment(text: str) -> str:
    return text.replace("\n", " ").replace("\\", "/")


def _delayed(wire: Wire, stage: int, timed: Timed) -> str:
    """Name of a wire as it is seen in a stage."""
    late = stage - timed.stage[wire.net]
    return _name(wire.net) + (f"_d{late}" if late else "")


def _body(out: Printer, timed: Timed) -> set[str]:
    """Cells, instances and registers, in order; gives the names that are read whole."""
    need = last_needed(timed)
    widths = net_widths(timed.module)
    read: set[str] = set()
    for wire in timed.module.inputs:
        _registers(out, timed, wire.net, widths[wire.net], need)
    for part, start in zip(timed.module.body, timed.starts, strict=True):
        if isinstance(part, Instance):
            _instance(out, timed, part, start, read)
            for wire in part.outputs:
                _registers(out, timed, wire.net, wire.width, need)
            continue

        def show(wire: Wire, at: int = start) -> str:
            return _delayed(wire, at, timed)

        text = _cell(out, part, show)
        read.update(re.findall(r"\bn\d+(?:_d\d+)?\b(?!\[)", text))
        _registers(out, timed, part.output.net, part.output.width, need)
    for wire in timed.module.outputs:
        if not wire.constant:
            read.add(_delayed(wire, timed.latency, timed))
    return read


def _cell(out: Printer, cell: Cell, show: Show) -> str:
    """Print one cell; gives the text in which names count as read."""
    name, width = _name(cell.output.net), cell.output.width
    text = cell.expression(show)
    if not isinstance(cell, cells.Lookup):
        out(f"wire {span(width)}{name} = {text};")
        return text
    out(f"reg {span(width)}{name};")
    selector = show(cell.a)
    out("always @* begin")
    with out.indent():
        out(f"case ({selector})")
        with out.indent():
            for arm in text.splitlines():
                out(arm.replace("@", name))
            out(f"default: {name} = {cells.number(0, width)};")
        out("endcase")
    out("end")
    return selector


def _instance(out: Printer, timed: Timed, part: Instance, start: int, read: set[str]) -> None:
    for wire in part.outputs:
        out(f"wire {span(wire.width)}{_name(wire.net)};")
    connections = [".clk(clk)"] if timed.child(part).latency else []
    for n, (wire, port) in enumerate(zip(part.inputs, part.module.inputs, strict=True)):
        value = (
            cells.number(wire.low << (port.fraction - wire.fraction), port.width)
            if wire.constant
            else _delayed(wire, start, timed)
        )
        connections.append(f".x{n}({value})")
        read.add(value)
    connections += [f".y{n}({_name(wire.net)})" for n, wire in enumerate(part.outputs)]
    out(f"{part.module.name} {part.label} ({', '.join(connections)});")


def _registers(out: Printer, timed: Timed, net: int, width: int, need: dict[int, int]) -> None:
    """The chain of registers that carries a net to the last stage that reads it."""
    late = need.get(net, 0) - timed.stage[net]
    if late <= 0:
        return
    names = [_name(net), *(f"{_name(net)}_d{n}" for n in range(1, late + 1))]
    out(f"reg {span(width)}{', '.join(names[1:])};")
    steps = " ".join(f"{to} <= {at};" for at, to in itertools.pairwise(names))
    out(f"always @(posedge clk) begin {steps} end")


def _valid_chain(out: Printer, latency: int) -> None:
    out(f"reg {span(latency)}valid;")
    shifted = "in_valid" if latency == 1 else f"{{valid[{latency - 2}:0], in_valid}}"
    out("always @(posedge clk) begin")
    with out.indent():
        out(f"if (rst) valid <= {latency}'d0;")
        out(f"else valid <= {shifted};")
    out("end")
    out("assign out_valid = valid" + (f"[{latency - 1}];" if latency > 1 else ";"))


def _mark_unused(out: Printer, timed: Timed, read: set[str], others: Sequence[str] = ()) -> None:
    """Say of which nets bits are dropped on purpose, so that lint need not ask."""
    need = last_needed(timed)
    loose: list[str] = list(others)
    for net in net_widths(timed.module):
        late = max(need.get(net, 0) - timed.stage[net], 0)
        # A register reads the whole net before it; what the last of the chain feeds decides.
        name = _name(net) + (f"_d{late}" if late else "")
        if name not in read:
            loose.append(name)
    if loose:
        out("// Bits that quantizing drops are not read:")
        out(f"wire unused = &{{1'b0, {', '.join(loose)}}};")
