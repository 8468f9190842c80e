"""Small HGQ2 models with random bit widths for every weight and value, for the frontend's tests."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from hairtrigger.fixed import Fixed, IntArray
from hairtrigger.frontends.hgq import from_hgq, keras_values
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.graph import Graph, TensorType, emulate_codes, encode

EVENTS = 256
FORMAT = Fixed(True, 4, 5)
"""An input format for models whose first quantizers differ."""


def prepare() -> Any:
    """Keras, with HGQ2's layers known."""
    return import_keras()


def shake(model: Any, seed: int, signed: bool = True) -> Any:
    """Give every quantizer of a model random formats, and every weight and moment random numbers.

    About one element in eight has no bits at all, as training leaves it.
    """
    from hgq.quantizer.internal import FixedPointQuantizerBase, FixedPointQuantizerKIF

    rng = np.random.default_rng(seed)
    for layer in model._flatten_layers():
        if isinstance(layer, FixedPointQuantizerBase):
            shape = tuple(layer._i.shape)
            whole = rng.integers(0, 4, shape)
            steps = rng.integers(0, 5, shape)
            dead = rng.random(shape) < (0.125 if np.prod(shape) > 1 else 0)
            steps = np.where(dead, -whole - 3, np.maximum(steps, 1 - whole))
            layer._i.assign(whole)
            if isinstance(layer, FixedPointQuantizerKIF):
                layer._f.assign(steps)
            else:
                layer._b.assign(np.maximum(whole + steps, 0))
            if layer.overflow_mode == "WRAP_SM":
                layer._k.assign(np.ones(shape))
            else:
                layer._k.assign(rng.integers(0, 2, shape) if signed else np.zeros(shape))
    for weight in model.weights:
        kind = weight.path.split("/")[-1]
        if kind in ("kernel", "bias", "moving_mean", "bn_beta", "beta") and weight.ndim:
            weight.assign(rng.normal(0, 1.5, weight.shape))
        elif kind in ("gamma", "bn_gamma", "moving_variance"):
            weight.assign(rng.uniform(0.3, 2.0, weight.shape))
    return model


def model_of(build: Any, *shapes: tuple[int, ...], seed: int = 3) -> Any:
    """A functional model of ``build(*inputs)`` with random formats and weights."""
    keras = prepare()
    inputs = [keras.Input(shape) for shape in shapes]
    made = build(*inputs)
    return shake(keras.Model(inputs if len(inputs) > 1 else inputs[0], made), seed)


def random_codes(t: TensorType, seed: int, events: int = EVENTS) -> IntArray:
    """On-grid codes of a type: all lowest, all highest, zeros, single extremes, then random."""
    rng = np.random.default_rng(seed)
    low, high = t.range().at(t.lsb)
    step = np.left_shift(np.int64(1), np.where(t.width > 0, t.lsb - t.fraction, 0))
    codes = rng.integers(low // step, high // step + 1, (events, *t.shape)) * step
    mixed = rng.random((events // 4, *t.shape))
    codes[: len(mixed)] = np.where(mixed < 0.4, low, np.where(mixed < 0.8, high, 0))
    codes[0], codes[1], codes[2] = low, high, 0
    return codes


def differences(model: Any, graph: Graph, seed: int = 0, events: int = EVENTS) -> list[int]:
    """Codes in which emulator and Keras differ, for each output."""
    codes = [random_codes(op.type, seed + n, events) for n, op in enumerate(graph.input_ops)]
    ours = emulate_codes(graph, codes)
    theirs = keras_values(model, graph, codes, batch_size=EVENTS)
    return [int((a != b).sum()) for a, b in zip(ours, theirs, strict=True)]


def real_differences(model: Any, graph: Graph, seed: int = 0) -> list[int]:
    """As `differences`, for real numbers on no grid, which Keras gets as they are."""
    from keras import tree

    rng = np.random.default_rng(seed)
    shapes = [op.type.shape for op in graph.input_ops]
    reals = [rng.normal(0, 6, (EVENTS, *shape)).astype(np.float32) for shape in shapes]
    ours = emulate_codes(graph, encode(graph, tuple(reals)))
    structure = (getattr(model, "_functional", None) or model)._inputs_struct
    theirs = tree.flatten(model.predict_on_batch(tree.pack_sequence_as(structure, reals)))
    return [
        int((a * 2.0**-t.lsb != np.asarray(b)).sum())
        for a, t, b in zip(ours, graph.output_types, theirs, strict=True)
    ]


def assert_exact(model: Any, seed: int = 0, **options: Any) -> Graph:
    """Convert, and compare with Keras: on-grid numbers and, without input_format, real ones."""
    graph = from_hgq(model, **options)
    assert differences(model, graph, seed) == [0] * len(graph.outputs)
    if not options.get("input_format"):
        assert real_differences(model, graph, seed) == [0] * len(graph.outputs)
    return graph


def data_folder() -> str:
    """Where real data and published networks lie, outside the repository."""
    here = os.path.dirname(os.path.abspath(__file__))
    return os.environ.get("HAIRTRIGGER_DATA", os.path.join(here, "..", "..", "shared", "data"))
