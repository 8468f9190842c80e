"""The HGQ2 frontend: every layer and mode gives Keras's numbers, to the last bit."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from hairtrigger.errors import ConversionError, InputError, MismatchError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.frontends.hgq import from_hgq, keras_values
from hairtrigger.graph import TensorType, emulate_codes, encode
from hairtrigger.graph.linear import Conv, Dense
from hairtrigger.graph.ops import Quantize, Table
from hgq_models import (
    EVENTS,
    FORMAT,
    assert_exact,
    differences,
    model_of,
    prepare,
    random_codes,
    shake,
)

keras = prepare()
import hgq.layers as q  # noqa: E402  (after the backend is chosen)
from hgq.config import (  # noqa: E402
    HardSigmoidConfig,
    HardTanhConfig,
    QuantizerConfig,
    QuantizerConfigScope,
)
from hgq.quantizer import Quantizer  # noqa: E402


@pytest.fixture(autouse=True)
def _same_start() -> Any:
    """HGQ2 draws seeds from NumPy's global state; weights come from Keras's."""
    keras.utils.set_random_seed(1)
    scope = QuantizerConfigScope(place="datalane", default_q_type="kif")
    with scope:
        yield


# --- quantizers ----------------------------------------------------------------------------------

MODES = [
    *product((r.name for r in Rounding), ("WRAP", "SAT", "SAT_SYM")),
    ("RND", "WRAP_SM"),
    ("RND_CONV", "WRAP_SM"),
    ("S_RND", "SAT"),
    ("S_RND_CONV", "WRAP"),
]


def _every_mode() -> Any:
    inputs, outputs = [], []
    for round_mode, overflow_mode in MODES:
        name = f"{round_mode}_{overflow_mode}"
        x = keras.Input((16,), name=name)
        config = QuantizerConfig("kif", round_mode=round_mode, overflow_mode=overflow_mode)
        outputs.append(Quantizer(config, name=f"q_{name}")(x))
        inputs.append(x)
    return shake(keras.Model(inputs, outputs), 5)


@pytest.fixture(scope="module")
def every_mode() -> dict[str, tuple[list[int], list[int]]]:
    """Differences by mode: of real numbers at the border, and of codes in the Graph."""
    from hgq_models import real_differences

    keras.utils.set_random_seed(1)
    model = _every_mode()
    border = from_hgq(model)
    inside = from_hgq(model, input_format=Fixed(True, 6, 8))
    assert not any(isinstance(n.op, Quantize) for n in border.nodes if "SYM" not in n.label)
    reals = real_differences(model, border)
    codes = differences(model, border)
    quantized = differences(model, inside)
    names = [op.name for op in border.input_ops]
    return {n: (a + b, c) for n, a, b, c in zip(names, reals, codes, quantized, strict=True)}


@pytest.mark.parametrize(("rounding", "overflow"), MODES)
def test_modes_agree_at_the_border_and_inside(
    every_mode: Any, rounding: str, overflow: str
) -> None:
    assert every_mode[f"{rounding}_{overflow}"] == (0, 0)


def test_input_carries_the_modes_of_the_quantizer() -> None:
    config = QuantizerConfig("kif", round_mode="RND_CONV", overflow_mode="SAT")
    model = model_of(lambda x: q.QDense(3, iq_conf=config)(x), (4,))
    (op,) = from_hgq(model).input_ops
    assert (op.rounding, op.overflow) == (Rounding.RND_CONV, Overflow.SAT)
    k, i, f = (np.asarray(a)[0] for a in model.layers[1].iq.quantizer.kif)
    assert op.type == TensorType((4,), k > 0, i, f)


def test_scaler_and_affine() -> None:
    def build(x: Any) -> Any:
        a = Quantizer(QuantizerConfig("kif", scaler=4.0, overflow_mode="SAT"))(x)
        b = Quantizer(HardSigmoidConfig())(a)
        c = Quantizer(HardTanhConfig())(a)
        return [b, c, Quantizer(QuantizerConfig("kbi", scaler=0.5))(a)]

    assert_exact(model_of(build, (4,)))


def test_two_relu_quantizers_on_one_wire_stay_two() -> None:
    def build(x: Any) -> Any:
        y = q.QDense(4, activation="relu")(x)
        outs = []
        for f in (2, 6):
            config = QuantizerConfig("kif", k0=0, i0=4, f0=f, overflow_mode="SAT")
            outs.append(Quantizer(config, name=f"f{f}")(y))
        return outs

    inputs = keras.Input((4,))
    model = keras.Model(inputs, build(inputs))
    rng = np.random.default_rng(0)
    model.layers[1]._kernel.assign(rng.normal(0, 1, (4, 4)))
    graph = assert_exact(model)
    a, b = emulate_codes(graph, [random_codes(graph.input_ops[0].type, 0)])
    coarse, fine = (x * 2.0**-t.lsb for x, t in zip((a, b), graph.output_types, strict=True))
    assert (coarse != fine).mean() > 0.3


# --- layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("overflow", ["WRAP", "SAT", "SAT_SYM"])
def test_dense_layers(overflow: str) -> None:
    """Weights and biases too; HGQ2 only rounds weights that were trained to wrap."""
    with QuantizerConfigScope(place="all", overflow_mode=overflow):
        model = keras.Sequential(
            [
                keras.Input((4,)),
                q.QDense(4, activation="relu"),
                q.QBatchNormDense(4),
                keras.layers.Dropout(0.5),
                q.QEinsumDenseBatchnorm("bc,cC->bC", 4, bias_axes="C", activation="relu"),
                q.QDense(3, use_bias=False, enable_oq=True),
            ]
        )
    graph = assert_exact(shake(model, 1))
    assert sum(isinstance(node.op, Dense) for node in graph.nodes) == 4


@pytest.mark.parametrize(
    ("equation", "shape", "out", "bias"),
    [
        ("...c,cC->...C", (3, 4), 4, "C"),
        ("bnc,cC->bnC", (3, 4), (3, 4), "nC"),
        ("bnc,ncC->bnC", (3, 4), (3, 4), "nC"),
        ("bnc,nC->bCc", (3, 4), (4, 4), None),
        ("bnmc,mcCd->bdnC", (2, 3, 4), (3, 2, 4), "d"),
    ],
)
def test_einsum_dense(equation: str, shape: Any, out: Any, bias: str | None) -> None:
    assert_exact(model_of(lambda x: q.QEinsumDense(equation, out, bias_axes=bias)(x), shape))


def test_convolutions_2d() -> None:
    def build(x: Any) -> Any:
        a = q.QConv2D(4, 3, padding="same", activation="relu")(x)
        b = q.QMaxPooling2D(2, padding="same")(a)
        c = q.QConv2D(4, 3, strides=(1, 2), padding="same", groups=2)(b)
        d = q.QConv2D(4, 3, strides=2, groups=2)(a)
        return [c, d, q.QConv2D(2, (2, 3), strides=2, padding="same", use_bias=False)(x)]

    with QuantizerConfigScope(place="datalane", heterogeneous_axis=(3,)):
        graph = assert_exact(model_of(build, (7, 6, 2)), input_format=FORMAT)
    assert sum(isinstance(node.op, Conv) for node in graph.nodes) == 4


def test_convolutions_1d_with_every_padding() -> None:
    def build(x: Any) -> Any:
        a = q.QConv1D(4, 3, padding="same", strides=2, activation="relu")(x)
        with QuantizerConfigScope(place="datalane", heterogeneous_axis=(2,)):
            b = q.QConv1D(4, 3, padding="causal")(a)
        return q.QConv1D(4, 3, padding="valid")(q.QBatchNormalization()(b))

    assert_exact(model_of(build, (9, 4)))


def test_merging_layers() -> None:
    def build(x: Any, y: Any) -> Any:
        a, b = q.QDense(4)(x), q.QDense(4, activation="relu")(y)
        wide = keras.layers.Reshape((1, 4))(a)
        rows = keras.layers.RepeatVector(3)(b)
        return [
            q.QAdd()([a, b, y]),
            q.QSubtract()([a, b]),
            q.QMultiply()([a, b]),
            q.QMaximum()([a, b, y]),
            q.QMinimum()([wide, rows]),
            q.QAveragePow2()([a, b, b]),
            q.QAdd()([rows, a]),
            keras.layers.Concatenate()([a, b]),
            keras.layers.Subtract()([a, b]),
            a + b * a,
        ]

    assert_exact(model_of(build, (4,), (4,)), input_format=FORMAT)


def test_layers_that_move_elements() -> None:
    def build(x: Any) -> Any:
        a = Quantizer("kif")(x)
        b = keras.layers.Permute((2, 1, 3))(keras.layers.ZeroPadding2D(((1, 0), (2, 1)))(a))
        c = keras.layers.Cropping2D(((1, 1), (0, 2)))(b)
        d = keras.ops.transpose(c, (0, 3, 1, 2))[:, 0, 1:, -2]
        e = keras.ops.expand_dims(keras.ops.concatenate([d, d], axis=-1), 1)
        return [c, d, keras.ops.squeeze(e, 1), keras.ops.reshape(a, (-1, 12, 6))[..., 2:]]

    assert_exact(model_of(build, (6, 6, 2)))


def test_pools_with_counts_that_are_powers_of_two() -> None:
    def build(x: Any) -> Any:
        return [
            q.QAveragePooling2D(2)(x),
            q.QMaxPooling2D(3, strides=2, padding="same")(x),
            q.QGlobalMaxPooling2D(keepdims=True)(x),
            keras.layers.AveragePooling2D(2, padding="same")(Quantizer("kif")(x)),
            q.QSum(axes=(1, 2), scale=0.25)(x),
            q.QMeanPow2(axes=-2, keepdims=True)(x),
        ]

    assert_exact(model_of(build, (5, 5, 2)), input_format=FORMAT)


def test_averages_over_other_counts_become_tables() -> None:
    def build(x: Any) -> Any:
        small = Quantizer(QuantizerConfig("kif", heterogeneous_axis=()))(x)
        a = q.QAveragePooling2D(3, strides=1, enable_iq=False, enable_oq=True)(small)
        b = q.QGlobalAveragePooling2D(enable_iq=False)(small)
        return [a, q.QDense(3)(b)]

    graph = assert_exact(model_of(build, (5, 5, 2)))
    assert sum(isinstance(node.op, Table) for node in graph.nodes) == 2


def test_unary_functions_become_tables() -> None:
    def build(x: Any) -> Any:
        y = q.QDense(4)(x)
        return [
            q.QUnaryFunctionLUT("tanh")(y),
            q.QUnaryFunctionLUT("sigmoid", allow_heterogeneous_table=False)(y),
            q.QUnaryFunctionLUT("leaky_relu")(y),
            q.QAffinedUnaryFunctionLUT("gelu")(y),
            q.QDense(3)(
                keras.layers.Reshape((4,))(q.QUnaryFunctionLUT("silu", enable_oq=False)(y))
            ),
        ]

    model = model_of(build, (4,))
    model.get_layer("q_affined_unary_function_lut").scale.assign([0.37])
    graph = assert_exact(model)
    assert sum(isinstance(node.op, Table) for node in graph.nodes) == 5


def test_softmax_is_two_tables() -> None:
    def build(x: Any) -> Any:
        a = q.QSoftmax()(x)
        rows = keras.layers.Reshape((2, 2))(x)
        return [a, q.QSoftmax(axis=1)(rows), q.QSoftmax(stable=False, enable_iq=True)(x)]

    def start(x: Any) -> Any:
        return build(q.QDense(4, enable_oq=True)(x))

    assert_exact(model_of(start, (4,)))


def test_table_layers() -> None:
    def build(x: Any) -> Any:
        a = Quantizer("kif")(x)
        b = q.QConvT2D(3, 2, strides=2, padding="same", subnn_activation="tanh")(a)
        c = q.QConvT1D(2, 3, batch_norm=True)(keras.layers.Reshape((10, 5))(a))
        return [b, q.QDenseT(3, batch_norm=True, activation="relu")(c)]

    assert_exact(model_of(build, (5, 5, 2)))


def test_nested_shared_and_several_outputs() -> None:
    inner_in = keras.Input((4,))
    shared = q.QDense(4, activation="relu")
    inner = keras.Model(inner_in, [shared(inner_in), q.QDense(4)(inner_in)], name="inner")
    tail = keras.Sequential([keras.Input((4,)), q.QDense(2)], name="tail")

    def build(x: Any, y: Any) -> Any:
        a, b = inner(Quantizer("kif")(x))
        c, d = inner(Quantizer("kif")(y))
        return {"sum": q.QAdd()([a, d]), "tail": tail(b), "again": tail(c)}

    graph = assert_exact(model_of(build, (4,), (4,)))
    assert len(graph.outputs) == 3
    assert any("inner/" in node.label for node in graph.nodes)


# --- the model's input ---------------------------------------------------------------------------


def test_input_format_is_found_behind_moves() -> None:
    """Slices, reshapes and padding in front of the first quantizers belong to the input."""

    def build(x: Any) -> Any:
        image = keras.layers.Reshape((4, 4, 1))(x[:, :16])
        a = q.QConv2D(2, 3)(keras.layers.ZeroPadding2D(1)(image))
        return [a, q.QDense(3)(x[:, 16:])]

    model = model_of(build, (20,))
    graph = assert_exact(model)
    assert not any(isinstance(node.op, Quantize) for node in graph.nodes)
    assert graph.input_ops[0].type.single is None


def test_two_quantizers_on_one_input_need_a_format() -> None:
    model = model_of(lambda x: [q.QDense(3, name="one")(x), q.QDense(3, name="two")(x)], (4,))
    with pytest.raises(ConversionError, match=r"(?s)one .*two|two .*one"):
        from_hgq(model)
    assert_exact(model, input_format=FORMAT)
    assert_exact(model, input_format=TensorType((4,), [0, 1, 1, 0], [3, 1, 2, 4], [2, 5, 0, 1]))


def test_equal_quantizers_on_one_input_are_one_format() -> None:
    model = model_of(lambda x: [q.QDense(3)(x), q.QDense(3)(x)], (4,))
    first, second = model.layers[1], model.layers[2]
    for one, two in zip(first.iq.weights, second.iq.weights, strict=True):
        two.assign(keras.ops.convert_to_numpy(one.value).copy())
    assert_exact(model)


def test_unquantized_input_needs_a_format() -> None:
    model = model_of(lambda x: q.QDense(3)(keras.layers.MaxPooling1D(2)(x)), (4, 2))
    with pytest.raises(ConversionError, match=r"max_pooling1d .*model's input before"):
        from_hgq(model)
    assert_exact(model, input_format=FORMAT)
    whole = keras.Model(inputs := keras.Input((4,)), keras.layers.ReLU()(inputs))
    assert_exact(whole, input_format=FORMAT)


def test_bad_input_formats() -> None:
    inputs = keras.Input((4,), name="hits")
    model = keras.Model(inputs, q.QDense(3)(inputs))
    with pytest.raises(InputError, match="shape"):
        from_hgq(model, input_format=TensorType.uniform((5,), FORMAT))
    with pytest.raises(InputError, match="names"):
        from_hgq(model, input_format={"nothing": FORMAT})
    assert from_hgq(model, input_format={"hits": FORMAT}).input_ops[0].type.single == FORMAT


def test_pruned_wide_formats_do_not_widen_sums() -> None:
    """HGQ2 leaves one bit of 2**24 on wires that are always zero."""
    model = model_of(lambda x: q.QDense(3)(q.QDense(4)(x)), (4,))
    inner = model.layers[2].iq.quantizer
    inner._k.assign(np.ones((1, 4)))
    inner._i.assign([[24, 3, 24, 2]])
    inner._f.assign([[-24, 2, -24, 1]])
    graph = assert_exact(model)
    assert int(graph.output_types[0].width.max()) < 20


# --- beyond float32 ------------------------------------------------------------------------------


def test_graph_stays_exact_where_float32_does_not() -> None:
    """Sums past 2**24 LSB: Keras rounds, the Graph agrees with float64, which does not."""
    wide = QuantizerConfig("kif", i0=2, f0=14, heterogeneous_axis=())
    heavy = QuantizerConfig("kbi", "weight", b0=16, i0=2)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, q.QDense(3, iq_conf=wide, kq_conf=heavy)(inputs))
    rng = np.random.default_rng(0)
    model.layers[1]._kernel.assign(rng.normal(0, 1, (4, 3)))
    graph = from_hgq(model)
    codes = random_codes(graph.input_ops[0].type, 0)
    (ours,) = emulate_codes(graph, [codes])
    layer = model.layers[1]
    kernel, bias = (
        keras.ops.convert_to_numpy(w).astype(float) for w in (layer.qkernel, layer.qbias)
    )
    exact = (codes * 2.0**-14) @ kernel + bias
    assert np.array_equal(ours * 2.0 ** -graph.output_types[0].lsb, exact)
    assert not np.array_equal(model.predict_on_batch(codes * np.float32(2.0**-14)), exact)


# --- comparing with Keras ------------------------------------------------------------------------


def test_keras_values_in_batches() -> None:
    model = model_of(lambda x: q.QDense(3)(x), (4,))
    graph = from_hgq(model)
    codes = [random_codes(graph.input_ops[0].type, 1, 300)]
    (small,) = keras_values(model, graph, codes, batch_size=EVENTS)
    assert np.array_equal(small, emulate_codes(graph, codes)[0])
    (none,) = keras_values(model, graph, [codes[0][:0]])
    assert none.shape == (0, 3)


def test_keras_values_notices_another_model() -> None:
    model = model_of(lambda x: q.QDense(3)(x), (4,))
    graph = from_hgq(model)
    codes = list(encode(graph, np.full((EVENTS, 4), 0.5)))
    model.layers[1].kq.quantizer._b.assign(np.full((4, 3), 20.0))
    model.layers[1]._kernel.assign(np.full((4, 3), 0.1))
    model.layers[1].iq.quantizer._f.assign(np.full((1, 4), 5.0))
    with pytest.raises(MismatchError, match="no multiple"):
        keras_values(model, graph, codes, batch_size=EVENTS)


def test_keras_values_refuses_inputs_beyond_float32() -> None:
    model = model_of(lambda x: q.QDense(3)(x), (4,))
    graph = from_hgq(model, input_format=Fixed(True, 20, 20))
    with pytest.raises(InputError, match="24 bits"):
        keras_values(model, graph, [np.full((1, 4), (1 << 30) + 1)])
