"""`hairtrigger run strips`: clusters of a gaseous strip detector, from simulated planes to a chip.

<folder>/stages/...                samples, trainings, Graph, Verilog, the HLS project
<folder>/performance.json .svg     positions, angles and muons told apart, beside classical ways
<folder>/tracks.json .svg          tracks in chambers of eight planes (strips_tracks.py)
<folder>/report.html summary.json  as of every run
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hairtrigger.pipeline import PACKAGE, STAGES, Stage, Workplace
from hairtrigger.runs.chip import MODEL, Goal, chip_stages
from hairtrigger.runs.gather import Report, finish, origin_of
from hairtrigger.runs.learn import means, model_of, save
from hairtrigger.runs.strips_judge import FILES, PERFORMANCE, judge_stages
from hairtrigger.targets import parse_interval

if TYPE_CHECKING:
    import numpy as np

    from hairtrigger.progress import Reporter
    from hairtrigger.studies.strips import StripsPreset
    from hairtrigger.studies.strips_samples import Candidates

STUDY = "strips"
SIMULATION = tuple(
    f"detectors/{path.name}" for path in sorted((PACKAGE / "detectors").glob("strips*.py"))
)
SAMPLES = ("fixed.py", "studies/strips_samples.py")
NETWORKS = (
    *("studies/strips.py", "studies/strips_front.py", "studies/strips_networks.py"),
    *("train", "runs/learn.py"),
)
PACKAGES = ("numpy", "keras", "jax", "hgq2")
PARTS = {"lessons": ("train", "validation"), "exam": ("test",)}
"""Stages that simulate, and the first words of the names of the samples that each makes."""
CHAMBER_INTERVAL = "25ns"
"""A chamber comes with every crossing of the bunches."""


def run_strips(
    preset: StripsPreset,
    seed: int,
    goal: Goal,
    folder: Path,
    *,
    command: str,
    reporter: Reporter | None,
) -> Report:
    """Run the study in ``folder``. Raises what a stage raises."""
    from hairtrigger.runs import strips_tracks
    from hairtrigger.runs.strips_engines import FILES as ENGINE_FILES
    from hairtrigger.runs.strips_engines import engine_stages
    from hairtrigger.studies import strips_tracks as tracks
    from hairtrigger.studies.strips import BITS

    def events(inputs: Mapping[str, Path]) -> np.ndarray:
        return test_inputs(inputs, preset.proof)

    stages = [
        *_simulations(preset, seed),
        _float(preset, seed),
        *(_fixed(preset, seed, bits) for bits in BITS),
        _fixed(preset, seed, 8, by_tensor=True),
        _student(preset, seed),
        *chip_stages(
            STUDY,
            goal,
            seed,
            lambda inputs: inputs["student"] / MODEL,
            events,
            convert_after=("student",),
            events_after=("exam",),
        ),
        *engine_stages(preset, seed),
        *strips_tracks.tracks_stages(
            tracks.preset_named(preset.name),
            seed,
            replace(goal, interval=parse_interval(CHAMBER_INTERVAL, goal.clock)),
        ),
        *judge_stages(preset, seed),
    ]
    title = f"Clusters and tracks in gaseous strip detectors: {preset.name}"
    origin = origin_of(title, goal, seed, command, study=STUDY, preset=preset.name)
    made = finish(stages, origin, folder, reporter)
    for name in FILES:
        shutil.copy2(folder / STAGES / PERFORMANCE / name, folder / name)
    for name in strips_tracks.FILES:
        shutil.copy2(folder / STAGES / strips_tracks.PERFORMANCE / name, folder / name)
    for stage, name in ENGINE_FILES.items():
        shutil.copy2(folder / STAGES / stage / name, folder / name)
    return made


INT8 = "int8"
"""The stage of the network with one format a tensor, as GPUs and DPUs want it."""


def fixed_name(bits: int) -> str:
    """The stage of the network with so many bits."""
    return f"fixed_{bits}"


# --- samples -------------------------------------------------------------------------------------


def _simulations(preset: StripsPreset, seed: int) -> list[Stage]:
    from hairtrigger.studies.strips import sources
    from hairtrigger.studies.strips_samples import save as save_samples
    from hairtrigger.studies.strips_samples import simulate

    wanted = sources(preset, seed)

    def stage(part: str, names: Sequence[str]) -> Stage:
        def work(at: Workplace) -> None:
            total = sum(wanted[name].planes for name in names)
            done = 0
            for name in names:
                if not (at.partial / f"{name}.npz").exists():

                    def tell(so_far: int, _: int, before: int = done) -> None:
                        at.progress(before + so_far, total)

                    save_samples({name: simulate(wanted[name], tell)}, at.partial)
                done += wanted[name].planes
                at.progress(done, total)
            for name in names:
                at.keep(f"{name}.npz")

        settings = {name: asdict(wanted[name]) for name in names}
        title = {"lessons": "Simulate planes to learn from", "exam": "Simulate planes to test with"}
        return Stage(part, title[part], work, settings, (), (*SIMULATION, *SAMPLES), ("numpy",))

    return [
        stage(part, [name for name in wanted if name.split("_")[0] in words])
        for part, words in PARTS.items()
    ]


def sample(inputs: Mapping[str, Path], name: str) -> Candidates:
    """A sample that one of the simulating stages left."""
    from hairtrigger.studies.strips_samples import read

    part = next(part for part, words in PARTS.items() if name.split("_")[0] in words)
    return read(inputs[part] / f"{name}.npz")


def lessons(inputs: Mapping[str, Path], part: str) -> Candidates:
    """All samples of "train" or "validation", one behind the other."""
    from hairtrigger.studies.strips import TRAIN_RATES
    from hairtrigger.studies.strips_samples import joined

    names = [*(f"{part}_{rate:g}" for rate in TRAIN_RATES), f"{part}_background"]
    return joined([sample(inputs, name) for name in names])


def test_inputs(inputs: Mapping[str, Path], count: int) -> np.ndarray:
    """What networks are given of ``count`` candidates, in turn of all test samples."""
    import numpy as np

    from hairtrigger.studies.strips import ANGLES_DEG, RATE_KHZ_CM2, test_name
    from hairtrigger.studies.strips import inputs as network_inputs

    names = [test_name(angle, rate) for rate in (0.0, RATE_KHZ_CM2) for angle in ANGLES_DEG]
    each = -(-count // len(names))
    parts = [network_inputs(sample(inputs, name).select(slice(0, each))) for name in names]
    return np.concatenate(parts)[:count]


# --- networks ------------------------------------------------------------------------------------


def _float(preset: StripsPreset, seed: int) -> Stage:
    def work(at: Workplace) -> None:
        from hairtrigger.studies.strips import train_float

        both = lessons(at.inputs, "train"), lessons(at.inputs, "validation")
        save(at, train_float(preset, *both, seed, **means(at)))

    settings = {"epochs": preset.float_epochs, "rate": preset.float_rate, "batch": preset.batch}
    settings["hidden"] = list(preset.hidden)
    return Stage(
        "float",
        "Train the network in float",
        work,
        {**settings, "seed": seed},
        ("lessons",),
        (*SAMPLES, *NETWORKS),
        PACKAGES,
    )


def _fixed(preset: StripsPreset, seed: int, bits: int, *, by_tensor: bool = False) -> Stage:
    def work(at: Workplace) -> None:
        from hairtrigger.studies.strips import train_fixed

        both = lessons(at.inputs, "train"), lessons(at.inputs, "validation")
        start = model_of(at.inputs["float"])
        made = train_fixed(preset, bits, start, *both, seed, by_tensor=by_tensor, **means(at))
        save(at, made)

    settings = {"epochs": preset.quantised_epochs, "rate": preset.student_rate}
    settings["hidden"] = list(preset.hidden)
    title = f"Train the network with {bits} bits"
    return Stage(
        INT8 if by_tensor else fixed_name(bits),
        f"{title}, one format a tensor" if by_tensor else title,
        work,
        {**settings, "batch": preset.batch, "seed": seed, "bits": bits},
        ("lessons", "float"),
        (*SAMPLES, *NETWORKS),
        PACKAGES,
    )


def _student(preset: StripsPreset, seed: int) -> Stage:
    def work(at: Workplace) -> None:
        from hairtrigger.studies.strips import train_student

        both = lessons(at.inputs, "train"), lessons(at.inputs, "validation")
        save(at, train_student(preset, model_of(at.inputs["float"]), *both, seed, **means(at)))

    settings = {"epochs": preset.student_epochs, "rate": preset.student_rate}
    settings |= {"batch": preset.batch, "beta": list(preset.beta), "hidden": list(preset.hidden)}
    return Stage(
        "student",
        "Train the network for the chip",
        work,
        {**settings, "seed": seed},
        ("lessons", "float"),
        (*SAMPLES, *NETWORKS),
        PACKAGES,
    )
