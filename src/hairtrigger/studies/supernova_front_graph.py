"""The front of the supernova chain as a Graph: a step is a tick, registers hold what stays.

    graph = front_graph(FrontConfig())
    pixels, ready = emulate_codes(graph, [ticks])      # (ticks, 120); meant where ready is 1

The integers are those of `hairtrigger.studies.supernova_front`. What makes it small:

- Only the pedestal feeds back on itself. The maximum (or sum) over a block of ticks is that of
  two halves, of which one is the value of some ticks ago; no register is cleared.
- Taps that are a product of factors ``1 + z**k``, as those of a triangle are, become one adder and
  a delay of k ticks for each factor.
- A board is summed over the wires of a pixel first, then over its pixels, so that both sums are
  small and fold as everything else does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from hairtrigger.errors import InputError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, machines
from hairtrigger.graph.linear import Dense, MaxPool, SumPool
from hairtrigger.graph.moves import Concat, Reshape
from hairtrigger.graph.ops import (
    Add,
    Compare,
    Constant,
    Input,
    Mul,
    Quantize,
    Relation,
    Relu,
    Sub,
)
from hairtrigger.studies.supernova_front import FrontConfig, pedestal_codes, reciprocal


def front_graph(
    config: FrontConfig | None = None, pedestal: ArrayLike | None = None, name: str = "front"
) -> Graph:
    """One tick of the front: input "ticks" (wires,), outputs "pixels" (columns,) and "ready" (1,).

    ``pedestal``: the first estimates in counts, a number or one a wire (None: half the range).
    They are the reset values of the first register, "pedestal". Raises `InputError`.
    """
    config = config or FrontConfig()
    b = Builder(name)
    adc = Fixed(False, config.bits, 0)
    x = b.add(Input("ticks", TensorType.uniform((config.wires,), adc)))
    left = _left(b, config, x, 1 << (config.bits - 1) if pedestal is None else pedestal)
    value = _filtered(b, config, left)
    value = _pooled(b, config, value)
    pixels = b.add(Reshape((config.columns,)), _scaled(b, config, value))
    return b.build({"pixels": pixels, "ready": _ready(b, config.block[0])})


def front_interval(config: FrontConfig, clocks: int) -> int:
    """Clocks in which the wires of a tick enter, at most ``clocks``: as many as there are words of
    whole pixels that divide a board, or of whole boards, so that every word is treated alike.

    Give it to `compile_graph` or `compile_chain` as the front's interval. Raises `InputError`.
    """
    step = config.block[1]
    for lanes in range(step, config.wires + 1, step):
        alike = config.board % lanes == 0 or lanes % config.board == 0
        if alike and config.wires % lanes == 0 and config.wires // lanes <= clocks:
            return config.wires // lanes
    raise InputError(f"A tick in {clocks} clocks.", "Give one or more.")


def _left(b: Builder, config: FrontConfig, x: int, pedestal: ArrayLike) -> int:
    """Samples less pedestals and boards' means, saturated, (wires,)."""
    reach = Fixed(True, config.residual_bits - 1, 0)
    fine = TensorType.uniform((config.wires,), Fixed(False, config.bits, config.pedestal_fraction))
    codes = pedestal_codes(config, pedestal, (config.wires,))
    start = Literal(codes.astype(np.int64), config.pedestal_fraction)
    level = machines.frugal_pedestal(b, x, fine, start)
    level = _quantized(b, level, Fixed(False, config.bits, 0), Overflow.SAT, Rounding.RND)
    left = b.add(Sub(), x, level, label="less pedestal")
    if not config.coherent:
        return _quantized(b, left, reach, Overflow.SAT)
    fixed = Fixed(True, config.clip_bits, 0)
    total = _quantized(b, left, fixed, Overflow.SAT_SYM)
    total = b.add(Reshape((config.wires, 1)), total)
    for size in (config.block[1], config.board // config.block[1]):
        if size > 1:
            total = b.add(SumPool((size,), (size,), ((0, 0),)), total, label="board")
    code, fraction = reciprocal(config.board, config.board * ((1 << config.clip_bits) - 1))
    share = b.add(Constant(Literal([[code]], fraction)))
    mean = b.add(Mul(), total, share, label="board mean")
    mean = _quantized(b, mean, fixed, Overflow.SAT_SYM, Rounding.RND)
    left = b.add(Reshape((config.boards, config.board)), left)
    left = b.add(Sub(), left, mean, label="less board mean")
    left = _quantized(b, left, reach, Overflow.SAT)
    return b.add(Reshape((config.wires,)), left)


def factors(taps: Sequence[int]) -> tuple[list[int], list[int]]:
    """Delays k of factors ``1 + z**k`` of a filter, and the taps of what is left."""
    found: list[int] = []
    rest = list(taps)
    delay = len(rest) - 1
    while delay > 0:
        quotient = list(rest)
        for n in range(delay, len(quotient)):
            quotient[n] -= quotient[n - delay]
        # Behind the degree of the quotient nothing may be left.
        if len(rest) > delay and not any(quotient[len(rest) - delay :]) and min(quotient) >= 0:
            rest = quotient[: len(rest) - delay]
            found.append(delay)
        else:
            delay -= 1
    return sorted(found), rest


def _filtered(b: Builder, config: FrontConfig, x: int) -> int:
    """The FIR along ticks, not yet rounded: (wires,)."""
    delays, rest = factors(config.taps)
    for n, delay in enumerate(delays):
        before = machines.delay(b, x, delay, f"fir{n}.")
        x = b.add(Add(), x, before, label="filter")
    if rest != [1]:
        taps = [x]
        for n in range(len(rest) - 1):
            taps.append(machines.delay(b, taps[-1], 1, f"taps{n + 1}."))
        columns = [b.add(Reshape((config.wires, 1)), tap) for tap in taps]
        x = b.add(Concat(1), *columns) if len(columns) > 1 else columns[0]
        x = b.add(Dense(Literal(np.array(rest)[:, None], 0)), x, label="filter")
        x = b.add(Reshape((config.wires,)), x)
    return x


def _rounded(b: Builder, config: FrontConfig, x: int) -> int:
    """Whole filtered counts, negative ones as zero."""
    x = b.add(Relu(), x)
    size = max(1, config.most_filtered.bit_length())
    fixed = Fixed(False, size + config.taps_shift, -config.taps_shift)
    return _counted(b, _quantized(b, x, fixed, Overflow.SAT, Rounding.RND), config.taps_shift)


def _pooled(b: Builder, config: FrontConfig, x: int) -> int:
    """Thresholded values of blocks, (columns, 1)."""
    late = config.pool == "max"  # rounding and threshold do not change which is the largest
    if not late:
        x = _kept(b, config, _rounded(b, config, x))
    x = b.add(Reshape((config.wires, 1)), x)
    ticks, wires = config.block
    pool = MaxPool if late else SumPool
    if wires > 1:
        x = b.add(pool((wires,), (wires,), ((0, 0),)), x, label="downsize wires")
    if late:
        x = _rounded(b, config, x)
    for level in range(ticks.bit_length() - 1):
        before = machines.delay(b, x, 1 << level, f"block{level}.")
        if late:
            both = [b.add(Reshape((config.columns, 1, 1)), n) for n in (x, before)]
            x = b.add(MaxPool((1, 2), (1, 2), ((0, 0), (0, 0))), b.add(Concat(1), *both))
            x = b.add(Reshape((config.columns, 1)), x)
        else:
            x = b.add(Add(), x, before, label="downsize ticks")
    return _kept(b, config, x) if late else x


def _kept(b: Builder, config: FrontConfig, x: int) -> int:
    """Zero for what lies below the threshold."""
    if config.threshold <= 1:
        return x  # nothing lies between
    if config.pool == "max" and all(config.threshold <= 1 << s for s, _ in config.scale):
        return x  # such values are pixels of zero anyway
    one = (1,) * len(b.type(x).shape)
    least = b.add(Constant(Literal(np.full(one, config.threshold, dtype=np.int64), 0)))
    passes = b.add(Compare(Relation.GE), x, least, label="threshold")
    return b.add(Mul(), x, passes, label="threshold")


def _scaled(b: Builder, config: FrontConfig, x: int) -> int:
    """Values as pixels."""
    found: int | None = None
    for shift, bits in config.scale:
        part = _quantized(b, x, Fixed(False, bits + shift, -shift), Overflow.SAT)
        part = _counted(b, part, shift)
        found = part if found is None else b.add(Add(), found, part, label="scale")
    assert found is not None
    return _quantized(b, found, Fixed(False, config.pixel_bits, 0))


def _ready(b: Builder, ticks: int) -> int:
    """1 in every tick that completes a block, (1,)."""
    if ticks == 1:
        return b.add(Constant(Literal([1], 0)))
    t = TensorType.uniform((1,), Fixed(False, ticks.bit_length() - 1, 0))
    phase = b.state("phase", t)
    one = b.add(Constant(Literal([1], 0)))
    b.update(phase, b.add(Quantize(t), b.add(Add(), phase, one)))
    last = b.add(Constant(Literal([ticks - 1], 0)))
    return b.add(Compare(Relation.EQ), phase, last, label="ready")


def _quantized(
    b: Builder,
    x: int,
    fixed: Fixed,
    overflow: Overflow = Overflow.WRAP,
    rounding: Rounding = Rounding.TRN,
) -> int:
    return b.add(Quantize(TensorType.uniform(b.type(x).shape, fixed), rounding, overflow), x)


def _counted(b: Builder, x: int, shift: int) -> int:
    """Whole steps of ``2**shift``, counted."""
    if not shift:
        return x
    step = Literal(np.ones((1,) * len(b.type(x).shape), dtype=np.int64), shift)
    return b.add(Mul(), x, b.add(Constant(step)))
