"""Backend ``tensorrt``: a Graph for NVIDIA's GPUs, exact in float32 or quantised in int8.

``fp32`` is the exact model of `hairtrigger.backends.onnx`, with convolutions as matrix products
(TensorRT may choose Winograd for others) and TF32 off. ``int8`` is explicit QDQ. Without a GPU the
files are written, checked by TensorRT's documented rules and run in ONNX Runtime on the CPU.
docs/backends/tensorrt.md has the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hairtrigger.backends import tensorrt_build
from hairtrigger.backends.differences import Difference
from hairtrigger.backends.onnx import file_stem, save, shape_problems, to_onnx
from hairtrigger.backends.onnx_rules import View, operator_problems, qdq_problems
from hairtrigger.backends.qdq import TENSORRT, notes
from hairtrigger.backends.qdq import problems as int8_problems
from hairtrigger.backends.qdq_ops import QdqRun, to_qdq
from hairtrigger.errors import InputError, StorageError, UnsupportedError
from hairtrigger.fixed import IntArray
from hairtrigger.graph.exact import FLOAT32, float_exact
from hairtrigger.graph.graph import Graph

if TYPE_CHECKING:
    import onnx

KINDS = ("fp32", "int8")

OPSETS = range(9, 21)
"""What the parser of TensorRT 10.0 takes."""

OPERATORS = frozenset(
    [
        *("Abs", "Add", "ArgMax", "AveragePool", "Cast", "Ceil", "Clip", "Concat", "Constant"),
        *("Conv", "DequantizeLinear", "Equal", "Expand", "Floor", "Gather", "Gemm", "Greater"),
        *("GreaterOrEqual", "Identity", "MatMul", "Max", "MaxPool", "Min", "Mul", "Pad"),
        *("QuantizeLinear", "ReduceSum", "Relu", "Reshape", "Round", "Shape", "Sign", "Slice"),
        *("Sub", "Transpose"),
    ]
)
"""Those of our models that TensorRT 10.0's parser lists as supported."""


@dataclass(frozen=True)
class Target:
    """``kind``: "fp32" or "int8"; ``batches``: fewest, usual and most events of a call, for which
    `TensorRtArtifact.build` makes the engine."""

    kind: str = "fp32"
    batches: tuple[int, int, int] = (1, 1024, 4096)


@dataclass(frozen=True)
class TensorRtArtifact:
    """``<name>.trt-<kind>.onnx`` and the script that builds an engine of it by TensorRT alone."""

    graph: Graph
    target: Target
    files: tuple[Path, ...]
    backend: str = "tensorrt"

    @property
    def notes(self) -> list[str]:
        """Where the int8 network may differ from the Graph, and why."""
        return notes(self.graph, TENSORRT) if self.target.kind == "int8" else []

    def check(self) -> list[str]:
        """TensorRT's documented rules that the file breaks; empty if none. Raises
        `StorageError`."""
        import onnx

        try:
            model = onnx.load_model_from_string(self.files[0].read_bytes())
            onnx.checker.check_model(model, full_check=True)
        except OSError as error:
            raise StorageError(f"{self.files[0]} cannot be read: {error.strerror}.") from error
        except Exception as error:  # protobuf and the checker have errors of their own
            raise StorageError(f"{self.files[0]} is no ONNX model: {error}.") from error
        return check_model(model, self.target.kind)

    def differences(self, codes: Sequence[IntArray]) -> tuple[Difference, ...]:
        """The file as ONNX Runtime runs it on the CPU, against the emulator, in LSB."""
        return QdqRun(self.graph, self.files[0]).differences(codes)

    def build(self) -> None:
        """Build the engine, or take it from the cache. Raises `ToolError` ("not run: ...") where
        TensorRT or a GPU is missing."""
        from hairtrigger.backends.tensorrt_run import obtain_plan

        obtain_plan(self._model(), self.target.batches)

    def run_codes(self, codes: Sequence[IntArray]) -> tuple[IntArray, ...]:
        """Output codes from the GPU, those nearest to its numbers. Raises `ToolError` ("not run:
        ...") where TensorRT or a GPU is missing."""
        from hairtrigger.backends.tensorrt_run import TensorRtRunner

        runner = TensorRtRunner(self.graph, self.target.kind, self._model(), self.target.batches)
        try:
            return runner.run(codes)
        finally:
            runner.close()

    def _model(self) -> bytes:
        try:
            return self.files[0].read_bytes()
        except OSError as error:
            raise StorageError(f"{self.files[0]} cannot be read: {error.strerror}.") from error


def unsupported(graph: Graph, target: Target | None = None) -> list[str]:
    """Every reason why the Graph has no model for TensorRT; empty if it has one."""
    kind = _checked(target or Target()).kind
    if kind == "int8":
        return int8_problems(graph, TENSORRT) or check_model(_written(graph, kind), kind)
    found = shape_problems(graph) or list(float_exact(graph, FLOAT32).reasons)
    return found or check_model(_written(graph, kind), kind)


def to_model(graph: Graph, kind: str) -> onnx.ModelProto:
    """The ONNX model of a kind. Raises `UnsupportedError` with every reason, `InputError`."""
    problems = unsupported(graph, Target(kind))
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise UnsupportedError(
            f"Graph {graph.name!r} has no {kind} model for TensorRT:{listed}",
            "Quantize what these nodes read to fewer bits, or use another backend.",
        )
    return _written(graph, kind)


def _written(graph: Graph, kind: str) -> onnx.ModelProto:
    if kind == "int8":
        return to_qdq(graph, TENSORRT, "int8 model for TensorRT")
    return to_onnx(graph, carrier=FLOAT32, products=True)


def _checked(target: Target) -> Target:
    if target.kind not in KINDS:
        raise InputError(f"There is no kind {target.kind!r}.", f"Use one of {', '.join(KINDS)}.")
    least, usual, most = target.batches
    if not 1 <= least <= usual <= most:
        raise InputError(
            f"batches={target.batches} are no fewest, usual and most events.",
            "Give three whole numbers from 1 on that do not fall.",
        )
    return target


def check_model(model: onnx.ModelProto, kind: str) -> list[str]:
    """Rules of TensorRT 10's parser and of explicit quantisation that a model breaks.

    Sources: the operator list of the ONNX parser of TensorRT 10.0 (opsets, operators, types), and
    the TensorRT documentation on explicit quantisation (symmetric int8, scales and their axes).
    """
    import onnx

    view = View(model)
    found = list(operator_problems(view, "TensorRT", OPSETS, OPERATORS))
    found += list(qdq_problems(view, channels=True, power_of_two=False)) if kind == "int8" else []
    for name, array in view.arrays.items():
        if array.dtype == np.float64:
            found.append(f"{name}: TensorRT casts float64 down to float32.")
        elif array.dtype == np.int8 and kind == "fp32":
            found.append(f"{name}: int8 in a float32 model.")
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            found.append(f"{value.name}: not float32.")
    for node in model.graph.node:
        if node.op_type in ("Pad", "Slice", "ReduceSum"):
            loose = [name for name in node.input[1:] if name and name not in view.arrays]
            if loose:
                found.append(f"{node.name}: {', '.join(loose)} must be constants.")
        if node.op_type == "Conv" and kind == "fp32":
            found.append(f"{node.name}: TensorRT may run a Conv by Winograd, which is not exact.")
    return found


def emit(graph: Graph, target: Target | None = None, folder: Path | str = ".") -> TensorRtArtifact:
    """Write the model and ``<name>.trt-<kind>.build.py`` into ``folder``.

    Raises `UnsupportedError`, `InputError`, `StorageError`.
    """
    target = _checked(target or Target())
    model = to_model(graph, target.kind)
    stem = f"{file_stem(graph)}.trt-{target.kind}"
    path, script = Path(folder) / f"{stem}.onnx", Path(folder) / f"{stem}.build.py"
    save(model, path)
    try:
        text = Path(tensorrt_build.__file__).read_text(encoding="utf-8")
        script.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{script} cannot be written: {error.strerror}.") from error
    return TensorRtArtifact(graph, target, (path, script))
