"""The Graph under construction: wires between layers, and how they are quantized.

A layer's input quantizer is the first thing that sees the model's input, so the format of a
Graph's Input is known only after the walk. Until then a wire remembers which elements of the
model's input it carries (``raw``); `Net.finish` gives the Inputs their formats. A function that
is not quantized yet (``function``) waits on its wire for the quantizer with which it becomes one
table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

import numpy as np

from hairtrigger.errors import ConversionError
from hairtrigger.fixed import Fixed, IntArray, Overflow
from hairtrigger.frontends.hgq_quantizers import Format
from hairtrigger.frontends.hgq_tables import Function, function_table
from hairtrigger.graph import Builder, Graph, Literal, TensorType
from hairtrigger.graph.moves import Concat, Move, Reshape
from hairtrigger.graph.ops import Add, Constant, Input, Mul, Op, Quantize
from hairtrigger.graph.types import Shape

_UNKNOWN = Fixed(True, 24, 24)
"""Stands for the type of the model's input during the walk; nothing of it is left afterwards."""


@dataclass(frozen=True)
class Wire:
    """The value of a node, possibly with more to be done to it.

    ``raw``: for each element 1 + its number among all elements of the model's inputs, 0 for
    elements that are not the model's input; None where no element is.
    ``function``: still to be applied to the node's value.
    """

    place: int
    raw: IntArray | None = None
    function: Function | None = None


@dataclass
class _Reading:
    """One quantizer that reads the model's input: node, elements, format, layer."""

    place: int
    raw: IntArray
    form: Format
    label: str


@dataclass
class Net:
    """Builds the Graph of a model; ``label`` names the layer in hand.

    ``formats``: for each model input its type, or None where the first quantizers decide.
    """

    builder: Builder
    names: Sequence[str]
    shapes: Sequence[Shape]
    formats: Sequence[TensorType | None]
    label: str = ""
    inputs: list[Wire] = field(default_factory=list[Wire])
    readings: list[_Reading] = field(default_factory=list[_Reading])
    wanted: IntArray = field(init=False)
    """(signed, integer, fraction) that each input element is read in, by its number."""
    reader: IntArray = field(init=False)
    """Which of the readings asked for it, or -1."""

    def __post_init__(self) -> None:
        first = 1
        for name, shape, form in zip(self.names, self.shapes, self.formats, strict=True):
            size = int(np.prod(shape, dtype=np.int64))
            known = form or TensorType.uniform(shape, _UNKNOWN)
            place = self.builder.add(Input(name, known))
            raw = np.arange(first, first + size, dtype=np.int64).reshape(shape)
            self.inputs.append(Wire(place, None if form else raw))
            first += size
        self.wanted = np.zeros((first, 3), dtype=np.int64)
        self.reader = np.full(first, -1)

    def fail(self, problem: str, fix: str) -> NoReturn:
        """Raise `ConversionError` about the layer in hand."""
        raise ConversionError(f"Layer {self.label}: {problem}", fix)

    def type(self, wire: Wire) -> TensorType:
        """Type of the wire's node (before its function, if it has one)."""
        return self.builder.type(wire.place)

    def shape(self, wire: Wire) -> Shape:
        """Shape without the event axis."""
        return self.type(wire).shape

    # --- exact ops -----------------------------------------------------------------------------

    def add(self, op: Op, *wires: Wire) -> Wire:
        """A node that reads quantized values."""
        places = [self.solid(wire).place for wire in wires]
        return Wire(self.builder.add(op, *places, label=self.label))

    def solid(self, wire: Wire) -> Wire:
        """The wire, where its values are fixed-point numbers already."""
        if wire.function is not None:
            self.fail(
                f"it reads {wire.function.name} before a quantizer does; float32 values have no "
                "fixed-point format.",
                "Quantize them: enable_oq=True on the layer before, or enable_iq=True here.",
            )
        if wire.raw is not None:
            self.fail(
                "it reads the model's input before any quantizer does.",
                "Give from_hgq(..., input_format=Fixed(...)), the format in which the detector "
                "delivers the data, or quantize the input in the model.",
            )
        return wire

    def constant(self, values: Literal) -> Wire:
        """A constant tensor."""
        return Wire(self.builder.add(Constant(values), label=self.label))

    def scale(self, wire: Wire, power: int) -> Wire:
        """``wire * 2**power``."""
        if power == 0:
            return self.solid(wire)
        one = np.ones((1,) * len(self.shape(wire)), dtype=np.int64)
        return self.add(Mul(), wire, self.constant(Literal(one, -power)))

    # --- moves, which any wire may take ----------------------------------------------------------

    def move(self, op: Move, wire: Wire) -> Wire:
        """A node that only moves elements."""
        shape = self.shape(wire)
        place = self.builder.add(op, wire.place, label=self.label)
        raw = None if wire.raw is None else op.move(wire.raw[None], shape)[0]
        return Wire(place, raw, wire.function)

    def reshape(self, wire: Wire, shape: Shape) -> Wire:
        """The same elements in another shape."""
        return wire if shape == self.shape(wire) else self.move(Reshape(shape), wire)

    def concat(self, wires: Sequence[Wire], axis: int) -> Wire:
        """Wires behind each other along ``axis`` (no event axis)."""
        wires = [self.solid(wire) if wire.function else wire for wire in wires]
        if len(wires) == 1:
            return wires[0]
        place = self.builder.add(Concat(axis), *(w.place for w in wires), label=self.label)
        if all(wire.raw is None for wire in wires):
            return Wire(place)
        raws = [np.zeros(self.shape(w), np.int64) if w.raw is None else w.raw for w in wires]
        return Wire(place, np.concatenate(raws, axis=axis))

    def repeat(self, wire: Wire, times: int, axis: int) -> Wire:
        """The wire behind itself, ``times`` times along ``axis``."""
        return self.concat([wire] * times, axis)

    # --- quantizers ----------------------------------------------------------------------------

    def quantize(self, wire: Wire, form: Format | None) -> Wire:
        """What a quantizer makes of a wire. None, a dummy quantizer, leaves it as it is."""
        if form is None:
            return wire
        if wire.function is not None:
            place = function_table(self.builder, wire.place, wire.function, form, self.label)
            return self.affine(Wire(place), form)
        op = Quantize(form.type, form.rounding, form.overflow)
        if wire.raw is None:
            return self.affine(self.add(self._narrowed(op, wire), wire), form)
        place = self.builder.add(op, wire.place, label=self.label)
        self._claim(_Reading(place, wire.raw, form, self.label))
        return self.affine(Wire(place), form)

    def _narrowed(self, op: Quantize, wire: Wire) -> Quantize:
        """The same values in a type without bits that no value reaches.

        HGQ2 leaves wide formats on wires that it pruned (24 integer bits for what is always
        zero); without this they would widen every sum behind them.
        """
        op.infer([self.type(wire)])
        if op.overflow is Overflow.WRAP_SM:  # has a meaning for signed formats only
            return op
        return Quantize(op.bounds([self.type(wire).range()]).cover(), op.rounding, op.overflow)

    def affine(self, wire: Wire, form: Format) -> Wire:
        """The scale and shift behind a quantizer."""
        if form.affine is None:
            return wire
        shape = (1,) * len(self.shape(wire))
        scale, shift = (Literal.exact(np.full(shape, number)) for number in form.affine)
        scaled = self.add(Mul(), wire, self.constant(scale))
        return self.add(Add(), scaled, self.constant(shift))

    # --- the end ---------------------------------------------------------------------------------

    def finish(self, outputs: dict[str, Wire]) -> Graph:
        """The Graph, its Inputs in the formats of the quantizers that read them first."""
        places = {name: self.solid(wire).place for name, wire in outputs.items()}
        inputs = self._settle()
        found = Builder(self.builder.name)
        readings = {reading.place: reading for reading in self.readings}
        new: list[int] = []
        for place, node in enumerate(self.builder.nodes):
            operands = [new[n] for n in node.operands]
            reading = readings.get(place)
            if place in inputs:
                new.append(found.add(inputs[place]))
            elif reading is not None and _is_met(found.type(operands[0]), reading):
                new.append(operands[0])
            else:
                new.append(found.add(node.op, *operands, label=node.label))
        return found.build({name: new[place] for name, place in places.items()})

    def _claim(self, reading: _Reading) -> None:
        """Note which format each element of the model's input is read in."""
        t = reading.form.type
        wanted = np.stack([t.signed, t.integer, t.fraction], axis=-1).reshape(-1, 3)
        # Elements of no bits ask for nothing: their Quantize stays and gives zero.
        asks = (reading.raw.ravel() > 0) & (t.width.ravel() > 0)
        elements, wanted = reading.raw.ravel()[asks], wanted[asks]
        for other in np.unique(self.reader[elements]):
            if other >= 0:
                both = self.reader[elements] == other
                same = bool((self.wanted[elements[both]] == wanted[both]).all())
                _agree(self.readings[other], reading, same)
        self.wanted[elements] = wanted
        # An element that comes twice, through a Concat, may be asked for in two formats.
        _agree(reading, reading, bool((self.wanted[elements] == wanted).all()))
        self.reader[elements] = len(self.readings)
        self.readings.append(reading)

    def _settle(self) -> dict[int, Input]:
        """Input ops by place, in the formats that were claimed."""
        found: dict[int, Input] = {}
        first = 1
        for wire, name, form in zip(self.inputs, self.names, self.formats, strict=True):
            shape = self.shape(wire)
            rows = slice(first, first := first + int(np.prod(shape, dtype=np.int64)))
            if form is not None:
                continue
            k, i, f = (column.reshape(shape) for column in self.wanted[rows].T)
            readers = [self.readings[n] for n in np.unique(self.reader[rows]) if n >= 0]
            for other in readers[1:]:
                _agree(readers[0], other, True)
            op = Input(name, TensorType(shape, k > 0, i, f))
            if readers:
                op = replace(
                    op, rounding=readers[0].form.rounding, overflow=readers[0].form.overflow
                )
            found[wire.place] = op
        return found


def _agree(one: _Reading, two: _Reading, same_type: bool) -> None:
    """Raise `ConversionError` where two quantizers ask for different things of an input."""
    a, b = one.form, two.form
    if same_type and (a.rounding, a.overflow) == (b.rounding, b.overflow):
        return
    i = f = 0
    for t in (a.type, b.type):
        used = t.integer + t.fraction > 0
        i = max(i, int(t.integer[used].max(initial=0)))
        f = max(f, int(t.fraction[used].max(initial=0)))
    if one is two:
        who = f"Layer {one.label}: its quantizer reads the same input of the model in formats ({a})"
    else:
        who = (
            f"Layers {one.label} and {two.label}: their quantizers read the same input of the "
            f"model in formats ({a}; {b})"
        )
    raise ConversionError(
        f"{who} that differ, so the input has no single format.",
        "Give from_hgq(..., input_format=Fixed(...)), the format in which the detector delivers "
        f"the data (for instance Fixed(True, {i}, {f})), or put one Quantizer layer behind the "
        "model's input.",
    )


def _is_met(found: TensorType, reading: _Reading) -> bool:
    """Does the Input already hold what a quantizer asks for, so that it changes nothing?"""
    form = reading.form
    if form.overflow is Overflow.SAT_SYM and form.type.signed.any():
        return False  # the lowest code of the type is no value of the quantizer
    known = reading.raw > 0
    wanted = form.type
    same = (found.signed == wanted.signed) & (found.integer == wanted.integer)
    same &= found.fraction == wanted.fraction
    padding = ~known & (found.width == 0)
    return bool((same & known | padding).all())
