"""The kinds of cells: what each costs in time and how it reads in Verilog-2005.

Every expression has exactly the width of its output and only unsigned operands of equal width
(sign extensions are written out), so that no tool has to guess and none warns.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hairtrigger.errors import GraphError
from hairtrigger.rtl.netlist import Delays, Show, Wire


def number(code: int, width: int) -> str:
    """A sized literal, two's complement."""
    return f"{width}'d{code & ((1 << width) - 1)}"


def extended(wire: Wire, width: int, up: int, show: Show) -> str:
    """The wire shifted left by ``up`` zeros and extended to ``width`` bits."""
    if wire.constant:
        return number(wire.low << up, width)
    name = show(wire)
    fill = width - wire.width - up
    if fill < 0:
        return (
            f"{name}[{width - up - 1}:0]" if not up else f"{{{name}[{width - up - 1}:0], {up}'d0}}"
        )
    parts = [name]
    if fill:
        top = f"{{{fill}{{{bit(wire, wire.width - 1, show)}}}}}" if wire.signed else f"{fill}'d0"
        parts.insert(0, top)
    if up:
        parts.append(f"{up}'d0")
    return name if len(parts) == 1 else "{" + ", ".join(parts) + "}"


def bit(wire: Wire, place: int, show: Show) -> str:
    """One bit of a net."""
    return show(wire) if wire.width == 1 else f"{show(wire)}[{place}]"


def bits(wire: Wire, high: int, low: int, show: Show) -> str:
    """Bits ``high`` down to ``low`` of a net."""
    if low == 0 and high == wire.width - 1:
        return show(wire)
    return f"{show(wire)}[{high}:{low}]" if high != low else bit(wire, low, show)


class Combinational:
    """Base of the cells whose output depends on their inputs alone."""

    clocked = False


@dataclass(frozen=True)
class Sum(Combinational):
    """``a * 2**up_a + b * 2**up_b``, or the difference, in codes of the output.

    ``small``: printed as logic. A carry chain hides its meaning from the synthesis tool, which then
    cannot put several small sums into one LUT.
    """

    a: Wire
    b: Wire
    up_a: int
    up_b: int
    subtract: bool
    output: Wire
    small: bool = False

    @property
    def inputs(self) -> tuple[Wire, ...]:
        return (self.a, self.b)

    @property
    def passed(self) -> int:
        """Low bits that come from ``a`` alone and need no adder."""
        low = self.up_b if self.up_a == 0 and not self.a.constant else 0
        return low if low < min(self.a.width, self.output.width) else 0

    def delay(self, model: Delays) -> float:
        return model.lut(1) if self.small else model.adder(self.output.width - self.passed)

    def logic(self, show: Show) -> str:
        """Bit by bit, with the carries written out."""

        def at(wire: Wire, place: int) -> str:
            if wire.constant:
                return f"1'b{(wire.low >> place) & 1}" if place >= 0 else "1'b0"
            if place < 0 or (place >= wire.width and not wire.signed):
                return "1'b0"
            return bit(wire, min(place, wire.width - 1), show)

        invert = "~" if self.subtract else ""
        carry = f"1'b{int(self.subtract)}"
        found: list[str] = []
        for place in range(self.output.width):
            x = at(self.a, place - self.up_a)
            y = invert + at(self.b, place - self.up_b)
            found.append(f"{x} ^ {y} ^ ({carry})")
            carry = f"{x} & {y} | ({x} | {y}) & ({carry})"
        return f"{{{', '.join(reversed(found))}}}"

    def expression(self, show: Show) -> str:
        if self.small:
            return self.logic(show)
        sign = "-" if self.subtract else "+"
        low, width = self.passed, self.output.width
        if not low:
            a = extended(self.a, width, self.up_a, show)
            b = extended(self.b, width, self.up_b, show)
            return f"{a} {sign} {b}"
        rest = width - low
        above = self.a.width - low
        upper = bits(self.a, self.a.width - 1, low, show)
        if above < rest:
            top = self.a.width - 1
            fill = bit(self.a, top, show) if self.a.signed else "1'b0"
            upper = f"{{{{{rest - above}{{{fill}}}}}, {upper}}}"
        elif above > rest:
            upper = bits(self.a, low + rest - 1, low, show)
        b = extended(self.b, rest, self.up_b - low, show)
        return f"{{{upper} {sign} {b}, {bits(self.a, low - 1, 0, show)}}}"


@dataclass(frozen=True)
class Cast(Combinational):
    """Drop the lowest ``drop`` bits (negative: append zeros) and keep, or extend to, the output's
    bits: only wires."""

    a: Wire
    drop: int
    output: Wire

    @property
    def inputs(self) -> tuple[Wire, ...]:
        return (self.a,)

    def delay(self, model: Delays) -> float:
        return 0.0

    def expression(self, show: Show) -> str:
        if self.drop < 0:
            return extended(self.a, self.output.width, -self.drop, show)
        width, left = self.output.width, self.a.width - self.drop
        if left <= 0:  # only copies of the sign are left
            return f"{{{width}{{{bit(self.a, self.a.width - 1, show)}}}}}"
        kept = bits(self.a, self.drop + min(width, left) - 1, self.drop, show)
        if width <= left:
            return kept
        fill = bit(self.a, self.a.width - 1, show) if self.a.signed else "1'b0"
        return f"{{{{{width - left}{{{fill}}}}}, {kept}}}"


@dataclass(frozen=True)
class Rectify(Combinational):
    """``max(a, 0)`` for a signed wire: its bits, cleared where the sign is set."""

    a: Wire
    output: Wire

    @property
    def inputs(self) -> tuple[Wire, ...]:
        return (self.a,)

    def delay(self, model: Delays) -> float:
        return model.lut(1)

    def expression(self, show: Show) -> str:
        width = self.output.width
        sign = bit(self.a, self.a.width - 1, show)
        return f"{bits(self.a, width - 1, 0, show)} & {{{width}{{~{sign}}}}}"


@dataclass(frozen=True)
class Clamp(Combinational):
    """Saturate: codes above ``2**magnitude - 1`` or below the lowest become these ends.

    The lowest is 0, ``-2**magnitude`` (``signed``) or one more than that (``symmetric``).
    """

    a: Wire
    magnitude: int
    signed: bool
    symmetric: bool
    output: Wire

    @property
    def inputs(self) -> tuple[Wire, ...]:
        return (self.a,)

    def delay(self, model: Delays) -> float:
        return model.lut(2)

    def expression(self, show: Show) -> str:
        a, n, width = self.a, self.magnitude, self.output.width
        sign = bit(a, a.width - 1, show) if a.signed else "1'b0"
        top = a.width - 1 - int(a.signed)
        above = bits(a, top, n, show) if top >= n else ""
        high, low = (1 << n) - 1, 0
        under = f"{sign}"
        if self.signed:
            low = -high if self.symmetric else -(1 << n)
            beyond = f"~&{above}" if above else "1'b0"
            if self.symmetric:
                rest = f" | ~|{bits(a, n - 1, 0, show)}" if n else " | 1'b1"
                beyond = f"({beyond}{rest})"
            under = f"{sign} & {beyond}"
        kept = extended(a, width, 0, show)
        text = kept
        if a.low < low:
            text = f"({under}) ? {number(low, width)} : {text}"
        if a.high > high and above:
            over = f"~{sign} & |{above}" if a.signed else f"|{above}"
            text = f"({over}) ? {number(high, width)} : {text}"
        return text


class Carry(Enum):
    """When rounding adds one to the floor: from sign, half bit, the bits below it, and the LSB."""

    TRN_ZERO = "sign & (half | rest)"
    RND = "half"
    RND_CONV = "half & (rest | odd)"
    RND_ZERO = "half & (rest | sign)"
    RND_INF = "half & (rest | ~sign)"
    RND_MIN_INF = "half & rest"


@dataclass(frozen=True)
class RoundUp(Combinational):
    """The bit that rounding adds to the floor of ``a / 2**drop``."""

    a: Wire
    drop: int
    rule: Carry
    output: Wire

    @property
    def inputs(self) -> tuple[Wire, ...]:
        return (self.a,)

    def delay(self, model: Delays) -> float:
        return model.lut(1 if self.drop <= 5 or self.rule is Carry.RND else 2)

    def expression(self, show: Show) -> str:
        a = self.a

        def at(place: int) -> str:
            """Bit at a place, beyond the wire's own width its extension."""
            if place < a.width:
                return bit(a, place, show)
            return bit(a, a.width - 1, show) if a.signed else "1'b0"

        top = min(self.drop - 2, a.width - 1)
        values = {
            "sign": bit(a, a.width - 1, show) if a.signed else "1'b0",
            "half": at(self.drop - 1),
            "rest": f"(|{bits(a, top, 0, show)})" if self.drop >= 2 else "1'b0",
            "odd": at(self.drop),
        }
        text = self.rule.value
        for name, value in values.items():
            text = text.replace(name, value)
        return text


class Gate(Enum):
    """One-bit functions."""

    XOR = "^"
    AND = "&"
    OR = "|"


@dataclass(frozen=True)
class Logic(Combinational):
    """A gate over one-bit wires."""

    gate: Gate
    a: Wire
    b: Wire
    output: Wire

    @property
    def inputs(self) -> tuple[Wire, ...]:
        return (self.a, self.b)

    def delay(self, model: Delays) -> float:
        return model.lut(1)

    def expression(self, show: Show) -> str:
        return f"{extended(self.a, 1, 0, show)} {self.gate.value} {extended(self.b, 1, 0, show)}"


@dataclass(frozen=True)
class Invert(Combinational):
    """All bits of ``a`` inverted (``-a - 1``) where ``when`` is set; the output is signed."""

    a: Wire
    when: Wire
    output: Wire

    @property
    def inputs(self) -> tuple[Wire, ...]:
        return (self.a, self.when)

    def delay(self, model: Delays) -> float:
        return model.lut(1)

    def expression(self, show: Show) -> str:
        width = self.output.width
        return f"{extended(self.a, width, 0, show)} ^ {{{width}{{{show(self.when)}}}}}"


class Test(Enum):
    """How two wires are compared."""

    GT = ">"
    GE = ">="
    EQ = "=="


@dataclass(frozen=True)
class Compare(Combinational):
    """1 where the test holds between ``a * 2**up_a`` and ``b * 2**up_b``."""

    test: Test
    a: Wire
    b: Wire
    up_a: int
    up_b: int
    output: Wire

    @property
    def inputs(self) -> tuple[Wire, ...]:
        return (self.a, self.b)

    @property
    def _width(self) -> int:
        signed = self.a.signed or self.b.signed
        sizes = ((w.width + up + int(signed and not w.signed)) for w, up in self._sides)
        return max(sizes)

    @property
    def _sides(self) -> tuple[tuple[Wire, int], tuple[Wire, int]]:
        return (self.a, self.up_a), (self.b, self.up_b)

    def delay(self, model: Delays) -> float:
        return model.adder(self._width)

    def expression(self, show: Show) -> str:
        a, b = (extended(wire, self._width, up, show) for wire, up in self._sides)
        if (self.a.signed or self.b.signed) and self.test is not Test.EQ:
            a, b = f"$signed({a})", f"$signed({b})"
        return f"{a} {self.test.value} {b}"


@dataclass(frozen=True)
class Choose(Combinational):
    """``a * 2**up_a`` where ``when`` is set, else ``b * 2**up_b``."""

    when: Wire
    a: Wire
    b: Wire
    up_a: int
    up_b: int
    output: Wire

    @property
    def inputs(self) -> tuple[Wire, ...]:
        return (self.when, self.a, self.b)

    def delay(self, model: Delays) -> float:
        return model.lut(1)

    def expression(self, show: Show) -> str:
        width = self.output.width
        a = extended(self.a, width, self.up_a, show)
        b = extended(self.b, width, self.up_b, show)
        return f"{show(self.when)} ? {a} : {b}"


@dataclass(frozen=True)
class Product(Combinational):
    """``a * b``."""

    a: Wire
    b: Wire
    output: Wire

    @property
    def inputs(self) -> tuple[Wire, ...]:
        return (self.a, self.b)

    def delay(self, model: Delays) -> float:
        # A tree of adders, one level for each halving of the shorter factor.
        levels = max(1, (min(self.a.width, self.b.width) - 1).bit_length())
        return levels * model.adder(self.output.width)

    def expression(self, show: Show) -> str:
        width = self.output.width
        a, b = (extended(wire, width, 0, show) for wire in self.inputs)
        return f"{a} * {b}"


@dataclass(frozen=True)
class Lookup(Combinational):
    """``entries[bits of a]``: a function of one wire as a table; printed as a case statement."""

    a: Wire
    entries: tuple[int, ...]
    output: Wire

    def __post_init__(self) -> None:
        if len(self.entries) != 1 << self.a.width:
            raise GraphError(
                f"A Lookup of {self.a.width} bits needs {1 << self.a.width} entries, "
                f"not {len(self.entries)}."
            )

    @property
    def inputs(self) -> tuple[Wire, ...]:
        return (self.a,)

    def delay(self, model: Delays) -> float:
        return model.lut(1 + max(0, self.a.width - 6) * 0.5)

    def expression(self, show: Show) -> str:
        """The case arms, ``selector: value`` one a line; see `hairtrigger.rtl.verilog`."""
        width, out = self.a.width, self.output.width
        arms = (
            f"{number(n, width)}: @ = {number(code, out)};"
            for n, code in enumerate(self.entries)
            if code
        )
        return "\n".join(arms)


@dataclass(frozen=True)
class Join(Combinational):
    """The bits of wires above each other, as one number without a sign: only wires.

    ``parts``: each wire and the bits that it takes, the lowest first.
    """

    parts: tuple[tuple[Wire, int], ...]
    output: Wire

    @property
    def inputs(self) -> tuple[Wire, ...]:
        return tuple(wire for wire, _ in self.parts)

    def delay(self, model: Delays) -> float:
        return 0.0

    def expression(self, show: Show) -> str:
        texts = (extended(wire, width, 0, show) for wire, width in reversed(self.parts))
        return f"{{{', '.join(texts)}}}"
