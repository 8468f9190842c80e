"""What is counted of a stream while it runs: images, decisions, injected events, latencies."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors.lartpc_config import CLASSES
from hairtrigger.metrics import fraction
from hairtrigger.stream.block import NO_EVENTS
from hairtrigger.stream.chain import Images

VISIBLE_MEV = 10.0
"""Injected events with so much visible energy make the efficiency."""
REACH = 1 << 14
"""Ticks by which an event may begin before its vertex arrives: more than a drift."""
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


@dataclass
class Counts:
    """Counted over all sessions of a run."""

    images: int = 0
    gated: int = 0
    kept: int = 0
    ticks: int = 0
    missing: int = 0
    dropped_blocks: int = 0
    dropped_ticks: int = 0
    events: dict[str, list[int]] = field(default_factory=dict)
    """Of each class of injected events, found and all; "visible": those above VISIBLE_MEV."""

    def add(self, images: Images) -> None:
        self.images += len(images)
        self.gated += int(images.gated.sum())
        self.kept += int(images.keep.sum())

    def add_events(self, events: NDArray[Any], found: NDArray[np.bool_]) -> None:
        names = np.array(CLASSES)[events["kind"]]
        for name in (*np.unique(names).tolist(), "visible"):
            which = names == name if name != "visible" else events["visible_mev"] >= VISIBLE_MEV
            if which.any():
                pair = self.events.setdefault(name, [0, 0])
                pair[0] += int(found[which].sum())
                pair[1] += int(which.sum())

    def efficiencies(self) -> dict[str, dict[str, float | int]]:
        """Share of injected events that were found, with their Wilson intervals."""
        made = {name: fraction(*pair) for name, pair in self.events.items()}
        return {name: {**asdict(found), "value": found.value} for name, found in made.items()}


class Injected:
    """Matches injected events with kept images.

    An event is found where an image that its visible deposits reach was kept. It is decided when
    all of those images are.
    """

    def __init__(self, ticks: int, waiting: NDArray[Any] | None = None) -> None:
        self._ticks = ticks
        self.waiting = NO_EVENTS if waiting is None else waiting
        self._kept = np.zeros(0, np.int64)

    def feed(
        self, events: NDArray[Any], kept: NDArray[np.int64], next_image: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Events decided now, and which of them were found. ``kept``: first ticks of images newly
        kept, ``next_image`` of the first that is not decided, all in ticks of the stream."""
        if len(events):
            self.waiting = np.concatenate([self.waiting, events])
        if len(kept):
            self._kept = np.concatenate([self._kept, kept])
        ready = self.waiting["last_tick"] < next_image
        done = self.waiting[ready]
        if ready.any():
            self.waiting = self.waiting[~ready]
        first = np.searchsorted(self._kept, done["first_tick"] - self._ticks, side="right")
        stop = np.searchsorted(self._kept, done["last_tick"], side="right")
        if len(self._kept):
            oldest = self.waiting["first_tick"].min(initial=next_image - REACH)
            self._kept = self._kept[self._kept >= oldest - self._ticks]
        return done, stop > first


class Latencies:
    """Times as a histogram of bins 1 % wide, from 0.1 us to 1000 s, in fixed memory."""

    _LOW, _STEP, _BINS = 1e-7, np.log(1.01), 2314

    def __init__(self) -> None:
        self._counts = np.zeros(self._BINS, np.int64)
        self.most = 0.0

    def add(self, seconds: float, images: int) -> None:
        place = int(np.log(max(seconds, self._LOW) / self._LOW) / self._STEP)
        self._counts[min(place, self._BINS - 1)] += images
        self.most = max(self.most, seconds if images else 0.0)

    def quantiles(self) -> dict[str, float | None]:
        """Seconds below which so many images were decided, to 1 %; None of no images."""
        total = int(self._counts.sum())
        if not total:
            return dict.fromkeys(QUANTILES)
        sums = np.cumsum(self._counts)
        made: dict[str, float | None] = {}
        for name, share in QUANTILES.items():
            place = int(np.searchsorted(sums, share * total, side="left"))
            made[name] = float(self._LOW * np.exp((place + 1) * self._STEP))
        return made
