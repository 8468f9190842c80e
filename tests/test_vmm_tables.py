"""Geometry, calibration, and tables of hits in CSV, HDF5 and ROOT files."""

import gzip
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from hairtrigger.detectors.vmm import iter_vmm, new_faults, read_vmm
from hairtrigger.detectors.vmm_hits import HIT_DTYPE, Clock, read_calibration, read_geometry
from hairtrigger.detectors.vmm_write import encode_srs, write_pcapng
from hairtrigger.errors import InputError, StorageError, ToolError

DATA = Path(os.environ.get("HAIRTRIGGER_DATA", Path(__file__).parents[2] / "shared" / "data"))
VMM = DATA / "vmm"

HEADER = "packet,fec,vmm,ch,adc,bcid,tdc,overthr,offset,marker_timestamp\n"
ROWS = "1,80,2,25,145,2766,123,1,2,8354372\n1,80,3,4,7,0,0,0,31,0\n2,16,2,1,1,1,1,0,16,64\n"


def entry(**change) -> dict:
    return {"detector": 1, "plane": 0, "fec": 5, "vmm": 2, "id0": list(range(64)), **change}


def geometry_file(tmp_path, *entries, name="geometry.json") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps({"vmm_geometry": list(entries)}))
    return path


def some_hits(**fields) -> np.ndarray:
    hits = np.zeros(1, HIT_DTYPE)
    for name, value in {"fec": 5, "vmm": 2, "marker": 65536, "adc": 100, **fields}.items():
        hits[name] = value
    return hits


def test_csv(tmp_path):
    path = tmp_path / "hits.csv"
    path.write_text(HEADER + ROWS)
    geometry = geometry_file(tmp_path, entry(id0=[-1] * 25 + [7] + [-1] * 38))
    data = read_vmm(path, geometry=geometry)
    assert data.kind == "CSV"
    assert data.hits["fec"].tolist() == [5, 5]
    assert data.hits["offset"].tolist() == [2, -1]
    assert data.hits["marker"].tolist() == [8354372 << 10, 0]
    assert data.hits[["detector", "plane", "strip"]].tolist() == [(1, 0, 7), (-1, -1, -1)]
    coarse = ((8354372 << 10) + 2 * 4096) * 22.5
    assert data.hits["coarse_ns"][0] == coarse
    assert data.hits["time_ns"][0] == pytest.approx(coarse + 2767.5 * 22.5 - 123 * 60 / 255)
    assert np.isnan(data.hits["time_ns"][1])
    assert data.faults.counts == {"latency": 1, "no marker": 1, "unmapped": 1}
    assert f"line 4 of {path}" in data.faults.in_words()
    packed = tmp_path / "hits.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_vmm(packed, geometry=geometry).hits.tobytes() == data.hits.tobytes()


def test_csv_in_pieces(tmp_path, monkeypatch):
    path = tmp_path / "hits.csv"
    rows = [f"1,5,2,{n % 64},{n % 1024},{n % 4096},9,1,3,{n + 1}\n" for n in range(1000)]
    path.write_text(HEADER + "".join(rows))
    whole = read_vmm(path).hits
    assert whole["fec"].tolist() == [5] * 1000
    monkeypatch.setattr("hairtrigger.detectors.vmm_tables.CSV_ROWS", 64)
    assert np.concatenate(list(iter_vmm(path))).tobytes() == whole.tobytes()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEADER.replace("tdc", "tdx") + ROWS, "lacks the columns tdc"),
        (HEADER + ROWS[:20], "line 2 is no row of 10 whole numbers"),
        (HEADER + ROWS + "1,2,x,4,5,6,7,8,9,10\n", "line 5 is no row"),
        (HEADER + ROWS + "1,80,2,25,nan,2766,123,1,2,8354372\n", "line 5 is no row"),
        (HEADER + "1,80,2,25,1024,2766,123,1,2,8354372\n", "line 2: adc is 1024, not 0 to 1023"),
        (HEADER + "1,80,2,64,1,2766,123,1,2,8354372\n", "ch is 64"),
        (HEADER + f"1,80,2,6,1,2766,123,1,2,{1 << 70}\n", "more than 63 bits"),
    ],
)
def test_csv_that_is_none(tmp_path, text, words):
    path = tmp_path / "hits.csv"
    path.write_text(text)
    with pytest.raises(StorageError, match=words):
        read_vmm(path)


def test_truncated_gzip_of_csv(tmp_path):
    path = tmp_path / "hits.csv.gz"
    rows = "".join(f"1,80,2,{n % 64},{n % 999},2766,123,1,2,8354372\n" for n in range(500))
    path.write_bytes(gzip.compress((HEADER + rows).encode())[:-30])
    with pytest.raises(StorageError, match="damaged or truncated"):
        read_vmm(path)


def test_geometry_of_several_files(tmp_path):
    none = [-1] * 64
    one = geometry_file(tmp_path, entry(), entry(vmm=3, plane=1), entry(id0=none))
    two = geometry_file(tmp_path, entry(detector=2, fec=32), name="two.json")
    geometry = read_geometry(one, two)
    assert geometry.planes() == [(1, 0), (1, 1), (2, 0)]
    placed = geometry.placed(some_hits(fec=32, channel=9))
    assert placed[["detector", "plane", "strip"]].tolist() == [(2, 0, 9)]
    assert geometry.placed(some_hits(fec=1000))["strip"].tolist() == [-1]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([entry(), entry(plane=1)], "channel 0 of fec 5, vmm 2 has another place already"),
        ([entry(vmm=16)], "vmm is 16, not 0 to 15"),
        ([entry(fec=True)], "fec is True"),
        ([entry(plane=None)], "plane is None"),
        ([entry(id0=[0] * 63)], "not a list of 64 strips"),
        ([entry(id0=[0.5] * 64)], "not a list of 64 strips"),
        ([entry(id0=[-2] * 64)], "not a list of 64 strips"),
        ([entry(id1=[0] * 64)], "pads"),
    ],
)
def test_geometry_that_is_none(tmp_path, entries, words):
    with pytest.raises(InputError, match=words):
        read_geometry(geometry_file(tmp_path, *entries))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"vmm_geometry": 3}', '{"vmm_geometry": [1]}'])
def test_json_of_something_else(tmp_path, text):
    path = tmp_path / "geometry.json"
    path.write_text(text)
    with pytest.raises(StorageError, match=r"geometry\.json"):
        read_geometry(path)
    with pytest.raises(StorageError, match="does not exist"):
        read_geometry(tmp_path / "missing.json")
    with pytest.raises(InputError, match="no geometry file"):
        read_geometry()


def calibration_file(tmp_path, **change) -> Path:
    path = tmp_path / "calibration.json"
    lists = {name: [value] * 64 for name, value in change.items() if not isinstance(value, list)}
    lists |= {name: value for name, value in change.items() if isinstance(value, list)}
    path.write_text(json.dumps({"vmm_calibration": [{"fecID": 5, "vmmID": 2, **lists}]}))
    return path


def test_calibration(tmp_path):
    """Formulas of the README of vmm-sdat, and its time walk, on one hit; another chip stays."""
    path = calibration_file(
        tmp_path,
        adc_offsets=20.0,
        adc_slopes=1.5,
        time_offsets=3.0,
        time_slopes=0.9,
        timewalk_a=40.0,
        timewalk_b=2.0,
        timewalk_c=100.0,
        timewalk_d=1.0,
    )
    capture = tmp_path / "run.pcapng"
    hits = np.concatenate([some_hits(tdc=50, bcid=7), some_hits(tdc=50, bcid=7, vmm=3)])
    write_pcapng(capture, encode_srs(hits))
    read = read_vmm(capture, calibration=path, clock=Clock(25.0, 60.0)).hits
    assert read["adc"].tolist() == [120, 100]
    base = (65536 + 7) * 25.0
    fine = 37.5 - 50 * 60 / 255
    walk = 1.0 + 39.0 / (1 + 1.2**2)
    assert read["time_ns"][0] == pytest.approx(base + (fine - 3.0) * 0.9 - walk, abs=1e-6)
    assert read["time_ns"][1] == pytest.approx(base + fine, abs=1e-6)


@pytest.mark.parametrize(("offset", "adc"), [(500.0, 0), (-1000.0, 1023)])
def test_calibrated_adc_stays_in_range(tmp_path, offset, adc):
    path = calibration_file(tmp_path, adc_offsets=offset)
    write_pcapng(tmp_path / "run.pcapng", encode_srs(some_hits()))
    read = read_vmm(tmp_path / "run.pcapng", calibration=path)
    assert read.hits["adc"].tolist() == [adc]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"adc_slopes": 0.0}, "adc_slopes holds a 0"),
        ({"adc_slopes": [1.0] * 63}, "not a list of 64 finite numbers"),
        ({"time_offsets": ["a"] * 64}, "not a list of 64 finite numbers"),
        ({"time_offsets": float("nan")}, "not a list of 64 finite numbers"),
        ({"fecID": -1}, "fecID"),
    ],
)
def test_calibration_that_is_none(tmp_path, change, words):
    path = calibration_file(tmp_path, **{k: v for k, v in change.items() if k != "fecID"})
    if "fecID" in change:
        path.write_text(json.dumps({"vmm_calibration": [{"fecID": -1, "vmmID": 2}]}))
    with pytest.raises(InputError, match=words):
        read_calibration(path)


def hdf5_file(path: Path, **change) -> Path:
    h5py = pytest.importorskip("h5py", reason="needs the extra hairtrigger[hdf5]")
    fields = [("fec", "u1"), ("chip_id", "u1"), ("srs_timestamp", "<u8"), ("channel", "<u2")]
    fields += [("bcid", "<u2"), ("tdc", "<u2"), ("adc", "<u2"), ("over_threshold", "u1")]
    fields += [("chiptime", "<f4")]
    rows = np.zeros(3, [f for f in fields if f[0] != change.get("without")])
    rows["fec"], rows["srs_timestamp"], rows["adc"] = 2, [10, 20, 30], [100, 200, 2000]
    if "chiptime" in rows.dtype.names:
        rows["chiptime"] = [1.5, 2.5, 3.5]
    with h5py.File(path, "w") as file:
        file.create_dataset("srs_hits", data=rows)
    return path


def test_hdf5(tmp_path):
    data = read_vmm(hdf5_file(tmp_path / "hits.h5"))
    assert data.kind == "HDF5"
    assert data.hits["time_ns"].tolist() == [11.5, 22.5]
    assert data.faults.counts == {"bad hit": 1}
    with pytest.raises(StorageError, match="srs_hits with the fields chiptime"):
        read_vmm(hdf5_file(tmp_path / "other.h5", without="chiptime"))
    with pytest.raises(InputError, match="HDF5 files hold times"):
        read_vmm(tmp_path / "hits.h5", clock=Clock())
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes((tmp_path / "hits.h5").read_bytes()[:600])
    with pytest.raises(StorageError, match=r"damaged\.h5"):
        read_vmm(damaged)


def root_file(path: Path, tree: str = "hits", without: str = "") -> Path:
    uproot = pytest.importorskip("uproot", reason="needs the extra hairtrigger[root]")
    columns = {"fec": "u1", "vmm": "u1", "ch": "u1", "adc": "u2", "bcid": "u2", "tdc": "u2"}
    columns |= {"over_threshold": "?", "det": "u1", "plane": "u1", "pos": "u2"}
    columns |= {"readout_time": "f8", "time": "f8"}
    data = {name: np.arange(3).astype(kind) for name, kind in columns.items() if name != without}
    with uproot.recreate(path) as file:
        made = file.mktree(tree, {name: values.dtype for name, values in data.items()})
        made.extend(data)
    return path


def test_root(tmp_path):
    data = read_vmm(root_file(tmp_path / "run.root"))
    assert data.kind == "ROOT"
    assert data.hits["strip"].tolist() == [0, 1, 2]
    assert data.hits["time_ns"].tolist() == [0.0, 1.0, 2.0]
    assert data.trees.planes is None
    parts = list(iter_vmm(tmp_path / "run.root", faults=new_faults()))
    assert np.concatenate(parts).tobytes() == data.hits.tobytes()
    with pytest.raises(StorageError, match="lacks the branches tdc"):
        read_vmm(root_file(tmp_path / "less.root", without="tdc"))
    with pytest.raises(StorageError, match="none of the trees"):
        read_vmm(root_file(tmp_path / "other.root", tree="events"))
    with pytest.raises(InputError, match="ROOT files hold times"):
        read_vmm(tmp_path / "run.root", calibration=calibration_file(tmp_path))


def test_truncated_root_files_raise_or_are_whole(tmp_path):
    """The end of such a file holds what reading does not need; what is read must be right."""
    raw = root_file(tmp_path / "run.root").read_bytes()
    whole = read_vmm(tmp_path / "run.root").hits.tobytes()
    refused = 0
    for size in range(4, len(raw), 397):
        (tmp_path / "cut.root").write_bytes(raw[:size])
        try:
            assert read_vmm(tmp_path / "cut.root").hits.tobytes() == whole
        except StorageError as error:
            refused += "cut.root" in str(error)
    assert refused > 5


@pytest.mark.parametrize(("module", "name"), [("h5py", "hits.h5"), ("uproot", "run.root")])
def test_without_the_extra(tmp_path, monkeypatch, module, name):
    magic = {"hits.h5": b"\x89HDF\r\n\x1a\n", "run.root": b"root"}[name]
    (tmp_path / name).write_bytes(magic + bytes(100))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ToolError, match="pip install"):
        read_vmm(tmp_path / name)


def real(name: str) -> Path:
    path = VMM / name
    if not path.exists():
        pytest.skip(f"{path} is not here; set HAIRTRIGGER_DATA")
    return path


@pytest.mark.needs_data
def test_real_tables():
    pytest.importorskip("h5py", reason="needs the extra hairtrigger[hdf5]")
    data = read_vmm(real("hist_ae8379_example.h5"))
    assert len(data.hits) == 100_000
    assert not data.faults
    assert set(np.unique(data.hits["fec"])) == {2}
    calibration = read_calibration(real("hist_5de0d1_example_calib.json"))
    assert calibration.adc_offset[2, 2, 0] == 20.728
    geometry = read_geometry(real("example_rpc.json"))
    assert geometry.planes()[0] == (0, 0)
    assert (10, 0) in geometry.planes()
    with pytest.raises(InputError, match="another place already"):
        read_geometry(real("example_rpc.json"), real("example_rpc_plane1.json"))
