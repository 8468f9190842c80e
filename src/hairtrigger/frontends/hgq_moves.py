"""Layers and operations that only move elements, and those that do nothing in inference."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from hairtrigger.frontends.hgq_wires import Net, Wire
from hairtrigger.graph.moves import Crop, Pad, Transpose


def same(net: Net, layer: Any, x: Wire) -> Wire:
    """Dropout, noise and the like: nothing in inference."""
    return x


def flatten(net: Net, layer: Any, x: Wire) -> Wire:
    """Flatten."""
    return net.reshape(x, (math.prod(net.shape(x)),))


def reshape(net: Net, layer: Any, x: Wire) -> Wire:
    """Reshape layer and operation; one length may be -1."""
    target = layer.target_shape if hasattr(layer, "target_shape") else layer.newshape[1:]
    known = math.prod(n for n in target if n != -1)
    rest = math.prod(net.shape(x)) // max(known, 1)
    return net.reshape(x, tuple(rest if n == -1 else int(n) for n in target))


def permute(net: Net, layer: Any, x: Wire) -> Wire:
    """Permute, whose axes count from 1."""
    return net.move(Transpose(tuple(axis - 1 for axis in layer.dims)), x)


def transpose(net: Net, op: Any, x: Wire) -> Wire:
    """keras.ops.transpose; the event axis has to stay first."""
    axes = op.axes or tuple(reversed(range(len(net.shape(x)) + 1)))
    if axes[0] != 0:
        net.fail(f"it moves the event axis: {axes}.", "Keep axis 0 first.")
    return net.move(Transpose(tuple(axis - 1 for axis in axes[1:])), x)


def zero_padding(net: Net, layer: Any, x: Wire) -> Wire:
    """ZeroPadding1D, 2D."""
    return net.move(Pad((*_pairs(layer.padding), (0, 0))), x)


def cropping(net: Net, layer: Any, x: Wire) -> Wire:
    """Cropping1D, 2D."""
    return net.move(Crop((*_pairs(layer.cropping), (0, 0))), x)


def _pairs(pairs: Any) -> tuple[tuple[int, int], ...]:
    """1D layers store one pair, 2D layers a pair of pairs."""
    if isinstance(pairs[0], int):
        return ((int(pairs[0]), int(pairs[1])),)
    return tuple((int(a), int(b)) for a, b in pairs)


def concatenate(net: Net, layer: Any, wires: list[Wire]) -> Wire:
    """Concatenate layer and operation."""
    rank = len(net.shape(wires[0])) + 1
    axis = layer.axis % rank
    if axis == 0:
        net.fail("it concatenates along the event axis.", "Concatenate along another axis.")
    return net.concat(wires, axis - 1)


def repeat_vector(net: Net, layer: Any, x: Wire) -> Wire:
    """RepeatVector: (features,) to (n, features)."""
    return net.repeat(net.reshape(x, (1, *net.shape(x))), layer.n, 0)


def get_item(net: Net, op: Any, x: Wire, key: Any) -> Wire:
    """``x[:, 3:5, 0]``: slices without a step, and single places."""
    shape = net.shape(x)
    keys = list(key) if isinstance(key, (tuple, list)) else [key]
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (len(shape) + 2 - len(keys))
    if not keys or keys[0] != slice(None) or len(keys) > len(shape) + 1:
        net.fail(f"it takes {key!r}.", "Keep all events: x[:, ...].")
    cropped: list[tuple[int, int]] = [(0, 0)] * len(shape)
    kept: list[int] = []
    for axis, size in enumerate(shape):
        item = keys[axis + 1] if axis + 1 < len(keys) else slice(None)
        if isinstance(item, int):
            start, stop = item % size, item % size + 1
        elif isinstance(item, slice) and item.step in (None, 1):
            start, stop, _ = item.indices(size)
            kept.append(max(stop - start, 0))
        else:
            net.fail(
                f"it takes {item!r}; only slices without a step and whole numbers are known.",
                "Take the elements one by one and concatenate them.",
            )
        cropped[axis] = (start, size - max(stop, start))
    return net.reshape(net.move(Crop(tuple(cropped)), x), tuple(kept))


def squeeze(net: Net, op: Any, x: Wire) -> Wire:
    """keras.ops.squeeze."""
    shape = (1, *net.shape(x))
    axes = op.axis if isinstance(op.axis, (tuple, list)) else (op.axis,)
    gone = {axis % len(shape) for axis in axes if axis is not None}
    if op.axis is None:
        gone = {n for n, size in enumerate(shape) if n and size == 1}
    return net.reshape(x, tuple(s for n, s in enumerate(shape) if n and n not in gone))


def expand_dims(net: Net, op: Any, x: Wire) -> Wire:
    """keras.ops.expand_dims."""
    shape = list(net.shape(x))
    axis = op.axis if isinstance(op.axis, int) else op.axis[0]
    axis %= len(shape) + 2
    return net.reshape(x, (*shape[: axis - 1], 1, *shape[axis - 1 :]))


_NOTHING = (
    "Dropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "ActivityRegularization",
    "Identity",
)

CONVERTERS: dict[str, Callable[..., Wire]] = {
    **{f"keras.layers.{name}": same for name in _NOTHING},
    "keras.layers.Flatten": flatten,
    "keras.layers.Reshape": reshape,
    "keras.layers.Permute": permute,
    "keras.layers.ZeroPadding1D": zero_padding,
    "keras.layers.ZeroPadding2D": zero_padding,
    "keras.layers.Cropping1D": cropping,
    "keras.layers.Cropping2D": cropping,
    "keras.layers.Concatenate": concatenate,
    "keras.layers.RepeatVector": repeat_vector,
    "keras.ops.Reshape": reshape,
    "keras.ops.Transpose": transpose,
    "keras.ops.Concatenate": concatenate,
    "keras.ops.GetItem": get_item,
    "keras.ops.Squeeze": squeeze,
    "keras.ops.ExpandDims": expand_dims,
}
