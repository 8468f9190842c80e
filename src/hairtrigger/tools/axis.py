"""Run frames through a Verilated AXI4-Stream wrapper, with random gaps and back-pressure.

The program checks the protocol too: TVALID must stay until TREADY, TDATA must not change meanwhile,
and TVALID must not depend on TREADY; after the last answer none may follow.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import ToolError
from hairtrigger.tools import process, verilator

_HARNESS = Path(__file__).with_name("harness_axis.cpp")
_VERDICT = re.compile(r"^hairtrigger (ok|failed) (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Streamed:
    """``answers`` uint8 (answers, bytes), the clocks that they took, and ``frame_error``."""

    answers: NDArray[np.uint8]
    clocks: int
    frame_error: bool


@dataclass(frozen=True)
class StreamSimulator:
    """A compiled wrapper; its words have ``in_bytes`` and ``out_bytes`` bytes. With ``packets``
    TLAST ends a packet of answers, not each; then every answer has one byte more, its TLAST."""

    program: Path
    top: str
    in_bytes: int
    out_bytes: int
    packets: bool = False

    def run(
        self,
        words: NDArray[np.uint8],
        last: NDArray[np.bool_],
        answers: int,
        *,
        seed: int = 1,
        valid_percent: int = 100,
        ready_percent: int = 100,
        max_clocks: int = 10_000_000,
        timeout_s: float | None = 600.0,
    ) -> Streamed:
        """Send words (words, in_bytes) with their TLAST and take so many answers.

        A word is offered, and an answer taken, in so many percent of the clocks, in random runs.
        Raises `ToolError` where an answer is lost or one too many, or the protocol is broken.
        """
        numbers = (answers, seed, valid_percent, ready_percent, max_clocks)
        given = np.concatenate([words, last.astype(np.uint8)[:, None]], axis=1)
        try:
            done = subprocess.run(
                [str(self.program), *map(str, numbers)],
                input=given.tobytes(),
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ToolError(
                f"the stream simulation ran longer than its limit of {timeout_s:g} s",
                "raise the limit, or give fewer frames",
            ) from None
        said = done.stderr.decode(errors="replace")
        verdicts = _VERDICT.findall(said)
        if done.returncode != 0 or not verdicts or verdicts[-1][0] != "ok":
            reason = verdicts[-1][1] if verdicts else process.quote(process.last_lines(said))
            raise ToolError(
                f"the stream {self.top} with seed {seed}, {valid_percent} % valid and "
                f"{ready_percent} % ready failed: {reason}",
                "run it again with these numbers, which repeat it",
            )
        clocks, error = (int(word) for word in verdicts[-1][1].split())
        found = np.frombuffer(done.stdout, dtype=np.uint8).reshape(answers, -1)
        return Streamed(found, clocks, bool(error))


def build_stream(
    files: Sequence[Path],
    top: str,
    in_bytes: int,
    out_bytes: int,
    folder: Path | None = None,
    *,
    packets: bool = False,
) -> StreamSimulator:
    """Compile a wrapper for simulation; see `hairtrigger.tools.verilator.build`."""
    sizes = (f"-DHT_IN_BYTES={in_bytes}", f"-DHT_OUT_BYTES={out_bytes}")
    sizes += ("-DHT_PACKETS",) if packets else ()
    program = verilator.build_program(files, top, _HARNESS, sizes, lambda _: None, folder)
    return StreamSimulator(program, top, in_bytes, out_bytes, packets)
