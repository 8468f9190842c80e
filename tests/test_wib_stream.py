"""Streams of frames: whatever is done to the bytes, no sample stands where it does not belong."""

import io
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.detectors.wib import WIB1, WIBETH, Link, encode_wib1, encode_wibeth
from hairtrigger.detectors.wib_faults import FIRST, KINDS, Faults
from hairtrigger.detectors.wib_stream import FrameStream
from hairtrigger.errors import HairtriggerError, InputError, StorageError

LINKS = {
    "WIB1": (Link(0, 4, 4, 1), Link(0, 4, 4, 2)),
    "WIBEth": (Link(3, 1, 0, 0), Link(3, 1, 0, 1)),
}
ENCODE = {"WIB1": encode_wib1, "WIBEth": encode_wibeth}
FIRST_TIMESTAMP = 79_554_162_068_719_943
both = pytest.mark.parametrize("format", [WIB1, WIBETH], ids=lambda format: format.name)


def truth_of(format, frames, seed=1, links=None):
    """Samples of ``frames`` frames of each link, and the frames, uint8 (frames, links, bytes)."""
    links = links or LINKS[format.name]
    shape = (frames * format.ticks, len(links) * format.channels)
    samples = np.random.default_rng(seed).integers(0, 1 << format.bits, shape, np.uint16)
    made = ENCODE[format.name](samples, first_timestamp=FIRST_TIMESTAMP, links=links)
    return samples, made.reshape(frames, len(links), format.frame_bytes)


def read(format, data, name="run.bin", **options):
    """All blocks of these bytes, and the stream."""
    options = {"block_ticks": 3 * format.ticks // 2 + 1, "window": 8 * format.ticks, **options}
    stream = FrameStream([(name, io.BytesIO(bytes(data)))], format, **options)
    return list(stream), stream


def check(format, blocks, samples, first=FIRST_TIMESTAMP):
    """Compare with the truth wherever a sample is there; how many ticks of links are, and where."""
    present = np.zeros((len(samples), samples.shape[1] // format.channels), bool)
    for block in blocks:
        start, phase = divmod(block.first_timestamp - first, format.step)
        assert phase == 0
        there = np.ones(block.samples.shape, bool) if block.missing is None else ~block.missing
        inside = slice(start, start + len(block.samples))
        assert start >= 0
        assert start + len(block.samples) <= len(samples)
        assert np.array_equal(block.samples[there], samples[inside][there])
        there = there.reshape(len(there), -1, format.channels)
        assert (there == there[:, :, :1]).all()
        present[inside] |= there[:, :, 0]
    return present


def frames_present(format, present):
    """Bool (frames, links), whole frames only."""
    return present.reshape(-1, format.ticks, present.shape[1]).all(axis=1)


@both
@pytest.mark.parametrize("chunk", [1, 1000, 1 << 22])
@pytest.mark.parametrize("block", [1, 64, 100, 5000])
def test_whole_stream(format, chunk, block):
    samples, frames = truth_of(format, 30)
    blocks, stream = read(format, frames.tobytes(), chunk_bytes=chunk, block_ticks=block)
    assert np.array_equal(np.concatenate([block.samples for block in blocks]), samples)
    assert all(block.missing is None and not block.faults for block in blocks)
    assert not stream.faults
    assert stream.faults.in_words() == "no faults"
    assert stream.links == LINKS[format.name]
    assert stream.channels == samples.shape[1]
    assert (stream.bits, stream.counts_per_tick) == (format.bits, format.step)
    starts = [block.first_timestamp for block in blocks]
    assert starts == [FIRST_TIMESTAMP + n * block * format.step for n in range(len(blocks))]


@both
@pytest.mark.parametrize("at", [0, 1, 7, 19])
def test_every_bit_of_a_header(format, at):
    """A flipped bit costs this frame at most, and one beside it where the grid is lost."""
    samples, frames = truth_of(format, 10)
    header = 32 if format is WIBETH else 464
    bits = np.arange(header * 8).reshape(-1, 8)
    if format is WIB1:  # the headers of its COLDATA blocks are among the samples
        blocks_of = range(4) if at == 7 else ()
        bits = np.concatenate([bits[:16], *(bits[16 + 112 * n : 32 + 112 * n] for n in blocks_of)])
    whole = frames.reshape(20, -1)
    for bit in bits.ravel().tolist():
        broken = whole.copy()
        broken[at, bit // 8] ^= 1 << bit % 8
        blocks, stream = read(format, broken.tobytes())
        there = frames_present(format, check(format, blocks, samples)).ravel()
        assert np.delete(there, at).sum() >= 18, (bit, stream.faults.in_words())
        assert there.all() or stream.faults, bit


@both
def test_cut_anywhere(format):
    samples, frames = truth_of(format, 3)
    data = frames.tobytes()
    size = format.frame_bytes
    stops = range(1, len(data) + 1, 3 if format is WIB1 else 97)
    for stop in [*stops, *(n * size + rest for n in range(1, 6) for rest in range(10)), 6 * size]:
        if stop < 2 * size and stop != size:
            with pytest.raises(StorageError, match=f"no {format.name} frames"):
                read(format, data[:stop])
            continue
        blocks, stream = read(format, data[:stop], links=LINKS[format.name])
        there = frames_present(format, check(format, blocks, samples)).ravel()
        rest = stop % size
        # A rest too short to be known as the begin of a frame leaves the one before it in doubt.
        doubt = 0 < rest < (4 if format is WIB1 else 8)
        assert there.tolist() == [n < stop // size - doubt for n in range(6)]
        assert stream.faults["truncated"] == (rest > 0 and not doubt)
        assert stream.faults["unconfirmed"] == doubt


@both
@given(data=st.data())
def test_bytes_lost_in_the_middle(format, data):
    samples, frames = truth_of(format, 8)
    whole = frames.tobytes()
    start = data.draw(st.integers(0, len(whole) - 1))
    length = data.draw(st.integers(1, 3 * format.frame_bytes))
    # A loss of whole frames out of their bodies cannot be seen: no checksum is known.
    if length % format.frame_bytes == 0 and start % format.frame_bytes:
        length += 1
    broken = whole[:start] + whole[start + length :]
    blocks, stream = read(format, broken, chunk_bytes=data.draw(st.integers(1, 20000)))
    there = frames_present(format, check(format, blocks, samples)).ravel()
    lost = min(length, len(whole) - start) / format.frame_bytes
    assert there.sum() >= 16 - lost - 3
    assert stream.faults


def test_bytes_of_a_frame_that_look_like_a_header():
    """COLDATA's headers hold zeros and a count: cut right, a frame seems to go on with a frame."""
    samples, frames = truth_of(WIB1, 16)
    whole = list(frames.reshape(32, -1))
    for at in range(32):
        for length in (464 - 21, 464 - 133, 464 - 245, 464 - 357):
            parts = [*whole[:at], whole[at][:length], *whole[at + 1 :]]
            blocks, stream = read(WIB1, np.concatenate(parts).tobytes(), links=LINKS["WIB1"])
            check(WIB1, blocks, samples)
            assert stream.faults


@both
@given(data=st.data())
def test_garbage_between_frames(format, data):
    samples, frames = truth_of(format, 8)
    whole = frames.reshape(16, -1)
    seed = data.draw(st.integers(0, 2**32 - 1))
    length = data.draw(st.integers(1, 2 * format.frame_bytes))
    kind = data.draw(st.sampled_from(["random", "zeros", "ones", "header"]))
    garbage = {
        "random": np.random.default_rng(seed).integers(0, 256, length, np.uint8),
        "zeros": np.zeros(length, np.uint8),
        "ones": np.full(length, 255, np.uint8),
        "header": np.resize(whole[3, :16], length),
    }[kind]
    at = data.draw(st.integers(0, 16))
    broken = np.concatenate([whole[:at].ravel(), garbage, whole[at:].ravel()])
    blocks, stream = read(format, broken.tobytes(), chunk_bytes=data.draw(st.integers(1, 20000)))
    assert stream.links == LINKS[format.name]
    there = frames_present(format, check(format, blocks, samples)).ravel()
    assert there.sum() >= 14
    assert stream.faults


@both
def test_garbage_is_counted(format):
    _, frames = truth_of(format, 8)
    whole = frames.reshape(16, -1)
    broken = whole[:5].tobytes() + bytes(1000) + whole[5:].tobytes()
    _, stream = read(format, broken)
    size = format.frame_bytes
    assert stream.faults["garbage"] == 1000
    assert stream.faults["unconfirmed"] == 1  # where it ends cannot be told
    assert stream.faults.first["garbage"] == [f"byte {5 * size} of run.bin"]
    assert stream.faults.first["unconfirmed"] == [f"byte {4 * size} of run.bin"]
    assert "garbage: 1000 bytes that belong to no frame, skipped" in stream.faults.in_words()
    _, stream = read(format, bytes(1001) + whole.tobytes())
    assert stream.faults.counts == {"garbage": 1001}


@both
def test_broken_start_of_a_frame_costs_only_it(format):
    samples, frames = truth_of(format, 8)
    broken = frames.copy()
    broken[3, 0, 0] ^= 1
    broken[5, 1, 1] ^= 1
    blocks, stream = read(format, broken.tobytes())
    there = frames_present(format, check(format, blocks, samples))
    assert np.argwhere(~there).tolist() == [[3, 0], [5, 1]]
    assert stream.faults["corrupt"] == 2
    assert stream.faults["missing ticks"] == 2 * format.ticks
    assert stream.faults["gap"] == 2
    assert stream.faults.first["corrupt"][0] == f"byte {6 * format.frame_bytes} of run.bin"
    stamp = FIRST_TIMESTAMP + 3 * format.counts
    assert stream.faults.first["gap"][0] == f"timestamp {stamp}, {LINKS[format.name][0]}"


@both
@given(st.permutations(range(20)), st.lists(st.integers(0, 19), max_size=6))
def test_order_and_doubles_do_not_matter_within_the_window(format, order, twice):
    samples, frames = truth_of(format, 10)
    shuffled = frames.reshape(20, -1)[[*order, *twice]]
    blocks, stream = read(format, shuffled.tobytes(), window=20 * format.ticks, counters=True)
    present = check(format, blocks, samples)
    # Until two frames of a link agree its clock is not known, so a lone one may be left out.
    assert frames_present(format, present).all()
    assert stream.faults["duplicate"] == len(twice)
    assert not stream.faults["missing ticks"]


@both
def test_frames_behind_the_window_are_late(format):
    samples, frames = truth_of(format, 40)
    order = [0, *range(2, 30), 1, *range(30, 40)]
    blocks, stream = read(format, frames[order].tobytes(), window=4 * format.ticks)
    there = frames_present(format, check(format, blocks, samples))
    assert np.argwhere(~there).tolist() == [[1, 0], [1, 1]]
    assert stream.faults["late"] == 2
    assert not stream.faults["out of order"]
    _, stream = read(format, frames[order].tobytes(), window=40 * format.ticks)
    assert stream.faults.counts == {"out of order": 2}


@both
@given(st.sets(st.integers(0, 39), max_size=39))
def test_dropped_frames_are_marked(format, dropped):
    samples, frames = truth_of(format, 20)
    kept = [n for n in range(40) if n not in dropped]
    links = LINKS[format.name]
    blocks, _ = read(format, frames.reshape(40, -1)[kept].tobytes(), links=links)
    there = frames_present(format, check(format, blocks, samples))
    wanted = np.isin(np.arange(40), kept).reshape(20, 2)
    assert np.array_equal(there, wanted)
    marked = sum(0 if b.missing is None else int(b.missing.sum()) for b in blocks)
    ticks = sum(len(block.samples) for block in blocks) * 2
    assert marked == (ticks - len(kept) * format.ticks) * format.channels


@both
def test_flagged_frames(format):
    samples, frames = truth_of(format, 8)
    frames[2, 1, 16 if format is WIB1 else 20] |= 0x02
    blocks, stream = read(format, frames.tobytes())
    assert check(format, blocks, samples).all()
    assert stream.faults.counts == {"flagged": 1}
    blocks, stream = read(format, frames.tobytes(), skip_flagged=True)
    assert np.argwhere(~frames_present(format, check(format, blocks, samples))).tolist() == [[2, 1]]
    assert stream.faults["flagged out"] == 1


@both
def test_two_frames_that_claim_one_place(format):
    samples, frames = truth_of(format, 8)
    other = frames.copy()
    other[4, 0, 200] ^= 1
    doubled = np.concatenate([frames.reshape(16, -1), other[4, :1]])
    blocks, stream = read(format, doubled.tobytes())
    there = frames_present(format, check(format, blocks, samples))
    assert np.argwhere(~there).tolist() == [[4, 0]]
    assert stream.faults["conflict"] == 1


@both
def test_link_that_the_stream_does_not_have(format):
    samples, frames = truth_of(format, 8)
    one = LINKS[format.name][1:]
    blocks, stream = read(format, frames.tobytes(), links=one)
    assert check(format, blocks, samples[:, format.channels :]).all()
    assert stream.faults.counts == {"unknown link": 8}
    turned = LINKS[format.name][::-1]
    blocks, stream = read(format, frames.tobytes(), links=turned)
    assert check(format, blocks, np.roll(samples, format.channels, axis=1)).all()
    assert stream.links == turned


def spliced(format, parts, gap_counts):
    """Frames of several runs of 10, each beginning ``gap_counts`` after where the last would."""
    samples, _ = truth_of(format, 10)
    made = []
    first = FIRST_TIMESTAMP
    starts = []
    for n in range(parts):
        starts.append(first)
        made.append(ENCODE[format.name](samples, first_timestamp=first, links=LINKS[format.name]))
        first += 10 * format.counts + gap_counts[n] if n < len(gap_counts) else 0
    return samples, np.concatenate(made), starts


@both
@pytest.mark.parametrize("seconds", [5e-3, 3600.0])
def test_clock_that_jumps_forward(format, seconds):
    jump = int(seconds * format.clock_mhz * 1e6) // format.counts * format.counts + 3
    samples, frames, starts = spliced(format, 2, [jump])
    blocks, stream = read(format, frames.tobytes())
    step, ticks = format.step, len(samples)
    assert sum(0 if b.missing is None else b.missing.all(axis=1).sum() for b in blocks) < 400
    found = np.concatenate(
        [b.samples[~b.missing.any(axis=1)] if b.missing is not None else b.samples for b in blocks]
    )
    assert np.array_equal(found, np.concatenate([samples, samples]))
    assert stream.faults["jump"] == 1
    assert stream.faults["gap"] == 2
    missing = (starts[1] - starts[0]) // step - ticks
    assert stream.faults["missing ticks"] == 2 * missing


@both
def test_clock_that_goes_back(format):
    samples, frames, starts = spliced(format, 2, [-int(3.6e3 * format.clock_mhz * 1e6)])
    blocks, stream = read(format, frames.tobytes())
    assert stream.faults.counts == {"jump": 1}
    cut = next(n for n, block in enumerate(blocks) if block.first_timestamp == starts[1])
    assert check(format, blocks[:cut], samples, starts[0]).all()
    assert check(format, blocks[cut:], samples, starts[1]).all()


@both
def test_counter_that_starts_again(format):
    samples, frames = truth_of(format, 20)
    at = 22 if format is WIB1 else 5
    frames[12:, :, at] += 0x10
    blocks, stream = read(format, frames.tobytes())
    assert check(format, blocks, samples).all()
    assert stream.faults.counts == {"new phase": 2}


@both
def test_counters_that_do_not_count(format):
    samples, frames = truth_of(format, 20)
    where = [22, 23] if format is WIB1 else [5, 6]
    frames[..., where] &= 0 if format is WIB1 else np.array([0, 0xF0], np.uint8)
    blocks, stream = read(format, frames.tobytes())
    assert check(format, blocks, samples).all()
    assert not stream.faults
    blocks, stream = read(format, frames.tobytes(), counters=True)
    assert stream.faults["wrong time"] == 40
    assert not blocks


@both
def test_sources_side_by_side(format):
    """Each link in a source of its own, one of them behind and one cut short."""
    links = (*LINKS[format.name], LINKS[format.name][0]._replace(crate=9))
    samples, frames = truth_of(format, 60, links=links)
    data = [frames[:, n].tobytes() for n in range(3)]
    data[1] = frames[10:, 1].tobytes()
    data[2] = data[2][: 40 * format.frame_bytes - 7]
    sources = [(f"link {n}", io.BytesIO(part)) for n, part in enumerate(data)]
    stream = FrameStream(
        sources, format, window=4 * format.ticks, block_ticks=50, chunk_bytes=6 * format.frame_bytes
    )
    there = frames_present(format, check(format, list(stream), samples))
    assert there[:, 0].all()
    assert there[:, 1].tolist() == [n >= 10 for n in range(60)]
    assert there[:, 2].tolist() == [n < 39 for n in range(60)]
    assert stream.faults["truncated"] == 1
    assert stream.faults.first["truncated"][0].endswith("of link 2")


@both
def test_a_restart_of_sources_side_by_side(format):
    samples, frames, starts = spliced(format, 2, [-int(60 * format.clock_mhz * 1e6)])
    frames = frames.reshape(20, 2, -1)
    sources = [(f"link {n}", io.BytesIO(frames[:, n].tobytes())) for n in range(2)]
    stream = FrameStream(sources, format, block_ticks=64, chunk_bytes=1)
    blocks = list(stream)
    cut = next(n for n, block in enumerate(blocks) if block.first_timestamp == starts[1])
    assert check(format, blocks[:cut], samples, starts[0]).all()
    assert check(format, blocks[cut:], samples, starts[1]).all()
    assert stream.faults.counts == {"jump": 2}


@both
def test_links_whose_ticks_differ_by_less_than_one(format):
    samples, frames = truth_of(format, 6)
    links = LINKS[format.name]
    second = ENCODE[format.name](
        samples[:, format.channels :], first_timestamp=FIRST_TIMESTAMP + 7, links=links[1:]
    )
    frames[:, 1] = second
    blocks, stream = read(format, frames.tobytes())
    assert check(format, blocks, samples).all()
    assert not stream.faults


class Dribble:
    """A live source: as much as it has, never what was asked for."""

    name = "live"

    def __init__(self, data, seed):
        self.data, self.random = data, np.random.default_rng(seed)

    def read1(self, size):
        size = min(size, int(self.random.integers(1, 3000)))
        part, self.data = self.data[:size], self.data[size:]
        return part

    read = None

    def close(self):
        pass


@both
@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_live_source(format, seed):
    samples, frames = truth_of(format, 12)
    stream = FrameStream(
        [("live", Dribble(frames.tobytes(), seed))], format, block_ticks=64, window=64
    )
    assert check(format, list(stream), samples).all()
    assert not stream.faults


@both
def test_live_source_gives_blocks_before_its_end(format):
    _, frames = truth_of(format, 400 if format is WIB1 else 20)
    data = frames.tobytes()

    class Endless:
        sent = 0

        def read(self, size):
            part = data[self.sent : self.sent + format.frame_bytes]
            self.sent += len(part)
            assert part, "it asked for more than it needs"
            return part

        def close(self):
            pass

    stream = FrameStream([("live", Endless())], format, block_ticks=64, window=64)
    assert len(next(iter(stream)).samples) == 64


@both
def test_what_stands_for_missing_samples(format):
    samples, frames = truth_of(format, 8)
    kept = np.delete(frames.reshape(16, -1), [4, 6, 15], axis=0)  # link 0 twice, link 1 at the end
    links = LINKS[format.name]
    blocks, _ = read(format, kept.tobytes(), links=links, fill=77)
    found = np.concatenate([block.samples for block in blocks])
    gap = slice(2 * format.ticks, 4 * format.ticks)
    assert (found[gap, : format.channels] == 77).all()
    assert (found[-format.ticks :, format.channels :] == 77).all()
    blocks, _ = read(format, kept.tobytes(), links=links)
    found = np.concatenate([block.samples for block in blocks])
    assert (found[gap, : format.channels] == samples[gap.start - 1, : format.channels]).all()
    last = samples[-format.ticks - 1, format.channels :]
    assert (found[-format.ticks :, format.channels :] == last).all()
    blocks, _ = read(format, kept[1:].tobytes(), links=links)
    assert (blocks[0].samples[0, : format.channels] == 0).all()


@both
def test_columns_of_a_stream(format):
    samples, frames = truth_of(format, 8)
    columns = [5, format.channels + 1, 0]
    broken = frames.copy()
    broken[3, 1, 1] ^= 1
    blocks, stream = read(format, broken.tobytes(), channels=columns)
    assert stream.channels == 3
    found = np.concatenate([block.samples for block in blocks])
    missing = np.concatenate(
        [np.zeros(b.samples.shape, bool) if b.missing is None else b.missing for b in blocks]
    )
    assert np.array_equal(found[~missing], samples[:, columns][~missing])
    lost = slice(3 * format.ticks, 4 * format.ticks)
    assert missing[lost, 1].all()
    assert missing.sum() == format.ticks


@both
@given(st.lists(st.integers(0, 127), min_size=1, max_size=40), st.sets(st.integers(4, 31)))
@settings(max_examples=40)
def test_any_columns(format, columns, dropped):
    """Columns of a stream with gaps are those of the whole stream, in any order, twice if asked."""
    _, frames = truth_of(format, 16)
    kept = frames.reshape(32, -1)[[n for n in range(32) if n not in dropped]].tobytes()
    whole, _ = read(format, kept)
    blocks, stream = read(format, kept, channels=columns)
    assert stream.channels == len(columns)
    assert len(blocks) == len(whole)
    for block, other in zip(blocks, whole, strict=True):
        assert np.array_equal(block.samples, other.samples[:, columns])
        missing = np.zeros(other.samples.shape, bool) if other.missing is None else other.missing
        assert (block.missing is None) == (not missing[:, columns].any())
        if block.missing is not None:
            assert np.array_equal(block.missing, missing[:, columns])


@both
def test_a_link_that_sends_the_same_for_ever(format):
    samples, frames = truth_of(format, 8)
    stuck = frames[7, 0].copy()
    stuck[12 if format is WIBETH else 13] ^= 1  # a timestamp of its own
    data = np.concatenate([frames.reshape(16, -1), np.repeat(stuck[None], 300, axis=0)])
    blocks, stream = read(format, data.tobytes(), counters=True)
    assert check(format, blocks, samples).all()
    assert stream.faults.counts == {"wrong time": 300}


@both
@given(data=st.data())
@settings(max_examples=60)
def test_anything_at_once(format, data):
    """Headers flipped, frames dropped, doubled, moved, cut, garbage put in: all in one stream."""
    samples, frames = truth_of(format, 16)
    parts = [frame.copy() for frame in frames.reshape(32, -1)]
    header = 32 if format is WIBETH else 24
    for _ in range(data.draw(st.integers(0, 8))):
        at = data.draw(st.integers(0, len(parts) - 1))
        what = data.draw(st.sampled_from(["flip", "drop", "double", "swap", "cut", "garbage"]))
        if what == "flip":
            # Not in the link: if the frame of the other link is lost too, nothing tells.
            first, last = (12, 34) if format is WIBETH else (13, 24)
            bit = data.draw(st.integers(0, first - 1) | st.integers(last, 8 * header - 1))
            if len(parts[at]) > header:
                parts[at][bit // 8] ^= 1 << bit % 8
        elif what == "drop" and len(parts) > 8:
            del parts[at]
        elif what == "double":
            parts.insert(at, parts[at].copy())
        elif what == "swap":
            other = data.draw(st.integers(0, len(parts) - 1))
            parts[at], parts[other] = parts[other], parts[at]
        elif what == "cut":
            parts[at] = parts[at][: data.draw(st.integers(0, len(parts[at])))]
        elif what == "garbage":
            size = data.draw(st.integers(1, 700))
            parts.insert(at, np.random.default_rng(size).integers(0, 256, size, np.uint8))
    broken = np.concatenate(parts).tobytes()
    found = []
    for chunk in (1, 1 << 22):
        blocks, stream = read(format, broken, links=LINKS[format.name], chunk_bytes=chunk)
        found.append(check(format, blocks, samples))
        present = int(found[-1].sum()) // format.ticks
        assert present <= 32
        if not stream.faults:
            assert broken == frames.tobytes() or present >= 8
    # What is kept depends on how the bytes come only while the counters are being learned.
    assert abs(int(found[0].sum()) - int(found[1].sum())) <= 4 * format.ticks


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"block_ticks": 0}, "block_ticks = 0"),
        ({"window": -1}, "window = -1"),
        ({"chunk_bytes": 0}, "chunk_bytes = 0"),
        ({"fill": -1}, "fill = -1"),
        ({"fill": 1 << 16}, "fill = 65536"),
        ({"links": [Link(3, 1, 0, 0)] * 2}, "twice"),
        ({"links": [Link(3, 1 << 10, 0, 0)]}, "crate"),
        ({"channels": [128]}, "not among the 128"),
        ({"channels": [-1]}, "not among"),
        ({"channels": [0.5]}, "not among"),
        ({"channels": []}, "not among"),
        ({"channels": [[1]]}, "not among"),
    ],
)
def test_options_that_make_no_stream(options, said):
    _, frames = truth_of(WIBETH, 4)
    with pytest.raises(InputError, match=said) as caught:
        read(WIBETH, frames.tobytes(), **options)
    assert caught.value.fix


def test_sources_that_fail():
    with pytest.raises(InputError, match="0 sources"):
        FrameStream([], WIB1)
    for data in (b"", b"\x00", bytes(100_000), bytes(range(256)) * 400, b"\xff" * 20_000):
        for format in (WIB1, WIBETH):
            with pytest.raises(StorageError, match="no WIB"):
                read(format, data)

    class Broken:
        def read(self, size):
            raise ConnectionResetError("gone")

        def close(self):
            pass

    class NotBlocking(Broken):
        def read(self, size):
            return None

    for source, said in ((Broken(), "gone"), (NotBlocking(), "does not block")):
        with pytest.raises(HairtriggerError, match=said):
            list(FrameStream([("live", source)], WIB1))


def test_faults_are_told():
    faults = Faults()
    assert not faults
    for kind in KINDS:
        faults.add(kind, 2, ["here", "there"])
        assert f"{kind}: 2 " in faults.in_words()
    faults.add_at("late", np.arange(100), "x")
    assert faults["late"] == 102
    assert len(faults.first["late"]) == FIRST
    both_of = Faults()
    both_of.update(faults)
    both_of.update(faults)
    assert both_of["late"] == 204
    assert faults.taken().counts["late"] == 102
    assert not faults
    for ask in (lambda: faults["lost"], lambda: faults.add("lost", 1)):
        with pytest.raises(KeyError):
            ask()


def test_faults_come_with_their_block():
    _, frames = truth_of(WIB1, 900)
    frames[500, 0, 1] ^= 1
    blocks, stream = read(WIB1, frames.tobytes(), block_ticks=100, chunk_bytes=464 * 64)
    marked = [n for n, block in enumerate(blocks) if block.faults["gap"]]
    assert marked == [5]
    total = Faults()
    for block in blocks:
        total.update(block.faults)
    total.update(stream.since_last())
    assert total == stream.faults


def test_memory_is_bounded():
    """60 MB are read with a few MB: blocks go out as they are whole."""
    _, frames = truth_of(WIBETH, 100)

    class Long:
        turn = 0

        def read(self, size):
            if self.turn == 42:
                return b""
            again = frames.copy()
            stamps = again.view("<u8")[..., 1]
            stamps += np.uint64(100 * self.turn * 2048)
            self.turn += 1
            return again.tobytes()

        def close(self):
            pass

    stream = FrameStream([("long", Long())], WIBETH, counters=False, block_ticks=1024)
    tracemalloc.start()
    try:
        ticks = sum(len(block.samples) for block in stream)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert ticks == 42 * 6400
    assert not stream.faults
    assert peak < 16e6


def test_streams_are_fast():
    _, frames = truth_of(WIBETH, 1000)
    data, best = frames.tobytes(), 0.0
    for _ in range(4):
        start = time.perf_counter()
        ticks = sum(len(block.samples) for block in FrameStream([("x", io.BytesIO(data))], WIBETH))
        best = max(best, len(data) / (time.perf_counter() - start))
        assert ticks == 64_000
    assert best > 200e6, f"{best / 1e6:.0f} MB/s"
