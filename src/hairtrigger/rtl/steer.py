"""What steers a folded design: counters of the clocks of an event, and bits made from them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hairtrigger.fixed import IntArray
from hairtrigger.rtl.arithmetic import ZERO
from hairtrigger.rtl.build import ModuleBuilder
from hairtrigger.rtl.netlist import Wire, constant

SMALL = 128
"""Clocks that one counter and one table cope with; above, rows and clocks of a row are counted."""


@dataclass
class Steering:
    """Gives the wires of signals that repeat with every event.

    ``interval``: clocks of an event; ``row``: clocks after which the image's next row begins.
    """

    top: ModuleBuilder
    interval: int
    row: int
    _counters: dict[int, tuple[Wire, Wire | None]] = field(
        default_factory=dict[int, tuple[Wire, Wire | None]]
    )

    def start(self, time: int) -> Wire:
        """1 in clock ``time`` of every event."""
        return self.top.delayed(self.top.begin(), time)

    def number(self, first: int, times: IntArray, numbers: IntArray) -> list[Wire]:
        """One-bit wires, the lowest first, that give ``numbers[n]`` in clock ``times[n]``.

        At other times they may give anything. ``first``: clock from which the steered op counts,
        at most an interval before the last of ``times``.
        """
        bits = int(numbers.max()).bit_length()
        return [self._bit(first, times, (numbers >> bit) & 1) for bit in range(bits)]

    def word(self, first: int, times: IntArray, numbers: IntArray) -> Wire:
        """The same as one wire without a sign."""
        bits = self.number(first, times, numbers)
        return bits[0] if len(bits) == 1 else self.top.join([(bit, 1) for bit in bits])

    def slot(self, times: IntArray) -> Wire:
        """The number ``n`` of the clock ``times[n]``, which must rise."""
        start = int(times[0])
        spread = np.diff(times)
        if len(times) == 1:
            return ZERO
        if (spread == 1).all():
            return self.top.counter(self.start(start), None, len(times) - 1, wraps=False)
        return self.top.counter(self.start(start), self.active(times), len(times) - 1, wraps=False)

    def active(self, times: IntArray) -> Wire:
        """1 in the clocks ``times`` of an event, 0 in the others from the first on."""
        first = int(times[0])
        every = np.arange(first, first + self.interval)
        return self._bit(first, every, np.isin(every, times).astype(np.int64))

    def _bit(self, first: int, times: IntArray, values: IntArray) -> Wire:
        if (values == values[0]).all():
            return constant(int(values[0]))
        rows = self.row if 1 < self.row < self.interval > SMALL else 0
        column, line = self._counter(first, rows)
        table = np.full(-(-self.interval // rows) * rows if rows else self.interval, -1)
        table[times - first] = values
        if line is None:
            return self.top.lookup(column, _filled(table).tolist(), 0, 0)
        return self._by_rows(column, line, table.reshape(-1, rows))

    def _by_rows(self, column: Wire, line: Wire, table: IntArray) -> Wire:
        """A bit that is ``table[line][column]``: for each distinct row a test of both."""
        table = _filled_rows(table)
        patterns, which = np.unique(table, axis=0, return_inverse=True)
        found = ZERO
        for n, pattern in enumerate(patterns):
            if pattern.any():
                at_line = self.top.lookup(line, (which.ravel() == n).astype(int).tolist(), 0, 0)
                at_column = self.top.lookup(column, pattern.tolist(), 0, 0)
                found = self.top.either(found, self.top.both(at_line, at_column))
        return found

    def _counter(self, first: int, rows: int) -> tuple[Wire, Wire | None]:
        """Clocks since clock ``first``: all of them, or (clock of the row, row)."""
        if first not in self._counters:
            start, top = self.start(first), self.top
            if not rows:
                counter = top.counter(start, None, self.interval - 1, wraps=False)
                self._counters[first] = (counter, None)
            else:
                column = top.counter(start, None, rows - 1, wraps=True)
                ends = top.lookup(column, [0] * (rows - 1) + [1], 0, 0)
                line = top.counter(start, ends, -(-self.interval // rows) - 1, wraps=False)
                self._counters[first] = (column, line)
        return self._counters[first]


def _filled(table: IntArray) -> IntArray:
    """Values that are left open (-1) as those before them, the first ones as the first given."""
    given = np.flatnonzero(table >= 0)
    before = np.searchsorted(given, np.arange(len(table)), side="right") - 1
    return table[given[np.maximum(before, 0)]]


def _filled_rows(table: IntArray) -> IntArray:
    """Values left open filled so that few rows differ."""
    filled = table.copy()
    for column in range(table.shape[1]):
        given = table[:, column][table[:, column] >= 0]
        if len(given) == 0:
            filled[:, column] = 0
        elif (given == given[0]).all():
            filled[:, column] = given[0]
    for n in range(len(filled)):
        open_ = filled[n] < 0
        if open_.any():
            fits = [row for row in filled[:n] if ((row == filled[n]) | open_).all()]
            filled[n] = fits[-1] if fits else np.where(open_, 0, filled[n])
    return filled
