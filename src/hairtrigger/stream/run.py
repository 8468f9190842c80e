"""Runs the supernova trigger over a source: reader, chain, windows, journal, figures.

done = run_stream("run.hdf5", read_trigger(folder), out=Path("kept"))
done.summary["images"], done.folder
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger import __version__
from hairtrigger.errors import InputError, StorageError
from hairtrigger.stream.chain import Chain, ChainState, Images
from hairtrigger.stream.figures import Counts, Injected, Latencies
from hairtrigger.stream.journal import Journal
from hairtrigger.stream.reader import Arrived, Reader
from hairtrigger.stream.source import Source, open_source
from hairtrigger.stream.windows import RecentState, Windows, window_dtype
from hairtrigger.stream.writer import Writer
from hairtrigger.studies.supernova_front import FrontState
from hairtrigger.studies.supernova_trigger import Trigger

CHECKPOINT_S = 1.0
SHOW_S = 0.25
DEPTH = 16
"""Blocks of the queue."""


@dataclass(frozen=True)
class Streamed:
    """A stream that was run: its ``summary``, and the ``folder`` of the run."""

    summary: dict[str, Any]
    folder: Path


def digest(trigger: Trigger) -> str:
    """The identity of a trigger: SHA-256 of its front, cut, gate and network."""
    front = json.dumps(dataclasses.asdict(trigger.front), sort_keys=True)
    text = f"{front}\n{trigger.cut}\n{trigger.gate}\n{trigger.network}"
    return hashlib.sha256(text.encode()).hexdigest()


def run_stream(
    source: str | Source,
    trigger: Trigger,
    out: Path,
    *,
    plane: int = 0,
    depth: int = DEPTH,
    lossy: bool = False,
    seconds: float | None = None,
    show: Callable[[dict[str, Any]], None] | None = None,
    options: dict[str, Any] | None = None,
    checkpoint_s: float = CHECKPOINT_S,
) -> Streamed:
    """Run over all of a source, or for so many ``seconds``; a run in ``out`` is gone on with.

    ``source``: what `open_source` opens with ``options``, or a `Source`; ``depth``: blocks of the
    queue; ``lossy``: drop blocks that find no place there; ``show`` is told the figures four times
    a second. When interrupted, all that was decided is on disk. Raises what source, trigger,
    journal and compiler raise.
    """
    if depth < 1:
        raise InputError(f"A queue of {depth} blocks.", "Give 1 or more.")
    if isinstance(source, str):
        opened = open_source(source, trigger.front, plane=plane, **(options or {}))
    else:
        opened = source
    try:
        run = _Run(opened, trigger, out, plane, depth, lossy, show, checkpoint_s)
        return run.go(seconds)
    finally:
        opened.close()


class _Run:
    def __init__(
        self,
        source: Source,
        trigger: Trigger,
        out: Path,
        plane: int,
        depth: int,
        lossy: bool,
        show: Callable[[dict[str, Any]], None] | None,
        checkpoint_s: float,
    ) -> None:
        self.source, self.trigger, self.out = source, trigger, out
        self.plane, self.depth, self.lossy, self.show = plane, depth, lossy, show
        self.every = checkpoint_s
        identity = {
            "trigger": digest(trigger),
            "source": source.name,
            "plane": plane,
            "counts_per_tick": source.counts_per_tick,
        }
        self.about = {
            "front": dataclasses.asdict(trigger.front),
            "cut": trigger.cut,
            "gate": trigger.gate,
            "image_ticks": trigger.ticks,
            "versions": _versions(),
        }
        self.journal = Journal(out, identity, self.about, window_dtype(trigger))
        self.latencies = Latencies()
        self.session = Counts()  # this session's, for rates
        try:
            self._resume()
        except BaseException:
            self.journal.close()
            raise

    def _resume(self) -> None:
        found = self.journal.position()
        trigger, source = self.trigger, self.source
        self.counts = Counts()
        self.origin: int | None = None
        self.faults_before: dict[str, int] = {}
        chain = windows = waiting = None
        if found is not None:
            meta, arrays = found
            self.counts = Counts(**meta["counts"])
            self.origin, self.faults_before = meta["origin"], meta["faults"]
            state = FrontState(arrays["pedestal"], arrays["history"], arrays["sums"], meta["phase"])
            chain = ChainState(
                state,
                arrays["rows"],
                meta["tick"],
                meta["timestamp"],
                meta["lost"],
                meta["segment"],
            )
            windows = RecentState(
                meta["recent"], arrays["recent"], meta["recent_segment"], arrays["pending"]
            )
            waiting = arrays["events"]
        self.skip = chain.tick if chain is not None and source.replayable else 0
        self.chain = Chain(trigger, counts_per_tick=source.counts_per_tick, state=chain)
        self.windows = Windows(trigger, self.plane, windows)
        self.injected = Injected(trigger.ticks, waiting)
        self.resumed = found is not None
        self.begin_tick = self.chain.tick

    def go(self, seconds: float | None) -> Streamed:
        self.started = time.perf_counter()
        self.busy = 0.0
        self.checked = self.shown = self.started
        self.whole = True  # chain, windows and journal are at the same block
        self.writer = Writer(self.journal)
        self.reader = Reader(self.source, skip=self.skip, depth=self.depth, lossy=self.lossy)
        try:
            with self.reader:
                try:
                    self._read(seconds)
                except BaseException:
                    if self.whole and not self.writer.failed:
                        self._checkpoint()
                    raise
            figures = self.figures()
            if self.show is not None:
                self.show(figures)
            return Streamed(figures, self.out)
        finally:
            self.writer.stop()
            self.journal.close()

    def _read(self, seconds: float | None) -> None:
        for item in self.reader:
            now = time.perf_counter()
            if item is not None:
                self.whole = False
                self._block(item, now)
                self.whole = True
            self._now_and_then(now)
            if seconds is not None and now - self.started >= seconds:
                self._checkpoint()
                self.writer.flush()
                return
        self.whole = False
        images = self.chain.finish()
        self._take(images, self.windows.finish(images), self.injected.waiting[:0])
        self.whole = True
        self._checkpoint()
        self.writer.seal()
        self.writer.flush()

    def _block(self, arrived: Arrived, now: float) -> None:
        chain, block = self.chain, arrived.block
        if self.origin is None:
            self.origin = int(block.timestamp)
        elif self.skip and self.source.origin != self.origin:
            raise StorageError(
                f"{self.source.name} begins at timestamp {self.source.origin}, the run at "
                f"{self.origin}",
                "give the source of the run, or another folder",
            )
        images = chain.feed(block.timestamp, block.samples)
        done = time.perf_counter()
        self.busy += done - now
        self.latencies.add(done - arrived.at, len(images))
        kept = self.windows.feed(
            block.samples, block.missing, chain.segment, images, chain.next_image
        )
        self._take(images, kept, np.concatenate([block.events, *self.reader.lost_events()]))
        for counts in (self.counts, self.session):
            counts.ticks += len(block.samples)
            if block.missing is not None:
                counts.missing += int(block.missing.sum())

    def _take(self, images: Images, kept: list[NDArray[Any]], events: NDArray[Any]) -> None:
        if kept:
            self.writer.append(kept)
        step = self.source.counts_per_tick  # events are counted in ticks of the stream
        decided, found = self.injected.feed(
            events, images.timestamps[images.keep] // step, self.chain.next_timestamp // step
        )
        for counts in (self.counts, self.session):
            counts.add(images)
            if len(decided):
                counts.add_events(decided, found)

    def _now_and_then(self, now: float) -> None:
        if now - self.checked >= self.every:
            self._checkpoint()
            self.checked = time.perf_counter()
        if self.show is not None and now - self.shown >= SHOW_S:
            self.show(self.figures())
            self.shown = now

    def _checkpoint(self) -> None:
        state = self.chain.state()
        if state is None:
            return  # nothing was decided yet
        recent = self.windows.state(self.chain.next_image)
        counts = dataclasses.asdict(self.counts)
        counts["dropped_blocks"] += self.reader.dropped_blocks
        counts["dropped_ticks"] += self.reader.dropped_ticks
        meta = {
            "counts": counts,
            "origin": self.origin,
            "faults": self._faults(),
            "phase": state.front.phase,
            "tick": state.tick,
            "timestamp": state.timestamp,
            "lost": state.lost,
            "segment": state.segment,
            "recent": recent.first,
            "recent_segment": recent.segment,
        }
        arrays = {
            "pedestal": state.front.pedestal,
            "history": state.front.history,
            "sums": state.front.sums,
            "rows": state.rows,
            "recent": recent.samples,
            "pending": recent.pending,
            "events": self.injected.waiting,
        }
        self.writer.checkpoint(meta, arrays)

    def _faults(self) -> dict[str, int]:
        now = self.source.faults()
        if self.skip:
            return now  # what was skipped is counted again
        names = {*now, *self.faults_before}
        return {n: now.get(n, 0) + self.faults_before.get(n, 0) for n in sorted(names)}

    def figures(self) -> dict[str, Any]:
        """Everything that is known now, as JSON values: the summary."""
        wall = time.perf_counter() - self.started
        counts, session, trigger = self.counts, self.session, self.trigger
        image_bytes = trigger.ticks * trigger.front.wires * 2
        stream_s = session.ticks * self.source.tick_s
        # Raw samples that came in over those that are written: three images a window.
        windows = self.journal.windows
        reduction = counts.images / (3 * windows) if windows else None
        return {
            "source": self.source.name,
            "plane": self.plane,
            "trigger": digest(trigger),
            "versions": self.about["versions"],
            "resumed": self.resumed,
            "images": counts.images,
            "gated": counts.gated,
            "kept": counts.kept,
            "windows": windows,
            "ticks": counts.ticks,
            "timestamps": [self.origin, self.chain.timestamp] if self.origin is not None else None,
            "lost_ticks": self.chain.lost,
            "missing_samples": counts.missing,
            "dropped_blocks": counts.dropped_blocks + self.reader.dropped_blocks,
            "dropped_ticks": counts.dropped_ticks + self.reader.dropped_ticks,
            "faults": self._faults(),
            "efficiency": counts.efficiencies(),
            "reduction": reduction,
            "session": {
                "images": session.images,
                "seconds": wall,
                "busy_seconds": self.busy,
                "images_per_second": session.images / wall if wall else None,
                "megabytes_per_second": session.images * image_bytes / 1e6 / wall if wall else None,
                "microseconds_an_image": 1e6 * self.busy / session.images
                if session.images
                else None,
                "real_time_factor": stream_s / wall if wall else None,
                "latency_s": self.latencies.quantiles(),
                "latency_most_s": self.latencies.most,
                "queue": self.reader.filled,
                "queue_depth": self.depth,
                "source_waited_s": self.reader.waited_s,
            },
        }


def _versions() -> dict[str, str]:
    names = ("numpy", "h5py")
    return {
        "hairtrigger": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write a summary as JSON. Raises `StorageError`."""
    try:
        path.write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}", "give another file"
        ) from error
