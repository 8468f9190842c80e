"""What is known while a Graph is lowered, and how an op's positions become instances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hairtrigger.fixed import IntArray
from hairtrigger.graph import linear
from hairtrigger.graph.graph import Graph
from hairtrigger.rtl.arithmetic import ZERO
from hairtrigger.rtl.build import ModuleBuilder
from hairtrigger.rtl.kernels import Kernel, Port, Step, choose
from hairtrigger.rtl.names import identifier
from hairtrigger.rtl.netlist import Module, Wire
from hairtrigger.rtl.positions import Positions
from hairtrigger.rtl.schedule import Slabs, Value, dealt, each_alone, needed, plan
from hairtrigger.rtl.steer import Steering

Make = Callable[[list[Wire], list[Port], IntArray, int], list[Wire]]
"""Lays out an instance and gives its wires: from the offered wires, its ports, the elements that it
makes (positions, made), and the group of its positions."""


@dataclass
class Lowering:
    """What is known while a Graph is lowered.

    ``alone``: nodes whose positions share no instance.
    """

    graph: Graph
    interval: int
    slabs: tuple[Slabs, ...]
    top: ModuleBuilder
    steering: Steering
    values: dict[int, Value] = field(default_factory=dict[int, Value])
    kernels: dict[object, Kernel] = field(default_factory=dict[object, Kernel])
    modules: dict[object, Module] = field(default_factory=dict[object, Module])
    names: dict[str, int] = field(default_factory=dict[str, int])
    wires: list[Wire] = field(default_factory=lambda: [ZERO])
    constant: list[bool] = field(default_factory=lambda: [True])
    places: int = 0
    alone: frozenset[int] = frozenset()

    def module(self, built: Module, label: str) -> Module:
        """A module under a fresh name, or the one that is equal to it but for the name."""
        key = (built.inputs, built.outputs, built.body, built.about)
        if key not in self.modules:
            self.modules[key] = replace(built, name=self.module_name(label))
        return self.modules[key]

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


def apply(state: Lowering, chain: Sequence[int], steps: Sequence[Step], make: Make) -> Value:
    """Plan the positions of the first op of a chain and lay out its instances."""
    node = state.graph.nodes[chain[0]]
    operands = [state.values[n] for n in node.operands]
    at = Positions.of(node, [v.shape for v in operands])
    lane, time, place = _read(at, operands)
    kinds = _kinds(state, at, steps, lane, place)
    alone = not state.alone.isdisjoint(chain)
    planned = each_alone(time, place) if alone else plan(state.interval, kinds, time, place)
    shared = not alone and state.interval > 1
    if shared and isinstance(node.op, linear.Dense | linear.Conv):
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
        offered, ports = ports_of(state, lane[rows], late[rows], planned.time[rows], first)
        wires = make(offered, ports, at.outputs[rows], int(at.group[rows[0]]))
        made[0, at.outputs[rows]] = [state.lane(w) for w in wires]
        made[1, at.outputs[rows]] = planned.time[rows, None]
        made[2, at.outputs[rows]] = state.places + np.arange(width)
        state.places += width
    return Value(*(a.reshape(node.type.shape) for a in made))


def _read(at: Positions, operands: Sequence[Value]) -> tuple[IntArray, IntArray, IntArray]:
    """Lane, time and place of what each position reads."""
    lane, time, place = (
        np.append(np.concatenate([getattr(v, name).ravel() for v in operands]), end)[at.inputs]
        for name, end in (("lane", 0), ("time", 0), ("place", -1))
    )
    return lane, time, place


def _denser(state: Lowering, value: Value) -> Value:
    """A tensor on as few lanes as an interval needs, each channel on its own."""
    channels = value.shape[-1]
    pixels = value.lane.size // channels
    made = np.zeros((3, pixels, channels), dtype=np.int64)
    for n in range(channels):
        channel = Value(*(a.reshape(pixels, channels)[:, n] for a in value.arrays))
        made[:, :, n] = retimed(state, channel, -(-pixels // state.interval)).arrays
    return Value(*(a.reshape(value.shape) for a in made))


def retimed(state: Lowering, value: Value, lanes: int) -> Value:
    """Elements (elements,) dealt out to so many lanes."""
    ready = np.where(value.place >= 0, value.time, 0)
    instance, when = dealt(state.interval, ready, lanes)
    lane = np.zeros_like(when)
    late = np.where(np.array(state.constant)[value.lane], 0, when - value.time)
    for n in range(int(instance.max()) + 1):
        rows = np.flatnonzero(instance == n)
        rows = rows[np.argsort(when[rows])]
        offered, ports = ports_of(
            state, value.lane[rows, None], late[rows, None], when[rows], int(when.min())
        )
        lane[rows] = state.lane(choose(state.top, offered, ports[0]))
    place = state.places + instance
    state.places += lanes
    return Value(lane, when, place)


def _kinds(
    state: Lowering, at: Positions, steps: Sequence[Step], lane: IntArray, place: IntArray
) -> IntArray:
    """Equal numbers for positions that one instance can serve: the same group, formats, tables and
    constant operands."""
    if state.interval == 1:
        return np.zeros(len(at.inputs), dtype=np.int64)
    columns = [at.group[:, None], np.where((place < 0) & np.array(state.constant)[lane], lane, 0)]
    for step in steps:
        if step.keys is not None:
            distinct = {key: n for n, key in enumerate(dict.fromkeys(step.keys))}
            columns.append(np.array([distinct[key] for key in step.keys])[at.outputs])
    return np.unique(np.concatenate(columns, axis=1), axis=0, return_inverse=True)[1].ravel()


def ports_of(
    state: Lowering, lane: IntArray, late: IntArray, now: IntArray, first: int
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
