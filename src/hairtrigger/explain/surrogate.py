"""A surrogate that people can read: a small decision tree, or a formula, that says what a network
says, and how faithful it is.

The tree needs scikit-learn (``pip install 'hairtrigger[explain]'``), the formula gplearn, which is
asked for by nobody else: each is a `ToolError` where it is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hairtrigger.errors import InputError, ToolError
from hairtrigger.metrics import Fraction, finite, fraction_of, same_length

LEAVES = 32


@dataclass(frozen=True)
class Surrogate:
    """``predict(features (events, features))`` gives (events,); ``text`` is it in words, ``size``
    its leaves or nodes, ``used`` the features that it reads."""

    kind: str
    text: str
    size: int
    used: tuple[str, ...]
    predict: Callable[[NDArray[Any]], NDArray[np.float64]]


@dataclass(frozen=True)
class Fidelity:
    """How a surrogate compares with its network on events that it was not made from.

    ``agreement``: the same decision at the cut. ``explained``: share of the variance of what the
    network says, 1 at best (None where it always says the same).
    """

    agreement: Fraction
    explained: float | None


@dataclass(frozen=True)
class AtSameFakes:
    """Efficiencies of network and surrogate, the latter at the lowest cut with no more fakes."""

    cut: float
    fakes: Fraction
    efficiency: Fraction
    network_fakes: Fraction
    network_efficiency: Fraction


def fit_tree(
    features: ArrayLike,
    names: Sequence[str],
    said: ArrayLike,
    *,
    leaves: int = LEAVES,
    seed: int = 0,
) -> Surrogate:
    """A regression tree (CART, least squares) of at most ``leaves`` leaves for what a network
    ``said`` (events,) of events with these ``features`` (events, features).

    Raises `ToolError` without scikit-learn, `InputError` for arrays that do not fit each other, NaN
    and fewer than two leaves.
    """
    x, y = _checked(features, names, said)
    if leaves < 2:
        raise InputError(f"leaves = {leaves!r}.", "Give 2 or more.")
    try:
        from sklearn.tree import DecisionTreeRegressor, export_text
    except ImportError as error:
        raise ToolError(
            f"scikit-learn cannot be imported: {error}", "pip install 'hairtrigger[explain]'"
        ) from error
    tree = DecisionTreeRegressor(max_leaf_nodes=leaves, random_state=seed).fit(x, y)
    used = sorted({int(n) for n in tree.tree_.feature if n >= 0})

    def predict(values: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(tree.predict(np.asarray(values, dtype=np.float64)))

    text = export_text(tree, feature_names=list(names), decimals=3, max_depth=100)
    return Surrogate("tree", text, int(tree.get_n_leaves()), tuple(names[n] for n in used), predict)


def fit_formula(
    features: ArrayLike,
    names: Sequence[str],
    said: ArrayLike,
    *,
    generations: int = 20,
    population: int = 1000,
    seed: int = 0,
) -> Surrogate:
    """A formula by genetic programming (gplearn), as `fit_tree`.

    Raises `ToolError` without gplearn, and `InputError`.
    """
    x, y = _checked(features, names, said)
    try:
        from gplearn.genetic import SymbolicRegressor
    except ImportError as error:
        raise ToolError(f"gplearn cannot be imported: {error}", "pip install gplearn") from error
    found = SymbolicRegressor(
        population_size=population,
        generations=generations,
        function_set=("add", "sub", "mul", "div", "abs", "max", "min"),
        parsimony_coefficient=1e-3,
        feature_names=list(names),
        random_state=seed,
    )
    try:
        found.fit(x, y)
    except (AttributeError, TypeError) as error:
        raise ToolError(
            f"gplearn does not work with the scikit-learn that is installed: {error}",
            "install a scikit-learn that it was made for, or use a tree",
        ) from error
    program = found._program
    text = str(program)
    used = tuple(name for name in names if name in text)
    return Surrogate(
        "formula", text, int(program.length_), used, lambda v: np.asarray(found.predict(v))
    )


def fidelity(said: ArrayLike, surrogate: ArrayLike, cut: float) -> Fidelity:
    """Compare what a network and its surrogate say, (events,) each, by a decision at ``cut``."""
    a, b = finite("said", said), finite("surrogate", surrogate)
    same_length(said=a, surrogate=b)
    variance = float(a.var())
    explained = 1 - float(((a - b) ** 2).mean()) / variance if variance else None
    return Fidelity(fraction_of((a >= cut) == (b >= cut)), explained)


def at_same_fakes(
    network: tuple[ArrayLike, ArrayLike], surrogate: tuple[ArrayLike, ArrayLike], cut: float
) -> AtSameFakes:
    """Efficiency on signal at the network's fakes on background; each pair is what it says of
    (signal, background). Raises `InputError` for NaN or no events."""
    (signal, noise), (own_signal, own_noise) = (
        tuple(finite("values", part) for part in pair) for pair in (network, surrogate)
    )
    if not min(map(len, (signal, noise, own_signal, own_noise))):
        raise InputError("There are no events to compare.", "Give signal and background.")
    fakes = fraction_of(noise >= cut)
    allowed = int(fakes.value * len(own_noise))
    # Just above the first value that may not pass: a tree says few values, many events each.
    ordered = np.sort(own_noise)[::-1]
    lowest = -np.inf if allowed >= len(ordered) else np.nextafter(ordered[allowed], np.inf)
    return AtSameFakes(
        float(lowest),
        fraction_of(own_noise >= lowest),
        fraction_of(own_signal >= lowest),
        fakes,
        fraction_of(signal >= cut),
    )


def _checked(
    features: ArrayLike, names: Sequence[str], said: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = finite("features", features), finite("said", said)
    if x.ndim != 2 or y.ndim != 1 or x.shape[1] != len(names) or not len(names):
        raise InputError(
            f"Features of shape {x.shape} with {len(names)} names, outputs of shape {y.shape}.",
            "Give (events, features), a name for each feature, and (events,).",
        )
    same_length(features=x, said=y)
    return x, y
