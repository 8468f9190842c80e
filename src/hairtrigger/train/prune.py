"""Pruning by magnitude: the smallest weights become zero and stay so while training goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hairtrigger.errors import InputError
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.train.checkpoint import to_array


def prune(model: Any, share: float, layers: Sequence[str]) -> dict[str, int]:
    """Set the ``share`` of smallest weights of each named layer's kernel to zero, and hold them.

    The layers are pruned one by one, so that a layer of small weights is not lost whole. What is
    held is a constraint on the variable, which the optimizer applies after each step: `fit` needs
    not know. Gives how many weights are left in each layer. Raises `InputError` for a share outside
    0 to below 1, or a layer without kernel.
    """
    if not 0 <= share < 1:
        raise InputError(f"share = {share!r}.", "Give a share of 0 to below 1.")
    left: dict[str, int] = {}
    for name in layers:
        kernel = getattr(model.get_layer(name), "kernel", None)
        if kernel is None:
            raise InputError(f"Layer {name!r} has no kernel.", "Name layers with weights.")
        values = to_array(kernel)
        order = np.argsort(np.abs(values), axis=None, kind="stable")
        mask = np.ones(values.size, dtype=values.dtype)
        mask[order[: int(share * values.size)]] = 0
        mask = mask.reshape(values.shape)
        kernel.assign(values * mask)
        kernel.constraint = hold(mask)
        left[name] = int(mask.sum())
    return left


def hold(mask: Any) -> Any:
    """A Keras constraint that multiplies by ``mask``."""
    keras = import_keras()

    class Hold(keras.constraints.Constraint):
        def __call__(self, w: Any) -> Any:
            return w * keras.ops.convert_to_tensor(mask, dtype=w.dtype)

    return Hold()
