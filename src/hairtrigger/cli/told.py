"""How commands speak: errors without tracebacks, exit codes, progress, the main numbers."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hairtrigger.errors import HairtriggerError, InputError

if TYPE_CHECKING:
    from hairtrigger.progress import Reporter
    from hairtrigger.runs import Report
    from hairtrigger.runs.baseline import BaselineRun
    from hairtrigger.runs.compare import Comparison
    from hairtrigger.runs.sweep import Swept

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes after Ctrl-C and SIGTERM, as shells have them."""


class _Terminated(BaseException):
    pass


@contextmanager
def told(debug: bool, then: str = "") -> Generator[None]:
    """Errors that are meant for people, without a traceback, and their exit codes.

    SIGTERM, by which batch systems end a job, is met as Ctrl-C is: programs that were started are
    ended too.
    """
    try:
        with _terminable():
            yield
    except HairtriggerError as error:
        if debug:
            raise
        print(f"Error: {error}", file=sys.stderr)
        raise typer.Exit(2 if isinstance(error, InputError) else 1) from None
    except KeyboardInterrupt:
        print("\nInterrupted. " + then, file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    except _Terminated:
        print("\nEnded by SIGTERM. " + then, file=sys.stderr)
        raise typer.Exit(TERMINATED) from None


@contextmanager
def _terminable() -> Generator[None]:
    """Raise `_Terminated` on SIGTERM, unless somebody else waits for it or threads forbid it."""

    def end(number: int, frame: object) -> None:
        raise _Terminated

    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def command() -> str:
    import shlex

    return shlex.join(["hairtrigger", *sys.argv[1:]])


def again() -> str:
    return f"Finished stages are kept; to go on: {command()}"


@contextmanager
def reporter() -> Generator[Reporter]:
    from rich.console import Console

    from hairtrigger.progress import Bars, Lines

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines()
        return
    with Bars(console) as bars:
        yield bars


def show(made: Report) -> None:
    """The main numbers, and where the page is."""
    from rich.console import Console

    from hairtrigger.report.page import headlines

    console = Console(highlight=False, soft_wrap=True)
    for line in headlines(made.summary):
        console.print(f"  {line.value:>18}  {line.what}", markup=False)
    console.print(f"Report: {made.page}", markup=False)


def show_sweep(made: Swept, folder: Path) -> None:
    """The trials of a sweep, and where the figure is."""
    from rich.console import Console
    from rich.table import Table

    from hairtrigger.report.page import estimate

    table = Table("trial", made.score, "LUT", "ns", "", box=None)
    for trial in made.trials:
        chip, score = trial.point.chip, trial.point.scores[made.score]
        if chip is not None:
            mark = "beaten by none" if trial.number in made.best else ""
            numbers = f"{chip.lut:,}", f"{chip.latency_ns:.5g}"
            table.add_row(f"{trial.number}", estimate(score), *numbers, mark)
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(f"Score against LUT: {folder / 'sweep.svg'}", markup=False)


def show_baseline(made: BaselineRun) -> None:
    """The figures of a baseline, and its chip."""
    from rich.console import Console

    from hairtrigger.report.page import estimate

    console = Console(highlight=False, soft_wrap=True)
    for key, value in made.figures.scores.items():
        console.print(f"  {key:>12}  {estimate(value)}", markup=False)
    if made.chip is not None:
        console.print(f"  {made.chip.lut:,} LUT, {made.chip.latency_ns:.5g} ns", markup=False)


def show_comparison(made: Comparison, folder: Path) -> None:
    """The ways of a comparison, and where the figure is."""
    from rich.console import Console
    from rich.table import Table

    from hairtrigger.runs.compare import spread_text

    keys = list(made.entries[0].points[0].scores)
    table = Table("way", *keys, "LUT", box=None)
    for entry in made.entries:
        cells = [spread_text(entry.figures.get(key)) for key in keys]
        chips = [f"{p.chip.lut:,}" for p in entry.points if p.chip is not None]
        table.add_row(entry.label, *cells, chips[0] if chips else "")
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(f"Figure: {folder / 'compare.svg'}", markup=False)
