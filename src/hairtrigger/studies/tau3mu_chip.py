"""The network of coins of the tau3mu study as a circuit: sparse, in few bits, with its generators.

Weights of the hidden layers are pruned and the rest is trained on; then weights and logits are
rounded to fixed point. What this costs is measured on the Graph, which is what the chip computes.
"""

from __future__ import annotations

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
from hairtrigger.train import FitSettings, History, fit
from hairtrigger.train.checkpoint import to_array
from hairtrigger.train.prune import prune

INPUT_FORMAT = LOGIT_FORMAT = Fixed(True, 2, 1)
GENERATOR = Generator(PRIMITIVE[31], bits=6, leap=6)
"""Of two taps that are farther back than a leap, so that each new bit is one small LUT."""
STRENGTH = 0.3
"""Price of a bit of information in the training of the network for the chip."""
LAYERS = tuple(f"hidden{n}" for n in range(len(HIDDEN)))


@dataclass(frozen=True)
class ChipConfig:
    """Bits and sparsity. ``keep``: share of the weights of each hidden layer that stay; formats of
    inputs and logits; fraction bits of the weights of the hidden layers and of the output."""

    keep: tuple[float, float] = (0.08, 0.1)
    inputs: Fixed = INPUT_FORMAT
    logits: Fixed = LOGIT_FORMAT
    weight_fraction: int = 1
    output_fraction: int = 2
    generator: Generator = GENERATOR
    tossed: bool = True
    """Do the neurons toss, or take the likelier side."""


def train_sparse(
    strength: float,
    samples: Samples,
    epochs: int,
    seed: int,
    recipe: Recipe = DEFAULT,
    config: ChipConfig | None = None,
) -> tuple[Any, History]:
    """A network of coins, trained whole, pruned in two steps, and trained on after each for as many
    ``epochs``."""
    config = config or ChipConfig()
    model, loss = build("coins", strength, seed, recipe)
    history = History()
    for part, rate in ((0.0, 1.0), (0.5, 0.7), (1.0, 0.7)):
        if part:
            for name, keep in zip(LAYERS, config.keep, strict=True):
                prune(model, 1 - keep**part, [name])
        settings = FitSettings(epochs, recipe.batch, rate * recipe.learning_rate, seed)
        data, validation = samples.train, samples.validation
        what = "train sparse coins"
        history = fit(model, data, validation, loss, settings, what=what, keep_last=True)
    return model, history


def to_graph(model: Any, config: ChipConfig | None = None, *, debug: bool = False) -> Graph:
    """A trained network of coins as a Graph: inputs (45,), output ``logits`` (2,).

    ``debug``: the bits of the last hidden layer are an output ``bits`` too. Raises `InputError` for
    a network that is none of this study's.
    """
    config = config or ChipConfig()
    missing = [name for name in (*LAYERS, "logits") if name not in {x.name for x in model.layers}]
    if missing:
        raise InputError(f"The network has no layers {missing}.", "Give one of tau3mu's.")
    builder = Builder("tau3mu")
    t = TensorType.uniform((len(INPUTS),), config.inputs)
    x = builder.add(ops.Input("candidates", t))
    for n, (name, units) in enumerate(zip(LAYERS, HIDDEN, strict=True)):
        slope = model.get_layer(f"{name}_p").slope
        kernel, bias = _rounded(model, name, config.weight_fraction, slope)
        total = builder.add(linear.Dense(kernel, bias), x, label=name)
        form = TensorType.uniform((units,), config.logits)
        logits = builder.add(ops.Quantize(form, Rounding.RND, Overflow.SAT), total)
        if not config.tossed:
            x = coins.likelier(builder, logits)
            continue
        own = _with_seed(config.generator, n)
        x = coins.bernoulli(builder, logits, own, name=f"coin{n}")
    kernel, bias = _rounded(model, "logits", config.output_fraction)
    out = builder.add(linear.Dense(kernel, bias), x, label="logits")
    return optimise(builder.build({"logits": out, **({"bits": x} if debug else {})}))


def coin_headers(config: ChipConfig | None = None) -> dict[str, str]:
    """The layers of coins as C++ for high-level synthesis, by file name: they draw what the Graph
    draws."""
    config = config or ChipConfig()
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
