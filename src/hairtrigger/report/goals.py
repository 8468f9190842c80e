"""Which goals of a study a run has reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hairtrigger.report.summary import Estimate, Summary
from hairtrigger.studies.base import Goal

AIM, MUST, MISSED, UNKNOWN = "aim", "must", "missed", "not measured"


@dataclass(frozen=True)
class Reached:
    """A goal beside what was measured; ``state`` is "aim", "must", "missed" or "not measured"."""

    goal: Goal
    measured: Estimate
    state: str


def reached(summary: Summary, goals: Sequence[Goal]) -> tuple[Reached, ...]:
    """Every goal with the value of the last model (the chip's), judged by the value itself."""
    return judged(_values(summary), goals)


def judged(values: Mapping[str, Estimate], goals: Sequence[Goal]) -> tuple[Reached, ...]:
    """Every goal with the value of its key."""
    nothing = Estimate(None, None, None, 0)
    found: list[Reached] = []
    for goal in goals:
        measured = values.get(goal.key, nothing)
        found.append(Reached(goal, measured, _state(goal, measured.value)))
    return tuple(found)


def _state(goal: Goal, value: float | None) -> str:
    if value is None:
        return UNKNOWN

    def enough(limit: float | None) -> bool:
        return limit is not None and (value <= limit if goal.better == "low" else value >= limit)

    return AIM if enough(goal.aim) else MUST if enough(goal.must) else MISSED


def _values(summary: Summary) -> dict[str, Estimate]:
    def exact(value: float) -> Estimate:
        return Estimate(value, value, value, 1)

    found = {
        "latency_ns": exact(summary.chip.latency_ns),
        "interval_ns": exact(summary.chip.interval_ns),
    }
    for resource in summary.synthesis.resources:
        found[resource.name.lower()] = exact(resource.used)
    if summary.evaluation is not None:
        for row in summary.evaluation.rows:
            found[row.key] = row.values[-1]
            if row.key == "efficiency":
                found["lost"] = _lost(row.values[0], row.values[-1])
    return found


def _lost(teacher: Estimate, chip: Estimate) -> Estimate:
    """Efficiency lost to the teacher in per cent of it. Both are measured on the same events, so
    the interval of the chip's efficiency against the teacher's value is on the safe side."""
    if not teacher.value or chip.value is None or chip.low is None or chip.high is None:
        return Estimate(None, None, None, 0)

    def lost(efficiency: float) -> float:
        return 100 * (1 - efficiency / teacher.value) if teacher.value else 0.0

    return Estimate(lost(chip.value), lost(chip.high), lost(chip.low), chip.n)
