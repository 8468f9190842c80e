"""Latency against clock: the points, the fastest clock, and which points none beats."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from hairtrigger.rtl.design import compile_graph
from hairtrigger.rtl.lower import lower
from hairtrigger.rtl.pareto import Point, curve, efficient, fastest_clock
from hairtrigger.runs.curve import read_points, read_source, write_points
from hairtrigger.targets import find_part
from test_fold import image_network

PART = find_part("xcvu13p")
GRAPH = image_network(4, 6)


def test_points_are_the_designs_that_the_compiler_makes() -> None:
    points = curve(GRAPH, PART, (100, 320, 5000), (1, 6))
    assert [(p.interval, p.clock_mhz) for p in points] == [
        (n, mhz) for n in (1, 6) for mhz in (100, 320, 5000)
    ]
    for point in points:
        if point.clock_mhz == 5000:
            assert point.latency is None
            assert "estimate" in point.limit
            continue
        clock = f"{point.clock_mhz} MHz"
        design = compile_graph(GRAPH, PART, clock, interval=point.interval)
        assert (point.latency, point.register_bits) == (
            design.latency,
            design.top.register_bits(),
        )
        assert point.latency_ns == pytest.approx(design.latency_ns)


def test_the_fastest_clock_is_the_last_that_is_reached() -> None:
    fastest = fastest_clock(lower(GRAPH), PART)
    slower, faster = curve(GRAPH, PART, (fastest, fastest + 2))
    assert slower.latency is not None
    assert faster.latency is None


def test_efficient_points_are_those_that_none_beats() -> None:
    def point(latency: float | None, interval: float, bits: int) -> Point:
        return Point(1.0, 1, interval, None if latency is None else 1, latency, bits, "")

    a, b, c, d = point(5, 2, 9), point(4, 3, 9), point(5, 3, 9), point(None, 1, 0)
    assert efficient([a, b, c, d]) == [a, b]
    assert efficient([a, a]) == [a, a]


def test_files_hold_the_same_points(tmp_path: Path) -> None:
    points = curve(GRAPH, PART, (100, 320, 5000), (1, 2))
    write_points(points, tmp_path, "estimate of a test")
    assert read_points(tmp_path) == points
    assert read_source(tmp_path) == "estimate of a test"
    with (tmp_path / "pareto.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(r["latency_ns"]) for r in rows if r["latency_ns"]] == [
        p.latency_ns for p in points if p.latency_ns is not None
    ]
    svg = (tmp_path / "pareto.svg").read_text()
    assert re.match("<svg role=", svg)
