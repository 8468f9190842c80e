"""What the page of the supernova study says of scores whose meaning is known."""

from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest

from hairtrigger.detectors import lartpc
from hairtrigger.detectors.lartpc_config import CLASSES
from hairtrigger.records import from_json, to_json, to_text
from hairtrigger.report import supernova as page
from hairtrigger.report import supernova_rows
from hairtrigger.report.goals import judged as judge_goals
from hairtrigger.report.summary import Estimate
from hairtrigger.runs.beside import sections
from hairtrigger.runs.supernova_judge import FILES, performance_of
from hairtrigger.studies import supernova
from hairtrigger.studies.supernova_goals import GOALS
from hairtrigger.train import History

SEED = 4


ENRICHED = np.where(np.arange(500) < 50, 9.0, 0.0)
WEIGHTS = np.full(500, 0.02)
"""Scores of 500 images of enriched argon, and what they stand for: ten images."""


@pytest.fixture(scope="module")
def truth():
    """2,000 noise images and 500 of each kind of signal, of 0 to 30 MeV."""
    rng = np.random.default_rng(SEED)
    made = np.zeros(4000, lartpc.TRUTH_DTYPE)
    made["kind"] = np.repeat(np.arange(5), (2000, 500, 500, 500, 500))
    made["visible_mev"][2000:] = rng.uniform(0, 30, 2000)
    angle = rng.uniform(-np.pi, np.pi, 4000)
    made["direction"] = np.stack([np.cos(angle), 0 * angle, np.sin(angle)], axis=1)
    return made


@pytest.fixture(scope="module")
def said(truth):
    """A method whose score is the energy, with some noise that it takes for 9 MeV."""
    scores = truth["visible_mev"].astype(np.float64)
    scores[:20] = 9.0
    types = np.maximum(truth["kind"], 1).astype(np.int64)
    return page.Said("chip", scores, ENRICHED, 8.0, 8.5, types)


@pytest.fixture(scope="module")
def performance(truth, said):
    floating = page.Said("float", said.scores, ENRICHED, 8.0, 8.0)
    clusters = page.Said("clusters", said.scores / 2, ENRICHED / 2, 4.5, 4.5)
    drawn = [page.judged(one, truth, WEIGHTS) for one in (said, floating, clusters)]
    rows = page.confusion(said, truth)
    made = page.Performance(
        *("supernova", "smoke", SEED, 1e-2, 1e-3),
        tuple(map(page.method, drawn)),
        tuple(tuple(map(page.of_fraction, row)) for row in rows),
        page.pointing(truth["direction"][:, [0, 2]], said.scores >= 8, truth, SEED),
        None,
        {"python": "3"},
    )
    return made, page.picture(drawn, rows)


def test_a_method_is_counted_at_its_cut(performance, truth):
    chip = performance[0].methods[0]
    assert (chip.fakes.value, chip.fakes.n) == (0.01, 2000)
    assert chip.expected.value == pytest.approx(0.002, rel=1e-3)
    assert chip.expected.high < 0.005  # 50 images say so, not 2
    high = truth["visible_mev"][truth["kind"] == CLASSES.index("nue_cc")] >= 8.5
    assert chip.burst_kept.value == pytest.approx(high.mean())
    assert chip.burst_expected == chip.expected  # the score of those that pass is 9
    assert chip.hz.value == pytest.approx(0.01 * 6.25e6)
    assert chip.reduction.value == 100
    assert chip.efficiency.value == 1  # all above 10 MeV score above 8
    high = truth["visible_mev"] >= 8
    share = high[truth["kind"] == CLASSES.index("solar")].mean()
    assert chip.classes["solar"].value == pytest.approx(share)
    assert 0 < chip.burst.value < 100_000


def test_no_fake_leaves_the_reduction_open(truth, said):
    made = page.method(
        page.judged(page.Said("strict", said.scores, ENRICHED, 20.0, 20.0), truth, WEIGHTS)
    )
    assert made.fakes.value == 0
    assert made.reduction.value is None
    assert made.reduction.low > 100
    assert made.burst_limit


def test_classes_are_confused_as_they_are(performance):
    rows = performance[0].confusion
    assert (rows[0][0].value, rows[0][1].value) == (0.99, 0.01)
    for kind in range(1, 5):
        assert sum(cell.value for cell in rows[kind]) == pytest.approx(1)
        assert rows[kind][0].value + rows[kind][kind].value == pytest.approx(1)


def test_a_direction_that_is_right_is_off_by_nothing(performance):
    for found in performance[0].pointing:
        assert found.median.value == pytest.approx(0, abs=0.1)
        assert found.median.n > 100


def test_a_guess_is_off_by_ninety_degrees(truth, said):
    rng = np.random.default_rng(SEED)
    guess = rng.normal(size=(len(truth), 2))
    found = page.pointing(guess, said.scores >= 8, truth, SEED)
    assert found[0].median.low < 90 < found[0].median.high + 8


def test_the_record_is_read_as_it_was_written(performance, tmp_path):
    made, picture = performance
    assert from_json(page.Performance, to_json(made)) == made
    (tmp_path / FILES[0]).write_text(to_text(made))
    (tmp_path / FILES[1]).write_text(picture)
    assert performance_of(tmp_path) == made
    (section,) = sections([tmp_path])
    assert "clusters" in section.text
    assert section.picture.startswith("<svg")
    assert section.record == asdict(made)


def test_rows_of_the_report_carry_the_goals(performance):
    history = History(loss=(1.0,), validation_loss=(1.0,), ebops=(5.0,), best_epoch=0, seconds=1.0)
    chain = SimpleNamespace(interval_us=8.0, latency_us=9.0, images=4)
    learned = {"float": (1895, history), "student": (1700, history)}
    cuts = SimpleNamespace(gated=0.3, noise=2048)
    evaluation = supernova_rows.evaluation(
        performance[0], learned, cuts, chain, supernova.SMOKE, SEED
    )
    by_key = {row.key: row for row in evaluation.rows}
    assert by_key["efficiency"].values[1].value == 1
    assert by_key["gated"].values == (Estimate(None, None, None, 0), Estimate(0.3, 0.3, 0.3, 2048))
    chip, clusters = performance[0].methods[0], performance[0].methods[2]
    assert by_key["burst_gain"].values[1].value == chip.burst.value / clusters.burst.value
    assert evaluation.models[1].ebops == 5.0
    values = {key: row.values[-1] for key, row in by_key.items()}
    states = {found.goal.key: found.state for found in judge_goals(values, GOALS)}
    assert states["efficiency"] == "aim"
    assert states["fakes"] == "missed"
    assert states["chain_us"] == "aim"
