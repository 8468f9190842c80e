"""What the commands do: run a study, compile a user's model, write a report again.

Each is a list of stages for `hairtrigger.pipeline`: those of ``learn.py`` make a trained network
and judge it, those of ``chip.py`` a proven design, and that of ``gather.py`` the report.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hairtrigger.errors import InputError, StorageError
from hairtrigger.progress import Reporter
from hairtrigger.runs.chip import EVENTS, MODEL, Goal, chip_stages, design_name, parse_format
from hairtrigger.runs.curve import curve_stage
from hairtrigger.runs.gather import Report, finish, origin_of, render_again
from hairtrigger.runs.learn import evaluation_stage, samples_of, test_events, training_stages
from hairtrigger.targets import find_part, parse_clock, parse_interval, parse_time

if TYPE_CHECKING:
    import numpy as np

    from hairtrigger.report.judged import Judged
    from hairtrigger.runs.baseline import BaselineRun
    from hairtrigger.runs.compare import Comparison
    from hairtrigger.runs.simplified import Simplified
    from hairtrigger.runs.sweep import Swept
    from hairtrigger.studies.base import Study

__all__ = [
    "Report",
    "compare_study",
    "compile_model",
    "render_again",
    "run_baseline_of",
    "run_study",
    "simplify_study",
    "sweep_study",
    "verify_study",
]


STUDIES = ("muon", "muon_4_rows", "muon_3_muons", "strips", "tau3mu", "supernova")
"""Names that `run_study` knows."""


def run_study(
    name: str,
    *,
    preset: str = "demo",
    seed: int = 1,
    part: str = "xcvu13p",
    clock: str = "320MHz",
    latency: str | None = None,
    interval: str | None = None,
    axis: int | None = None,
    data: Path | None = None,
    folder: Path,
    command: str = "",
    reporter: Reporter | None = None,
) -> Report:
    """Run a study from simulation to report in ``folder``, reusing what is there.

    ``latency``: the most allowed, such as "400 ns"; ``interval`` (None: the study's own) and
    ``axis``: see `hairtrigger.rtl.design.compile_graph`. ``data``: a folder of recorded data
    instead of the simulation, for tau3mu. Raises HairtriggerError of each kind: see
    `hairtrigger.errors`.
    """
    if name == "tau3mu":
        goal = _goal(part, clock, latency, interval or "1", axis)
        return _run_tau3mu(preset, seed, goal, data, folder, command, reporter)
    if data is not None:
        raise InputError(f"study {name!r} reads no recorded data", "leave --data away")
    if name == "supernova":
        goal = _goal(part, clock, latency, interval or "8us", 0 if axis is None else axis)
        return _run_supernova(preset, seed, goal, folder, command, reporter)
    if name == "strips":
        goal = _goal(part, clock, latency, interval or "1", axis)
        return _run_strips(preset, seed, goal, folder, command, reporter)
    study, judge = _find(name)
    goal = _goal(part, clock, latency, interval or study.interval, axis)
    size = study.preset(preset)

    def events(inputs: Mapping[str, Path]) -> np.ndarray:
        return test_events(study, samples_of(study, size, seed, inputs), EVENTS)

    stages = [
        *training_stages(study, size, seed),
        *chip_stages(
            study.name,
            goal,
            seed,
            lambda inputs: inputs["student"] / MODEL,
            events,
            convert_after=("student",),
            events_after=("simulate",),
        ),
        evaluation_stage(study, size, seed, judge),
    ]
    title = f"{study.title}: {preset}"
    origin = origin_of(title, goal, seed, command, study=study.name, preset=preset)
    return finish(stages, origin, folder, reporter)


def _run_tau3mu(
    preset: str,
    seed: int,
    goal: Goal,
    data: Path | None,
    folder: Path,
    command: str,
    reporter: Reporter | None,
) -> Report:
    from hairtrigger.runs.tau3mu import run_tau3mu
    from hairtrigger.studies.tau3mu import preset_named
    from hairtrigger.studies.tau3mu_samples import FILES

    content = {} if data is None else {file: _content(data / file) for file in FILES}
    return run_tau3mu(
        preset_named(preset),
        seed,
        goal,
        folder,
        data=data,
        content=content,
        command=command,
        reporter=reporter,
    )


def _run_supernova(
    preset: str, seed: int, goal: Goal, folder: Path, command: str, reporter: Reporter | None
) -> Report:
    from hairtrigger.runs.supernova import run_supernova
    from hairtrigger.studies.supernova import preset_named

    size = preset_named(preset)
    return run_supernova(size, seed, goal, folder, command=command, reporter=reporter)


def _run_strips(
    preset: str, seed: int, goal: Goal, folder: Path, command: str, reporter: Reporter | None
) -> Report:
    from hairtrigger.runs.strips import run_strips
    from hairtrigger.studies.strips import preset_named

    size = preset_named(preset)
    return run_strips(size, seed, goal, folder, command=command, reporter=reporter)


TRAINED = Path(__file__).parent.parent / "studies" / "trained"
"""Students that come with hairtrigger, one for each study that has one: <study>.keras."""


def verify_study(
    name: str,
    *,
    seed: int = 1,
    part: str = "xcvu13p",
    clock: str = "320MHz",
    latency: str | None = None,
    interval: str = "25ns",
    axis: int | None = None,
    folder: Path,
    command: str = "",
    reporter: Reporter | None = None,
) -> Report:
    """Compile the trained student that comes with a study, verify and synthesise it.

    The events are simulated as those of preset ``smoke`` are. Raises as `run_study` does, and
    InputError for a study without a trained student.
    """
    goal = _goal(part, clock, latency, interval, axis)
    study, _ = _find(name)
    model = TRAINED / f"{name}.keras"
    if not model.exists():
        raise InputError(
            f"study {name!r} comes without a trained student",
            f"train one: hairtrigger run {name} --preset demo",
        )
    size = study.preset("smoke")

    def events(inputs: Mapping[str, Path]) -> np.ndarray:
        return test_events(study, samples_of(study, size, seed, inputs), EVENTS)

    simulate = training_stages(study, size, seed)[0]
    stages = [
        simulate,
        *chip_stages(
            study.name,
            goal,
            seed,
            lambda _: model,
            events,
            events_after=(simulate.name,),
            given={"model": _content(model)},
        ),
    ]
    title = f"{study.title}: the trained student"
    return finish(stages, origin_of(title, goal, seed, command, model=model.name), folder, reporter)


def sweep_study(
    name: str,
    *,
    preset: str = "demo",
    trials: int = 20,
    seed: int = 1,
    part: str = "xcvu13p",
    clock: str = "320MHz",
    interval: str = "25ns",
    axis: int | None = None,
    folder: Path,
    reporter: Reporter | None = None,
) -> Swept:
    """Try ``trials`` settings of a study's student; see `hairtrigger.runs.sweep.sweep`."""
    from hairtrigger.progress import Silent
    from hairtrigger.runs.sweep import sweep

    goal = _goal(part, clock, None, interval, axis)
    study, _ = _find(name)
    return sweep(study, study.preset(preset), seed, goal, trials, folder, reporter or Silent())


def compare_study(
    name: str,
    *,
    preset: str = "demo",
    seeds: int = 3,
    seed: int = 1,
    chips: bool = False,
    part: str = "xcvu13p",
    clock: str = "320MHz",
    interval: str = "25ns",
    axis: int | None = None,
    folder: Path,
    reporter: Reporter | None = None,
) -> Comparison:
    """Compare a study's ways to make a student, each from ``seeds`` seeds, the first ``seed``.

    ``chips``: synthesise the quantised networks of the first seed as well, minutes each. See
    `hairtrigger.runs.compare.compare`. Raises InputError for fewer than one seed.
    """
    from hairtrigger.progress import Silent
    from hairtrigger.runs.compare import compare

    if seeds < 1:
        raise InputError(f"seeds = {seeds!r}", "give 1 or more; error bars need 2")
    goal = _goal(part, clock, None, interval, axis)
    study, _ = _find(name)
    drawn = range(seed, seed + seeds)
    size, aim = study.preset(preset), goal if chips else None
    return compare(study, size, drawn, aim, folder, reporter or Silent())


def simplify_study(
    name: str,
    steps: str,
    *,
    preset: str = "demo",
    run: Path | None = None,
    seed: int = 1,
    axis: int = 0,
    method: str = "elimination",
    epochs: int = 1,
    chips: bool = True,
    surrogate: str = "",
    leaves: int = 32,
    part: str = "xcvu13p",
    clock: str = "320MHz",
    interval: str | None = None,
    folder: Path,
    reporter: Reporter | None = None,
) -> Simplified:
    """Take from a study's student what matters least; see `hairtrigger.runs.simplify.simplify`.

    ``steps``: see `hairtrigger.explain.simplify.parse_steps`; ``run``: the folder of a finished run
    to take the networks of; ``axis``: of the input, along which its slices lie.
    """
    from hairtrigger.explain.simplify import parse_steps
    from hairtrigger.progress import Silent
    from hairtrigger.runs.simplify import simplify
    from hairtrigger.runs.simplify_steps import Settings

    chains = parse_steps(steps)
    settings = Settings(axis, method, epochs, chips, surrogate, leaves)
    study, _ = _find(name)
    goal = _goal(part, clock, None, interval or study.interval, None)
    size = study.preset(preset)
    told = reporter or Silent()
    return simplify(study, size, seed, goal, chains, folder, told, run=run, settings=settings)


def run_baseline_of(
    name: str,
    *,
    preset: str = "demo",
    seed: int = 1,
    chip: bool = True,
    part: str = "xcvu13p",
    clock: str = "320MHz",
    interval: str = "25ns",
    axis: int | None = None,
    folder: Path,
    reporter: Reporter | None = None,
) -> BaselineRun:
    """Judge a study's trigger without a network; with ``chip`` prove and synthesise it too.

    See `hairtrigger.runs.baseline.run_baseline`.
    """
    from hairtrigger.progress import Silent
    from hairtrigger.runs.baseline import run_baseline

    goal = _goal(part, clock, None, interval, axis) if chip else None
    study, _ = _find(name)
    return run_baseline(study, study.preset(preset), seed, goal, folder, reporter or Silent())


def _find(name: str) -> tuple[Study, Callable[[Judged], Any]]:
    """A study, and what makes its part of the report."""
    if name not in STUDIES:
        raise InputError(f"study {name!r} is not known", f"choose one of: {', '.join(STUDIES)}")
    from hairtrigger.report import muon as page
    from hairtrigger.studies import muon

    if name not in muon.STUDIES:
        raise InputError(f"study {name!r} has only `hairtrigger run`", "choose a muon study")
    study = muon.STUDIES[name]
    return study, lambda judged: page.judge(judged, study)


def compile_model(
    model: Path,
    *,
    part: str = "xcvu13p",
    clock: str = "320MHz",
    latency: str | None = None,
    interval: str = "1",
    axis: int | None = None,
    stream: bool = False,
    pareto: tuple[str, ...] = (),
    events: Path | None = None,
    input_format: str | None = None,
    seed: int = 1,
    folder: Path,
    command: str = "",
    reporter: Reporter | None = None,
) -> Report:
    """Compile a trained HGQ2 model in a .keras file; its project is ``folder``/project.

    ``events``: a .npy file (events, *shape) to verify with beside the adversarial ones; without it
    random ones. ``latency``: the most allowed, such as "400 ns"; ``interval`` and ``axis``: see
    `hairtrigger.rtl.design.compile_graph`; ``stream``: write an AXI4-Stream wrapper too;
    ``pareto``: intervals for which latency is drawn against the clock.
    ``input_format``: how the data come, such as "s4.3", for a model whose inputs several different
    quantizers read.

    Raises HairtriggerError of each kind: see `hairtrigger.errors`.
    """
    goal = replace(_goal(part, clock, latency, interval, axis), stream=stream)
    given = {"model": _content(model)}
    if events is not None:
        given["events"] = _content(events)
        load_events(events)  # said before minutes of work, not after
    name = design_name(model.stem)
    stages = chip_stages(
        name,
        goal,
        seed,
        lambda _: model,
        lambda _: None if events is None else load_events(events),
        input_format=None if input_format is None else parse_format(input_format),
        given=given,
    )
    origin = origin_of(f"{model.name} on {goal.part.name}", goal, seed, command, model=model.name)
    if pareto:
        intervals = tuple(dict.fromkeys(parse_interval(text, goal.clock) for text in pareto))
        stages.append(curve_stage(goal, intervals))
    return finish(stages, origin, folder, reporter)


def _goal(part: str, clock: str, latency: str | None, interval: str, axis: int | None) -> Goal:
    limit = None if latency is None else parse_time(latency)
    found = parse_clock(clock)
    return Goal(find_part(part), found, limit, parse_interval(interval, found), axis)


def _content(path: Path) -> str:
    """SHA-256 of a user's file. Raises StorageError where it is missing or a folder."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", "check the path") from error


def load_events(path: Path) -> np.ndarray:
    """The array of a .npy file. Raises InputError for what is none, or holds Python objects."""
    import numpy as np

    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", "check the path") from error
    except ValueError as error:
        raise InputError(
            f"{path} is no complete .npy file of numbers: {error}", "write it with numpy.save"
        ) from error
