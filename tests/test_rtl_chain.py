"""Raw ticks in, decisions out, in one simulated top module: the integers of the emulator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hairtrigger.backends.rtl import simulate, synthesise
from hairtrigger.backends.rtl_chain import simulate_chain
from hairtrigger.errors import InputError, UnsupportedError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, emulate_codes, machines
from hairtrigger.graph.linear import Conv, Dense, GlobalSum, MaxPool
from hairtrigger.graph.ops import Input, Quantize, Relu
from hairtrigger.graph.passes import optimise
from hairtrigger.rtl.chain import compile_chain, emulate_chain
from hairtrigger.rtl.design import compile_graph
from hairtrigger.studies.supernova_front import FrontConfig
from hairtrigger.studies.supernova_front_graph import front_graph

SEED = 5
NARROW = FrontConfig(wires=48, board=24)


def network(rows: int, pixels: int, *, channels: bool = True, bits: int = 4) -> Graph:
    """A convolution, a pool, a convolution, a sum over the image, five numbers."""
    rng = np.random.default_rng(SEED)
    b = Builder("cnn")

    def weights(*shape: int) -> Literal:
        return Literal(rng.integers(-4, 5, shape), 2)

    def quantized(x: int) -> int:
        t = TensorType.uniform(b.type(x).shape, Fixed(False, 1, 2))
        return b.add(Quantize(t, Rounding.TRN, Overflow.SAT), b.add(Relu(), x))

    image = Fixed(False, bits, 0)
    if not channels:
        x = b.add(Input("image", TensorType.uniform((rows, pixels), image)))
        return b.build([b.add(GlobalSum((0,)), b.add(Dense(weights(pixels, 3)), x))])
    x = b.add(Input("image", TensorType.uniform((rows, pixels, 1), image)))
    same = ((1, 1), (1, 1))
    x = quantized(b.add(Conv(weights(3, 3, 1, 2), weights(2), (1, 1), same), x))
    x = b.add(MaxPool((2, 2), (2, 2), ((0, 0), (0, 0))), x)
    x = quantized(b.add(Conv(weights(3, 3, 2, 3), weights(3), (1, 1), same), x))
    return b.build([b.add(Dense(weights(3, 5)), b.add(GlobalSum((0, 1)), x))])


def stream(images: int, wires: int, seed: int = SEED) -> np.ndarray:
    """Noise, with pulses in every other image, jumps and extremes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(3660, 11, (images * 64, wires))
    for image in range(0, images, 2):
        for _ in range(wires // 8):
            tick, wire = image * 64 + rng.integers(60), rng.integers(wires)
            x[tick : tick + 5, wire] += rng.uniform(50, 3000)
    x[64:70], x[90:95] = 0, 16383
    x[200:230] = rng.integers(0, 16384, (30, wires))
    return np.clip(np.rint(x), 0, 16383).astype(np.int64)


@pytest.mark.parametrize(
    ("interval", "clock", "config"),
    [
        (12, "320 MHz", NARROW),
        (6, "200 MHz", replace(NARROW, pool="sum", block=(2, 4), scale=((6, 3), (9, 3)))),
        (1, "200 MHz", FrontConfig(wires=12, board=12)),
        (12, "200 MHz", replace(NARROW, coherent=False, block=(8, 8), taps=(1, 3, 1))),
    ],
    ids=["12 clocks", "6 clocks, sum", "1 clock", "other blocks and taps"],
)
def test_the_front_folds_over_the_clocks_of_a_tick(
    interval: int, clock: str, config: FrontConfig
) -> None:
    graph = optimise(front_graph(config, 3660))
    design = compile_graph(graph, clock=clock, interval=interval, axis=0)
    ticks = stream(17, config.wires)
    result = simulate(design, [ticks], gaps_seed=1)
    for got, expected in zip(result.codes, emulate_codes(graph, [ticks]), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert result.latency == design.latency


def delays(start: int) -> Graph:
    """Sums of a vector with what it was before: registers that all begin with ``start``."""
    b = Builder("delays")
    t = TensorType.uniform((24,), Fixed(False, 5, 0))
    x = b.add(Input("x", t))
    held = b.state("held", t, Literal(np.full(24, start), 0))
    b.update(held, x)
    return b.build([b.add(GlobalSum((0,)), x), machines.delay(b, held, 2)])


@pytest.mark.parametrize(("start", "interval"), [(21, 5), (0, 6), (21, 24)])
def test_long_rings_begin_with_the_reset_value_and_without_a_reset(
    start: int, interval: int
) -> None:
    graph = delays(start)
    design = compile_graph(graph, clock="200 MHz", interval=interval, axis=0)
    codes = [np.random.default_rng(1).integers(0, 32, (30, 24))]
    for gaps in (None, 2):
        result = simulate(design, codes, gaps_seed=gaps)
        for got, expected in zip(result.codes, emulate_codes(graph, codes), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_long_rings_are_shift_register_luts() -> None:
    used = synthesise(compile_graph(delays(21), clock="200 MHz", interval=24, axis=0))
    assert used.lut_memory >= 3 * 5
    assert used.ff < 2 * 24 * 5  # the rings alone would take three times as many as a vector has


@pytest.mark.parametrize(
    ("axis", "network_interval"),
    [
        (0, None),
        (1, 24),
        pytest.param(0, 64, marks=pytest.mark.slow),
        pytest.param(0, 16, marks=pytest.mark.slow),
        pytest.param(1, None, marks=pytest.mark.slow),
    ],
)
def test_a_chain_decides_as_the_emulator_does(axis: int, network_interval: int | None) -> None:
    front, behind = optimise(front_graph(NARROW, 3660)), optimise(network(16, 12))
    chain = compile_chain(
        front,
        behind,
        tick=30,
        front_interval=12,
        network_interval=network_interval,
        axis=axis,
    )
    ticks = stream(6, 48)
    expected = emulate_chain(front, behind, ticks)
    assert len(np.unique(expected[0], axis=0)) > 3
    for pace, gaps in ((30, None), (37, 3)):
        result = simulate_chain(chain, ticks, tick=pace, gaps_seed=gaps)
        np.testing.assert_array_equal(result.codes[0], expected[0])
        assert result.latency == chain.latency
    assert chain.image_clocks == 64 * 30
    assert chain.latency_from_last_word == chain.latency - 11


def test_an_image_without_channels_and_the_fastest_ticks() -> None:
    config = FrontConfig(wires=24, board=12, block=(8, 4))
    front, behind = front_graph(config, 3660), network(4, 6, channels=False)
    chain = compile_chain(front, behind, clock="100 MHz", tick=6, network_interval=12)
    assert (chain.row_ticks, chain.image_ticks, chain.image_clocks) == (8, 32, 192)
    ticks = stream(4, 24)
    result = simulate_chain(chain, ticks)
    np.testing.assert_array_equal(result.codes[0], emulate_chain(front, behind, ticks)[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clock", "tick", "interval"), [("200 MHz", "512 ns", 60), ("320 MHz", "128 ns", 40)]
)
def test_480_wires_decide_200_images_in_time(clock: str, tick: str, interval: int) -> None:
    front, behind = optimise(front_graph(FrontConfig(), 3660)), optimise(network(16, 120))
    chain = compile_chain(front, behind, clock=clock, tick=tick, front_interval=interval)
    assert chain.image_ns <= {"512 ns": 32768, "128 ns": 8192}[tick]
    ticks = stream(200, 480)
    expected = emulate_chain(front, behind, ticks)
    assert len(np.unique(expected[0], axis=0)) > 90
    result = simulate_chain(chain, ticks)
    np.testing.assert_array_equal(result.codes[0], expected[0])
    assert result.latency == chain.latency


# --- what does not fit ----------------------------------------------------------------------------

FRONT = front_graph(FrontConfig(wires=24, board=12), 3660)


@pytest.mark.parametrize(
    ("front", "behind", "options", "problem"),
    [
        (FRONT, network(16, 24), {}, "does not read images of rows of 6 pixels"),
        (FRONT, network(16, 6, bits=5), {}, "format of the pixels"),
        (FRONT, FRONT, {}, "does not read images"),
        (network(16, 6), network(16, 6), {}, "gives"),
        (FRONT, network(16, 6), {"front_interval": 31}, "31 clocks for a tick"),
        (FRONT, network(16, 6), {"tick": 1}, "network's answer takes"),
        (FRONT, network(16, 6), {"network_interval": 3, "axis": 1}, "equal parts of columns"),
    ],
)
def test_what_does_not_fit_is_refused(
    front: Graph, behind: Graph, options: dict[str, int], problem: str
) -> None:
    with pytest.raises(UnsupportedError) as caught:
        compile_chain(front, behind, clock="100 MHz", **{"tick": 30, **options})
    assert problem in f"{caught.value.problem} {caught.value.fix}"


def test_parts_of_images_and_ticks_too_close_are_refused() -> None:
    chain = compile_chain(FRONT, network(16, 6), clock="100 MHz", tick=30)
    with pytest.raises(InputError, match="whole images of 64"):
        simulate_chain(chain, np.zeros((65, 24), dtype=np.int64))
    with pytest.raises(InputError, match="takes 30 or more"):
        simulate_chain(chain, np.zeros((64, 24), dtype=np.int64), tick=29)
