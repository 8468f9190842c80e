"""A body: a straight line of integer steps on lanes, each with the interval that it can reach.

A `Value` is a step's code times ``2**-fraction``. Equal steps are one step, constants are folded,
and the interval decides how many bits a lane needs, so that nothing can overflow by construction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import UnsupportedError

LANES = (8, 16, 32, 64)
"""Bits that a lane can have."""


class Step(Enum):
    """What a step does with the steps it reads and a number ``n``."""

    LOAD = "load"  # read number n of the body
    CONST = "const"  # n
    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    SHL = "shl"  # a * 2**n
    SHR = "shr"  # floor(a / 2**n)
    AND = "and"  # a & n
    XOR = "xor"
    MAX = "max"
    MIN = "min"
    GT = "gt"  # 1 or 0
    GE = "ge"
    EQ = "eq"
    PICK = "pick"  # b where a is 1, c where it is 0
    WRAP = "wrap"  # the lowest n bits, read as signed
    SIGN = "sign"  # -1 for negative numbers, else 0
    TABLE = "table"  # entry a of table n


@dataclass(frozen=True)
class Line:
    """One step: what it reads (numbers of lines before it), its number, and its interval."""

    step: Step
    reads: tuple[int, ...]
    n: int
    low: int
    high: int


@dataclass(frozen=True)
class Value:
    """The code of line ``line`` times ``2**-fraction``; the code is within ``low`` to ``high``."""

    line: int
    low: int
    high: int
    fraction: int

    @property
    def constant(self) -> bool:
        return self.low == self.high

    @property
    def zero(self) -> bool:
        return self.low == 0 == self.high

    def scaled(self, shift: int) -> Value:
        """The value times ``2**shift``: no step is needed."""
        return self if self.zero else replace(self, fraction=self.fraction - shift)


class Body:
    """Builds one body. Methods take and return `Value`; intervals beyond 63 bits are refused."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.tables: list[NDArray[np.int64]] = []
        self._known: dict[tuple[Step, tuple[int, ...], int], int] = {}
        self._tables: dict[bytes, int] = {}

    # --- lines -----------------------------------------------------------------------------------

    def line(self, step: Step, reads: tuple[int, ...], n: int, low: int, high: int) -> int:
        """The place of a line; an equal one is used again."""
        if low == high and step is not Step.CONST:
            return self.line(Step.CONST, (), low, low, low)
        key = (step, reads, n)
        place = self._known.get(key)
        if place is None:
            if low < -(1 << 62) or high >= 1 << 62:
                raise UnsupportedError(
                    f"C++: a number may reach {max(-low, high)}, which needs more than 62 bits.",
                    "Quantize to fewer bits.",
                )
            place = self._known[key] = len(self.lines)
            self.lines.append(Line(step, reads, n, low, high))
        return place

    def load(self, n: int, low: int, high: int, fraction: int) -> Value:
        """Number ``n`` of what the body reads."""
        if low == high:
            return self.constant(low, fraction)
        return Value(self.line(Step.LOAD, (), n, low, high), low, high, fraction)

    def constant(self, code: int, fraction: int = 0) -> Value:
        if code == 0:
            return Value(self.line(Step.CONST, (), 0, 0, 0), 0, 0, 0)
        zeros = (code & -code).bit_length() - 1
        code, fraction = code >> zeros, fraction - zeros
        return Value(self.line(Step.CONST, (), code, code, code), code, code, fraction)

    def _value(
        self, step: Step, reads: tuple[int, ...], n: int, low: int, high: int, fraction: int
    ) -> Value:
        if low == high:
            return self.constant(low, fraction)
        return Value(self.line(step, reads, n, low, high), low, high, fraction)

    # --- values ----------------------------------------------------------------------------------

    def at(self, x: Value, fraction: int) -> Value:
        """The same value with its code in units of ``2**-fraction``, which must hold it."""
        if x.zero:
            return replace(x, fraction=fraction)
        up = fraction - x.fraction
        if up == 0:
            return x
        low, high = x.low << up, x.high << up
        return Value(self.line(Step.SHL, (x.line,), up, low, high), low, high, fraction)

    def align(self, a: Value, b: Value) -> tuple[Value, Value]:
        """Both in units of the finer one."""
        if a.zero or b.zero:
            fraction = b.fraction if a.zero else a.fraction
        else:
            fraction = max(a.fraction, b.fraction)
        return self.at(a, fraction), self.at(b, fraction)

    def add(self, a: Value, b: Value) -> Value:
        if b.zero or a.zero:
            return a if b.zero else b
        a, b = self.align(a, b)
        reads = (a.line, b.line) if a.line < b.line else (b.line, a.line)
        return self._value(Step.ADD, reads, 0, a.low + b.low, a.high + b.high, a.fraction)

    def sub(self, a: Value, b: Value) -> Value:
        if b.zero:
            return a
        a, b = self.align(a, b)
        if a.line == b.line:
            return self.constant(0)
        return self._value(
            Step.SUB, (a.line, b.line), 0, a.low - b.high, a.high - b.low, a.fraction
        )

    def negate(self, x: Value) -> Value:
        return self.sub(self.constant(0), x)

    def mul(self, a: Value, b: Value) -> Value:
        if a.zero or b.zero:
            return self.constant(0)
        for x, y in ((a, b), (b, a)):
            if x.constant and abs(x.low) == 1:
                y = y.scaled(-x.fraction)
                return y if x.low == 1 else self.negate(y)
        corners = [p * q for p in (a.low, a.high) for q in (b.low, b.high)]
        reads = (a.line, b.line) if a.line < b.line else (b.line, a.line)
        low, high = min(corners), max(corners)
        if a.line == b.line:
            low = max(low, 0)
        return self._value(Step.MUL, reads, 0, low, high, a.fraction + b.fraction)

    def shr(self, x: Value, n: int) -> Value:
        """``floor(code / 2**n)``, whose LSB is ``2**n`` times as large."""
        if n == 0 or x.zero:
            return x
        n_used = min(n, 62)  # by then only the sign is left
        low, high = x.low >> n_used, x.high >> n_used
        return self._value(Step.SHR, (x.line,), n_used, low, high, x.fraction - n)

    def maximum(self, a: Value, b: Value) -> Value:
        a, b = self.align(a, b)
        if a.line == b.line or a.low >= b.high:
            return a
        if b.low >= a.high:
            return b
        low, high = max(a.low, b.low), max(a.high, b.high)
        reads = (min(a.line, b.line), max(a.line, b.line))
        return self._value(Step.MAX, reads, 0, low, high, a.fraction)

    def minimum(self, a: Value, b: Value) -> Value:
        a, b = self.align(a, b)
        if a.line == b.line or a.high <= b.low:
            return a
        if b.high <= a.low:
            return b
        low, high = min(a.low, b.low), min(a.high, b.high)
        reads = (min(a.line, b.line), max(a.line, b.line))
        return self._value(Step.MIN, reads, 0, low, high, a.fraction)

    def compare(self, step: Step, a: Value, b: Value) -> Value:
        """1 where ``a`` is GT, GE or EQ ``b``, else 0."""
        a, b = self.align(a, b)
        if a.line == b.line:
            return self.constant(int(step is not Step.GT))
        always = {
            Step.GT: a.low > b.high,
            Step.GE: a.low >= b.high,
            Step.EQ: a.constant and b.constant and a.low == b.low,
        }[step]
        never = {
            Step.GT: a.high <= b.low,
            Step.GE: a.high < b.low,
            Step.EQ: a.low > b.high or a.high < b.low,
        }[step]
        if always or never:
            return self.constant(int(always))
        return self._value(step, (a.line, b.line), 0, 0, 1, 0)

    def pick(self, condition: Value, yes: Value, no: Value) -> Value:
        if condition.constant:
            return yes if condition.low else no
        yes, no = self.align(yes, no)
        if yes.line == no.line:
            return yes
        low, high = min(yes.low, no.low), max(yes.high, no.high)
        return self._value(
            Step.PICK, (condition.line, yes.line, no.line), 0, low, high, yes.fraction
        )

    def mask(self, x: Value, mask: int) -> Value:
        """``code & mask`` for ``mask = 2**n - 1``."""
        if x.constant:
            return self.constant(x.low & mask, x.fraction)
        if x.low >= 0 and x.high <= mask:
            return x
        return self._value(Step.AND, (x.line,), mask, 0, mask, x.fraction)

    def wrap(self, x: Value, bits: int) -> Value:
        """The lowest ``bits`` bits of the code, read as signed."""
        half = 1 << (bits - 1)
        if x.constant:
            return self.constant((x.low + half) % (2 * half) - half, x.fraction)
        if -half <= x.low and x.high < half:
            return x
        return self._value(Step.WRAP, (x.line,), bits, -half, half - 1, x.fraction)

    def sign(self, x: Value) -> Value:
        """The code -1 for negative numbers, else 0, in the units of ``x``."""
        if x.low >= 0 or x.high < 0:
            return self.constant(0 if x.low >= 0 else -1, x.fraction)
        return self._value(Step.SIGN, (x.line,), 0, -1, 0, x.fraction)

    def flip(self, x: Value, when: Value) -> Value:
        """``-1 - code`` where ``when`` (0 or -1) is -1; the interval of ``x`` is symmetric so."""
        if when.constant and x.constant:
            return self.constant(x.low ^ when.low, x.fraction)
        if when.zero:
            return x
        low, high = min(x.low, -1 - x.high), max(x.high, -1 - x.low)
        return self._value(Step.XOR, (x.line, when.line), 0, low, high, x.fraction)

    def lookup(self, x: Value, table: NDArray[np.int64], fraction: int) -> Value:
        """Entry number ``code`` of ``x``; the table has an entry for each code from 0 to high."""
        if x.constant:
            return self.constant(int(table[x.low]), fraction)
        table = np.ascontiguousarray(table, dtype=np.int64)
        key = table.tobytes()
        if key not in self._tables:
            self._tables[key] = len(self.tables)
            self.tables.append(table)
        seen = table[x.low : x.high + 1]
        low, high = int(seen.min()), int(seen.max())
        return self._value(Step.TABLE, (x.line,), self._tables[key], low, high, fraction)

    def live(self, outputs: list[Value]) -> list[int]:
        """Places of the lines that the outputs depend on, in order."""
        used: set[int] = set()
        open_lines = [x.line for x in outputs]
        while open_lines:
            place = open_lines.pop()
            if place not in used:
                used.add(place)
                open_lines.extend(self.lines[place].reads)
        return sorted(used)


def lane_bits(low: int, high: int) -> int:
    """The narrowest signed lane that holds every number from ``low`` to ``high``."""
    for bits in LANES:
        if -(1 << (bits - 1)) <= low and high < 1 << (bits - 1):
            return bits
    raise UnsupportedError(f"C++: numbers from {low} to {high} need more than 64 bits.")
