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

    outputs, bits, places = _answers(model, samples)
    said = {name: score(outputs[place]) for name, place in places.items()}
    signal, control = samples.test.extra["signal"] == 1, samples.agreement
    if samples.same_origin is None:
        flat_of, of_flat, true = samples.test, said["test"], None
    else:
        flat_of, of_flat = samples.same_origin, said["same_origin"]
        true = metrics_blind.auc(flat_of.extra["signal"] == 1, of_flat)
    flat = metrics_blind.flatness(
        metrics_blind.untied(of_flat, seed),
        flat_of.extra["signal"] == 1,
        flat_of.column("SPDhits"),
        samples.pile_up_edges,
        BACKGROUND,
    )
    mass = samples.correlation.extra["mass"]
    known = {}
    if any(layer.name == "hidden1_p" for layer in model.layers):
        p = outputs[places["agreement"], 2:].astype(np.float64)
        known = _informed(p, control.extra["signal"])
    return Figures(
        auc=metrics_blind.auc(signal, said["test"]),
        truncated_auc=metrics_blind.truncated_auc(signal, said["test"]),
        true_auc=true,
        ks=ks(said["agreement"], control),
        cvm=metrics_blind.mass_cvm(said["correlation"], mass, seed),
        probe_auc=probe_auc(bits[places["agreement"]], control.extra["signal"] == 1, seed),
        pile_up=flat.dependence,
        efficiencies=tuple(point.value for point in flat.points),
        **known,
    )


def _answers(
    model: Any, samples: Samples
) -> tuple[NDArray[np.float32], NDArray[np.float32], dict[str, slice]]:
    """Outputs of a network for all candidates to judge by, what its last hidden layer gave, and
    where each sample lies: one pass, so that coins are tossed once."""
    from hairtrigger.train.bernoulli import keras

    last = representation(model).output
    both = keras.Model(model.input, keras.layers.Concatenate()([model.output, last]))
    inputs, places = samples.judged
    found = predict(both, inputs)
    cut = model.output.shape[-1]
    return found[:, :cut], found[:, cut:], places


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


def _informed(p: NDArray[np.float64], s: NDArray[Any]) -> dict[str, float]:
    """What the coins of the last hidden layer know of the domain, from their probabilities."""
    each = metrics_blind.neuron_information(p, s)
    best = np.argsort(each)[-metrics_blind.MOST_NEURONS :]
    return {
        "sum_information": float(each.sum()),
        "joint_information": metrics_blind.joint_information(p[:, best], s),
    }
