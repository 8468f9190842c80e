"""Groups of inputs that are explained together: stations, planes, features, windows of strips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError


@dataclass(frozen=True)
class Groups:
    """``labels``: the group's number of each input number, an integer array of an event's shape;
    ``names`` of the groups. Raises `InputError` where they do not fit."""

    labels: NDArray[np.integer[Any]]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.labels.dtype.kind not in "iu" or not self.labels.size:
            raise InputError(
                f"Labels of groups have dtype {self.labels.dtype} and {self.labels.size} numbers.",
                "Give one whole number for each number of an event.",
            )
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= len(self.names):
            raise InputError(
                f"Labels go from {low} to {high} for {len(self.names)} names of groups.",
                "Number the groups from 0, one name each.",
            )

    def __len__(self) -> int:
        return len(self.names)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise `InputError` unless the groups are those of events of that shape."""
        if self.labels.shape != shape:
            raise InputError(
                f"Groups of shape {self.labels.shape} do not fit events of shape {shape}.",
                "Make them for the model's input.",
            )


def by_axis(shape: tuple[int, ...], axis: int, names: Sequence[str]) -> Groups:
    """A group for each name: neighbours of equal name along ``axis``, and names that come again,
    are one group. ``names``: one for each place along the axis (rows of layers, features)."""
    if not 0 <= axis < len(shape) or len(names) != shape[axis]:
        raise InputError(
            f"{len(names)} names for axis {axis} of events of shape {shape}.",
            "Give one for each place along the axis.",
        )
    distinct = tuple(dict.fromkeys(names))
    numbers = np.array([distinct.index(name) for name in names])
    spread = numbers.reshape([-1 if n == axis else 1 for n in range(len(shape))])
    return Groups(np.broadcast_to(spread, shape).copy(), distinct)


def by_windows(shape: tuple[int, ...], axis: int, width: int, name: str = "strips") -> Groups:
    """Windows of ``width`` places along ``axis``: strips, wires or ticks in blocks."""
    if not 0 <= axis < len(shape) or width < 1:
        raise InputError(
            f"Windows of {width} along axis {axis} of events of shape {shape}.",
            "Give an axis of the event and a width from 1 on.",
        )
    ends = [min(start + width, shape[axis]) for start in range(0, shape[axis], width)]
    titles = [f"{name} {n * width} to {end - 1}" for n, end in enumerate(ends)]
    return by_axis(shape, axis, [titles[place // width] for place in range(shape[axis])])
