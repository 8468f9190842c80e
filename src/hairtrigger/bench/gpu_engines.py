"""Engines on a GPU: the runners of `hairtrigger.backends.runners`, with and without transfers."""

from __future__ import annotations

from hairtrigger.backends.runners import XLA, open_runner
from hairtrigger.bench.engines import OWN, processors
from hairtrigger.bench.inputs import Codes
from hairtrigger.bench.scenarios import Call
from hairtrigger.errors import ToolError
from hairtrigger.graph.graph import Graph

WITH, WITHOUT = "with", "without"
XLA_GPU = "xla-gpu"


class RunnerEngine:
    """A runner as the bench calls it. Raises `ToolError` where it does not run on a GPU here."""

    device = "GPU"
    transfers = (WITH, WITHOUT)

    def __init__(self, graph: Graph, name: str) -> None:
        self._runner = open_runner(graph, XLA if name == XLA_GPU else name)
        if self._runner.device != "GPU":
            self._runner.close()
            raise ToolError(
                f"no GPU: {self._runner.engine}",
                "run on a machine with a GPU and a JAX that knows it",
            )
        self.name, self.words = name, self._runner.engine
        self.batches = self._runner.batches

    def run(self, codes: Codes) -> Codes:
        return self._runner.run(codes)

    def ways(self, threads: int) -> tuple[str, ...]:
        return (OWN,) if threads == processors() else ()

    def bind(self, codes: Codes, threads: int, way: str = OWN, transfers: str = WITH) -> Call:
        return self._runner.bind(codes, transfers=transfers == WITH)

    def floor(self) -> None:
        return None

    def close(self) -> None:
        self._runner.close()
