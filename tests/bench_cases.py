"""A small network, and an engine whose times are known, for the tests of the bench."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from hairtrigger.bench.engines import SLICES
from hairtrigger.bench.inputs import Codes
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, linear, ops
from hairtrigger.graph.emulate import emulate_codes


def network(sizes: tuple[int, ...] = (6, 5, 2), seed: int = 1) -> Graph:
    """Dense layers with random weights."""
    rng = np.random.default_rng(seed)
    builder = Builder("small")
    x = builder.add(ops.Input("x", TensorType.uniform((sizes[0],), Fixed(True, 2, 3))))
    for n, m in pairwise(sizes):
        x = builder.add(linear.Dense(Literal(rng.integers(-4, 5, (n, m)), 2)), x)
        x = builder.add(ops.Relu(), x)
        form = TensorType.uniform((m,), Fixed(False, 3, 2))
        x = builder.add(ops.Quantize(form, Rounding.RND, Overflow.SAT), x)
    return builder.build({"y": x})


class FakeClock:
    """Time that only moves where somebody says so."""

    def __init__(self) -> None:
        self.time = 0

    def now(self) -> int:
        return self.time

    def wait(self, until: int) -> None:
        self.time = max(self.time, until)


class FakeEngine:
    """The emulator's answers, off by ``wrong`` in event 3, in a time that is known: ``each`` ns an
    event and ``base`` a call, on a `FakeClock`."""

    name, device, words = "fake", "CPU", "fake 1"
    transfers: tuple[str, ...] = ("",)
    batches: tuple[int, ...] | None = None

    def __init__(self, graph: Graph, clock: FakeClock, base: int, each: int, wrong: int = 0):
        self.graph, self.clock = graph, clock
        self.base, self.each, self.wrong = base, each, wrong
        self.closed = False
        self.calls = 0

    def run(self, codes: Codes) -> Codes:
        found = tuple(x.copy() for x in emulate_codes(self.graph, codes))
        found[0][3, 0] += self.wrong
        return found

    def ways(self, threads: int) -> tuple[str, ...]:
        return (SLICES,)

    def bind(self, codes: Codes, threads: int, way: str = SLICES, transfers: str = ""):
        spent = self.base + self.each * -(-len(codes[0]) // threads)
        if transfers == "with":
            spent += self.base

        def call() -> None:
            self.calls += 1
            self.clock.time += spent

        return call

    def floor(self):
        def call() -> None:
            self.clock.time += self.base

        return call

    def close(self) -> None:
        self.closed = True
