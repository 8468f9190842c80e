"""A block of a stream of one plane, as sources give it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors.lartpc_stream import EVENT_DTYPE

NO_EVENTS: NDArray[Any] = np.zeros(0, EVENT_DTYPE)


@dataclass(frozen=True)
class SourceBlock:
    """Consecutive ticks: ``samples`` uint16 (ticks, wires), the first at ``timestamp``.

    ``missing``: None, or bool of their shape; ``events``: known to start in it, of `EVENT_DTYPE`.
    """

    timestamp: int
    samples: NDArray[np.uint16]
    missing: NDArray[np.bool_] | None = None
    events: NDArray[Any] = field(default_factory=lambda: NO_EVENTS)
