"""Clusters of trigger primitives in channel and time, of many images at once, and sums in windows.

The hits (`hairtrigger.studies.supernova_hits.HIT`) of all images go through together, as sparse
pairs of hits that are near; the pairs of an image of h hits are at most h^2 / 2. `Adjacent` are
connected components. `Dbscan` is M. Ester, H.-P. Kriegel, J. Sander and X. Xu, KDD-96, 226, with
the distance that DUNE's data acquisition uses (triggeralgs, dbscan).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.studies.supernova_hits import HIT

CLUSTER = np.dtype(
    [
        ("image", np.int64),
        ("hits", np.int64),
        ("sum", np.int64),
        ("first_wire", np.int64),
        ("wires", np.int64),
        ("first_tick", np.int64),
        ("ticks", np.int64),
    ]
)
"""A cluster: its ``image``, number of ``hits``, ``sum`` of their sums, and the extent in wires and
ticks, from the first to the last, both counted."""
UNITS_PER_TICK = 0.32
"""DUNE's DBSCAN counts time in 100 ticks of the 62.5 MHz clock; a sample is 32 of them."""

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Adjacent:
    """Hits are linked whose wires differ by at most ``wires`` and that leave at most ``ticks`` idle
    ticks between them (none where they overlap in time). A cluster is what links connect."""

    wires: int = 1
    ticks: int = 4

    def __post_init__(self) -> None:
        if self.wires < 0 or self.ticks < 0:
            raise InputError(
                f"A gap of {self.wires!r} wires, {self.ticks!r} ticks is negative.",
                "Give 0 or more.",
            )


@dataclass(frozen=True)
class Dbscan:
    """DBSCAN of points (wire, ``units`` * first tick): a hit with ``minimum`` hits (itself among
    them) no farther than ``eps`` is a core.

    Cores no farther than ``eps`` from each other are of one cluster. Another hit belongs to its
    nearest core, the first of equals, if that is no farther than ``eps``; else it is noise.
    """

    eps: float = 10.0
    minimum: int = 3
    units: float = UNITS_PER_TICK

    def __post_init__(self) -> None:
        if not (self.eps > 0 and self.units > 0 and self.minimum >= 1):
            raise InputError(f"{self} has no neighbourhood.", "Give positive numbers.")


Clustering = Adjacent | Dbscan


def label(hits: NDArray[np.void], how: Clustering) -> Labels:
    """The cluster of each hit (hits,), -1 of none; a cluster's number is that of its first hit.

    Raises `InputError` for an array of another type.
    """
    _check(hits)
    if isinstance(how, Adjacent):
        a, b = _near(hits, how.wires)
        start, end = hits["start"], hits["start"] + hits["length"]
        idle = np.maximum(start[a], start[b]) - np.minimum(end[a], end[b])
        linked = idle <= how.ticks
        return _connected(len(hits), a[linked], b[linked])
    return _dbscan(hits, how)


def _dbscan(hits: NDArray[np.void], how: Dbscan) -> Labels:
    a, b = _near(hits, int(how.eps))
    wires = (hits["wire"][a] - hits["wire"][b]).astype(np.float64)
    # A hair of slack, so that a distance of exactly eps counts whatever its rounding.
    away = wires**2 + (how.units * (hits["start"][a] - hits["start"][b])) ** 2
    near = away <= how.eps**2 * (1 + 1e-12)
    a, b, away = a[near], b[near], away[near]
    n = len(hits)
    core = 1 + np.bincount(a, minlength=n) + np.bincount(b, minlength=n) >= how.minimum
    both = core[a] & core[b]
    labels = np.where(core, _connected(n, a[both], b[both]), -1)
    # The others: (hit, core, distance) both ways round, the nearest core first.
    to_b, to_a = ~core[a] & core[b], core[a] & ~core[b]
    other = np.concatenate([a[to_b], b[to_a]])
    centre = np.concatenate([b[to_b], a[to_a]])
    order = np.lexsort((centre, np.concatenate([away[to_b], away[to_a]]), other))
    other, first = np.unique(other[order], return_index=True)
    labels[other] = labels[centre[order][first]]
    # A border hit may come before the first core: the number is that of the first hit of all.
    inside = np.flatnonzero(labels >= 0)
    _, first, which = np.unique(labels[inside], return_index=True, return_inverse=True)
    labels[inside] = inside[first][which]
    return labels


def clusters(hits: NDArray[np.void], labels: Labels) -> NDArray[np.void]:
    """The clusters (`CLUSTER`) of labelled hits, by the number of their first hit."""
    _check(hits)
    if labels.shape != hits.shape:
        raise InputError(
            f"Labels of shape {labels.shape} are not of {len(hits)} hits.", "Give one a hit."
        )
    order = np.argsort(labels, kind="stable")
    order = order[labels[order] >= 0]
    kept = hits[order]
    _, first, count = np.unique(labels[order], return_index=True, return_counts=True)
    found = np.zeros(len(first), CLUSTER)
    if not len(first):
        return found
    wire, start = kept["wire"].astype(np.int64), kept["start"]
    found["image"], found["hits"] = kept["image"][first], count
    found["sum"] = np.add.reduceat(kept["sum"], first)
    found["first_wire"] = np.minimum.reduceat(wire, first)
    found["wires"] = np.maximum.reduceat(wire, first) - found["first_wire"] + 1
    found["first_tick"] = np.minimum.reduceat(start, first)
    found["ticks"] = np.maximum.reduceat(start + kept["length"], first) - found["first_tick"]
    return found


def largest_in_window(
    hits: NDArray[np.void], images: int, wires: int | None = None, ticks: int | None = None
) -> NDArray[np.int64]:
    """The largest sum of hits in a window of ``wires`` x ``ticks``, of each of ``images``.

    A window holds the hits that start in it; it slides by single wires and ticks, and may reach
    over the edge. None: as large as the image. An image without hits has 0.
    """
    _check(hits)
    for name, size in (("wires", wires), ("ticks", ticks)):
        if size is not None and size < 1:
            raise InputError(f"A window of {size!r} {name} holds nothing.", "Give 1 or more.")
    best = np.zeros(images, np.int64)
    if ticks is None and wires is None:
        np.add.at(best, hits["image"], hits["sum"])
        return best
    # The best window can be moved on until its first tick and its first wire are those of hits.
    by = "start" if ticks is not None else "wire"
    size, width = (ticks, wires) if ticks is not None else (wires, None)
    order = np.lexsort((hits["wire"], hits[by], hits["image"]))
    rows = hits[order]
    at = rows[by].astype(np.int64)
    stride = int(np.ptp(at)) + size + 1 if len(rows) else 1
    key = rows["image"] * stride + at - (at.min() if len(rows) else 0)
    first = np.searchsorted(key, key)
    end = np.searchsorted(key, key + size)
    anchors = np.flatnonzero(first == np.arange(len(rows)))
    anchor, member = _ranges(anchors, end[anchors] - anchors)
    if width is None:
        total = np.bincount(anchor, rows["sum"][member], minlength=len(rows)).astype(np.int64)
        np.maximum.at(best, rows["image"][anchors], total[anchors])
        return best
    # In each anchor's band of ticks: the hits by wire, and their running sums.
    order = np.lexsort((rows["wire"][member], anchor))
    anchor, member = anchor[order], member[order]
    wire = rows["wire"][member].astype(np.int64)
    stride = int(wire.max(initial=0)) + width + 1
    key = anchor * stride + wire
    sums = np.concatenate([[0], np.cumsum(rows["sum"][member])])
    total = sums[np.searchsorted(key, key + width)] - sums[np.searchsorted(key, key)]
    np.maximum.at(best, rows["image"][member], total)
    return best


def _near(hits: NDArray[np.void], reach: int) -> Pairs:
    """All pairs of hits of an image whose wires differ by at most ``reach``; a < b in wire order,
    so each pair once."""
    order = np.lexsort((hits["wire"], hits["image"]))
    wire = hits["wire"][order].astype(np.int64)
    stride = int(wire.max(initial=0)) + reach + 1
    key = hits["image"][order] * stride + wire
    place = np.arange(len(hits))
    a, b = _ranges(place, np.searchsorted(key, key + reach, side="right") - place)
    mine = a != b
    return order[a[mine]], order[b[mine]]


def _ranges(first: NDArray[np.int64], count: NDArray[np.int64]) -> Pairs:
    """first[k], first[k] + 1, ... ``count[k]`` of them, for each k, with first[k] beside each."""
    owner = np.repeat(first, count)
    before = np.repeat(np.cumsum(count) - count, count)
    return owner, owner + np.arange(len(owner)) - before


def _connected(n: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> Labels:
    """Components of ``n`` nodes joined by edges, each numbered by its lowest node."""
    root = np.arange(n)
    while True:
        ends = root[a], root[b]
        if (ends[0] == ends[1]).all():
            return root
        # A root hangs on the lowest root that an edge leads to, then all paths become short.
        np.minimum.at(root, np.maximum(*ends), np.minimum(*ends))
        while True:
            shorter = root[root]
            if (shorter == root).all():
                break
            root = shorter


def _check(hits: NDArray[np.void]) -> None:
    if hits.dtype != HIT or hits.ndim != 1:
        raise InputError(
            f"An array of {hits.dtype} and shape {hits.shape} holds no hits.",
            "Give what find_hits or find_in_stream returned.",
        )
