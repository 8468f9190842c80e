"""The command line compiles a convolutional network folded, as a stream, with its curve."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hairtrigger.cli import app
from hairtrigger.runs import chip
from hgq_models import prepare, shake

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras = prepare()
    import hgq.layers as q

    keras.utils.set_random_seed(1)
    network = keras.Sequential(
        [
            keras.Input((3, 8, 1)),
            q.QConv2D(2, (3, 3), padding="same", activation="relu"),
            keras.layers.MaxPooling2D((1, 2)),
            keras.layers.Flatten(),
            q.QDense(2),
        ]
    )
    shake(network, 5)
    network(np.random.default_rng(1).normal(size=(64, 3, 8, 1)))
    path = tmp_path_factory.mktemp("model") / "folded.keras"
    network.save(path)
    return path


def test_a_folded_network_is_compiled_proven_and_drawn(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chip, "EVENTS", 60)
    monkeypatch.setattr(chip, "RANDOM", 60)
    words = ["compile", str(model), "--clock", "200MHz", "--interval", "20ns", "--stream"]
    words += ["--pareto", "--intervals", "1,4", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["chip"]["interval_clocks"] == 4
    assert summary["proof"]["passed"]
    stream = tmp_path / "project" / "stream"
    assert {path.name for path in stream.iterdir()} == {
        *("kernels.v", "folded.v", "folded_axis.v"),
    }
    points = json.loads((tmp_path / "pareto.json").read_text())["points"]
    assert {point["interval"] for point in points} == {1, 4}
    assert (tmp_path / "pareto.svg").exists()
    assert (tmp_path / "pareto.csv").exists()
    assert "Latency against clock" in done.output


def test_an_interval_below_a_clock_is_one_clear_error(model: Path, tmp_path: Path) -> None:
    words = ["compile", str(model), "--clock", "200MHz", "--interval", "2ns"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "less than one clock at 200 MHz" in done.stderr
    assert not (tmp_path / "out").exists()
