"""Builds a module wire by wire: exact fixed-point arithmetic on symbols.

Every method takes and returns wires, folds constants, keeps intervals tight and never makes the
same cell twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hairtrigger.fixed import HGQ2_FOLDS, Fixed, Overflow, Rounding, quantize_codes
from hairtrigger.graph.ops import Relation
from hairtrigger.rtl import cells
from hairtrigger.rtl.clocked import Accumulate, Counter, Fetch, Hold, Running
from hairtrigger.rtl.netlist import (
    CONSTANT,
    Cell,
    Delay,
    Instance,
    Module,
    Wire,
    constant,
    driven,
)

ZERO = Wire(CONSTANT, 0, 0, 0)

_CARRY = {rule.name: rule for rule in cells.Carry}
_TEST = {
    Relation.GT: cells.Test.GT,
    Relation.GE: cells.Test.GE,
    Relation.EQ: cells.Test.EQ,
}


@dataclass
class ModuleBuilder:
    """The module in the making. Methods give the wire that carries their result.

    ``small_sums``: bits of both terms up to which a sum is logic without a carry chain.
    """

    inputs: list[Wire] = field(default_factory=list[Wire])
    body: list[Cell | Instance | Delay] = field(default_factory=list[Cell | Instance | Delay])
    start: Wire | None = None
    small_sums: int = 0
    _nets: int = 0
    _made: dict[object, Wire] = field(default_factory=dict[object, Wire])
    _source: dict[int, Cell] = field(default_factory=dict[int, Cell])

    def net(self, low: int, high: int, fraction: int) -> Wire:
        """A new net for codes from ``low`` to ``high``; a constant where they are equal."""
        if low == high:
            return constant(low, fraction)
        self._nets += 1
        return Wire(self._nets - 1, low, high, fraction)

    def input(self, low: int, high: int, fraction: int) -> Wire:
        """A new input port; none is made for what is always one number."""
        wire = self.net(low, high, fraction)
        if not wire.constant:
            self.inputs.append(wire)
        return wire

    def _cell(self, key: tuple[object, ...], out: Wire, make: Callable[[Wire], Cell]) -> Wire:
        """The wire of an equal cell made before, else of a new one."""
        if out.constant:
            return out
        key = (*key, out.low, out.high, out.fraction)
        if key not in self._made:
            cell = make(out)
            self.body.append(cell)
            self._made[key] = out
            self._source[out.net] = cell
        return self._made[key]

    # --- sums ----------------------------------------------------------------------------------

    def add(self, a: Wire, b: Wire, subtract: bool = False) -> Wire:
        """``a + b`` or ``a - b``."""
        if b.zero:
            return a
        if a.zero and not subtract:
            return b
        if a.constant and not b.constant and not subtract:
            a, b = b, a
        if b.constant and subtract:
            b, subtract = Wire(CONSTANT, -b.low, -b.low, b.fraction), False
        if b.constant and not a.constant:
            merged = self._merge_constant(a, b)
            if merged is not None:
                return merged
        fraction = max(a.fraction, b.fraction)
        up_a, up_b = fraction - a.fraction, fraction - b.fraction
        low_b, high_b = (-b.high, -b.low) if subtract else (b.low, b.high)
        low = (a.low << up_a) + (low_b << up_b)
        high = (a.high << up_a) + (high_b << up_b)
        if not subtract and up_a and not up_b and not b.constant:
            a, b, up_a, up_b = b, a, up_b, up_a  # the unshifted side's low bits pass by
        out = self.net(low, high, fraction)
        if out.constant:
            return constant(low, fraction)
        key = ("sum", a, b, up_a, up_b, subtract)
        small = sum(wire.width for wire in (a, b) if not wire.constant) <= self.small_sums
        return self._cell(key, out, lambda out: cells.Sum(a, b, up_a, up_b, subtract, out, small))

    def _merge_constant(self, a: Wire, b: Wire) -> Wire | None:
        """``(x + c) + b`` as ``x + (c + b)``, where ``a`` is such a sum."""
        cell = self._source.get(a.net)
        if not isinstance(cell, cells.Sum) or not cell.b.constant or cell.a.constant:
            return None
        if cell.output.fraction != a.fraction or cell.subtract:
            return None
        return self.add(cell.a, self.add(cell.b, b))

    def negate(self, a: Wire) -> Wire:
        """``-a``."""
        return self.add(ZERO, a, subtract=True)

    def sum(self, wires: Sequence[Wire]) -> Wire:
        """All added up, in a balanced tree."""
        level = [w for w in wires if not w.zero]
        while len(level) > 1:
            pairs = [self.add(a, b) for a, b in zip(level[::2], level[1::2], strict=False)]
            level = pairs + level[len(level) & ~1 :]
        return level[0] if level else ZERO

    # --- quantizing ----------------------------------------------------------------------------

    def narrow(self, a: Wire, low: int, high: int, fraction: int) -> Wire:
        """The same wire where it is known to be a whole code from ``low`` to ``high``, in units of
        ``2**-fraction``. Bits that this leaves without meaning are dropped.
        """
        if a.constant:
            return a
        drop = a.fraction - fraction
        if drop > 0:
            a = self._cast(a, drop, -((-a.low) >> drop), a.high >> drop)
            drop = 0
        # Bounds in units of the wire's own LSB, rounded inwards: codes are whole.
        best_low, best_high = max(a.low, -((-low) >> -drop)), min(a.high, high >> -drop)
        if (best_low, best_high) == (a.low, a.high):
            return a
        cell = self._source.get(a.net)
        if isinstance(cell, cells.Sum) and cell.output.fraction == a.fraction:
            out = self.net(best_low, best_high, a.fraction)
            # A sum needs more bits than its terms are shifted by, else a term leaves it whole.
            if max(cell.up_a, cell.up_b) < out.width < a.width:
                key = ("sum", cell.a, cell.b, cell.up_a, cell.up_b, cell.subtract)
                return self._cell(key, out, lambda out: replace(cell, output=out))
        return self._cast(a, 0, best_low, best_high)

    def _cast(self, a: Wire, drop: int, low: int, high: int) -> Wire:
        if drop == 0:
            same = Wire(a.net, low, high, a.fraction)
            if same.width == a.width and same.signed == a.signed:
                return same
        out = self.net(low, high, a.fraction - drop)
        return self._cell(("cast", a, drop), out, lambda out: cells.Cast(a, drop, out))

    def round(self, a: Wire, fraction: int, rounding: Rounding) -> Wire:
        """Keep ``fraction`` bits right of the point."""
        drop = a.fraction - fraction
        if drop <= 0:
            return a
        if a.constant:
            code = quantize_codes(np.array(a.low), drop, True, 58, 0, rounding, Overflow.WRAP)
            return constant(int(code), fraction)
        source = self._source.get(a.net)
        if rounding in (Rounding.TRN, Rounding.RND):
            if isinstance(source, cells.Rectify) and source.output.fraction == a.fraction:
                # Rounding commutes with max(x, 0); this way its constant merges with a bias.
                return self.relu(self.round(source.a, fraction, rounding))
            if rounding is Rounding.RND and isinstance(source, cells.Sum) and source.b.constant:
                half = constant(1, fraction + 1)
                return self.round(self.add(a, half), fraction, Rounding.TRN)
        floor = self._cast(a, drop, a.low >> drop, a.high >> drop)
        if rounding is Rounding.TRN:
            return floor
        rule = _CARRY[rounding.name]
        up = self.net(0, 1, fraction)
        up = self._cell(("up", a, drop, rule), up, lambda out: cells.RoundUp(a, drop, rule, out))
        rounded = self.add(floor, up)
        ends = quantize_codes(np.array([a.low, a.high]), drop, True, 58, 0, rounding, Overflow.WRAP)
        return self.narrow(rounded, int(ends[0]), int(ends[1]), fraction)

    def quantize(self, a: Wire, to: Fixed, rounding: Rounding, overflow: Overflow) -> Wire:
        """Bring a wire into a format, as `hairtrigger.fixed.quantize_codes` does."""
        if to.width == 0:
            return ZERO
        if a.constant:
            code = quantize_codes(
                np.array(a.low), a.fraction, to.signed, to.integer, to.fraction, rounding, overflow
            )
            return constant(int(code), to.fraction)
        rounded = self.round(a, to.fraction, rounding)
        if rounded.constant:
            return self.quantize(rounded, to, rounding, overflow)
        up = to.fraction - rounded.fraction
        low, high = rounded.low << up, rounded.high << up
        lowest = to.lowest + int(overflow is Overflow.SAT_SYM and to.signed)
        # HGQ2 folds one half below the end too where ties go down there: only at one bit.
        folds_early = overflow is Overflow.WRAP_SM and to.width == 1
        if lowest <= low and high <= to.highest and not folds_early:
            return rounded
        match overflow:
            case Overflow.WRAP:
                return self._wrap(rounded, to)
            case Overflow.SAT | Overflow.SAT_SYM:
                return self._saturate(rounded, to, overflow is Overflow.SAT_SYM)
            case Overflow.WRAP_SM:
                return self._fold(a, rounded, to, rounding)

    def _wrap(self, a: Wire, to: Fixed) -> Wire:
        # A wire coarser than the format has no bits below its own LSB to keep.
        magnitude = to.integer + a.fraction
        if magnitude + int(to.signed) <= 0:
            return ZERO
        if to.signed:
            return self._cast(a, 0, -(1 << magnitude), (1 << magnitude) - 1)
        return self._cast(a, 0, 0, (1 << magnitude) - 1)

    def _saturate(self, a: Wire, to: Fixed, symmetric: bool) -> Wire:
        a = self.refine(a, to.fraction)
        magnitude = to.integer + to.fraction
        lowest = to.lowest + int(symmetric and to.signed)
        low, high = (min(max(code, lowest), to.highest) for code in (a.low, a.high))
        out = self.net(low, high, to.fraction)
        key = ("clamp", a, magnitude, to.signed, symmetric)
        return self._cell(
            key, out, lambda out: cells.Clamp(a, magnitude, to.signed, symmetric, out)
        )

    def refine(self, a: Wire, fraction: int) -> Wire:
        """The same value with zeros appended below."""
        up = fraction - a.fraction
        if up <= 0:
            return a
        if a.constant:
            return Wire(CONSTANT, a.low << up, a.high << up, fraction)
        out = self.net(a.low << up, a.high << up, fraction)
        return self._cell(("cast", a, -up), out, lambda out: cells.Cast(a, -up, out))

    def _fold(self, a: Wire, rounded: Wire, to: Fixed, rounding: Rounding) -> Wire:
        """WRAP_SM: wrap, then invert once for each odd half-period and period left."""
        rounded = self.refine(rounded, to.fraction)
        odd = self._odd_periods(a, rounded, to, rounding)
        wrapped = self._wrap(rounded, to)
        if odd.constant:
            return self.add(self.negate(wrapped), constant(-1, to.fraction)) if odd.low else wrapped
        wide = self.refine(wrapped, to.fraction)
        out = self.net(to.lowest, to.highest, to.fraction)
        return self._cell(("invert", wide, odd), out, lambda out: cells.Invert(wide, odd, out))

    def _odd_periods(self, a: Wire, rounded: Wire, to: Fixed, rounding: Rounding) -> Wire:
        """Is the number of half-periods and periods that were left odd; see `fixed._fold`."""
        if rounding not in HGQ2_FOLDS:
            first, second = (self.bit(rounded, to.width - n) for n in (0, 1))
            return self._logic(cells.Gate.XOR, first, second)
        drop = a.fraction - to.fraction
        fine = a if drop >= 0 else self.refine(a, to.fraction)
        drop = max(drop, 0)
        first = self.bit(fine, drop + to.width)
        # |x| > LSB/2: above the half, or at most minus the half less one step.
        half = 1 << drop
        twice = fine.shifted(1)
        above = self.compare(Relation.GT, twice, Wire(CONSTANT, half, half, fine.fraction))
        below = self.compare(Relation.GT, Wire(CONSTANT, -half, -half, fine.fraction), twice)
        if drop == 0:
            above = self.compare(Relation.GT, fine, ZERO)
            below = self.compare(Relation.GT, ZERO, fine)
        beyond = self.choose(above, ONE, below)
        nearest = self.refine(self.round(a, to.fraction, Rounding.RND), to.fraction)
        second = self.bit(nearest, to.width - 1)
        return self._logic(cells.Gate.XOR, self._logic(cells.Gate.AND, first, beyond), second)

    def bit(self, a: Wire, place: int) -> Wire:
        """Bit ``place`` of a two's complement code, as a wire of codes 0 and 1."""
        if a.constant:
            return constant((a.low >> place) & 1)
        low, high = a.low >> place, a.high >> place
        if low == high:
            return constant(low & 1)
        out = self.net(0, 1, 0)
        key = ("bit", a, place)
        return self._cell(key, out, lambda out: cells.Cast(a, place, out))

    def _logic(self, gate: cells.Gate, a: Wire, b: Wire) -> Wire:
        if a.constant and b.constant:
            return constant(a.low ^ b.low if gate is cells.Gate.XOR else a.low & b.low)
        if a.zero or b.zero:
            other = b if a.zero else a
            return other if gate is cells.Gate.XOR else ZERO
        out = self.net(0, 1, 0)
        return self._cell((gate, a, b), out, lambda out: cells.Logic(gate, a, b, out))

    # --- non-linear ----------------------------------------------------------------------------

    def relu(self, a: Wire) -> Wire:
        """``max(a, 0)``."""
        if a.low >= 0:
            return a
        if a.high <= 0:
            return ZERO
        out = self.net(0, a.high, a.fraction)
        return self._cell(("relu", a), out, lambda out: cells.Rectify(a, out))

    def compare(self, relation: Relation, a: Wire, b: Wire) -> Wire:
        """1 where ``a`` stands in the relation to ``b``, else 0."""
        fraction = max(a.fraction, b.fraction)
        up_a, up_b = fraction - a.fraction, fraction - b.fraction
        low_a, high_a, low_b, high_b = a.low << up_a, a.high << up_a, b.low << up_b, b.high << up_b
        match relation:
            case Relation.GT:
                always, never = low_a > high_b, high_a <= low_b
            case Relation.GE:
                always, never = low_a >= high_b, high_a < low_b
            case Relation.EQ:
                always = low_a == high_a == low_b == high_b
                never = low_a > high_b or high_a < low_b
        if always or never:
            return constant(int(always))
        out = self.net(0, 1, 0)
        test = _TEST[relation]
        return self._cell(
            ("compare", test, a, b),
            out,
            lambda out: cells.Compare(test, a, b, up_a, up_b, out),
        )

    def choose(self, when: Wire, a: Wire, b: Wire) -> Wire:
        """``a`` where the bit ``when`` is set, else ``b``."""
        if when.constant:
            return a if when.low else b
        if a == b:
            return a
        live = [w.fraction for w in (a, b) if not w.zero]
        fraction = max(live)
        up_a, up_b = (fraction - w.fraction if not w.zero else 0 for w in (a, b))
        low = min(a.low << up_a, b.low << up_b)
        high = max(a.high << up_a, b.high << up_b)
        out = self.net(low, high, fraction)
        return self._cell(
            ("choose", when, a, b), out, lambda out: cells.Choose(when, a, b, up_a, up_b, out)
        )

    def maximum(self, a: Wire, b: Wire) -> Wire:
        """The larger of two."""
        larger = self.choose(self.compare(Relation.GE, a, b), a, b)
        fraction = max(a.fraction, b.fraction)
        low = max(a.low << (fraction - a.fraction), b.low << (fraction - b.fraction))
        high = max(a.high << (fraction - a.fraction), b.high << (fraction - b.fraction))
        return self.narrow(larger, low, high, fraction)

    def argmax(self, wires: Sequence[Wire]) -> Wire:
        """Place of the largest, the first of equals, by a tree of comparisons."""
        level = [(constant(n), wire) for n, wire in enumerate(wires)]
        while len(level) > 1:
            pairs: list[tuple[Wire, Wire]] = []
            for (place_a, a), (place_b, b) in zip(level[::2], level[1::2], strict=False):
                first = self.compare(Relation.GE, a, b)
                pairs.append((self.choose(first, place_a, place_b), self.maximum(a, b)))
            level = pairs + level[len(level) & ~1 :]
        return level[0][0]

    def multiply(self, a: Wire, b: Wire) -> Wire:
        """``a * b``; products with constants belong to `hairtrigger.rtl.adders`."""
        corners = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
        out = self.net(min(corners), max(corners), a.fraction + b.fraction)
        return self._cell(("product", a, b), out, lambda out: cells.Product(a, b, out))

    def lookup(self, a: Wire, values: Sequence[int], first: int, fraction: int) -> Wire:
        """``values[code - first]`` for each code of ``a``; the values have LSB ``2**-fraction``."""
        reached = list(values[a.low - first : a.high - first + 1])
        if a.constant:
            return constant(reached[0], fraction)
        used = 0
        for value in reached:
            used |= value
        zeros = (used & -used).bit_length() - 1 if used else 0
        reached = [value >> zeros for value in reached]
        out = self.net(min(reached), max(reached), fraction - zeros)
        mask = (1 << a.width) - 1
        entries = [0] * (1 << a.width)
        for code, value in enumerate(reached, start=a.low):
            entries[code & mask] = value
        table = tuple(entries)
        return self._cell(("lookup", a, table), out, lambda out: cells.Lookup(a, table, out))

    # --- from clock to clock -------------------------------------------------------------------

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

    def hold(
        self, output: Wire, following: Wire, enable: Wire, entries: Sequence[int], name: str
    ) -> None:
        """Say what a net made by `net` holds from clock to clock; see `Hold`."""
        self.body.append(Hold(following, enable, tuple(entries), output, name))

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

    # --- modules -------------------------------------------------------------------------------

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


ONE = constant(1)
