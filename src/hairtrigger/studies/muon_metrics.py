"""The figures of the muon trigger, as the Rome group publishes them (EPJC 81 (2021) 969).

They take predictions, whatever engine made them, and the simulation's truth table. "Single" are
images with exactly one true muon; nothing is left out for being hard to see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hairtrigger.errors import InputError
from hairtrigger.metrics import (
    LEVEL,
    Fraction,
    Mean,
    TurnOn,
    confusion,
    finite,
    fraction_of,
    mean,
    same_length,
    turn_on,
)

THRESHOLDS_GEV = (10.0, 15.0, 20.0)
TRIGGER_GEV = 15.0
"""Threshold of the published efficiency and fake rate."""
SPREAD_GEV = (7.0, 13.0)
CHARGE_GEV = (5.0, 15.0)
PT_EDGES_GEV = tuple(float(edge) for edge in range(3, 31))
PROFILE_EDGES_GEV = (3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0, 18.0, 21.0, 24.0, 27.0, 30.0)
MAX_MUONS = 3


@dataclass(frozen=True)
class MuonPrediction:
    """What a trigger says of each image, arrays (events,).

    ``n_muons`` 0 to 3; of the leading one ``pt`` [GeV], ``eta`` and ``charge`` (-1 or 1). An image
    without muons should have a low one: a cut on pT is the whole decision. ``others``: the same of
    the second and third muon, where a network is asked for them.
    """

    pt: NDArray[np.float64]
    eta: NDArray[np.float64]
    charge: NDArray[np.int64]
    n_muons: NDArray[np.int64]
    others: tuple[MuonPrediction, ...] = ()

    def __post_init__(self) -> None:
        same_length(pt=self.pt, eta=self.eta, charge=self.charge, n_muons=self.n_muons)
        finite("pt", self.pt)
        finite("eta", self.eta)

    def __len__(self) -> int:
        return len(self.pt)


@dataclass(frozen=True)
class Profile:
    """A Mean in each bin ``edges[k] <= true pT < edges[k + 1]`` [GeV]."""

    edges: tuple[float, ...]
    points: tuple[Mean, ...]


@dataclass(frozen=True)
class MuonMetrics:
    """All figures of one network on the muon images.

    On single muons: ``turn_on`` at 10, 15 and 20 GeV; ``spread`` = mean |pT - true| for true pT 7
    to 13 [GeV]; ``efficiency`` = share with pT >= 15 among true pT >= 15; ``charge`` = share of
    right charges for true pT 5 to 15 among images with a predicted muon; ``eta`` = mean |eta -
    true| there, for all pT; ``bias`` and ``resolution`` = mean of pT / true - 1 and of its absolute
    value against true pT, among images with a predicted muon. On all images: ``confusion``,
    rows true and columns predicted number of muons.
    """

    turn_on: tuple[TurnOn, ...]
    spread: Mean
    efficiency: Fraction
    charge: Fraction
    eta: Mean
    bias: Profile
    resolution: Profile
    confusion: tuple[tuple[int, ...], ...]


def muon_metrics(
    predicted: MuonPrediction, truth: NDArray[np.void], level: float = LEVEL
) -> MuonMetrics:
    """Figures from predictions and the truth table (`hairtrigger.detectors.rpc.TRUTH_DTYPE`).

    Raises `InputError` where they differ in length or there is no single muon among them.
    """
    same_length(predicted=predicted.pt, truth=truth)
    single = truth["n_muons"] == 1
    if not single.any():
        raise InputError(
            "There is no image with exactly one muon.",
            "Give a sample with single muons; noise-only images have fake_rate.",
        )
    pt, eta, charge = predicted.pt[single], predicted.eta[single], predicted.charge[single]
    seen = predicted.n_muons[single] > 0
    true, true_eta = (truth[name][single, 0].astype(np.float64) for name in ("pt", "eta"))
    in_spread = (true >= SPREAD_GEV[0]) & (true < SPREAD_GEV[1])
    in_charge = (true >= CHARGE_GEV[0]) & (true < CHARGE_GEV[1]) & seen
    right = charge == truth["charge"][single, 0]
    relative = pt[seen] / true[seen] - 1
    counts = confusion(truth["n_muons"], predicted.n_muons, MAX_MUONS + 1)
    return MuonMetrics(
        turn_on=tuple(turn_on(true, pt, cut, PT_EDGES_GEV, level) for cut in THRESHOLDS_GEV),
        spread=mean(np.abs(pt - true)[in_spread]),
        efficiency=fraction_of(pt[true >= TRIGGER_GEV] >= TRIGGER_GEV, level),
        charge=fraction_of(right[in_charge], level),
        eta=mean(np.abs(eta - true_eta)[seen]),
        bias=_profile(true[seen], relative),
        resolution=_profile(true[seen], np.abs(relative)),
        confusion=tuple(tuple(row) for row in counts.tolist()),
    )


@dataclass(frozen=True)
class OtherMuon:
    """Of the second (``number`` 2) or third muon, in images that have it: mean |pT - true| for true
    pT 7 to 13 [GeV], mean |eta - true|, and the share of right charges for true pT 5 to 15."""

    number: int
    spread: Mean
    eta: Mean
    charge: Fraction


def other_muons(
    predicted: MuonPrediction, truth: NDArray[np.void], level: float = LEVEL
) -> tuple[OtherMuon, ...]:
    """Figures of the muons behind the leading one, as many as were asked for."""
    found: list[OtherMuon] = []
    for at, other in enumerate(predicted.others, 1):
        there = truth["n_muons"] > at
        true, eta = (truth[name][:, at].astype(np.float64) for name in ("pt", "eta"))
        in_spread = there & (true >= SPREAD_GEV[0]) & (true < SPREAD_GEV[1])
        in_charge = there & (true >= CHARGE_GEV[0]) & (true < CHARGE_GEV[1])
        right = other.charge == truth["charge"][:, at]
        found.append(
            OtherMuon(
                at + 1,
                mean(np.abs(other.pt - true)[in_spread]),
                mean(np.abs(other.eta - eta)[there]),
                fraction_of(right[in_charge], level),
            )
        )
    return tuple(found)


def fake_rate(pt: ArrayLike, level: float = LEVEL) -> Fraction:
    """Share of noise-only images with predicted pT > 15 GeV; ``pt`` (events,) in GeV."""
    return fraction_of(finite("pt", pt) > TRIGGER_GEV, level)


def _profile(true: NDArray[np.float64], values: NDArray[np.float64]) -> Profile:
    bins = np.digitize(true, PROFILE_EDGES_GEV) - 1
    count = len(PROFILE_EDGES_GEV) - 1
    return Profile(PROFILE_EDGES_GEV, tuple(mean(values[bins == n]) for n in range(count)))


SOFT_GEV = 10.0
"""Muons well below the threshold."""


@dataclass(frozen=True)
class SameFakes:
    """A network at the lowest threshold at which it has no more fakes than another network, or
    neither more fakes nor more soft muons.

    ``cut`` [GeV]; ``efficiency``: for single muons from `TRIGGER_GEV` on; ``soft``: the share of
    single muons below `SOFT_GEV` that pass, since a low threshold alone is no merit.
    """

    cut: float
    efficiency: Fraction
    soft: Fraction


def at_same_fakes(
    muons: NDArray[Any],
    truth: NDArray[np.void],
    noise: NDArray[Any],
    allowed: int,
    level: float = LEVEL,
    *,
    soft_allowed: int | None = None,
) -> SameFakes:
    """The threshold, and what passes it, where at most ``allowed`` noise images do, and at most
    ``soft_allowed`` single muons below `SOFT_GEV` (None: any number).

    ``muons``, ``noise``: predicted pT [GeV] of images with the ``truth`` of muons, and without.
    Raises `InputError` for arrays of different lengths, NaN, no single muons or no noise.
    """
    muons, noise = finite("muons", muons), finite("noise", noise)
    same_length(muons=muons, truth=truth)
    single = truth["n_muons"] == 1
    if not single.any() or not len(noise) or min(allowed, soft_allowed or 0) < 0:
        raise InputError(
            f"{int(single.sum())} single muons, {len(noise)} noise images, {allowed} allowed, "
            f"{soft_allowed} soft muons.",
            "Give some of each, and 0 or more fakes and soft muons.",
        )
    pt, true = muons[single], truth["pt"][single, 0]
    cut = _lowest_cut(noise, allowed)
    if soft_allowed is not None:
        cut = max(cut, _lowest_cut(pt[true < SOFT_GEV], soft_allowed))
    passed = pt >= cut
    return SameFakes(
        cut,
        fraction_of(passed[true >= TRIGGER_GEV], level),
        fraction_of(passed[true < SOFT_GEV], level),
    )


def _lowest_cut(values: NDArray[Any], allowed: int) -> float:
    """Just above the first value that may not pass: a chip says few values, many images each."""
    ordered = np.sort(values)[::-1]
    return -np.inf if allowed >= len(ordered) else float(np.nextafter(ordered[allowed], np.inf))
