"""Fewer registers at the same latency: each part moves to the stage where the fewest bits cross.

Registers are first placed as soon as possible (`hairtrigger.rtl.pipeline`). A part that makes few
bits out of many is best there, one that makes many out of few as late as its readers allow. Parts
move one at a time, and only where the sum of register bits falls, until none does: a local minimum.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hairtrigger.rtl.clocked import Hold
from hairtrigger.rtl.fanout import Fanout
from hairtrigger.rtl.netlist import Cell, Delay, Instance, driven
from hairtrigger.rtl.timed import Timed, net_widths

MOST_ROUNDS = 6
"""Rounds over all parts, there and back, after which it stops; most modules settle after two."""

SLACK = 1e-9
"""Of nanoseconds: sums of delays in another order differ by less."""


@dataclass
class _Part:
    """A part that may move, in ``stage``; ``begin`` is when its inputs must be there, in ns.

    ``reads``: nets, with the most and the fewest clocks by which it reads them late. ``latency``,
    ``delay`` and ``out`` are those of an instance; a cell has only a delay.
    """

    number: int
    reads: dict[int, tuple[int, int]]
    makes: tuple[int, ...]
    latency: int
    delay: float
    out: float
    stage: int
    least: int | None
    begin: float = 0.0

    @property
    def made(self) -> int:
        """Stage in which its outputs are there."""
        return self.stage + self.latency

    @property
    def end(self) -> float:
        """When in that stage."""
        return self.out if self.latency else self.begin + self.delay


@dataclass
class _Net:
    """Who makes a net (None: it is an input or a register of the Graph, in ``stage``), who reads
    it, and the most and the fewest clocks by which outputs read it late."""

    width: int
    stage: int
    maker: _Part | None = None
    readers: list[_Part] = field(default_factory=list["_Part"])
    leaves: tuple[int, int] | None = None

    @property
    def made(self) -> int:
        """Stage in which it is there."""
        return self.maker.made if self.maker else self.stage


def fewer_registers(timed: Timed, fanout: Fanout, period: float, registered: bool) -> Timed:
    """The same module with parts in other stages where that saves register bits.

    ``registered``: stands a register behind all outputs. Latency, and the longest paths before the
    first register and behind the last, stay within what they were.
    """
    moving = _Moving(timed, fanout, period, registered)
    for _ in range(MOST_ROUNDS):
        if not moving.round():
            break
    return moving.result()


class _Moving:
    """All parts and nets of a module while parts move."""

    def __init__(self, timed: Timed, fanout: Fanout, period: float, registered: bool) -> None:
        self.timed, self.period = timed, period
        self.last = timed.latency - int(registered)
        self.leaves = period if registered else timed.delay_out
        self.nets = {
            net: _Net(width, timed.stage[net]) for net, width in net_widths(timed.module).items()
        }
        self.parts: list[_Part] = []
        late: dict[int, int] = {}
        for number, part in enumerate(timed.module.body):
            if isinstance(part, Delay):
                late[part.output.net] = late.get(part.a.net, 0) + part.steps
            else:
                self._add(number, part, fanout, late)
        for wire in timed.module.outputs:
            if not wire.constant:
                net = self.nets[timed.root.get(wire.net, wire.net)]
                by = late.get(wire.net, 0)
                most, least = net.leaves or (by, by)
                net.leaves = max(most, by), min(least, by)
        for part in self.parts:
            part.begin = self._room(part, part.stage)[0]

    def _add(
        self, number: int, part: Cell | Instance, fanout: Fanout, late: dict[int, int]
    ) -> None:
        reads: dict[int, tuple[int, int]] = {}
        for wire in part.inputs:
            if not wire.constant:
                net, by = self.timed.root.get(wire.net, wire.net), late.get(wire.net, 0)
                most, least = reads.get(net, (by, by))
                reads[net] = max(most, by), min(least, by)
        stage, makes = self.timed.starts[number], tuple(wire.net for wire in driven(part))
        if isinstance(part, Instance):
            child = self.timed.child(part)
            timing = child.latency, child.delay_in, child.delay_out
            made = _Part(number, reads, makes, *timing, stage, None)
        else:
            least = 0 if part.clocked else None
            made = _Part(
                number, reads, makes, 0, fanout.delay(self.timed.module, part), 0.0, stage, least
            )
        for net in reads:
            self.nets[net].readers.append(made)
        if isinstance(part, Hold):
            made.begin = self.period  # read and written in one stage, where it stays
            return
        for net in makes:
            self.nets[net].maker = made
        self.parts.append(made)

    # --- where a part may go -------------------------------------------------------------------

    def _range(self, part: _Part) -> tuple[int, int]:
        """First and last stage that those it reads from and those who read it allow."""
        first = part.least if part.least is not None else -(1 << 30)
        for net, (_, least) in part.reads.items():
            first = max(first, self.nets[net].made - least)
        last = 1 << 30
        for number in part.makes:
            net = self.nets[number]
            for reader in net.readers:
                last = min(last, reader.stage + reader.reads[number][1])
            if net.leaves is not None:
                last = min(last, self.last + net.leaves[1])
        return first, last - part.latency

    def _room(self, part: _Part, stage: int) -> tuple[float, float]:
        """Earliest and latest time in a stage at which its inputs can and must be there."""
        low, high = 0.0, self.period
        for number, (_, least) in part.reads.items():
            net = self.nets[number]
            if net.maker and net.made == stage + least:
                low = max(low, net.maker.end)
        made = stage + part.latency
        for number in part.makes:
            net = self.nets[number]
            for reader in net.readers:
                if made == reader.stage + reader.reads[number][1]:
                    high = min(high, reader.begin)
            if net.leaves is not None and made == self.last + net.leaves[1]:
                high = min(high, self.leaves)
        if part.latency:
            return low, (self.period - part.delay if part.out <= high + SLACK else -1.0)
        return low, high - part.delay

    def _bits(self, part: _Part, stage: int) -> int:
        """Register bits of all nets at a part, were it in a stage."""
        total = 0
        for number, (most, _) in part.reads.items():
            net = self.nets[number]
            need = max(self._need(net, number, part), stage + most)
            total += net.width * max(need - net.made, 0)
        made = stage + part.latency
        for number in part.makes:
            net = self.nets[number]
            total += net.width * max(self._need(net, number, part) - made, 0)
        return total

    def _need(self, net: _Net, number: int, without: _Part) -> int:
        """The last stage in which anyone but one part reads a net."""
        need = self.timed.latency + net.leaves[0] if net.leaves is not None else -(1 << 30)
        for reader in net.readers:
            if reader is not without:
                need = max(need, reader.stage + reader.reads[number][0])
        return need

    # --- moving --------------------------------------------------------------------------------

    def round(self) -> bool:
        """Every part once from the outputs to the inputs and once back; has any moved?"""
        moved = [self._move(part, late=True) for part in reversed(self.parts)]
        moved += [self._move(part, late=False) for part in self.parts]
        return any(moved)

    def _move(self, part: _Part, late: bool) -> bool:
        first, last = self._range(part)
        if first == last:
            part.begin = self._room(part, first)[1 if late else 0]
            return False
        stages = {part.stage, first, last}
        for number, (most, _) in part.reads.items():
            # Up to the last of the others who read it, reading a net costs nothing.
            stages.add(self._need(self.nets[number], number, part) - most)
        allowed = [
            stage
            for stage in sorted(stages, reverse=late)
            if first <= stage <= last and (stage == part.stage or self._fits(part, stage))
        ]
        stage = min(allowed, key=lambda stage: (self._bits(part, stage), stage != part.stage))
        moved = stage != part.stage
        part.stage = stage
        part.begin = self._room(part, stage)[1 if late else 0]
        return moved

    def _fits(self, part: _Part, stage: int) -> bool:
        low, high = self._room(part, stage)
        return low <= high + SLACK

    def result(self) -> Timed:
        """The module with its parts where they are now."""
        starts = list(self.timed.starts)
        stage = dict(self.timed.stage)
        first = last = 0.0
        for part in self.parts:
            starts[part.number] = part.stage
            stage.update(dict.fromkeys(part.makes, part.made))
            part.begin = self._room(part, part.stage)[0]
            if part.stage == 0:
                first = max(first, part.begin + part.delay)
        for number, body in enumerate(self.timed.module.body):
            if isinstance(body, Delay):
                starts[number] = stage[body.a.net]
                stage[body.output.net] = stage[body.a.net] - body.steps
        for net in self.nets.values():
            leaves = net.leaves is not None and net.made == self.timed.latency + net.leaves[1]
            if leaves and net.maker:
                last = max(last, net.maker.end)
        return replace(
            self.timed,
            stage=stage,
            starts=tuple(starts),
            delay_in=first,
            delay_out=last,
        )
