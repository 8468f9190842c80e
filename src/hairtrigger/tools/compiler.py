"""The C++ compiler: find it, name its version, compile many files at once."""

import functools
import os
import shlex
import shutil
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from hairtrigger.errors import ToolError
from hairtrigger.tools import process

CANDIDATES = ("g++", "clang++")
HOW_TO_GET = (
    "install one (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++; "
    "macOS: xcode-select --install), or point the environment variable CXX at it"
)
JOBS = 2
"""Compilations at a time: Verilated C++ takes up to 0.4 GB each, and small machines matter."""
_ERROR_MARKS = ("error:", "error ", "undefined reference", "fatal")


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler: the command that starts it and the first line of its ``--version``."""

    command: tuple[str, ...]
    version: str


@dataclass(frozen=True)
class Unit:
    """One C++ source and the object file it becomes."""

    source: Path
    object: Path
    flags: tuple[str, ...] = ()


def find_compiler() -> Compiler:
    """The compiler of CXX, else g++, else clang++; raises ToolError when there is none."""
    chosen = os.environ.get("CXX", "").strip()
    if chosen:
        command = tuple(shlex.split(chosen))
        if shutil.which(command[0]) is None:
            raise ToolError(
                f"the C++ compiler that CXX names, {chosen!r}, is not there", HOW_TO_GET
            )
        return Compiler(command, _version(command))
    for name in CANDIDATES:
        path = shutil.which(name)
        if path is not None:
            return Compiler((path,), _version((path,)))
    raise ToolError("no C++ compiler found: tried CXX, " + ", ".join(CANDIDATES), HOW_TO_GET)


@functools.cache
def _version(command: tuple[str, ...]) -> str:
    done = process.run([*command, "--version"], tool="the C++ compiler", timeout_s=30)
    lines = done.output.strip().splitlines()
    if done.status != 0 or not lines:
        raise ToolError(
            f"`{process.command_line([*command, '--version'])}` failed "
            f"({process.describe_status(done.status)})"
            + process.quote(process.first_lines(done.output)),
            HOW_TO_GET,
        )
    return lines[0]


def compile_objects(
    compiler: Compiler,
    units: Sequence[Unit],
    flags: Sequence[str] = (),
    *,
    folder: Path | None = None,
    jobs: int = JOBS,
    timeout_s: float | None = None,
) -> None:
    """Compile every unit to its object file, ``jobs`` at a time, the largest source first.

    ``flags`` go to every unit, before its own. Raises ToolError with the compiler's first errors;
    then, and when interrupted, the other compilations end at once.
    """
    group = process.Group()
    ordered = sorted(units, key=lambda unit: unit.source.stat().st_size, reverse=True)
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        tasks = [
            pool.submit(
                _run,
                [*compiler.command, *flags, *unit.flags, "-c", unit.source, "-o", unit.object],
                f"compiling {unit.source.name}",
                folder,
                timeout_s,
                group,
            )
            for unit in ordered
        ]
        try:
            done, _ = wait(tasks, return_when=FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            group.end()


def link(
    compiler: Compiler,
    objects: Sequence[Path],
    program: Path,
    flags: Sequence[str] = (),
    *,
    shared: bool = False,
    folder: Path | None = None,
) -> None:
    """Link ``objects`` to an executable, or to a shared library when ``shared``."""
    kind = ("-shared",) if shared else ()
    command = [*compiler.command, *kind, *objects, "-o", program, *flags]
    _run(command, f"linking {program.name}", folder, None, None)


def _run(
    command: list[str | Path],
    doing: str,
    folder: Path | None,
    timeout_s: float | None,
    group: process.Group | None,
) -> None:
    done = process.run(
        command, tool="the C++ compiler", folder=folder, timeout_s=timeout_s, group=group
    )
    if done.status != 0:
        raise ToolError(
            f"the C++ compiler failed at {doing} ({process.describe_status(done.status)})"
            + process.quote(process.first_lines(done.output, _ERROR_MARKS))
            + f"\n  Command: {process.command_line(command)}",
            "the first error above usually names the cause; if it ran out of memory or disk, "
            "free some and start again",
        )
