"""A study's page for the documentation: Markdown, the same numbers as JSON, and a figure.

NAME.md      tables of goals, networks and chip; ends with NAME.notes.md, if it is there
NAME.json    the summary of the run, and the goals
NAME.png     turn-on curves and pT resolution, of studies that have them
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hairtrigger.errors import InputError, StorageError
from hairtrigger.report import figures
from hairtrigger.report.goals import Reached
from hairtrigger.report.page import estimate, share, times, wall
from hairtrigger.report.summary import Evaluation, Summary
from hairtrigger.studies.base import Goal


@dataclass(frozen=True)
class Section:
    """A part of the page that another run made: Markdown, an SVG picture or None, its record."""

    name: str
    title: str
    text: str
    picture: str | None
    record: Mapping[str, Any]


NOTES = ".notes.md"
"""What people wrote about a page, such as why a goal is missed: kept beside it, and put into it."""


def write_document(
    path: Path, summary: Summary, goals: Sequence[Reached], sections: Sequence[Section] = ()
) -> tuple[Path, ...]:
    """Write the page ``path`` (NAME.md), NAME.json, NAME.png and the pictures of ``sections``
    (NAME-<section>.svg); gives what was written.

    Raises `InputError` for a path that is no .md file or a run without evaluation, `StorageError`
    where a file cannot be written.
    """
    if path.suffix != ".md":
        raise InputError(f"the page {path.name!r} is no .md file", "give a name that ends with .md")
    if summary.evaluation is None:
        raise InputError("a run without evaluation has no page", "give the run of a study")
    notes = path.with_name(path.stem + NOTES)
    try:
        said = notes.read_text(encoding="utf-8").strip() if notes.exists() else ""
        record = {
            "goals": [dataclasses.asdict(goal) for goal in goals],
            "summary": dataclasses.asdict(summary),
            **{section.name: section.record for section in sections},
        }
        files = {
            path: document(path.stem, summary, goals, said, sections),
            path.with_suffix(".json"): json.dumps(record, indent=1, allow_nan=False) + "\n",
        }
        files |= {
            path.with_name(_picture(path.stem, section)): section.picture
            for section in sections
            if section.picture is not None
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            file.write_text(text, encoding="utf-8")
        made = [*files]
        if summary.evaluation.turn_on:
            made.append(path.with_suffix(".png"))
            figures.save_study(made[-1], summary.evaluation)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}", "choose another path"
        ) from error
    return tuple(made)


def _picture(name: str, section: Section) -> str:
    return f"{name}-{section.name}.svg"


def document(
    name: str,
    summary: Summary,
    goals: Sequence[Reached],
    notes: str = "",
    sections: Sequence[Section] = (),
) -> str:
    """The page as Markdown; ``notes`` stand at its end."""
    evaluation = summary.evaluation
    assert evaluation is not None
    origin = summary.origin
    parts = [
        f"# {origin.title}",
        "\n".join(
            (
                f"Written by `hairtrigger report RUN --document {name}.md` from the run of",
                "",
                f"    {origin.command}",
                "",
                f"Commit {origin.commit or 'unknown'}, seed {origin.seed}, {origin.created[:10]}; "
                + ", ".join(f"{key} {version}" for key, version in summary.versions.items())
                + f". [{name}.json]({name}.json) holds every number with its events and seeds.",
                f"Intervals are at {100 * evaluation.confidence:g} %: {evaluation.intervals}.",
                "Data are simulated."
                if all(sample.seed is not None for sample in evaluation.samples)
                else "Data without a seed are recorded.",
            )
        ),
        "## Goals\n\n" + goal_table(goals),
        *([f"![Turn-on curves and resolution]({name}.png)"] if evaluation.turn_on else []),
        "## Networks\n\n" + model_table(evaluation),
        *(["## Number of muons\n\n" + confusion_table(evaluation)] if evaluation.confusion else []),
        "## The chip\n\n" + chip_text(summary),
        *(_section(name, section) for section in sections),
        "## Events\n\n" + sample_table(evaluation),
        "## Time\n\n" + time_table(summary),
    ]
    if notes:
        parts.append(notes)
    return "\n\n".join(parts) + "\n"


def _section(name: str, section: Section) -> str:
    text = f"## {section.title}\n\n{section.text}"
    if section.picture is None:
        return text
    return f"{text}\n\n![{section.title}]({_picture(name, section)})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def goal_table(goals: Sequence[Reached]) -> str:
    """Every goal, reached or not."""

    def limit(goal: Goal, value: float | None) -> str:
        return (
            ""
            if value is None
            else f"{'at most' if goal.better == 'low' else 'at least'} "
            + (f"{value:,g} {goal.unit}".strip())
        )

    rows = []
    for found in goals:
        measured, goal = found.measured, found.goal
        exact = measured.low == measured.high and measured.value is not None
        shown = f"{measured.value:,.6g}" if exact else estimate(measured)
        rows.append(
            (
                f"{goal.label} [{goal.unit}]" if goal.unit else goal.label,
                limit(goal, goal.must),
                limit(goal, goal.aim),
                shown,
                f"{measured.n:,}" if not exact else "",
                f"**{found.state}**",
            )
        )
    return table(("", "must", "aim", "measured", "events", "reached"), rows)


def model_table(evaluation: Evaluation) -> str:
    """The figures of all networks on the same events."""
    models = evaluation.models
    rows: list[tuple[str, ...]] = [
        ("weights", *(f"{m.weights:,}" for m in models), ""),
        ("EBOPs", *("" if m.ebops is None else f"{m.ebops:,.0f}" for m in models), ""),
        ("computed by", *(m.engine for m in models), ""),
    ]
    for row in evaluation.rows:
        label = f"{row.label} [{row.unit}]: {row.how}" if row.unit else f"{row.label}: {row.how}"
        events = dict.fromkeys(f"{value.n:,}" for value in row.values)
        cells = (estimate(value) for value in row.values)
        rows.append(
            (
                label.replace("|predicted - true pT|", "abs(predicted - true pT)").replace(
                    "|predicted - true eta|", "abs(predicted - true eta)"
                ),
                *cells,
                " / ".join(events),
            )
        )
    return table(("", *(m.name for m in models), "events"), rows)


def confusion_table(evaluation: Evaluation) -> str:
    """What the chip's network says of images with 0, 1, 2 and 3 muons, in per cent of each."""
    found = evaluation.confusion[-1]
    rows = [
        (
            f"{true} true",
            *(share(count / sum(row) if sum(row) else None) for count in row),
            f"{sum(row):,}",
        )
        for true, row in enumerate(found.counts)
    ]
    head = ("", *(f"{n} predicted" for n in range(len(found.counts))), "images")
    return f"{found.model}:\n\n" + table(head, rows)


def chip_text(summary: Summary) -> str:
    """Latency, interval, resources, and what was compared."""
    chip, proof = summary.chip, summary.proof
    text = (
        f"{chip.part} at {chip.clock_mhz:g} MHz: latency {chip.latency_clocks} clocks "
        f"({chip.latency_ns:.5g} ns, from the first word of an image; counted in simulation of the "
        f"emitted Verilog), a new image every {chip.interval_clocks} clocks "
        f"({chip.interval_ns:.5g} ns). {summary.synthesis.tool}, before placement; that the clock "
        "is reached is the estimate of a delay model.\n\n"
    )
    resources = [
        (r.name, f"{r.used:,}", share(r.share), r.how) for r in summary.synthesis.resources
    ]
    text += table(("", "used", "of the part", "counted"), resources)
    engines = [
        (e.engine, e.version, f"{e.events:,}", f"{e.values:,}", f"{e.differences:,}")
        for e in proof.engines
    ]
    text += (
        f"\n\nEngines compared bit by bit on {proof.events:,} events, {proof.adversarial:,} of "
        f"them adversarial and {proof.random:,} random (seed {proof.seed}):\n\n"
    )
    return text + table(("engine", "version", "events", "numbers", "differences"), engines)


def sample_table(evaluation: Evaluation) -> str:
    """What the networks were trained and tested on."""
    rows = [
        (s.name, f"{s.events:,}", "" if s.seed is None else str(s.seed)) for s in evaluation.samples
    ]
    return table(("sample", "events", "seed"), rows)


def time_table(summary: Summary) -> str:
    """Wall time of each stage."""
    rows = [(title, wall(seconds)) for title, seconds in times(summary.stages)]
    total = sum(stage.seconds for stage in summary.stages)
    return table(("stage", "time"), [*rows, ("all", wall(total))])
