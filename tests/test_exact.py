"""The 2**24 rule: bounds worked out by hand and against real partial sums, and float32 itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, emulate_codes
from hairtrigger.graph.emulate import emulate_nodes
from hairtrigger.graph.exact import FLOAT32, FloatFormat, float_exact, fp32_exact, fp64_exact
from hairtrigger.graph.linear import Conv, Dense, GlobalSum, MaxPool, SumPool
from hairtrigger.graph.moves import Concat, Reshape
from hairtrigger.graph.ops import Add, Constant, Input, Mul, Op, Quantize, Relu, Sub

BYTE = Fixed(True, 3, 4)  # codes -128 to 127 in units of 1/16


def uniform(fixed: Fixed, *shape: int) -> TensorType:
    return TensorType.uniform(shape, fixed)


def chain(source: TensorType, *ops: Op) -> Graph:
    """One op after the other behind an Input."""
    builder = Builder("chain")
    place = builder.add(Input("x", source))
    for op in ops:
        place = builder.add(op, place)
    return builder.build([place])


def last_sum(graph: Graph) -> float:
    return fp32_exact(graph).sums[-1]


def dense_at(total: int) -> Graph:
    """A Dense of two 13-bit inputs that gives ``-total`` LSB where both are at their lowest."""
    weight, bias = divmod(total, 4096)
    kernel = Literal([[weight - 1], [1]], 2)
    return chain(uniform(Fixed(True, 12, 0), 2), Dense(kernel, Literal([-bias], 2)))


# --- figures by hand -----------------------------------------------------------------------------


def test_dense_adds_every_weight_at_its_largest_input() -> None:
    op = Dense(Literal([[3, 0], [-2, 1]], 2), Literal([5, 0], 2))
    graph = chain(uniform(Fixed(True, 3, 0), 2), op)
    # |3| * 8 + |-2| * 8 + 5 = 45 in units of 1/4; the other column counts whole 1/4 too.
    assert last_sum(graph) == 45


def test_a_bias_finer_than_the_products_sets_the_lsb() -> None:
    op = Dense(Literal([[1]], 0), Literal([1], 6))
    assert last_sum(chain(uniform(Fixed(True, 3, 0), 1), op)) == 8 * 64 + 1


def test_each_element_counts_in_its_own_lsb() -> None:
    """Codes at the LSB of the tensor reach 2**30, but no element has more than 8 bits."""
    t = TensorType((2,), True, [27, -3], [-20, 10])
    assert t.range().at(t.lsb)[0].min() < -(1 << 24)
    graph = chain(t, Relu())
    assert fp32_exact(graph).exact
    assert fp32_exact(graph).worst == 128
    # Their sum has to hold both.
    assert not fp32_exact(chain(t, GlobalSum((0,)))).exact


def test_convolution_sees_its_windows_only() -> None:
    kernel = Literal(np.ones((2, 2, 1, 1), dtype=int), 0)
    op = Conv(kernel, None, (1, 1), ((1, 1), (1, 1)))
    graph = chain(uniform(Fixed(False, 4, 0), 3, 3, 1), op)
    assert last_sum(graph) == 4 * 15


def test_groups_of_a_convolution_are_apart() -> None:
    kernel = Literal([[[1, 11]]], 0)  # a window of 1, one channel in for each group
    graph = chain(uniform(Fixed(False, 4, 0), 3, 2), Conv(kernel, None, (1,), ((0, 0),), groups=2))
    assert last_sum(graph) == 165


@pytest.mark.parametrize(
    ("op", "sum_"),
    [
        (SumPool((2, 2), (1, 1), ((0, 0), (0, 0))), 4 * 128),
        (MaxPool((2, 2), (1, 1), ((0, 0), (0, 0))), 128),
        (GlobalSum((0, 1)), 6 * 128),
        (Relu(), 127),
    ],
)
def test_pools(op: Op, sum_: int) -> None:
    assert last_sum(chain(uniform(BYTE, 2, 3, 1), op)) == sum_


def test_additions_are_one_sum_with_what_they_add() -> None:
    """An engine may fold both into one accumulation, so their terms count together."""
    builder = Builder()
    x = builder.add(Input("x", uniform(Fixed(True, 3, 0), 2)))
    a = builder.add(Dense(Literal([[3], [-3]], 0)), x)  # 48 by its terms
    b = builder.add(Dense(Literal([[1], [1]], 0)), x)  # 16
    shift = builder.add(Constant(Literal([-5], 0)))
    graph = builder.build([builder.add(Sub(), builder.add(Add(), a, b), shift)])
    assert last_sum(graph) == 48 + 16 + 5


def test_a_constant_factor_multiplies_the_terms_before_it() -> None:
    builder = Builder()
    x = builder.add(Input("x", uniform(Fixed(True, 3, 0), 2)))
    a = builder.add(Dense(Literal([[3], [-3]], 0)), x)
    c = builder.add(Constant(Literal([-7], 0)))
    assert last_sum(builder.build([builder.add(Mul(), a, c)])) == 7 * 48


def test_the_half_that_rounding_adds_counts_in_the_sum_before() -> None:
    q = Quantize(uniform(Fixed(True, 9, 0), 1), Rounding.RND, Overflow.SAT)
    op = Dense(Literal([[1]], 4), Literal([3], 4))
    for between in ([], [Relu()]):
        graph = chain(uniform(Fixed(True, 9, 0), 1), op, *between, q)
        # 512 * 1/16 + 3/16 is 515 LSB of 1/16; a half is 8 of these.
        assert last_sum(graph) == 512 + 3 + 8
    truncated = Quantize(q.type, Rounding.TRN, Overflow.SAT)
    assert last_sum(chain(uniform(Fixed(True, 9, 0), 1), op, truncated)) == 515


def test_wrapping_adds_a_period() -> None:
    q = Quantize(uniform(Fixed(True, 3, 0), 1), Rounding.TRN, Overflow.WRAP)
    # 128 and, dropping no bits, one period of 16.
    assert last_sum(chain(uniform(Fixed(True, 7, 0), 1), q)) == 128 + 16


def test_intervals_are_tighter_than_types() -> None:
    weights = Literal([[5]], 0)
    graph = chain(uniform(Fixed(False, 3, 0), 1), Dense(weights), Dense(weights))
    assert last_sum(graph) == 7 * 25


# --- the limit -----------------------------------------------------------------------------------


def test_the_limit_is_exactly_two_to_the_24() -> None:
    at, above = dense_at(1 << 24), dense_at((1 << 24) + 1)
    assert fp32_exact(at).exact
    assert fp32_exact(at).worst == 1 << 24
    verdict = fp32_exact(above)
    assert not verdict.exact
    (reason,) = verdict.reasons
    assert reason.startswith("%1 Dense: ")
    assert "16,777,217 LSB" in reason
    assert "16,777,216" in reason
    assert fp64_exact(above).exact


def test_the_rule_is_not_vacuous() -> None:
    """At the limit float32 gives the right number, one above it does not."""
    x = np.array([[-4096, -4096]])
    for total, same in ((1 << 24, True), ((1 << 24) + 1, False)):
        graph = dense_at(total)
        op = graph.nodes[1].op
        assert isinstance(op, Dense)
        assert op.bias is not None
        exact = int(emulate_codes(graph, [x])[0][0, 0])
        assert exact == -total
        first, second = x[0].astype(np.float32) * op.kernel.codes[:, 0].astype(np.float32)
        single = np.float32(op.bias.codes[0]) + second + first
        assert (int(single) == exact) is same


def test_the_limit_of_float64() -> None:
    def graph(bits: int) -> Graph:
        return chain(uniform(Fixed(True, bits, 0), 2), GlobalSum((0,)))

    assert fp64_exact(graph(51)).exact
    # 2**53 itself is refused: the bound, a float64, could have been rounded to it.
    assert not fp64_exact(graph(52)).exact
    assert not fp32_exact(graph(52)).exact


def test_every_node_over_the_limit_is_named_but_not_dead_ones() -> None:
    builder = Builder()
    x = builder.add(Input("x", uniform(Fixed(True, 24, 0), 2)))
    wide = builder.add(GlobalSum((0,)), x, label="head")
    other = builder.add(Add(), x, x)
    dead = builder.add(Sub(), other, x, label="dead")
    graph = builder.build([wide, other])
    verdict = fp32_exact(graph)
    assert [r.split(":")[0] for r in verdict.reasons] == ["%1 GlobalSum 'head'", "%2 Add"]
    assert verdict.sums[dead] > FLOAT32.most


@pytest.mark.parametrize("fraction", [50, -50])
def test_lsbs_that_float32_could_not_scale_are_refused(fraction: int) -> None:
    graph = chain(uniform(Fixed(True, 3 - fraction, fraction), 1), Relu())
    verdict = fp32_exact(graph)
    assert not verdict.exact
    assert "2**-40 to 2**40" in verdict.reasons[0]
    assert fp64_exact(graph).exact


def test_elements_that_are_always_zero_have_no_lsb() -> None:
    t = TensorType((2,), [True, False], [3, 0], [0, 0])
    graph = chain(t, Dense(Literal([[1], [1 << 40]], 60)))
    # The weight of 2**-20 never meets a number.
    assert last_sum(graph) == 8


def test_moves_keep_terms_at_their_elements() -> None:
    builder = Builder()
    a = builder.add(Input("a", uniform(Fixed(False, 2, 0), 2)))
    b = builder.add(Input("b", uniform(Fixed(False, 5, 0), 1)))
    flat = builder.add(Reshape((3, 1)), builder.add(Concat(0), a, b))
    assert last_sum(builder.build([builder.add(GlobalSum((0,)), flat)])) == 3 + 3 + 31


# --- against real partial sums -------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_no_partial_sum_in_any_order_exceeds_the_bound(seed: int, per_element: bool) -> None:
    """Random subsets of the terms of a Dense, at extreme and random inputs, in exact integers."""
    rng = np.random.default_rng(seed)
    inputs, outputs = rng.integers(1, 9), 3
    fraction = rng.integers(0, 4, inputs) if per_element else rng.integers(0, 4)
    t = TensorType((int(inputs),), rng.random(inputs) < 0.5, 3, fraction)
    kernel = Literal(rng.integers(-9, 10, (inputs, outputs)), 2)
    bias = Literal(rng.integers(-20, 21, outputs), int(rng.integers(0, 9)))
    graph = chain(t, Dense(kernel, bias))
    low, high = t.range().at(t.lsb)
    steps = np.left_shift(1, t.lsb - t.fraction)
    x = np.stack([low, high, *(rng.integers(low // steps, high // steps + 1) * steps,) * 3])
    fine = max(t.lsb + kernel.fraction, bias.fraction)
    products = x[:, :, None] * kernel.codes << fine - t.lsb - kernel.fraction
    terms = np.concatenate([products, np.tile(bias.at(fine), (len(x), 1, 1))], axis=1)
    size = np.zeros(outputs)
    for _ in range(50):
        chosen = rng.random(terms.shape[1]) < 0.7
        size = np.maximum(size, np.abs(terms[:, chosen].sum(axis=1)).max(axis=0))
    # In units of the finest LSB of a term of the same output.
    own = np.array([np.gcd.reduce(terms[..., j].ravel()) for j in range(outputs)])
    assert np.max(size / np.maximum(own, 1)) <= fp32_exact(graph).sums[1] or not size.any()


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_result_of_any_node_exceeds_its_bound(data: st.DataObject) -> None:
    graph = data.draw(strategies.graphs(data.draw(st.sampled_from(["mlp", "cnn", "any"]))))
    codes = data.draw(strategies.codes_for(graph, 16))
    sums = float_exact(graph, FloatFormat("any", 1 << 62, 1000)).sums
    for place, values in emulate_nodes(graph, codes).items():
        odd = np.abs(values) // np.maximum(values & -values, 1)  # what a mantissa has to hold
        assert odd.max(initial=0) <= sums[place]
