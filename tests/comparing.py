"""Two Graphs that should mean the same, run on the same events."""

from __future__ import annotations

import numpy as np

from hairtrigger.fixed import IntArray
from hairtrigger.graph import Graph, emulate_codes
from hairtrigger.graph.stimulus import extreme_codes, join_events, random_codes


def events_for(graph: Graph, events: int = 60) -> tuple[IntArray, ...]:
    return join_events([extreme_codes(graph), random_codes(graph, events, seed=7)])


def assert_same_values(a: Graph, b: Graph, codes: tuple[IntArray, ...]) -> None:
    """Equal real numbers at every output, whatever the types' LSBs."""
    for x, y, s, t in zip(
        emulate_codes(a, codes),
        emulate_codes(b, codes),
        a.output_types,
        b.output_types,
        strict=True,
    ):
        lsb = max(s.lsb, t.lsb)
        np.testing.assert_array_equal(
            x << (lsb - s.lsb), y << (lsb - t.lsb), err_msg=f"before\n{a}\nafter\n{b}"
        )


def ops_of(graph: Graph) -> list[str]:
    return [type(node.op).__name__ for node in graph.nodes]
