"""Lowers a Graph to modules: every op becomes cells, every kernel a module of its own.

A *kernel* is a Dense, Conv or pool together with the element-wise ops behind it, as far as nobody
else reads what lies between. It is built once for each distinct set of weights and formats and
instantiated at each position. Other ops are laid out in the top module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import UnsupportedError
from hairtrigger.fixed import IntArray
from hairtrigger.graph import linear, moves, ops
from hairtrigger.graph.graph import Graph, Node
from hairtrigger.rtl.adders import multiply_matrix
from hairtrigger.rtl.build import ZERO, ModuleBuilder
from hairtrigger.rtl.kernels import (
    KERNELS,
    Kernel,
    Port,
    Step,
    build_kernel,
    element_lowering,
    kernel_chain,
    narrowed,
    spans_of,
)
from hairtrigger.rtl.names import identifier
from hairtrigger.rtl.netlist import Module, Wire, constant

Wires = NDArray[Any]
"""An object array of `Wire`, one for each element of a tensor."""


@dataclass
class _Lowering:
    """What is known while a Graph is lowered."""

    graph: Graph
    top: ModuleBuilder = field(default_factory=ModuleBuilder)
    values: dict[int, Wires] = field(default_factory=dict[int, Wires])
    kernels: dict[object, Kernel] = field(default_factory=dict[object, Kernel])
    names: dict[str, int] = field(default_factory=dict[str, int])

    def module_name(self, label: str) -> str:
        """A fresh Verilog name made from a label; the Graph's name keeps networks apart."""
        stem = f"{identifier(self.graph.name)}_{identifier(label)}"
        self.names[stem] = self.names.get(stem, -1) + 1
        return f"{stem}_{self.names[stem]}"


def lower(graph: Graph) -> Module:
    """The top module: its input ports are the elements of the Graph's inputs that are not always
    zero, in order, its outputs all elements of the outputs. Raises `UnsupportedError`."""
    state = _Lowering(graph)
    done: set[int] = set()
    for place, node in enumerate(graph.nodes):
        if place in done:
            continue
        if isinstance(node.op, KERNELS):
            chain = kernel_chain(graph, place)
            done.update(chain)
            state.values[chain[-1]] = _lower_kernels(state, chain)
        else:
            state.values[place] = _lower_node(state, node)
    outputs: list[Wire] = []
    for place in graph.outputs:
        spans = spans_of(graph.nodes[place].type.range())
        for wire, (low, high, fraction) in zip(state.values[place].ravel(), spans, strict=True):
            outputs.append(state.top.refine(wire, fraction) if low != high else ZERO)
    return state.top.finish(identifier(graph.name), outputs, f"The whole network {graph.name!r}.")


# --- one op after the other --------------------------------------------------------------------


def _lower_node(state: _Lowering, node: Node) -> Wires:
    """Wires of a node that is laid out in the top module."""
    top, op = state.top, node.op
    operands = [state.values[n] for n in node.operands]
    match op:
        case ops.Input():
            spans = node.type.range()
            return _wires(node.type.shape, [top.input(*span) for span in spans_of(spans)])
        case ops.Constant():
            spans = op.value.range()
            return _wires(node.type.shape, [constant(low, f) for low, _, f in spans_of(spans)])
        case moves.Move():
            places = np.arange(1, operands[0].size + 1).reshape(1, *operands[0].shape)
            moved = op.move(places, operands[0].shape)[0]
            offered = np.concatenate([operands[0].ravel(), _wires((1,), [ZERO])])
            return _wires(node.type.shape, list(offered[moved.ravel() - 1]))
        case moves.Concat():
            return np.concatenate(operands, axis=op.axis)
        case ops.Relu() | ops.Quantize() | ops.Table():
            element = element_lowering(op, node.type)
            found = [element(top, w, n) for n, w in enumerate(operands[0].ravel())]
        case ops.Add() | ops.Sub() | ops.Mul() | ops.Compare():
            pairs = zip(*(a.ravel() for a in np.broadcast_arrays(*operands)), strict=True)
            found = [_binary(top, op, a, b) for a, b in pairs]
        case linear.GlobalSum():
            kept = [n for n in range(operands[0].ndim) if n not in op.axes]
            sums = operands[0].transpose(*kept, *op.axes).reshape(node.type.size, -1)
            found = [top.sum(list(row)) for row in sums]
        case linear.ArgMax():
            rows = operands[0].reshape(-1, operands[0].shape[-1])
            found = [top.argmax(list(row)) for row in rows]
        case _:
            raise UnsupportedError(
                f"{type(op).__name__} {node.label!r} has no lowering to cells.",
                "Add one in hairtrigger/rtl/lower.py; see docs/add_an_op.md.",
            )
    return _wires(node.type.shape, narrowed(top, found, spans_of(node.type.range())))


def _binary(top: ModuleBuilder, op: ops.Op, a: Wire, b: Wire) -> Wire:
    match op:
        case ops.Add():
            return top.add(a, b)
        case ops.Sub():
            return top.add(a, b, subtract=True)
        case ops.Compare():
            return top.compare(op.relation, a, b)
        case _:
            if b.constant:
                a, b = b, a
            if a.constant:
                weight = np.array([[a.low]])
                return multiply_matrix(top, [b], weight, a.fraction)[0]
            return top.multiply(a, b)


# --- kernels -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Position:
    """One place where a kernel stands: wires that it reads and elements that it makes."""

    inputs: tuple[Wire, ...]
    outputs: tuple[int, ...]
    group: int = 0


def _lower_kernels(state: _Lowering, chain: Sequence[int]) -> Wires:
    """All positions of a kernel: modules where they are new, instances everywhere."""
    graph = state.graph
    head = graph.nodes[chain[0]]
    last = graph.nodes[chain[-1]]
    label = next((graph.nodes[n].label for n in chain if graph.nodes[n].label), "")
    label = label or type(head.op).__name__
    steps = [Step.of(graph.nodes[n]) for n in chain]
    result: list[Wire] = [ZERO] * last.type.size
    positions = _positions(head, state.values[head.operands[0]])
    for number, at in enumerate(positions):
        key = (
            chain[0],
            at.group,
            tuple((w.low, w.high, w.fraction) for w in at.inputs),
            tuple((step.spans[n], step.key(n)) for step in steps for n in at.outputs),
        )
        if key not in state.kernels:
            name = state.module_name(label)
            ports = [Port((n,)) for n in range(len(at.inputs))]
            spans = [[step.spans[n] for n in at.outputs] for step in steps]
            state.kernels[key] = build_kernel(
                head, steps, at.group, at.inputs, ports, at.outputs, spans, name, label
            )
        kernel = state.kernels[key]
        reads = [at.inputs[n] for n in kernel.reads]
        if kernel.module.body:
            name = f"{identifier(label)}_{chain[0]}_at_{number}"
            wires = state.top.instance(kernel.module, reads, name)
        else:
            wires = _passed_through(kernel.module, reads)
        for n, wire in zip(at.outputs, wires, strict=True):
            result[n] = wire
    return _wires(last.type.shape, result)


def _passed_through(module: Module, reads: Sequence[Wire]) -> list[Wire]:
    """Outputs of a module without cells: constants and inputs, worth what its ports say."""
    by_net = {port.net: (port, wire) for port, wire in zip(module.inputs, reads, strict=True)}
    wires: list[Wire] = []
    for out in module.outputs:
        if out.constant:
            wires.append(out)
            continue
        port, wire = by_net[out.net]
        moved = wire.shifted(port.fraction - out.fraction)
        wires.append(Wire(moved.net, out.low, out.high, moved.fraction))
    return wires


def _positions(head: Node, x: Wires) -> list[_Position]:
    """Every place of a kernel over an operand's wires."""
    op = head.op
    out = np.arange(head.type.size).reshape(head.type.shape)
    match op:
        case linear.Dense():
            rows = zip(x.reshape(-1, x.shape[-1]), out.reshape(-1, out.shape[-1]), strict=True)
            return [_Position(tuple(a), tuple(b.tolist())) for a, b in rows]
        case linear.Conv():
            index = linear.window_index(x.shape[:-1], op.window, op.strides, op.padding)
            found: list[_Position] = []
            size_in, size_out = x.shape[-1] // op.groups, out.shape[-1] // op.groups
            for group in range(op.groups):
                part = x[..., group * size_in : (group + 1) * size_in]
                seen = _gathered(part, index.reshape(-1, index.shape[-1]))
                made = out[..., group * size_out : (group + 1) * size_out].reshape(-1, size_out)
                found += [
                    _Position(tuple(a.ravel()), tuple(b.tolist()), group)
                    for a, b in zip(seen, made, strict=True)
                ]
            return found
        case linear.SumPool() | linear.MaxPool():
            index = linear.window_index(x.shape[:-1], op.window, op.strides, op.padding)
            flat = index.reshape(-1, index.shape[-1])
            seen = _gathered(x, flat)
            made = out.reshape(-1, x.shape[-1])
            # Padding adds nothing to a sum and is no candidate of a maximum.
            return [
                _Position(tuple(pixels[flat[p] >= 0, c]), (int(made[p, c]),))
                for p, pixels in enumerate(seen)
                for c in range(x.shape[-1])
            ]
        case _:
            raise UnsupportedError(f"{type(op).__name__} is no kernel.")


def _gathered(x: Wires, index: IntArray) -> Wires:
    """Wires (positions, window, channels) under each window; zero outside the image."""
    flat = x.reshape(-1, x.shape[-1])
    outside = np.full((1, x.shape[-1]), ZERO, dtype=object)
    return np.concatenate([flat, outside])[index]


# --- helpers -----------------------------------------------------------------------------------


def _wires(shape: tuple[int, ...], wires: Sequence[Wire]) -> Wires:
    array = np.empty(len(wires), dtype=object)
    array[:] = wires
    return array.reshape(shape)
