"""Many steps of a Graph with registers at once: only what feeds back on itself is run in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hairtrigger.fixed import Fixed, IntArray, Overflow
from hairtrigger.graph.gf2 import orbit
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.linear import Dense
from hairtrigger.graph.ops import Quantize, State

BIT = Fixed(False, 1, 0)

Registers = tuple[IntArray, ...]
"""Codes of all registers, in order of their nodes: arrays of their shapes, in units of each LSB."""


@dataclass(frozen=True)
class Group:
    """Nodes that can only be worked out together; ``loop``: from step to step, as they feed back.

    ``places``: in order of the nodes.
    """

    places: tuple[int, ...]
    loop: bool


def reset_registers(graph: Graph) -> Registers:
    """What the registers hold before the first step."""
    found: list[IntArray] = []
    for place, _ in graph.updates:
        op = graph.nodes[place].op
        assert isinstance(op, State)
        found.append(op.reset.at(op.type.lsb))
    return tuple(found)


@lru_cache(maxsize=32)
def groups(graph: Graph) -> tuple[Group, ...]:
    """The nodes of a Graph in an order in which what each group reads comes before it.

    A register reads the value that it takes next; where that depends on the register, they and all
    between them are one group, a loop. All other registers only delay a value by a step.
    """
    after = dict(graph.updates)
    reads = [
        [*node.operands, *([after[place]] if place in after else [])]
        for place, node in enumerate(graph.nodes)
    ]
    return tuple(
        Group(tuple(sorted(places)), len(places) > 1 or places[0] in reads[places[0]])
        for places in _components(reads)
    )


def _components(reads: Sequence[Sequence[int]]) -> list[list[int]]:
    """Strongly connected components, those that others read first (Tarjan, without recursion)."""
    found: list[list[int]] = []
    number: dict[int, int] = {}
    lowest: dict[int, int] = {}
    stack: list[int] = []
    open_: set[int] = set()
    for root in range(len(reads)):
        if root in number:
            continue
        work = [(root, iter(reads[root]))]
        number[root] = lowest[root] = len(number)
        stack.append(root)
        open_.add(root)
        while work:
            place, rest = work[-1]
            child = next(rest, None)
            if child is None:
                work.pop()
                if work:
                    parent = work[-1][0]
                    lowest[parent] = min(lowest[parent], lowest[place])
                if lowest[place] == number[place]:
                    at = stack.index(place)
                    found.append(stack[at:])
                    open_.difference_update(stack[at:])
                    del stack[at:]
            elif child not in number:
                number[child] = lowest[child] = len(number)
                stack.append(child)
                open_.add(child)
                work.append((child, iter(reads[child])))
            elif child in open_:
                lowest[place] = min(lowest[place], number[child])
    return found


def run_steps(
    graph: Graph, given: dict[int, IntArray], registers: Registers, steps: int
) -> tuple[dict[int, IntArray], Registers]:
    """Codes of every node at each step, by place, and what the registers hold after the last.

    ``given``: codes (steps, *shape) of each Input by its place; ``registers`` before the first
    step. What never changes has one step.
    """
    after = dict(graph.updates)
    held = {place: x for (place, _), x in zip(graph.updates, registers, strict=True)}
    values = dict(given)
    for group in groups(graph):
        if group.loop:
            matrix = shifted_bits(graph, group.places)
            if matrix is not None:
                _run_shifted(graph, group.places, matrix, values, held, steps)
                continue
            _run_loop(graph, group.places, values, held, steps)
            continue
        (place,) = group.places
        if place in after:
            values[place] = _delayed(values[after[place]], held[place], steps)
        elif place not in values:
            values[place] = _evaluate(
                graph, place, [values[n] for n in graph.nodes[place].operands]
            )
    ends = tuple(values[place][-1] if steps else held[state] for state, place in graph.updates)
    return values, ends


def _evaluate(graph: Graph, place: int, operands: Sequence[IntArray]) -> IntArray:
    node = graph.nodes[place]
    return node.op.evaluate(operands, [graph.nodes[n].type for n in node.operands], node.type)


def _delayed(x: IntArray, first: IntArray, steps: int) -> IntArray:
    """``first``, then ``x`` one step late."""
    found = np.empty((steps, *first.shape), dtype=np.int64)
    found[:1] = first
    found[1:] = x[: steps - 1] if len(x) == steps else x
    return found


def shifted_bits(graph: Graph, places: Sequence[int]) -> IntArray | None:
    """The matrix over GF(2) by which a loop multiplies its bits in each step; None for any other.

    Such a loop is a State of single bits, a Dense of ones and zeros over its last axis, and a
    Quantize that keeps the last bit of each sum: a shift register with feedback, or many.
    """
    if len(places) != 3:
        return None
    first, second, third = (graph.nodes[n].op for n in places)
    if not isinstance(first, State) or not isinstance(second, Dense):
        return None
    if not isinstance(third, Quantize) or (places[0], places[2]) not in graph.updates:
        return None
    if graph.nodes[places[1]].operands != places[:1] or graph.nodes[places[2]].operands != (
        places[1],
    ):
        return None
    kernel = second.kernel
    bits = all(
        t.single == BIT and t.shape == first.type.shape for t in (first.type, third.type)
    ) and bool(((kernel.codes | 1) == 1).all())
    if not bits or kernel.fraction or second.bias is not None:
        return None
    return kernel.codes if third.overflow is Overflow.WRAP else None


def _run_shifted(
    graph: Graph,
    places: Sequence[int],
    matrix: IntArray,
    values: dict[int, IntArray],
    held: dict[int, IntArray],
    steps: int,
) -> None:
    """Put the codes of a loop of shifted bits into ``values``: all steps at once, by powers."""
    state, total, after = places
    found = orbit(held[state], matrix, steps + 1)
    values[state], values[after] = found[:-1], found[1:]
    values[total] = _evaluate(graph, total, [values[state]])


def _run_loop(
    graph: Graph,
    places: Sequence[int],
    values: dict[int, IntArray],
    held: dict[int, IntArray],
    steps: int,
) -> None:
    """Put the codes of the nodes of a loop into ``values``, one step after the other."""
    inside = set(places)
    after = {state: place for state, place in graph.updates if state in inside}
    now = {state: held[state][None] for state in after}
    for place in places:
        values[place] = np.empty((steps, *graph.nodes[place].type.shape), dtype=np.int64)
    work = [place for place in places if place not in after]
    for step in range(steps):
        for state in after:
            values[state][step] = now[state][0]
        for place in work:
            operands = [
                now[n]
                if n in inside
                else values[n][step : step + 1]
                if len(values[n]) > 1
                else values[n]
                for n in graph.nodes[place].operands
            ]
            now[place] = _evaluate(graph, place, operands)
            values[place][step] = now[place][0]
        # All registers change at once.
        now.update({state: now[place] for state, place in after.items()})
