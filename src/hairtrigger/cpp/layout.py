"""Where elements lie in memory, so that neighbouring positions become neighbouring lanes.

A *chain* is a row of elements that the kernels reading them want side by side: for a convolution
with stride 2, the even pixels and the odd ones. Between chains lie zeros where a padded convolution
reads over an end. A *run* is a row of positions of a kernel in which every address moves by one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hairtrigger.cpp.body import lane_bits
from hairtrigger.cpp.program import Ints, Kernel, Program, Tensor

_FAR = 1 << 40


@dataclass(frozen=True)
class Place:
    """The memory of one tensor: ``slots`` lanes of ``bits``, the slot of each element (-1 for
    constants), and the first slot of a row of zeros for reads that lie wholly outside. The last
    slot is nobody's."""

    bits: int
    slots: int
    address: Ints
    zeros: int


@dataclass(frozen=True)
class Runs:
    """Runs of a kernel: their lengths, and first slots of each read and write (runs, columns).

    ``steps``: by how many slots each read, then each write, moves from lane to lane; None for one.
    """

    length: Ints
    reads: Ints
    writes: Ints
    tensors: Ints
    """Tensor of each read."""
    steps: Ints | None = None


@dataclass(frozen=True)
class Layout:
    places: tuple[Place, ...]
    runs: tuple[Runs, ...]
    owner: Ints
    """Tensor of each element, -1 for constants."""


def lay_out(program: Program, smallest: int = 16) -> Layout:
    """Choose all addresses. ``smallest``: fewest bits of a lane in memory."""
    count = len(program.low)
    owner = owners(program)
    follower = _followers(program, owner)
    address = np.full(count, -1, dtype=np.int64)
    chains = [_chains(t, follower, owner[t.first : t.first + t.size] >= 0) for t in program.tensors]
    # First with wide gaps, to see which runs there are and how far they read beyond chains.
    wide = max((int(c[1].max(initial=0)) for c in chains), default=0) + 1
    for chain in chains:
        _addresses(chain, wide, address)
    need = [0] * len(program.tensors)
    for kernel in program.kernels:
        _needed(kernel, _find(kernel, address, owner, None), need, address)
    slots: list[int] = []
    occupied: list[NDArray[np.bool_]] = []
    for n, tensor in enumerate(program.tensors):
        slots.append(_addresses(chains[n], need[n], address))
        taken = np.zeros(slots[n], dtype=np.bool_)
        own = address[tensor.first : tensor.first + tensor.size]
        taken[own[own >= 0]] = True
        occupied.append(taken)
    runs: list[Runs] = []
    zero_run = [0] * len(program.tensors)
    for kernel in program.kernels:
        found = _find(kernel, address, owner, occupied)
        for n, column in zip(found.tensors, found.reads.T, strict=True):
            lost = column == _FAR
            if lost.any():
                zero_run[n] = max(zero_run[n], int(found.length[lost].max()))
        runs.append(found)
    finished: list[Runs] = []
    for found in runs:
        zeros = np.array([slots[n] for n in found.tensors], dtype=np.int64)
        reads = np.where(found.reads == _FAR, zeros[None, :], found.reads)
        finished.append(Runs(found.length, reads, found.writes, found.tensors))
    places = tuple(
        Place(
            lane_size(program, tensor, owner, smallest),
            slots[n] + zero_run[n] + 1,
            address[tensor.first : tensor.first + tensor.size],
            slots[n],
        )
        for n, tensor in enumerate(program.tensors)
    )
    return Layout(places, tuple(finished), owner)


def owners(program: Program) -> Ints:
    """Number of the tensor of each element, -1 for constants."""
    owner = np.full(len(program.low), -1, dtype=np.int64)
    for n, tensor in enumerate(program.tensors):
        here = slice(tensor.first, tensor.first + tensor.size)
        owner[here] = np.where(program.low[here] != program.high[here], n, -1)
    return owner


def lane_size(program: Program, tensor: Tensor, owner: Ints, smallest: int) -> int:
    """Bits of a lane that holds every element of a tensor."""
    here = slice(tensor.first, tensor.first + tensor.size)
    stored = owner[here] >= 0
    if not stored.any():
        return smallest
    low, high = program.low[here][stored].min(), program.high[here][stored].max()
    return max(smallest, lane_bits(int(low), int(high)))


# --- chains --------------------------------------------------------------------------------------


def _followers(program: Program, owner: Ints) -> Ints:
    """For each element the one that should lie behind it, or -1: what later kernels want first,
    then the order of positions."""
    count = len(program.low)
    follower = np.full(count, -1, dtype=np.int64)
    leader = np.full(count, -1, dtype=np.int64)
    wishes: list[list[tuple[float, Ints, Ints]]] = [[] for _ in program.tensors]
    done = [False] * len(program.tensors)

    # Where one body serves all channels, elements follow each other; else positions do.
    merged = [len(tensor.shape) < 2 for tensor in program.tensors]
    for kernel in program.kernels:
        n = int(owner[kernel.writes[0, 0]])
        whole = kernel.writes.shape[1] == 1 and 2 * len(kernel.writes) > program.tensors[n].size
        merged[n] = merged[n] or whole

    def finish(n: int) -> None:
        """Grant the wishes about a tensor, those of the longest runs first."""
        if done[n]:
            return
        done[n] = True
        tensor = program.tensors[n]
        for _, a, b in sorted(wishes[n], key=lambda wish: -wish[0]):
            _grant(a, b, follower, leader)
        if len(tensor.shape) > 0 and tensor.size > 1:
            step = 1 if merged[n] else tensor.shape[-1]
            a = tensor.first + np.arange(tensor.size - step)
            both = (owner[a] >= 0) & (owner[a + step] >= 0)
            _grant(a[both], (a + step)[both], follower, leader)

    for kernel in reversed(program.kernels):
        finish(int(owner[kernel.writes[0, 0]]))
        if len(kernel.reads) < 2:
            continue
        row_of = {int(element): row for row, element in enumerate(kernel.writes[:, 0])}
        pairs = [
            (row, row_of[after])
            for element, row in row_of.items()
            if (after := int(follower[element])) in row_of
        ]
        if not pairs:
            continue
        first, second = np.array(pairs, dtype=np.int64).T
        for column in kernel.reads.T:
            a, b = column[first], column[second]
            inside = (a > 0) & (b > 0) & (a != b)
            a, b = a[inside], b[inside]
            same = owner[a] == owner[b]
            if same.any():
                chains = len(row_of) - len(pairs)  # 0: they follow each other in circles
                wish = (len(row_of) / max(chains, 1), a[same], b[same])
                wishes[int(owner[a[same][0]])].append(wish)
    for n in range(len(program.tensors)):
        finish(n)
    return follower


def _grant(a: Ints, b: Ints, follower: Ints, leader: Ints) -> None:
    free = (follower[a] < 0) & (leader[b] < 0)
    a, b = a[free], b[free]
    _, once = np.unique(a, return_index=True)
    a, b = a[once], b[once]
    _, once = np.unique(b, return_index=True)
    a, b = a[once], b[once]
    follower[a] = b
    leader[b] = a


def _chains(tensor: Tensor, follower: Ints, stored: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Stored elements of a tensor, chain behind chain, and the length of each chain."""
    if not stored.any():
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    first = tensor.first
    after = (follower[first : first + tensor.size] - first).tolist()
    has_leader = [False] * tensor.size
    for n in after:
        if n >= 0:
            has_leader[n] = True
    order: list[int] = []
    lengths: list[int] = []
    left = stored.tolist()
    # Channels last in the Graph, first in memory.
    channels = tensor.shape[-1] if tensor.shape else 1
    planar = np.arange(tensor.size).reshape(-1, channels).T.ravel().tolist()
    for start in [*(n for n in planar if not has_leader[n]), *planar]:  # then circles
        n, length = start, 0
        while n >= 0 and left[n]:
            left[n] = False
            order.append(n)
            length += 1
            n = after[n]
        if length:
            lengths.append(length)
    return np.array(order, dtype=np.int64) + first, np.array(lengths, dtype=np.int64)


def _addresses(chains: tuple[Ints, Ints], gap: int, address: Ints) -> int:
    """Write the slots of a tensor's elements, with ``gap`` zeros around chains; slots in all."""
    order, lengths = chains
    starts = np.cumsum(lengths + gap) - lengths
    within = np.arange(len(order)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    address[order] = np.repeat(starts, lengths) + within
    return int(starts[-1] + lengths[-1] + gap) if len(order) else 0


# --- runs ----------------------------------------------------------------------------------------


def _find(
    kernel: Kernel, address: Ints, owner: Ints, occupied: list[NDArray[np.bool_]] | None
) -> Runs:
    """The runs of a kernel; a read that is zero all along has the address `_FAR`."""
    order = np.argsort(address[kernel.writes[:, 0]], kind="stable")
    elements, written = kernel.reads[order], address[kernel.writes[order]]
    rows = len(order)
    inside = elements != 0
    tensors = owner[elements.max(axis=0)] if elements.size else np.zeros(0, dtype=np.int64)
    count = np.arange(rows)[:, None]
    base = np.where(inside, address[elements] - count, _FAR)
    breaks = np.ones(rows, dtype=np.bool_)
    whole = inside.all(axis=0)
    breaks[1:] = (np.diff(written, axis=0) != 1).any(axis=1)
    breaks[1:] |= (np.diff(base[:, whole], axis=0) != 0).any(axis=1)
    if not whole.all():
        _break_at_padding(base[:, ~whole], inside[:, ~whole], breaks)
        if occupied is not None:
            _break_off(base, inside, tensors, breaks, occupied)
    starts = np.flatnonzero(breaks)
    lowest = np.minimum.reduceat(base, starts, axis=0) if base.size else base[starts]
    reads = np.where(lowest < _FAR // 2, lowest + starts[:, None], _FAR)
    return Runs(np.diff(np.append(starts, rows)), reads, written[starts], tensors)


def _break_at_padding(base: Ints, inside: NDArray[np.bool_], breaks: NDArray[np.bool_]) -> None:
    """Break where a read comes back from the padding at another distance."""
    rows = np.arange(len(base))
    start = np.maximum.accumulate(np.where(breaks, rows, 0))
    for column, seen in zip(base.T, inside.T, strict=True):
        last = np.maximum.accumulate(np.where(seen, rows, -1))
        before = np.append(-1, last[:-1])
        known = seen & (before >= start)
        breaks |= known & (column != column[np.maximum(before, 0)])


def _break_off(
    base: Ints,
    inside: NDArray[np.bool_],
    tensors: Ints,
    breaks: NDArray[np.bool_],
    occupied: list[NDArray[np.bool_]],
) -> None:
    """Let rows stand alone whose zeros would be read where something else lies."""
    rows = np.arange(len(base))
    starts = np.flatnonzero(breaks)
    run = np.cumsum(breaks) - 1
    lowest = np.minimum.reduceat(base, starts, axis=0)[run]
    slot = lowest + rows[:, None]
    outside = ~inside & (lowest < _FAR // 2)
    for column in np.flatnonzero(outside.any(axis=0)):
        taken = occupied[int(tensors[column])]
        here = np.flatnonzero(outside[:, column])
        at = slot[here, column]
        wrong = (at < 0) | (at >= len(taken))
        wrong |= taken[np.clip(at, 0, len(taken) - 1)]
        bad = here[wrong]
        breaks[bad] = True
        breaks[bad[bad + 1 < len(breaks)] + 1] = True


def _needed(kernel: Kernel, runs: Runs, need: list[int], address: Ints) -> None:
    """Raise ``need`` to the zeros around chains that the runs of a kernel read."""
    if (kernel.reads != 0).all():
        return
    order = np.argsort(address[kernel.writes[:, 0]], kind="stable")
    inside = kernel.reads[order] != 0
    stops = np.cumsum(runs.length)
    for start, stop in zip(stops - runs.length, stops, strict=True):
        part = inside[start:stop]
        some = part.any(axis=0)
        before = np.where(some, part.argmax(axis=0), 0)
        behind = np.where(some, part[::-1].argmax(axis=0), 0)
        for n in np.unique(runs.tensors):
            mine = runs.tensors == n
            need[int(n)] = max(need[int(n)], int(before[mine].max()), int(behind[mine].max()))
