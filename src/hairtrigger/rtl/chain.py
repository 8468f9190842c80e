"""Two designs behind each other: a front that makes rows of an image, and a network that reads it.

The front is a Graph of which a step is a tick of the stream: its outputs are "pixels", a row of the
image, and "ready", 1 in the ticks after which a row is whole. The network is a Graph without
registers with one input, an image (rows, pixels) or (rows, pixels, 1), in the format of the pixels.
Both run on one clock. Between them is only what brings rows into the network's words:

- along axis 0 the words of a row go on as soon as it is there. Between rows of an image the network
  is held by its clock enable, so it has read nearly all of it when the last row comes;
- along axis 1, and where a word is more than a row, the image is put into memories, one for each
  row and twice as large as that, and read while the next one comes in.

    chain = compile_chain(front, network, clock="200 MHz", tick="512 ns", front_interval=60)
    decisions = emulate_chain(front, network, ticks)          # what it means
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hairtrigger.errors import UnsupportedError
from hairtrigger.fixed import IntArray
from hairtrigger.graph.emulate import emulate_codes, emulate_steps
from hairtrigger.graph.graph import Graph
from hairtrigger.graph.steps import Registers
from hairtrigger.rtl.chain_verilog import chain_text
from hairtrigger.rtl.design import Design, compile_graph
from hairtrigger.rtl.names import identifier
from hairtrigger.targets import Part, parse_clock, parse_interval

OUTPUTS = ("pixels", "ready")
"""What a front gives, in this order."""


@dataclass(frozen=True, eq=False)
class Chain:
    """A front and a network in one top module, a tick every ``tick`` clocks or later.

    ``row_ticks``: ticks that make a row; ``buffered``: is an image put into memories. The ports of
    the top are those of a `Design`: ``in_valid`` and ``in_data`` as the front has them, an
    ``out_valid`` for each image.
    """

    name: str
    front: Design
    network: Design
    tick: int
    row_ticks: int
    buffered: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and pixels of an image."""
        rows, pixels = self.network.graph.input_ops[0].type.shape[:2]
        return rows, pixels

    @property
    def image_ticks(self) -> int:
        """Ticks of an image."""
        return self.row_ticks * self.shape[0]

    @property
    def row_clocks(self) -> int:
        """Clocks from row to row, at least."""
        return self.row_ticks * self.tick

    @property
    def image_clocks(self) -> int:
        """Clocks from image to image, at least."""
        return self.image_ticks * self.tick

    @property
    def image_ns(self) -> float:
        """The same as a time."""
        return self.image_clocks * self.front.clock.period_ns

    @property
    def latency(self) -> int:
        """Clocks from the first word of an image's last tick to its decision."""
        drained = self.network.latency - (self.network.words - 1)
        if self.buffered:
            # A clock each for the row, the pixel in memory and the word; then words and answer.
            return self.front.latency + 3 + self.network.latency
        return self.front.latency + 2 + (self.row_words - 1) + drained

    @property
    def latency_from_last_word(self) -> int:
        """The same from the last word of that tick, when the last sample is there."""
        return self.latency - (self.front.words - 1)

    @property
    def row_words(self) -> int:
        """Words of the network in a row, where it is not buffered."""
        return self.network.words // self.shape[0]

    @property
    def verilog(self) -> dict[str, str]:
        """Texts of all files by name, in the order to compile them."""
        texts: dict[str, str] = {}
        for part, design in (("front", self.front), ("network", self.network)):
            if design.kernels_verilog.strip():
                texts[f"{self.name}_{part}_kernels.v"] = design.kernels_verilog
            texts[f"{design.name}.v"] = design.top_verilog
        return {**texts, f"{self.name}.v": chain_text(self)}


def compile_chain(
    front: Graph,
    network: Graph,
    part: str | Part = "xcvu13p",
    clock: str = "200 MHz",
    *,
    tick: int | str,
    front_interval: int | None = None,
    network_interval: int | None = None,
    axis: int = 0,
    name: str = "chain",
) -> Chain:
    """Compile both Graphs and what is between them.

    ``tick``: from tick to tick, in clocks or as a time such as "512 ns"; ``front_interval``: clocks
    in which the front works on a tick (None: all of them); ``network_interval``: clocks in which
    the network works on an image (None: as many as rows and answer leave it); ``axis``: along
    which the image enters the network. Raises `UnsupportedError` for Graphs that do not fit each
    other, and where a row or an image would not be done before the next; `InputError` as
    `compile_graph`.
    """
    clocks = parse_interval(tick, parse_clock(clock))
    row_ticks = _row_ticks(front)
    rows, pixels = _image(front, network)
    made = compile_graph(front, part, clock, interval=front_interval or clocks, axis=0)
    if made.interval > clocks:
        raise UnsupportedError(
            f"The front takes {made.interval} clocks for a tick, which comes every {clocks}.",
            f"Give a front_interval of at most {clocks}.",
        )
    row_clocks = row_ticks * clocks
    if network_interval is not None:
        intervals = [network_interval]
    elif axis == 0:  # the slowest whose answer is there before the next image would hold it
        sizes = [n for n in range(1, pixels + 1) if pixels % n == 0 and pixels // n <= row_clocks]
        intervals = [rows * (pixels // n) for n in sizes]
    else:
        intervals = [rows * row_clocks]
    problems: list[UnsupportedError] = []
    for interval in intervals:
        behind = compile_graph(network, part, clock, interval=interval, axis=axis)
        in_rows = _in_rows(behind, rows * pixels, pixels)
        # The clock enable costs logic: only what is held between rows has it.
        behind = replace(behind, stall=in_rows)
        chain = Chain(identifier(name), made, behind, clocks, row_ticks, not in_rows)
        try:
            _check(chain)
        except UnsupportedError as error:
            problems.append(error)
            continue
        return chain
    raise problems[-1]


def emulate_chain(
    front: Graph, network: Graph, ticks: IntArray, state: Registers | None = None
) -> tuple[IntArray, ...]:
    """Codes of the network's outputs for each whole image of a stream of ticks (ticks, wires).

    The stream begins with the first tick of an image; ``state``: registers of the front then.
    """
    (pixels, ready), _ = emulate_steps(front, [ticks], state)
    shape = network.input_ops[0].type.shape
    rows = pixels[ready.reshape(-1) == 1]
    images = len(rows) // shape[0]
    return emulate_codes(network, [rows[: images * shape[0]].reshape(images, *shape)])


# --- what fits ------------------------------------------------------------------------------------


def _row_ticks(front: Graph) -> int:
    """Ticks from one ready to the next, as the emulator counts them."""
    if tuple(front.output_names) != OUTPUTS or front.output_types[1].size != 1:
        raise UnsupportedError(
            f"Graph {front.name!r} gives {list(front.output_names)}.",
            "A front gives 'pixels' and the single bit 'ready', in this order.",
        )
    zeros = np.zeros((MOST_TICKS, *front.input_ops[0].type.shape), dtype=np.int64)
    when = np.flatnonzero(emulate_steps(front, [zeros])[0][1])
    if len(when) < 2 or (np.diff(when) != when[0] + 1).any():
        raise UnsupportedError(
            f"Graph {front.name!r} is not ready at equal distances, at most {MOST_TICKS // 2}.",
            "Let it count the ticks of a row from reset on.",
        )
    return int(when[0]) + 1


MOST_TICKS = 64
"""Ticks in which two rows must be ready."""


def _image(front: Graph, network: Graph) -> tuple[int, int]:
    """Rows and pixels of the network's image. Raises `UnsupportedError`."""
    pixels = front.output_types[0]
    inputs = [op.type for op in network.input_ops]
    shape = inputs[0].shape if inputs else ()
    flat = shape[:2] if shape[2:] in ((), (1,)) else ()
    if len(inputs) != 1 or len(flat) != 2 or flat[1] != pixels.size or not network.pure:
        raise UnsupportedError(
            f"Graph {network.name!r} with inputs {[t.shape for t in inputs]} does not read images "
            f"of rows of {pixels.size} pixels.",
            "Give one input (rows, pixels) or (rows, pixels, 1), and no registers.",
        )
    if pixels.single is None or pixels.single != inputs[0].single:
        raise UnsupportedError(
            f"Pixels are {pixels.single or 'of several formats'}, but Graph {network.name!r} reads "
            f"{inputs[0].single or 'several formats'}.",
            "Give the network's input the format of the pixels.",
        )
    return flat[0], flat[1]


def _in_rows(network: Design, size: int, pixels: int) -> bool:
    """Are the network's words equal parts of rows, in their order."""
    order = network.slabs[0].order
    return bool((order.ravel() == np.arange(size)).all()) and pixels % order.shape[1] == 0


def _check(chain: Chain) -> None:
    """Raise `UnsupportedError` where something would not be done in time."""
    rows, pixels = chain.shape
    network = chain.network
    if not chain.buffered:
        if chain.row_words > chain.row_clocks:
            raise UnsupportedError(
                f"The network reads a row in {chain.row_words} clocks, but one comes every "
                f"{chain.row_clocks}.",
                f"Give a network_interval of at most {rows * chain.row_clocks}.",
            )
        drain = network.latency - network.words + 1
        if drain > chain.row_clocks:
            raise UnsupportedError(
                f"The network's answer takes {drain} clocks after its last word, longer than the "
                f"{chain.row_clocks} after which the next image would hold it.",
                "Choose a slower tick, or let the image enter along axis 1.",
            )
        return
    order = network.slabs[0].order
    columns = np.arange(rows * pixels).reshape(rows, pixels).T.reshape(-1, order.shape[1])
    if not np.array_equal(order, columns) or rows % order.shape[1]:
        raise UnsupportedError(
            f"Words of {order.shape[1]} of {rows} x {pixels} pixels are no equal parts of columns.",
            "Choose another network_interval, or axis 0.",
        )
    if network.words > chain.image_clocks or pixels > chain.row_clocks:
        raise UnsupportedError(
            f"The network reads an image in {network.words} clocks and a row is stored in "
            f"{pixels}, but they come every {chain.image_clocks} and {chain.row_clocks}.",
            "Choose a slower tick or a shorter network_interval.",
        )
