"""Do GPUs give the emulator's integers? Every engine that a GPU has, for any number of networks.

    python benchmarks/gpu_equal.py RUN [RUN ...] [--events 100000] [--out docs/benchmarks/gpu_equal]

RUN: what `hairtrigger bench` takes: the folder of a run, a .keras model, a printed Graph. Events
are extremes of the inputs and random codes, fewer where an event is large (64 MiB in all). Writes
OUT.md and OUT.json, a row for each network and engine: how many of how many numbers differ, or why
it was not run.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

from hairtrigger.backends.differences import differences
from hairtrigger.backends.runners import NAMES, open_runner
from hairtrigger.bench.energy import Meter, gpu_meter
from hairtrigger.bench.inputs import make_inputs
from hairtrigger.bench.model import load_graph
from hairtrigger.errors import HairtriggerError
from hairtrigger.graph.emulate import emulate_codes
from hairtrigger.runs.gather import commit, versions

SEED = 1
HOST = ("cpp", "emulator", "onnxruntime-cpu")
COLUMNS = ("network", "engine", "events", "numbers", "differ", "seconds", "on")


def rows(path: Path, events: int) -> list[dict[str, object]]:
    """One row for each engine that a GPU may have, compared with the emulator here."""
    graph = load_graph(path)
    name = graph.name
    codes, record = make_inputs(graph, str(path), events, SEED)
    print(f"{name}: {record.events:,} events in the emulator", flush=True)
    right = emulate_codes(graph, codes)
    numbers = sum(y.size for y in right)
    found = []
    for engine in (e for e in NAMES if e not in HOST):
        row: dict[str, object] = {"network": name, "engine": engine, "events": len(codes[0])}
        try:
            runner = open_runner(graph, engine)
            try:
                start = time.perf_counter()
                got = runner.run(codes)
                row["seconds"] = round(time.perf_counter() - start, 3)
            finally:
                runner.close()
            differ = sum(d.differ for d in differences(graph, right, got))
            row |= {"numbers": numbers, "differ": differ, "on": f"{runner.device}: {runner.engine}"}
        except Exception as error:  # of one engine; the others are still compared
            why = error.problem if isinstance(error, HairtriggerError) else repr(error)
            first, *rest = why.splitlines()
            why = f"{first} {rest[0].strip()} ({len(rest)} in all)" if rest else first
            row |= {"numbers": 0, "differ": None, "seconds": None, "on": why}
        found.append(row)
        print(f"{name}: {engine}: differ {row['differ']} of {row['numbers']}; {row['on']}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/gpu_equal"))
    given = parser.parse_args()
    found = [row for path in given.runs for row in rows(path, given.events)]
    meter = gpu_meter()
    about = {
        "commit": commit(),
        "command": f"python benchmarks/gpu_equal.py {' '.join(map(str, given.runs))}"
        f" --events {given.events} --out {given.out}",
        "seed": SEED,
        "machine": f"{os.cpu_count()} processors, {platform.system()} {platform.machine()}",
        "gpu": meter.words if isinstance(meter, Meter) else meter.why,
        "versions": versions(),
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"about": about, "rows": found}, indent=1) + "\n"
    given.out.with_suffix(".json").write_text(text, encoding="utf-8")
    table = ["| " + " | ".join(COLUMNS) + " |", "|---|---|" + "---:|" * 4 + "---|"]
    for row in found:
        cells = (row[c] for c in COLUMNS)
        table.append("| " + " | ".join(_cell(c) for c in cells) + " |")
    listed = ", ".join(f"{name} {version}" for name, version in versions().items())
    lines = [
        "# The emulator's integers on a GPU",
        "",
        f"Written by `{about['command']}`; commit {about['commit']}, {listed}; {about['machine']}; "
        f"GPU: {about['gpu']}. Seconds hold the compilation of the first call.",
        "",
        *table,
    ]
    given.out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{given.out}.md")


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "/")


if __name__ == "__main__":
    main()
