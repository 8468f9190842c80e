"""The stages of a simplification that change a network: taking it, and each step."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hairtrigger.errors import InputError, StorageError
from hairtrigger.explain.simplify import BITS, INPUTS, PRICE, Step
from hairtrigger.explain.units import Dropped, Unit
from hairtrigger.pipeline import STAGES, Stage, Workplace
from hairtrigger.records import read_record, to_text
from hairtrigger.runs.chip import GRAPH, MODEL, Goal, read_graph
from hairtrigger.runs.learn import CHECKPOINT, PACKAGES, model_of, samples_of, training_sources
from hairtrigger.runs.simplified import Bits, Ranked, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from hairtrigger.explain.bits import Cut
    from hairtrigger.graph import Graph
    from hairtrigger.studies.base import Samples, Study

START = "start"
OWN = ("runs/simplify_steps.py", "runs/simplified.py")
TEACHER, STUDENT = "teacher.keras", MODEL
STATE, BITS_FILE = "state.json", "bits.json"
EVENTS = 1024
"""Validation events that importances and the worth of bits are measured on."""
ELIMINATION = "elimination"
RATE_SHARE = 0.5
"""Of the study's learning rate, to train on what is trained already."""


@dataclass(frozen=True)
class Settings:
    """``axis`` of the input's slices, the ``method`` that ranks them, ``epochs`` of training after
    a step, ``chips``: synthesise every point; ``surrogate``: "tree" of at most so many ``leaves``,
    "formula", or "" for none."""

    axis: int = 0
    method: str = "elimination"
    epochs: int = 1
    chips: bool = True
    surrogate: str = ""
    leaves: int = 32

    def __post_init__(self) -> None:
        from hairtrigger.explain.importance import METHODS

        if self.method not in METHODS:
            raise InputError(f"method {self.method!r}", f"choose one of: {', '.join(METHODS)}")
        if self.epochs < 1:
            raise InputError(f"epochs = {self.epochs!r}", "give 1 or more")


def start_stage(study: Study, goal: Goal, after: tuple[str, ...], run: Path | None) -> Stage:
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


def step_stage(
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
        if not (at.inputs[before] / STUDENT).exists():
            raise InputError(
                f"{step} after bits: no quantizer of this network can follow the cuts in its Graph",
                "put bits last",
            )
        model = model_of(at.inputs[before])
        state = read_record(State, at.inputs[before] / STATE)
        graph = read_graph(at.inputs[before])
        ranked: tuple[Ranked, ...] = ()
        gone: tuple[Unit, ...] = ()
        if step.kind != PRICE:
            found = _choose(study, samples, model, graph, state.dropped, step, goal, settings)
            ranked, gone = found
        dropped = _on(state.dropped, settings.axis).plus(gone)
        made = dataclasses.replace(state, dropped=dropped, ranked=ranked)
        price = seen.beta[1] * (step.amount if step.kind == PRICE else 1.0)
        loss = _train_again(at, study, seen, samples, seed, model, made, settings, price)
        _leave(at, study, model, dataclasses.replace(made, validation_loss=loss))
        shutil.copyfile(at.inputs[before] / TEACHER, at.folder / TEACHER)

    sources = ("fixed.py", "detectors", "graph", "frontends", "train", "explain")
    sources += (
        "studies/base.py",
        *training_sources(study),
        *OWN,
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
    from hairtrigger.explain.importance import eliminate, importances
    from hairtrigger.explain.simplify import (
        candidates,
        check_keep,
        choose_channels,
        choose_inputs,
    )
    from hairtrigger.explain.units import channel_units, input_units, mask_of, without_channels

    without_channels(model, dropped.channels)
    events = _few(study, samples)
    events = events * mask_of(events.shape[1:], _on(dropped, settings.axis))
    gone_already = set(dropped.units)
    of_inputs = step.kind == INPUTS
    units = input_units(model, settings.axis) if of_inputs else channel_units(model)
    units = tuple(unit for unit in units if unit not in gone_already)
    method = settings.method if of_inputs and settings.method != ELIMINATION else "occlusion"
    found = importances(model, events, units, axis=settings.axis, method=method)
    ranked = candidates(graph, found, goal.interval, settings.axis)
    keep = int(step.amount)
    if not of_inputs:
        gone = choose_channels(graph, ranked, step.amount, goal.interval)
    elif settings.method == ELIMINATION:
        check_keep(len(units), keep)
        gone = tuple(u for u, _ in eliminate(model, events, units, keep, axis=settings.axis))
    else:
        gone = choose_inputs(ranked, keep)
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
    state: State,
    settings: Settings,
    price: float,
) -> float:
    """Train the network without what has gone, as the study does, from what it has learned;
    ``price``: of a bit."""
    from hairtrigger.explain.narrow import hold_bits
    from hairtrigger.explain.units import mask_of, without_channels
    from hairtrigger.frontends.keras_file import load_model
    from hairtrigger.train import FitSettings, fit, truth_loss
    from hairtrigger.train.distill import with_teacher
    from hairtrigger.train.heads import distillation_loss

    without_channels(model, state.dropped.channels)
    hold_bits(model, state.limits)
    mask = mask_of(model.input_shape[1:], _on(state.dropped, settings.axis))
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
    narrow = without_bits(graph, made)
    (at.folder / GRAPH).write_text(str(narrow), encoding="utf-8")
    (at.folder / BITS_FILE).write_text(to_text(Bits(table, path, made)), encoding="utf-8")
    state = read_record(State, at.inputs[before] / STATE)
    state = dataclasses.replace(state, ranked=(), cuts=state.cuts + len(made))
    _follow(at, study, samples, before, made, narrow, state)


def _follow(
    at: Workplace,
    study: Study,
    samples: Samples,
    before: str,
    made: Sequence[Cut],
    narrow: Graph,
    state: State,
) -> None:
    """Leave the state, and the network with the cuts where it gives what the narrow Graph gives."""
    import numpy as np

    from hairtrigger.engines import run
    from hairtrigger.explain.narrow import hold_bits, limits_of

    shutil.copyfile(at.inputs[before] / TEACHER, at.folder / TEACHER)
    if (at.inputs[before] / STUDENT).exists():
        model = model_of(at.inputs[before])
        try:
            limits = limits_of(model, read_graph(at.inputs[before]), made)
        except InputError:
            limits = None
        if limits is not None:
            hold_bits(model, limits)
            state = dataclasses.replace(state, limits={**state.limits, **limits})
            _leave(at, study, model, state)
            events = _few(study, samples)
            mine, theirs = (run(g, events).values[0] for g in (read_graph(at.folder), narrow))
            if not np.array_equal(mine, theirs):
                (at.folder / STUDENT).unlink()
    (at.folder / GRAPH).write_text(str(narrow), encoding="utf-8")
    (at.folder / STATE).write_text(to_text(state), encoding="utf-8")
