"""What of a network can go: slices of its input and channels of its layers; how to let it go.

A unit that goes leaves zeros, so that a simplified network keeps its shape and its file: of an
input slice no bits enter the chip, of a channel no weights are left and the passes take away what
read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.graph import Graph, TensorType
from hairtrigger.graph.graph import rewrite
from hairtrigger.graph.ops import Input
from hairtrigger.graph.passes import optimise
from hairtrigger.train.checkpoint import to_array
from hairtrigger.train.prune import hold

INPUT = "input"
"""The ``layer`` of a unit that is a slice of the input."""


@dataclass(frozen=True, order=True)
class Unit:
    """Slice ``index`` of the input along an axis (``layer`` is `INPUT`), or channel ``index`` of
    the layer of that name."""

    layer: str
    index: int


@dataclass(frozen=True)
class Dropped:
    """What has gone: slices of the input along ``axis`` (without the event axis), and channels by
    the name of their layer."""

    axis: int = 0
    inputs: tuple[int, ...] = ()
    channels: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])

    @property
    def units(self) -> tuple[Unit, ...]:
        """All of it, one by one."""
        slices = [Unit(INPUT, n) for n in self.inputs]
        return (*slices, *(Unit(name, n) for name, at in self.channels.items() for n in at))

    def plus(self, units: Iterable[Unit]) -> Dropped:
        """The same and more."""
        inputs, channels = set(self.inputs), {k: set(v) for k, v in self.channels.items()}
        for unit in units:
            place = inputs if unit.layer == INPUT else channels.setdefault(unit.layer, set())
            place.add(unit.index)
        ordered = {name: tuple(sorted(at)) for name, at in sorted(channels.items())}
        return Dropped(self.axis, tuple(sorted(inputs)), ordered)


def input_units(model: Any, axis: int = 0) -> tuple[Unit, ...]:
    """The slices of a Keras model's only input along ``axis``, the event axis not counted.

    Raises `InputError` for a model of several inputs or an axis that is not there.
    """
    shape = _input_shape(model)
    return tuple(Unit(INPUT, n) for n in range(shape[_axis(shape, axis)]))


def channel_units(model: Any) -> tuple[Unit, ...]:
    """The channels of all Dense and Conv layers of a Keras model but those that are its outputs.

    Layers whose bias or normalisation would speak without them are left out: they have no kernel
    of their own kind, or scale what they say.
    """
    last = {id(tensor._keras_history.operation) for tensor in model.outputs}
    found: list[Unit] = []
    for layer in model.layers:
        if id(layer) not in last and _has_channels(layer):
            found += [Unit(layer.name, n) for n in range(layer.kernel.shape[-1])]
    return tuple(found)


def _has_channels(layer: Any) -> bool:
    kernel = getattr(layer, "kernel", None)
    if kernel is None or len(kernel.shape) < 2 or hasattr(layer, "bn_gamma"):
        return False
    return kernel.shape[-1] == layer.output.shape[-1]


def mask_of(shape: Sequence[int], dropped: Dropped) -> NDArray[np.uint8]:
    """1 where an input number stays, 0 where it has gone; of the shape of an event."""
    mask = np.ones(tuple(shape), dtype=np.uint8)
    axis = _axis(shape, dropped.axis)
    wrong = [n for n in dropped.inputs if not 0 <= n < mask.shape[axis]]
    if wrong:
        raise InputError(
            f"The input has no slices {wrong} along axis {axis}: it has {mask.shape[axis]}.",
            "Give those of this network.",
        )
    mask[(slice(None),) * axis + (list(dropped.inputs),)] = 0
    return mask


def without_channels(model: Any, channels: Mapping[str, Sequence[int]]) -> None:
    """Set the weights of channels to zero and hold them there in training, as `prune` does.

    Changes ``model``. Raises `InputError` for a layer or channel that the model does not have.
    """
    known = {unit.layer for unit in channel_units(model)}
    for name, indices in channels.items():
        if name not in known:
            raise InputError(
                f"The network {model.name!r} has no inner layer {name!r} with channels.",
                f"Name one of: {', '.join(sorted(known)) or 'it has none'}.",
            )
        layer = model.get_layer(name)
        count = layer.kernel.shape[-1]
        if not all(0 <= n < count for n in indices):
            raise InputError(
                f"Layer {name!r} has channels 0 to {count - 1}, not {list(indices)}.",
                "Give channels of this layer.",
            )
        for variable in (layer.kernel, layer.bias):
            if variable is None:
                continue
            mask = np.ones(tuple(variable.shape), dtype=np.float32)
            mask[..., list(indices)] = 0
            earlier = getattr(variable.constraint, "mask", None)
            mask = mask if earlier is None else mask * earlier
            variable.assign(to_array(variable) * mask)
            variable.constraint = hold(mask)
            variable.constraint.mask = mask


def without_inputs(graph: Graph, dropped: Dropped) -> Graph:
    """The Graph whose Input has no bits in the slices that have gone, simplified accordingly.

    What the chip gives is then what the Graph gave with zeros there. No pass: the interface
    changes. Raises `InputError` for a Graph of several inputs.
    """
    if len(graph.inputs) != 1:
        raise InputError(
            f"Graph {graph.name!r} has {len(graph.inputs)} inputs.", "Give one with one input."
        )
    place = graph.inputs[0]
    op = graph.nodes[place].op
    assert isinstance(op, Input)
    t = op.type
    mask = mask_of(t.shape, dropped).astype(np.int64)
    gone = mask == 0
    narrow = TensorType(
        t.shape, t.signed & ~gone, np.where(gone, 0, t.integer), np.where(gone, 0, t.fraction)
    )
    return optimise(rewrite(graph, {place: replace(op, type=narrow)}))


def _input_shape(model: Any) -> tuple[int, ...]:
    if len(model.inputs) != 1:
        raise InputError(
            f"The network {model.name!r} has {len(model.inputs)} inputs.",
            "Give one with one input.",
        )
    return tuple(model.inputs[0].shape[1:])


def _axis(shape: Sequence[int], axis: int) -> int:
    if not 0 <= axis < len(shape):
        raise InputError(
            f"Axis {axis} of an input of shape {tuple(shape)}.", f"Give 0 to {len(shape) - 1}."
        )
    return axis
