"""Where an op stands: for each place the elements that it reads there and those that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from hairtrigger.errors import UnsupportedError
from hairtrigger.fixed import IntArray
from hairtrigger.graph import linear, ops
from hairtrigger.graph.graph import Node
from hairtrigger.graph.types import Shape


@dataclass(frozen=True)
class Positions:
    """All places of an op, in the order of its result.

    ``inputs`` (positions, reads): flat elements of the operands, those of the second operand behind
    those of the first; -1 is a zero of the padding. ``outputs`` (positions, made): flat elements of
    the result. ``group`` (positions,): of a grouped convolution.
    """

    inputs: IntArray
    outputs: IntArray
    group: IntArray

    @classmethod
    def of(cls, node: Node, shapes: Sequence[Shape]) -> Positions:
        """Positions of a node over operands of ``shapes``. Raises `UnsupportedError`."""
        op, shape = node.op, node.type.shape
        made = np.arange(prod(shape)).reshape(shape)
        match op:
            case linear.Dense():
                return cls._plain(_rows(shapes[0]), made.reshape(-1, shape[-1]))
            case linear.Conv():
                return _convolution(op, shapes[0], made)
            case linear.SumPool() | linear.MaxPool():
                return _pool(op, shapes[0], made)
            case ops.Relu() | ops.Quantize() | ops.Table():
                return cls._plain(made.reshape(-1, 1), made.reshape(-1, 1))
            case ops.Add() | ops.Sub() | ops.Mul() | ops.Compare():
                first, second = (np.arange(prod(s)).reshape(s) for s in shapes)
                pairs = np.broadcast_arrays(first, second + first.size)
                return cls._plain(np.stack([a.ravel() for a in pairs], axis=1), made.reshape(-1, 1))
            case linear.GlobalSum():
                seen = np.arange(prod(shapes[0])).reshape(shapes[0])
                kept = [n for n in range(seen.ndim) if n not in op.axes]
                seen = seen.transpose(*kept, *op.axes).reshape(made.size, -1)
                return cls._plain(seen, made.reshape(-1, 1))
            case linear.ArgMax():
                return cls._plain(_rows(shapes[0]), made.reshape(-1, 1))
            case _:
                raise UnsupportedError(
                    f"{type(op).__name__} {node.label!r} has no lowering to cells.",
                    "Add one in hairtrigger/rtl/lower.py; see docs/add_an_op.md.",
                )

    @classmethod
    def _plain(cls, inputs: IntArray, outputs: IntArray) -> Positions:
        return cls(inputs, outputs, np.zeros(len(inputs), dtype=np.int64))


def _rows(shape: Shape) -> IntArray:
    return np.arange(prod(shape)).reshape(-1, shape[-1])


def _convolution(op: linear.Conv, shape: Shape, made: IntArray) -> Positions:
    index = linear.window_index(shape[:-1], op.window, op.strides, op.padding)
    index = index.reshape(-1, index.shape[-1])
    size_in, size_out = shape[-1] // op.groups, made.shape[-1] // op.groups
    inputs: list[IntArray] = []
    outputs: list[IntArray] = []
    for group in range(op.groups):
        channels = np.arange(group * size_in, (group + 1) * size_in)
        seen = index[:, :, None] * shape[-1] + channels
        inputs.append(np.where(index[:, :, None] < 0, -1, seen).reshape(len(index), -1))
        part = made[..., group * size_out : (group + 1) * size_out]
        outputs.append(part.reshape(-1, size_out))
    groups = np.repeat(np.arange(op.groups), len(index))
    return Positions(np.concatenate(inputs), np.concatenate(outputs), groups)


def _pool(op: linear.SumPool | linear.MaxPool, shape: Shape, made: IntArray) -> Positions:
    index = linear.window_index(shape[:-1], op.window, op.strides, op.padding)
    index = index.reshape(-1, index.shape[-1])
    if isinstance(op, linear.MaxPool):
        # Padding is no candidate: another element of the window, seen twice, changes nothing.
        some = np.take_along_axis(index, (index >= 0).argmax(axis=1)[:, None], axis=1)
        index = np.where(index < 0, some, index)
    channels = np.arange(shape[-1])
    seen = index[:, None, :] * shape[-1] + channels[:, None]
    seen = np.where(index[:, None, :] < 0, -1, seen).reshape(-1, index.shape[1])
    outputs = made.reshape(-1, 1)
    return Positions(seen, outputs, np.zeros(len(seen), dtype=np.int64))
