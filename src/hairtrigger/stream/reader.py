"""A thread that reads a source ahead into a bounded queue.

A source that can wait is slowed down by a full queue. One that cannot (``lossy``) is read on, and
whole blocks that find no place are dropped and counted, so that what is read stays what is new.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from hairtrigger.stream.block import SourceBlock
from hairtrigger.stream.source import Source

POLL_S = 0.05
JOIN_S = 10.0


@dataclass(frozen=True)
class Arrived:
    """A block, and when it was there (`time.perf_counter`)."""

    block: SourceBlock
    at: float


class Reader:
    """Blocks of a source, read ahead. Use it as a context manager and iterate once; an error of the
    source is raised where its block would have come."""

    def __init__(
        self, source: Source, *, skip: int = 0, depth: int = 16, lossy: bool = False
    ) -> None:
        self._source, self._skip, self._lossy = source, skip, lossy
        self.depth = depth
        self.dropped_blocks = 0
        self.dropped_ticks = 0
        self.waited_s = 0.0
        """How long the source was made to wait."""
        self._lost: deque[NDArray[Any]] = deque()
        self._queue: queue.Queue[Any] = queue.Queue(maxsize=depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="stream reader", daemon=True)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._source.stop()
        self._thread.join(timeout=JOIN_S)

    @property
    def filled(self) -> int:
        """Blocks that wait."""
        return self._queue.qsize()

    def lost_events(self) -> list[NDArray[Any]]:
        """Injected events of blocks that were dropped since this was last called."""
        return [self._lost.popleft() for _ in range(len(self._lost))]

    def __iter__(self) -> Iterator[Arrived | None]:
        """Blocks in order, and None where for a moment there is none."""
        while True:
            try:
                item = self._queue.get(timeout=POLL_S)
            except queue.Empty:
                yield None
                continue
            if isinstance(item, Arrived):
                yield item
            elif item is None:
                return
            else:
                raise item

    def _read(self) -> None:
        end: BaseException | None = None
        try:
            for block in self._source.blocks(self._skip):
                if self._stop.is_set():
                    return
                self._put(Arrived(block, time.perf_counter()))
        except BaseException as error:  # told to whoever iterates
            end = error
        self._lossy = False
        self._put(end)

    def _put(self, item: Any) -> None:
        if self._lossy:
            try:
                self._queue.put_nowait(item)
            except queue.Full:
                self.dropped_blocks += 1
                self.dropped_ticks += len(item.block.samples)
                if len(item.block.events):
                    self._lost.append(item.block.events)
            return
        start = time.perf_counter()
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=POLL_S)
                break
            except queue.Full:
                continue
        self.waited_s += time.perf_counter() - start
