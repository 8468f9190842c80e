"""A Graph compiled for a part and a clock: Verilog, latency, and the layout of its buses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hairtrigger.errors import UnsupportedError
from hairtrigger.fixed import IntArray
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.types import Range, TensorType
from hairtrigger.rtl import bits
from hairtrigger.rtl.bits import bus_bits
from hairtrigger.rtl.kernels import hull, spans_of
from hairtrigger.rtl.lower import lower
from hairtrigger.rtl.pareto import fastest_clock
from hairtrigger.rtl.pipeline import place_registers
from hairtrigger.rtl.schedule import Slabs
from hairtrigger.rtl.timed import Timed
from hairtrigger.rtl.verilog import kernel_text, top_text
from hairtrigger.targets import Clock, Part, delay_model, find_part, parse_clock, parse_interval


@dataclass(frozen=True, eq=False)
class Design:
    """A pipeline that takes a new event every ``interval`` clocks, in ``words`` of them.

    ``top``: the top module with its registers placed. The delay model that placed them is an
    estimate; the latency in clocks is a fact of the emitted Verilog. ``slabs``: how each input
    enters; ``time``: clocks from an event's first word until the last that its answer needs, at
    least; ``stall``: do the registers have a clock enable ``ce``.
    """

    graph: Graph
    part: Part
    clock: Clock
    top: Timed
    slabs: tuple[Slabs, ...]
    interval: int = 1
    time: int = 0
    stall: bool = False

    @property
    def name(self) -> str:
        """Name of the top module."""
        return self.top.module.name

    @property
    def latency(self) -> int:
        """Clocks from the first word with ``in_valid`` to ``out_valid``."""
        return self.time + self.top.latency

    @property
    def latency_ns(self) -> float:
        """The same in nanoseconds at the design's clock."""
        return self.latency * self.clock.period_ns

    @property
    def words(self) -> int:
        """Words of ``in_data`` that make up an event, in clocks behind each other."""
        return max((slabs.words for slabs in self.slabs), default=1)

    @cached_property
    def in_types(self) -> tuple[TensorType, ...]:
        """Tensors on ``in_data`` in one word, the first in the lowest bits.

        With one word for an event they are the Graph's inputs.
        """
        whole = tuple(self.graph.nodes[n].type for n in self.graph.inputs)
        if self.interval == 1:
            return whole
        return tuple(_lane_type(t, s) for t, s in zip(whole, self.slabs, strict=True))

    @property
    def out_types(self) -> tuple[TensorType, ...]:
        """Tensors on ``out_data``, the first in the lowest bits."""
        return self.graph.output_types

    @property
    def in_bits(self) -> int:
        """Width of ``in_data`` (1, unread, where the Graph reads no bits)."""
        return max(1, bus_bits(self.in_types))

    @property
    def out_bits(self) -> int:
        """Width of ``out_data`` (1, zero, where the Graph gives no bits)."""
        return max(1, bus_bits(self.out_types))

    def in_words(self, codes: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
        """Input codes (events, *shape) as they enter: for each input (events * words, *shape of
        `in_types`). An input that takes fewer words than others has zeros in the rest."""
        if self.interval == 1:
            return codes
        found: list[IntArray] = []
        for array, slabs in zip(codes, self.slabs, strict=True):
            words = np.zeros((len(array), self.words, slabs.size), dtype=np.int64)
            words[:, : slabs.words] = array.reshape(len(array), -1)[:, slabs.order]
            found.append(words.reshape(-1, slabs.size))
        return tuple(found)

    @cached_property
    def kernels_verilog(self) -> str:
        """All kernel modules, those that others instantiate first."""
        texts: dict[str, str] = {}

        def visit(timed: Timed) -> None:
            for child in timed.children:
                visit(child)
                texts.setdefault(child.module.name, kernel_text(child, self.stall))

        visit(self.top)
        return "\n".join(texts.values())

    @cached_property
    def top_verilog(self) -> str:
        """The top module."""
        read = [lane for lane in bits.lanes(self.in_types) if lane.width]
        return top_text(
            self.top,
            read,
            bits.lanes(self.out_types),
            latency=self.latency,
            interval=self.interval,
            words=self.words,
            stall=self.stall,
        )


def _lane_type(t: TensorType, slabs: Slabs) -> TensorType:
    """What each lane of a word can carry."""
    spans = spans_of(t.range())
    lanes: list[list[int]] = slabs.order.T.tolist()
    hulls = np.array([hull([spans[n] for n in lane]) for lane in lanes])
    low, high, fraction = hulls.T
    return Range(low, high, fraction).cover()


def compile_graph(
    graph: Graph,
    part: str | Part = "xcvu13p",
    clock: str | Clock = "320 MHz",
    *,
    interval: int | str = 1,
    axis: int | None = None,
    stall: bool = False,
) -> Design:
    """Lower a Graph, place its registers for a part and a clock, and give the `Design`.

    ``interval``: clocks from event to event, or a time such as ``"25 ns"``, which is rounded down
    to whole clocks; the longer, the smaller the design. ``axis``: along which axis images enter
    where an event takes several words (None: the longest). ``stall``: give all registers a clock
    enable ``ce``, with which the whole design can be held.

    Raises `InputError` for an unknown part, a clock that is no frequency or period, and an interval
    below one clock; `UnsupportedError` for an op without lowering or a clock too fast for one cell.
    """
    part = find_part(part) if isinstance(part, str) else part
    clock = parse_clock(clock) if isinstance(clock, str) else clock
    clocks = parse_interval(interval, clock)
    model = delay_model(part)
    usable = clock.period_ns - model.register_overhead
    lowered = lower(graph, clocks, axis)
    try:
        top = place_registers(lowered.module, model, usable)
    except UnsupportedError as error:
        fastest = fastest_clock(lowered, part)
        raise UnsupportedError(
            error.problem,
            f"The fastest clock that works is about {fastest:.0f} MHz (estimate); else make that "
            "part narrower.",
        ) from None
    return Design(graph, part, clock, top, lowered.slabs, clocks, lowered.time, stall)
