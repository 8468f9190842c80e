"""The simulated RPC sector: its physics against the parameters and the published numbers."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.detectors import rpc
from hairtrigger.detectors.rpc_config import RpcConfig
from hairtrigger.detectors.rpc_muons import Muons, crossings
from hairtrigger.errors import HairtriggerError, InputError

QUIET = {"noise_rate_hz_cm2": 0.0}
SHARP = {"double_probability": 0.0, "triple_probability": 0.0, "efficiency": 1.0}
STRAIGHT = {"radiation_lengths": 0.0, "vertex_sigma_m": 0.0}
LOSSLESS = {"energy_loss_gev": 0.0, "energy_loss_spread_gev": 0.0}
SEEN = {"pt_range_gev": (20.0, 30.0), "eta_range": (0.2, 0.9)}

BI, BO = slice(0, 3), slice(7, 9)


def assert_binomial(count: int, trials: int, probability: float) -> None:
    """Within 4.5 standard deviations: about one false alarm in 150,000 with other seeds."""
    expected = trials * probability
    sigma = math.sqrt(expected * (1 - probability))
    assert abs(count - expected) <= 4.5 * sigma + 1e-9, (count / trials, probability)


def mean_strip(images: np.ndarray) -> np.ndarray:
    """The mean strip of the fired ones, of single-muon images (events, rows, strips) per event."""
    fired = images.sum(axis=(1, 2))
    return (images * np.arange(images.shape[2])).sum(axis=(1, 2)) / fired


def bends(pt: float, eta: float, charge: int | None = None, events: int = 4000, **changes):
    """BI to BO bend in strips of single muons without noise, towards their own charge's side."""
    config = RpcConfig(
        pt_range_gev=(pt, pt * 1.0001),
        eta_range=(eta - 0.003, eta + 0.003),
        **(QUIET | SHARP | changes),
    )
    found = rpc.simulate(events, seed=5, config=config, muons=1)
    if charge is not None:
        found = found.select(found.truth["charge"][:, 0] == charge)
    images = found.unpacked()
    whole = images[:, BI].any(axis=(1, 2)) & images[:, BO].any(axis=(1, 2))
    images, charges = images[whole], found.truth["charge"][whole, 0]
    return charges * (mean_strip(images[:, BO]) - mean_strip(images[:, BI]))


# The chambers


def test_every_layer_fires_with_its_own_efficiency():
    efficiency = (0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98)
    config = RpcConfig(efficiency=efficiency, **QUIET, **SEEN)
    images = rpc.simulate(20_000, seed=1, config=config, muons=1).unpacked()
    for layer, probability in enumerate(efficiency):
        assert_binomial(int(images[:, layer].any(axis=1).sum()), len(images), probability)


def test_clusters_of_a_muon_have_the_sizes_of_the_configuration():
    config = RpcConfig(**QUIET, **SEEN)
    events = rpc.simulate(20_000, seed=2, config=config, muons=1)
    sizes = events.unpacked().sum(axis=2).ravel()
    sizes = sizes[sizes > 0]
    double, triple = config.double_probability, config.triple_probability
    for size, probability in ((1, 1 - double - triple), (2, double), (3, triple)):
        assert_binomial(int((sizes == size).sum()), sizes.size, probability)
    assert sizes.mean() == pytest.approx(1.5, abs=0.01)


def test_the_second_strip_is_on_the_side_of_the_crossing():
    config = RpcConfig(**QUIET, **SEEN, **STRAIGHT, **LOSSLESS, bending_tm=(0.0, 0.0))
    config = dataclasses.replace(config, efficiency=1.0, triple_probability=0.0)
    events = rpc.simulate(5000, seed=3, config=config, muons=1)
    bi = events.unpacked()[:, 0]
    position = events.truth["eta"][:, 0] / 1.05 * 384
    first = bi.argmax(axis=1)
    double = bi.sum(axis=1) == 2
    upper = position % 1 > 0.5
    assert np.array_equal(first[double], np.floor(position[double]) - ~upper[double])
    share = double[np.abs(position % 1 - 0.5) > 0.45].mean()
    assert share == pytest.approx(2 * 0.4 * 0.95, abs=0.06)


# The background


@pytest.mark.parametrize("rate", [0.0, 150.0, 300.0, 600.0])
def test_occupancy_is_rate_times_area_times_window(rate):
    config = RpcConfig(noise_rate_hz_cm2=rate, noise_size_weights=(1.0,))
    images = rpc.simulate(4000, seed=4, config=config, muons=0).unpacked()
    mean = rate * 3.0 * 300.0 * 25e-9
    assert_binomial(int(images.sum()), images.size, -math.expm1(-mean))
    if rate == 150.0:
        assert images.mean() == pytest.approx(0.0034, rel=0.02)


def test_images_of_noise_show_about_a_dozen_clusters():
    events = rpc.simulate(20_000, seed=5, muons=0)
    clusters = events.truth["n_noise_clusters"].astype(float)
    expected = 9 * 384 * 150.0 * 900.0 * 25e-9
    assert abs(clusters.mean() - expected) < 4.5 * math.sqrt(expected / len(events))
    assert 11 < clusters.mean() < 13
    # Poisson: the variance is the mean, known to sqrt(2/n) of itself.
    assert clusters.var() / clusters.mean() == pytest.approx(1, abs=4.5 * math.sqrt(2 / 20_000))


def test_noise_clusters_are_runs_of_one_to_six_strips():
    config = RpcConfig(noise_rate_hz_cm2=15.0)
    events = rpc.simulate(20_000, seed=6, config=config, muons=0)
    images = events.unpacked(events.truth["n_noise_clusters"] == 1)
    edges = np.count_nonzero(np.diff(images.astype(np.int8), axis=2, prepend=0, append=0), axis=2)
    assert set(np.unique(edges.sum(axis=1))) == {2}  # one run in the whole image
    strips = images.any(axis=1)
    middle = (strips.argmax(axis=1) > 4) & (strips.argmax(axis=1) < 370)
    sizes = strips[middle].sum(axis=1)
    assert sizes.max() <= 6
    for size, probability in enumerate(config.noise_size_probabilities, 1):
        assert_binomial(int((sizes == size).sum()), sizes.size, probability)


def test_noise_is_alike_in_all_layers_and_strips():
    images = rpc.simulate(8000, seed=7, muons=0).unpacked()
    layers, strips = images.sum(axis=(0, 2)), images.sum(axis=(0, 1))
    assert layers.max() / layers.min() < 1.05
    assert strips[4:-4].std() / strips[4:-4].mean() < 2.2 / math.sqrt(strips.mean())


# The way of a muon


@pytest.mark.parametrize(
    ("pt", "eta", "published"), [(7.88, 0.134, 15), (13.98, 0.652, 15), (19.4, 0.59, 10)]
)
def test_bend_reproduces_the_published_images_to_within_the_spread(pt, eta, published):
    found = bends(pt, eta)
    assert abs(found.mean() - published) < found.std()
    assert found.std() < published / 2


def test_bend_is_that_of_a_circle_in_the_field():
    eta, pt = 0.5, 30.0
    power = 2.5 + 3.0 * -math.expm1(-((eta / 0.35) ** 2))
    radius = np.array([9.80, 9.82])
    shift = 0.15 * power * (radius - 4.7) ** 2 / (10.05 - 4.7) / (radius * pt)
    found = bends(pt, eta, **STRAIGHT, **LOSSLESS)
    assert found.mean() == pytest.approx(shift.mean() * 384 / 1.05, rel=0.03)


def test_bend_falls_with_momentum_and_changes_side_with_charge():
    ideal = STRAIGHT | LOSSLESS
    products = [pt * bends(pt, 0.3, **ideal).mean() for pt in (15.0, 20.0, 30.0)]
    assert max(products) / min(products) < 1.04
    for charge in (-1, 1):
        assert bends(15.0, 0.3, charge, **ideal).min() > 0


def test_bend_without_field_is_none():
    found = bends(10.0, 0.5, **STRAIGHT, **LOSSLESS, bending_tm=(0.0, 0.0))
    assert abs(found.mean()) < 0.02
    assert np.abs(found).max() < 1


def test_energy_loss_bends_as_a_muon_of_lower_momentum():
    lossy = STRAIGHT | {"energy_loss_gev": 3.0, "energy_loss_spread_gev": 0.0}
    assert bends(13.0, 0.4, **lossy).mean() == pytest.approx(
        bends(10.0, 0.4, **STRAIGHT, **LOSSLESS).mean(), abs=0.1
    )


def test_scattering_angle_is_14_mrad_at_10_gev():
    config = RpcConfig(
        pt_range_gev=(10.0, 10.001),
        eta_range=(0.49, 0.51),
        bending_tm=(0.0, 0.0),
        vertex_sigma_m=0.0,
        **(QUIET | SHARP | LOSSLESS),
    )
    images = rpc.simulate(20_000, seed=8, config=config, muons=1).unpacked()
    at_bi, at_bo = (
        radius * np.sinh((images[:, layer].argmax(axis=1) + 0.5) * 1.05 / 384)
        for layer, radius in ((0, 4.60), (8, 9.82))
    )
    angle = np.arctan((at_bo - at_bi) / (9.82 - 4.60))
    stretch = math.cosh(0.5)
    expected = 0.0136 / (10 * stretch) * math.sqrt(100 * stretch)
    # In squares: strips of 14 and 30 mm add 1.9 mrad, the range of eta 5.1 mrad.
    assert angle.std() == pytest.approx(math.hypot(expected, 0.0019, 0.0051), rel=0.04)


@pytest.mark.parametrize("loss", [0.0, 3.0])
def test_scattering_shifts_and_turns_the_track_as_a_thick_scatterer(loss):
    pt, eta, size = 5.0, 0.4, 20_000
    config = RpcConfig(
        vertex_sigma_m=0.0,
        bending_tm=(0.0, 0.0),
        energy_loss_gev=loss,
        energy_loss_spread_gev=0.0,
        radiation_lengths=10.0,
    )
    same = np.ones(size, np.float32)
    index = np.arange(size)
    muons = Muons(index, 0 * index, pt * same, eta * same, 0 * same, same.astype(np.int8))
    strip = crossings(np.random.default_rng(1), muons, config).astype(float)
    first, last = (
        radius * np.sinh(strip[:, layer] * 1.05 / 384) for layer, radius in ((0, 4.60), (8, 9.82))
    )
    slope = (last - first) / (9.82 - 4.60)
    stretch = math.cosh(eta)
    shift = (first - slope * 0.40 - 4.2 * math.sinh(eta)) / stretch
    angle = np.arctan(slope) - math.atan(math.sinh(eta))
    # p falls linearly with the depth: 1/p^2 averages to 1/(p_in p_out).
    width = 0.0136 * math.sqrt(10 * stretch / (pt * stretch * (pt - loss) * stretch))
    assert angle.std() == pytest.approx(width, rel=0.025)
    assert shift.std() == pytest.approx(width * 2.7 * stretch / math.sqrt(3), rel=0.025)
    assert np.corrcoef(angle, shift)[0, 1] == pytest.approx(math.sqrt(3) / 2, abs=0.01)


def test_vertex_spread_shifts_the_inner_layers_more():
    config = RpcConfig(
        vertex_sigma_m=0.10,
        radiation_lengths=0.0,
        bending_tm=(0.0, 0.0),
        eta_range=(0.3, 0.301),
        **(QUIET | SHARP | LOSSLESS),
    )
    images = rpc.simulate(10_000, seed=9, config=config, muons=1).unpacked()
    for layer, radius in ((0, 4.60), (8, 9.82)):
        spread = images[:, layer].argmax(axis=1).std() * 1.05 / 384
        assert spread == pytest.approx(0.10 / radius / math.cosh(0.3), rel=0.05)


def test_muons_that_the_calorimeter_stops_leave_no_hits():
    config = RpcConfig(pt_range_gev=(2.0, 2.4), energy_loss_spread_gev=0.0, **QUIET)
    events = rpc.simulate(3000, seed=10, config=config, muons=1)
    assert not events.images.any()
    assert not events.truth["layers_hit"].any()
    assert (events.truth["n_muons"] == 1).all()


def test_soft_muons_that_bend_outwards_turn_back_before_the_outer_layers():
    config = RpcConfig(pt_range_gev=(3.9, 4.1), eta_range=(0.5, 0.6), **QUIET)
    events = rpc.simulate(3000, seed=11, config=config, muons=1)
    outwards = events.unpacked(events.truth["charge"][:, 0] > 0).any(axis=2)
    assert outwards[:, BI].mean() > 0.9
    assert outwards[:, BO].mean() < 0.05


# The truth


def test_truth_lists_the_leading_muon_first_and_zero_beyond_the_last():
    events = rpc.simulate(8000, seed=12)
    truth = events.truth
    assert (np.diff(truth["pt"], axis=1) <= 0).all()
    absent = np.arange(3) >= truth["n_muons"][:, None]
    for name in ("pt", "eta", "phi", "charge", "layers_hit"):
        assert not truth[name][absent].any()
    present = ~absent
    assert truth["pt"][present].min() >= 3
    assert truth["pt"][present].max() <= 30
    assert truth["eta"][present].min() >= 0
    assert truth["eta"][present].max() <= 1.05
    assert np.abs(truth["phi"]).max() <= math.pi / 16 + 1e-6
    assert_binomial(int((truth["charge"][present] == 1).sum()), int(present.sum()), 0.5)


def test_number_of_muons_follows_its_weights():
    truth = rpc.simulate(20_000, seed=13, muons=(1, 2, 3, 4)).truth
    for count, probability in enumerate((0.1, 0.2, 0.3, 0.4)):
        assert_binomial(int((truth["n_muons"] == count).sum()), len(truth), probability)
    for count in range(4):
        assert (rpc.simulate(100, seed=1, muons=count).truth["n_muons"] == count).all()
    assert set(rpc.simulate(500, seed=1, muons=(0, 1, 1)).truth["n_muons"]) == {1, 2}


@pytest.mark.parametrize("power", [0.0, 1.0, 3.0, -1.0])
def test_pt_spectrum_is_the_power_law(power):
    config = RpcConfig(pt_power=power, pt_range_gev=(4.0, 20.0))
    pt = np.sort(rpc.simulate(20_000, seed=14, config=config, muons=1).truth["pt"][:, 0])
    grid = np.linspace(4.0, 20.0, 4001)
    cumulative = np.concatenate([[0], np.cumsum((grid[1:] - 0.002) ** -power)])
    expected = np.interp(pt, grid, cumulative / cumulative[-1])
    distance = np.abs(expected - (np.arange(pt.size) + 0.5) / pt.size).max()
    assert distance < 2.2 / math.sqrt(pt.size)  # Kolmogorov: passed by 1 in 8,000


def test_counts_of_hits_are_those_of_the_images():
    events = rpc.simulate(3000, seed=15, with_signal=True)
    signal, images = rpc.unpack(events.signal), events.unpacked()
    assert np.array_equal(events.truth["n_hits"], signal.sum(axis=(1, 2)))
    assert not (signal & ~images & 1).any()
    noise_only = rpc.simulate(3000, seed=15, muons=0)
    assert np.array_equal(noise_only.truth["n_noise_hits"], noise_only.unpacked().sum(axis=(1, 2)))
    quiet = rpc.simulate(3000, seed=15, config=RpcConfig(**QUIET), with_signal=True)
    assert np.array_equal(quiet.images, quiet.signal)
    assert not quiet.truth["n_noise_hits"].any()


def test_layers_hit_counts_the_layers_that_fired():
    events = rpc.simulate(3000, seed=16, config=RpcConfig(**QUIET), muons=1)
    fired = events.unpacked().any(axis=2).sum(axis=1)
    assert np.array_equal(events.truth["layers_hit"][:, 0], fired)


def test_four_rows_are_the_or_of_the_layers_of_each_station():
    nine = rpc.simulate(3000, seed=17, with_signal=True)
    four = rpc.simulate(3000, seed=17, config=RpcConfig(rows=4), with_signal=True)
    layers = nine.unpacked()
    stations = [layers[:, rows].max(axis=1) for rows in (BI, slice(3, 5), slice(5, 7), BO)]
    assert np.array_equal(four.unpacked(), np.stack(stations, axis=1))
    assert np.array_equal(four.truth["pt"], nine.truth["pt"])
    assert np.array_equal(four.truth["n_hits"], rpc.unpack(four.signal).sum(axis=(1, 2)))


# Seeds


def test_seed_fixes_the_events_and_another_gives_others():
    first, again, other = (rpc.simulate(3000, seed=seed) for seed in (18, 18, 19))
    assert np.array_equal(first.images, again.images)
    assert np.array_equal(first.truth, again.truth)
    assert (first.images != other.images).any(axis=(1, 2)).mean() > 0.99
    blocks = first.images[: rpc.BLOCK_EVENTS], first.images[rpc.BLOCK_EVENTS :]
    assert not np.array_equal(blocks[0][: len(blocks[1])], blocks[1])


@settings(max_examples=25, deadline=None)
@given(
    start=st.integers(0, 5000),
    events=st.integers(0, 5000),
    threads=st.sampled_from([1, 2, 5]),
)
def test_any_part_of_the_series_is_the_same(series, start, events, threads):
    part = rpc.simulate(events, seed=20, start=start, threads=threads, with_signal=True)
    assert len(part) == events
    assert np.array_equal(part.images, series.images[start : start + events])
    assert np.array_equal(part.signal, series.signal[start : start + events])
    assert np.array_equal(part.truth, series.truth[start : start + events])


@pytest.fixture(scope="module")
def series():
    return rpc.simulate(10_000, seed=20, with_signal=True, threads=1)


# The container


def test_select_keeps_images_signal_and_truth_together(series):
    two = series.truth["n_muons"] == 2
    chosen = series.select(two)
    assert len(chosen) == two.sum()
    assert (chosen.truth["n_muons"] == 2).all()
    assert np.array_equal(chosen.images, series.images[two])
    assert np.array_equal(chosen.signal, series.signal[two])
    assert len(series.select(slice(10, 20))) == 10
    assert len(series.select([])) == 0
    assert np.array_equal(series.unpacked(slice(5, 7)), rpc.unpack(series.images[5:7]))


@pytest.mark.parametrize("where", [np.ones(7, bool), [0.5], [10_000], [[1, 2]], [-10_001]])
def test_select_refuses_what_cannot_select(series, where):
    for method in (series.select, series.unpacked):
        with pytest.raises(InputError, match="Way out"):
            method(np.asarray(where))


def test_batches_are_all_events_once(series):
    small = series.select(slice(0, 1000))
    plain = np.concatenate([batch.truth for batch in small.batches(300)])
    assert np.array_equal(plain, small.truth)
    mixed = [batch.truth["pt"] for batch in small.batches(300, seed=3)]
    assert [len(batch) for batch in mixed] == [300, 300, 300, 100]
    mixed = np.concatenate(mixed)
    assert not np.array_equal(mixed, small.truth["pt"])
    assert np.array_equal(np.sort(mixed, axis=None), np.sort(small.truth["pt"], axis=None))
    with pytest.raises(InputError):
        next(small.batches(0))


def test_targets_are_those_of_the_leading_muon(series):
    targets = series.targets()
    assert targets.shape == (len(series), 4)
    assert targets.dtype == np.float32
    assert np.array_equal(targets[:, 0], series.truth["pt"].max(axis=1))
    assert not targets[series.truth["n_muons"] == 0].any()


def test_unpack_undoes_packing():
    images = np.random.default_rng(0).integers(0, 2, (5, 9, 384), np.uint8)
    assert np.array_equal(rpc.unpack(np.packbits(images, axis=-1)), images)


@pytest.mark.parametrize("images", [np.zeros((2, 9, 48)), [[1]], None, np.uint8(3)])
def test_unpack_refuses_other_things(images):
    with pytest.raises(InputError, match="uint8"):
        rpc.unpack(images)


# What cannot be


def test_configuration_goes_through_json_unchanged():
    config = RpcConfig(muon_weights=(1, 5, 1), efficiency=np.full(9, 0.9), rows=4)
    again = RpcConfig(**json.loads(json.dumps(dataclasses.asdict(config))))
    assert again == config
    assert hash(again) == hash(config)
    assert config.muon_weights == pytest.approx((1 / 7, 5 / 7, 1 / 7, 0))


@pytest.mark.parametrize(
    "change",
    [
        {"noise_rate_hz_cm2": -1.0},
        {"noise_rate_hz_cm2": math.nan},
        {"noise_rate_hz_cm2": 1e9},
        {"noise_rate_hz_cm2": (1.0, 2.0)},
        {"noise_size_weights": (0.0, 0.0)},
        {"noise_size_weights": ()},
        {"noise_size_weights": (1.0, -0.1)},
        {"efficiency": 1.01},
        {"efficiency": -0.1},
        {"efficiency": (0.9, 0.9)},
        {"efficiency": "high"},
        {"double_probability": 0.6},
        {"triple_probability": -0.1},
        {"pt_range_gev": (30.0, 3.0)},
        {"pt_range_gev": (0.0, 3.0)},
        {"pt_range_gev": (5.0, 5.0)},
        {"pt_range_gev": 5.0},
        {"pt_power": math.inf},
        {"eta_range": (1.0, 0.0)},
        {"eta_range": (0.0, 50.0)},
        {"phi_range_rad": (1.0, -1.0)},
        {"vertex_sigma_m": -0.05},
        {"muon_weights": (0, 0, 0, 0)},
        {"muon_weights": (1, 1, 1, 1, 1)},
        {"muon_weights": (1, -1)},
        {"layer_radii_m": (4.6, 4.5, 4.4, 6.8, 6.82, 7.5, 7.52, 9.8, 9.82)},
        {"layer_radii_m": ()},
        {"layer_radii_m": (4.6, 4.62)},
        {"station_layers": (3, 2, 2)},
        {"station_layers": (3, 2, 4, 0)},
        {"calorimeter_radii_m": (1.5, 6.0)},
        {"calorimeter_radii_m": (4.2, 1.5)},
        {"field_radii_m": (10.0, 4.7)},
        {"bending_tm": (-1.0, 5.0)},
        {"bending_eta": 0.0},
        {"stop_momentum_gev": 0.0},
        {"energy_loss_gev": -3.0},
        {"radiation_lengths": -1.0},
        {"rows": 5},
        {"rows": 9.0},
        {"rows": True},
        {"strips": 380},
        {"strips": 0},
        {"strip_eta": (1.05, 0.0)},
        {"strip_pitch_cm": 0.0},
        {"window_ns": -25.0},
    ],
)
def test_impossible_configuration_is_named_with_a_way_out(change):
    with pytest.raises(InputError) as caught:
        RpcConfig(**change)
    name, value = next(iter(change.items()))
    assert caught.value.fix
    assert any(word in str(caught.value) for word in (name, repr(value), "muons", "layers"))


@pytest.mark.parametrize(
    "arguments",
    [
        {"events": -1},
        {"events": 2.5},
        {"events": True},
        {"events": None},
        {"seed": -3},
        {"seed": "one"},
        {"start": -1},
        {"threads": 0},
        {"muons": 4},
        {"muons": -1},
        {"muons": "two"},
        {"muons": (math.nan, 1)},
        {"muons": 1.5},
        {"config": {"rows": 9}},
        {"events": 10**15},
    ],
)
def test_impossible_arguments_are_refused(arguments):
    with pytest.raises(HairtriggerError, match="Way out"):
        rpc.simulate(**({"events": 10, "seed": 1} | arguments))


@settings(max_examples=30, deadline=None)
@given(
    pt=st.tuples(st.floats(0.01, 1000), st.floats(0.01, 1000)).filter(lambda r: r[0] < r[1] * 0.99),
    eta=st.tuples(st.floats(-5, 5), st.floats(-5, 5)).filter(lambda r: r[0] < r[1] - 1e-3),
    bending=st.tuples(st.floats(0, 50), st.floats(0, 50)),
    power=st.floats(-8, 8),
    lengths=st.floats(0, 1000),
    rows=st.sampled_from([4, 9]),
)
def test_any_possible_configuration_gives_sound_images(pt, eta, bending, power, lengths, rows):
    config = RpcConfig(
        pt_range_gev=pt,
        eta_range=eta,
        bending_tm=bending,
        pt_power=power,
        radiation_lengths=lengths,
        rows=rows,
    )
    events = rpc.simulate(20, seed=1, config=config)
    assert events.images.shape == (20, rows, 48)
    assert np.isfinite(events.truth["pt"]).all()
    assert (events.truth["n_hits"] <= 27 * events.truth["n_muons"]).all()


# Muons near each other


def test_close_by_muons_lie_within_the_opening_and_others_do_not_change():
    plain = rpc.simulate(6000, seed=30, muons=(0, 1, 1, 1))
    near = rpc.simulate(
        6000, seed=30, muons=(0, 1, 1, 1), config=RpcConfig(close_by_share=1.0, close_by_eta=0.04)
    )
    for name in ("pt", "charge", "n_muons"):
        assert np.array_equal(near.truth[name], plain.truth[name])
    assert np.array_equal(near.truth["eta"][:, 0], plain.truth["eta"][:, 0])
    present = np.arange(3) < near.truth["n_muons"][:, None]
    for name, opening, (low, high) in (
        ("eta", 0.04, (0, 1.05)),
        ("phi", 0.05, (-np.pi / 16, np.pi / 16)),
    ):
        values = near.truth[name]
        apart = (values - values[:, :1])[:, 1:][present[:, 1:]]
        assert np.abs(apart).max() <= opening * 1.0001
        inside = np.abs(values[:, 0] - (low + high) / 2) < (high - low) / 2 - opening
        unfolded = (values - values[:, :1])[:, 1:][present[:, 1:] & inside[:, None]]
        assert unfolded.std() == pytest.approx(opening / math.sqrt(3), rel=0.03)
        assert values[present].min() >= low - 1e-6
        assert values[present].max() <= high + 1e-6


def test_close_by_share_is_that_of_the_events():
    config = RpcConfig(close_by_share=0.3, close_by_eta=0.001)
    truth = rpc.simulate(8000, seed=31, muons=2, config=config).truth
    near = np.abs(truth["eta"][:, 0] - truth["eta"][:, 1]) < 0.0011
    expected = 0.3 + 0.7 * 2 * 0.0011 / 1.05
    assert_binomial(int(near.sum()), len(near), expected)


def test_muons_on_one_path_overlap_in_the_image():
    same = {"close_by_share": 1.0, "close_by_eta": 0.0, "close_by_phi_rad": 0.0}
    config = RpcConfig(**same, **QUIET, **LOSSLESS, **STRAIGHT, bending_tm=(0.0, 0.0))
    both = rpc.simulate(2000, seed=32, muons=2, config=config)
    layers = both.unpacked().sum(axis=2)
    # One strip is crossed by both: at most three strips fire in a layer.
    assert layers.max() <= 3
    assert np.quantile(both.truth["layers_hit"][:, :2], 0.01) >= 4


def test_a_store_made_before_the_option_still_fits(tmp_path):
    rpc.simulate_to_store(tmp_path / "events", 10, seed=1)
    text = (tmp_path / "events" / "zarr.json").read_text(encoding="utf-8")
    assert "close_by" not in text
    assert rpc.read_events(tmp_path / "events").config == RpcConfig()
    near = RpcConfig(close_by_share=0.5)
    with pytest.raises(HairtriggerError, match="close_by_share"):
        rpc.simulate_to_store(tmp_path / "events", 10, seed=1, config=near)
    rpc.simulate_to_store(tmp_path / "near", 10, seed=1, config=near)
    assert rpc.read_events(tmp_path / "near").config == near


@pytest.mark.parametrize(
    "change",
    [
        {"close_by_share": 1.1},
        {"close_by_share": (0.1, 0.2)},
        {"close_by_eta": -0.1},
        {"close_by_share": 0.5, "close_by_eta": 1.2},
        {"close_by_share": 0.5, "close_by_phi_rad": 1.0},
        {"close_by_share": math.nan},
    ],
)
def test_impossible_openings(change):
    with pytest.raises(InputError, match="close_by") as caught:
        RpcConfig(**change)
    assert caught.value.fix
