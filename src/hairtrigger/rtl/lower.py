"""Lowers a Graph to modules: every op becomes cells, every kernel a module of its own.

A *kernel* is a Dense, Conv or pool together with the element-wise ops behind it, as far as nobody
else reads what lies between. It is built once for each distinct set of weights and formats.

With an interval of 1 a kernel is instantiated at each position. With a longer one an event enters
in words, and an instance serves several positions in turn (`hairtrigger.rtl.schedule`): what it
reads comes out of delays, and where its positions read from different places, it chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hairtrigger.errors import UnsupportedError
from hairtrigger.fixed import IntArray
from hairtrigger.graph import linear, moves, ops
from hairtrigger.graph.graph import Graph, Node
from hairtrigger.graph.steps import groups
from hairtrigger.graph.types import TensorType
from hairtrigger.rtl import registers
from hairtrigger.rtl.adders import multiply_matrix
from hairtrigger.rtl.arithmetic import ZERO
from hairtrigger.rtl.build import ModuleBuilder
from hairtrigger.rtl.kernels import (
    KERNELS,
    Port,
    Span,
    Step,
    build_kernel,
    choose,
    element_lowering,
    hull,
    kernel_chain,
    spans_of,
)
from hairtrigger.rtl.lowering import Lowering, apply
from hairtrigger.rtl.names import identifier
from hairtrigger.rtl.netlist import Module, Wire, constant
from hairtrigger.rtl.schedule import Slabs, Value
from hairtrigger.rtl.steer import Steering
from hairtrigger.rtl.sums import added_up

MOST_TRIES = 4
"""Times that a Graph with registers is lowered until each is read where its next value is made.

Elements of a loop that share an instance can push each other from clock to clock: then it is tried
again with an instance for each.
"""


@dataclass(frozen=True)
class Lowered:
    """A top module; ``slabs``: how each input enters; ``time``: the clock of the event in which all
    its outputs are there."""

    module: Module
    slabs: tuple[Slabs, ...]
    time: int


def lower(graph: Graph, interval: int = 1, axis: int | None = None) -> Lowered:
    """The top module: a new event every ``interval`` clocks.

    Its input ports are the lanes of the Graph's inputs that are not always zero, in order, its
    outputs all elements of the outputs. ``axis``: along which images enter, None for the longest.
    Raises `UnsupportedError`.
    """
    loops = frozenset(n for group in groups(graph) if group.loop for n in group.places)
    for alone in (frozenset[int](), loops):
        layout: registers.Layout = {}
        for _ in range(MOST_TRIES):
            state = _lower(graph, interval, axis, layout, alone)
            if registers.fits(state, graph):
                registers.write(state, graph, layout)
                return _finish(state)
            layout = registers.layout_of(state, graph)
    raise UnsupportedError(
        f"The registers of Graph {graph.name!r} find no place in an interval of {interval} clocks: "
        "each time they are read later, their next values are made later too.",
        "Choose an interval of 1 clock.",
    )


def _lower(
    graph: Graph,
    interval: int,
    axis: int | None,
    layout: registers.Layout,
    alone: frozenset[int],
) -> Lowering:
    """Every node of a Graph, with its registers read when and where ``layout`` says."""
    slabs = tuple(_slabs(op.type, interval, axis) for op in graph.input_ops)
    top = ModuleBuilder()
    steering = Steering(top, interval, _row(graph, slabs))
    state = Lowering(graph, interval, slabs, top, steering, alone=alone)
    done: set[int] = set()
    given = iter(slabs)
    for place, node in enumerate(graph.nodes):
        if place in done:
            continue
        operands = [state.values[n] for n in node.operands]
        match node.op:
            case ops.Input():
                state.values[place] = _input(state, node.type, next(given))
            case ops.State():
                state.values[place] = registers.read(state, place, node.op, layout)
            case ops.Constant():
                spans = spans_of(node.op.value.range())
                lanes = [state.lane(constant(low, f)) for low, _, f in spans]
                state.values[place] = _still(np.array(lanes).reshape(node.type.shape))
            case moves.Move():
                shape = operands[0].shape
                elements = np.arange(1, operands[0].lane.size + 1).reshape(1, *shape)
                state.values[place] = operands[0].moved(node.op.move(elements, shape)[0] - 1)
            case moves.Concat():
                columns = zip(*((v.lane, v.time, v.place) for v in operands), strict=True)
                state.values[place] = Value(*(np.concatenate(c, node.op.axis) for c in columns))
            case _ if isinstance(node.op, KERNELS):
                chain = kernel_chain(graph, place)
                done.update(chain)
                state.values[chain[-1]] = added_up(state, chain) or _kernels(state, chain)
            case linear.GlobalSum():
                state.values[place] = added_up(state, (place,)) or _cells(state, place)
            case _:
                state.values[place] = _cells(state, place)
    return state


def _slabs(t: TensorType, interval: int, axis: int | None) -> Slabs:
    """How an input enters; a vector enters whole but where an axis is asked for."""
    rank = len(t.shape)
    image = range(max(1, rank - 1) if rank != 2 else 2)
    longest = max(image, key=lambda n: t.shape[n], default=0) if rank else 0
    if interval == 1 or (rank < 2 and (axis is None or not rank)):
        return Slabs(np.arange(t.size).reshape(1, -1))
    return Slabs.of(t.shape, interval, longest if axis is None else axis)


def _row(graph: Graph, slabs: Sequence[Slabs]) -> int:
    """Clocks after which the largest input's next row begins."""
    if not slabs:
        return 1
    largest = max(slabs, key=lambda s: s.words)
    words = [s.words for s in slabs]
    shape = graph.input_ops[words.index(largest.words)].type.shape
    rows = [n for n in shape if n > 1 and largest.words % n == 0 and largest.words // n > 1]
    return largest.words // max(rows) if rows else 1


def _still(lanes: IntArray) -> Value:
    return Value(lanes, np.zeros_like(lanes), np.full_like(lanes, -1))


def _input(state: Lowering, t: TensorType, slabs: Slabs) -> Value:
    spans = spans_of(t.range())
    lane, time, place = (np.zeros(t.size, dtype=np.int64) for _ in range(3))
    for n, elements in enumerate(slabs.order.T):
        lanes: list[int] = elements.tolist()
        lane[elements] = state.lane(state.top.input(*hull([spans[n] for n in lanes])))
        time[elements] = np.arange(slabs.words)
        place[elements] = state.places + n
    state.places += slabs.size
    return Value(*(a.reshape(t.shape) for a in (lane, time, place)))


def _finish(state: Lowering) -> Lowered:
    graph, top = state.graph, state.top
    values = [state.values[place] for place in graph.outputs]
    time = max(int(value.time.max()) for value in values)
    outputs: list[Wire] = []
    for place, value in zip(graph.outputs, values, strict=True):
        spans = spans_of(graph.nodes[place].type.range())
        where = zip(value.lane.ravel().tolist(), value.time.ravel().tolist(), spans, strict=True)
        for lane, when, (low, high, fraction) in where:
            if low == high:
                outputs.append(ZERO)
                continue
            wire = state.wires[lane]
            wire = wire if wire.constant else top.delayed(wire, time - when)
            outputs.append(top.refine(top.narrow(wire, low, high, fraction), fraction))
    about = f"The whole network {graph.name!r}."
    return Lowered(top.finish(identifier(graph.name), outputs, about), state.slabs, time)


# --- one op after the other --------------------------------------------------------------------


def _cells(state: Lowering, place: int) -> Value:
    """A node whose instances are laid out in the top module."""
    node, top = state.graph.nodes[place], state.top
    step = Step.of(node)
    # A wire that elements share in turn carries more than a Table has entries for.
    table = isinstance(node.op, ops.Table)
    reads = spans_of(state.graph.nodes[node.operands[0]].type.range()) if table else []

    def make(offered: list[Wire], ports: list[Port], outputs: IntArray, _: int) -> list[Wire]:
        elements: list[int] = outputs[:, 0].tolist()
        wires = [choose(top, offered, port) for port in ports]
        if table:
            wires = [top.narrow(wires[0], *hull([reads[n] for n in elements]))]
        found = _cell(top, node, wires, elements[0], step)
        return [top.narrow(found, *_reach(step, elements))]

    return apply(state, [place], [step], make)


def _cell(top: ModuleBuilder, node: Node, wires: list[Wire], element: int, step: Step) -> Wire:
    op = node.op
    match op:
        case ops.Relu() | ops.Quantize() | ops.Table():
            return (step.lowering or element_lowering(op, node.type))(top, wires[0], element)
        case ops.Add():
            return top.add(wires[0], wires[1])
        case ops.Sub():
            return top.add(wires[0], wires[1], subtract=True)
        case ops.Compare():
            return top.compare(op.relation, *wires)
        case ops.Mul():
            a, b = wires if wires[0].constant else wires[::-1]
            if a.constant:
                return multiply_matrix(top, [b], np.array([[a.low]]), a.fraction)[0]
            return top.multiply(*wires)
        case linear.GlobalSum():
            return top.sum(wires)
        case linear.ArgMax():
            return top.argmax(wires)
        case _:
            raise UnsupportedError(
                f"{type(op).__name__} {node.label!r} has no lowering to cells.",
                "Add one in hairtrigger/rtl/lower.py; see docs/add_an_op.md.",
            )


def _reach(step: Step, elements: list[int]) -> Span:
    """What any of some elements of a node can be."""
    return hull([step.spans[n] for n in elements])


def _kernels(state: Lowering, chain: Sequence[int]) -> Value:
    """All positions of a kernel: modules where they are new, instances everywhere."""
    graph = state.graph
    head = graph.nodes[chain[0]]
    label = next((graph.nodes[n].label for n in chain if graph.nodes[n].label), "")
    label = label or type(head.op).__name__
    steps = [Step.of(graph.nodes[n]) for n in chain]
    count = iter(range(1 << 62))

    def make(offered: list[Wire], ports: list[Port], outputs: IntArray, group: int) -> list[Wire]:
        first = outputs[0].tolist()
        columns: list[list[int]] = outputs.T.tolist()
        spans = [[_reach(step, column) for column in columns] for step in steps]
        key = (
            chain[0],
            group,
            tuple((w.low, w.high, w.fraction) for w in offered),
            tuple(ports),
            tuple(map(tuple, spans)),
            tuple(step.key(n) for step in steps for n in first),
        )
        if key not in state.kernels:
            kernel = build_kernel(head, steps, group, offered, ports, first, spans, label)
            state.kernels[key] = replace(kernel, module=state.module(kernel.module, label))
        kernel = state.kernels[key]
        reads = [offered[n] for n in kernel.reads]
        number = next(count)
        if not kernel.module.body:
            return _passed_through(kernel.module, reads)
        return state.top.instance(
            kernel.module, reads, f"{identifier(label)}_{chain[0]}_at_{number}"
        )

    return apply(state, chain, steps, make)


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
