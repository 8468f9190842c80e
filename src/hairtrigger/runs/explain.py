"""Explains a study or a model, as stages: events, the main map, all methods, questions, page."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hairtrigger.errors import InputError, StorageError

# Not only for type checking: `Explanation` is read back by its types. They import no Keras.
from hairtrigger.explain.case import Answer
from hairtrigger.explain.study import Checks, MapRow
from hairtrigger.pipeline import PACKAGE, Stage, Workplace, run_stages, write_whole
from hairtrigger.progress import Reporter
from hairtrigger.records import to_text
from hairtrigger.runs.gather import commit, versions

if TYPE_CHECKING:
    from hairtrigger.explain.case import Case, Events

SCHEMA = "hairtrigger-explain/1"
EVENTS, NOTE, MAPS, MAIN, CHECKS, ANSWERS = (
    *("events.npz", "events.json", "maps.npz", "main.json", "checks.json", "answers.json"),
)
RECORD, TABLES, PAGE = "explain.json", "explain.csv", "explain.html"
SOURCES = ("fixed.py", "graph", "engines.py", "frontends", "train", "runs/explain.py")
QUESTIONS = "questions_"
"""Files of the package explain, by the study's name, that only that study's stages read."""
PACKAGES = ("numpy", "keras", "jax", "hgq2", "onnxruntime")


@dataclass(frozen=True)
class Found:
    """What the events are, where they came from and which networks they are explained on."""

    note: str
    captions: tuple[str, ...]
    networks: tuple[str, ...]
    chip: str


@dataclass(frozen=True)
class Explanation:
    """All of it, as explain.json holds it: ``main``: the map of the deployed network."""

    schema: str
    study: str
    title: str
    output: str
    command: str
    created: str
    commit: str | None
    versions: Mapping[str, str]
    seed: int
    events: int
    note: str
    chip: str
    networks: tuple[str, ...]
    seconds: float
    main: MapRow
    checks: Checks
    answers: tuple[Answer, ...]


def explain_study(
    name: str,
    *,
    events: int = 1000,
    seed: int = 1,
    run: Path | None = None,
    folder: Path,
    command: str = "",
    reporter: Reporter | None = None,
) -> Explanation:
    """Explain the networks of a study: those of the finished ``run``, or the trained student that
    comes with it. Raises `InputError` for an unknown study, `StorageError` for a run without
    networks, and what `run_stages` raises."""
    from hairtrigger.explain.cases import case_named

    case = case_named(name)
    if run is not None and not (run / "stages").is_dir():
        raise StorageError(
            f"{run} is no finished run.", f"Make one: hairtrigger run {name} --folder {run}."
        )
    files = case.files(run)
    if not files:
        raise StorageError(
            f"No trained network of {name} in {run or 'this package'}.",
            f"Make a run (hairtrigger run {name}) and give its folder with --run.",
        )
    return _explain(case, files, events, seed, run, folder, command, reporter)


def explain_model(
    model: Path,
    *,
    data: Path | None,
    output: int = 0,
    names: tuple[str, ...] = (),
    events: int = 1000,
    seed: int = 1,
    folder: Path,
    command: str = "",
    reporter: Reporter | None = None,
) -> Explanation:
    """Explain a user's model (.keras, or a printed Graph) on events of a .npy file.

    Raises `InputError` where there are none or the model was not made for them, and what
    `run_stages` raises.
    """
    from hairtrigger.explain.load import load
    from hairtrigger.explain.user import read_events, user_case

    if data is None:
        raise InputError(
            f"There are no events to explain {model.name} on.",
            "Give --data events.npy, an array (events, *shape): random events explain nothing.",
        )
    found, _ = load({"model": model})
    case = user_case(model, found["model"], read_events(data), output, names)
    more = {"data": _digest(data), "output": output, "names": list(names)}
    return _explain(case, {"model": model}, events, seed, None, folder, command, reporter, more)


def _explain(
    case: Case,
    files: Mapping[str, Path],
    count: int,
    seed: int,
    run: Path | None,
    folder: Path,
    command: str,
    reporter: Reporter | None,
    more: Mapping[str, Any] | None = None,
) -> Explanation:
    if count < 1:
        raise InputError(f"{count} events.", "Give 1 or more.")
    held: dict[str, Any] = {}

    def networks() -> dict[str, Any]:
        if not held:
            held["all"], held["note"] = case.load(files)
        return held["all"]

    given = {
        "study": case.study,
        "seed": seed,
        "events": count,
        "networks": {name: _digest(path) for name, path in files.items()},
        **(more or {}),
    }
    sources = (*SOURCES, *_sources(case.study))

    def make_events(work: Workplace) -> None:
        import numpy as np

        from hairtrigger.explain.study import deployed_of

        found = case.events(deployed_of(networks())[1], count, seed, run)
        arrays = {"inputs": found.inputs}
        if found.signal is not None:
            arrays["signal"] = found.signal
        np.savez_compressed(work.folder / EVENTS, **arrays)
        note = Found(found.note, found.captions, tuple(networks()), held["note"])
        (work.folder / NOTE).write_text(to_text(note), encoding="utf-8")

    def make_map(work: Workplace) -> None:
        import numpy as np

        from hairtrigger.explain.study import main_map

        found, row = main_map(case, networks(), _events(work), seed)
        np.savez_compressed(work.folder / MAPS, values=found.values)
        (work.folder / MAIN).write_text(to_text(row), encoding="utf-8")

    def make_checks(work: Workplace) -> None:
        from hairtrigger.explain.study import compare

        checks = compare(case, networks(), _events(work), seed, work.progress)
        (work.folder / CHECKS).write_text(to_text(checks), encoding="utf-8")

    def make_answers(work: Workplace) -> None:
        from hairtrigger.explain.case import Asked

        asked = Asked(networks(), _events(work), seed, run, work.progress)
        text = to_text(_Answers(case.questions(asked)))
        (work.folder / ANSWERS).write_text(text, encoding="utf-8")

    stages = [
        Stage("events", "Choose the events", make_events, given, (), sources, PACKAGES),
        Stage("map", "Explain the events", make_map, given, ("events",), sources, PACKAGES),
        Stage("checks", "Check the maps", make_checks, given, ("events",), sources, PACKAGES),
        Stage("questions", "Ask", make_answers, given, ("events",), sources, PACKAGES),
    ]
    done = run_stages(stages, folder, reporter)
    spent = sum(stage.seconds for stage in done.values())
    return _write(case, {n: d.folder for n, d in done.items()}, folder, command, seed, spent)


@dataclass(frozen=True)
class _Answers:
    answers: tuple[Answer, ...]


def _write(
    case: Case,
    at: Mapping[str, Path],
    folder: Path,
    command: str,
    seed: int,
    seconds: float,
) -> Explanation:
    """Gather what the stages left into explain.json, .csv and .html."""
    import numpy as np

    from hairtrigger.records import from_json, read_record
    from hairtrigger.report.explain import render

    found = read_record(Found, at["events"] / NOTE)
    events = _read_events(at["events"], found)
    answers = _json(at["questions"] / ANSWERS)["answers"]
    with np.load(at["map"] / MAPS) as file:
        values = file["values"]
    made = Explanation(
        SCHEMA,
        case.study,
        case.title,
        case.scalar.name,
        command,
        datetime.now(UTC).isoformat(timespec="seconds"),
        commit(),
        versions(),
        seed,
        len(events.inputs),
        found.note,
        found.chip,
        found.networks,
        seconds,
        read_record(MapRow, at["map"] / MAIN),
        read_record(Checks, at["checks"] / CHECKS),
        tuple(from_json(Answer, answer) for answer in answers),
    )
    write_whole(folder / RECORD, to_text(made))
    write_whole(folder / TABLES, tables(made))
    write_whole(folder / PAGE, render(made, case, events, values))
    return made


def write_document(made: Explanation, path: Path) -> None:
    """The tables as NAME.md, with NAME.notes.md (if there) on top, and the record as NAME.json.

    Raises StorageError for a path that cannot be written.
    """
    from hairtrigger.report.explain import markdown

    notes = path.with_suffix(".notes.md")
    text = notes.read_text(encoding="utf-8") if notes.exists() else ""
    write_whole(path.with_suffix(".md"), markdown(made, text))
    write_whole(path.with_suffix(".json"), to_text(made))


def tables(made: Explanation) -> str:
    """All tables as one CSV: a line names the table, the next its columns."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    for answer in made.answers:
        out.writerow([answer.key, answer.question])
        out.writerow(answer.head)
        out.writerows(answer.rows)
        out.writerow([])
    out.writerow(["maps", "Methods and networks"])
    rows = [dataclasses.asdict(row) for row in (made.main, *made.checks.maps)]
    names = ("network", "method", "events", "seconds", "cpu_seconds", "on_signal", "refused")
    out.writerow([*names, "complete_share", "deletion_gain", "insertion_gain"])
    for row in rows:
        complete = row["complete"]["share"] if row["complete"] else None
        gains = [row[key][0] if row[key] else None for key in ("deletion_gain", "insertion_gain")]
        out.writerow([*(row[name] for name in names), complete, *gains])
    return text.getvalue()


def _events(work: Workplace) -> Events:
    from hairtrigger.records import read_record

    return _read_events(work.inputs["events"], read_record(Found, work.inputs["events"] / NOTE))


def _read_events(folder: Path, found: Found) -> Events:
    import numpy as np

    from hairtrigger.explain.case import Events

    with np.load(folder / EVENTS) as file:
        signal = file.get("signal")
        return Events(file["inputs"], found.note, signal, found.captions)


def _sources(study: str) -> list[str]:
    """The files of explain without other studies' questions, and the study's own."""
    names = [path.name for path in sorted((PACKAGE / "explain").glob("*.py"))]
    kept = [n for n in names if not n.startswith(QUESTIONS) or n == f"{QUESTIONS}{study}.py"]
    own = sorted((PACKAGE / "studies").glob(f"{study}*.py"))
    return [f"explain/{name}" for name in kept] + [f"studies/{path.name}" for path in own]


def _json(path: Path) -> Any:
    import json

    return json.loads(path.read_text(encoding="utf-8"))


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:24]
    except OSError as error:
        raise StorageError(
            f"{path} cannot be read: {error.strerror}.", "Check the path."
        ) from error
