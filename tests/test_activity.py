"""Toggles of a small module, counted by hand and in the simulated Verilog."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hairtrigger.backends.rtl import activity
from hairtrigger.errors import InputError
from hairtrigger.fixed import Fixed
from hairtrigger.graph import Builder, TensorType, ops
from hairtrigger.graph.stimulus import random_codes
from hairtrigger.rtl.design import compile_graph
from hairtrigger.tools.activity import count_toggles

MODULE = """
module one(input clk, input rst, input in_valid, input [7:0] in_data,
           output reg out_valid, output reg [7:0] out_data);
  reg [3:0] count;
  always @(posedge clk) begin
    out_valid <= in_valid & ~rst;
    out_data <= in_data;
    count <= rst ? 4'd0 : count + {3'd0, in_valid};
  end
endmodule
"""


def by_hand(words: list[int], interval: int, flush: int) -> tuple[int, int]:
    """Toggles of all signals and of the data ports, clock by clock as the module says."""
    clocks = [(1, w) if n == 0 else (0, w) for w in words for n in range(interval)]
    clocks += [(0, words[-1])] * flush
    old = {"in_valid": 0, "in_data": 0, "out_valid": 0, "out_data": 0, "count": 0}
    total = ports = 0
    for valid, data in clocks:
        # What a register takes at the edge is what its input was before it.
        new = {"in_valid": valid, "in_data": data, "out_valid": valid, "out_data": data}
        new["count"] = (old["count"] + valid) % 16
        for name, value in new.items():
            changed = bin(value ^ old[name]).count("1")
            total += changed
            ports += changed if name.endswith("_data") else 0
        old = new
    return total, ports


@pytest.mark.parametrize("interval", [1, 3])
def test_toggles_are_those_counted_by_hand(tmp_path: Path, interval: int) -> None:
    path = tmp_path / "one.v"
    path.write_text(MODULE)
    words = [0, 255, 255, 1, 128, 0, 85]
    packed = np.array(words, dtype=np.uint8)[:, None]
    found = count_toggles([path], "one", 8, 8, packed, interval=interval, flush=5)
    total, ports = by_hand(words, interval, 5)
    assert (found.signals, found.bits) == (5, 22)
    assert (found.toggles, found.port_toggles) == (total, ports)
    assert found.clocks == len(words) * interval + 5


def test_an_empty_event_toggles_less() -> None:
    builder = Builder("square")
    x = builder.add(ops.Input("x", TensorType.uniform((4,), Fixed(True, 5, 0))))
    design = compile_graph(builder.build({"y": builder.add(ops.Mul(), x, x)}))
    codes = random_codes(design.graph, 30, 1)
    busy = activity(design, codes)
    quiet = activity(design, [np.zeros_like(x) for x in codes])
    assert busy.events == quiet.events == 30
    assert busy.per_event > 20 * max(quiet.per_event, 0.1)


def test_no_events(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one event at least"):
        count_toggles([], "one", 8, 8, np.zeros((0, 1), np.uint8), flush=1)
