"""The float network of a Graph: ONNX in float32 in which nothing is rounded.

For those who want a float network's speed, or want to see what quantisation costs. Its answers
are not the Graph's; `FloatArtifact.differences` says by how much. docs/backends/onnx.md has more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.backends.differences import Difference, differences
from hairtrigger.backends.onnx import (
    IR_VERSION,
    SUFFIX,
    Border,
    assemble,
    content_key,
    file_stem,
    properties_of,
    save,
    shape_problems,
)
from hairtrigger.backends.onnx_ops import write
from hairtrigger.backends.onnx_session import Session
from hairtrigger.backends.onnx_sheet import Sheet, Value
from hairtrigger.errors import StorageError, UnsupportedError
from hairtrigger.fixed import IntArray
from hairtrigger.graph.emulate import emulate_codes
from hairtrigger.graph.exact import intervals, live
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.types import Literal

if TYPE_CHECKING:
    import onnx

LARGEST = 100
"""Values and LSBs lie within ``2**-LARGEST`` to ``2**LARGEST``, so that a float32 holds them and
their products are neither subnormal nor infinite."""


@dataclass(frozen=True)
class FloatArtifact:
    """A float model on disk. It has no `run_codes`: its numbers are no codes."""

    files: tuple[Path, ...]
    graph: Graph
    backend: str = "onnx-float"

    def run_real(self, codes: Sequence[IntArray]) -> tuple[NDArray[np.float64], ...]:
        """Outputs (events, *shape) in units of the LSB of each output's type, not rounded, from
        codes of the inputs. Raises `StorageError`, `ToolError`."""
        path = self.files[0]
        try:
            model = path.read_bytes()
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
        session = Session(self.graph, model, content_key(self.graph), str(path))
        return tuple(y.astype(np.float64) for y in session.run_codes(codes))

    def differences(self, codes: Sequence[IntArray]) -> tuple[Difference, ...]:
        """Each output against the emulator, in LSB."""
        return differences(self.graph, emulate_codes(self.graph, codes), self.run_real(codes))


def unsupported(graph: Graph, target: Any = None) -> list[str]:
    """Every reason why there is no float model of the Graph; empty if there is one."""
    problems = shape_problems(graph)
    if problems:
        return problems
    for place in sorted(live(graph)):
        node = graph.nodes[place]
        literals = [value for value in vars(node.op).values() if isinstance(value, Literal)]
        fractions = [abs(node.type.lsb), *(abs(value.fraction) for value in literals)]
        top = int(np.where(node.type.width > 0, node.type.integer, 0).max(initial=0))
        if max([*fractions, top]) > LARGEST:
            problems.append(
                f"%{place} {type(node.op).__name__}: values or LSBs lie outside 2**-{LARGEST} to "
                f"2**{LARGEST}, which a float32 cannot hold."
            )
    return problems


def to_float_onnx(
    graph: Graph,
    *,
    border: Border = Border.VALUES,
    products: bool = False,
    events: int | str = "events",
    ir_version: int = IR_VERSION,
) -> onnx.ModelProto:
    """The Graph in float32 with every rounding left out.

    A Quantize that saturates clips to its range, one that wraps is left out; elements of no bits
    stay zero. A Table takes the nearest entry. Constants are those of the Graph. Inputs and
    outputs are those of `to_onnx`. ``events``: a number for a fixed batch. Raises
    `UnsupportedError` with every reason.
    """
    problems = unsupported(graph)
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise UnsupportedError(
            f"Graph {graph.name!r} has no float32 model:{listed}", "Use the emulator."
        )
    properties = {
        **properties_of(graph, border),
        "hairtrigger.exactness": "not exact: a float32 network without the Graph's roundings",
    }

    def body(sheet: Sheet, inputs: dict[int, Value]) -> list[Value]:
        return write(sheet, graph, intervals(graph), inputs)

    return assemble(
        graph,
        np.float32,
        border,
        properties,
        body,
        products=products,
        rounds=False,
        events=events,
        ir_version=ir_version,
    )


def emit(graph: Graph, target: Any = None, folder: Path | str = ".") -> FloatArtifact:
    """Write ``<name of the Graph>.float.onnx`` into ``folder``.

    Raises `UnsupportedError`, `StorageError`.
    """
    path = Path(folder) / f"{file_stem(graph)}.float{SUFFIX}"
    save(to_float_onnx(graph), path)
    return FloatArtifact((path,), graph)
