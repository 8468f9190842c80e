"""The sheet that an ONNX model is written on: nodes, constants, and tensors in the making."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.fixed import IntArray
from hairtrigger.graph.types import Literal, Shape

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor in the making. What the model holds is its real number times ``2**scale``.

    Powers of two are free of rounding, so they are carried along and multiplied in only where an
    op needs another scale than it finds; weights and rounding take most of them for nothing.

    ``shape``: that of the node, without the event axis; ``scale``: one number, or one for each
    element. ``first``: the model holds channels before image axes. ``order``: a flat tensor whose
    element ``n`` is element ``order[n]`` of the node's. ``half``: half an LSB for the rounding
    that follows is added already. ``constant``: it is no tensor yet but these numbers.
    """

    name: str
    shape: Shape
    scale: IntArray
    first: bool = False
    order: IntArray | None = None
    half: bool = False
    constant: Literal | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    def lay(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array that broadcasts to the node's, as the model stores this value; with events."""
        if self.first and array.ndim:
            array = np.moveaxis(array, -1, 0)
        if self.order is not None and array.ndim and array.shape[-1] > 1:
            array = array[self.order]
        return array[None] if array.ndim else array


def compact(scale: IntArray) -> IntArray:
    """One number where all elements have the same scale."""
    if scale.ndim and scale.size and (scale == scale.flat[0]).all():
        return np.asarray(scale.flat[0])
    return scale if scale.size else np.asarray(0)


def by_channel(array: NDArray[Any]) -> NDArray[Any] | None:
    """The values along the last axis where they are the same for all others, else None."""
    if array.ndim == 0:
        return array
    rows = array.reshape(-1, array.shape[-1])
    return rows[0] if len(rows) and bool((rows == rows[:1]).all()) else None


class Sheet:
    """Collects nodes and constants; all names are its own or reserved before.

    ``real``: the floating-point type that carries the numbers. ``products``: convolutions are
    matrix products over gathered windows; always so in float64, for which ONNX Runtime has no
    Conv. ``rounds``: a Quantize rounds; without, it only keeps to its range.
    """

    def __init__(
        self,
        real: type[np.floating[Any]],
        reserved: set[str],
        *,
        products: bool = False,
        rounds: bool = True,
    ) -> None:
        self.real = real
        self.products = products or real is np.float64
        self.rounds = rounds
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[tuple[Any, ...], tuple[str, NDArray[Any]]] = {}
        self._names = set(reserved)
        self._events = ""
        self.where = ""

    def name(self, stem: str) -> str:
        """A name that is not taken yet."""
        found, n = stem, 1
        while found in self._names:
            found, n = f"{stem}_{n}", n + 1
        self._names.add(found)
        return found

    def put(self, op: str, *operands: str, **attributes: Any) -> str:
        """Append a node with one result; returns its name."""
        from onnx import helper

        result = self.name(f"{self.where}.{op}")
        self.nodes.append(helper.make_node(op, list(operands), [result], result, **attributes))
        return result

    def array(self, array: NDArray[Any]) -> str:
        """Name of a constant; equal ones are stored once."""
        array = np.asarray(array, order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.constants:
            self.constants[key] = (self.name(f"constant{len(self.constants)}"), array)
        return self.constants[key][0]

    def number(self, array: Any) -> str:
        """Name of a constant of the floating-point type."""
        return self.array(np.asarray(array, dtype=self.real))

    def integers(self, *numbers: int) -> str:
        """Name of a list of integers (axes, shapes)."""
        return self.array(np.asarray(numbers, dtype=np.int64))

    def cast(self, name: str, dtype: Any) -> str:
        from onnx import helper

        return self.put("Cast", name, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def events_of(self, name: str) -> None:
        """Say which tensor has as many events as all."""
        self._events = name

    # --- scale and layout ------------------------------------------------------------------------

    def times(self, value: Value, factor: NDArray[np.float64]) -> str:
        """``value`` times factors that broadcast to the node's shape; nothing for all ones."""
        if (factor == 1).all():
            return value.name
        return self.put("Mul", value.name, self.number(value.lay(factor)))

    def scaled(self, value: Value, scale: IntArray) -> Value:
        """The same numbers at another scale."""
        if value.constant is not None:
            return replace(value, scale=scale)
        name = self.times(value, np.ldexp(1.0, scale - value.scale))
        return replace(value, name=name, scale=scale)

    def uniform(self, value: Value, lsb: int) -> Value:
        """With one scale for all elements: its own if it is such, else that of ``lsb``."""
        return value if value.scale.ndim == 0 else self.scaled(value, np.asarray(lsb))

    def by_channel(self, value: Value, lsb: int) -> tuple[Value, IntArray]:
        """With one scale for each channel at most; the value, and those scales."""
        scale = by_channel(value.scale)
        if scale is None:
            value = self.uniform(value, lsb)
            scale = value.scale
        return value, scale

    def plain(self, value: Value) -> Value:
        """Stored as the node has it: channels last, in order."""
        if value.first:
            rank = len(value.shape)
            order = (0, *range(2, rank + 1), 1)
            name = self._transpose(value, value.shape, order)
        elif value.order is not None:
            back = self.array(np.argsort(value.order))
            name = self.put("Gather", value.name, back, axis=1)
        else:
            return value
        return replace(value, name=name, first=False, order=None)

    def channels_first(self, value: Value) -> Value:
        """Stored with channels before image axes."""
        if value.first:
            return value
        value = self.plain(value)
        rank = len(value.shape)
        stored = (value.shape[-1], *value.shape[:-1])
        name = self._transpose(value, stored, (0, rank, *range(1, rank)))
        return replace(value, name=name, first=True)

    def _transpose(self, value: Value, stored: Shape, order: tuple[int, ...]) -> str:
        if 1 in (value.shape[-1], int(np.prod(value.shape[:-1]))):  # nothing moves in memory
            return self.reshape(value.name, stored)
        return self.put("Transpose", value.name, perm=order)

    def reshape(self, name: str, shape: Shape) -> str:
        return self.put("Reshape", name, self.integers(-1, *shape))

    def like(self, value: Value, other: Value) -> Value:
        """Stored as ``other``, which has the same rank; constants become tensors."""
        if value.constant is not None:
            numbers = np.ldexp(value.constant.values, value.scale)
            name = self.number(other.lay(numbers))
            return replace(value, name=name, first=other.first, order=other.order, constant=None)
        if other.first:
            return self.channels_first(value)
        return value if value.order is other.order else self.plain(value)

    def tensor(self, value: Value) -> Value:
        """A constant as a tensor with one copy for each event; others as they are."""
        if value.constant is None:
            return value
        one = self.number(np.ldexp(value.constant.values, value.scale)[None])
        events = self.put("Shape", self._events, start=0, end=1)
        shape = self.put("Concat", events, self.integers(*value.shape), axis=0)
        return replace(value, name=self.put("Expand", one, shape), constant=None)
