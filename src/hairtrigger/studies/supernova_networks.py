"""The network of the supernova study: a small convolutional one on pixels of a collection plane.

Three convolutions and pools bring an image (ticks, wires) down to features that know a few
centimetres; of each feature the largest and the sum over the image go on: the largest says that
there is a track, the sum how much charge came with it. No layer knows where in the image it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from hairtrigger.errors import InputError
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.train.checkpoint import to_array


@dataclass(frozen=True)
class NetworkShape:
    """Channels of the convolutions, pools (ticks, wires) behind the first two, hidden units."""

    channels: tuple[int, int, int] = (6, 8, 12)
    pools: tuple[tuple[int, int], tuple[int, int]] = ((2, 2), (2, 2))
    kernel: tuple[int, int] = (3, 3)
    hidden: int = 16


SHAPE = NetworkShape()
PIXEL_BITS = 4
FIRST_BITS = {"conv1": (4, 0), "conv2": (5, 2), "conv3": (5, 2), "hidden": (6, 2), "out": (6, 3)}
"""Integer and fraction bits to which the inputs of a layer are cut when training begins. Those of
``conv1`` are the pixels' own; of the others the second are learned."""
WEIGHT_BITS = (2, 4)
"""Integer and fraction bits of weights when training begins."""
SUM_SHIFT = 4
"""Sums over the image are divided by two to this power, to be numbers as large as the maxima."""
WEIGHTED = ("conv1", "conv2", "conv3", "hidden", "out")


def build_float(image: tuple[int, int], outputs: int, shape: NetworkShape = SHAPE) -> Any:
    """The network in float: pixels (ticks, wires, 1) to ``outputs`` numbers."""
    layers = import_keras().layers

    def conv(filters: int, name: str) -> Any:
        return layers.Conv2D(filters, shape.kernel, padding="same", activation="relu", name=name)

    def total(x: Any) -> Any:
        share = math.prod(x.shape[1:3]) * 2.0**-SUM_SHIFT
        return layers.Rescaling(share, name="sum")(layers.GlobalAveragePooling2D()(x))

    def dense(units: int, name: str, activation: str | None) -> Any:
        return layers.Dense(units, activation=activation, name=name)

    return _network("float", image, outputs, shape, conv, total, dense)


def build_student(image: tuple[int, int], outputs: int, shape: NetworkShape = SHAPE) -> Any:
    """The network for the chip: HGQ2 layers whose bit widths are learned.

    Each weight has a width of its own, each activation one for each channel, so that all positions
    share one module in the chip. Activations are rounded to nearest and saturate.
    """
    import_keras()
    from hgq.constraints import MinMax
    from hgq.layers import QConv2D, QDense, QSum
    from hgq.quantizer import QuantizerConfig

    def lane(name: str, **changes: Any) -> Any:
        whole, fraction = FIRST_BITS[name]
        form = {"k0": False, "round_mode": "RND", "overflow_mode": "SAT"}
        form |= {"i0": whole, "f0": fraction, "ic": MinMax(whole, whole)}
        return QuantizerConfig("kif", "datalane", **form, **changes)

    def by_channel(name: str) -> Any:
        if name == "conv1":
            return lane(name, trainable=False, homogeneous_axis=None, heterogeneous_axis=())
        return lane(name, homogeneous_axis=None, heterogeneous_axis=(-1,))

    def weights(**changes: Any) -> Any:
        whole, fraction = WEIGHT_BITS
        form = {"overflow_mode": "WRAP", "i0": whole, "f0": fraction}
        return QuantizerConfig("kif", "weight", **form, **changes)

    def conv(filters: int, name: str) -> Any:
        return QConv2D(
            filters,
            shape.kernel,
            padding="same",
            activation="relu",
            iq_conf=by_channel(name),
            kq_conf=weights(),
            bq_conf=weights(),
            name=name,
        )

    def total(x: Any) -> Any:
        config = lane("hidden", homogeneous_axis=None, heterogeneous_axis=(-1,))
        return QSum(axes=(1, 2), scale=2.0**-SUM_SHIFT, iq_conf=config, name="sum")(x)

    def dense(units: int, name: str, activation: str | None) -> Any:
        return QDense(
            units,
            activation=activation,
            iq_conf=lane(name),
            kq_conf=weights(),
            bq_conf=weights(),
            name=name,
        )

    return _network("student", image, outputs, shape, conv, total, dense)


def _network(
    name: str,
    image: tuple[int, int],
    outputs: int,
    shape: NetworkShape,
    conv: Any,
    total: Any,
    dense: Any,
) -> Any:
    keras = import_keras()
    layers = keras.layers
    x = pixels = keras.Input((*image, 1), name="pixels")
    for n, channels in enumerate(shape.channels):
        x = conv(channels, f"conv{n + 1}")(x)
        if n < len(shape.pools):
            window = shape.pools[n]
            if any(size % step for size, step in zip(x.shape[1:3], window, strict=True)):
                raise InputError(
                    f"An image of {image[0]} ticks and {image[1]} wires is not divided by the "
                    f"pools {shape.pools}.",
                    "Give other pools.",
                )
            x = layers.MaxPooling2D(window, name=f"pool{n + 1}")(x)
    both = (layers.GlobalMaxPooling2D(name="largest")(x), total(x))
    x = dense(shape.hidden, "hidden", "relu")(layers.Concatenate(name="both")(both))
    return keras.Model(pixels, dense(outputs, "out", None)(x), name=name)


def start_from_float(source: Any, target: Any) -> None:
    """Set the weights of a network for the chip to those of a float one of the same shape."""
    for name in WEIGHTED:
        for part in ("kernel", "bias"):
            value = to_array(getattr(source.get_layer(name), part))
            getattr(target.get_layer(name), part).assign(value)
