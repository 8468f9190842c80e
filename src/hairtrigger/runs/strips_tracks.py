"""The tracks half of the strips study: stages from simulated chambers to two chips, judged.

tracks_simulate                 chambers with a muon and without
tracks_tune                     roads and Hough transform
NET_float, NET                  the network NET (cnn, rnn) in float and for the chip
NET_convert                     Graph and cut; NET_build, NET_verify, NET_synthesise: the chip
tracks_performance              tracks.json and tracks.svg: every method on the same chambers
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hairtrigger.errors import MismatchError
from hairtrigger.pipeline import Stage, Workplace
from hairtrigger.records import read_record, to_text
from hairtrigger.runs.chip import MODEL, Goal, graph_stages, read_graph, write_conversion
from hairtrigger.runs.learn import LEARNED, Learned, means, model_of, save

if TYPE_CHECKING:
    import numpy as np

    from hairtrigger.graph import Graph
    from hairtrigger.report.strips_tracks import TracksChip, TracksPerformance
    from hairtrigger.studies.strips_roads import Tuned
    from hairtrigger.studies.strips_tracks import TracksPreset
    from hairtrigger.studies.strips_tracks_metrics import Said
    from hairtrigger.studies.strips_tracks_samples import Sample

NETWORKS = {"cnn": "CNN", "rnn": "RNN"}
"""The networks by the word that begins the names of their stages, and what people call them."""
SIMULATE, TUNE, PERFORMANCE = "tracks_simulate", "tracks_tune", "tracks_performance"
FILES = ("tracks.json", "tracks.svg")
CUT, BASELINES = "cut.json", "baselines.json"
_SIMULATION = tuple(
    f"detectors/{name}.py"
    for name in (
        *("checks", "store", "strips_config", "strips_chambers", "strips_blocks"),
        *("strips_ionisation", "strips_drift", "strips_electronics", "strips_background"),
    )
)
_STORED = ("studies/strips_tracks_samples.py",)
_SAMPLES = ("studies/strips_tracks.py", *_STORED)
_METRICS = ("studies/strips_tracks_metrics.py", "studies/supernova_metrics.py", "metrics.py")
_ROADS = ("studies/strips_roads.py", *_METRICS)
_NETWORKS = (*_SAMPLES, "studies/strips_tracks_networks.py", "train", "runs/learn.py")
_PACKAGES = ("numpy", "keras", "jax", "hgq2")


@dataclass(frozen=True)
class TrackCut:
    """Where a chip cuts: logits of ``code`` / 2^``fraction`` and more pass, ``passed`` of ``noise``
    chambers of background that the cut was chosen on."""

    code: int
    fraction: int
    passed: int
    noise: int

    @property
    def value(self) -> float:
        return self.code * 2.0**-self.fraction


def tracks_stages(preset: TracksPreset, seed: int, goal: Goal) -> list[Stage]:
    """All stages. ``goal``: what each chip is made for; a chamber enters along its strips."""
    stages = [_simulate(preset, seed), _tune(preset)]
    for name in NETWORKS:
        stages += [_train(name, preset, seed, chip=False), _train(name, preset, seed, chip=True)]
        stages += [_convert(name, preset), *_chip(name, preset, seed, goal)]
    return [*stages, _performance(preset, seed, goal)]


# --- samples -------------------------------------------------------------------------------------


def _simulate(preset: TracksPreset, seed: int) -> Stage:
    from hairtrigger.studies.strips_tracks import CONFIG, sizes

    wanted = sizes(preset)
    numbers = {name: 1000 * seed + n for n, name in enumerate(wanted)}

    def work(at: Workplace) -> None:
        from hairtrigger.studies.strips_tracks_samples import make

        done, total = 0, sum(count for _, count, _ in wanted.values())
        for name, (muons, count, rates) in wanted.items():

            def tell(so_far: int, _: int, before: int = done) -> None:
                at.progress(before + so_far, total)

            make(at.partial / name, muons, count, numbers[name], rates, CONFIG, tell)
            done += count
        for name in wanted:
            at.keep(name)

    samples = {name: [*wanted[name], numbers[name]] for name in wanted}
    settings = {"samples": samples, "config": asdict(CONFIG)}
    sources = (*_SIMULATION, *_STORED)
    return Stage(SIMULATE, "Simulate chambers", work, settings, (), sources, ("numpy", "zarr"))


def sample(inputs: Mapping[str, Path], name: str) -> Sample:
    """A sample that the simulation left, by its name in `strips_tracks.sizes`."""
    from hairtrigger.studies.strips_tracks_samples import read

    return read(inputs[SIMULATE] / name)


def _tune(preset: TracksPreset) -> Stage:
    def work(at: Workplace) -> None:
        from hairtrigger.studies.strips_roads import METHODS, Baselines, tune
        from hairtrigger.studies.strips_tracks import CONFIG
        from hairtrigger.studies.strips_tracks_samples import unpack

        noise, muons = (sample(at.inputs, f"tune_{kind}") for kind in ("noise", "muons"))
        images = unpack(noise.packed), unpack(muons.packed)
        tuned = [tune(name, CONFIG, *images, muons.truth, preset.fake_rate) for name in METHODS]
        text = to_text(Baselines(tuple(tuned)))
        (at.folder / BASELINES).write_text(text, encoding="utf-8")

    settings = {"fake_rate": preset.fake_rate}
    sources = (*_ROADS, *_SAMPLES, "runs/strips_tracks.py")
    return Stage(TUNE, "Tune roads and Hough transform", work, settings, (SIMULATE,), sources)


# --- networks ------------------------------------------------------------------------------------


def _train(name: str, preset: TracksPreset, seed: int, *, chip: bool) -> Stage:
    first = f"{name}_float"

    def work(at: Workplace) -> None:
        from hairtrigger.studies.strips_tracks import train

        pairs = [
            (sample(at.inputs, f"{part}_muons"), sample(at.inputs, f"{part}_noise"))
            for part in ("train", "validation")
        ]
        start = model_of(at.inputs[first]) if chip else None
        save(at, train(name, preset, pairs[0], pairs[1], seed, start=start, **means(at)))

    settings: dict[str, Any] = {"seed": seed, "batch": preset.batch}
    settings["shape"] = asdict(preset.shape(name))
    if chip:
        settings |= {"epochs": preset.chip_epochs, "rate": preset.chip_rate}
        settings["beta"] = list(preset.beta(name))
    else:
        settings |= {"epochs": preset.float_epochs, "rate": preset.float_rate}
    title = f"Train the {NETWORKS[name]} " + ("for the chip" if chip else "in float")
    after = (SIMULATE, *((first,) if chip else ()))
    return Stage(name if chip else first, title, work, settings, after, _NETWORKS, _PACKAGES)


def _convert(name: str, preset: TracksPreset) -> Stage:
    """The network as a Graph with its cut, and the Keras model that decides the same."""

    def work(at: Workplace) -> None:
        import numpy as np

        from hairtrigger.frontends.hgq import from_hgq
        from hairtrigger.graph.passes import optimise
        from hairtrigger.studies.strips_tracks import deciding_model, decision
        from hairtrigger.studies.supernova_metrics import cut_at

        model = model_of(at.inputs[name])
        network = optimise(from_hgq(model, name=f"{name}_tracks"))
        noise = sample(at.inputs, "cut_noise")
        logits = graph_codes(network, name, noise)[0][:, 0]
        found = cut_at(logits.astype(np.float64), preset.fake_rate)
        fraction = network.output_types[0].lsb
        cut = TrackCut(int(found.value), fraction, found.fakes.passed, found.fakes.total)
        decides = decision(network, cut.code)
        write_conversion(at.folder, decides, optimise(decides))
        deciding_model(model, cut.value).save(at.folder / MODEL)
        (at.folder / CUT).write_text(to_text(cut), encoding="utf-8")

    return Stage(
        f"{name}_convert",
        f"Convert the {NETWORKS[name]} to exact integers, and choose the cut",
        work,
        {"fake_rate": preset.fake_rate},
        (SIMULATE, name),
        (
            *("fixed.py", "graph", "frontends", "engines.py", "backends", "cpp"),
            *(*_SAMPLES, *_METRICS, "runs/strips_tracks.py", "runs/chip.py"),
        ),
        ("hgq2", "keras"),
    )


def _chip(name: str, preset: TracksPreset, seed: int, goal: Goal) -> list[Stage]:
    def model(inputs: Mapping[str, Path]) -> Path:
        return inputs[f"{name}_convert"] / MODEL

    def events(inputs: Mapping[str, Path]) -> np.ndarray:
        from hairtrigger.studies.strips_tracks import PREPARE

        return PREPARE[name](proof_sample(inputs, preset.proof).packed)

    return graph_stages(
        replace(goal, axis=_AXES[name]),
        seed,
        events,
        model=model,
        after=(SIMULATE,),
        fewest=preset.proof,
        prefix=f"{name}_",
        label=f": {NETWORKS[name]}",
    )


_AXES = {"cnn": 0, "rnn": 1}
"""The axis of each network's input along which the strips are."""


def proof_sample(inputs: Mapping[str, Path], count: int) -> Sample:
    """Chambers to compare the engines on: half with a muon, at the rate of the cut."""
    from hairtrigger.studies.strips_tracks import CUT_RATE, test_name
    from hairtrigger.studies.strips_tracks_samples import joined

    half = slice(0, -(-count // 2))
    names = (test_name(muons, CUT_RATE) for muons in (True, False))
    return joined([sample(inputs, name).select(half) for name in names])


def graph_codes(graph: Graph, name: str, found: Sample) -> tuple[np.ndarray, ...]:
    """Codes of all outputs of a network's Graph, by the fastest engine for so many chambers."""
    from hairtrigger.engines import run
    from hairtrigger.studies.strips_tracks import PREPARE

    return run(graph, PREPARE[name](found.packed)).codes


# --- judging -------------------------------------------------------------------------------------


def _performance(preset: TracksPreset, seed: int, goal: Goal) -> Stage:
    def work(at: Workplace) -> None:
        _perform(at, preset, seed, goal)

    each = ("float", "", "convert", "build", "verify", "synthesise")
    stages = [f"{name}_{part}".rstrip("_") for name in NETWORKS for part in each]
    sources = (
        *("fixed.py", "graph", "engines.py", "backends", "cpp", "records.py"),
        *("report/strips_tracks.py", "report/figures.py", "runs/strips_tracks.py"),
        *(*_SAMPLES, *_ROADS),
    )
    settings = {"preset": preset.name, "fake_rate": preset.fake_rate, "seed": seed}
    settings |= {"proof": preset.proof, "part": goal.part.name, "clock_mhz": goal.clock.mhz}
    packages = (*_PACKAGES, "matplotlib")
    after = (SIMULATE, TUNE, *stages)
    return Stage(PERFORMANCE, "Judge all track finders", work, settings, after, sources, packages)


def _perform(at: Workplace, preset: TracksPreset, seed: int, goal: Goal) -> None:
    from hairtrigger.report import strips_tracks as page
    from hairtrigger.runs.gather import commit, versions
    from hairtrigger.studies.strips_tracks import CUT_RATE, RATES, test_name

    noise = [sample(at.inputs, test_name(False, rate)) for rate in RATES]
    muons = [sample(at.inputs, test_name(True, rate)) for rate in RATES]
    cutting = sample(at.inputs, "cut_noise")
    finders = _finders(at.inputs, preset)
    methods = []
    for number, (name, (speak, weights, cut)) in enumerate(finders.items()):
        at.progress(number, len(finders))
        judged = [(speak(a), speak(b), b.truth) for a, b in zip(noise, muons, strict=True)]
        methods.append(
            page.method(name, weights, RATES, judged, speak(cutting), cut, preset.fake_rate)
        )
    found = page.TracksPerformance(
        preset=preset.name,
        seed=seed,
        fake_rate=preset.fake_rate,
        cut_rate_khz_cm2=CUT_RATE,
        train_chambers=2 * preset.train,
        rates_khz_cm2=RATES,
        occupancy=tuple(page.occupancy(s) for s in noise),
        prompt_occupancy=tuple(page.prompt_occupancy(s) for s in noise),
        methods=tuple(methods),
        chips=tuple(_chip_record(at.inputs, name, preset, goal) for name in NETWORKS),
        commit=commit(),
        versions=versions(),
    )
    (at.folder / FILES[0]).write_text(to_text(found), encoding="utf-8")
    (at.folder / FILES[1]).write_text(page.tracks_picture(found), encoding="utf-8")


def _finders(inputs: Mapping[str, Path], preset: TracksPreset) -> dict[str, Any]:
    """Of each method by its name: what makes `Said` of a Sample, how many weights it has, and its
    cut, None where that is still to be chosen."""
    from hairtrigger.studies.strips_roads import Baselines, layout_of, said_by
    from hairtrigger.studies.strips_tracks import CONFIG, PREPARE, said
    from hairtrigger.studies.strips_tracks_samples import unpack
    from hairtrigger.train import predict

    def in_float(name: str) -> Any:
        model = model_of(inputs[f"{name}_float"])
        return lambda sample: said(predict(model, sample.packed, PREPARE[name]))

    def in_chip(name: str) -> Any:
        graph, cut = read_graph(inputs[f"{name}_convert"]), _cut(inputs, name)

        def speak(sample: Sample) -> Said:
            outputs, keep = graph_codes(graph, name, sample)
            if ((outputs[:, 0] * 2.0 ** -_lsb(graph) >= cut.value) != (keep[:, 0] != 0)).any():
                raise MismatchError(
                    f"the chip of the {NETWORKS[name]} keeps others than those over its cut",
                    "report it with the Graph: this is an error of hairtrigger",
                )
            return said(outputs * 2.0 ** -_lsb(graph))

        return speak

    def without(tuned: Tuned) -> Any:
        layout = layout_of(CONFIG)
        return lambda sample: said_by(tuned.name, unpack(sample.packed), layout, tuned.search)

    found: dict[str, Any] = {}
    for name, title in NETWORKS.items():
        weights = [
            read_record(Learned, inputs[stage] / LEARNED).weights
            for stage in (f"{name}_float", name)
        ]
        found[f"{title}, chip"] = (in_chip(name), weights[1], _cut(inputs, name).value)
        found[f"{title}, float"] = (in_float(name), weights[0], None)
    for tuned in read_record(Baselines, inputs[TUNE] / BASELINES).tuned:
        found[tuned.name] = (without(tuned), None, None)
    return found


def _lsb(graph: Graph) -> int:
    return graph.output_types[0].lsb


def _cut(inputs: Mapping[str, Path], name: str) -> TrackCut:
    return read_record(TrackCut, inputs[f"{name}_convert"] / CUT)


def _chip_record(
    inputs: Mapping[str, Path], name: str, preset: TracksPreset, goal: Goal
) -> TracksChip:
    """What is known of a network's chip; its C++ is compared with the emulator here."""
    import numpy as np

    from hairtrigger.engines import CPP, EMULATOR, run
    from hairtrigger.report.strips_tracks import TracksChip
    from hairtrigger.report.summary import Chip, Compared, Proof, Synthesis
    from hairtrigger.studies.strips_tracks import PREPARE

    chip = read_record(Chip, inputs[f"{name}_build"] / "chip.json")
    proof = read_record(Proof, inputs[f"{name}_verify"] / "proof.json")
    counted = read_record(Synthesis, inputs[f"{name}_synthesise"] / "synthesis.json")
    graph = read_graph(inputs[f"{name}_convert"])
    hits = PREPARE[name](proof_sample(inputs, preset.proof).packed)
    ours, theirs = (run(graph, hits, engine=engine).codes for engine in (EMULATOR, CPP))
    wrong = sum(int(np.count_nonzero(a != b)) for a, b in zip(ours, theirs, strict=True))
    if wrong:
        raise MismatchError(
            f"the generated C++ of the {NETWORKS[name]} differs from the emulator in {wrong} "
            "numbers",
            "report it with the Graph: this is an error of hairtrigger",
        )
    numbers = sum(values.size for values in ours)
    cpp = Compared("generated C++", "", len(hits), numbers, wrong)
    cut = _cut(inputs, name)
    return TracksChip(
        network=NETWORKS[name],
        part=chip.part,
        clock_mhz=goal.clock.mhz,
        latency_clocks=proof.latency_clocks,
        latency_ns=chip.latency_ns,
        interval_clocks=chip.interval_clocks,
        interval_ns=chip.interval_ns,
        resources=counted.resources,
        engines=(*proof.engines, cpp),
        cut_passed=cut.passed,
        cut_noise=cut.noise,
        ebops=read_record(Learned, inputs[name] / LEARNED).history.ebops[-1],
    )


def tracks_performance_of(folder: Path) -> TracksPerformance:
    """What a finished run left in its folder of stages. Raises StorageError."""
    from hairtrigger.report.strips_tracks import TracksPerformance as Record

    return read_record(Record, folder / PERFORMANCE / FILES[0])
