"""ONNX Runtime on the CPU, set so that it gives the same numbers on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import StorageError, ToolError
from hairtrigger.graph.graph import Graph

KEY = "hairtrigger.graph_sha256"
"""Model property that says which Graph a model was made from."""


class Session:
    """A loaded model of ``graph``. One event after the other, in one thread; any number of threads
    may call `run_codes` at once.

    ``model``: the bytes of the file; ``key``: what its property `KEY` must be; ``name``: what
    messages call it. Raises `ToolError` where ONNX Runtime is missing, `StorageError` for bytes
    that are no model of this Graph.
    """

    def __init__(self, graph: Graph, model: bytes, key: str, name: str) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ToolError(
                f"ONNX Runtime cannot be imported: {error}.",
                "Install onnxruntime, or ask for the engine 'emulator'.",
            ) from error
        options = onnxruntime.SessionOptions()
        # Chunks of events run side by side; threads inside one chunk would only wait for another.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # On by choice only, and never ours: bfloat16 products on Arm.
        options.add_session_config_entry("mlas.enable_gemm_fastmath_arm64_bfloat16", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
            found = self._session.get_modelmeta().custom_metadata_map
        except Exception as error:  # ONNX Runtime has an exception for each of its status codes
            raise StorageError(
                f"{name} is no model that ONNX Runtime can load: {_first_line(error)}",
                "Export the Graph again.",
            ) from error
        if found.get(KEY) != key:
            raise StorageError(
                f"{name} is a model of another Graph than {graph.name!r}.",
                "Export the Graph again.",
            )
        self._name = name
        self._in = [(i.name, _DTYPES[i.type]) for i in self._session.get_inputs()]
        self._out = [o.name for o in self._session.get_outputs()]
        codes = found["hairtrigger.border"] == "codes"
        self._in_lsb = [0 if codes else op.type.lsb for op in graph.input_ops]
        self._out_lsb = [0 if codes else t.lsb for t in graph.output_types]

    def run_codes(self, codes: Sequence[NDArray[np.integer[Any]]]) -> list[NDArray[Any]]:
        """Codes of the outputs, as whole floating-point numbers, from codes of the inputs."""
        feeds: dict[str, NDArray[Any]] = {}
        for x, (name, dtype), lsb in zip(codes, self._in, self._in_lsb, strict=True):
            real = np.ldexp(x.astype(np.float64), -lsb) if lsb else x
            feeds[name] = np.ascontiguousarray(real, dtype=dtype)
        try:
            results = self._session.run(self._out, feeds)
        except Exception as error:
            raise ToolError(f"ONNX Runtime failed on {self._name}: {_first_line(error)}") from error
        return [
            np.ldexp(y, lsb) if lsb else y for y, lsb in zip(results, self._out_lsb, strict=True)
        ]


_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    **{f"tensor({n})": np.dtype(n).type for n in ("int8", "int16", "int32", "int64")},
    **{f"tensor({n})": np.dtype(n).type for n in ("uint8", "uint16", "uint32", "uint64")},
}


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
