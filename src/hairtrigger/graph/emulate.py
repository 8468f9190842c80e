"""The emulator: what a Graph means, in exact integers. Every engine is measured against it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hairtrigger.errors import InputError
from hairtrigger.fixed import IntArray, Overflow, quantize_codes, shift_codes
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.ops import Input
from hairtrigger.graph.steps import Registers, reset_registers, run_steps
from hairtrigger.graph.types import TensorType

Inputs = ArrayLike | Sequence[Any] | Mapping[str, Any]
"""One array, a tuple or list of arrays, or a mapping of names to arrays."""

CHUNK_BYTES = 64 << 20
"""Memory that the largest tensor of one chunk of events may take."""


def encode(graph: Graph, inputs: Inputs) -> tuple[IntArray, ...]:
    """Real numbers at the border to codes: one ``int64`` array (events, *shape) for each Input.

    ``inputs``: one array where there is one Input, else a sequence in order or a mapping by name.
    Any real or integer or boolean dtype and memory order is taken. Raises `InputError` for NaN,
    infinity, other dtypes, wrong shapes, and arrays that differ in their number of events.
    """
    arrays = check_inputs(graph, inputs)
    return tuple(encode_checked(op, x) for op, x in zip(graph.input_ops, arrays, strict=True))


def check_inputs(graph: Graph, inputs: Inputs) -> tuple[NDArray[Any], ...]:
    """The arrays of `encode`, one for each Input, checked but not yet turned into codes."""
    ops = graph.input_ops
    given = _as_list(ops, inputs)
    arrays = tuple(_check_input(op, x) for op, x in zip(ops, given, strict=True))
    if len({len(x) for x in arrays}) > 1:
        raise InputError(
            f"Inputs hold different numbers of events: {[len(x) for x in arrays]}.",
            "Give every input the same events.",
        )
    return arrays


def _as_list(ops: tuple[Input, ...], inputs: Any) -> list[Any]:
    names = [op.name for op in ops]
    if isinstance(inputs, Mapping):
        given_names = list(cast(Mapping[Any, Any], inputs))
        if set(given_names) != set(names):
            raise InputError(
                f"Inputs are named {given_names}; the Graph has {names}.",
                "Give exactly these names.",
            )
        return [cast(Any, inputs)[name] for name in names]
    if len(ops) == 1 and not isinstance(inputs, tuple):
        return [inputs]
    given: list[Any] = (
        list(cast(Sequence[Any], inputs)) if isinstance(inputs, Iterable) else [inputs]
    )
    if len(given) != len(ops):
        raise InputError(
            f"{len(given)} input arrays for a Graph with {len(ops)} inputs {names}.",
            "Give a tuple of arrays in this order, or a mapping by name.",
        )
    return given


def encode_input(op: Input, x: ArrayLike) -> IntArray:
    """Codes of one Input; see `encode`."""
    return encode_checked(op, _check_input(op, x))


def _check_input(op: Input, x: ArrayLike) -> NDArray[Any]:
    """An array of the right dtype and shape, with finite numbers only."""
    try:
        array = np.asarray(x)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"Input {op.name!r} is no array: {error}.", "Give events of equal shape."
        ) from None
    t = op.type
    if array.dtype.kind not in "fiub":
        raise InputError(
            f"Input {op.name!r} has dtype {array.dtype}.", "Give real numbers or integers."
        )
    if array.shape[1:] != t.shape or array.ndim != len(t.shape) + 1:
        raise InputError(
            f"Input {op.name!r} has shape {array.shape}; the Graph takes (events, "
            f"{', '.join(map(str, t.shape))}).",
            "Reshape the array, with events as its first axis.",
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        event = int(np.argwhere(~np.isfinite(array))[0][0])
        raise InputError(
            f"Input {op.name!r} holds NaN or infinity, first in event {event}.",
            "Clean the data; a chip has no such number.",
        )
    return array


def encode_checked(op: Input, array: NDArray[Any]) -> IntArray:
    """Codes of one Input for an array, or a part of one, that `check_inputs` has seen."""
    t = op.type
    ready = as_codes(op, array)
    if ready is not None:
        return ready.astype(np.int64)
    codes, fraction = _to_integers(array, t.lsb)
    quantized = quantize_codes(
        codes, fraction, t.signed, t.integer, t.fraction, op.rounding, op.overflow
    )
    return shift_codes(quantized, np.where(t.width > 0, t.lsb - t.fraction, 0))


def as_codes(op: Input, array: NDArray[Any]) -> NDArray[np.integer[Any]] | None:
    """The codes of numbers that are codes already and need no rounding, in a small dtype.

    So it is for images of bits, ADC counts and whatever `decode` gave. None where a number lies
    off the grid or out of range, and for types with more than one format.
    """
    fixed = op.type.single
    if fixed is None or fixed.width == 0 or fixed.fraction < 0 or array.size == 0:
        return None
    symmetric = op.overflow is Overflow.SAT_SYM and fixed.signed
    lowest, highest = fixed.lowest + symmetric, fixed.highest
    if array.dtype.kind in "iub":
        integers = array.view(np.uint8) if array.dtype == np.bool_ else array
        inside = lowest <= int(integers.min()) and int(integers.max()) <= highest
        return integers if inside and fixed.fraction == 0 else None
    real = array.astype(np.promote_types(array.dtype, np.float32), copy=False)
    least, most = float(real.min()), float(real.max())
    step = 2.0**-fixed.fraction
    if not lowest * step <= least <= most <= highest * step:
        return None
    scaled = real * real.dtype.type(1 / step)
    codes = scaled.astype(np.min_scalar_type(-highest - 1 if fixed.signed else highest))
    return codes if bool((codes == scaled).all()) else None


def _to_integers(array: NDArray[np.generic], lsb: int) -> tuple[IntArray, IntArray | int]:
    """Numbers as integers of an LSB so fine that every rounding decision is kept.

    Numbers of 2**56 LSB and more are refused: no float has meaningful low bits there. So are
    integers of 2**60 and more.
    """
    real = array.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        scaled = real * 2.0 ** (lsb + 2)
    too_long = array.dtype.kind in "iu" and np.abs(real).max(initial=0) >= 2.0**60
    if too_long or np.abs(scaled).max(initial=0) >= 2.0**58:
        raise InputError(
            f"An input of size {np.abs(real).max():g} is over 2**60, or over 2**56 times "
            f"its LSB of 2**{-lsb}.",
            "Scale the data to the range of the input's format.",
        )
    if array.dtype.kind in "iub":
        return array.astype(np.int64), 0
    # What is too small for a float64 still rounds as a number, not as zero.
    scaled = np.where((scaled == 0) & (real != 0), np.copysign(0.25, real), scaled)
    # Two more bits than the LSB, the lowest of them sticky: halves, and more or less than half.
    floor = np.floor(scaled).astype(np.int64)
    sticky = (scaled != np.floor(scaled)).astype(np.int64)
    return 2 * floor + sticky, lsb + 3


def emulate_codes(
    graph: Graph, codes: Sequence[IntArray], state: Registers | None = None
) -> tuple[IntArray, ...]:
    """Codes in, codes out: arrays (events, *shape) in units of each type's ``2**-lsb``.

    Codes are taken as they are; `check_codes` says whether they are in range. Events are worked on
    in chunks, so memory does not grow with their number. Where the Graph has registers, the events
    are its steps in turn; they start from ``state``, see `emulate_steps`.
    """
    return emulate_steps(graph, codes, state)[0]


def emulate_steps(
    graph: Graph,
    codes: Sequence[IntArray],
    state: Registers | None = None,
    *,
    steps: int | None = None,
) -> tuple[tuple[IntArray, ...], Registers]:
    """As `emulate_codes`, with what the registers hold after the last step.

    Given as ``state`` to the next call, the steps go on there; None resets. ``state``: codes of
    each register in order of the State nodes, arrays of their shapes in units of each ``2**-lsb``.
    ``steps``: how many, for a Graph without inputs (None: one). Raises `InputError` for a state
    that does not fit the registers.
    """
    registers = check_state(graph, state)
    events = len(codes[0]) if codes else 1 if steps is None else steps
    outs = [np.empty((events, *t.shape), dtype=np.int64) for t in graph.output_types]
    step = chunk_size(graph)
    for start in range(0, events, step):
        stop = min(start + step, events)
        part = dict(zip(graph.inputs, (x[start:stop] for x in codes), strict=True))
        values, registers = run_steps(graph, part, registers, stop - start)
        for out, place in zip(outs, graph.outputs, strict=True):
            out[start:stop] = values[place]
    return tuple(outs), registers


def emulate_nodes(
    graph: Graph, codes: Sequence[IntArray], state: Registers | None = None
) -> dict[int, IntArray]:
    """As `emulate_codes`, for few events, with the codes of every node by its place.

    What no input or register can change has one event.
    """
    registers = check_state(graph, state)
    part = dict(zip(graph.inputs, codes, strict=True))
    return run_steps(graph, part, registers, len(codes[0]) if codes else 1)[0]


def check_state(graph: Graph, state: Registers | None) -> Registers:
    """What the registers hold at first: ``state``, or their reset values. Raises `InputError`."""
    if state is None:
        return reset_registers(graph)
    if len(state) != len(graph.updates):
        raise InputError(
            f"A state of {len(state)} arrays for a Graph with {len(graph.updates)} registers.",
            "Give what emulate_steps returned, or None for the reset values.",
        )
    found: list[IntArray] = []
    for (place, _), x in zip(graph.updates, state, strict=True):
        codes = np.asarray(x)
        if codes.dtype.kind not in "iub":
            raise InputError(f"The state of %{place} has dtype {codes.dtype}.", "Give codes.")
        check_codes(graph.nodes[place].type, codes.astype(np.int64)[None])
        found.append(codes.astype(np.int64))
    return tuple(found)


def emulate(graph: Graph, inputs: Inputs) -> tuple[NDArray[np.float64], ...]:
    """Real numbers in, real numbers out; see `encode` for what is taken."""
    return decode(graph, emulate_codes(graph, encode(graph, inputs)))


def decode(graph: Graph, outputs: Sequence[IntArray]) -> tuple[NDArray[np.float64], ...]:
    """Codes of the outputs as real numbers (exact below 2**53 LSB)."""
    types = graph.output_types
    return tuple(
        np.asarray(x * 2.0**-t.lsb, dtype=np.float64) for x, t in zip(outputs, types, strict=True)
    )


def check_codes(t: TensorType, codes: IntArray) -> None:
    """Raise `InputError` where a code lies outside its format or between its steps."""
    low, high = t.range().at(t.lsb)
    if codes.shape[1:] != t.shape:
        raise InputError(f"Codes of shape {codes.shape} for a tensor of shape {t.shape}.")
    step = np.left_shift(np.int64(1), np.where(t.width > 0, t.lsb - t.fraction, 0))
    wrong = (codes < low) | (codes > high) | (codes & (step - 1) != 0)
    if wrong.any():
        where = tuple(int(n) for n in np.argwhere(wrong)[0])
        raise InputError(f"Code {int(codes[where])} at {where} is not in its format.")


def chunk_size(graph: Graph) -> int:
    """Events for which the largest tensor, windows of convolutions included, stays small."""
    from hairtrigger.graph.linear import Conv

    largest = 1
    for node in graph.nodes:
        size = node.type.size
        if isinstance(node.op, Conv):
            size = size // node.op.kernel.shape[-1] * int(np.prod(node.op.kernel.shape[:-1]))
        largest = max(largest, size)
    return max(1, CHUNK_BYTES // (8 * largest))
