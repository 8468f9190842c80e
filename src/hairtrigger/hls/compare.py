"""Compares a project's C simulation with the emulator, and says which layer differs first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hairtrigger.errors import MismatchError
from hairtrigger.fixed import IntArray, quantize_codes, shift_codes
from hairtrigger.graph.emulate import emulate_nodes
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.linear import Conv, Dense
from hairtrigger.graph.ops import Constant, Input, Quantize
from hairtrigger.graph.types import TensorType
from hairtrigger.hls.injection import Port
from hairtrigger.hls.insert import Placed
from hairtrigger.hls.project import Tensor
from hairtrigger.hls.reference import Codes, Reference
from hairtrigger.hls.simulator import Simulator

EVENTS_AT_ONCE = 2048
"""Events between two comparisons: a difference ends the run there."""


@dataclass(frozen=True)
class Verified:
    """What was compared and was equal: events, numbers of the outputs, and numbers of each
    injection's own output, by its name in the project. ``answered``: events that an injection
    around the network answered itself."""

    events: int
    values: int
    injections: dict[str, int]
    answered: int = 0


@dataclass(frozen=True)
class Difference:
    """The first number that differs."""

    event: int
    element: tuple[int, ...]
    expected: int
    found: int
    count: int

    def __str__(self) -> str:
        return (
            f"first in event {self.event} at element {self.element}: code {self.expected} "
            f"expected, {self.found} found ({self.count} numbers differ among those compared)"
        )


def compare(
    reference: Reference,
    simulator: Simulator,
    plain: Simulator | None,
    codes: Sequence[IntArray],
) -> Verified:
    """Run the events (codes of ``reference.entry``) and compare every output, and that of every
    injection.

    ``plain``: the simulation of the same project without injections, where there are any. It says
    what the layers give that an injection stands for or behind; it is compared with the emulator
    first. Raises `MismatchError` for the first difference, with the injection or layer, event,
    element and codes.
    """
    project = simulator.project
    watched = [x for x in project.placed if x.injection.where.kind != "around"]
    counts = dict.fromkeys((x.name for x in watched), 0)
    # In the order of the top function: behind a wrong function, right ones give wrong numbers.
    order = [x.layer for x in project.layers]
    watched.sort(key=lambda x: order.index(x.name))
    events, values, answered = len(codes[0]), 0, 0
    for start in range(0, events, EVENTS_AT_ONCE):
        part = tuple(x[start : start + EVENTS_AT_ONCE] for x in codes)
        inner, outer, answers = reference.run(part)
        expected: dict[str, IntArray] = {}
        if plain is not None:
            expected = _plain(reference, plain, inner, outer, watched, start)
        for x in watched:
            if x.injection.where.kind == "input":
                t = reference.graph.input_ops[0].type
                expected[x.name] = to_port(inner[0], t, x.gives)
            elif x.injection.where.kind == "output":
                expected[x.name] = to_port(answers[0], reference.exit.output_types[0], x.gives)
        entry = [op.type for op in reference.entry.input_ops]
        given = [to_port(x, t, p.port) for x, t, p in zip(part, entry, project.inputs, strict=True)]
        # One layer more, to see which events did not run the network.
        probe = [x.name for x in watched] or [x.layer for x in project.layers[:1]]
        around = any(x.injection.where.kind == "around" for x in project.placed)
        result = simulator.run(given, probe if watched or around else ())
        if around and probe:
            answered += int(result.skipped[probe[0]].sum())
        for x in watched:
            ran = ~result.skipped[x.name]
            found = result.layers[x.name][ran]
            first = first_difference(expected[x.name][ran], found, np.flatnonzero(ran) + start)
            counts[x.name] += found.size
            if first:
                raise _wrong_injection(x, first)
        for n, (a, t) in enumerate(zip(answers, reference.exit.output_types, strict=True)):
            wanted, found = common(a, t, result.outputs[n], project.outputs[n].port)
            values += found.size
            first = first_difference(wanted, found, np.arange(len(found)) + start)
            if first:
                one = tuple(x[first.event - start : first.event - start + 1] for x in part)
                raise _wrong_output(reference, simulator, plain, one, n, first)
    return Verified(events, values, counts, answered)


def _plain(
    reference: Reference,
    plain: Simulator,
    inner: Codes,
    outer: Codes,
    watched: Sequence[Placed],
    start: int,
) -> dict[str, IntArray]:
    """What each injection between layers must give, from the project without injections."""
    types = [op.type for op in reference.graph.input_ops]
    ports = [x.port for x in plain.project.inputs]
    given = [to_port(x, t, p) for x, t, p in zip(inner, types, ports, strict=True)]
    layers = list(dict.fromkeys(x.instead for x in watched if x.instead))
    result = plain.run(given, layers)
    for n, (a, t) in enumerate(zip(outer, reference.graph.output_types, strict=True)):
        wanted, found = common(a, t, result.outputs[n], plain.project.outputs[n].port)
        first = first_difference(wanted, found, np.arange(len(found)) + start)
        if first:
            one = tuple(x[first.event - start : first.event - start + 1] for x in inner)
            raise _wrong_output(Reference(reference.graph), plain, None, one, n, first)
    return {x.name: result.layers[x.instead] for x in watched if x.instead}


def _wrong_injection(x: Placed, first: Difference) -> MismatchError:
    against = f"what {x.instead} gives without it" if x.instead else "its meaning"
    return MismatchError(
        f"Injection {x.name} ({x.injection.where}, function {x.injection.function}) differs from "
        f"{against}: {first}.",
        "Mend the function; its input in that event is right up to there.",
    )


def _wrong_output(
    reference: Reference,
    simulator: Simulator,
    plain: Simulator | None,
    event: Codes,
    output: int,
    first: Difference,
) -> MismatchError:
    """Where the outputs differ: run that event again, with every layer traced."""
    project = simulator.project
    name = reference.exit.output_names[output]
    inner, _, _ = reference.run(event)
    entry = [op.type for op in reference.entry.input_ops]
    given = [to_port(x, t, p.port) for x, t, p in zip(event, entry, project.inputs, strict=True)]
    names = [x.layer for x in project.layers]
    result = simulator.run(given, names)
    around = [x for x in project.placed if x.injection.where.kind == "around"]
    if around and all(result.skipped[x].all() for x in names):
        return MismatchError(
            f"Injection {around[0].name} (around the network) answers event {first.event} itself, "
            f"wrongly for output {name!r}: {first}.",
            "It may answer only where the network would give the same.",
        )
    layer = None
    if plain is None:
        layer = first_differing_layer(reference.graph, project.layers, result.layers, inner)
    else:
        types = [op.type for op in reference.graph.input_ops]
        ports = [x.port for x in plain.project.inputs]
        inside = [to_port(x, t, p) for x, t, p in zip(inner, types, ports, strict=True)]
        shared = [x for x in names if x in {y.layer for y in plain.project.layers}]
        wanted = plain.run(inside, shared).layers
        differing = (x for x in shared if not np.array_equal(wanted[x], result.layers[x]))
        layer = next(differing, None)
    where = f"the first layer that differs is {layer!r}" if layer else "no traced layer differs"
    if layer is None and around:
        where += f"; {around[0].name} around the network changes the answer"
    return MismatchError(
        f"The C simulation of {project.name} differs from the emulator in output {name!r}: "
        f"{first}; {where}.",
        "Look at that layer's types in firmware/defines.h, and its weights.",
    )


def first_differing_layer(
    graph: Graph, layers: Sequence[Tensor], traces: dict[str, IntArray], event: Codes
) -> str | None:
    """The first of hls4ml's layers whose numbers no node of the Graph has that may stand for it.

    ``event``: codes of one event. hls4ml splits a layer into its sum and its activation and joins
    the rounding of what reads it, so a layer may be one of several nodes; see `_candidates`.
    """
    values = emulate_nodes(graph, event)
    for layer in layers:
        nodes = _candidates(graph, layer)
        found = traces[layer.layer]
        if nodes and not any(_same(values[n], graph.nodes[n].type, found, layer) for n in nodes):
            return layer.layer
    return None


def _same(codes: IntArray, t: TensorType, found: IntArray, layer: Tensor) -> bool:
    """Is a layer what a node is, brought into the layer's own format? hls4ml leaves out bits of a
    sum that the rounding behind it does not need."""
    f = layer.port.format
    wanted = quantize_codes(
        codes, t.lsb, f.signed, f.integer, f.fraction, layer.rounding, layer.overflow
    )
    return bool((wanted.reshape(-1) == found.reshape(-1)).all())


def _candidates(graph: Graph, layer: Tensor) -> list[int]:
    """Nodes of the layer's own label, and roundings that read them, of the same size.

    For a convolution or a Dense that is the node that sums, for an activation those that do not.
    """
    bases = {node.label.split(" (")[0] for node in graph.nodes if node.label}
    known = [x for x in bases if layer.layer == x or layer.layer.startswith(x + "_")]
    if not known:
        return []
    base = max(known, key=len)
    own = [n for n, node in enumerate(graph.nodes) if node.label.split(" (")[0] == base]
    found = [n for n in own if not isinstance(graph.nodes[n].op, Input | Constant)]
    reach = list(found)
    while reach:
        readers = {r for n in reach for r in graph.users[n]}
        reach = [r for r in readers if isinstance(graph.nodes[r].op, Quantize) and r not in found]
        found += reach
    sums = [n for n in found if isinstance(graph.nodes[n].op, Conv | Dense)]
    if layer.kind.startswith(("Conv", "Dense", "Pointwise", "Depthwise")):
        found = sums
    elif "Activation" in layer.kind:
        found = [n for n in found if n not in sums]
    return sorted(n for n in found if graph.nodes[n].type.size == layer.size)


def first_difference(expected: IntArray, found: IntArray, events: IntArray) -> Difference | None:
    wrong = expected.reshape(found.shape) != found
    if not wrong.any():
        return None
    where = tuple(int(n) for n in np.argwhere(wrong)[0])
    return Difference(
        int(events[where[0]]),
        where[1:],
        int(expected.reshape(found.shape)[where]),
        int(found[where]),
        int(wrong.sum()),
    )


def to_port(codes: IntArray, t: TensorType, port: Port) -> IntArray:
    """Codes of a Graph's tensor in units of a port's LSB. Raises `MismatchError`."""
    by = port.format.fraction - t.lsb
    moved = shift_codes(codes, by)
    if by < 0 and (shift_codes(moved, -by) != codes).any():
        raise MismatchError(
            f"The Graph counts in steps of 2**{-t.lsb}, hls4ml holds {port} there.",
            "hls4ml rounds what the Graph keeps: give all elements of the input one format.",
        )
    return moved.reshape(len(codes), *port.shape)


def common(
    codes: IntArray, t: TensorType, found: IntArray, port: Port
) -> tuple[IntArray, IntArray]:
    """Both in units of the finer LSB, as (events, *shape of the port)."""
    finest = max(t.lsb, port.format.fraction)
    wanted = shift_codes(codes, finest - t.lsb)
    return wanted.reshape(len(codes), *port.shape), shift_codes(
        found, finest - port.format.fraction
    )
