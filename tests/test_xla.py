"""XLA through JAX: equal to the emulator, in int32 and int64; files."""

from __future__ import annotations

import builtins
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from hairtrigger.backends import xla
from hairtrigger.backends.xla import emit, to_jax, unsupported
from hairtrigger.errors import StorageError, ToolError, UnsupportedError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, emulate_codes
from hairtrigger.graph.linear import Conv, Dense, MaxPool
from hairtrigger.graph.moves import Crop
from hairtrigger.graph.ops import Add, Constant, Input, Quantize, Relu
from hairtrigger.graph.stimulus import extreme_codes, join_events, random_codes
from test_onnx import every_op

pytest.importorskip("jax", reason="JAX is in the extra [train]")


def uniform(fixed: Fixed, *shape: int) -> TensorType:
    return TensorType.uniform(shape, fixed)


def events(graph: Graph, number: int = 64) -> tuple:
    return join_events([extreme_codes(graph), random_codes(graph, number, seed=5)])


def assert_same(graph: Graph, codes: tuple) -> None:
    for got, want in zip(to_jax(graph)(codes), emulate_codes(graph, codes), strict=True):
        assert got.dtype == np.int64
        np.testing.assert_array_equal(got, want)


def network(bits: int = 6) -> Graph:
    rng = np.random.default_rng(3)
    b = Builder("net")
    x = b.add(Input("x", uniform(Fixed(True, 1, bits), 8)))
    x = b.add(Dense(Literal(rng.integers(-16, 17, (8, 6)), 4), Literal([3] * 6, 4)), x)
    t = uniform(Fixed(False, 2, bits), 6)
    x = b.add(Quantize(t, Rounding.RND, Overflow.SAT), b.add(Relu(), x))
    return b.build([b.add(Dense(Literal(rng.integers(-16, 17, (6, 2)), 4)), x)])


def check_random(kind: str, data: st.DataObject) -> None:
    graph = data.draw(
        strategies.graphs(kind, max_ops=6, max_bits=data.draw(st.sampled_from([4, 10, 24])))
    )
    codes = data.draw(strategies.codes_for(graph, 16))
    if unsupported(graph):
        return
    assert_same(graph, codes)


@pytest.mark.parametrize("kind", ["mlp", "cnn", "any"])
@settings(max_examples=8)  # XLA compiles each: a second or so
@given(data=st.data())
def test_random_graphs_give_the_emulators_codes(kind: str, data: st.DataObject) -> None:
    check_random(kind, data)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mlp", "cnn", "any", "image"])
@settings(max_examples=150)
@given(data=st.data())
def test_many_random_graphs_give_the_emulators_codes(kind: str, data: st.DataObject) -> None:
    check_random(kind, data)


def test_every_op_but_registers() -> None:
    assert unsupported(every_op()) == []
    assert_same(every_op(), events(every_op()))


TARGETS = [Fixed(True, 2, 0), Fixed(False, 2, 1)]


S43, U43 = Fixed(True, 4, 3), Fixed(False, 4, 3)


@pytest.mark.parametrize(
    ("source", "more"),
    [(S43, False), (U43, False), (S43, True)],
    ids=["s4.3-int32", "u4.3-int32", "s4.3-int64"],
)
def test_every_code_in_every_mode(source: Fixed, more: bool) -> None:
    """All codes, every rounding with every overflow, in both words."""
    b = Builder("modes")
    x = b.add(Input("x", uniform(source, 5)))
    for rounding, overflow in product(Rounding, Overflow):
        fold = overflow is Overflow.WRAP_SM
        mixed = TensorType((5,), [True, True, True, True, False], [2, 1, 5, 0, 0], [0, 2, 4, -1, 0])
        types = [uniform(t, 5) for t in TARGETS if t.signed or not fold] + [mixed]
        for t in types:
            b.add(Quantize(t, rounding, overflow), x)
    outputs = list(range(1, len(b.nodes)))
    if more:  # one wide number takes the whole Graph to int64
        wide = b.add(Input("wide", uniform(Fixed(True, 20, 20), 5)))
        outputs.append(b.add(Quantize(uniform(Fixed(True, 20, 3), 5), Rounding.RND), wide))
    graph = b.build(outputs)
    assert to_jax(graph).word.bits == (64 if more else 32)
    codes = np.tile(np.arange(source.lowest, source.highest + 1)[:, None], (1, 5))
    given = (codes, codes << 32) if more else (codes,)
    assert_same(graph, given)


@pytest.mark.parametrize(("bits", "word"), [(6, 32), (24, 64)])
def test_the_smaller_word_that_fits_is_taken(bits: int, word: int) -> None:
    graph = network(bits)
    assert to_jax(graph).word.bits == word
    assert_same(graph, events(graph))


@settings(max_examples=10)
@given(above=st.integers(-3, 40), seed=st.integers(0, 1000))
def test_sums_around_the_limit_of_float32(above: int, seed: int) -> None:
    """Sums of 2**24 - 4 to 2**24 + 39 in int32: float32 carries some, integers the others."""
    rng = np.random.default_rng(seed)
    total = (1 << 24) - 1 + above
    weights = rng.multinomial(total // 255, np.ones(9) / 9) * rng.choice([-1, 1], 9)
    b = Builder("limit")
    x = b.add(Input("x", uniform(Fixed(False, 8, 0), 9)))
    graph = b.build([b.add(Dense(Literal(weights[:, None], 0), Literal([total % 255], 0)), x)])
    assert to_jax(graph).word.bits == 32
    rows = [np.where(weights > 0, 255, 0), np.where(weights < 0, 255, 0)]
    assert_same(graph, (np.concatenate([np.stack(rows), rng.integers(0, 256, (20, 9))]),))


def test_constants_and_inputs_as_outputs() -> None:
    b = Builder("direct")
    x = b.add(Input("x", uniform(Fixed(True, 3, 1), 2)))
    b.add(Input("unread", uniform(Fixed(True, 3, 1))))
    c = b.add(Constant(Literal([3, -1], 2)))
    graph = b.build([x, c, b.add(Add(), c, c), x])
    assert_same(graph, events(graph))


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = network()
    codes = events(graph, 41)
    monkeypatch.setattr(xla, "chunk_size", lambda graph: 16)
    assert_same(graph, codes)
    (none,) = to_jax(graph)(tuple(x[:0] for x in codes))
    assert none.shape == (0, 2)


def test_refused_with_every_reason() -> None:
    b = Builder("wide")
    x = b.add(Input("x", uniform(Fixed(True, 40, 0), 3)))
    x = b.add(Dense(Literal([[(1 << 17) + 1]] * 3, 0), Literal([1], 0)), x)
    graph = b.build([b.add(Quantize(uniform(Fixed(True, 20, 0), 1), Rounding.RND), x)])
    problems = unsupported(graph)
    assert problems == []  # 61 bits fit
    assert_same(graph, events(graph))
    counter = Builder("counter")
    one = counter.add(Constant(Literal(1, 0)))
    n = counter.state("n", uniform(Fixed(False, 4, 0)))
    total = counter.add(Quantize(uniform(Fixed(False, 4, 0))), counter.add(Add(), n, one))
    counter.update(n, total)
    with pytest.raises(UnsupportedError, match="1 registers; the function keeps nothing"):
        to_jax(counter.build([n]))


# --- files ---------------------------------------------------------------------------------------


def test_the_artifact_runs_from_its_file(tmp_path: Path) -> None:
    for graph in (network(), network(24), every_op()):
        artifact = emit(graph, None, tmp_path / "out")
        text, _ = artifact.files
        assert text.name.endswith(".stablehlo.mlir")
        assert "stablehlo.dot_general" in text.read_text()
        assert "precision = [HIGHEST, HIGHEST]" in text.read_text()
        assert "tensor<?x" in text.read_text()
        assert "convolution" not in text.read_text()
        artifact.build()
        for number in (1, 5):
            codes = tuple(x[:number] for x in events(graph))
            for got, want in zip(
                artifact.run_codes(codes), emulate_codes(graph, codes), strict=True
            ):
                np.testing.assert_array_equal(got, want)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "every_op.jax",
        "every_op.stablehlo.mlir",
        "net.jax",
        "net.stablehlo.mlir",
    ]


def test_foreign_truncated_and_missing_files(tmp_path: Path) -> None:
    graph = network()
    artifact = emit(graph, None, tmp_path)
    module = artifact.files[1]
    whole = module.read_bytes()
    module.write_bytes(emit(network(24), None, tmp_path / "other").files[1].read_bytes())
    with pytest.raises(StorageError, match="no module of Graph 'net'"):
        artifact.build()
    module.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(StorageError, match="no module that JAX"):
        artifact.build()
    module.unlink()
    with pytest.raises(StorageError, match="cannot be read"):
        artifact.run_codes(events(graph))
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        emit(graph, None, tmp_path / "file" / "folder")


def test_without_jax_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def no_jax(name: str, *rest: object, **more: object):
        if name == "jax" or name.startswith("jax."):
            raise ImportError("No module named 'jax'")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", no_jax)
    with pytest.raises(ToolError, match=r"hairtrigger\[train\]"):
        to_jax(network(7))


def test_a_crop_that_leaves_only_coarse_elements() -> None:
    """Its LSB is coarser than its operand's, so codes shrink."""
    b = Builder("crop")
    x = b.add(Input("x", TensorType((3,), True, [2, 2, 4], [4, 2, -1])))
    graph = b.build([b.add(Crop(((1, 0),)), x), b.add(Crop(((2, 0),)), x)])
    assert_same(graph, events(graph))


def test_a_convolution_with_groups_and_padding() -> None:
    rng = np.random.default_rng(2)
    b = Builder("conv")
    x = b.add(Input("x", TensorType((5, 6, 4), True, 2, rng.integers(0, 3, (5, 6, 4)))))
    kernel = Literal(rng.integers(-9, 10, (3, 2, 2, 6)), 3)
    x = b.add(Conv(kernel, Literal([1] * 6, 7), (2, 1), ((1, 1), (0, 1)), groups=2), x)
    y = b.add(MaxPool((2, 2), (1, 1), ((1, 0), (0, 1))), x)
    graph = b.build([x, y])
    assert_same(graph, events(graph))
