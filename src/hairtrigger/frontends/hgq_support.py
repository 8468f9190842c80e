"""Which layers of a model have an exact Graph, and why the others do not: all at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hairtrigger.frontends.hgq_layers import CONVERTERS, einsum_axes, key_of
from hairtrigger.frontends.hgq_quantizers import quantizer_problem
from hairtrigger.frontends.hgq_recurrent import recurrent_problems

_FLOAT_WEIGHTS = "its weights are floats, which have no fixed-point format. Way out: use {}"
_REASONS = {
    "keras.layers.Dense": _FLOAT_WEIGHTS.format("hgq.layers.QDense"),
    "keras.layers.EinsumDense": _FLOAT_WEIGHTS.format("hgq.layers.QEinsumDense"),
    "keras.layers.Conv1D": _FLOAT_WEIGHTS.format("hgq.layers.QConv1D"),
    "keras.layers.Conv2D": _FLOAT_WEIGHTS.format("hgq.layers.QConv2D"),
    "keras.layers.BatchNormalization": _FLOAT_WEIGHTS.format(
        "hgq.layers.QBatchNormalization, or QEinsumDenseBatchnorm, which fuses it"
    ),
    "keras.layers.LeakyReLU": "its slope makes numbers between the steps of any format. Way out: "
    'use ReLU, or QUnaryFunctionLUT("leaky_relu"), whose table has a quantizer',
    "keras.layers.PReLU": "its slopes are floats. Way out: use ReLU or a QUnaryFunctionLUT",
    "keras.layers.Softmax": "its exponentials are floats. Way out: use hgq.layers.QSoftmax, or "
    "leave it out, since the largest logit has the largest probability",
    "keras.layers.Lambda": "it is Python code. Way out: use a layer; for a unary function "
    "QUnaryFunctionLUT",
    "hgq.QEinsumDenseT": "tables on general einsum axes are not known. Way out: use QDenseT on the "
    "last axis, with Permute layers around it",
    "hgq.QConv3D": "there are no images with three axes. Way out: use QConv2D",
}
_RECURRENT = ("hgq.QGRU", "hgq.QSimpleRNN")
_UNKNOWN = (
    "no exact fixed-point form of it is known. Way out: build the model from HGQ2's layers "
    "(docs/frontends/hgq.md lists them), or leave this one out of the exported part"
)


def walk(model: Any) -> Iterator[Any]:
    """The nodes of a functional model's graph, operands first, without its inputs."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if not node.is_input:
                yield node


def functional(model: Any) -> Any:
    """The functional form of a model, or None where it has none (subclassed, not built)."""
    import keras

    if isinstance(model, keras.Sequential):
        model = model._functional
    return model if hasattr(model, "_nodes_by_depth") else None


def problems(model: Any, path: str = "") -> list[str]:
    """One line for each layer that cannot be converted; ``model`` is functional."""
    import keras

    found: list[str] = []
    seen: set[int] = set()
    for node in walk(model):
        op = node.operation
        if isinstance(op, keras.Model):
            inner = functional(op)
            if inner is None:
                found.append(f"{path}{op.name} ({type(op).__name__}): {_SUBCLASSED}")
            elif id(op) not in seen:
                found += problems(inner, f"{path}{op.name}/")
            seen.add(id(op))
            continue
        reasons = list(call_problems(node))
        if id(op) not in seen:
            reasons += layer_problems(op)
        seen.add(id(op))
        found += [f"{path}{op.name} ({type(op).__name__}): {reason}." for reason in reasons]
    return found


_SUBCLASSED = "a subclassed model shows no graph of layers. Way out: build it as a functional model"


def call_problems(node: Any) -> Iterator[str]:
    """What is wrong with one call of a layer."""
    for name, value in node.arguments.kwargs.items():
        if value is not None and not (name == "training" and value is False):
            yield f"it is called with {name}={value!r}. Way out: call it on its inputs alone"


def layer_problems(op: Any) -> Iterator[str]:
    """What is wrong with a layer itself."""
    key = key_of(op)
    if key not in CONVERTERS:
        yield _REASONS.get(key, _UNKNOWN)
        return
    if getattr(op, "compute_dtype", "float32") not in ("float32", "float64"):
        yield (
            f"it computes in {op.compute_dtype}, which rounds the sums. Way out: use dtype float32"
        )
    if getattr(op, "data_format", "channels_last") != "channels_last":
        yield "its data_format is channels_first. Way out: use channels_last"
    if any(n != 1 for n in getattr(op, "dilation_rate", None) or ()):
        yield (
            f"its dilation_rate is {tuple(op.dilation_rate)}. Way out: use 1, or a larger kernel "
            "with zeros"
        )
    yield from _activation_problems(op, key)
    if key.startswith("hgq."):
        for quantizer in quantizers(op):
            problem = quantizer_problem(quantizer)
            if problem:
                yield problem
        for name in ("kq", "bq"):
            weight = getattr(op, name, None)
            if weight is not None and weight.config.q_type == "dummy":
                yield f"its {name} quantizer is a dummy, so weights are floats. Way out: train one"
    if "EinsumDense" in key:
        yield from _einsum_problems(op.equation)
    if key in ("hgq.QSum", "hgq.QMeanPow2") and 0 in op.axes:
        yield "it sums over events. Way out: leave axis 0 out"


def _activation_problems(op: Any, key: str) -> Iterator[str]:
    from keras import activations

    if key == "keras.layers.ReLU":
        if op.negative_slope or op.threshold or op.max_value is not None:
            yield (
                "it has a slope, threshold or maximum. Way out: use a plain ReLU and a quantizer "
                "that saturates, or QUnaryFunctionLUT"
            )
        return
    if "UnaryFunctionLUT" in key:
        return
    if key in _RECURRENT:
        yield from recurrent_problems(op, exact_activation=key == "hgq.QSimpleRNN")
        return
    function = getattr(op, "activation", None)
    if function not in (None, activations.linear, activations.relu):
        name = getattr(function, "__name__", type(function).__name__)
        yield (
            f"its activation {name!r} is neither relu nor linear. Way out: activation='linear' and "
            f"a QUnaryFunctionLUT({name!r}) behind it"
        )


def _einsum_problems(equation: str) -> Iterator[str]:
    left = equation.partition(",")[0].replace(" ", "")
    rank = len(left) - 2 if "..." in left else len(left)  # the ellipsis as one axis
    ins, kernel, out = einsum_axes(equation, rank)
    if (
        not ins
        or out[:1] != ins[0]
        or ins[0] in kernel
        or len(set(ins)) < len(ins)
        or any(c not in kernel and c not in out for c in ins)
        or any(c not in ins and c not in out for c in kernel)
        or any(c not in ins and c not in kernel for c in out)
    ):
        yield (
            f"its equation {equation!r} is no sum of products over axes that input and kernel "
            "share. Way out: use one like '...c,cC->...C'"
        )


def quantizers(op: Any) -> list[Any]:
    """All HGQ2 `Quantizer`s of a layer, its own parts included."""
    from hgq.quantizer import Quantizer

    return [layer for layer in op._flatten_layers() if isinstance(layer, Quantizer)]
