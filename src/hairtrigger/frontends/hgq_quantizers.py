"""HGQ2's quantizers as fixed-point formats."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import GraphError
from hairtrigger.fixed import IntArray, Overflow, Rounding
from hairtrigger.graph.types import Shape, TensorType

Real = NDArray[np.float32]

_UNTRACED = -1e6
"""Fewer integer bits than any format has: `trace_minmax` starts there and never came by."""

_FINEST = 60
"""Most fraction bits, of either sign, of a format: `int64` codes carry no more."""

_PIECE = 1 << 14


@dataclass(frozen=True)
class Format:
    """What a quantizer does in inference: ``x -> scale * quantize(x) + shift``.

    ``type``: format of every element; ``affine``: (scale, shift) applied afterwards, or None.
    ``stateless``: HGQ2's own function of (x, k, i, f), for numbers that lie on no grid.
    """

    type: TensorType
    rounding: Rounding
    overflow: Overflow
    affine: tuple[float, float] | None
    stateless: Any

    def __str__(self) -> str:
        single = self.type.single
        if single is not None:
            letter = "s" if single.signed else "u"
            kind = f"{letter}{single.integer}.{single.fraction}"
        else:
            t = self.type
            alive = t.width > 0
            i, f = (a[alive] if alive.any() else np.zeros(1, int) for a in (t.integer, t.fraction))
            kind = f"integer bits {i.min()} to {i.max()}, fraction bits {f.min()} to {f.max()}"
        return f"{kind} {self.rounding.name} {self.overflow.name}"


def quantizer_problem(quantizer: Any) -> str | None:
    """Why an HGQ2 `Quantizer` has no fixed-point form and what to do, or None where it has one."""
    from hgq.quantizer.internal import FixedPointQuantizerBase

    kind, inner = quantizer.config.q_type, quantizer.quantizer
    if kind == "dummy":
        return None
    if not isinstance(inner, FixedPointQuantizerBase):
        return (
            f"quantizer {quantizer.name!r} is of type {kind!r} (minifloat), which has no fixed "
            "point; train with q_type 'kif' or 'kbi'"
        )
    if not inner.built:
        return f"quantizer {quantizer.name!r} is not built; call the model on data once"
    if (trained_kif(inner)[1] < _UNTRACED).any():
        return (
            f"quantizer {quantizer.name!r} wraps, but its range was reset and never traced; run "
            "hgq.utils.trace_minmax on calibration data"
        )
    if inner.round_mode.removeprefix("S_") not in Rounding.__members__:
        return (
            f"quantizer {quantizer.name!r} rounds by {inner.round_mode!r}; use {_names(Rounding)}"
        )
    if inner.overflow_mode not in Overflow.__members__:
        return (
            f"quantizer {quantizer.name!r} overflows by {inner.overflow_mode!r}; "
            f"use {_names(Overflow)}"
        )
    scaler = quantizer.scaler
    if scaler is not None and not (scaler > 0 and math.frexp(scaler)[0] == 0.5):
        return (
            f"quantizer {quantizer.name!r} has scaler {scaler:g}; only powers of two keep numbers "
            "on a binary grid"
        )
    for number in quantizer.affine or ():
        if not _short(number):
            return (
                f"quantizer {quantizer.name!r} has affine {quantizer.affine}; {number:g} is no "
                "binary fraction of at most 12 bits, so float32 would round behind it"
            )
    return None


def read_format(quantizer: Any, shape: Shape) -> Format | None:
    """Format of a quantizer for a tensor of ``shape`` (no event axis); None for a dummy.

    A power-of-two scaler is a shift of the point. Raises `GraphError` for formats too wide.
    """
    if quantizer.config.q_type == "dummy":
        return None
    inner = quantizer.quantizer
    k, i, f = (_elements(inner, array, shape) for array in trained_kif(inner))
    if quantizer.scaler is not None:
        shift = math.frexp(quantizer.scaler)[1] - 1
        i, f = i + shift, f - shift
    # Formats of no bits are zero in inference, whatever their sign.
    alive = k + i + f > 0
    if (np.abs(np.where(alive, f, 0)) > _FINEST).any():
        raise GraphError(
            f"Quantizer {quantizer.name!r} has fraction bits {f[alive].min()} to {f[alive].max()}.",
            "Constrain its bits in training (fc, ic or bc).",
        )
    return Format(
        TensorType(shape, k > 0, i, f),
        Rounding[inner.round_mode.removeprefix("S_")],
        Overflow[inner.overflow_mode],
        quantizer.affine,
        inner.stateless_quantizer,
    )


def apply_format(form: Format, x: Real, element: IntArray) -> NDArray[np.float64]:
    """HGQ2's own float32 quantizer, without the affine step, on numbers that lie on no grid.

    ``x``: (numbers, elements); ``element``: for each column the flat place of its format.
    """
    t = form.type
    k, i, f = (
        np.broadcast_to(a.ravel()[element], x.shape) for a in (t.signed, t.integer, t.fraction)
    )

    def quantized(x: Any, k: Any, i: Any, f: Any) -> Any:
        return form.stateless(x, k, i, f, False, None)

    result = in_pieces(quantized, x, k, i, f)
    return np.where(t.width.ravel()[element] > 0, result, 0.0).astype(np.float64)


def in_pieces(function: Callable[..., Any], *arrays: NDArray[Any]) -> Real:
    """``function`` of Keras tensors, element by element, on pieces of one length.

    Backends compile anew for every shape; with one length for all tables they do it once.
    """
    shape = arrays[0].shape
    flat = [np.asarray(a, dtype=np.float32).ravel() for a in arrays]
    size = len(flat[0])
    result = np.empty(size, dtype=np.float32)
    for start in range(0, size, _PIECE):
        part = [a[start : start + _PIECE] for a in flat]
        count = len(part[0])
        full = [np.concatenate([a, np.repeat(a[-1:], _PIECE - count)]) for a in part]
        made = to_numpy(function(*(to_tensor(a) for a in full)))
        result[start : start + count] = made[:count]
    return result.reshape(shape)


def trained_kif(inner: Any) -> tuple[IntArray, IntArray, IntArray]:
    """Sign, integer and fraction bits of an HGQ2 fixed-point quantizer, in the shape it trains.

    Its own property ``kif`` says the same through the backend, which compiles for every shape.
    """
    k = to_numpy(inner._k).astype(np.int64)
    i = np.rint(to_numpy(inner._i)).astype(np.int64)
    if hasattr(inner, "_f"):
        return k, i, np.rint(to_numpy(inner._f)).astype(np.int64)
    return k, i, np.rint(to_numpy(inner._b)).astype(np.int64) - i


def _elements(inner: Any, array: IntArray, shape: Shape) -> IntArray:
    from hgq.quantizer.internal import DefaultBitwidthMapper

    if type(inner.bw_mapper) is DefaultBitwidthMapper:
        return np.broadcast_to(array, (1, *shape))[0]
    values = to_numpy(inner.bw_mapper.bw_to_x(to_tensor(array), (1, *shape)))[0]
    return np.rint(values).astype(np.int64)


def _names(enum: Any) -> str:
    return ", ".join(enum.__members__)


def _short(number: float) -> bool:
    """Has a number at most 12 significant bits and a size that float32 holds easily?"""
    mantissa, exponent = math.frexp(number)
    return (mantissa * 4096).is_integer() and abs(exponent) < 30


def to_numpy(x: Any) -> NDArray[Any]:
    """A Keras tensor or variable as an array."""
    from keras import Variable, ops

    return np.asarray(ops.convert_to_numpy(x.value if isinstance(x, Variable) else x))


def to_tensor(x: NDArray[Any]) -> Any:
    """An array as a float32 Keras tensor."""
    from keras import ops

    return ops.convert_to_tensor(np.asarray(x, dtype=np.float32))
