"""`hairtrigger run supernova`: from simulated ticks to a trigger that is proven and judged.

<folder>/stages/...                samples, trainings, Graph, Verilog, what came out of it
<folder>/trigger/                  the trigger as files, for `hairtrigger stream`
<folder>/performance.json .svg     rates, efficiencies, bursts, beside the conventional triggers
<folder>/report.html summary.json  as of every run
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hairtrigger.pipeline import PACKAGE, STAGES, Stage, Workplace
from hairtrigger.records import read_record, to_text
from hairtrigger.runs.chip import Goal, graph_stages, write_conversion
from hairtrigger.runs.gather import Report, finish, origin_of
from hairtrigger.runs.learn import means, model_of, save

if TYPE_CHECKING:
    import numpy as np

    from hairtrigger.graph import Graph
    from hairtrigger.progress import Reporter
    from hairtrigger.studies.supernova import SupernovaPreset
    from hairtrigger.studies.supernova_samples import Sample
    from hairtrigger.studies.supernova_trigger import Trigger

STUDY = "supernova"
RIVALS, TRIGGER, CUTS = "rivals.json", "trigger", "cuts.json"
_LATER = ("lartpc_stream.py",)
SIMULATION = tuple(
    f"detectors/{path.name}"
    for path in sorted((PACKAGE / "detectors").glob("lartpc*.py"))
    if path.name not in _LATER
)
FRONT = (
    *("fixed.py", "studies/supernova_front.py", "studies/supernova_samples.py"),
    *("studies/supernova_front_fast.py", "studies/supernova_front_graph.py"),
)
CONVENTIONAL = (
    "studies/supernova_rivals.py",
    "studies/supernova_baseline.py",
    "studies/supernova_clusters.py",
    "studies/supernova_hits.py",
    "studies/supernova_metrics.py",
)
NETWORKS = ("studies/supernova.py", "studies/supernova_networks.py", "train")
PACKAGES = ("numpy", "keras", "jax", "hgq2")
PARTS = {
    "lessons": ("train", "validation"),
    "pool": ("pool",),
    "exam": ("test",),
    "cutting": ("cut",),
}
"""Stages that simulate, and the first words of the names of the samples that each makes. Noise to
test with has a stage of its own, `exposure`, since it takes longest."""
EXPOSURE = "test_noise"


@dataclass(frozen=True)
class Cuts:
    """Where the trigger cuts, and the noise that this was chosen on: ``passed`` of ``noise``.

    ``gated``: the share of that noise whose network is run; ``gate_lost``: the share of nu_e CC
    images over the cut that the gate takes.
    """

    cut: int
    gate: int
    fraction: int
    passed: int
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

    performance, evaluate = judge_stages(preset, seed)
    stages = [
        _tune(preset, seed),
        *_simulations(preset, seed),
        _float(preset, seed),
        _student(preset, seed),
        _convert(preset),
        performance,
        *graph_stages(goal, seed, events, after=("exam",), fewest=preset.proof_images),
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
    link.symlink_to(Path(STAGES) / "convert" / TRIGGER, target_is_directory=True)


# --- samples -------------------------------------------------------------------------------------


def _tune(preset: SupernovaPreset, seed: int) -> Stage:
    def work(at: Workplace) -> None:
        from hairtrigger.detectors.lartpc_config import LartpcConfig
        from hairtrigger.studies.supernova_rivals import tune_rivals

        seeds = (100 * seed + 90, 100 * seed + 91, 100 * seed + 92)
        found = tune_rivals(
            LartpcConfig(),
            preset.tune_noise,
            preset.tune_signal,
            preset.fake_rate,
            seeds,
            at.progress,
        )
        (at.folder / RIVALS).write_text(to_text(found), encoding="utf-8")

    names = ("tune_noise", "tune_signal", "fake_rate")
    settings = {name: getattr(preset, name) for name in names} | {"seed": seed}
    sources = (*SIMULATION, *CONVENTIONAL, "studies/supernova_samples.py")
    return Stage("tune", "Tune conventional triggers", work, settings, (), sources, ("numpy",))


def _simulations(preset: SupernovaPreset, seed: int) -> list[Stage]:
    """A stage for each of `PARTS`, and one for the noise that fakes are counted on."""
    from hairtrigger.studies.supernova import ENRICHED, sizes
    from hairtrigger.studies.supernova import FRONT as OURS

    wanted = sizes(preset)
    numbers = {name: 100 * seed + n for n, name in enumerate(wanted)}
    titles = {"lessons": "to learn from", "pool": "noise to learn from", "exam": "to test with"}
    titles |= {"cutting": "noise to choose the cut on", EXPOSURE: "noise to test with"}

    def stage(part: str, names: list[str]) -> Stage:
        def work(at: Workplace) -> None:
            from hairtrigger.detectors.lartpc_config import LartpcConfig
            from hairtrigger.studies.supernova import enriched
            from hairtrigger.studies.supernova_rivals import Rivals, judge_of
            from hairtrigger.studies.supernova_samples import make

            config = LartpcConfig()
            rivals = read_record(Rivals, at.inputs["tune"] / RIVALS)
            judge = judge_of(rivals, config, 100 * seed + 92)
            scored = tuple(rival.name for rival in rivals.rivals)
            done, total = 0, sum(wanted[name][1] for name in names)
            for name in names:
                kind, images = wanted[name]

                def tell(so_far: int, _: int, before: int = done) -> None:
                    at.progress(before + so_far, total)

                of = enriched(config) if name.endswith("enriched") else config
                place = at.partial / name
                make(place, kind, images, numbers[name], of, OURS, judge, scored, tell)
                done += images
            for name in names:
                at.keep(name)

        settings = {name: [*wanted[name], numbers[name]] for name in names}
        title = f"Simulate images {titles[part]}"
        sources = (*SIMULATION, *FRONT, *CONVENTIONAL, "detectors/store.py")
        parameters = {**settings, "front": asdict(OURS), "enriched": ENRICHED}
        return Stage(part, title, work, parameters, ("tune",), sources, ("numpy", "zarr"))

    names = {
        part: [n for n in wanted if n.split("_")[0] in words and n != EXPOSURE]
        for part, words in PARTS.items()
    }
    return [stage(part, found) for part, found in (*names.items(), (EXPOSURE, [EXPOSURE]))]


def sample(inputs: Mapping[str, Path], name: str) -> Sample:
    """A sample that one of the simulating stages left."""
    from hairtrigger.studies.supernova_samples import read

    for stage in (*PARTS, EXPOSURE):
        if stage in inputs and (inputs[stage] / name).exists():
            return read(inputs[stage] / name)
    raise KeyError(name)


def signals(inputs: Mapping[str, Path], part: str) -> Sample:
    """All kinds of signal of "train", "validation" or "test", one behind the other."""
    from hairtrigger.studies.supernova import SIGNALS
    from hairtrigger.studies.supernova_samples import joined

    return joined([sample(inputs, f"{part}_{kind}") for kind in SIGNALS])


# --- networks ------------------------------------------------------------------------------------


def _validation(inputs: Mapping[str, Path]) -> Sample:
    from hairtrigger.studies.supernova_samples import joined

    noise = [sample(inputs, f"validation_{name}") for name in ("noise", "enriched")]
    return joined([signals(inputs, "validation"), *noise])


def _pools(inputs: Mapping[str, Path]) -> tuple[Sample, Sample]:
    """Noise to learn from: ordinary, and of enriched argon."""
    return sample(inputs, "pool_noise"), sample(inputs, "pool_enriched")


def _float(preset: SupernovaPreset, seed: int) -> Stage:
    def work(at: Workplace) -> None:
        from hairtrigger.studies.supernova import train_float

        lessons, validation = signals(at.inputs, "train"), _validation(at.inputs)
        pools = _pools(at.inputs)
        save(at, train_float(preset, lessons, *pools, validation, seed, **means(at)))

    settings = {"epochs": preset.float_epochs, "rate": preset.float_rate, "batch": preset.batch}
    return Stage(
        "float",
        "Train the network in float",
        work,
        {**settings, "seed": seed},
        ("lessons", "pool"),
        (*FRONT, *NETWORKS, "runs/learn.py"),
        PACKAGES,
    )


def _student(preset: SupernovaPreset, seed: int) -> Stage:
    def work(at: Workplace) -> None:
        from hairtrigger.studies.supernova import train_student

        lessons, validation = signals(at.inputs, "train"), _validation(at.inputs)
        pools, start = _pools(at.inputs), model_of(at.inputs["float"])
        save(at, train_student(preset, start, lessons, *pools, validation, seed, **means(at)))

    settings = {"epochs": preset.student_epochs, "rate": preset.student_rate}
    settings |= {"batch": preset.batch, "beta": list(preset.beta)}
    return Stage(
        "student",
        "Train the network for the chip",
        work,
        {**settings, "seed": seed},
        ("lessons", "pool", "float"),
        (*FRONT, *NETWORKS, "runs/learn.py"),
        PACKAGES,
    )


def _convert(preset: SupernovaPreset) -> Stage:
    """The network as a Graph, the gate and the cut, and all of it as one trigger."""

    def work(at: Workplace) -> None:
        from hairtrigger.frontends.hgq import from_hgq
        from hairtrigger.graph.passes import optimise
        from hairtrigger.studies.supernova import FRONT as OURS
        from hairtrigger.studies.supernova_trigger import Trigger

        network = optimise(from_hgq(model_of(at.inputs["student"]), name=STUDY))
        cuts = _cuts(network, at.inputs, preset.fake_rate)
        trigger = Trigger(OURS, network, cuts.cut, cuts.gate)
        decision = trigger.decision()
        write_conversion(at.folder, decision, optimise(decision))
        (at.folder / TRIGGER).mkdir()
        trigger.save(at.folder / TRIGGER)
        (at.folder / CUTS).write_text(to_text(cuts), encoding="utf-8")

    return Stage(
        "convert",
        "Convert to exact integers, and choose the cut",
        work,
        {"fake_rate": preset.fake_rate},
        ("student", "lessons", "cutting"),
        (
            *("fixed.py", "graph", "frontends", "engines.py", "backends", "cpp"),
            *("studies/supernova_trigger.py", "studies/supernova_metrics.py"),
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

    from hairtrigger.studies.supernova_metrics import cut_at

    noise, signal = sample(inputs, "cut_noise"), sample(inputs, "validation_nue_cc")
    of_noise, of_signal = logit_codes(network, noise), logit_codes(network, signal)
    found = cut_at(of_noise[:, 0].astype(np.float64), fake_rate)
    over = of_signal[:, 0] >= found.value
    sums = np.sort(pixel_sums(signal)[over])
    gate = int(sums[int(GATE_COST * len(sums))]) if len(sums) else 0
    passed = (of_noise[:, 0] >= found.value) & (pixel_sums(noise) >= gate)
    return Cuts(
        cut=int(found.value),
        gate=gate,
        fraction=network.output_types[0].lsb,
        passed=int(np.count_nonzero(passed)),
        noise=len(noise),
        gated=float(np.mean(pixel_sums(noise) >= gate)),
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

    return read_trigger(inputs["convert"] / TRIGGER)


def _events(inputs: Mapping[str, Path], count: int) -> np.ndarray:
    """Pixels to compare the engines on: the first of each kind of signal."""
    import numpy as np

    from hairtrigger.studies.supernova import SIGNALS
    from hairtrigger.studies.supernova_samples import network_input

    each = -(-count // len(SIGNALS))
    parts = [sample(inputs, f"test_{kind}").packed[:each] for kind in SIGNALS]
    return network_input(np.concatenate(parts))
