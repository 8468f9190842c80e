"""`hairtrigger run supernova`: from simulated ticks to a trigger that is proven and judged.

<folder>/stages/...                samples, trainings, Graph, Verilog, what came out of it
<folder>/trigger/                  the trigger as files, for `hairtrigger stream`
<folder>/performance.json .svg     rates, efficiencies, bursts, beside the conventional triggers
<folder>/report.html summary.json  as of every run
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hairtrigger.pipeline import STAGES, Stage, Workplace
from hairtrigger.records import to_text
from hairtrigger.runs.chip import MODEL, Goal, graph_stages, write_conversion
from hairtrigger.runs.gather import Report, finish, origin_of
from hairtrigger.runs.learn import means, model_of, save
from hairtrigger.runs.supernova_samples import (
    ENRICHED_NOISE,
    EXAM,
    FRONT,
    LESSONS,
    POOL,
    hard_of,
    sample,
    signals,
    simulating_stages,
    tune_stage,
    weighted,
)

if TYPE_CHECKING:
    import numpy as np

    from hairtrigger.graph import Graph
    from hairtrigger.progress import Reporter
    from hairtrigger.studies.supernova import SupernovaPreset
    from hairtrigger.studies.supernova_samples import Sample
    from hairtrigger.studies.supernova_trigger import Trigger

STUDY = "supernova"
CONVERT, TRIGGER, CUTS = "convert", "trigger", "cuts.json"
NETWORKS = (
    *("studies/supernova.py", "studies/supernova_networks.py", "studies/supernova_rare.py"),
    "train",
)
PACKAGES = ("numpy", "keras", "jax", "hgq2")


@dataclass(frozen=True)
class Cuts:
    """Where the trigger cuts: ``passed`` of ``enriched`` images of enriched argon are over it.

    ``gated``: the share of ``noise`` ordinary images whose network is run; ``gate_lost``: the share
    of nu_e CC images over the cut that the gate takes.
    """

    cut: int
    gate: int
    fraction: int
    passed: int
    enriched: int
    noise: int
    gated: float
    gate_lost: float


def run_supernova(
    preset: SupernovaPreset,
    seed: int,
    goal: Goal,
    folder: Path,
    *,
    command: str,
    reporter: Reporter | None,
) -> Report:
    """Run the study in ``folder``. Raises what a stage raises."""
    from hairtrigger.runs.supernova_chain import CHAIN, chain_stage
    from hairtrigger.runs.supernova_judge import FILES, PERFORMANCE, judge_stages

    def events(inputs: Mapping[str, Path]) -> np.ndarray:
        return _events(inputs, preset.proof_images)

    def model(inputs: Mapping[str, Path]) -> Path:
        return inputs[CONVERT] / MODEL

    performance, evaluate = judge_stages(preset, seed)
    stages = [
        tune_stage(preset, seed),
        *simulating_stages(preset, seed),
        _float(preset, seed),
        _student(preset, seed),
        _convert(preset),
        performance,
        *graph_stages(goal, seed, events, model=model, after=(EXAM,), fewest=preset.proof_images),
        chain_stage(preset, seed, goal),
        evaluate,
    ]
    title = f"Low-energy trigger of a liquid-argon detector: {preset.name}"
    origin = origin_of(title, goal, seed, command, study=STUDY, preset=preset.name)
    made = finish(stages, origin, folder, reporter)
    for name in FILES:
        shutil.copy2(folder / STAGES / PERFORMANCE / name, folder / name)
    shutil.copy2(folder / STAGES / "chain" / CHAIN, folder / CHAIN)
    _show_trigger(folder)
    return made


def _show_trigger(folder: Path) -> None:
    link = folder / TRIGGER
    link.unlink(missing_ok=True)
    link.symlink_to(Path(STAGES) / CONVERT / TRIGGER, target_is_directory=True)


# --- networks ------------------------------------------------------------------------------------


def _validation(inputs: Mapping[str, Path]) -> Sample:
    from hairtrigger.studies.supernova_samples import joined

    noise = [sample(inputs, f"validation_{name}") for name in ("noise", "enriched")]
    return joined([signals(inputs, "validation"), *noise])


def _noise(inputs: Mapping[str, Path], seed: int) -> Sample:
    """Noise to learn from: ordinary, and of enriched argon what is worth it."""
    from hairtrigger.detectors.lartpc_config import LartpcConfig
    from hairtrigger.studies.supernova import enriched
    from hairtrigger.studies.supernova_rare import worth_learning
    from hairtrigger.studies.supernova_samples import joined

    name, ordinary = "pool_enriched", LartpcConfig()
    counts = hard_of(inputs, name)
    chosen = worth_learning(counts, enriched(ordinary), ordinary, seed)
    return joined([sample(inputs, "pool_noise"), sample(inputs, name).select(chosen)])


def _float(preset: SupernovaPreset, seed: int) -> Stage:
    def work(at: Workplace) -> None:
        from hairtrigger.studies.supernova import train_float

        lessons, validation = signals(at.inputs, "train"), _validation(at.inputs)
        noise = _noise(at.inputs, seed)
        save(at, train_float(preset, lessons, noise, validation, seed, **means(at)))

    settings = {"epochs": preset.float_epochs, "rate": preset.float_rate, "batch": preset.batch}
    return Stage(
        "float",
        "Train the network in float",
        work,
        {**settings, "seed": seed},
        (LESSONS, POOL, ENRICHED_NOISE),
        (*FRONT, *NETWORKS, "runs/learn.py"),
        PACKAGES,
    )


def _student(preset: SupernovaPreset, seed: int) -> Stage:
    def work(at: Workplace) -> None:
        from hairtrigger.studies.supernova import train_student

        lessons, validation = signals(at.inputs, "train"), _validation(at.inputs)
        noise, start = _noise(at.inputs, seed), model_of(at.inputs["float"])
        save(at, train_student(preset, start, lessons, noise, validation, seed, **means(at)))

    settings = {"epochs": preset.student_epochs, "rate": preset.student_rate}
    settings |= {"batch": preset.batch, "beta": list(preset.beta)}
    return Stage(
        "student",
        "Train the network for the chip",
        work,
        {**settings, "seed": seed},
        (LESSONS, POOL, ENRICHED_NOISE, "float"),
        (*FRONT, *NETWORKS, "runs/learn.py"),
        PACKAGES,
    )


def _convert(preset: SupernovaPreset) -> Stage:
    """The network as a Graph, the gate and the cut, and all of it as one trigger."""

    def work(at: Workplace) -> None:
        from hairtrigger.frontends.hgq import from_hgq
        from hairtrigger.graph.passes import optimise
        from hairtrigger.studies.supernova import FRONT as OURS
        from hairtrigger.studies.supernova_trigger import Trigger, deciding_model

        model = model_of(at.inputs["student"])
        network = optimise(from_hgq(model, name=STUDY))
        cuts = _cuts(network, at.inputs, preset.fake_rate)
        trigger = Trigger(OURS, network, cuts.cut, cuts.gate)
        decision = trigger.decision()
        write_conversion(at.folder, decision, optimise(decision))
        real = cuts.cut * 2.0**-cuts.fraction
        deciding_model(model, real, cuts.gate).save(at.folder / MODEL)
        (at.folder / TRIGGER).mkdir()
        trigger.save(at.folder / TRIGGER)
        (at.folder / CUTS).write_text(to_text(cuts), encoding="utf-8")

    return Stage(
        CONVERT,
        "Convert to exact integers, and choose the cut",
        work,
        {"fake_rate": preset.fake_rate},
        ("student", LESSONS, POOL, ENRICHED_NOISE),
        (
            *("fixed.py", "graph", "frontends", "engines.py", "backends", "cpp"),
            *("studies/supernova_trigger.py", "studies/supernova_rare.py", "metrics.py"),
            *("runs/supernova.py", "runs/chip.py"),
        ),
        ("hgq2", "keras"),
    )


GATE_COST = 0.001
"""The share of nu_e CC images over the cut that the gate may take."""


def _cuts(network: Graph, inputs: Mapping[str, Path], fake_rate: float) -> Cuts:
    """The cut on noise of its own, then the highest gate that takes little of the signal over it,
    of images to validate by."""
    import numpy as np

    from hairtrigger.studies.supernova_rare import weighted_cut

    noise, weights = weighted(inputs, "cut_enriched")
    ordinary, signal = sample(inputs, "pool_noise"), sample(inputs, "validation_nue_cc")
    of_noise, of_signal = logit_codes(network, noise), logit_codes(network, signal)
    cut = int(weighted_cut(of_noise[:, 0], weights, fake_rate))
    over = of_signal[:, 0] >= cut
    sums = np.sort(pixel_sums(signal)[over])
    gate = int(sums[int(GATE_COST * len(sums))]) if len(sums) else 0
    passed = (of_noise[:, 0] >= cut) & (pixel_sums(noise) >= gate)
    return Cuts(
        cut=cut,
        gate=gate,
        fraction=network.output_types[0].lsb,
        passed=int(np.count_nonzero(passed)),
        enriched=len(noise),
        noise=len(ordinary),
        gated=float(np.mean(pixel_sums(ordinary) >= gate)),
        gate_lost=float(np.mean(sums < gate)) if len(sums) else 0.0,
    )


_CHUNK = 32_768


def pixel_sums(found: Sample) -> np.ndarray:
    """Sum of the pixels of each image, (n,)."""
    import numpy as np

    from hairtrigger.studies.supernova_samples import unpack

    parts = [
        unpack(found.packed[n : n + _CHUNK]).sum(axis=(1, 2), dtype=np.int64)
        for n in range(0, len(found), _CHUNK)
    ]
    return np.concatenate(parts)


def logit_codes(graph: Graph, found: Sample) -> np.ndarray:
    """Codes of a Graph's first output (n, outputs), by the fastest engine for so many images."""
    return graph_codes(graph, found)[0]


def graph_codes(graph: Graph, found: Sample) -> list[np.ndarray]:
    """Codes of all outputs of a Graph of pixels."""
    import numpy as np

    from hairtrigger.engines import prepare, run
    from hairtrigger.studies.supernova_samples import network_input

    engine = prepare(graph, None, len(found)).engine
    parts: list[list[np.ndarray]] = []
    for n in range(0, len(found), _CHUNK):
        values = run(graph, network_input(found.packed[n : n + _CHUNK]), engine=engine).values
        pairs = zip(values, graph.output_types, strict=True)
        parts.append([np.rint(v * 2.0**t.lsb).astype(np.int64) for v, t in pairs])
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def trigger_of(inputs: Mapping[str, Path]) -> Trigger:
    """The trigger that stage ``convert`` left."""
    from hairtrigger.studies.supernova_trigger import read_trigger

    return read_trigger(inputs[CONVERT] / TRIGGER)


def _events(inputs: Mapping[str, Path], count: int) -> np.ndarray:
    """Pixels to compare the engines on: the first of each kind of signal."""
    import numpy as np

    from hairtrigger.studies.supernova import SIGNALS
    from hairtrigger.studies.supernova_samples import network_input

    each = -(-count // len(SIGNALS))
    parts = [sample(inputs, f"test_{kind}").packed[:each] for kind in SIGNALS]
    return network_input(np.concatenate(parts))
