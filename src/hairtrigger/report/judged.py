"""What a study's evaluation hands to the report: every network with its outputs and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from hairtrigger.metrics import Fraction, Mean
from hairtrigger.report import summary as s

if TYPE_CHECKING:
    import numpy as np

    from hairtrigger.studies.base import Samples
    from hairtrigger.train import History


@dataclass(frozen=True)
class Network:
    """One network: ``weights``, the numbers it was trained for; ``engine``, what ran it.

    ``outputs`` are arrays (events, outputs) by test sample; ``figures`` what the study's own
    ``evaluate`` made of them.
    """

    name: str
    weights: int
    engine: str
    outputs: Mapping[str, np.ndarray]
    figures: Any
    history: History


@dataclass(frozen=True)
class Judged:
    """All networks of a run on the same samples; the last is the one that goes into the chip."""

    samples: Samples
    networks: tuple[Network, ...]


def estimate(measured: Fraction | Mean, level: float, scale: float = 1) -> s.Estimate:
    """A Fraction or Mean as the summary has it; a Mean's interval is +- z standard errors."""
    if isinstance(measured, Fraction):
        if not measured.total:
            return s.Estimate(None, None, None, 0)
        low, value, high = measured.low, measured.value, measured.high
        return s.Estimate(scale * value, scale * low, scale * high, measured.total)
    if measured.entries < 2:
        return s.Estimate(None, None, None, measured.entries)
    half = NormalDist().inv_cdf(0.5 + level / 2) * measured.error
    low, high = measured.value - half, measured.value + half
    return s.Estimate(scale * measured.value, scale * low, scale * high, measured.entries)
