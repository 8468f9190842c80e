"""What a method of attribution gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError

Baseline = float | NDArray[Any]
"""What an input is where it says nothing: one number, or one for each input number (*shape)."""


@dataclass(frozen=True)
class Explained:
    """The share of an output that each input number carries.

    ``values``: float32 (events, *shape of an event), positive where a number raises the output.
    ``output``, ``method`` and ``baseline`` say what was explained, how, and against what (None
    where the method has no baseline). ``answers`` and ``without``: the output of each event and of
    the baseline (events,), where the method knows them: attributions of a complete method add up
    to their difference. ``error``: the standard error of ``values`` where they are sampled.
    """

    values: NDArray[np.float32]
    output: str
    method: str
    baseline: Baseline | None = None
    answers: NDArray[np.float64] | None = None
    without: NDArray[np.float64] | None = None
    error: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Shares:
    """The share of an output that each group of inputs carries: ``values`` (events, groups).

    Other fields as in `Explained`; ``names``: of the groups.
    """

    values: NDArray[np.float64]
    names: tuple[str, ...]
    output: str
    method: str
    baseline: Baseline
    answers: NDArray[np.float64]
    without: NDArray[np.float64]
    error: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.values)


def as_baseline(baseline: Any, inputs: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The baseline as one event (*shape), and the inputs in a dtype that holds both exactly.

    Integers stay integers, so that images of bits stay small. Raises `InputError` for a baseline
    of another shape, NaN or infinity.
    """
    shape = inputs.shape[1:]
    given = np.asarray(baseline)
    if given.dtype.kind not in "buif" or (given.ndim and given.shape != shape):
        raise InputError(
            f"A baseline of shape {given.shape} and dtype {given.dtype} is none of an event "
            f"{shape}.",
            "Give one number, or one for each number of the input.",
        )
    if not np.isfinite(given).all():
        raise InputError("The baseline holds NaN or infinity.", "Give finite numbers.")
    narrow = given.astype(inputs.dtype)
    if (narrow == given).all():
        return np.broadcast_to(narrow, shape), inputs
    return np.broadcast_to(given.astype(np.float32), shape), inputs.astype(np.float32)
