"""Layer-wise relevance propagation: the answer is handed back, layer by layer, to the input.

S. Bach et al., PLoS ONE 10 (2015) e0130140; G. Montavon et al., "Layer-Wise Relevance Propagation:
An Overview" (2019). With z_k = sum_j a_j w_jk + b_k and relevance R_k of the layer above, an input
of a layer gets R_j = a_j sum_k w_jk R_k / (z_k + eps sign(z_k)) (epsilon rule), or the same with
the positive products a_j w_jk alone and without bias (z+ rule). Relevance passes an activation
unchanged, a maximum gives it to the largest, and what only moves numbers moves it back.

Of a layer of HGQ2, a_j is the input as its quantizer rounds it, w_jk and b_k are the rounded
weights, as its forward pass uses them; rounding hands relevance back unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hairtrigger.errors import InputError, UnsupportedError
from hairtrigger.explain.explained import Explained
from hairtrigger.explain.subject import GRADIENT_FREE, Scalar, as_subject
from hairtrigger.frontends.hgq_support import functional, walk

RULES = ("epsilon", "z+")
BATCH = 128
"""Events at once: the results of all layers are held."""

_MOVES = (
    *("Reshape", "Flatten", "Permute", "Cropping1D", "Cropping2D", "ZeroPadding1D"),
    *("ZeroPadding2D", "Concatenate", "GetItem", "Dropout", "RepeatVector", "UpSampling1D"),
    *("UpSampling2D", "SpatialDropout1D", "SpatialDropout2D", "GaussianNoise", "Identity"),
    *("Squeeze", "ExpandDims", "Transpose"),
)
_LARGEST = ("MaxPooling1D", "MaxPooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D")
_MEANS = (
    *("AveragePooling1D", "AveragePooling2D"),
    *("GlobalAveragePooling1D", "GlobalAveragePooling2D"),
)
_SUMS = ("Add", "Average", *_MEANS)
_WEIGHTED = ("Dense", "Conv1D", "Conv2D")
_ACTIVATIONS = ("relu", "linear")
_QUANTISED = tuple(f"Q{kind}" for kind in (*_LARGEST, *_MEANS, *_WEIGHTED))
_QUANTISED_SUMS = ("QSum", "QMeanPow2", "QAdd", "QAveragePow2")
_KNOWN = (
    *(*_MOVES, *_LARGEST, *_SUMS, *_WEIGHTED, *_QUANTISED, *_QUANTISED_SUMS),
    *("ReLU", "Activation", "Rescaling"),
)

Linear = Callable[[Any], Any]


def relevance(
    model: Any,
    inputs: Any,
    output: int | Scalar | None = None,
    *,
    rule: str = "epsilon",
    epsilon: float = 1e-6,
) -> Explained:
    """The relevance of each input number for one output of a Keras model, float or of HGQ2 layers.

    ``epsilon``, in units of the layers' results, keeps sums that nearly cancel from blowing up;
    what it and the biases take is missing in the sum of the shares. With rule "z+" inputs must not
    be negative. Layers known: Dense, Conv1D, Conv2D, max and average pools and those of HGQ2, sums,
    ReLU, Rescaling, and layers that move numbers.

    Raises `UnsupportedError` for a Graph or a model with other layers, naming them, and
    `InputError` for another rule, an epsilon that is not positive, or negative inputs with rule
    "z+".
    """
    if rule not in RULES:
        raise InputError(f"There is no rule {rule!r}.", f"Choose one of: {', '.join(RULES)}.")
    if not epsilon > 0:
        raise InputError(f"epsilon = {epsilon!r}.", "Give one above 0.")
    subject = as_subject(model, output)
    events = subject.check(inputs)
    if rule == "z+" and events.min() < 0:
        raise InputError(
            "Rule 'z+' is for inputs that are not negative.", "Use rule 'epsilon' instead."
        )
    if subject.compiled is None:
        raise UnsupportedError(
            "A Graph hands no relevance back.", f"Use {GRADIENT_FREE} on the Graph."
        )
    found = functional(subject.model)
    _check(subject.model, found)
    import jax

    # Compiled anew in each call, with the weights of now as constants.
    back = jax.jit(lambda part: _back(found, part, subject.scalar, rule, epsilon))
    size = min(BATCH, len(events))
    parts = []
    for start in range(0, len(events), size):
        part = events[start : start + size].astype(np.float32)
        full = np.concatenate([part, np.repeat(part[:1], size - len(part), axis=0)])
        parts.append(np.asarray(back(full)[: len(part)], np.float32))
    return Explained(
        np.concatenate(parts),
        subject.scalar.name,
        f"relevance, {rule} rule",
        0.0,
        subject.values(events),
        subject.values(np.zeros((1, *subject.shape))).repeat(len(events)),
    )


def _check(model: Any, found: Any) -> None:
    """Raise `UnsupportedError` naming every layer that has no rule."""
    way = f"Use integrated_gradients, gradient_times_input or {GRADIENT_FREE} instead."
    if found is None:
        raise UnsupportedError(f"Model {model.name!r} shows no graph of layers.", way)
    others: list[str] = []
    for node in walk(found):
        op = node.operation
        kind = type(op).__name__
        activation = getattr(getattr(op, "activation", None), "__name__", "linear")
        if kind not in _KNOWN:
            others.append(f"{op.name} ({kind})")
        elif activation not in _ACTIVATIONS:
            others.append(f"{op.name} (activation {activation})")
        elif getattr(op, "padding", "") == "causal":
            others.append(f"{op.name} (causal padding)")
        elif kind == "ReLU" and (op.negative_slope or op.threshold):
            others.append(f"{op.name} (ReLU with a slope or threshold)")
    if others:
        raise UnsupportedError(
            f"Relevance propagation knows no rule for {', '.join(others)} in model {model.name!r}.",
            way,
        )


def _back(model: Any, part: Any, scalar: Scalar, rule: str, epsilon: float) -> Any:
    import jax
    import jax.numpy as jnp

    values: dict[int, Any] = {id(model.inputs[0]): part}
    nodes = list(walk(model))
    for node in nodes:
        args, kwargs = node.arguments.fill_in(values)
        made = node.operation(*args, **kwargs)
        values[id(node.outputs[0])] = made
    flat = [values[id(t)].reshape(len(part), -1) for t in model.outputs]
    ends = np.cumsum([f.shape[1] for f in flat])[:-1].tolist()
    outputs = jnp.concatenate(flat, axis=1)
    # A linear scalar's share of each output; one output has all of its value.
    share = outputs * jax.grad(lambda y: scalar.of(y).sum())(outputs)
    held: dict[int, Any] = {}
    for tensor, piece in zip(model.outputs, jnp.split(share, ends, axis=1), strict=True):
        _give(held, tensor, piece.reshape(values[id(tensor)].shape))
    for node in reversed(nodes):
        got = held.pop(id(node.outputs[0]), None)
        if got is None:
            continue
        tensors = list({id(t): t for t in node.arguments.keras_tensors}.values())
        given = [values[id(t)] for t in tensors]
        for tensor, piece in zip(
            tensors, _through(node, tensors, given, got, rule, epsilon), strict=True
        ):
            _give(held, tensor, piece)
    return held[id(model.inputs[0])]


def _give(held: dict[int, Any], tensor: Any, piece: Any) -> None:
    held[id(tensor)] = held[id(tensor)] + piece if id(tensor) in held else piece


def _through(
    node: Any, tensors: Sequence[Any], given: list[Any], got: Any, rule: str, epsilon: float
) -> Sequence[Any]:
    """The relevance of each operand of a node from that of its result."""
    import jax
    import jax.numpy as jnp

    op, kind = node.operation, type(node.operation).__name__
    if kind in ("ReLU", "Activation"):
        return [got]
    if kind in _LARGEST or kind in _MOVES or kind.removeprefix("Q") in _LARGEST:
        from hairtrigger.train.pools import quick_max_pools

        with quick_max_pools():
            moved = _plain(op, kind) if kind.startswith("Q") else _runner(node, tensors)
            _, back = jax.vjp(moved, *rounded(op, given))
        return back(got)
    linear, offset = linear_part(node, tensors, rule)
    operands = rounded(op, given)
    z, back = jax.vjp(linear, *operands)
    z = z + offset
    safe = z + epsilon * jnp.where(z >= 0, 1.0, -1.0)
    return [x * g for x, g in zip(operands, back(got / safe), strict=True)]


def rounded(op: Any, given: list[Any]) -> list[Any]:
    """Operands as a layer's input quantizers round them; as they are for a layer without."""
    if not getattr(op, "enable_iq", False):
        return given
    return list(op.iq(given)) if len(given) > 1 else [op.iq(given[0])]


def linear_part(node: Any, tensors: Sequence[Any], rule: str = "epsilon") -> tuple[Linear, Any]:
    """What a node adds up of its `rounded` operands, and the bias (0 with rule "z+"): its result
    is the sum of both, or the activation of it."""
    import jax.numpy as jnp

    op, kind = node.operation, type(node.operation).__name__
    if kind == "Rescaling":
        return (lambda x: x * op.scale), (0.0 if rule == "z+" else op.offset)
    if kind in _SUMS:
        return _runner(node, tensors), 0.0
    if kind in ("QSum", "QMeanPow2"):
        return (lambda x: jnp.sum(x, axis=op.axes, keepdims=op.keepdims) * op.scale), 0.0
    if kind in ("QAdd", "QAveragePow2"):
        return (lambda *x: sum(x[1:], x[0]) * getattr(op, "_scale", 1.0)), 0.0
    if kind.removeprefix("Q") in _MEANS:
        return _plain(op, kind), 0.0
    quantised = kind.startswith("Q")
    kernel = op.qkernel if quantised else op.kernel.value
    bias = (op.qbias if quantised else op.bias.value) if op.use_bias else 0.0
    if rule == "z+":
        kernel, bias = jnp.maximum(kernel, 0), 0.0
    return _weighted(op, kind.removeprefix("Q"), kernel), bias


def _runner(node: Any, tensors: Sequence[Any]) -> Callable[..., Any]:
    def run(*operands: Any) -> Any:
        filled = {id(t): x for t, x in zip(tensors, operands, strict=True)}
        args, kwargs = node.arguments.fill_in(filled)
        return node.operation(*args, **kwargs)

    return run


def _plain(op: Any, kind: str) -> Linear:
    """The pool that a quantised one is, without its quantizers."""
    from keras import layers

    pool = getattr(layers, kind.removeprefix("Q"))
    return lambda x: pool.call(op, x)


def _weighted(op: Any, kind: str, kernel: Any) -> Linear:
    if kind == "Dense":
        return lambda x: x @ kernel
    from keras import ops

    return lambda x: ops.conv(x, kernel, op.strides, op.padding, op.data_format, op.dilation_rate)
