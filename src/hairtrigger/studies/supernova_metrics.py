"""The figures of a low-energy trigger: one score an image in, rates and efficiencies out.

Every method is judged by the same functions: an image passes where its score is at least the cut.
Cuts are chosen on images of their own; what is quoted is measured on others. Intervals are those
of `hairtrigger.metrics.fraction`. A rate that the number of images cannot show is refused, not
interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hairtrigger.detectors.lartpc_config import CLASSES
from hairtrigger.errors import InputError
from hairtrigger.metrics import (
    LEVEL,
    Fraction,
    TurnOn,
    confusion,
    finite,
    fraction,
    fraction_of,
    same_length,
    turn_on,
)

IMAGES_PER_SECOND = 6.25e6
"""Of a module: 200 planes of 31,250 images a second."""
VISIBLE_MEV = 10.0
"""The efficiency of the study's goal is that above this visible energy."""
ENERGY_EDGES_MEV = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0, 40.0, 60.0)
ROC_POINTS = 60


@dataclass(frozen=True)
class Scaled:
    """A number made of a `Fraction`, with the ends of its interval made the same way. ``value`` and
    ``high`` may be infinite."""

    value: float
    low: float
    high: float
    level: float


@dataclass(frozen=True)
class Cut:
    """A cut, and how many of the noise images that it was chosen on pass it.

    ``fakes`` is no measurement of the rate: the cut was made to fit it. Measure on other images.
    """

    value: float
    fakes: Fraction


@dataclass(frozen=True)
class Roc:
    """Shares of noise and of signal images that pass, at falling ``cuts``.

    At the first cut no noise image passes: its ``fakes`` are an upper limit (``high``), not 0.
    """

    cuts: tuple[float, ...]
    fakes: tuple[Fraction, ...]
    efficiencies: tuple[Fraction, ...]


@dataclass(frozen=True)
class Judged:
    """A method at one cut, measured on images that the cut was not chosen on.

    ``fakes``: share of noise images; ``hz``: the same of a module's images in a second;
    ``efficiency``: of nu_e CC above `VISIBLE_MEV`; ``by_class``: of each class, in its order;
    ``turn_on``: of nu_e CC against visible energy [MeV]; ``reduction``: images in a stream of noise
    over images kept.
    """

    name: str
    cut: float
    fakes: Fraction
    hz: Scaled
    efficiency: Fraction
    by_class: tuple[Fraction, ...]
    turn_on: TurnOn
    reduction: Scaled


def cut_at(noise: ArrayLike, fake_rate: float, level: float = LEVEL) -> Cut:
    """The lowest cut that no more than ``fake_rate`` of the noise images pass.

    ``noise``: their scores (images,). The cut is the score of a noise image, so the expected rate
    is below the wanted one. Of images with equal scores all pass or none: where more than wanted
    share the highest one, the cut is just above it and none passes. Raises `InputError` for a rate
    of less than one of these images.
    """
    scores = np.sort(finite("noise", noise))[::-1]
    if not 0 < fake_rate < 1:
        raise InputError(f"fake_rate = {fake_rate!r} is no rate.", "Give one between 0 and 1.")
    allowed = int(fake_rate * len(scores) * (1 + 1e-12))
    if allowed < 1:
        limit = fraction(0, len(scores), level).high
        raise InputError(
            f"A fake rate of {fake_rate:g} is less than one of {len(scores)} noise images.",
            f"Give {math.ceil(1 / fake_rate)} or more; these can show no more than a limit of "
            f"{limit:.2g} with none passing.",
        )
    passed = allowed
    if allowed < len(scores):
        passed = int(np.count_nonzero(scores > scores[allowed]))
    cut = scores[passed - 1] if passed else np.nextafter(scores[0], np.inf)
    return Cut(float(cut), fraction(passed, len(scores), level))


def pass_rate(scores: ArrayLike, cut: float, level: float = LEVEL) -> Fraction:
    """The share of images whose score is at least ``cut``."""
    return fraction_of(finite("scores", scores) >= cut, level)


def roc(
    noise: ArrayLike, signal: ArrayLike, *, points: int = ROC_POINTS, level: float = LEVEL
) -> Roc:
    """The ROC curve from no noise image to all, at about ``points`` rates even in the logarithm.

    Every cut but the first is the score of a noise image. Raises `InputError` without images of
    both kinds.
    """
    noise, signal = np.sort(finite("noise", noise)), np.sort(finite("signal", signal))
    if not (noise.size and signal.size):
        raise InputError(
            f"{noise.size} noise and {signal.size} signal images make no ROC curve.",
            "Give images of both.",
        )
    if points < 2:
        raise InputError(f"points = {points!r} make no curve.", "Give 2 or more.")
    counts = np.unique(np.rint(np.geomspace(1, noise.size, points)).astype(np.int64))
    none = np.nextafter(noise[-1], np.inf)
    cuts = [float(none), *np.unique(noise[noise.size - counts])[::-1].tolist()]

    def passing(scores: NDArray[np.float64]) -> tuple[Fraction, ...]:
        below = np.searchsorted(scores, cuts)
        return tuple(fraction(scores.size - int(k), scores.size, level) for k in below)

    return Roc(tuple(cuts), passing(noise), passing(signal))


def judge(
    name: str,
    scores: ArrayLike,
    kinds: ArrayLike,
    visible_mev: ArrayLike,
    cut: float,
    *,
    edges_mev: Sequence[float] = ENERGY_EDGES_MEV,
    window: float = 1.0,
    level: float = LEVEL,
) -> Judged:
    """A method with ``scores`` (images,) at ``cut``, on images of true ``kinds`` (numbers in
    `CLASSES`) and ``visible_mev``.

    ``window``: images that are stored for each that passes. Raises `InputError` for NaN, different
    lengths, or no noise or nu_e CC image.
    """
    values, energy = finite("scores", scores), finite("visible_mev", visible_mev)
    kind = finite("kinds", kinds)
    same_length(scores=values, kinds=kind, visible_mev=energy)
    noise, cc = (kind == CLASSES.index(name) for name in ("noise", "nue_cc"))
    for mask, what in ((noise, "noise"), (cc, "nu_e CC")):
        if not mask.any():
            raise InputError(f"There is no {what} image to judge by.", "Simulate some.")
    passed = values >= cut
    fakes = fraction_of(passed[noise], level)
    return Judged(
        name=name,
        cut=float(cut),
        fakes=fakes,
        hz=rate_hz(fakes),
        efficiency=fraction_of(passed[cc & (energy > VISIBLE_MEV)], level),
        by_class=tuple(fraction_of(passed[kind == k], level) for k in range(len(CLASSES))),
        turn_on=turn_on(energy[cc], values[cc], cut, edges_mev, level),
        reduction=reduction(fakes, window),
    )


def rate_hz(fakes: Fraction, images_per_second: float = IMAGES_PER_SECOND) -> Scaled:
    """A share of images as a rate [Hz] of so many images a second."""
    if not images_per_second > 0:
        raise InputError(
            f"images_per_second = {images_per_second!r} is no rate.", "Give a positive one."
        )
    ends = (fakes.value, fakes.low, fakes.high)
    return Scaled(*(images_per_second * x for x in ends), fakes.level)


def reduction(kept: Fraction, window: float = 1.0) -> Scaled:
    """Images in over images stored, ``window`` of them for each that passes.

    Infinite where none passed; the lower end of the interval is what is shown then. Overlapping
    windows are counted twice, so the reduction is not less than this.
    """
    if not window > 0:
        raise InputError(f"A window of {window!r} images stores nothing.", "Give a positive size.")

    def inverse(share: float) -> float:
        return 1 / (window * share) if share > 0 else math.inf

    return Scaled(inverse(kept.value), inverse(kept.high), inverse(kept.low), kept.level)


def confusion_shares(
    true: ArrayLike, predicted: ArrayLike, classes: int, level: float = LEVEL
) -> tuple[tuple[Fraction, ...], ...]:
    """Rows of the true class, columns of the predicted one: the share of the row, with interval."""
    counts = confusion(true, predicted, classes)
    return tuple(
        tuple(fraction(int(cell), int(row.sum()), level) for cell in row) for row in counts
    )


def mean_efficiency(curve: TurnOn, energies_mev: ArrayLike, level: float = LEVEL) -> Scaled:
    """The efficiency for a spectrum of interactions, from a turn-on curve of another one.

    ``energies_mev``: visible energies drawn from the spectrum; those outside the curve's bins count
    as missed. The weights w of the bins are taken as known: the variance is sum w^2 p (1 - p) / n,
    and the interval that of `fraction` for as many events as would have it. There p counts one
    event more that passed and one more that did not, since a bin that all passed is not exact.
    Raises `InputError` where a bin with weight has no events.
    """
    energies = finite("energies_mev", energies_mev)
    if not energies.size:
        raise InputError("There are no energies.", "Draw some from the spectrum.")
    edges = np.asarray(curve.edges)
    place = np.searchsorted(edges, energies, side="right") - 1
    inside = (place >= 0) & (place < len(curve.points))
    weights = np.bincount(place[inside], minlength=len(curve.points)) / energies.size
    share = smooth = spread = 0.0
    for k in np.flatnonzero(weights).tolist():
        weight, point = float(weights[k]), curve.points[k]
        if not point.total:
            raise InputError(
                f"No event was judged between {edges[k]:g} and {edges[k + 1]:g} MeV, where the "
                "spectrum has some.",
                "Give wider bins or more events.",
            )
        p = (point.passed + 1) / (point.total + 2)
        share += weight * point.value
        smooth += weight * p
        spread += weight**2 * p * (1 - p) / point.total
    if not spread:
        raise InputError(
            "No energy of the spectrum lies in a bin of the turn-on curve.",
            f"Give a curve that reaches from {energies.min():g} to {energies.max():g} MeV.",
        )
    total = max(1, int(smooth * (1 - smooth) / spread))
    found = fraction(round(share * total), total, level)
    return Scaled(share, min(found.low, share), max(found.high, share), level)
