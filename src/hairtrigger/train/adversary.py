"""Other ways to make a network blind to S, to compare coins with: an adversary, DisCo and MMD.

Each is a loss for `hairtrigger.train.fit`. Targets (batch, heads + sources), NaN where S is not
known; outputs (batch, output size of the heads + what the method looks at). As with
`hairtrigger.train.bernoulli.blind_loss`, events without label cost nothing but count for S.

Importing this module imports Keras.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from hairtrigger.errors import InputError
from hairtrigger.train.bernoulli import Source, keras, ops
from hairtrigger.train.heads import Heads, Loss, output_size, truth_loss

Price = Callable[[Any, Any, Source], Any]
"""(what the method looks at (batch, n), S (batch,), source) to a number."""

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Of the Gaussian kernels of MMD, in units of the root mean square distance between events; each is
twice the one before."""


@keras.saving.register_keras_serializable("hairtrigger")
class Reverse(keras.layers.Layer):
    """Passes values on and turns gradients round, ``strength`` times as large (Y. Ganin et al.,
    arXiv 1505.07818). Raises `InputError` for a strength below 0."""

    def __init__(self, strength: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= strength < math.inf:
            raise InputError(f"strength = {strength!r}.", "Give a number from 0 on.")
        self.strength = float(strength)

    def call(self, x: Any) -> Any:
        return ops.stop_gradient((1 + self.strength) * x) - self.strength * x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "strength": self.strength}


def adversary(x: Any, sources: Sequence[Source], hidden: int, strength: float) -> list[Any]:
    """Logits of a network that finds each of ``sources`` from the representation ``x``, behind a
    `Reverse`: to be put out behind those of the heads, for `adversary_loss`."""
    turned = Reverse(strength)(x)
    found: list[Any] = []
    for source in sources:
        inner = keras.layers.Dense(hidden, activation="relu")(turned)
        found.append(keras.layers.Dense(source.classes)(inner))
    return found


def adversary_loss(heads: Heads, sources: Sequence[Source]) -> Loss:
    """Cross entropy of the heads and of the adversary's logits, which `Reverse` turns against the
    representation. A source's own ``gamma`` is not used: `Reverse` holds the strength."""
    task, start = _task(heads), output_size(heads)

    def loss(targets: Any, outputs: Any) -> Any:
        targets, outputs = ops.convert_to_tensor(targets), ops.convert_to_tensor(outputs)
        total, place = task(targets, outputs), start
        for column, source in enumerate(sources, start=len(heads)):
            s, known = _known(targets[:, column], outputs.dtype)
            logits = outputs[:, place : place + source.classes]
            cost = ops.sparse_categorical_crossentropy(ops.cast(s, "int32"), logits, True)
            total = total + ops.sum(known * cost) / ops.maximum(ops.sum(known), 1.0)
            place += source.classes
        return total

    return loss


def priced_loss(heads: Heads, sources: Sequence[Source], price: Price) -> Loss:
    """Cross entropy of the heads, plus for each source its ``gamma`` times ``price`` of all outputs
    behind the heads': `disco` or `mmd`."""
    task, start = _task(heads), output_size(heads)

    def loss(targets: Any, outputs: Any) -> Any:
        targets, outputs = ops.convert_to_tensor(targets), ops.convert_to_tensor(outputs)
        total = task(targets, outputs)
        for column, source in enumerate(sources, start=len(heads)):
            if source.gamma:
                total = total + source.gamma * price(outputs[:, start:], targets[:, column], source)
        return total

    return loss


def disco(x: Any, s: Any, source: Source) -> Any:
    """Squared distance correlation of ``x`` (batch, n) and S, over the events where S is known
    (G. Kasieczka and D. Shih, arXiv 2001.05310). Classes count as the numbers that they are."""
    number, known = _known(s, x.dtype)
    weights = known / ops.maximum(ops.sum(known), 1.0)
    a, b = (_distances(v) for v in (x, number[:, None]))
    both, one, other = (_covariance(*pair, weights) for pair in ((a, b), (a, a), (b, b)))
    return both / ops.sqrt(ops.maximum(one * other, 1e-12))


def mmd(x: Any, s: Any, source: Source, width: float = 1.0) -> Any:
    """Squared maximum mean discrepancy of ``x`` (batch, n) between each class of S and all events
    whose S is known, averaged over classes, with Gaussian kernels of `BANDWIDTHS` times ``width``
    (A. Gretton et al., JMLR 13 (2012) 723)."""
    number, known = _known(s, x.dtype)
    every = known / ops.maximum(ops.sum(known), 1.0)
    kernel, apart = _kernels(x, width), list[Any]()
    for value in range(source.classes):
        here = known * ops.cast(ops.equal(number, value), x.dtype)
        apart.append(here / ops.maximum(ops.sum(here), 1.0) - every)
    each = ops.stack(apart)
    return ops.sum(ops.matmul(each, kernel) * each) / source.classes


def _kernels(x: Any, width: float) -> Any:
    """Mean (batch, batch) of the kernels. It does not depend on S, so that it is computed once for
    all sources; as each width is twice the one before, one exponential gives all."""
    squared = _squared_distances(x)
    scale = ops.stop_gradient(ops.maximum(ops.mean(squared), 1e-9))
    widest = width * BANDWIDTHS[-1]
    one = total = ops.exp(-squared / (2 * widest * widest * scale))
    for _ in BANDWIDTHS[1:]:
        one = (one * one) * (one * one)
        total = total + one
    return total / len(BANDWIDTHS)


def _distances(x: Any) -> Any:
    """Euclidean distances (batch, batch); the root is moved off zero, where it has no slope."""
    if x.shape[-1] == 1:
        return ops.abs(x - ops.transpose(x))
    return ops.sqrt(_squared_distances(x) + 1e-9)


def _squared_distances(x: Any) -> Any:
    squares = ops.sum(x * x, axis=-1)
    apart = squares[:, None] + squares[None, :] - 2 * ops.matmul(x, ops.transpose(x))
    return ops.maximum(apart, 0.0)


def _covariance(a: Any, b: Any, weights: Any) -> Any:
    """Squared distance covariance of events with ``weights``, from their distances: the sum of the
    products of both centred matrices, written out, as one product of large matrices is enough."""
    rows_a, rows_b = ops.matmul(a, weights), ops.matmul(b, weights)
    products = ops.sum(weights * ops.matmul(a * b, weights))
    means = ops.sum(weights * rows_a) * ops.sum(weights * rows_b)
    return products + means - 2 * ops.sum(weights * rows_a * rows_b)


def _task(heads: Heads) -> Loss:
    """The heads' loss, scaled up so that events without label do not thin it out."""
    inner, size = truth_loss(heads), output_size(heads)

    def task(targets: Any, outputs: Any) -> Any:
        labelled = ops.cast(ops.logical_not(ops.isnan(targets[:, 0])), outputs.dtype)
        share = ops.maximum(ops.mean(labelled), 1e-6)
        return inner(targets[:, : len(heads)], outputs[:, :size]) / share

    return task


def _known(s: Any, dtype: Any) -> tuple[Any, Any]:
    """S with zeros for NaN, and 1 where it is known."""
    known = ops.logical_not(ops.isnan(s))
    return ops.where(known, s, ops.zeros_like(s)), ops.cast(known, dtype)
