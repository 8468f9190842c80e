"""The ops of the Graph: one frozen dataclass each.

An op knows three things: the codes its result can reach (`bounds`), the type of its result
(`infer`, by default the smallest type that covers the bounds) and the result itself (`evaluate`,
exact integers). Only `Quantize` loses information. docs/add_an_op.md walks through adding one.

Arrays given to `evaluate` are ``int64`` codes of shape ``(events, *shape)`` in units of the
operand type's ``2**-lsb``; what it returns is in units of the result type's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

import numpy as np

from hairtrigger.errors import GraphError
from hairtrigger.fixed import BoolArray, IntArray, Overflow, Rounding, quantize_codes, shift_codes
from hairtrigger.graph.types import Literal, Range, Shape, TensorType

Types = Sequence[TensorType]
Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Op:
    """Base of all ops. ``arity``: number of operands, None for any number from one on."""

    arity: ClassVar[int | None] = 1

    def bounds(self, operands: Sequence[Range]) -> Range:
        """Codes that the result can reach, from those the operands can. Raises `GraphError`."""
        raise GraphError(f"{type(self).__name__} does not say which codes it reaches.")

    def infer(self, operands: Types) -> TensorType:
        """Type of the result. Raises `GraphError` where the operands do not fit the op."""
        return self.bounds([operand.range() for operand in operands]).cover()

    def evaluate(self, operands: Sequence[IntArray], types: Types, out: TensorType) -> IntArray:
        """Codes of the result."""
        raise GraphError(f"{type(self).__name__} cannot be evaluated.")


def require(condition: bool, problem: str, fix: str = "") -> None:
    """Raise `GraphError` where a rule of an op is broken."""
    if not condition:
        raise GraphError(problem, fix)


@dataclass(frozen=True)
class Input(Op):
    """A tensor from outside. ``rounding`` and ``overflow`` say how the border (`encode`) brings
    real numbers into ``type``; inside the Graph there are only codes."""

    arity: ClassVar[int | None] = 0
    name: str
    type: TensorType
    rounding: Rounding = Rounding.RND
    overflow: Overflow = Overflow.SAT

    def infer(self, operands: Types) -> TensorType:
        return self.type


@dataclass(frozen=True)
class Constant(Op):
    """A tensor of fixed numbers."""

    arity: ClassVar[int | None] = 0
    value: Literal

    def bounds(self, operands: Sequence[Range]) -> Range:
        return self.value.range()

    def evaluate(self, operands: Sequence[IntArray], types: Types, out: TensorType) -> IntArray:
        return self.value.at(out.lsb)[None]


@dataclass(frozen=True)
class State(Op):
    """A register: what it holds at the beginning of a step, ``reset`` in the first.

    ``Graph.updates`` says which node's value it holds in the next step.
    """

    arity: ClassVar[int | None] = 0
    name: str
    type: TensorType
    reset: Literal

    def infer(self, operands: Types) -> TensorType:
        shape, t = self.reset.shape, self.type
        require(
            shape == t.shape,
            f"State {self.name!r} of shape {t.shape} has a reset value of shape {shape}.",
        )
        need = self.reset.range().cover()
        fits = (
            (need.signed <= t.signed) & (need.integer <= t.integer) & (need.fraction <= t.fraction)
        ) | (need.width == 0)
        require(
            bool(fits.all()),
            f"State {self.name!r} resets to a value that its type does not hold.",
            "Give it more bits, or reset it to another value.",
        )
        return t

    def bounds(self, operands: Sequence[Range]) -> Range:
        return self.type.range()


@dataclass(frozen=True)
class Quantize(Op):
    """Bring every element into the format that ``type`` gives it: the only op that rounds."""

    type: TensorType
    rounding: Rounding = Rounding.TRN
    overflow: Overflow = Overflow.WRAP

    def infer(self, operands: Types) -> TensorType:
        (x,) = operands
        require(
            x.shape == self.type.shape,
            f"Quantize to a type of shape {self.type.shape} cannot take shape {x.shape}.",
        )
        unsigned = ~self.type.signed & (self.type.width > 0)
        require(
            self.overflow is not Overflow.WRAP_SM or not unsigned.any(),
            "Overflow WRAP_SM on an unsigned format has no meaning in range.",
            "Use a signed format, or WRAP, SAT or SAT_SYM.",
        )
        # Rounding adds a bit above and the LSB may lie below: both must stay inside int64.
        span = x.range().cover().width + np.maximum(self.type.fraction - x.fraction, 0)
        require(
            int(span.max(initial=0)) <= 61,
            f"Quantize would need {int(span.max(initial=0))} bits for an exact intermediate value.",
            "Quantize to fewer fraction bits.",
        )
        return self.type

    def bounds(self, operands: Sequence[Range]) -> Range:
        """Interval of the result: tight where nothing overflows, else the format's own."""
        (x,) = operands
        if self.overflow in (Overflow.SAT, Overflow.SAT_SYM):
            low, high = (self._apply(code, x.fraction) for code in (x.low, x.high))
            return Range(low, high, self.type.fraction)
        full = self.type.range()
        low, high = self._rounded(x, self.rounding)
        leaves = self.overflows(x)
        return Range(
            np.where(leaves, full.low, low), np.where(leaves, full.high, high), full.fraction
        )

    def rounds(self, x: Range) -> BoolArray:
        """Elements of an operand in ``x`` that may lie between the steps of their format."""
        return x.alive & (x.fraction > self.type.fraction)

    def overflows(self, x: Range) -> BoolArray:
        """Elements of an operand in ``x`` that may, rounded, leave their format."""
        full = self.type.range()
        symmetric = self.type.signed & (self.overflow is Overflow.SAT_SYM)
        lowest = np.where(symmetric, -full.high, full.low)
        low, high = self._rounded(x, self.rounding)
        leaves = (low < lowest) | (high > full.high)
        if self.overflow is Overflow.WRAP_SM:
            # Some of its half-periods are counted on the value rounded to nearest.
            low, high = self._rounded(x, Rounding.RND)
            leaves |= (low < lowest) | (high > full.high)
        return x.alive & (leaves | (self.type.width == 0))

    def _rounded(self, x: Range, rounding: Rounding) -> tuple[IntArray, IntArray]:
        """Ends of ``x``, rounded; those that leave the format saturate at one more bit."""
        t = self.type
        low, high = (
            quantize_codes(
                code, x.fraction, True, t.integer + 1, t.fraction, rounding, Overflow.SAT
            )
            for code in (x.low, x.high)
        )
        return low, high

    def _apply(self, codes: IntArray, fraction: IntArray | int) -> IntArray:
        # One format for all, as numbers: many arrays of the tensor's size need not be made.
        t = self.type.single or self.type
        return quantize_codes(
            codes, fraction, t.signed, t.integer, t.fraction, self.rounding, self.overflow
        )

    def evaluate(self, operands: Sequence[IntArray], types: Types, out: TensorType) -> IntArray:
        codes = self._apply(operands[0], types[0].lsb)
        if self.type.single is not None:
            return codes
        return shift_codes(codes, np.where(out.width > 0, out.lsb - out.fraction, 0))


# --- element by element ------------------------------------------------------------------------


def _aligned(a: Range, b: Range) -> tuple[IntArray, IntArray, IntArray, IntArray, IntArray]:
    """Both ranges, broadcast, in units of the finer LSB of each pair: lows, highs, fraction."""
    require(
        len(a.shape) == len(b.shape)
        and all(m == n or 1 in (m, n) for m, n in zip(a.shape, b.shape, strict=True)),
        f"Shapes {a.shape} and {b.shape} do not fit each other element by element.",
        "Give both the same rank; lengths must be equal or 1.",
    )
    lsb = max(a.lsb, b.lsb)
    for operand in (a, b):
        operand.at(lsb)  # `evaluate` brings both tensors to this LSB: raises where that overflows
    fraction = np.where(
        a.alive & b.alive,
        np.maximum(a.fraction, b.fraction),
        np.where(a.alive, a.fraction, b.fraction),
    )
    up_a = np.where(a.alive, fraction - a.fraction, 0)
    up_b = np.where(b.alive, fraction - b.fraction, 0)
    return (
        shift_codes(a.low, up_a),
        shift_codes(b.low, up_b),
        shift_codes(a.high, up_a),
        shift_codes(b.high, up_b),
        fraction,
    )


@dataclass(frozen=True)
class Add(Op):
    """``a + b``; lengths of 1 broadcast."""

    arity: ClassVar[int | None] = 2

    def bounds(self, operands: Sequence[Range]) -> Range:
        low_a, low_b, high_a, high_b, fraction = _aligned(*operands)
        return Range(low_a + low_b, high_a + high_b, fraction)

    def evaluate(self, operands: Sequence[IntArray], types: Types, out: TensorType) -> IntArray:
        a, b, lsb = _common(operands, types)
        return rescale(a + b, lsb, out.lsb)


@dataclass(frozen=True)
class Sub(Op):
    """``a - b``; lengths of 1 broadcast."""

    arity: ClassVar[int | None] = 2

    def bounds(self, operands: Sequence[Range]) -> Range:
        low_a, low_b, high_a, high_b, fraction = _aligned(*operands)
        return Range(low_a - high_b, high_a - low_b, fraction)

    def evaluate(self, operands: Sequence[IntArray], types: Types, out: TensorType) -> IntArray:
        a, b, lsb = _common(operands, types)
        return rescale(a - b, lsb, out.lsb)


@dataclass(frozen=True)
class Mul(Op):
    """``a * b``; lengths of 1 broadcast."""

    arity: ClassVar[int | None] = 2

    def bounds(self, operands: Sequence[Range]) -> Range:
        a, b = operands
        _aligned(a, b)
        bits = a.cover().span + b.cover().span
        require(bits <= 62, f"A product of {bits} bits does not fit.", "Quantize the operands.")
        corners = np.stack([a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high])
        return Range(corners.min(axis=0), corners.max(axis=0), a.fraction + b.fraction)

    def evaluate(self, operands: Sequence[IntArray], types: Types, out: TensorType) -> IntArray:
        return rescale(operands[0] * operands[1], types[0].lsb + types[1].lsb, out.lsb)


@dataclass(frozen=True)
class Relu(Op):
    """``max(x, 0)``."""

    def bounds(self, operands: Sequence[Range]) -> Range:
        (x,) = operands
        return Range(np.maximum(x.low, 0), np.maximum(x.high, 0), x.fraction)

    def evaluate(self, operands: Sequence[IntArray], types: Types, out: TensorType) -> IntArray:
        return rescale(np.maximum(operands[0], 0), types[0].lsb, out.lsb)


class Relation(Enum):
    """How `Compare` compares."""

    GT = "GT"
    GE = "GE"
    EQ = "EQ"


@dataclass(frozen=True)
class Compare(Op):
    """1 where ``a`` stands in ``relation`` to ``b``, else 0; lengths of 1 broadcast."""

    arity: ClassVar[int | None] = 2
    relation: Relation

    def bounds(self, operands: Sequence[Range]) -> Range:
        low_a, low_b, high_a, high_b, _ = _aligned(*operands)
        match self.relation:
            case Relation.GT:
                always, never = low_a > high_b, high_a <= low_b
            case Relation.GE:
                always, never = low_a >= high_b, high_a < low_b
            case Relation.EQ:
                always = (low_a == high_a) & (low_b == high_b) & (low_a == low_b)
                never = (low_a > high_b) | (high_a < low_b)
        zero = np.zeros(always.shape, dtype=np.int64)
        return Range(zero + always, zero + ~never, zero)

    def evaluate(self, operands: Sequence[IntArray], types: Types, out: TensorType) -> IntArray:
        a, b, _ = _common(operands, types)
        match self.relation:
            case Relation.GT:
                return (a > b).astype(np.int64)
            case Relation.GE:
                return (a >= b).astype(np.int64)
            case Relation.EQ:
                return (a == b).astype(np.int64)


@dataclass(frozen=True)
class Table(Op):
    """A unary function as an exact look-up.

    Row ``select[e]`` of ``values`` (shape ``(rows, entries)``) serves element ``e``; entry ``n``
    is the result for the input code ``first + n`` in units of ``2**-fraction``. ``select`` has
    the operand's shape, or is None where there is one row for all.
    """

    values: Literal
    first: int
    fraction: int
    select: Literal | None = None

    def _rows(self, shape: Shape) -> IntArray:
        if self.select is None:
            return np.zeros(shape, dtype=np.int64)
        return self.select.codes

    def _index(self, x: Range) -> tuple[IntArray, IntArray]:
        alive = x.alive
        require(
            bool((x.fraction[alive] <= self.fraction).all()),
            f"A Table with steps of 2**{-self.fraction} cannot take codes as fine as 2**{-x.lsb}.",
        )
        low, high = x.at(self.fraction)
        return low - self.first, high - self.first

    def bounds(self, operands: Sequence[Range]) -> Range:
        (x,) = operands
        require(self.values.codes.ndim == 2, "Values of a Table have shape (rows, entries).")
        rows = self._rows(x.shape)
        require(
            rows.shape == x.shape and self.values.shape[0] > int(rows.max()) and rows.min() >= 0,
            f"Table: select of shape {rows.shape} with rows {int(rows.min())} to "
            f"{int(rows.max())} does not fit operand {x.shape} and {self.values.shape[0]} rows.",
        )
        require(
            self.select is None or self.select.fraction == 0,
            "Table: select counts rows, so it has no fraction bits.",
        )
        low, high = self._index(x)
        entries = self.values.shape[1]
        require(
            bool((low >= 0).all() and (high < entries).all()),
            f"Table covers codes {self.first} to {self.first + entries - 1}, but its operand "
            f"reaches {int(low.min(initial=0)) + self.first} to "
            f"{int(high.max(initial=0)) + self.first}.",
        )
        bottom, top = np.zeros_like(low), np.zeros_like(low)
        fraction = np.zeros_like(low)
        # Elements with the same row, reach and step share one search.
        keys = np.stack([rows.ravel(), low.ravel(), high.ravel(), x.fraction.ravel()])
        distinct, where = np.unique(keys, axis=1, return_inverse=True)
        for n, (row, first, last, step) in enumerate(distinct.T):
            stride = 1 << max(0, self.fraction - int(step)) if last > first else 1
            seen = self.values.codes[row, first : last + 1 : stride]
            used = Literal(seen, self.values.fraction).range()
            f = used.lsb
            low_seen, high_seen = used.at(f)
            here = where.ravel() == n
            bottom.ravel()[here] = low_seen.min()
            top.ravel()[here] = high_seen.max()
            fraction.ravel()[here] = f
        return Range(bottom, top, fraction)

    def evaluate(self, operands: Sequence[IntArray], types: Types, out: TensorType) -> IntArray:
        index = rescale(operands[0], types[0].lsb, self.fraction) - self.first
        rows = self._rows(types[0].shape)
        return rescale(self.values.codes[rows[None], index], self.values.fraction, out.lsb)


def rescale(codes: IntArray, lsb: int, new_lsb: int) -> IntArray:
    """Codes in units of ``2**-lsb`` as codes in units of ``2**-new_lsb``; exact by the types."""
    return codes if lsb == new_lsb else shift_codes(codes, new_lsb - lsb)


def _common(operands: Sequence[IntArray], types: Types) -> tuple[IntArray, IntArray, int]:
    lsb = max(t.lsb for t in types)
    a, b = (rescale(x, t.lsb, lsb) for x, t in zip(operands, types, strict=True))
    return a, b, lsb
