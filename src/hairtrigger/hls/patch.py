"""A checked patch of the top function that hls4ml wrote: another function around the network."""

from __future__ import annotations

import re

from hairtrigger.errors import ToolError
from hairtrigger.hls.insert import Placed

_PRAGMAS = re.compile(r"^ *#pragma HLS (INTERFACE|ARRAY_\w+) .*\n", re.MULTILINE)
_START = "    // hls-fpga-machine-learning insert IO\n"
_LAYERS = "    // hls-fpga-machine-learning insert layers\n"
_INCLUDE = '#include "parameters.h"\n'


def wrap_top(text: str, name: str, placed: Placed, io_type: str, words: int) -> str:
    """hls4ml's ``NAME.cpp`` with ``placed`` around the network, which becomes ``NAME_network``.

    ``words``: how many of the input's words a stream has to hold. Every anchor must be there
    exactly once, else nothing is changed and `ToolError` is raised.
    """
    head = re.compile(rf"^void {re.escape(name)}\(\n(?P<ports>(?:    .*\n)+)\) \{{\n", re.MULTILINE)
    found = head.findall(text)
    _once(len(found), f"void {name}(...)")
    _once(text.count(_INCLUDE), _INCLUDE.strip())
    _once(text.count(_START), _START.strip())
    _once(text.count(_LAYERS), _LAYERS.strip())
    ports = found[0]
    names = re.findall(r"&?(\w+)(?:\[[\d*]+\])?,?$", ports, re.MULTILINE)
    _once(len(names) - 1, "one input and one output")
    given, answer = names
    start, end = text.index(_START), text.index(_LAYERS)
    pragmas = "".join(x[0] for x in _PRAGMAS.finditer(text, start, end))
    interface = re.findall(r"^ *#pragma HLS INTERFACE .*\n", text[start:end], re.MULTILINE)
    _once(len(interface), "#pragma HLS INTERFACE")
    text = text.replace(interface[0], "")
    text = text.replace(_INCLUDE, f'{_INCLUDE}#include "{placed.header}"\n')
    text = head.sub(lambda m: m[0].replace(f"void {name}(", f"static void {name}_network("), text)
    function = placed.injection.function
    if io_type == "io_parallel":
        body = f"""    if (!{function}({given}, {answer})) // {placed.name}
        {name}_network({given}, {answer});
"""
    else:
        kind = re.search(rf"hls::stream<(\w+)> &{given}\b", ports)
        _once(int(kind is not None), f"the stream {given}")
        body = f"""    hls::stream<{kind[1] if kind else ""}> again("again");
    #pragma HLS STREAM variable=again depth={words}
    if (!{function}({given}, {answer}, again)) // {placed.name}
        {name}_network(again, {answer});
"""
    return f"""{text}
// Patched by hairtrigger: {placed.name} may answer in the network's stead.
void {name}(
{ports}) {{
{pragmas}{body}}}
"""


def _once(count: int, anchor: str) -> None:
    if count != 1:
        raise ToolError(
            f"hls4ml's top function has {anchor!r} {count} times, not once: it cannot be patched.",
            "This is another version of hls4ml than the patch was made for: install the pinned "
            "one, or leave out the injection around the network.",
        )
