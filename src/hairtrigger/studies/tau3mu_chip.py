"""The network of coins of the tau3mu study as a circuit: sparse, in few bits, with its generators.

Weights of the hidden layers are pruned and the rest is trained on, in the chip's formats: inputs,
weights, logits and probabilities are what the chip has, so that nothing is rounded afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.cpp.coins import coins_header
from hairtrigger.errors import InputError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, coins, linear, ops
from hairtrigger.graph.coins import PRIMITIVE, Generator
from hairtrigger.graph.passes import optimise
from hairtrigger.studies.tau3mu import HIDDEN, INPUTS, Samples, build
from hairtrigger.studies.tau3mu_recipe import DEFAULT, Recipe
from hairtrigger.train import FitSettings, History, fit, predict
from hairtrigger.train.checkpoint import to_array, values_of
from hairtrigger.train.prune import prune

INPUT_FORMAT = LOGIT_FORMAT = Fixed(True, 2, 1)
GENERATOR = Generator(PRIMITIVE[31], bits=6, leap=6)
"""Of two taps that are farther back than a leap, so that each new bit is one small LUT."""
STRENGTH = 0.3
"""Price of a bit of information in the training of the network for the chip."""
STEPS = ((0.5, 2.0, 1), (1.0, 2.0, 3))
"""Trainings in the chip's formats: exponent of the share of weights kept, learning rate over the
recipe's (a rounded weight moves only by whole steps), epochs over those of the first training."""
LAYERS = tuple(f"hidden{n}" for n in range(len(HIDDEN)))
INNER = ("logits0", "bits0", "logits1")
"""Outputs of the Graph for inspection: logits and bits of the first layer, logits of the second."""


@dataclass(frozen=True)
class ChipConfig:
    """Bits and sparsity. ``keep``: share of the weights of each hidden layer that stay; formats of
    inputs and logits; fraction bits of the weights of the hidden layers and of the output.

    ``tossed``: do the neurons toss, or take the likelier side; ``draws``: tosses an event of which
    each neuron gives the mean, a power of two. Both leave the trained network as it is.
    """

    keep: tuple[float, float] = (0.08, 0.1)
    inputs: Fixed = INPUT_FORMAT
    logits: Fixed = LOGIT_FORMAT
    weight_fraction: int = 1
    output_fraction: int = 2
    generator: Generator = GENERATOR
    tossed: bool = True
    draws: int = 1


def train_sparse(
    strength: float,
    samples: Samples,
    epochs: int,
    seed: int,
    recipe: Recipe = DEFAULT,
    config: ChipConfig | None = None,
) -> tuple[Any, History]:
    """A network of coins, trained whole in floating point for ``epochs``, then in the formats of
    ``config``, pruned in `STEPS`."""
    config = config or ChipConfig()
    model, loss = build("coins", strength, seed, recipe)

    def trained(rate: float, times: int) -> History:
        settings = FitSettings(times * epochs, recipe.batch, rate * recipe.learning_rate, seed)
        data, validation = samples.train, samples.validation
        what = "train sparse coins"
        return fit(model, data, validation, loss, settings, what=what, keep_last=True)

    trained(1.0, 1)
    model, history = in_formats(model, config, seed), History()
    for part, rate, times in STEPS:
        for name, keep in zip(LAYERS, config.keep, strict=True):
            prune(model, 1 - keep**part, [name])
        history = trained(rate, times)
    return model, history


def in_formats(model: Any, config: ChipConfig, seed: int) -> Any:
    """A network of coins as one that computes what the chip does, with the same weights; the slope
    of the sigmoid, which on the chip is 1, is in the weights."""
    from hairtrigger.train import bernoulli
    from hairtrigger.train.fixed_point import Rounded, RoundedDense

    keras = bernoulli.keras
    given = keras.Input((len(INPUTS),))
    x = Rounded(config.inputs, name="candidates")(given)
    p = None
    for n, (name, units) in enumerate(zip(LAYERS, HIDDEN, strict=True)):
        total = RoundedDense(units, config.weight_fraction, name=name)(x)
        logits = Rounded(config.logits, name=f"{name}_logits")(total)
        bits = config.generator.bits
        coins = bernoulli.tossed(logits, bits=bits, name=name, seed=seed + n)
        x, p = coins.bits, coins.p
    out = RoundedDense(2, config.output_fraction, name="logits")(x)
    made = keras.Model(given, keras.layers.Concatenate()([out, p]))
    for name in (*LAYERS, "logits"):
        slope = 1.0 if name == "logits" else model.get_layer(f"{name}_p").slope
        weights = values_of(model.get_layer(name).weights)
        made.get_layer(name).set_weights([slope * w for w in weights])
    return made


def to_graph(model: Any, config: ChipConfig | None = None, *, debug: bool = False) -> Graph:
    """A trained network of coins as a Graph: inputs (45,), output ``logits`` (2,).

    ``debug``: what is between is put out too: ``bits`` of the last hidden layer, and for
    `differences` the `INNER`. Raises `InputError` for a network that is none of this study's, and
    `GraphError` for draws that are no power of two.
    """
    config = config or ChipConfig()
    missing = [name for name in (*LAYERS, "logits") if name not in {x.name for x in model.layers}]
    if missing:
        raise InputError(f"The network has no layers {missing}.", "Give one of tau3mu's.")
    builder = Builder("tau3mu")
    t = TensorType.uniform((len(INPUTS),), config.inputs)
    x = builder.add(ops.Input("candidates", t))
    inner: list[int] = []
    for n, (name, units) in enumerate(zip(LAYERS, HIDDEN, strict=True)):
        slope = model.get_layer(f"{name}_p").slope
        kernel, bias = _rounded(model, name, config.weight_fraction, slope)
        total = builder.add(linear.Dense(kernel, bias), x, label=name)
        form = TensorType.uniform((units,), config.logits)
        logits = builder.add(ops.Quantize(form, Rounding.RND, Overflow.SAT), total)
        if config.tossed:
            own = _with_seed(config.generator, n)
            x = coins.bernoulli(builder, logits, own, draws=config.draws, name=f"coin{n}")
        else:
            x = coins.likelier(builder, logits)
        inner += [logits, x]
    kernel, bias = _rounded(model, "logits", config.output_fraction)
    out = builder.add(linear.Dense(kernel, bias), x, label="logits")
    extra = {"bits": x, **dict(zip(INNER, inner, strict=False))} if debug else {}
    return optimise(builder.build({"logits": out, **extra}))


def differences(model: Any, given: NDArray[Any], found: Mapping[str, NDArray[Any]]) -> int:
    """How many numbers of a network of `train_sparse` are not those of its chip.

    ``given``: candidates (events, 45); ``found``: values of the outputs of `to_graph` with
    ``debug``, by name. Compared are the logits of each layer, each computed by Keras from what the
    chip gave to that layer, so that no coin is between.
    """
    from hairtrigger.train.bernoulli import keras

    def computed(layer: str, source: Any, x: NDArray[Any]) -> NDArray[np.float32]:
        return predict(keras.Model(source, model.get_layer(layer).output), x.astype(np.float32))

    first, second = (model.get_layer(f"{name}_bits").output for name in LAYERS)
    pairs = (
        (computed("hidden0_logits", model.input, given), found["logits0"]),
        (computed("hidden1_logits", first, found["bits0"]), found["logits1"]),
        (computed("logits", second, found["bits"]), found["logits"]),
    )
    return sum(int(np.count_nonzero(ours != chips)) for ours, chips in pairs)


def coin_headers(config: ChipConfig | None = None) -> dict[str, str]:
    """The layers of coins as C++ for high-level synthesis, by file name: they draw what the Graph
    draws. Raises `InputError` for a chip that does not toss once an event."""
    config = config or ChipConfig()
    if not config.tossed or config.draws != 1:
        raise InputError(
            f"The headers toss once an event; tossed = {config.tossed}, draws = {config.draws}.",
            "Leave tossed and draws of the ChipConfig as they are.",
        )
    return {
        f"coin{n}.h": coins_header(
            f"coin{n}", _with_seed(config.generator, n), units, config.logits
        )
        for n, units in enumerate(HIDDEN)
    }


def _with_seed(generator: Generator, layer: int) -> Generator:
    """The generator of another layer: its registers start elsewhere on the sequence."""
    step = (0x9E3779B9 * (layer + 1)) & ((1 << generator.length) - 1)
    seed = (generator.seed ^ step) or 1
    return Generator(generator.taps, generator.bits, generator.leap, seed, generator.shared)


def _rounded(model: Any, name: str, fraction: int, slope: float = 1.0) -> tuple[Literal, Literal]:
    """Kernel and bias in units of ``2**-fraction``; ``slope``: of the sigmoid that follows, which
    on the chip is 1."""
    found: list[Literal] = []
    for values in (model.get_layer(name).kernel, model.get_layer(name).bias):
        codes = np.rint(slope * to_array(values).astype(np.float64) * 2.0**fraction)
        found.append(Literal(codes.astype(np.int64), fraction))
    return found[0], found[1]


def score_codes(codes: NDArray[np.int64], lsb: int) -> NDArray[np.float64]:
    """The difference of the two logits (events,) from codes (events, 2) of the output."""
    return (codes[:, 1] - codes[:, 0]) * 2.0**-lsb
