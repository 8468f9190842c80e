"""The readable form of a Graph, and its parser: ``parse(print_graph(g)) == g``.

    graph "tiny"
    %0 = Input(name="x", type=s2.3[4], rounding=RND, overflow=SAT) : s2.3[4]
    %1 = Dense(%0, kernel=lit.1[4,2]{1*3 -2 0 4 1 1}, bias=none) : s5.4[2] @"dense"
    return "out0"=%1

A line ``update %3=%7`` before the last: State %3 takes the value of %7 for the next step. A type
``s2.3[4]`` is signed (``u``: unsigned) with 2 integer and 3 fraction bits and shape (4,).
Where elements differ it is ``mixed[...]{signed}{integer}{fraction}``, each array written along
only those axes on which it changes. ``v*n`` stands for n times v.
"""

from __future__ import annotations

import re
from dataclasses import fields
from enum import Enum
from itertools import groupby
from math import prod
from types import UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

import numpy as np

from hairtrigger.errors import GraphError, HairtriggerError
from hairtrigger.fixed import Fixed, IntArray, Overflow, Rounding
from hairtrigger.graph import linear, moves, ops
from hairtrigger.graph.graph import Graph, Node
from hairtrigger.graph.types import Literal, Shape, TensorType
from hairtrigger.graph.verify import verify_border, verify_node

OPS: dict[str, type[ops.Op]] = {
    op.__name__: op
    for op in (
        ops.Input,
        ops.Constant,
        ops.State,
        ops.Quantize,
        ops.Add,
        ops.Sub,
        ops.Mul,
        ops.Relu,
        ops.Compare,
        ops.Table,
        linear.Dense,
        linear.Conv,
        linear.SumPool,
        linear.MaxPool,
        linear.GlobalSum,
        linear.ArgMax,
        moves.Reshape,
        moves.Transpose,
        moves.Pad,
        moves.Crop,
        moves.Concat,
    )
}
_ENUMS: tuple[type[Enum], ...] = (Rounding, Overflow, ops.Relation)


def print_graph(graph: Graph) -> str:
    """The readable form; ends with a line break."""
    lines = [f"graph {_quote(graph.name)}"]
    for place, node in enumerate(graph.nodes):
        arguments = [f"%{n}" for n in node.operands]
        arguments += [f"{f.name}={_show(getattr(node.op, f.name))}" for f in fields(node.op)]
        line = f"%{place} = {type(node.op).__name__}({', '.join(arguments)}) : {_show(node.type)}"
        lines.append(line + (f" @{_quote(node.label)}" if node.label else ""))
    lines += [f"update %{state}=%{place}" for state, place in graph.updates]
    outputs = zip(graph.output_names, graph.outputs, strict=True)
    lines.append("return " + ", ".join(f"{_quote(name)}=%{n}" for name, n in outputs))
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _show(value: Any) -> str:
    match value:
        case None:
            return "none"
        case str():
            return _quote(value)
        case Enum():
            return value.name
        case int():
            return str(value)
        case tuple():
            return "(" + ",".join(map(_show, cast(tuple[Any, ...], value))) + ")"
        case Literal():
            return f"lit.{value.fraction}{_show_shape(value.shape)}{_show_array(value.codes)}"
        case TensorType():
            if value.single is not None:
                f = value.single
                letter = "s" if f.signed else "u"
                return f"{letter}{f.integer}.{f.fraction}{_show_shape(value.shape)}"
            arrays = (value.signed.astype(np.int64), value.integer, value.fraction)
            return f"mixed{_show_shape(value.shape)}" + "".join(
                _show_shape(s.shape) + _show_array(s) for s in map(_squeeze, arrays)
            )
        case _:
            raise GraphError(f"A {type(value).__name__} has no readable form.")


def _show_shape(shape: Shape) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def _show_array(array: IntArray) -> str:
    runs = [(int(v), len(list(same))) for v, same in groupby(array.ravel().tolist())]
    return "{" + " ".join(str(v) if n == 1 else f"{v}*{n}" for v, n in runs) + "}"


def _squeeze(array: IntArray) -> IntArray:
    """The array with length 1 along axes on which it does not change."""
    for axis in range(array.ndim):
        first = array.take([0], axis=axis) if array.shape[axis] else array
        if (array == first).all():
            array = first
    return array


_TOKEN = re.compile(
    r'\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<type>[su]-?\d+\.-?\d+)|(?P<lit>lit\.-?\d+)'
    r"|(?P<run>-?\d+(?:\*\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<mark>[%=(),:@{}\[\]]))"
)


class _Parser:
    """A recursive-descent parser over the tokens of a Graph's text."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str, int]] = []
        at, end = 0, len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise self._error(text, at, text[at : at + 12].strip())
            self.tokens.append((match.lastgroup, match[match.lastgroup], match.end()))
            at = match.end()
        self.text = text
        self.at = 0

    def _error(self, text: str, at: int, found: str, expected: str = "") -> GraphError:
        line = text.count("\n", 0, at) + 1
        wanted = f", expected {expected}" if expected else ""
        return GraphError(
            f"Line {line} of the Graph's text: cannot read {found!r}{wanted}.",
            "Compare with the text that print(graph) gives.",
        )

    def fail(self, expected: str) -> GraphError:
        if self.at >= len(self.tokens):
            return self._error(self.text, len(self.text.rstrip()), "the end", expected)
        _, found, end = self.tokens[self.at]
        return self._error(self.text, end, found, expected)

    def peek(self) -> tuple[str, str]:
        if self.at >= len(self.tokens):
            return "end", ""
        kind, value, _ = self.tokens[self.at]
        return kind, value

    def take(self, kind: str, value: str | None = None) -> str:
        found_kind, found = self.peek()
        if found_kind != kind or (value is not None and found != value):
            raise self.fail(value or kind)
        self.at += 1
        return found

    def string(self) -> str:
        raw = self.take("string")[1:-1]
        return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], raw)

    def integer(self) -> int:
        token = self.take("run")
        if "*" in token:
            self.at -= 1
            raise self.fail("one integer")
        return self.small(token)

    def small(self, digits: str) -> int:
        """Digits as an integer that NumPy can hold."""
        if len(digits) > 19 or abs(int(digits)) >= 1 << 62:
            self.at -= 1
            raise self.fail("a number of at most 62 bits")
        return int(digits)

    def shape(self) -> Shape:
        self.take("mark", "[")
        found: list[int] = []
        while self.peek() != ("mark", "]"):
            found.append(self.integer())
            if self.peek() == ("mark", ","):
                self.at += 1
        self.take("mark", "]")
        return tuple(found)

    def array(self, shape: Shape) -> IntArray:
        self.take("mark", "{")
        values: list[int] = []
        counts: list[int] = []
        while self.peek() != ("mark", "}"):
            value, _, count = self.take("run").partition("*")
            values.append(self.small(value))
            counts.append(self.small(count or "1"))
        self.take("mark", "}")
        if sum(counts) != prod(shape) or min(shape, default=1) < 1:
            self.at -= 1
            raise self.fail(f"{prod(shape)} numbers for shape {shape}")
        return np.repeat(np.array(values, dtype=np.int64), counts).reshape(shape)

    def value(self) -> Any:
        kind, token = self.peek()
        match kind:
            case "string":
                return self.string()
            case "run":
                return self.integer()
            case "type":
                self.at += 1
                integer, fraction = (self.small(digits) for digits in token[1:].split("."))
                return TensorType.uniform(self.shape(), Fixed(token[0] == "s", integer, fraction))
            case "lit":
                self.at += 1
                return Literal(self.array(self.shape()), self.small(token[4:]))
            case "name":
                self.at += 1
                return self.named(token)
            case _:
                pass
        self.take("mark", "(")
        items: list[Any] = []
        while self.peek() != ("mark", ")"):
            items.append(self.value())
            if self.peek() == ("mark", ","):
                self.at += 1
        self.take("mark", ")")
        return tuple(items)

    def named(self, token: str) -> Any:
        if token == "none":
            return None
        if token == "mixed":
            shape = self.shape()
            signed, integer, fraction = (self.array(self.shape()) for _ in range(3))
            return TensorType(shape, signed != 0, integer, fraction)
        for enum in _ENUMS:
            if token in enum.__members__:
                return enum[token]
        self.at -= 1
        raise self.fail("a value")

    def place(self) -> int:
        self.take("mark", "%")
        return self.integer()

    def add_node(self, nodes: list[Node]) -> None:
        """Read one node, append and verify it; any error names its line."""
        start = self.at
        try:
            nodes.append(self.node(len(nodes)))
            verify_node(nodes, len(nodes) - 1)
        except HairtriggerError as error:
            if error.problem.startswith("Line "):
                raise
            at = self.tokens[start][2]
            line = self.text.count("\n", 0, at) + 1
            raise GraphError(
                f"Line {line} of the Graph's text: {error.problem}", error.fix
            ) from None

    def node(self, place: int) -> Node:
        """``%place = Op(operands, attributes) : type @"label"``"""
        if self.place() != place:
            self.at -= 1
            raise self.fail(f"%{place}")
        self.take("mark", "=")
        name = self.take("name")
        if name not in OPS:
            self.at -= 1
            raise self.fail("one of " + ", ".join(OPS))
        hints = get_type_hints(OPS[name])
        expected = {f.name: hints[f.name] for f in fields(OPS[name])}
        self.take("mark", "(")
        operands: list[int] = []
        attributes: dict[str, Any] = {}
        while self.peek() != ("mark", ")"):
            if self.peek() == ("mark", "%"):
                operands.append(self.place())
            else:
                attribute = self.take("name")
                self.take("mark", "=")
                attributes[attribute] = self.value()
                if not _fits(attributes[attribute], expected.get(attribute)):
                    self.at -= 1
                    raise self.fail(f"a value that attribute {attribute} of {name} can have")
            if self.peek() == ("mark", ","):
                self.at += 1
        self.take("mark", ")")
        if set(attributes) != set(expected):
            self.at -= 1
            raise self.fail(f"the attributes {list(expected)} of {name}")
        self.take("mark", ":")
        written = self.value()
        if not isinstance(written, TensorType):
            self.at -= 1
            raise self.fail("a type")
        label = ""
        if self.peek() == ("mark", "@"):
            self.at += 1
            label = self.string()
        return Node(OPS[name](**attributes), tuple(operands), written, label)

    def graph(self) -> Graph:
        self.take("name", "graph")
        name = self.string()
        nodes: list[Node] = []
        while self.peek() == ("mark", "%"):
            self.add_node(nodes)
        updates: list[tuple[int, int]] = []
        while self.peek() == ("name", "update"):
            self.at += 1
            state = self.place()
            self.take("mark", "=")
            updates.append((state, self.place()))
        self.take("name", "return")
        names: list[str] = []
        outputs: list[int] = []
        while True:
            names.append(self.string())
            self.take("mark", "=")
            outputs.append(self.place())
            if self.peek() != ("mark", ","):
                break
            self.at += 1
        if self.peek()[0] != "end":
            raise self.fail("the end")
        return Graph(name, tuple(nodes), tuple(outputs), tuple(names), tuple(updates))


def _fits(value: Any, hint: Any) -> bool:
    """Has ``value`` the annotated type of its attribute?"""
    if isinstance(hint, UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if get_origin(hint) is not tuple:
        return isinstance(hint, type) and isinstance(value, hint)
    parts = get_args(hint)
    if not isinstance(value, tuple):
        return False
    items = cast(tuple[Any, ...], value)
    if parts[-1] is Ellipsis:
        return all(_fits(item, parts[0]) for item in items)
    return len(items) == len(parts) and all(map(_fits, items, parts))


def parse(text: str) -> Graph:
    """The Graph that a text stands for, verified. Raises `GraphError` with the line."""
    graph = _Parser(text).graph()
    verify_border(graph)
    return graph
