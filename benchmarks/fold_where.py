"""Where the LUTs of benchmarks/fold.py's longest intervals are: a table by kind of circuit.

    python benchmarks/fold_where.py [--page docs/benchmarks/fold]

Reads the page's .json, synthesises its rows above the goal once more, and the last row that meets
it, counts the LUTs of each module, and writes the page again with this table behind it, after each
row. Rows that the page has for the same LUTs already stay.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import fold
from written import ROOT, stamp, write_tables

from hairtrigger.graph import Graph
from hairtrigger.rtl.design import Design, compile_graph
from hairtrigger.tools import yosys

WHERE = "where the luts are"
TITLES = {
    "conv1": "first convolution",
    "conv2": "second convolution",
    "pool": "pool",
    "sum": "sum",
    "dense": "dense",
    "srl": "line buffers and delays (SRL)",
    "other": "selects, counters, lanes",
}


def numbered(graph: Graph) -> Graph:
    """The same with convolutions called conv1, conv2, ..., so that their modules are told apart."""
    seen = 0
    nodes = []
    for node in graph.nodes:
        seen += node.label == "conv"
        nodes.append(replace(node, label=f"conv{seen}") if node.label == "conv" else node)
    return replace(graph, nodes=tuple(nodes))


def modules(design: Design) -> Mapping[str, Mapping[str, Any]]:
    """Yosys's count of each module; the flow is that of `yosys.synthesise`, hierarchy kept."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        passes: list[str] = []
        for file, text in (("k.v", design.kernels_verilog), ("t.v", design.top_verilog)):
            (work / file).write_text(text)
            passes.append(f"read_verilog {file}")
        family = design.part.yosys_family
        passes.append(f"synth_xilinx -family {family} -noiopad -noclkbuf -top {design.name}")
        passes.append(f"tee -q -o stat.json stat -json -top {design.name}")
        (work / "job.json").write_text(json.dumps({"passes": passes, "memory_bytes": None}))
        child = [sys.executable, "-P", str(yosys._CHILD), "job.json"]
        subprocess.run(child, cwd=work, check=True, capture_output=True)
        found = json.loads((work / "stat.json").read_text())["modules"]
    return {name.removeprefix("\\"): module for name, module in found.items()}


def luts(cells: Mapping[str, int]) -> tuple[int, int]:
    """LUTs as logic and as memory, of one module's own cells."""
    logic = sum(n for name, n in cells.items() if re.fullmatch(r"LUT[1-6]", name))
    memory = sum(n * yosys._MEMORY_LUTS.get(name, 0) for name, n in cells.items())
    return logic, memory


def row(name: str, interval: int, ideal: int) -> dict[str, Any]:
    """LUTs of one design by kind; ``ideal``: LUTs of the whole design that the goal starts from."""
    case = fold.CASES[name]
    graph = numbered(case.make())
    design = compile_graph(graph, "xcvu13p", "320 MHz", interval=interval, axis=case.axis)
    found = modules(design)
    top = found[design.name]["num_cells_by_type"]
    used: Counter[str] = Counter()
    shown: Counter[str] = Counter()
    for cell, count in top.items():
        module = cell.removeprefix("\\")
        if module not in found:
            continue
        kind = module.removeprefix(f"{design.name}_").split("_")[0]
        shown[kind] += count
        used[kind] += count * sum(luts(found[module]["num_cells_by_type"]))
    used["other"], used["srl"] = luts(top)
    total = sum(used.values())
    made: dict[str, Any] = {"network": name, "interval": interval, "lut": total, "ideal": ideal}
    made["that do not fold"] = sum(used[kind] for kind in ("sum", "dense", "srl", "other"))
    made |= {f"{k}_instances": shown[k] for k in ("conv1", "conv2")}
    return made | {title: used[kind] for kind, title in TITLES.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "benchmarks" / "fold")
    chosen = parser.parse_args()
    record = json.loads(chosen.page.with_suffix(".json").read_text())
    tables: dict[str, Any] = record.pop("tables")
    known = {(r["network"], r["interval"], r["lut"]): r for r in tables.pop(WHERE, [])}
    title = record.pop("title")
    own = stamp()
    record["where_the_luts_are"] = own["command"]
    text = f"{fold.__doc__}\n{fold.REASONS}"
    rows: list[dict[str, Any]] = []
    for name, measured in tables.items():
        within = [r for r in measured if r["of_ideal"] <= fold.GOAL]
        beyond = [r for r in measured if r["of_ideal"] > fold.GOAL]
        whole = measured[0]["lut_x_interval"]
        for done in (within[-1:] if beyond else []) + beyond:
            interval = done["interval"]
            made = known.get((name, interval, done["lut"]))
            made = made or row(name, interval, round(whole / interval)) | {"commit": own["commit"]}
            rows.append(made)
            print(rows[-1], flush=True)
            write_tables(chosen.page, title, text, record, {**tables, WHERE: rows})


if __name__ == "__main__":
    main()
