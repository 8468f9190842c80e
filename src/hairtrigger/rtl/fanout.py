"""How many readers a net has, through the borders of modules: what spreads it, and slows it down.

Readers are counted for a bit, on the average of a wire's bits, over all stages: registers on the
way would share them, so the number is an upper bound. Synthesis may copy a driver of many readers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hairtrigger.rtl import cells
from hairtrigger.rtl.netlist import Cell, Delay, Delays, Instance, Module, Wire
from hairtrigger.rtl.verilog import port_wires


class Routes(Delays, Protocol):
    """A delay model that knows nets as well; times are estimates in nanoseconds."""

    def route(self, fanout: int) -> float:
        """Delay of a net to that many readers."""
        ...


@dataclass(frozen=True)
class Fanout:
    """For each module (by ``id``) the readers of each net; ``delay`` counts them in."""

    model: Routes
    readers: dict[int, dict[int, int]]
    _delays: dict[tuple[int, int], float] = field(default_factory=dict[tuple[int, int], float])

    def delay(self, module: Module, cell: Cell) -> float:
        """Delay of a cell of a module, behind the net of most readers among its inputs."""
        key = (id(module), id(cell))
        if key not in self._delays:
            self._delays[key] = self._delay(module, cell)
        return self._delays[key]

    def _delay(self, module: Module, cell: Cell) -> float:
        delay = cell.delay(self.model)
        if delay <= 0:
            return delay
        readers = self.readers[id(module)]
        most = max((readers[w.net] for w in cell.inputs if not w.constant), default=1)
        return delay + self.model.route(max(most, 1)) - self.model.route(1)


def count_readers(module: Module, model: Routes) -> Fanout:
    """The readers of all nets in a module and those below it.

    A net at a port has those on either side; of a module used at several places, those of the
    place where they are most.
    """
    parts = module.all_modules()
    alone: dict[int, dict[int, int]] = {}
    for part in parts:
        alone[id(part)] = _readers(part, model, alone, {}, {})
    entering: dict[int, dict[int, int]] = {id(part): {} for part in parts}
    leaving: dict[int, dict[int, int]] = {id(part): {} for part in parts}
    found: dict[int, dict[int, int]] = {}
    for part in reversed(parts):
        readers = _readers(part, model, alone, entering[id(part)], leaving[id(part)])
        found[id(part)] = readers
        for use in part.body:
            if isinstance(use, Instance):
                _raise(entering[id(use.module)], use.module.inputs, use.inputs, readers)
                _raise(leaving[id(use.module)], port_wires(use.module), use.outputs, readers)
    return Fanout(model, found)


def _raise(
    most: dict[int, int], ports: Sequence[Wire], wires: Sequence[Wire], readers: dict[int, int]
) -> None:
    """The readers that the nets at an instance's ports have, where they are more."""
    for port, wire in zip(ports, wires, strict=True):
        if not wire.constant:
            most[port.net] = max(most.get(port.net, 0), readers[wire.net])


def _readers(
    module: Module,
    model: Routes,
    alone: dict[int, dict[int, int]],
    entering: dict[int, int],
    leaving: dict[int, int],
) -> dict[int, int]:
    """Readers of each net of a module: ``alone``: within each module below; ``entering``: all
    readers of a net that is an input, ``leaving``: those that a net has behind an output."""
    found: dict[int, int] = defaultdict(int)
    for wire in module.outputs:
        if not wire.constant and wire.net not in found:
            found[wire.net] = max(leaving.get(wire.net, 1), 1)
    renamed: list[Cell] = []
    for part in reversed(module.body):
        if isinstance(part, Instance):
            below = alone[id(part.module)]
            for port, wire in zip(part.module.inputs, part.inputs, strict=True):
                if not wire.constant:
                    found[wire.net] += below[port.net]
            continue
        if isinstance(part, Delay):
            found[part.a.net] += 1
            continue
        same = not part.clocked and part.delay(model) <= 0
        if same:
            renamed.append(part)
        for wire in {wire.net: wire for wire in part.inputs if not wire.constant}.values():
            found[wire.net] += found[part.output.net] if same else _copies(part, wire)
    for wire in module.inputs:
        found[wire.net] = max(found[wire.net], entering.get(wire.net, 0))
    for cell in reversed(renamed):
        of = [found[wire.net] for wire in cell.inputs if not wire.constant]
        found[cell.output.net] = max([found[cell.output.net], *of])
    return found


def _copies(cell: Cell, wire: Wire) -> int:
    """LUTs of a cell that read a bit of a wire, on the average."""
    if isinstance(cell, cells.Lookup):
        return cell.output.width
    if isinstance(cell, cells.Product):
        return max(cell.output.width - wire.width, 1)
    if isinstance(cell, cells.Sum) and not wire.signed:
        return 1
    # A sign is read for each bit above it, and what chooses for each bit that is chosen.
    return max(-(-cell.output.width // max(wire.width, 1)), 1)
