"""The C++ as a deliverable: files, the C interface, the example, printed code, what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from hairtrigger.backends import BUILT_IN, find_backend
from hairtrigger.backends.cpp import Target, emit, unsupported
from hairtrigger.cpp.library import compile_graph
from hairtrigger.cpp.source import c_name, write_source
from hairtrigger.errors import InputError, StorageError, UnsupportedError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import (
    Builder,
    Graph,
    Literal,
    TensorType,
    emulate_codes,
    encode,
    linear,
    ops,
)
from hairtrigger.graph.emulate import emulate_steps
from hairtrigger.graph.passes import optimise
from hairtrigger.graph.stimulus import extreme_codes, join_events, random_codes


def tiny() -> Graph:
    """Two inputs, a matrix, a ReLU that saturates."""
    b = Builder("tiny")
    x = b.add(ops.Input("x", TensorType.uniform((2,), Fixed(True, 2, 3))))
    x = b.add(linear.Dense(Literal([[3, -1], [5, 2]], 1), Literal([1, 0], 2)), x, label="dense")
    t = TensorType.uniform((2,), Fixed(False, 3, 1))
    x = b.add(ops.Quantize(t, Rounding.RND, Overflow.SAT), b.add(ops.Relu(), x))
    return b.build({"score": x})


def image(whole: int = 2) -> Graph:
    """A padded convolution, and one with stride 2: runs of neighbouring pixels. ``whole``: integer
    bits that are kept of each."""
    rng = np.random.default_rng(3)
    b = Builder("image")
    x = b.add(ops.Input("x", TensorType.uniform((3, 40, 1), Fixed(False, 1, 0))))
    for channels, strides in ((4, (1, 1)), (3, (3, 2))):
        kernel = Literal(rng.integers(-5, 6, (3, 3, b.type(x).shape[-1], channels)), 2)
        x = b.add(linear.Conv(kernel, None, strides, ((1, 1), (1, 1))), x)
        t = TensorType.uniform(b.type(x).shape, Fixed(False, whole, 2))
        x = b.add(ops.Quantize(t, Rounding.TRN, Overflow.SAT), b.add(ops.Relu(), x))
    return b.build([x])


def counter() -> Graph:
    """A register that adds up its input and wraps, from 5 on."""
    b = Builder("count")
    t = TensorType.uniform((3,), Fixed(True, 5, 0))
    x = b.add(ops.Input("x", t))
    total = b.state("total", t, Literal([5, 0, -7], 0))
    b.update(total, b.add(ops.Quantize(t, Rounding.TRN, Overflow.WRAP), b.add(ops.Add(), total, x)))
    return b.build({"total": total})


def test_printed_code(golden) -> None:
    source = write_source(tiny(), wide=4)
    golden("cpp_tiny.h", source.files["tiny.h"])
    golden("cpp_tiny.cpp", source.files["tiny.cpp"])


@pytest.mark.parametrize("make", [tiny, counter])
def test_the_example_runs_from_plain_c(make, tmp_path: Path) -> None:
    graph = make()
    artifact = emit(graph, None, tmp_path)
    names = {path.name for path in artifact.files}
    assert names == {f"{graph.name}.h", f"{graph.name}.cpp", "example.c", "Makefile"}
    assert {p.name for p in tmp_path.iterdir()} == names
    warn = "CFLAGS=-Wall -Wextra -Werror -pedantic"
    subprocess.run(["make", "-s", warn, "ARCH=native"], cwd=tmp_path, check=True, timeout=120)
    codes = join_events([extreme_codes(graph), random_codes(graph, 50, seed=1)])
    done = subprocess.run(
        ["./example"],
        cwd=tmp_path,
        input=" ".join(str(n) for n in codes[0].ravel()),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = np.array([line.split() for line in done.stdout.splitlines()], dtype=np.int64)
    np.testing.assert_array_equal(found, emulate_codes(graph, codes)[0])
    bad = subprocess.run(["./example"], cwd=tmp_path, input="99 " * 4, text=True, timeout=60)
    assert bad.returncode == 1


def test_the_artifact_runs(tmp_path: Path) -> None:
    graph = tiny()
    assert BUILT_IN["cpp"] is find_backend("cpp")
    artifact = find_backend("cpp").emit(graph, None, tmp_path)
    artifact.build()
    codes = random_codes(graph, 100, seed=2)
    np.testing.assert_array_equal(artifact.run_codes(codes)[0], emulate_codes(graph, codes)[0])
    assert artifact.run_codes(codes)[0].dtype == np.int64


@pytest.mark.parametrize("narrowed", [False, True])
def test_pixels_are_lanes(narrowed: bool) -> None:
    """Positions of an image share code, also where a pass gave borders narrower formats."""
    graph = optimise(image(whole=9)) if narrowed else image()
    formats = [n.type.single for n in graph.nodes if isinstance(n.op, ops.Quantize)]
    assert (None in formats) == narrowed
    text = write_source(graph, wide=1).files["image.cpp"]
    assert text.count("template <int W> void kernel") == 2
    codes = join_events([extreme_codes(graph), random_codes(graph, 40, seed=2)])
    library, expected = compile_graph(graph), emulate_codes(graph, codes)[0]
    np.testing.assert_array_equal(library(*codes)[0], expected)
    for n in range(len(expected)):
        np.testing.assert_array_equal(library(codes[0][n : n + 1])[0], expected[n : n + 1])


def test_long_sums_are_made_of_parts() -> None:
    b = Builder("long_sum")
    x = b.add(ops.Input("x", TensorType.uniform((7680, 2), Fixed(False, 1, 2))))
    graph = b.build([b.add(linear.GlobalSum((0,)), x)])
    codes = random_codes(graph, 3, seed=1)
    library = compile_graph(graph)
    np.testing.assert_array_equal(library(*codes)[0], emulate_codes(graph, codes)[0])


def test_a_straight_line_that_is_too_long_is_refused() -> None:
    b = Builder("long_line")
    x = b.add(ops.Input("x", TensorType.uniform((9000,), Fixed(False, 1, 0))))
    graph = b.build([b.add(linear.Dense(Literal(np.ones((9000, 1), dtype=int), 0)), x)])
    (problem,) = unsupported(graph)
    assert "lines of C++ at one position" in problem


def test_registers_go_on_from_call_to_call() -> None:
    graph = counter()
    library = compile_graph(graph)
    codes = random_codes(graph, 30, seed=1)
    expected, after = emulate_steps(graph, codes)
    first, state = library.steps_from([x[:11] for x in codes], None)
    second, state = library.steps_from([x[11:] for x in codes], state)
    np.testing.assert_array_equal(np.concatenate([first[0], second[0]]), expected[0])
    np.testing.assert_array_equal(state[0], after[0])
    x = np.zeros((1, 3), dtype=library.in_dtypes[0])
    out = np.zeros((1, 3), dtype=library.out_dtypes[0])
    call = library.bind([x], [out])
    x[:] = 1
    for step in range(4):
        assert call() == 0
        assert out.tolist() == [[5 + step, step, -7 + step]]


@pytest.mark.parametrize("rounding", list(Rounding))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_real_numbers_are_encoded_the_same(rounding: Rounding, dtype: type) -> None:
    rng = np.random.default_rng(7)
    formats = [
        (Fixed(True, 2, 3), Overflow.SAT_SYM),
        (Fixed(False, 3, 2), Overflow.WRAP),
        (Fixed(True, 6, -2), Overflow.WRAP),
        (Fixed(True, -1, 5), Overflow.SAT),
    ]
    b = Builder(f"inputs_{rounding.value}")
    places = []
    for n, (fixed, overflow) in enumerate(formats):
        t = TensorType((4,), True, fixed.integer, np.array([0, 1, 2, 3]) + fixed.fraction)
        t = TensorType.uniform((4,), fixed) if n % 2 else t
        places.append(b.add(ops.Input(f"x{n}", t, rounding, overflow)))
    graph = b.build(places)
    library = compile_graph(graph)
    for n, (fixed, _) in enumerate(formats):
        halves = rng.integers(-600, 600, (500, 4)) * 2.0 ** (-fixed.fraction - 1)
        near = np.nextafter(halves[:200].astype(dtype), dtype(0))
        tiny_numbers = np.array([[0.0, -0.0, 2.0**-40, -(2.0**-40)]])
        x = np.concatenate([halves, near, rng.normal(0, 9, (300, 4)), tiny_numbers]).astype(dtype)
        others = tuple(np.zeros_like(x) for _ in formats[:n])
        rest = tuple(np.zeros_like(x) for _ in formats[n + 1 :])
        found = library.encode(n, x)
        assert found is not None
        np.testing.assert_array_equal(found, encode(graph, (*others, x, *rest))[n])
    for bad in (np.nan, np.inf, 1e20):
        x = np.zeros((40, 4), dtype=dtype)
        x[7, 1] = bad
        assert library.encode(0, x) is None


def test_what_is_refused(tmp_path: Path) -> None:
    graph = tiny()
    assert unsupported(graph) == []
    assert "wide=3" in unsupported(graph, Target(wide=3))[0]
    with pytest.raises(UnsupportedError, match="wide=3"):
        emit(graph, Target(wide=3), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        emit(graph, None, tmp_path / "file")
    library = compile_graph(graph)
    with pytest.raises(InputError, match="Code 40 at"):
        library(np.array([[0, 40]]))
    with pytest.raises(InputError, match="shape"):
        library(np.zeros((3, 4), dtype=np.int8))
    x, out = np.zeros((1, 2), library.in_dtypes[0]), np.zeros((1, 2), library.out_dtypes[0])
    with pytest.raises(InputError, match="cannot be bound"):
        library.bind([x.astype(np.int64)], [out])
    assert library.bind([x], [out])() == 0
    x[:] = 100
    assert library.bind([x], [out])() == 1


@pytest.mark.parametrize(
    ("name", "expected"), [("a-b c", "a_b_c"), ("9x384", "n_9x384"), ("double", "n_double")]
)
def test_names(name: str, expected: str) -> None:
    assert c_name(name) == expected
