"""What all simulations check, and how many processors they may use."""

from __future__ import annotations

import operator
import os

from hairtrigger.errors import InputError


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def whole(name: str, value: object, lowest: int) -> int:
    """``value`` as an integer of at least ``lowest``. Raises InputError."""
    try:
        number = operator.index(value)
    except TypeError:
        number = lowest - 1
    if isinstance(value, bool) or number < lowest:
        raise InputError(
            f"{name} = {value!r}, but it must be a whole number of at least {lowest}",
            f"give {name} as an integer, {lowest} or more",
        )
    return number
