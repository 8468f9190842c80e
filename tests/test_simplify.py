"""Simplification: what is dead goes for nothing, what matters is found, and a run goes on."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hairtrigger import runs
from hairtrigger.errors import InputError, StorageError
from hairtrigger.explain.simplify import parse_steps
from hairtrigger.progress import Silent
from hairtrigger.records import read_record
from hairtrigger.runs import learn, points, simplify, simplify_steps
from hairtrigger.runs.chip import Goal, read_graph
from hairtrigger.runs.simplified import Simplified, State
from hairtrigger.targets import find_part, parse_clock
from toy_study import Preset, Toy

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

GOAL = Goal(find_part("xcvu13p"), parse_clock("200MHz"), None)
STEPS = "inputs=4 channels=90% bits=90%; inputs=2"


@dataclass(frozen=True)
class Trained(Preset):
    batch: int = 64
    student_rate: float = 1e-3
    beta: tuple[float, float] = (1e-9, 1e-9)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    for module in (learn, points, simplify):
        monkeypatch.setattr(module, "sources_of", lambda study: [])
    monkeypatch.setattr(simplify_steps, "training_sources", lambda study: [])
    monkeypatch.setattr("hairtrigger.pipeline.source_digest", lambda sources: "")
    toy = Toy()
    toy.preset = Trained(width=6)
    return toy


def simplified(toy: Toy, folder: Path, steps: str = STEPS, **more: Any) -> Simplified:
    toy.ran.clear()
    chains = parse_steps(steps)
    return simplify.simplify(toy.study(), toy.preset, 1, GOAL, chains, folder, Silent(), **more)


def test_every_step_is_a_point_and_goes_on(tmp_path, toy):
    no_chips = simplify_steps.Settings(chips=False)
    made = simplified(toy, tmp_path / "a", settings=no_chips)
    assert toy.ran == ["simulate", "teacher", "float_student", "student"]
    names = ["as it was", "inputs=4", "inputs=4 channels=90%", "inputs=4 channels=90% bits=90%"]
    assert [p.name for p in made.points] == [*names, "inputs=2"]
    assert [len(p.inputs) for p in made.points] == [0, 1, 1, 1, 3]
    assert not made.points[1].channels
    assert made.points[2].channels
    assert made.points[3].bits > 0
    assert set(made.points[1].inputs) <= set(made.points[4].inputs)
    luts = [p.lut for p in made.points]
    assert luts[3] < luts[2]  # nothing was trained between them
    assert luts[4] < luts[0]
    assert read_record(Simplified, tmp_path / "a" / "simplify.json") == made
    rows = list(csv.DictReader((tmp_path / "a" / "simplify.csv").read_text().splitlines()))
    assert [row["point"] for row in rows] == [p.name for p in made.points]
    assert "<svg" in (tmp_path / "a" / "simplify.svg").read_text()
    assert "inputs=4 channels=90%" in (tmp_path / "a" / "simplify.html").read_text()

    assert simplified(toy, tmp_path / "a", settings=no_chips) == made
    assert toy.ran == []


def test_training_goes_on_after_bits_and_they_stay_away(tmp_path, toy):
    steps = "bits=90% price=1; price=1; bits=90% inputs=3"
    no_chips = simplify_steps.Settings(chips=False)
    made = simplified(toy, tmp_path, steps, settings=no_chips)
    points = {p.name: p for p in made.points}
    cut, again = points["bits=90%"], points["bits=90% price=1"]
    assert again.bits == cut.bits > 0
    assert len(points["bits=90% inputs=3"].inputs) == 2
    control = points["price=1"]
    assert (control.inputs, control.channels, control.bits) == ((), {}, 0)
    for folder in (tmp_path / "stages").iterdir():
        if not (folder / "state.json").exists():
            continue
        state = read_record(State, folder / "state.json")
        if not state.limits:
            continue
        model = learn.model_of(folder)
        for name, most in state.limits.items():
            left = np.asarray(model.get_layer(name).iq.quantizer._f).reshape(-1)
            assert (left <= np.array(most)).all()


def test_bits_that_no_quantizer_can_follow_end_a_chain(tmp_path, toy, monkeypatch):
    def refuse(*_: Any) -> None:
        raise InputError("no such layer", "none")

    monkeypatch.setattr("hairtrigger.explain.narrow.limits_of", refuse)
    no_chips = simplify_steps.Settings(chips=False)
    made = simplified(toy, tmp_path, "bits=90%", settings=no_chips)
    assert made.points[1].bits > 0
    with pytest.raises(InputError, match="price=1 after bits"):
        simplified(toy, tmp_path, "bits=90% price=1", settings=no_chips)


def test_the_networks_of_a_run_are_taken_and_chips_made(tmp_path, toy):
    simplified(toy, tmp_path / "a", "none", settings=simplify_steps.Settings(chips=False))
    made = simplified(toy, tmp_path / "b", "bits=80%", run=tmp_path / "a")
    assert toy.ran == ["simulate"]  # nothing is trained
    first, cut = made.points
    assert first.chip is not None
    assert cut.chip is not None
    assert 0 < cut.chip.lut < first.chip.lut
    assert first.lut_estimate == pytest.approx(first.chip.lut)
    assert made.bits
    prices = [w.harm / w.lut for w in made.bits if w.lut > 0]
    assert prices == sorted(prices)


def test_an_interrupted_step_is_done_again(tmp_path, toy, monkeypatch):
    def cut(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(simplify_steps, "_train_again", cut)
        with pytest.raises(KeyboardInterrupt):
            simplified(toy, tmp_path, "inputs=4", settings=simplify_steps.Settings(chips=False))
    made = simplified(toy, tmp_path, "inputs=4", settings=simplify_steps.Settings(chips=False))
    assert toy.ran == []
    assert [p.chip for p in made.points] == [None, None]
    (folder,) = [
        path
        for path in (tmp_path / "stages").iterdir()
        if (path / "state.json").exists() and path.name != "start"
    ]
    state = read_record(State, folder / "state.json")
    (op,) = read_graph(folder).input_ops
    assert [n for n, bits in enumerate(op.type.width) if not bits] == list(made.points[1].inputs)
    assert [r.unit.index for r in state.ranked if r.went] == list(made.points[1].inputs)


def test_steps_that_cannot_be_are_refused(tmp_path, toy):
    for text, words in {
        "inputs": "step 'inputs'",
        "inputs=40%": "step 'inputs=40%'",
        "channels=3": "step 'channels=3'",
        "rows=3": "step 'rows=3'",
        "rows=3%": "no step 'rows'",
        "inputs=0": "inputs=0",
        "bits=0%": "bits=0%",
        "bits=100%": "bits=100%",
        "price=0": "price=0",
        "price=90%": "step 'price=90%'",
        "inputs=2;": "empty chain",
    }.items():
        with pytest.raises(InputError, match=words):
            parse_steps(text)
    no_chips = simplify_steps.Settings(chips=False)
    with pytest.raises(InputError, match="reads 5 slices"):
        simplified(toy, tmp_path, "inputs=5", settings=no_chips)
    with pytest.raises(InputError, match="Channels can go down to"):
        simplified(toy, tmp_path, "channels=1%", settings=no_chips)
    with pytest.raises(InputError, match="Axis 1"):
        simplified(toy, tmp_path, "inputs=2", settings=replace(no_chips, axis=1))


def test_runs_and_settings_that_cannot_be_are_refused(tmp_path, toy):
    with pytest.raises(StorageError, match=r"teacher.model.keras cannot be read"):
        simplified(toy, tmp_path, run=tmp_path / "none")
    with pytest.raises(InputError, match="method 'guess'"):
        simplify_steps.Settings(method="guess")
    with pytest.raises(InputError, match="epochs = 0"):
        simplify_steps.Settings(epochs=0)
    toy.preset = Preset()
    with pytest.raises(InputError, match="do not say batch, student_rate, beta"):
        simplified(toy, tmp_path)
    with pytest.raises(InputError, match="has only `hairtrigger run`"):
        runs.simplify_study("tau3mu", "inputs=3", folder=tmp_path)
    with pytest.raises(InputError, match="not known"):
        runs.simplify_study("moon", "inputs=3", folder=tmp_path)


def test_surrogates_are_of_the_muon_study(tmp_path, toy):
    with pytest.raises(InputError, match="no features of an event"):
        simplified(toy, tmp_path, "none", settings=simplify_steps.Settings(surrogate="tree"))
    with pytest.raises(InputError, match="surrogate 'oracle'"):
        simplified(toy, tmp_path, "none", settings=simplify_steps.Settings(surrogate="oracle"))
