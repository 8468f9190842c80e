"""What a backend is: it turns a Graph into files that a tool can build and run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from hairtrigger.fixed import IntArray
from hairtrigger.graph.graph import Graph


class Artifact(Protocol):
    """What a backend wrote for one Graph."""

    @property
    def backend(self) -> str:
        """Name of the backend."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that was written."""
        ...

    def build(self) -> None:
        """Do what a tool must do before `run_codes`. Raises `ToolError` where one is missing."""
        ...

    def run_codes(self, codes: Sequence[IntArray]) -> tuple[IntArray, ...]:
        """The outputs' codes for the inputs' codes, arrays (events, *shape) in units of the LSB of
        each tensor: comparable with `hairtrigger.graph.emulate_codes`."""
        ...


@runtime_checkable
class Backend(Protocol):
    """A module, or an object, with these two functions. ``target`` is what the backend compiles
    for, such as a part and a clock; None is its default."""

    def unsupported(self, graph: Graph, target: Any = None) -> list[str]:
        """Every reason, all at once, why this backend cannot carry the Graph; empty if it can."""
        ...

    def emit(self, graph: Graph, target: Any = None, folder: Path | str = ".") -> Artifact:
        """Write the Graph into ``folder``, without any vendor's tool. Nothing half-written stays.

        Raises `UnsupportedError` with all of `unsupported`, `StorageError` for the folder.
        """
        ...
