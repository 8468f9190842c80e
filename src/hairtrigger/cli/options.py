"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

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
StudyInterval = Annotated[
    str | None,
    typer.Option(
        "--interval",
        help="From event to event: clocks (8) or a time (25ns). [default: the study's own]",
        show_default=False,
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
