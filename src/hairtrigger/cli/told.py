"""How commands speak: errors without tracebacks, exit codes, progress, the main numbers."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from hairtrigger.errors import HairtriggerError, InputError

if TYPE_CHECKING:
    from hairtrigger.progress import Reporter
    from hairtrigger.runs import Report

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


@contextmanager
def told(debug: bool, then: str = "") -> Generator[None]:
    """Errors that are meant for people, without a traceback, and their exit codes."""
    try:
        yield
    except HairtriggerError as error:
        if debug:
            raise
        print(f"Error: {error}", file=sys.stderr)
        raise typer.Exit(2 if isinstance(error, InputError) else 1) from None
    except KeyboardInterrupt:
        print("\nInterrupted. " + then, file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


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
