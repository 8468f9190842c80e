"""Reads what the driver on a board wrote. Only this makes a row that is "measured on a board"."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hairtrigger.bench.board.boards import find_board
from hairtrigger.bench.board.driver import FORMAT
from hairtrigger.bench.board.write import answer_memory
from hairtrigger.bench.inputs import Codes
from hairtrigger.bench.records import (
    BOARD,
    OFFLINE,
    SINGLE,
    STREAMING,
    Answers,
    InputsRecord,
    Row,
)
from hairtrigger.bench.scenarios import Timed
from hairtrigger.errors import InputError, StorageError
from hairtrigger.records import from_json
from hairtrigger.rtl.design import Design
from hairtrigger.rtl.packets import packets_of


@dataclass(frozen=True)
class BoardResults:
    """results.json: what `hairtrigger.bench.board.driver` measured, times in ns of each transfer.

    ``packet_clocks``: clocks inside the FPGA of one packet of all ``events``; ``one_event_clocks``:
    of a packet of one event; None where the board shows none.
    """

    format: str
    board: str
    design: str
    graph_sha256: str
    inputs_sha256: str
    clock_mhz: float
    events: int
    answers_sha256: str
    wrong_events: int
    first_wrong: int | None
    frame_error: bool
    packet_clocks: int | None
    one_event_clocks: int | None
    single_ns: tuple[int, ...]
    packet_events: int
    packet_ns: tuple[int, ...]
    software: str
    measured: str


def read_results(path: Path) -> BoardResults:
    """The file of a driver. Raises `StorageError`: missing, damaged or of another program."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", "check the path") from error
    try:
        found = from_json(BoardResults, json.loads(text))
    except (ValueError, UnicodeDecodeError) as error:
        raise StorageError(
            f"{path} is no result of a board's driver, or is damaged: {error}",
            "run driver.py on the board again",
        ) from error
    if found.format != FORMAT:
        raise StorageError(f"{path} has format {found.format!r}, not {FORMAT!r}", "use that driver")
    for name, times in (("single_ns", found.single_ns), ("packet_ns", found.packet_ns)):
        if not times or min(times) <= 0:
            raise StorageError(f"{path}: {name} holds no times, or times of 0", "run it again")
    if min(found.events, found.packet_events) < 1 or not found.clock_mhz > 0:
        raise StorageError(f"{path} holds no events or no clock", "run it again")
    return found


def board_rows(
    found: BoardResults, design: Design, inputs: InputsRecord, expected: Codes
) -> tuple[Answers, tuple[Row, ...]]:
    """Answers and rows of a board. ``design``: of the same Graph, for the board's part.

    Raises `InputError` for results of another Graph, of other inputs or of another board.
    """
    board = find_board(found.board)
    for what, theirs, ours in (
        ("Graph", found.graph_sha256, inputs.graph_sha256),
        ("inputs", found.inputs_sha256, inputs.sha256),
    ):
        if theirs != ours:
            raise InputError(
                f"the board measured another {what} ({theirs[:12]}) than this bench ({ours[:12]})",
                "give the same model, events, count and seed as when its folder was written",
            )
    if found.events != inputs.events:
        raise InputError(
            f"the board answered {found.events} events, of {inputs.events}", "run it on all of them"
        )
    wanted = answer_memory(design, packets_of(design, board.widest), expected)
    equal = found.answers_sha256 == hashlib.sha256(wanted).hexdigest()
    if equal != (found.wrong_events == 0):
        raise InputError(
            f"the board says that {found.wrong_events} events are wrong, which its hash of the "
            "answers contradicts",
            "run driver.py again, with the folder that this version wrote",
        )
    engine = f"fpga ({board.name})"
    answers = Answers(
        engine=engine,
        device="FPGA",
        words=f"{board.title} at {found.clock_mhz:g} MHz, {found.software}",
        events=found.events,
        sha256=found.answers_sha256,
        values=sum(x.size for x in expected),
        # The driver counts events: at least so many numbers differ.
        differences=found.wrong_events,
        largest_lsb=0.0,
        first_event=found.first_wrong,
    )
    whole = "from memory to memory, the driver's calls among it"
    single = Timed(np.array(found.single_ns), sum(found.single_ns) / 1e9)
    many = Timed(np.array(found.packet_ns), sum(found.packet_ns) / 1e9, found.packet_events)
    rows = [
        _row(engine, SINGLE, 1, equal, single, whole),
        _row(engine, OFFLINE, found.packet_events, equal, many, whole),
    ]
    if found.packet_clocks is not None and found.one_event_clocks is not None:
        period = 1e3 / found.clock_mhz
        latency = found.one_event_clocks * period
        rows.append(
            Row(
                engine,
                STREAMING,
                BOARD,
                1,
                equal,
                transfers="without",
                calls=found.events,
                seconds=found.packet_clocks * period / 1e9,
                p50_ns=latency,
                per_second=found.events * 1e9 / (found.packet_clocks * period),
                note=f"{found.one_event_clocks} clocks from first beat to last for one event, "
                f"{found.packet_clocks} for {found.events}, counted in the FPGA",
            )
        )
    return answers, tuple(rows)


def _row(engine: str, scenario: str, batch: int, same: bool, timed: Timed, note: str) -> Row:
    return Row(
        engine,
        scenario,
        BOARD,
        batch,
        same,
        transfers="with",
        calls=len(timed.ns),
        seconds=timed.seconds,
        mean_ns=float(timed.ns.mean()),
        p50_ns=timed.percentile(50),
        p90_ns=timed.percentile(90),
        p99_ns=timed.percentile(99),
        p999_ns=timed.percentile(99.9),
        per_second=timed.per_second,
        note=note,
    )
