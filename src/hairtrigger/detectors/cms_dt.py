"""CMS drift tubes: trigger primitives, segments and generated muons of a MuonPOG tree (ROOT).

    events = read_cms_dt("MuonTree.root")
    events.primitives[0]["bend_rad"]       # of the first event
    events.primitives.values["station"]    # of all events, flat; .event says whose

Needs uproot: pip install 'hairtrigger[root]'.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hairtrigger.errors import InputError, StorageError, ToolError

TREE = "MuonPogTree/MUONPOGTREE"

PHI_STEPS_PER_RAD = 4096
BEND_STEPS_PER_RAD = 512
SECTORS = 12
NOT_MEASURED = -999
"""What the file holds where a segment has no such view; NaN here."""

PRIMITIVE_DTYPE = np.dtype(
    [
        ("station", "u1"),
        ("sector", "u1"),
        ("wheel", "i1"),
        ("phi_rad", "<f4"),
        ("bend_rad", "<f4"),
        ("quality", "u1"),
        ("bx", "i1"),
        ("second", "?"),
    ]
)
"""A trigger primitive. ``station`` 1 to 4 from the inside, ``sector`` 1 to 12, ``wheel`` -2 to 2;
``phi_rad`` in the frame of CMS, -pi to pi; ``bend_rad`` between the segment and the radius from the
beam; ``quality`` 2 to 6; ``bx``: the bunch crossing, 0 is right;
``second``: the second of its station in that crossing."""

SEGMENT_DTYPE = np.dtype(
    [
        ("station", "u1"),
        ("sector", "u1"),
        ("wheel", "i1"),
        ("x_cm", "<f4"),
        ("y_cm", "<f4"),
        ("phi", "<f4"),
        ("eta", "<f4"),
        ("dx_dz", "<f4"),
        ("dy_dz", "<f4"),
        ("chi2", "<f4"),
        ("time_ns", "<f4"),
        ("hits_x", "u1"),
        ("hits_y", "u1"),
    ]
)
"""A reconstructed segment, in the frame of its chamber: x across the wires, y along them. Sectors
13 and 14 are the second chambers of sectors 4 and 10. What was not measured is NaN."""

MUON_DTYPE = np.dtype(
    [("pt", "<f4"), ("eta", "<f4"), ("phi", "<f4"), ("charge", "i1"), ("vertex_cm", "<f4", (3,))]
)
"""A generated muon: pT [GeV], charge, vertex."""


@dataclass(frozen=True)
class Jagged:
    """A table with any number of rows for each event: ``values`` (rows,), and where each begins.

    Event ``n`` has the rows ``offsets[n]`` to ``offsets[n + 1]``; ``offsets`` is (events + 1,).
    """

    values: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, event: int) -> np.ndarray:
        if not -len(self) <= event < len(self):
            raise IndexError(f"event {event} of {len(self)}")
        event %= len(self)
        return self.values[self.offsets[event] : self.offsets[event + 1]]

    @property
    def counts(self) -> np.ndarray:
        """How many rows each event has, int64 (events,)."""
        return np.diff(self.offsets)

    @property
    def event(self) -> np.ndarray:
        """The event of each row, int64 (rows,)."""
        return np.repeat(np.arange(len(self)), self.counts)


@dataclass(frozen=True)
class CmsDtEvents:
    """Events of the file: tables of PRIMITIVE_DTYPE, SEGMENT_DTYPE and MUON_DTYPE."""

    primitives: Jagged
    segments: Jagged
    muons: Jagged

    def __len__(self) -> int:
        return len(self.muons)


_PRIMITIVES = ("id_r", "id_phi", "id_eta", "phi", "phiB", "quality", "bx", "is2nd")
_SEGMENTS = {
    "station": "id_r",
    "sector": "id_phi",
    "wheel": "id_eta",
    "x_cm": "x",
    "y_cm": "y",
    "phi": "phi",
    "eta": "eta",
    "dx_dz": "dXdZ",
    "dy_dz": "dYdZ",
    "chi2": "chi2",
    "time_ns": "time",
    "hits_x": "nHitsX",
    "hits_y": "nHitsY",
}
_MUONS = ("pdgId", "pt", "eta", "phi", "vx", "vy", "vz")


def read_cms_dt(path: str | Path, start: int = 0, stop: int | None = None) -> CmsDtEvents:
    """The events from ``start`` to ``stop`` of a file, all by default.

    Raises ToolError without uproot; StorageError for a file that is missing, truncated, not of ROOT
    or without the tree or one of its branches; InputError for a range outside the file.
    """
    uproot = _import_uproot()
    if not Path(path).is_file():
        raise StorageError(f"{path} is no file", "check the path")
    wanted = {
        "dtPrimitives": _PRIMITIVES,
        "dtSegments": tuple(_SEGMENTS.values()),
        "genParticles": _MUONS,
    }
    # uproot raises whatever the bytes lead it to, down to an AssertionError or a MemoryError.
    try:
        with uproot.open(path) as file:
            read = _read(file, path, wanted, start, stop)
    except (StorageError, InputError):
        raise
    except Exception as error:
        raise StorageError(
            f"{path} is no ROOT file, or is truncated: {type(error).__name__}: "
            f"{str(error).strip().partition(chr(10))[0]}",
            "copy it again, or give a MuonPOG tree",
        ) from error
    return CmsDtEvents(
        _primitives(*read["dtPrimitives"]),
        _segments(*read["dtSegments"]),
        _muons(*read["genParticles"]),
    )


def _import_uproot() -> Any:
    try:
        import uproot
    except ImportError as error:
        raise ToolError(
            f"uproot cannot be imported: {error}", "pip install 'hairtrigger[root]'"
        ) from error
    return uproot


Columns = dict[str, np.ndarray]


def _read(
    file: Any, path: str | Path, wanted: dict[str, tuple[str, ...]], start: int, stop: int | None
) -> dict[str, tuple[Columns, np.ndarray]]:
    """Flat columns and offsets of each collection."""
    classes = file.classnames(cycle=False)
    if classes.get(TREE) != "TTree":
        raise StorageError(
            f"{path} has no tree {TREE!r}, only {', '.join(sorted(classes)) or 'nothing'}",
            "give a MuonPOG tree",
        )
    tree = file[TREE]
    held = set(tree.keys(full_paths=False))
    names = [f"{group}.{name}" for group, leaves in wanted.items() for name in leaves]
    missing = [name for name in names if name not in held]
    if missing:
        raise StorageError(
            f"{TREE} in {path} lacks the branches {', '.join(missing)}",
            "give a tree with drift-tube primitives, segments and generated particles",
        )
    stop = tree.num_entries if stop is None else stop
    if not 0 <= start <= stop <= tree.num_entries:
        raise InputError(
            f"events {start} to {stop} reach outside the {tree.num_entries} of {path}",
            "give 0 <= start <= stop <= the number of events",
        )
    return {
        group: _flat({name: _array(tree, f"{group}.{name}", start, stop) for name in leaves}, path)
        for group, leaves in wanted.items()
    }


def _array(tree: Any, name: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat values and counts of one branch."""
    import awkward

    array = tree[name].array(entry_start=start, entry_stop=stop)
    counts = awkward.to_numpy(awkward.num(array, axis=1))
    return awkward.to_numpy(awkward.flatten(array)), counts


def _flat(
    branches: dict[str, tuple[np.ndarray, np.ndarray]], path: str | Path
) -> tuple[Columns, np.ndarray]:
    counts = next(iter(branches.values()))[1]
    for name, (_, other) in branches.items():
        if not np.array_equal(counts, other):
            raise StorageError(
                f"{path}: branch {name} has other lengths than {next(iter(branches))}",
                "make the file again",
            )
    offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    return {name: values for name, (values, _) in branches.items()}, offsets


def _primitives(columns: Columns, offsets: np.ndarray) -> Jagged:
    table = np.zeros(offsets[-1], PRIMITIVE_DTYPE)
    table["station"], table["sector"] = columns["id_r"], columns["id_phi"]
    table["wheel"], table["quality"] = columns["id_eta"], columns["quality"]
    phi = columns["phi"] / PHI_STEPS_PER_RAD
    phi = phi + (columns["id_phi"] - 1) * (2 * np.pi / SECTORS)
    table["phi_rad"] = np.arctan2(np.sin(phi), np.cos(phi))
    table["bend_rad"] = columns["phiB"] / BEND_STEPS_PER_RAD
    # The second track of a station comes one crossing late on the wire.
    table["bx"] = columns["bx"] - columns["is2nd"].astype(np.int16)
    table["second"] = columns["is2nd"]
    return Jagged(table, offsets)


def _segments(columns: Columns, offsets: np.ndarray) -> Jagged:
    table = np.zeros(offsets[-1], SEGMENT_DTYPE)
    for name, branch in _SEGMENTS.items():
        values = columns[branch]
        if values.dtype.kind == "f":
            values = np.where(values == NOT_MEASURED, np.nan, values)
        table[name] = values
    return Jagged(table, offsets)


def _muons(columns: Columns, offsets: np.ndarray) -> Jagged:
    muon = np.abs(columns["pdgId"]) == 13
    kept = np.concatenate([[0], np.cumsum(muon)])[offsets]
    table = np.zeros(int(muon.sum()), MUON_DTYPE)
    for name in ("pt", "eta", "phi"):
        table[name] = columns[name][muon]
    table["charge"] = -np.sign(columns["pdgId"][muon])
    for axis, name in enumerate(("vx", "vy", "vz")):
        table["vertex_cm"][:, axis] = columns[name][muon]
    return Jagged(table, kept)
