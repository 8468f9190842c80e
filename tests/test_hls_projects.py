"""HLS projects by hls4ml: their C simulation gives what the emulator gives, or says where not."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hairtrigger import cli
from hairtrigger.backends import hls
from hairtrigger.backends.hls import HlsArtifact, Target, emit
from hairtrigger.errors import ConversionError, InputError, MismatchError, StorageError, ToolError
from hairtrigger.fixed import Fixed, Rounding
from hairtrigger.frontends.hgq import from_hgq
from hairtrigger.frontends.keras_file import import_keras
from hairtrigger.graph import Builder, Graph, TensorType, emulate_codes, linear, ops
from hairtrigger.graph.stimulus import random_codes
from hairtrigger.graph.types import Literal
from hairtrigger.hls import injection, shipped
from hairtrigger.hls.alone import try_alone
from hairtrigger.hls.injection import Injection, Port
from hairtrigger.verify import verify
from hgq_models import shake

if importlib.util.find_spec("hls4ml") is None:
    pytest.skip("hls4ml is missing: pip install 'hairtrigger[hls]'", allow_module_level=True)

RAW = Fixed(False, 8, 2)
COPY = """
template <class A, class B> void NAME(const A *in, B *out) {
    for (int n = 0; n < %d; n++) out[n] = %s;
}
template <class A, class B> void NAME(hls::stream<A> &in, hls::stream<B> &out) {
    for (int n = 0; n < %d; n++) {
        A word = in.read();
        B same;
        for (int m = 0; m < int(A::size); m++) same[m] = word[m];
        out.write(same);
    }
}
"""
BOTH = injection.IO_TYPES


def network(bits: int = 2, seed: int = 1) -> Any:
    """A model of an image (6, 8, 1) of few bits: convolution, pool, convolution, dense."""
    keras = import_keras()
    from hgq.config import LayerConfigScope, QuantizerConfig, QuantizerConfigScope
    from hgq.layers import QConv2D, QDense, QMaxPooling2D

    keras.utils.set_random_seed(seed)
    tensor = {"homogeneous_axis": None, "heterogeneous_axis": ()}
    safe = {"overflow_mode": "SAT", "round_mode": "RND"}
    pixels = {"k0": False, "i0": bits, "f0": 0, "trainable": False}
    with (
        QuantizerConfigScope(place="datalane", i0=3, f0=2, **tensor, **safe),
        QuantizerConfigScope(place="weight", i0=1, f0=3, overflow_mode="SAT_SYM"),
        LayerConfigScope(enable_ebops=False),
    ):
        input_quantizer = QuantizerConfig("kif", place="datalane", **pixels, **tensor, **safe)
        x = inputs = keras.Input((6, 8, 1), name="image")
        x = QConv2D(3, 3, padding="same", activation="relu", iq_conf=input_quantizer, name="conv1")(
            x
        )
        x = QMaxPooling2D(2, name="pool1")(x)
        x = QConv2D(2, 2, activation="relu", name="conv2")(x)
        x = QDense(3, name="dense")(keras.layers.Flatten(name="flat")(x))
    model = keras.Model(inputs, x)
    rng = np.random.default_rng(seed)
    for layer in ("conv1", "conv2", "dense"):
        bias = model.get_layer(layer).bias
        bias.assign(rng.integers(-8, 9, bias.shape) / 8)
    return model


@pytest.fixture(scope="module")
def model() -> Any:
    return network()


@pytest.fixture(scope="module")
def graph(model: Any) -> Graph:
    return from_hgq(model)


def made(model: Any, folder: Path, *injections: Injection, **target: Any) -> HlsArtifact:
    return emit(model, Target(injections=injections, **target), folder)


def copy(
    where: injection.Place, size: int, value: str = "in[n]", words: int = 1, name: str = "copy"
) -> Injection:
    source = (COPY % (size, value, words)).replace("NAME", name)
    return Injection(where, name, source, io_types=BOTH)


# --- alone -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("io_type", BOTH)
def test_the_packed_convolution_alone(graph: Graph, io_type: str) -> None:
    assert try_alone(shipped.packed_conv(graph), io_type, random_events=300) > 300


@pytest.mark.parametrize(
    "io_type", ["io_parallel", pytest.param("io_stream", marks=pytest.mark.slow)]
)
def test_one_wrong_value_in_a_million_is_found(io_type: str) -> None:
    """An identity of 20 bits that is wrong for one code."""
    port = Port((512,), Fixed(True, 19, 0))
    wrong = "x == -424242 ? B(-424241) : B(x)"
    source = f"""
template <class B, class A> B same(A x) {{ return {wrong}; }}
template <class A, class B> void copy(const A *in, B *out) {{
    for (int n = 0; n < 512; n++) out[n] = same<B>(in[n]);
}}
template <class A, class B> void copy(hls::stream<A> &in, hls::stream<B> &out) {{
    A word = in.read();
    B answer;
    for (int n = 0; n < 512; n++) answer[n] = same<typename B::value_type>(word[n]);
    out.write(answer);
}}"""
    function = Injection(injection.at_input(), "copy", source, port, port, BOTH)
    with pytest.raises(MismatchError, match=r"code -424242 expected, -424241 found .1 numbers"):
        try_alone(function, io_type, check=False, random_events=10)
    right = changed(function, source=source.replace(wrong, "B(x)"))
    assert try_alone(right, io_type, check=False, random_events=10) > 2048


@pytest.mark.slow
@pytest.mark.parametrize("io_type", BOTH)
@pytest.mark.parametrize(
    ("pixel", "shape", "window", "strides", "padding"),
    [
        (Fixed(False, 1, 0), (5, 7, 1), (3, 3), (1, 1), ((1, 1), (1, 1))),
        (Fixed(False, 1, 0), (9, 6, 2), (3, 2), (2, 1), ((0, 0), (0, 0))),
        (Fixed(True, 2, 1), (5, 6, 1), (2, 3), (1, 2), ((0, 1), (1, 1))),
        (Fixed(True, 0, 0), (4, 4, 3), (1, 1), (1, 1), ((0, 0), (0, 0))),
        (Fixed(False, -1, 4), (6, 4, 1), (4, 4), (2, 2), ((1, 1), (1, 1))),
    ],
)
def test_packed_convolutions_of_many_shapes(
    pixel: Fixed, shape: Any, window: Any, strides: Any, padding: Any, io_type: str
) -> None:
    rng = np.random.default_rng(3)
    builder = Builder("net")
    x = builder.add(ops.Input("image", TensorType.uniform(shape, pixel)))
    kernel = Literal(rng.integers(-9, 10, (*window, shape[-1], 3)), 2)
    conv = linear.Conv(kernel, Literal(rng.integers(-20, 20, 3), 5), strides, padding)
    graph = builder.build({"y": builder.add(conv, x, label="conv1 (QConv2D)")})
    assert try_alone(shipped.packed_conv(graph), io_type, random_events=500) > 500


@pytest.mark.slow
@pytest.mark.parametrize("io_type", BOTH)
@pytest.mark.parametrize("maximum", [False, True])
@pytest.mark.parametrize("channels", [False, True])
def test_the_front_alone(graph: Graph, io_type: str, maximum: bool, channels: bool) -> None:
    made = shipped.front(
        graph,
        (24, 32),
        Fixed(False, 10, 4),
        threshold=60,
        maximum=maximum,
        channels=channels,
        rounding=Rounding.RND if maximum else Rounding.TRN,
    )
    assert try_alone(made, io_type, random_events=500) > 500


# --- in a project ------------------------------------------------------------------------------


def test_a_project_with_an_injection(model: Any, graph: Graph, tmp_path: Path) -> None:
    """Whole: written, compiled, run, equal."""
    packed = shipped.packed_conv(graph)
    artifact = made(model, tmp_path / "right", packed)
    verified = artifact.verify(random_events=500)
    assert verified.events > 500
    assert verified.injections == {"injected_0_packed_conv": verified.events * 6 * 8 * 3}
    codes = random_codes(graph, 20, 5)
    np.testing.assert_array_equal(artifact.run_codes(codes)[0], emulate_codes(graph, codes)[0])
    top = artifact.project.folder / "firmware" / f"{artifact.project.name}.cpp"
    assert "packed_conv(image, layer3_out); // injected_0_packed_conv" in top.read_text()
    assert str(tmp_path) not in (artifact.project.folder / "hls4ml_config.yml").read_text()


@pytest.mark.slow
def test_one_wrong_sum_is_found_and_named(model: Any, graph: Graph, tmp_path: Path) -> None:
    """One entry of the tables of the packed convolution, off by one."""
    packed = shipped.packed_conv(graph)
    start = packed.source.index("static int table")
    source = packed.source[:start] + packed.source[start:].replace(
        "values[n]", "values[n] + (n == 5)"
    )
    wrong = made(model, tmp_path / "wrong", changed(packed, source=source))
    with pytest.raises(MismatchError) as caught:
        wrong.verify(random_events=500)
    assert "packed_conv, tried alone in io_parallel, differs from its meaning" in str(caught.value)
    # Without a meaning it is what conv1 gives that it is compared with.
    wrong = made(model, tmp_path / "wrong", changed(packed, source=source, meaning=None))
    with pytest.raises(MismatchError) as caught:
        wrong.verify(random_events=500)
    said = str(caught.value)
    assert "injected_0_packed_conv (replace conv1, function packed_conv) differs from" in said
    assert "what conv1 gives without it: first in event" in said
    # One that comes after it is not blamed, though it was named before.
    second = copy(injection.behind("pool1"), 36)
    both = made(model, tmp_path, second, changed(packed, source=source, meaning=None), name="both")
    with pytest.raises(MismatchError, match="injected_1_packed_conv"):
        both.verify(random_events=500)


def test_injections_that_do_not_fit(model: Any, graph: Graph, tmp_path: Path) -> None:
    packed = shipped.packed_conv(graph)
    cases = [
        (copy(injection.replace("conv9"), 9), "no layer 'conv9'", {}),
        (changed(packed, takes=Port((6, 8, 1), Fixed(False, 3, 0)), meaning=None), "takes", {}),
        (changed(packed, takes=Port((8, 6, 1), Fixed(False, 2, 0)), meaning=None), "takes", {}),
        (changed(packed, io_types=("io_parallel",)), "io_stream", {"io_type": "io_stream"}),
        (copy(injection.replace("dense", "conv1"), 9), "no single way", {}),
        (copy(injection.replace("image"), 9), "no layer 'image'", {}),
        (copy(injection.behind("flat"), 9), "no layer 'flat'", {}),
    ]
    for wrong, message, target in cases:
        with pytest.raises(InputError, match=message):
            made(model, tmp_path, wrong, **target)
    assert not any(tmp_path.iterdir()), "nothing half-written stays"
    with pytest.raises(InputError, match="Two injections"):
        made(model, tmp_path, copy(injection.at_input(), 48), copy(injection.at_input(), 48))
    twice = copy(injection.behind("pool1"), 36), copy(injection.behind("injected_0_copy"), 36)
    with pytest.raises(InputError, match="no layer 'injected_0_copy'"):
        made(model, tmp_path, *twice)
    with pytest.raises(InputError, match="nothing says how"):
        made(
            model,
            tmp_path,
            changed(copy(injection.at_input(), 48), takes=Port((6, 8, 1), Fixed(False, 9, 0))),
        )
    with pytest.raises(InputError, match="io_serial"):
        made(model, tmp_path, io_type="io_serial")


def test_folders_of_others_are_left_alone(model: Any, tmp_path: Path) -> None:
    made(model, tmp_path, name="mine")
    made(model, tmp_path, name="mine")  # an earlier project may be written anew
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years")
    with pytest.raises(StorageError, match="no earlier project"):
        made(model, tmp_path, name="other")
    assert (tmp_path / "other" / "thesis.tex").read_text() == "years"


def test_models_that_hls4ml_refuses(tmp_path: Path) -> None:
    keras = import_keras()
    inputs = keras.Input((4,))
    foreign = keras.Model(inputs, keras.layers.UnitNormalization()(inputs))
    with pytest.raises(ConversionError):
        made(foreign, tmp_path)
    assert hls.unsupported(foreign)


@pytest.mark.slow
@pytest.mark.parametrize("io_type", BOTH)
@pytest.mark.parametrize("backend", ["Vitis", "Vivado"])
def test_all_that_is_shipped_in_one_project(
    model: Any, graph: Graph, tmp_path: Path, io_type: str, backend: str
) -> None:
    front = shipped.front(graph, (24, 32), RAW, threshold=40)
    early = shipped.early_exit(graph, [front], threshold=40)
    artifact = made(
        model,
        tmp_path,
        front,
        shipped.packed_conv(graph),
        early,
        io_type=io_type,
        backend=backend,
    )
    quiet = np.random.default_rng(1).integers(0, 41, (200, 24, 32, 1))
    plain = artifact.verify([quiet], random_events=400)
    assert plain.answered >= 200
    assert 0 < plain.answered < plain.events
    assert artifact.verify([quiet], random_events=50, check=True).answered >= 200


@pytest.mark.slow
@pytest.mark.parametrize("io_type", BOTH)
def test_functions_behind_layers_and_at_both_ends(
    model: Any, graph: Graph, tmp_path: Path, io_type: str
) -> None:
    places = [
        copy(injection.at_input(), 48, words=48, name="first"),
        copy(injection.behind("pool1"), 36, words=12, name="second"),
        copy(injection.behind("conv1_relu"), 144, words=48, name="third"),
        copy(injection.behind("conv1"), 144, words=48, name="third"),
        copy(injection.at_output(), 3, words=1, name="last"),
    ]
    artifact = made(model, tmp_path, *places, io_type=io_type)
    verified = artifact.verify(random_events=300, check=True)
    sizes = [48, 36, 144, 144, 3]
    assert list(verified.injections.values()) == [verified.events * n for n in sizes]


@pytest.mark.slow
def test_a_function_at_the_output_with_a_meaning(model: Any, graph: Graph, tmp_path: Path) -> None:
    """The class of the largest score, by a comparison that HLS can do."""
    t = graph.output_types[0]
    # hls4ml gives all scores one format.
    fixed = Port((3,), Fixed(True, int(t.integer.max()), t.lsb))
    builder = Builder("largest")
    x = builder.add(ops.Input("scores", TensorType.uniform((3,), fixed.format)))
    meaning = builder.build({"class": builder.add(linear.ArgMax(), x)})
    source = """
template <class A, class B> void largest(const A *in, B *out) {
    int best = 0;
    for (int n = 1; n < 3; n++)
        if (in[n] > in[best]) best = n;
    out[0] = best;
}"""
    function = Injection(
        injection.at_output(),
        "largest",
        source,
        gives=Port((1,), Fixed(False, 2, 0)),
        takes=fixed,
        meaning=meaning,
    )
    artifact = made(model, tmp_path, function)
    verified = artifact.verify(random_events=500)
    assert verified.injections == {"injected_0_largest": verified.events}
    ties = changed(function, source=source.replace("in[n] > in[best]", "in[n] >= in[best]"))
    # Scores are hardly ever equal in the network; alone they are.
    with pytest.raises(MismatchError, match=r"largest, tried alone .* code 0 expected, 2 found"):
        made(model, tmp_path / "ties", ties).verify(random_events=500)
    last = changed(function, source=source.replace("out[0] = best", "out[0] = 2 - best"))
    meant = changed(last, meaning=None, takes=None, gives=None)
    with pytest.raises(MismatchError, match=r"injected_0_largest .output"):
        made(model, tmp_path / "last", meant).verify(random_events=500)


@pytest.mark.slow
@pytest.mark.parametrize("value", ["in[n + (n == 35)]", "in[n - (n == 0)]"])
def test_reading_beyond_an_array_is_found(model: Any, tmp_path: Path, value: str) -> None:
    artifact = made(model, tmp_path, copy(injection.behind("pool1"), 36, value))
    with pytest.raises(MismatchError) as caught:
        artifact.verify(random_events=50, check=True)
    assert "injected_0_copy (behind pool1) reads or writes beyond an array in event 0" in str(
        caught.value
    )


@pytest.mark.slow
def test_writing_too_little_is_found(model: Any, tmp_path: Path) -> None:
    artifact = made(model, tmp_path, copy(injection.behind("pool1"), 35))
    with pytest.raises(MismatchError, match=r"injected_0_copy .behind pool1"):
        artifact.verify(random_events=50, check=True)


@pytest.mark.slow
@pytest.mark.parametrize(("words", "what"), [(11, "read while empty|leftover"), (13, "empty")])
def test_streams_read_wrongly_are_found(model: Any, tmp_path: Path, words: int, what: str) -> None:
    wrong = copy(injection.behind("pool1"), 36, words=words)
    artifact = made(model, tmp_path, wrong, io_type="io_stream")
    with pytest.raises(MismatchError, match=f"{what}.*injected_0_copy"):
        artifact.verify(random_events=20)


@pytest.mark.slow
def test_a_function_that_does_not_compile_is_named(model: Any, tmp_path: Path) -> None:
    for value in ("in[n]; int nothing = missing", "undeclared[n]"):
        wrong = copy(injection.behind("pool1"), 36, value)
        with pytest.raises(ToolError, match=r"injected_0_copy .behind pool1. does not compile"):
            made(model, tmp_path, wrong).build()
    unfit = Injection(injection.behind("pool1"), "f", "void f(int a) {}")
    with pytest.raises(ToolError, match=r"injected_0_f .behind pool1. does not compile"):
        made(model, tmp_path, unfit).build()


@pytest.mark.slow
def test_wrong_answers_around_the_network_are_found(
    model: Any, graph: Graph, tmp_path: Path
) -> None:
    early = shipped.early_exit(graph)
    for old, new in (
        ("return values[n];", "return values[n] + (n == 2);"),
        ("> ap_uint<32>(CONFIG::threshold)", "> ap_uint<32>(CONFIG::threshold + 1)"),
    ):
        assert old in early.source
        wrong = changed(early, source=early.source.replace(old, new))
        with pytest.raises(MismatchError, match=r"injected_0_early_exit .around.*answers event"):
            made(model, tmp_path, wrong).verify(random_events=500)


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["conv1", "conv2", "dense"])
def test_the_first_wrong_layer_of_hls4ml_is_named(model: Any, tmp_path: Path, layer: str) -> None:
    """A weight changed in the written project, as a fault of hls4ml would."""
    artifact = made(model, tmp_path)
    weights = {"conv1": "w3", "conv2": "w8", "dense": "w12"}[layer]
    path = artifact.project.folder / "firmware" / "weights" / f"{weights}.h"
    text = path.read_text()
    start = text.index("{") + 1
    first = text[start : text.index(",", start)]
    path.write_text(text[:start] + str(-float(first) - 0.125) + text[start + len(first) :])
    with pytest.raises(MismatchError, match=f"first layer that differs is '{layer}'"):
        artifact.verify(random_events=300)


@pytest.mark.slow
@pytest.mark.parametrize("io_type", BOTH)
def test_a_run_of_layers_and_the_last_one(
    model: Any, graph: Graph, tmp_path: Path, io_type: str
) -> None:
    """ReLU and pool as one function, and the Dense from the Graph's own weights."""
    dense = next(n.op for n in graph.nodes if isinstance(n.op, linear.Dense))
    weights = ", ".join(str(x) for x in dense.kernel.values.ravel())
    biases = ", ".join(str(x) for x in dense.bias.values)
    body = f"""
    static const ap_fixed<16, 8> weights[] = {{{weights}}}, biases[] = {{{biases}}};
    for (int m = 0; m < 3; m++) {{
        ap_fixed<32, 16> sum = biases[m];
        for (int n = 0; n < 12; n++) sum += x[n] * weights[3 * n + m];
        y[m] = sum;
    }}
"""
    product = f"""
template <class A, class B> void product(const A *x, B *y) {{ {body} }}
template <class A, class B> void product(hls::stream<A> &in, hls::stream<B> &out) {{
    typename A::value_type x[12];
    B y;
    for (int n = 0; n < 12; n += A::size) {{
        A word = in.read();
        for (int m = 0; m < int(A::size); m++) x[n + m] = word[m];
    }}
    {body}
    out.write(y);
}}"""
    pool = """
template <class A, class B> void largest(const A *in, B *out, int at, int row, int column) {
    for (int c = 0; c < 3; c++) {
        B most = 0;
        for (int r = 0; r < 4; r++) {
            const B x = in[((2 * row + r / 2) * 8 + 2 * column + r % 2) * 3 + c] > 0
                ? B(in[((2 * row + r / 2) * 8 + 2 * column + r % 2) * 3 + c]) : B(0);
            if (x > most) most = x;
        }
        out[at + c] = most;
    }
}
template <class A, class B> void rectified_pool(const A *in, B *out) {
    for (int n = 0; n < 12; n++) largest(in, out, 3 * n, n / 4, n % 4);
}
template <class A, class B> void rectified_pool(hls::stream<A> &in, hls::stream<B> &out) {
    typename A::value_type image[144];
    for (int n = 0; n < 48; n++) {
        A word = in.read();
        for (int c = 0; c < 3; c++) image[3 * n + c] = word[c];
    }
    for (int n = 0; n < 12; n++) {
        B word;
        largest(image, word.data, 0, n / 4, n % 4);
        out.write(word);
    }
}"""
    artifact = made(
        model,
        tmp_path,
        Injection(injection.replace("conv1_relu", "pool1"), "rectified_pool", pool, io_types=BOTH),
        Injection(injection.replace("dense"), "product", product, io_types=BOTH),
        io_type=io_type,
    )
    assert "pool1" not in [x.layer for x in artifact.project.layers]
    events = artifact.verify(random_events=300, check=True).events
    certificate = verify(graph, hls=artifact, random_events=100, folder=tmp_path)
    assert certificate.passed
    assert f"hls4ml's C simulation ({io_type})" in [x.engine for x in certificate.compared]
    assert events > 300
    with pytest.raises(InputError, match="another Graph"):
        verify(changed(graph, name="other"), hls=artifact)


@pytest.mark.slow
def test_the_page_is_right(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python example of docs/backends/hls.md runs, on a network of the shape it names."""
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parent.parent / "docs" / "backends" / "hls.md"
    examples = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 2
    known: dict[str, Any] = {"model": model}
    for example in examples:
        exec(example, known)
    assert (tmp_path / "out" / "functional" / "firmware" / "nnet_utils").is_dir()


@pytest.mark.slow
def test_formats_of_each_element(tmp_path: Path) -> None:
    """What HGQ2 makes by default: exact in io_parallel, refused by hls4ml in io_stream."""
    keras = import_keras()
    from hgq.layers import QDense

    keras.utils.set_random_seed(1)
    inputs = keras.Input((8,))
    x = QDense(3, name="second")(QDense(6, activation="relu", name="first")(inputs))
    mixed = shake(keras.Model(inputs, x), 3)
    assert made(mixed, tmp_path).verify(random_events=300).events > 300
    with pytest.raises(ConversionError, match="heterogeneous_axis"):
        made(mixed, tmp_path, io_type="io_stream")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_command_writes_and_compares(model: Any, tmp_path: Path) -> None:
    """One call of it, whole, with a file of injections and real numbers as events."""
    model.save(tmp_path / "small.keras")
    (tmp_path / "inject.json").write_text('[{"shipped": "packed_conv"}, {"shipped": "early_exit"}]')
    np.save(tmp_path / "events.npy", np.zeros((10, 6, 8, 1), np.float32))
    words = ["hls", tmp_path / "small.keras", "--inject", tmp_path / "inject.json"]
    words += ["--out", tmp_path / "out", "--events", tmp_path / "events.npy", "--random", "100"]
    done = CliRunner().invoke(cli.app, [str(x) for x in words])
    assert done.exit_code == 0, done.output
    assert "all equal" in done.output
    assert "injected_1_early_exit (around): answered" in done.output
    assert (tmp_path / "out" / "small" / "firmware" / "small.cpp").is_file()
    (tmp_path / "inject.json").write_text('[{"shipped": "magic"}]')
    done = CliRunner().invoke(cli.app, [str(x) for x in words])
    assert done.exit_code == 2
    assert "magic" in done.output
