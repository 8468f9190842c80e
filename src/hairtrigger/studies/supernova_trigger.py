"""The whole trigger of the supernova study as files: front, network, gate and cut.

    trigger = read_trigger(folder)
    graph = trigger.decision()           # pixels (rows, columns, 1) to logits and one bit, "keep"

The gate: an image whose pixels add up to less is no candidate, and its network need not be run. It
is part of the decision on every engine, so that a processor may stop early and still decide as the
chip does.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hairtrigger.errors import GraphError, InputError, StorageError
from hairtrigger.graph import Builder, Graph, Literal, linear, moves, ops, parse
from hairtrigger.records import from_json, problems
from hairtrigger.studies.supernova_front import FrontConfig

FORMAT = "hairtrigger-supernova-trigger/1"
TRIGGER, NETWORK = "trigger.json", "network.txt"
KEEP, LOGITS = "keep", "logits"
SIGNAL = 0
"""The logit that decides."""


@dataclass(frozen=True)
class Trigger:
    """``front``: from raw ticks to pixels; ``network``: a Graph, pixels to logits (outputs,).

    An image is kept where its pixels add up to ``gate`` or more and logit 0 is at least ``cut``,
    which is in units of the finest LSB of all logits. Raises `InputError` where network and front
    do not fit.
    """

    front: FrontConfig
    network: Graph
    cut: int
    gate: int

    def __post_init__(self) -> None:
        shapes = [op.type.shape for op in self.network.input_ops]
        if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][1:] != (self.front.columns, 1):
            raise InputError(
                f"The network reads {shapes}, the front makes rows of {self.front.columns} pixels.",
                "Give the network that was trained on pixels of this front.",
            )

    @property
    def rows(self) -> int:
        """Rows of pixels of an image."""
        return self.network.input_ops[0].type.shape[0]

    @property
    def ticks(self) -> int:
        """Ticks of an image."""
        return self.rows * self.front.block[0]

    def decision(self) -> Graph:
        """The network with what is made of it: outputs ``logits`` and ``keep`` (1,), one bit."""
        old = self.network
        builder = Builder(old.name)
        places: list[int] = []
        for node in old.nodes:
            operands = [places[n] for n in node.operands]
            places.append(builder.add(node.op, *operands, label=node.label))
        logits = places[old.outputs[0]]
        shape = builder.type(logits).shape
        first = builder.add(moves.Crop(((SIGNAL, shape[0] - 1 - SIGNAL),)), logits, label="signal")
        likely = self._at_least(builder, first, self.cut, builder.type(logits).lsb)
        pixels = next(n for n, node in enumerate(builder.nodes) if isinstance(node.op, ops.Input))
        total = builder.add(linear.GlobalSum((0, 1)), pixels, label="gate")
        enough = self._at_least(builder, total, self.gate, builder.type(total).lsb)
        keep = builder.add(ops.Mul(), likely, enough, label=KEEP)
        return builder.build({LOGITS: logits, KEEP: keep})

    @staticmethod
    def _at_least(builder: Builder, x: int, code: int, lsb: int) -> int:
        limit = builder.add(ops.Constant(Literal(np.array([code], dtype=np.int64), lsb)))
        return builder.add(ops.Compare(ops.Relation.GE), x, limit)

    def save(self, folder: Path) -> None:
        """Write `TRIGGER` and `NETWORK` into a folder that is there."""
        record = {
            "format": FORMAT,
            "front": asdict(self.front),
            "cut": self.cut,
            "gate": self.gate,
        }
        (folder / NETWORK).write_text(str(self.network), encoding="utf-8")
        (folder / TRIGGER).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def deciding_model(model: Any, cut: float, gate: int) -> Any:
    """The Keras model of the network with the outputs of `Trigger.decision`, from pixels to both;
    ``cut`` as a real number."""
    from hairtrigger.frontends.keras_file import import_keras

    keras = import_keras()
    pixels, logits = model.inputs[0], model.outputs[0]
    likely = keras.ops.greater_equal(logits[:, SIGNAL : SIGNAL + 1], cut)
    total = keras.ops.einsum("nijc->nc", pixels)  # `sum` would be named as the network's layer is
    enough = keras.ops.greater_equal(total, gate)
    keep = keras.ops.cast(keras.ops.logical_and(likely, enough), "float32")
    return keras.Model(model.inputs, [logits, keep], name=model.name)


def read_trigger(folder: Path) -> Trigger:
    """What `Trigger.save` wrote. Raises StorageError for anything else, naming what is wrong."""
    try:
        found = json.loads((folder / TRIGGER).read_text(encoding="utf-8"))
        text = (folder / NETWORK).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{folder} holds no supernova trigger: {error}",
            "give the folder of a finished `hairtrigger run supernova`",
        ) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise StorageError(f"{folder / TRIGGER} is of another format", f"this reads {FORMAT}")
    wrong = problems(FrontConfig, found.get("front"), "front")
    wrong += [
        f"{name} is no number" for name in ("cut", "gate") if type(found.get(name)) is not int
    ]
    if wrong:
        raise StorageError(f"{folder / TRIGGER}: {wrong[0]}", "make the trigger again")
    try:
        return Trigger(
            from_json(FrontConfig, found["front"]), parse(text), found["cut"], found["gate"]
        )
    except (GraphError, InputError) as error:
        raise StorageError(f"{folder} is damaged: {error}", "make the trigger again") from error
