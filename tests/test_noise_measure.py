"""Pedestals and noise of a block: known noise comes out, tracks do not change it."""

import os
from pathlib import Path

import numpy as np
import pytest

from hairtrigger.detectors.dune_files import open_stream
from hairtrigger.detectors.noise_measure import CLIPPED_RMS, measure_noise
from hairtrigger.detectors.wib import WIB1
from hairtrigger.detectors.wib_channels import (
    channels_of_link,
    collection_columns,
    read_channel_map,
)
from hairtrigger.errors import InputError

DATA = Path(os.environ.get("HAIRTRIGGER_DATA", Path(__file__).parents[1] / "../shared/data"))
TICK = 512e-9


def made(ticks=6400, boards=2, alone=8.0, common=5.0, seed=1):
    random = np.random.default_rng(seed)
    pedestal = random.uniform(3000, 4000, boards * 48)
    noise = random.normal(0, alone, (ticks, boards * 48))
    shared = random.normal(0, common, (ticks, boards))
    return pedestal, pedestal + noise + np.repeat(shared, 48, axis=1)


def rounded(values):
    return np.rint(values).astype(np.uint16)


@pytest.mark.parametrize(("alone", "common"), [(8.0, 5.0), (8.0, 0.0), (3.5, 2.6), (2.0, 1.5)])
def test_known_noise(alone, common):
    pedestal, values = made(alone=alone, common=common)
    noise = measure_noise(rounded(values), seconds_per_tick=TICK)
    assert np.abs(noise.pedestal - pedestal).max() < 0.5 + 0.2 * alone
    rms = np.hypot(np.hypot(alone, common), 12**-0.5)
    assert noise.rms == pytest.approx(np.full(96, rms), rel=0.06)
    if common:
        assert noise.coherent_rms == pytest.approx([common] * 2, rel=0.06)
    else:
        assert (noise.coherent_rms < 0.1 * alone).all()
    wanted = np.hypot(alone, 12**-0.5)
    assert np.median(noise.incoherent_rms) == pytest.approx(wanted, rel=0.03)


def test_tracks_do_not_count():
    _, values = made()
    clean = measure_noise(values, seconds_per_tick=TICK)
    random = np.random.default_rng(2)
    for _ in range(400):
        tick, wire = random.integers(0, 6390), random.integers(0, 96)
        values[tick : tick + 6, wire] += random.uniform(50, 2000)
    noise = measure_noise(values, seconds_per_tick=TICK)
    assert np.abs(noise.pedestal - clean.pedestal).max() < 0.5
    assert noise.rms == pytest.approx(clean.rms, rel=0.02)
    assert noise.coherent_rms == pytest.approx(clean.coherent_rms, rel=0.02)
    assert (noise.segments < clean.segments).any()
    total = np.sqrt((noise.amplitude**2).sum(axis=1))
    assert total == pytest.approx(noise.rms, rel=0.05)


def test_spectrum():
    """White noise is flat, a sine stands in its bin with its rms, the sum is the variance."""
    _, values = made(common=0.0)
    ticks = np.arange(len(values))
    values[:, 7] += 20 * np.sin(2 * np.pi * ticks * 10 / 128)
    noise = measure_noise(values, seconds_per_tick=TICK, segment=128)
    assert noise.frequency_hz[10] == pytest.approx(10 / 128 / TICK)
    assert noise.frequency_hz[-1] == pytest.approx(0.5 / TICK)
    assert noise.amplitude.shape == (96, 65)
    assert noise.amplitude[7].argmax() == 10
    assert noise.amplitude[7, 10] == pytest.approx(20 / np.sqrt(2), rel=0.03)
    flat = noise.amplitude[8:, 1:-1]
    assert flat.mean(axis=0) == pytest.approx(np.full(63, 8 / np.sqrt(64)), rel=0.06)
    assert noise.amplitude[:, 0].max() < 1e-9  # each stretch is less its mean
    assert (noise.segments[8:] == 50).mean() > 0.7


def test_clipped_rms():
    x = np.linspace(-3, 3, 6001)
    weight = np.exp(-(x**2) / 2)
    assert np.sqrt((x**2 * weight).sum() / weight.sum()) == pytest.approx(CLIPPED_RMS, rel=1e-3)


def test_missing_samples():
    _, values = made()
    missing = np.zeros(values.shape, bool)
    missing[1000:1400, :48] = True
    broken = np.where(missing, 0, values)
    clean = measure_noise(values, seconds_per_tick=TICK)
    noise = measure_noise(broken, seconds_per_tick=TICK, missing=missing)
    assert noise.rms == pytest.approx(clean.rms, rel=0.03)
    assert noise.coherent_rms == pytest.approx(clean.coherent_rms, rel=0.03)
    assert (noise.segments[:48] <= 47).all()
    assert np.isfinite(noise.amplitude).all()


def test_channels_that_do_not_move():
    noise = measure_noise(np.full((256, 48), 900, np.uint16), seconds_per_tick=TICK)
    assert (noise.pedestal == 900).all()
    assert (noise.rms == 0).all()
    assert (noise.coherent_rms == 0).all()
    assert (noise.amplitude == 0).all()


def test_channels_full_of_signal_have_no_spectrum():
    _, values = made(ticks=1280)
    values[::64, 5] += 5000
    noise = measure_noise(values, seconds_per_tick=TICK)
    assert noise.segments[5] == 0
    assert np.isnan(noise.amplitude[5]).all()
    assert np.isfinite(noise.amplitude[6]).all()


@pytest.mark.parametrize(
    ("values", "options", "said"),
    [
        (np.zeros(10), {}, "no noise"),
        (np.zeros((200, 0)), {}, "no noise"),
        (np.full((200, 48), "x"), {}, "no noise"),
        (np.zeros((100, 48)), {}, "segment = 128"),
        (np.zeros((200, 48)), {"segment": 1}, "segment = 1"),
        (np.zeros((200, 47)), {}, "no whole boards"),
        (np.zeros((200, 48)), {"boards": 0}, "no whole boards"),
        (np.full((200, 48), np.nan), {}, "tick 0, channel 0 is nan"),
        (np.zeros((200, 48)), {"missing": np.ones((200, 48), bool)}, "not all missing"),
    ],
)
def test_samples_without_noise_to_measure(values, options, said):
    with pytest.raises(InputError, match=said) as caught:
        measure_noise(values, seconds_per_tick=TICK, **options)
    assert caught.value.fix


@pytest.fixture
def real():
    path = DATA / "protodune" / "frames.bin"
    if not path.exists():
        pytest.skip(f"{path} is not here; set HAIRTRIGGER_DATA")
    with open_stream(path) as stream:
        return np.concatenate([block.samples for block in stream])


@pytest.mark.needs_data
def test_real_noise(real):
    columns = collection_columns(WIB1, 1)
    noise = measure_noise(real[:, columns], seconds_per_tick=25 / 50e6)
    assert len(columns) == 96
    assert ((noise.pedestal > 850) & (noise.pedestal < 1050)).all()
    assert np.median(noise.rms) == pytest.approx(4.4, abs=0.15)
    assert noise.coherent_rms == pytest.approx([2.6, 2.6], abs=0.2)
    others = np.delete(np.arange(256), columns)
    induction = measure_noise(real[:, others], boards=80, seconds_per_tick=25 / 50e6)
    assert ((induction.pedestal > 2050) & (induction.pedestal < 2650)).all()


@pytest.mark.needs_data
def test_real_tracks_run_from_wire_to_wire(real):
    """The channel map has the order of the channels right: pulses on a wire come with pulses on its
    neighbours, and the less so the further away."""
    path = DATA / "protodune" / "protoDUNETPCChannelMap_FELIX_v4.txt"
    from hairtrigger.detectors.wib import Link

    columns = collection_columns(WIB1, 1)
    wires = channels_of_link(read_channel_map(path), Link(0, 4, 4, 1))[columns]["offline"]
    values = real[:, columns] - np.median(real[:, columns], axis=0)
    common = np.median(values.reshape(-1, 2, 48), axis=2)
    pulses = np.maximum(values - np.repeat(common, 48, axis=1) - 15, 0)
    pulses = pulses.astype(np.float32)
    together = np.zeros((96, 96))
    for shift in range(-15, 16, 3):
        together = np.maximum(together, pulses.T @ np.roll(pulses, shift, axis=0))
    size = np.sqrt(np.diag(pulses.T @ pulses))
    together /= size[:, None] * size + 1e-9
    apart = np.abs(wires.astype(int)[:, None] - wires.astype(int))
    near = [together[apart == distance].mean() for distance in (1, 2, 3, 4)]
    assert near == sorted(near, reverse=True)
    assert near[0] > 0.6
    assert together[apart > 20].mean() < 0.1
