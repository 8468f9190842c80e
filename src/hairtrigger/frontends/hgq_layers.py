"""HGQ2's layers, one function each: the layer and its quantized operands in, its result out.

`convert` puts the input quantizers before and the output quantizer behind them. Weights are the
numbers that HGQ2 itself computes for inference (``qkernel``, ``qbias``), never recomputed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.frontends import hgq_functions, hgq_moves, hgq_pools, hgq_recurrent
from hairtrigger.frontends.hgq_quantizers import read_format, to_numpy
from hairtrigger.frontends.hgq_wires import Net, Wire
from hairtrigger.graph import Literal
from hairtrigger.graph.linear import Conv, Dense, GlobalSum, MaxPool
from hairtrigger.graph.moves import Transpose
from hairtrigger.graph.ops import Add, Mul, Op, Pairs, Relu, Sub

Convert = Callable[..., Wire]


def convert(net: Net, op: Any, args: tuple[Any, ...]) -> Wire:
    """What a layer or operation makes of its arguments (wires, or lists of wires)."""
    key = key_of(op)
    step = CONVERTERS[key]
    if not key.startswith("hgq.") or key in OWN_QUANTIZERS:
        return step(net, op, *args)
    if op.enable_iq and key not in hgq_functions.OWN_INPUT_QUANTIZER:
        args = (_quantize_inputs(net, op.iq, args[0]),)
    result = step(net, op, *args)
    if op.enable_oq:
        result = net.quantize(result, read_format(op.oq, net.shape(result)))
    return result


def key_of(op: Any) -> str:
    """Package and class of a layer or operation, as `CONVERTERS` names it.

    A user's own subclass has its own package and so is never taken for its parent.
    """
    module = type(op).__module__
    package = module.partition(".")[0]
    if package == "keras":
        package = "keras.layers" if ".layers." in module else "keras.ops"
    return f"{package}.{type(op).__name__}"


def _quantize_inputs(net: Net, quantizers: Any, x: Any) -> Any:
    if isinstance(x, Wire):
        return net.quantize(x, read_format(quantizers, net.shape(x)))
    return [
        net.quantize(wire, read_format(quantizer, net.shape(wire)))
        for quantizer, wire in zip(quantizers, x, strict=True)
    ]


# --- layers with weights -------------------------------------------------------------------------


def dense(net: Net, layer: Any, x: Wire) -> Wire:
    """QDense, QBatchNormDense."""
    bias = None if layer.bias is None else Literal.exact(to_numpy(layer.qbias))
    kernel = Literal.exact(to_numpy(layer.qkernel))
    return _activate(net, layer, net.add(Dense(kernel, bias), x))


def conv(net: Net, layer: Any, x: Wire) -> Wire:
    """QConv1D, QConv2D."""
    bias = Literal.exact(to_numpy(layer.qbias)) if layer.use_bias else None
    image = net.shape(x)[:-1]
    padding = conv_padding(layer.padding, image, layer.kernel_size, layer.strides)
    kernel = Literal.exact(to_numpy(layer.qkernel))
    op = Conv(kernel, bias, tuple(layer.strides), padding, layer.groups)
    return _activate(net, layer, net.add(op, x))


def conv_padding(
    padding: str, image: tuple[int, ...], window: tuple[int, ...], strides: tuple[int, ...]
) -> Pairs:
    """Zeros before and after along each image axis, as Keras places them."""
    if padding == "causal":
        return tuple((w - 1, 0) for w in window)
    return hgq_pools.pool_padding(padding, image, window, strides)


def einsum_dense(net: Net, layer: Any, x: Wire) -> Wire:
    """QEinsumDense, QEinsumDenseBatchnorm, as a Dense, or as a grouped Conv where an axis of the
    input has a kernel of its own for each place."""
    ins, kernel_axes, out = einsum_axes(layer.equation, len(net.shape(x)) + 1)
    ins, out = ins[1:], out[1:]
    size = dict(zip(ins, net.shape(x), strict=True))
    kernel = to_numpy(layer.qkernel)
    size.update(zip(kernel_axes, kernel.shape, strict=True))
    free = [c for c in ins if c not in kernel_axes]
    group = [c for c in ins if c in kernel_axes and c in out]
    contracted = [c for c in ins if c in kernel_axes and c not in out]
    new = [c for c in kernel_axes if c not in ins]
    groups, depth, width = (math.prod(size[c] for c in a) for a in (group, contracted, new))
    matrix = kernel.transpose([kernel_axes.index(c) for c in (*group, *contracted, *new)])
    matrix = matrix.reshape(groups, depth, width)

    order = [*free, *group, *contracted]
    x = _transpose(net, x, [ins.index(c) for c in order])
    x = net.reshape(x, (*(size[c] for c in free), groups * depth))
    if groups == 1:
        y = net.add(Dense(Literal.exact(matrix[0])), x)
    else:
        x = net.reshape(x, (math.prod(size[c] for c in free), groups * depth))
        stacked = matrix.transpose(1, 0, 2).reshape(1, depth, groups * width)
        y = net.add(Conv(Literal.exact(stacked), None, (1,), ((0, 0),), groups), x)
    made = [*free, *group, *new]
    y = net.reshape(y, tuple(size[c] for c in made))
    y = _transpose(net, y, [made.index(c) for c in out])
    if layer.bias is not None:
        y = _add_array(net, y, to_numpy(layer.qbias))
    return _activate(net, layer, y)


def einsum_axes(equation: str, rank: int) -> tuple[str, str, str]:
    """Axes of input, kernel and output of an einsum equation, the ellipsis spelled out."""
    left, _, out = equation.replace(" ", "").partition("->")
    ins, _, kernel = left.partition(",")
    spare = (c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in equation)
    hidden = "".join(next(spare) for _ in range(rank - len(ins.replace("...", ""))))
    return ins.replace("...", hidden), kernel, out.replace("...", hidden)


def _transpose(net: Net, x: Wire, order: list[int]) -> Wire:
    return x if order == sorted(order) else net.move(Transpose(tuple(order)), x)


def _add_array(net: Net, x: Wire, values: NDArray[Any]) -> Wire:
    """``x + values``, broadcast from the last axis on as NumPy does."""
    shape = (1,) * (len(net.shape(x)) - values.ndim) + values.shape
    return net.add(Add(), x, net.constant(Literal.exact(values.reshape(shape))))


def _activate(net: Net, layer: Any, x: Wire) -> Wire:
    from keras import activations

    return net.add(Relu(), x) if layer.activation is activations.relu else x


def batch_norm(net: Net, layer: Any, x: Wire) -> Wire:
    """QBatchNormalization on its own: ``x * scale + offset``, both quantized."""
    scale, offset = (to_numpy(a).reshape(layer._shape[1:]) for a in layer.qscaler_and_qoffset)
    scaled = net.add(Mul(), x, net.constant(Literal.exact(scale)))
    return _add_array(net, scaled, offset)


# --- layers without weights ----------------------------------------------------------------------


def quantizer(net: Net, layer: Any, x: Wire) -> Wire:
    """A Quantizer as a layer of its own."""
    return net.quantize(x, read_format(layer, net.shape(x)))


def sum_axes(net: Net, layer: Any, x: Wire) -> Wire:
    """QSum, QMeanPow2: a sum times a power of two."""
    shape = net.shape(x)
    axes = tuple(axis - 1 for axis in layer.axes)
    total = net.add(GlobalSum(axes), x)
    if layer.keepdims:
        total = net.reshape(total, tuple(1 if n in axes else s for n, s in enumerate(shape)))
    return net.scale(total, math.frexp(layer.scale)[1] - 1)


def chain(op: Op) -> Convert:
    """A merging layer that joins its operands one after the other by ``op``."""

    def joined(net: Net, layer: Any, wires: list[Wire]) -> Wire:
        wires = _same_rank(net, wires)
        result = wires[0]
        for wire in wires[1:]:
            result = net.add(op, result, wire)
        return result

    return joined


def average_pow2(net: Net, layer: Any, wires: list[Wire]) -> Wire:
    """QAveragePow2: the sum times the power of two nearest to 1 / operands."""
    return net.scale(chain(Add())(net, layer, wires), math.frexp(layer._scale)[1] - 1)


def maximum(net: Net, layer: Any, wires: list[Wire]) -> Wire:
    """QMaximum: a MaxPool over the operands laid side by side."""
    wires = _same_rank(net, wires)
    shape = np.broadcast_shapes(*(net.shape(wire) for wire in wires))
    rows = [net.reshape(_broadcast(net, wire, shape), (1, math.prod(shape))) for wire in wires]
    stacked = net.concat([net.solid(row) for row in rows], 0)
    largest = net.add(MaxPool((len(wires),), (1,), ((0, 0),)), stacked)
    return net.reshape(largest, shape)


def minimum(net: Net, layer: Any, wires: list[Wire]) -> Wire:
    """QMinimum, as ``-max(-a, -b)``."""
    return _negative(net, maximum(net, layer, [_negative(net, wire) for wire in wires]))


def _negative(net: Net, x: Wire) -> Wire:
    zero = Literal(np.zeros((1,) * len(net.shape(x)), dtype=np.int64), 0)
    return net.add(Sub(), net.constant(zero), x)


def _same_rank(net: Net, wires: list[Wire]) -> list[Wire]:
    rank = max(len(net.shape(wire)) for wire in wires)
    return [net.reshape(w, (1,) * (rank - len(net.shape(w))) + net.shape(w)) for w in wires]


def _broadcast(net: Net, x: Wire, shape: tuple[int, ...]) -> Wire:
    for axis, size in enumerate(shape):
        if net.shape(x)[axis] != size:
            x = net.repeat(x, size, axis)
    return x


def pair(join: Convert) -> Convert:
    """An operation of two tensors (``a + b`` in the model's code)."""

    def joined(net: Net, op: Any, a: Any, b: Any) -> Wire:
        if not (isinstance(a, Wire) and isinstance(b, Wire)):
            net.fail(
                "it combines a tensor with a number or an array, which has no quantizer.",
                "Use QBatchNormalization for a scale and offset, or a quantized layer.",
            )
        if len(net.shape(a)) != len(net.shape(b)):
            net.fail(
                f"it combines shapes {net.shape(a)} and {net.shape(b)} of different rank.",
                "Reshape one of them in the model.",
            )
        return join(net, op, [a, b])

    return joined


def relu(net: Net, layer: Any, x: Wire) -> Wire:
    """A plain ReLU."""
    return net.add(Relu(), x)


def activation(net: Net, layer: Any, x: Wire) -> Wire:
    """keras.layers.Activation of "relu" or "linear"."""
    return _activate(net, layer, x)


OWN_QUANTIZERS = ("hgq.Quantizer", "hgq.QGRU", "hgq.QSimpleRNN")
"""Layers that put their input and output quantizers where they belong themselves."""

CONVERTERS: dict[str, Convert] = {
    "hgq.QDense": dense,
    "hgq.QBatchNormDense": dense,
    "hgq.QEinsumDense": einsum_dense,
    "hgq.QEinsumDenseBatchnorm": einsum_dense,
    "hgq.QConv1D": conv,
    "hgq.QConv2D": conv,
    "hgq.QBatchNormalization": batch_norm,
    "hgq.Quantizer": quantizer,
    "hgq.QGRU": hgq_recurrent.gru,
    "hgq.QSimpleRNN": hgq_recurrent.simple_rnn,
    "hgq.QSum": sum_axes,
    "hgq.QMeanPow2": sum_axes,
    "hgq.QAdd": chain(Add()),
    "hgq.QSubtract": chain(Sub()),
    "hgq.QMultiply": chain(Mul()),
    "hgq.QAveragePow2": average_pow2,
    "hgq.QMaximum": maximum,
    "hgq.QMinimum": minimum,
    "keras.layers.Add": chain(Add()),
    "keras.layers.Subtract": chain(Sub()),
    "keras.layers.Multiply": chain(Mul()),
    "keras.layers.Maximum": maximum,
    "keras.layers.Minimum": minimum,
    "keras.layers.ReLU": relu,
    "keras.layers.Activation": activation,
    "keras.ops.Relu": relu,
    "keras.ops.Add": pair(chain(Add())),
    "keras.ops.Subtract": pair(chain(Sub())),
    "keras.ops.Multiply": pair(chain(Mul())),
    "keras.ops.Maximum": pair(maximum),
    "keras.ops.Minimum": pair(minimum),
    **hgq_functions.CONVERTERS,
    **hgq_moves.CONVERTERS,
    **hgq_pools.CONVERTERS,
}
"""Every layer and operation that has an exact Graph, by `key_of`."""
