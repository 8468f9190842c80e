"""The RPC simulation beside the published numbers, as a table and a figure.

    python benchmarks/rpc_validation.py [--figure docs/detectors/rpc_validation.png]

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

EVENTS = 20_000
READING_ERROR = 1.0


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


def measured_bends(pt: float, eta: float) -> tuple[np.ndarray, float]:
    """Bends BI to BO of clean single muons that reach both, and the share of those that do."""
    config = RpcConfig(
        pt_range_gev=(pt, pt * 1.0001),
        eta_range=(eta - 0.005, eta + 0.005),
        noise_rate_hz_cm2=0.0,
    )
    events = rpc.simulate(EVENTS, seed=1, config=config, muons=1)
    images = events.unpacked()
    inner, outer = images[:, :3], images[:, 7:]
    both = inner.any(axis=(1, 2)) & outer.any(axis=(1, 2))
    means = [
        (station[both] * np.arange(384)).sum(axis=(1, 2)) / station[both].sum(axis=(1, 2))
        for station in (inner, outer)
    ]
    return np.abs(means[1] - means[0]), float(both.mean())


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


def print_tables() -> None:
    """Both tables, in Markdown, as they stand in docs/detectors/rpc.md."""
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
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
    print(f"\n{path}: {path.stat().st_size / 1000:.0f} kB")


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
    parser.add_argument("--figure", type=Path, default=Path("docs/detectors/rpc_validation.png"))
    arguments = parser.parse_args()
    print_tables()
    draw(arguments.figure)


if __name__ == "__main__":
    main()
