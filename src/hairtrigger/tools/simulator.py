"""Run events through a compiled top module, and check its valid and reset convention.

The program checks more than the outputs. Registers without a reset start with random bits; the
pipeline is filled and reset for one clock, after which nothing may come out; the data beside
``in_valid`` is noise; and every event must have the latency of the first.
"""

import re
import subprocess
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError, ToolError
from hairtrigger.tools import process

MAX_LATENCY = 10_000
"""Clocks after which a design that gives no output counts as dead."""
_VERDICT = re.compile(r"^hairtrigger (ok|failed) (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class SimulationResult:
    """What came out of a simulation.

    ``outputs`` is uint8 of shape (events, ceil(out_bits / 8)), little-endian; ``latency`` is the
    clocks from an event's ``in_valid`` to its ``out_valid``, the same for all (0: combinational);
    ``clocks`` counts from the first ``in_valid`` to the last ``out_valid``, both included.
    """

    outputs: NDArray[np.uint8]
    latency: int
    clocks: int
    events: int


@dataclass(frozen=True)
class Simulator:
    """A compiled top module; ``run`` sends events through it."""

    program: Path
    top: str
    in_bits: int
    out_bits: int
    version: str

    def run(
        self,
        inputs: NDArray[np.uint8],
        *,
        interval: int = 1,
        words: int = 1,
        gaps_seed: int | None = None,
        max_latency: int = MAX_LATENCY,
        timeout_s: float | None = None,
    ) -> SimulationResult:
        """Run every event and return the outputs in order.

        ``inputs`` is uint8 of shape (events, ceil(in_bits / 8)), bit 0 of byte 0 being
        ``in_data[0]``; the bits beyond ``in_bits`` must be 0. ``interval`` is the clocks from one
        event to the next. An event that enters in several ``words`` has that many rows behind each
        other; they enter without a gap. With ``gaps_seed`` an event waits a random number of clocks
        more (each with probability 1/2), which a correct design must not notice.

        Raises InputError for inputs of another shape or type, ToolError when the design breaks the
        convention of this module or the simulation fails.
        """
        inputs = _checked(inputs, self.in_bits, interval, words)
        events = len(inputs) // words
        command = [self.program, events, interval, int(gaps_seed is not None), gaps_seed or 0]
        arguments = [str(word) for word in (*command, max_latency, words)]
        shape = (events, _bytes(self.out_bits))
        outputs, status, said = _stream(arguments, inputs, shape, timeout_s)
        verdicts = _VERDICT.findall(said)
        if status != 0 or not verdicts or verdicts[-1][0] != "ok":
            self._explain(verdicts[-1][1] if verdicts else "", status, said)
        latency, clocks = (int(word) for word in verdicts[-1][1].split())
        if outputs is None:
            raise ToolError(
                f"the simulation of {self.top} ended well but gave fewer than {events} outputs",
                "delete the tool cache and start again",
            )
        return SimulationResult(outputs, latency, clocks, events)

    def _explain(self, reason: str, status: int, said: str) -> None:
        if reason:
            raise ToolError(
                f"the top module {self.top} breaks the valid/reset convention: {reason}",
                "every event needs one out_valid at a fixed number of clocks after its in_valid, "
                "and rst must clear the whole chain of valid registers in one clock",
            )
        raise ToolError(
            f"the simulation of {self.top} failed ({process.describe_status(status)})"
            + process.quote(process.last_lines(said)),
            "if the lines above name no cause, free memory or delete the tool cache and try again",
        )


def _stream(
    words: list[str], inputs: NDArray[np.uint8], shape: tuple[int, int], timeout_s: float | None
) -> tuple[NDArray[np.uint8] | None, int, str]:
    """Feed ``inputs`` while reading outputs: (outputs or None when too few, status, messages)."""
    outputs = np.empty(shape, np.uint8)
    view = memoryview(outputs).cast("B") if outputs.size else memoryview(bytearray())
    with tempfile.TemporaryFile() as said:
        try:
            running = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolError(
                f"the simulator could not be started: {error.strerror or error} ({words[0]})",
                "delete the tool cache and start again",
            ) from error
        late = threading.Event()

        def expire() -> None:
            late.set()
            running.kill()

        def feed() -> None:
            # A design that fails stops reading; its verdict says why.
            with suppress(BrokenPipeError), running.stdin as pipe:
                if inputs.size:
                    pipe.write(memoryview(inputs).cast("B"))

        timer = threading.Timer(timeout_s, expire) if timeout_s is not None else None
        feeder = threading.Thread(target=feed, daemon=True)
        try:
            if timer:
                timer.start()
            feeder.start()
            with running.stdout as pipe:
                got = 0
                while got < len(view) and (count := pipe.readinto(view[got:])):
                    got += count
                more = pipe.read(1)
            status = running.wait()
        finally:
            if timer:
                timer.cancel()
            process.end_group(running)
            feeder.join()
        if late.is_set():
            raise ToolError(
                f"the simulation ran longer than its limit of {timeout_s:g} s",
                "raise the time limit, or give fewer events",
            )
        said.seek(0)
        messages = said.read().decode(errors="replace")
    return (outputs if got == len(view) and not more else None), status, messages


def _checked(
    inputs: NDArray[np.uint8], in_bits: int, interval: int, words: int
) -> NDArray[np.uint8]:
    if interval < 1:
        raise InputError(
            f"interval={interval}: an event enters every 1 clock or more",
            "give the clocks from one event to the next",
        )
    if not 1 <= words <= interval:
        raise InputError(
            f"words={words}: an event enters in at least 1 clock and at most its {interval}",
            "give the words of an event, no more than the clocks between events",
        )
    wanted = _bytes(in_bits)
    if not isinstance(inputs, np.ndarray) or inputs.dtype != np.uint8:
        kind = inputs.dtype if isinstance(inputs, np.ndarray) else type(inputs).__name__
        raise InputError(
            f"inputs are {kind}, where packed events are a NumPy array of uint8",
            "pack the bits of an event, for example with np.packbits(..., bitorder='little')",
        )
    if inputs.ndim != 2 or inputs.shape[1] != wanted:
        raise InputError(
            f"inputs have shape {inputs.shape}, where {in_bits} bits need (events, {wanted})",
            "give one row of bytes per event",
        )
    if len(inputs) % words:
        raise InputError(
            f"{len(inputs)} words are no whole number of events of {words}", "give whole events"
        )
    spare = 8 * wanted - in_bits
    if spare and np.any(inputs[:, -1] >> (8 - spare)):
        event = int(np.flatnonzero(inputs[:, -1] >> (8 - spare))[0])
        raise InputError(
            f"event {event} has bits set beyond the {in_bits} bits of in_data",
            "clear the unused high bits of the last byte",
        )
    return np.ascontiguousarray(inputs)


def _bytes(bits: int) -> int:
    return -(-bits // 8)
