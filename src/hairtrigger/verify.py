"""Verifies that all engines decide the same: equal integers, event by event.

Keras, ONNX Runtime and the simulated Verilog are compared with the emulator, which defines what a
Graph means, on the study's own events and on adversarial ones. A difference is shrunk to one event
with as few non-zero inputs as possible, and to the first node that differs, and saved.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hairtrigger.errors import InputError, MismatchError, StorageError
from hairtrigger.fixed import IntArray
from hairtrigger.graph.emulate import emulate_codes
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.ops import Constant, Input
from hairtrigger.graph.stimulus import extreme_codes, join_events, random_codes
from hairtrigger.rtl.design import Design, compile_graph

if TYPE_CHECKING:
    from hairtrigger.backends.hls import HlsArtifact

Codes = tuple[IntArray, ...]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Engine:
    """Something that runs a Graph. ``any_graph``: can it run parts of the Graph too."""

    name: str
    version: str
    run: Callable[[Graph, Codes], Codes]
    any_graph: bool


@dataclass(frozen=True)
class Compared:
    """One engine beside the emulator: events and output numbers compared, and those that differ.

    ``reproducer``: where the smallest differing event was saved, or None.
    """

    engine: str
    version: str
    events: int
    values: int
    differences: int
    reproducer: Path | None = None


@dataclass(frozen=True)
class Certificate:
    """What was compared. ``adversarial`` of the ``events`` were made to hurt, ``random`` drawn from
    ``seed``, the rest given. ``latency_clocks`` was counted in the simulated Verilog."""

    graph: str
    events: int
    adversarial: int
    random: int
    seed: int
    latency_clocks: int | None
    compared: tuple[Compared, ...]

    @property
    def passed(self) -> bool:
        """No engine differs anywhere."""
        return all(entry.differences == 0 for entry in self.compared)


def verify(
    graph: Graph,
    events: Sequence[IntArray] | None = None,
    *,
    model: Any = None,
    design: Design | None = None,
    hls: HlsArtifact | None = None,
    random_events: int = 1000,
    seed: int = 1,
    folder: Path | str = "reproducers",
    progress: Progress | None = None,
    strict: bool = True,
) -> Certificate:
    """Run the same events through every engine at hand and compare all output integers.

    ``events``: input codes (`hairtrigger.graph.encode` makes them), one array (events, *shape) for
    each Input; adversarial and ``random_events`` random ones are added. ``model``: the Keras model
    that the Graph came from; ``design``: the compiled Verilog; ``hls``: the HLS project of the
    model, whose C simulation is run. Without them those are left out. A Graph with registers takes
    the events as its steps, in turn from reset; ONNX Runtime, which has none, is left out. Raises
    `MismatchError` for a difference, with the reproducer saved under ``folder``, unless ``strict``
    is False; `InputError` where the design or the project is not of this Graph.
    """
    if design is not None and design.graph != graph:
        raise InputError(
            "The design was compiled from another Graph.", "Compile this Graph, or verify that one."
        )
    adversarial = extreme_codes(graph)
    drawn = random_codes(graph, random_events, seed)
    if hls is not None and (hls.reference.entry != graph or hls.reference.exit != graph):
        raise InputError(
            "The HLS project is of another Graph, or has functions before or behind the network.",
            "Emit the project of this Graph, or use its own verify().",
        )
    parts = [adversarial, drawn, *([tuple(events)] if events is not None else [])]
    codes = join_events(parts)
    say = progress or (lambda text: None)
    say("emulator")
    expected = emulate_codes(graph, codes)
    latencies: list[int] = []
    compared = [_own_entry(graph, expected)]
    for engine in _engines(graph, model, design, hls, latencies):
        say(engine.name)
        compared.append(_compare(engine, graph, codes, expected, Path(folder)))
    certificate = Certificate(
        graph=graph.name,
        events=len(codes[0]),
        adversarial=len(adversarial[0]),
        random=random_events,
        seed=seed,
        latency_clocks=latencies[0] if latencies else None,
        compared=tuple(compared),
    )
    for entry in certificate.compared:
        if strict and entry.differences:
            raise MismatchError(
                f"{entry.engine} differs from the emulator in {entry.differences} of "
                f"{entry.values} numbers.",
                f"The smallest differing event is saved in {entry.reproducer}.",
            )
    return certificate


def _own_entry(graph: Graph, expected: Codes) -> Compared:
    from hairtrigger import __version__

    values = sum(x.size for x in expected)
    return Compared("emulator", __version__, len(expected[0]), values, 0)


# --- engines -----------------------------------------------------------------------------------


def _engines(
    graph: Graph,
    model: Any,
    design: Design | None,
    hls: HlsArtifact | None,
    latencies: list[int],
) -> list[Engine]:
    """The engines at hand; Verilator's latency is put into ``latencies``."""
    found: list[Engine] = []
    if model is not None:
        found.append(_keras(model))
    if graph.pure:  # ONNX keeps nothing from one event to the next
        found.append(_onnx_runtime(graph))
    if design is not None:
        found.append(_verilator(design, latencies))
    if hls is not None:
        found.append(_c_simulation(hls))
    return found


def _keras(model: Any) -> Engine:
    from hairtrigger.frontends.hgq import keras_values
    from hairtrigger.frontends.keras_file import import_keras

    keras = import_keras()
    version = f"{keras.__version__} on {keras.backend.backend()}"
    return Engine("Keras", version, lambda g, codes: keras_values(model, g, codes), False)


def _onnx_runtime(graph: Graph) -> Engine:
    from hairtrigger.engines import FP32, FP64, choose_engine, run_codes

    chosen, _ = choose_engine(graph, None)
    # Not the engine that `run` would fall to: that may be the emulator itself.
    name = chosen if chosen in (FP32, FP64) else FP64
    import onnxruntime

    return Engine(
        "ONNX Runtime",
        f"{onnxruntime.__version__} ({name})",
        lambda g, codes: run_codes(g, codes, engine=name).codes,
        True,
    )


def _verilator(design: Design, latencies: list[int]) -> Engine:
    from hairtrigger.backends.rtl import simulate
    from hairtrigger.tools import verilator

    def run(graph: Graph, codes: Codes) -> Codes:
        own = (
            design
            if graph == design.graph
            else compile_graph(graph, design.part, design.clock, interval=design.interval)
        )
        result = simulate(own, codes)
        if own is design:
            latencies.append(result.latency)
        return result.codes

    return Engine("Verilator", verilator.version(), run, True)


def _c_simulation(hls: HlsArtifact) -> Engine:
    from hairtrigger.hls.convert import version

    name = f"hls4ml's C simulation ({hls.target.io_type})"
    return Engine(name, version(), lambda g, codes: hls.run_codes(codes), False)


# --- comparing and shrinking -------------------------------------------------------------------


def _compare(engine: Engine, graph: Graph, codes: Codes, expected: Codes, folder: Path) -> Compared:
    actual = engine.run(graph, codes)
    wrong = [a != b for a, b in zip(actual, expected, strict=True)]
    values = sum(x.size for x in expected)
    differences = sum(int(x.sum()) for x in wrong)
    entry = Compared(engine.name, engine.version, len(codes[0]), values, differences)
    if not differences:
        return entry
    events = np.flatnonzero(np.any([x.reshape(len(x), -1).any(axis=1) for x in wrong], axis=0))
    first = int(events[0])
    # What a Graph with registers gives depends on all events before.
    since = first if graph.pure else 0
    event = tuple(x[since : first + 1] for x in codes)
    small = shrink_event(event, lambda x: _differs(engine, graph, x))
    return replace(entry, reproducer=_save(engine, graph, small, folder))


def _differs(engine: Engine, graph: Graph, event: Codes) -> bool:
    actual, expected = engine.run(graph, event), emulate_codes(graph, event)
    return any(not np.array_equal(a, b) for a, b in zip(actual, expected, strict=True))


def shrink_event(event: Codes, differs: Callable[[Codes], bool]) -> Codes:
    """The event with as many inputs set to zero as the difference allows.

    Tries ever smaller groups of the inputs that are not zero. An event that differs only among
    others (a fault of the pipeline) is returned as it is.
    """
    if not differs(event):
        return event
    shapes = [x.shape for x in event]
    flat = np.concatenate([x.ravel() for x in event])
    splits = np.cumsum([x.size for x in event])[:-1]

    def split(values: IntArray) -> Codes:
        parts = np.split(values, splits)
        return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))

    size = max(1, np.count_nonzero(flat))
    while True:
        live = np.flatnonzero(flat)
        for start in range(0, len(live), size):
            tried = flat.copy()
            tried[live[start : start + size]] = 0
            if differs(split(tried)):
                flat = tried
        if size == 1:
            return split(flat)
        size = (size + 1) // 2


def first_differing_node(engine: Engine, graph: Graph, event: Codes) -> int | None:
    """The first node whose value differs when every node is an output; None where none does."""
    shown = [n for n, node in enumerate(graph.nodes) if not isinstance(node.op, Input | Constant)]
    names = tuple(f"node{n}" for n in shown)
    opened = replace(graph, outputs=tuple(shown), output_names=names)
    actual, expected = engine.run(opened, event), emulate_codes(opened, event)
    for place, a, b in zip(shown, actual, expected, strict=True):
        if not np.array_equal(a, b):
            return place
    return None


def _save(engine: Engine, graph: Graph, event: Codes, folder: Path) -> Path:
    """Write what is needed to see the difference again; gives the folder."""
    node = first_differing_node(engine, graph, event) if engine.any_graph else None
    record = {
        "engine": engine.name,
        "version": engine.version,
        "first_differing_node": node,
        "label": graph.nodes[node].label if node is not None else None,
        "inputs": [x.tolist() for x in event],
        "expected": [x.tolist() for x in emulate_codes(graph, event)],
        "actual": [x.tolist() for x in engine.run(graph, event)],
    }
    where = folder / f"{graph.name}-{engine.name.lower().replace(' ', '-')}"
    try:
        where.mkdir(parents=True, exist_ok=True)
        (where / "graph.txt").write_text(str(graph), encoding="utf-8")
        (where / "difference.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"{engine.name} differs from the emulator, and the reproducer cannot be written to "
            f"{where}: {error.strerror}.",
            "Choose a folder that can be written.",
        ) from None
    return where
