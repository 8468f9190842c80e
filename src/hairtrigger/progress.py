"""Tells a person what runs: bars on a terminal, plain lines elsewhere, nothing in a library."""

import sys
import time
from typing import Any, Protocol, TextIO

LINE_EVERY_S = 15.0
"""Plain lines about one stage come at most this often."""


class Reporter(Protocol):
    """What the runner of stages tells. Stages come one after the other."""

    def start(self, name: str, title: str, number: int, of: int) -> None:
        """Stage ``number`` of ``of`` begins."""
        ...

    def advance(self, done: int, total: int) -> None:
        """The stage that runs has done so much."""
        ...

    def note(self, text: str) -> None:
        """A remark about the stage that runs."""
        ...

    def finish(self, seconds: float, reused: bool) -> None:
        """The stage is there, made now or ``reused``; ``seconds`` is what it took when made."""
        ...


class Silent:
    """Tells nothing."""

    def start(self, name: str, title: str, number: int, of: int) -> None: ...

    def advance(self, done: int, total: int) -> None: ...

    def note(self, text: str) -> None: ...

    def finish(self, seconds: float, reused: bool) -> None: ...


class Lines:
    """Plain lines, for logs."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._head = ""
        self._last = 0.0

    def start(self, name: str, title: str, number: int, of: int) -> None:
        self._head = f"[{number}/{of}] {name}"
        self._last = time.monotonic()
        self._say(title)

    def advance(self, done: int, total: int) -> None:
        now = time.monotonic()
        if total > 0 and now - self._last >= LINE_EVERY_S:
            self._last = now
            self._say(f"{100 * done // total} %")

    def note(self, text: str) -> None:
        self._say(text)

    def finish(self, seconds: float, reused: bool) -> None:
        self._say("unchanged, reused" if reused else f"done in {seconds:.1f} s")

    def _say(self, text: str) -> None:
        print(f"{self._head}: {text}", file=self._stream, flush=True)


class Bars:
    """One bar for each stage, on a terminal. Use it as a context manager."""

    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]:>7}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._task: Any = None

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def start(self, name: str, title: str, number: int, of: int) -> None:
        # Without a total the bar pulses.
        self._task = self._progress.add_task(f"{number:2}/{of} {title}", total=None, state="")

    def advance(self, done: int, total: int) -> None:
        state = f"{100 * done // total} %" if total > 0 else ""
        self._progress.update(self._task, completed=done, total=total or None, state=state)

    def note(self, text: str) -> None:
        self._progress.console.print(text, style="yellow", highlight=False)

    def finish(self, seconds: float, reused: bool) -> None:
        state = "reused" if reused else f"{seconds:.1f} s"
        self._progress.update(self._task, total=1, completed=1, state=state)
        self._progress.stop_task(self._task)
