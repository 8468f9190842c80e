"""Noise of the plane: size, spectrum, coherence, seams, pedestals."""

import bz2
import json
import os
from pathlib import Path

import numpy as np
import pytest

from hairtrigger.detectors import lartpc_noise as noise
from hairtrigger.detectors.lartpc_config import PROTODUNE_SP, LartpcConfig

DATA = Path(os.environ.get("HAIRTRIGGER_DATA", Path(__file__).parents[2] / "shared" / "data"))
CONFIG = LartpcConfig()


@pytest.fixture(scope="module")
def blocks() -> np.ndarray:
    """Twelve blocks of one stream, (ticks, wires)."""
    return np.concatenate([noise.block(k, 7, CONFIG) for k in range(12)])


def test_rms_and_its_coherent_part(blocks):
    assert blocks.dtype == np.float32
    assert blocks.std() == pytest.approx(10.7, rel=0.01)
    assert abs(blocks.mean()) < 0.05
    boards = blocks.reshape(len(blocks), CONFIG.boards, CONFIG.board_wires)
    correlation = np.corrcoef(boards[:, 0].T)
    pairs = correlation[np.triu_indices(CONFIG.board_wires, 1)]
    assert pairs.mean() == pytest.approx((6.25 / 10.7) ** 2, abs=0.02)
    across = np.corrcoef(boards[:, 0].T, boards[:, 1].T)[:48, 48:]
    assert abs(across.mean()) < 0.02
    alone = boards - boards.mean(axis=2, keepdims=True)
    expected = np.sqrt((10.7**2 - 6.25**2) * 47 / 48)
    assert alone.std() == pytest.approx(expected, rel=0.01)


def test_every_wire_has_the_same_noise(blocks):
    assert blocks.std(axis=0) == pytest.approx(10.7, rel=0.05)


def test_noise_is_gaussian(blocks):
    unit = blocks[::16] / blocks[::16].std()
    assert np.mean(unit**3) == pytest.approx(0, abs=0.01)
    assert np.mean(unit**4) == pytest.approx(3, abs=0.02)
    for sigmas, share in ((2, 0.0455), (3, 0.0027)):
        assert np.mean(np.abs(unit) > sigmas) == pytest.approx(share, rel=0.05)


def test_spectrum_is_the_configured_one(blocks):
    boards = blocks.reshape(-1, 512, CONFIG.boards, CONFIG.board_wires)
    alone = boards - boards.mean(axis=3, keepdims=True)
    window = np.hanning(512)[:, None, None]
    power = (np.abs(np.fft.rfft(alone * window, axis=1)) ** 2).mean(axis=(0, 2, 3))
    frequency = np.fft.rfftfreq(512, 0.512)
    expected = noise.wire_spectrum(frequency, CONFIG) ** 2
    inner = slice(6, -2)
    found = power[inner] / power[inner].sum()
    assert found == pytest.approx(expected[inner] / expected[inner].sum(), rel=0.08)
    common = boards.mean(axis=3)
    low = (np.abs(np.fft.rfft(common * window[:, 0], axis=1)) ** 2).mean(axis=(0, 2))
    assert frequency[low.argmax()] == pytest.approx(0.027, abs=0.009)


def test_no_seam_between_blocks(blocks):
    """The rms near a seam, and of steps over it, is that of everywhere."""
    seams = np.arange(1, 12) * noise.BLOCK_TICKS
    for offset in (-noise.FADE // 2, -1, 0, noise.FADE // 2):
        assert blocks[seams + offset].std() == pytest.approx(10.7, rel=0.06)
    steps = np.diff(blocks, axis=0)
    assert steps[seams - 1].std() == pytest.approx(steps.std(), rel=0.06)
    wide = blocks[8:] - blocks[:-8]
    assert wide[seams - 4].std() == pytest.approx(wide.std(), rel=0.06)


def test_blocks_are_made_alone(blocks):
    again = noise.block(5, 7, CONFIG)
    assert np.array_equal(again, blocks[5 * noise.BLOCK_TICKS : 6 * noise.BLOCK_TICKS])
    assert not np.array_equal(again, noise.block(5, 8, CONFIG))


def test_without_noise():
    quiet = LartpcConfig(noise_rms=0.0, coherent_rms=0.0)
    assert not noise.block(0, 1, quiet).any()


def test_twelve_bits():
    found = noise.block(0, 7, LartpcConfig(adc_bits=12))
    assert np.abs(4 * found - noise.block(0, 7, CONFIG)).max() < 1e-3


def test_pedestals_belong_to_the_plane():
    levels = noise.pedestals(CONFIG)
    assert levels.shape == (480,)
    assert np.array_equal(levels, noise.pedestals(CONFIG))
    assert not np.array_equal(levels, noise.pedestals(LartpcConfig(plane_seed=1)))
    assert levels.mean() == pytest.approx(3664, abs=4.5 * 150 / np.sqrt(480))
    assert levels.std() == pytest.approx(150, rel=0.15)
    assert noise.pedestals(LartpcConfig(adc_bits=12)) == pytest.approx(levels / 4, rel=1e-6)


def test_pedestals_drift_where_asked():
    config = LartpcConfig(pedestal_drift=5.0, pedestal_drift_s=0.01)
    period = round(0.01 / 512e-9)
    moved = noise.pedestal_drift(1000, period, config)
    assert moved.std() == pytest.approx(5.0, rel=0.01)
    again = noise.pedestal_drift(1000 + period // 2, 10, config)
    assert np.array_equal(again, moved[period // 2 : period // 2 + 10])


def test_noise_as_in_real_frames():
    """2.6 of 4.45 counts of 12 bits are common to a board."""
    made = noise.block(0, 3, PROTODUNE_SP)
    boards = made.reshape(len(made), -1, 48)
    assert made.std() == pytest.approx(4.45, rel=0.03)
    assert np.median(boards, axis=2).std() == pytest.approx(2.6, rel=0.05)


@pytest.mark.needs_data
def test_spectrum_of_the_collaboration():
    path = DATA / "wirecell" / "protodunehd-noise-spectra-14mVfC-v1.json.bz2"
    if not path.exists():
        pytest.skip(f"{path} is not here; set HAIRTRIGGER_DATA")
    entries = json.loads(bz2.decompress(path.read_bytes()))
    entry = [e for e in entries if e["plane"] == 2][-1]
    frequency = np.array(entry["freqs"]) * 1e3
    theirs = np.hypot(entry["amps"], entry["const"])
    ours = noise.wire_spectrum(frequency, CONFIG)
    assert ours / ours.max() == pytest.approx(theirs / theirs.max(), abs=0.04)
