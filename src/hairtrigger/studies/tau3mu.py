"""tau -> 3 mu, blind to simulation-versus-data and to pile-up: samples, networks, training.

Networks of equal size at inference, 45-64-32-2, learn signal from simulated signal and recorded
background; that these differ by their origin too is the temptation. A control channel, simulated
and recorded, says what origin looks like. `METHODS` are the ways to make a network forget it.

SPDhits is no input: it stands for pile-up, which is what the network must not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors import lhcb_toy
from hairtrigger.detectors.lhcb import FEATURES, Candidates
from hairtrigger.detectors.lhcb_toy import LhcbConfig
from hairtrigger.errors import InputError
from hairtrigger.studies.tau3mu_recipe import DEFAULT, Recipe
from hairtrigger.train import Data, FitSettings, Head, Heads, History, Kind, fit

INPUTS = tuple(name for name in FEATURES if name != "SPDhits")
HIDDEN = (64, 32)
HEADS: Heads = (Head("signal", Kind.CLASSES, size=2),)
PILE_UP_BINS = 4
METHODS = ("plain", "coins", "adversary", "adversary, twice the neurons", "disco", "mmd")
SCALES = {"disco": 3.0, "mmd": 3.0}
"""What a strength of 1 is in a method's own units, where it is not 1: so that each method goes from
hardly blind to blind between strengths of 0.03 and 10."""
REACH = 3.75
"""Inputs are cut at so many standard deviations, in training as in the chip."""


@dataclass(frozen=True)
class Tau3muPreset:
    """How large a run is: candidates of each sample, epochs, strengths and seeds of each method,
    and ``trials`` to tune each method by.

    The control channel has as many candidates as the training sample.
    """

    name: str
    train_events: int
    test_events: int
    epochs: int
    strengths: tuple[float, ...]
    seeds: int
    trials: int


SMOKE = Tau3muPreset("smoke", 2048, 2048, 1, (0.3,), 1, 1)
DEMO = Tau3muPreset("demo", 20_000, 30_000, 8, (0.1, 1.0, 10.0), 2, 2)
PAPER = Tau3muPreset("paper", 60_000, 100_000, 12, (0.03, 0.1, 0.3, 1.0, 3.0, 10.0), 5, 8)
PRESETS = (SMOKE, DEMO, PAPER)


def preset_named(name: str) -> Tau3muPreset:
    """Raises `InputError` naming those there are."""
    for preset in PRESETS:
        if preset.name == name:
            return preset
    known = ", ".join(preset.name for preset in PRESETS)
    raise InputError(f"tau3mu has no preset {name!r}.", f"Choose one of: {known}.")


@dataclass(frozen=True)
class Scaler:
    """Brings each input to a Gaussian by its quantiles: ``knots`` (quantiles, inputs).

    The same for training and for every check; cut at `REACH`.
    """

    knots: NDArray[np.float64]

    @classmethod
    def of(cls, candidates: Candidates, quantiles: int = 129) -> Scaler:
        """From the quantiles of some candidates."""
        columns = candidates.features[:, [FEATURES.index(name) for name in INPUTS]]
        return cls(np.quantile(columns.astype(np.float64), _levels(quantiles), axis=0))

    def __call__(self, candidates: Candidates) -> NDArray[np.float32]:
        """Inputs (events, 45)."""
        values = [NormalDist().inv_cdf(level) for level in _levels(len(self.knots))]
        columns = candidates.features[:, [FEATURES.index(name) for name in INPUTS]]
        found = [
            np.interp(column, knots, values)
            for column, knots in zip(columns.T, self.knots.T, strict=True)
        ]
        return np.clip(np.stack(found, axis=1), -REACH, REACH).astype(np.float32)


def _levels(quantiles: int) -> NDArray[np.float64]:
    return np.linspace(0, 1, quantiles + 2)[1:-1]


@dataclass(frozen=True)
class Samples:
    """Candidates to learn from and to judge by. ``same_origin``: signal and background that are
    both simulated, which only a generator can give; None with recorded data."""

    train: Data
    validation: Data
    scaler: Scaler
    test: Candidates
    agreement: Candidates
    correlation: Candidates
    same_origin: Candidates | None
    pile_up_edges: tuple[float, ...]

    @cached_property
    def judged(self) -> tuple[NDArray[np.float32], dict[str, slice]]:
        """Inputs of all candidates to judge by (events, 45), and where each sample lies in them:
        scaled once for all networks."""
        found = {
            name: part
            for name in ("test", "agreement", "correlation", "same_origin")
            if (part := getattr(self, name)) is not None
        }
        ends = np.cumsum([0, *(len(part) for part in found.values())]).tolist()
        places = {name: slice(*pair) for name, pair in zip(found, pairwise(ends), strict=True)}
        return np.concatenate([self.scaler(part) for part in found.values()]), places


def simulate(preset: Tau3muPreset, seed: int, config: LhcbConfig | None = None) -> Samples:
    """All samples of a run from the generator, each from a seed of its own."""
    return arrange(generated(preset, seed, config))


def generated(
    preset: Tau3muPreset, seed: int, config: LhcbConfig | None = None
) -> dict[str, Candidates]:
    """Candidates of all samples by name, as `arrange` takes them."""
    config = config or LhcbConfig()
    seeds = iter(range(100 * seed, 100 * seed + 100))
    size, few = preset.train_events, max(2048, preset.train_events // 10)
    same = LhcbConfig(0.0, config.pile_up, config.trap, config.separation)
    return {
        "train": lhcb_toy.training(size + few, next(seeds), config),
        "control": lhcb_toy.agreement(size + few, next(seeds), config),
        "test": lhcb_toy.training(preset.test_events, next(seeds), config),
        "agreement": lhcb_toy.agreement(preset.test_events, next(seeds), config),
        "correlation": lhcb_toy.correlation(5514, next(seeds), config),
        "same_origin": lhcb_toy.training(preset.test_events, next(seeds), same),
    }


def arrange(candidates: Mapping[str, Candidates]) -> Samples:
    """Samples of any origin: ``train`` and ``control`` to learn from, of each of which the last
    eleventh (but at least 2,048) chooses the best epoch; ``test``, ``agreement``, ``correlation``
    and, where there is one, ``same_origin`` to judge by."""
    train, control = candidates["train"], candidates["control"]
    validation = max(2048, min(len(train), len(control)) // 11)
    edges = np.quantile(train.column("SPDhits"), np.linspace(0, 1, PILE_UP_BINS + 1))
    edges[0], edges[-1] = 0, edges[-1] + 1e9  # finite, and nothing lies outside
    scaler = Scaler.of(train)
    rows = []
    for some, column in ((train, 0), (control, 1)):
        targets = np.full((len(some), 3), np.nan, dtype=np.float32)
        targets[:, column] = some.column("signal")
        targets[:, 2] = np.digitize(some.column("SPDhits"), edges[1:-1])
        rows.append((scaler(some), targets))

    def data(part: slice) -> Data:
        return Data(*(np.concatenate([row[n][part] for row in rows]) for n in (0, 1)))

    return Samples(
        data(slice(None, -validation)),
        data(slice(-validation, None)),
        scaler,
        candidates["test"],
        candidates["agreement"],
        candidates["correlation"],
        candidates.get("same_origin"),
        tuple(edges.tolist()),
    )


# --- networks ------------------------------------------------------------------------------------


def build(method: str, strength: float, seed: int, recipe: Recipe = DEFAULT) -> tuple[Any, Any]:
    """An untrained network of a method, and its loss.

    Outputs: two logits, and what the method looks at. Raises `InputError` for another method.
    """
    from hairtrigger.train import adversary, bernoulli

    keras, layers = bernoulli.keras, bernoulli.keras.layers
    if method not in METHODS:
        raise InputError(f"Method {method!r}.", f"Choose one of: {', '.join(METHODS)}.")
    keras.utils.set_random_seed(seed)
    strength = strength * SCALES.get(method, 1.0)
    sources = (
        bernoulli.Source("domain", 2, strength),
        bernoulli.Source("pile-up", PILE_UP_BINS, strength),
    )
    x = given = keras.Input((len(INPUTS),))
    looked_at: list[Any] = []
    if method == "coins":
        for n, units in enumerate(HIDDEN):
            coins = bernoulli.bernoulli_dense(
                x, units, slope=recipe.slope, name=f"hidden{n}", seed=seed + n
            )
            x, looked_at = coins.bits, [coins.p]  # the last layer's: what the outputs can know
        loss = bernoulli.blind_loss(HEADS, sources, HIDDEN[-1])
    else:
        factor = 2 if method.endswith("twice the neurons") else 1
        for n, units in enumerate(HIDDEN):
            x = layers.Dense(factor * units, activation="relu", name=f"hidden{n}")(x)
    logits = layers.Dense(2, name="logits")(x)
    of_score = method == "disco" or (method == "mmd" and recipe.looks_at == "score")
    if of_score:
        looked_at = [layers.Dense(1, name="score", trainable=False)(logits)]
    elif method == "mmd":
        looked_at = [x]
    if method.startswith("adversary"):
        looked_at = adversary.adversary(x, sources, recipe.reader, strength)
        loss = adversary.adversary_loss(HEADS, sources)
    elif method == "disco":
        loss = adversary.priced_loss(HEADS, sources, adversary.disco)
    elif method == "mmd":
        loss = adversary.priced_loss(HEADS, sources, partial(adversary.mmd, width=recipe.width))
    elif method == "plain":
        loss = adversary.priced_loss(HEADS, (), adversary.mmd)
    outputs = layers.Concatenate()([logits, *looked_at]) if looked_at else logits
    model = keras.Model(given, outputs)
    if of_score:  # the difference of the logits, and it stays so
        model.get_layer("score").set_weights([np.array([[-1.0], [1.0]]), np.zeros(1)])
    return model, loss


def train(
    method: str,
    strength: float,
    samples: Samples,
    epochs: int,
    seed: int,
    recipe: Recipe = DEFAULT,
    *,
    each: Callable[[Any, int], None] | None = None,
) -> tuple[Any, History]:
    """A trained network of a method. ``each`` is called with it after every epoch."""
    model, loss = build(method, strength, seed, recipe)
    settings = FitSettings(epochs, recipe.batch, recipe.learning_rate, seed)
    data, validation = samples.train, samples.validation
    history = fit(
        model,
        data,
        validation,
        loss,
        settings,
        what=f"train {method}",
        keep_last=True,
        each=partial(each, model) if each else None,
    )
    return model, history


def representation(model: Any) -> Any:
    """The network up to what its last hidden layer gives: bits of coins, or activations."""
    from hairtrigger.train.bernoulli import keras

    return keras.Model(model.input, model.get_layer("logits").input)


def score(outputs: NDArray[Any]) -> NDArray[np.float64]:
    """The difference of the two logits (events,), larger for signal."""
    values = np.asarray(outputs, dtype=np.float64)
    return values[:, 1] - values[:, 0]
