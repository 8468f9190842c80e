"""Frames of the DUNE front end: bits against a slow decoder written from the bit fields alone."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hairtrigger.detectors.wib import (
    COLLECTION,
    FORMATS,
    HEADER_DTYPE,
    WIB1,
    WIBETH,
    Link,
    decode,
    decode_wib1,
    decode_wibeth,
    encode_wib1,
    encode_wibeth,
    link_number,
    link_of,
    read_headers,
)
from hairtrigger.detectors.wib_channels import (
    CHANNEL_DTYPE,
    channels_of_link,
    collection_columns,
    read_channel_map,
    with_induction,
)
from hairtrigger.errors import InputError, StorageError

DATA = Path(os.environ.get("HAIRTRIGGER_DATA", Path(__file__).parents[1] / "../shared/data"))

ETH_LINKS = (Link(3, 2, 1, 0), Link(3, 2, 1, 64), Link(10, 1023, 15, 255))
WIB1_LINKS = (Link(0, 4, 4, 1), Link(0, 4, 4, 2), Link(0, 31, 7, 7))


def fields(data: bytes, widths: list[int]) -> list[int]:
    """Bit fields from the lowest bit of little-endian bytes up."""
    whole, found = int.from_bytes(data, "little"), []
    for width in widths:
        found.append(whole & ((1 << width) - 1))
        whole >>= width
    return found


def slow_wib1(frame: bytes) -> list[int]:
    """Samples of a WIB1 frame from the fields of its COLDATA segments, one at a time."""
    samples = [0] * 256
    for block in range(4):
        for segment in range(8):
            at = 16 + 112 * block + 16 + 12 * segment
            a = fields(frame[at : at + 12], [8, 8, 4, 4, 4, 4, 8, 8, 8, 8, 4, 4, 4, 4, 8, 8])
            # 0 adc0ch0_1, 1 adc1ch0_1, 2 adc0ch0_2, 3 adc0ch1_1, 4 adc1ch0_2, 5 adc1ch1_1,
            # 6 adc0ch1_2, 7 adc1ch1_2, 8 adc0ch2_1, 9 adc1ch2_1, 10 adc0ch2_2, 11 adc0ch3_1,
            # 12 adc1ch2_2, 13 adc1ch3_1, 14 adc0ch3_2, 15 adc1ch3_2
            own = (
                (a[0] | a[2] << 8, a[3] | a[6] << 4, a[8] | a[10] << 8, a[11] | a[14] << 4),
                (a[1] | a[4] << 8, a[5] | a[7] << 4, a[9] | a[12] << 8, a[13] | a[15] << 4),
            )
            for adc in range(2):
                for n in range(4):
                    channel = 8 * (2 * (segment // 2) + adc) + 4 * (segment % 2) + n
                    samples[64 * block + channel] = own[adc][n]
    return samples


def slow_wibeth(frame: bytes) -> list[list[int]]:
    return [fields(frame[at : at + 112], [14] * 64) for at in range(32, 7200, 112)]


@given(st.integers(0, 2**32 - 1))
def test_wib1_bits(seed):
    frames = np.random.default_rng(seed).integers(0, 256, (3, 464), np.uint8)
    assert decode_wib1(frames).tolist() == [slow_wib1(frame.tobytes()) for frame in frames]


@given(st.integers(0, 2**32 - 1))
def test_wibeth_bits(seed):
    frames = np.random.default_rng(seed).integers(0, 256, (2, 7200), np.uint8)
    assert decode_wibeth(frames).tolist() == [slow_wibeth(frame.tobytes()) for frame in frames]


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(0, 5), st.integers(0, 2**62))
def test_round_trip_of_wib1(seed, links, ticks, first):
    samples = np.random.default_rng(seed).integers(0, 4096, (ticks, 256 * links), np.uint16)
    frames = encode_wib1(samples, first_timestamp=first, links=WIB1_LINKS[:links])
    assert np.array_equal(decode_wib1(frames).reshape(samples.shape), samples)
    headers = read_headers(WIB1, frames)
    assert [link_of(int(n)) for n in headers["link"]] == list(WIB1_LINKS[:links]) * ticks
    assert headers["timestamp"].tolist() == [
        first + 25 * t for t in range(ticks) for _ in range(links)
    ]
    assert not headers["flags"].any()


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(0, 3), st.integers(0, 2**62))
def test_round_trip_of_wibeth(seed, links, blocks, first):
    samples = np.random.default_rng(seed).integers(0, 1 << 14, (64 * blocks, 64 * links), np.uint16)
    frames = encode_wibeth(samples, first_timestamp=first, links=ETH_LINKS[:links])
    assert frames.shape == (blocks * links, 7200)
    read = decode_wibeth(frames).reshape(blocks, links, 64, 64).swapaxes(1, 2)
    assert np.array_equal(read.reshape(samples.shape), samples)
    headers = read_headers(WIBETH, frames)
    assert [link_of(int(n)) for n in headers["link"]] == list(ETH_LINKS[:links]) * blocks
    wanted = [first + 2048 * t for t in range(blocks) for _ in range(links)]
    assert headers["timestamp"].tolist() == wanted
    assert headers["counter"].tolist() == [stamp // 2048 % 4096 for stamp in wanted]


def test_header_fields_of_wibeth():
    frame = encode_wibeth(
        np.zeros((64, 64), np.uint16), first_timestamp=2048 * 77 + 5, links=ETH_LINKS[2:]
    )[0].tobytes()
    assert fields(frame[:8], [6, 6, 10, 4, 8, 6, 12, 12]) == [1, 10, 1023, 15, 255, 0, 77, 0x382]
    assert int.from_bytes(frame[8:16], "little") == 2048 * 77 + 5
    widths = [15, 1, 15, 1, 1, 2, 2, 1, 1, 2, 1, 1, 1, 8, 4, 8]
    stamp = (2048 * 77 + 5) & 0x7FFF
    wanted = [stamp, 0, stamp, 0, 0, 0, 3, 0, 0, 0, 0, 0, 1, 0, 1, 255]
    assert fields(frame[16:24], widths) == wanted


@pytest.mark.parametrize(("bit", "flagged"), [(33, True), (34, True), (35, False), (37, True)])
def test_flags_of_wibeth(bit, flagged):
    frames = encode_wibeth(np.zeros((64, 64), np.uint16), first_timestamp=0)
    frames[0, 16 + bit // 8] ^= 1 << bit % 8
    assert bool(read_headers(WIBETH, frames)["flags"][0]) is flagged


@pytest.mark.parametrize(
    ("byte", "flagged"),
    [(4, True), (6, True), (7, True), (16, True), (18, False), (24, True), (25, True), (352, True)],
)
def test_flags_of_wib1(byte, flagged):
    frames = encode_wib1(np.zeros((1, 256), np.uint16), first_timestamp=0)
    frames[0, byte] ^= 1
    assert bool(read_headers(WIB1, frames)["flags"][0]) is flagged


def test_z_of_wib1_takes_the_upper_bits_from_the_timestamp():
    frames = encode_wib1(np.zeros((1, 256), np.uint16), first_timestamp=1 << 50 | 99)
    frames[0, 15] |= 0x80
    assert read_headers(WIB1, frames)["timestamp"][0] == 99


@given(
    st.builds(
        Link, st.integers(0, 63), st.integers(0, 1023), st.integers(0, 15), st.integers(0, 255)
    )
)
def test_links_are_numbers(link):
    assert link_of(link_number(link)) == link
    assert (link < ETH_LINKS[0]) == (link_number(link) < link_number(ETH_LINKS[0]))


def test_nothing_is_decoded_to_nothing():
    for format in FORMATS:
        empty = np.zeros((0, format.frame_bytes), np.uint8)
        assert decode(format, empty).shape == (0, format.ticks, format.channels)
        assert read_headers(format, empty).dtype == HEADER_DTYPE


@pytest.mark.parametrize(
    ("samples", "options", "said"),
    [
        (np.zeros((64, 65), np.uint16), {}, "no 1 links"),
        (np.zeros(64, np.uint16), {}, "no 1 links"),
        (np.zeros((63, 64), np.uint16), {}, "63 ticks"),
        (np.full((64, 64), np.nan), {}, "float64"),
        (np.full((64, 64), 1 << 14, np.uint16), {}, "14 bits"),
        (np.full((64, 64), -1), {}, "14 bits"),
        (np.zeros((64, 64), np.uint16), {"first_timestamp": -1}, "timestamps"),
        (np.zeros((64, 64), np.uint16), {"first_timestamp": (1 << 63) - 1}, "timestamps"),
        (np.zeros((64, 64), np.uint16), {"links": (Link(3, 1024, 0, 0),)}, "crate = 1024"),
        (np.zeros((64, 128), np.uint16), {"links": (Link(3, 1, 0, 0),) * 2}, "twice"),
        (np.zeros((64, 0), np.uint16), {"links": ()}, "0 links"),
    ],
)
def test_samples_that_make_no_frames(samples, options, said):
    with pytest.raises(InputError, match=said) as caught:
        encode_wibeth(samples, **{"first_timestamp": 0, **options})
    assert caught.value.fix


def test_links_that_wib1_cannot_name():
    with pytest.raises(InputError, match="does not fit"):
        encode_wib1(np.zeros((1, 256), np.uint16), first_timestamp=0, links=(Link(3, 1, 0, 0),))
    with pytest.raises(InputError, match="12 bits"):
        encode_wib1(np.full((1, 256), 4096, np.uint16), first_timestamp=0)


@pytest.mark.parametrize("bad", [np.zeros((2, 465), np.uint8), np.zeros((2, 464)), np.zeros(464)])
def test_frames_that_are_none(bad):
    with pytest.raises(InputError, match="no WIB1 frames"):
        decode_wib1(bad)


def test_decoding_is_fast():
    frames = np.random.default_rng(1).integers(0, 256, (4000, 7200), np.uint8)
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        decode_wibeth(frames)
        best = max(best, frames.nbytes / (time.perf_counter() - start))
    assert best > 200e6, f"{best / 1e6:.0f} MB/s"


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_boards_of_collection_wires(seed, boards):
    for format, times in ((WIB1, 2), (WIBETH, 1)):
        wires = 48 * times * boards
        plane = np.random.default_rng(seed).integers(0, 4096, (3, wires), np.uint16)
        samples = with_induction(format, plane, 2386)
        assert samples.shape == (3, 128 * times * boards)
        links = samples.shape[1] // format.channels
        columns = collection_columns(format, links)
        assert np.array_equal(samples[:, columns], plane)
        assert (np.delete(samples, columns, axis=1) == 2386).all()
    with pytest.raises(InputError, match="no whole"):
        with_induction(WIB1, np.zeros((3, 48)), 0)


def map_lines(crates=range(1), slots=range(2)):
    """A channel map of the same columns as the published one."""
    lines = []
    for n, (crate, slot, board, channel) in enumerate(
        (c, s, b, n) for c in crates for s in slots for b in range(4) for n in range(128)
    ):
        plane = 2 if channel in COLLECTION["WIB1"] else 0
        stream = channel ^ 7
        lines.append(
            f"{crate} {slot} {board} {channel} {stream} 0 0 {channel // 16} {channel % 16} 0 0 "
            f"{plane} {n}"
        )
    return lines


def test_channel_map(tmp_path):
    path = tmp_path / "map.txt"
    path.write_text("\n".join(map_lines()) + "\n")
    table = read_channel_map(path)
    assert table.dtype == CHANNEL_DTYPE
    own = channels_of_link(table, Link(0, 3, 1, 2))  # the map's crate 0 is crate 3
    assert own["channel"].tolist() == list(range(128)) * 2
    assert own["board"].tolist() == [2] * 128 + [3] * 128
    assert own["offline"].tolist() == [512 + 256 + (n ^ 7) for n in range(256)]
    for link in (Link(0, 3, 2, 1), Link(0, 1, 1, 1), Link(0, 3, 1, 3), Link(0, 9, 1, 1)):
        with pytest.raises(InputError, match="both boards"):
            channels_of_link(table, link)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: [], "empty"),
        (lambda lines: [*lines[:5], "1 2 3"], "line 6"),
        (lambda lines: [lines[0].replace("0", "x", 1), *lines[1:]], "line 1"),
        (lambda lines: [*lines, lines[0]], "come twice"),
        (lambda lines: [lines[0].replace("0", "6", 1), *lines[1:]], "crate is 6"),
    ],
)
def test_maps_that_are_none(tmp_path, change, said):
    path = tmp_path / "map.txt"
    path.write_text("\n".join(change(map_lines())))
    with pytest.raises(InputError, match=said):
        read_channel_map(path)


def test_maps_that_cannot_be_read(tmp_path):
    with pytest.raises(StorageError, match="does not exist"):
        read_channel_map(tmp_path / "gone.txt")
    path = tmp_path / "map.txt"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(StorageError, match="no text"):
        read_channel_map(path)


@pytest.mark.needs_data
def test_published_channel_map():
    path = DATA / "protodune" / "protoDUNETPCChannelMap_FELIX_v4.txt"
    if not path.exists():
        pytest.skip(f"{path} is not here; set HAIRTRIGGER_DATA")
    table = read_channel_map(path)
    assert len(table) == 15360
    for crate in range(1, 7):
        for slot in range(5):
            for stream in (1, 2):
                own = channels_of_link(table, Link(0, crate, slot, stream))
                assert np.bincount(own["plane"]).tolist() == [80, 80, 96]
                assert tuple(np.flatnonzero(own["plane"] == 2)) == COLLECTION["WIB1"]
