"""The bench as stages: each engine and scenario is kept, so that a second start goes on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hairtrigger.bench.records import (
    SCENARIOS,
    Answers,
    Bench,
    ChipRecord,
    InputsRecord,
    Machine,
    Row,
    Rows,
    Used,
)
from hairtrigger.errors import HairtriggerError, InputError
from hairtrigger.pipeline import run_stages
from hairtrigger.progress import Reporter, Silent
from hairtrigger.records import from_json, read_record
from hairtrigger.runs.bench_stages import (
    Asked,
    Held,
    answer_stages,
    input_stages,
    read_held,
    time_stages,
)
from hairtrigger.runs.gather import commit, versions

if TYPE_CHECKING:
    from hairtrigger.bench.board.boards import Board

__all__ = ["Asked", "run_bench"]


def run_bench(
    asked: Asked, folder: Path, *, command: str = "", reporter: Reporter | None = None
) -> Bench:
    """Measure, or go on where an earlier start ended; ``folder`` keeps every finished stage.

    Raises `InputError` for what cannot be asked for, `StorageError` for files, and what loading a
    model raises. An engine that cannot run here is no error: its record says why.
    """
    from hairtrigger.bench.engines import CPU_ENGINES, GPU_ENGINES, choose

    names, fpga = choose(asked.on)
    unknown = [s for s in asked.scenarios if s not in SCENARIOS]
    if unknown:
        raise InputError(
            f"scenario {unknown[0]!r} is not known", f"use some of {', '.join(SCENARIOS)}"
        )
    reporter = reporter or Silent()
    first = input_stages(asked)
    done = run_stages(first, folder, reporter)
    held = read_held(done["graph"].folder, done["inputs"].folder)
    absent: list[Answers] = []
    makers = {**CPU_ENGINES, **GPU_ENGINES}
    for name in names:
        try:
            held.engines[name] = makers[name](held.graph)
        except HairtriggerError as error:
            from hairtrigger.bench.measure import failed

            absent.append(failed(name, "CPU" if name in CPU_ENGINES else "GPU", error))
            reporter.note(f"{name}: {absent[-1].why}")
    if not (held.engines or fpga or asked.board or asked.board_results):
        listed = "".join(f"\n  - {a.engine}: {a.why}" for a in absent)
        raise InputError(f"no engine that was asked for can run here:{listed}", "ask for --on cpu")
    stages = [*first, *answer_stages(asked, held, fpga, reporter), *time_stages(asked, held)]
    try:
        done = run_stages(stages, folder, reporter)
    finally:
        for engine in held.engines.values():
            engine.close()
    kept = {name: found.folder for name, found in done.items()}
    made = _gather(asked, kept, tuple(absent), command)
    if asked.board is not None:
        _write_board(asked, asked.board, held, made.inputs, folder)
    if asked.board_results is not None:
        made = _with_board(asked, asked.board_results, held, made)
    return made


BOARD_FOLDER = "board"


def _write_board(
    asked: Asked, board: Board, held: Held, inputs: InputsRecord, folder: Path
) -> None:
    from hairtrigger.bench.board.write import check_board, write_board

    assert asked.goal is not None
    design = replace(asked.goal.design(held.graph), stall=True)
    place = folder / f"{BOARD_FOLDER}-{board.name}"
    write_board(design, board, inputs, held.codes, held.expected, place)
    check_board(design, board, held.codes, held.expected, place)


def _with_board(asked: Asked, path: Path, held: Held, made: Bench) -> Bench:
    from hairtrigger.bench.board.boards import find_board
    from hairtrigger.bench.board.results import board_rows, read_results

    assert asked.goal is not None
    found = read_results(path)
    goal = replace(asked.goal, part=find_board(found.board).part)
    answers, rows = board_rows(found, goal.design(held.graph), made.inputs, held.expected)
    return replace(made, answers=(*made.answers, answers), rows=(*made.rows, *rows))


# --- results -----------------------------------------------------------------------------------


def _gather(asked: Asked, kept: dict[str, Path], absent: Sequence[Answers], command: str) -> Bench:
    found = [
        read_record(Answers, folder / "answers.json")
        for name, folder in kept.items()
        if name.startswith("answers_") or name == "fpga"
    ]
    rows: list[Row] = []
    for folder in kept.values():
        if (folder / "rows.json").exists():
            rows += read_record(Rows, folder / "rows.json").rows
    chip = None
    if "fpga" in kept:
        chip = read_record(ChipRecord, kept["fpga"] / "chip.json")
        if "resources" in kept:
            chip = _with_resources(chip, kept["resources"] / "resources.json")
    return Bench(
        command=command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit() or "",
        machine=_machine(),
        seconds=asked.setting.seconds,
        inputs=read_record(InputsRecord, kept["inputs"] / "inputs.json"),
        answers=(*found, *absent),
        chip=chip,
        rows=tuple(rows),
    )


def _with_resources(chip: ChipRecord, path: Path) -> ChipRecord:
    record = json.loads(path.read_text(encoding="utf-8"))
    used = tuple(from_json(Used, item) for item in record["resources"])
    return replace(chip, synthesis=record["synthesis"], resources=used)


def _machine() -> Machine:
    from hairtrigger.bench.engines import processors

    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    try:
        busy = os.getloadavg()[0] / processors()
    except OSError:
        busy = None
    return Machine(
        processor=name,
        processors=processors(),
        gpu=_gpu(),
        system=f"{platform.system()} {platform.machine()}",
        versions=versions(),
        busy=busy,
    )


def _gpu() -> str:
    from hairtrigger.bench.energy import Meter, gpu_meter

    found = gpu_meter()
    return found.words.partition("board ")[2] if isinstance(found, Meter) else ""
