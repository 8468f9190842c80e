"""How much of a map lies on what is truly signal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError

Z = 1.959964
"""Of a normal distribution: 95 % lie within so many standard deviations."""


@dataclass(frozen=True)
class OnTruth:
    """The mean over events of the share of positive attribution that lies on the signal, with its
    interval of 95 % (of the normal distribution of a mean); ``chance``: the share of the inputs
    away from the baseline that are the signal's; ``events`` that have positive attribution."""

    value: float
    low: float
    high: float
    chance: float
    events: int

    def figures(self, name: str) -> dict[str, float | None]:
        """Its numbers by name, for a record."""
        return {
            name: self.value,
            f"{name}_low": self.low,
            f"{name}_high": self.high,
            f"{name}_chance": self.chance,
            f"{name}_events": float(self.events),
        }


def on_truth(values: NDArray[Any], signal: NDArray[Any], lit: NDArray[Any]) -> OnTruth:
    """Of maps ``values``, ``signal`` (1 where an input is the signal's) and ``lit`` (where it is
    not at the baseline), all (events, *shape).

    Raises `InputError` for arrays of different shapes or where no event has positive attribution.
    """
    if not values.shape == signal.shape == lit.shape:
        raise InputError(
            f"A map of shape {values.shape}, truth {signal.shape}, lit inputs {lit.shape}.",
            "Give three arrays of the same events.",
        )
    rows = (len(values), -1)
    positive = np.maximum(values, 0).reshape(rows).astype(np.float64)
    own = signal.reshape(rows) == 1
    total = positive.sum(axis=1)
    some = total > 0
    if not some.any():
        raise InputError(
            "No event has positive attribution.", "Explain events that the network accepts."
        )
    shares = (positive * own).sum(axis=1)[some] / total[some]
    middle = float(shares.mean())
    reach = Z * float(shares.std(ddof=1)) / np.sqrt(len(shares)) if len(shares) > 1 else np.inf
    shown = lit.reshape(rows).astype(bool)
    return OnTruth(
        middle,
        max(0.0, middle - reach),
        min(1.0, middle + reach),
        float((shown & own).sum() / max(1, shown.sum())),
        len(shares),
    )


def in_words(found: OnTruth) -> str:
    """In words: "0.988 (0.986 to 0.990; 0.346 by chance)"."""
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f}; {found.chance:.3f} by chance)"
