"""The stage that draws latency against clock for a converted network: table, CSV and figure."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import asdict, fields
from pathlib import Path

from hairtrigger.pipeline import Finished, Stage, Workplace
from hairtrigger.rtl.pareto import CLOCKS_MHZ, Point, curve, efficient
from hairtrigger.runs.chip import Goal, read_graph
from hairtrigger.targets import LABEL, delay_model

FILES = ("pareto.json", "pareto.csv", "pareto.svg")


def curve_stage(goal: Goal, intervals: tuple[int, ...]) -> Stage:
    """Stage ``pareto``: a point for each interval and each of `CLOCKS_MHZ` and the goal's clock."""
    clocks = tuple(sorted({*map(float, CLOCKS_MHZ), goal.clock.mhz}))

    def work(at: Workplace) -> None:
        graph = read_graph(at.inputs["convert"])
        points: list[Point] = []
        for n, interval in enumerate(intervals):
            at.progress(n, len(intervals))
            points += curve(graph, goal.part, clocks, (interval,), goal.axis)
        write_points(points, at.folder, delay_model(goal.part).source)

    return Stage(
        "pareto",
        "Latency against clock",
        work,
        {"part": goal.part.name, "clocks": clocks, "intervals": intervals, "axis": goal.axis},
        ("convert",),
        ("fixed.py", "graph", "rtl", "targets", "runs/curve.py", "runs/chip.py"),
        ("da4ml", "matplotlib"),
    )


def write_points(points: list[Point], folder: Path, source: str) -> None:
    """Write pareto.json, pareto.csv and pareto.svg; ``source``: what the delays rest on."""
    record = {
        "clock": LABEL,
        "delays": source,
        "points": [asdict(point) for point in points],
    }
    (folder / FILES[0]).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    with (folder / FILES[1]).open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, [field.name for field in fields(Point)])
        rows.writeheader()
        rows.writerows(asdict(point) for point in points)
    (folder / FILES[2]).write_text(draw(points), encoding="utf-8")


def draw(points: list[Point]) -> str:
    """Latency in ns against clock in MHz, a line for each interval, as SVG."""
    from hairtrigger.report.figures import draw_latency

    lines = {
        f"every {interval} clock" + ("s" if interval > 1 else ""): [
            (p.clock_mhz, p.latency_ns)
            for p in points
            if p.interval == interval and p.latency_ns is not None
        ]
        for interval in dict.fromkeys(p.interval for p in points)
    }
    best = [(p.clock_mhz, p.latency_ns) for p in efficient(points) if p.latency_ns is not None]
    return draw_latency(lines, best)


def read_points(folder: Path) -> list[Point]:
    """The points that `write_points` wrote."""
    record = json.loads((folder / FILES[0]).read_text(encoding="utf-8"))
    return [Point(**point) for point in record["points"]]


def read_source(folder: Path) -> str:
    """What the delays rest on, as `write_points` wrote it."""
    return json.loads((folder / FILES[0]).read_text(encoding="utf-8"))["delays"]


def show_files(made: Finished, folder: Path) -> None:
    """Copies of the files beside the report."""
    for name in FILES:
        shutil.copy2(made.folder / name, folder / name)
