"""Commands that make a run folder: a study, a user's model, a report again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hairtrigger.cli.options import (
    Axis,
    ClockText,
    Debug,
    Interval,
    Limit,
    PartName,
    StudyInterval,
)
from hairtrigger.cli.told import (
    again,
    command,
    reporter,
    show,
    show_baseline,
    show_comparison,
    show_sweep,
    told,
)


def run(
    study: Annotated[
        str, typer.Argument(help="Name of the study: muon, strips, tau3mu, supernova.")
    ],
    preset: Annotated[
        str,
        typer.Option(
            "--preset", help="Size of the study: smoke (seconds), demo (minutes), paper (hours)."
        ),
    ] = "demo",
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed of simulation, training and verification.")
    ] = 1,
    part: PartName = "xcvu13p",
    clock: ClockText = "320MHz",
    latency: Limit = None,
    interval: StudyInterval = None,
    axis: Axis = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="tau3mu: folder of the challenge's .csv files, instead of generated candidates.",
            show_default=False,
        ),
    ] = None,
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
    folder = folder or Path("runs") / f"{study}-{preset}-{seed}{'-data' if data else ''}"
    with told(debug, again()):
        from hairtrigger.runs import run_study

        with reporter() as told_to:
            made = run_study(
                study,
                preset=preset,
                seed=seed,
                part=part,
                clock=clock,
                latency=latency,
                interval=interval,
                axis=axis,
                data=data,
                folder=folder,
                command=command(),
                reporter=told_to,
            )
        show(made)


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
    with told(debug, again()):
        from hairtrigger.runs import compile_model

        with reporter() as told_to:
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
                command=command(),
                reporter=told_to,
            )
        show(made)
        if pareto:
            show_curve(made.folder)


def verify(
    study: Annotated[str, typer.Argument(help="Name of the study: muon, tau3mu.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the events.")] = 1,
    part: PartName = "xcvu13p",
    clock: ClockText = "320MHz",
    latency: Limit = None,
    interval: Interval = "25ns",
    axis: Axis = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            help="Where the run goes. [default: runs/verify-STUDY]",
            show_default=False,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Verify and synthesise the trained student that comes with a study: its chip in minutes."""
    with told(debug, again()):
        from hairtrigger.runs import verify_study

        with reporter() as told_to:
            made = verify_study(
                study,
                seed=seed,
                part=part,
                clock=clock,
                latency=latency,
                interval=interval,
                axis=axis,
                folder=folder or Path("runs") / f"verify-{study}",
                command=command(),
                reporter=told_to,
            )
        show(made)


def sweep(
    study: Annotated[str, typer.Argument(help="Name of the study: muon, tau3mu.")],
    preset: Annotated[
        str, typer.Option("--preset", help="Size of each training: smoke, demo, paper.")
    ] = "demo",
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="Settings to try, those of earlier calls too.")
    ] = 20,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed of simulation, training and suggestions.")
    ] = 1,
    part: PartName = "xcvu13p",
    clock: ClockText = "320MHz",
    interval: Interval = "25ns",
    axis: Axis = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            help="Where the sweep goes; one that is there is gone on with. "
            "[default: runs/sweep-STUDY-PRESET-SEED]",
            show_default=False,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Sweep a study's student: accuracy against LUTs against nanoseconds.

    Each trial trains, converts and synthesises a student with other settings. Run again to go on
    after an interruption, or with more --trials.
    """
    folder = folder or Path("runs") / f"sweep-{study}-{preset}-{seed}"
    with told(debug, again()):
        from hairtrigger.runs import sweep_study

        with reporter() as told_to:
            made = sweep_study(
                study,
                preset=preset,
                trials=trials,
                seed=seed,
                part=part,
                clock=clock,
                interval=interval,
                axis=axis,
                folder=folder,
                reporter=told_to,
            )
        show_sweep(made, folder)


def compare(
    study: Annotated[str, typer.Argument(help="Name of the study: muon, tau3mu.")],
    preset: Annotated[
        str, typer.Option("--preset", help="Size of each training: smoke, demo, compare, paper.")
    ] = "compare",
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Trainings of each way, for its error bar.")
    ] = 3,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed of simulation and of the first trainings.")
    ] = 1,
    chips: Annotated[
        bool,
        typer.Option("--chips", help="Synthesise the first seed's networks too: minutes each."),
    ] = False,
    part: PartName = "xcvu13p",
    clock: ClockText = "320MHz",
    interval: Interval = "25ns",
    axis: Axis = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            help="Where it goes; what is there is gone on with. "
            "[default: runs/compare-STUDY-PRESET-SEED]",
            show_default=False,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Compare ways to make a study's student: distilled or not, quantised in training or after it,
    pruned; several seeds each. Run again to go on after an interruption."""
    folder = folder or Path("runs") / f"compare-{study}-{preset}-{seed}"
    with told(debug, again()):
        from hairtrigger.runs import compare_study

        with reporter() as told_to:
            made = compare_study(
                study,
                preset=preset,
                seeds=seeds,
                seed=seed,
                chips=chips,
                part=part,
                clock=clock,
                interval=interval,
                axis=axis,
                folder=folder,
                reporter=told_to,
            )
        show_comparison(made, folder)


def baseline(
    study: Annotated[str, typer.Argument(help="Name of the study: muon, tau3mu.")],
    preset: Annotated[
        str, typer.Option("--preset", help="Size of the test samples: smoke, demo, paper.")
    ] = "demo",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the simulation.")] = 1,
    chip: Annotated[
        bool, typer.Option("--chip/--no-chip", help="Prove and synthesise it as well: an hour.")
    ] = True,
    part: PartName = "xcvu13p",
    clock: ClockText = "320MHz",
    interval: Interval = "25ns",
    axis: Axis = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            help="Where it goes. [default: runs/baseline-STUDY-PRESET-SEED]",
            show_default=False,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Judge a study's trigger without a network, on the images that its networks are judged on."""
    folder = folder or Path("runs") / f"baseline-{study}-{preset}-{seed}"
    with told(debug, again()):
        from hairtrigger.runs import run_baseline_of

        with reporter() as told_to:
            made = run_baseline_of(
                study,
                preset=preset,
                seed=seed,
                chip=chip,
                part=part,
                clock=clock,
                interval=interval,
                axis=axis,
                folder=folder,
                reporter=told_to,
            )
        show_baseline(made)


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
    document: Annotated[
        Path | None,
        typer.Option(
            "--document",
            help="Also write the study's page of goals and figures: NAME.md, .json and .png.",
            show_default=False,
        ),
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            help="Folder of a compare, sweep or baseline: a section of the document. Repeatable.",
            show_default=False,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Write the page of a finished run anew from its summary.json, and show the main numbers."""
    with told(debug):
        from hairtrigger.runs import render_again

        show(render_again(folder, figure, document, beside or ()))


def show_curve(folder: Path) -> None:
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
