"""Sweeps: every trial is a point, a sweep that was cut goes on, and the best are not beaten."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from hairtrigger import runs
from hairtrigger.errors import InputError, UnsupportedError
from hairtrigger.progress import Silent
from hairtrigger.records import read_record
from hairtrigger.runs import learn, points, sweep
from hairtrigger.runs.chip import Goal
from hairtrigger.runs.sweep import Swept, Trial, efficient
from hairtrigger.targets import find_part, parse_clock
from toy_study import Toy

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

GOAL = Goal(find_part("xcvu13p"), parse_clock("200MHz"), None)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    for module in (learn, points):
        monkeypatch.setattr(module, "sources_of", lambda study: [])
    monkeypatch.setattr("hairtrigger.pipeline.source_digest", lambda sources: "")
    return Toy()


def swept(toy: Toy, folder: Path, trials: int) -> Swept:
    toy.ran.clear()
    return sweep.sweep(toy.study(), toy.preset, 1, GOAL, trials, folder, Silent())


def test_each_trial_is_a_point_and_a_sweep_goes_on(tmp_path, toy):
    first = swept(toy, tmp_path, 2)
    assert [t.number for t in first.trials] == [0, 1]
    assert toy.ran[:3] == ["simulate", "teacher", "float_student"]
    again = swept(toy, tmp_path, 3)
    assert again.trials[:2] == first.trials
    assert toy.ran in ([], ["student"])  # a width that was there, or a new one
    for trial in again.trials:
        chip = trial.point.chip
        assert chip is not None
        assert chip.lut > 0
        assert trial.point.weights == 8 * trial.settings["width"] + 2
        assert 0 < trial.point.used <= trial.point.weights
        assert trial.point.engine.startswith("Graph")
    assert again.best
    assert read_record(Swept, tmp_path / "sweep.json") == again
    rows = list(csv.DictReader((tmp_path / "sweep.csv").read_text().splitlines()))
    assert [int(row["trial"]) for row in rows] == [0, 1, 2]
    assert "<svg" in (tmp_path / "sweep.svg").read_text()
    assert swept(toy, tmp_path, 3) == again
    assert toy.ran == []


def test_an_interrupted_trial_is_tried_again(tmp_path, toy):
    toy.accident = {"student": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        swept(toy, tmp_path, 1)
    lines = (tmp_path / "trials.log").read_text().splitlines()
    asked = [json.loads(line) for line in lines if "param_value_internal" in line]
    made = swept(toy, tmp_path, 1)
    assert toy.ran == ["student"]  # what had finished is not done again
    (trial,) = made.trials
    assert trial.settings["width"] == asked[0]["param_value_internal"]


def test_a_chip_without_room_is_refused_and_counts(tmp_path, toy, monkeypatch):
    def full(*_: Any) -> None:
        raise UnsupportedError("no room", "take a larger part")

    monkeypatch.setattr(points, "silicon", full)
    assert swept(toy, tmp_path, 2).trials == ()
    assert swept(toy, tmp_path, 2).trials == ()
    assert toy.ran == []


def test_a_study_with_nothing_to_vary_is_refused(tmp_path, toy):
    import dataclasses

    study = dataclasses.replace(toy.study(), vary=None)
    with pytest.raises(InputError, match="nothing to vary"):
        sweep.sweep(study, toy.preset, 1, GOAL, 1, tmp_path, Silent())


def test_the_best_are_those_that_none_beats():
    def trial(number: int, score: float, lut: int, ns: float) -> Trial:
        from hairtrigger.report.summary import Estimate

        chip = points.Silicon("p", 1.0, 1, lut, 0, 0, 1, ns)
        scores = {"x": Estimate(score, score, score, 2)}
        return Trial(number, {}, points.Point("p", 1, 1, None, "e", scores, chip))

    trials = [
        trial(0, 0.9, 100, 50),
        trial(1, 0.9, 100, 60),
        trial(2, 0.8, 90, 60),
        trial(3, 0.9, 100, 50),
    ]
    assert efficient(trials) == (0, 2, 3)


def test_the_muon_study_can_be_swept():
    import optuna

    study = runs._find("muon")[0]
    assert study.vary is not None
    trial = optuna.create_study().ask()
    varied = study.vary(trial, study.preset("smoke"))
    assert varied != study.preset("smoke")
    assert varied.train_events == study.preset("smoke").train_events
