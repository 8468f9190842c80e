"""`hairtrigger run strips` from the first stage to the page, with very few planes and chambers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hairtrigger.records import read_record
from hairtrigger.report.strips import CHIP, StripsPerformance
from hairtrigger.runs import run_study
from hairtrigger.runs.gather import render_again
from hairtrigger.runs.strips_engines import (
    ACCELERATORS,
    C_SIMULATION,
    TIMING,
    Accelerators,
    CSimulation,
    Timings,
)

pytestmark = [
    pytest.mark.slow,
    # Keras on NumPy 2.4, where it saves a model.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


def test_the_study_runs_and_is_not_done_twice(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    made = run_study("strips", preset="smoke", folder=folder)
    assert made.summary.proof.passed
    assert made.summary.chip.interval_clocks == 1
    stages = folder / "stages"
    simulated = read_record(CSimulation, stages / "c_simulation" / C_SIMULATION)
    assert (simulated.events, simulated.differ) == (512, 0)
    assert simulated.values == 3 * 512
    timed = read_record(Timings, stages / "timing" / TIMING)
    assert [one.engine for one in timed.engines] == ["cpp", "onnxruntime-fp32"]
    assert all(0 < one.p50_ns <= one.p99_ns for one in timed.engines)
    for one in read_record(Accelerators, stages / "accelerators" / ACCELERATORS).found:
        assert (one.events, one.numbers, one.differ, one.broken) == (512, 3 * 512, 0, ())
        assert one.here.startswith(("ran, 0", "not run"))
    found = read_record(StripsPerformance, folder / "performance.json")
    assert found.position(CHIP, 15.0).width[0].n > 300
    again = run_study("strips", preset="smoke", folder=folder)
    assert again.summary.stages == made.summary.stages  # nothing was done again
    render_again(folder, document=tmp_path / "strips.md", beside=[folder])
    page = (tmp_path / "strips.md").read_text()
    assert "time projection, true angle" in page
    assert "## Tracks" in page
    assert "## HLS, processor, GPU and DPU" in page
    record = json.loads((tmp_path / "strips.json").read_text())
    assert {"goals", "summary", "clusters", "tracks", "engines"} <= set(record)
    assert (tmp_path / "strips-clusters.svg").exists()
    assert (tmp_path / "strips-tracks.svg").exists()
