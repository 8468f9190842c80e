"""The network of the strips study: charges and times of a cluster to its muon.

Dense layers of rectifiers. The networks for the chip are the same layers by HGQ2: with widths that
are learned, each weight's and each value's its own, or with as many bits for everything.
"""

from __future__ import annotations

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
"""Fewest bits of charges, times and angle: fewer for weights and values do not change what the
detector sends."""
WEIGHT_BITS = (2, 7)
"""Integer and fraction bits of weights when training begins."""


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
        return QuantizerConfig("kif", "datalane", i0=whole, f0=fraction, **_modes())

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
    lane = {**_modes(), "trainable": False}
    weights = {"homogeneous_axis": None, "heterogeneous_axis": (-1,)}
    return _fixed("fixed", features, outputs, hidden, lane, weights)


def build_int8(features: int, outputs: int, hidden: tuple[int, int, int]) -> Any:
    """The network as GPUs and DPUs have it: 8 bits with one binary point a tensor, 7 for values,
    which are not negative; halves are rounded to even."""
    one = {"homogeneous_axis": None, "heterogeneous_axis": ()}
    lane = {**_modes(), "round_mode": "RND_CONV", "trainable": False, **one}
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

    def lane(_: str) -> Any:
        return QuantizerConfig("kif", "datalane", i0=2, f0=6, **lane_form)

    def weights(_: str) -> Any:
        form = {"overflow_mode": "SAT", "round_mode": "RND", "k0": True, "i0": 2, "f0": 6}
        return QuantizerConfig("kif", "weight", trainable=False, **form, **weight_axes)

    return _network(name, features, outputs, hidden, _quantised(lane, weights))


def _modes() -> dict[str, Any]:
    """What a layer reads is never negative."""
    return {"k0": False, "round_mode": "RND", "overflow_mode": "SAT"}


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

    ``bits``: of every weight and value, for `build_fixed` and `build_int8` (8); each point stands
    where the mean squared error is least, on what the float network has for ``inputs`` (n,
    features). A student's values saturate at what covers all of them. Raises `InputError` for bits
    outside 2 to 16.
    """
    if bits is not None and not 2 <= bits <= 16:
        raise InputError(f"bits = {bits!r}.", "Give 2 to 16.")
    values = _read_by_layers(source, inputs)
    for name in LAYERS:
        layer, start = target.get_layer(name), source.get_layer(name)
        for part, quantizer in (("kernel", layer.kq), ("bias", layer.bq)):
            weights = to_array(getattr(start, part))
            getattr(layer, part).assign(weights)
            if bits is not None:
                _set(quantizer, np.atleast_2d(weights), bits, signed=True)
        if bits is not None:
            _set(layer.iq, values[name], _value_bits(target, name, bits), signed=False)
        elif name != LAYERS[0]:
            largest = max(float(values[name].max()), 2.0**-6)
            inner = layer.iq.quantizer
            whole = np.full(inner._i.shape, math.ceil(math.log2(largest)), dtype=np.float32)
            inner._i.assign(whole)


def _value_bits(target: Any, layer: str, bits: int) -> int:
    if target.name == "int8":
        return bits - 1  # int8 keeps one for the sign that no value has
    return max(bits, INPUT_BITS) if layer == LAYERS[0] else bits


_CANDIDATES = 6


def best_integer(values: NDArray[Any], bits: int, signed: bool) -> NDArray[np.int64]:
    """Integer bits of each column (n, columns) for which ``bits`` bits, rounded to nearest and
    saturated, have the least mean squared error; a column of zeros gets 0."""
    x = np.asarray(values, dtype=np.float64)
    largest = np.abs(x).max(axis=0)
    top = np.where(largest > 0, np.ceil(np.log2(np.maximum(largest, 1e-9))), 0).astype(np.int64)
    best, least = top.copy(), np.full(len(top), np.inf)
    for integer in (top - n for n in range(_CANDIDATES)):
        step = 2.0 ** (integer - (bits - int(signed))).astype(np.float64)
        high = 2.0**integer - step
        low = -(2.0**integer) if signed else 0.0
        error = ((np.clip(np.rint(x / step) * step, low, high) - x) ** 2).mean(axis=0)
        better = error < least
        best, least = np.where(better, integer, best), np.minimum(error, least)
    return np.where(largest > 0, best, 0)


def _set(quantizer: Any, values: NDArray[Any], bits: int, signed: bool) -> None:
    """Give a quantizer ``bits`` bits, the point where it is best for ``values`` (n, columns)."""
    inner = quantizer.quantizer
    by_tensor = math.prod(inner._i.shape) == 1
    columns = values.reshape(-1, 1) if by_tensor else values
    integer = best_integer(columns, bits, signed)
    fraction = bits - int(signed) - integer
    for variable, value in ((inner._i, integer), (inner._f, fraction)):
        variable.assign(np.broadcast_to(value, variable.shape).astype(np.float32))


def _read_by_layers(source: Any, inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """What each layer of the float network reads, (n, units) by its name."""
    keras = import_keras()
    (strips,) = source.inputs
    probe = keras.Model(strips, [source.get_layer(name).input for name in LAYERS])
    found = probe.predict(inputs, batch_size=4096, verbose=0)
    return dict(zip(LAYERS, found, strict=True))
