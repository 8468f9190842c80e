"""Samples of the tracks study: chambers with a muon or without, as one bit a strip.

A strip says whether it had a hit in the time in which a muon's charge arrives: charge and the time
itself help little here, and background comes at any time. What stays is 64 bytes a chamber. A store
of them can be interrupted and goes on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors import store as event_store
from hairtrigger.detectors.strips_chambers import CHAMBER_TRUTH_DTYPE, simulate_chambers
from hairtrigger.detectors.strips_config import PLANES, ChamberConfig, StripsConfig
from hairtrigger.errors import InputError, StorageError

STORE_KIND = "strips tracks"
CHUNK = 512
"""Chambers that are made at once, with the same background."""
PROMPT_NS = (3.5, 107.5)
"""Times, from the muon's crossing, between which a hit may be a muon's: 98 % of its hits are."""


@dataclass(frozen=True)
class Sample:
    """Chambers. ``packed`` uint8 (n, planes, strips / 8): bit after bit, the first strip in the
    highest; ``truth`` (n,) of CHAMBER_TRUTH_DTYPE; ``rate_khz_cm2`` (n,) of background; ``hits``
    (n,): strips of a chamber with a hit at any time."""

    packed: NDArray[np.uint8]
    truth: NDArray[Any]
    rate_khz_cm2: NDArray[np.float32]
    hits: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.packed)

    def select(self, where: Any) -> Sample:
        """The chambers at ``where``: a slice, a mask or indices."""
        return Sample(*(getattr(self, field.name)[where] for field in dataclasses.fields(self)))


def prompt_hits(
    charge: NDArray[Any], time: NDArray[Any], config: StripsConfig
) -> NDArray[np.uint8]:
    """1 where a strip has a hit within `PROMPT_NS`, of any shape."""
    first, last = ((t - config.window_ns[0]) / config.time_lsb_ns for t in PROMPT_NS)
    return ((charge > 0) & (time >= first) & (time <= last)).astype(np.uint8)


def unpack(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Hits (n, planes, strips) of 0 and 1: what the recurrent network, roads and Hough read."""
    return np.unpackbits(packed, axis=-1)


def strips_first(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Hits (n, strips, planes): what the convolutional network reads."""
    return unpack(packed).swapaxes(1, 2)


def with_rate(config: ChamberConfig, rate_khz_cm2: float) -> ChamberConfig:
    """The same chamber in another background."""
    plane = dataclasses.replace(config.plane, background_khz_cm2=rate_khz_cm2)
    return dataclasses.replace(config, plane=plane)


def rates_of(rates: tuple[float, float], chunks: int, seed: int) -> NDArray[np.float64]:
    """The background of each chunk, spread evenly between two rates [kHz/cm2], in random order.

    Raises `InputError` for rates that cannot be.
    """
    low, high = rates
    if not 0 <= low <= high:
        raise InputError(f"rates = {rates!r} kHz/cm2", "give two from 0 on, the lower one first")
    order = np.random.default_rng((seed, 1)).permutation(chunks)
    return low + (high - low) * (order + 0.5) / chunks


def make(
    folder: Path,
    muons: bool,
    chambers: int,
    seed: int,
    rates: tuple[float, float],
    config: ChamberConfig,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Simulate chambers into a store in ``folder``, or finish the one there.

    All with a muon or all without; ``rates``: of background [kHz/cm2], see `rates_of`. Raises what
    the simulation and the store do.
    """
    if config.strips % 8:
        raise InputError(f"{config.strips} strips are no whole bytes.", "Give a multiple of 8.")
    drawn = rates_of(rates, -(-chambers // CHUNK), seed)
    arrays = {
        "packed": event_store.ArraySpec((PLANES, config.strips // 8), "uint8"),
        "rate": event_store.ArraySpec((), "float32"),
        "hits": event_store.ArraySpec((), "uint16"),
    }
    names = CHAMBER_TRUTH_DTYPE.names or ()
    for name in names:
        field = CHAMBER_TRUTH_DTYPE[name]
        arrays[f"truth_{name}"] = event_store.ArraySpec(field.shape, field.base.name)

    def produce(start: int, stop: int) -> dict[str, NDArray[Any]]:
        rate = float(drawn[start // CHUNK])
        made = simulate_chambers(
            stop - start,
            seed=seed,
            config=with_rate(config, rate),
            muons=int(muons),
            start=start,
        )
        hits = prompt_hits(made.charge, made.time, config.plane)
        return {
            "packed": np.packbits(hits, axis=-1),
            "rate": np.full(stop - start, rate, np.float32),
            "hits": (made.charge > 0).sum(axis=(1, 2)).astype(np.uint16),
            **{f"truth_{name}": made.truth[name] for name in names},
        }

    metadata = {
        "muons": muons,
        "seed": seed,
        "rates": list(rates),
        "prompt_ns": list(PROMPT_NS),
        "config": dataclasses.asdict(config),
    }
    opened = event_store.create_or_resume(
        folder,
        kind=STORE_KIND,
        events=chambers,
        arrays=arrays,
        metadata=metadata,
        chunk=CHUNK,
    )
    event_store.fill(opened, produce, progress)


def read(folder: Path) -> Sample:
    """A finished store. Raises StorageError for one that is not, damaged, or of other events."""
    opened = event_store.open_store(folder)
    if opened.kind != STORE_KIND:
        raise StorageError(f"{folder} holds {opened.kind!r}", "make the samples of the study again")
    arrays = opened.read()
    truth = np.empty(len(opened), CHAMBER_TRUTH_DTYPE)
    for name in CHAMBER_TRUTH_DTYPE.names or ():
        truth[name] = arrays[f"truth_{name}"]
    return Sample(arrays["packed"], truth, arrays["rate"], arrays["hits"])


def joined(samples: list[Sample]) -> Sample:
    """Several samples one behind the other."""
    names = [field.name for field in dataclasses.fields(Sample)]
    return Sample(*(np.concatenate([getattr(s, name) for s in samples]) for name in names))
