"""Matrices over GF(2), the field of single bits: what shift registers with feedback are made of.

A register of L bits is a row (L,) of ones and zeros; one step multiplies it by a matrix (L, L), so
that n steps are the n-th power. Products are taken in float32, which is exact for the sums below
2**24 that occur here, and fast.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hairtrigger.errors import GraphError
from hairtrigger.fixed import IntArray


def shift_matrix(taps: Sequence[int], name: str = "lfsr") -> IntArray:
    """One shift of a Fibonacci register with feedback: element 0 takes the XOR of the ``taps``.

    ``taps``: exponents of the feedback polynomial, distinct, from 1 on; the largest is the length.
    Raises `GraphError` for taps that are no generator.
    """
    length = max(taps, default=0)
    if length < 1 or min(taps) < 1 or len(set(taps)) != len(taps):
        raise GraphError(
            f"LFSR {name!r} with taps {tuple(taps)}.",
            "Give distinct exponents from 1 on, such as (16, 14, 13, 11).",
        )
    matrix = np.eye(length, k=1, dtype=np.int64)  # column n takes bit n - 1
    matrix[[tap - 1 for tap in taps], 0] = 1
    return matrix


def multiply(a: IntArray, b: IntArray) -> IntArray:
    """``a @ b`` over GF(2); ``a``: (..., m), ``b``: (m, n)."""
    total = np.asarray(a, dtype=np.float32) @ np.asarray(b, dtype=np.float32)
    return total.astype(np.int64) & 1


def power(matrix: IntArray, exponent: int) -> IntArray:
    """The ``exponent``-th power, from 0 on, by squaring."""
    found = np.eye(len(matrix), dtype=np.int64)
    while exponent:
        if exponent & 1:
            found = multiply(found, matrix)
        matrix = multiply(matrix, matrix)
        exponent >>= 1
    return found


def orbit(first: IntArray, matrix: IntArray, steps: int) -> IntArray:
    """``first`` (..., L) and what it becomes: (steps, ..., L), each row the one before times
    ``matrix``.

    Known rows are doubled by one product, so there are as many products as ``steps`` has bits.
    """
    found = np.empty((steps, *first.shape), dtype=np.int64)
    found[:1] = first
    known = 1
    while known < steps:
        more = min(known, steps - known)
        found[known : known + more] = multiply(found[:more], matrix)
        matrix = multiply(matrix, matrix)
        known += more
    return found


def rank(rows: IntArray) -> int:
    """Rank of a matrix (rows, columns) over GF(2), by elimination on whole rows."""
    left = [int("".join(map(str, row)), 2) for row in rows.tolist()]
    found = 0
    while left:
        pivot = left.pop()
        if pivot:
            found += 1
            lowest = pivot & -pivot
            left = [row ^ pivot if row & lowest else row for row in left]
    return found


def period_reached(matrix: IntArray, factors: Sequence[int]) -> bool:
    """Does a register of L bits run through all 2**L - 1 states that are not zero?

    ``factors``: the distinct prime factors of 2**L - 1. The order of ``matrix`` divides it, and is
    no smaller unless a power by it over one of the factors is 1 as well.
    """
    whole = (1 << len(matrix)) - 1
    one = np.eye(len(matrix), dtype=np.int64)
    return bool(np.array_equal(power(matrix, whole), one)) and not any(
        np.array_equal(power(matrix, whole // factor), one) for factor in factors
    )


def solve(rows: IntArray, target: IntArray) -> IntArray:
    """Weights (n,) of ones and zeros with ``weights @ rows == target`` for a basis (n, n).

    Raises `GraphError` where ``rows`` are no basis.
    """
    size = len(rows)
    work = np.concatenate([rows.T, target[:, None]], axis=1) & 1
    for column in range(size):
        below = np.flatnonzero(work[column:, column])
        if not below.size:
            raise GraphError("Rows that are no basis over GF(2).", "Use a primitive polynomial.")
        pivot = column + int(below[0])
        work[[column, pivot]] = work[[pivot, column]]
        others = np.flatnonzero(work[:, column])
        others = others[others != column]
        work[others] ^= work[column]
    return work[:, size]
