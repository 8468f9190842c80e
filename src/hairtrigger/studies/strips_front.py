"""What stands in front of the strips study's networks: what the detector sends, made easier to use.

Charges are compressed, since the difference of 20 counts says much of a small one and little of a
large one; times count from the middle of the drift, so that a strip without a hit lies there and
not at its end; and each time comes once more, times the angle, which is how far the muon moves on
until then. In a chip that is a table of 10 bits for each charge, three bits of a difference and a
multiplier for each time. `network_input` computes the same codes with NumPy, for training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.graph import Graph
from hairtrigger.studies.strips_samples import FEATURES, WIDTH
from hairtrigger.train.checkpoint import to_array

SEEN = FEATURES + WIDTH
"""Numbers behind the front: charges, times, the angle, times multiplied by the angle."""
CHARGE_UNIT = 64
"""Counts of charge that the network is given as 1/2: half of all strips with a hit have less than
40."""
_FRACTION = CHARGE_UNIT.bit_length() - 1
CHARGE_BITS, INPUT_BITS = 10, 8
"""Bits of the detector's charges; those of its times and angle, and of compressed charges."""
MIDDLE = 0.25
"""Time in the middle of the drift, as a part of 256 ns: code 64. A muon's hits have 66 on average.
"""
LEAST = 0.125
"""Charge from which a strip has a hit: 8 counts, where the least that passes the detector's
threshold is 12."""
TANGENT_STEP, TANGENT_ZERO = 1 / 160, 32
"""Of the code of the nominal angle: 0 to 255 are tangents from -0.2 to 1.39."""


def detector_input(
    charge: NDArray[Any], time: NDArray[Any], nominal: NDArray[Any]
) -> NDArray[np.float32]:
    """What the detector sends, float32 (n, `FEATURES`): charges in `CHARGE_UNIT`, times in 256 ns
    and the code of the nominal angle in 1/256 of its range, all on the grid of their bits."""
    found = np.empty((len(charge), FEATURES), dtype=np.float32)
    found[:, :WIDTH] = charge / np.float32(CHARGE_UNIT)
    found[:, WIDTH : 2 * WIDTH] = time / np.float32(256)
    found[:, -1] = tangent_code(nominal)
    return found


def tangent_code(nominal: NDArray[Any]) -> NDArray[Any]:
    """The tangent of the nominal angle as the network is given it, 0 to below 1."""
    return np.clip(np.rint(nominal / TANGENT_STEP) + TANGENT_ZERO, 0, 255) / 256


def network_input(given: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the layers behind the front read, float32 (n, `SEEN`), of a `detector_input`:
    compressed charges q / (q + 1), times less `MIDDLE` (0 without a hit), the angle's code, and the
    times once more, multiplied by that code."""
    charge, time = given[:, :WIDTH], given[:, WIDTH : 2 * WIDTH]
    angle = given[:, 2 * WIDTH :]
    steps = np.float32(2**INPUT_BITS)
    compressed = np.floor(charge / (charge + 1) * steps + np.float32(0.5)) / steps
    centred = time - np.where(charge >= LEAST, np.float32(MIDDLE), np.float32(0))
    return np.concatenate([compressed, centred, angle, centred * angle], axis=1)


def with_front(network: Any) -> Any:
    """The network that reads what the detector sends: the front, then the layers of ``network``
    themselves, which reads a `network_input`."""
    keras = import_keras()
    from hgq.layers import QUnaryFunctionLUT
    from hgq.quantizer import Quantizer, QuantizerConfig

    def grid(integer: int, bits: int, axes: tuple[int, ...] = ()) -> Any:
        form = {"k0": False, "i0": integer, "f0": bits - integer, "trainable": False}
        modes = {"round_mode": "RND", "overflow_mode": "SAT"}
        where = {"homogeneous_axis": None, "heterogeneous_axis": axes}
        return QuantizerConfig("kif", "datalane", **form, **modes, **where)

    strips = keras.Input((FEATURES,), name="strips")
    sent = Quantizer(grid(0, INPUT_BITS, (1,)), name="detector")
    codes = sent(strips)
    _charges_with(sent.quantizer, CHARGE_BITS - _FRACTION, _FRACTION)
    charge, time = codes[:, :WIDTH], codes[:, WIDTH : 2 * WIDTH]
    compressed = QUnaryFunctionLUT(
        "softsign",
        oq_conf=grid(0, INPUT_BITS),
        enable_iq=False,
        allow_heterogeneous_table=False,
        name="compress",
    )(charge)
    # One bit that saturates: MIDDLE from LEAST on, which is half of it and rounded up
    hit = Quantizer(grid(-1, 1), name="hit")(charge)
    centred, angle = time - hit, codes[:, 2 * WIDTH :]
    x = keras.layers.Concatenate(name="seen")([compressed, centred, angle, centred * angle])
    for layer in network.layers[1:]:
        x = layer(x)
    return keras.Model(strips, x, name=network.name)


def without_front(model: Any) -> Any:
    """The layers behind the front as a network of its own, which reads a `network_input`."""
    keras = import_keras()
    names = [layer.name for layer in model.layers]
    x = seen = keras.Input((SEEN,), name="strips")
    for layer in model.layers[names.index("seen") + 1 :]:
        x = layer(x)
    return keras.Model(seen, x, name=model.name)


def require_front(network: Any) -> None:
    """Raise `InputError` for a network or Graph of an older run, to which a `detector_input` means
    something else."""
    if isinstance(network, Graph):
        (given,) = network.input_ops
        charge, *_ = given.type.integer.ravel()
        known = given.type.shape == (FEATURES,) and charge == CHARGE_BITS - _FRACTION
    else:
        known = any(layer.name == "seen" for layer in network.layers)
    if not known:
        raise InputError(
            "This network has no front for the detector's codes.", "Run the study again."
        )


def _charges_with(quantizer: Any, integer: int, fraction: int) -> None:
    """Give the first `WIDTH` elements of a quantizer their own format."""
    for variable, value in ((quantizer._i, integer), (quantizer._f, fraction)):
        own = np.array(to_array(variable))
        own[..., :WIDTH] = value
        variable.assign(own)
