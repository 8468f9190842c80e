"""The other way to lay out memory: elements in their own order, read in steps of any size.

For kernels that read every fourth element, or one for many, as sums of neighbours and what belongs
to a whole row do: a run goes on as long as each address moves by a constant of its own.
"""

from __future__ import annotations

import numpy as np

from hairtrigger.cpp.layout import Layout, Place, Runs, lane_size, owners
from hairtrigger.cpp.program import Ints, Kernel, Program


def lay_out_straight(program: Program, smallest: int = 16) -> Layout | None:
    """Choose all addresses; None where a kernel reads zeros beside elements, as padding does."""
    if any((kernel.reads == 0).any() for kernel in program.kernels):
        return None
    owner = owners(program)
    address = np.full(len(program.low), -1, dtype=np.int64)
    places: list[Place] = []
    for tensor in program.tensors:
        here = slice(tensor.first, tensor.first + tensor.size)
        stored = owner[here] >= 0
        address[here] = np.where(stored, np.cumsum(stored) - 1, -1)
        slots = int(stored.sum())
        bits = lane_size(program, tensor, owner, smallest)
        places.append(Place(bits, slots + 1, address[here], slots))
    runs = tuple(_runs(kernel, address, owner) for kernel in program.kernels)
    return Layout(tuple(places), runs, owner)


def _runs(kernel: Kernel, address: Ints, owner: Ints) -> Runs:
    """Runs of a kernel, as long as they can be with the steps that most rows take."""
    order = np.argsort(address[kernel.writes[:, 0]], kind="stable")
    reads, writes = kernel.reads[order], kernel.writes[order]
    table = np.concatenate([address[reads], address[writes]], axis=1)
    moves = np.diff(table, axis=0)
    steps = np.ones(table.shape[1], dtype=np.int64)
    for n, column in enumerate(moves.T):
        if len(column):
            found, count = np.unique(column, return_counts=True)
            steps[n] = found[count.argmax()]
    breaks = np.ones(len(table), dtype=np.bool_)
    breaks[1:] = (moves != steps).any(axis=1)
    starts = np.flatnonzero(breaks)
    columns = reads.shape[1]
    tensors = owner[reads[0]]
    length = np.diff(np.append(starts, len(table)))
    return Runs(length, table[starts, :columns], table[starts, columns:], tensors, steps)
