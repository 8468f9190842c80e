"""What an HLS project must give: the emulator, for the network and for what is put around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from hairtrigger.errors import InputError
from hairtrigger.fixed import IntArray, shift_codes
from hairtrigger.graph.emulate import emulate_codes
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.ops import Input
from hairtrigger.graph.stimulus import extreme_codes, join_events, random_codes
from hairtrigger.graph.types import Range, TensorType
from hairtrigger.hls.injection import Injection

Codes = tuple[IntArray, ...]

MOST_SWEPT = 1 << 20
"""Codes of an input of which every one is tried; of wider inputs as many, evenly spread."""
MOST_SWEEP_EVENTS = 4096


@dataclass(frozen=True)
class Reference:
    """The network's Graph, with what comes ``before`` it and ``after`` it, or None."""

    graph: Graph
    before: Graph | None = None
    after: Graph | None = None

    @classmethod
    def of(cls, graph: Graph, injections: Sequence[Injection]) -> Reference:
        """The network with the meanings of those injections at its input and output that have one.

        Raises `InputError` where a meaning does not fit the network.
        """
        meant = {x.where.kind: x.meaning for x in injections if x.meaning is not None}
        made = cls(graph, meant.get("input"), meant.get("output"))
        for first, second in ((made.before, graph), (graph, made.after)):
            if first is None or second is None:
                continue
            gives, takes = first.output_types[0], second.input_ops[0].type
            if gives.shape != takes.shape or gives.lsb > takes.lsb:
                raise InputError(
                    f"Graph {first.name!r} gives {gives.shape} in steps of 2**{-gives.lsb}; "
                    f"{second.name!r} takes {takes.shape} in steps of 2**{-takes.lsb}.",
                    "Let the meaning of the injection give the format that comes next.",
                )
        return made

    @property
    def entry(self) -> Graph:
        """The Graph that takes the events."""
        return self.before or self.graph

    @property
    def exit(self) -> Graph:
        """The Graph that gives the answers."""
        return self.after or self.graph

    def run(self, codes: Sequence[IntArray]) -> tuple[Codes, Codes, Codes]:
        """Codes at the network's input, at its output, and of the answers."""
        inner = tuple(codes)
        if self.before is not None:
            inner = _moved(emulate_codes(self.before, inner), self.before, self.graph)
        outer = emulate_codes(self.graph, inner)
        if self.after is None:
            return inner, outer, outer
        return inner, outer, emulate_codes(self.after, _moved(outer, self.graph, self.after))

    def constant(self, lowest: int, highest: int) -> Codes | None:
        """The answers, where all inputs with codes from ``lowest`` to ``highest`` have the same:
        proven by intervals through the Graphs, not tried. None where that proves nothing."""
        ranges: list[Range] | None = None
        for graph in (self.before, self.graph, self.after):
            if graph is None:
                continue
            if ranges is None:
                ranges = [_all(op.type, lowest, highest) for op in graph.input_ops]
            ranges = _through(graph, ranges)
        found = cast(list[Range], ranges)
        if any((x.low != x.high).any() for x in found):
            return None
        types = self.exit.output_types
        return tuple(x.at(t.lsb)[0] for x, t in zip(found, types, strict=True))


def _all(t: TensorType, lowest: int, highest: int) -> Range:
    own = t.range()
    low = np.clip(np.full(t.shape, lowest), own.low, own.high)
    return Range(low, np.clip(np.full(t.shape, highest), low, own.high), own.fraction)


def _through(graph: Graph, inputs: list[Range]) -> list[Range]:
    """The intervals of a Graph's outputs."""
    ranges: list[Range] = []
    given = iter(inputs)
    for node in graph.nodes:
        if isinstance(node.op, Input):
            ranges.append(next(given))
        else:
            ranges.append(node.op.bounds([ranges[n] for n in node.operands]))
    return [ranges[n] for n in graph.outputs]


def _moved(codes: Codes, graph: Graph, to: Graph) -> Codes:
    """Codes of a Graph's output as codes of the next Graph's input."""
    (x,), (gives,), takes = codes, graph.output_types, to.input_ops[0].type
    moved = shift_codes(x, takes.lsb - gives.lsb)
    low, high = takes.range().at(takes.lsb)
    wrong = (moved < low) | (moved > high)
    if wrong.any():
        where = tuple(int(n) for n in np.argwhere(wrong)[0])
        raise InputError(
            f"Graph {graph.name!r} gives the code {int(moved[where])} at {where[1:]} in event "
            f"{where[0]}, which the input of {to.name!r} does not hold.",
            "Let the injection saturate to the format of the network's input.",
        )
    return (moved,)


def sweep_codes(graph: Graph) -> Codes:
    """Events in which every code of each Input comes up at least once, spread over its elements.

    A function that is wrong for a single value meets it here.

    """
    events: list[int] = []
    for op in graph.input_ops:
        bits = int(op.type.width.max())
        events.append(min(-(-min(1 << bits, MOST_SWEPT) // op.type.size), MOST_SWEEP_EVENTS))
    count = max([1, *events])
    return tuple(_sweep(op.type, count) for op in graph.input_ops)


def _sweep(t: TensorType, events: int) -> IntArray:
    own = t.range()
    span = own.high - own.low + 1
    most = int(span.max())
    place = np.arange(events * t.size, dtype=np.int64).reshape(events, *t.shape)
    # Odd, so that codes of both kinds come up where not all can.
    step = most // (events * t.size) | 1
    codes = own.low + place * step % span
    return shift_codes(codes, np.where(t.width > 0, t.lsb - t.fraction, 0))


def adversarial_codes(graph: Graph) -> Codes:
    """Extremes, and `sweep_codes`."""
    return join_events([extreme_codes(graph), sweep_codes(graph)])


def all_events(
    graph: Graph, given: Sequence[IntArray] | None, random_events: int, seed: int
) -> Codes:
    """Adversarial events, random ones and those given, in this order."""
    parts = [adversarial_codes(graph), random_codes(graph, random_events, seed)]
    return join_events([*parts, *([tuple(given)] if given is not None else [])])
