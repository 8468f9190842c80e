"""The doctor runs every tool and never fails for a missing one."""

from pathlib import Path

import pytest

from hairtrigger.errors import ToolError
from hairtrigger.tools import doctor


@pytest.fixture(scope="module", autouse=True)
def tool_cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HAIRTRIGGER_CACHE", str(tmp_path_factory.getbasetemp() / "tool-cache"))
        yield


def test_what_the_project_needs_works_here():
    checks = doctor.diagnose()
    names = [check.name for check in checks]
    assert names[:6] == [
        "Python",
        "C++ compiler",
        "Verilator",
        "Yosys",
        "ONNX Runtime",
        "Keras, JAX, HGQ2",
    ]
    for check in checks:
        assert check.how_to_get
        assert check.needed_for
        assert "/" not in check.detail
        if check.required:
            assert check.found, check
        if check.found:
            assert any(character.isdigit() for character in check.version)


def test_nothing_on_path_is_told_and_not_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    for probe in (doctor._compiler, doctor._verilator, doctor._gpu, doctor._vivado, doctor._vitis):
        check = probe()
        assert not check.found
        assert check.detail
    assert "apt install g++" in doctor._compiler().how_to_get
    assert "apt install g++" in doctor._verilator().how_to_get
    assert doctor._vivado().detail == "vivado is not on PATH"


def test_a_tool_that_is_there_but_broken_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, text in {"vivado": "echo no licence; exit 1", "nvidia-smi": "echo '1.2, H'"}.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert doctor._vivado().detail == "vivado does not work: no licence"
    assert (doctor._gpu().version, doctor._gpu().detail) == ("1.2", "H")
    monkeypatch.setattr(doctor, "_ORT_PROBE", "raise RuntimeError('no such symbol')")
    assert "no such symbol" in doctor._onnxruntime().detail
    monkeypatch.setattr(doctor, "_TRAIN_PROBE", "import os; os.abort()")
    assert not doctor._training().found


def test_a_wrong_answer_is_no_working_tool(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "_MODULE", doctor._MODULE.replace("8'd1", "8'd2"))
    check = doctor._verilator()
    assert not check.found
    assert "adder gave" in check.detail


def test_details_carry_no_paths():
    def broken() -> tuple[str, str]:
        raise ToolError("'/opt/secret/bin/g++' failed at /home/me/x.v:3: N/A", "reinstall it")

    check = doctor._check("thing", broken, "get it", "work")
    assert check.detail == "'g++' failed at x.v:3: N/A"
    assert check.how_to_get == "reinstall it"
