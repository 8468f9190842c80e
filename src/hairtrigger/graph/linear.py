"""Ops that add up many elements: Dense, Conv, SumPool, MaxPool, GlobalSum and ArgMax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from hairtrigger.errors import GraphError
from hairtrigger.fixed import IntArray, shift_codes
from hairtrigger.graph.ops import Op, Pairs, Types, require, rescale
from hairtrigger.graph.types import MAX_SIZE, Literal, Range, Shape, TensorType

_EXACT_IN_FLOAT64 = 2.0**53


@dataclass(frozen=True)
class Dense(Op):
    """``x @ kernel + bias`` over the last axis; ``kernel`` (in, out), ``bias`` (out,) or None."""

    kernel: Literal
    bias: Literal | None = None

    def bounds(self, operands: Sequence[Range]) -> Range:
        (x,) = operands
        _check_kernel(self.kernel, self.bias, rank=2)
        require(
            len(x.shape) >= 1 and x.shape[-1] == self.kernel.shape[0],
            f"Dense with a kernel of shape {self.kernel.shape} cannot take shape {x.shape}.",
        )
        return product_bounds(x, self.kernel, self.bias)

    def evaluate(self, operands: Sequence[IntArray], types: Types, out: TensorType) -> IntArray:
        return _multiply(operands[0], types[0], self.kernel, self.bias, out)


@dataclass(frozen=True)
class Conv(Op):
    """1D or 2D convolution, channels last, as Keras defines it (a correlation).

    ``kernel``: (*window, channels in / groups, channels out); ``padding``: zeros before and after
    for each axis of the window. There is no dilation.
    """

    kernel: Literal
    bias: Literal | None
    strides: tuple[int, ...]
    padding: Pairs
    groups: int = 1

    @property
    def window(self) -> Shape:
        """Extent of the kernel along each axis of the image."""
        return self.kernel.shape[:-2]

    def out_shape(self, shape: Shape) -> Shape:
        """Shape of the result for an operand of ``shape``. Raises `GraphError`."""
        _check_kernel(self.kernel, self.bias, rank=len(shape) + 1)
        require(len(self.window) in (1, 2), f"Conv has 1 or 2 image axes, not {len(self.window)}.")
        require(
            shape[-1] == self.kernel.shape[-2] * self.groups
            and self.kernel.shape[-1] % self.groups == 0,
            f"Conv with a kernel of shape {self.kernel.shape} in {self.groups} groups cannot take "
            f"shape {shape}.",
        )
        positions = window_shape(shape[:-1], self.window, self.strides, self.padding)
        return (*positions, self.kernel.shape[-1])

    def bounds(self, operands: Sequence[Range]) -> Range:
        (x,) = operands
        out = self.out_shape(x.shape)
        index = window_index(x.shape[:-1], self.window, self.strides, self.padding)
        parts: list[Range] = []
        for group in range(self.groups):
            seen = x.map(
                lambda a, g=group: gather(a[..., _part(g, self.groups, a.shape[-1])], index, 0)
            )
            parts.append(product_bounds(seen, *self.group_weights(group), x.lsb))
        low, high, fraction = (
            np.concatenate([getattr(part, name) for part in parts], axis=-1).reshape(out)
            for name in ("low", "high", "fraction")
        )
        return Range(low, high, fraction)

    def group_weights(self, group: int) -> tuple[Literal, Literal | None]:
        """Kernel as a matrix (window * channels in, channels out) and bias of one group."""
        channels = _part(group, self.groups, self.kernel.shape[-1])
        codes = self.kernel.codes[..., channels]
        kernel = Literal(codes.reshape(-1, codes.shape[-1]), self.kernel.fraction)
        bias = self.bias and Literal(self.bias.codes[channels], self.bias.fraction)
        return kernel, bias

    def evaluate(self, operands: Sequence[IntArray], types: Types, out: TensorType) -> IntArray:
        x = np.pad(operands[0], ((0, 0), *self.padding, (0, 0)))
        axes = tuple(range(1, 1 + len(self.window)))
        steps = (slice(None), *(slice(None, None, s) for s in self.strides))
        windows = sliding_window_view(x, self.window, axis=axes)[steps]
        # (events, *positions, channels, *window) -> (events, *positions, *window, channels)
        windows = np.moveaxis(windows, len(axes) + 1, -1)
        parts: list[IntArray] = []
        for group in range(self.groups):
            seen = windows[..., _part(group, self.groups, windows.shape[-1])]
            flat = seen.reshape(*seen.shape[: len(axes) + 1], -1)
            kernel, bias = self.group_weights(group)
            parts.append(_multiply(flat, types[0], kernel, bias, out))
        return np.concatenate(parts, axis=-1)


@dataclass(frozen=True)
class SumPool(Op):
    """Sum over windows of the image axes, channel by channel; padding adds zeros."""

    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Pairs

    def bounds(self, operands: Sequence[Range]) -> Range:
        (x,) = operands
        seen = _windows(x, self, outside=0)
        lsb = x.lsb
        low, high = (_add_up(a, -1) for a in seen.at(lsb))
        fraction = np.where(seen.alive, seen.fraction, np.iinfo(np.int64).min).max(axis=-1)
        fraction = np.where(seen.alive.any(axis=-1), fraction, lsb)
        return Range(
            np.right_shift(low, lsb - fraction), np.right_shift(high, lsb - fraction), fraction
        )

    def evaluate(self, operands: Sequence[IntArray], types: Types, out: TensorType) -> IntArray:
        windows = _slide(operands[0], self, outside=0)
        axes = tuple(range(-len(self.window), 0))
        return rescale(windows.sum(axis=axes), types[0].lsb, out.lsb)


@dataclass(frozen=True)
class MaxPool(Op):
    """Maximum over windows of the image axes, channel by channel; padding is left out of it."""

    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Pairs

    def bounds(self, operands: Sequence[Range]) -> Range:
        (x,) = operands
        seen = _windows(x, self, outside=None)
        lsb = x.lsb
        low, high = x.at(lsb)
        index = _pool_index(x.shape, self)
        bottom = np.iinfo(np.int64).min
        low, high = (gather_channels(a, index, bottom).max(axis=-1) for a in (low, high))
        fraction = np.where(seen.alive, seen.fraction, np.iinfo(np.int64).min).max(axis=-1)
        fraction = np.where(seen.alive.any(axis=-1), fraction, lsb)
        return Range(
            np.right_shift(low, lsb - fraction), np.right_shift(high, lsb - fraction), fraction
        )

    def evaluate(self, operands: Sequence[IntArray], types: Types, out: TensorType) -> IntArray:
        windows = _slide(operands[0], self, outside=np.iinfo(np.int64).min)
        axes = tuple(range(-len(self.window), 0))
        return rescale(windows.max(axis=axes), types[0].lsb, out.lsb)


@dataclass(frozen=True)
class GlobalSum(Op):
    """Sum over ``axes`` (counted without the event axis), which disappear."""

    axes: tuple[int, ...]

    def bounds(self, operands: Sequence[Range]) -> Range:
        (x,) = operands
        require(
            len(set(self.axes)) == len(self.axes) > 0
            and all(0 <= axis < len(x.shape) for axis in self.axes),
            f"GlobalSum over axes {self.axes} cannot take shape {x.shape}.",
        )
        lsb = x.lsb
        low, high = (_add_up(a, self.axes) for a in x.at(lsb))
        coarsest = np.iinfo(np.int64).min
        fraction = np.where(x.alive, x.fraction, coarsest).max(axis=self.axes)
        fraction = np.where(fraction == coarsest, lsb, fraction)
        return Range(
            np.right_shift(low, lsb - fraction), np.right_shift(high, lsb - fraction), fraction
        )

    def evaluate(self, operands: Sequence[IntArray], types: Types, out: TensorType) -> IntArray:
        total = operands[0].sum(axis=tuple(axis + 1 for axis in self.axes))
        return rescale(total, types[0].lsb, out.lsb)


@dataclass(frozen=True)
class ArgMax(Op):
    """Place of the largest element along the last axis; the first of equals."""

    def bounds(self, operands: Sequence[Range]) -> Range:
        (x,) = operands
        require(len(x.shape) >= 1 and 0 not in x.shape, f"ArgMax cannot take shape {x.shape}.")
        zero = np.zeros(x.shape[:-1], dtype=np.int64)
        return Range(zero, zero + (x.low.shape[-1] - 1), zero)

    def evaluate(self, operands: Sequence[IntArray], types: Types, out: TensorType) -> IntArray:
        return operands[0].argmax(axis=-1).astype(np.int64)


# --- what they share ---------------------------------------------------------------------------


def _check_kernel(kernel: Literal, bias: Literal | None, rank: int) -> None:
    require(kernel.codes.ndim == rank, f"A kernel of shape {kernel.shape} should have rank {rank}.")
    require(
        bias is None or bias.shape == kernel.shape[-1:],
        f"A bias of shape {bias.shape if bias else None} does not fit kernel {kernel.shape}.",
    )


def _part(group: int, groups: int, channels: int) -> slice:
    size = channels // groups
    return slice(group * size, (group + 1) * size)


def _add_up(codes: IntArray, axes: int | tuple[int, ...]) -> IntArray:
    """Sum over ``axes``. Raises `GraphError` where it would not fit ``int64``."""
    reach = float(np.abs(codes.astype(np.float64)).sum(axis=axes).max(initial=0))
    if reach >= 2.0**60:
        raise GraphError(
            f"A sum of elements may need {np.log2(reach):.0f} bits; the limit is 60.",
            "Quantize the operand to fewer bits.",
        )
    return codes.sum(axis=axes)


def product_bounds(
    x: Range, kernel: Literal, bias: Literal | None, lsb_x: int | None = None
) -> Range:
    """Interval of ``x @ kernel + bias`` for independent elements, each result in its own LSB.

    ``lsb_x``: LSB that the codes of ``x`` will be given in, where it is finer than that of ``x``.
    Raises `GraphError` where a sum would need more than 60 bits.
    """
    lsb_x, w = x.lsb if lsb_x is None else lsb_x, kernel.codes
    low, high = x.at(lsb_x)
    lsb = max(lsb_x + kernel.fraction, bias.fraction if bias else -(1 << 30))
    positive, negative = np.maximum(w, 0), np.minimum(w, 0)
    reach = np.abs(low).astype(np.float64).max(initial=0) + np.abs(high).max(initial=0)
    total = (
        reach * float(np.abs(w).sum(axis=0).max(initial=0)) * 2.0 ** (lsb - lsb_x - kernel.fraction)
    )
    if bias is not None:
        total += float(np.abs(bias.codes).max()) * 2.0 ** (lsb - bias.fraction)
    if total >= 2.0**60:
        raise GraphError(
            f"A sum of products may need {np.log2(total):.0f} bits; the limit is 60.",
            "Quantize the operand or the weights to fewer bits.",
        )
    up = lsb - lsb_x - kernel.fraction
    offset = bias.at(lsb) if bias is not None else 0
    smallest = shift_codes(_matmul(low, positive) + _matmul(high, negative), up) + offset
    largest = shift_codes(_matmul(high, positive) + _matmul(low, negative), up) + offset
    # The LSB of a result is the finest of its own terms, not of the whole tensor.
    coarsest = -(1 << 30)
    f_x = np.where(x.alive, x.fraction, coarsest)
    f_w = np.where(w != 0, kernel.fractions, coarsest)
    fraction = np.stack([(f_x + f_w[:, j]).max(axis=-1) for j in range(w.shape[1])], axis=-1)
    if bias is not None:
        fraction = np.maximum(fraction, np.where(bias.codes != 0, bias.fractions, 2 * coarsest))
    fraction = np.where((smallest != 0) | (largest != 0), fraction, lsb)
    fraction = np.minimum(fraction, lsb)
    return Range(
        np.right_shift(smallest, lsb - fraction), np.right_shift(largest, lsb - fraction), fraction
    )


def _matmul(x: IntArray, w: IntArray) -> IntArray:
    """Exact integer product, through float64 where that carries every partial sum."""
    reach = float(np.abs(x).max(initial=0)) * float(np.abs(w).sum(axis=0).max(initial=0))
    if reach < _EXACT_IN_FLOAT64:
        return (x.astype(np.float64) @ w.astype(np.float64)).astype(np.int64)
    return x @ w


def _multiply(
    x: IntArray, x_type: TensorType, kernel: Literal, bias: Literal | None, out: TensorType
) -> IntArray:
    lsb = x_type.lsb + kernel.fraction
    total = _matmul(x, kernel.codes)
    if bias is None:
        return rescale(total, lsb, out.lsb)
    fine = max(lsb, bias.fraction)
    return rescale(rescale(total, lsb, fine) + bias.at(fine), fine, out.lsb)


def window_shape(image: Shape, window: Shape, strides: tuple[int, ...], padding: Pairs) -> Shape:
    """Window positions along each axis. Raises `GraphError` for windows that never fit."""
    require(
        len(image) == len(window) == len(strides) == len(padding) > 0,
        f"Window {window}, strides {strides} and padding {padding} do not fit image axes {image}.",
    )
    require(
        all(s >= 1 for s in strides)
        and all(w >= 1 for w in window)
        and all(min(pair) >= 0 for pair in padding),
        f"Window {window} and strides {strides} must be positive, padding {padding} not negative.",
    )
    room = tuple(n + sum(p) - w for n, w, p in zip(image, window, padding, strict=True))
    require(
        all(r >= 0 for r in room),
        f"A window of {window} does not fit image {image} with padding {padding}.",
    )
    padded = prod(n + sum(p) for n, p in zip(image, padding, strict=True))
    require(padded <= MAX_SIZE, f"Padding {padding} gives {padded} pixels.")
    return tuple(r // s + 1 for r, s in zip(room, strides, strict=True))


def window_index(image: Shape, window: Shape, strides: tuple[int, ...], padding: Pairs) -> IntArray:
    """Flat pixel under each window element: (*positions, prod(window)), -1 outside the image."""
    positions = window_shape(image, window, strides, padding)
    flat = np.pad(np.arange(np.prod(image)).reshape(image), padding, constant_values=-1)
    views = sliding_window_view(flat, window)[tuple(slice(None, None, s) for s in strides)]
    return views.reshape(*positions, -1).astype(np.int64)


def gather(x: IntArray, index: IntArray, outside: int) -> IntArray:
    """Elements of ``x`` (*image, channels) under each window: (*positions, window * channels)."""
    flat = x.reshape(-1, x.shape[-1])
    flat = np.concatenate([flat, np.full((1, x.shape[-1]), outside, dtype=x.dtype)])
    return flat[index].reshape(*index.shape[:-1], -1)


def gather_channels(x: IntArray, index: IntArray, outside: int) -> IntArray:
    """As `gather`, channel by channel: (*positions, channels, window)."""
    flat = x.reshape(-1, x.shape[-1])
    flat = np.concatenate([flat, np.full((1, x.shape[-1]), outside, dtype=x.dtype)])
    return np.moveaxis(flat[index], -1, -2)


def _pool_index(shape: Shape, pool: SumPool | MaxPool) -> IntArray:
    return window_index(shape[:-1], pool.window, pool.strides, pool.padding)


def _windows(x: Range, pool: SumPool | MaxPool, outside: int | None) -> Range:
    """Range of what each window sees, elements of a window last."""
    index = _pool_index(x.shape, pool)
    require(
        outside is not None or bool((index >= 0).any(axis=-1).all()),
        f"A MaxPool window of {pool.window} lies wholly in the padding {pool.padding}.",
    )
    return x.map(lambda a: gather_channels(a, index, 0))


def _slide(x: IntArray, pool: SumPool | MaxPool, outside: int) -> IntArray:
    padded = np.pad(x, ((0, 0), *pool.padding, (0, 0)), constant_values=outside)
    axes = tuple(range(1, 1 + len(pool.window)))
    steps = (slice(None), *(slice(None, None, s) for s in pool.strides))
    return sliding_window_view(padded, pool.window, axis=axes)[steps]
