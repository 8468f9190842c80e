"""LHCb candidates of tau -> 3 mu: the four files of "Flavours of Physics", and ROOT ntuples.

    training = read_csv("training.csv")
    control  = read_csv("check_agreement.csv")   # D_s -> phi pi, simulated and recorded, weighted
    training.features[:, FEATURES.index("IPSig")], training.extra["mass"]

The files are those of the Kaggle challenge of 2015; they are not part of hairtrigger. Simulated
candidates of the same columns come from `hairtrigger.detectors.lhcb_toy`. ROOT needs uproot:
pip install 'hairtrigger[root]'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError, StorageError, ToolError

CANDIDATE = (
    *("LifeTime", "dira", "FlightDistance", "FlightDistanceError", "IP", "IPSig", "VertexChi2"),
    *("pt", "DOCAone", "DOCAtwo", "DOCAthree", "IP_p0p2", "IP_p1p2", "isolationa", "isolationb"),
    *("isolationc", "isolationd", "isolatione", "isolationf", "iso", "CDF1", "CDF2", "CDF3"),
    "ISO_SumBDT",
)
TRACKS = ("IsoBDT", "track_Chi2Dof", "IP", "IPSig", "pt", "p", "eta")
FEATURES = (
    *CANDIDATE,
    *(f"p{track}_{name}" for track in range(3) for name in TRACKS),
    "SPDhits",
)
"""The 46 features: of the candidate (LifeTime in ns, distances and impact parameters in mm, momenta
in MeV, dira the cosine between flight and momentum), of each track, and the hits of the
scintillating pad detector, which grow with pile-up."""

EXTRA = ("id", "signal", "weight", "mass", "production", "min_ANNmuon")
"""What some files have besides: 1 for signal (in check_agreement.csv for simulation), sWeights, the
mass in MeV, where a simulated tau comes from, the least muon-likeness of the three tracks."""

CHUNK = 50_000


@dataclass(frozen=True)
class Candidates:
    """``features`` (events, 46) float32 in the order of `FEATURES`; ``extra``: float64 (events,)
    by name, of those in `EXTRA` that the file has."""

    features: NDArray[np.float32]
    extra: Mapping[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.features)

    def column(self, name: str) -> NDArray[Any]:
        """A feature or an extra column (events,). Raises `InputError` naming those there are."""
        if name in FEATURES:
            return self.features[:, FEATURES.index(name)]
        if name in self.extra:
            return self.extra[name]
        raise InputError(
            f"There is no column {name!r}.", f"There are the features and {sorted(self.extra)}."
        )


def join(parts: Sequence[Candidates]) -> Candidates:
    """Candidates behind each other, with the extra columns that all of them have.

    Raises `InputError` for no parts.
    """
    if not parts:
        raise InputError("There are no candidates to join.", "Give at least one part.")
    names = [name for name in parts[0].extra if all(name in part.extra for part in parts)]
    extra = {name: np.concatenate([part.extra[name] for part in parts]) for name in names}
    return Candidates(np.concatenate([part.features for part in parts]), extra)


def read_csv(path: Path | str, *, need: Sequence[str] = ()) -> Candidates:
    """A whole file; see `iterate_csv`."""
    return join(list(iterate_csv(path, need=need)))


def iterate_csv(
    path: Path | str, *, need: Sequence[str] = (), chunk: int = CHUNK
) -> Iterator[Candidates]:
    """A file in parts of up to ``chunk`` candidates, so that memory stays bounded.

    ``need``: columns of `EXTRA` without which the file is of no use. Raises `StorageError` for a
    file that is missing, is no text or has no rows, and `InputError` naming the columns that are
    missing, or the lines among which something is no finite number.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            yield from _parts(path, file, need, chunk)
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{path} cannot be read: {error}", "Check the path.") from error


def _parts(path: Path, file: TextIO, need: Sequence[str], chunk: int) -> Iterator[Candidates]:
    names = [name.strip().strip('"') for name in file.readline().split(",")]
    _check_columns(path.name, names, need)
    where = {name: names.index(name) for name in (*FEATURES, *EXTRA) if name in names}
    line = 2
    while rows := list(islice(file, chunk)):
        try:
            table = np.loadtxt(rows, delimiter=",", usecols=list(where.values()), ndmin=2)
        except ValueError as error:
            raise InputError(
                f"{path.name}, lines {line} to {line + len(rows) - 1}: {error}.",
                "Every line needs a number in each column; get the file again.",
            ) from None
        if len(table) != len(rows):
            raise InputError(
                f"{path.name}, lines {line} to {line + len(rows) - 1}: {len(rows) - len(table)} "
                "of them are empty.",
                "Get the file again.",
            )
        yield _candidates(path.name, dict(zip(where, table.T, strict=True)))
        line += len(rows)
    if line == 2:
        raise StorageError(f"{path} has no rows below its header.", "Get the file again.")


def read_root(
    path: Path | str,
    tree: str,
    *,
    rename: Mapping[str, str] | None = None,
    need: Sequence[str] = (),
    constant: Mapping[str, float] | None = None,
    chunk: int = CHUNK,
) -> Iterator[Candidates]:
    """A flat tree of a ROOT file, data or simulation, in parts of up to ``chunk`` candidates.

    ``rename``: names of branches by our names where they differ (``{"weight": "nsig_sw"}``);
    ``constant``: extra columns with one value for the whole file (``{"signal": 0}`` for data).
    Raises `ToolError` without uproot, `StorageError` for a file or tree that cannot be read, and
    `InputError` naming the missing branches.
    """
    path, rename, constant = Path(path), dict(rename or {}), dict(constant or {})
    uproot = _import_uproot()
    if not path.is_file():
        raise StorageError(f"{path} is no file.", "Check the path.")
    # uproot raises whatever the bytes lead it to.
    try:
        with uproot.open(path) as file:
            found = file[tree]
            branches = set(found.keys())
            ours = [name for name in (*FEATURES, *EXTRA) if rename.get(name, name) in branches]
            _check_columns(path.name, [*ours, *constant], need)
            wanted = {name: rename.get(name, name) for name in ours}
            for part in found.iterate(list(wanted.values()), step_size=chunk, library="np"):
                table = {name: np.asarray(part[branch]) for name, branch in wanted.items()}
                rows = len(table[FEATURES[0]])
                table |= {name: np.full(rows, value) for name, value in constant.items()}
                yield _candidates(path.name, table)
    except (InputError, GeneratorExit):
        raise
    except Exception as error:
        raise StorageError(
            f"Tree {tree!r} of {path} cannot be read: {type(error).__name__}: {error}",
            "Check the name of the tree, and that the file is whole.",
        ) from error


def _check_columns(name: str, columns: Sequence[str], need: Sequence[str]) -> None:
    missing = [column for column in (*FEATURES, *need) if column not in columns]
    if missing:
        raise InputError(
            f"{name} has no column {', '.join(missing)}.",
            "Give a file of the challenge, or rename the branches of an ntuple.",
        )


def _candidates(name: str, table: Mapping[str, NDArray[Any]]) -> Candidates:
    bad = [column for column, values in table.items() if not np.isfinite(values).all()]
    if bad:
        raise InputError(
            f"{name} holds NaN or infinity in {', '.join(bad)}.", "Clean the file first."
        )
    features = np.stack([table[column] for column in FEATURES], axis=1).astype(np.float32)
    extra = {
        column: np.asarray(table[column], dtype=np.float64) for column in EXTRA if column in table
    }
    return Candidates(features, extra)


def _import_uproot() -> Any:
    try:
        import uproot
    except ImportError as error:
        raise ToolError(
            f"uproot cannot be imported: {error}", "pip install 'hairtrigger[root]'"
        ) from error
    return uproot
