"""RPC images that others made: pairs of ``.npy`` files, and the 9 x 16 window of published chips.

pair = open_npy_pair("images.npy", "labels.npy")     # nothing is read yet
for part in pair.batches(100_000):
    part.unpacked(), part.truth["pt"][:, 0]
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hairtrigger.detectors.rpc import TRUTH_DTYPE, unpack
from hairtrigger.detectors.rpc_config import BITS_PER_BYTE
from hairtrigger.errors import InputError, StorageError

LABELS = ("pt", "eta", "phi", "unused", "n_hits")
"""Columns of the labels: pT [GeV], eta, phi [rad], one that is not read, number of hits."""

WINDOW_STRIPS = 16


@dataclass(frozen=True)
class RecordedImages:
    """Images that were not simulated here, packed as those of `RpcEvents`, and what is known.

    ``images``: uint8 (events, rows, strips / 8). ``truth``: of `TRUTH_DTYPE`; what the files do not
    tell is 0 (``charge``, noise). An event with pT above 0 has one muon. ``layers_hit`` counts the
    rows with any strip, background included.
    """

    images: np.ndarray
    truth: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def unpacked(self) -> np.ndarray:
        """Images as uint8 (events, rows, strips) of 0 and 1."""
        return unpack(self.images)


@dataclass(frozen=True)
class NpyPair:
    """An opened pair of files, mapped into memory: events are read and checked when asked for."""

    images: np.ndarray
    labels: np.ndarray
    names: tuple[str, str]

    def __len__(self) -> int:
        return len(self.images)

    def read(self, start: int = 0, stop: int | None = None) -> RecordedImages:
        """The events from ``start`` to ``stop``, all by default.

        Raises InputError for a range outside the files, for pixels other than 0 and 1, and for
        labels that are NaN, infinite or no muon's.
        """
        stop = len(self) if stop is None else stop
        if not 0 <= start <= stop <= len(self):
            raise InputError(
                f"events {start} to {stop} reach outside the {len(self)} of {self.names[0]}",
                "give 0 <= start <= stop <= the number of events",
            )
        images = np.asarray(self.images[start:stop])
        foreign = (images != 0) & (images != 1)
        if foreign.any():
            event, row, strip = np.argwhere(foreign)[0].tolist()
            raise InputError(
                f"{self.names[0]}: event {start + event}, row {row}, strip {strip} is "
                f"{images[event, row, strip]}, but pixels are 0 or 1",
                "set the pixels that fired to 1; NaN and other values have no meaning here",
            )
        labels = np.asarray(self.labels[start:stop], np.float64)
        packed = np.packbits(images.astype(bool), axis=-1)
        return RecordedImages(packed, _truth(packed, labels, start, self.names[1]))

    def batches(self, size: int) -> Iterator[RecordedImages]:
        """All events, ``size`` at a time. Raises InputError for a size below 1, and as `read`."""
        if size < 1:
            raise InputError(f"size = {size!r} holds no event", "give a size of at least 1")
        for start in range(0, len(self), size):
            yield self.read(start, min(start + size, len(self)))


def open_npy_pair(
    images: str | Path, labels: str | Path, shape: tuple[int, int] = (9, 384)
) -> NpyPair:
    """Open ``.npy`` files of images (events, rows, strips) and labels (events, 5).

    Images hold 0 and 1 in any number type; labels hold the columns `LABELS`. Raises StorageError
    for a file that is missing, truncated or no ``.npy``, InputError for other shapes or types and
    for files of different lengths.
    """
    rows, strips = shape
    if strips % BITS_PER_BYTE:
        raise InputError(
            f"shape = {shape!r} has {strips} strips, no multiple of 8: images are packed in bytes",
            "pad the images with empty strips",
        )
    names = (str(images), str(labels))
    arrays = tuple(_map(name) for name in names)
    wanted = (((rows, strips), f"(events, {rows}, {strips})"), ((len(LABELS),), "(events, 5)"))
    for name, array, (tail, said) in zip(names, arrays, wanted, strict=True):
        if array.shape[1:] != tail or array.ndim < 2:
            raise InputError(
                f"{name} holds an array of shape {array.shape}, not {said}",
                "give the images first and the labels second; a channel axis of 1 must go",
            )
        if array.dtype.kind not in "biuf":
            raise InputError(f"{name} holds {array.dtype}, not numbers", "store real numbers")
    if len(arrays[0]) != len(arrays[1]):
        raise InputError(
            f"{names[0]} has {len(arrays[0])} events, {names[1]} has {len(arrays[1])}",
            "give the images and the labels of the same events",
        )
    return NpyPair(*arrays, names)


def _map(name: str) -> Any:
    with _explained(name):
        array = np.load(name, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        array.close()
        raise StorageError(f"{name} is an archive of arrays", "save one array with numpy.save")
    return array


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise StorageError(f"{name} does not exist", "check the path") from error
    except (OSError, ValueError, EOFError) as error:
        raise StorageError(
            f"{name} is no .npy file of numbers, or is truncated: {error}",
            "save it with numpy.save, or copy it again",
        ) from error


def _truth(packed: np.ndarray, labels: np.ndarray, start: int, name: str) -> np.ndarray:
    used = [n for n, column in enumerate(LABELS) if column != "unused"]
    bad = ~np.isfinite(labels[:, used])
    if bad.any():
        event, column = np.argwhere(bad)[0].tolist()
        raise InputError(
            f"{name}: {LABELS[used[column]]} of event {start + event} is "
            f"{labels[event, used[column]]}",
            "leave the event out of both files",
        )
    for column, low, high in (("pt", 0, np.inf), ("n_hits", 0, np.iinfo(np.uint16).max)):
        values = labels[:, LABELS.index(column)]
        outside = (values < low) | (values > high)
        if outside.any():
            event = int(outside.argmax())
            raise InputError(
                f"{name}: {column} of event {start + event} is {values[event]}",
                f"give the columns in the order {', '.join(LABELS)}, pT in GeV and without charge",
            )
    truth = np.zeros(len(labels), TRUTH_DTYPE)
    for column in ("pt", "eta", "phi"):
        truth[column][:, 0] = labels[:, LABELS.index(column)]
    truth["n_hits"] = labels[:, LABELS.index("n_hits")]
    truth["n_muons"] = truth["pt"][:, 0] > 0
    truth["layers_hit"][:, 0] = packed.any(axis=2).sum(axis=1)
    return truth


def cut_window(
    images: np.ndarray, strip: np.ndarray | None = None, width: int = WINDOW_STRIPS
) -> tuple[np.ndarray, np.ndarray]:
    """A window of ``width`` strips of each image, and the strip that it begins at.

    ``images``: (events, rows, strips) of 0 and 1; ``strip``: the middle of each window (events,),
    by default where the most rows have a hit (`densest_strip`). At the ends of the image the window
    stays inside. Returns images (events, rows, width) and first strips int64 (events,).

    Raises InputError for other shapes, a width that does not fit, and strips outside the image.
    """
    images = _checked(images, width)
    strips = images.shape[2]
    centre = densest_strip(images, width) if strip is None else np.asarray(strip)
    if centre.shape != images.shape[:1] or centre.dtype.kind not in "biuf":
        raise InputError(
            f"strip has shape {centre.shape} and type {centre.dtype} for {len(images)} images",
            "give one number for each image",
        )
    outside = ~((centre >= 0) & (centre < strips))  # NaN too
    if outside.any():
        event = int(outside.argmax())
        raise InputError(
            f"strip {centre[event]} of event {event} lies outside 0 to {strips - 1}",
            "leave out muons that do not reach the image",
        )
    first = np.clip(np.floor(centre).astype(np.int64) - width // 2, 0, strips - width)
    at = first[:, None] + np.arange(width)
    return np.take_along_axis(images, at[:, None, :], axis=2), first


def densest_strip(images: np.ndarray, width: int = WINDOW_STRIPS) -> np.ndarray:
    """The middle of the window with hits in the most rows, for each image: int64 (events,).

    Of equal windows next to each other the middle one is taken, of others the first. It knows
    nothing of muons: in an image of noise it finds the densest noise. Raises as `cut_window`.
    """
    images = _checked(images, width)
    sums = np.cumsum(images != 0, axis=2, dtype=np.int32)
    sums = np.concatenate([np.zeros_like(sums[:, :, :1]), sums], axis=2)
    rows = ((sums[:, :, width:] - sums[:, :, :-width]) > 0).sum(axis=1)
    best = rows == rows.max(axis=1, keepdims=True)
    first = best.argmax(axis=1)
    gaps = np.cumsum(~best, axis=1)
    run = (best & (gaps == np.take_along_axis(gaps, first[:, None], axis=1))).sum(axis=1)
    return first + (run - 1) // 2 + width // 2


def _checked(images: np.ndarray, width: int) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 3 or not 1 <= width <= images.shape[2]:
        raise InputError(
            f"no window of {width} strips can be cut from images of shape {images.shape}",
            "give images (events, rows, strips), unpacked, and a width of 1 to all strips",
        )
    return images
