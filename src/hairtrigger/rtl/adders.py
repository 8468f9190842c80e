"""Constant matrices as shift-and-add graphs, found by da4ml's solver and checked here.

The solver alone is used, as a proposer: every graph it returns is multiplied out symbolically and
compared with the matrix before a wire is made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import ToolError
from hairtrigger.fixed import IntArray
from hairtrigger.rtl.arithmetic import ZERO
from hairtrigger.rtl.build import ModuleBuilder
from hairtrigger.rtl.netlist import Wire, constant

MOST_ROWS = 64
"""Rows given to the solver at once: its time grows with their cube, what it saves hardly grows."""


class AdderOp(Protocol):
    """One step of the solver: -1 takes input ``id0``; 0 adds and 1 subtracts
    ``buffer[id1] * 2**data`` to or from ``buffer[id0]``."""

    id0: int
    id1: int
    opcode: int
    data: int


class AdderGraph(Protocol):
    """One stage that the solver returns; stages follow each other."""

    inp_shifts: Sequence[int]
    ops: Sequence[AdderOp]
    out_idxs: Sequence[int]
    out_shifts: Sequence[int]
    out_negs: Sequence[bool]


def multiply_matrix(
    builder: ModuleBuilder, wires: Sequence[Wire], matrix: IntArray, fraction: int
) -> list[Wire]:
    """``wires @ matrix`` with the integer ``matrix`` (rows, columns) in units of ``2**-fraction``.

    Raises `ToolError` where the solver's graph does not give the matrix, or an entry has more
    than 24 bits.
    """
    if np.abs(matrix).max(initial=0) >= 1 << 24:
        raise ToolError(
            f"A weight of {int(np.abs(matrix).max())} LSB has more than 24 bits, which the "
            "adder-graph solver cannot take.",
            "Quantize the weights to fewer bits.",
        )
    fixed = [ZERO] * matrix.shape[1]
    rows: list[int] = []
    for row, wire in enumerate(wires):
        if wire.constant:
            fixed = [
                builder.add(total, constant(wire.low * int(w), wire.fraction + fraction))
                for total, w in zip(fixed, matrix[row], strict=True)
            ]
        elif matrix[row].any():
            rows.append(row)
    columns: list[list[Wire]] = [[] for _ in fixed]
    for start in range(0, len(rows), MOST_ROWS):
        block = rows[start : start + MOST_ROWS]
        products = _multiply_block(builder, [wires[n] for n in block], matrix[block])
        for column, wire in zip(columns, products, strict=True):
            column.append(wire.shifted(-fraction) if not wire.zero else ZERO)
    return [
        builder.add(builder.sum(column), offset)
        for column, offset in zip(columns, fixed, strict=True)
    ]


def _multiply_block(builder: ModuleBuilder, wires: Sequence[Wire], matrix: IntArray) -> list[Wire]:
    intervals = tuple(
        (w.low * 2.0**-w.fraction, w.high * 2.0**-w.fraction, 2.0**-w.fraction) for w in wires
    )
    buffer: list[Wire] = list(wires)
    for stage in solve(matrix.tobytes(), matrix.shape, intervals):
        inputs = [w.shifted(s) for w, s in zip(buffer, stage.inp_shifts, strict=True)]
        values: list[Wire] = []
        for op in stage.ops:
            if op.opcode == -1:
                values.append(inputs[op.id0])
            else:
                other = values[op.id1].shifted(op.data)
                values.append(builder.add(values[op.id0], other, subtract=op.opcode == 1))
        buffer = []
        for place, shift, negative in zip(
            stage.out_idxs, stage.out_shifts, stage.out_negs, strict=True
        ):
            wire = values[place].shifted(shift) if place >= 0 else ZERO
            buffer.append(builder.negate(wire) if negative else wire)
    return buffer


@lru_cache(maxsize=4096)
def solve(
    matrix: bytes, shape: tuple[int, int], intervals: tuple[tuple[float, float, float], ...]
) -> tuple[AdderGraph, ...]:
    """The solver's stages for an ``int64`` matrix, checked. Raises `ToolError`."""
    from da4ml import cmvm

    kernel = np.frombuffer(matrix, dtype=np.int64).reshape(shape)
    stages = cast(
        tuple[AdderGraph, ...],
        cast(Any, cmvm)
        .solve(
            kernel.astype(np.float32),
            qintervals=list(intervals),
            latencies=[0.0] * shape[0],
            adder_size=-1,
            carry_size=-1,
        )
        .solutions,
    )
    found = multiplied_out(stages, shape[0])
    if found.shape != kernel.shape or not np.array_equal(found, kernel):
        raise ToolError(
            f"The adder graph that da4ml returned for a {shape[0]} x {shape[1]} matrix computes "
            "another matrix.",
            "Please report the matrix to hairtrigger; change a weight to get past it.",
        )
    return stages


def multiplied_out(stages: Sequence[AdderGraph], inputs: int) -> NDArray[np.float64]:
    """The matrix (inputs, outputs) that adder graphs behind each other compute.

    Coefficients are dyadic and far below 2**53, so float64 carries them exactly.
    """
    buffer: list[NDArray[np.float64]] = list(np.eye(inputs))
    for stage in stages:
        given = [x * 2.0**shift for x, shift in zip(buffer, stage.inp_shifts, strict=True)]
        values: list[NDArray[np.float64]] = []
        for op in stage.ops:
            match op.opcode:
                case -1:
                    values.append(given[op.id0])
                case 0:
                    values.append(values[op.id0] + values[op.id1] * 2.0**op.data)
                case 1:
                    values.append(values[op.id0] - values[op.id1] * 2.0**op.data)
                case _:
                    raise ToolError(f"da4ml returned an adder graph with opcode {op.opcode}.")
        buffer = [
            (values[place] if place >= 0 else np.zeros(inputs)) * 2.0**shift * (-1 if neg else 1)
            for place, shift, neg in zip(
                stage.out_idxs, stage.out_shifts, stage.out_negs, strict=True
            )
        ]
    return np.stack(buffer, axis=1)
