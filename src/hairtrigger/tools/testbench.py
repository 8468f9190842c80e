"""Build and run a self-checking Verilog testbench, with its delays, in Verilator."""

from collections.abc import Sequence
from pathlib import Path

from hairtrigger.errors import ToolError
from hairtrigger.tools import compiler, process, verilator

_FLAGS = ("-std=c++20", "-fcoroutines", "-w", "-O0")


def build_testbench(
    files: Sequence[Path], top: str, folder: Path, *, timeout_s: float = 600.0
) -> Path:
    """Compile ``top`` with Verilator's timing scheduler into ``folder / "obj"``; the program.

    Raises `ToolError` where Verilator or the compiler refuses.
    """
    root = verilator.root()
    obj = folder / "obj"
    flags = ["--cc", "--main", "--timing", "-Wno-TIMESCALEMOD", "--language", verilator.LANGUAGE]
    verilator.call([*flags, "--top-module", top, "--Mdir", obj, *files], folder=folder)
    cxx = compiler.find_compiler()
    include = root / "include"
    names = ("verilated", "verilated_threads", "verilated_timing")
    sources = [*sorted(obj.glob("*.cpp")), *(include / f"{name}.cpp" for name in names)]
    units = [compiler.Unit(s, obj / f"{s.stem}.o") for s in sources]
    where = ["-I", str(include), "-I", str(obj)]
    compiler.compile_objects(cxx, units, [*_FLAGS, *where], folder=folder, timeout_s=timeout_s)
    program = obj / "testbench"
    compiler.link(cxx, [unit.object for unit in units], program, ["-lpthread"], folder=folder)
    return program


def run_testbench(program: Path, folder: Path, *, timeout_s: float = 600.0) -> str:
    """Run a testbench in ``folder``, where ``$readmemh`` looks; what it printed.

    Raises `ToolError` where the simulation fails.
    """
    done = process.run([program], tool="the testbench", folder=folder, timeout_s=timeout_s)
    if done.status != 0:
        raise ToolError(f"The testbench {program} failed:" + process.quote(done.output))
    return done.output
