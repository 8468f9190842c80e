"""C++ text of the kernels of a `Program`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hairtrigger.cpp.body import Body, Line, Step, lane_bits
from hairtrigger.cpp.layout import Layout, Runs
from hairtrigger.cpp.program import Ints, Kernel, Program

NARROWEST = 16
"""Fewest bits of a lane in arithmetic: x86 has no products or shifts of 8 bits."""

PART_LINES = 6000
"""Lines of bodies in one file; parts compile side by side."""

_COMPARE = {Step.GT: ">", Step.GE: ">=", Step.EQ: "=="}


@dataclass(frozen=True)
class Memory:
    """Where each tensor begins, in bytes for one event, and what all of them take.

    ``kept``: tensors that later steps read; they lie in frames of ``frame`` bytes, of which there
    are ``frames``, and begin at their offset in each.
    """

    offsets: tuple[int, ...]
    size: int
    kept: frozenset[int] = frozenset()
    frame: int = 0
    frames: int = 0

    @property
    def parameters(self) -> str:
        """Parameters of every function that works on it."""
        return "char *memory, char *const *frame" if self.frames else "char *memory"

    @property
    def constant(self) -> str:
        """Parameters of those that only read."""
        return f"const {self.parameters}"

    @property
    def arguments(self) -> str:
        """What those functions are given by each other."""
        return "memory, frame" if self.frames else "memory"

    @property
    def unread(self) -> str:
        """A statement by which no compiler minds what a function does not read."""
        return "(void)memory; (void)frame;" if self.frames else "(void)memory;"

    def base(self, tensor: int, wide: str, age: int = 0) -> str:
        """Address of a tensor, of the step before with an ``age`` of 1; ``wide``: events."""
        if tensor in self.kept:
            return f"frame[{age}] + {self.offsets[tensor]}"
        offset = self.offsets[tensor]
        return f"memory + {offset} * W" if wide == "W" else f"memory + {offset * int(wide)}"


CACHE_LINE = 64


def memory(program: Program, layout: Layout) -> Memory:
    """Addresses of all tensors."""
    oldest = max((held.age for held in program.held), default=0)
    kept = {int(n) for held in program.held for n in np.unique(layout.owner[held.elements])}
    kept.discard(-1)
    unit = CACHE_LINE if oldest else 8
    offsets: list[int] = []
    ends = [0, 0]
    for n, place in enumerate(layout.places):
        offsets.append(ends[n in kept])
        ends[n in kept] += -(-place.slots * place.bits // (8 * unit)) * unit
    frame = max(ends[1], unit) if oldest else 0
    return Memory(tuple(offsets), max(ends[0], 8), frozenset(kept), frame, oldest + bool(oldest))


def array(name: str, numbers: Ints) -> str:
    """A constant array in the smallest type that holds its numbers."""
    flat = numbers.ravel()
    low, high = int(flat.min()), int(flat.max())
    text = ", ".join(_number(int(n)) for n in flat)
    lines = _wrapped(text)
    return f"const int{lane_bits(low, high)}_t {name}[] = {{\n{lines}\n}};\n"


def _wrapped(text: str, width: int = 96) -> str:
    lines: list[str] = []
    line = "   "
    for word in text.split(" "):
        if len(line) + 1 + len(word) > width:
            lines.append(line)
            line = "   "
        line += " " + word
    return "\n".join([*lines, line])


def kernel_text(
    number: int, kernel: Kernel, runs: Runs, program: Program, layout: Layout, memory: Memory
) -> str:
    """The function ``kernel<number><W>``, with its tables."""
    body, name = kernel.body, f"kernel{number}"
    live = body.live(kernel.outputs)
    used = [body.lines[n].n for n in live if body.lines[n].step is Step.LOAD]
    writers = layout.owner[kernel.writes[0]]
    table, pointers, reads, writes = _pointers(kernel, runs, used, layout)
    tables = sorted({body.lines[k].n for k in live if body.lines[k].step is Step.TABLE})
    text = [array(f"table{number}_{n}", body.tables[n]) for n in tables]
    several = len(runs.length) > 1
    regular = runs.steps is not None and bool((np.diff(table, n=2, axis=0) == 0).all())
    if several and not regular:
        text.append(array(f"runs{number}", table))
    text.append(f"// {kernel.label}, at {len(kernel.reads)} positions\n")
    text.append(f"template <int W> void {name}({memory.parameters}) {{\n")
    if memory.frames:
        text.append(f"    {memory.unread}\n")
    pad = "    "
    if several:
        width = table.shape[1]
        text.append(f"    for (int r = 0; r < {len(table)}; ++r) {{\n")
        pad = "        "
        if not regular:
            text.append(f"{pad}const auto *run = runs{number} + r * {width};\n")

    def entry(column: int) -> str:
        """A number of the run at hand."""
        first = int(table[0, column])
        if not several:
            return str(first)
        moved = int(table[1, column]) - first
        return (
            f"run[{column}]" if not regular else f"{first} + r * {moved}" if moved else f"{first}"
        )

    lanes = f"ptrdiff_t({entry(0)})" if several else entry(0)
    text.append(f"{pad}const ptrdiff_t lanes = {lanes} * W;\n")
    for n, (tensor, age, written) in enumerate(pointers):
        kind = f"int{layout.places[tensor].bits}_t"
        const = "" if written else "const "
        text.append(
            f"{pad}{const}{kind} *p{n} = ({const}{kind} *)({memory.base(tensor, 'W', age)})"
            f" + ptrdiff_t({entry(n + 1)}) * W;\n"
        )
    text.append(f"{pad}HT_LANES\n{pad}for (ptrdiff_t i = 0; i < lanes; ++i) {{\n")
    for place in live:
        statement = _statement(body, place, number, reads)
        if statement:
            text.append(f"{pad}    {statement}\n")
    for value, slot, tensor in zip(kernel.outputs, writes, writers, strict=True):
        kind = f"int{layout.places[int(tensor)].bits}_t"
        text.append(f"{pad}    {slot} = ({kind}){_name(body, value.line)};\n")
    text.append(f"{pad}}}\n")
    if several:
        text.append("    }\n")
    text.append("    HT_WRITTEN(memory);\n}\n")
    return "".join(text)


def _pointers(
    kernel: Kernel, runs: Runs, used: Sequence[int], layout: Layout
) -> tuple[Ints, list[tuple[int, int, bool]], dict[int, str], list[str]]:
    """Addresses that keep their distance in all runs share a pointer.

    Gives the table (runs, length and pointers), for each pointer its tensor, how many steps ago
    that was written, and whether it writes, and for each read and write where it is in C++.
    """
    known: dict[tuple[int, int, bool, bytes], int] = {}
    pointers: list[tuple[int, int, bool]] = []
    columns: list[Ints] = [runs.length]
    count = runs.reads.shape[1]

    def slot(tensor: int, age: int, column: Ints, written: bool, n: int) -> str:
        key = (tensor, age, written, (column - column[0]).tobytes())
        if key not in known:
            known[key] = len(pointers)
            pointers.append((tensor, age, written))
            columns.append(column)
        delta = int(column[0]) - int(columns[known[key] + 1][0])
        step = 1 if runs.steps is None else int(runs.steps[n])
        lane = "i" if step == 1 else f"i * {step}"
        return f"p{known[key]}[{lane} + {delta} * W]"

    ages = np.zeros(count, dtype=np.int64) if kernel.ages is None else kernel.ages
    reads = {
        n: slot(int(runs.tensors[n]), int(ages[n]), runs.reads[:, n], False, n)
        for n in sorted(used)
    }
    owners = layout.owner[kernel.writes[0]]
    writes = [
        slot(int(owner), 0, column, True, count + n)
        for n, (owner, column) in enumerate(zip(owners, runs.writes.T, strict=True))
    ]
    return np.stack(columns, axis=1), pointers, reads, writes


# --- lines ---------------------------------------------------------------------------------------


def _lane(line: Line) -> int:
    return max(NARROWEST, lane_bits(line.low, line.high))


def _name(body: Body, place: int) -> str:
    line = body.lines[place]
    return _number(line.n) if line.step is Step.CONST else f"x{place}"


def _number(n: int) -> str:
    if -(1 << 31) < n < 1 << 31:
        return str(n)
    return f"INT64_C({n})"


def _statement(body: Body, place: int, number: int, reads: dict[int, str]) -> str:
    line = body.lines[place]
    own = _lane(line)
    kind = f"int{own}_t"
    operands = [body.lines[n] for n in line.reads]
    wide = max([own, *(_lane(x) for x in operands if x.step is not Step.CONST)])

    def read(n: int) -> str:
        """Operand ``n`` in a type that holds the operands and the result."""
        name = _name(body, line.reads[n])
        same = wide < 32 or (_lane(operands[n]) == wide and operands[n].step is not Step.CONST)
        return name if same else f"(int{wide}_t){name}"

    match line.step:
        case Step.CONST:
            return ""
        case Step.LOAD:
            made = reads[line.n]
        case Step.ADD:
            made = f"{read(0)} + {read(1)}"
        case Step.SUB:
            made = f"{read(0)} - {read(1)}"
        case Step.MUL:
            made = f"{read(0)} * {read(1)}"
        case Step.SHL:
            made = f"{read(0)} * {_number(1 << line.n)}"
        case Step.SHR:
            made = f"{read(0)} >> {line.n}"
        case Step.AND:
            made = f"{read(0)} & {_number(line.n)}"
        case Step.XOR:
            made = f"{read(0)} ^ {read(1)}"
        case Step.MAX:
            made = f"{read(0)} > {read(1)} ? {read(0)} : {read(1)}"
        case Step.MIN:
            made = f"{read(0)} < {read(1)} ? {read(0)} : {read(1)}"
        case Step.GT | Step.GE | Step.EQ:
            made = f"{read(0)} {_COMPARE[line.step]} {read(1)}"
        case Step.PICK:
            made = f"{_name(body, line.reads[0])} ? {read(1)} : {read(2)}"
        case Step.WRAP:
            x = _name(body, line.reads[0])
            # Not by way of int8_t: with such casts a published network ran 2.5 times as slowly.
            if line.n == own:
                made = f"({kind}){x}"
            else:
                drop = own - line.n
                return f"const {kind} x{place} = ({kind})((u{kind}){x} << {drop}) >> {drop};"
        case Step.SIGN:
            made = f"{read(0)} < 0 ? -1 : 0"
        case Step.TABLE:
            made = f"table{number}_{line.n}[{_name(body, line.reads[0])}]"
    return f"const {kind} x{place} = ({kind})({made});"


def parts(program: Program) -> Iterator[list[int]]:
    """Numbers of the kernels that go into one file together, in order."""
    part: list[int] = []
    lines = 0
    for n, kernel in enumerate(program.kernels):
        size = len(kernel.body.lines)
        if part and lines + size > PART_LINES:
            yield part
            part, lines = [], 0
        part.append(n)
        lines += size
    if part:
        yield part
