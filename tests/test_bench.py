"""Scenarios on a clock that is known exactly, inputs, engines and energy of the bench."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_cases import FakeClock, FakeEngine, network
from hairtrigger.backends.onnx import emit
from hairtrigger.bench import scenarios
from hairtrigger.bench.clock import WallClock
from hairtrigger.bench.energy import Meter, NoMeter, cpu_meter, gpu_meter
from hairtrigger.bench.engines import CPU_ENGINES, GPU_ENGINES, OWN, choose, slices
from hairtrigger.bench.inputs import codes_hash, make_inputs, take
from hairtrigger.bench.loop import run_loop
from hairtrigger.bench.measure import Bench, Setting, answers, failed, loop_rows
from hairtrigger.bench.model import load_graph
from hairtrigger.bench.records import OFFLINE, Row
from hairtrigger.bench.scenarios import back_to_back, percentile, poisson_arrivals, serve
from hairtrigger.errors import (
    GraphError,
    InputError,
    StorageError,
    ToolError,
    UnsupportedError,
)
from hairtrigger.graph import Graph
from hairtrigger.graph.emulate import emulate_codes
from hairtrigger.graph.machines import moving_sum

SETTING = Setting(
    batches=(1, 4, 16),
    threads=(1, 2),
    seconds=1e-3,
    samples=8,
    rate=None,
    bound_ns=50_000.0,
    together=1,
    seed=1,
)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return network()


def ticks(clock: FakeClock, *ns: int):
    """Calls that take so long, one after the other."""

    def call(spent: int):
        def work() -> None:
            clock.time += spent

        return work

    return [call(spent) for spent in ns]


# --- percentiles ------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=300), st.sampled_from([50, 90, 99]))
def test_a_percentile_is_the_least_time_that_so_many_did_not_exceed(times, percent):
    found = percentile(np.array(times, dtype=np.int64), percent)
    need = math.ceil(len(times) * percent / 100)
    if found is None:
        assert need == len(times)
    else:
        assert found in times
        assert sum(t <= found for t in times) >= need
        assert sum(t < found for t in times) < need


def test_percentiles_of_the_first_thousand_numbers():
    ns = np.random.default_rng(1).permutation(np.arange(1, 1001))
    assert [percentile(ns, p) for p in (50, 90, 99, 99.9)] == [500, 900, 990, 999]
    assert percentile(ns[:999], 99.9) is None  # it would be the maximum
    assert percentile(np.array([7]), 50) == 7
    assert percentile(np.array([], dtype=np.int64), 50) is None


# --- scenarios --------------------------------------------------------------------------------


def test_single_stream_calls_back_to_back_and_takes_inputs_in_turn():
    clock = FakeClock()
    timed = back_to_back(ticks(clock, 100, 300), clock, 1e-5)
    assert set(timed.ns) == {100, 300}
    assert abs(np.mean(timed.ns) - 200) <= 2
    assert timed.seconds == sum(timed.ns) / 1e9
    assert timed.per_second == pytest.approx(1e9 / 200, rel=0.01)


def test_a_slow_call_is_still_made_three_times_and_a_quick_one_ends(monkeypatch):
    clock = FakeClock()
    assert len(back_to_back(ticks(clock, 10**9), clock, 1e-3).ns) == 3
    monkeypatch.setattr(scenarios, "MOST_CALLS", 50)
    assert len(back_to_back(ticks(clock, 1), clock, 1.0).ns) == 50


def test_samples_of_a_query_count_as_so_many():
    clock = FakeClock()
    assert back_to_back(ticks(clock, 1000), clock, 1e-4, samples=8).per_second == 8e6


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_no_time_is_refused(seconds):
    clock = FakeClock()
    with pytest.raises(InputError, match="duration"):
        back_to_back(ticks(clock, 1), clock, seconds)


def test_arrivals_are_poisson():
    arrivals = np.array(poisson_arrivals(1e6, 0.2, seed=3))
    gaps = np.diff(arrivals)
    assert len(arrivals) == 200_000
    assert gaps.mean() == pytest.approx(1000, rel=0.01)
    assert gaps.std() == pytest.approx(1000, rel=0.02)  # that of an exponential
    counts = np.bincount(arrivals // 10_000)[:-1]
    assert counts.var() == pytest.approx(counts.mean(), rel=0.05)  # that of a Poisson
    assert poisson_arrivals(1e6, 0.2, seed=3) == arrivals.tolist()
    assert poisson_arrivals(1e6, 0.2, seed=4) != arrivals.tolist()
    for rate in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="queries a second"):
            poisson_arrivals(rate, 1.0, 1)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_the_server_waits_as_a_queue_with_one_server_and_fixed_times_does(load):
    """M/D/1: the mean wait is load / (2 (1 - load)) service times (Pollaczek and Khinchine)."""
    clock = FakeClock()
    service = 1000
    arrivals = poisson_arrivals(load * 1e9 / service, 0.3 / load, seed=5)
    timed = serve({1: ticks(clock, service)}, arrivals, clock)
    assert len(timed.ns) == len(arrivals)
    assert timed.ns.min() == service
    wait = timed.ns.mean() - service
    assert wait == pytest.approx(service * load / (2 * (1 - load)), rel=0.05)
    # Nobody waits with probability 1 - load (PASTA).
    assert np.mean(timed.ns == service) == pytest.approx(1 - load, abs=0.01)


def test_queries_count_from_when_they_came_not_from_when_they_began():
    clock = FakeClock()
    timed = serve({1: ticks(clock, 100)}, [10, 20, 500], clock)
    assert timed.ns.tolist() == [100, 190, 100]
    assert timed.seconds == 600 / 1e9


def test_what_waits_is_answered_together():
    clock = FakeClock()
    calls = {1: ticks(clock, 100), 4: ticks(clock, 150)}
    timed = serve(calls, [0, 10, 20, 30, 40, 50], clock)
    # The first alone; of the five that wait then, four together; the last alone.
    assert timed.ns.tolist() == [100, 240, 230, 220, 210, 300]


def test_an_overloaded_server_is_given_up():
    clock = FakeClock()
    arrivals = list(range(0, 10**6, 10))
    timed = serve({1: ticks(clock, 1000)}, arrivals, clock, bound_ns=1000)
    assert len(timed.ns) < 200
    hasty = serve({1: ticks(clock, 1000)}, arrivals[:1000], clock, bound_ns=1000, patient=False)
    assert len(hasty.ns) < 20


def test_the_rate_found_holds_the_bound_and_a_higher_one_does_not():
    clock = FakeClock()
    calls = {1: ticks(clock, 1000)}
    found = scenarios.find_rate(calls, clock, 1e6, bound_ns=5000, seconds=0.2, seed=1)
    assert found.held
    assert found.timed.percentile(99) <= 5000
    # In M/D/1, 1 % wait over 4 service times at a load of 0.56: the tail falls as exp(-s t) with
    # load (exp(s) - 1) = s, times (1 - load) / (load exp(s) - 1).
    assert 0.51e6 < found.rate < 0.59e6
    assert not scenarios.serve_at(calls, clock, 0.65e6, 5000, 0.1, 9).held


def test_a_bound_below_the_service_time_never_holds():
    clock = FakeClock()
    found = scenarios.find_rate({1: ticks(clock, 1000)}, clock, 1e6, 500, 0.01, 1)
    assert not found.held


def test_the_clock_of_the_machine_waits_until_then():
    clock = WallClock()
    until = clock.now() + 3_000_000
    clock.wait(until)
    assert clock.now() >= until
    clock.wait(until)


# --- rows -------------------------------------------------------------------------------------


def bench(graph: Graph, base: int = 1000, each: int = 100, **changes) -> Bench:
    clock = FakeClock()
    codes, _ = make_inputs(graph, "small", 64, 1)
    engine = FakeEngine(graph, clock, base, each)
    return Bench(graph, engine, codes, True, replace(SETTING, **changes), clock)


def test_the_sweep_has_every_batch_and_number_of_threads(graph):
    rows = bench(graph).sweep()
    found = {(r.batch, r.threads): r.p50_ns for r in rows}
    assert found == {
        (1, 1): 1100,
        (4, 1): 1400,
        (16, 1): 2600,
        (4, 2): 1200,
        (16, 2): 1800,
    }
    assert all(r.per_second == pytest.approx(r.batch * 1e9 / r.p50_ns) for r in rows)


def test_batches_that_would_take_too_long_or_too_much_are_named_not_run(graph):
    rows = bench(graph, base=10**9).sweep()
    assert [r.batch for r in rows if r.note] == [4, 16, 16]
    assert all("a call would take about" in r.note for r in rows if r.note)
    rows = bench(graph, batches=(1 << 26,), threads=(1,)).sweep()
    assert "more than 1 GiB" in rows[0].note
    assert rows[0].calls == 0


def test_scenarios_have_their_known_times(graph):
    it = bench(graph)
    (single,) = it.single()
    assert (single.p50_ns, single.p99_ns, single.floor_ns) == (1100, 1100, 1000)
    one, two = it.multi()
    assert (one.p50_ns, two.p50_ns) == (1800, 1400)
    assert one.per_second == pytest.approx(8e9 / 1800)
    (offline,) = it.offline(it.sweep())
    assert (offline.batch, offline.threads, offline.p50_ns) == (16, 2, 1800)
    (server,) = it.server()
    assert server.bound_ns == 50_000
    assert server.p99_ns is None or server.p99_ns <= 50_000
    assert 0 < server.rate_per_s < 1e9 / 1100
    assert server.note == ""


def test_a_given_rate_that_cannot_hold_says_so(graph):
    (server,) = bench(graph, rate=5e6, bound_ns=1500.0).server()
    assert server.rate_per_s == 5e6
    assert "does not stay within the bound at this rate" in server.note


def test_a_device_has_rows_with_and_without_transfers(graph, monkeypatch):
    monkeypatch.setattr(FakeEngine, "transfers", ("with", "without"))
    it = bench(graph, threads=(1,))
    for made, each in ((it.single(), 1), (it.multi(), 8), (it.offline(it.sweep()), 16)):
        found = {row.transfers: row.p50_ns for row in made}
        assert found == {"with": 2000 + 100 * each, "without": 1000 + 100 * each}
    assert len(it.sweep()) == 6
    (server,) = it.server()
    assert server.transfers == "with"


def test_batches_that_an_engine_does_not_take_are_named(graph, monkeypatch):
    monkeypatch.setattr(FakeEngine, "batches", (4,))
    it = bench(graph)
    assert [(r.batch, r.calls > 0) for r in it.sweep() if r.threads == 1] == [
        (1, False),
        (4, True),
        (16, False),
    ]
    for made in (it.single(), it.multi(), it.server()):
        assert all("takes batches of 4 only" in row.note for row in made)
    assert it.offline(it.sweep())[0].batch == 4


@pytest.mark.parametrize("name", sorted(GPU_ENGINES))
def test_engines_of_a_gpu_run_there_or_say_why_not(graph, name):
    codes, _ = make_inputs(graph, "small", 30, 1)
    try:
        engine = GPU_ENGINES[name](graph)
    except (ToolError, UnsupportedError) as error:
        why = failed(name, "GPU", error).why
        assert why.startswith("not run: ")
        assert not why.startswith("not run: not run")
        return
    try:
        assert engine.device == "GPU"
        if name != "tensorrt-int8":
            assert answers(engine, codes, emulate_codes(graph, codes)).equal
        for mode in engine.transfers:
            engine.bind(codes, 1, OWN, mode)()
    finally:
        engine.close()


def test_of_many_reasons_the_first_is_told():
    error = UnsupportedError("int8 cannot carry it:\n  - %1: too wide.\n  - %2: too wide.")
    assert (
        failed("e", "GPU", error).why == "not run: int8 cannot carry it: %1: too wide. (and 1 more)"
    )
    assert failed("e", "GPU", ToolError("not run: no GPU")).why == "not run: no GPU"


def test_offline_without_a_sweep_says_so(graph):
    (row,) = bench(graph).offline([Row("fake", "sweep", "measured", 1, True, note="not run")])
    assert row.scenario == OFFLINE
    assert row.note.startswith("not run")


def test_energy_of_offline_is_power_over_throughput(graph):
    it = bench(graph)
    # Two watts, whatever the machine does.
    counter = SimpleNamespace(joules=lambda: 2 * it.clock.now() / 1e9, wraps=0.0)
    it = replace(it, meter=Meter("two watts", (counter,)))
    (row,) = it.offline(it.sweep())
    assert row.joules_per_event == pytest.approx(2 * 1800e-9 / 16)
    (without,) = replace(it, meter=NoMeter("not reported: test")).offline(it.sweep())
    assert without.joules_per_event is None
    assert without.energy == "not reported: test"


def test_an_engine_that_differs_is_found_and_named(graph):
    codes, _ = make_inputs(graph, "small", 64, 1)
    expected = emulate_codes(graph, codes)
    clock = FakeClock()
    right = answers(FakeEngine(graph, clock, 1, 1), codes, expected)
    wrong = answers(FakeEngine(graph, clock, 1, 1, wrong=-3), codes, expected)
    assert right.equal
    assert right.sha256 == codes_hash(expected) != wrong.sha256
    assert not wrong.equal
    assert (wrong.differences, wrong.largest_lsb, wrong.first_event) == (1, 3, 3)


# --- inputs and models ------------------------------------------------------------------------


def test_inputs_are_the_same_for_the_same_seed(graph):
    codes, record = make_inputs(graph, "small", 300, 1)
    again, same = make_inputs(graph, "small", 300, 1)
    other, differs = make_inputs(graph, "small", 300, 2)
    assert record == same
    assert record.sha256 == codes_hash(codes) == codes_hash(again)
    assert record.sha256 != differs.sha256 == codes_hash(other)
    assert record.events == record.extreme + record.random == 300


def test_given_events_are_encoded_and_counted(graph):
    given = np.random.default_rng(1).normal(size=(10, 6))
    codes, record = make_inputs(graph, "small", 300, 1, given)
    assert (record.events, record.given, record.random) == (10, 10, 0)
    assert np.abs(codes[0] / 8 - np.clip(given, -4, 3.875)).max() <= 0.125
    with pytest.raises(InputError, match="NaN"):
        make_inputs(graph, "small", 300, 1, np.full((2, 6), np.nan))
    with pytest.raises(InputError, match="shape"):
        make_inputs(graph, "small", 300, 1, np.zeros((2, 5)))
    with pytest.raises(InputError, match="empty"):
        make_inputs(graph, "small", 300, 1, np.zeros((0, 6)))
    with pytest.raises(InputError, match="one event or more"):
        make_inputs(graph, "small", 0, 1)


def test_batches_go_round_and_the_hash_sees_shapes():
    codes = (np.arange(6).reshape(3, 2),)
    assert take(codes, 2, 5)[0].tolist() == [[4, 5], [0, 1], [2, 3], [4, 5], [0, 1]]
    assert codes_hash(codes) != codes_hash((codes[0].reshape(2, 3),))
    assert codes_hash(codes) == codes_hash((codes[0].astype(np.int8),))
    assert [len(x[0]) for x in slices(codes, 2)] == [1, 2]
    assert len(slices(codes, 9)) == 3


def test_models_are_read_from_each_place(graph, tmp_path):
    text = tmp_path / "small.txt"
    text.write_text(str(graph))
    assert load_graph(text) == graph
    (tmp_path / "run" / "project").mkdir(parents=True)
    (tmp_path / "run" / "project" / "graph.txt").write_text(str(graph))
    assert load_graph(tmp_path / "run") == graph
    emit(graph, None, tmp_path)
    assert load_graph(tmp_path / "small.onnx") == graph
    text.write_text(str(network(seed=2)))
    with pytest.raises(InputError, match="has no Graph beside it"):
        load_graph(tmp_path / "small.onnx")


def test_models_that_cannot_be_read_are_clear_errors(tmp_path):
    with pytest.raises(StorageError, match="No such file"):
        load_graph(tmp_path / "none.txt")
    (tmp_path / "text.txt").write_text("no graph")
    with pytest.raises(GraphError):
        load_graph(tmp_path / "text.txt")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StorageError, match="no text"):
        load_graph(tmp_path / "bytes.txt")
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x09truncated")
    with pytest.raises(StorageError, match="no ONNX model"):
        load_graph(tmp_path / "broken.onnx")
    with pytest.raises(InputError, match="none of the models"):
        load_graph(tmp_path / "model.pt")
    with pytest.raises(InputError, match="holds no Graph"):
        load_graph(tmp_path)


def test_an_onnx_model_of_others_is_refused(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy")
    body = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "other", [x], [y])
    onnx.save(helper.make_model(body), tmp_path / "other.onnx")
    with pytest.raises(InputError, match="not written by hairtrigger"):
        load_graph(tmp_path / "other.onnx")


def test_a_graph_with_registers_is_refused(tmp_path):
    from hairtrigger.fixed import Fixed
    from hairtrigger.graph import Builder, TensorType, ops

    builder = Builder("sums")
    x = builder.add(ops.Input("x", TensorType.uniform((1,), Fixed(False, 3, 0))))
    found = builder.build({"y": moving_sum(builder, x, 4)})
    (tmp_path / "sums.txt").write_text(str(found))
    with pytest.raises(UnsupportedError, match="registers"):
        load_graph(tmp_path / "sums.txt")


# --- engines ----------------------------------------------------------------------------------


def test_names_of_engines():
    assert choose("cpu,fpga") == (tuple(CPU_ENGINES), True)
    assert choose("cpp, emulator,cpp") == (("cpp", "emulator"), False)
    assert choose("fpga") == ((), True)
    with pytest.raises(InputError, match="no engine 'tpu'"):
        choose("cpp,tpu")


@pytest.mark.parametrize("name", ["cpp", "onnxruntime-fp32", "onnxruntime-fp64", "emulator", "xla"])
def test_exact_engines_answer_as_the_emulator_and_their_calls_run(graph, name):
    codes, _ = make_inputs(graph, "small", 50, 1)
    if name == "xla":
        pytest.importorskip("jax")
    engine = CPU_ENGINES[name](graph)
    try:
        found = answers(engine, codes, emulate_codes(graph, codes))
        assert found.equal
        assert found.words
        for threads in (1, 2):
            for way in engine.ways(threads):
                for events in (1, 7):
                    engine.bind(take(codes, 0, events), threads, way)()
        floor = engine.floor()
        if floor is not None:
            floor()
    finally:
        engine.close()


def test_calls_of_cpp_and_onnx_runtime_compute_the_answers(graph):
    """What is timed is the network: the memory that a call writes holds the emulator's answers."""
    codes, _ = make_inputs(graph, "small", 40, 1)
    (expected,) = emulate_codes(graph, codes)
    for name, way in (("cpp", "slices"), ("onnxruntime-fp32", "slices"), ("onnxruntime-fp32", OWN)):
        engine = CPU_ENGINES[name](graph)
        kept = []
        inner = engine._bound

        def bound(*arguments, inner=inner, kept=kept, name=name):
            call = inner(*arguments)
            outs = call.kept[-1:] if name == "cpp" else call.__defaults__[0][1]
            kept.extend(outs)
            return call

        engine._bound = bound
        call = engine.bind(codes, 2, way)
        for out in kept:
            out[:] = 99
        call()
        np.testing.assert_array_equal(np.concatenate(kept), expected)
        engine.close()


def test_the_float_network_is_seen_to_give_other_answers(graph):
    codes, _ = make_inputs(graph, "small", 300, 1)
    engine = CPU_ENGINES["onnxruntime-float"](graph)
    found = answers(engine, codes, emulate_codes(graph, codes))
    assert found.differences > 0
    assert not found.equal
    engine.close()


def test_the_loop_without_python_gives_the_same_answers_and_times(graph):
    codes, _ = make_inputs(graph, "small", 33, 1)
    expected = emulate_codes(graph, codes)
    found = run_loop(graph, codes, 0.02)
    for x, y in zip(found.codes, expected, strict=True):
        np.testing.assert_array_equal(x, y)
    assert len(found.timed.ns) >= 3
    assert 0 < found.timed.percentile(50) < 1e6
    assert found.block_ns > 0
    (row,) = loop_rows(graph, codes, expected, 0.02)
    assert row.same_answer
    (row,) = loop_rows(graph, codes, tuple(x + 1 for x in expected), 0.02)
    assert not row.same_answer


# --- energy -----------------------------------------------------------------------------------


def zone(folder: Path, name: str, kind: str, energy: int) -> Path:
    place = folder / name
    place.mkdir(parents=True)
    (place / "name").write_text(f"{kind}\n")
    (place / "energy_uj").write_text(f"{energy}\n")
    (place / "max_energy_range_uj").write_text("10000000\n")
    return place


def test_rapl_counters_add_up_and_go_round(tmp_path):
    first = zone(tmp_path, "intel-rapl:0", "package-0", 9_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 1_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 5)
    zone(tmp_path, "intel-rapl:2", "psys", 5)
    meter = cpu_meter(tmp_path)
    assert isinstance(meter, Meter)
    assert "2 whole processor package" in meter.words
    before = meter.read()
    (first / "energy_uj").write_text("500000\n")  # round once: 1.5 J
    (second / "energy_uj").write_text("3000000\n")
    assert meter.since(before) == pytest.approx(3.5)


def test_where_nothing_reports_energy_it_is_said(tmp_path):
    found = cpu_meter(tmp_path)
    assert isinstance(found, NoMeter)
    assert found.why == "not reported by this machine: it has no RAPL counters in powercap"
    zone(tmp_path, "intel-rapl:0", "package-0", 1)
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    found = cpu_meter(tmp_path)
    assert isinstance(found, NoMeter)
    assert "cannot be read (No such file" in found.why


class FakeNvml:
    class NVMLError(Exception):
        pass

    def __init__(self, fails: bool = False) -> None:
        self.millijoules, self.fails = 1000, fails

    def nvmlInit(self) -> None:
        if self.fails:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return b"Some GPU"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        return self.millijoules


def test_nvml_counts_a_whole_board():
    nvml = FakeNvml()
    meter = gpu_meter(0, nvml)
    assert isinstance(meter, Meter)
    assert meter.words == "NVML, whole board Some GPU"
    before = meter.read()
    nvml.millijoules = 3500
    assert meter.since(before) == pytest.approx(2.5)
    found = gpu_meter(0, FakeNvml(fails=True))
    assert isinstance(found, NoMeter)
    assert "Driver Not Loaded" in found.why


def test_records_are_json(graph):
    from hairtrigger.records import from_json, to_text

    (row,) = bench(graph).single()
    assert from_json(Row, json.loads(to_text(row))) == row
