"""What a runner is: a Graph on one engine, ready to be called and timed again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hairtrigger.errors import InputError
from hairtrigger.fixed import IntArray

Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class Timing:
    """Seconds of each call, arrays (repeats,).

    ``with_transfers``: from inputs in host memory, in the dtype that the engine takes, to outputs
    in host memory, by the host's clock. ``without_transfers``: inputs and outputs stay on the
    device, by the device's clock where it has one; None where there is no device apart.
    """

    with_transfers: Seconds
    without_transfers: Seconds | None = None


class Runner(Protocol):
    """A Graph on one engine. Not for several threads at once. `close` frees what it holds."""

    @property
    def name(self) -> str:
        """One of `hairtrigger.backends.runners.NAMES`."""
        ...

    @property
    def engine(self) -> str:
        """In words: the engine, its version, the device, threads."""
        ...

    @property
    def device(self) -> str:
        """ "CPU" or "GPU"."""
        ...

    @property
    def exact(self) -> bool:
        """Are its codes the Graph's by construction? They are compared all the same."""
        ...

    @property
    def batches(self) -> tuple[int, ...] | None:
        """Numbers of events that a call may have; None for any."""
        ...

    def run(self, codes: Sequence[IntArray]) -> tuple[IntArray, ...]:
        """Output codes for the inputs' codes, arrays (events, *shape)."""
        ...

    def bind(self, codes: Sequence[IntArray], transfers: bool = True) -> Callable[[], object]:
        """A call that works on these events and returns when it is done. Inputs are made ready
        before, in the dtype that the engine takes: in host memory, whose outputs come back there;
        or, without ``transfers``, in the device's memory, where outputs stay. Raises `InputError`
        without transfers where there is no device apart."""
        ...

    def timed(self, codes: Sequence[IntArray], repeats: int) -> Timing:
        """Time ``repeats`` calls, each with all these events, after one that is not counted."""
        ...

    def close(self) -> None:
        """Free memory of the device. A closed runner is not called again."""
        ...


def no_device(name: str) -> InputError:
    """What `Runner.bind` raises without transfers where there is no device apart."""
    return InputError(
        f"{name} has no device apart from the host, so transfers cannot be left out.",
        "Bind it with transfers.",
    )


def clock(call: Callable[[], Any], repeats: int) -> Seconds:
    """Seconds of each of ``repeats`` calls, after one that is not counted. Raises `InputError`."""
    if repeats < 1:
        raise InputError(f"repeats={repeats}.", "Give a whole number from 1 on.")
    call()
    found = np.empty(repeats)
    for n in range(repeats):
        start = time.perf_counter()
        call()
        found[n] = time.perf_counter() - start
    return found
