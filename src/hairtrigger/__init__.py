"""hairtrigger: from detector data to a verified neural-network trigger in an FPGA.

    graph  = hairtrigger.from_hgq(hairtrigger.load_model("mine.keras"))
    design = hairtrigger.compile_graph(graph, part="xcvu13p", clock="320 MHz")

The names below are all that most users need; each is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hairtrigger import detectors, studies, train
    from hairtrigger.backends.onnx import to_onnx
    from hairtrigger.backends.rtl import simulate, synthesise
    from hairtrigger.engines import run
    from hairtrigger.errors import HairtriggerError
    from hairtrigger.fixed import Fixed, Overflow, Rounding
    from hairtrigger.frontends.hgq import from_hgq
    from hairtrigger.frontends.keras_file import import_keras, load_model
    from hairtrigger.graph import Graph
    from hairtrigger.graph.passes import optimise
    from hairtrigger.rtl.design import Design, compile_graph
    from hairtrigger.rtl.project import write_project
    from hairtrigger.runs import compile_model, run_study

_HOME = {
    "Design": "rtl.design",
    "Fixed": "fixed",
    "Graph": "graph",
    "HairtriggerError": "errors",
    "Overflow": "fixed",
    "Rounding": "fixed",
    "compile_graph": "rtl.design",
    "compile_model": "runs",
    "from_hgq": "frontends.hgq",
    "import_keras": "frontends.keras_file",
    "load_model": "frontends.keras_file",
    "optimise": "graph.passes",
    "run": "engines",
    "run_study": "runs",
    "simulate": "backends.rtl",
    "synthesise": "backends.rtl",
    "to_onnx": "backends.onnx",
    "write_project": "rtl.project",
}
"""The module of each public name."""
_PACKAGES = ("detectors", "studies", "train")

__all__ = [
    "Design",
    "Fixed",
    "Graph",
    "HairtriggerError",
    "Overflow",
    "Rounding",
    "compile_graph",
    "compile_model",
    "detectors",
    "from_hgq",
    "import_keras",
    "load_model",
    "optimise",
    "run",
    "run_study",
    "simulate",
    "studies",
    "synthesise",
    "to_onnx",
    "train",
    "write_project",
]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"hairtrigger.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'hairtrigger' has no attribute {name!r}")
    value = getattr(import_module(f"hairtrigger.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
