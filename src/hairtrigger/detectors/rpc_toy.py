"""Muon candidates of the public toy simulation MuonTriggerPhase2RPC, from its CSV.

A candidate is a cluster in the middle station (RPC2 at 7.51 m, the seed) with clusters in the inner
(6.81 m) and outer (9.81 m) station near the straight line from the origin through the seed. The
file scales its columns for a network; here they are in metres and GeV again.
"""

import csv
import math
from pathlib import Path

import numpy as np

from hairtrigger.errors import InputError, StorageError

COLUMNS = (
    "(seed z [m] - 4) / 2",
    "RPC1 delta z [m] / 0.04",
    "RPC3 delta z [m] / 0.16",
    "10 GeV charge / pT",
    "polar angle [rad]",
    "hits",
    "noise hits",
    "is the seed noise",
    "is any cluster noise",
)
"""What the columns of the file hold, as its ``getCandVars`` writes them."""

TOY_DTYPE = np.dtype(
    [
        ("seed_z_m", "<f8"),
        ("inner_delta_z_m", "<f8"),
        ("outer_delta_z_m", "<f8"),
        ("pt", "<f8"),
        ("charge", "i1"),
        ("theta_rad", "<f8"),
        ("eta", "<f8"),
        ("hits", "<u2"),
        ("noise_hits", "<u2"),
        ("seed_is_noise", "?"),
        ("any_is_noise", "?"),
    ]
)
"""One row per candidate. ``inner_delta_z_m`` and ``outer_delta_z_m``: distance of those clusters
along the beam from the line through the seed. ``pt`` [GeV], ``charge``, ``theta_rad`` (from the
beam) and ``eta`` are the true muon's. ``hits``: strips of the three clusters."""


def read_toy(path: str | Path) -> np.ndarray:
    """The candidates of a CSV as a table of `TOY_DTYPE`, in the order of the file.

    Raises StorageError for a file that is missing or no text, InputError for one without candidates
    and for a line with another number of columns or with values that no candidate has.
    """
    rows: list[list[float]] = []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for line in csv.reader(file):
                if line:
                    rows.append(_numbers(line, f"{path}, line {len(rows) + 1}"))
    except FileNotFoundError as error:
        raise StorageError(f"{path} does not exist", "check the path") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StorageError(
            f"{path} cannot be read as text: {error}", "give the events.csv of the toy"
        ) from error
    if not rows:
        raise InputError(f"{path} holds no candidates", "give the events.csv of the toy")
    return _table(np.array(rows))


def _numbers(line: list[str], where: str) -> list[float]:
    if len(line) != len(COLUMNS):
        raise InputError(
            f"{where} has {len(line)} columns, not {len(COLUMNS)}: {', '.join(COLUMNS)}",
            "give the events.csv of the toy, whole",
        )
    values: list[float] = []
    for name, text in zip(COLUMNS, line, strict=True):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(
                f"{where}: {name} is {text!r}, not a number",
                "give the events.csv of the toy; it has no header",
            )
        values.append(value)
    _, _, _, curvature, theta, *counts = values
    flags = counts[2:]
    for name, fine in (
        (COLUMNS[3], curvature != 0),
        (COLUMNS[4], 0 < theta < math.pi),
        (COLUMNS[5], _is_count(counts[0])),
        (COLUMNS[6], _is_count(counts[1]) and counts[1] <= counts[0]),
        (COLUMNS[7], flags[0] in (0, 1)),
        (COLUMNS[8], flags[1] in (0, 1)),
    ):
        if not fine:
            found = values[COLUMNS.index(name)]
            raise InputError(
                f"{where}: {name} is {found:g}, which no candidate has",
                "check that the columns are those of the toy: " + ", ".join(COLUMNS),
            )
    return values


def _is_count(value: float) -> bool:
    return value == int(value) and 0 <= value <= np.iinfo(np.uint16).max


def _table(columns: np.ndarray) -> np.ndarray:
    seed, inner, outer, curvature, theta, hits, noise, seed_noise, any_noise = columns.T
    table = np.zeros(len(columns), TOY_DTYPE)
    table["seed_z_m"] = 4 + 2 * seed
    table["inner_delta_z_m"] = 0.04 * inner
    table["outer_delta_z_m"] = 0.16 * outer
    table["pt"] = 10 / np.abs(curvature)
    table["charge"] = np.sign(curvature)
    table["theta_rad"] = theta
    table["eta"] = -np.log(np.tan(theta / 2))
    table["hits"], table["noise_hits"] = hits, noise
    table["seed_is_noise"], table["any_is_noise"] = seed_noise, any_noise
    return table
