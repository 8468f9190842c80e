"""Engines as a bench needs them: a call on inputs that lie ready, with one thread or several."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from hairtrigger.backends.onnx import IR_VERSION, OPSET, Border, to_onnx
from hairtrigger.bench.inputs import Codes
from hairtrigger.bench.scenarios import Call
from hairtrigger.engines import CPP, EMULATOR, FP32, FP64
from hairtrigger.errors import InputError, ToolError
from hairtrigger.graph.exact import FLOAT32, FLOAT64
from hairtrigger.graph.graph import Graph

SLICES = "slices"
"""A batch is cut into one slice for each thread; every slice is worked on in one thread."""
OWN = "own threads"
"""The engine has the whole batch and shares it among its threads as it sees fit."""


class Engine(Protocol):
    """What is measured. ``words``: version and device, for people; ``device``: "CPU" or "GPU"."""

    @property
    def name(self) -> str:
        """Name on the command line."""
        ...

    @property
    def words(self) -> str:
        """Version and device."""
        ...

    @property
    def device(self) -> str:
        """CPU or GPU."""
        ...

    @property
    def transfers(self) -> tuple[str, ...]:
        """ "with" and "without" transfers to a device and back; "" where there is none apart."""
        ...

    @property
    def batches(self) -> tuple[int, ...] | None:
        """Numbers of events that a call may have; None for any."""
        ...

    def run(self, codes: Codes) -> Codes:
        """Codes of the outputs (events, *shape), as int64."""
        ...

    def ways(self, threads: int) -> tuple[str, ...]:
        """How it can use so many threads; empty where it cannot."""
        ...

    def bind(self, codes: Codes, threads: int, way: str, transfers: str = "") -> Call:
        """A call that works on these events; what it needs of them is made ready before."""
        ...

    def floor(self) -> Call | None:
        """A call that goes the same way and computes nothing, or None where there is none."""
        ...

    def close(self) -> None:
        """Let go of threads and devices. Calls that were bound do not work after that."""
        ...


@dataclass
class Pools:
    """Thread pools by their size."""

    _pools: dict[int, ThreadPoolExecutor] = field(default_factory=dict)

    def together(self, calls: Sequence[Call]) -> Call:
        """One call that does all, each in a thread of its own, and comes back when all are done."""
        if len(calls) == 1:
            return calls[0]
        if len(calls) not in self._pools:
            self._pools[len(calls)] = ThreadPoolExecutor(len(calls))
        submit = self._pools[len(calls)].submit

        def call() -> None:
            for task in [submit(one) for one in calls]:
                task.result()

        return call

    def close(self) -> None:
        """End the threads."""
        for pool in self._pools.values():
            pool.shutdown()
        self._pools.clear()


def slices(codes: Codes, threads: int) -> list[Codes]:
    """A batch in equal parts, as many as threads, or as events where there are fewer."""
    cuts = np.linspace(0, len(codes[0]), min(threads, len(codes[0])) + 1).astype(int)
    return [tuple(x[a:b] for x in codes) for a, b in pairwise(cuts)]


class OnHost:
    """What engines in this machine's own memory share."""

    device = "CPU"
    transfers: tuple[str, ...] = ("",)
    batches: tuple[int, ...] | None = None


class CppEngine(OnHost):
    """Generated C++ through its C interface, called from Python by ctypes."""

    name = CPP

    def __init__(self, graph: Graph) -> None:
        from hairtrigger.cpp.library import compile_graph
        from hairtrigger.tools.compiler import find_compiler

        self._library = compile_graph(graph)
        self._graph = graph
        self._pools = Pools()
        self.words = f"generated C++, {find_compiler().version}"

    def run(self, codes: Codes) -> Codes:
        return tuple(x.astype(np.int64) for x in self._library(*codes))

    def ways(self, threads: int) -> tuple[str, ...]:
        return (SLICES,)

    def bind(self, codes: Codes, threads: int, way: str = SLICES, transfers: str = "") -> Call:
        return self._pools.together([self._bound(part) for part in slices(codes, threads)])

    def _bound(self, codes: Codes) -> Call:
        library = self._library
        ins = [
            np.ascontiguousarray(x, dtype=dtype)
            for x, dtype in zip(codes, library.in_dtypes, strict=True)
        ]
        outs = [
            np.empty((len(codes[0]), *t.shape), dtype=dtype)
            for t, dtype in zip(self._graph.output_types, library.out_dtypes, strict=True)
        ]
        return library.bind(ins, outs)

    def floor(self) -> Call:
        return self._bound(
            tuple(np.zeros((0, *op.type.shape), int) for op in self._graph.input_ops)
        )

    def close(self) -> None:
        self._pools.close()


class OnnxEngine(OnHost):
    """ONNX Runtime on the CPU with the exact model, whose inputs are codes.

    Inputs and outputs lie in memory that is bound before, the quickest way to call it from Python.
    """

    def __init__(self, graph: Graph, name: str) -> None:
        carrier = {FP32: FLOAT32, FP64: FLOAT64}[name]
        model = to_onnx(graph, carrier=carrier, border=Border.CODES)
        real = np.float32 if carrier is FLOAT32 else np.float64
        self._prepare(graph, name, model, real)
        self.words += f", exact in {carrier.name}"

    def _prepare(self, graph: Graph, name: str, model: Any, real: type) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ToolError(
                f"ONNX Runtime cannot be imported: {error}.", "pip install onnxruntime"
            ) from error
        self.name = name
        self.words = f"ONNX Runtime {onnxruntime.__version__}"
        self._ort = onnxruntime
        self._graph = graph
        self._model: bytes = model.SerializeToString()
        self._real = real
        self._sessions: dict[int, Any] = {}
        self._pools = Pools()

    def _session(self, threads: int) -> Any:
        if threads not in self._sessions:
            self._sessions[threads] = self._load(self._model, threads)
        return self._sessions[threads]

    def _load(self, model: bytes, threads: int) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("mlas.enable_gemm_fastmath_arm64_bfloat16", "0")
        return self._ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(self, codes: Codes) -> Codes:
        session = self._session(1)
        feeds = dict(zip(_names(session), self._ready(session, codes), strict=True))
        return tuple(np.rint(y).astype(np.int64) for y in session.run(None, feeds))

    def ways(self, threads: int) -> tuple[str, ...]:
        return (SLICES,) if threads == 1 else (SLICES, OWN)

    def bind(self, codes: Codes, threads: int, way: str = SLICES, transfers: str = "") -> Call:
        if way == OWN:
            return self._bound(self._session(threads), codes)
        parts = slices(codes, threads)
        return self._pools.together([self._bound(self._session(1), part) for part in parts])

    def _ready(self, session: Any, codes: Codes) -> list[np.ndarray]:
        return [
            np.ascontiguousarray(x, dtype=_DTYPES[i.type])
            for x, i in zip(codes, session.get_inputs(), strict=True)
        ]

    def _bound(self, session: Any, codes: Codes) -> Call:
        binding = session.io_binding()
        kept = self._ready(session, codes)
        for name, x in zip(_names(session), kept, strict=True):
            binding.bind_cpu_input(name, x)
        outs: list[np.ndarray] = []
        for info, t in zip(session.get_outputs(), self._graph.output_types, strict=True):
            y = np.empty((len(codes[0]), *t.shape), dtype=self._real)
            outs.append(y)
            address = y.ctypes.data
            binding.bind_output(info.name, "cpu", 0, self._real, y.shape, address)
        run = session.run_with_iobinding

        def call(_kept: object = (kept, outs)) -> None:
            run(binding)

        return call

    def floor(self) -> Call:
        """A model that hands one event's first input through."""
        from onnx import helper

        op, info = self._graph.input_ops[0], self._session(1).get_inputs()[0]
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(_DTYPES[info.type]))
        shape = ["events", *op.type.shape]
        x, y = (helper.make_tensor_value_info(n, kind, shape) for n in ("x", "y"))
        node = helper.make_node("Identity", ["x"], ["y"])
        model = helper.make_model(
            helper.make_graph([node], "floor", [x], [y]),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        session = self._load(model.SerializeToString(), 1)
        binding = session.io_binding()
        value = np.zeros((1, *op.type.shape), dtype=_DTYPES[info.type])
        out = np.empty_like(value)
        binding.bind_cpu_input("x", value)
        binding.bind_output("y", "cpu", 0, value.dtype.type, out.shape, out.ctypes.data)

        def call(_kept: object = (value, out)) -> None:
            session.run_with_iobinding(binding)

        return call

    def close(self) -> None:
        self._pools.close()
        self._sessions.clear()


class EmulatorEngine(OnHost):
    """The NumPy emulator: the definition of what is right, not made to be fast."""

    name = EMULATOR

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.words = f"NumPy {np.__version__}"

    def run(self, codes: Codes) -> Codes:
        from hairtrigger.engines import run_codes

        return run_codes(self._graph, codes, engine=EMULATOR).codes

    def ways(self, threads: int) -> tuple[str, ...]:
        return (SLICES,)

    def bind(self, codes: Codes, threads: int, way: str = SLICES, transfers: str = "") -> Call:
        from hairtrigger.engines import run_codes

        graph = self._graph
        return lambda: run_codes(graph, codes, engine=EMULATOR, threads=threads)

    def floor(self) -> None:
        return None

    def close(self) -> None: ...


Maker = Callable[[Graph], Engine]


def _float(graph: Graph) -> Engine:
    from hairtrigger.bench.float_engines import FloatEngine

    return FloatEngine(graph)


def _xla(graph: Graph) -> Engine:
    from hairtrigger.bench.float_engines import XlaEngine

    return XlaEngine(graph)


CPU_ENGINES: Mapping[str, Maker] = {
    CPP: CppEngine,
    FP32: lambda graph: OnnxEngine(graph, FP32),
    FP64: lambda graph: OnnxEngine(graph, FP64),
    "onnxruntime-float": _float,
    "xla": _xla,
    EMULATOR: EmulatorEngine,
}


def _gpu(name: str) -> Maker:
    def make(graph: Graph) -> Engine:
        from hairtrigger.bench.gpu_engines import RunnerEngine

        return RunnerEngine(graph, name)

    return make


GPU_ENGINES: Mapping[str, Maker] = {
    name: _gpu(name)
    for name in (
        *("onnxruntime-cuda", "onnxruntime-tensorrt"),
        *("tensorrt-fp32", "tensorrt-int8", "xla-gpu"),
    )
}
FPGA = "fpga"
"""Simulated Verilog: not called in a loop of this machine's time; see `hairtrigger.bench.fpga`."""
GROUPS = ("cpu", "gpu", FPGA)


def processors() -> int:
    """Processors that this process may use."""
    known = getattr(os, "sched_getaffinity", None)
    return len(known(0)) if known else os.cpu_count() or 1


def choose(words: str) -> tuple[tuple[str, ...], bool]:
    """Names of engines, and whether the FPGA is asked for, from ``cpu,gpu,fpga`` or single names.

    Raises `InputError` for an unknown one.
    """
    groups = {"cpu": tuple(CPU_ENGINES), "gpu": tuple(GPU_ENGINES)}
    found: list[str] = []
    fpga = False
    for word in (w.strip() for w in words.split(",")):
        if word == FPGA:
            fpga = True
        elif word in groups:
            found += groups[word]
        elif word in CPU_ENGINES or word in GPU_ENGINES:
            found.append(word)
        else:
            known = (*GROUPS, *CPU_ENGINES, *GPU_ENGINES)
            raise InputError(f"there is no engine {word!r}", f"use some of {', '.join(known)}")
    return tuple(dict.fromkeys(found)), fpga


def _names(session: Any) -> list[str]:
    return [i.name for i in session.get_inputs()]


_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    **{f"tensor({n})": np.dtype(n).type for n in ("int8", "int16", "int32", "int64")},
    **{f"tensor({n})": np.dtype(n).type for n in ("uint8", "uint16", "uint32", "uint64")},
}
