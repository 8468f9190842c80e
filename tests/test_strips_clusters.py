"""Clusters of strips against a naive loop, and the positions by centroid and time projection."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hairtrigger.detectors import strips_clusters as clusters
from hairtrigger.detectors.strips import simulate_planes
from hairtrigger.detectors.strips_config import StripsConfig
from hairtrigger.errors import InputError

CONFIG = StripsConfig()
QUIET = StripsConfig(background_khz_cm2=0.0)

IMAGES = arrays.arrays(
    np.uint16,
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=24),
    elements=st.sampled_from([0, 0, 1, 5, 1023]),
)


def timed(charge: np.ndarray) -> np.ndarray:
    """Time codes for hits, different from strip to strip."""
    code = 1 + np.arange(charge.size).reshape(charge.shape) * 37 % 200
    return np.where(charge > 0, code, 0).astype(np.uint8)


def naive(charge: np.ndarray, max_gap: int) -> list[tuple[int, int, int, int, int]]:
    found = []
    for plane, row in enumerate(charge.tolist()):
        current: list[int] = []
        for strip, counts in enumerate(row):
            if not counts:
                continue
            if current and strip - current[-1] > max_gap + 1:
                found.append((plane, current))
                current = []
            current.append(strip)
        if current:
            found.append((plane, current))
    return [
        (plane, hit[0], hit[-1], len(hit), sum(int(charge[plane, s]) for s in hit))
        for plane, hit in found
    ]


@given(charge=IMAGES, max_gap=st.integers(0, 4))
@settings(deadline=None)
def test_clusters_are_those_of_a_naive_loop(charge, max_gap):
    found = clusters.find_clusters(charge, timed(charge), max_gap)
    columns = (found.plane, found.first, found.last, found.hits, found.charge)
    got = list(zip(*(column.tolist() for column in columns), strict=True))
    assert got == naive(charge, max_gap)


@given(charge=IMAGES, tangent=st.floats(-1, 1), field=st.floats(-0.3, 0.3))
@settings(deadline=None)
def test_positions_are_those_of_a_naive_loop(charge, tangent, field):
    config = dataclasses.replace(CONFIG, field_t=field)
    time = timed(charge)
    found = clusters.find_clusters(charge, time)
    middle = clusters.centroid(found, charge, config)
    x = clusters.time_projection(found, charge, time, tangent, config, 3.0)
    for number, (plane, first, last, hits, total) in enumerate(naive(charge, 1)):
        qx = qd = 0.0
        for strip in range(first, last + 1):
            q = int(charge[plane, strip])
            qx += q * (strip - (charge.shape[1] - 1) / 2) * 0.425
            qd += q * 0.047 * (int(time[plane, strip]) - 12.5 - 3.0)
        expected = qx / total - config.tan_lorentz * 2.52
        if hits >= 2:
            expected -= (tangent + config.tan_lorentz) * (qd / total - 2.52)
        assert middle[number] == pytest.approx(qx / total, abs=1e-9)
        assert x[number] == pytest.approx(expected, abs=1e-9)


@given(charge=IMAGES, width=st.integers(1, 20), only_own=st.booleans())
@settings(deadline=None)
def test_windows_are_those_of_a_naive_loop(charge, width, only_own):
    time = timed(charge)
    found = clusters.find_clusters(charge, time)
    cut = clusters.windows(found, charge, time, width, only_own=only_own)
    assert cut.charge.shape == cut.time.shape == (len(found), width)
    assert (cut.charge.dtype, cut.time.dtype) == (np.uint16, np.uint8)
    for number in range(len(found)):
        plane, low, high = found.plane[number], found.first[number], found.last[number]
        start = (low + high + 1) // 2 - width // 2
        assert cut.first[number] == start
        for column in range(width):
            strip = start + column
            inside = 0 <= strip < charge.shape[1] and (not only_own or low <= strip <= high)
            assert cut.charge[number, column] == (charge[plane, strip] if inside else 0)
            assert cut.time[number, column] == (time[plane, strip] if inside else 0)
        middle = start + (width - 1) / 2 - (charge.shape[1] - 1) / 2
        assert cut.x_mm[number] == pytest.approx(middle * 0.425)


def test_the_leading_cluster_of_a_plane_has_most_charge():
    charge = np.zeros((3, 20), np.uint16)
    charge[0, [2, 10, 11]] = 7, 4, 4
    charge[2, [2, 10]] = 5, 5
    found = clusters.find_clusters(charge, timed(charge)).leading()
    assert found.plane.tolist() == [0, 2]
    assert found.first.tolist() == [10, 2]
    assert found.size.tolist() == [2, 1]


def residuals(planes: int, config: StripsConfig, angles: tuple[float, float], offset: float = 0.0):
    """Of the leading clusters: centroid and time projection less the truth (mm), and tangents."""
    made = simulate_planes(planes, seed=21, config=config, angle_deg=angles)
    found = clusters.find_clusters(made.charge, made.time).leading()
    truth = made.truth[found.plane]
    tangent = truth["tan_theta"].astype(float)
    middle = clusters.centroid(found, made.charge, config) - truth["x_mm"]
    x = clusters.time_projection(found, made.charge, made.time, tangent, config, offset)
    return middle, x - truth["x_mm"], tangent


def half_width(residual: np.ndarray) -> float:
    return float(np.percentile(np.abs(residual - np.median(residual)), 68.27))


@pytest.mark.parametrize("field_t", [0.0, 0.2])
def test_time_projection_is_unbiased_once_calibrated_and_narrower_than_the_centroid(field_t):
    config = dataclasses.replace(QUIET, field_t=field_t)
    middle, without, tangent = residuals(8192, config, (10.0, 40.0))
    offset = clusters.time_offset_ns(without, tangent, config)
    _, x, _ = residuals(8192, config, (10.0, 40.0), offset)
    # The median's error is 1.25 sigma / sqrt(n) = 0.9 um; angles differ by up to 30 um
    assert abs(np.median(x)) < 0.012
    for low in (0.2, 0.4, 0.6):
        part = (tangent > low) & (tangent < low + 0.2)
        assert abs(np.median(x[part])) < 0.035
        assert half_width(x[part]) < 0.12
        assert half_width(middle[part]) > 1.5 * half_width(x[part])


def test_both_are_the_same_for_upright_tracks_and_unbiased():
    middle, x, _ = residuals(8192, QUIET, (0.0, 0.0))
    assert np.array_equal(middle, x)
    assert abs(np.median(x)) < 4.5 * 1.2533 * half_width(x) / np.sqrt(len(x))
    assert half_width(x) < 0.1


def test_tracks_that_lean_the_other_way_are_mirrored():
    _, right, _ = residuals(8192, QUIET, (20.0, 20.0))
    _, left, _ = residuals(8192, QUIET, (-20.0, -20.0))
    assert np.median(left) == pytest.approx(-np.median(right), abs=0.008)
    assert half_width(left) == pytest.approx(half_width(right), rel=0.08)


def test_the_offset_is_found_again():
    generator = np.random.default_rng(3)
    tangent = generator.uniform(-0.8, 0.8, 20_000)
    residual = -tangent * 4.0 * CONFIG.drift_velocity_mm_ns + generator.normal(0, 0.06, 20_000)
    found = clusters.time_offset_ns(residual, tangent, CONFIG)
    assert found == pytest.approx(4.0, abs=0.1)


def test_no_hits_are_no_clusters():
    none = np.zeros((5, 16), np.uint16)
    found = clusters.find_clusters(none, none.astype(np.uint8))
    assert len(found) == len(found.leading()) == 0
    assert clusters.centroid(found, none, CONFIG).shape == (0,)
    assert clusters.windows(found, none, none.astype(np.uint8)).charge.shape == (0, 16)


def test_bad_images_are_refused():
    charge = np.zeros((4, 16), np.uint16)
    charge[1, 3] = 9
    time = timed(charge)
    found = clusters.find_clusters(charge, time)
    with pytest.raises(InputError, match=r"not both \(planes, strips\)"):
        clusters.find_clusters(charge[None], time[None])
    with pytest.raises(InputError, match="not both"):
        clusters.find_clusters(charge, time[:, 1:])
    with pytest.raises(InputError, match="unsigned integers"):
        clusters.find_clusters(charge.astype(float), time)
    with pytest.raises(InputError, match="charge without a time"):
        clusters.find_clusters(charge, 0 * time)
    with pytest.raises(InputError, match="max_gap = -1"):
        clusters.find_clusters(charge, time, -1)
    with pytest.raises(InputError, match="were found in"):
        clusters.centroid(found, charge[:2], CONFIG)
    with pytest.raises(InputError, match="no charge in these images"):
        clusters.centroid(found, 0 * charge, CONFIG)
    with pytest.raises(InputError, match="not finite"):
        clusters.time_projection(found, charge, time, np.nan, CONFIG)
    with pytest.raises(InputError, match=r"shape \(2,\) for 1 clusters"):
        clusters.time_projection(found, charge, time, np.zeros(2), CONFIG)
    with pytest.raises(InputError, match="width = 0"):
        clusters.windows(found, charge, time, 0)
    with pytest.raises(InputError, match="no track is inclined"):
        clusters.time_offset_ns(np.zeros(3), np.zeros(3), CONFIG)
