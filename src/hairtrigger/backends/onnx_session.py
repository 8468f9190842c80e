"""ONNX Runtime, set so that it gives the same numbers on every machine and device."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError, StorageError, ToolError
from hairtrigger.graph.graph import Graph

KEY = "hairtrigger.graph_sha256"
"""Model property that says which Graph a model was made from."""

PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    # Without TF32; DEFAULT is the implicit GEMM for what is written as a Conv.
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "DEFAULT"}),
    "tensorrt": (
        "TensorrtExecutionProvider",
        {"trt_fp16_enable": "0", "trt_bf16_enable": "0", "trt_int8_enable": "0"},
    ),
}
"""Execution providers by our name: ONNX Runtime's name, and the options that we set."""

CUDA_GRAPHS = {"enable_cuda_graph": "1"}
"""The option with which the CUDA provider captures what it does for a binding, and repeats that."""

TF32 = "NVIDIA_TF32_OVERRIDE"
"""0 in this variable switches TF32 off in NVIDIA's libraries: the TensorRT provider has no option
for it. It is read when the libraries are loaded."""


class Session:
    """A loaded model of ``graph``. By default on the CPU, one event after the other in one thread;
    any number of threads may call `run_codes` at once.

    ``model``: the bytes of the file; ``key``: what its property `KEY` must be; ``name``: what
    messages call it; ``provider``: a name of `PROVIDERS`; ``threads``: inside one call;
    ``options``: more of ONNX Runtime's options of the provider; ``as_written``: without ONNX
    Runtime's rewritings. Raises `ToolError` where ONNX Runtime or the provider is missing,
    `StorageError` for bytes that are no model of this Graph.
    """

    def __init__(
        self,
        graph: Graph,
        model: bytes,
        key: str,
        name: str,
        *,
        provider: str = "cpu",
        threads: int = 1,
        options: dict[str, str] | None = None,
        as_written: bool = False,
    ) -> None:
        runtime = _runtime()
        wanted, own = _listed(runtime, provider)
        settings = runtime.SessionOptions()
        # Chunks of events run side by side; threads inside one chunk would only wait for another.
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        # On by choice only, and never ours: bfloat16 products on Arm.
        settings.add_session_config_entry("mlas.enable_gemm_fastmath_arm64_bfloat16", "0")
        if as_written:
            settings.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if provider != "cpu":
            problem = provider_problem(provider)
            if problem:
                raise ToolError(
                    problem, "Run on a machine with a GPU and the provider's libraries."
                )
            settings.log_severity_level = 4  # what goes wrong is said by the error below
            # No node goes to the CPU unseen: what the provider cannot run is an error.
            settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            self._session = runtime.InferenceSession(
                model,
                settings,
                providers=[(wanted, {**own, **(options or {})})],
                enable_fallback=0,
            )
            found = self._session.get_modelmeta().custom_metadata_map
        except Exception as error:  # ONNX Runtime has an exception for each of its status codes
            if provider != "cpu":
                raise ToolError(f"not run: {wanted} on {name}: {_first_line(error)}") from error
            raise StorageError(
                f"{name} is no model that ONNX Runtime can load: {_first_line(error)}",
                "Export the Graph again.",
            ) from error
        if found.get(KEY) != key:
            raise StorageError(
                f"{name} is a model of another Graph than {graph.name!r}.",
                "Export the Graph again.",
            )
        self._name = name
        self._memory = "cpu" if provider == "cpu" else "cuda"
        self._bindings = 0
        self.inputs = [(i.name, _DTYPES[i.type]) for i in self._session.get_inputs()]
        self.outputs = [o.name for o in self._session.get_outputs()]
        codes = found["hairtrigger.border"] == "codes"
        self._in_lsb = [0 if codes else op.type.lsb for op in graph.input_ops]
        self._out_lsb = [0 if codes else t.lsb for t in graph.output_types]

    def feeds(self, codes: Sequence[NDArray[np.integer[Any]]]) -> dict[str, NDArray[Any]]:
        """What the model takes for codes of the inputs."""
        found: dict[str, NDArray[Any]] = {}
        for x, (name, dtype), lsb in zip(codes, self.inputs, self._in_lsb, strict=True):
            real = np.ldexp(x.astype(np.float64), -lsb) if lsb else x
            found[name] = np.ascontiguousarray(real, dtype=dtype)
        return found

    def run(self, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs as the model gives them. Raises `ToolError`."""
        try:
            return self._session.run(self.outputs, feeds)
        except Exception as error:
            raise ToolError(f"ONNX Runtime failed on {self._name}: {_first_line(error)}") from error

    def on_device(
        self,
        feeds: dict[str, NDArray[Any]],
        shapes: Sequence[tuple[int, ...]],
        transfers: bool = False,
    ) -> Callable[[], list[NDArray[Any]]]:
        """A call with inputs and outputs in the device's memory, that returns when it is done.

        ``feeds``: of `feeds`; ``shapes``: of the outputs, which are float32. With ``transfers``
        the inputs are copied there and the outputs back each time, else they stay there and the
        list is empty. Raises `ToolError` where the model does not run so.
        """
        runtime = _runtime()
        bound = self._session.io_binding()
        there = [
            (runtime.OrtValue.ortvalue_from_numpy(x, self._memory, 0), x) for x in feeds.values()
        ]
        outs = [
            runtime.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, self._memory, 0)
            for shape in shapes
        ]
        for name, (value, _) in zip(feeds, there, strict=True):
            bound.bind_ortvalue_input(name, value)
        for name, value in zip(self.outputs, outs, strict=True):
            bound.bind_ortvalue_output(name, value)
        self._bindings += 1  # a captured graph holds for the memory of one binding
        options = runtime.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(self._bindings))

        def call() -> list[NDArray[Any]]:
            if transfers:
                for value, x in there:
                    value.update_inplace(x)
            self._session.run_with_iobinding(bound, options)
            bound.synchronize_outputs()
            return [value.numpy() for value in outs] if transfers else []

        try:
            call()
        except Exception as error:
            raise ToolError(f"ONNX Runtime failed on {self._name}: {_first_line(error)}") from error
        return call

    def run_codes(self, codes: Sequence[NDArray[np.integer[Any]]]) -> list[NDArray[Any]]:
        """Codes of the outputs, as whole floating-point numbers, from codes of the inputs."""
        results = self.run(self.feeds(codes))
        return [
            np.ldexp(y, lsb) if lsb else y for y, lsb in zip(results, self._out_lsb, strict=True)
        ]


def provider_problem(provider: str) -> str:
    """Why a provider of `PROVIDERS` cannot run here; empty if it can. A small model is tried."""
    try:
        runtime = _runtime()
        wanted, own = _listed(runtime, provider)
    except ToolError as error:
        return error.problem
    settings = runtime.SessionOptions()
    settings.log_severity_level = 4
    try:
        session = runtime.InferenceSession(
            _probe(), settings, providers=[(wanted, own)], enable_fallback=0
        )
        if wanted in session.get_providers():
            session.run(None, {"x": np.zeros((1, 1), dtype=np.float32)})
            return ""
    except Exception as error:
        return f"not run: {wanted} cannot be started here: {_first_line(error)}"
    # ONNX Runtime only logs this and goes on with its CPU provider.
    return f"not run: no GPU, or not its libraries: this onnxruntime's {wanted} does not start."


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ToolError(
            f"ONNX Runtime cannot be imported: {error}.",
            "Install onnxruntime, or ask for the engine 'emulator'.",
        ) from error
    return onnxruntime


def _listed(runtime: Any, provider: str) -> tuple[str, dict[str, str]]:
    """Name and options of a provider of this onnxruntime. Raises `InputError`, `ToolError`."""
    if provider not in PROVIDERS:
        raise InputError(
            f"There is no execution provider {provider!r}.", f"Use one of {', '.join(PROVIDERS)}."
        )
    wanted, options = PROVIDERS[provider]
    has = runtime.get_available_providers()
    if wanted not in has:
        raise ToolError(
            f"not run: {wanted} is not in this onnxruntime (has: {', '.join(has)}).",
            "Install onnxruntime-gpu in place of onnxruntime, on a machine with a GPU.",
        )
    if provider == "tensorrt" and os.environ.setdefault(TF32, "0") != "0":
        raise ToolError(
            f"not run: {TF32}={os.environ[TF32]} lets NVIDIA's libraries use TF32.",
            f"Set {TF32}=0.",
        )
    if provider != "cpu":
        _load_libraries(runtime)
    return wanted, options


def _load_libraries(runtime: Any) -> None:
    """Load NVIDIA's libraries where pip has put them: the providers look in the system's folders
    only. What is missing is told by the provider, which then does not start."""
    preload = getattr(runtime, "preload_dlls", None)
    if preload is not None:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            preload()


def _probe() -> bytes:
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 1]) for n in "xy")
    body = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "probe", [x], [y])
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(body, opset_imports=opset, ir_version=9).SerializeToString()


_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    **{f"tensor({n})": np.dtype(n).type for n in ("int8", "int16", "int32", "int64")},
    **{f"tensor({n})": np.dtype(n).type for n in ("uint8", "uint16", "uint32", "uint64")},
}


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
