"""A small trigger and streams for the tests of `hairtrigger.stream`: 24 wires, 16 ticks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hairtrigger.fixed import Fixed
from hairtrigger.graph import Builder, Literal, TensorType, emulate_codes, linear, ops
from hairtrigger.studies.supernova_front import FrontConfig, FrontState, step
from hairtrigger.studies.supernova_trigger import Trigger

FRONT = FrontConfig(wires=24, board=12, block=(4, 4), threshold=15)
ROWS = 4
TICKS = ROWS * FRONT.block[0]
STEP = 32
"""Counts of the timestamp in a tick."""


def small_trigger(front: FrontConfig = FRONT, *, cut: int = 40, gate: int = 6) -> Trigger:
    """A random convolution, pooled over the image, and two logits."""
    rng = np.random.default_rng(5)
    b = Builder("small")
    shape = (ROWS, front.columns, 1)
    fixed = Fixed(False, front.pixel_bits, 0)
    x = b.add(ops.Input("pixels", TensorType.uniform(shape, fixed)))
    kernel = Literal(rng.integers(-3, 4, (3, 3, 1, 3)), 0)
    x = b.add(linear.Conv(kernel, None, (1, 1), ((1, 1), (1, 1))), x)
    x = b.add(ops.Relu(), x)
    x = b.add(linear.GlobalSum((0, 1)), x)
    x = b.add(linear.Dense(Literal(np.array([[1, -1], [1, 2], [-1, 1]]), 0)), x)
    return Trigger(front, b.build({"out": x}), cut=cut, gate=gate)


def samples(ticks: int, *, seed: int = 1, wires: int = 24, pulses: int = 12) -> NDArray[np.uint16]:
    """Noise about pedestals that differ, and pulses over a few wires."""
    rng = np.random.default_rng(seed)
    level = rng.normal(3660, 150, wires)
    x = level + rng.normal(0, 10.7, (ticks, wires))
    for _ in range(pulses):
        t, w = rng.integers(0, max(1, ticks - 8)), rng.integers(0, wires - 3)
        x[t : t + 8, w : w + 3] += rng.uniform(40, 900) * np.hanning(10)[1:9, None]
    return np.clip(np.rint(x), 0, 16383).astype(np.uint16)


def reference(trigger: Trigger, parts: list[NDArray[np.uint16]], start: int = 256):
    """What the chain must give: first ticks, keep and logits of every image of stretches without
    gaps, by the front in NumPy and the emulator."""
    config, graph = trigger.front, trigger.decision()
    early = parts[0][:start]
    state = FrontState.start(config, np.median(early, axis=0))
    ticks, pixels, tick = [], [], 0
    for part in parts:
        fresh = FrontState.start(config)
        state = FrontState(state.pedestal, fresh.history, fresh.sums, 0)
        rows, state = step(config, state, part)
        count = len(rows) // trigger.rows
        ticks += [tick + n * trigger.ticks for n in range(count)]
        pixels.append(rows[: count * trigger.rows].reshape(count, trigger.rows, config.columns, 1))
        tick += len(part)
    codes = np.concatenate(pixels).astype(np.int64)
    outputs = dict(zip(graph.output_names, emulate_codes(graph, [codes]), strict=True))
    return np.array(ticks), outputs["keep"][:, 0] != 0, outputs["logits"], codes[..., 0]
