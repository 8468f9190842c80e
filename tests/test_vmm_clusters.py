"""Clusters of recorded hits: against a plain loop, and against vmm-sdat's own clusters."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hairtrigger.detectors.vmm import read_vmm
from hairtrigger.detectors.vmm_clusters import (
    CLUSTER_DTYPE,
    HitClusterRule,
    MatchRule,
    find_hit_clusters,
    match_planes,
)
from hairtrigger.detectors.vmm_hits import HIT_DTYPE, Clock, Geometry
from hairtrigger.errors import InputError

DATA = Path(os.environ.get("HAIRTRIGGER_DATA", Path(__file__).parents[2] / "shared" / "data"))
VMM = DATA / "vmm"


def hits_of(rows) -> np.ndarray:
    """Hits from (detector, plane, strip, time_ns, adc)."""
    hits = np.zeros(len(rows), HIT_DTYPE)
    for hit, (detector, plane, strip, time, adc) in zip(hits, rows, strict=True):
        hit["detector"], hit["plane"], hit["strip"] = detector, plane, strip
        hit["time_ns"], hit["adc"], hit["tdc"] = time, adc, 1
    return hits


def plain_clusters(hits: np.ndarray, rule: HitClusterRule) -> list[list[int]]:
    """The rule word by word, a hit at a time."""
    found = []
    for detector, plane in sorted({(int(h["detector"]), int(h["plane"])) for h in hits}):
        own = [
            n
            for n, h in enumerate(hits)
            if (h["detector"], h["plane"]) == (detector, plane) and h["adc"] >= rule.threshold
        ]
        own.sort(key=lambda n: hits["time_ns"][n])
        groups: list[list[int]] = []
        for n in own:
            late = groups and hits["time_ns"][n] - hits["time_ns"][groups[-1][-1]]
            if not groups or late > rule.max_gap_ns:
                groups.append([])
            groups[-1].append(n)
        for group in groups:
            group.sort(key=lambda n: (hits["strip"][n], -hits["time_ns"][n]))
            cluster: list[int] = []
            for n in group:
                times = [hits["time_ns"][m] for m in [*cluster, n]]
                far = cluster and hits["strip"][n] - hits["strip"][cluster[-1]] - 1
                if cluster and (far > rule.missing_strips or np.ptp(times) > rule.max_span_ns):
                    found.append(cluster)
                    cluster = []
                cluster.append(n)
            found.append(cluster)
    return [c for c in found if len(c) >= rule.min_size and sum(int(hits["adc"][n]) for n in c) > 0]


some_hits = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(0, 2),
        st.integers(0, 12),
        st.integers(0, 60).map(lambda n: n * 12.5),
        st.integers(0, 1023),
    ),
    min_size=1,
    max_size=40,
    unique_by=lambda row: row[:4],  # of two hits on one strip at one time, either may be first
)
rules = st.builds(
    HitClusterRule,
    max_gap_ns=st.sampled_from([0.0, 12.5, 50.0, 1000.0]),
    missing_strips=st.integers(0, 2),
    max_span_ns=st.sampled_from([0.0, 25.0, 100.0, 1000.0]),
    min_size=st.integers(1, 3),
    threshold=st.sampled_from([0, 100]),
)


@settings(max_examples=300, deadline=None)
@given(rows=some_hits, rule=rules)
def test_clusters_are_those_of_the_plain_rule(rows, rule):
    hits = hits_of(rows)
    clusters = find_hit_clusters(hits, rule)
    found = [clusters.members[n].tolist() for n in range(len(clusters))]
    assert found == plain_clusters(hits, rule)
    for row, members in zip(clusters.table, found, strict=True):
        own = hits[members]
        q, x, t = own["adc"].astype(float), own["strip"].astype(float), own["time_ns"]
        assert row["size"] == len(own)
        assert row["charge"] == q.sum()
        assert row["position"] == pytest.approx((q * x).sum() / q.sum())
        assert row["time_ns"] == pytest.approx((q * t).sum() / q.sum())
        assert row["position_charge2"] == pytest.approx((q * q * x).sum() / (q * q).sum())
        assert row["time_charge2_ns"] == pytest.approx((q * q * t).sum() / (q * q).sum())
        assert row["time_utpc_ns"] == t.max()
        assert row["position_utpc"] in x[t == t.max()]
        assert (row["first_strip"], row["last_strip"]) == (x.min(), x.max())
        assert row["span_ns"] == np.ptp(t)
        assert row["missing_strips"] == max([0, *(np.diff(x) - 1)])


@settings(max_examples=50, deadline=None)
@given(rows=some_hits, seed=st.integers(0, 1000))
def test_the_order_of_the_hits_is_of_no_matter(rows, seed):
    hits = hits_of(rows)
    order = np.random.default_rng(seed).permutation(len(hits))
    one, other = find_hit_clusters(hits), find_hit_clusters(hits[order])
    assert one.table.tobytes() == other.table.tobytes()
    assert one.members.values.tolist() == order[other.members.values].tolist()


def plain_matches(table: np.ndarray, rule: MatchRule) -> list[tuple[int, ...]]:
    found = []
    for detector in sorted(set(table["detector"].tolist())):
        rows = [
            sorted(
                np.flatnonzero(
                    (table["detector"] == detector) & (table["plane"] == plane)
                ).tolist(),
                key=lambda n: (table["time_ns"][n], n),
            )
            for plane in range(3)
        ]
        used: set[int] = set()
        for own in rows[0]:
            partners, size = [], table["size"][own]
            for plane in [1, 2] if rows[2] else [1]:
                best = None
                for other in rows[plane]:
                    delta = abs(table["time_ns"][other] - table["time_ns"][own])
                    ratio = table["charge"][own] / table["charge"][other]
                    good = rule.charge_ratio[0] <= ratio <= rule.charge_ratio[1]
                    good &= size + table["size"][other] >= rule.min_size
                    if other in used or not good or delta > rule.max_delta_ns:
                        continue
                    if best is None or delta < best[0]:
                        best = (delta, other)
                if best is None:
                    break
                partners.append(best[1])
                size += table["size"][best[1]]
            else:
                used.update(partners)
                found.append((own, *partners, *[-1] * (2 - len(partners))))
    return found


@settings(max_examples=200, deadline=None)
@given(
    rows=some_hits,
    rule=st.builds(
        MatchRule,
        max_delta_ns=st.sampled_from([0.0, 25.0, 200.0]),
        min_size=st.integers(1, 5),
        charge_ratio=st.sampled_from([(0.0, 1e9), (0.5, 2.0)]),
    ),
)
def test_matches_are_those_of_the_plain_rule(rows, rule):
    table = find_hit_clusters(hits_of(rows)).table
    matches = match_planes(table, rule)
    assert [tuple(row) for row in matches["clusters"].tolist()] == plain_matches(table, rule)
    for match in matches:
        zero, one = table[match["clusters"][:2]]
        assert match["charge_ratio"] == zero["charge"] / one["charge"]
        assert match["delta_ns"] == one["time_ns"] - zero["time_ns"]


def test_latest_hit_where_two_are_equally_late():
    """The one nearer to its end of the cluster; then that with more charge; then the last."""
    for adcs, late, strip in (
        ((9, 9, 9, 9), (0, 2), 0),
        ((9, 9, 9, 9), (1, 3), 3),
        ((8, 9, 9, 7), (0, 3), 0),
        ((7, 9, 9, 8), (0, 3), 3),
        ((8, 9, 9, 8), (0, 3), 3),
    ):
        rows = [(0, 0, n, 10.0 * (n in late), adcs[n]) for n in range(4)]
        assert find_hit_clusters(hits_of(rows)).table["position_utpc"].tolist() == [strip]


def test_hits_that_do_not_count():
    rows = [(0, 0, n, 100.0, 50) for n in range(0, 20, 4)]
    hits = hits_of(rows)
    hits["time_ns"][0] = np.nan
    hits["strip"][1] = -1
    hits["adc"][2] = hits["tdc"][2] = 0
    hits["adc"][3], hits["over_threshold"][3] = 15, True
    assert find_hit_clusters(hits).table["first_strip"].tolist() == [16]
    every = HitClusterRule(valid_only=False)
    assert find_hit_clusters(hits, every).table["first_strip"].tolist() == [12, 16]
    over = HitClusterRule(threshold=-1, valid_only=False)
    assert find_hit_clusters(hits, over).table["first_strip"].tolist() == [12]


def test_no_hits_and_wrong_tables():
    none = find_hit_clusters(np.zeros(0, HIT_DTYPE))
    assert len(none) == len(none.members) == 0
    assert len(match_planes(none.table)) == 0
    hits = hits_of([(-1, -1, -1, 5.0, 7)])
    with pytest.raises(InputError, match="no hit has a strip"):
        find_hit_clusters(hits)
    with pytest.raises(InputError, match="no table of hits"):
        find_hit_clusters(np.zeros(3))
    with pytest.raises(InputError, match="give the table of HitClusters"):
        match_planes(np.zeros(3))


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (HitClusterRule, {"max_gap_ns": float("nan")}, "max_gap_ns = nan"),
        (HitClusterRule, {"max_span_ns": -1}, "max_span_ns = -1"),
        (HitClusterRule, {"missing_strips": -1}, "missing_strips = -1"),
        (HitClusterRule, {"min_size": 0}, "min_size = 0"),
        (HitClusterRule, {"threshold": 0.5}, "threshold = 0.5"),
        (MatchRule, {"charge_ratio": (2, 1)}, "charge_ratio"),
        (MatchRule, {"time": "median"}, "centroid, charge2, utpc"),
    ],
)
def test_rules_are_checked(kind, options, words):
    with pytest.raises(InputError, match=words):
        kind(**options)


def let_geometry() -> Geometry:
    """The detectors of the ESS capture: 51 wires and 96 grids each, as vmm-sdat's LET example maps
    them."""
    detector = np.full((384, 16, 64), -1, np.int16)
    plane, strip = detector.astype(np.int8), detector.astype(np.int32)
    for number, fec in enumerate((0, 32)):
        for vmm, of, channels, first in (
            (0, 0, np.arange(51), 0),
            (2, 1, np.arange(32, 64), 0),
            (3, 1, np.arange(64), 32),
        ):
            detector[fec, vmm, channels], plane[fec, vmm, channels] = number, of
            strip[fec, vmm, channels] = first + channels - channels[0]
    return Geometry(detector, plane, strip)


@pytest.mark.needs_data
def test_ess_capture_against_the_file_of_vmm_sdat():
    """Hits bit for bit; clusters and matches all but those that lost a hit there (see the docs)."""
    names = "hist_68494d_example_LET.pcapng", "analysis_examples_read_data_example_LET.root"
    paths = [VMM / name for name in names]
    if not all(path.exists() for path in paths):
        pytest.skip(f"{VMM} is not here; set HAIRTRIGGER_DATA")
    pytest.importorskip("uproot", reason="needs the extra hairtrigger[root]")
    ours = read_vmm(paths[0], geometry=let_geometry(), clock=Clock(period_ns=22.5))
    theirs = read_vmm(paths[1])
    assert ours.faults.counts == {"unmapped": 248}
    hits = ours.hits[ours.hits["strip"] >= 0]
    assert len(hits) == len(theirs.hits) == 25_372
    for name in HIT_DTYPE.names:
        if name != "marker":  # not in the tree
            np.testing.assert_array_equal(hits[name], theirs.hits[name], err_msg=name)

    clusters = find_hit_clusters(hits, HitClusterRule(missing_strips=0))
    table, tree = clusters.table, theirs.trees.planes
    assert len(table) == 20_701

    def key(detector, plane, strips, times):
        return int(detector), int(plane), tuple(strips.tolist()), tuple(times.tolist())

    mine = {
        key(row["detector"], row["plane"], own["strip"], own["time_ns"]): n
        for n, row in enumerate(table)
        for own in [hits[clusters.members[n]]]
    }
    reference = {
        key(tree["det"][n], tree["plane"][n], tree["strips"][n], tree["times"][n]): n
        for n in range(len(tree["id"]))
    }
    both = [(mine[k], reference[k]) for k in mine if k in reference]
    assert len(reference) == 20_560
    assert len(both) == 20_559  # one has a hit more here, 141 are not there at all
    own, their = np.array(both).T
    for name, branch in (
        ("charge", "adc"),
        ("position", "pos"),
        ("time_ns", "time"),
        ("position_charge2", "pos_charge2"),
        ("time_charge2_ns", "time_charge2"),
        ("position_utpc", "pos_utpc"),
        ("time_utpc_ns", "time_utpc"),
        ("missing_strips", "max_missing_strip"),
    ):
        np.testing.assert_allclose(table[name][own], tree[branch][their], rtol=0, atol=1e-5)
    # Held as whole ns there.
    np.testing.assert_array_equal(np.floor(table["span_ns"][own]), tree["span_cluster"][their])
    matches = match_planes(table, MatchRule(max_delta_ns=500, charge_ratio=(0.1, 10)))
    assert abs(len(matches) - len(theirs.trees.detectors["id"])) <= 1
    assert table.dtype == CLUSTER_DTYPE
