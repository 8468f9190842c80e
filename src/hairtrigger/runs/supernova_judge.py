"""The last stages of the supernova study: every method on the test images, figures and rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hairtrigger.pipeline import Stage, Workplace
from hairtrigger.records import read_record, to_text
from hairtrigger.runs.gather import EVALUATION

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hairtrigger.report.supernova import Performance
    from hairtrigger.studies.supernova import SupernovaPreset
    from hairtrigger.studies.supernova_samples import Sample

PERFORMANCE = "performance"
FILES = tuple(f"{PERFORMANCE}.{suffix}" for suffix in ("json", "svg"))
FLOAT, CHIP = "float network", "chip"
SOURCES = (
    *("fixed.py", "graph", "engines.py", "backends", "cpp", "metrics.py", "records.py", "report"),
    *("studies/supernova.py", "studies/supernova_burst.py", "studies/supernova_metrics.py"),
    *("studies/supernova_trigger.py", "studies/supernova_samples.py"),
    *("studies/supernova_rivals.py", "studies/supernova_rare.py", "runs/supernova.py"),
    *("runs/supernova_judge.py", "runs/supernova_samples.py", "runs/learn.py"),
    "runs/supernova_chain.py",
)
AFTER = (
    *("tune", "lessons", "pool", "enriched", "exam", "test_noise"),
    *("float", "student", "convert"),
)


def judge_stages(preset: SupernovaPreset, seed: int) -> tuple[Stage, Stage]:
    """Stage ``performance``, which judges, and ``evaluate``, which makes the report's rows."""

    def perform(at: Workplace) -> None:
        _perform(at, preset, seed)

    def evaluate(at: Workplace) -> None:
        _evaluate(at, preset, seed)

    settings: dict[str, Any] = {
        "fake_rate": preset.fake_rate,
        "burst_rate": preset.burst_rate,
        "seed": seed,
    }
    packages = ("numpy", "keras", "jax", "matplotlib")
    title = "Judge all methods"
    return (
        Stage(PERFORMANCE, title, perform, settings, AFTER, SOURCES, packages),
        Stage(
            "evaluate",
            "Gather the figures",
            evaluate,
            settings,
            (PERFORMANCE, "float", "student", "convert", "chain"),
            SOURCES,
            packages,
        ),
    )


def _perform(at: Workplace, preset: SupernovaPreset, seed: int) -> None:
    import numpy as np

    from hairtrigger.report import supernova as page
    from hairtrigger.runs.gather import commit, versions
    from hairtrigger.runs.supernova import STUDY, graph_codes, pixel_sums, trigger_of
    from hairtrigger.runs.supernova_samples import RIVALS, sample, signals, weighted
    from hairtrigger.studies.supernova import SIGNALS
    from hairtrigger.studies.supernova_rare import weighted_cut
    from hairtrigger.studies.supernova_rivals import Rivals
    from hairtrigger.studies.supernova_samples import joined

    test = joined([sample(at.inputs, "test_noise"), signals(at.inputs, "test")])
    cutting, cutting_weights = weighted(at.inputs, "cut_enriched")
    rich, weights = weighted(at.inputs, "test_enriched")
    trigger = trigger_of(at.inputs)
    decision, gate = trigger.decision(), trigger.gate
    logits, keep = graph_codes(decision, test)
    at.progress(1, 4)
    lowest = int(logits[:, 0].min()) - 1

    def gated(found: Sample, codes: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.where(pixel_sums(found) >= gate, codes, lowest).astype(np.float64)

    scores = gated(test, logits[:, 0])
    types = 1 + logits[:, 1 : 1 + len(SIGNALS)].argmax(axis=1)
    of_rich = gated(rich, graph_codes(decision, rich)[0][:, 0])
    rates = preset.fake_rate, preset.burst_rate

    def cuts(scores: NDArray[np.float64]) -> list[float]:
        return [weighted_cut(scores, cutting_weights, rate) for rate in rates]

    burst_cut = cuts(gated(cutting, graph_codes(decision, cutting)[0][:, 0]))[1]
    chip = page.Said(CHIP, scores, of_rich, float(trigger.cut), burst_cut, types)
    if not np.array_equal(scores >= chip.cut, keep[:, 0] != 0):
        raise AssertionError("the trigger keeps other images than those over its cut")
    floating = _float(at, gate)
    of_float = floating(test), floating(rich)
    said = [chip, page.Said(FLOAT, *of_float, *cuts(floating(cutting)))]
    at.progress(2, 4)
    for rival in read_record(Rivals, at.inputs["tune"] / RIVALS).rivals:
        both = test.scores[rival.name], rich.scores[rival.name]
        said.append(page.Said(rival.title, *both, *cuts(cutting.scores[rival.name])))
    drawn = [page.judged(one, test.truth, weights) for one in said]
    at.progress(3, 4)
    rows = page.confusion(chip, test.truth)
    directions = logits[:, 1 + len(SIGNALS) :] * 2.0 ** -trigger.network.output_types[0].lsb
    found = page.Performance(
        study=STUDY,
        preset=preset.name,
        seed=seed,
        fake_rate=preset.fake_rate,
        burst_rate=preset.burst_rate,
        methods=tuple(map(page.method, drawn)),
        confusion=tuple(tuple(map(page.of_fraction, row)) for row in rows),
        pointing=page.pointing(directions, keep[:, 0] != 0, test.truth, seed),
        commit=commit(),
        versions=versions(),
    )
    (at.folder / FILES[0]).write_text(to_text(found), encoding="utf-8")
    (at.folder / FILES[1]).write_text(page.picture(drawn, rows), encoding="utf-8")


def _float(at: Workplace, gate: int) -> Callable[[Sample], NDArray[np.float64]]:
    """What the float network says of images, behind the same gate."""
    import numpy as np

    from hairtrigger.runs.learn import model_of
    from hairtrigger.runs.supernova import pixel_sums
    from hairtrigger.studies.supernova_samples import network_input
    from hairtrigger.train import predict

    model = model_of(at.inputs["float"])

    def scores(found: Sample) -> NDArray[np.float64]:
        gated = np.flatnonzero(pixel_sums(found) >= gate)
        said = np.full(len(found), -1e6)
        said[gated] = predict(model, found.packed[gated], network_input)[:, 0]
        return said

    return scores


def _evaluate(at: Workplace, preset: SupernovaPreset, seed: int) -> None:
    from hairtrigger.report import supernova as page
    from hairtrigger.report import supernova_rows as rows
    from hairtrigger.runs.learn import LEARNED, Learned
    from hairtrigger.runs.supernova import CUTS, Cuts
    from hairtrigger.runs.supernova_chain import CHAIN, ChainRecord

    found = read_record(page.Performance, at.inputs[PERFORMANCE] / FILES[0])
    learned: Mapping[str, Learned] = {
        name: read_record(Learned, at.inputs[name] / LEARNED) for name in ("float", "student")
    }
    evaluation = rows.evaluation(
        found,
        {name: (one.weights, one.history) for name, one in learned.items()},
        read_record(Cuts, at.inputs["convert"] / CUTS),
        read_record(ChainRecord, at.inputs["chain"] / CHAIN),
        preset,
        seed,
    )
    (at.folder / EVALUATION).write_text(to_text(evaluation), encoding="utf-8")


def performance_of(folder: Path) -> Performance:
    """What a finished run left. Raises StorageError."""
    from hairtrigger.report.supernova import Performance as Record

    return read_record(Record, folder / FILES[0])
