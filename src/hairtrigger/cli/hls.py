"""The command that writes an HLS project and proves its C simulation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hairtrigger.cli.options import ClockText, Debug, PartName
from hairtrigger.cli.told import told


def hls(
    model: Annotated[Path, typer.Argument(help="Trained HGQ2 model, a .keras file.")],
    inject: Annotated[
        Path | None,
        typer.Option(
            "--inject",
            help="JSON file of C++ functions to put into the project; see docs/backends/hls.md.",
            show_default=False,
        ),
    ] = None,
    io_type: Annotated[
        str, typer.Option("--io", help="io_parallel or io_stream, as in hls4ml.")
    ] = "io_parallel",
    backend: Annotated[str, typer.Option("--backend", help="Vitis or Vivado.")] = "Vitis",
    part: PartName = "xcvu13p",
    clock: ClockText = "320MHz",
    events: Annotated[
        Path | None,
        typer.Option(
            "--events",
            help="Events to compare with: a .npy file of real numbers (events, *shape).",
            show_default=False,
        ),
    ] = None,
    random_events: Annotated[
        int, typer.Option("--random", min=0, help="Random events to compare with as well.")
    ] = 1000,
    check: Annotated[
        bool,
        typer.Option("--check", help="Watch the bounds of all arrays too.", show_default=False),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the random events.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Where it goes. [default: runs/MODEL-hls]", show_default=False),
    ] = None,
    debug: Debug = False,
) -> None:
    """Write an HLS project with hls4ml, with functions of yours in it, and compare its C simulation
    with the emulator bit by bit. Needs the extra hairtrigger\\[hls]; no vendor's tool."""
    with told(debug):
        from hairtrigger.backends.hls import Target, emit
        from hairtrigger.frontends.hgq import from_hgq
        from hairtrigger.frontends.keras_file import load_model
        from hairtrigger.graph.emulate import encode
        from hairtrigger.hls.spec import read_injections
        from hairtrigger.runs import load_events

        loaded = load_model(model)
        graph = from_hgq(loaded, name=model.stem)
        injections = read_injections(inject, graph) if inject else ()
        target = Target(loaded, io_type, backend, part, clock, injections)
        artifact = emit(graph, target, out or Path("runs") / f"{model.stem}-hls")
        print(f"Project: {artifact.project.folder}")
        codes = None
        if events is not None:
            codes = encode(artifact.reference.entry, load_events(events))
        done = artifact.verify(codes, random_events=random_events, seed=seed, check=check)
        print(f"  {done.events:,} events, {done.values:,} numbers of the outputs: all equal")
        for placed in artifact.project.placed:
            report = placed.injection.report
            told_by = f"; {report.tool or 'report'}: {report.latency} clocks" if report else ""
            if placed.name in done.injections:
                count = f"{done.injections[placed.name]:,} numbers equal"
            else:
                count = f"answered {done.answered:,} events itself"
            print(f"  {placed.name} ({placed.injection.where}): {count}{told_by}")
