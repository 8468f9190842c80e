"""Engines that need more than the base install, or give other answers: XLA and plain float."""

from __future__ import annotations

from typing import Any

import numpy as np

from hairtrigger.backends.onnx import Border
from hairtrigger.bench.engines import OWN, OnnxEngine
from hairtrigger.bench.inputs import Codes
from hairtrigger.bench.scenarios import Call
from hairtrigger.errors import ToolError
from hairtrigger.graph.graph import Graph

FLOAT, XLA = "onnxruntime-float", "xla"


class FloatEngine(OnnxEngine):
    """ONNX Runtime with the float network, in which nothing is rounded: other answers."""

    def __init__(self, graph: Graph) -> None:
        from hairtrigger.backends.onnx_float import to_float_onnx

        self._prepare(graph, FLOAT, to_float_onnx(graph, border=Border.CODES), np.float32)
        self.words += ", plain float32, nothing rounded"


class XlaEngine:
    """The Graph as a JAX function, compiled by XLA for a device of JAX."""

    def __init__(self, graph: Graph, name: str = XLA, platform: str = "cpu") -> None:
        from hairtrigger.backends.xla import import_jax, to_jax

        jax = import_jax()
        try:
            self._place = jax.devices(platform)[0]
        except RuntimeError as error:
            raise ToolError(
                f"no GPU: JAX finds no device {platform!r} ({str(error).splitlines()[0]})",
                "install jax[cuda12] or jax[cuda13] on a machine with a GPU",
            ) from error
        self.name, self.device = name, "CPU" if platform == "cpu" else "GPU"
        self.words = f"JAX {jax.__version__}, {self._place.device_kind or platform}"
        self._jax = jax
        self._function = to_jax(graph)
        self._size = 8 * max(node.type.size for node in graph.nodes)

    def _put(self, codes: Codes) -> list[Any]:
        dtype = self._function.word.dtype
        return [self._jax.device_put(np.asarray(x, dtype=dtype), self._place) for x in codes]

    def run(self, codes: Codes) -> Codes:
        from hairtrigger.backends.xla import wide

        with self._jax.default_device(self._place), wide(self._function.word):
            return self._function(codes)

    def ways(self, threads: int) -> tuple[str, ...]:
        # XLA's threads are those of the process: it has no setting for one call.
        from hairtrigger.bench.engines import processors

        return (OWN,) if threads == processors() else ()

    def bind(self, codes: Codes, threads: int, way: str = OWN) -> Call:
        from hairtrigger.backends.xla import wide

        jax, word, jitted = self._jax, self._function.word, self._function.jitted
        with wide(word):
            there = self._put(codes)
            compiled = jitted.lower(*there).compile()

        def call() -> None:
            jax.block_until_ready(compiled(*there))

        return call

    def floor(self) -> Call | None:
        jax = self._jax
        x = jax.device_put(np.zeros(1, dtype=np.int32), self._place)
        same = jax.jit(lambda x: x + 1)
        compiled = same.lower(x).compile()
        return lambda: jax.block_until_ready(compiled(x))

    def close(self) -> None: ...
