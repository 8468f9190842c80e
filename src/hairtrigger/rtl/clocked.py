"""Cells that hold a value from clock to clock: what steers a folded design, and what adds up in it.

Only `Hold`, `Running` and `Filling` have a reset. The others begin anew where their ``start`` is 1,
so what they held before does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

from hairtrigger.rtl.cells import extended, number
from hairtrigger.rtl.netlist import Delays, Show, Wire


class Clocked:
    """Base of the cells that are printed as statements. The registers of one called ``n5`` are
    called ``n5_q``; ``when`` guards their clock edge and is empty or ends with a space."""

    clocked = True

    def expression(self, show: Show) -> str:
        """Never called: these are printed by `lines`."""
        raise NotImplementedError(type(self).__name__)

    def lines(self, show: Show, name: str, when: str) -> list[str]:
        """Verilog that declares and drives the net ``name``."""
        raise NotImplementedError(type(self).__name__)


@dataclass(frozen=True)
class Counter(Clocked):
    """0 where ``start`` is 1, then one more after each clock (with ``step``: where that is 1).

    After ``last`` it begins again (``wraps``) or stays.
    """

    start: Wire
    step: Wire | None
    last: int
    wraps: bool
    output: Wire

    @property
    def inputs(self) -> tuple[Wire, ...]:
        return (self.start,) if self.step is None else (self.start, self.step)

    def delay(self, model: Delays) -> float:
        return model.lut(1) + model.adder(self.output.width)

    def lines(self, show: Show, name: str, when: str) -> list[str]:
        width = self.output.width
        span = f"[{width - 1}:0] " if width > 1 else ""
        zero, one = number(0, width), number(1, width)
        end = zero if self.wraps else name
        following = f"({name} == {number(self.last, width)}) ? {end} : {name} + {one}"
        if self.step is not None:
            following = f"~{show(self.step)} ? {name} : ({following})"
        return [
            f"reg {span}{name}_q;",
            f"wire {span}{name} = {show(self.start)} ? {zero} : {name}_q;",
            f"always @(posedge clk) {when}{name}_q <= {following};",
        ]


@dataclass(frozen=True)
class Accumulate(Clocked):
    """The sum of ``a`` since ``start`` was 1, this clock's included (of clocks where ``step`` is 1,
    where there is one), modulo the output's width."""

    start: Wire
    step: Wire | None
    a: Wire
    output: Wire

    @property
    def inputs(self) -> tuple[Wire, ...]:
        return tuple(w for w in (self.start, self.step, self.a) if w is not None)

    def delay(self, model: Delays) -> float:
        return model.adder(self.output.width)

    def lines(self, show: Show, name: str, when: str) -> list[str]:
        width = self.output.width
        span = f"[{width - 1}:0] " if width > 1 else ""
        up = self.output.fraction - self.a.fraction
        added = extended(self.a, width, up, show)
        following = name if self.step is None else f"{show(self.step)} ? {name} : {name}_q"
        return [
            f"reg {span}{name}_q;",
            f"wire {span}{name} = ({{{width}{{~{show(self.start)}}}}} & {name}_q) + {added};",
            f"always @(posedge clk) {when}{name}_q <= {following};",
        ]


@dataclass(frozen=True)
class Fetch(Clocked):
    """``a`` as it was ``place`` clocks ago: a shift register of ``depth`` with an address.

    ``place`` counts from 0, which is ``a`` itself, to ``depth``.
    """

    a: Wire
    place: Wire
    depth: int
    output: Wire

    @property
    def inputs(self) -> tuple[Wire, ...]:
        return (self.a, self.place)

    def delay(self, model: Delays) -> float:
        # 32 places are one shift-register LUT; their outputs are chosen between.
        return model.lut(3 + max(0, (-(-self.depth // 32) - 1).bit_length()))

    def lines(self, show: Show, name: str, when: str) -> list[str]:
        # One shift register for each bit, whose address counts from the first register: so, and
        # only so, Yosys takes shift-register LUTs (10 LUT for 3 bits and 60 places, else 78).
        width, value, place = self.output.width, show(self.a), show(self.place)
        wide = self.place.width
        longest = max(self.depth, 2)
        index = (longest - 1).bit_length()
        if index < wide:  # the last place is a power of two: one register more has its address
            longest, index = longest + 1, wide
        less = f"{name}_less"
        bits = f"{{{index - wide}'d0, {less}}}" if index > wide else less
        lines = [f"wire [{wide - 1}:0] {less} = {place} - {number(1, wide)};"]
        held = [f"{name}_q{n}" for n in range(width)]
        lines += [f"reg [{longest - 1}:0] {h};" for h in held]
        found = ", ".join(f"{h}[{bits}]" for h in reversed(held))
        span = f"[{width - 1}:0] " if width > 1 else ""
        lines.append(f"wire {span}{name}_a = {value};")
        lines.append(f"wire {span}{name} = {place} == {number(0, wide)} ? {name}_a : {{{found}}};")
        for n, h in enumerate(held):
            bit = f"{name}_a[{n}]" if width > 1 else f"{name}_a"
            lines.append(f"always @(posedge clk) {when}{h} <= {{{h}[{longest - 2}:0], {bit}}};")
        return lines


@dataclass(frozen=True)
class Running(Clocked):
    """1 in the clock where ``start`` is, and in those after it: ``length`` of them in all."""

    start: Wire
    length: int
    output: Wire

    @property
    def inputs(self) -> tuple[Wire, ...]:
        return (self.start,)

    def delay(self, model: Delays) -> float:
        return model.lut(2)

    def lines(self, show: Show, name: str, when: str) -> list[str]:
        width = (self.length - 1).bit_length()
        span = f"[{width - 1}:0] " if width > 1 else ""
        held, zero, one = f"{name}_q", number(0, width), number(1, width)
        left = f"({held} == {zero}) ? {zero} : {held} - {one}"
        first = number(self.length - 1, width)
        return [
            f"reg {span}{held};",
            f"wire {name} = {show(self.start)} | ({held} != {zero});",
            "always @(posedge clk) begin",
            f"    if (rst) {held} <= {zero};",
            f"    else {when}{held} <= {show(self.start)} ? {first} : {left};",
            "end",
        ]


@dataclass(frozen=True)
class Filling(Clocked):
    """1 from a reset until ``enable`` has been 1 for ``count`` clocks."""

    enable: Wire
    count: int
    output: Wire

    @property
    def inputs(self) -> tuple[Wire, ...]:
        return (self.enable,)

    def delay(self, model: Delays) -> float:
        return model.lut(2)

    def lines(self, show: Show, name: str, when: str) -> list[str]:
        width = self.count.bit_length()
        span = f"[{width - 1}:0] " if width > 1 else ""
        held, zero, one = f"{name}_q", number(0, width), number(1, width)
        return [
            f"reg {span}{held};",
            f"wire {name} = {held} != {zero};",
            "always @(posedge clk) begin",
            f"    if (rst) {held} <= {number(self.count, width)};",
            f"    else {when}if ({show(self.enable)} & {name}) {held} <= {held} - {one};",
            "end",
        ]


@dataclass(frozen=True)
class Hold(Clocked):
    """Registers of the Graph, read and written in turn.

    ``output`` is the first of ``entries``, which are the codes after a reset; where ``enable`` is 1
    the others move up and ``following`` becomes the last. It reads what is made from its output, so
    it stands behind that in a module's body. With ``filling`` only the first has a reset, so that
    the others can lie in shift-register LUTs; all entries are equal then, and while ``filling`` is
    1, which is until all but one have moved, the first stays as it is.
    """

    following: Wire
    enable: Wire
    entries: tuple[int, ...]
    output: Wire
    name: str
    filling: Wire | None = None

    @property
    def inputs(self) -> tuple[Wire, ...]:
        more = () if self.filling is None else (self.filling,)
        return (self.following, self.enable, *more)

    def delay(self, model: Delays) -> float:
        return 0.0

    def declared(self, name: str) -> list[str]:
        """Its registers and its output."""
        width, count = self.output.width, len(self.entries)
        span = f"[{width - 1}:0] " if width > 1 else ""
        if self.filling is not None:
            return [
                f"reg {span}{name}; // {self.name}",
                f"reg [{width * (count - 1) - 1}:0] {name}_q;",
            ]
        whole = f"[{width * count - 1}:0] "
        value = f"{name}_q" + (f"[{width - 1}:0]" if count > 1 else "")
        return [
            f"reg {whole if width * count > 1 else ''}{name}_q; // {self.name}",
            f"wire {span}{name} = {value};",
        ]

    def lines(self, show: Show, name: str, when: str) -> list[str]:
        width, count = self.output.width, len(self.entries)
        up = self.output.fraction - self.following.fraction
        last = extended(self.following, width, up, show)
        enable = extended(self.enable, 1, 0, show)
        if self.filling is not None:
            first = f"{name}_q[{width - 1}:0]" if width * (count - 1) > 1 else f"{name}_q"
            high = f", {name}_q[{width * (count - 1) - 1}:{width}]" if count > 2 else ""
            moves = f"{enable} & ~{show(self.filling)}"
            return [
                f"always @(posedge clk) {when}if ({enable}) {name}_q <= {{{last}{high}}};",
                "always @(posedge clk) begin",
                f"    if (rst) {name} <= {number(self.entries[0], width)};",
                f"    else {when}if ({moves}) {name} <= {first};",
                "end",
            ]
        moved = last
        if count > 1:
            moved = f"{{{last}, {name}_q[{width * count - 1}:{width}]}}"
        codes = [number(code, width) for code in reversed(self.entries)]
        return [
            "always @(posedge clk) begin",
            f"    if (rst) {name}_q <= {{{', '.join(codes)}}};",
            f"    else {when}if ({enable}) {name}_q <= {moved};",
            "end",
        ]
