"""Our hits and clusters of recorded strip detectors beside those of others, and how fast we are.

    python benchmarks/vmm_clusters.py [--out docs/detectors] [--vmm-sdat CHECKOUT]

The files are not part of hairtrigger: they are looked for in the folder ``vmm`` of HAIRTRIGGER_DATA
(default: shared/data beside the repository). Source: ess-dmsc/vmm-sdat. With a checkout of it (and
g++), its clusterer of today also runs on the same hits.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import vmm_sdat_peer as peer

from hairtrigger.detectors.cms_dt import Jagged
from hairtrigger.detectors.vmm import iter_vmm, new_faults, read_vmm
from hairtrigger.detectors.vmm_clusters import (
    HitClusterRule,
    HitClusters,
    MatchRule,
    find_hit_clusters,
    match_planes,
)
from hairtrigger.detectors.vmm_frames import ESS_READOUT, SRS_WORD, Frame, parse_frame
from hairtrigger.detectors.vmm_hits import CHANNELS, FECS, VMMS, Clock, Geometry, read_geometry
from hairtrigger.detectors.vmm_pcapng import datagrams
from hairtrigger.detectors.vmm_write import encode_ess, encode_srs, write_pcapng

LET, LET_ROOT = "hist_68494d_example_LET.pcapng", "analysis_examples_read_data_example_LET.root"
RPC, XYU = "run_example_rpc.pcapng", "run_example_xyu.pcapng"

SETTINGS = {
    "let": (Clock(22.5), HitClusterRule(200, 0, 500, 1), MatchRule(500, 2, (0.1, 10))),
    "rpc": (Clock(22.5), HitClusterRule(100, 1, 200, 1), MatchRule(200, 3, (0.2, 10))),
    "xyu": (Clock(25.0), HitClusterRule(200, 1, 500, 1), MatchRule(200, 3, (0.2, 10))),
}
"""Those of the scripts runConversion_LET.py (of April 2022), _rpc.py and _xyu.py of vmm-sdat; its
-bc 44.44 means 22.5 ns."""


def let_geometry() -> Geometry:
    """Two detectors of 51 wires (plane 0) and 96 grids, as LET_geometry.json maps them."""
    tables = [np.full((FECS, VMMS, CHANNELS), -1) for _ in range(3)]
    for number, fec in enumerate((0, 32)):
        for vmm, plane, first, last, strip in (
            (0, 0, 0, 50, 0),
            (2, 1, 32, 63, 0),
            (3, 1, 0, 63, 32),
        ):
            channels = np.arange(first, last + 1)
            for table, value in zip(tables, (number, plane, strip + channels - first), strict=True):
                table[fec, vmm, channels] = value
    return Geometry(tables[0].astype(np.int16), tables[1].astype(np.int8), tables[2])


def measured_clock(path: Path) -> dict[str, float]:
    """MHz of the clock that markers count, of each source, against the time of the capture."""
    points: dict[int, list[tuple[int, int]]] = {}
    with open(path, "rb") as file:
        for datagram in datagrams(file, path.name, new_faults()):
            frame = parse_frame(datagram.payload, "")
            if not isinstance(frame, Frame):
                continue
            if frame.format == "SRS":
                words = np.frombuffer(frame.body, SRS_WORD)
                marks = words["high"][words["low"] >> 15 == 0]
                counts = int(marks[-1]) << 10 if len(marks) else None
            else:
                last = np.frombuffer(frame.body, ESS_READOUT)[-1]
                counts = int(last["seconds"]) * 88_052_500 + int(last["counts"])
            if counts is not None:
                points.setdefault(frame.source, []).append((datagram.time_ns, counts))
    out = {}
    for source, pairs in sorted(points.items()):
        times, counts = np.array(pairs).T
        slope = np.polyfit((times - times[0]) / 1e9, (counts - counts[0]).astype(float), 1)[0]
        out[str(source)] = round(slope / 1e6, 3)
    return out


def compare_hits(ours: np.ndarray, theirs: np.ndarray) -> dict[str, int]:
    """How many hits there are, and in how many each field differs."""
    out = {"ours": len(ours), "theirs": len(theirs)}
    if len(ours) != len(theirs):
        return out
    for name in ours.dtype.names or ():
        mine, other = ours[name], theirs[name]
        out[name] = int(((mine != other) & ~((mine != mine) & (other != other))).sum())
    return out


def keys(hits: np.ndarray, clusters: HitClusters) -> list[tuple]:
    """Clusters by detector, plane and (strip, time) of their hits."""
    strip, when = hits["strip"].astype(float).tolist(), hits["time_ns"].tolist()
    found = []
    for row, members in zip(clusters.table, _lists(clusters.members), strict=True):
        pairs = tuple((strip[n], when[n]) for n in members)
        found.append((int(row["detector"]), int(row["plane"]), pairs))
    return found


def _lists(members: Jagged) -> list[list[int]]:
    return [part.tolist() for part in np.split(members.values, members.offsets[1:-1])]


def lost_in_2022(hits: np.ndarray, rule: HitClusterRule) -> np.ndarray:
    """Hits that vmm-sdat lost until its commit c039ecf of September 2023: where a gap in strips (or
    time) ends a cluster, the hit behind it came into none, and the next began anew."""
    lost = []
    rows = np.flatnonzero(hits["strip"] >= 0)
    planes = hits["detector"].astype(int) * 8 + hits["plane"]
    for plane in np.unique(planes[rows]):
        own = rows[planes[rows] == plane]
        own = own[np.argsort(hits["time_ns"][own], kind="stable")]
        far = np.flatnonzero(np.diff(hits["time_ns"][own]) > rule.max_gap_ns) + 1
        for group in np.split(own, far):
            if len(group) < 2:
                continue
            group = group[np.lexsort((-hits["time_ns"][group], hits["strip"][group]))]
            inside: list[int] = []
            for n in group.tolist():
                times = hits["time_ns"][[*inside, n]]
                gap = hits["strip"][n] - hits["strip"][inside[-1]] if inside else 1
                if not inside or (
                    0 < gap <= rule.missing_strips + 1 and np.ptp(times) <= rule.max_span_ns
                ):
                    inside.append(n)
                else:
                    lost.append(n)
                    inside = []
    return np.array(lost, np.int64)


def against_root(folder: Path) -> tuple[dict, dict]:
    """The ESS capture beside the ROOT file of 2022; also what the figure shows."""
    clock, rule, match = SETTINGS["let"]
    data = read_vmm(folder / LET, geometry=let_geometry(), clock=clock)
    hits = data.hits[data.hits["strip"] >= 0]
    theirs = read_vmm(folder / LET_ROOT)
    tree, pairs = theirs.trees.planes, theirs.trees.detectors
    reference = {
        (int(tree["det"][n]), int(tree["plane"][n]), tuple(zip(strips, times, strict=True))): n
        for n, (strips, times) in enumerate(
            zip(_lists(tree["strips"]), _lists(tree["times"]), strict=True)
        )
    }
    by_id = {int(number): key for key, n in reference.items() for number in [tree["id"][n]]}
    matched = {(by_id[a], by_id[b]) for a, b in zip(pairs["id0"], pairs["id1"], strict=True)}
    lost = lost_in_2022(hits, rule)
    out: dict = {"hits": compare_hits(hits, theirs.hits), "hits_lost_in_2022": len(lost)}
    out["hits"].pop("marker")  # not in the tree
    for name, chosen in (("all_hits", hits), ("without_lost", np.delete(hits, lost))):
        clusters = find_hit_clusters(chosen, rule)
        own = keys(chosen, clusters)
        found = match_planes(clusters.table, match)
        mine = {(own[a], own[b]) for a, b, _ in found["clusters"].tolist()}
        out[name] = {
            "clusters": len(own),
            "reference": len(reference),
            "same": len(set(own) & set(reference)),
            "matches": len(mine),
            "reference_matches": len(matched),
            "same_matches": len(mine & matched),
        }
        if name == "all_hits":
            both = [(n, reference[key]) for n, key in enumerate(own) if key in reference]
            at, to = np.array(both).T
            branches = ("adc", "pos", "time", "pos_charge2", "time_charge2", "pos_utpc")
            branches += ("time_utpc", "max_missing_strip")
            out["largest_difference"] = {
                column: float(
                    np.abs(clusters.table[column][at] - tree[branch][to].astype(float)).max()
                )
                for column, branch in zip(peer.COLUMNS, branches, strict=True)
            }
            shown = {"ours": clusters.table, "theirs": tree}
    return out, shown


def against_today(folder: Path, checkout: Path) -> dict:
    """Each capture through vmm-sdat's clusterer of today."""
    out = {}
    with tempfile.TemporaryDirectory() as place:
        program = peer.build(checkout, Path(place))
        for name, file, geometry in (
            ("let", LET, let_geometry()),
            ("rpc", RPC, read_geometry(folder / "example_rpc.json")),
            ("xyu", XYU, read_geometry(folder / "example_geometry_xyu.json")),
        ):
            clock, rule, match = SETTINGS[name]
            hits = read_vmm(folder / file, geometry=geometry, clock=clock).hits
            hits = hits[np.isfinite(hits["time_ns"])]
            theirs = peer.run(program, hits, geometry, clock, rule, match, name != "let")
            clusters = find_hit_clusters(hits, rule)
            own = keys(hits, clusters)
            both = [n for n, key in enumerate(own) if key in theirs.clusters]
            values = np.array([theirs.clusters[own[n]] for n in both])
            found = match_planes(clusters.table, match)
            mine = {
                tuple(own[n] if n >= 0 else None for n in row) for row in found["clusters"].tolist()
            }
            # A detector of one plane has its clusters in that tree too.
            matched = {row for row in theirs.matches if row[0] is not None and row[1] is not None}
            out[name] = {
                "hits": len(hits),
                "clusters": len(own),
                "reference": len(theirs.clusters),
                "same": len(both),
                "largest_difference": {
                    column: float(np.abs(clusters.table[column][both] - values[:, n]).max())
                    for n, column in enumerate(peer.COLUMNS)
                },
                "matches": len(mine),
                "reference_matches": len(matched),
                "same_matches": len(mine & matched),
                "peer_hits_per_second": round(len(hits) / theirs.seconds),
                "our_hits_per_second": round(
                    len(hits)
                    / _seconds(
                        lambda h=hits, r=rule, m=match: match_planes(
                            find_hit_clusters(h, r).table, m
                        )
                    )
                ),
            }
    return out


def xyu_residuals(folder: Path) -> tuple[dict, np.ndarray]:
    """How well plane 2 of the x-y-u capture follows from the others, and what each match misses by.

    u is linear in x and y, whatever the angles, if hits, strips and matches are right.
    """
    _, rule, match = SETTINGS["xyu"]
    hits = read_vmm(folder / XYU, geometry=folder / "example_geometry_xyu.json").hits
    table = find_hit_clusters(hits, rule).table
    rows = match_planes(table, match)["clusters"]
    x, y, u = (table["position"][rows[:, n]] for n in range(3))
    terms = np.stack([x, y, np.ones_like(x)], axis=1)
    kept = np.ones(len(u), bool)
    for _ in range(20):  # without what lies beyond three sigma
        fit = np.linalg.lstsq(terms[kept], u[kept], rcond=None)[0]
        residual = u - terms @ fit
        sigma = 1.4826 * np.median(np.abs(residual))
        kept = np.abs(residual) < 3 * sigma
    out = {
        "matches": len(rows),
        "u_of_x_y_1": [round(float(value), 4) for value in fit],
        "sigma_strips": round(float(sigma), 3),
        "within_two_strips": round(float((np.abs(residual) < 2).mean()), 4),
    }
    return out, residual


def _seconds(work: Callable[[], object], times: int = 7) -> float:
    """CPU time, the best of some tries: the machine may be busy."""
    best = np.inf
    for _ in range(times):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return float(best)


def rates(folder: Path) -> dict[str, float]:
    """Million hits a second of CPU time on one core, of the real hits repeated 20 times."""
    out = {}
    geometry = read_geometry(folder / "example_rpc.json")
    with tempfile.TemporaryDirectory() as place:
        for name, file, encode in (("srs", RPC, encode_srs), ("ess", LET, encode_ess)):
            hits = read_vmm(folder / file).hits
            hits = hits[hits["marker"] > 0]
            many = np.tile(hits, 20)
            span = int(hits["marker"].max() - hits["marker"].min()) + 65536
            many["marker"] += np.repeat(np.arange(20, dtype=np.uint64) * np.uint64(span), len(hits))
            path = Path(place) / f"{name}.pcapng"
            write_pcapng(path, encode(many))

            def read(path: Path = path, placing: Geometry | None = None) -> int:
                return sum(len(part) for part in iter_vmm(path, geometry=placing))

            assert read() == len(many)
            out[f"read_{name}"] = len(many) / _seconds(read) / 1e6
            out[f"read_{name}_megabytes"] = path.stat().st_size / _seconds(read) / 1e6
            if name == "srs":
                placed = read_vmm(path, geometry=geometry).hits
                took = _seconds(lambda p=path: read(p, geometry))
                out["read_srs_with_geometry"] = len(many) / took / 1e6
        _, rule, match = SETTINGS["rpc"]
        table = find_hit_clusters(placed, rule).table
        out["clusters"] = len(placed) / _seconds(lambda: find_hit_clusters(placed, rule)) / 1e6
        out["matches"] = len(placed) / _seconds(lambda: match_planes(table, match)) / 1e6
        csv = folder / RPC.replace(".pcapng", "_hits.csv.gz")
        rows = len(read_vmm(csv).hits)
        out["read_csv_gz"] = rows / _seconds(lambda: read_vmm(csv)) / 1e6
    return {name: round(value, 2) for name, value in out.items()}


def draw(shown: dict, folder: Path, path: Path) -> None:
    """Positions and charges of the ESS capture, ours and vmm-sdat's; residuals of the third plane
    of the x-y-u capture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (where, charge, plane) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    ours, theirs = shown["ours"], shown["theirs"]
    for axes, column, branch, edges in (
        (where, "position", "pos", np.arange(97) - 0.5),
        (charge, "charge", "adc", np.geomspace(100, 4000, 60)),
    ):
        for number, name in ((0, "wires"), (1, "grids")):
            colour = f"C{number}"
            mine = ours[column][ours["plane"] == number]
            other = theirs[branch][theirs["plane"] == number]
            axes.hist(mine, edges, histtype="step", color=colour, label=f"{name}, hairtrigger")
            counts, _ = np.histogram(other, edges)
            centres = (edges[1:] + edges[:-1]) / 2
            axes.plot(centres, counts, ".", color=colour, markersize=4, label=f"{name}, vmm-sdat")
        axes.legend(fontsize=8)
    where.set(xlabel="position [strips]", ylabel="clusters", title="ESS capture")
    charge.set(xlabel="charge [ADC counts]", ylabel="clusters", xscale="log", title="ESS capture")
    misses, residual = xyu_residuals(folder)
    plane.hist(residual, np.linspace(-4, 4, 161), histtype="step", color="k")
    plane.set(xlabel="u less that of x and y [strips]", ylabel="matches", yscale="log")
    plane.set(title=f"x-y-u capture: sigma {misses['sigma_strips']} strips")
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/detectors"))
    parser.add_argument("--vmm-sdat", type=Path, help="a checkout of ess-dmsc/vmm-sdat")
    arguments = parser.parse_args()
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("HAIRTRIGGER_DATA", default)) / "vmm"
    missing = [name for name in (LET, LET_ROOT, RPC, XYU) if not (folder / name).exists()]
    if missing:
        print(f"skipped, not found: {', '.join(missing)}; set HAIRTRIGGER_DATA to their folder")
        return
    root, shown = against_root(folder)
    figures = {
        "command": "python benchmarks/vmm_clusters.py --vmm-sdat CHECKOUT",
        "numpy": np.__version__,
        "machine": platform.machine(),
        "clock_mhz": {name: measured_clock(folder / name) for name in (RPC, XYU, LET)},
        "differing_hits": {
            name: compare_hits(
                read_vmm(folder / name).hits,
                read_vmm(folder / name.replace(".pcapng", "_hits.csv.gz")).hits,
            )
            for name in (RPC, XYU)
        },
        "against_the_file_of_2022": root,
        "third_plane_of_xyu": xyu_residuals(folder)[0],
        "million_hits_per_second": rates(folder),
    }
    if arguments.vmm_sdat is not None:
        figures["against_vmm_sdat_of_today"] = against_today(folder, arguments.vmm_sdat)
    text = json.dumps(figures, indent=1) + "\n"
    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "strips_files.json").write_text(text)
    draw(shown, folder, arguments.out / "strips_files.png")


if __name__ == "__main__":
    main()
