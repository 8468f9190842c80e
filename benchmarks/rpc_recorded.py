"""What is inside the public files that hairtrigger reads: units checked against physics.

    python benchmarks/rpc_recorded.py [--out docs/detectors]

The files are not part of hairtrigger: they are looked for in the folder of HAIRTRIGGER_DATA
(default: shared/data beside the repository) and skipped, saying so, where they are missing.
Sources: events_20000.csv of rustem0/MuonTriggerPhase2RPC, MuonTree.root of DrWatt/MuonTriggerML.
"""

import argparse
import os
from pathlib import Path

import numpy as np

from hairtrigger.detectors import rpc
from hairtrigger.detectors.cms_dt import CmsDtEvents, read_cms_dt
from hairtrigger.detectors.rpc_files import cut_window
from hairtrigger.detectors.rpc_toy import read_toy

TOY_RADII_M = (6.81, 7.51, 9.81)
TOY_FIELD_FROM_M = 6.0
TOY_CURVATURE_M_PER_GEV = 6.6
WINDOW_PTS = (5.0, 7.0, 10.0, 15.0, 20.0)


def data_folder() -> Path:
    """Where files from outside are looked for."""
    default = Path(__file__).parents[2] / "shared" / "data"
    return Path(os.environ.get("HAIRTRIGGER_DATA", default))


def toy_delta(radius: float, pt: float, theta: np.ndarray) -> np.ndarray:
    """Distance along the beam, at ``radius``, of a track from the line through the seed [m].

    A small bend on a circle of R = 6.6 m pT/GeV from 6 m on, seen along a line at ``theta``.
    """
    seed = TOY_RADII_M[1]
    shift = max(radius - TOY_FIELD_FROM_M, 0) ** 2
    shift -= radius / seed * (seed - TOY_FIELD_FROM_M) ** 2
    return shift / (2 * TOY_CURVATURE_M_PER_GEV * pt) / np.sin(theta) ** 3


def print_toy(toy: np.ndarray) -> None:
    """Ranges of the toy, and its bends beside the circle that it names."""
    print(f"toy: {len(toy)} candidates")
    for name in toy.dtype.names:
        values = toy[name]
        print(f"| {name} | {values.min():.4g} | {values.max():.4g} | {values.mean():.4g} |")
    print("| true pT [GeV] | candidates | delta z RPC3 x charge [m] | circle |\n|---|---|---|---|")
    for low, high in ((5, 7), (7, 10), (10, 15), (15, 20), (20, 30)):
        chosen = toy[(toy["pt"] >= low) & (toy["pt"] < high) & ~toy["any_is_noise"]]
        found = np.median(chosen["outer_delta_z_m"] * chosen["charge"])
        circle = -np.median(toy_delta(TOY_RADII_M[2], chosen["pt"], chosen["theta_rad"]))
        print(f"| {low} to {high} | {len(chosen)} | {found:.3f} | {circle:.3f} |")


def print_cms(events: CmsDtEvents) -> None:
    """Ranges of the CMS file, and the shifts of its primitives times pT."""
    print(f"\nCMS: {len(events)} events")
    for title in ("primitives", "segments", "muons"):
        table = getattr(events, title)
        counts = table.counts
        print(f"{title}: {len(table.values)}, {counts.min()} to {counts.max()} an event")
        for name in table.values.dtype.names:
            values = table.values[name]
            line = f"| {name} | {np.nanmin(values):.4g} | {np.nanmax(values):.4g} |"
            missing = np.isnan(values.astype(float)).sum()
            print(line + (f" {missing} not measured |" if missing else ""))
    primitives, muons = events.primitives.values, events.muons.values[events.primitives.event]
    print("| station | primitives | in time | shift x pT [rad GeV] | bend x pT [rad GeV] |")
    print("|---|---|---|---|---|")
    shift = phi_shift(events)
    for station in range(1, 5):
        here = primitives["station"] == station
        good = here & (primitives["bx"] == 0) & (muons["pt"] > 20)
        moved, bend = (
            np.median(values[good] * muons["pt"][good])
            for values in (shift, primitives["bend_rad"])
        )
        in_time = (primitives["bx"][here] == 0).mean()
        print(f"| {station} | {here.sum()} | {in_time:.1%} | {moved:.2f} | {bend:.2f} |")


def phi_shift(events: CmsDtEvents) -> np.ndarray:
    """phi of each primitive less that of its muon at the vertex [rad]."""
    muons = events.muons.values[events.primitives.event]
    return np.angle(np.exp(1j * (events.primitives.values["phi_rad"] - muons["phi"])))


def print_window() -> None:
    """How much of a muon a 9 x 16 window holds, in our simulation."""
    print("\n| pT [GeV] | hits of the muon inside | muons whole inside |\n|---|---|---|")
    for pt in WINDOW_PTS:
        config = rpc.RpcConfig(pt_range_gev=(pt, pt * 1.0001), eta_range=(0.1, 0.95))
        events = rpc.simulate(4000, seed=1, muons=1, config=config, with_signal=True)
        _, first = cut_window(events.unpacked())
        signal = rpc.unpack(events.signal)
        inside = cut_window(signal, first + 8)[0].sum(axis=(1, 2))
        all_of = signal.sum(axis=(1, 2))
        share, whole = inside.sum() / all_of.sum(), (inside == all_of).mean()
        print(f"| {pt:.0f} | {share:.1%} | {whole:.1%} |")


def draw(toy: np.ndarray, events: CmsDtEvents, path: Path) -> None:
    """The toy's bend and the CMS primitives' shift and bend, against charge / pT."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (toy_axes, shift_axes, bend_axes) = plt.subplots(
        1, 3, figsize=(13, 4), layout="constrained"
    )
    clean = toy[~toy["any_is_noise"]][:4000]
    curvature = clean["charge"] / clean["pt"]
    angle = toy_axes.scatter(
        curvature, clean["outer_delta_z_m"], s=2, c=np.degrees(clean["theta_rad"])
    )
    figure.colorbar(angle, ax=toy_axes, label="polar angle [degree]")
    line = np.linspace(-0.2, 0.2, 3)
    for degree in (45.0, 85.0):
        per_gev = -toy_delta(TOY_RADII_M[2], 1.0, np.radians(degree))
        label = f"circle at {degree:.0f} degree"
        toy_axes.plot(line, per_gev * line, "--", color="C3" if degree < 60 else "k", label=label)
    toy_axes.set(xlabel="charge / pT [1/GeV]", ylabel="RPC3: z from the seed's line [m]")
    toy_axes.set(ylim=(-0.65, 0.65), title="public toy")
    toy_axes.legend(fontsize=8)

    primitives, muons = events.primitives.values, events.muons.values[events.primitives.event]
    good = (primitives["bx"] == 0) & (primitives["quality"] >= 4) & (muons["pt"] > 5)
    shift = phi_shift(events)
    for station in range(1, 5):
        chosen = good & (primitives["station"] == station)
        curvature = muons["charge"][chosen] / muons["pt"][chosen]
        label = f"station {station}"
        shift_axes.plot(curvature, shift[chosen], ".", markersize=2, label=label)
        bend_axes.plot(curvature, primitives["bend_rad"][chosen], ".", markersize=2, label=label)
    for axes, what in ((shift_axes, "phi less that of the muon"), (bend_axes, "bending angle")):
        axes.set(xlabel="charge / pT [1/GeV]", ylabel=f"{what} [rad]", xlim=(0, 0.2))
        axes.set(ylim=(-0.7, 0.3), title="CMS drift tubes, primitives in time")
        axes.legend(fontsize=8, markerscale=4)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)
    print(f"\n{path}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description="What is inside the public files")
    parser.add_argument("--out", type=Path, default=Path("docs/detectors"))
    arguments = parser.parse_args()
    print_window()
    folder = data_folder()
    files = folder / "rpc_toy" / "events_20000.csv", folder / "cms_dt" / "MuonTree.root"
    missing = [file.name for file in files if not file.exists()]
    if missing:
        print(f"\nskipped, not found: {', '.join(missing)}; set HAIRTRIGGER_DATA to their folder")
        return
    toy, events = read_toy(files[0]), read_cms_dt(files[1])
    print()
    print_toy(toy)
    print_cms(events)
    draw(toy, events, arguments.out / "rpc_recorded.png")


if __name__ == "__main__":
    main()
