"""The stages of a bench: inputs, the answers of every engine, and its times, each kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hairtrigger.bench.records import (
    LOOP,
    MULTI,
    OFFLINE,
    SCENARIOS,
    SERVER,
    SINGLE,
    SWEEP,
    Answers,
    Row,
    Rows,
)
from hairtrigger.errors import InputError, StorageError
from hairtrigger.fixed import Fixed
from hairtrigger.pipeline import Stage, Workplace
from hairtrigger.progress import Reporter
from hairtrigger.records import read_record, to_text

if TYPE_CHECKING:
    from hairtrigger.bench.board.boards import Board
    from hairtrigger.bench.engines import Engine
    from hairtrigger.bench.inputs import Codes
    from hairtrigger.bench.measure import Bench as EngineBench
    from hairtrigger.bench.measure import Setting
    from hairtrigger.graph.graph import Graph
    from hairtrigger.runs.chip import Goal

CODES = "codes.npz"
_SOURCES = ("bench", "engines.py", "backends", "cpp", "graph", "fixed.py")
_CHIP_SOURCES = ("bench/fpga.py", "rtl", "targets", "tools", "graph", "fixed.py")
_PACKAGES = ("numpy", "onnx", "onnxruntime", "jax", "tensorrt")


@dataclass(frozen=True)
class Asked:
    """What a bench is asked for. ``model``: see `hairtrigger.bench.model.load_graph`; ``on``:
    engines, see `hairtrigger.bench.engines.choose`; ``events``: a .npy file, or None for extremes
    and random ones; ``synthesise``: count resources too;
    ``board``: write its folder; ``board_results``: the file that its driver wrote."""

    model: Path
    on: str
    setting: Setting
    scenarios: tuple[str, ...] = SCENARIOS
    events: Path | None = None
    count: int = 4096
    goal: Goal | None = None
    synthesise: bool = False
    board: Board | None = None
    board_results: Path | None = None
    input_format: Fixed | None = None


@dataclass
class Held:
    """What the stages of one start share: loaded once, never part of a key."""

    graph: Graph
    codes: Codes
    expected: Codes
    engines: dict[str, Engine] = field(default_factory=dict)


# --- inputs ------------------------------------------------------------------------------------


def input_stages(asked: Asked) -> list[Stage]:
    def load(work: Workplace) -> None:
        from hairtrigger.bench.model import load_graph

        graph = load_graph(asked.model, asked.input_format)
        (work.folder / "graph.txt").write_text(str(graph), encoding="utf-8")

    def make(work: Workplace) -> None:
        import numpy as np

        from hairtrigger.bench.inputs import make_inputs
        from hairtrigger.engines import EMULATOR, run_codes
        from hairtrigger.runs import load_events
        from hairtrigger.runs.chip import read_graph

        graph = read_graph(work.inputs["graph"])
        given = None if asked.events is None else load_events(asked.events)
        codes, record = make_inputs(graph, asked.model.name, asked.count, asked.setting.seed, given)
        expected = run_codes(graph, codes, engine=EMULATOR).codes
        named = {f"in{n}": x for n, x in enumerate(codes)}
        named |= {f"out{n}": x for n, x in enumerate(expected)}
        np.savez(work.folder / CODES, **named)
        (work.folder / "inputs.json").write_text(to_text(record))

    given = None if asked.events is None else _content(asked.events)
    form = None if asked.input_format is None else str(asked.input_format)
    return [
        Stage(
            "graph",
            "Read the model",
            load,
            {"model": _content(asked.model), "name": asked.model.name, "format": form},
            (),
            ("bench/model.py", "frontends", "graph", "fixed.py"),
            ("hgq2", "keras"),
        ),
        Stage(
            "inputs",
            "Make the inputs, and the emulator's answers",
            make,
            {"events": given, "count": asked.count, "seed": asked.setting.seed},
            ("graph",),
            ("bench/inputs.py", "graph", "fixed.py"),
            ("numpy",),
        ),
    ]


def read_held(graph_folder: Path, inputs_folder: Path) -> Held:
    import numpy as np

    from hairtrigger.runs.chip import read_graph

    graph = read_graph(graph_folder)
    try:
        with np.load(inputs_folder / CODES) as found:
            codes = tuple(found[f"in{n}"] for n in range(len(graph.inputs)))
            expected = tuple(found[f"out{n}"] for n in range(len(graph.outputs)))
    except OSError as error:
        raise StorageError(f"{inputs_folder / CODES} cannot be read: {error.strerror}") from error
    return Held(graph, codes, expected)


def _content(path: Path) -> str:
    """SHA-256 of a file, or of the Graph in a folder. Raises StorageError."""
    from hairtrigger.bench.model import graph_file

    try:
        with graph_file(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", "check the path") from error


# --- answers -----------------------------------------------------------------------------------


def answer_stages(asked: Asked, held: Held, fpga: bool, reporter: Reporter) -> list[Stage]:
    """Every engine on all inputs, before anything is timed."""

    def tell(found: Answers) -> None:
        if not found.equal:
            reporter.note(
                f"{found.engine} gives other answers: {found.differences:,} of {found.values:,} "
                f"numbers differ, at most {found.largest_lsb:g} LSB; its times are of those"
            )

    def stage(name: str) -> Stage:
        def work(place: Workplace) -> None:
            from hairtrigger.bench.measure import answers

            found = answers(held.engines[name], held.codes, held.expected)
            (place.folder / "answers.json").write_text(to_text(found))
            tell(found)

        title = f"Compare {name}"
        return Stage(
            f"answers_{_word(name)}", title, work, _here(), ("inputs",), _SOURCES, _PACKAGES
        )

    def count(place: Workplace) -> None:
        from hairtrigger.bench.fpga import count

        assert asked.goal is not None
        found = count(asked.goal.design(held.graph), held.codes, held.expected)
        (place.folder / "answers.json").write_text(to_text(found.answers))
        (place.folder / "chip.json").write_text(to_text(found.chip))
        (place.folder / "rows.json").write_text(to_text(Rows((found.row,))))
        tell(found.answers)

    def synthesise(place: Workplace) -> None:
        from hairtrigger.bench.fpga import resources

        assert asked.goal is not None
        tool, used = resources(asked.goal.design(held.graph))
        record = {"synthesis": tool, "resources": [asdict(u) for u in used]}
        (place.folder / "resources.json").write_text(json.dumps(record, indent=1))

    stages = [stage(name) for name in held.engines]
    if fpga:
        if asked.goal is None:
            raise InputError("no part and clock for the FPGA", "give a goal")
        goal = asked.goal
        target = {
            "part": goal.part.name,
            "clock_mhz": goal.clock.mhz,
            "interval": goal.interval,
            "axis": goal.axis,
        }
        title = "Count clocks of the Verilog"
        stages.append(
            Stage("fpga", title, count, target, ("inputs",), _CHIP_SOURCES, ("da4ml", "verilator"))
        )
        if asked.synthesise:
            after = ("graph",)
            stages.append(
                Stage(
                    "resources", "Synthesise", synthesise, target, after, _CHIP_SOURCES, ("pyosys",)
                )
            )
    return stages


# --- times -------------------------------------------------------------------------------------


def time_stages(asked: Asked, held: Held) -> list[Stage]:
    s = asked.setting
    both = {"seconds": s.seconds, **_here()}
    threads = list(s.threads)
    own: dict[str, dict[str, Any]] = {
        SWEEP: {"batches": list(s.batches), "threads": threads},
        SINGLE: {},
        MULTI: {"samples": s.samples, "threads": threads},
        SERVER: {
            "rate": s.rate,
            "bound_ns": s.bound_ns,
            "together": s.together,
            "seed": s.seed,
        },
        OFFLINE: {},
    }
    stages: list[Stage] = []
    for name in held.engines:
        answered = f"answers_{_word(name)}"
        for scenario in (SWEEP, *asked.scenarios):
            after = [answered, "inputs"]
            if scenario == OFFLINE:
                after.append(f"{SWEEP}_{_word(name)}")
            stages.append(
                Stage(
                    f"{scenario}_{_word(name)}",
                    f"Time {name}: {TITLES[scenario]}",
                    _timer(asked, held, name, scenario),
                    {**both, **own[scenario]},
                    tuple(after),
                    _SOURCES,
                    _PACKAGES,
                )
            )
    if "cpp" in held.engines and SINGLE in asked.scenarios:

        def loop(place: Workplace) -> None:
            from hairtrigger.bench.measure import loop_rows

            rows = loop_rows(held.graph, held.codes, held.expected, s.seconds)
            (place.folder / "rows.json").write_text(to_text(Rows(rows)))

        title = f"Time cpp: {TITLES[LOOP]}"
        stages.append(Stage("loop_cpp", title, loop, both, ("inputs",), _SOURCES))
    return stages


TITLES = {
    SWEEP: "batches",
    SINGLE: "single stream",
    MULTI: "multi-stream",
    SERVER: "server",
    OFFLINE: "offline",
    LOOP: "called from C++",
}


def _timer(asked: Asked, held: Held, name: str, scenario: str) -> Callable[[Workplace], None]:
    def work(place: Workplace) -> None:
        word = _word(name)
        same = read_record(Answers, place.inputs[f"answers_{word}"] / "answers.json").equal
        bench = _bench(asked, held, name, same, place.progress)
        if scenario == OFFLINE:
            sweep = read_record(Rows, place.inputs[f"{SWEEP}_{word}"] / "rows.json")
            rows = bench.offline(sweep.rows)
        else:
            made: dict[str, Callable[[], tuple[Row, ...]]] = {
                SWEEP: bench.sweep,
                SINGLE: bench.single,
                MULTI: bench.multi,
                SERVER: bench.server,
            }
            rows = made[scenario]()
        (place.folder / "rows.json").write_text(to_text(Rows(rows)))

    return work


def _bench(
    asked: Asked, held: Held, name: str, same: bool, progress: Callable[[int, int], None]
) -> EngineBench:
    from hairtrigger.bench.clock import WallClock
    from hairtrigger.bench.energy import cpu_meter, gpu_meter
    from hairtrigger.bench.measure import Bench as EngineBench

    engine = held.engines[name]
    meter = cpu_meter() if engine.device == "CPU" else gpu_meter()
    return EngineBench(
        held.graph, engine, held.codes, same, asked.setting, WallClock(), meter, progress
    )


def _word(name: str) -> str:
    return name.replace("-", "_")


def _here() -> dict[str, Any]:
    """What times depend on beside the code: results of another machine are not gone on with."""
    from hairtrigger.bench.engines import processors
    from hairtrigger.cpp.library import processor

    words = hashlib.sha256(processor().encode()).hexdigest()[:16]
    return {"processor": words, "processors": processors()}
