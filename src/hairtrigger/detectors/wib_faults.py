"""What was wrong in a stream of frames: how often each kind of fault, and where first."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

KINDS = {
    "garbage": ("bytes that belong to no frame", "skipped"),
    "corrupt": ("frames with a broken header", "skipped"),
    "unconfirmed": ("frames with no frame or end of data behind them", "skipped"),
    "truncated": ("frames cut short", "skipped"),
    "unknown link": ("frames of a link that the stream does not have", "skipped"),
    "wrong time": ("frames whose timestamp fits neither their link nor their counter", "skipped"),
    "duplicate": ("frames whose ticks were there already", "skipped"),
    "conflict": ("frames that differ from another of their link and time", "both skipped"),
    "late": ("frames that came after their block was given out", "skipped"),
    "out of order": ("frames behind a later one of their link", "put in their place"),
    "flagged": ("frames in which the electronics report an error", "kept"),
    "flagged out": ("frames in which the electronics report an error", "skipped"),
    "new phase": ("links whose ticks or counter moved against the timestamp", "followed"),
    "jump": ("jumps of the clock", "followed"),
    "gap": ("gaps in the ticks of a link", "marked"),
    "missing ticks": ("ticks of a link without a sample", "marked"),
    "fragment": ("fragments of the file that cannot be read", "skipped"),
    "incomplete": ("fragments that say that their data are incomplete", "kept"),
}
"""Each kind of fault, in words, and what was done about it."""

FIRST = 5
"""How many places are kept of each kind."""


@dataclass
class Faults:
    """Faults counted so far: ``counts`` by kind, and the ``first`` places of each.

    A place is text: the byte where the frame begins and its source, or a timestamp. ``kinds`` are
    those of WIB frames, or of another format.
    """

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, list[str]] = field(default_factory=dict)
    kinds: Mapping[str, tuple[str, str]] = field(default_factory=lambda: KINDS, repr=False)

    def __bool__(self) -> bool:
        return any(self.counts.values())

    def __getitem__(self, kind: str) -> int:
        if kind not in self.kinds:
            raise KeyError(kind)
        return self.counts.get(kind, 0)

    def add(self, kind: str, count: int, places: list[str] | None = None) -> None:
        """Count ``count`` more of one of the kinds; of the places, the first are enough."""
        if kind not in self.kinds:
            raise KeyError(kind)
        if count:
            self.counts[kind] = self.counts.get(kind, 0) + int(count)
            kept = self.first.setdefault(kind, [])
            kept.extend((places or [])[: FIRST - len(kept)])

    def add_at(self, kind: str, offsets: np.ndarray, source: str) -> None:
        """Count one more of a kind for each byte offset, int (frames,)."""
        places = [f"byte {offset} of {source}" for offset in offsets[:FIRST].tolist()]
        self.add(kind, len(offsets), places)

    def update(self, other: "Faults") -> None:
        """Add all that another counted."""
        for kind, count in other.counts.items():
            self.add(kind, count, other.first.get(kind))

    def taken(self) -> "Faults":
        """What was counted since this was last called; begins anew at no faults."""
        counts, first = self.counts, self.first
        self.counts, self.first = {}, {}
        return Faults(counts, first, self.kinds)

    def in_words(self) -> str:
        """A line for each kind that occurred: how many, what, what was done, where first."""
        if not self:
            return "no faults"
        lines = []
        for kind, (what, done) in self.kinds.items():
            if self.counts.get(kind):
                line = f"{kind}: {self.counts[kind]} {what}, {done}"
                if self.first.get(kind):
                    line += f"; first at {', '.join(self.first[kind])}"
                lines.append(line)
        return "\n".join(lines)
