"""What the ops of a Graph mean, element by element, as steps of a `Body`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hairtrigger.cpp.body import Body, Step, Value, lane_bits
from hairtrigger.fixed import HGQ2_FOLDS, Fixed, Overflow, Rounding, quantize_codes, round_codes
from hairtrigger.graph.ops import Relation, Table
from hairtrigger.rtl.adders import solve

RELATIONS = {Relation.GT: Step.GT, Relation.GE: Step.GE, Relation.EQ: Step.EQ}

SOLVER_ROWS = 64
SOLVER_SIZE = 1 << 13
"""Larger matrices are not given to the adder-graph solver: its time grows faster than they do."""

COST = {Step.ADD: 1.0, Step.SUB: 1.0, Step.SHL: 1.0, Step.MUL: 1.5}
"""Cost of a step for each 16 bits of its lanes, measured on x86-64 with 512-bit vectors, where
shifts and products take one of the ports that additions have two of."""


def relu(body: Body, x: Value) -> Value:
    return body.maximum(x, body.constant(0))


# --- rounding and overflow -----------------------------------------------------------------------


def quantize(body: Body, x: Value, to: Fixed, rounding: Rounding, overflow: Overflow) -> Value:
    """Bring ``x`` into a format; the same as `quantize_codes` for every code in its interval."""
    if to.width <= 0 or x.zero:
        return body.constant(0)
    if x.constant:
        return body.constant(_fold(x, to, rounding, overflow), to.fraction)
    rounded = round_value(body, x, to.fraction, rounding)
    if overflow is Overflow.WRAP_SM:
        return _wrap_back_and_forth(body, x, rounded, to, rounding)
    lowest = to.lowest + (overflow is Overflow.SAT_SYM and to.signed)
    if rounded.zero or _inside(rounded, lowest, to):
        return rounded
    exact = body.at(rounded, to.fraction)
    if overflow is Overflow.WRAP:
        return body.wrap(exact, to.width) if to.signed else body.mask(exact, to.highest)
    return _clip(body, exact, lowest, to.highest, to.fraction)


def _inside(x: Value, lowest: int, to: Fixed) -> bool:
    up = to.fraction - x.fraction
    return lowest <= x.low << up and x.high << up <= to.highest


def _clip(body: Body, x: Value, low: int, high: int, fraction: int) -> Value:
    def end(code: int) -> Value:
        made = body.constant(code, fraction)
        return made if made.zero else body.at(made, fraction)

    if x.low < low:
        x = body.maximum(x, end(low))
    return body.minimum(x, end(high)) if x.high > high else x


def _fold(x: Value, to: Fixed, rounding: Rounding, overflow: Overflow) -> int:
    code = np.array([x.low], dtype=np.int64)
    found = quantize_codes(code, x.fraction, to.signed, to.integer, to.fraction, rounding, overflow)
    return int(found[0])


def round_value(body: Body, x: Value, fraction: int, rounding: Rounding) -> Value:
    """Round to whole multiples of ``2**-fraction``; coarser values come back as they are."""
    drop = x.fraction - fraction
    if drop <= 0 or x.zero:
        return x
    ends = round_codes(np.array([x.low, x.high]), drop, rounding)
    if ends[0] == ends[1]:  # rounding is monotonic
        return body.constant(int(ends[0]), fraction)
    if drop > 60:  # only TRN gets here: -1 or 0
        return body.sign(x).scaled(drop)
    f = x.fraction
    half = 1 << (drop - 1)

    def code(n: int) -> Value:
        return body.constant(n, f)

    match rounding:
        case Rounding.TRN:
            biased = x
        case Rounding.TRN_ZERO:
            biased = body.add(x, _masked(body, body.sign(x), (1 << drop) - 1))
        case Rounding.RND:
            biased = body.add(x, code(half))
        case Rounding.RND_MIN_INF:
            biased = body.add(x, code(half - 1))
        case Rounding.RND_INF:
            biased = body.add(body.add(x, code(half)), body.sign(x))
        case Rounding.RND_ZERO:
            biased = body.sub(body.add(x, code(half - 1)), body.sign(x))
        case Rounding.RND_CONV:
            odd = body.mask(body.shr(x, drop), 1).scaled(-drop)
            biased = body.add(body.add(x, code(half - 1)), odd)
    return body.shr(body.at(biased, f), drop)


def _masked(body: Body, sign: Value, mask: int) -> Value:
    """``mask`` where ``sign`` is -1, else 0."""
    return body.constant(sign.low & mask, sign.fraction) if sign.constant else body.mask(sign, mask)


def _wrap_back_and_forth(
    body: Body, x: Value, rounded: Value, to: Fixed, rounding: Rounding
) -> Value:
    """WRAP_SM; see `hairtrigger.fixed` for what is counted before and after rounding."""
    bits = to.width

    def bit(value: Value, place: int) -> Value:
        """Bit ``place`` of a code, as a whole number."""
        shifted = body.shr(body.at(value, to.fraction), place)
        return body.mask(body.at(shifted, to.fraction - place).scaled(to.fraction - place), 1)

    wrapped = body.at(body.wrap(body.at(rounded, to.fraction), bits), to.fraction)
    if rounding in HGQ2_FOLDS:
        drop = x.fraction - to.fraction
        nearest = round_value(body, x, to.fraction, Rounding.RND)
        if drop <= 0:
            beyond = body.sub(body.constant(1), body.compare(Step.EQ, x, body.constant(0)))
        else:
            size = body.maximum(x, body.negate(x))
            beyond = body.compare(Step.GT, size, body.constant(1, to.fraction + 1))
        floor = round_value(body, x, to.fraction, Rounding.TRN)
        first = body.mul(bit(floor, bits), beyond)
        odd = body.sub(first, bit(nearest, bits - 1))  # -1, 0 or 1
        odd = body.mul(odd, odd)
    else:
        odd = body.sub(bit(rounded, bits), bit(rounded, bits - 1))
        odd = body.mul(odd, odd)
    when = body.negate(odd)
    return body.flip(wrapped, when)


# --- sums of products ----------------------------------------------------------------------------


def add_up(body: Body, values: Sequence[Value]) -> Value:
    """The sum of values: finest first, so that partial sums stay narrow."""
    total = body.constant(0)
    for x in sorted(values, key=lambda v: (-v.fraction, v.line)):
        total = body.add(total, x)
    return total


def matrix(
    body: Body, xs: Sequence[Value], kernel: NDArray[np.int64], fraction: int
) -> list[Value]:
    """``xs @ kernel`` for a constant kernel in units of ``2**-fraction``, in the cheaper of two
    forms: a product for each weight, or the adder graph that da4ml's solver proposes."""
    fixed = [n for n, x in enumerate(xs) if x.constant and not x.zero and kernel[n].any()]
    if fixed:
        rest = [body.constant(0) if x.constant else x for x in xs]
        offsets = _products(body, [xs[n] for n in fixed], kernel[fixed], fraction)
        sums = matrix(body, rest, kernel, fraction)
        return [body.add(total, offset) for total, offset in zip(sums, offsets, strict=True)]
    rows = [n for n, x in enumerate(xs) if not x.zero and kernel[n].any()]
    if not rows:
        return [body.constant(0)] * kernel.shape[1]
    used, weights = [xs[n] for n in rows], np.ascontiguousarray(kernel[rows])
    columns = [n for n in range(weights.shape[1]) if weights[:, n].any()]
    small = (
        len(rows) <= SOLVER_ROWS and weights.size <= SOLVER_SIZE and np.abs(weights).max() < 1 << 24
    )
    if not small or np.count_nonzero(weights) <= len(columns):
        return _products(body, used, weights, fraction)
    trial = Body()
    loads = [trial.load(n, x.low, x.high, x.fraction) for n, x in enumerate(used)]
    plain = _cost(trial, _products(trial, loads, weights, fraction))
    trial = Body()
    loads = [trial.load(n, x.low, x.high, x.fraction) for n, x in enumerate(used)]
    adders = _cost(trial, _adder_graph(trial, loads, weights, fraction))
    chosen = _products if plain <= adders else _adder_graph
    return chosen(body, used, weights, fraction)


def _cost(body: Body, outputs: list[Value]) -> float:
    lines = (body.lines[n] for n in body.live(outputs))
    return sum(COST.get(x.step, 0.0) * max(1, lane_bits(x.low, x.high) // 16) for x in lines)


def _products(
    body: Body, xs: Sequence[Value], kernel: NDArray[np.int64], fraction: int
) -> list[Value]:
    results: list[Value] = []
    for column in kernel.T:
        plus: list[Value] = []
        minus: list[Value] = []
        for n in np.flatnonzero(column):
            weight = int(column[n])
            product = body.mul(xs[n], body.constant(abs(weight), fraction))
            (plus if weight > 0 else minus).append(product)
        total = add_up(body, plus)
        for x in sorted(minus, key=lambda v: (-v.fraction, v.line)):
            total = body.sub(total, x)
        results.append(total)
    return results


def _adder_graph(
    body: Body, xs: Sequence[Value], kernel: NDArray[np.int64], fraction: int
) -> list[Value]:
    buffer = list(xs)
    steps = [2.0**-x.fraction for x in xs]
    intervals = tuple((x.low * s, x.high * s, s) for x, s in zip(xs, steps, strict=True))
    for stage in solve(kernel.tobytes(), kernel.shape, intervals):
        given = [x.scaled(shift) for x, shift in zip(buffer, stage.inp_shifts, strict=True)]
        values: list[Value] = []
        for op in stage.ops:
            if op.opcode == -1:
                values.append(given[op.id0])
                continue
            other = values[op.id1].scaled(op.data)
            add = body.sub if op.opcode == 1 else body.add
            values.append(add(values[op.id0], other))
        buffer = []
        for place, shift, negative in zip(
            stage.out_idxs, stage.out_shifts, stage.out_negs, strict=True
        ):
            x = values[place].scaled(shift) if place >= 0 else body.constant(0)
            buffer.append(body.negate(x) if negative else x)
    return [x.scaled(-fraction) for x in buffer]


# --- the rest ------------------------------------------------------------------------------------


def arg_max(body: Body, xs: Sequence[Value]) -> Value:
    """Place of the largest; the first of equals."""
    best, place = xs[0], body.constant(0)
    for n, x in enumerate(xs[1:], 1):
        larger = body.compare(Step.GT, x, best)
        place = body.pick(larger, body.constant(n), place)
        best = body.maximum(best, x)
    return place


def table(body: Body, op: Table, row: int, x: Value) -> Value:
    """Row ``row`` of a Table at ``x``, with only the entries that its interval can reach."""
    up = 0 if x.zero else op.fraction - x.fraction
    first, last = (x.low << up) - op.first, (x.high << up) - op.first
    entries = op.values.codes[row, first : last + 1 : 1 << up]
    if entries.min() == entries.max():
        return body.constant(int(entries[0]), op.values.fraction)
    start = body.constant(x.low, x.fraction)
    offset = body.at(body.sub(x, start), x.fraction).scaled(x.fraction)
    used = entries[entries != 0]
    zeros = int((used & -used).min()).bit_length() - 1
    return body.lookup(offset, entries >> zeros, op.values.fraction - zeros)
