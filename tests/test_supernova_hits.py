"""DUNE's hit finders: values by hand, and against a scalar walk of one wire in plain Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.errors import InputError
from hairtrigger.studies.supernova_hits import (
    ADC_LIMIT,
    HIT,
    AbsRunningSum,
    State,
    Threshold,
    begin,
    find_hits,
    find_in_stream,
    finish,
    into_images,
    settle,
)

FINDERS = (
    Threshold(),
    Threshold(25, 1),
    Threshold(40, 126),
    AbsRunningSum(),
    AbsRunningSum(20, 2, 10, 10),
    AbsRunningSum(8, 3, 6, 1),
)
PULSE = np.rint(300 * np.exp(-0.5 * ((np.arange(16) - 7) / 2.55) ** 2)).astype(int)
"""FWHM 6 ticks."""


def wire_by_wire(samples, finder, pedestal, sum_pedestal):
    """Hits (start, length, peak, peak tick, sum) of one wire, written out sample by sample."""
    counter = sum_counter = 0
    running = sum_pedestal
    hits, values = [], []

    def follow(x, middle, count):
        count += (x > middle) - (x < middle)
        if abs(count) > finder.limit:
            middle += 1 if count > 0 else -1
            count = 0
        return middle, count

    def divide(x):
        return ((x * (32768 // 10) >> 14) + 1) >> 1

    for x in [int(s) for s in samples]:
        pedestal, counter = follow(x, pedestal, counter)
        value = x - pedestal
        if isinstance(finder, AbsRunningSum):
            running = finder.memory * divide(running) + finder.scale * divide(abs(value))
            running = min(running, 32767)
            sum_pedestal, sum_counter = follow(running, sum_pedestal, sum_counter)
            value = running - sum_pedestal
        values.append(value)
    tick = 0
    while tick < len(values):
        end = tick
        while end < len(values) and values[end] > finder.threshold:
            end += 1
        if end > tick:
            run = values[tick:end]
            hits.append((tick, end - tick, max(run), tick + run.index(max(run)), sum(run)))
        tick = end + 1
    return hits, pedestal


def image_by_image(images, finder, pedestals, sum_pedestal):
    found = []
    for n, image in enumerate(images):
        for w in range(image.shape[1]):
            hits, _ = wire_by_wire(image[:, w], finder, int(pedestals[n, w]), sum_pedestal)
            found += [(n, w, *hit) for hit in hits]
    return np.array(found, HIT) if found else np.zeros(0, HIT)


def noisy(seed, images=9, ticks=64, wires=24, rms=10.7, pulses=30):
    """Noise on a pedestal of each wire, with pulses of either sign."""
    rng = np.random.default_rng(seed)
    pedestal = rng.integers(3500, 3800, wires)
    samples = pedestal + rng.normal(0, rms, (images * ticks, wires))
    for _ in range(pulses):
        tick, wire = rng.integers(0, images * ticks - PULSE.size), rng.integers(wires)
        samples[tick : tick + PULSE.size, wire] += PULSE * rng.uniform(-0.3, 1.5)
    return np.rint(samples).astype(np.uint16).reshape(images, ticks, wires), pedestal


def test_one_pulse_by_hand():
    image = np.full((1, 64, 3), 1000, np.uint16)
    image[0, 10:14, 1] += np.array([61, 100, 100, 60], np.uint16)
    image[0, 62:, 2] += 80
    hits = find_hits(image, Threshold(), State.at([1000, 1000, 1000]))
    # 60 is not over 60; the highest comes first at tick 11; the last hit ends with the image.
    assert hits.tolist() == [(0, 1, 10, 3, 100, 11, 261), (0, 2, 62, 2, 80, 62, 160)]


def test_the_pedestal_follows_by_hand():
    # Ten samples above leave the pedestal alone; with the eleventh it moves, and the counter is 0.
    samples = np.full((11 + 11, 1), 1061, np.uint16)
    hits, stream = find_in_stream(samples[:10], Threshold(), begin(State.at([1000])))
    assert not hits.size
    assert stream.state.pedestal[0] == 1000
    assert stream.state.counter[0] == 10
    assert stream.open.tolist() == [(0, 0, 0, 10, 61, 0, 610)]
    hits, stream = find_in_stream(samples[10:], Threshold(), stream)
    assert hits.tolist() == [(0, 0, 0, 10, 61, 0, 610)]  # 1061 - 1001 is no more than 60
    assert stream.state.pedestal[0] == 1002
    assert stream.state.counter[0] == 0


def test_absrs_by_hand():
    # From rest at 0, samples of +-100 above: 5 [100 / 10] = 50; 8 [50 / 10] + 50 = 90;
    # 8 [90 / 10] + 50 = 122; then 8 x 12 = 96, 8 x 10 = 80 ([96 / 10] = 10), 64.
    image = np.full((1, 8, 1), 1000, np.uint16)
    image[0, :3, 0] = [1100, 900, 1100]
    hits = find_hits(image, AbsRunningSum(threshold=65), State.at([1000]))
    assert hits.tolist() == [(0, 0, 1, 4, 122, 2, 90 + 122 + 96 + 80)]


def test_the_running_sum_saturates():
    image = np.zeros((1, 64, 1), np.uint16)
    image[0, :32] = ADC_LIMIT - 1
    finder = AbsRunningSum(memory=10, scale=10)
    expected = image_by_image(image, finder, np.zeros((1, 1)), 0)
    assert expected["peak"].max() > 32000
    assert find_hits(image, finder, State.at([0])).tolist() == expected.tolist()


@pytest.mark.parametrize("finder", FINDERS, ids=str)
def test_against_the_walk_of_one_wire(finder):
    images, pedestal = noisy(1)
    start = pedestal + np.random.default_rng(2).integers(-40, 40, (len(images), pedestal.size))
    expected = image_by_image(images, finder, start, 20)
    assert len(expected) > 15
    for chunk in (1, 4, 64):
        hits = find_hits(images, finder, State.at(start, 20), chunk=chunk)
        assert hits.tolist() == expected.tolist()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 200),
    st.integers(1, 30),
    st.booleans(),
    st.floats(1, 500),
)
def test_any_threshold_and_limit(seed, threshold, limit, absolute, rms):
    finder = (AbsRunningSum if absolute else Threshold)(threshold, limit)
    images, pedestal = noisy(seed, images=2, ticks=40, wires=5, rms=rms, pulses=3)
    start = np.broadcast_to(pedestal, (2, 5))
    expected = image_by_image(images, finder, start, 3)
    assert find_hits(images, finder, State.at(pedestal, 3)).tolist() == expected.tolist()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 90), max_size=8), st.booleans())
def test_a_stream_cut_anywhere_is_the_same(seed, sizes, absolute):
    finder = AbsRunningSum(30) if absolute else Threshold(20)
    images, pedestal = noisy(seed, images=5, wires=6, pulses=12)
    samples = images.reshape(-1, 6)
    whole = [
        (0, w, *hit)
        for w in range(6)
        for hit in wire_by_wire(samples[:, w], finder, int(pedestal[w]), 0)[0]
    ]
    stream, found, at = begin(State.at(pedestal)), [], 0
    for size in [*sizes, len(samples)]:
        hits, stream = find_in_stream(samples[at : at + size], finder, stream)
        found += hits.tolist()
        at = min(at + size, len(samples))
    found += finish(stream).tolist()
    assert sorted(found) == whole
    assert stream.tick == len(samples)
    ends = [wire_by_wire(samples[:, w], finder, int(pedestal[w]), 0)[1] for w in range(6)]
    assert stream.state.pedestal.tolist() == ends


def test_a_stream_may_begin_late_and_be_cut_into_images():
    samples = np.full((200, 2), 1000, np.uint16)
    samples[60:70, 1] = 1100
    samples[130:132, 0] = 1200
    hits, stream = find_in_stream(samples, Threshold(), begin(State.at([1000, 1000]), tick=6400))
    images = into_images(hits)
    assert images["image"].tolist() == [100, 102]
    assert images["start"].tolist() == [60, 2]
    assert images["peak_tick"].tolist() == [60, 2]
    assert stream.tick == 6600
    assert not finish(stream).size


def test_settling_finds_the_pedestals():
    rng = np.random.default_rng(5)
    pedestal = rng.integers(3500, 3800, 48)
    noise = np.rint(pedestal + rng.normal(0, 10.7, (2000, 48))).astype(np.uint16)
    state = settle(AbsRunningSum(), noise)
    assert np.abs(state.pedestal - pedestal).max() <= 4
    # In equilibrium the sum is about s / (1 - r) times the mean of |noise|.
    assert state.sum_pedestal.mean() == pytest.approx(2.5 * 0.8 * 10.7, rel=0.2)
    rest = state.rest()
    assert (rest.sum == state.sum_pedestal).all()
    assert not rest.counter.any()
    assert not rest.sum_counter.any()
    assert (rest.pedestal == state.pedestal).all()


def test_nothing_is_written_into_what_was_given():
    images, pedestal = noisy(8)
    state = State.at(pedestal)
    before, kept = images.copy(), state.pedestal.copy()
    for finder in FINDERS:
        find_hits(images, finder, state)
        find_in_stream(images.reshape(-1, 24), finder, begin(state))
    assert (images == before).all()
    assert (state.pedestal == kept).all()
    assert not state.counter.any()


def test_no_images_no_hits():
    assert find_hits(np.zeros((0, 64, 4), np.uint16), Threshold(), State.at([0] * 4)).shape == (0,)
    hits, _ = find_in_stream(np.zeros((0, 4), np.uint16), Threshold(), begin(State.at([0] * 4)))
    assert hits.shape == (0,)
    assert into_images(hits).shape == (0,)


def test_bad_input():
    images, pedestal = noisy(0)
    state = State.at(pedestal)
    with pytest.raises(InputError, match="not uint16"):
        find_hits(images.astype(np.float32), Threshold(), state)
    with pytest.raises(InputError, match="not uint16"):
        find_hits(images[0], Threshold(), state)
    with pytest.raises(InputError, match="not uint16"):
        find_in_stream(images, Threshold(), begin(state))
    with pytest.raises(InputError, match="more than 14 bits"):
        find_hits(np.full((1, 4, 24), 1 << 14, np.uint16), Threshold(), state)
    with pytest.raises(InputError, match="not of images of 20 wires"):
        find_hits(images[:, :, :20], Threshold(), state)
    with pytest.raises(InputError, match="does not go on"):
        find_in_stream(images[0, :, :20], Threshold(), begin(state))
    with pytest.raises(InputError, match="holds no image"):
        find_hits(images, Threshold(), state, chunk=0)
    with pytest.raises(InputError, match="no sample of 14 bits"):
        State.at([np.nan])
    with pytest.raises(InputError, match="no sample of 14 bits"):
        State.at([1.0], -1)
    with pytest.raises(InputError, match="too few to settle"):
        settle(Threshold(), images[0])
    with pytest.raises(InputError, match="no ADC count"):
        Threshold(0)
    with pytest.raises(InputError, match="fits no counter"):
        AbsRunningSum(limit=127)
    with pytest.raises(InputError, match="number of tenths"):
        AbsRunningSum(memory=11)
    with pytest.raises(InputError, match="holds nothing"):
        into_images(np.zeros(0, HIT), 0)
