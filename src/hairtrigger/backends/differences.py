"""How far an artifact that is not exact lies from the Graph, in LSB of each output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.fixed import IntArray
from hairtrigger.graph.graph import Graph


@dataclass(frozen=True)
class Difference:
    """One output against the emulator: ``numbers`` compared, how many ``differ``, and the
    ``largest`` and ``mean`` size of a difference, in LSB of the output's type."""

    output: str
    numbers: int
    differ: int
    largest: float
    mean: float

    @property
    def same(self) -> bool:
        """Are all numbers equal?"""
        return self.differ == 0

    def __str__(self) -> str:
        if self.same:
            return f"{self.output}: all {self.numbers:,} numbers equal"
        return (
            f"{self.output}: {self.differ:,} of {self.numbers:,} numbers differ, by up to "
            f"{self.largest:.4g} LSB, {self.mean:.4g} LSB on average"
        )


def differences(
    graph: Graph, expected: Sequence[IntArray], found: Sequence[NDArray[Any]]
) -> tuple[Difference, ...]:
    """Numbers that an artifact ``found``, in units of each output's LSB and not rounded, against
    the codes ``expected``: arrays (events, *shape). Raises `InputError` where shapes differ, and
    for NaN."""
    result: list[Difference] = []
    for name, want, got in zip(graph.output_names, expected, found, strict=True):
        if want.shape != got.shape:
            raise InputError(f"Output {name!r} has shape {got.shape}, not {want.shape}.")
        size = np.abs(got.astype(np.float64) - want)
        if np.isnan(size).any():
            raise InputError(f"Output {name!r} holds NaN.", "The artifact is broken.")
        differ = int((size > 0).sum())
        result.append(
            Difference(
                name,
                size.size,
                differ,
                float(size.max(initial=0)),
                float(size.mean()) if size.size else 0.0,
            )
        )
    return tuple(result)
