"""The classical muon trigger: NumPy, its Graph, plain loops and Verilog decide the same; tuning."""

from dataclasses import replace

import numpy as np
import pytest

from hairtrigger.backends.rtl import simulate, synthesise
from hairtrigger.detectors import rpc
from hairtrigger.detectors.rpc_config import RpcConfig
from hairtrigger.engines import run_codes
from hairtrigger.errors import InputError
from hairtrigger.graph.emulate import emulate_codes
from hairtrigger.metrics import fraction_of
from hairtrigger.rtl.design import compile_graph
from hairtrigger.studies import muon_windows
from hairtrigger.studies.muon_metrics import fake_rate, muon_metrics
from hairtrigger.studies.muon_networks import station_rows
from hairtrigger.studies.muon_windows import decode, outputs, passed_rungs, predict, tune
from hairtrigger.studies.muon_windows_graph import probe_graph, windows_graph

# A sixth of the sector, with strips of the usual width.
PART = {"strips": 64, "strip_eta": (0.4, 0.575), "eta_range": (0.4, 0.575)}
SMALL = RpcConfig(rows=4, **PART)
LAYERS = RpcConfig(rows=9, **PART)
LIMITS = (8.0, 12.0, 20.0)
BENDS = (24.0, 14.0, 8.0, 4.0, 1.0)


def tuned(config, **changes):
    events = rpc.simulate(20_000, seed=1, config=config, muons=1)
    return tune(events, **{"thresholds": LIMITS, "regions": 2, "bends": BENDS, **changes})


@pytest.fixture(scope="module")
def small():
    return tuned(SMALL)


@pytest.fixture(scope="module")
def layers():
    return tuned(LAYERS)


@pytest.fixture(scope="module")
def sector():
    """The whole sector and a fresh sample of it."""
    windows = tune(rpc.simulate(200_000, seed=1, muons=1))
    return windows, rpc.simulate(200_000, seed=2, muons=1)


def sample(config, events, seed=3):
    """Packed images: 0 to 3 muons at three rates of noise, noise alone, empty, full, random."""
    quarter = events // 4
    noisy = [replace(config, noise_rate_hz_cm2=rate) for rate in (0.0, 150.0, 600.0)]
    parts = [rpc.simulate(quarter, seed=seed, config=each).images for each in noisy]
    parts.append(rpc.simulate(quarter, seed=seed, config=noisy[2], muons=0).images)
    shape = (config.rows, config.strips // 8)
    rng = np.random.default_rng(seed)
    drawn = rng.random((40, config.rows, config.strips)) < rng.random((40, 1, 1)) ** 2
    full = np.full((1, *shape), 255, np.uint8)
    return np.concatenate([*parts, np.zeros_like(full), full, np.packbits(drawn, axis=-1)])


def as_codes(images):
    return (rpc.unpack(images).astype(np.int64)[..., None],)


def in_loops(windows, image):
    """The definition in plain loops, from an image (rows, strips): outputs, rungs (cells, 2)."""
    rows, strips = image.shape
    places = list(station_rows(windows.config).values())
    station_of = [n for n, (_, count) in enumerate(places) for _ in range(count)]
    rungs = [[0, 0] for _ in range(strips // windows.cell)]
    for strip in range(strips):
        if not any(image[row, strip] for row in range(rows) if station_of[row] == windows.pivot):
            continue
        for side, charge in enumerate((1, -1)):
            number = 0
            for rung in windows.rungs:
                hit = []
                for row in range(rows):
                    low, high = rung[station_of[row]]
                    at = [strip + charge * step for step in range(low, high + 1)]
                    if any(image[row, n] for n in at if 0 <= n < strips):
                        hit.append(row)
                stations = {station_of[row] for row in hit}
                number += len(hit) >= windows.layers and len(stations) >= windows.stations
            cell = strip // windows.cell
            rungs[cell][side] = max(rungs[cell][side], number)
    levels = [
        [sum(cell[side] >= needed for needed in windows.needed[side][n]) for side in range(2)]
        for n, cell in enumerate(rungs)
    ]
    best = [max(cell) for cell in levels]
    runs = sum(best[n] > 0 and (n == 0 or best[n - 1] == 0) for n in range(len(best)))
    answer = [*(max(cell[side] for cell in levels) for side in range(2)), best.index(max(best))]
    return [*answer, runs, int(runs > 0)], rungs


@pytest.mark.parametrize("change", [{}, {"stations": 2}, {"pivot": 0, "layers": 2, "stations": 1}])
@pytest.mark.parametrize("name", ["small", "layers"])
def test_numpy_and_graph_are_the_definition(name, change, request):
    windows = replace(request.getfixturevalue(name), **change)
    images = sample(windows.config, 1200)
    answers, rungs = outputs(windows, images), passed_rungs(windows, images)
    codes = as_codes(images)
    assert (emulate_codes(windows_graph(windows), codes)[0] == answers).all()
    assert (emulate_codes(probe_graph(windows), codes)[0][:, 0] == rungs).all()
    for n in (*range(0, len(images), 40), *range(len(images) - 42, len(images))):
        slow, slow_rungs = in_loops(windows, codes[0][n, :, :, 0])
        assert answers[n].tolist() == slow
        assert rungs[n].tolist() == slow_rungs
    assert (answers[:, 4] == 0).any()
    assert (answers[:, :2] == len(LIMITS)).any()


@pytest.mark.parametrize("engine", ["onnxruntime-fp32", "cpp"])
@pytest.mark.parametrize("name", ["small", "layers"])
def test_engines_give_the_same(name, engine, request):
    windows = request.getfixturevalue(name)
    images = sample(windows.config, 6000)
    got = run_codes(windows_graph(windows), as_codes(images), engine=engine).codes[0]
    assert (got == outputs(windows, images)).all()


@pytest.mark.parametrize("interval", [pytest.param(1, marks=pytest.mark.slow), 8])
def test_verilog_gives_the_same(small, interval):
    design = compile_graph(windows_graph(small), interval=interval, axis=1)
    assert design.words == interval
    images = sample(SMALL, 2000)
    result = simulate(design, as_codes(images))
    assert (result.codes[0] == outputs(small, images)).all()
    assert result.latency == design.latency


@pytest.mark.slow
def test_the_whole_sector_in_the_chip(sector):
    windows, _ = sector
    design = compile_graph(windows_graph(windows), "xcvu13p", "320 MHz", interval="25 ns", axis=1)
    images = sample(windows.config, 2000)
    result = simulate(design, as_codes(images))
    assert (result.codes[0] == outputs(windows, images)).all()
    assert result.latency == design.latency
    assert design.latency_ns <= 150
    assert synthesise(design).lut < 60_000


def test_mirrored_images_have_the_other_charge(layers):
    images = sample(LAYERS, 2000)
    mirrored = np.packbits(rpc.unpack(images)[:, :, ::-1], axis=-1)
    assert (passed_rungs(layers, mirrored) == passed_rungs(layers, images)[:, ::-1, ::-1]).all()


def test_muons_at_a_threshold_pass_with_the_efficiency_that_was_asked_for(sector):
    windows, events = sector
    pt, charge = events.truth["pt"][:, 0], events.truth["charge"][:, 0]
    place = events.truth["eta"][:, 0] / 1.05 * 16
    passed = passed_rungs(windows, events.images)
    needed = np.array(windows.needed)[:, ::3]  # 3 cells to a region
    assert needed.shape == (2, 16, len(windows.thresholds))
    reached = 0
    for n, limit in enumerate(windows.thresholds):
        there = (pt >= limit) & (pt < muon_windows.AT_THRESHOLD * limit)
        kept = lost = total = 0
        for side, part in np.ndindex(2, 16):
            mine = there & (charge == (1, -1)[side]) & (place.astype(int) == part)
            best = passed[mine, :, side].max(axis=1)
            best = best[best > 0]
            rungs = needed[side, part, n]
            kept += (best >= rungs).sum()
            lost += (best >= rungs + 1).sum()
            total += best.size
        # A rung is as fine as it gets: with this many they pass, with one more they do not.
        assert kept / total > 0.9 - 4 * np.sqrt(0.09 / total)
        assert lost / total < 0.9 + 4 * np.sqrt(0.09 / total)
        reached += total
    assert reached > 10_000


def test_turn_ons_rise_and_the_figures_are_those_of_a_good_trigger(sector):
    windows, events = sector
    figures = muon_metrics(predict(windows, events.images), events.truth)
    for curve in figures.turn_on:
        for before, after in zip(curve.points, curve.points[1:], strict=False):
            assert after.high > before.low
        assert curve.points[0].value < 0.01
        assert curve.points[-1].value > 0.95
    assert figures.efficiency.low > 0.95
    assert figures.charge.low > 0.975
    assert figures.spread.value < 2.5
    for side in (1, -1):
        mine = events.truth["charge"][:, 0] == side
        one = muon_metrics(predict(windows, events.images[mine]), events.truth[mine])
        assert one.efficiency.low > 0.95
        assert one.charge.low > 0.96
    noise = rpc.simulate(100_000, seed=4, muons=0)
    assert fake_rate(predict(windows, noise.images).pt).high < 1e-4


def test_decoding():
    windows = tuned(SMALL)
    top = windows.pt[-1]
    got = decode(windows, [[0, 0, 0, 0, 0], [1, 3, 7, 2, 1], [3, 0, 0, 5, 1]])
    assert got.pt.tolist() == [0, top, top]
    assert got.charge.tolist()[1:] == [-1, 1]
    assert got.n_muons.tolist() == [0, 2, 3]
    assert got.eta[1:] == pytest.approx([0.4 + 7.5 / 8 * 0.175, 0.4 + 0.5 / 8 * 0.175])
    for bad in (np.zeros((2, 4)), np.full((1, 5), np.nan)):
        with pytest.raises(InputError, match="Way out"):
            decode(windows, bad)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"cell": 7}, "cell"),
        ({"pivot": 4}, "pivot"),
        ({"layers": 0}, "layers"),
        ({"layers": 5}, "layers"),
        ({"stations": 5}, "stations"),
        ({"rungs": (((0, 1),) * 3,)}, "rung"),
        ({"rungs": (((1, 2),) * 4,)}, "rung"),
        ({"rungs": (((0, 1),) * 4, ((0, 2),) * 4)}, "inside"),
        ({"thresholds": ()}, "thresholds"),
        ({"thresholds": (8.0, 20.0, 12.0)}, "thresholds"),
        ({"needed": (((1, 1, 1),),)}, "needed"),
        ({"needed": (((1, 1, 7),) * 8,) * 2}, "needed"),
        ({"needed": (((2, 1, 3),) * 8,) * 2}, "needed"),
        ({"pt": (0.0, 9.0, 13.0)}, "pt"),
        ({"pt": (0.0, 13.0, 13.0, 25.0)}, "pt"),
    ],
)
def test_windows_that_contradict_themselves(small, change, word):
    with pytest.raises(InputError, match=f"{word}.*\n?.*Way out"):
        replace(small, **change)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"efficiency": 1.0}, "efficiency"),
        ({"regions": 3}, "regions"),
        ({"pivot": -1}, "pivot"),
        ({"bends": ()}, "bends"),
        ({"bends": (3.0, -1.0)}, "bends"),
        ({"thresholds": ()}, "thresholds"),
        ({"thresholds": (1.0, 8.0)}, "0 muons of charge"),
        ({"layers": 9}, "layers"),
        ({"stations": 0}, "stations"),
    ],
)
def test_bad_tuning(change, word):
    with pytest.raises(InputError, match=f"{word}.*\n?.*Way out"):
        tuned(SMALL, **change)


def test_tuning_needs_single_muons_and_enough_of_them():
    with pytest.raises(InputError, match="single muons"):
        tune(rpc.simulate(100, seed=1))
    for events in (0, 100):
        with pytest.raises(InputError, match="fewer than 50"):
            tune(rpc.simulate(events, seed=1, muons=1))


def test_images_of_another_sector(small):
    with pytest.raises(InputError, match="Way out"):
        outputs(small, np.zeros((1, 9, 8), np.uint8))
    with pytest.raises(InputError, match="uint8"):
        outputs(small, np.zeros((1, 4, 8)))
    assert outputs(small, np.zeros((0, 4, 8), np.uint8)).shape == (0, 5)
    assert fraction_of(predict(small, np.zeros((3, 4, 8), np.uint8)).pt > 0).passed == 0
