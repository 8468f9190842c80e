"""HLS injections without hls4ml: descriptions, reports, the patch, what they mean."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hairtrigger.backends import hls
from hairtrigger.errors import InputError, StorageError, ToolError, UnsupportedError
from hairtrigger.fixed import Fixed, Overflow, Rounding
from hairtrigger.graph import Builder, Graph, TensorType, emulate_codes, linear, ops
from hairtrigger.graph.types import Literal
from hairtrigger.hls import injection, shipped
from hairtrigger.hls.injection import Injection, Place, Port
from hairtrigger.hls.insert import Placed
from hairtrigger.hls.patch import wrap_top
from hairtrigger.hls.project import identifier
from hairtrigger.hls.reference import Reference, sweep_codes
from hairtrigger.hls.report import Report, parse_json, parse_xml, read_report
from hairtrigger.hls.spec import read_injections

PIXEL = Fixed(False, 4, 0)
SOURCE = "template <class A, class B> void f(const A *in, B *out) {}"


def network(pixel: Fixed = PIXEL, shape: tuple[int, int, int] = (4, 6, 1), seed: int = 1) -> Graph:
    """A convolution with a bias, and a sum of everything."""
    rng = np.random.default_rng(seed)
    builder = Builder("net")
    x = builder.add(ops.Input("image", TensorType.uniform(shape, pixel)))
    kernel = Literal(rng.integers(-7, 8, (3, 3, shape[-1], 2)), 2)
    conv = linear.Conv(kernel, Literal([3, -5], 3), (1, 1), ((1, 1), (1, 1)))
    x = builder.add(ops.Relu(), builder.add(conv, x, label="conv1 (QConv2D)"))
    return builder.build({"sum": builder.add(linear.GlobalSum((0, 1)), x)})


# --- descriptions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        injection.replace("conv1"),
        injection.replace("conv1", until="relu1"),
        injection.behind("pool"),
        injection.at_input(),
        injection.at_output(),
        injection.around(),
    ],
)
def test_a_place_is_read_from_its_own_words(place: Place) -> None:
    assert Place.parse(str(place)) == place


@pytest.mark.parametrize(
    "text", ["", "replace", "behind a until b", "input x", "before conv1", "around net"]
)
def test_no_place(text: str) -> None:
    with pytest.raises(InputError, match="no place"):
        Place.parse(text)


def test_places_that_contradict_themselves() -> None:
    for kind, layer, until in (("input", "a", ""), ("replace", "", ""), ("on", "", "")):
        with pytest.raises(InputError, match="no place"):
            Place(kind, layer, until)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"function": "two words"}, "no name"),
        ({"function": "g"}, "does not have it"),
        ({"io_types": ()}, "io_types"),
        ({"io_types": ("io_serial",)}, "io_types"),
        ({"where": injection.behind("a"), "meaning": network()}, "meaning of its own"),
        ({"meaning": network()}, "takes None"),
        ({"meaning": network(), "takes": Port((2, 2, 1), PIXEL)}, "meaning"),
        ({"meaning": network(), "takes": Port((4, 6, 1), Fixed(False, 3, 1))}, "format"),
    ],
)
def test_injections_that_contradict_themselves(change: dict[str, object], message: str) -> None:
    usual = {"where": injection.at_input(), "function": "f", "source": SOURCE}
    Injection(**usual)
    with pytest.raises(InputError, match=message):
        Injection(**{**usual, **change})


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        injection.read_source(tmp_path / "none.h")
    (tmp_path / "binary.h").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StorageError, match="UTF-8"):
        injection.read_source(tmp_path / "binary.h")


@given(st.text(max_size=12))
def test_names_of_top_functions(text: str) -> None:
    name = identifier(text)
    assert name.isidentifier()
    assert name.isascii()
    assert name not in ("input", "main")


def test_a_graph_needs_its_model() -> None:
    with pytest.raises(UnsupportedError, match="no Keras model"):
        hls.emit(network())
    assert hls.unsupported(network()) == [
        "Graph 'net' has no Keras model beside it, and hls4ml reads models."
    ]


# --- a file of injections ------------------------------------------------------------------------


def written(folder: Path, *entries: object) -> Path:
    (folder / "mine.h").write_text(SOURCE)
    (folder / "csynth.xml").write_text(CSYNTH.format(latency="9", dsp="2"))
    path = folder / "inject.json"
    path.write_text(json.dumps(entries))
    return path


def test_a_file_of_injections(tmp_path: Path) -> None:
    graph = network()
    (tmp_path / "same.txt").write_text(str(graph))
    path = written(
        tmp_path,
        {"shipped": "front", "image": [8, 12], "pixel": "u6.2", "threshold": 3, "channels": True},
        {"shipped": "packed_conv"},
        {
            "where": "behind conv1",
            "function": "f",
            "source": "mine.h",
            "takes": "s9.3[4,6,2]",
            "io_types": ["io_parallel", "io_stream"],
            "report": "csynth.xml",
        },
        {"shipped": "early_exit", "threshold": 3},
    )
    front, packed, own, early = read_injections(path, graph)
    assert front == shipped.front(graph, (8, 12), Fixed(False, 6, 2), threshold=3, channels=True)
    assert packed == shipped.packed_conv(graph)
    assert own.takes == Port((4, 6, 2), Fixed(True, 9, 3))
    assert (own.where, own.source) == (injection.behind("conv1"), SOURCE)
    assert own.report is not None
    assert own.report.latency == 9
    assert early == shipped.early_exit(graph, [front], threshold=3)


OWN = {"where": "input", "function": "f", "source": "mine.h"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "missing"),
        ({**OWN, "latency": 3}, "Unknown: .'latency'"),
        ({**OWN, "where": "before"}, "injection 0: .*no place"),
        ({**OWN, "takes": "u4"}, "no port"),
        ({**OWN, "takes": "u4.0[0]"}, "no port"),
        ({**OWN, "io_types": "io_stream"}, "no list"),
        ({**OWN, "function": 5}, "no text"),
        ({**OWN, "meaning": "mine.h"}, "mine.h"),
        ({"shipped": "magic"}, "magic"),
        ({"shipped": "front", "image": 5}, "image"),
        ({"shipped": "front", "image": [8, 12], "pixel": "u6.2", "threshold": -1}, "threshold"),
        ({"shipped": "front", "image": [8, True], "pixel": "u6.2", "threshold": 1}, "image"),
        ({"shipped": "early_exit", "threshold": 1.5}, "threshold"),
        ({"shipped": "packed_conv", "layer": 3}, "layer"),
        ("front", "no list of tables"),
    ],
)
def test_files_of_injections_that_say_nothing_usable(
    tmp_path: Path, entry: object, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_injections(written(tmp_path, entry), network())


def test_files_of_injections_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        read_injections(tmp_path / "none.json", network())
    (tmp_path / "half.json").write_text('[{"where": ')
    with pytest.raises(InputError, match="no JSON"):
        read_injections(tmp_path / "half.json", network())
    for name in ("source", "report", "meaning"):
        with pytest.raises(StorageError, match="cannot be read"):
            read_injections(written(tmp_path, {**OWN, name: "none.xml"}), network())


@given(
    st.booleans(), st.integers(-9, 20), st.integers(0, 9), st.lists(st.integers(1, 99), min_size=1)
)
def test_a_port_is_read_from_its_own_words(
    signed: bool, integer: int, more: int, shape: list[int]
) -> None:
    port = Port(tuple(shape), Fixed(signed, integer, more - integer))
    assert Port.parse(str(port)) == port


# --- reports -----------------------------------------------------------------------------------

CSYNTH = """<?xml version="1.0" encoding="UTF-8"?>
<profile>
<ReportVersion><Version>2023.2</Version></ReportVersion>
<UserAssignments><unit>ns</unit><Part>xcvu13p-flga2577-2-e</Part>
<TargetClockPeriod>3.12</TargetClockPeriod></UserAssignments>
<PerformanceEstimates>
<SummaryOfTimingAnalysis><EstimatedClockPeriod>2.211</EstimatedClockPeriod>
</SummaryOfTimingAnalysis>
<SummaryOfOverallLatency><Best-caseLatency>7</Best-caseLatency>
<Worst-caseLatency>{latency}</Worst-caseLatency><Interval-min>1</Interval-min>
<Interval-max>1</Interval-max></SummaryOfOverallLatency>
</PerformanceEstimates>
<AreaEstimates><Resources><BRAM_18K>0</BRAM_18K><DSP>{dsp}</DSP><FF>120</FF><LUT>345</LUT>
<URAM>0</URAM></Resources></AreaEstimates>
</profile>
"""


def test_a_report_in_xml(tmp_path: Path) -> None:
    path = tmp_path / "csynth.xml"
    path.write_text(CSYNTH.format(latency="9", dsp="2"))
    report = read_report(path)
    assert (report.latency, report.interval, report.clock_ns) == (9, 1, 2.211)
    assert report.resources == {"BRAM_18K": 0, "DSP": 2, "FF": 120, "LUT": 345, "URAM": 0}
    assert (report.tool, report.part) == ("HLS 2023.2", "xcvu13p-flga2577-2-e")
    unknown = parse_xml(CSYNTH.format(latency="undef", dsp="2"))
    assert unknown.latency is None
    assert (
        parse_xml(CSYNTH.replace("DSP>", "DSP48E>").format(latency=1, dsp=3)).resources["DSP"] == 3
    )


def test_a_report_in_json(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"latency": 4, "resources": {"LUT": 7}}))
    assert read_report(path) == Report(latency=4, resources={"LUT": 7})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"lateny": 1}',
        '{"latency": -1}',
        '{"latency": 1.5}',
        '{"latency": true}',
        '{"clock_ns": 0}',
        '{"clock_ns": "fast"}',
        '{"clock_ns": NaN}',
        '{"resources": 5}',
        '{"resources": {"LUT": "many"}}',
    ],
)
def test_reports_in_json_that_say_something_else(text: str) -> None:
    with pytest.raises(InputError, match="Way out"):
        parse_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<a/>",
        CSYNTH[: len(CSYNTH) // 2],
        CSYNTH.format(latency="soon", dsp="2"),
        CSYNTH.format(latency="9", dsp="-2"),
        CSYNTH.replace("2.211", "quick").format(latency=1, dsp=1),
    ],
)
def test_reports_in_xml_that_say_something_else(text: str) -> None:
    with pytest.raises(InputError, match="Way out"):
        parse_xml(text)


def test_reports_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        read_report(tmp_path / "none.xml")
    (tmp_path / "report.txt").write_text("LUT 5")
    with pytest.raises(InputError, match="neither"):
        read_report(tmp_path / "report.txt")


# --- the patch around the network --------------------------------------------------------------

TOP = """#include <iostream>

#include "net.h"
#include "parameters.h"


void net(
    hls::stream<image_t> &image,
    hls::stream<result_t> &layer12_out
) {

    // hls-fpga-machine-learning insert IO
    #pragma HLS INTERFACE axis port=image,layer12_out{space}
    #pragma HLS DATAFLOW

    // hls-fpga-machine-learning insert layers
    nnet::dense<image_t, result_t, config12>(image, layer12_out, w12, b12); // dense
}
""".replace("{space}", " ")


def placed(where: Place) -> Placed:
    return Placed(
        Injection(where, "f", SOURCE), "injected_0_f", Port((4, 6, 1), PIXEL), Port((2,), PIXEL)
    )


def test_the_patch_around_a_stream() -> None:
    text = wrap_top(TOP, "net", placed(injection.around()), "io_stream", 24)
    network_part, top = text.split("// Patched by hairtrigger")
    assert "static void net_network(\n" in network_part
    assert "INTERFACE" not in network_part
    assert '#include "nnet_utils/injected_0_f.h"\n' in network_part
    assert "#pragma HLS INTERFACE axis port=image,layer12_out" in top
    assert "DATAFLOW" not in top
    assert 'hls::stream<image_t> again("again");' in top
    assert "depth=24" in top
    assert "if (!f(image, layer12_out, again)) // injected_0_f\n" in top
    assert "net_network(again, layer12_out);" in top


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("void net(", "void other("),
        ('#include "parameters.h"\n', ""),
        ("insert IO", "insert"),
        ("#pragma HLS INTERFACE axis port=image,layer12_out \n", ""),
        ("hls::stream<image_t> &image", "hls::stream<image_t> &image,\n    int more"),
        ("hls::stream<image_t> &image", "image_t *image"),
    ],
)
def test_a_top_function_of_another_version_is_not_patched(old: str, new: str) -> None:
    assert old in TOP
    with pytest.raises(ToolError, match="cannot be patched"):
        wrap_top(TOP.replace(old, new), "net", placed(injection.around()), "io_stream", 24)


# --- what must come out ------------------------------------------------------------------------


@given(st.integers(1, 12), st.integers(1, 40), st.booleans())
def test_a_sweep_has_every_code(bits: int, size: int, signed: bool) -> None:
    format = Fixed(signed, bits - signed, 0)
    builder = Builder("x")
    x = builder.add(ops.Input("x", TensorType.uniform((size,), format)))
    (codes,) = sweep_codes(builder.build({"x": x}))
    assert len(codes) == -(-(1 << bits) // size)
    np.testing.assert_array_equal(np.unique(codes), np.arange(format.lowest, format.highest + 1))


def test_a_sweep_of_many_bits_is_spread_out() -> None:
    builder = Builder("x")
    x = builder.add(ops.Input("x", TensorType.uniform((100,), Fixed(True, 30, 0))))
    (codes,) = sweep_codes(builder.build({"x": x}))
    assert codes.min() == -(1 << 30)
    assert codes.max() > (1 << 30) - (1 << 13)


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.integers(1, 6),
    st.integers(0, 4),
    st.booleans(),
    st.sampled_from([Rounding.TRN, Rounding.RND]),
    st.booleans(),
    st.data(),
)
def test_the_front_means_what_numpy_says(
    down: tuple[int, int],
    bits: int,
    drop: int,
    maximum: bool,
    rounding: Rounding,
    channels: bool,
    data: st.DataObject,
) -> None:
    pixel = Fixed(False, bits, drop)
    threshold = data.draw(st.integers(0, pixel.highest))
    image = (4 * down[0], 6 * down[1])
    made = shipped.front(
        network(),
        image,
        pixel,
        threshold=threshold,
        maximum=maximum,
        rounding=rounding,
        channels=channels,
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    raw = rng.integers(0, pixel.highest + 1, (20, *image))
    kept = np.where(raw > threshold, raw, 0).reshape(20, 4, down[0], 6, down[1])
    pooled = kept.max(axis=(2, 4)) if maximum else kept.sum(axis=(2, 4))
    half = (1 << drop >> 1) if rounding is Rounding.RND else 0
    expected = np.minimum(pooled + half >> drop, PIXEL.highest)
    assert made.meaning is not None
    (found,) = emulate_codes(made.meaning, [raw.reshape(20, *made.takes.shape)])
    np.testing.assert_array_equal(found[..., 0], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": (9, 12)}, "blocks"),
        ({"image": (4 * 33, 6)}, "blocks"),
        ({"pixel": Fixed(True, 4, 2)}, "unsigned"),
        ({"pixel": Fixed(False, 20, 2)}, "unsigned"),
        ({"pixel": Fixed(False, 8, -1)}, "coarser"),
        ({"threshold": 1 << 10}, "threshold"),
        ({"threshold": -1}, "threshold"),
        ({"rounding": Rounding.RND_CONV}, "rounding"),
    ],
)
def test_fronts_that_do_not_fit(change: dict[str, object], message: str) -> None:
    usual = {"image": (8, 12), "pixel": Fixed(False, 8, 2), "threshold": 3}
    given = {**usual, **change}
    with pytest.raises(InputError, match=message):
        shipped.front(network(), given.pop("image"), given.pop("pixel"), **given)


@given(st.integers(1, 20), st.integers(1, 3), st.integers(0, 100))
def test_tables_hold_the_sums_of_weights(taps: int, filters: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel = rng.integers(-50, 50, (taps, filters))
    groups = -(-taps // 6)
    tables = shipped._tables(kernel, groups)
    bits = rng.integers(0, 2, (30, taps))
    padded = np.pad(bits, ((0, 0), (0, 6 * groups - taps))).reshape(30, groups, 6)
    address = (padded << np.arange(6)).sum(axis=2)
    found = sum(tables[:, g, address[:, g]] for g in range(groups)).T
    np.testing.assert_array_equal(found, bits @ kernel)


def test_convolutions_that_cannot_be_packed() -> None:
    with pytest.raises(InputError, match="1 to 4 bits"):
        shipped.packed_conv(network(Fixed(False, 5, 0)))
    builder = Builder("none")
    x = builder.add(ops.Input("x", TensorType.uniform((4,), PIXEL)))
    with pytest.raises(InputError, match="does not begin"):
        shipped.packed_conv(builder.build({"x": x}))


def test_an_empty_image_has_a_proven_answer() -> None:
    graph = network()
    reference = Reference.of(graph, ())
    zero = reference.constant(0, 0)
    (expected,) = emulate_codes(graph, [np.zeros((1, 4, 6, 1), dtype=np.int64)])
    assert zero is not None
    np.testing.assert_array_equal(zero[0], expected[0])
    assert reference.constant(0, 1) is None
    with pytest.raises(InputError, match="one answer"):
        shipped.early_exit(graph, threshold=1)
    made = shipped.front(graph, (8, 12), Fixed(False, 8, 2), threshold=9)
    assert "return values[n];" in shipped.early_exit(graph, [made], threshold=9).source
    with pytest.raises(InputError, match="one answer"):
        shipped.early_exit(graph, [made], threshold=10)


def test_an_empty_image_of_signed_pixels_has_none() -> None:
    with pytest.raises(InputError, match="one answer"):
        shipped.early_exit(network(Fixed(True, 3, 0)))


def test_meanings_must_fit_the_network() -> None:
    builder = Builder("other")
    t = TensorType.uniform((3, 3, 1), PIXEL)
    x = builder.add(ops.Input("x", t))
    meaning = builder.build({"x": x})
    wrong = Injection(
        injection.at_input(), "f", SOURCE, takes=Port((3, 3, 1), PIXEL), meaning=meaning
    )
    with pytest.raises(InputError, match="takes"):
        Reference.of(network(), [wrong])


def test_a_meaning_that_leaves_the_range_of_the_network_is_an_error() -> None:
    builder = Builder("wide")
    x = builder.add(ops.Input("x", TensorType.uniform((4, 6, 1), Fixed(False, 6, 0))))
    meaning = builder.build({"x": x})
    reference = Reference(network(), before=meaning)
    codes = np.zeros((3, 4, 6, 1), dtype=np.int64)
    codes[2, 1, 1, 0] = 16
    with pytest.raises(InputError, match=r"code 16 at .* in event 2"):
        reference.run([codes])


def test_overflow_is_what_the_front_does() -> None:
    """The meaning saturates, and says so in the Graph."""
    made = shipped.front(network(), (8, 12), Fixed(False, 8, 2), threshold=0)
    last = made.meaning.nodes[-1].op
    assert isinstance(last, ops.Quantize)
    assert last.overflow is Overflow.SAT
