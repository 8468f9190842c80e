"""The command line: quick help, exit codes, errors without tracebacks, and real work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from hairtrigger import __version__, cli
from hairtrigger.errors import ToolError
from hairtrigger.report.summary import summary_problems
from hairtrigger.runs import gather

# Keras saves variables through an interface that NumPy is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HEAVY = ("numpy", "keras", "jax", "onnx", "onnxruntime", "matplotlib", "zarr", "da4ml", "jinja2")


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def said(result: Result) -> str:
    """Standard error, on one line."""
    return " ".join(result.stderr.split())


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["compile", "--help"],
        ["hls", "--help"],
        ["bench", "--help"],
        ["explain", "--help"],
    ],
)
def test_help_is_quick_because_nothing_heavy_is_imported(words):
    program = (
        "import sys, atexit\n"
        f"sys.argv = ['hairtrigger', *{words!r}]\n"
        f"heavy = set({HEAVY!r})\n"
        "atexit.register(lambda: print('HEAVY:', *sorted(heavy & set(sys.modules))))\n"
        "from hairtrigger.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY:"


def test_importing_the_package_imports_nothing_heavy():
    program = f"import sys, hairtrigger; print(set({HEAVY!r}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_every_public_name_is_there():
    import hairtrigger

    assert set(hairtrigger.__all__) == {*hairtrigger._HOME, *hairtrigger._PACKAGES}
    for name in hairtrigger.__all__:
        assert getattr(hairtrigger, name) is not None
        assert name in dir(hairtrigger)
    with pytest.raises(AttributeError, match="no attribute 'compiler'"):
        _ = hairtrigger.compiler


def test_version_and_parts():
    assert call("--version").stdout == f"hairtrigger {__version__}\n"
    listed = call("parts")
    assert listed.exit_code == 0
    assert "xcvu13p" in listed.stdout
    assert "1,728,000" in listed.stdout


def test_every_option_has_a_help_text():
    import typer

    command = typer.main.get_command(cli.app)
    for name, sub in command.commands.items():
        assert sub.help, name
        for option in sub.params:
            assert getattr(option, "help", None), f"{name}: {option.name}"


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["run", "myon"], 2, "study 'myon' is not known"),
        (["run", "muon", "--preset", "huge"], 2, "has no preset 'huge'"),
        (["run", "muon", "--part", "xcvu13"], 2, "part 'xcvu13' is not known"),
        (["run", "muon", "--clock", "320"], 2, "clock '320'"),
        (["run", "muon", "--latency", "fast"], 2, "time 'fast'"),
        (["run", "muon", "--seed", "-1"], 2, "should be greater than or equal to 0"),
        (["compile", "missing.keras"], 1, "missing.keras cannot be read: No such file"),
        (["compile", "."], 1, "cannot be read: Is a directory"),
        (["compile", "model.keras", "--part", "nothing"], 2, "part 'nothing' is not known"),
        (["compile", "model.keras", "--clock", "0 MHz"], 2, "clock '0 MHz'"),
        (["compile", "model.keras", "--input-format", "4.3"], 2, "input format '4.3'"),
        (["compile", "model.keras", "--events", "none.npy"], 1, "none.npy cannot be read"),
        (["compile", "model.keras", "--events", "model.keras"], 2, "no complete .npy file"),
        (["compile", "model.keras"], 1, "is not a .keras file"),
        (["report", "nowhere"], 1, "summary.json cannot be read"),
    ],
)
def test_wrong_input_is_one_clear_error(tmp_path, monkeypatch, words, code, problem):
    monkeypatch.chdir(tmp_path)
    Path("model.keras").write_text("this is no model")
    result = call(*words)
    assert result.exit_code == code
    assert problem in said(result)
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("manifest.json"))
    assert not list(tmp_path.rglob("report.html"))


def test_debug_shows_the_traceback(tmp_path):
    result = call("report", tmp_path, "--debug")
    assert type(result.exception).__name__ == "StorageError"


def test_sigterm_ends_what_was_started(tmp_path):
    child = f"import os, time; open({str(tmp_path / 'new')!r}, 'w').write(str(os.getpid()))"
    child += f"; os.rename({str(tmp_path / 'new')!r}, {str(tmp_path / 'pid')!r}); time.sleep(60)"
    program = f"""
import os, signal, sys, threading, time
from hairtrigger.cli.told import told
from hairtrigger.tools.process import run
def end():
    while not os.path.exists({str(tmp_path / "pid")!r}):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=end, daemon=True).start()
with told(False, "Go on."):
    run([sys.executable, "-c", {child!r}], tool="a tool")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50
    )
    assert "Ended by SIGTERM. Go on." in done.stderr
    number = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_ctrl_c_says_how_to_go_on(monkeypatch, tmp_path):
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gather, "run_stages", interrupted)
    monkeypatch.setattr(sys, "argv", ["hairtrigger", "compile", "my model.keras"])
    (tmp_path / "my model.keras").write_text("")
    result = call("compile", tmp_path / "my model.keras")
    assert result.exit_code == 130
    assert "to go on: hairtrigger compile 'my model.keras'" in said(result)


def test_a_missing_tool_is_told_with_the_way_to_get_it(monkeypatch, tmp_path):
    def missing(*args: object, **options: object) -> None:
        raise ToolError("no C++ compiler was found", "install g++ or clang++")

    monkeypatch.setattr(gather, "run_stages", missing)
    (tmp_path / "model.keras").write_text("")
    result = call("compile", tmp_path / "model.keras")
    assert result.exit_code == 1
    assert "no C++ compiler was found Way out: install g++" in said(result)


def test_doctor_lists_the_tools(monkeypatch):
    from hairtrigger.tools import doctor

    good = doctor.Check("Yosys", True, "0.70", "synthesised", "pip install pyosys", "synthesis")
    bad = doctor.Check("C++ compiler", False, "", "none found", "install g++", "simulation")
    monkeypatch.setattr(doctor, "diagnose", lambda: (good,))
    assert call("doctor").exit_code == 0
    monkeypatch.setattr(doctor, "diagnose", lambda: (good, bad))
    result = call("doctor")
    assert result.exit_code == 1
    assert "To get C++ compiler: install g++" in result.stdout


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small trained-like HGQ2 network, 6 inputs and 2 outputs."""
    from hgq_models import prepare, shake

    keras = prepare()
    import hgq.layers as q

    keras.utils.set_random_seed(1)
    network = keras.Sequential(
        [keras.Input((6,)), q.QDense(4, activation="relu"), q.QDense(2)], name="tiny"
    )
    path = tmp_path_factory.mktemp("model") / "tiny net.keras"
    shake(network, 5).save(path)
    return path


def test_a_model_is_compiled_proven_and_reported_and_the_second_time_reused(
    model, tmp_path, monkeypatch
):
    # The sources may be edited while tests run.
    monkeypatch.setattr("hairtrigger.pipeline.source_digest", lambda sources: "")
    np.save(tmp_path / "events.npy", np.random.default_rng(1).normal(0, 2, (500, 6)))
    words = ["compile", model, "--out", tmp_path / "out", "--events", tmp_path / "events.npy"]
    words += ["--latency", "400ns"]
    first = call(*words)
    assert first.exit_code == 0, first.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary_problems(summary) == []
    engines = [entry["engine"] for entry in summary["proof"]["engines"]]
    assert engines == ["emulator", "Keras", "ONNX Runtime", "Verilator"]
    assert summary["proof"]["passed"]
    assert summary["proof"]["events"] - summary["proof"]["adversarial"] == 20000
    assert summary["proof"]["random"] == 19500
    assert summary["chip"]["latency_clocks"] == summary["proof"]["latency_clocks"]
    lut = next(r for r in summary["synthesis"]["resources"] if r["name"] == "LUT")
    assert 0 < lut["used"] < 5000
    assert (tmp_path / "out" / "project" / "tiny_net.v").exists()
    assert "0 differences" in first.stdout
    assert str(tmp_path / "out" / "report.html") in first.stdout

    second = call(*words)
    assert second.exit_code == 0
    assert second.stderr.count("unchanged, reused") == 5

    slow = call(*words[:-1], "1ns")
    assert slow.exit_code == 1
    assert "where 1 ns are allowed" in said(slow)

    (tmp_path / "out" / "report.html").unlink()
    again = call("report", tmp_path / "out")
    assert again.exit_code == 0
    assert (tmp_path / "out" / "report.html").read_text() == (
        tmp_path / "out" / "stages" / "report" / "report.html"
    ).read_text()


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        (np.zeros((5, 7)), "shape (5, 7)"),
        (np.full((5, 6), np.nan), "NaN"),
        (np.array(["a"] * 6), "dtype"),
        (np.array([None] * 6), "no complete .npy file of numbers"),
    ],
)
def test_events_that_do_not_fit_the_model(model, tmp_path, events, problem):
    np.save(tmp_path / "events.npy", events)
    result = call("compile", model, "--out", tmp_path, "--events", tmp_path / "events.npy")
    assert result.exit_code == 2
    assert problem in said(result)


def test_a_corrupt_model_is_refused_and_leaves_nothing(model, tmp_path):
    broken = tmp_path / "broken.keras"
    broken.write_bytes(model.read_bytes()[:-500])
    result = call("compile", broken, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "truncated or damaged" in said(result)
    assert not list(tmp_path.rglob("manifest.json"))
