"""The command that explains: a user's model from file to page, resumed, refused; its pictures."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from hairtrigger import cli
from hairtrigger.explain.attribution import Explained
from hairtrigger.explain.case import Events
from hairtrigger.explain.questions_muon import (
    SHAPE,
    dropped_stations,
    fakes,
    hit_shares,
    moved_outermost,
    of_roads,
    swept_noise,
)
from hairtrigger.records import read_record
from hairtrigger.report.explain_figures import event_map, feature_bars, lines, window
from hairtrigger.runs.explain import CHECKS, PAGE, RECORD, TABLES, Explanation
from hgq_models import prepare
from test_explain import images

# Keras saves variables through an interface that NumPy is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["explain", *(str(word) for word in words)])


def said(result: Result) -> str:
    return " ".join(result.stderr.split())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quantised network of bits, saved, with events beside it."""
    keras = prepare()
    import hgq.layers as q
    from hgq.config import QuantizerConfigScope

    keras.utils.set_random_seed(3)
    with QuantizerConfigScope(place="all", overflow_mode="SAT", i0=4, f0=4):
        given = keras.Input((3, 8, 1))
        x = keras.layers.Flatten()(given)
        x = q.QDense(4, activation="relu", name="hidden")(x)
        made = keras.Model(given, q.QDense(2, name="out")(x), name="bits")
    path = tmp_path_factory.mktemp("explain") / "bits.keras"
    made.save(path)
    np.save(path.with_name("events.npy"), images(30, 5))
    return path


@pytest.fixture(scope="module")
def made(model: Path) -> Path:
    """The folder of a finished explanation of it."""
    folder = model.with_name("out")
    found = call(
        *(model, "--data", model.with_name("events.npy"), "--events", 20, "--output", 1),
        *("--out", folder, "--document", model.with_name("page")),
    )
    assert found.exit_code == 0, found.stderr
    return folder


def test_page_record_and_tables_of_a_users_model(made: Path) -> None:
    record = read_record(Explanation, made / RECORD)
    assert record.events == 20
    assert record.output == "output 1"
    assert record.networks == ("model", "chip")
    assert record.main.network == "chip"
    assert record.main.complete is not None
    assert record.main.complete.worst == 0
    page = (made / PAGE).read_text(encoding="utf-8")
    assert page.count("<svg") >= 6
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    rows = list(csv.reader((made / TABLES).read_text(encoding="utf-8").splitlines()))
    assert rows[0][0] == "groups"
    assert rows[1][0] == "inputs"
    refused = {(row.network, row.method) for row in record.checks.maps if row.refused}
    assert ("chip", "integrated_gradients") in refused
    assert ("model", "relevance") not in refused
    assert ("chip", "relevance") in refused
    alike = {(r.first, r.second): r.agreement for r in record.checks.agreement}
    found = alike["model", "chip"]
    assert found is not None
    assert found.rank[0] == pytest.approx(1)
    document = made.with_name("page.md").read_text(encoding="utf-8")
    assert document.startswith("# bits.keras")
    assert "| chip | light_up" in document
    assert json.loads(made.with_name("page.json").read_text()) == json.loads(
        (made / RECORD).read_text()
    )


def test_finished_stages_are_kept_and_a_lost_one_is_done_again(made: Path, model: Path) -> None:
    words = (model, "--data", model.with_name("events.npy"), "--events", 20, "--output", 1)
    before = read_record(Explanation, made / RECORD)
    (made / "stages" / "checks" / CHECKS).unlink()
    found = call(*words, "--out", made)
    assert found.exit_code == 0
    assert "checks is done again" in found.stderr
    assert "map is done again" not in found.stderr
    after = read_record(Explanation, made / RECORD)
    assert after.checks.agreement == before.checks.agreement
    assert after.answers == before.answers


def test_refusals_name_the_way_out(model: Path, tmp_path: Path) -> None:
    data = model.with_name("events.npy")
    wrong, missing = tmp_path / "wrong.npy", tmp_path / "none.npy"
    np.save(wrong, np.zeros((4, 9)))
    nan = tmp_path / "nan.npy"
    np.save(nan, np.full((2, 3, 8, 1), np.nan))
    cut = tmp_path / "cut.npy"
    cut.write_bytes(data.read_bytes()[:-50])
    for words, told in (
        ((model,), "Give --data events.npy"),
        ((model, "--data", wrong), "not made for this model"),
        ((model, "--data", nan), "NaN or infinite"),
        ((model, "--data", cut), "cannot be read as events"),
        ((model, "--data", missing), "cannot be read as events"),
        ((model, "--data", data, "--output", 7), "no output 7 of 2"),
        ((model, "--data", data, "--names", "a,b"), "2 names for axis 0"),
        (("muons",), "Choose one of muon, tau3mu, supernova, strips"),
        (("muon", "--data", data), "makes its own events"),
        ((model, "--run", tmp_path), "is a model"),
    ):
        found = call(*words, "--out", tmp_path / "out")
        assert found.exit_code == 2, words
        assert told in said(found), said(found)
    found = call("strips", "--out", tmp_path / "out")
    assert found.exit_code == 1
    assert "--run" in said(found)
    found = call("muon", "--run", tmp_path / "no", "--out", tmp_path / "out")
    assert found.exit_code == 1
    assert "no finished run" in said(found)


# --- pictures ------------------------------------------------------------------------------------


def picture_of_event() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    image = np.zeros((4, 384), np.uint8)
    image[rng.integers(0, 4, 20), rng.integers(0, 384, 20)] = 1
    signal = np.zeros_like(image)
    for row in range(4):
        signal[row, 200 + 3 * row : 202 + 3 * row] = 1
    image |= signal
    values = np.where(signal == 1, 0.5, -0.1) * image
    return image, values, signal


def test_pictures_are_as_they_were(golden: Any) -> None:
    image, values, signal = picture_of_event()
    golden("explain_map.svg", event_map(image, values, signal, ("BI", "BM1", "BM2", "BO"), "a <b>"))
    golden("explain_bars.svg", feature_bars(["pt", "eta & phi", "IP"], [0.5, -1.0, 0.1], "bars"))
    curves = {"map": [0.0, 0.8, 1.0], "random": [0.0, 0.5, 1.0]}
    golden("explain_lines.svg", lines([0, 0.5, 1], curves, "share", "pT", "curves", ["random"]))


def test_a_picture_shows_where_the_signal_is() -> None:
    image, values, signal = picture_of_event()
    first, end = window(signal)
    assert end - first == 96
    assert first <= 200
    assert end >= 211
    assert window(np.zeros((2, 30))) == (0, 30)
    drawn = event_map(image, values, signal)
    assert drawn.count('stroke-width="1.2"') == signal.sum()
    assert event_map(image, 0 * values).count("<rect") > 0


# --- the muon's questions ------------------------------------------------------------------------


def test_hit_shares_by_hand() -> None:
    inputs = np.zeros((2, *SHAPE), np.uint8)
    signal, values = np.zeros_like(inputs), np.zeros(inputs.shape, np.float32)
    inputs[:, 0, 10], inputs[:, 8, 50], inputs[:, 3, 5] = 1, 1, 1
    signal[:, 0, 10] = signal[:, 8, 50] = 1
    values[:, 0, 10], values[:, 8, 50], values[:, 3, 5] = 2, 1, 1
    values[1, 3, 5] = -4
    answer = hit_shares(Explained(values, "pt", "by hand"), Events(inputs, "images", signal))
    assert answer.figures["on_true_hits"] == pytest.approx((3 / 4 + 1) / 2)
    assert answer.figures["true_among_hits"] == pytest.approx(2 / 3)
    rows = {row[0]: row for row in answer.rows}
    assert rows["BI"][1:4] == (pytest.approx(4 / 7), 1, 1)
    assert rows["BM1"][2:4] == (0, 0)
    assert rows["BM1"][5] == pytest.approx(-1.5)


def test_activation_of_roads_lies_on_its_strips() -> None:
    maps = np.zeros((1, 2, 48), np.float32)
    maps[0, 0, 3], maps[0, 1, 3] = 2, 2
    spread = of_roads(maps)
    assert spread.shape == (1, *SHAPE)
    # Phase 0 has strips 24 to 31, phase 1 strips 28 to 35; each counts half.
    assert spread[0, 4, :, 0].nonzero()[0].tolist() == list(range(24, 36))
    assert spread[0, 0, 29, 0] == 2
    assert spread[0, 0, 24, 0] == spread[0, 0, 35, 0] == 1


@pytest.mark.slow
def test_questions_of_the_trained_muon_student() -> None:
    """The student that comes with the package sees the muon, and loses by what it must lose."""
    from hairtrigger.explain.questions_muon import CASE
    from hairtrigger.explain.study import main_map

    networks, _ = CASE.load(CASE.files(None))
    events = CASE.events(networks["chip"], 100, 1, None)
    found, row = main_map(CASE, networks, events, 1)
    assert row.complete is not None
    assert row.complete.worst == 0
    shares = hit_shares(found, events).figures
    assert (shares["on_true_hits"] or 0) > 0.8 > (shares["true_among_hits"] or 1)
    chip = networks["chip"]
    lost = dropped_stations(chip, 2, 2000).figures
    whole = lost["efficiency_without_none"] or 0
    assert all((lost[f"efficiency_without_{n}"] or 1) < whole for n in ("BI", "BM1", "BM2", "BO"))
    moved = moved_outermost(chip, 3, 2000).figures
    assert (moved["slope_15_30"] or 0) > 0.003  # 1/GeV per strip of BO
    swept = {row[0]: row[1:] for row in swept_noise(chip, 4, 400, (-40, 0, 40)).rows}
    assert sum(swept[0]) > sum(swept[40])  # type: ignore[arg-type]
    made = fakes(chip, 5, 8192)
    assert made.figures["images"] == 8192
    assert 0 <= (made.figures["share"] or 0) < 0.01
