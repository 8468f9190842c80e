"""CUDA's runtime through cuda-python's ``cuda.bindings.runtime``, with its errors made ours."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import ToolError

EXTRA = "Install hairtrigger[tensorrt] on a machine with an NVIDIA GPU and its driver."


@dataclass(frozen=True)
class Device:
    """A GPU: ``name``, compute capability ``capability``, versions of the runtime and driver."""

    name: str
    capability: str
    runtime: int
    driver: int


class Cuda:
    """The first GPU. Raises `ToolError` ("not run: ...") without the bindings or without a GPU."""

    def __init__(self) -> None:
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise ToolError(f"not run: cuda.bindings cannot be imported: {error}.", EXTRA) from None
        self.runtime: Any = runtime
        try:
            (count,) = self.call("cudaGetDeviceCount")
        except ToolError as error:
            raise ToolError(f"not run: no GPU: {error.problem}", EXTRA) from None
        if not count:
            raise ToolError("not run: no GPU: CUDA counts none.", EXTRA)

    def call(self, function: str, *arguments: Any) -> tuple[Any, ...]:
        """Results of a function of the runtime without its error. Raises `ToolError`."""
        error, *results = getattr(self.runtime, function)(*arguments)
        if int(error) != 0:
            _, text = self.runtime.cudaGetErrorString(error)
            words = text.decode() if isinstance(text, bytes) else str(text)
            raise ToolError(f"CUDA: {function} failed ({int(error)}): {words}.")
        return tuple(results)

    def device(self) -> Device:
        """What the first GPU is."""
        (found,) = self.call("cudaGetDeviceProperties", 0)
        name = found.name.decode() if isinstance(found.name, bytes) else str(found.name)
        (runtime,) = self.call("cudaRuntimeGetVersion")
        (driver,) = self.call("cudaDriverGetVersion")
        return Device(name.rstrip("\0"), f"{found.major}.{found.minor}", runtime, driver)

    def stream(self) -> Any:
        """A stream of its own, that does not wait for the default one."""
        (stream,) = self.call("cudaStreamCreateWithFlags", self.runtime.cudaStreamNonBlocking)
        return stream

    def wait(self, stream: Any) -> None:
        """Until all work of a stream is done."""
        self.call("cudaStreamSynchronize", stream)


class Buffer:
    """Memory of the device, and pinned memory of the host beside it as the array ``host``."""

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], dtype: Any) -> None:
        self.cuda = cuda
        self.bytes = max(1, int(np.prod(shape)) * np.dtype(dtype).itemsize)
        (self.device,) = cuda.call("cudaMalloc", self.bytes)
        try:
            (self._pinned,) = cuda.call("cudaMallocHost", self.bytes)
        except ToolError:
            cuda.call("cudaFree", self.device)
            raise
        memory = (ctypes.c_char * self.bytes).from_address(int(self._pinned))
        size = int(np.prod(shape))
        self.host: NDArray[Any] = np.frombuffer(memory, dtype=dtype, count=size).reshape(shape)

    def to_device(self, stream: Any) -> None:
        """Queue a copy."""
        kind = self.cuda.runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.cuda.call("cudaMemcpyAsync", self.device, self._pinned, self.bytes, kind, stream)

    def to_host(self, stream: Any) -> None:
        """Queue a copy."""
        kind = self.cuda.runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self.cuda.call("cudaMemcpyAsync", self._pinned, self.device, self.bytes, kind, stream)

    def free(self) -> None:
        """Give both back."""
        self.host = np.empty(0)
        self.cuda.call("cudaFree", self.device)
        self.cuda.call("cudaFreeHost", self._pinned)
