"""Types, ranges and literals: canonical forms, limits, and covers that are as small as can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hairtrigger.errors import GraphError
from hairtrigger.fixed import Fixed
from hairtrigger.graph import Literal, TensorType
from hairtrigger.graph.types import MAX_FRACTION, Range
from strategies import fixeds


def test_elements_of_no_bits_have_one_form() -> None:
    a = TensorType((3,), [True, False, False], [-5, 3, -2], [4, -3, 2])
    assert a == TensorType((3,), False, 0, 0)
    assert hash(a) == hash(TensorType((3,), False, 0, 0))
    assert (a.bits, a.lsb, a.span) == (0, 0, 0)


def test_types_differ_by_shape_and_by_every_field() -> None:
    a = TensorType.uniform((2, 3), Fixed(True, 2, 1))
    assert a == TensorType((2, 3), True, [2, 2, 2], [[1], [1]])
    for other in (
        TensorType.uniform((3, 2), Fixed(True, 2, 1)),
        TensorType.uniform((2, 3), Fixed(False, 2, 1)),
        TensorType.uniform((2, 3), Fixed(True, 3, 1)),
        TensorType((2, 3), True, 2, [1, 1, 2]),
    ):
        assert a != other
    assert a != "s2.1[2,3]"


def test_what_a_type_says_of_itself() -> None:
    t = TensorType((2, 2), [[1, 0], [0, 0]], [[2, 0], [3, -1]], [[1, 0], [-2, 4]])
    assert t.width.tolist() == [[4, 0], [1, 3]]
    assert (t.lsb, t.bits, t.size, t.single) == (4, 8, 4, None)
    assert t.span == 7  # from the highest bit, 2**2, down to 2**-4
    assert t.range().low.tolist() == [[-8, 0], [0, 0]]
    assert t.range().high.tolist() == [[7, 0], [1, 7]]
    assert TensorType.uniform((2,), Fixed(True, 2, 1)).single == Fixed(True, 2, 1)


def test_a_scalar_has_no_axes() -> None:
    t = TensorType.uniform((), Fixed(True, 2, 1))
    assert t.width.shape == t.range().low.shape == t.range().cover().shape == ()


def test_arrays_of_a_type_are_its_own_and_cannot_be_changed() -> None:
    integer = np.array([1, 2])
    t = TensorType((2,), True, integer, 0)
    integer[0] = 5
    assert t.integer.tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        t.integer[0] = 5


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (((2,), True, 60, 0), "needs 61 bits"),
        (((2,), True, [40, -20], [0, 40]), "needs 81 bits"),
        (((0,), True, 2, 2), "no elements"),
        (((9999, 9999), True, 2, 2), "over 67108864 elements"),
        (((2,), True, [1, 2, 3], 2), "do not broadcast"),
        (((2, 0), True, 2, 2), "no elements"),
        (((2,), True, -300, 310), "limits are"),
        (((2,), True, 310, -300), "limits are"),
    ],
)
def test_types_out_of_range_are_refused(arguments, problem) -> None:
    with pytest.raises(GraphError, match=problem):
        TensorType(*arguments)


@given(fixeds(24))
def test_a_type_covers_its_own_range(fixed: Fixed) -> None:
    t = TensorType.uniform((2,), fixed)
    assert t.range().cover() == t


@given(st.integers(-(2**50), 2**50), st.integers(-(2**50), 2**50), st.integers(-9, 9))
def test_a_cover_holds_its_range_and_no_smaller_one_does(a: int, b: int, fraction: int) -> None:
    low, high = sorted((a, b))
    t = Range(np.array([low]), np.array([high]), np.array([fraction])).cover()
    full = t.range()
    assert full.low[0] <= low
    assert high <= full.high[0]
    assert t.signed[0] == (low < 0)
    if t.bits > 1:
        half = TensorType((1,), t.signed, t.integer - 1, t.fraction).range()
        assert low < half.low[0] or high > half.high[0]


def test_covers_at_powers_of_two() -> None:
    for n in range(0, 59):
        edges = np.array([2**n - 1, 2**n, -(2**n), -(2**n) - 1])
        t = Range(edges, edges, np.zeros(4, np.int64)).cover()
        assert t.width.tolist() == [n, n + 1, n + 1, n + 2], n


def test_a_range_at_a_finer_lsb() -> None:
    r = Range(np.array([-1, 0]), np.array([3, 0]), np.array([1, 99]))
    assert r.lsb == 1
    low, high = r.at(3)
    assert (low.tolist(), high.tolist()) == ([-4, 0], [12, 0])
    with pytest.raises(GraphError, match="limit is 61"):
        r.at(70)


def test_literals_are_exact() -> None:
    values = [0.0, 0.375, -6.0, 1024.0]
    literal = Literal.exact(values)
    assert literal == Literal([0, 3, -48, 8192], 3)
    assert literal.values.tolist() == values
    assert literal.fractions.tolist() == [0, 3, -1, -10]
    assert literal.range().low.tolist() == [0, 3, -3, 1]
    assert Literal.exact(np.zeros(3)) == Literal([0, 0, 0], 0)
    assert Literal.exact(np.float32(0.1)).values == np.float32(0.1)
    assert Literal([1, 2], 0) != Literal([1, 2], 1)
    assert Literal([1, 2], 0) != Literal([[1, 2]], 0)


@given(
    st.lists(
        st.floats(-(2.0**25), 2.0**25, width=32).filter(lambda x: x == 0 or abs(x) > 2**-20),
        min_size=1,
    )
)
def test_literals_hold_every_float(values: list[float]) -> None:
    try:
        literal = Literal.exact(values)
    except GraphError:
        spread = [abs(x) for x in values if x]
        assert max(spread) / min(spread) > 2**30
        return
    assert literal.values.tolist() == values


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Literal.exact([1.0, np.nan]), "NaN"),
        (lambda: Literal.exact([np.inf]), "NaN or infinity"),
        (lambda: Literal.exact([2.0**40, 2.0**-40]), "60 bits"),
        (lambda: Literal.exact([5e-324]), "60 bits"),
        (lambda: Literal.exact([1e300]), "60 bits"),
        (lambda: Literal([0.5], 0), "holds integers, not float64"),
        (lambda: Literal([True], 0), "holds integers, not bool"),
        (lambda: Literal([], 0), "holds integers"),
        (lambda: Literal(np.zeros((3, 0), int), 0), "no elements"),
        (lambda: Literal([2**61], 0), "out of range"),
        (lambda: Literal(np.array([2**63 + 5], np.uint64), 0), "out of range"),
        (lambda: Literal([np.iinfo(np.int64).min], 0), "out of range"),
        (lambda: Literal([1], MAX_FRACTION + 1), "out of range"),
    ],
)
def test_numbers_that_are_no_literal_are_refused(make, problem: str) -> None:
    with pytest.raises(GraphError, match=problem):
        make()
