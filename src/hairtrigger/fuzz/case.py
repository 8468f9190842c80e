"""One case of the fuzzer: a Graph, events, and how it is run; kept as a folder that replays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hairtrigger import __version__
from hairtrigger.errors import HairtriggerError, MismatchError, StorageError
from hairtrigger.fixed import IntArray
from hairtrigger.graph import Graph, emulate_codes, parse
from hairtrigger.graph.emulate import check_codes

Codes = tuple[IntArray, ...]

GRAPH, INPUTS, RECORD, README = "graph.txt", "inputs.npz", "case.json", "README.md"


@dataclass(frozen=True, eq=False)
class Case:
    """A Graph, codes for its Inputs, and what a check needs beside them.

    ``interval``: clocks from event to event in Verilog, at ``clock``; ``gaps_seed``: of random gaps
    between events, None for none; ``seed``: of all other choices that a check makes.
    """

    graph: Graph
    codes: Codes
    interval: int = 1
    clock: str = "200 MHz"
    gaps_seed: int | None = None
    seed: int = 0

    @property
    def events(self) -> int:
        """Events, or steps where the Graph has registers."""
        return len(self.codes[0]) if self.codes else 1

    @cached_property
    def expected(self) -> Codes:
        """What the emulator gives."""
        return emulate_codes(self.graph, self.codes)


class Difference(MismatchError):
    """Something that must give the emulator's integers gave others.

    ``output``: number of the first output that differs, None where it is not about one.
    """

    def __init__(self, problem: str, output: int | None = None) -> None:
        self.output = output
        super().__init__(problem)


def compare(who: str, expected: Sequence[IntArray], found: Sequence[IntArray]) -> None:
    """Raise `Difference`, naming the first number that differs."""
    for n, (a, b) in enumerate(zip(expected, found, strict=True)):
        if a.shape != b.shape:
            raise Difference(f"{who}: output {n} has shape {b.shape}, not {a.shape}.", n)
        wrong = np.argwhere(a != b)
        if len(wrong):
            at = tuple(int(k) for k in wrong[0])
            raise Difference(
                f"{who}: output {n} differs in {len(wrong)} of {a.size} numbers, first in event "
                f"{at[0]} at {list(at[1:])}: {int(b[at])} instead of {int(a[at])}.",
                n,
            )


def save(folder: Path, check: str, problem: str, case: Case, original: Case) -> None:
    """Write a reproducer. Raises `StorageError`."""
    record = {
        "check": check,
        "problem": problem,
        "interval": case.interval,
        "clock": case.clock,
        "gaps_seed": case.gaps_seed,
        "seed": case.seed,
        "version": __version__,
    }
    readme = (
        f"# {check}\n\n{problem}\n\n"
        "Check it again with `hairtrigger fuzz --replay FOLDER`, FOLDER being this one.\n"
        f"`{GRAPH}` and `{INPUTS}` (codes of the Inputs, in order) are as small as was found;\n"
        f"`original-{GRAPH}` and `original-{INPUTS}` are what was drawn.\n"
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for prefix, one in (("", case), ("original-", original)):
            (folder / (prefix + GRAPH)).write_text(str(one.graph), encoding="utf-8")
            arrays: dict[str, Any] = {f"input{n}": x for n, x in enumerate(one.codes)}
            np.savez_compressed(folder / (prefix + INPUTS), **arrays)
        (folder / README).write_text(readme, encoding="utf-8")
        (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"A difference was found, and its reproducer cannot be written to {folder}: "
            f"{error.strerror}.",
            "Choose a folder that can be written with --out.",
        ) from None


def load(folder: Path) -> tuple[str, Case]:
    """Name of the check and the case of a folder that `save` wrote. Raises `StorageError`."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        graph = parse((folder / GRAPH).read_text(encoding="utf-8"))
        with np.load(folder / INPUTS) as arrays:
            codes = tuple(arrays[f"input{n}"] for n in range(len(graph.inputs)))
        for op, x in zip(graph.input_ops, codes, strict=True):
            check_codes(op.type, x)
        case = Case(
            graph, codes, record["interval"], record["clock"], record["gaps_seed"], record["seed"]
        )
        return str(record["check"]), case
    except (OSError, ValueError, KeyError, TypeError, HairtriggerError) as error:
        raise StorageError(
            f"{folder} is no reproducer of hairtrigger fuzz: {error}",
            f"Give a folder with {GRAPH}, {INPUTS} and {RECORD}.",
        ) from None
