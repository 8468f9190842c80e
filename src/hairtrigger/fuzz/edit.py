"""Cases made from a case by changing its Graph; whatever does not fit raises `GraphError`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from math import prod

import numpy as np

from hairtrigger.errors import GraphError
from hairtrigger.fixed import IntArray
from hairtrigger.fuzz.case import Case, Codes
from hairtrigger.graph import Builder, Graph, Literal, TensorType
from hairtrigger.graph.emulate import emulate_nodes
from hairtrigger.graph.exact import live
from hairtrigger.graph.linear import Conv, Dense
from hairtrigger.graph.moves import Reshape
from hairtrigger.graph.ops import Constant, Input, Op, Quantize, State, Table
from hairtrigger.graph.types import Shape


def pruned(case: Case, graph: Graph) -> Case:
    """The case with another Graph of the same nodes, without what nothing reads."""
    alive = live(graph)
    if not any(n in alive for n in graph.inputs):
        alive |= set(graph.inputs[:1])  # events are counted on an Input
    codes = tuple(x for n, x in zip(graph.inputs, case.codes, strict=True) if n in alive)
    builder = Builder(graph.name)
    place: dict[int, int] = {}
    for n, node in enumerate(graph.nodes):
        if n in alive:
            place[n] = builder.add(node.op, *(place[k] for k in node.operands), label=node.label)
    for state, after in graph.updates:
        if state in alive:
            builder.update(place[state], place[after])
    outputs = zip(graph.output_names, graph.outputs, strict=True)
    return replace(case, graph=builder.build({name: place[n] for name, n in outputs}), codes=codes)


def with_inputs(case: Case, places: set[int]) -> Case:
    """The case with Inputs at these places, that have the codes which were worked out there."""
    graph = case.graph
    values = emulate_nodes(graph, case.codes)
    nodes = list(graph.nodes)
    taken = {op.name for op in graph.input_ops}
    for n in places:
        name = next(name for k in count(n) if (name := f"x{k}") not in taken)
        taken.add(name)
        op = Input(name, nodes[n].type)
        nodes[n] = replace(nodes[n], op=op, operands=())
    updates = tuple((a, b) for a, b in graph.updates if a not in places)
    cut = replace(graph, nodes=tuple(nodes), updates=updates)
    shape = (case.events,)
    codes = tuple(
        np.array(np.broadcast_to(values[n], shape + graph.nodes[n].type.shape)) for n in cut.inputs
    )
    return pruned(replace(case, codes=codes), cut)


def rebuilt(
    case: Case,
    ops: Mapping[int, Op],
    instead: Mapping[int, int] | None = None,
    codes: Codes | None = None,
) -> Case:
    """The case with other ops at some places, and some nodes left out for others before them.

    All types are inferred again; a Quantize brings what registers take back to their types.
    """
    graph, instead = case.graph, instead or {}
    builder = Builder(graph.name)
    place: list[int] = []
    for n, node in enumerate(graph.nodes):
        if n in instead:
            place.append(place[instead[n]])
            continue
        operands = [place[k] for k in node.operands]
        place.append(builder.add(ops.get(n, node.op), *operands, label=node.label))
    for state, after in graph.updates:
        if state in instead:
            continue
        t, taken = builder.type(place[state]), place[after]
        if builder.type(taken) != t:
            taken = builder.add(Quantize(t), taken)
        builder.update(place[state], taken)
    outputs = zip(graph.output_names, graph.outputs, strict=True)
    made = builder.build({name: place[n] for name, n in outputs})
    return pruned(replace(case, codes=case.codes if codes is None else codes, graph=made), made)


def followed(case: Case, n: int, op: Op) -> Case:
    """The case with a smaller op at a place, and what comes after fitted to it."""
    builder = Builder()
    place: list[int] = []
    ops: dict[int, Op] = {}
    for k, node in enumerate(case.graph.nodes):
        operands = [place[m] for m in node.operands]
        shapes = [builder.type(m).shape for m in operands]
        ops[k] = op if k == n else fitted(node.op, node.type.shape, shapes)
        place.append(builder.add(ops[k], *operands))
    return rebuilt(case, ops)


def cropped(case: Case, axis: tuple[int, int, int], shorter: int, ends: bool) -> Case:
    """The case with shorter axes of all that is given: Inputs, Constants and registers.

    ``axis``: rank, axis and length of those meant; ``ends``: their last elements stay, else their
    first. What is made of them follows.
    """
    rank, which, length = axis

    def cut(shape: Shape) -> Shape:
        if len(shape) != rank or shape[which] != length:
            return shape
        return (*shape[:which], shorter, *shape[which + 1 :])

    graph = case.graph
    builder = Builder(graph.name)
    place: list[int] = []
    ops: dict[int, Op] = {}
    for n, node in enumerate(graph.nodes):
        operands = [place[k] for k in node.operands]
        shapes = [builder.type(k).shape for k in operands]
        ops[n] = fitted(node.op, cut(node.type.shape), shapes, ends)
        place.append(builder.add(ops[n], *operands))
    codes: list[IntArray] = []
    for n, x in zip(graph.inputs, case.codes, strict=True):
        t = builder.type(place[n])
        kept = x[(slice(None), *_kept(x.shape[1:], t.shape, ends))]
        codes.append(_in_units(kept, t, graph.nodes[n].type))
    return rebuilt(case, ops, codes=tuple(codes))


def _in_units(codes: IntArray, t: TensorType, old: TensorType) -> IntArray:
    """Codes of a type in units of the LSB of another, which holds them too."""
    up = t.lsb - old.lsb
    return np.ascontiguousarray(codes << up if up >= 0 else codes >> -up)


def fitted(op: Op, own: Shape, shapes: list[Shape], ends: bool = False) -> Op:
    """An op for smaller operands; ``own``: the shape of one that has none."""

    def part(x: Literal, shape: Shape) -> Literal:
        return Literal(x.codes[_kept(x.shape, shape, ends)], x.fraction)

    def typed(t: TensorType, shape: Shape) -> TensorType:
        at = _kept(t.shape, shape, ends)
        return TensorType(shape, t.signed[at], t.integer[at], t.fraction[at])

    match op:
        case Input():
            return replace(op, type=typed(op.type, own))
        case State():
            return replace(op, type=typed(op.type, own), reset=part(op.reset, own))
        case Constant():
            return Constant(part(op.value, own))
        case Quantize():
            return replace(op, type=typed(op.type, shapes[0]))
        case Table():
            return replace(op, select=op.select and part(op.select, shapes[0]))
        case Dense():
            return replace(op, kernel=part(op.kernel, (shapes[0][-1], op.kernel.shape[1])))
        case Conv() if op.groups == 1:
            inside = (*op.kernel.shape[:-2], shapes[0][-1], op.kernel.shape[-1])
            return replace(op, kernel=part(op.kernel, inside))
        case Reshape():
            whole, last = prod(shapes[0]), op.shape[-1] if op.shape else 1
            if whole == prod(op.shape):
                return op
            return Reshape((whole,) if len(op.shape) == 1 else (whole // last, last))
        case _:
            return op


def _kept(shape: Shape, smaller: Shape, ends: bool) -> tuple[slice, ...]:
    """The first, or the last, elements along each axis. Raises `GraphError`."""
    if len(shape) != len(smaller) or any(n > m for n, m in zip(smaller, shape, strict=True)):
        raise GraphError(f"Shape {smaller} is no part of {shape}.")
    pairs = zip(shape, smaller, strict=True)
    return tuple(slice(m - n, m) if ends else slice(n) for m, n in pairs)


def retyped(case: Case, n: int, op: Input) -> Case:
    """The case with another type of an Input, whose codes stay the same numbers."""
    old = case.graph.nodes[n].type
    at = case.graph.inputs.index(n)
    codes = tuple(_in_units(x, op.type, old) if k == at else x for k, x in enumerate(case.codes))
    return rebuilt(case, {n: op}, codes=codes)
