"""Fewer registers: the same latency and results, and close to what trying all stages finds."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from hairtrigger.rtl import pipeline
from hairtrigger.rtl.build import ModuleBuilder
from hairtrigger.rtl.design import compile_graph
from hairtrigger.rtl.fanout import count_readers
from hairtrigger.rtl.netlist import Module
from hairtrigger.rtl.pipeline import place_registers
from hairtrigger.rtl.timed import Timed
from hairtrigger.rtl.verilog import LONG, kernel_text
from hairtrigger.targets import delay_model, find_part
from hairtrigger.tools import verilator
from test_fold import image_network, pedestals

MODEL = delay_model(find_part("xcvu13p"))
PERIOD = 1.3
"""Nanoseconds: room for two small adders behind each other."""


def random_module(seed: int, parts: int = 6) -> Module:
    """Sums and comparisons over inputs of mixed widths; a few nets leave."""
    rng = np.random.default_rng(seed)
    builder = ModuleBuilder()
    wires = [builder.input(0, (1 << int(rng.integers(1, 9))) - 1, 0) for _ in range(4)]
    while len(builder.body) < parts:
        a, b = (wires[int(n)] for n in rng.integers(0, len(wires), 2))
        late = builder.delayed(a, int(rng.integers(0, 2))) if rng.random() < 0.2 else a
        made = builder.add(late, b) if rng.random() < 0.7 else builder.maximum(late, b)
        wires.append(made)
    return builder.finish("m", wires[-2:], "random")


def without(timed: Timed, *_: object, registered: bool) -> Timed:
    return timed


def placed_as_soon_as_possible(module: Module, monkeypatch: pytest.MonkeyPatch) -> Timed:
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "fewer_registers", without)
        return place_registers(module, MODEL, PERIOD)


def legal(module: Module, starts: tuple[int, ...], last: int) -> dict[int, int] | None:
    """Stage of each net, or None where a part would read what is not there yet."""
    fanout = count_readers(module, MODEL)
    ready = {wire.net: (0, 0.0) for wire in module.inputs}
    for part, start in zip(module.body, starts, strict=True):
        stage, time = max(ready[w.net] for w in part.inputs if not w.constant)
        if type(part).__name__ == "Delay":
            ready[part.output.net] = (stage - part.steps, time)
            continue
        if stage > start:
            return None
        begin = time if stage == start else 0.0
        end = begin + fanout.delay(module, part)
        if end > PERIOD + 1e-9:
            return None
        ready[part.output.net] = (start, end)
    # Only what leaves must be there in the last stage: what is read an event late may come later.
    if any(ready[w.net][0] > last for w in module.outputs if not w.constant):
        return None
    return {net: stage for net, (stage, _) in ready.items()}


def fewest_bits(module: Module, timed: Timed) -> int:
    """Register bits of the best of all placements with the same latency."""
    best = timed.register_bits()
    moving = [n for n, part in enumerate(module.body) if type(part).__name__ != "Delay"]
    for stages in itertools.product(range(timed.latency), repeat=len(moving)):
        starts = [0] * len(module.body)
        for n, stage in zip(moving, stages, strict=True):
            starts[n] = stage
        found = legal(module, tuple(starts), timed.latency - 1)
        if found is not None:
            tried = Timed(module, (), found, tuple(starts), timed.latency, 0.0, 0.0)
            best = min(best, tried.register_bits())
    return best


def test_registers_are_as_few_as_trying_all_stages_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    same, before, after, fewest = 0, 0, 0, 0
    for seed in range(40):
        module = random_module(seed)
        asap = placed_as_soon_as_possible(module, monkeypatch)
        timed = place_registers(module, MODEL, PERIOD)
        assert timed.latency == asap.latency
        assert legal(module, timed.starts, timed.latency - 1) is not None
        assert timed.register_bits() <= asap.register_bits()
        best = fewest_bits(module, timed)
        same += best == timed.register_bits()
        before += asap.register_bits()
        after += timed.register_bits()
        fewest += best
    assert same >= 32  # a local minimum, most often the lowest
    assert fewest <= after <= 1.03 * fewest < before


@pytest.mark.parametrize("interval", [1, 8])
def test_moving_parts_never_costs_registers_or_clocks(
    interval: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for graph in (image_network(4, 8), pedestals(2, 4)):
        design = compile_graph(graph, clock="200 MHz", interval=interval)
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "fewer_registers", without)
            asap = compile_graph(graph, clock="200 MHz", interval=interval)
        assert design.latency == asap.latency
        assert design.top.register_bits() <= asap.top.register_bits()


def test_a_place_within_a_long_line_may_be_read_in_part(tmp_path: Path):
    """Lint asks for bits that nobody reads: of each place of a line, not of its end alone."""
    builder = ModuleBuilder()
    whole, other = builder.input(0, 8191, 0), builder.input(0, 8191, 0)
    deep = other
    for step in range(12):
        deep = builder.add(deep, other)
        if step == 1:
            early = builder.add(builder.narrow(whole, 0, 1023, -3), deep)
    module = builder.finish("m", [early, builder.add(deep, whole)], "a line read twice")
    timed = place_registers(module, MODEL, PERIOD)
    taps = {n for net, n in timed.taps if net == whole.net}
    assert max(taps) >= LONG
    assert len(taps) > 1
    file = tmp_path / "m.v"
    file.write_text(kernel_text(timed))
    verilator.lint([file], "m")
