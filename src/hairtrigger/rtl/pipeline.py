"""Places pipeline registers where a delay model says that the clock period is used up.

Every module gets one latency: all its inputs are read in its first stage and all its outputs are
ready in its last. Times are estimates; the latency in clocks is exact, and the simulation of the
emitted Verilog counts it again.
"""

from __future__ import annotations

from hairtrigger.errors import UnsupportedError
from hairtrigger.rtl.clocked import Hold
from hairtrigger.rtl.fanout import Fanout, Routes, count_readers
from hairtrigger.rtl.netlist import Delay, Instance, Module, Wire, driven
from hairtrigger.rtl.retime import fewer_registers
from hairtrigger.rtl.timed import Timed


def place_registers(module: Module, model: Routes, period: float) -> Timed:
    """Registers for a module and all below it, and behind all outputs of the module itself.

    ``period``: time in ns that logic may take between registers. Raises `UnsupportedError` where
    one cell alone takes longer.
    """
    done: dict[int, Timed] = {}
    fanout = count_readers(module, model)
    for part in module.all_modules():
        children = tuple(done[id(child)] for child in part.children)
        top = part is module
        placed = _place(part, children, fanout, period, registered=top)
        done[id(part)] = fewer_registers(placed, fanout, period, registered=top)
    return done[id(module)]


MOST_TRIES = 300
"""Times that a module is placed until its registers (`Hold`) stand where their next value is."""


def _place(
    module: Module, children: tuple[Timed, ...], fanout: Fanout, period: float, registered: bool
) -> Timed:
    """A module with its registers placed.

    What a `Hold` holds is read in the stage in which its next value is there: then the next event,
    one clock behind, finds it. So a loop through it must fit between two registers.
    """
    holds = [(n, part) for n, part in enumerate(module.body) if isinstance(part, Hold)]
    held = {part.output.net: 0 for _, part in holds}
    moved = [part.name for _, part in holds]
    for _ in range(min(len(holds) + 2, MOST_TRIES)):
        timed = _placed(module, children, fanout, period, registered, held)
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
    fanout: Fanout,
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
            delay = fanout.delay(module, part)
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
