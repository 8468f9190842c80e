"""Sources of streams, the reader's queue, the command, many planes."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from hairtrigger.cli import app
from hairtrigger.detectors.lartpc_config import TICKS
from hairtrigger.detectors.lartpc_stream import stream
from hairtrigger.detectors.wib import COLLECTION, WIB1, WIBETH, Link, encode_wib1, encode_wibeth
from hairtrigger.detectors.wib_channels import with_induction
from hairtrigger.errors import InputError, StorageError
from hairtrigger.stream.block import NO_EVENTS, SourceBlock
from hairtrigger.stream.figures import Counts, Injected, Latencies
from hairtrigger.stream.reader import Reader
from hairtrigger.stream.run import run_stream
from hairtrigger.stream.selected import read_selected
from hairtrigger.stream.simulated import SimulatedSource, read_options
from hairtrigger.stream.source import open_source
from hairtrigger.studies.supernova_front import FrontConfig
from stream_cases import FRONT, ROWS, samples, small_trigger

HALF_BOARD = FrontConfig(wires=24, board=24, block=(4, 4), threshold=15)
"""Collection wires of one WIBEth frame."""


def joined(source, skip=0):
    with contextlib.closing(source):
        blocks = list(source.blocks(skip))
    return blocks[0].timestamp, np.concatenate([block.samples for block in blocks])


@pytest.fixture
def wire_samples():
    return samples(64 * 50)


def frames(wires):
    """WIBEth frames of one link whose collection wires these are."""
    rng = np.random.default_rng(3)
    whole = rng.integers(0, 1 << 14, (len(wires), 64)).astype(np.uint16)
    whole[:, COLLECTION["WIBEth"]] = wires
    return encode_wibeth(whole, first_timestamp=4096, links=(Link(3, 1, 0, 0),))


def test_frames_arrays_and_folders(tmp_path, wire_samples):
    np.save(tmp_path / "run.npy", wire_samples)
    frames(wire_samples).tofile(tmp_path / "run.bin")
    (tmp_path / "folder").mkdir()
    half = len(wire_samples) // 2
    for n, part in enumerate(np.split(frames(wire_samples), [half // 64])):
        part.tofile(tmp_path / "folder" / f"{n}.bin")
    for name, origin in (("run.npy", 0), ("run.bin", 4096), ("folder", 4096)):
        for skip in (0, 1, 700, len(wire_samples) - 1):
            source = open_source(str(tmp_path / name), HALF_BOARD)
            assert source.replayable
            assert source.counts_per_tick == 32
            first, found = joined(source, skip)
            assert first == origin + 32 * skip
            np.testing.assert_array_equal(found, wire_samples[skip:])
            assert source.origin == origin
        source = open_source(str(tmp_path / name), HALF_BOARD)
        with pytest.raises(StorageError, match="ends 10 ticks before"):
            joined(source, len(wire_samples) + 10)


def test_wib1_has_its_own_ticks(tmp_path):
    front = FrontConfig.of(12, wires=96)
    wires = samples(300, wires=96) // 4
    whole = with_induction(WIB1, wires, 2000)
    encode_wib1(whole, first_timestamp=50).tofile(tmp_path / "run.bin")
    source = open_source(str(tmp_path / "run.bin"), front)
    assert source.tick_s == pytest.approx(500e-9)
    first, found = joined(source)
    assert first == 50
    np.testing.assert_array_equal(found, wires)
    with pytest.raises(InputError, match="12 bits, the trigger reads 14"):
        open_source(str(tmp_path / "run.bin"), FrontConfig(wires=96))
    with pytest.raises(InputError, match=r"256 channels .*96 of them collection.*480 wires"):
        open_source(str(tmp_path / "run.bin"), FrontConfig.of(12))


def test_a_truncated_file_ends_early_and_says_so(tmp_path, wire_samples):
    data = frames(wire_samples).tobytes()
    (tmp_path / "run.bin").write_bytes(data[: len(data) * 2 // 3 + 11])
    trigger = small_trigger(HALF_BOARD)
    done = run_stream(str(tmp_path / "run.bin"), trigger, tmp_path / "run")
    assert done.summary["faults"]["truncated"] == 1
    assert done.summary["ticks"] == len(data) * 2 // 3 // WIBETH.frame_bytes * 64
    assert done.summary["images"] == done.summary["ticks"] // trigger.ticks
    (tmp_path / "none.bin").write_bytes(b"")
    with pytest.raises(StorageError, match="empty"):
        run_stream(str(tmp_path / "none.bin"), trigger, tmp_path / "other")
    (tmp_path / "text.bin").write_bytes(b"what is this\n" * 99)
    with pytest.raises(InputError, match="text"):
        run_stream(str(tmp_path / "text.bin"), trigger, tmp_path / "other")


@contextlib.contextmanager
def sender(family, address, data, until=None):
    """A server that sends data to whoever connects, and closes; after ``until``, if given."""
    server = socket.socket(family, socket.SOCK_STREAM)
    server.bind(address)
    server.listen(1)

    def send():
        with server, server.accept()[0] as peer:
            peer.sendall(data)
            if until is not None:
                until.wait(20)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield server.getsockname()
    finally:
        thread.join(timeout=10)


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_sockets(tmp_path, wire_samples, family):
    trigger = small_trigger(HALF_BOARD)
    data = frames(wire_samples).tobytes()
    kind = socket.AF_INET if family == "tcp" else socket.AF_UNIX
    address = ("127.0.0.1", 0) if family == "tcp" else str(tmp_path / "s")
    with sender(kind, address, data) as bound:
        name = f"tcp://127.0.0.1:{bound[1]}" if family == "tcp" else f"unix:{address}"
        done = run_stream(name, trigger, tmp_path / "live")
    (tmp_path / "run.bin").write_bytes(data)
    same = run_stream(str(tmp_path / "run.bin"), trigger, tmp_path / "file")
    assert done.summary["ticks"] == same.summary["ticks"] == len(wire_samples)
    assert done.summary["kept"] > 0
    live, file = read_selected(tmp_path / "live"), read_selected(tmp_path / "file")
    for field in live:
        np.testing.assert_array_equal(live[field], file[field])


def test_a_silent_socket_can_be_left(tmp_path):
    trigger = small_trigger(HALF_BOARD)
    data = frames(samples(64 * 150)).tobytes()  # enough to learn the links
    end = threading.Event()
    with sender(socket.AF_UNIX, str(tmp_path / "s"), data, end):
        start = time.perf_counter()
        done = run_stream(f"unix:{tmp_path / 's'}", trigger, tmp_path / "run", seconds=0.5)
        assert 0.5 <= time.perf_counter() - start < 8
        end.set()
    assert 0 < done.summary["ticks"] < 64 * 150


@pytest.mark.parametrize(
    "address",
    ["tcp://127.0.0.1:1", "unix:/tmp/there is nobody", "tcp://nobody", "tcp://h:99999999"],
)
def test_nobody_there(address):
    with pytest.raises((StorageError, InputError), match=r"reached|no address"):
        open_source(address, FRONT)


# --- simulation ---------------------------------------------------------------------------------


def simulated(text):
    return SimulatedSource(read_options(text), FrontConfig())


def test_the_simulated_stream_is_that_of_the_detector():
    text = "simulate:images=80,seed=4,rate=2000,block=700"
    parts = list(
        stream(80 * TICKS, seed=4, config=simulated(text)._config, rates={"nue_cc": 2000.0})
    )
    whole = np.concatenate([part.counts for part in parts])
    for skip in (0, 1000):
        blocks = list(simulated(text).blocks(skip))
        found = np.concatenate([block.samples for block in blocks])
        np.testing.assert_array_equal(found, whole[skip:])
        assert blocks[0].timestamp == 32 * skip
        events = np.concatenate([block.events for block in blocks])
        truth = np.concatenate([part.truth for part in parts])
        np.testing.assert_array_equal(events, truth[truth["tick"] >= skip])
    assert len(events)


def test_a_loop_repeats():
    source = simulated("simulate:images=100,loop=32,rate=4000,block=500")
    blocks = list(source.blocks(0))
    whole = np.concatenate([block.samples for block in blocks])
    assert len(whole) == 100 * TICKS
    np.testing.assert_array_equal(whole[: 68 * TICKS], whole[32 * TICKS :])
    events = np.concatenate([block.events for block in blocks])
    assert (np.diff(np.sort(events["tick"])) > 0).any()
    assert events["last_tick"].max() > 64 * TICKS
    later = np.concatenate([block.samples for block in source.blocks(3333)])
    np.testing.assert_array_equal(later, whole[3333:])


def test_planes_differ():
    options = read_options("simulate:images=2")
    a, b = (SimulatedSource(options, FrontConfig(), plane) for plane in (0, 1))
    assert (joined(a)[1] != joined(b)[1]).mean() > 0.9


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("simulate:image=3", "no option"),
        ("simulate:images", "no option"),
        ("simulate:images=many", "no int"),
        ("simulate:rate=-1", "rate = -1.0"),
        ("simulate:pace=nan", "pace = nan"),
        ("simulate:block=0", "block = 0"),
        ("simulate:kind=cat", "cat"),
        ("simulate:kind=noise", "noise"),
    ],
)
def test_wrong_simulations(text, match):
    with pytest.raises(InputError, match=match):
        open_source(text, FrontConfig())


def test_a_pace_is_kept():
    source = simulated("simulate:images=64,rate=0,loop=32,pace=0.05,block=1024")
    assert source.live
    start = time.perf_counter()
    for n, block in enumerate(source.blocks(0)):
        due = (n + 1) * 1024 * 512e-9 / 0.05
        assert time.perf_counter() - start >= due
        assert len(block.samples) == 1024


# --- reader -------------------------------------------------------------------------------------


class Counted:
    """Blocks of one tick with their number; remembers how many were asked for."""

    name, counts_per_tick, tick_s, replayable, live, origin = "n", 1, 1e-6, True, False, 0

    def __init__(self, count, error=None):
        self.count, self.error, self.given = count, error, 0

    def blocks(self, skip):
        for n in range(skip, self.count):
            self.given += 1
            yield SourceBlock(n, np.full((1, 24), n, np.uint16))
        if self.error is not None:
            raise self.error

    def faults(self):
        return {}

    def stop(self): ...

    def close(self): ...


def test_a_full_queue_makes_the_source_wait():
    source = Counted(200)
    with Reader(source, depth=4) as reader:
        time.sleep(0.3)
        assert source.given <= 6
        assert reader.filled == 4
        found = [item.block.timestamp for item in reader if item is not None]
    assert found == list(range(200))
    assert reader.dropped_blocks == 0
    assert reader.waited_s > 0.2


def test_a_lossy_reader_drops_whole_blocks_and_counts_them():
    source = Counted(200)
    with Reader(source, depth=4, lossy=True) as reader:
        time.sleep(0.3)
        found = [item.block.timestamp for item in reader if item is not None]
    assert source.given == 200
    assert found == [0, 1, 2, 3]
    assert reader.dropped_blocks == reader.dropped_ticks == 196


def test_an_error_comes_behind_what_came_before():
    found = []

    def read():
        for item in reader:
            found.extend([] if item is None else [item])

    with (
        Reader(Counted(3, StorageError("gone", "")), depth=1) as reader,
        pytest.raises(StorageError, match="gone"),
    ):
        read()
    assert len(found) == 3


def test_drops_are_in_the_summary(tmp_path):
    text = "simulate:images=400,loop=64,rate=1000,pace=100000,block=256"
    done = run_stream(text, small_trigger(HALF_BOARD), tmp_path / "run", depth=1, lossy=True)
    summary = done.summary
    assert summary["dropped_blocks"] > 0
    assert summary["dropped_ticks"] == 256 * summary["dropped_blocks"]
    assert summary["ticks"] + summary["dropped_ticks"] == 400 * TICKS
    assert summary["images"] * 4 * ROWS + summary["lost_ticks"] <= summary["ticks"]


# --- figures ------------------------------------------------------------------------------------


def events_of(*ranges):
    made = np.zeros(len(ranges), NO_EVENTS.dtype)
    made["kind"], made["visible_mev"] = 1, 20
    for n, (first, last) in enumerate(ranges):
        made["first_tick"][n], made["tick"][n], made["last_tick"][n] = first, first, last
    return made


def test_events_are_found_where_an_image_they_reach_is_kept():
    injected = Injected(64)
    events = events_of((0, 10), (63, 64), (130, 191), (192, 400))
    done, found = injected.feed(events, np.array([64]), 128)
    assert done["first_tick"].tolist() == [0, 63]
    assert found.tolist() == [False, True]
    done, found = injected.feed(events[:0], np.array([192], dtype=np.int64), 256)
    assert done["first_tick"].tolist() == [130]
    assert found.tolist() == [False]
    done, found = injected.feed(events[:0], np.zeros(0, np.int64), 448)
    assert found.tolist() == [True]
    assert not len(injected.waiting)
    counts = Counts()
    counts.add_events(events, np.array([False, True, False, True]))
    shares = counts.efficiencies()
    assert shares["nue_cc"]["value"] == shares["visible"]["value"] == 0.5
    assert shares["visible"]["low"] < 0.5 < shares["visible"]["high"]


def test_quantiles_of_latencies():
    rng = np.random.default_rng(1)
    times = rng.lognormal(-8, 1, 20_000)
    latencies = Latencies()
    assert set(latencies.quantiles().values()) == {None}
    for seconds in times:
        latencies.add(seconds, 1)
    for (name, found), share in zip(latencies.quantiles().items(), (0.5, 0.99, 0.999), strict=True):
        assert found == pytest.approx(np.quantile(times, share), rel=0.021), name
    latencies.add(1e9, 1)
    latencies.add(0.0, 1)
    assert latencies.most == 1e9


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def trigger_folder(tmp_path):
    folder = tmp_path / "trigger"
    folder.mkdir()
    small_trigger(HALF_BOARD).save(folder)
    return folder


def test_the_command(tmp_path, trigger_folder):
    out, summary = tmp_path / "out", tmp_path / "summary.json"
    words = [
        *("stream", "simulate:images=64,rate=3000", "--trigger", str(trigger_folder)),
        *("--out", str(out), "--summary", str(summary)),
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    figures = json.loads(summary.read_text())
    assert figures["images"] == 64 * 4
    assert f"{figures['kept']:,}" in done.output
    assert len(read_selected(out)["tick"]) == figures["windows"]
    again = CliRunner().invoke(app, [*words, "--plane", "1"])
    assert again.exit_code == 1
    assert "another plane" in again.output


@pytest.mark.parametrize(
    ("words", "code", "match"),
    [
        (["simulate:cats=3"], 2, "no option"),
        (["/no/such/file"], 1, "file"),
        (["tcp://127.0.0.1:1"], 1, "cannot be reached"),
        (["run.npy", "--planes", "3"], 2, "{plane}"),
    ],
)
def test_errors_of_the_command(tmp_path, trigger_folder, words, code, match):
    base = ["--trigger", str(trigger_folder), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["stream", *words, *base])
    assert done.exit_code == code
    assert match in done.output
    assert "Traceback" not in done.output


def test_a_trigger_that_is_none(tmp_path):
    done = CliRunner().invoke(app, ["stream", "simulate:", "--trigger", str(tmp_path)])
    assert done.exit_code == 1
    assert "no supernova trigger" in done.output


def test_planes_side_by_side(tmp_path, trigger_folder):
    pytest.importorskip("dask")
    out, summary = tmp_path / "out", tmp_path / "summary.json"
    words = [
        *("stream", "simulate:images=32,rate=3000", "--trigger", str(trigger_folder)),
        *("--out", str(out), "--summary", str(summary), "--planes", "3", "--workers", "2"),
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    figures = json.loads(summary.read_text())
    assert figures["planes"] == 3
    assert figures["images"] == 3 * 32 * 4
    assert figures["kept"] == sum(one["kept"] for one in figures["each"])
    assert [one["plane"] for one in figures["each"]] == [0, 1, 2]
    for plane in range(3):
        alone = run_stream(
            "simulate:images=32,rate=3000",
            small_trigger(HALF_BOARD),
            tmp_path / f"alone{plane}",
            plane=plane,
        )
        assert alone.summary["kept"] == figures["each"][plane]["kept"]
        found = read_selected(out / f"plane-{plane:03d}")
        wanted = read_selected(tmp_path / f"alone{plane}")
        for field in found:
            np.testing.assert_array_equal(found[field], wanted[field])
    again = CliRunner().invoke(app, words)  # all is there already
    assert again.exit_code == 0
    assert json.loads(summary.read_text())["kept"] == figures["kept"]
