"""Places pipeline registers where a delay model says that the clock period is used up.

Every module gets one latency: all its inputs are read in its first stage and all its outputs are
ready in its last. Times are estimates; the latency in clocks is exact, and the simulation of the
emitted Verilog counts it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hairtrigger.errors import UnsupportedError
from hairtrigger.rtl.clocked import Hold
from hairtrigger.rtl.netlist import Delay, Delays, Instance, Module, Wire, driven


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


def place_registers(module: Module, model: Delays, period: float) -> Timed:
    """Registers for a module and all below it, and behind all outputs of the module itself.

    ``period``: time in ns that logic may take between registers. Raises `UnsupportedError` where
    one cell alone takes longer.
    """
    done: dict[int, Timed] = {}
    for part in module.all_modules():
        children = tuple(done[id(child)] for child in part.children)
        done[id(part)] = _place(part, children, model, period, registered=part is module)
    return done[id(module)]


MOST_TRIES = 300
"""Times that a module is placed until its registers (`Hold`) stand where their next value is."""


def _place(
    module: Module, children: tuple[Timed, ...], model: Delays, period: float, registered: bool
) -> Timed:
    """A module with its registers placed.

    What a `Hold` holds is read in the stage in which its next value is there: then the next event,
    one clock behind, finds it. So a loop through it must fit between two registers.
    """
    holds = [(n, part) for n, part in enumerate(module.body) if isinstance(part, Hold)]
    held = {part.output.net: 0 for _, part in holds}
    moved = [part.name for _, part in holds]
    for _ in range(min(len(holds) + 2, MOST_TRIES)):
        timed = _placed(module, children, model, period, registered, held)
        found = {part.output.net: timed.starts[n] for n, part in holds}
        moved = [part.name for _, part in holds if found[part.output.net] != held[part.output.net]]
        if not moved:
            return timed
        held = found
    raise UnsupportedError(
        f"Register {moved[0]!r} is not ready for the next event one clock later: the loop from its "
        f"value to its next value takes more than the {period:.2f} ns (estimate) left for logic.",
        "Choose a slower clock, or fewer or narrower operations in the loop.",
    )


def _placed(
    module: Module,
    children: tuple[Timed, ...],
    model: Delays,
    period: float,
    registered: bool,
    held: dict[int, int],
) -> Timed:
    below = {id(child.module): child for child in children}
    ready: dict[int, tuple[int, float]] = {wire.net: (0, 0.0) for wire in module.inputs}
    ready.update({net: (stage, 0.0) for net, stage in held.items()})
    starts: list[int] = []
    if module.start is not None:
        ready[module.start.net] = (0, 0.0)
    for part in module.body:
        stage, time = _latest(part.inputs, ready)
        if isinstance(part, Delay):
            starts.append(stage)
            ready[part.output.net] = (stage - part.steps, time)
            continue
        if isinstance(part, Hold):
            starts.append(max(stage, held[part.output.net]))
            continue
        if isinstance(part, Instance):
            child = below[id(part.module)]
            delay, latency, out = child.delay_in, child.latency, child.delay_out
        else:
            delay = part.delay(model)
            latency, out = 0, 0.0
            if delay > period:
                raise UnsupportedError(
                    f"A {type(part).__name__} of {part.output.width} bits takes about "
                    f"{delay:.2f} ns (estimate), but only {period:.2f} ns of the clock period are "
                    "left for logic.",
                    f"Choose a clock of at least {delay:.2f} ns for it, or fewer bits.",
                )
        if not isinstance(part, Instance) and part.clocked and stage < 0:
            stage, time = 0, 0.0  # what steers delays one bit; what it makes may be wide
        if time + delay > period:
            stage, time = stage + 1, 0.0
        starts.append(stage)
        end = (stage + latency, out) if latency else (stage, time + delay)
        ready.update((wire.net, end) for wire in driven(part))
    outputs = [ready[wire.net] for wire in module.outputs if not wire.constant]
    latency = max((stage for stage, _ in outputs), default=0) + int(registered)
    if not registered:
        latency = max(latency, 0)
    first = [time for stage, time in ready.values() if stage == 0]
    return Timed(
        module,
        children,
        {net: stage for net, (stage, _) in ready.items()},
        tuple(starts),
        latency,
        max(first, default=0.0),
        max((time for stage, time in outputs if stage == latency), default=0.0),
    )


def _latest(wires: tuple[Wire, ...], ready: dict[int, tuple[int, float]]) -> tuple[int, float]:
    """When the last wire is there; those of earlier stages come from registers, at time 0."""
    return max((ready[wire.net] for wire in wires if not wire.constant), default=(0, 0.0))


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
