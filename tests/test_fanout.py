"""Readers of nets, through the borders of modules, and what they cost."""

from __future__ import annotations

import pytest

from hairtrigger.rtl.build import ModuleBuilder
from hairtrigger.rtl.fanout import count_readers
from hairtrigger.rtl.netlist import Module, Wire
from hairtrigger.rtl.pipeline import place_registers
from hairtrigger.targets import delay_model, find_part

MODEL = delay_model(find_part("xcvu13p"))


def sums(readers: int) -> tuple[Module, Wire]:
    """A net that so many sums read, and that net."""
    builder = ModuleBuilder()
    a = builder.input(0, 255, 0)
    others = [builder.input(0, 255, 0) for _ in range(readers)]
    return builder.finish("sums", [builder.add(a, b) for b in others], "sums"), a


@pytest.mark.parametrize("count", [1, 2, 8])
def test_each_reader_counts_and_each_doubling_costs_the_same(count: int):
    module, a = sums(count)
    fanout = count_readers(module, MODEL)
    assert fanout.readers[id(module)][a.net] == count
    for cell in module.body:
        extra = fanout.delay(module, cell) - cell.delay(MODEL)
        assert extra == pytest.approx(MODEL.route(count) - MODEL.route(1))


def test_readers_count_through_the_borders_of_modules():
    child, inner = sums(2)
    builder = ModuleBuilder()
    a = builder.input(0, 255, 0)
    others = [builder.input(0, 255, 0) for _ in range(6)]
    made: list[Wire] = []
    for n in (0, 2, 4):
        made += builder.instance(child, [a, others[n], others[n + 1]], f"u{n}")
    ends = [builder.add(made[0], b) for b in others[:3]]
    top = builder.finish("top", [*ends, *made[1:]], "three times the same")
    fanout = count_readers(top, MODEL)
    assert fanout.readers[id(top)][a.net] == 6
    # Inside, the net is the same one; and what leaves has the readers of the place with the most.
    assert fanout.readers[id(child)][inner.net] == 6
    assert fanout.readers[id(child)][child.outputs[0].net] == 3
    assert fanout.readers[id(child)][child.outputs[1].net] == 1


def test_what_chooses_is_read_for_every_bit():
    builder = ModuleBuilder()
    a, b = builder.input(-128, 127, 0), builder.input(-128, 127, 0)
    module = builder.finish("m", [builder.maximum(a, b)], "the larger")
    fanout = count_readers(module, MODEL)
    tested = module.body[0].output
    assert tested.width == 1
    assert fanout.readers[id(module)][tested.net] == 8


def test_many_readers_take_more_clocks():
    def chain(readers: int) -> int:
        builder = ModuleBuilder()
        wire = builder.input(0, 1, 0)
        others = [builder.input(0, 1, 0) for _ in range(readers)]
        for step in range(6):
            made = [builder.add(wire, other) for other in others]
            wire = made[step % readers]
            others = [builder.add(x, builder.input(0, 1, 0)) for x in made]
        module = builder.finish("m", [wire, *others], "a net that spreads, again and again")
        return place_registers(module, MODEL, 1.5).latency

    assert chain(64) > chain(1)
