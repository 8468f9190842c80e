"""Ops that only move elements: Concat, Reshape, Transpose, Pad, Crop. In a chip: wires."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from hairtrigger.fixed import IntArray
from hairtrigger.graph.ops import Op, Pairs, Types, require, rescale
from hairtrigger.graph.types import MAX_SIZE, Range, Shape, TensorType

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Move(Op):
    """Base of the ops with one operand that move elements."""

    def check(self, shape: Shape) -> None:
        """Raise `GraphError` where an operand of ``shape`` does not fit."""

    def move(self, x: NDArray[Scalar], shape: Shape) -> NDArray[Scalar]:
        """The same elements of ``x`` (events, *shape), or zeros, at their new places."""
        raise NotImplementedError(type(self).__name__)

    def bounds(self, operands: Sequence[Range]) -> Range:
        (x,) = operands
        self.check(x.shape)
        return x.map(lambda a: self.move(a[None], x.shape)[0])

    def infer(self, operands: Types) -> TensorType:
        (x,) = operands
        self.check(x.shape)
        k, i, f = (self.move(a[None], x.shape)[0] for a in (x.signed, x.integer, x.fraction))
        return TensorType(k.shape, k, i, f)

    def evaluate(self, operands: Sequence[IntArray], types: Types, out: TensorType) -> IntArray:
        return rescale(self.move(operands[0], types[0].shape), types[0].lsb, out.lsb)


@dataclass(frozen=True)
class Reshape(Move):
    """The same elements, in row-major order, in another shape."""

    shape: Shape

    def check(self, shape: Shape) -> None:
        require(
            prod(shape) == prod(self.shape) and all(n >= 0 for n in self.shape),
            f"Reshape to {self.shape} cannot take shape {shape}.",
        )

    def move(self, x: NDArray[Scalar], shape: Shape) -> NDArray[Scalar]:
        return x.reshape(len(x), *self.shape)


@dataclass(frozen=True)
class Transpose(Move):
    """Axis ``n`` of the result is axis ``order[n]`` of the operand (no event axis)."""

    order: tuple[int, ...]

    def check(self, shape: Shape) -> None:
        require(
            sorted(self.order) == list(range(len(shape))),
            f"Transpose by {self.order} cannot take shape {shape}.",
        )

    def move(self, x: NDArray[Scalar], shape: Shape) -> NDArray[Scalar]:
        return x.transpose(0, *(axis + 1 for axis in self.order))


@dataclass(frozen=True)
class Pad(Move):
    """Zeros before and after along each axis."""

    padding: Pairs

    def check(self, shape: Shape) -> None:
        require(
            len(self.padding) == len(shape) and all(min(pair) >= 0 for pair in self.padding),
            f"Pad by {self.padding} cannot take shape {shape}.",
        )
        padded = prod(n + sum(pair) for n, pair in zip(shape, self.padding, strict=True))
        require(padded <= MAX_SIZE, f"Pad by {self.padding} gives {padded} elements.")

    def move(self, x: NDArray[Scalar], shape: Shape) -> NDArray[Scalar]:
        return np.pad(x, ((0, 0), *self.padding))


@dataclass(frozen=True)
class Crop(Move):
    """Elements taken away before and after along each axis."""

    cropping: Pairs

    def check(self, shape: Shape) -> None:
        require(
            len(self.cropping) == len(shape)
            and all(min(c) >= 0 and sum(c) <= n for c, n in zip(self.cropping, shape, strict=True)),
            f"Crop by {self.cropping} cannot take shape {shape}.",
        )

    def move(self, x: NDArray[Scalar], shape: Shape) -> NDArray[Scalar]:
        keep = (slice(a, n - b) for (a, b), n in zip(self.cropping, shape, strict=True))
        return x[(slice(None), *keep)]


@dataclass(frozen=True)
class Concat(Op):
    """Operands behind each other along ``axis`` (no event axis)."""

    arity: ClassVar[int | None] = None
    axis: int

    def _check(self, shapes: Sequence[Shape]) -> None:
        rests = {(*shape[: self.axis], *shape[self.axis + 1 :]) for shape in shapes}
        require(
            len(rests) == 1 and all(0 <= self.axis < len(shape) for shape in shapes),
            f"Concat along axis {self.axis} cannot take shapes {list(shapes)}.",
        )

    def bounds(self, operands: Sequence[Range]) -> Range:
        self._check([x.shape for x in operands])
        low, high, fraction = (
            np.concatenate([getattr(x, name) for x in operands], axis=self.axis)
            for name in ("low", "high", "fraction")
        )
        return Range(low, high, fraction)

    def infer(self, operands: Types) -> TensorType:
        self._check([x.shape for x in operands])
        k, i, f = (
            np.concatenate([getattr(x, name) for x in operands], axis=self.axis)
            for name in ("signed", "integer", "fraction")
        )
        return TensorType(k.shape, k, i, f)

    def evaluate(self, operands: Sequence[IntArray], types: Types, out: TensorType) -> IntArray:
        parts = [rescale(x, t.lsb, out.lsb) for x, t in zip(operands, types, strict=True)]
        (events,) = np.broadcast_shapes(*((len(part),) for part in parts))
        parts = [np.broadcast_to(part, (events, *part.shape[1:])) for part in parts]
        return np.concatenate(parts, axis=self.axis + 1)
