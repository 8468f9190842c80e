"""What a bench writes down, as frozen dataclasses: `hairtrigger.records` makes them JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MEASURED = "measured"
"""Wall time on the machine that the bench ran on."""
CLOCKS = "simulated clocks"
"""Clocks counted by Verilator on the emitted Verilog, as time at the compiled clock."""
SYNTHESISED = "synthesised (Yosys)"
BOARD = "measured on a board"
"""Only ever from a file that the driver on a board wrote."""

SWEEP, SINGLE, MULTI, SERVER, OFFLINE = "sweep", "single", "multi", "server", "offline"
LOOP, STREAMING = "loop", "streaming"
SCENARIOS = (SINGLE, MULTI, SERVER, OFFLINE)
"""In the style of MLPerf Inference's, with durations of one's own; no submissions to it."""


@dataclass(frozen=True)
class InputsRecord:
    """The events that every engine got. ``sha256`` is of the codes as int64, shapes included."""

    model: str
    graph: str
    graph_sha256: str
    events: int
    given: int
    extreme: int
    random: int
    seed: int
    sha256: str
    shapes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Answers:
    """What an engine answered to all inputs, beside the emulator.

    ``why``: why it did not run ("" where it did). ``largest_lsb``: the largest difference in units
    of its output's LSB; ``first_event``: the first event that differs.
    """

    engine: str
    device: str
    words: str
    why: str = ""
    events: int = 0
    sha256: str = ""
    values: int = 0
    differences: int = 0
    largest_lsb: float = 0.0
    first_event: int | None = None

    @property
    def ran(self) -> bool:
        """Did the engine run?"""
        return not self.why

    @property
    def equal(self) -> bool:
        """Did it run and give the emulator's integers?"""
        return self.ran and self.differences == 0


@dataclass(frozen=True)
class Row:
    """One measurement: a line of bench.csv.

    ``label``: how the time was got; ``batch``: events of a call; ``way``: how threads share a
    batch; ``transfers``: "with" or "without" those to and from a device, "" where there are none;
    ``calls`` in ``seconds``; percentiles are of the time of a query in ns; None where there were
    too few calls to say. ``floor_ns``: what a call costs that does nothing. ``rate_per_s`` and
    ``bound_ns``: of the server scenario. ``note``: why a row has no times, or what to know.
    """

    engine: str
    scenario: str
    label: str
    batch: int
    same_answer: bool
    threads: int | None = None
    way: str = ""
    transfers: str = ""
    calls: int = 0
    seconds: float = 0.0
    mean_ns: float | None = None
    p50_ns: float | None = None
    p90_ns: float | None = None
    p99_ns: float | None = None
    p999_ns: float | None = None
    per_second: float | None = None
    floor_ns: float | None = None
    rate_per_s: float | None = None
    bound_ns: float | None = None
    joules_per_event: float | None = None
    energy: str = ""
    note: str = ""


@dataclass(frozen=True)
class Rows:
    """The rows that one stage made."""

    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Used:
    """A resource of a part that synthesis counts."""

    name: str
    used: int
    available: int | None
    how: str


@dataclass(frozen=True)
class ChipRecord:
    """The design: clocks were counted, resources (if asked for) by Yosys before placement."""

    name: str
    part: str
    clock_mhz: float
    latency_clocks: int
    interval_clocks: int
    words: int
    verilator: str
    synthesis: str
    resources: tuple[Used, ...]


@dataclass(frozen=True)
class Machine:
    """Where the bench ran; ``busy``: load average of the last minute over the processors."""

    processor: str
    processors: int
    gpu: str
    system: str
    versions: Mapping[str, str]
    busy: float | None


@dataclass(frozen=True)
class Bench:
    """All of a bench: bench.json."""

    command: str
    created: str
    commit: str
    machine: Machine
    seconds: float
    inputs: InputsRecord
    answers: tuple[Answers, ...]
    chip: ChipRecord | None
    rows: tuple[Row, ...]
