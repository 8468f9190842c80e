"""The folder of a board: Verilog that simulates, a driver that runs, results that are checked."""

from __future__ import annotations

import ast
import importlib.util
import json
import py_compile
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from bench_cases import network
from hairtrigger.bench.board.boards import BOARDS, find_board
from hairtrigger.bench.board.results import board_rows, read_results
from hairtrigger.bench.board.write import check_board, write_board
from hairtrigger.bench.inputs import make_inputs
from hairtrigger.bench.records import BOARD, OFFLINE, SINGLE, STREAMING
from hairtrigger.errors import InputError, MismatchError, StorageError, UnsupportedError
from hairtrigger.graph.emulate import emulate_codes
from hairtrigger.rtl.design import Design, compile_graph
from hairtrigger.rtl.packets import packet_name, packets_of
from hairtrigger.tools import verilator
from hairtrigger.tools.axis import build_stream


def written(board_name: str, folder: Path, events: int = 60):
    board = find_board(board_name)
    graph = network()
    clock = f"{board.clock_mhz:g} MHz"
    design = compile_graph(graph, board.part, clock, stall=True)
    codes, inputs = make_inputs(graph, "small", events, 1)
    expected = emulate_codes(graph, codes)
    files = write_board(design, board, inputs, codes, expected, folder)
    return SimpleNamespace(
        board=board, design=design, codes=codes, inputs=inputs, expected=expected, files=files
    )


@pytest.mark.parametrize("board", BOARDS, ids=lambda b: b.name)
def test_the_folder_of_every_board_is_whole_and_its_verilog_is_clean(board, tmp_path):
    made = written(board.name, tmp_path)
    assert all(file.stat().st_size for file in made.files)
    sources = sorted((tmp_path / "src").glob("*.v"))
    top = f"{made.design.name}_kernel" if board.kind == "alveo" else packet_name(made.design)
    verilator.lint(sources, top)
    py_compile.compile(str(tmp_path / "driver.py"), doraise=True)
    record = json.loads((tmp_path / "board.json").read_text())
    assert record["inputs_sha256"] == made.inputs.sha256
    assert (tmp_path / "events.bin").stat().st_size == record["events"] * record["in_bytes"]
    assert (tmp_path / "expected.bin").stat().st_size == record["events"] * record["out_bytes"]
    readme = (tmp_path / "README.md").read_text()
    assert "have not run on hardware" in readme
    # Braces of the texts are Tcl's, balanced, and none of Python's is left.
    for name in ("build.tcl", "package.tcl"):
        if (tmp_path / name).exists():
            text = (tmp_path / name).read_text()
            assert text.count("{") == text.count("}")
            assert text.count("[") == text.count("]")
            assert "{{" not in text


def test_the_driver_needs_only_numpy_and_the_boards_package(tmp_path):
    written("pynq-z2", tmp_path)
    names = set()
    for node in ast.walk(ast.parse((tmp_path / "driver.py").read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    assert names - set(sys.stdlib_module_names) == {"numpy", "pynq", "pyxrt"}


def test_the_written_verilog_is_checked_with_its_events(tmp_path):
    made = written("alveo-u50", tmp_path)
    check_board(made.design, made.board, made.codes, made.expected, tmp_path)
    wrong = tuple(x.copy() for x in made.expected)
    wrong[0][20, 1] ^= 1
    with pytest.raises(MismatchError, match="answers otherwise than the emulator"):
        check_board(made.design, made.board, made.codes, wrong, tmp_path)


def test_events_and_answers_in_memory_are_those_of_the_simulated_verilog(tmp_path):
    made = written("pynq-z2", tmp_path)
    layout = packets_of(made.design, made.board.widest)
    sources = sorted((tmp_path / "src").glob("*.v"))
    name = packet_name(made.design)
    simulator = build_stream(sources, name, layout.in_beat, layout.out_beat, packets=True)
    sent = np.fromfile(tmp_path / "events.bin", dtype=np.uint8).reshape(-1, layout.in_beat)
    last = np.arange(len(sent)) == len(sent) - 1
    beats = 60 * layout.out_beats
    found = simulator.run(sent, last, beats, valid_percent=70, ready_percent=70)
    assert found.answers[:, :-1].tobytes() == (tmp_path / "expected.bin").read_bytes()


class FakeBoard:
    """A pynq package whose DMA answers with the emulator's bytes, or with ``wrong`` ones."""

    def __init__(self, folder: Path, design: Design, clocks: int = 77, wrong: bool = False):
        record = json.loads((folder / "board.json").read_text())
        self.each, self.answer = record["in_bytes"], record["out_bytes"]
        events = np.fromfile(folder / "events.bin", np.uint8).reshape(-1, self.each)
        answers = np.fromfile(folder / "expected.bin", np.uint8).reshape(-1, self.answer)
        if wrong:
            answers[5, 0] ^= 1
        self.known = {e.tobytes(): a for e, a in zip(events, answers, strict=True)}
        self.order: list[str] = []
        self.clocks = clocks
        self.given = self.taken = None
        self.module = ModuleType("pynq")
        self.module.__version__ = "3.0.1"
        self.module.allocate = lambda shape, dtype: np.zeros(shape, dtype)
        self.module.Overlay = self.overlay

    def overlay(self, path: str):
        assert path.endswith(".bit")

        def channel(name: str) -> SimpleNamespace:
            return SimpleNamespace(
                transfer=lambda buffer: self.transfer(name, buffer),
                wait=lambda: self.order.append(f"{name} wait"),
            )

        dma = SimpleNamespace(sendchannel=channel("send"), recvchannel=channel("receive"))
        gpio = SimpleNamespace(read=lambda offset: self.clocks if offset == 0 else 0)
        return SimpleNamespace(axi_dma_0=dma, axi_gpio_0=gpio)

    def transfer(self, name: str, buffer) -> None:
        self.order.append(name)
        if name == "receive":
            self.taken = buffer
            return
        rows = buffer.reshape(-1, self.each)
        found = np.stack([self.known[row.tobytes()] for row in rows])
        assert len(self.taken) == found.size
        self.taken[:] = found.ravel()


def drive(folder: Path, fake: FakeBoard, monkeypatch) -> int:
    monkeypatch.setitem(sys.modules, "pynq", fake.module)
    monkeypatch.setattr(sys, "argv", ["driver.py", "--seconds", "0.01"])
    spec = importlib.util.spec_from_file_location("board_driver", folder / "driver.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PACKET_BYTES", 4096)
    with pytest.raises(SystemExit) as ended:
        module.main()
    return ended.value.code


def test_the_driver_measures_compares_and_writes_what_the_bench_reads(
    tmp_path, monkeypatch, capsys
):
    made = written("pynq-z2", tmp_path)
    fake = FakeBoard(tmp_path, made.design)
    assert drive(tmp_path, fake, monkeypatch) == 0
    assert "all answers equal" in capsys.readouterr().out
    # The receiver is armed before anything is sent, and both are waited for.
    assert fake.order[:4] == ["receive", "send", "send wait", "receive wait"]
    found = read_results(tmp_path / "results.json")
    answers, rows = board_rows(found, made.design, made.inputs, made.expected)
    assert answers.equal
    assert answers.words.startswith("TUL PYNQ-Z2 at 100 MHz, pynq 3.0.1")
    assert {row.scenario: row.label for row in rows} == {
        SINGLE: BOARD,
        OFFLINE: BOARD,
        STREAMING: BOARD,
    }
    streaming = rows[-1]
    assert streaming.p50_ns == 770.0
    assert streaming.per_second == pytest.approx(60e9 / 770)
    assert rows[0].transfers == "with"


def test_wrong_answers_of_a_board_are_seen(tmp_path, monkeypatch, capsys):
    made = written("pynq-z2", tmp_path)
    assert drive(tmp_path, FakeBoard(tmp_path, made.design, wrong=True), monkeypatch) == 1
    assert "ANSWERS DIFFER" in capsys.readouterr().out
    found = read_results(tmp_path / "results.json")
    answers, rows = board_rows(found, made.design, made.inputs, made.expected)
    assert not answers.equal
    assert (answers.differences, answers.first_event) == (1, 5)
    assert not any(row.same_answer for row in rows)
    # Results that hide it are refused.
    hidden = replace(found, wrong_events=0)
    with pytest.raises(InputError, match="contradicts"):
        board_rows(hidden, made.design, made.inputs, made.expected)


def test_results_of_others_are_refused(tmp_path, monkeypatch):
    made = written("pynq-z2", tmp_path)
    drive(tmp_path, FakeBoard(tmp_path, made.design), monkeypatch)
    path = tmp_path / "results.json"
    found = read_results(path)
    for change, words in (
        ({"graph_sha256": "0" * 64}, "another Graph"),
        ({"inputs_sha256": "0" * 64}, "another inputs"),
        ({"events": 59}, "59 events, of 60"),
        ({"board": "pynq-z1"}, "did you mean pynq-z2"),
    ):
        with pytest.raises(InputError, match=words):
            board_rows(replace(found, **change), made.design, made.inputs, made.expected)
    whole = path.read_text()
    for text in (whole[: len(whole) // 2], "[]", "{}", whole.replace("board/1", "board/9")):
        path.write_text(text)
        with pytest.raises(StorageError):
            read_results(path)
    record = json.loads(whole)
    for change in ({"single_ns": []}, {"single_ns": [0, 5]}, {"clock_mhz": 0.0}):
        path.write_text(json.dumps({**record, **change}))
        with pytest.raises(StorageError, match="run it again"):
            read_results(path)
    with pytest.raises(StorageError, match="No such file"):
        read_results(tmp_path / "none.json")


def test_boards_and_designs_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(InputError, match="did you mean zcu104"):
        find_board("zcu102")
    made = written("pynq-z2", tmp_path)
    arguments = (made.inputs, made.codes, made.expected, tmp_path / "other")
    with pytest.raises(InputError, match="AMD ZCU104 has xczu7ev"):
        write_board(made.design, find_board("zcu104"), *arguments)
    with pytest.raises(UnsupportedError, match="cannot be held"):
        write_board(replace(made.design, stall=False), made.board, *arguments)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_board(made.design, made.board, *arguments[:-1], tmp_path / "file")
