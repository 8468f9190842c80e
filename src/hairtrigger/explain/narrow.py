"""Bits that were cut in the Graph, taken from the Keras model as well, so that training can go on.

A cut takes the lowest bits of what a layer reads. In a model of HGQ2 layers that is the number of
fraction bits of the layer's input quantizer, which training may lower further but not raise again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hairtrigger.errors import InputError
from hairtrigger.explain.bits import LOW, Cut
from hairtrigger.explain.simplify import layer_of
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.graph import Graph
from hairtrigger.train.checkpoint import to_array

Limits = Mapping[str, tuple[float, ...]]
"""By the name of a layer: the most fraction bits of what it reads, an entry for each format that
its input quantizer has, in order."""


def limits_of(model: Any, graph: Graph, cuts: Sequence[Cut]) -> dict[str, tuple[float, ...]]:
    """What is left to the input quantizers of ``model`` after these cuts of its ``graph``.

    Raises `InputError` for cuts that no layer's quantizer can follow: those of the highest bits,
    of a node that is no layer's, or of one channel where the quantizer has a format for all.
    """
    found: dict[str, np.ndarray] = {}
    for one, times in Counter(cuts).items():
        name = layer_of(graph.nodes[one.place].label)
        if name not in found:
            found[name] = np.round(to_array(_fraction(model, name)))
        left = found[name]
        if one.end != LOW or (one.channel is not None and left.shape[-1] <= one.channel):
            raise InputError(
                f"{one}: layer {name!r} has {left.size} formats for what it reads.",
                "Cut lowest bits, of channels that have a format each.",
            )
        left[... if one.channel is None else (..., one.channel)] -= times
    return {name: tuple(map(float, left.reshape(-1))) for name, left in found.items()}


def hold_bits(model: Any, limits: Limits) -> None:
    """Take bits from the input quantizers of a model's layers, and hold that in training.

    Changes ``model``. Raises `InputError` for layers or formats that it does not have.
    """
    for name, most in limits.items():
        variable = _fraction(model, name)
        if len(most) != int(np.prod(variable.shape)):
            raise InputError(
                f"Layer {name!r} has {int(np.prod(variable.shape))} formats, not {len(most)}.",
                "Give limits of this model.",
            )
        limit = np.array(most, dtype=np.float32).reshape(variable.shape)
        variable.assign(np.minimum(to_array(variable), limit))
        variable.constraint = _at_most(limit, variable.constraint)


def _fraction(model: Any, name: str) -> Any:
    """The variable of the fraction bits of what a layer reads."""
    layer = next((layer for layer in model.layers if layer.name == name), None)
    quantizer = getattr(getattr(layer, "iq", None), "quantizer", None)
    variable = getattr(quantizer, "_f", None)
    if variable is None:
        raise InputError(
            f"The model {model.name!r} has no layer {name!r} that rounds what it reads.",
            "Give the model of HGQ2 layers that this Graph was made of.",
        )
    return variable


def _at_most(limit: np.ndarray, first: Any) -> Any:
    """A Keras constraint: at most ``limit``, after the constraint ``first`` (None: none)."""
    keras = import_keras()

    class AtMost(keras.constraints.Constraint):
        def __call__(self, w: Any) -> Any:
            w = w if first is None else first(w)
            return keras.ops.minimum(w, keras.ops.convert_to_tensor(limit, dtype=w.dtype))

    return AtMost()
