"""A probe: a network trained to find S from the representation of another.

Mutual information is a bound; what a determined reader of the bits can really tell is measured by
training one. The probe learns on one half of the events and is judged on the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hairtrigger.errors import InputError
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.metrics import finite, same_length
from hairtrigger.metrics_blind import auc
from hairtrigger.train.data import Data, predict
from hairtrigger.train.fit import FitSettings, fit
from hairtrigger.train.heads import Head, Kind, truth_loss

SETTINGS = FitSettings(epochs=8, batch=256, learning_rate=5e-3)


def probe_auc(
    representation: ArrayLike,
    source: ArrayLike,
    seed: int,
    *,
    hidden: int = 32,
    settings: FitSettings = SETTINGS,
) -> float:
    """AUC with which a small network finds a two-valued S (0 or 1) from a representation.

    ``representation`` (events, neurons): bits, probabilities or scores; ``source`` (events,). Half
    of the events train the probe (a fifth of them choose its best epoch), the others judge it; 0.5
    is blind, and a little below it is chance. Raises `InputError` for an S that is not 0 and 1.
    """
    x, s = finite("representation", representation), finite("source", source)
    same_length(representation=x, source=s)
    if x.ndim != 2 or set(np.unique(s).tolist()) != {0.0, 1.0}:
        raise InputError(
            f"Representation of shape {x.shape}, source with values {np.unique(s)[:5].tolist()}.",
            "Give (events, neurons), and a source of zeros and ones.",
        )
    order = np.random.default_rng(seed).permutation(len(x))
    train, judge = order[: len(x) // 2], order[len(x) // 2 :]
    mean, spread = x[train].mean(axis=0), x[train].std(axis=0)
    scaled = ((x - mean) / np.where(spread > 0, spread, 1)).astype(np.float32)
    keep = len(train) // 5
    parts = [
        Data(scaled[rows], s[rows, None].astype(np.float32))
        for rows in (train[keep:], train[:keep])
    ]
    model = _probe(x.shape[1], hidden, seed)
    loss = truth_loss((Head("source", Kind.BINARY),))
    fit(model, *parts, loss, settings, what="train probe")
    return auc(s[judge] == 1, predict(model, scaled[judge])[:, 0])


def _probe(inputs: int, hidden: int, seed: int) -> Any:
    keras = import_keras()
    keras.utils.set_random_seed(seed)
    given = keras.Input((inputs,))
    x = keras.layers.Dense(hidden, activation="relu")(given)
    return keras.Model(given, keras.layers.Dense(1)(x))
