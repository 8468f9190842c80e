"""How long logic takes: a model that places registers. Every figure is an estimate.

Only placement and routing by the vendor's tool gives true timing. The model is simple on purpose:
a level of logic is a LUT and the net before it, an adder is one level and a carry chain, and
a register takes its overhead off every clock period.
"""

import math
from dataclasses import dataclass

from hairtrigger.errors import InputError
from hairtrigger.targets.parts import Part

LABEL = "estimate"
"""What every figure from this model is to be labelled."""
CARRY_BITS = 8
"""Bits of a CARRY8, the carry block of UltraScale and UltraScale+."""


@dataclass(frozen=True)
class DelayModel:
    """Delays in nanoseconds; ``source`` says what they rest on."""

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


ULTRASCALE_PLUS = DelayModel(
    lut_logic=0.10,  # assume: between 0.04 (fast pin) and 0.15 ns (slow pin), 16 nm, grade -2
    net=0.35,  # assume: 0.2 to 0.4 ns in timing reports of dense designs that meet 300 MHz
    net_per_doubling=0.04,  # assume: 64 readers cost about a quarter of a nanosecond more
    carry_entry=0.12,  # assume: from S or DI to the carry out of its CARRY8
    carry_block=0.02,  # assume: CI to CO of one CARRY8
    carry_exit=0.10,  # assume: CI to the last sum bit
    clock_to_q=0.08,  # assume: CLB flip-flop, grade -2 (AMD DS923 has the class of figure)
    setup=0.03,  # assume: the same
    uncertainty=0.15,  # assume: jitter, and skew between clock regions and dies
    source="estimate: order of magnitude of UltraScale+ -2 timing reports, not a data sheet",
)

_SLOWER = 1.35  # assume: 20 nm UltraScale against 16 nm UltraScale+, the same speed grade

ULTRASCALE = DelayModel(
    lut_logic=_SLOWER * ULTRASCALE_PLUS.lut_logic,
    net=_SLOWER * ULTRASCALE_PLUS.net,
    net_per_doubling=_SLOWER * ULTRASCALE_PLUS.net_per_doubling,
    carry_entry=_SLOWER * ULTRASCALE_PLUS.carry_entry,
    carry_block=_SLOWER * ULTRASCALE_PLUS.carry_block,
    carry_exit=_SLOWER * ULTRASCALE_PLUS.carry_exit,
    clock_to_q=_SLOWER * ULTRASCALE_PLUS.clock_to_q,
    setup=_SLOWER * ULTRASCALE_PLUS.setup,
    uncertainty=ULTRASCALE_PLUS.uncertainty,  # of the clock, not of the silicon
    source="estimate: UltraScale+ figures times 1.35 for UltraScale",
)

_MODELS = {"xcup": ULTRASCALE_PLUS, "xcu": ULTRASCALE}


def delay_model(part: Part) -> DelayModel:
    """The delay model of a part's family; raises InputError when there is none."""
    model = _MODELS.get(part.yosys_family)
    if model is None:
        raise InputError(
            f"no delay model for {part.name} ({part.yosys_family})",
            f"use a part of {' or '.join(_MODELS)}, or give a DelayModel of your own",
        )
    return model
