"""Every number of a report's page, as frozen data with a versioned JSON form: summary.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hairtrigger.errors import StorageError
from hairtrigger.records import from_json, problems, to_text

SCHEMA = "hairtrigger-summary/1"
"""Counts up when a field goes or changes its meaning; new fields alone also need a new number,
since unknown fields are refused."""


@dataclass(frozen=True)
class Estimate:
    """A measured number with the limits of its interval, from ``n`` events.

    ``value`` is None where there was no event to measure it on.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Origin:
    """What was run. ``study`` and ``preset`` are None for a user's own model, ``model_file`` for a
    study; ``commit`` is None outside a git checkout; ``created`` is ISO 8601 in UTC."""

    title: str
    study: str | None
    preset: str | None
    model_file: str | None
    seed: int
    part: str
    clock_mhz: float
    command: str
    created: str
    commit: str | None


@dataclass(frozen=True)
class Sample:
    """Events that were used: what for, how many, and the seed of the simulation."""

    name: str
    events: int
    seed: int | None


@dataclass(frozen=True)
class Row:
    """One line of the table of models: a quantity with its unit, in the order of the models.

    ``key`` is its short name for programs; ``how`` says what exactly is measured; ``better`` is
    "high", "low" or "" where neither is better; ``headline`` lines stand at the top of the page,
    for the last model.
    """

    key: str
    label: str
    how: str
    unit: str
    better: str
    headline: bool
    values: tuple[Estimate, ...]


@dataclass(frozen=True)
class Curve:
    """An efficiency against pT: ``edges`` of the bins in GeV, and one Estimate for each bin."""

    model: str
    threshold_gev: float
    edges_gev: tuple[float, ...]
    efficiency: tuple[Estimate, ...]


@dataclass(frozen=True)
class Profile:
    """A resolution against pT: ``edges`` of the bins in GeV, one Estimate for each bin."""

    model: str
    edges_gev: tuple[float, ...]
    values: tuple[Estimate, ...]


@dataclass(frozen=True)
class Confusion:
    """Events by true (rows) and predicted (columns) number of muons, from 0 on."""

    model: str
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Training:
    """Losses after each epoch of one training, and its wall time."""

    model: str
    loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    seconds: float


@dataclass(frozen=True)
class Model:
    """One network of the table: its weights, what they cost, and which engine ran it.

    ``ebops``: effective bit operations of a quantised network, as HGQ2 counts them.
    """

    name: str
    weights: int
    ebops: float | None
    engine: str


@dataclass(frozen=True)
class Muon:
    """One muon, true or predicted; pT in GeV."""

    pt_gev: float
    eta: float
    charge: int


@dataclass(frozen=True)
class Display:
    """An event that is shown: what is true and what the chip says."""

    caption: str
    muons: tuple[Muon, ...]
    predicted: Muon
    predicted_muons: int


@dataclass(frozen=True)
class Evaluation:
    """What the networks do with events that none was trained on.

    ``confidence`` is the level of all intervals, such as 0.68.
    """

    confidence: float
    intervals: str
    samples: tuple[Sample, ...]
    models: tuple[Model, ...]
    rows: tuple[Row, ...]
    turn_on: tuple[Curve, ...]
    resolution: tuple[Profile, ...]
    confusion: tuple[Confusion, ...]
    training: tuple[Training, ...]
    displays: tuple[Display, ...]


@dataclass(frozen=True)
class Conversion:
    """The Graph: nodes as converted and after the passes, and how many bits go in and out."""

    nodes_converted: int
    nodes: int
    in_bits: int
    out_bits: int
    exact_in_float32: bool


@dataclass(frozen=True)
class Compared:
    """One engine beside the emulator: events and output numbers compared, those that differ."""

    engine: str
    version: str
    events: int
    values: int
    differences: int


@dataclass(frozen=True)
class Proof:
    """The bit-exactness certificate; the emulator, which defines what is right, comes first.

    Of the ``events``, ``adversarial`` were made to hurt (all zeros, all ones, the extremes of each
    input), ``random`` drawn from ``seed``, and the rest are the study's or the user's own.
    ``latency_clocks`` was counted in the simulated Verilog.
    """

    passed: bool
    events: int
    adversarial: int
    random: int
    seed: int
    latency_clocks: int
    engines: tuple[Compared, ...]


@dataclass(frozen=True)
class Chip:
    """The design: latency in clocks as Verilator counted it, and in ns at the design's clock."""

    name: str
    part: str
    clock_mhz: float
    latency_clocks: int
    latency_ns: float
    interval_clocks: int
    interval_ns: float
    verilog_lines: int


@dataclass(frozen=True)
class Resource:
    """One kind of cell: how many are used, how many the part has (None: not known as a limit)."""

    name: str
    used: int
    available: int | None
    how: str

    @property
    def share(self) -> float | None:
        """Used / available; None without a limit."""
        return self.used / self.available if self.available else None


@dataclass(frozen=True)
class Synthesis:
    """What the design takes after synthesis, before placement."""

    tool: str
    options: str
    levels: int
    resources: tuple[Resource, ...]


@dataclass(frozen=True)
class StageTime:
    """Wall time of the run of a stage that made its output."""

    name: str
    title: str
    seconds: float


@dataclass(frozen=True)
class Summary:
    """All numbers of one page. ``evaluation`` is None for a user's own model."""

    schema: str
    origin: Origin
    evaluation: Evaluation | None
    conversion: Conversion
    chip: Chip
    proof: Proof
    synthesis: Synthesis
    stages: tuple[StageTime, ...]
    versions: Mapping[str, str]


def summary_text(summary: Summary) -> str:
    """The content of summary.json."""
    return to_text(summary)


def summary_problems(found: Any) -> list[str]:
    """What in a decoded summary.json does not follow the schema; empty if it does."""
    if not isinstance(found, dict):
        return ["a summary is a JSON object"]
    if found.get("schema") != SCHEMA:
        return [f"schema is {found.get('schema')!r}, not {SCHEMA!r}"]
    return problems(Summary, found)


def read_summary(path: Path) -> Summary:
    """Read a summary.json. Raises StorageError: missing, damaged, or of another schema."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(
            f"{path} cannot be read: {error.strerror}", "give the folder of a finished run"
        ) from error
    except ValueError as error:
        raise StorageError(f"{path} is no JSON: {error}", "run again what makes it") from error
    wrong = summary_problems(found)
    if wrong:
        raise StorageError(
            f"{path} is no summary of this hairtrigger: {wrong[0]}", "run again what makes it"
        )
    return from_json(Summary, found)
