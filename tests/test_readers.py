"""Readers of what others recorded or simulated: good files, and every bad one with a way out."""

import os
from pathlib import Path

import numpy as np
import pytest

from hairtrigger.detectors import rpc
from hairtrigger.detectors.rpc_files import cut_window, densest_strip, open_npy_pair
from hairtrigger.detectors.rpc_toy import COLUMNS, read_toy
from hairtrigger.errors import HairtriggerError, InputError, StorageError
from hairtrigger.studies import muon_train

DATA = Path(os.environ.get("HAIRTRIGGER_DATA", Path(__file__).parents[2] / "shared" / "data"))


# Pairs of .npy files


@pytest.fixture
def pair(tmp_path):
    """Paths, images and labels of 50 events; the first is without muon."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 2, (50, 9, 384), np.uint8)
    images[3] = 0
    labels = np.stack(
        [
            rng.uniform(3, 20, 50),
            rng.uniform(-1.05, 1.05, 50),
            rng.uniform(-0.2, 0.2, 50),
            np.full(50, np.nan),  # the column without meaning may hold anything
            rng.integers(0, 60, 50),
        ],
        axis=1,
    )
    labels[0, 0] = 0
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", labels)
    return tmp_path / "images.npy", tmp_path / "labels.npy", images, labels


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int64, np.float16, np.float64])
def test_pair_of_any_number_type(pair, dtype):
    at_images, at_labels, images, labels = pair
    np.save(at_images, np.asfortranarray(images.astype(dtype)))
    np.save(at_labels, labels.astype(np.float32))
    opened = open_npy_pair(at_images, at_labels)
    assert len(opened) == 50
    events = opened.read()
    assert np.array_equal(events.unpacked(), images)
    assert events.images.nbytes == images.nbytes // 8
    truth = events.truth
    assert truth["pt"][:, 0] == pytest.approx(labels[:, 0], rel=1e-6)
    assert truth["eta"][:, 0] == pytest.approx(labels[:, 1], rel=1e-6)
    assert truth["phi"][:, 0] == pytest.approx(labels[:, 2], rel=1e-6)
    assert np.array_equal(truth["n_hits"], labels[:, 4])
    assert truth["n_muons"].tolist() == [0] + [1] * 49
    assert truth["layers_hit"][:5, 0].tolist() == [9, 9, 9, 0, 9]
    assert not truth["charge"].any()


def test_pair_is_read_in_parts(pair):
    opened = open_npy_pair(*pair[:2])
    assert isinstance(opened.images, np.memmap)
    parts = list(opened.batches(20))
    assert [len(part) for part in parts] == [20, 20, 10]
    assert np.array_equal(np.concatenate([part.unpacked() for part in parts]), pair[2])
    assert np.array_equal(parts[1].truth, opened.read(20, 40).truth)
    for start, stop in ((-1, 3), (0, 51), (7, 6)):
        with pytest.raises(InputError, match="outside the 50"):
            opened.read(start, stop)
    with pytest.raises(InputError, match="at least 1"):
        next(opened.batches(0))


def test_pair_trains_as_simulated_events_do(pair):
    events = open_npy_pair(*pair[:2]).read()
    data = muon_train.data(events)
    assert len(data) == 50
    assert data.prepare(data.inputs[:2]).shape == (2, 9, 384, 1)
    assert data.targets[3, 3] == 0  # nothing to be seen in an empty image


def test_four_row_pair(pair):
    at_images, at_labels, images, _ = pair
    np.save(at_images, images[:, :4])
    assert open_npy_pair(at_images, at_labels, shape=(4, 384)).read().unpacked().shape[1] == 4
    with pytest.raises(InputError, match=r"\(50, 4, 384\), not \(events, 9, 384\)"):
        open_npy_pair(at_images, at_labels)
    with pytest.raises(InputError, match="multiple of 8"):
        open_npy_pair(at_images, at_labels, shape=(4, 380))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda images, labels: (images[:49], labels), "49 events"),
        (lambda images, labels: (images[..., None], labels), "channel axis"),
        (lambda images, labels: (images[0], labels), "shape"),
        (lambda images, labels: (labels, images), "images first"),
        (lambda images, labels: (images, labels[:, :4]), r"\(50, 4\)"),
        (lambda images, labels: (images.astype(complex), labels), "complex128"),
        (lambda images, labels: (images.astype("S1"), labels), "numbers"),
    ],
)
def test_pair_of_other_arrays(pair, change, said):
    at_images, at_labels, images, labels = pair
    changed = change(images, labels)
    np.save(at_images, changed[0])
    np.save(at_labels, changed[1])
    with pytest.raises(InputError, match=said) as caught:
        open_npy_pair(at_images, at_labels)
    assert caught.value.fix


@pytest.mark.parametrize("value", [2.0, -1.0, 0.5, np.nan, np.inf])
def test_pixels_are_0_or_1(pair, value):
    images = pair[2].astype(float)
    images[41, 5, 200] = value
    np.save(pair[0], images)
    opened = open_npy_pair(*pair[:2])
    opened.read(0, 41)
    with pytest.raises(InputError, match="event 41, row 5, strip 200"):
        opened.read(30, 50)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (0, np.nan, "pt of event 7"),
        (0, -5.0, "pt of event 7 is -5"),
        (1, np.inf, "eta of event 7"),
        (2, np.nan, "phi of event 7"),
        (4, -1.0, "n_hits of event 7"),
        (4, 1e6, "n_hits of event 7"),
    ],
)
def test_labels_are_those_of_muons(pair, column, value, said):
    labels = pair[3].copy()
    labels[7, column] = value
    np.save(pair[1], labels)
    with pytest.raises(InputError, match=said):
        open_npy_pair(*pair[:2]).read(5)


def test_files_that_are_no_pair(pair, tmp_path):
    at_images, at_labels = pair[:2]
    whole = at_images.read_bytes()
    for content in (b"", whole[:5], whole[:100], whole[:-1], b"pt,eta\n1,2\n" * 99):
        at_images.write_bytes(content)
        with pytest.raises(StorageError, match=r"images\.npy is no \.npy file"):
            open_npy_pair(at_images, at_labels)
    np.save(at_images, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(StorageError, match=r"no \.npy file"):
        open_npy_pair(at_images, at_labels)
    np.savez(tmp_path / "both.npz", a=np.zeros(3))
    with pytest.raises(StorageError, match="archive"):
        open_npy_pair(tmp_path / "both.npz", at_labels)
    with pytest.raises(StorageError, match="does not exist"):
        open_npy_pair(tmp_path / "gone.npy", at_labels)
    with pytest.raises(StorageError):
        open_npy_pair(tmp_path, at_labels)


def test_pair_without_events(pair):
    np.save(pair[0], np.zeros((0, 9, 384), np.uint8))
    np.save(pair[1], np.zeros((0, 5)))
    opened = open_npy_pair(*pair[:2])
    assert len(opened) == 0
    assert opened.read().unpacked().shape == (0, 9, 384)
    assert list(opened.batches(10)) == []


# The window of 9 x 16


def test_window_around_a_given_strip():
    images = np.zeros((4, 9, 384), np.uint8)
    images[:, 2, [0, 100, 383]] = 1
    cut, first = cut_window(images, np.array([100, 0, 383, 107.9]))
    assert first.tolist() == [92, 0, 368, 99]
    assert cut.shape == (4, 9, 16)
    assert [np.flatnonzero(one[2]).tolist() for one in cut] == [[8], [0], [15], [1]]
    assert not cut[:, [0, 1, 3, 4, 5, 6, 7, 8]].any()


def test_window_finds_the_track_in_noise():
    config = rpc.RpcConfig(pt_range_gev=(25.0, 30.0), eta_range=(0.1, 0.95))
    events = rpc.simulate(2000, seed=1, muons=1, config=config, with_signal=True)
    _, first = cut_window(events.unpacked())
    held = rpc.unpack(events.signal)
    inside = cut_window(held, first + 8)[0].sum(axis=(1, 2))
    assert (inside >= 0.8 * held.sum(axis=(1, 2))).mean() > 0.95


def test_densest_strip_is_the_middle_of_equals():
    images = np.zeros((3, 9, 384), np.uint8)
    images[0, :, 200] = 1
    images[1, :5, 50] = 1
    images[1, :, 300] = 1
    assert densest_strip(images).tolist() == [200, 300, 192]
    assert densest_strip(images, width=1)[:2].tolist() == [200, 300]
    assert cut_window(images)[0][:2].any(axis=2).all()


@pytest.mark.parametrize(
    ("images", "strip", "width"),
    [
        (np.zeros((2, 9, 48)), [1, 2, 3], 16),
        (np.zeros((2, 9, 48)), [1, 48], 16),
        (np.zeros((2, 9, 48)), [1, -1], 16),
        (np.zeros((2, 9, 48)), [1, np.nan], 16),
        (np.zeros((2, 9, 48)), ["a", "b"], 16),
        (np.zeros((2, 9, 48)), None, 49),
        (np.zeros((2, 9, 48)), None, 0),
        (np.zeros((9, 48)), None, 16),
    ],
)
def test_windows_that_cannot_be_cut(images, strip, width):
    with pytest.raises(InputError, match="Way out"):
        cut_window(images, strip, width)


# The toy CSV

LINES = "-0.6875,0.13,-0.32,0.4379,1.2353,6,0,0,0\r\n0.5,-0.25,0.5,-1.0,0.7854,7,1,0,1\r\n"


def test_toy_is_in_metres_and_gev(tmp_path):
    path = tmp_path / "events.csv"
    path.write_text(LINES, encoding="utf-8")
    table = read_toy(path)
    assert table["seed_z_m"] == pytest.approx([2.625, 5.0])
    assert table["inner_delta_z_m"] == pytest.approx([0.0052, -0.01])
    assert table["outer_delta_z_m"] == pytest.approx([-0.0512, 0.08])
    assert table["pt"] == pytest.approx([10 / 0.4379, 10.0])
    assert table["charge"].tolist() == [1, -1]
    assert table["eta"][1] == pytest.approx(-np.log(np.tan(0.7854 / 2)))
    assert table["hits"].tolist() == [6, 7]
    assert table["noise_hits"].tolist() == [0, 1]
    assert table["any_is_noise"].tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no candidates"),
        ("\r\n", "no candidates"),
        (LINES + LINES[:30], "line 3 has 5 columns"),
        (LINES + "1" + ",1" * 9, "line 3 has 10 columns"),
        (",".join(f"c{n}" for n in range(9)), "line 1.* is 'c0', not a number"),
        (LINES.replace("0.13", "nan"), "line 1.*RPC1.*'nan'"),
        (LINES.replace("-1.0", "0"), "line 2.*charge / pT is 0"),
        (LINES.replace("1.2353", "4"), "polar angle"),
        (LINES.replace(",6,0", ",6.5,0"), "hits is 6.5"),
        (LINES.replace(",6,0", ",6,7"), "noise hits is 7"),
        (LINES.replace("7,1,0,1", "7,1,0,2"), "any cluster noise is 2"),
    ],
)
def test_other_text_is_no_toy(tmp_path, text, said):
    path = tmp_path / "events.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said) as caught:
        read_toy(path)
    assert caught.value.fix


def test_files_that_are_no_toy(tmp_path):
    with pytest.raises(StorageError, match="does not exist"):
        read_toy(tmp_path / "gone.csv")
    path = tmp_path / "events.csv"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(StorageError, match="as text"):
        read_toy(path)
    path.write_bytes(b"1\0,2\n")
    with pytest.raises(HairtriggerError):
        read_toy(path)


@pytest.mark.needs_data
def test_published_toy():
    path = DATA / "rpc_toy" / "events_20000.csv"
    if not path.exists():
        pytest.skip(f"{path} is not here; set HAIRTRIGGER_DATA")
    table = read_toy(path)
    assert len(table) == 19_942
    assert len(COLUMNS) == 9
    assert table["pt"].min() > 3
    assert table["pt"].max() < 30
    assert np.abs(table["inner_delta_z_m"]).max() < 0.15
    assert np.abs(table["outer_delta_z_m"]).max() < 0.60
    # A circle of R = 6.6 m pT / GeV from r = 6 m on bends as the toy says: pT times the distance
    # from the seed's line is one number.
    clean = table[~table["any_is_noise"] & (np.abs(table["theta_rad"] - 1.4) < 0.08)]
    found = np.median(clean["outer_delta_z_m"] * clean["pt"] * clean["charge"])
    shift = ((9.81 - 6) ** 2 - 9.81 / 7.51 * (7.51 - 6) ** 2) / (2 * 6.6)
    assert abs(found) == pytest.approx(shift / np.sin(1.4) ** 3, rel=0.06)
