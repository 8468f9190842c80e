"""Outputs of a kernel that depend on few bits, as one table each.

Six bits are what a LUT takes: whatever sums, ReLU and quantizers make of them, each bit of the
result is one LUT. A carry chain hides that from the synthesis tool, so it is decided here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hairtrigger.fixed import IntArray, quantize_codes
from hairtrigger.graph import linear, ops
from hairtrigger.graph.graph import Node
from hairtrigger.graph.types import Literal
from hairtrigger.rtl.build import ModuleBuilder
from hairtrigger.rtl.cells import Cast, Join, Lookup, Sum
from hairtrigger.rtl.netlist import Delay, Instance, Module, Wire

MOST_BITS = 7
"""Bits of all inputs of an output up to which a table is thought of."""
TABLE_LUTS: dict[int, float] = {7: 3.0}
"""LUTs for a bit of a table with more than six inputs: what Yosys makes of random ones."""


def cost(module: Module) -> float:
    """About how many LUTs the cells of a module take; to choose by, not to report."""
    total = 0.0
    for part in module.body:
        if isinstance(part, Instance | Delay | Cast | Join):
            continue
        if isinstance(part, Lookup):
            total += table_luts(part.a.width, part.output.width)
        elif isinstance(part, Sum):
            total += part.output.width - part.passed
        else:
            total += part.output.width
    return total


def table_luts(bits: int, width: int) -> float:
    """LUTs of a table with so many bits in and out."""
    if bits <= 6:
        return float(width)
    return width * TABLE_LUTS.get(bits, 3.0 * 2.0 ** (bits - 7))


def supports(op: ops.Op, group: int, wires: Sequence[Wire]) -> list[list[int]] | None:
    """For each result the inputs that it depends on; None for an op without weights."""
    weights = matrix_of(op, group)
    if weights is None:
        return None
    live = [n for n, w in enumerate(wires) if not w.constant]
    return [[n for n in live if column[n]] for column in weights[0].codes.T.tolist()]


def matrix_of(op: ops.Op, group: int) -> tuple[Literal, Literal | None] | None:
    """Weights (inputs, results) and bias of an op that has them."""
    match op:
        case linear.Dense():
            return op.kernel, op.bias
        case linear.Conv():
            return op.group_weights(group)
        case _:
            return None


def tabulated(
    builder: ModuleBuilder,
    chain: Sequence[Node],
    group: int,
    wires: Sequence[Wire],
    support: Sequence[int],
    result: int,
    element: int,
) -> Wire:
    """One result of a kernel, all ops of its chain included, as a table of its inputs' bits."""
    used = [wires[n] for n in support]
    total = sum(wire.width for wire in used)
    codes, fraction = _sums(chain[0].op, group, wires, support, result, total)
    for node in chain[1:]:
        codes, fraction = _step(node.op, element, codes, fraction)
    joined = used[0] if len(used) == 1 else builder.join([(w, w.width) for w in used])
    if len(used) == 1:
        wire = used[0]
        order = np.arange(wire.low, wire.high + 1) & ((1 << wire.width) - 1)
        return builder.lookup(wire, codes[order].tolist(), wire.low, fraction)
    return builder.lookup(joined, codes.tolist(), 0, fraction)


def _sums(
    op: ops.Op, group: int, wires: Sequence[Wire], support: Sequence[int], result: int, total: int
) -> tuple[IntArray, int]:
    """The sum of products for every pattern of the inputs' bits, and its fraction."""
    found = matrix_of(op, group)
    assert found is not None
    kernel, bias = found
    pattern = np.arange(1 << total)
    fraction = kernel.fraction + max(w.fraction for w in wires if not w.zero)
    if bias is not None:
        fraction = max(fraction, bias.fraction)
    codes = np.zeros(1 << total, dtype=np.int64)
    place = 0
    for n, wire in enumerate(wires):
        weight = int(kernel.codes[n, result])
        if not weight or wire.zero:
            continue
        up = fraction - kernel.fraction - wire.fraction
        if wire.constant:
            codes += (wire.low * weight) << up
        elif n in support:
            part = (pattern >> place) & ((1 << wire.width) - 1)
            place += wire.width
            if wire.signed:
                part = np.where(part >> (wire.width - 1), part - (1 << wire.width), part)
            # Codes that never come may give anything.
            codes += (np.clip(part, wire.low, wire.high) * weight) << up
    if bias is not None:
        codes += int(bias.codes[result]) << (fraction - bias.fraction)
    return codes, fraction


def _step(op: ops.Op, element: int, codes: IntArray, fraction: int) -> tuple[IntArray, int]:
    """An element-wise op on codes of one element."""
    match op:
        case ops.Relu():
            return np.maximum(codes, 0), fraction
        case ops.Quantize():
            t = op.type
            k, i, f = (int(a.flat[element]) for a in (t.signed, t.integer, t.fraction))
            found = quantize_codes(codes, fraction, bool(k), i, f, op.rounding, op.overflow)
            return found, f
        case ops.Table():
            row = 0 if op.select is None else int(op.select.codes.flat[element])
            up = op.fraction - fraction
            scaled = codes << up if up >= 0 else codes >> -up
            place = np.clip(scaled - op.first, 0, op.values.shape[1] - 1)
            return op.values.codes[row][place], op.values.fraction
        case _:
            raise AssertionError(f"{type(op).__name__} is no element-wise op")
