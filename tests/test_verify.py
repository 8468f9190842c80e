"""Verification finds a difference, makes it small, names the node and saves it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from hairtrigger import verify as module
from hairtrigger.errors import InputError, MismatchError, StorageError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, emulate_codes, parse
from hairtrigger.graph.linear import Dense
from hairtrigger.graph.ops import Add, Compare, Constant, Input, Quantize, Relation, Relu
from hairtrigger.rtl.design import compile_graph
from hairtrigger.verify import Codes, Engine, shrink_event, verify


def network(name: str = "small") -> Graph:
    """Four inputs, a Dense layer, ReLU, quantized."""
    b = Builder(name)
    x = b.add(Input("x", TensorType.uniform((4,), Fixed(True, 2, 3))))
    weights = Literal([[1, -2], [3, 4], [-5, 6], [7, -8]], 2)
    x = b.add(Dense(weights, Literal([1, 2], 4)), x, label="hidden")
    x = b.add(Relu(), x, label="hidden")
    form = TensorType.uniform((2,), Fixed(False, 3, 2))
    return b.build([b.add(Quantize(form, Rounding.RND, Overflow.SAT), x, label="out")])


def faulty(run) -> Engine:
    return Engine("Faulty", "0", run, any_graph=True)


def use(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setattr(module, "_engines", lambda *_: [engine])


def test_engines_agree_and_the_certificate_says_what_was_compared(tmp_path: Path):
    graph = network()
    design = compile_graph(graph)
    own = (np.zeros((7, 4), dtype=np.int64),)
    certificate = verify(graph, own, design=design, random_events=300, folder=tmp_path)
    assert certificate.passed
    assert [entry.engine for entry in certificate.compared] == [
        "emulator",
        "ONNX Runtime",
        "Verilator",
    ]
    assert certificate.events == 7 + 300 + certificate.adversarial
    assert {entry.events for entry in certificate.compared} == {certificate.events}
    assert {entry.values for entry in certificate.compared} == {2 * certificate.events}
    assert certificate.latency_clocks == design.latency
    assert not list(tmp_path.iterdir())


def wrong_where_input_two_is_high(graph: Graph, codes: Codes) -> Codes:
    """One off in every output that follows from the ReLU, where input 2 is over half its range."""
    outs = [x.copy() for x in emulate_codes(graph, codes)]
    for n, place in enumerate(graph.outputs):
        if place >= 2:
            outs[n][codes[0][:, 2] > 15] += 1
    return tuple(outs)


def test_a_difference_is_shrunk_located_and_saved(monkeypatch, tmp_path: Path):
    use(monkeypatch, faulty(wrong_where_input_two_is_high))
    with pytest.raises(MismatchError, match="Faulty differs") as caught:
        verify(network(), random_events=50, folder=tmp_path)
    saved = tmp_path / "small-faulty"
    assert str(saved) in caught.value.fix
    record = json.loads((saved / "difference.json").read_text())
    (event,) = record["inputs"]
    assert np.count_nonzero(event) == 1
    assert event[0][2] > 15
    assert record["first_differing_node"] == 2
    assert record["label"] == "hidden"
    assert record["expected"] != record["actual"]
    assert parse((saved / "graph.txt").read_text()) == network()


def test_without_strict_the_certificate_tells(monkeypatch, tmp_path: Path):
    use(monkeypatch, faulty(wrong_where_input_two_is_high))
    certificate = verify(network(), random_events=50, folder=tmp_path, strict=False)
    assert not certificate.passed
    entry = certificate.compared[-1]
    assert 0 < entry.differences < entry.values
    assert entry.reproducer == tmp_path / "small-faulty"


def counter() -> Graph:
    """Counts the events with a positive input, from 0 to 7 and round again."""
    b = Builder("counter")
    x = b.add(Input("x", TensorType.uniform((), Fixed(True, 2, 0))))
    t = TensorType.uniform((), Fixed(False, 3, 0))
    count = b.state("count", t)
    high = b.add(Compare(Relation.GT), x, b.add(Constant(Literal(0, 0))))
    b.update(count, b.add(Quantize(t), b.add(Add(), count, high)))
    return b.build([count])


def stuck_at_three(graph: Graph, codes: Codes) -> Codes:
    """The bit of value 4 is lost."""
    return tuple(x & 3 for x in emulate_codes(graph, codes))


def test_a_graph_with_registers_keeps_the_events_that_lead_to_the_difference(monkeypatch, tmp_path):
    assert verify(counter(), folder=tmp_path).passed
    use(monkeypatch, faulty(stuck_at_three))
    entry = verify(counter(), random_events=50, folder=tmp_path, strict=False).compared[-1]
    assert entry.differences
    record = json.loads((entry.reproducer / "difference.json").read_text())
    assert np.count_nonzero(record["inputs"][0]) == 4
    assert record["expected"][0][-1] == 4
    assert record["actual"][0][-1] == 0
    assert parse((entry.reproducer / "graph.txt").read_text()) == counter()


def test_a_difference_that_needs_two_inputs_keeps_both():
    event = (np.arange(1, 9).reshape(1, 2, 4), np.array([[3]]))

    def differs(x: Codes) -> bool:
        return bool(x[0][0, 0, 1] and x[1][0, 0])

    small = shrink_event(event, differs)
    assert small[0].tolist() == [[[0, 2, 0, 0], [0, 0, 0, 0]]]
    assert small[1].tolist() == [[3]]


def test_a_difference_that_vanishes_alone_is_kept_whole():
    event = (np.arange(4)[None],)
    assert shrink_event(event, lambda _: False) is event


def test_a_design_of_another_graph_is_refused():
    other = compile_graph(dataclasses.replace(network(), name="other"))
    with pytest.raises(InputError, match="another Graph"):
        verify(network(), design=other)


def test_a_reproducer_that_cannot_be_saved_says_so(monkeypatch, tmp_path: Path):
    use(monkeypatch, faulty(wrong_where_input_two_is_high))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="differs from the emulator"):
        verify(network(), random_events=50, folder=tmp_path / "file")


def test_a_wrong_constant_in_the_verilog_is_found(monkeypatch, tmp_path: Path):
    graph = network()
    design = compile_graph(graph)
    kernels = design.kernels_verilog
    # An adder that subtracts: the fault a broken printer would make.
    place = kernels.index(" + ")
    broken = kernels[:place] + " - " + kernels[place + 3 :]
    monkeypatch.setitem(design.__dict__, "kernels_verilog", broken)
    certificate = verify(graph, design=design, random_events=50, folder=tmp_path, strict=False)
    verilator = certificate.compared[-1]
    assert verilator.engine == "Verilator"
    assert verilator.differences > 0
    assert (tmp_path / "small-verilator" / "difference.json").exists()
