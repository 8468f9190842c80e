"""Writes the folder of a board: Verilog, scripts for the vendor's tools, events and the driver."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from hairtrigger.bench.board import scripts
from hairtrigger.bench.board.boards import ALVEO, Board
from hairtrigger.bench.inputs import Codes
from hairtrigger.bench.records import InputsRecord
from hairtrigger.errors import InputError, MismatchError, StorageError
from hairtrigger.rtl.bits import pack
from hairtrigger.rtl.design import Design
from hairtrigger.rtl.packets import (
    Packets,
    packet_name,
    packet_verilog,
    packets_of,
    to_memory,
)
from hairtrigger.rtl.stream import stream_bytes, stream_verilog
from hairtrigger.tools import verilator
from hairtrigger.tools.axis import build_stream

SIMULATED = 64
"""Events that `check_board` simulates at most."""
DRIVER = Path(__file__).with_name("driver.py")


def write_board(
    design: Design,
    board: Board,
    inputs: InputsRecord,
    codes: Codes,
    expected: Codes,
    folder: Path,
) -> tuple[Path, ...]:
    """Write everything that a board needs, but what only the vendor's tools make.

    ``design``: compiled with ``stall=True`` for the board's part. Raises `InputError` for another
    part, `UnsupportedError` for a design that cannot be a stream, `StorageError`.
    """
    if design.part.name != board.part.name:
        raise InputError(
            f"the design is for {design.part.name}, and {board.title} has {board.part.name}",
            "compile it for that part",
        )
    layout = packets_of(design, board.widest)
    memory, answers = to_memory(design, layout, codes), answer_memory(design, layout, expected)
    record = {
        "board": board.name,
        "kind": board.driver,
        "design": design.name,
        "graph_sha256": inputs.graph_sha256,
        "inputs_sha256": inputs.sha256,
        "clock_mhz": design.clock.mhz,
        "latency_clocks": design.latency,
        "interval_clocks": design.interval,
        "events": inputs.events,
        "in_bytes": layout.in_bytes,
        "out_bytes": layout.out_bytes,
        "expected_sha256": hashlib.sha256(answers).hexdigest(),
    }
    texts = {
        "src/kernels.v": design.kernels_verilog,
        f"src/{design.name}.v": design.top_verilog,
        f"src/{design.name}_axis.v": stream_verilog(design),
        f"src/{design.name}_dma.v": packet_verilog(design, layout),
        "driver.py": DRIVER.read_text(encoding="utf-8"),
        "board.json": json.dumps(record, indent=1) + "\n",
    }
    if board.kind == ALVEO:
        texts |= scripts.alveo(design, board, layout)
    else:
        texts |= scripts.zynq(design, board, layout)
    texts["README.md"] = scripts.readme(design, board, layout)
    try:
        (folder / "src").mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        (folder / "events.bin").write_bytes(memory.tobytes())
        (folder / "expected.bin").write_bytes(answers)
    except OSError as error:
        raise StorageError(
            f"the files of {board.title} cannot be written to {folder}: {error.strerror}",
            "choose a folder that can be written and has room",
        ) from error
    return tuple(folder / name for name in (*texts, "events.bin", "expected.bin"))


def check_board(design: Design, board: Board, codes: Codes, expected: Codes, folder: Path) -> None:
    """Lint the written Verilog, and simulate it with up to `SIMULATED` of the events in three
    packets, with pauses on both sides. Raises `ToolError`, `MismatchError`."""
    import numpy as np

    layout, name = packets_of(design, board.widest), packet_name(design)
    top = f"{design.name}_kernel" if board.kind == ALVEO else name
    sources = sorted((folder / "src").glob("*.v"))
    verilator.lint(sources, top)
    inner = [file for file in sources if file.stem != f"{design.name}_kernel"]
    simulator = build_stream(inner, name, layout.in_beat, layout.out_beat, packets=True)
    events = min(SIMULATED, len(codes[0]))
    sent = to_memory(design, layout, tuple(x[:events] for x in codes))
    ends = np.unique([1, (events + 1) // 2, events])
    per_event = layout.words * layout.in_beats
    last = np.isin(np.arange(events * per_event), ends * per_event - 1)
    beats = sent.reshape(-1, layout.in_beat)
    wanted = answer_memory(design, layout, tuple(x[:events] for x in expected))
    for percent in (100, 60):
        found = simulator.run(
            beats, last, events * layout.out_beats, valid_percent=percent, ready_percent=percent
        )
        if found.answers[:, :-1].tobytes() != wanted or found.frame_error:
            raise MismatchError(
                f"the simulated wrapper {name} answers otherwise than the emulator",
                "report it with the Graph: this is an error of hairtrigger",
            )


def answer_memory(design: Design, layout: Packets, expected: Codes) -> bytes:
    """Output codes as the board writes them: whole beats, zeros behind each answer."""
    import numpy as np

    packed = pack(design.out_types, expected)
    whole = np.zeros((len(packed), layout.out_bytes), dtype=np.uint8)
    whole[:, : min(packed.shape[1], stream_bytes(design.out_bits))] = packed
    return whole.tobytes()
