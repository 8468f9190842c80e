"""What physicists ask of the muon trigger: true hits or noise, stations, the sagitta, the fakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors import rpc
from hairtrigger.errors import InputError
from hairtrigger.explain.case import Answer, Asked, Case, Events
from hairtrigger.explain.explained import Explained
from hairtrigger.explain.questions_muon_events import (
    GROUPS,
    ROWS,
    SCALAR,
    SHAPE,
    accepted,
    files,
    predictions,
    single_muons,
    station,
)
from hairtrigger.explain.questions_muon_fakes import fakes
from hairtrigger.explain.removal import light_up
from hairtrigger.explain.truth import in_words, on_truth
from hairtrigger.studies.muon import STUDY, TEST_RATE
from hairtrigger.studies.muon_metrics import TRIGGER_GEV, muon_metrics

SHIFTS = (-3, -2, -1, 0, 1, 2, 3)
TESTED = 20_000
PT_BINS = ((5.0, 10.0), (10.0, 15.0), (15.0, 30.0))


def hit_shares(found: Explained, events: Events) -> Answer:
    """How much of the positive attribution lies on the muon's own hits, station by station."""
    if events.signal is None:
        raise InputError("The truth of the hits is not known.", "Simulate with_signal=True.")
    positive = np.maximum(found.values, 0).astype(np.float64)
    own = events.signal == 1
    lit = np.asarray(events.inputs) == 1
    mean = on_truth(found.values, events.signal, lit)
    rows: list[tuple[str | float | None, ...]] = []
    for name in (*GROUPS.names, "all"):
        where = np.ones(SHAPE, bool) if name == "all" else station(name)
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
        f"strip that both fired counts as the muon's. Mean over events: {in_words(mean)}.",
        (
            *("station", "share of positive attribution", "of it on true hits"),
            *("true hits among hits (chance)", "mean on a true hit", "mean on a noise hit"),
        ),
        tuple(rows),
        {**mean.figures("on_true_hits"), "true_among_hits": mean.chance},
        ("on_true_hits", 0.8),
    )


def dropped_stations(network: Any, seed: int, count: int = TESTED) -> Answer:
    """What the trigger loses with a station dark: efficiency, charge, spread."""
    events = single_muons(count, seed)
    images = events.unpacked()
    rows: list[tuple[str | float | None, ...]] = []
    figures: dict[str, float | None] = {}
    for name in ("none", *GROUPS.names):
        seen = images.copy()
        if name != "none":
            seen[:, station(name)[:, 0, 0]] = 0
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

    What a strip is worth to one who reads BI and BO alone is fitted on the true q/pT of the same
    muons: their distance in mean strips, and the place along the sector, where the field differs
    (least squares). A network that compares BO with BM follows by more: where BO moves alone, the
    bend is sharper than where BM has moved as well, as it has in a muon.
    """
    events = single_muons(count, seed, 0.0)
    own = rpc.unpack(events.signal)
    truth = events.truth
    pt, charge = truth["pt"][:, 0].astype(np.float64), truth["charge"][:, 0].astype(np.float64)
    strips = np.arange(own.shape[2])
    centres = np.stack([_centres(own[:, station(n)[:, 0, 0]], strips) for n in GROUPS.names], 1)
    outer = own[:, station("BO")[:, 0, 0]]
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
            moved[:, station("BO")[:, 0, 0]] = np.roll(outer[mine], shift, axis=2)
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
        "of the predicted q/pT [1/GeV]. Expected: what a strip of the distance from BI to BO is "
        "worth where nothing else is read, fitted on the true q/pT of the same muons, median; one "
        "that compares BO with BM follows by more, since a muon's BO does not move alone.",
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
    """Change of q/pT per strip of BO for each muon, by least squares in the distance from BI.

    What a distance is worth is a parabola in the place of BI along the sector.
    """
    away = centres[:, -1:] - centres[:, :1]
    place = np.stack([(centres[:, 0] / SHAPE[1]) ** n for n in range(3)], axis=1)
    terms = np.concatenate([away * place, place], axis=1)
    found, *_ = np.linalg.lstsq(terms, wanted, rcond=None)
    return np.asarray(place @ found[: place.shape[1]])


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
    centres = {n: _centres(own[:, station(n)[:, 0, 0]], strips) for n in GROUPS.names}
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
            row = int(np.flatnonzero(station(name)[:, 0, 0])[0])
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
