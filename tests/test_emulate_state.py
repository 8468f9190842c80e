"""Graphs with registers: every step against plain Python, chunks, and the machines made of them."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from hairtrigger import engines
from hairtrigger.backends import onnx
from hairtrigger.errors import GraphError, InputError, UnsupportedError
from hairtrigger.fixed import Fixed, IntArray, Overflow, Rounding
from hairtrigger.fuzz.generate import Maker
from hairtrigger.graph import (
    Builder,
    Graph,
    Literal,
    TensorType,
    emulate,
    emulate_codes,
    emulate_steps,
    machines,
    ops,
    verify,
)
from hairtrigger.graph.emulate import check_codes, emulate_nodes
from hairtrigger.graph.exact import intervals, live
from hairtrigger.graph.graph import rewrite
from hairtrigger.graph.passes import fold_constants, merge_quantizers, narrow_types, remove_dead
from hairtrigger.graph.steps import groups, reset_registers
from strategies import codes_for, graphs

INT4 = Fixed(True, 3, 0)
SCALAR = TensorType.uniform((), INT4)


def step_by_step(graph: Graph, codes: tuple[IntArray, ...]) -> list[list[np.ndarray]]:
    """Fractions of every node at every step: a loop over steps, registers in a dictionary."""
    held = {n: reference.numbers(graph.nodes[n].op.reset) for n, _ in graph.updates}
    found: list[list[np.ndarray]] = []
    for step in range(len(codes[0])):
        values: list[np.ndarray] = []
        given_ = iter(codes)
        for place, node in enumerate(graph.nodes):
            if isinstance(node.op, ops.Input):
                values.append(reference.to_fractions(next(given_)[step], node.type.lsb))
            elif isinstance(node.op, ops.State):
                values.append(held[place])
            else:
                values.append(reference.result(node.op, [values[n] for n in node.operands]))
        held = {state: values[place] for state, place in graph.updates}
        found.append(values)
    return found


@settings(max_examples=100)
@given(st.data())
def test_every_step_agrees_with_the_reference(data: st.DataObject) -> None:
    graph = data.draw(graphs("stateful", max_ops=6))
    codes = data.draw(codes_for(graph, 6))
    values = emulate_nodes(graph, codes)
    for step, expected in enumerate(step_by_step(graph, codes)):
        for place, node in enumerate(graph.nodes):
            row = values[place][step if len(values[place]) > 1 else 0]
            found = reference.to_fractions(row, node.type.lsb)
            assert (found == expected[place]).all(), f"%{place}, step {step} of\n{graph}"


def test_random_graphs_reach_delays_loops_and_both_together() -> None:
    """The test above is worth as much as what it draws."""
    seen: set[str] = set()

    @settings(max_examples=150, database=None)
    @given(graphs("stateful"))
    def draw(graph: Graph) -> None:
        loops = {place for group in groups(graph) if group.loop for place in group.places}
        for state, place in graph.updates:
            seen.add("loop" if state in loops else "delay")
            seen.add("takes itself" if place == state else "takes another")
            seen.add("reset" if graph.nodes[state].op.reset.codes.any() else "zero")
            seen.add("mixed type" if graph.nodes[state].type.single is None else "single type")
        seen.add(f"loops: {min(2, sum(group.loop for group in groups(graph)))}")
        shared = any(
            sum(n in group.places for n, _ in graph.updates) > 1 for group in groups(graph)
        )
        seen.add("two registers in a loop" if shared else "")
        for op in (graph.nodes[n].op for n, _ in graph.updates):
            seen.add(op.name.split(".")[0].rstrip("0123456789"))

    draw()
    assert seen >= {
        *("loop", "delay", "takes itself", "takes another", "reset", "zero", "mixed type"),
        *("loops: 0", "loops: 1", "loops: 2", "two registers in a loop", "free"),
        *Maker.MACHINES,
    }


@settings(max_examples=60)
@given(st.data())
def test_steps_go_on_where_they_stopped(data: st.DataObject) -> None:
    graph = data.draw(graphs("stateful"))
    codes = data.draw(codes_for(graph, 20))
    whole, end = emulate_steps(graph, codes)
    for (state, _), held in zip(graph.updates, end, strict=True):
        check_codes(graph.nodes[state].type, held[None])
    held = None
    parts = []
    for start, stop in ((0, 1), (1, 1), (1, 8), (8, 20)):
        part, held = emulate_steps(graph, [x[start:stop] for x in codes], held)
        parts.append(part)
    for n, expected in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([part[n] for part in parts]), expected)
    for a, b in zip(held or (), end, strict=True):
        np.testing.assert_array_equal(a, b)


@settings(max_examples=40)
@given(st.data(), st.integers(1, 7))
def test_chunks_and_engines_keep_the_registers(data: st.DataObject, chunk: int) -> None:
    graph = data.draw(graphs("stateful"))
    codes = data.draw(codes_for(graph, 20))
    expected, end = emulate_steps(graph, codes)
    small = import_module("hairtrigger.graph.emulate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small, "CHUNK_BYTES", 8 * 200)
        again = emulate_codes(graph, codes)
    ran = engines.run_codes(graph, codes, chunk=chunk, threads=3)
    assert ran.engine == (engines.EMULATOR if not graph.pure else ran.engine)
    for a, b, c in zip(expected, again, ran.codes, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    for a, b in zip(end, ran.state, strict=True):
        np.testing.assert_array_equal(a, b)


@settings(max_examples=60)
@given(st.data())
def test_values_lie_in_their_types_and_intervals(data: st.DataObject) -> None:
    graph = data.draw(graphs("stateful"))
    values = emulate_nodes(graph, data.draw(codes_for(graph, 40)))
    for place, (node, reach) in enumerate(zip(graph.nodes, intervals(graph), strict=True)):
        check_codes(node.type, values[place])
        low, high = reach.at(node.type.lsb)
        assert (values[place] >= low).all(), f"%{place} of\n{graph}"
        assert (values[place] <= high).all(), f"%{place} of\n{graph}"


# --- what a Graph with registers is --------------------------------------------------------------


def accumulator() -> Graph:
    """Adds up what comes, and stays at the ends of its range."""
    builder = Builder("accumulator")
    x = builder.add(ops.Input("x", SCALAR))
    total = builder.state("total", SCALAR, Literal(2, 0), label="sum")
    more = builder.add(ops.Add(), total, x)
    after = builder.add(ops.Quantize(SCALAR, Rounding.TRN, Overflow.SAT), more)
    builder.update(total, after)
    return builder.build({"before": total, "after": after})


def test_a_register_holds_its_reset_value_first() -> None:
    graph = accumulator()
    assert not graph.pure
    assert graph.updates == ((1, 3),)
    assert graph.roots == {1, 3}
    before, after = emulate(graph, [1, 4, 5, -20, -3])
    assert before.tolist() == [2, 3, 7, 7, -1]
    assert after.tolist() == [3, 7, 7, -1, -4]
    (end,) = emulate_steps(graph, [np.array([1, 4])])[1]
    assert end == 7


def test_a_graph_without_inputs_runs_as_many_steps_as_asked() -> None:
    builder = Builder()
    bit = builder.state("bit", TensorType.uniform((1,), Fixed(False, 1, 0)))
    one = builder.add(ops.Constant(Literal([1], 0)))
    builder.update(
        bit, builder.add(ops.Quantize(builder.type(bit)), builder.add(ops.Add(), bit, one))
    )
    graph = builder.build({"bit": bit})
    (values,), (end,) = emulate_steps(graph, (), steps=5)
    assert values.ravel().tolist() == [0, 1, 0, 1, 0]
    assert end.tolist() == [1]
    assert emulate_codes(graph, (), (end,))[0].tolist() == [[1]]


def test_only_loops_are_run_step_by_step() -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", SCALAR))
    late = machines.delay(builder, x, 3)
    total = machines.moving_sum(builder, x, 2)
    graph = builder.build([builder.add(ops.Add(), late, total)])
    loops = [[graph.nodes[n].op for n in g.places] for g in groups(graph) if g.loop]
    assert [[type(op).__name__ for op in loop] for loop in loops] == [["State", "Add", "Quantize"]]
    order = [n for group in groups(graph) for n in group.places]
    assert sorted(order) == list(range(len(graph.nodes)))


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ((), "0 arrays for a Graph with 1 registers"),
        ((np.array([1, 2]),), "shape"),
        ((np.array(9),), "Code 9"),
        ((np.array(1.0),), "dtype float64"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(state, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        emulate_steps(accumulator(), [np.array([1])], state)
    with pytest.raises(InputError, match=problem):
        engines.run_codes(accumulator(), [np.array([1])], state=state)


def test_onnx_refuses_registers_and_says_why() -> None:
    graph = accumulator()
    with pytest.raises(UnsupportedError, match="1 registers; an ONNX model keeps nothing"):
        onnx.to_onnx(graph)
    with pytest.raises(UnsupportedError, match="keeps nothing"):
        engines.run(graph, [1], engine=engines.FP32)
    ran = engines.run(graph, [1, 4], state=(np.array(-5),))
    assert ran.engine == engines.EMULATOR
    assert "registers" in ran.why
    assert [x.tolist() for x in ran.values] == [[-5, -4], [-4, 0]]
    assert engines.run(graph, [1], state=ran.state).values[0].tolist() == [0]


# --- rules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (lambda g: replace(g, updates=()), "State 'total' at %1 has 0 updates"),
        (lambda g: replace(g, updates=((1, 3), (1, 3))), "State 'total' at %1 has 2 updates"),
        (lambda g: replace(g, updates=((1, 2),)), "cannot take the value of %2, which has another"),
        (lambda g: replace(g, updates=((1, 9),)), "there is no node %9"),
        (lambda g: replace(g, updates=((-3, 3),)), "there is no node %-3"),
        (lambda g: replace(g, updates=((0, 3), (1, 3))), "%0 is a Input, not a State"),
    ],
)
def test_every_broken_rule_is_named(broken, problem: str) -> None:
    with pytest.raises(GraphError, match=problem):
        verify(broken(accumulator()))


def test_updates_stand_in_the_order_of_their_states_with_names_of_their_own() -> None:
    builder = Builder()
    a, b = builder.state("a", SCALAR), builder.state("b", SCALAR)
    builder.update(b, a)
    builder.update(a, b)
    graph = builder.build([a])
    assert graph.updates == ((a, b), (b, a))
    with pytest.raises(GraphError, match="out of order"):
        verify(replace(graph, updates=((b, a), (a, b))))
    with pytest.raises(GraphError, match="State name 'a' is used twice"):
        verify(rewrite(graph, {b: ops.State("a", SCALAR, Literal(0, 0))}))


@pytest.mark.parametrize(
    ("reset", "problem"),
    [
        (Literal(8, 0), "does not hold"),
        (Literal(-9, 0), "does not hold"),
        (Literal(1, 1), "does not hold"),
        (Literal([1], 0), "shape"),
    ],
)
def test_a_reset_value_lies_in_the_type(reset: Literal, problem: str) -> None:
    with pytest.raises(GraphError, match=problem):
        Builder().state("s", SCALAR, reset)


@pytest.mark.parametrize("reset", [Literal(7, 0), Literal(-8, 0), Literal(12, 2), Literal(0, -9)])
def test_reset_values_at_the_ends_are_taken(reset: Literal) -> None:
    builder = Builder()
    s = builder.state("s", SCALAR, reset)
    builder.update(s, s)
    graph = builder.build([s])
    assert reset_registers(graph)[0] == reset.values
    assert emulate_steps(graph, (), steps=3)[0][0].tolist() == [reset.values] * 3


def test_the_builder_refuses_updates_that_do_not_fit() -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", TensorType.uniform((), Fixed(True, 4, 0))))
    s = builder.state("s", SCALAR)
    with pytest.raises(GraphError, match="another type"):
        builder.update(s, x)
    with pytest.raises(GraphError, match="%0 is a Input"):
        builder.update(x, s)
    with pytest.raises(GraphError, match="no node %7"):
        builder.update(s, 7)
    builder.update(s, s)
    with pytest.raises(GraphError, match="takes its next value from %1 already"):
        builder.update(s, s)


# --- passes --------------------------------------------------------------------------------------


def test_registers_that_reach_an_output_later_are_alive() -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", SCALAR))
    first = builder.state("first", SCALAR)
    second = builder.state("second", SCALAR)
    dead = builder.state("dead", SCALAR)
    builder.update(first, second)
    builder.update(second, x)
    builder.update(dead, first)
    graph = builder.build([first])
    assert live(graph) == {x, first, second}
    after = remove_dead(graph)
    assert [node.op.name for node in after.nodes] == ["x", "first", "second"]
    assert after.updates == ((1, 2), (2, 0))


def test_what_a_register_takes_keeps_its_type() -> None:
    """A sum that a wide register takes gets narrower; a Quantize brings it back to the type."""
    builder = Builder()
    x = builder.add(ops.Input("x", TensorType.uniform((), Fixed(False, 2, 0))))
    wide = builder.add(ops.Quantize(TensorType.uniform((), Fixed(True, 9, 0))), x)
    total = builder.add(ops.Add(), wide, wide)
    late = builder.state("late", builder.type(total))
    builder.update(late, total)
    graph = builder.build([late])
    for run in (merge_quantizers, narrow_types):
        after = run(graph)
        verify(after)
        assert run(after) == after
        ((state, place),) = after.updates
        assert after.nodes[place].type == after.nodes[state].type == builder.type(late)
        assert isinstance(after.nodes[place].op, ops.Quantize)
        assert emulate(after, [1, 2, 3])[0].tolist() == [0, 2, 4]


def test_folding_reaches_what_dead_registers_held() -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", SCALAR))
    s = builder.state("s", TensorType.uniform((), Fixed(False, 2, 0)))
    c = builder.add(ops.Constant(Literal(3, 0)))
    builder.update(s, c)
    never = builder.add(ops.Compare(ops.Relation.GT), s, builder.add(ops.Constant(Literal(9, 0))))
    graph = builder.build([builder.add(ops.Add(), x, never)])
    after = fold_constants(graph)
    assert after.pure
    assert [type(node.op).__name__ for node in after.nodes] == ["Input", "Constant", "Add"]
    assert fold_constants(after) == after


# --- machines ------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 2, 5])
def test_a_moving_sum(window: int) -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", TensorType((2,), [True, False], [2, 3], [1, 0])))
    graph = builder.build([machines.moving_sum(builder, x, window)])
    rng = np.random.default_rng(0)
    samples = np.stack([rng.integers(-8, 8, 30) / 2, rng.integers(0, 8, 30)], axis=1)
    expected = [samples[max(0, n - window + 1) : n + 1].sum(axis=0) for n in range(30)]
    np.testing.assert_array_equal(emulate(graph, samples)[0], expected)


def test_a_delay() -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", SCALAR))
    graph = builder.build([machines.delay(builder, x, 2), machines.delay(builder, x, 0, "none")])
    late, now = emulate(graph, [1, 2, 3, 4])
    assert (late.tolist(), now.tolist()) == ([0, 0, 1, 2], [1, 2, 3, 4])


def pedestal(lsb: int = 0) -> Graph:
    builder = Builder("pedestal")
    adc = TensorType.uniform((3,), Fixed(False, 12, 0))
    samples = builder.add(ops.Input("adc", adc))
    t = TensorType.uniform((3,), Fixed(False, 12, lsb))
    found = machines.frugal_pedestal(builder, samples, t, Literal([500, 505, 90], 0))
    signal = builder.add(ops.Sub(), samples, found, label="signal")
    return builder.build({"signal": signal, "pedestal": found})


@pytest.mark.parametrize("lsb", [0, 2])
def test_a_frugal_pedestal_follows_the_median(lsb: int) -> None:
    rng = np.random.default_rng(1)
    samples = np.rint(rng.normal([500, 500, 100], 3, (4000, 3)))
    samples[rng.random(samples.shape) < 0.05] += 400  # hits do not pull it
    signal, found = emulate(pedestal(lsb), samples)
    np.testing.assert_array_equal(signal + found, samples)
    estimate = np.array([500.0, 505.0, 90.0])
    for n in range(100):
        np.testing.assert_array_equal(found[n], estimate)
        estimate += np.sign(samples[n] - estimate) / 2**lsb
    assert (np.abs(np.median(found[500:], axis=0) - [500, 500, 100]) <= 1).all()


@pytest.mark.parametrize(
    ("taps", "period"), [((1,), 1), ((4, 3), 15), ((7, 6), 127), ((9, 5), 511)]
)
def test_a_shift_register_runs_through_all_its_states(taps, period: int) -> None:
    builder = Builder()
    graph = builder.build({"bits": machines.lfsr(builder, taps, 1)})
    (bits,), _ = emulate_steps(graph, (), steps=2 * period)
    states = [tuple(row) for row in bits.tolist()]
    assert len(set(states)) == period
    assert states[:period] == states[period:]


def test_a_shift_register_by_its_definition_and_in_strides() -> None:
    taps, seed = (16, 14, 13, 11), 0xACE1
    expected = []
    register = [seed >> n & 1 for n in range(16)]
    for _ in range(90):
        expected.append(list(register))
        bit = 0
        for tap in taps:
            bit ^= register[tap - 1]
        register = [bit, *register[:-1]]
    for stride in (1, 3):
        builder = Builder()
        graph = builder.build([machines.lfsr(builder, taps, seed, stride=stride)])
        (bits,), _ = emulate_steps(graph, (), steps=90 // stride)
        assert bits.tolist() == expected[::stride]


@pytest.mark.parametrize(
    "make",
    [
        lambda b, x: machines.lfsr(b, (), 1),
        lambda b, x: machines.lfsr(b, (4, 4), 1),
        lambda b, x: machines.lfsr(b, (4, 3), 0),
        lambda b, x: machines.lfsr(b, (4, 3), 16),
        lambda b, x: machines.lfsr(b, (4, 3), 1, stride=0),
        lambda b, x: machines.moving_sum(b, x, 0),
        lambda b, x: machines.frugal_pedestal(b, x, TensorType((2,), False, [3, 4], 0)),
    ],
)
def test_machines_refuse_what_makes_no_sense(make) -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", TensorType.uniform((2,), INT4)))
    with pytest.raises(GraphError):
        make(builder, x)
