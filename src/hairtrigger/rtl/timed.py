"""A module with its registers placed, and what follows from where they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hairtrigger.rtl.netlist import Delay, Instance, Module, Wire, driven


@dataclass(frozen=True, eq=False)
class Timed:
    """A module with its registers placed.

    ``stage``: for each net the stage in which it is made; ``starts``: for each part of the body
    the stage in which it reads; ``latency``: clocks from input to output; ``delay_in``: longest
    path in ns from an input to the first register (or the output); ``delay_out``: from the last.

    A net that is another one ``steps`` clocks later (`Delay`) is made ``steps`` stages before it:
    read in the stage of that other net it comes out of ``steps`` registers, read ``steps`` stages
    earlier it is that net. So stages may be negative.
    """

    module: Module
    children: tuple[Timed, ...]
    stage: dict[int, int]
    starts: tuple[int, ...]
    latency: int
    delay_in: float
    delay_out: float

    def child(self, instance: Instance) -> Timed:
        """The placed form of an instance's module."""
        return next(t for t in self.children if t.module is instance.module)

    @cached_property
    def root(self) -> dict[int, int]:
        """For each net that is another one some clocks later: the net that has the registers."""
        found: dict[int, int] = {}
        for part in self.module.body:
            if isinstance(part, Delay):
                found[part.output.net] = found.get(part.a.net, part.a.net)
        return found

    @cached_property
    def taps(self) -> frozenset[tuple[int, int]]:
        """``(net, n)`` for each register of a net's chain, the ``n``-th, that something reads."""
        found: set[tuple[int, int]] = set()

        def read(wire: Wire, stage: int) -> None:
            if not wire.constant:
                net = self.root.get(wire.net, wire.net)
                found.add((net, stage - self.stage[wire.net]))

        for part, start in zip(self.module.body, self.starts, strict=True):
            if not isinstance(part, Delay):
                for wire in part.inputs:
                    read(wire, start)
        for wire in self.module.outputs:
            read(wire, self.latency)
        return frozenset(found)

    def register_bits(self) -> int:
        """Bits of registers in this module and all instances in it, without the valid chain and
        what `hairtrigger.rtl.clocked` cells hold."""
        need = last_needed(self)
        own = sum(
            (need[net] - self.stage[net]) * width
            for net, width in net_widths(self.module).items()
            if net in need
        )
        below = {id(t.module): t.register_bits() for t in self.children}
        return own + sum(
            below[id(part.module)] for part in self.module.body if isinstance(part, Instance)
        )


def last_needed(timed: Timed) -> dict[int, int]:
    """For each net the last stage in which something reads it."""
    need: dict[int, int] = {}

    def read(wire: Wire, stage: int) -> None:
        if not wire.constant:
            need[wire.net] = max(need.get(wire.net, 0), stage)

    for part, start in zip(timed.module.body, timed.starts, strict=True):
        if not isinstance(part, Delay):
            for wire in part.inputs:
                read(wire, start)
    for wire in timed.module.outputs:
        read(wire, timed.latency)
    # What is read of a delayed net comes out of the registers of the net behind it.
    for part in reversed(timed.module.body):
        if isinstance(part, Delay) and part.output.net in need:
            read(part.a, need[part.output.net] + part.steps)
    return need


def net_widths(module: Module) -> dict[int, int]:
    """Bits of each net, inputs included; not of those that are other nets some clocks later."""
    wires = [*module.inputs, *([] if module.start is None else [module.start])]
    for part in module.body:
        if not isinstance(part, Delay):
            wires += driven(part)
    return {wire.net: wire.width for wire in wires}
