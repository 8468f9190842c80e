"""Random well-typed Graphs: the ops. `generate` makes whole Graphs of them.

Which ops, operands and modes are drawn from `Choices`, which tests take from Hypothesis, so that
examples shrink; arrays of weights and widths come from a seeded generator, so that one costs
milliseconds. A new op gets a method of `OpMaker` and its name in ``OpMaker.ANY``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from hairtrigger.errors import GraphError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Literal, TensorType, linear, moves, ops

T = TypeVar("T")


class Choices(Protocol):
    """Where decisions come from."""

    def number(self, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``, both included."""
        ...

    def pick(self, options: Sequence[T]) -> T:
        """One of some options."""
        ...


class Seeded:
    """Choices from a seeded generator, all equally likely."""

    def __init__(self, seed: int | Sequence[int]) -> None:
        self._rng = np.random.default_rng(seed)

    def number(self, low: int, high: int) -> int:
        return int(self._rng.integers(low, high, endpoint=True))

    def pick(self, options: Sequence[T]) -> T:
        return options[self.number(0, len(options) - 1)]


class OpMaker:
    """Appends random nodes to ``builder``; methods named after ops take and give places of nodes.

    ``max_bits``: widest Input and Quantize format; ``max_elements``: largest tensor, windows of
    convolutions apart; ``by_channel``: all elements of a channel have one format.
    """

    def __init__(self, choices: Choices, max_bits: int, max_elements: int) -> None:
        self.number = choices.number
        self.pick = choices.pick
        self.max_bits = max_bits
        self.max_elements = max_elements
        self.by_channel = False
        self.rng = np.random.default_rng(choices.number(0, 2**32 - 1))
        self.builder = Builder("random")

    ANY = (
        *("quantize", "quantize", "relu", "add", "sub", "mul", "scale", "shift", "compare"),
        *("table", "dense", "conv", "conv", "maxpool", "sumpool", "globalsum", "argmax"),
        *("reshape", "transpose", "pad", "crop", "concat", "constant", "twins"),
    )

    # --- draws ---------------------------------------------------------------------------------

    def some_node(self) -> int:
        last = len(self.builder.nodes) - 1
        return last - min(last, self.pick([0, 0, 0, 1, 1, 2, 3, 4, 5]))

    def shape(self, x: int) -> tuple[int, ...]:
        return self.builder.type(x).shape

    def add_op(self, op: ops.Op, *operands: int) -> int:
        """Append ``op``; where its result would be too wide or big, bring operands down first."""
        label = self.pick(["", "a", "b"])
        try:
            place = self.builder.add(op, *operands, label=label)
        except GraphError:
            narrow = [self.narrow(x) for x in operands]
            try:
                place = self.builder.add(op, *narrow, label=label)
            except GraphError:
                return operands[0]
        if self.builder.type(place).size > self.max_elements:
            self.builder.nodes.pop()
            return operands[0]
        return place

    def narrow(self, x: int, bits: int = 6) -> int:
        """A node of few bits at the top of the range of ``x``."""
        t = self.builder.type(x)
        top = int(t.integer.max(initial=0))
        fixed = Fixed(True, top, bits - 1 - top)
        return self.builder.add(
            ops.Quantize(TensorType.uniform(t.shape, fixed), *self.modes(False)), x
        )

    def modes(self, any_unsigned: bool) -> tuple[Rounding, Overflow]:
        overflows = [o for o in Overflow if not (any_unsigned and o is Overflow.WRAP_SM)]
        return self.pick(list(Rounding)), self.pick(overflows)

    def fixed(self) -> Fixed:
        """A format of 0 to ``max_bits`` bits; integer or fraction may be negative."""
        signed = self.pick([True, False])
        width = max(self.number(0, self.max_bits), int(signed))
        fraction = self.number(-5, 12)
        return Fixed(signed, width - signed - fraction, fraction)

    def type(self, shape: tuple[int, ...]) -> TensorType:
        """One format for all, or one for each element; some of no bits."""
        base = self.fixed()
        if self.pick(["one", "each"]) == "one":
            return TensorType.uniform(shape, base)
        each = (1,) * (len(shape) - 1) + shape[-1:] if self.by_channel else shape
        width = self.rng.integers(0, base.width, endpoint=True, size=each)
        signed = self.rng.random(each) < (0.8 if base.signed else 0.1)
        if self.pick([True, False]):
            signed = np.ones(each, dtype=bool)
        signed &= width > 0
        fraction = base.fraction - self.rng.integers(0, 4, size=each)
        return TensorType(shape, signed, width - signed - fraction, fraction)

    def literal(self, shape: tuple[int, ...], signed: bool = True) -> Literal:
        """Random weights of at most 8 bits, some of them zero."""
        top = 1 << self.number(0, 7)
        codes = self.rng.integers(-top if signed else 0, top, endpoint=True, size=shape)
        codes = codes * (self.rng.random(shape) < self.pick([1.0, 0.5, 0.2]))
        return Literal(codes, self.number(-3, 7))

    def bias(self, channels: int) -> Literal | None:
        return self.pick([None, self.literal((channels,))])

    def fitting(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape that broadcasts to ``shape``."""
        return tuple(self.pick([n, 1]) for n in shape)

    def window(self, image: tuple[int, ...], pool: bool) -> tuple[Any, Any, Any]:
        """Window, strides and padding that fit an image."""
        window = tuple(self.number(1, min(3, n)) for n in image)
        strides = tuple(self.number(1, 3) for _ in image)
        most = [w - 1 if pool else 2 for w in window]
        padding = tuple((self.number(0, m), self.number(0, m)) for m in most)
        return window, strides, padding

    # --- ops -----------------------------------------------------------------------------------

    def input(self, name: str, shape: tuple[int, ...]) -> int:
        t = self.type(shape)
        unsigned = bool((~t.signed & (t.width > 0)).any())
        return self.builder.add(ops.Input(name, t, *self.modes(unsigned)))

    def constant(self, x: int) -> int:
        return self.add_op(ops.Constant(self.literal(self.shape(x))))

    def quantize(self, x: int) -> int:
        t = self.builder.type(x)
        target = self.type(t.shape)
        if self.pick([True, True, False]):
            # Near the operand's format, so that rounding and overflow are both common.
            cut, clip = self.number(-1, 4), self.number(-2, 3)
            signed, integer, fraction = t.signed, t.integer, t.fraction
            if self.by_channel and t.shape:
                apart = tuple(range(len(t.shape) - 1))
                signed, integer, fraction = (
                    x.max(axis=apart, keepdims=True) for x in (signed, integer, fraction)
                )
            width = np.minimum(signed + integer + fraction - cut - clip, self.max_bits)
            signed = signed & (width > 0)
            target = TensorType(t.shape, signed, width - signed - fraction + cut, fraction - cut)
        unsigned = bool((~target.signed & (target.width > 0)).any())
        return self.add_op(ops.Quantize(target, *self.modes(unsigned)), x)

    def twins(self, x: int) -> int:
        """Two ReLUs on one wire in two formats: values that must stay apart."""
        shape = self.shape(x)
        coarse, fine = (
            self.add_op(
                ops.Quantize(TensorType.uniform(shape, Fixed(False, 4, f)), *self.modes(True)),
                self.relu(x),
            )
            for f in (2, 6)
        )
        return self.add_op(ops.Sub(), fine, coarse)

    def relu(self, x: int) -> int:
        return self.add_op(ops.Relu(), x)

    def partner(self, x: int) -> int:
        """An operand that broadcasts with ``x``: a node of its shape, or a constant."""
        same = [n for n in range(len(self.builder.nodes)) if self.shape(n) == self.shape(x)]
        if self.pick([True, False]):
            return self.pick(same)
        return self.add_op(ops.Constant(self.literal(self.fitting(self.shape(x)))))

    def add(self, x: int) -> int:
        return self.add_op(ops.Add(), x, self.partner(x))

    def sub(self, x: int) -> int:
        return self.add_op(ops.Sub(), *self.pick([(x, y := self.partner(x)), (y, x)]))

    def mul(self, x: int) -> int:
        return self.add_op(ops.Mul(), x, self.partner(x))

    def channelwise(self, x: int) -> int:
        shape = self.shape(x)
        return self.add_op(ops.Constant(self.literal((1,) * (len(shape) - 1) + shape[-1:])))

    def scale(self, x: int) -> int:
        return self.add_op(ops.Mul(), *self.pick([(x, c := self.channelwise(x)), (c, x)]))

    def shift(self, x: int) -> int:
        op = self.pick([ops.Add(), ops.Sub()])
        return self.add_op(op, *self.pick([(x, c := self.channelwise(x)), (c, x)]))

    def compare(self, x: int) -> int:
        return self.add_op(ops.Compare(self.pick(list(ops.Relation))), x, self.partner(x))

    def table(self, x: int) -> int:
        if int(self.span(x)) > 8:
            x = self.narrow(x)
        t = self.builder.type(x)
        finer = self.number(0, 1)
        low, high = t.range().at(t.lsb + finer)
        first = int(low.min(initial=0)) - self.number(0, 2)
        entries = int(high.max(initial=0)) - first + 1 + self.number(0, 2)
        rows = self.number(1, 3)
        select = None
        if rows > 1 or self.pick([True, False]):
            select = Literal(self.rng.integers(0, rows, size=t.shape), 0)
        return self.add_op(
            ops.Table(self.literal((rows, entries)), first, t.lsb + finer, select), x
        )

    def span(self, x: int) -> int:
        """Bits of the codes of a node, which all share the LSB of the tensor."""
        t = self.builder.type(x)
        return int((t.signed + t.integer).max(initial=0)) + t.lsb

    def dense(self, x: int) -> int:
        shape = self.shape(x)
        if not shape:
            return x
        channels = self.number(1, 6)
        return self.add_op(
            linear.Dense(self.literal((shape[-1], channels)), self.bias(channels)), x
        )

    def image(self, x: int) -> int:
        """``x`` with one or two image axes and channels."""
        shape = self.shape(x)
        if len(shape) in (2, 3):
            return x
        size = int(np.prod(shape))
        channels = self.pick([n for n in (1, 2, 3, 4) if size % n == 0])
        return self.add_op(moves.Reshape((size // channels, channels)), x)

    def conv(self, x: int) -> int:
        x = self.image(x)
        *image, channels = self.shape(x)
        window, strides, padding = self.window(tuple(image), pool=False)
        groups = self.pick([n for n in (1, 2, 3, channels) if channels % n == 0])
        out = groups * self.number(1, 3)
        kernel = self.literal((*window, channels // groups, out))
        return self.add_op(linear.Conv(kernel, self.bias(out), strides, padding, groups), x)

    def maxpool(self, x: int) -> int:
        x = self.image(x)
        return self.add_op(linear.MaxPool(*self.window(self.shape(x)[:-1], pool=True)), x)

    def sumpool(self, x: int) -> int:
        x = self.image(x)
        return self.add_op(linear.SumPool(*self.window(self.shape(x)[:-1], pool=False)), x)

    def globalsum(self, x: int) -> int:
        rank = len(self.shape(x))
        if rank == 0:
            return x
        axes = [axis for axis in range(rank) if self.number(0, 1)] or [self.number(0, rank - 1)]
        return self.add_op(linear.GlobalSum(tuple(axes)), x)

    def argmax(self, x: int) -> int:
        return self.add_op(linear.ArgMax(), x) if self.shape(x) else x

    def flatten(self, x: int) -> int:
        return self.add_op(moves.Reshape((int(np.prod(self.shape(x))),)), x)

    def reshape(self, x: int) -> int:
        size = int(np.prod(self.shape(x)))
        first = self.pick([n for n in (1, 2, 3, 4, 5, 6) if size % n == 0])
        rest = size // first
        return self.add_op(
            moves.Reshape(self.pick([(size,), (first, rest), (rest, first), (first, 1, rest)])), x
        )

    def transpose(self, x: int) -> int:
        left = list(range(len(self.shape(x))))
        order = [left.pop(self.number(0, len(left) - 1)) for _ in range(len(left))]
        return self.add_op(moves.Transpose(tuple(order)), x)

    def pad(self, x: int) -> int:
        padding = tuple((self.number(0, 2), self.number(0, 1)) for _ in self.shape(x))
        return self.add_op(moves.Pad(padding), x)

    def crop(self, x: int) -> int:
        cropping = tuple(
            (a := self.number(0, n - 1), self.number(0, n - 1 - a)) for n in self.shape(x)
        )
        return self.add_op(moves.Crop(cropping), x)

    def concat(self, x: int) -> int:
        rank = len(self.shape(x))
        if rank == 0:
            return x
        axis = self.number(0, rank - 1)

        def rest(n: int) -> Any:
            shape = self.shape(n)
            return (len(shape), shape[:axis], shape[axis + 1 :])

        fits = [n for n in range(len(self.builder.nodes)) if rest(n) == rest(x)]
        others = [self.pick(fits) for _ in range(self.number(0, 2))]
        return self.add_op(moves.Concat(axis), x, *others)
