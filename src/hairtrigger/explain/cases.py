"""The studies that can be explained, by name; each is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module

from hairtrigger.errors import InputError
from hairtrigger.explain.case import Case

NAMES = ("muon", "tau3mu", "supernova", "strips")


def case_named(name: str) -> Case:
    """The case of a study. Raises `InputError` naming those there are."""
    if name not in NAMES:
        raise InputError(
            f"There is no study {name!r} to explain.",
            f"Choose one of {', '.join(NAMES)}, or give a model's .keras file and --data.",
        )
    case: Case = import_module(f"hairtrigger.explain.questions_{name}").CASE
    return case
