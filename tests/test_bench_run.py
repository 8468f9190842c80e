"""The bench from end to end: stages that are kept, files that agree, errors that are clear."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner, Result

from bench_cases import FakeClock, FakeEngine, network
from hairtrigger import cli
from hairtrigger.bench import clock as clocks
from hairtrigger.bench import engines
from hairtrigger.bench.measure import Setting
from hairtrigger.bench.records import CLOCKS, MEASURED, OFFLINE, SINGLE, STREAMING, SWEEP, Row
from hairtrigger.errors import InputError, StorageError, ToolError
from hairtrigger.progress import Silent
from hairtrigger.report import bench_page
from hairtrigger.report.bench import csv_text, duration, read_bench, row_cells, write_bench
from hairtrigger.report.bench_document import write_bench_document
from hairtrigger.report.figures import COLOURS
from hairtrigger.runs.bench import Asked, run_bench
from hairtrigger.runs.chip import Goal
from hairtrigger.targets import find_part, parse_clock

SETTING = Setting((1, 4), (1,), 1e-3, 4, None, 1e5, 1, 1)
GOAL = Goal(find_part("xcvu13p"), parse_clock("320MHz"), None)


class Told(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.reused: dict[str, bool] = {}
        self._name = ""

    def start(self, name: str, title: str, number: int, of: int) -> None:
        self._name = name

    def note(self, text: str) -> None:
        self.notes.append(text)

    def finish(self, seconds: float, reused: bool) -> None:
        self.reused[self._name] = reused


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "small.txt"
    path.write_text(str(network()))
    return path


@pytest.fixture
def fakes(monkeypatch):
    """Engines on a clock that is known: "right" and "wrong", and "absent", which cannot start."""
    clock = FakeClock()
    made: list[FakeEngine] = []

    def maker(wrong: int, each: int):
        def make(graph):
            engine = FakeEngine(graph, clock, 1000, each, wrong)
            engine.name = "wrong" if wrong else "right"
            made.append(engine)
            return engine

        return make

    def absent(graph):
        raise ToolError("no GPU: none was found", "use another machine")

    monkeypatch.setattr(engines, "CPU_ENGINES", {"right": maker(0, 100), "wrong": maker(2, 50)})
    monkeypatch.setattr(engines, "GPU_ENGINES", {"absent": absent})
    monkeypatch.setattr(clocks, "WallClock", lambda: clock)
    return made


def asked(model: Path, on: str = "cpu,gpu", **changes) -> Asked:
    return dataclasses.replace(Asked(model, on, SETTING, count=80, goal=GOAL), **changes)


def test_answers_come_first_and_an_engine_that_differs_is_marked_everywhere(model, fakes, tmp_path):
    told = Told()
    made = run_bench(asked(model), tmp_path / "out", reporter=told)
    names = list(told.reused)
    assert max(names.index(f"answers_{e}") for e in ("right", "wrong")) < min(
        n for n, name in enumerate(names) if name.startswith(("sweep", "single", "multi"))
    )
    answers = {a.engine: a for a in made.answers}
    assert answers["right"].equal
    assert (answers["wrong"].differences, answers["wrong"].first_event) == (1, 3)
    assert answers["absent"].why == "not run: no GPU: none was found"
    assert any("wrong gives other answers" in note for note in told.notes)
    assert {row.same_answer for row in made.rows if row.engine == "right"} == {True}
    assert {row.same_answer for row in made.rows if row.engine == "wrong"} == {False}
    assert not any(row.engine == "absent" for row in made.rows)
    write_bench(made, tmp_path / "out")
    page = (tmp_path / "out" / "bench.html").read_text()
    assert page.index("OTHER ANSWERS: 1 of 160 numbers differ") < page.index("single stream")
    assert "wrong (other answers)" in page
    assert "not run: no GPU: none was found" in page
    assert all(engine.closed for engine in fakes)


def test_csv_and_json_hold_the_same_numbers(model, fakes, tmp_path):
    made = run_bench(asked(model), tmp_path / "out", command="hairtrigger bench small.txt")
    write_bench(made, tmp_path / "out")
    assert read_bench(tmp_path / "out") == made
    rows = json.loads((tmp_path / "out" / "bench.json").read_text())["rows"]
    lines = list(csv.DictReader(io.StringIO((tmp_path / "out" / "bench.csv").read_text())))
    assert len(lines) == len(rows) == len(made.rows) > 0
    for line, row in zip(lines, rows, strict=True):
        assert set(line) == set(row)
        assert line == {key: "" if value is None else str(value) for key, value in row.items()}
    for name in ("latency", "throughput", "percentiles"):
        assert (tmp_path / "out" / f"{name}.svg").read_text().startswith("<svg")
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "out" / "bench.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<link" not in page
    assert "<script" not in page


def test_a_page_for_the_documentation(model, fakes, tmp_path):
    made = run_bench(asked(model), tmp_path / "out", command="hairtrigger bench small.txt")
    files = write_bench_document(made, tmp_path / "docs" / "small.md")
    assert {file.name for file in files} == {
        *("small.md", "small.json", "small-latency.svg", "small-throughput.svg")
    }
    page = (tmp_path / "docs" / "small.md").read_text()
    assert page.index("OTHER ANSWERS: 1 of 160 numbers differ") < page.index("single stream")
    assert "    hairtrigger bench small.txt" in page
    held = json.loads((tmp_path / "docs" / "small.json").read_text())
    assert len(held["rows"]) == len(made.rows)
    with pytest.raises(InputError, match=r"no \.md file"):
        write_bench_document(made, tmp_path / "small.html")


def test_lines_of_a_figure_can_be_told_apart(model, fakes, tmp_path):
    made = run_bench(asked(model), tmp_path / "out")
    names = [f"gpu-{n}" for n in range(len(COLOURS))]  # one of them has an engine's colour
    rows = [row for row in made.rows if row.engine == made.rows[0].engine and row.threads]
    more = [
        dataclasses.replace(row, engine=name, transfers=transfers)
        for row in rows
        for name in names
        for transfers in ("with", "without")
    ]
    bench = dataclasses.replace(made, rows=(*made.rows, *more))
    for _, paint in bench_page._paints(bench).values():
        axes = Figure().subplots()
        paint(axes)
        lines = axes.get_lines()
        assert len(lines) > 2 * len(names)
        for said in (
            [line.get_label() for line in lines],
            [
                (x.get_color(), x.get_marker(), x.get_linestyle(), x.get_markerfacecolor())
                for x in lines
            ],
        ):
            assert len(set(said)) == len(said)


def test_a_second_start_goes_on_and_changes_only_what_was_asked_otherwise(
    model, fakes, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    # Ended in the middle, as Ctrl-C does it: what was finished is kept.
    bind = FakeEngine.bind

    def interrupted(self, *arguments):
        if self.name == "wrong":
            raise KeyboardInterrupt
        return bind(self, *arguments)

    monkeypatch.setattr(FakeEngine, "bind", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_bench(asked(model), out)
    assert all(engine.closed for engine in fakes)
    monkeypatch.setattr(FakeEngine, "bind", bind)
    told = Told()
    first = run_bench(asked(model), out, reporter=told)
    assert told.reused["single_right"]
    assert told.reused["sweep_right"]
    assert not told.reused["sweep_wrong"]
    told = Told()
    again = run_bench(asked(model), out, reporter=told)
    assert all(told.reused.values())
    assert again.rows == first.rows
    told = Told()
    more = dataclasses.replace(SETTING, samples=16)
    run_bench(asked(model, setting=more), out, reporter=told)
    fresh = {name for name, reused in told.reused.items() if not reused}
    assert fresh == {"multi_right", "multi_wrong"}


def test_the_verilog_is_counted_and_its_resources_are_yosys(model, tmp_path):
    folded = dataclasses.replace(GOAL, interval=4)
    made = run_bench(asked(model, "fpga", synthesise=True, goal=folded), tmp_path / "out")
    (row,) = made.rows
    assert (row.engine, row.scenario, row.label) == ("fpga", STREAMING, CLOCKS)
    assert row.p50_ns == made.chip.latency_clocks * 3.125
    assert made.chip.interval_clocks == 4
    assert row.per_second == 80e6
    assert made.answers[0].equal
    lut = next(used for used in made.chip.resources if used.name == "LUT")
    assert lut.used > 0
    assert "synth_xilinx" in made.chip.synthesis or "Yosys" in made.chip.synthesis


def test_a_full_disk_is_one_clear_error(model, fakes, tmp_path, monkeypatch):
    import errno

    from hairtrigger.runs import bench_stages as driver

    def full(record):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(driver, "to_text", full)
    with pytest.raises(StorageError, match="no room left"):
        run_bench(asked(model), tmp_path / "out")


def test_what_cannot_be_asked_is_refused(model, fakes, tmp_path):
    with pytest.raises(InputError, match="scenario 'fast'"):
        run_bench(asked(model, scenarios=("fast",)), tmp_path / "out")
    with pytest.raises(InputError, match="no engine 'tpu'"):
        run_bench(asked(model, "tpu"), tmp_path / "out")
    with pytest.raises(InputError, match="no engine that was asked for can run here") as error:
        run_bench(asked(model, "gpu"), tmp_path / "out")
    assert "no GPU: none was found" in str(error.value)


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["bench", *(str(word) for word in words)])


def said(text: str) -> str:
    return " ".join(text.split())


def test_the_command_measures_real_engines_and_says_what_it_found(model, tmp_path):
    out = tmp_path / "out"
    words = ("--on", "cpp,onnxruntime-fp32,fpga", "--seconds", "0.02", "--count", "64")
    words += ("--batches", "1,16", "--threads", "1", "--bound", "50ms", "--out", out)
    result = call(model, *words)
    assert result.exit_code == 0, result.output
    text = said(result.stdout)
    assert "the same 128 integers" in text
    assert "simulated clocks" in text
    assert "Generated C++, batch 1, called from C++: median" in text
    made = read_bench(out)
    assert made.chip.interval_clocks == 1
    assert made.chip.resources == ()
    assert {a.engine: a.equal for a in made.answers} == {
        "cpp": True,
        "onnxruntime-fp32": True,
        "fpga": True,
    }
    assert {a.sha256 for a in made.answers} == {made.answers[0].sha256}
    scenarios = {(row.engine, row.scenario) for row in made.rows}
    for engine in ("cpp", "onnxruntime-fp32"):
        assert {(engine, s) for s in (SWEEP, SINGLE, "multi", "server", OFFLINE)} <= scenarios
    assert ("cpp", "loop") in scenarios
    assert all(row.label == MEASURED for row in made.rows if row.engine != "fpga")
    single = next(r for r in made.rows if (r.engine, r.scenario) == ("cpp", SINGLE))
    assert 0 < single.p50_ns < 1e7
    assert single.floor_ns > 0


def test_the_command_reads_what_a_board_measured(model, tmp_path, monkeypatch):
    from test_bench_board import FakeBoard, drive

    out = tmp_path / "out"
    words = ("--on", "fpga", "--count", "64", "--out", out)
    made = call(model, *words, "--board", "pynq-z2")
    assert made.exit_code == 0, made.output
    folder = out / "board-pynq-z2"
    assert str(folder / "README.md") in made.stdout
    assert read_bench(out).chip.part == "xc7z020"
    assert read_bench(out).chip.clock_mhz == 100
    assert not any(row.label.endswith("board") for row in read_bench(out).rows)
    assert drive(folder, FakeBoard(folder, None), monkeypatch) == 0
    results = folder / "results.json"
    made = call(model, *words, "--board", "pynq-z2", "--board-results", results)
    assert made.exit_code == 0, made.output
    assert "measured on a board" in said(made.stdout)
    assert [a.engine for a in read_bench(out).answers] == ["fpga", "fpga (pynq-z2)"]
    other = call(model, *words, "--seed", "2", "--board-results", results)
    assert other.exit_code == 2
    assert "another inputs" in said(other.stderr)


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["none.txt"], 1, "none.txt cannot be read: No such file"),
        (["none.keras"], 1, "none.keras cannot be read: No such file"),
        (["small.txt", "--on", "cpu,tpu"], 2, "there is no engine 'tpu'"),
        (["small.txt", "--scenarios", "fast"], 2, "scenario 'fast' is not known"),
        (["small.txt", "--batches", "1,many"], 2, "--batches: 'many'"),
        (["small.txt", "--batches", "0"], 2, "--batches: '0'"),
        (["small.txt", "--threads", "some"], 2, "or all"),
        (["small.txt", "--seconds", "0"], 2, "--seconds 0"),
        (["small.txt", "--rate", "-3"], 2, "--rate -3"),
        (["small.txt", "--bound", "soon"], 2, "time 'soon'"),
        (["small.txt", "--board", "zcu102"], 2, "did you mean zcu104"),
        (["small.txt", "--part", "nothing"], 2, "part 'nothing' is not known"),
        (["small.txt", "--events", "none.npy"], 1, "none.npy cannot be read"),
        (["small.txt", "--on", "fpga", "--board-results", "no.json"], 1, "no.json cannot be read"),
        (["broken.txt"], 1, "Line 1 of the Graph"),
    ],
)
def test_wrong_input_is_one_clear_error(words, code, problem, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("broken.txt").write_text("no graph at all\n")
    result = call(*words, "--out", "out")
    assert result.exit_code == code, result.output
    assert problem in said(result.stderr)
    assert "Traceback" not in result.stderr
    assert not Path("out/bench.json").exists()


def test_events_of_a_file_are_what_is_sent(model, tmp_path):
    np.save(tmp_path / "events.npy", np.random.default_rng(1).normal(size=(20, 6)))
    words = ("--on", "fpga", "--events", tmp_path / "events.npy", "--out", tmp_path / "out")
    assert call(model, *words).exit_code == 0
    inputs = read_bench(tmp_path / "out").inputs
    assert (inputs.given, inputs.random) == (20, 0)
    np.save(tmp_path / "events.npy", np.zeros((20, 7)))
    result = call(model, *words)
    assert result.exit_code == 2
    assert "shape" in said(result.stderr)


def test_words_of_a_row():
    assert [duration(ns) for ns in (None, 0.0, 46.875, 999.0, 1500.0, 2.5e6, 3e9)] == [
        "",
        "0 ns",
        "46.9 ns",
        "999 ns",
        "1.50 us",
        "2.50 ms",
        "3.00 s",
    ]
    row = Row("e", OFFLINE, MEASURED, 64, True, 2, "slices", joules_per_event=3e-6, energy="RAPL")
    assert row_cells(row)[-1] == "3.00 uJ an event (RAPL)"
    assert csv_text.__doc__
