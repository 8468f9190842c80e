"""A GPU that is none, for tests: modules with the calls of TensorRT and cuda-python that we use.

"Device memory" is memory of the host, engines are run by ONNX Runtime on the CPU, and a captured
graph is a list of calls that a launch repeats. Each call is written down. It checks that calls
come in an order that CUDA and TensorRT allow; it says nothing about a real GPU.
"""

from __future__ import annotations

import ctypes
import sys
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest


class Kind(IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class Mode(IntEnum):
    cudaStreamCaptureModeThreadLocal = 1


class FakeRuntime:
    """cuda.bindings.runtime: every function returns a tuple that begins with an error."""

    cudaMemcpyKind = Kind
    cudaStreamCaptureMode = Mode
    cudaStreamNonBlocking = 1

    def __init__(self, gpu: FakeGpu) -> None:
        self.gpu = gpu

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> tuple[Any, ...]:
            self.gpu.calls.append(name)
            if name in self.gpu.fail:
                return (self.gpu.fail[name], *([None] * 1))
            results = getattr(self, f"do_{name}")(*arguments)
            return (0, *results)

        if name.startswith("do_"):
            raise AttributeError(f"we use no {name[3:]} of CUDA")
        return call

    def cudaGetErrorString(self, error: int) -> tuple[int, bytes]:
        return 0, f"error number {error}".encode()

    def do_cudaGetDeviceCount(self) -> tuple[int]:
        return (self.gpu.count,)

    def do_cudaGetDeviceProperties(self, n: int) -> tuple[Any]:
        assert n == 0
        return (SimpleNamespace(name=b"Fake GPU\0\0", major=9, minor=0),)

    def do_cudaRuntimeGetVersion(self) -> tuple[int]:
        return (13000,)

    def do_cudaDriverGetVersion(self) -> tuple[int]:
        return (13000,)

    def do_cudaStreamCreateWithFlags(self, flags: int) -> tuple[int]:
        assert flags == self.cudaStreamNonBlocking
        return (77,)

    def do_cudaStreamDestroy(self, stream: int) -> tuple[()]:
        assert stream == 77
        self.gpu.streams_destroyed += 1
        return ()

    def do_cudaStreamSynchronize(self, stream: int) -> tuple[()]:
        assert stream == 77
        assert self.gpu.capturing is None, "a wait inside a capture"
        return ()

    def _allocate(self, size: int) -> tuple[int]:
        assert size > 0
        memory = (ctypes.c_char * size)()
        pointer = ctypes.addressof(memory)
        self.gpu.memory[pointer] = memory
        return (pointer,)

    do_cudaMalloc = do_cudaMallocHost = _allocate

    def _free(self, pointer: int) -> tuple[()]:
        self.gpu.freed.append(self.gpu.memory.pop(pointer))  # kept, so that no address comes twice
        return ()

    do_cudaFree = do_cudaFreeHost = _free

    def do_cudaMemcpyAsync(self, to: int, source: int, size: int, kind: Kind, stream: int) -> Any:
        assert stream == 77
        assert isinstance(kind, Kind)
        assert size <= min(len(self.gpu.memory[to]), len(self.gpu.memory[source]))
        self.gpu.queue(f"copy {kind.name}", lambda: ctypes.memmove(to, source, size))
        return ()

    def do_cudaStreamBeginCapture(self, stream: int, mode: Mode) -> tuple[()]:
        assert stream == 77
        assert mode is Mode.cudaStreamCaptureModeThreadLocal
        assert self.gpu.capturing is None
        assert self.gpu.executed > 0, "TensorRT should run once before it is captured"
        self.gpu.capturing = []
        return ()

    def do_cudaStreamEndCapture(self, stream: int) -> tuple[Any]:
        assert self.gpu.capturing is not None
        captured, self.gpu.capturing = self.gpu.capturing, None
        return (captured,)

    def do_cudaGraphInstantiate(self, graph: list, flags: int) -> tuple[Any]:
        assert flags == 0
        self.gpu.graphs.append(list(graph))
        return (len(self.gpu.graphs) - 1,)

    def do_cudaGraphDestroy(self, graph: list) -> tuple[()]:
        graph.clear()
        return ()

    def do_cudaGraphExecDestroy(self, graph: int) -> tuple[()]:
        assert self.gpu.graphs[graph]
        self.gpu.graphs[graph] = []
        return ()

    def do_cudaGraphLaunch(self, graph: int, stream: int) -> tuple[()]:
        assert stream == 77
        assert self.gpu.graphs[graph], "a graph that is destroyed"
        for _, work in self.gpu.graphs[graph]:
            work()
        return ()

    def do_cudaEventCreate(self) -> tuple[list]:
        return ([],)

    def do_cudaEventRecord(self, event: list, stream: int) -> tuple[()]:
        self.gpu.clock += 1.5
        event[:] = [self.gpu.clock]
        return ()

    def do_cudaEventSynchronize(self, event: list) -> tuple[()]:
        assert event
        return ()

    def do_cudaEventElapsedTime(self, start: list, stop: list) -> tuple[float]:
        return (stop[0] - start[0],)

    def do_cudaEventDestroy(self, event: list) -> tuple[()]:
        return ()


class Flags(IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(IntEnum):
    TF32 = 3


class Pool(IntEnum):
    WORKSPACE = 0


class Io(IntEnum):
    INPUT = 1
    OUTPUT = 2


class FakeGpu:
    """What the fake modules do and remember; ``fail``: CUDA functions that give this error."""

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self.calls: list[str] = []
        self.fail: dict[str, int] = {}
        self.memory: dict[int, Any] = {}
        self.freed: list[Any] = []
        self.capturing: list | None = None
        self.graphs: list[list] = []
        self.executed = 0
        self.clock = 0.0
        self.streams_destroyed = 0
        self.builds: list[dict[str, Any]] = []
        self.refuse = ""
        self.version = "11.4.0.106"

    def queue(self, name: str, work: Any) -> None:
        if self.capturing is None:
            work()
        else:
            self.capturing.append((name, work))

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
        runtime = FakeRuntime(self)
        bindings = ModuleType("cuda.bindings")
        bindings.runtime = runtime
        cuda = ModuleType("cuda")
        cuda.bindings = bindings
        for name, module in (("cuda", cuda), ("cuda.bindings", bindings)):
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", runtime)
        monkeypatch.setitem(sys.modules, "tensorrt", self.tensorrt())
        return self

    def tensorrt(self) -> ModuleType:
        trt = ModuleType("tensorrt")
        trt.__version__ = self.version
        trt.float32 = "float32"
        trt.Logger = type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None})
        trt.NetworkDefinitionCreationFlag = Flags
        trt.BuilderFlag = BuilderFlag
        trt.MemoryPoolType = Pool
        trt.TensorIOMode = Io
        trt.Builder = lambda logger: _Builder(self)
        trt.OnnxParser = lambda network, logger: _Parser(self, network)
        trt.Runtime = lambda logger: SimpleNamespace(
            deserialize_cuda_engine=lambda plan: _Engine(self, plan)
        )
        return trt


class _Builder:
    def __init__(self, gpu: FakeGpu) -> None:
        self.gpu = gpu

    def create_network(self, flags: int) -> Any:
        assert flags == 1 << Flags.STRONGLY_TYPED
        return SimpleNamespace(model=b"", num_inputs=0)

    def create_builder_config(self) -> Any:
        self.config: dict[str, Any] = {"cleared": []}
        return SimpleNamespace(
            clear_flag=self.config["cleared"].append,
            set_memory_pool_limit=lambda pool, size: self.config.update(pool=(pool, size)),
            add_optimization_profile=lambda profile: self.config.update(shapes=profile.shapes),
        )

    def create_optimization_profile(self) -> Any:
        shapes: dict[str, tuple] = {}

        def set_shape(name: str, least: tuple, usual: tuple, most: tuple) -> None:
            shapes[name] = (least, usual, most)

        return SimpleNamespace(shapes=shapes, set_shape=set_shape)

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        assert network.model, "built before anything was parsed"
        assert set(self.config["shapes"]) == {t.name for t in network.tensors}
        self.gpu.builds.append(self.config)
        return None if self.gpu.refuse == "build" else b"plan" + network.model


class _Parser:
    num_errors = 1

    def __init__(self, gpu: FakeGpu, network: Any) -> None:
        self.gpu, self.network = gpu, network

    def parse(self, model: bytes) -> bool:
        if self.gpu.refuse == "parse":
            return False
        loaded = onnx.load_model_from_string(model)
        network = self.network
        network.model = model
        network.tensors = [
            SimpleNamespace(
                name=i.name,
                shape=[d.dim_value or -1 for d in i.type.tensor_type.shape.dim],
            )
            for i in loaded.graph.input
        ]
        network.num_inputs = len(network.tensors)
        network.get_input = lambda n: network.tensors[n]
        return True

    def get_error(self, n: int) -> str:
        return f"parser error {n}"


class _Engine:
    def __init__(self, gpu: FakeGpu, plan: bytes) -> None:
        assert plan.startswith(b"plan")
        self.gpu = gpu
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.session = onnxruntime.InferenceSession(
            plan[4:], options, providers=["CPUExecutionProvider"]
        )
        self.names = [(i.name, Io.INPUT) for i in self.session.get_inputs()]
        self.names += [(o.name, Io.OUTPUT) for o in self.session.get_outputs()]
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, n: int) -> str:
        return self.names[n][0]

    def get_tensor_mode(self, name: str) -> Io:
        return dict(self.names)[name]

    def get_tensor_dtype(self, name: str) -> str:
        return "float32"

    def create_execution_context(self) -> _Context:
        return _Context(self)


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self.engine = engine
        self.shapes: dict[str, tuple] = {}
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple) -> bool:
        self.shapes[name] = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert address in self.engine.gpu.memory
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        gpu = self.engine.gpu
        assert stream == 77
        assert set(self.addresses) == {name for name, _ in self.engine.names}
        gpu.executed += 1

        def work() -> None:
            feeds = {}
            for name, shape in self.shapes.items():
                memory = gpu.memory[self.addresses[name]]
                count = int(np.prod(shape))
                feeds[name] = np.frombuffer(memory, np.float32, count).reshape(shape)
            for (name, mode), y in zip(
                [pair for pair in self.engine.names if pair[1] is Io.OUTPUT],
                self.engine.session.run(None, feeds),
                strict=True,
            ):
                assert mode is Io.OUTPUT
                memory = gpu.memory[self.addresses[name]]
                np.frombuffer(memory, np.float32, y.size)[:] = y.ravel()

        gpu.queue("network", work)
        return True
