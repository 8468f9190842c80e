"""What a bench leaves: bench.json, bench.csv, figures and a page, and the table on the terminal.

bench.json         everything; `hairtrigger.bench.records.Bench`
bench.csv          its rows, a line each
latency.svg .png   time of a call against events in it
throughput.svg .png  events a second against events in a call
percentiles.svg .png single-stream latency
bench.html         all of it on a page that needs nothing else
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

from hairtrigger.bench.records import (
    LOOP,
    MEASURED,
    MULTI,
    OFFLINE,
    SERVER,
    SINGLE,
    STREAMING,
    SWEEP,
    Answers,
    Bench,
    Row,
)
from hairtrigger.errors import StorageError
from hairtrigger.pipeline import write_whole
from hairtrigger.records import read_record, to_text
from hairtrigger.report.page import number, whole

JSON, CSV, PAGE = "bench.json", "bench.csv", "bench.html"

ORDER = (SINGLE, LOOP, MULTI, SERVER, OFFLINE, STREAMING)
WORDS = {
    SINGLE: "single stream",
    LOOP: "single stream, called from C++",
    MULTI: "multi-stream",
    SERVER: "server",
    OFFLINE: "offline",
    STREAMING: "streaming",
    SWEEP: "batch sweep",
}


def write_bench(bench: Bench, folder: Path) -> tuple[Path, ...]:
    """Write all files into ``folder`` and return their paths. Raises `StorageError`."""
    from hairtrigger.report import bench_page

    drawn = bench_page.draw_all(bench)
    texts = {
        JSON: to_text(bench),
        CSV: csv_text(bench),
        PAGE: bench_page.render(bench, drawn),
        **{f"{name}.svg": svg for name, svg in drawn.items()},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {error.strerror}", "give another") from error
    for name, text in texts.items():
        write_whole(folder / name, text)
    pictures = bench_page.save_pictures(bench, folder)
    return (*(folder / name for name in texts), *pictures)


def read_bench(folder: Path) -> Bench:
    """The results in a folder. Raises `StorageError`: missing, damaged or of another version."""
    return read_record(Bench, folder / JSON)


def csv_text(bench: Bench) -> str:
    """The rows as CSV with a line of names; what is not known is empty."""
    text = io.StringIO()
    names = [field.name for field in dataclasses.fields(Row)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in bench.rows:
        values = (getattr(row, name) for name in names)
        writer.writerow(["" if value is None else value for value in values])
    return text.getvalue()


# --- tables: the same cells on the terminal and on the page -----------------------------------


def answer_lines(answers: Sequence[Answers]) -> list[tuple[str, str, str, str, str]]:
    """Engine, device, version, hash of its answers, and how they compare with the emulator's."""
    found: list[tuple[str, str, str, str, str]] = []
    for a in answers:
        if not a.ran:
            found.append((a.engine, a.device, "", "", a.why))
            continue
        said = f"the same {a.values:,} integers"
        if not a.equal:
            said = (
                f"OTHER ANSWERS: {a.differences:,} of {a.values:,} numbers differ, at most "
                f"{a.largest_lsb:g} LSB, first in event {a.first_event}"
            )
        found.append((a.engine, a.device, a.words, a.sha256[:12], said))
    return found


HEADINGS = ("engine", "scenario", "batch", "threads", "p50", "p90", "p99", "p99.9", "events/s")
"""Headings of `row_cells`; then come two more, of text."""


def row_cells(row: Row) -> tuple[str, ...]:
    """A row in words, under `HEADINGS`, then how it was got and what to know of it."""
    threads = row.way if row.threads is None else str(row.threads)
    if row.threads and row.threads > 1:
        threads += f" ({row.way})"
    scenario = WORDS[row.scenario] + (f", {row.transfers} transfers" if row.transfers else "")
    times = (row.p50_ns, row.p90_ns, row.p99_ns, row.p999_ns)
    rate = "" if row.per_second is None else number(row.per_second)
    if row.per_second is not None and row.per_second >= 1000:
        rate = whole(round(row.per_second))
    return (
        row.engine if row.same_answer else f"{row.engine} (other answers)",
        scenario,
        f"{row.batch:,}" if row.batch else "",
        threads,
        *(duration(t) for t in times),
        rate,
        row.label,
        "; ".join(notes(row)),
    )


def notes(row: Row) -> list[str]:
    """What to know of a row, in words."""
    found = [row.note] if row.note else []
    if row.rate_per_s is not None:
        found.append(f"{whole(round(row.rate_per_s))} queries/s came")
    if row.bound_ns is not None:
        found.append(f"bound on p99 {duration(row.bound_ns)}")
    if row.floor_ns is not None:
        what = "reading the clock" if row.scenario == LOOP else "a call that does nothing"
        found.append(f"{what}: {duration(row.floor_ns)}")
    if row.joules_per_event is not None:
        found.append(f"{number(1e6 * row.joules_per_event)} uJ an event ({row.energy})")
    elif row.energy:
        found.append(f"energy {row.energy}")
    return found


def duration(ns: float | None) -> str:
    """Time with its unit, three digits; empty for None."""
    if ns is None:
        return ""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{number(ns / size)} {unit}"
    return f"{number(ns)} ns" if ns else "0 ns"


def shown_rows(bench: Bench) -> list[Row]:
    """The rows of the scenarios, without the sweep: by scenario, the quickest first."""
    rows = [row for row in bench.rows if row.scenario != SWEEP]

    def key(row: Row) -> tuple[int, float]:
        first = -(row.per_second or 0.0) if row.scenario == OFFLINE else row.p50_ns or float("inf")
        return ORDER.index(row.scenario), first

    return sorted(rows, key=key)


def conclusions(bench: Bench) -> list[str]:
    """Sentences about batch 1 that the rows bear out; nothing where engines are missing."""
    said: list[str] = []
    singles = {
        row.engine: row
        for row in bench.rows
        if row.scenario == SINGLE and row.same_answer and row.p50_ns is not None
    }
    loop = next((r for r in bench.rows if r.scenario == LOOP and r.label == MEASURED), None)
    cpp = singles.get("cpp")
    if cpp is not None:
        said.append(f"Generated C++, batch 1, called from Python: median {duration(cpp.p50_ns)}.")
    if loop is not None and loop.p50_ns is not None:
        said.append(f"Generated C++, batch 1, called from C++: median {duration(loop.p50_ns)}.")
    onnx = [row for name, row in singles.items() if name.startswith("onnxruntime")]
    if cpp is not None and cpp.p50_ns and onnx:
        best = min(onnx, key=lambda row: row.p50_ns or 0.0)
        ratio = (best.p50_ns or 0.0) / cpp.p50_ns
        text = (
            f"The fastest exact ONNX Runtime ({best.engine}), called from Python: median "
            f"{duration(best.p50_ns)}, {number(ratio)} times that of the C++ from Python"
        )
        if best.floor_ns is not None and cpp.floor_ns is not None:
            text += (
                f"; calls that do nothing take {duration(best.floor_ns)} and "
                f"{duration(cpp.floor_ns)} of these"
            )
        said.append(text + ".")
    return said
