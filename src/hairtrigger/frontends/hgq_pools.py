"""Pooling layers of HGQ2 and Keras: maxima, and sums with a factor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hairtrigger.frontends.hgq_tables import Function
from hairtrigger.frontends.hgq_wires import Net, Wire
from hairtrigger.graph import Literal
from hairtrigger.graph.linear import GlobalSum, MaxPool, SumPool, window_index
from hairtrigger.graph.ops import Mul, Pairs


def pool_padding(
    padding: str, image: tuple[int, ...], window: tuple[int, ...], strides: tuple[int, ...]
) -> Pairs:
    """Places before and after along each image axis for "valid" and "same", as Keras has them."""
    if padding == "valid":
        return tuple((0, 0) for _ in image)
    room = [
        max((math.ceil(n / s) - 1) * s + w - n, 0)
        for n, w, s in zip(image, window, strides, strict=True)
    ]
    return tuple((r // 2, r - r // 2) for r in room)


def max_pool(net: Net, layer: Any, x: Wire) -> Wire:
    """Q/MaxPooling1D, 2D."""
    window, strides = tuple(layer.pool_size), tuple(layer.strides)
    padding = pool_padding(layer.padding, net.shape(x)[:-1], window, strides)
    return net.add(MaxPool(window, strides, padding), x)


def average_pool(net: Net, layer: Any, x: Wire) -> Wire:
    """Q/AveragePooling1D, 2D: a sum, divided by the number of elements inside the image."""
    window, strides = tuple(layer.pool_size), tuple(layer.strides)
    image = net.shape(x)[:-1]
    padding = pool_padding(layer.padding, image, window, strides)
    total = net.add(SumPool(window, strides, padding), x)
    inside = (window_index(image, window, strides, padding) >= 0).sum(axis=-1)
    counts = np.unique(inside)
    if all(_is_power(n) for n in counts):
        if len(counts) == 1:
            return net.scale(total, 1 - int(counts[0]).bit_length())
        factors = Literal.exact(1.0 / inside[..., None])
        return net.add(Mul(), total, net.constant(factors))
    if layer.padding == "same":
        net.fail(
            f"with padding 'same' it divides by {', '.join(map(str, counts))}, not all of them "
            "powers of two, so its averages lie on no binary grid.",
            "Use padding='valid', or a window whose counts are powers of two.",
        )
    return _divided(total, math.prod(window))


def global_max(net: Net, layer: Any, x: Wire) -> Wire:
    """Q/GlobalMaxPooling1D, 2D."""
    image = net.shape(x)[:-1]
    largest = net.add(MaxPool(image, image, tuple((0, 0) for _ in image)), x)
    return largest if layer.keepdims else net.reshape(largest, net.shape(x)[-1:])


def global_average(net: Net, layer: Any, x: Wire) -> Wire:
    """Q/GlobalAveragePooling1D, 2D."""
    image, channels = net.shape(x)[:-1], net.shape(x)[-1:]
    total = net.add(GlobalSum(tuple(range(len(image)))), x)
    if layer.keepdims:
        total = net.reshape(total, (1,) * len(image) + channels)
    count = math.prod(image)
    if _is_power(count):
        return net.scale(total, 1 - count.bit_length())
    return _divided(total, count)


def _divided(total: Wire, count: int) -> Wire:
    """The sum, still to be divided in float32; the next quantizer makes a table of it."""

    return Wire(total.place, function=Function(f"a division by {count}", lambda x: x / count))


def _is_power(count: int) -> bool:
    return int(count).bit_count() == 1


_POOLS: dict[str, Callable[..., Wire]] = {
    "MaxPooling1D": max_pool,
    "MaxPooling2D": max_pool,
    "AveragePooling1D": average_pool,
    "AveragePooling2D": average_pool,
    "GlobalMaxPooling1D": global_max,
    "GlobalMaxPooling2D": global_max,
    "GlobalAveragePooling1D": global_average,
    "GlobalAveragePooling2D": global_average,
}

CONVERTERS: dict[str, Callable[..., Wire]] = {
    **{f"hgq.Q{name}": step for name, step in _POOLS.items()},
    **{f"keras.layers.{name}": step for name, step in _POOLS.items()},
}
