"""`hairtrigger run strips`: clusters of a gaseous strip detector, from simulated planes to a chip.

<folder>/stages/...                samples, trainings, Graph, Verilog, the HLS project
<folder>/performance.json .svg     positions, angles and muons told apart, beside classical ways
<folder>/tracks.json .svg          tracks in chambers of eight planes (strips_tracks.py)
<folder>/report.html summary.json  as of every run
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hairtrigger.errors import MismatchError
from hairtrigger.pipeline import PACKAGE, STAGES, Stage, Workplace
from hairtrigger.records import to_text
from hairtrigger.runs.chip import MODEL, Goal, chip_stages, read_graph
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
NETWORKS = ("studies/strips.py", "studies/strips_networks.py", "train", "runs/learn.py")
PACKAGES = ("numpy", "keras", "jax", "hgq2")
PARTS = {"lessons": ("train", "validation"), "exam": ("test",)}
"""Stages that simulate, and the first words of the names of the samples that each makes."""
C_SIMULATION, TIMING = "c_simulation.json", "timing.json"
CHAMBER_INTERVAL = "25ns"
"""A chamber comes with every crossing of the bunches."""
TIMED = ("cpp", "onnxruntime-fp32")
"""Engines whose time for a single cluster is measured."""
TIMING_SECONDS = 3.0


@dataclass(frozen=True)
class CSimulation:
    """The HLS project of the chip's network, built and run: ``events`` whose ``values`` were
    compared with the emulator's, and how many ``differ``."""

    tool: str
    version: str
    backend: str
    io_type: str
    events: int
    values: int
    differ: int


@dataclass(frozen=True)
class Timing:
    """What one cluster takes on a processor: an engine called from Python in one thread, ns, and
    what a call takes that computes nothing."""

    engine: str
    words: str
    p50_ns: float
    p99_ns: float
    floor_ns: float
    calls: int


@dataclass(frozen=True)
class Timings:
    """All engines, on the same ``events``, one after the other; ``busy``: the machine's load over
    its processors at the end."""

    engines: tuple[Timing, ...]
    events: int
    busy: float


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
    from hairtrigger.studies import strips_tracks as tracks
    from hairtrigger.studies.strips import BITS

    def events(inputs: Mapping[str, Path]) -> np.ndarray:
        return test_inputs(inputs, preset.proof)

    stages = [
        *_simulations(preset, seed),
        _float(preset, seed),
        *(_fixed(preset, seed, bits) for bits in BITS),
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
        _c_simulation(preset),
        _timing(seed),
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
    return made


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


def _fixed(preset: StripsPreset, seed: int, bits: int) -> Stage:
    def work(at: Workplace) -> None:
        from hairtrigger.studies.strips import train_fixed

        both = lessons(at.inputs, "train"), lessons(at.inputs, "validation")
        start = model_of(at.inputs["float"])
        save(at, train_fixed(preset, bits, start, *both, seed, **means(at)))

    settings = {"epochs": preset.quantised_epochs, "rate": preset.student_rate}
    settings["hidden"] = list(preset.hidden)
    return Stage(
        fixed_name(bits),
        f"Train the network with {bits} bits",
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


# --- the HLS project -----------------------------------------------------------------------------


def _c_simulation(preset: StripsPreset) -> Stage:
    def work(at: Workplace) -> None:
        from hairtrigger.backends import hls
        from hairtrigger.graph import emulate_codes, encode
        from hairtrigger.hls.convert import version

        target = hls.Target(name=STUDY)
        made = hls.emit(model_of(at.inputs["student"]), target, at.folder)
        made.build()
        at.progress(1, 3)
        given = test_inputs(at.inputs, preset.c_simulation)
        simulated = made.run_codes(encode(made.graph, given))
        at.progress(2, 3)
        graph = read_graph(at.inputs["convert"])
        emulated = emulate_codes(graph, encode(graph, given))
        differ = values = 0
        for ours, theirs, to, of in zip(
            emulated, simulated, graph.output_types, made.graph.output_types, strict=True
        ):
            finest = max(to.lsb, of.lsb)
            values += ours.size
            differ += int(((ours << (finest - to.lsb)) != (theirs << (finest - of.lsb))).sum())
        record = CSimulation(
            "hls4ml", version(), target.backend, target.io_type, len(given), values, differ
        )
        (at.folder / C_SIMULATION).write_text(to_text(record), encoding="utf-8")

    return Stage(
        "c_simulation",
        "Compile and run the HLS project",
        work,
        {"events": preset.c_simulation},
        ("student", "convert", "exam"),
        ("fixed.py", "graph", "frontends", "hls", "backends/hls.py", "runs/strips.py"),
        ("hls4ml", "hgq2", "keras"),
    )


# --- the processor -------------------------------------------------------------------------------

TIMED_EVENTS = 1024


def _timing(seed: int) -> Stage:
    def work(at: Workplace) -> None:
        import os

        from hairtrigger.bench.clock import WallClock
        from hairtrigger.bench.engines import CPU_ENGINES
        from hairtrigger.bench.measure import Bench, Setting
        from hairtrigger.graph import emulate_codes, encode

        graph = read_graph(at.inputs["convert"])
        codes = encode(graph, test_inputs(at.inputs, TIMED_EVENTS))
        expected = emulate_codes(graph, codes)
        setting = Setting((1,), (1,), TIMING_SECONDS, 1, None, 1e6, 1, seed)
        found: list[Timing] = []
        for number, name in enumerate(TIMED):
            at.progress(number, len(TIMED))
            engine = CPU_ENGINES[name](graph)
            try:
                for ours, theirs in zip(engine.run(codes), expected, strict=True):
                    if not (ours == theirs).all():
                        raise MismatchError(f"{name} differs from the emulator", "see verify")
                (row,) = Bench(graph, engine, codes, True, setting, WallClock()).single()
            finally:
                engine.close()
            numbers = (row.p50_ns or 0.0, row.p99_ns or 0.0, row.floor_ns or 0.0)
            found.append(Timing(name, engine.words, *numbers, row.calls))
        busy = os.getloadavg()[0] / (os.cpu_count() or 1)
        record = Timings(tuple(found), TIMED_EVENTS, busy)
        (at.folder / TIMING).write_text(to_text(record), encoding="utf-8")

    return Stage(
        "timing",
        "Time single clusters on the processor",
        work,
        {"engines": list(TIMED), "seconds": TIMING_SECONDS},
        ("convert", "exam"),
        ("fixed.py", "graph", "cpp", "bench", "backends/onnx.py", "runs/strips.py"),
        ("onnxruntime", "numpy"),
    )
