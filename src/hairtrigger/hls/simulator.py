"""Compiles a project's C simulation with the machine's C++ compiler, and runs events through it."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError, MismatchError, ToolError
from hairtrigger.fixed import IntArray
from hairtrigger.hls.project import SIMULATION, Project
from hairtrigger.tools import cache, compiler, process

if TYPE_CHECKING:
    from hairtrigger.hls.injection import Port
    from hairtrigger.hls.insert import Placed

FLAGS = ("-std=c++17", "-w", "-I", "firmware", "-I", "firmware/ap_types")
FAST = ("-O1",)
"""-O3 took a tenth longer to compile and ran no faster."""
CHECKED = (
    "-O1",
    "-g1",
    "-fsanitize=address,bounds",
    "-fno-sanitize-recover=all",
    # What a function forgets to write is then surely wrong, not right by chance.
    "-ftrivial-auto-var-init=pattern",
)
CHUNK_BYTES = 64 << 20
"""Size of the files of events and answers that are written at once."""
TIMEOUT_S = 3600.0
_STREAM = re.compile(r"Hls::stream '(\w+)' (is read while empty|contains leftover data)")


@dataclass(frozen=True)
class Simulated:
    """Codes of the outputs, each in units of its format's LSB, and of the traced layers.

    ``skipped``: events for which a traced layer did not run, by layer; their codes there are 0.
    """

    outputs: tuple[IntArray, ...]
    layers: dict[str, IntArray]
    skipped: dict[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class Simulator:
    """A compiled C simulation; ``checked``: with bounds of arrays watched."""

    program: Path
    project: Project
    checked: bool

    def run(self, codes: Sequence[IntArray], layers: Sequence[str] = ()) -> Simulated:
        """Run events: one array (events, *shape) for each input, in units of its format's LSB.

        Raises `InputError` for codes that do not fit the inputs, `MismatchError` where a stream is
        read empty or left full, or an array is left (``checked``), with the injection and the
        event, `ToolError` where the simulation fails otherwise.
        """
        project = self.project
        flat = [_flat(x, t.port, t.name) for x, t in zip(codes, project.inputs, strict=True)]
        events = len(flat[0])
        sizes = [t.size for t in project.outputs]
        traced = [project.layer(name) for name in layers]
        wide = 8 * (sum(x.shape[1] for x in flat) + sum(sizes) + sum(t.size for t in traced))
        step = max(1, CHUNK_BYTES // wide)
        outputs: list[IntArray] = []
        traces: list[NDArray[np.float64]] = []
        for start in range(0, events, step):
            part = np.concatenate([x[start : start + step] for x in flat], axis=1)
            answers, seen = self._run_part(part, sum(sizes), [t.layer for t in traced], start)
            outputs.append(answers)
            traces.append(seen.reshape(len(part), -1))
        whole = np.concatenate(outputs) if outputs else np.zeros((0, sum(sizes)), np.int64)
        split = np.split(whole, np.cumsum(sizes)[:-1], axis=1)
        found: dict[str, IntArray] = {}
        skipped: dict[str, NDArray[np.bool_]] = {}
        if traced:
            every = np.concatenate(traces) if traces else np.zeros((0, sum(t.size for t in traced)))
            ends = np.cumsum([t.size for t in traced])[:-1]
            for t, values in zip(traced, np.split(every, ends, axis=1), strict=True):
                skipped[t.layer] = np.isnan(values).any(axis=1)
                found[t.layer] = _codes(np.nan_to_num(values), t.port)
        return Simulated(
            tuple(
                x.reshape(events, *t.port.shape)
                for x, t in zip(split, project.outputs, strict=True)
            ),
            found,
            skipped,
        )

    def _run_part(
        self, part: IntArray, answers: int, layers: list[str], first: int
    ) -> tuple[IntArray, NDArray[np.float64]]:
        with tempfile.TemporaryDirectory(prefix="hairtrigger-hls-") as work:
            given, out = Path(work) / "in", Path(work) / "out"
            trace = Path(work) / "trace"
            part.tofile(given)
            command = [self.program, given, out, trace if layers else "-", *layers]
            done = process.run(
                command,
                tool="the C simulation",
                timeout_s=TIMEOUT_S,
                # Leaks are hls4ml's business; a deque of a stream is freed at the end.
                extra_env={"ASAN_OPTIONS": "detect_leaks=0:exitcode=99"},
            )
            written = out.stat().st_size // (8 * answers) if out.exists() else 0
            if done.status != 0:
                raise self._explained(done, first + written)
            if stream := _STREAM.search(done.output):
                raise self._bad_stream(stream[1], stream[2])
            if written != len(part):
                raise ToolError(
                    f"The C simulation gave {written} of {len(part)} answers.", "Run it again."
                )
            seen = np.fromfile(trace) if layers else np.zeros(0)
            return np.fromfile(out, dtype=np.int64).reshape(-1, answers), seen

    def _explained(self, done: process.Finished, event: int) -> Exception:
        guilty = self._guilty(done.output)
        marks = ("ERROR: AddressSanitizer", "runtime error")
        said = process.quote(process.first_lines(done.output, marks))
        if any(mark in done.output for mark in marks):
            where = f"Injection {guilty.name} ({guilty.injection.where})" if guilty else "The code"
            return MismatchError(
                f"{where} reads or writes beyond an array in event {event}" + said,
                "Mend the function at the line named above.",
            )
        blamed = f"; injection {guilty.name}" if guilty else ""
        return ToolError(
            f"The C simulation failed in event {event} "
            f"({process.describe_status(done.status)}{blamed})" + said,
            "Run the check of bounds: hairtrigger hls --check, or check() of the artifact.",
        )

    def _guilty(self, text: str) -> Placed | None:
        """The injection whose header is named first in a text."""
        places = {text.find(f"{x.name}.h"): x for x in self.project.placed}
        places.pop(-1, None)
        return places[min(places)] if places else None

    def _bad_stream(self, name: str, what: str) -> MismatchError:
        project = self.project
        writer = next((x.layer for x in project.layers if x.name == name), name)
        names = [x.layer for x in project.layers]
        at = names.index(writer) if writer in names else -1
        reader = names[at + 1] if at + 1 < len(names) else "the output"
        # The reader takes too much or the writer gives too little, or the other way round.
        guilty = [x for x in (writer, reader) if project.placed_by(x)]
        if not guilty:
            guilty = [x.name for x in project.placed if x.injection.where.kind == "around"]
        blamed = f": injection {' or '.join(guilty)}" if guilty else ""
        return MismatchError(
            f"Stream {name!r} (written by {writer}, read by {reader}) {what}{blamed}.",
            "A function must read every word of an event from its input, once, and write every "
            "word of its output.",
        )


def build(project: Project, *, checked: bool = False) -> Simulator:
    """Compile the C simulation; equal sources, compiler and flags are compiled once.

    Raises `ToolError` where there is no compiler or it refuses the sources; the message names the
    injection, where the first error is in one.
    """
    cxx = compiler.find_compiler()
    flags = (*FLAGS, *(CHECKED if checked else FAST))
    sources = [SIMULATION, *_headers(project)]
    texts = [(project.folder / name).read_bytes() for name in sources]
    key = cache.content_key([*sources, *texts, *cxx.command, cxx.version, *flags])

    def fill(path: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="hairtrigger-hls-") as work:
            made = Path(work) / "simulate"
            unit = compiler.Unit(project.folder / SIMULATION, Path(work) / "simulate.o")
            try:
                compiler.compile_objects(cxx, [unit], flags, folder=project.folder)
            except ToolError as error:
                raise _refused(project, error) from error
            linked = [flag for flag in flags if flag.startswith("-fsanitize")]
            compiler.link(cxx, [unit.object], made, linked)
            shutil.copy2(made, path / made.name)

    entry = cache.obtain(cache.cache_folder(), "hls-simulation", key, fill)
    return Simulator(entry / "simulate", project, checked)


def _headers(project: Project) -> list[str]:
    own = project.folder / "firmware"
    kept = [*own.glob("*.h"), *own.glob("*.cpp"), *own.glob("weights/*.h")]
    kept += own.glob("nnet_utils/*.h")
    return sorted(str(x.relative_to(project.folder)) for x in kept)


def _refused(project: Project, error: ToolError) -> ToolError:
    found = {error.problem.find(x.name): x for x in project.placed}
    found.pop(-1, None)
    if not found:
        return error
    guilty = found[min(found)]
    return ToolError(
        f"Injection {guilty.name} ({guilty.injection.where}) does not compile: {error.problem}",
        "Mend its source; types and shapes at its place are "
        f"{guilty.takes} -> {guilty.gives} in {project.io_type}.",
    )


def _flat(codes: IntArray, port: Port, name: str) -> IntArray:
    array = np.asarray(codes)
    if array.dtype.kind not in "iu" or array.shape[1:] != port.shape:
        raise InputError(
            f"Input {name!r} has dtype {array.dtype} and shape {array.shape}; the project takes "
            f"{port}.",
            "Give integers of shape (events, *shape).",
        )
    low, high = port.format.lowest, port.format.highest
    if array.size and (array.min() < low or array.max() > high):
        event = int(np.argwhere((array < low) | (array > high))[0][0])
        raise InputError(
            f"Event {event} of input {name!r} has a code outside {low} to {high}.",
            f"The project's format is {port}.",
        )
    return np.ascontiguousarray(array.reshape(len(array), -1), dtype=np.int64)


def _codes(values: NDArray[np.float64], port: Port) -> IntArray:
    scaled = values * 2.0**port.format.fraction
    if port.format.width > 53:
        raise InputError(
            f"A layer has {port.format.width} bits; traces hold 53.", "Compare outputs only."
        )
    return np.rint(scaled).astype(np.int64).reshape(len(values), *port.shape)
