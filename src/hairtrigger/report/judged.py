"""What a study's evaluation hands to the report: every network with its outputs and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
