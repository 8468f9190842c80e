"""What stands beside a run on its study's page: a comparison, a sweep, a baseline.

Each is a folder that `hairtrigger compare`, `sweep` or `baseline` has left, and becomes a section.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hairtrigger.errors import StorageError
from hairtrigger.records import read_record
from hairtrigger.report.document import Section, goal_table, table
from hairtrigger.report.goals import judged
from hairtrigger.report.page import estimate
from hairtrigger.runs.baseline import BASELINE, BaselineRun
from hairtrigger.runs.compare import COMPARE, Comparison, Spread, spread_text
from hairtrigger.runs.strips_tracks import FILES as TRACKS_FILES
from hairtrigger.runs.supernova_chain import CHAIN, ChainRecord, chain_text
from hairtrigger.runs.supernova_judge import PERFORMANCE
from hairtrigger.runs.sweep import SWEEP, Swept
from hairtrigger.runs.tradeoff import (
    FIGURES,
    TRADEOFF,
    Tradeoff,
    Trial,
    Tuned,
    grouped,
    mean_error,
)
from hairtrigger.studies.tau3mu_goals import BLIND_GOALS


def sections(folders: Sequence[Path]) -> tuple[Section, ...]:
    """A section for each folder, in their order. Raises StorageError for a folder of none."""
    return tuple(section for folder in folders for section in _sections(folder))


def _sections(folder: Path) -> tuple[Section, ...]:
    if (folder / TRACKS_FILES[0]).exists():
        return (_clusters(folder), _tracks(folder), _engines(folder))
    for name, make in MAKERS:
        if (folder / f"{name}.json").exists():
            return (make(folder),)
    raise StorageError(
        f"{folder} holds no finished comparison, sweep, baseline or trade-off",
        "give the folder of hairtrigger compare, sweep or baseline, or of a run of tau3mu, "
        "supernova or strips",
    )


def _source(commit: str | None, versions: Any) -> str:
    shown = ", ".join(f"{key} {version}" for key, version in versions.items())
    return f"Commit {commit or 'unknown'}; {shown}."


def _compared(folder: Path) -> Section:
    found = read_record(Comparison, folder / f"{COMPARE}.json")
    command = (
        f"hairtrigger compare {found.study} --preset {found.preset} --seeds {len(found.seeds)}"
    )
    keys = [*found.entries[0].points[0].scores, "used", "ebops"]
    rows = []
    for entry in found.entries:
        chips = [f"{p.chip.lut:,}" for p in entry.points if p.chip is not None]
        cells = [spread_text(entry.figures.get(key)) for key in keys]
        rows.append((entry.label, *cells, chips[0] if chips else ""))
    has_chips = any(row[-1] for row in rows)
    head = ["way", *keys, *(["LUT, first seed"] if has_chips else [])]
    shown = [row if has_chips else row[:-1] for row in rows]
    samples = ", ".join(f"{name} {count:,}" for name, count in found.samples.items())
    text = (
        f"    {command}\n\nThe same student made in different ways, each from {len(found.seeds)} "
        f"seeds ({', '.join(map(str, found.seeds))}): mean and standard error of the mean. Test "
        f"images: {samples}. {_source(found.commit, found.versions)}\n\n"
        "``used``: weights that are not zero. Fakes are shares, not per mille.\n\n"
    )
    picture = (folder / f"{COMPARE}.svg").read_text(encoding="utf-8")
    record = dataclasses.asdict(found)
    return Section(COMPARE, "Compression, step by step", text + table(head, shown), picture, record)


def _swept(folder: Path) -> Section:
    found = read_record(Swept, folder / f"{SWEEP}.json")
    command = (
        f"hairtrigger sweep {found.study} --preset {found.preset} --trials {len(found.trials)}"
    )
    settings = sorted({key for trial in found.trials for key in trial.settings})
    rows = []
    for trial in found.trials:
        chip = trial.point.chip
        if chip is None:
            continue
        values = (f"{trial.settings[key]:.3g}" for key in settings)
        mark = "beaten by none" if trial.number in found.best else ""
        score = estimate(trial.point.scores[found.score])
        ebops = f"{trial.point.ebops:,.0f}" if trial.point.ebops else ""
        numbers = (ebops, f"{chip.lut:,}", f"{chip.latency_ns:.5g}")
        rows.append((f"{trial.number}", *values, score, *numbers, mark))
    head = ("trial", *settings, found.score, "EBOPs", "LUT", "ns", "")
    text = f"    {command}\n\nSettings by Optuna, seed {found.seed}; LUT by Yosys.\n\n"
    picture = (folder / f"{SWEEP}.svg").read_text(encoding="utf-8")
    record = dataclasses.asdict(found)
    return Section(SWEEP, "Accuracy against LUT", text + table(head, rows), picture, record)


def _baseline(folder: Path) -> Section:
    found = read_record(BaselineRun, folder / f"{BASELINE}.json")
    command = f"hairtrigger baseline {found.study} --preset {found.preset} --seed {found.seed}"
    samples = ", ".join(f"{name} {count:,}" for name, count in found.figures.samples.items())
    text = (
        f"    {command}\n\n{found.figures.title}, run by {found.figures.engine} on the test images "
        f"({samples}). {_source(found.commit, found.versions)} Fakes are shares, not per mille.\n\n"
    )
    rows = [(key, estimate(value), f"{value.n:,}") for key, value in found.figures.scores.items()]
    text += table(("", "measured", "events"), rows)
    if found.proof is not None:
        text += (
            f"\n\nEqual in {', '.join(found.proof.engines)} on {found.proof.events:,} events; "
            f"latency {found.proof.latency_clocks} clocks in simulation of the Verilog."
        )
    if found.chip is not None:
        chip = found.chip
        text += (
            f" {chip.part} at {chip.clock_mhz:g} MHz: {chip.lut:,} LUT, {chip.ff:,} FF, {chip.dsp} "
            f"DSP, {chip.latency_ns:.5g} ns, a new image every {chip.interval} clocks."
        )
    return Section(BASELINE, "Today's trigger", text, None, dataclasses.asdict(found))


def _traded(folder: Path) -> Section:
    from hairtrigger.report.tau3mu_tradeoff import findings

    found = read_record(Tradeoff, folder / f"{TRADEOFF}.json")
    seeds = sorted({point.seed for point in found.points})
    rows = []
    for (method, strength), figures in grouped(found.points).items():
        cells: list[str] = []
        for name in FIGURES:
            measured = mean_error(figures, name)
            spread = None if measured is None else Spread(*measured, len(figures))
            cells.append(spread_text(spread))
        rows.append((method, f"{strength:g}" if strength else "", *cells))
    tuned = [
        (
            *(t.method, f"{len(t.trials)}", _strengths(t)),
            *(f"{t.trials[0].worth:.4f}", f"{_best(t).worth:.4f}"),
            *(", ".join(f"{worth:.4f}" for worth in _best(t).worths), _recipe(t)),
        )
        for t in found.tuned
    ]
    text = (
        f"Methods with the same network at inference, each from {len(seeds)} seeds "
        f"({', '.join(map(str, seeds))}): mean and standard error of the mean. "
        f"{_source(found.commit, found.versions)}\n\n"
        + goal_table(judged(findings(found.points), BLIND_GOALS))
        + "\n\n"
        + table(("method", "strength", *FIGURES), rows)
        + "\n\nEach method was tuned by as many trials, each of a training at every strength named "
        "here; worth: AUC less KS of the validation sample, mean over the strengths, of the first "
        "trial (the same for all methods) and of the best, whose recipe serves for all strengths "
        "and seeds.\n\n" + table(TUNING_HEAD, tuned)
    )
    picture = (folder / f"{TRADEOFF}.svg").read_text(encoding="utf-8")
    record = dataclasses.asdict(found)
    return Section(TRADEOFF, "Knowing the signal and not S", text, picture, record)


def _performed(folder: Path) -> Section:
    from hairtrigger.report.supernova import Performance, performance_text

    found = read_record(Performance, folder / f"{PERFORMANCE}.json")
    text = performance_text(found) + f"\n\n{_source(found.commit, found.versions)}"
    record = dataclasses.asdict(found)
    if (folder / CHAIN).exists():
        chain = read_record(ChainRecord, folder / CHAIN)
        text = f"{chain_text(chain)}\n\n{text}"
        record["chain"] = dataclasses.asdict(chain)
    picture = (folder / f"{PERFORMANCE}.svg").read_text(encoding="utf-8")
    title = "The whole chain, and beside conventional triggers"
    return Section(PERFORMANCE, title, text, picture, record)


def _clusters(folder: Path) -> Section:
    from hairtrigger.report.strips import StripsPerformance, performance_text
    from hairtrigger.report.strips_figures import draw_strips

    found = read_record(StripsPerformance, folder / f"{PERFORMANCE}.json")
    text = performance_text(found) + f"\n\n{_source(found.commit, found.versions)}"
    record = dataclasses.asdict(found)
    return Section("clusters", "Clusters", text, draw_strips(found), record)


def _engines(folder: Path) -> Section:
    from hairtrigger.runs import strips_engines as engines

    records = (
        read_record(engines.CSimulation, folder / engines.C_SIMULATION),
        read_record(engines.Timings, folder / engines.TIMING),
        read_record(engines.Accelerators, folder / engines.ACCELERATORS),
    )
    record = {
        name: dataclasses.asdict(one) for name, one in zip(engines.FILES, records, strict=True)
    }
    text = engines.engines_text(*records)
    return Section("engines", "HLS, processor, GPU and DPU", text, None, record)


def _tracks(folder: Path) -> Section:
    from hairtrigger.report.strips_tracks import TracksPerformance, tracks_text

    found = read_record(TracksPerformance, folder / TRACKS_FILES[0])
    text = tracks_text(found) + f"\n\n{_source(found.commit, found.versions)}"
    picture = (folder / TRACKS_FILES[1]).read_text(encoding="utf-8")
    return Section("tracks", "Tracks", text, picture, dataclasses.asdict(found))


TUNING_HEAD = ("method", "trials", "at strengths", "first", "best", "best at each", "recipe")


def _strengths(tuned: Tuned) -> str:
    return ", ".join(f"{strength:g}" for strength in tuned.strengths if strength)


def _best(tuned: Tuned) -> Trial:
    return max(tuned.trials, key=lambda trial: trial.worth)


def _recipe(tuned: Tuned) -> str:
    values = dataclasses.asdict(tuned.recipe).items()
    return ", ".join(f"{k} {v if isinstance(v, str) else f'{v:.3g}'}" for k, v in values)


MAKERS = (
    *((COMPARE, _compared), (SWEEP, _swept), (BASELINE, _baseline)),
    *((TRADEOFF, _traded), (PERFORMANCE, _performed)),
)
"""The file that marks a folder, and what makes a section of it."""
