"""From a trained HGQ2 model to a Graph that gives the same numbers, to the last bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import ConversionError, GraphError, InputError, MismatchError
from hairtrigger.fixed import Fixed, IntArray
from hairtrigger.frontends.hgq_layers import convert
from hairtrigger.frontends.hgq_support import functional, problems, walk
from hairtrigger.frontends.hgq_wires import Net, Wire
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.graph import Builder, Graph, TensorType
from hairtrigger.graph.emulate import chunk_size
from hairtrigger.graph.types import Shape

InputFormat = Fixed | TensorType


def from_hgq(
    model: Any,
    *,
    input_format: InputFormat | Mapping[str, InputFormat] | None = None,
    name: str | None = None,
) -> Graph:
    """The Graph of a trained HGQ2 (0.2) model, functional or sequential.

    Its Inputs carry formats, rounding and overflow of the quantizers that first read the model's
    inputs, so that `hairtrigger.graph.encode` does to real numbers what they do. Where several
    different quantizers read an input, ``input_format`` is needed: the format, one for all inputs
    or by name, to which data are brought first (rounded to nearest, saturated). The model's own
    quantizers then follow in the Graph.

    Raises `ConversionError`, naming every layer that has no exact form, with reason and way out.
    """
    keras = import_keras()
    if not isinstance(model, keras.Model):
        raise InputError(
            f"from_hgq takes a Keras model, not a {type(model).__name__}.",
            "Load a file with hairtrigger.frontends.keras_file.load_model(path).",
        )
    graph_model = _functional(model)
    found = problems(graph_model)
    if found:
        raise ConversionError(
            f"{len(found)} thing(s) in model {model.name!r} have no exact fixed-point form:\n  - "
            + "\n  - ".join(found),
            "See the way out of each layer.",
        )
    # Tensors of unnamed inputs are numbered through a session; their layers read better.
    names = _distinct([t._keras_history.operation.name for t in graph_model.inputs])
    shapes = [_shape(tensor) for tensor in graph_model.inputs]
    formats = _formats(input_format, names, shapes)
    net = Net(Builder(name or model.name), names, shapes, formats)
    try:
        wires = _run(net, graph_model, net.inputs)
        net.label = "(output)"
        outputs = _distinct([t._keras_history.operation.name for t in graph_model.outputs])
        return net.finish(dict(zip(outputs, wires, strict=True)))
    except GraphError as error:
        raise ConversionError(f"Layer {net.label}: {error.problem}", error.fix) from error


def _run(net: Net, model: Any, inputs: Sequence[Wire], path: str = "") -> list[Wire]:
    """Wires of a functional model's outputs."""
    from keras import Model, tree

    values = {id(tensor): wire for tensor, wire in zip(model.inputs, inputs, strict=True)}
    for node in walk(model):
        args, _ = node.arguments.fill_in(values)
        op = node.operation
        net.label = f"{path}{op.name} ({type(op).__name__})"
        if isinstance(op, Model):
            inner = [item for item in tree.flatten(args) if isinstance(item, Wire)]
            results = _run(net, functional(op), inner, f"{path}{op.name}/")
        else:
            results = [convert(net, op, args)]
        values.update((id(t), wire) for t, wire in zip(node.outputs, results, strict=True))
    return [values[id(tensor)] for tensor in model.outputs]


def _functional(model: Any) -> Any:
    found = functional(model)
    if found is None and not model.built:
        raise ConversionError(
            f"Model {model.name!r} is not built: it has no input shape and no weights yet.",
            "Give it a keras.Input, or call it on data once.",
        )
    if found is None:
        raise ConversionError(
            f"Model {model.name!r} ({type(model).__name__}) is subclassed and shows no graph of "
            "layers.",
            "Build it as a functional model: keras.Model(inputs, outputs).",
        )
    return found


def _shape(tensor: Any) -> Shape:
    shape = tuple(tensor.shape[1:])
    if None in shape:
        raise ConversionError(
            f"Input {tensor.name!r} has shape {tensor.shape}: only the number of events may be "
            "open.",
            "Fix the other lengths: a chip has a fixed number of wires.",
        )
    return shape


def _distinct(names: list[str]) -> list[str]:
    """The names, with a number behind those that come again."""
    return [n if n not in names[:at] else f"{n}_{at}" for at, n in enumerate(names)]


def _formats(
    given: InputFormat | Mapping[str, InputFormat] | None,
    names: Sequence[str],
    shapes: Sequence[Shape],
) -> list[TensorType | None]:
    by_name = given if isinstance(given, Mapping) else dict.fromkeys(names, given)
    unknown = sorted(set(by_name) - set(names))
    if unknown:
        raise InputError(
            f"input_format names {unknown}; the model's inputs are {list(names)}.",
            "Use these names.",
        )
    found: list[TensorType | None] = []
    for name, shape in zip(names, shapes, strict=True):
        form = by_name.get(name)
        if isinstance(form, Fixed):
            form = TensorType.uniform(shape, form)
        if form is not None and form.shape != shape:
            raise InputError(
                f"input_format of {name!r} has shape {form.shape}; the input has {shape}.",
                "Give one Fixed for all elements, or a TensorType of the input's shape.",
            )
        found.append(form)
    return found


def keras_values(
    model: Any, graph: Graph, codes: Sequence[IntArray], batch_size: int | None = None
) -> tuple[IntArray, ...]:
    """What Keras itself gives for on-grid inputs, as codes of the Graph's output types.

    ``codes``: one ``int64`` array (events, *shape) for each Input of ``graph``, the Graph of
    ``model`` (`hairtrigger.graph.encode` makes them from real numbers). Keras computes in float32,
    in batches of one size, so that it compiles once; without ``batch_size`` the size follows from
    the Graph's largest tensor. Raises `MismatchError` where an output is not on its type's grid and
    `InputError` where an input does not fit float32.
    """
    import_keras()
    from keras import tree

    events = len(codes[0])
    inputs = [
        _float32(op.name, values * 2.0**-op.type.lsb)
        for op, values in zip(graph.input_ops, codes, strict=True)
    ]
    types = graph.output_types
    results = [np.empty((events, *t.shape), dtype=np.int64) for t in types]
    structure = _functional(model)._inputs_struct
    limit = batch_size or min(4096, max(64, 8 * chunk_size(graph)))
    size = min(limit, 1 << max(events - 1, 0).bit_length())
    for start in range(0, events, size):
        stop = min(start + size, events)
        batch = [_filled(x[start:stop], size) for x in inputs]
        made = model.predict_on_batch(tree.pack_sequence_as(structure, batch))
        for n, (result, t, y) in enumerate(zip(results, types, tree.flatten(made), strict=True)):
            real = np.asarray(y, dtype=np.float64)[: stop - start]
            result[start:stop] = _codes(real.reshape(-1, *t.shape), t, graph.output_names[n])
    return tuple(results)


def _float32(name: str, values: NDArray[np.float64]) -> NDArray[np.float32]:
    narrow = values.astype(np.float32)
    if (narrow != values).any():
        raise InputError(
            f"Input {name!r} holds numbers of more than 24 bits, which Keras would round.",
            "Compare on inputs of at most 24 bits.",
        )
    return narrow


def _filled(x: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """The batch, filled up to ``size`` events with its first one."""
    return np.concatenate([x, np.repeat(x[:1], size - len(x), axis=0)]) if len(x) < size else x


def _codes(values: NDArray[np.float64], t: TensorType, name: str) -> IntArray:
    scaled = values * 2.0**t.lsb
    wrong = ~np.isfinite(scaled) | (scaled != np.rint(scaled)) | (np.abs(scaled) > 2.0**62)
    if wrong.any():
        where = tuple(int(n) for n in np.argwhere(wrong)[0])
        raise MismatchError(
            f"Keras gives {values[where]!r} for output {name!r} at {where}, which is no multiple "
            f"of the Graph's LSB 2**{-t.lsb}.",
            "Convert the model again: it has changed, or a sum of it passes float32's 24 bits.",
        )
    return scaled.astype(np.int64)
