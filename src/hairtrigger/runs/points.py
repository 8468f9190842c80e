"""One network as a point of a sweep or comparison: what it decides, and what its chip takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hairtrigger.metrics import LEVEL
from hairtrigger.pipeline import Stage, Workplace
from hairtrigger.records import read_record, to_text
from hairtrigger.report.judged import estimate
from hairtrigger.report.summary import Estimate
from hairtrigger.runs.chip import MODEL, Goal, require_room
from hairtrigger.runs.learn import (
    LEARNED,
    PACKAGES,
    Learned,
    graph_outputs,
    keras_outputs,
    model_of,
    samples_of,
    sources_of,
    test_size,
)

if TYPE_CHECKING:
    import numpy as np

    from hairtrigger.graph import Graph
    from hairtrigger.studies.base import Samples, Study
    from hairtrigger.train import Data

POINT = "point.json"
SOURCES = (
    *("fixed.py", "graph", "engines.py", "backends", "cpp", "frontends", "metrics.py"),
    *("rtl", "targets", "tools", "train", "studies/base.py", "runs/points.py"),
)


@dataclass(frozen=True)
class Silicon:
    """What a design takes: synthesised cells, clocks counted by the compiler, ns at its clock."""

    part: str
    clock_mhz: float
    interval: int
    lut: int
    ff: int
    dsp: int
    latency: int
    latency_ns: float


@dataclass(frozen=True)
class Point:
    """A network on the study's test samples. ``scores`` are the study's own figures by name;
    ``chip`` is None for a network in floating point; ``used``: weights that are not zero."""

    name: str
    weights: int
    used: int
    ebops: float | None
    engine: str
    scores: Mapping[str, Estimate]
    chip: Silicon | None


def point_stage(
    name: str, title: str, model_stage: str, study: Study, preset: Any, seed: int, goal: Goal | None
) -> Stage:
    """Stage ``name``: the network that stage ``model_stage`` left, as a `Point`.

    With a ``goal`` it is converted, run as the chip computes it, lowered and synthesised; without
    one Keras runs it in float32.
    """

    def work(at: Workplace) -> None:
        samples = samples_of(study, preset, seed, at.inputs)
        folder = at.inputs[model_stage]
        point = measure(title, folder, study, samples, goal, lambda n: at.progress(n, 3))
        (at.folder / POINT).write_text(to_text(point), encoding="utf-8")

    parameters: dict[str, Any] = {"preset": dataclasses.asdict(preset), "seed": seed}
    if goal is not None:
        parameters |= {
            "part": goal.part.name,
            "clock_mhz": goal.clock.mhz,
            "interval": goal.interval,
            "axis": goal.axis,
        }
    after = ("simulate", model_stage)
    sources = (*SOURCES, *sources_of(study))
    packages = (*PACKAGES, "onnx", "onnxruntime", "pyosys")
    return Stage(name, f"Measure: {title}", work, parameters, after, sources, packages)


def measure(
    name: str,
    folder: Path,
    study: Study,
    samples: Samples,
    goal: Goal | None,
    tell: Callable[[int], None],
) -> Point:
    """The model in ``folder`` on all test samples and, with a ``goal``, its chip."""
    model = model_of(folder)
    learned = read_record(Learned, folder / LEARNED)
    graph = None if goal is None else _converted(folder, study.name)
    run, engine = (
        keras_outputs(model) if graph is None else graph_outputs(graph, test_size(samples))
    )
    tell(1)
    outputs = _outputs(run, study, samples)
    scores = study.scores(study.evaluate(outputs, samples))
    tell(2)
    chip = None if graph is None or goal is None else silicon(graph, goal)
    ebops = learned.history.ebops[learned.history.best_epoch] if learned.history.ebops else 0
    return Point(
        name,
        learned.weights,
        used_weights(model),
        ebops or None,
        engine,
        {key: estimate(found, LEVEL) for key, found in scores.items()},
        chip,
    )


def _outputs(
    run: Callable[[Data], np.ndarray], study: Study, samples: Samples
) -> dict[str, np.ndarray]:
    return {sample: run(study.data(events)) for sample, events in samples.test.items()}


def _converted(folder: Path, name: str) -> Graph:
    from hairtrigger.frontends.hgq import from_hgq
    from hairtrigger.frontends.keras_file import load_model
    from hairtrigger.graph.passes import optimise

    return optimise(from_hgq(load_model(folder / MODEL), name=name))


def used_weights(model: Any) -> int:
    """Weights that are not zero; those of quantised layers after rounding."""
    import numpy as np

    from hairtrigger.train.checkpoint import to_array

    count = 0
    for layer in model.layers:
        for name, quantizer in (("kernel", "kq"), ("bias", "bq")):
            variable = getattr(layer, name, None)
            if variable is None:
                continue
            cut = getattr(layer, quantizer, None)
            values = to_array(variable) if cut is None else np.asarray(cut(variable))
            count += int(np.count_nonzero(values))
    return count


def silicon(graph: Graph, goal: Goal) -> Silicon:
    """Lower and synthesise a Graph. Raises UnsupportedError where the part has no room."""
    from hairtrigger.backends.rtl import synthesise

    design = goal.design(graph)
    counted = synthesise(design)
    require_room(counted, goal)
    return Silicon(
        goal.part.name,
        goal.clock.mhz,
        design.interval,
        counted.lut,
        counted.ff,
        counted.dsp,
        design.latency,
        design.latency_ns,
    )


def read_point(folder: Path) -> Point:
    """The point that a stage left. Raises StorageError."""
    return read_record(Point, folder / POINT)
