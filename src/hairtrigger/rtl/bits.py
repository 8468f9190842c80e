"""Codes as the bits of a bus and back: the layout of ``in_data`` and ``out_data``.

Elements lie in row-major order, the first in the lowest bits, each in as many bits as its own
format has; several tensors follow each other. Bits are packed little-endian into bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.fixed import IntArray, shift_codes
from hairtrigger.graph.types import TensorType
from hairtrigger.rtl.verilog import Lane

Packed = NDArray[np.uint8]


def lanes(types: Sequence[TensorType]) -> list[Lane]:
    """The lane of every element of the tensors; width 0 for elements that are always zero."""
    widths = np.concatenate([t.width.ravel() for t in types])
    offsets = np.cumsum(widths) - widths
    return [Lane(int(o), int(w)) for o, w in zip(offsets, widths, strict=True)]


def bus_bits(types: Sequence[TensorType]) -> int:
    """Bits of the bus, without padding."""
    return sum(t.bits for t in types)


def pack(types: Sequence[TensorType], codes: Sequence[IntArray]) -> Packed:
    """Codes (events, *shape) of each tensor as bytes (events, ceil(bits / 8))."""
    rows: list[NDArray[np.uint8]] = []
    for t, array in zip(types, codes, strict=True):
        flat = shift_codes(array, t.fraction - t.lsb).reshape(len(array), -1)
        element, place = _places(t)
        rows.append((np.right_shift(flat[:, element], place) & 1).astype(np.uint8))
    return np.packbits(np.concatenate(rows, axis=1), axis=1, bitorder="little")


def unpack(types: Sequence[TensorType], packed: Packed) -> tuple[IntArray, ...]:
    """Bytes (events, ceil(bits / 8)) as codes (events, *shape) of each tensor.

    Raises `InputError` where the number of bytes does not fit.
    """
    total = bus_bits(types)
    if packed.ndim != 2 or packed.shape[1] != (total + 7) // 8:
        raise InputError(
            f"Packed data of shape {packed.shape} for a bus of {total} bits.",
            f"Give (events, {(total + 7) // 8}) bytes.",
        )
    bits = np.unpackbits(packed, axis=1, count=total, bitorder="little")
    arrays: list[IntArray] = []
    start = 0
    for t in types:
        part = bits[:, start : start + t.bits]
        start += t.bits
        element, place = _places(t)
        top = place == t.width.ravel()[element] - 1
        weight = np.left_shift(np.int64(1), place)
        weight = np.where(top & t.signed.ravel()[element], -weight, weight)
        flat = np.zeros((len(packed), t.size), dtype=np.int64)
        # Bits of an element are neighbours: add them up from each element's first.
        if t.bits:
            alive = np.flatnonzero(t.width.ravel())
            firsts = np.flatnonzero(place == 0)
            flat[:, alive] = np.add.reduceat(part * weight, firsts, axis=1)
        codes = flat.reshape(len(packed), *t.shape)
        arrays.append(shift_codes(codes, np.where(t.width > 0, t.lsb - t.fraction, 0)))
    return tuple(arrays)


def _places(t: TensorType) -> tuple[IntArray, IntArray]:
    """For each bit of the tensor's bus its element and its place in it."""
    widths = t.width.ravel()
    element = np.repeat(np.arange(t.size), widths)
    first = np.repeat(np.cumsum(widths) - widths, widths)
    return element, np.arange(len(element)) - first
