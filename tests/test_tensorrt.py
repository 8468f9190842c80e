"""TensorRT's files, its documented rules, and the calls that would run on a GPU.

No GPU is at hand: `fake_gpu` stands in for TensorRT and CUDA, so what is tested is that our calls
come in order, with the right arguments, and that buffers, chunks and codes are right.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from fake_gpu import BuilderFlag, FakeGpu
from hairtrigger.backends import find_backend
from hairtrigger.backends import tensorrt as backend
from hairtrigger.backends.cuda import Cuda
from hairtrigger.backends.tensorrt import Target, check_model, emit, to_model, unsupported
from hairtrigger.backends.tensorrt_run import CHUNK, TensorRtRunner, obtain_plan, problem
from hairtrigger.errors import InputError, StorageError, ToolError, UnsupportedError
from hairtrigger.graph import emulate_codes
from test_onnx import every_op
from test_qdq import cnn, events, mlp


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeGpu:
    monkeypatch.setenv("HAIRTRIGGER_CACHE", str(tmp_path / "cache"))
    return FakeGpu().install(monkeypatch)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """No TensorRT here, whatever the machine has."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)


# --- files and rules -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", backend.KINDS)
def test_without_a_gpu_the_files_are_written_checked_and_run_on_the_cpu(
    kind: str, no_gpu: None, tmp_path: Path
) -> None:
    for graph in (mlp(), cnn()):
        artifact = emit(graph, Target(kind), tmp_path / "out")
        assert artifact.check() == []
        assert artifact.notes == []
        assert all(d.same for d in artifact.differences(events(graph)))
        for call in (artifact.build, lambda a=artifact, g=graph: a.run_codes(events(g))):
            with pytest.raises(ToolError, match=r"not run: TensorRT cannot be imported") as caught:
                call()
            assert "hairtrigger[tensorrt]" in caught.value.fix
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == [
        f"{g}.trt-{kind}.{end}" for g in ("cnn", "mlp") for end in ("build.py", "onnx")
    ]
    assert problem().startswith("not run: ")


def test_the_float32_model_has_no_convolution() -> None:
    """TensorRT chooses how a Conv is run, and Winograd is not exact."""
    assert unsupported(every_op()) == []
    kinds = {node.op_type for node in to_model(every_op(), "fp32").graph.node}
    assert "Conv" not in kinds
    assert kinds <= backend.OPERATORS


@settings(max_examples=40)
@given(data=st.data())
def test_every_model_that_is_made_keeps_the_rules(data: st.DataObject) -> None:
    graph = data.draw(
        strategies.graphs(data.draw(st.sampled_from(["mlp", "cnn", "any"])), max_bits=5)
    )
    for kind in backend.KINDS:
        problems = unsupported(graph, Target(kind))
        if problems:
            with pytest.raises(UnsupportedError):
                to_model(graph, kind)
        else:
            assert check_model(to_model(graph, kind), kind) == []


def edited(change, kind: str = "int8") -> list[str]:
    model = to_model(mlp(), kind)
    change(model)
    return check_model(model, kind)


def replace_array(model: onnx.ModelProto, name: str, array: np.ndarray) -> None:
    (old,) = (a for a in model.graph.initializer if a.name == name)
    old.CopyFrom(onnx.numpy_helper.from_array(array, name))


def node(model: onnx.ModelProto, kind: str, n: int = 0) -> onnx.NodeProto:
    return [x for x in model.graph.node if x.op_type == kind][n]


def test_each_rule_is_really_checked() -> None:
    """Each break of a rule is found, by its words."""

    def opset(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = 25

    def operator(model: onnx.ModelProto) -> None:
        node(model, "Relu").op_type = "Det"

    def zero(model: onnx.ModelProto) -> None:
        replace_array(model, node(model, "QuantizeLinear").input[2], np.array(3, np.int8))

    def unsigned(model: onnx.ModelProto) -> None:
        replace_array(model, node(model, "QuantizeLinear").input[2], np.array(0, np.uint8))

    def negative(model: onnx.ModelProto) -> None:
        replace_array(model, node(model, "QuantizeLinear").input[1], np.array(-1, np.float32))

    def many(model: onnx.ModelProto) -> None:
        pair = node(model, "QuantizeLinear")
        pair.input[1:] = ["s", "z"]
        for name, array in (("s", np.ones(8, np.float32)), ("z", np.zeros(8, np.int8))):
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))

    def loose(model: onnx.ModelProto) -> None:
        node(model, "QuantizeLinear").input[1] = "x"

    def weights(model: onnx.ModelProto) -> None:
        node(model, "Gemm").input[1] = "w"
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(np.ones((8, 6), np.float32), "w")
        )

    def activation(model: onnx.ModelProto) -> None:
        node(model, "Gemm").input[0] = "x"

    def double(model: onnx.ModelProto) -> None:
        name = node(model, "Gemm").input[2]
        replace_array(model, name, np.ones(6, np.float64))

    def unpaired(model: onnx.ModelProto) -> None:
        node(model, "Relu").input[0] = node(model, "QuantizeLinear").output[0]

    found = {
        opset: "opset 25: TensorRT takes 9 to 20",
        operator: "TensorRT lists no operator Det",
        zero: "the zero point is not 0 in int8",
        unsigned: "the zero point is not 0 in int8",
        negative: "not positive and finite",
        many: "an activation has 8 scales; it may have one",
        loose: "scale and zero point are not constants",
        weights: "its weights are not int8 behind DequantizeLinear",
        activation: "it reads numbers that are not from DequantizeLinear",
        double: "casts float64 down",
        unpaired: "reads int8 without DequantizeLinear",
    }
    for change, words in found.items():
        assert any(words in problem for problem in edited(change)), (change, edited(change))
    assert any("Winograd" in p for p in edited(lambda m: node_to_conv(m), "fp32"))


def node_to_conv(model: onnx.ModelProto) -> None:
    node(model, "Gemm").op_type = "Conv"


def test_refusals_and_bad_targets(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="no int8 model for TensorRT") as caught:
        emit(every_op(), Target("int8"), tmp_path)
    assert len(unsupported(every_op(), Target("int8"))) == caught.value.problem.count("\n  - ") == 2
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="no kind 'fp16'"):
        emit(mlp(), Target("fp16"), tmp_path)
    for batches in ((0, 1, 1), (2, 1, 3), (1, 5, 4)):
        with pytest.raises(InputError, match="no fewest, usual and most"):
            unsupported(mlp(), Target("fp32", batches))
    assert find_backend("tensorrt") is backend


def test_broken_files(tmp_path: Path) -> None:
    artifact = emit(mlp(), Target("int8"), tmp_path)
    artifact.files[0].write_bytes(artifact.files[0].read_bytes()[:50])
    with pytest.raises(StorageError, match="no ONNX model"):
        artifact.check()
    artifact.files[0].unlink()
    for call in (artifact.check, artifact.build):
        with pytest.raises(StorageError, match="cannot be read"):
            call()


# --- the calls of a GPU, on a fake ---------------------------------------------------------------


@pytest.mark.parametrize("kind", backend.KINDS)
def test_the_artifact_builds_and_runs(kind: str, gpu: FakeGpu, tmp_path: Path) -> None:
    for graph in (mlp(), cnn()):
        artifact = emit(graph, Target(kind, (1, 64, CHUNK)), tmp_path)
        artifact.build()
        codes = events(graph)
        for got, want in zip(artifact.run_codes(codes), emulate_codes(graph, codes), strict=True):
            np.testing.assert_array_equal(got, want)
    assert len(gpu.builds) == 2  # run_codes found the engines in the cache
    for build in gpu.builds:
        assert build["cleared"] == [BuilderFlag.TF32]
        (shapes,) = build["shapes"].values()
        assert [shape[0] for shape in shapes] == [1, 64, CHUNK]
    assert gpu.memory == {}  # all of it given back
    assert gpu.streams_destroyed == 2
    assert all(not graph for graph in gpu.graphs)


def test_chunks_are_filled_up(gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hairtrigger.backends.tensorrt_run.CHUNK", 32)
    graph = mlp()
    model = to_model(graph, "int8").SerializeToString()
    runner = TensorRtRunner(graph, "int8", model)
    codes = events(graph)
    assert len(codes[0]) % 32 != 0
    (got,) = runner.run(codes)
    np.testing.assert_array_equal(got, emulate_codes(graph, codes)[0])
    assert [build["shapes"]["x"][0] for build in gpu.builds] == [(32, 8)]
    (few,) = runner.run(tuple(x[:3] for x in codes))  # an engine of its own
    np.testing.assert_array_equal(few, got[:3])
    assert len(gpu.builds) == 2
    runner.close()
    assert gpu.memory == {}


def test_graphs_are_captured_once_and_timed_with_and_without_transfers(gpu: FakeGpu) -> None:
    graph = mlp()
    runner = TensorRtRunner(graph, "fp32", to_model(graph, "fp32").SerializeToString())
    codes = tuple(x[:16] for x in events(graph))
    timing = runner.timed(codes, 5)
    assert [[name for name, _ in captured] for captured in gpu.graphs] == [
        ["network"],
        ["copy cudaMemcpyHostToDevice", "network", "copy cudaMemcpyDeviceToHost"],
    ]
    assert timing.with_transfers.shape == (5,)
    assert (timing.with_transfers > 0).all()
    np.testing.assert_allclose(timing.without_transfers, 0.0015)  # the fake clock's 1.5 ms
    captured = gpu.calls.count("cudaStreamBeginCapture")
    runner.timed(codes, 3)
    assert gpu.calls.count("cudaStreamBeginCapture") == captured == 2
    # A wait follows each launch, so that no time is of work that is merely queued.
    launches = [n for n, name in enumerate(gpu.calls) if name == "cudaGraphLaunch"]
    after = {gpu.calls[n + 1] for n in launches}
    assert after == {"cudaStreamSynchronize", "cudaEventRecord"}
    assert "TF32 off" in runner.engine
    assert "Fake GPU (compute capability 9.0" in runner.engine
    assert runner.exact
    runner.close()


def test_the_cache_key_has_model_batches_version_and_gpu(gpu: FakeGpu) -> None:
    model = to_model(mlp(), "fp32").SerializeToString()
    first = obtain_plan(model, (1, 1, 1))
    assert obtain_plan(model, (1, 1, 1)) == first
    assert len(gpu.builds) == 1
    obtain_plan(model, (1, 1, 2))
    obtain_plan(to_model(mlp(), "int8").SerializeToString(), (1, 1, 1))
    assert len(gpu.builds) == 3
    sys.modules["tensorrt"].__version__ = "11.5.0"
    obtain_plan(model, (1, 1, 1))
    assert len(gpu.builds) == 4


def test_what_fails_is_said_and_nothing_leaks(
    gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = mlp()
    model = to_model(graph, "fp32").SerializeToString()
    gpu.refuse = "parse"
    with pytest.raises(ToolError, match="cannot read the model: parser error 0"):
        obtain_plan(model, (1, 1, 1))
    gpu.refuse = "build"
    with pytest.raises(ToolError, match="built no engine"):
        obtain_plan(model, (1, 1, 1))
    gpu.refuse = ""
    obtain_plan(model, (4, 4, 4))  # a failed build left no entry that looks valid
    runner = TensorRtRunner(graph, "fp32", model)
    codes = tuple(x[:4] for x in events(graph))
    for function in ("cudaMalloc", "cudaMallocHost", "cudaStreamEndCapture"):
        gpu.fail = {function: 2}
        with pytest.raises(ToolError, match=rf"CUDA: {function} failed \(2\): error number 2"):
            runner.run(codes)
        gpu.fail, gpu.capturing = {}, None
        assert gpu.memory == {}
    np.testing.assert_array_equal(runner.run(codes)[0], emulate_codes(graph, codes)[0])
    limited = TensorRtRunner(graph, "fp32", model, (8, 8, 8))
    with pytest.raises(InputError, match="4 events, and the engine is for 8 to 8"):
        limited.timed(codes, 1)
    with pytest.raises(InputError, match="repeats=0"):
        runner.timed(codes, 0)


def test_no_gpu_no_driver_no_bindings_old_version(
    gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert problem() == ""
    gpu.fail = {"cudaGetDeviceCount": 35}
    assert problem().startswith("not run: no GPU: CUDA: cudaGetDeviceCount failed (35)")
    gpu.fail = {}
    gpu.count = 0
    with pytest.raises(ToolError, match="not run: no GPU: CUDA counts none"):
        Cuda()
    gpu.count = 1
    sys.modules["tensorrt"].__version__ = "8.6.1"
    assert problem() == "not run: TensorRT 8.6.1 is older than 10."
    sys.modules["tensorrt"].__version__ = "10.0.1"
    for name in ("cuda.bindings", "cuda.bindings.runtime"):
        monkeypatch.setitem(sys.modules, name, None)
    assert problem().startswith("not run: cuda.bindings cannot be imported")


def test_the_script_beside_the_model_builds_by_itself(
    gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    artifact = emit(mlp(), Target("int8"), tmp_path)
    model, script = artifact.files
    assert "hairtrigger." not in script.read_text()
    plan = tmp_path / "plan"
    given = [str(script), str(model), str(plan), "--batch", "2", "--opt", "4", "--most", "8"]
    monkeypatch.setattr(sys, "argv", given)
    runpy.run_path(str(script), run_name="__main__")
    assert plan.read_bytes() == b"plan" + model.read_bytes()
    assert gpu.builds[0]["shapes"] == {"x": ((2, 8), (4, 8), (8, 8))}
    assert "bytes" in capsys.readouterr().out
