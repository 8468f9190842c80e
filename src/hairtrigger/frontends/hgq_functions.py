"""Layers that are tables: unary functions, softmax, and the layers of the LUT family."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.fixed import IntArray
from hairtrigger.frontends.hgq_pools import pool_padding
from hairtrigger.frontends.hgq_quantizers import (
    Format,
    apply_format,
    read_format,
    to_numpy,
    to_tensor,
)
from hairtrigger.frontends.hgq_tables import (
    Function,
    add_table,
    exact_float32,
    fill,
    on_one_grid,
)
from hairtrigger.frontends.hgq_wires import Net, Wire
from hairtrigger.graph import Literal
from hairtrigger.graph.linear import Conv, GlobalSum, MaxPool
from hairtrigger.graph.moves import Transpose
from hairtrigger.graph.ops import Mul, Relu, Sub


def unary_function(net: Net, layer: Any, x: Wire) -> Wire:
    """QUnaryFunctionLUT, QAffinedUnaryFunctionLUT: a table with the quantizer that follows."""
    affine = hasattr(layer, "scale")

    def evaluate(x: Any) -> Any:
        return layer.activation(x * layer.scale + layer.bias if affine else x)

    name = getattr(layer.activation, "__name__", type(layer.activation).__name__)
    return Wire(net.solid(x).place, function=Function(f"function {name!r}", evaluate))


def softmax(net: Net, layer: Any, x: Wire) -> Wire:
    """QSoftmax: two tables (exponential, inverse) and a product."""
    shape = net.shape(x)
    axes = [axis - 1 for axis in layer.axes]
    rest = [axis for axis in range(len(shape)) if axis not in axes]
    order = [*rest, *axes]
    turned = tuple(shape[axis] for axis in order)
    x = net.move(Transpose(tuple(order)), net.solid(x))
    count = math.prod(shape[axis] for axis in axes)
    x = net.reshape(x, (math.prod(shape[axis] for axis in rest), count))
    # The tables' quantizers are trained on the layer's own shapes.
    back = [order.index(axis) for axis in range(len(shape))]
    reduced = tuple(1 if axis in axes else n for axis, n in enumerate(shape))

    def tabulated(wire: Wire, table: Any, full: bool) -> Wire:
        if full:
            wire = net.move(Transpose(tuple(back)), net.reshape(wire, turned))
        else:
            wire = net.reshape(wire, reduced)
        own = net.shape(wire)
        if table.enable_iq:
            wire = net.quantize(wire, read_format(table.iq, own))
        wire = unary_function(net, table, wire)
        wire = net.quantize(wire, read_format(table.oq, own))
        if full:
            wire = net.move(Transpose(tuple(order)), wire)
        return net.reshape(net.solid(wire), (len_rest, count if full else 1))

    len_rest = net.shape(x)[0]
    if layer.stable:
        image = net.reshape(x, (len_rest, count, 1))
        largest = net.add(MaxPool((1, count), (1, count), ((0, 0), (0, 0))), image)
        x = net.add(Sub(), net.reshape(largest, (len_rest, 1)), x)
    powers = tabulated(x, layer.exp_table, True)
    total = net.reshape(net.add(GlobalSum((1,)), powers), (len_rest, 1))
    inverse = tabulated(total, layer.inv_table, False)
    result = net.reshape(net.add(Mul(), powers, inverse), turned)
    return net.move(Transpose(tuple(back)), result)


def dense_table(net: Net, layer: Any, x: Wire) -> Wire:
    """QDenseT: every output is a sum of one table for each input; the small networks between an
    input and an output are evaluated once for every code that the input can have."""
    shape = net.shape(x)
    x = net.repeat(net.reshape(x, (*shape, 1)), layer.n_out, len(shape))
    wide = (*shape, layer.n_out)
    if layer.enable_iq:
        x = net.quantize(x, read_format(layer.iq, wide))
    form = read_format(layer.toq, wide)
    if form is None:
        net.fail("its table quantizer toq is a dummy.", "Train it with a fixed-point quantizer.")
    place = _network_table(net, layer, net.solid(x).place, form)
    result = net.add(GlobalSum((len(shape) - 1,)), net.affine(Wire(place), form))
    return net.add(Relu(), result) if _is_relu(layer) else result


def _network_table(net: Net, layer: Any, place: int, form: Format) -> int:
    place, x, fraction = on_one_grid(net.builder, place, net.label)
    shape = x.low.shape
    step = 2.0 ** -x.source.ravel().astype(np.float64)
    elements = np.arange(math.prod(shape))

    def values(codes: IntArray) -> NDArray[np.float64]:
        numbers = exact_float32(codes[:, None] * step).reshape(len(codes), *shape)
        result = layer.module(to_tensor(numbers)[..., None], training=False)
        if layer.enable_bn:
            result = layer.bn_module(result, training=False) / math.sqrt(layer.n_in)
        return apply_format(form, to_numpy(result).reshape(len(codes), -1), elements)

    entries = fill(x.low.ravel(), x.high.ravel(), values, "It")
    first = int(x.low.min())
    select = elements.reshape(shape)
    return add_table(net.builder, place, entries, first, fraction, select, net.label)


def conv_table(net: Net, layer: Any, x: Wire) -> Wire:
    """QConvT1D, QConvT2D: a QDenseT on every window, which a 0/1 kernel lays out."""
    channels = net.shape(x)[-1]
    window = tuple(layer.kernel_size)
    depth = math.prod(window) * channels
    kernel = np.eye(depth, dtype=np.int64).reshape(*window, channels, depth)
    padding = pool_padding(layer.padding, net.shape(x)[:-1], window, tuple(layer.strides))
    op = Conv(Literal(kernel, 0), None, tuple(layer.strides), padding)
    return dense_table(net, layer, net.add(op, x))


def _is_relu(layer: Any) -> bool:
    from keras import activations

    return layer.activation is activations.relu


OWN_INPUT_QUANTIZER = {"hgq.QDenseT", "hgq.QConvT1D", "hgq.QConvT2D"}
"""Layers that quantize their input in another shape than they get it in."""

CONVERTERS: dict[str, Callable[..., Wire]] = {
    "hgq.QUnaryFunctionLUT": unary_function,
    "hgq.QAffinedUnaryFunctionLUT": unary_function,
    "hgq.QSoftmax": softmax,
    "hgq.QDenseT": dense_table,
    "hgq.QConvT1D": conv_table,
    "hgq.QConvT2D": conv_table,
}
