"""Layers that compute in a chip's formats while they are trained, so that nothing is rounded later.

    x = Rounded(Fixed(True, 2, 1))(x)
    y = RoundedDense(32, fraction=1)(x)

What goes forwards is exact in float32 as long as sums stay below 2**24 LSB; backwards a rounded or
cut number counts as the number itself (straight through, arXiv 1308.3432).

Importing this module imports Keras.
"""

from __future__ import annotations

from typing import Any

from hairtrigger.fixed import Fixed
from hairtrigger.frontends.keras_file import import_keras

keras = import_keras()
ops = keras.ops


def straight_through(rounded: Any, x: Any) -> Any:
    """``rounded``, to the last bit, with the gradient of ``x``."""
    # In this order: the difference is 0 exactly, while x + (rounded - x) is not always ``rounded``.
    return ops.stop_gradient(rounded) + (x - ops.stop_gradient(x))


@keras.saving.register_keras_serializable("hairtrigger")
class Rounded(keras.layers.Layer):
    """Numbers brought into a format: to nearest, halves upwards, cut at its ends (RND, SAT).

    ``form``: the format, or its three numbers (signed, integer, fraction).
    """

    def __init__(self, form: Fixed | tuple[bool, int, int], **options: Any) -> None:
        super().__init__(**options)
        self.form = form if isinstance(form, Fixed) else Fixed(*form)

    def call(self, x: Any) -> Any:
        form, scale = self.form, 2.0**self.form.fraction
        scaled = scale * x
        below = ops.floor(scaled)
        # Not floor(scaled + 0.5): that sum rounds, and up where scaled is just below a half.
        codes = below + ops.cast(scaled - below >= 0.5, x.dtype)
        return straight_through(ops.clip(codes, form.lowest, form.highest) / scale, x)

    def get_config(self) -> dict[str, Any]:
        form = self.form
        own = {"form": (form.signed, form.integer, form.fraction)}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("hairtrigger")
class RoundedDense(keras.layers.Dense):
    """A dense layer without activation whose kernel and bias are used rounded to ``fraction``
    fraction bits (halves to even), and trained as they are."""

    def __init__(self, units: int, fraction: int, **options: Any) -> None:
        super().__init__(units, **options)
        self.fraction = int(fraction)

    def call(self, x: Any) -> Any:
        return ops.matmul(x, self._used(self.kernel)) + self._used(self.bias)

    def _used(self, weights: Any) -> Any:
        scale = 2.0**self.fraction
        values = ops.convert_to_tensor(weights)
        return straight_through(ops.round(scale * values) / scale, values)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "fraction": self.fraction}
