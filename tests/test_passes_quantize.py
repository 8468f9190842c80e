"""Merging and narrowing Quantize nodes: the same for every code, in all modes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparing import assert_same_values, events_for
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, emulate_codes, linear, ops
from hairtrigger.graph.passes import merge_quantizers, narrow_types
from hairtrigger.graph.passes.merge_quantizers import merged_quantize
from hairtrigger.graph.passes.narrow_types import narrowed
from hairtrigger.graph.types import Range

VECTOR = TensorType.uniform((4,), Fixed(True, 3, 4))

# --- merge_quantizers ----------------------------------------------------------------------------


def chain(*quantizers: ops.Quantize, operand: TensorType = VECTOR, read_twice=False) -> Graph:
    builder = Builder()
    place = builder.add(ops.Input("x", operand))
    places = [place := builder.add(op, place, label=f"q{n}") for n, op in enumerate(quantizers)]
    return builder.build(places if read_twice else places[-1:])


def q(fixed: Fixed, rounding=Rounding.TRN, overflow=Overflow.WRAP) -> ops.Quantize:
    return ops.Quantize(TensorType.uniform((4,), fixed), rounding, overflow)


def sat(fixed: Fixed) -> ops.Quantize:
    return q(fixed, overflow=Overflow.SAT)


@pytest.mark.parametrize(
    ("quantizers", "left"),
    [
        ([q(Fixed(True, 5, 6))], []),
        ([q(Fixed(True, 3, 4), Rounding.RND, Overflow.SAT)], []),
        ([q(Fixed(True, 3, 2)), q(Fixed(True, 3, 5))], [q(Fixed(True, 3, 2))]),
        ([q(Fixed(True, 3, 2)), q(Fixed(True, 1, 1))], [q(Fixed(True, 1, 1))]),
        (
            [q(Fixed(True, 3, 2), Rounding.RND), sat(Fixed(True, 1, 2))],
            None,  # rounding to nearest may overflow, and wraps: not the same as to saturate
        ),
        (
            [q(Fixed(True, 4, 2), Rounding.RND), sat(Fixed(True, 1, 2))],
            [q(Fixed(True, 1, 2), Rounding.RND, Overflow.SAT)],
        ),
        (
            [sat(Fixed(True, 2, 4)), sat(Fixed(True, 1, 4))],
            [sat(Fixed(True, 1, 4))],
        ),
        (
            [sat(Fixed(True, 2, 4)), q(Fixed(True, 2, 1))],
            [sat(Fixed(True, 2, 1))],
        ),
        ([sat(Fixed(True, 2, 4)), q(Fixed(True, 1, 4))], None),
        ([q(Fixed(True, 4, 2), Rounding.RND), q(Fixed(True, 4, 1), Rounding.RND)], None),
        ([q(Fixed(True, 4, 2), Rounding.RND), q(Fixed(True, 4, 1))], None),
        ([q(Fixed(True, 3, f)) for f in (3, 2, 1)], [q(Fixed(True, 3, 1))]),
    ],
)
def test_quantizers_in_a_row(quantizers, left) -> None:
    graph = chain(*quantizers)
    after = merge_quantizers(graph)
    found = [node.op for node in after.nodes if isinstance(node.op, ops.Quantize)]
    assert found == (quantizers if left is None else left)
    assert_same_values(graph, after, events_for(graph, 500))


def test_a_quantize_with_another_reader_stays() -> None:
    graph = chain(q(Fixed(True, 3, 2)), q(Fixed(True, 1, 1)), read_twice=True)
    assert merge_quantizers(graph) == graph


def test_merging_keeps_a_label() -> None:
    after = merge_quantizers(chain(q(Fixed(True, 3, 2)), q(Fixed(True, 1, 1))))
    assert after.nodes[-1].label == "q1"
    builder = Builder()
    relu = builder.add(ops.Relu(), builder.add(ops.Input("x", VECTOR)))
    last = builder.add(q(Fixed(True, 9, 9)), relu, label="act")
    assert merge_quantizers(builder.build([last])).nodes[-1].label == "act"


FORMATS = ((1, 1, 0), (1, 2, 1), (0, 2, 0), (1, 0, 1), (1, 1, 2), (1, 4, 1))
SMALL = [Fixed(bool(signed), *bits) for signed, *bits in FORMATS]
MODES = [*product(Rounding, Overflow)]


@pytest.mark.parametrize("rounding", Rounding)
def test_whatever_is_merged_gives_the_same_for_every_code(rounding: Rounding) -> None:
    """All pairs of modes and small formats, against every code of the operand."""
    operand = TensorType.uniform((1,), Fixed(True, 3, 2))
    codes = np.arange(-32, 32)[:, None]
    merges = 0
    for first_mode, then_mode, a, b in product(Overflow, MODES, SMALL, SMALL):
        if Overflow.WRAP_SM in (first_mode, then_mode[1]) and not (a.signed and b.signed):
            continue
        first = ops.Quantize(TensorType.uniform((1,), a), rounding, first_mode)
        then = ops.Quantize(TensorType.uniform((1,), b), *then_mode)
        merged = merged_quantize(operand.range(), first, then)
        if merged is None:
            continue
        merges += 1
        middle = first.evaluate([codes], [operand], first.type)
        expected = then.evaluate([middle], [first.type], then.type)
        found = merged.evaluate([codes], [operand], merged.type)
        np.testing.assert_array_equal(found, expected, err_msg=f"{first}\n{then}\n{merged}")
    assert merges > 100


@settings(max_examples=1000)
@given(st.integers(0, 2**32 - 1), *(st.sampled_from(m) for m in (Rounding, Overflow) * 2))
def test_mixed_formats_are_merged_only_where_every_element_agrees(
    seed: int,
    rounding_a: Rounding,
    overflow_a: Overflow,
    rounding_b: Rounding,
    overflow_b: Overflow,
) -> None:
    rng = np.random.default_rng(seed)
    signed = [True] * 3 if Overflow.WRAP_SM in (overflow_a, overflow_b) else rng.random(3) < 0.7
    base = rng.integers(0, 3, 3), rng.integers(-1, 3, 3)
    first, then = (
        ops.Quantize(
            TensorType((3,), signed, *(b - rng.integers(0, 2, 3) for b in base)), rounding, overflow
        )
        for rounding, overflow in ((rounding_a, overflow_a), (rounding_b, overflow_b))
    )
    operand = TensorType((3,), True, rng.integers(0, 4, 3), rng.integers(0, 4, 3))
    merged = merged_quantize(operand.range(), first, then)
    if merged is None:
        return
    builder = Builder()
    x = builder.add(ops.Input("x", operand))
    one = builder.add(merged, x)
    two = builder.add(then, builder.add(first, x))
    graph = builder.build([one, two])
    found, expected = emulate_codes(graph, events_for(graph, 400))
    np.testing.assert_array_equal(found, expected)


def test_one_element_can_forbid_what_the_others_allow() -> None:
    # Element 0 saturates in the first; element 1 reaches -8, which SAT_SYM would cut to -7.
    operand = TensorType((2,), True, [5, 3], 0)
    first = ops.Quantize(TensorType((2,), True, [3, 5], 0), overflow=Overflow.SAT_SYM)
    then = ops.Quantize(TensorType((2,), True, 3, 0), overflow=Overflow.SAT)
    assert merged_quantize(operand.range(), first, then) is None
    # The first leaves no bit of it; the second has one below the point.
    nothing = ops.Quantize(TensorType((2,), False, 0, 0))
    one = ops.Quantize(TensorType((2,), True, -1, 1))
    assert merged_quantize(TensorType((2,), True, 2, 1).range(), nothing, one) is None


# --- narrow_types --------------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.integers(0, 2**32 - 1), st.sampled_from(Rounding), st.sampled_from(Overflow))
def test_a_narrowed_quantize_gives_the_same_for_every_code(
    seed: int, rounding: Rounding, overflow: Overflow
) -> None:
    rng = np.random.default_rng(seed)
    n = 6
    signed = np.ones(n, bool) if overflow is Overflow.WRAP_SM else rng.random(n) < 0.6
    t = TensorType((n,), signed, rng.integers(-1, 4, n), rng.integers(-1, 4, n))
    op = ops.Quantize(t, rounding, overflow)
    ends = np.sort(rng.integers(-40, 40, (2, n)), axis=0)
    if rng.random() < 0.5:
        ends = np.maximum(ends, 0)
    fraction = rng.integers(0, 4, n)
    small = narrowed(op, Range(ends[0], ends[1], fraction))
    assert (small.type.width <= t.width).all()
    assert narrowed(small, Range(ends[0], ends[1], fraction)) == small
    operand = TensorType((n,), True, 8, fraction)
    codes = rng.integers(ends[0], ends[1], (200, n), endpoint=True)
    codes = np.concatenate([codes, ends]) << (operand.lsb - fraction)
    lsb = max(small.type.lsb, t.lsb)
    found, expected = (
        o.evaluate([codes], [operand], o.type) << (lsb - o.type.lsb) for o in (small, op)
    )
    np.testing.assert_array_equal(found, expected, err_msg=f"{op}\n{small}\n{ends} {fraction}")


@pytest.mark.parametrize("overflow", [Overflow.SAT, Overflow.SAT_SYM, Overflow.WRAP_SM])
def test_modes_that_do_nothing_become_the_cheapest(overflow: Overflow) -> None:
    (op,) = narrow_types(chain(q(Fixed(True, 5, 6), Rounding.RND_CONV, overflow))).nodes[1:]
    assert op.op == q(Fixed(True, 3, 4))


def test_intervals_are_tighter_than_types() -> None:
    """Three inputs of 0 to 5 sum to 15 at most: 4 bits, where types alone say 5."""
    builder = Builder()
    x = builder.add(ops.Input("x", TensorType.uniform((3,), Fixed(False, 3, 0))))
    table = Literal([[0, 1, 2, 3, 4, 5, 5, 5]], 0)
    x = builder.add(ops.Table(table, 0, 0), x)
    total = builder.add(linear.GlobalSum((0,)), x)
    wide = TensorType.uniform((), Fixed(True, 6, 2))
    out = builder.add(ops.Quantize(wide, Rounding.RND, Overflow.SAT), total, label="out")
    graph = builder.build([out])
    after = narrow_types(graph)
    assert after.nodes[total].type.single == Fixed(False, 5, 0)
    assert after.nodes[out].op == ops.Quantize(TensorType.uniform((), Fixed(False, 4, 0)))
    assert after.nodes[out].label == "out"
    assert_same_values(graph, after, events_for(graph))


def test_what_follows_a_narrowed_node_gets_narrower() -> None:
    builder = Builder()
    x = builder.add(ops.Input("x", TensorType.uniform((4,), Fixed(False, 1, 0))))
    x = builder.add(q(Fixed(True, 7, 8), Rounding.RND, Overflow.SAT), x)
    y = builder.add(linear.Dense(Literal(np.ones((4, 2), int), 0)), x)
    graph = builder.build([y])
    assert graph.output_types[0].single == Fixed(True, 9, 8)
    assert narrow_types(graph).output_types[0].single == Fixed(False, 3, 0)


def test_inputs_keep_their_types() -> None:
    graph = chain(sat(Fixed(False, 1, 0)))
    assert narrow_types(graph).input_ops == graph.input_ops
