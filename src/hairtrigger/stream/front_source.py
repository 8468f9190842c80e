"""C++ of the front of the supernova chain, written for one `FrontConfig`.

The Graph of the front runs one tick after the other, each wire by itself. Here wires lie side by
side in vectors, and the filter makes all ticks of a block of pixels at once. What it rests on:

- A pedestal is its rounded count, ``level``, and what is left of its code, ``rest`` in
  ``[0, 2**fraction)`` after half an LSB was added. The sample lies above the pedestal where it lies
  above the level, or on it with a rest below half: so 16 bits are enough.
- A pedestal that starts in range stays there, as it moves towards samples: no clipping.
- Negative filtered counts, rounding and a threshold do not change which value is the largest, so a
  maximum is taken of sums before they are rounded.

The integers are those of `hairtrigger.studies.supernova_front`, by test.
"""

from __future__ import annotations

from hairtrigger.studies.supernova_front import FrontConfig, reciprocal
from hairtrigger.studies.supernova_front_graph import factors

ABI = 2
TILE = 16
"""Ticks whose residuals are made before they are filtered; they stay in the first cache."""
UNROLLED = 8
"""Ticks through which a wire's pedestal stays in a register."""


def lane_bits(config: FrontConfig) -> int:
    """Bits of a lane: 16 where levels and sums of the filter fit, else 32."""
    sums = sum(config.taps) << (config.residual_bits - 1)  # negative, and one count less above
    return 16 if config.bits <= 14 and sums <= 1 << 15 else 32


def write_front(config: FrontConfig) -> str:
    """The source: ``ht_front_run(state, samples, ticks, pixels, sums)`` in plain C.

    ``state`` is `FrontLibrary.state_dtype`; ``samples`` uint16 (ticks, wires); ``pixels`` uint8
    and ``sums`` uint32, one for each row of pixels that is completed. Returns the number of rows,
    or -1 where a sample is out of the ADC's range; then the state is as it was.
    """
    ticks, wires = config.block
    code, fraction = (
        reciprocal(config.board, config.board * ((1 << config.clip_bits) - 1))
        if config.coherent
        else (0, 0)
    )
    half = 1 << config.pedestal_fraction >> 1
    constants = {
        "WIRES": config.wires,
        "BOARD": config.board,
        "BOARDS": config.boards,
        "COLUMNS": config.columns,
        "PIXEL_WIRES": wires,
        "PIXEL_TICKS": ticks,
        "KEPT": len(config.taps) - 1,
        "TILE": max(TILE, ticks),
        "TOP": (1 << config.bits) - 1,
        "STEPS": 1 << config.pedestal_fraction,
        "HALF": half,
        "CLIP": (1 << config.clip_bits) - 1,
        "REACH": 1 << (config.residual_bits - 1),
        "THRESHOLD": config.threshold,
        "ROUND": 1 << config.taps_shift >> 1,
        "SHIFT": config.taps_shift,
    }
    lines = ["#include <cstddef>", "#include <cstdint>", "#include <cstring>", ""]
    lines += [f"static const int {name} = {value};" for name, value in constants.items()]
    lane = f"int{lane_bits(config)}_t"
    board_sum = "int32_t" if config.board * ((1 << config.clip_bits) - 1) >> 15 else "int16_t"
    lines += [f"typedef {lane} lane_t;", f"typedef {board_sum} board_t;", _STATE]
    lines.append(_residual(config, code, fraction))
    lines.append(_value(config))
    lines.append(_tick(config))
    lines.append(_block(config))
    lines.append(_RUN.replace("UNROLLED", str(UNROLLED)))
    return "\n".join(lines)


_STATE = f"""
struct state_t {{
    lane_t level[WIRES], rest[WIRES], history[KEPT * WIRES + 1];
    int32_t sums[COLUMNS], phase;
}};
extern "C" int ht_front_abi() {{ return {ABI}; }}
extern "C" size_t ht_front_state_size() {{ return sizeof(state_t); }}
"""


def _residual(config: FrontConfig, code: int, fraction: int) -> str:
    """Samples to residuals, UNROLLED ticks at once where there are so many; the pedestals move."""
    text = "".join(_pedestals(config, ticks) for ticks in {1, UNROLLED})
    if not config.coherent:
        body = """
    for (int w = 0; w < WIRES; w++) {
        const lane_t x = out[w];
        out[w] = x < -REACH ? (lane_t)-REACH : x > REACH - 1 ? (lane_t)(REACH - 1) : x;
    }"""
    else:
        rounding = 1 << fraction >> 1
        body = f"""
    lane_t mean[BOARDS];
    for (int b = 0; b < BOARDS; b++) {{
        board_t total = 0;
        for (int w = 0; w < BOARD; w++) {{
            const lane_t x = out[b * BOARD + w];
            total += (board_t)(x < -CLIP ? -CLIP : x > CLIP ? CLIP : x);
        }}
        mean[b] = (lane_t)(((int64_t)total * {code} + {rounding}) >> {fraction});
    }}
    for (int b = 0; b < BOARDS; b++)
        for (int w = b * BOARD; w < (b + 1) * BOARD; w++) {{
            const lane_t x = (lane_t)(out[w] - mean[b]);
            out[w] = x < -REACH ? (lane_t)-REACH : x > REACH - 1 ? (lane_t)(REACH - 1) : x;
        }}"""
    return f"""{text}
// What is less its pedestal becomes what is less its board's mean, and clipped.
static inline void residual(lane_t *__restrict out) {{{body}
}}"""


def _pedestals(config: FrontConfig, ticks: int) -> str:
    """The step of a pedestal is the sign of ``STEPS * sign(d) + HALF - rest``, with ``d`` from the
    level to the sample; what the rest runs over by is what the level moves by."""
    shift = config.pedestal_fraction
    lines = []
    for n in range(ticks):
        lines += [
            f"const lane_t now{n} = (lane_t)in[{n} * WIRES + w];",
            f"const lane_t d{n} = (lane_t)(now{n} - level);",
            f"out[{n} * WIRES + w] = (lane_t)(now{n} - (level > TOP ? TOP : level));",
            f"const lane_t s{n} = d{n} > 1 ? 1 : d{n} < -1 ? -1 : d{n};",
            f"const lane_t k{n} = (lane_t)(s{n} * STEPS + HALF - rest);",
            f"rest = (lane_t)(rest + (k{n} > 1 ? 1 : k{n} < -1 ? -1 : k{n}));",
            f"level = (lane_t)(level + (rest >> {shift}));",
            "rest = (lane_t)(rest & (STEPS - 1));",
        ]
    text = "\n        ".join(lines)
    return f"""
// Samples less pedestals, {ticks} at once; the pedestals take as many steps.
static inline void pedestals{ticks}(lane_t *__restrict levels, lane_t *__restrict rests,
                                    const uint16_t *__restrict in, lane_t *__restrict out) {{
    for (int w = 0; w < WIRES; w++) {{
        lane_t level = levels[w], rest = rests[w];
        {text}
        levels[w] = level;
        rests[w] = rest;
    }}
}}"""


def _sums(config: FrontConfig, ticks: int) -> list[str]:
    """Lines that make ``f0`` to ``f{ticks - 1}``, the filter's sums at consecutive ticks of a wire
    from residuals ``r[n * WIRES + w]``, the oldest first."""
    delays, rest = factors(config.taps)
    reach = len(config.taps) - 1
    lines = [f"const lane_t a{n} = r[{n} * WIRES + w];" for n in range(ticks + reach)]
    names = [f"a{n}" for n in range(ticks + reach)]
    for level, delay in enumerate(delays):
        made = [f"s{level}_{n}" for n in range(len(names) - delay)]
        for n, name in enumerate(made):
            lines.append(f"const lane_t {name} = (lane_t)({names[n]} + {names[n + delay]});")
        names = made
    for n in range(ticks):
        # Tap k belongs to the sample of k ticks ago; what is left of the taps has no factors.
        terms = [
            f"{tap} * {names[n + len(rest) - 1 - k]}" if tap != 1 else names[n + len(rest) - 1 - k]
            for k, tap in enumerate(rest)
            if tap
        ]
        lines.append(f"const lane_t f{n} = (lane_t)({' + '.join(terms)});")
    return lines


def _value(config: FrontConfig) -> str:
    """A filter's sum as a kept count, and a value as a pixel."""
    pixel = " + ".join(
        f"(v >> {shift} < {(1 << bits) - 1} ? v >> {shift} : {(1 << bits) - 1})"
        for shift, bits in config.scale
    )
    return f"""
static inline int32_t counted(int32_t sum) {{
    const int32_t v = (sum + ROUND) >> SHIFT;
    return v < 0 || v < THRESHOLD ? 0 : v;
}}
static inline uint8_t pixel(int32_t v) {{ return (uint8_t)({pixel}); }}
"""


def _tick(config: FrontConfig) -> str:
    """One tick into the sums of the block at hand."""
    lines = "\n        ".join(_sums(config, 1))
    wires = _tree("max", "value", config.block[1]) if config.pool == "max" else None
    body = (
        f"const int32_t v = {wires};\n        if (v > s.sums[c]) s.sums[c] = v;"
        if wires
        else "int32_t v = 0;\n        for (int n = 0; n < PIXEL_WIRES; n++) "
        "v += value[c * PIXEL_WIRES + n];\n        s.sums[c] += v;"
    )
    return f"""
static inline int32_t max(int32_t a, int32_t b) {{ return a > b ? a : b; }}
static inline lane_t most(lane_t a, lane_t b) {{ return a > b ? a : b; }}
// A tick goes into the values of the block at hand.
static void tick(state_t &s, const lane_t *__restrict r) {{
    int32_t value[WIRES];
    for (int w = 0; w < WIRES; w++) {{
        {lines}
        value[w] = counted(f0);
    }}
    for (int c = 0; c < COLUMNS; c++) {{
        {body}
    }}
}}
static uint32_t row(state_t &s, uint8_t *__restrict out) {{
    uint32_t total = 0;
    for (int c = 0; c < COLUMNS; c++) {{
        out[c] = pixel(s.sums[c]);
        total += out[c];
        s.sums[c] = 0;
    }}
    s.phase = 0;
    return total;
}}"""


def _block(config: FrontConfig) -> str:
    """All ticks of a block of pixels at once."""
    ticks, wires = config.block
    lines = _sums(config, ticks)
    if config.pool == "max":
        best = "f0"
        for n in range(1, ticks):
            best = f"most({best}, f{n})"
        lines.append(f"value[w] = {best};")
        kind, pooled = "lane_t", f"counted({_tree('most', 'value', wires)})"
    else:
        counted = " + ".join(f"counted(f{n})" for n in range(ticks))
        lines.append(f"value[w] = {counted};")
        kind = "int32_t"
        pooled = " + ".join(f"value[c * PIXEL_WIRES + {n}]" for n in range(wires))
    text = "\n        ".join(lines)
    return f"""
// A whole block of ticks to a row of pixels; gives their sum.
static uint32_t block(const lane_t *__restrict r, uint8_t *__restrict out) {{
    {kind} value[WIRES];
    for (int w = 0; w < WIRES; w++) {{
        {text}
    }}
    uint32_t total = 0;
    for (int c = 0; c < COLUMNS; c++) {{
        const int32_t v = {pooled};
        out[c] = pixel(v);
        total += out[c];
    }}
    return total;
}}"""


def _tree(function: str, array: str, count: int) -> str:
    terms = [f"{array}[c * PIXEL_WIRES + {n}]" for n in range(count)]
    while len(terms) > 1:
        pairs = [f"{function}({a}, {b})" for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[2 * len(pairs) :]
    return terms[0]


_RUN = """
extern "C" long ht_front_run(void *held, const uint16_t *in, size_t ticks,
                             uint8_t *pixels, uint32_t *sums) {
    state_t &s = *(state_t *)held;
    const state_t before = s;
    lane_t r[(KEPT + TILE) * WIRES];
    memcpy(r, s.history, sizeof(lane_t) * KEPT * WIRES);
    long rows = 0;
    while (ticks) {
        const int count = ticks < (size_t)TILE ? (int)ticks : TILE;
        uint16_t any = 0;
        for (int n = 0; n < count * WIRES; n++) any |= in[n];
        if (any > TOP) {
            s = before;
            return -1;
        }
        lane_t *fresh = r + KEPT * WIRES;
        int t = 0;
        for (; t + UNROLLED <= count; t += UNROLLED)
            pedestalsUNROLLED(s.level, s.rest, in + (size_t)t * WIRES, fresh + t * WIRES);
        for (; t < count; t++)
            pedestals1(s.level, s.rest, in + (size_t)t * WIRES, fresh + t * WIRES);
        for (t = 0; t < count; t++) residual(fresh + t * WIRES);
        for (int t = 0; t < count;) {
            if (!s.phase && count - t >= PIXEL_TICKS) {
                sums[rows] = block(r + t * WIRES, pixels + rows * COLUMNS);
                rows++;
                t += PIXEL_TICKS;
            } else {
                tick(s, r + t * WIRES);
                t++;
                if (++s.phase == PIXEL_TICKS) {
                    sums[rows] = row(s, pixels + rows * COLUMNS);
                    rows++;
                }
            }
        }
        memmove(r, r + count * WIRES, sizeof(lane_t) * KEPT * WIRES);
        in += (size_t)count * WIRES;
        ticks -= count;
    }
    memcpy(s.history, r, sizeof(lane_t) * KEPT * WIRES);
    return rows;
}
"""
