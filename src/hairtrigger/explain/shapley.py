"""Shapley values of groups of inputs: exact for few groups, sampled for many."""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np

from hairtrigger.errors import InputError
from hairtrigger.explain.explained import Baseline, Shares, as_baseline
from hairtrigger.explain.groups import Groups
from hairtrigger.explain.removal import CHUNK_BYTES, walk
from hairtrigger.explain.subject import Scalar, as_subject

EXACT_GROUPS = 12
"""Up to so many groups all coalitions are answered: 4,096 an event."""


def shapley(
    model: Any,
    inputs: Any,
    groups: Groups,
    output: int | Scalar | None = None,
    *,
    baseline: Baseline = 0.0,
    orders: int | None = None,
    seed: int = 0,
) -> Shares:
    """The Shapley value of each group, with absent groups put to the baseline (L. S. Shapley,
    "A value for n-person games", 1953; E. Strumbelj and I. Kononenko, JMLR 11 (2010) 1).

    phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S and i) - v(S)). Exact for up to
    `EXACT_GROUPS` groups where ``orders`` is None. Otherwise from ``orders`` orders, half drawn
    and half these backwards (R. Mitchell et al., JMLR 23 (2022) 43), with a standard error for
    each share. Either way shares add up to the output less that of the baseline. A group that is at
    the baseline in an event has 0 there. Raises `InputError` for more groups without ``orders``.
    """
    subject = as_subject(model, output)
    events = subject.check(inputs)
    groups.check(subject.shape)
    base, events = as_baseline(baseline, events)
    if orders is not None:
        labels = groups.labels.reshape(-1)
        values, error, answers, without = walk(
            subject, events, base, labels, len(groups), orders, seed
        )
        how = f"shapley, {orders} orders"
        return Shares(
            values, groups.names, subject.scalar.name, how, baseline, answers, without, error
        )
    if len(groups) > EXACT_GROUPS:
        raise InputError(
            f"{len(groups)} groups have {2 ** len(groups):,} coalitions.",
            f"Give orders=64 or so to sample them, or {EXACT_GROUPS} groups at most.",
        )
    values, answers, without = _exact(subject, events, base, groups)
    return Shares(
        values, groups.names, subject.scalar.name, "shapley, exact", baseline, answers, without
    )


def _exact(subject: Any, events: Any, base: Any, groups: Groups) -> Any:
    values = np.zeros((len(events), len(groups)))
    answers, without = np.empty(len(events)), np.empty(len(events))
    changed = events != base
    there = np.stack(
        [
            (changed & (groups.labels == group)).any(axis=tuple(range(1, events.ndim)))
            for group in range(len(groups))
        ],
        axis=1,
    )
    # Events with the same groups in play are answered together; the others have no part.
    patterns, which = np.unique(there, axis=0, return_inverse=True)
    which = which.reshape(-1)
    for number, pattern in enumerate(patterns):
        mine, active = np.flatnonzero(which == number), np.flatnonzero(pattern)
        n = len(active)
        coalitions = (np.arange(1 << n)[:, None] >> np.arange(n)) & 1 == 1
        member = np.zeros((1 << n, len(groups)), bool)
        member[:, active] = coalitions
        shown = member[:, groups.labels]
        weight = _weights(coalitions)
        step = max(1, CHUNK_BYTES // (events[0].nbytes * (1 << n)))
        for start in range(0, len(mine), step):
            part = mine[start : start + step]
            made = np.where(shown[None], events[part][:, None], base).astype(events.dtype)
            flat = made.reshape(-1, *subject.shape)
            room = max(1, CHUNK_BYTES // events[0].nbytes)
            found = np.concatenate(
                [subject.values(flat[at : at + room]) for at in range(0, len(flat), room)]
            ).reshape(len(part), 1 << n)
            # Not a matrix product, whose last bit depends on how many events are multiplied.
            values[np.ix_(part, active)] = (found[:, :, None] * weight).sum(axis=1)
            without[part], answers[part] = found[:, 0], found[:, -1]
    return values, answers, without


def _weights(coalitions: Any) -> Any:
    """Of each coalition's answer in each player's value: (coalitions, players)."""
    n = coalitions.shape[1]
    if n == 0:
        return np.zeros((1, 0))
    size = coalitions.sum(axis=1)[:, None]
    gain = np.array([1 / (n * comb(n - 1, k)) for k in range(n)])
    # With the player the coalition without it has one member less.
    return np.where(coalitions, gain[np.maximum(size - 1, 0)], -gain[np.minimum(size, n - 1)])
