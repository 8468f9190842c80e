"""Switching activity of a design: bits that change in the simulated Verilog, counted.

A stand-in for power: dynamic power goes with the number of nets that toggle, but which wires the
placed design has, and how long they are, only the vendor's tools know.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError, ToolError
from hairtrigger.tools import process, verilator

_HARNESS = Path(__file__).with_name("harness_activity.cpp")
_VERDICT = re.compile(r"^hairtrigger activity (\d+) (\d+) (\d+) (\d+) (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Activity:
    """What changed while ``events`` ran: ``toggles`` of all named bits, clock and reset left out,
    ``port_toggles`` of the data ports among them. ``signals``, ``bits``: what was watched."""

    events: int
    signals: int
    bits: int
    toggles: int
    port_toggles: int
    clocks: int

    @property
    def per_event(self) -> float:
        """Toggles for one event."""
        return self.toggles / self.events


def count_toggles(
    files: Sequence[Path],
    top: str,
    in_bits: int,
    out_bits: int,
    words: NDArray[np.uint8],
    *,
    interval: int = 1,
    per_event: int = 1,
    flush: int,
    folder: Path | None = None,
) -> Activity:
    """Run events through ``top`` at their interval and count value changes of every named signal.

    ``words``: uint8 (events * per_event, ceil(in_bits / 8)) as `Simulator.run` takes them;
    ``flush``: clocks until the last event has left. A net with a name in several modules counts
    once in each. Raises `ToolError` where a tool is missing or the simulation fails.
    """
    events = len(words) // per_event
    if words.dtype != np.uint8 or words.ndim != 2 or events < 1 or len(words) % per_event:
        raise InputError(
            f"words have dtype {words.dtype} and shape {words.shape}.",
            f"Give uint8 (events * {per_event}, {-(-in_bits // 8)}), one event at least.",
        )
    defines = (f"-DHT_IN_BITS={in_bits}", f"-DHT_OUT_BITS={out_bits}")
    program = verilator.build_program(
        files, top, _HARNESS, defines, lambda header: None, folder, trace=True
    )
    command = [str(x) for x in (program, events, interval, per_event, flush)]
    done = subprocess.run(command, input=words.tobytes(), capture_output=True, check=False)
    said = done.stderr.decode(errors="replace")
    verdicts = _VERDICT.findall(said)
    if done.returncode != 0 or not verdicts:
        raise ToolError(
            f"Counting toggles of {top} failed ({process.describe_status(done.returncode)})"
            + process.quote(process.last_lines(said)),
            "Delete the tool cache and start again.",
        )
    signals, bits, toggles, ports, clocks = (int(x) for x in verdicts[-1])
    return Activity(events, signals, bits, toggles, ports, clocks)
