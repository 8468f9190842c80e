"""Files of DUNE's front end: HDF5 records, arrays, folders, sockets, and what is none of these."""

import gzip
import io
import os
import socket
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.detectors import dune_hdf5
from hairtrigger.detectors.array_stream import ArrayStream
from hairtrigger.detectors.dune_files import open_stream
from hairtrigger.detectors.dune_hdf5 import RecordStream, read_records
from hairtrigger.detectors.dune_hdf5_write import write_records
from hairtrigger.detectors.wib import WIB1, WIBETH, Link, encode_wib1, encode_wibeth
from hairtrigger.detectors.wib_faults import Faults
from hairtrigger.detectors.wib_stream import FrameStream
from hairtrigger.errors import HairtriggerError, InputError, StorageError, ToolError

DATA = Path(os.environ.get("HAIRTRIGGER_DATA", Path(__file__).parents[1] / "../shared/data"))

LINKS = {
    "WIB1": (Link(0, 4, 4, 1), Link(0, 4, 4, 2)),
    "WIBEth": (Link(3, 1, 0, 0), Link(3, 1, 0, 1)),
}
ENCODE = {"WIB1": encode_wib1, "WIBEth": encode_wibeth}
FIRST = 1_000_000_000
both = pytest.mark.parametrize("format", [WIB1, WIBETH], ids=lambda format: format.name)


def truth_of(format, frames=20, seed=1, first=FIRST):
    """Samples, and frames (frames, links, bytes)."""
    links = LINKS[format.name]
    shape = (frames * format.ticks, len(links) * format.channels)
    samples = np.random.default_rng(seed).integers(0, 1 << format.bits, shape, np.uint16)
    made = ENCODE[format.name](samples, first_timestamp=first, links=links)
    return samples, made.reshape(frames, len(links), -1)


def joined(blocks):
    blocks = list(blocks)
    assert all(block.missing is None for block in blocks)
    return np.concatenate([block.samples for block in blocks])


def png():
    return b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


# --- HDF5


@both
@pytest.mark.parametrize(
    ("layout", "kind"), [(2, "TriggerRecord"), (5, "TriggerRecord"), (3, "TimeSlice")]
)
def test_records(tmp_path, format, layout, kind):
    path = tmp_path / "run.hdf5"
    wholes = [truth_of(format, 12 + n, seed=n, first=FIRST + 10**8 * n) for n in range(3)]
    records = [[frames[:, n] for n in range(2)] for _, frames in wholes]
    write_records(path, records, format, layout=layout, kind=kind, run=42)
    found = read_records(path)
    assert [record.number for record in found] == [1, 2, 3]
    assert {(record.kind, record.run, record.others) for record in found} == {(kind, 42, 0)}
    stamp = FIRST if kind == "TriggerRecord" else None
    assert found[0].trigger_timestamp == stamp
    for n, record in enumerate(found):
        assert [f.links for f in record.fragments] == [(link,) for link in LINKS[format.name]]
        assert {f.format for f in record.fragments} == {format}
        begin = FIRST + 10**8 * n
        end = begin + (12 + n) * format.counts
        assert {(f.window_begin, f.window_end) for f in record.fragments} == {(begin, end)}
    with open_stream(path, block_ticks=50) as stream:
        assert isinstance(stream, RecordStream)
        assert stream.links == LINKS[format.name]
        assert (stream.channels, stream.bits) == (2 * format.channels, format.bits)
        assert stream.counts_per_tick == format.step
        blocks = list(stream)
    for n, (samples, _) in enumerate(wholes):
        own = [block for block in blocks if block.record == found[n].name]
        assert own[0].first_timestamp == FIRST + 10**8 * n
        assert np.array_equal(joined(own), samples)
    assert not stream.faults


def test_paths_of_both_generations(tmp_path):
    _, frames = truth_of(WIBETH)
    for layout, path in (
        (5, "TriggerRecord000001.0000/RawData/Detector_Readout_0x00000001_WIBEth"),
        (2, "TriggerRecord000001.0000/TPC/APA001/Link01"),
    ):
        name = tmp_path / f"{layout}.hdf5"
        write_records(name, [[frames[:, 0], frames[:, 1]]], WIBETH, layout=layout)
        with h5py.File(name) as file:
            size = {2: 80, 5: 72}[layout]
            assert file[path].shape == (size + 20 * 7200, 1)
            assert file[path].dtype == np.int8
            assert file.attrs["filelayout_version"] == layout
            data = file[path][()].tobytes()
            assert data[:4] == b"\x22\x22\x11\x11"
            assert data[size:] == frames[:, 1].tobytes()


def test_headers_of_other_versions(tmp_path):
    """Versions 1 (68 bytes, unnumbered sequence), 4 and 6 of the fragment header are read too."""
    samples, frames = truth_of(WIB1)
    own = frames[:, 0].tobytes()
    path = tmp_path / "run.hdf5"
    write_records(path, [[frames[:, 0]]], WIB1)
    for version, size in ((1, 68), (2, 80), (4, 72), (6, 72)):
        header = bytearray(size)
        header[0:8] = (0x11112222).to_bytes(4, "little") + version.to_bytes(4, "little")
        header[8:16] = (size + len(own)).to_bytes(8, "little")
        with h5py.File(path, "w") as file:
            data = np.frombuffer(bytes(header) + own, np.uint8)
            file.create_dataset("TriggerRecord000007/TPC/APA001/Link00", data=data)
        with open_stream(path) as stream:
            assert np.array_equal(joined(stream), samples[:, :256])
            assert stream.records[0].number == 7


def damage(path, what):
    name = "TriggerRecord000001.0000/RawData/Detector_Readout_0x00000001_WIBEth"
    with h5py.File(path, "r+") as file:
        data = file[name][()][:, 0]
        del file[name]
        file.create_dataset(name, data=what(data.copy()))


def with_value(data, at, value):
    data[at] = value
    return data[:, None]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lambda data: data[:-100, None], "its header says"),
        (lambda data: data[:40, None], "bytes hold no header"),
        (lambda data: data[:0, None], "marker"),
        (lambda data: with_value(data, 0, 0), "marker"),
        (lambda data: with_value(data, 4, 99), "version 99"),
        (lambda data: data.astype(np.float64), "float64, no bytes"),
        (lambda data: data[: len(data) // 2 * 2].reshape(-1, 2), "shape"),
        (lambda data: with_value(data, slice(72, None), 0), "no frames"),
    ],
)
def test_damaged_fragments_are_left_out(tmp_path, what, said):
    samples, frames = truth_of(WIBETH)
    path = tmp_path / "run.hdf5"
    write_records(path, [[frames[:, 0], frames[:, 1]]], WIBETH)
    damage(path, what)
    faults = Faults()
    read_records(path, faults)
    assert faults.counts == {"fragment": 1}
    with open_stream(path) as stream:
        assert np.array_equal(joined(stream), samples[:, :64])
    assert said in stream.faults.in_words()


def test_fragments_that_say_they_are_incomplete(tmp_path):
    samples, frames = truth_of(WIBETH)
    path = tmp_path / "run.hdf5"
    write_records(path, [[frames[:, 0], frames[:, 1]]], WIBETH)
    damage(path, lambda data: with_value(data, 52, 2))
    with open_stream(path) as stream:
        assert np.array_equal(joined(stream), samples)
        assert stream.faults.counts == {"incomplete": 1}


def test_frames_in_a_fragment_are_checked_too(tmp_path):
    samples, frames = truth_of(WIBETH)
    broken = frames.copy()
    broken[5, 1, 0] ^= 1
    path = tmp_path / "run.hdf5"
    write_records(path, [[broken[:, 0], broken[:, 1]]], WIBETH)
    with open_stream(path, fill=0) as stream:
        blocks = list(stream)
        found = np.concatenate([block.samples for block in blocks])
        missing = np.concatenate([block.missing for block in blocks])
    assert np.array_equal(found[~missing], samples[~missing])
    assert missing.sum() == 64 * 64
    assert stream.faults["corrupt"] == 1


def test_a_fragment_that_cannot_be_read_to_its_end(tmp_path, monkeypatch):
    samples, frames = truth_of(WIBETH)
    path = tmp_path / "run.hdf5"
    write_records(path, [[frames[:, 0], frames[:, 1]]], WIBETH)
    whole = dune_hdf5.read_bytes

    def broken(dataset, start, stop):
        if dataset.name.endswith("1_WIBEth") and start > 72:
            raise OSError("bad block")
        return whole(dataset, start, stop)

    monkeypatch.setattr(dune_hdf5, "read_bytes", broken)
    with open_stream(path, chunk_bytes=20 * 7200) as stream:
        blocks = list(stream)
    assert np.array_equal(np.concatenate([b.samples[:, :64] for b in blocks]), samples[:, :64])
    assert "bad block" in stream.faults.in_words()


def test_without_h5py(tmp_path, monkeypatch):
    _, frames = truth_of(WIBETH)
    path = tmp_path / "run.hdf5"
    write_records(path, [[frames[:, 0]]], WIBETH)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ToolError, match="h5py cannot be imported"):
        open_stream(path)


def test_links_of_all_records_are_channels(tmp_path):
    """A record without one of the links has it missing."""
    samples, frames = truth_of(WIBETH)
    path = tmp_path / "run.hdf5"
    write_records(path, [[frames[:, 1]], [frames[:, 0], frames[:, 1]]], WIBETH)
    with open_stream(path) as stream:
        blocks = list(stream)
    first = [b for b in blocks if b.record.startswith("TriggerRecord000001")]
    assert all(b.missing[:, :64].all() and not b.missing[:, 64:].any() for b in first)
    second = [b for b in blocks if b.record.startswith("TriggerRecord000002")]
    assert np.array_equal(joined(second), samples)


def test_other_fragments_are_not_read(tmp_path):
    samples, frames = truth_of(WIBETH)
    path = tmp_path / "run.hdf5"
    write_records(path, [[frames[:, 0], frames[:, 1]]], WIBETH)
    with h5py.File(path, "r+") as file:
        header = bytearray(72)
        header[:8] = b"\x22\x22\x11\x11" + (5).to_bytes(4, "little")
        header[8:16] = (72 + 999).to_bytes(8, "little")
        header[56] = 6
        name = "TriggerRecord000001.0000/RawData/Trigger_0x00000000_Trigger_Primitive"
        data = np.frombuffer(bytes(header) + bytes(999), np.int8)[:, None]
        file.create_dataset(name, data=data)
    with open_stream(path) as stream:
        assert [record.others for record in stream.records] == [1]
        assert np.array_equal(joined(stream), samples)
        assert not stream.faults


def test_hdf5_that_is_something_else(tmp_path):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file["layer/kernel"] = np.zeros((3, 3))
    with pytest.raises(InputError, match="no TriggerRecord or TimeSlice, only layer"):
        open_stream(path)
    with h5py.File(path, "w") as file:
        file["TriggerRecord00001.0000"] = np.zeros(3)
        file.create_group("TriggerRecord00002.0000")
    with pytest.raises(InputError, match="holds no frames"):
        open_stream(path)
    faults = Faults()
    assert len(read_records(path, faults)) == 1
    assert faults["fragment"] == 1


def test_records_of_both_formats(tmp_path):
    path = tmp_path / "run.hdf5"
    _, one = truth_of(WIB1)
    _, other = truth_of(WIBETH)
    write_records(path, [[one[:, 0]]], WIB1)
    write_records(tmp_path / "other.hdf5", [[other[:, 0]]], WIBETH)
    with h5py.File(path, "r+") as file, h5py.File(tmp_path / "other.hdf5") as second:
        second.copy("TriggerRecord000001.0000", file, name="TriggerRecord000002.0000")
    with pytest.raises(InputError, match="WIB1 and WIBEth frames"):
        open_stream(path)
    with pytest.raises(InputError, match="no WIB1 frames"):
        write_records(tmp_path / "mixed.hdf5", [[one[:, 0], other[:, 0]]], WIB1)


def test_hdf5_cut_short(tmp_path):
    _, frames = truth_of(WIBETH)
    path = tmp_path / "run.hdf5"
    write_records(path, [[frames[:, 0], frames[:, 1]]], WIBETH)
    data = path.read_bytes()
    cut = tmp_path / "cut.hdf5"
    for stop in [*range(8, 3000, 333), len(data) // 2, len(data) - 1]:
        cut.write_bytes(data[:stop])
        with pytest.raises(StorageError, match="damaged"):
            open_stream(cut)


def test_hdf5_from_a_file_object(tmp_path):
    samples, frames = truth_of(WIBETH)
    path = tmp_path / "run.hdf5"
    write_records(path, [[frames[:, 0], frames[:, 1]]], WIBETH)
    with open(path, "rb") as file, open_stream(file) as stream:
        assert np.array_equal(joined(stream), samples)
    with open_stream(io.BytesIO(path.read_bytes())) as stream:
        assert np.array_equal(joined(stream), samples)

    class Pipe(io.RawIOBase):
        def __init__(self, data):
            self.data = io.BytesIO(data)

        def read(self, size=-1):
            return self.data.read(size)

        def seek(self, *_):
            raise OSError("not seekable")

    with pytest.raises(InputError, match="without seek"):
        open_stream(Pipe(path.read_bytes()))


def test_records_that_are_not_written(tmp_path):
    _, frames = truth_of(WIBETH)
    own = [[frames[:, 0]]]
    for options in ({"layout": 1}, {"kind": "Event"}, {"layout": 2, "kind": "TimeSlice"}):
        with pytest.raises(InputError):
            write_records(tmp_path / "x.hdf5", own, WIBETH, **options)
    with pytest.raises(InputError, match="no frames"):
        write_records(tmp_path / "y.hdf5", [[frames[:0, 0]]], WIBETH)
    write_records(tmp_path / "z.hdf5", own, WIBETH)
    with pytest.raises(StorageError, match="cannot be written"):
        write_records(tmp_path / "z.hdf5", own, WIBETH)


# --- arrays


@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=3),
    st.sampled_from(["<u2", ">u2", "<i4", "u1", "<i8", "<u8"]),
    st.integers(1, 50),
)
@settings(max_examples=50)
def test_arrays(shape, dtype, block):
    values = np.random.default_rng(1).integers(0, 200, shape).astype(dtype)
    file = io.BytesIO()
    np.save(file, values)
    file.seek(0)
    stream = ArrayStream(file, "x.npy", block_ticks=block, first_timestamp=77, counts_per_tick=3)
    blocks = list(stream)
    flat = values.reshape(-1, shape[-1])
    assert np.array_equal(joined(blocks), flat)
    assert all(b.samples.dtype == np.uint16 for b in blocks)
    starts = [77 + 3 * block * n for n in range(len(blocks))]
    assert [b.first_timestamp for b in blocks] == starts
    assert stream.channels == shape[-1]


def test_arrays_by_content_not_by_name(tmp_path):
    values = np.arange(600, dtype=np.uint16).reshape(20, 30)
    path = tmp_path / "samples.bin"
    with open(path, "wb") as file:
        np.save(file, values)
    with open_stream(path, channels=[3, 1]) as stream:
        assert isinstance(stream, ArrayStream)
        assert np.array_equal(joined(stream), values[:, [3, 1]])
        assert not stream.faults
    with open(tmp_path / "samples.dat", "wb") as file:
        np.savez_compressed(file, samples=values, first_timestamp=99, counts_per_tick=25, x=values)
    with open_stream(tmp_path / "samples.dat") as stream:
        assert np.array_equal(joined(stream), values)
        assert (stream.first_timestamp, stream.counts_per_tick) == (99, 25)
    np.savez(tmp_path / "one.npz", any_name=values)
    with open(tmp_path / "one.npz", "rb") as file, open_stream(file) as stream:
        assert np.array_equal(joined(stream), values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full((4, 4), np.nan), "NaN"),
        (np.zeros((4, 4), np.float32), "whole numbers"),
        (np.zeros((4, 4), bool), "whole numbers"),
        (np.zeros(4, np.uint16), "shape"),
        (np.zeros((2, 2, 2, 2), np.uint16), "shape"),
        (np.zeros((4, 0), np.uint16), "shape"),
        (np.asfortranarray(np.zeros((4, 4), np.uint16)), "column by column"),
        (np.full((4, 4), -1), "is -1, not in 0 to 16383"),
        (np.full((4, 4), 1 << 14, np.uint16), "is 16384"),
        (np.array([[1, 2], [3, 1 << 40]]), "tick 1, channel 1"),
        (np.array([[1, 2], [3, None]]), "holds object"),
    ],
)
def test_arrays_that_are_no_samples(tmp_path, values, said):
    path = tmp_path / "x.npy"
    np.save(path, values, allow_pickle=True)
    with pytest.raises(HairtriggerError, match=said) as caught, open_stream(path) as stream:
        list(stream)
    assert caught.value.fix


def test_bits_of_an_array(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.full((4, 4), 65535, np.uint16))
    with open_stream(path, bits=16) as stream:
        assert joined(stream).max() == 65535
    for options in ({"bits": 17}, {"bits": 0}, {"block_ticks": 0}, {"channels": [4]}):
        with pytest.raises(InputError), open_stream(path, **options):
            pass


def test_arrays_cut_short(tmp_path):
    path = tmp_path / "x.npy"
    values = np.arange(600, dtype=np.uint16).reshape(20, 30)
    np.save(path, values)
    data = path.read_bytes()
    for stop in range(6, len(data), 11):
        path.write_bytes(data[:stop])
        if stop < 128:
            with pytest.raises(StorageError, match="truncated"):
                open_stream(path)
            continue
        with open_stream(path, block_ticks=7) as stream:
            blocks = list(stream)
        whole = (stop - 128) // 60
        if whole:
            assert np.array_equal(joined(blocks), values[:whole])
        assert stream.faults.counts == {"truncated": 1}


def test_archives_that_are_no_samples(tmp_path):
    path = tmp_path / "x.npz"
    values = np.zeros((3, 3), np.uint16)
    np.savez(path, a=values, b=values)
    with pytest.raises(InputError, match="the arrays a, b"):
        open_stream(path)
    np.savez(path, samples=values, first_timestamp=np.array([1, 2]))
    with pytest.raises(InputError, match="first_timestamp"):
        open_stream(path)
    np.savez(path, samples=np.full((3, 3), np.nan))
    with pytest.raises(InputError, match="NaN"):
        open_stream(path)
    np.savez(path, samples=values)
    data = path.read_bytes()
    for stop in range(4, len(data), 13):
        path.write_bytes(data[:stop])
        with pytest.raises(StorageError, match="damaged"):
            open_stream(path)


# --- frames in files, folders and sockets


@both
def test_frames_by_content_not_by_name(tmp_path, format):
    samples, frames = truth_of(format)
    path = tmp_path / "run.npy"
    path.write_bytes(frames.tobytes())
    with open_stream(path, block_ticks=100) as stream:
        assert isinstance(stream, FrameStream)
        assert stream.format is format
        assert np.array_equal(joined(stream), samples)
    with open_stream(str(path), format=format.name.lower()) as stream:
        assert np.array_equal(joined(stream), samples)
    path.write_bytes(bytes(5000) + frames.tobytes())
    with open_stream(path) as stream:
        assert np.array_equal(joined(stream), samples)
        assert stream.faults.counts == {"garbage": 5000}


@both
@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_few_frames(tmp_path, format, frames):
    samples, made = truth_of(format, 5)
    path = tmp_path / "run.bin"
    path.write_bytes(made.reshape(10, -1)[:frames].tobytes())
    with open_stream(path, links=LINKS[format.name], fill=0) as stream:
        blocks = list(stream)
    ticks = (frames + 1) // 2 * format.ticks
    found = np.concatenate([block.samples for block in blocks])
    assert found.shape == (ticks, samples.shape[1])
    assert np.array_equal(found[:, : format.channels], samples[:ticks, : format.channels])


@both
def test_a_folder_of_files_in_turn(tmp_path, format):
    """All links in each file, the files one after the other in time, whatever their names."""
    samples, frames = truth_of(format, 60)
    for n, name in enumerate(("c.bin", "a.bin", "b.bin")):
        (tmp_path / name).write_bytes(frames[20 * n : 20 * n + 20].tobytes())
    with open_stream(tmp_path, window=format.ticks, chunk_bytes=1) as stream:
        assert np.array_equal(joined(stream), samples)
        assert not stream.faults


@both
def test_a_folder_of_links_side_by_side(tmp_path, format):
    samples, frames = truth_of(format, 60)
    for link in range(2):
        for part in range(2):
            name = tmp_path / f"link{link}_{part}.raw"
            name.write_bytes(frames[30 * part : 30 * part + 30, link].tobytes())
    (tmp_path / "notes.txt").write_text("not data")
    with open_stream(tmp_path, pattern="*.raw", window=format.ticks, chunk_bytes=1) as stream:
        assert np.array_equal(joined(stream), samples)
        assert not stream.faults
    with pytest.raises(InputError, match=r"notes.txt is text"):
        open_stream(tmp_path)
    with pytest.raises(StorageError, match="no files"):
        open_stream(tmp_path, pattern="*.hdf5")


def test_folders_that_are_no_stream(tmp_path):
    for format in (WIB1, WIBETH):
        (tmp_path / format.name).write_bytes(truth_of(format)[1].tobytes())
    with pytest.raises(InputError, match="WIB1 and WIBEth"):
        open_stream(tmp_path)
    with pytest.raises(InputError, match="frames of WIB1"):
        open_stream(tmp_path, pattern="WIB1", format=WIBETH)
    np.save(tmp_path / "x.npy", np.zeros((3, 3), np.uint16))
    with pytest.raises(InputError, match="is npy"):
        open_stream(tmp_path, pattern="*.npy")


@both
def test_a_socket(format):
    samples, frames = truth_of(format, 40)
    ours, theirs = socket.socketpair()

    def send():
        with theirs:
            theirs.sendall(frames.tobytes())

    sender = threading.Thread(target=send)
    sender.start()
    with ours, open_stream(ours, block_ticks=64) as stream:
        assert np.array_equal(joined(stream), samples)
        assert not stream.faults
    sender.join()


@both
def test_a_socket_gives_blocks_while_it_is_open(format):
    frames = 400 if format is WIB1 else 20
    samples, made = truth_of(format, frames)
    ours, theirs = socket.socketpair()
    sender = threading.Thread(target=theirs.sendall, args=(made.tobytes(),))
    sender.start()
    with ours, theirs, open_stream(ours, block_ticks=64, window=64) as stream:
        blocks = iter(stream)
        assert np.array_equal(next(blocks).samples, samples[:64])
        sender.join(timeout=10)
        assert not sender.is_alive()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_gives_blocks_while_it_is_open(tmp_path):
    samples, made = truth_of(WIBETH, 40)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    done = threading.Event()

    def send():
        with open(path, "wb", buffering=0) as pipe:
            pipe.write(made[:20].tobytes())
            done.wait(10)
            pipe.write(made[20:].tobytes())

    sender = threading.Thread(target=send)
    sender.start()
    with open_stream(path, block_ticks=64, window=64) as stream:
        blocks = iter(stream)
        first = next(blocks)
        done.set()
        assert np.array_equal(joined([first, *blocks]), samples)
    sender.join()


# --- what is none of these


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (png(), "a PNG image"),
        (gzip.compress(bytes(1000), mtime=0), "gzip-compressed"),
        (b"root\x00\x00" + bytes(1000), "a ROOT file"),
        (b"%PDF-1.7" + bytes(1000), "a PDF document"),
        (b"wire,tick,charge\n1,2,3\n", "is text"),
        (bytes(100_000), "nothing that is known"),
        (b"\xff" * 100_000, "nothing that is known"),
        (np.random.default_rng(3).bytes(100_000), "nothing that is known"),
        (b"\x00", "nothing that is known"),
    ],
)
def test_foreign_files_are_refused_by_name(tmp_path, data, said):
    path = tmp_path / "run.hdf5"
    path.write_bytes(data)
    with pytest.raises(HairtriggerError, match=said) as caught:
        open_stream(path)
    assert str(path) in caught.value.problem
    assert caught.value.fix
    with pytest.raises(HairtriggerError, match=said):
        open_stream(io.BytesIO(data))


def test_sources_that_are_none(tmp_path):
    with pytest.raises(StorageError, match="cannot be read"):
        open_stream(tmp_path / "gone.bin")
    with pytest.raises(InputError, match="cannot be read from"):
        open_stream(17)
    with pytest.raises(InputError, match="open as text"):
        open_stream(io.StringIO("text"))
    path = tmp_path / "run.bin"
    path.write_bytes(truth_of(WIB1)[1].tobytes())
    with pytest.raises(InputError, match="format = 'WIB9'"):
        open_stream(path, format="WIB9")
    with open_stream(path, format=WIBETH) as stream, pytest.raises(StorageError, match="no WIBEth"):
        list(stream)


@pytest.mark.needs_data
def test_real_frames():
    """A recording of ProtoDUNE: two boards, 2160 ticks."""
    path = DATA / "protodune" / "frames.bin"
    if not path.exists():
        pytest.skip(f"{path} is not here; set HAIRTRIGGER_DATA")
    with open_stream(path) as stream:
        assert stream.format is WIB1
        assert stream.links == (Link(0, 4, 4, 1),)
        blocks = list(stream)
    samples = joined(blocks)
    assert samples.shape == (2160, 256)
    assert blocks[1].first_timestamp - blocks[0].first_timestamp == 25 * 2048
    # The electronics flag seven frames; all else is as it should be.
    assert stream.faults.counts == {"flagged": 7}
    data = path.read_bytes()
    broken = data[: 464 * 700 + 99] + data[464 * 701 + 7 :]
    with open_stream(io.BytesIO(broken), fill=0) as stream:
        found = np.concatenate([block.samples for block in stream])
    same = (found == samples).all(axis=1)
    assert np.flatnonzero(~same).tolist() == [700, 701]
