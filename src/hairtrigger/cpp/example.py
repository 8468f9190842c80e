"""An example in C that calls the C++ of a Graph, and the Makefile that builds both."""

from __future__ import annotations

from hairtrigger.cpp.source import Source, ports
from hairtrigger.graph.graph import Graph


def example_text(graph: Graph, name: str) -> str:
    """A C program: codes of events from standard input, codes of results to standard output."""
    ins, outs, held = ports(graph)
    inputs = " and ".join(f"{p.type.size} of input {p.number}" for p in ins) or "none"
    text = [
        f"/* Runs {name} on events from standard input, one event after the other.\n",
        f" * Whole numbers between spaces: for each event its codes ({inputs}).\n",
        " * Prints the codes of the results, one event on a line. */\n",
        f'#include "{name}.h"\n\n#include <stdio.h>\n\n',
        "int main(void) {\n",
    ]
    text += [f"    static {name}_in{p.number}_t in{p.number}[{p.type.size}];\n" for p in ins]
    text += [f"    static {name}_out{p.number}_t out{p.number}[{p.type.size}];\n" for p in outs]
    text.append("    long long code;\n")
    if held:
        text.append(f"    static {name}_state_t state;\n    {name}_reset(&state);\n")
    text += [
        f"    if ({name}_abi() != {name.upper()}_ABI) {{\n",
        '        fprintf(stderr, "header and library do not fit each other\\n");\n',
        "        return 2;\n    }\n",
        "    for (;;) {\n" if ins else "    {\n",
    ]
    for p in ins:
        text += [
            f"        for (int n = 0; n < {p.type.size}; ++n) {{\n",
            '            if (scanf("%lld", &code) != 1) return 0;\n',
            f"            in{p.number}[n] = ({name}_in{p.number}_t)code;\n",
            f"            if ((long long)in{p.number}[n] != code) return 1;\n",
            "        }\n",
        ]
    arguments = ["&state"] if held else []
    arguments += [f"in{p.number}" for p in ins] + [f"out{p.number}" for p in outs] + ["1"]
    text.append(f"        if ({name}_run({', '.join(arguments)}) != 0) {{\n")
    text.append('            fprintf(stderr, "a code is out of its format\\n");\n')
    text.append("            return 1;\n        }\n")
    for p in outs:
        text.append(f"        for (int n = 0; n < {p.type.size}; ++n)\n")
        text.append(f'            printf("%lld ", (long long)out{p.number}[n]);\n')
    text.append('        printf("\\n");\n    }\n')
    if not ins:
        text.append("    (void)code;\n    return 0;\n")
    text.append("}\n")
    return "".join(text)


def makefile_text(source: Source) -> str:
    """``make`` builds a static library and the example; ``make shared`` a shared library."""
    name = source.name
    objects = " ".join(unit.removesuffix(".cpp") + ".o" for unit in source.units)
    return f"""\
# make: lib{name}.a and the example; make shared: lib{name}.so. make -j compiles side by side.
# -march=native uses all instructions of this machine; for another one name it: make ARCH=x86-64-v3
ARCH     ?= native
CXXFLAGS ?= -O3 -march=$(ARCH) -fno-trapping-math
OBJECTS  := {objects}

all: lib{name}.a example

shared: lib{name}.so

%.o: %.cpp {name}.h
\t$(CXX) -std=c++17 -fPIC -fno-exceptions -fno-rtti $(CXXFLAGS) -c $< -o $@

lib{name}.a: $(OBJECTS)
\t$(AR) rcs $@ $^

lib{name}.so: $(OBJECTS)
\t$(CXX) -shared $^ -o $@

example: example.c {name}.h lib{name}.a
\t$(CC) -std=c99 -O2 example.c lib{name}.a -o $@

clean:
\trm -f $(OBJECTS) lib{name}.a lib{name}.so example

.PHONY: all shared clean
"""
