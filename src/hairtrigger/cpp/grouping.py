"""What belongs together: nodes that are fused, positions that compute the same."""

from __future__ import annotations

import numpy as np

from hairtrigger.cpp.program import Ints
from hairtrigger.fixed import IntArray
from hairtrigger.graph import moves, ops
from hairtrigger.graph.graph import Graph, Node
from hairtrigger.graph.types import Range, TensorType

ELEMENT_WISE = (ops.Quantize, ops.Relu, ops.Add, ops.Sub, ops.Mul, ops.Compare, ops.Table)


def alike(op: ops.Quantize, x: Range) -> TensorType:
    """The formats of a Quantize, made equal along the positions of each channel where that changes
    no value of an operand in ``x``: borders of an image often have narrower ones for no need."""
    t = op.type
    if op.type.single is not None or len(t.shape) < 2:
        return t
    k, i, f = (a.reshape(-1, t.shape[-1]).copy() for a in (t.signed, t.integer, t.fraction))
    forced = op.overflows(x).reshape(k.shape)
    alive = k + i + f > 0
    same = np.stack([k == k[0], i == i[0], f == f[0]]).all(axis=(0, 1))
    for c in np.flatnonzero(~same):
        fixed, free = forced[:, c], ~forced[:, c] & alive[:, c]
        # Where something overflows the format must stay; elsewhere a wider one does as well.
        used = fixed if fixed.any() else free
        if not used.any():
            continue
        signed, whole, steps = k[used, c].max(), i[used, c].max(), f[used, c].max()
        kept = (k[fixed, c] == signed) & (i[fixed, c] == whole) & (f[fixed, c] == steps)
        fits = (k[free, c] <= signed) & (i[free, c] <= whole) & (f[free, c] == steps)
        if kept.all() and fits.all():
            k[:, c], i[:, c], f[:, c] = signed, whole, steps
    return TensorType(t.shape, *(a.reshape(t.shape) for a in (k, i, f)))


def used_nodes(graph: Graph) -> frozenset[int]:
    """Nodes that an output or a register depends on."""
    found = set(graph.roots)
    for place in range(len(graph.nodes) - 1, -1, -1):
        if place in found:
            found.update(graph.nodes[place].operands)
    return frozenset(found)


def fused_chains(graph: Graph, used: frozenset[int]) -> dict[int, list[int]]:
    """Fused nodes by the place of the last of them: a head and element-wise ops behind it."""
    chains: dict[int, list[int]] = {}
    for place, node in enumerate(graph.nodes):
        wires = isinstance(
            node.op, ops.Input | ops.State | ops.Constant | moves.Move | moves.Concat
        )
        if place not in used or wires:
            continue
        chain: list[int] = []
        if isinstance(node.op, ELEMENT_WISE):
            for operand in node.operands:
                alone = [n for n in graph.users[operand] if n in used] == [place]
                if (
                    operand in chains
                    and alone
                    and operand not in graph.roots
                    and graph.nodes[operand].type.shape == node.type.shape
                ):
                    chain = chains.pop(operand)
                    break
        chains[place] = [*chain, place]
    return chains


def formats_of(node: Node) -> IntArray:
    """A number for the format of each element of a Quantize, or for its row of a Table."""
    if isinstance(node.op, ops.Table):
        select = node.op.select
        return np.zeros(node.type.shape, np.int64) if select is None else select.codes
    t = node.type
    return t.signed + 2 * ((t.integer + 1024) + 4096 * (t.fraction + 1024))


def equal_rows(signature: Ints) -> list[Ints]:
    """Rows that are equal, as lists of places."""
    weights = np.random.default_rng(1).integers(1, 2**63, signature.shape[1], dtype=np.uint64) | 1
    with np.errstate(over="ignore"):
        keys = (signature.astype(np.uint64) * weights).sum(axis=1, dtype=np.uint64)
    _, first, where = np.unique(keys, return_index=True, return_inverse=True)
    if not np.array_equal(signature, signature[first][where]):  # two keys that met by chance
        _, first, where = np.unique(signature, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(where.ravel(), kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(where.ravel()[order])) + 1)
    return sorted(groups, key=lambda rows: int(rows[0]))
