"""What physicists ask of tau -> 3 mu: which features carry the domain, and what neurons know."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger import metrics_blind
from hairtrigger.detectors.lhcb import FEATURES
from hairtrigger.errors import InputError, StorageError
from hairtrigger.explain.case import Answer, Asked, Case, Events
from hairtrigger.explain.groups import Groups, by_axis
from hairtrigger.explain.readable import tree_answer
from hairtrigger.explain.subject import Scalar
from hairtrigger.frontends.keras_file import import_keras, load_model
from hairtrigger.studies.tau3mu import INPUTS, Samples, score
from hairtrigger.studies.tau3mu_figures import ks
from hairtrigger.studies.tau3mu_samples import SAMPLES, read_samples
from hairtrigger.train import predict

GROUPS: Groups = by_axis((len(INPUTS),), 0, INPUTS)
SCALAR = Scalar("signal less background logit", lambda y: y[:, 1] - y[:, 0])
CONTROL = 40_000
"""Candidates of the control channel that features are exchanged in."""
REPEATS = 3
PLAIN, COINS = "plain network", "network of coins"


def files(folder: Path | None) -> dict[str, Path]:
    """The plain network and the one of coins of a run folder: seed 1, the strength nearest to 1."""
    if folder is None:
        return {}
    stages = folder / "stages"
    coins = sorted(
        (path for path in stages.glob("s1_coins_*") if (path / "model.keras").exists()),
        key=lambda path: abs(np.log(float(path.name.split("_")[-1].replace("p", ".")))),
    )
    found = {PLAIN: stages / "s1_plain/model.keras"}
    if coins:
        found[COINS] = coins[0] / "model.keras"
    return {name: path for name, path in found.items() if path.exists()}


def load(paths: Mapping[str, Path]) -> tuple[dict[str, Any], str]:
    """Networks; coins fall by p >= 1/2, so that an event has one answer."""
    import_keras()
    from hairtrigger.train import bernoulli

    found: dict[str, Any] = {}
    for name, path in paths.items():
        model = load_model(path)
        coins = any(isinstance(layer, bernoulli.Toss) for layer in model.layers)
        found[name] = bernoulli.toss_how(model, "likelier") if coins else model
    return found, (
        "The chip tosses coins from registers, so it has no answer of one event alone; the network "
        "of coins is explained with its coins replaced by p >= 1/2."
    )


def samples(folder: Path | None) -> Samples:
    """The candidates of a run. Raises `StorageError` without one."""
    if folder is None:
        raise StorageError("No run of tau3mu is given.", "Give --run.")
    return read_samples(folder / "stages/simulate" / SAMPLES)


def accepted(network: Any, count: int, seed: int, folder: Path | None = None) -> Events:
    """``count`` signal candidates of the test sample with a positive score."""
    made = samples(folder)
    signal = np.flatnonzero(made.test.extra["signal"] == 1)
    chosen = np.random.default_rng(seed).permutation(signal)[: 4 * count + 100]
    given = made.scaler(_select(made.test, chosen))
    said = score(predict(network, given))
    kept = np.flatnonzero(said > 0)[:count]
    if len(kept) < count:
        raise InputError(
            f"Only {len(kept)} of {len(chosen)} signal candidates have a positive score.",
            "Explain a trained network, or ask for fewer events.",
        )
    captions = tuple(f"signal candidate, score {said[n]:.2f}" for n in kept)
    return Events(given[kept], "signal candidates with a positive score", None, captions)


def _select(candidates: Any, where: NDArray[np.intp]) -> Any:
    extra = {name: values[where] for name, values in candidates.extra.items()}
    return type(candidates)(candidates.features[where], extra)


def domain_features(asked: Asked) -> Answer:
    """Permutation importance of each feature for the distance of simulated and recorded scores.

    A feature is exchanged between candidates of the control channel, simulated and recorded
    together, so that it says no more where a candidate comes from (L. Breiman, Machine Learning 45
    (2001) 5): the distance that goes is what the feature brought.
    """
    made = samples(asked.run)
    control = made.agreement
    rng = np.random.default_rng(asked.seed)
    chosen = rng.permutation(len(control))[:CONTROL]
    control = _select(control, chosen)
    given = made.scaler(control)
    test = made.test
    part = rng.permutation(len(test))[:CONTROL]
    signal = test.extra["signal"][part] == 1
    of_test = made.scaler(_select(test, part))
    figures: dict[str, float | None] = {}
    found: dict[str, NDArray[np.float64]] = {}
    lost: dict[str, NDArray[np.float64]] = {}
    spread: dict[str, NDArray[np.float64]] = {}
    for name, network in asked.networks.items():
        whole = ks(score(predict(network, given)), control)
        area = metrics_blind.auc(signal, score(predict(network, of_test)))
        key = name.replace(" ", "_")
        figures |= {f"ks_{key}": whole, f"auc_{key}": area}
        drops = np.zeros((len(INPUTS), REPEATS))
        losses = np.zeros(len(INPUTS))
        for n in range(len(INPUTS)):
            for repeat in range(REPEATS):
                mixed = given.copy()
                mixed[:, n] = rng.permutation(given[:, n])
                drops[n, repeat] = whole - ks(score(predict(network, mixed)), control)
            mixed = of_test.copy()
            mixed[:, n] = rng.permutation(of_test[:, n])
            losses[n] = area - metrics_blind.auc(signal, score(predict(network, mixed)))
            asked.tell(n, len(INPUTS))
        found[name], lost[name] = drops.mean(axis=1), losses
        spread[name] = drops.std(axis=1, ddof=1) / np.sqrt(REPEATS)
    first = next(iter(found))
    order = np.argsort(-found[first], kind="stable")[:15]
    rows = tuple(
        (
            INPUTS[n],
            *(
                float(value[n])
                for name in found
                for value in (found[name], spread[name], lost[name])
            ),
        )
        for n in order
    )
    return Answer(
        "domain",
        "Which features carry the domain, simulated or recorded?",
        f"Change of the weighted KS distance of {len(control):,} candidates of the control channel "
        f"and of the AUC of {len(part):,} test candidates where one feature is exchanged between "
        f"candidates; {REPEATS} exchanges, with their standard error. The 15 that bring the plain "
        "network the most distance; KS and AUC of the whole networks below.",
        (
            "feature",
            *(
                f"{name}: {what}"
                for name in found
                for what in ("KS brought", "its error", "AUC brought")
            ),
        ),
        rows,
        figures,
    )


def neurons(asked: Asked) -> Answer | None:
    """What each coin of the last hidden layer knows of the domain, and of the signal."""
    network = asked.networks.get(COINS)
    if network is None:
        return None
    keras = import_keras()
    made = samples(asked.run)
    p_layer = keras.Model(network.input, network.get_layer("hidden1_p").output)
    control, test = made.agreement, made.test
    p = np.asarray(predict(p_layer, made.scaler(control)), np.float64)
    of_domain = metrics_blind.neuron_information(p, control.extra["signal"].astype(int))
    q = np.asarray(predict(p_layer, made.scaler(test)), np.float64)
    of_signal = metrics_blind.neuron_information(q, test.extra["signal"].astype(int))
    order = np.argsort(-of_domain, kind="stable")
    rows = tuple(
        (int(n), float(of_domain[n]), float(of_signal[n]), float(p[:, n].mean())) for n in order
    )
    return Answer(
        "neurons",
        "What does each neuron know of the domain?",
        "Mutual information in bits of each coin of the last hidden layer with the origin of the "
        f"{len(p):,} control candidates and with signal or background of {len(q):,} test "
        "candidates, from the coins' probabilities.",
        ("neuron", "I with the domain [bit]", "I with the signal [bit]", "mean probability"),
        rows,
        {"sum_domain": float(of_domain.sum()), "sum_signal": float(of_signal.sum())},
    )


def as_tree(asked: Asked) -> Answer:
    """The plain network as a tree on the features as they were measured."""
    test = samples(asked.run).test
    part = np.random.default_rng(asked.seed).permutation(len(test))[:CONTROL]
    chosen = _select(test, part)
    said = score(predict(asked.networks[PLAIN], samples(asked.run).scaler(chosen)))
    columns = chosen.features[:, [FEATURES.index(name) for name in INPUTS]]
    return tree_answer(
        columns,
        INPUTS,
        said,
        what="score",
        events="test candidates, signal and background",
        seed=asked.seed,
    )


def questions(asked: Asked) -> tuple[Answer, ...]:
    found = [domain_features(asked), neurons(asked), as_tree(asked)]
    return tuple(answer for answer in found if answer is not None)


CASE = Case(
    "tau3mu",
    "tau -> 3 mu, blind to the domain",
    SCALAR,
    GROUPS,
    (),
    files,
    accepted,
    questions,
    binary=False,
    load=load,
)
