"""ONNX: the Graph as a model that floating-point inference engines run without any rounding.

The model is in float32 where every intermediate result fits 24 bits (`fp32_exact`), else in
float64 where it fits 53; a Graph that fits neither is refused. docs/backends/onnx.md has the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hairtrigger import __version__
from hairtrigger.backends.onnx_ops import write
from hairtrigger.backends.onnx_session import KEY, Session
from hairtrigger.backends.onnx_sheet import Sheet, Value
from hairtrigger.errors import StorageError, UnsupportedError
from hairtrigger.fixed import IntArray
from hairtrigger.graph.exact import FLOAT32, FLOAT64, Exactness, FloatFormat, float_exact, intervals
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.text import OPS, print_graph
from hairtrigger.graph.types import TensorType

if TYPE_CHECKING:
    import onnx

OPSET = 18
IR_VERSION = 9
SUFFIX = ".onnx"


class Border(Enum):
    """What the inputs and outputs of a model hold."""

    VALUES = "values"
    """Real numbers on the grid of each type, as ``decode(encode(x))`` gives them."""
    CODES = "codes"
    """Inputs: integer codes in the smallest dtype that holds them; outputs: codes as floats."""


@dataclass(frozen=True)
class OnnxArtifact:
    """A model on disk, in the type ``carrier``; see `Artifact`."""

    backend: str
    files: tuple[Path, ...]
    graph: Graph
    carrier: FloatFormat

    def build(self) -> None:
        """Nothing to do: ONNX Runtime reads the file."""

    def run_codes(self, codes: Sequence[IntArray]) -> tuple[IntArray, ...]:
        """Through ONNX Runtime, from the file as it is on disk."""
        path = self.files[0]
        try:
            model = path.read_bytes()
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
        session = Session(self.graph, model, content_key(self.graph), str(path))
        return tuple(y.astype(np.int64) for y in session.run_codes(codes))


def unsupported(graph: Graph, target: Any = None) -> list[str]:
    """Every reason why no exact model of the Graph can be made; empty if one can."""
    problems = shape_problems(graph)
    if not problems and not float_exact(graph, FLOAT32).exact:
        problems += float_exact(graph, FLOAT64).reasons
    return problems


def emit(graph: Graph, target: Any = None, folder: Path | str = ".") -> OnnxArtifact:
    """Write ``<name of the Graph>.onnx`` into ``folder``, which is made if it is missing.

    Raises `UnsupportedError`, `StorageError`.
    """
    carrier = choose_carrier(graph)
    folder = Path(folder)
    path = folder / f"{file_stem(graph)}{SUFFIX}"
    save(to_onnx(graph, carrier=carrier), path)
    return OnnxArtifact("onnx", (path,), graph, carrier)


def choose_carrier(graph: Graph) -> FloatFormat:
    """The smaller of float32 and float64 that is exact. Raises `UnsupportedError` with reasons."""
    problems = unsupported(graph)
    if problems:
        raise _refusal(graph, "an exact ONNX model", problems)
    return FLOAT32 if float_exact(graph, FLOAT32).exact else FLOAT64


def to_onnx(
    graph: Graph,
    *,
    carrier: FloatFormat | None = None,
    border: Border = Border.VALUES,
    products: bool = False,
) -> onnx.ModelProto:
    """The Graph as an ONNX model that gives exactly the emulator's numbers.

    Inputs have shape (events, *shape) and the names of the Graph. ``carrier`` asks for `FLOAT32`
    or `FLOAT64`; None takes the smaller that is exact. ``products``: convolutions are written as
    matrix products, for engines that may choose Winograd or FFT (those of GPUs). Raises
    `UnsupportedError` with every reason where it is not exact.
    """
    carrier = carrier or choose_carrier(graph)
    exactness = float_exact(graph, carrier)
    problems = shape_problems(graph) or list(exactness.reasons)
    if problems:
        raise _refusal(graph, f"an exact {carrier.name} model", problems)
    return _model(graph, exactness, border, products)


def save(model: onnx.ModelProto, path: Path | str) -> None:
    """Write a model; a file of that name is replaced only by a complete one.

    Raises `StorageError`.
    """
    path = Path(path)
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(model.SerializeToString())
            file.flush()
            os.fsync(file.fileno())
        Path(part).chmod(0o644)
        Path(part).replace(path)
    except OSError as error:
        if part is not None:
            with contextlib.suppress(OSError):
                Path(part).unlink()
        raise StorageError(
            f"{path} cannot be written: {error.strerror}.",
            "Free space, or choose a folder that can be written.",
        ) from error


def file_stem(graph: Graph) -> str:
    """The Graph's name as the beginning of a file's name."""
    stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in graph.name).lstrip(".")
    return stem or "graph"


def code_dtype(t: TensorType) -> np.dtype[Any]:
    """The smallest integer dtype that holds every code of a type."""
    low, high = t.range().at(t.lsb)
    both = np.min_scalar_type(int(high.max(initial=0))), np.min_scalar_type(int(low.min(initial=0)))
    return np.promote_types(*both)


def content_key(graph: Graph) -> str:
    """What a model's property says of the Graph that it was made from."""
    return hashlib.sha256(print_graph(graph).encode()).hexdigest()


def _refusal(graph: Graph, what: str, problems: Sequence[str]) -> UnsupportedError:
    listed = "".join(f"\n  - {problem}" for problem in problems)
    return UnsupportedError(
        f"Graph {graph.name!r} has no {what.removeprefix('an ')}:{listed}",
        "Quantize what these nodes read to fewer bits, or use the emulator.",
    )


def shape_problems(graph: Graph) -> list[str]:
    """What an ONNX model of any number type cannot express."""
    problems: list[str] = []
    if not graph.inputs:
        problems.append("The Graph has no Input, so nothing says how many events there are.")
    if not graph.pure:
        problems.append(
            f"The Graph has {len(graph.updates)} registers; an ONNX model keeps nothing from one "
            "event to the next."
        )
    for place, node in enumerate(graph.nodes):
        name = type(node.op).__name__
        if type(node.op) not in OPS.values():
            problems.append(f"%{place} {name}: this op has no ONNX form.")
    return problems


def _model(
    graph: Graph, exactness: Exactness, border: Border, products: bool = False
) -> onnx.ModelProto:
    real = np.float32 if exactness.format is FLOAT32 else np.float64
    properties = _metadata(graph, exactness, border)

    def body(sheet: Sheet, inputs: dict[int, Value]) -> list[Value]:
        return write(sheet, graph, intervals(graph), inputs)

    return assemble(graph, real, border, properties, body, products=products)


Body = Callable[[Sheet, dict[int, Value]], list[Value]]
"""Writes the nodes between the Values of the inputs, by place, and those of the outputs."""


def assemble(
    graph: Graph,
    real: type[np.floating[Any]],
    border: Border,
    properties: dict[str, str],
    body: Body,
    *,
    products: bool = False,
    rounds: bool = True,
    events: int | str = "events",
    ir_version: int = IR_VERSION,
) -> onnx.ModelProto:
    """A model of a Graph's inputs and outputs, with what ``body`` writes between them.

    ``events``: a number where the batch is fixed. ``products``, ``rounds``: see `Sheet`.
    """
    from onnx import helper, numpy_helper

    in_names = [op.name or f"input{n}" for n, op in enumerate(graph.input_ops)]
    out_names = _distinct(graph.output_names, set(in_names))
    sheet = Sheet(real, {*in_names, *out_names}, products=products, rounds=rounds)
    inputs: dict[int, Value] = {}
    in_infos: list[onnx.ValueInfoProto] = []
    for name, place in zip(in_names, graph.inputs, strict=True):
        t = graph.nodes[place].type
        dtype = np.dtype(real)
        inputs[place] = Value(name, t.shape, np.asarray(0))
        if border is Border.CODES:
            dtype = code_dtype(t)
            sheet.where = f"{place}.Input"
            inputs[place] = Value(sheet.cast(name, real), t.shape, np.asarray(t.lsb))
        in_infos.append(_info(name, dtype, t, events))
    sheet.events_of(in_names[0])
    out_infos: list[onnx.ValueInfoProto] = []
    results = body(sheet, inputs)
    for name, value, t in zip(out_names, results, graph.output_types, strict=True):
        sheet.where = name
        scale = np.asarray(t.lsb if border is Border.CODES else 0)
        value = sheet.plain(sheet.tensor(sheet.scaled(value, scale)))
        sheet.nodes.append(helper.make_node("Identity", [value.name], [name], f"{name}.Output"))
        out_infos.append(_info(name, np.dtype(real), t, events))
    initializers = [numpy_helper.from_array(a, name) for name, a in sheet.constants.values()]
    found = helper.make_graph(sheet.nodes, graph.name or "graph", in_infos, out_infos, initializers)
    model = helper.make_model(
        found,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=ir_version,
        producer_name="hairtrigger",
        producer_version=__version__,
    )
    helper.set_model_props(model, properties)
    return model


def _distinct(names: Sequence[str], taken: set[str]) -> list[str]:
    """Names that are not empty and not taken; where they were, ``_out`` is appended."""
    found: list[str] = []
    for n, wanted in enumerate(names):
        name = wanted or f"output{n}"
        while name in taken or name in found:
            name += "_out"
        found.append(name)
    return found


def _info(name: str, dtype: np.dtype[Any], t: TensorType, events: int | str) -> onnx.ValueInfoProto:
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(dtype)
    return helper.make_tensor_value_info(name, kind, [events, *t.shape])


def _metadata(graph: Graph, exactness: Exactness, border: Border) -> dict[str, str]:
    return {
        **properties_of(graph, border),
        "hairtrigger.exactness": (
            f"exact in {exactness.format.name}: no intermediate result exceeds "
            f"{exactness.worst:,.0f} LSB of {exactness.format.most:,}"
        ),
    }


def properties_of(graph: Graph, border: Border) -> dict[str, str]:
    """What every model says of itself: version, Graph, border, fraction bits."""
    lsbs = {op.name: op.type.lsb for op in graph.input_ops}
    outs = dict(zip(graph.output_names, (t.lsb for t in graph.output_types), strict=True))
    return {
        "hairtrigger.version": __version__,
        "hairtrigger.graph": graph.name,
        KEY: content_key(graph),
        "hairtrigger.border": border.value,
        "hairtrigger.input_fraction_bits": json.dumps(lsbs),
        "hairtrigger.output_fraction_bits": json.dumps(outs),
    }
