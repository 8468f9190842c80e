"""A bench as a page of the documentation: Markdown, the same numbers as JSON, and two pictures."""

from __future__ import annotations

from pathlib import Path

from hairtrigger.bench.records import SWEEP, Bench
from hairtrigger.errors import InputError, StorageError
from hairtrigger.records import to_text
from hairtrigger.report.bench import (
    HEADINGS,
    answer_lines,
    conclusions,
    row_cells,
    shown_rows,
)
from hairtrigger.report.bench_page import draw_all
from hairtrigger.report.document import table

PICTURES = ("latency", "throughput")


def bench_text(bench: Bench, name: str) -> str:
    """The page: what was compared, then what took how long."""
    inputs, machine = bench.inputs, bench.machine
    versions = ", ".join(f"{key} {version}" for key, version in machine.versions.items())
    load = "" if machine.busy is None else f", load {machine.busy:.2f} a processor"
    chip = bench.chip
    parts = [
        f"# {inputs.model} on CPU, GPU and FPGA",
        f"    {bench.command}\n\nCommit {bench.commit or 'unknown'}, {bench.created[:10]}; "
        f"{machine.processor}, {machine.processors} processors{load}; GPU: {machine.gpu or 'none'}."
        f" {versions}. [{name}.json]({name}.json) holds every number, the sweep over batches too.",
        f"Every engine got the same {inputs.events:,} events ({inputs.given:,} given, "
        f"{inputs.extreme:,} extreme, {inputs.random:,} random, seed {inputs.seed}; SHA-256 "
        f"{inputs.sha256[:12]}):",
        table(("engine", "device", "version", "answers", ""), answer_lines(bench.answers)),
        f"Each scenario lasts {bench.seconds:g} s. They are in the style of MLPerf Inference's and "
        "no submissions to it. What to know of a row stands in its last column.",
        table((*HEADINGS, "how", "note"), [row_cells(row) for row in shown_rows(bench)]),
        "\n".join(f"- {line}" for line in conclusions(bench)),
    ]
    if chip is not None:
        used = [
            (r.name, f"{r.used:,}", f"{r.available:,}" if r.available else "", r.how)
            for r in chip.resources
        ]
        parts.append(
            f"The chip: {chip.part} at {chip.clock_mhz:g} MHz, {chip.latency_clocks} clocks, a new "
            f"event every {chip.interval_clocks}; clocks by {chip.verilator}."
            + (f" Resources by {chip.synthesis}, before placement:" if used else "")
        )
        if used:
            parts.append(table(("", "used", "of", "how"), used))
    if any(row.scenario == SWEEP for row in bench.rows):
        parts += [f"![{picture}]({name}-{picture}.svg)" for picture in PICTURES]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_bench_document(bench: Bench, path: Path) -> tuple[Path, ...]:
    """Write NAME.md, NAME.json and NAME-<picture>.svg; gives what was written.

    Raises `InputError` for a path that is no .md file, `StorageError` where one cannot be written.
    """
    if path.suffix != ".md":
        raise InputError(f"the page {path.name!r} is no .md file", "give a name that ends with .md")
    files = {path: bench_text(bench, path.stem), path.with_suffix(".json"): to_text(bench) + "\n"}
    if any(row.scenario == SWEEP for row in bench.rows):
        drawn = draw_all(bench)
        files |= {path.with_name(f"{path.stem}-{name}.svg"): drawn[name] for name in PICTURES}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}", "choose another path"
        ) from error
    return tuple(files)
