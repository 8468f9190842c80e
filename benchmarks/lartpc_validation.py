"""The LArTPC simulation beside published figures and real data: one figure and its numbers.

    python benchmarks/lartpc_validation.py [--out docs/detectors]

It writes lartpc_validation.png and lartpc_validation.json. Panels that need data that this project
does not ship (HAIRTRIGGER_DATA, else ../shared/data) leave out their half where it is missing, and
the JSON says so with null.
"""

import argparse
import bz2
import dataclasses
import importlib.util
import json
import os
import platform
import time
from pathlib import Path

import numpy as np

from hairtrigger.detectors import lartpc, lartpc_events, lartpc_noise, lartpc_sources
from hairtrigger.detectors import lartpc_response as response
from hairtrigger.detectors.checks import processors
from hairtrigger.detectors.lartpc_config import PROTODUNE_SP, LartpcConfig

DATA = Path(os.environ.get("HAIRTRIGGER_DATA", Path(__file__).parents[2] / "shared" / "data"))
CONFIG = LartpcConfig()
SEED = 1
SEGMENT = 256
GARFIELD = "garfield-1d-3planes-21wires-6impacts-dune-v1.json.bz2"
SPECTRA = "protodunehd-noise-spectra-14mVfC-v1.json.bz2"


def garfield() -> dict[float, np.ndarray] | None:
    """Counts per ke- in steps of 0.1 us, by distance from the wire in pitches; None without data.

    The current of the Garfield calculation, its charge taken as 1, through our electronics.
    """
    path = DATA / "wirecell" / GARFIELD
    if not path.exists():
        return None
    planes = json.loads(bz2.decompress(path.read_bytes()))["FieldResponse"]["planes"]
    paths = [entry["PathResponse"] for entry in planes[2]["PlaneResponse"]["paths"]]
    own = {
        round(p["pitchpos"] / 4.71, 1): -np.array(p["current"]["array"]["elements"]) for p in paths
    }
    unit = np.mean([own[round(-d / 10, 1)].sum() for d in range(6)])
    shaped = response.electronics(np.arange(300) * 0.1, CONFIG.shaping_us)
    shaped *= 1000 * response.full_scale(CONFIG) / unit
    return {at: np.convolve(current, shaped)[:1000] for at, current in own.items()}


def width(pulse: np.ndarray, step_ticks: float) -> float:
    """Full width at half of the peak, ticks."""
    return float(np.sum(pulse > pulse.max() / 2) * step_ticks)


def response_figures() -> dict[str, object]:
    """Peak (ADC14 per ke-) and width (ticks) of the three published cases, ours and Garfield's."""
    distances = (np.arange(40) + 0.5) / 40 - 0.5
    wires = range(-response.SIDE, response.SIDE + 1)
    mean = 1000 * np.mean(
        [[response.pulse(CONFIG, d, n) for n in wires] for d in distances], axis=0
    )
    ours = {
        "point_on_wire": 1000 * response.pulse(CONFIG, 0.0),
        "mean_over_pitch": mean[response.SIDE],
        "isochronous_track": mean.sum(axis=0),
    }
    published = {
        "point_on_wire": (22.8, 5),
        "mean_over_pitch": (19.8, 6),
        "isochronous_track": (18.0, 7),
    }
    found: dict[str, object] = {
        name: {
            "peak": round(float(pulse.max()), 2),
            "fwhm_ticks": round(width(pulse, 1 / response.FINE), 2),
            "published_peak": published[name][0],
            "published_fwhm_ticks": published[name][1],
        }
        for name, pulse in ours.items()
    }
    found["area_per_ke"] = round(float(mean[response.SIDE].sum() / response.FINE), 2)
    theirs = garfield()
    if theirs is None:
        return found | {"garfield": None}
    weight = np.array([0.5, 1, 1, 1, 1, 0.5]) / 5
    pitch = sum(w * theirs[round(-d / 10, 1)] for d, w in enumerate(weight))
    worst = {
        str(d / 10): round(
            float(
                np.abs(ours_on_their_axis(d / 10) - theirs[round(-d / 10, 1)]).max()
                / theirs[0.0].max()
            ),
            3,
        )
        for d in range(6)
    }
    return found | {
        "garfield": {
            "point_on_wire_peak": round(float(theirs[0.0].max()), 2),
            "mean_over_pitch_peak": round(float(pitch.max()), 2),
            "largest_difference_by_distance": worst,
        }
    }


def ours_on_their_axis(distance: float, neighbour: int = 0) -> np.ndarray:
    """Our pulse in steps of 0.1 us, electrons that head for the wire arriving at 60 us."""
    ends = (np.arange(1000) - 599.5) * 0.1
    shaped = response.electronics(np.arange(300) * 0.1, CONFIG.shaping_us)
    shaped *= 1000 * response.full_scale(CONFIG)
    return np.convolve(response.current(ends, distance, neighbour), shaped)[:1000]


def noise_parts(rows: np.ndarray, board_wires: int, cut: float | None) -> dict[str, np.ndarray]:
    """What is measured of noise, rows (ticks, wires) in counts with boards of ``board_wires``.

    ``cut``: samples further from the median, with 20 ticks before and 30 after, are left out
    (cosmics). Gives the rms of all, of the median over a board and of the rest, and the amplitude
    spectra of all and of the medians, in segments of SEGMENT that are whole.
    """
    rows = rows - np.median(rows, axis=0)
    mask = np.zeros(rows.shape, bool)
    if cut is not None:
        far = np.abs(rows) > cut
        for shift in range(-20, 31):
            mask |= np.roll(far, shift, axis=0)
    clean = np.where(mask, np.nan, rows)
    boards = clean.reshape(len(rows), -1, board_wires)
    common = np.nanmedian(boards, axis=2)
    alone = (boards - common[:, :, None]).reshape(rows.shape)
    return {
        "rms": np.nanmedian(np.nanstd(clean, axis=0)),
        "common_rms": common.std(axis=0).mean(),
        "alone_rms": np.nanmedian(np.nanstd(alone, axis=0)),
        "alone": spectrum(alone),
        "common": spectrum(common),
    }


def spectrum(rows: np.ndarray) -> np.ndarray:
    """Amplitude over frequency, so that the mean of its square is the variance."""
    window = np.hanning(SEGMENT)[:, None]
    total, number = np.zeros(SEGMENT // 2 + 1), 0
    for start in range(0, len(rows) - SEGMENT + 1, SEGMENT // 2):
        part = rows[start : start + SEGMENT]
        part = part[:, ~np.isnan(part).any(axis=0)]
        waves = np.fft.rfft((part - part.mean(axis=0)) * window, axis=0)
        total += (np.abs(waves) ** 2).sum(axis=1) / (window**2).sum()
        number += part.shape[1]
    return np.sqrt(total / max(number, 1))


def real_frames() -> np.ndarray | None:
    """Collection channels of the real frames, float (ticks, 96), 48 of each board; None without."""
    path = DATA / "protodune" / "frames.bin"
    if not path.exists() or importlib.util.find_spec("hairtrigger.detectors.wib") is None:
        return None
    from hairtrigger.detectors.wib import decode_wib1

    raw = np.fromfile(path, np.uint8)
    counts = decode_wib1(raw[: len(raw) // 464 * 464].reshape(-1, 464)).astype(float)
    return counts[:, np.median(counts, axis=0) < 1500]


def noise_figures() -> tuple[dict[str, object], dict[str, dict[str, np.ndarray] | None]]:
    """rms of simulated and real noise in ADC14, and the spectra behind them."""
    quiet = {f"{n}_bq_cm3": 0.0 for n in lartpc_sources.SOURCES}
    made = {}
    for name, config in (("ours", CONFIG), ("ours_as_frames", PROTODUNE_SP)):
        pure = dataclasses.replace(config, **quiet)
        rows = lartpc.simulate(256, seed=SEED, config=pure).images.reshape(-1, pure.wires)
        made[name] = noise_parts(rows / config.counts, pure.board_wires, None)
    frames = real_frames()
    real = None
    if frames is not None:
        real = noise_parts(4 * frames, 48, 80.0)
    names = ("rms", "common_rms", "alone_rms")
    told = {
        who: None if part is None else {name: round(float(part[name]), 2) for name in names}
        for who, part in (
            ("simulated", made["ours"]),
            ("simulated_as_frames", made["ours_as_frames"]),
            ("frames_times_4", real),
        )
    }
    if frames is not None:
        levels = 4 * np.median(frames, axis=0)
        told["frames_pedestal"] = round(float(levels.mean()), 1)
        told["frames_pedestal_spread"] = round(float(levels.std()), 1)
    return told, made | {"frames": real}


def energies() -> dict[str, dict[str, np.ndarray]]:
    """Truth of 2048 images of each kind of event."""
    kinds = ("nue_cc", "es", "solar", "muon", "michel")
    made = {}
    for kind in kinds:
        truth = lartpc.simulate(2048, seed=SEED, kind=kind).truth
        made[kind] = {name: truth[name] for name in ("visible_mev", "electron_mev", "neutrino_mev")}
    return made


def decay_energies() -> dict[str, np.ndarray]:
    """Energies of single decays, by source, of 60 blocks."""
    rng = np.random.default_rng(SEED)
    found: dict[str, list[np.ndarray]] = {name: [] for name in lartpc_sources.SOURCES}
    for _ in range(60):
        decays = lartpc_sources.draw_decays(rng, lartpc_noise.BLOCK_TICKS, CONFIG)
        mev = np.bincount(decays.deposits.event, decays.deposits.mev, len(decays))
        for number, name in enumerate(lartpc_sources.SOURCES):
            found[name].append(mev[decays.source == number])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def counts_per_mev() -> dict[str, float]:
    """Area (ADC14 tick) and highest sample (ADC14) per visible MeV, images without noise."""
    quiet = {f"{n}_bq_cm3": 0.0 for n in lartpc_sources.SOURCES}
    config = LartpcConfig(noise_rms=0.0, coherent_rms=0.0, **quiet)
    made = lartpc.simulate(1024, seed=SEED, config=config, kind="nue_cc")
    signal = made.images - lartpc_noise.pedestals(config)
    visible = made.truth["visible_mev"]
    central = (np.abs(made.truth["tick"] - 30) < 15) & (visible > 8)
    area = np.where(np.abs(signal) > 1, signal, 0).sum(axis=(1, 2))
    high = signal.max(axis=(1, 2))
    return {
        "area_per_mev": round(float(np.median((area / visible)[central])), 1),
        "area_per_mev_without_attachment": round(0.7e6 / 23.6 * 0.143, 1),
        "peak_of_an_image_median": round(float(np.median(high[central])), 1),
        "images": int(central.sum()),
    }


def rate() -> dict[str, object]:
    """Noise images a second: threads on all processors, and in one; with what else ran unknown."""
    images = 64 * 64
    told: dict[str, object] = {"images": images, "processors": processors()}
    for name, threads in (("all_processors", None), ("one_thread", 1)):
        lartpc.simulate(128, seed=9, threads=threads)
        wall, cpu = time.perf_counter(), time.process_time()
        lartpc.simulate(images, seed=SEED, threads=threads)
        told[f"{name}_images_s"] = round(images / (time.perf_counter() - wall))
        told[f"{name}_cpu_us_image"] = round((time.process_time() - cpu) / images * 1e6)
    told["load_average_before"] = round(os.getloadavg()[0], 1)
    return told


def draw(
    path: Path,
    spectra: dict[str, dict[str, np.ndarray] | None],
    truths: dict[str, dict[str, np.ndarray]],
    decays: dict[str, np.ndarray],
) -> None:
    """The figure: 3 x 4 panels."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 8, "axes.titlesize": 9, "legend.fontsize": 7})
    figure, axes = plt.subplots(3, 4, figsize=(17, 11), constrained_layout=True)
    _draw_response(axes[0, 0], axes[0, 1])
    _draw_noise(axes[0, 2], spectra)
    _draw_decays(axes[0, 3], decays)
    _draw_energies(axes[1, 0], axes[1, 1], truths)
    shown = ("noise", "nue_cc", "es", "solar", "muon", "michel")
    for axis, kind in zip(axes.reshape(-1)[6:], shown, strict=True):
        _draw_event(axis, kind)
    figure.savefig(path, dpi=75)


def _draw_response(own: object, near: object) -> None:
    theirs = garfield()
    time_us = np.arange(1000) * 0.1 - 60
    for distance, colour in ((0.0, "C0"), (0.3, "C1"), (0.5, "C2")):
        own.plot(time_us, ours_on_their_axis(distance), colour, label=f"{distance} pitch")
        if theirs is not None:
            own.plot(time_us, theirs[-distance], colour, ls=":", lw=2)
    for distance, neighbour, colour in ((0.5, 1, "C0"), (0.2, 1, "C1"), (0.0, 1, "C2")):
        away = neighbour - distance
        label = f"{away:.1f} pitches away"
        near.plot(time_us, ours_on_their_axis(distance, neighbour), colour, label=label)
        if theirs is not None:
            near.plot(time_us, theirs[round(away, 1)], colour, ls=":", lw=2)
    for axis, title in ((own, "collecting wire"), (near, "wire beside it")):
        axis.set(xlim=(-8, 12), xlabel="time from arrival (us)", ylabel="ADC14 per ke-")
        axis.set_title(f"{title}: ours, and Garfield (dotted)")
        axis.legend()


def _draw_noise(axis: object, spectra: dict[str, dict[str, np.ndarray] | None]) -> None:
    for name, tick_us, style, label in (
        ("ours", CONFIG.tick_ns * 1e-3, "-", "default"),
        ("ours_as_frames", 0.5, "--", "as ProtoDUNE-SP"),
        ("frames", 0.5, ":", "real frames"),
    ):
        part = spectra[name]
        if part is not None:
            at = np.fft.rfftfreq(SEGMENT, tick_us)[1:]
            axis.plot(at, part["alone"][1:], "C0", ls=style, label=f"wire, {label}")
            axis.plot(at, part["common"][1:], "C1", ls=style, label=f"board, {label}")
    path = DATA / "wirecell" / SPECTRA
    if path.exists():
        entries = json.loads(bz2.decompress(path.read_bytes()))
        entry = [e for e in entries if e["plane"] == 2][-1]
        amplitude = np.hypot(entry["amps"], entry["const"])
        at = np.array(entry["freqs"]) * 1e3
        scale = spectra["ours"]["alone"].max() / amplitude.max()
        axis.plot(at, scale * amplitude, "k-.", lw=1, label="wire, WireCell, same peak")
    axis.set(xlabel="frequency (MHz)", ylabel="amplitude (ADC14)", yscale="log", ylim=(0.3, 150))
    axis.set_title("noise of a wire, and common to a board")
    axis.legend()


def _draw_decays(axis: object, decays: dict[str, np.ndarray]) -> None:
    edges = np.geomspace(0.01, 10, 61)
    for name, mev in decays.items():
        axis.hist(mev, edges, histtype="step", label=f"{name} ({len(mev)})")
    axis.set(xscale="log", yscale="log", xlabel="energy (MeV)", ylabel="decays")
    axis.set_title("radiologicals, 3840 images")
    axis.legend()


def _draw_energies(left: object, right: object, truths: dict[str, dict[str, np.ndarray]]) -> None:
    for kind in ("nue_cc", "es", "solar"):
        left.hist(truths[kind]["neutrino_mev"], np.arange(0, 70, 1.5), histtype="step", label=kind)
    left.set(xlabel="neutrino energy (MeV)", ylabel="events")
    left.set_title("neutrinos that interact")
    for kind, truth in truths.items():
        edges = np.geomspace(0.3, 2000, 51)
        right.hist(truth["visible_mev"], edges, histtype="step", label=kind)
    right.set(xscale="log", xlabel="visible energy in the image (MeV)", ylabel="images")
    right.set_title("energy in the image")
    for axis in (left, right):
        axis.legend()


def _draw_event(axis: object, kind: str) -> None:
    made = lartpc.simulate(64, seed=SEED, kind=kind)
    truth = made.truth
    inside = (np.abs(truth["tick"] - 32) < 12) & (np.abs(truth["wire"] - 240) < 200)
    number = 2
    if kind != "noise":
        goal = {"nue_cc": 15, "es": 8, "solar": 8, "muon": 60, "michel": 60}[kind]
        number = int(np.argmin(np.abs(truth["visible_mev"] - goal) + 1e3 * ~inside))
    image = made.images[number] - lartpc_noise.pedestals(made.config)
    middle = int(np.clip(truth["wire"][number], 60, 420)) if kind != "noise" else 240
    axis.imshow(
        image[:, middle - 60 : middle + 60],
        origin="lower",
        aspect="auto",
        extent=(middle - 60, middle + 60, 0, 64),
        vmin=-60,
        vmax=240,
        cmap="viridis",
        interpolation="nearest",
    )
    axis.set(xlabel="wire", ylabel="tick")
    axis.set_title(f"{kind}: {truth['visible_mev'][number]:.1f} MeV in the image")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/detectors"))
    parser.add_argument("--rate", action="store_true", help="measure the speed as well")
    options = parser.parse_args()
    noise, spectra = noise_figures()
    truths, decays = energies(), decay_energies()
    told: dict[str, object] = {
        "command": "python benchmarks/lartpc_validation.py" + (" --rate" * options.rate),
        "seed": SEED,
        "simulation_version": lartpc.SIMULATION_VERSION,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "response": response_figures(),
        "noise_adc14": noise,
        "counts": counts_per_mev(),
        "decays_per_image": {name: round(len(mev) / 3840, 5) for name, mev in decays.items()},
        "decay_mean_mev": {
            name: round(float(mev.mean()), 4) if len(mev) else None for name, mev in decays.items()
        },
        "mean_mev": {
            kind: {name: round(float(values.mean()), 2) for name, values in truth.items()}
            for kind, truth in truths.items()
        },
        "electron_direction": pointing(),
    }
    if options.rate:
        told["rate"] = rate()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "lartpc_validation.json").write_text(json.dumps(told, indent=1) + "\n")
    draw(options.out / "lartpc_validation.png", spectra, truths, decays)
    print(json.dumps(told, indent=1))


def pointing() -> dict[str, float]:
    """Mean cosine between electron and neutrino, by kind, of 4000 events."""
    found = {}
    for kind in ("nue_cc", "es"):
        drawn = lartpc_events.draw(kind, np.random.default_rng(SEED), 4000, CONFIG)
        cosine = (drawn.direction * drawn.neutrino_direction).sum(axis=1)
        found[f"{kind}_mean_cosine"] = round(float(cosine.mean()), 3)
    return found


if __name__ == "__main__":
    main()
