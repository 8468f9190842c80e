"""The last stages of the strips study: every method on the test planes, figures and rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hairtrigger.pipeline import Stage, Workplace
from hairtrigger.records import read_record, to_text
from hairtrigger.runs.chip import read_graph
from hairtrigger.runs.gather import EVALUATION

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hairtrigger.graph import Graph
    from hairtrigger.report.strips import Said
    from hairtrigger.report.summary import Row
    from hairtrigger.studies.strips import StripsPreset
    from hairtrigger.studies.strips_samples import Candidates

PERFORMANCE = "performance"
FILES = tuple(f"{PERFORMANCE}.{suffix}" for suffix in ("json", "svg"))
LIKELIHOOD = "likelihood"
TRACKS = "tracks_performance"
SOURCES = (
    *("fixed.py", "graph", "engines.py", "backends", "cpp", "frontends", "metrics.py"),
    *("records.py", "report", "runs/strips.py", "runs/strips_judge.py", "runs/learn.py"),
    "runs/strips_engines.py",
    *("studies/strips.py", "studies/strips_front.py", "studies/strips_metrics.py"),
    *("studies/strips_rivals.py", "studies/strips_samples.py", "runs/strips_tracks.py"),
)
PACKAGES = ("numpy", "keras", "jax", "matplotlib")


def judge_stages(preset: StripsPreset, seed: int) -> tuple[Stage, Stage]:
    """Stage ``performance``, which judges, and ``evaluate``, which makes the report's rows."""
    networks = tuple(network_names())

    def perform(at: Workplace) -> None:
        _perform(at, preset, seed)

    def evaluate(at: Workplace) -> None:
        _evaluate(at, preset, seed)

    settings = {"preset": preset.name, "seed": seed}
    return (
        Stage(
            PERFORMANCE,
            "Judge all methods",
            perform,
            settings,
            ("lessons", "exam", *networks, "convert"),
            SOURCES,
            PACKAGES,
        ),
        Stage(
            "evaluate",
            "Gather the figures",
            evaluate,
            settings,
            (PERFORMANCE, TRACKS, *networks, "verify", "build", "c_simulation", "timing"),
            SOURCES,
            PACKAGES,
        ),
    )


def network_names() -> dict[str, str]:
    """Stages that train a network, and what people call them; the chip's comes last."""
    from hairtrigger.report.strips import CHIP
    from hairtrigger.report.strips_rows import FLOAT
    from hairtrigger.runs.strips import INT8, fixed_name
    from hairtrigger.studies.strips import BITS

    fixed = {fixed_name(bits): f"{bits} bits" for bits in BITS}
    return {"float": FLOAT, **fixed, INT8: "int8 by tensor", "student": CHIP}


def _perform(at: Workplace, preset: StripsPreset, seed: int) -> None:
    from hairtrigger.report import strips as page
    from hairtrigger.report.strips_figures import draw_strips
    from hairtrigger.report.strips_rows import FLOAT
    from hairtrigger.runs.gather import commit, versions
    from hairtrigger.runs.strips import STUDY, lessons, sample
    from hairtrigger.studies.strips import ANGLES_DEG, MUON_SHARE, RATE_KHZ_CM2, test_name
    from hairtrigger.studies.strips_rivals import learn_likelihood
    from hairtrigger.studies.strips_samples import MUON

    networks = {name: _network(at, stage) for stage, name in network_names().items()}
    rates = (0.0, RATE_KHZ_CM2)
    samples = {
        rate: {angle: sample(at.inputs, test_name(angle, rate)) for angle in ANGLES_DEG}
        for rate in rates
    }
    said: dict[float, dict[float, dict[str, Said]]] = {rate: {} for rate in rates}
    done = 0
    for rate, of in samples.items():
        for angle, found in of.items():
            said[rate][angle] = {**_classical(found), **_all_say(networks, found)}
            at.progress(done := done + 1, 2 * len(ANGLES_DEG) + 2)
    methods = (page.CENTROID, page.PROJECTION, page.TRUE_ANGLE, *networks)
    choosing, without = lessons(at.inputs, "validation"), sample(at.inputs, "test_background")
    muons = choosing.select(choosing.truth["kind"] == MUON)
    likelihood = learn_likelihood(lessons(at.inputs, "train")).scores
    scores = {LIKELIHOOD: likelihood}
    scores |= {name: _score(one) for name, one in networks.items()}
    noisy = list(samples[RATE_KHZ_CM2].values())
    performance = page.StripsPerformance(
        study=STUDY,
        preset=preset.name,
        seed=seed,
        planes=preset.test,
        positions=tuple(
            page.positions(method, rate, samples[rate], said[rate], seed)
            for rate in rates
            for method in methods
        ),
        angles=tuple(
            page.angles(
                method,
                rate,
                samples[rate],
                {a: said[rate][a].get(method) for a in ANGLES_DEG},
            )
            for rate in rates
            for method in ("nominal", FLOAT, page.CHIP)
        ),
        bits=tuple(
            page.bits(name, rate, FLOAT, samples[rate], said[rate], seed)
            for rate in rates
            for name in networks
            if name != FLOAT
        ),
        picked=tuple(
            page.picked(
                name,
                MUON_SHARE,
                score(muons),
                noisy,
                [score(found) for found in noisy],
                score(without),
            )
            for name, score in scores.items()
        ),
        commit=commit(),
        versions=versions(),
    )
    (at.folder / FILES[0]).write_text(to_text(performance), encoding="utf-8")
    (at.folder / FILES[1]).write_text(draw_strips(performance), encoding="utf-8")


def _classical(found: Candidates) -> dict[str, Said]:
    from hairtrigger.report import strips as page
    from hairtrigger.studies.strips_rivals import centroid, time_projection

    return {
        page.CENTROID: page.Said(centroid(found)),
        page.PROJECTION: page.Said(time_projection(found)),
        page.TRUE_ANGLE: page.Said(time_projection(found, true_angle=True)),
    }


def _network(at: Workplace, stage: str) -> Any:
    """A network as a function of candidates, to outputs (n, `OUTPUTS`): the float one in Keras, the
    others as Graphs, the chip's as it was converted."""
    from hairtrigger.frontends.hgq import from_hgq
    from hairtrigger.graph.passes import optimise
    from hairtrigger.runs.learn import model_of
    from hairtrigger.studies.strips import inputs
    from hairtrigger.train import predict

    if stage == "float":
        model = model_of(at.inputs[stage])
        return lambda found: predict(model, inputs(found)).astype(float)
    if stage == "student":
        graph = read_graph(at.inputs["convert"])
    else:
        graph = optimise(from_hgq(model_of(at.inputs[stage]), name=stage))
    return lambda found: _graph_says(graph, inputs(found))


def _graph_says(graph: Graph, given: NDArray[np.float32]) -> NDArray[np.float64]:
    from hairtrigger.engines import run

    return run(graph, given).values[0]


def _all_say(networks: Mapping[str, Any], found: Candidates) -> dict[str, Said]:
    from hairtrigger.report.strips import Said

    told = {name: network(found) for name, network in networks.items()}
    return {name: Said(y[:, 1], y[:, 0], y[:, 2]) for name, y in told.items()}


def _score(network: Any) -> Any:
    return lambda found: network(found)[:, 0]


def _evaluate(at: Workplace, preset: StripsPreset, seed: int) -> None:
    from hairtrigger.report import strips as page
    from hairtrigger.report import strips_rows as rows
    from hairtrigger.runs.learn import LEARNED, Learned
    from hairtrigger.studies.strips import sources

    found = read_record(page.StripsPerformance, at.inputs[PERFORMANCE] / FILES[0])
    learned = {}
    for stage, name in network_names().items():
        one = read_record(Learned, at.inputs[stage] / LEARNED)
        learned[name] = (one.weights, one.history)
    extra = [*_chip_rows(at.inputs), *_track_rows(at.inputs)]
    made = rows.evaluation(found, learned, sources(preset, seed), extra)
    (at.folder / EVALUATION).write_text(to_text(made), encoding="utf-8")


def _chip_rows(inputs: Mapping[str, Path]) -> list[Row]:
    """What only the chip has: clocks, and how far all engines agree."""
    from hairtrigger.report.summary import Chip, Estimate, Proof, Row
    from hairtrigger.runs.strips_engines import C_SIMULATION, TIMING, CSimulation, Timings

    chip = read_record(Chip, inputs["build"] / "chip.json")
    proof = read_record(Proof, inputs["verify"] / "proof.json")
    simulated = read_record(CSimulation, inputs["c_simulation"] / C_SIMULATION)
    differ = sum(engine.differences for engine in proof.engines) + simulated.differ
    events = min(proof.events, simulated.events)
    engines = ", ".join((*(e.engine for e in proof.engines), f"{simulated.backend} C simulation"))

    timed = read_record(Timings, inputs["timing"] / TIMING)
    cpp, onnx = timed.engines
    how_timed = (
        f"a call from Python, median of {cpp.calls:,}; {cpp.floor_ns / 1000:.2g} us of it compute "
        f"nothing; load {timed.busy:.1f} a processor"
    )
    ratio = cpp.p50_ns / onnx.p50_ns

    def row(
        key: str, label: str, how: str, better: str, value: float, n: int, unit: str = ""
    ) -> Row:
        return Row(key, label, how, unit, better, False, (Estimate(value, value, value, n),))

    return [
        row("compared", "clusters that all engines were compared on", engines, "high", events, 1),
        row("differences", "numbers that differ", "of all engines together", "low", differ, events),
        row(
            "interval_clocks", "clocks from cluster to cluster", "", "low", chip.interval_clocks, 1
        ),
        row("cpu_us", "generated C++, one cluster", how_timed, "low", cpp.p50_ns / 1000, 1, "us"),
        row("cpu_ratio", "the same over ONNX Runtime's", onnx.words, "low", ratio, 1),
    ]


TRACK_KEYS = {"CNN, chip": "tracks", "RNN, chip": "rnn_tracks"}
"""Methods of the other half whose figures at `CUT_RATE` are rows, by what their keys begin with."""


def _track_rows(inputs: Mapping[str, Path]) -> list[Row]:
    """Tracks at the background that the goals name; their own section has the rest."""
    from hairtrigger.report.strips_tracks import TracksPerformance
    from hairtrigger.report.summary import Row
    from hairtrigger.runs.strips_tracks import FILES as TRACK_FILES
    from hairtrigger.studies.strips_tracks import CUT_RATE

    found = read_record(TracksPerformance, inputs[TRACKS] / TRACK_FILES[0])
    rows: list[Row] = []
    for method in found.methods:
        if method.name not in TRACK_KEYS:
            continue
        key = TRACK_KEYS[method.name]
        (at,) = (p for p in method.points if p.rate_khz_cm2 == CUT_RATE)
        how = f"{method.name}, {CUT_RATE:g} kHz/cm2"
        for name, label, better, value in (
            (f"{key}_15", "tracks found", "high", at.efficiency),
            (f"{key}_right_15", "tracks found at the right place", "high", at.right),
            (f"{key}_fakes_15", "fake tracks", "low", at.fakes),
        ):
            rows.append(Row(name, label, how, "", better, False, (value,)))
    return rows
