"""Tries a function alone, outside any network: on every code of its input, against its meaning."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np

from hairtrigger.errors import InputError, MismatchError, ToolError
from hairtrigger.fixed import Fixed, IntArray
from hairtrigger.graph import Builder, Graph, TensorType, emulate_codes, ops
from hairtrigger.hls import convert
from hairtrigger.hls.compare import common, first_difference
from hairtrigger.hls.harness import HELPERS
from hairtrigger.hls.injection import Injection, Port
from hairtrigger.hls.reference import all_events
from hairtrigger.hls.simulator import CHECKED, FAST
from hairtrigger.tools import compiler, process


def try_alone(
    injection: Injection,
    io_type: str,
    codes: Sequence[IntArray] | None = None,
    *,
    random_events: int = 1000,
    seed: int = 1,
    check: bool = True,
) -> int:
    """Compare the function with its meaning (none: it changes nothing); gives the number of events.

    Within a network a function only meets what the layers before it give. Alone it gets extremes,
    every code of its input (up to 2^20 of them), random events and ``codes`` (one array (events,
    *shape)). ``check``: bounds of arrays are watched. Raises `InputError` where it cannot be tried
    alone, `MismatchError` for a difference, `ToolError` where it does not compile or fails.
    """
    graph, takes = _meaning(injection)
    gives = injection.gives or _cover(graph.output_types[0])
    if io_type not in injection.io_types:
        raise InputError(f"{injection.function} is not written for {io_type}.")
    (events,) = all_events(graph, codes, random_events, seed)
    (expected,) = emulate_codes(graph, [events])
    found = _run(injection, io_type, takes, gives, events, check)
    wanted, there = common(expected, graph.output_types[0], found, gives)
    first = first_difference(wanted, there, np.arange(len(events)))
    if first:
        raise MismatchError(
            f"{injection.function}, tried alone in {io_type}, differs from its meaning: {first}.",
            "Mend the function.",
        )
    return len(events)


def _meaning(injection: Injection) -> tuple[Graph, Port]:
    if injection.where.kind == "around" or injection.takes is None:
        raise InputError(
            f"{injection.function} ({injection.where}) cannot be tried alone.",
            "Give takes=; what goes around a network is tried with it.",
        )
    if injection.meaning is not None:
        return injection.meaning, injection.takes
    builder = Builder("same")
    t = TensorType.uniform(injection.takes.shape, injection.takes.format)
    return builder.build({"same": builder.add(ops.Input("x", t))}), injection.takes


def _cover(t: TensorType) -> Port:
    """One format for all elements."""
    alive = t.width > 0
    signed = bool(t.signed.any())
    integer = int(t.integer[alive].max()) if alive.any() else 1
    return Port(t.shape, Fixed(signed, integer, t.lsb))


def _run(
    injection: Injection, io_type: str, takes: Port, gives: Port, events: IntArray, check: bool
) -> IntArray:
    cxx = compiler.find_compiler()
    with tempfile.TemporaryDirectory(prefix="hairtrigger-hls-") as work:
        folder = Path(work)
        (folder / "alone.cpp").write_text(_text(injection, io_type, takes, gives), "utf-8")
        templates = _templates()
        include = ["-I", str(templates), "-I", str(templates / "ap_types")]
        flags = ["-std=c++17", "-w", *(CHECKED if check else FAST), *include]
        unit = compiler.Unit(folder / "alone.cpp", folder / "alone.o")
        try:
            compiler.compile_objects(cxx, [unit], flags, folder=folder)
        except ToolError as error:
            raise ToolError(
                f"{injection.function} ({injection.where}) does not compile: {error.problem}",
                error.fix,
            ) from error
        sanitizers = [x for x in flags if x.startswith("-fsanitize")]
        compiler.link(cxx, [unit.object], folder / "alone", sanitizers)
        np.ascontiguousarray(events, dtype=np.int64).tofile(folder / "in")
        done = process.run(
            [folder / "alone", folder / "in", folder / "out"],
            tool=injection.function,
            timeout_s=600,
            extra_env={"ASAN_OPTIONS": "detect_leaks=0"},
        )
        written = folder / "out"
        count = written.stat().st_size // (8 * prod(gives.shape)) if written.exists() else 0
        if done.status != 0 or count != len(events) or "WARNING: Hls::stream" in done.output:
            marks = ("ERROR: AddressSanitizer", "runtime error", "WARNING: Hls::stream")
            raise MismatchError(
                f"{injection.function}, tried alone in {io_type}, fails in event {count} "
                f"({process.describe_status(done.status)})"
                + process.quote(process.first_lines(done.output, marks)),
                "It may read and write its arrays only, and each word of its streams once.",
            )
        return np.fromfile(written, dtype=np.int64).reshape(len(events), *gives.shape)


def _templates() -> Path:
    """Where hls4ml keeps the headers of ap_fixed, streams and nnet."""
    convert.version()
    spec = importlib.util.find_spec("hls4ml")
    return Path(str(spec.origin)).parent / "templates" / "vivado" if spec else Path()


def _text(injection: Injection, io_type: str, takes: Port, gives: Port) -> str:
    if io_type == "io_parallel":
        kinds = ("", "")
        declared = [
            f"std::unique_ptr<{x}_t[]> {x}(new {x}_t[{prod(port.shape)}]);"
            for x, port in (("given", takes), ("taken", gives))
        ]
        names = ("given.get()", "taken.get()")
    else:
        kinds = tuple(f"nnet::array<{_type(x)}, {x.shape[-1]}>" for x in (takes, gives))
        declared = [f'hls::stream<{x}_t> {x}("{x}");' for x in ("given", "taken")]
        names = ("given", "taken")
    return f"""#include "ap_fixed.h"
#include "ap_int.h"
#include "hls_stream.h"
#include "nnet_utils/nnet_types.h"
#include <cstdint>
#include <cstdio>
#include <memory>
#include <vector>
{injection.source}
namespace {{
{HELPERS}}}
typedef {kinds[0] or _type(takes)} given_t;
typedef {kinds[1] or _type(gives)} taken_t;
int main(int, char **words) {{
    FILE *in = std::fopen(words[1], "rb"), *out = std::fopen(words[2], "wb");
    if (!in || !out) return 2;
    std::setvbuf(out, NULL, _IONBF, 0);
    std::vector<int64_t> event({prod(takes.shape)}), answer;
    while (std::fread(event.data(), 8, event.size(), in) == event.size()) {{
        const int64_t *codes = event.data();
        {declared[0]}
        {declared[1]}
        give({names[0]}, codes, event.size());
        {injection.function}({names[0]}, {names[1]});
        answer.clear();
        take({names[1]}, answer, {prod(gives.shape)});
        if (std::fwrite(answer.data(), 8, answer.size(), out) != answer.size()) return 2;
    }}
    return std::fclose(out) == 0 ? 0 : 2;
}}
"""


def _type(port: Port) -> str:
    """The type of ap_fixed.h of a format."""
    f = port.format
    name = "ap_fixed" if f.signed else "ap_ufixed"
    return f"{name}<{f.width}, {f.integer + int(f.signed)}>"
