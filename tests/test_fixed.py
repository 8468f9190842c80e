"""Rounding and overflow against two independent models: fractions, and HGQ's own quantizers."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hairtrigger.errors import InputError
from hairtrigger.fixed import (
    MAX_WIDTH,
    Fixed,
    Overflow,
    Rounding,
    quantize_codes,
    round_codes,
    shift_codes,
    wrap_codes,
)
from reference import in_steps, rounded
from strategies import fixeds


def quantized(codes: np.ndarray, fraction_in: int, fixed: Fixed, *modes) -> np.ndarray:
    return quantize_codes(codes, fraction_in, fixed.signed, fixed.integer, fixed.fraction, *modes)


CODES = np.arange(-70, 71)
SMALL = [Fixed(s, w - s - f, f) for s in (False, True) for w in range(s, 5) for f in (-1, 0, 2)]


@pytest.mark.parametrize("overflow", Overflow)
@pytest.mark.parametrize("rounding", Rounding)
def test_every_code_agrees_with_fractions(rounding: Rounding, overflow: Overflow) -> None:
    for fixed, fraction_in in product(SMALL, (-3, 0, 1, 4)):
        if overflow is Overflow.WRAP_SM and fixed.width and not fixed.signed:
            continue
        steps = [Fraction(int(c)) * Fraction(2) ** (fixed.fraction - fraction_in) for c in CODES]
        expected = [in_steps(x, fixed, rounding, overflow) for x in steps]
        found = quantized(CODES, fraction_in, fixed, rounding, overflow)
        np.testing.assert_array_equal(found, expected, err_msg=f"{fixed} from {fraction_in}")


MODES = [
    (rounding, overflow)
    for rounding, overflow in product(Rounding, Overflow)
    # HGQ has WRAP_SM for these two roundings only.
    if overflow is not Overflow.WRAP_SM or rounding in (Rounding.RND, Rounding.RND_CONV)
]


@pytest.mark.parametrize(("rounding", "overflow"), MODES)
def test_every_code_agrees_with_hgq(rounding: Rounding, overflow: Overflow) -> None:
    models = pytest.importorskip("quantizers.fixed_point.fixed_point_ops_np")
    hgq = models.get_fixed_quantizer_np(rounding.value, overflow.value)
    codes = np.arange(-300, 301)
    for fixed, fraction_in in product(SMALL, (0, 1, 3, 5)):
        if fixed.width == 0 or (overflow is Overflow.WRAP_SM and not fixed.signed):
            continue
        values = hgq(codes * 2.0**-fraction_in, fixed.signed, fixed.integer, fixed.fraction)
        expected = np.asarray(values) * 2.0**fixed.fraction
        found = quantized(codes, fraction_in, fixed, rounding, overflow)
        np.testing.assert_array_equal(found, expected, err_msg=f"{fixed} from {fraction_in}")


@given(
    st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=20),
    st.integers(-10, 20),
    fixeds(),
    st.sampled_from(list(Rounding)),
    st.sampled_from(list(Overflow)),
)
def test_wide_codes_agree_with_fractions(codes, fraction_in, fixed, rounding, overflow) -> None:
    assume(overflow is not Overflow.WRAP_SM or fixed.signed)
    if fixed.fraction - fraction_in > 20:
        fraction_in = fixed.fraction - 20
    scale = Fraction(2) ** (fixed.fraction - fraction_in)
    expected = [in_steps(c * scale, fixed, rounding, overflow) for c in codes]
    found = quantized(np.array(codes), fraction_in, fixed, rounding, overflow)
    assert found.tolist() == expected
    assert ((found >= fixed.lowest) & (found <= fixed.highest)).all()


@given(
    st.lists(st.integers(-(2**44), 2**44), min_size=1, max_size=20),
    st.integers(0, 20),
    fixeds(20).filter(lambda f: f.signed),
    st.sampled_from([Rounding.RND, Rounding.RND_CONV]),
)
def test_wide_wrap_sm_agrees_with_hgq(codes, fraction_in, fixed, rounding) -> None:
    models = pytest.importorskip("quantizers.fixed_point.fixed_point_ops_np")
    hgq = models.get_fixed_quantizer_np(rounding.value, "WRAP_SM")
    values = np.array(codes) * 2.0**-fraction_in
    expected = np.asarray(hgq(values, True, fixed.integer, fixed.fraction)) * 2.0**fixed.fraction
    found = quantized(np.array(codes), fraction_in, fixed, rounding, Overflow.WRAP_SM)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("drop", [50, 59, 60, 61, 62, 63, 64, 80, 200])
def test_rounding_far_below_the_lsb(rounding: Rounding, drop: int) -> None:
    codes = np.array([-(2**60), -(2**59) - 1, -(2**59), -1, 0, 1, 2**59, 2**59 + 1, 2**60])
    expected = [rounded(Fraction(int(c), 2**drop), rounding) for c in codes]
    assert round_codes(codes, drop, rounding).tolist() == expected


def test_shift_codes_both_ways_and_far() -> None:
    codes = np.array([-5, 5])
    assert shift_codes(codes, 2).tolist() == [-20, 20]
    assert shift_codes(codes, -1).tolist() == [-3, 2]
    assert shift_codes(codes, -64).tolist() == [-1, 0]
    assert shift_codes(codes, np.array([1, -1])).tolist() == [-10, 2]


def test_wrap_codes_of_every_width() -> None:
    code = np.array([0b1011])
    assert wrap_codes(code, False, 0).tolist() == [0]
    assert wrap_codes(code, False, 2).tolist() == [3]
    assert wrap_codes(code, True, 2).tolist() == [-1]
    assert wrap_codes(np.array([-1]), False, MAX_WIDTH).tolist() == [2**MAX_WIDTH - 1]
    assert wrap_codes(np.array([-1]), True, MAX_WIDTH).tolist() == [-1]


def test_formats_of_each_element_and_of_no_bits() -> None:
    found = quantize_codes(
        np.array([[7, 7, 7]]),
        0,
        np.array([False, True, False]),
        np.array([2, 2, -5]),
        np.array([0, 0, 5]),
        Rounding.TRN,
        Overflow.SAT,
    )
    assert found.tolist() == [[3, 3, 0]]


@pytest.mark.parametrize(
    ("fixed", "width", "lowest", "highest"),
    [
        (Fixed(False, 3, 0), 3, 0, 7),
        (Fixed(True, 3, 0), 4, -8, 7),
        (Fixed(True, -2, 4), 3, -4, 3),
        (Fixed(False, 6, -4), 2, 0, 3),
        (Fixed(True, 0, 0), 1, -1, 0),
        (Fixed(False, -3, 3), 0, 0, 0),
        (Fixed(True, -1, 0), 0, 0, 0),
    ],
)
def test_the_range_of_a_format(fixed: Fixed, width: int, lowest: int, highest: int) -> None:
    assert (fixed.width, fixed.lowest, fixed.highest) == (width, lowest, highest)


@pytest.mark.parametrize("bits", [(False, -1, 0), (True, 60, 0), (False, 30, 31)])
def test_a_format_has_0_to_60_bits(bits) -> None:
    with pytest.raises(InputError, match="0 to 60"):
        Fixed(*bits)


def test_wrap_sm_has_no_meaning_unsigned() -> None:
    with pytest.raises(InputError, match="WRAP_SM"):
        quantized(CODES, 0, Fixed(False, 3, 0), Rounding.TRN, Overflow.WRAP_SM)
