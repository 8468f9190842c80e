"""Ways to make a student beside each other: each trained from several seeds, judged on one sample.

<folder>/stages/...             simulation, teacher, and of each way and seed its training and point
<folder>/compare.json .csv .svg    all points, and of each way the mean over the seeds and its error
"""

from __future__ import annotations

import csv
import dataclasses
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hairtrigger.errors import InputError
from hairtrigger.pipeline import run_stages, write_whole
from hairtrigger.progress import Reporter
from hairtrigger.records import to_text
from hairtrigger.runs.chip import Goal
from hairtrigger.runs.gather import commit, versions
from hairtrigger.runs.learn import one_student, samples_of, training_stages
from hairtrigger.runs.points import Point, point_stage, read_point

if TYPE_CHECKING:
    from hairtrigger.studies.base import Study, Way

COMPARE = "compare"


@dataclass(frozen=True)
class Spread:
    """A figure over the seeds: their mean, the standard error of the mean, and how many."""

    mean: float
    error: float | None
    seeds: int


@dataclass(frozen=True)
class Entry:
    """One way: its ``label``, the points of all seeds, and the figures over them by name."""

    name: str
    label: str
    points: tuple[Point, ...]
    figures: Mapping[str, Spread]


@dataclass(frozen=True)
class Comparison:
    """All ways of a study that were compared, on the same events. ``samples``: events by name."""

    study: str
    preset: str
    seeds: tuple[int, ...]
    samples: Mapping[str, int]
    entries: tuple[Entry, ...]
    commit: str | None
    versions: Mapping[str, str]


def compare(
    study: Study,
    preset: Any,
    seeds: Sequence[int],
    goal: Goal | None,
    folder: Path,
    reporter: Reporter,
) -> Comparison:
    """Train and judge every way; with a ``goal``, synthesise the first seed's quantised networks.

    The events and the teacher are those of the first seed; a seed decides first weights and the
    order of events. Raises `InputError` for a study with nothing to compare, and what a stage
    raises.
    """
    if not study.compared:
        raise InputError(
            f"study {study.name!r} has nothing to compare", "give its Study the tuple `compared`"
        )
    stages = training_stages(study, preset, seeds[0])[:2]
    wanted: list[tuple[Way, str]] = []
    for seed in seeds:
        for way in study.compared:
            varied = dataclasses.replace(preset, **way.changes)
            name = f"s{seed}_{way.name}"
            title = f"{way.label}, seed {seed}"
            start = None if way.start is None else f"s{seed}_{way.start}"
            stages.append(
                one_student(study, varied, seeds[0], seed, name, f"Train: {title}", start)
            )
            chip = goal if way.start is not None and seed == seeds[0] else None
            stages.append(point_stage(f"{name}_point", title, name, study, varied, seeds[0], chip))
            wanted.append((way, f"{name}_point"))
    done = run_stages(stages, folder, reporter)
    found = [(way, read_point(done[stage].folder)) for way, stage in wanted]
    samples = samples_of(study, preset, seeds[0], {"simulate": done["simulate"].folder})
    sizes = {name: len(events) for name, events in samples.test.items()}
    made = Comparison(
        study.name,
        preset.name,
        tuple(seeds),
        sizes,
        tuple(_entry(way, [p for w, p in found if w == way]) for way in study.compared),
        commit(),
        versions(),
    )
    write_comparison(made, folder)
    return made


def _entry(way: Way, points: Sequence[Point]) -> Entry:
    figures: dict[str, Spread] = {}
    for key in points[0].scores:
        values = [p.scores[key].value for p in points]
        numbers = [value for value in values if value is not None]
        if numbers:
            figures[key] = spread(numbers)
    for key in ("used", "ebops"):
        numbers = [float(value) for p in points if (value := getattr(p, key)) is not None]
        if numbers:
            figures[key] = spread(numbers)
    return Entry(way.name, way.label, tuple(points), figures)


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard error of the mean; no error for a single value."""
    count = len(values)
    error = statistics.stdev(values) / count**0.5 if count > 1 else None
    return Spread(statistics.fmean(values), error, count)


def spread_text(found: Spread | None, digits: int = 4) -> str:
    """Mean and error as text; empty for None."""
    if found is None:
        return ""
    error = "" if found.error is None else f" ± {found.error:.2g}"
    return f"{found.mean:,.{digits}g}{error}"


def write_comparison(made: Comparison, folder: Path) -> None:
    """Write compare.json, compare.csv and compare.svg. Raises StorageError."""
    from hairtrigger.report.figures import draw_comparison

    write_whole(folder / f"{COMPARE}.json", to_text(made))
    write_whole(folder / f"{COMPARE}.csv", _table(made))
    score = next(iter(made.entries[0].points[0].scores))
    found = [[p.scores[score].value or 0.0 for p in entry.points] for entry in made.entries]
    labels = [entry.label for entry in made.entries]
    write_whole(folder / f"{COMPARE}.svg", draw_comparison(labels, found, score))


def _table(made: Comparison) -> str:
    text = io.StringIO()
    rows = csv.writer(text)
    keys = list(dict.fromkeys(key for entry in made.entries for key in entry.figures))
    rows.writerow(["way", *(f"{key} {part}" for key in keys for part in ("mean", "error")), "lut"])
    for entry in made.entries:
        cells: list[Any] = []
        for key in keys:
            figure = entry.figures.get(key)
            cells += ["", ""] if figure is None else [figure.mean, figure.error]
        chips = [point.chip.lut for point in entry.points if point.chip is not None]
        rows.writerow([entry.name, *cells, chips[0] if chips else ""])
    return text.getvalue()
