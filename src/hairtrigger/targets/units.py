"""Clocks and times as people write them: "320 MHz", "3.125 ns", "32 us"."""

import math
import re
from dataclasses import dataclass

from hairtrigger.errors import InputError

_NANOSECONDS = {"ps": 1e-3, "ns": 1.0, "us": 1e3, "µs": 1e3, "μs": 1e3, "ms": 1e6, "s": 1e9}
_MEGAHERTZ = {"hz": 1e-6, "khz": 1e-3, "mhz": 1.0, "ghz": 1e3}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+)\s*([a-zµμ]+)\s*", re.IGNORECASE)
_ROUNDING = 1e-9  # relative; below what any clock can be written to


@dataclass(frozen=True)
class Clock:
    """A clock: its period in nanoseconds and its frequency in megahertz."""

    period_ns: float
    mhz: float

    def __str__(self) -> str:
        return f"{self.mhz:g} MHz"

    def clocks(self, time_ns: float) -> int:
        """Whole clock periods that fit in ``time_ns``: 25 ns at 320 MHz is 8."""
        if not (math.isfinite(time_ns) and time_ns >= 0):
            raise InputError(f"a time of {time_ns} ns has no clocks", "give 0 ns or more")
        return math.floor(time_ns / self.period_ns * (1 + _ROUNDING) + _ROUNDING)


def parse_clock(text: str) -> Clock:
    """A clock from its frequency ("320 MHz") or its period ("3.125 ns").

    Raises InputError for a text without a unit, zero, or anything else.
    """
    rule = "a clock is a frequency such as '320 MHz' or a period such as '3.125 ns'"
    value, unit = _split(text, "clock", rule)
    if unit.lower() in _MEGAHERTZ:
        mhz = value * _MEGAHERTZ[unit.lower()]
        return Clock(period_ns=1e3 / mhz, mhz=mhz)
    if unit in _NANOSECONDS:
        period = value * _NANOSECONDS[unit]
        return Clock(period_ns=period, mhz=1e3 / period)
    raise InputError(f"clock {text!r} has the unknown unit {unit!r}", rule)


def parse_time(text: str) -> float:
    """Nanoseconds of a time with its unit: "25 ns" is 25.0, "32 us" is 32000.0.

    Raises InputError for a text without a unit, zero, or anything else.
    """
    rule = "a time is a number and ps, ns, us, ms or s, such as '25 ns'"
    value, unit = _split(text, "time", rule)
    if unit not in _NANOSECONDS:
        raise InputError(f"time {text!r} has the unknown unit {unit!r}", rule)
    return value * _NANOSECONDS[unit]


def parse_interval(interval: int | str, clock: Clock) -> int:
    """Clocks of an initiation interval, given as such (8, "8") or as a time ("25 ns"; whole clocks
    that fit).

    Raises InputError for less than one clock, and for what is neither.
    """
    if isinstance(interval, str) and not interval.strip().isdigit():
        time = parse_time(interval)
        if clock.clocks(time) < 1:
            raise InputError(
                f"an interval of {interval} is less than one clock at {clock}",
                f"give {clock.period_ns:g} ns or more, or a clock of {1e3 / time:g} MHz or faster",
            )
        return clock.clocks(time)
    if isinstance(interval, bool) or int(interval) < 1:
        raise InputError(
            f"interval={interval}: events are 1 clock or more apart", "give whole clocks or a time"
        )
    return int(interval)


def _split(text: str, what: str, rule: str) -> tuple[float, str]:
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise InputError(f"{what} {text!r} is not a number and a unit", rule)
    value = float(match[1])
    if not (math.isfinite(value) and 1e-12 < value < 1e15):
        raise InputError(f"{what} {text!r} is out of range", rule)
    return value, match[2]
