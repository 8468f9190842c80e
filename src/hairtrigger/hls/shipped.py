"""The injections that come with the package: headers in injections/, made for a Graph here."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from importlib import resources

import numpy as np

from hairtrigger.errors import InputError
from hairtrigger.fixed import Fixed, IntArray, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, TensorType, linear, moves, ops
from hairtrigger.graph.types import Literal
from hairtrigger.hls.injection import IO_TYPES, Injection, Port, around, at_input, replace
from hairtrigger.hls.reference import Reference

PIXEL_BITS, BLOCK = 20, 32
"""Widest pixel and longest side of a block that the sum of threshold_downsize.h has room for."""
FEW_BITS = 4
"""Widest input of packed_conv: beyond, products cost less than a look-up a bit."""
_ROUNDINGS = (Rounding.TRN, Rounding.RND)


def front(
    graph: Graph,
    image: tuple[int, int],
    pixel: Fixed,
    *,
    threshold: int,
    maximum: bool = False,
    rounding: Rounding = Rounding.TRN,
    channels: bool = False,
) -> Injection:
    """Zero suppression and downsizing before the network: ``threshold_downsize.h``.

    ``image``: rows and columns of the raw image; blocks of it become the pixels of the network's
    input (rows, columns, 1), whose format the sums (or, with ``maximum``, the largest pixels) are
    rounded to and saturated. ``pixel``: format of a raw pixel, unsigned; its LSB relative to that
    of the network's input is the scale: ADC counts taken as ``Fixed(False, 10, 4)`` are divided by
    16. ``threshold``: a pixel counts where its code is over it. ``channels``: the raw image has
    shape (rows, columns), so that io_stream takes a whole row a word, else (rows, columns, 1), a
    pixel a word. Raises `InputError` where this does not fit together.
    """
    t, single = graph.input_ops[0].type, graph.input_ops[0].type.single
    if len(graph.inputs) != 1 or len(t.shape) != 3 or t.shape[-1] != 1 or single is None:
        raise InputError(
            f"The network takes {len(graph.inputs)} input(s), the first of shape {t.shape}"
            f"{'' if single else ' with several formats'}.",
            "The front needs one image (rows, columns, 1) of one format.",
        )
    down = (image[0] // t.shape[0], image[1] // t.shape[1])
    if image != (down[0] * t.shape[0], down[1] * t.shape[1]) or max(down) > BLOCK:
        raise InputError(
            f"An image of {image} does not fall into {t.shape[:2]} blocks of up to {BLOCK}.",
            "Crop or pad it to a multiple of the network's image.",
        )
    drop = pixel.fraction - single.fraction
    if pixel.signed or single.signed or pixel.width > PIXEL_BITS or drop < 0:
        raise InputError(
            f"Pixels {pixel} to a network's input {single}.",
            f"Both are unsigned, a pixel has up to {PIXEL_BITS} bits and no coarser LSB.",
        )
    if not 0 <= threshold <= pixel.highest or rounding not in _ROUNDINGS:
        raise InputError(
            f"threshold={threshold}, rounding={rounding.name}.",
            f"The threshold is a code of a pixel, 0 to {pixel.highest}; rounding is TRN or RND.",
        )
    half = 1 << (drop - 1) if rounding is Rounding.RND and drop else 0
    config = {
        "rows": image[0],
        "columns": image[1],
        "down_rows": down[0],
        "down_columns": down[1],
        "threshold": threshold,
        "maximum": int(maximum),
        "drop": drop,
        "half": half,
        "most": single.highest,
    }
    shape = image if channels else (*image, 1)
    return Injection(
        at_input(),
        "front",
        _source("threshold_downsize", "front", config, {}),
        takes=Port(shape, pixel),
        gives=Port(t.shape, single),
        io_types=IO_TYPES,
        meaning=_front_graph(shape, pixel, t, down, threshold, maximum, rounding),
    )


def _front_graph(
    shape: tuple[int, ...],
    pixel: Fixed,
    gives: TensorType,
    down: tuple[int, int],
    threshold: int,
    maximum: bool,
    rounding: Rounding,
) -> Graph:
    builder = Builder("front")
    x = builder.add(ops.Input("raw", TensorType.uniform(shape, pixel)))
    if len(shape) == 2:
        x = builder.add(moves.Reshape((*shape, 1)), x)
    limit = builder.add(ops.Constant(Literal([[[threshold]]], pixel.fraction)))
    over = builder.add(ops.Compare(ops.Relation.GT), x, limit)
    kept = builder.add(ops.Mul(), x, over)
    pool = linear.MaxPool if maximum else linear.SumPool
    none = ((0, 0), (0, 0))
    pooled = builder.add(pool(down, down, none), kept)
    return builder.build(
        {"image": builder.add(ops.Quantize(gives, rounding, Overflow.SAT), pooled)}
    )


def packed_conv(graph: Graph, layer: str | None = None) -> Injection:
    """The network's first convolution, on packed bits: ``packed_conv.h``.

    Replaces hls4ml's layer ``layer`` (by default the label of the first convolution), which must
    read the network's input as it is, of one format of up to `FEW_BITS` bits, in two dimensions
    and without groups. Raises `InputError` where it does not.
    """
    found = [n for n, node in enumerate(graph.nodes) if isinstance(node.op, linear.Conv)]
    if not found or graph.nodes[found[0]].operands != graph.inputs[:1]:
        raise InputError(
            "The network does not begin with a convolution of its input.",
            "packed_conv stands for a first convolution; for others write your own.",
        )
    node = graph.nodes[found[0]]
    conv, takes = node.op, graph.nodes[node.operands[0]].type
    assert isinstance(conv, linear.Conv)
    single = takes.single
    if single is None or not 1 <= single.width <= FEW_BITS or len(conv.strides) != 2:
        raise InputError(
            f"The first convolution has {len(conv.strides)} dimensions and reads "
            f"{single or 'several formats'}.",
            f"packed_conv needs an image of one format of 1 to {FEW_BITS} bits.",
        )
    if conv.groups != 1:
        raise InputError(f"The first convolution has {conv.groups} groups.", "It may have 1.")
    return _packed(graph, conv, takes, single, layer or node.label.split(" (")[0])


def _packed(
    graph: Graph, conv: linear.Conv, takes: TensorType, single: Fixed, layer: str
) -> Injection:
    rows, columns, channels = takes.shape
    height, width, _, filters = conv.kernel.shape
    outputs = conv.infer([takes]).shape
    if (outputs[1] - 1) * conv.strides[1] >= columns or conv.padding[0][0] >= height:
        raise InputError(
            f"The first convolution is padded by {conv.padding}.",
            "packed_conv needs padding of less than a window.",
        )
    # Sums count in the LSB of kernel times input; a finer bias makes all of them finer.
    fraction = conv.kernel.fraction + single.fraction
    bias = np.zeros(filters, dtype=np.int64)
    if conv.bias is not None and conv.bias.codes.any():
        fraction = max(fraction, conv.bias.fraction)
        bias = conv.bias.at(fraction)
    kernel = conv.kernel.at(fraction - single.fraction).reshape(-1, filters)
    groups = -(-len(kernel) // 6)
    tables = _tables(kernel, groups)
    config = {
        "rows": rows,
        "columns": columns,
        "channels": channels,
        "bits": single.width,
        "is_signed": int(single.signed),
        "window_rows": height,
        "window_columns": width,
        "stride_rows": conv.strides[0],
        "stride_columns": conv.strides[1],
        "pad_top": conv.padding[0][0],
        "pad_left": conv.padding[1][0],
        "out_rows": outputs[0],
        "out_columns": outputs[1],
        "filters": filters,
        "groups": groups,
        "fraction": fraction,
    }
    most = int(np.abs(kernel).sum(axis=0).max()) * max(single.highest, -single.lowest)
    if most + int(np.abs(bias).max()) >= 1 << 30:
        raise InputError(
            "Sums of the first convolution have over 30 bits.", "Quantize its weights."
        )
    lists = {"table": tables.reshape(-1), "bias": bias}
    source = _source("packed_conv", "packed_conv", config, lists)
    builder = Builder("packed_conv")
    x = builder.add(ops.Input("image", takes))
    return Injection(
        replace(layer),
        "packed_conv",
        source,
        takes=Port(takes.shape, single),
        io_types=IO_TYPES,
        meaning=builder.build({"sums": builder.add(conv, x)}),
    )


def _tables(kernel: IntArray, groups: int) -> IntArray:
    """Sums (filters, groups, 64) of the weights that the bits of an address choose."""
    taps, filters = kernel.shape
    padded = np.zeros((6 * groups, filters), dtype=np.int64)
    padded[:taps] = kernel
    chosen = np.arange(64)[:, None] >> np.arange(6) & 1
    return np.einsum("ab,gbf->fga", chosen, padded.reshape(groups, 6, filters))


def early_exit(graph: Graph, others: Sequence[Injection] = (), *, threshold: int = 0) -> Injection:
    """A constant answer for images without a pixel over ``threshold`` (a code): ``early_exit.h``.

    ``others``: the other injections of the project: those at input and output belong to what is
    answered. The answer is worked out by the emulator, and that all such images have it is proven
    by intervals. Raises `InputError` where it is not so: a threshold over 0 needs a front that
    sets such pixels to zero.
    """
    reference = Reference.of(graph, others)
    entry = reference.entry.input_ops[0].type
    single = entry.single
    if len(reference.entry.inputs) != 1 or single is None or len(reference.exit.outputs) != 1:
        raise InputError(
            "The network has several inputs or outputs, or an input of several formats.",
            "early_exit needs one input of one format and one output.",
        )
    lowest = single.lowest
    proven = reference.constant(lowest, threshold) if 0 <= threshold <= single.highest else None
    empty = np.zeros((1, *entry.shape), dtype=np.int64)
    answer = reference.run([empty])[2][0][0]
    if proven is None or not np.array_equal(proven[0], answer):
        raise InputError(
            f"Not all images with codes from {lowest} to {threshold} have one answer.",
            "Use threshold=0 on unsigned pixels, or that of a front that sets to zero what is "
            "not over it.",
        )
    exit_type = reference.exit.output_types[0]
    config = {
        "size": entry.size,
        "answers": exit_type.size,
        "threshold": threshold,
        "fraction": exit_type.lsb,
    }
    source = _source("early_exit", "early_exit", config, {"answer": answer})
    return Injection(
        around(), "early_exit", source, takes=Port(entry.shape, single), io_types=IO_TYPES
    )


def _source(
    header: str, function: str, config: Mapping[str, int], lists: Mapping[str, IntArray]
) -> str:
    """The header's text, a struct of constants, and ``function`` for arrays and for streams."""
    text = resources.files("hairtrigger.hls").joinpath(f"injections/{header}.h").read_text("utf-8")
    guard = f"HAIRTRIGGER_{header.upper()}"
    numbers = "\n".join(f"    static const int {name} = {n};" for name, n in config.items())
    tables = "".join(_table(name, codes) for name, codes in lists.items())
    kind = "bool" if header == "early_exit" else "void"
    back = ", hls::stream<in_T> &again" if header == "early_exit" else ""
    again = ", again" if header == "early_exit" else ""
    return f"""#ifndef {guard}
#define {guard}

{text}
#endif

struct {function}_config {{
{numbers}
{tables}}};

template <class in_T, class out_T> {kind} {function}(const in_T *in, out_T *out) {{
#pragma HLS INLINE
    return hairtrigger::{header}<{function}_config>(in, out);
}}

template <class in_T, class out_T>
{kind} {function}(hls::stream<in_T> &in, hls::stream<out_T> &out{back}) {{
#pragma HLS INLINE
    return hairtrigger::{header}<{function}_config>(in, out{again});
}}
"""


def _table(name: str, codes: IntArray) -> str:
    values = [str(x) for x in codes.reshape(-1).tolist()]
    lines = textwrap.fill(
        ", ".join(values), 92, initial_indent=" " * 12, subsequent_indent=" " * 12
    )
    return f"""    static int {name}(int n) {{
        static const int values[{len(values)}] = {{
{lines}
        }};
        return values[n];
    }}
"""
