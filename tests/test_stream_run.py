"""Runs over sources: what is kept, what an end at any moment leaves, what is refused."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hairtrigger.errors import InputError, StorageError
from hairtrigger.stream import view
from hairtrigger.stream.block import SourceBlock
from hairtrigger.stream.journal import Journal
from hairtrigger.stream.run import digest, run_stream, write_summary
from hairtrigger.stream.selected import read_selected
from hairtrigger.stream.view import line, rows, shown, table
from hairtrigger.stream.windows import window_dtype
from hairtrigger.studies.supernova_trigger import Trigger
from stream_cases import STEP, TICKS, reference, samples, small_trigger

TRIGGER = small_trigger()


class Blocks:
    """A replayable source of given stretches; a gap lies between them."""

    name, counts_per_tick, tick_s = "blocks", STEP, 512e-9
    replayable, live, origin = True, False, 1000

    def __init__(self, parts, *, size=100, fail_at=None, pause=0.0):
        self.parts, self.size, self.fail_at, self.pause = parts, size, fail_at, pause

    def all(self):
        at, first = 0, self.origin
        for part in self.parts:
            for n in range(0, len(part), self.size):
                yield at + n, SourceBlock(first + STEP * n, part[n : n + self.size])
            at += len(part)
            first += STEP * (len(part) + 7)

    def blocks(self, skip):
        for tick, block in self.all():
            if self.fail_at is not None and tick >= self.fail_at:
                raise StorageError("the cable is out", "put it in")
            if tick + len(block.samples) <= skip:
                continue
            cut = max(0, skip - tick)
            time.sleep(self.pause)
            yield SourceBlock(block.timestamp + STEP * cut, block.samples[cut:])

    def faults(self):
        return {"gap": len(self.parts) - 1}

    def stop(self): ...

    def close(self): ...


def expected(parts, trigger: Trigger = TRIGGER):
    """First ticks and timestamps of kept images, and their windows with what lies around them."""
    ticks, keep, logits, _ = reference(trigger, parts)
    whole = np.concatenate(parts)
    ends = np.cumsum([0, *map(len, parts)])
    made = []
    for tick, found in zip(ticks[keep].tolist(), logits[keep], strict=True):
        part = int(np.searchsorted(ends, tick, side="right")) - 1
        window = np.zeros((3 * TICKS, whole.shape[1]), np.uint16)
        low, high = max(tick - TICKS, ends[part]), min(tick + 2 * TICKS, ends[part + 1])
        window[low - tick + TICKS : high - tick + TICKS] = whole[low:high]
        made.append((1000 + STEP * (tick + 7 * part), tick, found, window))
    return made


def check(folder: Path, parts) -> None:
    found, wanted = read_selected(folder), expected(parts)
    assert found["timestamp"].tolist() == [w[0] for w in wanted]
    assert found["tick"].tolist() == [w[1] for w in wanted]
    np.testing.assert_array_equal(found["logits"], [w[2] for w in wanted])
    np.testing.assert_array_equal(found["samples"], [w[3] for w in wanted])


@pytest.fixture(scope="module")
def parts():
    return [samples(n, seed=n, pulses=n // 60) for n in (1500, 301, 1400)]


@pytest.mark.parametrize("size", [1, 16, 100, 5000])
def test_kept_windows_are_those_of_the_emulator(tmp_path, parts, size):
    done = run_stream(Blocks(parts, size=size), TRIGGER, tmp_path / "run", plane=3)
    check(tmp_path / "run", parts)
    wanted = expected(parts)
    assert len(wanted) > 5
    assert done.summary["kept"] == done.summary["windows"] == len(wanted)
    assert done.summary["ticks"] == sum(map(len, parts))
    assert done.summary["images"] * TICKS + done.summary["lost_ticks"] <= done.summary["ticks"]
    assert done.summary["faults"] == {"gap": 2}
    found = read_selected(tmp_path / "run")
    assert set(found["plane"].tolist()) == {3}
    places = [np.flatnonzero(w[3].any(axis=1)) for w in wanted]
    assert found["first"].tolist() == [p[0] for p in places]
    assert found["stop"].tolist() == [p[-1] + 1 for p in places]


def test_the_file_says_what_made_it(tmp_path, parts):
    import h5py

    run_stream(Blocks(parts), TRIGGER, tmp_path / "run")
    with h5py.File(tmp_path / "run" / "selected-0000.h5") as file:
        assert file.attrs["trigger"] == digest(TRIGGER)
        assert file.attrs["source"] == "blocks"
        assert json.loads(file.attrs["front"])["wires"] == 24
        assert "hairtrigger" in json.loads(file.attrs["versions"])


def test_missing_samples_are_counted(tmp_path, parts):
    source = Blocks(parts[:1])
    missing = np.zeros(parts[0].shape, bool)
    missing[:, 5] = True
    block = SourceBlock(1000, parts[0], missing)
    source.blocks = lambda skip: iter([block])
    done = run_stream(source, TRIGGER, tmp_path / "run")
    assert done.summary["missing_samples"] == len(parts[0])
    found = read_selected(tmp_path / "run")
    assert (found["missing"] == found["stop"] - found["first"]).all()
    assert len(found["missing"])


@pytest.mark.parametrize("at", [100, 1000, 1700, 1900])
def test_an_error_of_the_source_loses_nothing(tmp_path, parts, at):
    folder = tmp_path / "run"
    for fail_at in (at, at, at + 200):
        with pytest.raises(StorageError, match="cable"):
            run_stream(Blocks(parts, fail_at=fail_at), TRIGGER, folder)
    done = run_stream(Blocks(parts, size=64), TRIGGER, folder)
    check(folder, parts)
    assert done.summary["resumed"] == (at + 200 > 256)
    assert done.summary["ticks"] == sum(map(len, parts))
    assert done.summary["windows"] == len(expected(parts))
    assert done.summary["faults"] == {"gap": 2}
    again = run_stream(Blocks(parts), TRIGGER, folder)  # nothing is left to do
    assert again.summary["windows"] == done.summary["windows"]
    assert again.summary["session"]["images"] == 0
    check(folder, parts)


def test_full_logs_become_files(tmp_path, parts, monkeypatch):
    monkeypatch.setattr(Journal.__init__, "__defaults__", (2,))
    run_stream(Blocks(parts), TRIGGER, tmp_path / "run", checkpoint_s=0.0)
    assert len(list((tmp_path / "run").glob("selected-*.h5"))) > 2
    check(tmp_path / "run", parts)


CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_stream_run import STEP, TRIGGER, Blocks
import numpy as np
from hairtrigger.stream.run import run_stream

class Held(Blocks):
    def blocks(self, skip):
        for block in super().blocks(skip):
            if block.timestamp > self.origin + STEP * int(sys.argv[5]):
                print("held", flush=True)
                time.sleep(3600)  # however slow the machine is, it is killed in the middle
            yield block

parts = [np.load(p) for p in sorted(Path(sys.argv[2]).glob("part*.npy"))]
show = lambda figures: print(figures["windows"], flush=True)
run_stream(Held(parts, size=50, pause=0.002), TRIGGER, Path(sys.argv[3]), show=show,
           checkpoint_s=float(sys.argv[4]))
"""


@pytest.mark.parametrize("every", [0.02, 1000.0])
def test_kill_9_loses_nothing_of_a_file_and_doubles_nothing(tmp_path, every):
    long = [samples(n, seed=n, pulses=n // 60) for n in (9000, 8000)]
    for n, part in enumerate(long):
        np.save(tmp_path / f"part{n}.npy", part)
    folder = tmp_path / "run"
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(tmp_path)]
    for held in (4000, 8000):
        with subprocess.Popen(
            [*command, str(folder), str(every), str(held)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            while child.stdout.readline() != "held\n":
                pass
            time.sleep(0.1)  # in which what is queued may be decided, or not
            os.kill(child.pid, signal.SIGKILL)
            assert child.wait() == -signal.SIGKILL
        assert not list(folder.glob("selected-*.h5"))  # it was killed in the middle
        logged = sum(p.stat().st_size for p in folder.glob("windows-*.log"))
        assert logged
    with open(folder / "windows-0000.log", "ab") as log:
        log.write(b"half a window")  # as a kill within a write leaves it
    done = run_stream(Blocks(long), TRIGGER, folder)
    check(folder, long)
    assert done.summary["windows"] == done.summary["kept"] == len(expected(long))


def test_a_live_source_goes_on_where_it_is(tmp_path, parts):
    folder = tmp_path / "run"
    first = Blocks(parts, fail_at=1000)
    first.replayable = False
    with pytest.raises(StorageError):
        run_stream(first, TRIGGER, folder)
    second = Blocks([parts[2]])
    second.replayable, second.origin = False, 1_000_000
    done = run_stream(second, TRIGGER, folder)
    found = read_selected(folder)
    assert len(found["timestamp"]) == done.summary["windows"]
    assert {t >= 1_000_000 for t in found["timestamp"].tolist()} == {True, False}
    assert len(set(found["timestamp"].tolist())) == len(found["timestamp"])


def test_another_run_is_refused(tmp_path, parts):
    folder = tmp_path / "run"
    run_stream(Blocks(parts), TRIGGER, folder)
    with pytest.raises(StorageError, match="another trigger"):
        run_stream(Blocks(parts), small_trigger(cut=41), folder)
    with pytest.raises(StorageError, match="another plane"):
        run_stream(Blocks(parts), TRIGGER, folder, plane=1)
    other = Blocks(parts)
    other.name = "others"
    with pytest.raises(StorageError, match="another source"):
        run_stream(other, TRIGGER, folder)
    check(folder, parts)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("meow")
    with pytest.raises(StorageError, match=r"cat\.jpg"):
        run_stream(Blocks(parts), TRIGGER, tmp_path / "photos")


def test_a_source_that_changed_is_told(tmp_path, parts):
    folder = tmp_path / "run"
    with pytest.raises(StorageError, match="cable"):
        run_stream(Blocks(parts, fail_at=1000), TRIGGER, folder)
    other = Blocks(parts)
    other.origin = 5000
    with pytest.raises(StorageError, match="begins at timestamp 5000"):
        run_stream(other, TRIGGER, folder)
    run_stream(Blocks(parts), TRIGGER, folder)
    check(folder, parts)


def test_one_process_at_a_time(tmp_path):
    dtype = window_dtype(TRIGGER)
    journal = Journal(tmp_path / "run", {"a": 1}, {}, dtype)
    with pytest.raises(StorageError, match="in use"):
        Journal(tmp_path / "run", {"a": 1}, {}, dtype)
    journal.close()
    Journal(tmp_path / "run", {"a": 1}, {}, dtype).close()


def windows(count):
    made = np.zeros(count, window_dtype(TRIGGER))
    made["timestamp"] = np.arange(count)
    made["samples"] = np.arange(count)[:, None, None]
    return [made[n : n + 1] for n in range(count)]


def test_a_damaged_log_is_told(tmp_path):
    journal = Journal(tmp_path / "run", {"a": 1}, {}, window_dtype(TRIGGER))
    assert journal.append(windows(4)) == 4
    assert journal.append(windows(5)) == 1
    journal.close()
    log = tmp_path / "run" / "windows-0000.log"
    data = bytearray(log.read_bytes())
    for place, whole in ((len(data) - 3, True), (len(data) // 2, False)):
        data[place] ^= 1
        log.write_bytes(data)
        if whole:  # the last one: as a power cut leaves it
            journal = Journal(tmp_path / "run", {"a": 1}, {}, window_dtype(TRIGGER))
            assert journal.count == 4
            assert journal.torn == len(data) // 5
            journal.close()
            data = bytearray(log.read_bytes())
        else:
            with pytest.raises(StorageError, match=r"record 2 of .* is damaged"):
                Journal(tmp_path / "run", {"a": 1}, {}, window_dtype(TRIGGER))
    (tmp_path / "run" / "position.npz").write_bytes(b"no zip")
    (tmp_path / "run" / "windows-0000.log").unlink()
    journal = Journal(tmp_path / "run", {"a": 1}, {}, window_dtype(TRIGGER))
    with pytest.raises(StorageError, match=r"position\.npz is damaged"):
        journal.position()
    journal.close()


FULL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_stream_run import Blocks, TRIGGER, samples
from hairtrigger.errors import StorageError
from hairtrigger.stream.run import run_stream
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    run_stream(Blocks([samples(9000, seed=3, pulses=150)]), TRIGGER, Path(sys.argv[2]))
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize("most", [2000, 17_000, 100_000])
def test_a_full_disk_is_told_and_loses_nothing(tmp_path, most):
    command = [sys.executable, "-c", FULL, str(Path(__file__).parent), str(tmp_path / "run")]
    env = {**os.environ, "HAIRTRIGGER_CACHE": os.environ["HAIRTRIGGER_CACHE"]}
    small_trigger()  # what is compiled is in the cache already, or is larger than the limit
    run_stream(Blocks([samples(300)]), TRIGGER, tmp_path / "warm")
    done = subprocess.run(
        [*command, str(most)], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be written" in done.stdout
    assert "same command again" in done.stdout
    whole = [samples(9000, seed=3, pulses=150)]
    run_stream(Blocks(whole), TRIGGER, tmp_path / "run")
    check(tmp_path / "run", whole)


def test_figures_in_words_and_as_json(tmp_path, parts):
    seen = []
    done = run_stream(Blocks(parts), TRIGGER, tmp_path / "run", show=seen.append)
    assert seen[-1] == done.summary
    words = dict(rows(done.summary))
    assert words["kept"].startswith(f"{done.summary['kept']:,} (")
    assert words["faults"] == "2 gap"
    assert f"{done.summary['kept']:,} kept" in line(done.summary)
    write_summary(tmp_path / "summary.json", done.summary)
    assert json.loads((tmp_path / "summary.json").read_text()) == done.summary
    with pytest.raises(StorageError, match="cannot be written"):
        write_summary(tmp_path / "none" / "summary.json", done.summary)
    latency = done.summary["session"]["latency_s"]
    for low, high in pairwise(latency.values()):
        assert 0 < low <= high


def test_the_view_on_a_terminal_and_in_a_log(tmp_path, parts, monkeypatch):
    from rich.console import Console

    seen = []
    run_stream(Blocks(parts), TRIGGER, tmp_path / "run", show=seen.append)
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    console.print(table(seen[-1]))
    assert f"{seen[-1]['images']:,}" in console.file.getvalue()
    log = io.StringIO()
    monkeypatch.setattr(view, "LINE_EVERY_S", 0.0)
    with shown(log) as show:
        for figures in seen:
            show(figures)
    assert len(log.getvalue().splitlines()) == len(seen)
    assert f"{seen[-1]['kept']:,} kept" in log.getvalue()


def test_an_interruption_is_gone_on_with(tmp_path, parts):
    folder = tmp_path / "run"

    def stop(figures):
        if figures["ticks"] > 900:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stream(Blocks(parts, size=10, pause=0.005), TRIGGER, folder, show=stop)
    done = run_stream(Blocks(parts), TRIGGER, folder)
    assert done.summary["resumed"]
    assert done.summary["session"]["images"] < done.summary["images"]
    check(folder, parts)


def test_an_end_after_seconds_is_gone_on_with(tmp_path, parts):
    folder = tmp_path / "run"
    done = run_stream(Blocks(parts, size=10, pause=0.005), TRIGGER, folder, seconds=0.3)
    assert done.summary["ticks"] < sum(map(len, parts))
    run_stream(Blocks(parts), TRIGGER, folder)
    check(folder, parts)


@pytest.mark.parametrize("ticks", [0, 5, 100, 260])
def test_short_streams(tmp_path, ticks):
    part = samples(300)[:ticks]
    done = run_stream(Blocks([part]), TRIGGER, tmp_path / "run")
    assert done.summary["images"] == ticks // TICKS
    assert len(read_selected(tmp_path / "run")["tick"]) == done.summary["kept"]


def test_a_block_of_another_plane_is_refused(tmp_path, parts):
    bad = np.zeros((50, 25), np.uint16)
    with pytest.raises(InputError, match="25"):
        run_stream(Blocks([parts[0], bad]), TRIGGER, tmp_path / "run")
    run_stream(Blocks(parts), TRIGGER, tmp_path / "run")
    check(tmp_path / "run", parts)
    with pytest.raises(InputError, match="queue"):
        run_stream(Blocks(parts), TRIGGER, tmp_path / "other", depth=0)
