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
class Rule:
    """A leaf of a tree: the conditions that lead to it, what it says, and the share of the events
    that it was made from that end there."""

    when: str
    value: float
    share: float


@dataclass(frozen=True)
class Surrogate:
    """``predict(features (events, features))`` gives (events,); ``text`` is it in words, ``size``
    its leaves, nodes or terms, ``used`` the features that it reads; ``rules``: the leaves of a
    tree."""

    kind: str
    text: str
    size: int
    used: tuple[str, ...]
    predict: Callable[[NDArray[Any]], NDArray[np.float64]]
    rules: tuple[Rule, ...] = ()


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
    reads = tuple(names[n] for n in used)
    rules = tuple(_rules(tree.tree_, names, 0, []))
    return Surrogate("tree", text, int(tree.get_n_leaves()), reads, predict, rules)


def _rules(tree: Any, names: Sequence[str], node: int, way: list[tuple[str, str, float]]) -> Any:
    """The leaves below a node; of equal comparisons on the way to it the sharpest stays."""
    feature = int(tree.feature[node])
    if feature < 0:
        sharpest: dict[tuple[str, str], float] = {}
        for name, sign, cut in way:
            sharpest[name, sign] = cut  # Further down is sharper.
        words = [f"{name} {sign} {cut:.4g}" for (name, sign), cut in sharpest.items()]
        share = float(tree.n_node_samples[node] / tree.n_node_samples[0])
        yield Rule(" and ".join(words) or "always", float(tree.value[node].reshape(-1)[0]), share)
        return
    cut = float(tree.threshold[node])
    yield from _rules(
        tree, names, int(tree.children_left[node]), [*way, (names[feature], "<=", cut)]
    )
    yield from _rules(
        tree, names, int(tree.children_right[node]), [*way, (names[feature], ">", cut)]
    )


def fit_sum(
    features: ArrayLike, names: Sequence[str], said: ArrayLike, *, terms: int = 4
) -> Surrogate:
    """A weighted sum of at most ``terms`` features and a constant, by least squares; the feature
    that helps most is taken first, and so on (forward selection). Needs no other package.

    Raises `InputError` for arrays that do not fit each other, NaN, or fewer than one term.
    """
    x, y = _checked(features, names, said)
    if terms < 1:
        raise InputError(f"terms = {terms!r}.", "Give 1 or more.")
    chosen: list[int] = []
    best = (float(((y - y.mean()) ** 2).sum()), np.array([y.mean()]))
    for _ in range(min(terms, x.shape[1])):
        tried: list[tuple[float, int, NDArray[np.float64]]] = []
        for n in set(range(x.shape[1])) - set(chosen):
            matrix = np.column_stack([np.ones(len(x)), x[:, [*chosen, n]]])
            factors = np.linalg.lstsq(matrix, y, rcond=None)[0]
            tried.append((float(((matrix @ factors - y) ** 2).sum()), n, factors))
        left, n, factors = min(tried, key=lambda one: one[:2])
        if left >= best[0]:
            break
        chosen.append(n)
        best = left, factors
    constant, *weights = best[1].tolist()
    text = f"{constant:.4g}" + "".join(
        f" {'-' if weight < 0 else '+'} {abs(weight):.4g} {names[n]}"
        for n, weight in zip(chosen, weights, strict=True)
    )

    def predict(values: NDArray[Any]) -> NDArray[np.float64]:
        columns = np.asarray(values, dtype=np.float64)[:, chosen]
        return np.asarray(constant + columns @ np.array(weights), dtype=np.float64)

    return Surrogate("sum", text, len(chosen), tuple(names[n] for n in chosen), predict)


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
