"""Backend ``vitis_ai``: a Graph in int8 with power-of-two scales for AMD's DPUs.

The model is QDQ ONNX with a batch that the DPU fixes. What a DPU has no operator for runs on the
CPU beside it; `VitisAiArtifact.on_cpu` names it. docs/backends/vitis_ai.md has the sources.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from hairtrigger.backends.differences import Difference
from hairtrigger.backends.onnx import file_stem, save
from hairtrigger.backends.onnx_rules import DEQUANTIZE, View, qdq_problems
from hairtrigger.backends.qdq import DPU, notes
from hairtrigger.backends.qdq import problems as int8_problems
from hairtrigger.backends.qdq_ops import QdqRun, to_qdq
from hairtrigger.errors import InputError, StorageError, UnsupportedError
from hairtrigger.fixed import IntArray
from hairtrigger.graph.graph import Graph

if TYPE_CHECKING:
    import onnx

IR_VERSION = 8
"""Vitis AI 3.5 reads files of ONNX 1.13."""
OPSETS = range(13, 19)
"""From the first QuantizeLinear with an axis to what Vitis AI 3.5 takes."""


@dataclass(frozen=True)
class Dpu:
    """A DPU and what its conv2d takes: UG1414 3.0, "Currently Supported Operators".

    ``boards``: where its pre-built form runs; ``batch``: images that it works on at once;
    ``stride``: the largest; ``window``: the largest ``w * h``, where that has a limit of its own.
    """

    boards: str
    batch: int
    channel_parallel: int
    bank_depth: int
    stride: int
    window: int = 256


DPUS: Mapping[str, Dpu] = {
    "DPUCZDX8G_ISA1_B4096": Dpu("ZCU102, ZCU104", 1, 16, 2048, 8),
    "DPUCVDX8G_ISA3_C32B3": Dpu("VCK190", 3, 16, 8192, 8, 64),
    "DPUCVDX8H_ISA1_F2W4_4PE": Dpu("VCK5000", 4, 64, 2048, 4),
    "DPUCV2DX8G_ISA0_C16M4B1": Dpu("VEK280", 1, 32, 65528, 8, 13760 // 256),
}

ON_DPU = frozenset(
    [
        *("Conv", "Gemm", "MaxPool", "Relu", "Add", "Concat", "Reshape", "Identity"),
        *("QuantizeLinear", "DequantizeLinear"),
    ]
)
"""Operators of our models that UG1414 lists: conv2d and depthwise-conv2d, inner product, pooling,
ReLU, elementwise sum, concat and reshape; Q and DQ carry the scales."""


@dataclass(frozen=True)
class Target:
    """``dpu``: a name of `DPUS`, the pre-built one whose limits count. ``fingerprint``: that of a
    DPU made with other parameters, such as "0x101000016010407", which then stands in arch.json.
    ``batch``: None for that of the DPU."""

    dpu: str = "DPUCZDX8G_ISA1_B4096"
    fingerprint: str = ""
    batch: int | None = None


@dataclass(frozen=True)
class VitisAiArtifact:
    """``<name>.<dpu>.onnx``, ``<name>.<dpu>.arch.json`` and ``<name>.<dpu>.compile.sh``."""

    graph: Graph
    target: Target
    files: tuple[Path, ...]
    backend: str = "vitis_ai"

    @property
    def batch(self) -> int:
        """Events of one call."""
        return batch_of(self.target)

    @property
    def notes(self) -> list[str]:
        """Where the answers may differ from the Graph's, and why."""
        return notes(self.graph, DPU)

    @property
    def on_cpu(self) -> list[str]:
        """Nodes that run on the CPU beside the DPU, and why. Raises `StorageError`."""
        return list(cpu_nodes(self._load(), self.target))

    def check(self) -> list[str]:
        """Documented rules that the file breaks; empty if none. Raises `StorageError`."""
        return check_model(self._load(), self.target)

    def build(self) -> None:
        """Nothing to do here: ``compile.sh`` is for a machine that has Vitis AI."""

    def run_real(self, codes: Sequence[IntArray]) -> tuple[IntArray, ...]:
        """As `QdqRun.run_real`: ONNX Runtime on the CPU, in batches of the DPU."""
        return QdqRun(self.graph, self.files[0], self.batch).run_real(codes)

    def run_codes(self, codes: Sequence[IntArray]) -> tuple[IntArray, ...]:
        """Codes nearest to what the file gives in ONNX Runtime on the CPU. They are the DPU's as
        far as its rounding is that of QuantizeLinear, and the Graph's where `differences` says."""
        import numpy as np

        return tuple(np.rint(y).astype(np.int64) for y in self.run_real(codes))

    def differences(self, codes: Sequence[IntArray]) -> tuple[Difference, ...]:
        """Each output in ONNX Runtime on the CPU against the emulator, in LSB."""
        return QdqRun(self.graph, self.files[0], self.batch).differences(codes)

    def _load(self) -> onnx.ModelProto:
        return load(self.files[0])


def load(path: Path) -> onnx.ModelProto:
    """A model from disk. Raises `StorageError`."""
    import onnx

    try:
        model = onnx.load_model_from_string(path.read_bytes())
        onnx.checker.check_model(model, full_check=True)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
    except Exception as error:  # protobuf and the checker have errors of their own
        raise StorageError(f"{path} is no ONNX model: {error}.") from error
    return model


def batch_of(target: Target) -> int:
    """Events of one call. Raises `InputError` for an unknown DPU and for bad numbers."""
    if target.dpu not in DPUS:
        raise InputError(
            f"There is no DPU {target.dpu!r}.",
            f"Use one of {', '.join(DPUS)}, and fingerprint= for other parameters.",
        )
    if target.fingerprint and not re.fullmatch(r"0x[0-9a-fA-F]{1,16}", target.fingerprint):
        raise InputError(
            f"fingerprint={target.fingerprint!r} is no 64-bit number in hexadecimal.",
            "Copy it from the arch.json that was made with the DPU, such as 0x101000016010407.",
        )
    if target.batch is None:
        return DPUS[target.dpu].batch
    if target.batch < 1:
        raise InputError(f"batch={target.batch}.", "Give a whole number from 1 on, or None.")
    if not target.fingerprint and target.batch != DPUS[target.dpu].batch:
        raise InputError(
            f"batch={target.batch}: {target.dpu} works on {DPUS[target.dpu].batch} at once.",
            "Leave batch out, or give the fingerprint of a DPU with another number.",
        )
    return target.batch


def unsupported(graph: Graph, target: Target | None = None) -> list[str]:
    """Every reason why the Graph has no model for the DPU; empty if it has one. What would run on
    the CPU is no such reason. Raises `InputError` for a target that there is not."""
    target = target or Target()
    batch_of(target)
    return int8_problems(graph, DPU) or check_model(_written(graph, target), target)


def _written(graph: Graph, target: Target) -> onnx.ModelProto:
    what = f"int8 model for {target.dpu}"
    return to_qdq(graph, DPU, what, events=batch_of(target), ir_version=IR_VERSION)


def check_model(model: onnx.ModelProto, target: Target) -> list[str]:
    """Documented rules for a DPU's model that this one breaks: int8 per tensor, scales that are
    powers of two, zero points 0, biases in int8, a fixed batch, opset and file version."""
    view = View(model)
    found = list(qdq_problems(view, channels=False, power_of_two=True))
    if view.opset not in OPSETS:
        found.append(f"opset {view.opset}: Vitis AI takes {OPSETS.start} to {OPSETS.stop - 1}.")
    if model.ir_version > IR_VERSION:
        found.append(f"file version {model.ir_version}: Vitis AI reads up to {IR_VERSION}.")
    for value in (*model.graph.input, *model.graph.output):
        dim = value.type.tensor_type.shape.dim[0]
        if dim.dim_value != batch_of(target):
            number = dim.dim_value or dim.dim_param
            found.append(f"{value.name}: batch {number}, and the DPU's is {batch_of(target)}.")
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm") and len(node.input) > 2:
            bias = view.makers.get(node.input[2])
            if bias is None or bias.op_type != DEQUANTIZE:
                found.append(f"{node.name}: its bias is not int8 behind {DEQUANTIZE}.")
    return found


def cpu_nodes(model: onnx.ModelProto, target: Target) -> Iterator[str]:
    """Nodes that the DPU leaves to the CPU, with the reason: operators that are not listed, and
    convolutions beyond its limits. The compiler has the last word."""
    view, dpu = View(model), DPUS[target.dpu]
    for node in model.graph.node:
        if node.op_type not in ON_DPU:
            yield f"{node.name}: {node.op_type} is no operator of the DPU."
        elif node.op_type == "Conv":
            shape = view.arrays[view.makers[node.input[1]].input[0]].shape
            for reason in _conv_limits(view, node, shape, dpu):
                yield f"{node.name}: {reason}"
        elif node.op_type == "MaxPool":
            if len(view.attribute(node, "kernel_shape", [])) != 2:
                yield f"{node.name}: the DPU pools images with two axes."
        elif node.op_type == "Add" and not all(view.quantised(n) for n in node.input):
            yield f"{node.name}: an operand of this sum is not in int8."


def _conv_limits(
    view: View, node: onnx.NodeProto, shape: tuple[int, ...], dpu: Dpu
) -> Iterator[str]:
    out, channels, *window = shape
    if len(window) != 2:
        yield "the DPU convolves images with two axes."
        return
    h, w = window
    groups = view.attribute(node, "group", 1)
    strides = view.attribute(node, "strides", [1, 1])
    pads = view.attribute(node, "pads", [0, 0, 0, 0])
    if max(h, w) > 16 or h * w > dpu.window:
        yield f"a kernel of {h} x {w}; the DPU takes 16 x 16, {dpu.window} weights a channel."
    if max(strides) > dpu.stride:
        yield f"strides of {strides}; the DPU takes up to {dpu.stride}."
    if any(p > k - 1 for p, k in zip(pads, (h, w, h, w), strict=True)):
        yield f"padding of {pads}; the DPU takes up to a kernel less one."
    depth = h * w * ceil(channels / dpu.channel_parallel)
    if depth > dpu.bank_depth:
        yield f"a bank of {depth}; the DPU has {dpu.bank_depth}."
    if out > 256 * dpu.channel_parallel:
        yield f"{out} channels out; the DPU takes {256 * dpu.channel_parallel}."
    if groups > 1 and channels != 1:
        yield f"{groups} groups; the DPU takes one, or one for each channel."


def emit(graph: Graph, target: Target | None = None, folder: Path | str = ".") -> VitisAiArtifact:
    """Write the model, arch.json and the script that compiles it into ``folder``.

    Raises `UnsupportedError` with every reason, `InputError`, `StorageError`.
    """
    target = target or Target()
    problems = unsupported(graph, target)
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise UnsupportedError(
            f"Graph {graph.name!r} has no model for {target.dpu}:{listed}",
            "Train with 8 bits or fewer for each tensor, unsigned 7, and one scale a tensor.",
        )
    stem = f"{file_stem(graph)}.{target.dpu}"
    folder = Path(folder)
    path = folder / f"{stem}.onnx"
    save(_written(graph, target), path)
    files = write_beside(path, target)
    return VitisAiArtifact(graph, target, (path, *files))


def write_beside(path: Path, target: Target) -> tuple[Path, ...]:
    """arch.json and the script that compiles a model. Raises `StorageError`."""
    stem = path.name.removesuffix(".onnx")
    arch, script = path.parent / f"{stem}.arch.json", path.parent / f"{stem}.compile.sh"
    chosen = {"fingerprint": target.fingerprint} if target.fingerprint else {"target": target.dpu}
    try:
        arch.write_text(json.dumps(chosen) + "\n", encoding="utf-8")
        script.write_text(_script(stem), encoding="utf-8")
        script.chmod(0o755)
    except OSError as error:
        raise StorageError(f"{script} cannot be written: {error.strerror}.") from error
    return arch, script


def _script(stem: str) -> str:
    """Shell and Python that need Vitis AI alone, by UG1414 3.5 (VAI_C usage, VOE)."""
    safe = re.sub(r"[^A-Za-z0-9_]", "_", stem)
    return f"""#!/bin/sh
# Compiles this model for a DPU, on a machine or board that has Vitis AI 3.5.
#
#   VAIP_CONFIG=/etc/vaip_config.json sh "{stem}.compile.sh"
#       on the board: ONNX Runtime's Vitis AI provider splits the ONNX file between DPU and CPU,
#       compiles the DPU's part and keeps it in ./compiled
#   sh "{stem}.compile.sh" QUANTIZED.xmodel
#       in Vitis AI's docker: vai_c_xir compiles an xmodel that one of its quantizers wrote
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ $# -gt 0 ]; then
    command -v vai_c_xir > /dev/null || {{
        echo "vai_c_xir is missing: run in Vitis AI's docker" >&2
        exit 1
    }}
    exec vai_c_xir --xmodel "$1" --arch "$here/{stem}.arch.json" \\
        --output_dir "$here/compiled" --net_name "{safe}"
fi
: "${{VAIP_CONFIG:?set it to the vaip_config.json of this board}}"
exec python3 - "$here/{stem}.onnx" "$VAIP_CONFIG" "$here/compiled" "{safe}" << 'END'
import sys

import onnxruntime

model, config, cache, key = sys.argv[1:]
name = "VitisAIExecutionProvider"
if name not in onnxruntime.get_available_providers():
    sys.exit("this onnxruntime has no " + name + ": run with Vitis AI's")
options = [{{"config_file": config, "cacheDir": cache, "cacheKey": key}}]
session = onnxruntime.InferenceSession(model, providers=[name], provider_options=options)
print("compiled into", cache, "with", session.get_providers())
END
"""
