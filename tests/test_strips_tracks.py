"""The tracks half of the strips study: samples, targets, networks, cut, figures, and all stages."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.detectors.strips_chambers import CHAMBER_TRUTH_DTYPE, simulate_chambers
from hairtrigger.detectors.strips_config import StripsConfig
from hairtrigger.errors import InputError, StorageError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.frontends.hgq import from_hgq, keras_values
from hairtrigger.frontends.keras_file import import_keras, load_model
from hairtrigger.graph import Builder, Literal, TensorType, emulate_codes, encode, linear, ops
from hairtrigger.graph.passes import optimise
from hairtrigger.records import from_json, to_json
from hairtrigger.report import strips_tracks as page
from hairtrigger.studies import strips_tracks as study
from hairtrigger.studies import strips_tracks_networks as networks
from hairtrigger.studies import strips_tracks_samples as samples
from hairtrigger.studies.strips_tracks_metrics import Said, is_right, judge, quantile
from hairtrigger.studies.strips_tracks_networks import CNN, RNN, CnnShape, RnnShape

SMALL = {CNN: CnnShape((3, 2), (5, 3), (4, 1), 4), RNN: RnnShape(2, 3)}
KERAS_SAVES = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
"""Keras on NumPy 2.4, where it saves a model."""


# --- samples -------------------------------------------------------------------------------------


def test_a_strip_says_whether_its_hit_is_in_time():
    config = StripsConfig(window_ns=(-12.5, 187.5), time_lsb_ns=2.0)
    time = np.array([1, 7, 8, 60, 61, 60])  # 3.5 ns is code 8, 107.5 ns is code 60
    charge = np.array([9, 9, 9, 9, 9, 0])
    assert samples.prompt_hits(charge, time, config).tolist() == [0, 0, 1, 1, 0, 0]


@given(st.integers(0, 2**31))
def test_hits_are_packed_and_unpacked(seed):
    hits = np.random.default_rng(seed).integers(0, 2, (3, 8, 64)).astype(np.uint8)
    packed = np.packbits(hits, axis=-1)
    assert np.array_equal(samples.unpack(packed), hits)
    assert np.array_equal(samples.strips_first(packed), hits.swapaxes(1, 2))


def test_rates_are_spread_evenly():
    found = samples.rates_of((1.0, 21.0), 10, seed=3)
    assert sorted(found.tolist()) == pytest.approx([2.0 * n for n in range(1, 11)])
    assert samples.rates_of((15.0, 15.0), 3, seed=3).tolist() == [15.0] * 3
    for bad in ((2.0, 1.0), (-1.0, 3.0), (math.nan, 1.0)):
        with pytest.raises(InputError, match="rates"):
            samples.rates_of(bad, 3, seed=3)


def test_samples_are_made_once_and_go_on_where_they_stopped(tmp_path, monkeypatch):
    calls = []

    def stopped(*arguments, **options):
        calls.append(options["start"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return simulate_chambers(*arguments, **options)

    monkeypatch.setattr(samples, "CHUNK", 16)
    monkeypatch.setattr(samples, "simulate_chambers", stopped)
    how = (True, 40, 7, (5.0, 15.0), study.CONFIG)
    with pytest.raises(KeyboardInterrupt):
        samples.make(tmp_path / "muons", *how)
    samples.make(tmp_path / "muons", *how)
    assert calls == [0, 16, 16, 32]  # the first chunk was kept
    found = samples.read(tmp_path / "muons")
    assert len(found) == 40
    assert (found.truth["muons"] == 1).all()
    assert set(found.rate_khz_cm2) == set(samples.rates_of((5.0, 15.0), 3, 7).astype(np.float32))
    rate = float(samples.rates_of((5.0, 15.0), 3, 7)[1])
    config = samples.with_rate(study.CONFIG, rate)
    raw = simulate_chambers(16, seed=7, config=config, start=16)
    hits = samples.prompt_hits(raw.charge, raw.time, config.plane)
    assert np.array_equal(samples.unpack(found.packed[16:32]), hits)
    assert np.array_equal(found.hits[16:32], (raw.charge > 0).sum(axis=(1, 2)))
    both = samples.joined([found, found.select(slice(0, 2))])
    assert len(both) == 42
    with pytest.raises(StorageError, match="seed is 7"):
        samples.make(tmp_path / "muons", True, 40, 8, (5.0, 15.0), study.CONFIG)
    with pytest.raises(StorageError):
        samples.read(tmp_path / "none")


def test_images_that_are_no_whole_bytes_are_refused(tmp_path):
    config = dataclasses.replace(study.CONFIG, strips=60)
    with pytest.raises(InputError, match="60 strips"):
        samples.make(tmp_path / "x", True, 8, 1, (1.0, 2.0), config)


# --- what is learned -----------------------------------------------------------------------------


def _truth(x, slope, muons=1):
    truth = np.zeros(len(x), CHAMBER_TRUTH_DTYPE)
    truth["muons"], truth["x_mm"], truth["slope_x"] = muons, x, slope
    return truth


def test_targets_and_what_is_said_are_the_same_units():
    nominal = study.CONFIG.slope_x
    truth = _truth([2.0, -4.0], [nominal + 0.03, nominal - 0.015])
    found = study.targets(truth)
    np.testing.assert_allclose(found, [[1, 0.5, 1], [1, -1, -0.5]], rtol=1e-5)
    back = study.said(found)
    np.testing.assert_allclose(back.lines[:, 0], truth["x_mm"], rtol=1e-6)
    np.testing.assert_allclose(back.lines[:, 1], truth["slope_x"], rtol=1e-6)
    nothing = study.targets(_truth([0.0], [0.0], muons=0))
    assert nothing[0, 0] == 0
    assert np.isnan(nothing[0, 1:]).all()
    with pytest.raises(InputError, match="NaN"):
        study.said(np.array([[1.0, np.nan, 0.0]]))


def test_presets_are_named_and_samples_have_seeds_apart():
    assert study.preset_named("demo").name == "demo"
    with pytest.raises(InputError, match="smoke, demo, paper"):
        study.preset_named("quick")
    wanted = study.sizes(study.SMOKE)
    assert wanted["train_noise"] == (False, 1024, (1.0, 20.0))
    assert wanted["cut_noise"] == (False, 1024, (15.0, 15.0))
    assert wanted["test_muons_20"] == (True, 256, (20.0, 20.0))
    for preset in study.PRESETS:  # a cut that so many can show
        assert preset.fake_rate * min(preset.cut, preset.tune) >= 1


# --- networks ------------------------------------------------------------------------------------


def _random_hits(kind, events, seed=1):
    hits = (np.random.default_rng(seed).random((events, *study.IMAGE)) < 0.1).astype(np.float32)
    return hits.swapaxes(1, 2) if kind == CNN else hits


@pytest.mark.parametrize("kind", [CNN, RNN])
def test_the_network_for_the_chip_is_the_float_one_in_finer_steps(kind):
    """With many fraction bits the two are equal: layers, names, and the hard sigmoids' slopes."""
    import_keras().utils.set_random_seed(5)
    from hgq.quantizer.internal import FixedPointQuantizerKIF

    made = networks.build_float(kind, study.IMAGE, SMALL[kind])
    rng = np.random.default_rng(2)
    for weight in made.weights:  # biases too, which begin with 0
        weight.assign(rng.normal(0, 0.3, weight.shape))
    chip = networks.build_chip(kind, study.IMAGE, SMALL[kind])
    networks.start_from_float(made, chip)
    for layer in chip._flatten_layers():
        if isinstance(layer, FixedPointQuantizerKIF) and layer.trainable:
            layer._f.assign(np.full(layer._f.shape, 12.0))
    x = _random_hits(kind, 64)
    wanted, found = made.predict(x, verbose=0), chip.predict(x, verbose=0)
    assert wanted.std(axis=0).max() > 0.05  # it says something
    np.testing.assert_allclose(found, wanted, atol=0.02 * wanted.std(axis=0).max())


@KERAS_SAVES
@pytest.mark.parametrize("kind", [CNN, RNN])
def test_a_network_of_any_weights_becomes_a_graph_with_its_cut(kind, tmp_path):
    import_keras().utils.set_random_seed(6)
    model = networks.build_chip(kind, study.IMAGE, SMALL[kind])
    x = _random_hits(kind, 200)
    middle = float(np.median(model.predict(x, verbose=0)[:, 0]))
    network = optimise(from_hgq(model, name=kind))
    lsb = network.output_types[0].lsb
    code = math.floor(middle * 2.0**lsb)
    graph = study.decision(network, code)
    study.deciding_model(model, code * 2.0**-lsb).save(tmp_path / "decides.keras")
    codes = encode(graph, x)
    outputs, keep = emulate_codes(graph, codes)
    assert 20 < keep.sum() < 180
    assert np.array_equal(keep, outputs[:, :1] >= code)
    decides = load_model(tmp_path / "decides.keras")
    for ours, theirs in zip((outputs, keep), keras_values(decides, graph, codes), strict=True):
        assert np.array_equal(ours, theirs)


def test_a_network_that_is_not_known_is_refused():
    for build in (networks.build_float, networks.build_chip):
        with pytest.raises(InputError, match="'mlp' is no network"):
            build("mlp", study.IMAGE)


@settings(deadline=None, max_examples=25)
@given(st.integers(-300, 300), st.integers(0, 99))
def test_the_cut_is_at_least(cut, seed):
    builder = Builder("small")
    x = builder.add(ops.Input("x", TensorType.uniform((4,), Fixed(False, 3, 0))))
    kernel = np.random.default_rng(2).integers(-9, 10, (4, 3))
    x = builder.add(linear.Dense(Literal(kernel, 3)), x)
    # The logit is coarser than the others, as learned widths may be.
    form = TensorType((3,), np.ones(3, bool), np.full(3, 6), np.array([1, 2, 3]))
    network = builder.build([builder.add(ops.Quantize(form, Rounding.RND, Overflow.SAT), x)])
    events = np.random.default_rng(seed).integers(0, 8, (50, 4))
    outputs, keep = emulate_codes(study.decision(network, cut), (events,))
    assert np.array_equal(outputs, emulate_codes(network, (events,))[0])
    assert np.array_equal(keep[:, 0] != 0, outputs[:, 0] >= cut)


def test_a_graph_of_other_outputs_gets_no_cut():
    builder = Builder("other")
    x = builder.add(ops.Input("x", TensorType.uniform((2,), Fixed(False, 3, 0))))
    with pytest.raises(InputError, match="not one vector of 3"):
        study.decision(builder.build([x]), 1)


# --- figures -------------------------------------------------------------------------------------


def test_quantiles_are_counted():
    values = np.arange(1, 101)[::-1]
    found = quantile(values, 0.68)
    # 100 p = 68; 1.96 sqrt(100 0.68 0.32) = 9.14: ranks 59 (rounded up from 58.86) and 79 (78.14)
    assert (found.value, found.low, found.high, found.n) == (68, 59, 79, 100)
    few = quantile([3.0], 0.68)
    assert (few.value, few.low, few.high) == (3.0, None, None)
    assert quantile([]).value is None
    with pytest.raises(InputError, match="NaN"):
        quantile([1.0, np.nan])
    with pytest.raises(InputError, match="share"):
        quantile([1.0], 1.0)


def test_intervals_of_a_quantile_hold_it():
    rng = np.random.default_rng(3)
    true = 0.68  # of values even between 0 and 1
    held = [q.low <= true <= q.high for q in (quantile(rng.random(200)) for _ in range(500))]
    assert 0.93 <= np.mean(held) <= 1.0


def test_a_method_is_judged_by_hand():
    truth = _truth([0.0, 0.0, 0.0, 1.0], [0.36] * 4)
    lines = np.array([[0.9, 0.36], [1.2, 0.36], [0.0, 0.38], [1.0, 0.36]])
    assert is_right(lines, truth).tolist() == [True, False, False, True]
    muons = Said(np.array([2.0, 2.0, 2.0, 0.5]), lines)
    noise = Said(np.array([0.0, 1.0, 0.9, -3.0, 0.2]), np.zeros((5, 2)))
    found = judge(15.0, noise, muons, truth, 1.0)
    assert (found.fakes.passed, found.fakes.total) == (1, 5)
    assert (found.efficiency.passed, found.right.passed) == (3, 1)
    assert found.x_mm.value == pytest.approx(1.2)  # the third of 0, 0.9, 1.2: 3 p = 2.04
    assert found.slope.value == pytest.approx(0.02, abs=1e-6)
    with pytest.raises(InputError, match="0 chambers without"):
        judge(15.0, Said(np.zeros(0), np.zeros((0, 2))), muons, truth, 1.0)
    with pytest.raises(InputError, match="lengths"):
        judge(15.0, noise, muons, truth[:3], 1.0)
    with pytest.raises(InputError, match="do not fit"):
        Said(np.zeros(3), np.zeros((3, 3)))


def _performance(kept=3):
    noise = Said(np.r_[np.zeros(97), np.full(kept, 5.0)], np.zeros((97 + kept, 2)))
    truth = _truth(np.linspace(-1, 1, 50), np.full(50, 0.36))
    lines = np.stack([truth["x_mm"] + 0.1, truth["slope_x"]], axis=-1)
    muons = Said(np.full(50, 5.0), lines)
    cutting = Said(np.arange(200.0) / 100, np.zeros((200, 2)))
    pairs = [(noise, muons, truth)] * 2
    methods = [
        page.method("net", 12, (1.0, 15.0), pairs, cutting, None, 0.01),
        page.method("roads", None, (1.0, 15.0), pairs, cutting, 6.0, 0.01),
    ]
    share = page.of_fraction(page.fraction(3, 100))
    compared = page.Compared("emulator", "1", 70, 280, 0)
    chip = page.TracksChip(
        *("CNN", "xcvu13p", 320.0, 20, 62.5, 8, 25.0),
        (page.Resource("LUT", 1234, 1_728_000, ""), page.Resource("DSP", 0, 12_288, "")),
        (compared,),
        *(1, 200, 5e3),
    )
    return page.TracksPerformance(
        *("demo", 1, 0.01, 15.0, 100, (1.0, 15.0), (share, share), (share, share)),
        *(tuple(methods), (chip,), None, {}),
    )


def test_the_record_says_what_was_measured():
    found = _performance()
    net, roads = found.methods
    assert net.cut == pytest.approx(1.98)  # two of two hundred
    assert net.points[1].fakes.value == pytest.approx(0.03)
    assert net.points[1].efficiency.value == 1
    assert net.points[1].x_mm.value == pytest.approx(0.1, abs=1e-6)
    assert roads.points[1].efficiency.value == 0
    assert roads.points[1].x_mm.value is None
    again = from_json(page.TracksPerformance, json.loads(json.dumps(to_json(found))))
    assert again == found
    text = page.tracks_text(found)
    assert "| net | 12 | 0.030 " in text
    assert "1,234" in text
    assert "62.5 ns, 20 clocks" in text
    assert page.tracks_picture(found) == page.tracks_picture(found)
    assert "<svg" in page.tracks_picture(_performance(kept=0))  # no fake seen: arrows


# --- the stages ----------------------------------------------------------------------------------


@pytest.mark.slow
@KERAS_SAVES
def test_all_stages_run_and_are_not_done_twice(tmp_path, monkeypatch):
    from hairtrigger.pipeline import STAGES, run_stages
    from hairtrigger.runs.chip import Goal
    from hairtrigger.runs.strips_tracks import FILES, tracks_performance_of, tracks_stages
    from hairtrigger.targets import find_part, parse_clock

    goal = Goal(find_part("xcvu13p"), parse_clock("320MHz"), None, 8)
    stages = tracks_stages(study.SMOKE, 1, goal)
    made = run_stages(stages, tmp_path)
    found = tracks_performance_of(tmp_path / STAGES)
    names = [method.name for method in found.methods]
    assert names == ["CNN, chip", "CNN, float", "RNN, chip", "RNN, float", "roads", "Hough"]
    for chip in found.chips:
        assert sum(engine.differences for engine in chip.engines) == 0
        assert {"Keras", "ONNX Runtime", "Verilator", "generated C++"} <= {
            engine.engine for engine in chip.engines
        }
        assert chip.interval_clocks <= 8
    roads = found.methods[names.index("roads")]
    assert roads.points[0].efficiency.value > 0.9
    assert found.occupancy[-1].value > found.occupancy[0].value
    assert (made["tracks_performance"].folder / FILES[1]).read_text().startswith("<svg")
    again = run_stages(stages, tmp_path)
    assert all(stage.reused for stage in again.values())
