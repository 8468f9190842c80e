"""Energy, where the machine reports it: RAPL counters of the processors, NVML counters of GPUs.

They count all that the package or board does, not this process alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

POWERCAP = Path("/sys/class/powercap")
NONE = "not reported by this machine"


@dataclass(frozen=True)
class Counter:
    """A counter of energy. ``joules()`` grows from any beginning; at ``wraps`` it starts from 0
    again (0: never)."""

    joules: Callable[[], float]
    wraps: float = 0.0


@dataclass(frozen=True)
class Meter:
    """Counters of one device, whose energies add up; ``words`` says what they count."""

    words: str
    counters: tuple[Counter, ...]

    def read(self) -> tuple[float, ...]:
        """All counters now."""
        return tuple(counter.joules() for counter in self.counters)

    def since(self, before: tuple[float, ...]) -> float:
        """Joules from a `read` to now, if no counter went round more than once."""
        spent = 0.0
        for counter, start, end in zip(self.counters, before, self.read(), strict=True):
            spent += end - start + (counter.wraps if end < start else 0.0)
        return spent


@dataclass(frozen=True)
class NoMeter:
    """No energy, and why."""

    why: str


def cpu_meter(powercap: Path = POWERCAP) -> Meter | NoMeter:
    """The RAPL counters of all processor packages, through Linux's powercap.

    Their ``energy_uj`` is for the root user alone on most systems; then there is no meter.
    """
    counters: list[Counter] = []
    for zone in sorted(powercap.glob("*rapl:*")):
        if zone.name.count(":") != 1:  # parts of a package are in it already
            continue
        try:
            if not (zone / "name").read_text().startswith("package"):
                continue
            wraps = float((zone / "max_energy_range_uj").read_text()) / 1e6
            counter = Counter(lambda file=zone / "energy_uj": float(file.read_text()) / 1e6, wraps)
            counter.joules()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            return NoMeter(f"{NONE}: RAPL counter {zone.name} cannot be read ({why})")
        counters.append(counter)
    if not counters:
        return NoMeter(f"{NONE}: it has no RAPL counters in powercap")
    return Meter(f"RAPL, {len(counters)} whole processor package(s)", tuple(counters))


def gpu_meter(index: int = 0, nvml: ModuleType | Any = None) -> Meter | NoMeter:
    """The counter of a whole GPU board, in NVML (Volta and later have it).

    ``nvml``: the module ``pynvml``, imported where None.
    """
    if nvml is None:
        try:
            import pynvml as nvml
        except ImportError:
            return NoMeter(f"{NONE}: the package nvidia-ml-py (pynvml) is not installed")
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        name = nvml.nvmlDeviceGetName(handle)
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError as error:
        return NoMeter(f"{NONE}: NVML: {error}")
    name = name.decode() if isinstance(name, bytes) else name

    def joules() -> float:
        return nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3

    return Meter(f"NVML, whole board {name}", (Counter(joules),))
