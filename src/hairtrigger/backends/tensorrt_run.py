"""TensorRT engines on a GPU: built once and kept by content, captured as CUDA graphs, timed.

Written by the documented API of TensorRT 10 and 11 and of cuda-python; see
docs/backends/tensorrt.md for what was run where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hairtrigger.backends.cuda import EXTRA, Buffer, Cuda
from hairtrigger.backends.runner import Timing, clock
from hairtrigger.backends.tensorrt_build import OLDEST, WORKSPACE, build_plan
from hairtrigger.errors import InputError, ToolError
from hairtrigger.fixed import IntArray
from hairtrigger.graph.graph import Graph
from hairtrigger.tools import cache

KIND = "tensorrt"
CHUNK = 4096
"""Events of one call of `TensorRtRunner.run`."""


def import_tensorrt() -> Any:
    """TensorRT, 10 or newer. Raises `ToolError` ("not run: ...")."""
    try:
        import tensorrt
    except Exception as error:  # it loads libraries when it is imported, and they may be missing
        raise ToolError(f"not run: TensorRT cannot be imported: {error}.", EXTRA) from None
    if int(tensorrt.__version__.split(".")[0]) < OLDEST:
        raise ToolError(f"not run: TensorRT {tensorrt.__version__} is older than {OLDEST}.", EXTRA)
    return tensorrt


def problem() -> str:
    """Why no engine can run here; empty if one can."""
    try:
        import_tensorrt()
        Cuda()
    except ToolError as error:
        return error.problem
    return ""


def obtain_plan(model: bytes, batches: tuple[int, int, int]) -> bytes:
    """The engine of a model for these batches on this GPU: from the cache, or built.

    The key has the model, the batches, TensorRT's version, the GPU and its driver. Raises
    `ToolError`, `StorageError`.
    """
    trt, device = import_tensorrt(), Cuda().device()
    key = cache.content_key(
        [model, repr(batches), str(WORKSPACE), trt.__version__, repr(device), "no tf32"]
    )

    def fill(folder: Path) -> None:
        try:
            plan = build_plan(model, batches)
        except RuntimeError as error:
            raise ToolError(f"TensorRT: {error}") from error
        (folder / "plan").write_bytes(plan)

    return (cache.obtain(cache.cache_folder(), KIND, key, fill) / "plan").read_bytes()


class Bound:
    """An engine with buffers for one number of events, its calls captured as CUDA graphs."""

    def __init__(self, graph: Graph, plan: bytes, batch: int) -> None:
        trt = import_tensorrt()
        self.cuda = Cuda()
        self.buffers: dict[str, Buffer] = {}
        self._graphs: list[Any] = []
        self.stream: Any = self.cuda.stream()
        try:
            self._logger = trt.Logger(trt.Logger.ERROR)
            self._runtime = trt.Runtime(self._logger)
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                raise ToolError("TensorRT cannot read the engine.", "Remove the cache and retry.")
            self._context = self._engine.create_execution_context()
            if self._context is None:
                raise ToolError("TensorRT has no memory for the engine.", "Free memory of the GPU.")
            self.inputs, self.outputs = self._bind(trt, graph, batch)
            self._enqueue()  # once before capture: what is set up lazily is not captured
            self.cuda.wait(self.stream)
            self.compute = self._capture(self._enqueue)
            self.whole = self._capture(self._with_transfers)
        except BaseException:
            self.close()
            raise

    def _bind(self, trt: Any, graph: Graph, batch: int) -> tuple[list[Buffer], list[Buffer]]:
        engine, context = self._engine, self._context
        found: dict[Any, list[Buffer]] = {trt.TensorIOMode.INPUT: [], trt.TensorIOMode.OUTPUT: []}
        types = {
            trt.TensorIOMode.INPUT: [op.type for op in graph.input_ops],
            trt.TensorIOMode.OUTPUT: list(graph.output_types),
        }
        for n in range(engine.num_io_tensors):
            name = engine.get_tensor_name(n)
            mode = engine.get_tensor_mode(name)
            shape = (batch, *types[mode][len(found[mode])].shape)
            if engine.get_tensor_dtype(name) != trt.float32:
                raise ToolError(f"TensorRT's tensor {name!r} is not float32.")
            buffer = Buffer(self.cuda, shape, np.float32)
            self.buffers[name] = buffer
            found[mode].append(buffer)
            if mode == trt.TensorIOMode.INPUT and not context.set_input_shape(name, shape):
                raise ToolError(f"TensorRT does not take shape {shape} for {name!r}.")
            if not context.set_tensor_address(name, int(buffer.device)):
                raise ToolError(f"TensorRT does not take the memory of {name!r}.")
        return found[trt.TensorIOMode.INPUT], found[trt.TensorIOMode.OUTPUT]

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(int(self.stream)):
            raise ToolError("TensorRT could not run the engine.")

    def _with_transfers(self) -> None:
        for buffer in self.inputs:
            buffer.to_device(self.stream)
        self._enqueue()
        for buffer in self.outputs:
            buffer.to_host(self.stream)

    def _capture(self, work: Callable[[], None]) -> Any:
        """What ``work`` queues, as a CUDA graph that can be launched."""
        runtime = self.cuda.runtime
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self.cuda.call("cudaStreamBeginCapture", self.stream, mode)
        try:
            work()
        finally:  # an open capture would make every later call fail
            (graph,) = self.cuda.call("cudaStreamEndCapture", self.stream)
        (ready,) = self.cuda.call("cudaGraphInstantiate", graph, 0)
        self.cuda.call("cudaGraphDestroy", graph)
        self._graphs.append(ready)
        return ready

    def launch(self, graph: Any) -> None:
        """Queue a captured graph and wait for it."""
        self.cuda.call("cudaGraphLaunch", graph, self.stream)
        self.cuda.wait(self.stream)

    def device_seconds(self, repeats: int) -> Any:
        """Seconds of each of ``repeats`` calls without transfers, by the GPU's own events."""
        (start,), (stop,) = (self.cuda.call("cudaEventCreate") for _ in range(2))
        found = np.empty(repeats)
        try:
            self.launch(self.compute)
            for n in range(repeats):
                self.cuda.call("cudaEventRecord", start, self.stream)
                self.cuda.call("cudaGraphLaunch", self.compute, self.stream)
                self.cuda.call("cudaEventRecord", stop, self.stream)
                self.cuda.call("cudaEventSynchronize", stop)
                (milliseconds,) = self.cuda.call("cudaEventElapsedTime", start, stop)
                found[n] = milliseconds / 1000
        finally:
            for event in (start, stop):
                self.cuda.call("cudaEventDestroy", event)
        return found

    def close(self) -> None:
        """Free graphs, memory and the stream."""
        for graph in self._graphs:
            self.cuda.call("cudaGraphExecDestroy", graph)
        for buffer in self.buffers.values():
            buffer.free()
        self._graphs, self.buffers = [], {}
        if self.stream is not None:
            self.cuda.call("cudaStreamDestroy", self.stream)
            self.stream = None


class TensorRtRunner:
    """A Graph on TensorRT; see `hairtrigger.backends.runner.Runner`.

    ``kind``: "fp32" or "int8"; ``model``: the bytes of its ONNX file. ``batches``: one engine for
    fewest, usual and most events; None: an engine for each number of events that is asked for,
    which is fastest to run, and takes seconds to a minute to build the first time. Raises
    `ToolError` ("not run: ...").
    """

    batches: tuple[int, ...] | None = None
    device = "GPU"

    def __init__(
        self,
        graph: Graph,
        kind: str,
        model: bytes,
        batches: tuple[int, int, int] | None = None,
    ) -> None:
        trt, gpu = import_tensorrt(), Cuda().device()
        self.graph, self.kind, self._model, self._fixed = graph, kind, model, batches
        self.name, self.exact = f"tensorrt-{kind}", kind == "fp32"
        self.engine = (
            f"TensorRT {trt.__version__} {kind}, TF32 off, CUDA graph, on {gpu.name} "
            f"(compute capability {gpu.capability}, driver {gpu.driver})"
        )
        self._bound: dict[int, Bound] = {}

    def bound(self, events: int) -> Bound:
        """The engine for so many events."""
        if events not in self._bound:
            batches = self._fixed or (events, events, events)
            if not batches[0] <= events <= batches[2]:
                raise InputError(
                    f"{events} events, and the engine is for {batches[0]} to {batches[2]}.",
                    "Choose other batches.",
                )
            plan = obtain_plan(self._model, batches)
            self._bound[events] = Bound(self.graph, plan, events)
        return self._bound[events]

    def run(self, codes: Sequence[IntArray]) -> tuple[IntArray, ...]:
        """Codes nearest to the GPU's numbers; in chunks, the last filled up with zeros."""
        events = len(codes[0])
        outs = tuple(np.empty((events, *t.shape), dtype=np.int64) for t in self.graph.output_types)
        step = min(max(events, 1), CHUNK)
        for start in range(0, events, step):
            stop = min(start + step, events)
            bound = self.bound(step)
            self._fill(bound, [x[start:stop] for x in codes])
            bound.launch(bound.whole)
            for out, buffer, t in zip(outs, bound.outputs, self.graph.output_types, strict=True):
                real = np.ldexp(buffer.host[: stop - start].astype(np.float64), t.lsb)
                out[start:stop] = np.rint(real)
        return outs

    def _fill(self, bound: Bound, codes: Sequence[IntArray]) -> None:
        for buffer, x, op in zip(bound.inputs, codes, self.graph.input_ops, strict=True):
            buffer.host[: len(x)] = np.ldexp(x.astype(np.float64), -op.type.lsb)
            buffer.host[len(x) :] = 0

    def bind(self, codes: Sequence[IntArray], transfers: bool = True) -> Callable[[], object]:
        """A launch of a CUDA graph, and the wait for it. One binding of so many events holds at a
        time: they share buffers."""
        bound = self.bound(len(codes[0]))
        self._fill(bound, codes)
        if transfers:
            return lambda: bound.launch(bound.whole)
        bound.launch(bound.whole)  # brings the inputs there
        return lambda: bound.launch(bound.compute)

    def timed(self, codes: Sequence[IntArray], repeats: int) -> Timing:
        """With transfers: pinned host memory to device, network, and back, by the host's clock.
        Without: the network alone, by CUDA's events."""
        whole = clock(self.bind(codes), repeats)
        return Timing(whole, self.bound(len(codes[0])).device_seconds(repeats))

    def close(self) -> None:
        """Free the GPU's memory."""
        for bound in self._bound.values():
            bound.close()
        self._bound = {}
