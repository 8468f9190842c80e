"""Roads and Hough transform of the strips study, against loops that say what they mean."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.detectors.strips_config import ChamberConfig
from hairtrigger.errors import InputError
from hairtrigger.studies import strips_roads
from hairtrigger.studies.strips_roads import (
    METHODS,
    Layout,
    Search,
    fit_lines,
    layout_of,
    said_by,
    search_hough,
    search_roads,
    tune,
    vote_kernel,
    votes,
    words,
)

CONFIG = ChamberConfig()
LAYOUT = layout_of(CONFIG)
SEARCH = Search(4.0, 9, CONFIG.slope_x, 0.03, 3, 200.0, 5, 2.5)
SMALL = Layout((-10.0, 0.0, 10.0), (0.0, 1.5, 0.0), (0.0, 0.1, 0.0), 0.5, 16)
TRIED = Search(2.0, 4, 0.0, 0.1, 3, 20.0, 2, 1.0)


def random_hits(seed, events, layout, share=0.1):
    rng = np.random.default_rng(seed)
    shape = (events, layout.planes, layout.strips)
    return (rng.random(shape) < share).astype(np.uint8)


def straight(events, seed, half=1):
    """Images of straight tracks without noise, as wide as 2 half + 1 strips, and their lines."""
    rng = np.random.default_rng(seed)
    low = np.array([-3.5, CONFIG.slope_x - 0.025, -150.0])
    lines = rng.uniform(low, [3.5, CONFIG.slope_x + 0.025, 150.0], (events, 3))
    place = np.rint(LAYOUT.strip(lines))[..., None]
    hits = np.abs(np.arange(LAYOUT.strips) - place) <= half
    return hits.astype(np.uint8), lines


def naive(hits, layout, search, weigh):
    """The score of each image, in plain loops over lines, planes and strips."""
    found = []
    for image in hits:
        best = 0.0
        for line in search.lines():
            x, slope, y = line
            total = 0.0
            for p in range(layout.planes):
                a = np.radians(layout.stereo_deg[p])
                u = np.cos(a) * (x + slope * layout.z_mm[p]) + np.sin(a) * y
                place = (u - layout.offsets_mm[p]) / layout.pitch_mm + (layout.strips - 1) / 2
                half = search.half_strips
                half += abs(np.sin(a)) * search.y_mm / search.y_steps / layout.pitch_mm
                total += max((weigh(s, place, half) for s in np.flatnonzero(image[p])), default=0)
            best = max(best, total)
        found.append(best)
    return found


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.01, 0.4))
def test_roads_count_what_a_loop_counts(seed, share):
    hits = random_hits(seed, 4, SMALL, share)
    wanted = naive(hits, SMALL, TRIED, lambda s, place, half: float(abs(s - place) <= half))
    assert search_roads(hits, SMALL, TRIED).score.tolist() == wanted


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.01, 0.4))
def test_votes_are_those_of_a_loop(seed, share):
    def weigh(s, place, half):
        nearest = int(np.rint(place))
        if not 0 <= nearest < SMALL.strips:
            return 0.0
        distance = abs(s - nearest)
        return 1 - distance / (half + 1) if distance <= half else 0.0

    hits = random_hits(seed, 4, SMALL, share)
    wanted = naive(hits, SMALL, TRIED, weigh)
    assert search_hough(hits, SMALL, TRIED).score == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_a_straight_track_without_noise_is_always_found(name):
    hits, lines = straight(300, 1)
    said = said_by(name, hits, LAYOUT, SEARCH)
    if name == "roads":
        assert (said.score == LAYOUT.planes).all()
    # Strips are whole numbers: with a pitch of 0.425 mm none is off by more than half of one.
    assert np.abs(said.lines[:, 0] - lines[:, 0]).max() < 0.425 / 2
    assert np.abs(said.lines[:, 1] - lines[:, 1]).max() < 0.005


def test_a_chamber_in_parts_gives_the_same(monkeypatch):
    hits = random_hits(5, 50, LAYOUT)
    whole = [METHODS[name](hits, LAYOUT, SEARCH) for name in METHODS]
    monkeypatch.setattr(strips_roads, "CELLS", 7 * len(SEARCH.lines()))
    for name, one in zip(METHODS, whole, strict=True):
        again = METHODS[name](hits, LAYOUT, SEARCH)
        assert np.array_equal(one.score, again.score)
        np.testing.assert_allclose(one.lines, again.lines, atol=1e-4)


def test_nothing_is_found_where_there_is_nothing():
    empty = np.zeros((2, LAYOUT.planes, LAYOUT.strips), np.uint8)
    for name in METHODS:
        said = said_by(name, empty, LAYOUT, SEARCH)
        assert (said.score == 0).all()
        assert np.isfinite(said.lines).all()
    none = said_by("roads", empty[:0], LAYOUT, SEARCH)
    assert none.lines.shape == (0, 2)


def test_a_fit_through_exact_crossings_is_exact():
    """Planes of a chamber whose lines cross at whole strips; the pull to the start is weak."""
    layout = Layout((-8.0, -4.0, 4.0, 8.0), (0.0,) * 4, (0.0,) * 4, 1.0, 41)
    search = Search(10.0, 5, 0.0, 1.0, 5, 1e6, 1, 2.0)
    hits = np.zeros((1, 4, 41), np.uint8)
    for p, z in enumerate(layout.z_mm):
        hits[0, p, int(20 + 1 + 0.5 * z)] = 1
    found = fit_lines(hits, layout, search, np.array([[0.0, 0.4, 0.0]]), 3.0)
    assert found[0, :2] == pytest.approx([1.0, 0.5], abs=0.02)


def test_votes_fall_with_the_distance():
    assert vote_kernel(2.5).tolist() == pytest.approx([1, 1 - 1 / 3.5, 1 - 2 / 3.5])
    plane = np.array([[0, 0, 1, 0, 0]])
    assert votes(plane, np.array([1.0, 0.5])).tolist() == [[0, 0.5, 1, 0.5, 0, 0]]


def test_what_is_no_image_is_refused():
    hits = random_hits(1, 2, LAYOUT)
    for bad in (hits[:, :7], hits[..., :32], hits[0], 2 * hits + 1):
        for search in METHODS.values():
            with pytest.raises(InputError, match=r"shape|other than 0 and 1"):
                search(bad, LAYOUT, SEARCH)
    with pytest.raises(InputError, match="other than 0 and 1"):
        words(np.full(hits.shape, np.nan), LAYOUT)


def test_layouts_and_searches_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="2 stereo angles"):
        Layout((0.0,), (0.0, 1.0), (0.0,), 1.0, 8)
    with pytest.raises(InputError, match="strips = 65"):
        dataclasses.replace(LAYOUT, strips=65)
    with pytest.raises(InputError, match="search of"):
        dataclasses.replace(SEARCH, y_steps=0)
    with pytest.raises(InputError, match="half a window of nan"):
        dataclasses.replace(SEARCH, half_strips=float("nan"))


def test_tuning_takes_the_search_that_finds_most(monkeypatch):
    monkeypatch.setattr(strips_roads, "HALVES", (0.5, 2.5))
    monkeypatch.setattr(strips_roads, "YS", (1, 5))
    monkeypatch.setattr(strips_roads, "STEPS", ((9, 3),))
    muons, lines = straight(200, 3)
    noise = random_hits(4, 200, LAYOUT, 0.05)
    muons |= random_hits(6, 200, LAYOUT, 0.02)
    truth = np.zeros(200, [("x_mm", "f4"), ("slope_x", "f4")])
    truth["x_mm"], truth["slope_x"] = lines[:, 0], lines[:, 1]
    found = tune("roads", CONFIG, noise, muons, truth, 0.02)
    assert found.tried == 4
    assert found.fakes <= 0.02
    assert found.right > 0.95
    with pytest.raises(InputError, match="less than one of 200"):
        tune("roads", CONFIG, noise, muons, truth, 1e-3)
