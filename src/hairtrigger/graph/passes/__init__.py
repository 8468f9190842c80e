"""Passes: plain functions from Graph to Graph that keep every value and the interface.

Input ops, output names and the real numbers that leave stay the same; types of outputs may get
narrower. Each pass is idempotent. To add one, write it in its own file and put it into `PASSES`.
"""

from __future__ import annotations

from hairtrigger.graph.graph import Graph
from hairtrigger.graph.passes.fold_constants import fold_constants
from hairtrigger.graph.passes.fuse_affine import fuse_affine
from hairtrigger.graph.passes.merge_quantizers import merge_quantizers
from hairtrigger.graph.passes.narrow_types import narrow_types
from hairtrigger.graph.passes.remove_dead import remove_dead
from hairtrigger.graph.passes.share_common import share_common
from hairtrigger.graph.verify import verify

__all__ = [
    "PASSES",
    "fold_constants",
    "fuse_affine",
    "merge_quantizers",
    "narrow_types",
    "optimise",
    "remove_dead",
    "share_common",
]

PASSES = (
    remove_dead,
    fold_constants,
    share_common,
    merge_quantizers,
    fuse_affine,
    narrow_types,
)
"""In the order in which `optimise` runs them."""

MAX_ROUNDS = 20
"""Rounds after which `optimise` stops; real Graphs settle in two or three."""


def optimise(graph: Graph) -> Graph:
    """All passes in turn, until none changes anything; the Graph is verified after each change."""
    for _ in range(MAX_ROUNDS):
        before = graph
        for run in PASSES:
            after = run(graph)
            if after != graph:
                verify(after)
                graph = after
        if graph == before:
            break
    return graph
