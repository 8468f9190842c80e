"""The boards that are known by name."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from hairtrigger.errors import InputError
from hairtrigger.targets import Part, find_part

ZYNQ7, ZYNQMP, ALVEO = "zynq7", "zynqmp", "alveo"


@dataclass(frozen=True)
class Board:
    """A board: its ``part``, ``kind`` of host, the widest beat in bytes that its memory
    port takes, the clock that is usual on it, and where that is said."""

    name: str
    title: str
    part_name: str
    kind: str
    widest: int
    clock_mhz: float
    platform: str = ""

    @property
    def part(self) -> Part:
        """The FPGA on it."""
        return find_part(self.part_name)

    @property
    def driver(self) -> str:
        """Which class of the driver it takes."""
        return "alveo" if self.kind == ALVEO else "zynq"


BOARDS = (
    Board("pynq-z2", "TUL PYNQ-Z2", "xc7z020", ZYNQ7, 8, 100.0),
    Board("zcu104", "AMD ZCU104", "xczu7ev", ZYNQMP, 16, 200.0),
    Board(
        "alveo-u50",
        "AMD Alveo U50",
        "xcu50",
        ALVEO,
        64,
        300.0,
        "xilinx_u50_gen3x16_xdma_5_202210_1",
    ),
    Board(
        "alveo-u250",
        "AMD Alveo U250",
        "xcu250",
        ALVEO,
        64,
        300.0,
        "xilinx_u250_gen3x16_xdma_4_1_202210_1",
    ),
)
"""``platform``: the Vitis platform that a card is linked for; its Makefile takes another too."""


def find_board(name: str) -> Board:
    """The board of this name. Raises `InputError` with the closest one."""
    asked = name.strip().lower()
    for board in BOARDS:
        if board.name == asked:
            return board
    known = [board.name for board in BOARDS]
    close = difflib.get_close_matches(asked, known, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]}? " if close else ""
    raise InputError(f"board {name!r} is not known", f"{hint}known are {', '.join(known)}")
