"""C++ at the border: events as they come, one behind the other, into lanes and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hairtrigger.cpp.body import lane_bits
from hairtrigger.cpp.emit import Memory, array
from hairtrigger.cpp.layout import Layout, Place
from hairtrigger.cpp.program import Ints, Program
from hairtrigger.graph.types import TensorType

UNROLLED = 64
"""Elements of a tensor that are copied by one line of C++ each; more are copied in loops."""
SHORT = 8
"""Rows of so few elements with neighbouring slots are not worth a loop of their own."""


def code_dtype(t: TensorType) -> np.dtype[np.integer]:
    """The smallest integer dtype that holds every code of a type."""
    low, high = t.range().at(t.lsb)
    least, most = int(low.min()), int(high.max())
    for bits in (8, 16, 32, 64):
        if least >= 0 and most < 1 << bits:
            return np.dtype(f"uint{bits}")
        if lane_bits(least, most) <= bits:
            return np.dtype(f"int{bits}")
    raise AssertionError("a type has at most 60 bits")


@dataclass(frozen=True)
class _Copy:
    """Elements ``first`` to ``first + count`` of a tensor lie from slot ``slot`` on."""

    first: int
    count: int
    slot: int


def input_text(
    number: int, t: TensorType, program: Program, layout: Layout, memory: Memory, wide: int
) -> str:
    """``load<number>_<wide>(events, memory)``: so many events into lanes; true if every code is in
    its format. Codes are checked, so nothing out of range can reach the arithmetic.

    Registers are numbered behind the Inputs; they go where the first step will look for them.
    """
    place, base = _where(number, program, layout, memory, wide)
    dtype = code_dtype(t)
    name = f"load{number}_{wide}"
    head = [
        f"bool {name}(const {dtype}_t *events, {memory.parameters}) {{\n",
        f"    {_lane(place)} *lanes = ({_lane(place)} *)({base});\n",
        f"    (void)lanes;{' ' + memory.unread if memory.frames else ''}\n    int wrong = 0;\n",
    ]
    element = _Element(t, dtype, _lane(place))
    if wide > 1 and dtype.itemsize <= 4 and t.size >= 4:
        tables, text = _transposed(name, place, element, wide)
    elif t.size <= UNROLLED:
        tables, text = "", _unrolled(place, element, wide)
    elif len(_copies(np.arange(t.size), place.address)) * SHORT > t.size:
        tables, text = _indexed(name, place, element, wide)
    else:
        tables, text = _copied(name, place, element, wide)
    return "".join([tables, *head, text, "    HT_WRITTEN(memory);\n    return wrong == 0;\n}\n"])


def _where(
    number: int, program: Program, layout: Layout, memory: Memory, wide: int
) -> tuple[Place, str]:
    """The memory of an Input, or of a register behind them, and its address in C++."""
    held = number - len(program.inputs)
    if held < 0:
        n = program.tensors.index(program.inputs[number])
        return layout.places[n], memory.base(n, str(wide))
    elements, age = program.held[held].elements, program.held[held].age
    owner = layout.owner[elements]
    n = int(owner.max())
    if n < 0:  # a register without bits
        return Place(16, 1, np.full(len(elements), -1), 0), "memory"
    place = layout.places[n]
    at = np.where(owner >= 0, elements - program.tensors[n].first, 0)
    address = np.where(owner >= 0, place.address[at], -1)
    return Place(place.bits, place.slots, address, place.zeros), memory.base(n, "1", age)


def _lane(place: Place) -> str:
    return f"int{place.bits}_t"


class _Element:
    """How one code is checked and brought into its lane."""

    def __init__(self, t: TensorType, dtype: np.dtype[np.integer], lane: str) -> None:
        self.dtype, self.lane, self.size = dtype, lane, t.size
        self.low, self.high = (a.ravel() for a in t.range().at(t.lsb))
        self.drop = np.where(t.width > 0, t.lsb - t.fraction, 0).ravel()
        self.wide = "int64_t" if dtype.itemsize >= 4 else "int"

    def tests(self, low: str, high: str, mask: str) -> str:
        info = np.iinfo(self.dtype)
        tests = []
        if (self.low > info.min).any():
            tests.append(f"(x < {low})")
        if (self.high < info.max).any():
            tests.append(f"(x > {high})")
        if self.drop.any():
            tests.append(f"((x & {mask}) != 0)")
        return f" wrong |= {' | '.join(tests)};" if tests else ""

    def line(self, code: str, slot: str, n: int) -> str:
        """Statements for element ``n``, all numbers written out."""
        tests = self.tests(str(self.low[n]), str(self.high[n]), str((1 << int(self.drop[n])) - 1))
        store = f" {slot} = ({self.lane})(x >> {self.drop[n]});" if slot else ""
        return f"{{ const {self.wide} x = {code};{tests}{store} }}\n"

    def indexed(self, name: str, code: str, slot: str, n: str) -> str:
        """The same with the numbers of element ``n`` from tables, as far as they differ."""

        def number(what: str, values: Ints) -> str:
            return str(values[0]) if (values == values[0]).all() else f"{name}_{what}[{n}]"

        drop = number("drop", self.drop)
        mask = f"(({self.wide}(1) << {drop}) - 1)"
        tests = self.tests(number("low", self.low), number("high", self.high), mask)
        return f"{{ const {self.wide} x = {code};{tests} {slot} = ({self.lane})(x >> {drop}); }}\n"

    def tables(self, name: str) -> str:
        made = {"low": self.low, "high": self.high, "drop": self.drop}
        differ = {k: v for k, v in made.items() if (v != v[0]).any()}
        return "".join(array(f"{name}_{what}", values) for what, values in differ.items())


def _unrolled(place: Place, element: _Element, wide: int) -> str:
    text = [f"    HT_LANES\n    for (int w = 0; w < {wide}; ++w) {{\n"]
    for n in range(element.size):
        slot = f"lanes[{place.address[n] * wide} + w]" if place.address[n] >= 0 else ""
        text.append("        " + element.line(f"events[w * {element.size} + {n}]", slot, n))
    return "".join([*text, "    }\n"])


def _copied(name: str, place: Place, element: _Element, wide: int) -> tuple[str, str]:
    """Loops over rows of elements of one format whose slots follow each other."""
    tables: list[str] = []
    text: list[str] = []
    formats = np.stack([element.low, element.high, element.drop, place.address < 0], axis=1)
    _, first, where = np.unique(formats, axis=0, return_index=True, return_inverse=True)
    for group, n in enumerate(first):
        copies = _copies(np.flatnonzero(where.ravel() == group), place.address)
        own = f"{name}_{group}"
        tables.append(array(own, np.array([(c.first, c.count, c.slot) for c in copies])))
        slot = ""
        text += [
            f"    for (int r = 0; r < {len(copies)}; ++r) {{\n",
            f"        const int count = {own}[3 * r + 1];\n",
            f"        for (int w = 0; w < {wide}; ++w) {{\n",
            f"            const auto *from = events + w * {element.size} + {own}[3 * r];\n",
        ]
        if place.address[n] >= 0:
            to = f"lanes + ptrdiff_t({own}[3 * r + 2]) * {wide} + w"
            text.append(f"            {element.lane} *to = {to};\n")
            slot = f"to[i * {wide}]"
        text += [
            "            HT_LANES\n            for (int i = 0; i < count; ++i)\n",
            "                " + element.line("from[i]", slot, int(n)),
            "        }\n    }\n",
        ]
    return "".join(tables), "".join(text)


def _indexed(name: str, place: Place, element: _Element, wide: int) -> tuple[str, str]:
    """One loop over all elements, with their slots from a table."""
    slots = np.where(place.address >= 0, place.address, place.slots - 1) * wide
    text = [
        f"    for (int n = 0; n < {element.size}; ++n)\n",
        f"        for (int w = 0; w < {wide}; ++w)\n            ",
        element.indexed(name, f"events[w * {element.size} + n]", f"lanes[{name}_slot[n] + w]", "n"),
    ]
    return element.tables(name) + array(f"{name}_slot", slots), "".join(text)


def _transposed(name: str, place: Place, element: _Element, wide: int) -> tuple[str, str]:
    """Squares of events and elements are turned over, then each element is brought in."""
    size, side = element.size, square(element.dtype, element.size, wide)
    slots = np.where(place.address >= 0, place.address, place.slots - 1) * wide
    tables = element.tables(name) + array(f"{name}_slot", slots)
    kind = f"{element.dtype}_t"
    last = size - side
    text = [
        f"    for (int tile = 0; tile < {size}; tile += {side}) {{\n",
        f"        const int first = tile < {last} ? tile : {last};\n",
        f"        alignas(64) {kind} rows[{side} * {wide}];\n",
        f"        for (int w = 0; w < {wide}; w += {side})\n",
        f"            turn_{element.dtype}_{side}(events + w * {size} + first, {size}, ",
        f"rows + w, {wide});\n",
        f"        for (int n = 0; n < {side}; ++n) {{\n",
        f"            const {kind} *row = rows + n * {wide};\n",
        f"            {element.lane} *to = lanes + {name}_slot[first + n];\n",
        f"            HT_LANES\n            for (int w = 0; w < {wide}; ++w)\n",
        "                " + element.indexed(name, "row[w]", "to[w]", "first + n"),
        "        }\n    }\n",
    ]
    return tables, "".join(text)


def square(dtype: np.dtype[np.integer], size: int, wide: int) -> int:
    """Side of the squares that are turned over: a vector has at most 64 bytes."""
    side = 4
    while 2 * side <= min(size, wide, 64 // dtype.itemsize):
        side *= 2
    return side


def turn_text(dtype: np.dtype[np.integer], side: int) -> str:
    """``turn_<dtype>_<side>``: a square matrix turned over, by interleaving halves."""
    name, kind = f"{dtype}_{side}", f"{dtype}_t"
    half = range(side // 2)
    low = ", ".join(f"{n}, {side + n}" for n in half)
    high = ", ".join(f"{side // 2 + n}, {side + side // 2 + n}" for n in half)
    bits = side.bit_length() - 1
    text = [
        f"inline void turn_{name}(const {kind} *from, ptrdiff_t step, {kind} *to, "
        "ptrdiff_t to_step) {\n",
        "#ifdef HT_SHUFFLE\n",
        f"    typedef {kind} row __attribute__((vector_size({side * dtype.itemsize})));\n",
        f"    row a[{side}], b[{side}];\n",
        f"    for (int n = 0; n < {side}; ++n)\n",
        "        __builtin_memcpy(&a[n], from + n * step, sizeof(row));\n",
    ]
    for stage in range(bits):
        source, target = ("a", "b") if stage % 2 == 0 else ("b", "a")
        x, y = f"{source}[n]", f"{source}[n + {side // 2}]"
        text += [
            f"    for (int n = 0; n < {side // 2}; ++n) {{\n",
            f"        {target}[2 * n] = __builtin_shufflevector({x}, {y}, {low});\n",
            f"        {target}[2 * n + 1] = __builtin_shufflevector({x}, {y}, {high});\n",
            "    }\n",
        ]
    text += [
        f"    for (int n = 0; n < {side}; ++n)\n",
        f"        __builtin_memcpy(to + n * to_step, &{'ab'[bits % 2]}[n], sizeof(row));\n",
        "#else\n",
        f"    for (int n = 0; n < {side}; ++n)\n",
        f"        for (int k = 0; k < {side}; ++k)\n",
        "            to[n * to_step + k] = from[k * step + n];\n",
        "#endif\n    HT_WRITTEN(to);\n}\n",
    ]
    return "".join(text)


def output_text(
    number: int,
    t: TensorType,
    refs: Ints,
    program: Program,
    layout: Layout,
    memory: Memory,
    age: int = 0,
) -> str:
    """``store<number><W>(memory, events)``: an output of W events out of the lanes, or a register,
    which was written ``age`` steps before the step that would be next."""
    dtype, size = code_dtype(t), t.size
    # What has no bits is zero, whatever else the lane that it shares can carry.
    owner = np.where(t.width.ravel() > 0, layout.owner[refs], -1)
    text = [f"template <int W> void store{number}({memory.constant}, {dtype}_t *events) {{\n"]
    text.append(f"    {memory.unread}\n")
    up = np.where(owner >= 0, t.lsb - program.fraction[refs], 0)
    fixed = _fixed_codes(t, refs, program)
    for n in np.unique(owner[owner >= 0]):
        kind = f"int{layout.places[n].bits}_t"
        text.append(
            f"    const {kind} *lanes{n} = (const {kind} *)({memory.base(int(n), 'W', age)});\n"
        )

    def made(lane: str, n: int) -> str:
        if up[n] < 0:  # finer than the output, for the sake of other positions; nothing is lost
            return f"({dtype}_t)({lane} >> {-int(up[n])})"
        wide = "int64_t" if dtype.itemsize == 8 else "int"
        return f"({dtype}_t)(({wide}){lane} * {1 << int(up[n])})" if up[n] else f"({dtype}_t){lane}"

    def slot(n: int) -> int:
        tensor = program.tensors[owner[n]]
        return int(layout.places[owner[n]].address[refs[n] - tensor.first])

    if size <= UNROLLED:
        text.append("    HT_LANES\n    for (int w = 0; w < W; ++w) {\n")
        for n in range(size):
            lane = f"lanes{owner[n]}[{slot(n)} * W + w]" if owner[n] >= 0 else ""
            code = made(lane, n) if lane else str(fixed[n])
            text.append(f"        events[w * {size} + {n}] = {code};\n")
        return "".join([*text, "    }\n    HT_WRITTEN(events);\n}\n"])
    tables: list[str] = []
    formats = np.stack([owner, up, np.where(owner >= 0, 0, fixed)], axis=1)
    _, first, where = np.unique(formats, axis=0, return_index=True, return_inverse=True)
    for group, n in enumerate(first):
        members = np.flatnonzero(where.ravel() == group)
        slots = np.full(size, -1, dtype=np.int64)
        if owner[n] >= 0:
            tensor = program.tensors[owner[n]]
            slots[members] = layout.places[owner[n]].address[refs[members] - tensor.first]
        copies = _copies(members, slots)
        name = f"store{number}_{group}"
        tables.append(array(name, np.array([(c.first, c.count, c.slot) for c in copies])))
        text.append(f"    for (int r = 0; r < {len(copies)}; ++r) {{\n")
        text.append(f"        const int count = {name}[3 * r + 1];\n")
        text.append("        for (int w = 0; w < W; ++w) {\n")
        text.append(f"            {dtype}_t *to = events + w * {size} + {name}[3 * r];\n")
        code = str(fixed[n])
        if owner[n] >= 0:
            at = f"lanes{owner[n]} + ptrdiff_t({name}[3 * r + 2]) * W + w"
            text.append(f"            const auto *from = {at};\n")
            code = made("from[i * W]", int(n))
        text.append("            HT_LANES\n            for (int i = 0; i < count; ++i)\n")
        text.append(f"                to[i] = {code};\n")
        text.append("        }\n    }\n")
    return "".join([*tables, *text, "    HT_WRITTEN(events);\n}\n"])


def _fixed_codes(t: TensorType, refs: Ints, program: Program) -> Ints:
    """Codes of constants in units of the tensor's LSB (of others, nothing that means anything)."""
    low, fraction = program.low[refs], program.fraction[refs]
    constant = (low == program.high[refs]) & (low != 0)
    up = np.where(constant, t.lsb - fraction, 0)
    return np.where(constant, low << np.maximum(up, 0) >> np.maximum(-up, 0), 0)


def _copies(elements: Ints, slots: Ints) -> list[_Copy]:
    """Rows of elements whose slots follow each other (or that have none)."""
    at = slots[elements]
    breaks = np.diff(elements) != 1
    breaks |= np.where(at[1:] >= 0, np.diff(at) != 1, False)
    starts = np.append(0, np.flatnonzero(breaks) + 1)
    lengths = np.diff(np.append(starts, len(elements)))
    return [
        _Copy(int(elements[s]), int(n), int(at[s])) for s, n in zip(starts, lengths, strict=True)
    ]
