"""Layers in the chip's formats: exactly what integers give, and a gradient straight through."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.errors import InputError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, TensorType, emulate, ops
from hairtrigger.train.bernoulli import Probability
from hairtrigger.train.fixed_point import Rounded, RoundedDense, keras

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def expected(x: np.ndarray, form: Fixed) -> np.ndarray:
    """The numbers as an Input of a Graph takes them."""
    builder = Builder("border")
    t = TensorType.uniform(x.shape[1:], form)
    place = builder.add(ops.Input("x", t, Rounding.RND, Overflow.SAT))
    return emulate(builder.build({"y": place}), x)[0]


@settings(max_examples=30, deadline=None)
@given(
    st.builds(Fixed, st.booleans(), st.integers(1, 4), st.integers(-1, 6)),
    st.integers(0, 1000),
)
def test_rounded_numbers_are_those_of_the_chip(form: Fixed, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(64, 3)) * 2.0**form.integer).astype(np.float32)
    step = np.float32(2.0**-form.fraction)
    half = (rng.integers(-20, 20, (8, 3)) + np.float32(0.5)) * step
    near = [np.nextafter(half, np.float32(side)) for side in (-1e9, 1e9)]
    x = np.concatenate([x, half, *near]).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(Rounded(form)(x)), expected(x, form))


def test_backwards_rounded_numbers_count_as_they_are() -> None:
    import jax

    layer = Rounded(Fixed(True, 2, 1))
    weights = np.float32([1, 2, 3])
    x = np.float32([0.3, -9.0, 1.7])
    got = jax.grad(lambda z: (layer(z[None])[0] * weights).sum())(x)
    np.testing.assert_array_equal(got, weights)
    dense = RoundedDense(1, 1)
    dense.build((None, 2))
    dense.set_weights([np.float32([[0.7], [0.1]]), np.float32([0.3])])
    x = np.float32([[1.0, 2.0]])
    assert np.asarray(dense(x)).item() == 0.5 + 0 + 0.5

    def total(kernel):
        return dense.stateless_call([kernel, dense.bias.value], [], x)[0].sum()

    slope = jax.grad(total)(dense.kernel.value)
    np.testing.assert_array_equal(slope, x.T)


def test_p_is_a_multiple_of_what_a_word_can_say() -> None:
    import jax

    x = np.float32([-3.0, 0.0, 0.4])
    p = np.asarray(Probability(1.0, 3)(x))
    exact = 1 / (1 + np.exp(-x))
    np.testing.assert_array_equal(p, np.rint(8 * exact) / 8)
    slope = jax.grad(lambda z: Probability(1.0, 3)(z).sum())(x)
    np.testing.assert_allclose(slope, exact * (1 - exact), rtol=1e-5)
    with pytest.raises(InputError, match="one bit"):
        Probability(1.0, 0)


def test_saved_and_loaded_it_is_the_same(tmp_path) -> None:
    keras.utils.set_random_seed(1)
    given_ = keras.Input((4,))
    y = RoundedDense(3, 2, name="dense")(Rounded(Fixed(True, 2, 1), name="in")(given_))
    model = keras.Model(given_, Probability(1.0, 5, name="p")(y))
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    x = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(model(x)))
    assert again.get_layer("in").form == Fixed(True, 2, 1)
    kernel = np.array(again.get_layer("dense").kernel.value)
    codes = np.rint(4 * kernel) / 4
    inner = np.asarray(keras.Model(again.input, again.get_layer("dense").output)(x))
    rounded = np.clip(np.floor(2 * x + 0.5), -8, 7) / 2
    np.testing.assert_array_equal(inner, rounded @ codes)
