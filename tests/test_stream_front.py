"""The front as C++: the integers of the NumPy front, for any configuration and any cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.errors import InputError
from hairtrigger.stream.front_library import compile_front
from hairtrigger.stream.front_source import lane_bits
from hairtrigger.studies.supernova_front import FrontConfig, FrontState, step

CONFIGS = (
    FrontConfig(),
    FrontConfig.of(12, wires=96),
    FrontConfig(wires=24, board=12, block=(1, 4), taps=(1,), taps_shift=0, pedestal_fraction=0),
    FrontConfig(wires=20, board=20, block=(8, 5), taps=(1, 3, 5, 2), coherent=False, bits=16),
    FrontConfig(wires=24, board=24, pool="sum", taps=(1, 2, 1), taps_shift=2, threshold=0),
    FrontConfig(wires=24, board=12, pool="sum", block=(2, 1), residual_bits=14, scale=((3, 8),)),
    FrontConfig(wires=48, clip_bits=10, block=(32, 2), taps=(0, 1, 0, 2), pedestal_fraction=12),
)


def same_state(a: FrontState, b: FrontState) -> bool:
    pairs = ((a.pedestal, b.pedestal), (a.history, b.history), (a.sums, b.sums))
    return a.phase == b.phase and all(np.array_equal(x, y) for x, y in pairs)


@st.composite
def streams(draw: st.DrawFn):
    config = draw(st.sampled_from(CONFIGS))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    top = (1 << config.bits) - 1
    ticks = draw(st.integers(0, 90))
    kind = draw(st.sampled_from(("noise", "extremes", "steps")))
    if kind == "noise":
        x = rng.normal(top / 4, 11, (ticks, config.wires)) + (rng.random((ticks, 1)) < 0.2) * 300
    elif kind == "extremes":
        x = rng.choice([0, 1, top - 1, top], (ticks, config.wires))
    else:
        x = np.repeat(rng.integers(0, top + 1, (ticks // 5 + 1, config.wires)), 5, axis=0)[:ticks]
    pedestal = draw(st.sampled_from((0, top / 4, top, top - 0.25)))
    cuts = sorted(draw(st.lists(st.integers(0, ticks), max_size=5)))
    return config, np.clip(np.rint(x), 0, top).astype(np.uint16), pedestal, cuts


@settings(max_examples=100)
@given(streams())
def test_the_integers_are_those_of_numpy(case):
    config, x, pedestal, cuts = case
    library = compile_front(config)
    state = FrontState.start(config, pedestal)
    rows, end = step(config, state, x)
    held = library.pack(state)
    assert same_state(library.unpack(held), state)
    parts = [library.run(held, part) for part in np.split(x, cuts)]
    pixels = np.concatenate([part[0] for part in parts])
    sums = np.concatenate([part[1] for part in parts])
    np.testing.assert_array_equal(pixels, rows)
    np.testing.assert_array_equal(sums, rows.sum(axis=1, dtype=np.uint32))
    assert same_state(library.unpack(held), end)


def test_both_widths_of_lanes_are_tried():
    assert {lane_bits(config) for config in CONFIGS} == {16, 32}


def test_bad_samples_change_nothing():
    config = FrontConfig(wires=24, board=12)
    library = compile_front(config)
    held = library.pack(FrontState.start(config, 100))
    library.run(held, np.full((7, 24), 130, np.uint16))
    before = library.unpack(held)
    for bad in (np.full((40, 24), 1 << 14, np.uint16), np.zeros((4, 24)), np.zeros(24, np.uint16)):
        with pytest.raises(InputError, match="Samples"):
            library.run(held, bad)
        assert same_state(library.unpack(held), before)
