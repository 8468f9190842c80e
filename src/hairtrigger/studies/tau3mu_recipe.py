"""How a network of the tau3mu study is trained, method by method, and how Optuna finds it.

Every method gets the same number of trials, each of a training at every strength of `TUNED_AT`. A
trial is worth the mean over them of the AUC less the KS of the validation sample: a network that
gains a hundredth of AUC by knowing a hundredth more of the origin gains nothing. What is found then
serves for all strengths and seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hairtrigger.train import Data


@dataclass(frozen=True)
class Recipe:
    """``slope``: of the coins' sigmoid; ``reader``: hidden neurons of the adversary, for each
    source; ``width``: of MMD's kernels; ``looks_at``: what MMD makes equal, the "layer" before the
    logits or the "score". Methods use what is theirs."""

    learning_rate: float = 3e-3
    batch: int = 512
    slope: float = 1.0
    reader: int = 32
    width: float = 1.0
    looks_at: str = "layer"


DEFAULT = Recipe()
BATCHES = (512, 1024)
TUNED_AT = (1.0, 10.0)
"""Strengths at which a recipe must hold: one alone finds what collapses at others."""


def suggested(trial: Any, method: str) -> Recipe:
    """What an Optuna trial suggests for a method."""
    found: dict[str, Any] = {
        "learning_rate": trial.suggest_float("learning_rate", 1e-3, 2e-2, log=True),
        "batch": trial.suggest_categorical("batch", BATCHES),
    }
    if method == "coins":
        found["slope"] = trial.suggest_float("slope", 0.5, 4.0, log=True)
    elif method.startswith("adversary"):
        found["reader"] = trial.suggest_int("reader", 16, 128, log=True)
    elif method == "mmd":
        found["width"] = trial.suggest_float("width", 0.25, 4.0, log=True)
        found["looks_at"] = trial.suggest_categorical("looks_at", ("layer", "score"))
    return Recipe(**found)


def worth(model: Any, validation: Data) -> float:
    """AUC less KS of a network on the validation sample, whose targets are those of `arrange`."""
    from hairtrigger import metrics_blind
    from hairtrigger.studies.tau3mu import score
    from hairtrigger.train import predict

    said = score(predict(model, validation.inputs))
    signal, simulated = validation.targets[:, 0], validation.targets[:, 1]
    labelled, control = ~np.isnan(signal), ~np.isnan(simulated)
    ks = metrics_blind.weighted_ks(
        said[control & (simulated == 1)], said[control & (simulated == 0)]
    )
    return metrics_blind.auc(signal[labelled] == 1, said[labelled]) - ks
