"""`hairtrigger run supernova` from the first stage to the page, with very few images."""

import json

import pytest

from hairtrigger.records import read_record
from hairtrigger.runs import run_study
from hairtrigger.runs.gather import render_again
from hairtrigger.runs.supernova_chain import CHAIN, ChainRecord
from hairtrigger.runs.supernova_judge import performance_of
from hairtrigger.studies.supernova_trigger import read_trigger

pytestmark = [
    pytest.mark.slow,
    # Keras on NumPy 2.4, where it saves a model.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


def test_the_study_runs_and_is_not_done_twice(tmp_path):
    folder = tmp_path / "run"
    made = run_study("supernova", preset="smoke", clock="200MHz", folder=folder)
    assert made.summary.proof.passed
    chain = read_record(ChainRecord, folder / "stages" / "chain" / CHAIN)
    assert (chain.images, chain.tick_clocks) == (4, 25)
    assert chain.interval_us == pytest.approx(8.0)
    found = performance_of(folder)
    assert len(found.methods) == 6
    assert found.methods[0].fakes.n == 2048
    trigger = read_trigger(folder / "trigger")
    assert trigger.rows == 16
    again = run_study("supernova", preset="smoke", clock="200MHz", folder=folder)
    manifest = json.loads((folder / "stages" / "student" / "manifest.json").read_text())
    assert again.summary.stages == made.summary.stages  # nothing was done again
    assert manifest["stage"] == "student"
    render_again(folder, document=tmp_path / "supernova.md", beside=[folder])
    page = (tmp_path / "supernova.md").read_text()
    assert "interactions for the burst trigger" in page
    assert (tmp_path / "supernova-performance.svg").exists()
