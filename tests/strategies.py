"""Hypothesis strategies: random well-typed Graphs, and events for them.

`hairtrigger.fuzz.generate` makes the Graphs; Hypothesis takes the decisions, so that it can shrink
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

from hairtrigger.fixed import Fixed, IntArray
from hairtrigger.fuzz.generate import MAX_BITS, random_events, random_graph
from hairtrigger.graph import Graph

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[Any]], Any]


class Drawn:
    """Choices that Hypothesis takes."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def pick(self, options: Sequence[T]) -> T:
        return self.draw(st.sampled_from(options))


def graphs(kind: str = "any", max_ops: int = 10, max_bits: int = MAX_BITS) -> Any:
    """Random Graphs; see `random_graph`."""

    def make(draw: Draw) -> Graph:
        return random_graph(Drawn(draw), kind, max_ops, max_bits)

    return st.composite(make)()


def codes_for(graph: Graph, events: int) -> st.SearchStrategy[tuple[IntArray, ...]]:
    """In-range codes of ``events`` events: up to half of them adversarial, the others random."""
    return st.integers(0, 2**32 - 1).map(lambda seed: random_events(graph, events, seed))


def fixeds(max_bits: int = MAX_BITS) -> st.SearchStrategy[Fixed]:
    """Formats of 0 to ``max_bits`` bits; integer or fraction may be negative."""

    def make(signed: bool, width: int, fraction: int) -> Fixed:
        width = max(width, int(signed))
        return Fixed(signed, width - signed - fraction, fraction)

    return st.builds(make, st.booleans(), st.integers(0, max_bits), st.integers(-5, 12))
