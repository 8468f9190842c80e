"""The supernova study's rows of a report: float network and chip on the same test images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hairtrigger.metrics import LEVEL
from hairtrigger.report import summary as s
from hairtrigger.studies.supernova import SIGNALS, sizes

if TYPE_CHECKING:
    from hairtrigger.report.supernova import Method, Performance
    from hairtrigger.studies.supernova import SupernovaPreset
    from hairtrigger.train import History

NOTHING = s.Estimate(None, None, None, 0)
NAMES = {
    "noise": "noise",
    "nue_cc": "nu_e CC of a supernova",
    "es": "nu-electron scattering",
    "solar": "solar nu_e",
    "other": "muon, Michel electron",
}


def evaluation(
    found: Performance,
    learned: Mapping[str, tuple[int, History]],
    cuts: Any,
    chain: Any,
    preset: SupernovaPreset,
    seed: int,
) -> s.Evaluation:
    """Rows for the float network and the chip, the methods 1 and 0 of ``found``.

    ``learned``: weights and history of "float" and "student"; ``cuts``: a record with ``gated``,
    the share of ``noise`` images whose network must be run; ``chain``: a record with
    ``interval_us``, ``latency_us`` and ``images`` of the whole chain in simulated Verilog.
    """
    chip, floating = found.methods[:2]
    clusters = [m for m in found.methods[2:] if m.burst.value is not None]
    best = min((m.burst.value for m in clusters if m.burst.value), default=None)

    def gain(method: Method) -> s.Estimate:
        if best is None or method.burst.value is None:
            return NOTHING
        ends = (method.burst.value, method.burst.low, method.burst.high)
        value, low, high = (None if end is None else end / best for end in ends)
        return s.Estimate(value, low, high, method.burst.n)

    def row(key: str, label: str, how: str, unit: str, better: str, top: bool, *values: s.Estimate):
        return s.Row(key, label, how, unit, better, top, tuple(values))

    def exact(value: float, n: int) -> s.Estimate:
        return s.Estimate(value, value, value, n)

    both = (floating, chip)
    rows = [
        row(
            *("efficiency", "efficiency", "nu_e CC with more than 10 MeV visible", "", "high"),
            True,
            *(m.efficiency for m in both),
        ),
        row(
            *("fakes", "fakes", "noise images, with their decays, that pass", "", "low", True),
            *(m.fakes for m in both),
        ),
        row(
            *("expected", "the same", "from noise of enriched argon, weighed", "", "low", False),
            *(m.expected for m in both),
        ),
        row(
            *("hz", "fakes of a module", "of 6.25 million images a second", "Hz", "low", False),
            *(m.hz for m in both),
        ),
        row(
            *("reduction", "data reduction", "noise images over those that pass", "times"),
            *("high", True),
            *(m.reduction for m in both),
        ),
        *(
            row(
                *(f"kept_{kind}", f"kept: {NAMES[kind]}", "of all energies", "", "", False),
                *(m.classes[kind] for m in both),
            )
            for kind in SIGNALS
        ),
        row(
            *("burst", "burst", "interactions in a module for 95 %, one fake a month", "", "low"),
            True,
            *(m.burst for m in both),
        ),
        row(
            *("burst_gain", "the same, over the best conventional trigger's", "", "", "low", False),
            *(gain(m) for m in both),
        ),
        row(
            *("gated", "noise images with enough pixels", "only their network must be run", "", ""),
            False,
            *(NOTHING, exact(cuts.gated, cuts.noise)),
        ),
        row(
            *("chain_us", "time for an image", "raw ticks into the chip, simulated", "us", "low"),
            True,
            *(NOTHING, exact(chain.interval_us, chain.images)),
        ),
        row(
            *("chain_latency_us", "latency", "last tick of an image to its decision", "us", "low"),
            False,
            *(NOTHING, exact(chain.latency_us, chain.images)),
        ),
    ]
    numbers = {name: 100 * seed + n for n, name in enumerate(sizes(preset))}
    samples = tuple(
        s.Sample(name.replace("_", ": ", 1), images, numbers[name])
        for name, (_, images) in sizes(preset).items()
    )
    models = (
        s.Model("float network", learned["float"][0], None, "Keras, float32"),
        s.Model(
            "chip", learned["student"][0], _ebops(learned["student"][1]), "Graph, exact integers"
        ),
    )
    training = tuple(
        s.Training(model.name, history.loss, history.validation_loss, history.seconds)
        for model, (_, history) in zip(models, learned.values(), strict=True)
    )
    return s.Evaluation(
        confidence=LEVEL,
        intervals="Wilson intervals of the images counted",
        samples=samples,
        models=models,
        rows=tuple(rows),
        turn_on=(),
        resolution=(),
        confusion=(),
        training=training,
        displays=(),
    )


def _ebops(history: History) -> float | None:
    return history.ebops[history.best_epoch] if history.ebops else None
