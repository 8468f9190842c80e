"""Small machines made of registers: delays, moving sums, pedestals, generators of random bits.

Each function appends nodes to a `Builder` and returns the place of the one to use. They hold all
elements of a tensor side by side, each on its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hairtrigger.errors import GraphError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import gf2
from hairtrigger.graph.graph import Builder
from hairtrigger.graph.linear import Dense
from hairtrigger.graph.ops import Add, Compare, Constant, Mul, Quantize, Relation, Sub
from hairtrigger.graph.types import Literal, Range, TensorType

BIT = Fixed(False, 1, 0)


def delay(builder: Builder, x: int, steps: int, name: str = "delay") -> int:
    """What ``x`` was ``steps`` steps ago; zero before the first step."""
    for n in range(steps):
        late = builder.state(f"{name}{n + 1}", builder.type(x))
        builder.update(late, x)
        x = late
    return x


def moving_sum(builder: Builder, x: int, window: int, name: str = "sum") -> int:
    """Sum of ``x`` in this step and the ``window - 1`` before it; zeros before the first step.

    It adds what comes and subtracts what leaves, so its cost is that of two adders and of the
    delay line. Raises `GraphError` for a window below one step.
    """
    if window < 1:
        raise GraphError(f"A moving sum over {window} steps.", "Give a window of at least one.")
    reach = builder.type(x).range()
    low, high = np.minimum(reach.low, 0), np.maximum(reach.high, 0)
    t = Range(window * low, window * high, reach.fraction).cover()
    total = builder.state(name, t)
    change = builder.add(Sub(), x, delay(builder, x, window, f"{name}.delay"))
    now = builder.add(Quantize(t), builder.add(Add(), total, change))  # it always fits
    builder.update(total, now)
    return now


def frugal_pedestal(
    builder: Builder,
    samples: int,
    type: TensorType,
    start: Literal | None = None,
    name: str = "pedestal",
) -> int:
    """A running estimate of the median of ``samples``: each step moves it by one towards them.

    "One" is the LSB of ``type``, whose elements must share one fraction; it saturates at its ends.
    ``start``: the first estimate (None: zeros). The estimate that is returned is the one before
    the step, to be subtracted from the samples of that step. Raises `GraphError`.
    """
    if type.single is None:
        raise GraphError(
            f"Pedestal {name!r}: elements of different formats have no common step.",
            "Give all elements one format.",
        )
    pedestal = builder.state(name, type, start)
    above = builder.add(Compare(Relation.GT), samples, pedestal)
    below = builder.add(Compare(Relation.GT), pedestal, samples)
    sign = builder.add(Sub(), above, below)
    if type.lsb:
        shape = (1,) * len(type.shape)
        lsb = builder.add(Constant(Literal(np.ones(shape, dtype=np.int64), type.lsb)))
        sign = builder.add(Mul(), sign, lsb)
    moved = builder.add(Add(), pedestal, sign)
    builder.update(pedestal, builder.add(Quantize(type, Rounding.TRN, Overflow.SAT), moved))
    return pedestal


def xor(builder: Builder, bits: int, taps: Literal) -> int:
    """For each column of ``taps`` (bits in, bits out; ones and zeros) the XOR of the bits it names.

    A XOR is the last bit of a sum, so it needs no op of its own: Dense, and a Quantize to one bit
    that wraps. ``bits``: a tensor whose last axis holds single bits.
    """
    total = builder.add(Dense(taps), bits)
    t = TensorType.uniform(builder.type(total).shape, BIT)
    return builder.add(Quantize(t, Rounding.TRN, Overflow.WRAP), total)


def lfsr(
    builder: Builder, taps: Sequence[int], seed: int, name: str = "lfsr", stride: int = 1
) -> int:
    """A linear feedback shift register: pseudo-random bits, the newest first, shape (max(taps),).

    ``taps``: exponents of the feedback polynomial, so (16, 14, 13, 11) runs through all 65535
    states; ``seed``: the first state, bit n of it for element n; ``stride``: shifts in a step, so
    that the first ``stride`` bits are new in each. Raises `GraphError` for taps or a seed that
    are no generator.
    """
    if stride < 1:
        raise GraphError(f"LFSR {name!r} with stride {stride}.", "Give a stride from 1 on.")
    matrix = gf2.shift_matrix(taps, name)
    length = len(matrix)
    if not 0 < seed < 1 << length:
        raise GraphError(
            f"LFSR {name!r}: seed {seed} is not between 1 and 2**{length} - 1.",
            "Zero would stay zero; give another seed.",
        )
    reset = Literal([seed >> n & 1 for n in range(length)], 0)
    bits = builder.state(name, TensorType.uniform((length,), BIT), reset)
    builder.update(bits, xor(builder, bits, Literal(gf2.power(matrix, stride), 0)))
    return bits
