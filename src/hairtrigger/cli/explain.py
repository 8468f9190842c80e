"""The command that explains what a network decides by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hairtrigger.cli.options import Debug
from hairtrigger.cli.told import again, command, reporter, told

if TYPE_CHECKING:
    from hairtrigger.runs.explain import Explanation


def explain(
    what: Annotated[
        str,
        typer.Argument(
            metavar="STUDY|MODEL",
            help="A study (muon, tau3mu, supernova, strips), or a model of yours: a .keras file, "
            "or a printed Graph (.txt).",
        ),
    ],
    events: Annotated[int, typer.Option("--events", min=1, help="Events to explain.")] = 1000,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            help="Folder of a finished run of the study, whose networks are explained. "
            "[default: the trained student that comes with it]",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="For a model of yours: a .npy file (events, *shape of the model's input).",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        int, typer.Option("--output", min=0, help="For a model of yours: the output explained.")
    ] = 0,
    names: Annotated[
        str,
        typer.Option("--names", help="For a model of yours: its features, commas between them."),
    ] = "",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of events and methods.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Where it goes. [default: runs/explain-NAME]", show_default=False
        ),
    ] = None,
    document: Annotated[
        Path | None,
        typer.Option(
            "--document",
            help="Also write the tables as a page of documentation: NAME.md and .json.",
            show_default=False,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Explain a network: maps of what it decides by, checks of the maps, and questions of physics.

    Every stage is kept: run again to go on after an interruption.
    """
    with told(debug, again()):
        from hairtrigger.errors import InputError
        from hairtrigger.runs.explain import explain_model, explain_study, write_document

        model = Path(what) if what.endswith((".keras", ".txt")) else None
        folder = out or Path("runs") / f"explain-{model.stem if model else what}"
        if model is None and data is not None:
            raise InputError(f"Study {what!r} makes its own events.", "Leave --data away.")
        if model is not None and run is not None:
            raise InputError(f"{what} is a model, not a study.", "Leave --run away.")
        with reporter() as told_to:
            if model is None:
                made = explain_study(
                    what,
                    events=events,
                    seed=seed,
                    run=run,
                    folder=folder,
                    command=command(),
                    reporter=told_to,
                )
            else:
                made = explain_model(
                    model,
                    data=data,
                    output=output,
                    names=tuple(name for name in names.split(",") if name),
                    events=events,
                    seed=seed,
                    folder=folder,
                    command=command(),
                    reporter=told_to,
                )
        if document is not None:
            write_document(made, document)
        show(made, folder)


def show(made: Explanation, folder: Path) -> None:
    """The main numbers, and where the page is."""
    from rich.console import Console

    from hairtrigger.report.explain import headlines
    from hairtrigger.runs.explain import PAGE

    console = Console(highlight=False, soft_wrap=True)
    for value, what, _ in headlines(made):
        console.print(f"  {value:>12}  {what}", markup=False)
    console.print(f"Page: {folder / PAGE}", markup=False)
