"""The netlist: wires, cells and modules. What a chip is made of, before registers and text.

A `Wire` is a bundle of bits that carries an integer code between ``low`` and ``high`` in units of
``2**-fraction``; it is two's complement where ``low`` is negative. A constant is a wire with no
net. A `Module` is a list of cells, and of instances of other modules, in an order where
everything read comes first. `hairtrigger.rtl.cells` holds the kinds of cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

CONSTANT = -1
"""Net number of a wire that is a constant."""


@dataclass(frozen=True)
class Wire:
    """Net number (or `CONSTANT`) and the codes that it can carry."""

    net: int
    low: int
    high: int
    fraction: int

    @property
    def signed(self) -> bool:
        """Is the highest bit a sign."""
        return self.low < 0

    @cached_property
    def width(self) -> int:
        """Bits; 0 where the wire is always zero."""
        return max(self.high, -1 - self.low, 0).bit_length() + int(self.signed)

    @property
    def constant(self) -> bool:
        """Is it a number rather than a net."""
        return self.net == CONSTANT

    @property
    def zero(self) -> bool:
        """Is it always zero."""
        return self.constant and self.low == 0

    def shifted(self, left: int) -> Wire:
        """The same bits, worth ``2**left`` as much."""
        return Wire(self.net, self.low, self.high, self.fraction - left)


def constant(code: int, fraction: int = 0) -> Wire:
    """A constant wire, with as coarse an LSB as holds it."""
    if code == 0:
        return Wire(CONSTANT, 0, 0, 0)
    zeros = (code & -code).bit_length() - 1
    return Wire(CONSTANT, code >> zeros, code >> zeros, fraction - zeros)


class Delays(Protocol):
    """What cells ask of a target's delay model; all times are estimates in nanoseconds."""

    def lut(self, levels: float) -> float:
        """Delay of that many LUTs behind each other, with the wires between them."""
        ...

    def adder(self, width: int) -> float:
        """Delay of an adder of that many bits, with its carry chain."""
        ...


Show = Callable[[Wire], str]
"""Gives the Verilog name (or literal) of a wire at the stage where it is read."""


class Cell(Protocol):
    """A piece of logic with one output; see `hairtrigger.rtl.cells`. All but the few that are
    ``clocked`` (`hairtrigger.rtl.clocked`) are combinational."""

    @property
    def clocked(self) -> bool:
        """Does it hold a value from clock to clock."""
        ...

    @property
    def inputs(self) -> tuple[Wire, ...]:
        """Wires that are read."""
        ...

    @property
    def output(self) -> Wire:
        """The wire that is driven; never a constant."""
        ...

    def delay(self, model: Delays) -> float:
        """Estimated delay from any input to the output, in nanoseconds."""
        ...

    def expression(self, show: Show) -> str:
        """The output as a Verilog-2005 expression of exactly its width."""
        ...


@dataclass(frozen=True)
class Delay:
    """``output`` is ``a`` as it was ``steps`` clocks ago: a place further down the registers of
    ``a``. It is no cell: registers that the pipeline needs anyway count towards the steps."""

    a: Wire
    steps: int
    output: Wire

    @property
    def inputs(self) -> tuple[Wire, ...]:
        """Wires that are read."""
        return (self.a,)


@dataclass(frozen=True)
class Instance:
    """A module used in another: its input ports read ``inputs``, its outputs drive ``outputs``."""

    module: Module
    inputs: tuple[Wire, ...]
    outputs: tuple[Wire, ...]
    label: str


@dataclass(frozen=True, eq=False)
class Module:
    """Cells and instances between input ports and output ports.

    ``outputs`` may repeat nets, pass inputs through, or be constants. ``about`` is a sentence for
    the reader of the Verilog. ``start``, in a top module: a wire that is 1 in the first clock of an
    event, where something needs it.
    """

    name: str
    inputs: tuple[Wire, ...]
    outputs: tuple[Wire, ...]
    body: tuple[Cell | Instance | Delay, ...]
    about: str
    start: Wire | None = None

    @cached_property
    def clocked(self) -> bool:
        """Does a cell in it, or below it, hold a value from clock to clock (pipeline apart)."""
        return any(
            part.module.clocked if isinstance(part, Instance) else not_combinational(part)
            for part in self.body
        )

    @cached_property
    def children(self) -> tuple[Module, ...]:
        """Distinct modules instantiated in this one, in order of first use."""
        found: dict[int, Module] = {}
        for part in self.body:
            if isinstance(part, Instance):
                found.setdefault(id(part.module), part.module)
        return tuple(found.values())

    def all_modules(self) -> tuple[Module, ...]:
        """This module and all below it, children first."""
        found: dict[int, Module] = {}

        def visit(module: Module) -> None:
            if id(module) not in found:
                for child in module.children:
                    visit(child)
                found[id(module)] = module

        visit(self)
        return tuple(found.values())


def not_combinational(part: Cell | Delay) -> bool:
    """Does a part hold a value from clock to clock."""
    return not isinstance(part, Delay) and part.clocked


def driven(part: Cell | Instance | Delay) -> tuple[Wire, ...]:
    """Wires that a part of a module drives."""
    return part.outputs if isinstance(part, Instance) else (part.output,)
