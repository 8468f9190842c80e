"""A Graph compiled for a part and a clock: Verilog, latency, and the layout of its buses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hairtrigger.graph.graph import Graph
from hairtrigger.graph.types import TensorType
from hairtrigger.rtl.bits import bus_bits, lanes
from hairtrigger.rtl.lower import lower
from hairtrigger.rtl.pipeline import Timed, place_registers
from hairtrigger.rtl.verilog import kernel_text, top_text
from hairtrigger.targets import Clock, Part, delay_model, find_part, parse_clock


@dataclass(frozen=True, eq=False)
class Design:
    """A fully parallel pipeline: a new event every clock, its answer ``latency`` clocks later.

    ``top``: the top module with its registers placed. The delay model that placed them is an
    estimate; the latency in clocks is a fact of the emitted Verilog. ``stall``: do its registers
    have a clock enable ``ce``.
    """

    graph: Graph
    part: Part
    clock: Clock
    top: Timed
    stall: bool = False

    @property
    def name(self) -> str:
        """Name of the top module."""
        return self.top.module.name

    @property
    def latency(self) -> int:
        """Clocks from ``in_valid`` to ``out_valid``."""
        return self.top.latency

    @property
    def latency_ns(self) -> float:
        """The same in nanoseconds at the design's clock."""
        return self.latency * self.clock.period_ns

    @property
    def interval(self) -> int:
        """Clocks between events: the initiation interval."""
        return 1

    @property
    def in_types(self) -> tuple[TensorType, ...]:
        """Tensors on ``in_data``, the first in the lowest bits."""
        return tuple(self.graph.nodes[n].type for n in self.graph.inputs)

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
        read = [lane for lane in lanes(self.in_types) if lane.width]
        return top_text(
            self.top, read, lanes(self.out_types), latency=self.latency, stall=self.stall
        )


def compile_graph(
    graph: Graph,
    part: str | Part = "xcvu13p",
    clock: str | Clock = "320 MHz",
    *,
    stall: bool = False,
) -> Design:
    """Lower a Graph, place its registers for a part and a clock, and give the `Design`.

    ``stall``: give all registers a clock enable ``ce``, with which the whole design can be held.
    Raises `InputError` for an unknown part or a clock that is no frequency or period, and
    `UnsupportedError` for an op without lowering or a clock too fast for one cell.
    """
    part = find_part(part) if isinstance(part, str) else part
    clock = parse_clock(clock) if isinstance(clock, str) else clock
    model = delay_model(part)
    usable = clock.period_ns - model.register_overhead
    return Design(graph, part, clock, place_registers(lower(graph), model, usable), stall)
