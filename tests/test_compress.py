"""Pruning and quantisation after training."""

from __future__ import annotations

import numpy as np
import pytest

from hairtrigger.errors import InputError
from hairtrigger.frontends.hgq import from_hgq
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.graph import emulate
from hairtrigger.train import Data, FitSettings, Head, Kind, fit, output_size, predict, truth_loss
from hairtrigger.train.checkpoint import to_array
from hairtrigger.train.post_training import quantise_after_training
from hairtrigger.train.prune import prune

HEADS = (Head("size", Kind.VALUE, elbow=0.2), Head("sign", Kind.BINARY))


def data(events=512, seed=0):
    rng = np.random.default_rng(seed)
    x = (rng.integers(-128, 128, (events, 4)) / 32).astype(np.float32)
    return Data(x, np.stack([np.abs(x[:, 0]), x[:, 1] > 0], axis=1).astype(np.float32))


def floating():
    keras = import_keras()
    keras.utils.set_random_seed(3)
    inputs = keras.Input((4,))
    x = keras.layers.Dense(16, activation="relu", name="first")(inputs)
    return keras.Model(inputs, keras.layers.Dense(output_size(HEADS), name="last")(x))


def quantised():
    keras = import_keras()
    from hgq.layers import QDense
    from hgq.quantizer import QuantizerConfig

    def lane(signed):
        return QuantizerConfig("kif", "datalane", k0=signed, overflow_mode="SAT")

    fine = QuantizerConfig("kif", "weight", overflow_mode="WRAP")
    own = {"kq_conf": fine, "bq_conf": fine}
    inputs = keras.Input((4,))
    x = QDense(16, activation="relu", iq_conf=lane(True), name="first", **own)(inputs)
    return keras.Model(
        inputs, QDense(output_size(HEADS), iq_conf=lane(False), name="last", **own)(x)
    )


def trained():
    model = floating()
    fit(model, data(), data(64, 1), truth_loss(HEADS), FitSettings(3, 32, 0.01, seed=5))
    return model


def copied(source):
    model = quantised()
    for name in ("first", "last"):
        for part in ("kernel", "bias"):
            value = to_array(getattr(source.get_layer(name), part))
            getattr(model.get_layer(name), part).assign(value)
    return model


def test_pruned_weights_stay_zero_in_training_and_the_smallest_go():
    model = trained()
    before = to_array(model.get_layer("first").kernel).copy()
    left = prune(model, 0.75, ["first"])
    mask = to_array(model.get_layer("first").kernel) != 0
    assert left == {"first": 16}
    assert mask.sum() == 16
    assert np.abs(before[mask]).min() >= np.abs(before[~mask]).max()
    fit(model, data(), data(64, 1), truth_loss(HEADS), FitSettings(2, 32, 0.01, seed=6))
    after = to_array(model.get_layer("first").kernel)
    assert (after[~mask] == 0).all()
    assert (after[mask] != before[mask]).any()
    assert (to_array(model.get_layer("last").kernel) != 0).all()


def test_wrong_pruning_is_refused():
    model = floating()
    with pytest.raises(InputError, match="share = 1"):
        prune(model, 1, ["first"])
    with pytest.raises(InputError, match="no kernel"):
        prune(model, 0.5, [model.layers[0].name])


def test_error_halves_with_each_bit_and_the_graph_is_the_model():
    source = trained()
    x = data().inputs
    expected = predict(source, x)
    errors = {}
    for bits in (4, 6, 8, 12):
        model = copied(source)
        quantise_after_training(model, source, x, bits)
        found = predict(model, x)
        errors[bits] = float(np.abs(found - expected).mean())
        (got,) = emulate(from_hgq(model), x.astype(np.float64))
        assert np.array_equal(got, found)
        for layer in (model.get_layer(name) for name in ("first", "last")):
            kernel = np.asarray(layer.kq(layer.kernel))
            step = 2.0 ** -float(to_array(layer.kq.quantizer._f).max())
            codes = kernel / step
            assert (codes == np.round(codes)).all()
            assert -(2 ** (bits - 1)) <= codes.min() <= codes.max() < 2 ** (bits - 1)
    assert errors[12] < 2e-3 * np.abs(expected).mean() + 2e-3
    assert errors[4] > 3 * errors[6] > 0
    assert errors[6] > 3 * errors[8]


def test_wrong_quantisation_is_refused():
    source = floating()
    model = copied(source)
    with pytest.raises(InputError, match="bits = 1"):
        quantise_after_training(model, source, data().inputs, 1)
    with pytest.raises(InputError, match="no events"):
        quantise_after_training(model, source, data().inputs[:0], 8)
    source.get_layer("last").name = "other"
    with pytest.raises(InputError, match=r"no layers \['last'\]"):
        quantise_after_training(model, source, data().inputs, 8)
