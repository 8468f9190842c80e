"""C++ of Graphs with registers: as memory of earlier steps, and where that is not possible."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hairtrigger.cpp.library import compile_graph
from hairtrigger.cpp.program import Program
from hairtrigger.cpp.source import chosen_layout
from hairtrigger.cpp.stages import stages
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, emulate_steps, machines
from hairtrigger.graph.linear import Conv, GlobalSum, MaxPool, SumPool
from hairtrigger.graph.moves import Concat, Crop, Reshape
from hairtrigger.graph.ops import Add, Constant, Input, Mul, Quantize, Relu, Sub

INT8 = Fixed(True, 7, 0)
LONG = 96


def vector(size: int = LONG) -> TensorType:
    return TensorType.uniform((size,), INT8)


def start(name: str) -> tuple[Builder, int]:
    b = Builder(name)
    return b, b.add(Input("x", vector()))


def plain_delays() -> Graph:
    """x, x one step ago, x three steps ago, and a sum of all."""
    b, x = start("delays")
    late = machines.delay(b, x, 3)
    total = b.add(Add(), b.add(Add(), x, late), machines.delay(b, x, 1, "one"))
    return b.build([total, late])


def two_of_one() -> Graph:
    """Two registers that take one value and begin with different ones."""
    b, x = start("twins")
    found = [x]
    for n, reset in enumerate((5, -9)):
        held = b.state(f"held{n}", vector(), Literal(np.full(LONG, reset), 0))
        b.update(held, x)
        found.append(held)
    return b.build([b.add(Add(), *found[:2]), b.add(Sub(), *found[1:])])


def swapped() -> Graph:
    """Two registers that take each other's values."""
    b, x = start("swap")
    first = b.state("first", vector(), Literal(np.arange(LONG) - 40, 0))
    second = b.state("second", vector(), Literal(np.arange(LONG) // 2, 0))
    b.update(first, second)
    b.update(second, first)
    return b.build([b.add(Add(), x, first), second])


def constant_next() -> Graph:
    """A register that is zero for some elements, three for others, after the first step."""
    b, x = start("constant")
    held = b.state("held", vector(), Literal(np.full(LONG, 7), 0))
    value = Literal(np.where(np.arange(LONG) % 3 == 0, 0, 3), 0)
    zero = b.add(Mul(), x, b.add(Constant(Literal([0], 0))))
    after = b.add(Add(), b.add(Constant(value)), zero)
    b.update(held, b.add(Quantize(vector()), after))
    return b.build([b.add(Add(), x, held)])


def long_delay() -> Graph:
    """Longer than frames are kept for."""
    b, x = start("long")
    return b.build([machines.delay(b, x, 40), machines.moving_sum(b, x, 19)])


def parts_of_others() -> Graph:
    """Registers of parts of a tensor, one of them twice, and of both behind each other."""
    b, x = start("parts")
    y = b.add(Quantize(vector(), Rounding.TRN, Overflow.SAT), b.add(Add(), x, x))
    half = TensorType.uniform((LONG // 2,), INT8)
    found: list[int] = []
    for n, cut in enumerate(((0, LONG // 2), (LONG // 2, 0), (0, LONG // 2))):
        held = b.state(f"part{n}", half, Literal(np.full(LONG // 2, n), 0))
        b.update(held, b.add(Crop((cut,)), y))
        found.append(held)
    whole = b.state("whole", vector())
    b.update(whole, b.add(Concat(0), found[1], found[0]))
    twice = b.state("twice", vector())
    b.update(twice, b.add(Concat(0), found[2], found[2]))
    return b.build([b.add(Add(), whole, twice), y, *found])


def sums_and_borders() -> Graph:
    """Every fourth element, a mean for many, a padded convolution, a loop."""
    b, x = start("sums")
    x = b.add(Reshape((LONG, 1)), x)
    few = b.add(SumPool((4,), (4,), ((0, 0),)), x)
    few = b.add(MaxPool((2,), (2,), ((0, 0),)), few)
    rows = b.add(Reshape((8, LONG // 8)), x)
    means = b.add(Reshape((8, 1)), b.add(GlobalSum((1,)), rows))
    less = b.add(Reshape((LONG, 1)), b.add(Sub(), rows, means))
    t = TensorType.uniform((LONG, 1), INT8)
    less = b.add(Quantize(t, Rounding.TRN, Overflow.SAT), less)
    total = b.state("total", t)
    both = b.add(Relu(), b.add(Sub(), less, total))
    b.update(total, b.add(Quantize(t, Rounding.TRN, Overflow.WRAP), b.add(Add(), both, less)))
    kernel = Literal(np.array([1, -2, 3]).reshape(3, 1, 1), 1)
    edge = b.add(Conv(kernel, None, (1,), ((1, 1),)), machines.delay(b, less, 2))
    return b.build([few, edge, both])


GRAPHS = (
    plain_delays,
    two_of_one,
    swapped,
    constant_next,
    long_delay,
    parts_of_others,
    sums_and_borders,
)


@pytest.mark.parametrize("make", GRAPHS)
def test_streams_cut_anywhere_agree_with_the_emulator(make: Callable[[], Graph]) -> None:
    graph = make()
    library = compile_graph(graph)
    codes = np.random.default_rng(3).integers(-128, 128, (120, LONG))
    expected, end = emulate_steps(graph, [codes])
    for cuts in ([], [1], [1, 2, 3, 50], [17, 17, 90]):
        found, state = [], None
        for part in np.split(codes, cuts):
            outs, state = library.steps_from([part], state)
            found.append(outs)
        for n, wanted in enumerate(expected):
            np.testing.assert_array_equal(np.concatenate([outs[n] for outs in found]), wanted)
        for got, wanted in zip(state, end, strict=True):
            np.testing.assert_array_equal(got, wanted)


def copies(program: Program) -> int:
    return sum(kernel.label == "register" for kernel in program.kernels)


def test_delays_are_no_copies() -> None:
    program = stages(plain_delays())
    # The output that is a register is handed out, and the second register of one value is kept.
    assert sorted({held.age for held in program.held}) == [1, 2, 3]
    assert copies(program) == 2
    assert max(held.age for held in stages(long_delay()).held) <= 16


def test_kernels_of_the_same_positions_are_one_loop_and_keep_no_more_than_is_read() -> None:
    b, x = start("row")
    y = b.add(Relu(), x)
    z = b.add(Add(), y, machines.delay(b, y, 1))
    out = b.add(Add(), z, machines.delay(b, z, 2, "two"))
    program = stages(b.build([out]))
    assert len(program.kernels) == 1
    assert program.kernels[0].writes.shape == (LONG, 3)  # y, z and the output
    alone = Builder("alone")
    x = alone.add(Input("x", vector()))
    once = alone.add(Add(), x, machines.delay(alone, x, 1))
    positive = alone.add(Relu(), once)
    program = stages(alone.build([alone.add(Mul(), positive, positive)]))
    assert [kernel.writes.shape for kernel in program.kernels] == [(LONG, 1)]


def test_steps_of_any_size_make_few_runs() -> None:
    b, x = start("steps")
    rows = b.add(Reshape((8, LONG // 8)), machines.delay(b, x, 1))
    means = b.add(Reshape((8, 1)), b.add(GlobalSum((1,)), rows))
    less = b.add(Sub(), rows, means)
    few = b.add(SumPool((4,), (4,), ((0, 0),)), b.add(Reshape((LONG, 1)), x))
    program = stages(b.build([less, few]))
    runs = chosen_layout(program).runs
    assert sorted(len(r.length) for r in runs) == [1, 1, 8]
