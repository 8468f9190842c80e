"""`hairtrigger run tau3mu`: ways to be blind beside each other, and a network of coins as a chip.

<folder>/stages/...                samples, every training, Graph, Verilog, what came out of it
<folder>/tradeoff.json .csv .svg   AUC against blindness, every method, strength and seed
<folder>/report.html summary.json  as of every run
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hairtrigger.pipeline import STAGES, Stage, Workplace
from hairtrigger.records import read_record, to_text
from hairtrigger.report.summary import Chip
from hairtrigger.runs.chip import MODEL, Goal, graph_stages, write_conversion
from hairtrigger.runs.gather import EVALUATION, Report, finish, origin_of
from hairtrigger.runs.learn import save
from hairtrigger.runs.tradeoff import (
    FILES,
    TRADEOFF,
    recipe_of,
    stage_name,
    tradeoff_stages,
    tuning_name,
)

if TYPE_CHECKING:
    import numpy as np

    from hairtrigger.progress import Reporter
    from hairtrigger.studies.tau3mu import Samples, Tau3muPreset

STUDY = "tau3mu"
CAPTURED, DEBUG_GRAPH = "captured.npz", "graph_with_bits.txt"
CANDIDATES = (
    *("fixed.py", "detectors/lhcb.py", "detectors/lhcb_toy.py", "studies/tau3mu.py"),
    *("studies/tau3mu_recipe.py", "studies/tau3mu_samples.py"),
)
SOURCES = (*CANDIDATES, "studies/tau3mu_figures.py", "train", "metrics_blind.py", "metrics.py")
PACKAGES = ("numpy", "keras", "jax")


def run_tau3mu(
    preset: Tau3muPreset,
    seed: int,
    goal: Goal,
    folder: Path,
    *,
    data: Path | None,
    content: Mapping[str, str],
    command: str,
    reporter: Reporter | None,
) -> Report:
    """Run the study in ``folder``, on generated candidates or the challenge's files in ``data``.

    ``content``: a checksum of each of those files. Raises what a stage raises.
    """
    sizes = {"train_events": preset.train_events, "test_events": preset.test_events}
    settings = {**sizes, "seed": seed, **content}
    stages = [
        _simulate(preset, seed, data, settings),
        *tradeoff_stages(preset, seed, STUDY, (*SOURCES, "runs/tradeoff.py"), PACKAGES),
        _sparse(preset, seed),
        _convert(),
        *graph_stages(goal, seed, _events, after=("simulate",)),
        _capture(goal),
        _evaluate(preset, seed, settings, simulated=data is None),
    ]
    origin = origin_of(
        f"Tau to three muons, blind to its origin: {preset.name}"
        + (" on recorded candidates" if data else ""),
        goal,
        seed,
        command,
        study=STUDY,
        preset=preset.name,
    )
    made = finish(stages, origin, folder, reporter)
    for name in FILES:
        shutil.copy2(folder / STAGES / TRADEOFF / name, folder / name)
    return made


def _simulate(
    preset: Tau3muPreset, seed: int, data: Path | None, settings: Mapping[str, Any]
) -> Stage:
    def work(at: Workplace) -> None:
        from hairtrigger.studies.tau3mu import generated
        from hairtrigger.studies.tau3mu_samples import SAMPLES, recorded, write_candidates

        made = generated(preset, seed) if data is None else recorded(data, preset, seed)
        write_candidates(at.folder / SAMPLES, made)

    title = "Generate candidates" if data is None else "Read candidates"
    return Stage("simulate", title, work, settings, (), CANDIDATES, ("numpy",))


def samples_of(inputs: Mapping[str, Path]) -> Samples:
    """The samples that stage ``simulate`` kept."""
    from hairtrigger.studies.tau3mu_samples import SAMPLES, read_samples

    return read_samples(inputs["simulate"] / SAMPLES)


def network_of(folder: Path) -> Any:
    """The network that a training stage left, with its layers of coins."""
    from hairtrigger.train.bernoulli import keras

    return keras.saving.load_model(folder / MODEL, compile=False)


def _sparse(preset: Tau3muPreset, seed: int) -> Stage:
    tuning = tuning_name("coins")

    def work(at: Workplace) -> None:
        from hairtrigger.studies.base import Trained
        from hairtrigger.studies.tau3mu_chip import STRENGTH, train_sparse

        recipe = recipe_of(at.inputs[tuning])
        samples = samples_of(at.inputs)
        model, history = train_sparse(STRENGTH, samples, preset.epochs, seed, recipe)
        save(at, Trained(model, history))

    sources = (*SOURCES, "studies/tau3mu_chip.py")
    title = "Train the network of coins for the chip"
    settings = {"epochs": preset.epochs, "seed": seed}
    return Stage("sparse", title, work, settings, ("simulate", tuning), sources, PACKAGES)


def _convert() -> Stage:
    def work(at: Workplace) -> None:
        from hairtrigger.studies.tau3mu_chip import coin_headers, to_graph

        model = network_of(at.inputs["sparse"])
        graph, debug = to_graph(model), to_graph(model, debug=True)
        write_conversion(at.folder, graph, graph)
        (at.folder / DEBUG_GRAPH).write_text(str(debug), encoding="utf-8")
        for name, text in coin_headers().items():
            (at.folder / name).write_text(text, encoding="utf-8")

    sources = (
        *("fixed.py", "graph", "cpp/coins.py", "studies/tau3mu_chip.py"),
        *("runs/tau3mu.py", "runs/chip.py"),
    )
    return Stage("convert", "Convert to exact integers", work, {}, ("sparse",), sources, ("keras",))


def _events(inputs: Mapping[str, Path]) -> np.ndarray:
    samples = samples_of(inputs)
    return samples.scaler(samples.test)


def _capture(goal: Goal) -> Stage:
    """Test sample and control channel, one after the other, through the simulated Verilog, whose
    every number must be the emulator's, and every logit that of the network in software."""

    def work(at: Workplace) -> None:
        import numpy as np

        from hairtrigger.backends.rtl import simulate
        from hairtrigger.errors import MismatchError
        from hairtrigger.graph import emulate_codes, encode, parse
        from hairtrigger.studies.tau3mu_chip import differences

        samples = samples_of(at.inputs)
        graph = parse((at.inputs["convert"] / DEBUG_GRAPH).read_text(encoding="utf-8"))
        parts = [samples.test, samples.agreement]
        parts += [samples.same_origin] if samples.same_origin is not None else []
        given = np.concatenate([samples.scaler(part) for part in parts])
        codes = encode(graph, given)
        found = simulate(goal.design(graph), codes).codes
        for got, wanted in zip(found, emulate_codes(graph, codes), strict=True):
            if not np.array_equal(got, wanted):
                raise MismatchError("the Verilog gives other bits than the emulator")
        values = {
            name: got * 2.0**-t.lsb
            for name, got, t in zip(graph.output_names, found, graph.output_types, strict=True)
        }
        other = differences(network_of(at.inputs["sparse"]), given, values)
        if other:
            raise MismatchError(f"{other} numbers of the Verilog are not those of Keras")
        held = {"logits": values["logits"], "bits": values["bits"] != 0}
        np.savez_compressed(at.folder / CAPTURED, **held)

    target = {"part": goal.part.name, "clock_mhz": goal.clock.mhz, "interval": goal.interval}
    return Stage(
        "capture",
        "Capture the bits that come out of the Verilog",
        work,
        target,
        ("simulate", "sparse", "convert"),
        (
            *("fixed.py", "graph", "rtl", "backends", "targets", "tools", "runs/tau3mu.py"),
            "studies/tau3mu_chip.py",
        ),
        ("verilator", "keras"),
    )


def _evaluate(
    preset: Tau3muPreset, seed: int, settings: Mapping[str, Any], *, simulated: bool
) -> Stage:
    plain = stage_name("plain", 0.0, seed)

    def work(at: Workplace) -> None:
        import numpy as np

        from hairtrigger.report import tau3mu as page

        samples = samples_of(at.inputs)
        with np.load(at.inputs["capture"] / CAPTURED, allow_pickle=False) as held:
            chip = page.Answers(held["logits"], held["bits"])
        chip_record = read_record(Chip, at.inputs["build"] / "chip.json")
        evaluation = page.evaluation(
            samples,
            network_of(at.inputs[plain]),
            network_of(at.inputs["sparse"]),
            chip,
            f"Verilog of {chip_record.name}, simulated",
            seed,
            simulated,
        )
        (at.folder / EVALUATION).write_text(to_text(evaluation), encoding="utf-8")

    sources = (*SOURCES, "report/tau3mu.py", "runs/tau3mu.py", "records.py")
    after = ("simulate", plain, "sparse", "build", "capture")
    return Stage("evaluate", "Evaluate all networks", work, settings, after, sources, PACKAGES)
