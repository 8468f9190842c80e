"""What a Graph becomes before it is laid out in memory: kernels, and the elements they work on."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray

from hairtrigger.cpp.body import Body, Value

Ints = NDArray[np.int64]


@dataclass
class Tensor:
    """Elements ``first`` to ``first + size`` that lie in memory, of a node of ``shape``."""

    first: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return prod(self.shape)


@dataclass
class Kernel:
    """A body and the elements that it reads and writes: one row for each position.

    ``reads`` (rows, loads of the body), ``writes`` (rows, ``outputs``). A read of element 0 is a
    zero that must come from memory, since other rows read an element there.
    """

    body: Body
    reads: Ints
    writes: Ints
    outputs: list[Value]
    label: str
    ages: Ints | None = None


@dataclass(frozen=True)
class Held:
    """Where a register lies: ``elements`` as they were ``age`` steps ago; 0 for constants."""

    elements: Ints
    age: int


@dataclass
class Program:
    """All kernels in order, and for each element its interval and fraction.

    ``inputs``: tensors of the Inputs; ``outputs``: elements of the outputs; ``held``: registers.
    """

    name: str
    tensors: list[Tensor] = field(default_factory=list[Tensor])
    kernels: list[Kernel] = field(default_factory=list[Kernel])
    inputs: list[Tensor] = field(default_factory=list[Tensor])
    outputs: list[Ints] = field(default_factory=list[Ints])
    held: list[Held] = field(default_factory=list[Held])
    low: Ints = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    high: Ints = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    fraction: Ints = field(default_factory=lambda: np.zeros(1, dtype=np.int64))

    @property
    def steps(self) -> int:
        """Lines of all bodies times the positions that they run at."""
        return sum(len(k.body.live(k.outputs)) * len(k.reads) for k in self.kernels)

    @property
    def lines(self) -> int:
        """Lines of all bodies."""
        return sum(len(k.body.lines) for k in self.kernels)
