"""Smaller cases than a given one: what the shrinker tries, the boldest steps first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.fuzz.case import Case
from hairtrigger.fuzz.edit import cropped, followed, pruned, rebuilt, retyped, with_inputs
from hairtrigger.graph import Literal, TensorType
from hairtrigger.graph.linear import Conv, Dense, MaxPool, SumPool
from hairtrigger.graph.ops import Constant, Input, Op, Quantize, State, Table
from hairtrigger.graph.types import Range

Size = tuple[int, ...]


def size(case: Case) -> Size:
    """What shrinking makes smaller, the most important first.

    Computing nodes, other nodes, outputs, elements, weights that are not zero, weights and
    attributes that are not the simplest, bits, events, and codes that are not zero.
    """
    nodes = case.graph.nodes
    given = sum(isinstance(node.op, Input | Constant) for node in nodes)
    literals = [x.codes for node in nodes for x in _literals(node.op).values()]
    return (
        len(nodes) - given,
        given,
        len(case.graph.outputs),
        sum(node.type.size for node in nodes),
        sum(int(np.count_nonzero(x)) for x in literals),
        sum(x.size for x in literals) + sum(_frills(node.op) for node in nodes),
        sum(node.type.bits for node in nodes),
        case.events,
        sum(int(np.count_nonzero(x)) for x in case.codes),
    )


def _frills(op: Op) -> int:
    """Attributes that could be simpler."""
    match op:
        case Quantize():
            return (op.rounding is not Rounding.TRN) + (op.overflow is not Overflow.WRAP)
        case Conv():
            return sum(op.strides) + sum(map(sum, op.padding)) + op.groups
        case SumPool() | MaxPool():
            return sum(op.strides) + sum(map(sum, op.padding)) + sum(op.window)
        case _:
            return 0


Make = Callable[[], Case]
"""A case to try; raises `HairtriggerError` where what was left does not fit together."""


def _fewer_events(case: Case) -> Iterator[Make]:
    """Half of the events, then ever smaller parts left out."""
    events = case.events
    part = (events + 1) // 2
    while part >= 1 and events > 1:
        for start in reversed(range(0, events, part)):
            kept = [n for n in range(events) if not start <= n < start + part]
            if kept:
                yield lambda kept=kept: replace(case, codes=tuple(x[kept] for x in case.codes))
        part = part // 2 if part > 1 else 0


def _fewer_codes(case: Case) -> Iterator[Make]:
    """Ever smaller groups of codes set to zero."""
    splits = np.cumsum([x.size for x in case.codes])[:-1]

    def split(flat: NDArray[np.int64]) -> Case:
        arrays = zip(np.split(flat, splits), case.codes, strict=True)
        return replace(case, codes=tuple(a.reshape(x.shape) for a, x in arrays))

    for flat in _zeroed(np.concatenate([np.zeros(0, np.int64), *(x.ravel() for x in case.codes)])):
        yield lambda flat=flat: split(flat)


# --- nodes ---------------------------------------------------------------------------------------


def _outputs(case: Case) -> Iterator[Make]:
    """One output alone, or another node instead, the first ones first."""
    graph = case.graph
    if len(graph.outputs) > 1:
        for n in graph.outputs:
            yield lambda n=n: _showing(case, n)
    for n, node in enumerate(graph.nodes):
        if not isinstance(node.op, Input | Constant) and graph.outputs != (n,):
            yield lambda n=n: _showing(case, n)


def opened(case: Case) -> Case:
    """The case with every computing node as an output: the first that differs is the guilty one."""
    shown = [n for n, x in enumerate(case.graph.nodes) if not isinstance(x.op, Input | Constant)]
    names = tuple(f"node{n}" for n in shown)
    return replace(case, graph=replace(case.graph, outputs=tuple(shown), output_names=names))


def showing_only(case: Case, output: int) -> Case:
    """The case with one of its outputs, and what that needs."""
    return _showing(case, case.graph.outputs[output])


def _showing(case: Case, place: int) -> Case:
    return pruned(case, replace(case.graph, outputs=(place,), output_names=("out",)))


def _cut_above(case: Case) -> Iterator[Make]:
    """Nodes become Inputs with the codes that they have: those next to the outputs first."""
    graph = case.graph
    level = set(graph.outputs)
    while level:
        level = {k for n in level for k in graph.nodes[n].operands} - level
        computed = {n for n in level if not isinstance(graph.nodes[n].op, Input | Constant)}
        if computed:
            yield lambda computed=computed: with_inputs(case, computed)
    for n, node in enumerate(graph.nodes):
        if n not in graph.outputs and not isinstance(node.op, Input | Constant):
            yield lambda n=n: with_inputs(case, {n})


def _bypass(case: Case) -> Iterator[Make]:
    """A node gives way to one of its operands, a register to a node of its type before it."""
    for n, node in enumerate(case.graph.nodes):
        if isinstance(node.op, State):
            for before in range(n):
                if case.graph.nodes[before].type == node.type:
                    yield lambda n=n, before=before: rebuilt(case, {}, {n: before})
        for operand in dict.fromkeys(node.operands):
            if case.graph.nodes[operand].type.shape == node.type.shape:
                yield lambda n=n, operand=operand: rebuilt(case, {}, {n: operand})


# --- shapes --------------------------------------------------------------------------------------


def _crop(case: Case) -> Iterator[Make]:
    """Shorter axes: of all Inputs, Constants and registers that are equally long there."""
    given = [n.type.shape for n in case.graph.nodes if isinstance(n.op, Input | State)]
    axes = {(len(s), axis, length) for s in given for axis, length in enumerate(s) if length > 1}
    for axis in sorted(axes, key=lambda a: -a[2]):
        for shorter in sorted({1, axis[2] // 2, axis[2] - 1}):
            for ends in (False, True):
                yield lambda a=axis, k=shorter, e=ends: cropped(case, a, k, e)


# --- weights, modes and types --------------------------------------------------------------------


def _literals(op: Op) -> dict[str, Literal]:
    """The constants of an op, by their attributes."""
    found: dict[str, Literal | None] = {}
    match op:
        case Dense() | Conv():
            found = {"kernel": op.kernel, "bias": op.bias}
        case Constant():
            found = {"value": op.value}
        case Table():
            found = {"values": op.values}
        case State():
            found = {"reset": op.reset}
        case _:
            pass
    return {name: x for name, x in found.items() if x is not None}


def _channels(case: Case) -> Iterator[Make]:
    """Layers with fewer channels, and without bias."""
    for n, node in enumerate(case.graph.nodes):
        op = node.op
        if not isinstance(op, Dense | Conv):
            continue
        if op.bias is not None:
            yield lambda n=n, op=op: rebuilt(case, {n: replace(op, bias=None)})
        channels = op.kernel.shape[-1]
        if isinstance(op, Conv) and op.groups > 1:
            continue
        for kept in sorted({1, channels // 2, channels - 1} - {0, channels}):
            kernel = Literal(op.kernel.codes[..., :kept], op.kernel.fraction)
            bias = op.bias and Literal(op.bias.codes[:kept], op.bias.fraction)
            less = replace(op, kernel=kernel, bias=bias)
            yield lambda n=n, less=less: followed(case, n, less)


def _weights(case: Case) -> Iterator[Make]:
    """Weights become zero, all, in halves, one by one."""
    for n, node in enumerate(case.graph.nodes):
        for name, literal in _literals(node.op).items():
            for codes in _zeroed(literal.codes):
                other: Any = replace(node.op, **{name: Literal(codes, literal.fraction)})
                yield lambda n=n, other=other: rebuilt(case, {n: other})


def _zeroed(codes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    live = np.flatnonzero(codes)
    part = len(live)
    while part >= 1:
        for start in range(0, len(live), part):
            tried = codes.copy()
            tried.ravel()[live[start : start + part]] = 0
            yield tried
        part //= 2


def _modes(case: Case) -> Iterator[Make]:
    """The simplest modes, strides, padding and groups."""
    for n, node in enumerate(case.graph.nodes):
        for other in _simpler(node.op):
            yield lambda n=n, other=other: followed(case, n, other)


def _simpler(op: Op) -> Iterator[Op]:
    match op:
        case Quantize():
            yield replace(op, rounding=Rounding.TRN)
            yield replace(op, overflow=Overflow.WRAP)
        case Conv() | SumPool() | MaxPool():
            plain = tuple((0, 0) for _ in op.strides)
            yield replace(op, strides=(1,) * len(op.strides))
            yield replace(op, padding=plain)
            if isinstance(op, SumPool | MaxPool):
                yield replace(op, window=(1,) * len(op.strides), padding=plain)
        case _:
            pass


def _types(case: Case) -> Iterator[Make]:
    """Inputs just wide enough for their codes, with one format for all or for each element."""
    for n, codes in zip(case.graph.inputs, case.codes, strict=True):
        op = case.graph.nodes[n].op
        assert isinstance(op, Input)
        t = op.type
        low = np.minimum(codes.min(axis=0), 0)
        high = np.maximum(codes.max(axis=0), 0)
        own = Range(low, high, np.full(t.shape, t.lsb)).cover()
        widest = int(own.width.max(initial=0))
        signed = bool(own.signed.any())
        integer = int(own.integer.max(initial=0))
        if widest:
            one = Fixed(signed, integer, t.lsb)
            yield lambda n=n, op=op, one=one: retyped(
                case, n, replace(op, type=TensorType.uniform(op.type.shape, one))
            )
        yield lambda n=n, op=op, own=own: retyped(case, n, replace(op, type=own))


STEPS: tuple[Callable[[Case], Iterator[Make]], ...] = (
    _fewer_events,
    _outputs,
    _cut_above,
    _bypass,
    _crop,
    _channels,
    _weights,
    _modes,
    _types,
    _fewer_codes,
)
"""Each gives cases to try in the place of another, the boldest first."""
