"""The runner of stages: what is reused, what is done again, and what an accident leaves behind."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from hairtrigger import pipeline
from hairtrigger.errors import InputError, StorageError
from hairtrigger.pipeline import Stage, run_stages, source_digest, stage_key, write_whole
from hairtrigger.progress import Lines


class Study:
    """Three stages, numbers -> doubled -> total, and the list of those that really ran."""

    def __init__(self, count: int = 4, factor: int = 2) -> None:
        self.count, self.factor = count, factor
        self.ran: list[str] = []

    def numbers(self, work: pipeline.Workplace) -> None:
        self.ran.append("numbers")
        done = work.partial / "numbers.txt"
        have = done.read_text().split() if done.exists() else []
        for n in range(len(have), self.count):
            self.before(n)
            with done.open("a") as file:
                file.write(f"{n}\n")
            work.progress(n + 1, self.count)
        work.keep("numbers.txt")

    def before(self, n: int) -> None:
        """For accidents."""

    def doubled(self, work: pipeline.Workplace) -> None:
        self.ran.append("doubled")
        numbers = (work.inputs["numbers"] / "numbers.txt").read_text().split()
        (work.folder / "deep").mkdir()
        text = " ".join(str(self.factor * int(n)) for n in numbers)
        (work.folder / "deep" / "doubled.txt").write_text(text)

    def total(self, work: pipeline.Workplace) -> None:
        self.ran.append("total")
        numbers = (work.inputs["doubled"] / "deep" / "doubled.txt").read_text().split()
        (work.folder / "total.json").write_text(json.dumps(sum(map(int, numbers))))

    @property
    def stages(self) -> list[Stage]:
        return [
            Stage("numbers", "Count", self.numbers, {"count": self.count}),
            Stage("doubled", "Double", self.doubled, {"factor": self.factor}, ("numbers",)),
            Stage("total", "Add up", self.total, after=("doubled",)),
        ]

    def run(self, folder: Path, reporter: Lines | None = None) -> int:
        self.ran.clear()
        finished = run_stages(self.stages, folder, reporter)
        return json.loads((finished["total"].folder / "total.json").read_text())


@pytest.fixture
def study() -> Study:
    return Study()


def left_over(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "stages").iterdir() if p.name.startswith("."))


def test_a_second_run_reuses_everything(study, tmp_path):
    assert study.run(tmp_path) == 12
    assert study.ran == ["numbers", "doubled", "total"]
    assert study.run(tmp_path) == 12
    assert study.ran == []
    assert left_over(tmp_path) == []


def test_a_changed_parameter_does_only_its_stage_and_those_after_again(study, tmp_path):
    study.run(tmp_path)
    study.factor = 3
    assert study.run(tmp_path) == 18
    assert study.ran == ["doubled", "total"]
    study.count = 5
    assert study.run(tmp_path) == 30
    assert study.ran == ["numbers", "doubled", "total"]


def test_a_stage_after_one_that_gave_the_same_again_is_reused(study, tmp_path):
    study.run(tmp_path)
    (tmp_path / "stages/numbers/numbers.txt").unlink()
    assert study.run(tmp_path) == 12
    assert study.ran == ["numbers"]


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("doubled/deep/doubled.txt", lambda p: p.write_text("0 2 4 7")),
        ("doubled/deep/doubled.txt", lambda p: p.write_bytes(p.read_bytes()[:-1])),
        ("doubled/deep/doubled.txt", lambda p: p.unlink()),
        ("doubled/manifest.json", lambda p: p.unlink()),
        ("doubled/manifest.json", lambda p: p.write_bytes(p.read_bytes()[:-20])),
        ("doubled/manifest.json", lambda p: p.write_text("[]")),
        ("doubled/manifest.json", lambda p: p.write_text('{"format": "another/1"}')),
        (
            "doubled/manifest.json",
            lambda p: p.write_text(p.read_text().replace("deep/doubled.txt", "deep/other.txt")),
        ),
    ],
)
def test_damaged_output_is_done_again_and_said_so(study, tmp_path, capsys, file, damage):
    study.run(tmp_path)
    damage(tmp_path / "stages" / file)
    assert study.run(tmp_path, Lines()) == 12
    assert study.ran == ["doubled"]
    assert "doubled is done again" in capsys.readouterr().err
    assert study.run(tmp_path) == 12
    assert study.ran == []


def interrupt_at(study: Study, n: int, error: BaseException) -> None:
    def before(number: int) -> None:
        if number == n:
            raise error

    study.before = before


def test_an_interrupt_loses_only_the_stage_in_hand_and_keeps_its_partial_work(study, tmp_path):
    interrupt_at(study, 2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        study.run(tmp_path)
    assert not (tmp_path / "stages/numbers").exists()
    asked = []
    study.before = asked.append
    assert study.run(tmp_path) == 12
    assert asked == [2, 3]  # 0 and 1 were kept
    assert left_over(tmp_path) == []


def test_an_interrupt_later_keeps_the_finished_stages(study, tmp_path):
    work = study.doubled

    def interrupted(place: pipeline.Workplace) -> None:
        work(place)
        raise KeyboardInterrupt

    study.doubled = interrupted
    with pytest.raises(KeyboardInterrupt):
        study.run(tmp_path)
    assert not (tmp_path / "stages/doubled").exists()
    study.doubled = work
    assert study.run(tmp_path) == 12
    assert study.ran == ["doubled", "total"]


def test_partial_work_of_other_settings_is_not_used(study, tmp_path):
    interrupt_at(study, 2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        study.run(tmp_path)
    asked = []
    study.before, study.count = asked.append, 5
    assert study.run(tmp_path) == 20
    assert asked == [0, 1, 2, 3, 4]
    assert left_over(tmp_path) == []


def test_what_a_killed_process_left_is_tidied(study, tmp_path):
    stages = tmp_path / "stages"
    (stages / ".unfinished-numbers-x").mkdir(parents=True)
    (stages / ".unfinished-numbers-x" / "numbers.txt").write_text("7")
    (stages / "numbers").mkdir()  # a folder without manifest is no output
    assert study.run(tmp_path) == 12
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_clear_error_and_loses_nothing(study, tmp_path, number):
    interrupt_at(study, 3, OSError(number, os.strerror(number)))
    with pytest.raises(StorageError, match=r"has no room left(.|\n)*free space"):
        study.run(tmp_path)
    assert not (tmp_path / "stages/numbers").exists()
    study.before = lambda n: None
    assert study.run(tmp_path) == 12


def test_a_full_disk_told_only_in_words_is_recognised(study, tmp_path):
    interrupt_at(study, 3, OSError("Unable to write: errno = 28, No space left on device"))
    with pytest.raises(StorageError, match="has no room left"):
        study.run(tmp_path)


def test_a_full_disk_while_the_manifest_is_written(study, tmp_path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pipeline.os, "fsync", full)
    with pytest.raises(StorageError, match="has no room left"):
        study.run(tmp_path)
    assert not (tmp_path / "stages/numbers").exists()
    with pytest.raises(StorageError, match="has no room left"):
        write_whole(tmp_path / "report.html", "text")
    assert not (tmp_path / "report.html").exists()
    assert list(tmp_path.glob(".report*")) == []


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_read_only_folder_is_told_before_anything_runs(study, tmp_path, monkeypatch, number):
    def refuse(*args: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match="cannot be written"):
        study.run(tmp_path / "run")
    assert study.ran == []


def test_a_folder_that_is_a_file_is_a_storage_error(study, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(StorageError, match="is no folder"):
        study.run(tmp_path / "run")


def test_other_errors_of_a_stage_come_through_unchanged(study, tmp_path):
    interrupt_at(study, 1, FileNotFoundError(errno.ENOENT, "No such file", "x.csv"))
    with pytest.raises(FileNotFoundError, match=r"x\.csv"):
        study.run(tmp_path)
    assert left_over(tmp_path)[0].startswith(".partial-numbers-")


def test_two_runs_in_one_folder_are_refused(study, tmp_path):
    other = Study()

    def meanwhile(n: int) -> None:
        with pytest.raises(StorageError, match="another process"):
            other.run(tmp_path)

    study.before = meanwhile
    assert study.run(tmp_path) == 12
    assert other.ran == []


def test_the_key_depends_on_all_that_it_should(study, tmp_path):
    stage = Stage("one", "One", study.numbers, {"a": 1.5}, sources=("errors.py",))
    keys = {
        stage_key(stage, {}),
        stage_key(Stage("two", "One", study.numbers, {"a": 1.5}, sources=("errors.py",)), {}),
        stage_key(Stage("one", "One", study.numbers, {"a": 1.25}, sources=("errors.py",)), {}),
        stage_key(Stage("one", "One", study.numbers, {"a": 1.5}, sources=("fixed.py",)), {}),
        stage_key(Stage("one", "One", study.numbers, {"a": 1.5}, packages=("numpy",)), {}),
        stage_key(stage, {"before": "digest"}),
        stage_key(stage, {"before": "another"}),
    }
    assert len(keys) == 7
    assert stage_key(stage, {}) in keys
    renamed = Stage("one", "Renamed", study.total, {"a": 1.5}, (), ("errors.py",))
    assert stage_key(renamed, {}) in keys


def test_sources_are_read_by_content(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "fit.py").write_text("epochs = 1\n")
    first = source_digest(("train",), tmp_path)
    (tmp_path / "train" / "__pycache__").mkdir()
    (tmp_path / "train" / "__pycache__" / "fit.pyc").write_text("")
    assert source_digest(("train",), tmp_path) == first
    (tmp_path / "train" / "fit.py").write_text("epochs = 2\n")
    assert source_digest(("train",), tmp_path) != first
    with pytest.raises(InputError, match=r"'gone\.py'"):
        source_digest(("gone.py",), tmp_path)


def test_stages_that_do_not_fit_together_are_refused(study, tmp_path):
    with pytest.raises(InputError, match=r"comes before \['doubled'\]"):
        run_stages(study.stages[::-1], tmp_path)
    with pytest.raises(InputError, match="is there twice"):
        run_stages([study.stages[0]] * 2, tmp_path)
    with pytest.raises(InputError, match="not JSON"):
        run_stages([Stage("one", "One", study.numbers, {"a": Path()})], tmp_path)
    with pytest.raises(InputError, match="not JSON"):
        run_stages([Stage("one", "One", study.numbers, {"a": float("nan")})], tmp_path)
    with pytest.raises(InputError, match="stage name"):
        run_stages([Stage("../one", "One", study.numbers)], tmp_path)
