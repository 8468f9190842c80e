"""Engines: the choice and its reason, equal numbers from all, chunks, threads and bad input."""

from __future__ import annotations

import sys
import tracemalloc
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import strategies
from hairtrigger import engines
from hairtrigger.cpp.cost import events_to_pay
from hairtrigger.engines import CPP, EMULATOR, ENGINES, FP32, FP64, prepare, run, run_codes
from hairtrigger.errors import InputError, StorageError, ToolError, UnsupportedError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, decode, emulate_codes, encode
from hairtrigger.graph.exact import fp32_exact, fp64_exact
from hairtrigger.graph.linear import Conv, Dense, GlobalSum
from hairtrigger.graph.moves import Reshape
from hairtrigger.graph.ops import Constant, Input, Quantize, Relu
from hairtrigger.graph.stimulus import extreme_codes, join_events, random_codes

emulate_module = import_module("hairtrigger.graph.emulate")  # the package has a function so named


def image_network(rows: int = 9, strips: int = 64) -> Graph:
    """A small CNN on black-and-white images."""
    b = Builder("images")
    rng = np.random.default_rng(5)
    x = b.add(Input("image", TensorType.uniform((rows, strips, 1), Fixed(False, 1, 0))))
    kernel = Literal(rng.integers(-7, 8, (3, 5, 1, 4)), 3)
    x = b.add(Conv(kernel, Literal(rng.integers(-5, 6, 4), 3), (3, 4), ((0, 0), (1, 0))), x)
    t = TensorType.uniform(b.type(x).shape, Fixed(False, 2, 2))
    x = b.add(Quantize(t, Rounding.RND, Overflow.SAT), b.add(Relu(), x))
    x = b.add(Reshape((b.type(x).size,)), x)
    x = b.add(Dense(Literal(rng.integers(-7, 8, (b.type(x).size, 3)), 4)), x)
    return b.build({"pt": x})


def summing(bits: int) -> Graph:
    """The sum of two inputs of ``bits`` bits and a sign."""
    b = Builder(f"sum{bits}")
    x = b.add(Input("x", TensorType.uniform((2,), Fixed(True, bits, 0))))
    return b.build([b.add(GlobalSum((0,)), x, label="total")])


def images(events: int, seed: int = 0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return (rng.random((events, 9, 64, 1)) < 0.05).astype(np.uint8)


# --- the choice ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "engine"), [(23, FP32), (24, FP64), (51, FP64), (52, EMULATOR)])
def test_the_fastest_exact_engine_is_chosen(bits: int, engine: str) -> None:
    graph = summing(bits)
    codes = extreme_codes(graph)
    result = run_codes(graph, codes)
    assert result.engine == engine
    np.testing.assert_array_equal(result.codes[0], emulate_codes(graph, codes)[0])
    for refused in (FP32, FP64)[: (FP32, FP64, EMULATOR).index(engine)]:
        assert f"{refused} is not exact: %" in result.why
    if engine == FP32:
        assert result.why.startswith("onnxruntime-fp32 is exact; cpp would pay from about ")


def test_many_events_pay_for_building() -> None:
    graph = image_network(rows=6)
    few, why = engines.choose_engine(graph, None, 1000)
    least = events_to_pay(graph, 32)
    assert few == FP32
    assert f"{least:.2g} events" in why
    many, why = engines.choose_engine(graph, None, least)
    assert many == CPP
    assert why.startswith("cpp pays: building it takes about")


def test_what_is_built_is_used_for_few_events() -> None:
    graph = image_network(rows=5)
    x = images(40)[:, :5]
    built = run(graph, x, engine=CPP)
    again = run(graph, x)
    assert (built.why, again.engine, again.why) == ("it was asked for", CPP, "cpp is built already")
    np.testing.assert_array_equal(again.codes[0], run(graph, x, engine=FP32).codes[0])


def test_no_compiler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    graph = image_network(rows=8)
    engine, why = engines.choose_engine(graph, None, 10**12)
    assert engine == FP32
    assert "cpp would pay, but the C++ compiler that CXX names, 'no-such-compiler'" in why
    with pytest.raises(ToolError, match="no-such-compiler"):
        run(graph, images(2)[:, :8], engine=CPP)


def test_too_much_code_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hairtrigger.cpp.stages.MOST_LINES", 10)
    monkeypatch.setattr("hairtrigger.cpp.cost.BUILD_S", 0.0)
    monkeypatch.setattr("hairtrigger.cpp.cost.BUILD_S_A_LINE", 0.0)
    graph = image_network(rows=7)
    result = run(graph, images(3)[:, :7])
    assert result.engine == FP32
    assert "needs over 10 lines of C++; onnxruntime-fp32 is exact" in result.why.replace(".;", ";")
    with pytest.raises(UnsupportedError, match="over 10 lines"):
        run(graph, images(3)[:, :7], engine=CPP)


def test_an_engine_that_is_not_exact_is_refused_with_reasons() -> None:
    graph = summing(52)
    for engine, verdict in ((FP32, fp32_exact(graph)), (FP64, fp64_exact(graph))):
        with pytest.raises(UnsupportedError, match="is not exact for Graph 'sum52'") as caught:
            run(graph, [[1, 2]], engine=engine)
        assert verdict.reasons[0] in caught.value.problem
    assert run(graph, [[1, 2]], engine=EMULATOR).why == "it was asked for"


def test_no_onnx_runtime_is_an_error_and_no_quiet_fall_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ToolError, match="ONNX Runtime cannot be imported") as caught:
        run(summing(5), [[1, 2]])
    assert "emulator" in caught.value.fix
    assert run(summing(5), [[1, 2]], engine=EMULATOR).codes[0] == [3]


def test_graphs_without_input_run_in_the_emulator() -> None:
    b = Builder("constant")
    result = run(b.build([b.add(Constant(Literal([1, 2], 1)))]), ())
    assert result.engine == EMULATOR
    assert "no Input" in result.why
    np.testing.assert_array_equal(result.values[0], [[0.5, 1.0]])


def test_equal_graphs_share_a_loaded_model() -> None:
    one, two = image_network(), image_network()
    assert one is not two
    assert prepare(one).session is prepare(two).session
    assert prepare(one).session is not prepare(image_network(6)).session


def test_only_a_few_models_stay_loaded() -> None:
    for bits in range(1, 20):
        prepare(summing(bits))
    assert engines._plan.cache_info().currsize <= 8


# --- the same numbers ----------------------------------------------------------------------------


@settings(max_examples=60)
@given(data=st.data())
def test_all_engines_agree(data: st.DataObject) -> None:
    graph = data.draw(strategies.graphs(data.draw(st.sampled_from(["mlp", "cnn", "any"]))))
    codes = data.draw(strategies.codes_for(graph, 16))
    threads, chunk = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 20))
    expected = emulate_codes(graph, codes)
    for engine in ENGINES:
        if engine == CPP or (engine != EMULATOR and engines._reasons(graph, engine)):
            continue  # C++ has its own tests, many Graphs in one compilation
        result = run_codes(graph, codes, engine=engine, threads=threads, chunk=chunk)
        assert result.engine == engine
        for got, want in zip(result.codes, expected, strict=True):
            assert got.dtype == np.int64
            np.testing.assert_array_equal(got, want)
        for got, want in zip(result.values, decode(graph, expected), strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_kind_of_array_gives_the_same(engine: str) -> None:
    graph = image_network()
    x = images(50)
    expected = emulate_codes(graph, encode(graph, x))[0]
    for dtype in (bool, np.uint8, np.int8, np.int64, np.float16, np.float32, np.float64):
        for given_array in (x.astype(dtype), np.asfortranarray(x.astype(dtype))):
            result = graph.run(given_array, engine=engine)
            np.testing.assert_array_equal(result.codes[0], expected)
    np.testing.assert_array_equal(graph.run({"image": x.tolist()}).codes[0], expected)
    # Values off the grid or out of range are brought in as the Input says.
    y = x * 3.0 + 0.3
    np.testing.assert_array_equal(
        graph.run(y, engine=engine).codes[0], emulate_codes(graph, encode(graph, y))[0]
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_chunks_and_threads_do_not_change_a_number(engine: str) -> None:
    graph = image_network()
    x = images(101)
    expected = run(graph, x, engine=engine, threads=1, chunk=1000).codes[0]
    assert len(np.unique(expected)) > 50
    for threads in (1, 2, 5):
        for chunk in (1, 7, 101, 1000):
            result = run(graph, x, engine=engine, threads=threads, chunk=chunk)
            np.testing.assert_array_equal(result.codes[0], expected)


@pytest.mark.parametrize("engine", ENGINES)
def test_no_events(engine: str) -> None:
    result = run(image_network(), images(0), engine=engine)
    assert result.codes[0].shape == (0, 3)
    assert result.values[0].shape == (0, 3)


@settings(max_examples=300)
@given(data=st.data())
def test_numbers_that_are_codes_already_are_encoded_the_same(data: st.DataObject) -> None:
    """The short way of `as_codes` against the long way, at and around both ends of the range."""
    fixed = data.draw(strategies.fixeds(12))
    overflow = data.draw(st.sampled_from(list(Overflow)))
    if overflow is Overflow.WRAP_SM and not fixed.signed:
        overflow = Overflow.WRAP
    t = TensorType.uniform((3,), fixed)
    op = Input("x", t, data.draw(st.sampled_from(list(Rounding))), overflow)
    dtype = data.draw(st.sampled_from([bool, np.int8, np.uint8, np.int32, np.float32, np.float64]))
    near = [fixed.lowest - 1, fixed.lowest, fixed.lowest + 1, 0, 1, fixed.highest]
    step = 2.0 ** -data.draw(st.integers(-1, fixed.fraction + 1 if fixed.fraction > 0 else 1))
    picked = data.draw(
        st.lists(st.sampled_from([*near, fixed.highest + 1]), min_size=6, max_size=6)
    )
    scale = data.draw(st.sampled_from([2.0**-fixed.fraction, step, 1.0]))
    real = np.array(picked, dtype=float).reshape(2, 3) * scale
    array = np.clip(real, 0, 1).astype(bool) if dtype is bool else real
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        array = np.clip(real, info.min, info.max)
    array = np.asarray(array).astype(dtype)
    short = emulate_module.encode_input(op, array)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emulate_module, "as_codes", lambda *_: None)
        long = emulate_module.encode_input(op, array)
    assert short.dtype == np.int64
    np.testing.assert_array_equal(short, long)


def test_codes_keep_their_small_dtype_on_the_way() -> None:
    op = image_network().input_ops[0]
    x = images(10)
    assert emulate_module.as_codes(op, x) is x
    assert np.shares_memory(emulate_module.as_codes(op, x.astype(bool).view()), x) is False
    floats = emulate_module.as_codes(op, x.astype(np.float32))
    assert floats is not None
    assert floats.dtype == np.uint8
    assert emulate_module.as_codes(op, x * 2) is None


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_numbers_that_a_chip_does_not_have(engine: str) -> None:
    graph = image_network()
    for bad in (np.nan, np.inf, -np.inf):
        x = images(40).astype(np.float32)
        x[33, 4, 2, 0] = bad
        with pytest.raises(InputError, match="NaN or infinity, first in event 33"):
            run(graph, x, engine=engine, chunk=10)


@pytest.mark.parametrize("engine", ENGINES)
def test_wrong_shapes_and_dtypes(engine: str) -> None:
    graph = image_network()
    for wrong in (images(3)[..., 0], images(3)[:, :, :32], images(6).reshape(3, 18, 64, 1), 3.0):
        with pytest.raises(InputError, match="shape"):
            run(graph, wrong, engine=engine)
    with pytest.raises(InputError, match="dtype"):
        run(graph, images(2).astype(complex), engine=engine)
    with pytest.raises(InputError, match="named"):
        run(graph, {"picture": images(2)}, engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("bad", [2, -1])
def test_codes_out_of_range_in_a_late_chunk(engine: str, bad: int) -> None:
    graph = image_network()
    codes = images(500).astype(np.int64)
    codes[450, 0, 0, 0] = bad
    with pytest.raises(InputError, match=f"Code {bad} at"):
        run_codes(graph, [codes], engine=engine, threads=2, chunk=20)


def test_codes_must_be_integers() -> None:
    with pytest.raises(InputError, match="have dtype float64"):
        run_codes(summing(5), [np.zeros((1, 2))])
    with pytest.raises(InputError, match="2 input arrays for a Graph with 1"):
        run_codes(summing(5), [np.zeros((1, 2), int)] * 2)


@pytest.mark.parametrize("name", ["threads", "chunk"])
@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "2"])
def test_arguments_that_are_no_counts(name: str, bad: object) -> None:
    with pytest.raises(InputError, match=f"{name}="):
        run(summing(5), [[1, 2]], **{name: bad})


def test_unknown_engines() -> None:
    with pytest.raises(InputError, match="no engine 'gpu'") as caught:
        run(summing(5), [[1, 2]], engine="gpu")
    assert FP32 in caught.value.fix


def test_a_failure_inside_onnx_runtime_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = image_network()
    session = prepare(graph, FP32).session
    assert session is not None

    class Broken:
        def run(self, *_: object) -> None:
            raise RuntimeError("out of memory\nand a long trace")

    monkeypatch.setattr(session, "_session", Broken())
    with pytest.raises(ToolError, match=r"ONNX Runtime failed on .*: out of memory$"):
        run(graph, images(2), engine=FP32)


def test_bytes_that_are_no_model(tmp_path: Path) -> None:
    from hairtrigger.backends.onnx_session import Session

    with pytest.raises(StorageError, match=r"x\.onnx is no model"):
        Session(summing(5), b"not a model", "key", "x.onnx")


# --- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_memory_does_not_grow_with_events(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the results (48 bytes an event), what NumPy takes is that of a few chunks."""
    monkeypatch.setattr(engines, "CHUNK_BYTES", 1 << 20)
    monkeypatch.setattr(emulate_module, "CHUNK_BYTES", 1 << 20)
    engines._plan.cache_clear()
    graph = image_network()
    events = 4000 if engine == EMULATOR else 40_000
    x = images(events)
    run(graph, x[:100], engine=engine)

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            run(graph, x[:count], engine=engine, threads=1)
            return tracemalloc.get_traced_memory()[1] - count * 2 * 3 * 8
        finally:
            tracemalloc.stop()

    small, large = (min(peak(count), peak(count)) for count in (events // 4, events))
    assert large < 1.5 * small + (1 << 16)
    assert large < 10 << 20
    engines._plan.cache_clear()


def test_random_events_through_codes_and_values() -> None:
    """`run` on real numbers and `run_codes` on their codes are the same."""
    graph = image_network()
    codes = join_events([extreme_codes(graph), random_codes(graph, 100, seed=2)])
    real = [x * 2.0**-op.type.lsb for x, op in zip(codes, graph.input_ops, strict=True)]
    np.testing.assert_array_equal(
        run(graph, tuple(real)).codes[0], run_codes(graph, codes).codes[0]
    )
