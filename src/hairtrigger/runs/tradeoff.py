"""Methods that make a network blind, beside each other: what each knows of the signal and of S.

One stage for each method, strength and seed; a run that was cut goes on with the next.
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

from hairtrigger.pipeline import Stage, Workplace, write_whole
from hairtrigger.records import read_record, to_text

# Not only for type checking: `Point` is read back by its types. It imports no Keras.
from hairtrigger.studies.tau3mu import METHODS, Figures

if TYPE_CHECKING:
    from hairtrigger.studies.tau3mu import Tau3muPreset

TRADEOFF, POINT = "tradeoff", "point.json"
FILES = tuple(f"{TRADEOFF}.{suffix}" for suffix in ("json", "csv", "svg"))


@dataclass(frozen=True)
class Point:
    """One training: how, how strongly, from which seed, and its figures."""

    method: str
    strength: float
    seed: int
    figures: Figures


@dataclass(frozen=True)
class Tradeoff:
    """All trainings of a run."""

    study: str
    preset: str
    seed: int
    points: tuple[Point, ...]
    commit: str | None
    versions: Mapping[str, str]


def stage_name(method: str, strength: float, seed: int) -> str:
    """Name of the stage of one training."""
    short = method.replace(", twice the neurons", "_twice")
    return f"s{seed}_{short}" + (f"_{strength:g}".replace(".", "p") if strength else "")


def tradeoff_stages(
    preset: Tau3muPreset,
    seed: int,
    study: str,
    sources: tuple[str, ...],
    packages: tuple[str, ...],
) -> list[Stage]:
    """A stage for each training: every method at every strength (the plain network at none); and
    stage ``tradeoff``, which gathers them."""
    trainings = [
        _stage(preset, method, strength, drawn, sources, packages)
        for drawn in range(seed, seed + preset.seeds)
        for method in METHODS
        for strength in ((0.0,) if method == "plain" else preset.strengths)
    ]
    names = tuple(stage.name for stage in trainings)

    def gather(at: Workplace) -> None:
        from hairtrigger.runs.gather import commit, versions

        points = tuple(read_record(Point, at.inputs[name] / POINT) for name in names)
        made = Tradeoff(study, preset.name, seed, points, commit(), versions())
        write_tradeoff(made, at.folder)

    settings = {"study": study, "preset": preset.name, "seed": seed}
    drawn = ("report/tau3mu.py", "report/figures.py", "runs/tradeoff.py")
    title = "Draw the trade-off"
    return [*trainings, Stage(TRADEOFF, title, gather, settings, names, drawn, ("matplotlib",))]


def _stage(
    preset: Tau3muPreset,
    method: str,
    strength: float,
    seed: int,
    sources: tuple[str, ...],
    packages: tuple[str, ...],
) -> Stage:
    def work(at: Workplace) -> None:
        from hairtrigger.runs.learn import save
        from hairtrigger.studies import tau3mu
        from hairtrigger.studies.base import Trained
        from hairtrigger.studies.tau3mu_samples import SAMPLES, read_samples

        samples = read_samples(at.inputs["simulate"] / SAMPLES)
        model, history = tau3mu.train(method, strength, samples, preset, seed)
        save(at, Trained(model, history))
        point = Point(method, strength, seed, tau3mu.judge(model, samples, seed))
        (at.folder / POINT).write_text(to_text(point), encoding="utf-8")

    read = ("epochs", "batch", "learning_rate")
    settings: dict[str, Any] = {name: getattr(preset, name) for name in read}
    settings |= {"method": method, "strength": strength, "seed": seed}
    title = f"Train: {method}" + (f", strength {strength:g}" if strength else "") + f", seed {seed}"
    name = stage_name(method, strength, seed)
    return Stage(name, title, work, settings, ("simulate",), sources, packages)


def grouped(points: Sequence[Point]) -> dict[tuple[str, float], list[Figures]]:
    """The figures of all seeds, by method and strength."""
    found: dict[tuple[str, float], list[Figures]] = {}
    for point in points:
        found.setdefault((point.method, point.strength), []).append(point.figures)
    return found


def mean_error(found: Sequence[Figures], name: str) -> tuple[float, float | None] | None:
    """Mean of a figure over seeds and its standard error (None for one seed); None where there is
    no such figure."""
    values = [value for figures in found if (value := getattr(figures, name)) is not None]
    if not values:
        return None
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return statistics.fmean(values), error


FIGURES = tuple(field.name for field in dataclasses.fields(Figures))


def write_tradeoff(made: Tradeoff, folder: Path) -> None:
    """Write tradeoff.json, tradeoff.csv and tradeoff.svg. Raises StorageError."""
    from hairtrigger.report.tau3mu import draw_tradeoff

    write_whole(folder / f"{TRADEOFF}.json", to_text(made))
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["method", "strength", "seed", *FIGURES])
    for point in made.points:
        values = (getattr(point.figures, name) for name in FIGURES)
        rows.writerow([point.method, point.strength, point.seed, *values])
    write_whole(folder / f"{TRADEOFF}.csv", text.getvalue())
    write_whole(folder / f"{TRADEOFF}.svg", draw_tradeoff(grouped(made.points)))
