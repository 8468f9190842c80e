"""A Graph as stages: which bodies run at which positions, on which elements.

Every element of a tensor that has memory, and every constant, has a number; number 0 is the
constant zero. Ops that only move elements change numbers and cost nothing. Positions of a stage
whose reads have equal intervals, and whose formats are equal, share one body.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from hairtrigger.cpp import arithmetic
from hairtrigger.cpp.body import Body, Value
from hairtrigger.cpp.frames import hold
from hairtrigger.cpp.fusion import fuse
from hairtrigger.cpp.grouping import (
    ELEMENT_WISE,
    alike,
    equal_rows,
    formats_of,
    fused_chains,
    used_nodes,
)
from hairtrigger.cpp.program import Ints, Kernel, Program, Tensor
from hairtrigger.errors import UnsupportedError
from hairtrigger.fixed import Fixed
from hairtrigger.graph import linear, moves, ops
from hairtrigger.graph.exact import intervals
from hairtrigger.graph.graph import Graph, Node

BODY_LINES = 3000
"""A body of single positions is closed when it has so many lines: compilers take longer than
linear time."""
BODY_WEIGHTS = 1500
"""Weights of a matrix in one body, for the same reason."""
SUM_PART = 32
"""Numbers that one position adds up where there are many."""
MOST_LINES_A_BODY = 16_000
"""A longer straight line is refused: 15,000 lines take a compiler 10 to 30 s."""
MOST_LINES = 400_000
"""Lines of all bodies together: beyond, compiling would take tens of minutes."""


class Stager:
    """Walks through a Graph and makes the `Program`."""

    def __init__(self, graph: Graph) -> None:
        ranges = intervals(graph)
        nodes = [
            replace(node, type=alike(node.op, ranges[node.operands[0]]))
            if isinstance(node.op, ops.Quantize)
            else node
            for node in graph.nodes
        ]
        self.graph = graph = replace(graph, nodes=tuple(nodes))
        self.program = Program(graph.name)
        self.kind = np.zeros(1, dtype=np.int64)
        """For each element the number of its (low, high, fraction)."""
        self.owner = np.full(1, -1, dtype=np.int64)
        """For each element the number of its tensor, -1 for constants."""
        self._kinds: dict[tuple[int, int, int], int] = {(0, 0, 0): 0}
        self._triples: list[tuple[int, int, int]] = [(0, 0, 0)]
        self.refs: dict[int, Ints] = {}
        self._registers: list[Tensor] = []

    def run(self) -> Program:
        graph = self.graph
        used = used_nodes(graph)
        chains = fused_chains(graph, used)
        for place, node in enumerate(graph.nodes):
            if isinstance(node.op, ops.Input | ops.State):
                self.refs[place] = self._border(node)
            elif place not in used:
                continue
            elif isinstance(node.op, ops.Constant):
                self.refs[place] = self._constants(node)
            elif isinstance(node.op, moves.Move):
                x = self.refs[node.operands[0]]
                self.refs[place] = node.op.move(x[None], x.shape)[0]
            elif isinstance(node.op, moves.Concat):
                parts = [self.refs[n] for n in node.operands]
                self.refs[place] = np.concatenate(parts, axis=node.op.axis)
            elif place in chains:
                self.refs[place] = self._stage(chains[place])
        leaving = [*graph.outputs, *(after for _, after in graph.updates)]
        self.program.inputs += self._registers
        self.program.outputs = [self.refs[n].ravel() for n in leaving]
        if graph.updates:
            hold(self.program, len(graph.updates))
            fuse(self.program)
        return self.program

    # --- elements --------------------------------------------------------------------------------

    def _grow(self, low: Ints, high: Ints, fraction: Ints, tensor: bool = True) -> Ints:
        """New elements with these intervals, of a new tensor or constants; their numbers."""
        program = self.program
        owner = len(program.tensors) if tensor else -1
        owners = np.where(low.ravel() != high.ravel(), owner, -1)
        self.owner = np.concatenate([self.owner, owners])
        first = len(program.low)
        program.low = np.concatenate([program.low, low.ravel()])
        program.high = np.concatenate([program.high, high.ravel()])
        program.fraction = np.concatenate([program.fraction, fraction.ravel()])
        rows = np.stack([low.ravel(), high.ravel(), fraction.ravel()], axis=1)
        distinct, where = np.unique(rows, axis=0, return_inverse=True)
        numbers = np.array([self._number(*map(int, row)) for row in distinct], dtype=np.int64)
        self.kind = np.concatenate([self.kind, numbers[where.ravel()]])
        return first + np.arange(low.size, dtype=np.int64).reshape(low.shape)

    def _number(self, low: int, high: int, fraction: int) -> int:
        triple = (0, 0, 0) if low == 0 == high else (low, high, fraction)
        if triple not in self._kinds:
            self._kinds[triple] = len(self._triples)
            self._triples.append(triple)
        return self._kinds[triple]

    def _border(self, node: Node) -> Ints:
        """An Input or a register."""
        seen = node.type.range()
        refs = self._grow(seen.low, seen.high, seen.fraction)
        tensor = Tensor(int(refs.flat[0]), node.type.shape)
        self.program.tensors.append(tensor)
        held = isinstance(node.op, ops.State)
        (self._registers if held else self.program.inputs).append(tensor)
        return refs

    def _constants(self, node: Node) -> Ints:
        assert isinstance(node.op, ops.Constant)
        seen = node.op.value.range()
        fraction = np.where(seen.low != 0, seen.fraction, 0)
        return self._grow(seen.low, seen.high, fraction, tensor=False)

    # --- stages ----------------------------------------------------------------------------------

    def _stage(self, chain: list[int]) -> Ints:
        """Kernels for a head and the element-wise ops behind it; the elements that they write."""
        nodes = [self.graph.nodes[n] for n in chain]
        head, shape = nodes[0], nodes[-1].type.shape
        reads, channels = self._head_reads(head)
        sites = prod(shape) // channels
        reads = reads.reshape(sites, -1)
        if isinstance(head.op, linear.GlobalSum | linear.SumPool):
            reads = self._partial_sums(head, reads)
        columns: list[Ints] = [reads]
        width = columns[0].shape[1]
        links: list[_Link] = []
        for before, node in zip(chain, nodes[1:], strict=False):
            link = self._link(node, before, sites, channels, width)
            links.append(link)
            if link.reads is not None:
                columns.append(link.reads)
                width += channels
        all_reads = np.concatenate(columns, axis=1)
        formats = [link.formats for link in links if link.formats is not None]
        if isinstance(head.op, ops.Quantize | ops.Table):
            formats.append(formats_of(head).reshape(sites, -1))
        return self._make(nodes, links, channels, all_reads, formats, shape)

    def _make(
        self,
        nodes: list[Node],
        links: list[_Link],
        channels: int,
        all_reads: Ints,
        formats: list[Ints],
        shape: tuple[int, ...],
    ) -> Ints:
        """A stage whose reads and formats are known; the elements that it writes."""
        head, sites = nodes[0], len(all_reads)
        kinds, owners = self._kinds_of(all_reads)
        signature = np.concatenate([kinds, owners, *formats], axis=1)
        zeros = np.zeros(prod(shape), dtype=np.int64)
        out = self._grow(zeros, zeros, zeros).reshape(sites, channels)
        self.owner[out] = len(self.program.tensors)
        self.program.tensors.append(Tensor(int(out.flat[0]), shape))
        stage = _Stage(self, head, nodes, links, channels, all_reads, kinds, out)
        stage.make(equal_rows(signature))
        if self.program.lines > MOST_LINES:
            raise UnsupportedError(
                f"Graph {self.graph.name!r} needs over {MOST_LINES} lines of C++.",
                "Give positions of an image equal formats, so that they share their code.",
            )
        return out.reshape(shape)

    def _partial_sums(self, head: Node, reads: Ints) -> Ints:
        """Long sums in parts of `SUM_PART`, which are positions of stages of their own."""
        while reads.shape[1] > 2 * SUM_PART:
            sites, count = reads.shape
            groups = -(-count // SUM_PART)
            padded = np.zeros((sites, groups * SUM_PART), dtype=np.int64)
            padded[:, :count] = reads
            # Neighbouring groups read neighbouring elements, so they become lanes.
            parts = padded.reshape(sites, SUM_PART, groups).transpose(0, 2, 1)
            parts = parts.reshape(sites * groups, SUM_PART)
            reads = self._make([head], [], 1, parts, [], (sites * groups,))
            reads = reads.reshape(sites, groups)
        return reads

    def _head_reads(self, node: Node) -> tuple[Ints, int]:
        """What each site reads (sites, reads), and the results of a site."""
        op = node.op
        x = self.refs[node.operands[0]]
        match op:
            case linear.Dense():
                return x.reshape(-1, x.shape[-1]), op.kernel.shape[1]
            case linear.Conv():
                index = linear.window_index(x.shape[:-1], op.window, op.strides, op.padding)
                return linear.gather(x, index, 0), op.kernel.shape[-1]
            case linear.SumPool():
                return linear.gather_channels(x, linear._pool_index(x.shape, op), 0), 1
            case linear.MaxPool():
                index = linear._pool_index(x.shape, op)
                # Outside counts for nothing: an element of the window takes its place.
                inside = np.take_along_axis(index, (index >= 0).argmax(axis=-1)[..., None], -1)
                return linear.gather_channels(x, np.where(index >= 0, index, inside), 0), 1
            case linear.GlobalSum():
                kept = [n for n in range(x.ndim) if n not in op.axes]
                return x.transpose(*kept, *op.axes).reshape(node.type.size, -1), 1
            case linear.ArgMax():
                return x.reshape(-1, x.shape[-1]), 1
            case _ if isinstance(op, ELEMENT_WISE):
                shape = node.type.shape
                parts = [np.broadcast_to(self.refs[n], shape).ravel() for n in node.operands]
                return np.stack(parts, axis=1), 1
            case _:
                raise UnsupportedError(f"C++: there is no code for {type(op).__name__}.")

    def _link(self, node: Node, before: int, sites: int, channels: int, width: int) -> _Link:
        """A fused node: where it finds its other operand, and its formats."""
        others = [n for n in node.operands if n != before]
        reads = None
        if others:
            x = np.broadcast_to(self.refs[others[0]], node.type.shape)
            reads = x.reshape(sites, channels)
        swapped = bool(others) and node.operands[0] != before
        has_formats = isinstance(node.op, ops.Quantize | ops.Table)
        formats = formats_of(node).reshape(sites, -1) if has_formats else None
        return _Link(node, reads, width, swapped, formats)

    def _kinds_of(self, reads: Ints) -> tuple[Ints, Ints]:
        """Kinds and tensors of all reads. Zeros in columns that else read elements of one kind and
        one tensor become of that kind."""
        kinds, owners = self.kind[reads], self.owner[reads]
        padded = reads == 0
        for column in np.flatnonzero(padded.any(axis=0) & ~padded.all(axis=0)):
            inside = ~padded[:, column]
            own = kinds[inside, column], owners[inside, column]
            low, high, fraction = self._triples[int(own[0][0])]
            if low != high and all((a == a[0]).all() for a in own):
                kinds[:, column] = self._number(min(low, 0), max(high, 0), fraction)
                owners[:, column] = own[1][0]
        return kinds, owners


@dataclass
class _Link:
    node: Node
    reads: Ints | None
    column: int
    swapped: bool
    formats: Ints | None


@dataclass
class _Stage:
    """Makes the kernels of one stage."""

    stager: Stager
    head: Node
    nodes: list[Node]
    links: list[_Link]
    channels: int
    reads: Ints
    kinds: Ints
    out: Ints

    def make(self, classes: list[Ints]) -> None:
        shared: tuple[Body, dict[int, Value], list[int], list[int], list[Value]] | None = None
        singles: list[tuple[Body, dict[int, Value], list[int], list[int], list[Value]]] = []
        for rows in classes:
            for part in self._parts():
                if len(rows) > 1:
                    self._repeated(rows, part)
                    continue
                if shared is None or len(shared[0].lines) > BODY_LINES:
                    shared = (Body(), {}, [], [], [])
                    singles.append(shared)
                self._single(int(rows[0]), part, *shared)
        for body, _, reads, writes, values in singles:
            self._add(body, np.array([reads], dtype=np.int64), np.array([writes]), values)

    def _parts(self) -> list[range]:
        """Results of a site in groups that one body can hold."""
        op = self.head.op
        if not isinstance(op, linear.Dense | linear.Conv):
            return [range(self.channels)]
        flat = op.kernel.codes.reshape(-1, self.channels)
        most = max(1, int(np.count_nonzero(flat, axis=0).max(initial=0)))
        step = max(1, BODY_WEIGHTS // most)
        return [range(n, min(n + step, self.channels)) for n in range(0, self.channels, step)]

    def _repeated(self, rows: Ints, part: range) -> None:
        body = Body()
        columns: list[int] = []
        known: dict[int, Value] = {}
        first = int(rows[0])

        def read(column: int) -> Value:
            if column not in known:
                known[column] = self._load(body, len(columns), first, column)
                if not known[column].constant:
                    columns.append(column)
            return known[column]

        values = self._evaluate(body, read, first, part)
        writes = self.out[rows][:, list(part)]
        self._add(body, self.reads[rows][:, columns], writes, values)

    def _single(
        self,
        row: int,
        part: range,
        body: Body,
        known: dict[int, Value],
        reads: list[int],
        writes: list[int],
        values: list[Value],
    ) -> None:
        def read(column: int) -> Value:
            element = int(self.reads[row, column])
            if element not in known:
                kind = int(self.stager.kind[element])  # a single row's zero is a constant
                known[element] = body.load(len(reads), *self.stager._triples[kind])
                if not known[element].constant:
                    reads.append(element)
            return known[element]

        values.extend(self._evaluate(body, read, row, part))
        writes.extend(int(n) for n in self.out[row, list(part)])

    def _load(self, body: Body, place: int, row: int, column: int) -> Value:
        return body.load(place, *self.stager._triples[int(self.kinds[row, column])])

    def _evaluate(self, body: Body, read: object, row: int, part: range) -> list[Value]:
        values = self._head(body, read, row, part)
        for link in self.links:
            for n, channel in enumerate(part):
                operands = [values[n]]
                if link.reads is not None:
                    other = read(link.column + channel)
                    operands = [other, values[n]] if link.swapped else [values[n], other]
                values[n] = element(body, link.node, operands, row * self.channels + channel)
        return values

    def _head(self, body: Body, read: object, row: int, part: range) -> list[Value]:
        node = self.head
        op = node.op
        match op:
            case linear.Dense() | linear.Conv():
                return self._sums(body, read, part)
            case linear.SumPool() | linear.GlobalSum():
                count = self.reads.shape[1] - sum(link.reads is not None for link in self.links)
                return [arithmetic.add_up(body, [read(n) for n in range(count)])]
            case linear.MaxPool():
                best = read(0)
                for n in range(1, prod(op.window)):
                    best = body.maximum(best, read(n))
                return [best]
            case linear.ArgMax():
                size = self.reads.shape[1] - sum(link.reads is not None for link in self.links)
                return [arithmetic.arg_max(body, [read(n) for n in range(size)])]
            case _:
                operands = [read(n) for n in range(len(node.operands))]
                return [element(body, node, operands, row)]

    def _sums(self, body: Body, read: object, part: range) -> list[Value]:
        op = self.head.op
        assert isinstance(op, linear.Dense | linear.Conv)
        groups = op.groups if isinstance(op, linear.Conv) else 1
        size = self.channels // groups
        results: list[Value] = []
        for group in range(part.start // size, (part.stop - 1) // size + 1):
            first, last = max(part.start, group * size), min(part.stop, (group + 1) * size)
            if isinstance(op, linear.Conv):
                start = group * size
                weights = op.group_weights(group)[0].codes[:, first - start : last - start]
                inside = op.kernel.shape[-2]
                window = np.arange(prod(op.window)) * inside * groups
                places = (window[:, None] + group * inside + np.arange(inside)).ravel()
            else:
                weights = op.kernel.codes[:, first:last]
                places = np.arange(len(weights))
            used = weights.any(axis=1)
            xs = [read(int(n)) for n in places[used]]
            results += arithmetic.matrix(body, xs, weights[used], op.kernel.fraction)
        if op.bias is not None:
            for n, channel in enumerate(part):
                offset = body.constant(int(op.bias.codes[channel]), op.bias.fraction)
                results[n] = body.add(results[n], offset)
        return results

    def _add(self, body: Body, reads: Ints, writes: Ints, values: list[Value]) -> None:
        """Record the kernel, and the intervals of what it writes."""
        stager, program = self.stager, self.stager.program
        for column, value in zip(writes.T, values, strict=True):
            low, high, fraction = value.low, value.high, 0 if value.zero else value.fraction
            program.low[column], program.high[column] = low, high
            program.fraction[column] = fraction
            stager.kind[column] = stager._number(low, high, fraction)
            if value.constant:
                stager.owner[column] = -1
        kept = [n for n, value in enumerate(values) if not value.constant]
        if len(body.lines) > MOST_LINES_A_BODY:
            raise UnsupportedError(
                f"Graph {stager.graph.name!r} has a result that takes {len(body.lines)} lines of "
                f"C++ at one position; the limit is {MOST_LINES_A_BODY}.",
                "Split the matrix or the window, or use another engine.",
            )
        if kept:
            label = "; ".join(dict.fromkeys(type(node.op).__name__ for node in self.nodes))
            label = f"{self.head.label or type(self.head.op).__name__}: {label}"
            outputs = [values[n] for n in kept]
            program.kernels.append(Kernel(body, reads, writes[:, kept], outputs, label))


def element(body: Body, node: Node, operands: Sequence[Value], place: int) -> Value:
    """An element-wise op at flat position ``place`` of its result."""
    op, t = node.op, node.type
    match op:
        case ops.Quantize():
            k, i, f = (a.flat[place] for a in (t.signed, t.integer, t.fraction))
            to = Fixed(bool(k), int(i), int(f))
            return arithmetic.quantize(body, operands[0], to, op.rounding, op.overflow)
        case ops.Relu():
            return arithmetic.relu(body, operands[0])
        case ops.Add():
            return body.add(*operands)
        case ops.Sub():
            return body.sub(*operands)
        case ops.Mul():
            return body.mul(*operands)
        case ops.Compare():
            return body.compare(arithmetic.RELATIONS[op.relation], *operands)
        case ops.Table():
            row = 0 if op.select is None else int(op.select.codes.flat[place])
            return arithmetic.table(body, op, row, operands[0])
        case _:
            raise UnsupportedError(f"C++: there is no code for {type(op).__name__}.")


def stages(graph: Graph) -> Program:
    """The program of a Graph. Raises `UnsupportedError` where it would be too large."""
    return Stager(graph).run()
