"""ONNX: every op and mode against the emulator, the limits of floats, files and bad input."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from hairtrigger import backends
from hairtrigger.backends import find_backend
from hairtrigger.backends import onnx as backend
from hairtrigger.backends.onnx import Border, code_dtype, emit, save, to_onnx, unsupported
from hairtrigger.errors import InputError, StorageError, UnsupportedError
from hairtrigger.fixed import Fixed, IntArray, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, emulate_codes
from hairtrigger.graph.exact import FLOAT32, FLOAT64, FloatFormat, float_exact
from hairtrigger.graph.linear import ArgMax, Conv, Dense, GlobalSum, MaxPool, SumPool
from hairtrigger.graph.moves import Concat, Crop, Pad, Reshape, Transpose
from hairtrigger.graph.ops import (
    Add,
    Compare,
    Constant,
    Input,
    Mul,
    Op,
    Quantize,
    Relation,
    Relu,
    State,
    Sub,
    Table,
)
from hairtrigger.graph.stimulus import extreme_codes, join_events, random_codes
from hairtrigger.graph.text import OPS

LEVELS = onnxruntime.GraphOptimizationLevel
CARRIERS = pytest.mark.parametrize("carrier", [FLOAT32, FLOAT64], ids=lambda c: c.name)


def onnx_codes(
    model: onnx.ModelProto,
    graph: Graph,
    codes: Sequence[IntArray],
    level: LEVELS = LEVELS.ORT_ENABLE_ALL,
) -> list[IntArray]:
    """Codes of the outputs from ONNX Runtime, by a way of our own: real numbers in and out."""
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feeds = {}
    for info, op, x in zip(session.get_inputs(), graph.input_ops, codes, strict=True):
        if info.type in ("tensor(float)", "tensor(double)"):
            real = np.ldexp(x.astype(np.float64), -op.type.lsb)
            feeds[info.name] = real.astype(np.float32 if "float" in info.type else np.float64)
        else:
            feeds[info.name] = x.astype(code_dtype(op.type))
    border = {p.key: p.value for p in model.metadata_props}["hairtrigger.border"]
    found = []
    for y, t in zip(session.run(None, feeds), graph.output_types, strict=True):
        whole = y.astype(np.float64) * (1.0 if border == "codes" else 2.0**t.lsb)
        assert (whole == np.round(whole)).all()
        found.append(whole.astype(np.int64))
    return found


def assert_exact(
    graph: Graph,
    codes: Sequence[IntArray],
    carrier: FloatFormat = FLOAT32,
    border: Border = Border.VALUES,
    level: LEVELS = LEVELS.ORT_ENABLE_ALL,
) -> None:
    model = to_onnx(graph, carrier=carrier, border=border)
    for got, expected in zip(
        onnx_codes(model, graph, codes, level), emulate_codes(graph, codes), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


def some_codes(graph: Graph, seed: int = 0) -> tuple[IntArray, ...]:
    return join_events([extreme_codes(graph), random_codes(graph, 64, seed)])


def uniform(fixed: Fixed, *shape: int) -> TensorType:
    return TensorType.uniform(shape, fixed)


def chain(source: TensorType, *ops: Op) -> Graph:
    builder = Builder("chain")
    place = builder.add(Input("x", source))
    for op in ops:
        place = builder.add(op, place)
    return builder.build([place])


# --- every op and mode ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mlp", "cnn", "any"])
@settings(max_examples=60)
@given(data=st.data())
def test_random_graphs_give_the_emulators_numbers(kind: str, data: st.DataObject) -> None:
    bits = data.draw(st.sampled_from([4, 10, 24]))
    graph = data.draw(strategies.graphs(kind, max_bits=bits))
    codes = data.draw(strategies.codes_for(graph, 24))
    carriers = [c for c in (FLOAT32, FLOAT64) if float_exact(graph, c).exact]
    assert bool(carriers) is (unsupported(graph) == [])
    for carrier in carriers:
        assert_exact(graph, codes, carrier, data.draw(st.sampled_from(list(Border))))


def every_op() -> Graph:
    """A Graph with all the ops there are, each on the way to an output."""
    b = Builder("every op")
    x = b.add(Input("x", uniform(Fixed(True, 2, 2), 4, 6, 2)))
    x = b.add(Pad(((1, 0), (0, 1), (0, 0))), x)
    rng = np.random.default_rng(7)
    x = b.add(
        Conv(
            Literal(rng.integers(-4, 5, (2, 3, 1, 4)), 2),
            Literal([1, -2, 3, 0], 3),
            (1, 2),
            ((1, 0), (0, 0)),
            groups=2,
        ),
        x,
    )
    x = b.add(Quantize(uniform(Fixed(True, 4, 2), *b.type(x).shape), Rounding.RND_CONV), x)
    pools = [b.add(kind((2, 2), (1, 1), ((0, 1), (0, 0))), x) for kind in (MaxPool, SumPool)]
    x = b.add(Concat(2), *pools)
    x = b.add(Crop(((1, 0), (0, 1), (1, 1))), x)
    total = b.add(GlobalSum((0,)), b.add(Transpose((2, 0, 1)), x))
    flat = b.add(Reshape((b.type(x).size,)), x)
    flat = b.add(Dense(Literal(rng.integers(-3, 4, (b.type(x).size, 5)), 1)), flat)
    half = b.add(Constant(Literal([1, 2, 3, 4, 5], 1)))
    flat = b.add(Relu(), b.add(Sub(), b.add(Add(), flat, half), b.add(Mul(), half, flat)))
    small = b.add(Quantize(uniform(Fixed(False, 3, 1), 5), Rounding.TRN, Overflow.SAT), flat)
    looked = b.add(Table(Literal(rng.integers(-9, 9, (1, 16)), 1), 0, 1), small)
    best = b.add(ArgMax(), looked)
    above = b.add(Compare(Relation.GE), looked, half)
    return b.build([total, looked, best, above])


@CARRIERS
@pytest.mark.parametrize("border", list(Border))
def test_every_op_has_an_onnx_form(carrier: FloatFormat, border: Border) -> None:
    graph = every_op()
    assert {type(node.op) for node in graph.nodes} == {*OPS.values()} - {State}
    assert_exact(graph, some_codes(graph), carrier, border)


TARGETS = [Fixed(True, 2, 0), Fixed(False, 2, 1), Fixed(True, 1, 2), Fixed(True, 0, 0)]


@CARRIERS
@pytest.mark.parametrize("source", [Fixed(True, 4, 3), Fixed(False, 4, 3)], ids=["s4.3", "u4.3"])
def test_every_code_in_every_mode(carrier: FloatFormat, source: Fixed) -> None:
    """All codes of 7 or 8 bits, every rounding with every overflow, into formats one by one and
    mixed, elements of no bits included."""
    b = Builder("modes")
    x = b.add(Input("x", uniform(source, 5)))
    signed = [True, True, True, True, False]
    for rounding, overflow in product(Rounding, Overflow):
        fold = overflow is Overflow.WRAP_SM
        mixed = TensorType((5,), signed, [2, 1, 5, 0, 0], [0, 2, 4, -1, 0])
        types = [uniform(t, 5) for t in TARGETS if t.signed or not fold] + [mixed]
        for t in types:
            b.add(Quantize(t, rounding, overflow), x)
    graph = b.build(list(range(1, len(b.nodes))))
    codes = np.arange(source.lowest, source.highest + 1)
    assert_exact(graph, [np.tile(codes[:, None], (1, 5))], carrier)


@CARRIERS
def test_rounding_behind_a_sum_goes_into_its_bias(carrier: FloatFormat) -> None:
    """Also through a ReLU, for one format and for one by channel; the node itself stays an output
    of the other Graph and keeps its own value."""
    for rounding, relu, keep in product(Rounding, (False, True), (False, True)):
        for fraction in (0, [0, 1, -1]):
            b = Builder("bias")
            x = b.add(Input("x", uniform(Fixed(True, 3, 2), 2)))
            y = total = b.add(Dense(Literal([[1, -3, 2], [2, 1, 5]], 1), None), x)
            if relu:
                y = b.add(Relu(), y)
            t = TensorType((3,), not relu, 3, fraction)
            y = b.add(Quantize(t, rounding, Overflow.SAT), y)
            graph = b.build([y, total] if keep else [y])
            assert_exact(graph, some_codes(graph), carrier)


@CARRIERS
def test_a_zero_pad_in_front_of_a_maximum_counts(carrier: FloatFormat) -> None:
    """Zeros of a Pad are numbers, the padding of a MaxPool is not there."""
    t = uniform(Fixed(True, 3, 0), 4, 4, 1)
    none = ((0, 0), (0, 0))
    padded = chain(t, Pad(((1, 1), (1, 1), (0, 0))), MaxPool((2, 2), (2, 2), none))
    inside = chain(t, MaxPool((2, 2), (2, 2), ((1, 1), (1, 1))))
    x = [np.full((1, 4, 4, 1), -5)]
    assert emulate_codes(padded, x)[0].max() == 0
    assert emulate_codes(inside, x)[0].max() == -5
    for graph in (padded, inside):
        assert_exact(graph, some_codes(graph), carrier)


@CARRIERS
def test_padding_that_no_window_reaches(carrier: FloatFormat) -> None:
    graph = chain(uniform(Fixed(True, 3, 0), 5, 2), MaxPool((2,), (7,), ((0, 3),)))
    assert_exact(graph, some_codes(graph), carrier)


@CARRIERS
def test_two_relus_on_one_wire_stay_two_values(carrier: FloatFormat) -> None:
    b = Builder("twins")
    x = b.add(Input("x", uniform(Fixed(True, 3, 6), 4)))
    outs = [
        b.add(Quantize(uniform(Fixed(False, 3, f), 4), Rounding.TRN), b.add(Relu(), x))
        for f in (2, 6)
    ]
    graph = b.build(outs)
    assert_exact(graph, some_codes(graph), carrier)


def test_constants_and_inputs_as_outputs() -> None:
    b = Builder("direct")
    x = b.add(Input("x", uniform(Fixed(True, 3, 1), 2)))
    b.add(Input("unread", uniform(Fixed(True, 3, 1))))
    c = b.add(Constant(Literal([3, -1], 2)))
    graph = b.build([x, c, b.add(Add(), c, c), x])
    assert_exact(graph, some_codes(graph))


def test_names_that_onnx_could_confuse() -> None:
    b = Builder("")
    x = b.add(Input("x", uniform(Fixed(True, 3, 0), 2)))
    y = b.add(Input("", uniform(Fixed(True, 3, 0), 2)))
    z = b.add(Input("3.Add", uniform(Fixed(True, 3, 0), 2)))
    s = b.add(Add(), x, y)
    graph = b.build({"x": b.add(Add(), s, z), "": s, "3.Add": y, "constant0": x})
    model = to_onnx(graph)
    assert [i.name for i in model.graph.input] == ["x", "input1", "3.Add"]
    assert [o.name for o in model.graph.output] == ["x_out", "output1", "3.Add_out", "constant0"]
    assert_exact(graph, some_codes(graph))


def test_onnx_runtime_has_nothing_to_warn_of(capfd: pytest.CaptureFixture[str]) -> None:
    graph = every_op()
    for carrier, border in product((FLOAT32, FLOAT64), Border):
        assert_exact(graph, some_codes(graph), carrier, border)
    assert capfd.readouterr().err == ""


def test_images_stay_channels_first_from_convolution_to_dense() -> None:
    """Nothing is moved in memory: no Transpose, and scales are in weights and biases."""
    b = Builder("cnn")
    x = b.add(Input("x", uniform(Fixed(False, 1, 0), 9, 24, 1)))
    rng = np.random.default_rng(0)
    for window, channels in (((3, 3), 4), ((3, 5), 6)):
        kernel = Literal(rng.integers(-7, 8, (*window, b.type(x).shape[-1], channels)), 5)
        x = b.add(Conv(kernel, None, (2, 2), ((0, 0), (0, 0))), x)
        t = uniform(Fixed(False, -1, 3), *b.type(x).shape)
        x = b.add(Quantize(t, Rounding.RND, Overflow.SAT), b.add(Relu(), x))
    x = b.add(Reshape((b.type(x).size,)), x)
    graph = b.build([b.add(Dense(Literal(rng.integers(-7, 8, (b.type(x).size, 3)), 2)), x)])
    found = [node.op_type for node in to_onnx(graph, border=Border.CODES).graph.node]
    layer = ["Conv", "Relu", "Floor", "Clip"]
    assert found == ["Cast", "Reshape", *layer, *layer, "Reshape", "Gemm", "Identity"]
    assert_exact(graph, some_codes(graph))


# --- near 2**24 ----------------------------------------------------------------------------------


def split(rng: np.random.Generator, total: int, parts: int) -> IntArray:
    """``parts`` whole numbers of random sign whose sizes add up to ``total``."""
    sizes = rng.multinomial(total, np.ones(parts) / parts)
    return sizes * rng.choice([-1, 1], parts)


def near_limit(rng: np.random.Generator, kind: str, total: int) -> tuple[Graph, list[IntArray]]:
    """A Graph whose largest sum is ``total`` LSB, and events that reach it and its surroundings."""
    bits = int(rng.integers(2, 12))
    step, bias = divmod(total, 1 << bits)
    window, channels, outputs = (3, 3), 2, 4
    parts = 18
    kernel = np.stack([split(rng, step, parts) for _ in range(outputs)], axis=-1)
    signs = rng.choice([-1, 1], outputs)
    bias_literal = Literal(bias * signs, 4)
    b = Builder(kind)
    if kind == "dense":
        x = b.add(Input("x", uniform(Fixed(True, bits, 0), parts)))
        y = b.add(Dense(Literal(kernel, 4), bias_literal), x)
    else:
        x = b.add(Input("x", uniform(Fixed(True, bits, 0), *window, channels)))
        shaped = Literal(kernel.reshape(*window, channels, outputs), 4)
        y = b.add(Conv(shaped, bias_literal, (1, 1), ((0, 0), (0, 0))), x)
    graph = b.build([y])
    low, high = -(1 << bits), (1 << bits) - 1
    rows = [
        np.where(kernel[:, j] * sign * signs[j] > 0, low, high)
        for j in range(outputs)
        for sign in (-1, 1)
    ]
    events = np.concatenate(
        [
            np.stack(rows),
            rng.integers(low, high + 1, (40, parts)),
            rng.choice([low, high, low + 1], (40, parts)),
        ]
    )
    return graph, [events.reshape(-1, *b.type(x).shape)]


@pytest.mark.parametrize("kind", ["dense", "conv"])
@pytest.mark.parametrize("level", [LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_ALL])
@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), below=st.integers(0, 40))
def test_sums_up_to_the_limit_are_exact(kind: str, level: LEVELS, seed: int, below: int) -> None:
    graph, codes = near_limit(np.random.default_rng(seed), kind, (1 << 24) - below)
    assert float_exact(graph, FLOAT32).worst > (1 << 24) - (1 << 13)
    assert_exact(graph, codes, FLOAT32, level=level)


@pytest.mark.parametrize("kind", ["dense", "conv"])
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), above=st.integers(1, 1 << 30))
def test_sums_over_the_limit_take_float64(kind: str, seed: int, above: int) -> None:
    rng = np.random.default_rng(seed)
    graph, codes = near_limit(rng, kind, (1 << 25) + above)
    with pytest.raises(UnsupportedError, match=r"%1 (Dense|Conv): an intermediate result"):
        to_onnx(graph, carrier=FLOAT32)
    assert {i.type.tensor_type.elem_type for i in to_onnx(graph).graph.input} == {
        onnx.TensorProto.DOUBLE
    }
    assert_exact(graph, codes, FLOAT64)


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_float32_over_the_limit_really_gives_other_numbers(kind: str) -> None:
    """The refusal is not for nothing: made all the same, the model is wrong."""
    graph, codes = near_limit(np.random.default_rng(3), kind, (1 << 26) + 1)
    model = backend._model(graph, float_exact(graph, FLOAT32), Border.VALUES)
    (got,), (expected,) = onnx_codes(model, graph, codes), emulate_codes(graph, codes)
    assert (got != expected).any()
    assert np.abs(got - expected).max() <= 64  # wrong by rounding, not by nonsense


@pytest.mark.parametrize("level", [LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_ALL])
@pytest.mark.parametrize("seed", range(8))
def test_sums_that_an_engine_may_fuse_are_exact(level: LEVELS, seed: int) -> None:
    """Two convolutions, a shift and a rounding that all end up in one accumulation."""
    rng = np.random.default_rng(seed)
    b = Builder("fused")
    x = b.add(Input("x", uniform(Fixed(True, 7, 0), 4, 4, 2)))
    budget = (1 << 24) - 8 - 1000
    halves = []
    for total in (budget // 2 // 128, budget // 2 // 128):
        kernel = np.stack([split(rng, total, 18) for _ in range(16)], axis=-1)
        op = Conv(Literal(kernel.reshape(3, 3, 2, 16), 4), None, (1, 1), ((1, 1), (1, 1)))
        halves.append(b.add(op, x))
    y = b.add(Add(), *halves)
    y = b.add(Sub(), y, b.add(Constant(Literal(np.full((1, 1, 16), 1000), 4))))
    t = uniform(Fixed(True, 20, 0), 4, 4, 16)
    graph = b.build([b.add(Quantize(t, Rounding.RND, Overflow.SAT), y)])
    verdict = float_exact(graph, FLOAT32)
    assert verdict.exact
    assert verdict.worst > 0.99 * (1 << 24)
    low, high = -128, 127
    flat = np.concatenate([rng.choice([low, high], (60, 32)), rng.integers(low, high, (60, 32))])
    assert_exact(graph, [flat.reshape(-1, 4, 4, 2)], FLOAT32, level=level)


# --- refusals ------------------------------------------------------------------------------------


def test_all_problems_are_listed_at_once() -> None:
    b = Builder("bad")
    x = b.add(Input("x", uniform(Fixed(True, 51, 0), 16)))
    a = b.add(GlobalSum((0,)), x, label="total")
    y = b.add(Add(), x, x)
    graph = b.build([b.add(Add(), y, y), a])
    problems = unsupported(graph)
    assert len(problems) == 2
    with pytest.raises(UnsupportedError) as caught:
        to_onnx(graph)
    for problem in problems:
        assert problem in str(caught.value)
    assert "%1 GlobalSum 'total'" in str(caught.value)
    assert "emulator" in caught.value.fix


class Sine(Relu):
    """An op that a newer version might have."""


def test_graphs_without_events_and_unknown_ops_are_refused() -> None:
    b = Builder("none")
    constant = b.build([b.add(Constant(Literal([1], 0)))])
    assert "no Input" in unsupported(constant)[0]
    unknown = chain(uniform(Fixed(True, 3, 0), 2), Sine())
    assert unsupported(unknown) == ["%1 Sine: this op has no ONNX form."]
    for graph in (constant, unknown):
        with pytest.raises(UnsupportedError):
            to_onnx(graph, carrier=FLOAT64)


# --- files ---------------------------------------------------------------------------------------


def test_emit_writes_a_file_that_runs(tmp_path: Path) -> None:
    graph = every_op()
    codes = some_codes(graph)
    artifact = emit(graph, None, tmp_path / "new" / "folder")
    (path,) = artifact.files
    assert path.name == "every_op.onnx"
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    artifact.build()
    for got, expected in zip(artifact.run_codes(codes), emulate_codes(graph, codes), strict=True):
        assert got.dtype == np.int64
        np.testing.assert_array_equal(got, expected)
    properties = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert properties["hairtrigger.graph"] == "every op"
    assert properties["hairtrigger.exactness"].startswith("exact in float32: no intermediate")
    assert properties["hairtrigger.output_fraction_bits"] == (
        '{"out0": 2, "out1": 1, "out2": 0, "out3": 0}'
    )


def test_the_same_graph_gives_the_same_file(tmp_path: Path) -> None:
    one, two = (emit(every_op(), None, tmp_path / n).files[0] for n in ("a", "b"))
    assert one.read_bytes() == two.read_bytes()


def test_damaged_and_foreign_files_are_found(tmp_path: Path) -> None:
    graph = every_op()
    artifact = emit(graph, None, tmp_path)
    (path,) = artifact.files
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StorageError, match="no model that ONNX Runtime can load"):
        artifact.run_codes(some_codes(graph))
    other = chain(uniform(Fixed(True, 3, 0), 2), Relu())
    path.write_bytes(to_onnx(other).SerializeToString())
    with pytest.raises(StorageError, match="another Graph"):
        artifact.run_codes(some_codes(graph))
    path.unlink()
    with pytest.raises(StorageError, match="cannot be read"):
        artifact.run_codes(some_codes(graph))


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    save(to_onnx(every_op()), path)
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        save(to_onnx(chain(uniform(Fixed(True, 3, 0), 2), Relu())), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="cannot be written"):
        emit(every_op(), None, tmp_path / "file")
    if os.geteuid() == 0:
        pytest.skip("the superuser may write into read-only folders")
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="cannot be written"):
        emit(every_op(), None, tmp_path)


# --- finding backends ----------------------------------------------------------------------------


class Entry:
    """An entry point of a package that is not installed."""

    def __init__(self, name: str, loaded: object) -> None:
        self.name, self.value, self.loaded = name, f"package:{name}", loaded

    def load(self) -> object:
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded


def test_backends_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        Entry("good", backend),
        Entry("broken", ImportError("no such thing")),
        Entry("odd", object()),
        Entry("onnx", object()),
    ]
    monkeypatch.setattr(backends, "entry_points", lambda group: points)
    assert find_backend("onnx") is backend  # a built-in one is not replaced
    assert find_backend("good") is backend
    with pytest.raises(UnsupportedError, match="cannot be loaded: no such thing"):
        find_backend("broken")
    with pytest.raises(UnsupportedError, match="has no functions"):
        find_backend("odd")
    with pytest.raises(InputError, match="no backend 'vhdl'") as caught:
        find_backend("vhdl")
    assert "good" in caught.value.fix
