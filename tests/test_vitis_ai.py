"""Models for DPUs: rules, batches, what runs on the CPU, scripts, Quark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from hairtrigger.backends import find_backend, quark
from hairtrigger.backends import vitis_ai as backend
from hairtrigger.backends.onnx import to_onnx
from hairtrigger.backends.qdq import DPU
from hairtrigger.backends.qdq_ops import to_qdq
from hairtrigger.backends.vitis_ai import DPUS, Target, check_model, cpu_nodes, emit, unsupported
from hairtrigger.errors import InputError, StorageError, ToolError, UnsupportedError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, emulate_codes
from hairtrigger.graph.linear import Conv, Dense, MaxPool
from hairtrigger.graph.moves import Reshape
from hairtrigger.graph.ops import Input, Quantize, Relu
from test_qdq import cnn, events, mlp

ENTRY = "1.Conv.Transpose: Transpose is no operator of the DPU."
"""Images come with channels last, and ONNX convolves channels first."""


def uniform(fixed: Fixed, *shape: int) -> TensorType:
    return TensorType.uniform(shape, fixed)


def image(
    rounding: Rounding = Rounding.RND_CONV, strides: tuple = (1, 1), kernel: tuple = (3, 3)
) -> Graph:
    """All of it on the DPU: 7 bits behind ReLUs saturate as int8 does."""
    rng = np.random.default_rng(3)
    b = Builder("image")
    x = b.add(Input("x", uniform(Fixed(False, 3, 2), 20, 20, 2)))
    weights = Literal(rng.integers(-7, 8, (*kernel, 2, 4)), 3)
    x = b.add(Conv(weights, Literal([1, 2, 3, -4], 3), strides, ((1, 1), (1, 1))), x)
    t = uniform(Fixed(False, 5, 2), *b.type(x).shape)
    x = b.add(Quantize(t, rounding, Overflow.SAT), b.add(Relu(), x))
    x = b.add(MaxPool((2, 2), (2, 2), ((0, 0), (0, 0))), x)
    x = b.add(Reshape((b.type(x).size,)), x)
    x = b.add(Dense(Literal(rng.integers(-7, 8, (b.type(x).size, 3)), 6)), x)
    return b.build([b.add(Quantize(uniform(Fixed(True, 5, 2), 3), rounding, Overflow.SAT), x)])


@pytest.mark.parametrize("dpu", list(DPUS))
def test_the_model_of_each_dpu(dpu: str, tmp_path: Path) -> None:
    graph = image()
    artifact = emit(graph, Target(dpu), tmp_path / "out")
    assert artifact.check() == []
    assert artifact.on_cpu == [ENTRY]
    assert artifact.notes == []
    artifact.build()
    model = onnx.load(artifact.files[0])
    batch = {"DPUCZ": 1, "DPUCV": 3}.get(dpu[:5])
    batch = {"DPUCVDX8H": 4, "DPUCV2DX8": 1}.get(dpu[:9], batch)
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_value == batch == artifact.batch
    codes = events(graph, 10)
    assert len(codes[0]) % 4  # the last batch is not full
    assert all(d.same for d in artifact.differences(codes))
    np.testing.assert_array_equal(artifact.run_codes(codes)[0], emulate_codes(graph, codes)[0])
    assert json.loads(artifact.files[1].read_text()) == {"target": dpu}
    assert find_backend("vitis_ai") is backend


def test_another_rounding_is_said_and_measured(tmp_path: Path) -> None:
    artifact = emit(image(Rounding.TRN), None, tmp_path)
    assert len(artifact.notes) == 2
    assert "it rounds to nearest, not TRN (up to 1 LSB)" in artifact.notes[0]
    (found,) = artifact.differences(events(artifact.graph, 20))
    assert found.differ > 0
    assert found.largest >= 1


def test_what_runs_on_the_cpu_is_named(tmp_path: Path) -> None:
    artifact = emit(cnn(), None, tmp_path)
    text = "\n".join(artifact.on_cpu)
    assert "Clip is no operator of the DPU" in text
    assert "ReduceSum is no operator of the DPU" in text
    many = emit(image(strides=(9, 1)), None, tmp_path).on_cpu
    assert many == [ENTRY, "1.Conv.Conv: strides of [9, 1]; the DPU takes up to 8."]
    wide = emit(image(kernel=(17, 2)), None, tmp_path).on_cpu
    assert "a kernel of 17 x 2; the DPU takes 16 x 16" in wide[1]
    eight = Target("DPUCVDX8G_ISA3_C32B3")
    assert "64 weights a channel" in emit(image(kernel=(9, 8)), eight, tmp_path).on_cpu[1]
    assert emit(image(kernel=(8, 8)), eight, tmp_path).on_cpu == [ENTRY]


def test_limits_of_banks_groups_and_axes() -> None:
    rng = np.random.default_rng(1)

    def reasons(kernel: tuple, shape: tuple, groups: int = 1) -> str:
        b = Builder("conv")
        x = b.add(Input("x", uniform(Fixed(True, 1, 2), *shape)))
        pads = ((0, 0),) * (len(kernel) - 2)
        op = Conv(Literal(rng.integers(-3, 4, kernel), 2), None, (1,) * len(pads), pads, groups)
        model = to_qdq(b.build([b.add(op, x)]), DPU, "m", events=1, ir_version=8)
        found = cpu_nodes(model, Target())
        return "\n".join(reason for reason in found if ".Transpose" not in reason)

    assert reasons((16, 16, 16 * 9, 1), (16, 16, 16 * 9)) == (
        "1.Conv.Conv: a bank of 2304; the DPU has 2048."
    )
    assert "4097 channels out; the DPU takes 4096" in reasons((1, 1, 1, 4097), (2, 2, 1))
    assert "2 groups; the DPU takes one" in reasons((2, 2, 2, 4), (3, 3, 4), 2)
    assert reasons((2, 2, 1, 4), (3, 3, 4), 4) == ""
    assert "images with two axes" in reasons((2, 2, 4), (8, 2))


def test_every_rule_is_checked() -> None:
    target = Target()

    def edited(change, graph: Graph | None = None) -> str:
        model = to_qdq(graph or image(), DPU, "m", events=1, ir_version=8)
        change(model)
        return "\n".join(check_model(model, target))

    def set_array(model: onnx.ModelProto, name: str, array: np.ndarray) -> None:
        (old,) = (a for a in model.graph.initializer if a.name == name)
        old.CopyFrom(onnx.numpy_helper.from_array(array, name))

    def node(model: onnx.ModelProto, kind: str) -> onnx.NodeProto:
        return next(x for x in model.graph.node if x.op_type == kind)

    def scale(model: onnx.ModelProto) -> None:
        set_array(model, node(model, "QuantizeLinear").input[1], np.array(0.3, np.float32))

    def bias(model: onnx.ModelProto) -> None:
        node(model, "Conv").input[2] = node(model, "QuantizeLinear").input[1]

    def batch(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 8

    def free(model: onnx.ModelProto) -> None:
        model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "n"

    def opset(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = 19

    def version(model: onnx.ModelProto) -> None:
        model.ir_version = 9

    words = {
        scale: "scale 0.3 is no power of two",
        bias: "its bias is not int8",
        batch: "batch 8, and the DPU's is 1",
        free: "batch n, and the DPU's is 1",
        opset: "opset 19: Vitis AI takes 13 to 18",
        version: "file version 9: Vitis AI reads up to 8",
    }
    for change, said in words.items():
        assert said in edited(change), change
    assert edited(lambda model: None) == ""
    exact = check_model(to_onnx(mlp()), target)
    assert any("weights are not int8" in problem for problem in exact)


@settings(max_examples=40)
@given(data=st.data())
def test_every_model_that_is_made_keeps_the_rules(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(["mlp", "cnn", "any"]))
    graph = data.draw(strategies.graphs(kind, max_ops=6, max_bits=5))
    target = Target(data.draw(st.sampled_from(list(DPUS))))
    if unsupported(graph, target):
        with pytest.raises(UnsupportedError):
            emit(graph, target, tmp_path_factory.mktemp("no"))
        return
    artifact = emit(graph, target, tmp_path_factory.mktemp("dpu"))
    assert artifact.check() == []
    found = artifact.differences(events(graph, 8))
    if not artifact.notes:
        assert all(d.same for d in found), found


def test_targets_that_there_are_not() -> None:
    for target, words in {
        Target("DPUCADX8G"): "no DPU 'DPUCADX8G'",
        Target(fingerprint="1234"): "no 64-bit number in hexadecimal",
        Target(batch=0): "batch=0",
        Target(batch=2): "works on 1 at once",
    }.items():
        with pytest.raises(InputError, match=words):
            unsupported(image(), target)


def test_an_own_dpu_by_its_fingerprint(tmp_path: Path) -> None:
    artifact = emit(image(), Target(fingerprint="0x101000016010407", batch=2), tmp_path)
    assert json.loads(artifact.files[1].read_text()) == {"fingerprint": "0x101000016010407"}
    assert artifact.batch == 2
    assert artifact.check() == []


def test_refused_with_every_reason(tmp_path: Path) -> None:
    b = Builder("bad")
    x = b.add(Input("x", uniform(Fixed(False, 0, 8), 4)))
    graph = b.build([b.add(Dense(Literal([[1000], [1], [1], [1]], 3)), x)])
    with pytest.raises(
        UnsupportedError, match=r"no model for DPUCZDX8G.*\n  - .*\n  - .*one scale"
    ):
        emit(graph, None, tmp_path)
    assert not list(tmp_path.iterdir())


def test_broken_files(tmp_path: Path) -> None:
    artifact = emit(image(), None, tmp_path)
    artifact.files[0].write_bytes(artifact.files[0].read_bytes()[:40])
    with pytest.raises(StorageError, match="no ONNX model"):
        artifact.check()
    artifact.files[0].unlink()
    with pytest.raises(StorageError, match="cannot be read"):
        assert artifact.on_cpu


# --- the script ----------------------------------------------------------------------------------


def run_script(artifact: object, folder: Path, *arguments: str, **extra: str):
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    path = f"{tools}{os.pathsep}/usr/bin{os.pathsep}/bin"
    return subprocess.run(
        ["sh", str(artifact.files[2]), *arguments],
        env={"PATH": path, **extra},
        capture_output=True,
        text=True,
        timeout=60,
    )


def tool(folder: Path, name: str, text: str) -> None:
    (folder / "tools").mkdir(exist_ok=True)
    path = folder / "tools" / name
    path.write_text(text)
    path.chmod(0o755)


def test_the_script_calls_the_compiler_of_vitis_ai(tmp_path: Path) -> None:
    artifact = emit(image(), None, tmp_path)
    missing = run_script(artifact, tmp_path, "q.xmodel")
    assert missing.returncode == 1
    assert "vai_c_xir is missing" in missing.stderr
    tool(tmp_path, "vai_c_xir", '#!/bin/sh\necho "$@"\n')
    done = run_script(artifact, tmp_path, "q.xmodel")
    assert done.returncode == 0
    stem = "image.DPUCZDX8G_ISA1_B4096"
    assert done.stdout.split() == [
        *("--xmodel", "q.xmodel", "--arch", str(tmp_path / f"{stem}.arch.json")),
        *("--output_dir", str(tmp_path / "compiled")),
        *("--net_name", "image_DPUCZDX8G_ISA1_B4096"),
    ]


def test_the_script_uses_the_provider_of_vitis_ai(tmp_path: Path) -> None:
    artifact = emit(image(), None, tmp_path)
    unset = run_script(artifact, tmp_path)
    assert unset.returncode != 0
    assert "vaip_config.json" in unset.stderr
    fake = tmp_path / "modules"
    fake.mkdir()
    module = """
HAS = ["CPUExecutionProvider"]
def get_available_providers(): return HAS
class InferenceSession:
    def __init__(self, model, providers, provider_options):
        print(model, providers, provider_options)
    def get_providers(self): return HAS
"""
    (fake / "onnxruntime.py").write_text(module)
    tool(tmp_path, "python3", f'#!/bin/sh\nPYTHONPATH={fake} exec {sys.executable} "$@"\n')
    without = run_script(artifact, tmp_path, VAIP_CONFIG="c.json")
    assert without.returncode == 1
    assert "no VitisAIExecutionProvider" in without.stderr
    named = module.replace('["CPU', '["VitisAIExecutionProvider", "CPU')
    (fake / "onnxruntime.py").write_text(named)
    (fake / "__pycache__").mkdir(exist_ok=True)
    for cached in (fake / "__pycache__").iterdir():
        cached.unlink()
    done = run_script(artifact, tmp_path, VAIP_CONFIG="c.json")
    assert done.returncode == 0, done.stderr
    assert "'config_file': 'c.json'" in done.stdout
    assert f"'cacheDir': '{tmp_path / 'compiled'}'" in done.stdout


# --- Quark ---------------------------------------------------------------------------------------


def fake_quark(monkeypatch: pytest.MonkeyPatch, answer) -> list:
    seen: list = []

    class ModelQuantizer:
        def __init__(self, config: object) -> None:
            seen.append(config)

        def quantize_model(self, model, output, reader):
            seen.append((model, output))
            batches = []
            while (batch := reader.get_next()) is not None:
                batches.append(batch)
            reader.rewind()
            assert reader.get_next() is not None
            seen.append(batches)
            return answer(model)

    module = ModuleType("quark.onnx")
    module.XINT8_QCONFIG, module.ModelQuantizer = "XINT8", ModelQuantizer
    monkeypatch.setitem(sys.modules, "quark", ModuleType("quark"))
    monkeypatch.setitem(sys.modules, "quark.onnx", module)
    return seen


def test_quark_is_called_with_the_float_network_and_batches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    graph = image(Rounding.TRN)
    codes = events(graph, 10)
    target = Target("DPUCVDX8G_ISA3_C32B3")
    quantized = to_qdq(graph, DPU, "m", events=3, ir_version=9)
    del quantized.metadata_props[:]
    seen = fake_quark(monkeypatch, lambda model: quantized)
    artifact = quark.quantize(graph, codes, target, tmp_path)
    config, (model, output), batches = seen
    assert config == "XINT8"
    assert output is None
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3
    assert not any(x.op_type in ("Floor", "Round", "QuantizeLinear") for x in model.graph.node)
    assert len(batches) == len(codes[0]) // 3
    np.testing.assert_array_equal(batches[1]["x"], codes[0][3:6] / 4)
    assert artifact.files[0].name == "image.DPUCVDX8G_ISA3_C32B3.quark.onnx"
    assert artifact.check() == []
    (found,) = artifact.differences(codes)  # the file is known as this Graph's
    assert found.differ > 0


def test_without_quark_and_where_it_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    graph = image()
    codes = events(graph, 4)
    monkeypatch.setitem(sys.modules, "quark", None)
    with pytest.raises(ToolError, match="not run: AMD Quark cannot be imported"):
        quark.quantize(graph, codes, None, tmp_path)

    def fail(model: object):
        raise ValueError("no")

    fake_quark(monkeypatch, fail)
    with pytest.raises(ToolError, match="AMD Quark failed on Graph 'image': no"):
        quark.quantize(graph, codes, None, tmp_path)
    with pytest.raises(InputError, match="2 events for calibration, and a batch is 3"):
        quark.quantize(graph, [codes[0][:2]], Target("DPUCVDX8G_ISA3_C32B3"), tmp_path)
    assert not list(tmp_path.iterdir())
