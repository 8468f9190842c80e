"""The AXI4-Stream wrapper: no word lost, none doubled, under gaps and back-pressure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hairtrigger.errors import UnsupportedError
from hairtrigger.graph import Graph, emulate_codes
from hairtrigger.graph.stimulus import random_codes
from hairtrigger.rtl.bits import pack, unpack
from hairtrigger.rtl.design import Design, compile_graph
from hairtrigger.rtl.stream import stream_bytes, stream_name, stream_verilog
from hairtrigger.tools import verilator
from hairtrigger.tools.axis import StreamSimulator, build_stream
from test_fold import image_network, pedestals

PATTERNS = [(100, 100), (100, 30), (30, 100), (60, 60), (10, 90)]
"""Percent of the clocks in which a word is offered, and an answer taken."""


def wrapped(design: Design, folder: Path) -> StreamSimulator:
    source = folder / "all.v"
    texts = (design.kernels_verilog, design.top_verilog, stream_verilog(design))
    source.write_text("\n".join(texts))
    verilator.lint([source], stream_name(design))
    sizes = (stream_bytes(design.in_bits), stream_bytes(design.out_bits))
    return build_stream([source], stream_name(design), *sizes)


def frames(design: Design, graph: Graph, events: int) -> tuple[tuple, np.ndarray, np.ndarray]:
    """Input codes, the words they enter in, and where frames end."""
    codes = random_codes(graph, events, seed=3)
    words = pack(design.in_types, design.in_words(codes))
    last = np.arange(len(words)) % design.words == design.words - 1
    return codes, words, last


@pytest.mark.parametrize(
    ("graph", "interval"),
    [(image_network(4, 6), 1), (image_network(4, 6), 6), (pedestals(3, 4), 5)],
    ids=["parallel", "folded", "registers"],
)
def test_streams_give_every_answer_once_whatever_the_pauses(
    graph: Graph, interval: int, tmp_path: Path
) -> None:
    design = compile_graph(graph, clock="200 MHz", interval=interval, stall=True)
    simulator = wrapped(design, tmp_path)
    codes, words, last = frames(design, graph, 40)
    expected = emulate_codes(graph, codes)
    clocks: dict[tuple[int, int], int] = {}
    for seed, (valid, ready) in enumerate(PATTERNS):
        found = simulator.run(words, last, 40, seed=seed, valid_percent=valid, ready_percent=ready)
        clocks[valid, ready] = found.clocks
        assert not found.frame_error
        used = found.answers[:, : (sum(t.bits for t in design.out_types) + 7) // 8]
        for got, wanted in zip(unpack(design.out_types, used), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
    # Back to back: an event every interval, and the latency once.
    assert clocks[100, 100] <= 40 * design.interval + design.latency + 8
    assert clocks[10, 90] > clocks[100, 100]


@pytest.mark.parametrize("cut", [1, 3, 5, 7, 8, 9])
def test_a_broken_frame_is_dropped_and_reported_and_the_next_is_whole(
    cut: int, tmp_path: Path
) -> None:
    graph = image_network(4, 6)
    design = compile_graph(graph, clock="200 MHz", interval=6, stall=True)
    simulator = wrapped(design, tmp_path)
    codes, words, last = frames(design, graph, 12)
    # Frame 4 gets a wrong length: ended early, or with words of the noise kind behind its own.
    start = 4 * design.words
    middle = np.resize(words[start : start + 6], (cut, words.shape[1]))
    words = np.concatenate([words[:start], middle, words[start + 6 :]])
    ends = np.arange(cut) == cut - 1
    last = np.concatenate([last[:start], ends, last[start + 6 :]])
    whole = [n for n in range(12) if n != 4]
    for seed, (valid, ready) in enumerate(PATTERNS[:3]):
        found = simulator.run(words, last, 11, seed=seed, valid_percent=valid, ready_percent=ready)
        assert found.frame_error
        got = unpack(design.out_types, found.answers[:, : (design.out_bits + 7) // 8])
        for answer, wanted in zip(got, emulate_codes(graph, codes), strict=True):
            np.testing.assert_array_equal(answer, wanted[whole])


def test_a_design_that_cannot_be_held_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="cannot be held"):
        stream_verilog(compile_graph(image_network(4, 6)))
