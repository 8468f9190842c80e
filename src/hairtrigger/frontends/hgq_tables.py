"""Functions of one number as exact look-up tables.

A table's entries are what Keras computes, in its float32 arithmetic, for every code that can
come, followed by HGQ2's own quantizer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import GraphError
from hairtrigger.fixed import IntArray
from hairtrigger.frontends.hgq_quantizers import Format, Real, apply_format, in_pieces
from hairtrigger.graph import Builder, Literal
from hairtrigger.graph.ops import Constant, Mul, Table
from hairtrigger.graph.types import Range, Shape

MAX_ENTRIES = 1 << 22
"""Entries of all tables of one layer together; more is not a table but a mistake."""

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Function:
    """A function of one number, the same for every element, on Keras tensors of float32."""

    name: str
    evaluate: Callable[[Any], Any]


def function_table(
    builder: Builder, place: int, function: Function, form: Format, label: str
) -> int:
    """Node with ``quantize(function(x))``. Raises `GraphError` for tables too large or NaN."""
    place, x, fraction = on_one_grid(builder, place, label)
    t = form.type
    keys = [x.source, x.low, x.high, t.signed, t.integer, t.fraction]
    keys = np.stack([np.broadcast_to(a, t.shape).ravel().astype(np.int64) for a in keys])
    distinct, first_seen, row = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    rows = distinct.shape[1]
    low, high = x.low.ravel()[first_seen], x.high.ravel()[first_seen]
    step = 2.0 ** -x.source.ravel()[first_seen].astype(np.float64)

    def values(codes: IntArray) -> NDArray[np.float64]:
        numbers = exact_float32(codes[:, None] * step)
        result = in_pieces(function.evaluate, numbers)
        return apply_format(form, result, first_seen)

    entries = fill(low, high, values, function.name)
    select = row.reshape(t.shape) if rows > 1 else None
    return add_table(builder, place, entries, int(low.min()), fraction, select, label)


@dataclass(frozen=True)
class Codes:
    """What an operand of a table can be: lowest and highest code of each element, in units of
    ``2**-source`` of the number that the layer sees."""

    low: IntArray
    high: IntArray
    source: IntArray


def on_one_grid(builder: Builder, place: int, label: str) -> tuple[int, Codes, int]:
    """The operand with one LSB for all elements: node, codes, and fraction bits of that LSB.

    Where trained fractions differ, every element is shifted to whole numbers (a power of two:
    wires in a chip), so that a table is as long as its element's own code and no longer.
    """
    reach: Range = builder.type(place).range()
    fractions = np.unique(reach.fraction[reach.alive])
    source = np.where(reach.alive, reach.fraction, 0)
    if len(fractions) > 1:
        shift = _powers(source)
        up = builder.add(Constant(shift), label=label)
        place = builder.add(Mul(), place, up, label=label)
        return place, Codes(reach.low, reach.high, source), 0
    lsb = reach.lsb
    source = np.full(reach.shape, lsb, dtype=np.int64)
    return place, Codes(reach.low, reach.high, source), lsb


def _powers(exponents: IntArray) -> Literal:
    lowest = int(exponents.min(initial=0))
    return Literal(np.left_shift(np.int64(1), exponents - lowest), -lowest)


def exact_float32(numbers: NDArray[np.float64]) -> Real:
    """The numbers in float32. Raises `GraphError` where that loses bits."""
    narrow = numbers.astype(np.float32)
    if (narrow != numbers).any():
        raise GraphError(
            "A table reads numbers of more than 24 bits, which Keras itself rounds.",
            "Quantize the function's input to fewer bits (enable_iq=True).",
        )
    return narrow


def fill(
    low: IntArray, high: IntArray, values: Callable[[IntArray], NDArray[np.float64]], name: str
) -> Literal:
    """Table (rows, entries) for codes from the lowest ``low`` on; what no row reaches is 0.

    ``values``: codes (n,) to results (n, rows). Raises `GraphError` for too many entries, and
    where a reachable entry is NaN or infinite.
    """
    first = int(low.min())
    entries = int(high.max()) - first + 1
    rows = len(low)
    if entries * rows > MAX_ENTRIES:
        raise GraphError(
            f"{name} would need {rows} tables of {entries} entries; {MAX_ENTRIES} in all are the "
            "limit.",
            "Quantize its input to fewer bits (enable_iq=True, or fewer bits in training).",
        )
    step = max(1, _CHUNK // rows)
    parts: list[NDArray[np.float64]] = []
    for start in range(first, first + entries, step):
        codes = np.arange(start, min(start + step, first + entries), dtype=np.int64)
        part = values(codes)
        used = (codes[:, None] >= low) & (codes[:, None] <= high)
        parts.append(np.where(used, part, 0.0))
    table = np.concatenate(parts)
    if not np.isfinite(table).all():
        raise GraphError(
            f"{name} is NaN or infinite for an input that its quantizer lets through.",
            "Keep that input out of range in training, or saturate the function's output.",
        )
    return Literal.exact(table.T)


def add_table(
    builder: Builder,
    place: int,
    entries: Literal,
    first: int,
    fraction: int,
    select: IntArray | None,
    label: str,
) -> int:
    """A `Table` node; equal rows are kept once."""
    codes, row = np.unique(entries.codes, axis=0, return_inverse=True)
    shape: Shape = builder.type(place).shape
    if select is None:
        select = np.zeros(shape, dtype=np.int64)
    chosen = row.reshape(-1)[select]
    one = len(codes) == 1
    table = Table(
        Literal(codes, entries.fraction), first, fraction, None if one else Literal(chosen, 0)
    )
    return builder.add(table, place, label=label)
