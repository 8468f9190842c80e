"""When compiling a Graph pays: rough times of the engines, good to a factor of three.

The constants were measured on one core of a 2023 x86-64 server. They decide which exact engine
runs, never what it gives.
"""

from __future__ import annotations

from math import prod

import numpy as np

from hairtrigger.graph import linear, ops
from hairtrigger.graph.graph import Graph, Node

BUILD_S = 0.8
BUILD_S_A_LINE = 1.0e-3
"""Writing, compiling and loading: in all, and for each line of straight C++."""
LINES_A_WEIGHT = 1.5
LINES_AN_ELEMENT = 4

FLOAT32_S_A_PRODUCT = 4e-11
FLOAT32_S_AN_ELEMENT = 5e-10
FLOAT64_FACTOR = 3.0
EMULATOR_S_A_PRODUCT = 1e-9
EMULATOR_S_AN_ELEMENT = 2e-8
EMULATOR_S_A_STEP = 1e-5
"""For each node of a Graph with registers, which runs step by step."""
GAIN = 0.7
"""Part of an engine's time that compiled C++ saves at least."""


def build_seconds(graph: Graph) -> float:
    """About how long building the C++ of a Graph takes."""
    lines = 0.0
    for node in graph.nodes:
        shape = node.type.shape
        channels = shape[-1] if shape else 1
        t = node.type
        formats = np.stack([t.signed, t.integer, t.fraction]).reshape(3, -1, channels)
        kinds = len(np.unique(np.moveaxis(formats, 1, 0).reshape(formats.shape[1], -1), axis=0))
        if isinstance(node.op, linear.Dense | linear.Conv):
            lines += LINES_A_WEIGHT * kinds * int(np.count_nonzero(node.op.kernel.codes))
        elif isinstance(node.op, ops.Quantize):
            lines += LINES_AN_ELEMENT * kinds * channels
    return BUILD_S + BUILD_S_A_LINE * lines


def event_seconds(graph: Graph, floats: int | None) -> float:
    """About how long another engine takes for an event: ONNX Runtime in float32 or float64
    (``floats`` is 32 or 64), or the emulator (None)."""
    products = sum(_products(node) for node in graph.nodes)
    elements = sum(node.type.size for node in graph.nodes)
    if floats is not None:
        seconds = products * FLOAT32_S_A_PRODUCT + elements * FLOAT32_S_AN_ELEMENT
        return seconds * (FLOAT64_FACTOR if floats == 64 else 1.0)
    steps = 0 if graph.pure else len(graph.nodes)
    return (
        products * EMULATOR_S_A_PRODUCT
        + elements * EMULATOR_S_AN_ELEMENT
        + steps * EMULATOR_S_A_STEP
    )


def _products(node: Node) -> int:
    if isinstance(node.op, linear.Dense):
        return node.type.size * node.op.kernel.shape[0]
    if isinstance(node.op, linear.Conv):
        return node.type.size * prod(node.op.kernel.shape[:-1])
    return 0


def events_to_pay(graph: Graph, floats: int | None) -> int:
    """From how many events on building C++ takes less time than it saves."""
    return int(build_seconds(graph) / (GAIN * event_seconds(graph, floats))) + 1
