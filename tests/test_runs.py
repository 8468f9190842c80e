"""A whole run of a study that takes no time: which stages run when, and what the run leaves."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hairtrigger import runs
from hairtrigger.errors import MismatchError, StorageError, UnsupportedError
from hairtrigger.progress import Lines
from hairtrigger.report.summary import summary_problems
from hairtrigger.runs import gather, learn
from hairtrigger.runs.chip import design_name, parse_format, read_graph
from toy_study import Toy

# Keras saves variables through an interface that NumPy is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROOT = Path(__file__).parents[1]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    made = Toy()
    monkeypatch.setattr(runs, "_find", lambda name: (made.study(), made.judge))
    # The toy has no file of its own, and the sources may be edited while tests run.
    monkeypatch.setattr(learn, "sources_of", lambda study: [])
    monkeypatch.setattr("hairtrigger.pipeline.source_digest", lambda sources: "")
    return made


ALL = ["simulate", "teacher", "float_student", "student", "judge"]


def test_a_run_leaves_a_checked_summary_and_a_second_one_reuses_all(toy, tmp_path, capsys):
    made = toy.run(tmp_path, command="hairtrigger run toy")
    assert toy.ran == ALL
    found = json.loads((tmp_path / "summary.json").read_text())
    assert summary_problems(found) == []
    assert made.summary.proof.passed
    assert made.summary.proof.latency_clocks == made.summary.chip.latency_clocks
    assert made.summary.proof.events > 20000
    assert made.summary.origin.command == "hairtrigger run toy"
    assert [stage.name for stage in made.summary.stages][:4] == ALL[:4]
    assert made.page.read_text().count("<svg") == 5
    assert (tmp_path / "project" / "toy.v").exists()

    toy.run(tmp_path, reporter=Lines())
    assert toy.ran == []
    assert capsys.readouterr().err.count("unchanged, reused") == 10

    # Another clock: nothing is simulated or trained again, only built.
    with pytest.raises(UnsupportedError, match=r"100 MHz\), where 1 ns are allowed"):
        toy.run(tmp_path, clock="100MHz", latency="1 ns")
    assert toy.ran == []

    # Back again, and a damaged Graph: it is made again, and since it is the same, nothing else is.
    toy.run(tmp_path)
    graph = tmp_path / "stages" / "convert" / "graph.txt"
    graph.write_bytes(graph.read_bytes()[:-10])
    capsys.readouterr()
    toy.run(tmp_path, reporter=Lines())
    assert toy.ran == []
    said = capsys.readouterr().err
    assert "convert is done again: graph.txt has changed" in said
    assert said.count("unchanged, reused") == 9

    (tmp_path / "summary.json").write_text('{"schema": "hairtrigger-summary/0"}')
    with pytest.raises(StorageError, match="no summary of this hairtrigger"):
        runs.render_again(tmp_path)


def test_an_interrupt_keeps_what_is_finished(toy, tmp_path):
    toy.accident["student"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        toy.run(tmp_path)
    assert not (tmp_path / "report.html").exists()
    assert not (tmp_path / "stages" / "student").exists()
    toy.accident["judge"] = OSError(28, "No space left on device")
    with pytest.raises(StorageError, match="has no room left"):
        toy.run(tmp_path)
    assert toy.ran == ["student", "judge"]
    toy.run(tmp_path)
    assert toy.ran == ["judge"]


def test_an_engine_that_differs_ends_the_run_with_a_reproducer(toy, tmp_path, monkeypatch):
    from hairtrigger.frontends import hgq

    right = hgq.keras_values

    def wrong(*args: Any, **options: Any) -> Any:
        values = right(*args, **options)
        values[0][-1] += 1
        return values

    monkeypatch.setattr(hgq, "keras_values", wrong)
    with pytest.raises(MismatchError, match="Keras differs from the emulator"):
        toy.run(tmp_path)
    assert list((tmp_path / "reproducers").rglob("difference.json"))
    assert not (tmp_path / "stages" / "verify").exists()
    assert not (tmp_path / "report.html").exists()


def test_names_and_formats():
    assert design_name("my model (v2).final") == "my_model_v2_final"
    assert design_name("3.5") == "net_3_5"
    assert design_name("Größe") == "gr_e"
    assert parse_format("s4.3").width == 8
    assert parse_format("u-1.6").width == 5


def test_a_graph_that_is_gone_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match=r"graph\.txt cannot be read"):
        read_graph(tmp_path)


def test_the_commit_is_that_of_the_source(monkeypatch, tmp_path):
    monkeypatch.setattr(gather, "PACKAGE", tmp_path)
    assert gather.commit() is None


def test_only_numbers_that_training_sets_count_as_weights():
    def variables() -> Iterator[Any]:
        for path, shape in [("a/kernel", (3, 4)), ("a/bias", (4,)), ("a/kq/f", (3, 4))]:
            yield SimpleNamespace(path=path, shape=shape)

    assert learn.count_weights(SimpleNamespace(trainable_variables=list(variables()))) == 16


def test_the_example_of_the_readme_works_as_written(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert "ONNX Runtime" in out
    assert re.search(r"[\d.]+ ns, \d+ LUT", out)


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_links_of_the_pages_lead_somewhere(page):
    text = (ROOT / page).read_text()
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    missing = [link for link in links if not ((ROOT / page).parent / link).exists()]
    assert missing == []


@pytest.mark.slow
def test_the_muon_study_goes_the_whole_way(tmp_path):
    made = runs.run_study("muon", preset="smoke", folder=tmp_path)
    assert made.summary.proof.passed
    assert made.summary.proof.events >= 20_000
    assert len(made.summary.proof.engines) == 4
    assert made.summary.chip.latency_ns <= 400
    assert summary_problems(json.loads((tmp_path / "summary.json").read_text())) == []
    displays = made.summary.evaluation.displays
    assert [display.caption for display in displays][:2] == ["A soft muon", "A muon of medium pT"]
    assert dataclasses.asdict(runs.render_again(tmp_path).summary) == dataclasses.asdict(
        made.summary
    )
