"""Runs a Graph with the fastest engine that is exact for it, and says which one ran."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hairtrigger.fixed import IntArray
from hairtrigger.graph.emulate import Inputs, decode, emulate_codes, encode
from hairtrigger.graph.graph import Graph


@dataclass(frozen=True)
class Run:
    """What a Graph gave: ``codes`` and real ``values`` of each output, and the ``engine``'s name."""

    codes: tuple[IntArray, ...]
    values: tuple[NDArray[np.float64], ...]
    engine: str


def run(graph: Graph, inputs: Inputs) -> Run:
    """Run on real numbers; see `hairtrigger.graph.encode` for what is taken."""
    codes = emulate_codes(graph, encode(graph, inputs))
    return Run(codes, decode(graph, codes), "emulator")
