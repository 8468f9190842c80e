"""The stages of a study up to its judged networks: simulate, train, distil, evaluate."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hairtrigger.pipeline import PACKAGE, Stage, Workplace
from hairtrigger.records import read_record, to_text
from hairtrigger.runs.chip import MODEL, read_graph
from hairtrigger.runs.gather import EVALUATION, PICTURES

# Not only for type checking: `Learned` is read back by its types. It imports no Keras.
from hairtrigger.train import History

if TYPE_CHECKING:
    import numpy as np

    from hairtrigger.graph import Graph
    from hairtrigger.report.judged import Judged
    from hairtrigger.studies.base import Samples, Study
    from hairtrigger.train import Data

EVENTS_FOLDER, LEARNED, CHECKPOINT = "events", "learned.json", "checkpoint.npz"
NETWORKS = {
    "teacher": "teacher",
    "float_student": "float student",
    "student": "quantised student",
}
"""The networks by the name of their stage, and what people call them."""
WEIGHTS = ("kernel", "bias", "gamma", "beta", "bn_gamma", "bn_beta")
"""Variables that count as a network's parameters: not the widths that training learns."""
NOT_TRAINING = ("presets", "calibration", "metrics", "goals", "sweep", "windows", "windows_graph")
"""Files of a study, after its name, that training does not read. A preset's numbers are among the
settings of the stages that read them."""
_CHUNK = 8192
PACKAGES = ("numpy", "keras", "jax", "hgq2")


@dataclass(frozen=True)
class Learned:
    """What a training stage says of its network: how many weights, and how it was trained."""

    weights: int
    history: History


def training_stages(study: Study, preset: Any, seed: int) -> list[Stage]:
    """Stages ``simulate``, ``teacher``, ``float_student`` and ``student``."""
    sources = ("fixed.py", "detectors", "studies/base.py", *training_sources(study))
    sizes, simulated = study.seen_by("simulate", preset)
    taught, learned = study.seen_by("teacher", preset)

    def simulate(work: Workplace) -> None:
        study.simulate(sizes, seed, work.partial / EVENTS_FOLDER, _tell(work))
        work.keep(EVENTS_FOLDER)

    def teacher(work: Workplace) -> None:
        samples = samples_of(study, preset, seed, work.inputs)
        save(work, study.train_teacher(taught, samples, seed, **means(work)))

    def settings(preset: dict[str, Any]) -> dict[str, Any]:
        return {"study": study.name, "preset": preset, "seed": seed}

    train = (*sources, "train", "runs/learn.py")
    packages = ("numpy", "zarr")
    return [
        Stage("simulate", "Simulate events", simulate, settings(simulated), (), sources, packages),
        Stage(
            "teacher",
            "Train the teacher",
            teacher,
            settings(learned),
            ("simulate",),
            train,
            PACKAGES,
        ),
        *student_stages(study, preset, seed),
    ]


def student_stages(study: Study, preset: Any, seed: int) -> list[Stage]:
    """Stages ``float_student`` and ``student``."""
    in_float = "Train the student in floating point"
    return [
        one_student(study, preset, seed, seed, "float_student", in_float, None),
        one_student(
            study, preset, seed, seed, "student", "Train the quantised student", "float_student"
        ),
    ]


def one_student(
    study: Study, preset: Any, events: int, seed: int, name: str, label: str, start: str | None
) -> Stage:
    """Stage ``name``: one student, trained on the events of seed ``events``.

    In float where ``start`` is None, else quantised, from the float one of stage ``start``.
    """

    seen, read = study.seen_by("student" if start else "float_student", preset)

    def work(at: Workplace) -> None:
        samples = samples_of(study, preset, events, at.inputs)
        teacher = model_of(at.inputs["teacher"])
        if start is None:
            trained = study.train_float_student(seen, samples, seed, teacher, **means(at))
        else:
            first = model_of(at.inputs[start])
            trained = study.train_student(seen, samples, seed, teacher, start=first, **means(at))
        save(at, trained)

    settings = {"study": study.name, "preset": read, "seed": [events, seed]}
    after = ("simulate", "teacher", *((start,) if start else ()))
    sources = ("fixed.py", "detectors", "studies/base.py", *training_sources(study), "train")
    return Stage(name, label, work, settings, after, (*sources, "runs/learn.py"), PACKAGES)


def evaluation_stage(study: Study, preset: Any, seed: int, judge: Callable[[Judged], Any]) -> Stage:
    """Stage ``evaluate``: every network on the test samples, the student as the chip computes it.

    ``judge`` makes the report's Evaluation and Pictures of it.
    """

    def evaluate(work: Workplace) -> None:
        _evaluate(work, study, preset, seed, judge)

    sources = ("fixed.py", "graph", "engines.py", "backends", "metrics.py", "records.py", "runs")
    return Stage(
        "evaluate",
        "Evaluate all networks",
        evaluate,
        {"study": study.name, "preset": dataclasses.asdict(preset), "seed": seed},
        ("simulate", *NETWORKS, "convert"),
        (*sources, "report", "train", "studies/base.py", *sources_of(study)),
        (*PACKAGES, "onnx", "onnxruntime"),
    )


def samples_of(study: Study, preset: Any, seed: int, inputs: Mapping[str, Path]) -> Samples:
    """The samples that stage ``simulate`` made."""
    sizes, _ = study.seen_by("simulate", preset)
    return study.simulate(sizes, seed, inputs["simulate"] / EVENTS_FOLDER, None)


def test_size(samples: Samples) -> int:
    """Events of all test samples together."""
    return sum(len(events) for events in samples.test.values())


def test_events(study: Study, samples: Samples, count: int) -> np.ndarray:
    """The first events of each test sample, ``count`` in all, as the network takes them."""
    import numpy as np

    each = -(-count // len(samples.test))
    parts = []
    for events in samples.test.values():
        data = study.data(events)
        parts.append(data.prepare(data.inputs[:each]))
    return np.concatenate(parts)[:count]


def model_of(folder: Path) -> Any:
    """The network that a training stage left in its folder."""
    from hairtrigger.frontends.keras_file import load_model

    return load_model(folder / MODEL)


def count_weights(model: Any) -> int:
    """Trained numbers of a network, without the bit widths of its quantizers."""
    named = [v for v in model.trainable_variables if v.path.split("/")[-1] in WEIGHTS]
    return sum(math.prod(v.shape) for v in named)


def sources_of(study: Study) -> list[str]:
    """The study's own files: studies/<name up to an underscore>*.py."""
    family = study.name.partition("_")[0]
    found = sorted((PACKAGE / "studies").glob(f"{family}*.py"))
    return [f"studies/{path.name}" for path in found]


def training_sources(study: Study) -> list[str]:
    """Those of them that have a part in simulation and training (see `NOT_TRAINING`)."""
    family = study.name.partition("_")[0]
    others = {f"studies/{family}_{name}.py" for name in NOT_TRAINING}
    return [name for name in sources_of(study) if name not in others]


def _tell(work: Workplace) -> Callable[[str, int, int], None]:
    return lambda what, done, total: work.progress(done, total)


def means(work: Workplace) -> dict[str, Any]:
    """What lets a training go on after an interruption, and say how far it is."""
    return {"checkpoint": work.partial / CHECKPOINT, "progress": _tell(work)}


def save(work: Workplace, trained: Any) -> None:
    """Leave a trained network and how it was trained as a stage's output."""
    trained.model.save(work.folder / MODEL)
    learned = Learned(count_weights(trained.model), trained.history)
    (work.folder / LEARNED).write_text(to_text(learned), encoding="utf-8")


def _evaluate(
    work: Workplace, study: Study, preset: Any, seed: int, judge: Callable[[Judged], Any]
) -> None:
    import numpy as np

    from hairtrigger.report.judged import Judged, Network

    samples = samples_of(study, preset, seed, work.inputs)
    networks = []
    for number, (stage, name) in enumerate(NETWORKS.items()):
        work.progress(number, len(NETWORKS))
        if stage == "student":
            run, engine = graph_outputs(read_graph(work.inputs["convert"]), test_size(samples))
        else:
            run, engine = keras_outputs(model_of(work.inputs[stage]))
        outputs = {sample: run(study.data(events)) for sample, events in samples.test.items()}
        figures = study.evaluate(outputs, samples)
        learned = read_record(Learned, work.inputs[stage] / LEARNED)
        networks.append(Network(name, learned.weights, engine, outputs, figures, learned.history))
    evaluation, pictures = judge(Judged(samples, tuple(networks)))
    (work.folder / EVALUATION).write_text(to_text(evaluation), encoding="utf-8")
    np.savez_compressed(work.folder / PICTURES, images=pictures.images, signal=pictures.signal)


def keras_outputs(model: Any) -> tuple[Callable[[Data], np.ndarray], str]:
    """A trained network as a function of data, and what runs it."""
    from hairtrigger.train import predict

    return lambda data: predict(model, data.inputs, data.prepare), "Keras, float32"


def graph_outputs(graph: Graph, events: int) -> tuple[Callable[[Data], np.ndarray], str]:
    """A Graph as a function of data, and the engine that runs it: the quickest for ``events``."""
    import numpy as np

    from hairtrigger.engines import prepare, run

    engine = prepare(graph, None, events).engine

    def outputs(data: Data) -> np.ndarray:
        parts = []
        for start in range(0, len(data), _CHUNK):
            images = data.prepare(data.inputs[start : start + _CHUNK])
            values = run(graph, images, engine=engine).values[0]
            parts.append(values.reshape(len(values), -1))
        return np.concatenate(parts)

    return outputs, f"Graph, {engine}"
