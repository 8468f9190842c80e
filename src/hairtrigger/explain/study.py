"""Explains a case: maps of all its networks, checks of the maps, and the case's questions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import HairtriggerError, InputError, UnsupportedError
from hairtrigger.explain.case import Case, Events
from hairtrigger.explain.explained import Explained
from hairtrigger.explain.faithfulness import (
    Agreement,
    Completeness,
    Estimate,
    agreement,
    completeness,
    curves,
    sanity,
)
from hairtrigger.explain.gradients import (
    grad_cam,
    gradient_times_input,
    saliency,
    smooth_grad,
)
from hairtrigger.explain.load import CHIP
from hairtrigger.explain.refine import refined_gradients
from hairtrigger.explain.relevance import relevance
from hairtrigger.explain.removal import light_up, occlusion
from hairtrigger.explain.subject import as_subject

COMPARED = 100
"""Events on which methods and networks are compared; Keras takes a second for some thousand."""
SHUFFLED = 24
"""Events of the sanity check, which explains them once for each layer."""
ORDERS = 8
ORDERS_COMPARED = 4


@dataclass(frozen=True)
class MapRow:
    """One method on one network: wall ``seconds`` and ``cpu_seconds`` (all threads) for ``events``,
    compilation included; ``complete``: None where its shares are
    no parts of the answer; ``on_signal``: mean share of positive attribution on the true signal's
    inputs; gains over random order; ``refused``: why there is no map."""

    network: str
    method: str
    events: int
    seconds: float | None = None
    cpu_seconds: float | None = None
    complete: Completeness | None = None
    on_signal: float | None = None
    deletion_gain: Estimate | None = None
    insertion_gain: Estimate | None = None
    refused: str | None = None


@dataclass(frozen=True)
class CurveRecord:
    """`faithfulness.Curves` of one map, as numbers for a record."""

    network: str
    shares: tuple[float, ...]
    deletion: tuple[float, ...]
    insertion: tuple[float, ...]
    random_deletion: tuple[float, ...]
    random_insertion: tuple[float, ...]
    areas: Mapping[str, float]
    deletion_gain: Estimate
    insertion_gain: Estimate


@dataclass(frozen=True)
class SanityRow:
    """A layer from which upwards the weights are shuffled, and the rank correlation that is left
    (None: no event has a map any more)."""

    network: str
    layer: str
    rank: float | None
    error: float | None


@dataclass(frozen=True)
class AgreementRow:
    """How alike the maps of two networks are."""

    first: str
    second: str
    agreement: Agreement | None
    method: str = "light_up"


@dataclass(frozen=True)
class Checks:
    """All that is said of the maps."""

    maps: tuple[MapRow, ...]
    curves: tuple[CurveRecord, ...] = ()
    sanity: tuple[SanityRow, ...] = ()
    agreement: tuple[AgreementRow, ...] = field(default_factory=tuple[AgreementRow, ...])


def deployed_of(networks: Mapping[str, Any]) -> tuple[str, Any]:
    """The network that decides: the chip's Graph, else the last one."""
    name = CHIP if CHIP in networks else list(networks)[-1]
    return name, networks[name]


def main_map(
    case: Case, networks: Mapping[str, Any], events: Events, seed: int
) -> tuple[Explained, MapRow]:
    """The map of the deployed network, inputs lighted one by one, and what it cost."""
    name, network = deployed_of(networks)
    started, cpu = time.monotonic(), time.process_time()
    found = light_up(
        network, events.inputs, case.scalar, baseline=case.baseline, orders=ORDERS, seed=seed
    )
    spent = time.monotonic() - started, time.process_time() - cpu
    return found, MapRow(
        name,
        f"light_up, {ORDERS} orders",
        len(found),
        *spent,
        completeness(found),
        on_signal(found, events.signal),
    )


def on_signal(found: Explained, signal: NDArray[np.uint8] | None) -> float | None:
    """Mean over events of the share of positive attribution on the signal's inputs."""
    if signal is None:
        return None
    positive = np.maximum(found.values, 0).reshape(len(found), -1).astype(np.float64)
    mine = (positive * (signal[: len(found)].reshape(len(found), -1) == 1)).sum(axis=1)
    total = positive.sum(axis=1)
    some = total > 0
    return float((mine[some] / total[some]).mean()) if some.any() else None


Method = Callable[[Any, NDArray[Any], Any], Explained]


def methods(case: Case, seed: int) -> dict[str, Method]:
    """All methods with their options, by name; each takes (model, inputs, output)."""
    base = case.baseline
    return {
        "saliency": saliency,
        "gradient_times_input": lambda m, x, y: gradient_times_input(m, x, y, baseline=base),
        "integrated_gradients": lambda m, x, y: refined_gradients(m, x, y, baseline=base),
        "smooth_grad": lambda m, x, y: smooth_grad(m, x, y, noise=0.1, samples=8, seed=seed),
        "grad_cam": lambda m, x, y: grad_cam(m, x, y, layer=case.layer, to_image=case.to_image),
        "relevance": relevance,
        "occlusion": lambda m, x, y: occlusion(m, x, y, baseline=base),
        "light_up": lambda m, x, y: light_up(
            m, x, y, baseline=base, orders=ORDERS_COMPARED, seed=seed
        ),
    }


def compare(
    case: Case,
    networks: Mapping[str, Any],
    events: Events,
    seed: int,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Checks:
    """Every method on every network, on the first `COMPARED` events; then the checks."""
    inputs = events.inputs[:COMPARED]
    rows: list[MapRow] = []
    lighted: dict[str, Explained] = {}
    differing: dict[str, Explained] = {}
    all_methods = methods(case, seed)
    total = len(networks) * len(all_methods) + 2
    done = 0
    for name, network in networks.items():
        for method, explain in all_methods.items():
            started, cpu = time.monotonic(), time.process_time()
            try:
                found = explain(network, inputs, case.scalar)
            except UnsupportedError as error:
                rows.append(MapRow(name, method, len(inputs), refused=error.problem))
                continue
            finally:
                done += 1
                tell(done, total)
            spent = time.monotonic() - started, time.process_time() - cpu
            rows.append(_row(case, name, network, inputs, events, method, found, spent, seed))
            if method == "light_up":
                lighted[name] = found
            if method == "integrated_gradients":
                differing[name] = found
    drawn = [_curves(case, name, networks[name], inputs, lighted[name], seed) for name in lighted]
    shuffled = _sanity(case, networks, inputs[:SHUFFLED], seed)
    tell(total, total)
    pairs = _pairs(lighted, "light_up") + _pairs(differing, "integrated_gradients")
    return Checks(tuple(rows), tuple(d for d in drawn if d), tuple(shuffled), tuple(pairs))


def _row(
    case: Case,
    name: str,
    network: Any,
    inputs: NDArray[Any],
    events: Events,
    method: str,
    found: Explained,
    spent: tuple[float, float],
    seed: int,
) -> MapRow:
    complete = None if found.answers is None or method == "occlusion" else completeness(found)
    try:
        gains = curves(network, inputs, _based(found, case), case.scalar, points=6, seed=seed)
    except InputError:
        gains = None
    return MapRow(
        name,
        method,
        len(found),
        *spent,
        complete,
        on_signal(found, events.signal),
        gains.deletion_gain if gains else None,
        gains.insertion_gain if gains else None,
    )


def _based(found: Explained, case: Case) -> Explained:
    return Explained(found.values, found.output, found.method, case.baseline)


def _curves(
    case: Case, name: str, network: Any, inputs: NDArray[Any], found: Explained, seed: int
) -> CurveRecord | None:
    try:
        made = curves(network, inputs, _based(found, case), case.scalar, seed=seed)
    except InputError:
        return None
    lines = (made.shares, made.deletion, made.insertion, made.random_deletion)
    return CurveRecord(
        name,
        *(tuple(float(x) for x in line) for line in (*lines, made.random_insertion)),
        {
            "deletion": made.deletion_area,
            "insertion": made.insertion_area,
            "random_deletion": made.random_deletion_area,
            "random_insertion": made.random_insertion_area,
        },
        made.deletion_gain,
        made.insertion_gain,
    )


def _sanity(
    case: Case, networks: Mapping[str, Any], inputs: NDArray[Any], seed: int
) -> list[SanityRow]:
    """Of the last Keras network: its weights are the chip's."""
    models = {n: m for n, m in networks.items() if as_subject(m).compiled is not None}
    if not models:
        return []
    name, model = list(models.items())[-1]
    steps = sanity(model, inputs, methods(case, seed)["light_up"], case.scalar, seed=seed)
    return [
        SanityRow(
            name,
            step.layer,
            step.agreement.rank[0] if step.agreement else None,
            step.agreement.rank[1] if step.agreement else None,
        )
        for step in steps
    ]


def _pairs(maps: Mapping[str, Explained], method: str) -> list[AgreementRow]:
    names = list(maps)
    found: list[AgreementRow] = []
    for n, first in enumerate(names):
        for second in names[n + 1 :]:
            try:
                alike = agreement(maps[first], maps[second])
            except HairtriggerError:
                alike = None
            found.append(AgreementRow(first, second, alike, method))
    return found
