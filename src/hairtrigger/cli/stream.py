"""The command that runs a trigger over a stream."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hairtrigger.cli.options import Debug
from hairtrigger.cli.told import command, told


def stream(
    source: Annotated[
        str,
        typer.Argument(
            help="A file or folder of frames, HDF5 or .npy, tcp://HOST:PORT, unix:PATH, or "
            "simulate:images=10000,seed=1,kind=nue_cc,rate=300,loop=0,pace=0."
        ),
    ],
    trigger: Annotated[
        Path, typer.Option("--trigger", help="Folder of a trigger of the supernova study.")
    ],
    out: Annotated[
        Path,
        typer.Option("--out", help="Where kept windows go; a run that is there is gone on with."),
    ] = Path("runs/stream"),
    summary: Annotated[
        Path | None,
        typer.Option("--summary", help="Write all figures as JSON.", show_default=False),
    ] = None,
    plane: Annotated[int, typer.Option("--plane", min=0, help="Number of the plane.")] = 0,
    planes: Annotated[
        int, typer.Option("--planes", min=1, help="So many planes at once, with Dask.")
    ] = 1,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="With --planes: processes. [default: one a processor]",
            show_default=False,
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            help="With --planes: address of a Dask scheduler, instead of processes here.",
            show_default=False,
        ),
    ] = None,
    queue: Annotated[
        int, typer.Option("--queue", min=1, help="Blocks that are read ahead at most.")
    ] = 16,
    lossy: Annotated[
        bool,
        typer.Option(
            "--lossy",
            help="Drop blocks that find no place in the queue, instead of making the source wait.",
        ),
    ] = False,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=0.0, help="End after so long.", show_default=False),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Format of frames: WIB1, WIBEth. [default: by their content]",
            show_default=False,
        ),
    ] = None,
    pattern: Annotated[
        str, typer.Option("--pattern", help="Files of a folder that are read.")
    ] = "*",
    debug: Debug = False,
) -> None:
    """Run the supernova trigger over a raw stream, and keep the windows that it selects.

    The raw samples of each kept image, of the one before and the one after go to HDF5. Ended in any
    way, even killed, the same command goes on without doubles.
    """
    with told(debug, f"What was decided is kept; to go on: {command()}"):
        from rich.console import Console

        from hairtrigger.stream.run import run_stream, write_summary
        from hairtrigger.stream.view import plane_rows, rows, shown
        from hairtrigger.studies.supernova_trigger import read_trigger

        found = read_trigger(trigger)
        console = Console(highlight=False, soft_wrap=True)
        common = {"depth": queue, "lossy": lossy, "seconds": seconds}
        if not source.startswith("simulate:"):
            common["options"] = {"format": format, "pattern": pattern, "bits": found.front.bits}
        if planes > 1:
            from hairtrigger.stream.planes import run_planes

            note = Console(stderr=True, highlight=False, soft_wrap=True)

            def tell(done: int, _: object) -> None:
                note.print(f"{done} of {planes} planes done", markup=False)

            figures = run_planes(
                source,
                found,
                out,
                planes,
                workers=workers,
                address=cluster,
                show=tell,
                **common,
            )
            lines = plane_rows(figures)
        else:
            with shown() as show:
                made = run_stream(source, found, out, plane=plane, show=show, **common)
            figures = made.summary
            lines = rows(figures)
        for what, value in lines:
            console.print(f"  {what:>26}  {value}", markup=False)
        console.print(f"Kept windows: {out}", markup=False)
        if summary is not None:
            write_summary(summary, figures)
