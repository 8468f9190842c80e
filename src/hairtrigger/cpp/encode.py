"""C++ that brings real numbers into the format of an Input, as `encode` does."""

from __future__ import annotations

import numpy as np

from hairtrigger.cpp.border import code_dtype
from hairtrigger.cpp.emit import array
from hairtrigger.fixed import Overflow, Rounding
from hairtrigger.graph.ops import Input

MOST_BITS = 24
MOST_FRACTION = 100
"""Formats beyond are left to `encode`: sums would not be exact in float, or powers of two would
leave its range."""

_UP = {
    Rounding.TRN: "",
    Rounding.TRN_ZERO: "(low < 0) & (scaled > low)",
    Rounding.RND: "scaled >= half",
    Rounding.RND_MIN_INF: "scaled > half",
    Rounding.RND_CONV: "(scaled > half) | ((scaled == half) & ((code & 1) != 0))",
    Rounding.RND_INF: "(scaled > half) | ((scaled == half) & (low >= 0))",
    Rounding.RND_ZERO: "(scaled > half) | ((scaled == half) & (low < 0))",
}
"""When the whole number below (``low``) is not the one to take. ``half`` lies between it and the
next; below 2**22 a float holds it."""


def encodes(op: Input) -> bool:
    """Is there C++ for this Input?"""
    t = op.type
    return (
        op.overflow is not Overflow.WRAP_SM
        and t.span <= MOST_BITS
        and int(np.abs(t.fraction).max()) <= MOST_FRACTION
    )


def encode_text(number: int, op: Input) -> str:
    """``encode<number><R>(numbers, codes, events)``; false where a number is NaN, infinite, or so
    large or small that the caller must look at it."""
    t = op.type
    code = f"{code_dtype(t)}_t"
    alive = (t.width > 0).ravel()
    seen = t.range()
    symmetric = (t.signed & (op.overflow is Overflow.SAT_SYM)).ravel()
    columns = {
        "fraction": np.where(alive, t.fraction.ravel(), 0),
        "lowest": np.where(symmetric, -seen.high.ravel(), seen.low.ravel()),
        "highest": seen.high.ravel(),
        "step": np.where(alive, t.lsb - t.fraction.ravel(), 0),
    }
    text: list[str] = []

    def of(name: str) -> str:
        values = columns[name]
        if (values == values[0]).all():
            return str(values[0])
        return f"encode{number}_{name}[k]"

    for name, values in columns.items():
        if (values == values[0]).all() or name == "fraction":
            continue
        text.append(array(f"encode{number}_{name}", values))
    scales = 2.0 ** columns["fraction"].astype(np.float64)
    if (scales == scales[0]).all():
        scale = f"R({float(scales[0])!r})"
    else:
        listed = ", ".join(repr(float(x)) for x in scales)
        text.append(f"template <class R> const R encode{number}_scale[] = {{{listed}}};\n")
        scale = f"encode{number}_scale<R>[k]"
    wrap = op.overflow is Overflow.WRAP
    up = _UP[op.rounding]
    text += [
        "\ntemplate <class R>\n",
        f"bool encode{number}(const R *numbers, {code} *codes, size_t events) {{\n",
        "    int wrong = 0;\n",
    ]
    uniform = all((v == v[0]).all() for v in columns.values())
    if uniform:
        text.append(f"    HT_LANES\n    for (size_t n = 0; n < events * {t.size}; ++n) {{\n")
    else:
        text.append("    for (size_t e = 0; e < events; ++e)\n    HT_LANES\n")
        text.append(f"    for (size_t k = 0; k < {t.size}; ++k) {{\n")
        text.append(f"        const size_t n = e * {t.size} + k;\n")
    text += [
        "        const R x = numbers[n];\n",
        f"        const R scaled = x * {scale};\n",
        "        const R most = sizeof(R) == 4 ? R(1 << 22) : R(1 << 30);\n",
        "        const bool fine = (scaled > -most) & (scaled < most);\n",
        "        wrong |= !fine;\n",
    ]
    if (columns["fraction"] < 0).any():  # scaling could lose what decides about a rounding
        text.append("        wrong |= (x != 0) & (x > R(-1e-30)) & (x < R(1e-30));\n")
    text.append("        const R low = __builtin_floor(fine ? scaled : R(0));\n")
    text.append("        int32_t code = (int32_t)low;\n")
    if up:
        if "half" in up:
            text.append("        const R half = low + R(0.5);\n")
        text.append(f"        code += ({up}) ? 1 : 0;\n")
    low, high = of("lowest"), of("highest")
    if wrap:
        text.append(f"        const int32_t mask = {high} - {low};\n")
        text.append(f"        code = ((code - {low}) & mask) + {low};\n")
    else:
        text.append(f"        code = code < {low} ? {low} : code;\n")
        text.append(f"        code = code > {high} ? {high} : code;\n")
    text.append(f"        codes[n] = ({code})(code * (1 << {of('step')}));\n")
    text.append("    }\n    HT_WRITTEN(codes);\n    return wrong == 0;\n}\n")
    return "".join(text)
