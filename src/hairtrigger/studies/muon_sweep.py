"""What a sweep of the muon study varies, and what its networks are compared by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hairtrigger.metrics import Fraction, Mean


def scores(figures: Any) -> Mapping[str, Fraction | Mean]:
    """Of `MuonFigures`; the efficiency above 15 GeV, which a sweep maximises, first."""
    muons = figures.muons
    fakes = {f"fakes_{entry.rate_hz_cm2:g}": entry.share for entry in figures.fakes}
    return {
        "efficiency": muons.efficiency,
        "spread": muons.spread,
        "charge": muons.charge,
        **fakes,
        **{f"spread_{other.number}": other.spread for other in figures.others},
    }


def vary(trial: Any, preset: Any) -> Any:
    """The preset with an Optuna trial's price of bits, budget of EBOPs, learning rate, and what the
    student learns from the teacher."""
    last = trial.suggest_float("beta", 2e-7, 5e-6, log=True)
    return replace(
        preset,
        beta=(last / 10, last),
        ebops=trial.suggest_float("ebops", 2e5, 2e6, log=True),
        student_rate=trial.suggest_float("student_rate", 1e-3, 6e-3, log=True),
        temperature=trial.suggest_float("temperature", 1.0, 6.0, log=True),
        teacher_share=trial.suggest_float("teacher_share", 0.0, 0.9),
    )
