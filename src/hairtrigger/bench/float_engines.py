"""Engines that need more than the base install, or give other answers: XLA and plain float."""

from __future__ import annotations

import numpy as np

from hairtrigger.backends.onnx import Border
from hairtrigger.bench.engines import OWN, OnHost, OnnxEngine, processors
from hairtrigger.bench.inputs import Codes
from hairtrigger.bench.scenarios import Call
from hairtrigger.graph.graph import Graph

FLOAT, XLA = "onnxruntime-float", "xla"


class FloatEngine(OnnxEngine):
    """ONNX Runtime with the float network, in which nothing is rounded: other answers."""

    def __init__(self, graph: Graph) -> None:
        from hairtrigger.backends.onnx_float import to_float_onnx

        self._prepare(graph, FLOAT, to_float_onnx(graph, border=Border.CODES), np.float32)
        self.words += ", plain float32, nothing rounded"


class XlaEngine(OnHost):
    """The Graph as a JAX function, compiled by XLA for the CPU."""

    name = XLA

    def __init__(self, graph: Graph) -> None:
        from hairtrigger.backends.xla import import_jax, to_jax

        self._jax = import_jax()
        self._place = self._jax.devices("cpu")[0]
        self._function = to_jax(graph)
        self.words = f"JAX {self._jax.__version__}, int{self._function.word.bits}"

    def run(self, codes: Codes) -> Codes:
        with self._jax.default_device(self._place):
            return self._function(codes)

    def ways(self, threads: int) -> tuple[str, ...]:
        # XLA's threads are those of the process: it has no setting for one call.
        return (OWN,) if threads == processors() else ()

    def bind(self, codes: Codes, threads: int, way: str = OWN, transfers: str = "") -> Call:
        from hairtrigger.backends.xla import wide

        jax, word = self._jax, self._function.word
        with wide(word):
            there = [jax.device_put(np.asarray(x, dtype=word.dtype), self._place) for x in codes]
            compiled = self._function.jitted.lower(*there).compile()
        return lambda: jax.block_until_ready(compiled(*there))

    def floor(self) -> Call:
        jax = self._jax
        x = jax.device_put(np.zeros(1, dtype=np.int32), self._place)
        compiled = jax.jit(lambda x: x + 1).lower(x).compile()
        return lambda: jax.block_until_ready(compiled(x))

    def close(self) -> None: ...
