"""Layers whose neurons toss coins, and the price of what their coins know.

    logits = keras.layers.Dense(32)(x)
    p = Probability(slope=1.0)(logits)
    bits = Toss()(p)

A neuron's bit is 1 with the probability p = sigmoid(slope * logit), anew in each call, in training
and at inference (Y. Bengio, N. Leonard, A. Courville, arXiv 1308.3432). Backwards the bit counts as
p (straight through). The loss takes the probabilities, not the bits: the mutual information of a
neuron with S from sampled bits is too large by 1 / (2 N ln 2).

Importing this module imports Keras.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hairtrigger.errors import InputError
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.train.checkpoint import values_of
from hairtrigger.train.fixed_point import straight_through
from hairtrigger.train.heads import Heads, Loss, output_size, truth_loss

keras = import_keras()
ops = keras.ops

TOSS, LIKELIER = "toss", "likelier"
"""How a bit comes of a probability: drawn, or 1 where p >= 1/2."""


@keras.saving.register_keras_serializable("hairtrigger")
class Probability(keras.layers.Layer):
    """sigmoid(slope * logit), element by element.

    ``bits``: rounded to a multiple of 2**-bits, which is what a random word of so many bits can be
    compared with; backwards it counts as the sigmoid. Raises `InputError` for a slope that is not
    positive, or no bits.
    """

    def __init__(self, slope: float = 1.0, bits: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        if not slope > 0 or math.isinf(slope) or (bits is not None and bits < 1):
            raise InputError(
                f"slope = {slope!r}, bits = {bits!r}.",
                "Give a positive number, and one bit or more.",
            )
        self.slope, self.bits = float(slope), bits

    def call(self, logits: Any) -> Any:
        p = ops.sigmoid(self.slope * logits)
        if self.bits is None:
            return p
        return straight_through(ops.round(2.0**self.bits * p) / 2.0**self.bits, p)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "slope": self.slope, "bits": self.bits}


@keras.saving.register_keras_serializable("hairtrigger")
class Toss(keras.layers.Layer):
    """Bits (as floats 0 and 1) of probabilities, element by element; ``how``: `TOSS` or `LIKELIER`.

    ``draws``: the mean of so many tosses. Backwards the result counts as the probability. Raises
    `InputError` for another ``how`` or fewer than one draw.
    """

    def __init__(
        self, how: str = TOSS, draws: int = 1, seed: int | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        if how not in (TOSS, LIKELIER) or draws < 1:
            raise InputError(
                f"how = {how!r}, draws = {draws!r}.", f"Give {TOSS!r} or {LIKELIER!r}, 1 or more."
            )
        self.how, self.draws, self.seed = how, draws, seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, p: Any) -> Any:
        if self.how == LIKELIER:
            bits = ops.cast(p >= 0.5, p.dtype)
        else:
            shape = (self.draws, *ops.shape(p))
            words = keras.random.uniform(shape, dtype=p.dtype, seed=self.generator)
            bits = ops.mean(ops.cast(words < p, p.dtype), axis=0)
        return p + ops.stop_gradient(bits - p)

    def get_config(self) -> dict[str, Any]:
        own = {"how": self.how, "draws": self.draws, "seed": self.seed}
        return {**super().get_config(), **own}


@dataclass(frozen=True)
class Coins:
    """Output of a layer of coins: its ``bits``, and the probabilities ``p`` that they come up 1."""

    bits: Any
    p: Any


def bernoulli_dense(
    x: Any, units: int, *, slope: float = 1.0, name: str, seed: int | None = None
) -> Coins:
    """A dense layer of ``units`` coins on the tensor ``x``; its logits are layer ``name``."""
    return tossed(keras.layers.Dense(units, name=name)(x), slope=slope, name=name, seed=seed)


def bernoulli_conv(
    x: Any,
    filters: int,
    window: tuple[int, ...],
    *,
    slope: float = 1.0,
    name: str,
    seed: int | None = None,
    **options: Any,
) -> Coins:
    """A convolution of coins on images ``x`` of one or two axes, channels last. ``options``: those
    of Keras's layer (strides, padding). Raises `InputError` for a window of more axes."""
    if len(window) not in (1, 2):
        raise InputError(f"A window of {len(window)} axes.", "Give one or two.")
    layer = keras.layers.Conv1D if len(window) == 1 else keras.layers.Conv2D
    logits = layer(filters, window, name=name, **options)(x)
    return tossed(logits, slope=slope, name=name, seed=seed)


def tossed(
    logits: Any,
    *,
    slope: float = 1.0,
    bits: int | None = None,
    name: str,
    seed: int | None = None,
) -> Coins:
    """Coins of the tensor ``logits``; ``bits``: see `Probability`."""
    p = Probability(slope, bits, name=f"{name}_p")(logits)
    return Coins(Toss(seed=seed, name=f"{name}_bits")(p), p)


def toss_how(model: Any, how: str, draws: int = 1) -> Any:
    """The same network, with the same weights, with every `Toss` set to ``how`` and ``draws``."""

    def again(layer: Any) -> Any:
        config = layer.get_config()
        if isinstance(layer, Toss):
            config |= {"how": how, "draws": draws}
        return type(layer).from_config(config)

    # A network that was trained carries a loss, which need not be cloned and cannot be.
    plain = keras.Model(model.input, model.output)
    made = keras.models.clone_model(plain, clone_function=again)
    for old, new in zip(model.layers, made.layers, strict=True):
        if old.weights and not isinstance(old, Toss):
            new.set_weights(values_of(old.weights))
    return made


# --- the price of what they know -----------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """Something that the neurons must not know: a discrete S with ``classes`` values.

    Its column of the targets holds 0 to ``classes - 1``, NaN where it does not apply. ``gamma`` is
    the price of a bit, summed over the neurons.
    """

    name: str
    classes: int
    gamma: float

    def __post_init__(self) -> None:
        if self.classes < 2 or not 0 <= self.gamma < math.inf:
            raise InputError(
                f"Source {self.name!r} of {self.classes} classes with gamma {self.gamma}.",
                "Give two or more classes, and a price from 0 on.",
            )


def neuron_information(p: Any, s: Any, classes: int) -> Any:
    """I(T_i; S) in bits of each neuron (neurons,) over a batch, as a tensor with a gradient.

    ``p`` (events, neurons) probabilities, ``s`` (events,) classes, NaN where S does not apply:
    those events do not count. See `hairtrigger.metrics_blind.neuron_information`.
    """
    known = ops.logical_not(ops.isnan(s))
    number = ops.where(known, s, ops.zeros_like(s))
    belongs = ops.one_hot(ops.cast(number, "int32"), classes) * ops.cast(known, p.dtype)[:, None]
    counts = ops.sum(belongs, axis=0)
    everything = ops.maximum(ops.sum(counts), 1.0)
    sums = ops.matmul(ops.transpose(belongs), p)
    means = sums / ops.maximum(counts, 1.0)[:, None]
    whole = ops.sum(sums, axis=0) / everything
    within = ops.sum(counts[:, None] / everything * _entropy(means), axis=0)
    return _entropy(whole) - within


def _entropy(p: Any) -> Any:
    """Bits of a coin; the ends are moved inside, so that the gradient stays finite."""
    tiny = 1e-7
    q = ops.clip(p, tiny, 1 - tiny)
    return -(q * ops.log2(q) + (1 - q) * ops.log2(1 - q))


def blind_loss(heads: Heads, sources: Sequence[Source], neurons: int) -> Loss:
    """Cross entropy and the like of the heads, plus the price of information.

    Targets (batch, heads + sources). Outputs (batch, output size of the heads + ``neurons``): raw
    outputs, then the probabilities of the neurons. The information is that of the whole batch, and
    is added to the loss of each event. An event whose class is not known (NaN) costs nothing but
    counts for its source. Raises `InputError` for no neurons.
    """
    if neurons < 1:
        raise InputError(f"{neurons} neurons.", "Give the number of probabilities put out.")
    task, size = truth_loss(heads), output_size(heads)

    def loss(targets: Any, outputs: Any) -> Any:
        targets = ops.convert_to_tensor(targets)
        outputs = ops.convert_to_tensor(outputs)
        labelled = ops.logical_not(ops.isnan(targets[:, 0]))
        share = ops.maximum(ops.mean(ops.cast(labelled, outputs.dtype)), 1e-6)
        total = task(targets[:, : len(heads)], outputs[:, :size]) / share
        p = outputs[:, size:]
        for column, source in enumerate(sources, start=len(heads)):
            if source.gamma:
                known = neuron_information(p, targets[:, column], source.classes)
                total = total + source.gamma * ops.sum(known)
        return total

    return loss
