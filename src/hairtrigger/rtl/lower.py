"""Lowers a Graph to modules: every op becomes cells, every kernel a module of its own.

A *kernel* is a Dense, Conv or pool together with the element-wise ops behind it, as far as nobody
else reads what lies between. It is built once for each distinct set of weights and formats.

With an interval of 1 a kernel is instantiated at each position. With a longer one an event enters
in words, and an instance serves several positions in turn (`hairtrigger.rtl.schedule`): what it
reads comes out of delays, and where its positions read from different places, it chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from hairtrigger.errors import UnsupportedError
from hairtrigger.fixed import IntArray
from hairtrigger.graph import linear, moves, ops
from hairtrigger.graph.graph import Graph, Node
from hairtrigger.graph.types import Literal, TensorType
from hairtrigger.rtl.accumulate import Terms, sums
from hairtrigger.rtl.adders import multiply_matrix
from hairtrigger.rtl.build import ZERO, ModuleBuilder
from hairtrigger.rtl.kernels import (
    KERNELS,
    Kernel,
    Port,
    Span,
    Step,
    build_kernel,
    choose,
    element_lowering,
    finished,
    hull,
    kernel_chain,
    narrowed,
    spans_of,
)
from hairtrigger.rtl.names import identifier
from hairtrigger.rtl.netlist import Module, Wire, constant
from hairtrigger.rtl.positions import Positions
from hairtrigger.rtl.schedule import Slabs, Value, dealt, needed, plan
from hairtrigger.rtl.steer import Steering

Make = Callable[[list[Wire], list[Port], IntArray, int], list[Wire]]
"""Lays out an instance and gives its wires: from the offered wires, its ports, the elements that it
makes (positions, made), and the group of its positions."""


@dataclass(frozen=True)
class Lowered:
    """A top module; ``slabs``: how each input enters; ``time``: the clock of the event in which all
    its outputs are there."""

    module: Module
    slabs: tuple[Slabs, ...]
    time: int


@dataclass
class _Lowering:
    """What is known while a Graph is lowered."""

    graph: Graph
    interval: int
    slabs: tuple[Slabs, ...]
    top: ModuleBuilder
    steering: Steering
    values: dict[int, Value] = field(default_factory=dict[int, Value])
    kernels: dict[object, Kernel] = field(default_factory=dict[object, Kernel])
    names: dict[str, int] = field(default_factory=dict[str, int])
    wires: list[Wire] = field(default_factory=lambda: [ZERO])
    constant: list[bool] = field(default_factory=lambda: [True])
    places: int = 0

    def module_name(self, label: str) -> str:
        """A fresh Verilog name made from a label; the Graph's name keeps networks apart."""
        stem = f"{identifier(self.graph.name)}_{identifier(label)}"
        self.names[stem] = self.names.get(stem, -1) + 1
        return f"{stem}_{self.names[stem]}"

    def lane(self, wire: Wire) -> int:
        """A number for a wire."""
        if wire.zero:
            return 0
        self.wires.append(wire)
        self.constant.append(wire.constant)
        return len(self.wires) - 1


def lower(graph: Graph, interval: int = 1, axis: int | None = None) -> Lowered:
    """The top module: a new event every ``interval`` clocks.

    Its input ports are the lanes of the Graph's inputs that are not always zero, in order, its
    outputs all elements of the outputs. ``axis``: along which images enter, None for the longest.
    Raises `UnsupportedError`.
    """
    slabs = tuple(_slabs(op.type, interval, axis) for op in graph.input_ops)
    top = ModuleBuilder()
    state = _Lowering(graph, interval, slabs, top, Steering(top, interval, _row(graph, slabs)))
    done: set[int] = set()
    given = iter(slabs)
    for place, node in enumerate(graph.nodes):
        if place in done:
            continue
        operands = [state.values[n] for n in node.operands]
        match node.op:
            case ops.Input():
                state.values[place] = _input(state, node.type, next(given))
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
                state.values[chain[-1]] = _accumulated(state, chain) or _kernels(state, chain)
            case linear.GlobalSum():
                state.values[place] = _accumulated(state, (place,)) or _cells(state, place)
            case _:
                state.values[place] = _cells(state, place)
    return _finish(state)


def _slabs(t: TensorType, interval: int, axis: int | None) -> Slabs:
    """How an input enters; what is no image enters whole, but for long vectors."""
    rank = len(t.shape)
    image = range(max(1, rank - 1) if rank != 2 else 2)
    longest = max(image, key=lambda n: t.shape[n], default=0) if rank else 0
    if interval == 1 or rank < 2:
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


def _input(state: _Lowering, t: TensorType, slabs: Slabs) -> Value:
    spans = spans_of(t.range())
    lane, time, place = (np.zeros(t.size, dtype=np.int64) for _ in range(3))
    for n, elements in enumerate(slabs.order.T):
        lanes: list[int] = elements.tolist()
        lane[elements] = state.lane(state.top.input(*hull([spans[n] for n in lanes])))
        time[elements] = np.arange(slabs.words)
        place[elements] = state.places + n
    state.places += slabs.size
    return Value(*(a.reshape(t.shape) for a in (lane, time, place)))


def _finish(state: _Lowering) -> Lowered:
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


def _cells(state: _Lowering, place: int) -> Value:
    """A node whose instances are laid out in the top module."""
    node, top = state.graph.nodes[place], state.top
    step = Step.of(node)

    def make(offered: list[Wire], ports: list[Port], outputs: IntArray, _: int) -> list[Wire]:
        wires = [choose(top, offered, port) for port in ports]
        found = _cell(top, node, wires, int(outputs[0, 0]), step)
        return [top.narrow(found, *_reach(step, outputs[:, 0].tolist()))]

    return _apply(state, node, [step], make)


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


def _kernels(state: _Lowering, chain: Sequence[int]) -> Value:
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
            name = state.module_name(label)
            state.kernels[key] = build_kernel(
                head, steps, group, offered, ports, first, spans, name, label
            )
        kernel = state.kernels[key]
        reads = [offered[n] for n in kernel.reads]
        number = next(count)
        if not kernel.module.body:
            return _passed_through(kernel.module, reads)
        return state.top.instance(
            kernel.module, reads, f"{identifier(label)}_{chain[0]}_at_{number}"
        )

    return _apply(state, head, steps, make)


def _apply(state: _Lowering, node: Node, steps: Sequence[Step], make: Make) -> Value:
    """Plan the positions of an op and lay out its instances."""
    operands = [state.values[n] for n in node.operands]
    at = Positions.of(node, [v.shape for v in operands])
    lane, time, place = _read(at, operands)
    kinds = _kinds(state, at, steps, lane, place)
    planned = plan(state.interval, kinds, time, place)
    if isinstance(node.op, linear.Dense | linear.Conv) and state.interval > 1:
        # Instances that idle are dear here: first bring what they read into fewer lanes.
        wanted = needed(state.interval, kinds)
        if len(planned.served()) > 1.25 * wanted:
            lane, time, place = _read(at, [_denser(state, operands[0])])
            planned = plan(state.interval, kinds, time, place)
    made = np.zeros((3, node.type.size), dtype=np.int64)
    width = at.outputs.shape[1]
    late = np.where(np.array(state.constant)[lane], 0, planned.time[:, None] - time)
    for rows in planned.served():
        first = int(planned.first[rows[0]])
        offered, ports = _ports(state, lane[rows], late[rows], planned.time[rows], first)
        wires = make(offered, ports, at.outputs[rows], int(at.group[rows[0]]))
        made[0, at.outputs[rows]] = [state.lane(w) for w in wires]
        made[1, at.outputs[rows]] = planned.time[rows, None]
        made[2, at.outputs[rows]] = state.places + np.arange(width)
        state.places += width
    return Value(*(a.reshape(node.type.shape) for a in made))


def _accumulated(state: _Lowering, chain: Sequence[int]) -> Value | None:
    """A sum of what comes in clock by clock; None where a kernel that sees all at once is smaller,
    or the op is none that has one position for the whole tensor."""
    graph = state.graph
    head, last = graph.nodes[chain[0]], graph.nodes[chain[-1]]
    x, operand = state.values[head.operands[0]], graph.nodes[head.operands[0]].type
    weights = _weights(head, operand.shape)
    if state.interval == 1 or weights is None:
        return None
    matrix, fraction, bias = weights
    x = Value(*(a.ravel() for a in x.arrays))
    moving = ~np.array(state.constant)[x.lane]
    if not moving.any() or np.ptp(x.time[moving]) >= state.interval:
        return None
    if (x.lane[~moving] != 0).any():  # rare: constants that are not zero
        return None
    x, matrix = Value(*(a[moving] for a in x.arrays)), matrix[moving]
    numbers: list[int] = x.lane.tolist()
    widths = [state.wires[n].width for n in numbers]
    best = _unrolled_luts(matrix, np.array(widths)), None
    for lanes in {len(np.unique(x.lane)), *(-(-len(x.lane) * n // state.interval) for n in (1, 2))}:
        dense = lanes < len(np.unique(x.lane))
        terms, cost = _terms(state, x, matrix, fraction, lanes if dense else 0)
        if cost < best[0]:
            best = cost, (terms, lanes if dense else 0)
    if best[1] is None:
        return None
    terms, lanes = best[1]
    if lanes:
        terms = Terms.of(*_retimed(state, x, lanes).arrays[:2], matrix, fraction)
    return _add_up(state, chain, terms, bias, head, last)


def _weights(head: Node, shape: tuple[int, ...]) -> tuple[IntArray, int, Literal | None] | None:
    """Matrix (elements, results), its fraction and a bias of an op with one position."""
    match head.op:
        case linear.Dense() if len(shape) == 1:
            return head.op.kernel.codes, head.op.kernel.fraction, head.op.bias
        case linear.GlobalSum():
            at = Positions.of(head, [shape])
            matrix = np.zeros((prod(shape), len(at.inputs)), dtype=np.int64)
            matrix[at.inputs.T, np.arange(len(at.inputs))] = 1
            return matrix, 0, None
        case _:
            return None


def _unrolled_luts(matrix: IntArray, widths: IntArray) -> float:
    """About the LUTs of a kernel that sees all of its inputs at once."""
    return float(((matrix != 0) * (widths[:, None] + 3)).sum())


def _terms(
    state: _Lowering, x: Value, matrix: IntArray, fraction: int, lanes: int
) -> tuple[Terms, float]:
    """Terms of a sum, on their own lanes (``lanes`` 0) or dealt out to so many, and their LUTs."""
    widths = np.array([w.width for w in state.wires])
    if not lanes:
        terms = Terms.of(x.lane, x.time, matrix, fraction)
        return terms, terms.luts(widths[list(terms.lanes)].tolist())
    instance, when = dealt(state.interval, x.time, lanes)
    terms = Terms.of(instance, when, matrix, fraction)
    total = 0.0
    bits: list[int] = []
    for n in range(len(terms.lanes)):
        sources, late = x.lane[instance == n], (when - x.time)[instance == n]
        bits.append(int(widths[sources].max()))
        for source in np.unique(sources):
            depth = int(np.ptp(late[sources == source]))
            total += bits[-1] * (0.7 + (1 + depth / 32 if depth else 0))
    return terms, total + terms.luts(bits)


def _add_up(
    state: _Lowering,
    chain: Sequence[int],
    terms: Terms,
    bias: Literal | None,
    head: Node,
    last: Node,
) -> Value:
    """Lay out a sum over clocks and the element-wise ops behind it."""
    operand = state.graph.nodes[head.operands[0]].type.range()
    bare = replace(head.op, bias=None) if isinstance(head.op, linear.Dense) else head.op
    steering, times = state.steering, terms.times
    every = bool((np.diff(times) == 1).all())
    lanes = [state.wires[n] for n in terms.lanes]
    steer = [steering.slot(times), steering.start(int(times[0]))]
    offered = [*lanes, *steer, *([] if every else [steering.active(times)])]
    builder = ModuleBuilder()
    inside = [w if w.constant else builder.input(w.low, w.high, w.fraction) for w in offered]
    slot, start, *step = inside[len(lanes) :]
    spans = spans_of(bare.bounds([operand]))
    wires = sums(builder, terms, inside, slot, start, step[0] if step else None, spans)
    if bias is not None:
        codes = [constant(int(code), bias.fraction) for code in bias.codes]
        wires = [builder.add(w, code) for w, code in zip(wires, codes, strict=True)]
    for node in (state.graph.nodes[n] for n in chain):
        step_of = Step.of(node)
        if step_of.lowering is not None:
            wires = [step_of.lowering(builder, w, n) for n, w in enumerate(wires)]
        wires = narrowed(builder, wires, step_of.spans)
    label = next((state.graph.nodes[n].label for n in chain if state.graph.nodes[n].label), "sum")
    about = f"{label!r}, added up over {len(times)} clocks."
    kernel = finished(builder, inside, wires, state.module_name(label), about)
    reads = [offered[n] for n in kernel.reads]
    made = state.top.instance(kernel.module, reads, f"{identifier(label)}_{chain[0]}_sum")
    lane = np.array([state.lane(w) for w in made]).reshape(last.type.shape)
    place = state.places + np.arange(lane.size).reshape(lane.shape)
    state.places += lane.size
    return Value(lane, np.full_like(lane, int(times[-1])), place)


def _read(at: Positions, operands: Sequence[Value]) -> tuple[IntArray, IntArray, IntArray]:
    """Lane, time and place of what each position reads."""
    lane, time, place = (
        np.append(np.concatenate([getattr(v, name).ravel() for v in operands]), end)[at.inputs]
        for name, end in (("lane", 0), ("time", 0), ("place", -1))
    )
    return lane, time, place


def _denser(state: _Lowering, value: Value) -> Value:
    """A tensor on as few lanes as an interval needs, each channel on its own."""
    channels = value.shape[-1]
    pixels = value.lane.size // channels
    made = np.zeros((3, pixels, channels), dtype=np.int64)
    for n in range(channels):
        channel = Value(*(a.reshape(pixels, channels)[:, n] for a in value.arrays))
        made[:, :, n] = _retimed(state, channel, -(-pixels // state.interval)).arrays
    return Value(*(a.reshape(value.shape) for a in made))


def _retimed(state: _Lowering, value: Value, lanes: int) -> Value:
    """Elements (elements,) dealt out to so many lanes."""
    ready = np.where(value.place >= 0, value.time, 0)
    instance, when = dealt(state.interval, ready, lanes)
    lane = np.zeros_like(when)
    late = np.where(np.array(state.constant)[value.lane], 0, when - value.time)
    for n in range(int(instance.max()) + 1):
        rows = np.flatnonzero(instance == n)
        rows = rows[np.argsort(when[rows])]
        offered, ports = _ports(
            state, value.lane[rows, None], late[rows, None], when[rows], int(when.min())
        )
        lane[rows] = state.lane(choose(state.top, offered, ports[0]))
    place = state.places + instance
    state.places += lanes
    return Value(lane, when, place)


def _kinds(
    state: _Lowering, at: Positions, steps: Sequence[Step], lane: IntArray, place: IntArray
) -> IntArray:
    """Equal numbers for positions that one instance can serve: the same group, formats, tables and
    constant operands."""
    if state.interval == 1:
        return np.zeros(len(at.inputs), dtype=np.int64)
    columns = [at.group[:, None], np.where(place < 0, lane, 0)]
    for step in steps:
        if step.keys is not None:
            distinct = {key: n for n, key in enumerate(dict.fromkeys(step.keys))}
            columns.append(np.array([distinct[key] for key in step.keys])[at.outputs])
    return np.unique(np.concatenate(columns, axis=1), axis=0, return_inverse=True)[1].ravel()


def _ports(
    state: _Lowering, lane: IntArray, late: IntArray, now: IntArray, first: int
) -> tuple[list[Wire], list[Port]]:
    """What an instance reads: wires, and which of them each of its inputs takes when.

    ``lane``, ``late`` (positions, reads): what is read, and how many clocks after it was made;
    ``now`` (positions,): when each position is served; ``first``: when the first of the op is.
    """
    offered: list[Wire] = []

    def offer(wire: Wire) -> int:
        offered.append(wire)
        return len(offered) - 1

    def tap(lane: int, late: int) -> int:
        return offer(state.top.delayed(state.wires[lane], late))

    same = (lane == lane[0]).all(axis=0) & (late == late[0]).all(axis=0)
    selects: dict[bytes, tuple[int, ...]] = {}
    ports: list[Port] = []
    for read in range(lane.shape[1]):
        if same[read]:
            ports.append(Port((tap(int(lane[0, read]), int(late[0, read])),)))
            continue
        sources = _sources(lane[:, read], late[:, read])
        number = np.zeros(len(now), dtype=np.int64)
        candidates: list[int] = []
        for n, (source, some) in enumerate(sources):
            number[some] = n
            delays = late[some, read]
            least, most = int(delays.min()), int(delays.max())
            if least == most:
                candidates.append(tap(source, least))
                continue
            wire = state.top.delayed(state.wires[source], least)
            where = state.steering.word(first, now[some], delays - least)
            candidates.append(offer(state.top.fetch(wire, where, most - least)))
        key = number.tobytes()
        if key not in selects:
            bits = state.steering.number(first, now, number)
            selects[key] = tuple(offer(bit) for bit in bits)
        ports.append(Port(tuple(candidates), selects[key]))
    return offered, ports


FEW = 3
"""Delays of one wire that an input chooses between; more are fetched by an address."""


def _sources(lane: IntArray, late: IntArray) -> list[tuple[int, IntArray]]:
    """Distinct sources of an input: a wire's number, and the positions that read it in one way."""
    found: list[tuple[int, IntArray]] = []
    for source in dict.fromkeys(lane.tolist()):
        some = np.flatnonzero(lane == source)
        delays = np.unique(late[some])
        if len(delays) > FEW:
            found.append((source, some))
        else:
            found += [(source, some[late[some] == delay]) for delay in delays]
    return found


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
