"""The tests of SP 800-22 against the examples that it publishes with each of them."""

import math

import numpy as np
import pytest

from hairtrigger import metrics_random as nist
from hairtrigger.errors import InputError

PI = (
    "11001001000011111101101010100010001000010110100011"
    "00001000110100110001001100011001100010100010111000"
)
"""The 100 bits of the examples."""
LONGEST = (
    "11001100000101010110110001001100111000000000001001001101010100010001001111010110"
    "100000001101011111001100111001101101100010110010"
)


def row(text: str) -> np.ndarray:
    return np.array([int(c) for c in text])


@pytest.mark.parametrize(
    ("test", "bits", "options", "published"),
    [
        (nist.frequency, "1011010101", {}, 0.527089),
        (nist.frequency, PI, {}, 0.109599),
        (nist.block_frequency, "0110011010", {"block": 3}, 0.801252),
        (nist.block_frequency, PI, {"block": 10}, 0.706438),
        (nist.runs, "1001101011", {}, 0.147232),
        (nist.runs, PI, {}, 0.500798),
        (nist.longest_run, LONGEST, {}, 0.180609),
        (nist.serial, "0011011101", {"length": 3}, 0.808792),
        (nist.approximate_entropy, "0100110101", {"length": 3}, 0.261961),
        (nist.approximate_entropy, PI, {"length": 2}, 0.235301),
        (nist.cumulative_sums, "1011010111", {}, 0.4116588),
        (nist.cumulative_sums, PI, {}, 0.219194),
    ],
)
def test_published_examples(test, bits: str, options: dict, published: float) -> None:
    assert test(row(bits), **options) == pytest.approx(published, abs=2e-5)


@pytest.mark.parametrize("bits", ["1001010011", PI])
def test_the_spectrum_by_its_definition(bits: str) -> None:
    """A sum over all bits for each frequency. The printed examples of section 2.6 count other peaks
    than the definition gives, so they are of no use here."""
    x = 2 * row(bits) - 1
    n = len(x)
    waves = np.exp(-2j * np.pi * np.outer(np.arange(n // 2), np.arange(n)) / n)
    low = np.count_nonzero(np.abs(waves @ x) < math.sqrt(n * math.log(20)))
    d = (low - 0.95 * n / 2) / math.sqrt(n * 0.95 * 0.05 / 4)
    assert nist.spectrum(row(bits)) == pytest.approx(math.erfc(abs(d) / math.sqrt(2)))


def test_the_rank_of_the_digits_of_e() -> None:
    """100,000 bits of e, the example of section 2.5.8: P = 0.532069."""
    digits = 100_000
    one = 1 << (digits + 64)
    total, term, n = 0, one, 0
    while term:
        total += term
        n += 1
        term //= n
    bits = row(bin(total)[2 : 2 + digits])
    assert nist.matrix_rank(bits) == pytest.approx(0.532069, abs=2e-5)
    # The other tests pass on it too, as they should on 100,000 bits of e.
    assert min(test(bits) for test in nist.TESTS.values()) > 0.01


def test_bad_generators_fail() -> None:
    rng = np.random.default_rng(0)
    fair = rng.integers(0, 2, 100_000)
    assert min(test(fair) for test in nist.TESTS.values()) > 0.001
    assert nist.frequency(rng.random(100_000) < 0.51) < 0.01
    assert nist.runs(np.repeat(fair, 2)) < 1e-6
    assert nist.spectrum(fair | (np.arange(100_000) % 10 == 0)) < 1e-6
    assert nist.serial(np.tile(fair[:50], 2000)) < 1e-6
    linear = fair.copy()
    for n in range(16, 100_000):  # 16 bits of state: all matrices have rank 16 or less
        linear[n] = linear[n - 16] ^ linear[n - 15] ^ linear[n - 13] ^ linear[n - 4]
    assert nist.matrix_rank(linear) < 1e-6
    assert nist.frequency(linear) > 0.01


@pytest.mark.parametrize(
    ("value", "freedom", "expected"),
    # Upper 5 % and 1 % points of chi-squared, from any table.
    [
        (3.841, 1, 0.05),
        (5.991, 2, 0.05),
        (11.070, 5, 0.05),
        (23.209, 10, 0.01),
        (124.342, 100, 0.05),
    ],
)
def test_chi_squared(value: float, freedom: int, expected: float) -> None:
    assert nist.chi_squared(value, freedom) == pytest.approx(expected, rel=2e-3)
    assert nist.chi_squared(0, freedom) == 1


@pytest.mark.parametrize("bits", [[], [0, 1, 2] * 10, [[0, 1]] * 20])
def test_what_is_no_row_of_bits_is_refused(bits) -> None:
    with pytest.raises(InputError, match="zeros and ones"):
        nist.spectrum(bits)
