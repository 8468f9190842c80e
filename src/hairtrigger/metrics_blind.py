"""Figures of a network that must not know something: where its events come from, pile-up, the mass.

AUC, plain and truncated, says what it knows of the signal; Kolmogorov-Smirnov and Cramer-von Mises
what its score knows of the domain and of the mass; mutual information what its binary neurons know.
"Truncated AUC" and the windows of the mass test are those of the LHCb challenge "Flavours of
Physics" (Kaggle, 2015); neither is to be compared with a plain AUC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hairtrigger.errors import InputError
from hairtrigger.metrics import LEVEL, Fraction, finite, fraction, same_length

TPR_EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
TPR_WEIGHTS = (2.0, 1.5, 1.0, 0.5, 0.0)
"""Segments of the true positive rate, and what each counts in the truncated AUC."""
MASS_WINDOW, MASS_STEP = 200, 50
MOST_NEURONS = 12
"""Neurons up to which the joint distribution of their bits is written out: 2**12 patterns."""

Floats = NDArray[np.float64]


# --- how well it knows the signal ----------------------------------------------------------------


def roc(signal: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """False and true positive rates at every distinct score, from none accepted to all.

    ``signal`` (events,) True or False, ``scores`` (events,), larger for signal. Equal scores are
    one step, so their order does not matter. Raises `InputError` without events of both kinds.
    """
    truth = _flags("signal", signal)
    values = finite("scores", scores)
    same_length(signal=truth, scores=values)
    if not 0 < np.count_nonzero(truth) < len(truth):
        raise InputError(
            f"{np.count_nonzero(truth)} of {len(truth)} events are signal.",
            "A ROC curve needs signal and background.",
        )
    order = np.argsort(-values, kind="stable")
    values, truth = values[order], truth[order]
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    true = np.concatenate([[0], np.cumsum(truth)[last]])
    false = np.concatenate([[0], np.cumsum(~truth)[last]])
    return false / false[-1], true / true[-1]


def auc(signal: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a signal event scores above a background event.

    Equal scores count half. Raises as `roc` does.
    """
    false, true = roc(signal, scores)
    return float(np.trapezoid(true, false))


def truncated_auc(signal: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve with its parts weighted by `TPR_WEIGHTS` along the true positive
    rate, 1 for a perfect score; what the challenge ranked by. Raises as `roc` does."""
    false, true = roc(signal, scores)
    below = [float(np.trapezoid(np.minimum(true, edge), false)) for edge in TPR_EDGES]
    weighted = np.diff(below) @ np.array(TPR_WEIGHTS)
    return float(weighted / (np.diff(TPR_EDGES) @ np.array(TPR_WEIGHTS)))


# --- what its score knows ------------------------------------------------------------------------


def weighted_ks(
    a: ArrayLike,
    b: ArrayLike,
    weights_a: ArrayLike | None = None,
    weights_b: ArrayLike | None = None,
) -> float:
    """Largest distance between the distribution functions of two samples of scores.

    Weights (events,) may be negative, as sWeights are; those of a sample must add up to more than
    zero. Raises `InputError`.
    """
    x, y = finite("a", a), finite("b", b)
    steps = [_steps("a", x, weights_a), -_steps("b", y, weights_b)]
    values = np.concatenate([x, y])
    order = np.argsort(values, kind="stable")
    distance = np.cumsum(np.concatenate(steps)[order])
    values = values[order]
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # equal scores at once
    return float(np.abs(distance[last]).max())


def mass_cvm(
    scores: ArrayLike,
    masses: ArrayLike,
    seed: int,
    *,
    window: int = MASS_WINDOW,
    step: int = MASS_STEP,
) -> float:
    """Does the score depend on the mass: the mean Cramer-von Mises distance between the scores of
    ``window`` events next to each other in mass, every ``step`` events, and those of all.

    Equal scores (and masses) are put in a random order drawn from ``seed``: by the order of the
    file a constant score would seem to know the mass (0.156 for 0.0). Raises `InputError`.
    """
    x, m = finite("scores", scores), finite("masses", masses)
    same_length(scores=x, masses=m)
    events = len(x)
    if not 1 <= window <= events or step < 1:
        raise InputError(
            f"{events} events in windows of {window}, a step of {step}.",
            f"Give at least {max(window, 1)} events, and a step from 1 on.",
        )
    rng = np.random.default_rng(seed)
    rank = np.empty(events, dtype=np.int64)
    rank[np.lexsort((rng.random(events), x))] = np.arange(events)
    rank = rank[np.lexsort((rng.random(events), m))]
    all_ = np.arange(1, events + 1) / events
    found = []
    for start in range(0, events - window + 1, step):
        here = np.zeros(events)
        here[rank[start : start + window]] = 1 / window
        found.append(np.mean((all_ - np.cumsum(here)) ** 2))
    return float(np.mean(found))


@dataclass(frozen=True)
class Flatness:
    """Efficiency of the signal in bins of a quantity, at one threshold for all.

    ``background``: the share of background above ``threshold``; bin ``k`` is
    ``edges[k] <= quantity < edges[k + 1]``.
    """

    threshold: float
    background: Fraction
    edges: tuple[float, ...]
    points: tuple[Fraction, ...]

    @property
    def dependence(self) -> float:
        """Largest less smallest efficiency of a bin, over that of all bins together."""
        values = [point.value for point in self.points if point.total]
        passed = sum(point.passed for point in self.points)
        total = sum(point.total for point in self.points)
        return (max(values) - min(values)) / (passed / total) if passed else float("nan")


def untied(scores: ArrayLike, seed: int) -> Floats:
    """Ranks of the scores (events,), those of equal scores at random: any share of the events can
    then be passed. Raises `InputError`."""
    x = finite("scores", scores)
    order = np.lexsort((np.random.default_rng(seed).random(len(x)), x))
    ranks = np.empty(len(x))
    ranks[order] = np.arange(len(x))
    return ranks


def flatness(
    scores: ArrayLike,
    signal: ArrayLike,
    quantity: ArrayLike,
    edges: ArrayLike,
    background: float,
    level: float = LEVEL,
) -> Flatness:
    """How the efficiency depends on ``quantity`` (pile-up, say) where a fixed share of all
    ``background`` is accepted.

    ``scores``, ``signal``, ``quantity``: (events,). The threshold is the lowest at which at most
    that share passes (score >= threshold). Raises `InputError`.
    """
    x, q = finite("scores", scores), finite("quantity", quantity)
    truth, bins = _flags("signal", signal), finite("edges", edges)
    same_length(scores=x, signal=truth, quantity=q)
    if not 0 < background < 1 or bins.size < 2 or not (np.diff(bins) > 0).all():
        raise InputError(
            f"background = {background!r}, edges = {bins.tolist()}.",
            "Give a share between 0 and 1, and two or more increasing edges.",
        )
    others = np.sort(x[~truth])[::-1]
    if not others.size or not truth.any():
        raise InputError("There is no signal or no background.", "Give events of both kinds.")
    allowed = int(background * others.size)
    # Equal scores pass together, so the threshold lies above the first that may not.
    threshold = float(np.nextafter(others[allowed], np.inf))
    places = np.digitize(q, bins) - 1
    points = [
        fraction(
            np.count_nonzero(truth & (places == n) & (x >= threshold)),
            np.count_nonzero(truth & (places == n)),
            level,
        )
        for n in range(len(bins) - 1)
    ]
    passed = fraction(np.count_nonzero(others >= threshold), others.size, level)
    return Flatness(threshold, passed, tuple(bins.tolist()), tuple(points))


# --- what its neurons know -----------------------------------------------------------------------


def entropy(p: ArrayLike) -> Floats:
    """Entropy in bits of coins with probability ``p``, any shape."""
    one = np.asarray(p, dtype=np.float64)
    return -(_plogp(one) + _plogp(1 - one))


def neuron_information(probabilities: ArrayLike, classes: ArrayLike) -> Floats:
    """I(T_i; S) in bits of each neuron (neurons,), from the probabilities of its bits.

    ``probabilities`` (events, neurons), ``classes`` (events,) of S, any integers. With theta the
    mean probability, I = H(theta) - sum over s of (n_s / N) H(theta_s) (arXiv 2208.02656). From
    bits instead of probabilities it is too large by 1 / (2 N ln 2) for two classes. Raises
    `InputError` for what is no probability.
    """
    p, groups = _neurons(probabilities, classes)
    found = entropy(p.mean(axis=0))
    for rows in groups:
        found -= len(rows) / len(p) * entropy(p[rows].mean(axis=0))
    return found


def sum_information(probabilities: ArrayLike, classes: ArrayLike) -> float:
    """The sum of `neuron_information`. An upper bound of the joint information only where the
    neurons are independent given S."""
    return float(neuron_information(probabilities, classes).sum())


def input_information(probabilities: ArrayLike) -> float:
    """I(T_i; X) in bits, summed over the neurons: what each knows of its input.

    H(theta) less the mean over events of the entropy of the coin (N. Tishby et al.,
    physics/0004057): 0 for coins that are the same whatever comes, 1 for a neuron that does not
    toss and is 1 for half of the events. ``probabilities`` (events, neurons). Raises `InputError`.
    """
    p, _ = _neurons(probabilities, np.zeros(len(np.asarray(probabilities)), dtype=int))
    return float((entropy(p.mean(axis=0)) - entropy(p).mean(axis=0)).sum())


def joint_information(probabilities: ArrayLike, classes: ArrayLike) -> float:
    """I(T; S) in bits of all neurons together, exact for the given events, for up to
    `MOST_NEURONS`.

    Given an event, its neurons toss independently; over the events of a class they need not be.
    So the distribution of the patterns is the mean over events of product distributions, and no
    independence given S is assumed. Raises `InputError`.
    """
    p, groups = _neurons(probabilities, classes)
    if p.shape[1] > MOST_NEURONS:
        raise InputError(
            f"The joint distribution of {p.shape[1]} neurons has 2**{p.shape[1]} patterns.",
            f"Give up to {MOST_NEURONS}, or train a probe (hairtrigger.train.probe).",
        )
    shares = [_patterns(p[rows]) for rows in groups]
    weights = np.array([len(rows) / len(p) for rows in groups])
    whole = weights @ np.stack(shares)
    within = -np.array([_plogp(share).sum() for share in shares])
    return float(-_plogp(whole).sum() - weights @ within)


def _patterns(p: Floats) -> Floats:
    """Distribution (2**neurons,) of the bits of neurons, averaged over events."""
    total = np.zeros(1 << p.shape[1])
    chunk = max(1, (1 << 22) // total.size)
    for start in range(0, len(p), chunk):
        rows = p[start : start + chunk]
        found = np.ones((len(rows), 1))
        for column in rows.T:
            found = np.concatenate([found * (1 - column)[:, None], found * column[:, None]], axis=1)
        total += found.sum(axis=0)
    return total / len(p)


def _plogp(p: Floats) -> Floats:
    return p * np.log2(np.where(p > 0, p, 1.0))


def _neurons(probabilities: ArrayLike, classes: ArrayLike) -> tuple[Floats, Sequence[NDArray]]:
    """Checked probabilities, and the rows of each class."""
    p = finite("probabilities", probabilities)
    if p.ndim != 2 or not p.size or p.min() < 0 or p.max() > 1:
        raise InputError(
            f"Probabilities of shape {p.shape} must be (events, neurons), from 0 to 1.",
            "Give what the neurons toss with, not logits.",
        )
    s = np.asarray(classes)
    same_length(probabilities=p, classes=s)
    return p, [np.flatnonzero(s == value) for value in np.unique(s)]


def _steps(name: str, x: Floats, weights: ArrayLike | None) -> Floats:
    w = np.ones(len(x)) if weights is None else finite(f"weights of {name}", weights)
    same_length(scores=x, weights=w)
    if not len(x) or w.sum() <= 0:
        raise InputError(
            f"The weights of sample {name} add up to {w.sum():g}.",
            "Give events whose weights add up to more than 0.",
        )
    return w / w.sum()


def _flags(name: str, values: ArrayLike) -> NDArray[np.bool_]:
    array = np.asarray(values)
    if array.dtype != np.bool_:
        raise InputError(f"{name} holds {array.dtype}, not True and False.", "Compare first.")
    return array
