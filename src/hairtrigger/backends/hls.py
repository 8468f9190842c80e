"""Backend ``hls``: an HLS project by hls4ml, with functions of the user's own injected, and its C
simulation compared with the emulator. docs/backends/hls.md describes it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hairtrigger.errors import HairtriggerError, MismatchError, UnsupportedError
from hairtrigger.fixed import IntArray, shift_codes
from hairtrigger.graph.graph import Graph
from hairtrigger.hls import simulator
from hairtrigger.hls.alone import try_alone
from hairtrigger.hls.compare import Verified, compare, to_port
from hairtrigger.hls.injection import Injection
from hairtrigger.hls.project import Project, identifier, write_project
from hairtrigger.hls.reference import Reference, all_events
from hairtrigger.targets import find_part, parse_clock


@dataclass(frozen=True)
class Target:
    """What to write a project for.

    ``model``: the Keras model, where a Graph is emitted: hls4ml reads models, not Graphs, and the
    Graph is what the project is compared with. ``backend``: "Vitis" or "Vivado"; ``io_type``:
    "io_parallel" or "io_stream"; ``hls_config``: hls4ml's own, for strategies and reuse factors.
    """

    model: Any = None
    io_type: str = "io_parallel"
    backend: str = "Vitis"
    part: str = "xcvu13p"
    clock: str = "320 MHz"
    injections: tuple[Injection, ...] = ()
    hls_config: Mapping[str, Any] | None = None
    name: str = ""


@dataclass(frozen=True)
class HlsArtifact:
    """An HLS project on disk, and the reference that it must equal."""

    reference: Reference
    target: Target = field(repr=False)
    project: Project
    files: tuple[Path, ...] = field(repr=False)
    backend: str = "hls"

    @property
    def graph(self) -> Graph:
        """The network."""
        return self.reference.graph

    def build(self) -> None:
        """Compile the C simulation. Raises `ToolError`, naming the injection at fault."""
        simulator.build(self.project)

    def run_codes(self, codes: Sequence[IntArray]) -> tuple[IntArray, ...]:
        """Output codes of the C simulation, in units of the Graph's types."""
        entry = [op.type for op in self.reference.entry.input_ops]
        ports = [x.port for x in self.project.inputs]
        given = [to_port(x, t, p) for x, t, p in zip(codes, entry, ports, strict=True)]
        found = simulator.build(self.project).run(given).outputs
        types = self.reference.exit.output_types
        outs: list[IntArray] = []
        for x, t, tensor in zip(found, types, self.project.outputs, strict=True):
            by = t.lsb - tensor.port.format.fraction
            moved = shift_codes(x, by)
            if by < 0 and (shift_codes(moved, -by) != x).any():
                raise MismatchError(
                    f"Output {tensor.name!r} has finer steps than the Graph's 2**{-t.lsb}.",
                    "Run verify(), which says which layer differs.",
                )
            outs.append(moved.reshape(len(x), *t.shape))
        return tuple(outs)

    @cached_property
    def _plain(self) -> Project | None:
        """The project without its injections, in a folder of its own; None where it has none."""
        if not self.project.placed:
            return None
        return _write(self.target, self.project.folder / "plain", self.project.name, ())

    def verify(
        self,
        codes: Sequence[IntArray] | None = None,
        *,
        random_events: int = 1000,
        seed: int = 1,
        check: bool = False,
    ) -> Verified:
        """Compare the C simulation with the emulator, integer by integer; before that, each
        injection that has a meaning is tried alone, on every code of its input (`try_alone`).

        ``codes``: events, as codes of `Reference.entry`'s inputs; adversarial ones (extremes,
        and every code of an input) and random ones are added. ``check``: with the bounds of all
        arrays watched, which takes several times as long. Raises `MismatchError` for the first
        difference, with injection or layer, event, element and codes, `ToolError`.
        """
        for placed in self.project.placed:
            own = placed.injection
            if own.meaning is not None:
                try_alone(own, self.project.io_type, seed=seed, check=check)
        events = all_events(self.reference.entry, codes, random_events, seed)
        plain = None if self._plain is None else simulator.build(self._plain)
        made = simulator.build(self.project, checked=check)
        return compare(self.reference, made, plain, events)


def unsupported(graph: Graph | Any, target: Target | None = None) -> list[str]:
    """Every reason why no project can be made of the Graph or Keras model; empty if one can."""
    target = target or Target()
    try:
        graph, target = _both(graph, target)
        Reference.of(graph, target.injections)
        with tempfile.TemporaryDirectory(prefix="hairtrigger-hls-") as work:
            _write(target, Path(work) / "project", "probe", target.injections)
    except HairtriggerError as error:
        return [error.problem]
    return []


def emit(graph: Graph | Any, target: Target | None = None, folder: Path | str = ".") -> HlsArtifact:
    """Write the HLS project of a Keras (HGQ2) model, or of a Graph with ``target.model``, into
    ``folder``/NAME.

    Raises `UnsupportedError` for a Graph without its model or with registers, `ConversionError`
    where hls4ml or the frontend refuses the model, `InputError` for an injection that does not
    fit, `ToolError` without hls4ml, `StorageError`.
    """
    graph, target = _both(graph, target or Target())
    reference = Reference.of(graph, target.injections)
    name = identifier(target.name or graph.name)
    project = _write(target, Path(folder) / name, name, target.injections)
    return HlsArtifact(reference, target, project, project.files)


def _both(given: Graph | Any, target: Target) -> tuple[Graph, Target]:
    """The Graph, and the target with its model."""
    if isinstance(given, Graph):
        if target.model is None:
            raise UnsupportedError(
                f"Graph {given.name!r} has no Keras model beside it, and hls4ml reads models.",
                "Give Target(model=...), or emit the model itself.",
            )
        if not given.pure:
            raise UnsupportedError(
                f"Graph {given.name!r} has registers; a Keras model has none.",
                "Use the backend rtl.",
            )
        return given, target
    from hairtrigger.frontends.hgq import from_hgq

    return from_hgq(given), replace(target, model=given)


def _write(target: Target, folder: Path, name: str, injections: tuple[Injection, ...]) -> Project:
    part = find_part(target.part)
    return write_project(
        target.model,
        folder,
        name=name,
        backend=target.backend,
        io_type=target.io_type,
        part=part.vivado_name,
        clock_ns=round(parse_clock(target.clock).period_ns, 3),
        hls_config=target.hls_config,
        injections=injections,
    )
