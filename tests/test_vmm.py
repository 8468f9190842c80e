"""Readers of recorded VMM3a data, on captures and tables that the tests write, and on real ones."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.detectors.vmm import identify_vmm, iter_vmm, new_faults, read_vmm
from hairtrigger.detectors.vmm_frames import ESS_CLOCK_HZ, WINDOW, gray_to_binary
from hairtrigger.detectors.vmm_hits import HIT_DTYPE, Clock
from hairtrigger.detectors.vmm_write import encode_ess, encode_srs, udp_packet, write_pcapng
from hairtrigger.errors import InputError, StorageError

DATA = Path(os.environ.get("HAIRTRIGGER_DATA", Path(__file__).parents[2] / "shared" / "data"))
VMM = DATA / "vmm"
SENT = ("fec", "vmm", "channel", "adc", "bcid", "tdc", "over_threshold", "offset", "marker")


def some_hits(count: int, seed: int, fecs=(5,), ess: bool = False) -> np.ndarray:
    """Random hits of one or more cards, each chip with markers that go up."""
    random = np.random.default_rng(seed)
    hits = np.zeros(count, HIT_DTYPE)
    hits["fec"] = random.choice(fecs, count)
    hits["vmm"] = random.integers(0, 16, count)
    hits["channel"] = random.integers(0, 64, count)
    hits["adc"] = random.integers(0, 1024, count)
    hits["bcid"] = random.integers(0, 4096, count)
    hits["tdc"] = random.integers(0, 256, count)
    hits["over_threshold"] = random.integers(0, 2, count)
    if ess:
        hits["marker"] = 7 * ESS_CLOCK_HZ + np.sort(random.integers(0, 3 * ESS_CLOCK_HZ, count))
    else:
        hits["offset"] = random.integers(-1, 16, count)
        hits["marker"] = (1 + np.arange(count) // 50) * 65536
    for name in ("detector", "plane", "strip"):
        hits[name] = -1
    return hits


def same(found: np.ndarray, sent: np.ndarray) -> None:
    assert len(found) == len(sent)
    for name in SENT:
        np.testing.assert_array_equal(found[name], sent[name], err_msg=name)


def capture(path: Path, frames, **options) -> Path:
    write_pcapng(path, frames, **options)
    return path


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 400),
    seed=st.integers(0, 2**32 - 1),
    words=st.integers(1, 60),
    big_endian=st.booleans(),
    first_counter=st.sampled_from([0, 5, 0xFFFFFFF0]),
)
def test_srs_round_trip(tmp_path_factory, count, seed, words, big_endian, first_counter):
    path = tmp_path_factory.mktemp("vmm") / "run.pcapng"
    hits = some_hits(count, seed, fecs=(1, 5, 15))
    hits = hits[np.argsort(hits["fec"], kind="stable")]
    frames = encode_srs(hits, words=words, first_counter=first_counter)
    data = read_vmm(capture(path, frames, big_endian=big_endian))
    same(data.hits, hits)
    assert not data.faults, data.faults.in_words()
    expected = (hits["marker"] + 4096.0 * hits["offset"] + hits["bcid"] + 1.5) * 22.5
    np.testing.assert_allclose(data.hits["time_ns"], expected - hits["tdc"] * (60 / 255), atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 400),
    seed=st.integers(0, 2**32 - 1),
    readouts=st.integers(1, 60),
    version=st.sampled_from([0, 1]),
)
def test_ess_round_trip(tmp_path_factory, count, seed, readouts, version):
    path = tmp_path_factory.mktemp("vmm") / "run.pcapng"
    hits = some_hits(count, seed, fecs=(0, 3, 32, 32 * 11 + 23), ess=True)
    data = read_vmm(capture(path, encode_ess(hits, readouts=readouts, version=version)))
    same(data.hits, hits)
    assert not data.faults, data.faults.in_words()
    coarse = (hits["marker"].astype(float) - hits["marker"][0] // ESS_CLOCK_HZ * ESS_CLOCK_HZ) * (
        1e9 / ESS_CLOCK_HZ
    )
    fine = 1.5 * 2e9 / ESS_CLOCK_HZ - hits["tdc"] * (60 / 255)
    np.testing.assert_allclose(data.hits["time_ns"], coarse + fine, atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_frames_are_put_in_order_and_doubles_dropped(tmp_path_factory, data, seed):
    """Frames moved by less than the window, and doubled, give the hits that were sent."""
    path = tmp_path_factory.mktemp("vmm") / "run.pcapng"
    hits = some_hits(600, seed)
    frames = encode_srs(hits, words=10)
    first, rest = frames[:1], frames[1:]
    shift = data.draw(st.lists(st.integers(0, WINDOW // 2), min_size=len(rest), max_size=len(rest)))
    order = sorted(range(len(rest)), key=lambda n: n + shift[n])
    moved = first + [rest[n] for n in order]
    doubles = data.draw(st.lists(st.integers(0, len(moved) - 1), max_size=5))
    for n in doubles:
        moved.insert(n + 1, moved[n])
    read = read_vmm(capture(path, moved))
    same(read.hits, hits)
    assert read.faults["duplicate"] == len(doubles)
    counters = [struct.unpack(">I", frame[:4])[0] for frame in moved]
    assert bool(read.faults["out of order"]) == (counters != sorted(counters))
    assert not read.faults["gap"]


def test_a_gap_makes_chips_wait_for_their_marker(tmp_path):
    """A lost frame may have held a marker: no time is better than one that is wrong by 1.5 ms."""
    hits = some_hits(2000, 1)
    hits["vmm"] = 3
    frames = encode_srs(hits, words=20)
    words = [np.frombuffer(frame[16:], ">u2")[2::3] for frame in frames]
    lost = next(n for n in range(20, 90) if (words[n] >> 15 == 0).any())
    read = read_vmm(capture(tmp_path / "run.pcapng", frames[:lost] + frames[lost + 1 :]))
    assert read.faults["gap"] == 1
    unknown = np.isnan(read.hits["time_ns"])
    assert unknown.sum() == read.faults["no marker"] > 0
    in_lost = int((words[lost] >> 15).sum())
    before = int(sum((w >> 15).sum() for w in words[:lost]))
    kept = np.concatenate([hits[:before], hits[before + in_lost :]])
    known = ~unknown
    same(read.hits[known], kept[known])
    assert np.flatnonzero(unknown)[0] == before


def test_a_counter_that_begins_anew_is_followed(tmp_path):
    hits = some_hits(400, 2)
    first = encode_srs(hits[:200], words=10, first_counter=100_000)
    again = encode_srs(hits[200:], words=10)
    read = read_vmm(capture(tmp_path / "run.pcapng", first + again))
    assert read.faults["restart"] == 1
    assert not read.faults["gap"]
    same(read.hits, hits)


def test_a_far_jump_forward_is_a_gap(tmp_path):
    hits = some_hits(400, 2)
    first = encode_srs(hits[:200], words=10)
    later = encode_srs(hits[200:], words=10, first_counter=100_000)
    read = read_vmm(capture(tmp_path / "run.pcapng", first + later))
    assert read.faults["gap"] == 100_000 - len(first)
    same(read.hits, hits)


def test_one_wrong_counter_loses_one_frame(tmp_path):
    hits = some_hits(400, 3)
    frames = encode_srs(hits, words=10)
    frames[7] = b"\x7f" + frames[7][1:]
    read = read_vmm(capture(tmp_path / "run.pcapng", frames))
    assert read.faults["wrong counter"] == 1
    assert read.faults["gap"] == 1
    counts = [
        len(f[16:]) // 6 - (np.frombuffer(f[16:], ">u2")[2::3] >> 15 == 0).sum() for f in frames
    ]
    assert len(read.hits) == len(hits) - counts[7]


@pytest.mark.parametrize(
    ("breaking", "kind"),
    [
        (lambda f: f[:4] + b"XM3" + f[7:], "corrupt"),
        (lambda f: f[:7] + b"\x00" + f[8:], "corrupt"),
        (lambda f: f[:-1], "corrupt"),
        (lambda f: f[:16], "corrupt"),
        (lambda f: b"", "corrupt"),
    ],
)
def test_broken_frames_are_counted_and_skipped(tmp_path, breaking, kind):
    hits = some_hits(400, 4)
    frames = encode_srs(hits, words=10)
    frames[5] = breaking(frames[5])
    read = read_vmm(capture(tmp_path / "run.pcapng", frames))
    assert read.faults[kind] == 1
    assert read.faults["gap"] == 1
    assert len(hits) - 10 <= len(read.hits) < len(hits)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), ess=st.booleans())
def test_no_damage_stops_the_reading(tmp_path_factory, data, ess):
    """Cut anywhere, bytes changed, lost and put in: reading ends, and gives no hit twice."""
    path = tmp_path_factory.mktemp("vmm") / "run.pcapng"
    hits = some_hits(300, 5, ess=ess)
    hits["tdc"] = np.arange(300) % 256
    frames = encode_ess(hits, readouts=12) if ess else encode_srs(hits, words=12)
    raw = bytearray(capture(path, frames).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(60, len(raw) - 1))
        what = data.draw(st.sampled_from(["flip", "lose", "add", "cut"]))
        if what == "flip":
            raw[at] ^= 1 << data.draw(st.integers(0, 7))
        elif what == "lose":
            del raw[at : at + data.draw(st.integers(1, 200))]
        elif what == "add":
            raw[at:at] = data.draw(st.binary(min_size=1, max_size=100))
        elif at > 1000:
            del raw[at:]
        if len(raw) < 500:
            break
    path.write_bytes(raw)
    try:
        read = read_vmm(path)
    except StorageError as error:
        if "without frames" not in str(error):
            raise
        return
    assert len(read.hits) <= len(hits)
    sent = {tuple(row[name] for name in ("vmm", "channel", "adc", "bcid", "tdc")) for row in hits}
    found = [
        tuple(row[name] for name in ("vmm", "channel", "adc", "bcid", "tdc")) for row in read.hits
    ]
    # Payloads have no checksum: a changed byte changes at most the hits of its own word.
    assert sum(row not in sent for row in found) <= 4


def test_every_truncation_of_the_container(tmp_path):
    hits = some_hits(60, 6)
    frames = encode_srs(hits, words=10)
    path = capture(tmp_path / "run.pcapng", frames)
    raw = path.read_bytes()
    sizes = []
    first = len(capture(tmp_path / "one.pcapng", frames[:1]).read_bytes())
    for length in [*range(first, len(raw), 5), len(raw) - 1]:
        path.write_bytes(raw[:length])
        read = read_vmm(path)
        sizes.append(len(read.hits))
        same(read.hits, hits[: len(read.hits)])
    assert sizes == sorted(sizes)
    assert read.faults["truncated"] == 1


def test_packets_of_others_and_fragments(tmp_path):
    hits = some_hits(50, 7)
    frames = encode_srs(hits, words=10)
    path = capture(tmp_path / "run.pcapng", frames)
    ping = bytearray(udp_packet(b"hello there", 7))
    ping[23] = 1  # ICMP
    part = bytearray(udp_packet(frames[0], 6006))
    part[20] |= 0x20  # more fragments
    short = udp_packet(frames[0], 6006)
    with open(path, "ab") as file:
        for packet, kept in ((ping, len(ping)), (part, len(part)), (short, 60)):
            body = bytes(packet[:kept]) + bytes(-kept % 4)
            length = struct.pack("<I", 32 + len(body))
            head = struct.pack("<5I", 0, 0, 0, kept, len(packet))
            file.write(struct.pack("<I", 6) + length + head + body + length)
        length = struct.pack("<I", 16)
        file.write(struct.pack("<I", 0x0BAD) + length + b"abcd" + length)  # a block of another kind
    read = read_vmm(path)
    same(read.hits, hits)
    assert read.faults.counts == {"other traffic": 1, "fragment": 1, "truncated": 1}


def test_sections_of_both_orders_in_one_file(tmp_path):
    """Captures put one after the other, as mergecap and cat do."""
    hits = some_hits(200, 15)
    frames = encode_srs(hits, words=30)
    one = capture(tmp_path / "one.pcapng", frames[:3]).read_bytes()
    two = capture(tmp_path / "two.pcapng", frames[3:], big_endian=True).read_bytes()
    path = tmp_path / "both.pcapng"
    path.write_bytes(one + two)
    read = read_vmm(path)
    same(read.hits, hits)
    assert not read.faults


def test_pcap_vlan_and_gzip(tmp_path):
    """tcpdump's own format, in both orders and resolutions, with VLAN tags, gzipped or not."""
    hits = some_hits(200, 8)
    frames = encode_srs(hits, words=30)
    for order in "<>":
        for magic in (0xA1B2C3D4, 0xA1B23C4D):
            raw = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 1)
            for frame in frames:
                packet = udp_packet(frame, 6006)
                packet = packet[:12] + b"\x81\x00\x00\x05" + packet[12:]
                raw += struct.pack(order + "4I", 1, 2, len(packet), len(packet)) + packet
            path = tmp_path / "run.pcap"
            path.write_bytes(raw)
            same(read_vmm(path).hits, hits)
            packed = tmp_path / "run.pcap.gz"
            packed.write_bytes(gzip.compress(raw))
            same(read_vmm(packed).hits, hits)
            path.write_bytes(raw[:-5])
            assert read_vmm(path).faults["truncated"] == 1
            packed.write_bytes(gzip.compress(raw)[:-20])
            assert len(read_vmm(packed).hits) < len(hits)


def test_offsets_of_old_firmware(tmp_path):
    """0 to 31 instead of -1 to 15: told by the first frames, and then held to."""
    hits = some_hits(3000, 14)
    hits["offset"] = np.arange(3000) % 32
    hits["offset"][2000:] %= 17  # the last frames alone would look like new firmware
    frames = encode_srs(hits, words=100, old_offsets=True)
    path = capture(tmp_path / "run.pcapng", frames)
    for chunk in (1, 1 << 18):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("hairtrigger.detectors.vmm.CHUNK_BYTES", chunk)
            read = read_vmm(path)
        same(read.hits, hits)
        assert not read.faults
    coarse = (hits["marker"] + 4096.0 * hits["offset"]) * 22.5
    np.testing.assert_array_equal(read.hits["coarse_ns"], coarse)


def test_words_that_are_no_hits(tmp_path):
    """Latency violations, chips and offsets that do not exist, trigger markers."""
    hits = some_hits(20, 9)
    (frame,) = encode_srs(hits)
    words = np.frombuffer(frame[16:], [("high", ">u4"), ("low", ">u2")]).copy()
    at = np.flatnonzero(words["low"] >> 15)
    clear = np.uint32(0x07FFFFFF)
    words["high"][at[3]] = (words["high"][at[3]] & clear) | 16 << 27
    words["high"][at[4]] = (words["high"][at[4]] & clear) | 20 << 27
    words["high"][at[5]] |= 1 << 26  # chip 16 or above
    trigger = np.zeros(1, words.dtype)
    trigger["low"] = 17 << 10
    body = words.tobytes() + trigger.tobytes()
    read = read_vmm(capture(tmp_path / "run.pcapng", [frame[:16] + body]))
    assert read.faults.counts == {"latency": 1, "bad hit": 2}
    same(read.hits, np.delete(hits, [3, 4, 5]))


def test_hits_before_a_marker_have_no_time(tmp_path):
    hits = some_hits(100, 10)
    hits["marker"][:30] = 0
    read = read_vmm(capture(tmp_path / "run.pcapng", encode_srs(hits, words=9)))
    same(read.hits, hits)
    assert np.isnan(read.hits["time_ns"][:30]).all()
    assert np.isfinite(read.hits["time_ns"][30:]).all()
    assert read.faults["no marker"] == 30


def test_a_marker_that_goes_back_is_counted(tmp_path):
    hits = some_hits(100, 11)
    hits["vmm"] = 1
    hits["marker"][60:] = 5
    read = read_vmm(capture(tmp_path / "run.pcapng", encode_srs(hits, words=7)))
    same(read.hits, hits)
    assert read.faults["clock back"] == 1


def test_pieces_are_the_whole(tmp_path, monkeypatch):
    hits = some_hits(3000, 12, fecs=(2, 3))
    path = capture(tmp_path / "run.pcapng", encode_srs(hits, words=40))
    whole = read_vmm(path).hits
    monkeypatch.setattr("hairtrigger.detectors.vmm.CHUNK_BYTES", 500)
    told = []
    parts = list(iter_vmm(path, faults=new_faults(), progress=told.append))
    assert len(parts) > 10
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    assert told == np.cumsum([len(part) for part in parts]).tolist()


def test_gray_code():
    numbers = np.arange(4096, dtype=np.uint32)
    np.testing.assert_array_equal(gray_to_binary(numbers ^ (numbers >> 1)), numbers)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n", "no capture"),
        (b"a,b,c\n1,2,3\n", "no capture"),
        (b"\x0a\x0d\x0d\x0a" + bytes(60), "no capture"),
        (b"\x1f\x8b damaged", "damaged gzip"),
    ],
)
def test_foreign_files(tmp_path, content, words):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=words):
        read_vmm(path)


def test_missing_file_and_capture_without_frames(tmp_path):
    with pytest.raises(StorageError, match="cannot be read"):
        read_vmm(tmp_path / "nothing.pcapng")
    path = capture(tmp_path / "run.pcapng", [b"something else", b"ESS?"])
    with pytest.raises(StorageError, match=r"without frames.*2 packets"):
        read_vmm(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fec", 0),
        ("fec", 16),
        ("vmm", 16),
        ("channel", 64),
        ("adc", 1024),
        ("bcid", 4096),
        ("offset", 16),
    ],
)
def test_what_no_chip_sends_is_not_written(field, value):
    hits = some_hits(5, 13)
    hits[field][2] = value
    with pytest.raises(InputError, match=f"{field} of hit 2 is {value}"):
        encode_srs(hits)


def test_clock_is_checked():
    with pytest.raises(InputError, match="period_ns = -1"):
        Clock(period_ns=-1)
    with pytest.raises(InputError, match="tac_ns = nan"):
        Clock(tac_ns=float("nan"))


def real(name: str) -> Path:
    path = VMM / name
    if not path.exists():
        pytest.skip(f"{path} is not here; set HAIRTRIGGER_DATA")
    return path


@pytest.mark.needs_data
@pytest.mark.parametrize(("name", "hits"), [("rpc", 75_346), ("xyu", 66_908)])
def test_captures_are_as_somebody_else_decoded_them(name, hits):
    ours = read_vmm(real(f"run_example_{name}.pcapng"))
    theirs = read_vmm(real(f"run_example_{name}_hits.csv.gz"))
    assert identify_vmm(real(f"run_example_{name}_hits.csv.gz")) == "CSV"
    assert len(ours.hits) == hits
    assert ours.hits.tobytes() == theirs.hits.tobytes()
    assert ours.faults["latency"] == theirs.faults["latency"] > 0
    assert not ours.faults["gap"]
    assert not ours.faults["corrupt"]
