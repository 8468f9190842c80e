"""The documents on the Graph say what the code does: examples run, quotations are in the files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hairtrigger.fuzz.make_ops import OpMaker
from hairtrigger.graph.passes import PASSES
from hairtrigger.graph.text import OPS

ROOT = Path(__file__).parent.parent
GRAPH = (ROOT / "docs" / "graph.md").read_text(encoding="utf-8")
ADD_AN_OP = (ROOT / "docs" / "add_an_op.md").read_text(encoding="utf-8")


def blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def test_the_example_runs_and_prints_what_stands_below_it(capsys) -> None:
    (example,) = blocks(GRAPH)
    exec(compile(example, "docs/graph.md", "exec"), {})
    printed = capsys.readouterr().out
    indented = "".join(f"    {line}\n" for line in printed.strip().splitlines())
    assert indented in GRAPH


@pytest.mark.parametrize("block", blocks(ADD_AN_OP), ids=lambda block: block.splitlines()[0][2:])
def test_quotations_are_in_their_files(block: str) -> None:
    first, _, quotation = block.partition("\n")
    assert quotation in (ROOT / first.removeprefix("# ")).read_text(encoding="utf-8")


def test_every_op_and_pass_is_listed() -> None:
    assert [name for name in OPS if f"`{name}`" not in GRAPH] == []
    assert [p.__name__ for p in PASSES if f"| `{p.__name__}` |" not in GRAPH] == []


def test_names_that_the_walk_through_sends_its_reader_to_exist() -> None:
    assert "globalsum" in OpMaker.ANY
    sources = {path: (ROOT / "src" / "hairtrigger" / path).read_text() for path in (
        "rtl/lower.py", "rtl/kernels.py", "rtl/arithmetic.py", "rtl/positions.py",
        "backends/onnx.py", "backends/onnx_ops.py", "graph/exact.py"
    )}  # fmt: skip
    for path, names in {
        "rtl/lower.py": ("def _cell(",),
        "rtl/positions.py": ("class Positions", "def of("),
        "rtl/kernels.py": ("def element_lowering", "ELEMENT_WISE =", "KERNELS ="),
        "rtl/arithmetic.py": (
            "def add(",
            "def sum(",
            "def multiply(",
            "def maximum(",
            "def compare(",
            "def lookup(",
        ),
        "backends/onnx.py": ("def shape_problems",),
        "backends/onnx_ops.py": ("def write_node",),
        "graph/exact.py": ("def _measure",),
    }.items():
        assert [name for name in names if name not in sources[path]] == []
