"""Sums of products whose terms come in one after the other: a Dense behind a folded image.

Each lane that brings terms has one multiplier for each result; its weight changes from clock to
clock. What all lanes bring in a clock is added up, and that to the sum of the clocks before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2

import numpy as np

from hairtrigger.fixed import IntArray
from hairtrigger.rtl.adders import multiply_matrix
from hairtrigger.rtl.arithmetic import ZERO
from hairtrigger.rtl.build import ModuleBuilder
from hairtrigger.rtl.kernels import Span
from hairtrigger.rtl.netlist import Wire, constant

DIRECT = 7
"""Bits of slot number and factor together, up to which their product is one table."""


@dataclass(frozen=True)
class Terms:
    """What is added up.

    ``times`` (slots,): the clocks in which terms come in, rising; ``lanes``: numbers of the wires
    that bring them; ``weights`` (slots, lanes, results): in units of ``2**-fraction``, 0 where a
    lane brings no term.
    """

    times: IntArray
    lanes: tuple[int, ...]
    weights: IntArray
    fraction: int

    @classmethod
    def of(cls, lane: IntArray, time: IntArray, matrix: IntArray, fraction: int) -> Terms:
        """Terms of ``x @ matrix`` for elements on lanes (elements,) at times (elements,)."""
        times, slot = np.unique(time, return_inverse=True)
        lanes, column = np.unique(lane, return_inverse=True)
        weights = np.zeros((len(times), len(lanes), matrix.shape[1]), dtype=np.int64)
        weights[slot, column] = matrix
        return cls(times, tuple(lanes.tolist()), weights, fraction)

    def luts(self, widths: Sequence[int]) -> float:
        """About how many LUTs it takes; ``widths``: bits of each lane. An estimate to choose by."""
        slot_bits = ceil(log2(len(self.times))) if len(self.times) > 1 else 0
        total = 0.0
        for n, width in enumerate(widths):
            for result in range(self.weights.shape[2]):
                weights = np.unique(self.weights[:, n, result])
                if not weights.any():
                    continue
                bits = int(np.abs(weights).max()).bit_length() + int(weights.min() < 0)
                added = width + bits + 1
                if len(weights) == 1:
                    total += added
                elif slot_bits + width <= DIRECT:
                    total += (width + bits) * 2 ** max(0, slot_bits + width - 6) + added
                else:
                    rom = bits * max(1.0, 1.2 * 2 ** (slot_bits - 6))
                    total += rom + (width - 1) * (bits + 2) + added
        return total + 14 * self.weights.shape[2]


def sums(
    builder: ModuleBuilder,
    terms: Terms,
    wires: Sequence[Wire],
    slot: Wire,
    start: Wire,
    step: Wire | None,
    spans: Sequence[Span],
) -> list[Wire]:
    """The sums, right in the clock of the last slot.

    ``wires``: of the lanes in their order, and perhaps others; ``slot``: number of the slot;
    ``start``: 1 in the first; ``step``: 1 in each slot, None where every clock is one; ``spans``:
    what each sum can be in the end.
    """
    found: list[Wire] = []
    for result, (low, high, fraction) in enumerate(spans):
        products = [
            _product(builder, wires[n], slot, terms.weights[:, n, result], terms.fraction)
            for n in range(len(terms.lanes))
        ]
        total = builder.sum(products)
        if total.zero or low == high:
            found.append(constant(low, fraction))
            continue
        up = max(total.fraction - fraction, 0)
        total = builder.refine(total, fraction)
        total = builder.accumulate(start, step, total, low << up, high << up, total.fraction)
        found.append(builder.narrow(total, low, high, fraction))
    return found


def _product(
    builder: ModuleBuilder, wire: Wire, slot: Wire, weights: IntArray, fraction: int
) -> Wire:
    """``wire * weights[slot]``."""
    if wire.zero or not weights.any():
        return ZERO
    if (weights == weights[0]).all():
        return multiply_matrix(builder, [wire], weights[:1, None], fraction)[0]
    if slot.width + wire.width <= DIRECT and not wire.constant:
        codes = np.arange(1 << wire.width)
        if wire.signed:
            codes = np.where(codes >> (wire.width - 1), codes - (1 << wire.width), codes)
        codes = np.clip(codes, wire.low, wire.high)
        table = (weights[:, None] * codes).ravel().tolist()
        joined = builder.join([(wire, wire.width), (slot, slot.width)])
        room = 1 << (wire.width + slot.width)
        table += table[-1:] * (room - len(table))
        return builder.lookup(joined, table, 0, fraction + wire.fraction)
    weight = builder.lookup(slot, _padded(weights.tolist(), slot), 0, fraction)
    return _gated(builder, wire, weight)


def _padded(values: list[int], slot: Wire) -> list[int]:
    return values + values[-1:] * (slot.high + 1 - len(values))


def _gated(builder: ModuleBuilder, a: Wire, b: Wire) -> Wire:
    """``a * b``: the wider one, added up as often as the bits of the narrower say."""
    if a.width > b.width:
        a, b = b, a
    terms: list[Wire] = []
    for place in range(a.width):
        bit = builder.bit(a, place)
        part = builder.choose(bit, b, ZERO).shifted(place - a.fraction)
        if a.signed and place == a.width - 1:
            part = builder.negate(part)
        terms.append(part)
    return builder.sum(terms)
