"""vmm-sdat's own clusterer, built from a checkout of ess-dmsc/vmm-sdat without ROOT.

Used by ``vmm_clusters.py --vmm-sdat FOLDER``. Needs g++. Its `Clusterer.cpp` is compiled as it is;
ROOT's fit and files, and its histograms of statistics, are left empty (``vmm_sdat_peer.cpp``).
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hairtrigger.detectors.vmm_clusters import HitClusterRule, MatchRule
from hairtrigger.detectors.vmm_hits import TDC_MAX, Clock, Geometry

TAKEN = ("Clusterer.cpp", "Clusterer.h", "Configuration.h", "DataStructures.h", "Statistics.h")
TAKEN += ("log.cpp", "log.h")

STUBS = {
    "Math/MinimizerOptions.h": """
        namespace ROOT { namespace Math { struct MinimizerOptions {
          static void SetDefaultMinimizer(const char *) {}
          static void SetDefaultStrategy(int) {}
          static void SetDefaultTolerance(double) {} }; } }""",
    "TF1.h": """#pragma once
        struct TF1 { TF1(const char *, const char *, double, double) {}
          void SetParNames(const char *, const char *, const char *) {}
          void SetParameters(double, double, double) {}
          void SetParLimits(int, double, double) {}
          int GetNDF() { return -1; } double GetParameter(int) { return 0; } };""",
    "TFitResult.h": """#pragma once
        struct TFitResult { int Status() { return 1; } int CovMatrixStatus() { return 0; } };
        struct TFitResultPtr { TFitResult one; TFitResult *Get() { return nullptr; }
          TFitResult *operator->() { return &one; } };""",
    "TGraph.h": "#pragma once",
    "TGraphErrors.h": """#pragma once
        #include "TF1.h"
        #include "TFitResult.h"
        struct TGraphErrors { void Set(int) {} void SetPoint(int, double, double) {}
          void SetPointError(int, double, double) {}
          TFitResultPtr Fit(TF1 *, const char *) { return {}; } };""",
    "RootFile.h": """#pragma once
        #include <map>
        #include <string>
        #include <tuple>
        #include <vector>
        #include "Configuration.h"
        #include "DataStructures.h"
        struct RootFile {
          static RootFile *GetInstance(Configuration &) { static RootFile one; return &one; }
          static void Dispose() {}
          ClusterVectorPlane planes; ClusterVectorDetector detectors;
          void AddHits(Hit &&) {}
          void SaveHits() {}
          void SaveClustersPlane(ClusterVectorPlane &&c) {
            planes.insert(planes.end(), c.begin(), c.end()); }
          void SaveClustersDetector(ClusterVectorDetector &&c) {
            detectors.insert(detectors.end(), c.begin(), c.end()); }
          void SaveDate(double, std::string, double, std::string, uint64_t) {}
          void FillCalibHistos(uint16_t, uint8_t, uint8_t, float, float, float, float) {}
        };""",
}

ROW = np.dtype(
    [("coarse", "f8"), ("chip", "f8")]
    + [(name, "i4") for name in ("fec", "vmm", "channel", "bcid", "tdc", "adc", "over", "unused")]
)

COLUMNS = ("charge", "position", "time_ns", "position_charge2", "time_charge2_ns")
COLUMNS += ("position_utpc", "time_utpc_ns", "missing_strips")
"""Of `CLUSTER_DTYPE`, in the order of the peer's output."""


@dataclass(frozen=True)
class PeerClusters:
    """Clusters by detector, plane and (strip, time) of their hits: what vmm-sdat says of each
    (`COLUMNS`); matches as tuples of such keys; and how long it took."""

    clusters: dict[tuple, list[float]]
    matches: list[tuple]
    seconds: float


def build(checkout: Path, folder: Path) -> Path:
    """The program, compiled in ``folder``."""
    for name in TAKEN:
        shutil.copy(checkout / "src" / name, folder / name)
    for name, text in STUBS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    shutil.copy(Path(__file__).with_suffix(".cpp"), folder / "peer.cpp")
    command = ["g++", "-O2", "-std=c++17", "-fpermissive", "-w", "-I."]
    command += ["Clusterer.cpp", "log.cpp", "peer.cpp", "-o", "peer", "-lpthread"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "peer"


def run(
    program: Path,
    hits: np.ndarray,
    geometry: Geometry,
    clock: Clock,
    rule: HitClusterRule,
    match: MatchRule,
    with_bcid: bool,
) -> PeerClusters:
    """vmm-sdat's clusters of hits that have a time; ``with_bcid``: the SRS's, not the ESS's."""
    folder = program.parent
    rows = np.zeros(len(hits), ROW)
    rows["coarse"] = hits["coarse_ns"]
    fine = 1.5 * clock.period_ns - hits["tdc"] * (clock.tac_ns / TDC_MAX)
    rows["chip"] = fine + hits["bcid"] * clock.period_ns if with_bcid else fine
    for name in ("fec", "vmm", "channel", "bcid", "tdc", "adc"):
        rows[name] = hits[name]
    rows["over"] = hits["over_threshold"]
    rows.tofile(folder / "hits.bin")
    with open(folder / "geometry.txt", "w") as file:
        for at in np.argwhere(geometry.strip >= 0).tolist():
            place = (
                table[tuple(at)] for table in (geometry.detector, geometry.plane, geometry.strip)
            )
            print(*at, *place, file=file)
    numbers = (
        clock.period_ns,
        rule.max_gap_ns,
        rule.missing_strips,
        rule.max_span_ns,
        rule.min_size,
    )
    numbers += (match.max_delta_ns, match.min_size, *match.charge_ratio)
    names = (folder / name for name in ("geometry.txt", "hits.bin", "out.txt"))
    subprocess.run([program, *names, *map(str, numbers)], check=True, stdout=subprocess.DEVNULL)
    clusters, by_id, matches, seconds = {}, {0: None}, [], 0.0
    for line in (folder / "out.txt").read_text().splitlines():
        kind, *words = line.split()
        if kind == "T":
            seconds = float(words[0])
        elif kind == "P":
            values = [float(word) for word in words[3:]]
            own, members = values[: len(COLUMNS)], values[len(COLUMNS) :]
            pairs = tuple(zip(members[::2], members[1::2], strict=True))
            key = (int(words[1]), int(words[2]), pairs)
            clusters[key] = own
            by_id[int(words[0])] = key
        else:
            matches.append(tuple(by_id[int(word)] for word in words))
    return PeerClusters(clusters, matches, seconds)
