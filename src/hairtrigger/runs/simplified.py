"""What a simplification is: its records, and the files that it leaves."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hairtrigger.explain.bits import Cut, Worth
from hairtrigger.explain.bits import Path as BitPath
from hairtrigger.explain.units import Dropped, Unit
from hairtrigger.pipeline import write_whole
from hairtrigger.records import to_text
from hairtrigger.report.summary import Estimate
from hairtrigger.runs.points import Silicon
from hairtrigger.runs.surrogate import Readable

SIMPLIFY = "simplify"


@dataclass(frozen=True)
class Ranked:
    """A unit as it was ranked: its ``importance``, the estimated ``lut`` that it takes, and whether
    it ``went``."""

    unit: Unit
    importance: float
    lut: float
    went: bool


@dataclass(frozen=True)
class State:
    """What a step left: all that has been ``dropped`` so far, the ranking of this step, and the
    loss on validation events after its training (None without). ``cuts``: bits cut so far;
    ``limits``: what they leave to the layers that read them (`hairtrigger.explain.narrow`)."""

    dropped: Dropped
    ranked: tuple[Ranked, ...]
    validation_loss: float | None
    cuts: int = 0
    limits: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])


@dataclass(frozen=True)
class Bits:
    """The worth of each bit, the path of cuts, and how many of them were made."""

    table: tuple[Worth, ...]
    path: BitPath
    made: tuple[Cut, ...]


@dataclass(frozen=True)
class Scores:
    """The study's own figures of a Graph on its test samples, by name, and what ran it."""

    engine: str
    scores: Mapping[str, Estimate]


@dataclass(frozen=True)
class Simpler:
    """A point: ``steps`` that led to it (none: the student as it was), slices and channels gone,
    bits cut, LUTs by the estimate (calibrated on the first point's chip, where there is one), the
    figures and the chip, which is None where it was not asked for."""

    name: str
    steps: tuple[str, ...]
    inputs: tuple[int, ...]
    channels: Mapping[str, tuple[int, ...]]
    bits: int
    lut_estimate: float
    engine: str
    scores: Mapping[str, Estimate]
    chip: Silicon | None

    @property
    def lut(self) -> float:
        """Synthesised LUTs, or estimated ones."""
        return self.lut_estimate if self.chip is None else self.chip.lut


@dataclass(frozen=True)
class Simplified:
    """All points, the first being the student as it was; ``score`` is the figure that stands
    against LUTs. ``bits``: the worth of each bit of that student (empty where no chain asked);
    ``surrogate``: of that student, None where none was asked for; ``samples``: events by name;
    ``epochs``: of the training after each step."""

    study: str
    preset: str
    seed: int
    score: str
    epochs: int
    method: str
    samples: Mapping[str, int]
    points: tuple[Simpler, ...]
    bits: tuple[Worth, ...]
    surrogate: Readable | None
    commit: str | None
    versions: Mapping[str, str]


def write_simplified(made: Simplified, folder: Path) -> None:
    """Write simplify.json, .csv, .svg and .html. Raises StorageError."""
    from hairtrigger.report.simplify import draw_curve, page

    write_whole(folder / f"{SIMPLIFY}.json", to_text(made))
    write_whole(folder / f"{SIMPLIFY}.csv", table_of(made))
    write_whole(folder / f"{SIMPLIFY}.svg", draw_curve(made))
    write_whole(folder / f"{SIMPLIFY}.html", page(made))


def table_of(made: Simplified) -> str:
    """The points as CSV."""
    text = io.StringIO()
    rows = csv.writer(text)
    scores = list(made.points[0].scores)
    limits = [f"{key}{end}" for key in scores for end in ("", " low", " high")]
    rows.writerow(
        [
            *("point", "inputs gone", "channels gone", "bits cut", *limits),
            *("lut estimate", "lut", "ff", "latency_ns"),
        ]
    )
    for p in made.points:
        channels = sum(len(at) for at in p.channels.values())
        values = [v for key in scores for v in _limits(p.scores[key])]
        chip = ["", "", ""] if p.chip is None else [p.chip.lut, p.chip.ff, p.chip.latency_ns]
        inputs = " ".join(map(str, p.inputs))
        rows.writerow([p.name, inputs, channels, p.bits, *values, round(p.lut_estimate), *chip])
    return text.getvalue()


def _limits(found: Estimate) -> list[float | None]:
    return [found.value, found.low, found.high]
