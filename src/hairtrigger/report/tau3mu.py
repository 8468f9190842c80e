"""The tau3mu study's part of a report: figures of software and chip.

Intervals are of candidates drawn anew from the sample (`RESAMPLED` times), as no closed form holds
for all figures; between seeds of training figures differ by more, which the trade-off shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger import metrics_blind
from hairtrigger.metrics import LEVEL
from hairtrigger.report import summary as s
from hairtrigger.studies import tau3mu
from hairtrigger.studies.tau3mu import Samples
from hairtrigger.studies.tau3mu_figures import BACKGROUND
from hairtrigger.train import predict

RESAMPLED = 100


@dataclass(frozen=True)
class Answers:
    """What a network says of test sample, control channel and, where there is one, the sample of
    one origin, one behind the other: ``logits`` (candidates, 2) and, of coins, the ``bits``
    (candidates, 32) of the last hidden layer."""

    logits: NDArray[np.float64]
    bits: NDArray[np.bool_] | None


def evaluation(
    samples: Samples,
    plain: Any,
    coins: Any,
    chip: Answers,
    engine: str,
    seed: int,
    simulated: bool,
) -> s.Evaluation:
    """Figures of the plain network, of the network of coins, and of its chip. ``seed``: of the
    run; ``simulated``: do the candidates come from `hairtrigger.studies.tau3mu.generated`."""
    software = answers(coins, samples, True)
    networks = (
        ("plain network", _kept(plain), "Keras, float32", answers(plain, samples, False)),
        ("network of coins", _kept(coins), "Keras, in the chip's formats", software),
        ("chip", _kept(coins), engine, chip),
    )
    found = [_figures(said, samples, seed) for *_, said in networks]
    rows = tuple(
        s.Row(key, label, how, unit, better, headline, tuple(entry[key] for entry in found))
        for key, label, how, unit, better, headline in ROWS
        if any(entry[key].value is not None for entry in found)
    )
    return s.Evaluation(
        confidence=LEVEL,
        intervals=f"standard deviations of {RESAMPLED} samples drawn anew, candidate by candidate",
        samples=_samples(samples, seed if simulated else None),
        models=tuple(s.Model(name, weights, None, run) for name, weights, run, _ in networks),
        rows=rows,
        turn_on=(),
        resolution=(),
        confusion=(),
        training=(),
        displays=(),
    )


ROWS = (
    ("auc", "AUC", "simulated signal against recorded background", "", "high", True),
    (
        "true_auc",
        "AUC, one origin",
        "both simulated, which only a generator can give",
        "",
        "",
        False,
    ),
    ("ks", "KS", "scores of the control channel, simulated against recorded", "", "low", True),
    (
        "information",
        "information of the bits",
        "sum over 32 neurons of I(bit; simulated or recorded), less its bias",
        "bit",
        "low",
        True,
    ),
    (
        "pile_up",
        "pile-up dependence",
        "largest less smallest efficiency in four bins of SPDhits, over that of all; "
        "10 % of background accepted",
        "",
        "low",
        False,
    ),
)
"""Key, label, what is measured, unit, what is better, does it stand at the top."""


def answers(model: Any, samples: Samples, coins: bool) -> Answers:
    """What a Keras model says."""
    parts = [samples.test, samples.agreement]
    parts += [samples.same_origin] if samples.same_origin is not None else []
    x = np.concatenate([samples.scaler(part) for part in parts])
    if not coins:
        return Answers(predict(model, x)[:, :2].astype(np.float64), None)
    from hairtrigger.frontends.keras_file import import_keras

    # One pass for both: another would toss again.
    both = import_keras().Model(model.input, [model.output, model.get_layer("logits").input])
    outputs, bits = both.predict(x, batch_size=8192, verbose=0)
    return Answers(outputs[:, :2].astype(np.float64), np.asarray(bits) > 0.5)


def _kept(model: Any) -> int:
    """Weights that are not zero, in the formats in which they are used."""
    layers = [model.get_layer(name) for name in ("hidden0", "hidden1", "logits")]
    found = [(w, getattr(layer, "fraction", None)) for layer in layers for w in layer.get_weights()]
    return sum(
        int(np.count_nonzero(w if fraction is None else np.rint(2.0**fraction * np.asarray(w))))
        for w, fraction in found
    )


def _figures(said: Answers, samples: Samples, seed: int) -> dict[str, s.Estimate]:
    scores = tau3mu.score(said.logits)
    test, control = len(samples.test), len(samples.agreement)
    of_test, of_control = scores[:test], scores[test : test + control]
    signal = samples.test.extra["signal"] == 1
    origin = samples.agreement.extra["signal"]
    simulated, weights = origin == 1, samples.agreement.extra["weight"]
    flat = samples.test if samples.same_origin is None else samples.same_origin
    of_flat = of_test if samples.same_origin is None else scores[test + control :]
    flat_signal, hits = flat.extra["signal"] == 1, flat.column("SPDhits")

    ranks = metrics_blind.untied(of_flat, seed)

    def ks(n: NDArray[np.int64]) -> float:
        a, b = n[simulated[n]], n[~simulated[n]]
        return metrics_blind.weighted_ks(of_control[a], of_control[b], weights[a], weights[b])

    def pile_up(n: NDArray[np.int64]) -> float:
        edges = samples.pile_up_edges
        return metrics_blind.flatness(
            ranks[n], flat_signal[n], hits[n], edges, BACKGROUND
        ).dependence

    nothing = s.Estimate(None, None, None, 0)
    found = {
        "auc": _measured(lambda n: metrics_blind.auc(signal[n], of_test[n]), test, seed),
        "ks": _measured(ks, control, seed),
        "pile_up": _measured(pile_up, len(flat), seed),
        "true_auc": nothing,
        "information": nothing,
    }
    if samples.same_origin is not None:
        found["true_auc"] = _measured(
            lambda n: metrics_blind.auc(flat_signal[n], of_flat[n]), len(flat), seed
        )
    if said.bits is not None:
        bits = said.bits[test : test + control]
        bias = bits.shape[1] / (2 * len(bits) * np.log(2))
        found["information"] = _measured(
            lambda n: metrics_blind.sum_information(bits[n].astype(np.float64), origin[n]) - bias,
            control,
            seed,
        )
    return found


def _measured(figure: Callable[[NDArray[np.int64]], float], events: int, seed: int) -> s.Estimate:
    """A figure of the events with the given numbers, and its interval."""
    rng = np.random.default_rng((seed, events))
    value = figure(np.arange(events))
    drawn = [figure(rng.integers(0, events, events)) for _ in range(RESAMPLED)]
    half = NormalDist().inv_cdf(0.5 + LEVEL / 2) * float(np.std(drawn, ddof=1))
    return s.Estimate(float(value), float(value) - half, float(value) + half, events)


def _samples(samples: Samples, seed: int | None) -> tuple[s.Sample, ...]:
    # Each with its place in the order in which the generator draws the samples.
    named = {
        "training: signal, background, control": (samples.train, 0),
        "validation": (samples.validation, 0),
        "test": (samples.test, 2),
        "test: control channel": (samples.agreement, 3),
        "test: mass": (samples.correlation, 4),
        "test: one origin": (samples.same_origin, 5),
    }
    return tuple(
        s.Sample(name, len(part), None if seed is None else 100 * seed + place)
        for name, (part, place) in named.items()
        if part is not None
    )
