"""Clusters of recorded hits: near in time, then near in strip; and clusters of planes that match.

    clusters = find_hit_clusters(data.hits, HitClusterRule(max_gap_ns=200, missing_strips=1))
    clusters.table["position"], clusters.members[0]
    pairs = match_planes(clusters.table, MatchRule())

The rules are those that vmm-sdat documents; the names of its options stand beside each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hairtrigger.detectors.checks import whole
from hairtrigger.detectors.cms_dt import Jagged
from hairtrigger.detectors.vmm_hits import HIT_DTYPE
from hairtrigger.errors import InputError

LEAST_ADC = 16
"""A hit over its threshold with less is no valid one, as for vmm-sdat."""

CLUSTER_DTYPE = np.dtype(
    [
        ("detector", "i2"),
        ("plane", "i1"),
        ("size", "u4"),
        ("charge", "u4"),
        ("position", "f8"),
        ("time_ns", "f8"),
        ("position_charge2", "f8"),
        ("time_charge2_ns", "f8"),
        ("position_utpc", "f8"),
        ("time_utpc_ns", "f8"),
        ("first_strip", "i4"),
        ("last_strip", "i4"),
        ("missing_strips", "i4"),
        ("span_ns", "f8"),
        ("max_gap_ns", "f8"),
    ]
)
"""A cluster of one plane. ``charge``: sum of adc; ``position`` [strips] and ``time_ns``: means
weighted with adc, with its square (charge2), and those of the latest hit (utpc).
``missing_strips``: the longest run of strips without a hit inside; ``span_ns`` from its first hit
to its last; ``max_gap_ns``: the longest time between two hits of the group that it was cut from."""

MATCH_DTYPE = np.dtype(
    [("detector", "i2"), ("clusters", "i8", (3,)), ("charge_ratio", "f8"), ("delta_ns", "f8")]
)
"""Clusters of planes 0, 1 and 2 that belong together: rows of the table, -1 where the detector has
no such plane. Charge of plane 0 over plane 1, time of plane 1 less plane 0."""

TIMES = {"centroid": "time_ns", "charge2": "time_charge2_ns", "utpc": "time_utpc_ns"}


@dataclass(frozen=True)
class HitClusterRule:
    """What makes a cluster.

    ``max_gap_ns`` (-dt): between hits that follow in time; ``missing_strips`` (-mst): in a row
    inside a cluster; ``max_span_ns`` (-spc): from its first to its last hit; ``min_size`` (-cs): in
    hits; ``threshold`` (-th): least adc of a hit, or -1 for hits over their own threshold alone.
    ``valid_only`` drops what no chip means: hits without tdc and adc, or over threshold with an adc
    below 16.
    """

    max_gap_ns: float = 200.0
    missing_strips: int = 1
    max_span_ns: float = 500.0
    min_size: int = 1
    threshold: int = 0
    valid_only: bool = True

    def __post_init__(self) -> None:
        for name in ("max_gap_ns", "max_span_ns"):
            _not_negative(name, getattr(self, name))
        whole("missing_strips", self.missing_strips, 0)
        whole("min_size", self.min_size, 1)
        whole("threshold", self.threshold, -1)


@dataclass(frozen=True)
class MatchRule:
    """Which clusters of two or three planes belong together.

    ``max_delta_ns`` (-dp): between their times, of the kind ``time`` (-coin): "centroid",
    "charge2" or "utpc"; ``min_size`` (-ccs): hits in all; ``charge_ratio`` (-crl, -cru): bounds of
    the charge of plane 0 over that of the other.
    """

    max_delta_ns: float = 200.0
    min_size: int = 2
    charge_ratio: tuple[float, float] = (0.5, 2.0)
    time: str = "centroid"

    def __post_init__(self) -> None:
        _not_negative("max_delta_ns", self.max_delta_ns)
        whole("min_size", self.min_size, 1)
        low, high = self.charge_ratio
        if not 0 <= low <= high:
            raise InputError(f"charge_ratio = {self.charge_ratio!r}", "give 0 <= low <= high")
        if self.time not in TIMES:
            raise InputError(f"time = {self.time!r}", f"give one of {', '.join(TIMES)}")


@dataclass(frozen=True)
class HitClusters:
    """``table``: CLUSTER_DTYPE (clusters,), by detector, plane, time of the group, first strip.
    ``members``: rows of the hits of each cluster, by strip and, on one strip, latest first."""

    table: np.ndarray
    members: Jagged

    def __len__(self) -> int:
        return len(self.table)


def find_hit_clusters(hits: np.ndarray, rule: HitClusterRule | None = None) -> HitClusters:
    """The clusters of hits (HIT_DTYPE, in any order) that lie on strips and have a time.

    Hits of a plane are sorted in time and cut where two are further apart than ``max_gap_ns``; each
    group is sorted by strip and cut where more strips are missing than allowed, or where a hit
    would stretch the cluster beyond ``max_span_ns``. Raises InputError for another table.
    """
    rule = rule or HitClusterRule()
    rows = _chosen(hits, rule)
    if not len(rows):
        return HitClusters(np.zeros(0, CLUSTER_DTYPE), Jagged(rows, np.zeros(1, np.int64)))
    # Hits come nearly in the order of time, and a stable sort is quick on what is nearly sorted.
    rows = rows[np.argsort(hits["time_ns"][rows], kind="stable")]
    plane = hits["detector"][rows].astype(np.int16) << 3 | hits["plane"][rows]
    order = np.argsort(plane, kind="stable")
    rows, plane = rows[order], plane[order]
    time, strip = hits["time_ns"][rows], hits["strip"][rows]
    step = np.diff(time)
    breaks = (plane[1:] != plane[:-1]) | (step > rule.max_gap_ns)
    group = np.concatenate([[0], np.cumsum(breaks)])
    begins = np.concatenate([[0], np.flatnonzero(breaks) + 1])
    gaps = np.maximum.reduceat(np.concatenate([[0], np.where(breaks, 0, step)]), begins)

    # By group, then by strip; backwards, so that on one strip the latest comes first.
    order = np.argsort((group << 32 | strip)[::-1], kind="stable")
    order = len(rows) - 1 - order
    rows, time, group, strip = rows[order], time[order], group[order], strip[order]
    starts = np.ones(len(rows), bool)
    starts[1:] = (group[1:] != group[:-1]) | (strip[1:] - strip[:-1] - 1 > rule.missing_strips)
    starts = _cut_long(time, starts, rule.max_span_ns)
    first = np.flatnonzero(starts)
    sizes = np.diff(np.append(first, len(rows)))
    charge = np.add.reduceat(hits["adc"][rows].astype(np.int64), first)
    kept = (sizes >= rule.min_size) & (charge > 0)

    inside = np.repeat(kept, sizes)
    rows, sizes, group = rows[inside], sizes[kept], group[first][kept]
    offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    return HitClusters(_table(hits[rows], offsets, gaps[group]), Jagged(rows, offsets))


def match_planes(table: np.ndarray, rule: MatchRule | None = None) -> np.ndarray:
    """MATCH_DTYPE (matches,): clusters of planes 0 and 1, and 2 where the detector has it.

    In the order of their times, each cluster of plane 0 takes the nearest in time of plane 1, of
    those not taken that the rule allows, then of plane 2; without a partner in each it stays alone.
    Detectors without a plane 0 or 1 have no matches. Raises InputError for another table.
    """
    rule = rule or MatchRule()
    if table.dtype != CLUSTER_DTYPE:
        raise InputError(f"a table of {table.dtype} was given", "give the table of HitClusters")
    found = [
        _match_detector(table, int(detector), rule) for detector in np.unique(table["detector"])
    ]
    return np.concatenate([np.zeros(0, MATCH_DTYPE), *found])


def _not_negative(name: str, value: float) -> None:
    if not (isinstance(value, int | float) and value >= 0):
        raise InputError(f"{name} = {value!r} is no length", "give a number of at least 0")


def _chosen(hits: np.ndarray, rule: HitClusterRule) -> np.ndarray:
    if not isinstance(hits, np.ndarray) or hits.dtype != HIT_DTYPE or hits.ndim != 1:
        raise InputError(
            f"{getattr(hits, 'dtype', type(hits))} is no table of hits",
            "give the hits of read_vmm, with a geometry",
        )
    if len(hits) and (hits["strip"] < 0).all():
        raise InputError(
            "no hit has a strip", "read them with the geometry of the detector: geometry=..."
        )
    good = (hits["strip"] >= 0) & np.isfinite(hits["time_ns"])
    good &= hits["over_threshold"] if rule.threshold < 0 else hits["adc"] >= rule.threshold
    if rule.valid_only:
        good &= (hits["tdc"] != 0) | (hits["adc"] != 0)
        good &= ~hits["over_threshold"] | (hits["adc"] >= LEAST_ADC)
    return np.flatnonzero(good)


def _cut_long(time: np.ndarray, starts: np.ndarray, limit: float) -> np.ndarray:
    """Where clusters start once those that last too long are cut, hit by hit in their order."""
    first = np.flatnonzero(starts)
    sizes = np.diff(np.append(first, len(time)))
    span = np.maximum.reduceat(time, first) - np.minimum.reduceat(time, first)
    first, sizes = first[span > limit], sizes[span > limit]
    if not len(first):
        return starts
    starts = starts.copy()
    order = np.argsort(-sizes, kind="stable")
    first, sizes = first[order], sizes[order]
    low, high = time[first].copy(), time[first].copy()
    for n in range(1, int(sizes[0])):
        live = int(np.searchsorted(-sizes, -n, side="left"))  # those with a hit number n
        now = time[first[:live] + n]
        low[:live] = np.minimum(low[:live], now)
        high[:live] = np.maximum(high[:live], now)
        cut = high[:live] - low[:live] > limit
        starts[first[:live][cut] + n] = True
        low[:live][cut] = high[:live][cut] = now[cut]
    return starts


def _table(hits: np.ndarray, offsets: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Clusters of hits that stand in their order; ``gaps``: longest time step of each's group."""
    first, last = offsets[:-1], offsets[1:] - 1
    table = np.zeros(len(first), CLUSTER_DTYPE)
    if not len(first):
        return table
    strip = hits["strip"]
    sizes = last - first + 1
    begin = hits["time_ns"][first]
    time = hits["time_ns"] - np.repeat(begin, sizes)
    adc = hits["adc"].astype(np.float64)
    for power, position, when in (
        (1, "position", "time_ns"),
        (2, "position_charge2", "time_charge2_ns"),
    ):
        weight = adc**power
        total = np.add.reduceat(weight, first)
        table[position] = np.add.reduceat(weight * strip, first) / total
        table[when] = begin + np.add.reduceat(weight * time, first) / total
    table["detector"], table["plane"] = hits["detector"][first], hits["plane"][first]
    table["size"], table["charge"] = sizes, np.add.reduceat(hits["adc"].astype(np.int64), first)
    table["first_strip"], table["last_strip"] = strip[first], strip[last]
    missing = np.zeros(len(hits), np.int64)
    missing[1:] = np.maximum(np.diff(strip) - 1, 0)
    missing[first] = 0
    table["missing_strips"] = np.maximum.reduceat(missing, first)
    latest = np.maximum.reduceat(time, first)
    table["span_ns"] = latest - np.minimum.reduceat(time, first)
    table["max_gap_ns"] = gaps
    at = _latest(time == np.repeat(latest, sizes), hits["adc"], first, last)
    table["position_utpc"], table["time_utpc_ns"] = strip[at], hits["time_ns"][at]
    return table


def _latest(
    is_latest: np.ndarray, adc: np.ndarray, first: np.ndarray, last: np.ndarray
) -> np.ndarray:
    """The latest hit of each cluster; of equally late ones the first or the last by strip,
    whichever is nearer to its end of the cluster, then that with more charge, then the last."""
    places = np.flatnonzero(is_latest)
    left = places[np.searchsorted(places, first)]
    right = places[np.searchsorted(places, last, side="right") - 1]
    nearer_left = left - first < last - right
    even = left - first == last - right
    return np.where(nearer_left | even & (adc[left] > adc[right]), left, right)


def _match_detector(table: np.ndarray, detector: int, rule: MatchRule) -> np.ndarray:
    time = table[TIMES[rule.time]]
    rows = []
    for plane in range(3):
        own = np.flatnonzero((table["detector"] == detector) & (table["plane"] == plane))
        rows.append(own[np.argsort(time[own], kind="stable")])
    others = [1, 2] if len(rows[2]) else [1]
    pairs = [_candidates(table, time, rows[0], rows[plane], rule) for plane in others]
    possible = np.all([np.diff(splits) > 0 for splits, _ in pairs], axis=0)
    # Where all have one candidate, which is nobody else's, there is nothing to choose.
    clear = np.all([np.diff(splits) == 1 for splits, _ in pairs], axis=0)
    for splits, theirs in pairs:
        wanted = np.bincount(theirs, minlength=len(table))
        clear[clear] = wanted[theirs[splits[:-1][clear]]] == 1
    partners = np.stack([theirs[splits[:-1][clear]] for splits, theirs in pairs], axis=1)
    own = rows[0][clear]
    enough = table["size"][own] + table["size"][partners[:, 0]] >= rule.min_size
    fixed = np.concatenate([own[enough, None], partners[enough]], axis=1)
    chosen = _chosen_in_turn(table, rows[0], np.flatnonzero(possible & ~clear), pairs, rule)
    matches = np.concatenate([fixed, np.array(chosen, np.int64).reshape(-1, 1 + len(others))])
    matches = matches[np.argsort(time[matches[:, 0]], kind="stable")]
    out = np.zeros(len(matches), MATCH_DTYPE)
    out["detector"] = detector
    out["clusters"] = -1
    out["clusters"][:, : 1 + len(others)] = matches
    zero, one = matches[:, 0], matches[:, 1]
    out["charge_ratio"] = table["charge"][zero] / table["charge"][one]
    out["delta_ns"] = time[one] - time[zero]
    return out


def _chosen_in_turn(
    table: np.ndarray,
    own: np.ndarray,
    places: np.ndarray,
    pairs: list[tuple[np.ndarray, np.ndarray]],
    rule: MatchRule,
) -> list[tuple[int, ...]]:
    """Matches of the clusters at some places of plane 0, each choosing from what is left."""
    sizes = table["size"].tolist()
    lists = [(splits.tolist(), theirs.tolist()) for splits, theirs in pairs]
    taken: list[set[int]] = [set() for _ in pairs]
    matches = []
    for n, first in zip(places.tolist(), own[places].tolist(), strict=True):
        found, size = [], sizes[first]
        for (splits, theirs), used in zip(lists, taken, strict=True):
            for other in theirs[splits[n] : splits[n + 1]]:
                if other not in used and size + sizes[other] >= rule.min_size:
                    found.append(other)
                    size += sizes[other]
                    break
            else:
                break
        else:
            for used, other in zip(taken, found, strict=True):
                used.add(other)
            matches.append((first, *found))
    return matches


def _candidates(
    table: np.ndarray, time: np.ndarray, own: np.ndarray, other: np.ndarray, rule: MatchRule
) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of another plane that the rule allows, for each of plane 0, nearest first; those of
    cluster ``n`` stand in the second array from ``first[n]`` to ``first[n + 1]``."""
    low = np.searchsorted(time[other], time[own] - rule.max_delta_ns, side="left")
    high = np.searchsorted(time[other], time[own] + rule.max_delta_ns, side="right")
    counts = high - low
    mine = np.repeat(np.arange(len(own)), counts)
    index = np.arange(len(mine)) - np.repeat(np.cumsum(counts) - counts, counts)
    theirs = other[np.repeat(low, counts) + index]
    ratio = table["charge"][own[mine]] / table["charge"][theirs]
    distance = np.abs(time[theirs] - time[own[mine]])
    good = (ratio >= rule.charge_ratio[0]) & (ratio <= rule.charge_ratio[1])
    good &= distance <= rule.max_delta_ns
    mine, theirs, distance, index = mine[good], theirs[good], distance[good], index[good]
    order = np.lexsort((index, distance, mine))
    splits = np.searchsorted(mine, np.arange(len(own) + 1))
    return splits, theirs[order]
