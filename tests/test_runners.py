"""Runners: which can run here and why not, equal codes, timing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from fake_gpu import FakeGpu
from hairtrigger.backends import runners as module
from hairtrigger.backends.onnx_session import Session
from hairtrigger.backends.runner import clock
from hairtrigger.backends.runners import NAMES, Found, open_runner, runners
from hairtrigger.errors import InputError, ToolError, UnsupportedError
from hairtrigger.fixed import Fixed
from hairtrigger.graph import Builder, TensorType, emulate_codes
from hairtrigger.graph.ops import Input, Quantize
from test_onnx import every_op
from test_qdq import cnn, events, mlp

HERE = ("cpp", "emulator", "onnxruntime-cpu", "xla")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])


def by_name(found: tuple[Found, ...]) -> dict[str, Found]:
    assert tuple(f.name for f in found) == NAMES
    return {f.name: f for f in found}


def test_every_engine_is_listed_with_its_reason(no_gpu: None) -> None:
    pytest.importorskip("jax")
    found = by_name(runners(mlp()))
    for name, one in found.items():
        assert one.runs is (name in HERE), one
        assert one.runs or one.reason.startswith("not run: ")
    assert "not in this onnxruntime (has: CPUExecutionProvider)" in found["onnxruntime-cuda"].reason
    for name in NAMES:
        if name not in HERE:
            with pytest.raises(ToolError, match="not run: "):
                found[name].open()


@pytest.mark.parametrize("name", HERE)
def test_all_give_the_emulators_codes_and_can_be_timed(name: str) -> None:
    if name == "xla":
        pytest.importorskip("jax")
    for graph in (mlp(), cnn()):
        runner = open_runner(graph, name)
        codes = events(graph, 40)
        for got, want in zip(runner.run(codes), emulate_codes(graph, codes), strict=True):
            assert got.dtype == np.int64
            np.testing.assert_array_equal(got, want)
        timing = runner.timed(tuple(x[:8] for x in codes), 3)
        assert timing.with_transfers.shape == (3,)
        assert (timing.with_transfers > 0).all()
        if runner.device == "CPU":
            assert timing.without_transfers is None
            with pytest.raises(InputError, match="no device apart"):
                runner.bind(codes, transfers=False)
        assert runner.exact
        assert runner.name == name
        assert runner.batches is None
        assert any(c.isdigit() for c in runner.engine)  # a version
        runner.close()


def test_a_bound_call_really_works_on_its_events() -> None:
    graph = mlp()
    codes = events(graph, 40)
    for threads in (1, 2, 3):
        runner = open_runner(graph, "cpp", threads)
        call = runner.bind(codes)
        call()
        calls = call.__closure__[0].cell_contents if threads > 1 else [call]
        outs = np.concatenate([one.kept[-1] for one in calls])
        np.testing.assert_array_equal(outs, emulate_codes(graph, codes)[0])
        assert len(calls) == threads
        runner.close()
    for name in ("onnxruntime-cpu", "emulator"):
        (out,) = open_runner(graph, name, 2).bind(codes)()
        np.testing.assert_array_equal(out, emulate_codes(graph, codes)[0])


@pytest.mark.parametrize("refused", [False, True])
def test_the_cuda_provider_repeats_graphs_or_says_that_it_does_not(
    refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnTheCpu(Session):
        def __init__(self, *given: Any, provider: str, options: Any = None, **more: Any) -> None:
            assert provider == "cuda"
            if options and refused:
                raise ToolError("not run: a node lies on the CPU")
            assert options in (None, {"enable_cuda_graph": "1"})
            super().__init__(*given, **more)

    monkeypatch.setattr("hairtrigger.backends.runners.Session", OnTheCpu)
    graph = cnn()
    codes = events(graph, 30)
    runner = open_runner(graph, "onnxruntime-cuda")
    assert runner.device == "GPU"
    wanted = ", without CUDA graphs (not run: a node lies on the CPU)" if refused else "CUDA graphs"
    assert runner.engine.endswith(wanted)
    right = emulate_codes(graph, codes)
    said = zip(runner.run(codes), runner.bind(codes)(), right, graph.output_types, strict=True)
    for got, real, want, t in said:
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(np.ldexp(real.astype(np.float64), t.lsb), want)
    assert runner.bind(codes, transfers=False)() == []
    timing = runner.timed(codes, 2)
    assert timing.without_transfers is not None
    runner.close()


def test_reasons_that_lie_in_the_graph(no_gpu: None) -> None:
    found = by_name(runners(every_op()))
    assert "it may overflow and WRAP it" in found["tensorrt-int8"].reason
    assert found["tensorrt-int8"].reason.endswith("(and 1 more)")
    with pytest.raises(UnsupportedError, match=r"tensorrt-int8 cannot run.*\n  - .*\n  - "):
        found["tensorrt-int8"].open()
    b = Builder("wide")
    x = b.add(Input("x", TensorType.uniform((2,), Fixed(True, 30, 0))))
    wide = by_name(runners(b.build([x])))
    assert "float32 is exact to" in wide["onnxruntime-cuda"].reason
    assert wide["onnxruntime-cpu"].runs
    counter = Builder("counter")
    t = TensorType.uniform((), Fixed(False, 4, 0))
    x = counter.add(Input("x", t))
    n = counter.state("n", t)
    counter.update(n, counter.add(Quantize(t), x))
    assert all("1 registers" in f.reason for f in runners(counter.build([n])))


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="no engine 'npu'"):
        open_runner(mlp(), "npu")
    with pytest.raises(InputError, match="threads=0"):
        open_runner(mlp(), "cpp", 0)
    with pytest.raises(InputError, match="repeats=0"):
        clock(lambda: None, 0)


def test_clock_does_not_count_the_first_call() -> None:
    calls = []
    assert clock(lambda: calls.append(1), 4).shape == (4,)
    assert len(calls) == 5


def test_tensorrt_on_a_fake_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HAIRTRIGGER_CACHE", str(tmp_path))
    gpu = FakeGpu().install(monkeypatch)
    graph = cnn()
    codes = events(graph, 20)
    found = by_name(runners(graph))
    for name in module.TENSORRT:
        assert found[name].runs
        runner = found[name].open()
        for got, want in zip(runner.run(codes), emulate_codes(graph, codes), strict=True):
            np.testing.assert_array_equal(got, want)
        timing = runner.timed(codes, 2)
        assert timing.without_transfers is not None
        bound = runner.bound(len(codes[0]))
        for buffer in bound.outputs:
            buffer.host[:] = 0
        runner.bind(codes, transfers=False)()
        assert runner.device == "GPU"
        runner.close()
    assert gpu.memory == {}
