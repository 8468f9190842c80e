"""The files of a Graph in C++: a C header, and the source in one or more units."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hairtrigger import __version__
from hairtrigger.cpp.border import code_dtype, input_text, output_text, square, turn_text
from hairtrigger.cpp.emit import Memory, array, kernel_text, memory, parts
from hairtrigger.cpp.encode import encode_text, encodes
from hairtrigger.cpp.layout import Layout, lay_out
from hairtrigger.cpp.program import Program
from hairtrigger.cpp.stages import stages
from hairtrigger.cpp.straight import lay_out_straight
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.ops import State
from hairtrigger.graph.types import TensorType

ABI = 1
"""Version of the C interface; it changes when a function or its meaning does."""

WIDE = 32
"""Events that are worked on at once where there are many."""

MOST_MEMORY = 1 << 20
"""Bytes of lanes beyond which events go through one by one: the second-level cache is left."""

FEW = 4
"""So few events left over go one by one; more fill up a block with zeros."""

_C_WORDS = (
    "auto bool break case char class const continue default delete do double else enum extern "
    "false float for if inline int long new private public return short signed sizeof static "
    "struct switch template this true typedef union unsigned using virtual void volatile while"
)

PREAMBLE = """\
#include <stddef.h>
#include <stdint.h>

// The address of thread-local memory is asked for once a call, not once an element.
#if defined(__GNUC__)
#define HT_ONCE(pointer) __asm__("" : "+r"(pointer))
#else
#define HT_ONCE(pointer)
#endif
// What was written here is read elsewhere. GCC 12 may turn `base[i] = x` into a store at address 0
// plus base plus i, take that for a store to nowhere, and drop the call of the function.
#if defined(__GNUC__)
#define HT_WRITTEN(pointer) __asm__ __volatile__("" : : "r"(pointer) : "memory")
#else
#define HT_WRITTEN(pointer) (void)(pointer)
#endif
// Lanes of a loop do not depend on each other.
#if defined(__clang__)
#define HT_LANES _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define HT_LANES _Pragma("GCC ivdep")
#else
#define HT_LANES
#endif
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define HT_SHUFFLE
#endif
#endif

"""


@dataclass(frozen=True)
class Source:
    """C++ of one Graph: the texts of its files by name, the ``units`` to compile, events worked on
    at once (``wide``), bytes of lanes, and steps of integer arithmetic for one event."""

    name: str
    files: dict[str, str]
    units: tuple[str, ...]
    wide: int
    memory_bytes: int
    steps: int


@dataclass(frozen=True)
class Port:
    """A tensor at the border. ``kind``: "in", "out" or "state"; ``title``: its name there."""

    kind: str
    number: int
    title: str
    type: TensorType

    @property
    def code(self) -> str:
        return f"{code_dtype(self.type)}_t"


def ports(graph: Graph) -> tuple[list[Port], list[Port], list[Port]]:
    """Inputs, outputs and registers."""
    ins = [Port("in", n, op.name, op.type) for n, op in enumerate(graph.input_ops)]
    named = zip(graph.output_names, graph.output_types, strict=True)
    outs = [Port("out", n, title, t) for n, (title, t) in enumerate(named)]
    ops = [graph.nodes[place].op for place, _ in graph.updates]
    held = [Port("state", n, op.name, op.type) for n, op in enumerate(ops) if isinstance(op, State)]
    return ins, outs, held


def c_name(name: str) -> str:
    """A Graph's name as a C identifier."""
    made = re.sub(r"\W", "_", name, flags=re.ASCII) or "graph"
    return f"n_{made}" if made[0].isdigit() or made in _C_WORDS.split() else made


def write_source(graph: Graph, *, wide: int | None = None) -> Source:
    """All files of a Graph.

    ``wide``: events at once; None for what fits the caches. Those of a Graph with registers are
    steps and go one by one. Raises `UnsupportedError` where the code would be too large.
    """
    program = stages(graph)
    layout = chosen_layout(program)
    where = memory(program, layout)
    if wide is None:
        wide = WIDE if where.size * WIDE <= MOST_MEMORY else 1
    if not graph.pure:
        wide = 1
    name = c_name(graph.name)
    texts = [
        kernel_text(n, kernel, runs, program, layout, where)
        for n, (kernel, runs) in enumerate(zip(program.kernels, layout.runs, strict=True))
    ]
    groups = list(parts(program))
    widths = sorted({1, wide})
    files = {f"{name}.h": header(graph, name)}
    units = [f"{name}.cpp"]
    calls: dict[int, list[str]] = {}
    if len(groups) > 1:
        for n, group in enumerate(groups):
            unit = f"{name}_{n}.cpp"
            units.append(unit)
            files[unit] = _part(name, n, [texts[k] for k in group], group, widths, where)
        names = [(n, w) for n in range(len(groups)) for w in widths]
        body = "".join(f"void {name}_part{n}_{w}({where.parameters});\n" for n, w in names)
        for w in widths:
            calls[w] = [f"{name}_part{n}_{w}({where.arguments});" for n in range(len(groups))]
    else:
        body = "namespace {\n\n" + "\n".join(texts) + "\n} // namespace\n"
        for w in widths:
            calls[w] = [f"kernel{k}<{w}>({where.arguments});" for k in range(len(texts))]
    files[units[0]] = _main(graph, name, program, layout, where, body, calls, wide)
    used = where.size * wide + where.frame * where.frames
    return Source(name, files, tuple(units), wide, used, program.steps)


def chosen_layout(program: Program) -> Layout:
    """Where elements lie: with registers, as it gives fewer runs."""
    chained = lay_out(program)
    straight = lay_out_straight(program) if program.held else None
    if straight is None:
        return chained
    chains, rows = (sum(len(r.length) for r in made.runs) for made in (chained, straight))
    return straight if rows <= chains else chained


def _part(
    name: str, n: int, texts: list[str], group: list[int], widths: list[int], where: Memory
) -> str:
    text = [f"// Part {n} of {name}; see {name}.cpp.\n", PREAMBLE, "namespace {\n\n"]
    text += ["\n".join(texts), "\n} // namespace\n\n"]
    for w in widths:
        text.append(f"void {name}_part{n}_{w}({where.parameters});\n")
        text.append(f"void {name}_part{n}_{w}({where.parameters}) {{\n")
        if where.frames:
            text.append(f"    {where.unread}\n")
        text += [f"    kernel{k}<{w}>({where.arguments});\n" for k in group]
        text.append("}\n")
    return "".join(text)


# --- the C interface -----------------------------------------------------------------------------


def header(graph: Graph, name: str) -> str:
    """The C interface."""
    ins, outs, held = ports(graph)
    capital = name.upper()
    text = [
        f"/* {name}: made by hairtrigger {__version__}. Exact integers; no tolerance.\n *\n",
        " * Inputs and outputs are codes: a number is its code times 2**-FRACTION. Events follow\n",
        " * each other; an event is a tensor, row by row.\n */\n",
        f"#ifndef {capital}_H\n#define {capital}_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n",
        '#ifdef __cplusplus\nextern "C" {\n#endif\n\n',
        f"#define {capital}_ABI {ABI}\n\n",
    ]
    for port in (*ins, *outs, *held):
        shape = " x ".join(map(str, port.type.shape)) or "1"
        title = re.sub(r"[^\x20-\x7e]|\*/|/\*", "?", port.title)
        what = {"in": "Input", "out": "Output", "state": "Register"}[port.kind]
        own = f"{capital}_{port.kind.upper()}{port.number}"
        text += [
            f'/* {what} {port.number} "{title}": {shape} codes. */\n',
            f"#define {own}_SIZE {port.type.size}\n",
            f"#define {own}_FRACTION ({port.type.lsb})\n",
            f"typedef {port.code} {name}_{port.kind}{port.number}_t;\n\n",
        ]
    text.append("/* Version of this interface in the library that is linked. */\n")
    text.append(f"int {name}_abi(void);\n\n")
    if held:
        text.append("/* What the registers hold between two events, in codes. */\n")
        text.append(f"typedef struct {name}_state {{\n")
        for port in held:
            at = f"{capital}_STATE{port.number}_SIZE"
            text.append(f"    {name}_state{port.number}_t state{port.number}[{at}];\n")
        text.append(f"}} {name}_state_t;\n\n")
        text.append("/* Bytes of a state. */\n")
        text.append(f"size_t {name}_state_size(void);\n\n")
        text.append("/* What the registers hold before the first event. */\n")
        text.append(f"void {name}_reset({name}_state_t *state);\n\n")
    text.append(
        "/* Runs `events` events. 0: done. 1: a code is out of its format; results are then\n"
    )
    text.append(" * undefined. Any number of threads may call it at once")
    text.append(", each with a state of its own" if held else "")
    text.append(". It allocates nothing. */\n")
    text.append(f"int {name}_run({', '.join(_arguments(name, ins, outs, held))});\n\n")
    for port in ins:
        if encodes(graph.input_ops[port.number]):
            for kind, real in (("f32", "float"), ("f64", "double")):
                text.append(f"{_encoder(name, port, kind, real)};\n\n")
    text.append("#ifdef __cplusplus\n}\n#endif\n\n#endif\n")
    return "".join(text)


def _arguments(
    name: str, ins: Sequence[Port], outs: Sequence[Port], held: Sequence[Port]
) -> list[str]:
    """Parameters of ``run``."""
    made = [f"{name}_state_t *state"] if held else []
    made += [f"const {name}_in{p.number}_t *in{p.number}" for p in ins]
    made += [f"{name}_out{p.number}_t *out{p.number}" for p in outs]
    return [*made, "size_t events"]


def _encoder(name: str, port: Port, kind: str, real: str) -> str:
    n = port.number
    return (
        f"/* Real numbers to codes of input {n}, rounded and limited as it says. 1: a number is"
        f"\n * NaN, infinite or too large to be sure. */\nint {name}_encode{n}_{kind}"
        f"(const {real} *numbers, {name}_in{n}_t *codes, size_t events)"
    )


# --- the source ----------------------------------------------------------------------------------


def _main(
    graph: Graph,
    name: str,
    program: Program,
    layout: Layout,
    where: Memory,
    body: str,
    calls: dict[int, list[str]],
    wide: int,
) -> str:
    ins, outs, held = ports(graph)
    text = [
        f"// {name}: made by hairtrigger {__version__}. C++17, two's complement integers.\n",
        "// Each kernel runs on W events at once; lanes hold equal elements of all of them.\n",
        f'#include "{name}.h"\n\n',
        PREAMBLE,
        body,
        "\nnamespace {\n\n",
    ]
    sources = [*ins, *held]
    if wide > 1:
        turned = {(code_dtype(p.type), p.type.size) for p in ins}
        squares = {(dtype, square(dtype, size, wide)) for dtype, size in turned}
        text += [turn_text(*key) for key in sorted(squares, key=str)]
    for n, port in enumerate(sources):
        text += [input_text(n, port.type, program, layout, where, w) for w in calls]
    for n, (port, refs) in enumerate(zip(outs, program.outputs, strict=True)):
        text.append(output_text(n, port.type, refs, program, layout, where))
    for n, (port, at) in enumerate(zip(held, program.held, strict=True), start=len(outs)):
        text.append(output_text(n, port.type, at.elements, program, layout, where, at.age))
    parameters = [f"const {p.code} *{_field(p)}" for p in ins]
    parameters += [f"{p.code} *{_field(p)}" for p in outs]
    given = where.arguments
    for w, lines in calls.items():
        text.append(f"\nbool run{w}({', '.join([*parameters, where.parameters])}) {{\n")
        text.append("    bool right = true;\n")
        if held:
            text.append(f"    {where.unread}\n")
        text += [f"    right &= load{n}_{w}({_field(p)}, {given});\n" for n, p in enumerate(ins)]
        text += [f"    {line}\n" for line in lines]
        text += [f"    store{n}<{w}>({given}, {_field(p)});\n" for n, p in enumerate(outs)]
        text.append("    return right;\n}\n")
    for w in calls:  # apart, for where the zeros lie depends on W
        text.append(f"\nalignas(64) thread_local char lanes{w}[{where.size * w + 64}];\n")
    if where.frames:
        text.append(f"\nalignas(64) thread_local char frames[{where.frames * where.frame}];\n")
    text += [encode_text(n, op) for n, op in enumerate(graph.input_ops) if encodes(op)]
    text.append("\n} // namespace\n\n")
    text.append(f"int {name}_abi(void) {{ return {name.upper()}_ABI; }}\n\n")
    if held:
        text.append(_reset(graph, name, held))
    text.append(_run(name, ins, outs, held, wide, where))
    for port, op in zip(ins, graph.input_ops, strict=True):
        if encodes(op):
            for kind, real in (("f32", "float"), ("f64", "double")):
                signature = _encoder(name, port, kind, real).split("*/\n", 1)[1]
                call = f"encode{port.number}<{real}>(numbers, codes, events)"
                text.append(f"\n{signature} {{\n    return {call} ? 0 : 1;\n}}\n")
    return "".join(text)


def _field(port: Port) -> str:
    return f"{port.kind}{port.number}"


def _reset(graph: Graph, name: str, held: Sequence[Port]) -> str:
    text = [f"size_t {name}_state_size(void) {{ return sizeof({name}_state_t); }}\n\n"]
    lines: list[str] = []
    for port, (place, _) in zip(held, graph.updates, strict=True):
        op = graph.nodes[place].op
        assert isinstance(op, State)
        codes = op.reset.at(op.type.lsb)
        if np.any(codes):
            text.append("static " + array(f"reset{port.number}", codes))
        code = f"reset{port.number}[n]" if np.any(codes) else "0"
        lines.append(f"    for (size_t n = 0; n < {port.type.size}; ++n)\n")
        lines.append(f"        state->{_field(port)}[n] = ({port.code}){code};\n")
    return "".join([*text, f"\nvoid {name}_reset({name}_state_t *state) {{\n", *lines, "}\n\n"])


def _run(
    name: str,
    ins: Sequence[Port],
    outs: Sequence[Port],
    held: Sequence[Port],
    wide: int,
    where: Memory,
) -> str:
    moving = [*ins, *outs]
    arguments = ", ".join(f"{_field(p)} + n * {p.type.size}" for p in moving)
    text = [f"int {name}_run({', '.join(_arguments(name, ins, outs, held))}) {{\n"]
    text.append("    bool right = true;\n    size_t n = 0;\n")
    text += [
        f"    char *memory{w} = lanes{w};\n    HT_ONCE(memory{w});\n" for w in sorted({1, wide})
    ]
    if wide > 1:
        text.append(f"    for (; n + {wide} <= events; n += {wide})\n")
        text.append(f"        right &= run{wide}({arguments}, memory{wide});\n")
        if moving:
            text.append(f"    if (events - n > {FEW}) {{\n")
            for p in moving:
                size = p.type.size
                start = " = {0}" if p.kind == "in" else ""
                own = f"{p.code} last_{_field(p)}[{wide * size}]{start}"
                text.append(f"        static thread_local {own};\n")
            for p in ins:
                size = p.type.size
                text += [
                    f"        for (size_t k = 0; k < {wide * size}; ++k)\n",
                    f"            last_{_field(p)}[k] = k < (events - n) * {size}"
                    f" ? {_field(p)}[n * {size} + k] : ({p.code})0;\n",
                ]
            last = ", ".join(f"last_{_field(p)}" for p in moving)
            text.append(f"        right &= run{wide}({last}, memory{wide});\n")
            for p in outs:
                size = p.type.size
                text += [
                    f"        for (size_t k = 0; k < (events - n) * {size}; ++k)\n",
                    f"            {_field(p)}[n * {size} + k] = last_{_field(p)}[k];\n",
                ]
            text.append("        return right ? 0 : 1;\n    }\n")
    if not held:
        text += [
            "    for (; n < events; ++n)\n",
            f"        right &= run1({arguments}, memory1);\n",
            "    return right ? 0 : 1;\n}\n",
        ]
        return "".join(text)
    kept = [f"state->{_field(p)}" for p in held]
    loads = enumerate(kept, start=len(ins))
    stores = enumerate(kept, start=len(outs))
    text += [
        f"    char *all = frames, *frame[{where.frames}];\n    HT_ONCE(all);\n",
        f"    for (int k = 0; k < {where.frames}; ++k)\n",
        f"        frame[k] = all + ptrdiff_t(k) * {where.frame};\n",
        *(f"    right &= load{n}_1({at}, memory1, frame);\n" for n, at in loads),
        "    for (; n < events; ++n) {\n",
        f"        right &= run1({arguments}{', ' if moving else ''}memory1, frame);\n",
        "        // The oldest frame is the one that the next step writes.\n",
        f"        char *const oldest = frame[{where.frames - 1}];\n",
        f"        for (int k = {where.frames - 1}; k > 0; --k)\n",
        "            frame[k] = frame[k - 1];\n",
        "        frame[0] = oldest;\n    }\n",
        *(f"    store{n}<1>(memory1, frame, {at});\n" for n, at in stores),
        "    return right ? 0 : 1;\n}\n",
    ]
    return "".join(text)
