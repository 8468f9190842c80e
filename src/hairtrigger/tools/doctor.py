"""What this machine has: every tool is run on a small job, not only looked for."""

import contextlib
import importlib.metadata
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hairtrigger.errors import HairtriggerError, ToolError
from hairtrigger.tools import compiler, process, verilator, yosys

OLDEST_PYTHON = (3, 11)
PROBE_LIMIT_S = 120.0
"""Time for one probe; a healthy tool takes a few seconds."""
_MODULE = """
module probe(input clk, input rst, input in_valid, input [7:0] in_data,
             output reg out_valid, output reg [7:0] out_data);
  always @(posedge clk) begin out_valid <= in_valid & ~rst; out_data <= in_data + 8'd1; end
endmodule
"""
_ORT_PROBE = """
import numpy, onnx, onnxruntime
from onnx import TensorProto, helper
x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy")
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "probe", [x], [y])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
session = onnxruntime.InferenceSession(
    model.SerializeToString(), providers=["CPUExecutionProvider"])
(answer,) = session.run(None, {"x": numpy.array([-1, 2], numpy.float32)})
assert answer.tolist() == [0, 2], answer
print("providers:", ", ".join(
    name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()))
"""
_TRAIN_PROBE = """
import numpy, keras, jax, hgq
layer = keras.layers.Dense(1, kernel_initializer="ones")
assert float(layer(numpy.ones((1, 2), "float32"))[0, 0]) == 2
print("JAX", jax.__version__, "on", jax.default_backend())
"""
_TENSORRT_PROBE = "import tensorrt; tensorrt.Builder(tensorrt.Logger()); print('builder starts')"


@dataclass(frozen=True)
class Check:
    """One tool: whether it works here, and what to do when it does not.

    ``found`` means that the tool did a small job correctly. ``version`` is empty when unknown;
    ``detail`` says more, without paths of this machine; ``required`` tools are those that
    ``hairtrigger run`` needs, the others serve what ``needed_for`` says.
    """

    name: str
    found: bool
    version: str
    detail: str
    how_to_get: str
    needed_for: str
    required: bool = True


def diagnose() -> tuple[Check, ...]:
    """Run every probe and return the checks in a fixed order; never raises for a missing tool."""
    probes = (_python, _compiler, _verilator, _yosys, _onnxruntime, _training)
    probes += (_gpu, _tensorrt, _vivado, _vitis)
    with ThreadPoolExecutor(max_workers=2) as pool:
        return tuple(pool.map(lambda probe: probe(), probes))


def _check(
    name: str,
    probe: Callable[[], tuple[str, str]],
    how_to_get: str,
    needed_for: str,
    required: bool = True,
) -> Check:
    """``probe`` returns version and detail, or raises when the tool does not do its job."""
    try:
        version, detail = probe()
        found = True
    except HairtriggerError as error:
        version, detail, found = "", error.problem, False
        how_to_get = error.fix or how_to_get  # a compiler that Verilator lacks, for example
    except OSError as error:
        version, detail, found = "", error.strerror or "cannot be run", False
    return Check(name, found, version, _without_paths(detail), how_to_get, needed_for, required)


def _python() -> Check:
    def probe() -> tuple[str, str]:
        if sys.version_info < OLDEST_PYTHON:
            raise ToolError(f"Python {platform.python_version()} is too old")
        return platform.python_version(), f"{platform.system()} {platform.machine()}"

    oldest = ".".join(map(str, OLDEST_PYTHON))
    return _check("Python", probe, f"install Python {oldest} or newer", "everything")


def _compiler() -> Check:
    def probe() -> tuple[str, str]:
        cxx = compiler.find_compiler()
        with tempfile.TemporaryDirectory(prefix="hairtrigger-doctor-") as name:
            unit = compiler.Unit(Path(name) / "probe.cpp", Path(name) / "probe.o")
            unit.source.write_text(
                '#include <bit>\n#include <cstdio>\nint main() { std::printf("%d", '
                "std::endian::native == std::endian::little); }\n"
            )
            compiler.compile_objects(cxx, [unit], ["-std=c++20"], timeout_s=PROBE_LIMIT_S)
            program = Path(name) / "probe"
            compiler.link(cxx, [unit.object], program)
            done = process.run([program], tool="a compiled program", timeout_s=PROBE_LIMIT_S)
        if done.output != "1":
            raise ToolError(f"a compiled program printed {done.output!r}, where 1 is right")
        return _number(cxx.version), cxx.version

    return _check("C++ compiler", probe, compiler.HOW_TO_GET, "simulating Verilog")


def _verilator() -> Check:
    def probe() -> tuple[str, str]:
        with _probe_module() as (source, folder):
            verilator.lint([source], "probe")
            simulator = verilator.build([source], "probe", 8, 8, folder, timeout_s=PROBE_LIMIT_S)
            result = simulator.run(np.array([[1], [255]], np.uint8), timeout_s=PROBE_LIMIT_S)
        if result.outputs.tolist() != [[2], [0]] or result.latency != 1:
            raise ToolError(f"a one-register adder gave {result}")
        return verilator.version(), "linted, compiled and simulated a module"

    return _check("Verilator", probe, verilator.HOW_TO_GET, "lint and simulation of Verilog")


def _yosys() -> Check:
    def probe() -> tuple[str, str]:
        with _probe_module() as (source, folder):
            found = yosys.synthesise([source], "probe", folder, timeout_s=PROBE_LIMIT_S)
        if found.ff != 9:
            raise ToolError(f"a module of 9 flip-flops was counted as {found.ff}")
        return yosys.version(), "synthesised a module"

    return _check("Yosys", probe, yosys.HOW_TO_GET, "resource counts")


def _onnxruntime() -> Check:
    def probe() -> tuple[str, str]:
        return _package("onnxruntime"), _in_python(_ORT_PROBE)

    return _check("ONNX Runtime", probe, "pip install onnxruntime onnx", "fast emulation, CPU")


def _training() -> Check:
    def probe() -> tuple[str, str]:
        packages = ("keras", "jax", "hgq2")
        version = " ".join(f"{name} {_package(name)}" for name in packages)
        return version, _in_python(_TRAIN_PROBE, {"KERAS_BACKEND": "jax"})

    how = "pip install 'hairtrigger[train]'"
    return _check("Keras, JAX, HGQ2", probe, how, "training, and reading .keras models")


def _gpu() -> Check:
    def probe() -> tuple[str, str]:
        question = ["--query-gpu=driver_version,name", "--format=csv,noheader"]
        version, _, gpu = _program("nvidia-smi", question).partition(",")
        return version.strip(), gpu.strip()

    how = "on a machine with an NVIDIA GPU, install its driver"
    return _check("NVIDIA GPU", probe, how, "GPU inference and faster training", False)


def _tensorrt() -> Check:
    def probe() -> tuple[str, str]:
        return _package("tensorrt"), _in_python(_TENSORRT_PROBE)

    how = "pip install 'hairtrigger[tensorrt]' on a machine with an NVIDIA GPU"
    return _check("TensorRT", probe, how, "GPU inference", False)


def _vivado() -> Check:
    def probe() -> tuple[str, str]:
        text = _program("vivado", ["-version"])
        return _number(text), text

    how = "install AMD Vivado and source its settings64.sh"
    return _check("Vivado", probe, how, "placement, routing, bit files", False)


def _vitis() -> Check:
    def probe() -> tuple[str, str]:
        name = next((n for n in ("vitis-run", "vitis_hls") if shutil.which(n)), "vitis_hls")
        text = _program(name, ["-version" if name == "vitis_hls" else "--version"])
        return _number(text), text

    how = "install AMD Vitis and source its settings64.sh"
    return _check("Vitis HLS", probe, how, "HLS projects", False)


@contextlib.contextmanager
def _probe_module() -> Iterator[tuple[Path, Path]]:
    """A small Verilog file and a folder for results beside it, both gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="hairtrigger-doctor-") as name:
        source = Path(name) / "probe.v"
        source.write_text(_MODULE)
        yield source, Path(name) / "results"


def _package(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        raise ToolError(f"Python package {name} is not installed") from None


def _in_python(code: str, extra_env: dict[str, str] | None = None) -> str:
    """Run ``code`` in a Python of its own, since a broken library can end its process."""
    done = process.run(
        [sys.executable, "-c", code],
        tool="Python",
        extra_env=extra_env,
        timeout_s=PROBE_LIMIT_S,
    )
    lines = done.output.strip().splitlines() or [""]
    if done.status != 0:
        raise ToolError(f"it is installed but does not work: {lines[-1]}")
    return lines[-1]


def _program(name: str, arguments: list[str]) -> str:
    """The first line that a program prints; raises when it is not on PATH or fails."""
    if shutil.which(name) is None:
        raise ToolError(f"{name} is not on PATH")
    done = process.run([name, *arguments], tool=name, timeout_s=PROBE_LIMIT_S)
    lines = done.output.strip().splitlines() or [""]
    if done.status != 0:
        raise ToolError(f"{name} does not work: {lines[0]}")
    return lines[0]


def _number(text: str) -> str:
    """The last version number in a line such as ``g++ (Debian 12.2.0-14) 12.2.0``."""
    numbers = re.findall(r"\d+(?:\.\d+)+", text)
    return numbers[-1] if numbers else ""


def _without_paths(text: str) -> str:
    """``text`` with every absolute path cut down to its last part, fit for a bug report."""
    return re.sub(r"(?<![\w./])(?:/[^\s/:'\"()]+)+", lambda m: m[0].rsplit("/", 1)[-1], text)
