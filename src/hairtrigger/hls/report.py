"""What an HLS tool said about a function: latency, interval and resources, from its own report."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hairtrigger.errors import InputError, StorageError

KEYS = ("latency", "interval", "clock_ns", "resources", "tool", "part")
_WAY_OUT = (
    "Give csynth.xml of Vitis HLS or Vivado HLS, or JSON with any of the keys "
    f'{", ".join(KEYS)}; resources is a table such as {{"LUT": 120}}.'
)
_NAMES = {"DSP48E": "DSP"}
"""Names of older reports."""


@dataclass(frozen=True)
class Report:
    """An estimate by an HLS tool.

    ``latency`` and ``interval``: clocks, the worst case; ``clock_ns``: the period that the tool
    expects to reach; None is what the report does not say. ``resources``: numbers by name.
    """

    latency: int | None = None
    interval: int | None = None
    clock_ns: float | None = None
    resources: Mapping[str, int] = field(default_factory=dict)
    tool: str = ""
    part: str = ""


def read_report(path: Path | str) -> Report:
    """A report from a file, by its ending ``.xml`` or ``.json``.

    Raises `StorageError` where it cannot be read, `InputError` where it says something else than a
    report does.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise StorageError(f"Report {path} cannot be read: {reason}.", _WAY_OUT) from error
    if path.suffix.lower() not in (".xml", ".json"):
        raise InputError(f"{path.name} is neither .xml nor .json.", _WAY_OUT)
    try:
        return parse_xml(text) if path.suffix.lower() == ".xml" else parse_json(text)
    except InputError as error:
        raise InputError(f"{path.name}: {error.problem}", error.fix) from error


def parse_json(text: str) -> Report:
    """A report in JSON; see `KEYS`. Raises `InputError`."""
    try:
        given = json.loads(text)
    except ValueError as error:
        raise InputError(f"The report is no JSON: {error}.", _WAY_OUT) from error
    if not isinstance(given, dict) or set(given) - set(KEYS) or not given:
        names = sorted(given) if isinstance(given, dict) else type(given).__name__
        raise InputError(f"The report has {names}, not some of {list(KEYS)}.", _WAY_OUT)
    resources = given.get("resources", {})
    if not isinstance(resources, dict):
        raise InputError(f"resources is a {type(resources).__name__}.", _WAY_OUT)
    clock = given.get("clock_ns")
    if clock is not None and not (_number(clock) and 0 < clock < 1e6):
        raise InputError(f"clock_ns={clock!r} is no period.", _WAY_OUT)
    return Report(
        latency=_clocks("latency", given.get("latency")),
        interval=_clocks("interval", given.get("interval")),
        clock_ns=None if clock is None else float(clock),
        resources={str(name): _count(name, value) for name, value in resources.items()},
        tool=str(given.get("tool", "")),
        part=str(given.get("part", "")),
    )


def parse_xml(text: str) -> Report:
    """The report ``csynth.xml`` of Vitis HLS or Vivado HLS. Raises `InputError`."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"The report is no XML: {error}.", _WAY_OUT) from error
    overall = root.find("PerformanceEstimates/SummaryOfOverallLatency")
    area = root.find("AreaEstimates/Resources")
    if root.tag != "profile" or overall is None or area is None:
        raise InputError(f"<{root.tag}> is no synthesis report.", _WAY_OUT)
    period = root.findtext("PerformanceEstimates/SummaryOfTimingAnalysis/EstimatedClockPeriod")
    try:
        clock = None if period is None else float(period)
    except ValueError as error:
        raise InputError(f"EstimatedClockPeriod is {period!r}.", _WAY_OUT) from error
    version = root.findtext("ReportVersion/Version", "").strip()
    return Report(
        latency=_text_clocks(overall, "Worst-caseLatency"),
        interval=_text_clocks(overall, "Interval-max"),
        clock_ns=clock,
        resources={_NAMES.get(x.tag, x.tag): _count(x.tag, (x.text or "").strip()) for x in area},
        tool=f"HLS {version}".strip(),
        part=root.findtext("UserAssignments/Part", "").strip(),
    )


def _text_clocks(parent: ElementTree.Element, name: str) -> int | None:
    """A number of clocks; None where the tool could not tell (loops of unknown length)."""
    said = (parent.findtext(name) or "").strip()
    return None if said in ("", "?", "undef", "-") else _clocks(name, said)


def _clocks(name: str, value: Any) -> int | None:
    return None if value is None else _count(name, value)


def _count(name: str, value: Any) -> int:
    text = value if isinstance(value, str) else str(value) if _number(value) else ""
    if not text.isdecimal() or len(text) > 15:
        raise InputError(f"{name}={value!r} in the report is no whole number from 0.", _WAY_OUT)
    return int(text)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
