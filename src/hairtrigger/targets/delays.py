"""How long logic takes: a model that places registers. Every figure is an estimate.

Only placement and routing by the vendor's tool gives true timing. The model is simple on purpose:
a level of logic is a LUT and the net before it, an adder is one level and a carry chain, and
a register takes its overhead off every clock period. Each constant says where it comes from.
"""

import math
import re
from dataclasses import dataclass

from hairtrigger.errors import InputError
from hairtrigger.targets.parts import Part

LABEL = "estimate"
"""What every figure from this model is to be labelled."""
CARRY_BITS = 8
"""Bits of a CARRY8, the carry block of UltraScale and UltraScale+."""


@dataclass(frozen=True)
class DelayModel:
    """Delays in nanoseconds. ``source`` says in a sentence what they rest on, ``sources`` the same
    for each constant by its name; "assume" where nothing published was found."""

    lut_logic: float
    net: float
    net_per_doubling: float
    carry_entry: float
    carry_block: float
    carry_exit: float
    clock_to_q: float
    setup: float
    uncertainty: float
    source: str
    sources: tuple[tuple[str, str], ...]

    @property
    def register_overhead(self) -> float:
        """What a register takes of a clock period: clock to output, setup, clock uncertainty."""
        return self.clock_to_q + self.setup + self.uncertainty

    def route(self, fanout: int = 1) -> float:
        """A net to ``fanout`` readers; each doubling of the readers spreads them further."""
        if fanout < 1:
            raise InputError(f"fanout={fanout}: a net has at least 1 reader", "give 1 or more")
        return self.net + self.net_per_doubling * math.log2(fanout)

    def lut(self, levels: float = 1, fanout: int = 1) -> float:
        """``levels`` LUTs in a row, each after a net; the first net has ``fanout`` readers."""
        if not (math.isfinite(levels) and levels >= 0):
            raise InputError(f"levels={levels}: a number of LUTs is 0 or more", "give 0 or more")
        extra = self.route(fanout) - self.net if levels else 0.0
        return levels * (self.lut_logic + self.net) + extra

    def adder(self, width: int, fanout: int = 1) -> float:
        """An adder, subtractor or comparison of ``width`` bits: net, LUT, carry chain, sum."""
        if width < 1:
            raise InputError(f"width={width}: an adder has at least 1 bit", "give 1 or more")
        blocks = math.ceil(width / CARRY_BITS)
        chain = self.carry_entry + (blocks - 1) * self.carry_block + self.carry_exit
        return self.lut(1, fanout) + chain


_REPORTS = (
    "the Vivado 2020.1 reports of two routed designs (xcvu3p-2, slow corner) at "
    "rapidwright.io/docs, RWRoute_timing_driven_routing and ReportTimingExample"
)
_BUDGET = "AMD's report_failfast.tcl (github.com/Xilinx/XilinxTclStore, designutils)"
_FLOPOCO = "FloPoCo's VirtexUltrascalePlus.hpp (xcvu3p-2), taken there from Vivado reports"

ULTRASCALE_PLUS = DelayModel(
    lut_logic=0.087,
    net=0.213,
    net_per_doubling=0.042,
    carry_entry=0.18,
    carry_block=0.041,
    carry_exit=0.10,
    clock_to_q=0.08,
    setup=0.03,
    uncertainty=0.15,
    source=f"estimate for UltraScale+ -2: LUT and net from {_BUDGET}; registers, fan-out and carry "
    f"entry from {_REPORTS}; carry chains from {_FLOPOCO}; margin for skew and jitter assumed",
    sources=(
        ("lut_logic", f"mean of ten LUTs, 0.037 to 0.124 ns, in {_REPORTS}"),
        (
            "net",
            f"0.300 ns a level of logic, speed grade -2, in {_BUDGET}, less the LUT; the reports "
            "behind lut_logic have 0.14 ns for one reader, in designs with room to spare",
        ),
        (
            "net_per_doubling",
            f"least squares over ten nets of 1 to 324 readers in {_REPORTS}",
        ),
        ("carry_entry", f"S to CO[7] 0.155 and 0.163 ns, and up to 0.025 before it, in {_REPORTS}"),
        ("carry_block", f"CI to CO[7] 0.015 ns and 0.026 to the next block, in {_FLOPOCO}"),
        ("carry_exit", f"CI to O[5] 0.116 ns, less one CI to CO[7] of 0.015, in {_FLOPOCO}"),
        ("clock_to_q", f"0.078 and 0.081 ns in {_REPORTS}"),
        ("setup", f"net from the LUT beside it 0.051 ns, setup -0.025, in {_REPORTS}"),
        (
            "uncertainty",
            "assume: jitter, and skew between clock regions and dies; the reports behind "
            "clock_to_q have 0.045 ns, for an ideal clock within one region",
        ),
    ),
)


SERIES7 = DelayModel(
    lut_logic=0.124,
    net=0.451,
    net_per_doubling=0.080,
    carry_entry=0.43,
    carry_block=0.234,
    carry_exit=0.22,
    clock_to_q=0.52,
    setup=0.08,
    uncertainty=0.15,
    source=f"estimate for 7 series -1: LUT and net from {_BUDGET}; the rest assumed after what "
    "Vivado prints for that speed grade; not compared with a routed design of ours",
    sources=(
        ("lut_logic", "assume: 0.124 ns for LUT6, as Vivado's reports of -1 parts print it"),
        ("net", f"0.575 ns a level of logic, speed grade -1, in {_BUDGET}, less the LUT"),
        (
            "net_per_doubling",
            f"assume: that of UltraScale+ -2 times 1.917, the ratio of budgets in {_BUDGET}",
        ),
        (
            "carry_entry",
            "assume: 0.55 ns from S of a CARRY4 to its last carry, as Vivado's reports of -1 parts "
            "print it, less one CARRY4 of the block",
        ),
        ("carry_block", "assume: two CARRY4 of 0.117 ns, as Vivado's reports of -1 parts print it"),
        ("carry_exit", "assume: 0.337 ns from CI to O, as printed there, less one CARRY4"),
        ("clock_to_q", "assume: 0.518 ns for FDRE in a SLICEM, as printed there"),
        ("setup", "assume: 0.08 ns, the largest usual one of FDRE's D as printed there"),
        ("uncertainty", "assume: as for UltraScale+"),
    ),
)

_BUDGETS = {
    "xc7": {1: 0.575, 2: 0.500, 3: 0.425},
    "xcup": {1: 0.350, 2: 0.300, 3: 0.250},
    "xcu": {1: 0.490, 2: 0.425, 3: 0.360},
}
"""Nanoseconds for a level of logic by family and speed grade, in the script of `_BUDGET`."""

USUAL_GRADE = 2
"""Speed grade of a part whose name has none."""


def _scaled(model: DelayModel, factor: float, silicon: str) -> DelayModel:
    """A model of slower or faster silicon; clock uncertainty is of the clock and stays."""
    note = f"times {factor:.3f} for {silicon}, the ratio of budgets in {_BUDGET}"
    kept = "uncertainty"
    return DelayModel(
        lut_logic=factor * model.lut_logic,
        net=factor * model.net,
        net_per_doubling=factor * model.net_per_doubling,
        carry_entry=factor * model.carry_entry,
        carry_block=factor * model.carry_block,
        carry_exit=factor * model.carry_exit,
        clock_to_q=factor * model.clock_to_q,
        setup=factor * model.setup,
        uncertainty=model.uncertainty,
        source=f"{model.source}; all but that margin {note}",
        sources=tuple(
            (name, text if name == kept else f"{text}; {note}") for name, text in model.sources
        ),
    )


def delay_model(part: Part) -> DelayModel:
    """The delay model of a part's family and speed grade (that of its ``vivado_name``).

    Raises InputError when there is none.
    """
    budgets = _BUDGETS.get(part.yosys_family)
    if budgets is None:
        raise InputError(
            f"no delay model for {part.name} ({part.yosys_family})",
            f"use a part of {' or '.join(_BUDGETS)}, or give a DelayModel of your own",
        )
    written = re.search(r"-(\d)", part.vivado_name)
    grade = int(written[1]) if written else USUAL_GRADE
    if grade not in budgets:
        raise InputError(
            f"no delay model for speed grade -{grade} ({part.vivado_name})",
            f"use speed grade {', '.join(f'-{n}' for n in budgets)}",
        )
    old = part.yosys_family == "xc7"
    known = SERIES7 if old else ULTRASCALE_PLUS
    factor = budgets[grade] / (budgets[1] if old else _BUDGETS["xcup"][USUAL_GRADE])
    if factor == 1:
        return known
    return _scaled(known, factor, f"{part.family} -{grade}")
