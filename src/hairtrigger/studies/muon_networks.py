"""The networks of the muon study: a float teacher, and a student of about a thousand weights.

The student reads the image as a detector expert would. A ``station`` layer for each station says of
each strip, a bit for each, whether any of its layers fired and whether two did; ``hits`` and
``column`` find, in eight strips of a station, where a cluster lies; ``roads`` joins the columns of
all stations along the path of a bent track, and starts as today's trigger roads do, from the
geometry; ``mix`` and ``found`` judge what was found at each column. Of all but the last of its
answers the largest of the sector counts; the last says where it was, as the largest in each of some
places. ``hidden`` puts the two together, since the same bend is another pT at another eta, and one
matrix turns that into the outputs. No layer up to here depends on the position, so one small module
serves all of it in the chip.
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

STRIPS_PER_COLUMN = 8
VOTE_WEIGHTS = np.array((0.3, 0.7))
"""What a hit and a coincidence count at first."""


def _bends(count: int, largest: float = 24.0) -> tuple[float, ...]:
    return tuple(float(bend) for bend in np.linspace(-largest, largest, count))


@dataclass(frozen=True)
class StudentShape:
    """How many channels each layer of a student has, and in how many ``places`` it says where.

    ``votes``: bits that a station says of a strip, the first for any layer, the next for two.
    ``bends`` has one start for each channel of ``roads``: strips between first and last station.
    With two ``phases``, columns start at every fourth strip as well as at every eighth, and all
    layers are applied to both: finer steps at no more weights.
    """

    votes: int = 2
    phases: int = 2
    hits: int = 6
    column: int = 3
    bends: tuple[float, ...] = _bends(9)
    road_width: int = 5
    mix: int = 10
    found: int = 8
    places: int = 16
    hidden: int = 9


STUDENT = StudentShape()
TEACHER = StudentShape(hits=16, column=6, bends=_bends(20), mix=20, found=20, hidden=32)
"""A student twice as wide in all layers learns more in less time than a network of layers that know
nothing of roads."""

FIRST_BITS = {
    "station": (1, 0),
    "hits": (1, 3),
    "column": (1, 4),
    "roads": (2, 3),
    "mix": (2, 4),
    "found": (3, 4),
    "hidden": (3, 5),
}
"""Integer and fraction bits that a layer's results are cut to when training begins. The first stay
as they are, since they follow from the size of the results; the second are learned."""
STAYING = ("station", "hits")
"""Results whose bits are not learned: few bits to win, at 3,072 numbers an image to look at."""
READS = {
    "hits": "station",
    "column": "hits",
    "roads": "column",
    "mix": "roads",
    "found": "mix",
    "near": "found",
    "hidden": "found",
    "out": "hidden",
}
PRUNED = ("hits", "column", "roads", "mix", "found", "hidden")
"""Layers that pruning takes weights from."""
WEIGHT_FRACTION = 5
"""Fraction bits of the student's weights when its training begins."""


@dataclass(frozen=True)
class _Layers:
    """The kinds of layers of a student, float or quantised; ``first`` reads the image's bits, and
    what it says is at most 1 to those who read it."""

    first: Callable[..., Any]
    dense: Callable[..., Any]
    conv: Callable[..., Any]
    pool: Callable[..., Any]
    hidden: Callable[..., Any]
    last: Callable[..., Any]


def build_teacher(config: RpcConfig, outputs: int) -> Any:
    """A float network of some five thousand weights: a wide student."""
    return build_float_student(config, outputs, TEACHER, "teacher")


def build_float_student(
    config: RpcConfig, outputs: int, shape: StudentShape = STUDENT, name: str = "student"
) -> Any:
    """The student in float: the same layers, the same number of weights."""
    keras = import_keras()
    layers = keras.layers

    def first(units: int, name: str) -> Any:
        dense = layers.Dense(units, activation="relu", name=name)
        # As the one bit does in the chip.
        clip = layers.ReLU(max_value=1.0, name=f"{name}_votes")
        return lambda x: clip(dense(x))

    kinds = _Layers(
        first=first,
        dense=partial(layers.Dense, activation="relu"),
        conv=partial(layers.Conv2D, padding="same", activation="relu"),
        pool=layers.MaxPooling2D,
        hidden=partial(layers.Dense, activation="relu"),
        last=layers.Dense,
    )
    return _student(keras, kinds, config, outputs, shape, name)


def build_student(config: RpcConfig, outputs: int, shape: StudentShape = STUDENT) -> Any:
    """The student for the chip: HGQ2 layers whose bit widths are learned.

    Every weight has its own width; an activation has one for each channel, so that all positions
    share one module; those before the last two matrices have one each. Activations are rounded to
    nearest (RND), which costs no adder since half an LSB joins the bias, and saturate (SAT): no
    value can wrap around on images that training did not see, at the price of a comparison each.
    """
    keras = import_keras()
    from hgq.constraints import MinMax
    from hgq.layers import QConv2D, QDense, QMaxPooling2D
    from hgq.quantizer import QuantizerConfig

    def lane(bits: tuple[int, int], **changes: Any) -> Any:
        whole, fraction = bits
        form = {"k0": False, "round_mode": "RND", "overflow_mode": "SAT"}
        # Fixed integer bits: one bit less would halve the range at a stroke and cut what is large.
        form |= {"i0": whole, "f0": fraction, "ic": MinMax(whole, whole)}
        return QuantizerConfig("kif", "datalane", **form, **changes)

    def by_channel(name: str) -> Any:
        """For what layer ``name`` reads: a width for each channel."""
        bits = FIRST_BITS[READS[name]]
        if READS[name] in STAYING:
            return same(bits)
        return lane(bits, homogeneous_axis=None, heterogeneous_axis=(-1,))

    def same(bits: tuple[int, int]) -> Any:
        """One width, which stays, for all of a tensor."""
        return lane(bits, trainable=False, homogeneous_axis=None, heterogeneous_axis=())

    def weighted(layer: Any, iq: Any, **arguments: Any) -> Any:
        # WRAP on a weight: the integer bits follow its value, so none ever wraps.
        fine = QuantizerConfig("kif", "weight", overflow_mode="WRAP", i0=2, f0=WEIGHT_FRACTION)
        return layer(iq_conf=iq, kq_conf=fine, bq_conf=fine, **arguments)

    def first(units: int, name: str) -> Any:
        return weighted(QDense, same((1, 0)), units=units, activation="relu", name=name)

    def dense(units: int, name: str) -> Any:
        return weighted(QDense, by_channel(name), units=units, activation="relu", name=name)

    def conv(filters: int, width: tuple[int, int], name: str) -> Any:
        return weighted(
            QConv2D,
            by_channel(name),
            filters=filters,
            kernel_size=width,
            padding="same",
            activation="relu",
            name=name,
        )

    def pool(size: tuple[int, int], name: str) -> Any:
        return QMaxPooling2D(size, iq_conf=by_channel(name), name=name)

    def hidden(units: int, name: str) -> Any:
        return weighted(
            QDense, lane(FIRST_BITS[READS[name]]), units=units, activation="relu", name=name
        )

    def last(units: int, name: str) -> Any:
        return weighted(QDense, lane(FIRST_BITS[READS[name]]), units=units, name=name)

    kinds = _Layers(first, dense, conv, pool, hidden, last)
    return _student(keras, kinds, config, outputs, shape, "student")


def _student(
    keras: Any, kinds: _Layers, config: RpcConfig, outputs: int, shape: StudentShape, name: str
) -> Any:
    layers = keras.layers
    image = keras.Input((config.rows, config.strips, 1), name="image")
    columns = config.strips // STRIPS_PER_COLUMN
    votes = _votes(config, shape)
    stations = []
    for station, (first, count) in station_rows(config).items():
        cut = ((first, config.rows - first - count), (0, 0))
        rows = layers.Cropping2D(cut, name=f"{station}_rows")(image)
        rows = layers.Permute((2, 1, 3), name=f"{station}_strips")(rows)
        rows = layers.Reshape((config.strips, count), name=f"{station}_steps")(rows)
        stations.append(kinds.first(votes, name=station)(rows))
    strips = layers.Concatenate(name="stations")(stations)
    phases = []
    for number in range(shape.phases):
        x = strips
        if number:
            step = number * STRIPS_PER_COLUMN // shape.phases
            x = layers.Cropping1D((step, 0), name=f"from_{step}")(x)
            x = layers.ZeroPadding1D((0, step), name=f"fill_{step}")(x)
        size = (columns, STRIPS_PER_COLUMN, len(stations), votes)
        x = layers.Reshape(size, name=f"columns_{number}")(x)
        x = layers.Permute((1, 3, 2, 4), name=f"turned_{number}")(x)
        size = (1, columns, len(stations), STRIPS_PER_COLUMN * votes)
        phases.append(layers.Reshape(size)(x))
    x = layers.Concatenate(axis=1, name="columns")(phases) if len(phases) > 1 else phases[0]
    x = kinds.dense(shape.hits, name="hits")(x)
    x = kinds.dense(shape.column, name="column")(x)
    x = layers.Reshape((shape.phases, columns, len(stations) * shape.column), name="joined")(x)
    x = kinds.conv(len(shape.bends), (1, shape.road_width), name="roads")(x)
    x = kinds.dense(shape.mix, name="mix")(x)
    x = kinds.dense(shape.found + 1, name="found")(x)
    near = kinds.pool((shape.phases, columns // shape.places), name="near")(x)
    best = layers.GlobalMaxPooling2D(name="best")(near[..., : shape.found])
    place = layers.Flatten(name="place")(near[..., shape.found :])
    x = layers.Concatenate(name="both")((best, place))
    x = kinds.hidden(shape.hidden, name="hidden")(x)
    return keras.Model(image, kinds.last(outputs, name="out")(x), name=name)


def _votes(config: RpcConfig, shape: StudentShape) -> int:
    """Where stations have one row each, there is nothing to vote on."""
    return min(shape.votes, max(count for _, count in station_rows(config).values()))


def station_rows(config: RpcConfig) -> dict[str, tuple[int, int]]:
    """Layer name of each station and its rows in the image: (first, how many)."""
    counts = config.station_layers
    if config.rows != config.layers:
        counts = (1,) * config.rows
    firsts = np.cumsum((0, *counts[:-1])).tolist()
    pairs = enumerate(zip(firsts, counts, strict=True))
    return {f"station_{n}": (first, count) for n, (first, count) in pairs}


def start_on_roads(model: Any, config: RpcConfig, shape: StudentShape = STUDENT) -> None:
    """Set the first weights of a student from the geometry, and a little noise.

    Each vote of a station starts as the coincidence that it is named for, each channel of ``roads``
    as the path of a track with one of ``shape.bends``: without this the charge is not found in the
    few epochs of the demonstration. ``hidden`` starts with units for the place along the sector and
    for its low end, where the field is weaker; without them eta is learned late, and pT with it.
    Training changes all of it.
    """
    stations = station_rows(config)
    votes = _votes(config, shape)
    for name, (_, count) in stations.items():
        kernel, bias = _scaled(model, name, 0.05)
        _set(model, name, kernel + 1, bias - np.minimum(np.arange(votes), count - 1))

    # Two numbers say where a cluster lies: light to the left and light to the right of the column.
    ramp = np.repeat(np.linspace(1, 0, STRIPS_PER_COLUMN), votes)
    trust = np.tile(VOTE_WEIGHTS[:votes] / VOTE_WEIGHTS[:votes].sum(), STRIPS_PER_COLUMN)
    kernel, bias = _scaled(model, "hits", 0.5)
    kernel[:, :2] += np.stack([ramp, ramp[::-1]], axis=1) * trust[:, None]
    _set(model, "hits", kernel, bias)
    kernel, bias = _scaled(model, "column", 0.5)
    kernel[:2, :2] += 0.7 * np.eye(2)
    _set(model, "column", kernel, bias)

    kernel, bias = _scaled(model, "roads", 0.5)
    _, width, _, _ = kernel.shape
    path_of = bend_shape(config)
    for road, bend in enumerate(shape.bends):
        for station in range(len(stations)):
            for channel, side in enumerate((0.25, -0.25)):
                path = bend * (path_of[station] - 0.4) / STRIPS_PER_COLUMN
                distance = np.arange(width) - ((width - 1) / 2 + path + side)
                start = 0.5 * np.exp(-0.5 * (distance / 0.4) ** 2)
                kernel[0, :, station * shape.column + channel, road] += start
    _set(model, "roads", kernel, bias - 0.5)
    _start_with_places(model, shape)


def _start_with_places(model: Any, shape: StudentShape) -> None:
    """The last of ``found`` adds up the evidence; three hidden units know the place, the others
    little of it."""
    kernel, bias = _scaled(model, "found", 1.0)
    kernel[:, -1] = 0.8 * np.abs(kernel[:, -1])
    _set(model, "found", kernel, bias)
    kernel, bias = _scaled(model, "hidden", 1.0)
    place = (np.arange(shape.places) + 0.5) / shape.places
    kernel[-shape.places :] *= 0.2
    kernel[: -shape.places, :2] *= 0.2
    units = (place, 1 - place, np.exp(-place / 0.12))
    for unit, value in enumerate(units):
        kernel[-shape.places :, unit] = value
    rest = np.linspace(0, 1, shape.hidden - len(units))
    kernel[-shape.places :, len(units) :] -= 0.3 * np.exp(-place / 0.2)[:, None] * rest
    _set(model, "hidden", kernel, bias + 0.1)


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

    Raises `InputError` where one is no student, or they are of different shapes.
    """
    kernels = {layer.name: layer.kernel for layer in target.layers if hasattr(layer, "kernel")}
    given = {layer.name: layer.kernel for layer in source.layers if hasattr(layer, "kernel")}
    unlike = [
        name
        for name, kernel in kernels.items()
        if name not in given or tuple(given[name].shape) != tuple(kernel.shape)
    ]
    if unlike or "out" not in kernels:
        raise InputError(
            f"The model {source.name!r} has no layers {unlike} of the shapes of {target.name!r}.",
            "Give a student of the muon study, of the same shape and for the same images.",
        )
    for name in kernels:
        _set(target, name, *_scaled(source, name, 1.0))


def _scaled(model: Any, name: str, factor: float) -> tuple[np.ndarray, np.ndarray]:
    layer = model.get_layer(name)
    return to_array(layer.kernel) * factor, to_array(layer.bias)


def _set(model: Any, name: str, kernel: np.ndarray, bias: np.ndarray) -> None:
    # Not set_weights: an HGQ2 layer's list of weights holds its bit widths as well.
    layer = model.get_layer(name)
    layer.kernel.assign(kernel)
    layer.bias.assign(bias)
