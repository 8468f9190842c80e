"""Random well-typed Graphs for the fuzzer and the tests, and events for them."""

from __future__ import annotations

import numpy as np

from hairtrigger.errors import GraphError
from hairtrigger.fixed import Fixed, IntArray
from hairtrigger.fuzz.make_ops import Choices, OpMaker, Seeded
from hairtrigger.graph import Graph, Literal, TensorType, coins, linear, machines, ops
from hairtrigger.graph.stimulus import extreme_codes, join_events, random_codes

KINDS = ("mlp", "cnn", "any", "image", "stateful")
"""What `random_graph` can make: see there."""

MAX_ELEMENTS = 96
"""No tensor of a random Graph has more elements, window elements of convolutions apart."""

MAX_BITS = 24


def random_graph(
    choices: Choices | int, kind: str = "any", max_ops: int = 10, max_bits: int = MAX_BITS
) -> Graph:
    """A random Graph, the same for the same choices (or seed).

    ``kind``: "mlp" and "cnn" are networks of layers, "any" is any DAG of ops, "image" is a
    convolutional network with one format for each channel, as folded designs want it; these are
    pure. "stateful" is any DAG of ops with registers in it. ``max_ops``: most layers or ops (each
    may take a few nodes more); ``max_bits``: widest Input and Quantize format.
    """
    if isinstance(choices, int):
        choices = Seeded(choices)
    maker = Maker(choices, max_bits, MAX_ELEMENTS)
    shapes = {
        "mlp": maker.mlp,
        "cnn": maker.cnn,
        "any": maker.any,
        "image": maker.image_network,
        "stateful": maker.stateful,
    }
    shapes[kind](choices.number(1, max_ops))
    return maker.finish()


def random_events(graph: Graph, events: int, seed: int) -> tuple[IntArray, ...]:
    """In-range codes of ``events`` events: up to half of them adversarial, the others random."""
    extreme = extreme_codes(graph)
    if not extreme:
        return ()
    places = np.linspace(0, len(extreme[0]) - 1, max(1, min(events // 2, len(extreme[0]))))
    chosen = tuple(x[places.astype(int)][:events] for x in extreme)
    return join_events([chosen, random_codes(graph, events - len(chosen[0]), seed)])


class Maker(OpMaker):
    """Builds one random Graph of a kind."""

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

    def image_network(self, depth: int) -> None:
        """Convolutions and pools on an image, some paths added up, and a head."""
        self.by_channel = True
        self.max_elements = 4 * MAX_ELEMENTS
        rank = self.number(1, 2)
        sizes = [self.number(2, 6), self.number(4, 16)][-rank:]
        x = self.input("x", (*sizes, self.number(1, 3)))
        for _ in range(depth):
            layer = self.pick([self.conv, self.conv, self.maxpool, self.sumpool, self.residual])
            x = self.quantize(self.pick([self.relu, self.scale, self.shift])(layer(x)))
        x = self.pick([self.flatten, self.flatten, self.globalsum])(x)
        self.dense(self.quantize(x))

    def residual(self, x: int) -> int:
        """A convolution that keeps the image's size, added to what goes into it."""
        *image, channels = self.shape(x)
        window = [self.pick([1, 3]) for _ in image]
        kernel = self.literal((*window, channels, channels))
        same = tuple((w // 2, w // 2) for w in window)
        op = linear.Conv(kernel, self.bias(channels), (1,) * len(image), same)
        return self.add_op(ops.Add(), x, self.add_op(op, x))

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
        *("lfsr", "coin"),
    )

    def finish(self) -> Graph:
        last = len(self.builder.nodes) - 1
        # Other outputs leave some nodes dead and give others a second reader.
        others = [self.number(0, last) for _ in range(self.number(0, 2))]
        return self.builder.build([last, *others])

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

    def coin(self, x: int, name: str) -> int:
        if int(self.span(x)) > 10:
            x = self.narrow(x)
        bits = self.number(1, 3)
        seed = self.number(1, 127)
        shared = self.builder.type(x).size > 2
        generator = coins.Generator((7, 6), bits, self.number(1, 8), seed, shared)
        draws = self.pick([1, 2])
        fold = self.pick(["logit", "word", None])
        return coins.bernoulli(self.builder, x, generator, draws=draws, fold=fold, name=name)
