"""The reader of CMS drift-tube events, on files written here and on the published one."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from hairtrigger.detectors.cms_dt import Jagged, read_cms_dt
from hairtrigger.errors import InputError, StorageError, ToolError

uproot = pytest.importorskip("uproot", reason="needs the extra hairtrigger[root]")
ak = pytest.importorskip("awkward")

DATA = Path(os.environ.get("HAIRTRIGGER_DATA", Path(__file__).parents[2] / "shared" / "data"))

PRIMITIVES = {
    "id_r": [[1, 4], [], [3]],
    "id_phi": [[1, 12], [], [7]],
    "id_eta": [[-2, 2], [], [0]],
    "phi": [[0.0, 2048.0], [], [512.0]],
    "phiB": [[256.0, -512.0], [], [0.0]],
    "quality": [[2, 6], [], [4]],
    "bx": [[0, 1], [], [-8]],
    "is2nd": [[False, True], [], [False]],
}
SEGMENT_NAMES = [
    "id_r",
    "id_phi",
    "id_eta",
    "x",
    "y",
    "phi",
    "eta",
    "dXdZ",
    "dYdZ",
    "chi2",
    "time",
    "nHitsX",
    "nHitsY",
]
SEGMENTS = {name: [[], [3.0, -999.0], []] for name in SEGMENT_NAMES} | {
    name: [[], [2, 4], []] for name in ("id_r", "id_phi", "id_eta", "nHitsX", "nHitsY")
}
PARTICLES = {
    "pdgId": [[-13], [22, 13], [11]],
    **{name: [[7.5], [1.0, 2.5], [3.0]] for name in ("pt", "eta", "phi", "vx", "vy", "vz")},
}


def write(path: Path, leave_out: tuple[str, ...] = (), tree: str = "MuonPogTree/MUONPOGTREE"):
    groups = {"dtPrimitives": PRIMITIVES, "dtSegments": SEGMENTS, "genParticles": PARTICLES}
    arrays = {}
    for group, columns in groups.items():
        kept = {name: v for name, v in columns.items() if f"{group}.{name}" not in leave_out}
        arrays[group] = ak.zip({name: ak.Array(values) for name, values in kept.items()})
    with uproot.recreate(path) as file:
        made = file.mktree(
            tree,
            {name: array.type.content for name, array in arrays.items()},
            field_name=lambda outer, inner: f"{outer}.{inner}" if inner else outer,
        )
        made.extend(arrays)
    return path


def test_tables_are_in_physical_units(tmp_path):
    events = read_cms_dt(write(tmp_path / "tree.root"))
    assert len(events) == 3
    first = events.primitives[0]
    assert first["station"].tolist() == [1, 4]
    assert first["wheel"].tolist() == [-2, 2]
    # 4096 steps a radian from the middle of the sector, sectors 30 degrees apart from phi 0.
    assert first["phi_rad"] == pytest.approx([0, 0.5 - np.pi / 6], abs=1e-6)
    assert events.primitives[2]["phi_rad"] == pytest.approx([0.125 - np.pi], abs=1e-6)
    assert first["bend_rad"] == pytest.approx([0.5, -1.0])
    assert first["bx"].tolist() == [0, 0]
    assert first["second"].tolist() == [False, True]
    assert events.primitives[2]["bx"].tolist() == [-8]
    segment = events.segments[1]
    assert segment["station"].tolist() == [2, 4]
    assert segment["chi2"][0] == 3
    assert np.isnan(segment["time_ns"][1])
    assert [muons["charge"].tolist() for muons in events.muons] == [[1], [-1], []]
    assert events.muons[1]["pt"] == pytest.approx([2.5])
    assert events.muons[0]["vertex_cm"].tolist() == [[7.5, 7.5, 7.5]]


def test_events_have_any_number_of_rows(tmp_path):
    path = write(tmp_path / "tree.root")
    events = read_cms_dt(path)
    assert events.primitives.counts.tolist() == [2, 0, 1]
    assert events.primitives.event.tolist() == [0, 0, 2]
    assert len(events.primitives[1]) == 0
    assert events.primitives[-1]["station"].tolist() == [3]
    with pytest.raises(IndexError):
        events.primitives[3]
    part = read_cms_dt(path, 1, 3)
    assert part.primitives.counts.tolist() == [0, 1]
    assert np.array_equal(part.primitives[1], events.primitives[2])
    assert len(read_cms_dt(path, 2, 2)) == 0
    for start, stop in ((-1, 2), (0, 4), (2, 1)):
        with pytest.raises(InputError, match="outside the 3"):
            read_cms_dt(path, start, stop)


def test_iteration_ends():
    table = Jagged(np.arange(3), np.array([0, 2, 3]))
    assert [values.tolist() for values in table] == [[0, 1], [2]]


@pytest.mark.parametrize("name", ["dtPrimitives.phiB", "dtSegments.chi2", "genParticles.vz"])
def test_missing_branch_is_named(tmp_path, name):
    with pytest.raises(StorageError, match=f"lacks the branches {name}") as caught:
        read_cms_dt(write(tmp_path / "tree.root", leave_out=(name,)))
    assert caught.value.fix


def test_missing_tree_and_foreign_files(tmp_path):
    with pytest.raises(StorageError, match=r"no tree.*only Other"):
        read_cms_dt(write(tmp_path / "tree.root", tree="Other"))
    with uproot.recreate(tmp_path / "empty.root"):
        pass
    with pytest.raises(StorageError, match="only nothing"):
        read_cms_dt(tmp_path / "empty.root")
    with pytest.raises(StorageError, match="is no file"):
        read_cms_dt(tmp_path / "gone.root")
    with pytest.raises(StorageError, match="is no file"):
        read_cms_dt(tmp_path)
    for content in (b"", b"root", b"no ROOT file at all" * 100):
        (tmp_path / "foreign.root").write_bytes(content)
        with pytest.raises(StorageError, match="no ROOT file, or is truncated"):
            read_cms_dt(tmp_path / "foreign.root")


def test_truncated_files(tmp_path):
    whole = write(tmp_path / "tree.root").read_bytes()
    for share in (0.02, 0.1, 0.3, 0.6, 0.9):
        (tmp_path / "cut.root").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(StorageError, match="Way out"):
            read_cms_dt(tmp_path / "cut.root")


def test_without_uproot(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "uproot", None)
    with pytest.raises(ToolError, match=r"hairtrigger\[root\]"):
        read_cms_dt(tmp_path / "tree.root")


@pytest.mark.needs_data
def test_published_events():
    path = DATA / "cms_dt" / "MuonTree.root"
    if not path.exists():
        pytest.skip(f"{path} is not here; set HAIRTRIGGER_DATA")
    events = read_cms_dt(path)
    assert (len(events), len(events.primitives.values), len(events.segments.values)) == (
        2000,
        7165,
        8268,
    )
    assert (events.muons.counts == 1).all()
    primitives, muons = events.primitives.values, events.muons.values[events.primitives.event]
    assert set(np.unique(primitives["station"])) == {1, 2, 3, 4}
    assert muons["pt"].min() > 1
    assert muons["pt"].max() < 200
    # The units: a stiff muon's primitive is where the muon points to, and the field turns softer
    # ones by a shift that falls as 1 / pT.
    good = (primitives["bx"] == 0) & (primitives["quality"] >= 4)
    shift = np.angle(np.exp(1j * (primitives["phi_rad"] - muons["phi"])))
    stiff = good & (muons["pt"] > 100)
    assert np.median(np.abs(shift[stiff])) < 0.03
    for low, high in ((10, 20), (20, 40), (40, 80)):
        chosen = good & (muons["pt"] > low) & (muons["pt"] < high) & (primitives["station"] == 2)
        assert np.median(shift[chosen] * muons["pt"][chosen]) == pytest.approx(-2.6, abs=0.3)
