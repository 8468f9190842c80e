"""The networks of the muon study: a float teacher, and a student of about a thousand weights.

The student reads the image as a detector expert would. ``station`` looks at each strip and tells
how much each station saw there; ``column`` condenses eight strips into features; ``roads`` joins
the columns along the path of a bent track, and starts as today's trigger roads do, from the
geometry; ``mix`` and ``local`` judge what was found in each column. From here the largest answer
counts: within a quarter of the sector, and, for the fine position, at the same place of all
quarters. One matrix turns that into the outputs. No layer but the last depends on the position, so
one small module serves all of it in the chip.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hairtrigger.detectors.rpc_config import RpcConfig
from hairtrigger.errors import InputError
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.train.checkpoint import to_array

STRIPS_PER_COLUMN = 8
ROAD_COLUMNS = 7
"""How far a road reaches: 56 strips, the bend of a muon of about 5 GeV."""
QUARTERS = 4
WEIGHTED = ("station", "column", "roads", "mix", "local", "seen", "out")


def build_teacher(rows: int, strips: int, outputs: int) -> Any:
    """A float CNN of some 80 k weights: columns of 8 strips, then attention over them."""
    keras = import_keras()
    layers = keras.layers
    image = keras.Input((rows, strips, 1), name="image")
    x = layers.Reshape((strips, rows))(layers.Permute((2, 1, 3))(image))

    def conv(width: int, strides: int = 1) -> Any:
        return layers.Conv1D(64, width, strides=strides, padding="same", activation="relu")

    x = conv(2 * STRIPS_PER_COLUMN, STRIPS_PER_COLUMN)(x)
    x = conv(5)(x)
    x = conv(5)(x)
    attention = layers.Softmax(axis=1)(layers.Dense(4)(x))
    found = layers.Flatten()(layers.Dot(axes=1)([attention, x]))
    x = layers.Concatenate()([found, layers.Flatten()(attention)])
    x = layers.Dense(64, activation="relu")(x)
    return keras.Model(image, layers.Dense(outputs, name="out")(x), name="teacher")


def build_float_student(rows: int, strips: int, outputs: int) -> Any:
    """The student in float: the same layers, the same number of weights."""
    keras = import_keras()
    layers = keras.layers

    def conv(channels: int, width: int, stride: int, name: str) -> Any:
        return layers.Conv1D(
            channels, width, strides=stride, padding="same", activation="relu", name=name
        )

    def pool(length: int, name: str) -> Any:
        return layers.MaxPooling1D(length, name=name)

    return _student(
        keras, (rows, strips, outputs), conv, pool, lambda n: layers.Dense(n, name="out")
    )


def build_student(rows: int, strips: int, outputs: int) -> Any:
    """The student for the chip: HGQ2 layers whose bit widths are learned.

    Every weight has its own width; an activation of a convolution has one for each channel, so that
    all positions share one module; those before the last matrix have one each. Activations are
    cut (TRN), which costs no adder, and saturate (SAT): no value can wrap around on images that
    training did not see, at the price of a comparison for each.
    """
    keras = import_keras()
    from hgq.layers import QConv1D, QDense, QMaxPooling1D
    from hgq.quantizer import QuantizerConfig as Config

    weight = {"q_type": "kif", "place": "weight", "overflow_mode": "WRAP", "i0": 2, "f0": 4}
    lane = {
        "q_type": "kif",
        "place": "datalane",
        "k0": False,
        "i0": 2,
        "f0": 2,
        "round_mode": "TRN",
        "overflow_mode": "SAT",
    }
    by_channel = {"homogeneous_axis": None, "heterogeneous_axis": (-1,)}
    one_bit = {"i0": 1, "f0": 0, "trainable": False, "homogeneous_axis": None} | {
        "heterogeneous_axis": ()
    }

    def weights() -> dict[str, Any]:
        return {"kq_conf": Config(**weight), "bq_conf": Config(**{**weight, "place": "bias"})}

    def conv(channels: int, width: int, stride: int, name: str) -> Any:
        form = one_bit if name == "station" else by_channel
        return QConv1D(
            channels,
            width,
            strides=stride,
            padding="same",
            activation="relu",
            iq_conf=Config(**{**lane, **form}),
            name=name,
            **weights(),
        )

    def pool(length: int, name: str) -> Any:
        return QMaxPooling1D(length, iq_conf=Config(**{**lane, **by_channel}), name=name)

    def dense(units: int) -> Any:
        return QDense(units, iq_conf=Config(**lane), name="out", **weights())

    return _student(keras, (rows, strips, outputs), conv, pool, dense)


def _student(keras: Any, sizes: tuple[int, int, int], conv: Any, pool: Any, dense: Any) -> Any:
    rows, strips, outputs = sizes
    layers = keras.layers
    image = keras.Input((rows, strips, 1), name="image")
    x = layers.Reshape((strips, rows), name="strips")(
        layers.Permute((2, 1, 3), name="strips_first")(image)
    )
    x = conv(4, 1, 1, "station")(x)
    x = conv(8, STRIPS_PER_COLUMN, STRIPS_PER_COLUMN, "column")(x)
    x = conv(8, ROAD_COLUMNS, 1, "roads")(x)
    x = conv(8, 1, 1, "mix")(x)
    x = conv(6, 1, 1, "local")(x)
    columns = x.shape[1]
    quarter = columns // QUARTERS
    coarse = layers.Flatten(name="coarse")(pool(quarter, "quarter")(x))
    seen = layers.Reshape((QUARTERS, quarter), name="by_quarter")(conv(1, 1, 1, "seen")(x))
    fine = layers.Flatten(name="fine")(pool(QUARTERS, "place")(seen))
    both = layers.Concatenate(name="both")([coarse, fine])
    return keras.Model(image, dense(outputs)(both), name="student")


def start_on_roads(model: Any, config: RpcConfig, max_bend: float = 26.0) -> None:
    """Set the first weights of a student from the geometry, and a little noise.

    Each channel of ``roads`` starts as the path of a track that bends by up to ``max_bend`` strips
    between the first station and the last: without this start the charge is not found in the few
    epochs of the demonstration. Training changes all of it.
    """
    stations = len(config.station_layers)
    _check_layers(model)
    kernel, bias = _scaled(model, "station", 0.1)
    if config.rows == config.layers:
        last = np.cumsum(config.station_layers)
        for station, (end, layers) in enumerate(zip(last, config.station_layers, strict=True)):
            kernel[:, end - layers : end, station] += 1 / layers
    else:
        kernel[0] += np.eye(stations, dtype=np.float32)
    _set(model, "station", kernel, bias)

    # Channels come in two sets, one a station: light to the left and to the right of the column.
    kernel, bias = _scaled(model, "column", 0.3)
    ramp = np.linspace(1, 0, kernel.shape[0])
    for channel in range(kernel.shape[2]):
        side = ramp if channel < stations else ramp[::-1]
        kernel[:, channel % stations, channel] += 0.7 * side
    _set(model, "column", kernel, bias)

    kernel, bias = _scaled(model, "roads", 0.3)
    width, channels, roads = kernel.shape
    shape = bend_shape(config)
    for road, bend in enumerate(np.linspace(-max_bend, max_bend, roads)):
        for channel in range(channels):
            side = 0.25 if channel < stations else -0.25
            path = bend * (shape[channel % stations] - 0.4) / STRIPS_PER_COLUMN
            distance = np.arange(width) - ((width - 1) / 2 + path + side)
            kernel[:, channel, road] += 0.5 * np.exp(-0.5 * (distance / 0.4) ** 2)
    _set(model, "roads", kernel, bias - 0.5)


def bend_shape(config: RpcConfig) -> np.ndarray:
    """How far a track has bent at each station, in strips, as a share of the last: (stations,).

    In a uniform field from radius a on, a straight track's offset at radius r grows as (r - a)^2,
    and a strip's length as r.
    """
    ends = np.cumsum(config.station_layers)
    radii = np.array(
        [
            np.mean(config.layer_radii_m[end - layers : end])
            for end, layers in zip(ends, config.station_layers, strict=True)
        ]
    )
    offset = np.maximum(radii - config.field_radii_m[0], 0) ** 2 / radii
    return offset / offset[-1]


def copy_weights(source: Any, target: Any) -> None:
    """Set a student's weights to those of another student, float or not; bit widths stay.

    Raises `InputError` where one is no student of this study.
    """
    for model in (source, target):
        _check_layers(model)
    for name in WEIGHTED:
        old, new = source.get_layer(name), target.get_layer(name)
        new.kernel.assign(to_array(old.kernel))
        new.bias.assign(to_array(old.bias))


def _check_layers(model: Any) -> None:
    missing = set(WEIGHTED) - {layer.name for layer in model.layers}
    if missing:
        raise InputError(
            f"The model {model.name!r} has no layers {sorted(missing)}.",
            "Give a student of the muon study.",
        )


def _scaled(model: Any, name: str, factor: float) -> tuple[np.ndarray, np.ndarray]:
    layer = model.get_layer(name)
    return to_array(layer.kernel) * factor, to_array(layer.bias)


def _set(model: Any, name: str, kernel: np.ndarray, bias: np.ndarray) -> None:
    # Not set_weights: an HGQ2 layer's list of weights holds its bit widths as well.
    layer = model.get_layer(name)
    layer.kernel.assign(kernel)
    layer.bias.assign(bias)
