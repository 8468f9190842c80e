"""Simulated planes and chambers of strips: seeds, blocks, truth, efficiency and occupancy."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.detectors import strips
from hairtrigger.detectors.strips import simulate_chambers, simulate_planes
from hairtrigger.detectors.strips_blocks import BLOCK_PLANES
from hairtrigger.detectors.strips_chambers import BLOCK_CHAMBERS
from hairtrigger.detectors.strips_clusters import (
    centroid,
    find_clusters,
    time_offset_ns,
    time_projection,
)
from hairtrigger.detectors.strips_config import ChamberConfig, StripsConfig
from hairtrigger.errors import InputError

QUIET = StripsConfig(background_khz_cm2=0.0)
PARTS = ("charge", "time", "muon_share", "truth")


def same(a: object, b: object, where: slice = slice(None)) -> bool:
    return all(np.array_equal(getattr(a, part), getattr(b, part)[where]) for part in PARTS)


@pytest.fixture(scope="module")
def planes() -> strips.Planes:
    return simulate_planes(2 * BLOCK_PLANES + 100, seed=7)


@pytest.fixture(scope="module")
def chambers() -> strips.Chambers:
    return simulate_chambers(3 * BLOCK_CHAMBERS, seed=7)


# Seeds, blocks, threads


def test_a_seed_is_its_planes_whatever_the_threads(planes):
    for threads in (1, 3):
        assert same(simulate_planes(len(planes), seed=7, threads=threads), planes)
    assert not same(simulate_planes(64, seed=8), planes, slice(64))


@given(start=st.integers(0, 2 * BLOCK_PLANES), count=st.integers(0, 100))
@settings(max_examples=5, deadline=None)
def test_a_plane_of_a_seed_is_the_same_however_it_is_cut(planes, start, count):
    part = simulate_planes(count, seed=7, start=start)
    assert same(part, planes, slice(start, start + count))


@given(start=st.integers(0, 2 * BLOCK_CHAMBERS), count=st.integers(0, BLOCK_CHAMBERS))
@settings(max_examples=5, deadline=None)
def test_a_chamber_of_a_seed_is_the_same_however_it_is_cut(chambers, start, count):
    part = simulate_chambers(count, seed=7, start=start, threads=2)
    assert same(part, chambers, slice(start, start + count))


def test_a_seed_gives_these_very_planes(planes):
    """What SIMULATION_VERSION stands for. Another machine may move a charge by one count."""
    assert strips.SIMULATION_VERSION == 1
    charge, time = planes.charge.astype(int), planes.time.astype(int)
    assert [int((charge > 0).sum()), int(charge.sum()), int(time.sum())] == pytest.approx(
        [17970, 2033544, 1423269], rel=1e-4
    )
    assert planes.truth["primaries"][:8].tolist() == [21, 25, 17, 15, 14, 24, 19, 13]


def test_background_is_the_same_with_muons_and_without(planes):
    alone = simulate_planes(BLOCK_PLANES, seed=7, muon=False)
    assert alone.muon_share.max() == 0
    assert not alone.truth["muon"].any()
    assert not np.any(alone.truth["x_mm"])
    untouched = (planes.muon_share[:BLOCK_PLANES] == 0) & (planes.charge[:BLOCK_PLANES] > 0)
    # Noise is drawn for strips that see charge, so it differs: most charges are within some counts
    before, after = (m.charge[:BLOCK_PLANES][untouched].astype(int) for m in (planes, alone))
    assert np.median(np.abs(before - after)) <= 3
    assert (after > 0).mean() > 0.9


def test_progress_is_told_from_the_start_to_the_end():
    told: list[tuple[int, int]] = []
    simulate_planes(2500, seed=1, config=QUIET, progress=lambda *t: told.append(t), threads=2)
    assert told == [(0, 2500), (1024, 2500), (2048, 2500), (2500, 2500)]


def test_an_interrupt_stops_the_work():
    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_planes(50 * BLOCK_PLANES, seed=1, config=QUIET, progress=stop, threads=2)


# Planes


def test_hits_have_charge_time_and_a_share(planes):
    hit = planes.charge > 0
    assert np.array_equal(hit, planes.time > 0)
    assert planes.charge.max() <= 1023
    assert planes.time.max() <= 200
    assert planes.muon_share[~hit].max() == 0
    assert planes.charge.dtype == np.uint16
    assert planes.time.dtype == planes.muon_share.dtype == np.uint8


def test_muons_are_where_and_as_steep_as_asked():
    made = simulate_planes(8192, seed=2, config=QUIET, angle_deg=(-10.0, 30.0))
    angle = np.degrees(np.arctan(made.truth["tan_theta"]))
    for values, low, high in ((angle, -10, 30), (made.truth["x_mm"], -6.8, 6.8)):
        assert low <= values.min()
        assert values.max() <= high
        spread = (high - low) / math.sqrt(12 * 8192)
        assert values.mean() == pytest.approx((low + high) / 2, abs=4.5 * spread)
    assert made.truth["t0_ns"].std() == pytest.approx(0.2, rel=4.5 / math.sqrt(2 * 8192))
    assert made.truth["muon"].all()


def test_efficiency_is_over_95_percent_to_20_khz():
    previous = 1.0
    for rate in (0.0, 15.0, 20.0):
        config = StripsConfig(background_khz_cm2=rate)
        made = simulate_planes(3072, seed=3, config=config)
        seen = (made.muon_share >= 128).any(axis=1).mean()
        assert 0.95 < seen <= previous
        previous = seen


def test_occupancy_is_3_to_6_percent_at_15_to_20_khz():
    for rate in (15.0, 20.0):
        config = StripsConfig(background_khz_cm2=rate)
        made = simulate_planes(3072, seed=4, config=config, muon=False)
        assert 0.03 < (made.charge > 0).mean() < 0.06


def test_occupancy_grows_with_rate_and_length():
    def occupancy(**changes: float) -> float:
        config = StripsConfig(**changes)
        return float((simulate_planes(4096, seed=5, config=config, muon=False).charge > 0).mean())

    base = occupancy(background_khz_cm2=4.0)
    assert occupancy(background_khz_cm2=0.0) == 0
    # 500 clusters of base: 6 %, as their sizes vary as well
    assert occupancy(background_khz_cm2=8.0) == pytest.approx(2 * base, rel=0.2)
    # The longer strip is noisier, so it sees a little less than twice as much
    assert 1.5 * base < occupancy(background_khz_cm2=4.0, strip_length_mm=900.0) < 2.2 * base


def test_without_field_and_noise_the_mean_charge_is_the_electrons_times_the_gain():
    """A slow peaking time sees nearly all charge at once; 16 strips beside it get none."""
    config = StripsConfig(
        background_khz_cm2=0.0, noise_e_range=(1.0, 1.0), peaking_ns=200.0, electrons_max=19,
        adc_bits=14, window_ns=(-12.5, 187.5),
    )  # fmt: skip
    made = simulate_planes(4096, seed=6, config=config, angle_deg=(0.0, 0.0))
    weight = np.array([65.6, 15, 6.4, 3.5, 2.25, 1.55, 1.05, 0.81, 0.61, 0.49, 0.39, 0.3, 0.25])
    weight = np.append(weight, [0.2, 0.16, 0.12, 0.095, 0.075, 0.063])
    electrons = made.truth["primaries"].mean() * (np.arange(1, 20) @ weight) / weight.sum()
    total = made.charge.sum(axis=1).mean() / config.counts_e
    # Arrivals are spread over a drift: the highest mean of the pulse over so long
    t = np.linspace(0, 3, 3001)
    pulse = (t * np.exp(1 - t)) ** 2
    spread = round(config.full_drift_ns / 200 * 1000)
    peak = np.convolve(pulse, np.ones(spread) / spread).max()
    assert 0.97 < peak < 0.98
    assert total == pytest.approx(peak * 6000 * electrons, rel=0.015)


def test_delta_rays_widen_clusters_and_shift_positions():
    made = simulate_planes(8192, seed=7, config=QUIET, angle_deg=(0.0, 0.0))
    found = find_clusters(made.charge, made.time).leading()
    truth = made.truth[found.plane]
    far = np.abs(centroid(found, made.charge, QUIET) - truth["x_mm"])
    delta = truth["delta_ray"]
    assert 50 < delta.sum() < 400
    assert found.hits[delta].mean() > found.hits[~delta].mean() + 1
    assert np.median(far[delta]) > 2 * np.median(far[~delta])
    assert np.array_equal(truth["delta_range_mm"] > QUIET.pitch_mm, delta)


def test_time_follows_the_distance_along_an_inclined_track():
    made = simulate_planes(4096, seed=8, config=QUIET, angle_deg=(35.0, 35.0))
    plane, strip = np.nonzero(made.charge)
    x = (strip - 31.5) * 0.425 - made.truth["x_mm"][plane]
    d = 0.047 * (made.time[plane, strip] - 12.5)
    middle = np.abs(x) < 1.2
    slope = np.polyfit(d[middle], x[middle], 1)[0]
    # Regression dilutes the slope; its sign and size must be the track's
    assert 0.3 < slope < 1.2 * math.tan(math.radians(35))


def test_the_size_of_an_image_is_free():
    made = simulate_planes(100, seed=9, strips=17)
    assert made.charge.shape == (100, 17)
    assert np.abs(made.truth["x_mm"]).max() <= 17 * 0.425 / 4
    assert len(simulate_planes(0, seed=9)) == 0


# Chambers


def test_chambers_have_straight_muons(chambers):
    config, truth = chambers.config, chambers.truth
    assert chambers.charge.shape == (len(chambers), 8, 64)
    assert (truth["muons"] == 1).all()
    away = np.array(config.z_mm) - config.middle_z_mm
    x = truth["x_mm"][:, None] + truth["slope_x"][:, None] * away
    y = truth["y_mm"][:, None] + truth["slope_y"][:, None] * away
    turn = np.radians(config.stereo_deg)
    expected = x * np.cos(turn) + y * np.sin(turn) - np.array(config.offsets_mm)
    assert truth["plane_x_mm"] == pytest.approx(expected, abs=1e-4)
    assert np.abs(truth["plane_x_mm"]).max() < 32 * 0.425
    offsets = np.array(config.offsets_mm) / config.plane.pitch_mm
    assert offsets == pytest.approx(np.rint(offsets))


def test_hits_are_on_the_muon_and_lean_as_the_drift_says():
    config = ChamberConfig(plane=QUIET)
    made = simulate_chambers(1024, seed=11, config=config)
    charge, time = (part.reshape(-1, 64) for part in (made.charge, made.time))
    found = find_clusters(charge, time).leading()
    truth = made.truth["plane_x_mm"].reshape(-1)[found.plane]
    off = centroid(found, charge, QUIET) - truth
    assert np.median(np.abs(off)) < 0.4
    for plane in range(8):
        p, strip = np.nonzero(made.charge[:, plane])
        x = (strip - 31.5) * 0.425 - made.truth["plane_x_mm"][p, plane]
        t = made.time[p, plane, strip].astype(float)
        near = np.abs(x) < 2
        correlation = np.corrcoef(x[near], t[near])[0, 1]
        assert correlation * config.drift[plane] > 0.3


def test_a_line_through_the_clusters_gives_the_muon_back():
    """Offsets, stereo angles and drift directions together: x cos a + y sin a in every plane."""
    config = ChamberConfig(plane=QUIET)
    made = simulate_chambers(1024, seed=13, config=config)
    truth = made.truth
    turn = np.radians(config.stereo_deg)
    tan = truth["slope_x"][:, None] * np.cos(turn) + truth["slope_y"][:, None] * np.sin(turn)
    tan = (tan * np.array(config.drift)).reshape(-1)
    charge, time = (part.reshape(-1, 64) for part in (made.charge, made.time))
    found = find_clusters(charge, time).leading()
    tan, at = tan[found.plane], np.full(1024 * 8, np.nan)
    # Hits are late, by how much depends on the angle; all U and no V planes drift along z, so an
    # offset of 1 ns is 0.7 mm in y
    off = time_projection(found, charge, time, tan, QUIET) - truth["plane_x_mm"].flat[found.plane]
    offset = time_offset_ns(off, tan, QUIET)
    at[found.plane] = time_projection(found, charge, time, tan, QUIET, offset)
    at = at.reshape(-1, 8) + np.array(config.offsets_mm)
    whole = ~np.isnan(at).any(axis=1)
    assert whole.mean() > 0.95
    away = np.array(config.z_mm) - config.middle_z_mm
    matrix = np.stack([np.cos(turn), away * np.cos(turn), np.sin(turn), away * np.sin(turn)], 1)
    fitted = np.linalg.lstsq(matrix, at[whole].T, rcond=None)[0]
    widths = {"x_mm": 0.06, "slope_x": 0.0012, "y_mm": 2.5, "slope_y": 0.12}
    for (name, width), value in zip(widths.items(), fitted, strict=True):
        off = value - truth[name][whole]
        # The middle error is known to 1.25 / sqrt(1000) of the width
        assert abs(np.median(off)) < 0.25 * width
        assert np.percentile(np.abs(off), 68) < width


def test_planes_are_efficient_and_told_where_they_are_not(chambers):
    hit = chambers.truth["hit"]
    seen = (chambers.muon_share >= 128).any(axis=2)
    assert np.array_equal(hit, seen)
    assert (hit.mean(axis=0) > 0.95).all()
    assert (hit.mean(axis=0) < 1).all()


def test_muons_may_be_left_out():
    none = simulate_chambers(300, seed=12, muons=0)
    assert not none.truth["hit"].any()
    assert not none.truth["muons"].any()
    assert not np.any(none.truth["slope_x"])
    assert (none.charge > 0).any()
    some = simulate_chambers(1024, seed=12, muons=0.3)
    assert some.truth["muons"].mean() == pytest.approx(0.3, abs=4.5 * math.sqrt(0.21 / 1024))
    assert not some.truth["hit"][some.truth["muons"] == 0].any()


# Bad input


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gap_mm": 0.0}, "gap_mm = 0.0"),
        ({"pitch_mm": -1.0}, "pitch_mm = -1.0"),
        ({"gain": math.nan}, "gain = nan"),
        ({"gain": "6000"}, "gain = '6000' is not a number"),
        ({"gain": True}, "gain = True is not a number"),
        ({"peaking_ns": 60.0}, "peaking_ns = 60.0 is no peaking time"),
        ({"shaper_order": 0}, "shaper_order = 0"),
        ({"shaper_order": 2.0}, "shaper_order as an integer"),
        ({"adc_bits": 17}, "adc_bits = 17"),
        ({"electrons_max": 5000}, "electrons_max = 5000"),
        ({"time_lsb_ns": 0.5}, "a window of"),
        ({"window_ns": (100.0, -12.5)}, "is empty"),
        ({"window_ns": 200.0}, "window_ns as two numbers"),
        ({"photon_kev": (0.0, 60.0)}, "photon_kev"),
        ({"field_t": 0.8}, "field_t = 0.8"),
        ({"neutron_share": 1.5}, "neutron_share = 1.5 is a share"),
        ({"background_khz_cm2": -1.0}, "background_khz_cm2 = -1.0"),
        ({"background_khz_cm2": 1e6}, "background_khz_cm2 = 1000000.0"),
        ({"diffusion_law": "cubic"}, "diffusion_law = 'cubic'"),
        ({"neighbours": 1}, "neighbours = 1"),
    ],
)
def test_planes_that_cannot_be_are_refused(changes, words):
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        StripsConfig(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"plane": None}, "give a StripsConfig"),
        ({"z_mm": (0.0, 1.0)}, "give 8 numbers"),
        ({"z_mm": (0.0, 1, 2, 3, 4, 5, 6, 6)}, "does not grow"),
        ({"drift": (1, -1, 1, -1, 1, -1, 1, 0)}, "give 1 or -1"),
        ({"stereo_deg": (0, 0, 60, 0, 0, 0, 0, 0)}, "within 45 degrees"),
        ({"strips": 4}, "strips = 4"),
        ({"x_mm": -1.0}, "x_mm = -1.0"),
    ],
)
def test_chambers_that_cannot_be_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        ChamberConfig(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"planes": -1}, "planes = -1"),
        ({"planes": 2.5}, "planes = 2.5"),
        ({"seed": -1}, "seed = -1"),
        ({"start": -1}, "start = -1"),
        ({"strips": 4}, "strips = 4"),
        ({"threads": 0}, "threads = 0"),
        ({"config": ChamberConfig()}, "not a StripsConfig"),
        ({"angle_deg": (40.0, 0.0)}, "the lower first"),
        ({"angle_deg": (0.0, 80.0)}, "within 75 degrees"),
        ({"angle_deg": (0.0, math.nan)}, "the lower first"),
        ({"angle_deg": 30.0}, "two angles in degrees"),
    ],
)
def test_arguments_that_cannot_be_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        simulate_planes(**({"planes": 10, "seed": 1} | changes))


def test_arguments_of_chambers_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="muons = 2"):
        simulate_chambers(10, seed=1, muons=2)
    with pytest.raises(InputError, match="not a ChamberConfig"):
        simulate_chambers(10, seed=1, config=StripsConfig())
    with pytest.raises(InputError, match=r"more than 3\.7"):
        simulate_chambers(10, seed=1, config=ChamberConfig(slope_x=4.0))


def test_too_much_for_memory_is_an_error():
    with pytest.raises(InputError, match="do not fit in memory"):
        simulate_planes(10**15, seed=1)


def test_equal_configurations_are_equal():
    assert StripsConfig(gain=np.float64(6000)) == StripsConfig()
    assert hash(dataclasses.replace(StripsConfig(), window_ns=[-12.5, 187.5])) == hash(
        StripsConfig()
    )


CONFIGS = st.builds(
    StripsConfig,
    gap_mm=st.floats(0.5, 12.0),
    pitch_mm=st.floats(0.1, 2.0),
    strip_length_mm=st.floats(10.0, 2500.0),
    diffusion_law=st.sampled_from(["root", "linear"]),
    field_t=st.floats(-0.5, 0.5),
    interactions_spread_mm=st.floats(0.0, 2.0),
    electrons_max=st.integers(1, 4000),
    gain=st.floats(100.0, 1e5),
    polya_theta=st.floats(0.0, 5.0),
    sharing_nearest=st.floats(0.0, 1.0),
    peaking_ns=st.sampled_from([25.0, 50.0, 100.0, 200.0]),
    shaper_order=st.integers(1, 6),
    adc_bits=st.integers(2, 16),
    neighbours=st.booleans(),
    window_ns=st.tuples(st.floats(-100.0, 0.0), st.floats(50.0, 150.0)),
    dead_ns=st.floats(5.0, 500.0),
    background_khz_cm2=st.floats(0.0, 20.0),
    neutron_share=st.floats(0.0, 1.0),
    photon_fast_share=st.floats(0.0, 1.0),
)


@given(config=CONFIGS, count=st.integers(8, 40), angle=st.floats(-75, 75), muon=st.booleans())
@settings(max_examples=25, deadline=None)
def test_any_configuration_gives_images_that_hold_together(config, count, angle, muon):
    made = simulate_planes(
        40, seed=1, config=config, strips=count, angle_deg=(angle, angle), muon=muon, threads=1
    )
    hit = made.charge > 0
    assert np.array_equal(hit, made.time > 0)
    assert made.charge.max() < 2**config.adc_bits
    first, last = config.window_ns
    assert made.time.max() <= last - first
    assert made.muon_share[~hit].max(initial=0) == 0
    assert not (made.muon_share.any() and not muon)
    for name in ("x_mm", "tan_theta", "t0_ns", "delta_range_mm"):
        assert np.isfinite(made.truth[name]).all()
    found = find_clusters(made.charge, made.time)
    assert int(found.charge.sum()) == int(made.charge.sum())
