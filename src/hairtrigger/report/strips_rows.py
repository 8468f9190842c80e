"""The strips study's rows of a report: every network on the same planes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from hairtrigger.metrics import LEVEL
from hairtrigger.report import summary as s
from hairtrigger.report.strips import CHIP, NOTHING, StripsPerformance
from hairtrigger.studies.strips import RATE_KHZ_CM2

if TYPE_CHECKING:
    from hairtrigger.studies.strips_samples import Source
    from hairtrigger.train import History

FLOAT = "float network"


def evaluation(
    found: StripsPerformance,
    learned: Mapping[str, tuple[int, History]],
    sources: Mapping[str, Source],
    chip: Sequence[s.Row],
) -> s.Evaluation:
    """Rows for the networks named in ``learned`` (weights and history), the chip last.

    ``chip``: rows that only the chip has, such as what was compared and timed; their values are
    those of the chip alone.
    """
    names = tuple(learned)

    def row(
        key: str,
        label: str,
        how: str,
        unit: str,
        better: str,
        top: bool,
        value: Callable[[str], s.Estimate],
    ) -> s.Row:
        return s.Row(key, label, how, unit, better, top, tuple(value(name) for name in names))

    def width(rate: float, angle: float) -> Callable[[str], s.Estimate]:
        def value(name: str) -> s.Estimate:
            of = found.position(name, rate)
            return of.width[of.angles_deg.index(angle)]

        return value

    lost = {b.method: b.loss for b in found.bits if b.rate_khz_cm2 == 0}
    picked = {p.method: p for p in found.picked}
    least = "least of 10 to 40 degrees"
    rows = [
        row(
            *("gain_inclined", "better than time projection", least, "%", "high", True),
            lambda name: percent(found.position(name, 0.0).inclined),
        ),
        row(
            *("gain_background", "the same with background", "15 kHz/cm2", "%", "high", False),
            lambda name: percent(found.position(name, RATE_KHZ_CM2).inclined),
        ),
        row(
            *("gain_zero", "better than the centroid", "at 0 degrees", "%", "high", True),
            lambda name: percent(found.position(name, 0.0).zero),
        ),
        *(
            row(
                f"width_{angle:g}_{rate:g}",
                f"position at {angle:g} degrees",
                f"68 % half width, {rate:g} kHz/cm2",
                "um",
                "low",
                False,
                width(rate, angle),
            )
            for rate in (0.0, RATE_KHZ_CM2)
            for angle in (0.0, 20.0, 40.0)
        ),
        row(
            *("loss", "resolution lost to float", "all angles, without background", "%", "low"),
            True,
            lambda name: percent(lost.get(name, NOTHING)),
        ),
        row(
            *("muons", "muons' clusters that pass", "15 kHz/cm2", "", "high", True),
            lambda name: picked[name].muons if name in picked else NOTHING,
        ),
        row(
            *("cluster_fakes", "other clusters that pass", "of planes without a muon", "", "low"),
            True,
            lambda name: picked[name].fakes if name in picked else NOTHING,
        ),
    ]
    six = lost.get("6 bits", NOTHING)
    rows.append(
        _of_chip("six_bits", "6 bits: lost to float", "all angles", "%", percent(six), names)
    )
    rows += [_of_chip(r.key, r.label, r.how, r.unit, r.values[-1], names, r.better) for r in chip]
    samples = tuple(
        s.Sample(name.replace("_", ": ", 1), of.planes, of.seed) for name, of in sources.items()
    )
    models = tuple(
        s.Model(
            name,
            weights,
            _ebops(history) if name == CHIP else None,
            "Keras, float32" if name == FLOAT else "Graph, exact integers",
        )
        for name, (weights, history) in learned.items()
    )
    training = tuple(
        s.Training(name, history.loss, history.validation_loss, history.seconds)
        for name, (_, history) in learned.items()
    )
    return s.Evaluation(
        confidence=LEVEL,
        intervals="of widths and their ratios by drawing the events anew 200 times, of shares "
        "Wilson intervals",
        samples=samples,
        models=models,
        rows=tuple(rows),
        turn_on=(),
        resolution=(),
        confusion=(),
        training=training,
        displays=(),
    )


def percent(found: s.Estimate) -> s.Estimate:
    """A share as per cent."""

    def times(value: float | None) -> float | None:
        return None if value is None else 100 * value

    return s.Estimate(times(found.value), times(found.low), times(found.high), found.n)


def _of_chip(
    key: str,
    label: str,
    how: str,
    unit: str,
    value: s.Estimate,
    names: Sequence[str],
    better: str = "low",
) -> s.Row:
    before = (NOTHING,) * (len(names) - 1)
    return s.Row(key, label, how, unit, better, False, (*before, value))


def _ebops(history: History) -> float | None:
    return history.ebops[history.best_epoch] if history.ebops else None
