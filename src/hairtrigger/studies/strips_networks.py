"""The network of the strips study: charges and times of a cluster to its muon.

Dense layers of rectifiers. The networks for the chip are the same layers by HGQ2: with widths that
are learned, each weight's and each value's its own, or with as many bits for everything.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.train.checkpoint import to_array

LAYERS = ("hidden1", "hidden2", "hidden3", "out")
FIRST_BITS = {"hidden1": (0, 8), "hidden2": (3, 6), "hidden3": (3, 6), "out": (4, 6)}
"""Integer and fraction bits of what a layer reads when training begins."""
INPUT_BITS = 8
"""Fewest bits of charges, times and angle, the sign of times apart: fewer for weights and values do
not change what the detector sends."""
WEIGHT_BITS = (2, 7)
"""Integer and fraction bits of weights when training begins."""
PARTS = ("kernel", "bias")


def build_float(features: int, outputs: int, hidden: tuple[int, int, int]) -> Any:
    """The network in float: (n, features) to (n, outputs)."""
    layers = import_keras().layers

    def dense(units: int, name: str, activation: str | None) -> Any:
        return layers.Dense(units, activation=activation, name=name)

    return _network("float", features, outputs, hidden, dense)


def build_student(features: int, outputs: int, hidden: tuple[int, int, int]) -> Any:
    """The network for the chip, whose widths are learned; values are rounded to nearest and
    saturate."""
    import_keras()
    from hgq.quantizer import QuantizerConfig

    def lane(name: str) -> Any:
        whole, fraction = FIRST_BITS[name]
        return QuantizerConfig("kif", "datalane", i0=whole, f0=fraction, **_modes(name))

    def weights(name: str) -> Any:
        whole, fraction = WEIGHT_BITS
        form = {"overflow_mode": "WRAP", "i0": whole, "f0": fraction}
        return QuantizerConfig("kif", "weight", **form)

    return _network("student", features, outputs, hidden, _quantised(lane, weights))


def build_fixed(features: int, outputs: int, hidden: tuple[int, int, int]) -> Any:
    """The network with as many bits for every weight and value; `start_from_float` says how many.
    What the detector sends has `INPUT_BITS` at least.

    Each value and each unit's weights have a binary point of their own, which costs nothing in a
    chip.
    """
    lane = {"trainable": False}
    weights = {"homogeneous_axis": None, "heterogeneous_axis": (-1,)}
    return _fixed("fixed", features, outputs, hidden, lane, weights)


def build_int8(features: int, outputs: int, hidden: tuple[int, int, int]) -> Any:
    """The network as GPUs and DPUs have it: 8 bits with one binary point a tensor, 7 for values
    that are not negative; halves are rounded to even."""
    one = {"homogeneous_axis": None, "heterogeneous_axis": ()}
    lane = {"round_mode": "RND_CONV", "trainable": False, **one}
    return _fixed("int8", features, outputs, hidden, lane, one)


def _fixed(
    name: str,
    features: int,
    outputs: int,
    hidden: tuple[int, int, int],
    lane_form: dict[str, Any],
    weight_axes: dict[str, Any],
) -> Any:
    import_keras()
    from hgq.quantizer import QuantizerConfig

    def lane(name: str) -> Any:
        return QuantizerConfig("kif", "datalane", i0=2, f0=6, **(_modes(name) | lane_form))

    def weights(_: str) -> Any:
        form = {"overflow_mode": "SAT", "round_mode": "RND", "k0": True, "i0": 2, "f0": 6}
        return QuantizerConfig("kif", "weight", trainable=False, **form, **weight_axes)

    return _network(name, features, outputs, hidden, _quantised(lane, weights))


def _modes(name: str) -> dict[str, Any]:
    """Only the first layer reads what may be negative, times."""
    return {"k0": name == LAYERS[0], "round_mode": "RND", "overflow_mode": "SAT"}


def _quantised(lane: Any, weights: Any) -> Any:
    from hgq.layers import QDense

    def dense(units: int, name: str, activation: str | None) -> Any:
        return QDense(
            units,
            activation=activation,
            iq_conf=lane(name),
            kq_conf=weights(name),
            bq_conf=weights(name),
            name=name,
        )

    return dense


def _network(
    name: str, features: int, outputs: int, hidden: tuple[int, int, int], dense: Any
) -> Any:
    keras = import_keras()
    if len(hidden) != len(LAYERS) - 1:
        raise InputError(f"{len(hidden)} hidden layers.", f"Give {len(LAYERS) - 1} widths.")
    x = strips = keras.Input((features,), name="strips")
    for units, layer in zip(hidden, LAYERS, strict=False):
        x = dense(units, layer, "relu")(x)
    return keras.Model(strips, dense(outputs, LAYERS[-1], None)(x), name=name)


def start_from_float(
    source: Any, target: Any, inputs: NDArray[np.float32], bits: int | None = None
) -> None:
    """Set the weights of a network for the chip to those of a float one.

    ``inputs`` (n, features): what the first layer reads. ``bits``: of every weight and value, for
    `build_fixed` and `build_int8` (8); each point stands where the mean squared error is least, on
    what the float network has for ``inputs``. A student's values saturate at what covers all of
    them. Raises `InputError` for bits outside 2 to 16.
    """
    if bits is not None and not 2 <= bits <= 16:
        raise InputError(f"bits = {bits!r}.", "Give 2 to 16.")
    weights = [
        [to_array(getattr(source.get_layer(name), part)) for part in PARTS] for name in LAYERS
    ]
    if bits is not None:
        weights = balanced(weights)
    values = inputs
    for name, (kernel, bias) in zip(LAYERS, weights, strict=True):
        layer = target.get_layer(name)
        by_tensor = math.prod(layer.iq.quantizer._i.shape) == 1
        signed = (values < 0).any(axis=0)
        if by_tensor:
            signed = signed.any(keepdims=True)
        layer.iq.quantizer._k.assign(np.broadcast_to(signed, layer.iq.quantizer._k.shape))
        for part, value, quantizer in zip(PARTS, (kernel, bias), (layer.kq, layer.bq), strict=True):
            getattr(layer, part).assign(value)
            if bits is not None:
                _set(quantizer, np.atleast_2d(value), bits, np.True_)
        if bits is not None:
            _set(layer.iq, values, _value_bits(target, name, bits, signed), signed)
        elif name != LAYERS[0]:
            largest = max(float(values.max()), 2.0**-6)
            inner = layer.iq.quantizer
            whole = np.full(inner._i.shape, math.ceil(math.log2(largest)), dtype=np.float32)
            inner._i.assign(whole)
        values = np.maximum(values @ kernel + bias, 0)


def balanced(weights: list[list[NDArray[Any]]]) -> list[list[NDArray[Any]]]:
    """The same network with units scaled by powers of two, so that the weights with which a layer
    reads its units are about as large for each of them: few bits then serve all of them alike.

    ``weights``: kernel (inputs, units) and bias (units,) of each layer. A rectifier passes a factor
    on, so what comes out is the same (cross-layer equalisation, arXiv:1906.04721).
    """
    found = [[np.array(part) for part in layer] for layer in weights]
    # From the last layer on: what is scaled later leaves what was made alike before as it is.
    for one, after in reversed(list(itertools.pairwise(found))):
        size = np.sqrt((after[0] ** 2).mean(axis=1))
        alive = size > 0
        middle = np.median(size[alive]) if alive.any() else 1.0
        factor = np.exp2(np.rint(np.log2(np.where(alive, size, middle) / middle)))
        one[0] *= factor
        one[1] *= factor
        after[0] /= factor[:, None]
    return found


def _value_bits(target: Any, layer: str, bits: int, signed: NDArray[Any]) -> NDArray[Any]:
    if target.name == "int8":
        return bits - 1 + signed  # int8 keeps one for the sign of values that have none
    return np.full(signed.shape, bits) if layer != LAYERS[0] else max(bits, INPUT_BITS) + signed


_CANDIDATES = 6


def best_integer(
    values: NDArray[Any], bits: NDArray[Any] | int, signed: NDArray[Any] | bool
) -> NDArray[np.int64]:
    """Integer bits of each column (n, columns) for which ``bits`` bits, rounded to nearest and
    saturated, have the least mean squared error; a column of zeros gets 0. ``bits`` and ``signed``
    are those of all columns or of each."""
    x = np.asarray(values, dtype=np.float64)
    largest = np.abs(x).max(axis=0)
    top = np.where(largest > 0, np.ceil(np.log2(np.maximum(largest, 1e-9))), 0).astype(np.int64)
    best, least = top.copy(), np.full(len(top), np.inf)
    for integer in (top - n for n in range(_CANDIDATES)):
        step = 2.0 ** (integer - bits + signed).astype(np.float64)
        high = 2.0**integer - step
        low = -(2.0**integer) * signed
        error = ((np.clip(np.rint(x / step) * step, low, high) - x) ** 2).mean(axis=0)
        better = error < least
        best, least = np.where(better, integer, best), np.minimum(error, least)
    return np.where(largest > 0, best, 0)


def _set(
    quantizer: Any, values: NDArray[Any], bits: NDArray[Any] | int, signed: NDArray[Any]
) -> None:
    """Give a quantizer ``bits`` bits, the point where it is best for ``values`` (n, columns)."""
    inner = quantizer.quantizer
    by_tensor = math.prod(inner._i.shape) == 1
    columns = values.reshape(-1, 1) if by_tensor else values
    integer = best_integer(columns, bits, signed)
    fraction = bits - signed - integer
    for variable, value in ((inner._i, integer), (inner._f, fraction)):
        variable.assign(np.broadcast_to(value, variable.shape).astype(np.float32))
