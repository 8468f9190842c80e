"""The stage that puts a readable surrogate beside a student, and says how faithful it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hairtrigger.errors import InputError
from hairtrigger.metrics import LEVEL
from hairtrigger.pipeline import Stage, Workplace
from hairtrigger.records import to_text
from hairtrigger.report.judged import estimate
from hairtrigger.report.summary import Estimate
from hairtrigger.runs.chip import read_graph
from hairtrigger.runs.learn import graph_outputs, samples_of, sources_of

if TYPE_CHECKING:
    import numpy as np

    from hairtrigger.studies.base import Study

SURROGATE = "surrogate.json"
TRAINED_ON = 60_000
"""Training events that a tree is made from; a formula takes fewer of them."""
FORMULA_EVENTS = 4000
FORMULA = "formula"
TREE = "tree"


@dataclass(frozen=True)
class Readable:
    """A surrogate of the student as it was: its ``text``, ``size`` in leaves or nodes, the features
    ``used``; on the test samples the share of equal decisions by sample, the ``explained`` share of
    the variance of log2 pT, and of both the efficiency for true pT from the threshold on, where the
    surrogate has no more ``fakes`` than the student."""

    kind: str
    text: str
    size: int
    used: tuple[str, ...]
    agreement: Mapping[str, Estimate]
    explained: float | None
    fakes: Estimate
    efficiency: Estimate
    network_fakes: Estimate
    network_efficiency: Estimate


def surrogate_stage(
    study: Study, preset: Any, seed: int, after: str, kind: str, leaves: int
) -> Stage:
    """Stage ``surrogate``: of the Graph that stage ``after`` left. ``kind``: "tree" or "formula".

    Raises `InputError` for a study whose events have no features, or another kind.
    """
    if kind not in (TREE, FORMULA):
        raise InputError(f"surrogate {kind!r}", f"choose {TREE} or {FORMULA}")
    if study.name.partition("_")[0] != "muon":
        raise InputError(f"study {study.name!r} has no features of an event", "choose a muon study")

    def work(at: Workplace) -> None:
        found = _made(at, study, preset, seed, after, kind, leaves)
        (at.folder / SURROGATE).write_text(to_text(found), encoding="utf-8")

    settings = {"preset": dataclasses.asdict(preset), "seed": seed}
    settings |= {"kind": kind, "leaves": leaves}
    sources = ("fixed.py", "graph", "engines.py", "backends", "cpp", "detectors", "metrics.py")
    sources += ("explain/surrogate.py", "explain/features.py", "runs/surrogate.py")
    return Stage(
        "surrogate",
        f"Make a readable surrogate: {kind}",
        work,
        settings,
        ("simulate", after),
        (*sources, "studies/base.py", *sources_of(study)),
        ("numpy", "scikit-learn", "gplearn"),
    )


def _made(
    at: Workplace, study: Study, preset: Any, seed: int, after: str, kind: str, leaves: int
) -> Readable:
    import numpy as np

    from hairtrigger.explain import surrogate as s
    from hairtrigger.explain.features import muon_features
    from hairtrigger.studies.muon import TEST_RATE, noise_name
    from hairtrigger.studies.muon_metrics import TRIGGER_GEV

    samples = samples_of(study, preset, seed, at.inputs)
    noise = noise_name(TEST_RATE)
    each = -(-(TRAINED_ON if kind == TREE else FORMULA_EVENTS) // len(samples.train))
    parts = [events.select(slice(0, each)) for events in samples.train]
    tests = {name: samples.test[name] for name in ("muons", noise)}
    total = sum(map(len, (*parts, *tests.values())))
    run, _ = graph_outputs(read_graph(at.inputs[after]), total)

    def seen(events: Any) -> tuple[np.ndarray, np.ndarray]:
        """Features, and log2 of the pT that the student says."""
        features, _ = muon_features(events.unpacked(), events.config)
        return features, np.log2(study.decode(run(study.data(events))).pt)

    found = []
    for number, events in enumerate(parts):
        at.progress(number, len(parts) + len(tests))
        found.append(seen(events))
    features, said = (np.concatenate(values) for values in zip(*found, strict=True))
    _, names = muon_features(parts[0].unpacked(slice(0, 1)), parts[0].config)
    if kind == TREE:
        made = s.fit_tree(features, names, said, leaves=leaves, seed=seed)
    else:
        made = s.fit_formula(features, names, said, seed=seed)
    cut = float(np.log2(TRIGGER_GEV))
    values = {}
    for number, (name, events) in enumerate(tests.items()):
        at.progress(len(parts) + number, len(parts) + len(tests))
        features, said = seen(events)
        values[name] = (said, made.predict(features))
    truth = tests["muons"].truth
    hard = (truth["n_muons"] == 1) & (truth["pt"][:, 0] >= TRIGGER_GEV)
    same = s.at_same_fakes(*((values["muons"][n][hard], values[noise][n]) for n in (0, 1)), cut)
    agreement = {name: s.fidelity(*pair, cut).agreement for name, pair in values.items()}
    return Readable(
        made.kind,
        made.text,
        made.size,
        made.used,
        {name: estimate(value, LEVEL) for name, value in agreement.items()},
        s.fidelity(*values["muons"], cut).explained,
        *(
            estimate(value, LEVEL)
            for value in (
                same.fakes,
                same.efficiency,
                same.network_fakes,
                same.network_efficiency,
            )
        ),
    )


def read_surrogate(folder: Path) -> Readable:
    """The surrogate that the stage left. Raises StorageError."""
    from hairtrigger.records import read_record

    return read_record(Readable, folder / SURROGATE)
