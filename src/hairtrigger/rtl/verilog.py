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
from hairtrigger.rtl.clocked import Clocked, Hold
from hairtrigger.rtl.netlist import Cell, Delay, Instance, Module, Show, Wire
from hairtrigger.rtl.timed import Timed, last_needed, net_widths


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


def kernel_text(timed: Timed, stall: bool = False) -> str:
    """A kernel's module; with ``stall`` its registers have a clock enable ``ce``."""
    out, module = Printer(), timed.module
    ports = [f"input  wire {span(w.width)}x{n}" for n, w in enumerate(module.inputs)]
    ports += [f"output wire {span(w.width)}y{n}" for n, w in enumerate(port_wires(module))]
    if has_clock(timed):
        ports[:0] = ["input  wire clk", *(["input  wire ce"] if stall else [])]
    clocks = "no registers" if not timed.latency else f"latency {timed.latency} clocks"
    out(f"// {_comment(module.about)} {clocks}.")
    _header(out, module.name, ports)
    with out.indent():
        for n, wire in enumerate(module.inputs):
            out(f"wire {span(wire.width)}{_name(wire.net)} = x{n};")
        read = _body(out, timed, stall)
        for n, wire in enumerate(port_wires(module)):
            out(f"assign y{n} = {_delayed(wire, timed.latency, timed)};")
        _mark_unused(out, timed, read)
    out("endmodule")
    return out.text()


def top_text(
    timed: Timed,
    inputs: Sequence[Lane],
    outputs: Sequence[Lane],
    *,
    latency: int,
    interval: int = 1,
    words: int = 1,
    stall: bool = False,
) -> str:
    """The top module: buses ``in_data`` and ``out_data``, ``in_valid`` and ``out_valid``, reset.

    ``inputs``: the lane of each input port; ``outputs``: of each output (width 0: none). An output
    is extended to its lane's width. ``latency``: clocks from an event's first word to its answer;
    ``words``: clocks that its words take, behind each other; ``interval``: from event to event.
    With ``stall`` nothing moves in a clock where the input ``ce`` is 0.
    """
    out, module = Printer(), timed.module
    in_bits = max((lane.offset + lane.width for lane in inputs), default=0)
    out_bits = max((lane.offset + lane.width for lane in outputs), default=0)
    out(f"// {_comment(module.about)} Latency {latency} clocks, initiation interval {interval}.")
    if words > 1:
        out(f"// An event enters in {words} words, one each clock, without a gap between them.")
    out("// rst is synchronous; it clears the valid chain only, the data need no reset.")
    if stall:
        out("// Where ce is 0, nothing moves; rst acts all the same.")
    ports = [
        "input  wire clk",
        "input  wire rst",
        *(["input  wire ce"] if stall else []),
        "input  wire in_valid",
        f"input  wire {span(max(in_bits, 1))}in_data",
        "output wire out_valid",
        f"output wire {span(max(out_bits, 1))}out_data",
    ]
    _header(out, module.name, ports)
    with out.indent():
        first = _word_counter(out, words, stall)
        if module.start is not None:
            out(f"wire {_name(module.start.net)} = {first};")
        for wire, lane in zip(module.inputs, inputs, strict=True):
            place = bus_slice("in_data", lane, max(in_bits, 1))
            out(f"wire {span(wire.width)}{_name(wire.net)} = {place};")
        read = _body(out, timed, stall)
        for wire, lane in zip(module.outputs, outputs, strict=True):
            if lane.width:
                value = cells.extended(
                    wire, lane.width, 0, lambda w: _delayed(w, timed.latency, timed)
                )
                out(f"assign {bus_slice('out_data', lane, max(out_bits, 1))} = {value};")
        if not out_bits:
            out("assign out_data = 1'b0;")
        _valid_chain(out, first, latency, stall)
        _mark_unused(out, timed, read, () if in_bits and inputs else ("in_data",))
    out("endmodule")
    return out.text()


def has_clock(timed: Timed) -> bool:
    """Does a module need a clock."""
    return timed.latency > 0 or timed.module.clocked


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
    root = timed.root.get(wire.net, wire.net)
    return _name(root) + (f"_d{late}" if late else "")


def _body(out: Printer, timed: Timed, stall: bool) -> set[str]:
    """Cells, instances and registers, in order; gives the names that are read whole."""
    need = last_needed(timed)
    widths = net_widths(timed.module)
    read: set[str] = set()
    when = "if (ce) " if stall else ""
    start = timed.module.start
    holds = [part for part in timed.module.body if isinstance(part, Hold)]
    for wire in timed.module.inputs:
        _registers(out, timed, wire.net, widths[wire.net], need, when)
    if start is not None:
        # An event that a reset drops must not reach the registers of the Graph.
        _registers(
            out, timed, start.net, 1, need, f"if (rst) @ <= 0; else {when}" if holds else when
        )
    for part in holds:
        for line in part.declared(_name(part.output.net)):
            out(line)
        _registers(out, timed, part.output.net, part.output.width, need, when)
    for part, start in zip(timed.module.body, timed.starts, strict=True):
        if isinstance(part, Delay):
            continue
        if isinstance(part, Instance):
            _instance(out, timed, part, start, read, stall)
            for wire in part.outputs:
                _registers(out, timed, wire.net, wire.width, need, when)
            continue

        def show(wire: Wire, at: int = start) -> str:
            return _delayed(wire, at, timed)

        text = _cell(out, part, show, when)
        read.update(re.findall(r"\bn\d+(?:_d\d+)?\b(?!\[)", text))
        if not isinstance(part, Hold):
            _registers(out, timed, part.output.net, part.output.width, need, when)
    for wire in timed.module.outputs:
        if not wire.constant:
            read.add(_delayed(wire, timed.latency, timed))
    return read


def _cell(out: Printer, cell: Cell, show: Show, when: str) -> str:
    """Print one cell; gives the text in which names count as read."""
    name, width = _name(cell.output.net), cell.output.width
    if isinstance(cell, Clocked):
        lines = cell.lines(show, name, when)
        for line in lines:
            out(line)
        return "\n".join(line.partition("=")[2] for line in lines)
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


def _instance(
    out: Printer, timed: Timed, part: Instance, start: int, read: set[str], stall: bool
) -> None:
    for wire in part.outputs:
        out(f"wire {span(wire.width)}{_name(wire.net)};")
    connections: list[str] = []
    if has_clock(timed.child(part)):
        connections = [".clk(clk)", *([".ce(ce)"] if stall else [])]
    for n, (wire, port) in enumerate(zip(part.inputs, part.module.inputs, strict=True)):
        value = (
            cells.number(wire.low << (port.fraction - wire.fraction), port.width)
            if wire.constant
            else _delayed(wire, start, timed)
        )
        connections.append(f".x{n}({value})")
        read.add(value)
    connections += [f".y{n}({_name(wire.net)})" for n, wire in enumerate(part.outputs)]
    _list(out, f"{part.module.name} {part.label} (", connections, ");")


LONG = 8
"""Registers in a row from which on they are printed as one wide shift register."""


def _registers(
    out: Printer, timed: Timed, net: int, width: int, need: dict[int, int], when: str
) -> None:
    """The chain of registers that carries a net to the last stage that reads it."""
    late = need.get(net, timed.stage[net]) - timed.stage[net]
    if late <= 0:
        return
    names = [_name(net), *(f"{_name(net)}_d{n}" for n in range(1, late + 1))]
    if late >= LONG:
        line = f"{_name(net)}_line"
        kept = f"{line}[{width * (late - 1) - 1}:0]"
        out(f"reg [{width * late - 1}:0] {line};")
        when = when.replace("@ <= 0", f"{line} <= {width * late}'d0")
        out(f"always @(posedge clk) {when}{line} <= {{{kept}, {names[0]}}};")
        for n in range(1, late + 1):
            if n == late or (net, n) in timed.taps:
                place = bus_slice(line, Lane(width * (n - 1), width), width * late)
                out(f"wire {span(width)}{names[n]} = {place};")
        return
    out(f"reg {span(width)}{', '.join(names[1:])};")
    steps = " ".join(f"{to} <= {at};" for at, to in itertools.pairwise(names))
    cleared = " ".join(f"{name} <= {width}'d0;" for name in names[1:])
    when = when.replace("@ <= 0;", f"begin {cleared} end")
    body = f"{when}begin {steps} end" if when else f"begin {steps} end"
    out(f"always @(posedge clk) {body}")


def _word_counter(out: Printer, words: int, stall: bool) -> str:
    """Count the words of an event; gives the expression that is 1 in the first."""
    if words == 1:
        return "in_valid"
    width = (words - 1).bit_length()
    step = "in_valid && ce" if stall else "in_valid"
    last, zero, one = (cells.number(n, width) for n in (words - 1, 0, 1))
    out(f"reg {span(width)}word;")
    out("always @(posedge clk) begin")
    with out.indent():
        out(f"if (rst) word <= {zero};")
        out(f"else if ({step}) word <= (word == {last}) ? {zero} : word + {one};")
    out("end")
    out(f"wire first = in_valid & (word == {zero});")
    return "first"


def _valid_chain(out: Printer, first: str, latency: int, stall: bool) -> None:
    """``out_valid``: the first word of an event, ``latency`` clocks later, unless reset since.

    A chain that one reset clears cannot lie in shift-register LUTs. A long one is therefore not
    reset; a counter hides what is in it at a reset.
    """
    when = "if (ce) " if stall else ""
    if latency < 2 * LONG:
        out(f"reg {span(latency)}valid;")
        shifted = first if latency == 1 else f"{{valid[{latency - 2}:0], {first}}}"
        out("always @(posedge clk) begin")
        with out.indent():
            out(f"if (rst) valid <= {latency}'d0;")
            out(f"else {when}valid <= {shifted};")
        out("end")
        out("assign out_valid = valid" + (f"[{latency - 1}];" if latency > 1 else ";"))
        return
    width = latency.bit_length()
    full = cells.number(latency, width)
    out(f"reg {span(latency)}valid;")
    out(f"reg {span(width)}age;")
    out(f"always @(posedge clk) {when}valid <= {{valid[{latency - 2}:0], {first} & ~rst}};")
    out("always @(posedge clk) begin")
    with out.indent():
        out(f"if (rst) age <= {cells.number(0, width)};")
        out(f"else {when}age <= (age == {full}) ? age : age + {cells.number(1, width)};")
    out("end")
    out(f"assign out_valid = valid[{latency - 1}] & (age == {full});")


def _mark_unused(out: Printer, timed: Timed, read: set[str], others: Sequence[str] = ()) -> None:
    """Say of which nets bits are dropped on purpose, so that lint need not ask."""
    need = last_needed(timed)
    loose: list[str] = list(others)
    for net in net_widths(timed.module):
        late = max(need.get(net, timed.stage[net]) - timed.stage[net], 0)
        # A register reads the whole net before it; what the last of the chain feeds decides.
        ends = [late]
        if late >= LONG:  # each place of a shift register that is read is a wire of its own
            ends = [n for n in range(1, late + 1) if n == late or (net, n) in timed.taps]
        names = (_name(net) + (f"_d{n}" if n else "") for n in ends)
        loose += [name for name in names if name not in read]
    if loose:
        out("// Bits that quantizing drops are not read:")
        _list(out, "wire unused = &{", ["1'b0", *loose], "};")


ON_A_LINE = 1000
"""Items of a list that stand on one line: a line of more than 40,000 tokens stops Verilator."""


def _list(out: Printer, before: str, items: Sequence[str], behind: str) -> None:
    """A list with commas, long ones on several lines."""
    starts = range(0, max(len(items), 1), ON_A_LINE)
    lines = [", ".join(items[start : start + ON_A_LINE]) for start in starts]
    for n, line in enumerate(lines):
        first = before if n == 0 else "    "
        out(first + line + (behind if n == len(lines) - 1 else ","))
