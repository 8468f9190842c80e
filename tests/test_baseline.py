"""Baselines without a network, and what stands beside a run on its page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from example_summary import example
from hairtrigger import runs
from hairtrigger.errors import InputError, StorageError
from hairtrigger.fixed import Fixed
from hairtrigger.graph import Builder, TensorType
from hairtrigger.graph.linear import GlobalSum
from hairtrigger.graph.ops import Input
from hairtrigger.progress import Silent
from hairtrigger.records import read_record
from hairtrigger.report.document import document, write_document
from hairtrigger.runs import baseline, compare, learn, points, sweep
from hairtrigger.runs.baseline import BaselineRun
from hairtrigger.runs.beside import sections
from hairtrigger.runs.chip import Goal
from hairtrigger.studies import muon
from hairtrigger.studies.base import Baseline, Way
from hairtrigger.targets import find_part, parse_clock
from toy_study import Toy

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

GOAL = Goal(find_part("xcvu13p"), parse_clock("200MHz"), None)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    for module in (learn, points, baseline):
        monkeypatch.setattr(module, "sources_of", lambda study: [])
    monkeypatch.setattr("hairtrigger.pipeline.source_digest", lambda sources: "")
    return Toy()


def total() -> Baseline:
    """The sum of all five inputs, and its mean over the events."""
    builder = Builder("total")
    number = Fixed(signed=True, integer=4, fraction=2)
    inputs = builder.add(Input("x", TensorType.uniform((5,), number)))
    graph = builder.build({"out": builder.add(GlobalSum((0,)), inputs)})

    def judge(outputs: Any, samples: Any) -> Any:
        assert {name: len(values) for name, values in outputs.items()} == {"a": 100, "b": 200}
        return SimpleNamespace(mean=float(np.mean(outputs["a"])))

    return Baseline("A sum", graph, judge)


def run(toy: Toy, folder: Path, goal: Goal | None) -> BaselineRun:
    study = replace(toy.study(), baseline=lambda preset, seed: total())
    return baseline.run_baseline(study, toy.preset, 1, goal, folder, Silent())


def test_a_baseline_is_judged_proven_and_counted(tmp_path, toy):
    made = run(toy, tmp_path, GOAL)
    assert made.figures.samples == {"a": 100, "b": 200}
    assert made.figures.scores["mean"].value is not None
    assert made.proof is not None
    assert made.proof.events >= 300
    assert {"emulator", "Verilator"} <= {name.split()[0] for name in made.proof.engines}
    assert made.chip is not None
    assert made.chip.lut > 0
    assert made.chip.latency == made.proof.latency_clocks
    assert read_record(BaselineRun, tmp_path / "baseline.json") == made
    quick = run(toy, tmp_path / "quick", None)
    assert quick.figures == made.figures
    assert quick.proof is None


def test_a_study_without_baseline(tmp_path, toy):
    with pytest.raises(InputError, match="no baseline"):
        baseline.run_baseline(toy.study(), toy.preset, 1, None, tmp_path, Silent())


def test_sections_of_all_three_stand_on_the_page(tmp_path, toy):
    ways = (Way("float", "in float", {}), Way("narrow", "narrow", {"width": 2}, "float"))
    study = toy.study(ways)
    compare.compare(study, toy.preset, [1, 2], None, tmp_path / "c", Silent())
    sweep.sweep(study, toy.preset, 1, GOAL, 2, tmp_path / "s", Silent())
    run(toy, tmp_path / "b", None)
    found = sections([tmp_path / "c", tmp_path / "s", tmp_path / "b"])
    assert [section.name for section in found] == ["compare", "sweep", "baseline"]
    page = document("page", example(), (), "", found)
    for text in (
        "hairtrigger compare toy --preset tiny --seeds 2",
        "hairtrigger sweep toy --preset tiny --trials 2",
        "hairtrigger baseline toy --preset tiny --seed 1",
        "| narrow |",
        "![Accuracy against LUT](page-sweep.svg)",
    ):
        assert text in page
    write_document(tmp_path / "page.md", example(), (), found)
    assert (tmp_path / "page-compare.svg").read_text().startswith("<svg")
    record = json.loads((tmp_path / "page.json").read_text())
    assert record["compare"]["seeds"] == [1, 2]
    assert record["baseline"]["figures"]["title"] == "A sum"


def test_a_folder_of_none_of_them(tmp_path):
    with pytest.raises(StorageError, match="no finished comparison"):
        sections([tmp_path])


def test_the_muon_study_has_windows_to_beat():
    preset = replace(muon.SMOKE, train_events=8, validation_events=8, test_events=4000)
    preset = replace(preset, noise_events=4000)
    samples = muon.simulate(preset, 2)
    found = muon.STUDY.baseline(preset, 2)
    run, _ = learn.graph_outputs(found.graph, 12_000)
    outputs = {name: run(muon.STUDY.data(events)) for name, events in samples.test.items()}
    figures = found.judge(outputs, samples)
    assert figures.muons.efficiency.value > 0.9
    assert figures.muons.charge.value > 0.95
    assert all(entry.share.value < 0.002 for entry in figures.fakes)
    with pytest.raises(InputError, match="not known"):
        runs.run_baseline_of("nothing", folder=Path("unused"))
