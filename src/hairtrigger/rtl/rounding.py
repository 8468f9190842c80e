"""Quantize on wires: every rounding and every overflow, as few gates as the interval needs."""

from __future__ import annotations

import numpy as np

from hairtrigger.fixed import HGQ2_FOLDS, Fixed, Overflow, Rounding, quantize_codes
from hairtrigger.graph.ops import Relation
from hairtrigger.rtl import cells
from hairtrigger.rtl.arithmetic import ZERO, Arithmetic
from hairtrigger.rtl.netlist import (
    CONSTANT,
    Wire,
    constant,
)

ONE = constant(1)
_CARRY = {rule.name: rule for rule in cells.Carry}


class Quantizing(Arithmetic):
    """Arithmetic that cuts, rounds, wraps around and saturates."""

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
