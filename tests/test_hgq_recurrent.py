"""Recurrent layers of HGQ2, unrolled: equal to Keras, in every form that Keras has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.errors import ConversionError
from hairtrigger.frontends.hgq import from_hgq
from hairtrigger.graph import emulate_codes
from hairtrigger.graph.passes import optimise
from hgq_models import assert_exact, model_of, prepare, random_codes

keras = prepare()
import hgq.layers as q  # noqa: E402
from hgq.config import HardTanhConfig, QuantizerConfig  # noqa: E402

STEPS, FEATURES, UNITS = 4, 5, 3


def gru(**options: Any) -> Any:
    """A model of one QGRU with random formats and weights; gates keep their own formats."""
    return recurrent(q.QGRU, **options)


def recurrent(layer: Any, seed: int = 3, **options: Any) -> Any:
    def build(x: Any) -> Any:
        return layer(UNITS, **options)(x)

    model = model_of(build, (STEPS, FEATURES), seed=seed)
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        kind = weight.path.split("/")[-1]
        if kind == "recurrent_kernel":
            weight.assign(rng.normal(0, 1.0, weight.shape))
    return model


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("use_bias", [True, False])
def test_gru(reset_after: bool, use_bias: bool) -> None:
    graph = assert_exact(gru(reset_after=reset_after, use_bias=use_bias))
    assert graph.output_types[0].shape == (UNITS,)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_gru_of_any_formats(seed: int, reset_after: bool) -> None:
    assert_exact(gru(seed=seed, reset_after=reset_after), seed % 1000)


@pytest.mark.parametrize("go_backwards", [True, False])
def test_gru_returns_sequences(go_backwards: bool) -> None:
    graph = assert_exact(gru(return_sequences=True, go_backwards=go_backwards))
    assert graph.output_types[0].shape == (STEPS, UNITS)


def test_gru_with_functions_that_become_tables() -> None:
    from hairtrigger.graph.ops import Table

    plain = QuantizerConfig(place="datalane")
    graph = assert_exact(
        gru(activation="tanh", recurrent_activation="sigmoid", praq_conf=plain, paq_conf=plain)
    )
    assert sum(isinstance(node.op, Table) for node in graph.nodes) == 2 * STEPS


def test_simple_rnn() -> None:
    conf = HardTanhConfig(place="datalane")
    for options in ({}, {"activation": "relu"}, {"return_sequences": True, "use_bias": False}):
        assert_exact(recurrent(q.QSimpleRNN, paq_conf=conf, **options))


def test_gru_between_other_layers() -> None:
    def build(x: Any) -> Any:
        y = q.QEinsumDense("btf,fc->btc", (STEPS, 4), bias_axes="c", activation="relu")(x)
        return q.QDense(2)(q.QGRU(UNITS)(y))

    graph = assert_exact(model_of(build, (STEPS, FEATURES)))
    simple = optimise(graph)
    assert len(simple.nodes) < len(graph.nodes)
    codes = [random_codes(op.type, 5) for op in graph.input_ops]
    before, after = emulate_codes(graph, codes), emulate_codes(simple, codes)
    shift = graph.output_types[0].lsb - simple.output_types[0].lsb
    assert (before[0] == after[0] << max(shift, 0)).all()


def test_what_is_refused() -> None:
    with pytest.raises(ConversionError, match="returns its state too"):
        from_hgq(
            keras.Model(
                *(lambda x: (x, q.QGRU(UNITS, return_state=True)(x)[0]))(
                    keras.Input((STEPS, FEATURES))
                )
            )
        )
    stateful = keras.Sequential(
        [keras.Input(batch_shape=(2, STEPS, FEATURES)), q.QGRU(UNITS, stateful=True)]
    )
    with pytest.raises(ConversionError, match="stateful"):
        from_hgq(stateful)
    tanh = recurrent(q.QSimpleRNN, activation="tanh")
    with pytest.raises(ConversionError, match="behind its quantizer"):
        from_hgq(tanh)
    dummy = QuantizerConfig("dummy")
    with pytest.raises(ConversionError, match="rkq quantizer is a dummy"):
        from_hgq(recurrent(q.QGRU, rkq_conf=dummy))


def test_gru_in_verilog(tmp_path: Any) -> None:
    from hairtrigger.backends import rtl

    graph = optimise(from_hgq(gru(seed=7)))
    made = rtl.emit(graph, None, tmp_path)
    made.build()
    codes = [random_codes(op.type, 9) for op in graph.input_ops]
    for ours, theirs in zip(emulate_codes(graph, codes), made.run_codes(codes), strict=True):
        assert (ours == theirs).all()
