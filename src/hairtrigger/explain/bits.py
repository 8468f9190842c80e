"""Ablation of the deployed Graph, bit by bit: what each bit of its Quantize nodes is worth.

A cut takes the lowest or the highest bit from some elements of a Quantize. It changes values, so it
is no pass; the Graph that comes of it is a Graph like any other, and every engine runs it. What a
cut does is measured on the emulator, from the node that changed on; the LUTs it saves are
estimated (`hairtrigger.explain.cost`).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import GraphError, InputError
from hairtrigger.explain.cost import lut_estimate
from hairtrigger.fixed import IntArray, Overflow
from hairtrigger.graph import Graph, TensorType
from hairtrigger.graph.graph import rewrite
from hairtrigger.graph.ops import Quantize
from hairtrigger.graph.passes import optimise

LOW, HIGH = "low", "high"
ENDS = (LOW, HIGH)


@dataclass(frozen=True, order=True)
class Cut:
    """One bit less at an end ("low" or "high") of the Quantize at ``place``; of all its elements
    (``channel`` None) or those of one channel, the last axis."""

    place: int
    channel: int | None
    end: str = LOW


@dataclass(frozen=True)
class Worth:
    """What a bit is worth: ``lut`` that its cut saves (an estimate), and ``harm``: the mean
    absolute change of the output in units of its standard deviation. ``label`` of the node."""

    cut: Cut
    label: str
    lut: float
    harm: float


def cuts_of(graph: Graph, ends: Sequence[str] = (LOW,)) -> tuple[Cut, ...]:
    """The cuts that a Graph offers: of each Quantize whole where all channels have one format, else
    of each channel that has bits."""
    unknown = [end for end in ends if end not in ENDS]
    if unknown:
        raise InputError(f"There is no end {unknown}.", f"Use {' or '.join(ENDS)}.")
    found: list[Cut] = []
    for place, node in enumerate(graph.nodes):
        if not isinstance(node.op, Quantize):
            continue
        channels = _channels(node.op.type)
        alive = [n for n, formats in enumerate(channels) if formats]
        same = len({frozenset(channels[n]) for n in alive}) <= 1
        which: list[int | None] = [None] if same else [*alive]
        found += [Cut(place, n, end) for n in which if alive for end in ends]
    return tuple(found)


def _channels(t: TensorType) -> list[set[tuple[int, int]]]:
    """The formats (integer, fraction) that the elements of each channel have."""
    last = t.shape[-1] if t.shape else 1
    flat = [a.reshape(-1, last) for a in (t.integer, t.fraction, t.width)]
    return [
        {(int(i), int(f)) for i, f, w in zip(*(a[:, n] for a in flat), strict=True) if w > 0}
        for n in range(last)
    ]


def cut(graph: Graph, cuts: Sequence[Cut]) -> Graph:
    """The Graph with these bits gone, node for node as before; a cut given twice takes two bits.

    An element without bits left is zero. What fitted its format before, and may leave it once it is
    rounded to fewer bits, saturates. Raises `InputError` for a cut of another Graph and
    `GraphError` where a register would change its type.
    """
    changed: dict[int, Quantize] = {}
    for one, times in Counter(cuts).items():
        op = graph.nodes[one.place].op if 0 <= one.place < len(graph.nodes) else None
        if not isinstance(op, Quantize) or one.end not in ENDS:
            raise InputError(f"{one} is no cut of Graph {graph.name!r}.", "Use those of cuts_of().")
        op = changed.get(one.place, op)
        t = op.type
        where = np.zeros(t.shape, dtype=np.int64)
        if one.channel is None:
            where[...] = times
        elif t.shape and 0 <= one.channel < t.shape[-1]:
            where[..., one.channel] = times
        else:
            raise InputError(f"{one}: the node has shape {t.shape}.", "Use those of cuts_of().")
        where = np.minimum(where, t.width)
        low = where if one.end == LOW else 0
        high = where if one.end == HIGH else 0
        # Of a signed element the sign is the last bit, and nothing without others.
        alive = t.width - where > t.signed
        narrow = TensorType(
            t.shape,
            t.signed & alive,
            np.where(alive, t.integer - high, 0),
            np.where(alive, t.fraction - low, 0),
        )
        changed[one.place] = Quantize(narrow, op.rounding, _overflow(graph, one, op))
    return rewrite(graph, changed)


def _overflow(graph: Graph, one: Cut, op: Quantize) -> Overflow:
    before = graph.nodes[one.place]
    assert isinstance(before.op, Quantize)
    reach = graph.nodes[before.operands[0]].type.range()
    return op.overflow if before.op.overflows(reach).any() else Overflow.SAT


class Probe:
    """A Graph and what its nodes say of some events, so that a change asks only for the rest.

    ``codes``: one array (events, *shape) for each Input. Memory grows with events times elements
    from the first Quantize on. Raises `InputError` for a Graph with registers.
    """

    def __init__(self, graph: Graph, codes: Sequence[IntArray]) -> None:
        if not graph.pure:
            raise InputError(
                f"Graph {graph.name!r} has registers: its events depend on each other.",
                "Give a Graph without State nodes.",
            )
        self.graph = graph
        places = [n for n, node in enumerate(graph.nodes) if isinstance(node.op, Quantize)]
        self.first = min(places, default=len(graph.nodes))
        given = dict(zip(graph.inputs, codes, strict=True))
        # What only nodes before the first Quantize read is not needed again.
        keep = {n for node in graph.nodes[self.first :] for n in node.operands} | set(graph.outputs)
        values: dict[int, IntArray] = {}
        for place in range(len(graph.nodes)):
            values[place] = given[place] if place in given else _value(graph, place, values)
            for n in graph.nodes[place].operands:
                if n not in keep and max(graph.users[n]) <= place:
                    values.pop(n, None)
        self._values = values

    def outputs(self, changed: Graph) -> tuple[NDArray[np.float64], ...]:
        """Real outputs of a Graph that `cut` made of this one, (events, *shape) each."""
        if len(changed.nodes) != len(self.graph.nodes):
            raise InputError("That Graph has other nodes.", "Give what cut() made of this one.")
        pairs = zip(self.graph.nodes, changed.nodes, strict=True)
        differ = [n for n, (a, b) in enumerate(pairs) if a.op != b.op or a.type != b.type]
        values = dict(self._values)
        dirty = set(differ)
        for place in range(min(differ, default=len(changed.nodes)), len(changed.nodes)):
            node = changed.nodes[place]
            if place in dirty or dirty.intersection(node.operands):
                dirty.add(place)
                values[place] = _value(changed, place, values)
        return tuple(values[n] * 2.0 ** -changed.nodes[n].type.lsb for n in changed.outputs)


def _value(graph: Graph, place: int, values: Mapping[int, IntArray]) -> IntArray:
    node = graph.nodes[place]
    types = [graph.nodes[n].type for n in node.operands]
    return node.op.evaluate([values[n] for n in node.operands], types, node.type)


def worths(
    probe: Probe,
    cuts: Sequence[Cut],
    *,
    interval: int = 1,
    scale: float = 1.0,
    output: int = 0,
    tell: Callable[[int, int], None] | None = None,
) -> tuple[Worth, ...]:
    """What each cut does by itself; the least harm for a LUT first.

    ``scale``: calibration of the estimate; ``output``: which number of the first output. A cut that
    the Graph refuses (a register that would change its type) is left out.
    """
    graph = probe.graph
    start = probe.outputs(graph)[0].reshape(-1, _size(graph))[:, output]
    spread = float(start.std()) or 1.0
    cost = sum(lut_estimate(graph, interval))
    found: list[Worth] = []
    for done, one in enumerate(cuts):
        try:
            changed = cut(graph, [one])
        except GraphError:
            continue
        said = probe.outputs(changed)[0].reshape(-1, _size(graph))[:, output]
        found.append(
            Worth(
                one,
                graph.nodes[one.place].label,
                scale * (cost - sum(lut_estimate(changed, interval))),
                float(np.abs(said - start).mean()) / spread,
            )
        )
        if tell:
            tell(done + 1, len(cuts))
    return tuple(sorted(found, key=_price))


def _size(graph: Graph) -> int:
    return graph.output_types[0].size


def _price(worth: Worth) -> tuple[float, float]:
    """Harm for a LUT; what saves none goes last."""
    return (worth.harm / worth.lut if worth.lut > 0 else np.inf, -worth.lut)


@dataclass(frozen=True)
class Point:
    """The first ``count`` cuts of a path: the share of the estimated LUTs that is ``left``, and the
    measured ``harm``."""

    count: int
    left: float
    harm: float


@dataclass(frozen=True)
class Path:
    """Cuts in the order in which they are made, and points on the way."""

    cuts: tuple[Cut, ...]
    points: tuple[Point, ...]

    def until(self, share: float) -> tuple[Cut, ...]:
        """The cuts up to the first point at which at most ``share`` of the LUTs are left. Raises
        `InputError` where the path does not go so far."""
        for point in self.points:
            if point.left <= share:
                return self.cuts[: point.count]
        least = min((point.left for point in self.points), default=1.0)
        raise InputError(
            f"Bits can go down to {100 * least:.1f} % of the LUTs here, not {100 * share:.1f} %.",
            "Ask for less.",
        )


def greedy_path(
    probe: Probe,
    table: Sequence[Worth],
    share: float,
    *,
    interval: int = 1,
    output: int = 0,
    tell: Callable[[int, int], None] | None = None,
) -> Path:
    """The bits worth least for a LUT go first, until at most ``share`` of the LUTs are left.

    ``table``: from `worths`. What a cut does beside those that are made is measured before it is
    made: it waits where another has become cheaper (a lazy greedy search). Raises `InputError` for
    a share outside 0 to 1.
    """
    if not 0 < share < 1:
        raise InputError(f"share = {share!r}.", "Give what is to be left: above 0 and below 1.")
    graph = probe.graph
    whole = sum(lut_estimate(graph, interval))
    start = probe.outputs(graph)[0].reshape(-1, _size(graph))[:, output]
    spread = float(start.std()) or 1.0
    waiting = [(*_price(worth), n, worth.cut) for n, worth in enumerate(table) if worth.lut > 0]
    heapq.heapify(waiting)
    made: list[Cut] = []
    points: list[Point] = []
    lut, harm = whole, 0.0
    while waiting:
        _, _, n, one = heapq.heappop(waiting)
        changed = cut(graph, [*made, one])
        left = sum(lut_estimate(changed, interval))
        said = probe.outputs(changed)[0].reshape(-1, _size(changed))[:, output]
        after = float(np.abs(said - start).mean()) / spread
        saved = lut - left
        now = (max(after - harm, 0.0) / saved if saved > 0 else np.inf, -saved)
        if waiting and now > waiting[0][:2]:
            if saved > 0:
                heapq.heappush(waiting, (*now, n, one))
            continue
        if saved <= 0:
            break
        made.append(one)
        lut, harm = left, after
        points.append(Point(len(made), lut / whole, harm))
        if _bits(graph, one) > made.count(one):
            # At first at the price of the bit before: it is measured when its turn comes.
            heapq.heappush(waiting, (*now, n, one))
        if tell:
            tell(min(1000, round(1000 * (1 - lut / whole) / (1 - share))), 1000)
        if lut / whole <= share:
            break
    return Path(tuple(made), tuple(points))


def _bits(graph: Graph, one: Cut) -> int:
    """The most bits of an element that a cut takes from."""
    width = graph.nodes[one.place].type.width
    return int((width if one.channel is None else width[..., one.channel]).max())


def without_bits(graph: Graph, cuts: Sequence[Cut]) -> Graph:
    """`cut`, and what the passes make of it: the Graph to deploy."""
    return optimise(cut(graph, cuts))
