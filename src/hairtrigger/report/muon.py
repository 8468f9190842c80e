"""The muon study's part of a report: its figures as rows and curves, and events to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hairtrigger.detectors import rpc
from hairtrigger.errors import MismatchError
from hairtrigger.metrics import Fraction, Mean, TurnOn, fraction
from hairtrigger.report import summary as s
from hairtrigger.report.judged import Judged, Network, estimate
from hairtrigger.report.page import Pictures
from hairtrigger.studies.base import Study
from hairtrigger.studies.muon import STUDY, TEST_RATE, noise_name
from hairtrigger.studies.muon_metrics import CHARGE_GEV, SPREAD_GEV, TRIGGER_GEV, MuonPrediction

SAMPLE = "muons"
PASSED_GEV = 10.0
PASSED = ((5.0, 6.0, "low"), (10.0, 12.0, "high"), (12.0, 14.0, "high"))
"""Threshold and bins of true pT [GeV] of the published student, and what is better there."""
SEEN_LAYERS = 7
"""Layers that a muon of an event display has fired, so that there is a track to see."""


def judge(judged: Judged, study: Study = STUDY) -> tuple[s.Evaluation, Pictures]:
    """The report's Evaluation and the pictures of its events."""
    networks = judged.networks
    level = networks[0].figures.muons.efficiency.level
    displays, pictures = _displays(judged, study)
    evaluation = s.Evaluation(
        confidence=level,
        intervals="Wilson's for shares and of the normal distribution for means",
        samples=_samples(judged),
        models=tuple(_model(network) for network in networks),
        rows=_rows(networks, level),
        turn_on=tuple(
            s.Curve(network.name, curve.threshold, curve.edges, _estimates(curve.points, level))
            for network in networks
            for curve in network.figures.muons.turn_on
        ),
        resolution=tuple(
            s.Profile(network.name, profile.edges, _estimates(profile.points, level))
            for network in networks
            for profile in [network.figures.muons.resolution]
        ),
        confusion=tuple(s.Confusion(n.name, n.figures.muons.confusion) for n in networks),
        training=tuple(
            s.Training(n.name, n.history.loss, n.history.validation_loss, n.history.seconds)
            for n in networks
        ),
        displays=displays,
    )
    return evaluation, pictures


def _model(network: Network) -> s.Model:
    ebops = network.history.ebops[network.history.best_epoch]
    return s.Model(network.name, network.weights, ebops or None, network.engine)


def _samples(judged: Judged) -> tuple[s.Sample, ...]:
    samples = judged.samples
    groups = {"training": samples.train, "validation": samples.validation}
    groups |= {f"test: {name}": events for name, events in samples.test.items()}
    return tuple(
        s.Sample(f"{name.partition('_')[0]}, {_rate(e)}", len(e), e.seed)
        for name, group in groups.items()
        for e in (group if isinstance(group, tuple) else (group,))
    )


def _rate(events: rpc.RpcEvents) -> str:
    return f"{events.config.noise_rate_hz_cm2:g} Hz/cm2"


# --- figures ---------------------------------------------------------------------------------


def _rows(networks: Sequence[Network], level: float) -> tuple[s.Row, ...]:
    def row(
        key: str,
        label: str,
        how: str,
        unit: str,
        better: str,
        of: Callable[[Any], Fraction | Mean],
        *,
        headline: bool = False,
        scale: float = 1,
    ) -> s.Row:
        values = tuple(estimate(of(network.figures), level, scale) for network in networks)
        return s.Row(key, label, how, unit, better, headline, values)

    def fakes(number: int, rate: float) -> s.Row:
        return row(
            f"fakes_{rate:g}",
            f"fakes above {cut} at {rate:g} Hz/cm2",
            "share of images of background alone",
            "per mille",
            "low",
            lambda f: f.fakes[number].share,
            headline=rate == TEST_RATE,
            scale=1000,
        )

    def passed(low: float, high: float, better: str) -> s.Row:
        cut = PASSED_GEV
        return row(
            f"pass{cut:g}_{low:g}_{high:g}",
            f"pass {cut:g} GeV: {low:g} to {high:g} GeV",
            f"share of single muons of {low:g} to {high:g} GeV that are given {cut:g} GeV or more",
            "",
            better,
            lambda f: within(f.muons.turn_on, cut, low, high, level),
        )

    def others() -> list[s.Row]:
        return [
            row(
                f"spread_{other.number}",
                f"pT error, {SPREAD_GEV[0]:g} to {SPREAD_GEV[1]:g} GeV, muon {other.number}",
                "mean |predicted - true pT| where there is one",
                "GeV",
                "low",
                lambda f, n=n: f.others[n].spread,
            )
            for n, other in enumerate(networks[0].figures.others)
        ]

    def counted(figures: Any) -> Fraction:
        counts = np.array(figures.muons.confusion)
        return fraction(int(np.trace(counts)), int(counts.sum()), level)

    low, high = SPREAD_GEV
    charge_low, charge_high = CHARGE_GEV
    cut = f"{TRIGGER_GEV:g} GeV"
    return (
        row(
            "spread",
            f"pT error, {low:g} to {high:g} GeV",
            "mean |predicted - true pT| of single muons",
            "GeV",
            "low",
            lambda f: f.muons.spread,
            headline=True,
        ),
        row(
            "efficiency",
            f"efficiency above {cut}",
            f"share of single muons of {cut} or more that are given {cut} or more",
            "",
            "high",
            lambda f: f.muons.efficiency,
            headline=True,
        ),
        *(fakes(n, entry.rate_hz_cm2) for n, entry in enumerate(networks[0].figures.fakes)),
        *(passed(*entry) for entry in PASSED),
        row(
            "charge",
            f"right charge, {charge_low:g} to {charge_high:g} GeV",
            "share of single muons in which a muon is seen",
            "",
            "high",
            lambda f: f.muons.charge,
        ),
        row(
            "eta",
            "eta error",
            "mean |predicted - true eta| of single muons",
            "",
            "low",
            lambda f: f.muons.eta,
        ),
        *others(),
        row(
            "count",
            "right number of muons",
            "share of all images, 0 to 3 muons",
            "",
            "high",
            counted,
        ),
    )


def within(
    curves: Sequence[TurnOn], threshold: float, low: float, high: float, level: float
) -> Fraction:
    """The efficiency of a threshold for true pT from ``low`` to ``high`` GeV, edges of its bins."""
    (curve,) = (c for c in curves if c.threshold == threshold)
    first, end = curve.edges.index(low), curve.edges.index(high)
    points = curve.points[first:end]
    return fraction(sum(p.passed for p in points), sum(p.total for p in points), level)


def _estimates(points: Sequence[Fraction | Mean], level: float) -> tuple[s.Estimate, ...]:
    return tuple(estimate(point, level) for point in points)


# --- events ----------------------------------------------------------------------------------


def _displays(judged: Judged, study: Study) -> tuple[tuple[s.Display, ...], Pictures]:
    """Events of each kind, the first of its kind, and one decision that is wrong."""
    outputs = judged.networks[-1].outputs
    displays, images, signals = [], [], []
    for sample, index, caption in choose(judged, study):
        events = judged.samples.test[sample]
        image, signal = _picture(events, index)
        predicted = study.decode(outputs[sample][index : index + 1])
        displays.append(_display(caption, events.truth[index], predicted))
        images.append(image)
        signals.append(signal)
    return tuple(displays), Pictures(np.stack(images), np.stack(signals))


def choose(judged: Judged, study: Study = STUDY) -> list[tuple[str, int, str]]:
    """Test sample, number and caption of the events to show."""
    truth = judged.samples.test[SAMPLE].truth
    pt, count = truth["pt"][:, 0], truth["n_muons"]
    single = (count == 1) & (truth["layers_hit"][:, 0] >= SEEN_LAYERS)
    kinds = (
        ("A soft muon", single & (pt > 4.5) & (pt < 6)),
        ("A muon of medium pT", single & (pt > 9) & (pt < 11)),
        ("A stiff muon", single & (pt > 20)),
        ("Two muons", count == 2),
        ("Three muons", count == 3),
        ("Background alone", count == 0),
    )
    found = [(SAMPLE, int(np.argmax(mask)), name) for name, mask in kinds if mask.any()]
    return found + _wrong(judged, study)


def _wrong(judged: Judged, study: Study) -> list[tuple[str, int, str]]:
    """The first fake, and the first muon that the threshold should have taken and did not."""
    outputs, noise = judged.networks[-1].outputs, noise_name(TEST_RATE)
    fakes = study.decode(outputs[noise]).pt > TRIGGER_GEV
    truth = judged.samples.test[SAMPLE].truth
    stiff = (truth["n_muons"] == 1) & (truth["pt"][:, 0] > TRIGGER_GEV + 5)
    lost = stiff & (study.decode(outputs[SAMPLE]).pt < TRIGGER_GEV)
    found = []
    if fakes.any():
        found.append((noise, int(np.argmax(fakes)), f"Wrong: a fake above {TRIGGER_GEV:g} GeV"))
    if lost.any():
        found.append((SAMPLE, int(np.argmax(lost)), "Wrong: a stiff muon that is lost"))
    return found


def _picture(events: rpc.RpcEvents, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and signal, uint8 (rows, strips), of one event, which is simulated again for that."""
    again = rpc.simulate(
        1, seed=events.seed, config=events.config, start=index, with_signal=True, threads=1
    )
    if not np.array_equal(again.images[0], events.images[index]) or again.signal is None:
        raise MismatchError(
            f"event {index} of seed {events.seed} is not the same when it is simulated again",
            "delete the run folder: another NumPy or processor has made its events",
        )
    return rpc.unpack(again.images[0]), rpc.unpack(again.signal[0])


def _display(caption: str, truth: np.void, predicted: MuonPrediction) -> s.Display:
    muons = tuple(
        s.Muon(float(truth["pt"][n]), float(truth["eta"][n]), int(truth["charge"][n]))
        for n in range(int(truth["n_muons"]))
    )
    pt, eta, charge = (float(a[0]) for a in (predicted.pt, predicted.eta, predicted.charge))
    return s.Display(caption, muons, s.Muon(pt, eta, int(charge)), int(predicted.n_muons[0]))
