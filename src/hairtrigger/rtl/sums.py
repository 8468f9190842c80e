"""Folded sums: a Dense behind an image, or a sum over all of it, added up clock by clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from hairtrigger.fixed import IntArray
from hairtrigger.graph import linear
from hairtrigger.graph.graph import Node
from hairtrigger.graph.types import Literal
from hairtrigger.rtl.accumulate import Terms, sums
from hairtrigger.rtl.build import ModuleBuilder
from hairtrigger.rtl.kernels import Step, finished, narrowed, spans_of
from hairtrigger.rtl.lowering import Lowering, retimed
from hairtrigger.rtl.names import identifier
from hairtrigger.rtl.netlist import constant
from hairtrigger.rtl.positions import Positions
from hairtrigger.rtl.schedule import Value, dealt


def added_up(state: Lowering, chain: Sequence[int]) -> Value | None:
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
        terms = Terms.of(*retimed(state, x, lanes).arrays[:2], matrix, fraction)
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
    state: Lowering, x: Value, matrix: IntArray, fraction: int, lanes: int
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
    state: Lowering,
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
