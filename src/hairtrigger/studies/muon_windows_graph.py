"""The classical muon trigger of muon_windows.py as a Graph, for the engines and for the chip.

    graph = windows_graph(windows)
    design = compile_graph(graph, "xcvu13p", "320 MHz", interval="25 ns", axis=1)

A hit in a window is the maximum of its strips; a window that holds another is that one, grown, so
that the ladder costs little more than its widest rung. Enough hits are a sum and a comparison. Only
behind the cells are there numbers: how many rungs pass, then thresholds by a table for each cell.
"""

from __future__ import annotations

import numpy as np

from hairtrigger.fixed import Fixed
from hairtrigger.graph import Builder, Graph, Literal, TensorType, linear, moves, ops
from hairtrigger.studies.muon_networks import station_rows
from hairtrigger.studies.muon_windows import CHARGES, Window, Windows


def windows_graph(windows: Windows) -> Graph:
    """The trigger as a Graph: image (rows, strips, 1) of bits to five whole numbers.

    They are: thresholds passed by a positive and by a negative muon, the first cell with the most,
    how many runs of cells pass the lowest threshold, and 1 where any does.
    """
    builder = Builder("muon_windows")
    passed = _passed_rungs(builder, windows)
    cells = windows.config.strips // windows.cell
    needed = np.array(windows.needed)
    # As many entries as the count has codes; those above the number of rungs never come.
    count = np.arange(int(builder.type(passed).range().high.max()) + 1)
    level = (count[:, None] >= needed.reshape(-1, 1, needed.shape[2])).sum(axis=2)
    rows = np.arange(len(CHARGES) * cells).reshape(1, len(CHARGES), cells).transpose(0, 2, 1)
    values, row = np.unique(level, axis=0, return_inverse=True)
    table = ops.Table(Literal(values, 0), 0, 0, Literal(row.reshape(-1)[rows], 0))
    level = builder.add(table, passed, label="thresholds")

    best = builder.add(_pool((1, cells), (1, cells)), level)
    best = builder.add(moves.Reshape((len(CHARGES),)), best)
    either = builder.add(moves.Reshape((cells, len(CHARGES), 1)), level)
    either = builder.add(_pool((1, len(CHARGES)), (1, 1)), either)
    either = builder.add(moves.Reshape((cells,)), either, label="cells")
    where = builder.add(moves.Reshape((1,)), builder.add(linear.ArgMax(), either))
    zero = builder.add(ops.Constant(Literal(np.zeros(1, np.int64), 0)))
    some = builder.add(ops.Compare(ops.Relation.GT), either, zero)
    before = builder.add(moves.Crop(((0, 1),)), builder.add(moves.Pad(((1, 0),)), some))
    starts = builder.add(ops.Compare(ops.Relation.GT), some, before)
    runs = builder.add(moves.Reshape((1,)), builder.add(linear.GlobalSum((0,)), starts))
    found = builder.add(ops.Compare(ops.Relation.GT), runs, zero)
    return builder.build({"out": builder.add(moves.Concat(0), best, where, runs, found)})


def probe_graph(windows: Windows) -> Graph:
    """Only the windows: how many rungs pass, (1, cells, 2), positive charge first."""
    builder = Builder("muon_windows_probe")
    return builder.build({"rungs": _passed_rungs(builder, windows)})


def _passed_rungs(builder: Builder, windows: Windows) -> int:
    config = windows.config
    shape = (config.rows, config.strips, 1)
    image = builder.add(ops.Input("image", TensorType.uniform(shape, Fixed(False, 1, 0))))
    stations = [
        builder.add(moves.Crop(((first, config.rows - first - rows), (0, 0), (0, 0))), image)
        for first, rows in station_rows(config).values()
    ]
    rows = [rows for _, rows in station_rows(config).values()]
    pivot = builder.add(_pool((rows[windows.pivot], 1), (1, 1)), stations[windows.pivot])
    least = {
        count: builder.add(ops.Constant(Literal(np.full((1, 1, 1), count), 0)))
        for count in {windows.layers, windows.stations}
    }
    counts: list[int] = []
    for charge in CHARGES:
        seen, before = stations, [(0, 0)] * len(stations)
        passes: list[int] = []
        # From the narrowest rung on: a window is the one inside it, grown.
        for rung in reversed(windows.rungs):
            wanted = [window if charge > 0 else (-window[1], -window[0]) for window in rung]
            seen = [
                _grown(builder, place, old, new)
                for place, old, new in zip(seen, before, wanted, strict=True)
            ]
            before = wanted
            bit = _enough(builder, builder.add(moves.Concat(0), *seen), least[windows.layers])
            if windows.stations > 1:
                hit = [
                    builder.add(_pool((n, 1), (1, 1)), place)
                    for place, n in zip(seen, rows, strict=True)
                ]
                hit = builder.add(moves.Concat(0), *hit)
                bit = builder.add(ops.Mul(), bit, _enough(builder, hit, least[windows.stations]))
            bit = builder.add(ops.Mul(), bit, pivot)
            passes.append(builder.add(_pool((1, windows.cell), (1, windows.cell)), bit))
        every = builder.add(moves.Concat(2), *passes)
        ones = Literal(np.ones((len(passes), 1), np.int64), 0)
        counts.append(builder.add(linear.Dense(ones), every))
    return builder.add(moves.Concat(2), *counts)


def _pool(window: tuple[int, int], strides: tuple[int, int]) -> linear.MaxPool:
    return linear.MaxPool(window, strides, ((0, 0), (0, 0)))


def _grown(builder: Builder, place: int, old: Window, new: Window) -> int:
    """Hits in the window ``new`` around each strip, from those in ``old`` inside it."""
    left, right = old[0] - new[0], new[1] - old[1]
    if left == right == 0:
        return place
    pool = linear.MaxPool((1, 1 + left + right), (1, 1), ((0, 0), (left, right)))
    return builder.add(pool, place)


def _enough(builder: Builder, bits: int, least: int) -> int:
    """1 where at least so many rows have a bit, strip by strip."""
    rows = builder.type(bits).shape[0]
    total = builder.add(linear.SumPool((rows, 1), (1, 1), ((0, 0), (0, 0))), bits)
    return builder.add(ops.Compare(ops.Relation.GE), total, least)
