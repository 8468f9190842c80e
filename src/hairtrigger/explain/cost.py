"""An estimate of the LUTs that each node of a Graph takes: quick enough to rank changes by.

It counts the adders of a plain shift-and-add network and the bits they carry, comparisons of what
saturates, and those of a maximum; layers that serve many places are counted once for each copy that
the interval between events asks for. Subterms that kernels share, tables and glue are not seen:
multiply by `calibration` where the synthesised LUTs of a like Graph are known.
"""

from __future__ import annotations

from math import prod

import numpy as np

from hairtrigger.errors import InputError
from hairtrigger.fixed import IntArray
from hairtrigger.graph import Graph
from hairtrigger.graph.graph import Node
from hairtrigger.graph.linear import Conv, Dense, MaxPool
from hairtrigger.graph.ops import Add, Compare, Mul, Quantize, Sub


def lut_estimate(graph: Graph, interval: int = 1) -> tuple[float, ...]:
    """Estimated LUTs of each node, with a new event every ``interval`` clocks; not calibrated.

    Raises `InputError` for an interval below 1.
    """
    if interval < 1:
        raise InputError(f"interval = {interval!r} clocks.", "Give 1 or more.")
    return tuple(_of(graph, node, interval) for node in graph.nodes)


def calibration(graph: Graph, interval: int, lut: int) -> float:
    """What estimates must be multiplied by to give the synthesised ``lut`` for this Graph."""
    total = sum(lut_estimate(graph, interval))
    return lut / total if total else 1.0


def digits(codes: IntArray) -> IntArray:
    """Nonzero digits of each code in canonical signed-digit form: adders of its product, plus 1."""
    # The digits that differ between x and 3x, halved, are those of the canonical form.
    size = np.abs(codes)
    return np.bitwise_count(size ^ (3 * size)).astype(np.int64)


def _of(graph: Graph, node: Node, interval: int) -> float:
    types = [graph.nodes[n].type for n in node.operands]
    op, out = node.op, node.type
    if isinstance(op, Dense):
        width = types[0].width.reshape(-1, types[0].shape[-1])
        alive = int((out.width.reshape(-1, out.shape[-1]).max(axis=1) > 0).sum())
        return _product(width.max(axis=0), op.kernel.codes, alive, interval)
    if isinstance(op, Conv):
        width = types[0].width.reshape(-1, types[0].shape[-1]).max(axis=0)
        codes = op.kernel.codes
        each = width.reshape(op.groups, -1)
        share = codes.shape[-1] // op.groups
        area = prod(op.window)
        places = prod(out.shape[:-1])
        return sum(
            _product(
                np.tile(each[g], area),
                codes[..., g * share : (g + 1) * share].reshape(-1, share),
                places,
                interval,
            )
            for g in range(op.groups)
        )
    if isinstance(op, Quantize):
        over = op.overflows(types[0].range()) & (out.width > 0)
        return _shared(float((out.width + 1)[over].sum()), int(over.sum()), interval)
    if isinstance(op, MaxPool):
        kept = prod(op.window)
        width = float(out.width.sum()) * 1.5 * (kept - 1)
        return _shared(width, out.size * (kept - 1), interval)
    if isinstance(op, Add | Sub | Compare):
        width = np.maximum(*np.broadcast_arrays(*(t.width for t in types)))
        return _shared(float(width.sum()), out.size, interval)
    if isinstance(op, Mul):
        a, b = np.broadcast_arrays(*(t.width for t in types))
        return _shared(float((a * b).sum()), out.size, interval)
    return 0.0


def _product(width: IntArray, kernel: IntArray, places: int, interval: int) -> float:
    """Of a matrix (in, out) whose inputs have so many bits, at so many places."""
    alive = digits(kernel) * (width > 0)[:, None]
    carried = (alive * (width + 1)[:, None]).sum(axis=0)
    # The first term of a sum needs no adder.
    first = np.where(alive.sum(axis=0) > 0, carried / np.maximum(alive.sum(axis=0), 1), 0)
    return float((carried - first).sum()) * -(-places // interval)


def _shared(total: float, elements: int, interval: int) -> float:
    """Of ``total`` over so many elements, what is left where copies serve several of them."""
    return total * -(-elements // interval) / elements if elements else 0.0
