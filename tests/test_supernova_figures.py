"""The supernova figures draw, whatever their numbers are."""

import numpy as np
import pytest

from hairtrigger.metrics import fraction
from hairtrigger.report import supernova_figures as figures
from hairtrigger.studies import supernova_metrics as metrics
from hairtrigger.studies.supernova_burst import burst_curve

CLASSES = ("noise", "nue_cc", "es", "solar", "other")


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(3)
    kinds = rng.integers(0, 5, 20_000)
    energy = rng.uniform(0, 60, kinds.size)
    scores = rng.normal(0, 1, kinds.size) + np.where(kinds == 1, energy / 6, 0)
    return kinds, energy, scores


def is_figure(svg: str, *words: str) -> bool:
    return svg.startswith("<svg") and svg.rstrip().endswith("</svg>") and len(svg) > 5000


def test_roc_turn_on(sample):
    kinds, energy, scores = sample
    of = metrics.roc(scores[kinds == 0], scores[kinds == 1])
    svg = figures.draw_roc({"ours": of, "a baseline": of}, goals=[(1e-3, 0.9)])
    assert is_figure(svg)
    assert svg == figures.draw_roc({"ours": of, "a baseline": of}, goals=[(1e-3, 0.9)])
    assert svg != figures.draw_roc({"ours": of, "a baseline": of}, published=False)
    judged = metrics.judge("ours", scores, kinds, energy, 3.0)
    svg = figures.draw_turn_on([judged, judged])
    assert is_figure(svg)
    assert 'aria-label="Efficiency against energy of ours, ours"' in svg


def test_no_fakes_and_empty_bins(sample):
    kinds, energy, scores = sample
    few = metrics.roc([0.0, 1.0], [2.0, 3.0])
    assert is_figure(figures.draw_roc({"two images": few}))
    judged = metrics.judge("x", scores, kinds, energy, 3.0, edges_mev=(0, 10, 70, 80))
    assert not judged.turn_on.points[-1].total
    assert is_figure(figures.draw_turn_on([judged]))


def test_burst():
    n = np.geomspace(5, 2000, 30)
    seen = burst_curve("seen", fraction(30, 3_000_000), fraction(900, 1000), n)
    limit = burst_curve("none seen", fraction(0, 3_000_000), fraction(900, 1000), n)
    assert is_figure(figures.draw_burst([seen, limit]))


def test_confusion(sample):
    kinds, _, _ = sample
    called = np.where(np.arange(kinds.size) % 3, kinds, 0)
    shares = metrics.confusion_shares(kinds, called, 6)
    assert is_figure(figures.draw_confusion(shares, (*CLASSES, "nobody")))
