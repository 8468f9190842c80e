"""Kernels behind each other that go through the same positions become one.

In a step with few lanes most of the time goes into loading what the kernel before has just stored.
Where each position of a kernel reads what that position of an earlier one wrote, both are one loop;
what nobody else reads is not stored.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hairtrigger.cpp.body import Body, Step, Value
from hairtrigger.cpp.program import Ints, Kernel, Program

MOST_LINES = 60
"""Lines of a fused body: beyond, a loop has too much to keep in registers."""
FEWEST = 32
"""Positions from which on a loop is worth it."""


def fuse(program: Program) -> None:
    """Fuse kernels of a program with registers, as long as some can be."""
    kernels = program.kernels
    n = 0
    while n < len(kernels):
        # The nearest first, so that what lies between stays in order.
        for before in range(n - 1, -1, -1):
            fused = _fused(program, before, n)
            if fused is not None:
                kernels[n] = fused
                del kernels[before]
                n = before  # its place has moved; look at what follows anew
                break
        else:
            n += 1


def _fused(program: Program, first: int, second: int) -> Kernel | None:
    """Both kernels as one in the place of the second; None where that is not the same."""
    kernels = program.kernels
    a, b = kernels[first], kernels[second]
    rows = len(a.writes)
    if rows != len(b.writes) or rows < FEWEST or not _plain(a) or not _plain(b):
        return None
    if len(a.body.lines) + len(b.body.lines) > MOST_LINES:
        return None
    order, taken = _joined(a, b)
    if order is None or any(_reads(k, a.writes) for k in kernels[first + 1 : second]):
        return None
    left = [k for n, k in enumerate(kernels) if n not in (first, second)]
    kept = [j for j, column in enumerate(a.writes.T) if _needed(program, left, column)]
    return _merged(a, b, order, taken, kept)


def _plain(kernel: Kernel) -> bool:
    """Does every position read elements of its own, all there."""
    reads = kernel.reads
    return all(len(np.unique(column)) == len(column) for column in reads.T) and bool(
        (reads > 0).all()
    )


def _ages(kernel: Kernel) -> Ints:
    count = kernel.reads.shape[1]
    return np.zeros(count, dtype=np.int64) if kernel.ages is None else kernel.ages


def _reads(kernel: Kernel, elements: Ints) -> bool:
    """Does a kernel read some elements of this step."""
    now = kernel.reads[:, _ages(kernel) == 0]
    return bool(np.isin(now, elements).any())


def _needed(program: Program, others: Sequence[Kernel], elements: Ints) -> bool:
    """Does anybody but two kernels read some elements, now or in a later step."""
    read = [kernel.reads for kernel in others]
    read += [*program.outputs, *(held.elements for held in program.held)]
    return any(bool(np.isin(x, elements).any()) for x in read)


def _joined(a: Kernel, b: Kernel) -> tuple[Ints | None, dict[int, int]]:
    """For each row of ``b`` the row of ``a`` that it reads, and which reads are which outputs."""
    order: Ints | None = None
    taken: dict[int, int] = {}
    for n in np.flatnonzero(_ages(b) == 0).tolist():
        column = b.reads[:, n]
        inside = np.isin(column, a.writes)
        if not inside.any():
            continue
        for j, made in enumerate(a.writes.T):
            if not np.isin(column, made).all():
                continue
            place = np.argsort(made)
            found = place[np.searchsorted(made[place], column)]
            if order is None or np.array_equal(found, order):
                order, taken[n] = found, j
                break
        else:
            return None, {}
    return order, taken


def _merged(
    a: Kernel, b: Kernel, order: Ints, taken: dict[int, int], kept: Sequence[int]
) -> Kernel:
    body = Body()
    columns: list[Ints] = []
    ages: list[int] = []
    known: dict[tuple[bytes, int], int] = {}

    def replay(kernel: Kernel, rows: Ints, given: dict[int, int]) -> dict[int, int]:
        """Put the lines of a kernel into the body: their new places. ``given``: loads known."""
        place: dict[int, int] = {}
        for at, line in enumerate(kernel.body.lines):
            n = line.n
            if line.step is Step.LOAD:
                if n in given:
                    place[at] = given[n]
                    continue
                column, age = kernel.reads[rows, n], int(_ages(kernel)[n])
                key = (column.tobytes(), age)
                if key not in known:
                    known[key] = len(columns)
                    columns.append(column)
                    ages.append(age)
                n = known[key]
            elif line.step is Step.TABLE:
                table = kernel.body.tables[n]
                n = len(body.tables)
                body.tables.append(table)
            reads = tuple(place[r] for r in line.reads)
            place[at] = body.line(line.step, reads, n, line.low, line.high)
        return place

    made = replay(a, order, {})
    given = {n: made[a.outputs[j].line] for n, j in taken.items()}
    then = replay(b, np.arange(len(b.writes)), given)
    outputs = [_moved(a.outputs[j], made) for j in kept]
    outputs += [_moved(value, then) for value in b.outputs]
    writes = np.concatenate([a.writes[order][:, list(kept)], b.writes], axis=1)
    labels = dict.fromkeys((a.label, b.label))
    return Kernel(
        body, np.stack(columns, axis=1), writes, outputs, ", ".join(labels), np.array(ages)
    )


def _moved(value: Value, place: dict[int, int]) -> Value:
    return Value(place[value.line], value.low, value.high, value.fraction)
