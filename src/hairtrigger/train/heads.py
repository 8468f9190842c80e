"""What the outputs of a network mean, and the losses that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from hairtrigger.errors import InputError

Loss = Callable[[Any, Any], Any]
"""(targets, outputs) of a batch, Keras tensors, to the loss of each event (batch,)."""


class Kind(Enum):
    """How a head is read."""

    VALUE = "value"
    """A real number; its target is that number; Huber loss."""
    BINARY = "binary"
    """The logit of a yes; its target is 0 or 1; cross entropy."""
    CLASSES = "classes"
    """A logit for each class; its target is the number of the class; cross entropy."""


@dataclass(frozen=True)
class Head:
    """One meaning of the network's output vector: ``size`` outputs, one column of the targets.

    ``weight`` scales its loss. ``elbow``, of a VALUE: errors beyond it count linearly. ``focus``,
    of a VALUE: (low, high, times), an event whose target is from low to below high counts so often.
    A target of NaN says that the head does not apply to the event, which then costs nothing.
    """

    name: str
    kind: Kind
    size: int = 1
    weight: float = 1.0
    elbow: float = 0.1
    focus: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if (self.kind is Kind.CLASSES) != (self.size > 1):
            raise InputError(
                f"Head {self.name!r} of kind {self.kind.value} has {self.size} outputs.",
                "CLASSES have two or more, VALUE and BINARY have one.",
            )
        if self.focus is not None and (self.kind is not Kind.VALUE or not self.focus[2] > 0):
            raise InputError(
                f"Head {self.name!r} of kind {self.kind.value} has focus = {self.focus!r}.",
                "Only a VALUE has one: (low, high, times), times above 0.",
            )


Heads = tuple[Head, ...]


def output_size(heads: Heads) -> int:
    """How many outputs the heads have together."""
    return sum(head.size for head in heads)


def output_slices(heads: Heads) -> dict[str, slice]:
    """Where each head lies in the output vector, by its name."""
    slices, start = {}, 0
    for head in heads:
        slices[head.name] = slice(start, start + head.size)
        start += head.size
    return slices


def truth_loss(heads: Heads) -> Loss:
    """The loss against targets (batch, heads): the weighted sum over the heads."""

    def loss(targets: Any, outputs: Any) -> Any:
        return _sum(
            head.weight * _masked(_against_truth, head, targets[:, n], outputs[:, where])
            for n, (head, where) in enumerate(_with_slices(heads))
        )

    return loss


def distillation_loss(heads: Heads, temperature: float, weight: float) -> Loss:
    """``(1 - weight)`` times the loss against the truth, ``weight`` times that against a teacher.

    Targets are (batch, heads + outputs): the truth and then the teacher's outputs. Cross entropies
    against the teacher are between distributions softened by ``temperature`` T and scaled by T^2
    (G. Hinton, O. Vinyals and J. Dean, arXiv:1503.02531); a VALUE is drawn to the teacher's.
    Raises `InputError` for a temperature that is not positive or a weight outside 0 to 1.
    """
    if not temperature > 0:
        raise InputError(f"temperature = {temperature!r}.", "Give one above 0; 1 softens nothing.")
    if not 0 <= weight <= 1:
        raise InputError(f"weight = {weight!r} of the teacher.", "Give one between 0 and 1.")
    against_truth = truth_loss(heads)

    def loss(targets: Any, outputs: Any) -> Any:
        teacher = targets[:, len(heads) :]

        def soft(head: Head, target: Any, both: Any) -> Any:
            return _against_teacher(head, *both, temperature)

        distilled = _sum(
            head.weight * _masked(soft, head, targets[:, n], (teacher[:, where], outputs[:, where]))
            for n, (head, where) in enumerate(_with_slices(heads))
        )
        return (1 - weight) * against_truth(targets, outputs) + weight * distilled

    return loss


def _with_slices(heads: Heads) -> list[tuple[Head, slice]]:
    return list(zip(heads, output_slices(heads).values(), strict=True))


def _sum(terms: Any) -> Any:
    total, *rest = terms
    for term in rest:
        total = total + term
    return total


def _masked(cost: Callable[..., Any], head: Head, target: Any, outputs: Any) -> Any:
    """``cost`` where the target applies, 0 where it is NaN (and no NaN in the gradient)."""
    from keras import ops

    applies = ops.logical_not(ops.isnan(target))
    safe = ops.where(applies, target, ops.zeros_like(target))
    found = cost(head, safe, outputs)
    if head.focus is not None:
        low, high, times = head.focus
        inside = ops.logical_and(safe >= low, safe < high)
        found = ops.where(inside, times * found, found)
    return ops.where(applies, found, ops.zeros_like(target))


def _against_truth(head: Head, target: Any, outputs: Any) -> Any:
    from keras import ops

    match head.kind:
        case Kind.VALUE:
            return _huber(outputs[:, 0] - target, head.elbow)
        case Kind.BINARY:
            return ops.binary_crossentropy(target, outputs[:, 0], from_logits=True)
        case Kind.CLASSES:
            classes = ops.cast(target, "int32")
            return ops.sparse_categorical_crossentropy(classes, outputs, from_logits=True)


def _against_teacher(head: Head, teacher: Any, outputs: Any, temperature: float) -> Any:
    from keras import ops

    t, square = temperature, temperature * temperature
    match head.kind:
        case Kind.VALUE:
            return _huber(outputs[:, 0] - teacher[:, 0], head.elbow)
        case Kind.BINARY:
            soft = ops.sigmoid(teacher[:, 0] / t)
            return square * ops.binary_crossentropy(soft, outputs[:, 0] / t, from_logits=True)
        case Kind.CLASSES:
            soft = ops.softmax(teacher / t)
            return square * ops.categorical_crossentropy(soft, outputs / t, from_logits=True)


def _huber(error: Any, elbow: float) -> Any:
    """Quadratic up to ``elbow`` with slope 1 there and beyond: in units of the value."""
    from keras import ops

    size = ops.abs(error)
    return ops.where(size < elbow, size * size / (2 * elbow), size - elbow / 2)


def check_targets(heads: Sequence[Head], columns: int) -> None:
    """Raise `InputError` unless there is one target column for each head."""
    if columns != len(heads):
        names = ", ".join(head.name for head in heads)
        raise InputError(
            f"{columns} target columns for {len(heads)} heads ({names}).",
            "Give one column for each head, NaN where it does not apply.",
        )
