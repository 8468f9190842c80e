"""A Graph as ONNX with QuantizeLinear and DequantizeLinear: what fits int8 and what does not.

TensorRT and AMD's DPUs take networks in this form, with zero points of 0 and scales that are
powers of two. `problems` says what cannot be said in int8, `notes` where the answers may differ
from the Graph's all the same; by how much is measured with ONNX Runtime, see
`hairtrigger.backends.qdq_ops.QdqRun`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hairtrigger.backends.onnx import shape_problems
from hairtrigger.backends.onnx_quantize import plain_rounding, rounds
from hairtrigger.fixed import IntArray, Overflow, Rounding, round_codes, shift_codes
from hairtrigger.graph import linear, moves, ops
from hairtrigger.graph.exact import FLOAT32, float_exact, intervals, live
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.types import Literal, Range, TensorType

LOW, HIGH = -128, 127

NEAREST = (
    Rounding.RND,
    Rounding.RND_CONV,
    Rounding.RND_ZERO,
    Rounding.RND_INF,
    Rounding.RND_MIN_INF,
)


@dataclass(frozen=True)
class Style:
    """How a consumer wants its network.

    ``channels``: weights that do not fit one scale may have one for each output channel.
    ``bias8``: biases are int8 with a scale of their own, else float32. ``offsets``: an offset
    before QuantizeLinear, which rounds halves to even, makes it round as the Graph does; it goes
    into the bias in front where there is one.
    """

    channels: bool
    bias8: bool
    offsets: bool


TENSORRT = Style(channels=True, bias8=False, offsets=True)
DPU = Style(channels=False, bias8=True, offsets=False)


@dataclass(frozen=True)
class Int8:
    """Constants in int8: ``codes`` times ``2**-fraction``; ``fraction``: one number, or one for
    each output channel (the last axis of the codes)."""

    codes: IntArray
    fraction: IntArray
    rounded: bool = False


def where(graph: Graph, place: int) -> str:
    """How messages call a node."""
    node = graph.nodes[place]
    label = f" {node.label!r}" if node.label else ""
    return f"%{place} {type(node.op).__name__}{label}"


# --- what fits int8 ------------------------------------------------------------------------------


def int8_fraction(t: TensorType) -> int | None:
    """The fraction bits of the one scale in which int8 holds every code of a type; or None."""
    low, high = t.range().at(t.lsb)
    fits = int(low.min(initial=0)) >= LOW and int(high.max(initial=0)) <= HIGH
    return t.lsb if fits else None


def int8_weights(value: Literal, channels: bool) -> Int8 | None:
    """A kernel (..., out) in int8: in one scale, else with one for each channel; or None."""
    top = int(value.fractions[value.codes != 0].max(initial=-(1 << 20)))
    fraction = np.asarray(top if value.codes.any() else 0)
    codes = _at(value, fraction)
    if _inside(codes):
        return Int8(codes, fraction)
    if not channels:
        return None
    rows = value.codes.reshape(-1, value.shape[-1]) != 0
    own = np.where(rows, value.fractions.reshape(rows.shape), -(1 << 20)).max(axis=0)
    own = np.where(rows.any(axis=0), own, 0)
    codes = _at(value, own)
    return Int8(codes, own) if _inside(codes) else None


def int8_bias(value: Literal) -> Int8:
    """A bias in int8 with one scale: exact where that is possible, else rounded to nearest."""
    top = int(value.fractions.max(initial=0)) if value.codes.any() else 0
    exact = _at(value, np.asarray(top))
    if _inside(exact):
        return Int8(exact, np.asarray(top))
    fraction = top
    while True:
        fraction -= 1
        codes = np.round(np.ldexp(value.values, fraction)).astype(np.int64)
        if _inside(codes):
            return Int8(codes, np.asarray(fraction), rounded=True)


def _at(value: Literal, fraction: IntArray) -> IntArray:
    """Codes at a fraction that holds every element."""
    by = fraction - value.fraction
    up, down = np.maximum(by, 0), np.maximum(-by, 0)
    return np.right_shift(np.left_shift(value.codes, up), np.minimum(down, 63))


def _inside(codes: IntArray) -> bool:
    return int(codes.min(initial=0)) >= LOW and int(codes.max(initial=0)) <= HIGH


def offset(op: ops.Quantize, operand: TensorType) -> float | None:
    """What, added to the operand, makes rounding to nearest with halves to even round as the op
    does, as a real number; None where no number does.

    The operand counts ``u = 2**-lsb``, so half of u moves no number over a step but ties.
    """
    if not rounds(op.type, operand).any():
        return 0.0
    step, half_u = 2.0**-op.type.lsb, 2.0 ** -(operand.lsb + 1)
    match plain_rounding(op.rounding, operand):
        case Rounding.RND_CONV:
            return 0.0
        case Rounding.RND:
            return half_u
        case Rounding.RND_MIN_INF:
            return -half_u
        case Rounding.TRN:
            return half_u - step / 2
        case _:
            return None


def in_int8(graph: Graph) -> tuple[bool, ...]:
    """For each node, whether its value comes out of a DequantizeLinear, or was only moved since."""
    found: list[bool] = []
    for place, node in enumerate(graph.nodes):
        if isinstance(node.op, ops.Quantize):
            found.append(True)
        elif isinstance(node.op, ops.Input):
            found.append(quantised_input(graph, place))
        elif isinstance(node.op, (ops.Relu, linear.MaxPool, moves.Move, moves.Concat)):
            found.append(all(found[n] for n in node.operands))
        else:
            found.append(False)
    return tuple(found)


def quantised_input(graph: Graph, place: int) -> bool:
    """Whether an Input gets a QuantizeLinear: where int8 holds it and not only Quantizes read it.
    One that only they read stays float32."""
    if int8_fraction(graph.nodes[place].type) is None:
        return False
    readers = [graph.nodes[n].op for n in graph.users[place]]
    return any(not isinstance(op, ops.Quantize) for op in readers)


# --- what cannot be said, and what may differ ----------------------------------------------------


def problems(graph: Graph, style: Style) -> list[str]:
    """Every reason why the Graph has no such model; empty if it has one."""
    found = shape_problems(graph)
    if found:
        return found
    ranges, ready = intervals(graph), in_int8(graph)
    for place in sorted(live(graph)):
        node = graph.nodes[place]
        at = where(graph, place)
        match node.op:
            case ops.Quantize():
                (source,) = node.operands
                operand = graph.nodes[source].type
                found += [
                    f"{at}: {problem}"
                    for problem in _quantize_problems(node.op, operand, ranges[source], style)
                ]
            case linear.Dense(kernel) | linear.Conv(kernel):
                (source,) = node.operands
                if not ready[source]:
                    found.append(
                        f"{at}: it reads {where(graph, source)}, which is not in int8 "
                        f"({_formats(graph.nodes[source].type)}); put a Quantize to 8 bits between."
                    )
                if int8_weights(kernel, style.channels) is None:
                    each = (
                        "even with a scale for each channel" if style.channels else "in one scale"
                    )
                    found.append(f"{at}: its weights do not fit int8, {each}.")
            case _:
                pass
    return found


def _quantize_problems(
    op: ops.Quantize, operand: TensorType, reach: Range, style: Style
) -> list[str]:
    t, found = op.type, []
    alive = t.width > 0
    if int8_fraction(t) is None:
        found.append(
            f"codes of {_formats(t)} do not fit int8 with zero point 0, which holds "
            f"{LOW} to {HIGH} (an unsigned format has 7 bits there)."
        )
    must = op.rounds(reach) & alive
    if (must & (t.fraction != t.lsb)).any():
        found.append("elements are rounded to different steps; QuantizeLinear has one a tensor.")
    if op.overflow in (Overflow.WRAP, Overflow.WRAP_SM) and (op.overflows(reach) & alive).any():
        found.append(f"it may overflow and {op.overflow.value} it; QuantizeLinear saturates.")
    truncates = style.offsets and must.any() and op.rounding is Rounding.TRN_ZERO
    if truncates and offset(op, operand) is None:
        found.append("TRN_ZERO of numbers of both signs is no rounding to nearest.")
    return found


def notes(graph: Graph, style: Style) -> list[str]:
    """Where the answers of the model may differ from the Graph's, and why."""
    found: list[str] = []
    ranges = intervals(graph)
    exact = float_exact(graph, FLOAT32)
    for place in sorted(live(graph)):
        node = graph.nodes[place]
        at = where(graph, place)
        if isinstance(node.op, ops.Quantize):
            operand = graph.nodes[node.operands[0]].type
            if (node.op.rounds(ranges[node.operands[0]]) & (node.type.width > 0)).any():
                shift = offset(node.op, operand)
                if style.offsets and shift is None:
                    found.append(f"{at}: exact halves round to even, not {node.op.rounding.value}.")
                elif not style.offsets and shift != 0.0:
                    by = "exact halves differ" if node.op.rounding in NEAREST else "up to 1 LSB"
                    found.append(
                        f"{at}: it rounds to nearest, not {node.op.rounding.value} ({by})."
                    )
        bias = node.op.bias if isinstance(node.op, (linear.Dense, linear.Conv)) else None
        if style.bias8 and bias is not None and int8_bias(bias).rounded:
            found.append(f"{at}: its bias does not fit int8 and is rounded.")
        if 2 * exact.sums[place] > FLOAT32.most:
            found.append(
                f"{at}: a sum may reach {exact.sums[place]:,.0f} LSB; float32 is exact to "
                f"{FLOAT32.most:,}, half an LSB to half of that."
            )
    return found


def _formats(t: TensorType) -> str:
    if t.single is not None:
        return f"{'s' if t.single.signed else 'u'}{t.single.integer}.{t.single.fraction}"
    return f"formats of up to {t.span} bits"


def clip_limits(op: ops.Quantize, reach: Range) -> tuple[np.ndarray, np.ndarray] | None:
    """Real numbers that an operand is clipped to before QuantizeLinear, lowest and highest; None
    where int8 saturates as the format does, or nothing is reached beyond it."""
    t = op.type
    low, high = t.range().at(t.lsb)
    if op.overflow is Overflow.SAT_SYM:
        low = np.where(t.signed, -high, low)
    alive = t.width > 0
    drop = np.where(reach.alive & alive, reach.fraction - t.fraction, 0)
    up = np.where(alive, t.lsb - t.fraction, 0)
    ends = (shift_codes(round_codes(x, drop, op.rounding), up) for x in (reach.low, reach.high))
    bottom, top = ends
    below, above = (bottom < low) & (low > LOW), (top > high) & (high < HIGH)
    if not (reach.alive & (below | above | ~alive)).any():
        return None
    return np.ldexp(low.astype(np.float64), -t.lsb), np.ldexp(high.astype(np.float64), -t.lsb)


def folded_into(graph: Graph, place: int) -> int | None:
    """The Quantize whose offset can be added in the sum at ``place``, perhaps in front of a ReLU:
    it alone reads it. A ReLU changes nothing about that: what it cuts rounds to 0 or below."""
    users: Sequence[int] = graph.users[place]
    if len(set(users)) != 1 or place in graph.outputs:
        return None
    op = graph.nodes[users[0]].op
    if isinstance(op, ops.Relu):
        return folded_into(graph, users[0])
    return users[0] if isinstance(op, ops.Quantize) else None
