"""Comparisons: every way from every seed, kept stages, means with their errors."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from hairtrigger import runs
from hairtrigger.errors import InputError
from hairtrigger.progress import Silent
from hairtrigger.records import read_record
from hairtrigger.runs import compare, learn, points
from hairtrigger.runs.chip import Goal
from hairtrigger.runs.compare import Comparison, Spread, spread, spread_text
from hairtrigger.studies.base import Way
from hairtrigger.targets import find_part, parse_clock
from toy_study import Toy

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

GOAL = Goal(find_part("xcvu13p"), parse_clock("200MHz"), None)
WAYS = (
    Way("float", "in float", {}),
    Way("narrow", "narrow", {"width": 2}, "float"),
    Way("wide", "wide", {"width": 4}, "float"),
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    for module in (learn, points):
        monkeypatch.setattr(module, "sources_of", lambda study: [])
    monkeypatch.setattr("hairtrigger.pipeline.source_digest", lambda sources: "")
    return Toy()


def compared(toy: Toy, folder: Path, seeds: range, goal: Goal | None = None) -> Comparison:
    toy.ran.clear()
    study = toy.study(WAYS)
    return compare.compare(study, toy.preset, seeds, goal, folder, Silent())


def test_every_way_is_trained_from_every_seed_once(tmp_path, toy):
    first = compared(toy, tmp_path, range(1, 2))
    assert toy.ran == ["simulate", "teacher", "float_student", "student", "student"]
    both = compared(toy, tmp_path, range(1, 3))
    assert toy.ran == ["float_student", "student", "student"]
    assert [e.name for e in both.entries] == ["float", "narrow", "wide"]
    assert both.seeds == (1, 2)
    assert both.samples == {"a": 100, "b": 200}
    for entry, before in zip(both.entries, first.entries, strict=True):
        assert len(entry.points) == 2
        assert entry.points[0] == before.points[0]
        assert entry.figures["mean"].seeds == 2
    assert [e.points[0].weights for e in both.entries] == [26, 18, 34]
    assert read_record(Comparison, tmp_path / "compare.json") == both
    rows = list(csv.DictReader((tmp_path / "compare.csv").read_text().splitlines()))
    assert [row["way"] for row in rows] == ["float", "narrow", "wide"]
    assert all(row["lut"] == "" for row in rows)
    assert "<svg" in (tmp_path / "compare.svg").read_text()


def test_chips_are_those_of_the_first_seed(tmp_path, toy):
    made = compared(toy, tmp_path, range(1, 3), GOAL)
    chips = [[p.chip is not None for p in entry.points] for entry in made.entries]
    assert chips == [[False, False], [True, False], [True, False]]
    narrow, wide = (entry.points[0].chip for entry in made.entries[1:])
    assert narrow is not None
    assert wide is not None
    assert 0 < narrow.lut < wide.lut


def test_spread_is_the_standard_error_of_the_mean():
    assert spread([1.0, 2.0, 3.0]) == Spread(2.0, pytest.approx(3**-0.5), 3)
    assert spread([5.0]) == Spread(5.0, None, 1)
    assert spread_text(Spread(0.91234, 0.0012, 3)) == "0.9123 ± 0.0012"
    assert spread_text(Spread(1234.0, None, 1)) == "1,234"
    assert spread_text(None) == ""


def test_a_study_with_nothing_to_compare(tmp_path, toy):
    with pytest.raises(InputError, match="nothing to compare"):
        compare.compare(toy.study(), toy.preset, [1], None, tmp_path, Silent())


def test_the_muon_study_compares_ways_that_fit_its_preset():
    study = runs._find("muon")[0]
    floats = {way.name for way in study.compared if way.start is None}
    assert {way.start for way in study.compared if way.start} <= floats
    made = {(way.start, replace(study.preset("smoke"), **way.changes)) for way in study.compared}
    # The float ways start from nothing; two ways alike would compare a student with itself.
    assert len(made) == len(study.compared)
    with pytest.raises(InputError, match="seeds = 0"):
        runs.compare_study("muon", seeds=0, folder=Path("unused"))
