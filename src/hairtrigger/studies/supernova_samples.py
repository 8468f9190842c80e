"""Samples of the supernova study: images of one kind, as the front of the chain leaves them.

Raw images (61 kB each) are made, judged by the conventional triggers, brought down to pixels and
forgotten, some hundred at a time; what stays takes 1 kB an image, so that millions of noise images
fit on a disk. A store of them can be interrupted and goes on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hairtrigger.detectors import lartpc, lartpc_noise
from hairtrigger.detectors import store as event_store
from hairtrigger.detectors.lartpc_config import LartpcConfig
from hairtrigger.errors import InputError, StorageError
from hairtrigger.studies.supernova_front import FrontConfig
from hairtrigger.studies.supernova_front_fast import front_fast

STORE_KIND = "lartpc pixels"
CHUNK = 1024
"""Images that are made at once."""

Judge = Callable[[NDArray[np.uint16], NDArray[np.float64]], Mapping[str, NDArray[Any]]]
"""Conventional triggers: raw images (n, ticks, wires) and their pedestals (wires,) in counts to a
score (n,) of each, by its name."""


@dataclass(frozen=True)
class Sample:
    """Images of one kind. ``packed`` uint8 (n, rows, columns / 2): two pixels of four bits a byte,
    the first in the high bits; ``truth`` (n,) of `lartpc.TRUTH_DTYPE`; ``scores``: of each
    conventional trigger (n,), by its name."""

    packed: NDArray[np.uint8]
    truth: NDArray[Any]
    scores: Mapping[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.packed)

    def select(self, where: Any) -> Sample:
        """The images at ``where``: a slice, a mask or indices."""
        scores = {name: values[where] for name, values in self.scores.items()}
        return Sample(self.packed[where], self.truth[where], scores)


def pack(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels (..., columns) of four bits as (..., columns / 2). Raises `InputError` for an odd
    number of columns, or a pixel above 15."""
    if pixels.shape[-1] % 2 or (pixels.size and pixels.max() > 15):
        raise InputError(
            f"Pixels of shape {pixels.shape} up to {pixels.max(initial=0)} are no pairs of 4 bits.",
            "Choose a FrontConfig with pixels up to 15 and an even number of columns.",
        )
    return pixels[..., ::2] << 4 | pixels[..., 1::2]


def unpack(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The reverse of `pack`."""
    pixels = np.empty((*packed.shape[:-1], 2 * packed.shape[-1]), dtype=np.uint8)
    pixels[..., ::2] = packed >> 4
    pixels[..., 1::2] = packed & 15
    return pixels


def network_input(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Packed pixels as a network takes them: (n, rows, columns, 1)."""
    return unpack(packed)[..., None]


def make(
    folder: Path,
    kind: str,
    images: int,
    seed: int,
    config: LartpcConfig,
    ours: FrontConfig,
    judge: Judge,
    names: tuple[str, ...],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Simulate ``images`` images of a kind into a store in ``folder``, or finish the one there.

    ``judge`` gives a score of each of ``names``. Raises what `lartpc.simulate` and the store do.
    """
    rows, columns = lartpc.TICKS // ours.block[0], ours.columns
    arrays = {"packed": event_store.ArraySpec((rows, columns // 2), "uint8")}
    for name in lartpc.TRUTH_DTYPE.names or ():
        field = lartpc.TRUTH_DTYPE[name]
        arrays[f"truth_{name}"] = event_store.ArraySpec(field.shape, field.base.name)
    for name in names:
        arrays[f"score_{name}"] = event_store.ArraySpec((), "float64")
    pedestals = lartpc_noise.pedestals(config).astype(np.float64)

    def produce(start: int, stop: int) -> dict[str, NDArray[Any]]:
        made = lartpc.simulate(stop - start, seed=seed, config=config, kind=kind, start=start)
        scores = judge(made.images, pedestals)
        return {
            "packed": pack(front_fast(made.images, ours, pedestals)),
            **{f"truth_{name}": made.truth[name] for name in lartpc.TRUTH_DTYPE.names or ()},
            **{f"score_{name}": scores[name].astype(np.float64) for name in names},
        }

    metadata = {
        "kind": kind,
        "seed": seed,
        "simulation_version": lartpc.SIMULATION_VERSION,
        "config": dataclasses.asdict(config),
        "front": dataclasses.asdict(ours),
    }
    opened = event_store.create_or_resume(
        folder, kind=STORE_KIND, events=images, arrays=arrays, metadata=metadata, chunk=CHUNK
    )
    event_store.fill(opened, produce, progress)


def read(folder: Path) -> Sample:
    """A finished store. Raises StorageError for one that is not, damaged, or of other events."""
    opened = event_store.open_store(folder)
    if opened.kind != STORE_KIND:
        raise StorageError(f"{folder} holds {opened.kind!r}", "make the samples of the study again")
    arrays = opened.read()
    truth = np.empty(len(opened), lartpc.TRUTH_DTYPE)
    for name in lartpc.TRUTH_DTYPE.names or ():
        truth[name] = arrays[f"truth_{name}"]
    scores = {
        name.removeprefix("score_"): values
        for name, values in arrays.items()
        if name.startswith("score_")
    }
    return Sample(arrays["packed"], truth, scores)


def joined(samples: list[Sample]) -> Sample:
    """Several samples one behind the other."""
    names = samples[0].scores
    return Sample(
        np.concatenate([s.packed for s in samples]),
        np.concatenate([s.truth for s in samples]),
        {name: np.concatenate([s.scores[name] for s in samples]) for name in names},
    )
