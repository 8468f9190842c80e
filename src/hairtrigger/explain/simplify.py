"""Simplification by importance: which slices of the input, channels and bits a network can lose.

What matters least for each LUT that it takes goes first. The importance is measured on events, the
LUTs are estimated on the Graph; training again, and what the chip then really takes, is the affair
of `hairtrigger.runs.simplify`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hairtrigger.errors import InputError
from hairtrigger.explain.cost import lut_estimate
from hairtrigger.explain.units import INPUT, Dropped, Unit, without_inputs
from hairtrigger.graph import Graph
from hairtrigger.graph.graph import rewrite
from hairtrigger.graph.linear import Conv, Dense
from hairtrigger.graph.passes import optimise
from hairtrigger.graph.types import Literal

INPUTS, CHANNELS, BITS, PRICE = "inputs", "channels", "bits", "price"
KINDS = (INPUTS, CHANNELS, BITS, PRICE)


@dataclass(frozen=True)
class Step:
    """One step: of "inputs", ``amount`` slices stay; of "channels" and "bits" so many go that at
    most the share ``amount`` of the estimated LUTs is left of what there was before the step. A
    "price" takes nothing: the network is only trained again, a bit at ``amount`` times its price.
    """

    kind: str
    amount: float

    def __post_init__(self) -> None:
        whole = self.kind == INPUTS
        if self.kind not in KINDS:
            raise InputError(f"There is no step {self.kind!r}.", f"Use one of {', '.join(KINDS)}.")
        if whole and (self.amount != int(self.amount) or self.amount < 1):
            raise InputError(f"inputs={self.amount:g}.", "Give how many slices stay: 1 or more.")
        if self.kind == PRICE and not self.amount > 0:
            raise InputError(f"price={self.amount:g}.", "Give how many times the price: above 0.")
        if self.kind in (CHANNELS, BITS) and not 0 < self.amount < 1:
            raise InputError(
                f"{self.kind}={100 * self.amount:g}%.", "Give the share of LUTs left, 1% to 99%."
            )

    def __str__(self) -> str:
        if self.kind in (INPUTS, PRICE):
            return f"{self.kind}={self.amount:g}"
        return f"{self.kind}={100 * self.amount:g}%"


Chain = tuple[Step, ...]


def parse_steps(text: str) -> tuple[Chain, ...]:
    """Chains of steps from text: "inputs=7 inputs=4; channels=80% bits=90% price=1".

    Steps of a chain add up; a semicolon begins anew from the network as it was. "none" is no chain
    at all. Raises `InputError` for what is no such text.
    """
    if text.strip() == "none":
        return ()
    chains: list[Chain] = []
    for part in text.split(";"):
        steps: list[Step] = []
        for word in part.split():
            match = re.fullmatch(r"([a-z]+)=(\d+(?:\.\d+)?)(%?)", word)
            if match is None or (match[3] == "%") == (match[1] in (INPUTS, PRICE)):
                raise InputError(
                    f"step {word!r}",
                    "write inputs=4 (slices that stay), channels=80%, bits=90% or price=1",
                )
            steps.append(Step(match[1], float(match[2]) / (100 if match[3] else 1)))
        if not steps:
            raise InputError(f"steps {text!r}: there is an empty chain", "write inputs=4 or so")
        chains.append(tuple(steps))
    return tuple(chains)


@dataclass(frozen=True)
class Candidate:
    """A unit that could go: its ``importance`` and the LUTs that would be saved (an estimate)."""

    unit: Unit
    importance: float
    lut: float


def candidates(
    graph: Graph, importances: Mapping[Unit, float], interval: int = 1, axis: int = 0
) -> tuple[Candidate, ...]:
    """What each unit costs beside what it matters; the least importance for a LUT first."""
    whole = sum(lut_estimate(graph, interval))
    found = []
    for unit, value in importances.items():
        left = sum(lut_estimate(without(graph, [unit], axis), interval))
        found.append(Candidate(unit, value, whole - left))
    return tuple(sorted(found, key=_price))


def _price(one: Candidate) -> tuple[float, float, Unit]:
    # What neither matters nor costs goes first: it only stands in the way.
    price = one.importance / max(one.lut, 1.0) if one.importance else 0.0
    return (price, one.importance, one.unit)


def without(graph: Graph, units: Sequence[Unit], axis: int = 0) -> Graph:
    """The simplified Graph of a network whose units have gone; channels by their layer's label."""
    slices = tuple(sorted(unit.index for unit in units if unit.layer == INPUT))
    columns: dict[str, list[int]] = {}
    for unit in units:
        if unit.layer != INPUT:
            columns.setdefault(unit.layer, []).append(unit.index)
    changes: dict[int, Dense | Conv] = {}
    for place, node in enumerate(graph.nodes):
        gone = columns.get(layer_of(node.label))
        if gone and isinstance(node.op, Dense | Conv):
            changes[place] = replace(
                node.op, kernel=_zeroed(node.op.kernel, gone), bias=_zeroed(node.op.bias, gone)
            )
    missing = set(columns) - {layer_of(graph.nodes[place].label) for place in changes}
    if missing:
        raise InputError(
            f"Graph {graph.name!r} has no products of layers {sorted(missing)}.",
            "Give the Graph that this network was converted to.",
        )
    changed = optimise(rewrite(graph, changes)) if changes else graph
    return without_inputs(changed, Dropped(axis, slices)) if slices else changed


def layer_of(label: str) -> str:
    """The name of the layer in a node's label, as the frontend writes it: "hits (QDense)"."""
    return label.partition(" (")[0]


def _zeroed(literal: Any, columns: Sequence[int]) -> Any:
    if literal is None:
        return None
    codes = literal.codes.copy()
    codes[..., list(columns)] = 0
    return Literal(codes, literal.fraction)


def choose_inputs(ranked: Sequence[Candidate], keep: int) -> tuple[Unit, ...]:
    """The slices to go so that ``keep`` stay: those that matter least, whatever they cost.

    Raises `InputError` where there are not more than ``keep``.
    """
    check_keep(len(ranked), keep)
    order = sorted(ranked, key=lambda one: (one.importance, one.unit))
    return tuple(one.unit for one in order[: len(ranked) - keep])


def check_keep(count: int, keep: int) -> None:
    """Raise `InputError` unless ``keep`` of ``count`` slices are fewer than all."""
    if not keep < count:
        raise InputError(
            f"inputs={keep}: the network reads {count} slices at this step.",
            f"Give 1 to {count - 1}." if count > 1 else "Drop none.",
        )


def choose_channels(
    graph: Graph, ranked: Sequence[Candidate], share: float, interval: int = 1
) -> tuple[Unit, ...]:
    """The channels to go, in the order of ``ranked``, until at most ``share`` of the estimated LUTs
    is left; each layer keeps one channel. Raises `InputError` where that is not enough."""
    left_of: dict[str, int] = {}
    for one in ranked:
        left_of[one.unit.layer] = left_of.get(one.unit.layer, 0) + 1
    whole = sum(lut_estimate(graph, interval))
    gone: list[Unit] = []
    left = 1.0
    for one in ranked:
        if left_of[one.unit.layer] < 2:
            continue
        left_of[one.unit.layer] -= 1
        gone.append(one.unit)
        left = sum(lut_estimate(without(graph, gone), interval)) / whole
        if left <= share:
            return tuple(gone)
    raise InputError(
        f"Channels can go down to {100 * left:.1f} % of the LUTs here, not {100 * share:.1f} %.",
        "Ask for less.",
    )


def sample_of(count: int, most: int) -> np.ndarray:
    """Indices of at most ``most`` of ``count`` events, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))
