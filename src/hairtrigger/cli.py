"""The command line. Heavy packages are imported by what needs them: --help stays quick."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hairtrigger import __version__
from hairtrigger.errors import HairtriggerError, InputError

if TYPE_CHECKING:
    from hairtrigger.progress import Reporter
    from hairtrigger.runs import Report

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

app = typer.Typer(
    help="From detector data to a verified neural-network trigger in an FPGA.",
    epilog="Errors end with code 1, wrong arguments with 2, Ctrl-C with 130.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Debug = Annotated[
    bool, typer.Option("--debug", help="Show the Python traceback of an error.", show_default=False)
]
PartName = Annotated[
    str, typer.Option("--part", help="FPGA, one of those that `hairtrigger parts` lists.")
]
ClockText = Annotated[
    str, typer.Option("--clock", help="Clock of the design: a frequency (320MHz) or period (5ns).")
]
Limit = Annotated[
    str | None,
    typer.Option(
        "--latency",
        help="Latency allowed, such as 400ns: a slower design is an error.",
        show_default=False,
    ),
]
Interval = Annotated[
    str,
    typer.Option(
        "--interval",
        help="From event to event: clocks (8) or a time (25ns). The longer, the smaller the chip.",
    ),
]
Axis = Annotated[
    int | None,
    typer.Option(
        "--axis",
        help="Image axis along which an event enters, if in several words. [default: the longest]",
        show_default=False,
    ),
]


def main() -> None:
    """Entry point of the command ``hairtrigger``."""
    app(prog_name="hairtrigger")


def _version(asked: bool) -> None:
    if asked:
        print(f"hairtrigger {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None: ...


@app.command()
def run(
    study: Annotated[str, typer.Argument(help="Name of the study: muon.")],
    preset: Annotated[
        str, typer.Option("--preset", help="Size of the study: smoke (seconds), demo (minutes).")
    ] = "demo",
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed of simulation, training and verification.")
    ] = 1,
    part: PartName = "xcvu13p",
    clock: ClockText = "320MHz",
    latency: Limit = None,
    interval: Interval = "1",
    axis: Axis = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            help="Where the run goes; one that is there is gone on with. "
            "[default: runs/STUDY-PRESET-SEED]",
            show_default=False,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Run a study: simulate, train, distil, convert, verify, synthesise, report.

    Every stage is kept in the run folder: run again to go on after an interruption, or to repeat
    only what a changed option touches.
    """
    folder = folder or Path("runs") / f"{study}-{preset}-{seed}"
    with _told(debug, _again()):
        from hairtrigger.runs import run_study

        with _reporter() as reporter:
            made = run_study(
                study,
                preset=preset,
                seed=seed,
                part=part,
                clock=clock,
                latency=latency,
                interval=interval,
                axis=axis,
                folder=folder,
                command=_command(),
                reporter=reporter,
            )
        _show(made)


@app.command("compile")
def compile_(
    model: Annotated[Path, typer.Argument(help="Trained HGQ2 model, a .keras file.")],
    part: PartName = "xcvu13p",
    clock: ClockText = "320MHz",
    latency: Limit = None,
    interval: Interval = "1",
    axis: Axis = None,
    pareto: Annotated[
        bool,
        typer.Option(
            "--pareto",
            help="Draw latency against the clock too: pareto.svg, .csv, .json beside the report.",
            show_default=False,
        ),
    ] = False,
    intervals: Annotated[
        str,
        typer.Option("--intervals", help="For --pareto: intervals, with commas between them."),
    ] = "1",
    stream: Annotated[
        bool, typer.Option("--stream", help="Write an AXI4-Stream wrapper too.", show_default=False)
    ] = False,
    events: Annotated[
        Path | None,
        typer.Option(
            "--events",
            help="Events to verify with: a .npy file (events, *shape of the model's input). "
            "Without it random ones.",
            show_default=False,
        ),
    ] = None,
    input_format: Annotated[
        str | None,
        typer.Option(
            "--input-format",
            help="Format of the data, such as s4.3 (signed, 4 integer and 3 fraction bits): needed "
            "where several quantizers of the model read one input.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the random events.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Where the project and the report go. [default: runs/MODEL]",
            show_default=False,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Compile a model of yours: convert, write Verilog, verify bit by bit, synthesise, report."""
    with _told(debug, _again()):
        from hairtrigger.runs import compile_model

        with _reporter() as reporter:
            made = compile_model(
                model,
                part=part,
                clock=clock,
                latency=latency,
                interval=interval,
                axis=axis,
                stream=stream,
                pareto=tuple(intervals.split(",")) if pareto else (),
                events=events,
                input_format=input_format,
                seed=seed,
                folder=out or Path("runs") / model.stem,
                command=_command(),
                reporter=reporter,
            )
        _show(made)
        if pareto:
            _show_curve(made.folder)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    figure: Annotated[
        Path | None,
        typer.Option(
            "--figure",
            help="Also save an event beside the turn-on curve, as .png or .svg.",
            show_default=False,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Write the page of a finished run anew from its summary.json, and show the main numbers."""
    with _told(debug):
        from hairtrigger.runs import render_again

        _show(render_again(folder, figure))


@app.command()
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
    with _told(debug):
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


@app.command()
def doctor(debug: Debug = False) -> None:
    """Try every tool that hairtrigger uses, and say how to get what is missing."""
    with _told(debug):
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


@app.command()
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


@contextmanager
def _told(debug: bool, again: str = "") -> Iterator[None]:
    """Errors that are meant for people, without a traceback, and their exit codes."""
    try:
        yield
    except HairtriggerError as error:
        if debug:
            raise
        print(f"Error: {error}", file=sys.stderr)
        raise typer.Exit(2 if isinstance(error, InputError) else 1) from None
    except KeyboardInterrupt:
        print("\nInterrupted. " + again, file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def _command() -> str:
    import shlex

    return shlex.join(["hairtrigger", *sys.argv[1:]])


def _again() -> str:
    return f"Finished stages are kept; to go on: {_command()}"


@contextmanager
def _reporter() -> Iterator[Reporter]:
    from rich.console import Console

    from hairtrigger.progress import Bars, Lines

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines()
        return
    with Bars(console) as bars:
        yield bars


def _show_curve(folder: Path) -> None:
    """The points of latency against clock."""
    from rich.console import Console
    from rich.table import Table

    from hairtrigger.runs.curve import FILES, efficient, read_points, read_source

    points = read_points(folder)
    best = efficient(points)
    columns = ("MHz (estimate)", "interval", "clocks", "ns", "register bits", "")
    table = Table(*columns, box=None)
    for point in points:
        if point.latency is None:
            numbers = ("", "", "", point.limit)
        else:
            mark = "beaten by none" if point in best else ""
            numbers = (
                f"{point.latency}",
                f"{point.latency_ns:.1f}",
                f"{point.register_bits:,}",
                mark,
            )
        table.add_row(f"{point.clock_mhz:g}", f"{point.interval}", *numbers)
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(f"Clocks: {read_source(folder)}.", markup=False, highlight=False)
    console.print(f"Latency against clock: {folder / FILES[2]}", markup=False)


def _show(made: Report) -> None:
    """The main numbers, and where the page is."""
    from rich.console import Console

    from hairtrigger.report.page import headlines

    console = Console(highlight=False, soft_wrap=True)
    for line in headlines(made.summary):
        console.print(f"  {line.value:>18}  {line.what}", markup=False)
    console.print(f"Report: {made.page}", markup=False)
