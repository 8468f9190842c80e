"""The clusters' part of the strips study: every way to a position on the same planes.

`StripsPerformance` holds all of it as numbers; a section of the study's page and the rows of the
report are made of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hairtrigger.metrics import Fraction, fraction, fraction_of
from hairtrigger.report.summary import Estimate
from hairtrigger.studies.strips import INCLINED_DEG
from hairtrigger.studies.strips_metrics import (
    Measured,
    cut_for,
    gain,
    resolution,
    working_curve,
)
from hairtrigger.studies.strips_samples import MUON, Candidates

CENTROID, PROJECTION = "centroid", "time projection"
TRUE_ANGLE = "time projection, true angle"
CHIP = "chip"


@dataclass(frozen=True)
class Said:
    """What a method says of the candidates of one sample: ``x`` (n,) in strips from the middle of
    the window; where it has them, ``score`` (n,), larger for a muon's, and ``tan_theta`` (n,)."""

    x: NDArray[np.float64]
    score: NDArray[np.float64] | None = None
    tan_theta: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Resolutions:
    """Position of one method at one background: for each of ``angles_deg`` the ``width`` (68 % half
    width) and the ``shift`` (median of the residuals) in um, and by how much it is better than the
    time projection with the same angle (``gain``, a share; negative where it is worse).
    ``inclined``: the least gain of the inclined angles; ``zero``: the gain over the centroid at 0
    degrees."""

    method: str
    rate_khz_cm2: float
    angles_deg: tuple[float, ...]
    width: tuple[Estimate, ...]
    shift: tuple[float, ...]
    gain: tuple[Estimate, ...]
    inclined: Estimate
    zero: Estimate


@dataclass(frozen=True)
class Angle:
    """Angle of one method at one background: 68 % half width in mrad at each of ``angles_deg``."""

    method: str
    rate_khz_cm2: float
    angles_deg: tuple[float, ...]
    width: tuple[Estimate, ...]


@dataclass(frozen=True)
class Bits:
    """Resolution that a network loses to the float one: over all angles at once, as a share."""

    method: str
    rate_khz_cm2: float
    loss: Estimate


@dataclass(frozen=True)
class Picked:
    """Muons' clusters told from others by one method: at the cut that was chosen for a share of
    muons on clusters of its own. ``muons``: share of muons' clusters over it; ``planes``: share of
    planes with a muon whose cluster is; ``fakes``: of clusters in planes without one. ``curve``:
    (fakes, muons) from the loosest cut on."""

    method: str
    cut: float
    muons: Estimate
    planes: Estimate
    fakes: Estimate
    curve: tuple[tuple[Estimate, Estimate], ...]


@dataclass(frozen=True)
class StripsPerformance:
    """All that the test planes say of clusters."""

    study: str
    preset: str
    seed: int
    planes: int
    positions: tuple[Resolutions, ...]
    angles: tuple[Angle, ...]
    bits: tuple[Bits, ...]
    picked: tuple[Picked, ...]
    commit: str | None
    versions: Mapping[str, str]

    def position(self, method: str, rate: float) -> Resolutions:
        """Of a method at a background."""
        return next(p for p in self.positions if (p.method, p.rate_khz_cm2) == (method, rate))


NOTHING = Estimate(None, None, None, 0)


def of_fraction(found: Fraction) -> Estimate:
    """A measured share."""
    value = None if math.isnan(found.value) else found.value
    return Estimate(value, found.low, found.high, found.total)


def of_measured(found: Measured, scale: float = 1.0) -> Estimate:
    """A measured number, times ``scale``; what is not finite is left out."""

    def finite(value: float) -> float | None:
        return value * scale if math.isfinite(value) else None

    return Estimate(finite(found.value), finite(found.low), finite(found.high), found.n)


def positions(
    method: str,
    rate: float,
    samples: Mapping[float, Candidates],
    said: Mapping[float, Mapping[str, Said]],
    seed: int,
) -> Resolutions:
    """Of one method; ``samples`` and what all methods ``said`` of them, by angle in degrees."""
    widths: list[Estimate] = []
    shifts: list[float] = []
    gains: list[Estimate] = []
    zero = NOTHING
    for angle, found in samples.items():
        muon = found.truth["kind"] == MUON
        true = found.truth["x"][muon].astype(np.float64)

        def residuals(name: str, at: float = angle, muon: NDArray[np.bool_] = muon) -> NDArray:
            return said[at][name].x[muon]

        ours = residuals(method) - true
        unit = 1000 * found.pitch_mm
        widths.append(of_measured(resolution(ours, seed), unit))
        shifts.append(unit * float(np.median(ours)) if len(ours) else 0.0)
        gains.append(of_measured(gain(ours, residuals(PROJECTION) - true, seed)))
        if angle == 0:
            zero = of_measured(gain(ours, residuals(CENTROID) - true, seed))
    low, high = INCLINED_DEG
    inclined = [g for a, g in zip(samples, gains, strict=True) if low <= a <= high]
    least = min(inclined, key=lambda g: math.inf if g.value is None else g.value)
    return Resolutions(
        method, rate, tuple(samples), tuple(widths), tuple(shifts), tuple(gains), least, zero
    )


def angles(
    method: str, rate: float, samples: Mapping[float, Candidates], said: Mapping[float, Said | None]
) -> Angle:
    """Of one method; None among ``said`` stands for the nominal angle itself."""
    widths: list[Estimate] = []
    for angle, found in samples.items():
        muon = found.truth["kind"] == MUON
        one = said[angle]
        told = found.truth["nominal"] if one is None else one.tan_theta
        assert told is not None
        off = np.arctan(told[muon]) - np.arctan(found.truth["tan_theta"][muon])
        widths.append(of_measured(resolution(off.astype(np.float64)), 1000))
    return Angle(method, rate, tuple(samples), tuple(widths))


def bits(
    method: str,
    rate: float,
    floating: str,
    samples: Mapping[float, Candidates],
    said: Mapping[float, Mapping[str, Said]],
    seed: int,
) -> Bits:
    """What one network loses to the ``floating`` one, over the muons of all angles together."""

    def pooled(name: str) -> NDArray[np.float64]:
        parts = []
        for angle, found in samples.items():
            muon = found.truth["kind"] == MUON
            off = said[angle][name].x[muon] - found.truth["x"][muon]
            parts.append(off - np.median(off))
        return np.concatenate(parts)

    better = gain(pooled(method), pooled(floating), seed)
    lost = Measured(-better.value, -better.high, -better.low, better.n)
    return Bits(method, rate, of_measured(lost))


def picked(
    method: str,
    share: float,
    choosing: NDArray[np.float64],
    samples: Sequence[Candidates],
    scores: Sequence[NDArray[np.float64]],
    without: NDArray[np.float64],
) -> Picked:
    """Of one method: ``choosing`` are its scores of muons' clusters that the cut is chosen on,
    ``scores`` those of the ``samples`` to test with, ``without`` of clusters in planes without a
    muon."""
    cut = cut_for(choosing, share)
    muons = np.concatenate(
        [s[f.truth["kind"] == MUON] for s, f in zip(scores, samples, strict=True)]
    )
    passed = int(np.count_nonzero(muons >= cut))
    return Picked(
        method=method,
        cut=cut,
        muons=of_fraction(fraction(passed, len(muons))),
        planes=of_fraction(fraction(passed, sum(found.planes for found in samples))),
        fakes=of_fraction(fraction_of(without >= cut)),
        curve=tuple(
            (of_fraction(point.fakes), of_fraction(point.muons))
            for point in working_curve(without, muons)
        ),
    )


def performance_text(found: StripsPerformance) -> str:
    """Tables of positions, angles, bits and of what is taken for a muon, in Markdown."""
    from hairtrigger.report.document import table
    from hairtrigger.report.page import estimate

    parts = [
        f"{found.planes:,} planes at each angle and background. Widths: half of what holds 68 % of "
        "the residuals about their median, in um, of all clusters that are the muon's."
    ]
    for rate in dict.fromkeys(p.rate_khz_cm2 for p in found.positions):
        of = [p for p in found.positions if p.rate_khz_cm2 == rate]
        head = ("um", *(f"{a:g} deg" for a in of[0].angles_deg), "least gain, 10 to 40 deg")
        rows = [(p.method, *(estimate(w) for w in p.width), estimate(p.inclined)) for p in of]
        parts.append(f"Position with {rate:g} kHz/cm2 of background:\n\n" + table(head, rows))
    of_angle = [
        (f"{a.method}, {a.rate_khz_cm2:g} kHz/cm2", *(estimate(w) for w in a.width))
        for a in found.angles
    ]
    head = ("mrad", *(f"{a:g} deg" for a in found.angles[0].angles_deg))
    parts.append("Angle:\n\n" + table(head, of_angle))
    lost = [(f"{b.method}, {b.rate_khz_cm2:g} kHz/cm2", estimate(b.loss)) for b in found.bits]
    parts.append(
        "Resolution lost to the float network, over all angles (a share; negative: won):\n\n"
        + table(("", "loss"), lost)
    )
    chosen = [
        (p.method, estimate(p.muons), estimate(p.planes), estimate(p.fakes)) for p in found.picked
    ]
    head = ("", "muons' clusters", "planes with a muon", "clusters of planes without")
    parts.append("What passes as a muon's:\n\n" + table(head, chosen))
    return "\n\n".join(parts)
