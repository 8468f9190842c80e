"""Many Graphs in one compilation: what a random test of C++ can afford."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from hairtrigger.cpp.library import Library, build, load
from hairtrigger.cpp.source import write_source
from hairtrigger.graph import Graph

QUICK = (
    "-std=c++17",
    "-O1",
    "-fPIC",
    "-fno-exceptions",
    "-fno-rtti",
    "-Wall",
    "-Wextra",
    "-Werror",
)
"""Flags that compile quickly, for this machine or any other, and take every warning as an error."""


def compile_all(
    graphs: Sequence[Graph], folder: Path, flags: Sequence[str] | None = QUICK, wide: int = 32
) -> list[Library]:
    named = [dataclasses.replace(g, name=f"g{n}") for n, g in enumerate(graphs)]
    sources = [write_source(g, wide=wide) for g in named]
    path = build(sources, folder=folder, flags=flags)
    return [load(g, s, path) for g, s in zip(named, sources, strict=True)]
