"""AMD Quark as the quantizer of a DPU's model: scales from data instead of the Graph's formats.

It starts from the float network of the Graph and looks for power-of-two scales on calibration
events (its configuration XINT8). The Graph's own int8 model (`hairtrigger.backends.vitis_ai`) needs
none of it; this is for Graphs whose formats do not fit int8. Quark is not in an extra: it pins
versions of ONNX of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hairtrigger.backends.onnx import Border, file_stem, properties_of, save
from hairtrigger.backends.onnx_float import to_float_onnx
from hairtrigger.backends.vitis_ai import (
    IR_VERSION,
    Target,
    VitisAiArtifact,
    batch_of,
    load,
    write_beside,
)
from hairtrigger.errors import InputError, ToolError
from hairtrigger.fixed import IntArray
from hairtrigger.graph.graph import Graph


def quantize(
    graph: Graph,
    codes: Sequence[IntArray],
    target: Target | None = None,
    folder: Path | str = ".",
) -> VitisAiArtifact:
    """Write ``<name>.<dpu>.quark.onnx``, quantised by Quark on calibration events.

    ``codes``: of each Input, (events, *shape); whole batches of the DPU are used. Check the
    artifact and look at its differences: its numbers are not the Graph's. Raises `ToolError`
    without Quark and for what it raises, `InputError`, `UnsupportedError`, `StorageError`.
    """
    target = target or Target()
    batch = batch_of(target)
    if len(codes[0]) < batch:
        raise InputError(
            f"{len(codes[0])} events for calibration, and a batch is {batch}.", "Give more events."
        )
    try:
        from quark.onnx import XINT8_QCONFIG, ModelQuantizer
    except Exception as error:  # it imports much, and any of it may be missing
        raise ToolError(
            f"not run: AMD Quark cannot be imported: {error}.",
            "Install amd-quark in an environment of its own, beside hairtrigger.",
        ) from error
    path = Path(folder) / f"{file_stem(graph)}.{target.dpu}.quark.onnx"
    model = to_float_onnx(graph, events=batch, ir_version=IR_VERSION)
    try:
        quantized = ModelQuantizer(XINT8_QCONFIG).quantize_model(
            model, None, _Reader(graph, codes, batch)
        )
    except Exception as error:  # whatever a foreign package raises
        raise ToolError(f"AMD Quark failed on Graph {graph.name!r}: {error}") from error
    from onnx import helper

    quantized.ir_version = min(quantized.ir_version, IR_VERSION)
    said = {
        **properties_of(graph, Border.VALUES),
        "hairtrigger.exactness": "int8 by AMD Quark on calibration events; not the Graph's numbers",
    }
    helper.set_model_props(quantized, said)
    save(quantized, path)
    load(path)  # a file that the checker refuses is said here, not on the board
    return VitisAiArtifact(graph, target, (path, *write_beside(path, target)))


class _Reader:
    """Calibration events in batches, as ONNX Runtime's CalibrationDataReader gives them."""

    def __init__(self, graph: Graph, codes: Sequence[IntArray], batch: int) -> None:
        names = [op.name or f"input{n}" for n, op in enumerate(graph.input_ops)]
        reals = [
            np.ldexp(x.astype(np.float64), -op.type.lsb).astype(np.float32)
            for x, op in zip(codes, graph.input_ops, strict=True)
        ]
        self._batches: list[dict[str, Any]] = [
            {name: x[start : start + batch] for name, x in zip(names, reals, strict=True)}
            for start in range(0, len(codes[0]) - batch + 1, batch)
        ]
        self.rewind()

    def get_next(self) -> dict[str, Any] | None:
        """The next batch, or None after the last."""
        return next(self._left, None)

    def rewind(self) -> None:
        """Begin again."""
        self._left = iter(self._batches)
