"""Maxima over windows that do not overlap, as a reshape: their gradient is what costs.

XLA's gradient of a windowed maximum on a CPU takes as long as all other layers of a small network
together. Where windows lie side by side the maximum over an axis is the same number, and the
gradient of that is cheap. Where several elements of a window are equal, it is shared among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quick_max_pools() -> Iterator[None]:
    """While this holds, Keras traces max pools without overlap as reshape and maximum (JAX)."""
    from keras.src.backend.jax import nn

    original = nn.max_pool

    def max_pool(
        inputs: Any,
        pool_size: Any,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
    ) -> Any:
        window = _each(pool_size, inputs.ndim - 2)
        steps = window if strides is None else _each(strides, inputs.ndim - 2)
        image = inputs.shape[1:-1]
        whole = all(size % step == 0 for size, step in zip(image, window, strict=True))
        if steps != window or not whole or data_format == "channels_first":
            return original(inputs, pool_size, strides, padding, data_format)
        shape, inside = [inputs.shape[0]], []
        for size, step in zip(image, window, strict=True):
            shape += [size // step, step]
            inside.append(len(shape) - 1)
        return inputs.reshape((*shape, inputs.shape[-1])).max(axis=tuple(inside))

    nn.max_pool = max_pool
    try:
        yield
    finally:
        nn.max_pool = original


def _each(value: Any, axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value)
