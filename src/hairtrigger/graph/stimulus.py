"""Events to try a Graph on: random ones and adversarial ones, always codes that its Inputs hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hairtrigger.fixed import IntArray, shift_codes
from hairtrigger.graph.graph import Graph

ONE_HOT = 64
"""Most elements, spread evenly over all inputs, that get events of their own."""


def random_codes(graph: Graph, events: int, seed: int) -> tuple[IntArray, ...]:
    """``events`` random events: one array (events, *shape) for each Input, in units of its LSB.

    Every code of an element is equally likely, but half of the events keep only some of their
    elements (30 % or 3 %) and leave the others zero, as sparse detector images do.
    """
    rng = np.random.default_rng(seed)
    low, high, _ = _limits(graph)
    own = rng.integers(low, high, size=(events, low.size), endpoint=True, dtype=np.int64)
    density = rng.choice([1.0, 1.0, 0.3, 0.03], size=(events, 1))
    keep = rng.random(own.shape) < density
    return _split(graph, np.where(keep, own, 0))


def extreme_codes(graph: Graph) -> tuple[IntArray, ...]:
    """The adversarial events, in the same form as `random_codes`.

    All zeros, all lowest, all highest, all plus one LSB, all minus one LSB, lowest and highest in
    turn (both ways), and each of up to `ONE_HOT` elements alone at its lowest and its highest.
    """
    low, high, alive = _limits(graph)
    even = np.arange(low.size) % 2 == 0
    whole = [
        np.zeros_like(low),
        low,
        high,
        np.minimum(alive, high),
        np.maximum(-alive, low),
        np.where(even, low, high),
        np.where(even, high, low),
    ]
    hot = np.unique(np.linspace(0, low.size - 1, min(ONE_HOT, low.size)).astype(np.int64))
    alone = np.zeros((len(hot), low.size), dtype=np.bool_)
    alone[np.arange(len(hot)), hot] = True
    return _split(
        graph, np.concatenate([np.stack(whole), np.where(alone, low, 0), np.where(alone, high, 0)])
    )


def join_events(parts: Sequence[tuple[IntArray, ...]]) -> tuple[IntArray, ...]:
    """Several sets of events of one Graph behind each other."""
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def _limits(graph: Graph) -> tuple[IntArray, IntArray, IntArray]:
    """Lowest and highest own code, and 1 where there are bits, for all elements of all Inputs."""
    ranges = [op.type.range() for op in graph.input_ops]
    return (
        _flat([r.low for r in ranges]),
        _flat([r.high for r in ranges]),
        _flat([op.type.width > 0 for op in graph.input_ops]),
    )


def _flat(arrays: Sequence[NDArray[np.integer] | NDArray[np.bool_]]) -> IntArray:
    parts = [array.ravel().astype(np.int64) for array in arrays]
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


def _split(graph: Graph, own: IntArray) -> tuple[IntArray, ...]:
    """Own codes (events, all elements) as one array for each Input, in units of its LSB."""
    found: list[IntArray] = []
    start = 0
    for op in graph.input_ops:
        t = op.type
        part = own[:, start : start + t.size].reshape(len(own), *t.shape)
        found.append(shift_codes(part, np.where(t.width > 0, t.lsb - t.fraction, 0)))
        start += t.size
    return tuple(found)
