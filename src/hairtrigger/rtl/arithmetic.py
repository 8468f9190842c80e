"""Wires and the combinational cells between them: sums, comparisons, choices, products, tables.

The first of the three layers of `hairtrigger.rtl.build.ModuleBuilder`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from hairtrigger.graph.ops import Relation
from hairtrigger.rtl import cells
from hairtrigger.rtl.netlist import (
    CONSTANT,
    Cell,
    Delay,
    Instance,
    Wire,
    constant,
)

ZERO = Wire(CONSTANT, 0, 0, 0)

_TEST = {
    Relation.GT: cells.Test.GT,
    Relation.GE: cells.Test.GE,
    Relation.EQ: cells.Test.EQ,
}


@dataclass
class Arithmetic:
    """A module in the making, and exact arithmetic in it.

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

    def refine(self, a: Wire, fraction: int) -> Wire:
        """The same value with zeros appended below."""
        up = fraction - a.fraction
        if up <= 0:
            return a
        if a.constant:
            return Wire(CONSTANT, a.low << up, a.high << up, fraction)
        out = self.net(a.low << up, a.high << up, fraction)
        return self._cell(("cast", a, -up), out, lambda out: cells.Cast(a, -up, out))

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
        if _bit(a) and _bit(b) and a.fraction == b.fraction:
            return self._logic(cells.Gate.OR, a, b).shifted(-a.fraction)
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
        if _bit(a) and _bit(b):
            return self._logic(cells.Gate.AND, a, b).shifted(-a.fraction - b.fraction)
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


def _bit(a: Wire) -> bool:
    """Is it a net of codes 0 and 1."""
    return not a.constant and (a.low, a.high) == (0, 1)
