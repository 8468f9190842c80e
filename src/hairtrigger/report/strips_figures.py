"""The figures of the strips study: position against angle, against bits, and muons told apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hairtrigger.report.figures import COLOURS, MARKERS, NOISE, Paint, draw_panels
from hairtrigger.report.strips import (
    CENTROID,
    CHIP,
    PROJECTION,
    TRUE_ANGLE,
    Bits,
    Picked,
    Resolutions,
    StripsPerformance,
)
from hairtrigger.report.strips_rows import FLOAT
from hairtrigger.report.summary import Estimate

SHOWN = (CENTROID, PROJECTION, TRUE_ANGLE, FLOAT, CHIP)
"""Methods whose position is drawn against the angle; the others' is a panel of its own."""
LARGEST_UM = 160.0
"""The centroid leaves the panels at large angles."""


def draw_strips(found: StripsPerformance) -> str:
    """Positions with and without background, bits, and the working curve, as panels of one."""
    rates = tuple(dict.fromkeys(p.rate_khz_cm2 for p in found.positions))
    of = [[p for p in found.positions if p.rate_khz_cm2 == rate] for rate in rates]
    panels = [
        [_positions(of[0]), _positions(of[-1])],
        [_bits(found.bits), _picked(found.picked)],
    ]
    return draw_panels("strips-performance", "Resolutions and efficiencies", 11.4, 8.2, panels)


def _positions(of: Sequence[Resolutions]) -> Paint:
    shown = [p for p in of if p.method in SHOWN]

    def paint(axes: Any) -> None:
        for number, one in enumerate(shown):
            colour = NOISE if one.method == CENTROID else COLOURS[number % len(COLOURS)]
            y, errors = _with_errors(one.width)
            mark = MARKERS[number % len(MARKERS)]
            width = 1.8 if one.method == CHIP else 1.0
            axes.errorbar(
                one.angles_deg,
                y,
                yerr=errors,
                color=colour,
                marker=mark,
                linewidth=width,
                label=one.method,
            )
        axes.set_ylim(0, LARGEST_UM)
        axes.set_xlabel("angle of the muon [degrees]")
        axes.set_ylabel("position, 68 % half width [um]")
        axes.set_title(f"{of[0].rate_khz_cm2:g} kHz/cm$^2$ of background", loc="left")
        axes.legend(loc="upper right", fontsize=7)

    return paint


def _bits(found: Sequence[Bits]) -> Paint:
    rates = tuple(dict.fromkeys(b.rate_khz_cm2 for b in found))

    def paint(axes: Any) -> None:
        for number, rate in enumerate(rates):
            of = [b for b in found if b.rate_khz_cm2 == rate]
            y, errors = _with_errors([b.loss for b in of], 100)
            places = [n + 0.12 * (number - 0.5) for n in range(len(of))]
            axes.errorbar(
                places,
                y,
                yerr=errors,
                fmt=MARKERS[number],
                color=COLOURS[number + 1],
                label=f"{rate:g} kHz/cm$^2$",
            )
            axes.set_xticks(range(len(of)), [b.method for b in of])
            axes.set_xlim(-0.5, len(of) - 0.5)
        axes.axhline(2, color=NOISE, linestyle="--", linewidth=0.8, label="2 %")
        axes.axhline(0, color=NOISE, linewidth=0.8)
        axes.set_ylabel("resolution lost to float [%]")
        axes.legend(loc="upper left", fontsize=7)

    return paint


def _picked(found: Sequence[Picked]) -> Paint:
    def paint(axes: Any) -> None:
        for number, one in enumerate(found):
            seen = [(f, m) for f, m in one.curve if f.value]
            x = [f.value for f, _ in seen]
            y = [m.value for _, m in seen]
            # The first is done without a network.
            colour = COLOURS[(number - 1) % len(COLOURS)] if number else NOISE
            axes.plot(x, y, color=colour, label=one.method)
            mark = MARKERS[number % len(MARKERS)]
            axes.plot([one.fakes.value], [one.muons.value], mark, color=colour)
        axes.set_xscale("log")
        axes.set_ylim(0.5, 1.005)
        axes.set_xlabel("share of clusters without a muon that pass")
        axes.set_ylabel("share of muons' clusters that pass")
        axes.legend(loc="lower right", fontsize=7)

    return paint


def _with_errors(
    values: Sequence[Estimate], scale: float = 1.0
) -> tuple[list[float], list[list[float]]]:
    y = [scale * (v.value or 0) for v in values]
    low = [scale * abs((v.value or 0) - (v.low if v.low is not None else 0)) for v in values]
    high = [scale * abs((v.high if v.high is not None else 0) - (v.value or 0)) for v in values]
    return y, [low, high]
