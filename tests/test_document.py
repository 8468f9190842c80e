"""The page of a study for the documentation, and the goals on it."""

from __future__ import annotations

import dataclasses
import json

import pytest

from example_summary import estimate, example
from hairtrigger.errors import InputError, StorageError
from hairtrigger.metrics import fraction, turn_on
from hairtrigger.report import summary as s
from hairtrigger.report.document import write_document
from hairtrigger.report.goals import AIM, MISSED, MUST, UNKNOWN, reached
from hairtrigger.report.muon import within
from hairtrigger.studies.base import Goal
from hairtrigger.studies.muon_goals import GOALS


def with_row(key: str, *values: s.Estimate) -> s.Summary:
    made = example()
    assert made.evaluation is not None
    row = s.Row(key, key, "made up", "", "high", False, values)
    return dataclasses.replace(made, evaluation=dataclasses.replace(made.evaluation, rows=(row,)))


@pytest.mark.parametrize(
    ("value", "better", "state"),
    [
        *((0.97, "high", AIM), (0.9, "high", MUST), (0.88, "high", MUST), (0.8, "high", MISSED)),
        *((0.8, "low", AIM), (0.9, "low", MISSED), (0.88, "low", MUST)),
    ],
)
def test_a_goal_is_judged_by_the_value_of_the_chip(value, better, state):
    goals = (Goal("x", "x", "", better, 0.88, 0.97 if better == "high" else 0.85),)
    (found,) = reached(with_row("x", estimate(0.1), estimate(value)), goals)
    assert found.state == state
    assert found.measured.value == value


def test_a_goal_without_a_number_is_not_reached():
    (found,) = reached(example(), (Goal("nothing", "x", "", "low", 1),))
    assert found.state == UNKNOWN
    (empty,) = reached(
        with_row("x", s.Estimate(None, None, None, 0)), (Goal("x", "x", "", "low", 1),)
    )
    assert empty.state == UNKNOWN


def test_efficiency_lost_is_that_of_the_last_model_against_the_first():
    made = with_row("efficiency", s.Estimate(0.8, 0.7, 0.9, 10), s.Estimate(0.76, 0.72, 0.84, 10))
    (found,) = reached(made, (Goal("lost", "lost", "%", "low", 2, 0),))
    assert found.measured.value == pytest.approx(5)
    assert (found.measured.low, found.measured.high) == (
        pytest.approx(-5),
        pytest.approx(10),
    )
    assert found.state == MISSED


def test_numbers_of_the_chip_are_goals_too():
    made = example()
    goals = (Goal("latency_ns", "latency", "ns", "low", 1e9), Goal("lut", "LUT", "", "low", 0))
    latency, lut = reached(made, goals)
    assert latency.measured.value == made.chip.latency_ns
    assert (latency.state, lut.state) == (MUST, MISSED)


def test_bins_of_a_turn_on_curve_are_added_up():
    true = [10.5, 10.6, 11.5, 12.5]
    curve = turn_on(true, [11, 9, 11, 11], 10.0, tuple(map(float, range(3, 31))))
    assert within([curve], 10.0, 10.0, 12.0, 0.95) == fraction(2, 3, 0.95)


def test_page_json_and_picture(tmp_path):
    made = example()
    goals = reached(made, GOALS)
    (tmp_path / "study.notes.md").write_text("## Why\n\nBecause of noise.\n")
    files = write_document(tmp_path / "study.md", made, goals)
    assert sorted(path.name for path in files) == ["study.json", "study.md", "study.png"]
    text = (tmp_path / "study.md").read_text()
    assert text.endswith("## Why\n\nBecause of noise.\n")
    assert "| latency, whole image [ns] | at most 400 ns | at most 150 ns |" in text
    assert made.origin.command in text
    for line in text.splitlines():  # a bar inside a cell would make one too many
        if line.startswith("| ") and "predicted - true" in line:
            assert line.count("|") == 6
    record = json.loads((tmp_path / "study.json").read_text())
    assert record["summary"]["chip"]["latency_ns"] == made.chip.latency_ns
    assert len(record["goals"]) == len(GOALS)
    assert (tmp_path / "study.png").stat().st_size > 10_000


def test_what_cannot_be_a_page_is_refused(tmp_path):
    made = example()
    with pytest.raises(InputError, match=r"no \.md file"):
        write_document(tmp_path / "study.html", made, ())
    with pytest.raises(InputError, match="without evaluation"):
        write_document(tmp_path / "x.md", dataclasses.replace(made, evaluation=None), ())
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_document(tmp_path / "file" / "x.md", made, ())
