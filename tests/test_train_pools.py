"""The quick form of max pools: the same numbers, and the original back afterwards."""

import numpy as np
import pytest

from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.train.pools import quick_max_pools


@pytest.mark.parametrize(
    ("shape", "window", "strides", "padding"),
    [
        ((4, 6, 3), (2, 3), None, "valid"),
        ((4, 6, 3), (2, 3), (2, 3), "same"),
        ((4, 6, 3), (4, 6), None, "valid"),
        ((5, 6, 3), (2, 3), None, "valid"),  # a rest is left over
        ((4, 6, 3), (2, 3), (1, 1), "same"),  # windows overlap
        ((12, 2), 4, None, "valid"),
    ],
)
def test_the_quick_form_gives_the_same_numbers(shape, window, strides, padding):
    keras = import_keras()
    pool = keras.layers.MaxPooling1D if len(shape) == 2 else keras.layers.MaxPooling2D
    layer = pool(window, strides=strides, padding=padding)
    x = np.random.default_rng(5).normal(size=(7, *shape)).astype(np.float32)
    expected = np.asarray(layer(x))
    with quick_max_pools():
        assert np.array_equal(np.asarray(layer(x)), expected)
    assert np.array_equal(np.asarray(layer(x)), expected)


def test_gradients_agree_where_no_two_are_equal():
    import jax

    keras = import_keras()
    layer = keras.layers.MaxPooling2D((2, 3))
    x = np.random.default_rng(6).normal(size=(3, 4, 6, 2)).astype(np.float32)

    def total(values):
        return (layer(values) ** 2).sum()

    expected = np.asarray(jax.grad(total)(x))
    with quick_max_pools():
        assert np.array_equal(np.asarray(jax.grad(total)(x)), expected)


def test_the_original_is_back_after_an_error():
    from keras.src.backend.jax import nn

    original = nn.max_pool
    with pytest.raises(RuntimeError), quick_max_pools():
        raise RuntimeError
    assert nn.max_pool is original
