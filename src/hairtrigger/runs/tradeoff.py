"""Methods that make a network blind, beside each other: what each knows of the signal and of S.

One stage tunes each method, one trains it for each strength and seed; a run that was cut goes on
with the next.
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
from hairtrigger.runs.trials import JOURNAL, open_journal

# Not only for type checking: `Point` is read back by its types. They import no Keras.
from hairtrigger.studies.tau3mu import METHODS
from hairtrigger.studies.tau3mu_figures import Figures, Known, Point
from hairtrigger.studies.tau3mu_recipe import DEFAULT, Recipe

if TYPE_CHECKING:
    from hairtrigger.studies.tau3mu import Tau3muPreset

TRADEOFF, POINTS, TUNED = "tradeoff", "points.json", "tuned.json"
FILES = tuple(f"{TRADEOFF}.{suffix}" for suffix in ("json", "csv", "svg"))


@dataclass(frozen=True)
class Trial:
    """One trial of a method: its recipe, what it was worth at each strength, and their mean."""

    recipe: Recipe
    worths: tuple[float, ...]
    worth: float


@dataclass(frozen=True)
class Tuned:
    """The best recipe of a method, and all that were tried, each at every one of ``strengths``."""

    method: str
    strengths: tuple[float, ...]
    recipe: Recipe
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Points:
    """What one training gave."""

    points: tuple[Point, ...]


@dataclass(frozen=True)
class Tradeoff:
    """All trainings of a run, and how their methods were tuned."""

    study: str
    preset: str
    seed: int
    tuned: tuple[Tuned, ...]
    points: tuple[Point, ...]
    commit: str | None
    versions: Mapping[str, str]


def stage_name(method: str, strength: float, seed: int) -> str:
    """Name of the stage of one training."""
    return f"s{seed}_{_short(method)}" + (f"_{strength:g}".replace(".", "p") if strength else "")


def tuning_name(method: str) -> str:
    """Name of the stage that tunes a method."""
    return f"tune_{_short(method)}"


def _short(method: str) -> str:
    return method.replace(", twice the neurons", "_twice")


def tradeoff_stages(
    preset: Tau3muPreset,
    seed: int,
    study: str,
    sources: tuple[str, ...],
    packages: tuple[str, ...],
) -> list[Stage]:
    """A stage that tunes each method; one for each training: every method at every strength (the
    plain network at none); and stage ``tradeoff``, which gathers them."""
    tunings = [_tuning(preset, method, seed, sources, packages) for method in METHODS]
    trainings = [
        _training(preset, method, strength, drawn, sources, packages)
        for drawn in range(seed, seed + preset.seeds)
        for method in METHODS
        for strength in ((0.0,) if method == "plain" else preset.strengths)
    ]
    tuned = tuple(stage.name for stage in tunings)
    trained = tuple(stage.name for stage in trainings)

    def gather(at: Workplace) -> None:
        from hairtrigger.runs.gather import commit, versions

        found = tuple(read_record(Tuned, at.inputs[name] / TUNED) for name in tuned)
        points = tuple(
            point
            for name in trained
            for point in read_record(Points, at.inputs[name] / POINTS).points
        )
        made = Tradeoff(study, preset.name, seed, found, points, commit(), versions())
        write_tradeoff(made, at.folder)

    settings = {"study": study, "preset": preset.name, "seed": seed}
    drawn = ("report/tau3mu_tradeoff.py", "report/figures.py", "runs/tradeoff.py")
    end = Stage(
        TRADEOFF,
        "Draw the trade-off",
        gather,
        settings,
        (*tuned, *trained),
        drawn,
        ("matplotlib",),
    )
    return [*tunings, *trainings, end]


def _tuning(
    preset: Tau3muPreset, method: str, seed: int, sources: tuple[str, ...], packages: Sequence[str]
) -> Stage:
    def work(at: Workplace) -> None:
        from hairtrigger.studies import tau3mu
        from hairtrigger.studies.tau3mu_recipe import TUNED_AT, suggested, worth
        from hairtrigger.studies.tau3mu_samples import SAMPLES, read_samples

        samples = read_samples(at.inputs["simulate"] / SAMPLES)
        held = open_journal(at.partial / JOURNAL, tuning_name(method), seed, ["maximize"])
        if not held.get_trials(deepcopy=False):
            held.enqueue_trial(dataclasses.asdict(DEFAULT))
        strengths = (0.0,) if method == "plain" else TUNED_AT
        while (done := len(_finished(held))) < preset.trials:
            at.progress(done, preset.trials)
            trial = held.ask()
            recipe, worths = suggested(trial, method), list[float]()
            for strength in strengths:
                model, _ = tau3mu.train(method, strength, samples, preset.epochs, seed, recipe)
                worths.append(worth(model, samples.validation))
            trial.set_user_attr("recipe", dataclasses.asdict(recipe))
            trial.set_user_attr("worths", worths)
            held.tell(trial, statistics.fmean(worths))
        trials = tuple(
            Trial(Recipe(**t.user_attrs["recipe"]), tuple(t.user_attrs["worths"]), t.value)
            for t in _finished(held)
        )
        best = max(trials, key=lambda trial: trial.worth)
        text = to_text(Tuned(method, strengths, best.recipe, trials))
        (at.folder / TUNED).write_text(text, encoding="utf-8")

    settings = {"epochs": preset.epochs, "trials": preset.trials, "method": method, "seed": seed}
    used = (*sources, "runs/trials.py")
    name, title = tuning_name(method), f"Tune: {method}"
    return Stage(name, title, work, settings, ("simulate",), used, (*packages, "optuna"))


def _finished(held: Any) -> list[Any]:
    return [t for t in held.get_trials(deepcopy=False) if t.value is not None]


def recipe_of(tuning: Path) -> Recipe:
    """The best recipe of a finished tuning stage."""
    return read_record(Tuned, tuning / TUNED).recipe


def _training(
    preset: Tau3muPreset,
    method: str,
    strength: float,
    seed: int,
    sources: tuple[str, ...],
    packages: tuple[str, ...],
) -> Stage:
    tuning = tuning_name(method)

    def work(at: Workplace) -> None:
        from hairtrigger.runs.learn import save
        from hairtrigger.studies import tau3mu
        from hairtrigger.studies.base import Trained
        from hairtrigger.studies.tau3mu_figures import judged_ways, known
        from hairtrigger.studies.tau3mu_samples import SAMPLES, read_samples

        samples = read_samples(at.inputs["simulate"] / SAMPLES)
        recipe, plane = recipe_of(at.inputs[tuning]), list[Known]()

        def each(model: Any, epoch: int) -> None:
            at.progress(epoch, preset.epochs)
            if method == "coins":
                plane.append(known(model, samples.validation, epoch))

        model, history = tau3mu.train(
            method, strength, samples, preset.epochs, seed, recipe, each=each
        )
        save(at, Trained(model, history))
        points = tuple(
            Point(way, strength, seed, figures, tuple(plane) if way == method else ())
            for way, figures in judged_ways(method, model, samples, seed).items()
        )
        (at.folder / POINTS).write_text(to_text(Points(points)), encoding="utf-8")

    settings: dict[str, Any] = {"epochs": preset.epochs}
    settings |= {"method": method, "strength": strength, "seed": seed}
    title = f"Train: {method}" + (f", strength {strength:g}" if strength else "") + f", seed {seed}"
    name = stage_name(method, strength, seed)
    return Stage(name, title, work, settings, ("simulate", tuning), sources, packages)


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


FIGURES = tuple(f.name for f in dataclasses.fields(Figures) if f.name != "efficiencies")
"""Those that are one number."""


def write_tradeoff(made: Tradeoff, folder: Path) -> None:
    """Write tradeoff.json, tradeoff.csv and tradeoff.svg. Raises StorageError."""
    from hairtrigger.report.tau3mu_tradeoff import draw_tradeoff

    write_whole(folder / f"{TRADEOFF}.json", to_text(made))
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["method", "strength", "seed", *FIGURES])
    for point in made.points:
        values = (getattr(point.figures, name) for name in FIGURES)
        rows.writerow([point.method, point.strength, point.seed, *values])
    write_whole(folder / f"{TRADEOFF}.csv", text.getvalue())
    write_whole(folder / f"{TRADEOFF}.svg", draw_tradeoff(made.points))
