"""The command that takes from a study's student what matters least."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hairtrigger.cli.options import ClockText, Debug, PartName, StudyInterval
from hairtrigger.cli.told import again, reporter, told

if TYPE_CHECKING:
    from hairtrigger.runs.simplified import Simplified


def simplify(
    study: Annotated[str, typer.Argument(help="Name of the study: muon, muon_4_rows, ...")],
    steps: Annotated[
        str,
        typer.Option(
            "--steps",
            help="What goes. inputs=4: so many slices stay; channels=80%, bits=90%: so many of "
            "the LUTs that were there before; price=2: nothing but training at twice the price "
            "of a bit. Steps add up; ';' begins anew; none: no step.",
        ),
    ] = "inputs=7 inputs=4; channels=85% channels=70%; bits=90% bits=80%",
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            help="A finished run to take teacher and student of; without it they are trained.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str, typer.Option("--preset", help="Size of samples and training: smoke, demo, paper.")
    ] = "demo",
    epochs: Annotated[
        int, typer.Option("--epochs", min=1, help="Epochs of training after each step but bits.")
    ] = 1,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="What chooses inputs: elimination one by one, or "
            "their occlusion, gradient or shapley each alone.",
        ),
    ] = "elimination",
    axis: Annotated[
        int, typer.Option("--axis", min=0, help="Axis of the input, along which its slices lie.")
    ] = 0,
    chips: Annotated[
        bool, typer.Option("--chips/--no-chips", help="Synthesise each point: minutes each.")
    ] = True,
    surrogate: Annotated[
        str,
        typer.Option(
            "--surrogate",
            help="Also put the student into a tree (scikit-learn) or a formula (gplearn).",
            show_default=False,
        ),
    ] = "",
    leaves: Annotated[int, typer.Option("--leaves", min=2, help="Most leaves of a tree.")] = 32,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of simulation, training.")] = 1,
    part: PartName = "xcvu13p",
    clock: ClockText = "320MHz",
    interval: StudyInterval = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            help="Where it goes; what is there is gone on with. "
            "[default: runs/simplify-STUDY-PRESET-SEED]",
            show_default=False,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Simplify a study's student: rows, channels and bits that matter least go, the network is
    trained again, and each point is judged and synthesised. Run again to go on."""
    folder = folder or Path("runs") / f"simplify-{study}-{preset}-{seed}"
    with told(debug, again()):
        from hairtrigger.runs import simplify_study

        with reporter() as told_to:
            made = simplify_study(
                study,
                steps,
                preset=preset,
                run=run,
                seed=seed,
                axis=axis,
                method=method,
                epochs=epochs,
                chips=chips,
                surrogate=surrogate,
                leaves=leaves,
                part=part,
                clock=clock,
                interval=interval,
                folder=folder,
                reporter=told_to,
            )
        _show(made, folder)


def _show(made: Simplified, folder: Path) -> None:
    """The points, and where the page is."""
    from rich.console import Console
    from rich.table import Table

    from hairtrigger.report.simplify import rows_of

    heads, rows = rows_of(made)
    table = Table(*heads, box=None)
    for row in rows:
        table.add_row(*row)
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(f"Page: {folder / 'simplify.html'}", markup=False)
