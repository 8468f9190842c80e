"""Neurons that toss coins: 1 with the probability ``sigmoid(logit)``, from shift registers.

A coin compares a random word of ``bits`` bits with a threshold: word < P gives 1 with probability
P / 2**bits exactly, over the period of the register. No sigmoid is computed: either P is a small
`Table` of the logit's code, or the word goes through the inverse table and is compared with the
logit itself. Both give the same bit, as P does not fall where the logit rises.

Everything is made of ops that are there (`State`, `Dense`, `Table`, `Compare`), so a network that
tosses coins is a Graph like any other: the next word is the register times a constant matrix of
bits, and the emulator works out many steps at once by powers of it (`hairtrigger.graph.gf2`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import gcd, prod
from typing import Literal as OneOf

import numpy as np

from hairtrigger.errors import GraphError
from hairtrigger.fixed import IntArray, shift_codes
from hairtrigger.graph import gf2, machines
from hairtrigger.graph.graph import Builder
from hairtrigger.graph.linear import Dense, GlobalSum
from hairtrigger.graph.moves import Reshape
from hairtrigger.graph.ops import Compare, Constant, Mul, Relation, Table
from hairtrigger.graph.types import Literal, TensorType

PRIMITIVE: Mapping[int, tuple[int, ...]] = {
    16: (16, 15, 13, 4),
    20: (20, 17),
    24: (24, 23, 22, 17),
    31: (31, 28),
    32: (32, 22, 2, 1),
    63: (63, 62),
    64: (64, 63, 61, 60),
}
"""Taps of primitive polynomials by length: such a register runs through all states but zero.

From the table in Xilinx application note XAPP 052 (P. Alfke, 1996); the tests prove each.
"""

MOST_TABLE = 16
"""Bits of the logits' codes, of all elements together, up to which a table is made."""

Fold = OneOf["logit", "word"]


@dataclass(frozen=True)
class Generator:
    """Where random words come from: its polynomial, its seed, how far it steps, who shares it.

    ``taps``: exponents of a primitive feedback polynomial (`PRIMITIVE`); ``leap``: shifts from
    event to event, at least ``bits``, the length of a word, for words that do not overlap (with
    ``leap`` 1 successive 8-bit words have correlation 0.5); ``seed``: the first state of the first
    register, bit n of it for element n; ``shared``: do all neurons compare with one word. Then they
    are not independent.
    Raises `GraphError` for what is no generator, or repeats itself before all states have come.
    """

    taps: tuple[int, ...] = PRIMITIVE[32]
    bits: int = 8
    leap: int = 8
    seed: int = 1
    shared: bool = False

    def __post_init__(self) -> None:
        length = len(gf2.shift_matrix(self.taps))
        if not 1 <= self.bits <= min(length, MOST_TABLE) or self.leap < 1:
            raise GraphError(
                f"Words of {self.bits} bits from an LFSR of {length}, {self.leap} shifts apart.",
                f"Give 1 to {min(length, MOST_TABLE)} bits and a leap from 1 on.",
            )
        shared_factor = gcd(self.leap, (1 << length) - 1)
        if shared_factor > 1:
            raise GraphError(
                f"A leap of {self.leap} shares the factor {shared_factor} with the period "
                f"2**{length} - 1, so that most states never come.",
                "Use a leap without common factor, such as a power of two.",
            )
        if not 0 < self.seed < 1 << length:
            raise GraphError(
                f"Seed {self.seed} is not between 1 and 2**{length} - 1.",
                "Zero would stay zero; give another seed.",
            )

    @property
    def length(self) -> int:
        """Bits of a register."""
        return max(self.taps)

    def seeds(self, count: int) -> tuple[int, ...]:
        """First states of ``count`` registers, the first of them ``seed``.

        They lie about ``period // count`` events apart on the one sequence, so that no register
        repeats another's words for that long. A start is moved on event by event until the word
        is independent of each of those before: the rank over GF(2) of both words together, as
        functions of the first register, is ``2 * bits``. So each pair of neurons is independent,
        exactly, over the period. Three or more are not, in general: all words together have no
        more bits than the register. Raises `GraphError` where the register is too short for that.
        """
        if 2 * self.bits > self.length:
            if count == 1:
                return (self.seed,)
            raise GraphError(
                f"Two words of {self.bits} bits cannot be independent in {self.length} bits.",
                "Use a longer register, fewer bits, or one generator that is shared.",
            )
        step = gf2.power(gf2.shift_matrix(self.taps), self.leap)
        apart = ((1 << self.length) - 1) // count
        far = gf2.power(step, apart)
        row = np.array([[self.seed >> n & 1 for n in range(self.length)]])
        to_here = np.eye(self.length, dtype=np.int64)
        words: list[IntArray] = []
        found: list[int] = []
        for _ in range(count):
            for _ in range(4 * self.length):
                word = to_here[:, : self.bits].T
                if all(gf2.rank(np.concatenate([word, w])) == 2 * self.bits for w in words):
                    break
                to_here = gf2.multiply(to_here, step)
            else:
                raise GraphError(
                    f"{count} generators of {self.length} bits are not independent in pairs.",
                    "Use a longer register or fewer bits.",
                )
            words.append(word)
            state = gf2.multiply(row, to_here)[0]
            found.append(sum(int(bit) << n for n, bit in enumerate(state)))
            to_here = gf2.multiply(to_here, far)
        return tuple(found)


def dependent_pairs(generator: Generator, count: int, later: int = 0) -> list[tuple[int, int]]:
    """Pairs of neurons whose words, the second's ``later`` events on, are not independent.

    Exact, by rank: what the registers' bits say about each other over the whole period.
    """
    step = gf2.power(gf2.shift_matrix(generator.taps), generator.leap)
    place = {seed: n for n, seed in enumerate(generator.seeds(count))}
    basis = _krylov(place, generator, step)
    on = gf2.power(step, later)
    words = [m[:, : generator.bits].T for m in basis]
    after = [gf2.multiply(m, on)[:, : generator.bits].T for m in basis]
    pairs = combinations(range(count), 2) if not later else np.ndindex(count, count)
    return [
        (int(a), int(b))
        for a, b in pairs
        if gf2.rank(np.concatenate([words[a], after[b]])) < 2 * generator.bits
    ]


def _krylov(seeds: Mapping[int, int], generator: Generator, step: IntArray) -> list[IntArray]:
    """For each seed the matrix, a polynomial in ``step``, that takes the first seed to it."""
    length = generator.length
    rows = [np.array([seed >> n & 1 for n in range(length)]) for seed in seeds]
    walk = gf2.orbit(rows[0], step, length)  # a basis, as the polynomial is irreducible
    powers = gf2.orbit(np.eye(length, dtype=np.int64), step, length)
    found: list[IntArray] = []
    for row in rows:
        weights = gf2.solve(walk, row)
        found.append((powers * weights[:, None, None]).sum(axis=0) & 1)
    return found


def words(
    builder: Builder,
    generator: Generator,
    shape: tuple[int, ...],
    name: str = "coin",
    draws: int = 1,
) -> int:
    """Random words of ``generator.bits`` bits, one for each element of ``shape``; new each step.

    A shared generator gives one word for all: its lengths are 1. With more than one of ``draws``
    they are a first axis, each of registers of its own.
    """
    made = (1,) * len(shape) if generator.shared else shape
    made = made if draws == 1 else (draws, *made)
    matrix = gf2.power(gf2.shift_matrix(generator.taps), generator.leap)
    seeds = generator.seeds(prod(made))
    bits = [[seed >> n & 1 for n in range(generator.length)] for seed in seeds]
    reset = Literal(np.array(bits).reshape(*made, generator.length), 0)
    t = TensorType.uniform(reset.shape, machines.BIT)
    register = builder.state(name, t, reset, label=name)
    builder.update(register, machines.xor(builder, register, Literal(matrix, 0)))
    weights = np.zeros((generator.length, 1), dtype=np.int64)
    weights[: generator.bits, 0] = 1 << np.arange(generator.bits)[::-1]
    word = builder.add(Dense(Literal(weights, 0)), register, label=f"{name} word")
    return builder.add(Reshape(made), word)


def thresholds(logits: IntArray, fraction: int, bits: int) -> IntArray:
    """P = 2**bits * sigmoid(logit), rounded to the nearest integer, for codes of logits.

    So a coin has at most half of 2**-bits more or less than the sigmoid; 0 never comes up 1.
    """
    real = logits * 2.0**-fraction
    return np.rint(2.0**bits / (1 + np.exp(-np.clip(real, -700, 700)))).astype(np.int64)


def bernoulli(
    builder: Builder,
    logits: int,
    generator: Generator,
    *,
    draws: int = 1,
    fold: Fold | None = None,
    name: str = "coin",
) -> int:
    """Coins that come up 1 with probability ``sigmoid(logits)``, element by element.

    ``draws``: tosses an event, of registers of their own, a power of two; the result is their mean,
    a multiple of ``1 / draws``. ``fold``: is the sigmoid a table of the "logit" or of the "word",
    None for the one with fewer entries. Raises `GraphError` for logits of more than
    `MOST_TABLE` bits, or draws that are no power of two.
    """
    t = builder.type(logits)
    if draws < 1 or draws & (draws - 1):
        raise GraphError(f"{draws} draws.", "Give a power of two, so that their mean is exact.")
    low, high = (int(end) for end in _reach(t))
    if (high - low).bit_length() > MOST_TABLE:
        raise GraphError(
            f"Logits of {(high - low).bit_length()} bits are too many for a table.",
            f"Quantize them to {MOST_TABLE} bits or fewer.",
        )
    shape = t.shape
    word = words(builder, generator, shape, name, draws)
    if draws > 1:
        logits = builder.add(Reshape((1, *shape)), logits)
    small = high - low < 1 << generator.bits
    if (fold or ("logit" if small else "word")) == "logit":
        p = Literal(thresholds(np.arange(low, high + 1), t.lsb, generator.bits)[None], 0)
        level = builder.add(Table(p, low, t.lsb), logits, label=f"{name} threshold")
        bits = builder.add(Compare(Relation.GT), level, word, label=name)
    else:
        level = Literal(inverse(low, high, t.lsb, generator.bits)[None], t.lsb)
        least = builder.add(Table(level, 0, 0), word, label=f"{name} logit")
        bits = builder.add(Compare(Relation.GE), logits, least, label=name)
    if draws == 1:
        return bits
    total = builder.add(GlobalSum((0,)), bits)
    one = Literal(np.ones((1,) * len(shape), dtype=np.int64), draws.bit_length() - 1)
    return builder.add(Mul(), total, builder.add(Constant(one)), label=f"{name} mean")


def inverse(low: int, high: int, fraction: int, bits: int) -> IntArray:
    """For each word the least code of a logit that it leaves at 1; ``high + 1`` where none does."""
    p = thresholds(np.arange(low, high + 1), fraction, bits)
    return low + np.searchsorted(p, np.arange(1 << bits), side="right")


def likelier(builder: Builder, logits: int) -> int:
    """1 where 1 is at least as likely as 0 (logit >= 0): the coin's variant without a coin."""
    shape = (1,) * len(builder.type(logits).shape)
    zero = builder.add(Constant(Literal(np.zeros(shape, dtype=np.int64), 0)))
    return builder.add(Compare(Relation.GE), logits, zero)


def _reach(t: TensorType) -> Sequence[int]:
    """Lowest and highest code of any element, in units of the type's LSB."""
    reach = t.range()
    up = np.where(reach.alive, t.lsb - reach.fraction, 0)
    low, high = shift_codes(reach.low, up), shift_codes(reach.high, up)
    return int(low.min(initial=0)), int(high.max(initial=0))
