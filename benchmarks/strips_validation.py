"""The simulation of strips beside published figures: one figure and its numbers.

    python benchmarks/strips_validation.py [--out docs/detectors] [--rate]

It writes strips_validation.png and strips_validation.json.
"""

import argparse
import dataclasses
import json
import math
import os
import platform
import time
from pathlib import Path

import numpy as np

from hairtrigger.detectors import strips
from hairtrigger.detectors import strips_clusters as clusters
from hairtrigger.detectors.checks import processors
from hairtrigger.detectors.strips import simulate_chambers, simulate_planes
from hairtrigger.detectors.strips_config import PEAKING_NS, ChamberConfig, StripsConfig

SEED = 1
PLANES = 20_480
ANGLES = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0)
RATES = (0.0, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0)
QUIET = StripsConfig(background_khz_cm2=0.0)
BUSY = StripsConfig(background_khz_cm2=15.0)


def muon_clusters(made: strips.Planes) -> clusters.Clusters:
    """Of each plane the cluster that holds most of the muon's charge, where there is one."""
    found = clusters.find_clusters(made.charge, made.time)
    ours = made.charge * (made.muon_share / 255)
    before = np.concatenate([np.zeros((len(made), 1)), np.cumsum(ours, axis=1)], axis=1)
    held = before[found.plane, found.last + 1] - before[found.plane, found.first]
    order = np.lexsort((-held, found.plane))
    _, first = np.unique(found.plane[order], return_index=True)
    best = order[first]
    return found.select(best[held[best] > 0])


def half_width(residual: np.ndarray) -> float:
    """Half of the width about the median that holds 68.27 %."""
    return float(np.percentile(np.abs(residual - np.median(residual)), 68.27))


def core_sigma(residual: np.ndarray) -> float:
    """Sigma of the Gaussian that has the same spread within its own +-2 sigma, by iteration."""
    cut = math.erf(2 / math.sqrt(2))
    inside = 1 - 2 * 2 * math.exp(-2) / math.sqrt(2 * math.pi) / cut
    middle, sigma = float(np.median(residual)), half_width(residual)
    for _ in range(50):
        core = residual[np.abs(residual - middle) < 2 * sigma]
        middle, sigma = float(core.mean()), float(core.std()) / math.sqrt(inside)
    return sigma


def with_error(measure, residual: np.ndarray) -> list[float]:
    """A width of residuals in um, and its standard error by 60 bootstraps."""
    generator = np.random.default_rng(SEED)
    n = len(residual)
    again = [measure(residual[generator.integers(0, n, n)]) for _ in range(60)]
    return [round(1e3 * measure(residual), 1), round(1e3 * float(np.std(again)), 1)]


def calibration(config: StripsConfig) -> float:
    """Offset of the time projection, ns, from muons of their own, 10 to 40 degrees."""
    made = simulate_planes(PLANES, seed=SEED + 1000, config=config, angle_deg=(10.0, 40.0))
    found = muon_clusters(made)
    truth = made.truth[found.plane]
    tan = truth["tan_theta"]
    x = clusters.time_projection(found, made.charge, made.time, tan, config)
    return clusters.time_offset_ns(x - truth["x_mm"], tan, config)


def resolution(config: StripsConfig) -> dict[str, object]:
    """Widths against angle, um with errors, and mean cluster sizes."""
    offset = calibration(config)
    told: dict[str, object] = {"offset_ns": round(offset, 2), "angles": {}}
    for angle in ANGLES:
        made = simulate_planes(PLANES, seed=SEED, config=config, angle_deg=(angle, angle))
        found = muon_clusters(made)
        truth = made.truth[found.plane]
        tan = truth["tan_theta"]
        centre = clusters.centroid(found, made.charge, config) - truth["x_mm"]
        x = clusters.time_projection(found, made.charge, made.time, tan, config, offset)
        projected = x - truth["x_mm"]
        told["angles"][f"{angle:g}"] = {
            "planes_with_cluster": round(len(found) / PLANES, 4),
            "hits": round(float(found.hits.mean()), 2),
            "hits_error": round(float(found.hits.std() / math.sqrt(len(found))), 3),
            "strips": round(float(found.size.mean()), 2),
            "centroid_half_width_um": with_error(half_width, centre),
            "centroid_core_sigma_um": with_error(core_sigma, centre),
            "projection_half_width_um": with_error(half_width, projected),
            "projection_core_sigma_um": with_error(core_sigma, projected),
            "projection_median_um": round(1e3 * float(np.median(projected)), 1),
            "centroid_median_um": round(1e3 * float(np.median(centre)), 1),
        }
    return told


VARIANTS: dict[str, dict[str, object]] = {
    "default": {},
    **{f"peaking_{t:g}_ns": {"peaking_ns": t} for t in PEAKING_NS if t != QUIET.peaking_ns},
    "diffusion_linear_as_athena": {"diffusion_law": "linear"},
    "no_charge_sharing": {"sharing_nearest": 0.0, "sharing_next": 0.0},
    "no_delta_rays": {"electrons_max": 19},
    "all_strips_alike": {"strip_gain_spread": 0.0, "strip_time_spread_ns": 0.0},
    "neighbours_read": {"neighbours": True},
    "field_0.3_t": {"field_t": 0.3},
    "strips_of_2000_mm": {"strip_length_mm": 2000.0},
}
"""What is changed, one thing at a time."""


def variants() -> dict[str, object]:
    """The projection's half width at 30 degrees, um, and hits a cluster, without background."""
    found = {}
    for name, changes in VARIANTS.items():
        config = dataclasses.replace(QUIET, **changes)
        offset = calibration(config)
        made = simulate_planes(PLANES, seed=SEED, config=config, angle_deg=(30.0, 30.0))
        best = muon_clusters(made)
        truth = made.truth[best.plane]
        tan = truth["tan_theta"]
        x = clusters.time_projection(best, made.charge, made.time, tan, config, offset)
        found[name] = {
            "half_width_um": with_error(half_width, x - truth["x_mm"]),
            "core_sigma_um": with_error(core_sigma, x - truth["x_mm"]),
            "hits": round(float(best.hits.mean()), 2),
            "offset_ns": round(offset, 2),
        }
    return found


def rates() -> dict[str, object]:
    """Efficiency (muons at 0 to 40 degrees) and occupancy against the rate of background."""
    told = {}
    for rate in RATES:
        config = StripsConfig(background_khz_cm2=rate)
        made = simulate_planes(PLANES, seed=SEED, config=config)
        seen = (made.muon_share >= 128).any(axis=1)
        found = muon_clusters(made)
        truth = made.truth[found.plane]
        tan = truth["tan_theta"]
        x = clusters.time_projection(found, made.charge, made.time, tan, config, 2.7)
        near = np.abs(x - truth["x_mm"]) < 0.5
        alone = simulate_planes(PLANES, seed=SEED, config=config, muon=False)
        hit = alone.charge > 0
        groups = clusters.find_clusters(alone.charge, alone.time)
        chambers = simulate_chambers(4096, seed=SEED, config=ChamberConfig(plane=config))
        told[f"{rate:g}"] = {
            "efficiency": with_binomial(int(seen.sum()), PLANES),
            "efficiency_within_0.5_mm": with_binomial(int(near.sum()), PLANES),
            "occupancy": round(float(hit.mean()), 5),
            "occupancy_error": round(float(hit.mean(axis=1).std() / math.sqrt(PLANES)), 5),
            "background_clusters_a_plane": round(len(groups) / PLANES, 4),
            "background_hits_a_cluster": (
                round(float(groups.hits.mean()), 2) if len(groups) else None
            ),
            "chamber_planes_hit": with_binomial(
                int(chambers.truth["hit"].sum()), chambers.truth["hit"].size
            ),
        }
    return told


def with_binomial(seen: int, of: int) -> list[float]:
    share = seen / of
    return [round(share, 5), round(math.sqrt(share * (1 - share) / of), 5)]


def spectra() -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """Charges of clusters, drift times, kinds of background: numbers, and what to draw."""
    drawn: dict[str, np.ndarray] = {}
    told: dict[str, object] = {}
    for angle in (0.0, 30.0):
        made = simulate_planes(2 * PLANES, seed=SEED, config=QUIET, angle_deg=(angle, angle))
        charge = clusters.find_clusters(made.charge, made.time).leading().charge / QUIET.counts_e
        drawn[f"charge_{angle:g}"] = charge
        told[f"charge_ke_{angle:g}_degrees"] = landau_figures(charge * 1e-3)
    times = clusters.time_ns(made.time[made.charge > 0], QUIET)
    drawn["time_30"] = times
    counts, edges = np.histogram(times, np.arange(-12.5, 187.5, 5.0))
    half = np.flatnonzero(counts > counts.max() / 2)
    told["drift_time_30_degrees"] = {
        "full_drift_ns": round(QUIET.full_drift_ns, 1),
        "half_height_from_ns": float(edges[half[0]]),
        "half_height_to_ns": float(edges[half[-1] + 1]),
    }
    made = simulate_planes(PLANES, seed=SEED, config=QUIET, angle_deg=(0.0, 0.0))
    told["interactions_a_gap_0_degrees"] = round(float(made.truth["primaries"].mean()), 2)
    told["planes_with_delta_ray_over_a_pitch"] = round(float(made.truth["delta_ray"].mean()), 4)
    for name, changes in (
        ("fast_photons", {"neutron_share": 0.0, "photon_fast_share": 1.0}),
        ("slow_photons", {"neutron_share": 0.0, "photon_fast_share": 0.0}),
        ("neutrons", {"neutron_share": 1.0}),
    ):
        config = dataclasses.replace(StripsConfig(background_khz_cm2=5.0), **changes)
        alone = simulate_planes(4 * PLANES, seed=SEED, config=config, muon=False)
        found = clusters.find_clusters(alone.charge, alone.time)
        drawn[name] = found.charge / config.counts_e
        told[name] = {
            "hits_a_cluster": round(float(found.hits.mean()), 2),
            "median_charge_ke": round(float(np.median(found.charge) / config.counts_e * 1e-3), 1),
        }
    return told, drawn


def landau_figures(charge_ke: np.ndarray) -> dict[str, float]:
    """Most probable charge (of a smoothed histogram), mean, width over most probable."""
    counts, edges = np.histogram(charge_ke, 120, (0, 4 * np.median(charge_ke)))
    smooth = np.convolve(counts, np.ones(7) / 7, "same")
    high = np.flatnonzero(smooth > smooth.max() / 2)
    step = edges[1] - edges[0]
    peak = (edges[smooth.argmax()] + edges[smooth.argmax() + 1]) / 2
    return {
        "most_probable": round(float(peak), 1),
        "mean": round(float(charge_ke.mean()), 1),
        "median": round(float(np.median(charge_ke)), 1),
        "full_width_over_most_probable": round(float((high[-1] - high[0] + 1) * step / peak), 2),
        "share_over_twice_most_probable": round(float((charge_ke > 2 * peak).mean()), 3),
    }


def speed() -> dict[str, object]:
    """Planes a second on all processors and in one thread; with what else ran unknown."""
    told: dict[str, object] = {"planes": 4 * PLANES, "processors": processors()}
    told["load_average_before"] = round(os.getloadavg()[0], 1)
    for label, config in (("15_khz_cm2", BUSY), ("no_background", QUIET)):
        for name, threads in (("all_processors", None), ("one_thread", 1)):
            simulate_planes(2048, seed=9, config=config, threads=threads)
            wall, cpu = time.perf_counter(), time.process_time()
            simulate_planes(4 * PLANES, seed=SEED, config=config, threads=threads)
            told[f"{label}_{name}"] = {
                "planes_s": round(4 * PLANES / (time.perf_counter() - wall)),
                "cpu_us_plane": round((time.process_time() - cpu) / (4 * PLANES) * 1e6, 1),
            }
    return told


def draw(path: Path, told: dict[str, object], drawn: dict[str, np.ndarray]) -> None:
    """The figure: 2 x 4 panels."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 8, "axes.titlesize": 9, "legend.fontsize": 7})
    figure, axes = plt.subplots(2, 4, figsize=(17, 8), constrained_layout=True)
    _draw_resolution(axes[0, 0], told)
    _draw_sizes(axes[0, 1], told)
    _draw_charges(axes[0, 2], drawn)
    _draw_times(axes[0, 3], drawn)
    _draw_rates(axes[1, 0], axes[1, 1], told)
    _draw_plane(axes[1, 2])
    _draw_chamber(axes[1, 3])
    figure.savefig(path, dpi=80)


def _draw_resolution(axis: object, told: dict[str, object]) -> None:
    axis.axhspan(80, 100, color="0.85", label="published: 80 (small chamber), 100 (10 to 40 deg)")
    for part, name, style in (("quiet", "no background", "-"), ("busy", "15 kHz/cm2", "--")):
        rows = told["resolution"][part]["angles"]
        at = [float(angle) for angle in rows]
        for key, label, colour in (
            ("centroid", "centroid", "C0"),
            ("projection", "time projection", "C1"),
        ):
            values = np.array([row[f"{key}_half_width_um"] for row in rows.values()])
            axis.errorbar(at, *values.T, color=colour, ls=style, label=f"{label}, {name}")
        core = np.array([row["projection_core_sigma_um"] for row in rows.values()])
        axis.errorbar(at, *core.T, color="C2", ls=style, label=f"projection's core, {name}")
    axis.set(xlabel="angle (degrees)", ylabel="resolution (um)", yscale="log", ylim=(30, 8000))
    axis.set_title("68 % half width, and sigma of the core")
    axis.legend(loc="upper left")


def _draw_sizes(axis: object, told: dict[str, object]) -> None:
    rows = told["resolution"]["quiet"]["angles"]
    at = np.array([float(angle) for angle in rows])
    axis.plot(at, [row["hits"] for row in rows.values()], "C0o-", label="hits of the cluster")
    axis.plot(at, [row["strips"] for row in rows.values()], "C1s:", label="first to last strip")
    geometric = QUIET.gap_mm * np.tan(np.radians(at)) / QUIET.pitch_mm
    axis.plot(at, geometric, "k--", lw=1, label="gap tan(angle) / pitch")
    axis.set(xlabel="angle (degrees)", ylabel="strips", ylim=(0, 12))
    axis.set_title("cluster size")
    axis.legend()


def _draw_charges(axis: object, drawn: dict[str, np.ndarray]) -> None:
    edges, coarse = np.linspace(0, 800, 101), np.linspace(0, 800, 26)
    for angle, colour in (("0", "C0"), ("30", "C1")):
        charge = drawn[f"charge_{angle}"] * 1e-3
        label = f"muons, {angle} degrees"
        axis.hist(charge, edges, histtype="step", color=colour, density=True, label=label)
    for name, colour in (("fast_photons", "C2"), ("slow_photons", "C3"), ("neutrons", "C4")):
        label = name.replace("_", " ")
        values = drawn[name] * 1e-3
        share = np.full(len(values), 1 / len(values) / (coarse[1] - coarse[0]))
        axis.hist(
            values, coarse, weights=share, histtype="step", color=colour, ls="--", label=label
        )
    axis.set(xlabel="cluster charge (ke)", ylabel="per ke", yscale="log", ylim=(1e-5, 5e-2))
    axis.set_title("charge of clusters (sum of pulse heights)")
    axis.legend()


def _draw_times(axis: object, drawn: dict[str, np.ndarray]) -> None:
    axis.hist(drawn["time_30"], np.arange(-12.5, 187.5, 2.0), histtype="step", color="C0")
    for at in (0.0, QUIET.full_drift_ns):
        axis.axvline(at, color="k", ls="--", lw=1)
    axis.set(xlabel="time of hits (ns)", ylabel="hits")
    axis.set_title("drift times at 30 degrees; dashed: 0 and 5.04 mm")


def _draw_rates(left: object, right: object, told: dict[str, object]) -> None:
    rows = told["rates"]
    at = [float(rate) for rate in rows]
    for key, label in (
        ("efficiency", "a hit that is mostly the muon's"),
        ("efficiency_within_0.5_mm", "position within 0.5 mm"),
        ("chamber_planes_hit", "planes of chambers, 20 degrees"),
    ):
        values = np.array([row[key] for row in rows.values()])
        left.errorbar(at, *values.T, marker="o", ms=3, label=label)
    left.axhline(0.95, color="k", ls="--", lw=1, label="ATLAS: over 95 % to 15 kHz/cm2")
    left.set(xlabel="background (kHz/cm2)", ylabel="efficiency of a plane", ylim=(0.8, 1.005))
    left.set_title("efficiency")
    left.legend(loc="lower left")
    values = [100 * row["occupancy"] for row in rows.values()]
    right.fill_between([15, 20], 3, 6, color="0.85", label="ATLAS: 3 to 6 %")
    right.plot(at, values, "C0o-", label=f"strips of {QUIET.strip_length_mm:g} mm")
    right.set(xlabel="background (kHz/cm2)", ylabel="strips with a hit (%)", ylim=(0, 8))
    right.set_title("occupancy of the window")
    right.legend(loc="upper left")


def _draw_plane(axis: object) -> None:
    made = simulate_planes(64, seed=SEED, config=BUSY, angle_deg=(30.0, 35.0))
    ours = (made.charge > 0) & (made.muon_share > 200)
    other = (made.charge > 0) & (made.muon_share < 50)
    number = int(np.argmax((ours.sum(axis=1) >= 6) * other.sum(axis=1)))
    strip = np.flatnonzero(made.charge[number])
    x = clusters.strip_x_mm(strip, 64, BUSY)
    d = clusters.drift_mm(made.time[number, strip], BUSY)
    colour = made.muon_share[number, strip] / 255
    size = 4 + 150 * made.charge[number, strip] / 1023
    shown = axis.scatter(x, d, size, colour, cmap="coolwarm_r", vmin=0, vmax=1, edgecolor="k")
    truth = made.truth[number]
    gap = np.array([0, BUSY.gap_mm])
    axis.plot(truth["x_mm"] + truth["tan_theta"] * (gap - BUSY.gap_mm / 2), gap, "k-", lw=1)
    axis.figure.colorbar(shown, ax=axis, label="share of the muon")
    axis.set(xlabel="x (mm)", ylabel="distance by time (mm)", xlim=(-14, 14), ylim=(-1, 9))
    axis.set_title("one plane, 15 kHz/cm2; line: the muon")


def _draw_chamber(axis: object) -> None:
    made = simulate_chambers(16, seed=SEED, config=ChamberConfig(plane=BUSY))
    number = int(np.argmax((made.charge > 0).sum(axis=(1, 2))))
    image = np.where(made.charge[number] > 0, made.charge[number].astype(float), np.nan)
    axis.imshow(image, aspect="auto", cmap="viridis_r", vmax=300, interpolation="nearest")
    at = made.truth["plane_x_mm"][number] / BUSY.pitch_mm + 31.5
    axis.plot(at, np.arange(8), "rx", ms=5)
    names = [f"{a:+g}" if a else "X" for a in made.config.stereo_deg]
    axis.set_yticks(np.arange(8), names)
    axis.set(xlabel="strip about the nominal track", ylabel="plane (stereo angle)")
    axis.set_title("one chamber, 15 kHz/cm2; crosses: the muon")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/detectors"))
    parser.add_argument("--rate", action="store_true", help="measure the speed as well")
    options = parser.parse_args()
    numbers, drawn = spectra()
    told: dict[str, object] = {
        "command": "python benchmarks/strips_validation.py" + (" --rate" * options.rate),
        "seed": SEED,
        "planes_a_point": PLANES,
        "simulation_version": strips.SIMULATION_VERSION,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "resolution": {"quiet": resolution(QUIET), "busy": resolution(BUSY)},
        "variants_30_degrees": variants(),
        "rates": rates(),
        "spectra": numbers,
    }
    if options.rate:
        told["speed"] = speed()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "strips_validation.json").write_text(json.dumps(told, indent=1) + "\n")
    draw(options.out / "strips_validation.png", told, drawn)
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
