"""The stages of the supernova study that simulate, and how later ones read what they left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from hairtrigger.pipeline import PACKAGE, Stage, Workplace
from hairtrigger.records import read_record, to_text

if TYPE_CHECKING:
    import numpy as np

    from hairtrigger.studies.supernova import SupernovaPreset
    from hairtrigger.studies.supernova_samples import Sample

RIVALS = "rivals.json"
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
LESSONS, POOL, ENRICHED_NOISE, EXAM = "lessons", "pool", "enriched", "exam"
EXPOSURE = "test_noise"
"""Stages that simulate. Noise to test with has one of its own, since it takes longest."""
SIMULATING = (LESSONS, POOL, ENRICHED_NOISE, EXAM, EXPOSURE)
HARD = "hard.npy"
"""In the folder of stage ``enriched``, behind the name of a sample: `hard_decays` of its images."""


def tune_stage(preset: SupernovaPreset, seed: int) -> Stage:
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


def simulating_stages(preset: SupernovaPreset, seed: int) -> list[Stage]:
    """A stage for each of `SIMULATING`."""
    from hairtrigger.studies.supernova import ENRICHED, RARE, sizes
    from hairtrigger.studies.supernova import FRONT as OURS

    wanted = sizes(preset)
    numbers = {name: 100 * seed + n for n, name in enumerate(wanted)}
    titles = {LESSONS: "to learn from", POOL: "noise to learn from", EXAM: "to test with"}
    titles |= {ENRICHED_NOISE: "noise of enriched argon", EXPOSURE: "noise to test with"}

    def stage(part: str, names: list[str]) -> Stage:
        def work(at: Workplace) -> None:
            import numpy as np

            from hairtrigger.detectors.lartpc_config import LartpcConfig
            from hairtrigger.studies.supernova import enriched
            from hairtrigger.studies.supernova_rare import hard_decays
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
                if name in RARE:
                    counts = hard_decays(wanted[name][1], numbers[name], enriched(config))
                    np.save(at.folder / f"{name}.{HARD}", counts)

        settings = {name: [*wanted[name], numbers[name]] for name in names}
        title = f"Simulate images {titles[part]}"
        sources = (*SIMULATION, *FRONT, *CONVENTIONAL, "detectors/store.py")
        if part == ENRICHED_NOISE:
            sources = (*sources, "studies/supernova_rare.py")
        parameters = {**settings, "front": asdict(OURS)}
        if any(name.endswith("enriched") for name in names):
            parameters["enriched"] = ENRICHED
        return Stage(part, title, work, parameters, ("tune",), sources, ("numpy", "zarr"))

    parts: dict[str, list[str]] = {part: [] for part in SIMULATING}
    of = {"train": LESSONS, "validation": LESSONS, "test": EXAM, "pool": POOL}
    for name in wanted:
        special = {EXPOSURE: EXPOSURE, **dict.fromkeys(RARE, ENRICHED_NOISE)}
        parts[special.get(name) or of[name.split("_")[0]]].append(name)
    return [stage(part, found) for part, found in parts.items()]


def sample(inputs: Mapping[str, Path], name: str) -> Sample:
    """A sample that one of the simulating stages left."""
    from hairtrigger.studies.supernova_samples import read

    for stage in SIMULATING:
        if stage in inputs and (inputs[stage] / name).exists():
            return read(inputs[stage] / name)
    raise KeyError(name)


def signals(inputs: Mapping[str, Path], part: str) -> Sample:
    """All kinds of signal of "train", "validation" or "test", one behind the other."""
    from hairtrigger.studies.supernova import SIGNALS
    from hairtrigger.studies.supernova_samples import joined

    return joined([sample(inputs, f"{part}_{kind}") for kind in SIGNALS])


def hard_of(inputs: Mapping[str, Path], name: str) -> np.ndarray:
    """Of a sample of enriched argon, `hairtrigger.studies.supernova_rare.hard_decays`."""
    import numpy as np

    return np.load(inputs[ENRICHED_NOISE] / f"{name}.{HARD}", allow_pickle=False)


def weighted(inputs: Mapping[str, Path], name: str) -> tuple[Sample, np.ndarray]:
    """A sample of enriched argon, and how many ordinary images each of its images stands for."""
    from hairtrigger.detectors.lartpc_config import LartpcConfig
    from hairtrigger.studies.supernova import enriched
    from hairtrigger.studies.supernova_rare import image_weights

    ordinary = LartpcConfig()
    return sample(inputs, name), image_weights(hard_of(inputs, name), enriched(ordinary), ordinary)
