"""The chain over blocks cut anywhere: the decisions of the NumPy front and the emulator."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.errors import InputError
from hairtrigger.stream.chain import Chain, compile_trigger
from stream_cases import FRONT, STEP, reference, samples, small_trigger


@pytest.fixture(scope="module")
def trigger():
    return small_trigger()


@pytest.fixture(scope="module")
def libraries(trigger):
    return compile_trigger(trigger)


def decided(chain, feeds):
    parts = [chain.feed(*feed) for feed in feeds]
    parts.append(chain.finish())
    return {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])
    }


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    ticks=st.integers(1, 900),
    cuts=st.lists(st.integers(0, 900), max_size=6),
    gaps=st.lists(st.integers(1, 900), max_size=2),
    resume=st.integers(0, 9),
)
def test_decisions_are_those_of_the_emulator(trigger, libraries, seed, ticks, cuts, gaps, resume):
    x = samples(ticks, seed=seed, pulses=ticks // 40)
    gaps = sorted({n for n in gaps if n < ticks})
    edges = sorted({0, ticks, *gaps, *(n for n in cuts if n < ticks)})
    parts = np.split(x, gaps)
    ends = np.array([*gaps, ticks])
    late = 7 * STEP  # each gap is so long
    feeds = [
        (1000 + STEP * a + late * int(np.searchsorted(ends, a, side="right")), x[a:b])
        for a, b in pairwise(edges)
    ]
    chain = Chain(trigger, counts_per_tick=STEP, libraries=libraries)
    found = [chain.feed(*feed) for feed in feeds[:resume]]
    if chain.state() is not None:  # the rest by another chain
        state = chain.state()
        chain = Chain(trigger, counts_per_tick=STEP, state=state, libraries=libraries)
    found += [chain.feed(*feed) for feed in feeds[resume:]]
    found.append(chain.finish())

    first = min(256, len(parts[0]))
    wanted_ticks, keep, logits, pixels = reference(trigger, parts, first)
    got = {n: np.concatenate([getattr(f, n) for f in found]) for n in vars(found[0])}
    np.testing.assert_array_equal(got["ticks"], wanted_ticks)
    np.testing.assert_array_equal(got["keep"], keep)
    np.testing.assert_array_equal(got["sums"], pixels.sum(axis=(1, 2)))
    np.testing.assert_array_equal(got["gated"], got["sums"] >= trigger.gate)
    np.testing.assert_array_equal(got["logits"], logits[got["gated"]])
    np.testing.assert_array_equal(got["pixels"], pixels[got["gated"]])
    segments = np.searchsorted(ends, wanted_ticks, side="right")
    np.testing.assert_array_equal(got["timestamps"], 1000 + STEP * wanted_ticks + late * segments)
    whole = len(wanted_ticks) * trigger.ticks
    assert chain.lost + chain.tick - chain.next_image + whole == ticks


def test_some_are_kept_and_some_stop_at_the_gate(trigger, libraries):
    got = decided(Chain(trigger, libraries=libraries), [(0, samples(8000, pulses=60))])
    assert 0 < got["keep"].sum() < got["gated"].sum() < len(got["gated"])


def test_known_pedestals_decide_at_once(trigger, libraries):
    x = samples(16)
    chain = Chain(trigger, pedestal=np.median(x, axis=0), libraries=libraries)
    assert len(chain.feed(5, x)) == 1


@pytest.mark.parametrize(
    "block",
    [
        np.zeros((4, 25), np.uint16),
        np.zeros((4, 24), np.int32),
        np.full((4, 24), 1 << FRONT.bits, np.uint16),
    ],
)
def test_blocks_of_another_stream_are_refused(trigger, libraries, block):
    for started in (False, True):
        chain = Chain(trigger, pedestal=3660 if started else None, libraries=libraries)
        chain.feed(0, samples(8))
        with pytest.raises(InputError, match=r"block|Samples"):
            chain.feed(8, block)
        chain.feed(8, samples(600)[8:])
        chain.finish()
        assert chain.tick == 600
