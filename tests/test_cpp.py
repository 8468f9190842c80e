"""C++: the compiled Graph gives the emulator's integers, alone and in blocks of events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from cpp_batch import QUICK, compile_all
from hairtrigger.cpp.library import Library, compiler_flags
from hairtrigger.fixed import IntArray
from hairtrigger.graph import Graph
from hairtrigger.graph.emulate import emulate_steps
from hairtrigger.graph.stimulus import extreme_codes, join_events, random_codes
from strategies import graphs

EVENTS = 300


def events_for(graph: Graph, events: int = EVENTS) -> tuple[IntArray, ...]:
    """Extremes and random events; one more than blocks of 32 hold."""
    codes = join_events([extreme_codes(graph), random_codes(graph, events, seed=1)])
    return tuple(x[: len(x) // 32 * 32 + 1] for x in codes)


def check(library: Library, codes: tuple[IntArray, ...]) -> None:
    graph = library.graph
    events = len(codes[0]) if codes else 20
    expected, after = emulate_steps(graph, codes, steps=events)
    small = [x.astype(d) for x, d in zip(codes, library.in_dtypes, strict=True)]
    found, state = library.steps_from(small, None, events)
    for got, want in zip((*found, *state), (*expected, *after), strict=True):
        np.testing.assert_array_equal(got, want, err_msg=str(graph))
    if not graph.pure:
        return
    # One event alone goes another way than a block of them.
    for n in range(0, len(expected[0]), 7):
        for got, want in zip(library(*(x[n : n + 1] for x in small)), expected, strict=True):
            np.testing.assert_array_equal(got, want[n : n + 1], err_msg=str(graph))


@pytest.mark.parametrize(
    ("kind", "max_bits", "examples", "flags"),
    [
        ("any", 24, 50, QUICK),
        ("any", 45, 20, QUICK),
        ("mlp", 24, 15, QUICK),
        ("cnn", 24, 30, QUICK),
        ("stateful", 24, 30, QUICK),
        ("any", 12, 8, None),
        ("cnn", 8, 6, None),
    ],
)
def test_random_graphs_agree_with_the_emulator(
    kind: str, max_bits: int, examples: int, flags: tuple[str, ...] | None, tmp_path: Path
) -> None:
    found: list[Graph] = []

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(graphs(kind=kind, max_bits=max_bits))
    def draw(graph: Graph) -> None:
        found.append(graph)

    draw()
    if flags is None:
        assert compiler_flags() != QUICK
    for library in compile_all(found, tmp_path, flags):
        check(library, events_for(library.graph))
