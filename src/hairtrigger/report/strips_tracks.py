"""The tracks half of the strips study in a report: every method on the same chambers.

`TracksPerformance` holds all of it as numbers; tables and the picture are made of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hairtrigger.metrics import Fraction, fraction
from hairtrigger.report.figures import COLOURS, GRID, MARKERS, Paint, draw_panels
from hairtrigger.report.summary import Compared, Estimate, Resource
from hairtrigger.studies import strips_tracks_metrics as figures
from hairtrigger.studies.strips_tracks_metrics import CORE, RIGHT_MM, RIGHT_SLOPE, Quantile, Said
from hairtrigger.studies.strips_tracks_samples import Sample, unpack
from hairtrigger.studies.supernova_metrics import cut_at


@dataclass(frozen=True)
class TracksPoint:
    """A method at a rate of background: see `strips_tracks_metrics.Judged`."""

    rate_khz_cm2: float
    fakes: Estimate
    efficiency: Estimate
    right: Estimate
    x_mm: Estimate
    slope: Estimate


@dataclass(frozen=True)
class TracksMethod:
    """A method at its cut, at every rate. ``weights``: trained numbers, None without a network."""

    name: str
    weights: int | None
    cut: float
    points: tuple[TracksPoint, ...]


@dataclass(frozen=True)
class TracksChip:
    """A network's chip: ``latency_clocks`` counted in simulation, ``resources`` by Yosys before
    placement, ``engines`` compared with the emulator. Its cut lets ``cut_passed`` of ``cut_noise``
    chambers of background pass, those that it was chosen on."""

    network: str
    part: str
    clock_mhz: float
    latency_clocks: int
    latency_ns: float
    interval_clocks: int
    interval_ns: float
    resources: tuple[Resource, ...]
    engines: tuple[Compared, ...]
    cut_passed: int
    cut_noise: int
    ebops: float


@dataclass(frozen=True)
class TracksPerformance:
    """All that the test chambers say.

    ``fake_rate``: what every cut was chosen for, on background of ``cut_rate_khz_cm2``;
    ``occupancy``: share of strips with a hit, of chambers without a muon at each of the rates;
    ``prompt_occupancy``: with one in time for a muon, which is what the methods see.
    """

    preset: str
    seed: int
    fake_rate: float
    cut_rate_khz_cm2: float
    train_chambers: int
    rates_khz_cm2: tuple[float, ...]
    occupancy: tuple[Estimate, ...]
    prompt_occupancy: tuple[Estimate, ...]
    methods: tuple[TracksMethod, ...]
    chips: tuple[TracksChip, ...]
    commit: str | None
    versions: Mapping[str, str]


def of_fraction(found: Fraction) -> Estimate:
    """A measured share."""
    value = None if math.isnan(found.value) else found.value
    return Estimate(value, found.low, found.high, found.total)


def of_quantile(found: Quantile) -> Estimate:
    """A measured quantile."""
    return Estimate(found.value, found.low, found.high, found.n)


def occupancy(sample: Sample) -> Estimate:
    """The share of strips with a hit at any time."""
    strips = sample.packed[0].size * 8
    return of_fraction(fraction(int(sample.hits.sum(dtype=np.int64)), len(sample) * strips))


def prompt_occupancy(sample: Sample) -> Estimate:
    """The share of strips with a hit in time for a muon."""
    hits = unpack(sample.packed)
    return of_fraction(fraction(int(hits.sum(dtype=np.int64)), hits.size))


def method(
    name: str,
    weights: int | None,
    rates: Sequence[float],
    said: Sequence[tuple[Said, Said, Any]],
    cutting: Said,
    cut: float | None,
    fake_rate: float,
) -> TracksMethod:
    """The numbers of a method. ``said``: at each of the ``rates``, of chambers without a muon, of
    those with one, and the truth of these; ``cutting``: of the background to choose the cut on,
    where ``cut`` is None. Raises as `cut_at` and `strips_tracks_metrics.judge` do."""
    if cut is None:
        cut = cut_at(cutting.score, fake_rate).value
    points = []
    for rate, (noise, muons, truth) in zip(rates, said, strict=True):
        judged = figures.judge(rate, noise, muons, truth, cut)
        points.append(
            TracksPoint(
                rate_khz_cm2=rate,
                fakes=of_fraction(judged.fakes),
                efficiency=of_fraction(judged.efficiency),
                right=of_fraction(judged.right),
                x_mm=of_quantile(judged.x_mm),
                slope=of_quantile(judged.slope),
            )
        )
    return TracksMethod(name, weights, cut, tuple(points))


def tracks_text(found: TracksPerformance) -> str:
    """Tables of all methods and of both chips, in Markdown."""
    from hairtrigger.report.document import table
    from hairtrigger.report.page import estimate

    place = found.rates_khz_cm2.index(found.cut_rate_khz_cm2)
    head = ("", "weights", "fakes", "efficiency", "at the right place", "x [um]", "slope [mrad]")
    rows = []
    for one in found.methods:
        at = one.points[place]
        cells = (at.fakes, at.efficiency, at.right, scaled(at.x_mm, 1e3), scaled(at.slope, 1e3))
        weights = "" if one.weights is None else f"{one.weights:,}"
        rows.append((one.name, weights, *map(estimate, cells)))
    rate = f"{found.cut_rate_khz_cm2:g} kHz/cm2"
    text = (
        f"Every method is cut so that {found.fake_rate:g} of the chambers without a muon pass, on "
        f"background of {rate} of its own, and measured on other chambers; here at {rate}. "
        f"At the right place: not farther off than {RIGHT_MM:g} mm and {1e3 * RIGHT_SLOPE:g} mrad. "
        f"x and slope: the size of the error that {100 * CORE:g} % of the tracks found stay "
        "below.\n\n" + table(head, rows)
    )
    for title, pick, factor in (
        ("At the right place", "right", 1.0),
        ("Fakes", "fakes", 1.0),
        ("Position [um]", "x_mm", 1e3),
        ("Slope [mrad]", "slope", 1e3),
    ):
        text += f"\n\n{title}, at the same cut, against the rate of background:\n\n"
        text += table(*_against_rate(found, pick, factor))
    return text + "\n\n" + _chips_text(found.chips)


def _against_rate(
    found: TracksPerformance, pick: str, factor: float
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    from hairtrigger.report.page import estimate, number

    head = ("kHz/cm2", *(f"{rate:g}" for rate in found.rates_khz_cm2))
    rows = [("strips with a hit", *(_percent(e, number) for e in found.occupancy))]
    rows += [
        (m.name, *(estimate(scaled(getattr(p, pick), factor)) for p in m.points))
        for m in found.methods
    ]
    return head, rows


def _percent(found: Estimate, number: Any) -> str:
    return "" if found.value is None else f"{number(100 * found.value)} %"


def scaled(found: Estimate, factor: float) -> Estimate:
    """The same in another unit."""
    ends = (found.value, found.low, found.high)
    return Estimate(*(None if x is None else factor * x for x in ends), found.n)


def _chips_text(chips: Sequence[TracksChip]) -> str:
    from hairtrigger.report.document import table
    from hairtrigger.report.page import share

    names = ("LUT", "FF", "DSP", "BRAM18")
    head = ("chip", "latency", "interval", *names, "engines compared", "differences")
    rows = []
    for chip in chips:
        used = {r.name: r for r in chip.resources}
        cells = [f"{used[n].used:,} ({share(used[n].share)})" if n in used else "" for n in names]
        events = min(engine.events for engine in chip.engines)
        differences = sum(engine.differences for engine in chip.engines)
        rows.append(
            (
                chip.network,
                f"{chip.latency_ns:.4g} ns, {chip.latency_clocks} clocks",
                f"{chip.interval_ns:.4g} ns",
                *cells,
                f"{len(chip.engines)}, on {events:,} chambers and more",
                f"{differences}",
            )
        )
    where = ", ".join(sorted({f"{c.part} at {c.clock_mhz:g} MHz" for c in chips}))
    return (
        f"The chips on {where}: clocks counted in simulation, resources synthesised by Yosys "
        "before placement, the cut included.\n\n" + table(head, rows)
    )


def tracks_picture(found: TracksPerformance) -> str:
    """Efficiency, fakes and resolutions against the rate and its occupancy, as one SVG picture."""
    panels = [
        [
            _panel(found, "right", 1.0, "found at the right place", goal=0.98),
            _panel(found, "fakes", 1.0, "chambers without a muon kept", log=True, goal=0.01),
        ],
        [
            _panel(found, "x_mm", 1e3, r"position, 68 % below [$\mu$m]"),
            _panel(found, "slope", 1e3, "slope, 68 % below [mrad]"),
        ],
    ]
    names = ", ".join(m.name for m in found.methods)
    alt = f"Efficiency, fakes and resolution of {names} against the rate of background"
    return draw_panels("strips-tracks", alt, 11.0, 8.0, panels)


def _panel(
    found: TracksPerformance,
    pick: str,
    factor: float,
    label: str,
    *,
    log: bool = False,
    goal: float | None = None,
) -> Paint:
    rates = np.array(found.rates_khz_cm2)
    share = np.array([e.value for e in found.occupancy], float)
    count = len(found.methods)
    width = 0.12 * (rates.max() - rates.min()) / max(len(rates), 1)

    def paint(axes: Any) -> None:
        for number, one in enumerate(found.methods):
            points = [scaled(getattr(p, pick), factor) for p in one.points]
            y = np.array([math.nan if p.value is None else p.value for p in points])
            low = np.array([math.nan if p.low is None else p.low for p in points])
            high = np.array([math.nan if p.high is None else p.high for p in points])
            hidden = log & (y <= 0)  # none passed: an arrow from the upper limit
            error = np.stack([y - low, high - y]).clip(0)
            x = rates + width * (number - (count - 1) / 2)
            style = {"color": COLOURS[number % len(COLOURS)]}
            mark = MARKERS[number % len(MARKERS)]
            y = np.where(hidden, math.nan, y)
            axes.errorbar(x, y, error, fmt=mark, elinewidth=1.0, label=one.name, **style)
            if hidden.any():
                axes.plot(x[hidden], high[hidden], "v", markersize=3, fillstyle="none", **style)
        if goal is not None:
            axes.axhline(goal, color=GRID, linewidth=1.2, zorder=0)
        if log:
            axes.set_yscale("log")
        axes.set_xlim(min(0.0, rates.min() - 4 * width), rates.max() + 4 * width)
        axes.set_xlabel(r"background [kHz/cm$^2$]")
        axes.set_ylabel(label, labelpad=4)
        above = axes.secondary_xaxis("top")
        above.set_xticks(rates, [f"{100 * s:.2g} %" for s in share])
        above.set_xlabel("strips with a hit", fontsize=9)
        if pick == "right":
            axes.legend(loc="lower left", fontsize=7)

    return paint
