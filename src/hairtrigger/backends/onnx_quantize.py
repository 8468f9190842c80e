"""Quantize in ONNX: rounding and overflow by operators that floating point carries exactly.

The numbers come scaled so that the LSB of the target is 1; see `hairtrigger.graph.exact` for why
every step is exact, and `hairtrigger.fixed` for the definitions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hairtrigger.backends.onnx_sheet import Sheet, Value, compact
from hairtrigger.fixed import HGQ2_FOLDS, BoolArray, IntArray, Overflow, Rounding, round_codes
from hairtrigger.graph.ops import Quantize
from hairtrigger.graph.types import Range, TensorType


def target_scale(t: TensorType) -> IntArray:
    """Scales that make the LSB of each element 1; what has no bits goes with its channel."""
    alive = t.width > 0
    if t.shape == () or alive.all():
        return compact(t.fraction)
    coarsest = -(1 << 20)
    images = tuple(range(len(t.shape) - 1))
    finest = np.where(alive, t.fraction, coarsest).max(axis=images, keepdims=True, initial=coarsest)
    finest = np.where(finest == coarsest, t.lsb, finest)
    return compact(np.where(alive, t.fraction, finest))


def rounds(t: TensorType, operand: TensorType) -> BoolArray:
    """Elements that lose bits below the LSB."""
    return (t.width > 0) & (operand.fraction > t.fraction)


def plain_rounding(rounding: Rounding, operand: TensorType) -> Rounding:
    """The rounding, or a simpler one that is the same for numbers that are not negative."""
    if operand.signed.any():
        return rounding
    same = {
        Rounding.TRN_ZERO: Rounding.TRN,
        Rounding.RND_INF: Rounding.RND,
        Rounding.RND_ZERO: Rounding.RND_MIN_INF,
    }
    return same.get(rounding, rounding)


def half_before(op: Quantize, operand: TensorType) -> np.ndarray | None:
    """What `quantize` adds before it rounds, in LSB, where that is all it does before."""
    sign = {Rounding.RND: 0.5, Rounding.RND_MIN_INF: -0.5}
    rounding = plain_rounding(op.rounding, operand)
    if op.overflow is Overflow.WRAP_SM or rounding not in sign:
        return None
    return np.where(rounds(op.type, operand), sign[rounding], 0.0)


def quantize(sheet: Sheet, op: Quantize, x: Value, operand: TensorType, reach: Range) -> Value:
    """Write a Quantize of ``x``, of type ``operand``, whose codes stay within ``reach``.

    Where the sheet does not round, numbers that would saturate are clipped and others stay as they
    are: a wrapped number far from its place would be no approximation of anything.
    """
    t = op.type
    scale = target_scale(t)
    factor = np.ldexp(1.0, scale - x.scale)
    saturates = op.overflow in (Overflow.SAT, Overflow.SAT_SYM)
    if not saturates and (t.width == 0).any():  # saturation brings them to 0 by its limits
        factor = np.where(t.width > 0, factor, 0.0)
    y = replace(x, name=sheet.times(x, factor), scale=scale, half=False)
    if not sheet.rounds:
        return _saturate(sheet, y, t, op.overflow) if saturates else y
    must_round = rounds(t, operand)
    rounded = y
    if must_round.any():
        rounding = plain_rounding(op.rounding, operand)
        rounded = replace(y, name=_round(sheet, y, rounding, must_round, x.half))
    if _inside(op, reach):
        return rounded
    if saturates:
        return _saturate(sheet, rounded, t, op.overflow)
    if op.overflow is Overflow.WRAP:
        return _wrap(sheet, rounded, t)
    return _fold(sheet, y, rounded, op, must_round)


def _round(
    sheet: Sheet, y: Value, rounding: Rounding, must_round: BoolArray, has_half: bool
) -> str:
    half = np.where(must_round, 0.5, 0.0) if not must_round.all() else np.asarray(0.5)

    def add(op: str, name: str) -> str:
        return name if has_half else sheet.put(op, name, sheet.number(y.lay(half)))

    match rounding:
        case Rounding.TRN:
            return sheet.put("Floor", y.name)
        case Rounding.RND:
            return sheet.put("Floor", add("Add", y.name))
        case Rounding.RND_MIN_INF:
            return sheet.put("Ceil", add("Sub", y.name))
        case Rounding.RND_CONV:
            return sheet.put("Round", y.name)
        case _:
            pass
    size = sheet.put("Abs", y.name)
    match rounding:
        case Rounding.TRN_ZERO:
            size = sheet.put("Floor", size)
        case Rounding.RND_INF:
            size = sheet.put("Floor", add("Add", size))
        case Rounding.RND_ZERO:
            size = sheet.put("Ceil", add("Sub", size))
    return sheet.put("Mul", sheet.put("Sign", y.name), size)


def _inside(op: Quantize, reach: Range) -> bool:
    """Whether nothing overflows."""
    t = op.type
    full = t.range()
    lowest = -full.high if op.overflow is Overflow.SAT_SYM else full.low
    lowest = np.where(t.signed, lowest, 0)
    drop = np.where(reach.alive & (t.width > 0), reach.fraction - t.fraction, 0)
    modes = [op.rounding]
    if op.overflow is Overflow.WRAP_SM:  # its half-periods are counted on the nearest code
        modes.append(Rounding.RND)
    ends = [
        (round_codes(reach.low, drop, mode), round_codes(reach.high, drop, mode)) for mode in modes
    ]
    wraps = op.overflow in (Overflow.WRAP, Overflow.WRAP_SM)
    silent = ~reach.alive | (wraps & (t.width == 0))
    return all(bool((silent | ((low >= lowest) & (high <= full.high))).all()) for low, high in ends)


def _saturate(sheet: Sheet, r: Value, t: TensorType, overflow: Overflow) -> Value:
    high = t.range().high.astype(np.float64)
    low = t.range().low.astype(np.float64)
    if overflow is Overflow.SAT_SYM:
        low = np.where(t.signed, -high, 0.0)
    low, high = _one(low), _one(high)
    # ONNX Runtime cannot load a Clip behind a Relu in float64 (its fusion takes float32 only).
    if low.ndim == high.ndim == 0 and sheet.real is np.float32:
        return replace(r, name=sheet.put("Clip", r.name, sheet.number(low), sheet.number(high)))
    above = sheet.put("Max", r.name, sheet.number(r.lay(low)))
    return replace(r, name=sheet.put("Min", above, sheet.number(r.lay(high))))


def _wrap(sheet: Sheet, r: Value, t: TensorType) -> Value:
    """In units of the period: the part behind the point, counted from the lowest code."""
    periods = _one(t.width)
    turns = replace(r, name=sheet.times(r, np.ldexp(1.0, -periods)), scale=r.scale - periods)
    signed = _one(t.signed)
    name = turns.name
    if not signed.any():
        return replace(turns, name=sheet.put("Sub", name, sheet.put("Floor", name)))
    offset = sheet.number(r.lay(np.where(signed, 0.5, 0.0)))
    name = sheet.put("Add", name, offset)
    name = sheet.put("Sub", name, sheet.put("Floor", name))
    return replace(turns, name=sheet.put("Sub", name, offset))


def _fold(sheet: Sheet, y: Value, r: Value, op: Quantize, must_round: BoolArray) -> Value:
    """WRAP_SM: the wrapped code, inverted where two counts of half-periods differ in parity."""
    t = op.type
    width = np.maximum(_one(t.width), 1)
    wrapped = sheet.scaled(_wrap(sheet, r, t), r.scale)

    def bit(name: str, place: IntArray) -> str:
        """Bit ``place`` of whole numbers, as 0 or 1."""
        down = sheet.times(replace(y, name=name), np.ldexp(1.0, -place))
        down = sheet.put("Floor", down)
        pair = sheet.put("Floor", sheet.put("Mul", down, sheet.number(0.5)))
        return sheet.put("Sub", down, sheet.put("Mul", pair, sheet.number(2.0)))

    if op.rounding in HGQ2_FOLDS:  # counted before rounding
        nearest = y.name
        if must_round.any():
            nearest = _round(sheet, y, Rounding.RND, must_round, has_half=False)
        beyond = sheet.put("Greater", sheet.put("Abs", y.name), sheet.number(0.5))
        first = sheet.put("Mul", bit(y.name, width), sheet.cast(beyond, sheet.real))
        differ = sheet.put("Sub", first, bit(nearest, width - 1))
    else:
        differ = sheet.put("Sub", bit(r.name, width), bit(r.name, width - 1))
    # w where they agree, -w - 1 where not: w - d*d*(2w + 1).
    odd = sheet.put("Mul", differ, differ)
    twice = sheet.put("Mul", wrapped.name, sheet.number(2.0))
    step = sheet.put("Mul", odd, sheet.put("Add", twice, sheet.number(1.0)))
    folded = replace(wrapped, name=sheet.put("Sub", wrapped.name, step))
    if (t.width == 0).any():  # -0 - 1 is no answer for an element of no bits
        alive = np.where(t.width > 0, 1.0, 0.0)
        folded = replace(folded, name=sheet.times(folded, alive))
    return folded


def _one(array: np.ndarray) -> np.ndarray:
    """One number where all are the same."""
    same = array.size > 0 and bool((array == array.flat[0]).all())
    return np.asarray(array.flat[0]) if same else np.asarray(array)
