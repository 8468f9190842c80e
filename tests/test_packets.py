"""The wrapper for a DMA: packets of any length, every answer once, TLAST with the last alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench_cases import network
from hairtrigger.errors import InputError
from hairtrigger.graph import Graph, emulate_codes
from hairtrigger.graph.stimulus import random_codes
from hairtrigger.rtl.design import Design, compile_graph
from hairtrigger.rtl.packets import (
    Packets,
    from_memory,
    packet_name,
    packet_verilog,
    packets_of,
    to_memory,
)
from hairtrigger.rtl.stream import stream_verilog
from hairtrigger.tools import verilator
from hairtrigger.tools.axis import StreamSimulator, build_stream
from test_fold import image_network

PATTERNS = [(100, 100), (100, 30), (30, 100), (60, 60)]
"""Percent of the clocks in which a beat is offered, and an answer taken."""


def wrapped(design: Design, layout: Packets, folder: Path) -> StreamSimulator:
    source = folder / "all.v"
    texts = (design.kernels_verilog, design.top_verilog, stream_verilog(design))
    source.write_text("\n".join((*texts, packet_verilog(design, layout))))
    verilator.lint([source], packet_name(design))
    name = packet_name(design)
    return build_stream([source], name, layout.in_beat, layout.out_beat, packets=True)


@pytest.mark.parametrize(
    ("graph", "interval", "widest"),
    [
        (network(), 1, 64),
        (network(), 1, 2),
        (image_network(4, 6), 6, 4),
        (image_network(4, 6), 6, 1),
        (network((6, 5, 9)), 3, 1),
    ],
    ids=["one beat", "several beats", "words", "words of several beats", "answers of several"],
)
def test_every_packet_has_its_answers_and_ends_with_the_last(
    graph: Graph, interval: int, widest: int, tmp_path: Path
) -> None:
    design = compile_graph(graph, clock="200 MHz", interval=interval, stall=True)
    layout = packets_of(design, widest)
    simulator = wrapped(design, layout, tmp_path)
    lengths = [1, 2, 7, 1, 1, 18]
    codes = random_codes(graph, sum(lengths), seed=3)
    expected = emulate_codes(graph, codes)
    beats = to_memory(design, layout, codes).reshape(-1, layout.in_beat)
    ends = np.cumsum(lengths)
    last = np.isin(np.arange(len(beats)), ends * layout.words * layout.in_beats - 1)
    out_last = np.isin(np.arange(sum(lengths) * layout.out_beats), ends * layout.out_beats - 1)
    for seed, (valid, ready) in enumerate(PATTERNS):
        count = sum(lengths) * layout.out_beats
        found = simulator.run(
            beats, last, count, seed=seed, valid_percent=valid, ready_percent=ready
        )
        assert not found.frame_error
        np.testing.assert_array_equal(found.answers[:, -1], out_last)
        got = from_memory(design, layout, found.answers[:, :-1])
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_long_packet_loses_no_clock(tmp_path: Path) -> None:
    graph = network()
    design = compile_graph(graph, clock="200 MHz", stall=True)
    layout = packets_of(design)
    simulator = wrapped(design, layout, tmp_path)
    codes = random_codes(graph, 300, seed=1)
    beats = to_memory(design, layout, codes).reshape(-1, layout.in_beat)
    found = simulator.run(beats, np.arange(300) == 299, 300 * layout.out_beats)
    assert found.clocks <= 300 + design.latency + 8


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_a_packet_that_ends_inside_an_event_still_ends(cut: int, tmp_path: Path) -> None:
    graph = image_network(4, 6)
    design = compile_graph(graph, clock="200 MHz", interval=6, stall=True)
    layout = packets_of(design, 2)
    simulator = wrapped(design, layout, tmp_path)
    codes = random_codes(graph, 4, seed=3)
    memory = to_memory(design, layout, codes)
    beats = memory.reshape(-1, layout.in_beat)
    each = layout.words * layout.in_beats
    short = beats[: 2 * each + cut]
    again = beats[: 2 * each]
    last = np.zeros(len(short) + len(again), dtype=bool)
    last[[len(short) - 1, -1]] = True
    # The third event of the first packet has zeros for what is missing.
    filled = memory[:3].copy()
    filled[2, cut * layout.in_beat :] = 0
    padded = np.zeros((3 * each, layout.in_beat), dtype=np.uint8)
    padded[: len(short)] = short
    for seed, (valid, ready) in enumerate(PATTERNS):
        sent = np.concatenate([short, again])
        found = simulator.run(
            sent, last, 5 * layout.out_beats, seed=seed, valid_percent=valid, ready_percent=ready
        )
        assert found.frame_error
        ends = found.answers[:, -1].reshape(5, layout.out_beats)[:, -1]
        assert ends.tolist() == [0, 0, 1, 0, 1]
        whole = simulator.run(
            padded, np.arange(len(padded)) == len(padded) - 1, 3 * layout.out_beats
        )
        expected = np.concatenate([whole.answers, whole.answers[: 2 * layout.out_beats]])
        np.testing.assert_array_equal(found.answers[:, :-1], expected[:, :-1])
        assert not whole.frame_error


def test_beats_are_as_narrow_as_the_words_and_as_wide_as_the_board() -> None:
    design = compile_graph(network(), clock="200 MHz", stall=True)
    layout = packets_of(design)
    assert (layout.in_word, layout.in_beat, layout.in_beats) == (5, 8, 1)
    assert packets_of(design, 4).in_beats == 2
    assert packets_of(design, 4).in_bytes == 8
    with pytest.raises(InputError, match="power of two"):
        packets_of(design, 3)
