"""Kernels of few bits: tables and sums without carry chains, against plain Python on all inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hairtrigger.backends.rtl import synthesise
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, emulate_codes
from hairtrigger.graph.linear import Dense
from hairtrigger.graph.ops import Input, Quantize, Relu
from hairtrigger.rtl import kernels
from hairtrigger.rtl.design import compile_graph
from rtl_batch import Batch


def kernel(seed: int, inputs: int, bits: int, signed: bool, density: float = 0.6) -> Graph:
    """A few sums over narrow inputs, with a bias, cut to signed formats and to that of a ReLU."""
    rng = np.random.default_rng(seed)
    b = Builder("kernel")
    x = b.add(Input("x", TensorType.uniform((inputs,), Fixed(signed, bits - signed, 0))))
    weights = rng.integers(-5, 6, (inputs, 5)) * (rng.random((inputs, 5)) < density)
    total = b.add(Dense(Literal(weights, 1), Literal(rng.integers(-6, 7, 5), 2)), x)
    cut = TensorType((5,), [True, True, False, False, False], [1, 2, 2, 1, 3], [1, 0, 2, 0, 1])
    positive = TensorType.uniform((5,), Fixed(False, 2, 1))
    modes = [(Rounding.RND, Overflow.SAT), (Rounding.TRN, Overflow.WRAP)]
    first = b.add(Quantize(cut, *modes[seed % 2]), total)
    second = b.add(Quantize(positive, *modes[1 - seed % 2]), b.add(Relu(), total))
    if seed % 3:  # read by one chain only, so that the kernel takes it in
        return b.build([first])
    return b.build([first, second])


def test_narrow_kernels_give_the_emulators_integers_for_every_input(tmp_path: Path) -> None:
    shapes = [(9, 1, False), (6, 1, False), (3, 2, True), (4, 2, False), (2, 4, True), (8, 1, True)]
    made = [kernel(seed, *shapes[seed % len(shapes)]) for seed in range(18)]
    codes = []
    for graph in made:
        (op,) = graph.input_ops
        low, high = op.type.range().at(0)
        grids = np.meshgrid(*(np.arange(a, z + 1) for a, z in zip(low, high, strict=True)))
        every = np.stack([g.ravel() for g in grids], axis=1)
        codes.append((np.resize(every, (512, every.shape[1])),))
    outputs = Batch.of(made).run(codes, tmp_path)
    for graph, given, found in zip(made, codes, outputs, strict=True):
        for got, expected in zip(found, emulate_codes(graph, given), strict=True):
            np.testing.assert_array_equal(got, expected, err_msg=str(graph))


@pytest.mark.parametrize("seed", [1, 4])
def test_tables_and_small_sums_make_one_bit_kernels_smaller(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = kernel(seed, 9, 1, signed=False)
    small = synthesise(compile_graph(graph), flatten=True)
    monkeypatch.setattr(kernels, "MOST_BITS", 0)
    monkeypatch.setattr(kernels, "SMALL_SUMS", 0)
    plain = synthesise(compile_graph(graph), flatten=True)
    assert small.lut < 0.8 * plain.lut
