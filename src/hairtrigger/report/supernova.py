"""The supernova study's part of a report: every method judged on the same images.

`Performance` holds all of it as numbers; a section of the study's page and the rows of the report
are made of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors.lartpc_config import CLASSES
from hairtrigger.metrics import LEVEL, Fraction, fraction_of
from hairtrigger.report.summary import Estimate
from hairtrigger.studies import supernova_burst as burst
from hairtrigger.studies import supernova_metrics as figures
from hairtrigger.studies.supernova_metrics import Judged, Roc, Scaled
from hairtrigger.studies.supernova_rare import weighted_rate

INTERACTIONS = tuple(float(n) for n in np.unique(np.geomspace(1, 3000, 90).astype(int)))
"""Interactions of a burst that its efficiency is drawn at."""
TYPED_MEV = 5.0
"""Types are told apart in images with more visible energy than this."""


@dataclass(frozen=True)
class Said:
    """What a method says of test images: a score (n,), larger for signal, that of noise images of
    ``enriched`` argon (m,), its cut, and the higher one of images that count for a burst.
    ``types``: the number of the class it takes an image for, of methods that have one."""

    name: str
    scores: NDArray[np.float64]
    enriched: NDArray[np.float64]
    cut: float
    burst_cut: float
    types: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Method:
    """One method at its cut, in numbers. ``fakes``: ordinary noise images that pass, counted;
    ``expected``: the same share from images of enriched argon, weighed; ``hz``: fakes of a module;
    ``efficiency``: of nu_e CC above 10 MeV visible; ``classes``: share of each class that is
    kept; ``turn_on``: efficiency for nu_e CC in bins of visible energy ``edges_mev``; ``roc``:
    (share of noise kept, of nu_e CC of all energies). Of the burst trigger on top, with
    a cut of its own: the share of noise images over it (``burst_expected``, weighed) and of nu_e CC
    (``burst_kept``), interactions for 95 % (``burst``), triggers it takes, and whether they are of
    the upper limit of the fake rate, as no fake was seen."""

    name: str
    cut: float
    fakes: Estimate
    expected: Estimate
    hz: Estimate
    reduction: Estimate
    efficiency: Estimate
    classes: Mapping[str, Estimate]
    edges_mev: tuple[float, ...]
    turn_on: tuple[Estimate, ...]
    roc: tuple[tuple[Estimate, Estimate], ...]
    burst_cut: float
    burst_expected: Estimate
    burst_kept: Estimate
    burst: Estimate
    burst_triggers: int
    burst_limit: bool


@dataclass(frozen=True)
class Pointing:
    """How well the electron's direction is told, as the angle in the plane of drift and wires
    [degrees]: the median, and that of a random guess (90); ``events``: of what kind and energy."""

    events: str
    median: Estimate


@dataclass(frozen=True)
class Performance:
    """All that the test images say. ``confusion``: share of each true class (rows, of images above
    `TYPED_MEV`) that the chip takes for each class."""

    study: str
    preset: str
    seed: int
    fake_rate: float
    burst_rate: float
    methods: tuple[Method, ...]
    confusion: tuple[tuple[Estimate, ...], ...]
    pointing: tuple[Pointing, ...]
    commit: str | None
    versions: Mapping[str, str]


def of_fraction(found: Fraction) -> Estimate:
    """A measured share."""
    value = None if math.isnan(found.value) else found.value
    return Estimate(value, found.low, found.high, found.total)


def of_scaled(found: Scaled, n: int) -> Estimate:
    """A number made of one; what is infinite is left out."""

    def finite(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return Estimate(finite(found.value), finite(found.low), finite(found.high), n)


@dataclass(frozen=True)
class Drawn:
    """What the figure of a method is made of."""

    judged: Judged
    expected: Fraction
    burst_cut: float
    burst_expected: Fraction
    burst_kept: Fraction
    roc: Roc
    curve: burst.BurstCurve


def judged(said: Said, truth: NDArray[Any], weights: NDArray[np.float64]) -> Drawn:
    """A method on images of all classes with their ``truth`` (n,), and on noise of enriched argon,
    each image of which stands for ``weights`` (m,) of ordinary ones."""
    kind, visible = truth["kind"], truth["visible_mev"]
    found = figures.judge(said.name, said.scores, kind, visible, said.cut)
    expected = weighted_rate(said.enriched >= said.cut, weights)
    interactions = said.scores[kind == CLASSES.index("nue_cc")]
    roc = figures.roc(said.scores[kind == 0], interactions)
    fakes = weighted_rate(said.enriched >= said.burst_cut, weights)
    kept = fraction_of(interactions >= said.burst_cut)
    curve = burst.burst_curve(said.name, fakes, kept, INTERACTIONS)
    return Drawn(found, expected, said.burst_cut, fakes, kept, roc, curve)


def method(drawn: Drawn) -> Method:
    """The numbers of it."""
    found, roc, curve = drawn.judged, drawn.roc, drawn.curve
    noise = found.fakes.total
    return Method(
        name=found.name,
        cut=found.cut,
        fakes=of_fraction(found.fakes),
        expected=of_fraction(drawn.expected),
        hz=of_scaled(found.hz, noise),
        reduction=of_scaled(found.reduction, noise),
        efficiency=of_fraction(found.efficiency),
        classes=dict(zip(CLASSES, map(of_fraction, found.by_class), strict=True)),
        edges_mev=found.turn_on.edges,
        turn_on=tuple(map(of_fraction, found.turn_on.points)),
        roc=tuple(
            (of_fraction(fake), of_fraction(share))
            for fake, share in zip(roc.fakes, roc.efficiencies, strict=True)
        ),
        burst_cut=drawn.burst_cut,
        burst_expected=of_fraction(drawn.burst_expected),
        burst_kept=of_fraction(drawn.burst_kept),
        burst=of_scaled(curve.for_goal, drawn.burst_expected.total),
        burst_triggers=curve.needed,
        burst_limit=curve.limit,
    )


def confusion(said: Said, truth: NDArray[Any]) -> tuple[tuple[Fraction, ...], ...]:
    """Share of each true class that a method with types takes for each class."""
    assert said.types is not None
    used = (truth["kind"] == 0) | (truth["visible_mev"] > TYPED_MEV)
    called = np.where(said.scores >= said.cut, said.types, 0)
    return figures.confusion_shares(truth["kind"][used], called[used], len(CLASSES))


def pointing(
    directions: NDArray[np.float64], kept: NDArray[np.bool_], truth: NDArray[Any], seed: int
) -> tuple[Pointing, ...]:
    """The angle between true and told direction in the plane that the wires see, of kept images.

    ``directions`` (n, 2): told components along the drift and across the wires. Intervals are those
    of medians of 200 samples drawn anew.
    """
    real = truth["direction"][:, [0, 2]].astype(np.float64)
    norms = np.linalg.norm(real, axis=1) * np.linalg.norm(directions, axis=1)
    cosine = (real * directions).sum(axis=1) / np.maximum(norms, 1e-12)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    rng = np.random.default_rng(seed)
    found: list[Pointing] = []
    for name in ("es", "nue_cc"):
        for low in (5.0, 15.0):
            used = kept & (truth["kind"] == CLASSES.index(name)) & (truth["visible_mev"] > low)
            values = angle[used & (norms > 0)]
            what = f"{name}, above {low:g} MeV visible"
            if len(values) < 20:
                found.append(Pointing(what, Estimate(None, None, None, len(values))))
                continue
            drawn = rng.integers(0, len(values), (200, len(values)))
            medians = np.median(values[drawn], axis=1)
            low_end, high_end = np.quantile(medians, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            middle = float(np.median(values))
            found.append(
                Pointing(what, Estimate(middle, float(low_end), float(high_end), len(values)))
            )
    return tuple(found)


def performance_text(found: Performance) -> str:
    """Tables of all methods, of the classes and of directions, in Markdown."""
    from hairtrigger.report.document import table
    from hairtrigger.report.page import estimate

    head = (
        "",
        "fakes",
        "expected",
        "Hz of a module",
        "reduction",
        "efficiency",
        *CLASSES[1:],
        "burst",
    )
    rows = [
        (
            m.name,
            estimate(m.fakes),
            estimate(m.expected),
            estimate(m.hz),
            estimate(m.reduction),
            estimate(m.efficiency),
            *(estimate(m.classes[kind]) for kind in CLASSES[1:]),
        )
        for m in found.methods
    ]
    text = (
        f"Every method is cut at a fake rate of {found.fake_rate:g}, on noise images of enriched "
        "argon that are weighed by how rare they are in ordinary argon; what is shown is measured "
        "on others. ``fakes``: ordinary noise images, counted; ``expected``: the same share from "
        "enriched argon, with many more of the rare decays that matter; ``efficiency``: nu_e CC "
        "above 10 MeV visible; the classes: all energies.\n\n" + table(head, rows)
    )
    bursts = [
        (
            m.name,
            estimate(m.burst_expected),
            estimate(m.burst_kept),
            f"{m.burst_triggers}",
            estimate(m.burst) + (" (limit)" if m.burst_limit else ""),
        )
        for m in found.methods
    ]
    text += (
        f"\n\nFor a burst images count that are over a higher cut, of a fake rate of "
        f"{found.burst_rate:g}, chosen in the same way. ``fakes``: expected, of other images; "
        "``kept``: of nu_e CC of all energies; ``triggers``: in 10 s, so that there is one fake "
        "burst a month; ``interactions``: in a module, for 95 % (limit: no fake was seen, so it is "
        "that of the upper limit).\n\n"
        + table(("", "fakes", "kept", "triggers", "interactions"), bursts)
    )
    cells = [
        (f"{name} true", *(estimate(cell) for cell in row), f"{row[0].n:,}")
        for name, row in zip(CLASSES, found.confusion, strict=True)
    ]
    text += f"\n\nWhat the chip takes images above {TYPED_MEV:g} MeV (and noise) for:\n\n" + table(
        ("", *CLASSES, "images"), cells
    )
    angles = [(p.events, estimate(p.median), f"{p.median.n:,}") for p in found.pointing]
    return (
        text
        + "\n\nDirection of the electron in the plane of drift and wires, images that are kept; a "
        "guess is 90 degrees off:\n\n" + table(("", "median angle [degrees]", "images"), angles)
    )


def picture(drawn: Sequence[Drawn], rows: Sequence[Sequence[Fraction]]) -> str:
    """ROC, turn-on, bursts and confusion in one SVG picture."""
    from hairtrigger.report.supernova_figures import draw_performance

    return draw_performance(
        {d.judged.name: d.roc for d in drawn},
        [d.judged for d in drawn],
        [d.curve for d in drawn],
        rows,
        CLASSES,
    )
