"""The physics of simulated strips against closed formulas: ionisation, drift, pulses, dead time."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.detectors import strips_electronics as electronics
from hairtrigger.detectors.strips_background import background, particles_per_plane
from hairtrigger.detectors.strips_config import StripsConfig
from hairtrigger.detectors.strips_drift import Arrivals, avalanche, drift, join, widths_mm
from hairtrigger.detectors.strips_ionisation import (
    DELTA_ELECTRONS,
    DENSITIES_MM,
    TABLE,
    Electrons,
    Lines,
    electron_cdf,
    ionise,
    isotropic,
    range_mm,
    slow,
)

CONFIG = StripsConfig()
EVEN = {"background_khz_cm2": 0.0, "strip_gain_spread": 0.0, "strip_time_spread_ns": 0.0}
"""All strips alike."""

CLEAN = StripsConfig(noise_e_range=(1e-3, 1e-3), **EVEN)
"""No noise: a threshold of 7e-3 electrons, so every charge is a hit."""

UNSHARED = {"sharing_nearest": 0.0, "sharing_next": 0.0}

N = 20_000


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(seed))


def lines(n: int, tan_theta: float = 0.0, x_mm: float = 0.0) -> Lines:
    path = CONFIG.gap_mm * math.sqrt(1 + tan_theta**2)
    full = [np.full(n, value, np.float32) for value in (x_mm, tan_theta, path, 0.0)]
    return Lines(np.arange(n), *full)


def charges(*rows: tuple[int, int, float, float]) -> Arrivals:
    """Arrivals of (plane, strip, time in ns, charge in electrons)."""
    plane, strip, time, charge = (np.array(column) for column in zip(*rows, strict=True))
    as_float = (time.astype(np.float32), charge.astype(np.float32))
    return Arrivals(plane.astype(np.int64), strip.astype(np.int64), *as_float)


def read(arrivals: Arrivals, config: StripsConfig, planes: int = 1, strips: int = 16):
    return electronics.read_out(rng(), arrivals, join([]), planes, strips, config)


# Ionisation


def test_electrons_of_an_interaction_follow_the_table_and_its_tail():
    cdf = electron_cdf(300)
    weight = np.diff(cdf, prepend=0)
    assert weight[: len(TABLE)] / weight[0] == pytest.approx(np.array(TABLE) / TABLE[0])
    assert weight[99] / weight[0] == pytest.approx(21.6 / 100**2 / 65.6)
    assert cdf[-1] == pytest.approx(1)


def mean_interactions(path_mm: float) -> float:
    """Of steps exponential with density k, k a cut Gaussian: the renewal equation, solved in steps.

    m(x) = F(x) + integral of m(x - u) dF(u), the trapezoid rule at 1/800 of the path.
    """
    k = np.linspace(*DENSITIES_MM, 4001)[1:]
    weight = np.exp(-((k - CONFIG.interactions_mm) ** 2) / 2 / CONFIG.interactions_spread_mm**2)
    weight /= weight.sum()
    x = np.linspace(0, path_mm, 801)
    reached = 1 - np.exp(-np.outer(x, k)) @ weight
    part = np.diff(reached)
    m = np.zeros_like(x)
    for i in range(1, len(x)):
        known = part[1:i] @ (m[i - 1 : 0 : -1] + m[i - 2 :: -1][: i - 1]) / 2 if i > 1 else 0.0
        m[i] = (reached[i] + known + part[0] * m[i - 1] / 2) / (1 - part[0] / 2)
    return float(m[-1])


@pytest.mark.parametrize("tan_theta", [0.0, 0.8])
def test_mean_number_of_interactions_is_that_of_a_renewal_process(tan_theta):
    line = lines(N, tan_theta)
    _, primaries, _ = ionise(rng(2), line, CONFIG)
    expected = mean_interactions(float(line.path_mm[0]))
    assert primaries.mean() == pytest.approx(expected, abs=4.5 * primaries.std() / math.sqrt(N))
    # "About 16": 3.23 a mm, less what the spread of densities takes
    assert expected == pytest.approx(15.2 * math.sqrt(1 + tan_theta**2), rel=0.02)


def test_interactions_are_on_the_line_and_evenly_along_it():
    parts, _, _ = ionise(rng(3), lines(N, 0.5, 1.0), CONFIG)
    points = parts[0]
    gap = CONFIG.gap_mm
    assert np.abs(points.x_mm - 1.0 - 0.5 * (points.d_mm - gap / 2)).max() < 1e-5
    assert points.d_mm.min() >= 0
    assert points.d_mm.max() <= gap
    counts, _ = np.histogram(points.d_mm, 10, (0, gap))
    n = np.arange(1, DELTA_ELECTRONS)
    weight = np.array(TABLE[: DELTA_ELECTRONS - 1])
    grouped = (n**2 @ weight) / (n @ weight)  # electrons come in groups
    expected = len(points) / 10
    assert counts == pytest.approx(expected, abs=4.5 * math.sqrt(grouped * expected))


def test_range_of_electrons_is_the_published_formula():
    density = CONFIG.density_g_cm3
    assert range_mm(10.0, CONFIG) == pytest.approx(10 * 2.589e-4 / density, rel=1e-3)
    kev = np.geomspace(0.3, 1000, 50)
    assert (np.diff(range_mm(kev, CONFIG)) > 0).all()


def test_delta_rays_reach_as_far_as_their_range_and_no_further():
    n, kev = 4000, 10.0
    start = np.zeros(n, np.float32)
    middle = np.full(n, CONFIG.gap_mm / 2, np.float32)
    number = np.full(n, round(kev * 1000 / CONFIG.work_ev))
    way = isotropic(rng(4), n)
    made = slow(rng(5), np.arange(n), start, middle, start, way, np.full(n, kev), number, CONFIG)
    assert np.array_equal(np.bincount(made.plane, minlength=n), number)  # all are in the gap
    far = np.hypot(made.x_mm, made.d_mm - CONFIG.gap_mm / 2)
    furthest = np.zeros(n)
    np.maximum.at(furthest, made.plane, far)
    reach = float(range_mm(kev, CONFIG))
    assert reach == pytest.approx(1.55, abs=0.01)
    assert furthest.max() <= reach * 1.0001
    assert (
        0.4 * reach < furthest.mean() < 0.9 * reach
    )  # they turn, and one of three axes is not seen
    # The end of the path is dense: the first half of the energy takes most of the path
    half = float(range_mm(kev, CONFIG) - range_mm(kev / 2, CONFIG))
    assert half > 0.6 * reach


def test_delta_rays_leave_the_line_but_small_interactions_do_not():
    parts, _, longest = ionise(rng(6), lines(N), CONFIG)
    assert len(parts) == 2
    assert np.abs(parts[0].x_mm).max() < 1e-6
    assert np.abs(parts[1].x_mm).max() > CONFIG.pitch_mm
    share = (longest > 0).mean()
    # Poisson, nearly: 15.2 interactions of which some 1 % have 20 electrons or more
    tail = 1 - electron_cdf(CONFIG.electrons_max)[DELTA_ELECTRONS - 2]
    assert share == pytest.approx(-math.expm1(-15.2 * tail), abs=0.012)


def test_without_a_tail_there_are_no_delta_rays():
    config = dataclasses.replace(CONFIG, electrons_max=DELTA_ELECTRONS - 1)
    parts, _, longest = ionise(rng(7), lines(2000), config)
    assert len(parts) == 1
    assert longest.max() == 0


# Drift and avalanche


def cloud(n: int, d_mm: float, config: StripsConfig, pitch: float = 0.01) -> Arrivals:
    """Electrons from one point, seen with so fine strips that their pitch does not count."""
    config = dataclasses.replace(config, pitch_mm=pitch)
    point = [np.full(n, value, np.float32) for value in (0.0, d_mm, 0.0)]
    return drift(rng(8), [Electrons(np.zeros(n, np.int64), *point)], 0, config)


@given(d_mm=st.floats(0.05, 5.0), law=st.sampled_from(["root", "linear"]))
@settings(max_examples=10, deadline=None)
def test_clouds_have_the_widths_of_their_law(d_mm, law):
    config = dataclasses.replace(CONFIG, diffusion_law=law)
    made = cloud(N, d_mm, config)
    x = (made.strip + 0.5) * 0.01
    d = made.time_ns * CONFIG.drift_velocity_mm_ns
    scale = math.sqrt(d_mm / 10) if law == "root" else d_mm / 10
    error = 4.5 / math.sqrt(2 * N)
    assert x.std() == pytest.approx(math.hypot(0.36 * scale, 0.01 / math.sqrt(12)), rel=error)
    assert d.std() == pytest.approx(0.19 * scale, rel=error)
    assert d.mean() == pytest.approx(d_mm, abs=4.5 * 0.19 * scale / math.sqrt(N) + 1e-4)


def test_after_the_gap_a_cloud_is_256_um_wide():
    across, _ = widths_mm(np.float32(5.04), CONFIG)
    assert across == pytest.approx(0.256, abs=0.001)
    linear, _ = widths_mm(np.float32(10), dataclasses.replace(CONFIG, diffusion_law="linear"))
    assert linear == pytest.approx(widths_mm(np.float32(10), CONFIG)[0])


@pytest.mark.parametrize("field_t", [0.3, -0.3, 0.1])
def test_a_field_moves_electrons_by_the_lorentz_angle(field_t):
    config = dataclasses.replace(CONFIG, field_t=field_t)
    b = abs(field_t)
    degrees = 58.87 * b - 2.983 * b**2 - 10.62 * b**3 + 2.818 * b**4
    if b == 0.3:
        assert degrees == pytest.approx(17.1, abs=0.05)
    shift = math.copysign(4.0 * math.tan(math.radians(degrees)), field_t)
    x = (cloud(N, 4.0, config).strip + 0.5) * 0.01
    assert x.mean() == pytest.approx(shift, abs=4.5 * 0.228 / math.sqrt(N))


def test_full_drift_takes_107_to_112_ns():
    assert CONFIG.full_drift_ns == pytest.approx(107.2, abs=0.1)
    slower = dataclasses.replace(CONFIG, drift_velocity_mm_ns=0.045)
    assert slower.full_drift_ns == pytest.approx(112, abs=0.1)


@given(theta=st.floats(0.0, 4.0), size=st.sampled_from([None, 1, 7, 250]))
@settings(max_examples=15, deadline=None)
def test_avalanches_have_the_mean_and_variance_of_polya(theta, size):
    config = dataclasses.replace(CONFIG, polya_theta=theta)
    number = None if size is None else np.full(N, size, np.float32)
    made = avalanche(rng(9), N, number, config).astype(float)
    many = 1 if size is None else size
    assert made.mean() == pytest.approx(6000 * many, rel=4.5 / math.sqrt(N * many * (1 + theta)))
    variance = 6000**2 * many / (1 + theta)
    # The kurtosis of a gamma is 3 + 6 / shape
    spread = math.sqrt((2 + 6 / (many * (1 + theta))) / N)
    assert made.var() == pytest.approx(variance, rel=5 * spread)


def test_electrons_outside_the_gap_do_not_arrive():
    d = np.array([-0.1, 0.0, 2.0, 5.04, 5.1], np.float32)
    zero = np.zeros(5, np.float32)
    made = drift(rng(), [Electrons(np.arange(5), zero, d, zero)], 16, CONFIG)
    assert made.plane.tolist() == [1, 2, 3]


# Pulses


def test_sharing_keeps_the_total_and_the_ratios():
    canvas = np.zeros((3, 9), np.float32)
    canvas[1, 4] = 1000
    out = electronics.share(canvas, CONFIG)
    assert out.sum() == pytest.approx(1000)
    assert out[1, 2:7] / out[1, 4] == pytest.approx([0.09, 0.3, 1, 0.3, 0.09])
    assert out[[0, 2]].sum() == 0


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("peaking_ns", [25.0, 50.0, 100.0, 200.0])
def test_the_pulse_of_one_charge_is_the_formula(peaking_ns, order):
    config = dataclasses.replace(CONFIG, peaking_ns=peaking_ns, shaper_order=order)
    canvas = np.zeros((80, 2), np.float32)
    canvas[3, 1] = 1000
    electronics.shape(canvas, config)
    t = np.maximum((np.arange(80) - 3) * electronics.STEP_NS, 0) / peaking_ns
    expected = 1000 * (t * np.exp(1 - t)) ** order
    assert canvas[:, 1] == pytest.approx(expected, abs=0.02)
    assert canvas[:, 0].max() == 0


@given(
    time=st.floats(0, 150),
    charge=st.floats(5e4, 3e5),
    peaking_ns=st.sampled_from([25.0, 50.0, 100.0, 200.0]),
)
@settings(max_examples=40, deadline=None)
def test_one_charge_is_read_at_its_time_with_its_height(time, charge, peaking_ns):
    config = dataclasses.replace(CLEAN, peaking_ns=peaking_ns, **UNSHARED)
    hits = read(charges((0, 8, time, charge)), config)
    assert np.flatnonzero(hits.charge[0]).tolist() == [8]
    ns = config.window_ns[0] + config.time_lsb_ns * float(hits.time[0, 8])
    assert ns == pytest.approx(time, abs=1.3)
    assert hits.charge[0, 8] / config.counts_e == pytest.approx(charge, rel=0.02)
    assert hits.muon_share[0, 8] == 255


def test_shared_charge_makes_a_cluster_of_five_with_its_ratios():
    hits = read(charges((0, 8, 40.0, 5e5)), CLEAN)
    assert np.flatnonzero(hits.charge[0]).tolist() == [6, 7, 8, 9, 10]
    ratio = hits.charge[0, 6:11] / hits.charge[0, 8]
    assert ratio == pytest.approx([0.09, 0.3, 1, 0.3, 0.09], abs=0.005)
    assert (hits.time[0, 6:11] == hits.time[0, 8]).all()


def test_charge_is_shared_into_the_image_but_not_into_the_next_plane():
    beyond = charges((0, -1, 40.0, 5e5), (1, 16, 40.0, 5e5))
    hits = read(beyond, CLEAN, planes=3)
    assert np.flatnonzero(hits.charge[0]).tolist() == [0, 1]
    assert np.flatnonzero(hits.charge[1]).tolist() == [14, 15]
    assert hits.charge[2].max() == 0


def test_a_large_charge_saturates_the_adc():
    full = 1023 / CONFIG.counts_e
    assert full == pytest.approx(1000 / 9 / 1.602e-4, rel=1e-3)
    config = dataclasses.replace(CLEAN, **UNSHARED)
    for factor, expected in ((0.9, 920), (1.2, 1023), (50, 1023)):
        counts = read(charges((0, 8, 40.0, factor * full)), config).charge[0, 8]
        assert counts == pytest.approx(expected, abs=12 if factor < 1 else 0)


def test_times_outside_the_window_are_no_hits():
    config = dataclasses.replace(CLEAN, **UNSHARED)
    for time, seen in ((-16.0, False), (-9.0, True), (184.0, True), (191.0, False)):
        assert (read(charges((0, 8, time, 1e5)), config).charge.max() > 0) == seen


@pytest.mark.parametrize(("dead_ns", "later"), [(100.0, 50.0), (200.0, 100.0), (200.0, 180.0)])
def test_a_strip_is_dead_after_a_hit(dead_ns, later):
    config = StripsConfig(**EVEN, **UNSHARED, dead_ns=dead_ns, peaking_ns=25.0)
    for before, alive in ((dead_ns + 30, True), (dead_ns - 30, False)):
        both = charges((0, 8, later - before, 1e5), (0, 8, later, 1e5))
        hits = read(both, config)
        if later - before >= config.window_ns[0]:
            assert hits.time[0, 8] == pytest.approx(later - before + 12.5, abs=2)
        elif alive:
            assert hits.time[0, 8] == pytest.approx(later + 12.5, abs=3)
        else:
            assert hits.charge[0, 8] == 0


def test_threshold_is_seven_times_the_noise():
    config = StripsConfig(**EVEN, **UNSHARED)
    assert config.threshold_e == pytest.approx(7 * config.noise_e)
    planes, levels = 4000, (6.0, 6.9, 7.1, 8.0)
    for level in levels:
        rows = np.arange(planes)
        full = [np.full(planes, v) for v in (8, 40.0, level * config.noise_e)]
        hits = read(charges(*zip(rows, *full, strict=True)), config, planes)
        seen = float((hits.charge[:, 8] > 0).mean())
        expected = 0.5 * math.erfc((7 - level) / math.sqrt(2))
        assert seen == pytest.approx(expected, abs=4.5 * 0.5 / math.sqrt(planes) + 0.01)


def test_noise_is_linear_in_the_length_of_the_strip():
    lengths = (100.0, 350.0, 1175.0, 2000.0, 5000.0)
    noise = [StripsConfig(strip_length_mm=length).noise_e for length in lengths]
    assert noise == pytest.approx([1000, 1000, 2000, 3000, 3000])


def test_time_noise_is_that_of_white_noise_through_the_shaper():
    """Noise made sample by sample, shaped, added to a pulse, and the peak looked for."""
    config = dataclasses.replace(CONFIG, noise_e_range=(1000.0, 1000.0))
    n, steps, height = 8000, 120, 20_000.0
    canvas = rng(10).standard_normal((steps, n), dtype=np.float32)
    electronics.shape(canvas, config)
    canvas *= 1000 / canvas[60:].std()
    canvas[: steps - 60] = canvas[60:]
    t = np.arange(60)[:, None] * electronics.STEP_NS / config.peaking_ns
    pulse = height * (t * np.exp(1 - t)) ** 2
    wave = canvas[:60].astype(float) + pulse
    top = wave.argmax(axis=0)
    a, b, c = (wave[top + k, np.arange(n)] for k in (-1, 0, 1))
    peak = (top + 0.5 * (a - c) / (a - 2 * b + c)) * electronics.STEP_NS
    expected = electronics.time_noise_ns(np.float64(height), config)
    assert peak.std() == pytest.approx(expected, rel=0.08)


def test_strips_differ_by_what_calibration_leaves():
    config = dataclasses.replace(
        CLEAN, **UNSHARED, strip_gain_spread=0.1, strip_time_spread_ns=3.0, adc_bits=14
    )
    n = 4000
    rows = zip(range(n), [8] * n, [80.0] * n, [1e5] * n, strict=True)
    hits = read(charges(*rows), config, n)
    error = 4.5 / math.sqrt(2 * n)
    heights = hits.charge[:, 8].astype(float)
    assert heights.std() / heights.mean() == pytest.approx(0.1, rel=error)
    rounded = math.hypot(3.0, 1 / math.sqrt(12))
    assert hits.time[:, 8].astype(float).std() == pytest.approx(rounded, rel=error)


def test_neighbours_of_a_hit_are_read_below_threshold():
    config = StripsConfig(**EVEN, noise_e_range=(2000.0, 2000.0), adc_bits=12)
    few = charges((0, 8, 40.0, 4e4))  # 22,470 in the strip, 6740 and 2020 beside it
    plain = read(few, config)
    assert np.flatnonzero(plain.charge[0]).tolist() == [8]
    asked = read(few, dataclasses.replace(config, neighbours=True))
    assert np.flatnonzero(asked.charge[0]).tolist() == [7, 8, 9]
    assert asked.charge[0, 8] == plain.charge[0, 8]
    assert (asked.charge[0, [7, 9]] < asked.charge[0, 8]).all()


def test_the_share_of_the_muon_is_told_where_it_meets_background():
    config = dataclasses.replace(CLEAN, **UNSHARED)
    muon, other = (
        charges((0, 4, 40.0, 9e4), (0, 8, 40.0, 3e4)),
        charges((0, 8, 40.0, 9e4), (0, 12, 40.0, 9e4)),
    )
    hits = electronics.read_out(rng(), muon, other, 1, 16, config)
    assert hits.muon_share[0, [4, 12]].tolist() == [255, 0]
    assert hits.muon_share[0, 8] == pytest.approx(255 / 4, abs=1)
    # A muon's charge later than the peak of the background has no part in it
    late = electronics.read_out(rng(), charges((0, 8, 150.0, 9e4)), other, 1, 16, config)
    assert late.muon_share[0, 8] == 0


# Background


def test_background_comes_at_its_rate_evenly_in_time():
    config = dataclasses.replace(CONFIG, neutron_share=1.0)
    made = background(rng(11), 2000, 64, -100.0, 100.0, config)
    times = np.unique(made[0].time_ns)
    mean = 15e3 * (64 * 0.0425 + 0.6) * 45 * 200e-9
    assert particles_per_plane(64, 100.0, 100.0, config) == pytest.approx(mean)
    assert len(times) == pytest.approx(2000 * mean, abs=4.5 * math.sqrt(2000 * mean))
    assert times.mean() == pytest.approx(0, abs=4.5 * 57.7 / math.sqrt(len(times)))


@pytest.mark.parametrize(
    ("neutron_share", "fast"), [(0.0, 0.0), (0.0, 1.0), (1.0, 0.5), (0.1, 0.5)]
)
def test_every_kind_of_background_ionises(neutron_share, fast):
    config = dataclasses.replace(CONFIG, neutron_share=neutron_share, photon_fast_share=fast)
    made = background(rng(12), 500, 64, -300.0, 187.5, config)
    arrived = drift(rng(13), made, 64, config)
    assert len(arrived.plane) > 5000
    assert np.isfinite(arrived.charge_e).all()


def test_without_a_rate_there_is_no_background():
    config = dataclasses.replace(CONFIG, background_khz_cm2=0.0)
    assert sum(len(part) for part in background(rng(), 500, 64, -300.0, 187.5, config)) == 0
