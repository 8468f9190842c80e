"""Folded designs: events in several words, instances in turn, the same integers at any interval."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from hairtrigger.backends.rtl import simulate, synthesise
from hairtrigger.errors import InputError, UnsupportedError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, emulate_codes, machines
from hairtrigger.graph.linear import Conv, Dense, GlobalSum, MaxPool, SumPool
from hairtrigger.graph.moves import Reshape
from hairtrigger.graph.ops import Add, Constant, Input, Quantize, Relu, Sub
from hairtrigger.graph.stimulus import extreme_codes, join_events, random_codes
from hairtrigger.rtl.design import compile_graph
from hairtrigger.rtl.project import write_project
from hairtrigger.runs.chip import Goal, require_room
from hairtrigger.targets import find_part, parse_clock
from hairtrigger.tools.testbench import build_testbench, run_testbench
from hairtrigger.tools.yosys import Resources
from hairtrigger.verify import verify
from rtl_batch import Batch
from strategies import graphs

SEED = 4


def image_network(
    rows: int,
    columns: int,
    *,
    bits: int = 2,
    pool: tuple[int, int] = (2, 2),
    stride: tuple[int, int] = (1, 1),
    depth: int = 3,
) -> Graph:
    """Two convolutions with a pooling between them, a sum of two paths, a flatten, two Dense."""
    rng = np.random.default_rng(SEED)
    b = Builder("net")

    def small(shape: tuple[int, ...], size: int = 4) -> Literal:
        return Literal(rng.integers(-size, size + 1, shape), 2)

    def quantized(x: int, integer: int = 2) -> int:
        t = TensorType.uniform(b.type(x).shape, Fixed(False, integer, 1))
        return b.add(Quantize(t, Rounding.RND, Overflow.SAT), b.add(Relu(), x))

    x = b.add(Input("x", TensorType.uniform((rows, columns, 1), Fixed(False, bits, 0))))
    same = ((1, 1), (1, 1))
    x = quantized(b.add(Conv(small((3, 3, 1, depth)), small((depth,)), stride, same), x))
    y = quantized(b.add(Conv(small((3, 3, depth, depth)), None, (1, 1), same), x))
    x = b.add(MaxPool(pool, pool, ((0, 0), (0, 0))), b.add(Add(), x, y))
    x = quantized(b.add(Conv(small((2, 3, depth, 2)), small((2,)), (1, 1), same), x))
    x = b.add(SumPool((2, 1), (2, 1), ((0, 0), (0, 0))), x)
    x = b.add(Reshape((b.type(x).size,)), x)
    x = quantized(b.add(Dense(small((b.type(x).size, 5)), small((5,))), x), 6)
    return b.build([b.add(Dense(small((5, 3))), x)])


def check(graph: Graph, interval: int, events: int = 40, axis: int | None = None) -> None:
    """Simulated Verilog against the emulator, events back to back and with gaps between them."""
    design = compile_graph(graph, "xcvu13p", "200 MHz", interval=interval, axis=axis)
    codes = join_events([extreme_codes(graph), random_codes(graph, events, seed=2)])
    expected = emulate_codes(graph, codes)
    for gaps_seed in (None, 5):
        result = simulate(design, codes, gaps_seed=gaps_seed)
        assert result.latency == design.latency
        for got, wanted in zip(result.codes, expected, strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("kind", ["cnn", "any"])
@pytest.mark.parametrize("interval", [2, 5, 16])
def test_random_graphs_fold(kind: str, interval: int, tmp_path: Path) -> None:
    found: list[Graph] = []

    @settings(max_examples=12, suppress_health_check=list(HealthCheck))
    @given(graphs(kind=kind))
    def draw(graph: Graph) -> None:
        found.append(graph)

    draw()
    codes = [join_events([extreme_codes(g), random_codes(g, 40, seed=1)]) for g in found]
    events = max(len(c[0]) for c in codes)
    codes = [tuple(np.resize(x, (events, *x.shape[1:])) for x in c) for c in codes]
    outputs = Batch.of(found, interval=interval).run(codes, tmp_path)
    for graph, given_codes, out in zip(found, codes, outputs, strict=True):
        for got, expected in zip(out, emulate_codes(graph, given_codes), strict=True):
            np.testing.assert_array_equal(got, expected, err_msg=str(graph))


@pytest.mark.parametrize("interval", [2, 6, 12, 48, 60, 144, 200])
def test_an_image_network_folds_from_slabs_of_columns_to_single_pixels(interval: int) -> None:
    check(image_network(6, 12), interval)


@pytest.mark.parametrize("axis", [0, 1])
def test_either_image_axis_can_be_the_one_along_which_slabs_enter(axis: int) -> None:
    graph = image_network(6, 8, stride=(2, 1), pool=(1, 2))
    check(graph, 8, axis=axis)
    assert compile_graph(graph, interval=8, axis=axis).words == (6, 8)[axis]


def pedestals(rows: int, columns: int) -> Graph:
    """A running pedestal for each pixel, taken off; sums of what stands out, now and before."""
    b = Builder("pedestals")
    x = b.add(Input("x", TensorType.uniform((rows, columns, 1), Fixed(False, 6, 0))))
    t = TensorType.uniform((rows, columns, 1), Fixed(False, 6, 0))
    reset = Literal(np.arange(rows * columns).reshape(rows, columns, 1) % 32, 0)
    x = b.add(Sub(), x, machines.frugal_pedestal(b, x, t, reset))
    x = b.add(Quantize(TensorType.uniform(b.type(x).shape, Fixed(False, 3, 0))), b.add(Relu(), x))
    total = b.add(GlobalSum((0, 1, 2)), x)
    return b.build([machines.moving_sum(b, total, 3), machines.delay(b, total, 2)])


@pytest.mark.parametrize("interval", [1, 2, 6, 12, 40])
def test_registers_of_the_graph_hold_from_event_to_event(interval: int) -> None:
    check(pedestals(3, 4), interval)


@pytest.mark.parametrize("interval", [1, 3])
def test_random_graphs_with_registers(interval: int, tmp_path: Path) -> None:
    found: list[Graph] = []

    @settings(max_examples=15, suppress_health_check=list(HealthCheck))
    @given(graphs(kind="stateful"))
    def draw(graph: Graph) -> None:
        if graph.inputs:
            found.append(graph)

    draw()
    codes = [random_codes(g, 60, seed=1) for g in found]
    events = max(len(c[0]) for c in codes if c)
    outputs = Batch.of(found, clock="50 MHz", interval=interval).run(codes, tmp_path)
    for graph, given_codes, out in zip(found, codes, outputs, strict=True):
        for got, expected in zip(out, emulate_codes(graph, given_codes), strict=True):
            np.testing.assert_array_equal(got, expected[:events], err_msg=str(graph))


def largest_so_far() -> Graph:
    """The largest value yet of two bits that toggle. Its two elements come at once, but the second
    half of the loop serves one after the other: each try reads the registers a clock too early."""
    b = Builder("pushed")
    x = b.add(Input("x", TensorType.uniform((2,), Fixed(False, 1, 0))))
    one = b.add(Constant(Literal([1, 1], 0)))
    bits = TensorType.uniform((2,), Fixed(False, 1, 0))
    toggle = b.state("toggle", bits, Literal([0, 1], 0))
    b.update(toggle, b.add(Quantize(bits), b.add(Add(), toggle, one)))
    kept = TensorType.uniform((2,), Fixed(False, 3, 1))
    most = b.state("most", kept, Literal([0, 0], 0))
    more = b.add(Relu(), b.add(Sub(), toggle, most))
    after = b.add(Quantize(kept), b.add(Add(), most, more))
    b.update(most, after)
    return b.build([b.add(Add(), after, x)])


@pytest.mark.parametrize("interval", [1, 2, 3, 7])
def test_elements_of_a_loop_that_push_each_other_get_instances_of_their_own(interval: int) -> None:
    check(largest_so_far(), interval)


def test_a_loop_that_takes_longer_than_a_clock_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="Register 'pedestal'") as caught:
        compile_graph(pedestals(2, 2), clock="400 MHz")
    found = re.search(r"about (\d+) MHz", caught.value.fix)
    assert found
    compile_graph(pedestals(2, 2), clock=f"{int(found[1]) - 1} MHz")


def test_the_testbench_of_a_folded_project_passes(tmp_path: Path) -> None:
    graph = image_network(6, 8)
    design = compile_graph(graph, interval=8)
    files = write_project(design, tmp_path, random_codes(graph, 12, seed=1))
    program = build_testbench([f for f in files if f.suffix == ".v"], "net_tb", tmp_path)
    assert "PASS: 12 events" in run_testbench(program, tmp_path)


def test_a_folded_design_is_verified_and_shares_its_kernels() -> None:
    graph = image_network(6, 8)
    design = compile_graph(graph, interval="25 ns")  # 8 clocks at 320 MHz
    assert design.interval == design.words == 8
    assert verify(graph, design=design, random_events=30, seed=SEED).passed
    parallel = synthesise(compile_graph(graph)).lut
    assert synthesise(design).lut < parallel / 3


@pytest.mark.parametrize(
    ("interval", "problem", "fix"),
    [
        (0, "interval=0: events are 1 clock or more apart", "whole clocks"),
        ("2 ns", "less than one clock at 320 MHz", "3.125 ns or more"),
    ],
)
def test_an_impossible_interval_names_the_nearest(interval: object, problem: str, fix: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        compile_graph(image_network(6, 8), interval=interval)
    assert fix in caught.value.fix


def test_a_part_that_is_too_small_names_one_that_holds_the_design() -> None:
    none = {f.name: 0 for f in dataclasses.fields(Resources)}
    needs = Resources(**{**none, "lut_logic": 900_000})
    goal = Goal(find_part("xczu7ev"), parse_clock("320 MHz"), None, 8)
    with pytest.raises(UnsupportedError, match="900,000 LUT") as caught:
        require_room(needs, goal)
    assert "an interval of about 32 clocks or the part" in caught.value.fix
