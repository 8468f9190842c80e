"""The networks of the muon study: a float teacher, and a student of about a thousand weights.

The student reads the image as a detector expert would. A ``station`` layer for each station adds up
its layers in steps of two strips; ``column`` condenses eight strips of all stations into features;
``roads`` joins the columns along the path of a bent track, and starts as today's trigger roads do,
from the geometry; ``mix`` and ``local`` judge what was found in each column. From here the largest
answer counts: within a quarter of the sector, and, for the fine position, at the same place of all
quarters. One matrix turns that into the outputs. No layer but the last depends on the position, so
one small module serves all of it in the chip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from hairtrigger.detectors.rpc_config import RpcConfig
from hairtrigger.errors import InputError
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.train.checkpoint import to_array

STRIPS_PER_STEP = 1
STRIPS_PER_COLUMN = 8
ROAD_COLUMNS = 7
"""How far a road reaches: 56 strips, the bend of a muon of about 5 GeV."""
QUARTERS = 4
WEIGHTED = ("column", "roads", "mix", "local", "seen", "out")


def build_teacher(config: RpcConfig, outputs: int) -> Any:
    """A float CNN of some 80 k weights: columns of 8 strips, then attention over them."""
    keras = import_keras()
    layers = keras.layers
    image = keras.Input((config.rows, config.strips, 1), name="image")
    x = layers.Reshape((config.strips, config.rows))(layers.Permute((2, 1, 3))(image))

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


@dataclass(frozen=True)
class StudentShape:
    """How many channels each layer of a student has; ``road_stride`` in columns of 8 strips."""

    column: int = 8
    roads: int = 8
    road_width: int = 7
    road_stride: int = 2
    mix: int = 8
    local: int = 6


STUDENT = StudentShape()

FIRST_BITS = {
    "station": (1, 1),
    "column": (1, 2),
    "roads": (2, 2),
    "mix": (2, 3),
    "local": (2, 3),
    "seen": (2, 3),
}
"""Integer and fraction bits that a layer's results are cut to when training begins. The first stay
as they are, since they follow from the size of the results; the second are learned."""
READS = {
    "column": "station",
    "roads": "column",
    "mix": "roads",
    "local": "mix",
    "seen": "local",
    "quarter": "local",
    "place": "seen",
    "out": "local",
}
WEIGHT_FRACTION = 5
"""Fraction bits of the student's weights when its training begins."""


@dataclass(frozen=True)
class _Layers:
    """The kinds of layers of a student, float or quantised; ``first`` reads the image's bits."""

    first: Callable[..., Any]
    dense: Callable[..., Any]
    conv: Callable[..., Any]
    pool: Callable[..., Any]
    last: Callable[..., Any]


def build_float_student(config: RpcConfig, outputs: int, shape: StudentShape = STUDENT) -> Any:
    """The student in float: the same layers, the same number of weights."""
    keras = import_keras()
    layers = keras.layers
    kinds = _Layers(
        first=partial(layers.Dense, activation="relu"),
        dense=partial(layers.Dense, activation="relu"),
        conv=partial(layers.Conv1D, padding="same", activation="relu"),
        pool=layers.MaxPooling1D,
        last=layers.Dense,
    )
    return _student(keras, kinds, config, outputs, shape)


def build_student(config: RpcConfig, outputs: int, shape: StudentShape = STUDENT) -> Any:
    """The student for the chip: HGQ2 layers whose bit widths are learned.

    Every weight has its own width; an activation has one for each channel, so that all positions
    share one module; those before the last matrix have one each. Activations are cut (TRN), which
    costs no adder, and saturate (SAT): no value can wrap around on images that training did not
    see, at the price of a comparison for each.
    """
    keras = import_keras()
    from hgq.constraints import MinMax
    from hgq.layers import QConv1D, QDense, QMaxPooling1D
    from hgq.quantizer import QuantizerConfig

    def lane(bits: tuple[int, int], **changes: Any) -> Any:
        whole, fraction = bits
        form = {"k0": False, "round_mode": "TRN", "overflow_mode": "SAT"}
        # Fixed integer bits: one bit less would halve the range at a stroke and cut what is large.
        form |= {"i0": whole, "f0": fraction, "ic": MinMax(whole, whole)}
        return QuantizerConfig("kif", "datalane", **form, **changes)

    def by_channel(name: str) -> Any:
        """For what layer ``name`` reads: a width for each channel."""
        bits = FIRST_BITS[READS[name]]
        return lane(bits, homogeneous_axis=None, heterogeneous_axis=(-1,))

    def weighted(layer: Any, iq: Any, **arguments: Any) -> Any:
        # WRAP on a weight: the integer bits follow its value, so none ever wraps.
        fine = QuantizerConfig("kif", "weight", overflow_mode="WRAP", i0=2, f0=WEIGHT_FRACTION)
        return layer(iq_conf=iq, kq_conf=fine, bq_conf=fine, **arguments)

    def first(units: int, name: str) -> Any:
        bit = lane((1, 0), trainable=False, homogeneous_axis=None, heterogeneous_axis=())
        return weighted(QDense, bit, units=units, activation="relu", name=name)

    def dense(units: int, name: str) -> Any:
        return weighted(QDense, by_channel(name), units=units, activation="relu", name=name)

    def conv(filters: int, width: int, strides: int, name: str) -> Any:
        return weighted(
            QConv1D,
            by_channel(name),
            filters=filters,
            kernel_size=width,
            strides=strides,
            padding="same",
            activation="relu",
            name=name,
        )

    def pool(length: int, name: str) -> Any:
        return QMaxPooling1D(length, iq_conf=by_channel(name), name=name)

    def last(units: int, name: str) -> Any:
        return weighted(QDense, lane(FIRST_BITS[READS[name]]), units=units, name=name)

    return _student(keras, _Layers(first, dense, conv, pool, last), config, outputs, shape)


def _student(
    keras: Any, kinds: _Layers, config: RpcConfig, outputs: int, shape: StudentShape
) -> Any:
    layers = keras.layers
    image = keras.Input((config.rows, config.strips, 1), name="image")
    steps, columns = config.strips // STRIPS_PER_STEP, config.strips // STRIPS_PER_COLUMN
    stations = []
    for name, (first, count) in station_rows(config).items():
        cut = ((first, config.rows - first - count), (0, 0))
        rows = layers.Cropping2D(cut, name=f"{name}_rows")(image)
        rows = layers.Permute((2, 1, 3), name=f"{name}_strips")(rows)
        rows = layers.Reshape((steps, STRIPS_PER_STEP * count), name=f"{name}_steps")(rows)
        stations.append(kinds.first(1, name=name)(rows))
    x = layers.Concatenate(name="stations")(stations)
    x = layers.Reshape((columns, len(stations) * steps // columns), name="columns")(x)
    x = kinds.dense(shape.column, name="column")(x)
    x = kinds.conv(shape.roads, shape.road_width, shape.road_stride, name="roads")(x)
    x = kinds.dense(shape.mix, name="mix")(x)
    x = kinds.dense(shape.local, name="local")(x)
    quarter = x.shape[1] // QUARTERS
    coarse = layers.Flatten(name="coarse")(kinds.pool(quarter, name="quarter")(x))
    seen = kinds.dense(1, name="seen")(x)
    seen = layers.Reshape((QUARTERS, quarter), name="by_quarter")(seen)
    fine = layers.Flatten(name="fine")(kinds.pool(QUARTERS, name="place")(seen))
    both = layers.Concatenate(name="both")([coarse, fine])
    return keras.Model(image, kinds.last(outputs, name="out")(both), name="student")


def station_rows(config: RpcConfig) -> dict[str, tuple[int, int]]:
    """Layer name of each station and its rows in the image: (first, how many)."""
    counts = config.station_layers
    if config.rows != config.layers:
        counts = (1,) * config.rows
    firsts = np.cumsum((0, *counts[:-1])).tolist()
    pairs = enumerate(zip(firsts, counts, strict=True))
    return {f"station_{n}": (first, count) for n, (first, count) in pairs}


def start_on_roads(model: Any, config: RpcConfig, max_bend: float = 26.0) -> None:
    """Set the first weights of a student from the geometry, and a little noise.

    Each channel of ``roads`` starts as the path of a track that bends by up to ``max_bend`` strips
    between the first station and the last: without this start the charge is not found in the few
    epochs of the demonstration. Training changes all of it.
    """
    stations = station_rows(config)
    for name, (_, count) in stations.items():
        kernel, bias = _scaled(model, name, 0.1)
        _set(model, name, kernel + 1 / count, bias)

    # Channels come in sets, one a station: light to the left, then to the right of the column.
    kernel, bias = _scaled(model, "column", 0.3)
    kernel = kernel.reshape(-1, len(stations), kernel.shape[1])
    ramp = np.linspace(1, 0, len(kernel))
    for channel in range(kernel.shape[2]):
        side = ramp if channel < len(stations) else ramp[::-1]
        kernel[:, channel % len(stations), channel] += 0.7 * side
    _set(model, "column", kernel.reshape(-1, kernel.shape[2]), bias)

    kernel, bias = _scaled(model, "roads", 0.3)
    width, channels, roads = kernel.shape
    shape = bend_shape(config)
    for road, bend in enumerate(np.linspace(-max_bend, max_bend, roads)):
        for channel in range(channels):
            side = 0.25 if channel < len(stations) else -0.25
            path = bend * (shape[channel % len(stations)] - 0.4) / STRIPS_PER_COLUMN
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


def start_from_float(source: Any, target: Any) -> None:
    """Set the weights of a student for the chip to those of a float one.

    Half an LSB goes to the bias of every layer whose results are cut, so that at the start the cut
    is a rounding and training does not begin with a shift everywhere.
    Raises `InputError` where one is no student, or they are for different images.
    """
    names = [layer.name for layer in target.layers if hasattr(layer, "kernel")]
    missing = {"out", *names} - {layer.name for layer in source.layers}
    if missing:
        raise InputError(
            f"The model {source.name!r} has no layers {sorted(missing)}.",
            "Give a student of the muon study, for the same images.",
        )
    for name in names:
        kernel, bias = _scaled(source, name, 1.0)
        if name != "out":
            _, fraction = FIRST_BITS[name.partition("_")[0]]
            bias = bias + 2.0 ** -(fraction + 1)
        _set(target, name, kernel, bias)


def _scaled(model: Any, name: str, factor: float) -> tuple[np.ndarray, np.ndarray]:
    layer = model.get_layer(name)
    return to_array(layer.kernel) * factor, to_array(layer.bias)


def _set(model: Any, name: str, kernel: np.ndarray, bias: np.ndarray) -> None:
    # Not set_weights: an HGQ2 layer's list of weights holds its bit widths as well.
    layer = model.get_layer(name)
    layer.kernel.assign(kernel)
    layer.bias.assign(bias)
