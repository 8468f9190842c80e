"""The command that measures one network on CPU, GPU and FPGA side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hairtrigger.cli.options import Axis, Debug, Interval
from hairtrigger.cli.told import again, command, reporter, told

if TYPE_CHECKING:
    from hairtrigger.bench.records import Bench


def bench(
    model: Annotated[
        Path,
        typer.Argument(
            help="A .keras model, a printed Graph (.txt), an .onnx model with its Graph beside it, "
            "or the folder of a run."
        ),
    ],
    on: Annotated[
        str,
        typer.Option("--on", help="Engines: cpu, gpu, fpga, or single ones, with commas between."),
    ] = "cpu,gpu,fpga",
    events: Annotated[
        Path | None,
        typer.Option(
            "--events",
            help="Events to send: a .npy file (events, *shape). Without it random ones.",
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", min=1, help="Different events, at most; batches repeat them.")
    ] = 4096,
    batches: Annotated[
        str, typer.Option("--batches", help="Events in a call: numbers with commas between.")
    ] = "1,4,16,64,256,1024,4096,16384,65536",
    threads: Annotated[
        str, typer.Option("--threads", help="Numbers of threads; all is one a processor.")
    ] = "1,all",
    scenarios: Annotated[
        str, typer.Option("--scenarios", help="Some of single, multi, server, offline.")
    ] = "single,multi,server,offline",
    seconds: Annotated[
        float,
        typer.Option("--seconds", help="Duration of a scenario; a point of the sweep: a tenth."),
    ] = 5.0,
    samples: Annotated[
        int, typer.Option("--samples", min=1, help="Events of a query in multi-stream.")
    ] = 8,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            help="Queries a second that come to the server. [default: as many as it can bear]",
            show_default=False,
        ),
    ] = None,
    bound: Annotated[
        str, typer.Option("--bound", help="On the server's p99: a time such as 100us.")
    ] = "1ms",
    together: Annotated[
        int, typer.Option("--together", min=1, help="Queries that the server answers at once.")
    ] = 64,
    part: Annotated[
        str | None,
        typer.Option(
            "--part",
            help="FPGA, one of those that `hairtrigger parts` lists. "
            "[default: xcvu13p, or the board's]",
            show_default=False,
        ),
    ] = None,
    clock: Annotated[
        str | None,
        typer.Option(
            "--clock",
            help="Clock of the design, such as 320MHz or 5ns. [default: 320MHz, or the board's]",
            show_default=False,
        ),
    ] = None,
    interval: Interval = "1",
    axis: Axis = None,
    synthesise: Annotated[
        bool, typer.Option("--synthesise", help="Count the chip's resources too, with Yosys.")
    ] = False,
    board: Annotated[
        str | None,
        typer.Option(
            "--board",
            help="Write what this board needs too: pynq-z2, zcu104, alveo-u50, alveo-u250.",
            show_default=False,
        ),
    ] = None,
    board_results: Annotated[
        Path | None,
        typer.Option(
            "--board-results",
            help="Results that the driver on a board has written.",
            show_default=False,
        ),
    ] = None,
    input_format: Annotated[
        str | None,
        typer.Option(
            "--input-format",
            help="Format of the data, such as s4.3, where several quantizers read one input.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of events and arrivals.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Where results go. [default: runs/MODEL-bench]", show_default=False
        ),
    ] = None,
    document: Annotated[
        Path | None,
        typer.Option(
            "--document",
            help="Also write a page for the documentation: NAME.md, .json and pictures.",
            show_default=False,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Measure one network on CPU, GPU and FPGA: same inputs, answers compared first, then times.

    Every engine and scenario is kept in the folder: run again to go on after an interruption.
    """
    with told(debug, again()):
        from hairtrigger.bench.board.boards import find_board
        from hairtrigger.bench.engines import processors
        from hairtrigger.bench.measure import Setting
        from hairtrigger.report.bench import PAGE, write_bench
        from hairtrigger.runs.bench import BOARD_FOLDER, Asked, run_bench
        from hairtrigger.runs.chip import Goal, parse_format
        from hairtrigger.targets import find_part, parse_clock, parse_interval, parse_time

        there = None if board is None else find_board(board)
        usual = "320MHz" if there is None else f"{there.clock_mhz:g}MHz"
        found = parse_clock(clock or usual)
        fpga = find_part(part or "xcvu13p") if there is None or part else there.part
        goal = Goal(fpga, found, None, parse_interval(interval, found), axis)
        setting = Setting(
            batches=_numbers("batches", batches),
            threads=_numbers("threads", threads, {"all": processors()}),
            seconds=_positive("seconds", seconds),
            samples=samples,
            rate=None if rate is None else _positive("rate", rate),
            bound_ns=parse_time(bound),
            together=together,
            seed=seed,
        )
        asked = Asked(
            model=model,
            on=on,
            setting=setting,
            scenarios=tuple(word.strip() for word in scenarios.split(",") if word.strip()),
            events=events,
            count=count,
            goal=goal,
            synthesise=synthesise,
            board=there,
            board_results=board_results,
            input_format=None if input_format is None else parse_format(input_format),
        )
        folder = out or Path("runs") / f"{model.resolve().stem}-bench"
        with reporter() as told_to:
            made = run_bench(asked, folder, command=command(), reporter=told_to)
        write_bench(made, folder)
        if document is not None:
            from hairtrigger.report.bench_document import write_bench_document

            write_bench_document(made, document)
        show(made)
        if there is not None:
            print(f"{there.title}: {folder / f'{BOARD_FOLDER}-{there.name}' / 'README.md'}")
        print(f"Page: {folder / PAGE}")


def show(made: Bench) -> None:
    """Answers first, then the scenarios."""
    from rich.console import Console
    from rich.table import Table

    from hairtrigger.report.bench import (
        HEADINGS,
        answer_lines,
        conclusions,
        notes,
        row_cells,
        shown_rows,
    )

    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:  # in a file, lines are as long as they are
        console = Console(highlight=False, soft_wrap=True, width=240)
    console.print(f"Inputs: {made.inputs.events:,} events, SHA-256 {made.inputs.sha256[:12]}")
    table = Table("engine", "device", "version", "answers", "", box=None)
    for line in answer_lines(made.answers):
        style = "red" if line[-1].startswith("OTHER") else None
        table.add_row(*line, style=style)
    console.print(table)
    table = Table(box=None)
    for place, heading in enumerate((*HEADINGS, "how", "see")):
        table.add_column(heading, justify="right" if 2 <= place < len(HEADINGS) else "left")
    known: dict[str, int] = {}
    for row in shown_rows(made):
        seen = [known.setdefault(note, len(known) + 1) for note in notes(row)]
        table.add_row(*row_cells(row)[:-1], " ".join(map(str, seen)))
    console.print(table)
    for note, place in known.items():
        console.print(f"{place:>3}  {note}", markup=False)
    for line in conclusions(made):
        console.print(line, markup=False)


def _numbers(name: str, text: str, words: dict[str, int] | None = None) -> tuple[int, ...]:
    from hairtrigger.errors import InputError

    found: set[int] = set()
    for word in text.split(","):
        word = word.strip()
        if words and word in words:
            found.add(words[word])
        elif word.isdecimal() and 1 <= int(word) <= 1 << 24:
            found.add(int(word))
        else:
            known = "".join(f", or {w}" for w in words or ())
            raise InputError(
                f"--{name}: {word!r}", f"give whole numbers from 1 on, commas between{known}"
            )
    return tuple(sorted(found))


def _positive(name: str, value: float) -> float:
    import math

    from hairtrigger.errors import InputError

    if not (math.isfinite(value) and value > 0):
        raise InputError(f"--{name} {value:g}", "give a positive number")
    return value
