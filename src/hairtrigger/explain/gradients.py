"""Attributions from gradients: of Keras models, float or quantised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError, UnsupportedError
from hairtrigger.explain.explained import Baseline, Explained, as_baseline
from hairtrigger.explain.subject import GRADIENT_FREE, Scalar, as_subject
from hairtrigger.frontends.hgq_support import functional


def saliency(model: Any, inputs: Any, output: int | Scalar | None = None) -> Explained:
    """The size of the gradient by each input number (K. Simonyan, A. Vedaldi and A. Zisserman,
    arXiv:1312.6034): how much a change would matter, in either direction."""
    subject = as_subject(model, output)
    events = subject.check(inputs)
    return Explained(np.abs(subject.gradients(events)), subject.scalar.name, "saliency")


def gradient_times_input(
    model: Any, inputs: Any, output: int | Scalar | None = None, *, baseline: Baseline = 0.0
) -> Explained:
    """The gradient times the input less the baseline: what a linear network would owe to it."""
    subject = as_subject(model, output)
    events = subject.check(inputs)
    base, events = as_baseline(baseline, events)
    away = events.astype(np.float32) - base.astype(np.float32)
    values = subject.gradients(events) * away
    return Explained(values, subject.scalar.name, "gradient_times_input", baseline)


def integrated_gradients(
    model: Any,
    inputs: Any,
    output: int | Scalar | None = None,
    *,
    baseline: Baseline = 0.0,
    steps: int = 64,
) -> Explained:
    """(x - x0) times the mean gradient along the straight path from the baseline x0 to x.

    M. Sundararajan, A. Taly and Q. Yan, arXiv:1703.01365, by the midpoint rule in ``steps``. The
    shares add up to f(x) - f(x0) as far as the sum is the integral: `faithfulness.completeness`
    measures it. A quantised network's gradient passes straight through the rounding, so there they
    add up to what the network without rounding would say, only about. For images of bits use
    `light_up`, which is complete to rounding. Raises `InputError` for fewer steps than one.
    """
    if steps < 1:
        raise InputError(f"steps = {steps!r}.", "Give 1 or more; 64 is enough for most.")
    subject = as_subject(model, output)
    events = subject.check(inputs)
    base, events = as_baseline(baseline, events)
    start = base.astype(np.float32)
    away = events.astype(np.float32) - start
    total = np.zeros(away.shape, np.float64)
    for step in range(steps):
        total += subject.gradients(start + np.float32((step + 0.5) / steps) * away)
    return Explained(
        (total / steps * away).astype(np.float32),
        subject.scalar.name,
        f"integrated_gradients, {steps} steps",
        baseline,
        subject.values(events),
        np.repeat(subject.values(start[None]), len(events)),
    )


def smooth_grad(
    model: Any,
    inputs: Any,
    output: int | Scalar | None = None,
    *,
    noise: float = 0.1,
    samples: int = 16,
    seed: int = 0,
) -> Explained:
    """The mean gradient around an event: normal noise of that standard deviation is added to it
    ``samples`` times (D. Smilkov et al., arXiv:1706.03825). ``noise`` is in units of the input.
    Raises `InputError` for noise that is not positive or fewer samples than one."""
    if not noise > 0 or not np.isfinite(noise) or samples < 1:
        raise InputError(
            f"noise = {noise!r}, samples = {samples!r}.", "Give positive noise, 1 or more samples."
        )
    subject = as_subject(model, output)
    events = subject.check(inputs).astype(np.float32)
    rng = np.random.default_rng(seed)
    total = np.zeros(events.shape, np.float64)
    for _ in range(samples):
        drawn = rng.standard_normal(events.shape, np.float32)
        total += subject.gradients(events + np.float32(noise) * drawn)
    return Explained(
        (total / samples).astype(np.float32), subject.scalar.name, f"smooth_grad, {samples} samples"
    )


ToImage = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""A map (events, *places of a layer) as one (events, *shape of an event)."""


def grad_cam(
    model: Any,
    inputs: Any,
    output: int | Scalar | None = None,
    *,
    layer: str | None = None,
    positive: bool = False,
    to_image: ToImage | None = None,
) -> Explained:
    """The activation map of a convolution's output: channels weighed by their mean gradient.

    R. R. Selvaraju et al., arXiv:1610.02391, with ``positive``; without it what lowers the output
    is kept as well, which is what a regression asks for (a regression activation map). ``layer``:
    name of the layer, None for the last whose output has places and channels. The map is brought
    to the input's size by nearest neighbours along each axis, or by ``to_image``.

    Raises `UnsupportedError` for a Graph or a model without such a layer.
    """
    subject = as_subject(model, output)
    events = subject.check(inputs)
    found = functional(subject.model) if subject.compiled is not None else None
    if found is None:
        raise UnsupportedError(
            "Grad-CAM needs a functional Keras model, to see its layers.",
            f"Use {GRADIENT_FREE} instead.",
        )
    chosen = _layer(found, layer, len(subject.shape))
    import jax

    from hairtrigger.frontends.keras_file import import_keras

    keras = import_keras()
    front = keras.Model(found.inputs, chosen.output)
    back = keras.Model(chosen.output, found.outputs)
    maps: list[NDArray[np.float32]] = []

    @jax.jit
    def both(x: Any) -> Any:
        activation = front(x, training=False)

        def said(a: Any) -> Any:
            flat = [y.reshape(len(x), -1) for y in keras.tree.flatten(back(a, training=False))]
            return subject.scalar.of(jax.numpy.concatenate(flat, axis=1)).sum()

        gradient = jax.grad(said)(activation)
        places = tuple(range(1, activation.ndim - 1))
        return (activation * gradient.mean(axis=places, keepdims=True)).sum(axis=-1)

    size = min(subject.batch, 256, len(events))
    for start in range(0, len(events), size):
        part = events[start : start + size].astype(np.float32)
        full = np.concatenate([part, np.repeat(part[:1], size - len(part), axis=0)])
        maps.append(np.asarray(both(full)[: len(part)]))
    values = np.concatenate(maps)
    values = to_image(values) if to_image else _resized(values, subject.shape)
    if values.shape != events.shape:
        raise InputError(
            f"The map of layer {chosen.name!r} is {values.shape[1:]}, events are {subject.shape}.",
            "Give to_image, which brings a layer's places to the input's.",
        )
    values = np.maximum(values, 0) if positive else values
    return Explained(values.astype(np.float32), subject.scalar.name, f"grad_cam of {chosen.name}")


def _layer(model: Any, name: str | None, axes: int) -> Any:
    """The layer of that name, or the last with places and channels."""
    fit = [
        layer
        for layer in model.layers
        if len(getattr(layer, "output", layer).shape) >= 3 and "Conv" in type(layer).__name__
    ]
    if name is not None:
        known = {layer.name: layer for layer in model.layers}
        if name not in known:
            raise InputError(f"There is no layer {name!r}.", f"Choose one of: {', '.join(known)}.")
        if len(known[name].output.shape) < 3:
            raise UnsupportedError(
                f"The output of layer {name!r} has no places.", "Choose a convolution."
            )
        return known[name]
    if not fit:
        raise UnsupportedError(
            f"Model {model.name!r} has no convolution for an activation map.",
            f"Use integrated_gradients, relevance or {GRADIENT_FREE}.",
        )
    return fit[-1]


def _resized(maps: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Nearest neighbours along each axis; a last axis of the input is taken for its channels."""
    places = maps.shape[1:]
    if len(places) == len(shape) - 1:
        wanted: tuple[int, ...] = shape[:-1]
    elif len(places) == len(shape):
        wanted = shape
    else:
        return maps
    for axis, (have, want) in enumerate(zip(places, wanted, strict=True), 1):
        maps = np.take(maps, (np.arange(want) * have) // want, axis=axis)
    if len(wanted) == len(shape):
        return maps
    return np.repeat(maps[..., None], shape[-1], axis=-1)
