"""What consumers of ONNX files document as their rules, checked on the file's own nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"

WEIGHTED = {"Conv": 0, "Gemm": 1, "MatMul": 1}
"""Operators with weights as their second input, and the axis of output channels of those."""

PASSING = frozenset(["Relu", "Clip", "MaxPool", "Reshape", "Transpose", "Slice", "Concat", "Pad"])
"""Operators that move or clip numbers and leave them on their scale's grid."""


@dataclass(frozen=True, eq=False)
class View:
    """A model with its names looked up."""

    model: onnx.ModelProto

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Initialisers by name."""
        from onnx import numpy_helper

        return {a.name: numpy_helper.to_array(a) for a in self.model.graph.initializer}

    @cached_property
    def makers(self) -> dict[str, onnx.NodeProto]:
        """The node that makes each tensor."""
        return {name: node for node in self.model.graph.node for name in node.output}

    @cached_property
    def readers(self) -> dict[str, list[onnx.NodeProto]]:
        """The nodes that read each tensor."""
        found: dict[str, list[onnx.NodeProto]] = {}
        for node in self.model.graph.node:
            for name in node.input:
                found.setdefault(name, []).append(node)
        return found

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return next(o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx"))

    def attribute(self, node: onnx.NodeProto, name: str, default: Any) -> Any:
        """An attribute's value."""
        from onnx import helper

        return next(
            (helper.get_attribute_value(a) for a in node.attribute if a.name == name), default
        )

    def quantised(self, name: str) -> bool:
        """Whether a tensor comes from DequantizeLinear, perhaps moved since."""
        maker = self.makers.get(name)
        if maker is None:
            return False
        if maker.op_type == DEQUANTIZE:
            return True
        data = maker.input if maker.op_type == "Concat" else maker.input[:1]
        return maker.op_type in PASSING and all(self.quantised(n) for n in data)


def operator_problems(
    view: View, consumer: str, opsets: range, operators: frozenset[str]
) -> Iterator[str]:
    """Opset out of range, and operators that the consumer does not list."""
    if view.opset not in opsets:
        yield f"opset {view.opset}: {consumer} takes {opsets.start} to {opsets.stop - 1}."
    for node in view.model.graph.node:
        if node.op_type not in operators or node.domain not in ("", "ai.onnx"):
            yield f"{node.name}: {consumer} lists no operator {node.op_type}."


def qdq_problems(view: View, *, channels: bool, power_of_two: bool) -> Iterator[str]:
    """Rules of explicit quantisation: scales and zero points are constants, scales positive
    float32 (and powers of two), zero points int8 and 0; activations have one scale, weights one
    or, with ``channels``, one for each output channel; pairs stand together; what has weights
    reads int8 on both sides."""
    for node in view.model.graph.node:
        if node.op_type in (QUANTIZE, DEQUANTIZE):
            yield from _pair_problems(view, node, channels, power_of_two)
        elif node.op_type in WEIGHTED:
            weights = view.makers.get(node.input[1])
            if weights is None or weights.op_type != DEQUANTIZE:
                yield f"{node.name}: its weights are not int8 behind {DEQUANTIZE}."
            if not view.quantised(node.input[0]):
                yield f"{node.name}: it reads numbers that are not from {DEQUANTIZE}."


def _pair_problems(
    view: View, node: onnx.NodeProto, channels: bool, power_of_two: bool
) -> Iterator[str]:
    if len(node.input) != 3 or any(name not in view.arrays for name in node.input[1:]):
        yield f"{node.name}: scale and zero point are not constants."
        return
    scale, zero = (view.arrays[name] for name in node.input[1:])
    if scale.dtype != np.float32 or not (np.isfinite(scale) & (scale > 0)).all():
        yield f"{node.name}: scales are {scale.dtype}, or not positive and finite."
    elif power_of_two and (np.frexp(scale)[0] != 0.5).any():
        yield f"{node.name}: scale {float(scale.flat[0]):g} is no power of two."
    if zero.dtype != np.int8 or zero.any():
        yield f"{node.name}: the zero point is not 0 in int8."
    if zero.shape != scale.shape:
        yield f"{node.name}: scale and zero point have shapes {scale.shape} and {zero.shape}."
    weights = view.arrays.get(node.input[0])
    if node.op_type == QUANTIZE:
        others = [
            r.op_type for r in view.readers.get(node.output[0], []) if r.op_type != DEQUANTIZE
        ]
        if others:
            yield f"{node.name}: {', '.join(others)} reads int8 without {DEQUANTIZE}."
    elif weights is not None:
        if weights.dtype != np.int8:
            yield f"{node.name}: constants are {weights.dtype}, not int8."
    elif node.input[0] not in view.makers or view.makers[node.input[0]].op_type != QUANTIZE:
        yield f"{node.name}: there is no {QUANTIZE} in front of it."
    if scale.ndim == 0:
        return
    if weights is None:
        yield f"{node.name}: an activation has {scale.size} scales; it may have one."
    elif not channels:
        yield f"{node.name}: weights have {scale.size} scales; they may have one."
    else:
        axis = view.attribute(node, "axis", 1)
        wanted = {WEIGHTED.get(r.op_type) for r in view.readers.get(node.output[0], [])}
        if {axis} != wanted or scale.shape != (weights.shape[axis],):
            yield f"{node.name}: scales lie along axis {axis}, not along output channels."
