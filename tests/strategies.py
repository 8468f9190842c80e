"""Hypothesis strategies: random well-typed Graphs, and events for them.

The shape of a Graph (which ops, operands, modes) is drawn by Hypothesis, so that it shrinks;
arrays of weights and widths come from a seeded generator, so that an example costs milliseconds.
A new op gets a method of `_Maker` and a line in `_Maker.ANY`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from hairtrigger.errors import GraphError
from hairtrigger.fixed import Fixed, IntArray, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, linear, machines, moves, ops
from hairtrigger.graph.stimulus import extreme_codes, join_events, random_codes

MAX_ELEMENTS = 96
"""No tensor of a random Graph has more elements, window elements of convolutions apart."""

Draw = Callable[[st.SearchStrategy[Any]], Any]


def graphs(kind: str = "any", max_ops: int = 10, max_bits: int = 24) -> st.SearchStrategy[Graph]:
    """Random Graphs. ``kind``: "mlp" and "cnn" are networks of layers, "any" is any DAG of ops;
    these are pure. "stateful" is any DAG of ops with registers in it.

    ``max_ops``: most layers or ops drawn (each may take a few nodes more); ``max_bits``: widest
    Input and Quantize format.
    """
    return st.composite(_graph)(kind, max_ops, max_bits)


def codes_for(graph: Graph, events: int) -> st.SearchStrategy[tuple[IntArray, ...]]:
    """In-range codes of ``events`` events: up to half of them adversarial, the others random."""
    extreme = extreme_codes(graph)
    if not extreme:
        return st.just(())
    places = np.linspace(0, len(extreme[0]) - 1, max(1, min(events // 2, len(extreme[0]))))
    chosen = tuple(x[places.astype(int)][:events] for x in extreme)
    return st.integers(0, 2**32 - 1).map(
        lambda seed: join_events([chosen, random_codes(graph, events - len(chosen[0]), seed)])
    )


def fixeds(max_bits: int = 24) -> st.SearchStrategy[Fixed]:
    """Formats of 0 to ``max_bits`` bits; integer or fraction may be negative."""

    def make(signed: bool, width: int, fraction: int) -> Fixed:
        width = max(width, int(signed))
        return Fixed(signed, width - signed - fraction, fraction)

    return st.builds(make, st.booleans(), st.integers(0, max_bits), st.integers(-5, 12))


def _graph(draw: Draw, kind: str, max_ops: int, max_bits: int) -> Graph:
    maker = _Maker(draw, max_bits)
    depth = draw(st.integers(1, max_ops))
    {"mlp": maker.mlp, "cnn": maker.cnn, "any": maker.any, "stateful": maker.stateful}[kind](depth)
    return maker.finish()


class _Maker:
    """Builds one random Graph; methods named after ops take and return places of nodes."""

    def __init__(self, draw: Draw, max_bits: int) -> None:
        self.draw = draw
        self.max_bits = max_bits
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.builder = Builder("random")

    # --- shapes of Graphs ----------------------------------------------------------------------

    def mlp(self, depth: int) -> None:
        x = self.input("x", (self.number(1, 8),))
        for _ in range(depth):
            x = self.pick(
                [
                    *(self.dense, self.dense, self.quantize, self.quantize),
                    *(self.relu, self.scale, self.shift),
                ]
            )(x)
        if self.number(0, 3) == 0:
            self.argmax(x)

    def cnn(self, depth: int) -> None:
        rank = self.number(1, 2)
        x = self.input("x", (*(self.number(2, 5) for _ in range(rank)), self.number(1, 3)))
        body = [self.conv, self.conv, self.maxpool, self.sumpool, self.relu, self.quantize]
        for _ in range(depth):
            x = self.pick([*body, self.scale, self.shift])(x)
        x = self.pick([self.globalsum, self.flatten])(x)
        self.dense(self.quantize(x))

    def any(self, depth: int) -> None:
        for n in range(self.number(1, 3)):
            shape = tuple(self.number(1, 4) for _ in range(self.pick([2, 3, 1, 3, 2, 0])))
            self.input(f"x{n}", shape)
        for _ in range(depth):
            self.pick([getattr(self, name) for name in self.ANY])(self.some_node())

    def stateful(self, depth: int) -> None:
        self.input("x", tuple(self.number(1, 3) for _ in range(self.number(0, 2))))
        states = [
            self.register(self.shape(self.some_node()), f"free{n}")
            for n in range(self.number(0, 2))
        ]
        for n in range(depth):
            name = self.pick([*self.MACHINES, *self.MACHINES, *self.ANY])
            if name in self.MACHINES:
                getattr(self, name)(self.some_node(), f"{name}{n}")
            else:
                getattr(self, name)(self.some_node())
        for state in states:  # the loops that nobody planned
            t = self.builder.type(state)
            same = [n for n in range(len(self.builder.nodes)) if self.shape(n) == t.shape]
            self.close(state, self.pick(same))

    MACHINES = (
        *("delay", "accumulator", "toggle", "counter", "running_max", "pedestal", "moving_sum"),
        "lfsr",
    )

    ANY = (
        *("quantize", "quantize", "relu", "add", "sub", "mul", "scale", "shift", "compare"),
        *("table", "dense", "conv", "conv", "maxpool", "sumpool", "globalsum", "argmax"),
        *("reshape", "transpose", "pad", "crop", "concat", "constant", "twins"),
    )

    def finish(self) -> Graph:
        last = len(self.builder.nodes) - 1
        # Other outputs leave some nodes dead and give others a second reader.
        others = self.draw(st.lists(st.integers(0, last), max_size=2))
        return self.builder.build([last, *others])

    # --- draws ---------------------------------------------------------------------------------

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def pick(self, choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

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
        if self.builder.type(place).size > MAX_ELEMENTS:
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

    def type(self, shape: tuple[int, ...]) -> TensorType:
        """One format for all, or one for each element; some of no bits."""
        base = self.draw(fixeds(self.max_bits))
        if self.pick(["one", "each"]) == "one":
            return TensorType.uniform(shape, base)
        width = self.rng.integers(0, base.width, endpoint=True, size=shape)
        signed = self.rng.random(shape) < (0.8 if base.signed else 0.1)
        if self.pick([True, False]):
            signed = np.ones(shape, dtype=bool)
        signed &= width > 0
        fraction = base.fraction - self.rng.integers(0, 4, size=shape)
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

    # --- registers -----------------------------------------------------------------------------

    def register(self, shape: tuple[int, ...], name: str, fixed: Fixed | None = None) -> int:
        """A State of a random type, with a random reset value."""
        t = self.type(shape) if fixed is None else TensorType.uniform(shape, fixed)
        low, high = t.range().low, t.range().high
        own = self.rng.integers(low, high, endpoint=True, dtype=np.int64)
        codes = np.asarray(own << np.where(t.width > 0, t.lsb - t.fraction, 0))
        reset = Literal(codes, t.lsb) if self.pick([True, False]) else None
        return self.builder.state(name, t, reset)

    def close(self, state: int, x: int) -> None:
        """``state`` takes the value of ``x``, quantized where its type is another."""
        t = self.builder.type(state)
        if self.builder.type(x) != t:
            unsigned = bool((~t.signed & (t.width > 0)).any())
            try:
                x = self.builder.add(ops.Quantize(t, *self.modes(unsigned)), x)
            except GraphError:
                narrow = self.narrow(x)
                x = self.builder.add(ops.Quantize(t, *self.modes(unsigned)), narrow)
        self.builder.update(state, x)

    def delay(self, x: int, name: str) -> int:
        return machines.delay(self.builder, x, self.number(1, 3), name)

    def accumulator(self, x: int, name: str) -> int:
        state = self.register(self.shape(x), name)
        self.close(state, self.add_op(ops.Add(), state, x))
        return state

    def toggle(self, x: int, name: str) -> int:
        state = self.register(self.shape(x), name, Fixed(False, 1, 0))
        one = self.builder.add(ops.Constant(Literal(np.ones(self.shape(x), np.int64), 0)))
        total = self.builder.add(ops.Add(), state, one)
        wrapped = self.builder.add(ops.Quantize(self.builder.type(state)), total)
        self.builder.update(state, wrapped)
        return state

    def counter(self, x: int, name: str) -> int:
        """Counts, and wraps, the steps in which ``x`` is positive."""
        state = self.register(self.shape(x), name, Fixed(False, self.number(1, 5), 0))
        zero = self.builder.add(ops.Constant(Literal(np.zeros(self.shape(x), np.int64), 0)))
        high = self.add_op(ops.Compare(ops.Relation.GT), x, zero)
        total = self.builder.add(ops.Add(), state, high)
        self.builder.update(state, self.builder.add(ops.Quantize(self.builder.type(state)), total))
        return state

    def running_max(self, x: int, name: str) -> int:
        """``max(state, x) = state + relu(x - state)``"""
        state = self.register(self.shape(x), name)
        more = self.add_op(ops.Relu(), self.add_op(ops.Sub(), x, state))
        self.close(state, self.add_op(ops.Add(), state, more))
        return state

    def pedestal(self, x: int, name: str) -> int:
        if int(self.span(x)) > 12:
            x = self.narrow(x)
        width = self.number(1, 8)
        fixed = Fixed(self.pick([True, False]), width, self.number(-width, 3))
        return machines.frugal_pedestal(
            self.builder, x, TensorType.uniform(self.shape(x), fixed), None, name
        )

    def moving_sum(self, x: int, name: str) -> int:
        if int(self.span(x)) > 16:
            x = self.narrow(x)
        return machines.moving_sum(self.builder, x, self.number(1, 4), name)

    def lfsr(self, x: int, name: str) -> int:
        length = self.number(1, 6)
        taps = (length, *range(1, length, self.number(1, 3)))
        seed = self.number(1, (1 << length) - 1)
        return machines.lfsr(self.builder, taps, seed, name, self.number(1, 3))

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
            width = np.minimum(t.width - cut - clip, self.max_bits)
            signed = t.signed & (width > 0)
            target = TensorType(
                t.shape, signed, width - signed - t.fraction + cut, t.fraction - cut
            )
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
        axes = self.draw(st.sets(st.integers(0, rank - 1), min_size=1))
        return self.add_op(linear.GlobalSum(tuple(sorted(axes))), x)

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
        order = self.draw(st.permutations(range(len(self.shape(x)))))
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
        others = self.draw(st.lists(st.sampled_from(fits), max_size=2))
        return self.add_op(moves.Concat(axis), x, *others)
