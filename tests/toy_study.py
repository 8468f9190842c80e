"""A study whose networks are not trained, only made: whole runs of it take no time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from example_summary import MODELS, example
from hairtrigger import runs
from hairtrigger.metrics import mean
from hairtrigger.report.judged import Judged
from hairtrigger.report.page import Pictures
from hairtrigger.report.summary import Evaluation
from hairtrigger.studies.base import Samples, Study, Trained, Way
from hairtrigger.train import Data, Head, History, Kind
from hgq_models import prepare, shake

SETTINGS: dict[str, Any] = {"preset": "tiny", "clock": "200MHz"}


@dataclass(frozen=True)
class Preset:
    name: str = "tiny"
    events: int = 300
    width: int = 3


class Toy:
    """A study of 5 numbers an event whose networks are not trained, only made."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.accident: dict[str, BaseException] = {}
        self.preset = Preset()

    def simulate(self, preset: Preset, seed: int, folder: Path | None, tell: Any) -> Samples:
        assert folder is not None
        path = folder / "events.npy"
        if not path.exists():
            self._begin("simulate")
            folder.mkdir()
            np.save(path, np.random.default_rng(seed).normal(0, 2, (preset.events, 5)))
        events = np.load(path)
        return Samples(events, events, {"a": events[:100], "b": events[100:]})

    def _begin(self, name: str) -> None:
        self.ran.append(name)
        if name in self.accident:
            raise self.accident.pop(name)

    def _train(self, name: str, preset: Preset, quantised: bool) -> Trained:
        self._begin(name)
        keras = prepare()
        import hgq.layers as q

        keras.utils.set_random_seed(1)
        dense = q.QDense if quantised else keras.layers.Dense
        model = keras.Sequential(
            [keras.Input((5,)), dense(preset.width, activation="relu"), dense(2)]
        )
        if quantised:
            shake(model, 5)
        return Trained(model, History((2.0, 1.0), (2.5, 1.5), (9.0, 8.0), 1, 0.5))

    def train_teacher(self, preset: Any, samples: Samples, seed: int, **_: Any) -> Trained:
        return self._train("teacher", preset, False)

    def train_float(self, preset: Any, s: Samples, seed: int, teacher: Any, **_: Any) -> Trained:
        assert teacher is not None
        return self._train("float_student", preset, False)

    def train_student(
        self, preset: Any, s: Samples, seed: int, teacher: Any, *, start: Any, **_: Any
    ) -> Trained:
        assert teacher is not None
        assert start is not None
        return self._train("student", preset, True)

    def evaluate(self, outputs: Mapping[str, Any], samples: Samples) -> Any:
        assert {name: len(values) for name, values in outputs.items()} == {"a": 100, "b": 200}
        return SimpleNamespace(mean=float(np.mean(outputs["a"])))

    def judge(self, judged: Judged) -> tuple[Evaluation, Pictures]:
        self._begin("judge")
        assert [n.name for n in judged.networks] == list(MODELS)
        assert [n.weights for n in judged.networks] == [26, 26, 26]
        assert judged.networks[-1].engine == "Graph, onnxruntime-fp32"
        pictures = Pictures(np.zeros((0, 9, 384), np.uint8), np.zeros((0, 9, 384), np.uint8))
        evaluation = example().evaluation
        assert evaluation is not None
        return evaluation, pictures

    def study(self, compared: tuple[Way, ...] = ()) -> Study:
        return Study(
            compared=compared,
            name="toy",
            title="Toy",
            presets=(self.preset,),
            heads=(Head("x", Kind.VALUE), Head("y", Kind.VALUE)),
            simulate=self.simulate,
            data=lambda events: Data(events, np.zeros((len(events), 2), np.float32)),
            teacher=lambda: None,
            float_student=lambda: None,
            student=lambda: None,
            train_teacher=self.train_teacher,
            train_float_student=self.train_float,
            train_student=self.train_student,
            decode=lambda outputs: outputs,
            evaluate=self.evaluate,
            scores=lambda figures: {"mean": mean([figures.mean, figures.mean])},
            vary=lambda trial, preset: replace(preset, width=trial.suggest_int("width", 2, 5)),
        )

    def run(self, folder: Path, **settings: Any) -> runs.Report:
        self.ran.clear()
        return runs.run_study("toy", folder=folder, **{**SETTINGS, **settings})
