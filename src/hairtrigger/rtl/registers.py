"""Registers of the Graph in a design: what an event leaves for the next one.

A register is read in the clock in which its next value is made, so that the next event, one clock
or more later, finds it. Where an event takes several clocks, elements that are made by one instance
after the other share a ring of registers that turns by one place for each. Long rings whose
elements begin alike become shift-register LUTs, which have no reset: the first event after one
reads the register before them, which has.
"""

from __future__ import annotations

import numpy as np

from hairtrigger.errors import UnsupportedError
from hairtrigger.fixed import IntArray
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.ops import State
from hairtrigger.rtl.kernels import choose, hull, spans_of
from hairtrigger.rtl.lowering import Lowering, ports_of
from hairtrigger.rtl.netlist import CONSTANT, Wire
from hairtrigger.rtl.schedule import Value

LONG = 6
"""Elements from which on a ring becomes shift-register LUTs: few flip-flops are no dearer."""

Layout = dict[int, tuple[IntArray, IntArray]]
"""For each State, by its place in the Graph: clock and place of the elements of its next value."""


def read(state: Lowering, place: int, op: State, layout: Layout) -> Value:
    """The elements of a register; without a layout each is one by itself, read in clock 0."""
    spans = spans_of(op.type.range())
    zero = np.zeros(op.type.size, dtype=np.int64)
    time, made = layout.get(place, (zero, np.arange(op.type.size)))
    lane = zero.copy()
    for ring in _rings(time, made):
        elements: list[int] = ring.tolist()
        low, high, fraction = hull([spans[n] for n in elements])
        lane[ring] = state.lane(state.top.net(low, high, fraction))
    where = made + state.places if place in layout else np.full_like(zero, -1)
    state.places += int(made.max()) + 1
    return Value(*(a.reshape(op.type.shape) for a in (lane, time, where)))


def layout_of(state: Lowering, graph: Graph) -> Layout:
    """When and where the next value of each register is made.

    A register that takes what another one holds follows it at once: its value is made where that
    one will be read, not where it was.
    """
    found: Layout = {}
    for register, after in graph.updates:
        value = state.values[after]
        time = np.where(value.place >= 0, value.time, 0).ravel()
        made = np.stack([value.place.ravel(), _earlier(value.place.ravel(), time)])
        found[register] = (time, np.unique(made, axis=1, return_inverse=True)[1].ravel())
    before = dict(graph.updates)
    for register in found:
        first = before[register]
        for _ in before:  # so many at most, as registers may also take each other's values in turn
            if first not in before:
                break
            found[register] = found[first]
            first = before[first]
    return found


def _earlier(place: IntArray, time: IntArray) -> IntArray:
    """How many elements before each have the same place and clock.

    Constants do, and copies of an element. A ring has one element for each clock.
    """
    seen: dict[tuple[int, int], int] = {}
    found: list[int] = []
    for key in zip(place.tolist(), time.tolist(), strict=True):
        found.append(seen.get(key, 0))
        seen[key] = found[-1] + 1
    return np.array(found)


def fits(state: Lowering, graph: Graph) -> bool:
    """Is every next value there when its register is read."""
    return all(
        bool((_late(state, state.values[a], state.values[r]) >= 0).all()) for r, a in graph.updates
    )


def _late(state: Lowering, after: Value, register: Value) -> IntArray:
    fixed = np.array(state.constant)[after.lane]
    return np.where(fixed, 0, register.time - after.time)


def write(state: Lowering, graph: Graph, layout: Layout) -> None:
    """Close the loops: what each register takes for the next event. Raises `UnsupportedError`."""
    for place, after in graph.updates:
        op = graph.nodes[place].op
        assert isinstance(op, State)
        register, value = state.values[place], state.values[after]
        late = _late(state, value, register).ravel()
        time = register.time.ravel()
        if np.ptp(time) >= state.interval:
            raise UnsupportedError(
                f"Register {op.name!r} is written over {int(np.ptp(time)) + 1} clocks, more than "
                f"the {state.interval} between events.",
                f"Choose an interval of at least {int(np.ptp(time)) + 1} clocks.",
            )
        made = layout[place][1] if place in layout else np.arange(op.type.size)
        for ring in _rings(time, made):
            wire = state.wires[int(register.lane.ravel()[ring[0]])]
            if wire.constant:
                continue
            first = int(time[ring[0]])
            offered, ports = ports_of(
                state, value.lane.ravel()[ring, None], late[ring, None], time[ring], first
            )
            following = choose(state.top, offered, ports[0])
            following = state.top.narrow(following, wire.low, wire.high, wire.fraction)
            if following.constant:
                code = _in_steps(following.low, following.fraction, wire)
                following = Wire(CONSTANT, code, code, wire.fraction)
            codes, enable = _codes(op, ring, wire), _enable(state, time[ring])
            alike = len(ring) >= LONG and len(set(codes)) == 1
            filling = state.top.filling(enable, len(ring) - 1) if alike else None
            state.top.hold(wire, following, enable, codes, op.name, filling)


def _rings(time: IntArray, made: IntArray) -> list[IntArray]:
    """Elements that share a ring, in the order of time."""
    order = np.lexsort((time, made))
    return np.split(order, np.flatnonzero(np.diff(made[order])) + 1)


def _codes(op: State, ring: IntArray, wire: Wire) -> list[int]:
    """Codes of a ring after reset, in the steps of its wire."""
    return [_in_steps(int(c), op.reset.fraction, wire) for c in op.reset.codes.ravel()[ring]]


def _in_steps(code: int, fraction: int, wire: Wire) -> int:
    """A code in units of ``2**-fraction``, in the steps of a wire, which holds it exactly."""
    up = wire.fraction - fraction
    return code << up if up >= 0 else code >> -up


def _enable(state: Lowering, times: IntArray) -> Wire:
    """1 in the clocks ``times`` of each event."""
    start = state.steering.start(int(times[0]))
    running = state.top.running(start, int(times[-1] - times[0]) + 1)
    if (np.diff(times) == 1).all():
        return running
    return state.top.both(running, state.steering.active(times))
