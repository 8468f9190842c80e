"""What is explained: one number of a network's answer, and how it follows from the input.

    subject = as_subject(model, Scalar("pT", lambda y: y[:, 0]))
    subject.values(images)      # one number an event
    subject.gradients(images)   # how it changes with each input number; of a Keras model only

A subject is a Keras model, float or quantised by HGQ2, or a Graph, the chip's integers. Of a
quantised model gradients pass straight through the rounding, as they do in training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from hairtrigger.engines import run
from hairtrigger.errors import InputError, UnsupportedError
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.graph import Graph
from hairtrigger.train.heads import Heads, output_slices
from hairtrigger.train.pools import quick_max_pools

BATCH = 1024
"""Events in one call of a Keras model; the last batch is filled up, so that it compiles once."""
LARGEST_BYTES = 2 << 20
"""The inputs of one batch take at most so much as float32: results of layers of images stay in the
processor's cache, which is worth up to half of the time."""

GRADIENT_FREE = "occlusion, shapley, light_up"
"""Methods that need answers only, so that any model and any Graph can be explained by them."""


@dataclass(frozen=True)
class Scalar:
    """What is explained: ``of`` takes raw outputs (events, outputs) to one number each (events,).

    ``of`` may index, add and multiply; for gradients it must work on JAX arrays too.
    """

    name: str
    of: Callable[[Any], Any]

    @staticmethod
    def output(number: int) -> Scalar:
        """The output of that number."""
        return Scalar(f"output {number}", _Column(number))

    @staticmethod
    def head(heads: Heads, name: str, part: int = 0) -> Scalar:
        """Output number ``part`` of a head. Raises `InputError` for one that is not there."""
        where = output_slices(heads)
        if name not in where:
            raise InputError(
                f"There is no head {name!r} to explain.", f"Choose one of: {', '.join(where)}."
            )
        place = where[name]
        if not 0 <= part < place.stop - place.start:
            raise InputError(
                f"Head {name!r} has no output {part}.",
                f"Choose 0 to {place.stop - place.start - 1}.",
            )
        label = name if place.stop - place.start == 1 else f"{name} {part}"
        return Scalar(label, _Column(place.start + part))


@dataclass(frozen=True)
class _Column:
    number: int

    def __call__(self, outputs: Any) -> Any:
        if not 0 <= self.number < outputs.shape[1]:
            raise InputError(
                f"There is no output {self.number} of {outputs.shape[1]}.",
                f"Explain one of 0 to {outputs.shape[1] - 1}.",
            )
        return outputs[:, self.number]


@dataclass(frozen=True)
class Subject:
    """A model or Graph and the number of its answer that is explained. ``shape``: of one event."""

    model: Any
    scalar: Scalar
    shape: tuple[int, ...]
    batch: int
    compiled: _Compiled | None = field(default=None, repr=False)

    def values(self, inputs: NDArray[Any]) -> NDArray[np.float64]:
        """The number explained of each event: inputs (events, *shape) to (events,)."""
        parts: list[NDArray[np.float64]] = []
        if self.compiled is None:
            if len(inputs):
                made = run(self.model, inputs)
                parts.append(_number(self.scalar, _joined(made.values)))
        else:
            for part, count in _batches(inputs, self.batch):
                raw = np.asarray(self.compiled.forward(*self.compiled.weights(), part)[:count])
                parts.append(_number(self.scalar, raw.astype(np.float64)))
        return np.concatenate(parts) if parts else np.empty(0)

    def gradients(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Its gradient by each input number, (events, *shape).

        Raises `UnsupportedError` for a Graph, which has none.
        """
        compiled = self.compiled
        if compiled is None:
            raise UnsupportedError(
                f"Graph {self.model.name!r} computes in integers and has no gradient.",
                f"Use {GRADIENT_FREE} on the Graph, or give the Keras model it was made of.",
            )
        found = [
            np.asarray(compiled.gradient(*compiled.weights(), part, self.scalar)[:count])
            for part, count in _batches(inputs, self.batch)
        ]
        return np.concatenate(found).astype(np.float32)

    def check(self, inputs: Any) -> NDArray[Any]:
        """Events (events, *shape) as an array of numbers.

        Raises `InputError` for another shape, none, NaN, infinity or anything but numbers.
        """
        array = np.asarray(inputs)
        if array.dtype.kind not in "buif":
            raise InputError(f"Events have dtype {array.dtype}.", "Give numbers.")
        if array.shape[1:] != self.shape or array.ndim == 0:
            raise InputError(
                f"Events of shape {array.shape} are not made for this model.",
                f"Give an array (events, {', '.join(map(str, self.shape))}).",
            )
        if not len(array):
            raise InputError("There are no events to explain.", "Give at least one.")
        bad = array.size - int(np.count_nonzero(np.isfinite(array)))
        if bad:
            raise InputError(
                f"{bad} of {array.size} numbers of the events are NaN or infinite.",
                "Leave these events out, or see what made them.",
            )
        return array.astype(np.uint8) if array.dtype.kind == "b" else array


def as_subject(model: Any, output: int | Scalar | None = None, batch: int = BATCH) -> Subject:
    """The subject of a Keras model or Graph, or ``model`` itself where it is one already.

    ``output``: the number of an output, or a Scalar; None is the first. Raises `InputError` for
    anything but a model, `UnsupportedError` for several inputs or a Graph with registers.
    """
    if isinstance(model, Subject):
        return model
    if batch < 1:
        raise InputError(f"batch = {batch!r}.", "Give 1 or more.")
    scalar = output if isinstance(output, Scalar) else Scalar.output(output or 0)
    if isinstance(model, Graph):
        if not model.pure:
            raise UnsupportedError(
                f"Graph {model.name!r} has registers: its answer depends on events before.",
                "Explain the Keras model, or a Graph of one event.",
            )
        shapes = [op.type.shape for op in model.input_ops]
        return Subject(model, scalar, _only(shapes), batch)
    keras = import_keras()
    if not isinstance(model, keras.Model):
        raise InputError(
            f"A {type(model).__name__} is neither a Keras model nor a Graph.",
            "Load a file with hairtrigger.frontends.keras_file.load_model(path).",
        )
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    shape = _only(shapes)
    if None in shape:
        raise UnsupportedError(
            f"The input {shape} has an open length.", "Fix it: an event has a shape."
        )
    size = max(1, min(batch, LARGEST_BYTES // (4 * max(1, int(np.prod(shape))))))
    known = _known.get(model)
    if known is None:
        known = _known[model] = _Compiled(model)
    return Subject(model, scalar, shape, size, known)


class _Compiled:
    """A Keras model as compiled functions of its weights, so that other weights cost nothing."""

    def __init__(self, model: Any) -> None:
        import jax
        from keras import tree

        trained, fixed = model.trainable_variables, model.non_trainable_variables
        self.weights = lambda: ([v.value for v in trained], [v.value for v in fixed])

        def forward(trained: Any, fixed: Any, x: Any) -> Any:
            with quick_max_pools():
                y, _ = model.stateless_call(trained, fixed, x, training=False)
            flat = [part.reshape(part.shape[0], -1) for part in tree.flatten(y)]
            return jax.numpy.concatenate(flat, axis=1)

        @jax.jit
        def pulled(trained: Any, fixed: Any, x: Any, pull: Any) -> Any:
            _, back = jax.vjp(lambda x: forward(trained, fixed, x), x)
            return back(pull)[0]

        self.forward: Any = jax.jit(forward)
        self._pulled: Any = pulled

    def gradient(self, trained: Any, fixed: Any, x: Any, scalar: Scalar) -> Any:
        """One compiled function serves all scalars: it takes their gradient by the outputs."""
        import jax

        outputs = self.forward(trained, fixed, x)
        pull = jax.grad(lambda y: scalar.of(y).sum())(outputs)
        return self._pulled(trained, fixed, x, pull)


_known: WeakKeyDictionary[Any, _Compiled] = WeakKeyDictionary()


def _batches(inputs: NDArray[Any], batch: int) -> Any:
    """Float32 batches, filled up to a power of two or the batch's size, and their events."""
    size = min(batch, 1 << max(len(inputs) - 1, 0).bit_length())
    for start in range(0, len(inputs), size):
        part = inputs[start : start + size].astype(np.float32)
        count = len(part)
        if count < size:
            part = np.concatenate([part, np.repeat(part[:1], size - count, axis=0)])
        yield part, count


def _joined(values: tuple[NDArray[np.float64], ...]) -> NDArray[np.float64]:
    return np.concatenate([part.reshape(len(part), -1) for part in values], axis=1)


def _number(scalar: Scalar, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.asarray(scalar.of(outputs), np.float64)
    if found.shape != (len(outputs),):
        raise InputError(
            f"Scalar {scalar.name!r} gives an array {found.shape} for {len(outputs)} events.",
            "It must give one number for each event.",
        )
    return found


def _only(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    if len(shapes) != 1:
        raise UnsupportedError(
            f"The model has {len(shapes)} inputs; one can be explained.",
            "Join them to one input in front of the model.",
        )
    return shapes[0]
