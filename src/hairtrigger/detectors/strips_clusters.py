"""Clusters of hits in planes of strips, and the classical ways to a muon's position.

    found = find_clusters(made.charge, made.time)
    x = centroid(found, made.charge, config)                        # mm, one a cluster
    x = time_projection(found, made.charge, made.time, tan, config)
    cut = windows(found, made.charge, made.time)                    # (clusters, 16) each

x is in mm from the centre of the image, as in strips.TRUTH_DTYPE.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hairtrigger.detectors.checks import whole
from hairtrigger.detectors.strips_config import StripsConfig
from hairtrigger.errors import InputError


@dataclass(frozen=True)
class Clusters:
    """Clusters (m,), in order of plane and strip: ``plane``, ``first`` and ``last`` strip, ``hits``
    (strips with a hit), ``charge`` (sum of counts); ``strips`` and ``planes`` of the images."""

    plane: np.ndarray
    first: np.ndarray
    last: np.ndarray
    hits: np.ndarray
    charge: np.ndarray
    strips: int
    planes: int

    def __len__(self) -> int:
        return len(self.plane)

    @property
    def size(self) -> np.ndarray:
        """Strips from the first to the last."""
        return self.last - self.first + 1

    def select(self, where: np.ndarray | slice) -> Clusters:
        """Those at a mask (m,), indices or a slice."""
        names = ("plane", "first", "last", "hits", "charge")
        return Clusters(*(getattr(self, n)[where] for n in names), self.strips, self.planes)

    def leading(self) -> Clusters:
        """The cluster of most charge of each plane that has one; of equal ones the first."""
        order = np.lexsort((-self.charge.astype(np.int64), self.plane))
        _, first = np.unique(self.plane[order], return_index=True)
        return self.select(order[first])


@dataclass(frozen=True)
class Windows:
    """Strips about clusters: ``charge`` and ``time`` (m, width) as in the images (0 beyond them),
    ``first``, the image's strip of column 0 (may be negative), and ``x_mm`` of the middle."""

    charge: np.ndarray
    time: np.ndarray
    first: np.ndarray
    x_mm: np.ndarray


def find_clusters(charge: np.ndarray, time: np.ndarray, max_gap: int = 1) -> Clusters:
    """Runs of hits of images (n, strips) with at most ``max_gap`` strips without hit between two.

    Raises InputError for arrays of another shape or type, for hits with charge but no time or the
    other way round, and a negative gap.
    """
    charge, time = _images(charge, time)
    max_gap = whole("max_gap", max_gap, 0)
    planes, strips = charge.shape
    plane, strip = np.nonzero(charge)
    # Planes are kept further apart than any gap
    place = plane * (strips + max_gap + 1) + strip
    starts = np.flatnonzero(np.diff(place, prepend=-max_gap - 2) > max_gap + 1)
    ends = np.append(starts[1:], len(place)) - 1 if len(starts) else starts
    counts = charge[plane, strip].astype(np.int64)
    total = np.add.reduceat(counts, starts) if len(starts) else counts
    return Clusters(
        plane[starts], strip[starts], strip[ends], ends - starts + 1, total, strips, planes
    )


def centroid(clusters: Clusters, charge: np.ndarray, config: StripsConfig) -> np.ndarray:
    """Charge-weighted mean position of each cluster, mm, float64 (m,)."""
    row, strip, weight = _hits(clusters, charge)
    x = strip_x_mm(strip, clusters.strips, config)
    return np.bincount(row, weight * x, len(clusters)) / _charge(clusters, charge, row, weight)


def time_projection(
    clusters: Clusters,
    charge: np.ndarray,
    time: np.ndarray,
    tan_theta: np.ndarray | float,
    config: StripsConfig,
) -> np.ndarray:
    """Position by the cluster time projection, mm, float64 (m,): the centroid moved along the track
    from the mean distance of its charge to the middle of the gap.

    x = sum(q x) / sum(q) - (tan_theta + tan_lorentz) (<d> - gap / 2) - tan_lorentz gap / 2, with d =
    v t and <d> weighted by charge. ``tan_theta`` is one number or one a cluster (m,), of the track
    as known from elsewhere. Athena has a plus: there the angle has the other sign. A cluster of one
    hit keeps its centroid (without field).

    Raises InputError for images of another shape than the clusters' and a tangent that is not
    finite.
    """
    charge, time = _images(charge, time)
    tangent = np.asarray(tan_theta, np.float64)
    if tangent.shape not in ((), (len(clusters),)) or not np.isfinite(tangent).all():
        raise InputError(
            f"tan_theta has shape {tangent.shape} for {len(clusters)} clusters, or is not finite",
            "give one finite tangent, or one a cluster",
        )
    row, strip, weight = _hits(clusters, charge)
    total = _charge(clusters, charge, row, weight)
    x = np.bincount(row, weight * strip_x_mm(strip, clusters.strips, config), len(clusters)) / total
    distance = drift_mm(time[clusters.plane[row], strip], config)
    mean = np.bincount(row, weight * distance, len(clusters)) / total
    half = config.gap_mm / 2
    moved = (tangent + config.tan_lorentz) * (mean - half)
    return x - np.where(clusters.hits >= 2, moved, 0) - config.tan_lorentz * half


def windows(
    clusters: Clusters,
    charge: np.ndarray,
    time: np.ndarray,
    width: int = 16,
    *,
    only_own: bool = False,
    config: StripsConfig | None = None,
) -> Windows:
    """Cut ``width`` strips about the middle of each cluster; longer clusters lose their ends.

    ``only_own`` blanks hits of other clusters. ``config`` gives the pitch (by default the default's).
    """
    charge, time = _images(charge, time)
    _fits(clusters, charge)
    width = whole("width", width, 1)
    config = StripsConfig() if config is None else config
    first = (clusters.first + clusters.last + 1) // 2 - width // 2
    at = first[:, None] + np.arange(width)
    inside = (at >= 0) & (at < clusters.strips)
    if only_own:
        inside &= (at >= clusters.first[:, None]) & (at <= clusters.last[:, None])
    where = (clusters.plane[:, None], np.clip(at, 0, clusters.strips - 1))
    x = strip_x_mm(first + (width - 1) / 2, clusters.strips, config)
    return Windows(np.where(inside, charge[where], 0), np.where(inside, time[where], 0), first, x)


def strip_x_mm(strip: np.ndarray, strips: int, config: StripsConfig) -> np.ndarray:
    """Middle of a strip, mm from the centre of the image."""
    return (np.asarray(strip) - (strips - 1) / 2) * config.pitch_mm


def time_ns(code: np.ndarray, config: StripsConfig) -> np.ndarray:
    """Time of a time code, ns from the muon's crossing (of a clock without spread)."""
    return config.window_ns[0] + config.time_lsb_ns * np.asarray(code, np.float64)


def drift_mm(code: np.ndarray, config: StripsConfig) -> np.ndarray:
    """Distance from the strips by the drift time of a time code, mm; noise takes it out of the gap."""
    return config.drift_velocity_mm_ns * time_ns(code, config)


def _hits(clusters: Clusters, charge: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all hits of all clusters: number of the cluster, strip, charge as float64."""
    _fits(clusters, charge)
    size = clusters.size
    row = np.repeat(np.arange(len(clusters)), size)
    before = np.cumsum(size) - size
    strip = np.arange(len(row)) - before[row] + clusters.first[row]
    weight = charge[clusters.plane[row], strip]
    hit = weight > 0
    return row[hit], strip[hit], weight[hit].astype(np.float64)


def _charge(
    clusters: Clusters, charge: np.ndarray, row: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    total = np.bincount(row, weight, len(clusters))
    if not (total > 0).all():
        raise InputError("a cluster has no charge in these images", "give those it was found in")
    return total


def _fits(clusters: Clusters, charge: np.ndarray) -> None:
    if charge.shape != (clusters.planes, clusters.strips):
        raise InputError(
            f"charge is {charge.shape}, clusters are of {(clusters.planes, clusters.strips)}",
            "give the images that the clusters were found in",
        )


def _images(charge: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    charge, time = np.asarray(charge), np.asarray(time)
    if charge.ndim != 2 or charge.shape != time.shape:
        raise InputError(
            f"charge is {charge.shape} and time {time.shape}, not both (planes, strips)",
            "reshape chambers (n, 8, strips) to (8 n, strips)",
        )
    if charge.dtype.kind != "u" or time.dtype.kind != "u":
        raise InputError(
            f"charge is {charge.dtype} and time {time.dtype}", "give unsigned integers"
        )
    if not np.array_equal(charge > 0, time > 0):
        raise InputError(
            "strips have a charge without a time, or a time without a charge",
            "give both of the same hits, 0 where there is none",
        )
    return charge, time
