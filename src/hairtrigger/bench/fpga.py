"""The emitted Verilog: clocks counted in Verilator, resources counted by Yosys."""

from __future__ import annotations

from dataclasses import dataclass

from hairtrigger.backends.rtl import simulate, synthesise
from hairtrigger.bench.inputs import Codes
from hairtrigger.bench.measure import compare
from hairtrigger.bench.records import CLOCKS, STREAMING, Answers, ChipRecord, Row, Used
from hairtrigger.errors import MismatchError
from hairtrigger.rtl.design import Design
from hairtrigger.tools import verilator

ENGINE = "fpga"


@dataclass(frozen=True)
class Counted:
    """Answers of the simulated Verilog, its clocks, and the row that they make."""

    answers: Answers
    chip: ChipRecord
    row: Row


def count(design: Design, codes: Codes, expected: Codes) -> Counted:
    """Send all events through the simulated Verilog, one every interval.

    Latency and interval are counted, not taken from the design. Raises `ToolError`, and
    `MismatchError` where they are not those that the design says.
    """
    found = simulate(design, codes)
    version = f"Verilator {verilator.version()}"
    words = f"Verilog in {version}"
    told = compare(ENGINE, "FPGA", words, expected, found.codes)
    events = len(codes[0])
    # From the first in_valid to the last out_valid, both included.
    interval = (found.clocks - 1 - found.latency) / (events - 1) if events > 1 else design.interval
    if found.latency != design.latency or interval != design.interval:
        raise MismatchError(
            f"the Verilog of {design.name} takes {found.latency} clocks and an event every "
            f"{interval:g} in simulation, where the design says {design.latency} and "
            f"{design.interval}",
            "report it with the Graph: this is an error of hairtrigger",
        )
    period = design.clock.period_ns
    row = Row(
        engine=ENGINE,
        scenario=STREAMING,
        label=CLOCKS,
        batch=1,
        same_answer=told.equal,
        calls=events,
        seconds=found.clocks * period / 1e9,
        mean_ns=found.latency * period,
        p50_ns=found.latency * period,
        p90_ns=found.latency * period,
        p99_ns=found.latency * period,
        p999_ns=found.latency * period,
        per_second=1e9 / (interval * period),
        note=f"{found.latency} clocks, the same for every event; an event every {interval:g}; that "
        f"{design.clock} are reached is an estimate",
    )
    chip = ChipRecord(
        name=design.name,
        part=design.part.name,
        clock_mhz=design.clock.mhz,
        latency_clocks=found.latency,
        interval_clocks=round(interval),
        words=design.words,
        verilator=version,
        synthesis="",
        resources=(),
    )
    return Counted(told, chip, row)


def resources(design: Design) -> tuple[str, tuple[Used, ...]]:
    """The tool, and what it counts before placement. Raises `ToolError`."""
    found = synthesise(design)
    part = design.part
    lut = "LUT1 to LUT6, and LUTs used as memory; inverters apart"
    return f"{found.tool}, {found.options}", (
        Used("LUT", found.lut, part.lut, lut),
        Used("FF", found.ff, part.ff, "flip-flops and latches"),
        Used("DSP", found.dsp, part.dsp, ""),
        Used("BRAM18", found.bram18_total, part.bram18, "block RAM in halves of 18 kbit"),
        Used("URAM", found.uram, part.uram or None, ""),
    )
