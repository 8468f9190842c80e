"""The files of a Graph in C++: a C header, the source, an example in C and a Makefile."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hairtrigger import __version__
from hairtrigger.cpp.border import code_dtype, input_text, output_text, square, turn_text
from hairtrigger.cpp.emit import Memory, kernel_text, memory, parts
from hairtrigger.cpp.layout import Layout, lay_out
from hairtrigger.cpp.stages import Program, stages
from hairtrigger.graph.graph import Graph

ABI = 1
"""Version of the C interface; it changes when a function or its meaning does."""

WIDE = 32
"""Events that are worked on at once where there are many."""

MOST_MEMORY = 1 << 20
"""Bytes of lanes beyond which events go through one by one: the second-level cache is left."""

_C_WORDS = frozenset(
    [
        "auto",
        "bool",
        "break",
        "case",
        "char",
        "class",
        "const",
        "continue",
        "default",
        "delete",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "false",
        "float",
        "for",
        "if",
        "inline",
        "int",
        "long",
        "new",
        "private",
        "public",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "template",
        "this",
        "true",
        "typedef",
        "union",
        "unsigned",
        "using",
        "virtual",
        "void",
        "volatile",
        "while",
    ]
)

PREAMBLE = """\
#include <stddef.h>
#include <stdint.h>

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
    """C++ of one Graph: the texts of its files by name, and what its memory is."""

    name: str
    files: dict[str, str]
    units: tuple[str, ...]
    wide: int
    memory_bytes: int
    steps: int


def c_name(name: str) -> str:
    """A Graph's name as a C identifier."""
    made = re.sub(r"\W", "_", name, flags=re.ASCII) or "graph"
    return f"n_{made}" if made[0].isdigit() or made in _C_WORDS else made


def write_source(graph: Graph, *, wide: int | None = None) -> Source:
    """All files of a Graph. ``wide``: events at once, None for what fits the caches.

    Raises `UnsupportedError` where the code would be too large.
    """
    program = stages(graph)
    layout = lay_out(program)
    where = memory(layout)
    if wide is None:
        wide = WIDE if where.size * WIDE <= MOST_MEMORY else 1
    name = c_name(graph.name)
    texts = [
        kernel_text(n, kernel, runs, program, layout, where)
        for n, (kernel, runs) in enumerate(zip(program.kernels, layout.runs, strict=True))
    ]
    groups = list(parts(program))
    widths = sorted({1, wide})
    files = {f"{name}.h": header(graph, name)}
    units = [f"{name}.cpp"]
    if len(groups) > 1:
        for n, group in enumerate(groups):
            unit = f"{name}_{n}.cpp"
            units.append(unit)
            files[unit] = _part(name, n, [texts[k] for k in group], group, widths)
        body = "".join(
            f"void {name}_part{n}_{w}(char *memory);\n" for n in range(len(groups)) for w in widths
        )
        calls = {w: [f"{name}_part{n}_{w}(memory);" for n in range(len(groups))] for w in widths}
    else:
        body = "namespace {\n\n" + "\n".join(texts) + "\n} // namespace\n"
        calls = {w: [f"kernel{k}<{w}>(memory);" for k in range(len(texts))] for w in widths}
    files[units[0]] = _main(graph, name, program, layout, where, body, calls, wide)
    return Source(name, files, tuple(units), wide, where.size * wide, program.steps)


def _part(name: str, n: int, texts: list[str], group: list[int], widths: list[int]) -> str:
    text = [f"// Part {n} of {name}; see {name}.cpp.\n", PREAMBLE, "namespace {\n\n"]
    text += ["\n".join(texts), "\n} // namespace\n\n"]
    for w in widths:
        text.append(f"void {name}_part{n}_{w}(char *memory);\n")
        text.append(f"void {name}_part{n}_{w}(char *memory) {{\n")
        text += [f"    kernel{k}<{w}>(memory);\n" for k in group]
        text.append("}\n")
    return "".join(text)


def _arguments(graph: Graph, *, names: bool = True) -> list[str]:
    """Parameters of ``run``, inputs first."""
    made: list[str] = []
    for n, op in enumerate(graph.input_ops):
        made.append(f"const {code_dtype(op.type)}_t *" + (f"in{n}" if names else ""))
    for n, t in enumerate(graph.output_types):
        made.append(f"{code_dtype(t)}_t *" + (f"out{n}" if names else ""))
    return made


def header(graph: Graph, name: str) -> str:
    """The C interface."""
    guard = f"{name.upper()}_H"
    text = [
        f"/* {name}: made by hairtrigger {__version__}. Exact integers; no tolerance.\n",
        " *\n",
        " * Inputs and outputs are codes: a number is its code times 2**-FRACTION. Events follow\n",
        " * each other; an event is a tensor, row by row.\n",
        " */\n",
        f"#ifndef {guard}\n#define {guard}\n\n#include <stddef.h>\n#include <stdint.h>\n\n",
        '#ifdef __cplusplus\nextern "C" {\n#endif\n\n',
        f"#define {name.upper()}_ABI {ABI}\n\n",
    ]
    for kind, tensors in (
        ("IN", [(op.name, op.type) for op in graph.input_ops]),
        ("OUT", list(zip(graph.output_names, graph.output_types, strict=True))),
    ):
        for n, (title, t) in enumerate(tensors):
            shape = " x ".join(map(str, t.shape)) or "1"
            safe = re.sub(r"[^\x20-\x7e]|\*/|/\*", "?", title)
            text.append(f'/* {kind.lower()}put {n} "{safe}": {shape} codes. */\n')
            text.append(f"#define {name.upper()}_{kind}{n}_SIZE {t.size}\n")
            text.append(f"#define {name.upper()}_{kind}{n}_FRACTION ({t.lsb})\n")
            text.append(f"typedef {code_dtype(t)}_t {name}_{kind.lower()}{n}_t;\n\n")
    text.append("/* Version of this interface in the library that is linked. */\n")
    text.append(f"int {name}_abi(void);\n\n")
    text.append(
        "/* Runs `events` events. 0: done. 1: a code is out of its format, results are undefined.\n"
        " * Any number of threads may call it at once. It allocates nothing. */\n"
    )
    arguments = ", ".join([*_arguments(graph), "size_t events"])
    text.append(f"int {name}_run({arguments});\n\n")
    text.append("#ifdef __cplusplus\n}\n#endif\n\n#endif\n")
    return "".join(text)


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
    ins, outs = graph.input_ops, graph.output_types
    text = [
        f"// {name}: made by hairtrigger {__version__}. C++17, two's complement integers.\n",
        "// Each kernel runs on W events at once; lanes hold equal elements of all of them.\n",
        f'#include "{name}.h"\n\n',
        PREAMBLE,
        body,
        "\nnamespace {\n\n",
    ]
    turned = {(code_dtype(op.type), square(code_dtype(op.type), op.type.size, wide)) for op in ins}
    if wide > 1:
        text += [turn_text(*key) for key in sorted(turned, key=str)]
    for n, op in enumerate(ins):
        text += [input_text(n, op.type, program, layout, where, w) for w in calls]
    for n, (t, refs) in enumerate(zip(outs, program.outputs, strict=True)):
        text.append(output_text(n, t, refs, program, layout, where))
    arguments = _arguments(graph)
    listed = ", ".join(arguments)
    for w, lines in calls.items():
        text.append(f"\nbool run{w}({', '.join([*arguments, 'char *memory'])}) {{\n")
        text.append("    bool right = true;\n")
        text += [f"    right &= load{n}_{w}(in{n}, memory);\n" for n in range(len(ins))]
        text += [f"    {line}\n" for line in lines]
        text += [f"    store{n}<{w}>(memory, out{n});\n" for n in range(len(outs))]
        text.append("    return right;\n}\n")
    for w in calls:  # apart, for where the zeros lie depends on W
        text.append(f"\nalignas(64) thread_local char lanes{w}[{where.size * w + 64}];\n")
    text.append("\n} // namespace\n\n")
    text.append(f"int {name}_abi(void) {{ return {name.upper()}_ABI; }}\n\n")
    text.append(f"int {name}_run({listed}{', ' if listed else ''}size_t events) {{\n")
    text.append("    bool right = true;\n    size_t n = 0;\n")
    sizes = [op.type.size for op in ins] + [t.size for t in outs]
    names = [f"in{n}" for n in range(len(ins))] + [f"out{n}" for n in range(len(outs))]
    at = ", ".join(f"{x} + n * {size}" for x, size in zip(names, sizes, strict=True))
    if wide > 1:
        text += [
            f"    for (; n + {wide} <= events; n += {wide})\n",
            f"        right &= run{wide}({at}, lanes{wide});\n",
        ]
    text += [
        "    for (; n < events; ++n)\n",
        f"        right &= run1({at}, lanes1);\n",
        "    return right ? 0 : 1;\n}\n",
    ]
    return "".join(text)
