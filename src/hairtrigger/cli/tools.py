"""Commands about hairtrigger itself: the fuzzer, the tools, the parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hairtrigger.cli.options import Debug
from hairtrigger.cli.told import INTERRUPTED, told


def fuzz(
    minutes: Annotated[
        float, typer.Option("--minutes", help="How long to draw Graphs and check them.")
    ] = 5.0,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            min=0,
            help="Draws the same Graphs again. [default: a new one]",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", help="Where the reproducers of differences go.")
    ] = Path("reproducers"),
    replay: Annotated[
        Path | None,
        typer.Option(
            "--replay",
            help="Check one saved reproducer again, and nothing else.",
            show_default=False,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Try random Graphs in every pass, engine and simulated design: all must give equal integers.

    Ends with code 1 where one does not, and saves the smallest Graph and events that show it.
    """
    with told(debug):
        from rich.console import Console

        from hairtrigger.fuzz import run as fuzzer

        console = Console(stderr=True, highlight=False, soft_wrap=True)
        if replay is not None:
            error = fuzzer.replay(replay)
            print("It holds now." if error is None else f"Still there: {error}")
            raise typer.Exit(int(error is not None))
        drawn = fuzzer.new_seed() if seed is None else seed
        console.print(f"seed {drawn}", markup=False)
        done = fuzzer.fuzz(minutes, drawn, out, say=lambda text: console.print(text, markup=False))
        for line in done.summary():
            print(line)
        if done.findings:
            raise typer.Exit(1)
        if done.interrupted:
            raise typer.Exit(INTERRUPTED)


def doctor(debug: Debug = False) -> None:
    """Try every tool that hairtrigger uses, and say how to get what is missing."""
    with told(debug):
        from rich.console import Console
        from rich.table import Table

        from hairtrigger.tools.doctor import diagnose

        checks = diagnose()
        table = Table("tool", "works", "version", "what it did", "needed for", box=None)
        for check in checks:
            works = "yes" if check.found else ("NO" if check.required else "no")
            table.add_row(check.name, works, check.version, check.detail, check.needed_for)
        console = Console()
        console.print(table)
        missing = [check for check in checks if not check.found]
        for check in missing:
            console.print(f"To get {check.name}: {check.how_to_get}", highlight=False)
        if any(check.required for check in missing):
            raise typer.Exit(1)


def parts() -> None:
    """List the FPGAs that are known, with their resources."""
    from rich.console import Console
    from rich.table import Table

    from hairtrigger.targets import PARTS

    table = Table("part", "family", box=None)
    for column in ("LUT", "FF", "DSP", "BRAM18", "URAM"):
        table.add_column(column, justify="right")
    for part in PARTS:
        numbers = (part.lut, part.ff, part.dsp, part.bram18, part.uram)
        table.add_row(part.name, part.family, *(f"{n:,}" for n in numbers))
    Console().print(table)
