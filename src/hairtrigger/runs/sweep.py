"""Sweeps a study's student: accuracy against LUTs against nanoseconds, by Optuna, resumable.

<folder>/stages/...        simulation, teacher, float student; of each trial training and point
<folder>/trials.log        Optuna's journal: a sweep that was cut goes on from it
<folder>/sweep.json .csv .svg    all points, and those that no other beats
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hairtrigger.errors import InputError, UnsupportedError
from hairtrigger.pipeline import Stage, run_stages, write_whole
from hairtrigger.progress import Reporter
from hairtrigger.records import from_json, to_text
from hairtrigger.runs.chip import Goal
from hairtrigger.runs.learn import one_student, training_stages
from hairtrigger.runs.points import Point, point_stage, read_point
from hairtrigger.runs.trials import JOURNAL, failed, open_journal

if TYPE_CHECKING:
    from hairtrigger.studies.base import Study

SWEEP = "sweep"
DIRECTIONS = ("maximize", "minimize", "minimize")
"""Of the score, LUT and latency."""


@dataclass(frozen=True)
class Trial:
    """What was tried: the suggested ``settings``, and the point that came of them."""

    number: int
    settings: Mapping[str, Any]
    point: Point


@dataclass(frozen=True)
class Swept:
    """A sweep: its trials in order, and the numbers of those that none beats.

    ``score`` is the study's figure that stands against LUT and latency; more of it is better.
    """

    study: str
    preset: str
    seed: int
    score: str
    trials: tuple[Trial, ...]
    best: tuple[int, ...]


def sweep(
    study: Study, preset: Any, seed: int, goal: Goal, trials: int, folder: Path, reporter: Reporter
) -> Swept:
    """Try settings until ``trials`` of them are done, counting those of earlier calls.

    The first score of the study is maximised, LUT and latency are minimised. A trial whose design
    does not fit the part is refused, and counts. Raises `InputError` for a study that has nothing
    to vary, `ToolError` without Optuna, `StorageError` for the folder, and what a stage raises.
    """
    if study.vary is None:
        raise InputError(
            f"study {study.name!r} has nothing to vary", "give its Study a function `vary`"
        )
    base = training_stages(study, preset, seed)[:3]
    run_stages(base, folder, reporter)
    held = open_journal(folder / JOURNAL, study.name, seed, DIRECTIONS)
    while len(_done(held)) < trials:
        trial = held.ask()
        varied = study.vary(trial, preset)
        reporter.note(f"trial {trial.number}: {json.dumps(trial.params)}")
        stages = [*base, *_stages(study, varied, seed, goal)]
        try:
            point = read_point(run_stages(stages, folder, reporter)[stages[-1].name].folder)
        except UnsupportedError as error:
            reporter.note(f"trial {trial.number} has no chip: {error}")
            trial.set_user_attr("refused", str(error))
            held.tell(trial, state=failed())
            continue
        trial.set_user_attr("point", json.loads(to_text(point)))
        held.tell(trial, _values(point))
        write_sweep(_swept(held, study, preset, seed), folder)
    made = _swept(held, study, preset, seed)
    write_sweep(made, folder)
    return made


def _stages(study: Study, varied: Any, seed: int, goal: Goal) -> list[Stage]:
    """Of one trial; equal settings have equal names, so that nothing is trained twice."""
    text = json.dumps(dataclasses.asdict(varied), sort_keys=True)
    name = f"t{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    student = one_student(study, varied, seed, seed, name, "Train a student", "float_student")
    return [student, point_stage(f"{name}_point", name, name, study, varied, seed, goal)]


def _done(held: Any) -> list[Any]:
    """Trials with a point, and those that were refused."""
    trials = held.get_trials(deepcopy=False)
    return [t for t in trials if {"point", "refused"} & set(t.user_attrs)]


def _values(point: Point) -> tuple[float, float, float]:
    assert point.chip is not None
    return _score(point), point.chip.lut, point.chip.latency_ns


def _score(point: Point) -> float:
    value = next(iter(point.scores.values())).value
    return 0.0 if value is None else value


def _swept(held: Any, study: Study, preset: Any, seed: int) -> Swept:
    trials = [
        Trial(t.number, t.params, from_json(Point, t.user_attrs["point"]))
        for t in _done(held)
        if "point" in t.user_attrs
    ]
    score = next(iter(trials[0].point.scores), "") if trials else ""
    return Swept(study.name, preset.name, seed, score, tuple(trials), efficient(trials))


def efficient(trials: Sequence[Trial]) -> tuple[int, ...]:
    """Numbers of the trials that no other beats in score, LUT and latency at once."""

    def beats(a: Trial, b: Trial) -> bool:
        x, y = _values(a.point), _values(b.point)
        ahead = (x[0] - y[0], y[1] - x[1], y[2] - x[2])
        return min(ahead) >= 0 and max(ahead) > 0

    return tuple(t.number for t in trials if not any(beats(other, t) for other in trials))


# --- what it leaves ------------------------------------------------------------------------------


def write_sweep(made: Swept, folder: Path) -> None:
    """Write sweep.json, sweep.csv and sweep.svg. Raises StorageError."""
    write_whole(folder / f"{SWEEP}.json", to_text(made))
    write_whole(folder / f"{SWEEP}.csv", _table(made))
    if made.trials:
        from hairtrigger.report.figures import draw_sweep

        points = [(t.point, t.number in made.best) for t in made.trials if t.point.chip]
        drawn = [
            (p.chip.lut, p.scores[made.score], p.chip.latency_ns, best)
            for p, best in points
            if p.chip is not None
        ]
        write_whole(folder / f"{SWEEP}.svg", draw_sweep(drawn, made.score))


def _table(made: Swept) -> str:
    text = io.StringIO()
    rows = csv.writer(text)
    settings = sorted({key for t in made.trials for key in t.settings})
    scores = list(dict.fromkeys(key for t in made.trials for key in t.point.scores))
    rows.writerow(
        ["trial", *settings, "weights", "used", "ebops", *scores, "lut", "ff", "latency_ns", "best"]
    )
    for t in made.trials:
        chip = t.point.chip
        assert chip is not None
        rows.writerow(
            [
                *(t.number, *(t.settings.get(key, "") for key in settings)),
                *(t.point.weights, t.point.used, t.point.ebops),
                *(t.point.scores[key].value for key in scores),
                *(chip.lut, chip.ff, chip.latency_ns, int(t.number in made.best)),
            ]
        )
    return text.getvalue()
