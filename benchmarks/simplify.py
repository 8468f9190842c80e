"""The page docs/benchmarks/simplify.md, .json and .svg of finished `hairtrigger simplify` runs.

    python benchmarks/simplify.py RUN [RUN ...] --estimates STUDY_RUN [...] > simplify.md

Points of several runs that start from the same student stand in one table; the .json and .svg are
written beside the page. ``--estimates``: finished runs of `hairtrigger run`, whose synthesised LUTs
are put beside the estimate, calibrated on the first.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from hairtrigger.explain.cost import calibration, lut_estimate
from hairtrigger.records import read_record, to_text
from hairtrigger.report.simplify import (
    bit_rows,
    draw_curve,
    markdown,
    rows_of,
    surrogate_rows,
)
from hairtrigger.report.summary import Synthesis
from hairtrigger.runs.chip import read_graph
from hairtrigger.runs.simplified import Simpler, Simplified

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks" / "simplify"
INTERVAL = 8
"""Clocks of 320 MHz from image to image in the muon study's runs."""
BITS = 12
"""Bits of each end of their table that the page shows."""


def joined(runs: list[Path]) -> Simplified:
    """The runs as one: points of the same name once, the first tables of bits and surrogate.

    Where runs trained for different numbers of epochs, the names of their points say how many.
    """
    found = [read_record(Simplified, run / "simplify.json") for run in runs]
    first = found[0]
    if any(made.points[0].scores != first.points[0].scores for made in found):
        raise SystemExit("These runs do not start from the same student and events.")
    if len({made.epochs for made in found}) > 1:
        found = [dataclasses.replace(made, points=_with_epochs(made)) for made in found]
    points = {point.name: point for made in reversed(found) for point in reversed(made.points)}
    order = dict.fromkeys(point.name for made in found for point in made.points)
    return dataclasses.replace(
        first,
        points=tuple(points[name] for name in order),
        bits=next((made.bits for made in found if made.bits), ()),
        surrogate=next((made.surrogate for made in found if made.surrogate), None),
    )


def _with_epochs(made: Simplified) -> tuple[Simpler, ...]:
    start, *others = made.points
    said = f", {made.epochs} epoch{'s' if made.epochs > 1 else ''}"
    return (start, *(dataclasses.replace(point, name=point.name + said) for point in others))


def estimates(runs: list[Path]) -> str:
    """Synthesised LUTs beside the estimate."""
    rows, scale = [], None
    for run in runs:
        graph = read_graph(run / "stages" / "convert")
        record = read_record(Synthesis, run / "stages" / "synthesise" / "synthesis.json")
        lut = next(r.used for r in record.resources if r.name == "LUT")
        scale = scale or calibration(graph, INTERVAL, lut)
        said = scale * sum(lut_estimate(graph, INTERVAL))
        rows.append([run.name, f"{lut:,}", f"{said:,.0f}", f"{100 * (said / lut - 1):+.1f} %"])
    return markdown(["run", "LUT", "estimate", "off"], rows)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--estimates", nargs="*", type=Path, default=[])
    asked = parser.parse_args()
    made = joined(asked.runs)
    PAGE.with_suffix(".json").write_text(to_text(made), encoding="utf-8")
    PAGE.with_suffix(".svg").write_text(draw_curve(made), encoding="utf-8")
    samples = ", ".join(f"{count:,} of {name}" for name, count in made.samples.items())
    print(f"# Simplification by importance: {made.study}\n")
    print(f"Events judged: {samples}; 95 % intervals. Commit {made.commit}.\n")
    print(markdown(*rows_of(made)))
    print("![The score of each point against its LUTs](simplify.svg)\n")
    if asked.estimates:
        print("## The estimate of LUTs beside synthesis\n")
        print(estimates(asked.estimates))
    if made.bits:
        heads, rows = bit_rows(made.bits)
        few = rows if len(rows) <= 2 * BITS else [*rows[:BITS], *rows[-BITS:]]
        print(f"## What a bit is worth: the first and last {BITS} of {len(rows)}\n")
        print(markdown(heads, few))
    if made.surrogate:
        print(f"## The student as a {made.surrogate.kind} of {made.surrogate.size} leaves\n")
        print(markdown(*surrogate_rows(made.surrogate)))
        print(f"```\n{made.surrogate.text}```\n")
    notes = PAGE.with_suffix(".notes.md")
    if notes.exists():
        print(notes.read_text(encoding="utf-8").strip())


if __name__ == "__main__":
    main()
