"""The strips study's part of a report: tables, rows and figure from judged methods."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest

from hairtrigger.records import from_json, problems, to_text
from hairtrigger.report import strips as page
from hairtrigger.report import strips_rows as rows
from hairtrigger.report.goals import MISSED, MUST, judged
from hairtrigger.report.strips_figures import draw_strips
from hairtrigger.report.summary import Estimate, Row
from hairtrigger.studies import strips as study
from hairtrigger.studies import strips_rivals as rivals
from hairtrigger.studies.strips_goals import GOALS
from hairtrigger.studies.strips_samples import MUON, Source, simulate
from hairtrigger.train import History

ANGLES = (0.0, 20.0, 40.0)
RATES = (0.0, 15.0)
SEED = 3


@pytest.fixture(scope="module")
def found() -> page.StripsPerformance:
    """Judged: the classical ways, and "networks" that know the truth up to a smearing."""
    rng = np.random.default_rng(SEED)
    samples = {
        rate: {a: simulate(Source(300, SEED, (a, a), rate)) for a in ANGLES} for rate in RATES
    }

    def says(rate: float, angle: float) -> dict[str, page.Said]:
        of = samples[rate][angle]
        true, tan = of.truth["x"].astype(float), of.truth["tan_theta"].astype(float)
        told = {
            page.CENTROID: page.Said(rivals.centroid(of)),
            page.PROJECTION: page.Said(rivals.time_projection(of)),
        }
        for name, smear in ((rows.FLOAT, 0.05), ("6 bits", 0.05), (page.CHIP, 0.06)):
            x = true + smear * rng.standard_normal(len(of))
            score = (of.truth["kind"] == MUON) + 0.4 * rng.standard_normal(len(of))
            told[name] = page.Said(x, score, tan + 0.01 * rng.standard_normal(len(of)))
        return told

    said = {rate: {a: says(rate, a) for a in ANGLES} for rate in RATES}
    methods = (page.CENTROID, page.PROJECTION, rows.FLOAT, "6 bits", page.CHIP)
    noisy = list(samples[15.0].values())
    scores = [said[15.0][a][page.CHIP].score for a in ANGLES]
    assert all(score is not None for score in scores)
    return page.StripsPerformance(
        study="strips",
        preset="test",
        seed=SEED,
        planes=300,
        positions=tuple(
            page.positions(m, r, samples[r], said[r], SEED) for r in RATES for m in methods
        ),
        angles=tuple(
            page.angles(m, r, samples[r], {a: said[r][a].get(m) for a in ANGLES})
            for r in RATES
            for m in ("nominal", page.CHIP)
        ),
        bits=tuple(
            page.bits(m, r, rows.FLOAT, samples[r], said[r], SEED)
            for r in RATES
            for m in ("6 bits", page.CHIP)
        ),
        picked=(
            page.picked(
                page.CHIP,
                0.9,
                np.concatenate(
                    [s[f.truth["kind"] == MUON] for s, f in zip(scores, noisy, strict=True)]
                ),
                noisy,
                scores,
                0.4 * rng.standard_normal(500),
            ),
        ),
        commit=None,
        versions={"hairtrigger": "0"},
    )


def test_positions_are_judged_against_the_projection(found: page.StripsPerformance) -> None:
    chip, projection = found.position(page.CHIP, 0.0), found.position(page.PROJECTION, 0.0)
    # A smearing of 0.06 strips is 25 um.
    assert all(width.value == pytest.approx(25.4, rel=0.12) for width in chip.width)
    for ours, theirs, gained in zip(chip.width, projection.width, chip.gain, strict=True):
        assert gained.value == pytest.approx(1 - ours.value / theirs.value)
        assert gained.low < gained.value < gained.high
    assert projection.gain[1].value == 0
    inclined = [g.value for a, g in zip(chip.angles_deg, chip.gain, strict=True) if a >= 10]
    assert chip.inclined.value == min(inclined)
    centroid = found.position(page.CENTROID, 0.0)
    assert chip.zero.value == pytest.approx(1 - chip.width[0].value / centroid.width[0].value)


def test_angles_and_bits(found: page.StripsPerformance) -> None:
    nominal = next(a for a in found.angles if a.method == "nominal")
    assert all(w.value == pytest.approx(14.9, rel=0.15) for w in nominal.width)
    six = next(b for b in found.bits if (b.method, b.rate_khz_cm2) == ("6 bits", 0.0))
    chip = next(b for b in found.bits if (b.method, b.rate_khz_cm2) == (page.CHIP, 0.0))
    assert abs(six.loss.value) < 0.1
    assert chip.loss.value == pytest.approx(0.2, abs=0.1)
    assert chip.loss.low < chip.loss.value < chip.loss.high


def test_what_passes(found: page.StripsPerformance) -> None:
    (chip,) = found.picked
    assert chip.muons.value == pytest.approx(0.9, abs=0.01)
    assert chip.planes.value < chip.muons.value  # some planes have no cluster of the muon
    assert 0.005 < chip.fakes.value < 0.2


def test_record_and_text(found: page.StripsPerformance) -> None:
    held = json.loads(to_text(found))
    assert not problems(page.StripsPerformance, held)
    assert from_json(page.StripsPerformance, held) == found
    text = page.performance_text(found)
    for words in ("time projection", "Position with 15 kHz/cm2", "6 bits", "40 deg"):
        assert words in text
    assert "no events" not in text


def test_rows_and_goals(found: page.StripsPerformance) -> None:
    history = History((1.0,), (1.0,), (500.0,), 0, 1.0)
    learned = dict.fromkeys((rows.FLOAT, "6 bits", page.CHIP), (10, history))
    exact = Estimate(1.0, 1.0, 1.0, 1)
    chip = [Row("interval_clocks", "clocks", "", "", "low", False, (exact,))]
    made = rows.evaluation(found, learned, study.sources(study.SMOKE, 1), chip)
    by_key = {row.key: row for row in made.rows}
    assert len(by_key) == len(made.rows)
    assert all(len(row.values) == len(made.models) == 3 for row in made.rows)
    assert by_key["gain_inclined"].values[-1].value == pytest.approx(
        100 * found.position(page.CHIP, 0.0).inclined.value
    )
    states = {
        r.goal.key: r.state for r in judged({k: r.values[-1] for k, r in by_key.items()}, GOALS)
    }
    assert states["gain_inclined"] == MUST
    assert states["interval_clocks"] == MUST
    assert states["six_bits"] in (MUST, MISSED)
    assert made.models[-1].ebops == 500.0
    assert made.models[0].ebops is None


def test_figure_is_the_same_for_the_same_numbers(found: page.StripsPerformance) -> None:
    many = dataclasses.replace(found, picked=found.picked * 8)  # more than there are markers
    one, two = draw_strips(many), draw_strips(many)
    assert one == two
    assert one.startswith("<svg")
    assert not re.search(r"(href|src)=\"http", one.replace('xmlns:xlink="http', ""))
