"""When and where: which instance serves which position of an op, and in which clock of an event.

An event takes ``interval`` clocks. Every element of a tensor is made in one of them, at a place (an
output of an instance). Times are those of a machine whose logic takes no time; the registers that
the logic needs come later (`hairtrigger.rtl.pipeline`) and change no difference of times.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from hairtrigger.fixed import IntArray
from hairtrigger.graph.types import Shape


@dataclass(frozen=True)
class Value:
    """A tensor in time and space; arrays of its shape.

    ``lane``: number of the wire that carries an element (0: the constant zero); ``time``: clock of
    the event in which it does; ``place``: number of the port that makes it, also where that came
    out as a constant, -1 for padding and constants of the Graph.
    """

    lane: IntArray
    time: IntArray
    place: IntArray

    @property
    def shape(self) -> Shape:
        """Of the tensor."""
        return self.lane.shape

    @property
    def arrays(self) -> tuple[IntArray, IntArray, IntArray]:
        """Lanes, times and places."""
        return self.lane, self.time, self.place

    def moved(self, elements: IntArray) -> Value:
        """Elements at other places; ``elements``: flat, -1 for a zero."""
        lane, time, place = (np.append(a.ravel(), n) for a, n in self._ends())
        return Value(lane[elements], time[elements], place[elements])

    def _ends(self) -> tuple[tuple[IntArray, int], ...]:
        return ((self.lane, 0), (self.time, 0), (self.place, -1))


@dataclass(frozen=True)
class Plan:
    """For each position of an op the instance that serves it, from 0 up, when, and the clock from
    which its kind is served: less than an interval before the last."""

    instance: IntArray
    time: IntArray
    first: IntArray

    def served(self) -> list[IntArray]:
        """For each instance the positions that it serves, in the order of time."""
        order = np.lexsort((self.time, self.instance))
        ends = np.flatnonzero(np.diff(self.instance[order])) + 1
        return np.split(order, ends)


def plan(interval: int, kinds: IntArray, time: IntArray, place: IntArray) -> Plan:
    """Distribute positions over instances and clocks.

    ``kinds`` (positions,): positions of unlike kinds need instances of their own. ``time`` and
    ``place`` (positions, reads): of what a position reads.

    Positions follow what they read where they can: then an instance reads the same registers every
    time. Else they are dealt out in the order of their readiness.
    """
    count = len(kinds)
    if interval == 1:
        return Plan(np.arange(count), *np.zeros((2, count), dtype=np.int64))
    ready = np.where(place >= 0, time, 0).max(axis=1, initial=0)
    anchor = _anchor(interval, kinds, time, place)
    instance, when, first = np.zeros((3, count), dtype=np.int64)
    used = 0
    for kind in np.unique(kinds):
        some = np.flatnonzero(kinds == kind)
        if anchor is not None:
            where = place[some, anchor]
            instance[some] = np.unique(where, return_inverse=True)[1] + used
            when[some] = time[some, anchor]
        else:
            instances = -(-len(some) // interval)
            instance[some], when[some] = dealt(interval, ready[some], instances)
            instance[some] += used
        first[some] = when[some].min()
        used = int(instance[some].max()) + 1
    if anchor is not None:
        when += int((ready - when).max())
        first[:] = when.min()
    return Plan(instance, when, first)


def each_alone(time: IntArray, place: IntArray) -> Plan:
    """An instance for every position, which serves it as soon as what it reads is there."""
    ready = np.where(place >= 0, time, 0).max(axis=1, initial=0)
    return Plan(np.arange(len(ready)), ready, ready)


def _anchor(interval: int, kinds: IntArray, time: IntArray, place: IntArray) -> int | None:
    """A read that all positions have and no two share: where it comes from decides the instance."""
    for read in range(place.shape[1]):
        if (place[:, read] < 0).any() or np.ptp(time[:, read]) >= interval:
            continue
        triples = np.stack([kinds, place[:, read], time[:, read]])
        if np.unique(triples, axis=1).shape[1] == len(kinds):
            return read
    return None


def dealt(interval: int, ready: IntArray, instances: int) -> tuple[IntArray, IntArray]:
    """Instance and clock of positions that are served as soon as they are ready and it is their
    turn, all within ``interval`` clocks."""
    order = np.argsort(ready, kind="stable")
    rank = np.arange(len(order))
    slot = rank // instances
    slots = int(slot[-1]) + 1
    latest = np.zeros(slots, dtype=np.int64)
    np.maximum.at(latest, slot, ready[order])
    steps = np.arange(slots)
    clock = np.maximum.accumulate(latest - steps) + steps
    clock = np.maximum(clock, clock[-1] - (interval - 1) + steps)
    instance, when = np.zeros((2, len(order)), dtype=np.int64)
    instance[order], when[order] = rank % instances, clock[slot]
    return instance, when


def needed(interval: int, kinds: IntArray) -> int:
    """Fewest instances that serve positions of these kinds."""
    return sum(-(-n // interval) for n in np.unique(kinds, return_counts=True)[1].tolist())


def slab_sizes(lengths: Shape) -> list[int]:
    """Elements that may enter together: whole rows, or an equal part of one, at any level."""
    sizes: list[int] = []
    for level, length in enumerate(lengths):
        rest = prod(lengths[level + 1 :])
        sizes += [rest * n for n in range(1, length + 1) if length % n == 0]
    return sorted(set(sizes))


@dataclass(frozen=True)
class Slabs:
    """How an input enters: ``order`` (words, size) is the flat element on each lane of each word,
    behind each other in time."""

    order: IntArray

    @classmethod
    def of(cls, shape: Shape, interval: int, axis: int) -> Slabs:
        """Slabs along ``axis``, as small as fit into ``interval`` clocks."""
        axes = [axis, *(n for n in range(len(shape)) if n != axis)]
        elements = np.arange(prod(shape)).reshape(shape).transpose(axes)
        size = next(n for n in slab_sizes(elements.shape) if -(-elements.size // n) <= interval)
        return cls(elements.reshape(-1, size))

    @property
    def words(self) -> int:
        """Clocks in which the input enters."""
        return len(self.order)

    @property
    def size(self) -> int:
        """Elements in a word."""
        return self.order.shape[1]
