"""What physicists ask of the muon trigger: true hits or noise, stations, the sagitta, the fakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors import rpc
from hairtrigger.engines import run
from hairtrigger.errors import InputError
from hairtrigger.explain.case import Answer, Asked, Case, Events
from hairtrigger.explain.explained import Explained
from hairtrigger.explain.groups import Groups, by_axis
from hairtrigger.explain.load import CHIP
from hairtrigger.explain.removal import light_up
from hairtrigger.explain.shapley import shapley
from hairtrigger.explain.subject import Scalar
from hairtrigger.graph import Graph
from hairtrigger.metrics import Fraction, fraction_of
from hairtrigger.studies.muon import STUDY, TASK, TEST_RATE
from hairtrigger.studies.muon_metrics import TRIGGER_GEV, MuonPrediction, muon_metrics
from hairtrigger.studies.muon_task import decode
from hairtrigger.train import predict

ROWS = ("BI 1", "BI 2", "BI 3", "BM1 1", "BM1 2", "BM2 1", "BM2 2", "BO 1", "BO 2")
STATIONS = ("BI", "BI", "BI", "BM1", "BM1", "BM2", "BM2", "BO", "BO")
SHAPE = (TASK.rows, TASK.config().strips, 1)
GROUPS: Groups = by_axis(SHAPE, 0, STATIONS)
SCALAR = Scalar.head(STUDY.heads, "pt")
SHIFTS = (-3, -2, -1, 0, 1, 2, 3)
NOISE_RATE = 300.0
"""Background [Hz/cm2] of the images whose fakes are looked at: the hottest place."""
FAKE_IMAGES = 100_000
TESTED = 20_000
PT_BINS = ((5.0, 10.0), (10.0, 15.0), (15.0, 30.0))


def files(folder: Path | None) -> dict[str, Path]:
    """The networks of a run folder, or the trained student that comes with the study."""
    if folder is None:
        return {"quantised student": Path(rpc.__file__).parents[1] / "studies/trained/muon.keras"}
    stages = folder / "stages"
    found = {
        "teacher": stages / "teacher/model.keras",
        "float student": stages / "float_student/model.keras",
        "quantised student": stages / "student/model.keras",
        CHIP: stages / "convert/graph.txt",
    }
    return {name: path for name, path in found.items() if path.exists()}


def predictions(network: Any, images: NDArray[np.uint8]) -> MuonPrediction:
    """What a network or Graph says of images (events, rows, strips) or (events, *SHAPE)."""
    inputs = images.reshape(len(images), *SHAPE)
    if isinstance(network, Graph):
        outputs = run(network, inputs).values[0].reshape(len(inputs), -1)
    else:
        outputs = predict(network, inputs)
    return decode(outputs)


def single_muons(count: int, seed: int, rate: float = TEST_RATE, **changes: Any) -> rpc.RpcEvents:
    """Images of one muon each, with the truth of which hits are its."""
    config = TASK.config(noise_rate_hz_cm2=rate, **changes)
    return rpc.simulate(count, seed=seed, config=config, muons=1, with_signal=True)


def accepted(network: Any, count: int, seed: int, folder: Path | None = None) -> Events:
    """``count`` images of one muon of at least 15 GeV that the network puts at 15 GeV or more.

    Raises `InputError` where so few are accepted that they would not come together.
    """
    del folder
    images: list[NDArray[np.uint8]] = []
    signals: list[NDArray[np.uint8]] = []
    captions: list[str] = []
    tried = 0
    for block in range(64):
        # Half of all single muons are above 15 GeV; nearly all of them are accepted.
        events = single_muons(max(256, 2 * count), seed + 1000 * block)
        tried += len(events)
        hard = np.flatnonzero(events.truth["pt"][:, 0] >= TRIGGER_GEV)
        said = predictions(network, events.unpacked(hard))
        chosen = hard[said.pt >= TRIGGER_GEV]
        images.append(events.unpacked(chosen))
        signals.append(rpc.unpack(events.signal[chosen]))
        for event, pt in zip(chosen, said.pt[said.pt >= TRIGGER_GEV], strict=True):
            true = events.truth[event]
            captions.append(
                f"true pT {true['pt'][0]:.1f} GeV, predicted {pt:.1f} GeV, "
                f"eta {true['eta'][0]:.2f}, charge {true['charge'][0]:+d}"
            )
        if len(captions) >= count:
            break
    else:
        raise InputError(
            f"Only {len(captions)} of {tried} muons were accepted.",
            "Explain a trained network, or ask for fewer events.",
        )
    return Events(
        np.concatenate(images)[:count, ..., None],
        "images of one muon of 15 GeV or more at "
        f"{TEST_RATE:.0f} Hz/cm2 that the network puts at 15 GeV or more",
        np.concatenate(signals)[:count, ..., None],
        tuple(captions[:count]),
    )


# --- the questions -------------------------------------------------------------------------------


def hit_shares(found: Explained, events: Events) -> Answer:
    """How much of the positive attribution lies on the muon's own hits, station by station."""
    if events.signal is None:
        raise InputError("The truth of the hits is not known.", "Simulate with_signal=True.")
    positive = np.maximum(found.values, 0).astype(np.float64)
    own = events.signal == 1
    lit = np.asarray(events.inputs) == 1
    total, mine = (x.reshape(len(found), -1).sum(axis=1) for x in (positive, positive * own))
    some = total > 0
    shares = mine[some] / total[some]
    error = shares.std(ddof=1) / np.sqrt(len(shares)) if len(shares) > 1 else 0.0
    rows: list[tuple[str | float | None, ...]] = []
    for name in (*GROUPS.names, "all"):
        where = np.ones(SHAPE, bool) if name == "all" else _station(name)
        on, off = lit & own & where, lit & ~own & where
        rows.append(
            (
                name,
                float(positive[:, where].sum() / positive.sum()),
                float(positive[on].sum() / max(positive[:, where].sum(), 1e-30)),
                float(on.sum() / max(1, (lit & where).sum())),
                float(found.values[on].mean()) if on.any() else None,
                float(found.values[off].mean()) if off.any() else None,
            )
        )
    return Answer(
        "hits",
        "Does the network decide by the muon's hits or by the noise?",
        f"Positive attribution of log2(pT) by {found.method} on {len(found)} {events.note}. A "
        "strip that both fired counts as the muon's.",
        (
            *("station", "share of positive attribution", "of it on true hits"),
            *("true hits among hits (chance)", "mean on a true hit", "mean on a noise hit"),
        ),
        tuple(rows),
        {
            "on_true_hits": float(shares.mean()),
            "error": float(error),
            "true_among_hits": float((lit & own).sum() / lit.sum()),
            "events": float(len(shares)),
        },
        ("on_true_hits", 0.8),
    )


def _station(name: str) -> NDArray[np.bool_]:
    return np.asarray(GROUPS.labels == GROUPS.names.index(name))


def dropped_stations(network: Any, seed: int, count: int = TESTED) -> Answer:
    """What the trigger loses with a station dark: efficiency, charge, spread."""
    events = single_muons(count, seed)
    images = events.unpacked()
    rows: list[tuple[str | float | None, ...]] = []
    figures: dict[str, float | None] = {}
    for name in ("none", *GROUPS.names):
        seen = images.copy()
        if name != "none":
            seen[:, _station(name)[:, 0, 0]] = 0
        made = muon_metrics(predictions(network, seen), events.truth)
        numbers = (made.efficiency.value, made.charge.value, made.spread.value, made.eta.value)
        rows.append((name, *numbers))
        figures[f"efficiency_without_{name}"] = made.efficiency.value
        figures[f"charge_without_{name}"] = made.charge.value
    return Answer(
        "stations",
        "What is lost where a station is dark?",
        f"The station's strips off, in {count:,} images of one muon at {TEST_RATE:.0f} Hz/cm2.",
        (
            *("station off", "efficiency at 15 GeV", "right charges, 5 to 15 GeV"),
            *("mean |pT - true|, 7 to 13 GeV [GeV]", "mean |eta - true|"),
        ),
        tuple(rows),
        figures,
    )


def moved_outermost(network: Any, seed: int, count: int = TESTED) -> Answer:
    """Move the hits of BO alone by whole strips and follow q/pT.

    The sagitta says that q/pT goes with the distance of BO from the line of the stations before:
    what a strip is worth is fitted on the true q/pT of the same muons, all stations' mean strips
    together (least squares, with the place along the sector, where the field differs), so that it
    holds for the strips as they are measured.
    """
    events = single_muons(count, seed, 0.0)
    own = rpc.unpack(events.signal)
    truth = events.truth
    pt, charge = truth["pt"][:, 0].astype(np.float64), truth["charge"][:, 0].astype(np.float64)
    strips = np.arange(own.shape[2])
    centres = np.stack([_centres(own[:, _station(n)[:, 0, 0]], strips) for n in GROUPS.names], 1)
    outer = own[:, _station("BO")[:, 0, 0]]
    edge = max(abs(s) for s in SHIFTS)
    inside = ~(outer[..., :edge].any(axis=(1, 2)) | outer[..., -edge:].any(axis=(1, 2)))
    rows: list[tuple[str | float | None, ...]] = []
    figures: dict[str, float | None] = {}
    whole = np.isfinite(centres).all(axis=1) & inside & (pt >= PT_BINS[0][0])
    worth = np.full(count, np.nan)
    worth[whole] = _strip_worth(centres[whole], (charge / pt)[whole])
    for low, high in PT_BINS:
        mine = np.flatnonzero(whole & (pt >= low) & (pt < high))
        if len(mine) < 50:
            continue
        said = []
        for shift in SHIFTS:
            moved = own[mine].copy()
            moved[:, _station("BO")[:, 0, 0]] = np.roll(outer[mine], shift, axis=2)
            made = predictions(network, moved)
            said.append(made.charge / made.pt)
        table = np.array(said)
        middle = SHIFTS.index(0)
        step = (table[middle + 1] - table[middle - 1]) / 2
        wanted = float(np.median(worth[mine]))
        change = [float(np.median(row - table[middle])) for row in table]
        along = float((np.sign(step) == np.sign(worth[mine])).mean())
        error = float(1.2533 * step.std(ddof=1) / np.sqrt(len(step)))
        rows.append(
            (
                f"{low:g} to {high:g}",
                len(mine),
                *change,
                float(np.median(step)),
                error,
                wanted,
                along,
            )
        )
        figures[f"slope_{low:g}_{high:g}"] = float(np.median(step))
        figures[f"expected_{low:g}_{high:g}"] = wanted
        figures[f"follows_{low:g}_{high:g}"] = along
    return Answer(
        "sagitta",
        "Does q/pT follow the sagitta where only BO is moved?",
        f"{count:,} muons without noise, the hits of BO alone moved by whole strips: median change "
        "of the predicted q/pT [1/GeV]. Expected: what BO's mean strip is worth in a linear fit of "
        "the true q/pT to the mean strips of all stations, on the same muons, median.",
        (
            *("true pT [GeV]", "muons"),
            *(f"{shift:+d} strips" for shift in SHIFTS),
            *("median per strip", "its error", "expected per strip", "events that follow"),
        ),
        tuple(rows),
        figures,
    )


def _centres(own: NDArray[np.uint8], strips: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean strip of each event's hits, NaN where there is none."""
    hits = own.sum(axis=1, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(hits @ strips / hits.sum(axis=1), np.float64)


def _strip_worth(centres: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Change of q/pT per strip of BO for each muon, by least squares in the distances from BI.

    What a distance is worth is a parabola in the place of BI along the sector.
    """
    away = centres[:, 1:] - centres[:, :1]
    place = np.stack([(centres[:, 0] / SHAPE[1]) ** n for n in range(3)], axis=1)
    terms = (away[:, :, None] * place[:, None]).reshape(len(away), -1)
    found, *_ = np.linalg.lstsq(np.concatenate([terms, place], axis=1), wanted, rcond=None)
    return np.asarray(place @ found[3 * (away.shape[1] - 1) : 3 * away.shape[1]])


def fakes(network: Any, seed: int, count: int = FAKE_IMAGES, orders: int = 8) -> Answer:
    """Noise-only images that pass 15 GeV: which stations' noise makes them, and how many hits."""
    config = TASK.config(noise_rate_hz_cm2=NOISE_RATE)
    found: list[NDArray[np.uint8]] = []
    ordinary = np.zeros(len(GROUPS))
    step = 8192
    for start in range(0, count, step):
        size = min(step, count - start)
        events = rpc.simulate(size, seed=seed, config=config, muons=0, start=start)
        images = events.unpacked()
        passed = predictions(network, images).pt > TRIGGER_GEV
        found.append(images[passed])
        ordinary += _by_station(images).sum(axis=0)
    images = np.concatenate(found)
    rate: Fraction = fraction_of(np.arange(count) < len(images))
    figures: dict[str, float | None] = {"fakes": float(len(images)), "images": float(count)}
    figures |= {"share": rate.value, "share_low": rate.low, "share_high": rate.high}
    rows: list[tuple[str | float | None, ...]] = []
    if len(images):
        inputs = images[..., None]
        worth = shapley(network, inputs, GROUPS, SCALAR)
        map_ = light_up(network, inputs, SCALAR, orders=orders, seed=seed)
        alone, needed = _needed(network, images, map_)
        hits = _by_station(images).mean(axis=0)
        clustered = _by_station(_in_clusters(images)).mean(axis=0)
        for n, name in enumerate(GROUPS.names):
            rows.append(
                (
                    *(name, float(hits[n]), float(ordinary[n] / count), float(clustered[n])),
                    float(worth.values[:, n].mean()),
                    float(_by_station(needed)[:, n].mean()),
                    float((_by_station(needed)[:, n] > 0).mean()),
                )
            )
        figures["hits_needed"] = float(alone.mean())
        figures["all_four_stations"] = float((_by_station(needed) > 0).all(axis=1).mean())
        figures["three_stations"] = float(((_by_station(needed) > 0).sum(axis=1) == 3).mean())
    return Answer(
        "fakes",
        "What makes the fakes?",
        f"{len(images)} of {count:,} noise-only images at {NOISE_RATE:.0f} Hz/cm2 are predicted "
        "over 15 GeV. Needed: the fewest hits, most important first by the map, that alone on a "
        "dark image pass as well. Share: exact Shapley value of the station's hits, in log2(pT).",
        (
            *(
                "station",
                "hits in a fake",
                "hits in any noise image",
                "with a neighbour, in a fake",
            ),
            *("share of log2(pT)", "needed hits", "fakes that need it"),
        ),
        tuple(rows),
        figures,
    )


def _by_station(images: NDArray[Any]) -> NDArray[np.int64]:
    """Hits in each station: images (events, rows, strips) to (events, stations)."""
    rows = images.sum(axis=2, dtype=np.int64)
    labels = GROUPS.labels[:, 0, 0]
    return np.stack([rows[:, labels == n].sum(axis=1) for n in range(len(GROUPS))], axis=1)


def _in_clusters(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The hits that have a hit beside them in the same row."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1)))
    return images & (padded[..., :-2] | padded[..., 2:])


def _needed(
    network: Any, images: NDArray[np.uint8], found: Explained
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """How many hits, most important first, pass alone, and these hits as images."""
    flat = images.reshape(len(images), -1)
    worth = np.where(flat == 1, found.values.reshape(len(flat), -1), -np.inf)
    order = np.argsort(-worth, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(flat.shape[1])[None], axis=1)
    least = np.full(len(flat), int(flat.sum(axis=1).max()))
    kept = flat.copy()
    waiting = np.arange(len(flat))
    for number in range(1, int(flat.sum(axis=1).max()) + 1):
        shown = np.where(rank[waiting] < number, flat[waiting], 0).astype(np.uint8)
        passed = predictions(network, shown.reshape(len(shown), *images.shape[1:])).pt > TRIGGER_GEV
        least[waiting[passed]] = number
        kept[waiting[passed]] = shown[passed]
        waiting = waiting[~passed]
        if not len(waiting):
            break
    return least, kept.reshape(images.shape)


def swept_noise(
    network: Any,
    seed: int,
    count: int = 2000,
    distances: Sequence[int] = (-40, -24, -16, -12, -8, -6, -4, -2, 0, 2, 4, 6, 8, 12, 16, 24, 40),
    width: int = 3,
) -> Answer:
    """A noise cluster in one station, swept past the track: how far pT is pulled by it."""
    events = single_muons(count, seed, 0.0)
    own = rpc.unpack(events.signal)
    strips = np.arange(own.shape[2])
    hard = events.truth["pt"][:, 0] >= TRIGGER_GEV
    centres = {n: _centres(own[:, _station(n)[:, 0, 0]], strips) for n in GROUPS.names}
    reach = max(abs(d) for d in distances) + width
    fine = hard.copy()
    for where in centres.values():
        fine &= np.isfinite(where) & (where >= reach) & (where < own.shape[2] - reach)
    own = own[fine]
    before = np.log2(predictions(network, own).pt)
    rows: list[tuple[str | float | None, ...]] = []
    for distance in distances:
        cells: list[float] = []
        for name in GROUPS.names:
            noisy = own.copy()
            # The whole station does not fire: noise comes in one layer.
            row = int(np.flatnonzero(_station(name)[:, 0, 0])[0])
            first = np.rint(centres[name][fine]).astype(int) + distance - width // 2
            for extra in range(width):
                noisy[np.arange(len(own)), row, first + extra] = 1
            after = np.log2(predictions(network, noisy).pt)
            cells.append(float(np.abs(after - before).mean()))
        rows.append((distance, *cells))
    return Answer(
        "sweep",
        "How near must noise come to matter?",
        f"A cluster of {width} strips in the first layer of a station, at a distance from the "
        f"track's hits there, in {len(own):,} noise-free muons of 15 GeV or more: mean absolute "
        "change of log2(pT).",
        ("strips from the track", *GROUPS.names),
        tuple(rows),
    )


def of_roads(maps: NDArray[Any]) -> NDArray[Any]:
    """A map of the layer ``roads`` (events, phases, columns) on the strips that its columns are of.

    Columns of the second phase start half a column later (see `muon_networks`).
    """
    phases, columns = maps.shape[1:]
    width = SHAPE[1] // columns
    strips = np.arange(SHAPE[1])
    places = [np.clip((strips - n * width // phases) // width, 0, None) for n in range(phases)]
    each = np.stack([maps[:, n, where] for n, where in enumerate(places)])
    return np.broadcast_to(each.mean(axis=0)[:, None, :, None], (len(maps), *SHAPE))


def questions(asked: Asked) -> tuple[Answer, ...]:
    """All of them, of the chip where there is one; its map lights strips one by one."""
    network, seed = asked.deployed, asked.seed
    found = light_up(network, asked.events.inputs, SCALAR, orders=4, seed=seed)
    asked.tell(1, 5)
    answers = [hit_shares(found, asked.events)]
    for number, ask in enumerate((dropped_stations, moved_outermost, swept_noise, fakes), 2):
        answers.append(ask(network, seed + number))
        asked.tell(number, 5)
    return tuple(answers)


CASE = Case(
    "muon",
    STUDY.title,
    replace(SCALAR, name="log2(pT / 3 GeV)"),
    GROUPS,
    ROWS,
    files,
    accepted,
    questions,
    layer="roads",
    to_image=of_roads,
)
