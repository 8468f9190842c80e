"""QDQ models: equal to the emulator where they should be, and honest where not."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from hairtrigger.backends.onnx import save
from hairtrigger.backends.qdq import (
    DPU,
    TENSORRT,
    Style,
    int8_bias,
    int8_weights,
    notes,
    problems,
)
from hairtrigger.backends.qdq_ops import QdqRun, to_qdq
from hairtrigger.errors import StorageError, UnsupportedError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType
from hairtrigger.graph.linear import Conv, Dense, GlobalSum, MaxPool, SumPool
from hairtrigger.graph.moves import Concat, Reshape
from hairtrigger.graph.ops import Add, Input, Quantize, Relu
from hairtrigger.graph.stimulus import extreme_codes, join_events, random_codes


def uniform(fixed: Fixed, *shape: int) -> TensorType:
    return TensorType.uniform(shape, fixed)


def events(graph: Graph, number: int = 200) -> tuple:
    return join_events([extreme_codes(graph), random_codes(graph, number, seed=5)])


def measure(graph: Graph, style: Style, folder: Path, **more: object):
    model = to_qdq(graph, style, "model", **more)
    onnx.checker.check_model(model, full_check=True)
    save(model, folder / "model.onnx")
    batch = more.get("events")
    return QdqRun(graph, folder / "model.onnx", batch).differences(events(graph))


U25 = Fixed(False, 2, 5)


def mlp(
    rounding: Rounding = Rounding.RND,
    overflow: Overflow = Overflow.SAT,
    hidden: Fixed = U25,
    relu: bool = True,
) -> Graph:
    rng = np.random.default_rng(3)
    b = Builder("mlp")
    x = b.add(Input("x", uniform(Fixed(True, 1, 6), 8)))
    x = b.add(Dense(Literal(rng.integers(-16, 17, (8, 6)), 4), Literal([3] * 6, 4)), x)
    x = b.add(Relu(), x) if relu else x
    x = b.add(Quantize(uniform(hidden, 6), rounding, overflow), x)
    x = b.add(Dense(Literal(rng.integers(-16, 17, (6, 4)), 4)), x)
    return b.build([b.add(Quantize(uniform(Fixed(True, 4, 3), 4), rounding, Overflow.SAT), x)])


def cnn() -> Graph:
    rng = np.random.default_rng(3)
    b = Builder("cnn")
    x = b.add(Input("x", uniform(Fixed(False, 3, 2), 8, 6, 2)))
    x = b.add(
        Conv(
            Literal(rng.integers(-7, 8, (3, 3, 2, 4)), 3),
            Literal([1] * 4, 3),
            (1, 1),
            ((1, 1), (1, 1)),
        ),
        x,
    )
    x = b.add(
        Quantize(uniform(Fixed(False, 4, 2), 8, 6, 4), Rounding.RND, Overflow.SAT), b.add(Relu(), x)
    )
    x = b.add(MaxPool((2, 2), (2, 2), ((0, 0), (0, 0))), x)
    y = b.add(SumPool((2, 1), (2, 1), ((0, 0), (0, 0))), x)
    y = b.add(Quantize(uniform(Fixed(False, 5, 1), 2, 3, 4), Rounding.TRN, Overflow.SAT), y)
    z = b.add(MaxPool((2, 1), (2, 1), ((0, 0), (0, 0))), x)
    y = b.add(
        Quantize(uniform(Fixed(False, 5, 1), 2, 3, 4), Rounding.TRN, Overflow.SAT),
        b.add(Add(), y, z),
    )
    y = b.add(Concat(2), y, b.add(Quantize(uniform(Fixed(False, 5, 1), 2, 3, 4), Rounding.RND), z))
    total = b.add(GlobalSum((0, 1)), y)
    flat = b.add(Reshape((48,)), y)
    flat = b.add(Dense(Literal(rng.integers(-7, 8, (48, 3)), 4)), flat)
    return b.build([flat, total])


# --- exact where it can be -----------------------------------------------------------------------


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("rounding", list(Rounding))
def test_every_rounding_is_the_graphs(rounding: Rounding, relu: bool, tmp_path: Path) -> None:
    """With offsets all but those that treat the signs differently, on numbers of both signs."""
    graph = mlp(rounding, hidden=Fixed(not relu, 2, 5), relu=relu)
    reasons = problems(graph, TENSORRT)
    if rounding is Rounding.TRN_ZERO:
        assert any("TRN_ZERO of numbers of both signs" in reason for reason in reasons)
        return
    assert reasons == []
    said = notes(graph, TENSORRT)
    assert bool(said) is (rounding in (Rounding.RND_INF, Rounding.RND_ZERO))
    (found,) = measure(graph, TENSORRT, tmp_path)
    if said:
        assert 0 < found.differ < found.numbers / 4
        assert found.largest == 1
        assert "exact halves round to even" in said[0]
    else:
        assert found.same, found


@pytest.mark.parametrize(
    "hidden", [Fixed(False, 1, 3), Fixed(True, 1, 3), Fixed(False, 2, 5), Fixed(True, 2, 5)]
)
@pytest.mark.parametrize("overflow", [Overflow.SAT, Overflow.SAT_SYM])
def test_saturation_at_fewer_bits(hidden: Fixed, overflow: Overflow, tmp_path: Path) -> None:
    graph = mlp(overflow=overflow, hidden=hidden, relu=not hidden.signed)
    (found,) = measure(graph, TENSORRT, tmp_path)
    assert found.same, found
    clips = [n for n in to_qdq(graph, TENSORRT, "m").graph.node if n.op_type == "Clip"]
    # 7 bits unsigned behind a ReLU and 8 bits signed saturate as int8 does.
    full = hidden == U25 or (hidden == Fixed(True, 2, 5) and overflow is Overflow.SAT)
    assert len(clips) == (0 if full else 1)


def test_images_pools_and_moves(tmp_path: Path) -> None:
    for found in measure(cnn(), TENSORRT, tmp_path):
        assert found.same, found


def test_formats_by_element_with_one_step(tmp_path: Path) -> None:
    """Different ranges and elements of no bits are clipped one by one."""
    b = Builder("ranges")
    x = b.add(Input("x", uniform(Fixed(True, 2, 5), 4)))
    x = b.add(Dense(Literal(np.eye(4, dtype=int) * 3, 1)), x)
    t = TensorType((4,), [True, False, True, False], [2, 1, 4, 0], [3, 3, 3, 0])
    x = b.add(Quantize(t, Rounding.TRN, Overflow.SAT), x)
    graph = b.build([b.add(Dense(Literal(np.eye(4, dtype=int), 0)), x)])
    assert problems(graph, TENSORRT) == []
    (found,) = measure(graph, TENSORRT, tmp_path)
    assert found.same, found


@settings(max_examples=60)
@given(data=st.data())
def test_random_graphs_are_exact_or_say_why_not(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(["mlp", "cnn", "any"]))
    graph = data.draw(strategies.graphs(kind, max_ops=6, max_bits=5))
    if problems(graph, TENSORRT):
        with pytest.raises(UnsupportedError):
            to_qdq(graph, TENSORRT, "model")
        return
    folder = tmp_path_factory.mktemp("qdq")
    found = measure(graph, TENSORRT, folder)
    if not notes(graph, TENSORRT):
        assert all(d.same for d in found), found


def test_structure() -> None:
    """Weights, activations and biases as a consumer wants them."""
    model = to_qdq(mlp(), TENSORRT, "model")
    arrays = {a.name: onnx.numpy_helper.to_array(a) for a in model.graph.initializer}
    kinds = [node.op_type for node in model.graph.node]
    pair = ["QuantizeLinear", "DequantizeLinear"]
    layer = ["DequantizeLinear", "Gemm"]
    assert kinds == [*pair, *layer, "Relu", *pair, *layer, *pair, "Identity"]
    for node in model.graph.node:
        if "quantize" in node.op_type.lower():
            scale, zero = arrays[node.input[1]], arrays[node.input[2]]
            assert scale.dtype == np.float32
            assert (np.frexp(scale)[0] == 0.5).all()
            assert zero.dtype == np.int8
            assert not zero.any()
    static = to_qdq(mlp(), DPU, "model", events=4, ir_version=8)
    assert static.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 4
    assert static.ir_version == 8


# --- what cannot be said -------------------------------------------------------------------------


def test_every_problem_at_once() -> None:
    b = Builder("bad")
    x = b.add(Input("x", uniform(Fixed(False, 0, 8), 4)))
    x = b.add(Dense(Literal([[1, 2], [3, 4], [1000, 6], [7, 8]], 3)), x, label="first")
    x = b.add(Quantize(uniform(Fixed(False, 3, 5), 2), Rounding.RND, Overflow.WRAP), x)
    t = TensorType((2,), True, 3, [1, 3])
    x = b.add(Quantize(t, Rounding.TRN, Overflow.SAT), x)
    graph = b.build([b.add(Dense(Literal([[257], [1]], 0)), x)])
    text = "\n".join(problems(graph, TENSORRT))
    assert "%1 Dense 'first': it reads %0 Input, which is not in int8 (u0.8)" in text
    assert "%2 Quantize: codes of u3.5 do not fit int8" in text
    assert "%2 Quantize: it may overflow and WRAP it" in text
    assert "%3 Quantize: elements are rounded to different steps" in text
    assert "%4 Dense: its weights do not fit int8, even with a scale for each channel" in text
    assert "%1 Dense 'first': its weights do not fit int8, in one scale" in "\n".join(
        problems(graph, DPU)
    )
    with pytest.raises(UnsupportedError, match="no INT8 model") as caught:
        to_qdq(graph, TENSORRT, "INT8 model")
    assert all(problem in str(caught.value) for problem in problems(graph, TENSORRT))


def test_a_wide_input_that_is_quantised_at_once(tmp_path: Path) -> None:
    """12-bit ADC counts brought to 7 bits: the Input stays float32."""
    b = Builder("adc")
    x = b.add(Input("x", uniform(Fixed(False, 12, 0), 6)))
    x = b.add(Quantize(uniform(Fixed(False, 12, -5), 6), Rounding.RND, Overflow.SAT), x)
    graph = b.build([b.add(Dense(Literal(np.arange(-6, 6).reshape(6, 2), 2)), x)])
    assert problems(graph, TENSORRT) == []
    (found,) = measure(graph, TENSORRT, tmp_path)
    assert found.same, found


def test_scales_by_channel_where_one_is_too_few() -> None:
    mixed = Literal([[127, 1], [-128, 3]], 4)
    one = int8_weights(mixed, channels=False)
    assert one is not None
    assert one.fraction.ndim == 0
    wide = Literal([[127 * 4, 1], [-128 * 4, 3]], 4)
    assert int8_weights(wide, channels=False) is None
    two = int8_weights(wide, channels=True)
    assert two is not None
    assert two.fraction.tolist() == [2, 4]
    assert two.codes.tolist() == [[127, 1], [-128, 3]]
    zero = int8_weights(Literal([[0, 0]], 4), channels=True)
    assert zero is not None
    assert not zero.codes.any()


@settings(max_examples=100)
@given(st.lists(st.integers(-5000, 5000), min_size=1, max_size=6), st.integers(-3, 9))
def test_a_bias_in_int8_is_the_nearest(codes: list[int], fraction: int) -> None:
    bias = int8_bias(Literal(codes, fraction))
    step = 2.0 ** -int(bias.fraction)
    error = np.abs(bias.codes * step - np.array(codes) * 2.0**-fraction)
    assert error.max() <= (step / 2 if bias.rounded else 0)
    assert bias.codes.min() >= -128
    assert bias.codes.max() <= 127
    if bias.rounded:  # one bit finer would not fit
        finer = np.round(np.ldexp(np.array(codes, float), int(bias.fraction) + 1 - fraction))
        assert finer.min() < -128 or finer.max() > 127


# --- the DPU's form ------------------------------------------------------------------------------


def test_the_dpus_form_differs_where_it_says(tmp_path: Path) -> None:
    graph = mlp(Rounding.TRN)
    said = notes(graph, DPU)
    assert any("it rounds to nearest, not TRN (up to 1 LSB)" in note for note in said)
    (found,) = measure(graph, DPU, tmp_path, events=4)
    assert found.differ > 0
    even = mlp(Rounding.RND_CONV)
    assert notes(even, DPU) == []
    (found,) = measure(even, DPU, tmp_path, events=3)
    assert found.same, found


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    graph = mlp()
    run = QdqRun(graph, tmp_path / "none.onnx")
    with pytest.raises(StorageError, match="cannot be read"):
        run.run_real(events(graph))
    save(to_qdq(cnn(), TENSORRT, "m"), tmp_path / "other.onnx")
    with pytest.raises(StorageError, match="another Graph"):
        QdqRun(graph, tmp_path / "other.onnx").run_real(events(graph))


def test_all_pairs_of_rounding_and_overflow_alone(tmp_path: Path) -> None:
    """All codes of an Input through one Quantize, where nothing can fold an offset."""
    for rounding, overflow in product(Rounding, (Overflow.SAT, Overflow.SAT_SYM)):
        b = Builder("alone")
        x = b.add(Input("x", uniform(Fixed(True, 4, 6))))
        graph = b.build([b.add(Quantize(uniform(Fixed(True, 2, 2)), rounding, overflow), x)])
        if problems(graph, TENSORRT) or notes(graph, TENSORRT):
            assert rounding in (Rounding.TRN_ZERO, Rounding.RND_ZERO, Rounding.RND_INF)
            continue
        save(to_qdq(graph, TENSORRT, "m"), tmp_path / "m.onnx")
        (found,) = QdqRun(graph, tmp_path / "m.onnx").differences([np.arange(-1024, 1024)])
        assert found.same, (rounding, overflow, found)
