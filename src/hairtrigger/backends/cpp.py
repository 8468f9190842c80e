"""Backend ``cpp``: a Graph as C++ with a C interface, to be linked into a trigger's software.

docs/backends/cpp.md describes the files and the interface.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hairtrigger.cpp.example import example_text, makefile_text
from hairtrigger.cpp.library import compile_graph
from hairtrigger.cpp.source import Source, write_source
from hairtrigger.errors import StorageError, UnsupportedError
from hairtrigger.fixed import IntArray
from hairtrigger.graph.graph import Graph


@dataclass(frozen=True)
class Target:
    """``wide``: events that are worked on at once, 1 to 64; None for what fits the caches. 32 lanes
    of 16 bits fill one 512-bit register, two of 256 bits or four of 128 bits."""

    wide: int | None = None


@dataclass(frozen=True)
class CppArtifact:
    """A folder of sources: header, units, an example in C and a Makefile."""

    graph: Graph
    source: Source
    files: tuple[Path, ...]
    backend: str = "cpp"

    def build(self) -> None:
        """Compile for this machine. Raises `ToolError`, `StorageError`."""
        compile_graph(self.graph)

    def run_codes(self, codes: Sequence[IntArray]) -> tuple[IntArray, ...]:
        """Output codes from the compiled C++, from reset on."""
        library = compile_graph(self.graph)
        return tuple(x.astype("int64") for x in library(*codes))


def unsupported(graph: Graph, target: Target | None = None) -> list[str]:
    """Every reason why the Graph cannot become C++; empty if it can."""
    target = target or Target()
    if target.wide is not None and target.wide not in (1, 4, 8, 16, 32, 64):
        return [f"wide={target.wide}: events at once are 1, 4, 8, 16, 32 or 64."]
    try:
        write_source(graph, wide=target.wide)
    except UnsupportedError as error:
        return [error.problem]
    return []


def emit(graph: Graph, target: Target | None = None, folder: Path | str = ".") -> CppArtifact:
    """Write ``NAME.h``, ``NAME.cpp`` (and ``NAME_0.cpp`` ... for large Graphs), ``example.c`` and
    ``Makefile`` into ``folder``.

    Raises `UnsupportedError`, `StorageError`.
    """
    target = target or Target()
    problems = unsupported(graph, target)
    if problems:
        raise UnsupportedError(f"Graph {graph.name!r} cannot become C++: {'; '.join(problems)}")
    source = write_source(graph, wide=target.wide)
    texts = {
        **source.files,
        "example.c": example_text(graph, source.name),
        "Makefile": makefile_text(source),
    }
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Complete files take the place of old ones at once, so nothing half-written stays.
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder) as unfinished:
            for name, text in texts.items():
                (Path(unfinished) / name).write_text(text, encoding="utf-8")
            for name in texts:
                (Path(unfinished) / name).replace(folder / name)
    except OSError as error:
        raise StorageError(
            f"C++ cannot be written to {folder}: {error.strerror or error}.",
            "Give a folder that can be written, with space left.",
        ) from error
    return CppArtifact(graph, source, tuple(folder / name for name in texts))
