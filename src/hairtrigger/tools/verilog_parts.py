"""Divides a Verilog design into parts that Yosys synthesises one by one.

Yosys's ABC9 takes time for each module that grows with the whole design: a hundred kernels in one
run take several times as long as in parts. Where the hierarchy is kept nothing crosses a module's
border, so the cells are the same but for ABC9's choices between equals (55,175 LUTs in parts and
55,167 in one run for a muon trigger, with the same registers). In the files of a part the modules
of others are black boxes; all lines stay where they are, so that errors name the right ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

HOLDER = "hairtrigger_holder"
"""The top of a part: one instance of each of its modules."""
LIMIT = 2_000_000
"""Modules of a part times their bytes: what ABC9's time grows with."""
_MODULE = re.compile(r"^module[ ]+(\w+)[ ]*\((.*?)\);$(.*?)^endmodule\b", re.M | re.S)


@dataclass(frozen=True)
class Part:
    """The files' ``texts`` for one run, the ``top`` to synthesise, and the ``modules`` that it is
    for (none: all that there are)."""

    texts: tuple[str, ...]
    top: str
    modules: tuple[str, ...] = ()


def divide(texts: Sequence[str], top: str) -> list[Part]:
    """The parts of a design: ``top`` alone, the others by size; one part where all is small.

    Modules that do not start at the beginning of a line, or whose parameters come before their
    ports, are not seen as modules; a design with such stays whole.
    """
    sizes: dict[str, int] = {}
    for text in texts:
        found = list(_MODULE.finditer(text))
        if len(found) != len(re.findall(r"\bmodule\s", _without_comments(text))):
            return [Part(tuple(texts), top)]
        sizes |= {match[1]: len(match[0]) for match in found}
    if top not in sizes or len(sizes) * sum(sizes.values()) <= LIMIT:
        return [Part(tuple(texts), top)]
    groups = [[top]]
    count = total = 0
    for name in sorted(sizes.keys() - {top}, key=lambda name: (-sizes[name], name)):
        count, total = count + 1, total + sizes[name]
        if count == 1 or count * total > LIMIT:
            groups.append([])
            count, total = 1, sizes[name]
        groups[-1].append(name)
    return [_part(texts, names) for names in groups]


def _part(texts: Sequence[str], names: Sequence[str]) -> Part:
    def outside(match: re.Match[str]) -> str:
        if match[1] in names:
            return match[0]
        lines = match[3].count("\n")
        return f"(* blackbox *) module {match[1]} ({match[2]});{chr(10) * lines}endmodule"

    cut = tuple(_MODULE.sub(outside, text) for text in texts)
    if len(names) == 1:
        return Part(cut, names[0], tuple(names))
    inside = "".join(f"    (* keep *) {name} hold_{n} ();\n" for n, name in enumerate(names))
    return Part((*cut, f"module {HOLDER};\n{inside}endmodule\n"), HOLDER, tuple(names))


def _without_comments(text: str) -> str:
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)
