"""The network of the strips study: charges and times of a cluster to its muon.

Dense layers of rectifiers. The networks for the chip are the same layers by HGQ2: with widths that
are learned, each weight's and each value's its own, or with as many bits for everything.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.train.checkpoint import to_array
from hairtrigger.train.post_training import set_format

LAYERS = ("hidden1", "hidden2", "hidden3", "out")
FIRST_BITS = {"hidden1": (0, 8), "hidden2": (3, 6), "hidden3": (3, 6), "out": (4, 6)}
"""Integer and fraction bits of what a layer reads when training begins."""
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
    """The network with as many bits for every weight and value; `start_from_float` sets them."""
    import_keras()
    from hgq.quantizer import QuantizerConfig

    one: dict[str, Any] = {
        "trainable": False,
        "homogeneous_axis": None,
        "heterogeneous_axis": (),
    }

    def lane(name: str) -> Any:
        return QuantizerConfig("kif", "datalane", i0=2, f0=6, **_modes(), **one)

    def weights(name: str) -> Any:
        form = {"overflow_mode": "SAT", "round_mode": "RND", "k0": True, "i0": 2, "f0": 6}
        return QuantizerConfig("kif", "weight", **form, **one)

    return _network("fixed", features, outputs, hidden, _quantised(lane, weights))


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

    ``bits``: of every weight and value, for `build_fixed`; where the point stands follows from what
    the float network has on ``inputs``. The ranges of values that a student saturates at follow
    from that too. Raises `InputError` for bits outside 2 to 16.
    """
    from hairtrigger.train.post_training import largest_inputs

    if bits is not None and not 2 <= bits <= 16:
        raise InputError(f"bits = {bits!r}.", "Give 2 to 16.")
    reach = largest_inputs(source, list(LAYERS), inputs)
    for name in LAYERS:
        layer, start = target.get_layer(name), source.get_layer(name)
        for part, quantizer in (("kernel", layer.kq), ("bias", layer.bq)):
            values = to_array(getattr(start, part))
            getattr(layer, part).assign(values)
            if bits is not None:
                set_format(quantizer, float(np.abs(values).max()), bits)
        if bits is not None:
            set_format(layer.iq, reach[name], bits)
        elif name != LAYERS[0]:
            inner = layer.iq.quantizer
            whole = int(np.ceil(np.log2(max(reach[name], 2.0**-6))))
            inner._i.assign(np.full(inner._i.shape, whole, dtype=np.float32))
