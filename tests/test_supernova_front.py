"""The front of the supernova chain: plain Python, NumPy, Graph, C++ and its claims about noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.cpp.library import compile_graph
from hairtrigger.errors import InputError
from hairtrigger.graph import emulate_codes, emulate_steps
from hairtrigger.graph.passes import optimise
from hairtrigger.studies.supernova_front import (
    FrontConfig,
    FrontState,
    first_pedestals,
    front,
    reciprocal,
    step,
)
from hairtrigger.studies.supernova_front_fast import front_fast
from hairtrigger.studies.supernova_front_graph import factors, front_graph, front_interval

SMALL = FrontConfig(wires=24, board=12)


# --- plain Python ---------------------------------------------------------------------------------


def rounded(number: Fraction) -> int:
    """To the nearest integer, halves towards zero."""
    whole = int(abs(number) + Fraction(1, 2))
    if abs(number) + Fraction(1, 2) == whole:
        whole -= 1
    return whole if number >= 0 else -whole


def reference(config: FrontConfig, ticks: np.ndarray, pedestal: int) -> list[list[int]]:
    """Rows of pixels, one number after the other."""
    top = 2**config.bits - 1
    step_ = Fraction(1, 2**config.pedestal_fraction)
    pedestals = [Fraction(pedestal)] * config.wires
    reach = 2 ** (config.residual_bits - 1)
    clip = 2**config.clip_bits - 1
    seen = [[0] * config.wires for _ in range(len(config.taps) - 1)]
    rows: list[list[int]] = []
    block: list[list[int]] = []
    for tick in ticks.tolist():
        left = [x - min(int(p + Fraction(1, 2)), top) for x, p in zip(tick, pedestals, strict=True)]
        pedestals = [
            min(max(p + step_ * ((x > p) - (x < p)), Fraction(0)), top + 1 - step_)
            for x, p in zip(tick, pedestals, strict=True)
        ]
        if config.coherent:
            for first in range(0, config.wires, config.board):
                board = left[first : first + config.board]
                total = sum(min(max(x, -clip), clip) for x in board)
                mean = rounded(Fraction(total, config.board))
                left[first : first + config.board] = [x - mean for x in board]
        seen.append([min(max(x, -reach), reach - 1) for x in left])
        filtered: list[int] = []
        for wire in range(config.wires):
            total = sum(t * seen[-1 - n][wire] for n, t in enumerate(config.taps))
            whole = (2 * total + 2**config.taps_shift) // 2 ** (config.taps_shift + 1)
            filtered.append(max(whole, 0) if whole >= config.threshold else 0)
        seen.pop(0)
        block.append(filtered)
        if len(block) == config.block[0]:
            rows.append([])
            for first in range(0, config.wires, config.block[1]):
                inside = [line[w] for line in block for w in range(first, first + config.block[1])]
                value = max(inside) if config.pool == "max" else sum(inside)
                rows[-1].append(sum(min(value // 2**s, 2**b - 1) for s, b in config.scale))
            block = []
    return rows


@dataclass(frozen=True)
class Case:
    """A front, a stream of ticks, and the pedestal that it starts from."""

    config: FrontConfig
    ticks: np.ndarray
    pedestal: int


def streams(config: FrontConfig, count: int, seed: int) -> np.ndarray:
    """Noise with coherent parts, pulses, jumps of the pedestal, all zeros and all ones."""
    rng = np.random.default_rng(seed)
    top = 2**config.bits - 1
    scale = 2.0 ** (config.bits - 14)
    x = rng.normal(3660, 9, (count, config.wires)) * scale
    x += np.repeat(rng.normal(0, 6 * scale, (count, config.boards)), config.board, axis=1)
    for _ in range(count // 8):
        tick, wire = rng.integers(count), rng.integers(config.wires)
        x[tick : tick + 6, wire] += rng.choice([60, 200, 3000, 1e5]) * scale
    part = count // 6
    x[part : part + part // 3] = rng.integers(0, top + 1, (part // 3, config.wires))
    x[2 * part : 2 * part + part // 4] = 0
    x[3 * part : 3 * part + part // 4] = top
    x[4 * part :] += rng.choice([-500, 500]) * scale
    return np.clip(np.rint(x), 0, top).astype(np.uint16)


@st.composite
def cases(draw: Any) -> Case:
    bits = draw(st.sampled_from([12, 14]))
    wires = draw(st.sampled_from([1, 2, 4]))
    board = wires * draw(st.sampled_from([1, 3, 5]))
    taps = draw(st.sampled_from([(1,), (1, 2, 3, 4, 3, 2, 1), (1, 3, 1), (2, 0, 1), (1, 1, 1, 1)]))
    config = FrontConfig.of(
        bits,
        wires=board * draw(st.integers(1, 3)),
        board=board,
        pedestal_fraction=draw(st.integers(0, 8)),
        coherent=draw(st.booleans()),
        taps=taps,
        taps_shift=draw(st.integers(2, 4)) if taps != (1,) else draw(st.integers(0, 1)),
        threshold=draw(st.sampled_from([0, 1, 5, 20, 63])),
        block=(draw(st.sampled_from([1, 2, 4, 8])), wires),
        pool=draw(st.sampled_from(["max", "sum"])),
        scale=draw(st.sampled_from([((4, 3), (7, 3)), ((5, 4),), ((0, 2), (3, 2), (6, 4))])),
    )
    ticks = streams(config, draw(st.integers(8, 70)), draw(st.integers(0, 99)))
    if draw(st.booleans()):  # nothing but extremes
        ticks = np.where(ticks % 2 == 1, 2**bits - 1, 0).astype(np.uint16)
    return Case(config, ticks, draw(st.sampled_from([0, 900, 3660, 2**bits - 1])) % 2**bits)


@settings(max_examples=40, deadline=None)
@given(cases())
def test_numpy_and_graph_agree_with_plain_python(case: Case) -> None:
    expected = reference(case.config, case.ticks, case.pedestal)
    state = FrontState.start(case.config, case.pedestal)
    rows, _ = step(case.config, state, case.ticks)
    assert rows.tolist() == expected
    graph = front_graph(case.config, case.pedestal)
    for form in (graph, optimise(graph)):
        pixels, ready = emulate_codes(form, [case.ticks.astype(np.int64)])
        assert pixels[ready.reshape(-1) == 1].tolist() == expected
        assert ready.reshape(-1).sum() == len(case.ticks) // case.config.block[0]


@settings(max_examples=30, deadline=None)
@given(cases(), st.lists(st.integers(0, 11), max_size=12))
def test_a_stream_may_be_cut_anywhere(case: Case, cuts: list[int]) -> None:
    start = FrontState.start(case.config, case.pedestal)
    whole, end = step(case.config, start, case.ticks)
    rows, state = [], start
    ends = np.minimum(np.cumsum([0, *cuts, len(case.ticks)]), len(case.ticks))
    for a, b in pairwise(ends):
        found, state = step(case.config, state, case.ticks[a:b])
        rows.append(found)
    np.testing.assert_array_equal(np.concatenate(rows), whole)
    for name in ("pedestal", "history", "sums", "phase"):
        np.testing.assert_array_equal(getattr(state, name), getattr(end, name))


def test_images_alone_are_streams_from_their_own_pedestals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hairtrigger.studies.supernova_front.CHUNK_SAMPLES", 3 * 64 * 24)
    images = streams(SMALL, 7 * 64, 1).reshape(7, 64, 24)
    for pedestal in (None, 3660, first_pedestals(images)[0], first_pedestals(images)):
        pixels = front(images, SMALL, pedestal)
        assert pixels.shape == (7, 16, 6)
        assert pixels.dtype == np.uint8
        for n, image in enumerate(images):
            known = first_pedestals(images)[n] if pedestal is None else pedestal
            own = known[n] if np.ndim(known) == 2 else known
            rows, _ = step(SMALL, FrontState.start(SMALL, own), image)
            np.testing.assert_array_equal(pixels[n], rows)


@pytest.mark.parametrize("bits", [12, 14])
def test_images_by_cpp_are_the_same(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hairtrigger.studies.supernova_front.CHUNK_SAMPLES", 3 * 64 * 24)
    config = FrontConfig.of(bits, wires=24, board=12)
    images = streams(config, 7 * 64, 1).reshape(7, 64, 24)
    for pedestal in (None, 900, first_pedestals(images)[0], first_pedestals(images)):
        expected = front(images, config, pedestal)
        np.testing.assert_array_equal(front_fast(images, config, pedestal), expected)
    for wrong in (images[:, :63], images.astype(float), images + np.uint16(1 << bits)):
        with pytest.raises(InputError):
            front_fast(wrong, config)
    assert front_fast(images[:0], config).shape == (0, 16, 6)


def test_streams_of_one_library_start_from_their_own_registers() -> None:
    library = compile_graph(optimise(front_graph(SMALL, 3000)))
    ticks = np.stack([streams(SMALL, 40, seed) for seed in range(3)])
    outs, states = library.streams_from([ticks], None)
    again, ends = library.streams_from([ticks], states)
    for n in range(3):
        wanted, state = library.steps_from([ticks[n]], None)
        then, end = library.steps_from([ticks[n]], state)
        for got, expected in ((outs, wanted), (again, then)):
            for a, b in zip(got, expected, strict=True):
                np.testing.assert_array_equal(a[n], b)
        for a, b in zip(ends, end, strict=True):
            np.testing.assert_array_equal(a[n], b)
    with pytest.raises(InputError, match="shape"):
        library.streams_from([ticks[0]], None)
    with pytest.raises(InputError, match="not in its format"):
        library.streams_from([np.full_like(ticks, 16384)], None)
    with pytest.raises(InputError, match="not in its format"):
        library.streams_from([ticks], tuple(x + (1 << 20) for x in states))


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        FrontConfig(wires=96),
        FrontConfig.of(12, wires=96, pool="sum", taps=(1, 3, 1), block=(8, 4), coherent=False),
        FrontConfig(wires=24, board=24, block=(1, 1), taps=(1,), taps_shift=0, threshold=0),
    ],
    ids=["small", "two boards", "sum", "threshold only"],
)
def test_cpp_gives_the_same_in_any_parts(config: FrontConfig) -> None:
    ticks = streams(config, 400, 3)
    graph = optimise(front_graph(config, 3000 / (16384 >> config.bits)))
    library = compile_graph(graph)
    expected, end = emulate_steps(graph, [ticks.astype(np.int64)])
    rows, _ = step(config, FrontState.start(config, 3000 / (16384 >> config.bits)), ticks)
    np.testing.assert_array_equal(expected[0][expected[1].reshape(-1) == 1], rows)
    found, state = [], None
    for part in np.split(ticks, [1, 2, 130, 131, 399]):
        outs, state = library.steps_from([part], state)
        found.append(outs)
    for n, wanted in enumerate(expected):
        np.testing.assert_array_equal(np.concatenate([outs[n] for outs in found]), wanted)
    for got, wanted in zip(state, end, strict=True):
        np.testing.assert_array_equal(got, wanted)


# --- what it is for -------------------------------------------------------------------------------


def noise(count: int, own: float = 8.0, board: float = 7.0, seed: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(3660.3, own, (count, 480))
    return x + np.repeat(rng.normal(0, board, (count, 10)), 48, axis=1)


def counts(x: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(x), 0, 16383).astype(np.uint16)


def test_the_pedestal_settles_scatters_and_drifts_as_said() -> None:
    config = FrontConfig()
    state = FrontState.start(config, 3640)
    x = noise(8000)
    _, state = step(config, state, counts(x))
    found = state.pedestal / 64
    assert abs(found.mean() - 3660.3) < 0.1
    assert 0.15 < found.std() < 0.6  # about sqrt(s sigma / 1.6) = 0.3
    _, covered = step(config, state, counts(x[:64] + 500))
    assert (covered.pedestal - state.pedestal == 64).all()  # 64 ticks of signal: one count
    drift = np.arange(8000)[:, None] * 0.01  # 20,000 counts a second
    _, state = step(config, state, counts(x + drift))
    assert abs(state.pedestal.mean() / 64 - 3660.3 - 80) < 15


def test_boards_means_take_coherent_noise_off_and_leave_signals() -> None:
    x = noise(6400) - 0.3  # whole counts are taken off, here 3660
    images = counts(x).reshape(100, 64, 480)
    bare = FrontConfig(threshold=0, taps=(1,), taps_shift=0, block=(1, 1), scale=((0, 7),))
    with_means, without = (front(images, replace(bare, coherent=on), 3660) for on in (True, False))
    # What is left of 8 and 7 counts, added in squares, is the 8.
    assert abs(with_means.mean() / without.mean() - 8 / np.hypot(8, 7)) < 0.03
    assert (front(images, FrontConfig(), 3660) > 0).mean() < 1e-3
    t = np.arange(64)
    x = x.reshape(100, 64, 480)
    x[:, :, 100] += 300 * np.exp(-0.5 * ((t - 30) / 2.6) ** 2)  # a pulse of FWHM 6
    pixels = front(counts(x), FrontConfig(), 3660)
    # The filter looks back: its answer to a pulse at tick 30 is largest at tick 33.
    assert (pixels[:, 8, 25] >= 7).all()
    assert (pixels[:, :6] == 0).mean() > 0.999


def test_twelve_bits_are_fourteen_in_coarser_counts() -> None:
    images = counts(noise(640) + (np.arange(480) == 100) * 400.0).reshape(10, 64, 480)
    fine = front(images, FrontConfig.of(14), 3660)
    coarse = front(images // 4, FrontConfig.of(12), 3660 / 4)
    assert (np.abs(fine.astype(int) - coarse) <= 1).mean() > 0.99


# --- parts ----------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.integers(1, 64), st.integers(1, 31))
def test_a_reciprocal_is_exact(divisor: int, most: int) -> None:
    reach = divisor * most
    code, fraction = reciprocal(divisor, reach)
    for number in range(-reach, reach + 1):
        product = Fraction(number * code, 2**fraction)
        assert (product + Fraction(1, 2)).__floor__() == rounded(Fraction(number, divisor))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(any), st.lists(st.integers(1, 4)))
def test_factors_multiply_to_the_taps(rest: list[int], delays: list[int]) -> None:
    def times(taps: list[int], delay: int) -> list[int]:
        late = [0] * delay + taps
        return [a + b for a, b in zip([*taps, *[0] * delay], late, strict=True)]

    taps = rest
    for delay in delays[:4]:
        taps = times(taps, delay)
    found, left = factors(taps)
    for delay in found:
        left = times(left, delay)
    assert left == taps


def test_the_default_filter_is_four_adders() -> None:
    assert factors(FrontConfig().taps) == ([1, 1, 2, 2], [1])


@pytest.mark.parametrize(
    ("clocks", "words"), [(1, 1), (25, 20), (40, 40), (102, 60), (163, 120), (9, 5), (10, 10)]
)
def test_words_of_a_tick_are_whole_pixels_and_parts_of_boards(clocks: int, words: int) -> None:
    assert front_interval(FrontConfig(), clocks) == words
    with pytest.raises(InputError, match="0 clocks"):
        front_interval(FrontConfig(), 0)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"wires": 470}, "whole boards"),
        ({"block": (3, 4)}, "power of two"),
        ({"block": (4, 5)}, "divide board"),
        ({"pool": "mean"}, "pool must be"),
        ({"taps": ()}, "taps"),
        ({"taps": (1, -1)}, "taps"),
        ({"clip_bits": 12}, "clip_bits"),
        ({"scale": ()}, "scale"),
        ({"taps_shift": 0, "residual_bits": 13}, r"2\*\*15"),
        ({"pool": "sum", "scale": ((0, 9),)}, r"2\*\*8"),
    ],
)
def test_a_front_that_fits_no_plane_is_refused(change: dict[str, Any], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        replace(FrontConfig(), **change)


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        (np.zeros((2, 64, 470), np.uint16), "shape"),
        (np.zeros((64, 480), np.uint16), "shape"),
        (np.zeros((2, 63, 480), np.uint16), "63 ticks"),
        (np.zeros((2, 64, 480)), "dtype float64"),
        (np.full((2, 64, 480), 16384, np.uint16), "16384"),
        (np.full((2, 64, 480), -1, np.int16), "-1"),
    ],
)
def test_other_samples_are_refused(images: np.ndarray, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        front(images)


@pytest.mark.parametrize("pedestal", [float("nan"), -1, 16384, np.zeros(3)])
def test_other_pedestals_are_refused(pedestal: Any) -> None:
    with pytest.raises(InputError, match="edestal"):
        front(np.zeros((2, 64, 480), np.uint16), pedestal=pedestal)


def test_an_adc_of_other_bits_needs_a_config() -> None:
    with pytest.raises(InputError, match="16 bits"):
        FrontConfig.of(16)
