"""What a network says, as a tree or a sum that people can read: an answer for a study's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.explain.case import Answer
from hairtrigger.explain.surrogate import Surrogate, fidelity, fit_sum, fit_tree

LEAVES, TERMS = 12, 4


def tree_answer(
    features: NDArray[Any],
    names: Sequence[str],
    said: NDArray[np.float64],
    *,
    what: str,
    events: str,
    cut: float = 0.0,
    leaves: int = LEAVES,
    seed: int = 0,
) -> Answer:
    """A tree for what a network ``said`` (events,) of ``features`` (events, features), its rules.

    The first half of the events makes it, the second judges it. ``what``: the name of what is said;
    ``events``: what they are; ``cut``: of a decision. Raises what `fit_tree` raises.
    """
    half = len(said) // 2
    made = fit_tree(features[:half], names, said[:half], leaves=leaves, seed=seed)
    note, figures = _judged(made, features[half:], said[half:], cut, what, events)
    rows = sorted(made.rules, key=lambda rule: -rule.value)
    return Answer(
        "tree",
        f"What does the network do, as a tree of {made.size} leaves?",
        f"A regression tree for {what}. {note}",
        ("where", what, "share of the events"),
        tuple((rule.when, rule.value, rule.share) for rule in rows),
        figures,
    )


def sum_answer(
    features: NDArray[Any],
    names: Sequence[str],
    said: NDArray[np.float64],
    truth: NDArray[np.float64],
    *,
    what: str,
    events: str,
    terms: int = TERMS,
) -> Answer:
    """Weighted sums of 1 to ``terms`` features for what a network ``said`` of a number whose
    ``truth`` is known, (events,) each: how much of it they explain, and how far both are off."""
    half = len(said) // 2
    rows: list[tuple[str | float | None, ...]] = []
    figures: dict[str, float | None] = {}
    for count in range(1, terms + 1):
        made = fit_sum(features[:half], names, said[:half], terms=count)
        guess = made.predict(features[half:])
        explained = fidelity(said[half:], guess, 0.0).explained
        off = [float(np.abs(x - truth[half:]).mean()) for x in (guess, said[half:])]
        rows.append((made.size, made.text, explained, *off))
        figures[f"explained_by_{count}"] = explained
    return Answer(
        "sum",
        f"What does the network do, as a sum of up to {terms} terms?",
        f"Least squares for {what} on half of {len(said):,} {events}, judged on the other half.",
        ("terms", what, "variance explained", "mean |sum - true|", "mean |network - true|"),
        tuple(rows),
        figures,
    )


def _judged(
    made: Surrogate,
    features: NDArray[Any],
    said: NDArray[np.float64],
    cut: float,
    what: str,
    events: str,
) -> tuple[str, dict[str, float | None]]:
    found = fidelity(said, made.predict(features), cut)
    same = found.agreement
    explained = "" if found.explained is None else f"{100 * found.explained:.1f} % of its variance"
    note = (
        f"Made from one half of {2 * len(said):,} {events}, judged on the other: the same decision "
        f"({what} at {cut:g} or more) for {same.value:.4f} ({same.low:.4f} to {same.high:.4f}), "
        f"{explained or 'no variance to explain'}. It reads {', '.join(made.used) or 'nothing'}."
    )
    return note, {
        "tree_agreement": same.value,
        "tree_agreement_low": same.low,
        "tree_agreement_high": same.high,
        "tree_explained": found.explained,
    }
