"""The engines that can run a Graph here, and why the others cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from hairtrigger.backends.onnx import Border, choose_carrier, content_key, to_onnx
from hairtrigger.backends.onnx import unsupported as onnx_unsupported
from hairtrigger.backends.onnx_session import (
    CUDA_GRAPHS,
    PROVIDERS,
    Session,
    provider_problem,
)
from hairtrigger.backends.runner import Runner, Timing, clock, no_device
from hairtrigger.errors import InputError, ToolError, UnsupportedError
from hairtrigger.fixed import IntArray
from hairtrigger.graph.emulate import emulate_codes
from hairtrigger.graph.exact import FLOAT32, float_exact
from hairtrigger.graph.graph import Graph

CPP, EMULATOR, XLA = "cpp", "emulator", "xla"
ORT = {f"onnxruntime-{provider}": provider for provider in PROVIDERS}
TENSORRT = {"tensorrt-fp32": "fp32", "tensorrt-int8": "int8"}
NAMES = (CPP, EMULATOR, *ORT, *TENSORRT, XLA)


@dataclass(frozen=True)
class Found:
    """One engine for one Graph. ``reason``: why it cannot run here, in words; empty if it can."""

    name: str
    reason: str
    graph: Graph

    @property
    def runs(self) -> bool:
        """Can it run?"""
        return not self.reason

    def open(self, threads: int = 1) -> Runner:
        """The engine, ready to be called. ``threads``: inside one call, on the CPU only. Raises
        `ToolError` or `UnsupportedError` with the reason."""
        return open_runner(self.graph, self.name, threads)


def runners(graph: Graph) -> tuple[Found, ...]:
    """Every engine of `NAMES`, with the reason where it cannot run this Graph on this machine."""
    return tuple(Found(name, _reason(graph, name), graph) for name in NAMES)


def open_runner(graph: Graph, name: str, threads: int = 1) -> Runner:
    """An engine of `NAMES` for a Graph; see `Found.open`. Raises `InputError` for another name."""
    if name not in NAMES:
        raise InputError(f"There is no engine {name!r}.", f"Use one of {', '.join(NAMES)}.")
    if threads < 1:
        raise InputError(f"threads={threads}.", "Give a whole number from 1 on.")
    problems = _unsupported(graph, name)
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise UnsupportedError(
            f"{name} cannot run Graph {graph.name!r}:{listed}", "Use another engine."
        )
    if name == CPP:
        return CppRunner(graph, threads)
    if name == EMULATOR:
        return EmulatorRunner(graph)
    if name == XLA:
        return XlaRunner(graph)
    if name in ORT:
        return OnnxRunner(graph, ORT[name], threads)
    from hairtrigger.backends.tensorrt import to_model
    from hairtrigger.backends.tensorrt_run import TensorRtRunner

    kind = TENSORRT[name]
    return TensorRtRunner(graph, kind, to_model(graph, kind).SerializeToString())


def _unsupported(graph: Graph, name: str) -> list[str]:
    """Why an engine cannot carry the Graph on any machine; empty if it can."""
    if not graph.pure:
        return [f"The Graph has {len(graph.updates)} registers; runners call events in any order."]
    if not graph.inputs:
        return ["The Graph has no Input, so nothing says how many events there are."]
    if name == CPP:
        from hairtrigger.backends.cpp import unsupported

        return unsupported(graph)
    if name == XLA:
        from hairtrigger.backends import xla

        return xla.unsupported(graph)
    if name in TENSORRT:
        from hairtrigger.backends import tensorrt

        return tensorrt.unsupported(graph, tensorrt.Target(TENSORRT[name]))
    if name in ORT:
        return _onnx_unsupported(graph, ORT[name])
    return []


def _onnx_unsupported(graph: Graph, provider: str) -> list[str]:
    if provider == "cpu":
        return onnx_unsupported(graph)
    return list(float_exact(graph, FLOAT32).reasons)


def _reason(graph: Graph, name: str) -> str:
    """Why it does not run here; empty if it does."""
    problems = _unsupported(graph, name)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return f"{problems[0]}{more}"
    try:
        if name == CPP:
            from hairtrigger.tools.compiler import find_compiler

            find_compiler()
        elif name == XLA:
            from hairtrigger.backends.xla import import_jax

            import_jax().devices()
        elif name in ORT:
            return provider_problem(ORT[name])
        elif name in TENSORRT:
            from hairtrigger.backends.tensorrt_run import problem

            return problem()
    except ToolError as error:
        return error.problem
    except RuntimeError as error:  # JAX, where a device that is asked for is not there
        return f"not run: JAX finds no device: {str(error).splitlines()[0]}"
    return ""


# --- on the CPU ----------------------------------------------------------------------------------


class _OnHost:
    """What runners without a device of their own share."""

    name = ""
    device = "CPU"
    exact = True
    batches: tuple[int, ...] | None = None

    def bind(self, codes: Sequence[IntArray], transfers: bool = True) -> Callable[[], object]:
        """Every runner has its own; see `Runner`."""
        raise NotImplementedError(type(self).__name__)

    def timed(self, codes: Sequence[IntArray], repeats: int) -> Timing:
        """See `Runner`."""
        return Timing(clock(self.bind(codes), repeats))

    def close(self) -> None:
        """Nothing is held that memory management does not free."""


class CppRunner(_OnHost):
    """Generated C++ through ctypes; a batch is cut into one part for each thread."""

    name = CPP

    def __init__(self, graph: Graph, threads: int = 1) -> None:
        from hairtrigger.cpp.library import compile_graph
        from hairtrigger.tools.compiler import find_compiler

        self.graph, self.threads, self._library = graph, threads, compile_graph(graph)
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self.engine = f"generated C++ by {find_compiler().version}, {threads} thread(s)"

    def run(self, codes: Sequence[IntArray]) -> tuple[IntArray, ...]:
        """See `Runner`."""
        return tuple(x.astype(np.int64) for x in self._library(*codes))

    def bind(self, codes: Sequence[IntArray], transfers: bool = True) -> Callable[[], object]:
        """See `Runner`."""
        if not transfers:
            raise no_device(self.name)
        library, events = self._library, len(codes[0])
        inputs = [
            np.ascontiguousarray(x, dtype=dtype)
            for x, dtype in zip(codes, library.in_dtypes, strict=True)
        ]
        outs = [
            np.empty((events, *t.shape), dtype=dtype)
            for t, dtype in zip(self.graph.output_types, library.out_dtypes, strict=True)
        ]
        cuts = np.linspace(0, events, min(self.threads, max(events, 1)) + 1).astype(int)
        calls = [
            library.bind([x[a:b] for x in inputs], [y[a:b] for y in outs])
            for a, b in pairwise(cuts)
        ]
        if self._pool is None or len(calls) == 1:
            return calls[0]
        submit = self._pool.submit
        return lambda: [task.result() for task in [submit(call) for call in calls]]

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


class EmulatorRunner(_OnHost):
    """The NumPy emulator, which defines what is right."""

    name = EMULATOR

    def __init__(self, graph: Graph) -> None:
        self.graph, self.engine = graph, f"emulator on NumPy {np.__version__}"

    def run(self, codes: Sequence[IntArray]) -> tuple[IntArray, ...]:
        """See `Runner`."""
        return emulate_codes(self.graph, codes)

    def bind(self, codes: Sequence[IntArray], transfers: bool = True) -> Callable[[], object]:
        """See `Runner`."""
        if not transfers:
            raise no_device(self.name)
        return lambda: emulate_codes(self.graph, codes)


# --- ONNX Runtime and XLA, on the CPU or a GPU ---------------------------------------------------


class OnnxRunner(_OnHost):
    """ONNX Runtime with the exact model on one of its providers."""

    def __init__(self, graph: Graph, provider: str, threads: int = 1) -> None:
        import onnxruntime

        gpu = provider != "cpu"
        carrier = FLOAT32 if gpu else choose_carrier(graph)
        # TensorRT takes uint8 at the border only; real numbers are taken by all of them.
        border = Border.VALUES if gpu else Border.CODES
        model = to_onnx(graph, carrier=carrier, border=border, products=gpu)
        name = f"the model of Graph {graph.name!r}"
        self.graph, self.name = graph, f"onnxruntime-{provider}"
        self.device = "GPU" if gpu else "CPU"
        file, key = model.SerializeToString(), content_key(graph)
        self._session = Session(graph, file, key, name, provider=provider, threads=threads)
        self._bound, graphs = self._session, ""
        if provider == "cuda":
            self._bound, graphs = self._with_graphs(file, key, name)
        on = f"{PROVIDERS[provider][0]}, TF32 off{graphs}" if gpu else f"CPU, {threads} thread(s)"
        self.engine = f"ONNX Runtime {onnxruntime.__version__}, {carrier.name}, on {on}"

    def _with_graphs(self, model: bytes, key: str, name: str) -> tuple[Session, str]:
        """A session that repeats captured CUDA graphs, or the plain one, and words on it."""
        try:
            session = Session(
                self.graph, model, key, name, provider="cuda", options=dict(CUDA_GRAPHS)
            )
            one = [np.zeros((1, *op.type.shape), dtype=np.int64) for op in self.graph.input_ops]
            session.on_device(session.feeds(one), self._shapes(1))()
        except ToolError as error:
            return self._session, f", without CUDA graphs ({error.problem})"
        return session, ", CUDA graphs"

    def _shapes(self, events: int) -> list[tuple[int, ...]]:
        return [(events, *t.shape) for t in self.graph.output_types]

    def run(self, codes: Sequence[IntArray]) -> tuple[IntArray, ...]:
        """See `Runner`."""
        return tuple(np.rint(y).astype(np.int64) for y in self._session.run_codes(codes))

    def bind(self, codes: Sequence[IntArray], transfers: bool = True) -> Callable[[], object]:
        """See `Runner`."""
        feeds = self._session.feeds(codes)
        if self.device == "GPU":
            return self._bound.on_device(feeds, self._shapes(len(codes[0])), transfers)
        if not transfers:
            raise no_device(self.name)
        session = self._session
        return lambda: session.run(feeds)

    def timed(self, codes: Sequence[IntArray], repeats: int) -> Timing:
        """Both by the host's clock: ONNX Runtime waits for the device."""
        there = None
        if self.device == "GPU":
            there = clock(self.bind(codes, transfers=False), repeats)
        return Timing(clock(self.bind(codes), repeats), there)


class XlaRunner(_OnHost):
    """The Graph as a JAX function on JAX's default device."""

    name = XLA

    def __init__(self, graph: Graph) -> None:
        from hairtrigger.backends.xla import import_jax, to_jax

        self._jax = import_jax()
        self._function = to_jax(graph)
        self._place: Any = self._jax.devices()[0]
        self.device = "CPU" if self._place.platform == "cpu" else "GPU"
        self.engine = (
            f"JAX {self._jax.__version__}, int{self._function.word.bits}, on "
            f"{self._place.device_kind or self._place.platform}"
        )

    def run(self, codes: Sequence[IntArray]) -> tuple[IntArray, ...]:
        """See `Runner`."""
        return self._function(codes)

    def bind(self, codes: Sequence[IntArray], transfers: bool = True) -> Callable[[], object]:
        """See `Runner`. XLA compiles for this number of events here."""
        from hairtrigger.backends.xla import wide

        jax, function = self._jax, self._function
        if not transfers and self.device == "CPU":
            raise no_device(self.name)
        host = [np.ascontiguousarray(x, dtype=function.word.dtype) for x in codes]
        with wide(function.word):
            there = [jax.device_put(x, self._place) for x in host]
            compiled = function.jitted.lower(*there).compile()
        if not transfers:
            return lambda: jax.block_until_ready(compiled(*there))
        place = self._place

        def call() -> list[Any]:
            with wide(function.word):
                return [np.asarray(y) for y in compiled(*(jax.device_put(x, place) for x in host))]

        return call

    def timed(self, codes: Sequence[IntArray], repeats: int) -> Timing:
        """Both by the host's clock, which waits for the device."""
        there = None
        if self.device == "GPU":
            there = clock(self.bind(codes, transfers=False), repeats)
        return Timing(clock(self.bind(codes), repeats), there)
