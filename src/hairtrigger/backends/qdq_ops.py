"""The nodes of a QDQ model. What is no sum and no rounding is written as in the exact model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hairtrigger.backends.differences import Difference, differences
from hairtrigger.backends.onnx import (
    IR_VERSION,
    Border,
    assemble,
    content_key,
    properties_of,
)
from hairtrigger.backends.onnx_ops import ZERO, write_node
from hairtrigger.backends.onnx_session import Session
from hairtrigger.backends.onnx_sheet import Sheet, Value
from hairtrigger.backends.qdq import (
    Int8,
    Style,
    clip_limits,
    folded_into,
    int8_bias,
    int8_weights,
    notes,
    offset,
    problems,
    quantised_input,
)
from hairtrigger.errors import StorageError, UnsupportedError
from hairtrigger.fixed import IntArray
from hairtrigger.graph import linear, ops
from hairtrigger.graph.emulate import emulate_codes
from hairtrigger.graph.exact import intervals, live
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.types import Literal, Range

if TYPE_CHECKING:
    import onnx


def to_qdq(
    graph: Graph,
    style: Style,
    what: str,
    *,
    events: int | str = "events",
    ir_version: int = IR_VERSION,
) -> onnx.ModelProto:
    """The Graph in int8. Inputs and outputs hold real numbers, as those of `to_onnx` do.

    ``what``: what the refusal calls the model; ``events``: a number for a fixed batch. Raises
    `UnsupportedError` with every reason.
    """
    reasons = problems(graph, style)
    if reasons:
        listed = "".join(f"\n  - {reason}" for reason in reasons)
        raise UnsupportedError(
            f"Graph {graph.name!r} has no {what}:{listed}",
            "Train with 8 bits or fewer for each tensor, unsigned 7; or use another backend.",
        )
    said = notes(graph, style)
    properties = {
        **properties_of(graph, Border.VALUES),
        "hairtrigger.exactness": "int8; " + ("; ".join(said) if said else "exact in float32"),
    }

    def body(sheet: Sheet, inputs: dict[int, Value]) -> list[Value]:
        return _Writer(sheet, graph, style, intervals(graph)).write(inputs)

    return assemble(
        graph, np.float32, Border.VALUES, properties, body, events=events, ir_version=ir_version
    )


@dataclass(frozen=True)
class QdqRun:
    """A QDQ file of a Graph, run by ONNX Runtime on the CPU as it is written: without ONNX
    Runtime's rewritings, which may round biases. ``batch``: the fixed number of events, or None."""

    graph: Graph
    path: Path
    batch: int | None = None

    def run_real(self, codes: Sequence[IntArray]) -> tuple[NDArray[np.float64], ...]:
        """Outputs (events, *shape) in units of each output's LSB. Raises `StorageError`."""
        try:
            model = self.path.read_bytes()
        except OSError as error:
            raise StorageError(f"{self.path} cannot be read: {error.strerror}.") from error
        key = content_key(self.graph)
        session = Session(self.graph, model, key, str(self.path), as_written=True)
        events = len(codes[0])
        step = self.batch or max(events, 1)
        parts: list[list[NDArray[np.float64]]] = [[] for _ in self.graph.output_types]
        for start in range(0, max(events, 1), step):
            part = [np.zeros((step, *x.shape[1:]), dtype=np.int64) for x in codes]
            stop = min(start + step, events)
            for whole, x in zip(part, codes, strict=True):
                whole[: stop - start] = x[start:stop]
            for out, y in zip(parts, session.run_codes(part), strict=True):
                out.append(y[: stop - start].astype(np.float64))
        return tuple(np.concatenate(part) for part in parts)

    def differences(self, codes: Sequence[IntArray]) -> tuple[Difference, ...]:
        """Each output against the emulator, in LSB."""
        return differences(self.graph, emulate_codes(self.graph, codes), self.run_real(codes))


class _Writer:
    """Writes one model; values are real numbers, so every `Value` has scale 0."""

    def __init__(self, sheet: Sheet, graph: Graph, style: Style, ranges: Sequence[Range]) -> None:
        self.sheet, self.graph, self.style, self.ranges = sheet, graph, style, ranges
        self.offset_done: set[int] = set()

    def write(self, inputs: dict[int, Value]) -> list[Value]:
        graph, sheet = self.graph, self.sheet
        values: dict[int, Value] = {}
        needed = live(graph)
        for place, node in enumerate(graph.nodes):
            if place not in needed:
                continue
            sheet.where = f"{place}.{type(node.op).__name__}"
            operands = [values[n] for n in node.operands]
            if place in inputs:
                values[place] = inputs[place]
                if quantised_input(graph, place):
                    values[place] = self.pair(inputs[place], node.type.lsb)
            elif operands and all(v.constant is not None for v in operands):
                values[place] = write_node(sheet, graph, place, operands, self.ranges)
            else:
                values[place] = self.node(place, operands)
        return [values[n] for n in graph.outputs]

    def node(self, place: int, operands: list[Value]) -> Value:
        node = self.graph.nodes[place]
        match node.op:
            case ops.Quantize():
                return self.quantize(place, node.op, operands[0])
            case linear.Dense(kernel, bias):
                return self.dense(place, operands[0], kernel, bias)
            case linear.Conv(kernel, bias):
                return self.conv(place, node.op, operands[0], kernel, bias)
            case linear.SumPool(window, strides, padding):
                channels = node.type.shape[-1]
                ones = Literal(np.ones((*window, 1, channels), dtype=np.int64), 0)
                as_conv = linear.Conv(ones, None, strides, padding, channels)
                return self.conv(place, as_conv, operands[0], ones, None)
            case _:
                value = write_node(self.sheet, self.graph, place, operands, self.ranges)
                return self.sheet.scaled(value, ZERO)

    # --- quantisation ----------------------------------------------------------------------------

    def pair(self, x: Value, fraction: int) -> Value:
        """QuantizeLinear and DequantizeLinear with one scale."""
        scale, zero = self.scale(np.asarray(fraction)), self.zero(())
        quantized = self.sheet.put("QuantizeLinear", x.name, scale, zero)
        return replace(x, name=self.sheet.put("DequantizeLinear", quantized, scale, zero))

    def constant(self, value: Int8, codes: IntArray, axis: int) -> str:
        """Constants behind a DequantizeLinear; ``codes`` as the model stores them."""
        scale, zero = self.scale(value.fraction), self.zero(value.fraction.shape)
        extra = {"axis": axis} if value.fraction.ndim else {}
        stored = self.sheet.array(codes.astype(np.int8))
        return self.sheet.put("DequantizeLinear", stored, scale, zero, **extra)

    def scale(self, fraction: IntArray) -> str:
        return self.sheet.number(np.ldexp(1.0, -fraction))

    def zero(self, shape: tuple[int, ...]) -> str:
        return self.sheet.array(np.zeros(shape, dtype=np.int8))

    def quantize(self, place: int, op: ops.Quantize, x: Value) -> Value:
        (source,) = self.graph.nodes[place].operands
        if self.style.offsets and place not in self.offset_done:
            add = offset(op, self.graph.nodes[source].type)
            if add:
                x = replace(x, name=self.sheet.put("Add", x.name, self.sheet.number(add)))
        limits = clip_limits(op, self.ranges[source])
        if limits is not None:
            low, high = limits
            if (low == low.flat[0]).all() and (high == high.flat[0]).all():
                ends = (self.sheet.number(low.flat[0]), self.sheet.number(high.flat[0]))
                x = replace(x, name=self.sheet.put("Clip", x.name, *ends))
            else:
                name = self.sheet.put("Max", x.name, self.sheet.number(x.lay(low)))
                name = self.sheet.put("Min", name, self.sheet.number(x.lay(high)))
                x = replace(x, name=name)
        return self.pair(x, op.type.lsb)

    # --- sums ------------------------------------------------------------------------------------

    def bias(self, place: int, bias: Literal | None, channels: int) -> str | None:
        """Name of the bias, with the offset of the Quantize behind it where that is possible."""
        reader = folded_into(self.graph, place) if self.style.offsets else None
        add = 0.0
        if reader is not None:
            op = self.graph.nodes[reader].op
            assert isinstance(op, ops.Quantize)
            (source,) = self.graph.nodes[reader].operands
            add = offset(op, self.graph.nodes[source].type) or 0.0
            self.offset_done.add(reader)
        if bias is None and not add:
            return None
        if not self.style.bias8:
            numbers = np.zeros(channels) if bias is None else bias.values
            return self.sheet.number(numbers + add)
        assert bias is not None
        value = int8_bias(bias)
        return self.constant(value, value.codes, 0)

    def dense(self, place: int, x: Value, kernel: Literal, bias: Literal | None) -> Value:
        shape = self.graph.nodes[place].type.shape
        weights = int8_weights(kernel, self.style.channels)
        assert weights is not None
        if x.first:
            x = self.sheet.plain(x)
        codes = weights.codes if x.order is None else weights.codes[x.order]
        stored = self.constant(weights, codes, 1)
        added = self.bias(place, bias, kernel.shape[-1])
        more = () if added is None else (added,)
        if len(x.shape) == 1:
            return Value(self.sheet.put("Gemm", x.name, stored, *more), shape, ZERO)
        name = self.sheet.put("MatMul", x.name, stored)
        return Value(self.sheet.put("Add", name, *more) if more else name, shape, ZERO)

    def conv(
        self, place: int, op: linear.Conv, x: Value, kernel: Literal, bias: Literal | None
    ) -> Value:
        x = self.sheet.channels_first(x)
        weights = int8_weights(kernel, self.style.channels)
        assert weights is not None
        rank = len(op.strides)
        stored = self.constant(weights, weights.codes.transpose(rank + 1, rank, *range(rank)), 0)
        added = self.bias(place, bias, kernel.shape[-1])
        pads = (*(a for a, _ in op.padding), *(b for _, b in op.padding))
        name = self.sheet.put(
            "Conv",
            x.name,
            stored,
            *(() if added is None else (added,)),
            kernel_shape=op.window,
            strides=op.strides,
            pads=pads,
            group=op.groups,
        )
        return Value(name, self.graph.nodes[place].type.shape, ZERO, first=True)
