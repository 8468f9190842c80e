"""Run an external program with a time limit, and explain its failure in a few lines."""

import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hairtrigger.errors import ToolError

ERROR_LINES = 12
"""Lines of a tool's own words that an error repeats."""


@dataclass(frozen=True)
class Finished:
    """A program that has ended: its exit status, what it printed, and wall time in seconds."""

    status: int
    output: str
    seconds: float


class Group:
    """Programs run from several threads, that end together when one of them fails."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended = False
        self._processes: list[subprocess.Popen[bytes]] = []

    def add(self, process: "subprocess.Popen[bytes]") -> None:
        """Take ``process`` in, or end it at once when the group has ended already."""
        with self._lock:
            self._processes.append(process)
            if self._ended:
                end_group(process)

    def end(self) -> None:
        """End whatever still runs, and whatever is added later."""
        with self._lock:
            self._ended = True
            for process in self._processes:
                end_group(process)


def run(
    command: Sequence[str | Path],
    *,
    tool: str,
    folder: Path | None = None,
    extra_env: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
    group: Group | None = None,
) -> Finished:
    """Run ``command`` to its end; standard output and error come back as one text.

    ``group`` lets another thread end the program early.

    The program gets a process group of its own, and the whole group ends when the time limit
    passes or the caller is interrupted, so that no compiler or ABC process outlives us.

    Raises ToolError when the program cannot be started or runs longer than ``timeout_s``.
    """
    words = [str(word) for word in command]
    start = time.monotonic()
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                words,
                cwd=folder,
                env={**os.environ, **(extra_env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolError(
                f"{tool} could not be started: {error.strerror or error} ({words[0]})",
                "run `hairtrigger doctor` to see which tools work",
            ) from error
        if group is not None:
            group.add(process)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            end_group(process)
            raise ToolError(
                f"{tool} ran longer than its limit of {timeout_s:g} s"
                + quote(last_lines(_text(log))),
                "raise the time limit, or make the design smaller",
            ) from None
        except BaseException:
            end_group(process)
            raise
        return Finished(process.returncode, _text(log), time.monotonic() - start)


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a process started in its own session, with everything that it started, if it runs."""
    if process.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def describe_status(status: int) -> str:
    """An exit status in words; a negative one is the signal that ended the program."""
    if status >= 0:
        return f"exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = ", perhaps out of memory" if name == "SIGKILL" else ""
    return f"ended by {name}{hint}"


def command_line(command: Sequence[str | Path]) -> str:
    """``command`` as a line that a shell would accept, shortened when very long."""
    line = shlex.join(str(word) for word in command)
    return line if len(line) <= 600 else f"{line[:400]} ... {line[-180:]}"


def first_lines(text: str, marks: Sequence[str] = (), count: int = ERROR_LINES) -> str:
    """The first lines of ``text``, from the first line that contains one of ``marks`` on."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    start = next((i for i, line in enumerate(lines) if any(m in line for m in marks)), 0)
    return _shorten(lines[start : start + count])


def last_lines(text: str, count: int = ERROR_LINES) -> str:
    """The last lines of ``text``."""
    return _shorten([line.rstrip() for line in text.splitlines() if line.strip()][-count:])


def quote(text: str) -> str:
    """``text`` set off below a sentence, or nothing when it is empty."""
    return ":\n    " + text.replace("\n", "\n    ") if text else ""


def _shorten(lines: list[str]) -> str:
    return "\n".join(line if len(line) <= 240 else line[:240] + " ..." for line in lines)


def _text(log: "tempfile._TemporaryFileWrapper[bytes]") -> str:
    log.seek(0, os.SEEK_END)
    size = log.tell()
    # A tool can print gigabytes; both ends are enough to explain a failure.
    limit = 4_000_000
    log.seek(0)
    if size <= 2 * limit:
        return log.read().decode(errors="replace")
    head = log.read(limit)
    log.seek(-limit, os.SEEK_END)
    return (head + b"\n...\n" + log.read()).decode(errors="replace")
