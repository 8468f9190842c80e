"""The strips study's clusters: samples, metrics, rivals and networks."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.detectors.strips_config import StripsConfig
from hairtrigger.errors import InputError, StorageError
from hairtrigger.studies import strips as study
from hairtrigger.studies import strips_front as front
from hairtrigger.studies import strips_metrics as metrics
from hairtrigger.studies import strips_rivals as rivals
from hairtrigger.studies import strips_samples as samples
from hairtrigger.studies.strips_samples import BACKGROUND, MUON, PIECE, Source

SEED = 5


@pytest.fixture(scope="module")
def clean() -> samples.Candidates:
    return samples.simulate(Source(600, SEED, (20.0, 20.0)))


@pytest.fixture(scope="module")
def noisy() -> samples.Candidates:
    return samples.simulate(Source(600, SEED + 1, (0.0, 40.0), 15.0))


# --- samples -------------------------------------------------------------------------------------


def test_every_plane_has_at_most_one_muon_cluster(noisy: samples.Candidates) -> None:
    muons = noisy.truth[noisy.truth["kind"] == MUON]
    assert len(np.unique(muons["plane"])) == len(muons) > 500
    assert set(np.unique(noisy.truth["kind"])) == {BACKGROUND, MUON, PIECE}
    assert noisy.planes == 600


def test_windows_hold_the_cluster(clean: samples.Candidates) -> None:
    muon = clean.truth["kind"] == MUON
    assert clean.charge.shape == clean.time.shape == (len(clean), samples.WIDTH)
    assert np.array_equal(clean.charge > 0, clean.time > 0)
    held = clean.charge.sum(axis=1)
    small = clean.truth["strips"] <= 12
    assert (held[small & muon] >= clean.truth["charge"][small & muon]).all()
    assert np.abs(clean.truth["x"][muon]).max() < samples.WIDTH


def test_without_a_muon_there_is_only_background() -> None:
    found = samples.simulate(Source(800, SEED, (0.0, 40.0), 20.0, muon=False))
    assert (found.truth["kind"] == BACKGROUND).all()
    assert len(found) > 50
    # The nominal angle must not tell one from the other.
    assert 0.25 < found.truth["nominal"].mean() < 0.55


def test_candidates_do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = samples.simulate(Source(300, SEED))
    monkeypatch.setattr(samples, "CHUNK", 128)
    parts = samples.simulate(Source(300, SEED))
    assert np.array_equal(whole.charge, parts.charge)
    for name in ("kind", "plane", "x", "centroid", "drift_mm"):
        assert np.array_equal(whole.truth[name], parts.truth[name])


def test_targets(noisy: samples.Candidates) -> None:
    wanted = study.targets(noisy)
    kind = noisy.truth["kind"]
    assert np.isnan(wanted[kind == PIECE]).all()
    assert (wanted[kind == BACKGROUND, 0] == 0).all()
    assert np.isnan(wanted[kind == BACKGROUND, 1:]).all()
    assert np.array_equal(wanted[kind == MUON, 1], noisy.truth["x"][kind == MUON])
    assert len(study.data(noisy)) == np.count_nonzero(kind != PIECE)


def test_samples_on_disk(noisy: samples.Candidates, tmp_path: Path) -> None:
    samples.save({"one": noisy}, tmp_path)
    again = samples.read(tmp_path / "one.npz")
    assert np.array_equal(again.truth, noisy.truth)
    assert (again.planes, again.pitch_mm) == (noisy.planes, noisy.pitch_mm)
    whole = (tmp_path / "one.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    np.savez(tmp_path / "foreign.npz", charge=np.zeros(3))
    for name in ("cut", "foreign", "missing"):
        with pytest.raises(StorageError, match="no sample of the strips study"):
            samples.read(tmp_path / f"{name}.npz")


# --- rivals --------------------------------------------------------------------------------------


def test_projection_is_the_detectors_own(clean: samples.Candidates) -> None:
    """The projection from the sample's numbers, beside that of the planes themselves."""
    from hairtrigger.detectors import strips, strips_clusters

    config = StripsConfig(background_khz_cm2=0.0)
    made = strips.simulate_planes(
        600, seed=SEED, config=config, angle_deg=(20.0, 20.0), strips=samples.STRIPS
    )
    found = strips_clusters.find_clusters(made.charge, made.time)
    cut = strips_clusters.windows(found, made.charge, made.time, samples.WIDTH, config=config)
    tangent = made.truth["tan_theta"][found.plane]
    direct = strips_clusters.time_projection(found, made.charge, made.time, tangent, config)
    ours = rivals.time_projection(clean, true_angle=True) * config.pitch_mm + cut.x_mm
    assert ours == pytest.approx(direct, abs=2e-6)


def test_projection_beats_the_centroid_where_tracks_are_inclined(
    clean: samples.Candidates,
) -> None:
    muon = clean.truth["kind"] == MUON
    true = clean.truth["x"][muon]
    better = metrics.gain(
        rivals.time_projection(clean)[muon] - true, rivals.centroid(clean)[muon] - true
    )
    assert better.low > 0.5


def test_likelihood_tells_muons_from_background(noisy: samples.Candidates) -> None:
    learned = rivals.learn_likelihood(noisy)
    scores = learned.scores(noisy)
    kind = noisy.truth["kind"]
    assert scores[kind == MUON].mean() > scores[kind == BACKGROUND].mean() + 1
    with pytest.raises(InputError, match="one kind"):
        rivals.learn_likelihood(noisy.select(kind == MUON))


# --- metrics -------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.floats(0.1, 10), st.floats(-100, 100), st.integers(0, 100))
def test_half_width_of_a_normal_distribution(sigma: float, shift: float, seed: int) -> None:
    """68 % of a normal distribution are within 0.9945 sigma."""
    drawn = np.random.default_rng(seed).normal(shift, sigma, 20_000)
    found = metrics.resolution(drawn, seed)
    assert found.value == pytest.approx(0.9945 * sigma, rel=0.05)
    assert found.low < found.value < found.high
    assert found.n == 20_000


def test_interval_of_a_resolution_covers() -> None:
    """Of 100 experiments, about 95 intervals hold the truth."""
    rng = np.random.default_rng(1)
    held = 0
    for number in range(100):
        found = metrics.resolution(rng.normal(0, 1, 1000), number)
        held += found.low <= 0.9945 <= found.high
    assert 86 <= held <= 100


def test_gain_uses_the_same_events() -> None:
    rng = np.random.default_rng(2)
    common = rng.normal(0, 1, 4000)
    found = metrics.gain(0.8 * common, common)
    assert found.value == pytest.approx(0.2)
    assert found.high - found.low < 1e-12
    with pytest.raises(InputError, match="different lengths"):
        metrics.gain(common, common[1:])
    with pytest.raises(InputError, match="NaN"):
        metrics.resolution(np.array([1.0, np.nan]))
    assert np.isnan(metrics.gain(np.zeros(0), np.zeros(0)).value)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40), st.floats(0.01, 1.0))
def test_cut_keeps_at_least_the_share(values: list[int], share: float) -> None:
    scores = np.array(values, dtype=np.float64)
    cut = metrics.cut_for(scores, share)
    assert (scores >= cut).mean() >= share - 1e-12
    with pytest.raises(InputError, match="make no cut"):
        metrics.cut_for(scores, 0.0)


def test_working_curve_falls_on_both_sides() -> None:
    rng = np.random.default_rng(3)
    points = metrics.working_curve(rng.normal(0, 1, 2000), rng.normal(2, 1, 2000))
    muons = [p.muons.value for p in points]
    fakes = [p.fakes.value for p in points]
    assert muons == sorted(muons, reverse=True)
    assert fakes == sorted(fakes, reverse=True)


# --- networks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [None, 8, 4])
def test_networks_for_the_chip_convert_exactly(bits: int | None, noisy: samples.Candidates) -> None:
    from hairtrigger.frontends.hgq import from_hgq, keras_values
    from hairtrigger.frontends.keras_file import import_keras
    from hairtrigger.graph import emulate_codes, encode
    from hairtrigger.studies import strips_networks as networks

    import_keras().utils.set_random_seed(SEED)
    hidden = (8, 6, 5)
    floating = networks.build_float(front.SEEN, study.OUTPUTS, hidden)
    build = networks.build_student if bits is None else networks.build_fixed
    model = build(front.SEEN, study.OUTPUTS, hidden)
    seen = front.network_input(study.inputs(noisy))
    networks.start_from_float(floating, model, seen, bits)
    graph = from_hgq(model)
    codes = encode(graph, seen)
    for ours, theirs in zip(
        emulate_codes(graph, codes), keras_values(model, graph, codes), strict=True
    ):
        assert np.array_equal(ours, theirs)
    near = floating.predict(seen, verbose=0)[:, 1]
    got = emulate_codes(graph, codes)[0][:, 1] * 2.0 ** -graph.output_types[0].lsb
    # Few bits are coarse, but the start is the float network.
    assert np.corrcoef(near, got)[0, 1] > (0.5 if bits == 4 else 0.98)
    widths = [layer.kq.quantizer.bits for layer in model.layers[1:]] if bits else []
    assert all(int(np.max(width)) == bits for width in widths)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12))
def test_balanced_weights_are_the_same_network(seed: int, units: int) -> None:
    from hairtrigger.studies import strips_networks as networks

    rng = np.random.default_rng(seed)
    sizes = (5, units, units + 1, 3)
    weights = [
        [rng.normal(size=(a, b)) * np.exp2(rng.integers(-4, 5, (a, 1))), rng.normal(size=b)]
        for a, b in itertools.pairwise(sizes)
    ]
    weights[1][0][0] = 0  # a unit that nothing reads
    before = [[part.copy() for part in layer] for layer in weights]
    made = networks.balanced(weights)
    x = rng.normal(size=(50, sizes[0]))

    def says(layers: list) -> np.ndarray:
        y = x
        for kernel, bias in layers[:-1]:
            y = np.maximum(y @ kernel + bias, 0)
        return y @ layers[-1][0] + layers[-1][1]

    assert says(made) == pytest.approx(says(before), rel=1e-9, abs=1e-9)
    for kernel, _ in made[1:]:
        size = np.sqrt((kernel**2).mean(axis=1))
        size = size[size > 0]
        assert size.max() / size.min() <= 2.0 + 1e-9
    for given_, kept in zip(weights, before, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(given_, kept, strict=True))


def test_bad_networks_are_refused(noisy: samples.Candidates) -> None:
    from hairtrigger.studies import strips_networks as networks

    floating = networks.build_float(front.SEEN, study.OUTPUTS, (4, 4, 4))
    model = networks.build_fixed(front.SEEN, study.OUTPUTS, (4, 4, 4))
    with pytest.raises(InputError, match="bits = 1"):
        networks.start_from_float(floating, model, front.network_input(study.inputs(noisy)), 1)
    with pytest.raises(InputError, match="2 hidden layers"):
        networks.build_float(front.SEEN, study.OUTPUTS, (4, 4))
    with pytest.raises(InputError, match="no preset 'large'"):
        study.preset_named("large")


def test_sample_names_are_distinct_and_seeds_too() -> None:
    of = study.sources(study.DEMO, 3)
    assert len({source.seed for source in of.values()}) == len(of)
    others = study.sources(study.DEMO, 4)
    assert not {s.seed for s in of.values()} & {s.seed for s in others.values()}
    assert of[study.test_name(40.0, 15.0)].angle_deg == (40.0, 40.0)
