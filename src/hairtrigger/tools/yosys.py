"""Yosys: synthesise Verilog for an AMD (Xilinx) FPGA and count what it takes.

Runs ``synth_xilinx`` without I/O and clock buffers, in a process of its own. By default the
hierarchy is kept: a module is synthesised once, and its cells count for every instance. That is
faster by orders of magnitude for a design of many equal kernels, and an upper bound, since
nothing is optimised across the border of a module. A large design is synthesised in groups of
modules, two at a time.
"""

import dataclasses
import importlib.metadata
import importlib.util
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from hairtrigger.errors import InputError, ToolError
from hairtrigger.tools import cache, process, verilog_parts
from hairtrigger.tools.verilog_parts import Part, divide

FAMILIES = ("xcup", "xcu", "xc7")
"""UltraScale+, UltraScale and 7 series, as Yosys names them."""
TIME_LIMIT_S = 3600.0
JOBS = 2
"""Runs at a time: each takes 0.3 GB and more, and small machines matter."""
HOW_TO_GET = "pip install pyosys"
_CHILD = Path(__file__).with_name("_yosys_child.py")
_LOGIC = "w:* t:LUT* t:CARRY* t:MUXF* t:INV"
_MEMORY_LUTS = {
    # 6-input LUTs that a memory primitive takes (AMD UG574, distributed RAM and SRL).
    **dict.fromkeys(("SRL16E", "SRLC16E", "SRLC32E", "RAM32X1S", "RAM64X1S"), 1),
    **dict.fromkeys(("RAM32X1D", "RAM64X1D", "RAM128X1S"), 2),
    **dict.fromkeys(("RAM32M", "RAM64M", "RAM128X1D", "RAM256X1S"), 4),
    **dict.fromkeys(("RAM32M16", "RAM64M8", "RAM256X1D", "RAM512X1S"), 8),
}


@dataclass(frozen=True)
class Resources:
    """What a design takes after synthesis, before placement.

    ``lut_logic`` is the sum of LUT1 to LUT6: Yosys packs no two functions into one LUT (LUT6_2),
    which the vendor's tool does. ``lut_memory`` is the LUTs used as memory and shift registers.
    ``inv`` (inverters, usually absorbed into LUTs) and ``muxf`` (MUXF7 to MUXF9, which are not
    LUTs) are counted apart. ``ff`` is flip-flops and latches. Yosys 0.70 emits carry chains as
    ``carry4`` for every family; UltraScale has CARRY8 of twice the length, so their number is
    between half of that and all of it.
    ``levels`` is the most LUTs, carries, muxes and inverters in a row inside any one module; a path
    through several modules counts in pieces unless the design was flattened.
    ``cells`` is every primitive with its number; ``warnings`` is Yosys's, each once (those on
    ports of its own RAM primitives left out).
    """

    lut_logic: int
    lut_memory: int
    ff: int
    carry4: int
    carry8: int
    muxf: int
    dsp: int
    bram36: int
    bram18: int
    uram: int
    inv: int
    levels: int
    cells: tuple[tuple[str, int], ...]
    warnings: tuple[str, ...]
    tool: str
    options: str

    @property
    def lut(self) -> int:
        """LUTs in all: logic and memory, inverters apart."""
        return self.lut_logic + self.lut_memory

    @property
    def bram18_total(self) -> int:
        """Block RAM in halves of 18 kbit, as the parts are given: a RAMB36 is two."""
        return 2 * self.bram36 + self.bram18


def version() -> str:
    """The version of the Yosys wheel; raises ToolError when it is not installed."""
    try:
        found = importlib.metadata.version("pyosys")
    except importlib.metadata.PackageNotFoundError:
        found = None
    if found is None or importlib.util.find_spec("pyosys") is None:
        raise ToolError("Yosys's Python wheel, pyosys, is not installed", HOW_TO_GET)
    return found


def synthesise(
    files: Sequence[Path],
    top: str,
    folder: Path | None = None,
    *,
    family: str = "xcup",
    flatten: bool = False,
    dsp: bool = True,
    timeout_s: float = TIME_LIMIT_S,
    memory_gb: float | None = None,
) -> Resources:
    """Synthesise ``top`` and count its cells; the same sources and options are done only once.

    ``flatten`` dissolves the hierarchy first; ``dsp=False`` keeps products out of DSP blocks.
    ``memory_gb`` bounds the address space of Yosys (it takes about 2 GB of that when idle).
    ``folder`` keeps the results (by default the tool cache).

    Raises ToolError, with the end of Yosys's log, when it refuses the Verilog, dies, or runs longer
    than ``timeout_s``; InputError for an unknown family.
    """
    if family not in FAMILIES:
        raise InputError(f"family {family!r} is not known", "use one of " + ", ".join(FAMILIES))
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$]*", top):
        raise InputError(f"top module {top!r} is no Verilog name", "give a plain identifier")
    texts = [_text(Path(file)) for file in files]
    options = ["-noiopad", "-noclkbuf"]
    options += ["-flatten"] * flatten + ["-nodsp"] * (not dsp)
    command = f"synth_xilinx -family {family} {' '.join(options)}"
    recipe = [Path(file).read_bytes() for file in (_CHILD, __file__, verilog_parts.__file__)]
    key = cache.content_key([version(), command, top, *recipe, *texts])

    def fill(path: Path) -> None:
        counted = _synthesise(files, texts, top, command, flatten, timeout_s, memory_gb)
        (path / "resources.json").write_text(json.dumps(dataclasses.asdict(counted), indent=1))

    where = folder if folder is not None else cache.cache_folder()
    entry = cache.obtain(where, "synthesis", key, fill)
    stored = json.loads((entry / "resources.json").read_text())
    stored["cells"] = tuple((name, count) for name, count in stored["cells"])
    stored["warnings"] = tuple(stored["warnings"])
    return Resources(**stored)


def _text(file: Path) -> bytes:
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ToolError(
            f"Verilog file {file} cannot be read: {error.strerror}", "write it first"
        ) from error
    if match := re.search(rb"`include\b|\$readmem[bh]\b", text):
        raise ToolError(
            f"{file.name} reads another file with {match[0].decode()}",
            "put the content into the module, or give all Verilog files as sources",
        )
    return text


@dataclass(frozen=True)
class _Run:
    """What one run of Yosys says: modules as ``stat -json`` has them, longest paths, its log."""

    modules: Mapping[str, Mapping[str, object]]
    levels: str
    log: str


def _synthesise(
    files: Sequence[Path],
    texts: Sequence[bytes],
    top: str,
    command: str,
    whole: bool,
    timeout_s: float,
    memory_gb: float | None,
) -> Resources:
    # Latin-1 gives every byte back as it was.
    decoded = tuple(text.decode("latin-1") for text in texts)
    parts = [Part(decoded, top)] if whole else divide(decoded, top)
    together = process.Group()

    def run(part: Part) -> _Run:
        return _run(files, part, top, command, timeout_s, memory_gb, together)

    with ThreadPoolExecutor(JOBS) as pool:
        tasks = [pool.submit(run, part) for part in parts]
        try:
            done, _ = wait(tasks, return_when=FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:  # also when interrupted: nothing waits for a run whose result nobody wants
            for task in tasks:
                task.cancel()
            together.end()
    runs = [task.result() for task in tasks]
    modules: dict[str, Mapping[str, object]] = {}
    for part, found in zip(parts, runs, strict=True):
        modules |= {
            name: module
            for name, module in found.modules.items()
            if not part.modules or name.removeprefix("\\") in part.modules
        }
    return count(
        modules,
        top,
        levels="".join(found.levels for found in runs),
        log="".join(found.log for found in runs),
        tool=f"Yosys {version()}",
        options=f"{command} -top {top}",
    )


def _run(
    files: Sequence[Path],
    part: Part,
    top: str,
    command: str,
    timeout_s: float,
    memory_gb: float | None,
    together: process.Group,
) -> _Run:
    with tempfile.TemporaryDirectory(prefix="hairtrigger-synthesis-") as name:
        work = Path(name)
        # Copies, so that no path of the user's has to survive Yosys's quoting.
        names = [f"source{number}.v" for number in range(len(part.texts))]
        for file, text in zip(names, part.texts, strict=True):
            (work / file).write_bytes(text.encode("latin-1"))
        passes = [f"read_verilog {file}" for file in names]
        passes += [f"{command} -top {part.top}"]
        passes += [f"tee -q -o stat.json stat -json -top {part.top}"]
        passes += [f"tee -q -o levels.txt ltp {_LOGIC}"]
        limit = None if memory_gb is None else int(memory_gb * 2**30)
        job = work / "job.json"
        job.write_text(json.dumps({"passes": passes, "memory_bytes": limit}))
        names_of = dict(zip(names, (Path(file).name for file in files), strict=False))
        done = process.run(
            [sys.executable, "-P", _CHILD, job],
            tool="Yosys",
            folder=work,
            extra_env={"TMPDIR": str(work)},  # so that ABC's files go when Yosys is ended
            timeout_s=timeout_s,
            group=together,
        )
        if done.status != 0:
            raise _failure(top, done, names_of)
        try:
            modules = json.loads((work / "stat.json").read_text())["modules"]
            levels = (work / "levels.txt").read_text()
        except (OSError, ValueError, KeyError) as error:
            raise ToolError(
                f"Yosys ended well for {top} but left no usable count ({error})"
                + process.quote(process.last_lines(done.output)),
                "free disk space and start again; if it stays, report it with the lines above",
            ) from error
        return _Run(modules, levels, done.output)


def _failure(top: str, done: process.Finished, names: Mapping[str, str]) -> ToolError:
    memory = re.search(r"bad_alloc|MemoryError|allocate memory", done.output) is not None
    errors = [line for line in done.output.splitlines() if "ERROR:" in line]
    if memory or done.status < 0:
        how = "ran out of memory" if memory else process.describe_status(done.status)
        words = process.last_lines(done.output)
        way_out = "give it more memory, keep the hierarchy (flatten=False), or shrink the design"
    else:
        how = process.describe_status(done.status)
        words = "\n".join(errors[:3]) or process.last_lines(done.output)
        way_out = "mend the Verilog at the place named above"
        if not errors:
            way_out = "run `hairtrigger doctor`; the lines above are the end of Yosys's log"
    for copy, name in names.items():
        words = re.sub(rf"\b{copy}\b", lambda _, name=name: name, words)
    return ToolError(f"Yosys failed on {top} ({how})" + process.quote(words), way_out)


def count(
    modules: Mapping[str, Mapping[str, object]],
    top: str,
    *,
    levels: str,
    log: str,
    tool: str,
    options: str,
) -> Resources:
    """Resources of ``top`` from ``stat -json``'s modules, summed over all instances."""
    cells = _sum_instances(modules, top)
    del cells["$scopeinfo"]  # remembers where a flattened module stood; no hardware

    def total(names: Iterable[str]) -> int:
        return sum(cells[name] for name in names)

    luts = [name for name in cells if re.fullmatch(r"LUT[1-6]", name)]
    memories = [name for name in cells if re.match(r"SRL|RAM\d", name)]
    unknown = [name for name in memories if name not in _MEMORY_LUTS]
    left_over = [name for name in cells if name.startswith("$")]
    if unknown or left_over:
        raise ToolError(
            f"Yosys used cells that cannot be counted: {', '.join(unknown + left_over)}",
            "report it with the Verilog; until then avoid the construct that infers them",
        )
    warnings = dict.fromkeys(re.findall(r"^Warning: (?!Resizing cell port)(.*)$", log, re.M))
    return Resources(
        lut_logic=total(luts),
        lut_memory=sum(cells[name] * _MEMORY_LUTS[name] for name in memories),
        ff=total(name for name in cells if re.match(r"FD[CPRS]E|LD[CP]E", name)),
        carry4=cells["CARRY4"],
        carry8=cells["CARRY8"],
        muxf=total(name for name in cells if name.startswith("MUXF")),
        dsp=total(name for name in cells if name.startswith("DSP")),
        bram36=total(name for name in cells if name.startswith("RAMB36")),
        bram18=total(name for name in cells if name.startswith("RAMB18")),
        uram=total(name for name in cells if name.startswith("URAM")),
        inv=cells["INV"],
        levels=max((int(n) for n in re.findall(r"\(length=(\d+)\)", levels)), default=0),
        cells=tuple(sorted(cells.items())),
        warnings=tuple(warnings),
        tool=tool,
        options=options,
    )


def _sum_instances(modules: Mapping[str, Mapping[str, object]], top: str) -> Counter[str]:
    """Primitives below ``top``, each module's counted once for every instance of it."""
    plain = {name.removeprefix("\\"): module for name, module in modules.items()}
    done: dict[str, Counter[str]] = {}

    def below(name: str) -> Counter[str]:
        if name not in done:
            cells: Counter[str] = Counter()
            for kind, number in plain[name]["num_cells_by_type"].items():
                kind = kind.removeprefix("\\")
                if kind not in plain:
                    cells[kind] += number
                    continue
                for primitive, each in below(kind).items():
                    cells[primitive] += number * each
            done[name] = cells
        return done[name]

    return below(top)
