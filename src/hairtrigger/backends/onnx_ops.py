"""Each op of the Graph in ONNX. Numbers are carried in one floating-point type that is exact.

Image tensors keep channels before image axes from one convolution to the next, as ONNX wants
them, and a Dense behind a flattened image takes its weights in that order: nothing is moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hairtrigger.backends.onnx_quantize import half_before, quantize, target_scale
from hairtrigger.backends.onnx_sheet import Sheet, Value, by_channel, compact
from hairtrigger.fixed import IntArray
from hairtrigger.graph import linear, moves, ops
from hairtrigger.graph.exact import live
from hairtrigger.graph.graph import Graph, Node
from hairtrigger.graph.linear import gather, window_index
from hairtrigger.graph.ops import Pairs, Relation
from hairtrigger.graph.types import Literal, Range, Shape

ZERO = np.asarray(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Weights:
    """What Dense and Conv share: ``kernel`` (..., in, out) and ``bias`` (out,) as real numbers."""

    kernel: np.ndarray
    bias: np.ndarray | None


def write(sheet: Sheet, graph: Graph, ranges: Sequence[Range], inputs: dict[int, Value]) -> list:
    """Write every node that an output needs; returns the Values of the outputs, in order.

    ``ranges``: the codes that each node reaches; ``inputs``: Values of the Input nodes by place.
    """
    values: dict[int, Value] = dict(inputs)
    needed = live(graph)
    for place, node in enumerate(graph.nodes):
        if place not in needed or place in values:
            continue
        sheet.where = f"{place}.{type(node.op).__name__}"
        values[place] = write_node(sheet, graph, place, [values[n] for n in node.operands], ranges)
    return [values[n] for n in graph.outputs]


def write_node(
    sheet: Sheet, graph: Graph, place: int, operands: list[Value], ranges: Sequence[Range]
) -> Value:
    """Write one node, whose operands are written."""
    node = graph.nodes[place]
    types = [graph.nodes[n].type for n in node.operands]
    if all(v.constant is not None for v in operands):
        codes = [v.constant.at(t.lsb)[None] for v, t in zip(operands, types, strict=True)]
        result = Literal(node.op.evaluate(codes, types, node.type)[0], node.type.lsb)
        return Value("", node.type.shape, ZERO, constant=result)
    lsb = types[0].lsb
    match node.op:
        case ops.Quantize():
            return quantize(sheet, node.op, operands[0], types[0], ranges[node.operands[0]])
        case ops.Add():
            return _sum(sheet, "Add", node, *operands)
        case ops.Sub():
            return _sum(sheet, "Sub", node, *operands)
        case ops.Mul():
            return _mul(sheet, node, *operands)
        case ops.Compare():
            return _compare(sheet, node.op, node, *operands)
        case ops.Relu():
            return replace(operands[0], name=sheet.put("Relu", operands[0].name))
        case ops.Table():
            return _table(sheet, node.op, operands[0])
        case linear.Dense(kernel, bias):
            return _dense(sheet, graph, place, operands[0], _weights(kernel, bias))
        case linear.Conv(kernel, bias, strides, padding, groups):
            window = (strides, padding, groups)
            return _conv(sheet, graph, place, operands[0], _weights(kernel, bias), *window)
        case linear.SumPool(window, strides, padding):
            ones = np.ones((*window, 1, node.type.shape[-1]))
            groups = node.type.shape[-1]
            weights = Weights(ones, None)
            return _conv(sheet, graph, place, operands[0], weights, strides, padding, groups)
        case linear.MaxPool():
            return _max_pool(sheet, node.op, node, operands[0], lsb)
        case linear.GlobalSum(axes):
            return _global_sum(sheet, node, sheet.uniform(operands[0], lsb), axes)
        case linear.ArgMax():
            return _arg_max(sheet, node, sheet.uniform(operands[0], lsb))
        case moves.Reshape():
            return _reshape(sheet, node, operands[0])
        case moves.Transpose(order):
            x = sheet.plain(operands[0])
            scale = x.scale.transpose(order) if x.scale.ndim else x.scale
            name = sheet.put("Transpose", x.name, perm=(0, *(axis + 1 for axis in order)))
            return Value(name, node.type.shape, scale)
        case moves.Pad(padding):
            return _pad(sheet, node, sheet.uniform(operands[0], lsb), padding)
        case moves.Crop(cropping):
            return _crop(sheet, node, operands[0], cropping)
        case moves.Concat(axis):
            return _concat(sheet, node, operands, axis)
        case _:
            raise AssertionError(f"{type(node.op).__name__} is refused by unsupported().")


# --- element by element --------------------------------------------------------------------------


def _together(sheet: Sheet, a: Value, b: Value) -> tuple[Value, Value]:
    """Both stored the same way; a constant follows the other."""
    if a.constant is not None:
        return sheet.like(a, b), b
    if b.constant is not None or a.first:
        return a, sheet.like(b, a)
    if b.first:
        return sheet.like(a, b), b
    return (a, b) if a.order is b.order else (sheet.plain(a), sheet.plain(b))


def _aligned(sheet: Sheet, node: Node, a: Value, b: Value) -> tuple[Value, Value]:
    """Both at one scale, stored the same way."""
    leader, other = (b, a) if a.constant is not None else (a, b)
    same = leader.shape == node.type.shape and (other.constant or other.shape == leader.shape)
    if not same:
        leader = sheet.uniform(leader, node.type.lsb)
    return _together(sheet, *(sheet.scaled(v, leader.scale) for v in (a, b)))


def _sum(sheet: Sheet, op: str, node: Node, a: Value, b: Value) -> Value:
    a, b = _aligned(sheet, node, a, b)
    return replace(a, name=sheet.put(op, a.name, b.name), shape=node.type.shape)


def _mul(sheet: Sheet, node: Node, a: Value, b: Value) -> Value:
    a, b = (replace(v, scale=ZERO) if v.constant is not None else v for v in (a, b))
    a, b = _together(sheet, a, b)
    scale = np.asarray(a.scale + b.scale)
    scale = compact(np.broadcast_to(scale, node.type.shape)) if scale.ndim else scale
    name = sheet.put("Mul", a.name, b.name)
    return replace(a, name=name, shape=node.type.shape, scale=scale)


def _compare(sheet: Sheet, op: ops.Compare, node: Node, a: Value, b: Value) -> Value:
    a, b = _aligned(sheet, node, a, b)
    names = {Relation.GT: "Greater", Relation.GE: "GreaterOrEqual", Relation.EQ: "Equal"}
    name = sheet.cast(sheet.put(names[op.relation], a.name, b.name), sheet.real)
    return replace(a, name=name, shape=node.type.shape, scale=ZERO)


def _table(sheet: Sheet, op: ops.Table, x: Value) -> Value:
    x = sheet.scaled(x, np.asarray(op.fraction))
    start = np.asarray(-op.first)
    if op.select is not None:
        start = op.select.codes * op.values.shape[1] - op.first
    name = x.name
    if not sheet.rounds:  # what lies between two entries, or beyond the last, takes the nearest
        last = op.first + op.values.shape[1] - 1
        name = sheet.put("Max", sheet.put("Round", name), sheet.number(float(op.first)))
        name = sheet.put("Min", name, sheet.number(float(last)))
    index = sheet.put("Add", sheet.cast(name, np.int64), sheet.array(x.lay(start)))
    values = sheet.number(op.values.codes.ravel())
    name = sheet.put("Gather", values, index, axis=0)
    return replace(x, name=name, scale=np.asarray(op.values.fraction))


# --- sums ----------------------------------------------------------------------------------------


def _weights(kernel: Literal, bias: Literal | None) -> Weights:
    return Weights(kernel.values, None if bias is None else bias.values)


def _after(graph: Graph, place: int) -> IntArray:
    """The scale that what follows a node would like; that of its LSB where it is all the same."""
    users = set(graph.users[place])
    wanted = None
    if len(users) == 1 and place not in graph.outputs:
        (user,) = users
        match graph.nodes[user].op:
            case ops.Quantize(type=t):
                wanted = target_scale(t)
            case ops.Relu():
                wanted = _after(graph, user)
            case linear.MaxPool():
                scale = by_channel(_after(graph, user))
                if scale is not None:
                    wanted = np.broadcast_to(scale, graph.nodes[place].type.shape)
            case moves.Reshape():
                scale = _after(graph, user)
                wanted = scale.reshape(graph.nodes[place].type.shape) if scale.ndim else scale
            case _:
                pass
    return np.asarray(graph.nodes[place].type.lsb) if wanted is None else wanted


def _half(graph: Graph, place: int) -> np.ndarray | None:
    """What a Quantize behind a sum adds before it rounds, by channel, if the sum may add it.

    A ReLU between them does not matter: rounding gives 0 for whatever it would have cut.
    """
    users = set(graph.users[place])
    if len(users) != 1 or place in graph.outputs:
        return None
    (user,) = users
    op = graph.nodes[user].op
    if isinstance(op, ops.Relu):
        return _half(graph, user)
    half = half_before(op, graph.nodes[place].type) if isinstance(op, ops.Quantize) else None
    return None if half is None or not half.any() else by_channel(half)


def _absorb(
    sheet: Sheet, graph: Graph, place: int, weights: Weights, scale_in: IntArray
) -> tuple[Weights, IntArray, bool]:
    """Weights that take the scale of the operand, give the one wanted, and round on the way.

    ``scale_in``: one number, or one for each row of the kernel. Returns the weights, the scale of
    the result, and whether half an LSB is in the bias.
    """
    shape = graph.nodes[place].type.shape
    wanted = _after(graph, place)
    scale = by_channel(wanted)
    half = _half(graph, place) if sheet.rounds else None
    if scale is None:
        scale, half = np.asarray(graph.nodes[place].type.lsb), None
    rows = scale_in[:, None] if scale_in.ndim else scale_in
    kernel = np.ldexp(weights.kernel, scale - rows)
    bias = None if weights.bias is None else np.ldexp(weights.bias, scale)
    if half is not None:
        bias = half + (0.0 if bias is None else bias)
    full = np.broadcast_to(scale, shape) if scale.ndim else scale
    if bias is not None:
        bias = np.broadcast_to(bias, weights.kernel.shape[-1:])
    return Weights(kernel, bias), full, half is not None


def _dense(sheet: Sheet, graph: Graph, place: int, x: Value, weights: Weights) -> Value:
    node = graph.nodes[place]
    if x.first:
        x = sheet.plain(x)
    x, scale_in = sheet.by_channel(x, graph.nodes[node.operands[0]].type.lsb)
    weights, scale, half = _absorb(sheet, graph, place, weights, scale_in)
    kernel = weights.kernel if x.order is None else weights.kernel[x.order]
    arrays = [sheet.number(kernel)]
    if weights.bias is not None:
        arrays.append(sheet.number(weights.bias))
    if len(x.shape) == 1:
        name = sheet.put("Gemm", x.name, *arrays)
    else:
        name = sheet.put("MatMul", x.name, arrays[0])
        name = sheet.put("Add", name, arrays[1]) if len(arrays) == 2 else name
    return Value(name, node.type.shape, scale, half=half)


def _conv(
    sheet: Sheet,
    graph: Graph,
    place: int,
    x: Value,
    weights: Weights,
    strides: tuple[int, ...],
    padding: Pairs,
    groups: int,
) -> Value:
    shape = graph.nodes[place].type.shape
    lsb = graph.nodes[graph.nodes[place].operands[0]].type.lsb
    x, scale_in = sheet.by_channel(x, lsb)
    if scale_in.ndim and groups > 1:  # rows of the kernel serve several channels then
        x = sheet.scaled(x, np.asarray(lsb))
        scale_in = x.scale
    weights, scale, half = _absorb(sheet, graph, place, weights, scale_in)
    if sheet.products:
        name = _conv_by_product(sheet, shape, sheet.plain(x), weights, strides, padding, groups)
        return Value(name, shape, scale, half=half)
    x = sheet.channels_first(x)
    rank = len(strides)
    kernel = weights.kernel.transpose(rank + 1, rank, *range(rank))
    arrays = [sheet.number(kernel)]
    if weights.bias is not None:
        arrays.append(sheet.number(weights.bias))
    pads = (*(a for a, _ in padding), *(b for _, b in padding))
    window = kernel.shape[2:]
    name = sheet.put(
        "Conv", x.name, *arrays, kernel_shape=window, strides=strides, pads=pads, group=groups
    )
    return Value(name, shape, scale, first=True, half=half)


def _conv_by_product(
    sheet: Sheet,
    shape: Shape,
    x: Value,
    weights: Weights,
    strides: tuple[int, ...],
    padding: Pairs,
    groups: int,
) -> str:
    """A convolution as a matrix product over gathered windows: no engine can turn it into a
    Winograd or FFT convolution, which are not exact."""
    *image, channels = x.shape
    window = weights.kernel.shape[:-2]
    index = window_index(tuple(image), window, strides, padding)
    elements = np.arange(x.size).reshape(x.shape)
    places = gather(elements, index, x.size).reshape(-1, index.shape[-1] * channels)
    flat = sheet.reshape(x.name, (x.size,))
    if (places == x.size).any():  # what lies in the padding reads one zero at the end
        flat = sheet.put("Pad", flat, sheet.integers(0, 0, 0, 1))
    seen = sheet.put("Gather", flat, sheet.array(places), axis=1)
    # Groups: a kernel with zeros where a channel does not see another.
    out = weights.kernel.shape[-1]
    kernel = np.zeros((*window, channels, out))
    for group in range(groups):
        rows = slice(group * channels // groups, (group + 1) * channels // groups)
        columns = slice(group * out // groups, (group + 1) * out // groups)
        kernel[..., rows, columns] = weights.kernel[..., columns]
    name = sheet.put("MatMul", seen, sheet.number(kernel.reshape(-1, out)))
    if weights.bias is not None:
        name = sheet.put("Add", name, sheet.number(weights.bias))
    return sheet.reshape(name, shape)


def _max_pool(sheet: Sheet, op: linear.MaxPool, node: Node, x: Value, lsb: int) -> Value:
    x, scale = sheet.by_channel(x, lsb)
    x = sheet.channels_first(x)
    shape = node.type.shape
    # Padding that no window reaches would be refused.
    after = [
        max(0, (places - 1) * step + size - n - before)
        for places, step, size, n, (before, _) in zip(
            shape, op.strides, op.window, x.shape, op.padding, strict=False
        )
    ]
    pads = (*(a for a, _ in op.padding), *after)
    name = sheet.put("MaxPool", x.name, kernel_shape=op.window, strides=op.strides, pads=pads)
    scale = np.broadcast_to(scale, shape) if scale.ndim else scale
    return Value(name, shape, scale, first=True)


def _stored_axes(x: Value, axes: Sequence[int]) -> list[int]:
    """Where the model stores axes of the node (no event axis) of a tensor."""
    rank = len(x.shape)
    if not x.first:
        return [axis + 1 for axis in axes]
    return [1 if axis == rank - 1 else axis + 2 for axis in axes]


def _global_sum(sheet: Sheet, node: Node, x: Value, axes: tuple[int, ...]) -> Value:
    if x.order is not None:
        x = replace(x, order=None)  # a sum has no order
    stored = sheet.integers(*_stored_axes(x, axes))
    name = sheet.put("ReduceSum", x.name, stored, keepdims=0)
    rank = len(x.shape)
    first = x.first and rank - 1 not in axes and len(node.type.shape) > 1
    return Value(name, node.type.shape, x.scale, first=first)


def _arg_max(sheet: Sheet, node: Node, x: Value) -> Value:
    if x.order is not None:
        x = sheet.plain(x)
    (axis,) = _stored_axes(x, [len(x.shape) - 1])
    name = sheet.put("ArgMax", x.name, axis=axis, keepdims=0)
    return Value(sheet.cast(name, sheet.real), node.type.shape, ZERO)


# --- moves ---------------------------------------------------------------------------------------


def _reshape(sheet: Sheet, node: Node, x: Value) -> Value:
    shape = node.type.shape
    scale = x.scale.reshape(shape) if x.scale.ndim else x.scale
    if x.first and len(shape) == 1:
        order = np.moveaxis(np.arange(x.size).reshape(x.shape), -1, 0).ravel()
        return Value(sheet.reshape(x.name, shape), shape, scale, order=order)
    x = sheet.plain(x)
    return Value(sheet.reshape(x.name, shape), shape, scale)


def _pairs(x: Value, pairs: Pairs) -> list[tuple[int, int]]:
    """Numbers before and after each axis, event axis first, as the model stores them."""
    stored = [*pairs[-1:], *pairs[:-1]] if x.first else list(pairs)
    return [(0, 0), *stored]


def _pad(sheet: Sheet, node: Node, x: Value, padding: Pairs) -> Value:
    x = sheet.plain(x) if x.order is not None else x
    pairs = _pairs(x, padding)
    pads = sheet.integers(*(a for a, _ in pairs), *(b for _, b in pairs))
    return replace(x, name=sheet.put("Pad", x.name, pads), shape=node.type.shape)


def _crop(sheet: Sheet, node: Node, x: Value, cropping: Pairs) -> Value:
    x = sheet.plain(x) if x.order is not None else x
    scale = x.scale
    if scale.ndim:
        scale = compact(moves.Crop(cropping).move(scale[None], x.shape)[0])
    stored = (x.shape[-1:] + x.shape[:-1]) if x.first else x.shape
    cuts = [
        (axis, a, n - b)
        for axis, ((a, b), n) in enumerate(zip(_pairs(x, cropping)[1:], stored, strict=True), 1)
        if a or b
    ]
    name = x.name
    if cuts:
        axes, starts, ends = zip(*cuts, strict=True)
        name = sheet.put("Slice", name, *(sheet.integers(*n) for n in (starts, ends, axes)))
    return replace(x, name=name, shape=node.type.shape, scale=scale)


def _concat(sheet: Sheet, node: Node, operands: list[Value], axis: int) -> Value:
    scales = {int(v.scale) for v in operands if v.scale.ndim == 0}
    same = len(scales) == 1 and all(v.scale.ndim == 0 for v in operands)
    lsb = operands[0].scale if same else np.asarray(node.type.lsb)
    scaled: list[Value] = [sheet.tensor(sheet.scaled(v, lsb)) for v in operands]
    if not all(v.first for v in scaled):
        scaled = [sheet.plain(v) for v in scaled]
    (stored,) = _stored_axes(scaled[0], [axis])
    name = sheet.put("Concat", *(v.name for v in scaled), axis=stored)
    return Value(name, node.type.shape, lsb, first=scaled[0].first)
