"""What the networks of the strips study are compared with: two ways to a position, one to a muon.

The centroid, the cluster time projection with the same nominal angle that the networks get (and
with the true one), and a likelihood of a cluster's strips, charge and angle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.studies.strips_samples import BACKGROUND, MUON, Candidates

STRIPS_BINS, CHARGE_BINS, ANGLE_BINS = 12, 24, 8
_LAST_TANGENT = 0.9


def centroid(found: Candidates) -> NDArray[np.float64]:
    """Charge centroid (n,), in strips from the middle of the window."""
    return found.truth["centroid"].astype(np.float64)


def time_projection(found: Candidates, true_angle: bool = False) -> NDArray[np.float64]:
    """Cluster time projection (n,), in strips from the middle of the window: the centroid moved
    along the track by the mean distance of its charge from the middle of the gap; a cluster of one
    strip keeps its centroid."""
    tangent = found.truth["tan_theta" if true_angle else "nominal"].astype(np.float64)
    moved = tangent * found.truth["drift_mm"] / found.pitch_mm
    return centroid(found) - moved


@dataclass(frozen=True)
class Likelihood:
    """The logarithm of muons over background in bins of strips, charge and nominal angle."""

    table: NDArray[np.float64]

    def scores(self, found: Candidates) -> NDArray[np.float64]:
        """The score of each candidate (n,), larger for a muon's."""
        return self.table[_bins(found.truth)]


def learn_likelihood(train: Candidates) -> Likelihood:
    """From candidates with their truth. Raises `InputError` where one of both kinds is missing."""
    counts = []
    for kind in (MUON, BACKGROUND):
        of = train.truth[train.truth["kind"] == kind]
        if not len(of):
            raise InputError("There are no candidates of one kind.", "Give muons and background.")
        table = np.zeros((STRIPS_BINS, CHARGE_BINS, ANGLE_BINS))
        np.add.at(table, _bins(of), 1)
        # Half a count in each bin keeps the logarithm finite where one kind was not seen.
        counts.append((table + 0.5) / (table + 0.5).sum())
    return Likelihood(np.log(counts[0] / counts[1]))


def _bins(truth: NDArray[Any]) -> tuple[NDArray[np.int64], ...]:
    strips = np.clip(truth["strips"], 1, STRIPS_BINS).astype(np.int64) - 1
    charge = np.log2(np.maximum(truth["charge"], 1)) * (CHARGE_BINS / 14)
    angle = truth["nominal"] * (ANGLE_BINS / _LAST_TANGENT)
    return (
        strips,
        np.clip(charge, 0, CHARGE_BINS - 1).astype(np.int64),
        np.clip(angle, 0, ANGLE_BINS - 1).astype(np.int64),
    )
