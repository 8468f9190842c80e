"""Figures of a network of the tau3mu study: what it knows of the signal, and of what it must not.

A network of coins is judged three ways: tossing once an event, averaging 16 tosses, and with every
neuron on its likelier side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger import metrics_blind
from hairtrigger.detectors.lhcb import Candidates
from hairtrigger.studies.tau3mu import Samples, representation, score
from hairtrigger.train import Data, predict

BACKGROUND = 0.1
"""Share of background accepted where the efficiency is looked at against pile-up."""
DRAWS = 16
"""Tosses whose outputs are averaged, beside one."""


@dataclass(frozen=True)
class Figures:
    """What is measured of one network; ``auc`` and ``truncated_auc`` on candidates as in training,
    ``true_auc`` on signal and background of one origin. ``efficiencies`` in bins of SPDhits at
    `BACKGROUND` (equal scores in random order), and ``pile_up``: their `Flatness.dependence`.
    Information in bits, of networks of coins: the sum over the 32 neurons, and the joint one of the
    12 that know most."""

    auc: float
    truncated_auc: float
    true_auc: float | None
    ks: float
    cvm: float
    probe_auc: float
    pile_up: float
    efficiencies: tuple[float, ...]
    sum_information: float | None = None
    joint_information: float | None = None


@dataclass(frozen=True)
class Known:
    """What the 32 neurons know after an epoch, in bits, summed over neurons: of their input, of the
    signal, of simulation or data, and of the bin of pile-up."""

    epoch: int
    input: float
    signal: float
    domain: float
    pile_up: float


@dataclass(frozen=True)
class Point:
    """One training, judged in one way: how, how strongly, from which seed, and its figures.

    ``plane``: of coins, what the neurons know after each epoch.
    """

    method: str
    strength: float
    seed: int
    figures: Figures
    plane: tuple[Known, ...] = ()


def judge(model: Any, samples: Samples, seed: int) -> Figures:
    """All figures of a network of any method, as it is."""
    from hairtrigger.train.probe import probe_auc

    def scores(candidates: Candidates) -> NDArray[np.float64]:
        return score(predict(model, samples.scaler(candidates)))

    signal = samples.test.extra["signal"] == 1
    found = scores(samples.test)
    control = samples.agreement
    bits = predict(representation(model), samples.scaler(control))
    if samples.same_origin is None:
        flat_of, true = samples.test, None
    else:
        flat_of = samples.same_origin
        true = metrics_blind.auc(flat_of.extra["signal"] == 1, scores(flat_of))
    flat = metrics_blind.flatness(
        metrics_blind.untied(scores(flat_of), seed),
        flat_of.extra["signal"] == 1,
        flat_of.column("SPDhits"),
        samples.pile_up_edges,
        BACKGROUND,
    )
    return Figures(
        auc=metrics_blind.auc(signal, found),
        truncated_auc=metrics_blind.truncated_auc(signal, found),
        true_auc=true,
        ks=ks(scores(control), control),
        cvm=metrics_blind.mass_cvm(
            scores(samples.correlation), samples.correlation.extra["mass"], seed
        ),
        probe_auc=probe_auc(bits, control.extra["signal"] == 1, seed),
        pile_up=flat.dependence,
        efficiencies=tuple(point.value for point in flat.points),
        **_informed(model, samples),
    )


def judged_ways(method: str, model: Any, samples: Samples, seed: int) -> dict[str, Figures]:
    """Figures by the name under which a method stands in the trade-off: one, or those of coins."""
    found = {method: judge(model, samples, seed)}
    if method == "coins":
        from hairtrigger.train.bernoulli import LIKELIER, TOSS, toss_how

        averaged, still = toss_how(model, TOSS, DRAWS), toss_how(model, LIKELIER)
        found[f"coins, {DRAWS} draws"] = judge(averaged, samples, seed)
        found["coins, likelier side"] = judge(still, samples, seed)
    return found


def known(model: Any, validation: Data, epoch: int) -> Known:
    """What the last hidden layer of a network of coins knows of the validation sample."""
    p = predict(model, validation.inputs)[:, 2:].astype(np.float64)
    signal, simulated, pile_up = validation.targets.T

    def of(s: NDArray[Any]) -> float:
        rows = ~np.isnan(s)
        return metrics_blind.sum_information(p[rows], s[rows].astype(int))

    return Known(epoch, metrics_blind.input_information(p), of(signal), of(simulated), of(pile_up))


def ks(scores: NDArray[np.float64], control: Candidates) -> float:
    """Weighted distance between the scores of the simulated and the recorded control channel."""
    simulated = control.extra["signal"] == 1
    weights = control.extra["weight"]
    return metrics_blind.weighted_ks(
        scores[simulated], scores[~simulated], weights[simulated], weights[~simulated]
    )


def _informed(model: Any, samples: Samples) -> dict[str, float]:
    """What the coins of the last hidden layer know of the domain, from their probabilities."""
    if not any(layer.name == "hidden1_p" for layer in model.layers):
        return {}
    p = predict(model, samples.scaler(samples.agreement))[:, 2:].astype(np.float64)
    s = samples.agreement.extra["signal"]
    each = metrics_blind.neuron_information(p, s)
    best = np.argsort(each)[-metrics_blind.MOST_NEURONS :]
    return {
        "sum_information": float(each.sum()),
        "joint_information": metrics_blind.joint_information(p[:, best], s),
    }
