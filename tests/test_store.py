"""The store of events: whole or refused, resumable, and never half written."""

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.detectors import rpc, store
from hairtrigger.errors import InputError, StorageError

ARRAYS = {
    "waveform": store.ArraySpec((3, 5), "int16"),
    "charge": store.ArraySpec((), "float32"),
    "nothing": store.ArraySpec((2,), "uint8"),
}


def produce(start: int, stop: int) -> dict[str, np.ndarray]:
    """Events of some other detector; ``nothing`` is all zero, which Zarr does not write at all."""
    number = np.arange(start, stop)
    waveform = np.random.default_rng(start).integers(-9999, 9999, (stop - start, 3, 5), np.int16)
    return {
        "waveform": waveform,
        "charge": (number * 0.5).astype(np.float32),
        "nothing": np.zeros((stop - start, 2), np.uint8),
    }


def make(path: Path, events: int = 70, chunk: int = 20, **changes) -> store.EventStore:
    arguments = {"kind": "toy", "arrays": ARRAYS, "metadata": {"seed": 1, "gain": [0.1, 2.0]}}
    return store.create_or_resume(path, events=events, chunk=chunk, **(arguments | changes))


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        assert found[name].dtype == values.dtype
        assert np.array_equal(found[name], values), name


def expected(events: int = 70, chunk: int = 20) -> dict[str, np.ndarray]:
    parts = [produce(at, min(at + chunk, events)) for at in range(0, events, chunk)]
    return {name: np.concatenate([part[name] for part in parts]) for name in ARRAYS}


@pytest.fixture
def full(tmp_path) -> Path:
    store.fill(make(tmp_path / "events"), produce)
    return tmp_path / "events"


# Whole


@settings(max_examples=15, deadline=None)
@given(
    events=st.integers(0, 60),
    chunk=st.integers(1, 70),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_what_was_stored_is_read_in_any_range(tmp_path_factory, events, chunk, ends):
    path = tmp_path_factory.mktemp("store") / "deep" / "events"
    store.fill(make(path, events, chunk), produce)
    found = store.open_store(path)
    assert (len(found), found.kind, found.complete) == (events, "toy", True)
    assert found.metadata == {"seed": 1, "gain": [0.1, 2.0]}
    start, stop = sorted(round(end * events) for end in ends)
    empty = {name: np.empty((0, *spec.shape), spec.dtype) for name, spec in ARRAYS.items()}
    whole = expected(events, chunk) if events else empty
    assert_same(found.read(start, stop), {name: v[start:stop] for name, v in whole.items()})
    assert_same(found.read(), whole)


@pytest.mark.parametrize("span", [(-1, 5), (5, 3), (0, 71), (71, 71)])
def test_a_range_outside_the_store_is_refused(full, span):
    with pytest.raises(InputError, match="70 events"):
        store.open_store(full).read(*span)


def test_a_finished_store_makes_nothing_again(full):
    def never(start, stop):
        raise AssertionError("made again")

    calls = []
    store.fill(make(full), never, lambda done, events: calls.append((done, events)))
    assert calls == [(70, 70)]


def test_progress_counts_events(tmp_path):
    calls = []
    store.fill(make(tmp_path / "s"), produce, lambda done, events: calls.append((done, events)))
    assert calls == [(0, 70), (20, 70), (40, 70), (60, 70), (70, 70)]


@pytest.mark.parametrize(("events", "chunk"), [(-1, 10), (10, 0)])
def test_impossible_sizes_are_refused(tmp_path, events, chunk):
    with pytest.raises(InputError):
        make(tmp_path / "s", events, chunk)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        {"charge": np.zeros(19, np.float32)},
        {"charge": np.zeros(20, np.float64)},
        {"waveform": np.zeros((20, 5, 3), np.int16)},
        {"more": np.zeros(20)},
    ],
)
def test_other_arrays_than_the_store_has_are_refused(tmp_path, change):
    opened = make(tmp_path / "s")
    with pytest.raises(InputError, match="Way out"):
        opened.write_chunk(0, produce(0, 20) | change)
    assert not opened.finished


# Interrupted


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    path, made = tmp_path / "s", []

    def interrupted(start, stop):
        if start == 40:
            raise KeyboardInterrupt
        return produce(start, stop)

    def recorded(start, stop):
        made.append(start)
        return produce(start, stop)

    with pytest.raises(KeyboardInterrupt):
        store.fill(make(path), interrupted)
    with pytest.raises(StorageError, match="incomplete: 2 of 4 chunks"):
        store.open_store(path)
    partial = store.open_store(path, partial=True)
    assert_same(partial.read(0, 40), {name: v[:40] for name, v in expected().items()})
    with pytest.raises(StorageError, match="not finished"):
        partial.read(0, 41)
    store.fill(make(path), recorded)
    assert made == [40, 60]
    assert_same(store.open_store(path).read(), expected())


def test_a_killed_run_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "s"
    killed = (
        "import os, signal, sys\n"
        "from hairtrigger.detectors import rpc\n"
        "def progress(done, events):\n"
        "    if done >= 4096: os.kill(os.getpid(), signal.SIGKILL)\n"
        "rpc.simulate_to_store(sys.argv[1], 9000, seed=3, chunk=2048, progress=progress)\n"
    )
    done = subprocess.run([sys.executable, "-c", killed, str(path)], check=False, timeout=60)
    assert done.returncode < 0
    counts = []
    rpc.simulate_to_store(
        path, 9000, seed=3, chunk=2048, progress=lambda done, _: counts.append(done)
    )
    assert counts == [4096, 6144, 8192, 9000]
    found, wanted = rpc.read_events(path), rpc.simulate(9000, seed=3)
    assert np.array_equal(found.images, wanted.images)
    assert np.array_equal(found.truth, wanted.truth)


@pytest.mark.parametrize("tail", [b"", b"\0" * 999])
def test_a_torn_last_line_is_a_chunk_to_make_again(full, tail):
    finished = full / store.FINISHED
    finished.write_bytes(finished.read_bytes()[:-7] + tail)
    with pytest.raises(StorageError, match="incomplete: 3 of 4"):
        store.open_store(full)
    store.fill(make(full), produce)
    assert len(finished.read_text().splitlines()) == 4
    assert finished.read_text().endswith("\n")
    assert_same(store.open_store(full).read(), expected())


def test_data_without_its_line_are_written_again(full):
    finished = full / store.FINISHED
    first = finished.read_text().splitlines(keepends=True)[0]
    finished.write_text(first)
    chunk = full / "charge" / "c" / "2"
    chunk.write_bytes(chunk.read_bytes()[:9])
    store.fill(make(full), produce)
    assert_same(store.open_store(full).read(), expected())


# Damaged


@pytest.mark.parametrize("damage", ["truncate", "empty", "remove", "change", "swap"])
def test_damaged_data_are_never_returned(full, damage):
    chunk = full / "charge" / "c" / "1"
    if damage == "truncate":
        chunk.write_bytes(chunk.read_bytes()[:-5])
    elif damage == "empty":
        chunk.write_bytes(b"")
    elif damage == "remove":
        chunk.unlink()
    elif damage == "swap":
        chunk.write_bytes((full / "charge" / "c" / "0").read_bytes())
    else:
        import zarr

        zarr.open_array(full / "charge", mode="r+")[25] = 1e9
    opened = store.open_store(full)
    assert_same(opened.read(40, 70), {name: v[40:] for name, v in expected().items()})
    with pytest.raises(StorageError, match="make it again"):
        opened.read(0, 21)


def test_damaged_lines_are_refused(full):
    finished = full / store.FINISHED
    good = finished.read_text()
    for bad in ("rubbish\n", '{"chunk": 99, "sums": {}}\n', '{"chunk": 0}\n', "\x00\x00\n", "[]\n"):
        finished.write_text(good + bad)
        with pytest.raises(StorageError, match="line 5, is damaged"):
            store.open_store(full)
    finished.unlink()
    with pytest.raises(StorageError, match=store.FINISHED):
        store.open_store(full)


def test_a_damaged_description_is_refused(full):
    text = (full / "zarr.json").read_text()
    for bad in (text[: len(text) // 2], "", "{}", "[1]", text.replace('"chunk"', '"chunky"')):
        (full / "zarr.json").write_text(bad)
        with pytest.raises(StorageError, match="Way out"):
            store.open_store(full)
    (full / "zarr.json").write_text(text)
    (full / "charge" / "zarr.json").unlink()
    with pytest.raises(StorageError, match="Way out"):
        store.open_store(full)


# Foreign


def test_other_settings_are_refused_by_name(full):
    for change, difference in (
        ({"metadata": {"seed": 2, "gain": [0.1, 2.0]}}, "metadata.seed is 1 there, 2 here"),
        ({"metadata": {"seed": 1, "gain": [0.2, 2.0]}}, "metadata.gain"),
        ({"metadata": {"seed": 1}}, "metadata.gain"),
        ({"events": 71}, "events is 70 there, 71 here"),
        ({"chunk": 10}, "chunk is 20 there"),
        ({"kind": "other"}, "kind is 'toy' there"),
        ({"arrays": {"charge": ARRAYS["charge"]}}, "arrays.waveform"),
    ):
        with pytest.raises(StorageError, match=difference):
            make(full, **change)
    assert_same(store.open_store(full).read(), expected())


def test_another_format_version_is_refused(full):
    description = json.loads((full / "zarr.json").read_text())
    description["attributes"]["format_version"] = 99
    (full / "zarr.json").write_text(json.dumps(description))
    with pytest.raises(StorageError, match="format 99"):
        store.open_store(full)


@pytest.mark.parametrize("foreign", ["file", "folder", "array", "group"])
def test_what_is_no_store_is_refused_and_left_alone(tmp_path, foreign):
    import zarr

    path = tmp_path / "mine"
    if foreign == "file":
        path.write_text("precious")
    elif foreign == "folder":
        path.mkdir()
        (path / "thesis.tex").write_text("precious")
    elif foreign == "array":
        zarr.save_array(str(path), np.arange(5))
    else:
        zarr.create_group(path, attributes={"owner": "somebody"})
    before = sorted((p, p.read_bytes()) for p in tmp_path.rglob("*") if p.is_file())
    for attempt in (lambda: make(path), lambda: store.open_store(path)):
        with pytest.raises(StorageError, match="not a store"):
            attempt()
    assert sorted((p, p.read_bytes()) for p in tmp_path.rglob("*") if p.is_file()) == before


def test_a_missing_store_is_named(tmp_path):
    with pytest.raises(StorageError, match="does not exist"):
        store.open_store(tmp_path / "nowhere")


# No room, no right to write


def test_a_full_disk_keeps_what_is_finished(tmp_path):
    def large(start, stop):
        rng = np.random.default_rng(start)
        return {"noise": rng.integers(0, 256, (stop - start, 4096), np.uint8)}

    arrays = {"noise": store.ArraySpec((4096,), "uint8")}
    opened = make(tmp_path / "s", 40, 20, arrays=arrays)
    opened.write_chunk(0, large(0, 20))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))
    try:
        with pytest.raises(StorageError, match=r"chunk 1 cannot be written.*\n.*disk has room"):
            store.fill(opened, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not store.open_store(tmp_path / "s", partial=True).complete
    store.fill(make(tmp_path / "s", 40, 20, arrays=arrays), large)
    found = store.open_store(tmp_path / "s").read()["noise"]
    assert np.array_equal(found, np.concatenate([large(0, 20)["noise"], large(20, 40)["noise"]]))


def test_a_store_that_cannot_be_created_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="no store can be created"):
        make(tmp_path / "file" / "s")
    (tmp_path / "file").unlink()

    def read_only(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(store.os, "replace", read_only)
    with pytest.raises(StorageError, match=r"Read-only file system.*\n.*may write"):
        make(tmp_path / "s")
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to a read-only folder")
def test_a_read_only_folder_is_named(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="may write"):
            make(tmp_path / "s")
    finally:
        tmp_path.chmod(0o700)


# RPC images in a store


def test_rpc_events_come_back_as_they_were_simulated(tmp_path):
    config = rpc.RpcConfig(rows=4, efficiency=0.9)
    opened = rpc.simulate_to_store(
        tmp_path / "s", 5000, seed=7, config=config, muons=2, with_signal=True, chunk=1500
    )
    wanted = rpc.simulate(5000, seed=7, config=config, muons=2, with_signal=True)
    for source in (opened, tmp_path / "s", str(tmp_path / "s")):
        found = rpc.read_events(source)
        assert np.array_equal(found.images, wanted.images)
        assert np.array_equal(found.signal, wanted.signal)
        assert np.array_equal(found.truth, wanted.truth)
        assert (found.config, found.seed) == (wanted.config, wanted.seed)
    part = rpc.read_events(opened, 1400, 1600)
    assert np.array_equal(part.images, wanted.images[1400:1600])
    assert part.truth.dtype == wanted.truth.dtype


def test_rpc_stores_refuse_other_simulations(tmp_path, full, monkeypatch):
    path = tmp_path / "rpc"
    rpc.simulate_to_store(path, 100, seed=1)
    for change, difference in (
        ({"seed": 2}, "metadata.seed"),
        ({"muons": 1}, "metadata.config.muon_weights"),
        ({"config": rpc.RpcConfig(efficiency=0.9)}, "metadata.config.efficiency"),
        ({"with_signal": True}, "arrays.signal"),
    ):
        with pytest.raises(StorageError, match=difference):
            rpc.simulate_to_store(path, 100, **({"seed": 1} | change))
    monkeypatch.setattr(rpc, "SIMULATION_VERSION", 10**6)
    with pytest.raises(StorageError, match="simulation_version"):
        rpc.simulate_to_store(path, 100, seed=1)
    with pytest.raises(StorageError, match="'toy'"):
        rpc.read_events(full)
    with pytest.raises(InputError):
        rpc.simulate_to_store(tmp_path / "new", 100, seed=1, chunk=0)
    assert not (tmp_path / "new").exists()
