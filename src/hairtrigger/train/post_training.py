"""Quantisation after training: the lazy way, to compare quantisation-aware training with.

Every tensor gets the same number of bits. Where its binary point stands follows from the largest
value that the float network has there on some events; weights and biases are rounded.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.train.checkpoint import to_array

CHUNK = 4096


def quantise_after_training(
    model: Any, source: Any, inputs: NDArray[Any], bits: int, *, keep: tuple[str, ...] = ()
) -> None:
    """Set the formats of ``model``, HGQ2 layers with the weights of the float network ``source``.

    ``inputs`` (events, *shape of the input) are what the ranges of activations are taken from. The
    layers of both have equal names; the quantizer of what a layer named in ``keep`` reads is left
    as it is (an image of single bits). Raises `InputError` for bits under 2 or over 24, layers that
    ``source`` has not, or no events.
    """
    if not 2 <= bits <= 24:
        raise InputError(f"bits = {bits!r}.", "Give 2 to 24 bits.")
    if not len(inputs):
        raise InputError("There are no events to take ranges from.", "Give some hundreds.")
    layers = [layer for layer in model.layers if getattr(layer, "iq", None) is not None]
    missing = {layer.name for layer in layers} - {layer.name for layer in source.layers}
    if missing:
        raise InputError(
            f"The float network {source.name!r} has no layers {sorted(missing)}.",
            "Give one with the same layers as the quantised one.",
        )
    reach = largest_inputs(source, [layer.name for layer in layers], inputs)
    for layer in layers:
        if layer.name not in keep:
            set_format(layer.iq, reach[layer.name], bits)
        for name, values in (("kq", "kernel"), ("bq", "bias")):
            quantizer, tensor = getattr(layer, name, None), getattr(layer, values, None)
            if quantizer is not None and tensor is not None:
                set_format(quantizer, float(np.abs(to_array(tensor)).max()), bits)


def largest_inputs(source: Any, names: list[str], inputs: NDArray[Any]) -> dict[str, float]:
    """The largest magnitude among what each layer reads."""
    keras = import_keras()
    (image,) = source.inputs
    probe = keras.Model(image, [source.get_layer(name).input for name in names])
    largest = np.zeros(len(names))
    for start in range(0, len(inputs), CHUNK):
        found = probe(np.asarray(inputs[start : start + CHUNK], dtype=np.float32), training=False)
        found = found if isinstance(found, list | tuple) else [found]
        largest = np.maximum(largest, [np.abs(np.asarray(x)).max() for x in found])
    return dict(zip(names, largest.tolist(), strict=True))


def set_format(quantizer: Any, largest: float, bits: int) -> None:
    """``bits`` bits, sign included, the uppermost for ``largest``; the same for all elements."""
    inner = quantizer.quantizer
    signed = bool(to_array(inner._k).any())
    integer = math.floor(math.log2(largest)) + 1 if largest > 0 else 0
    for variable, value in ((inner._i, integer), (inner._f, bits - signed - integer)):
        variable.assign(np.full(variable.shape, value, dtype=np.float32))
