"""Recurrent layers, unrolled: every step of the sequence becomes nodes of its own.

A sequence of a fixed length is a pure Graph, which a chip answers with one pipeline; the same
kernels and formats stand in every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.frontends.hgq_quantizers import read_format, to_numpy
from hairtrigger.frontends.hgq_tables import Function
from hairtrigger.frontends.hgq_wires import Net, Wire
from hairtrigger.graph import Literal
from hairtrigger.graph.linear import Dense
from hairtrigger.graph.moves import Crop
from hairtrigger.graph.ops import Add, Mul, Relu, Sub

Step = Callable[[Net, Any, Wire, Wire], Wire]
"""(net, cell, inputs of the step, state) -> new state."""


def gru(net: Net, layer: Any, x: Wire) -> Wire:
    """QGRU, with the reset gate before or behind the product with the state."""
    return _unroll(net, layer, x, _gru_step)


def simple_rnn(net: Net, layer: Any, x: Wire) -> Wire:
    """QSimpleRNN."""
    return _unroll(net, layer, x, _simple_step)


def _unroll(net: Net, layer: Any, x: Wire, step: Step) -> Wire:
    """The state behind the last step, or of all steps in the order in which Keras returns them."""
    steps, features = net.shape(x)
    state = net.constant(Literal(np.zeros(layer.cell.units, dtype=np.int64), 0))
    states: list[Wire] = []
    for n in range(steps)[:: -1 if layer.go_backwards else 1]:
        row = net.move(Crop(((n, steps - 1 - n), (0, 0))), x)
        state = step(net, layer.cell, net.reshape(row, (features,)), state)
        states.append(state)
    if not layer.return_sequences:
        return state
    rows = [net.reshape(wire, (1, layer.cell.units)) for wire in states]
    return net.concat(rows, 0)


def _gru_step(net: Net, cell: Any, x: Wire, state: Wire) -> Wire:
    """One step of a gated recurrent unit: Cho et al., arXiv:1406.1078, as HGQ2 rounds it."""
    units = cell.units
    kernel, recurrent = to_numpy(cell.qkernel), to_numpy(cell.qrecurrent_kernel)
    bias = to_numpy(cell.qbias) if cell.use_bias else np.zeros((2, 3 * units))
    outer, inner = bias if bias.ndim == 2 else (bias, np.zeros(3 * units))
    gates, rest = slice(None, 2 * units), slice(2 * units, None)
    old = _quantize(net, cell.sq, state)
    x = _quantize(net, cell.iq, x) if cell.enable_iq else net.solid(x)

    def of_input(part: slice) -> Wire:
        return _dense(net, x, kernel[:, part], outer[part])

    def of_state(wire: Wire, part: slice) -> Wire:
        return _dense(net, wire, recurrent[:, part], inner[part])

    opened = net.add(Add(), of_input(gates), of_state(old, gates))
    opened = _activate(net, opened, cell.recurrent_activation)
    opened = _quantize(net, cell.praq, opened)
    update = net.move(Crop(((0, units),)), opened)
    reset = net.move(Crop(((units, 0),)), opened)
    if cell.reset_after:
        kept = net.add(Mul(), reset, _quantize(net, cell.rhq, of_state(old, rest)))
    else:
        kept = of_state(_quantize(net, cell.rhq, net.add(Mul(), reset, old)), rest)
    new = _activate(net, net.add(Add(), of_input(rest), kept), cell.activation)
    new = _quantize(net, cell.paq, new)
    one = net.constant(Literal(np.ones(units, dtype=np.int64), 0))
    stay = net.add(Mul(), update, old)
    change = net.add(Mul(), net.add(Sub(), one, update), new)
    return net.add(Add(), stay, change)


def _simple_step(net: Net, cell: Any, x: Wire, state: Wire) -> Wire:
    """One step of a fully connected recurrent layer; its activation comes behind the quantizer."""
    old = _quantize(net, cell.sq, state) if cell.enable_sq else state
    bias = to_numpy(cell.qbias) if cell.use_bias else np.zeros(cell.units)
    of_input = _dense(net, _quantize(net, cell.iq, x), to_numpy(cell.qkernel), bias)
    of_state = _dense(net, old, to_numpy(cell.qrecurrent_kernel), np.zeros(cell.units))
    total = _quantize(net, cell.paq, net.add(Add(), of_input, of_state))
    return _activate(net, total, cell.activation)


def _quantize(net: Net, quantizer: Any, x: Wire) -> Wire:
    return net.quantize(x, read_format(quantizer, net.shape(x)))


def _dense(net: Net, x: Wire, kernel: NDArray[Any], bias: NDArray[Any]) -> Wire:
    offset = Literal.exact(bias) if bias.any() else None
    return net.add(Dense(Literal.exact(kernel), offset), x)


def _activate(net: Net, x: Wire, function: Any) -> Wire:
    """Linear and relu are exact; any other function is one table with the quantizer behind it."""
    from keras import activations

    if function in (None, activations.linear):
        return x
    if function is activations.relu:
        return net.add(Relu(), x)
    name = getattr(function, "__name__", type(function).__name__)
    return Wire(net.solid(x).place, function=Function(f"function {name!r}", function))


def recurrent_problems(layer: Any, exact_activation: bool) -> Iterator[str]:
    """What is wrong with a recurrent layer. ``exact_activation``: nothing quantizes behind the
    activation, so that only linear and relu will do."""
    from keras import activations

    if layer.stateful:
        yield (
            "it is stateful: its answer depends on the batch before. Way out: stateful=False, and "
            "give the whole sequence"
        )
    if layer.return_state:
        yield "it returns its state too. Way out: return_state=False, return_sequences=True"
    cell = layer.cell
    for name in ("kq", "rkq", "bq"):
        weight = getattr(cell, name, None)
        if weight is not None and weight.config.q_type == "dummy":
            yield f"its {name} quantizer is a dummy, so weights are floats. Way out: train one"
    function = cell.activation
    if exact_activation and function not in (None, activations.linear, activations.relu):
        name = getattr(function, "__name__", type(function).__name__)
        yield (
            f"its activation {name!r} comes behind its quantizer. Way out: activation='relu' or "
            "'linear', whose quantizer saturates (HardTanhConfig for paq_conf)"
        )
