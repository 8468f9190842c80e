"""The networks that find tracks in chambers of strips: a convolutional and a recurrent one.

The convolutional network (CNN) slides over the strips and sees all planes at once. The recurrent
one (RNN) reads plane by plane: each plane is brought down to a few numbers by weights of its own,
and a gated recurrent unit (GRU) goes through them. Both give three numbers: the logit of a track,
its position and its slope.

Each comes in float and for the chip, of the same layers and with the same names, so that the one
for the chip starts from the weights of the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hairtrigger.errors import InputError
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.train.checkpoint import to_array

CNN, RNN = "cnn", "rnn"
OUTPUTS = 3


@dataclass(frozen=True)
class CnnShape:
    """Channels, kernels and strides (in strips) of the convolutions, and hidden units."""

    channels: tuple[int, ...] = (16, 12)
    kernels: tuple[int, ...] = (9, 3)
    strides: tuple[int, ...] = (4, 1)
    hidden: int = 24


@dataclass(frozen=True)
class RnnShape:
    """Numbers that a plane is brought down to, and units of the GRU."""

    embedded: int = 6
    units: int = 10


CNN_SHAPE, RNN_SHAPE = CnnShape(), RnnShape()
GATE_SCALE = 2 / 3
"""Keras's hard sigmoid is x / 6 + 1/2 between 0 and 1, that of HGQ2 x / 4 + 1/2: gates of the same
network have weights in this proportion."""
ACTIVATION_BITS = (3, 4)
"""Integer and fraction bits of activations when training begins; the fraction is learned."""
STATE_FRACTION = 5
"""Fraction bits of the GRU's state and gates when training begins."""
WEIGHT_BITS = (2, 5)
"""Integer and fraction bits of weights when training begins."""


def build_float(kind: str, image: tuple[int, int], shape: Any = None) -> Any:
    """The network `CNN` or `RNN` in float, for images of (planes, strips)."""
    layers = import_keras().layers
    if kind == CNN:

        def conv(n: int, shape: CnnShape) -> Any:
            return layers.Conv1D(
                shape.channels[n],
                shape.kernels[n],
                strides=shape.strides[n],
                padding="same",
                activation="relu",
                name=f"conv{n + 1}",
            )

        def dense(units: int, name: str, activation: str | None) -> Any:
            return layers.Dense(units, activation=activation, name=name)

        return _cnn("cnn_float", image, shape or CNN_SHAPE, conv, dense)
    _known(kind)

    def embed(name: str, planes: int, units: int) -> Any:
        equation, size = _each_plane(planes, units)
        return layers.EinsumDense(equation, size, bias_axes="pc", activation="relu", name=name)

    def gru(units: int) -> Any:
        return layers.GRU(
            units, activation="hard_tanh", recurrent_activation="hard_sigmoid", name="gru"
        )

    return _rnn("rnn_float", image, shape or RNN_SHAPE, embed, gru, layers.Dense)


def build_chip(kind: str, image: tuple[int, int], shape: Any = None) -> Any:
    """The network `CNN` or `RNN` for the chip: HGQ2 layers whose bit widths are learned.

    Each weight has a width of its own. Activations behind convolutions have one for each channel,
    so that all positions share one module in the chip; the others have their own. Activations are
    rounded to nearest and saturate; the gates of the GRU are the quantizers of its activations.
    """
    import_keras()
    from hgq.config import HardSigmoidConfig, HardTanhConfig
    from hgq.layers import QGRU, QConv1D, QDense, QEinsumDense
    from hgq.quantizer import QuantizerConfig

    nearest: dict[str, Any] = {"round_mode": "RND"}

    def hits(**changes: Any) -> Any:
        form: dict[str, Any] = {
            "k0": False,
            "i0": 1,
            "f0": 0,
            "trainable": False,
            "overflow_mode": "SAT",
        }
        changes |= {"homogeneous_axis": None, "heterogeneous_axis": ()}
        return QuantizerConfig("kif", "datalane", **form, **nearest, **changes)

    def lane(**changes: Any) -> Any:
        whole, fraction = ACTIVATION_BITS
        form: dict[str, Any] = {
            "k0": False,
            "i0": whole,
            "f0": fraction,
            "overflow_mode": "SAT",
            **nearest,
        }
        return QuantizerConfig("kif", "datalane", **(form | changes))

    def by_channel() -> Any:
        return lane(homogeneous_axis=None, heterogeneous_axis=(-1,))

    def weights(overflow: str = "WRAP") -> Any:
        whole, fraction = WEIGHT_BITS
        return QuantizerConfig("kif", "weight", i0=whole, f0=fraction, overflow_mode=overflow)

    def sure() -> dict[str, Any]:
        return {"kq_conf": weights(), "bq_conf": weights()}

    def dense(units: int, name: str, activation: str | None = None) -> Any:
        signed: dict[str, Any] = {"k0": True} if name == "out" and kind == RNN else {}
        config = lane(**signed)
        return QDense(units, activation=activation, iq_conf=config, name=name, **sure())

    if kind == CNN:

        def conv(n: int, shape: CnnShape) -> Any:
            return QConv1D(
                shape.channels[n],
                shape.kernels[n],
                strides=shape.strides[n],
                padding="same",
                activation="relu",
                iq_conf=by_channel() if n else hits(),
                name=f"conv{n + 1}",
                **sure(),
            )

        return _cnn("cnn", image, shape or CNN_SHAPE, conv, dense)
    _known(kind)

    def embed(name: str, planes: int, units: int) -> Any:
        equation, size = _each_plane(planes, units)
        return QEinsumDense(
            equation, size, bias_axes="pc", activation="relu", iq_conf=hits(), name=name, **sure()
        )

    def gru(units: int) -> Any:
        alike: dict[str, Any] = {"homogeneous_axis": (0,), **nearest}
        state: dict[str, Any] = {"f0": STATE_FRACTION, **alike}
        return QGRU(
            units,
            iq_conf=lane(**alike),
            sq_conf=QuantizerConfig("kif", "datalane", k0=True, i0=0, overflow_mode="SAT", **state),
            rhq_conf=QuantizerConfig(
                "kif", "datalane", k0=True, i0=1, overflow_mode="SAT", **state
            ),
            paq_conf=HardTanhConfig(place="datalane", **state),
            praq_conf=HardSigmoidConfig(place="datalane", **state),
            kq_conf=weights(),
            rkq_conf=weights(),
            bq_conf=weights(),
            name="gru",
        )

    return _rnn("rnn", image, shape or RNN_SHAPE, embed, gru, dense)


def _known(kind: str) -> None:
    if kind != RNN:
        raise InputError(f"{kind!r} is no network for tracks.", f"Choose {CNN!r} or {RNN!r}.")


def _each_plane(planes: int, units: int) -> tuple[str, tuple[int, int]]:
    """Every plane by weights of its own."""
    return "bps,psc->bpc", (planes, units)


def _cnn(name: str, image: tuple[int, int], shape: CnnShape, conv: Any, dense: Any) -> Any:
    keras = import_keras()
    planes, strips = image
    x = hits = keras.Input((strips, planes), name="hits")
    for n in range(len(shape.channels)):
        x = conv(n, shape)(x)
    x = dense(shape.hidden, "hidden", "relu")(keras.layers.Flatten(name="flat")(x))
    return keras.Model(hits, dense(OUTPUTS, "out", None)(x), name=name)


def _rnn(
    name: str, image: tuple[int, int], shape: RnnShape, embed: Any, gru: Any, dense: Any
) -> Any:
    keras = import_keras()
    hits = keras.Input(image, name="hits")
    x = embed("embed", image[0], shape.embedded)(hits)
    x = gru(shape.units)(x)
    return keras.Model(hits, dense(OUTPUTS, name="out")(x), name=name)


def start_from_float(source: Any, target: Any) -> None:
    """Set the weights of a network for the chip to those of a float one of the same shape."""
    for layer in source.layers:
        found = target.get_layer(layer.name)
        if layer.name == "gru":
            _start_gru(layer.cell, found.cell)
            continue
        for part in ("kernel", "bias"):
            if hasattr(layer, part):
                getattr(found, part).assign(to_array(getattr(layer, part)))


def _start_gru(source: Any, target: Any) -> None:
    """The same unit with the hard sigmoid of HGQ2: see `GATE_SCALE`."""
    gates = slice(None, 2 * source.units)
    for part in ("kernel", "recurrent_kernel", "bias"):
        value = np.array(to_array(getattr(source, part)))
        value[:, gates] *= GATE_SCALE
        getattr(target, part).assign(value)
