"""A layer of coins as C++ for high-level synthesis: it draws, and draws what the chip draws.

The header has no dependency but <cstdint>, so the simulation in C++ and the synthesised circuit are
the same code, and the same bits as those of the Graph's emulator and of the emitted Verilog: same
registers, same seeds, same thresholds. Pragmas are those of Vitis HLS, which g++ ignores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hairtrigger.errors import InputError
from hairtrigger.fixed import Fixed
from hairtrigger.graph.coins import Generator, thresholds

WIDEST = 16
"""Bits of a logit up to which there is a table of thresholds."""


def coins_header(name: str, generator: Generator, neurons: int, logits: Fixed) -> str:
    """The header: a struct ``name`` with ``toss(logit, bit)`` for one event and ``reset()``.

    ``logit`` holds codes of the format ``logits``, one for each of ``neurons``; ``bit`` takes what
    they toss, as `hairtrigger.graph.coins.bernoulli` does with the same generator. Raises
    `InputError` for no neurons, a name that is none in C++, or logits of more than `WIDEST` bits.
    """
    if neurons < 1 or not name.isidentifier() or not name.isascii() or logits.width > WIDEST:
        raise InputError(
            f"{neurons} neurons, struct {name!r}, logits of {logits.width} bits.",
            f"Give one neuron or more, a name of letters and digits, up to {WIDEST} bits.",
        )
    codes = np.arange(logits.lowest, logits.highest + 1)
    limits = thresholds(codes, logits.fraction, generator.bits)
    registers = 1 if generator.shared else neurons
    word = "uint32_t" if generator.length <= 32 else "uint64_t"
    mask = (1 << generator.length) - 1
    feedback = " ^ ".join(f"(s >> {tap - 1})" for tap in generator.taps)
    drawn = " | ".join(
        f"((s >> {n} & 1) << {generator.bits - 1 - n})" for n in range(generator.bits)
    )
    register = "0" if generator.shared else "n"
    taps = ", ".join(map(str, generator.taps))
    return f"""// {neurons} neurons that toss coins: 1 with the probability sigmoid(logit).
// Logits of {logits.width} bits, in units of 2**{-logits.fraction}.
// {registers} registers of {generator.length} bits with taps {taps}.
// {generator.leap} shifts an event, words of {generator.bits} bits.
#ifndef HAIRTRIGGER_{name.upper()}_H
#define HAIRTRIGGER_{name.upper()}_H

#include <cstdint>

struct {name} {{
    static const int neurons = {neurons};
    static const int lowest = {logits.lowest};
    {word} state[{registers}];

    {name}() {{ reset(); }}

    void reset() {{
        static const {word} seed[{registers}] = {{
            {_listed([f"{seed:#x}u" for seed in generator.seeds(registers)])}
        }};
        for (int n = 0; n < {registers}; n++) {{
#pragma HLS UNROLL
            state[n] = seed[n];
        }}
    }}

    void toss(const int logit[neurons], bool bit[neurons]) {{
#pragma HLS PIPELINE II=1
#pragma HLS ARRAY_PARTITION variable=state complete
#pragma HLS ARRAY_PARTITION variable=logit complete
#pragma HLS ARRAY_PARTITION variable=bit complete
        // The word is below the threshold with the probability threshold / 2**{generator.bits}.
        static const uint32_t threshold[{len(codes)}] = {{
            {_listed([str(value) for value in limits.tolist()])}
        }};
        for (int n = 0; n < neurons; n++) {{
#pragma HLS UNROLL
            const {word} s = state[{register}];
            const uint32_t word = {drawn};
            bit[n] = word < threshold[logit[n] - lowest];
        }}
        for (int n = 0; n < {registers}; n++) {{
#pragma HLS UNROLL
            {word} s = state[n];
            for (int shift = 0; shift < {generator.leap}; shift++) {{
#pragma HLS UNROLL
                s = (s << 1 | (({feedback}) & 1)) & {mask:#x}u;
            }}
            state[n] = s;
        }}
    }}
}};

#endif
"""


def _listed(items: Sequence[str], width: int = 88) -> str:
    """Comma between them, lines of at most ``width`` characters."""
    lines = [""]
    for item in items:
        if lines[-1] and len(lines[-1]) + len(item) + 2 > width:
            lines.append("")
        lines[-1] += f"{item}, "
    return "\n            ".join(line.rstrip() for line in lines).removesuffix(",")
