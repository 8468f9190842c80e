"""Simplifies a study's student by what matters in it: efficiency against LUTs and ns, resumable.

<folder>/stages/...             events, networks; of each step what went, the network trained again,
                                its figures and its chip
<folder>/simplify.json .csv .svg .html    the points, the bits' worth, the curve, a page
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hairtrigger.errors import InputError
from hairtrigger.explain.bits import Worth
from hairtrigger.explain.simplify import BITS, Chain, Step
from hairtrigger.metrics import LEVEL
from hairtrigger.pipeline import Stage, Workplace, run_stages
from hairtrigger.progress import Reporter
from hairtrigger.records import read_record, to_text
from hairtrigger.report.summary import Estimate
from hairtrigger.runs.chip import Goal, read_graph
from hairtrigger.runs.gather import commit, versions
from hairtrigger.runs.learn import (
    PACKAGES,
    graph_outputs,
    samples_of,
    sources_of,
    test_size,
    training_stages,
)
from hairtrigger.runs.points import SOURCES, Silicon, silicon
from hairtrigger.runs.simplified import (
    Bits,
    Scores,
    Simpler,
    Simplified,
    State,
    write_simplified,
)
from hairtrigger.runs.simplify_steps import (
    BITS_FILE,
    START,
    STATE,
    Settings,
    start_stage,
    step_stage,
)
from hairtrigger.runs.surrogate import read_surrogate, surrogate_stage

if TYPE_CHECKING:
    from hairtrigger.studies.base import Samples, Study

OWN = ("runs/simplify.py", "runs/simplified.py")
SCORES, CHIP, ALLOWED = "scores.json", "chip.json", "fakes.txt"


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
        stages.append(start_stage(study, goal, ("teacher", "student"), None))
    else:
        stages = [training_stages(study, preset, seed)[0]]
        stages.append(start_stage(study, goal, (), run))
    judged = [(START, ())]
    stages.append(_scores_stage(study, preset, seed, START, "the student as it was"))
    chips = [_chip_stage(goal, START, "the student as it was")]
    names = {START}
    for chain in chains:
        before = START
        for count in range(1, len(chain) + 1):
            name = _name(chain[:count])
            if name not in names:
                names.add(name)
                stages.append(
                    step_stage(study, preset, seed, goal, name, before, chain[count - 1], settings)
                )
                title = " ".join(map(str, chain[:count]))
                stages.append(_scores_stage(study, preset, seed, name, title))
                chips.append(_chip_stage(goal, name, title))
                judged.append((name, chain[:count]))
            before = name
    if settings.surrogate:
        kind, leaves = settings.surrogate, settings.leaves
        stages.append(surrogate_stage(study, preset, seed, START, kind, leaves))
    # Chips last: they take longest, and no step waits for one.
    done = run_stages([*stages, *(chips if settings.chips else ())], folder, reporter)
    folders = {name: found.folder for name, found in done.items()}
    samples = samples_of(study, preset, seed, folders)
    made = _gather(study, preset, seed, goal, judged, folders, samples, settings)
    write_simplified(made, folder)
    return made


def _name(steps: Sequence[Step]) -> str:
    text = " ".join(map(str, steps))
    return f"s{hashlib.sha256(text.encode()).hexdigest()[:10]}"


# --- a point -------------------------------------------------------------------------------------


def _scores_stage(study: Study, preset: Any, seed: int, of: str, title: str) -> Stage:
    """Stage ``<of>_scores``: the study's figures of the Graph that stage ``of`` left."""

    def scores(at: Workplace) -> None:
        samples = samples_of(study, preset, seed, at.inputs)
        run, engine = graph_outputs(read_graph(at.inputs[of]), test_size(samples))
        outputs = {}
        for number, (name, events) in enumerate(samples.test.items()):
            at.progress(number, len(samples.test))
            outputs[name] = run(study.data(events))
        found = dict(study.scores(study.evaluate(outputs, samples)))
        if study.name.partition("_")[0] == "muon":
            found |= _same_fakes(at, study, of, outputs, samples)
        record = Scores(engine, {key: _estimate(value) for key, value in found.items()})
        (at.folder / SCORES).write_text(to_text(record), encoding="utf-8")

    size = {"preset": dataclasses.asdict(preset), "seed": seed}
    sources = (*SOURCES, *sources_of(study), *OWN)
    packages = (*PACKAGES, "onnx", "onnxruntime")
    after = ("simulate", of, *(() if of == START else (f"{START}_scores",)))
    return Stage(f"{of}_scores", f"Judge: {title}", scores, size, after, sources, packages)


def _same_fakes(
    at: Workplace, study: Study, of: str, outputs: Mapping[str, Any], samples: Samples
) -> dict[str, Any]:
    """Efficiency at no more fakes than the student had as it was, and the soft muons that pass;
    and the efficiency at neither more fakes nor more soft muons.

    Stage ``start_scores`` leaves how many those were.
    """
    from hairtrigger.studies.muon import NOISE_RATES, noise_name
    from hairtrigger.studies.muon_metrics import SOFT_GEV, TRIGGER_GEV, at_same_fakes

    noise = study.decode(outputs[noise_name(NOISE_RATES[-1])]).pt
    muons, truth = study.decode(outputs["muons"]).pt, samples.test["muons"].truth
    if of == START:
        soft = (truth["n_muons"] == 1) & (truth["pt"][:, 0] < SOFT_GEV)
        fakes, soft_muons = (int((x >= TRIGGER_GEV).sum()) for x in (noise, muons[soft]))
        (at.folder / ALLOWED).write_text(f"{fakes} {soft_muons}\n", encoding="utf-8")
    else:
        text = (at.inputs[f"{START}_scores"] / ALLOWED).read_text(encoding="utf-8")
        fakes, soft_muons = map(int, text.split())
    same = at_same_fakes(muons, truth, noise, fakes)
    both = at_same_fakes(muons, truth, noise, fakes, soft_allowed=soft_muons)
    return {
        "efficiency_same_fakes": same.efficiency,
        "soft_same_fakes": same.soft,
        "efficiency_same_fakes_and_soft": both.efficiency,
    }


def _chip_stage(goal: Goal, of: str, title: str) -> Stage:
    """Stage ``<of>_chip``: the Graph that stage ``of`` left, synthesised."""

    def chip(at: Workplace) -> None:
        counted = silicon(read_graph(at.inputs[of]), goal)
        (at.folder / CHIP).write_text(to_text(counted), encoding="utf-8")

    target = {"part": goal.part.name, "clock_mhz": goal.clock.mhz}
    target |= {"interval": goal.interval, "axis": goal.axis}
    wired = ("fixed.py", "graph", "rtl", "targets", "tools", "backends/rtl.py")
    return Stage(f"{of}_chip", f"Synthesise: {title}", chip, target, (of,), wired, ("pyosys",))


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
        if len(chain) == 1 and chain[0].kind == BITS and not table:
            bits = read_record(Bits, folders[name] / BITS_FILE)
            table = tuple(dataclasses.replace(w, lut=scale * w.lut) for w in bits.table)
        points.append(
            Simpler(
                " ".join(map(str, chain)) or "as it was",
                tuple(map(str, chain)),
                state.dropped.inputs,
                state.dropped.channels,
                state.cuts,
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
        read_surrogate(folders["surrogate"]) if settings.surrogate else None,
        commit(),
        versions(),
    )
