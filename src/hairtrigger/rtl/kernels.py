"""Kernels: a Dense, Conv or pool with the element-wise ops behind it, as one module.

A kernel is built once for each distinct set of weights and formats and instantiated wherever it is
needed. Where one instance serves several positions in turn, its ports choose between wires.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hairtrigger.errors import UnsupportedError
from hairtrigger.fixed import Fixed
from hairtrigger.graph import linear, ops
from hairtrigger.graph.graph import Graph, Node
from hairtrigger.graph.types import Literal, Range, TensorType
from hairtrigger.rtl.adders import multiply_matrix
from hairtrigger.rtl.build import ModuleBuilder
from hairtrigger.rtl.netlist import Module, Wire, constant
from hairtrigger.rtl.tables import MOST_BITS, cost, matrix_of, supports, tabulated

KERNELS = (linear.Dense, linear.Conv, linear.SumPool, linear.MaxPool)
ELEMENT_WISE = (ops.Relu, ops.Quantize, ops.Table)

SMALL_SUMS = 12
"""Bits of both terms up to which a sum behind one-bit inputs is logic: 3 x 3 kernels get smaller by
a fifth to a third, and often a clock shorter. Behind wider inputs carry chains are smaller."""

Span = tuple[int, int, int]
"""Lowest code, highest code, fraction of an element."""


@dataclass(frozen=True)
class Kernel:
    """A module and which of the offered wires its ports read."""

    module: Module
    reads: tuple[int, ...]


@dataclass(frozen=True)
class Port:
    """What an input of a kernel reads: the offered wire ``candidates[n]``, where ``n`` is the
    number on the offered one-bit wires ``selects`` (the first is the lowest bit)."""

    candidates: tuple[int, ...]
    selects: tuple[int, ...] = ()


def kernel_chain(graph: Graph, place: int) -> tuple[int, ...]:
    """Places of a kernel's op and of the element-wise ops that belong to it."""
    chain = [place]
    while True:
        users = graph.users[chain[-1]]
        if len(users) != 1 or chain[-1] in graph.roots:
            return tuple(chain)
        if not isinstance(graph.nodes[users[0]].op, ELEMENT_WISE):
            return tuple(chain)
        chain.append(users[0])


ElementLowering = Callable[[ModuleBuilder, Wire, int], Wire]


def element_lowering(op: ops.Op, out: TensorType) -> ElementLowering:
    """How an element-wise op becomes cells: a function of builder, wire and element number."""
    match op:
        case ops.Relu():
            return lambda builder, wire, _: builder.relu(wire)
        case ops.Quantize():
            formats = formats_of(op.type)
            rounding, overflow = op.rounding, op.overflow
            return lambda builder, wire, n: builder.quantize(wire, formats[n], rounding, overflow)
        case ops.Table():
            return _table_lowering(op, out)
        case _:
            raise UnsupportedError(f"{type(op).__name__} does not work element by element.")


def _table_lowering(table: ops.Table, out: TensorType) -> ElementLowering:
    rows: list[list[int]] = table.values.codes.tolist()
    select = [0] * out.size if table.select is None else table.select.codes.ravel().tolist()

    def lookup(builder: ModuleBuilder, wire: Wire, n: int) -> Wire:
        if wire.constant:
            code = wire.low << (table.fraction - wire.fraction) if wire.low else 0
            return constant(rows[select[n]][code - table.first], table.values.fraction)
        # Entries of the table that the wire's coarser steps hit.
        stride = 1 << (table.fraction - wire.fraction)
        first = wire.low * stride - table.first
        entries = rows[select[n]][first : wire.high * stride - table.first + 1 : stride]
        return builder.lookup(wire, entries, wire.low, table.values.fraction)

    return lookup


@dataclass(frozen=True)
class Step:
    """One node of a kernel's chain, with what tells its elements apart."""

    node: Node
    lowering: ElementLowering | None
    spans: list[Span]
    keys: list[tuple[int, ...]] | None

    @classmethod
    def of(cls, node: Node) -> Step:
        spans = spans_of(node.type.range())
        if not isinstance(node.op, ELEMENT_WISE):
            return cls(node, None, spans, None)
        keys = None
        if isinstance(node.op, ops.Quantize):
            t = node.op.type
            keys = [(int(f.signed), f.integer, f.fraction) for f in formats_of(t)]
        elif isinstance(node.op, ops.Table) and node.op.select is not None:
            keys = [(int(n),) for n in node.op.select.codes.ravel()]
        return cls(node, element_lowering(node.op, node.type), spans, keys)

    def key(self, element: int) -> tuple[int, ...]:
        """Equal for elements that this step treats alike."""
        return self.keys[element] if self.keys else ()


def build_kernel(
    head: Node,
    steps: Sequence[Step],
    group: int,
    offered: Sequence[Wire],
    ports: Sequence[Port],
    outputs: Sequence[int],
    spans: Sequence[Sequence[Span]],
    label: str,
) -> Kernel:
    """The module of a kernel, still without a name.

    ``offered``: wires outside that its ports can read, constants included; ``ports``: which of
    them each input of the op reads; ``outputs``: elements that it makes, the first of those where
    it stands in for several; ``spans``: for each step what each output can reach.
    """

    inputs = _choices(offered, ports)
    one_bit = all(w.constant or w.width == 1 for w in inputs)

    def made(most_bits: int) -> Kernel:
        """With tables for the outputs that depend on so few bits of the inputs."""
        builder = ModuleBuilder(small_sums=SMALL_SUMS if one_bit else 0)
        inside = [w if w.constant else builder.input(w.low, w.high, w.fraction) for w in offered]
        inputs = [choose(builder, inside, port) for port in ports]
        few = _dependent_on_few(head.op, group, inputs, most_bits)
        wires = _kernel_outputs(builder, head.op, inputs, group, few)
        for step, reach in zip(steps, spans, strict=True):
            if step.lowering is not None:
                wires = [step.lowering(builder, w, n) for w, n in zip(wires, outputs, strict=True)]
            wires = narrowed(builder, wires, reach)
        chain = [head, *(step.node for step in steps if step.lowering is not None)]
        for n, support in few.items():
            wires[n] = tabulated(builder, chain, group, inputs, support, n, outputs[n])
        wires = narrowed(builder, wires, spans[-1])
        return finished(builder, inside, wires, "", f"One position of {label!r}.")

    sizes = {_bits(inputs, s) for s in supports(head.op, group, inputs) or [] if s}
    limits = sorted(size for size in sizes if size <= MOST_BITS)
    return min((made(most) for most in (0, *limits)), key=lambda kernel: cost(kernel.module))


def _choices(offered: Sequence[Wire], ports: Sequence[Port]) -> list[Wire]:
    """The inputs of a kernel, in a module that is thrown away."""
    builder = ModuleBuilder()
    inside = [w if w.constant else builder.input(w.low, w.high, w.fraction) for w in offered]
    return [choose(builder, inside, port) for port in ports]


def _bits(wires: Sequence[Wire], support: Sequence[int]) -> int:
    return sum(wires[n].width for n in support)


def _dependent_on_few(
    op: ops.Op, group: int, inputs: Sequence[Wire], most_bits: int
) -> dict[int, list[int]]:
    """Results that depend on at most so many bits, and the inputs that they depend on."""
    if not most_bits:
        return {}
    found = supports(op, group, inputs) or []
    return {n: s for n, s in enumerate(found) if 0 < _bits(inputs, s) <= most_bits}


def finished(
    builder: ModuleBuilder, inside: Sequence[Wire], wires: Sequence[Wire], name: str, about: str
) -> Kernel:
    """The kernel that a builder has made: ``inside``: what it was offered; ``wires``: its outputs.
    Ports that nothing reads are left out."""
    found = builder.inputs
    module = builder.finish(name, wires, about)
    read = {w.net for part in module.body for w in part.inputs} | {w.net for w in wires}
    kept = [port for port in found if port.net in read]
    places = {w.net: n for n, w in enumerate(inside) if not w.constant}
    module = Module(module.name, tuple(kept), module.outputs, module.body, module.about)
    return Kernel(module, tuple(places[port.net] for port in kept))


def choose(builder: ModuleBuilder, offered: Sequence[Wire], port: Port) -> Wire:
    """The wire that a port reads, chosen bit by bit, the lowest select first."""
    level = [offered[n] for n in port.candidates]
    for select in port.selects:
        when = offered[select]
        pairs = zip(level[1::2], level[::2], strict=False)
        level = [builder.choose(when, a, b) for a, b in pairs] + level[len(level) & ~1 :]
    return level[0]


def _kernel_outputs(
    builder: ModuleBuilder, op: ops.Op, inputs: Sequence[Wire], group: int, skip: Iterable[int]
) -> list[Wire]:
    """What the op makes of its inputs; anything for the results that ``skip`` names."""
    weights = matrix_of(op, group)
    if weights is not None:
        kernel, bias = weights
        codes = kernel.codes.copy()
        codes[:, list(skip)] = 0
        return _affine(builder, inputs, Literal(codes, kernel.fraction), bias)
    match op:
        case linear.SumPool():
            return [builder.sum(inputs)]
        case _:
            level = list(dict.fromkeys(inputs))
            while len(level) > 1:
                pairs = zip(level[::2], level[1::2], strict=False)
                level = [builder.maximum(a, b) for a, b in pairs] + level[len(level) & ~1 :]
            return level


def _affine(
    builder: ModuleBuilder, inputs: Sequence[Wire], kernel: Literal, bias: Literal | None
) -> list[Wire]:
    wires = multiply_matrix(builder, inputs, kernel.codes, kernel.fraction)
    if bias is None:
        return wires
    offsets = [constant(int(code), bias.fraction) for code in bias.codes]
    return [builder.add(w, offset) for w, offset in zip(wires, offsets, strict=True)]


# --- helpers -----------------------------------------------------------------------------------


def hull(spans: Sequence[Span]) -> Span:
    """The span that covers all of ``spans``."""
    distinct = set(spans)
    if len(distinct) == 1:
        return spans[0]
    alive = [span for span in distinct if span[0] or span[1]]
    if not alive:
        return (0, 0, 0)
    fraction = max(f for _, _, f in alive)
    low = min(low << (fraction - f) for low, _, f in alive)
    high = max(high << (fraction - f) for _, high, f in alive)
    if len(alive) < len(distinct):
        low, high = min(low, 0), max(high, 0)
    return (low, high, fraction)


def spans_of(spans: Range) -> list[Span]:
    """(low, high, fraction) of each element."""
    columns = (spans.low.ravel().tolist(), spans.high.ravel().tolist())
    return list(zip(*columns, spans.fraction.ravel().tolist(), strict=True))


def formats_of(t: TensorType) -> list[Fixed]:
    """The format of each element."""
    columns = (t.signed.ravel().tolist(), t.integer.ravel().tolist(), t.fraction.ravel().tolist())
    return [Fixed(*column) for column in zip(*columns, strict=True)]


def narrowed(builder: ModuleBuilder, wires: Sequence[Wire], spans: Sequence[Span]) -> list[Wire]:
    """Wires without bits that the inferred types rule out."""
    return [builder.narrow(w, *span) for w, span in zip(wires, spans, strict=True)]
