"""The events that every engine gets, and hashes of codes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.backends.onnx import content_key
from hairtrigger.bench.records import InputsRecord
from hairtrigger.errors import InputError
from hairtrigger.fixed import IntArray
from hairtrigger.graph.emulate import encode
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.stimulus import extreme_codes, join_events, random_codes

POOL_BYTES = 64 << 20
"""The events take at most so much as int64."""

Codes = tuple[IntArray, ...]


def make_inputs(
    graph: Graph, model: str, count: int, seed: int, given: NDArray[Any] | None = None
) -> tuple[Codes, InputsRecord]:
    """``count`` events: those ``given`` (real numbers, (events, *shape)), else extremes of each
    input and random ones. Fewer where they would take more than `POOL_BYTES`.

    Gives the codes, one array (events, *shape) for each Input, and their record. Raises
    `InputError` for ``count`` below 1 and for events that are no inputs of the Graph.
    """
    if count < 1:
        raise InputError(f"{count} events", "give one event or more")
    size = 8 * sum(op.type.size for op in graph.input_ops)
    count = max(1, min(count, POOL_BYTES // size))
    extremes = fresh = 0
    if given is not None:
        if len(graph.inputs) != 1:
            raise InputError(
                f"Graph {graph.name!r} has {len(graph.inputs)} inputs, and a file of events is for "
                "one",
                "leave out the events: random ones are made for every input",
            )
        codes = tuple(encode(graph, given[:count]))
        if not len(codes[0]):
            raise InputError("the file of events is empty", "give one event or more")
    else:
        parts = [tuple(x[:count] for x in extreme_codes(graph))]
        extremes = len(parts[0][0])
        fresh = count - extremes
        if fresh:
            parts.append(random_codes(graph, fresh, seed))
        codes = join_events(parts)
    events = len(codes[0])
    record = InputsRecord(
        model=model,
        graph=graph.name,
        graph_sha256=content_key(graph),
        events=events,
        given=0 if given is None else events,
        extreme=extremes,
        random=fresh,
        seed=seed,
        sha256=codes_hash(codes),
        shapes={op.name: op.type.shape for op in graph.input_ops},
    )
    return codes, record


def codes_hash(codes: Sequence[NDArray[Any]]) -> str:
    """SHA-256 of codes as little-endian int64, with the shape of each array before it."""
    digest = hashlib.sha256()
    for x in codes:
        digest.update(repr(tuple(int(n) for n in x.shape)).encode())
        digest.update(np.ascontiguousarray(x, dtype="<i8").tobytes())
    return digest.hexdigest()


def take(codes: Codes, start: int, events: int) -> Codes:
    """``events`` events from ``start`` on; behind the last the first follows again."""
    total = len(codes[0])
    at = np.arange(start, start + events) % total
    return tuple(x[at] for x in codes)
