"""Writes the page: one HTML file that needs nothing else, every number of it from the summary."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hairtrigger.report import figures
from hairtrigger.report.summary import Confusion, Curve, Estimate, StageTime, Summary

TEMPLATE = "template.html.j2"
FEW_ALIKE = 6
"""Stages whose titles begin alike, of which each has a line of its own."""


@dataclass(frozen=True)
class Pictures:
    """Images of the events of ``Evaluation.displays``, in order: uint8 (events, rows, strips).

    ``signal`` holds the strips that a muon fired, ``images`` those and the noise.
    """

    images: np.ndarray
    signal: np.ndarray


@dataclass(frozen=True)
class Headline:
    """A number that stands at the top; ``mark`` is "good", "bad" or "" where it proves nothing."""

    value: str
    what: str
    mark: str = ""


def headlines(summary: Summary) -> list[Headline]:
    """What a reader wants to know first."""
    chip, proof = summary.chip, summary.proof
    differences = sum(engine.differences for engine in proof.engines)
    every = "clock" if chip.interval_clocks == 1 else f"{chip.interval_clocks} clocks"
    found = [
        Headline(
            f"{whole(differences)} difference{'s' * (differences != 1)}",
            f"between {len(proof.engines)} engines over {whole(proof.events)} events",
            "good" if proof.passed else "bad",
        ),
        Headline(
            f"{chip.latency_ns:.5g} ns",
            f"latency, {chip.latency_clocks} clocks at {chip.clock_mhz:.6g} MHz",
        ),
        Headline(f"{chip.interval_ns:.5g} ns", f"initiation interval: a new event every {every}"),
    ]
    for resource in summary.synthesis.resources:
        if resource.name in ("LUT", "DSP"):
            part = f"{share(resource.share)} of {chip.part}"
            found.append(Headline(f"{whole(resource.used)} {resource.name}", part))
    if summary.evaluation is not None:
        model = summary.evaluation.models[-1].name
        for row in summary.evaluation.rows:
            if row.headline:
                text = f"{short(row.values[-1])} {row.unit}".strip()
                found.append(Headline(text, f"{row.label}, {model}"))
    return found


def render(
    summary: Summary,
    graph_text: str,
    pictures: Pictures | None = None,
    others: Sequence[tuple[str, str]] = (),
) -> str:
    """The page as HTML text. ``graph_text`` is the Graph in its readable form; ``others``: titles
    and SVGs of figures that a study adds."""
    import jinja2

    evaluation = summary.evaluation
    drawn: dict[str, object] = {"turn_on": [], "displays": [], "resolution": "", "training": ""}
    drawn["others"] = list(others)
    if evaluation is not None:
        drawn["turn_on"] = [figures.turn_on(curves) for curves in _by_threshold(evaluation.turn_on)]
        if evaluation.resolution:
            drawn["resolution"] = figures.resolution(evaluation.resolution)
        if evaluation.training:
            drawn["training"] = figures.training(evaluation.training)
        if pictures is not None:
            drawn["displays"] = [
                (display, figures.event_display(number, image, signal, display))
                for number, (display, image, signal) in enumerate(
                    zip(evaluation.displays, pictures.images, pictures.signal, strict=True)
                )
            ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        number=number, estimate=estimate, share=share, whole=whole, wall=wall, times=times
    )
    page = environment.get_template(TEMPLATE)
    return page.render(
        s=summary, headlines=headlines(summary), graph_text=graph_text, drawn=drawn, shades=shades
    )


def _by_threshold(curves: Sequence[Curve]) -> list[list[Curve]]:
    thresholds = sorted({curve.threshold_gev for curve in curves})
    return [[c for c in curves if c.threshold_gev == threshold] for threshold in thresholds]


def number(value: float, digits: int = 3) -> str:
    """A number with ``digits`` significant digits and no exponent where that can be read."""
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def estimate(measured: Estimate) -> str:
    """An Estimate with its interval: ``0.883 (0.879 to 0.887)``, as fine as the interval needs.

    Where only the interval's lower end is known, as of a ratio to nothing seen, that.
    """
    if measured.value is None and measured.low is not None:
        return f"over {number(measured.low)}"
    if measured.value is None or measured.low is None or measured.high is None:
        return "no events"
    width = measured.high - measured.low
    places = 3 if width <= 0 else min(max(0, 1 - math.floor(math.log10(width))), 9)
    value, low, high = (f"{x:.{places}f}" for x in (measured.value, measured.low, measured.high))
    return f"{value} ({low} to {high})"


def short(measured: Estimate) -> str:
    """The value alone; where nothing was seen, what it is below at the intervals' confidence."""
    if measured.value is None or measured.high is None:
        return "no events"
    return number(measured.value) if measured.value else f"< {number(measured.high, 2)}"


def whole(count: int) -> str:
    """A count with a narrow space, which does not break, every three digits."""
    return f"{count:,}".replace(",", "\u202f")


def share(value: float | None) -> str:
    """A share in per cent."""
    return "" if value is None else f"{number(100 * value)}\u202f%"


def times(stages: Sequence[StageTime]) -> list[tuple[str, float]]:
    """Title and seconds of each stage; those of more than `FEW_ALIKE` whose titles begin alike up
    to a colon ("Train: ...") stand together."""
    begin = Counter(stage.title.partition(":")[0] for stage in stages)
    found: dict[str, float] = {}
    for stage in stages:
        start = stage.title.partition(":")[0]
        alike = begin[start] > FEW_ALIKE
        title = f"{start}: {begin[start]} times" if alike else stage.title
        found[title] = found.get(title, 0.0) + stage.seconds
    return list(found.items())


def wall(seconds: float) -> str:
    """Wall time: ``0.4 s``, ``12 s``, ``3 min 20 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def shades(confusion: Confusion) -> list[list[tuple[int, float]]]:
    """Counts of a confusion matrix, each with its share of its row."""
    return [
        [(count, count / sum(row) if sum(row) else 0.0) for count in row]
        for row in confusion.counts
    ]
