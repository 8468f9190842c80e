"""Whether the timestamps of frames can be believed: each against its neighbours and its counter.

A timestamp with a wrong bit would put samples in a wrong place, or make all that follows look late.
So a frame is believed when it is near the frame before it, its ticks have the phase of its link,
and its own counter (COLDATA's conversions in WIB1, the sequence number in WIBEth) moved with the
timestamp. One that is not waits for the next: if that agrees with it, the clock did jump.
"""

import numpy as np

from hairtrigger.detectors.wib import FrameFormat
from hairtrigger.detectors.wib_faults import Faults
from hairtrigger.detectors.wib_scan import Batch, join, jump_counts

COPIES = 8
"""How many frames of one link and time wait together; a link may send the same for ever."""


class Clock:
    """The clock of one source of frames; ``counters`` says whether their counters are looked at.

    `believed` takes batch after batch, `finish` tells the end. Frames that wait for the next are
    kept here in between.
    """

    def __init__(self, format: FrameFormat, source: str, faults: Faults, counters: bool) -> None:
        self.format = format
        self.source = source
        self.faults = faults
        self.counters = counters
        self._limit = jump_counts(format)
        self._last: int | None = None
        self._phases: dict[int, int] = {}
        self._doubted: set[int] = set()  # links of which a frame was not believed
        self._waiting = join([], format)

    def believed(self, batch: Batch) -> list[Batch]:
        """The frames to be believed, in order. A part after the first begins at a backward jump."""
        batch = join([self._waiting, batch], self.format)
        self._waiting = batch.take(slice(0, 0))
        if not len(batch):
            return [batch]
        stamps = batch.headers["timestamp"]
        links = batch.headers["link"]
        phases = self._phase(batch)
        if self._all_expected(stamps, links, phases):
            self._last = int(stamps[-1])
            return [batch]
        return self._one_by_one(batch, stamps.tolist(), links.tolist(), phases.tolist())

    def finish(self) -> Batch:
        """What still waits when the source has ended: believed only if nothing spoke against it."""
        batch = self._waiting
        self._waiting = batch.take(slice(0, 0))
        links = batch.headers["link"].tolist()
        stamps = batch.headers["timestamp"].tolist()
        good = np.zeros(len(batch), bool)
        for n, (link, stamp) in enumerate(zip(links, stamps, strict=True)):
            near = self._last is None or abs(stamp - self._last) <= self._limit
            good[n] = near and link not in self._phases and link not in self._doubted
            if good[n]:
                self._last = stamp
        self._reject(batch.offsets[~good])
        return batch.take(good)

    def _phase(self, batch: Batch) -> np.ndarray:
        stamps = batch.headers["timestamp"]
        counts = self.format.counts
        phase = stamps % counts
        if self.counters:
            moved = (stamps // counts - batch.headers["counter"]) % self.format.counter
            phase = phase * self.format.counter + moved
        return phase

    def _all_expected(self, stamps: np.ndarray, links: np.ndarray, phases: np.ndarray) -> bool:
        if self._last is None:
            return False
        steps = np.diff(stamps, prepend=np.int64(self._last))
        if ((steps > self._limit) | (steps < -self._limit)).any():
            return False
        for link in np.unique(links).tolist():
            phase = self._phases.get(link)
            if phase is None or (phases[links == link] != phase).any():
                return False
        return True

    def _one_by_one(
        self, batch: Batch, stamps: list[int], links: list[int], phases: list[int]
    ) -> list[Batch]:
        parts: list[list[int]] = [[]]
        # Those that wait, and copies of them, which cannot speak for them: far from the frame
        # before, and not in the phase of their link.
        far: list[int] = []
        odd: dict[int, list[int]] = {}
        rejected: list[int] = []
        for n, (stamp, link, phase) in enumerate(zip(stamps, links, phases, strict=True)):
            if self._last is None or abs(stamp - self._last) > self._limit:
                if far and (stamp, link) == (stamps[far[0]], links[far[0]]):
                    (far if len(far) < COPIES else rejected).append(n)
                    continue
                if not far or abs(stamp - stamps[far[0]]) > self._limit:
                    rejected.extend(far)
                    far = [n]
                    continue
                # Two frames agree: the clock jumped, or the source has just begun.
                rejected.extend(m for waiting in odd.values() for m in waiting)
                odd = {links[far[0]]: far}
                if self._last is not None:
                    self.faults.add_at("jump", batch.offsets[far[:1]], self.source)
                    if stamps[far[0]] < self._last:
                        parts.append([])
                self._phases.clear()
                far = []
            rejected.extend(far)
            far = []
            self._last = stamp
            known = self._phases.get(link)
            waiting = odd.get(link, [])
            if phase == known:
                rejected.extend(odd.pop(link, []))
                parts[-1].append(n)
            elif waiting and phases[waiting[0]] == phase:
                if stamps[waiting[0]] == stamp:
                    (waiting if len(waiting) < COPIES else rejected).append(n)
                    continue
                if known is not None:
                    self.faults.add_at("new phase", batch.offsets[waiting[:1]], self.source)
                self._phases[link] = phase
                parts[-1].extend([*odd.pop(link), n])
            else:
                rejected.extend(waiting)
                odd[link] = [n]
        self._reject(batch.offsets[sorted(rejected)])
        self._doubted.update(links[n] for n in rejected)
        still = sorted([*far, *(n for waiting in odd.values() for n in waiting)])
        self._waiting = batch.take(np.array(still, dtype=np.int64))
        return [batch.take(np.array(part, dtype=np.int64)) for part in parts]

    def _reject(self, offsets: np.ndarray) -> None:
        self.faults.add_at("wrong time", offsets, self.source)


def counters_run(format: FrameFormat, headers: np.ndarray) -> bool:
    """Whether the counters of these frames moved with their timestamps: in most pairs of a link."""
    agree = total = 0
    for link in np.unique(headers["link"]):
        own = headers[headers["link"] == link]
        moved = (own["timestamp"] // format.counts - own["counter"]) % format.counter
        agree += int((np.diff(moved) == 0).sum())
        total += max(len(own) - 1, 0)
    return total > 0 and agree * 2 > total
