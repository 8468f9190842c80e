"""Builds a module wire by wire: exact fixed-point arithmetic on symbols.

Every method takes and returns wires, folds constants, keeps intervals tight and never makes the
same cell twice. Arithmetic is in ``arithmetic.py``, Quantize in ``rounding.py``; here is what keeps
time, and the module itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from hairtrigger.rtl import cells
from hairtrigger.rtl.arithmetic import ZERO
from hairtrigger.rtl.clocked import Accumulate, Counter, Fetch, Filling, Hold, Running
from hairtrigger.rtl.netlist import (
    Cell,
    Delay,
    Instance,
    Module,
    Wire,
    constant,
    driven,
)
from hairtrigger.rtl.rounding import Quantizing


class ModuleBuilder(Quantizing):
    """The module in the making. Methods give the wire that carries their result."""

    def begin(self) -> Wire:
        """The wire that is 1 in the first clock of an event; see `Module.start`."""
        if self.start is None:
            self.start = self.net(0, 1, 0)
        return self.start

    def delayed(self, a: Wire, steps: int) -> Wire:
        """``a`` as it was ``steps`` clocks ago."""
        if a.constant or steps == 0:
            return a
        key = ("delay", a, steps)
        if key not in self._made:
            out = self.net(a.low, a.high, a.fraction)
            self.body.append(Delay(a, steps, out))
            self._made[key] = out
        return self._made[key]

    def counter(self, start: Wire, step: Wire | None, last: int, wraps: bool) -> Wire:
        """A `Counter` up to ``last``."""
        out = self.net(0, last, 0)
        key = ("counter", start, step, wraps)
        return self._cell(key, out, lambda out: Counter(start, step, last, wraps, out))

    def accumulate(
        self, start: Wire, step: Wire | None, a: Wire, low: int, high: int, fraction: int
    ) -> Wire:
        """An `Accumulate` of ``a`` whose last sum is a code from ``low`` to ``high``."""
        out = self.net(low, high, fraction)
        key = ("accumulate", start, step, a)
        return self._cell(key, out, lambda out: Accumulate(start, step, a, out))

    def fetch(self, a: Wire, place: Wire, depth: int) -> Wire:
        """A `Fetch` of ``a`` from ``place`` clocks ago."""
        out = self.net(a.low, a.high, a.fraction)
        return self._cell(("fetch", a, place, depth), out, lambda out: Fetch(a, place, depth, out))

    def running(self, start: Wire, length: int) -> Wire:
        """1 for ``length`` clocks from where ``start`` is 1 on."""
        if length == 1:
            return start
        out = self.net(0, 1, 0)
        key = ("running", start, length)
        return self._cell(key, out, lambda out: Running(start, length, out))

    def filling(self, enable: Wire, count: int) -> Wire:
        """1 from a reset until ``enable`` has been 1 for ``count`` clocks."""
        out = self.net(0, 1, 0)
        return self._cell(("filling", enable, count), out, lambda out: Filling(enable, count, out))

    def hold(
        self,
        output: Wire,
        following: Wire,
        enable: Wire,
        entries: Sequence[int],
        name: str,
        filling: Wire | None = None,
    ) -> None:
        """Say what a net made by `net` holds from clock to clock; see `Hold`."""
        self.body.append(Hold(following, enable, tuple(entries), output, name, filling))

    def join(self, parts: Sequence[tuple[Wire, int]]) -> Wire:
        """The bits of wires above each other, the lowest first, each in so many bits."""
        code, total = 0, 0
        for wire, width in parts:
            code |= (wire.low & ((1 << width) - 1)) << total
            total += width
        if all(wire.constant for wire, _ in parts):
            return constant(code)
        out = self.net(0, (1 << total) - 1, 0)
        return self._cell(("join", *parts), out, lambda out: cells.Join(tuple(parts), out))

    def both(self, a: Wire, b: Wire) -> Wire:
        """1 where both one-bit wires are 1."""
        if a.constant:
            return b if a.low else ZERO
        if b.constant:
            return a if b.low else ZERO
        return self._logic(cells.Gate.AND, a, b)

    def either(self, a: Wire, b: Wire) -> Wire:
        """1 where one of two one-bit wires is 1."""
        if a.constant:
            return a if a.low else b
        if b.constant:
            return b if b.low else a
        return self._logic(cells.Gate.OR, a, b)

    def instance(self, module: Module, inputs: Sequence[Wire], label: str) -> list[Wire]:
        """Instantiate a module; gives its outputs, constants included."""
        fresh: dict[int, Wire] = {}
        outs: list[Wire] = []
        for port in module.outputs:
            if port.constant:
                outs.append(port)
                continue
            fresh.setdefault(port.net, self.net(port.low, port.high, port.fraction))
            same = fresh[port.net]
            outs.append(Wire(same.net, port.low, port.high, port.fraction))
        driven_nets = tuple(dict.fromkeys(port.net for port in module.outputs if not port.constant))
        self.body.append(
            Instance(module, tuple(inputs), tuple(fresh[net] for net in driven_nets), label)
        )
        return outs

    def finish(self, name: str, outputs: Sequence[Wire], about: str) -> Module:
        """The module, without parts that no output needs; unread inputs stay as ports."""
        needed = {wire.net for wire in outputs if not wire.constant}
        # A register stands behind what reads it.
        needed |= {part.output.net for part in self.body if isinstance(part, Hold)}
        kept: list[Cell | Instance | Delay] = []
        for part in reversed(self.body):
            if any(wire.net in needed for wire in driven(part)):
                needed.update(wire.net for wire in part.inputs if not wire.constant)
                kept.append(part)
        body = tuple(reversed(kept))
        start = self.start if self.start is not None and self.start.net in needed else None
        return Module(name, tuple(self.inputs), tuple(outputs), body, about, start)
