"""Samples of the strips study: clusters of simulated planes, as a network sees them.

A candidate is a cluster of hits: charge and time of `WIDTH` strips about its middle, and the angle
that a muon from the interaction point would have there, which a trigger knows of every place. The
truth beside it says what the cluster is and where the muon went.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors import strips as detector
from hairtrigger.detectors import strips_clusters as clusters
from hairtrigger.detectors.strips_config import StripsConfig
from hairtrigger.errors import StorageError

WIDTH = 16
"""Strips of a window: a muon at 40 degrees drifts onto 10, and the avalanches onto more."""
STRIPS = 32
"""Strips of a simulated plane."""
FEATURES = 2 * WIDTH + 1
"""Numbers of a candidate: charges, times, the tangent of the nominal angle."""
NOMINAL_MRAD = 15.0
"""How far tracks are about the direction from the interaction point (standard deviation); a trigger
takes tracks of up to 15 mrad (ATLAS-TDR-020)."""
BACKGROUND, MUON, PIECE = 0, 1, 2
"""What a candidate is: not the muon's; the muon's (of several the one with most of its charge);
another piece of the muon's, such as a delta ray's end."""
CHUNK = 50_000
"""Planes that are simulated at once."""

TRUTH_DTYPE = np.dtype(
    [
        ("kind", "u1"),
        ("plane", "<u4"),
        ("x", "<f4"),
        ("tan_theta", "<f4"),
        ("nominal", "<f4"),
        ("centroid", "<f4"),
        ("drift_mm", "<f4"),
        ("strips", "u1"),
        ("charge", "<u4"),
        ("delta_ray", "?"),
    ]
)
"""``kind`` as above; ``plane``: number of the plane in its sample. In strips from the middle of the
window: ``x``, where the muon crosses the middle of the gap, and ``centroid`` of the cluster.
``tan_theta``, ``nominal``: tangent of the muon's angle and of that which the place says;
``drift_mm``: how far the mean of the charge is from the middle of the gap, by the times.
``strips``: with a hit; ``charge``: their sum. 0 where a muon is asked for and there is none."""


@dataclass(frozen=True)
class Candidates:
    """Clusters: ``charge`` uint16 and ``time`` uint8 (n, `WIDTH`), ``truth`` (n,) of `TRUTH_DTYPE`.

    ``planes``: how many were looked at, with and without a cluster; ``pitch_mm``: of the strips.
    """

    charge: NDArray[np.uint16]
    time: NDArray[np.uint8]
    truth: NDArray[Any]
    planes: int
    pitch_mm: float

    def __len__(self) -> int:
        return len(self.charge)

    def select(self, where: Any) -> Candidates:
        """The candidates at ``where``: a slice, a mask or indices."""
        kept = (self.charge[where], self.time[where], self.truth[where])
        return Candidates(*kept, self.planes, self.pitch_mm)


@dataclass(frozen=True)
class Source:
    """What a sample is made of: ``planes``, with a ``muon`` or without, at angles [degrees], with
    background [kHz/cm2]; ``seed`` of the simulation."""

    planes: int
    seed: int
    angle_deg: tuple[float, float] = (0.0, 40.0)
    rate_khz_cm2: float = 0.0
    muon: bool = True


def simulate(source: Source, progress: Callable[[int, int], None] | None = None) -> Candidates:
    """The candidates of simulated planes. Raises what `detectors.strips.simulate_planes` does."""
    config = StripsConfig(background_khz_cm2=source.rate_khz_cm2)
    parts: list[Candidates] = []
    for start in range(0, source.planes, CHUNK):
        count = min(CHUNK, source.planes - start)
        made = detector.simulate_planes(
            count,
            seed=source.seed,
            config=config,
            angle_deg=source.angle_deg,
            muon=source.muon,
            strips=STRIPS,
            start=start,
        )
        rng = np.random.default_rng((source.seed, start))
        parts.append(candidates(made, config, source.angle_deg, rng, start))
        if progress:
            progress(start + count, source.planes)
    return joined(parts)


def candidates(
    made: detector.Planes,
    config: StripsConfig,
    angle_deg: tuple[float, float],
    rng: np.random.Generator,
    first: int = 0,
) -> Candidates:
    """All clusters of simulated planes.

    ``rng`` draws the nominal angles, within ``angle_deg`` where no muon has one; ``first`` is the
    number of the first plane.
    """
    found = clusters.find_clusters(made.charge, made.time)
    cut = clusters.windows(found, made.charge, made.time, WIDTH, config=config)
    truth = np.zeros(len(found), TRUTH_DTYPE)
    of = made.truth[found.plane]
    pitch = config.pitch_mm
    truth["plane"] = found.plane + first
    truth["kind"] = _kinds(found, made)
    truth["x"] = np.where(of["muon"], (of["x_mm"] - cut.x_mm) / pitch, 0)
    truth["tan_theta"] = of["tan_theta"]
    truth["delta_ray"] = of["delta_ray"]
    truth["nominal"] = _nominal(made, angle_deg, rng)[found.plane]
    at = clusters.centroid(found, made.charge, config)
    truth["centroid"] = (at - cut.x_mm) / pitch
    # The projection with a tangent of -1 moves the centroid by just that distance.
    moved = clusters.time_projection(found, made.charge, made.time, -1.0, config)
    truth["drift_mm"] = moved - at
    truth["strips"] = found.hits
    truth["charge"] = found.charge
    charge, time = cut.charge.astype(np.uint16), cut.time.astype(np.uint8)
    return Candidates(charge, time, truth, len(made), pitch)


def _kinds(found: clusters.Clusters, made: detector.Planes) -> NDArray[np.uint8]:
    """`MUON`, `PIECE` or `BACKGROUND` by whose most of the charge is."""
    row = np.repeat(np.arange(len(found)), found.size)
    begin = np.cumsum(found.size) - found.size
    strip = np.arange(len(row)) - begin[row] + found.first[row]
    at = (found.plane[row], strip)
    own = np.bincount(row, made.charge[at] * (made.muon_share[at] / 255.0), len(found))
    mine = own > 0.5 * found.charge
    order = np.lexsort((-own, found.plane))
    order = order[mine[order]]
    _, first = np.unique(found.plane[order], return_index=True)
    kinds = np.where(mine, PIECE, BACKGROUND).astype(np.uint8)
    kinds[order[first]] = MUON
    return kinds


def _nominal(
    made: detector.Planes, angle_deg: tuple[float, float], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Tangent of the nominal angle of each plane: the muon's, less what it deviates; without a
    muon, that of any place, so that the angle does not tell one from the other."""
    somewhere = np.radians(rng.uniform(*angle_deg, len(made)))
    angle = np.where(made.truth["muon"], np.arctan(made.truth["tan_theta"]), somewhere)
    return np.tan(angle + 1e-3 * NOMINAL_MRAD * rng.standard_normal(len(made)))


def joined(parts: list[Candidates]) -> Candidates:
    """Several samples one behind the other; the planes keep their numbers."""
    return Candidates(
        np.concatenate([p.charge for p in parts]),
        np.concatenate([p.time for p in parts]),
        np.concatenate([p.truth for p in parts]),
        sum(p.planes for p in parts),
        parts[0].pitch_mm,
    )


def save(found: Mapping[str, Candidates], folder: Path) -> None:
    """Write samples into ``folder``, a file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, one in found.items():
        arrays = {"charge": one.charge, "time": one.time, "truth": one.truth}
        numbers = {"planes": np.array(one.planes), "pitch_mm": np.array(one.pitch_mm)}
        np.savez(folder / f"{name}.npz", **arrays, **numbers)


def read(path: Path) -> Candidates:
    """A sample from its file. Raises StorageError for one that is missing, cut or foreign."""
    try:
        # Opened here: NumPy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            arrays = {name: held[name] for name in ("charge", "time", "truth")}
            planes, pitch = int(held["planes"]), float(held["pitch_mm"])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise StorageError(
            f"{path} is no sample of the strips study: {error}", "run the study again"
        ) from error
    if arrays["truth"].dtype != TRUTH_DTYPE:
        raise StorageError(f"{path} is of another version", "run the study again")
    return Candidates(**arrays, planes=planes, pitch_mm=pitch)
