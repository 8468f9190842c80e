"""The stream of a plane: the same whatever its blocks, events across borders, truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.detectors import lartpc, lartpc_noise
from hairtrigger.detectors.lartpc_config import CLASSES, LartpcConfig
from hairtrigger.detectors.lartpc_stream import EVENT_DTYPE, stream
from hairtrigger.errors import InputError

SMALL = LartpcConfig(wires=48)
RATES = {"nue_cc": 1500.0, "es": 700.0, "muon": 40.0}
PLACED = [("michel", 4095), ("solar", 4096), ("es", 0)]
TICKS = 3 * 4096


def joined(parts) -> tuple[np.ndarray, np.ndarray]:
    parts = list(parts)
    counts = np.concatenate([part.counts for part in parts])
    return counts, np.concatenate([part.truth for part in parts])


@pytest.fixture(scope="module")
def whole() -> tuple[np.ndarray, np.ndarray]:
    return joined(stream(TICKS, seed=3, config=SMALL, rates=RATES, events=PLACED))


@settings(max_examples=6)
@given(st.integers(500, 9000), st.integers(0, 6000), st.integers(1, 6000))
def test_any_blocks_give_the_same_stream(whole, block, start, ticks):
    parts = list(
        stream(
            ticks,
            seed=3,
            config=SMALL,
            rates=RATES,
            events=PLACED,
            block=block,
            start=start,
        )
    )
    assert [part.start for part in parts] == list(range(start, start + ticks, block))
    assert all(len(part.counts) == block for part in parts[:-1])
    counts, truth = joined(parts)
    assert np.array_equal(counts, whole[0][start : start + ticks])
    inside = (whole[1]["tick"] >= start) & (whole[1]["tick"] < start + ticks)
    assert np.array_equal(truth, whole[1][inside])


def test_noise_stream_is_the_series_of_images():
    counts, truth = joined(stream(130 * 64, seed=9, config=SMALL, block=1000))
    images = lartpc.simulate(130, seed=9, config=SMALL).images
    assert np.array_equal(counts, images.reshape(-1, 48))
    assert len(truth) == 0
    assert truth.dtype == EVENT_DTYPE


def test_truth_of_the_stream(whole):
    truth = whole[1]
    assert np.all(np.diff(truth["tick"]) >= 0)
    assert np.all(truth["first_tick"] <= truth["tick"])
    assert np.all(truth["last_tick"] >= truth["tick"])
    expected = 1500 * TICKS * 512e-9
    found = np.sum(truth["kind"] == CLASSES.index("nue_cc"))
    assert abs(found - expected) < 4.5 * np.sqrt(expected) + 1
    assert {0, 4095, 4096} <= set(truth["tick"])
    assert set(truth["kind"]) == {1, 2, 3, 4}


def test_events_cross_borders_of_blocks():
    """One event on a border: its signal is what it is elsewhere, and none of it is lost."""
    pure = {f"{name}_bq_cm3": 0.0 for name in ("ar39", "kr85", "rn222", "ar42")}
    config = LartpcConfig(noise_rms=0.0, coherent_rms=0.0, pedestal_spread=0.0, **pure)
    levels = lartpc_noise.pedestals(config)
    sums = []
    for tick in (2000, 4094, 4096, 4097):
        counts, truth = joined(stream(8192, seed=1, config=config, events=[("nue_cc", tick)]))
        signal = counts - levels
        bright = np.nonzero((signal > 20).any(axis=1))[0]
        if tick > 4090:
            assert bright.min() < 4096 <= bright.max()
        sums.append((signal.sum(), truth["visible_mev"][0], truth["tick"][0] - tick))
    assert len({row[1:] for row in sums}) == 1
    areas = np.array([row[0] for row in sums])
    assert areas == pytest.approx(areas[0], rel=0.01)
    assert areas[0] > 5000


def test_long_muons_reach_over_blocks():
    config = LartpcConfig()
    _, truth = joined(stream(4096, seed=2, config=config, rates={"muon": 3000.0}))
    spread = truth["last_tick"] - truth["first_tick"]
    assert spread.max() > 2000
    assert spread.max() <= config.drift_ticks + 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ticks": -1}, "ticks = -1"),
        ({"block": 0}, "block = 0"),
        ({"start": 1.5}, "start = 1.5"),
        ({"rates": {"noise": 1.0}}, "no kind of event"),
        ({"rates": {"es": -1.0}}, "0 or more"),
        ({"rates": {"es": float("nan")}}, "0 or more"),
        ({"events": [("tau", 5)]}, "no kind of event"),
        ({"events": [("es", -5)]}, "tick of an event"),
        ({"config": 12}, "not a LartpcConfig"),
    ],
)
def test_arguments_are_refused_at_once(arguments, message):
    with pytest.raises(InputError, match=message):
        stream(**({"ticks": 10, "seed": 1} | arguments))
