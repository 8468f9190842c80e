"""The command line. Heavy packages are imported by what needs them: --help stays quick."""

from __future__ import annotations

from typing import Annotated

import typer

from hairtrigger import __version__
from hairtrigger.cli import hls, runs, tools
from hairtrigger.cli.bench import bench
from hairtrigger.cli.explain import explain
from hairtrigger.cli.simplify import simplify
from hairtrigger.cli.stream import stream
from hairtrigger.cli.told import INTERRUPTED

__all__ = ["INTERRUPTED", "app", "main"]

app = typer.Typer(
    help="From detector data to a verified neural-network trigger in an FPGA.",
    epilog="Errors end with code 1, wrong arguments with 2, Ctrl-C with 130.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


app.command()(runs.run)
app.command("compile")(runs.compile_)
app.command()(hls.hls)
app.command()(bench)
app.command()(runs.verify)
app.command()(runs.sweep)
app.command()(runs.compare)
app.command()(runs.baseline)
app.command()(simplify)
app.command()(runs.report)
app.command()(explain)
app.command()(stream)
app.command()(tools.fuzz)
app.command()(tools.doctor)
app.command()(tools.parts)
