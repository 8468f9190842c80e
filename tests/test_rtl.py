"""The RTL: the emitted Verilog, simulated, gives the emulator's integers."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hairtrigger.backends.rtl import build_simulator, simulate, synthesise, unsupported
from hairtrigger.engines import run_codes
from hairtrigger.errors import InputError, StorageError, ToolError, UnsupportedError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, Literal, TensorType, emulate_codes
from hairtrigger.graph.linear import ArgMax, Conv, Dense, MaxPool
from hairtrigger.graph.moves import Concat, Reshape, Transpose
from hairtrigger.graph.ops import Add, Input, Mul, Quantize, Relu
from hairtrigger.graph.stimulus import extreme_codes, join_events, random_codes
from hairtrigger.rtl import adders
from hairtrigger.rtl.bits import pack, unpack
from hairtrigger.rtl.cells import Choose, Logic, Product
from hairtrigger.rtl.design import compile_graph
from hairtrigger.rtl.netlist import Instance
from hairtrigger.rtl.project import write_project
from hairtrigger.tools.testbench import build_testbench, run_testbench
from rtl_batch import Batch
from strategies import graphs


def convolution(rows: int = 4, columns: int = 6) -> Graph:
    """A small CNN: one-bit image, convolution, ReLU, pooling, dense, two outputs."""
    rng = np.random.default_rng(3)
    b = Builder("cnn")
    x = b.add(Input("x", TensorType.uniform((rows, columns, 1), Fixed(False, 1, 0))))
    kernel = Literal(rng.integers(-4, 5, (3, 3, 1, 2)), 2)
    x = b.add(Conv(kernel, Literal([1, -3], 3), (1, 1), ((1, 1), (1, 1))), x, label="conv")
    x = b.add(Relu(), x)
    form = TensorType.uniform((rows, columns, 2), Fixed(False, 1, 1))
    x = b.add(Quantize(form, Rounding.RND, Overflow.SAT), x)
    x = b.add(MaxPool((2, 2), (2, 2), ((0, 0), (0, 0))), x)
    x = b.add(Reshape((rows * columns // 2,)), x)
    x = b.add(Dense(Literal(rng.integers(-8, 8, (rows * columns // 2, 3)), 3)), x, label="head")
    return b.build({"scores": x, "class": b.add(ArgMax(), x)})


def check(graph: Graph, events: int = 500, clock: str = "320 MHz") -> None:
    """Simulated Verilog against the emulator, and the latency against the compiler's word."""
    design = compile_graph(graph, "xcvu13p", clock)
    codes = join_events([extreme_codes(graph), random_codes(graph, events, seed=2)])
    result = simulate(design, codes)
    assert result.latency == design.latency
    for got, expected in zip(result.codes, emulate_codes(graph, codes), strict=True):
        np.testing.assert_array_equal(got, expected)


# --- random programs ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["any", "mlp", "cnn"])
def test_emulator_onnx_runtime_and_verilog_agree_on_random_graphs(kind: str, tmp_path: Path):
    # Graphs are drawn first and simulated in batches: a build for each would take an hour.
    found: list[Graph] = []

    @settings(max_examples=40, suppress_health_check=list(HealthCheck))
    @given(graphs(kind=kind))
    def draw(graph: Graph) -> None:
        found.append(graph)

    draw()
    for start in range(0, len(found), 20):
        some = found[start : start + 20]
        codes = [join_events([extreme_codes(g), random_codes(g, 300, seed=1)]) for g in some]
        events = max(len(c[0]) for c in codes)
        codes = [tuple(np.resize(x, (events, *x.shape[1:])) for x in c) for c in codes]
        outputs = Batch.of(some).run(codes, tmp_path / str(start))
        for graph, given_codes, out in zip(some, codes, outputs, strict=True):
            expected = emulate_codes(graph, given_codes)
            onnx_runtime = run_codes(graph, given_codes, threads=1).codes
            for chip, cpu, meant in zip(out, onnx_runtime, expected, strict=True):
                np.testing.assert_array_equal(chip, meant, err_msg=str(graph))
                np.testing.assert_array_equal(cpu, meant, err_msg=str(graph))


def test_every_rounding_and_overflow_mode_on_every_code(tmp_path: Path):
    found: list[Graph] = []
    inside = TensorType.uniform((1,), Fixed(True, 4, 3))
    for rounding in Rounding:
        for overflow in Overflow:
            b = Builder("modes")
            x = b.add(Input("x", inside))
            signed = b.add(
                Quantize(TensorType.uniform((1,), Fixed(True, 2, 1)), rounding, overflow), x
            )
            outputs = [signed]
            # As fine as the input, and finer; one bit; unsigned where that has a meaning.
            for fixed in (Fixed(True, 2, 3), Fixed(True, 3, 5), Fixed(True, -1, 1)):
                form = TensorType.uniform((1,), fixed)
                outputs.append(b.add(Quantize(form, rounding, overflow), x))
            if overflow is not Overflow.WRAP_SM:
                form = TensorType.uniform((1,), Fixed(False, 2, 1))
                outputs.append(b.add(Quantize(form, rounding, overflow), x))
            found.append(b.build(outputs))
    every = (np.arange(-128, 128)[:, None],)
    outputs = Batch.of(found).run([every] * len(found), tmp_path)
    for graph, out in zip(found, outputs, strict=True):
        for got, expected in zip(out, emulate_codes(graph, every), strict=True):
            np.testing.assert_array_equal(got, expected, err_msg=str(graph))


def test_two_relus_on_one_wire_stay_two_values():
    b = Builder("two_relus")
    x = b.add(Input("x", TensorType.uniform((3,), Fixed(True, 2, 8))))
    coarse, fine = (
        b.add(Quantize(TensorType.uniform((3,), Fixed(False, 2, f))), b.add(Relu(), x))
        for f in (2, 6)
    )
    graph = b.build([coarse, fine])
    check(graph)
    design = compile_graph(graph)
    out = simulate(design, (np.full((1, 3), 0b0100_1011),)).codes
    assert out[0][0, 0] == 0b0100_1011 >> 6
    assert out[1][0, 0] == 0b0100_1011 >> 2


def test_a_kernel_is_one_module_instantiated_at_each_position():
    graph = convolution(4, 16)
    design = compile_graph(graph)
    top = design.top.module
    instances = [part.module.name for part in top.body if isinstance(part, Instance)]
    inner = max(set(instances), key=instances.count)
    assert instances.count(inner) >= 2 * 14  # the positions that touch no border
    assert design.kernels_verilog.count(f"module {inner} (") == 1
    assert len(set(instances)) < len(instances) / 3
    check(graph)


def test_kernels_that_are_equal_in_different_ops_are_one_module():
    b = Builder("pools")
    x = b.add(Input("x", TensorType.uniform((2, 6), Fixed(False, 1, 0))))
    pool = MaxPool((3,), (1,), ((0, 0),))
    narrow = MaxPool((2,), (1,), ((0, 0),))
    first = b.add(pool, b.add(Transpose((1, 0)), x))
    graph = b.build([first, b.add(pool, first), b.add(narrow, first)])
    design = compile_graph(graph)
    instances = [part.module for part in design.top.module.body if isinstance(part, Instance)]
    assert len(instances) == 2 * (4 + 2 + 3)
    assert len({id(module) for module in instances}) == 2
    check(graph)


def test_one_bit_maxima_and_products_are_single_gates():
    b = Builder("bits")
    x, y = (b.add(Input(n, TensorType.uniform((1,), Fixed(False, -2, 3)))) for n in "xy")
    z = b.add(Input("z", TensorType.uniform((1,), Fixed(False, 1, 0))))
    pool = b.add(MaxPool((2,), (1,), ((0, 0),)), b.add(Reshape((2, 1)), b.add(Concat(0), x, y)))
    graph = b.build([pool, b.add(Mul(), x, z)])
    design = compile_graph(graph)
    cells = [part for module in design.top.module.children for part in module.body]
    cells += design.top.module.body
    assert sum(isinstance(cell, Logic) for cell in cells) == 2
    assert not any(isinstance(cell, Choose | Product) for cell in cells)
    check(graph)


# --- pipelining --------------------------------------------------------------------------------


def test_a_faster_clock_takes_more_registers():
    latencies = [
        compile_graph(convolution(), clock=c).latency for c in ("50 MHz", "200 MHz", "400 MHz")
    ]
    assert latencies == sorted(latencies)
    assert latencies[0] == 1
    assert latencies[-1] > latencies[0]
    check(convolution(), clock="400 MHz")


def test_a_clock_too_fast_for_one_cell_is_refused():
    with pytest.raises(UnsupportedError, match=r"estimate.*clock period") as caught:
        compile_graph(convolution(), clock="1500 MHz")
    found = re.search(r"fastest clock that works is about (\d+) MHz", caught.value.fix)
    assert found
    compile_graph(convolution(), clock=f"{int(found[1]) - 1} MHz")
    assert unsupported(convolution()) == []


def test_gaps_between_events_change_nothing():
    graph = convolution()
    design = compile_graph(graph)
    codes = random_codes(graph, 300, seed=5)
    steady, gapped = simulate(design, codes), simulate(design, codes, gaps_seed=4)
    assert gapped.clocks > steady.clocks == 300 + design.latency
    for a, b in zip(steady.codes, gapped.codes, strict=True):
        np.testing.assert_array_equal(a, b)


# --- adder graphs ------------------------------------------------------------------------------


def test_solver_graphs_multiply_out_to_the_matrix():
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (5, 3), (9, 4)):
        matrix = rng.integers(-31, 32, shape)
        stages = adders.solve(matrix.tobytes(), shape, ((-4.0, 3.5, 0.5),) * shape[0])
        np.testing.assert_array_equal(adders.multiplied_out(stages, shape[0]), matrix)


def test_a_wrong_graph_from_the_solver_is_refused(monkeypatch: pytest.MonkeyPatch):
    from da4ml import cmvm

    honest = cmvm.solve
    monkeypatch.setattr(cmvm, "solve", lambda kernel, **k: honest(kernel + 1, **k))
    matrix = np.array([[3, 5], [7, 12345]])
    with pytest.raises(ToolError, match="another matrix"):
        adders.solve(matrix.tobytes(), (2, 2), ((0.0, 1.0, 1.0),) * 2)


def test_many_rows_are_solved_in_blocks():
    rng = np.random.default_rng(1)
    b = Builder("wide")
    x = b.add(Input("x", TensorType.uniform((150,), Fixed(False, 1, 0))))
    graph = b.build([b.add(Dense(Literal(rng.integers(-3, 4, (150, 2)), 0)), x)])
    check(graph)


def test_too_wide_a_weight_is_refused():
    b = Builder("heavy")
    x = b.add(Input("x", TensorType.uniform((1,), Fixed(False, 1, 0))))
    graph = b.build([b.add(Dense(Literal([[1 << 25 | 1]], 0)), x)])
    with pytest.raises(ToolError, match="24 bits"):
        compile_graph(graph)


# --- buses, files, projects --------------------------------------------------------------------


@given(graphs(), st.integers(0, 2**32 - 1))
def test_packing_is_undone_by_unpacking(graph: Graph, seed: int):
    types = tuple(graph.nodes[n].type for n in graph.inputs)
    codes = random_codes(graph, 5, seed)
    packed = pack(types, codes)
    for a, b in zip(unpack(types, packed), codes, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(InputError, match="bytes"):
        unpack(types, np.zeros((5, packed.shape[1] + 1), dtype=np.uint8))


def test_no_line_is_too_long_for_verilator():
    # Verilator takes 40,000 tokens on a line. Each of these inputs loses its lowest bit.
    b = Builder("wide")
    x = b.add(Input("x", TensorType.uniform((21_000,), Fixed(False, 2, 0))))
    cut = TensorType.uniform((21_000,), Fixed(False, 2, -1))
    graph = b.build([b.add(Quantize(cut, Rounding.TRN, Overflow.WRAP), x)])
    text = compile_graph(graph).top_verilog
    assert "wire unused = &{1'b0, n" in text
    assert max(len(re.findall(r"\w+|\S", line)) for line in text.splitlines()) < 40_000


def test_golden_verilog(golden):
    design = compile_graph(convolution(2, 2), clock="320 MHz")
    golden("cnn_kernels.v", design.kernels_verilog)
    golden("cnn_top.v", design.top_verilog)


def test_the_project_has_a_testbench_that_passes_and_can_fail(tmp_path: Path):
    graph = convolution(2, 2)
    design = compile_graph(graph)
    files = write_project(design, tmp_path, random_codes(graph, 40, seed=1))
    names = {path.name for path in files}
    assert {"kernels.v", "cnn.v", "cnn_tb.v", "build.tcl", "clock.xdc", "graph.txt"} <= names
    sources = [path for path in files if path.suffix == ".v"]
    program = build_testbench(sources, "cnn_tb", tmp_path)
    assert "PASS: 40 events" in run_testbench(program, tmp_path)
    assert "-period 3.125" in (tmp_path / "clock.xdc").read_text()
    assert design.part.vivado_name in (tmp_path / "build.tcl").read_text()
    expected = (tmp_path / "expected.hex").read_text().splitlines()
    expected[7] = "0" * len(expected[7]) if int(expected[7], 16) else "1".zfill(len(expected[7]))
    (tmp_path / "expected.hex").write_text("\n".join(expected) + "\n")
    assert "FAIL: 1 of 40" in run_testbench(program, tmp_path)


def test_a_project_that_cannot_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    graph = convolution()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        write_project(compile_graph(graph), tmp_path / "file", random_codes(graph, 2, seed=1))


def test_synthesis_counts_the_registers_that_were_placed():
    b = Builder("registers")
    x = b.add(Input("x", TensorType.uniform((4,), Fixed(True, 3, 0))))
    y = b.add(Input("y", TensorType.uniform((4,), Fixed(True, 3, 0))))
    graph = b.build([b.add(Add(), x, y)])
    design = compile_graph(graph)
    counted = synthesise(design)
    assert counted.dsp == 0
    assert counted.ff == design.top.register_bits() + design.latency == 4 * 5 + 1
    assert 0 < counted.lut <= 4 * 5


def test_equal_graphs_of_other_names_give_modules_of_other_names():
    one, two = (compile_graph(dataclasses.replace(convolution(), name=name)) for name in ("a", "b"))
    assert one.top_verilog != two.top_verilog
    assert "module a_conv_0 (" in one.kernels_verilog
    assert "module b_conv_0 (" in two.kernels_verilog


@pytest.mark.parametrize("name", ["small", "9 lives", "", "Öl", "wire", "a b/c", "module_"])
def test_any_name_becomes_one_that_verilog_takes(name: str):
    design = compile_graph(dataclasses.replace(convolution(2, 2), name=name))
    build_simulator(design)  # lints
