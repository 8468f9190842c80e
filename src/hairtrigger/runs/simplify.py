"""Simplifies a study's student by what matters in it: efficiency against LUTs and ns, resumable.

<folder>/stages/...             events, networks; of each step what went, the network trained again,
                                its figures and its chip
<folder>/simplify.json .csv .svg .html    the points, the bits' worth, the curve, a page
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hairtrigger.errors import InputError, StorageError
from hairtrigger.explain.bits import Worth
from hairtrigger.explain.simplify import BITS, INPUTS, Chain, Step
from hairtrigger.explain.units import Dropped, Unit
from hairtrigger.metrics import LEVEL
from hairtrigger.pipeline import STAGES, Stage, Workplace, run_stages
from hairtrigger.progress import Reporter
from hairtrigger.records import read_record, to_text
from hairtrigger.report.summary import Estimate
from hairtrigger.runs.chip import GRAPH, MODEL, Goal, read_graph
from hairtrigger.runs.gather import commit, versions
from hairtrigger.runs.learn import (
    CHECKPOINT,
    PACKAGES,
    graph_outputs,
    model_of,
    samples_of,
    sources_of,
    test_size,
    training_sources,
    training_stages,
)
from hairtrigger.runs.points import SOURCES, Silicon, silicon
from hairtrigger.runs.simplified import (
    Bits,
    Ranked,
    Scores,
    Simpler,
    Simplified,
    State,
    write_simplified,
)

if TYPE_CHECKING:
    import numpy as np

    from hairtrigger.graph import Graph
    from hairtrigger.studies.base import Samples, Study

START = "start"
OWN = ("runs/simplify.py", "runs/simplified.py")
TEACHER, STUDENT = "teacher.keras", MODEL
STATE, BITS_FILE, SCORES, CHIP = "state.json", "bits.json", "scores.json", "chip.json"
EVENTS = 1024
"""Validation events that importances and the worth of bits are measured on."""
RATE_SHARE = 0.5
"""Of the study's learning rate, to train on what is trained already."""


@dataclass(frozen=True)
class Settings:
    """``axis`` of the input's slices, the ``method`` that ranks them, ``epochs`` of training after
    a step, ``chips``: synthesise every point."""

    axis: int = 0
    method: str = "occlusion"
    epochs: int = 1
    chips: bool = True

    def __post_init__(self) -> None:
        from hairtrigger.explain.importance import METHODS

        if self.method not in METHODS:
            raise InputError(f"method {self.method!r}", f"choose one of: {', '.join(METHODS)}")
        if self.epochs < 1:
            raise InputError(f"epochs = {self.epochs!r}", "give 1 or more")


def simplify(
    study: Study,
    preset: Any,
    seed: int,
    goal: Goal,
    chains: Sequence[Chain],
    folder: Path,
    reporter: Reporter,
    *,
    run: Path | None = None,
    settings: Settings | None = None,
) -> Simplified:
    """Take from a study's student what matters least, step by step, and judge each point.

    ``run``: the folder of a finished run whose teacher and student are taken; without it they are
    trained first. Raises `InputError` for steps that the network cannot make, `StorageError` for a
    folder without networks, and what a stage raises.
    """
    settings = settings or Settings()
    seen, _ = study.seen_by("student", preset)
    missing = [name for name in ("batch", "student_rate", "beta") if not hasattr(seen, name)]
    if missing and any(step.kind != BITS for chain in chains for step in chain):
        raise InputError(
            f"presets of study {study.name!r} do not say {', '.join(missing)}",
            "take only bits, after which nothing is trained, or give its presets these fields",
        )
    if run is None:
        stages = training_stages(study, preset, seed)
        stages.append(_start(study, goal, ("teacher", "student"), None))
    else:
        stages = [training_stages(study, preset, seed)[0]]
        stages.append(_start(study, goal, (), run))
    judged = [(START, ())]
    stages += _judged(study, preset, seed, goal, START, "the student as it was", settings)
    names = {START}
    for chain in chains:
        before = START
        for count in range(1, len(chain) + 1):
            name = _name(chain[:count])
            if name not in names:
                names.add(name)
                stages.append(
                    _step(study, preset, seed, goal, name, before, chain[count - 1], settings)
                )
                title = " ".join(map(str, chain[:count]))
                stages += _judged(study, preset, seed, goal, name, title, settings)
                judged.append((name, chain[:count]))
            before = name
    done = run_stages(stages, folder, reporter)
    folders = {name: found.folder for name, found in done.items()}
    samples = samples_of(study, preset, seed, folders)
    made = _gather(study, preset, seed, goal, judged, folders, samples, settings)
    write_simplified(made, folder)
    return made


def _name(steps: Sequence[Step]) -> str:
    text = " ".join(map(str, steps))
    return f"s{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def _start(study: Study, goal: Goal, after: tuple[str, ...], run: Path | None) -> Stage:
    """Stage ``start``: the teacher, the student and its Graph."""
    made = {TEACHER: "teacher", STUDENT: "student"}
    files = {} if run is None else {n: run / STAGES / stage / MODEL for n, stage in made.items()}
    given = {name: _digest(file) for name, file in files.items()}

    def work(at: Workplace) -> None:
        trained = {name: at.inputs[stage] / MODEL for name, stage in made.items() if run is None}
        for name, file in (files or trained).items():
            shutil.copyfile(file, at.folder / name)
        model = model_of(at.folder)
        _check(study, model)
        (at.folder / GRAPH).write_text(str(_converted(model, study.name)), encoding="utf-8")
        (at.folder / STATE).write_text(to_text(State(Dropped(), (), None)), encoding="utf-8")

    sources = ("fixed.py", "graph", "frontends", *OWN)
    return Stage(START, "Take the student", work, given, after, sources, PACKAGES)


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise StorageError(
            f"{file} cannot be read: {error.strerror}",
            "give the folder of a finished run with a trained teacher and student",
        ) from error


def _check(study: Study, model: Any) -> None:
    """Is it a student of this study? Raises `InputError`."""
    own = study.student()
    if own is None:
        return
    for what in ("input_shape", "output_shape"):
        theirs, ours = getattr(model, what), getattr(own, what)
        if theirs != ours:
            raise InputError(
                f"the student has {what.replace('_', ' ')} {theirs}, study {study.name!r} {ours}",
                "give a run of this study",
            )


def _converted(model: Any, name: str) -> Graph:
    from hairtrigger.frontends.hgq import from_hgq
    from hairtrigger.graph.passes import optimise

    return optimise(from_hgq(model, name=name))


# --- a step --------------------------------------------------------------------------------------


def _step(
    study: Study,
    preset: Any,
    seed: int,
    goal: Goal,
    name: str,
    before: str,
    step: Step,
    settings: Settings,
) -> Stage:
    seen, read = study.seen_by("student", preset)
    parameters: dict[str, Any] = {
        "study": study.name,
        "preset": read,
        "seed": seed,
        "step": str(step),
        "interval": goal.interval,
        "axis": settings.axis,
        "method": settings.method,
        "epochs": settings.epochs,
    }

    def work(at: Workplace) -> None:
        samples = samples_of(study, preset, seed, at.inputs)
        if step.kind == BITS:
            _cut_bits(at, study, samples, before, step, goal)
            return
        model = model_of(at.inputs[before])
        state = read_record(State, at.inputs[before] / STATE)
        graph = read_graph(at.inputs[before])
        ranked, gone = _choose(study, samples, model, graph, state.dropped, step, goal, settings)
        dropped = _on(state.dropped, settings.axis).plus(gone)
        loss = _train_again(at, study, seen, samples, seed, model, dropped, settings)
        _leave(at, study, model, State(dropped, ranked, loss))
        shutil.copyfile(at.inputs[before] / TEACHER, at.folder / TEACHER)

    sources = ("fixed.py", "detectors", "graph", "frontends", "train", "explain")
    sources += (
        "studies/base.py",
        *training_sources(study),
        "runs/simplify.py",
        "runs/simplified.py",
    )
    title = f"Simplify: {step}"
    return Stage(name, title, work, parameters, ("simulate", before), sources, PACKAGES)


def _choose(
    study: Study,
    samples: Samples,
    model: Any,
    graph: Graph,
    dropped: Dropped,
    step: Step,
    goal: Goal,
    settings: Settings,
) -> tuple[tuple[Ranked, ...], tuple[Unit, ...]]:
    from hairtrigger.explain.importance import importances
    from hairtrigger.explain.simplify import candidates, choose_channels, choose_inputs
    from hairtrigger.explain.units import channel_units, input_units, mask_of, without_channels

    without_channels(model, dropped.channels)
    events = _few(study, samples)
    events = events * mask_of(events.shape[1:], _on(dropped, settings.axis))
    gone_already = set(dropped.units)
    of_inputs = step.kind == INPUTS
    units = input_units(model, settings.axis) if of_inputs else channel_units(model)
    units = tuple(unit for unit in units if unit not in gone_already)
    method = settings.method if of_inputs else "occlusion"
    found = importances(model, events, units, axis=settings.axis, method=method)
    ranked = candidates(graph, found, goal.interval, settings.axis)
    if of_inputs:
        gone = choose_inputs(ranked, int(step.amount))
    else:
        gone = choose_channels(graph, ranked, step.amount, goal.interval)
    record = tuple(Ranked(c.unit, c.importance, c.lut, c.unit in gone) for c in ranked)
    return record, gone


def _on(dropped: Dropped, axis: int) -> Dropped:
    return dataclasses.replace(dropped, axis=axis)


def _few(study: Study, samples: Samples) -> np.ndarray:
    """Some validation events, as the network takes them: the test samples choose nothing."""
    from hairtrigger.explain.simplify import sample_of

    data = study.data(samples.validation)
    return data.prepare(data.inputs[sample_of(len(data), EVENTS)])


def _train_again(
    at: Workplace,
    study: Study,
    preset: Any,
    samples: Samples,
    seed: int,
    model: Any,
    dropped: Dropped,
    settings: Settings,
) -> float:
    """Train the network without what has gone, as the study does, from what it has learned."""
    from hairtrigger.explain.units import mask_of, without_channels
    from hairtrigger.frontends.keras_file import load_model
    from hairtrigger.train import FitSettings, fit, truth_loss
    from hairtrigger.train.distill import with_teacher
    from hairtrigger.train.heads import distillation_loss

    without_channels(model, dropped.channels)
    mask = mask_of(model.input_shape[1:], _on(dropped, settings.axis))
    parts = [study.data(samples.train), study.data(samples.validation)]
    share = getattr(preset, "teacher_share", 0.0)
    loss = truth_loss(study.heads)
    if share:
        # The teacher sees everything: what is missing is the student's affair.
        teacher = load_model(at.inputs[_before(at)] / TEACHER)
        parts = [with_teacher(teacher, part, study.heads) for part in parts]
        loss = distillation_loss(study.heads, preset.temperature, share)
    parts = [
        dataclasses.replace(part, prepare=lambda x, of=part.prepare: of(x) * mask) for part in parts
    ]
    price = preset.beta[1]
    fitting = FitSettings(
        settings.epochs, preset.batch, RATE_SHARE * preset.student_rate, seed, (price, price)
    )
    history = fit(
        model,
        *parts,
        loss,
        fitting,
        checkpoint=at.partial / CHECKPOINT,
        progress=lambda what, done, total: at.progress(done, total),
        what="train again",
    )
    return history.validation_loss[history.best_epoch]


def _before(at: Workplace) -> str:
    """The stage whose network a step begins with."""
    return next(name for name in at.inputs if name != "simulate")


def _leave(at: Workplace, study: Study, model: Any, state: State) -> None:
    from hairtrigger.explain.units import without_inputs

    model.save(at.folder / MODEL)
    graph = _converted(model_of(at.folder), study.name)
    if state.dropped.inputs:
        graph = without_inputs(graph, state.dropped)
    (at.folder / GRAPH).write_text(str(graph), encoding="utf-8")
    (at.folder / STATE).write_text(to_text(state), encoding="utf-8")


def _cut_bits(
    at: Workplace, study: Study, samples: Samples, before: str, step: Step, goal: Goal
) -> None:
    from hairtrigger.explain.bits import Probe, cuts_of, greedy_path, without_bits, worths
    from hairtrigger.graph import encode

    graph = read_graph(at.inputs[before])
    probe = Probe(graph, encode(graph, _few(study, samples)))
    table = worths(
        probe,
        cuts_of(graph),
        interval=goal.interval,
        tell=lambda done, total: at.progress(done, 2 * total),
    )
    path = greedy_path(
        probe,
        table,
        step.amount,
        interval=goal.interval,
        tell=lambda done, total: at.progress(total + done, 2 * total),
    )
    made = path.until(step.amount)
    (at.folder / GRAPH).write_text(str(without_bits(graph, made)), encoding="utf-8")
    (at.folder / BITS_FILE).write_text(to_text(Bits(table, path, made)), encoding="utf-8")
    shutil.copyfile(at.inputs[before] / STATE, at.folder / STATE)


# --- a point -------------------------------------------------------------------------------------


def _judged(
    study: Study, preset: Any, seed: int, goal: Goal, of: str, title: str, settings: Settings
) -> list[Stage]:
    """Stages ``<of>_scores`` and, where chips are asked for, ``<of>_chip``."""

    def scores(at: Workplace) -> None:
        samples = samples_of(study, preset, seed, at.inputs)
        run, engine = graph_outputs(read_graph(at.inputs[of]), test_size(samples))
        outputs = {}
        for number, (name, events) in enumerate(samples.test.items()):
            at.progress(number, len(samples.test))
            outputs[name] = run(study.data(events))
        found = study.scores(study.evaluate(outputs, samples))
        record = Scores(engine, {key: _estimate(value) for key, value in found.items()})
        (at.folder / SCORES).write_text(to_text(record), encoding="utf-8")

    def chip(at: Workplace) -> None:
        counted = silicon(read_graph(at.inputs[of]), goal)
        (at.folder / CHIP).write_text(to_text(counted), encoding="utf-8")

    size = {"preset": dataclasses.asdict(preset), "seed": seed}
    target = {"part": goal.part.name, "clock_mhz": goal.clock.mhz}
    target |= {"interval": goal.interval, "axis": goal.axis}
    sources = (*SOURCES, *sources_of(study), *OWN)
    wired = ("fixed.py", "graph", "rtl", "targets", "tools", "backends/rtl.py")
    stages = [
        Stage(
            f"{of}_scores",
            f"Judge: {title}",
            scores,
            size,
            ("simulate", of),
            sources,
            (*PACKAGES, "onnx", "onnxruntime"),
        )
    ]
    if settings.chips:
        stages.append(
            Stage(f"{of}_chip", f"Synthesise: {title}", chip, target, (of,), wired, ("pyosys",))
        )
    return stages


def _estimate(value: Any) -> Estimate:
    from hairtrigger.report.judged import estimate

    return estimate(value, LEVEL)


def _gather(
    study: Study,
    preset: Any,
    seed: int,
    goal: Goal,
    judged: Sequence[tuple[str, Chain]],
    folders: Mapping[str, Path],
    samples: Samples,
    settings: Settings,
) -> Simplified:
    from hairtrigger.explain.cost import lut_estimate

    scale = None
    points: list[Simpler] = []
    table: tuple[Worth, ...] = ()
    for name, chain in judged:
        graph = read_graph(folders[name])
        state = read_record(State, folders[name] / STATE)
        scores = read_record(Scores, folders[f"{name}_scores"] / SCORES)
        chip = read_record(Silicon, folders[f"{name}_chip"] / CHIP) if settings.chips else None
        plain = sum(lut_estimate(graph, goal.interval))
        if scale is None:
            scale = chip.lut / plain if chip and plain else 1.0
        cuts = 0
        if chain and chain[-1].kind == BITS:
            bits = read_record(Bits, folders[name] / BITS_FILE)
            cuts = len(bits.made)
            if len(chain) == 1 and not table:
                table = tuple(dataclasses.replace(w, lut=scale * w.lut) for w in bits.table)
        points.append(
            Simpler(
                " ".join(map(str, chain)) or "as it was",
                tuple(map(str, chain)),
                state.dropped.inputs,
                state.dropped.channels,
                cuts,
                scale * plain,
                scores.engine,
                scores.scores,
                chip,
            )
        )
    return Simplified(
        study.name,
        preset.name,
        seed,
        next(iter(points[0].scores), ""),
        settings.epochs,
        settings.method,
        {name: len(events) for name, events in samples.test.items()},
        tuple(points),
        table,
        commit(),
        versions(),
    )
