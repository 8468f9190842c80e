"""The RPC simulation beside the published numbers, as tables and two figures.

    python benchmarks/rpc_validation.py [--out docs/detectors]

It writes rpc_validation.png (bends, bending power, noise, an event) and rpc_chambers.png (bend
against pT, geometry, charges, occupancy, cluster sizes, muons near each other).

Bends are read from the published images of single muons (the first three are the ones that the
bending power was calibrated to; the others were read afterwards and not used). They are single
muons, read to about one strip, so ours are given with the spread of single muons.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hairtrigger.detectors import rpc
from hairtrigger.detectors.rpc_config import RpcConfig
from hairtrigger.detectors.rpc_muons import Muons, crossings

EVENTS = 20_000
READING_ERROR = 1.0
OCCUPANCY_RATES = (0.0, 75.0, 150.0, 225.0, 300.0, 450.0, 600.0)


@dataclass(frozen=True)
class Bend:
    """The bend BI to BO of one published image, in strips."""

    pt: float
    eta: float
    strips: float
    calibrated: bool


PUBLISHED_BENDS = (
    Bend(7.9, 0.13, 15, True),
    Bend(14.0, 0.65, 15, True),
    Bend(19.4, 0.59, 10, True),
    Bend(12.2, 1.01, 18, False),
    Bend(16.3, 1.02, 9, False),
    Bend(4.6, 0.96, 36, False),
)


def measured_bends(pt: float, eta: float, size: int = EVENTS) -> tuple[np.ndarray, float]:
    """Bends BI to BO of clean single muons that reach both, and the share of those that do."""
    config = RpcConfig(
        pt_range_gev=(pt, pt * 1.0001),
        eta_range=(eta - 0.005, eta + 0.005),
        noise_rate_hz_cm2=0.0,
    )
    bends, share = signed_bends(rpc.simulate(size, seed=1, config=config, muons=1).unpacked())
    return np.abs(bends), share


def signed_bends(images: np.ndarray) -> tuple[np.ndarray, float]:
    """Bends BI to BO of clean images that reach both, in strips, and the share of those."""
    inner, outer = images[:, :3], images[:, 7:]
    both = inner.any(axis=(1, 2)) & outer.any(axis=(1, 2))
    means = [
        (station[both] * np.arange(384)).sum(axis=(1, 2)) / station[both].sum(axis=(1, 2))
        for station in (inner, outer)
    ]
    return means[1] - means[0], float(both.mean())


def chamber_table() -> list[tuple[str, str, str]]:
    """Name, published and measured value of the chambers and of the background."""
    track = RpcConfig(noise_rate_hz_cm2=0.0, pt_range_gev=(20.0, 30.0), eta_range=(0.2, 0.9))
    sizes = rpc.simulate(EVENTS, seed=2, config=track, muons=1).unpacked().sum(axis=2)
    found = [
        ("layer efficiency", "0.95 (0.90 to 0.98)", f"{(sizes > 0).mean():.3f}"),
        ("strips per cluster of a muon", "1.5 (assumed)", f"{sizes[sizes > 0].mean():.3f}"),
    ]
    for rate, published in ((150.0, "0.34 %"), (300.0, "0.68 %")):
        config = RpcConfig(noise_rate_hz_cm2=rate)
        truth = rpc.simulate(EVENTS, seed=3, config=config, muons=0).truth
        clusters = truth["n_noise_clusters"].mean()
        found += [
            (f"clusters per strip at {rate:.0f} Hz/cm2", published, f"{clusters / 3456:.2%}"),
            (
                f"clusters in an image of noise, {rate:.0f} Hz/cm2",
                "about a dozen" if rate == 150 else "-",
                f"{clusters:.1f}",
            ),
            (
                f"strips fired by noise, {rate:.0f} Hz/cm2",
                "-",
                f"{truth['n_noise_hits'].mean() / 3456:.2%}",
            ),
        ]
    return found


def occupancy_table() -> list[tuple[float, float, float, float, float]]:
    """Rate, expected and found clusters a strip, fired strips, clusters in an image."""
    found = []
    for rate in OCCUPANCY_RATES:
        config = RpcConfig(noise_rate_hz_cm2=rate)
        truth = rpc.simulate(EVENTS, seed=4, config=config, muons=0).truth
        clusters = truth["n_noise_clusters"].mean()
        fired = truth["n_noise_hits"].mean() / 3456
        found.append((rate, config.noise_clusters_per_strip, clusters / 3456, fired, clusters))
    return found


def sizes_of_muons() -> np.ndarray:
    """Shares of clusters of 1, 2, 3, ... strips that single muons leave in a layer."""
    track = RpcConfig(noise_rate_hz_cm2=0.0, pt_range_gev=(20.0, 30.0), eta_range=(0.2, 0.9))
    sizes = rpc.simulate(EVENTS, seed=2, config=track, muons=1).unpacked().sum(axis=2).ravel()
    return np.bincount(sizes[sizes > 0], minlength=8)[1:8] / (sizes > 0).sum()


def sizes_of_noise() -> np.ndarray:
    """Shares of runs of 1, 2, 3, ... strips in images with a single noise cluster."""
    config = RpcConfig(noise_rate_hz_cm2=15.0)
    events = rpc.simulate(2 * EVENTS, seed=6, config=config, muons=0)
    sizes = events.truth["n_noise_hits"][events.truth["n_noise_clusters"] == 1]
    return np.bincount(sizes, minlength=8)[1:8] / sizes.size


def close_by() -> rpc.RpcEvents:
    """Images of two muons near each other."""
    return rpc.simulate(EVENTS, seed=8, muons=2, config=RpcConfig(close_by_share=1.0))


def print_tables() -> None:
    """All tables, in Markdown, as they stand in docs/detectors/rpc.md."""
    print("| pT [GeV] | eta | published bend | ours, mean +- spread | difference / spread | used |")
    print("|---|---|---|---|---|---|")
    for bend in PUBLISHED_BENDS:
        ours, share = measured_bends(bend.pt, bend.eta)
        pull = (bend.strips - ours.mean()) / math.hypot(ours.std(), READING_ERROR)
        reach = "" if share > 0.99 else f" ({share:.0%} seen in BI and BO)"
        print(
            f"| {bend.pt} | {bend.eta} | {bend.strips} | {ours.mean():.1f} +- {ours.std():.1f}"
            f"{reach} | {pull:+.1f} | {'calibration' if bend.calibrated else 'no'} |"
        )
    print("\n| quantity | published | ours |\n|---|---|---|")
    for name, published, ours in chamber_table():
        print(f"| {name} | {published} | {ours} |")
    print("\n| Hz/cm2 | clusters per strip, rate x area x time | found | strips fired | clusters |")
    print("|---|---|---|---|---|")
    for rate, expected, found, fired, clusters in occupancy_table():
        print(f"| {rate:.0f} | {expected:.3%} | {found:.3%} | {fired:.3%} | {clusters:.1f} |")
    print("\n| strips in a cluster | 1 | 2 | 3 | 4 | 5 | 6 |\n|---|---|---|---|---|---|---|")
    for name, shares in (
        ("muon, simulated", sizes_of_muons()),
        ("noise, simulated", sizes_of_noise()),
        ("noise, configured", np.array(RpcConfig().noise_size_probabilities)),
    ):
        print(f"| {name} | " + " | ".join(f"{share:.3f}" for share in shares[:6]) + " |")


def save(figure, path: Path) -> None:
    """Write a figure and say how large it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    print(f"\n{path}: {path.stat().st_size / 1000:.0f} kB")


def draw(path: Path) -> None:
    """Bends, bending power, noise clusters and one event, in one figure."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, ((bend_axes, power_axes), (noise_axes, event_axes)) = plt.subplots(
        2, 2, figsize=(10.5, 7.2), layout="constrained"
    )
    draw_bends(bend_axes)
    draw_power(power_axes)
    draw_noise_clusters(noise_axes)
    draw_event(event_axes)
    save(figure, path)
    plt.close(figure)


def draw_chambers(path: Path) -> None:
    """Bend against pT, geometry, charges, occupancy, cluster sizes, two muons close by."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 2, figsize=(10.5, 10.5), layout="constrained")
    draw_bend_of_pt(axes[0, 0])
    draw_geometry(axes[0, 1])
    draw_charges(axes[1, 0])
    draw_occupancy(axes[1, 1])
    draw_sizes(axes[2, 0])
    draw_close_by(axes[2, 1])
    save(figure, path)
    plt.close(figure)


def draw_bend_of_pt(axes) -> None:
    """Mean and spread of the bend against pT at four eta, and the published images."""
    pts = (5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0)
    for number, eta in enumerate((0.13, 0.35, 0.62, 1.0)):
        bends = [measured_bends(pt, eta, EVENTS // 4)[0] for pt in pts]
        centre = np.array([bend.mean() for bend in bends])
        spread = np.array([bend.std() for bend in bends])
        colour = f"C{number}"
        axes.plot(pts, centre, color=colour, label=f"eta {eta}")
        axes.fill_between(pts, centre - spread, centre + spread, color=colour, alpha=0.15)
        for bend in PUBLISHED_BENDS:
            if abs(bend.eta - eta) < 0.06:
                mark = "s" if bend.calibrated else "D"
                axes.plot(bend.pt, bend.strips, mark, color=colour, mec="k")
    axes.plot([], [], "s", color="w", mec="k", label="published, calibration")
    axes.plot([], [], "D", color="w", mec="k", label="published, not used")
    axes.set(xlabel="pT [GeV]", ylabel="bend BI to BO [strips]", ylim=(0, 70))
    axes.legend(fontsize=8)


def draw_geometry(axes) -> None:
    """The layers in z and r, and the mean way of muons of both charges."""
    config = RpcConfig()
    for radius in config.layer_radii_m:
        z = radius * np.sinh(np.array(config.strip_eta))
        axes.plot(z, [radius, radius], color="0.3", linewidth=1)
    for low, high, name in (
        (*config.calorimeter_radii_m, "calorimeter"),
        (*config.field_radii_m, "toroid field"),
    ):
        axes.axhspan(low, high, alpha=0.12, color="C1" if name == "calorimeter" else "C0")
        axes.text(12.0, low + 0.1, name, ha="right", fontsize=8)
    for eta, charge in ((0.3, 1), (0.3, -1), (0.8, 1), (0.8, -1)):
        r, z = way(6.0, eta, charge)
        axes.plot(z, r, color="C3" if charge > 0 else "C2", linewidth=1)
    axes.plot([], [], color="C3", label="6 GeV, q = +1")
    axes.plot([], [], color="C2", label="6 GeV, q = -1")
    axes.set(xlabel="z [m]", ylabel="r [m]", xlim=(0, 12.5), ylim=(0, 10.5))
    axes.legend(fontsize=8, loc="center right")


def way(pt: float, eta: float, charge: int) -> tuple[np.ndarray, np.ndarray]:
    """Radii and z [m] of a muon without scattering, vertex spread or spread of its loss."""
    radii = tuple(np.linspace(4.25, 10.05, 60).tolist())
    config = RpcConfig(
        layer_radii_m=radii,
        station_layers=(1,) * len(radii),
        rows=len(radii),
        radiation_lengths=0.0,
        vertex_sigma_m=0.0,
        energy_loss_spread_gev=0.0,
    )
    muon = Muons(
        *(np.zeros(1, np.int64),) * 2,
        *(np.array([value], np.float32) for value in (pt, eta, 0.0)),
        np.array([charge], np.int8),
    )
    strip = crossings(np.random.default_rng(0), muon, config)[0]
    z = np.array(radii) * np.sinh(strip * 1.05 / config.strips)
    return np.array((0.0, *radii)), np.array((0.0, *z))


def draw_charges(axes) -> None:
    """Signed bends of both charges at 10 and 20 GeV."""
    bins = np.arange(-40.5, 41.5)
    for pt, style in ((10.0, "-"), (20.0, "--")):
        for charge, colour in ((1, "C3"), (-1, "C2")):
            config = RpcConfig(
                pt_range_gev=(pt, pt * 1.0001), eta_range=(0.1, 0.9), noise_rate_hz_cm2=0.0
            )
            events = rpc.simulate(EVENTS, seed=7, config=config, muons=1)
            events = events.select(events.truth["charge"][:, 0] == charge)
            bend = signed_bends(events.unpacked())[0]
            label = f"{pt:.0f} GeV, q = {charge:+d}"
            axes.hist(bend, bins, histtype="step", color=colour, linestyle=style, label=label)
    axes.set(xlabel="bend BI to BO towards larger eta [strips]", ylabel="muons, eta 0.1 to 0.9")
    axes.legend(fontsize=8)


def draw_occupancy(axes) -> None:
    """Clusters and fired strips against the rate, and the published occupancies."""
    rate, expected, found, fired, _ = np.array(occupancy_table()).T
    axes.plot(rate, 100 * expected, color="0.6", label="rate x area x 25 ns")
    axes.plot(rate, 100 * found, "o", color="C0", label="clusters, simulated")
    axes.plot(rate, 100 * fired, "s", color="C1", label="fired strips, simulated")
    axes.plot([150, 300], [0.34, 0.68], "*", color="C3", markersize=12, label="published")
    axes.set(xlabel="background [Hz/cm$^2$]", ylabel="per strip and image [%]")
    axes.legend(fontsize=8)


def draw_sizes(axes) -> None:
    """Cluster sizes of muons and of noise."""
    size = np.arange(1, 8)
    axes.bar(size - 0.2, sizes_of_muons(), 0.4, label="muons", color="C3")
    axes.bar(size + 0.2, sizes_of_noise(), 0.4, label="noise", color="0.5")
    asked = RpcConfig().noise_size_probabilities
    axes.plot(size[:6] + 0.2, asked, "_", color="k", markersize=14, label="configuration")
    double, triple = RpcConfig().double_probability, RpcConfig().triple_probability
    axes.plot(size[:3] - 0.2, (1 - double - triple, double, triple), "_k", markersize=14)
    axes.set(xlabel="strips in a cluster", ylabel="share of clusters")
    axes.legend(fontsize=8)


def draw_close_by(axes) -> None:
    """An image with two muons near each other: the strips around them."""
    events = close_by()
    eta, seen = events.truth["eta"], events.truth["layers_hit"]
    apart = np.abs(eta[:, 0] - eta[:, 1])
    event = int(np.flatnonzero((apart > 0.03) & (seen[:, :2] >= 8).all(axis=1))[0])
    layer, strip = np.nonzero(events.unpacked(slice(event, event + 1))[0])
    axes.vlines(strip, layer - 0.45, layer + 0.45, color="0.25", linewidth=3)
    for slot in range(2):
        at = eta[event, slot] / 1.05 * 384
        pt, charge = (events.truth[name][event, slot] for name in ("pt", "charge"))
        axes.axvline(at, color=f"C{slot}", linestyle=":", label=f"{pt:.1f} GeV, q = {charge:+d}")
    middle = eta[event].sum() / 2 / 1.05 * 384
    axes.set(xlabel="strip", xlim=(middle - 40, middle + 40), title="two muons near each other")
    axes.title.set_size(9)
    axes.set_yticks(range(9), ["BI"] * 3 + ["BM1"] * 2 + ["BM2"] * 2 + ["BO"] * 2)
    axes.legend(fontsize=8)


def draw_bends(axes) -> None:
    """Published bends beside ours at the same pT and eta."""
    for number, bend in enumerate(PUBLISHED_BENDS):
        ours, share = measured_bends(bend.pt, bend.eta)
        axes.errorbar(number - 0.1, ours.mean(), ours.std(), fmt="o", color="C0", capsize=4)
        axes.plot(number + 0.1, bend.strips, "s" if bend.calibrated else "D", color="C3")
        if share < 0.99:
            low = ours.mean() - ours.std() - 2
            text = f"{share:.0%} seen\nin BO"
            axes.text(number - 0.1, low, text, ha="center", va="top", fontsize=7)
    axes.plot([], [], "o", color="C0", label="simulated, mean and spread of single muons")
    axes.plot([], [], "s", color="C3", label="published image, used to calibrate")
    axes.plot([], [], "D", color="C3", label="published image, not used")
    labels = [f"{bend.pt}\n{bend.eta}" for bend in PUBLISHED_BENDS]
    axes.set_xticks(range(len(labels)), labels)
    axes.set(xlabel="pT [GeV] and eta of the muon", ylabel="bend BI to BO [strips]", ylim=(-8, 105))
    axes.legend(loc="upper left", fontsize=8)


def draw_power(axes) -> None:
    """The assumed bending power against eta, in the published range."""
    eta = np.linspace(0, 1.05, 200)
    axes.axhspan(1.5, 5.5, color="0.9", label="published range of the toroid")
    axes.plot(eta, RpcConfig().bending_power_tm(eta), color="C0", label="assumed here")
    axes.set(xlabel="eta", ylabel="bending power [T m]", xlim=(0, 1.05), ylim=(0, 6.5))
    axes.legend(loc="lower right", fontsize=8)


def draw_noise_clusters(axes) -> None:
    """Clusters in images of noise at three rates, and the published dozen."""
    bins = np.arange(-0.5, 80.5)
    for rate in (150.0, 300.0, 600.0):
        config = RpcConfig(noise_rate_hz_cm2=rate)
        clusters = rpc.simulate(EVENTS, seed=3, config=config, muons=0).truth["n_noise_clusters"]
        label = f"{rate:.0f} Hz/cm$^2$: mean {clusters.mean():.1f}"
        axes.hist(clusters, bins, histtype="step", density=True, label=label)
    axes.axvline(12, color="C3", linestyle="--", label="published: about a dozen")
    axes.set(xlabel="noise clusters in an image without muon", ylabel="share of images")
    axes.legend(fontsize=8)


def draw_event(axes) -> None:
    """One image with two muons: fired strips, those of muons in colour."""
    events = rpc.simulate(200, seed=5, muons=2, with_signal=True)
    eta = events.truth["eta"]
    apart = np.abs(eta[:, 0] - eta[:, 1]) > 0.3
    event = int(np.flatnonzero(apart & (events.truth["layers_hit"][:, 1] >= 8))[0])
    for packed, colour in ((events.images, "0.25"), (events.signal, "C3")):
        layer, strip = np.nonzero(rpc.unpack(packed[event]))
        axes.vlines(strip, layer - 0.45, layer + 0.45, color=colour, linewidth=1.5)
    truth = events.truth[event]
    muons = " and ".join(
        f"{truth['pt'][slot]:.1f} GeV (q = {truth['charge'][slot]:+d})" for slot in range(2)
    )
    axes.set(xlabel="strip", ylabel="layer", xlim=(0, 384), title=f"muons of {muons}")
    axes.title.set_size(9)
    axes.set_yticks(range(9), ["BI"] * 3 + ["BM1"] * 2 + ["BM2"] * 2 + ["BO"] * 2)


def main() -> None:
    parser = argparse.ArgumentParser(description="The RPC simulation beside published numbers")
    parser.add_argument("--out", type=Path, default=Path("docs/detectors"))
    arguments = parser.parse_args()
    print_tables()
    draw(arguments.out / "rpc_validation.png")
    draw_chambers(arguments.out / "rpc_chambers.png")


if __name__ == "__main__":
    main()
