"""Simulated images of the plane: what a seed means, truth, ADC, bad input."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.detectors import lartpc, lartpc_noise
from hairtrigger.detectors.lartpc_config import CLASSES, TICKS, LartpcConfig
from hairtrigger.errors import InputError

SMALL = LartpcConfig(wires=48)
QUIET = {"noise_rms": 0.0, "coherent_rms": 0.0}
PURE = {f"{name}_bq_cm3": 0.0 for name in ("ar39", "kr85", "rn222", "ar42")}


def test_shapes_and_types():
    made = lartpc.simulate(3, seed=1)
    assert made.images.shape == (3, TICKS, 480)
    assert made.images.dtype == np.uint16
    assert made.truth.dtype == lartpc.TRUTH_DTYPE
    assert len(made) == 3
    assert not made.truth["kind"].any()
    assert len(lartpc.simulate(0, seed=1)) == 0


@settings(max_examples=8)
@given(st.sampled_from(lartpc.KINDS), st.integers(0, 150), st.integers(1, 90), st.integers(1, 3))
def test_a_series_is_the_same_however_it_is_cut(kind, start, images, threads):
    whole = _series(kind)
    part = lartpc.simulate(images, seed=11, config=SMALL, kind=kind, start=start, threads=threads)
    assert np.array_equal(part.images, whole.images[start : start + images])
    assert np.array_equal(part.truth, whole.truth[start : start + images])


_WHOLE: dict[str, lartpc.LartpcImages] = {}


def _series(kind: str) -> lartpc.LartpcImages:
    if kind not in _WHOLE:
        _WHOLE[kind] = lartpc.simulate(240, seed=11, config=SMALL, kind=kind, threads=1)
    return _WHOLE[kind]


def test_seeds_and_kinds_differ_but_share_their_noise():
    one = lartpc.simulate(4, seed=1, config=SMALL).images
    assert not np.array_equal(one, lartpc.simulate(4, seed=2, config=SMALL).images)
    made = lartpc.simulate(4, seed=1, config=SMALL, kind="nue_cc")
    beyond = made.images.astype(int) - one
    assert np.abs(beyond).max() > 20
    assert np.mean(np.abs(beyond) <= 1) > 0.3


def test_noise_images_are_pieces_of_one_stream():
    images = lartpc.simulate(130, seed=5, config=SMALL).images.reshape(-1, 48).astype(float)
    borders = np.arange(1, 130) * TICKS
    steps = np.diff(images, axis=0)
    inside = np.delete(steps, borders - 1, axis=0)
    assert steps[borders - 1].std() == pytest.approx(inside.std(), rel=0.05)


def test_size_of_noise_in_counts():
    made = lartpc.simulate(64, seed=3, config=LartpcConfig(**PURE))
    rows = made.images.reshape(-1, 480)
    levels = lartpc_noise.pedestals(made.config)
    assert rows.mean(axis=0) == pytest.approx(levels, abs=1.5)
    assert (rows - levels).std() == pytest.approx(np.sqrt(10.7**2 + 1 / 12), rel=0.02)
    fewer = lartpc.simulate(64, seed=3, config=LartpcConfig(adc_bits=12, **PURE))
    assert (fewer.images.reshape(-1, 480) - levels / 4).std() == pytest.approx(
        np.sqrt(2.675**2 + 1 / 12), rel=0.02
    )
    assert fewer.images.max() < 4096


def test_number_of_radiologicals():
    config = LartpcConfig(**QUIET)
    made = lartpc.simulate(640, seed=1, config=config)
    mean = sum(
        config.per_image(getattr(config, f"{name}_bq_cm3")) * members
        for name, members in (("ar39", 1), ("kr85", 1), ("rn222", 5), ("ar42", 2))
    )
    found = made.truth["n_radiological"].astype(float)
    assert abs(found.mean() - mean) < 4.5 * np.sqrt(mean / 640)
    assert found.var() == pytest.approx(mean, rel=0.25)
    lit = (np.abs(made.images - made.images[:, :1, :].astype(int)) > 8).any(axis=(1, 2))
    assert lit[found > 2].mean() > 0.9


def test_truth_of_signals():
    config = LartpcConfig(**QUIET, **PURE)
    for kind in ("nue_cc", "es", "solar", "other"):
        made = lartpc.simulate(64, seed=2, config=config, kind=kind)
        truth = made.truth
        assert np.all(truth["kind"] == CLASSES.index(kind))
        seen = truth["visible_mev"] > 0
        assert seen.mean() > 0.9
        levels = lartpc_noise.pedestals(config)
        signal = made.images.astype(float) - levels
        area = signal.sum(axis=(1, 2))
        bright = truth["visible_mev"] > 8
        # 0.7 / 23.6 eV electrons a MeV at 143 counts a ke-, some of it beyond the border or lost
        expected = truth["visible_mev"] * 0.7 / 23.6 * 1000 * 143
        ratio = area[bright] / expected[bright]
        assert 0.75 < np.median(ratio) < 1.0
        away = np.abs(signal).argmax(axis=2)
        assert away.shape == (64, TICKS)
        assert np.all((truth["wire"] >= 0) & (truth["wire"] < 480))
        assert np.all((truth["tick"] >= 0) & (truth["tick"] < TICKS))
    for kind in ("nue_cc", "es", "solar"):
        truth = lartpc.simulate(64, seed=2, config=SMALL, kind=kind).truth
        assert np.all(truth["neutrino_mev"] > truth["electron_mev"])
        assert np.linalg.norm(truth["direction"], axis=1) == pytest.approx(1, abs=1e-5)


def test_centre_of_an_event_is_where_its_signal_is():
    config = LartpcConfig(**QUIET, **PURE)
    made = lartpc.simulate(64, seed=4, config=config, kind="es")
    signal = made.images - lartpc_noise.pedestals(config)
    inside = (np.abs(made.truth["tick"] - 32) < 12) & (made.truth["visible_mev"] > 4)
    assert inside.sum() > 5
    bright = np.where(signal > 5, signal, 0)[inside]
    total = bright.sum(axis=(1, 2))
    wire = (bright.sum(axis=1) * (np.arange(480) + 0.5)).sum(axis=1) / total
    assert np.median(np.abs(wire - made.truth["wire"][inside])) < 0.5
    tick = (bright.sum(axis=2) * np.arange(64)).sum(axis=1) / total
    # the electronics delays by 2.8 us, the field response is earlier
    assert np.median(tick - made.truth["tick"][inside]) == pytest.approx(4, abs=2)


@pytest.mark.parametrize("bits", [12, 14])
def test_saturation(bits):
    config = LartpcConfig(
        wires=48, adc_bits=bits, pedestal=16100.0, pedestal_spread=0.0, plane_seed=2
    )
    made = lartpc.simulate(64, seed=1, config=config, kind="other")
    assert made.images.max() == 2**bits - 1
    low = dataclasses.replace(config, pedestal=5.0)
    assert lartpc.simulate(64, seed=1, config=low).images.min() == 0


def test_drift_of_pedestals_is_seen():
    config = LartpcConfig(wires=48, pedestal_drift=40.0, pedestal_drift_s=0.004, **QUIET, **PURE)
    rows = lartpc.simulate(128, seed=1, config=config).images.reshape(-1, 48).astype(float)
    assert (rows - lartpc_noise.pedestals(config)).std() == pytest.approx(40, rel=0.1)


def test_given_events():
    config = LartpcConfig(**QUIET, **PURE)
    rng = np.random.default_rng(3)
    events = lartpc.lartpc_events.draw("es", rng, 70, config)
    made = lartpc.simulate_given(events, seed=1, config=config, kind="es")
    assert len(made) == 70
    assert made.truth["neutrino_mev"] == pytest.approx(events.neutrino_mev, rel=1e-6)
    assert np.all(made.truth["visible_mev"] <= events.electron_mev * 1.0001)
    assert np.all(made.truth["kind"] == 2)
    again = lartpc.simulate_given(events, seed=1, config=config, kind="es", threads=1)
    assert np.array_equal(made.images, again.images)
    with pytest.raises(InputError, match="no class"):
        lartpc.simulate_given(events, seed=1, kind="muon")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": -1}, "images = -1"),
        ({"images": 2.5}, "images = 2.5"),
        ({"images": True}, "images = True"),
        ({"start": -1}, "start = -1"),
        ({"seed": -3}, "seed = -3"),
        ({"threads": 0}, "threads = 0"),
        ({"kind": "tau"}, "noise, nue_cc"),
        ({"config": {"wires": 480}}, "not a LartpcConfig"),
        ({"images": 10**15}, "do not fit"),
    ],
)
def test_arguments_that_cannot_be(arguments, message):
    with pytest.raises(InputError, match=message):
        lartpc.simulate(**({"images": 1, "seed": 1} | arguments))
