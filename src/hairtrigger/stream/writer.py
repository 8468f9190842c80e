"""A thread that writes for a journal, so that the trigger does not wait for the disk.

Jobs are done in their order. Where the disk is slower than the trigger for long, the queue fills
and the trigger waits after all: nothing is left out. An error is raised by the next call.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from hairtrigger.stream.journal import Journal

JOBS = 64
"""Jobs that wait at most: positions, and the windows of a block each."""


class Writer:
    """Writes for ``journal`` from a thread of its own, until `stop`."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._jobs: queue.Queue[Callable[[], object] | None] = queue.Queue(maxsize=JOBS)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="stream writer", daemon=True)
        self._thread.start()

    @property
    def failed(self) -> bool:
        """Whether a job failed; nothing is written any more then."""
        return self._error is not None

    def append(self, windows: Sequence[NDArray[Any]]) -> None:
        """See `Journal.append`; the windows must not be changed any more."""
        self._put(lambda: self._journal.append(windows))

    def checkpoint(self, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """See `Journal.checkpoint`."""
        self._put(lambda: self._journal.checkpoint(meta, arrays))

    def seal(self) -> None:
        """See `Journal.seal`; the last one of a run."""
        self._put(lambda: self._journal.seal(last=True))

    def flush(self) -> None:
        """Wait until all is written. Raises what a job raised."""
        self._jobs.join()
        self._raise()

    def stop(self) -> None:
        """Do what waits, and end. Raises nothing."""
        self._jobs.put(None)
        self._thread.join()

    def _put(self, job: Callable[[], object]) -> None:
        self._raise()
        self._jobs.put(job)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                if job is None:
                    return
                if self._error is None:
                    job()
            except BaseException as error:  # told to whoever calls next
                self._error = error
            finally:
                self._jobs.task_done()
