"""The float form of a Graph, ONNX Runtime's providers, and differences in LSB."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from hairtrigger.backends.differences import differences
from hairtrigger.backends.onnx import Border, content_key, to_onnx
from hairtrigger.backends.onnx_float import FloatArtifact, emit, to_float_onnx, unsupported
from hairtrigger.backends.onnx_session import (
    PROVIDERS,
    TF32,
    Session,
    provider_problem,
)
from hairtrigger.errors import InputError, StorageError, ToolError, UnsupportedError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, emulate_codes
from hairtrigger.graph.linear import Conv, Dense
from hairtrigger.graph.ops import Constant, Input, Quantize, Relu, Table
from hairtrigger.graph.stimulus import random_codes


def uniform(fixed: Fixed, *shape: int) -> TensorType:
    return TensorType.uniform(shape, fixed)


def network(rounding: Rounding = Rounding.RND) -> Graph:
    rng = np.random.default_rng(3)
    b = Builder("net")
    x = b.add(Input("x", uniform(Fixed(True, 1, 6), 8)))
    x = b.add(Dense(Literal(rng.integers(-16, 17, (8, 6)), 4), Literal([3] * 6, 4)), x)
    x = b.add(Quantize(uniform(Fixed(False, 2, 4), 6), rounding, Overflow.SAT), b.add(Relu(), x))
    return b.build([b.add(Dense(Literal(rng.integers(-16, 17, (6, 2)), 4)), x)])


def real_outputs(graph: Graph, codes: tuple) -> list[np.ndarray]:
    model = to_float_onnx(graph)
    onnx.checker.check_model(model, full_check=True)
    session = Session(graph, model.SerializeToString(), content_key(graph), "model")
    return session.run_codes(codes)


# --- the float form ------------------------------------------------------------------------------


def test_without_rounding_the_network_is_plain_arithmetic() -> None:
    """Beside the same network in NumPy, clipped where the Graph saturates."""
    graph = network()
    codes = random_codes(graph, 200, seed=1)
    first, second = graph.nodes[1].op, graph.nodes[4].op
    x = codes[0] / 64
    hidden = np.clip(x @ first.kernel.values + first.bias.values, 0, 4 - 1 / 16)
    (got,) = real_outputs(graph, codes)
    lsb = graph.output_types[0].lsb
    # In LSB: float32 sums some thousands of them.
    np.testing.assert_allclose(got, hidden @ second.kernel.values * 2.0**lsb, rtol=1e-5, atol=1e-2)


def test_the_float_form_differs_and_says_by_how_much(tmp_path: Path) -> None:
    graph = network(Rounding.TRN)
    codes = random_codes(graph, 300, seed=2)
    artifact = emit(graph, None, tmp_path)
    (found,) = artifact.differences(codes)
    (exact,) = emulate_codes(graph, codes)
    (real,) = artifact.run_real(codes)
    assert found.numbers == 600
    assert 0 < found.differ <= 600
    assert found.largest == np.abs(real - exact).max() > 0.5
    assert found.mean == pytest.approx(np.abs(real - exact).mean())
    assert "numbers differ, by up to" in str(found)
    assert not hasattr(artifact, "run_codes")  # its numbers are no codes


def test_the_model_says_that_it_is_not_exact() -> None:
    said = {p.key: p.value for p in to_float_onnx(network()).metadata_props}
    assert said["hairtrigger.exactness"].startswith("not exact")


@pytest.mark.parametrize("kind", ["mlp", "cnn", "any"])
@settings(max_examples=25)
@given(data=st.data())
def test_where_nothing_is_lost_the_float_form_is_the_graph(kind: str, data: st.DataObject) -> None:
    """Without a Quantize that rounds or overflows, and with numbers small enough, both are one."""
    graph = data.draw(strategies.graphs(kind, max_ops=4, max_bits=4))
    codes = data.draw(strategies.codes_for(graph, 16))
    if unsupported(graph):
        return
    from hairtrigger.graph.exact import FLOAT32, float_exact, intervals

    ranges = intervals(graph)
    loses = any(
        isinstance(node.op, Quantize)
        and (
            node.op.rounds(ranges[node.operands[0]]) | node.op.overflows(ranges[node.operands[0]])
        ).any()
        for node in graph.nodes
    )
    got = real_outputs(graph, codes)
    if not loses and float_exact(graph, FLOAT32).exact:
        assert all(d.same for d in differences(graph, emulate_codes(graph, codes), got))
    assert all(np.isfinite(y).all() for y in got)


def test_a_table_takes_the_nearest_entry() -> None:
    b = Builder("table")
    x = b.add(Input("x", uniform(Fixed(True, 2, 4), 3)))
    x = b.add(Quantize(uniform(Fixed(False, 2, 0), 3), Rounding.TRN, Overflow.SAT), x)
    graph = b.build([b.add(Table(Literal([[10, 20, 30, 40]], 0), 0, 0), x)])
    (got,) = real_outputs(graph, (np.array([[8, 23, 25], [-64, 63, 39]]),))
    # 0.5 (even: 0), 1.44, 1.56; below, above (clipped to 3), 2.44
    lsb = graph.output_types[0].lsb
    np.testing.assert_array_equal(np.ldexp(got, -lsb), [[10, 20, 30], [10, 40, 30]])


def test_elements_of_no_bits_stay_zero() -> None:
    b = Builder("dead")
    x = b.add(Input("x", uniform(Fixed(True, 2, 4), 2)))
    t = TensorType((2,), True, [2, 0], [1, -1])
    graph = b.build([b.add(Quantize(t, Rounding.TRN, Overflow.WRAP), x)])
    (got,) = real_outputs(graph, (np.array([[5, 5]]),))
    assert got.tolist() == [[5 / 8, 0.0]]  # 5/16 in units of 1/2, not rounded


def test_numbers_that_no_float32_holds_are_refused() -> None:
    b = Builder("far")
    x = b.add(Input("x", uniform(Fixed(True, -150, 155), 2)))
    graph = b.build([x])
    with pytest.raises(UnsupportedError, match=r"%0 Input: values or LSBs lie outside"):
        to_float_onnx(graph)
    assert len(unsupported(graph)) == 1
    only = Builder("none")
    only = only.build([only.add(Constant(Literal([1], 0)))])
    assert "no Input" in unsupported(only)[0]


def test_files_that_are_missing_or_foreign(tmp_path: Path) -> None:
    graph = network()
    artifact = emit(graph, None, tmp_path)
    codes = random_codes(graph, 2, seed=0)
    other = FloatArtifact((emit(network(Rounding.TRN), None, tmp_path / "o").files[0],), graph)
    with pytest.raises(StorageError, match="another Graph"):
        other.run_real(codes)
    artifact.files[0].write_bytes(artifact.files[0].read_bytes()[:100])
    with pytest.raises(StorageError, match="no model that ONNX Runtime can load"):
        artifact.run_real(codes)
    artifact.files[0].unlink()
    with pytest.raises(StorageError, match="cannot be read"):
        artifact.run_real(codes)


def test_differences_refuse_what_cannot_be_compared() -> None:
    graph = network()
    want = [np.zeros((2, 2), dtype=np.int64)]
    with pytest.raises(InputError, match="shape"):
        differences(graph, want, [np.zeros((2, 3))])
    with pytest.raises(InputError, match="NaN"):
        differences(graph, want, [np.full((2, 2), np.nan)])
    assert str(differences(graph, want, [np.zeros((2, 2))])[0]) == "out0: all 4 numbers equal"


# --- providers -----------------------------------------------------------------------------------


@settings(max_examples=25)
@given(data=st.data())
def test_convolutions_as_products_are_exact_too(data: st.DataObject) -> None:
    graph = data.draw(strategies.graphs("cnn", max_bits=6))
    codes = data.draw(strategies.codes_for(graph, 12))
    from hairtrigger.graph.exact import FLOAT32, float_exact

    if not float_exact(graph, FLOAT32).exact:
        return
    model = to_onnx(graph, carrier=FLOAT32, products=True)
    assert not any(node.op_type == "Conv" for node in model.graph.node)
    session = Session(graph, model.SerializeToString(), content_key(graph), "model")
    for got, want in zip(session.run_codes(codes), emulate_codes(graph, codes), strict=True):
        np.testing.assert_array_equal(got, want)


def test_the_cpu_provider_runs_with_more_threads() -> None:
    graph = network()
    codes = random_codes(graph, 50, seed=4)
    model = to_onnx(graph, border=Border.CODES).SerializeToString()
    for threads in (1, 2):
        session = Session(graph, model, content_key(graph), "m", provider="cpu", threads=threads)
        (got,) = session.run_codes(codes)
        np.testing.assert_array_equal(got, emulate_codes(graph, codes)[0])
    assert provider_problem("cpu") == ""


def test_a_call_in_the_devices_memory_gives_the_same_with_and_without_transfers() -> None:
    graph = network()
    codes = random_codes(graph, 50, seed=4)
    model = to_onnx(graph, border=Border.VALUES).SerializeToString()
    session = Session(graph, model, content_key(graph), "m")
    feeds = session.feeds(codes)
    (right,) = emulate_codes(graph, codes)
    lsb = graph.output_types[0].lsb
    for _ in range(2):  # two bindings side by side
        call = session.on_device(feeds, [right.shape], transfers=True)
        np.testing.assert_array_equal(np.ldexp(call()[0], lsb), right)
        for x in feeds.values():
            x[:] = x[::-1].copy()
        np.testing.assert_array_equal(np.ldexp(call()[0], lsb), right[::-1])
        for x in feeds.values():
            x[:] = x[::-1].copy()
    assert session.on_device(feeds, [right.shape])() == []
    with pytest.raises(ToolError, match="ONNX Runtime failed on m"):
        session.on_device(feeds, [(49, *right.shape[1:])])


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_there_is_named(provider: str) -> None:
    if PROVIDERS[provider][0] in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has it")
    graph = network()
    model = to_onnx(graph).SerializeToString()
    with pytest.raises(ToolError, match=r"not run: .* is not in this onnxruntime \(has: .*CPU"):
        Session(graph, model, content_key(graph), "m", provider=provider)
    assert provider_problem(provider).startswith("not run: ")
    with pytest.raises(InputError, match="no execution provider 'npu'"):
        Session(graph, model, content_key(graph), "m", provider="npu")


class _Listed:
    """An onnxruntime that lists a provider which then does not start, as on a machine without a
    GPU: the real one logs that and goes on with the CPU."""

    SessionOptions = onnxruntime.SessionOptions

    def __init__(self) -> None:
        self.given: list = []

    def get_available_providers(self) -> list[str]:
        return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    def InferenceSession(
        self, model: bytes, options: object, providers: list, enable_fallback: int
    ):
        assert enable_fallback == 0
        self.given = providers
        return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_does_not_start_is_no_silent_cpu(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = _Listed()
    monkeypatch.setattr("hairtrigger.backends.onnx_session._runtime", lambda: fake)
    monkeypatch.delenv(TF32, raising=False)
    graph = network()
    model = to_onnx(graph).SerializeToString()
    with pytest.raises(ToolError, match="not run: no GPU"):
        Session(graph, model, content_key(graph), "m", provider=provider)
    assert "not run: no GPU" in provider_problem(provider)
    ((name, options),) = fake.given
    assert name == PROVIDERS[provider][0]
    if provider == "cuda":
        assert options["use_tf32"] == "0"
        assert options["cudnn_conv_algo_search"] == "DEFAULT"
    else:
        assert os.environ[TF32] == "0"
        monkeypatch.setenv(TF32, "1")
        assert "lets NVIDIA's libraries use TF32" in provider_problem(provider)


def test_a_conv_is_left_a_conv_on_the_cpu() -> None:
    b = Builder("conv")
    x = b.add(Input("x", uniform(Fixed(False, 2, 0), 5, 2)))
    graph = b.build([b.add(Conv(Literal(np.ones((3, 2, 4), int), 0), None, (1,), ((1, 1),)), x)])
    kinds = {False: "Conv", True: "MatMul"}
    for products, kind in kinds.items():
        assert kind in {node.op_type for node in to_onnx(graph, products=products).graph.node}
