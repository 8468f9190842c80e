"""How much a unit of a network matters: by occlusion, gradient times input, or Shapley value.

Each gives of every unit the mean over events of the absolute share that it has in one output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.explain.gradients import gradient_times_input
from hairtrigger.explain.groups import by_axis
from hairtrigger.explain.shapley import shapley
from hairtrigger.explain.units import INPUT, Dropped, Unit, mask_of
from hairtrigger.train.checkpoint import to_array
from hairtrigger.train.data import predict

METHODS = ("elimination", "occlusion", "gradient", "shapley")
"""How a simplification may rank input slices; `importances` knows all but the first."""
_BATCH = 1024

Importances = Mapping[Unit, float]


def importances(
    model: Any,
    inputs: NDArray[Any],
    units: Sequence[Unit],
    *,
    axis: int = 0,
    output: int = 0,
    method: str = "occlusion",
    orders: int | None = 16,
    seed: int = 0,
) -> dict[Unit, float]:
    """Importance of each unit for output number ``output`` of a Keras model.

    ``inputs`` (events, *shape) as the network takes them. "occlusion": the output's change when the
    unit says zero. "gradient": gradient times input, summed over the slice (input slices only);
    through a quantised network its straight-through gradient. "shapley": Shapley value of each
    slice against an input of zeros, sampled in ``orders`` of the slices, half of them the others
    backwards (None: exact, for few slices). Raises `InputError` for what a method cannot do.
    """
    if method not in METHODS[1:]:
        known = ", ".join(METHODS[1:])
        raise InputError(f"There is no method {method!r}.", f"Use one of {known}.")
    if not len(inputs):
        raise InputError("There are no events to rank by.", "Give at least one.")
    size = model.output_shape[-1]
    if not 0 <= output < size:
        raise InputError(f"Output {output} of {size}.", f"Give 0 to {size - 1}.")
    layers = {unit.layer for unit in units} - {INPUT}
    if layers and method != "occlusion":
        raise InputError(
            f"The method {method!r} ranks input slices, not channels of {sorted(layers)}.",
            "Use occlusion for channels.",
        )
    if method == "gradient":
        values = gradient_times_input(model, inputs, output).values
        rest = tuple(n for n in range(1, values.ndim) if n != axis + 1)
        each = np.abs(values.sum(axis=rest, dtype=np.float64)).mean(axis=0)
        return {unit: float(each[unit.index]) for unit in units}
    if method == "shapley":
        groups = by_axis(inputs.shape[1:], axis, [f"{n}" for n in range(inputs.shape[axis + 1])])
        shares = shapley(model, inputs, groups, output, orders=orders, seed=seed).values
        each = np.abs(shares).mean(axis=0)
        return {unit: float(each[unit.index]) for unit in units}
    return _occluded(model, inputs, units, axis, output)


def eliminate(
    model: Any,
    inputs: NDArray[Any],
    units: Sequence[Unit],
    keep: int,
    *,
    axis: int = 0,
    output: int = 0,
) -> tuple[tuple[Unit, float], ...]:
    """Slices of the input in the order in which they can go until ``keep`` are left, each with the
    output's mean absolute change once it and all before it say zero.

    Where two slices say the same, neither matters while the other is there: single importances
    would let both go. This backward elimination looks at what is left at each turn.
    """
    whole = predict(model, inputs, batch=_BATCH)[:, output]
    gone: list[tuple[Unit, float]] = []
    left = list(units)
    mask = np.ones(inputs.shape[1:], dtype=np.uint8)
    while len(left) > keep:
        tried: list[tuple[float, Unit]] = []
        for unit in left:
            without = mask * mask_of(inputs.shape[1:], Dropped(axis, (unit.index,)))
            changed = predict(model, inputs * without, batch=_BATCH)[:, output]
            tried.append((float(np.abs(changed - whole).mean(dtype=np.float64)), unit))
        change, unit = min(tried)
        mask = mask * mask_of(inputs.shape[1:], Dropped(axis, (unit.index,)))
        gone.append((unit, change))
        left.remove(unit)
    return tuple(gone)


def _occluded(
    model: Any, inputs: NDArray[Any], units: Sequence[Unit], axis: int, output: int
) -> dict[Unit, float]:
    whole = predict(model, inputs, batch=_BATCH)[:, output]
    found: dict[Unit, float] = {}
    for unit in units:
        if unit.layer == INPUT:
            mask = mask_of(inputs.shape[1:], Dropped(axis, (unit.index,)))
            changed = predict(model, inputs * mask, batch=_BATCH)
        else:
            changed = _without(model, unit, inputs)
        found[unit] = float(np.abs(changed[:, output] - whole).mean(dtype=np.float64))
    return found


def _without(model: Any, unit: Unit, inputs: NDArray[Any]) -> NDArray[np.float32]:
    """Outputs while a channel's weights are zero; they are put back whatever happens."""
    layer = model.get_layer(unit.layer)
    variables = [v for v in (layer.kernel, layer.bias) if v is not None]
    before = [to_array(v).copy() for v in variables]
    try:
        for variable, values in zip(variables, before, strict=True):
            zeroed = values.copy()
            zeroed[..., unit.index] = 0
            variable.assign(zeroed)
        return predict(model, inputs, batch=_BATCH)
    finally:
        for variable, values in zip(variables, before, strict=True):
            variable.assign(values)
