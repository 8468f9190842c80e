"""What the HGQ2 frontend refuses: every layer by name, with the reason and the way out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hairtrigger.errors import ConversionError, InputError
from hairtrigger.fixed import Fixed
from hairtrigger.frontends.hgq import from_hgq
from hgq_models import FORMAT, model_of, prepare

keras = prepare()
import hgq.layers as q  # noqa: E402  (after the backend is chosen)
from hgq.config import QuantizerConfig, QuantizerConfigScope  # noqa: E402
from hgq.quantizer import Quantizer  # noqa: E402


@pytest.fixture(autouse=True)
def _same_start() -> Any:
    keras.utils.set_random_seed(1)
    with QuantizerConfigScope(place="datalane", default_q_type="kif"):
        yield


def refused(model: Any, **options: Any) -> str:
    with pytest.raises(ConversionError) as caught:
        from_hgq(model, **options)
    return str(caught.value)


def test_all_unsupported_layers_are_named_at_once() -> None:
    layers = keras.layers
    sub = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="float_inside")], name="sub")

    def build(x: Any) -> Any:
        y = layers.LeakyReLU(name="leaky")(q.QDense(4)(x))
        y = layers.BatchNormalization(name="floating")(layers.Dense(4, name="plain")(y))
        y = layers.ReLU(max_value=6, name="six")(q.QDense(4, activation="tanh", name="act")(sub(y)))
        return q.QConv1D(2, 2, dilation_rate=2, name="holes")(layers.Reshape((4, 1))(y))

    message = refused(model_of(build, (4,)))
    for name in ("leaky", "floating", "plain", "sub/float_inside", "six", "act", "holes"):
        assert f"- {name} (" in message
    assert message.count("Way out") >= 7


def minifloat(place: str) -> Any:
    """HGQ2 0.2.0 hands its minifloat quantizer an option that it does not take."""
    config = QuantizerConfig("float", place)
    config.config.pop("is_weight")
    return config


class Doubled(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return 2 * x


class OwnDense(q.QDense):
    def call(self, x: Any, training: Any = None) -> Any:
        return 2 * super().call(x)


@pytest.mark.parametrize(
    ("layer", "part"),
    [
        (lambda: Doubled(name="mine"), "mine (Doubled): no exact"),
        (lambda: OwnDense(4, name="mine"), "mine (OwnDense): no exact"),
        (lambda: q.QDense(4, iq_conf=minifloat("datalane")), "minifloat"),
        (lambda: q.QDense(4, kq_conf=minifloat("weight")), "minifloat"),
        (lambda: q.QDense(4, kq_conf=QuantizerConfig("dummy", "weight")), "dummy"),
        (lambda: Quantizer(QuantizerConfig("kif", scaler=3.0)), "powers of two"),
        (lambda: Quantizer(QuantizerConfig("kif", affine=(0.1, 0.0))), "affine"),
        (lambda: keras.layers.PReLU(), "QUnaryFunctionLUT"),
        (lambda: keras.layers.Softmax(), "QSoftmax"),
        (lambda: q.QDense(4, dtype="float16"), "float16"),
    ],
)
def test_unsupported_layers_name_reason_and_way_out(layer: Any, part: str) -> None:
    inputs = keras.Input((4,))
    message = refused(keras.Model(inputs, layer()(inputs)), input_format=FORMAT)
    assert part in message
    assert "Way out" in message or "use" in message


@pytest.mark.parametrize(
    ("build", "shape", "part"),
    [
        (lambda x: q.QConv2D(2, 2, data_format="channels_first")(x), (2, 4, 4), "channels_first"),
        (lambda x: q.QAveragePooling2D(3, padding="same")(x), (5, 5, 2), "valid"),
        (lambda x: keras.layers.ReLU()(q.QAveragePooling2D(3)(x)), (5, 5, 2), "before a quantizer"),
        (lambda x: q.QAveragePooling2D(3)(x), (5, 5, 2), "(output)"),
        (lambda x: q.QAdd()([Quantizer("kif")(x), x]) * 0.3, (4,), "number or an array"),
        (lambda x: Quantizer("kif")(x)[:, ::2], (4,), "without a step"),
        (lambda x: q.QSum(axes=0)(x), (4, 2), "sums over events"),
        (lambda x: q.QUnaryFunctionLUT("tanh", enable_iq=False)(q.QDense(4)(x)), (4,), "limit"),
        (lambda x: q.QEinsumDense("bc,cC->bC", 4)(x, training=True), (4,), "training=True"),
    ],
)
def test_forms_that_are_not_exact(build: Any, shape: Any, part: str) -> None:
    inputs = keras.Input(shape)
    model = keras.Model(inputs, build(inputs))
    if part == "limit":
        for name in ("iq", "kq"):
            internal = getattr(model.layers[1], name).quantizer
            internal.trainable = False
            bits = internal._f if hasattr(internal, "_f") else internal._b
            bits.assign(np.full(bits.shape, 12))
        model.layers[1]._kernel.assign(np.full((4, 4), 2.0**-9 + 1))
    assert part in refused(model, input_format=FORMAT if part != "limit" else Fixed(True, 4, 12))


def test_ranges_that_were_reset_and_never_traced() -> None:
    from hgq.utils.minmax_trace import _reset_minmax

    model = model_of(lambda x: q.QDense(3)(x), (4,))
    _reset_minmax(model)
    assert "trace_minmax" in refused(model)


def test_models_without_a_graph_of_layers() -> None:
    class Own(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    own = Own()
    own.build((None, 4))
    assert "subclassed" in refused(own)
    assert "not built" in refused(keras.Sequential([q.QDense(3)]))
    open_length = keras.Input((None, 2))
    assert "number of events" in refused(keras.Model(open_length, Quantizer("dummy")(open_length)))
    with pytest.raises(InputError, match="load_model"):
        from_hgq("model.keras")
